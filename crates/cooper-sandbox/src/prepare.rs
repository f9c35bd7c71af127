//! Everything that needs memory, done before the fork: afterwards nothing is allocated.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use rustix::process::Resource;
use rustix::thread::CapabilitySet;

use crate::bpf::Instruction;
use crate::caller::{self, Caller, IMAGE_IDS, Ranges};
use crate::error::SandboxError;
use crate::grants::Secret;
use crate::ids::{self, IdSpace};
use crate::network::Network;
use crate::policy;
use crate::program::BUILD_CAPABILITIES;
use crate::root;
use crate::spec::{InjectedFile, Limits, Profile, Spec};
use crate::streams::Stream;
use crate::syscall::CStringArray;

mod attached;

/// Where injected files appear.
pub(crate) const INJECTED_DIR: &str = "/run/cooper";
/// Where secrets appear.
pub(crate) const SECRETS_DIR: &str = "/run/secrets";
const HOSTNAME_BYTES_MAX: usize = 64;
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// As many as the container's processes hold while they make it.
const OPEN_FILES_MIN: u64 = 16;
const CPU_MILLIS_MIN: u32 = 10;
/// Less kills the program before it is there.
const MEMORY_BYTES_MIN: u64 = 4 << 20;
/// Bytes of one page of memory.
const PAGE: u64 = 4096;

/// What the container's processes work from.
pub(crate) struct Prepared<'a> {
    pub(crate) caller: Caller,
    pub(crate) profile: Profile,
    pub(crate) network: &'a Network,
    pub(crate) root: OwnedFd,
    pub(crate) hostname: &'a [u8],
    pub(crate) files: Vec<PreparedFile<'a>>,
    pub(crate) attached: Vec<PreparedMount<'a>>,
    pub(crate) mounts: MountOptions,
    pub(crate) ids: Ids,
    pub(crate) program: Program,
    pub(crate) filter: Vec<Instruction>,
    /// What the program keeps, in its own user namespace.
    pub(crate) capabilities: CapabilitySet,
    pub(crate) open_files: u64,
    /// For each process, where no cgroup bounds the whole.
    pub(crate) address_space_bytes: Option<u64>,
    /// For the run's own user, where no cgroup bounds it.
    pub(crate) processes: Option<u64>,
}

/// Who makes the container, and the ids that there are.
pub(crate) struct Here {
    pub(crate) caller: Caller,
    ranges: Ranges,
}

impl Here {
    /// Read from the kernel.
    pub(crate) fn of_process() -> Self {
        Self {
            caller: Caller::of_process(),
            ranges: caller::ranges(),
        }
    }
}

/// A file below [`INJECTED_DIR`], or one that covers another.
pub(crate) struct PreparedFile<'a> {
    /// The directories above it, outermost first, absolute.
    pub(crate) directories: Vec<CString>,
    pub(crate) path: CString,
    /// The file that it covers.
    pub(crate) over: Option<CString>,
    pub(crate) bytes: &'a [u8],
    pub(crate) mode: u32,
    /// It belongs to the program's user, and to root otherwise.
    pub(crate) of_user: bool,
}

/// A detached mount that is attached in the container.
pub(crate) struct PreparedMount<'a> {
    pub(crate) mount: BorrowedFd<'a>,
    pub(crate) target: CString,
    /// The mount point is made, below `/run`.
    pub(crate) make: bool,
}

/// The options of the file systems in memory.
pub(crate) struct MountOptions {
    pub(crate) tmp: CString,
    pub(crate) shm: CString,
    /// Bounded by the injected files in a run, by `scratch_bytes` in a build.
    pub(crate) run: CString,
    /// `/work`, in a run.
    pub(crate) scratch: Option<CString>,
}

/// Who the program is: inside, and in the maps to the host.
pub(crate) struct Ids {
    /// An id that is a run's: see [`IdSpace::next`]; the run's user namespace belongs to it.
    pub(crate) owner: u32,
    /// What the user is to the caller.
    pub(crate) host: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) uid_map: CString,
    pub(crate) gid_map: CString,
}

/// What is executed.
pub(crate) struct Program {
    /// The paths to try, in order.
    pub(crate) candidates: Vec<CString>,
    pub(crate) argv: CStringArray,
    pub(crate) env: CStringArray,
    pub(crate) cwd: CString,
}

impl Prepared<'_> {
    /// Check the specification and prepare what it asks for.
    pub(crate) fn new<'a>(spec: &Spec<'a>) -> Result<Prepared<'a>, SandboxError> {
        let caller = Caller::of_process();
        let space = IdSpace::of(caller);
        check(spec, &space)?;
        check_ids(spec.profile, caller)?;
        let owner = space.next();
        let points = attached::points(spec.grants.mounts);
        let root = root::detached(spec.root, spec.profile, &points, user_on_host(spec, owner))?;
        let here = Here::of_process();
        let mut prepared = Self::on_root(spec, root, owner, &here)?;
        prepared.filter =
            policy::filter(spec.profile).ok_or_else(|| fault("the system-call filter is too long"))?;
        Ok(prepared)
    }

    /// The same on a root that was made, for a run whose user is `owner` on the host; it has no filter yet.
    pub(crate) fn on_root<'a>(
        spec: &Spec<'a>,
        root: OwnedFd,
        owner: u32,
        here: &Here,
    ) -> Result<Prepared<'a>, SandboxError> {
        let caller = here.caller;
        let space = IdSpace::of(caller);
        check(spec, &space)?;
        let host = user_on_host(spec, owner);
        let injected = spec.files.iter().enumerate().map(prepared_file);
        let secrets = spec.grants.secrets.iter().map(prepared_secret);
        let files: Vec<PreparedFile<'_>> = injected.chain(secrets).collect::<Result<_, _>>()?;
        // One that covers another file is reached there, whatever is mounted where it lies.
        let injects = files.iter().any(|file| file.over.is_none());
        let attached = attached::prepare(spec.grants.mounts, injects, host)?;
        let [users, groups] = &here.ranges;
        let map = |inside, ranges: &[(u32, u32)]| {
            let lines = ids::lines(&space.ranges(spec.profile, inside, owner), ranges);
            c_string("a map", OsStr::new(&lines))
        };
        Ok(Prepared {
            caller,
            profile: spec.profile,
            network: spec.network,
            root,
            attached,
            hostname: spec.hostname.as_bytes(),
            mounts: mount_options(spec, &files, host)?,
            files,
            ids: Ids {
                owner,
                host,
                uid: spec.user.uid,
                gid: spec.user.gid,
                uid_map: map(spec.user.uid, users)?,
                gid_map: map(spec.user.gid, groups)?,
            },
            program: program(spec)?,
            filter: Vec::new(),
            capabilities: match spec.profile {
                Profile::Run => CapabilitySet::empty(),
                Profile::Build => BUILD_CAPABILITIES,
            },
            open_files: spec.limits.open_files,
            address_space_bytes: None,
            processes: None,
        })
    }

    /// The descriptors that the container's processes need, by number, ascending.
    pub(crate) fn kept_numbers(
        &self,
        streams: &[Stream; 3],
        status: &OwnedFd,
        beside: impl IntoIterator<Item = RawFd>,
    ) -> Vec<RawFd> {
        let mut kept: Vec<RawFd> = streams.each_ref().map(Stream::number).to_vec();
        kept.extend([status.as_raw_fd(), self.root_number()]);
        kept.extend(beside);
        kept.extend(self.attached.iter().map(|attached| attached.mount.as_raw_fd()));
        kept.sort_unstable();
        kept
    }

    /// The number of the root's descriptor.
    pub(crate) fn root_number(&self) -> RawFd {
        self.root.as_raw_fd()
    }
}

/// What the program's user is on the host, where the user namespace belongs to `owner`.
fn user_on_host(spec: &Spec<'_>, owner: u32) -> u32 {
    match spec.profile {
        Profile::Run => owner,
        Profile::Build => spec.user.uid,
    }
}

fn fault(reason: impl Into<String>) -> SandboxError {
    SandboxError::Spec {
        reason: reason.into(),
    }
}

fn check(spec: &Spec<'_>, space: &IdSpace) -> Result<(), SandboxError> {
    if spec.argv.first().is_none_or(|program| program.is_empty()) {
        return Err(fault("there is no program"));
    }
    if spec.profile == Profile::Run && (spec.user.uid == 0 || spec.user.gid == 0) {
        return Err(fault("a run is never root: its user and group are not 0"));
    }
    let users_end = space.users_end();
    if spec.user.uid >= users_end || spec.user.gid >= users_end {
        return Err(fault(format!("user and group ids are below {users_end}")));
    }
    if spec.hostname.is_empty() || spec.hostname.len() > HOSTNAME_BYTES_MAX {
        return Err(fault("a host name has 1 to 64 bytes"));
    }
    if !spec.cwd.is_absolute() {
        return Err(fault("the working directory is not an absolute path"));
    }
    if spec.network.rules().is_some() && spec.gateway.is_none() {
        return Err(fault(
            "there is no program for the gateway to the hosts that it may reach",
        ));
    }
    check_limits(&spec.limits, spec.profile)
}

/// A build step owns files of every id.
fn check_ids(profile: Profile, caller: Caller) -> Result<(), SandboxError> {
    match caller {
        Caller::NamespaceRoot { ids } if profile == Profile::Build && ids < IMAGE_IDS => {
            Err(SandboxError::TooFewIds { ids })
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_limits(limits: &Limits, profile: Profile) -> Result<(), SandboxError> {
    let too_little = [
        (limits.pids == 0, "one process"),
        (limits.open_files < OPEN_FILES_MIN, "16 open files"),
        (limits.cpu_millis < CPU_MILLIS_MIN, "10 ms of CPU a second"),
        (limits.memory_bytes < MEMORY_BYTES_MIN, "4 MiB of memory"),
    ];
    if let Some((_, least)) = too_little.iter().find(|(too_little, _)| *too_little) {
        return Err(fault(format!(
            "a program needs {least} at least: raise the limit"
        )));
    }
    match open_files_max(limits.open_files) {
        Some(most) if profile == Profile::Run => Err(fault(format!(
            "a program can have {most} open files at most here (`ulimit -Hn`, `sysctl fs.nr_open`): lower the limit"
        ))),
        // A build step's are not asked for, and it has what there is.
        _ => Ok(()),
    }
}

/// How many files a program may have open at most, where so many are too many: who may raise bounds has the kernel's own.
fn open_files_max(wanted: u64) -> Option<u64> {
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum;
    let hard = hard.filter(|hard| wanted > *hard)?;
    let own = rustix::thread::capabilities(None).ok()?.effective;
    let may_raise = Caller::of_process() == Caller::HostRoot && own.contains(CapabilitySet::SYS_RESOURCE);
    let kernels = || {
        let text = std::fs::read_to_string("/proc/sys/fs/nr_open").ok()?;
        text.trim().parse::<u64>().ok()
    };
    let most = if may_raise {
        kernels().unwrap_or(hard)
    } else {
        hard
    };
    (wanted > most).then_some(most)
}

/// `/dev/shm` is as large as `/tmp`, and 64 MiB at most.
fn shm_bytes(limits: &Limits) -> u64 {
    limits.tmp_bytes.min(64 << 20)
}

fn c_string(role: &str, text: &OsStr) -> Result<CString, SandboxError> {
    CString::new(text.as_bytes()).map_err(|_| fault(format!("{role} holds a zero byte")))
}

fn program(spec: &Spec<'_>) -> Result<Program, SandboxError> {
    let argv = spec
        .argv
        .iter()
        .map(|text| c_string("an argument", text))
        .collect::<Result<_, _>>()?;
    let variable = |(name, value): &(OsString, OsString)| {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(fault(format!(
                "`{}` is no name for a variable",
                name.to_string_lossy()
            )));
        }
        c_string("a variable", &[name.as_os_str(), value].join(OsStr::new("=")))
    };
    let env = spec.env.iter().map(variable).collect::<Result<_, _>>()?;
    Ok(Program {
        candidates: candidates(spec)?,
        argv: CStringArray::new(argv),
        env: CStringArray::new(env),
        cwd: c_string("the working directory", spec.cwd.as_os_str())?,
    })
}

/// The paths that a name without `/` may mean, as `execvp(3)` searches them.
fn candidates(spec: &Spec<'_>) -> Result<Vec<CString>, SandboxError> {
    let name = spec.argv.first().map(OsString::as_os_str).unwrap_or_default();
    if name.as_bytes().contains(&b'/') {
        return Ok(vec![c_string("the program", name)?]);
    }
    let path = spec.env.iter().find(|(variable, _)| variable == "PATH");
    let path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value);
    let directories = path
        .as_bytes()
        .split(|byte| *byte == b':')
        .filter(|directory| directory.starts_with(b"/"));
    directories
        .map(|directory| {
            c_string(
                "the program",
                Path::new(OsStr::from_bytes(directory)).join(name).as_os_str(),
            )
        })
        .collect()
}

fn prepared_file((index, file): (usize, &InjectedFile)) -> Result<PreparedFile<'_>, SandboxError> {
    let wrong = || {
        fault(format!(
            "`{}` is not a plain path below {INJECTED_DIR} or below /",
            file.path.display()
        ))
    };
    let covers = !file.path.starts_with(INJECTED_DIR);
    let root = if covers { "/" } else { INJECTED_DIR };
    let below = file.path.strip_prefix(root).map_err(|_| wrong())?;
    let plain = below
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    if !plain || below.file_name().is_none() {
        return Err(wrong());
    }
    if covers {
        let place = Path::new(INJECTED_DIR).join(format!(".over-{index}"));
        return Ok(PreparedFile {
            directories: Vec::new(),
            path: c_string("a path", place.as_os_str())?,
            over: Some(c_string("a path", file.path.as_os_str())?),
            bytes: &file.bytes,
            mode: file.mode & 0o777,
            of_user: false,
        });
    }
    let mut directories: Vec<&Path> = below
        .ancestors()
        .skip(1)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    directories.reverse();
    let absolute = |path: &Path| c_string("a path", Path::new(INJECTED_DIR).join(path).as_os_str());
    Ok(PreparedFile {
        directories: directories.into_iter().map(absolute).collect::<Result<_, _>>()?,
        path: absolute(below)?,
        over: None,
        bytes: &file.bytes,
        mode: file.mode & 0o777,
        of_user: false,
    })
}

fn prepared_secret(secret: &Secret) -> Result<PreparedFile<'_>, SandboxError> {
    let name = Path::new(secret.name());
    let plain = name.file_name() == Some(secret.name()) && !secret.name().is_empty();
    if !plain {
        return Err(fault("the name of a secret is not the name of a file"));
    }
    Ok(PreparedFile {
        directories: vec![c_string("a path", OsStr::new(SECRETS_DIR))?],
        path: c_string("a path", Path::new(SECRETS_DIR).join(name).as_os_str())?,
        over: None,
        bytes: secret.bytes(),
        mode: 0o400,
        of_user: true,
    })
}

fn mount_options(
    spec: &Spec<'_>,
    files: &[PreparedFile<'_>],
    host_id: u32,
) -> Result<MountOptions, SandboxError> {
    // Each file in whole pages, and a page for each directory and file.
    let injected: u64 = files
        .iter()
        .map(|file| ((file.bytes.len() as u64).div_ceil(PAGE) + file.directories.len() as u64 + 1) * PAGE)
        .sum();
    let build = spec.profile == Profile::Build;
    let free = if build {
        spec.limits.scratch_bytes
    } else {
        16 * PAGE
    };
    let run_bytes = injected.saturating_add(free);
    let scratch = format!(
        "mode=0755,uid={host_id},gid={host_id},{}",
        size(spec.limits.scratch_bytes)
    );
    let text = |options: String| c_string("an option", OsStr::new(&options));
    Ok(MountOptions {
        tmp: text(format!("mode=1777,{}", size(spec.limits.tmp_bytes)))?,
        shm: text(format!("mode=1777,{}", size(shm_bytes(&spec.limits))))?,
        run: text(format!("mode=0755,{}", size(run_bytes)))?,
        scratch: if build { None } else { Some(text(scratch)?) },
    })
}

/// Bounds on bytes and on files: one file for each page.
fn size(bytes: u64) -> String {
    let pages = bytes.div_ceil(PAGE).max(1);
    format!(
        "size={},nr_inodes={}",
        pages.saturating_mul(PAGE),
        (pages + 64).min(1 << 20)
    )
}

impl Ids {
    /// Map what is mapped already to the same numbers: for a namespace below one with these maps.
    pub(crate) fn map_again(&mut self) -> Result<(), SandboxError> {
        for map in [&mut self.uid_map, &mut self.gid_map] {
            let text = ids::again(&map.to_string_lossy());
            *map = c_string("a map", OsStr::new(&text))?;
        }
        Ok(())
    }

    /// Map these too, to the same numbers.
    pub(crate) fn add_mapped(&mut self, range: ids::Range) -> Result<(), SandboxError> {
        let ids::Range { first, count } = range;
        for map in [&mut self.uid_map, &mut self.gid_map] {
            let text = format!("{}{first} {first} {count}\n", map.to_string_lossy());
            *map = c_string("a map", OsStr::new(&text))?;
        }
        Ok(())
    }
}
