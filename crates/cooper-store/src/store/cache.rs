//! The cache: entries that may be lost at any time, whole or not there.

mod directory;

use std::fs::{File, FileTimes};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cooper_core::{Digest, Timestamp};

use super::file::{Of as _, create_new};
use super::{FileError, Store, WriteBlobError};

/// An entry of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// What was stored.
    pub bytes: Vec<u8>,
    /// When, by the store's clock.
    pub stored_at: Timestamp,
}

impl Store {
    /// What was stored under this kind and key. Whatever hinders reading it counts as not there.
    pub fn cache_get(&self, kind: &str, key: &str) -> Option<Cached> {
        let mut file = self.cache_file(kind, key)?;
        let metadata = file.metadata().ok()?;
        let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).ok()?.saturating_add(1));
        file.read_to_end(&mut bytes).ok()?;
        Some(Cached {
            bytes,
            stored_at: Timestamp::try_from(metadata.modified().ok()?).ok()?,
        })
    }

    /// Store these bytes under this kind and key, replacing what was there.
    pub fn cache_put(&self, kind: &str, key: &str, bytes: &[u8]) -> Result<(), WriteBlobError> {
        let stage = self.staged_file("cache")?;
        self.write_cache_entry(stage.path(), bytes)?;
        self.publish_cache_entry(stage.path(), kind, key)?;
        Ok(())
    }

    /// [`Store::cache_put`] for a small note that costs little to make again: it is not brought to the disk at once. After a
    /// power cut it may be there and torn; whoever reads it must be able to tell.
    pub fn cache_note(&self, kind: &str, key: &str, bytes: &[u8]) -> Result<(), WriteBlobError> {
        let stage = self.staged_file("cache")?;
        let mut file = create_new(stage.path())?;
        file.write_all(bytes).of("write", stage.path())?;
        file.set_modified(system_time(self.clock().now()))
            .of("set the time of", stage.path())?;
        self.publish_cache_entry(stage.path(), kind, key)?;
        Ok(())
    }

    /// The entry of this kind and key, if it is there: for large files that are read in place.
    pub fn cache_file(&self, kind: &str, key: &str) -> Option<File> {
        let file = File::open(self.cache_path(kind, key)).ok()?;
        note_use(&file, self.clock().now());
        Some(file)
    }

    /// Where the entry of this kind and key is, if it is there.
    pub fn cache_path(&self, kind: &str, key: &str) -> PathBuf {
        self.cache_dir(kind).join(Digest::of(key.as_bytes()).hex())
    }

    fn write_cache_entry(&self, stage: &Path, bytes: &[u8]) -> Result<(), FileError> {
        let mut file = create_new(stage)?;
        file.write_all(bytes).of("write", stage)?;
        file.set_modified(system_time(self.clock().now()))
            .of("set the time of", stage)?;
        file.sync_data().of("sync", stage)
    }

    fn publish_cache_entry(&self, stage: &Path, kind: &str, key: &str) -> Result<(), FileError> {
        super::file::make_dir(&self.cache_dir(kind))?;
        let place = self.cache_path(kind, key);
        std::fs::rename(stage, &place).of("rename to its place", &place)
    }

    /// A kind is a word of the program, not of its user; what cannot be a file name is replaced.
    fn cache_dir(&self, kind: &str) -> PathBuf {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || "_-".contains(c) {
                c
            } else {
                '-'
            }
        };
        self.root()
            .join("cache")
            .join(kind.chars().map(plain).collect::<String>())
    }
}

/// Let the access time say that an entry was used, to the day, whatever the file system is mounted with.
fn note_use(file: &File, now: Timestamp) {
    let used = file.metadata().and_then(|metadata| metadata.accessed());
    let is_known = used.is_ok_and(|used| {
        let next_day = used + Duration::from_hours(24);
        next_day > system_time(now)
    });
    if !is_known {
        // Who may not say so loses nothing but the entry, some day.
        let _ = file.set_times(FileTimes::new().set_accessed(system_time(now)));
    }
}

pub(super) fn system_time(time: Timestamp) -> SystemTime {
    let since_epoch = time.as_nanosecond();
    let duration = |nanoseconds: i128| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
    if since_epoch >= 0 {
        SystemTime::UNIX_EPOCH + duration(since_epoch)
    } else {
        SystemTime::UNIX_EPOCH - duration(-since_epoch)
    }
}
