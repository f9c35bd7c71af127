//! Pid 2 of the container: becomes the program.
//!
//! It starts as init's copy, alone in a new user namespace with every capability in that namespace and none outside
//! of it. Like init, it allocates nothing.

use std::convert::Infallible;
use std::os::fd::{AsFd as _, BorrowedFd, RawFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};

use crate::caller::Caller;
use crate::error::Step;
use crate::init::{During as _, Failure, Job};
use crate::prepare::Program;
use crate::status::Word;
use crate::streams::Stream;
use crate::syscall::{self, SignalSet};

/// What maintainer scripts need: own and write any file of the tree, switch users, `setcap`, `chroot`.
pub(crate) const BUILD_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SYS_CHROOT);

/// Wait until init has mapped the ids, then become the program.
pub(crate) fn run(job: &Job<'_>, wait: BorrowedFd<'_>) -> ! {
    let Err(Failure(step, errno)) = become_program(job, wait);
    Word::Failed(step, errno).send(job.status.as_fd());
    syscall::exit_now(126)
}

fn become_program(job: &Job<'_>, wait: BorrowedFd<'_>) -> Result<Infallible, Failure> {
    let prepared = job.prepared;
    let mut word = [0];
    let length = rustix::io::read(wait, &mut word).during(Step::AwaitMap)?;
    if length != 1 {
        return Err(Failure(Step::AwaitMap, Errno::PIPE));
    }
    rustix::process::setsid().during(Step::SetSession)?;
    connect_streams(job).during(Step::SetStreams)?;
    let kept = prepared.capabilities;
    // The bounding set goes first: afterwards the right to change it is gone.
    bound_capabilities(kept).during(Step::DropCapabilities)?;
    // Else a change of user takes all.
    rustix::thread::set_keep_capabilities(!kept.is_empty()).during(Step::DropCapabilities)?;
    set_ids(prepared.caller, prepared.ids.uid, prepared.ids.gid).during(Step::SetIds)?;
    keep_capabilities(kept, prepared.ids.uid).during(Step::DropCapabilities)?;
    rustix::thread::set_no_new_privs(true).during(Step::NoNewPrivileges)?;
    set_fallback_limits(prepared.address_space_bytes, prepared.processes).during(Step::SetRlimits)?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    rustix::process::chdir(prepared.program.cwd.as_c_str()).during(Step::ChangeDirectory)?;
    syscall::close_range(3, RawFd::MAX, true).during(Step::SetStreams)?;
    syscall::reset_signals();
    syscall::set_blocked(SignalSet::EMPTY).during(Step::SetSession)?;
    syscall::load_filter(&prepared.filter).during(Step::LoadFilter)?;
    Err(Failure(Step::Execute, execute(&prepared.program)))
}

pub(crate) fn connect_streams(job: &Job<'_>) -> Result<(), Errno> {
    let null = rustix::fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let [stdin, stdout, stderr] = job.streams.each_ref().map(|stream| match stream {
        Stream::Callers => None,
        Stream::Null => Some(&null),
        Stream::Own(descriptor) => Some(descriptor),
    });
    stdin.map_or(Ok(()), rustix::stdio::dup2_stdin)?;
    stdout.map_or(Ok(()), rustix::stdio::dup2_stdout)?;
    stderr.map_or(Ok(()), rustix::stdio::dup2_stderr)
}

/// Root keeps what is permitted when it executes a program, everybody else what is ambient.
fn keep_capabilities(kept: CapabilitySet, uid: u32) -> Result<(), Errno> {
    let ambient = if uid == 0 { CapabilitySet::empty() } else { kept };
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: ambient,
    };
    rustix::thread::set_capabilities(None, sets)?;
    if ambient.is_empty() {
        return Ok(());
    }
    rustix::thread::configure_capability_in_ambient_set(ambient, true)
}

pub(crate) fn bound_capabilities(kept: CapabilitySet) -> Result<(), Errno> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel knows no capability of this number or a higher one.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

pub(crate) fn set_ids(caller: Caller, uid: u32, gid: u32) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    // A caller with one id alone may not change its groups, and nobody below it may.
    if caller != (Caller::NamespaceRoot { ids: 1 }) {
        rustix::thread::set_thread_groups(&[])?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

fn set_fallback_limits(address_space_bytes: Option<u64>, processes: Option<u64>) -> Result<(), Errno> {
    let both = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    address_space_bytes.map_or(Ok(()), |bytes| {
        rustix::process::setrlimit(Resource::As, both(bytes))
    })?;
    processes.map_or(Ok(()), |count| {
        rustix::process::setrlimit(Resource::Nproc, both(count))
    })
}

/// As `execvp(3)`: the first candidate that can be executed; one that is not allowed is remembered.
fn execute(program: &Program) -> Errno {
    let mut reason = Errno::NOENT;
    for path in &program.candidates {
        match syscall::execve(path, &program.argv, &program.env) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => reason = Errno::ACCESS,
            other => return other,
        }
    }
    reason
}
