//! What a gate says of a plan: findings with stable codes.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a finding does to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// For information.
    Note,
    /// Refuses unless a waiver lifts it.
    Hold,
    /// Refuses; no waiver.
    Refuse,
}

impl Effect {
    /// As it is shown and serialised.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Hold => "hold",
            Self::Refuse => "refuse",
        }
    }
}

/// How bad something is, in the words of CVSS's qualitative scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// 0.0
    None,
    /// 0.1–3.9
    Low,
    /// 4.0–6.9
    Medium,
    /// 7.0–8.9
    High,
    /// 9.0–10.0
    Critical,
}

impl Severity {
    /// As it is shown and serialised.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The stable name of a kind of finding: `INTEGRITY-NO-HASH`. A code never changes its meaning; new kinds get new
/// codes. The gates define them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FindingCode(Cow<'static, str>);

impl FindingCode {
    /// The code of this name.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The code as it is shown and serialised.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FindingCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Whose rules a package follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    /// A Python distribution.
    Python,
    /// A Debian binary package.
    Debian,
}

impl Ecosystem {
    /// As it is shown and serialised.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Debian => "debian",
        }
    }
}

/// The package that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackageVersion {
    /// Of which kind it is.
    pub ecosystem: Ecosystem,
    /// Its name, normalised.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl PackageVersion {
    /// A package by its name and version.
    pub fn new(ecosystem: Ecosystem, name: &impl ToString, version: &impl ToString) -> Self {
        Self {
            ecosystem,
            name: name.to_string(),
            version: version.to_string(),
        }
    }
}

impl fmt::Display for PackageVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.version)
    }
}

/// Who lifted a hold, why, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waived {
    /// The waiver's number in the store.
    pub waiver: u64,
    /// Who answers for it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// From when on it holds no more.
    pub until: Timestamp,
}

/// One observation of one gate about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The stable code.
    pub code: FindingCode,
    /// What it does to the verdict.
    pub effect: Effect,
    /// How bad it is, where that is measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What it is about: `wget 1.25.0-2`, `requests 2.32.3`, `suite trixie-security`.
    pub subject: String,
    /// The package that it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<PackageVersion>,
    /// The advisories that it rests on, the one by which it is named first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advisories: Vec<String>,
    /// How the package came into the plan: from what was asked for to the package itself. Empty where that is not
    /// known, as for a lock.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// One sentence with the evidence: dates, names, numbers.
    pub message: String,
    /// What the finding was judged by, and how old that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
    /// A command or an edit that helps.
    pub hint: String,
    /// The waiver that lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waived>,
}

impl Finding {
    /// A finding about a subject, with nothing beside.
    pub fn new(
        code: FindingCode,
        effect: Effect,
        subject: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            code,
            effect,
            severity: None,
            subject: subject.into(),
            package: None,
            advisories: Vec::new(),
            path: Vec::new(),
            message: message.into(),
            evidence: None,
            hint: hint.into(),
            waived: None,
        }
    }

    /// The same, about this package, which is the subject.
    #[must_use]
    pub fn about(mut self, package: PackageVersion) -> Self {
        self.subject = package.to_string();
        self.package = Some(package);
        self
    }

    /// Whether it makes the verdict a refusal: it holds or refuses, and no waiver lifts it.
    pub fn refuses(&self) -> bool {
        match self.effect {
            Effect::Note => false,
            Effect::Hold => self.waived.is_none(),
            Effect::Refuse => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiver_lifts_a_hold_and_nothing_else() {
        let waived = Waived {
            waiver: 1,
            by: "ada".to_owned(),
            reason: "not reachable".to_owned(),
            until: "2027-01-01T00:00:00Z".parse().unwrap(),
        };
        let table = [
            (Effect::Note, false, false),
            (Effect::Hold, false, true),
            (Effect::Hold, true, false),
            (Effect::Refuse, false, true),
            (Effect::Refuse, true, true),
        ];
        for (effect, lifted, refuses) in table {
            let mut finding = Finding::new(FindingCode::new("X"), effect, "a 1", "", "");
            finding.waived = lifted.then(|| waived.clone());
            assert_eq!(finding.refuses(), refuses, "{effect:?} {lifted}");
        }
    }

    #[test]
    fn findings_are_read_as_they_were_written() {
        let package = PackageVersion {
            ecosystem: Ecosystem::Python,
            name: "a".to_owned(),
            version: "1".to_owned(),
        };
        let finding = Finding::new(FindingCode::new("AGE-YOUNG"), Effect::Hold, "", "m", "h").about(package);
        let text = serde_json::to_string(&finding).unwrap();
        assert!(
            text.starts_with("{\"code\":\"AGE-YOUNG\",\"effect\":\"hold\",\"subject\":\"a 1\""),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), finding);
    }
}
