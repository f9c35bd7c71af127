//! Waivers: who lets a hold pass, for which package, why, and until when.
//!
//! A waiver is for one finding about one version of one package. It lifts a hold and never a refusal; after its end it
//! lifts nothing, and the finding says that it did.

use cooper_core::python::DistributionVersion;
use cooper_core::{Ecosystem, Effect, Finding, PackageVersion, PythonName, Timestamp, Waived};
use serde::{Deserialize, Serialize};

/// How long a text of a waiver may be, in characters.
pub const TEXT_MAX: usize = 1_000;

/// One waiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    /// Its number in the store, from 1.
    pub number: u64,
    /// A finding's code (`AGE-YOUNG`) or an advisory (`CVE-2024-3651`).
    pub finding: String,
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Why.
    pub reason: String,
    /// Who answers for it.
    pub by: String,
    /// When it was given.
    pub given_at: Timestamp,
    /// From when on it holds no more.
    pub until: Timestamp,
}

impl Waiver {
    /// Whether it is about this finding, whatever the time.
    pub fn is_about(&self, finding: &Finding) -> bool {
        let Some(package) = &finding.package else {
            return false;
        };
        let named = self.finding.eq_ignore_ascii_case(finding.code.as_str())
            || finding
                .advisories
                .iter()
                .any(|advisory| self.finding.eq_ignore_ascii_case(advisory));
        named && self.is_of(package)
    }

    /// Whether it is for this version of this package, in whatever spelling.
    fn is_of(&self, package: &PackageVersion) -> bool {
        if package.ecosystem == Ecosystem::Debian {
            return package.name == self.package && package.version == self.version;
        }
        let name = |text: &str| text.parse::<PythonName>().ok();
        let version = |text: &str| text.parse::<DistributionVersion>().ok();
        let same_name = name(&self.package).is_some_and(|own| own.as_str() == package.name);
        let same_version = || {
            self.version == package.version
                || version(&self.version).is_some_and(|own| Some(own) == version(&package.version))
        };
        same_name && same_version()
    }
}

/// By what name a finding is waived: an advisory's where it rests on one, so that the next one holds again, else its code.
pub fn name_of(finding: &Finding) -> &str {
    let advisory = finding.advisories.first().map(String::as_str);
    advisory.unwrap_or(finding.code.as_str())
}

/// The command that waives a finding, by its code or an advisory, for this version of a package.
pub(crate) fn command(finding: &str, package: &PackageVersion) -> String {
    let PackageVersion { name, version, .. } = package;
    format!("`cooper waive {finding} --package {name} --version {version} --reason … --until … --by …`")
}

/// Let the waivers lift what they may.
pub(crate) fn apply(findings: &mut [Finding], waivers: &[Waiver], now: Timestamp) {
    for finding in findings
        .iter_mut()
        .filter(|finding| finding.effect == Effect::Hold)
    {
        let of_it = || waivers.iter().filter(|waiver| waiver.is_about(finding));
        if let Some(waiver) = of_it()
            .filter(|waiver| now < waiver.until)
            .max_by_key(|waiver| waiver.until)
        {
            finding.waived = Some(Waived {
                waiver: waiver.number,
                by: waiver.by.clone(),
                reason: waiver.reason.clone(),
                until: waiver.until,
            });
        } else if let Some(waiver) = of_it().max_by_key(|waiver| waiver.until) {
            let ended = format!(
                "; waiver {} of {} held until {}",
                waiver.number, waiver.by, waiver.until
            );
            finding.message.push_str(&ended);
        }
    }
}

#[cfg(test)]
mod tests {
    use cooper_core::FindingCode;

    use super::*;

    fn finding(effect: Effect) -> Finding {
        let package = PackageVersion {
            ecosystem: Ecosystem::Python,
            name: "jinja2".to_owned(),
            version: "3.1.2".to_owned(),
        };
        let code = FindingCode::new("VULNERABILITY-KNOWN");
        let mut finding = Finding::new(code, effect, "", "it is bad", "").about(package);
        finding.advisories = vec!["GHSA-1".to_owned(), "CVE-2024-1".to_owned()];
        finding
    }

    fn waiver(finding: &str, until: &str) -> Waiver {
        Waiver {
            number: 7,
            finding: finding.to_owned(),
            package: "jinja2".to_owned(),
            version: "3.1.2".to_owned(),
            reason: "not reachable".to_owned(),
            by: "ada".to_owned(),
            given_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            until: until.parse().unwrap(),
        }
    }

    fn lifted(effect: Effect, waivers: &[Waiver]) -> (bool, String) {
        let mut findings = [finding(effect)];
        apply(&mut findings, waivers, "2026-06-01T00:00:00Z".parse().unwrap());
        (!findings[0].refuses(), findings[0].message.clone())
    }

    #[test]
    fn a_package_and_its_version_may_be_spelt_otherwise() {
        use Ecosystem::{Debian, Python};
        let is_of = |ecosystem, name: &str, version: &str, own_name: &str, own_version: &str| {
            let package = PackageVersion::new(ecosystem, &name, &version);
            let mut waiver = waiver("X-1", "2026-06-02T00:00:00Z");
            (waiver.package, waiver.version) = (own_name.to_owned(), own_version.to_owned());
            waiver.is_of(&package)
        };
        assert!(is_of(Python, "jinja2", "3.1.2", "Jinja2", "v3.1.2"));
        assert!(is_of(Python, "ruamel-yaml", "1.0", "ruamel.yaml", "1.0.0"));
        assert!(!is_of(Python, "jinja2", "3.1.2", "jinja2", "3.1.2+x"));
        assert!(!is_of(Python, "jinja2", "3.1.2", "jinja", "3.1.2"));
        assert!(is_of(Debian, "python3.13", "3.13.5-2", "python3.13", "3.13.5-2"));
        assert!(!is_of(Debian, "python3.13", "3.13.5-2", "python3-13", "3.13.5-2"));
        assert!(!is_of(Debian, "wget", "1.0", "wget", "1.0.0"));
    }

    #[test]
    fn a_waiver_is_for_one_finding_of_one_version_and_ends() {
        let later = "2026-06-02T00:00:00Z";
        for name in ["CVE-2024-1", "cve-2024-1", "GHSA-1", "VULNERABILITY-KNOWN"] {
            assert!(lifted(Effect::Hold, &[waiver(name, later)]).0, "{name}");
        }
        assert!(!lifted(Effect::Hold, &[waiver("CVE-2024-2", later)]).0);
        assert!(!lifted(Effect::Refuse, &[waiver("CVE-2024-1", later)]).0);
        let mut other = waiver("CVE-2024-1", later);
        other.version = "3.1.3".to_owned();
        assert!(!lifted(Effect::Hold, &[other]).0);
        let ended = waiver("CVE-2024-1", "2026-06-01T00:00:00Z");
        let (lifted_by_ended, message) = lifted(Effect::Hold, std::slice::from_ref(&ended));
        assert!(!lifted_by_ended);
        assert!(
            message.contains("waiver 7 of ada held until 2026-06-01"),
            "{message}"
        );
        assert!(lifted(Effect::Hold, &[ended, waiver("CVE-2024-1", later)]).0);
    }
}
