//! Something to do before a signal ends the caller's own process: to take progress off a terminal, say.
//!
//! It has nothing to do with containers. It is here because blocking signals is a matter of the one file of system
//! calls, and because whoever blocks them must know that what a container runs gets an empty mask.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use crate::signals::RECORD_BYTES;
use crate::syscall::{self, SignalSet};

const WATCHED: [i32; 2] = [libc::SIGINT, libc::SIGTERM];

/// Do this when SIGINT or SIGTERM comes, before it ends the process as it would have. From then on a thread waits for
/// them; the caller's thread and those that it starts later do not get them, so that this belongs before any other
/// thread. What the process ignores it goes on ignoring; what a container runs is not concerned.
///
/// # Errors
/// When the system has no descriptor or no thread left; nothing is changed then.
pub fn before_interrupt(action: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let watched = WATCHED
        .into_iter()
        .filter(|signal| !syscall::is_ignored(*signal))
        .fold(SignalSet::EMPTY, SignalSet::with);
    if watched == SignalSet::EMPTY {
        return Ok(());
    }
    let descriptor = syscall::signalfd(watched)?;
    let before = syscall::block(watched)?;
    let thread = std::thread::Builder::new().name("interrupt".to_owned());
    let started = thread.spawn(move || {
        if let Some(signal) = wait_for(&descriptor) {
            action();
            end_by(signal);
        }
    });
    if let Err(error) = started {
        syscall::set_blocked(before)?;
        return Err(error);
    }
    Ok(())
}

/// The signal that comes; `None` when it cannot be read.
fn wait_for(descriptor: &OwnedFd) -> Option<Signal> {
    let mut record = [0_u8; RECORD_BYTES];
    loop {
        match rustix::io::read(descriptor, &mut record) {
            Ok(RECORD_BYTES) => break,
            Err(Errno::AGAIN) => {
                let mut watched = [PollFd::new(descriptor, PollFlags::IN)];
                match poll(&mut watched, None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(_) => return None,
                }
            }
            Err(Errno::INTR) => {}
            _ => return None,
        }
    }
    let number = record.first_chunk().copied().map(i32::from_ne_bytes)?;
    [Signal::INT, Signal::TERM]
        .into_iter()
        .find(|signal| signal.as_raw() == number)
}

/// The signal's own action: this thread is the only one that lets it through.
fn end_by(signal: Signal) {
    let _ = syscall::set_blocked(SignalSet::EMPTY);
    let _ = kill_process(getpid(), signal);
}
