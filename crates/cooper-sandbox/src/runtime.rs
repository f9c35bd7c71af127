//! Runs by an OCI runtime of the host, `crun` or `runsc` (gVisor), in place of our own last steps.
//!
//! ```text
//! supervisor ──clone──> stage (pid 1) ──clone──> runtime ──> program
//!                         │ cgroup, namespaces, the container's file systems, listeners: as init makes them
//!                         └ bundle on /run, the runtime's state beside it: both in memory, in its own mounts
//! ```
//!
//! # Who makes what
//!
//! The **stage** stands where init stands in a run of our own, and makes the same: it joins the cgroup, makes the same
//! file systems by the same code, and has the same pid, IPC, UTS and network namespaces. Then it lets the runtime start
//! the program on them.
//!
//! - `crun` makes a user and a mount namespace, drops every capability, forbids new privileges, loads our own
//!   system-call filter (handed over as it is; that it is loaded is looked up), and leaves: the program is the stage's
//!   child then, which passes signals on and tells how it ended.
//! - `runsc` stays, with a kernel of its own between the program and the host's. The stage waits for it. Our filter is not
//!   loaded: it would be gVisor's kernel that has to live by it, and gVisor has a narrower one for itself.
//!
//! # Nothing is left
//!
//! Bundle, state, log and mounts are in the stage's mount namespace, and all processes of the runtime in its pid
//! namespace: with the stage they are gone, also when the caller is killed, since the stage dies with it. The runtime is
//! told to leave cgroups alone: the group is ours, is joined by the stage, and is removed or swept as for every run.

mod bundle;
mod stage;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::caller::Caller;
use crate::error::SandboxError;
use crate::network::Network;
use crate::spec::{Limits, Profile, Spec};

pub(crate) use bundle::{Bundle, UsedUp};
pub(crate) use stage::run;

/// What starts the program of a run, and stands between it and the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Runtime {
    /// A kernel of its own: gVisor's `runsc`.
    Runsc,
    /// Our own steps.
    #[default]
    Own,
    /// `crun`.
    Crun,
}

impl Runtime {
    /// The name of its program; that of our own steps is `own`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Crun => "crun",
            Self::Runsc => "runsc",
        }
    }

    /// What installs it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Own | Self::Crun => "`sudo apt install crun`",
            Self::Runsc => "`sudo apt install runsc`, which Debian has since trixie",
        }
    }
}

/// Where administrators install runtimes. Not PATH: it runs as root, and PATH is the caller's.
const DIRECTORIES: [&str; 5] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/bin",
];

/// An OCI runtime of the host: which one, and where its program is.
#[derive(Debug, Clone)]
pub struct RuntimeProgram {
    kind: Kind,
    path: PathBuf,
}

/// Which runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Crun,
    Runsc,
}

/// gVisor's kernel needs this much for itself; the limit holds for both together.
const RUNSC_MEMORY_BYTES_MIN: u64 = 128 << 20;
/// Processes that there are at once while crun starts the program.
const CRUN_PIDS: u32 = 3;
/// Threads of gVisor's kernel and its helpers, which count as processes of the run.
const RUNSC_PIDS: u32 = 128;

impl RuntimeProgram {
    /// This runtime where it is installed.
    pub fn installed(runtime: Runtime) -> Option<Self> {
        let paths = DIRECTORIES.map(|directory| Path::new(directory).join(runtime.as_str()));
        let is_program = |path: &PathBuf| {
            fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        };
        Self::at(runtime, paths.iter().find(|path| is_program(path))?)
    }

    /// The program of this runtime; none for our own steps.
    pub fn at(runtime: Runtime, path: &Path) -> Option<Self> {
        let kind = match runtime {
            Runtime::Own => return None,
            Runtime::Crun => Kind::Crun,
            Runtime::Runsc => Kind::Runsc,
        };
        Some(Self {
            kind,
            path: path.to_owned(),
        })
    }

    /// Whether a write to a pipe may take less than it was given.
    pub fn writes_in_parts(&self) -> bool {
        self.kind == Kind::Runsc
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it can do what is asked for.
    pub(crate) fn check(&self, spec: &Spec<'_>) -> Result<(), SandboxError> {
        if Caller::of_process().is_namespaced() {
            return Err(SandboxError::NotHostRoot {
                what: "runs by an OCI runtime",
            });
        }
        let refuse = |reason: &str| {
            Err(SandboxError::RuntimeRefuses {
                runtime: self.kind.as_str(),
                reason: reason.to_owned(),
            })
        };
        if spec.profile != Profile::Run {
            return refuse("it is for scripts, not for build steps");
        }
        if self.kind == Kind::Runsc {
            if *spec.network != Network::None {
                return refuse("its kernel has a network of its own, which is `none` here");
            }
            if spec.limits.memory_bytes < RUNSC_MEMORY_BYTES_MIN {
                return refuse("its own kernel needs 128 MiB of the run's memory at least");
            }
        }
        Ok(())
    }

    /// The limits of the cgroup: the runtime's own processes are in it too.
    pub(crate) fn cgroup_limits(&self, limits: &Limits) -> Limits {
        let pids = match self.kind {
            Kind::Crun => limits.pids.max(CRUN_PIDS),
            Kind::Runsc => limits.pids.saturating_add(RUNSC_PIDS),
        };
        Limits {
            pids,
            ..limits.clone()
        }
    }
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Crun => "crun",
            Self::Runsc => "runsc",
        }
    }
}
