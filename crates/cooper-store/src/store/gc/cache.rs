//! Entries of the cache that go.

use std::fs::{DirEntry, Metadata};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cooper_core::Progress;
use cooper_core::progress::Stage;

use super::{GcError, GcReport};
use crate::store::cache::system_time;
use crate::store::file::Of as _;
use crate::store::{FileError, Store};

/// Which entries of the cache stay.
#[derive(Clone, Copy)]
pub struct CacheKeeping<'a> {
    /// Those that were stored or used since so long ago, to the day; and the newest of each kind.
    pub unused_for: Duration,
    /// Whether an entry, by its kind and bytes, is of use at all. Asked only for kinds in `judged_kinds`.
    pub is_of_use: &'a (dyn Fn(&str, &[u8]) -> bool + Sync),
    /// The kinds whose entries `is_of_use` judges.
    pub judged_kinds: &'a [&'a str],
}

/// An entry, and when it was last of use.
struct Kept {
    entry: DirEntry,
    metadata: Metadata,
    stored: SystemTime,
    used: SystemTime,
}

impl Store {
    /// Remove entries of the cache. Whoever reads one goes on reading it.
    ///
    /// # Errors
    /// When the cache cannot be listed, or an entry not be removed.
    pub fn collect_cache(
        &self,
        keeping: &CacheKeeping<'_>,
        report: &mut GcReport,
        progress: &Progress,
    ) -> Result<(), GcError> {
        let cache = self.root().join("cache");
        let oldest = system_time(self.clock().now()).checked_sub(keeping.unused_for);
        let oldest = oldest.unwrap_or(SystemTime::UNIX_EPOCH);
        for kind in entries(&cache)? {
            let entries = kept(&kind.path())?;
            progress.started(Stage::Check, entries.len() as u64, 0);
            let kind = kind.file_name().to_string_lossy().into_owned();
            let newest = entries.iter().map(|kept| kept.stored).max();
            for kept in entries {
                let is_recent = kept.used >= oldest || Some(kept.stored) == newest;
                if !is_recent || !keeping.uses(&kind, &kept)? {
                    self.remove_entry(&kept, report)?;
                }
                progress.advanced(Stage::Check, 1, 0);
            }
            progress.finished(Stage::Check);
        }
        Ok(())
    }

    fn remove_entry(&self, kept: &Kept, report: &mut GcReport) -> Result<(), FileError> {
        let path = kept.entry.path();
        let bytes = if kept.metadata.is_dir() {
            self.remove_cache_directory(&path)?
        } else {
            match std::fs::remove_file(&path) {
                Ok(()) => Some(kept.metadata.len()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error).of("remove", &path),
            }
        };
        if let Some(bytes) = bytes {
            report.cache_entries += 1;
            report.cache_bytes += bytes;
        }
        Ok(())
    }
}

impl CacheKeeping<'_> {
    fn uses(&self, kind: &str, kept: &Kept) -> Result<bool, FileError> {
        if !self.judged_kinds.contains(&kind) || kept.metadata.is_dir() {
            return Ok(true);
        }
        let path = kept.entry.path();
        match std::fs::read(&path) {
            Ok(bytes) => Ok((self.is_of_use)(kind, &bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error).of("read", &path),
        }
    }
}

fn entries(directory: &Path) -> Result<Vec<DirEntry>, FileError> {
    let listed = std::fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match listed {
        // A kind without a directory is a foreign file, and fsck's business.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(Vec::new())
        }
        listed => listed.of("list", directory),
    }
}

/// The files and directories of a kind. One that goes meanwhile is none.
fn kept(kind: &Path) -> Result<Vec<Kept>, FileError> {
    let state = |entry: DirEntry| {
        let metadata = entry.metadata().ok()?;
        if !metadata.is_file() && !metadata.is_dir() {
            return None;
        }
        let stored = metadata.modified().ok()?;
        Some(Kept {
            used: metadata.accessed().map_or(stored, |used| used.max(stored)),
            entry,
            metadata,
            stored,
        })
    };
    Ok(entries(kind)?.into_iter().filter_map(state).collect())
}
