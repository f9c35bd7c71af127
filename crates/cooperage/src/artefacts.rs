//! What only the artefacts tell: read when they are here, judged before anything of them is installed.
//!
//! Wheels are read when they have been fetched; Debian packages while they are unpacked, since reading them costs as much.
//! What was read is remembered by the artefact's digest. Where a verdict is asked for and nothing is unpacked, what is not
//! remembered is read from the artefacts that are in the store.

use cooper_core::plan::{PlannedDebian, PlannedPython};
use cooper_core::{BlobDigest, Finding, Lock, Plan};
use cooper_gate::artefact::{WheelTraits, judge_wheel};
use cooper_gate::licences::{LicenceAnswer, of_python};
use cooper_gate::{Cleared, Known, Listed, Refusal, listed};
use cooper_image::wheel;
use cooper_resolve::python::wheel_fits;
use serde::{Deserialize, Serialize};

use crate::create::CreateError;
use crate::debian_facts::Reading;
use crate::side_by_side::side_by_side;
use crate::workshop::Workshop;

/// The cache's kind.
const KIND: &str = "wheel-facts";
/// Changes whenever the same wheel would be read in another way.
const RULES: &str = concat!("cooper-wheel-facts 3 of ", env!("CARGO_PKG_VERSION"));
/// How many packages a note names.
const NAMED_MAX: usize = 3;

/// What was read of a wheel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WheelFacts {
    pub(crate) licence: LicenceAnswer,
    startup_code: Vec<(String, String)>,
    native_in_pure: Vec<String>,
}

/// What artefacts tell, and which of them are not here to tell it.
#[derive(Debug, Default)]
pub(crate) struct ArtefactFindings {
    pub(crate) findings: Vec<Finding>,
    pub(crate) unread: UnreadArtefacts,
}

/// The artefacts of a plan that are not in the store: what they alone can tell is not judged yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnreadArtefacts {
    /// Python distributions: their licences, and what they would run (provenance).
    pub python: Vec<String>,
    /// Debian packages: their licences.
    pub debian: Vec<String>,
}

impl UnreadArtefacts {
    /// The gates that wait for them.
    pub fn gates(&self) -> &'static [&'static str] {
        match (self.python.is_empty(), self.debian.is_empty()) {
            (true, true) => &[],
            (true, false) => &["licences"],
            (false, _) => &["licences", "provenance"],
        }
    }

    /// What is not judged, in one line; none where everything is.
    pub fn sentence(&self) -> Option<String> {
        let of = |what: &str, names: &[String]| {
            let more = names.len().saturating_sub(NAMED_MAX);
            let named = names[..names.len() - more].join(", ");
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            (!names.is_empty()).then(|| format!("{what} of {named}{more}"))
        };
        let parts = [
            of("licence, start-up code and native code", &self.python),
            of("licence", &self.debian),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| {
            let parts = parts.join("; ");
            format!("not judged here, since the artefacts are not in the store: {parts}; `cooper create` judges them")
        })
    }
}

fn key(filename: &str, sha256: &BlobDigest) -> String {
    format!("{RULES}\n{filename}\n{sha256}")
}

impl Workshop {
    /// Add to a cleared lock what its artefacts tell: its wheels as far as they are in the store and can be read, its Debian
    /// packages as `reading` says. What was not read comes back.
    ///
    /// # Errors
    /// When any of them holds or refuses, or the lock is no plan.
    pub(crate) fn judge_artefacts(
        &self,
        cleared: Cleared,
        reading: Reading,
        known: &Known,
    ) -> Result<(Cleared, UnreadArtefacts), CreateError> {
        let plan = cleared.lock().to_plan(wheel_fits)?;
        let ArtefactFindings { findings, unread } = self.artefact_findings(&plan, reading, known);
        Ok((cleared.with_findings(findings, known)?, unread))
    }

    /// Add to a cleared lock what its Debian packages tell.
    pub(crate) fn judge_packages(&self, cleared: Cleared, known: &Known) -> Result<Cleared, Refusal> {
        let findings = self.findings_of_packages(cleared.lock(), Reading::Artefacts, known);
        cleared.with_findings(findings, known)
    }

    /// What the Debian packages of a lock tell; nothing of one that is no plan, which no artefact is judged for.
    pub(crate) fn findings_of_packages(&self, lock: &Lock, reading: Reading, known: &Known) -> Vec<Finding> {
        let Ok(plan) = lock.to_plan(wheel_fits) else {
            return Vec::new();
        };
        let listed = listed::of_plan(&plan);
        let packages: Vec<(&PlannedDebian, &Listed)> = plan.debian().zip(&listed).collect();
        self.debian_findings(&packages, reading, known).0
    }

    /// What the artefacts of a plan tell, and which cannot be read.
    pub(crate) fn artefact_findings(&self, plan: &Plan, reading: Reading, known: &Known) -> ArtefactFindings {
        let listed = listed::of_plan(plan);
        let (debian, python) = listed.split_at(plan.debian().count());
        let packages: Vec<(&PlannedDebian, &Listed)> = plan.debian().zip(debian).collect();
        let (mut findings, unread) = self.debian_findings(&packages, reading, known);
        let wheels: Vec<(&PlannedPython, &Listed)> = plan.distributions().zip(python).collect();
        let facts = side_by_side(&wheels, |(planned, _)| {
            self.wheel_facts(&planned.filename, &BlobDigest::new(planned.sha256?))
        });
        let mut unread_python = Vec::new();
        for ((planned, listed), facts) in wheels.into_iter().zip(facts) {
            let Some(facts) = facts else {
                unread_python.push(planned.name.to_string());
                continue;
            };
            let traits = WheelTraits {
                startup_code: facts.startup_code,
                native_in_pure: facts.native_in_pure,
            };
            findings.extend(judge_wheel(listed, &facts.licence, &traits, known));
        }
        ArtefactFindings {
            findings,
            unread: UnreadArtefacts {
                python: unread_python,
                debian: unread.iter().map(ToString::to_string).collect(),
            },
        }
    }

    /// Whether an artefact of this lock has to be read that never was: then its licence's text is compared with all others.
    pub(crate) fn has_unread(&self, lock: &Lock) -> bool {
        let content = &lock.content;
        let mut wheels = content.python.iter();
        let below = content.below.iter().flat_map(|below| &below.packages);
        let packages = content.base.packages.iter().chain(below).chain(&content.packages);
        wheels.any(|wheel| {
            let key = key(&wheel.filename, &wheel.sha256);
            !self.store.cache_path(KIND, &key).exists()
        }) || !self.has_read(packages.map(|package| package.sha256))
    }

    /// What is known of a wheel, from the cache or from the wheel itself.
    pub(crate) fn wheel_facts(&self, filename: &str, sha256: &BlobDigest) -> Option<WheelFacts> {
        let key = key(filename, sha256);
        let cached = self.store.cache_get(KIND, &key);
        if let Some(facts) = cached.and_then(|cached| serde_json::from_slice(&cached.bytes).ok()) {
            return Some(facts);
        }
        let file = self.store.open_blob(sha256).ok()?;
        let (evidence, traits) = wheel::inspect(file, filename).ok()?;
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
