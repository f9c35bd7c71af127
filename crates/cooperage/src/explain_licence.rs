//! The licence of a package that an image has: what each source says of it.

use cooper_core::lock::DebianArtefact;
use cooper_core::plan::PlannedDebian;
use cooper_core::{Ecosystem, ImageReference, Lock, PackageVersion, PythonName};
use cooper_gate::licences::{self, LicenceAnswer, LicenceJudgement, LicenceRules, of_debian};
use cooper_image::deb;
use cooper_resolve::python::wheel_fits;
use serde::Serialize;

use crate::create::CreateError;
use crate::record::{FullReference, KeptImage};
use crate::workshop::Workshop;

/// What is known of a package's licence, and by which rules it is judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LicenceExplained {
    /// The image in which it was found.
    pub image: FullReference,
    /// The package.
    pub package: PackageVersion,
    /// What was concluded, and what each source says.
    pub answer: LicenceAnswer,
    /// What the policy makes of it.
    pub judgement: LicenceJudgement,
}

impl Workshop {
    /// Explain the licence of a package of an image, or of the newest image that has it: of a Python distribution before a
    /// Debian package of the same name.
    ///
    /// # Errors
    /// When there is no such image, or its lock cannot be read; `None` where no image has the package.
    pub fn explain_licence(
        &self,
        package: &str,
        image: Option<&ImageReference>,
    ) -> Result<Option<LicenceExplained>, CreateError> {
        if let Some(image) = image {
            let kept = self.lookup(image)?;
            return self.licence_in(&kept, package);
        }
        let mut kept: Vec<KeptImage> = Vec::new();
        for (organisation, name, tag) in self.store.images().map_err(CreateError::Name)? {
            let reference = FullReference {
                organisation,
                name,
                tag,
            };
            // An image that cannot be read is no reason to find nothing.
            kept.extend(self.lookup(&reference.into()).ok());
        }
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.created_at));
        for kept in kept {
            if let Some(found) = self.licence_in(&kept, package)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn licence_in(&self, kept: &KeptImage, package: &str) -> Result<Option<LicenceExplained>, CreateError> {
        let lock = self.lock_of(kept)?;
        let rules = &self.known(Some(&kept.reference.name))?.in_force.rules.licences;
        let explained =
            |ecosystem, name: String, version: String, answer: LicenceAnswer, rules: LicenceRules| {
                LicenceExplained {
                    image: kept.reference.clone(),
                    package: PackageVersion {
                        ecosystem,
                        name,
                        version,
                    },
                    judgement: licences::judge(&answer, &rules),
                    answer,
                }
            };
        let below = lock.content.below.iter();
        let mut wheels = lock
            .content
            .python
            .iter()
            .chain(below.clone().flat_map(|below| &below.python));
        let normalised = package.parse::<PythonName>().ok();
        let wheel = wheels.find(|artefact| Some(&artefact.name) == normalised.as_ref());
        if let Some((artefact, facts)) =
            wheel.and_then(|wheel| Some((wheel, self.wheel_facts(&wheel.filename, &wheel.sha256)?)))
        {
            let (name, version) = (artefact.name.to_string(), artefact.version.to_string());
            return Ok(Some(explained(
                Ecosystem::Python,
                name,
                version,
                facts.licence,
                rules.python(),
            )));
        }
        let own = lock.content.base.packages.iter().chain(&lock.content.packages);
        let mut debian = own.chain(below.flat_map(|below| &below.packages));
        let Some(artefact) = debian.find(|artefact| artefact.name.as_str() == package) else {
            return Ok(None);
        };
        let answer = self.debian_answer(kept, &lock, artefact);
        let (name, version) = (artefact.name.to_string(), artefact.version.to_string());
        Ok(Some(explained(
            Ecosystem::Debian,
            name,
            version,
            answer,
            rules.debian(),
        )))
    }

    /// What a package's artefact says; where that is not here, as of an image that came in an archive, what the image's own
    /// tree says.
    fn debian_answer(&self, kept: &KeptImage, lock: &Lock, artefact: &DebianArtefact) -> LicenceAnswer {
        if let Ok(plan) = lock.to_plan(wheel_fits) {
            let packages: Vec<&PlannedDebian> = plan.debian().collect();
            let planned = packages.iter().find(|planned| planned.name == artefact.name);
            let answer = planned.and_then(|planned| self.debian_licence(planned, &packages));
            if let Some(answer) = answer {
                return answer;
            }
        }
        let layers = kept.record.layers.iter();
        let trees = layers.filter_map(|layer| self.store.tree(layer));
        let evidence = trees.filter_map(|tree| deb::licence_evidence_in(&tree, &artefact.name).ok());
        let mut with_file = evidence.filter(|evidence| evidence.copyright.is_some());
        of_debian(&with_file.next().unwrap_or_default())
    }
}
