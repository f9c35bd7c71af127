//! Pid 1 of a run by a runtime: makes what init makes, lets the runtime start the program, tells how it ended.
//!
//! Like init, it allocates nothing and takes no lock.

use std::convert::Infallible;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

use rustix::event::Timespec;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{Resource, Rlimit};
use rustix::thread::LinkNameSpaceType;

use super::{Bundle, Kind};
use crate::error::Step;
use crate::init::{self, During as _, Failure, Job};
use crate::mounts;
use crate::program;
use crate::status::Word;
use crate::syscall::{self, Child, CloneRequest, MountFlags, SignalSet};

/// Be pid 1 until the program has ended.
pub(crate) fn run(job: &Job<'_>, bundle: &Bundle) -> ! {
    match set_up(job, bundle) {
        Ok(program) => init::watch(job.status.as_fd(), program),
        Err(Failure(step, errno)) => {
            Word::Failed(step, errno).send(job.status.as_fd());
            syscall::exit_now(125)
        }
    }
}

fn set_up(job: &Job<'_>, bundle: &Bundle) -> Result<i32, Failure> {
    init::begin(job)?;
    let tree = container_tree(job)?;
    own_places(&tree, bundle).during(Step::PlaceBundle)?;
    // Below, every descriptor is closed by its number.
    drop(tree);
    mounts::mount_proc(c"")?;
    init::set_up_network(job)?;
    rustix::system::sethostname(job.prepared.hostname).during(Step::Hostname)?;
    let program = match bundle.kind {
        Kind::Crun => by_crun(job, bundle)?,
        Kind::Runsc => start(job, bundle).during(Step::StartRuntime)?.pid,
    };
    init::give_up_privileges().during(Step::DropInitPrivileges)?;
    let status = job.status.as_raw_fd();
    syscall::close_range(0, status - 1, false).during(Step::DropInitPrivileges)?;
    syscall::close_range(status + 1, RawFd::MAX, false).during(Step::DropInitPrivileges)?;
    Ok(program)
}

/// Until crun has left: the program is this process's child from then on.
fn by_crun(job: &Job<'_>, bundle: &Bundle) -> Result<i32, Failure> {
    init::set_rlimits(job.prepared).during(Step::SetRlimits)?;
    raise_open_files().during(Step::SetRlimits)?;
    let child = start(job, bundle).during(Step::StartRuntime)?;
    let ended = syscall::reap(child.pidfd.as_fd()).during(Step::StartRuntime)?;
    drop(child);
    if (ended.code, ended.status) != (libc::CLD_EXITED, 0) {
        return Err(Failure(Step::StartRuntime, Errno::CHILD));
    }
    let program = program_pid().during(Step::StartRuntime)?;
    if !is_filtered(program) {
        // Pid 1 ends, and all with it.
        return Err(Failure(Step::LoadFilter, Errno::PERM));
    }
    Ok(program)
}

/// crun itself may need more than the program gets; that limit is in the bundle.
fn raise_open_files() -> Result<(), Errno> {
    const OPEN_FILES: u64 = 1 << 16;
    let Rlimit { current, maximum } = rustix::process::getrlimit(Resource::Nofile);
    let at_least = |limit: Option<u64>| limit.map(|limit| limit.max(OPEN_FILES));
    let raised = Rlimit {
        current: at_least(current),
        maximum: at_least(maximum),
    };
    match rustix::process::setrlimit(Resource::Nofile, raised) {
        Err(Errno::PERM) => Ok(()),
        raised => raised,
    }
}

/// The container's file systems, as they are in a run of our own, taken from a mount namespace that is made for that.
fn container_tree(job: &Job<'_>) -> Result<OwnedFd, Failure> {
    let open = |path| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).during(Step::AttachRoot)
    };
    let (here, root) = (open(c"/proc/self/ns/mnt")?, open(c"/")?);
    syscall::unshare(libc::CLONE_NEWNS).during(Step::PrivateMounts)?;
    mounts::make(job.prepared)?;
    syscall::set_mount_flags(CWD, c"/proc", MountFlags(MountFlags::READ_ONLY)).during(Step::SealProc)?;
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(CWD, c"/", flags).during(Step::AttachRoot)?;
    rustix::thread::move_into_link_name_space(here.as_fd(), Some(LinkNameSpaceType::Mount))
        .during(Step::AttachRoot)?;
    // The namespace's root may not be the caller's, where that is in a chroot.
    rustix::process::fchdir(&root).during(Step::AttachRoot)?;
    rustix::process::chroot(c".").during(Step::AttachRoot)?;
    Ok(tree)
}

/// The bundle at `/run`, the container's file systems in it.
fn own_places(tree: &OwnedFd, bundle: &Bundle) -> Result<(), Errno> {
    let recursive = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", recursive)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(bundle.directory(), c"", CWD, c"/run", flags)?;
    rustix::mount::move_mount(tree, c"", CWD, c"/run/rootfs", flags)?;
    // Debian 12's crun refuses to start where version 2 lies beside version 1; no cgroup is left for it to make anyway.
    match rustix::mount::unmount(c"/sys/fs/cgroup/unified", UnmountFlags::DETACH) {
        Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        unmounted => unmounted,
    }
}

fn start(job: &Job<'_>, bundle: &Bundle) -> Result<Child, Errno> {
    let request = CloneRequest {
        flags: 0,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        cgroup: None,
    };
    syscall::clone_process(request, || {
        let Err(errno) = become_runtime(job, bundle);
        Word::Failed(Step::ExecuteRuntime, errno).send(job.status.as_fd());
        syscall::exit_now(126)
    })
}

fn become_runtime(job: &Job<'_>, bundle: &Bundle) -> Result<Infallible, Errno> {
    program::connect_streams(job)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::chdir(c"/run")?;
    syscall::close_range(3, RawFd::MAX, true)?;
    syscall::reset_signals();
    syscall::set_blocked(SignalSet::EMPTY)?;
    Err(syscall::execve(&bundle.program, &bundle.argv, &bundle.env))
}

/// What crun wrote to its pid file.
fn program_pid() -> Result<i32, Errno> {
    let mut bytes = [0; 16];
    let read = read_file(c"/run/pid", &mut bytes)?;
    let digits = read.iter().take_while(|byte| byte.is_ascii_digit());
    let pid = digits.fold(0_i32, |pid, digit| {
        pid.saturating_mul(10).saturating_add(i32::from(digit - b'0'))
    });
    if pid > 1 { Ok(pid) } else { Err(Errno::SRCH) }
}

fn read_file<'a>(path: &std::ffi::CStr, bytes: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = rustix::io::read(&file, &mut *bytes)?;
    Ok(bytes.get(..length).unwrap_or_default())
}

/// Whether a system-call filter is loaded: a crun that does not know how it is handed over would run without, and is
/// not let. crun leaves shortly before it loads the filter, as the last thing before it executes the program.
fn is_filtered(pid: i32) -> bool {
    const LOOKS_MAX: u32 = 1000;
    let mut path = [0_u8; 32];
    let mut writer = &mut path[..];
    if std::io::Write::write_fmt(&mut writer, format_args!("/proc/{pid}/status\0")).is_err() {
        return false;
    }
    let Ok(path) = std::ffi::CStr::from_bytes_until_nul(&path) else {
        return false;
    };
    for _ in 0..LOOKS_MAX {
        let mut bytes = [0; 4096];
        let Ok(status) = read_file(path, &mut bytes) else {
            return false;
        };
        if has(status, b"\nSeccomp:\t2\n") {
            return true;
        }
        if has(status, b"\nState:\tZ") {
            return false;
        }
        let millisecond = Timespec {
            tv_sec: 0,
            tv_nsec: 1_000_000,
        };
        let _ = rustix::event::poll(&mut [], Some(&millisecond));
    }
    false
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
