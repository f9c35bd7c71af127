//! Named locks between threads and processes.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::Store;
use super::file::{Of as _, open_lock_file, takes_file_error};

/// Why a lock could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The name cannot be a file name.
    #[error("`{name}` cannot be the name of a lock: use letters, digits, `.`, `_` and `-`")]
    Name {
        /// The name.
        name: String,
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
takes_file_error!(LockError);

/// An exclusive lock, held until it is dropped or its process ends.
#[derive(Debug)]
pub struct StoreLock {
    _held: File,
}

/// Held while names change. Callers' locks cannot begin with a dot.
const NAMES_LOCK: &str = ".names";
/// Held while a mark is raised.
const MARKS_LOCK: &str = ".marks";
/// Held while a ledger is added to.
const LEDGERS_LOCK: &str = ".ledgers";
const NAME_LENGTH_MAX: usize = 200;

impl Store {
    /// Wait for the lock of this name and take it.
    pub fn lock(&self, name: &str) -> Result<StoreLock, LockError> {
        wait_for(&self.lock_path(name)?)
    }

    /// The lock of the names, which no caller's lock can be mixed up with.
    pub(super) fn lock_names(&self) -> Result<StoreLock, LockError> {
        wait_for(&self.root().join("locks").join(NAMES_LOCK))
    }

    /// The same, if it is free.
    pub(super) fn try_lock_names(&self) -> Result<Option<StoreLock>, LockError> {
        take_if_free(&self.root().join("locks").join(NAMES_LOCK))
    }

    /// The lock of the marks.
    pub(super) fn lock_marks(&self) -> Result<StoreLock, LockError> {
        wait_for(&self.root().join("locks").join(MARKS_LOCK))
    }

    /// The lock of the ledgers.
    pub(super) fn lock_ledgers(&self) -> Result<StoreLock, LockError> {
        wait_for(&self.root().join("locks").join(LEDGERS_LOCK))
    }

    /// Take the lock of this name if it is free.
    pub fn try_lock(&self, name: &str) -> Result<Option<StoreLock>, LockError> {
        take_if_free(&self.lock_path(name)?)
    }

    fn lock_path(&self, name: &str) -> Result<PathBuf, LockError> {
        plain_path(&self.root().join("locks"), name).map_err(|name| LockError::Name { name })
    }
}

/// The file of a plain name in a folder; what is shown of the name where it is none.
pub(super) fn plain_path(folder: &Path, name: &str) -> Result<PathBuf, String> {
    if is_plain_name(name) {
        Ok(folder.join(name))
    } else {
        Err(name.chars().take(80).collect())
    }
}

/// Whether this can be a file name of the store's own: plain ASCII, not hidden.
pub(super) fn is_plain_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=NAME_LENGTH_MAX).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

fn wait_for(path: &Path) -> Result<StoreLock, LockError> {
    let file = open_lock_file(path)?;
    file.lock().of("lock", path)?;
    Ok(StoreLock { _held: file })
}

fn take_if_free(path: &Path) -> Result<Option<StoreLock>, LockError> {
    let file = open_lock_file(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(StoreLock { _held: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).of("lock", path)?,
    }
}
