//! Why evidence cannot be brought up to date, or not be used.

use std::io;
use std::path::PathBuf;

use cooper_core::{BlobDigest, Timestamp};
use cooper_gate::advisories::{
    CompileError, EpssError, KnownExploitedError, ReadSnapshotError, Skipped, VexError,
};
use cooper_gate::names::ListError;
use cooper_store::{FetchError, LockError, PinError, ReadBlobError, StageError, WriteBlobError};

/// The first thing that was left out, to follow a number.
fn told(first: Option<&Skipped>) -> String {
    first.map_or_else(String::new, |first| format!(": {}: {}", first.name, first.reason))
}

/// Why one source gave no evidence. What was there of it stays.
#[derive(Debug, thiserror::Error)]
pub enum SourceFault {
    /// It cannot be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be read.
    #[error("cannot {operation} it")]
    Read {
        /// What was tried.
        operation: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is larger than any evidence is.
    #[error("it has more than {max} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// Nothing that is known.
    #[error(
        "it is no evidence that is known: neither an archive or record of OSV, a list of exploited vulnerabilities, EPSS scores, popular names nor an OpenVEX document"
    )]
    Unrecognised,
    /// An archive that is damaged or made to harm.
    #[error("the archive cannot be read: {reason}")]
    Archive {
        /// Why.
        reason: String,
    },
    /// An archive without a record that is of use.
    #[error("it has no record about PyPI or a release of Debian ({skipped} skipped{})", told(first.as_ref()))]
    NoRecords {
        /// How many files or records were left out.
        skipped: u64,
        /// The first of those that are about us, and cannot be used.
        first: Option<Skipped>,
    },
    /// Too much for one snapshot.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// No list of exploited vulnerabilities.
    #[error(transparent)]
    Exploited(#[from] KnownExploitedError),
    /// No scores.
    #[error(transparent)]
    Epss(#[from] EpssError),
    /// No list of popular names.
    #[error(transparent)]
    Popular(#[from] ListError),
    /// No VEX document.
    #[error(transparent)]
    Vex(#[from] VexError),
    /// What was compiled cannot be opened.
    #[error(transparent)]
    Snapshot(#[from] ReadSnapshotError),
    /// It has lost more than half of what it had: a truncated export, or an attack.
    #[error("it has {now} records where there were {before}")]
    Fewer {
        /// How many before.
        before: u64,
        /// How many now.
        now: u64,
    },
    /// It went back in time: a stale mirror, or a replay.
    #[error("its newest record is of {now}, older than the one of {before} that there was")]
    Older {
        /// The newest before.
        before: Timestamp,
        /// The newest now.
        now: Timestamp,
    },
}

impl SourceFault {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Fetch(error) => return error.hint(),
            Self::Unrecognised => {
                "`cooper config` shows the addresses (advisories.…); `--from FILE` takes files that were downloaded otherwise"
            }
            Self::Fewer { .. } | Self::Older { .. } => {
                "look at the source; if it is right, `cooper advisories update --replace`"
            }
            Self::Read { .. } => "name a file that you may read",
            _ => "download it again; what there was of it stays in use",
        };
        Some(hint.to_owned())
    }
}

/// Why evidence could not be brought up to date at all. What there was stays.
#[derive(Debug, thiserror::Error)]
pub enum UpdateAdvisoriesError {
    /// There is nothing to read.
    #[error("`{}` cannot be read", path.display())]
    Path {
        /// What was named.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// More files than anybody means.
    #[error("`{}` has more than {max} files", path.display())]
    TooManyFiles {
        /// What was named.
        path: PathBuf,
        /// The limit.
        max: usize,
    },
    /// No address is configured.
    #[error("no address of evidence is configured")]
    NoSource,
    /// More parts than a query can go through.
    #[error("there would be more than {max} parts of evidence")]
    TooManyParts {
        /// The limit.
        max: usize,
    },
    /// Another update cannot be waited for.
    #[error("cannot wait for another update")]
    Lock(#[source] LockError),
    /// No place for work in progress.
    #[error("cannot make room for what comes")]
    Stage(#[source] StageError),
    /// A part cannot be kept.
    #[error("cannot keep the evidence")]
    Keep(#[source] WriteBlobError),
    /// The pin cannot be set.
    #[error("cannot put the evidence in its place")]
    Pin(#[source] PinError),
    /// The manifest cannot be written.
    #[error("cannot write the manifest of the evidence")]
    Manifest(#[source] serde_json::Error),
}

/// Why evidence cannot be used: then nothing is known, which is no pass.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// What is current cannot be read.
    #[error("cannot tell which evidence there is")]
    Pin(#[source] PinError),
    /// A part or the manifest is not there.
    #[error("evidence {blob} cannot be read")]
    Read {
        /// Which.
        blob: BlobDigest,
        /// Why.
        #[source]
        source: ReadBlobError,
    },
    /// The manifest is not one.
    #[error("{blob} is no manifest of evidence that is known")]
    Manifest {
        /// Which.
        blob: BlobDigest,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A part is not what was written.
    #[error("the part `{key}` of the evidence cannot be used")]
    Part {
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl UpdateAdvisoriesError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Path { .. } | Self::TooManyFiles { .. } => {
                "name the files that were downloaded: `--from FILE`"
            }
            Self::NoSource => "`cooper config` shows the addresses (advisories.…); `--from FILE` takes files",
            Self::TooManyParts { .. } => "join the VEX documents of one author",
            _ => "`cooper fsck` looks what is wrong with the store",
        };
        Some(hint.to_owned())
    }
}

impl EvidenceError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        Some("`cooper advisories update` makes it anew; `cooper fsck` looks for more damage".to_owned())
    }
}
