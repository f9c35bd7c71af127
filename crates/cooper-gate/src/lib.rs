//! The gates: pure functions from a plan and evidence to a verdict.
//!
//! [`evaluate`] is the only way to make a [`Cleared`], and a cleared lock is the only thing that
//! `cooper-image` assembles. Every gate has three answers: passed, refused, could not judge; for now there
//! is one gate, integrity, which can always judge.
//!
//! This crate fetches nothing and reads no clock and no file: the present time comes as evidence.

pub mod advisories;
pub mod integrity;
pub mod licences;
pub mod names;
pub mod verdict;

pub use verdict::{Cleared, ClearedSource, Evidence, Refusal, evaluate, evaluate_source};
