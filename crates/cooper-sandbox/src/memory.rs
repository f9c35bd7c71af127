//! File systems in memory: mounts of their own, and what a root needs beside its layers.
//!
//! Overlayfs takes a layer only from a mount of the caller's mount namespace, and detached mounts are in none (before
//! Linux 6.15). So the stack is made by a thread in a mount namespace of its own: the kernel keeps what the stack uses,
//! and the namespace is gone when the thread ends.

use std::ffi::OsStr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
};

use crate::error::SandboxError;
use crate::owners;
use crate::root::{self, open_directory};
use crate::syscall::{self, MountFlags};

/// Bytes of one page of memory.
const PAGE: u64 = 4096;
/// Room for the mount points of a root that cannot be written.
const POINTS_BYTES: u64 = 64 << 10;
/// Files beside those that fill the space: directories and what is empty.
const FILES_BESIDE: u64 = 64;
const FILES_MAX: u64 = 1 << 20;
/// What fails where a file system has no mounts with a map of ids.
pub(crate) const SHOW_LAYER: &str = "show the run's user as the owner of the files of";
pub(crate) const SHOW_FILE: &str = "show the run's user as the owner of";

/// A file system in memory that is mounted nowhere: at most so many bytes, in whole pages, and so many files with
/// their directories and links; `owner` is the user and group of its root, in the host's numbers. Reach it by opening
/// relative to the descriptor; it is gone when nobody has it any more.
///
/// # Errors
/// When the kernel does not make it.
pub fn tmpfs_fd(bytes: u64, files: u64, owner: u32, mode: u32) -> Result<OwnedFd, SandboxError> {
    let make = || {
        let fs = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let options = [
            (
                "size",
                bytes.div_ceil(PAGE).max(1).saturating_mul(PAGE).to_string(),
            ),
            ("nr_inodes", files.max(2).to_string()),
            ("mode", format!("{:o}", mode & 0o1777)),
        ];
        for (key, value) in options {
            rustix::mount::fsconfig_set_string(&fs, key, value)?;
        }
        // By default it is the caller's, who is root.
        for key in ["uid", "gid"].into_iter().filter(|_| owner != 0) {
            rustix::mount::fsconfig_set_string(&fs, key, owner.to_string())?;
        }
        rustix::mount::fsconfig_create(&fs)?;
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)
    };
    make().map_err(failed("make a file system in memory for", Path::new("the run")))
}

/// An empty file of each name, read-only, in a directory that is mounted nowhere: mount points.
///
/// # Errors
/// When the kernel does not make it, or a name is no file name.
pub fn points_fd(names: &[&OsStr]) -> Result<OwnedFd, SandboxError> {
    let memory = tmpfs_fd(PAGE, names.len() as u64 + FILES_BESIDE, 0, 0o755)?;
    for name in names {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        rustix::fs::openat(&memory, *name, flags, Mode::from_raw_mode(0o444))
            .map_err(failed("make the mount point", Path::new(name)))?;
    }
    let sealed = MountFlags::READ_ONLY | MountFlags::NO_SUID | MountFlags::NO_DEV | MountFlags::NO_EXEC;
    syscall::set_mount_flags(memory.as_fd(), c"", MountFlags(sealed)).map_err(failed(
        "restrict a file system in memory for",
        Path::new("the run"),
    ))?;
    Ok(memory)
}

/// An open file as a mount that is mounted nowhere: read-only, and nothing in it can be executed. What the caller could
/// open, the program gets; it sees what becomes of the file's content while it runs.
///
/// # Errors
/// When the kernel does not make it.
pub fn input_fd(file: BorrowedFd<'_>) -> Result<OwnedFd, SandboxError> {
    let make = || {
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = rustix::mount::open_tree(file, c"", flags)?;
        let sealed = MountFlags::READ_ONLY | MountFlags::NO_SUID | MountFlags::NO_DEV | MountFlags::NO_EXEC;
        syscall::set_mount_flags(tree.as_fd(), c"", MountFlags(sealed))?;
        Ok(tree)
    };
    make().map_err(failed("make a mount of an input for", Path::new("the run")))
}

/// These layers, read-only, with an empty directory of each name above them: images have no mount points.
pub(crate) fn stack_with_points(
    layers: &[PathBuf],
    points: &[&OsStr],
    flags: MountAttrFlags,
) -> Result<OwnedFd, SandboxError> {
    in_own_mounts(|| {
        let memory = attached(POINTS_BYTES, FILES_BESIDE)?;
        for point in points {
            make_directory(memory.as_fd(), point)?;
        }
        let mut stacked = vec![memory];
        for layer in layers {
            stacked.push(open_directory(layer)?);
        }
        root::stack(&stacked, None, flags)
    })
}

/// These layers with what is written above them in memory. What belongs to root in them is shown as `owner`'s, so that
/// a program that is not root may change it; nothing of that is written to the layers.
pub(crate) fn writable_stack(
    layers: &[PathBuf],
    bytes: u64,
    owner: u32,
    flags: MountAttrFlags,
) -> Result<OwnedFd, SandboxError> {
    in_own_mounts(|| {
        let shift = owners::shifted((0, 0), owner).map_err(failed(SHOW_LAYER, first(layers)))?;
        let lower: Vec<OwnedFd> = layers
            .iter()
            .map(|layer| shown_as(layer, shift.as_fd()))
            .collect::<Result<_, _>>()?;
        let files = (bytes / PAGE).saturating_add(FILES_BESIDE).min(FILES_MAX);
        let memory = attached(bytes, files)?;
        let [upper, work] = ["upper", "work"].map(|name| {
            make_directory(memory.as_fd(), OsStr::new(name))?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::openat(&memory, name, flags, Mode::empty())
                .map_err(failed("open a directory in memory for", first(layers)))
        });
        let (upper, work) = (upper?, work?);
        let user = (Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)));
        rustix::fs::chownat(&upper, c"", user.0, user.1, AtFlags::EMPTY_PATH)
            .map_err(failed("give a directory in memory to the user of", first(layers)))?;
        root::stack(&lower, Some((&upper, &work)), flags)
    })
}

fn first(layers: &[PathBuf]) -> &Path {
    layers.first().map_or(Path::new("/"), PathBuf::as_path)
}

/// Do this in a mount namespace of its own, where what is mounted is seen by nobody else.
pub(crate) fn in_own_mounts<T: Send>(
    make: impl FnOnce() -> Result<T, SandboxError> + Send,
) -> Result<T, SandboxError> {
    let host = Path::new("/");
    let enter = || {
        syscall::unshare(libc::CLONE_NEWNS)?;
        // This thread's alone from here on: modes are what they are given as.
        rustix::process::umask(Mode::empty());
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change(c"/", private)
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mounts".to_owned());
        let started = thread.spawn_scoped(scope, || {
            enter().map_err(failed("make a mount namespace below", host))?;
            make()
        });
        let started = started.map_err(|source| SandboxError::Supervise {
            operation: "start a thread",
            source,
        })?;
        started
            .join()
            .unwrap_or_else(|_| Err(failed("make mounts below", host)(Errno::IO)))
    })
}

/// A file system in memory that is mounted in this namespace, at a place where it covers nothing: what is mounted on
/// the root is not seen from it.
fn attached(bytes: u64, files: u64) -> Result<OwnedFd, SandboxError> {
    let memory = tmpfs_fd(bytes, files, 0, 0o755)?;
    attach(memory.as_fd()).map_err(failed("attach a file system in memory to", Path::new("/")))?;
    Ok(memory)
}

fn attach(mount: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::mount::move_mount(mount, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// The directory as a mount of this namespace that shows other owners.
fn shown_as(directory: &Path, shift: BorrowedFd<'_>) -> Result<OwnedFd, SandboxError> {
    let make = || {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let tree = rustix::mount::open_tree(CWD, directory, flags)?;
        let sealed = MountFlags(MountFlags::READ_ONLY | MountFlags::NO_SUID | MountFlags::NO_DEV);
        syscall::set_mount_flags(tree.as_fd(), c"", sealed)?;
        syscall::set_mount_owners(tree.as_fd(), shift)?;
        attach(tree.as_fd())?;
        Ok(tree)
    };
    make().map_err(failed(SHOW_LAYER, directory))
}

fn make_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), SandboxError> {
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
        .map_err(failed("make the mount point", &Path::new("/").join(name)))
}

fn failed(operation: &'static str, path: &Path) -> impl Fn(Errno) -> SandboxError {
    let path = path.to_owned();
    move |errno| SandboxError::Root {
        operation,
        path: path.clone(),
        source: errno.into(),
    }
}
