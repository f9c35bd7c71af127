//! The program's standard streams: the caller's, or made here.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::event::PollFlags;
use rustix::fs::{Gid, MemfdFlags, Uid};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::termios::isatty;

use crate::caller::Caller;
use crate::error::{SandboxError, supervising};
use crate::show::{self, Keyboard, Shown, Typed};
use crate::spec::{Profile, Spec, Stdin, Stdio};

/// One standard stream of the program.
#[derive(Debug)]
pub(crate) enum Stream {
    /// The caller's.
    Callers,
    /// The container's `/dev/null`; the host's is a file that a build step, being root, could change.
    Null,
    /// Made for this run.
    Own(OwnedFd),
}

impl Stream {
    /// The number of its descriptor, 0 where it has none.
    pub(crate) fn number(&self) -> RawFd {
        match self {
            Self::Own(descriptor) => descriptor.as_raw_fd(),
            Self::Callers | Self::Null => 0,
        }
    }
}

/// Both ends.
pub(crate) struct Streams {
    /// Standard input, output, error for the program.
    pub(crate) inside: [Stream; 3],
    stdout: Capture,
    stderr: Capture,
    shown: Vec<Shown>,
    /// Dropped at the end, which sets the terminal's modes back.
    keyboard: Option<Keyboard>,
    typed: Option<Typed>,
}

/// Four times what a pipe of the usual size holds.
pub(crate) const READS_AT_ONCE_MAX: u32 = 16;

/// What was collected.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) bytes: Vec<u8>,
    pub(crate) truncated: bool,
}

/// One output of the program, collected within bounds.
#[derive(Default)]
pub(crate) struct Capture {
    pipe: Option<OwnedFd>,
    bytes_max: usize,
    keeps: Keeps,
    captured: Captured,
    /// The last bytes, where they are kept and the first ones have filled their half.
    last: VecDeque<u8>,
}

/// What of an output that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Keeps {
    /// Its beginning.
    #[default]
    First,
    /// Its beginning and its end, each one half: a log says at its end what went wrong.
    FirstAndLast,
}

impl Streams {
    /// The streams that the specification asks for; `host_id` is what the program's user is on the host.
    pub(crate) fn open(spec: &Spec<'_>, host_id: u32) -> Result<Self, SandboxError> {
        let stdin = match &spec.stdin {
            Stdin::Inherit => Stream::Callers,
            Stdin::Null => Stream::Null,
            Stdin::Bytes(bytes) => Stream::Own(in_memory(bytes)?),
        };
        give_pipes(spec, host_id)?;
        let (mut stdout, mut stderr) = (Capture::default(), Capture::default());
        let mut inside = [stdin, Stream::Callers, Stream::Callers];
        if let Stdio::Capture {
            stdout_max,
            stderr_max,
        } = spec.stdio
        {
            (stdout, inside[1]) = Capture::open(stdout_max, Keeps::First, host_id)?;
            (stderr, inside[2]) = Capture::open(stderr_max, Keeps::FirstAndLast, host_id)?;
        }
        let mut streams = Self {
            inside,
            stdout,
            stderr,
            shown: Vec::new(),
            keyboard: None,
            typed: None,
        };
        if matches!(spec.stdio, Stdio::Cleaned) {
            streams.show(&spec.stdin, host_id)?;
        }
        Ok(streams)
    }

    /// Put pipes between the program and terminals.
    fn show(&mut self, stdin: &Stdin, host_id: u32) -> Result<(), SandboxError> {
        let terminal = |errno: Errno| SandboxError::Terminal { source: errno.into() };
        if matches!(stdin, Stdin::Inherit) && isatty(rustix::stdio::stdin()) {
            self.inside[0] = Stream::Own(self.keyboard(host_id).map_err(terminal)?);
        }
        let outputs = [rustix::stdio::stdout(), rustix::stdio::stderr()];
        let [stdout, stderr] = outputs.map(isatty);
        let mut open = |stream| -> Result<OwnedFd, SandboxError> {
            let (shown, writer) = Shown::open(stream).map_err(terminal)?;
            own(writer.as_fd(), host_id).map_err(supervising("make a pipe"))?;
            self.shown.push(shown);
            Ok(writer)
        };
        // Through one pipe what goes to one terminal keeps its order.
        if stdout && stderr && show::same(outputs[0], outputs[1]) {
            let writer = open(outputs[0])?;
            self.inside[2] = Stream::Own(writer.try_clone().map_err(|source| SandboxError::Supervise {
                operation: "make a pipe",
                source,
            })?);
            self.inside[1] = Stream::Own(writer);
            return Ok(());
        }
        if stdout {
            self.inside[1] = Stream::Own(open(outputs[0])?);
        }
        if stderr {
            self.inside[2] = Stream::Own(open(outputs[1])?);
        }
        Ok(())
    }

    /// Put pipes between the program and regular files: a kernel of the program's own would write to each at places that
    /// it counts itself, over what others have written there.
    pub(crate) fn pipe_files(&mut self, host_id: u32) -> Result<(), SandboxError> {
        let outputs = [rustix::stdio::stdout(), rustix::stdio::stderr()];
        for (index, output) in outputs.into_iter().enumerate() {
            let place = index + 1;
            if !matches!(self.inside[place], Stream::Callers) || !is_regular(output) {
                continue;
            }
            let first = if place == 2 {
                &self.inside[1]
            } else {
                &Stream::Null
            };
            let writer = match first {
                Stream::Own(first) if show::same_file(outputs[0], output) => {
                    rustix::io::fcntl_dupfd_cloexec(first, 3).map_err(supervising("make a pipe"))?
                }
                _ => {
                    let (shown, writer) = Shown::plain(output).map_err(supervising("make a pipe"))?;
                    own(writer.as_fd(), host_id).map_err(supervising("make a pipe"))?;
                    self.shown.push(shown);
                    writer
                }
            };
            self.inside[place] = Stream::Own(writer);
        }
        Ok(())
    }

    /// The terminal to read from, or a pipe where that cannot be had: it is another session's, or another user's.
    fn keyboard(&mut self, host_id: u32) -> Result<OwnedFd, Errno> {
        let stdin = rustix::stdio::stdin();
        if let Ok((keyboard, readable)) = Keyboard::open(stdin) {
            self.keyboard = Some(keyboard);
            return Ok(readable);
        }
        let (typed, readable) = Typed::open(stdin)?;
        own(readable.as_fd(), host_id)?;
        self.typed = Some(typed);
        Ok(readable)
    }

    /// The program has its own copies.
    pub(crate) fn close_inside(&mut self) {
        self.inside = [Stream::Callers, Stream::Callers, Stream::Callers];
    }

    /// What to wait for: pipes that may still bring something, terminals that may take more.
    pub(crate) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let pipes = [&self.stdout, &self.stderr]
            .into_iter()
            .filter_map(|capture| capture.pipe().map(|pipe| (pipe, PollFlags::IN)));
        let typed = self.typed.iter().filter_map(Typed::interest);
        pipes
            .chain(self.shown.iter().filter_map(Shown::interest))
            .chain(typed)
    }

    /// Read what is there, or a part of it: a program may write faster than this reads.
    pub(crate) fn drain(&mut self) {
        self.stdout.drain(READS_AT_ONCE_MAX);
        self.stderr.drain(READS_AT_ONCE_MAX);
        for shown in &mut self.shown {
            shown.pump(READS_AT_ONCE_MAX);
        }
        if let Some(typed) = &mut self.typed {
            typed.pump();
        }
    }

    /// Read the rest, after the last writer has ended.
    pub(crate) fn finish(mut self) -> (Captured, Captured) {
        self.stdout.drain(u32::MAX);
        self.stderr.drain(u32::MAX);
        self.shown.into_iter().for_each(Shown::finish);
        drop(self.keyboard);
        (self.stdout.finish(), self.stderr.finish())
    }
}

/// Inherited pipes become the property of the program's user, who could not open `/dev/stdout` otherwise. Files and
/// terminals stay whose they are.
fn give_pipes(spec: &Spec<'_>, host_id: u32) -> Result<(), SandboxError> {
    if spec.profile == Profile::Build {
        return Ok(());
    }
    let input = matches!(spec.stdin, Stdin::Inherit).then(rustix::stdio::stdin);
    let outputs = (!matches!(spec.stdio, Stdio::Capture { .. }))
        .then(|| [rustix::stdio::stdout(), rustix::stdio::stderr()]);
    for stream in input.into_iter().chain(outputs.into_iter().flatten()) {
        if !is_pipe(stream) {
            continue;
        }
        match own(stream, host_id) {
            // Somebody else's, which a namespace's root cannot give away.
            Err(Errno::PERM) if Caller::of_process().is_namespaced() => {}
            given => given.map_err(supervising("give a pipe to the program's user"))?,
        }
    }
    Ok(())
}

fn is_regular(stream: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(stream).is_ok_and(|state| state.st_mode & libc::S_IFMT == libc::S_IFREG)
}

/// Whether it is a pipe without a name.
fn is_pipe(stream: BorrowedFd<'_>) -> bool {
    const PIPE_FILE_SYSTEM: u64 = 0x5049_5045;
    rustix::fs::fstatfs(stream).is_ok_and(|system| u64::try_from(system.f_type) == Ok(PIPE_FILE_SYSTEM))
}

pub(crate) fn own(stream: BorrowedFd<'_>, host_id: u32) -> Result<(), Errno> {
    rustix::fs::fchown(stream, Some(Uid::from_raw(host_id)), Some(Gid::from_raw(host_id)))
}

/// A file that has no name and holds these bytes.
fn in_memory(bytes: &[u8]) -> Result<OwnedFd, SandboxError> {
    let file = rustix::fs::memfd_create(c"stdin", MemfdFlags::CLOEXEC)
        .map_err(supervising("make standard input"))?;
    let mut file = File::from(file);
    let filled = file.write_all(bytes).and_then(|()| file.rewind());
    filled.map_err(|source| SandboxError::Supervise {
        operation: "fill standard input",
        source,
    })?;
    Ok(file.into())
}

impl Capture {
    /// A capture and the end of its pipe for the program, whom it belongs to so that `/dev/stdout` can be opened.
    pub(crate) fn open(bytes_max: u64, keeps: Keeps, host_id: u32) -> Result<(Self, Stream), SandboxError> {
        let (reader, writer) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(supervising("make a pipe"))?;
        rustix::io::ioctl_fionbio(&reader, true).map_err(supervising("make a pipe"))?;
        own(writer.as_fd(), host_id).map_err(supervising("make a pipe"))?;
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Ok((
            Self {
                pipe: Some(reader),
                bytes_max,
                keeps,
                ..Self::default()
            },
            Stream::Own(writer),
        ))
    }

    /// Read what is there, at most so many times.
    pub(crate) fn drain(&mut self, reads_max: u32) {
        let mut buffer = [0_u8; 16 << 10];
        for _ in 0..reads_max {
            let Some(pipe) = &self.pipe else { return };
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => self.keep(buffer.get(..length).unwrap_or_default()),
                Err(Errno::INTR) => {}
                // Nothing there for now; any other error cannot happen to a pipe, and would repeat.
                Err(_) => return,
            }
        }
    }

    /// The pipe, while it may bring more.
    pub(crate) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(OwnedFd::as_fd)
    }

    fn keep(&mut self, bytes: &[u8]) {
        let first_max = match self.keeps {
            Keeps::First => self.bytes_max,
            Keeps::FirstAndLast => self.bytes_max / 2,
        };
        let last_max = self.bytes_max - first_max;
        let room = first_max.saturating_sub(self.captured.bytes.len());
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.captured.bytes.extend_from_slice(first);
        self.last.extend(rest);
        let surplus = self.last.len().saturating_sub(last_max);
        self.captured.truncated |= surplus > 0;
        self.last.drain(..surplus);
    }

    /// What was collected.
    pub(crate) fn finish(mut self) -> Captured {
        self.captured.bytes.extend(self.last);
        self.captured
    }
}
