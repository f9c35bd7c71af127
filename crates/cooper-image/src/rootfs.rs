//! Writes below a root directory that is given as a file descriptor, never through a path string.
//!
//! Every parent directory is resolved by `openat2(2)` inside the root ([`Links`]), and every new name is
//! made with a call that follows no link. One [`Rootfs`] may be written to from several threads at once,
//! each through its own [`TreeWriter`]. Its ledger knows who made what, so that the outcome does not
//! depend on which thread came first: the metadata of a directory that several archives carry is that of
//! the archive with the lowest rank, and is set by [`Rootfs::settle`] when all content is there.
//!
//! Nothing here is flushed to the disk: the store does that once for the whole tree.

mod ledger;
mod path;
mod writer;

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use ledger::Ledger;
pub use ledger::{Claim, Place};
pub(crate) use path::printable;
pub use path::{ParseTreePathError, PathFault, TreePath};
pub use writer::{NewFile, TreeWriter};

/// What an archive may unpack to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnpackLimits {
    /// How many entries one archive may have.
    pub entries_max: u64,
    /// How many bytes one file may have.
    pub file_bytes_max: u64,
    /// How many bytes one archive may unpack to, its headers included.
    pub total_bytes_max: u64,
    /// How many bytes a path may have.
    pub path_bytes_max: usize,
    /// How many bytes a package's control archive may unpack to.
    pub control_bytes_max: u64,
    /// How many times larger than the archive its content may be, once it is larger than
    /// [`RATIO_FREE_BYTES`].
    pub ratio_max: u64,
    /// How many bytes of memory a decompressor may take.
    pub decoder_memory_max: u64,
}

/// Content of this size is never refused for its compression ratio.
pub const RATIO_FREE_BYTES: u64 = 256 << 20;

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            entries_max: 500_000,
            file_bytes_max: 8 << 30,
            total_bytes_max: 16 << 30,
            path_bytes_max: 2_048,
            control_bytes_max: 64 << 20,
            ratio_max: 200,
            decoder_memory_max: 256 << 20,
        }
    }
}

impl UnpackLimits {
    /// How many bytes an archive of `archive_bytes` may unpack to.
    pub fn unpacked_bytes_max(&self, archive_bytes: u64) -> u64 {
        let by_ratio = archive_bytes.saturating_mul(self.ratio_max).max(RATIO_FREE_BYTES);
        by_ratio.min(self.total_bytes_max)
    }
}

/// Owner, mode and time of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits, setuid, setgid and sticky included.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
}

impl Metadata {
    /// What root owns.
    pub const fn of_root(mode: u32, mtime: i64) -> Self {
        Self {
            mode,
            uid: 0,
            gid: 0,
            mtime,
        }
    }

    fn timestamps(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.mtime,
            tv_nsec: 0,
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

/// What happens to symbolic links among the parents of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// They are followed as a process in that root would follow them, so they cannot lead out of it:
    /// `/lib/x` lands in `/usr/lib` where `/lib` is a link to `usr/lib`.
    FollowInRoot,
    /// They are refused.
    Refused,
}

/// Why something could not be written below a root.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// The system refused.
    #[error("cannot {operation} `{path}` in the tree")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The path below the root.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The name is taken.
    #[error("`{path}` is already there")]
    Exists {
        /// The path below the root.
        path: String,
    },
    /// A directory was wanted where something else is.
    #[error("`{path}` is there already and is not a directory")]
    NotADirectory {
        /// The path below the root.
        path: String,
    },
    /// Something else was wanted where a directory is.
    #[error("`{path}` is there already and is a directory")]
    IsADirectory {
        /// The path below the root.
        path: String,
    },
    /// A parent is a symbolic link where none may be, or leads out of the root.
    #[error("`{path}` leads through a symbolic link")]
    ThroughLink {
        /// The path below the root.
        path: String,
    },
    /// A file is larger than the caller accepts.
    #[error("`{path}` has more than {bytes_max} bytes")]
    TooLarge {
        /// The path below the root.
        path: String,
        /// The most that is accepted.
        bytes_max: u64,
    },
}

/// One root directory, writable from several threads.
#[derive(Debug)]
pub struct Rootfs {
    root: OwnedFd,
    links: Links,
    ledger: Mutex<Ledger>,
}

impl Rootfs {
    /// Write below the directory `root`.
    pub fn new(root: OwnedFd, links: Links) -> Self {
        Self {
            root,
            links,
            ledger: Mutex::default(),
        }
    }

    /// Write below the directory at `path`, which must not be a link.
    pub fn open(path: &Path, links: Links) -> Result<Self, RootfsError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| io_error("open", &path.display().to_string(), errno))?;
        Ok(Self::new(root, links))
    }

    /// The root itself.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// A writer for one archive; it caches the directories that it opened.
    pub fn writer(&self) -> TreeWriter<'_> {
        TreeWriter::new(self)
    }

    /// Open a file for reading; `None` if nothing is there.
    pub fn file(&self, path: &TreePath) -> Result<Option<File>, RootfsError> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match self.open_below(path.as_str(), flags) {
            Ok(descriptor) => Ok(Some(File::from(descriptor))),
            Err(RootfsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Read a whole regular file; `None` if nothing is there.
    pub fn read(&self, path: &TreePath, bytes_max: u64) -> Result<Option<Vec<u8>>, RootfsError> {
        let Some(file) = self.file(path)? else {
            return Ok(None);
        };
        let failed = |source| RootfsError::Io {
            operation: "read",
            path: path.to_string(),
            source,
        };
        let mut bytes = Vec::new();
        let read = file
            .take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if read as u64 > bytes_max {
            return Err(RootfsError::TooLarge {
                path: path.to_string(),
                bytes_max,
            });
        }
        Ok(Some(bytes))
    }

    /// Open a file to read it; `None` if nothing is there. It is not followed where it is a link.
    pub fn open_file(&self, path: &TreePath) -> Result<Option<File>, RootfsError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match self.open_below(path.as_str(), flags) {
            Ok(descriptor) => Ok(Some(File::from(descriptor))),
            Err(RootfsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether anything has this name, a link that leads nowhere included; not where a parent is a link and links
    /// are refused.
    pub fn has_name(&self, path: &TreePath) -> Result<bool, RootfsError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match self.open_below(path.as_str(), flags) {
            Ok(_) => Ok(true),
            Err(RootfsError::ThroughLink { .. } | RootfsError::NotADirectory { .. }) => Ok(false),
            Err(RootfsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Mode and owner of a directory; `None` if nothing is there. Its time counts as 1970.
    pub(crate) fn directory(&self, path: &TreePath) -> Result<Option<Metadata>, RootfsError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match self.open_below(path.as_str(), flags) {
            Err(RootfsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            opened => opened?,
        };
        let status = rustix::fs::fstat(&opened);
        let status = status.map_err(|errno| io_error("read the state of", path.as_str(), errno))?;
        Ok(Some(Metadata {
            mode: status.st_mode & 0o7777,
            uid: status.st_uid,
            gid: status.st_gid,
            mtime: 0,
        }))
    }

    /// The names in a directory, sorted; none where there is no such directory. Names that are not UTF-8 come with
    /// replacement characters.
    pub fn names(&self, path: &TreePath) -> Result<Vec<String>, RootfsError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match self.open_below(path.as_str(), flags) {
            Ok(directory) => directory,
            Err(RootfsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let failed = |errno| io_error("list", path.as_str(), errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Give every directory that was made here its final owner, mode and time, and every file that several
    /// archives share the newest of their times. Directories that no archive described get root, 0755 and
    /// `default_mtime`.
    ///
    /// Call it when the content of all archives is there and before anything else writes to the tree;
    /// afterwards those directories count as found, and later archives leave them as they are.
    pub fn settle(&self, default_mtime: i64) -> Result<(), RootfsError> {
        let (directories, files) = self.ledger().drain_unsettled();
        for (path, metadata) in directories {
            let metadata = metadata.unwrap_or(Metadata::of_root(0o755, default_mtime));
            self.settle_one(&path, OFlags::RDONLY | OFlags::DIRECTORY, &metadata)?;
        }
        for (path, metadata) in files {
            self.settle_one(&path, OFlags::RDONLY | OFlags::NOFOLLOW, &metadata)?;
        }
        Ok(())
    }

    fn settle_one(&self, path: &TreePath, flags: OFlags, metadata: &Metadata) -> Result<(), RootfsError> {
        let descriptor = match self.open_below(path.as_str(), flags | OFlags::CLOEXEC) {
            Ok(descriptor) => descriptor,
            Err(RootfsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        set_metadata(descriptor.as_fd(), metadata)
            .map_err(|errno| io_error("set the metadata of", path.as_str(), errno))
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolve_flags(&self) -> ResolveFlags {
        match self.links {
            Links::FollowInRoot => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            Links::Refused => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
        }
    }

    /// Open a path inside the root; the empty path is the root.
    fn open_below(&self, path: &str, flags: OFlags) -> Result<OwnedFd, RootfsError> {
        let target = if path.is_empty() { "." } else { path };
        // The kernel answers EAGAIN when a rename elsewhere made it lose its certainty.
        for _ in 0..1_000 {
            match rustix::fs::openat2(&self.root, target, flags, Mode::empty(), self.resolve_flags()) {
                Ok(descriptor) => return Ok(descriptor),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(Errno::LOOP | Errno::XDEV) => {
                    return Err(RootfsError::ThroughLink {
                        path: path.to_owned(),
                    });
                }
                Err(Errno::NOTDIR) => {
                    return Err(RootfsError::NotADirectory {
                        path: path.to_owned(),
                    });
                }
                Err(errno) => return Err(io_error("open", path, errno)),
            }
        }
        Err(io_error("open", path, Errno::AGAIN))
    }
}

/// Owner first: changing it clears the setuid bit.
fn set_metadata(descriptor: BorrowedFd<'_>, metadata: &Metadata) -> Result<(), Errno> {
    let owner = rustix::fs::Uid::from_raw(metadata.uid);
    let group = rustix::fs::Gid::from_raw(metadata.gid);
    rustix::fs::fchown(descriptor, Some(owner), Some(group))?;
    rustix::fs::fchmod(descriptor, Mode::from_raw_mode(metadata.mode & 0o7777))?;
    rustix::fs::futimens(descriptor, &metadata.timestamps())
}

/// The same for a symbolic link, which has no mode.
fn set_link_metadata(directory: BorrowedFd<'_>, name: &str, metadata: &Metadata) -> Result<(), Errno> {
    let owner = rustix::fs::Uid::from_raw(metadata.uid);
    let group = rustix::fs::Gid::from_raw(metadata.gid);
    rustix::fs::chownat(
        directory,
        name,
        Some(owner),
        Some(group),
        AtFlags::SYMLINK_NOFOLLOW,
    )?;
    rustix::fs::utimensat(directory, name, &metadata.timestamps(), AtFlags::SYMLINK_NOFOLLOW)
}

fn io_error(operation: &'static str, path: &str, errno: Errno) -> RootfsError {
    RootfsError::Io {
        operation,
        path: path.to_owned(),
        source: errno.into(),
    }
}
