//! What init takes along from the host where it is root of a user namespace: it may make no device nodes, and mount a
//! `/proc` only as long as it sees a whole one (`mount_too_revealing` in the kernel), which is over with the host's root.
//!
//! It is all made detached, before the container's root is entered, and attached inside.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use crate::error::Step;
use crate::init::{During as _, Failure};
use crate::mounts::DEVICES;
use crate::syscall::{self, MountFlags};

/// Detached mounts.
pub(crate) struct OfHost {
    proc: OwnedFd,
    devices: [OwnedFd; DEVICES.len()],
}

impl OfHost {
    /// Make them; the caller is in its pid and mount namespaces and sees the host's files.
    pub(crate) fn take() -> Result<Self, Failure> {
        Self::with(proc(true))
    }

    /// The same with a `/proc` that shows all: it is covered wherever something runs.
    pub(crate) fn take_to_cover() -> Result<Self, Failure> {
        Self::with(proc(false))
    }

    fn with(proc: Result<OwnedFd, Errno>) -> Result<Self, Failure> {
        let device = |index: usize| -> Result<OwnedFd, Failure> {
            let (path, ..) = DEVICES
                .get(index)
                .ok_or(Failure(Step::TakeDevices, Errno::INVAL))?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let tree = rustix::mount::open_tree(CWD, *path, flags).during(Step::TakeDevices)?;
            // A device takes writes all the same; what cannot be written is its mode.
            let sealed = MountFlags(MountFlags::READ_ONLY | MountFlags::NO_SUID | MountFlags::NO_EXEC);
            syscall::set_mount_flags(tree.as_fd(), c"", sealed).during(Step::TakeDevices)?;
            Ok(tree)
        };
        Ok(Self {
            proc: proc.during(Step::MountProc)?,
            devices: [
                device(0)?,
                device(1)?,
                device(2)?,
                device(3)?,
                device(4)?,
                device(5)?,
            ],
        })
    }

    /// Attach `/proc`.
    pub(crate) fn attach_proc(&self) -> Result<(), Errno> {
        attach(&self.proc, c"/proc")
    }

    /// Attach the devices, each on an empty file.
    pub(crate) fn attach_devices(&self) -> Result<(), Errno> {
        for (tree, (path, ..)) in self.devices.iter().zip(DEVICES) {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            drop(rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o666))?);
            attach(tree, path)?;
        }
        Ok(())
    }
}

/// Other processes are there only for those who may trace them, whatever their group: a run with one id alone has the
/// group that `hidepid=2` would make an exception of.
fn proc(hides: bool) -> Result<OwnedFd, Errno> {
    let fs = rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    if hides {
        rustix::mount::fsconfig_set_string(fs.as_fd(), c"hidepid", c"ptraceable")?;
    }
    rustix::mount::fsconfig_create(fs.as_fd())?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

fn attach(tree: &OwnedFd, path: &std::ffi::CStr) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(tree.as_fd(), c"", CWD, path, flags)
}
