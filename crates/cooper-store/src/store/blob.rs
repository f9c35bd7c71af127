//! Blobs: immutable files named by the digest of their bytes.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cooper_core::{BlobDigest, Digest};
use sha2::{Digest as _, Sha256};

use super::file::{Of as _, create_new, read_bounded, takes_file_error, write_synced};
use super::session::StagedFile;
use super::{FileError, Store};

/// Why a blob could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadBlobError {
    /// The store does not have it.
    #[error("the store has no blob {digest}")]
    Missing {
        /// Which blob.
        digest: BlobDigest,
    },
    /// It is larger than the caller allows.
    #[error("blob {digest} has more than {bytes_max} bytes")]
    TooLarge {
        /// Which blob.
        digest: BlobDigest,
        /// The limit.
        bytes_max: u64,
    },
    /// Its bytes are not those that its name promises.
    #[error("blob {digest} is corrupted: its bytes have the digest {actual}")]
    Corrupted {
        /// Which blob.
        digest: BlobDigest,
        /// What its bytes are.
        actual: Digest,
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

/// Why something could not be written to the store.
#[derive(Debug, thiserror::Error)]
pub enum WriteBlobError {
    /// The bytes are not those that were expected; nothing was kept.
    #[error("the bytes have the digest {actual}, expected {expected}")]
    Mismatch {
        /// What was expected.
        expected: Digest,
        /// What came.
        actual: Digest,
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
takes_file_error!(WriteBlobError);

const READ_BYTES: usize = 256 << 10;

/// The digest and the number of the bytes that are left in a file.
pub(super) fn hash(file: &mut File) -> io::Result<(Digest, u64)> {
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

impl Store {
    /// Whether the store has this blob. Does not read it.
    pub fn contains(&self, digest: &BlobDigest) -> bool {
        self.blob_size(digest).is_some()
    }

    /// Where this blob is, if it is there.
    pub fn blob_path(&self, digest: &BlobDigest) -> PathBuf {
        self.blobs_dir().join(digest.hex())
    }

    /// How many bytes this blob has; `None` if it is not there.
    pub fn blob_size(&self, digest: &BlobDigest) -> Option<u64> {
        let metadata = std::fs::symlink_metadata(self.blob_path(digest)).ok()?;
        metadata.is_file().then_some(metadata.len())
    }

    /// Open a blob for reading. Its digest is *not* checked: for large files that something else checks.
    pub fn open_blob(&self, digest: &BlobDigest) -> Result<File, ReadBlobError> {
        let path = self.blob_path(digest);
        File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ReadBlobError::Missing { digest: *digest },
            _ => ReadBlobError::Io {
                operation: "open",
                path,
                source,
            },
        })
    }

    /// Open a blob for reading after its whole content was checked against its digest.
    pub fn open_checked_blob(&self, digest: &BlobDigest) -> Result<File, ReadBlobError> {
        let mut file = self.open_blob(digest)?;
        let failed = |source| ReadBlobError::Io {
            operation: "read",
            path: self.blob_path(digest),
            source,
        };
        let (actual, _) = hash(&mut file).map_err(failed)?;
        if actual != *digest.digest() {
            return Err(ReadBlobError::Corrupted {
                digest: *digest,
                actual,
            });
        }
        file.rewind().map_err(failed)?;
        Ok(file)
    }

    /// Read a blob of at most `bytes_max` bytes and check its digest.
    pub fn read_blob(&self, digest: &BlobDigest, bytes_max: u64) -> Result<Vec<u8>, ReadBlobError> {
        let mut file = self.open_blob(digest)?;
        let failed = |source| ReadBlobError::Io {
            operation: "read",
            path: self.blob_path(digest),
            source,
        };
        let too_large = ReadBlobError::TooLarge {
            digest: *digest,
            bytes_max,
        };
        let bytes = read_bounded(&mut file, bytes_max)
            .map_err(failed)?
            .ok_or(too_large)?;
        let actual = Digest::of(&bytes);
        if actual != *digest.digest() {
            return Err(ReadBlobError::Corrupted {
                digest: *digest,
                actual,
            });
        }
        Ok(bytes)
    }

    /// Keep these bytes.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<BlobDigest, WriteBlobError> {
        let digest = BlobDigest::of(bytes);
        if self.blob_size(&digest) == Some(bytes.len() as u64) && self.renew_blob(&digest) {
            return Ok(digest);
        }
        let stage = self.staged_file("blob")?;
        write_synced(stage.path(), bytes)?;
        self.publish_whole(stage.path(), &digest)?;
        Ok(digest)
    }

    fn publish_whole(&self, stage: &Path, digest: &BlobDigest) -> Result<(), FileError> {
        let read_only = std::fs::Permissions::from_mode(0o444);
        std::fs::set_permissions(stage, read_only).of("set the mode of", stage)?;
        let place = self.blob_path(digest);
        std::fs::rename(stage, &place).of("rename to its place", &place)
    }

    /// Begin a blob whose digest is not known yet.
    pub fn blob_writer(&self) -> Result<BlobWriter, WriteBlobError> {
        let stage = self.staged_file("blob")?;
        let file = create_new(stage.path())?;
        Ok(BlobWriter {
            store: self.clone(),
            stage,
            file,
            hasher: Sha256::new(),
            length: 0,
        })
    }
}

/// A blob in progress below `tmp/`; dropped without `finish`, it is gone. Each write goes to the file at once, so
/// write in large pieces.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    stage: StagedFile,
    file: File,
    hasher: Sha256,
    length: u64,
}

impl BlobWriter {
    /// How many bytes were written so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Append, with an error that names the file.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.write_all(bytes).of("write", self.stage.path())
    }

    /// The digest of what was written so far.
    pub(crate) fn digest_so_far(&self) -> Digest {
        Digest::from_bytes(self.hasher.clone().finalize().into())
    }

    /// Begin again with nothing.
    pub(crate) fn restart(&mut self) -> Result<(), FileError> {
        use std::io::Seek as _;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .of("truncate", self.stage.path())?;
        self.hasher = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Sync the bytes and give them their name. The digest and the size.
    pub fn finish(self) -> Result<(BlobDigest, u64), WriteBlobError> {
        let digest = BlobDigest::new(self.digest_so_far());
        self.publish(&digest)?;
        Ok((digest, self.length))
    }

    /// The same, if the bytes are those that are expected; else nothing is kept.
    ///
    /// # Errors
    /// [`WriteBlobError::Mismatch`] when they are others.
    pub fn finish_expecting(self, expected: &Digest) -> Result<(BlobDigest, u64), WriteBlobError> {
        let actual = self.digest_so_far();
        if actual != *expected {
            return Err(WriteBlobError::Mismatch {
                expected: *expected,
                actual,
            });
        }
        self.finish()
    }

    fn publish(&self, digest: &BlobDigest) -> Result<(), FileError> {
        if self.store.blob_size(digest) == Some(self.length) && self.store.renew_blob(digest) {
            return Ok(());
        }
        self.file.sync_data().of("sync", self.stage.path())?;
        self.store.publish_whole(self.stage.path(), digest)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
