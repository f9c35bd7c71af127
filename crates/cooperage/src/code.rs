//! Stable names of kinds of errors, for programs that read what the doors say. A code never changes its meaning.

use cooper_core::request::ParseRequestError;
use cooper_core::{Effect, Finding};
use cooper_gate::Outcome;
use cooper_gate::integrity::IntegrityCode;
use cooper_image::archive::{ReadArchiveError, WriteArchiveError};
use cooper_image::layer::UnpackError;
use cooper_image::rootfs::RootfsError;
use cooper_image::{AssembleError, SourceBuildError};
use cooper_resolve::ResolveError;
use cooper_resolve::debian::DebianError;
use cooper_resolve::python::{PythonError, Withdrawn};
use cooper_sandbox::CollectError;
use cooper_store::{FetchError, MarkError, PinError, StageError, WriteBlobError};

use crate::advisories::{EvidenceError, SourceFault, UpdateAdvisoriesError};
use crate::base_image::BaseImageError;
use crate::chat::ChatError;
use crate::create::CreateError;
use crate::due_diligence::DiligenceError;
use crate::inspect::InspectError;
use crate::load::LoadError;
use crate::requirements_file::RequirementsFileError;
use crate::run::{GrantError, RunError};
use crate::save::SaveError;
use crate::sources::SourceError;
use crate::standing::RemoveError;
use crate::waivers::WaiverError;
use crate::workshop::{LookupError, OpenError};

const STORE: &str = "store";
const NETWORK_SETTINGS: &str = "configuration";
const SANDBOX: &str = "sandbox";
const OFFLINE: &str = "offline";
const SOURCE_BUILD: &str = "source-build";
const UNKNOWN_PACKAGE: &str = "unknown-package";
const UNRESOLVABLE: &str = "unresolvable";
const DISK_FULL: &str = "disk-full";
const UNTRUSTED_INDEX: &str = "untrusted-index";
const REFUSED: &str = "refused";
const UNJUDGED: &str = "unjudged";
const POLICY: &str = "policy";
const HASH_MISMATCH: &str = "hash-mismatch";
const BASE_CONFLICT: &str = "base-conflict";
const UNUSABLE_ARTEFACT: &str = "unusable-artefact";
const INVALID_LOCK: &str = "invalid-lock";

impl DiligenceError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Policy(_) => POLICY,
            Self::Advisories(_) | Self::FirstSeen(_) => STORE,
            Self::Evidence(error) => error.code(),
            Self::Waivers(error) => error.code(),
        }
    }
}

impl WaiverError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ledger(_) => STORE,
            Self::Text { .. }
            | Self::Ended { .. }
            | Self::UnknownFinding { .. }
            | Self::Package { .. }
            | Self::Version { .. } => "usage",
            Self::NotWaivable { .. } => "not-waivable",
            Self::NoSuch { .. } => "unknown-waiver",
        }
    }
}

impl ChatError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownCommand { .. } | Self::NotACommand { .. } => "unknown-command",
            Self::UnknownArgument { .. } => "unknown-argument",
            Self::Request(error) => request_code(error),
            _ => "usage",
        }
    }
}

fn request_code(error: &ParseRequestError) -> &'static str {
    match error {
        ParseRequestError::Name(_) => "invalid-name",
        ParseRequestError::Base(_) => "invalid-base",
        ParseRequestError::Python(_) => "invalid-dependency",
        ParseRequestError::Debian(_) => "invalid-package",
        ParseRequestError::EmptyEntry { .. } | ParseRequestError::Unclosed { .. } => "invalid-list",
        ParseRequestError::TooMany { .. } | ParseRequestError::Nothing { .. } => "invalid-request",
        ParseRequestError::Unhashed { .. }
        | ParseRequestError::Unpinned { .. }
        | ParseRequestError::OtherHashes { .. }
        | ParseRequestError::LooseHashes { .. } => "invalid-hashes",
    }
}

impl RequirementsFileError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Open { .. } => "unreadable-file",
            Self::Content(_) => "invalid-requirements",
        }
    }
}

impl OpenError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(_) => STORE,
            Self::Intake(_) => NETWORK_SETTINGS,
        }
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Store(_) => {
                "choose a folder that you may write: `--store DIR` or COOPER_STORE; `cooper config` shows it"
            }
            Self::Intake(_) => "`cooper config` shows the proxies in force and where they come from",
        };
        Some(hint.to_owned())
    }
}

impl SourceFault {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fetch(error) => fetch_code(error),
            Self::Read { .. } => "unreadable-file",
            Self::Unrecognised => "unknown-evidence",
            Self::Fewer { .. } | Self::Older { .. } => "suspicious-evidence",
            _ => "invalid-evidence",
        }
    }
}

impl UpdateAdvisoriesError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Path { .. } | Self::TooManyFiles { .. } => "unreadable-file",
            Self::NoSource => NETWORK_SETTINGS,
            Self::TooManyParts { .. } => "invalid-evidence",
            Self::Keep(WriteBlobError::DiskFull { .. }) | Self::Pin(PinError::DiskFull { .. }) => DISK_FULL,
            Self::Lock(_) | Self::Stage(_) | Self::Keep(_) | Self::Pin(_) | Self::Manifest(_) => STORE,
        }
    }
}

impl EvidenceError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        "damaged-evidence"
    }
}

impl LookupError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown-image",
            Self::Store { .. } | Self::Record { .. } => STORE,
        }
    }
}

impl BaseImageError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lookup(error) => error.code(),
            Self::Lock { .. } | Self::Unreadable { .. } => STORE,
            Self::Foreign { .. } | Self::Itself { .. } | Self::TooDeep { .. } | Self::Recipe { .. } => {
                "unusable-base"
            }
        }
    }
}

impl RemoveError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Base { .. } => "base-of-others",
            Self::Inspect(error) => error.code(),
        }
    }
}

impl InspectError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lookup(error) => error.code(),
            Self::Blob { .. } | Self::Format { .. } => STORE,
        }
    }
}

impl RunError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lookup(error) => error.code(),
            Self::Trees { .. } => STORE,
            Self::Outputs {
                source: CollectError::Keep { source, .. },
            } => output_code(source),
            Self::Sandbox { .. } | Self::Outputs { .. } => SANDBOX,
        }
    }
}

impl GrantError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Output { source, .. } => output_code(source),
            _ => "grant",
        }
    }
}

impl SaveError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Lookup(error) => error.code(),
            Self::Write(WriteArchiveError::Write(source)) | Self::File { source, .. } => output_code(source),
            Self::Write(_) | Self::Json(_) => STORE,
        }
    }
}

fn output_code(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DISK_FULL,
        _ => "output",
    }
}

fn is_disk_full(error: &UnpackError) -> bool {
    match error {
        UnpackError::Stage(error) => matches!(error, StageError::DiskFull { .. }),
        UnpackError::Write(RootfsError::Io { source, .. }) => output_code(source) == DISK_FULL,
        _ => false,
    }
}

impl LoadError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Archive(ReadArchiveError::Foreign { .. }) => "foreign-image",
            Self::Archive(ReadArchiveError::Blob { source, .. })
                if !matches!(source, WriteBlobError::Mismatch { .. }) =>
            {
                write_code(source)
            }
            Self::Layer { source, .. } if is_disk_full(source) => DISK_FULL,
            Self::Taken(_) => "name-taken",
            Self::OneName { .. } => "usage",
            Self::Read { .. } | Self::Name(_) | Self::NameLock(_) | Self::Json(_) => STORE,
            _ => "unusable-archive",
        }
    }
}

impl CreateError {
    /// The stable name of this kind of error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Resolve(ResolveError::Debian(error)) => debian_code(error),
            Self::Resolve(ResolveError::Python(error)) => python_code(error),
            Self::Resolve(ResolveError::Unbuilt { .. }) => SOURCE_BUILD,
            Self::Base(error) => error.code(),
            Self::Lock(_) | Self::LockFormat { .. } | Self::OtherSize { .. } => INVALID_LOCK,
            Self::Refused(refusal) if refusal.verdict().outcome == Outcome::Unknown => UNJUDGED,
            Self::Refused(_) => REFUSED,
            Self::Diligence(error) => error.code(),
            Self::Fetch(error) | Self::Refetch { source: error, .. } => fetch_code(error),
            Self::Metadata(_) | Self::Unread { .. } => UNUSABLE_ARTEFACT,
            Self::Source(error) => source_code(error),
            Self::Assemble(error) => assemble_code(error),
            Self::Write(error) => write_code(error),
            Self::Name(_) | Self::NameLock(_) | Self::Json(_) => STORE,
            Self::Inspect(error) => error.code(),
            Self::NoMirror { .. } => NETWORK_SETTINGS,
        }
    }

    /// Whether a gate could not judge, and the policy wants that it could.
    pub fn is_unjudged(&self) -> bool {
        self.code() == UNJUDGED
    }

    /// Whether it was refused for what it would bring in, rather than failed.
    pub fn is_refusal(&self) -> bool {
        matches!(self.code(), REFUSED | UNTRUSTED_INDEX | HASH_MISMATCH)
    }

    /// Why it was refused: the gates' findings, and the findings that an index without a good signature, and a
    /// requirement that only withdrawn versions meet, are before there is a plan to judge.
    pub fn findings(&self) -> Vec<Finding> {
        match self {
            Self::Refused(refusal) => refusal.findings().to_vec(),
            Self::Resolve(ResolveError::Debian(error @ DebianError::Signature { suite, .. })) => {
                let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
                vec![Finding::new(
                    IntegrityCode::Unsigned.into(),
                    Effect::Refuse,
                    format!("suite {suite}"),
                    format!("{error}{}", cause.unwrap_or_default()),
                    error.hint().unwrap_or_default(),
                )]
            }
            Self::Resolve(ResolveError::Python(error @ PythonError::Withdrawn { name, withdrawn, .. })) => {
                let finding = |one: &Withdrawn| {
                    Finding::new(
                        IntegrityCode::Yanked.into(),
                        Effect::Refuse,
                        format!("{name} {}", one.version),
                        format!("its publisher withdrew {}: {}", one.filename, one.why()),
                        error.hint().unwrap_or_default(),
                    )
                };
                withdrawn.iter().map(finding).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn debian_code(error: &DebianError) -> &'static str {
    match error {
        DebianError::Offline { .. } => OFFLINE,
        DebianError::NoMirror { .. } | DebianError::NoKeys { .. } => NETWORK_SETTINGS,
        DebianError::Fetch { source, .. } => fetch_code(source),
        DebianError::Signature { .. } => UNTRUSTED_INDEX,
        DebianError::Store { source, .. } => write_code(source),
        DebianError::UnknownPackage { .. } => UNKNOWN_PACKAGE,
        DebianError::UnknownVersion { .. } => "unknown-version",
        DebianError::Release { .. } | DebianError::Unpack { .. } | DebianError::Index { .. } => {
            "unusable-index"
        }
        DebianError::Newest { source, .. } if matches!(**source, MarkError::DiskFull { .. }) => DISK_FULL,
        DebianError::Damaged { .. } | DebianError::Newest { .. } | DebianError::GroundImage { .. } => STORE,
        _ => UNRESOLVABLE,
    }
}

fn python_code(error: &PythonError) -> &'static str {
    match error {
        PythonError::UnknownPackage { .. } => UNKNOWN_PACKAGE,
        PythonError::Withdrawn { .. } => REFUSED,
        PythonError::OtherHash(_) => HASH_MISMATCH,
        PythonError::BaseConflict(_) => BASE_CONFLICT,
        PythonError::Unlisted { .. } => "unlisted-hash",
        PythonError::NoUsableVersion { .. } => "no-usable-version",
        PythonError::UnknownExtra { .. } => "unknown-extra",
        PythonError::Fetch { source, .. } | PythonError::Metadata { source, .. } => fetch_code(source),
        PythonError::Offline { .. } => OFFLINE,
        PythonError::Page { .. } => "unusable-index",
        PythonError::IndexUrl { .. } => NETWORK_SETTINGS,
        _ => UNRESOLVABLE,
    }
}

fn fetch_code(error: &FetchError) -> &'static str {
    match error {
        FetchError::Offline { .. } => OFFLINE,
        FetchError::DiskFull { .. } => DISK_FULL,
        FetchError::DigestMismatch { .. } => "digest-mismatch",
        FetchError::Io { .. } => STORE,
        _ => "fetch-failed",
    }
}

fn source_code(error: &SourceError) -> &'static str {
    match error {
        SourceError::Environment { source, .. } => source.code(),
        SourceError::Run { source, .. } => match **source {
            SourceBuildError::Sandbox(_) => SANDBOX,
            _ => STORE,
        },
        SourceError::NotReproduced { .. } => "not-reproduced",
        _ => SOURCE_BUILD,
    }
}

fn write_code(error: &WriteBlobError) -> &'static str {
    match error {
        WriteBlobError::DiskFull { .. } => DISK_FULL,
        _ => STORE,
    }
}

fn assemble_code(error: &AssembleError) -> &'static str {
    match error {
        full if full.is_disk_full() => DISK_FULL,
        AssembleError::Sandbox(_) => SANDBOX,
        AssembleError::Deb { .. } | AssembleError::Wheel { .. } => UNUSABLE_ARTEFACT,
        AssembleError::Script { .. } | AssembleError::Stopped { .. } => "maintainer-script",
        AssembleError::Recipe { .. } => INVALID_LOCK,
        AssembleError::Write(error) => write_code(error),
        _ => STORE,
    }
}
