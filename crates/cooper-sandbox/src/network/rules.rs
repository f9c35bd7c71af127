//! What an allow-list says: parsed once, canonical, ordered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A host name in its one form: ASCII, lower case, no dot at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// Whom a rule allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// Whatever public address the host's resolver gives for the name.
    Name(HostName),
    /// This name at this address, which may be any: `db.internal=10.0.0.5`.
    Pinned(HostName, IpAddr),
    /// This address, which may be any.
    Address(IpAddr),
}

/// One host and one TCP port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// Whom.
    pub host: Host,
    /// Where it listens; not 0.
    pub port: u16,
}

/// An allow-list: at least one rule, each host with one meaning.
///
/// The text is `HOST[:PORT],…`; without a port, 80 and 443. Two lists are equal when they allow the same, and the text
/// that one is shown as is the same then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rules(BTreeSet<Rule>);

/// Why an entry of an allow-list is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` in the list of allowed hosts: {fault}")]
pub struct RuleError {
    /// The entry as it stands there, its beginning where it is long.
    pub entry: String,
    /// What is wrong.
    pub fault: RuleFault,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleFault {
    /// Nothing between two commas, or no list at all.
    #[error("a host is missing; write `allow:HOST[:PORT],…`")]
    Empty,
    /// `*.example.org`
    #[error(
        "there are no wildcards: whoever may make a name below that domain could be reached; name each host"
    )]
    Wildcard,
    /// `https://…`, `user@host`, `host/path`
    #[error("a host is named without scheme, user and path, such as `example.org:443`")]
    Url,
    /// `10.0.0.0/8`
    #[error("there are no networks: name each address")]
    Prefix,
    /// `8000-8010`
    #[error("there are no ranges of ports: name each, such as `HOST:8000,HOST:8001`")]
    PortRange,
    /// A port that is none.
    #[error("a port is a number from 1 to 65535")]
    Port,
    /// `fd00::1:443`
    #[error("an IPv6 address stands in brackets, such as `[fd00::1]:443`")]
    Brackets,
    /// A name that DNS cannot have.
    #[error("a name has letters, digits, `-`, `_` and dots, 253 at most, 63 between two dots")]
    Name,
    /// `127.1`, `0x7f000001`
    #[error(
        "a name that ends in a number is taken for an address by some programs; write addresses as `10.0.0.5`"
    )]
    NumericName,
    /// `localhost`
    #[error(
        "`localhost` is the run itself; what listens on the host's loopback is allowed as `127.0.0.1:PORT`"
    )]
    Localhost,
    /// Not an address that a connection can have.
    #[error("nobody can be connected to at this address")]
    Unreachable,
    /// `a=b`
    #[error("after `=` stands an address, such as `db.internal=10.0.0.5:5432`")]
    Pin,
    /// `a,a=10.0.0.5`
    #[error("the name is there twice with two meanings")]
    TwoMeanings,
    /// Too long a list.
    #[error("a list has at most 64 hosts and 128 ports")]
    TooMany,
}

/// As many loopback addresses as a run gets.
pub(super) const HOSTS_MAX: usize = 64;
/// As many listeners as a run gets.
pub(super) const RULES_MAX: usize = 128;
const DEFAULT_PORTS: [u16; 2] = [80, 443];
const ENTRY_SHOWN_MAX: usize = 80;

impl HostName {
    fn parse(text: &str) -> Result<Self, RuleFault> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let ascii = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            let converted = idna::domain_to_ascii_cow(text.as_bytes(), idna::AsciiDenyList::URL);
            converted.map_err(|_| RuleFault::Name)?.into_owned()
        };
        if ascii.is_empty() || ascii.len() > 253 || !ascii.split('.').all(is_label) {
            return Err(RuleFault::Name);
        }
        let last = ascii.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
            return Err(RuleFault::NumericName);
        }
        if last == "localhost" {
            return Err(RuleFault::Localhost);
        }
        Ok(Self(ascii))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_label(label: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&label.len())
        && label.bytes().all(plain)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl Host {
    /// The name that stands for it.
    pub fn name(&self) -> Option<&HostName> {
        match self {
            Self::Name(name) | Self::Pinned(name, _) => Some(name),
            Self::Address(_) => None,
        }
    }
}

impl Rules {
    /// The rules in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.0.iter()
    }

    /// Whether the other list has every rule of this one.
    pub fn within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }
}

impl TryFrom<String> for Rule {
    type Error = RuleError;

    /// An entry of a list, with its port.
    fn try_from(text: String) -> Result<Self, RuleError> {
        let wrong = |fault| RuleError {
            entry: text.chars().take(ENTRY_SHOWN_MAX).collect(),
            fault,
        };
        let (host, ports) = parse_entry(&text).map_err(wrong)?;
        match *ports.as_slice() {
            [port] => Ok(Self { host, port }),
            _ => Err(wrong(RuleFault::Port)),
        }
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.to_string()
    }
}

impl FromStr for Rules {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut rules = BTreeSet::new();
        let mut meanings: BTreeMap<HostName, Host> = BTreeMap::new();
        let mut hosts = BTreeSet::new();
        for entry in text.split(',') {
            let wrong = |fault| RuleError {
                entry: entry.trim().chars().take(ENTRY_SHOWN_MAX).collect(),
                fault,
            };
            let (host, ports) = parse_entry(entry.trim()).map_err(wrong)?;
            if let Some(name) = host.name() {
                let meaning = meanings.entry(name.clone()).or_insert_with(|| host.clone());
                if *meaning != host {
                    return Err(wrong(RuleFault::TwoMeanings));
                }
            }
            hosts.insert(host.clone());
            rules.extend(ports.iter().map(|port| Rule {
                host: host.clone(),
                port: *port,
            }));
            if hosts.len() > HOSTS_MAX || rules.len() > RULES_MAX {
                return Err(wrong(RuleFault::TooMany));
            }
        }
        Ok(Self(rules))
    }
}

fn parse_entry(entry: &str) -> Result<(Host, Vec<u16>), RuleFault> {
    if entry.is_empty() {
        return Err(RuleFault::Empty);
    }
    if entry.contains('*') {
        return Err(RuleFault::Wildcard);
    }
    if let Some((before, after)) = entry.split_once('/') {
        let prefix = !before.contains("://") && after.bytes().all(|byte| byte.is_ascii_digit());
        let address = before.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        return Err(if prefix && address {
            RuleFault::Prefix
        } else {
            RuleFault::Url
        });
    }
    if entry.contains('@') {
        return Err(RuleFault::Url);
    }
    let Some((name, place)) = entry.split_once('=') else {
        let (host, ports) = split_port(entry)?;
        let host = match parse_address(host)? {
            Some(address) => Host::Address(address),
            None => Host::Name(HostName::parse(host)?),
        };
        return Ok((host, ports));
    };
    let (address, ports) = split_port(place)?;
    let address = parse_address(address)?.ok_or(RuleFault::Pin)?;
    Ok((Host::Pinned(HostName::parse(name)?, address), ports))
}

/// The host, an IPv6 address still in brackets, and the ports.
fn split_port(text: &str) -> Result<(&str, Vec<u16>), RuleFault> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']').ok_or(RuleFault::Brackets)? + 1;
        let (host, rest) = text.split_at(end);
        let port = rest.strip_prefix(':');
        if port.is_none() && !rest.is_empty() {
            return Err(RuleFault::Brackets);
        }
        (host, port)
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(RuleFault::Brackets),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let Some(port) = port else {
        return Ok((host, DEFAULT_PORTS.to_vec()));
    };
    if port.contains('-') {
        return Err(RuleFault::PortRange);
    }
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|number| digits && *number > 0);
    Ok((host, vec![number.ok_or(RuleFault::Port)?]))
}

/// The address that the text is; `None` when it is none.
fn parse_address(text: &str) -> Result<Option<IpAddr>, RuleFault> {
    let address = match text.strip_prefix('[') {
        Some(inside) => {
            let inside = inside.strip_suffix(']').ok_or(RuleFault::Brackets)?;
            Some(IpAddr::V6(inside.parse().map_err(|_| RuleFault::Brackets)?))
        }
        None => text.parse().ok().map(IpAddr::V4),
    };
    match address {
        Some(address) if !can_be_connected(address) => Err(RuleFault::Unreachable),
        address => Ok(address),
    }
}

/// Link-local IPv6 needs an interface beside; mapped addresses are to be written as what they are.
fn can_be_connected(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[0] != 0 && !address.is_multicast() && !address.is_broadcast(),
        IpAddr::V6(address) => {
            !address.is_unspecified()
                && !address.is_multicast()
                && !address.is_unicast_link_local()
                && address.to_ipv4_mapped().is_none()
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(formatter, "{name}"),
            Self::Pinned(name, address) => write!(formatter, "{name}={}", Shown(*address)),
            Self::Address(address) => write!(formatter, "{}", Shown(*address)),
        }
    }
}

/// An address as it stands before a port.
struct Shown(IpAddr);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(formatter, "{address}"),
            IpAddr::V6(address) => write!(formatter, "[{address}]"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.host, self.port)
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, rule) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(formatter, "{comma}{rule}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        text.parse::<Rules>()
            .unwrap_or_else(|error| panic!("{error}"))
            .to_string()
    }

    #[test]
    fn lists_have_one_text() {
        let cases = [
            ("example.org", "example.org:80,example.org:443"),
            ("Example.ORG.:8080", "example.org:8080"),
            ("b.test:1, a.test:2 ,b.test:1", "a.test:2,b.test:1"),
            ("bücher.test:443", "xn--bcher-kva.test:443"),
            ("my_db:5432", "my_db:5432"),
            ("10.0.0.5:8080", "10.0.0.5:8080"),
            ("[FD00::1]:443", "[fd00::1]:443"),
            ("[fd00:0::1]", "[fd00::1]:80,[fd00::1]:443"),
            ("db.internal=10.0.0.5:5432", "db.internal=10.0.0.5:5432"),
            ("db.internal=[fd00::5]:5432", "db.internal=[fd00::5]:5432"),
            ("127.0.0.1:5432", "127.0.0.1:5432"),
            ("169.254.169.254:80", "169.254.169.254:80"),
            ("db=10.0.0.5:1,db=10.0.0.5:2", "db=10.0.0.5:1,db=10.0.0.5:2"),
        ];
        for (text, expected) in cases {
            assert_eq!(canonical(text), expected, "{text}");
            assert_eq!(canonical(expected), expected);
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_refused_with_its_reason() {
        let long = "a".repeat(64);
        let cases = [
            ("", RuleFault::Empty),
            ("a.test,", RuleFault::Empty),
            ("*", RuleFault::Wildcard),
            ("*.example.org", RuleFault::Wildcard),
            ("example.org:*", RuleFault::Wildcard),
            ("https://example.org", RuleFault::Url),
            ("example.org/path", RuleFault::Url),
            ("user@example.org", RuleFault::Url),
            ("10.0.0.0/8", RuleFault::Prefix),
            ("[fd00::]/8", RuleFault::Prefix),
            ("a.test:8000-8010", RuleFault::PortRange),
            ("a.test:0", RuleFault::Port),
            ("a.test:65536", RuleFault::Port),
            ("a.test:+80", RuleFault::Port),
            ("a.test:", RuleFault::Port),
            ("a.test:http", RuleFault::Port),
            ("fd00::1", RuleFault::Brackets),
            ("fd00::1:443", RuleFault::Brackets),
            ("[fd00::1", RuleFault::Brackets),
            ("[fd00::1]443", RuleFault::Brackets),
            ("[10.0.0.1]:80", RuleFault::Brackets),
            ("[fe80::1%eth0]:80", RuleFault::Brackets),
            ("a b.test", RuleFault::Name),
            ("a..test", RuleFault::Name),
            (".", RuleFault::Name),
            (":80", RuleFault::Name),
            ("-a.test", RuleFault::Name),
            ("a\0.test", RuleFault::Name),
            (long.as_str(), RuleFault::Name),
            ("127.1", RuleFault::NumericName),
            ("2130706433", RuleFault::NumericName),
            ("0x7f000001", RuleFault::NumericName),
            ("0x7f.0x1", RuleFault::NumericName),
            ("010.0.0.1", RuleFault::NumericName),
            ("10.0.0.5.", RuleFault::NumericName),
            ("localhost", RuleFault::Localhost),
            ("db.localhost:5432", RuleFault::Localhost),
            ("0.0.0.0:80", RuleFault::Unreachable),
            ("255.255.255.255:80", RuleFault::Unreachable),
            ("224.0.0.1:80", RuleFault::Unreachable),
            ("[::]:80", RuleFault::Unreachable),
            ("[fe80::1]:80", RuleFault::Unreachable),
            ("[::ffff:127.0.0.1]:80", RuleFault::Unreachable),
            ("a.test=b.test", RuleFault::Pin),
            ("a.test=:80", RuleFault::Pin),
            ("a.test:80=10.0.0.5", RuleFault::Name),
            ("10.0.0.5=10.0.0.6:80", RuleFault::NumericName),
            ("a.test,a.test=10.0.0.5", RuleFault::TwoMeanings),
            ("a.test=10.0.0.6,A.test.=10.0.0.5", RuleFault::TwoMeanings),
        ];
        for (text, fault) in cases {
            assert_eq!(
                text.parse::<Rules>().map_err(|error| error.fault),
                Err(fault),
                "{text}"
            );
        }
    }

    #[test]
    fn lists_are_bounded() {
        let hosts = |count: usize| {
            (0..count)
                .map(|n| format!("h{n}.test:443"))
                .collect::<Vec<_>>()
                .join(",")
        };
        let ports = |count: usize| {
            (1..=count)
                .map(|n| format!("h.test:{n}"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert!(hosts(HOSTS_MAX).parse::<Rules>().is_ok());
        assert!(ports(RULES_MAX).parse::<Rules>().is_ok());
        for text in [hosts(HOSTS_MAX + 1), ports(RULES_MAX + 1)] {
            assert_eq!(text.parse::<Rules>().unwrap_err().fault, RuleFault::TooMany);
        }
        let long = "x".repeat(10_000).parse::<Rules>().unwrap_err();
        assert!(long.to_string().len() < 300, "{long}");
    }
}
