//! The container's file systems, made by init in its own mount namespace.

use std::ffi::CStr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, UnmountFlags};

use crate::caller::Caller;
use crate::error::Step;
use crate::init::{During as _, Failure};
use crate::of_host::OfHost;
use crate::prepare::{Prepared, PreparedFile, PreparedMount};
use crate::spec::Profile;
use crate::syscall::{self, MountFlags as Attributes};

/// Other processes are there only for those who may trace them: init is not, nor anything that the program may not
/// touch. (No process has the group that would be exempt.)
pub(crate) const PROC_OPTIONS: &CStr = c"hidepid=2,gid=4294967294";
const DEV_FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);
const DEV_OPTIONS: &CStr = c"mode=0755,size=65536,nr_inodes=32";
/// Group 5 is `tty`.
const PTS_OPTIONS: &CStr = c"newinstance,ptmxmode=0666,mode=0620,gid=5,max=64";
const TTY_GROUP: u32 = 5;
/// Where there is no such group.
const PTS_OPTIONS_WITHOUT_GROUP: &CStr = c"newinstance,ptmxmode=0666,mode=0620,max=64";
/// An empty directory.
const MASK_OPTIONS: &CStr = c"mode=0555,size=4096,nr_inodes=1";

/// What tells of the host's kernel and hardware, or acts on them.
const MASKED_FILES: &[&CStr] = &[
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/key-users",
    c"/proc/timer_list",
    c"/proc/sched_debug",
    c"/proc/latency_stats",
    c"/proc/sysrq-trigger",
    c"/proc/kmsg",
    c"/proc/kallsyms",
    c"/proc/interrupts",
    c"/proc/kpagecount",
    c"/proc/kpageflags",
    c"/proc/kpagecgroup",
    c"/proc/vmallocinfo",
    c"/proc/slabinfo",
    c"/proc/pagetypeinfo",
];
const MASKED_DIRECTORIES: &[&CStr] = &[c"/proc/acpi", c"/proc/scsi", c"/proc/asound"];

/// Name, major and minor number of the devices that need no hardware.
pub(crate) const DEVICES: [(&CStr, u32, u32); 6] = [
    (c"/dev/null", 1, 3),
    (c"/dev/zero", 1, 5),
    (c"/dev/full", 1, 7),
    (c"/dev/random", 1, 8),
    (c"/dev/urandom", 1, 9),
    (c"/dev/tty", 5, 0),
];

const DEVICE_LINKS: &[(&CStr, &CStr)] = &[
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
    (c"pts/ptmx", c"/dev/ptmx"),
];

/// Leave the host's file systems and make the container's.
pub(crate) fn make(prepared: &Prepared<'_>) -> Result<(), Failure> {
    let of_host = if prepared.caller.is_namespaced() {
        Some(OfHost::take()?)
    } else {
        None
    };
    enter_root(prepared)?;
    match &of_host {
        Some(of_host) => of_host.attach_proc().during(Step::MountProc)?,
        None => mount_proc(PROC_OPTIONS)?,
    }
    make_places(prepared, of_host.as_ref())?;
    mask_proc().during(Step::MaskProc)
}

/// The `/proc` of the caller's pid namespace.
pub(crate) fn mount_proc(options: &CStr) -> Result<(), Failure> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount(c"proc", c"/proc", c"proc", flags, options).during(Step::MountProc)
}

/// All but the root and `/proc`.
pub(crate) fn make_places(prepared: &Prepared<'_>, of_host: Option<&OfHost>) -> Result<(), Failure> {
    let build = prepared.profile == Profile::Build;
    let private = MountFlags::NOSUID | MountFlags::NODEV;
    make_dev(prepared, of_host)?;
    tmpfs(c"/tmp", private, &prepared.mounts.tmp).during(Step::MountTmp)?;
    tmpfs(c"/run", private, &prepared.mounts.run).during(Step::MountRun)?;
    inject(&prepared.files, prepared.ids.host).during(Step::InjectFile)?;
    for attached in prepared.attached.iter().filter(|attached| attached.make) {
        make_directory(&attached.target, 0o755).during(Step::AttachMount)?;
    }
    if build {
        seal_injected().during(Step::InjectFile)?;
        make_directory(c"/run/lock", 0o1777).during(Step::MountRun)?;
    } else {
        seal(c"/run").during(Step::MountRun)?;
    }
    if let Some(options) = &prepared.mounts.scratch {
        tmpfs(c"/work", private, options).during(Step::MountScratch)?;
    }
    attach(&prepared.attached).during(Step::AttachMount)
}

/// Each descriptor is closed at once: the program's limit of open files may be lower than their number.
fn attach(mounts: &[PreparedMount<'_>]) -> Result<(), Errno> {
    for PreparedMount { mount, target, .. } in mounts {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(mount, c"", CWD, target.as_c_str(), flags)?;
        syscall::close_range(mount.as_raw_fd(), mount.as_raw_fd(), false)?;
    }
    Ok(())
}

/// What many containers have in common, beside `/dev` with nothing in `pts` and `shm`.
pub(crate) struct Common<'a> {
    pub(crate) caller: Caller,
    pub(crate) root: BorrowedFd<'a>,
    /// The options of `/run`.
    pub(crate) run: &'a CStr,
    /// Directories in `/run`.
    pub(crate) directories: &'a [&'a CStr],
    /// Files that cover others; none is the program's user's.
    pub(crate) files: &'a [PreparedFile<'a>],
}

/// Make what many containers have in common and none can write to. The caller is in a mount namespace that was made for it.
pub(crate) fn make_common(common: &Common<'_>) -> Result<(), Failure> {
    let private = MountFlags::NOSUID | MountFlags::NODEV;
    let of_host = if common.caller.is_namespaced() {
        Some(OfHost::take_to_cover()?)
    } else {
        None
    };
    enter(common.root)?;
    // It is covered in each container, and makes the kernel let a holder mount its own.
    match &of_host {
        Some(of_host) => of_host.attach_proc().during(Step::MountProc)?,
        None => mount_proc(c"")?,
    }
    make_dev_alone(of_host.as_ref())?;
    seal(c"/dev").during(Step::MountDev)?;
    tmpfs(c"/run", private, common.run).during(Step::MountRun)?;
    inject(common.files, 0).during(Step::InjectFile)?;
    for directory in common.directories {
        make_directory(directory, 0o755).during(Step::AttachMount)?;
    }
    seal(c"/run").during(Step::MountRun)
}

/// What each of these containers has for itself. The caller is in a copy of what [`make_common`] has made.
pub(crate) fn make_own(prepared: &Prepared<'_>) -> Result<(), Failure> {
    let private = MountFlags::NOSUID | MountFlags::NODEV;
    mount_in_dev(prepared)?;
    tmpfs(c"/tmp", private, &prepared.mounts.tmp).during(Step::MountTmp)?;
    if let Some(options) = &prepared.mounts.scratch {
        tmpfs(c"/work", private, options).during(Step::MountScratch)?;
    }
    attach(&prepared.attached).during(Step::AttachMount)
}

/// Attach the prepared root over the host's, make it this namespace's root, and let go of the host's.
pub(crate) fn enter_root(prepared: &Prepared<'_>) -> Result<(), Failure> {
    enter(prepared.root.as_fd())
}

fn enter(root: BorrowedFd<'_>) -> Result<(), Failure> {
    let recursive = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", recursive).during(Step::PrivateMounts)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(root, c"", CWD, c"/", flags).during(Step::AttachRoot)?;
    rustix::process::fchdir(root).during(Step::PivotRoot)?;
    rustix::process::pivot_root(c".", c".").during(Step::PivotRoot)?;
    // The old root now lies over the new one at the same place.
    rustix::mount::unmount(c".", UnmountFlags::DETACH).during(Step::DetachHost)?;
    rustix::process::chdir(c"/").during(Step::PivotRoot)
}

fn tmpfs(target: &CStr, flags: MountFlags, options: &CStr) -> Result<(), Errno> {
    rustix::mount::mount(c"tmpfs", target, c"tmpfs", flags, options)
}

fn make_dev(prepared: &Prepared<'_>, of_host: Option<&OfHost>) -> Result<(), Failure> {
    make_dev_alone(of_host)?;
    mount_in_dev(prepared)?;
    // With one id alone, what belongs to root belongs to the run.
    if prepared.caller == (Caller::NamespaceRoot { ids: 1 }) {
        seal(c"/dev").during(Step::MountDev)?;
    }
    Ok(())
}

/// Devices, links, and the points of what is mounted in it.
fn make_dev_alone(of_host: Option<&OfHost>) -> Result<(), Failure> {
    tmpfs(c"/dev", DEV_FLAGS, DEV_OPTIONS).during(Step::MountDev)?;
    match of_host {
        Some(of_host) => of_host.attach_devices(),
        None => make_devices(),
    }
    .during(Step::MakeDevices)?;
    for (target, path) in DEVICE_LINKS {
        rustix::fs::symlinkat(*target, CWD, *path).during(Step::MakeDevices)?;
    }
    make_directory(c"/dev/pts", 0o755).during(Step::MountPts)?;
    make_directory(c"/dev/shm", 0o1777).during(Step::MountShm)
}

fn mount_in_dev(prepared: &Prepared<'_>) -> Result<(), Failure> {
    let options = match prepared.caller {
        Caller::NamespaceRoot { ids } if ids <= TTY_GROUP => PTS_OPTIONS_WITHOUT_GROUP,
        _ => PTS_OPTIONS,
    };
    rustix::mount::mount(c"devpts", c"/dev/pts", c"devpts", DEV_FLAGS, options).during(Step::MountPts)?;
    let flags = DEV_FLAGS.union(MountFlags::NODEV);
    tmpfs(c"/dev/shm", flags, &prepared.mounts.shm).during(Step::MountShm)
}

fn make_devices() -> Result<(), Errno> {
    for (path, major, minor) in DEVICES {
        let device = rustix::fs::makedev(major, minor);
        let mode = Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, device)?;
    }
    Ok(())
}

/// What this kernel does not have needs no mask.
pub(crate) fn mask_proc() -> Result<(), Errno> {
    for path in MASKED_FILES {
        unless_missing(rustix::mount::mount_bind(c"/dev/null", *path))?;
    }
    for path in MASKED_DIRECTORIES {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        unless_missing(tmpfs(path, flags, MASK_OPTIONS))?;
    }
    Ok(())
}

fn unless_missing(result: Result<(), Errno>) -> Result<(), Errno> {
    if result == Err(Errno::NOENT) {
        Ok(())
    } else {
        result
    }
}

fn make_directory(path: &CStr, mode: u32) -> Result<(), Errno> {
    match rustix::fs::mkdirat(CWD, path, Mode::from_raw_mode(mode)) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// Written by root into a file system that was just made: nothing can be in the way.
fn inject(files: &[PreparedFile<'_>], user: u32) -> Result<(), Errno> {
    make_directory(c"/run/cooper", 0o755)?;
    for file in files {
        for directory in &file.directories {
            make_directory(directory, 0o755)?;
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, file.path.as_c_str(), flags, Mode::from_raw_mode(file.mode))?;
        let mut rest = file.bytes;
        while !rest.is_empty() {
            let written = rustix::io::write(&opened, rest)?;
            rest = rest.get(written..).unwrap_or_default();
        }
        if file.of_user {
            rustix::fs::fchown(&opened, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)))?;
        }
        if let Some(over) = &file.over {
            match rustix::mount::mount_bind(file.path.as_c_str(), over.as_c_str()) {
                Err(Errno::NOENT) => {}
                covered => covered.and_then(|()| seal(over))?,
            }
        }
    }
    Ok(())
}

/// A build step may write `/run`, but not what was put there for it.
fn seal_injected() -> Result<(), Errno> {
    rustix::mount::mount_bind(c"/run/cooper", c"/run/cooper")?;
    seal(c"/run/cooper")
}

fn seal(path: &CStr) -> Result<(), Errno> {
    syscall::set_mount_flags(CWD, path, Attributes(Attributes::READ_ONLY))
}
