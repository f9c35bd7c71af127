//! How an ordinary user's process becomes root of a user namespace, by itself and without a wrapper.
//!
//! ```text
//! process ──clone──> two helpers, outside still, wait
//!    │ unshare(NEWUSER)      │
//!    │ "go" ────────────────>│ exec newuidmap PID 0 OWN 1  1 SUBORDINATE COUNT …; the same for groups
//!    │<──── both ended ──────┘
//!    │ become user 0, unshare(NEWNS)
//! ```
//!
//! The ids of a namespace can be mapped to a subordinate range only from outside of it and only by a privileged program:
//! `newuidmap` and `newgidmap`, which hold the caller to what `/etc/subuid` and `/etc/subgid` give it. Podman and
//! Buildah fork and stay as a wrapper, or start themselves again; here the process unshares itself while helpers that it
//! left outside map its ids. So there is one process, with the pid, the terminal, the signals and the exit status that it
//! has always had.
//!
//! The mount namespace is the process's own too: mounting belongs to whoever owns that. Groups beside the first one stay,
//! so that files of a group can be read on; a run has none of them, except with one id alone, where nobody may change them.

mod subordinate;

use std::ffi::CString;
use std::fs;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use rustix::thread::{Gid, Uid};

use crate::caller;
use crate::syscall::{self, CStringArray, Child, CloneRequest};
use subordinate::Range;
pub use subordinate::{Lacking, remedy};

/// Why an ordinary user cannot become root of a namespace.
#[derive(Debug, thiserror::Error)]
pub enum BecomeRootError {
    /// The host forbids it.
    #[error("this host does not let ordinary users make user namespaces{}", told(*.because))]
    Forbidden {
        /// What says so.
        because: Option<Forbidden>,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Something else went wrong.
    #[error("cannot {operation} for a user namespace")]
    System {
        /// What was tried.
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
}

/// A setting of the host that forbids user namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forbidden {
    /// The sysctl.
    pub sysctl: &'static str,
    /// What it is.
    pub is: u32,
    /// What it should be.
    pub should_be: u32,
}

fn told(because: Option<Forbidden>) -> String {
    because.map_or_else(String::new, |it| format!(": `{}` is {}", it.sysctl, it.is))
}

impl BecomeRootError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let Self::Forbidden { because, .. } = self else {
            return None;
        };
        Some(match because {
            Some(it) => format!("sudo sysctl -w {}={}", it.sysctl, it.should_be),
            None => "inside a container, start that one with new namespaces allowed; else run cooper as root"
                .to_owned(),
        })
    }
}

/// What may forbid, the value that does, and one that does not.
const SYSCTLS: [(&str, &str, u32, u32); 3] = [
    (
        "kernel.unprivileged_userns_clone",
        "/proc/sys/kernel/unprivileged_userns_clone",
        0,
        1,
    ),
    (
        "user.max_user_namespaces",
        "/proc/sys/user/max_user_namespaces",
        0,
        10_000,
    ),
    (
        "kernel.apparmor_restrict_unprivileged_userns",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        1,
        0,
    ),
];

/// The setting of this host that forbids user namespaces to ordinary users, where there is one.
pub fn forbidden_by() -> Option<Forbidden> {
    SYSCTLS.iter().find_map(|(sysctl, path, forbids, should_be)| {
        let is = fs::read_to_string(path).ok()?.trim().parse().ok()?;
        (is == *forbids).then_some(Forbidden {
            sysctl,
            is,
            should_be: *should_be,
        })
    })
}

/// What this user lacks so that files can be given to every id that an image has; looked up, not tried.
pub fn lacking_ids() -> Vec<Lacking> {
    match Maps::of_user() {
        Ok(maps) => maps.lacking,
        Err(lacking) => lacking,
    }
}

/// Become root of a new user namespace and of a mount namespace that belongs to it, with the user's subordinate ids where
/// there are any, else with one id alone; what is lacking for all ids of an image comes back. The calling process has one
/// thread.
///
/// # Errors
/// When the host forbids it. A process that got an error halfway is good for nothing but ending.
pub fn become_root() -> Result<Vec<Lacking>, BecomeRootError> {
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let (helpers, mut lacking) = match Maps::of_user() {
        Ok(Maps { programs, lacking }) => (Some(Helpers::start(&programs)?), lacking),
        Err(lacking) => (None, lacking),
    };
    syscall::unshare(libc::CLONE_NEWUSER).map_err(|errno| refused("make a namespace", errno))?;
    if let Some(helpers) = helpers
        && let Err(refusal) = helpers.finish()?
    {
        lacking.push(refusal);
    }
    // What no helper has mapped: the own ids alone.
    if map_is_empty("/proc/self/uid_map") {
        write("/proc/self/uid_map", &format!("0 {uid} 1\n"))?;
    }
    if map_is_empty("/proc/self/gid_map") {
        write("/proc/self/setgroups", "deny")?;
        write("/proc/self/gid_map", &format!("0 {gid} 1\n"))?;
    }
    caller::forget_ranges();
    let root = || -> Result<(), Errno> {
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
        syscall::unshare(libc::CLONE_NEWNS)
    };
    root().map_err(|errno| refused("make mounts", errno))?;
    Ok(lacking)
}

fn refused(operation: &'static str, errno: Errno) -> BecomeRootError {
    let source = io::Error::from(errno);
    if matches!(errno, Errno::PERM | Errno::ACCESS | Errno::NOSPC | Errno::USERS) {
        let because = forbidden_by();
        return BecomeRootError::Forbidden { because, source };
    }
    BecomeRootError::System { operation, source }
}

fn failed<E: Into<io::Error>>(operation: &'static str) -> impl Fn(E) -> BecomeRootError {
    move |source| BecomeRootError::System {
        operation,
        source: source.into(),
    }
}

fn map_is_empty(path: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|map| map.trim().is_empty())
}

fn write(path: &'static str, text: &str) -> Result<(), BecomeRootError> {
    let file = fs::File::options().write(true).open(path);
    file.and_then(|mut file| io::Write::write_all(&mut file, text.as_bytes()))
        .map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => BecomeRootError::Forbidden {
                because: forbidden_by(),
                source,
            },
            _ => failed::<io::Error>("map ids")(source),
        })
}

/// The two programs with their arguments, and what the user lacks all the same.
struct Maps {
    programs: [MapProgram; 2],
    lacking: Vec<Lacking>,
}

struct MapProgram {
    name: &'static str,
    path: CString,
    argv: CStringArray,
}

/// Not where a variable says: these programs decide what the process may do.
const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

impl Maps {
    /// Those of the calling user, or all that it lacks.
    fn of_user() -> Result<Self, Vec<Lacking>> {
        let (uid, gid) = (
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw(),
        );
        let paths = program_path("newuidmap").and_then(|user| Ok([user, program_path("newgidmap")?]));
        let user = subordinate::user_name(uid);
        let (paths, user) = match (paths, user) {
            (Ok(paths), Ok(user)) => (paths, user),
            (paths, Ok(user)) => {
                let granted = subordinate::granted_ids(&user, uid);
                let lacking = granted.into_iter().filter_map(|granted| granted.lacking);
                return Err(paths.err().into_iter().chain(lacking).collect());
            }
            (paths, Err(unnamed)) => return Err(paths.err().into_iter().chain([unnamed]).collect()),
        };
        let granted = subordinate::granted_ids(&user, uid);
        // One of them without the other would help nobody.
        let is_useless = granted.iter().any(|granted| granted.ranges.is_empty());
        let [user_program, group_program] = paths;
        let [users, groups] = granted;
        let lacking = users.lacking.into_iter().chain(groups.lacking).collect();
        if is_useless {
            return Err(lacking);
        }
        let pid = std::process::id();
        let programs = [
            MapProgram::new("newuidmap", user_program, pid, uid, &users.ranges),
            MapProgram::new("newgidmap", group_program, pid, gid, &groups.ranges),
        ];
        Ok(Self { programs, lacking })
    }
}

fn program_path(name: &'static str) -> Result<CString, Lacking> {
    let paths = PROGRAM_DIRECTORIES
        .iter()
        .map(|directory| format!("{directory}/{name}"));
    let found = paths.into_iter().find(|path| Path::new(path).is_file());
    found
        .and_then(|path| CString::new(path).ok())
        .ok_or(Lacking::Program(name))
}

impl MapProgram {
    /// `newuidmap PID 0 OWN 1 1 FIRST COUNT …`
    fn new(name: &'static str, path: CString, pid: u32, own: u32, ranges: &[Range]) -> Self {
        let mut words = vec![pid, 0, own, 1];
        let mut next = 1_u32;
        for range in ranges {
            let count = range.count.min(u32::MAX - next);
            words.extend([next, range.first, count]);
            next += count;
        }
        let digits = words
            .iter()
            .filter_map(|word| CString::new(word.to_string()).ok());
        let argv = [path.clone()].into_iter().chain(digits).collect();
        Self {
            name,
            path,
            argv: CStringArray::new(argv),
        }
    }
}

/// The two helpers, waiting outside for the namespace.
struct Helpers {
    go: OwnedFd,
    said: OwnedFd,
    children: Vec<(&'static str, Child)>,
}

const SAID_BYTES_MAX: u64 = 4096;

impl Helpers {
    fn start(programs: &[MapProgram; 2]) -> Result<Self, BecomeRootError> {
        let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("make a pipe"));
        let ((wait, go), (said, say)) = (pipe()?, pipe()?);
        let environment = CStringArray::new(Vec::new());
        let request = CloneRequest {
            flags: 0,
            exit_signal: 0,
            cgroup: None,
        };
        let mut children = Vec::new();
        for program in programs {
            let child = syscall::clone_process(request, || help(program, &wait, &say, &environment));
            children.push((program.name, child.map_err(failed("start a helper"))?));
        }
        Ok(Self { go, said, children })
    }

    /// Let them map the ids; the refusal of the first that did not.
    fn finish(self) -> Result<Result<(), Lacking>, BecomeRootError> {
        for _ in &self.children {
            rustix::io::write(&self.go, b"0").map_err(failed("call a helper"))?;
        }
        let mut refused = None;
        for (name, child) in &self.children {
            let ended = syscall::reap(child.pidfd.as_fd()).map_err(failed("wait for a helper"))?;
            if (ended.code, ended.status) != (libc::CLD_EXITED, 0) {
                refused = refused.or(Some(*name));
            }
        }
        let Some(program) = refused else { return Ok(Ok(())) };
        let mut said = String::new();
        // Whatever they have said is there; what is not text stays out.
        let _ = fs::File::from(self.said)
            .take(SAID_BYTES_MAX)
            .read_to_string(&mut said);
        let text = said.lines().next().unwrap_or("it said nothing").trim().to_owned();
        Ok(Err(Lacking::Refused { program, text }))
    }
}

/// In the helper: wait for the word, then become the program. Whoever should give the word may have ended.
fn help(program: &MapProgram, wait: &OwnedFd, say: &OwnedFd, environment: &CStringArray) {
    let mut word = [0];
    let started = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).is_ok()
        && rustix::io::read(wait, &mut word) == Ok(1)
        && rustix::stdio::dup2_stderr(say).is_ok();
    if started {
        let _ = syscall::execve(&program.path, &program.argv, environment);
    }
    syscall::exit_now(125);
}
