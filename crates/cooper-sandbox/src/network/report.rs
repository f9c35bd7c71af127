//! What became of a run's connections: counted in the gateway, told by the supervisor.
//!
//! The gateway has had a run's bytes in its hands, so the supervisor believes nothing but numbers within bounds.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::address::{self, Closed};
use super::rules::{Host, Rule, Rules};

/// What became of a run's connections.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NetworkReport {
    /// Connections to allowed hosts that were made.
    pub connections: u64,
    /// Bytes that the run sent through them.
    pub bytes_sent: u64,
    /// Bytes that came back.
    pub bytes_received: u64,
    /// Connections to allowed hosts that were not made.
    pub refused: Vec<RefusedConnections>,
    /// Names that were asked for and that no rule allows.
    pub unknown_names: Vec<RefusedName>,
    /// Refusals that are in neither list, since there are too many different ones.
    pub others: u64,
    /// The gateway ended before the run did, and nothing more is known.
    pub gateway_lost: bool,
}

/// Connections by one rule that were refused for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedConnections {
    /// The rule that they came by.
    pub rule: Rule,
    /// Why.
    pub reason: ConnectRefusal,
    /// How many.
    pub count: u64,
}

/// A name that no rule allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedName {
    /// Letters, digits, `-`, `_`, `.`, and `?` in the place of anything else.
    pub name: String,
    /// How often it was asked for.
    pub count: u64,
}

/// Why a connection to an allowed host was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectRefusal {
    /// The name leads to an address that names must not lead to.
    Closed(IpAddr, Closed),
    /// The host's resolver does not know the name, or did not answer.
    Unresolved,
    /// The connection to the host failed.
    Unreachable,
    /// It took too long.
    TimedOut,
    /// The run has as many connections as it may.
    TooMany,
}

/// As many different refusals, and as many names, as are kept.
const KINDS_MAX: usize = 24;

impl fmt::Display for ConnectRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(address, kind) => write!(formatter, "it resolves to {address}, {kind}"),
            Self::Unresolved => formatter.write_str("its name cannot be resolved"),
            Self::Unreachable => formatter.write_str("it cannot be connected to from this host"),
            Self::TimedOut => formatter.write_str("it does not answer"),
            Self::TooMany => formatter.write_str("there were too many at once"),
        }
    }
}

impl fmt::Display for RefusedConnections {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { host, port } = &self.rule;
        let (count, were) = match self.count {
            1 => ("1 connection".to_owned(), "was"),
            count => (format!("{count} connections"), "were"),
        };
        let verb = match self.reason {
            ConnectRefusal::Closed(..) | ConnectRefusal::TooMany => "refused",
            _ => "not made",
        };
        let shown = host.name().map_or_else(|| host.to_string(), ToString::to_string);
        write!(
            formatter,
            "{count} to {shown}:{port} {were} {verb}: {}",
            self.reason
        )
    }
}

impl ConnectRefusal {
    /// A word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed(..) => "closed-address",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed-out",
            Self::TooMany => "too-many",
        }
    }
}

impl RefusedConnections {
    /// The rule that would allow them, where there is one: for who knows that they are right.
    pub fn remedy(&self) -> Option<Rule> {
        match (&self.rule.host, self.reason) {
            (Host::Name(name), ConnectRefusal::Closed(address, _)) => Some(Rule {
                host: Host::Pinned(name.clone(), address),
                port: self.rule.port,
            }),
            _ => None,
        }
    }
}

impl fmt::Display for RefusedName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "the name {} was asked for and is not allowed",
            self.name
        )
    }
}

/// The counts of one run, as the gateway keeps them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) connections: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    refused: BTreeMap<(usize, ConnectRefusal), u64>,
    unknown_names: BTreeMap<String, u64>,
    others: u64,
}

impl Tally {
    /// A connection by the rule of this index was refused.
    pub(super) fn refuse(&mut self, rule: usize, reason: ConnectRefusal) {
        count(&mut self.refused, (rule, reason), &mut self.others);
    }

    /// A name was asked for that no rule allows.
    pub(super) fn unknown(&mut self, name: String) {
        count(&mut self.unknown_names, name, &mut self.others);
    }

    /// One line for each number.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!(
            "made {} {} {}\n",
            self.connections, self.bytes_sent, self.bytes_received
        );
        for ((rule, reason), count) in &self.refused {
            let (word, address) = match reason {
                ConnectRefusal::Closed(address, Closed::Own) => ("own", address.to_string()),
                ConnectRefusal::Closed(address, _) => ("closed", address.to_string()),
                ConnectRefusal::Unresolved => ("unresolved", String::new()),
                ConnectRefusal::Unreachable => ("unreachable", String::new()),
                ConnectRefusal::TimedOut => ("late", String::new()),
                ConnectRefusal::TooMany => ("many", String::new()),
            };
            // Writing to a string succeeds.
            let _ = writeln!(text, "refused {count} {rule} {word} {address}");
        }
        for (name, count) in &self.unknown_names {
            let _ = writeln!(text, "unknown {count} {name}");
        }
        let _ = writeln!(text, "others {}", self.others);
        text
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, others: &mut u64) {
    if counts.len() < KINDS_MAX || counts.contains_key(&key) {
        *counts.entry(key).or_default() += 1;
    } else {
        *others += 1;
    }
}

impl NetworkReport {
    /// When nothing was heard of the gateway.
    pub(crate) fn lost() -> Self {
        Self {
            gateway_lost: true,
            ..Self::default()
        }
    }

    /// What a gateway says of a run with these rules; lines that are not as they should be are left out.
    pub(super) fn parse(text: &str, rules: &Rules) -> Self {
        let mut report = Self::default();
        for line in text.lines().take(3 * KINDS_MAX) {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
            match words[..] {
                ["made", ..] => {
                    report.connections = number(1).unwrap_or_default();
                    report.bytes_sent = number(2).unwrap_or_default();
                    report.bytes_received = number(3).unwrap_or_default();
                }
                ["refused", _, rule, word, address] => {
                    report
                        .refused
                        .extend(refused(rules, number(1), rule, word, address));
                }
                ["unknown", _, name] if is_shown_name(name) => {
                    report.unknown_names.push(RefusedName {
                        name: name.to_owned(),
                        count: number(1).unwrap_or_default(),
                    });
                }
                ["others", _] => report.others = number(1).unwrap_or_default(),
                _ => {}
            }
        }
        report
    }
}

fn refused(
    rules: &Rules,
    count: Option<u64>,
    rule: &str,
    word: &str,
    address: &str,
) -> Option<RefusedConnections> {
    let reason = match word {
        "own" => ConnectRefusal::Closed(address.parse().ok()?, Closed::Own),
        "closed" => {
            let address = address.parse().ok()?;
            ConnectRefusal::Closed(address, address::closed(address)?)
        }
        "unresolved" => ConnectRefusal::Unresolved,
        "unreachable" => ConnectRefusal::Unreachable,
        "late" => ConnectRefusal::TimedOut,
        "many" => ConnectRefusal::TooMany,
        _ => return None,
    };
    Some(RefusedConnections {
        rule: rules.iter().nth(rule.parse().ok()?)?.clone(),
        reason,
        count: count?,
    })
}

fn is_shown_name(name: &str) -> bool {
    let shown = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'?');
    name.len() <= 255 && name.bytes().all(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_through_bounded() {
        let rules: Rules = "a.test:443,b.test=10.0.0.5:5432".parse().unwrap();
        let mut tally = Tally {
            connections: 3,
            bytes_sent: 4,
            bytes_received: 5,
            ..Tally::default()
        };
        let private = "10.0.0.5".parse().unwrap();
        for _ in 0..3 {
            tally.refuse(0, ConnectRefusal::Closed(private, Closed::Private));
        }
        tally.refuse(0, ConnectRefusal::Closed("8.8.8.8".parse().unwrap(), Closed::Own));
        tally.refuse(1, ConnectRefusal::Unreachable);
        for name in 0..KINDS_MAX + 5 {
            tally.unknown(format!("n{name}.test"));
        }
        let report = NetworkReport::parse(&tally.to_text(), &rules);
        assert_eq!(
            (report.connections, report.bytes_sent, report.bytes_received),
            (3, 4, 5)
        );
        let said: Vec<String> = report.refused.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "1 connection to a.test:443 was refused: it resolves to 8.8.8.8, an address of the host itself",
                "3 connections to a.test:443 were refused: it resolves to 10.0.0.5, a private address",
                "1 connection to b.test:5432 was not made: it cannot be connected to from this host",
            ]
        );
        assert_eq!(
            report.refused[1].remedy().unwrap().to_string(),
            "a.test=10.0.0.5:443"
        );
        assert_eq!(report.refused[2].remedy(), None);
        let written = serde_json::to_string(&report).unwrap();
        assert_eq!(
            serde_json::from_str::<NetworkReport>(&written).unwrap(),
            report,
            "{written}"
        );
        assert_eq!((report.unknown_names.len(), report.others), (KINDS_MAX, 5));
    }

    #[test]
    fn nonsense_of_a_gateway_is_left_out() {
        let rules: Rules = "a.test:443".parse().unwrap();
        let text = "made x\nrefused 1 7 closed 10.0.0.1\nrefused 1 0 closed 8.8.8.8\nrefused 1 0 what \nunknown 1 \x1b[2J\nunknown 1 a b\n\nothers\n";
        assert_eq!(NetworkReport::parse(text, &rules), NetworkReport::default());
        let many = "unknown 1 a\n".repeat(10_000);
        assert!(NetworkReport::parse(&many, &rules).unknown_names.len() < 100);
    }
}
