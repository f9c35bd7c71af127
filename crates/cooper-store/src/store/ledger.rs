//! Ledgers: lists of lines that only grow, each line on the disk before the call returns.
//!
//! A ledger is written and numbered under its own lock, in one write a line, so that a killed process leaves a whole
//! line or a torn last one, which the next line does not continue. What a line means is the callers' business; a torn
//! one means nothing to them.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::file::{
    FileError, Of as _, open_if_there, read_bounded, sync_dir, takes_file_error, write_synced,
};
use super::journal::ends_torn;
use super::lock::plain_path;
use super::{LockError, Store};

/// How large a ledger may grow, in bytes.
pub(super) const LEDGER_BYTES_MAX: u64 = 64 << 20;

/// Why a ledger could not be read or added to.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The name cannot be a file name.
    #[error("`{name}` cannot be the name of a ledger: use letters, digits, `.`, `_` and `-`")]
    Name {
        /// The name.
        name: String,
    },
    /// It has grown beyond what is read.
    #[error("`{path}` has more than {LEDGER_BYTES_MAX} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Its lock could not be taken.
    #[error("cannot take the lock of the ledgers")]
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
takes_file_error!(LedgerError);

impl Store {
    /// The lines of a ledger, oldest first; none where it was never written.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn ledger(&self, name: &str) -> Result<Vec<Vec<u8>>, LedgerError> {
        read_lines(&self.ledger_path(name)?)
    }

    /// Add the line that is made of those before it. It is on the disk then.
    ///
    /// # Errors
    /// When what is there cannot be read, or the store cannot be written.
    pub fn add_to_ledger(
        &self,
        name: &str,
        line: impl FnOnce(&[Vec<u8>]) -> Vec<u8>,
    ) -> Result<(), LedgerError> {
        self.extend_ledger(name, |lines| vec![line(lines)])
    }

    /// Add the lines that are made of those before them, in one write. They are on the disk then. Where they are none,
    /// nothing is written.
    ///
    /// # Errors
    /// As [`Store::add_to_ledger`].
    pub fn extend_ledger(
        &self,
        name: &str,
        lines: impl FnOnce(&[Vec<u8>]) -> Vec<Vec<u8>>,
    ) -> Result<(), LedgerError> {
        let path = self.ledger_path(name)?;
        let _one_at_a_time = self
            .lock_ledgers()
            .map_err(|source| LedgerError::Lock { source })?;
        let mut text = Vec::new();
        for line in lines(&read_lines(&path)?) {
            text.extend(line.into_iter().filter(|byte| *byte != b'\n'));
            text.push(b'\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(&path).of("open", &path)?;
        if ends_torn(&mut file).of("read", &path)? {
            text.insert(0, b'\n');
        }
        file.write_all(&text).of("write", &path)?;
        file.sync_data().of("sync", &path)?;
        Ok(sync_dir(&self.ledgers_dir())?)
    }

    /// Put `kept` in the place of a damaged ledger that has these bytes, and the damaged one out of the way. The caller
    /// holds the lock of the ledgers.
    pub(super) fn mend_ledger(
        &self,
        name: &str,
        path: &Path,
        damaged: &[u8],
        kept: &[u8],
    ) -> Result<(), FileError> {
        let copy = self.staged_file("ledger")?;
        write_synced(copy.path(), damaged)?;
        self.quarantine(copy.path(), &format!("ledger-{name}"))?;
        self.replace_durably("ledger", path, kept)
    }

    pub(super) fn ledgers_dir(&self) -> PathBuf {
        self.root().join("ledgers")
    }

    fn ledger_path(&self, name: &str) -> Result<PathBuf, LedgerError> {
        plain_path(&self.ledgers_dir(), name).map_err(|name| LedgerError::Name { name })
    }
}

fn read_lines(path: &Path) -> Result<Vec<Vec<u8>>, LedgerError> {
    let Some(mut file) = open_if_there(path)? else {
        return Ok(Vec::new());
    };
    let bytes = read_bounded(&mut file, LEDGER_BYTES_MAX).of("read", path)?;
    let bytes = bytes.ok_or_else(|| LedgerError::TooLarge {
        path: path.to_owned(),
    })?;
    Ok(lines_of(&bytes).map(|(_, line)| line.to_vec()).collect())
}

/// The lines that are not empty, with their numbers from 1; the last one also where it is not ended.
pub(super) fn lines_of(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = bytes.split(|byte| *byte == b'\n');
    (1..).zip(lines).filter(|(_, line)| !line.is_empty())
}

/// Whether the last line is ended.
pub(super) fn ends_whole(bytes: &[u8]) -> bool {
    bytes.last().is_none_or(|last| *last == b'\n')
}
