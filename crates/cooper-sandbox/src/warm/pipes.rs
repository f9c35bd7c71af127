//! What a child talks through: its control socket and its standard streams, both ends of each.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;

use crate::error::{SandboxError, supervising};
use crate::streams::{Capture, Keeps, Stream, own};

/// Both ends of what a child talks through.
pub(super) struct Pipes {
    pub(super) control: OwnedFd,
    pub(super) stdin: OwnedFd,
    pub(super) stdout: Capture,
    pub(super) stderr: Capture,
    /// The child's: control, standard input, output, error.
    pub(super) inside: Vec<OwnedFd>,
}

impl Pipes {
    /// Make them, for this user.
    pub(super) fn open(bytes_max: u64, user: u32) -> Result<Self, SandboxError> {
        let make = supervising("make a pipe");
        let (control, child) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(&make)?;
        rustix::net::sockopt::set_socket_passcred(&control, true).map_err(&make)?;
        let patience = Some(Duration::from_secs(5));
        rustix::net::sockopt::set_socket_timeout(&control, rustix::net::sockopt::Timeout::Send, patience)
            .map_err(&make)?;
        let (reader, stdin) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(&make)?;
        rustix::io::ioctl_fionbio(&stdin, true).map_err(&make)?;
        own(reader.as_fd(), user).map_err(&make)?;
        let (stdout, output) = Capture::open(bytes_max, Keeps::First, user)?;
        let (stderr, error) = Capture::open(bytes_max, Keeps::FirstAndLast, user)?;
        let mut inside = vec![child, reader];
        for stream in [output, error] {
            if let Stream::Own(descriptor) = stream {
                inside.push(descriptor);
            }
        }
        Ok(Self {
            control,
            stdin,
            stdout,
            stderr,
            inside,
        })
    }
}
