//! What is said through a gateway's control socket: whole messages, some with a descriptor.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use super::gateway::SessionId;

/// What the gateway is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// A run with these rules begins.
    Open { session: SessionId, rules: String },
    /// A listener of it, the one of this index; the socket comes along.
    Listen { session: SessionId, index: u16 },
    /// It has ended: what it has sent may still go out for this long.
    Close { session: SessionId, grace_ms: u32 },
}

/// What the gateway says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// It has given up its privileges and serves.
    Ready,
    /// It cannot, and ends.
    Failed(String),
    /// What became of a run's connections.
    Report { session: SessionId, text: String },
}

/// As large as a message may be: 128 rules of 300 bytes each are less.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 10;

const OPEN: u8 = 1;
const LISTEN: u8 = 2;
const CLOSE: u8 = 3;
const READY: u8 = 4;
const FAILED: u8 = 5;
const REPORT: u8 = 6;

impl Request {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Open { session, rules } => with_session(OPEN, *session, rules.as_bytes()),
            Self::Listen { session, index } => with_session(LISTEN, *session, &index.to_le_bytes()),
            Self::Close { session, grace_ms } => with_session(CLOSE, *session, &grace_ms.to_le_bytes()),
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let (session, rest) = rest.split_first_chunk()?;
        let session = SessionId(u64::from_le_bytes(*session));
        match *tag {
            OPEN => Some(Self::Open {
                session,
                rules: String::from_utf8(rest.to_vec()).ok()?,
            }),
            LISTEN => Some(Self::Listen {
                session,
                index: u16::from_le_bytes(rest.try_into().ok()?),
            }),
            CLOSE => Some(Self::Close {
                session,
                grace_ms: u32::from_le_bytes(rest.try_into().ok()?),
            }),
            _ => None,
        }
    }
}

impl Notice {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ready => vec![READY],
            Self::Failed(text) => [&[FAILED], text.as_bytes()].concat(),
            Self::Report { session, text } => with_session(REPORT, *session, text.as_bytes()),
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        match *tag {
            READY if rest.is_empty() => Some(Self::Ready),
            FAILED => Some(Self::Failed(String::from_utf8(rest.to_vec()).ok()?)),
            REPORT => {
                let (session, text) = rest.split_first_chunk()?;
                Some(Self::Report {
                    session: SessionId(u64::from_le_bytes(*session)),
                    text: String::from_utf8(text.to_vec()).ok()?,
                })
            }
            _ => None,
        }
    }
}

fn with_session(tag: u8, session: SessionId, rest: &[u8]) -> Vec<u8> {
    [&[tag], &session.0.to_le_bytes()[..], rest].concat()
}

/// Send a message, with a descriptor where there is one. Allocates nothing.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    if let Some(descriptors) = &descriptors
        && !control.push(SendAncillaryMessage::ScmRights(descriptors))
    {
        return Err(Errno::NOBUFS);
    }
    loop {
        match rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            sent => return sent.map(drop),
        }
    }
}

/// The next message and the descriptor that came with it; `None` when nobody is left to send one.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: RecvFlags,
) -> Result<Option<(usize, Option<OwnedFd>)>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags) {
            Err(Errno::INTR) => {}
            received => break received?,
        }
    };
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    // No message of ours is empty.
    Ok((received.bytes > 0).then_some((received.bytes, descriptor)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    use super::*;

    #[test]
    fn messages_round_trip_with_their_descriptors() {
        let flags = SocketFlags::CLOEXEC;
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let session = SessionId(7);
        let requests = [
            Request::Open {
                session,
                rules: "a.test:443".to_owned(),
            },
            Request::Listen { session, index: 300 },
            Request::Close {
                session,
                grace_ms: 2000,
            },
        ];
        let mut buffer = [0; 100];
        for request in requests {
            let descriptor = matches!(request, Request::Listen { .. }).then(|| one.as_fd());
            send(one.as_fd(), &request.to_bytes(), descriptor).unwrap();
            let (length, came) = receive(other.as_fd(), &mut buffer, RecvFlags::empty())
                .unwrap()
                .unwrap();
            assert_eq!(Request::parse(&buffer[..length]), Some(request));
            assert_eq!(came.is_some(), descriptor.is_some());
        }
        for notice in [
            Notice::Ready,
            Notice::Failed("no".to_owned()),
            Notice::Report {
                session,
                text: "x".to_owned(),
            },
        ] {
            assert_eq!(Notice::parse(&notice.to_bytes()), Some(notice));
        }
        drop(one);
        assert!(
            receive(other.as_fd(), &mut buffer, RecvFlags::empty())
                .unwrap()
                .is_none()
        );
        for wrong in [&[][..], &[1], &[1, 2, 3], &[9; 20], &[2; 20], &[4, 4]] {
            assert_eq!(Request::parse(wrong).or(None), None, "{wrong:?}");
            assert_eq!(Notice::parse(wrong), None, "{wrong:?}");
        }
    }
}
