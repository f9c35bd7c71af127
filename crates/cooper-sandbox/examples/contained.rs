//! Run a program contained on this process's own streams: `contained [--best-effort] [--network NETWORK] ROOT PROGRAM
//! [ARGUMENT…]`. What became of its connections is told on standard error.
//!
//! The tests take it for a caller that can be sent signals and killed.

#![expect(
    clippy::print_stderr,
    reason = "the tests read what became of connections there"
)]

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cooper_sandbox::{
    End, Enforcement, GatewayProgram, Grants, Limits, Network, Profile, Root, Spec, Stdin, Stdio, User,
};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let command_line: Vec<OsString> = std::env::args_os().collect();
    if let Some(ended) = cooper_sandbox::serve_gateway(&command_line) {
        return Ok(ended);
    }
    let mut arguments = command_line.into_iter().skip(1).peekable();
    let best_effort = arguments.next_if(|argument| argument == "--best-effort");
    let network = match arguments.next_if(|argument| argument == "--network") {
        Some(_) => arguments
            .next()
            .and_then(|text| text.into_string().ok())
            .ok_or("--network has a value")?
            .parse()?,
        None => Network::None,
    };
    let usage = "usage: contained [--best-effort] [--network NETWORK] ROOT PROGRAM [ARGUMENT…]";
    let root = PathBuf::from(arguments.next().ok_or(usage)?);
    let argv: Vec<OsString> = arguments.collect();
    let files = network.rules().map(|rules| rules.name_files("contained"));
    let files = files.unwrap_or_default();
    let outcome = cooper_sandbox::run(&Spec {
        root: Root::ReadOnly { layers: &[root] },
        argv: &argv,
        env: &[("PATH".into(), "/usr/bin:/bin".into())],
        cwd: Path::new("/"),
        user: User { uid: 1000, gid: 1000 },
        profile: Profile::Run,
        network: &network,
        gateway: Some(&GatewayProgram::this_executable()),
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
        files: &files,
        grants: Grants::default(),
        hostname: "contained",
    })?;
    if let Some(report) = outcome.network {
        eprintln!("{report:?}");
        for refused in &report.refused {
            eprintln!("{refused}");
        }
    }
    Ok(match outcome.end {
        End::Exited(status) => ExitCode::from(status),
        End::Signaled(signal) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        End::TimeLimit | End::MemoryLimit => ExitCode::from(137),
    })
}
