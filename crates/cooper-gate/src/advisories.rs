//! Vulnerabilities and malicious packages: what advisories say of a package at its version.
//!
//! ```text
//! OSV records ──Compiler──> bytes ──AdvisorySnapshot::open──┐
//! KEV list ──ExploitedList, EPSS ──EpssTable, OpenVEX ──VexStatements──> Advisories ──affecting──> Hits
//! ```
//!
//! Records are compiled once into a snapshot that is read in place: opening one of 20,000 records costs about a
//! millisecond, and the same records give the same bytes, so that a snapshot has a digest by which a verdict can
//! name it. Matching is OSV's evaluation algorithm with the ecosystem's own order of versions; records under several ids are
//! one [`Hit`]. A distribution judges its own packages: a Debian package is looked up by its source package in its
//! release, never as a Python distribution.
//!
//! What a hit does to a verdict is the policy's business, not this module's. Nothing is fetched or read here.

mod bytes;
mod compile;
mod ecosystem;
mod epss;
mod exploited;
mod hit;
mod osv;
mod query;
mod range;
mod severity;
mod snapshot;
mod vex;

pub(crate) use bytes::Reader;
pub use bytes::SharedBytes;
pub use compile::{Added, CompileError, CompileLimits, Compiled, Compiler, Skipped};
pub use ecosystem::{Ecosystem, ParseEcosystemError, Subject};
pub use epss::{Epss, EpssError, EpssTable};
pub use exploited::{ExploitedList, KnownExploited, KnownExploitedError};
pub use hit::Hit;
pub use osv::{RecordError, RecordLimits, Urgency};
pub use query::Advisories;
pub use severity::{Severity, SeveritySource};
pub use snapshot::{AdvisorySnapshot, ReadSnapshotError, SnapshotCounts};
pub use vex::{VexError, VexStatement, VexStatements, VexStatus};
