//! The journal: one JSON line for each name created or removed, append-only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use cooper_core::{ImageName, ManifestDigest, Organisation, Timestamp, VersionTag};
use serde::{Deserialize, Serialize};

use super::file::Of as _;
use super::{FileError, Store};

/// What happened to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Happening {
    Created,
    Removed,
}

/// One line of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) at: Timestamp,
    pub(super) event: Happening,
    pub(super) organisation: Organisation,
    pub(super) name: ImageName,
    pub(super) tag: VersionTag,
    pub(super) manifest: ManifestDigest,
}

/// What the journal says, as far as it can be read.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) entries: Vec<Entry>,
    /// Lines (from 1) that cannot be read: torn by a power cut, or foreign.
    pub(super) unreadable_lines: Vec<usize>,
}

impl Store {
    pub(super) fn journal_path(&self) -> PathBuf {
        self.root().join("journal")
    }

    /// Append a line for each. The caller holds the lock of the names.
    pub(super) fn append_to_journal(&self, entries: &[Entry]) -> Result<(), FileError> {
        if entries.is_empty() {
            return Ok(());
        }
        let path = self.journal_path();
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .of("open", &path)?;
        let mut lines = Vec::new();
        if ends_torn(&mut file).of("read", &path)? {
            lines.push(b'\n');
        }
        for entry in entries {
            serde_json::to_writer(&mut lines, entry)
                .map_err(io::Error::other)
                .of("write", &path)?;
            lines.push(b'\n');
        }
        // One write, so that a killed process leaves whole lines or none.
        file.write_all(&lines).of("write", &path)?;
        file.sync_data().of("sync", &path)
    }

    pub(super) fn read_journal(&self) -> Result<Journal, FileError> {
        let path = self.journal_path();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error).of("read", &path),
        };
        let mut journal = Journal::default();
        for (at, line) in bytes
            .split(|byte| *byte == b'\n')
            .enumerate()
            .filter(|(_, line)| !line.is_empty())
        {
            match serde_json::from_slice(line) {
                Ok(entry) => journal.entries.push(entry),
                Err(_) => journal.unreadable_lines.push(at + 1),
            }
        }
        Ok(journal)
    }
}

pub(super) fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != [b'\n'])
}
