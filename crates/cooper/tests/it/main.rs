//! The real binary, from outside: exit status, standard output and standard error of every command, on a made
//! archive and index on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests fail by panicking, in their helpers too"
)]

mod base_image;
mod broken_input;
mod context;
mod create;
mod create_failures;
mod help;
mod hostile;
mod inventory;
mod kill;
mod live;
mod remove;
mod requirements;
mod run;
mod settings;
mod update;
