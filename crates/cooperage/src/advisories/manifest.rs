//! What the evidence consists of: the manifest, which is hashed, and what the pin says beside it, which is not.

use std::collections::BTreeMap;
use std::fmt;

use cooper_core::{BlobDigest, Digest, Timestamp};
use cooper_gate::advisories::Skipped;
use cooper_store::Validators;
use serde::{Deserialize, Serialize};

/// The name of the pin and of the lock that updates take.
pub(super) const NAME: &str = "advisories";
/// The format of manifests and parts; another one means that every source is compiled anew.
pub(super) const FORMAT: u32 = 1;
/// No manifest is larger.
pub(super) const MANIFEST_BYTES_MAX: u64 = 1 << 20;
/// More parts than that slow every query down.
pub(super) const PARTS_MAX: usize = 64;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// Advisories in the OSV format.
    Osv,
    /// Vulnerabilities that are known to be exploited.
    Exploited,
    /// Scores: how probable exploitation is.
    Epss,
    /// Names of popular distributions.
    Popular,
    /// `OpenVEX` statements.
    Vex,
}

impl EvidenceKind {
    /// As it is shown and serialised.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Osv => "osv",
            Self::Exploited => "exploited",
            Self::Epss => "epss",
            Self::Popular => "popular",
            Self::Vex => "vex",
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A part as the manifest has it: a function of the source's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ManifestPart {
    /// What it stands for: `osv/PyPI`, `epss`. A new part takes the place of those with the same key.
    pub(super) key: String,
    pub(super) kind: EvidenceKind,
    pub(super) blob: BlobDigest,
    pub(super) bytes: u64,
    /// Records, entries, scores, names or statements.
    pub(super) records: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) withdrawn: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) malicious: u64,
    /// Packages that advisories are about, by ecosystem.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) packages: BTreeMap<String, u64>,
    /// Of when the content is by its own account.
    pub(super) as_of: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) cooper_evidence: u32,
    /// Sorted by key, then blob.
    pub(super) parts: Vec<ManifestPart>,
}

/// What is known of a part beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartDetails {
    /// An address, or a file's name.
    pub(super) origin: String,
    /// Of the source's bytes.
    pub(super) source: Digest,
    #[serde(default)]
    pub(super) validators: Validators,
    /// When this content came.
    pub(super) fetched_at: Timestamp,
    /// When the source last said that this is its content.
    pub(super) checked_at: Timestamp,
    pub(super) skipped: Vec<Skipped>,
    pub(super) skipped_count: u64,
}

/// What the pin says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PinDetails {
    pub(super) evidence: BlobDigest,
    /// In the order of the manifest's parts.
    pub(super) parts: Vec<PartDetails>,
}

/// A part with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownPart {
    pub(super) part: ManifestPart,
    pub(super) details: PartDetails,
}

impl KnownPart {
    /// Of when it is: by its own account, else when it came.
    pub(super) fn dated(&self) -> Timestamp {
        self.part.as_of.unwrap_or(self.details.fetched_at)
    }
}
