//! Why a fetch failed.

use std::fmt;
use std::path::PathBuf;

use cooper_core::Digest;
use url::Url;

use crate::store::{FileError, WriteBlobError};

/// Why something could not be fetched. Addresses come without user name and password.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Fetching is switched off.
    #[error("`{url}` is needed, and fetching is switched off")]
    Offline {
        /// What would have been fetched.
        url: PublicUrl,
    },
    /// There is no address to fetch it from.
    #[error("no address is known for {label}")]
    NoAddress {
        /// What it is.
        label: String,
    },
    /// The server does not have it (404, 410).
    #[error("`{url}` does not exist")]
    NotFound {
        /// What was asked for.
        url: PublicUrl,
    },
    /// The server answered with a status that is no success.
    #[error("`{url}` answered with status {status}")]
    Status {
        /// What was asked for.
        url: PublicUrl,
        /// The HTTP status.
        status: u16,
    },
    /// The server wants other credentials (401), or does not allow it with these (403).
    #[error("`{url}` answered with status {status}; it was asked {asked}")]
    Denied {
        /// What was asked for.
        url: PublicUrl,
        /// The HTTP status.
        status: u16,
        /// With which credentials, told by where they are said.
        asked: String,
    },
    /// The program that knows credentials failed.
    #[error("the credential helper has no answer for `{url}`: {reason}")]
    Helper {
        /// The index or mirror.
        url: PublicUrl,
        /// What went wrong.
        reason: String,
    },
    /// Connecting, the answer or the body took too long to come.
    #[error("`{url}` is silent: {phase} took longer than {limit_ms} ms")]
    Timeout {
        /// What was asked for.
        url: PublicUrl,
        /// What took too long.
        phase: &'static str,
        /// The limit.
        limit_ms: u64,
    },
    /// The body came too slowly.
    #[error("`{url}` is too slow: {bytes} bytes in {window_ms} ms")]
    TooSlow {
        /// What was asked for.
        url: PublicUrl,
        /// How many bytes came in the window.
        bytes: u64,
        /// The window.
        window_ms: u64,
    },
    /// More came, or was announced, than may come.
    #[error("`{url}` sends more than {bytes_max} bytes")]
    TooLarge {
        /// What was asked for.
        url: PublicUrl,
        /// The limit.
        bytes_max: u64,
    },
    /// The body ended early.
    #[error("`{url}` ended after {got} bytes{}", expected.map(|bytes| format!(", expected {bytes}")).unwrap_or_default())]
    Truncated {
        /// What was asked for.
        url: PublicUrl,
        /// How many bytes should have come, where that is known.
        expected: Option<u64>,
        /// How many came.
        got: u64,
    },
    /// The bytes are not those that were promised.
    #[error("`{url}` has other bytes than promised: {got}, expected {expected}")]
    DigestMismatch {
        /// What was asked for.
        url: PublicUrl,
        /// What was promised.
        expected: Digest,
        /// What came.
        got: Digest,
    },
    /// The server could not be reached, or the connection broke.
    #[error("cannot reach `{url}`")]
    Connect {
        /// What was asked for.
        url: PublicUrl,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No trusted connection could be made.
    #[error("cannot make a trusted connection to `{url}`")]
    Tls {
        /// What was asked for.
        url: PublicUrl,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file with certificate authorities cannot be used.
    #[error("no certificate can be read from `{path}`")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is not HTTP, or not what was asked for.
    #[error("the answer of `{url}` cannot be understood: {reason}")]
    Protocol {
        /// What was asked for.
        url: PublicUrl,
        /// What is wrong with it.
        reason: String,
    },
    /// The address is neither http nor https.
    #[error("`{url}` is neither http nor https")]
    Scheme {
        /// The address.
        url: PublicUrl,
    },
    /// Too many redirects.
    #[error("`{url}` redirects more than {redirects_max} times")]
    Redirects {
        /// What was asked for.
        url: PublicUrl,
        /// The limit.
        redirects_max: u32,
    },
    /// A redirect that leaves https.
    #[error("`{url}` redirects from https to `{to}`")]
    InsecureRedirect {
        /// Who redirects.
        url: PublicUrl,
        /// Where to.
        to: PublicUrl,
    },
    /// The disk, or the user's quota of it, is full.
    #[error("no space left while writing `{path}`")]
    DiskFull {
        /// What could not be written.
        path: PathBuf,
    },
    /// What was fetched could not be kept.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another fetch of the same batch failed, so this one was given up.
    #[error("the fetch of `{url}` was given up because another one failed")]
    Cancelled {
        /// What was asked for.
        url: PublicUrl,
    },
    /// No address had it.
    #[error("{label} could not be fetched from any of {} addresses{}", attempts.len(), list(attempts))]
    AllFailed {
        /// What it is.
        label: String,
        /// Each address with its last reason, in the order tried.
        attempts: Vec<FailedAttempt>,
    },
}

/// An address with the reason why it gave nothing.
#[derive(Debug)]
pub struct FailedAttempt {
    /// The address.
    pub url: PublicUrl,
    /// The reason of its last try.
    pub error: Box<FetchError>,
}

fn list(attempts: &[FailedAttempt]) -> String {
    let line = |attempt: &FailedAttempt| format!("; {}", reason(&attempt.error));
    attempts.iter().map(line).collect()
}

/// An error with its causes in one line.
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl FetchError {
    /// Whether the only reason is that no address has it.
    pub fn is_not_found(&self) -> bool {
        match self {
            Self::NotFound { .. } => true,
            Self::AllFailed { attempts, .. } => attempts.iter().all(|attempt| attempt.error.is_not_found()),
            _ => false,
        }
    }

    /// Whether credentials are missing, or are not those that are wanted.
    pub fn is_denied(&self) -> bool {
        match self {
            Self::Denied { .. } | Self::Helper { .. } => true,
            Self::AllFailed { attempts, .. } => {
                attempts.last().is_some_and(|attempt| attempt.error.is_denied())
            }
            _ => false,
        }
    }

    /// Whether fetching is switched off.
    pub fn is_offline(&self) -> bool {
        matches!(self, Self::Offline { .. })
    }

    /// Whether the same address may do better a moment later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::TooSlow { .. } | Self::Truncated { .. } | Self::Connect { .. } => {
                true
            }
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500..=599),
            _ => false,
        }
    }

    /// Whether no other address can do better: the fault is ours.
    pub(super) fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::Offline { .. }
                | Self::NoAddress { .. }
                | Self::CaFile { .. }
                | Self::Helper { .. }
                | Self::DiskFull { .. }
                | Self::Io { .. }
                | Self::Cancelled { .. }
        )
    }
}

impl From<FileError> for FetchError {
    fn from(error: FileError) -> Self {
        if error.is_disk_full() {
            return Self::DiskFull { path: error.path };
        }
        Self::Io {
            operation: error.operation,
            path: error.path,
            source: error.source,
        }
    }
}

impl FetchError {
    /// Keeping the bytes of `url` failed.
    pub(super) fn keeping(url: &Url, error: WriteBlobError) -> Self {
        match error {
            WriteBlobError::DiskFull { path } => Self::DiskFull { path },
            WriteBlobError::Io {
                operation,
                path,
                source,
            } => Self::Io {
                operation,
                path,
                source,
            },
            WriteBlobError::Mismatch { expected, actual } => Self::DigestMismatch {
                url: public(url),
                expected,
                got: actual,
            },
        }
    }
}

/// An address without user name and password: fit to be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicUrl(Box<Url>);

impl PublicUrl {
    /// The address.
    pub fn as_url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0.as_str())
    }
}

/// The address as it may be shown.
pub(super) fn public(url: &Url) -> PublicUrl {
    let mut shown = url.clone();
    // Fails only for addresses that cannot hold them.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    PublicUrl(Box::new(shown))
}
