//! Lets go of what a run has left, in a process of its own.
//!
//! The end of a mount, and of the last descriptor of a mount namespace, waits until no processor can be looking at it any
//! more: milliseconds in which the keeper would answer nobody. It falls to whoever closes last, which is why the undertaker
//! keeps what it was sent until it hears that the keeper has closed its own.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::error::{SandboxError, supervising};
use crate::syscall::{self, CloneRequest, SignalSet};

const DESCRIPTORS_MAX: usize = 8;
const TAKE: &[u8] = b"t";
const LET_GO: &[u8] = b"l";
const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// The keeper's end. It ends with the keeper.
pub(super) struct Undertaker {
    socket: OwnedFd,
}

impl Undertaker {
    /// Start it; the caller has one thread.
    pub(super) fn start() -> Result<Self, SandboxError> {
        let kind = SocketType::SEQPACKET;
        let pair = rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
        let (socket, theirs) = pair.map_err(supervising("make a socket"))?;
        let request = CloneRequest {
            flags: 0,
            exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
            cgroup: None,
        };
        syscall::clone_process(request, || work(&theirs))
            .map_err(|errno| SandboxError::Clone { source: errno.into() })?;
        Ok(Self { socket })
    }

    /// Let go of these. What it has no room for, ends here.
    pub(super) fn take(&self, remains: Vec<OwnedFd>) {
        for some in remains.chunks(DESCRIPTORS_MAX) {
            let some: Vec<BorrowedFd<'_>> = some.iter().map(OwnedFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&some));
            // What could not be sent ends below.
            let _ = rustix::net::sendmsg(&self.socket, &[IoSlice::new(TAKE)], &mut ancillary, FLAGS);
        }
        drop(remains);
        // Where there is no room for this, the next one counts.
        let _ = rustix::net::send(&self.socket, LET_GO, FLAGS);
    }
}

fn work(socket: &OwnedFd) -> ! {
    let number = socket.as_raw_fd();
    let _ = syscall::set_blocked(SignalSet::ALL);
    let _ = syscall::close_range(0, number - 1, false);
    let _ = syscall::close_range(number + 1, RawFd::MAX, false);
    let _ = rustix::thread::set_name(c"cooper-undertak");
    let mut taken: Vec<OwnedFd> = Vec::new();
    loop {
        let mut word = [0];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut word)], &mut ancillary, flags) {
            Ok(received) if received.bytes > 0 => {
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                        taken.extend(descriptors);
                    }
                }
                if word == LET_GO {
                    taken.clear();
                }
            }
            Err(Errno::INTR) => {}
            _ => syscall::exit_now(0),
        }
    }
}
