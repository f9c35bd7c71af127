//! Marks: times that only ever go up, and that outlive the cache.
//!
//! A caller that must not accept what is older than what it has seen keeps the newest time here. A mark is written
//! whole, synced and renamed; its directory is synced before the call returns. One that cannot be read is an error and
//! never "none": a damaged mark must not open the door that it keeps shut.

use std::io;
use std::path::{Path, PathBuf};

use cooper_core::Timestamp;

use super::file::{Of as _, open_if_there, read_bounded, takes_file_error};
use super::lock::plain_path;
use super::{LockError, Store};

/// A time as text is far shorter.
const MARK_BYTES_MAX: u64 = 256;

/// Why a mark could not be read or raised.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// The name cannot be a file name.
    #[error("`{name}` cannot be the name of a mark: use letters, digits, `.`, `_` and `-`")]
    Name {
        /// The name.
        name: String,
    },
    /// What is kept is no time.
    #[error("`{path}` does not hold a time")]
    Unreadable {
        /// The file.
        path: PathBuf,
    },
    /// The lock of the marks could not be taken.
    #[error("cannot take the lock of the marks")]
    Lock {
        /// Why.
        source: LockError,
    },
    /// The disk, or the user's quota of it, is full.
    #[error("no space left while writing `{path}`")]
    DiskFull {
        /// What could not be written.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
takes_file_error!(MarkError);

impl Store {
    /// The highest time that this mark was ever raised to; `None` where it never was.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn mark(&self, name: &str) -> Result<Option<Timestamp>, MarkError> {
        read_mark(&self.mark_path(name)?)
    }

    /// Raise a mark to this time, unless it is higher already. The highest of both; it is on the disk then.
    ///
    /// # Errors
    /// When what is there cannot be read, or the store cannot be written.
    pub fn raise_mark(&self, name: &str, time: Timestamp) -> Result<Timestamp, MarkError> {
        let path = self.mark_path(name)?;
        let _one_at_a_time = self.lock_marks().map_err(|source| MarkError::Lock { source })?;
        if let Some(before) = read_mark(&path)?.filter(|before| *before >= time) {
            return Ok(before);
        }
        self.replace_durably("mark", &path, format!("{time}\n").as_bytes())?;
        Ok(time)
    }

    pub(super) fn marks_dir(&self) -> PathBuf {
        self.root().join("marks")
    }

    fn mark_path(&self, name: &str) -> Result<PathBuf, MarkError> {
        plain_path(&self.marks_dir(), name).map_err(|name| MarkError::Name { name })
    }
}

pub(super) fn read_mark(path: &Path) -> Result<Option<Timestamp>, MarkError> {
    let Some(mut file) = open_if_there(path)? else {
        return Ok(None);
    };
    let bytes = read_bounded(&mut file, MARK_BYTES_MAX).of("read", path)?;
    let time = bytes
        .as_deref()
        .and_then(|bytes| std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.parse().ok());
    match time {
        Some(time) => Ok(Some(time)),
        None => Err(MarkError::Unreadable {
            path: path.to_owned(),
        }),
    }
}
