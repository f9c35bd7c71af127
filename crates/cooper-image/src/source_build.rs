//! Building a wheel from a source distribution: third-party code, run in the sandbox and believed in nothing.
//!
//! The environment is an image: what may be read and executed is in its layers, and no one writes to them. Sources come
//! in as a file, the wheel comes out as a stream of bytes that are checked like those of any wheel. The build has no
//! network, no capability, no secret, and a file system in memory; time, memory, processes and output are bounded.
//!
//! The same sources in the same environment should give the same bytes: clock, hash order, paths and debugging symbols
//! are fixed as far as a build honours it. Whoever needs the same bytes compares digests.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cooper_gate::ClearedSource;
use cooper_sandbox::{
    End, Enforcement, Grants, InjectedFile, Limits, Network, Outcome, Profile, Root, SandboxError, Spec,
    Stdin, Stdio, User,
};
use cooper_store::{ReadBlobError, Store};
use serde::Deserialize;

use crate::assemble::Image;
use crate::layer::{self, UnpackError};

/// How many bytes sources may have.
const SOURCE_BYTES_MAX: u64 = 256 << 20;
/// How many bytes a wheel that is built may have.
const WHEEL_BYTES_MAX: u64 = 512 << 20;
/// How much of a build's log is kept.
const LOG_BYTES_MAX: u64 = 16 << 20;
const HEAD_BYTES_MAX: usize = 64 << 10;
const BUILDER: &str = include_str!("source_build/build.py");
const BUILDER_PATH: &str = "/run/cooper/build.py";
/// Nobody's user in particular, but not root.
const BUILD_USER: User = User { uid: 1000, gid: 1000 };
/// 1980-01-01, the earliest time that a zip can hold.
const EPOCH: &str = "315532800";
const ENVIRONMENT: [(&str, &str); 10] = [
    ("CARGO_NET_OFFLINE", "true"),
    // Without symbols for a debugger: they name paths, and make wheels several times as large.
    ("CFLAGS", "-g0"),
    ("CXXFLAGS", "-g0"),
    ("HOME", "/work"),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("PYTHONDONTWRITEBYTECODE", "1"),
    ("PYTHONHASHSEED", "0"),
    ("SOURCE_DATE_EPOCH", EPOCH),
    ("TZ", "UTC"),
];

/// How much the building of one wheel may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLimits {
    /// From start to end.
    pub wall: Duration,
    /// Memory, with all files that the build writes; these alone may have half of it.
    pub memory_bytes: u64,
}

fn limits(limits: SourceLimits) -> Limits {
    Limits {
        memory_bytes: limits.memory_bytes,
        pids: 512,
        open_files: 4096,
        cpu_millis: 16_000,
        wall: Some(limits.wall),
        tmp_bytes: (512 << 20).min(limits.memory_bytes / 4),
        scratch_bytes: limits.memory_bytes / 2,
    }
}

/// What a build came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildOutcome {
    /// A wheel, unchecked.
    Wheel {
        /// The name that the build gave it.
        filename: String,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The build cannot begin before these requirements (PEP 508) are in its environment.
    Requires(Vec<String>),
}

/// Why there is no wheel.
#[derive(Debug, thiserror::Error)]
pub enum SourceBuildError {
    /// The sources are not in the store, or damaged.
    #[error("cannot read {filename} in the store")]
    Source {
        /// The file.
        filename: String,
        /// Why.
        #[source]
        source: ReadBlobError,
    },
    /// A layer of the environment is not in the store.
    #[error("the environment for building {filename} is not whole")]
    Environment {
        /// The file.
        filename: String,
        /// Why.
        #[source]
        source: UnpackError,
    },
    /// The sandbox could not be made.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The build ended, or was ended, without a wheel.
    #[error("building {filename} {reason}")]
    Failed {
        /// The sources.
        filename: String,
        /// How it ended: the rest of a sentence.
        reason: String,
        /// What it printed; of very much the beginning and the end.
        log: Vec<u8>,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Head {
    Wheel { filename: String },
    Requires { requires: Vec<String> },
}

/// What a build may ask for beyond what its sources state, and that is in its environment.
#[derive(Debug, Clone, Copy)]
pub enum Installed<'a> {
    /// What an earlier [`BuildOutcome::Requires`] named.
    Asked(&'a [String]),
    /// Whatever it asks for: the environment is that of an earlier build.
    All,
}

/// Build the wheel of a source distribution in an environment.
///
/// # Errors
/// When the build fails or is stopped, or the sandbox cannot be made.
pub fn build_source(
    source: &ClearedSource,
    environment: &Image,
    installed: Installed<'_>,
    source_limits: SourceLimits,
    store: &Store,
) -> Result<BuildOutcome, SourceBuildError> {
    let filename = || source.source().filename.clone();
    let trees = environment
        .layers
        .iter()
        .rev()
        .map(|layer| layer::tree(store, &layer.digest, &layer.diff_id));
    let trees: Result<Vec<PathBuf>, _> = trees.collect();
    let trees = trees.map_err(|source| SourceBuildError::Environment {
        filename: filename(),
        source,
    })?;
    let zip = Path::new(&filename())
        .extension()
        .is_some_and(|extension| extension == "zip");
    let archive = Path::new("/run/cooper").join(if zip { "sources.zip" } else { "sources.tar.gz" });
    let mut argv: Vec<OsString> = ["/usr/bin/python3", "-s", BUILDER_PATH]
        .map(OsString::from)
        .to_vec();
    argv.push(archive.clone().into());
    match installed {
        Installed::Asked(requirements) => argv.extend(requirements.iter().map(OsString::from)),
        Installed::All => argv.push("*".into()),
    }
    let injected = |path: &Path, bytes| InjectedFile {
        path: path.to_owned(),
        bytes,
        mode: 0o444,
    };
    let outcome = cooper_sandbox::run(&Spec {
        root: Root::ReadOnly { layers: &trees },
        argv: &argv,
        env: &ENVIRONMENT.map(|(name, value)| (name.into(), value.into())),
        cwd: Path::new("/work"),
        user: BUILD_USER,
        profile: Profile::Run,
        network: &Network::None,
        gateway: None,
        limits: limits(source_limits),
        enforcement: Enforcement::of_builds(),
        stdin: Stdin::Null,
        stdio: Stdio::Capture {
            stdout_max: WHEEL_BYTES_MAX,
            stderr_max: LOG_BYTES_MAX,
        },
        files: &[
            injected(Path::new(BUILDER_PATH), BUILDER.as_bytes().to_vec()),
            injected(&archive, source_bytes(source, store)?),
        ],
        grants: Grants::default(),
        hostname: "cooper-build",
    })?;
    read_outcome(filename(), source_limits, outcome)
}

fn source_bytes(source: &ClearedSource, store: &Store) -> Result<Vec<u8>, SourceBuildError> {
    let failed = |error| SourceBuildError::Source {
        filename: source.source().filename.clone(),
        source: error,
    };
    store
        .read_blob(&source.sha256(), SOURCE_BYTES_MAX)
        .map_err(failed)
}

fn read_outcome(
    filename: String,
    limits: SourceLimits,
    outcome: Outcome,
) -> Result<BuildOutcome, SourceBuildError> {
    let failed = |reason: String, log| SourceBuildError::Failed {
        filename,
        reason,
        log,
    };
    let ended = match outcome.end {
        End::Exited(0) => None,
        End::Exited(status) => Some(format!("failed with exit status {status}")),
        End::Signaled(signal) => Some(format!("was killed by signal {signal}")),
        End::TimeLimit => Some(format!(
            "took more than {} s (`build.timeout`)",
            limits.wall.as_secs()
        )),
        End::MemoryLimit => Some(format!(
            "used more than {} MiB of memory, its files included (`build.memory`)",
            limits.memory_bytes >> 20
        )),
    };
    if let Some(reason) = ended {
        return Err(failed(reason, outcome.stderr));
    }
    let mut bytes = outcome.stdout;
    let end = bytes.iter().take(HEAD_BYTES_MAX).position(|byte| *byte == b'\n');
    let head = end.and_then(|end| serde_json::from_slice(&bytes[..end]).ok());
    match (head, end) {
        (Some(Head::Requires { requires }), _) => Ok(BuildOutcome::Requires(requires)),
        (Some(Head::Wheel { .. }), _) if bytes.len() as u64 >= WHEEL_BYTES_MAX => {
            let reason = format!("gave a wheel of more than {} MiB", WHEEL_BYTES_MAX >> 20);
            Err(failed(reason, outcome.stderr))
        }
        (Some(Head::Wheel { filename }), Some(end)) => {
            bytes.drain(..=end);
            Ok(BuildOutcome::Wheel { filename, bytes })
        }
        _ => Err(failed("ended without a wheel".to_owned(), outcome.stderr)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(end: End, stdout: &[u8]) -> Outcome {
        Outcome {
            end,
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
            cpu_by: cooper_sandbox::CpuCounter::EndedProcesses,
            memory_peak_bytes: None,
            oom_killed: false,
            stdout: stdout.to_vec(),
            stderr: b"log".to_vec(),
            truncated: false,
            enforced: Vec::new(),
            network: None,
        }
    }

    fn read(end: End, stdout: &[u8]) -> Result<BuildOutcome, String> {
        let limits = SourceLimits {
            wall: Duration::from_secs(20),
            memory_bytes: 4 << 20,
        };
        let read = read_outcome("a-1.tar.gz".to_owned(), limits, outcome(end, stdout));
        read.map_err(|error| error.to_string())
    }

    #[test]
    fn the_answer_is_a_line_and_then_the_wheel() {
        let wheel = BuildOutcome::Wheel {
            filename: "a.whl".to_owned(),
            bytes: b"PK\n\n".to_vec(),
        };
        assert_eq!(
            read(End::Exited(0), b"{\"filename\": \"a.whl\"}\nPK\n\n"),
            Ok(wheel)
        );
        let requires = BuildOutcome::Requires(vec!["wheel".to_owned()]);
        assert_eq!(
            read(End::Exited(0), b"{\"requires\": [\"wheel\"]}\n"),
            Ok(requires)
        );
    }

    #[test]
    fn every_other_end_is_told() {
        for (end, stdout, reason) in [
            (
                End::Exited(1),
                &b"{\"filename\": \"a.whl\"}\nPK"[..],
                "exit status 1",
            ),
            (End::Signaled(9), b"", "signal 9"),
            (End::TimeLimit, b"", "20 s"),
            (End::MemoryLimit, b"", "4 MiB"),
            (End::Exited(0), b"", "without a wheel"),
            (End::Exited(0), b"nonsense\n", "without a wheel"),
            (End::Exited(0), b"{\"filename\": 1}\n", "without a wheel"),
        ] {
            let error = read(end, stdout).unwrap_err();
            assert!(error.contains(reason) && error.contains("a-1.tar.gz"), "{error}");
        }
    }
}
