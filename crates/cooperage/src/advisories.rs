//! Evidence for the gates: advisories, lists of exploited vulnerabilities, scores, popular names, VEX statements.
//!
//! ```text
//! addresses or files ──recognise──> compile ──> parts (blobs) ──> manifest (blob) <── pin `advisories`
//!                                                                     └──gate_evidence──> GateEvidence
//! ```
//!
//! Each source becomes a *part*: a blob in a compact form that is a function of the source's content alone. A *manifest*
//! lists the parts with their counts, and is a blob too: its digest is the evidence's, by which a verdict names what it was
//! judged by. What changes without the content (when it was fetched, from where) is in the pin beside it.
//!
//! An update replaces the parts of the sources that it was given, and leaves the others. A source that cannot be had or
//! read leaves its old part as it was; so does one that lost more than half of its records or went back in time, unless
//! that is allowed. What a source's server says is unchanged, or whose bytes are those of the last time, is not compiled
//! again. Nothing is asked for by package: which packages are used stays here.

mod compile;
mod error;
mod evidence;
mod gather;
mod manifest;
mod recognise;
mod update;

pub(crate) use compile::read_evidence;
pub use error::{EvidenceError, SourceFault, UpdateAdvisoriesError};
pub use evidence::{AdvisoriesStatus, EvidencePart, GateEvidence, MissingEvidence, PartOrigin};
pub use manifest::EvidenceKind;
pub use update::{AdvisoriesUpdate, EvidenceFrom, FailedSource, SourceOutcome, UpdatedSource};
