//! One archive's way into a tree.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cooper_sandbox::Caller;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::ledger::DirectoryId;
use super::{Metadata, Place, Rootfs, RootfsError, TreePath, io_error, set_link_metadata, set_metadata};

/// How many directories a writer keeps open.
const OPEN_DIRECTORIES_MAX: usize = 64;

const CAPABILITY: &str = "security.capability";

/// Numbers temporary names, so that no two threads choose the same.
static TEMPORARY_SERIAL: AtomicU64 = AtomicU64::new(0);

/// Writes one archive's entries below a [`Rootfs`].
#[derive(Debug)]
pub struct TreeWriter<'a> {
    rootfs: &'a Rootfs,
    open: BTreeMap<String, Arc<Directory>>,
}

#[derive(Debug)]
struct Directory {
    descriptor: OwnedFd,
    id: DirectoryId,
}

/// A file that is being written; it has no content and no metadata until [`NewFile::finish`].
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: TreePath,
    directory: Arc<Directory>,
    temporary: Option<String>,
}

impl<'a> TreeWriter<'a> {
    pub(super) fn new(rootfs: &'a Rootfs) -> Self {
        Self {
            rootfs,
            open: BTreeMap::new(),
        }
    }

    /// The tree that it writes to.
    pub fn rootfs(&self) -> &'a Rootfs {
        self.rootfs
    }

    /// Make a directory, or keep the directory or link to a directory that is there. The metadata counts at
    /// [`Rootfs::settle`], and only if the directory was made since the last one and no archive with a
    /// lower rank describes it too.
    pub fn directory(&mut self, path: &TreePath, metadata: &Metadata, rank: u32) -> Result<(), RootfsError> {
        if path.is_root() {
            return Ok(());
        }
        let directory = self.directory_at(path.as_str())?;
        self.rootfs.ledger().note_described(directory.id, rank, *metadata);
        Ok(())
    }

    /// The place that a path leads to; its parents are made where they are missing.
    pub fn place(&mut self, path: &TreePath) -> Result<Place, RootfsError> {
        let (directory, name) = self.parent_of(path)?;
        Ok(Place {
            directory: directory.id,
            name: name.into(),
        })
    }

    /// Begin a new file. With `replace` it takes the place of whatever is there, at [`NewFile::finish`].
    ///
    /// # Errors
    /// [`RootfsError::Exists`] when the name is taken and `replace` is false.
    pub fn file(&mut self, path: &TreePath, replace: bool) -> Result<NewFile, RootfsError> {
        let (directory, name) = self.parent_of(path)?;
        let temporary = replace.then(temporary_name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = temporary.as_deref().unwrap_or(name);
        let descriptor = rustix::fs::openat(&directory.descriptor, name, flags, Mode::from_raw_mode(0o600));
        let descriptor = descriptor.map_err(|errno| made("create", path, errno))?;
        Ok(NewFile {
            file: File::from(descriptor),
            path: path.clone(),
            directory,
            temporary,
        })
    }

    /// Make a symbolic link.
    ///
    /// # Errors
    /// [`RootfsError::Exists`] when the name is taken and `replace` is false.
    pub fn symlink(
        &mut self,
        path: &TreePath,
        target: &str,
        metadata: &Metadata,
        replace: bool,
    ) -> Result<(), RootfsError> {
        let (directory, name) = self.parent_of(path)?;
        let temporary = replace.then(temporary_name);
        let first_name = temporary.as_deref().unwrap_or(name);
        rustix::fs::symlinkat(target, &directory.descriptor, first_name)
            .map_err(|errno| made("create the symbolic link", path, errno))?;
        set_link_metadata(directory.descriptor.as_fd(), first_name, metadata)
            .map_err(|errno| io_error("set the metadata of", path.as_str(), errno))?;
        directory.rename_over(temporary.as_deref(), path)
    }

    /// Make a hard link to the file `existing`.
    ///
    /// # Errors
    /// [`RootfsError::Exists`] when the name is taken and `replace` is false.
    pub fn hard_link(
        &mut self,
        existing: &TreePath,
        path: &TreePath,
        replace: bool,
    ) -> Result<(), RootfsError> {
        let (from, from_name) = self.parent_of(existing)?;
        let (directory, name) = self.parent_of(path)?;
        let temporary = replace.then(temporary_name);
        let first_name = temporary.as_deref().unwrap_or(name);
        rustix::fs::linkat(
            &from.descriptor,
            from_name,
            &directory.descriptor,
            first_name,
            AtFlags::empty(),
        )
        .map_err(|errno| made("create the hard link", path, errno))?;
        directory.rename_over(temporary.as_deref(), path)
    }

    /// Make a named pipe.
    ///
    /// # Errors
    /// [`RootfsError::Exists`] when the name is taken.
    pub fn fifo(&mut self, path: &TreePath, metadata: &Metadata) -> Result<(), RootfsError> {
        self.node(path, FileType::Fifo, metadata)
    }

    /// Delete a name of the layers below, as the upper directory of an overlay does: a 0:0 character device.
    ///
    /// # Errors
    /// [`RootfsError::Exists`] when the name is taken.
    pub fn whiteout(&mut self, path: &TreePath) -> Result<(), RootfsError> {
        self.node(path, FileType::CharacterDevice, &Metadata::of_root(0, 0))
    }

    fn node(&mut self, path: &TreePath, kind: FileType, metadata: &Metadata) -> Result<(), RootfsError> {
        let (directory, name) = self.parent_of(path)?;
        let mode = Mode::from_raw_mode(metadata.mode & 0o7777);
        rustix::fs::mknodat(&directory.descriptor, name, kind, mode, 0)
            .map_err(|errno| made("create the node", path, errno))?;
        set_link_metadata(directory.descriptor.as_fd(), name, metadata)
            // Whatever the umask is.
            .and_then(|()| rustix::fs::chmodat(&directory.descriptor, name, mode, AtFlags::empty()))
            .map_err(|errno| io_error("set the metadata of", path.as_str(), errno))
    }

    /// Delete everything that the layers below have in this directory, which is made where it is missing.
    pub fn opaque(&mut self, path: &TreePath) -> Result<(), RootfsError> {
        self.directory_at(path.as_str())?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = self.rootfs.open_below(path.as_str(), flags)?;
        let name = format!("{}opaque", Caller::of_process().overlay_prefix());
        rustix::fs::fsetxattr(&directory, name, b"y", XattrFlags::empty())
            .map_err(|errno| io_error("set an attribute of", path.as_str(), errno))
    }

    /// What the symbolic link at `path` says; `None` if no symbolic link is there.
    pub fn link_target(&mut self, path: &TreePath) -> Result<Option<String>, RootfsError> {
        let (directory, name) = self.parent_of(path)?;
        match rustix::fs::readlinkat(&directory.descriptor, name, Vec::new()) {
            Ok(target) => Ok(target.into_string().ok()),
            Err(Errno::INVAL | Errno::NOENT) => Ok(None),
            Err(errno) => Err(io_error("read the link", path.as_str(), errno)),
        }
    }

    /// Whether a directory, or a link to one, is at `path`.
    pub fn leads_to_directory(&self, path: &TreePath) -> bool {
        self.open_directory(path.as_str()).is_ok()
    }

    fn parent_of<'p>(&mut self, path: &'p TreePath) -> Result<(Arc<Directory>, &'p str), RootfsError> {
        let Some((parent, name)) = path.split() else {
            return Err(RootfsError::IsADirectory { path: "/".to_owned() });
        };
        Ok((self.directory_at(parent)?, name))
    }

    /// The directory at a path; it and its parents are made where they are missing.
    fn directory_at(&mut self, path: &str) -> Result<Arc<Directory>, RootfsError> {
        if let Some(directory) = self.open.get(path) {
            return Ok(Arc::clone(directory));
        }
        let directory = match self.open_directory(path) {
            Err(RootfsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.make_directory(path)?
            }
            other => other?,
        };
        if self.open.len() >= OPEN_DIRECTORIES_MAX {
            self.open.clear();
        }
        let directory = Arc::new(directory);
        self.open.insert(path.to_owned(), Arc::clone(&directory));
        Ok(directory)
    }

    fn open_directory(&self, path: &str) -> Result<Directory, RootfsError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let descriptor = self.rootfs.open_below(path, flags)?;
        let status =
            rustix::fs::fstat(&descriptor).map_err(|errno| io_error("read the state of", path, errno))?;
        Ok(Directory {
            descriptor,
            id: DirectoryId {
                device: status.st_dev,
                inode: status.st_ino,
            },
        })
    }

    fn make_directory(&mut self, path: &str) -> Result<Directory, RootfsError> {
        let (parent_path, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.directory_at(parent_path)?;
        let plain = Mode::from_raw_mode(0o755);
        let made = rustix::fs::mkdirat(&parent.descriptor, name, plain);
        let done = match made {
            // Whatever the umask is.
            Ok(()) => rustix::fs::chmodat(&parent.descriptor, name, plain, AtFlags::empty()),
            Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno),
        };
        done.map_err(|errno| io_error("create the directory", path, errno))?;
        let directory = match self.open_directory(path) {
            // The name is taken, yet cannot be entered: a link that leads nowhere.
            Err(RootfsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(RootfsError::NotADirectory {
                    path: path.to_owned(),
                });
            }
            other => other?,
        };
        if made.is_ok() {
            let path =
                TreePath::parse(path.as_bytes(), usize::MAX).map_err(|_| RootfsError::NotADirectory {
                    path: path.to_owned(),
                })?;
            self.rootfs.ledger().note_made(directory.id, path);
        }
        Ok(directory)
    }
}

impl Directory {
    /// Let the temporary name take the place of what is at `path`.
    fn rename_over(&self, temporary: Option<&str>, path: &TreePath) -> Result<(), RootfsError> {
        let (Some(temporary), Some((_, name))) = (temporary, path.split()) else {
            return Ok(());
        };
        let renamed = rustix::fs::renameat(&self.descriptor, temporary, &self.descriptor, name);
        match renamed {
            Ok(()) => {
                // Two names of one file stay two when one is renamed over the other.
                let _ = rustix::fs::unlinkat(&self.descriptor, temporary, AtFlags::empty());
                Ok(())
            }
            Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => Err(RootfsError::IsADirectory {
                path: path.to_string(),
            }),
            Err(errno) => Err(io_error("replace", path.as_str(), errno)),
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile {
    /// Write a piece of content.
    pub fn write_piece(&mut self, bytes: &[u8]) -> Result<(), RootfsError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| RootfsError::Io {
            operation: "write",
            path: self.path.to_string(),
            source,
        })
    }

    /// Set owner, mode and time, and let the file appear under its name.
    pub fn finish(self, metadata: &Metadata) -> Result<(), RootfsError> {
        self.finish_with(metadata, None)
    }

    /// The same, with the attribute `security.capability`.
    pub fn finish_with(self, metadata: &Metadata, capability: Option<&[u8]>) -> Result<(), RootfsError> {
        let failed = |errno| io_error("set the metadata of", self.path.as_str(), errno);
        set_metadata(self.file.as_fd(), metadata).map_err(failed)?;
        if let Some(capability) = capability {
            // After the owner: changing it takes the attribute away.
            rustix::fs::fsetxattr(&self.file, CAPABILITY, capability, XattrFlags::empty()).map_err(failed)?;
        }
        self.directory.rename_over(self.temporary.as_deref(), &self.path)
    }
}

fn temporary_name() -> String {
    format!(".cooper-{}", TEMPORARY_SERIAL.fetch_add(1, Ordering::Relaxed))
}

fn made(operation: &'static str, path: &TreePath, errno: Errno) -> RootfsError {
    match errno {
        Errno::EXIST => RootfsError::Exists {
            path: path.to_string(),
        },
        errno => io_error(operation, path.as_str(), errno),
    }
}
