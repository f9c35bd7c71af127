//! The bundle: `config.json` of the OCI runtime specification 1.0 on a file system in memory.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::{Kind, RuntimeProgram};
use crate::bpf::Instruction;
use crate::error::SandboxError;
use crate::memory::tmpfs_fd;
use crate::outcome::End;
use crate::prepare::Prepared;
use crate::spec::Spec;
use crate::syscall::CStringArray;

/// What the stage starts, and the directory that it starts it in.
pub(crate) struct Bundle {
    pub(crate) kind: Kind,
    /// The program of the runtime.
    pub(crate) program: CString,
    pub(crate) argv: CStringArray,
    pub(crate) env: CStringArray,
    /// Becomes `/run` in the stage's mounts.
    directory: OwnedFd,
}

/// Room for the runtime's state and log, beside what the configuration takes.
const STATE_BYTES: u64 = 16 << 20;
const STATE_FILES: u64 = 1024;
/// Of the runtime's log this much is told.
const LOG_BYTES_MAX: u64 = 64 << 10;
const SAID_BYTES_MAX: usize = 500;

impl Bundle {
    /// Write what the program gets, and how the runtime is called.
    pub(crate) fn make(
        runtime: &RuntimeProgram,
        spec: &Spec<'_>,
        prepared: &Prepared<'_>,
    ) -> Result<Self, SandboxError> {
        let kind = runtime.kind();
        let config = config(kind, spec, prepared)?.to_string();
        let bytes = STATE_BYTES + 4 * config.len() as u64;
        let directory = tmpfs_fd(bytes, STATE_FILES, 0, 0o700)?;
        fill(directory.as_fd(), &config).map_err(|source| SandboxError::Supervise {
            operation: "write the bundle",
            source,
        })?;
        let c_string = |text: &OsStr| CString::new(text.as_bytes()).unwrap_or_default();
        let strings =
            |texts: &[&str]| CStringArray::new(texts.iter().map(|text| c_string(OsStr::new(text))).collect());
        Ok(Self {
            kind,
            program: c_string(runtime.path().as_os_str()),
            argv: strings(arguments(kind)),
            env: strings(&["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "XDG_RUNTIME_DIR=/run"]),
            directory,
        })
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The number of the directory's descriptor.
    pub(crate) fn number(&self) -> RawFd {
        self.directory.as_raw_fd()
    }

    /// Whether the runtime stays for as long as the program runs, and its status is what is known of it.
    pub(crate) fn stays(&self) -> bool {
        self.kind == Kind::Runsc
    }

    /// How the program ended, by the status of a runtime that stays: a signal is told as a shell does.
    pub(crate) fn judge(&self, status: i32, used_up: UsedUp) -> Result<End, SandboxError> {
        /// Of a program in Go that gives up.
        const GAVE_UP: i32 = 2;
        const FAILED: i32 = 128;
        const KILLED: i32 = FAILED + libc::SIGKILL;
        if used_up.memory && (status == FAILED || status == KILLED || self.said().is_some()) {
            return Ok(End::MemoryLimit);
        }
        if used_up.processes && status == GAVE_UP {
            return Err(SandboxError::RuntimeStarved {
                runtime: self.kind.as_str(),
            });
        }
        if status == FAILED && self.said().is_some() {
            return Err(self.failed());
        }
        Ok(End::Exited(u8::try_from(status & 0xff).unwrap_or(u8::MAX)))
    }

    /// It did not start the program.
    pub(crate) fn failed(&self) -> SandboxError {
        SandboxError::RuntimeFailed {
            runtime: self.kind.as_str(),
            said: self.said(),
        }
    }

    /// The last thing in the runtime's log, which the program cannot write to.
    fn said(&self) -> Option<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let log = rustix::fs::openat(&self.directory, "log", flags, Mode::empty()).ok()?;
        let mut text = Vec::new();
        File::from(log).take(LOG_BYTES_MAX).read_to_end(&mut text).ok()?;
        last_error(&String::from_utf8_lossy(&text))
    }
}

/// The limits of its cgroup that a run has met.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UsedUp {
    pub(crate) memory: bool,
    pub(crate) processes: bool,
}

/// The last line that tells an error; runsc writes JSON, and crun text.
fn last_error(log: &str) -> Option<String> {
    let line = log.lines().rev().find(|line| !line.trim().is_empty())?;
    let message = serde_json::from_str::<Value>(line)
        .ok()
        .and_then(|line| Some(line.get("msg")?.as_str()?.to_owned()))
        .unwrap_or_else(|| line.to_owned());
    let printable = message.chars().map(|c| if c.is_control() { ' ' } else { c });
    Some(printable.take(SAID_BYTES_MAX).collect())
}

fn fill(directory: BorrowedFd<'_>, config: &str) -> std::io::Result<()> {
    for name in ["rootfs", "state"] {
        rustix::fs::mkdirat(directory, name, Mode::from_raw_mode(0o755))?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, "config.json", flags, Mode::from_raw_mode(0o600))?;
    File::from(file).write_all(config.as_bytes())
}

/// What the stage executes. Nothing of the run is in it: other users of the host see command lines.
fn arguments(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Crun => &[
            "crun",
            "--cgroup-manager=disabled",
            "--root=/run/state",
            "--log=/run/log",
            "run",
            "--detach",
            "--bundle=/run",
            "--pid-file=/run/pid",
            "cooper",
        ],
        Kind::Runsc => &[
            "runsc",
            "--root=/run/state",
            "--log=/run/log",
            "--log-format=json",
            "--ignore-cgroups",
            "--network=none",
            "--platform=systrap",
            // What is written goes to our file systems, which have sizes, and come back where that was asked for.
            "--overlay2=none",
            "--host-uds=none",
            "run",
            "--bundle=/run",
            "cooper",
        ],
    }
}

fn config(kind: Kind, spec: &Spec<'_>, prepared: &Prepared<'_>) -> Result<Value, SandboxError> {
    find_program(spec, prepared)?;
    let args: Vec<&str> = spec
        .argv
        .iter()
        .map(|argument| text_of(kind, argument))
        .collect::<Result<_, _>>()?;
    let env: Vec<String> = spec
        .env
        .iter()
        .map(|(name, value)| Ok(format!("{}={}", text_of(kind, name)?, text_of(kind, value)?)))
        .collect::<Result<_, SandboxError>>()?;
    let nothing: [&str; 0] = [];
    let mut config = json!({
        "ociVersion": "1.0.0",
        "root": { "path": "rootfs", "readonly": false },
        "process": {
            "terminal": false,
            "user": { "uid": prepared.ids.uid, "gid": prepared.ids.gid, "umask": 0o022 },
            "args": args,
            "env": env,
            "cwd": text_of(kind, spec.cwd.as_os_str())?,
            "capabilities": {
                "bounding": nothing, "effective": nothing, "inheritable": nothing, "permitted": nothing,
                "ambient": nothing,
            },
            "noNewPrivileges": true,
            "oomScoreAdj": 1000,
            "rlimits": rlimits(prepared),
        },
        // All of them stand below the root already.
        "mounts": [],
        "linux": {
            "uidMappings": mappings(&prepared.ids.uid_map),
            "gidMappings": mappings(&prepared.ids.gid_map),
            "namespaces": [{ "type": "mount" }, { "type": "user" }],
            "maskedPaths": nothing,
            "readonlyPaths": nothing,
        },
    });
    match kind {
        Kind::Crun => {
            let filter =
                json!({ "run.oci.seccomp_bpf_data": STANDARD.encode(filter_bytes(&prepared.filter)) });
            set(&mut config, "annotations", filter);
        }
        Kind::Runsc => {
            set(&mut config, "hostname", json!(spec.hostname));
            set(&mut config, "mounts", runsc_mounts(spec));
            let kinds = ["mount", "user", "pid", "ipc", "uts", "network"];
            let namespaces: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
            if let Some(linux) = config.get_mut("linux") {
                set(linux, "namespaces", Value::Array(namespaces));
            }
        }
    }
    Ok(config)
}

fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// What gVisor's kernel has itself; what it does not mount, it takes from below the root.
fn runsc_mounts(spec: &Spec<'_>) -> Value {
    let shm = spec.limits.tmp_bytes.min(64 << 20);
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "tmpfs",
            "options": ["mode=1777", format!("size={shm}"), "nosuid", "nodev", "noexec"],
        },
        {
            "destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["mode=1777", format!("size={}", spec.limits.tmp_bytes), "nosuid", "nodev"],
        },
    ])
}

fn rlimits(prepared: &Prepared<'_>) -> Vec<Value> {
    let limits = [
        ("RLIMIT_NOFILE", Some(prepared.open_files)),
        ("RLIMIT_AS", prepared.address_space_bytes),
        ("RLIMIT_NPROC", prepared.processes),
    ];
    limits
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| json!({ "type": name, "soft": value, "hard": value })))
        .collect()
}

/// The lines of a map: inside, outside, length.
fn mappings(map: &CString) -> Vec<Value> {
    let text = map.to_string_lossy();
    text.lines()
        .filter_map(|line| {
            let mut numbers = line.split(' ').map(|word| word.parse::<u32>().ok());
            let [inside, outside, count] = [numbers.next()??, numbers.next()??, numbers.next()??];
            Some(json!({ "containerID": inside, "hostID": outside, "size": count }))
        })
        .collect()
}

/// The filter as the kernel has it: `struct sock_filter[]`.
fn filter_bytes(filter: &[Instruction]) -> Vec<u8> {
    let instruction = |one: &Instruction| {
        let [low, high] = one.code.to_ne_bytes();
        let [a, b, c, d] = one.operand.to_ne_bytes();
        [low, high, one.if_true, one.if_false, a, b, c, d]
    };
    filter.iter().flat_map(instruction).collect()
}

fn text_of(kind: Kind, text: &OsStr) -> Result<&str, SandboxError> {
    text.to_str().ok_or_else(|| SandboxError::RuntimeRefuses {
        runtime: kind.as_str(),
        reason: "an argument, a variable or a path is not UTF-8".to_owned(),
    })
}

/// Runtimes tell each in its own words that there is no such program.
fn find_program(spec: &Spec<'_>, prepared: &Prepared<'_>) -> Result<(), SandboxError> {
    let mut reason = Errno::NOENT;
    for path in &prepared.program.candidates {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let in_root = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = rustix::fs::openat2(&prepared.root, path.as_c_str(), flags, Mode::empty(), in_root);
        let executable = found.and_then(|file| {
            let state = rustix::fs::statat(&file, c"", AtFlags::EMPTY_PATH)?;
            Ok(state.st_mode & 0o111 != 0 && state.st_mode & libc::S_IFMT == libc::S_IFREG)
        });
        match executable {
            Ok(true) => return Ok(()),
            Ok(false) => reason = Errno::ACCESS,
            Err(_) => {}
        }
    }
    Err(SandboxError::Program {
        program: spec.argv.first().cloned().unwrap_or_default(),
        source: reason.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_a_log_is_told() {
        assert_eq!(last_error(""), None);
        assert_eq!(
            last_error("first\nno such\u{1b}[1m file\n\n").as_deref(),
            Some("no such [1m file")
        );
        let json = "{\"msg\":\"creating container: no\",\"level\":\"error\"}\n";
        assert_eq!(last_error(json).as_deref(), Some("creating container: no"));
        assert_eq!(last_error(&"x".repeat(9_000)).unwrap().len(), SAID_BYTES_MAX);
    }

    #[test]
    fn maps_and_filters_are_those_of_our_own_runs() {
        let map = CString::new("0 0 1000\n1000 7 1\n").unwrap();
        let second = json!({ "containerID": 1000, "hostID": 7, "size": 1 });
        assert_eq!(mappings(&map).get(1), Some(&second));
        let one = Instruction {
            code: 0x15,
            if_true: 1,
            if_false: 2,
            operand: 0x0403_0201,
        };
        assert_eq!(filter_bytes(&[one]), [0x15, 0, 1, 2, 1, 2, 3, 4]);
    }
}
