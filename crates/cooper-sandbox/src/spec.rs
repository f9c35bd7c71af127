//! What to run and how it is contained.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::caller::Caller;
use crate::grants::Grants;
use crate::network::{GatewayProgram, Network};

/// One run: the whole of what the program gets. Nothing is taken from the caller's environment.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// The file system that the program sees as `/`.
    pub root: Root<'a>,
    /// The program and its arguments. A name without `/` is searched in the `PATH` of `env`.
    pub argv: &'a [OsString],
    /// The complete environment.
    pub env: &'a [(OsString, OsString)],
    /// The working directory, absolute inside the root.
    pub cwd: &'a Path,
    /// Who the program is, in the container's numbers.
    pub user: User,
    /// How much it may do.
    pub profile: Profile,
    /// Whom it can reach.
    pub network: &'a Network,
    /// The program that is the gateway to whom an allow-list in `network` names.
    pub gateway: Option<&'a GatewayProgram>,
    /// How much it may use.
    pub limits: Limits,
    /// Whether a limit that this host cannot enforce stops the run.
    pub enforcement: Enforcement,
    /// Standard input.
    pub stdin: Stdin,
    /// Standard output and error.
    pub stdio: Stdio,
    /// Files put below `/run/cooper` or in place of the root's, owned by root.
    pub files: &'a [InjectedFile],
    /// What it gets beside.
    pub grants: Grants<'a>,
    /// The host name that it sees, 1 to 64 bytes.
    pub hostname: &'a str,
}

/// The file system that the program sees as `/`. It has the directories `proc`, `dev`, `run` and `tmp`, and for a
/// [`Profile::Run`] also `work`; in a root that can be written they are made where missing.
#[derive(Debug, Clone, Copy)]
pub enum Root<'a> {
    /// Directories stacked read-only.
    ReadOnly {
        /// The top one first.
        layers: &'a [PathBuf],
    },
    /// Directories stacked, and one above them that takes the writes.
    Writable {
        /// The top one first.
        layers: &'a [PathBuf],
        /// Takes the writes, in the form of overlayfs: whiteouts are character devices 0/0.
        upper: &'a Path,
        /// An empty directory on the same file system as `upper`, for overlayfs itself.
        work: &'a Path,
    },
    /// Directories stacked, with what is written above them in memory, gone with the run. What belongs to root in them
    /// is shown as the run's user's, who may then change it.
    WritableInMemory {
        /// The top one first.
        layers: &'a [PathBuf],
        /// Bound on what is written.
        bytes: u64,
    },
    /// One directory, written in place.
    WritableDir(&'a Path),
}

/// A user and a group, in the container's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// How much the program may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A script that nobody trusts: no capabilities, a non-root user who exists only in this run, a writable `/work`
    /// (bounded by `scratch_bytes`) and `/tmp`, everything else read-only.
    Run,
    /// A build step: root in a user namespace, with the capabilities that maintainer scripts need. Ids 0 to 65535
    /// are those of the host, so ownership on disk is true. `/run` (bounded by `scratch_bytes`) and `/tmp` are
    /// private. What fails here although a script is root: making device nodes, mounting, setting the clock or the
    /// host name, `chown` to ids above 65535, tracing.
    Build,
}

/// How much a run may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Memory with all files in `/tmp`, `/work` and `/dev/shm`; there is no swap.
    pub memory_bytes: u64,
    /// Processes and threads, 1 at least.
    pub pids: u32,
    /// Open file descriptors of each process, 16 at least; fewer where the caller's own hard limit is lower and it
    /// may not raise it.
    pub open_files: u64,
    /// Processor time per second in milliseconds: 1000 is one CPU.
    pub cpu_millis: u32,
    /// From start to end; when it has passed, everything is killed.
    pub wall: Option<Duration>,
    /// `/tmp`, and again as much for `/dev/shm`, there 64 MiB at most.
    pub tmp_bytes: u64,
    /// `/work` in a [`Profile::Run`], `/run` in a [`Profile::Build`].
    pub scratch_bytes: u64,
}

/// What happens when this host cannot enforce the memory or process limit by a cgroup.
/// The stricter is the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Enforcement {
    /// Nothing runs.
    #[default]
    Required,
    /// It runs with what there is; [`crate::Outcome::enforced`] says what that was.
    BestEffort,
}

impl Enforcement {
    /// Its word in the setting `run.enforcement`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best-effort",
        }
    }

    /// What a build step has: the host's root can have cgroups and must, an ordinary user mostly has none. What stands in
    /// for them bounds each process's memory and the number of processes.
    pub fn of_builds() -> Self {
        match Caller::of_process() {
            Caller::HostRoot | Caller::Ordinary => Self::Required,
            Caller::NamespaceRoot { .. } => Self::BestEffort,
        }
    }
}

/// Standard input.
#[derive(Debug, Clone)]
pub enum Stdin {
    /// The caller's.
    Inherit,
    /// Empty.
    Null,
    /// These bytes.
    Bytes(Vec<u8>),
}

/// Standard output and error.
#[derive(Debug, Clone)]
pub enum Stdio {
    /// The caller's. A pipe becomes the property of the run's user, so that it can open `/dev/stdout`. The run then stands in for the caller's process: SIGINT, SIGTERM, SIGHUP, SIGQUIT,
    /// SIGUSR1, SIGUSR2 and SIGWINCH that reach the calling thread are passed on to the program.
    Inherit,
    /// As [`Self::Inherit`] where they are no terminals. Of a terminal the program gets text alone through a pipe: every
    /// control character but line ends and tabs, and every escape sequence, is taken out of its output. A terminal as
    /// standard input it can read and not write; its modes are set back at the end.
    Cleaned,
    /// Collected; what goes beyond the bounds is read and dropped: of standard output the end, of standard error the
    /// middle.
    Capture {
        /// Bytes kept of standard output.
        stdout_max: u64,
        /// Bytes kept of standard error.
        stderr_max: u64,
    },
}

/// A file that appears in the container.
#[derive(Debug, Clone)]
pub struct InjectedFile {
    /// Below `/run/cooper`; elsewhere it covers the file of that path, where the root has one.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}
