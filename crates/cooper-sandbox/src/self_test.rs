//! The walls and limits, tried from inside of a real sandbox.
//!
//! What tries them is this program itself, with the libraries that it has loaded: put into an empty root, and started
//! by the loader that it was started by. So the test needs no image, which may not be there yet and whose programs are
//! others' work, and no program that would have to be built for it. [`inside()`] is what it does there; it says what it
//! saw, and the judgement is made outside.

mod inside;
mod own_program;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use inside::inside;

use crate::check::{Check, State};
use crate::error::SandboxError;
use crate::grants::Grants;
use crate::network::Network;
use crate::outcome::{End, Enforcer, Limit, Outcome};
use crate::spec::{Enforcement, Limits, Profile, Root, Spec, Stdin, Stdio, User};
use own_program::OwnProgram;

const MIB: u64 = 1 << 20;
const OUTPUT_BYTES_MAX: u64 = 64 << 10;
const PIDS: u32 = 48;
const OPEN_FILES: u64 = 64;
/// What may be taken beside the program's own files, in the test of memory.
const MEMORY_BYTES: u64 = 192 * MIB;
/// A quarter of one processor.
const CPU_MILLIS: u32 = 250;
/// The share of a processor that shows that no quota holds; a quota is kept within its period.
const CPU_SHARE_MAX: f64 = 0.6;

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// This program cannot be read.
    #[error("cannot read this program to try it in a sandbox")]
    Program {
        /// Why.
        source: io::Error,
    },
    /// The folder cannot be used.
    #[error("cannot make `{}` for a sandbox", path.display())]
    Folder {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Try the walls. `folder` is an empty directory, which becomes the root of sandboxes; `words` are the arguments by which
/// this program calls [`inside()`] with what follows them.
///
/// # Errors
/// When the test cannot be prepared. A sandbox that cannot be made is a bad answer and no error.
pub fn self_test(folder: &Path, words: &[OsString]) -> Result<Vec<Check>, SelfTestError> {
    let program = OwnProgram::read().map_err(|source| SelfTestError::Program { source })?;
    for name in ["proc", "dev", "run", "tmp", "work"] {
        let path = folder.join(name);
        fs::create_dir(&path).map_err(|source| SelfTestError::Folder { path, source })?;
    }
    let test = SelfTest {
        program,
        folder: folder.to_owned(),
        words: words.to_owned(),
    };
    let listener = TcpListener::bind(("127.0.0.1", 0));
    let port = listener
        .as_ref()
        .ok()
        .and_then(|listener| Some(listener.local_addr().ok()?.port()));
    let mut checks = match test.run(&["walls", &port.unwrap_or(80).to_string()], &test.limits()) {
        Ok(outcome) => walls(&outcome),
        Err(error) => return Ok(vec![not_made(&error)]),
    };
    checks.push(test.memory());
    checks.push(test.processor());
    Ok(checks)
}

struct SelfTest {
    program: OwnProgram,
    folder: PathBuf,
    words: Vec<OsString>,
}

impl SelfTest {
    fn limits(&self) -> Limits {
        Limits {
            memory_bytes: self.program.bytes() * 2 + 512 * MIB,
            pids: PIDS,
            open_files: OPEN_FILES,
            cpu_millis: 1000,
            wall: Some(Duration::from_secs(20)),
            tmp_bytes: MIB,
            scratch_bytes: MIB,
        }
    }

    fn run(&self, kind: &[&str], limits: &Limits) -> Result<Outcome, SandboxError> {
        let mut argv = self.program.argv();
        argv.extend(self.words.iter().cloned());
        argv.extend(kind.iter().map(OsString::from));
        crate::run(&Spec {
            root: Root::ReadOnly {
                layers: std::slice::from_ref(&self.folder),
            },
            argv: &argv,
            env: &[],
            cwd: Path::new("/work"),
            user: User { uid: 1000, gid: 1000 },
            profile: Profile::Run,
            network: &Network::None,
            gateway: None,
            limits: limits.clone(),
            enforcement: Enforcement::of_builds(),
            stdin: Stdin::Null,
            stdio: Stdio::Capture {
                stdout_max: OUTPUT_BYTES_MAX,
                stderr_max: OUTPUT_BYTES_MAX,
            },
            files: self.program.files(),
            grants: Grants::default(),
            hostname: "cooper-doctor",
        })
    }

    /// Twice of what is allowed is asked for.
    fn memory(&self) -> Check {
        let limits = Limits {
            memory_bytes: self.program.bytes() * 2 + MEMORY_BYTES,
            ..self.limits()
        };
        let wanted = (limits.memory_bytes * 2 / MIB).to_string();
        let outcome = match self.run(&["memory", &wanted], &limits) {
            Ok(outcome) => outcome,
            Err(error) => return not_made(&error),
        };
        let limit = limits.memory_bytes / MIB;
        let by = enforcer(&outcome, Limit::Memory);
        match (outcome.end, by) {
            (End::MemoryLimit, by) => {
                let told = format!("killed at the limit of {limit} MiB, by {}", by.as_str());
                Check::new("run-memory", State::Good, told)
            }
            (End::Exited(0), Enforcer::Rlimit) if outcome.stdout == inside::REFUSED.as_bytes() => {
                let told = format!("each process has at most {limit} MiB, and nothing bounds their sum");
                Check::new("run-memory", State::Weak, told).remedy("see cgroup-memory above")
            }
            _ => Check::new(
                "run-memory",
                State::Bad,
                format!("the limit of {limit} MiB did not hold"),
            ),
        }
    }

    /// Work for half a second.
    fn processor(&self) -> Check {
        let limits = Limits {
            cpu_millis: CPU_MILLIS,
            ..self.limits()
        };
        let outcome = match self.run(&["processor", "500"], &limits) {
            Ok(outcome) => outcome,
            Err(error) => return not_made(&error),
        };
        let by = enforcer(&outcome, Limit::Cpu);
        if by == Enforcer::Nothing {
            let told = "nothing bounds processor time";
            return Check::new("run-cpu", State::Weak, told).remedy("see cgroup-cpu above");
        }
        let share = outcome.cpu.as_secs_f64() / outcome.wall.as_secs_f64();
        let told = format!("a quota of 25% holds, by {}", by.as_str());
        let is_held = share < CPU_SHARE_MAX && outcome.end == End::Exited(0);
        if is_held {
            return Check::new("run-cpu", State::Good, told);
        }
        let told = format!("a quota of 25% let {:.0}% through", share * 100.0);
        Check::new("run-cpu", State::Bad, told)
    }
}

fn enforcer(outcome: &Outcome, limit: Limit) -> Enforcer {
    let found = outcome.enforced.iter().find(|enforced| enforced.limit == limit);
    found.map_or(Enforcer::Nothing, |enforced| enforced.by)
}

fn not_made(error: &SandboxError) -> Check {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    let check = Check::new("run", State::Bad, told);
    match error.hint() {
        Some(hint) => check.remedy(hint),
        None => check,
    }
}

/// What the program inside has said, one line for each wall: its name, whether it holds, and what was seen. A wall that it
/// does not speak of does not hold.
fn walls(outcome: &Outcome) -> Vec<Check> {
    let said = String::from_utf8_lossy(&outcome.stdout);
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.splitn(3, '\t').collect()).collect();
    let answer = |code: &'static str| {
        let line = lines.iter().find(|line| line.first() == Some(&code));
        match line.map(Vec::as_slice) {
            Some([_, holds, told]) => Check::holds(code, *holds == "1", *told),
            _ => Check::new(code, State::Bad, format!("not seen: {}", ended(outcome))),
        }
    };
    inside::WALLS.into_iter().map(answer).collect()
}

fn ended(outcome: &Outcome) -> String {
    let errors = String::from_utf8_lossy(&outcome.stderr);
    let last = errors.lines().last().unwrap_or_default();
    format!("the program inside ended so: {:?} {last}", outcome.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::CpuCounter;

    #[test]
    fn a_wall_of_which_nothing_is_said_does_not_hold() {
        let outcome = |stdout: &str| Outcome {
            end: End::Exited(0),
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            cpu_by: CpuCounter::EndedProcesses,
            memory_peak_bytes: None,
            oom_killed: false,
            stdout: stdout.as_bytes().to_vec(),
            stderr: b"Oh\nno".to_vec(),
            truncated: false,
            enforced: Vec::new(),
            network: None,
        };
        let checks = walls(&outcome(
            "run-user\t1\tuser 1000\nrun-root\t0\tit was written\nrun-proc\n",
        ));
        let of = |code| checks.iter().find(|check| check.code == code).unwrap();
        assert_eq!(of("run-user").state, State::Good);
        assert_eq!(
            (of("run-root").state, of("run-root").told.as_str()),
            (State::Bad, "it was written")
        );
        for silent in ["run-proc", "run-network"] {
            assert_eq!(of(silent).state, State::Bad);
            assert!(of(silent).told.ends_with("no"), "{}", of(silent).told);
        }
        assert_eq!(checks.len(), inside::WALLS.len());
    }
}
