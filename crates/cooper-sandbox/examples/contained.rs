//! Run a program contained on this process's own streams: `contained ROOT PROGRAM [ARGUMENT…]`.
//!
//! The tests take it for a caller that can be sent signals and killed.

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cooper_sandbox::{End, Enforcement, Grants, Limits, Network, Profile, Root, Spec, Stdin, Stdio, User};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let best_effort = arguments.next_if(|argument| argument == "--best-effort");
    let usage = "usage: contained [--best-effort] ROOT PROGRAM [ARGUMENT…]";
    let root = PathBuf::from(arguments.next().ok_or(usage)?);
    let argv: Vec<OsString> = arguments.collect();
    let outcome = cooper_sandbox::run(&Spec {
        root: Root::ReadOnly { layers: &[root] },
        argv: &argv,
        env: &[("PATH".into(), "/usr/bin:/bin".into())],
        cwd: Path::new("/"),
        user: User { uid: 1000, gid: 1000 },
        profile: Profile::Run,
        network: Network::None,
        limits: Limits {
            memory_bytes: 256 << 20,
            pids: 64,
            open_files: 256,
            cpu_millis: 1000,
            wall: None,
            tmp_bytes: 16 << 20,
            scratch_bytes: 16 << 20,
        },
        enforcement: best_effort.map_or_else(Enforcement::of_builds, |_| Enforcement::BestEffort),
        stdin: Stdin::Inherit,
        stdio: Stdio::Inherit,
        files: &[],
        grants: Grants::default(),
        hostname: "contained",
    })?;
    Ok(match outcome.end {
        End::Exited(status) => ExitCode::from(status),
        End::Signaled(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        End::TimeLimit | End::MemoryLimit => ExitCode::from(137),
    })
}
