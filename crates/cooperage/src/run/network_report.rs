//! What is told to programs of a run's network, where that was an allow-list.

use cooper_sandbox::NetworkReport;
use serde::{Deserialize, Serialize};

/// What became of a run's connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionsReport {
    /// Connections to allowed hosts that were made.
    pub connections: u64,
    /// Bytes that the run sent through them.
    pub bytes_sent: u64,
    /// Bytes that came back.
    pub bytes_received: u64,
    /// Connections to allowed hosts that were not made.
    pub refused: Vec<RefusedConnectionsReport>,
    /// Names that were asked for and that are not allowed.
    pub unknown_names: Vec<UnknownNameReport>,
    /// How many of both there were beside those.
    pub refused_beside: u64,
    /// The gateway ended before the run: the counts are of nothing then.
    pub gateway_lost: bool,
}

/// Connections that were not made, by one rule and for the same reason.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RefusedConnectionsReport {
    /// The rule that they came by.
    pub rule: String,
    /// `closed-address`, `unresolved`, `unreachable`, `timed-out` or `too-many`.
    pub reason: String,
    /// The same for people.
    pub message: String,
    /// The rule that would allow them, for who knows that they are right; null where there is none.
    pub remedy: Option<String>,
    /// How many.
    pub count: u64,
}

/// A name that is not allowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnknownNameReport {
    /// With `?` in the place of what names do not have.
    pub name: String,
    /// The same for people.
    pub message: String,
    /// How often it was asked for.
    pub count: u64,
}

impl ConnectionsReport {
    /// What the gateway's supervisor found.
    pub fn new(report: &NetworkReport) -> Self {
        let refused = report.refused.iter().map(|refused| RefusedConnectionsReport {
            rule: refused.rule.to_string(),
            reason: refused.reason.as_str().to_owned(),
            message: refused.to_string(),
            remedy: refused.remedy().map(|rule| rule.to_string()),
            count: refused.count,
        });
        let unknown_names = report.unknown_names.iter().map(|unknown| UnknownNameReport {
            name: unknown.name.clone(),
            message: unknown.to_string(),
            count: unknown.count,
        });
        Self {
            connections: report.connections,
            bytes_sent: report.bytes_sent,
            bytes_received: report.bytes_received,
            refused: refused.collect(),
            unknown_names: unknown_names.collect(),
            refused_beside: report.others,
            gateway_lost: report.gateway_lost,
        }
    }
}
