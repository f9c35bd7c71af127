//! Fuzz targets for every parser of outside bytes, and a small driver that runs them on stable Rust.
//!
//! A target is a plain function from bytes to a short text that says how it ended; it panics when something is
//! wrong. The driver changes good examples at random (structure is mended where a checksum would stop
//! everything at the door), and keeps a changed input as a new example whenever its ending is one not seen before:
//! endings stand in for coverage, which stable Rust does not offer. It watches time and memory too.
//!
//! Each target runs as one test for `COOPER_FUZZ_SECONDS` (2 unless set) from `COOPER_FUZZ_SEED`. What was once
//! found lies in `fuzz/corpus/TARGET/` and is tried first.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a fuzz target says by a panic what is wrong"
)]

pub mod driver;
pub mod mutate;
pub mod targets;

pub use driver::{Target, fuzz};
