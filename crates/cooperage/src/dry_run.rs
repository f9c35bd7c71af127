//! What a create would bring in, without making anything of it.

use cooper_core::{BlobDigest, Plan, Progress, Request};
use cooper_gate::Verdict;
use cooper_image::{Inventory, InventoryPackage};

use crate::artefacts::UnreadArtefacts;
use crate::create::{CreateError, inventory_below};
use crate::debian_facts::Reading;
use crate::record::FullReference;
use crate::workshop::Workshop;

/// What a create would come to.
#[derive(Debug, Clone, PartialEq)]
pub struct DryRun {
    /// The version that has the same lock, where there is one: then a create would make none.
    pub same: Option<FullReference>,
    /// What would be in the image; licences are known when the artefacts are here.
    pub packages: Inventory,
    /// How many artefacts would be fetched, and how many bytes these have.
    pub download: (u64, u64),
    /// What the gates said, as far as it can be told now.
    pub verdict: Verdict,
    /// The artefacts that are not here yet: what they alone tell is judged when they are.
    pub unread: UnreadArtefacts,
    /// What the resolvers want the user to know.
    pub notes: Vec<String>,
}

impl Workshop {
    /// Resolve and judge a request, and stop there. No version is made; what has to be built before it is known what it
    /// needs is built all the same.
    ///
    /// # Errors
    /// As [`Workshop::create`], as far as it goes.
    pub fn dry_run(&self, request: &Request, progress: &Progress) -> Result<DryRun, CreateError> {
        let resolution = self.resolve(request, progress)?;
        let evidence = self.evidence(Some(request.name()))?;
        let cleared = cooper_gate::evaluate(&resolution.plan, &evidence, &self.config.program)?;
        let told = self.artefact_findings(&resolution.plan, Reading::Artefacts, &evidence.known);
        let cleared = cleared.with_findings(told.findings, &evidence.known)?;
        let content = &cleared.lock().content;
        let same = self.same_and_whole(request.name(), content.digest())?;
        let missing = |(digest, _): &(BlobDigest, u64)| !self.store.contains(digest);
        let missing: Vec<u64> = content
            .artefacts()
            .filter(missing)
            .map(|(_, size)| size)
            .collect();
        Ok(DryRun {
            same: same.map(|kept| kept.reference),
            packages: planned(&resolution.plan),
            download: (missing.len() as u64, missing.iter().sum()),
            verdict: cleared.verdict().clone(),
            unread: told.unread,
            notes: resolution.notes,
        })
    }
}

/// What an image of a plan would have in it, licences left out.
pub(crate) fn planned(plan: &Plan) -> Inventory {
    let package = |name: String, version: String, built_from: Option<String>| InventoryPackage {
        name,
        version,
        licence: None,
        built_from,
    };
    Inventory {
        debian: plan
            .debian()
            .map(|planned| package(planned.name.to_string(), planned.version.to_string(), None))
            .collect(),
        python: plan
            .distributions()
            .map(|planned| {
                let built_from = planned.built.as_ref().map(|built| built.source.filename.clone());
                package(planned.name.to_string(), planned.version.to_string(), built_from)
            })
            .collect(),
        below: plan.below.iter().map(inventory_below).collect(),
        missing_libraries: Vec::new(),
    }
}
