//! Two questions to the kernel's routing (`rtnetlink(7)`): add an address to `lo`, and what an address is to this host.
//!
//! Nothing here allocates.

use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const NEW_ADDRESS: u16 = 20;
const GET_ROUTE: u16 = 26;
const NEW_ROUTE: u16 = 24;
const ERROR: u16 = 2;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE_OR_REPLACE: u16 = 0x500;

const HEADER_BYTES: usize = 16;
/// In a namespace of its own, `lo` is the first interface.
const LOOPBACK_INDEX: u32 = 1;
const NO_DUPLICATE_DETECTION: u8 = 0x02;
const HOST_SCOPE: u8 = 254;
/// `IFA_ADDRESS` and `RTA_DST`.
const ADDRESS: u16 = 1;
const LOCAL_ADDRESS: u16 = 2;
/// `RTN_UNICAST`
const UNICAST: u8 = 1;

/// A socket to the kernel.
pub(super) fn socket() -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Give this namespace's `lo` the address, so that it is found inside. The interface is up.
pub(super) fn add_address_to_loopback(socket: BorrowedFd<'_>, address: IpAddr) -> Result<(), Errno> {
    let mut message = Message::new(NEW_ADDRESS, REQUEST | ACKNOWLEDGE | CREATE_OR_REPLACE);
    let (family, bits) = family(address);
    message.push(&[family, bits, NO_DUPLICATE_DETECTION, HOST_SCOPE])?;
    message.push(&LOOPBACK_INDEX.to_ne_bytes())?;
    message.push_address(LOCAL_ADDRESS, address)?;
    message.push_address(ADDRESS, address)?;
    let (kind, body) = ask(socket, message)?;
    match (kind, error_of(body)) {
        (ERROR, None) => Ok(()),
        (_, error) => Err(error.unwrap_or(Errno::PROTO)),
    }
}

/// Whether this host would send packets for the address to somebody else, and to one alone: it is none of its own, and
/// no broadcast address of its networks.
pub(super) fn is_elsewhere(socket: BorrowedFd<'_>, address: IpAddr) -> Result<bool, Errno> {
    let mut message = Message::new(GET_ROUTE, REQUEST);
    let (family, bits) = family(address);
    message.push(&[family, bits, 0, 0, 0, 0, 0, 0])?;
    message.push(&[0; 4])?;
    message.push_address(ADDRESS, address)?;
    let (kind, body) = ask(socket, message)?;
    match kind {
        // The type is the last of eight bytes.
        NEW_ROUTE => Ok(body[7] == UNICAST),
        _ => Err(error_of(body).unwrap_or(Errno::PROTO)),
    }
}

fn family(address: IpAddr) -> (u8, u8) {
    match address {
        IpAddr::V4(_) => (2, 32),
        IpAddr::V6(_) => (10, 128),
    }
}

const MESSAGE_BYTES_MAX: usize = 80;

struct Message {
    bytes: [u8; MESSAGE_BYTES_MAX],
    length: usize,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self {
            bytes,
            length: HEADER_BYTES,
        }
    }

    fn push(&mut self, part: &[u8]) -> Result<(), Errno> {
        let end = self.length + part.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(Errno::MSGSIZE)?;
        place.copy_from_slice(part);
        self.length = end;
        Ok(())
    }

    fn push_address(&mut self, attribute: u16, address: IpAddr) -> Result<(), Errno> {
        let length: u16 = match address {
            IpAddr::V4(_) => 8,
            IpAddr::V6(_) => 20,
        };
        self.push(&length.to_ne_bytes())?;
        self.push(&attribute.to_ne_bytes())?;
        match address {
            IpAddr::V4(address) => self.push(&address.octets()),
            IpAddr::V6(address) => self.push(&address.octets()),
        }
    }
}

/// Send it; the kind of the answer and the beginning of its body.
fn ask(socket: BorrowedFd<'_>, mut message: Message) -> Result<(u16, [u8; 8]), Errno> {
    let length = u32::try_from(message.length).map_err(|_| Errno::MSGSIZE)?;
    message.bytes[..4].copy_from_slice(&length.to_ne_bytes());
    let bytes = message.bytes.get(..message.length).ok_or(Errno::MSGSIZE)?;
    rustix::net::send(socket, bytes, SendFlags::empty())?;
    let mut answer = [0_u8; 1024];
    let (_, length) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty())?;
    if length < HEADER_BYTES + 8 {
        return Err(Errno::PROTO);
    }
    let body = answer[HEADER_BYTES..].first_chunk().ok_or(Errno::PROTO)?;
    Ok((u16::from_ne_bytes([answer[4], answer[5]]), *body))
}

/// The error in an acknowledgement; none when it is one of success.
fn error_of(body: [u8; 8]) -> Option<Errno> {
    let number = i32::from_ne_bytes([body[0], body[1], body[2], body[3]]);
    (number != 0).then(|| Errno::from_raw_os_error(number.saturating_neg()))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn the_hosts_own_addresses_are_not_elsewhere() {
        let socket = socket().unwrap();
        for own in ["127.0.0.1", "127.80.1.1", "255.255.255.255"] {
            let answer = is_elsewhere(socket.as_fd(), own.parse().unwrap());
            assert_ne!(answer, Ok(true), "{own}");
        }
        assert_ne!(is_elsewhere(socket.as_fd(), "::1".parse().unwrap()), Ok(true));
    }
}
