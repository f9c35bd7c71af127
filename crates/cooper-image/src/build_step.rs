//! One build step: a shell program in the build sandbox, over a tree that it may write.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cooper_sandbox::{
    End, Enforcement, Grants, InjectedFile, Limits, Network, Profile, Root, Spec, Stdin, Stdio, User,
};

use crate::bytecode;
use crate::error::AssembleError;
use crate::fast_paths::{self, FastPrograms};
use crate::maintainer_scripts::last_call;

/// The tree that a step writes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BuildRoot<'a> {
    /// A directory that is the whole tree.
    Tree(&'a Path),
    /// An overlay.
    Overlay {
        /// The trees below, the top one first.
        lower: &'a [PathBuf],
        /// Where the writes go.
        upper: &'a Path,
        /// Overlayfs's own directory.
        work: &'a Path,
    },
}

const INJECTED_DIR: &str = "/run/cooper";
const PROGRAM_PATH: &str = "/run/cooper/step";
const OUTPUT_BYTES_MAX: u64 = 4 << 20;

fn limits() -> Limits {
    Limits {
        memory_bytes: 2 << 30,
        pids: 1024,
        open_files: 4096,
        cpu_millis: 16_000,
        wall: Some(Duration::from_mins(30)),
        tmp_bytes: 512 << 20,
        scratch_bytes: 16 << 20,
    }
}

/// Run a shell program as the tree's root, without network; the programs cover those of the tree.
///
/// # Errors
/// When the sandbox cannot be made, or the program fails or is stopped: the error names the marked call in which.
pub(crate) fn run_build_step(
    root: BuildRoot<'_>,
    program: &str,
    programs: &FastPrograms,
) -> Result<(), AssembleError> {
    let layers;
    let root = match root {
        BuildRoot::Tree(path) => Root::WritableDir(path),
        BuildRoot::Overlay { lower, upper, work } => {
            layers = lower;
            Root::Writable { layers, upper, work }
        }
    };
    let argv: [OsString; 2] = ["/bin/sh".into(), PROGRAM_PATH.into()];
    let own = [("step", program), bytecode::INJECTED, fast_paths::INJECTED];
    let own = own.map(|(name, text)| (Path::new(INJECTED_DIR).join(name), text.as_bytes().to_vec()));
    let covering = programs.files().iter();
    let covering = covering.map(|(path, bytes)| (PathBuf::from(path), bytes.clone()));
    let file = |(path, bytes)| InjectedFile {
        path,
        bytes,
        mode: 0o555,
    };
    let files: Vec<InjectedFile> = own.into_iter().chain(covering).map(file).collect();
    let spec = Spec {
        root,
        argv: &argv,
        env: &[],
        cwd: Path::new("/"),
        user: User { uid: 0, gid: 0 },
        profile: Profile::Build,
        network: &Network::None,
        gateway: None,
        limits: limits(),
        enforcement: Enforcement::of_builds(),
        stdin: Stdin::Null,
        stdio: Stdio::Capture {
            stdout_max: OUTPUT_BYTES_MAX,
            stderr_max: OUTPUT_BYTES_MAX,
        },
        files: &files,
        grants: Grants::default(),
        hostname: "cooper-build",
    };
    let outcome = cooper_sandbox::run(&spec).map_err(AssembleError::Sandbox)?;
    let (call, mut tail) = last_call(&String::from_utf8_lossy(&outcome.stdout));
    let errors = String::from_utf8_lossy(&outcome.stderr);
    let last: Vec<&str> = errors.lines().rev().take(12).collect();
    for line in last.into_iter().rev() {
        tail.push('\n');
        tail.push_str(line);
    }
    let tail = tail.trim().to_owned();
    match outcome.end {
        End::Exited(0) => Ok(()),
        End::Exited(_) | End::Signaled(_) => Err(AssembleError::Script { call, tail }),
        End::TimeLimit => Err(AssembleError::Stopped {
            call,
            reason: "it ran for more than 30 minutes",
        }),
        End::MemoryLimit => Err(AssembleError::Stopped {
            call,
            reason: "it used more than 2 GiB of memory",
        }),
    }
}
