//! Which addresses a name must not lead to.
//!
//! Open is what is publicly routed unicast, by IANA's special-purpose registries (RFC 6890 and its successors); of IPv6
//! only `2000::/3`. Forms that carry an IPv4 address (mapped, NAT64, 6to4) are judged by that address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Why an address is closed to names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Closed {
    /// The host itself, `127.0.0.0/8` and `::1`.
    Loopback,
    /// Where clouds answer with credentials: `169.254.169.254` and its like.
    Metadata,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// RFC 1918, `fc00::/7`, the shared `100.64.0.0/10`.
    Private,
    /// Many hosts at once.
    Multicast,
    /// For documentation, measurements, the future, or nothing.
    Reserved,
    /// One of the host's own, or a broadcast address of its networks.
    Own,
}

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Loopback => "a loopback address",
            Self::Metadata => "an address of cloud metadata",
            Self::LinkLocal => "a link-local address",
            Self::Private => "a private address",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
            Self::Own => "an address of the host itself",
        })
    }
}

/// The clouds' metadata services, of which not all are link-local: AWS, GCP, Azure and others; AWS by IPv6; Azure's
/// platform address; Oracle; Alibaba.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// Why a name must not lead to this address; what the host itself has is not known here.
pub(super) fn closed(address: IpAddr) -> Option<Closed> {
    if METADATA.contains(&address) {
        return Some(Closed::Metadata);
    }
    match address {
        IpAddr::V4(address) => closed_v4(address),
        IpAddr::V6(address) => closed_v6(address),
    }
}

fn closed_v4(address: Ipv4Addr) -> Option<Closed> {
    match address.octets() {
        [127, ..] => Some(Closed::Loopback),
        [169, 254, ..] => Some(Closed::LinkLocal),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Some(Closed::Private),
        [224..=239, ..] => Some(Closed::Multicast),
        [0 | 240..=255, ..]
        | [192, 0, 0 | 2, _]
        | [198, 18..=19, ..]
        | [192, 88, 99, _]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Some(Closed::Reserved),
        _ => None,
    }
}

fn closed_v6(address: Ipv6Addr) -> Option<Closed> {
    if let Some(carried) = carried_v4(address) {
        return closed(IpAddr::V4(carried));
    }
    if address == Ipv6Addr::LOCALHOST {
        return Some(Closed::Loopback);
    }
    match address.segments() {
        [0xfe80..=0xfebf, ..] => Some(Closed::LinkLocal),
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] => Some(Closed::Private),
        [0xff00..=0xffff, ..] => Some(Closed::Multicast),
        // Protocol assignments with Teredo, documentation twice.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(Closed::Reserved),
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Closed::Reserved),
    }
}

/// The IPv4 address in a mapped (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`) or 6to4 (`2002::/16`) one.
fn carried_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_public_is_closed() {
        let cases = [
            ("127.0.0.1", Closed::Loopback),
            ("127.80.1.1", Closed::Loopback),
            ("::1", Closed::Loopback),
            ("::ffff:127.0.0.1", Closed::Loopback),
            ("64:ff9b::7f00:1", Closed::Loopback),
            ("2002:7f00:1::1", Closed::Loopback),
            ("169.254.169.254", Closed::Metadata),
            ("::ffff:169.254.169.254", Closed::Metadata),
            ("64:ff9b::a9fe:a9fe", Closed::Metadata),
            ("2002:a9fe:a9fe::", Closed::Metadata),
            ("fd00:ec2::254", Closed::Metadata),
            ("168.63.129.16", Closed::Metadata),
            ("100.100.100.200", Closed::Metadata),
            ("169.254.0.1", Closed::LinkLocal),
            ("fe80::1", Closed::LinkLocal),
            ("febf::1", Closed::LinkLocal),
            ("10.0.0.0", Closed::Private),
            ("172.16.0.1", Closed::Private),
            ("172.31.255.255", Closed::Private),
            ("192.168.1.1", Closed::Private),
            ("100.64.0.1", Closed::Private),
            ("100.127.255.255", Closed::Private),
            ("fd12::1", Closed::Private),
            ("fc00::", Closed::Private),
            ("fec0::1", Closed::Private),
            ("::ffff:10.0.0.1", Closed::Private),
            ("224.0.0.1", Closed::Multicast),
            ("ff02::1", Closed::Multicast),
            ("0.0.0.0", Closed::Reserved),
            ("0.1.2.3", Closed::Reserved),
            ("::", Closed::Reserved),
            ("::7f00:1", Closed::Reserved),
            ("255.255.255.255", Closed::Reserved),
            ("240.0.0.1", Closed::Reserved),
            ("192.0.2.1", Closed::Reserved),
            ("198.51.100.1", Closed::Reserved),
            ("203.0.113.1", Closed::Reserved),
            ("198.18.0.1", Closed::Reserved),
            ("192.0.0.1", Closed::Reserved),
            ("2001:db8::1", Closed::Reserved),
            ("2001::1", Closed::Reserved),
            ("3fff::1", Closed::Reserved),
            ("64:ff9b:1::1", Closed::Reserved),
            ("100::1", Closed::Reserved),
            ("4000::1", Closed::Reserved),
        ];
        for (address, kind) in cases {
            assert_eq!(closed(address.parse().unwrap()), Some(kind), "{address}");
        }
    }

    #[test]
    fn what_is_public_is_open() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "2002:101:101::1",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(closed(address.parse().unwrap()), None, "{address}");
        }
    }
}
