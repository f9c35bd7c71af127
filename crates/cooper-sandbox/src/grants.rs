//! What a run gets beside its root: mounts made elsewhere, and secrets.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// What a program gets beside its root, its files and its streams. By default nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Grants<'a> {
    /// Attached in this order.
    pub mounts: &'a [Attached<'a>],
    /// Files in `/run/secrets`.
    pub secrets: &'a [Secret],
}

/// A detached mount and where it appears. Whoever keeps the descriptor reaches its files after the run too.
#[derive(Debug, Clone, Copy)]
pub struct Attached<'a> {
    /// A directory directly below `/` or `/run`, which is made; or a path in a mount that stands before it in the
    /// list, where it is there already.
    pub target: &'a Path,
    /// As [`crate::tmpfs_fd`] or [`crate::input_fd`] makes it. Programs in it never change their user, and it has no
    /// devices.
    pub mount: BorrowedFd<'a>,
    /// Whose it is.
    pub owner: Owner,
}

/// Whom the root of a mount belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Whom it belongs to on the host.
    Kept,
    /// The run's user: that is written to its file system, so it has to be one of this run's own.
    RunUser,
    /// It is shown as the run's user's, in this mount alone; the host's file stays whose it is.
    ShownAsRunUser,
}

/// A file that the program's user alone may read. Its bytes are in no message, and not in what `Debug` shows.
#[derive(Clone)]
pub struct Secret {
    name: OsString,
    bytes: Vec<u8>,
}

impl Secret {
    /// `name` is a file name: that of `/run/secrets/NAME`.
    pub fn new(name: impl Into<OsString>, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            bytes,
        }
    }

    /// Its file name.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Secret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_its_name_alone() {
        let shown = format!("{:?}", Secret::new("TOKEN", b"hunter2".to_vec()));
        assert!(shown.contains("TOKEN"), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("104"), "{shown}");
    }
}
