//! A program's output on its way to a terminal: through a pipe, cleaned.
//!
//! The terminal is opened anew, so that a user who stops it (Ctrl-S) stops nothing here: the run's time goes on being
//! kept. What the terminal does not take stays in the pipe, and the program waits.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::termios::{OptionalActions, Termios};

use crate::clean::Cleaner;
use crate::syscall::{self, SignalSet};

/// The way of one stream, or of two that have the same terminal.
pub(crate) struct Shown {
    /// Until the last writer has gone.
    pipe: Option<OwnedFd>,
    terminal: OwnedFd,
    /// None for a file, which gets every byte.
    cleaner: Option<Cleaner>,
    /// Clean, and not yet taken by the terminal.
    pending: Vec<u8>,
}

impl Shown {
    /// The way to this terminal, and the end of its pipe for the program.
    pub(crate) fn open(terminal: BorrowedFd<'_>) -> Result<(Self, OwnedFd), Errno> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        // Where that is not allowed (a terminal of somebody else), the one that is there is written to.
        let terminal = reopen(terminal, OFlags::WRONLY | OFlags::NONBLOCK)
            .or_else(|_| rustix::io::fcntl_dupfd_cloexec(terminal, 3))?;
        let shown = Self {
            pipe: Some(reader),
            terminal,
            cleaner: Some(Cleaner::default()),
            pending: Vec::new(),
        };
        Ok((shown, writer))
    }

    /// The way to a file, byte for byte.
    pub(crate) fn plain(file: BorrowedFd<'_>) -> Result<(Self, OwnedFd), Errno> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        let shown = Self {
            pipe: Some(reader),
            // Not opened anew: where it is written, and whether at its end, belongs to what is open.
            terminal: rustix::io::fcntl_dupfd_cloexec(file, 3)?,
            cleaner: None,
            pending: Vec::new(),
        };
        Ok((shown, writer))
    }

    /// What to wait for: room in the terminal, or something in the pipe.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        if !self.pending.is_empty() {
            return Some((self.terminal.as_fd(), PollFlags::OUT));
        }
        self.pipe.as_ref().map(|pipe| (pipe.as_fd(), PollFlags::IN))
    }

    /// Move on what can be moved without waiting, in at most so many steps. Whether all is moved that there is.
    pub(crate) fn pump(&mut self, steps_max: u32) -> bool {
        for _ in 0..steps_max {
            if !self.write() {
                return false;
            }
            if !self.read() {
                return true;
            }
        }
        false
    }

    /// Move the rest, and wait for the terminal to take it. The last writer has ended.
    pub(crate) fn finish(mut self) {
        while !self.pump(u32::MAX) {
            let mut polled = [PollFd::new(&self.terminal, PollFlags::OUT)];
            if !matches!(rustix::event::poll(&mut polled, None), Ok(_) | Err(Errno::INTR)) {
                return;
            }
        }
        if let Some(cleaner) = &mut self.cleaner {
            cleaner.end(&mut self.pending);
        }
        self.write();
    }

    /// Whether nothing is left to write.
    fn write(&mut self) -> bool {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.terminal, &self.pending) {
                Ok(length) => drop(self.pending.drain(..length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                // The terminal has gone: nobody reads any more, and the program goes on.
                Err(_) => self.pending.clear(),
            }
        }
        true
    }

    /// Whether something was there.
    fn read(&mut self) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        let mut buffer = [0; 4096];
        match rustix::io::read(pipe, &mut buffer) {
            Ok(0) => self.pipe = None,
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                match &mut self.cleaner {
                    Some(cleaner) => cleaner.clean(bytes, &mut self.pending),
                    None => self.pending.extend_from_slice(bytes),
                }
                return true;
            }
            Err(Errno::INTR) => return true,
            Err(_) => {}
        }
        false
    }
}

/// Whether both are the same file.
pub(crate) fn same_file(first: BorrowedFd<'_>, second: BorrowedFd<'_>) -> bool {
    let [first, second] = [first, second].map(rustix::fs::fstat);
    matches!((first, second), (Ok(first), Ok(second))
        if (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino))
}

/// Whether both are the same terminal.
pub(crate) fn same(first: BorrowedFd<'_>, second: BorrowedFd<'_>) -> bool {
    let [first, second] = [first, second].map(rustix::fs::fstat);
    matches!((first, second), (Ok(first), Ok(second)) if first.st_rdev == second.st_rdev)
}

/// A terminal that the program can read and not write, and its modes as they were, for the end.
pub(crate) struct Keyboard {
    terminal: OwnedFd,
    modes: Termios,
}

impl Keyboard {
    /// Of a terminal that is this session's: any other a program might make its own, and then write to it.
    pub(crate) fn open(terminal: BorrowedFd<'_>) -> Result<(Self, OwnedFd), Errno> {
        rustix::termios::tcgetsid(terminal)?;
        let for_program = reopen(terminal, OFlags::RDONLY)?;
        let keyboard = Self {
            terminal: reopen(terminal, OFlags::RDONLY)?,
            modes: rustix::termios::tcgetattr(terminal)?,
        };
        Ok((keyboard, for_program))
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        let changed = rustix::termios::tcgetattr(&self.terminal)
            .is_ok_and(|now| format!("{now:?}") != format!("{:?}", self.modes));
        if changed {
            // In the background too, where this would stop the process.
            let before = syscall::block(SignalSet::EMPTY.with(libc::SIGTTOU));
            let _ = rustix::termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.modes);
            let _ = before.map(syscall::set_blocked);
        }
    }
}

/// What is typed on its way to a program that cannot have the terminal, not even to read.
pub(crate) struct Typed {
    terminal: OwnedFd,
    /// Until the end of the input, or of those who read it.
    pipe: Option<OwnedFd>,
    pending: Vec<u8>,
}

impl Typed {
    /// The way from this terminal, and the end of its pipe for the program.
    pub(crate) fn open(terminal: BorrowedFd<'_>) -> Result<(Self, OwnedFd), Errno> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&writer, true)?;
        let typed = Self {
            terminal: rustix::io::fcntl_dupfd_cloexec(terminal, 3)?,
            pipe: Some(writer),
            pending: Vec::new(),
        };
        Ok((typed, reader))
    }

    /// What to wait for.
    pub(crate) fn interest(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        let pipe = self.pipe.as_ref()?;
        Some(if self.pending.is_empty() {
            (self.terminal.as_fd(), PollFlags::IN)
        } else {
            (pipe.as_fd(), PollFlags::OUT)
        })
    }

    /// Move on what can be moved without waiting.
    pub(crate) fn pump(&mut self) {
        if self.pending.is_empty() && self.pipe.is_some() && self.something_typed() {
            let mut buffer = [0; 4096];
            match rustix::io::read(&self.terminal, &mut buffer) {
                Ok(length) if length > 0 => {
                    self.pending
                        .extend_from_slice(buffer.get(..length).unwrap_or_default());
                }
                Err(Errno::INTR | Errno::AGAIN) => {}
                // The end of the input, or of the terminal.
                _ => self.pipe = None,
            }
        }
        let Some(pipe) = self.pipe.as_ref().filter(|_| !self.pending.is_empty()) else {
            return;
        };
        match rustix::io::write(pipe, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.pipe = None,
        }
    }

    /// The terminal is one that others read too: it must not be read before there is something.
    fn something_typed(&self) -> bool {
        let mut polled = [PollFd::new(&self.terminal, PollFlags::IN)];
        let now = rustix::event::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        matches!(rustix::event::poll(&mut polled, Some(&now)), Ok(1..))
    }
}

fn reopen(terminal: BorrowedFd<'_>, access: OFlags) -> Result<OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", terminal.as_raw_fd());
    let flags = access | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}
