//! Whom a program can reach, and the gateway that holds an allow-list.
//!
//! ```text
//!  host's network namespace              │  the run's network namespace: `lo` and nothing else
//!                                        │
//!  resolver ◄── gateway ──► real host    │  program ──► 127.80.1.1:443  (the listener for one host)
//!               (own process, own user)  │          ──► 127.80.0.1:53   (names, from the rules alone)
//!                   ▲    listening sockets, made inside, │
//!                   └──────── handed out once ───────────┘
//! ```
//!
//! The run keeps its own network namespace without any way out: no interface but `lo`, no route, no tunnel. Each host of
//! an allow-list has a loopback address *in there*, with a listening socket for each allowed port. Init makes the
//! sockets before the program exists and sends them to the gateway ([`Gateway`]), a process that lives in the host's
//! network namespace. What is accepted on them the gateway connects to the host that the rule names, and copies bytes
//! both ways. It never looks at what flows.
//!
//! # Why so
//!
//! A packet filter (nftables) beside a virtual cable would need names resolved ahead, rules that follow their changes,
//! and the host's forwarding and address translation. A user-mode network stack (`pasta`, `slirp4netns`) is an external
//! program with a device and a TCP implementation that parses what an enemy sends. Here the kernel does all of TCP on
//! both sides; what is not listed has no listener, so a forgotten case is closed; and nothing has to be installed or
//! set up on the host. The price: TCP only, one address and port at a time, and a refusal that comes as a reset after
//! the connection is open, since the gateway learns of a connection when the kernel has answered it.
//!
//! # What is checked when
//!
//! - Parsing ([`Rules`]): no wildcards, ranges or networks; a name has one meaning; bounds on how many.
//! - For each connection the gateway resolves the name itself, with the host's resolver, and connects to exactly the
//!   address that it has checked: there is no second look-up that could give another answer. An address that is
//!   private, link-local, of the cloud's metadata, the host's own, or otherwise not public ([`Closed`]) stays closed,
//!   whatever name leads there, unless the rule itself has the address: `10.0.0.5:5432` or `db.internal=10.0.0.5:5432`.
//! - Names are answered from the rules alone: no query of the program leaves the run.
//!
//! # The gateway's own walls
//!
//! It is executed anew ([`serve_gateway`]), so that it has nothing of the caller's memory and may allocate; then it has
//! a user of its own, no capabilities and no way to gain any, the system-call list of a run without `execve`, `fork` and
//! `listen`, files of size zero, and bounds on connections, buffers and times. It has a run's data in its hands, but
//! neither a run's files nor the caller's. An ordinary user may have no id to spare: then it is the user that runs are,
//! or with one id alone the caller, without capabilities all the same. It dies with the thread that started it, or when
//! the last end of its control socket closes. Its processor time is not the run's: it is one thread that copies.

mod address;
mod dns;
mod endpoint;
mod gateway;
mod netlink;
mod report;
mod rules;
mod serve;
mod wire;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use address::Closed;
pub use dns::{Names, Reply};
pub use endpoint::HandOut;
pub(crate) use gateway::Heard;
pub use gateway::{Gateway, GatewayProgram, SessionId};
pub use report::{ConnectRefusal, NetworkReport, RefusedConnections, RefusedName};
pub use rules::{Host, HostName, Rule, RuleError, RuleFault, Rules};
pub use serve::serve_gateway;

/// Whom the program can reach.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Network {
    /// Nobody: a network namespace with a loopback interface of its own.
    #[default]
    None,
    /// These hosts and ports by TCP, through the gateway; else as [`Network::None`].
    Allow(Rules),
    /// Whoever the host reaches, in the host's own network namespace: also what listens only on the host's loopback
    /// or on its abstract Unix sockets.
    Host,
}

/// Why a text says nothing of a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is none of the words.
    #[error("expected `none`, `host` or `allow:HOST[:PORT],…`")]
    Unknown,
    /// An entry of the allow-list is wrong.
    #[error(transparent)]
    Rule(#[from] RuleError),
}

impl Network {
    /// Whether all that this reaches is reached by the other too.
    pub fn within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, _) | (_, Self::Host) => true,
            (Self::Allow(ours), Self::Allow(theirs)) => ours.within(theirs),
            _ => false,
        }
    }

    /// The allow-list, where there is one.
    pub fn rules(&self) -> Option<&Rules> {
        match self {
            Self::Allow(rules) => Some(rules),
            Self::None | Self::Host => None,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        match text {
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            _ => {
                let list = text.strip_prefix("allow:").ok_or(NetworkError::Unknown)?;
                Ok(Self::Allow(list.parse()?))
            }
        }
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Host => formatter.write_str("host"),
            Self::Allow(rules) => write!(formatter, "allow:{rules}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn texts_round_trip() {
        for text in ["none", "host", "allow:a.test:443,10.0.0.5:80"] {
            let parsed = network(text);
            assert_eq!(network(&parsed.to_string()), parsed);
        }
        for wrong in ["", "all", "allow", "allow:", "Host", "bridge", "none,host"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_narrower_network_is_within_a_wider_one() {
        let order = ["none", "allow:a.test:443", "allow:a.test,b.test", "host"];
        for (at, narrow) in order.iter().enumerate() {
            for (other, wide) in order.iter().enumerate() {
                assert_eq!(
                    network(narrow).within(&network(wide)),
                    at <= other,
                    "{narrow} {wide}"
                );
            }
        }
        assert!(!network("allow:a.test=10.0.0.5:443").within(&network("allow:a.test:443")));
        assert!(!network("allow:c.test").within(&network("allow:a.test,b.test")));
    }
}
