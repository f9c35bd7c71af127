//! Ledgers: lists of lines that only grow, each line on the disk before the call returns.
//!
//! A ledger is written and numbered under its own lock, in one write a line, so that a killed process leaves a whole
//! line or a torn last one, which the next line does not continue. What a line means is the callers' business; a torn
//! one means nothing to them.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::file::{Of as _, open_if_there, read_bounded, sync_dir, takes_file_error};
use super::journal::ends_torn;
use super::lock::plain_path;
use super::{LockError, Store};

/// How large a ledger may grow, in bytes.
const LEDGER_BYTES_MAX: u64 = 64 << 20;

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
        let path = self.ledger_path(name)?;
        let _one_at_a_time = self
            .lock_ledgers()
            .map_err(|source| LedgerError::Lock { source })?;
        let mut line = line(&read_lines(&path)?);
        line.retain(|byte| *byte != b'\n');
        line.push(b'\n');
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let mut file = options.open(&path).of("open", &path)?;
        if ends_torn(&mut file).of("read", &path)? {
            line.insert(0, b'\n');
        }
        file.write_all(&line).of("write", &path)?;
        file.sync_data().of("sync", &path)?;
        Ok(sync_dir(&self.root().join("ledgers"))?)
    }

    fn ledger_path(&self, name: &str) -> Result<PathBuf, LedgerError> {
        plain_path(&self.root().join("ledgers"), name).map_err(|name| LedgerError::Name { name })
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
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(<[u8]>::to_vec).collect())
}
