//! Blobs mapped into memory: large ones of which only a little is read.
#![expect(
    unsafe_code,
    reason = "mapping a file is a contract with whoever writes to it"
)]

use std::io;
use std::ptr::NonNull;

use cooper_core::BlobDigest;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::store::{ReadBlobError, Store};

/// A blob's bytes in memory, read from the disk as they are looked at. Its digest is *not* checked.
#[derive(Debug)]
pub struct MappedBlob {
    /// Nothing is mapped where there are no bytes.
    start: Option<NonNull<u8>>,
    length: usize,
}

// SAFETY: the bytes are only read, by whatever thread; the mapping is this value's own until it is dropped.
unsafe impl Send for MappedBlob {}
// SAFETY: as above: shared references only read.
unsafe impl Sync for MappedBlob {}

impl AsRef<[u8]> for MappedBlob {
    fn as_ref(&self) -> &[u8] {
        match self.start {
            // SAFETY: `start` is a private, read-only mapping of `length` bytes that lives as long as `self`. No writer
            // exists: a blob is never written after it has its name, only renamed and unlinked, which leave a mapping
            // whole. Whoever may write to the store's directory nevertheless is the store's owner.
            Some(start) => unsafe { std::slice::from_raw_parts(start.as_ptr(), self.length) },
            None => &[],
        }
    }
}

impl Drop for MappedBlob {
    fn drop(&mut self) {
        if let Some(start) = self.start {
            // SAFETY: this is the mapping that `map_blob` made, and nobody can refer to it any more.
            let unmapped = unsafe { munmap(start.as_ptr().cast(), self.length) };
            debug_assert!(unmapped.is_ok(), "what was mapped can be unmapped");
        }
    }
}

impl Store {
    /// Map a blob into memory. It may be collected meanwhile: the bytes stay.
    ///
    /// # Errors
    /// When it is not there, or cannot be mapped.
    pub fn map_blob(&self, digest: &BlobDigest) -> Result<MappedBlob, ReadBlobError> {
        let file = self.open_blob(digest)?;
        let failed = |operation| {
            move |source: io::Error| ReadBlobError::Io {
                operation,
                path: self.blob_path(digest),
                source,
            }
        };
        let length = file.metadata().map_err(failed("read the state of"))?.len();
        let too_large = |_| failed("map")(io::ErrorKind::FileTooLarge.into());
        let length = usize::try_from(length).map_err(too_large)?;
        if length == 0 {
            return Ok(MappedBlob { start: None, length });
        }
        // SAFETY: a null address lets the kernel choose one where nothing is mapped.
        let mapped = unsafe {
            mmap(
                std::ptr::null_mut(),
                length,
                ProtFlags::READ,
                MapFlags::PRIVATE,
                &file,
                0,
            )
        };
        let mapped = mapped.map_err(|error| failed("map")(error.into()))?;
        Ok(MappedBlob {
            start: NonNull::new(mapped.cast()),
            length,
        })
    }
}
