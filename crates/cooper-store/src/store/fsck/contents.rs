//! Blobs and trees: hashed, or checked by the caller.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, DiffId, Digest};

use super::{Check, Fault, FsckError};
use crate::store::FileError;
use crate::store::blob;
use crate::store::reference::file_names;

/// How many threads work.
const THREADS: usize = 2;

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

impl Check<'_> {
    pub(super) fn contents(&mut self) -> Result<(), FsckError> {
        let blobs: Vec<BlobDigest> = self
            .listed(&self.store.blobs_dir())?
            .map(BlobDigest::new)
            .collect();
        let trees: Vec<DiffId> = self.listed(&self.store.trees_dir())?.map(DiffId::new).collect();
        let bytes = blobs
            .iter()
            .filter_map(|digest| self.store.blob_size(digest))
            .sum();
        self.progress
            .started(Stage::Check, (blobs.len() + trees.len()) as u64, bytes);
        self.blobs(&blobs)?;
        self.trees(&trees)?;
        self.progress.finished(Stage::Check);
        self.missing();
        Ok(())
    }

    /// The digests that name the entries of a directory; other entries are foreign.
    fn listed(&mut self, directory: &Path) -> Result<impl Iterator<Item = Digest> + use<>, FsckError> {
        let (digests, foreign) = digests_in(directory)?;
        self.faults
            .extend(foreign.into_iter().map(|path| Fault::ForeignFile { path }));
        Ok(digests.into_iter())
    }

    fn blobs(&mut self, digests: &[BlobDigest]) -> Result<(), FsckError> {
        let hashed = in_threads(digests, |digest| {
            let hashed = hash_file(&self.store.blob_path(digest));
            let bytes = if let Hashed::Whole { bytes, .. } = hashed {
                bytes
            } else {
                0
            };
            self.progress.advanced(Stage::Check, 1, bytes);
            hashed
        });
        for (digest, hashed) in digests.iter().zip(hashed) {
            self.judge_blob(digest, hashed)?;
        }
        Ok(())
    }

    fn judge_blob(&mut self, digest: &BlobDigest, hashed: Hashed) -> Result<(), FsckError> {
        let needed_by = self.names_of(self.blobs_needed.get(digest));
        match hashed {
            Hashed::Gone => return Ok(()),
            Hashed::Whole { actual, bytes } => {
                self.bytes_checked += bytes;
                if actual != *digest.digest() {
                    let moved = self.options.repair;
                    if moved {
                        self.store
                            .quarantine(&self.store.blob_path(digest), &digest.hex())?;
                    }
                    self.faults.push(Fault::CorruptedBlob {
                        digest: *digest,
                        actual,
                        needed_by,
                        moved,
                    });
                }
            }
            Hashed::Unreadable { reason } => {
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

    fn trees(&mut self, diff_ids: &[DiffId]) -> Result<(), FsckError> {
        let checked = in_threads(diff_ids, |diff_id| {
            let checked = self.check_tree(diff_id);
            self.progress.advanced(Stage::Check, 1, 0);
            checked
        });
        self.trees_checked = diff_ids.len() as u64;
        for (diff_id, checked) in diff_ids.iter().zip(checked) {
            if let Err(reason) = checked {
                let needed_by = self.names_of(self.trees_needed.get(diff_id));
                let moved = self.options.repair;
                if moved {
                    let name = format!("tree-{}", diff_id.hex());
                    self.store.quarantine(&self.store.tree_path(diff_id), &name)?;
                }
                self.faults.push(Fault::DamagedTree {
                    diff_id: *diff_id,
                    reason,
                    needed_by,
                    moved,
                });
            }
        }
        Ok(())
    }

    fn check_tree(&self, diff_id: &DiffId) -> Result<(), String> {
        let path = self.store.tree_path(diff_id);
        match std::fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => self
                .options
                .tree_check
                .map_or(Ok(()), |check| check(&path, diff_id)),
            Ok(_) => Err("it is not a directory".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What names need and nobody has. Looked up last: what came meanwhile is there.
    fn missing(&mut self) {
        // What this check took out of the way is reported as corrupted, not as missing too.
        let moved: BTreeSet<BlobDigest> = self.faults.iter().filter_map(Fault::moved_blob).collect();
        let gone = self
            .blobs_needed
            .iter()
            .filter(|(digest, _)| !exists(&self.store.blob_path(digest)));
        let gone = gone.filter(|(digest, _)| !moved.contains(digest));
        let blobs: Vec<Fault> = gone
            .map(|(digest, needed_by)| Fault::MissingBlob {
                digest: *digest,
                needed_by: self.names_of(Some(needed_by)),
            })
            .collect();
        self.faults.extend(blobs);
    }

    /// The names of images, sorted.
    fn names_of(&self, images: Option<&Vec<u32>>) -> Vec<String> {
        let names = images.into_iter().flatten();
        let mut names: Vec<String> = names
            .filter_map(|image| self.images.get(*image as usize).cloned())
            .collect();
        names.sort();
        names
    }
}

/// Whether there is something under this name: what it is was judged before.
fn exists(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
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
    blob::hash(&mut File::open(path)?)
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
