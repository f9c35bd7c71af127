//! What only the artefacts tell: read when they are here, judged before anything of them is installed.

use cooper_core::lock::PythonArtefact;
use cooper_core::{Ecosystem, Finding, ImageReference, Lock, PackageVersion, PythonName};
use cooper_gate::artefact::{WheelTraits, judge_wheel};
use cooper_gate::licences::{self, LicenceAnswer, LicenceJudgement, LicenceRules, of_debian, of_python};
use cooper_gate::{Cleared, Known};
use cooper_image::{deb, wheel};
use serde::{Deserialize, Serialize};

use crate::create::CreateError;
use crate::record::{FullReference, KeptImage};
use crate::workshop::Workshop;

/// The cache's kind.
const KIND: &str = "wheel-facts";
/// Changes whenever the same wheel would be read in another way.
const RULES: &str = concat!("cooper-wheel-facts 2 of ", env!("CARGO_PKG_VERSION"));

/// What was read of a wheel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WheelFacts {
    pub(crate) licence: LicenceAnswer,
    startup_code: Vec<(String, String)>,
    native_in_pure: Vec<String>,
}

fn key(artefact: &PythonArtefact) -> String {
    format!("{RULES}\n{}\n{}", artefact.filename, artefact.sha256)
}

impl Workshop {
    /// Add to a cleared lock what its wheels tell, as far as they are in the store.
    pub(crate) fn judge_artefacts(&self, cleared: Cleared, known: &Known) -> Result<Cleared, CreateError> {
        let findings = self.artefact_findings(cleared.lock(), known);
        Ok(cleared.with_findings(findings, known)?)
    }

    /// What the wheels of a lock tell, as far as they are in the store. What cannot be read is left to whoever installs
    /// it, which fails then.
    pub(crate) fn artefact_findings(&self, lock: &Lock, known: &Known) -> Vec<Finding> {
        let below = lock.content.below.iter().flat_map(|below| &below.python);
        let wheels: Vec<&PythonArtefact> = lock.content.python.iter().chain(below).collect();
        let facts = self.facts_of(&wheels);
        let findings = wheels.iter().zip(facts).filter_map(|(artefact, facts)| {
            let facts = facts?;
            let package = PackageVersion::new(Ecosystem::Python, &artefact.name, &artefact.version);
            let traits = WheelTraits {
                startup_code: facts.startup_code,
                native_in_pure: facts.native_in_pure,
            };
            Some(judge_wheel(&package, &facts.licence, &traits, known))
        });
        findings.flatten().collect()
    }

    /// What is known of wheels, in their order; several are read at the same time.
    fn facts_of(&self, wheels: &[&PythonArtefact]) -> Vec<Option<WheelFacts>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = wheels.len().div_ceil(threads).max(1);
        std::thread::scope(|scope| {
            let read = |part: &[&PythonArtefact]| part.iter().map(|wheel| self.wheel_facts(wheel)).collect();
            let running: Vec<_> = wheels
                .chunks(share)
                .map(|part| scope.spawn(move || -> Vec<Option<WheelFacts>> { read(part) }))
                .collect();
            let parts = running.into_iter().map(|part| match part.join() {
                Ok(facts) => facts,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            parts.flatten().collect()
        })
    }

    /// Whether a wheel of this lock has to be read that never was: then its licence's text is compared with all others.
    pub(crate) fn has_unread_wheels(&self, lock: &Lock) -> bool {
        let mut wheels = lock.content.python.iter();
        wheels.any(|wheel| !self.store.cache_path(KIND, &key(wheel)).exists())
    }

    /// What is known of a wheel, from the cache or from the wheel itself.
    pub(crate) fn wheel_facts(&self, artefact: &PythonArtefact) -> Option<WheelFacts> {
        let key = key(artefact);
        let cached = self.store.cache_get(KIND, &key);
        if let Some(facts) = cached.and_then(|cached| serde_json::from_slice(&cached.bytes).ok()) {
            return Some(facts);
        }
        let file = self.store.open_blob(&artefact.sha256).ok()?;
        let (evidence, traits) = wheel::inspect(file, &artefact.filename).ok()?;
        let facts = WheelFacts {
            licence: of_python(&evidence),
            startup_code: traits.startup_code,
            native_in_pure: traits.native_in_pure,
        };
        if let Ok(bytes) = serde_json::to_vec(&facts)
            && let Err(error) = self.store.cache_put(KIND, &key, &bytes)
        {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "cannot keep what a wheel tells"
            );
        }
        Some(facts)
    }
}

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
        if let Some((artefact, facts)) = wheel.and_then(|wheel| Some((wheel, self.wheel_facts(wheel)?))) {
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
        let trees = kept
            .record
            .layers
            .iter()
            .filter_map(|layer| self.store.tree(layer));
        let evidence = trees.filter_map(|tree| deb::licence_evidence_in(&tree, &artefact.name).ok());
        let mut with_file = evidence.filter(|evidence| evidence.copyright.is_some());
        let answer = of_debian(&with_file.next().unwrap_or_default());
        let (name, version) = (artefact.name.to_string(), artefact.version.to_string());
        Ok(Some(explained(
            Ecosystem::Debian,
            name,
            version,
            answer,
            rules.debian(),
        )))
    }
}
