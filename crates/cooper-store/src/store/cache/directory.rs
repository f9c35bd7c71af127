//! Entries of the cache that are directories: many files under one key, there as a whole or not at all.
//!
//! A directory is made in a [`Scratch`](super::super::Scratch) and renamed to its place; it goes by being renamed into a
//! session, and is removed there. Its files may be linked into trees: an entry that goes takes no tree's file with it.
//! Nothing is synced: whoever uses an entry checks what it reads, and drops one that is not what it should be.

use std::fs::{File, FileTimes};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::super::file::{Of as _, make_dir};
use super::super::remove::remove_measured;
use super::super::{FileError, StageError, Store};
use super::{note_use, system_time};

impl Store {
    /// The directory that was stored under this kind and key, opened. Its files may go at any time.
    pub fn cache_directory(&self, kind: &str, key: &str) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(self.cache_path(kind, key), flags, Mode::empty()).ok()?;
        let directory = File::from(directory);
        note_use(&directory, self.clock().now());
        Some(directory.into())
    }

    /// Store a directory on the store's file system (in a [`Scratch`](super::super::Scratch)) under this kind and key:
    /// it is renamed to its place. What is there already stays, and the directory where it was.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn cache_put_directory(&self, kind: &str, key: &str, directory: &Path) -> Result<(), StageError> {
        let now = system_time(self.clock().now());
        let times = FileTimes::new().set_modified(now).set_accessed(now);
        let set = File::open(directory).and_then(|opened| opened.set_times(times));
        set.of("set the time of", directory)?;
        make_dir(&self.cache_dir(kind))?;
        let place = self.cache_path(kind, key);
        match std::fs::rename(directory, &place) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(())
            }
            renamed => Ok(renamed.of("rename to its place", &place)?),
        }
    }

    /// Remove the directory that is stored under this kind and key.
    ///
    /// # Errors
    /// When the store cannot be written. That there is none is no error.
    pub fn cache_drop_directory(&self, kind: &str, key: &str) -> Result<(), StageError> {
        self.remove_cache_directory(&self.cache_path(kind, key))?;
        Ok(())
    }

    /// Rename a directory into this process's session and remove it there; the bytes that the file system gets back, and
    /// `None` where it was gone.
    pub(in crate::store) fn remove_cache_directory(&self, path: &Path) -> Result<Option<u64>, FileError> {
        let away = self.fresh_path("dropped")?;
        match std::fs::rename(path, &away) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed.of("rename", path)?,
        }
        remove_measured(&away).of("remove", &away).map(Some)
    }
}
