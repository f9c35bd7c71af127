//! What is damaged goes out of the way, so that it is made or fetched again, and stays there to be looked at.

use std::io;
use std::path::Path;

use cooper_core::BlobDigest;

use super::blob::WriteBlobError;
use super::file::{Of as _, make_dir};
use super::session::QUARANTINE;
use super::{FileError, Store};

impl Store {
    /// Take a corrupted blob out of the way. When it is not there, nothing is done.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub fn set_aside_blob(&self, digest: &BlobDigest) -> Result<(), WriteBlobError> {
        Ok(self.quarantine(&self.blob_path(digest), &digest.hex())?)
    }

    /// Move what is at `path` below `tmp/quarantine/`.
    pub(super) fn quarantine(&self, path: &Path, name: &str) -> Result<(), FileError> {
        let quarantine = self.tmp_dir().join(QUARANTINE);
        make_dir(&quarantine)?;
        let busy = [io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::AlreadyExists];
        for attempt in 0_u32.. {
            let place = match attempt {
                0 => quarantine.join(name),
                attempt => quarantine.join(format!("{name}.{attempt}")),
            };
            match std::fs::rename(path, &place) {
                Err(error) if busy.contains(&error.kind()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                moved => return moved.of("move out of the way", path),
            }
        }
        Ok(())
    }
}
