//! Pid 1 of the container: makes it, starts the program, passes signals on, reports the end.
//!
//! Everything here runs after a fork of a process that may have threads: nothing allocates or takes a lock.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Pid, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitiesSecureBits, CapabilitySet, CapabilitySets, Uid};

use crate::error::Step;
use crate::mounts;
use crate::network::{HandOut, Network};
use crate::prepare::Prepared;
use crate::program;
use crate::status::Word;
use crate::streams::Stream;
use crate::syscall::{self, Child, CloneRequest, MountFlags, SignalSet};

/// What the container's processes work from, and the descriptors that they hold.
pub(crate) struct Job<'a> {
    pub(crate) prepared: &'a Prepared<'a>,
    /// Version-1 cgroup files to join by.
    pub(crate) task_files: &'a [CString],
    pub(crate) streams: &'a [Stream; 3],
    /// The write end of the status pipe.
    pub(crate) status: &'a OwnedFd,
    /// The numbers of all descriptors that the container's processes need, ascending.
    pub(crate) kept: &'a [RawFd],
    /// What listens in the container for the hosts that it may reach, and the gateway's control socket.
    pub(crate) listeners: Option<(&'a HandOut, BorrowedFd<'a>)>,
}

/// The step that failed, and the kernel's reason.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failure(pub(crate) Step, pub(crate) Errno);

/// Names the step that a system call belongs to.
pub(crate) trait During<T> {
    fn during(self, step: Step) -> Result<T, Failure>;
}

impl<T> During<T> for Result<T, Errno> {
    fn during(self, step: Step) -> Result<T, Failure> {
        self.map_err(|errno| Failure(step, errno))
    }
}

/// The word of a queued signal that is meant for the program's process group, as from a terminal.
pub(crate) const TO_GROUP: usize = 1;

/// Init is 1, so its first child is 2.
const PROGRAM_PID: i32 = 2;
const PROGRAM_UID_MAP: &CStr = c"/proc/2/uid_map";
const PROGRAM_GID_MAP: &CStr = c"/proc/2/gid_map";
const PROGRAM_OOM_SCORE: &CStr = c"/proc/2/oom_score_adj";
/// When the host is short of memory, runs go first; and within a run, the program before init, whose size is that of
/// the caller whom it is a fork of.
const OOM_SCORE_ADJUSTMENT: &[u8] = b"1000";

/// Be pid 1 until the program has ended.
pub(crate) fn run(job: &Job<'_>) -> ! {
    if let Err(Failure(step, errno)) = set_up(job) {
        Word::Failed(step, errno).send(job.status.as_fd());
        syscall::exit_now(125);
    }
    watch(job.status.as_fd(), PROGRAM_PID)
}

fn set_up(job: &Job<'_>) -> Result<(), Failure> {
    begin(job)?;
    mounts::make(job.prepared)?;
    set_up_network(job)?;
    rustix::system::sethostname(job.prepared.hostname).during(Step::Hostname)?;
    set_rlimits(job.prepared).during(Step::SetRlimits)?;
    start_program(job)
}

/// Be a process of the run alone: its descriptors, its cgroup, its end with the caller's.
pub(crate) fn begin(job: &Job<'_>) -> Result<(), Failure> {
    syscall::set_blocked(SignalSet::ALL).during(Step::TieToParent)?;
    close_others(job).during(Step::TieToParent)?;
    tie_to_parent(job.status.as_fd()).during(Step::TieToParent)?;
    rustix::process::setsid().during(Step::TieToParent)?;
    // A name for `ps`, and no access to the caller's keys: neither is a wall.
    let _ = rustix::thread::set_name(c"cooper-init");
    let _ = syscall::forget_keys();
    rustix::process::umask(Mode::empty());
    for file in job.task_files {
        write_file(file, b"0").during(Step::JoinCgroup)?;
    }
    syscall::unshare(libc::CLONE_NEWCGROUP).during(Step::HideCgroup)
}

/// The loopback interface, and what listens on it for the hosts that the run may reach.
pub(crate) fn set_up_network(job: &Job<'_>) -> Result<(), Failure> {
    if *job.prepared.network != Network::Host {
        loopback_up().during(Step::Loopback)?;
    }
    if let Some((listeners, gateway)) = job.listeners {
        listeners.make_listeners(gateway).during(Step::MakeListeners)?;
        let gateway = gateway.as_raw_fd();
        syscall::close_range(gateway, gateway, false).during(Step::MakeListeners)?;
    }
    Ok(())
}

/// Close every descriptor but the standard streams and those of the job.
pub(crate) fn close_others(job: &Job<'_>) -> Result<(), Errno> {
    let mut next = 3;
    for fd in job.kept.iter().copied() {
        if fd > next {
            syscall::close_range(next, fd - 1, false)?;
        }
        next = next.max(fd + 1);
    }
    syscall::close_range(next, RawFd::MAX, false)
}

/// Die with the caller's thread; if it has died already, nobody reads the status pipe.
pub(crate) fn tie_to_parent(status: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut polled = [PollFd::new(&status, PollFlags::empty())];
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut polled, Some(&now))?;
    let orphaned = polled
        .iter()
        .any(|polled| polled.revents().contains(PollFlags::ERR));
    if orphaned { Err(Errno::PIPE) } else { Ok(()) }
}

pub(crate) fn write_file(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let written = rustix::io::write(&file, bytes)?;
    if written == bytes.len() {
        Ok(())
    } else {
        Err(Errno::IO)
    }
}

pub(crate) fn loopback_up() -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    syscall::loopback_up(socket.as_fd())
}

/// What each process may use, soft and hard, whatever the caller's own soft limits are; the cgroup bounds the whole.
const RLIMITS: [(Resource, Option<u64>, Option<u64>); 14] = [
    (Resource::As, None, None),
    // No file is that small, and no handler is started: see the system-call list.
    (Resource::Core, Some(1), Some(1)),
    (Resource::Cpu, None, None),
    (Resource::Data, None, None),
    (Resource::Fsize, None, None),
    (Resource::Locks, None, None),
    (Resource::Memlock, Some(8 << 20), Some(8 << 20)),
    (Resource::Msgqueue, Some(819_200), Some(819_200)),
    (Resource::Nice, Some(0), Some(0)),
    (Resource::Nproc, None, None),
    (Resource::Rss, None, None),
    (Resource::Rtprio, Some(0), Some(0)),
    (Resource::Sigpending, Some(4096), Some(4096)),
    (Resource::Stack, Some(8 << 20), None),
];

pub(crate) fn set_rlimits(prepared: &Prepared<'_>) -> Result<(), Errno> {
    let files = Some(prepared.open_files);
    for (resource, current, maximum) in RLIMITS.into_iter().chain([(Resource::Nofile, files, files)]) {
        match rustix::process::setrlimit(resource, Rlimit { current, maximum }) {
            Err(Errno::PERM) => stay_below_hard_limit(resource, current)?,
            result => result?,
        }
    }
    Ok(())
}

/// A caller without `CAP_SYS_RESOURCE` cannot raise its hard limits: then the program has no more either.
fn stay_below_hard_limit(resource: Resource, wanted: Option<u64>) -> Result<(), Errno> {
    let maximum = rustix::process::getrlimit(resource).maximum;
    let current = match (wanted, maximum) {
        (Some(wanted), Some(maximum)) => Some(wanted.min(maximum)),
        (wanted, maximum) => wanted.or(maximum),
    };
    rustix::process::setrlimit(resource, Rlimit { current, maximum })
}

/// Clone the program into its user namespace, let it wait there until its ids are mapped, give up what init does not
/// need any more, then let it go.
fn start_program(job: &Job<'_>) -> Result<(), Failure> {
    let (wait, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(Step::CloneProgram)?;
    let child = clone_program(job, wait.as_fd()).during(Step::CloneProgram)?;
    if child.pid != PROGRAM_PID {
        return Err(Failure(Step::CloneProgram, Errno::SRCH));
    }
    let ids = &job.prepared.ids;
    write_file(PROGRAM_UID_MAP, ids.uid_map.as_bytes()).during(Step::MapIds)?;
    write_file(PROGRAM_GID_MAP, ids.gid_map.as_bytes()).during(Step::MapIds)?;
    write_file(PROGRAM_OOM_SCORE, OOM_SCORE_ADJUSTMENT).during(Step::MapIds)?;
    syscall::set_mount_flags(CWD, c"/proc", MountFlags(MountFlags::READ_ONLY)).during(Step::SealProc)?;
    give_up_privileges().during(Step::DropInitPrivileges)?;
    rustix::io::write(&go, b"0").during(Step::CloneProgram)?;
    let status = job.status.as_raw_fd();
    syscall::close_range(0, status - 1, false).during(Step::DropInitPrivileges)?;
    syscall::close_range(status + 1, RawFd::MAX, false).during(Step::DropInitPrivileges)?;
    // Both are closed already.
    std::mem::forget((wait, go, child));
    Ok(())
}

/// The user namespace belongs to the run's own host id: what the kernel counts by user (inotify, message queues,
/// pending signals) it then counts for that id, and no run can use up what root has.
fn clone_program(job: &Job<'_>, wait: BorrowedFd<'_>) -> Result<Child, Errno> {
    let request = CloneRequest {
        flags: u64::from(libc::CLONE_NEWUSER.unsigned_abs()),
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        cgroup: None,
    };
    rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    set_effective_user(job.prepared.ids.owner)?;
    if job.prepared.caller.is_namespaced() {
        // A change of user makes a process undumpable, and its files in /proc the property of the host's root, whom a
        // namespace's root cannot write to. The copy has this from here, and nobody else is in the container yet.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    }
    let child = syscall::clone_process(request, || program::run(job, wait));
    set_effective_user(0)?;
    // A change of user cuts the tie.
    tie_to_parent(job.status.as_fd())?;
    child
}

pub(crate) fn set_effective_user(id: u32) -> Result<(), Errno> {
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::from_raw(id), Uid::ROOT)
}

/// What is left is the right to send signals to the program.
pub(crate) fn give_up_privileges() -> Result<(), Errno> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    let kill = CapabilitySet::KILL;
    let sets = CapabilitySets {
        effective: kill,
        permitted: kill,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)
}

/// Pass signals on and reap, until this program has ended. What it leaves behind dies with this process.
pub(crate) fn watch(status: BorrowedFd<'_>, program: i32) -> ! {
    loop {
        let Ok(received) = syscall::wait_signal() else {
            continue;
        };
        if received.signal != libc::SIGCHLD {
            pass_on(received, program);
            continue;
        }
        while let Some(ended) = syscall::reap_any() {
            if ended.pid == program {
                Word::Ended {
                    code: ended.code,
                    status: ended.status,
                }
                .send(status);
                syscall::exit_now(0);
            }
        }
    }
}

fn pass_on(received: syscall::Received, program: i32) {
    let (Some(signal), Some(program)) = (Signal::from_named_raw(received.signal), Pid::from_raw(program))
    else {
        return;
    };
    let group = received.word == TO_GROUP;
    // The program may not lead its group yet, and may have ended: then there is nobody to tell.
    if !group || rustix::process::kill_process_group(program, signal).is_err() {
        let _ = rustix::process::kill_process(program, signal);
    }
}
