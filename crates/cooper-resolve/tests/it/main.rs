//! Resolution against made and real indexes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests fail loudly and say what they skip"
)]

mod debian;
mod debian_checker;
mod debian_hostile;
mod debian_libraries;
mod debian_live;
mod debian_properties;
mod debian_sources;
mod debian_world;
mod python;
mod python_bounds;
mod python_indexes;
mod python_live;
