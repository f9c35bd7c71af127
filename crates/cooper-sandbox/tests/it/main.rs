//! The sandbox from outside: what runs in it, what holds it, and what it leaves behind.
//!
//! Needs root, `/bin/busybox` (Debian's busybox-static), and for the probes of system calls a C compiler. Some tests
//! look at the whole process or change it: each wants one of its own, as cargo-nextest gives it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where something unexpected happens"
)]

mod allow;
mod bed;
mod calls;
mod concurrent;
mod ends;
mod grants;
mod leavings;
mod limits;
mod lives;
mod network;
mod privileges;
mod refusals;
mod roots;
mod runtimes;
mod streams;
mod unprivileged;
mod views;
mod warm;
mod warm_network;
mod world;
