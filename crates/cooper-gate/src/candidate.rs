//! Candidates: what the gates would refuse is not chosen in the first place, so that the solver takes the newest version
//! that passes.

use cooper_core::python::DistributionVersion;
use cooper_core::{Digest, Ecosystem, Finding, PackageVersion, PythonName, Timestamp};

use crate::age::Since;
use crate::known::Known;
use crate::listed::Listed;
use crate::{age, denied, vulnerabilities, waiver};

/// A version of a distribution that may be chosen.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The distribution.
    pub name: &'a PythonName,
    /// The version.
    pub version: &'a DistributionVersion,
    /// When the index took its file in.
    pub uploaded: Option<Timestamp>,
    /// The file's digest.
    pub file: Option<Digest>,
}

impl Candidate<'_> {
    fn since(&self, known: &Known) -> Since {
        Since::of(self.name.as_str(), self.uploaded, self.file.as_ref(), known)
    }
}

impl Known {
    /// Whether a candidate is old enough for the policy, whatever it fixes.
    pub fn is_old_enough(&self, candidate: &Candidate<'_>) -> bool {
        age::is_old_enough(candidate.name.as_str(), candidate.since(self), self)
    }

    /// Why a candidate would be refused for itself, to follow the version in a sentence; `instead_of` is the release that
    /// would be taken if it were not. What its name alone is held for is left to the verdict on the plan: no other version
    /// would help. The same goes for the age of files that only this store's ledger tells, unless the ledger has one of
    /// the project that is old enough: else every release would be passed over the first time.
    pub fn refuse_candidate(
        &self,
        candidate: &Candidate<'_>,
        instead_of: Option<&DistributionVersion>,
    ) -> Option<String> {
        let package = PackageVersion::new(Ecosystem::Python, candidate.name, candidate.version);
        let since = candidate.since(self);
        let mut findings: Vec<Finding> = Vec::new();
        findings.extend(denied::judge_one(package.clone(), self));
        if matches!(since, Since::Uploaded(_)) || self.has_settled(candidate.name) {
            let instead_of = instead_of.map(ToString::to_string);
            findings.extend(age::judge_one(&package, since, instead_of.as_deref(), self));
        }
        // What cannot be read is said of the plan.
        findings
            .extend(vulnerabilities::judge_one(&Listed::alone(package.clone()), self).unwrap_or_default());
        waiver::apply(&mut findings, &self.waivers, self.now);
        let refusing = findings.into_iter().find(Finding::refuses)?;
        Some(format!("is refused ({}: {})", refusing.code, refusing.message))
    }

    /// Whether the ledger has a file of this project that is old enough.
    fn has_settled(&self, name: &PythonName) -> bool {
        let mut seen = self.first_seen.of_project(name.as_str());
        seen.any(|seen| age::is_old_enough(name.as_str(), Since::FirstSeen(seen), self))
    }

    /// Two of the same key refuse the same candidates. Ages go by the hour.
    pub fn candidate_key(&self) -> String {
        let hour = self.now.as_second() / 3600;
        let waivers: Vec<u64> = self.waivers.iter().map(|waiver| waiver.number).collect();
        let evidence = self.evidence.map(|digest| digest.to_string());
        format!(
            "{} {} {waivers:?} {hour}",
            self.in_force.digest(),
            evidence.unwrap_or_default()
        )
    }
}
