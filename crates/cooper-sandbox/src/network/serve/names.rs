//! The sockets that queries for names come through.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use crate::network::dns::{Names, QUERY_BYTES_MAX};
use crate::network::gateway::SessionId;
use crate::network::report::Tally;

/// Queries that are answered before others get their turn.
const QUERIES_AT_ONCE_MAX: usize = 32;
/// A connection has a query in this time.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// Answer the datagrams that have come.
pub(super) fn answer_datagrams(socket: BorrowedFd<'_>, names: &Names, tally: &mut Tally) {
    for _ in 0..QUERIES_AT_ONCE_MAX {
        // One byte more, so that what is too long is seen to be.
        let mut query = [0; QUERY_BYTES_MAX + 1];
        let Ok((_, length, Some(from))) = rustix::net::recvfrom(socket, &mut query[..], RecvFlags::empty())
        else {
            return;
        };
        let Some(reply) = names.reply(query.get(..length).unwrap_or_default()) else {
            continue;
        };
        reply.unknown.into_iter().for_each(|name| tally.unknown(name));
        // Whoever does not take it asks again.
        let _ = rustix::net::sendto(socket, &reply.bytes, SendFlags::NOSIGNAL, &from);
    }
}

/// A connection for names: each query and each answer after its length in two bytes.
pub(super) struct NameConnection {
    pub(super) session: SessionId,
    socket: OwnedFd,
    read: Vec<u8>,
    moved: Instant,
}

impl NameConnection {
    pub(super) fn new(session: SessionId, socket: OwnedFd, now: Instant) -> Self {
        Self {
            session,
            socket,
            read: Vec::new(),
            moved: now,
        }
    }

    pub(super) fn is_idle(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.moved) > IDLE_MAX
    }

    /// Answer what has come; false when it has ended, or asks what is no query.
    pub(super) fn go_on(&mut self, names: &Names, tally: &mut Tally, now: Instant) -> bool {
        self.moved = now;
        let mut bytes = [0; QUERY_BYTES_MAX];
        match rustix::net::recv(&self.socket, &mut bytes[..], RecvFlags::empty()) {
            Ok((_, 0)) => return false,
            Ok((_, length)) => self
                .read
                .extend_from_slice(bytes.get(..length).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => return true,
            Err(_) => return false,
        }
        while let Some((length, rest)) = self.read.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes(*length));
            if length > QUERY_BYTES_MAX {
                return false;
            }
            let Some((query, rest)) = rest.split_at_checked(length) else {
                break;
            };
            let Some(reply) = names.reply(query) else {
                return false;
            };
            reply.unknown.into_iter().for_each(|name| tally.unknown(name));
            self.read = rest.to_vec();
            if !self.send(&reply.bytes) {
                return false;
            }
        }
        true
    }

    /// Whole or not at all: who asks without reading answers gets none.
    fn send(&self, reply: &[u8]) -> bool {
        let length = u16::try_from(reply.len()).unwrap_or(u16::MAX).to_be_bytes();
        let message = [&length[..], reply].concat();
        rustix::net::send(&self.socket, &message, SendFlags::NOSIGNAL) == Ok(message.len())
    }
}
