//! The places that a template and its children run in, made by short-lived forks of the keeper.
//!
//! The keeper is pid 1 of the template's pid namespace and has the host's root. A fork of it makes the mounts, then starts
//! the process that stays: the template itself, or the *holder* of a child, pid 1 in namespaces that belong to a user
//! namespace of that child's own. The owner of that namespace is the template's user: so a process of the template may enter
//! it with nothing but `setns`, and what it can do there is what a user namespace's root can.
//!
//! Like all that runs between fork and exec, this allocates nothing.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitiesSecureBits, Gid, Uid};

use crate::error::Step;
use crate::init::{self, During as _, Failure, Job};
use crate::mounts;
use crate::program;
use crate::status::Word;
use crate::syscall::{self, CloneRequest, MountFlags, SignalSet, Turn};

/// What a holder is made from.
pub(super) struct HolderJob<'a> {
    pub(super) job: Job<'a>,
    /// The template's user namespace.
    pub(super) template: BorrowedFd<'a>,
    /// It has a share of the processors of its own, and can give way to what runs.
    pub(super) gives_way: bool,
    /// Files of its cgroup, of version 1, to join by.
    pub(super) joined: &'a [BorrowedFd<'a>],
    /// The mount namespace that all places are copies of.
    pub(super) common: BorrowedFd<'a>,
    /// The first pid that the namespace gives: programs that tell a fork by its pid must see different ones.
    pub(super) last_pid: &'a CStr,
}

/// The namespaces that a template's mounts and network are in.
const TEMPLATE_NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
/// Those of a child, all owned by its own user namespace.
const CHILD_NAMESPACES: i32 =
    TEMPLATE_NAMESPACES | libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWCGROUP;

const LAST_PID_MIN: u32 = 300;
const LAST_PID_SPAN: u32 = 30_000;

/// What a holder needs is a quarter of that.
const HOLDER_STACK_BYTES: usize = 16 << 10;

/// Where the numbers of a child's processes begin: made before there is a fork.
pub(super) fn last_pid() -> CString {
    let mut bytes = [0; 4];
    // Without randomness all begin at the same number, and children reseed all the same.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::NONBLOCK);
    let number = LAST_PID_MIN + u32::from_ne_bytes(bytes) % LAST_PID_SPAN;
    CString::new(number.to_string()).unwrap_or_default()
}

/// The flags that a template's place is cloned with.
pub(super) fn template_flags() -> u64 {
    u64::from(TEMPLATE_NAMESPACES.unsigned_abs())
}

/// Make the template's place and start the template in it.
pub(super) fn make_template(job: &Job<'_>) -> ! {
    if let Err(Failure(step, errno)) = set_up_template(job) {
        Word::Failed(step, errno).send(job.status.as_fd());
    }
    syscall::exit_now(0)
}

fn set_up_template(job: &Job<'_>) -> Result<(), Failure> {
    begin(job)?;
    mounts::make(job.prepared)?;
    init::loopback_up().during(Step::Loopback)?;
    rustix::system::sethostname(job.prepared.hostname).during(Step::Hostname)?;
    init::set_rlimits(job.prepared).during(Step::SetRlimits)?;
    let (wait, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(Step::CloneProgram)?;
    rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)
        .during(Step::CloneProgram)?;
    init::set_effective_user(job.prepared.ids.owner).during(Step::CloneProgram)?;
    stay_dumpable(job).during(Step::CloneProgram)?;
    let request = CloneRequest {
        flags: u64::from(libc::CLONE_NEWUSER.unsigned_abs()),
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        cgroup: None,
    };
    let child = syscall::clone_process(request, || program::run(job, wait.as_fd()));
    init::set_effective_user(0).during(Step::CloneProgram)?;
    let child = child.during(Step::CloneProgram)?;
    map_ids(job, child.pid)?;
    init::write_file(proc_path(child.pid, "oom_score_adj").as_c_str(), b"1000").during(Step::MapIds)?;
    syscall::set_mount_flags(CWD, c"/proc", MountFlags(MountFlags::READ_ONLY)).during(Step::SealProc)?;
    Word::Started { pid: child.pid }.send(job.status.as_fd());
    rustix::io::write(&go, b"0").during(Step::CloneProgram)?;
    std::mem::forget((wait, go, child));
    Ok(())
}

/// Make a child's place and start its holder, which goes on with this process's memory: a copy of it would cost as much as all
/// the mounts.
pub(super) fn make_holder(holder: &HolderJob<'_>) -> ! {
    match set_up_holder(holder) {
        Ok((wait, go)) => {
            let mut stack = [MaybeUninit::uninit(); HOLDER_STACK_BYTES];
            let flags = CHILD_NAMESPACES;
            syscall::hand_over(flags, &mut stack, &|| hold(holder, wait.as_fd()), |cloned| {
                let released = cloned
                    .during(Step::CloneProgram)
                    .and_then(|pid| release_holder(holder, pid, &go));
                if let Err(Failure(step, errno)) = released {
                    Word::Failed(step, errno).send(holder.job.status.as_fd());
                }
            })
        }
        Err(Failure(step, errno)) => Word::Failed(step, errno).send(holder.job.status.as_fd()),
    }
    syscall::exit_now(0)
}

/// The pipe that the holder waits at.
fn set_up_holder(holder: &HolderJob<'_>) -> Result<(OwnedFd, OwnedFd), Failure> {
    let job = &holder.job;
    begin(job)?;
    for file in holder.joined {
        rustix::io::write(file, b"0").during(Step::JoinCgroup)?;
    }
    if holder.gives_way {
        // No wall.
        let _ = syscall::set_turn(0, Turn::Last);
    }
    rustix::thread::move_into_link_name_space(holder.common, None).during(Step::PrivateMounts)?;
    syscall::unshare(libc::CLONE_NEWNS).during(Step::PrivateMounts)?;
    mounts::make_own(job.prepared)?;
    rustix::thread::move_into_link_name_space(holder.template, None).during(Step::CloneProgram)?;
    rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP)
        .during(Step::CloneProgram)?;
    init::set_effective_user(job.prepared.ids.uid).during(Step::CloneProgram)?;
    stay_dumpable(job).during(Step::CloneProgram)?;
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).during(Step::CloneProgram)
}

fn release_holder(holder: &HolderJob<'_>, pid: i32, go: &OwnedFd) -> Result<(), Failure> {
    map_ids(&holder.job, pid)?;
    Word::Started { pid }.send(holder.job.status.as_fd());
    rustix::io::write(go, b"0").during(Step::CloneProgram)?;
    Ok(())
}

/// A change of user makes the files in `/proc` the property of a root whom a namespace's root may not be: see `init`.
fn stay_dumpable(job: &Job<'_>) -> Result<(), Errno> {
    if job.prepared.caller.is_namespaced() {
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    }
    Ok(())
}

/// What every fork of the keeper begins with.
fn begin(job: &Job<'_>) -> Result<(), Failure> {
    syscall::set_blocked(SignalSet::ALL).during(Step::TieToParent)?;
    init::close_others(job).during(Step::TieToParent)?;
    init::tie_to_parent(job.status.as_fd()).during(Step::TieToParent)?;
    rustix::process::setsid().during(Step::TieToParent)?;
    // A name for `ps`, and no access to the caller's keys: neither is a wall.
    let _ = rustix::thread::set_name(c"cooper-place");
    let _ = syscall::forget_keys();
    rustix::process::umask(Mode::empty());
    for file in job.task_files {
        init::write_file(file, b"0").during(Step::JoinCgroup)?;
    }
    Ok(())
}

/// The maps of a new process's user namespace.
fn map_ids(job: &Job<'_>, pid: i32) -> Result<(), Failure> {
    let ids = &job.prepared.ids;
    for (name, map) in [("uid_map", &ids.uid_map), ("gid_map", &ids.gid_map)] {
        init::write_file(proc_path(pid, name).as_c_str(), map.as_bytes()).during(Step::MapIds)?;
    }
    Ok(())
}

/// Be pid 1 of a child's namespaces: finish them, then reap what is orphaned in them until the keeper ends it.
fn hold(holder: &HolderJob<'_>, wait: BorrowedFd<'_>) -> ! {
    let status = holder.job.status;
    match finish(holder, wait) {
        Ok(()) => Word::Ready.send(status.as_fd()),
        Err(Failure(step, errno)) => {
            Word::Failed(step, errno).send(status.as_fd());
            syscall::exit_now(125);
        }
    }
    let number = status.as_raw_fd();
    let _ = syscall::close_range(0, number, false);
    loop {
        if syscall::wait_signal().is_ok_and(|received| received.signal == libc::SIGCHLD) {
            while syscall::reap_any().is_some() {}
        }
    }
}

fn finish(holder: &HolderJob<'_>, wait: BorrowedFd<'_>) -> Result<(), Failure> {
    let job = &holder.job;
    let mut word = [0];
    let length = rustix::io::read(wait, &mut word).during(Step::AwaitMap)?;
    if length != 1 {
        return Err(Failure(Step::AwaitMap, Errno::PIPE));
    }
    close_all_but(job).during(Step::DropInitPrivileges)?;
    rustix::process::setsid().during(Step::SetSession)?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).during(Step::SetIds)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).during(Step::SetIds)?;
    let _ = rustix::thread::set_name(c"cooper-holder");
    mounts::mount_proc(mounts::PROC_OPTIONS)?;
    mounts::mask_proc().during(Step::MaskProc)?;
    init::set_up_network(job)?;
    rustix::system::sethostname(job.prepared.hostname).during(Step::Hostname)?;
    init::write_file(c"/proc/sys/kernel/ns_last_pid", holder.last_pid.to_bytes()).during(Step::SealProc)?;
    syscall::set_mount_flags(CWD, c"/proc", MountFlags(MountFlags::READ_ONLY)).during(Step::SealProc)?;
    init::give_up_privileges().during(Step::DropInitPrivileges)
}

/// Close what is not a standard stream, the status pipe or the way to the gateway.
fn close_all_but(job: &Job<'_>) -> Result<(), Errno> {
    let status = job.status.as_raw_fd();
    let gateway = job.listeners.map_or(status, |(_, control)| control.as_raw_fd());
    let (first, last) = (status.min(gateway), status.max(gateway));
    syscall::close_range(3, first - 1, false)?;
    if first + 1 < last {
        syscall::close_range(first + 1, last - 1, false)?;
    }
    syscall::close_range(last + 1, RawFd::MAX, false)
}

/// `/proc/PID/NAME`, without allocating.
struct ProcPath([u8; 64]);

impl ProcPath {
    fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or_default()
    }
}

fn proc_path(pid: i32, name: &str) -> ProcPath {
    let mut path = ProcPath([0; 64]);
    let mut digits = [0_u8; 12];
    let mut at = digits.len();
    let mut left = pid.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b"0123456789"[(left % 10) as usize];
        left /= 10;
        if left == 0 {
            break;
        }
    }
    let parts = [b"/proc/", &digits[at..], b"/", name.as_bytes()];
    let mut end = 0;
    for part in parts {
        path.0[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_of_a_pid_and_a_name() {
        assert_eq!(
            proc_path(4_194_303, "uid_map").as_c_str(),
            c"/proc/4194303/uid_map"
        );
        assert_eq!(proc_path(0, "x").as_c_str(), c"/proc/0/x");
    }
}
