//! Mounts that show files with another owner: the kernel takes the map of ids from a user namespace (Linux 5.12,
//! below an overlay 5.19).

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Signal;

use crate::caller::Caller;
use crate::syscall::{self, Child, CloneRequest};

/// A user namespace in whose map this user and group are `to`, and all others below `to` are themselves.
///
/// The kernel lets nobody but root of the file system's own user namespace mount with such a map: for files on a disk
/// that is the host's root.
pub(crate) fn shifted(from: (u32, u32), to: u32) -> Result<OwnedFd, Errno> {
    if Caller::of_process().is_namespaced() {
        return Err(Errno::PERM);
    }
    let (wait, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let request = CloneRequest {
        flags: u64::from(libc::CLONE_NEWUSER.unsigned_abs()),
        exit_signal: 0,
        cgroup: None,
    };
    let child = syscall::clone_process(request, || {
        // It waits until it is killed, or until the caller's ends of the pipe are gone with the caller.
        let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        let _ = syscall::close_range(go.as_raw_fd(), go.as_raw_fd(), false);
        let _ = rustix::io::read(&wait, &mut [0]);
        syscall::exit_now(0)
    })?;
    let child = Killed(child);
    let pid = number_in_proc(&child.0)?;
    write(&format!("/proc/{pid}/uid_map"), &map(from.0, to))?;
    write(&format!("/proc/{pid}/gid_map"), &map(from.1, to))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, format!("/proc/{pid}/ns/user"), flags, Mode::empty())
}

/// The number that this process has where `/proc` is mounted, which need not be the caller's pid namespace
/// (`proc_pid_fdinfo(5)`).
fn number_in_proc(child: &Child) -> Result<i32, Errno> {
    let path = format!("/proc/self/fdinfo/{}", child.pidfd.as_raw_fd());
    let info =
        std::fs::read_to_string(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let number = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    let number = number.and_then(|number| number.trim().parse().ok());
    number.filter(|number| *number > 0).ok_or(Errno::SRCH)
}

/// A process that is ended and reaped when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = rustix::process::pidfd_send_signal(&self.0.pidfd, Signal::KILL);
        let _ = syscall::reap(self.0.pidfd.as_fd());
    }
}

fn write(path: &str, text: &str) -> Result<(), Errno> {
    let written = File::options().write(true).open(path);
    written
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// The lines of a map: on the disk, shown, length.
fn map(from: u32, to: u32) -> String {
    let mut text = String::new();
    let mut line = |first: u32, shown: u32, length: u32| {
        if length > 0 {
            let _ = writeln!(text, "{first} {shown} {length}");
        }
    };
    line(0, 0, from);
    line(from, to, 1);
    line(from + 1, from + 1, to.saturating_sub(from + 1));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_have_every_id_once() {
        assert_eq!(map(0, 5000), "0 5000 1\n1 1 4999\n");
        assert_eq!(map(1000, 5000), "0 0 1000\n1000 5000 1\n1001 1001 3999\n");
    }
}
