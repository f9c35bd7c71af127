//! Checking everything that the store promises, and repairing what can be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, DiffId, Digest, ImageName, Organisation, Progress};
use sha2::{Digest as _, Sha256};

use super::file::{Of as _, takes_file_error};
use super::journal::Happening;
use super::open::ROOT_ENTRIES;
use super::reference::{Listed, TagState, file_names, parse_tag_file};
use super::session::{QUARANTINE, abandoned};
use super::{FileError, LockError, RefError, Store};

/// How many threads hash.
const THREADS: usize = 2;
const READ_BYTES: usize = 256 << 10;

/// Checks one unpacked layer against its diff id; the text says what is wrong with it.
pub type TreeCheck<'a> = dyn Fn(&Path, &DiffId) -> Result<(), String> + Sync + 'a;

/// What fsck does beyond looking.
#[derive(Clone, Copy, Default)]
pub struct FsckOptions<'a> {
    /// Take corrupted blobs out of the way, so that they are fetched again, and rewrite `index.json`.
    pub repair: bool,
    /// How a tree is checked: this crate knows that it should be there, not what should be in it.
    pub tree_check: Option<&'a TreeCheck<'a>>,
}

/// What fsck looked at and what it found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckReport {
    /// How many blobs were hashed.
    pub blobs_checked: u64,
    /// How many bytes they have.
    pub bytes_checked: u64,
    /// How many trees were checked.
    pub trees_checked: u64,
    /// How many names were read.
    pub refs_checked: u64,
    /// What is wrong, sorted.
    pub faults: Vec<Fault>,
    /// What is worth knowing and not wrong, sorted.
    pub notes: Vec<Note>,
}

impl FsckReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Something that breaks a promise of the store. `needed_by` are names as `ORGANISATION/NAME:TAG`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Fault {
    /// A blob's bytes are not those that its name promises.
    #[error("blob {digest} is corrupted: its bytes have the digest {actual}")]
    CorruptedBlob {
        /// Its name.
        digest: BlobDigest,
        /// What its bytes are.
        actual: Digest,
        /// The names that need it.
        needed_by: Vec<String>,
        /// Whether repair moved it out of the way.
        moved: bool,
    },
    /// A blob cannot be read.
    #[error("blob {digest} cannot be read: {reason}")]
    UnreadableBlob {
        /// Its name.
        digest: BlobDigest,
        /// What the system said.
        reason: String,
        /// The names that need it.
        needed_by: Vec<String>,
    },
    /// A name needs a blob that is not there.
    #[error("blob {digest} is missing")]
    MissingBlob {
        /// Its name.
        digest: BlobDigest,
        /// The names that need it.
        needed_by: Vec<String>,
    },
    /// A name needs a tree that is not there.
    #[error("tree {diff_id} is missing")]
    MissingTree {
        /// Its name.
        diff_id: DiffId,
        /// The names that need it.
        needed_by: Vec<String>,
    },
    /// A tree is not what its name promises.
    #[error("tree {diff_id} is damaged: {reason}")]
    DamagedTree {
        /// Its name.
        diff_id: DiffId,
        /// What is wrong with it.
        reason: String,
        /// The names that need it.
        needed_by: Vec<String>,
    },
    /// A name's record cannot be read.
    #[error("the record of {image} cannot be read: {reason}")]
    UnreadableRef {
        /// The name as `ORGANISATION/NAME:TAG`.
        image: String,
        /// Its record.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The journal tells of a name of which nothing remains, so its number could be given again.
    #[error("{image} was made and is gone without a trace")]
    LostTag {
        /// The name as `ORGANISATION/NAME:TAG`.
        image: String,
    },
    /// A name is in use although it was removed: both files are there.
    #[error("{image} is both in use and removed")]
    TagInUseAndRemoved {
        /// The name as `ORGANISATION/NAME:TAG`.
        image: String,
    },
    /// A file that does not belong there.
    #[error("`{path}` does not belong into the store")]
    ForeignFile {
        /// The file.
        path: PathBuf,
    },
}

/// Something that a killed process may leave and that the next one puts right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Note {
    /// A session directory whose process is gone; the next open sweeps it.
    #[error("`{path}` is left over from a process that is gone")]
    Leftover {
        /// The directory.
        path: PathBuf,
    },
    /// A corrupted blob that an earlier repair took out of the way.
    #[error("`{path}` is a corrupted blob that was taken out of the way")]
    Quarantined {
        /// The file.
        path: PathBuf,
    },
    /// `index.json` does not say what the names say.
    #[error("`index.json` is behind the names")]
    StaleIndex {
        /// Whether repair rewrote it.
        rewritten: bool,
    },
    /// A name without a line in the journal.
    #[error("the journal does not tell of {image}")]
    Unjournalled {
        /// The name as `ORGANISATION/NAME:TAG`.
        image: String,
    },
    /// A line of the journal that cannot be read.
    #[error("line {line} of the journal cannot be read")]
    UnreadableJournalLine {
        /// Which line, from 1.
        line: usize,
    },
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
    /// The lock of the names could not be taken.
    #[error("cannot take the lock of the names")]
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
        check.root()?;
        check.blobs()?;
        check.trees()?;
        check.leftovers()?;
        Ok(check.report())
    }
}

/// A check under way.
struct Check<'a> {
    store: &'a Store,
    options: FsckOptions<'a>,
    progress: &'a Progress,
    blobs_needed: BTreeMap<BlobDigest, BTreeSet<String>>,
    trees_needed: BTreeMap<DiffId, BTreeSet<String>>,
    blobs_checked: u64,
    bytes_checked: u64,
    trees_checked: u64,
    refs_checked: u64,
    faults: Vec<Fault>,
    notes: Vec<Note>,
}

/// What hashing one blob gave.
enum Hashed {
    Whole {
        actual: Digest,
        bytes: u64,
    },
    Unreadable {
        reason: String,
    },
    /// Removed since it was listed.
    Gone,
}

impl<'a> Check<'a> {
    fn new(store: &'a Store, options: FsckOptions<'a>, progress: &'a Progress) -> Self {
        Self {
            store,
            options,
            progress,
            blobs_needed: BTreeMap::new(),
            trees_needed: BTreeMap::new(),
            blobs_checked: 0,
            bytes_checked: 0,
            trees_checked: 0,
            refs_checked: 0,
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

    fn names(&mut self) -> Result<(), FsckError> {
        let _lock = self
            .store
            .lock_names()
            .map_err(|source| FsckError::Lock { source })?;
        let listed = self
            .store
            .list_names()
            .map_err(|source| FsckError::Names { source })?;
        self.refs_checked = listed.len() as u64;
        for entry in &listed {
            self.need(entry);
        }
        self.foreign_refs()?;
        self.journal(&listed)?;
        let names_failed = |source| FsckError::Names { source };
        if !self.store.index_is_current().map_err(names_failed)? {
            if self.options.repair {
                self.store.rewrite_index().map_err(names_failed)?;
            }
            self.notes.push(Note::StaleIndex {
                rewritten: self.options.repair,
            });
        }
        Ok(())
    }

    fn need(&mut self, entry: &Listed) {
        let image = entry.to_string();
        match &entry.record {
            Ok(record) => {
                for digest in record.needed_blobs() {
                    self.blobs_needed.entry(digest).or_default().insert(image.clone());
                }
                for diff_id in &record.trees {
                    self.trees_needed
                        .entry(*diff_id)
                        .or_default()
                        .insert(image.clone());
                }
            }
            Err(error) => {
                let reason =
                    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
                self.faults.push(Fault::UnreadableRef {
                    image,
                    path: entry.path.clone(),
                    reason,
                });
            }
        }
    }

    fn foreign_refs(&mut self) -> Result<(), FsckError> {
        let refs = self.store.refs_dir();
        for owner in self.directories::<Organisation>(&refs)? {
            let images = refs.join(owner.as_str());
            for name in self.directories::<ImageName>(&images)? {
                self.foreign_tag_files(&owner, &name)?;
            }
        }
        Ok(())
    }

    fn foreign_tag_files(&mut self, owner: &Organisation, name: &ImageName) -> Result<(), FsckError> {
        let directory = self.store.image_dir(owner, name);
        let mut live = BTreeSet::new();
        let mut removed = BTreeSet::new();
        for file in file_names(&directory)? {
            match parse_tag_file(&file) {
                Some((tag, TagState::Live)) => drop(live.insert(tag)),
                Some((tag, TagState::Removed)) => drop(removed.insert(tag)),
                None => self.faults.push(Fault::ForeignFile {
                    path: directory.join(file),
                }),
            }
        }
        let both = live.intersection(&removed);
        self.faults.extend(both.map(|tag| Fault::TagInUseAndRemoved {
            image: format!("{owner}/{name}:{tag}"),
        }));
        Ok(())
    }

    /// The subdirectories that are a `T`; everything else is foreign.
    fn directories<T: std::str::FromStr>(&mut self, directory: &Path) -> Result<Vec<T>, FsckError> {
        let mut parsed = Vec::new();
        for name in file_names(directory)? {
            let path = directory.join(&name);
            match name.parse() {
                Ok(good) if path.is_dir() => parsed.push(good),
                _ => self.faults.push(Fault::ForeignFile { path }),
            }
        }
        Ok(parsed)
    }

    fn journal(&mut self, listed: &[Listed]) -> Result<(), FsckError> {
        let journal = self.store.read_journal()?;
        let unreadable = journal
            .unreadable_lines
            .iter()
            .map(|line| Note::UnreadableJournalLine { line: *line });
        self.notes.extend(unreadable);
        let mut told = BTreeSet::new();
        for entry in journal
            .entries
            .iter()
            .filter(|entry| entry.event == Happening::Created)
        {
            let image = format!("{}/{}:{}", entry.organisation, entry.name, entry.tag);
            let tags = self
                .store
                .tags(&entry.organisation, &entry.name)
                .map_err(|source| FsckError::Names { source })?;
            if !tags.contains_key(&entry.tag) {
                self.faults.push(Fault::LostTag { image: image.clone() });
            }
            told.insert(image);
        }
        let untold = listed
            .iter()
            .map(ToString::to_string)
            .filter(|image| !told.contains(image));
        self.notes
            .extend(untold.map(|image| Note::Unjournalled { image }));
        Ok(())
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

    fn blobs(&mut self) -> Result<(), FsckError> {
        let directory = self.store.blobs_dir();
        let (present, foreign) = digests_in(&directory)?;
        self.faults
            .extend(foreign.into_iter().map(|path| Fault::ForeignFile { path }));
        let digests: Vec<BlobDigest> = present.iter().map(|digest| BlobDigest::new(*digest)).collect();
        self.progress
            .started(Stage::Check, digests.len() as u64, self.total_bytes(&digests));
        let hashed = in_threads(&digests, |digest| {
            let hashed = hash_file(&self.store.blob_path(digest));
            let bytes = if let Hashed::Whole { bytes, .. } = hashed {
                bytes
            } else {
                0
            };
            self.progress.advanced(Stage::Check, 1, bytes);
            hashed
        });
        self.progress.finished(Stage::Check);
        for (digest, hashed) in digests.iter().zip(hashed) {
            self.note_blob(digest, hashed)?;
        }
        let missing = self
            .blobs_needed
            .iter()
            .filter(|(digest, _)| !present.contains(digest.digest()));
        let missing =
            missing
                .filter(|(digest, _)| !self.store.contains(digest))
                .map(|(digest, needed_by)| Fault::MissingBlob {
                    digest: *digest,
                    needed_by: needed_by.iter().cloned().collect(),
                });
        self.faults.extend(missing);
        Ok(())
    }

    fn total_bytes(&self, digests: &[BlobDigest]) -> u64 {
        digests
            .iter()
            .filter_map(|digest| self.store.blob_size(digest))
            .sum()
    }

    fn note_blob(&mut self, digest: &BlobDigest, hashed: Hashed) -> Result<(), FsckError> {
        let needed_by = || {
            self.blobs_needed
                .get(digest)
                .into_iter()
                .flatten()
                .cloned()
                .collect()
        };
        match hashed {
            Hashed::Gone => return Ok(()),
            Hashed::Whole { actual, bytes } if actual == *digest.digest() => self.bytes_checked += bytes,
            Hashed::Whole { actual, bytes } => {
                let needed_by = needed_by();
                let moved = self.options.repair;
                if moved {
                    self.quarantine(digest)?;
                }
                self.bytes_checked += bytes;
                self.faults.push(Fault::CorruptedBlob {
                    digest: *digest,
                    actual,
                    needed_by,
                    moved,
                });
            }
            Hashed::Unreadable { reason } => {
                let needed_by = needed_by();
                self.faults.push(Fault::UnreadableBlob {
                    digest: *digest,
                    reason,
                    needed_by,
                });
            }
        }
        self.blobs_checked += 1;
        Ok(())
    }

    fn quarantine(&self, digest: &BlobDigest) -> Result<(), FileError> {
        let quarantine = self.store.tmp_dir().join(QUARANTINE);
        super::file::make_dir(&quarantine)?;
        let path = self.store.blob_path(digest);
        std::fs::rename(&path, quarantine.join(digest.hex())).of("move out of the way", &path)
    }

    fn trees(&mut self) -> Result<(), FsckError> {
        let (present, foreign) = digests_in(&self.store.trees_dir())?;
        self.faults
            .extend(foreign.into_iter().map(|path| Fault::ForeignFile { path }));
        let diff_ids: Vec<DiffId> = present.iter().map(|digest| DiffId::new(*digest)).collect();
        self.trees_checked = diff_ids.len() as u64;
        let checked = in_threads(&diff_ids, |diff_id| {
            let path = self.store.tree_path(diff_id);
            if !path.is_dir() {
                return Err("it is not a directory".to_owned());
            }
            self.options
                .tree_check
                .map_or(Ok(()), |check| check(&path, diff_id))
        });
        for (diff_id, checked) in diff_ids.iter().zip(checked) {
            if let Err(reason) = checked {
                let needed_by = self
                    .trees_needed
                    .get(diff_id)
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect();
                self.faults.push(Fault::DamagedTree {
                    diff_id: *diff_id,
                    reason,
                    needed_by,
                });
            }
        }
        let missing = self
            .trees_needed
            .iter()
            .filter(|(diff_id, _)| !present.contains(diff_id.digest()));
        let missing = missing.map(|(diff_id, needed_by)| Fault::MissingTree {
            diff_id: *diff_id,
            needed_by: needed_by.iter().cloned().collect(),
        });
        self.faults.extend(missing);
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

/// The entries of a directory whose name is 64 lower-case hexadecimal digits, and the others.
fn digests_in(directory: &Path) -> Result<(BTreeSet<Digest>, Vec<PathBuf>), FileError> {
    let mut digests = BTreeSet::new();
    let mut foreign = Vec::new();
    for name in file_names(directory)? {
        match format!("sha256:{name}").parse() {
            Ok(digest) => drop(digests.insert(digest)),
            Err(_) => foreign.push(directory.join(name)),
        }
    }
    Ok((digests, foreign))
}

fn hash_file(path: &Path) -> Hashed {
    match hash(path) {
        Ok((actual, bytes)) => Hashed::Whole { actual, bytes },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Hashed::Gone,
        Err(error) => Hashed::Unreadable {
            reason: error.to_string(),
        },
    }
}

fn hash(path: &Path) -> io::Result<(Digest, u64)> {
    if !std::fs::symlink_metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is not a plain file",
        ));
    }
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((Digest::from_bytes(hasher.finalize().into()), bytes));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Apply `work` to every item in [`THREADS`] threads; the results in the items' order.
fn in_threads<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(items.len()) {
            scope.spawn(|| {
                while let Some((at, item)) = take(&next, items) {
                    let result = work(item);
                    results
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> Option<(usize, &'a T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    items.get(at).map(|item| (at, item))
}
