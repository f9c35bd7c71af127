//! Garbage collection: blobs and trees that nothing keeps alive go.
//!
//! What keeps a thing alive:
//!
//! 1. **A name or a pin.** Every record of a live name and every pin is read; one that cannot be read ends the collection,
//!    since nobody knows what it keeps.
//! 2. **Work in progress.** A process whose session lives may have made things that have no name yet: whatever was made,
//!    moved or renewed since the oldest living session began stays. Whoever relies on something that is there already
//!    renews it first ([`Store::renew_blob`], [`Store::renew_tree`]); what is put again is renewed by that.
//! 3. **A hold.** A run takes a shared flock on each tree that it mounts ([`Holds`]). What is held is passed over.
//!
//! Nothing is removed in place. Under the lock of the names, and after every name that came since was read, a few
//! things at a time are renamed into the collector's session; they are removed there, after the lock was given back. So
//! nobody waits for long, and a collector that is killed leaves only what the next one who opens the store sweeps.
//!
//! Entries of the cache may be lost at any time by contract, so that they are removed where they are: those that nobody
//! has used for long, and those of which the caller says that they are of no use any more.

mod cache;

pub use cache::CacheKeeping;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, DiffId, Digest, ManifestDigest, Progress};
use rustix::fs::Mode;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::file::{Of as _, takes_file_error};
use super::reference::{RefError, TagState, file_names, parse_tag_file, read_record_as};
use super::remove::{remove_measured, remove_tree};
use super::session::{QUARANTINE, STARTED, still_there};
use super::view::{Moment, Stamp, moment};
use super::{FileError, LockError, PinError, Store};

/// How many blobs are taken away while the names are locked.
const BLOBS_AT_ONCE: usize = 250;
/// And how many trees. When the collector is killed, whoever opens the store next removes what they held.
const TREES_AT_ONCE: usize = 16;

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// How many blobs went.
    pub blobs: u64,
    /// How many trees went.
    pub trees: u64,
    /// Bytes of the blobs that went.
    pub blob_bytes: u64,
    /// Bytes that the file system had given to the files of the trees that went.
    pub tree_bytes: u64,
    /// Entries of the cache that went.
    pub cache_entries: u64,
    /// Their bytes.
    pub cache_bytes: u64,
    /// Things without a name that somebody holds: the next collection may have them.
    pub held: u64,
}

/// Why a collection ended early. What went until then is gone; nothing that a name keeps is.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// A record could not be read: what it keeps alive is not known.
    #[error("cannot tell what the names keep alive")]
    Names {
        /// Why.
        #[source]
        source: RefError,
    },
    /// The pins could not be read.
    #[error("cannot read the pins")]
    Pins {
        /// Why.
        #[source]
        source: PinError,
    },
    /// The lock of the names could not be taken.
    #[error("cannot take the lock of the names")]
    Lock {
        /// Why.
        #[source]
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
takes_file_error!(GcError);

/// Trees that stay while this lives, though no name may keep them.
#[derive(Debug, Default)]
pub struct Holds(Vec<File>);

impl Holds {
    /// Hold a tree; where it is, if it is there.
    pub fn tree(&mut self, store: &Store, diff_id: &DiffId) -> Option<PathBuf> {
        let path = store.tree(diff_id)?;
        self.0.push(lock_shared(&path)?);
        Some(path)
    }
}

/// Open and flock something, unless it was taken away meanwhile.
fn lock_shared(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    file.lock_shared().ok()?;
    still_there(path, &file).then_some(file)
}

/// What no name keeps.
enum Candidate {
    Blob(BlobDigest),
    Tree(DiffId),
}

/// The part of a record that says what it keeps alive. A record without the other parts is none.
#[derive(Deserialize)]
pub(super) struct Keeping {
    pub(super) manifest: ManifestDigest,
    pub(super) blobs: Vec<BlobDigest>,
    pub(super) trees: Vec<DiffId>,
    #[serde(rename = "created_at")]
    _created_at: IgnoredAny,
    #[serde(rename = "details")]
    _details: IgnoredAny,
}

/// What the names keep alive, as far as they were read.
#[derive(Default)]
struct Kept {
    /// The images' directories of which all is known as long as their stamps stay.
    settled: BTreeMap<PathBuf, Stamp>,
    read: BTreeSet<PathBuf>,
    blobs: BTreeSet<BlobDigest>,
    trees: BTreeSet<DiffId>,
}

impl Kept {
    fn keeps(&self, candidate: &Candidate) -> bool {
        match candidate {
            Candidate::Blob(digest) => self.blobs.contains(digest),
            Candidate::Tree(diff_id) => self.trees.contains(diff_id),
        }
    }

    /// Read the records that have come. A directory whose stamp proves that nothing was made in it is not listed.
    fn read_new(&mut self, store: &Store) -> Result<(), RefError> {
        let stage = store.staged_file("moment")?;
        let (_, before) = moment(stage.path())?;
        for (_, directory) in store.image_directories()? {
            let Some(stamp) = Stamp::of(&directory)? else {
                continue;
            };
            if self.settled.get(&directory) == Some(&stamp) {
                continue;
            }
            self.settled.remove(&directory);
            self.read_directory(&directory)?;
            if stamp.is_settled(before) {
                self.settled.insert(directory, stamp);
            }
        }
        Ok(())
    }

    /// Read what is pinned now; what was pinned before is kept until the next collection.
    fn read_pins(&mut self, store: &Store) -> Result<(), PinError> {
        for (_, pin) in store.all_pins()? {
            self.blobs.extend(pin.blobs);
        }
        Ok(())
    }

    fn read_directory(&mut self, directory: &Path) -> Result<(), RefError> {
        for file in file_names(directory)? {
            let is_live = parse_tag_file(&file).is_some_and(|(_, state)| state == TagState::Live);
            let path = directory.join(file);
            if !is_live || self.read.contains(&path) {
                continue;
            }
            if let Some(record) = read_record_as::<Keeping>(&path)? {
                self.blobs.insert(record.manifest.into());
                self.blobs.extend(record.blobs);
                self.trees.extend(record.trees);
            }
            self.read.insert(path);
        }
        Ok(())
    }
}

impl Store {
    /// Keep a blob from garbage collections for as long as this process's session lives; whether it is there.
    pub fn renew_blob(&self, digest: &BlobDigest) -> bool {
        self.renew(&self.blob_path(digest))
    }

    /// The same for a tree; where it is, if it is there.
    pub fn renew_tree(&self, diff_id: &DiffId) -> Option<PathBuf> {
        let path = self.tree(diff_id)?;
        self.renew(&path).then_some(path)
    }

    /// Under a flock, so that a collector either sees the new time or has taken the thing away before.
    pub(super) fn renew(&self, path: &Path) -> bool {
        let (Ok(_session), Some(file)) = (self.session(), lock_shared(path)) else {
            return false;
        };
        // Setting the mode that it has changes nothing but the time of the last change.
        let renewed = rustix::fs::fstat(&file)
            .and_then(|status| rustix::fs::fchmod(&file, Mode::from_raw_mode(status.st_mode)));
        renewed.is_ok()
    }

    /// Remove every blob and tree that nothing keeps alive. Creates and runs go on meanwhile.
    ///
    /// # Errors
    /// When a record cannot be read, or the store not be written.
    pub fn collect(&self, progress: &Progress) -> Result<GcReport, GcError> {
        let names = |source| GcError::Names { source };
        let pins = |source| GcError::Pins { source };
        let before = self.oldest_session()?;
        let mut kept = Kept::default();
        kept.read_new(self).map_err(names)?;
        kept.read_pins(self).map_err(pins)?;
        let mut candidates = self.candidates(before)?;
        candidates.retain(|candidate| !kept.keeps(candidate));
        let mut report = GcReport::default();
        progress.started(Stage::Check, candidates.len() as u64, 0);
        let is_blob = |candidate: &Candidate| matches!(candidate, Candidate::Blob(_));
        let (blobs, trees): (Vec<_>, Vec<_>) = candidates.into_iter().partition(is_blob);
        for batch in blobs.chunks(BLOBS_AT_ONCE).chain(trees.chunks(TREES_AT_ONCE)) {
            let trash = Trash::make(self)?;
            {
                let _lock = self.lock_names().map_err(|source| GcError::Lock { source })?;
                kept.read_new(self).map_err(names)?;
                kept.read_pins(self).map_err(pins)?;
                for (number, candidate) in batch.iter().enumerate() {
                    if !kept.keeps(candidate) {
                        self.take_away(candidate, before, &trash.place(candidate, number), &mut report)?;
                    }
                }
            }
            report.tree_bytes += trash.empty()?;
            progress.advanced(Stage::Check, batch.len() as u64, 0);
        }
        progress.finished(Stage::Check);
        Ok(report)
    }

    /// When the oldest session that lives began, the collector's own among them.
    fn oldest_session(&self) -> Result<Moment, FileError> {
        let own = self.session()?;
        let mut oldest = moment_of(&own.path().join(STARTED))?;
        let tmp = self.tmp_dir();
        for name in file_names(&tmp)?.into_iter().filter(|name| name != QUARANTINE) {
            // One without the file is being made, or is no session: as old as it is itself.
            let path = tmp.join(name);
            let began = moment_of(&path.join(STARTED)).or_else(|_| moment_of(&path));
            oldest = began.map_or(oldest, |began| began.min(oldest));
        }
        Ok(oldest)
    }

    /// Blobs and trees that were made or moved before this moment.
    fn candidates(&self, before: Moment) -> Result<Vec<Candidate>, FileError> {
        let digests = |directory: PathBuf| -> Result<Vec<Digest>, FileError> {
            let names = file_names(&directory)?.into_iter();
            let old = |name: &String| {
                let moment = changed(&directory.join(name));
                moment.is_some_and(|moment| moment < before)
            };
            Ok(names
                .filter(old)
                .filter_map(|name| format!("sha256:{name}").parse().ok())
                .collect())
        };
        let blobs = digests(self.blobs_dir())?.into_iter();
        let trees = digests(self.trees_dir())?.into_iter();
        Ok(blobs
            .map(|digest| Candidate::Blob(BlobDigest::new(digest)))
            .chain(trees.map(|digest| Candidate::Tree(DiffId::new(digest))))
            .collect())
    }

    /// Rename a thing into the trash, unless somebody holds it, it was renewed, or it is gone.
    fn take_away(
        &self,
        candidate: &Candidate,
        before: Moment,
        to: &Path,
        report: &mut GcReport,
    ) -> Result<(), FileError> {
        let path = match candidate {
            Candidate::Blob(digest) => self.blob_path(digest),
            Candidate::Tree(diff_id) => self.tree_path(diff_id),
        };
        let Ok(file) = File::open(&path) else {
            return Ok(());
        };
        if file.try_lock().is_err() {
            report.held += 1;
            return Ok(());
        }
        if changed(&path).is_none_or(|moment| moment >= before) {
            return Ok(());
        }
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        std::fs::rename(&path, to).of("rename", &path)?;
        match candidate {
            Candidate::Blob(_) => {
                report.blobs += 1;
                report.blob_bytes += bytes;
            }
            Candidate::Tree(_) => report.trees += 1,
        }
        Ok(())
    }
}

/// Where things go to be removed: a directory in the collector's session.
struct Trash {
    path: PathBuf,
}

impl Trash {
    fn make(store: &Store) -> Result<Self, FileError> {
        let path = store.fresh_path("trash")?;
        let trees = path.join("trees");
        std::fs::create_dir_all(&trees).of("make the directory", &trees)?;
        Ok(Self { path })
    }

    fn place(&self, candidate: &Candidate, number: usize) -> PathBuf {
        match candidate {
            Candidate::Blob(_) => self.path.join(number.to_string()),
            Candidate::Tree(_) => self.path.join("trees").join(number.to_string()),
        }
    }

    /// Remove what is in it; the bytes of the trees.
    fn empty(self) -> Result<u64, FileError> {
        let trees = self.path.join("trees");
        let bytes = remove_measured(&trees).of("remove", &trees)?;
        remove_tree(&self.path).of("remove", &self.path)?;
        Ok(bytes)
    }
}

/// When an entry was last made, moved or changed; `None` where it is gone.
fn changed(path: &Path) -> Option<Moment> {
    let status = std::fs::symlink_metadata(path).ok()?;
    Some((status.ctime(), status.ctime_nsec()))
}

fn moment_of(path: &Path) -> Result<Moment, FileError> {
    let status = std::fs::symlink_metadata(path).of("read the state of", path)?;
    Ok((status.mtime(), status.mtime_nsec()))
}
