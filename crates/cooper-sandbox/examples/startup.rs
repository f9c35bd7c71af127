//! What a sandbox costs: `startup ROOT [TIMES [MEBIBYTES]]` runs `/bin/true` in the directory, contained and by
//! `chroot` alone, from a process that holds so much memory.

#![expect(clippy::print_stdout, reason = "it is asked for figures")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use cooper_sandbox::{Enforcement, Grants, Limits, Network, Profile, Root, Spec, Stdin, Stdio, User};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(
        arguments
            .next()
            .ok_or("usage: startup ROOT [TIMES [MEBIBYTES]]")?,
    );
    let mut number = |otherwise| arguments.next().map_or(Ok(otherwise), |number| number.parse());
    let (times, mebibytes): (usize, usize) = (number(200)?, number(0)?);
    let held = vec![1_u8; mebibytes << 20];
    let (mut contained, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..times {
        contained.push(timed(|| run_contained(&root))?);
        bare.push(timed(|| run_bare(&root))?);
    }
    drop(held);
    report("contained", contained);
    report("chroot", bare);
    Ok(())
}

fn timed(run: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let started = Instant::now();
    run()?;
    Ok(started.elapsed())
}

fn run_contained(root: &Path) -> Result<(), Box<dyn Error>> {
    let spec = Spec {
        root: Root::ReadOnly {
            layers: &[root.to_owned()],
        },
        argv: &["/bin/true".into()],
        env: &[],
        cwd: Path::new("/"),
        user: User { uid: 1000, gid: 1000 },
        profile: Profile::Run,
        network: &Network::None,
        gateway: None,
        limits: Limits {
            memory_bytes: 256 << 20,
            pids: 64,
            open_files: 256,
            cpu_millis: 1000,
            wall: Some(Duration::from_mins(1)),
            tmp_bytes: 16 << 20,
            scratch_bytes: 16 << 20,
        },
        enforcement: Enforcement::Required,
        stdin: Stdin::Null,
        stdio: Stdio::Capture {
            stdout_max: 0,
            stderr_max: 0,
        },
        files: &[],
        grants: Grants::default(),
        hostname: "startup",
    };
    cooper_sandbox::run(&spec)?;
    Ok(())
}

fn run_bare(root: &Path) -> Result<(), Box<dyn Error>> {
    Command::new("chroot").arg(root).arg("/bin/true").status()?;
    Ok(())
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    println!(
        "{name}: least {:?}, median {:?}, 90 of 100 below {:?}",
        at(0),
        at(50),
        at(90)
    );
}
