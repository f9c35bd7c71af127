//! The gates: pure functions from a plan and evidence to a verdict.
//!
//! [`evaluate`] is the only way to make a [`Cleared`], and a cleared lock is the only thing that
//! `cooper-image` assembles. Every gate has three answers: passed, refused, could not judge. [`policy`] says what each
//! finding does, [`waiver`] who may let a hold pass.
//!
//! This crate fetches nothing and reads no clock and no file: the present time comes as evidence.

pub mod advisories;
pub mod age;
pub mod artefact;
mod candidate;
mod cleared_lock;
pub mod code;
pub mod denied;
mod first_seen;
pub mod integrity;
mod known;
pub mod licences;
pub mod listed;
pub mod look_alikes;
pub mod names;
pub mod policy;
pub mod unmaintained;
pub mod verdict;
pub mod vulnerabilities;
pub mod waiver;

pub use candidate::Candidate;
pub use first_seen::{FirstSeen, Sighting};
pub use known::{EvidenceDates, Known, PopularList};
pub use listed::Listed;
pub use policy::Policy;
pub use verdict::{
    Cleared, ClearedSource, Evidence, Outcome, Refusal, Unjudged, Verdict, evaluate, evaluate_sources, judge,
    judge_listed,
};
pub use waiver::Waiver;
