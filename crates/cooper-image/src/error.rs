//! Why an image could not be assembled.

use std::io;

use cooper_core::BlobDigest;
use cooper_gate::Refusal;
use cooper_sandbox::SandboxError;
use cooper_store::{LockError, ReadBlobError, StageError, WriteBlobError};

use crate::deb::DebError;
use crate::layer::{PackError, UnpackError};
use crate::wheel::WheelError;

/// Why an image could not be assembled.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// An artefact is not in the store.
    #[error("cannot read the artefact of {package}")]
    Artefact {
        /// The package and its version.
        package: String,
        /// Why.
        #[source]
        source: ReadBlobError,
    },
    /// A Debian package is not what it should be.
    #[error("cannot unpack {package}")]
    Deb {
        /// The package and its version.
        package: String,
        /// Why.
        #[source]
        source: DebError,
    },
    /// A wheel is not what it should be.
    #[error("cannot install {package}")]
    Wheel {
        /// The distribution and its version.
        package: String,
        /// Why.
        #[source]
        source: WheelError,
    },
    /// What only the packages tell is refused.
    #[error(transparent)]
    Refused(Refusal),
    /// A maintainer script failed.
    #[error("{call} failed{}", if tail.is_empty() { String::new() } else { format!(":\n{tail}") })]
    Script {
        /// Package and script.
        call: String,
        /// The last lines that it wrote.
        tail: String,
    },
    /// The build step took too long or too much memory.
    #[error("{call} was stopped: {reason}")]
    Stopped {
        /// Package and script.
        call: String,
        /// Which limit.
        reason: &'static str,
    },
    /// The build sandbox could not be made.
    #[error("cannot make the build sandbox")]
    Sandbox(#[source] SandboxError),
    /// A file of the tree could not be read or written.
    #[error("cannot {operation} in the tree of the {role} layer")]
    Tree {
        /// For example `write the package database`.
        operation: &'static str,
        /// Which layer.
        role: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The store has no room for a tree.
    #[error("cannot prepare a tree in the store")]
    Stage(#[source] StageError),
    /// The tree could not be packed.
    #[error("cannot pack the {role} layer")]
    Pack {
        /// Which layer.
        role: &'static str,
        /// Why.
        #[source]
        source: PackError,
    },
    /// A layer that is in the store could not be unpacked.
    #[error("cannot unpack the {role} layer")]
    Unpack {
        /// Which layer.
        role: &'static str,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// The store could not be written.
    #[error("cannot write the image to the store")]
    Write(#[source] WriteBlobError),
    /// Another process holds the layer.
    #[error("cannot lock the layer")]
    Lock(#[source] LockError),
    /// A document could not be written as JSON.
    #[error("cannot write {role} as JSON")]
    Json {
        /// Which.
        role: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A recipe that this program does not have.
    #[error("the lock wants recipe {found}; this program has recipe {known}")]
    Recipe {
        /// In the lock.
        found: u32,
        /// Ours.
        known: u32,
    },
}

impl AssembleError {
    /// The artefact whose bytes in the store are not those of its digest.
    pub fn corrupted_artefact(&self) -> Option<BlobDigest> {
        match self {
            Self::Artefact {
                source: ReadBlobError::Corrupted { digest, .. },
                ..
            } => Some(*digest),
            _ => None,
        }
    }

    /// Whether the reason is that the disk, or a quota on it, has no room.
    pub fn is_disk_full(&self) -> bool {
        let chain = std::iter::successors(Some(self as &(dyn std::error::Error + 'static)), |error| {
            error.source()
        });
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        chain
            .filter_map(|error| error.downcast_ref::<io::Error>())
            .any(|error| full.contains(&error.kind()))
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let no_room = || {
            Some("check that the disk of the store has room: `cooper config` shows where it is".to_owned())
        };
        let at_fault = || Some("the package itself is at fault: ask for another version".to_owned());
        if self.is_disk_full() {
            return Some("free some space on the store's disk and run again".to_owned());
        }
        match self {
            Self::Artefact { .. } | Self::Unpack { .. } => {
                Some("run `cooper fsck --repair`, then create again".to_owned())
            }
            Self::Pack { source, .. } => source.hint().or_else(no_room),
            Self::Script { call, .. } | Self::Stopped { call, .. } => {
                let package = call
                    .split_once(" preinst")
                    .or_else(|| call.split_once(" postinst"));
                Some(match package {
                    Some((package, _)) => format!(
                        "try another version of {package}, or leave it out; the script ran without network"
                    ),
                    None => "is there room on the disk, and 2 GiB of free memory?".to_owned(),
                })
            }
            Self::Sandbox(error) => error.hint(),
            Self::Recipe { .. } => {
                Some("use the version of cooper that made the lock, or resolve again".to_owned())
            }
            // Whoever judged it knows what helps.
            Self::Refused(_) => None,
            Self::Deb { source, .. } => source.hint().or_else(at_fault),
            Self::Wheel { source, .. } => source.hint().or_else(at_fault),
            Self::Stage(_) | Self::Write(_) | Self::Tree { .. } | Self::Lock(_) | Self::Json { .. } => Some(
                "check that the disk of the store has room: `cooper config` shows where it is".to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_cannot_be_packed_here_says_where_it_can() {
        let error = AssembleError::Pack {
            role: "base",
            source: PackError::Processor,
        };
        assert!(error.hint().unwrap().contains("SSE 4.2"));
    }
}
