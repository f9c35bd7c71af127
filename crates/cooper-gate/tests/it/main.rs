//! The gates: plans that are each wrong in one way, real advisories, and names.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail loudly and say what they skip"
)]

mod advisories;
mod findings;
mod integrity;
mod licences;
mod made_names;
mod names;
