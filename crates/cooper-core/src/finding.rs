//! What a gate says of a plan: findings with stable codes.

use serde::Serialize;

/// What a finding does to the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// For information.
    Note,
    /// Refuses unless a waiver lifts it.
    Hold,
    /// Refuses; no waiver.
    Refuse,
}

/// The stable name of a kind of finding. A code never changes its meaning; new kinds get new codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum FindingCode {
    /// An index names an artefact without a SHA-256, so nobody can tell what will be downloaded.
    #[serde(rename = "INTEGRITY-NO-HASH")]
    NoHash,
    /// An artefact was chosen from an index that no trusted key has signed.
    #[serde(rename = "INTEGRITY-UNSIGNED")]
    Unsigned,
    /// The signed validity of an index has ended: a mirror may be replaying an old state.
    #[serde(rename = "INTEGRITY-EXPIRED")]
    Expired,
    /// An index is older than the newest one seen for the same suite.
    #[serde(rename = "INTEGRITY-ROLLED-BACK")]
    RolledBack,
    /// The signed index of a lock's snapshot is not at hand, and what the lock says of it is believed.
    #[serde(rename = "INTEGRITY-UNCHECKED-SNAPSHOT")]
    UncheckedSnapshot,
    /// An artefact is made for another platform than the image.
    #[serde(rename = "INTEGRITY-PLATFORM")]
    WrongPlatform,
    /// An artefact was withdrawn by its publisher and is not asked for by its exact version.
    #[serde(rename = "INTEGRITY-YANKED")]
    Yanked,
    /// An artefact was withdrawn by its publisher, and the request asks for exactly that version.
    #[serde(rename = "INTEGRITY-YANKED-PINNED")]
    YankedPinned,
    /// A wheel was built here from sources, because the index has no wheel that fits.
    #[serde(rename = "INTEGRITY-BUILT-HERE")]
    BuiltHere,
    /// The plan names one artefact twice, or two versions of one package.
    #[serde(rename = "INTEGRITY-DUPLICATE")]
    Duplicate,
}

impl FindingCode {
    /// Every code, for documentation and tests.
    pub const ALL: [Self; 10] = [
        Self::NoHash,
        Self::Unsigned,
        Self::Expired,
        Self::RolledBack,
        Self::UncheckedSnapshot,
        Self::WrongPlatform,
        Self::Yanked,
        Self::YankedPinned,
        Self::BuiltHere,
        Self::Duplicate,
    ];

    /// The code as it is shown and serialised.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoHash => "INTEGRITY-NO-HASH",
            Self::Unsigned => "INTEGRITY-UNSIGNED",
            Self::Expired => "INTEGRITY-EXPIRED",
            Self::RolledBack => "INTEGRITY-ROLLED-BACK",
            Self::UncheckedSnapshot => "INTEGRITY-UNCHECKED-SNAPSHOT",
            Self::WrongPlatform => "INTEGRITY-PLATFORM",
            Self::Yanked => "INTEGRITY-YANKED",
            Self::YankedPinned => "INTEGRITY-YANKED-PINNED",
            Self::BuiltHere => "INTEGRITY-BUILT-HERE",
            Self::Duplicate => "INTEGRITY-DUPLICATE",
        }
    }
}

/// One observation of one gate about one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The stable code.
    pub code: FindingCode,
    /// What it does to the verdict.
    pub effect: Effect,
    /// What it is about: `wget 1.25.0-2`, `requests 2.32.3`, `suite trixie-security`.
    pub subject: String,
    /// One sentence with the evidence: dates, names, numbers.
    pub message: String,
    /// A command or an edit that helps.
    pub hint: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_serialised_as_they_are_shown() {
        for code in FindingCode::ALL {
            assert_eq!(
                serde_json::to_string(&code).unwrap(),
                format!("\"{}\"", code.as_str())
            );
        }
    }
}
