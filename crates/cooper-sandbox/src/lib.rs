//! Run one process tree contained: a fresh container for each run, or for one build step.
//!
//! ```text
//! Spec ──check──> Prepared ──clone──> init (pid 1) ──clone──> program (pid 2)
//!                    │                 │ mounts, limits         │ user namespace, no capabilities,
//!                 cgroup               │ forwards signals       │ seccomp, exec
//!                    └──── supervisor: time limit, output, status ────> Outcome
//! ```
//!
//! # Who holds what
//!
//! - The **supervisor** is the caller's own thread inside [`run`]. It makes the root file system and the cgroup,
//!   starts the container, and waits for it. It holds a pidfd of init, so a time limit cannot hit a stranger.
//! - **Init** is a fork of the caller: pid 1 of a new pid namespace, real root in the host's user namespace, so that
//!   it may mount. When the program has started, it has given up every capability but `CAP_KILL` and every file
//!   descriptor but the status pipe. When it exits, the kernel kills everything else in the container. It dies with
//!   the thread that called [`run`].
//! - The **program** is cloned by init into a user namespace of its own as the very last step. That namespace owns
//!   none of the other namespaces: even with every capability in it, the program could not mount, or configure the
//!   network. In a [`Profile::Run`] it has none, and its user id is one that nobody else on the host has. The
//!   namespace belongs to such an id in both profiles, so that what the kernel counts by user is not taken from root.
//!
//! - The **gateway**, where [`Spec::network`] is an allow-list, is a process of its own in the host's network namespace, as
//!   nobody: it serves the sockets that init has made in the run's network namespace. See the module `network`.
//!
//! # What the walls are
//!
//! Namespaces (user, mount, pid, ipc, uts, net, cgroup); a root that is read-only or an overlay; a `/proc` that is
//! read-only and shows only what the program may trace; no capabilities and no way to gain any (`no_new_privs`,
//! `nosuid`, an empty bounding set); a system-call list ([`Profile`]) that denies what is not on it; cgroup limits
//! on memory, processes and CPU; sizes for every place in memory that can be written.
//!
//! What a run gets beside ([`Grants`]) comes as detached mounts, attached in its own mount namespace; what it leaves is
//! read from such a mount by descriptor ([`collect()`]) when everything in it has ended, and nothing of it is believed.
//!
//! # What they do not hold
//!
//! The disk below a writable root: a build step may fill it. The caller's streams, where they are inherited: a program
//! may set modes of a terminal and write to it what it likes (not with [`Stdio::Cleaned`]), and in a
//! [`Profile::Build`] it owns a stream's file as root does. Locks on an input: a program may hold `flock` on what it can
//! read. The kernel itself: who runs programs of mutually hostile owners wants a kernel of its own for each, such as
//! gVisor's.
//!
//! # Without the host's root
//!
//! An ordinary user's process calls [`become_root`] first and is root of a user namespace then ([`Caller`]); all of the
//! above is the same, one level below. What differs:
//!
//! - The run's id is one of the user's subordinate ids, beyond those that images use. With one id alone it is the
//!   caller's own: the pid, mount and user namespaces still keep it from the caller's processes.
//! - `/dev` has the host's null, zero, full, random, urandom and tty, since no device nodes can be made, and `/proc` is
//!   mounted while the host's is still in sight: the kernel wants to see that nothing of it is covered.
//! - Overlays keep their marks in `user.overlay.*` attributes.
//! - cgroups only where the user has been given some (version 2 delegates them, and the group's own files then say so).
//!   Else resource limits stand in: of memory for each process, of processes for the whole, since those of a namespace
//!   are counted there; nothing for processor time. [`Outcome::enforced`] says which.
//! - Files of the host cannot be shown with another owner, so that a root cannot be made writable in memory.
//!
//! This crate knows nothing of images, packages or stores: it gets directories. All of its `unsafe` is in one file of
//! system calls.

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("cooper-sandbox runs on Linux on amd64 only");

mod bpf;
mod caller;
mod cgroup;
mod check;
mod clean;
mod collect;
mod error;
mod grants;
mod ids;
mod init;
mod interrupt;
mod memory;
mod mounts;
mod network;
mod of_host;
mod outcome;
mod owners;
mod policy;
mod prepare;
mod program;
mod root;
mod runtime;
mod self_test;
mod show;
mod signals;
mod spec;
mod status;
mod streams;
mod supervise;
mod survey;
mod syscall;
mod user_namespace;
pub mod warm;

pub use caller::{Caller, IMAGE_IDS};
pub use check::{Check, State};
pub use clean::Cleaner;
pub use collect::{
    CollectError, CollectLimits, Collected, CollectedFile, FileFound, REFUSED_MAX, Refusal, Refused, collect,
    read_file,
};
pub use error::{SandboxError, Step};
pub use grants::{Attached, Grants, Owner, Secret};
pub use interrupt::before_interrupt;
pub use memory::{input_fd, points_fd, tmpfs_fd};
pub use network::{
    Closed, ConnectRefusal, Gateway, GatewayProgram, HandOut, Host, HostName, Names, Network, NetworkError,
    NetworkReport, RefusedConnections, RefusedName, Reply, Rule, RuleError, RuleFault, Rules, SessionId,
    serve_gateway,
};
pub use outcome::{CpuCounter, End, Enforced, Enforcer, Limit, Outcome};
pub use root::{overlay_fd, stack_fd};
pub use runtime::{Runtime, RuntimeProgram};
pub use self_test::{SelfTestError, inside, self_test};
pub use spec::{Enforcement, InjectedFile, Limits, Profile, Root, Spec, Stdin, Stdio, User};
pub use supervise::{preflight, run, run_by};
pub use survey::survey;
pub use user_namespace::{
    BecomeRootError, Forbidden, Lacking, become_root, forbidden_by, lacking_ids, remedy,
};
