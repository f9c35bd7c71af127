//! The session directory below `tmp/`: one for each process that writes, flock'd while it lives.

use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::file::{Of as _, sync_dir, takes_file_error, write_synced};
use super::remove::remove_tree;
use super::{FileError, Store};

/// The reserved name below `tmp/` that no sweep touches.
pub(super) const QUARANTINE: &str = "quarantine";

/// An empty file in each session, made with it: its time says when the session began.
pub(super) const STARTED: &str = ".started";

/// How often a session directory is made anew when a sweeper was quicker than the lock.
const SESSION_ATTEMPTS: u32 = 100;

/// Why a place for work in progress could not be made, or a finished tree not be put in its place.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The disk, or the user's quota of it, is full.
    #[error("no space left while writing below `{path}`")]
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
takes_file_error!(StageError);

/// The session of one opened store, made when it is first needed.
#[derive(Default)]
pub(super) struct SessionCell(Mutex<Option<Arc<Session>>>);

/// A directory of one process's own below `tmp/`. Removed when its last user is gone.
pub(super) struct Session {
    path: PathBuf,
    /// Who made it: a forked child that ends must not remove what its parent works on.
    process: u32,
    next: AtomicU64,
    /// Holds the flock.
    _locked: File,
}

impl SessionCell {
    pub(super) fn session(&self, tmp: &Path) -> Result<Arc<Session>, FileError> {
        let mut cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = cell.as_ref() {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(Session::make(tmp)?);
        *cell = Some(Arc::clone(&session));
        Ok(session)
    }
}

impl Session {
    pub(super) fn make(tmp: &Path) -> Result<Self, FileError> {
        let mut tried = 0;
        loop {
            tried += 1;
            let path = tmp.join(session_name()?);
            std::fs::DirBuilder::new()
                .mode(0o755)
                .create(&path)
                .of("make the directory", &path)?;
            match lock_dir(&path) {
                Ok(Some(locked)) => {
                    let started = path.join(STARTED);
                    super::file::create_new(&started)?;
                    return Ok(Self {
                        path,
                        process: std::process::id(),
                        next: AtomicU64::new(0),
                        _locked: locked,
                    });
                }
                // Swept between making and locking.
                Ok(None) if tried < SESSION_ATTEMPTS => {}
                Ok(None) => return Err(io::Error::from(io::ErrorKind::NotFound)).of("lock", &path),
                Err(error) => return Err(error).of("lock", &path),
            }
        }
    }

    /// Its directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A path in the session that was not given before.
    pub(super) fn fresh_path(&self, kind: &str) -> PathBuf {
        self.path
            .join(format!("{kind}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        // Best effort: what remains is swept by the next one who opens the store.
        let _ = remove_tree(&self.path);
    }
}

fn session_name() -> Result<String, FileError> {
    let mut random = [0_u8; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())
        .of("take random bytes for", Path::new("a session's name"))?;
    Ok(format!(
        "{}-{:016x}",
        std::process::id(),
        u64::from_ne_bytes(random)
    ))
}

/// Lock a directory that a sweeper may remove at any moment; `None` when it did.
fn lock_dir(path: &Path) -> io::Result<Option<File>> {
    let opened = match File::open(path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    opened.lock()?;
    Ok(still_there(path, &opened).then_some(opened))
}

/// Whether this is still what has that name.
pub(super) fn still_there(path: &Path, opened: &File) -> bool {
    let (Ok(named), Ok(held)) = (std::fs::symlink_metadata(path), opened.metadata()) else {
        return false;
    };
    named.ino() == held.ino() && named.dev() == held.dev()
}

/// Remove what dead processes left below `tmp/`. Those that live hold their lock and are left alone.
///
/// What cannot be removed is not the opener's business: fsck notes it.
pub(super) fn sweep(tmp: &Path) {
    for (path, _) in abandoned(tmp) {
        if let Err(error) = remove_any(&path) {
            tracing::debug!(path = %path.display(), %error, "a leftover could not be swept");
        }
    }
}

/// The entries of `tmp/` whose flock is free, each with the lock that this call now holds on it.
pub(super) fn abandoned(tmp: &Path) -> Vec<(PathBuf, File)> {
    let Ok(entries) = std::fs::read_dir(tmp) else {
        return Vec::new();
    };
    let entries = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name() != QUARANTINE);
    let mut found: Vec<(PathBuf, File)> = entries
        .filter_map(|entry| try_lock_any(&entry.path()).map(|locked| (entry.path(), locked)))
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn try_lock_any(path: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    // Not blocking: a foreign pipe below tmp/ must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    opened.try_lock().ok()?;
    still_there(path, &opened).then_some(opened)
}

fn remove_any(path: &Path) -> io::Result<()> {
    let is_dir = std::fs::symlink_metadata(path)?.is_dir();
    if is_dir {
        remove_tree(path)
    } else {
        std::fs::remove_file(path)
    }
}

impl Store {
    pub(super) fn session(&self) -> Result<Arc<Session>, FileError> {
        self.inner.session.session(&self.tmp_dir())
    }

    /// A place below `tmp/` for something in progress.
    pub(super) fn fresh_path(&self, kind: &str) -> Result<PathBuf, FileError> {
        Ok(self.session()?.fresh_path(kind))
    }

    /// A place below `tmp/` for a file in progress that is gone when the value is, unless it was renamed.
    pub(super) fn staged_file(&self, kind: &str) -> Result<StagedFile, FileError> {
        let session = self.session()?;
        Ok(StagedFile {
            path: session.fresh_path(kind),
            _session: session,
        })
    }

    /// Put a small file in the place of the one that is there, if any: whole, and on the disk with its name.
    pub(super) fn replace_durably(&self, kind: &str, path: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let stage = self.staged_file(kind)?;
        write_synced(stage.path(), bytes)?;
        std::fs::rename(stage.path(), path).of("rename to its place", path)?;
        sync_dir(path.parent().unwrap_or(path))
    }

    /// A private directory on the store's file system, removed when the value is dropped.
    pub fn scratch(&self) -> Result<Scratch, StageError> {
        let path = self.fresh_path("scratch")?;
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .of("make the directory", &path)?;
        Ok(Scratch {
            path,
            _store: self.clone(),
        })
    }
}

/// The path of a file in progress. What is there on drop is removed: nothing, after the file was renamed.
pub(super) struct StagedFile {
    path: PathBuf,
    _session: Arc<Session>,
}

impl StagedFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Debug for StagedFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(formatter)
    }
}

impl Drop for StagedFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A private directory below the store's `tmp/`, mode 0700. Removed with all that is in it on drop; where
/// the process is killed, the next one who opens the store sweeps it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Keeps the session, and with it the lock.
    _store: Store,
}

impl Scratch {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a scratch directory stays until the next sweep");
        }
    }
}
