//! The listeners of an allow-list: which there are, and how they are made inside and handed to the gateway.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::dns::Names;
use super::gateway::SessionId;
use super::netlink;
use super::rules::{Host, Rules};
use super::wire::{self, Request};
use crate::spec::InjectedFile;

/// Where names are answered.
const NAME_SERVER: Ipv4Addr = Ipv4Addr::new(127, 80, 0, 1);
const NAME_PORT: u16 = 53;
/// Connections that wait until the gateway accepts them.
const BACKLOG: i32 = 128;

/// One listening socket of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Where it listens, inside.
    pub(super) address: SocketAddr,
    pub(super) serves: Serves,
}

/// What is done for those who come to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    /// Names are answered, datagrams.
    NamesByUdp,
    /// Names are answered, connections.
    NamesByTcp,
    /// Connections go where the rule of this index says.
    Rule(usize),
}

impl Rules {
    /// Every listener, the names' first. A host that is named has an address of `127.80.0.0/16`; one that is an address has
    /// that, so that programs find it where they look for it.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let names = SocketAddr::new(NAME_SERVER.into(), NAME_PORT);
        let for_names = [Serves::NamesByUdp, Serves::NamesByTcp].map(|serves| Endpoint {
            address: names,
            serves,
        });
        let inside = self.addresses_inside();
        let for_rules = self.iter().enumerate().filter_map(|(index, rule)| {
            let address = match &rule.host {
                Host::Address(address) => *address,
                host => inside.get(host).copied()?.into(),
            };
            Some(Endpoint {
                address: SocketAddr::new(address, rule.port),
                serves: Serves::Rule(index),
            })
        });
        for_names.into_iter().chain(for_rules).collect()
    }

    fn addresses_inside(&self) -> BTreeMap<&Host, Ipv4Addr> {
        let mut addresses = BTreeMap::new();
        for rule in self.iter().filter(|rule| rule.host.name().is_some()) {
            let next = u8::try_from(addresses.len() + 1).unwrap_or(u8::MAX);
            addresses
                .entry(&rule.host)
                .or_insert(Ipv4Addr::new(127, 80, 1, next));
        }
        addresses
    }

    /// What names mean inside.
    pub fn names(&self) -> Names {
        let addresses = self.addresses_inside();
        let names = addresses
            .into_iter()
            .filter_map(|(host, address)| Some((host.name()?.as_str().to_owned(), address)));
        Names::new(names)
    }

    /// `/etc/hosts` and `/etc/resolv.conf` of a run with this host name.
    pub fn name_files(&self, hostname: &str) -> Vec<InjectedFile> {
        let mut hosts = format!("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {hostname}\n");
        for (name, address) in self.names().iter().filter(|(name, _)| *name != "localhost") {
            // Writing to a string succeeds.
            let _ = writeln!(hosts, "{address} {name}");
        }
        let resolver = format!("nameserver {NAME_SERVER}\noptions timeout:2 attempts:2\n");
        [("/etc/hosts", hosts), ("/etc/resolv.conf", resolver)]
            .map(|(path, text)| InjectedFile {
                path: PathBuf::from(path),
                bytes: text.into_bytes(),
                mode: 0o444,
            })
            .into()
    }
}

/// All that is needed to make a run's listeners and hand them to a gateway, prepared before the fork.
#[derive(Debug)]
pub struct HandOut {
    open: Vec<u8>,
    listen: Vec<(Endpoint, Vec<u8>)>,
}

impl HandOut {
    pub(super) fn new(session: SessionId, rules: &Rules) -> Self {
        let listen = rules
            .endpoints()
            .into_iter()
            .enumerate()
            .map(|(index, endpoint)| {
                let index = u16::try_from(index).unwrap_or(u16::MAX);
                (endpoint, Request::Listen { session, index }.to_bytes())
            });
        Self {
            open: Request::Open {
                session,
                rules: rules.to_string(),
            }
            .to_bytes(),
            listen: listen.collect(),
        }
    }

    /// Make the listeners in this thread's network namespace, whose `lo` is up, and send them to the gateway through its
    /// control socket. From then on they are served. Needs the right to ports below 1024 and to add addresses.
    ///
    /// Nothing is allocated: it may be done after a fork.
    ///
    /// # Errors
    /// When a socket cannot be made, or the gateway has ended.
    pub fn make_listeners(&self, control: BorrowedFd<'_>) -> Result<(), Errno> {
        wire::send(control, &self.open, None)?;
        let kernel = netlink::socket()?;
        for (endpoint, message) in &self.listen {
            if !endpoint.address.ip().is_loopback() {
                netlink::add_address_to_loopback(kernel.as_fd(), endpoint.address.ip())?;
            }
            let socket = listener(endpoint)?;
            wire::send(control, message, Some(socket.as_fd()))?;
        }
        Ok(())
    }
}

fn listener(endpoint: &Endpoint) -> Result<OwnedFd, Errno> {
    let family = match endpoint.address.ip() {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match endpoint.serves {
        Serves::NamesByUdp => SocketType::DGRAM,
        Serves::NamesByTcp | Serves::Rule(_) => SocketType::STREAM,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, kind, flags, None)?;
    rustix::net::bind(&socket, &endpoint.address)?;
    if kind == SocketType::STREAM {
        rustix::net::listen(&socket, BACKLOG)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_one_address_and_each_rule_one_listener() {
        let rules: Rules = "b.test:1,b.test:2,a.test:1,db.test=10.0.0.5:5,10.9.9.9:7,[fd00::1]:8"
            .parse()
            .unwrap();
        let endpoints = rules.endpoints();
        let shown: Vec<String> = endpoints
            .iter()
            .map(|endpoint| match endpoint.serves {
                Serves::Rule(index) => {
                    format!("{} {}", endpoint.address, rules.iter().nth(index).unwrap())
                }
                other => format!("{} {other:?}", endpoint.address),
            })
            .collect();
        assert_eq!(
            shown,
            [
                "127.80.0.1:53 NamesByUdp",
                "127.80.0.1:53 NamesByTcp",
                "127.80.1.1:1 a.test:1",
                "127.80.1.2:1 b.test:1",
                "127.80.1.2:2 b.test:2",
                "127.80.1.3:5 db.test=10.0.0.5:5",
                "10.9.9.9:7 10.9.9.9:7",
                "[fd00::1]:8 [fd00::1]:8",
            ]
        );
        let [hosts, resolver] = &rules.name_files("box")[..] else {
            panic!("two files")
        };
        assert_eq!(
            String::from_utf8_lossy(&hosts.bytes),
            "127.0.0.1 localhost\n::1 localhost\n127.0.1.1 box\n127.80.1.1 a.test\n127.80.1.2 b.test\n127.80.1.3 db.test\n"
        );
        assert!(resolver.bytes.starts_with(b"nameserver 127.80.0.1\n"));
    }
}
