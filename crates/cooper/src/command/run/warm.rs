//! `cooper run --warm`: the run goes to a runner of the caller's own, which is started where there is none and ends when
//! nobody has asked it for a while.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cooper_core::Digest;
use cooperage::runner::protocol::{Content, RunnerReply, RunnerStatus};
use cooperage::{Cleaner, FullReference, Limits, Network, Program};
use serde_json::{Map, Value, json};

use super::usage;
use crate::failure::{Code, Exit, Failure};
use crate::render::unit;
use crate::shell::Shell;

/// Nothing could be had from a runner.
const NO_RUNNER: Code = Code::Of("runner");
/// A runner that nobody asks ends after this time.
const IDLE: &str = "10m";
/// A runner that was just started listens within this time.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// One run, as the flags say it.
pub(super) struct WarmRun<'a> {
    pub(super) image: &'a FullReference,
    /// The store's folder and the settings file, where flags name them.
    pub(super) globals: Vec<OsString>,
    pub(super) store: &'a Path,
    pub(super) preload: &'a [String],
    pub(super) program: Program,
    pub(super) args: &'a [OsString],
    pub(super) env: &'a [(OsString, OsString)],
    pub(super) network: Network,
    pub(super) limits: &'a Limits,
    pub(super) writable: bool,
    /// Space in `/output`.
    pub(super) output_bytes: u64,
    pub(super) files: Map<String, Value>,
    pub(super) secrets: Map<String, Value>,
    pub(super) raw: bool,
}

/// What a run gets, by name.
pub(super) struct WarmFiles {
    pub(super) files: Map<String, Value>,
    pub(super) secrets: Map<String, Value>,
}

/// How it ended, and all that is told of it.
pub(super) struct WarmRan {
    pub(super) exit: Exit,
    pub(super) reply: RunnerReply,
}

impl WarmRun<'_> {
    /// Run it to the end and show what it wrote.
    pub(super) fn run(self, shell: &Shell) -> Result<WarmRan, Failure> {
        if self.network == Network::Host {
            return Err(usage(
                "a warm run is never in the host's network: name whom it may reach, `--network allow:HOST[:PORT],…`, or \
                 leave `--warm` out",
            ));
        }
        let request = self.request()?;
        let reply = self.ask(&request)?;
        show(&reply, self.raw)?;
        let exit = told(&reply, self.limits, shell)?;
        Ok(WarmRan { exit, reply })
    }

    fn request(&self) -> Result<Value, Failure> {
        let (script, name, stdin) = match &self.program {
            Program::Script { file_name, bytes } => (bytes.clone(), file_name.to_str(), true),
            Program::Stdin => (read_stdin()?, Some("stdin.py"), false),
            Program::Code(code) => (code.as_encoded_bytes().to_vec(), Some("code.py"), true),
            Program::Command(_) => {
                return Err(usage(
                    "a program of the image has no template: leave `--warm` out",
                ));
            }
        };
        let script = String::from_utf8(script).map_err(|_| usage("a warm script is UTF-8"))?;
        let has_input = stdin && !io::stdin().is_terminal();
        let stdin = if has_input { read_stdin()? } else { Vec::new() };
        let text = |text: &OsString| {
            let text = text.to_str().map(ToOwned::to_owned);
            text.ok_or_else(|| usage("the arguments and variables of a warm run are UTF-8"))
        };
        let args = self.args.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let mut env = Map::new();
        for (name, value) in self.env {
            env.insert(text(name)?, text(value)?.into());
        }
        let wall = self
            .limits
            .wall
            .map(|wall| u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Ok(json!({
            "id": 1,
            "script": script,
            "script_name": name,
            "args": args,
            "env": env,
            "stdin": Content(stdin),
            "files": self.files,
            "secrets": self.secrets,
            "timeout_ms": wall,
            "network": self.network.to_string(),
            "writable": self.writable,
        }))
    }

    fn ask(&self, request: &Value) -> Result<RunnerReply, Failure> {
        let failed = |error: &io::Error| without_warm(format!("the runner does not answer: {error}"));
        let stream = self.connect()?;
        let mut writer = stream.try_clone().map_err(|error| failed(&error))?;
        writeln!(writer, "{request}").map_err(|error| failed(&error))?;
        let mut line = String::new();
        let read = BufReader::new(stream)
            .read_line(&mut line)
            .map_err(|error| failed(&error))?;
        if read == 0 {
            return Err(failed(&io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_str(&line).map_err(|error| failed(&error.into()))
    }

    /// The runner that was started with the same settings; a new one where none listens.
    fn connect(&self) -> Result<UnixStream, Failure> {
        let socket = self.socket()?;
        if let Ok(stream) = own_peer(&socket) {
            return Ok(stream);
        }
        let log = socket.with_extension("log");
        let mut runner = self.start(&socket, &log)?;
        let started = Instant::now();
        loop {
            if let Ok(stream) = own_peer(&socket) {
                return Ok(stream);
            }
            let ended = runner.try_wait().ok().flatten();
            if ended.is_some() || started.elapsed() > LISTENS_WITHIN {
                // Another one may have been quicker to listen.
                if let Ok(stream) = own_peer(&socket) {
                    return Ok(stream);
                }
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let text = text.trim().trim_start_matches("error: ").to_owned();
                return Err(without_warm(format!("the runner did not start: {text}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn start(&self, socket: &Path, log: &Path) -> Result<Child, Failure> {
        let failed = |error: io::Error| without_warm(format!("cannot start a runner: {error}"));
        let log = std::fs::File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(log)
            .map_err(failed)?;
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args(&self.globals);
        if !self.globals.iter().any(|flag| flag == "--store") {
            // An ordinary user is root of a namespace by now, whose default would be another one.
            command.arg("--store").arg(self.store);
        }
        command.arg("runner").arg(self.image.to_string());
        command.arg("--listen").arg(socket).args(["--idle", IDLE]);
        if !self.preload.is_empty() {
            command.args(["--preload", &self.preload.join(",")]);
        }
        command.args(self.limit_flags());
        // Not of the terminal's group: an interrupt ends this run, not the runner.
        command.process_group(0).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().map_err(failed)
    }

    fn limit_flags(&self) -> Vec<String> {
        let Limits {
            memory_bytes,
            pids,
            open_files,
            cpu_millis,
            tmp_bytes,
            scratch_bytes,
            ..
        } = self.limits;
        let cpus = format!("{}.{:03}", cpu_millis / 1000, cpu_millis % 1000);
        vec![
            format!("--memory={memory_bytes}"),
            format!("--pids={pids}"),
            format!("--files={open_files}"),
            format!("--cpus={cpus}"),
            format!("--tmp={tmp_bytes}"),
            format!("--scratch={scratch_bytes}"),
            format!("--output-size={}", self.output_bytes),
        ]
    }

    /// Named after everything that the runner is started with, in a folder of the caller's alone.
    fn socket(&self) -> Result<PathBuf, Failure> {
        let folder = own_folder()?;
        let program = std::env::current_exe().ok();
        let made = program
            .as_ref()
            .and_then(|program| std::fs::metadata(program).ok());
        let identity = json!([
            self.store,
            self.image.to_string(),
            self.preload,
            self.limit_flags(),
            program,
            made.map(|made| (made.ino(), made.mtime(), made.mtime_nsec())),
        ]);
        let name = Digest::of(identity.to_string().as_bytes()).hex();
        Ok(folder.join(format!("{}.sock", &name[..24])))
    }
}

/// A folder that nobody else can write to or look into.
fn own_folder() -> Result<PathBuf, Failure> {
    let uid = rustix::process::geteuid().as_raw();
    #[expect(
        clippy::disallowed_methods,
        reason = "the place of a user's sockets is no setting: systemd's `file-hierarchy(7)`"
    )]
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute() && path.as_os_str().len() < 60);
    let folder = runtime.map_or_else(
        || PathBuf::from(format!("/tmp/cooper-runners-{}", uid_on_host().unwrap_or(uid))),
        |runtime| runtime.join("cooper-runners"),
    );
    let failed = |reason: String| {
        Failure::new(
            NO_RUNNER,
            format!("cannot use {} for sockets: {reason}", folder.display()),
        )
        .hint("make it yours alone (`chmod 700`), or name another folder in XDG_RUNTIME_DIR".to_owned())
    };
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error.to_string())),
        _ => {}
    }
    let found = std::fs::symlink_metadata(&folder).map_err(|error| failed(error.to_string()))?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        return Err(failed("it is not a folder of yours alone".to_owned()));
    }
    Ok(folder)
}

/// In a user namespace, the caller's number outside of it: the folder is beside those of others.
fn uid_on_host() -> Option<u32> {
    let map = std::fs::read_to_string("/proc/self/uid_map").ok()?;
    let mut lines = map.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next()? == "0").then(|| words.next()?.parse().ok())?)
}

/// Connect, and make sure who listens.
fn own_peer(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if peer.uid == rustix::process::geteuid() {
        Ok(stream)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

/// A failure of warm runs alone.
fn without_warm(message: String) -> Failure {
    Failure::new(NO_RUNNER, message).hint("`cooper run` without `--warm` needs no runner".to_owned())
}

fn read_stdin() -> Result<Vec<u8>, Failure> {
    let failed = |reason: String| Failure::new(Code::Script, format!("cannot read standard input: {reason}"));
    let mut bytes = Vec::new();
    let read = io::stdin()
        .lock()
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut bytes);
    read.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(failed(
            "a warm run gets at most 64 MiB; leave `--warm` out".to_owned(),
        ));
    }
    Ok(bytes)
}

fn show(reply: &RunnerReply, raw: bool) -> Result<(), Failure> {
    let shown = |bytes: &[u8], is_terminal: bool| {
        if raw || !is_terminal {
            return bytes.to_owned();
        }
        let (mut cleaner, mut clean) = (Cleaner::default(), Vec::new());
        cleaner.clean(bytes, &mut clean);
        cleaner.end(&mut clean);
        clean
    };
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let text = shown(&reply.stdout.0, stdout.is_terminal());
    let written = stdout.write_all(&text).and_then(|()| stdout.flush());
    let text = shown(&reply.stderr.0, stderr.is_terminal());
    // When nobody reads standard error, nobody can be told.
    let _ = stderr.write_all(&text);
    written.map_err(|error| Failure::output(&error))
}

fn told(reply: &RunnerReply, limits: &Limits, shell: &Shell) -> Result<Exit, Failure> {
    if reply.truncated {
        shell.say(
            "warning",
            "what it wrote is longer than the runner keeps, and was cut",
        );
    }
    match (reply.status, reply.limit.as_deref()) {
        (RunnerStatus::Limit, Some("time")) => {
            let time = unit::duration(limits.wall.unwrap_or_default());
            let text = format!("stopped after the time limit of {time}; `--timeout` sets another");
            shell.say("error", &text);
            Ok(Exit(124))
        }
        (RunnerStatus::Limit, _) => {
            let size = unit::size(limits.memory_bytes);
            let text = format!("killed at the memory limit of {size}; `--memory` sets another");
            shell.say("error", &text);
            Ok(Exit(137))
        }
        (RunnerStatus::Exited | RunnerStatus::Killed, _) => {
            let code = reply.exit_code.and_then(|code| u8::try_from(code).ok());
            Ok(Exit(code.unwrap_or(u8::MAX)))
        }
        (RunnerStatus::Error, _) => {
            let error = reply.error.as_deref().unwrap_or("the runner gave no reason");
            Err(without_warm(format!("cannot run it warm: {error}")))
        }
    }
}
