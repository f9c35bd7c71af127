//! One connection: from the run to the gateway, from the gateway to the host, and bytes both ways.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};

use super::poller::Poller;
use crate::network::gateway::SessionId;
use crate::network::report::ConnectRefusal;

/// For one address of the host.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// For its name, and for all of its addresses.
const BEGIN_MAX: Duration = Duration::from_secs(30);
/// Without a byte in either direction.
const IDLE_MAX: Duration = Duration::from_mins(10);
/// A connection gives way to others after this many reads.
const READS_AT_ONCE_MAX: usize = 16;

/// A connection of a run.
pub(super) struct Relay {
    pub(super) session: SessionId,
    /// The index of the rule that it came by.
    pub(super) rule: usize,
    inside: Side,
    outside: Option<Side>,
    state: State,
    outward: Flow,
    inward: Flow,
    began: Instant,
    /// When a byte came last, or the state changed.
    moved: Instant,
}

struct Side {
    socket: OwnedFd,
    waits_for: EventFlags,
}

enum State {
    /// The host's addresses are not known yet.
    Resolving,
    /// The address before these was tried last.
    Connecting(VecDeque<SocketAddr>),
    Open,
}

/// How it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Goes,
    /// The host has answered.
    Opened,
    /// Both have said all.
    Done,
    /// It does not come about.
    Refused(ConnectRefusal),
    /// It has ended in the middle.
    Broken,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What was read and not written yet, from `written` on: of one read at most.
    pending: Vec<u8>,
    written: usize,
    /// The source has said all.
    ended: bool,
    /// The destination was told so.
    told: bool,
    bytes: u64,
}

impl Flow {
    /// Move what can be moved. An error is the source's: it has ended in the middle.
    fn pump(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, scratch: &mut [u8]) -> Result<(), Errno> {
        for _ in 0..READS_AT_ONCE_MAX {
            self.flush(to);
            if self.ended || !self.is_empty() {
                return Ok(());
            }
            match rustix::net::recv(from, &mut *scratch, RecvFlags::empty()) {
                Ok((_, length)) => {
                    self.pending
                        .extend_from_slice(scratch.get(..length).unwrap_or_default());
                    self.ended = length == 0;
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        // Nothing more is waited for where the last read has met the end.
        self.flush(to);
        Ok(())
    }

    /// Write what was read, and that the source has said all. Where the destination takes nothing more, that is nothing
    /// to the other direction: what came before its end is still to be read.
    fn flush(&mut self, to: BorrowedFd<'_>) {
        let rest = self.pending.get(self.written..).unwrap_or_default();
        if !rest.is_empty() {
            match rustix::net::send(to, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    self.bytes += sent as u64;
                    self.written += sent;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => {
                    (self.ended, self.told) = (true, true);
                    self.written = self.pending.len();
                }
            }
        }
        if self.written == self.pending.len() {
            self.pending.clear();
            self.written = 0;
            if self.ended && !self.told {
                // Who has gone cannot be told.
                let _ = rustix::net::shutdown(to, Shutdown::Write);
                self.told = true;
            }
        }
    }

    /// An idle connection holds no memory.
    fn rest(&mut self) {
        if self.is_empty() {
            self.pending = Vec::new();
        }
    }

    fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

/// Close it so that the other end sees a reset.
pub(super) fn reset(socket: OwnedFd) {
    // Without it the end looks like a good one; there is nobody to tell.
    let _ = rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    drop(socket);
}

impl Relay {
    pub(super) fn new(session: SessionId, rule: usize, inside: OwnedFd, now: Instant) -> Self {
        Self {
            session,
            rule,
            inside: Side {
                socket: inside,
                waits_for: EventFlags::empty(),
            },
            outside: None,
            state: State::Resolving,
            outward: Flow::default(),
            inward: Flow::default(),
            began: now,
            moved: now,
        }
    }

    pub(super) fn is_resolving(&self) -> bool {
        matches!(self.state, State::Resolving)
    }

    /// What the run has sent and got.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.outward.bytes, self.inward.bytes)
    }

    /// All that the run has sent is on its way.
    pub(super) fn has_sent_all(&self) -> bool {
        self.outward.told
    }

    /// Connect to the first of these addresses that answers. They are checked.
    pub(super) fn connect(&mut self, addresses: VecDeque<SocketAddr>, now: Instant) -> Fate {
        self.state = State::Connecting(addresses);
        self.try_next(now)
    }

    fn try_next(&mut self, now: Instant) -> Fate {
        self.outside = None;
        let State::Connecting(addresses) = &mut self.state else {
            return Fate::Broken;
        };
        while let Some(address) = addresses.pop_front() {
            if let Ok(socket) = begin_to_connect(address) {
                self.outside = Some(Side {
                    socket,
                    waits_for: EventFlags::empty(),
                });
                self.moved = now;
                return Fate::Goes;
            }
        }
        Fate::Refused(ConnectRefusal::Unreachable)
    }

    /// Something has happened to one of its sockets.
    pub(super) fn go_on(&mut self, scratch: &mut [u8], now: Instant) -> Fate {
        match self.state {
            State::Resolving => Fate::Goes,
            State::Connecting(_) => self.look_at_connecting(now),
            State::Open => self.pump(scratch, now),
        }
    }

    fn look_at_connecting(&mut self, now: Instant) -> Fate {
        let Some(outside) = &self.outside else {
            return Fate::Broken;
        };
        match rustix::net::sockopt::socket_error(&outside.socket) {
            Ok(Ok(())) if rustix::net::getpeername(&outside.socket).is_err() => Fate::Goes,
            Ok(Ok(())) => {
                self.state = State::Open;
                self.moved = now;
                Fate::Opened
            }
            _ => self.try_next(now),
        }
    }

    fn pump(&mut self, scratch: &mut [u8], now: Instant) -> Fate {
        let Some(outside) = &self.outside else {
            return Fate::Broken;
        };
        let (inside, outside) = (self.inside.socket.as_fd(), outside.socket.as_fd());
        let before = self.outward.bytes + self.inward.bytes;
        let sent = self.outward.pump(inside, outside, scratch);
        let received = self.inward.pump(outside, inside, scratch);
        self.outward.rest();
        self.inward.rest();
        if self.outward.bytes + self.inward.bytes > before {
            self.moved = now;
        }
        if sent.and(received).is_err() {
            return Fate::Broken;
        }
        if self.outward.told && self.inward.told {
            return Fate::Done;
        }
        Fate::Goes
    }

    /// What happens when it has stood still for too long.
    pub(super) fn look_at_clock(&mut self, now: Instant) -> Fate {
        let still = now.saturating_duration_since(self.moved);
        let late = now.saturating_duration_since(self.began) > BEGIN_MAX;
        match self.state {
            State::Resolving if late => Fate::Refused(ConnectRefusal::Unresolved),
            State::Connecting(_) if late => Fate::Refused(ConnectRefusal::TimedOut),
            State::Connecting(_) if still > CONNECT_MAX => match self.try_next(now) {
                Fate::Refused(_) => Fate::Refused(ConnectRefusal::TimedOut),
                fate => fate,
            },
            State::Open if still > IDLE_MAX => Fate::Broken,
            _ => Fate::Goes,
        }
    }

    /// Wait for what can be done next.
    pub(super) fn wait(
        &mut self,
        poller: &Poller,
        inside_token: u64,
        outside_token: u64,
    ) -> Result<(), Errno> {
        let (inside, outside) = match self.state {
            State::Resolving => (EventFlags::empty(), EventFlags::empty()),
            State::Connecting(_) => (EventFlags::empty(), EventFlags::OUT),
            State::Open => (
                wanted(&self.outward, &self.inward),
                wanted(&self.inward, &self.outward),
            ),
        };
        self.inside.wait(poller, inside_token, inside)?;
        match &mut self.outside {
            Some(side) => side.wait(poller, outside_token, outside),
            None => Ok(()),
        }
    }

    /// End it in the middle, for both.
    pub(super) fn break_off(self) {
        reset(self.inside.socket);
        if let Some(outside) = self.outside {
            reset(outside.socket);
        }
    }
}

/// What a socket is watched for that is the source of one flow and the destination of the other.
fn wanted(from: &Flow, to: &Flow) -> EventFlags {
    let read = !from.ended && from.is_empty();
    let mut flags = EventFlags::empty();
    flags.set(EventFlags::IN, read);
    flags.set(EventFlags::OUT, !to.is_empty());
    flags
}

impl Side {
    fn wait(&mut self, poller: &Poller, token: u64, flags: EventFlags) -> Result<(), Errno> {
        poller.set(self.socket.as_fd(), token, self.waits_for, flags)?;
        self.waits_for = flags;
        Ok(())
    }
}

fn begin_to_connect(address: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A host that has gone without a word is noticed in the end.
    let _ = rustix::net::sockopt::set_socket_keepalive(&socket, true);
    // What was put together inside is not waited with again.
    let _ = rustix::net::sockopt::set_tcp_nodelay(&socket, true);
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_end_is_told_whichever_read_meets_it() {
        for count in READS_AT_ONCE_MAX - 3..READS_AT_ONCE_MAX {
            let (mut source, from) = UnixStream::pair().unwrap();
            let (to, mut destination) = UnixStream::pair().unwrap();
            source.write_all(&vec![7; count]).unwrap();
            drop(source);
            let mut flow = Flow::default();
            flow.pump(from.as_fd(), to.as_fd(), &mut [0]).unwrap();
            assert!(flow.told, "{count}");
            let mut got = Vec::new();
            destination.read_to_end(&mut got).unwrap();
            assert_eq!(got.len(), count);
        }
    }
}
