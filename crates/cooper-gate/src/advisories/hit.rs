//! What is known of one vulnerability in one package.

use cooper_core::Timestamp;
use serde::Serialize;

use super::epss::Epss;
use super::exploited::KnownExploited;
use super::osv::Urgency;
use super::severity::Severity;
use super::vex::VexStatement;

/// One vulnerability, or one report of malice, that affects a package at its version: all records under all its ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// The id that it is called by: that of a malicious package, else PYSEC, GHSA, Debian's, CVE.
    pub id: String,
    /// All its other ids, sorted.
    pub aliases: Vec<String>,
    /// The records that call this version affected; the id that it is called by may be another one.
    pub records: Vec<String>,
    /// One line; empty where no record has any.
    pub summary: String,
    /// The worst that any of the records says.
    pub severity: Severity,
    /// Versions above this one that have a fix, in their order: the first is the smallest step. Empty where there is no
    /// fix.
    pub fixed_in: Vec<String>,
    /// Where to read on; at most three.
    pub references: Vec<String>,
    /// The package was published to do harm.
    pub malicious: bool,
    /// Known to be exploited.
    pub exploited: Option<KnownExploited>,
    /// How probable it is that it will be exploited.
    pub epss: Option<Epss>,
    /// What Debian's tracker says of it in this release.
    pub urgency: Option<Urgency>,
    /// The VEX statement that counts; [`super::VexStatus::lifts`] says whether it lifts the hit.
    pub vex: Option<VexStatement>,
    /// When the first record was published.
    pub published: Option<Timestamp>,
    /// When a record was last changed.
    pub modified: Option<Timestamp>,
}

impl Hit {
    /// All its ids, the one that it is called by first.
    pub fn ids(&self) -> impl Iterator<Item = &str> + Clone {
        std::iter::once(&self.id).chain(&self.aliases).map(String::as_str)
    }

    /// Whether a VEX statement lifts it. Malice is not lifted by anybody's statement.
    pub fn is_lifted(&self) -> bool {
        let lifting = self
            .vex
            .as_ref()
            .is_some_and(|statement| statement.status.lifts());
        lifting && !self.malicious
    }
}
