//! Why nothing was run.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::outcome::Limit;

/// Why a run did not take place, or its end is not known. What the program itself does is no error.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The caller is an ordinary user.
    #[error("making a sandbox needs root of the host or of a user namespace")]
    NotRoot,
    /// The caller is root of a user namespace, and that is not enough.
    #[error("{what} need root of the host, for now")]
    NotHostRoot {
        /// What does.
        what: &'static str,
    },
    /// The caller is root of a user namespace with one id.
    #[error(
        "warm runs need a user id for what runs beside the caller's own, and this user namespace has one id alone"
    )]
    OneIdAlone,
    /// The caller is root of a namespace with too few ids.
    #[error("a build step needs 65536 user and group ids, and this user namespace has {ids}")]
    TooFewIds {
        /// How many there are.
        ids: u32,
    },
    /// The specification cannot be carried out on any host.
    #[error("cannot run this: {reason}")]
    Spec {
        /// What is wrong with it.
        reason: String,
    },
    /// A directory of the root is not usable.
    #[error("cannot {operation} `{}`", path.display())]
    Root {
        /// What was tried.
        operation: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The layers could not be stacked.
    #[error("cannot stack {layers} directories as one file system{}", detail.as_deref().map(|text| format!(" ({text})")).unwrap_or_default())]
    Overlay {
        /// How many.
        layers: usize,
        /// What the kernel says beside the number.
        detail: Option<String>,
        /// Why.
        source: io::Error,
    },
    /// A control group could not be made or set.
    #[error("cannot {operation} the cgroup file `{}`", path.display())]
    Cgroup {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This host has no controller for a limit that must be held.
    #[error("this host cannot enforce the {} limit: no cgroup controller for it is mounted", limit.as_str())]
    NoController {
        /// The limit.
        limit: Limit,
    },
    /// The container's first process could not be started.
    #[error("cannot start a process in new namespaces")]
    Clone {
        /// Why.
        source: io::Error,
    },
    /// A step inside the container failed.
    #[error("cannot {step} in the sandbox")]
    Setup {
        /// The step.
        step: Step,
        /// Why.
        source: io::Error,
    },
    /// The container is ready, the program is not there or not executable.
    #[error("cannot execute `{}`", program.display())]
    Program {
        /// As it was asked for.
        program: OsString,
        /// Why.
        source: io::Error,
    },
    /// The runtime cannot do what is asked for.
    #[error("{runtime} cannot run this: {reason}")]
    RuntimeRefuses {
        /// Its name.
        runtime: &'static str,
        /// Why.
        reason: String,
    },
    /// The runtime did not start the program.
    #[error("{runtime} could not start the program{}", said.as_deref().map(|said| format!(": {said}")).unwrap_or_default())]
    RuntimeFailed {
        /// Its name.
        runtime: &'static str,
        /// The last thing in its log.
        said: Option<String>,
    },
    /// The runtime ended because it got no thread for itself.
    #[error(
        "{runtime} ended with the program in it: the run has used up its processes, and its kernel's threads count with them"
    )]
    RuntimeStarved {
        /// Its name.
        runtime: &'static str,
    },
    /// There is no gateway to the hosts that the run may reach.
    #[error("cannot {operation}")]
    Gateway {
        /// What was tried.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The supervisor's own work failed; everything in the container was killed.
    #[error("cannot {operation} while supervising the run")]
    Supervise {
        /// What.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The caller's terminal could not be put behind a pipe.
    #[error("cannot keep the terminal away from the program")]
    Terminal {
        /// Why.
        source: io::Error,
    },
    /// The container's first process was killed from outside.
    #[error("the sandbox was killed from outside before its program ended")]
    KilledFromOutside,
}

impl SandboxError {
    /// With its cause, in one line.
    pub(crate) fn with_cause(&self) -> String {
        let cause = std::error::Error::source(self).map(|cause| format!(": {cause}"));
        format!("{self}{}", cause.unwrap_or_default())
    }

    /// What to do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotRoot | Self::NotHostRoot { .. } => "run it as root, for example with sudo",
            Self::Root { operation, .. } if *operation == crate::memory::SHOW_LAYER => {
                "that takes root and a file system that can show other owners (ext4, xfs, btrfs, tmpfs); run without `--writable`"
            }
            Self::Root { operation, .. } if *operation == crate::memory::SHOW_FILE => {
                "let others read the file: `chmod o+r FILE`"
            }
            Self::TooFewIds { .. } => "give the user 65535 subordinate ids in /etc/subuid and /etc/subgid",
            Self::Setup {
                step: Step::MountProc,
                source,
            } if is_permission(source) => {
                "the /proc of this host is covered in part, so that an ordinary user may mount none: run cooper as root, or, inside a container, start that one with `--security-opt unmask=ALL` or `systempaths=unconfined`"
            }
            Self::Root { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "`cooper fsck` says whether the store is whole"
            }
            Self::Cgroup { source, .. } if is_permission(source) => {
                "mount the cgroup file system writable; inside a container that needs `--privileged`, or `--cgroupns=private` with it writable; `run.enforcement = \"best-effort\"` (COOPER_RUN_ENFORCEMENT) runs with the limits that there are"
            }
            Self::NoController { .. } => {
                "mount the controllers: `mount -t cgroup2 none /sys/fs/cgroup`; `run.enforcement = \"best-effort\"` (COOPER_RUN_ENFORCEMENT) runs with the limits that there are"
            }
            Self::Clone { source } if is_permission(source) => {
                "inside a container this needs `--privileged`: new namespaces are not allowed here"
            }
            Self::Clone { source } if source.raw_os_error() == Some(libc::ENOSPC) => {
                "raise the number of namespaces: `sysctl user.max_user_namespaces user.max_net_namespaces`"
            }
            Self::Setup {
                step: Step::CloneProgram,
                source,
            } if is_permission(source) || source.raw_os_error() == Some(libc::ENOSPC) => {
                "allow user namespaces: `sysctl -w user.max_user_namespaces=10000`"
            }
            Self::RuntimeFailed { said: Some(said), .. } if said.contains("unknown platform") => {
                "this gVisor is older than its platform `systrap`: install one of June 2023 or newer; or run it without the runtime: `--runtime own`"
            }
            Self::RuntimeStarved { .. } => {
                "a script that needs so many gets more with `--pids`; without the runtime (`--runtime own`) it is refused more and goes on"
            }
            Self::RuntimeRefuses { .. } | Self::RuntimeFailed { .. } => {
                "run it without the runtime: `--runtime own`"
            }
            Self::Terminal { .. } => {
                "redirect the streams to files, or give the program the terminal itself with `--raw`"
            }
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "the image has no such program; an image gets programs with `packages=`"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

/// Names what the supervisor, or a keeper of warm runs, was doing.
pub(crate) fn supervising(operation: &'static str) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError::Supervise {
        operation,
        source: errno.into(),
    }
}

fn is_permission(source: &io::Error) -> bool {
    source.kind() == io::ErrorKind::PermissionDenied || source.raw_os_error() == Some(libc::EROFS)
}

macro_rules! steps {
    ($($name:ident => $text:literal,)*) => {
        /// A step that a process of the container does before the program runs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step { $(#[doc = $text] $name,)* }

        impl Step {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        impl fmt::Display for Step {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}
steps! {
    TieToParent => "tie the sandbox's life to the caller's",
    JoinCgroup => "join the cgroup",
    HideCgroup => "enter a cgroup namespace",
    PrivateMounts => "make mounts private",
    AttachRoot => "attach the root file system",
    PivotRoot => "enter the root file system",
    DetachHost => "detach the host's file systems",
    TakeDevices => "take the host's devices along",
    MountProc => "mount /proc",
    MaskProc => "mask parts of /proc",
    MountDev => "mount /dev",
    MakeDevices => "make the nodes of /dev",
    MountPts => "mount /dev/pts",
    MountShm => "mount /dev/shm",
    MountTmp => "mount /tmp",
    MountRun => "mount /run",
    MountScratch => "mount the scratch directory",
    InjectFile => "put a file into the container",
    AttachMount => "attach a mount to the container",
    Loopback => "bring up the loopback interface",
    MakeListeners => "make the listeners for the hosts that it may reach",
    Hostname => "set the host name",
    SetRlimits => "set resource limits",
    CloneProgram => "make a user namespace",
    MapIds => "map user and group ids",
    SealProc => "make /proc read-only",
    DropInitPrivileges => "give up privileges of the first process",
    AwaitMap => "wait for the map of ids",
    SetSession => "make a session",
    SetStreams => "connect the standard streams",
    SetIds => "set user and group ids",
    DropCapabilities => "drop capabilities",
    NoNewPrivileges => "forbid new privileges",
    ChangeDirectory => "enter the working directory",
    LoadFilter => "load the system-call filter",
    Execute => "execute the program",
    PlaceBundle => "put the runtime's bundle in its place",
    ExecuteRuntime => "execute the runtime",
    StartRuntime => "let the runtime start the program",
}
