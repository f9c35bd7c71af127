//! Pins: plain names that keep some blobs alive, and that may be moved to others.
//!
//! Names of images never change what they mean. A pin is for what has a newest state: the evidence of the gates, say. It
//! is written whole, synced and renamed under the lock of the names, after everything that it keeps was renewed, so that a
//! garbage collection sees the old state or the new one, and a crash leaves one of them.

use std::io;
use std::path::{Path, PathBuf};

use cooper_core::BlobDigest;
use serde::{Deserialize, Serialize};

use super::file::{Of as _, open_if_there, read_bounded, sync_dir, takes_file_error};
use super::lock::plain_path;
use super::reference::file_names;
use super::{LockError, Store};

/// No pin is larger.
const PIN_BYTES_MAX: u64 = 16 << 20;

/// What a pin keeps alive, and what its owner says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Every blob that it keeps alive.
    pub blobs: Vec<BlobDigest>,
    /// What the store does not know: the owner's own record.
    pub details: serde_json::Value,
}

/// Why a pin could not be read or set.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The name cannot be a file name.
    #[error("`{name}` cannot be the name of a pin: use letters, digits, `.`, `_` and `-`")]
    Name {
        /// The name.
        name: String,
    },
    /// It names a blob that the store does not have.
    #[error("the pin names blob {digest}, which the store does not have")]
    MissingBlob {
        /// Which blob.
        digest: BlobDigest,
    },
    /// What is kept is no pin.
    #[error("`{path}` is not a pin")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
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
takes_file_error!(PinError);

impl Store {
    /// What is pinned under this name; `None` where nothing ever was.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn pin(&self, name: &str) -> Result<Option<Pin>, PinError> {
        read_pin(&self.pin_path(name)?)
    }

    /// Let a pin keep these blobs, and no longer those that it kept before.
    ///
    /// # Errors
    /// When one of them is not there, or the store cannot be written; what was pinned before stays then.
    pub fn set_pin(&self, name: &str, pin: &Pin) -> Result<(), PinError> {
        let path = self.pin_path(name)?;
        let _one_at_a_time = self.lock_names().map_err(|source| PinError::Lock { source })?;
        for digest in &pin.blobs {
            if !self.renew_blob(digest) {
                return Err(PinError::MissingBlob { digest: *digest });
            }
        }
        let text = serde_json::to_vec(pin).map_err(|source| PinError::Unreadable {
            path: path.clone(),
            source,
        })?;
        // What it names must be durable before it is.
        sync_dir(&self.blobs_dir())?;
        self.replace_durably("pin", &path, &text)?;
        Ok(())
    }

    /// Every pin with its name.
    pub(super) fn all_pins(&self) -> Result<Vec<(String, Pin)>, PinError> {
        let directory = self.pins_dir();
        let mut pins = Vec::new();
        for name in file_names(&directory)? {
            if let Some(pin) = read_pin(&directory.join(&name))? {
                pins.push((name, pin));
            }
        }
        Ok(pins)
    }

    pub(super) fn pins_dir(&self) -> PathBuf {
        self.root().join("pins")
    }

    fn pin_path(&self, name: &str) -> Result<PathBuf, PinError> {
        plain_path(&self.pins_dir(), name).map_err(|name| PinError::Name { name })
    }
}

pub(super) fn read_pin(path: &Path) -> Result<Option<Pin>, PinError> {
    let Some(mut file) = open_if_there(path)? else {
        return Ok(None);
    };
    let bytes = read_bounded(&mut file, PIN_BYTES_MAX).of("read", path)?;
    let pin = serde_json::from_slice(&bytes.unwrap_or_default());
    pin.map(Some).map_err(|source| PinError::Unreadable {
        path: path.to_owned(),
        source,
    })
}
