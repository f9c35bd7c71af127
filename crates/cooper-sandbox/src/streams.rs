//! The program's standard streams: the caller's, or made here.

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::error::SandboxError;
use crate::spec::{Spec, Stdin, Stdio};

/// Both ends.
pub(crate) struct Streams {
    /// Standard input, output, error for the program, where they are not the caller's.
    pub(crate) inside: [Option<OwnedFd>; 3],
    stdout: Capture,
    stderr: Capture,
}

/// What was collected.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) bytes: Vec<u8>,
    pub(crate) truncated: bool,
}

#[derive(Default)]
struct Capture {
    pipe: Option<OwnedFd>,
    bytes_max: usize,
    captured: Captured,
}

fn failed(operation: &'static str) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError::Supervise {
        operation,
        source: errno.into(),
    }
}

impl Streams {
    pub(crate) fn open(spec: &Spec<'_>) -> Result<Self, SandboxError> {
        let stdin = match &spec.stdin {
            Stdin::Inherit => None,
            Stdin::Null => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                Some(rustix::fs::open(c"/dev/null", flags, Mode::empty()).map_err(failed("open /dev/null"))?)
            }
            Stdin::Bytes(bytes) => Some(in_memory(bytes)?),
        };
        let (mut stdout, mut stderr) = (Capture::default(), Capture::default());
        let mut inside = [stdin, None, None];
        if let Stdio::Capture {
            stdout_max,
            stderr_max,
        } = spec.stdio
        {
            (stdout, inside[1]) = Capture::open(stdout_max)?;
            (stderr, inside[2]) = Capture::open(stderr_max)?;
        }
        Ok(Self {
            inside,
            stdout,
            stderr,
        })
    }

    /// The program has its own copies.
    pub(crate) fn close_inside(&mut self) {
        self.inside = [None, None, None];
    }

    /// The pipes that may still bring something.
    pub(crate) fn open_pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        [&self.stdout, &self.stderr]
            .into_iter()
            .filter_map(|capture| capture.pipe.as_ref().map(OwnedFd::as_fd))
    }

    /// Read what is there.
    pub(crate) fn drain(&mut self) {
        self.stdout.drain();
        self.stderr.drain();
    }

    /// Read the rest, after the last writer has ended.
    pub(crate) fn finish(mut self) -> (Captured, Captured) {
        self.drain();
        (self.stdout.captured, self.stderr.captured)
    }
}

/// A file that has no name and holds these bytes.
fn in_memory(bytes: &[u8]) -> Result<OwnedFd, SandboxError> {
    let file =
        rustix::fs::memfd_create(c"stdin", MemfdFlags::CLOEXEC).map_err(failed("make standard input"))?;
    let mut file = File::from(file);
    let filled = file.write_all(bytes).and_then(|()| file.rewind());
    filled.map_err(|source| SandboxError::Supervise {
        operation: "fill standard input",
        source,
    })?;
    Ok(file.into())
}

impl Capture {
    /// A capture and the end of its pipe for the program.
    fn open(bytes_max: u64) -> Result<(Self, Option<OwnedFd>), SandboxError> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
        rustix::io::ioctl_fionbio(&reader, true).map_err(failed("make a pipe"))?;
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Ok((
            Self {
                pipe: Some(reader),
                bytes_max,
                captured: Captured::default(),
            },
            Some(writer),
        ))
    }

    fn drain(&mut self) {
        let mut buffer = [0_u8; 16 << 10];
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(length) => self.keep(buffer.get(..length).unwrap_or_default()),
                Err(Errno::INTR) => {}
                // Nothing there for now; any other error cannot happen to a pipe, and would repeat.
                Err(_) => return,
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.bytes_max.saturating_sub(self.captured.bytes.len());
        self.captured.truncated |= bytes.len() > room;
        self.captured
            .bytes
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
}
