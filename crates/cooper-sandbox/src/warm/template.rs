//! The template: the process that has the imports, and the socket through which children are asked of it.

use std::ffi::{OsStr, OsString};
use std::io::{IoSlice, Read as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use rustix::thread::CapabilitySet;

use super::fallback;
use super::given::{POINTS, RESULT_PATH, RUN_DIRECTORIES, clone_of};
use super::measure::proportional_bytes;
use super::place;
use super::way_out::WayOut;
use super::wire::TemplateSettings;
use crate::caller::Caller;
use crate::cgroup::{Cgroup, Hierarchies};
use crate::error::{SandboxError, supervising};
use crate::grants::{Attached, Grants};
use crate::ids::Range;
use crate::init::{Failure, Job};
use crate::memory::in_own_mounts;
use crate::mounts::{self, Common};
use crate::network::{HandOut, Network};
use crate::outcome::Limit;
use crate::policy;
use crate::prepare::{Here, Prepared};
use crate::root;
use crate::spec::{Enforcement, InjectedFile, Profile, Root, Spec, Stdin, Stdio, User};
use crate::status::Word;
use crate::streams::{Capture, Keeps, Stream};
use crate::syscall::{self, CloneRequest};

/// It has a page at most.
const ROLLUP_BYTES_MAX: u64 = 64 << 10;
/// As many children there are at once of one user.
pub(super) const CHILDREN_OF_ONE_USER: usize = 30;
const PROGRAM: &str = include_str!("template.py");
const PROGRAM_PATH: &str = "/run/cooper/template.py";
const REHEARSAL_PATH: &str = "/run/cooper/rehearsal.py";
/// What is kept of what the imports write.
const LOG_BYTES_MAX: u64 = 64 << 10;
/// As many as a message to the template may bring.
const DESCRIPTORS_MAX: usize = 16;

/// A started template.
pub(super) struct Template {
    /// In the keeper's pid namespace; 0 until it is known.
    pub(super) pid: i32,
    /// The process that makes its place.
    pub(super) place: i32,
    /// To and from it.
    pub(super) socket: OwnedFd,
    /// What its place says.
    pub(super) status: OwnedFd,
    /// What its imports write.
    pub(super) log: Capture,
    pub(super) cgroup: Cgroup,
    /// Its user namespace, once it is there.
    pub(super) namespace: Option<OwnedFd>,
    /// A mount namespace with what all its children have in common: each gets a copy with what is its own beside.
    pub(super) common: OwnedFd,
}

/// What templates and children are made from.
pub(super) struct Pattern {
    pub(super) settings: TemplateSettings,
    pub(super) hierarchies: Hierarchies,
    pub(super) here: Here,
    /// The stacked layers, mounted nowhere.
    pub(super) root: OwnedFd,
    /// The processes of the keeper's pid namespace.
    pub(super) processes: OwnedFd,
    /// What a child's place is checked with; nothing is executed there.
    pub(super) argv: Vec<OsString>,
    /// The template's user on the host.
    pub(super) user: u32,
    /// Those of the children.
    pub(super) children: Range,
    /// Those of their gateways, one for each of them where there are rules.
    gateways: Range,
    /// What names mean where there are rules.
    name_files: Vec<InjectedFile>,
}

impl Pattern {
    /// Stack the layers.
    pub(super) fn new(settings: TemplateSettings, ids: Range) -> Result<Self, SandboxError> {
        if settings.network == Network::Host {
            return Err(SandboxError::Spec {
                reason: "warm runs are never in the host's network".to_owned(),
            });
        }
        let root = Root::ReadOnly {
            layers: &settings.layers,
        };
        let root = root::detached(root, Profile::Run, &POINTS.map(OsStr::new), ids.first)?;
        let rules = settings.network.rules();
        // An ordinary user has one id for all that runs.
        let rest = if ids.count > 1 { ids.rest() } else { ids };
        let halves = rules.is_some() && ids.count > 1;
        let count = if halves { rest.count / 2 } else { rest.count };
        let (children, gateways) = rest.split(count);
        let name_files = rules.map(|rules| rules.name_files(&settings.hostname));
        Ok(Self {
            hierarchies: Hierarchies::of_host(),
            here: Here::of_process(),
            root,
            processes: own_processes().map_err(supervising("mount /proc"))?,
            argv: vec![settings.python.clone().into()],
            user: ids.first,
            children,
            gateways,
            name_files: name_files.unwrap_or_default(),
            settings,
        })
    }

    /// Start the gateway of the child that is this user, where there are rules.
    pub(super) fn way_out(&self, child: u32) -> Result<Option<(WayOut, HandOut)>, SandboxError> {
        let Some(rules) = self.settings.network.rules() else {
            return Ok(None);
        };
        let user = if self.gateways.count > 0 {
            self.gateways.first + (child - self.children.first)
        } else {
            child
        };
        WayOut::start(rules, user).map(Some)
    }

    /// Whether template, children and gateways are one user, since there is no more than that.
    pub(super) fn shares_user(&self) -> bool {
        self.user == self.children.first
    }

    /// The users of children that are at work or wait at once.
    pub(super) fn users(&self) -> Vec<u32> {
        let Range { first, count } = self.children;
        if self.shares_user() {
            vec![first; CHILDREN_OF_ONE_USER]
        } else {
            (first..first + count).collect()
        }
    }

    /// Whether what is made ahead in this group gives way to what runs: it has a share of the processors of its own then. Only the
    /// host's root can end that again.
    pub(super) fn gives_way(&self, cgroup: &Cgroup) -> bool {
        self.here.caller == Caller::HostRoot && cgroup.holds(Limit::Cpu)
    }

    pub(super) fn enforcement(&self) -> Enforcement {
        if self.settings.required {
            Enforcement::Required
        } else {
            Enforcement::BestEffort
        }
    }

    /// A namespace of a process in the keeper's pid namespace.
    pub(super) fn namespace(&self, pid: i32, name: &str) -> Result<OwnedFd, SandboxError> {
        let path = format!("{pid}/ns/{name}");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.processes, path, flags, Mode::empty())
            .map_err(supervising("open a namespace"))
    }

    /// The processor time, in ticks of the clock, of the processes that this one of the keeper's pid namespace has waited for
    /// (`proc_pid_stat(5)`: `cutime` and `cstime`).
    pub(super) fn children_ticks(&self, pid: i32) -> Option<u64> {
        const AFTER_NAME: usize = 13;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.processes, format!("{pid}/stat"), flags, Mode::empty());
        let mut bytes = [0; 1024];
        let length = rustix::io::read(file.ok()?, &mut bytes).ok()?;
        let text = str::from_utf8(bytes.get(..length)?).ok()?;
        let (_, fields) = text.rsplit_once(')')?;
        let ticks = fields.split_whitespace().skip(AFTER_NAME).take(2);
        ticks.map(|field| field.parse::<u64>().ok()).sum()
    }

    /// A mount namespace for the child that is this user alone, where it has a root of its own because it may write there.
    pub(super) fn own_common(&self, user: u32) -> Result<Option<OwnedFd>, SandboxError> {
        if !self.settings.writable {
            return Ok(None);
        }
        let limits = &self.settings.limits;
        let root = Root::WritableInMemory {
            layers: &self.settings.layers,
            // Filling it must fail, not kill.
            bytes: limits.scratch_bytes.min(limits.memory_bytes / 2),
        };
        let root = root::detached(root, Profile::Run, &POINTS.map(OsStr::new), user)?;
        common(self, root).map(Some)
    }

    /// A container like that of a run, on this root. `files` are put into `/run/cooper`, or cover others. There is no
    /// network: who shall have some is given listeners.
    pub(super) fn prepared<'a>(
        &'a self,
        argv: &'a [OsString],
        env: &'a [(OsString, OsString)],
        files: &'a [InjectedFile],
        mounts: &'a [Attached<'a>],
        root: OwnedFd,
        owner: u32,
    ) -> Result<Prepared<'a>, SandboxError> {
        let (uid, gid) = self.settings.user;
        let spec = Spec {
            root: Root::ReadOnly {
                layers: &self.settings.layers,
            },
            argv,
            env,
            cwd: &self.settings.cwd,
            user: User { uid, gid },
            profile: Profile::Run,
            network: &Network::None,
            gateway: None,
            limits: self.settings.limits.limits(),
            enforcement: self.enforcement(),
            stdin: Stdin::Null,
            stdio: Stdio::Capture {
                stdout_max: 0,
                stderr_max: 0,
            },
            files,
            grants: Grants { mounts, secrets: &[] },
            hostname: &self.settings.hostname,
        };
        Prepared::on_root(&spec, root, owner, &self.here)
    }
}

impl Pattern {
    /// What a child's place is made from.
    pub(super) fn prepared_child<'a>(
        &'a self,
        mounts: &'a [Attached<'a>],
        user: u32,
    ) -> Result<Prepared<'a>, SandboxError> {
        // The place has a root already; a copy of this one would take long to let go of.
        let root = rustix::io::fcntl_dupfd_cloexec(&self.root, 3).map_err(supervising("share the root"))?;
        let mut prepared = self.prepared(&self.argv, &[], &[], mounts, root, user)?;
        if self.shares_user() {
            prepared.ids.map_again()?;
        }
        Ok(prepared)
    }
}

/// What this process of the keeper's pid namespace, which is in this group, has of the host's memory.
pub(super) fn held_bytes(pattern: &Pattern, cgroup: &Cgroup, pid: i32) -> u64 {
    let proportional = || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let path = format!("{pid}/smaps_rollup");
        let file = rustix::fs::openat(&pattern.processes, path, flags, Mode::empty()).ok()?;
        let mut text = String::new();
        let bounded = std::fs::File::from(file).take(ROLLUP_BYTES_MAX);
        { bounded }.read_to_string(&mut text).ok()?;
        proportional_bytes(&text)
    };
    cgroup
        .working_set_bytes()
        .or_else(proportional)
        .unwrap_or_default()
}

/// A mount namespace with what children have in common, made by a thread that enters it and ends.
fn common(pattern: &Pattern, root: OwnedFd) -> Result<OwnedFd, SandboxError> {
    let prepared = pattern.prepared(&pattern.argv, &[], &pattern.name_files, &[], root, pattern.user)?;
    let content = Common {
        caller: pattern.here.caller,
        root: prepared.root.as_fd(),
        run: &prepared.mounts.run,
        directories: &RUN_DIRECTORIES,
        files: &prepared.files,
    };
    in_own_mounts(|| {
        mounts::make_common(&content).map_err(|Failure(step, errno)| {
            let source = errno.into();
            SandboxError::Setup { step, source }
        })?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, c"/proc/thread-self/ns/mnt", flags, Mode::empty())
            .map_err(supervising("open a namespace"))
    })
}

/// `/proc` of this pid namespace, mounted nowhere.
fn own_processes() -> Result<OwnedFd, Errno> {
    let fs = rustix::mount::fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_create(&fs)?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)
}

impl Template {
    /// Start one. It is not ready until it says so.
    pub(super) fn start(pattern: &Pattern) -> Result<Self, SandboxError> {
        let settings = &pattern.settings;
        let cgroup = Cgroup::create(
            &pattern.hierarchies,
            &settings.limits.limits(),
            pattern.enforcement(),
        )?;
        let (argv, mut files) = command_line(settings, pattern.gives_way(&cgroup))?;
        // What a library reads when it is imported is what there is when it is used.
        files.extend_from_slice(&pattern.name_files);
        let env: Vec<(OsString, OsString)> = settings
            .env
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .chain([("COOPER_RESULT".into(), RESULT_PATH.into())])
            .collect();
        let root = clone_of(pattern.root.as_fd(), "")?;
        let mut prepared = pattern.prepared(&argv, &env, &files, &[], root, pattern.user)?;
        prepared.filter = policy::template_filter().ok_or_else(too_long)?;
        // With it, and with what its user owns, it may have its children born in their own pid namespaces.
        prepared.capabilities = CapabilitySet::SYS_ADMIN;
        if pattern.shares_user() {
            // What it starts counts with what its children start.
            fallback::bound_template(pattern, &mut prepared, &cgroup);
        } else {
            prepared.ids.add_mapped(pattern.children)?;
        }
        let (socket, inside) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(supervising("make a socket"))?;
        let (log, stream) = Capture::open(LOG_BYTES_MAX, Keeps::FirstAndLast, pattern.user)?;
        let Stream::Own(output) = stream else {
            return Err(supervising("make a pipe")(Errno::BADF));
        };
        let error = output.try_clone().map_err(|source| SandboxError::Supervise {
            operation: "make a pipe",
            source,
        })?;
        let streams = [Stream::Own(inside), Stream::Own(output), Stream::Own(error)];
        let (status, writer) = status_pipe()?;
        let task_files = cgroup.task_files();
        let kept = prepared.kept_numbers(&streams, &writer, None);
        let job = Job {
            prepared: &prepared,
            task_files: &task_files,
            streams: &streams,
            status: &writer,
            kept: &kept,
            listeners: None,
        };
        let request = CloneRequest {
            flags: place::template_flags(),
            exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
            cgroup: cgroup.unified(),
        };
        let place = syscall::clone_process(request, || place::make_template(&job));
        let place = place.map_err(|errno| SandboxError::Clone { source: errno.into() })?;
        drop(writer);
        Ok(Self {
            pid: 0,
            place: place.pid,
            socket,
            status,
            log,
            cgroup,
            namespace: None,
            common: common(pattern, clone_of(pattern.root.as_fd(), "")?)?,
        })
    }

    /// Read what its place says; an error when that failed.
    pub(super) fn hear(&mut self, pattern: &Pattern) -> Result<(), SandboxError> {
        for word in read_words(&self.status) {
            match word {
                Word::Failed(step, errno) => {
                    return Err(SandboxError::Setup {
                        step,
                        source: errno.into(),
                    });
                }
                Word::Started { pid } => {
                    self.pid = pid;
                    self.namespace = Some(pattern.namespace(pid, "user")?);
                }
                Word::Ended { .. } | Word::Ready => {}
            }
        }
        Ok(())
    }

    /// Ask for a child: it gets these descriptors.
    pub(super) fn ask(&self, descriptors: &[BorrowedFd<'_>]) -> Result<(), SandboxError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(supervising("ask for a child")(Errno::NOBUFS));
        }
        let message = [IoSlice::new(b"F")];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::sendmsg(&self.socket, &message, &mut ancillary, flags)
            .map(drop)
            .map_err(supervising("ask for a child"))
    }
}

/// The words that are there.
pub(super) fn read_words(pipe: &OwnedFd) -> Vec<Word> {
    let mut bytes = [0; 120];
    let length = rustix::io::read(pipe, &mut bytes).unwrap_or(0);
    Word::parse_all(bytes.get(..length).unwrap_or_default())
}

/// A pipe for words; the reader does not block.
pub(super) fn status_pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(supervising("make a pipe"))?;
    rustix::io::ioctl_fionbio(&reader, true).map_err(supervising("make a pipe"))?;
    Ok((reader, writer))
}

fn too_long() -> SandboxError {
    SandboxError::Spec {
        reason: "the system-call filter is too long".to_owned(),
    }
}

/// The template's command line and files.
fn command_line(
    settings: &TemplateSettings,
    gives_way: bool,
) -> Result<(Vec<OsString>, Vec<InjectedFile>), SandboxError> {
    let deny = policy::child_filter().ok_or_else(too_long)?;
    let deny: Vec<_> = deny
        .iter()
        .map(|instruction| {
            let (if_true, if_false) = (instruction.if_true, instruction.if_false);
            (instruction.code, if_true, if_false, instruction.operand)
        })
        .collect();
    let rehearsal = settings.rehearsal.as_ref().map(|_| REHEARSAL_PATH);
    let (user, group) = settings.user;
    let told = serde_json::json!({
        "preload": settings.preload,
        "rehearse": rehearsal,
        "deny": deny,
        "gives_way": gives_way,
        "user": user,
        "group": group,
    });
    let argv = [settings.python.clone(), PROGRAM_PATH.to_owned(), told.to_string()];
    let file = |path: &str, text: &str| InjectedFile {
        path: path.into(),
        bytes: text.as_bytes().to_vec(),
        mode: 0o444,
    };
    let mut files = vec![file(PROGRAM_PATH, PROGRAM)];
    files.extend(settings.rehearsal.as_ref().map(|text| file(REHEARSAL_PATH, text)));
    Ok((argv.map(OsString::from).to_vec(), files))
}
