//! Candidates: what the gates would refuse is not chosen in the first place, so that the solver takes the newest version
//! that passes.

use cooper_core::python::DistributionVersion;
use cooper_core::{Ecosystem, Finding, PackageVersion, PythonName, Timestamp};

use crate::known::Known;
use crate::listed::Listed;
use crate::{age, denied, vulnerabilities, waiver};

impl Known {
    /// Why a version of a distribution would be refused for itself, to follow the version in a sentence. What its name
    /// alone is held for is left to the verdict on the plan: no other version would help.
    pub fn refuse_candidate(
        &self,
        name: &PythonName,
        version: &DistributionVersion,
        uploaded: Option<Timestamp>,
    ) -> Option<String> {
        let package = PackageVersion::new(Ecosystem::Python, name, version);
        let mut findings: Vec<Finding> = Vec::new();
        findings.extend(denied::judge_one(package.clone(), self));
        findings.extend(uploaded.and_then(|uploaded| age::judge_one(&package, uploaded, self)));
        // What cannot be read is said of the plan.
        findings
            .extend(vulnerabilities::judge_one(&Listed::alone(package.clone()), self).unwrap_or_default());
        waiver::apply(&mut findings, &self.waivers, self.now);
        let refusing = findings.into_iter().find(Finding::refuses)?;
        Some(format!("is refused ({}: {})", refusing.code, refusing.message))
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
