//! Garbage collection: blobs and trees that nothing keeps alive go.
//!
//! What keeps a thing alive:
//!
//! 1. **A name.** Every record of a live name is read; one that cannot be read ends the collection, since nobody knows
//!    what it keeps.
//! 2. **Work in progress.** A process whose session lives may have made things that have no name yet: whatever was made,
//!    moved or renewed since the oldest living session began stays. Whoever relies on something that is there already
//!    renews it first ([`Store::renew_blob`], [`Store::renew_tree`]); what is put again is renewed by that.
//! 3. **A hold.** A run takes a shared flock on each tree that it mounts ([`Holds`]). What is held is passed over.
//!
//! Nothing is removed in place. Under the lock of the names, and after every name that came since was read, a few
//! things at a time are renamed into the collector's session; they are removed there, after the lock was given back. So
//! nobody waits for long, and a collector that is killed leaves only what the next one who opens the store sweeps.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, DiffId, Digest, Progress};
use rustix::fs::Mode;

use super::file::{Of as _, takes_file_error};
use super::reference::{Named, RECORD_ENDING, RefError, TagState, file_names, read_record};
use super::remove::remove_tree;
use super::session::{QUARANTINE, STARTED, still_there};
use super::{FileError, LockError, Store};

/// How many things are taken away while the names are locked.
const BATCH: usize = 100;

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// How many blobs went.
    pub blobs: u64,
    /// How many trees went.
    pub trees: u64,
    /// Bytes of the blobs that went.
    pub blob_bytes: u64,
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

/// A moment as file systems keep it: seconds and nanoseconds.
type Moment = (i64, i64);

/// What no name keeps.
enum Candidate {
    Blob(BlobDigest),
    Tree(DiffId),
}

/// What the names keep alive, as far as they were read.
#[derive(Default)]
struct Kept {
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

    /// Read the records that have come.
    fn read_new(&mut self, store: &Store) -> Result<(), RefError> {
        for named in store.all_tags()? {
            let Named {
                organisation,
                name,
                tag,
                state,
            } = named;
            let path = store.image_dir(&organisation, &name);
            let path = path.join(format!("{tag}{RECORD_ENDING}"));
            if state == TagState::Removed || self.read.contains(&path) {
                continue;
            }
            if let Some(record) = read_record(&path)? {
                self.blobs.extend(record.needed_blobs());
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
        let before = self.oldest_session()?;
        let mut kept = Kept::default();
        kept.read_new(self).map_err(names)?;
        let mut candidates = self.candidates(before)?;
        candidates.retain(|candidate| !kept.keeps(candidate));
        let mut report = GcReport::default();
        progress.started(Stage::Check, candidates.len() as u64, 0);
        for batch in candidates.chunks(BATCH) {
            let trash = self.scratch_for_trash()?;
            {
                let _lock = self.lock_names().map_err(|source| GcError::Lock { source })?;
                kept.read_new(self).map_err(names)?;
                for (number, candidate) in batch.iter().enumerate() {
                    if !kept.keeps(candidate) {
                        self.take_away(candidate, before, &trash.join(number.to_string()), &mut report)?;
                    }
                }
            }
            remove_tree(&trash).of("remove", &trash)?;
            progress.advanced(Stage::Check, batch.len() as u64, 0);
        }
        progress.finished(Stage::Check);
        Ok(report)
    }

    fn scratch_for_trash(&self) -> Result<PathBuf, FileError> {
        let path = self.fresh_path("trash")?;
        std::fs::create_dir(&path).of("make the directory", &path)?;
        Ok(path)
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

/// When an entry was last made, moved or changed; `None` where it is gone.
fn changed(path: &Path) -> Option<Moment> {
    let status = std::fs::symlink_metadata(path).ok()?;
    Some((status.ctime(), status.ctime_nsec()))
}

fn moment_of(path: &Path) -> Result<Moment, FileError> {
    let status = std::fs::symlink_metadata(path).of("read the state of", path)?;
    Ok((status.mtime(), status.mtime_nsec()))
}
