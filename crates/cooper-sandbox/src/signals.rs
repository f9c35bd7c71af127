//! Signals that reach the caller and are meant for the program.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::init::TO_GROUP;
use crate::spec::Stdio;
use crate::syscall::{self, SignalSet};

const FORWARDED: [i32; 7] = [
    libc::SIGINT,
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGWINCH,
];

/// While it lives, this thread's forwarded signals are read from a descriptor instead of acting on the process.
pub(crate) struct Forwarding {
    descriptor: OwnedFd,
    blocked_before: SignalSet,
}

/// Bytes of `struct signalfd_siginfo`.
pub(crate) const RECORD_BYTES: usize = 128;

impl Forwarding {
    /// For a run that uses the caller's streams. Signals that the caller ignores are not passed on either.
    pub(crate) fn start(stdio: &Stdio) -> Result<Option<Self>, Errno> {
        if matches!(stdio, Stdio::Capture { .. }) {
            return Ok(None);
        }
        let watched = FORWARDED
            .into_iter()
            .filter(|signal| !syscall::is_ignored(*signal));
        let set = watched.fold(SignalSet::EMPTY, SignalSet::with);
        let descriptor = syscall::signalfd(set)?;
        Ok(Some(Self {
            descriptor,
            blocked_before: syscall::block(set)?,
        }))
    }

    /// Readable when a signal has come.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Pass on what has come. What a terminal sends is for the whole process group, as it would be without a sandbox.
    pub(crate) fn pass_on(&self, init: BorrowedFd<'_>) {
        let mut record = [0_u8; RECORD_BYTES];
        while rustix::io::read(&self.descriptor, &mut record) == Ok(RECORD_BYTES) {
            let number = |at: usize| {
                record
                    .get(at..at + 4)
                    .and_then(|bytes| bytes.try_into().ok())
                    .map_or(0, i32::from_ne_bytes)
            };
            let (signal, code) = (number(0), number(8));
            let word = if code == libc::SI_KERNEL { TO_GROUP } else { 0 };
            // It may have ended already.
            let _ = syscall::queue_signal(init, signal, word);
        }
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        let _ = syscall::set_blocked(self.blocked_before);
    }
}
