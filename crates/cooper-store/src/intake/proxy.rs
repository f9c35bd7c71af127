//! Which proxy a host is reached through, if any.

use std::net::IpAddr;

use url::{Host, Url};

use super::config::{IntakeError, Proxies};

/// The configured proxies, understood.
#[derive(Debug, Default)]
pub(super) struct ProxyRules {
    http: Option<Url>,
    https: Option<Url>,
    direct: Vec<Direct>,
}

/// An entry of the list of hosts that are reached directly.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Direct {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    Every,
    /// This name and every name below it.
    Domain(String),
    Network {
        address: IpAddr,
        prefix: u8,
    },
}

impl ProxyRules {
    pub(super) fn new(proxies: &Proxies) -> Result<Self, IntakeError> {
        let direct = proxies.no_proxy.as_deref().unwrap_or_default();
        Ok(Self {
            http: proxies.http.as_deref().map(parse_proxy).transpose()?.flatten(),
            https: proxies.https.as_deref().map(parse_proxy).transpose()?.flatten(),
            direct: direct.split([',', ' ']).filter_map(Direct::parse).collect(),
        })
    }

    /// The proxy for this address.
    pub(super) fn proxy(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" {
            self.https.as_ref()
        } else {
            self.http.as_ref()
        }?;
        let direct = self.direct.iter().any(|entry| entry.matches(url));
        (!direct).then_some(proxy)
    }
}

/// An empty text means no proxy, as in the usual variables.
fn parse_proxy(text: &str) -> Result<Option<Url>, IntakeError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let with_scheme = if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let parsed = Url::parse(&with_scheme).ok();
    let usable = parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    // The text may hold a password before its last `@`.
    let shown = || text.rsplit('@').next().unwrap_or_default().to_owned();
    usable
        .map(Some)
        .ok_or_else(|| IntakeError::Proxy { proxy: shown() })
}

impl Direct {
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text.is_empty() {
            return None;
        }
        if let Some(hosts) = parse_network(&text) {
            return Some(Self { hosts, port: None });
        }
        let (host, port) = split_port(&text);
        let hosts = match parse_network(host) {
            Some(network) => network,
            None if host == "*" => Hosts::Every,
            None => Hosts::Domain(host.trim_start_matches('*').trim_matches('.').to_owned()),
        };
        Some(Self { hosts, port })
    }

    fn matches(&self, url: &Url) -> bool {
        let port = self
            .port
            .is_none_or(|port| url.port_or_known_default() == Some(port));
        port && url.host().is_some_and(|host| self.hosts.holds(&host))
    }
}

/// `host:port`, `[address]:port` or a host alone.
fn split_port(text: &str) -> (&str, Option<u16>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (text, None),
        },
        _ => (text, None),
    }
}

fn parse_network(text: &str) -> Option<Hosts> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= bits)?,
        None => bits,
    };
    Some(Hosts::Network { address, prefix })
}

impl Hosts {
    fn holds(&self, host: &Host<&str>) -> bool {
        let address = match host {
            Host::Domain(name) => return self.holds_name(&name.trim_end_matches('.').to_ascii_lowercase()),
            Host::Ipv4(address) => IpAddr::V4(*address),
            Host::Ipv6(address) => IpAddr::V6(*address),
        };
        match self {
            Self::Every => true,
            Self::Domain(_) => false,
            Self::Network {
                address: network,
                prefix,
            } => same_network(*network, address, *prefix),
        }
    }

    fn holds_name(&self, name: &str) -> bool {
        match self {
            Self::Every => true,
            Self::Network { .. } => false,
            Self::Domain(domain) => {
                let below = || {
                    name.strip_suffix(domain.as_str())
                        .is_some_and(|rest| rest.ends_with('.'))
                };
                !domain.is_empty() && (name == domain || below())
            }
        }
    }
}

fn same_network(network: IpAddr, address: IpAddr, prefix: u8) -> bool {
    let shared = |one: u128, other: u128, bits: u32| {
        let ignored = bits - u32::from(prefix);
        one.checked_shr(ignored).unwrap_or(0) == other.checked_shr(ignored).unwrap_or(0)
    };
    match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => shared(u32::from(one).into(), u32::from(other).into(), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => shared(one.into(), other.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxied(no_proxy: &str, url: &str) -> bool {
        let rules = ProxyRules::new(&Proxies {
            http: Some("proxy.example:3128".to_owned()),
            https: Some("http://user:secret@proxy.example:3129".to_owned()),
            no_proxy: Some(no_proxy.to_owned()),
        });
        rules.unwrap().proxy(&url.parse().unwrap()).is_some()
    }

    #[test]
    fn hosts_that_are_reached_directly() {
        let direct = [
            ("*", "http://a.example/"),
            ("a.example", "http://a.example/"),
            ("A.Example", "https://a.example/"),
            ("example", "http://a.example/"),
            (".example", "http://a.example/"),
            ("*.example", "http://a.example/"),
            ("x, a.example:8080", "http://a.example:8080/"),
            ("a.example:443", "https://a.example/"),
            ("127.0.0.1", "http://127.0.0.1:99/"),
            ("10.0.0.0/8", "http://10.20.30.40/"),
            ("0.0.0.0/0", "http://10.20.30.40/"),
            ("fd00::/8", "http://[fd12::1]/"),
            ("[::1]:80", "http://[::1]/"),
        ];
        for (list, url) in direct {
            assert!(!proxied(list, url), "{list} {url}");
        }
        let through = [
            ("", "http://a.example/"),
            ("b.example", "http://a.example/"),
            ("xample", "http://a.example/"),
            (".", "http://a.example/"),
            ("a.example:8080", "http://a.example/"),
            ("10.0.0.0/8", "http://11.0.0.1/"),
            ("10.0.0.0/99", "http://10.0.0.1/"),
            ("127.0.0.1", "http://127.0.0.2/"),
            ("::1", "http://127.0.0.1/"),
        ];
        for (list, url) in through {
            assert!(proxied(list, url), "{list} {url}");
        }
    }

    #[test]
    fn a_wrong_proxy_is_refused_without_its_password() {
        let proxies = Proxies {
            http: Some("ftp://user:secret@host".to_owned()),
            ..Proxies::default()
        };
        let error = ProxyRules::new(&proxies).unwrap_err().to_string();
        assert!(error.contains("host") && !error.contains("secret"), "{error}");
    }
}
