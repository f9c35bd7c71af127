//! The real binary, from outside: exit status, standard output and standard error of every command, on a made
//! archive and index on loopback.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests fail by panicking, in their helpers too, and say what they skip"
)]

mod advisories;
mod age;
mod archive_file;
mod base_image;
mod broken_input;
mod check;
mod context;
mod create;
mod create_failures;
mod doctor;
mod grants;
mod help;
mod hostile;
mod hostile_scripts;
mod interop;
mod inventory;
mod kept_wheels;
mod kill;
mod libraries;
mod licences;
mod live;
mod load_hostile;
mod remove;
mod requirements;
mod rootless;
mod run;
mod runner;
mod runner_clients;
mod runtimes;
mod save;
mod secrets;
mod settings;
mod sources;
mod update;
mod warm_runs;
