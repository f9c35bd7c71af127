//! What can go wrong while measuring.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

/// A step of the benchmark that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Unknown or missing options.
    #[error("{0}")]
    Usage(String),
    /// A program is missing or cannot be started.
    #[error("cannot start `{command}`")]
    Start {
        command: String,
        #[source]
        source: io::Error,
    },
    /// A program ended with a failure.
    #[error("`{command}` failed ({status}): {said}")]
    Failed {
        command: String,
        status: String,
        said: String,
    },
    /// A program did not end.
    #[error("`{command}` was stopped after {limit_s} s")]
    TooLong { command: String, limit_s: u64 },
    /// A program ended well and did not do what was measured.
    #[error("`{command}` did not do the work: {what}")]
    NotDone { command: String, what: String },
    /// What has to be there before the work cannot be made.
    #[error("could not be prepared: {0}")]
    NotPrepared(String),
    /// A file cannot be read, written, made or removed.
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A system call failed.
    #[error("{call} failed")]
    System {
        call: &'static str,
        #[source]
        source: io::Error,
    },
    /// The host's apt has no Debian mirror.
    #[error("the host's apt sources name no Debian mirror and security mirror: run `apt-get update`")]
    NoMirror,
    /// The report has no place for the table.
    #[error("{} does not hold the two markers, one before the other", path.display())]
    NoMarkers { path: PathBuf },
}

impl BenchError {
    /// Something about this file or folder failed.
    pub(crate) fn file(path: &Path, source: io::Error) -> Self {
        Self::File {
            path: path.to_owned(),
            source,
        }
    }

    /// The same for another who needs what could not be prepared.
    pub(crate) fn again(&self) -> Self {
        Self::NotPrepared(self.chain())
    }

    /// The error and its causes on one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}
