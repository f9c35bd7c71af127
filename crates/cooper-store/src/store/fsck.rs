//! Checking everything that the store promises, and repairing what can be.

mod contents;
mod ledgers;
mod marks;
mod names;
mod report;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cooper_core::{BlobDigest, DiffId, ImageName, Organisation, Progress, VersionTag};

use super::file::takes_file_error;
use super::open::ROOT_ENTRIES;
use super::reference::file_names;
use super::session::{QUARANTINE, abandoned};
use super::{LockError, RefError, Store};

pub use report::{Fault, FsckReport, Note};

/// Checks one unpacked layer against its diff id; the text says what is wrong with it.
pub type TreeCheck<'a> = dyn Fn(&Path, &DiffId) -> Result<(), String> + Sync + 'a;

/// Checks what a caller keeps in [`RefRecord::details`](crate::RefRecord); the text says what is wrong with it.
pub type RecordCheck<'a> = dyn Fn(&serde_json::Value) -> Result<(), String> + Sync + 'a;

/// Checks one line of the ledger of this name: whether it says something.
pub type LedgerCheck<'a> = dyn Fn(&str, &[u8]) -> bool + Sync + 'a;

/// What fsck does beyond looking.
#[derive(Clone, Copy, Default)]
pub struct FsckOptions<'a> {
    /// Take corrupted blobs, damaged trees and unreadable marks out of the way, so that they are made again, remove
    /// names whose records cannot be read, rewrite `index.json`, write the lines that the journal lacks, and leave the lines
    /// that say nothing out of ledgers.
    pub repair: bool,
    /// How the caller's own part of a record is checked: this crate knows that it is JSON, not whose.
    pub record_check: Option<&'a RecordCheck<'a>>,
    /// How the lines of ledgers are checked: this crate knows that they are JSON, not what they say.
    pub ledger_check: Option<&'a LedgerCheck<'a>>,
    /// How a tree is checked: this crate knows that it should be there, not what should be in it.
    pub tree_check: Option<&'a TreeCheck<'a>>,
}

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FsckError {
    /// The names could not be listed.
    #[error("cannot list the names")]
    Names {
        /// Why.
        source: RefError,
    },
    /// The lock of the names, or of the ledgers, could not be taken.
    #[error("cannot take the lock of the names or the ledgers")]
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
takes_file_error!(FsckError);

impl Store {
    /// Check that every blob is what its name says, that everything named is there, and that nothing foreign is.
    ///
    /// Only looks, unless [`FsckOptions::repair`] is set. Others may work on the store meanwhile: what is made
    /// after the names were listed is not asked for.
    pub fn fsck(&self, options: &FsckOptions<'_>, progress: &Progress) -> Result<FsckReport, FsckError> {
        let mut check = Check::new(self, *options, progress);
        check.names()?;
        if options.repair {
            check.retire_unreadable()?;
        }
        check.pins()?;
        check.root()?;
        check.marks()?;
        check.ledgers()?;
        check.contents()?;
        check.leftovers()?;
        Ok(check.report())
    }
}

/// A check under way.
struct Check<'a> {
    store: &'a Store,
    options: FsckOptions<'a>,
    progress: &'a Progress,
    /// The names that were read, as `ORGANISATION/NAME:TAG`, and the pins, as `pin NAME`.
    images: Vec<String>,
    /// Which of them, by their place, need it.
    blobs_needed: BTreeMap<BlobDigest, Vec<u32>>,
    trees_needed: BTreeMap<DiffId, Vec<u32>>,
    blobs_checked: u64,
    bytes_checked: u64,
    trees_checked: u64,
    refs_checked: u64,
    unreadable: Vec<(Organisation, ImageName, VersionTag)>,
    faults: Vec<Fault>,
    notes: Vec<Note>,
}

impl<'a> Check<'a> {
    fn new(store: &'a Store, options: FsckOptions<'a>, progress: &'a Progress) -> Self {
        Self {
            store,
            options,
            progress,
            images: Vec::new(),
            blobs_needed: BTreeMap::new(),
            trees_needed: BTreeMap::new(),
            blobs_checked: 0,
            bytes_checked: 0,
            trees_checked: 0,
            refs_checked: 0,
            unreadable: Vec::new(),
            faults: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn report(mut self) -> FsckReport {
        self.faults.sort();
        self.notes.sort();
        FsckReport {
            blobs_checked: self.blobs_checked,
            bytes_checked: self.bytes_checked,
            trees_checked: self.trees_checked,
            refs_checked: self.refs_checked,
            faults: self.faults,
            notes: self.notes,
        }
    }

    fn root(&mut self) -> Result<(), FsckError> {
        let root = self.store.root();
        for name in file_names(root)? {
            if !ROOT_ENTRIES.contains(&name.as_str()) {
                self.faults.push(Fault::ForeignFile {
                    path: root.join(name),
                });
            }
        }
        for algorithms in ["blobs", "trees"] {
            let directory = root.join(algorithms);
            for name in file_names(&directory)?
                .into_iter()
                .filter(|name| name != "sha256")
            {
                self.faults.push(Fault::ForeignFile {
                    path: directory.join(name),
                });
            }
        }
        Ok(())
    }

    fn leftovers(&mut self) -> Result<(), FsckError> {
        let tmp = self.store.tmp_dir();
        self.notes.extend(
            abandoned(&tmp)
                .into_iter()
                .map(|(path, _lock)| Note::Leftover { path }),
        );
        let quarantine = tmp.join(QUARANTINE);
        let moved = file_names(&quarantine)?
            .into_iter()
            .map(|name| Note::Quarantined {
                path: quarantine.join(name),
            });
        self.notes.extend(moved);
        Ok(())
    }
}
