//! Packages, wheels and layers against made archives, most of them hostile.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "tests may fail where they stand, their files need not be atomic, their tables may be long"
)]

mod deb;
mod deb_archive;
mod layer;
mod licences;
mod unpack;
mod wheel;
mod wheel_archive;

use std::error::Error;

/// Whether the test may run: trees belong to root. Says so when it may not.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: this test sets owners, which only root may");
    }
    root
}

/// An error with its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}
