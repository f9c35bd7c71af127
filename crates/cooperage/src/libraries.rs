//! Shared libraries that an image lacks: which Debian packages have them, and adding those.

use std::collections::BTreeSet;

use cooper_core::{Base, DebianName, MissingLibrary, Plan, Progress, Request};
use cooper_resolve::{Resolution, debian};

use crate::create::CreateError;
use crate::workshop::Workshop;

/// How often packages are added before what is still missing stays so.
const ROUNDS_MAX: usize = 4;

impl Workshop {
    /// Resolve a request. Where it wishes for that, packages are added that have shared libraries which its wheels ask
    /// for: what they ask for is known when they are unpacked, so that this fetches and assembles.
    pub(crate) fn resolve_whole(
        &self,
        request: &Request,
        progress: &Progress,
    ) -> Result<Resolution, CreateError> {
        let mut resolution = self.resolve(request, progress)?;
        if !request.fix_missing() {
            return Ok(resolution);
        }
        let (mut request, mut notes) = (request.clone(), Vec::new());
        for _ in 0..ROUNDS_MAX {
            let missing = self.missing_of(&resolution.plan, progress)?;
            let fixes: BTreeSet<DebianName> =
                missing.iter().filter_map(MissingLibrary::fix).cloned().collect();
            let Ok(more) = request.clone().with_added(fixes) else {
                break;
            };
            // What was there already and did not help will not help again.
            if more == request {
                break;
            }
            let new = more.added().difference(request.added());
            notes.extend(new.map(|package| added_note(package, &missing)));
            request = more;
            resolution = self.resolve(&request, progress)?;
        }
        resolution.notes.extend(notes);
        Ok(resolution)
    }

    /// What an image of this plan would lack.
    fn missing_of(&self, plan: &Plan, progress: &Progress) -> Result<Vec<MissingLibrary>, CreateError> {
        let evidence = self.evidence(Some(plan.request.name()))?;
        let cleared = cooper_gate::evaluate(plan, &evidence, &self.config.program)?;
        let (image, _) = self.assemble(cleared, &plan.python, &evidence.known, progress)?;
        let mut missing = image.inventory.missing_libraries;
        self.find_packages(plan.release, &mut missing, progress);
        Ok(missing)
    }

    /// Say which packages have the libraries, where that can be known: it is a help, not a part of the image.
    pub(crate) fn find_packages(&self, base: Base, missing: &mut [MissingLibrary], progress: &Progress) {
        let absent = missing.iter().filter(|library| library.version.is_none());
        let wanted: BTreeSet<String> = absent.map(|library| library.library.clone()).collect();
        if wanted.is_empty() {
            return;
        }
        match debian::packages_with(&self.context(progress), base, &wanted) {
            Ok(found) => {
                for library in missing.iter_mut().filter(|library| library.version.is_none()) {
                    let known = found.get(&library.library).cloned();
                    (library.package, library.how) = known.unzip();
                }
            }
            Err(error) => tracing::warn!(
                ?error,
                "it is not known which packages have the missing libraries"
            ),
        }
    }
}

fn added_note(package: &DebianName, missing: &[MissingLibrary]) -> String {
    let of_it = missing.iter().filter(|library| library.fix() == Some(package));
    let (mut libraries, mut askers) = (BTreeSet::new(), BTreeSet::new());
    for library in of_it {
        libraries.insert(library.library.as_str());
        askers.extend(library.needed_by.iter().map(String::as_str));
    }
    let list = |names: BTreeSet<&str>| names.into_iter().collect::<Vec<_>>().join(", ");
    let need = if askers.len() == 1 { "needs" } else { "need" };
    format!(
        "`{package}` is added: it has {}, which {} {need}",
        list(libraries),
        list(askers)
    )
}
