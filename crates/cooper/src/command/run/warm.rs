//! `cooper run --warm`: the run goes to a runner of the caller's own, which is started where there is none and ends when
//! nobody has asked it for a while.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use cooper_core::Digest;
use cooperage::runner::protocol::{Content, RunnerReply, RunnerStatus};
use cooperage::{Cleaner, Enforcement, FullReference, Limit, Limits, Network, Program, Runtime};
use serde_json::{Map, Value, json};

use super::surroundings::Surroundings;
use super::usage;
use crate::failure::{Code, Exit, Failure};
use crate::render::unit;
use crate::settings::key;
use crate::shell::Shell;

/// Nothing could be had from a runner.
const NO_RUNNER: Code = Code::Of("runner");
/// A runner that nobody asks ends after this time.
const IDLE: &str = "10m";
/// So many there are at once at most.
const RUNNERS_MAX: usize = 8;
const NOW: rustix::fs::Timespec = rustix::fs::Timespec {
    tv_sec: 0,
    tv_nsec: rustix::fs::UTIME_NOW,
};
/// A runner that was just started listens within this time.
const LISTENS_WITHIN: Duration = Duration::from_secs(30);
const INPUT_BYTES_MAX: u64 = 64 << 20;
/// One that has closed its socket has ended within this time.
const ENDS_WITHIN: Duration = Duration::from_secs(1);
const LOG_BYTES_MAX: u64 = 64 << 10;
/// Output comes when the run has ended, and is kept until then: this much of each stream.
const STREAM_BYTES_MAX: u64 = 64 << 20;

/// One run, as the flags say it.
pub(super) struct WarmRun<'a> {
    pub(super) image: &'a FullReference,
    /// The store's folder and the settings file, where flags name them.
    pub(super) globals: Vec<OsString>,
    pub(super) store: &'a Path,
    pub(super) surroundings: &'a Surroundings,
    pub(super) enforcement: Enforcement,
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
        let stream = self.connect()?;
        let line = exchange(stream, request).map_err(|error| match self.await_last_words() {
            Ok(Some(words)) => words.after("the runner has ended"),
            _ => without_warm(format!("the runner does not answer: {error}")),
        })?;
        serde_json::from_str(&line)
            .map_err(|error| without_warm(format!("the runner's answer is not understood: {error}")))
    }

    /// The runner that was started with the same settings; a new one where none listens.
    fn connect(&self) -> Result<UnixStream, Failure> {
        let socket = self.socket()?;
        if let Ok(stream) = own_peer(&socket) {
            note_use(&socket);
            return Ok(stream);
        }
        make_room(&socket);
        let mut runner = self.start(&socket, &log_of(&socket))?;
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
                return Err(match self.last_words()? {
                    Some(words) => words.after("the runner did not start"),
                    None => without_warm("the runner did not start".to_owned()),
                });
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The same of one that is about to end, and says why when nobody can reach it any more.
    fn await_last_words(&self) -> Result<Option<LastWords>, Failure> {
        let began = Instant::now();
        loop {
            let words = self.last_words()?;
            if words.is_some() || began.elapsed() > ENDS_WITHIN {
                return Ok(words);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the runner has said, if anything.
    fn last_words(&self) -> Result<Option<LastWords>, Failure> {
        let file = std::fs::File::open(log_of(&self.socket()?));
        let mut text = String::new();
        // Who has said nothing that can be read has said nothing.
        let _ = file.and_then(|file| file.take(LOG_BYTES_MAX).read_to_string(&mut text));
        Ok(LastWords::parse(&text))
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
        command.args(self.bound_flags());
        // Its settings are what this run's are, whatever it would read: it has no project.
        let of_runs = key::KEYS.iter().filter(|key| key.name.starts_with("run."));
        for variable in of_runs.flat_map(|key| key.variables) {
            command.env_remove(variable);
        }
        let own = [
            (&key::RUN_ENFORCEMENT, self.enforcement.as_str()),
            (&key::RUN_RUNTIME, Runtime::Own.as_str()),
        ];
        for (key, value) in own {
            command.envs(key.variables.iter().map(|variable| (variable, value)));
        }
        // Not of the terminal's group: an interrupt ends this run, not the runner.
        command.process_group(0).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().map_err(failed)
    }

    fn bound_flags(&self) -> Vec<String> {
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
            format!("--stream-limit={STREAM_BYTES_MAX}"),
            format!("--network={}", self.network),
        ]
    }

    /// Named after everything that the runner is started with and in, in a folder of the caller's alone.
    fn socket(&self) -> Result<PathBuf, Failure> {
        let folder = own_folder()?;
        let program = std::env::current_exe().ok();
        let file = |path: &Path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.dev(), found.ino()))
        };
        let made = program
            .as_ref()
            .and_then(|program| std::fs::metadata(program).ok());
        let identity = json!([
            self.surroundings.identity(),
            (self.store, file(self.store)),
            self.image.to_string(),
            self.preload,
            self.bound_flags(),
            self.enforcement.as_str(),
            program,
            made.map(|made| (made.ino(), made.mtime(), made.mtime_nsec())),
        ]);
        let name = Digest::of(identity.to_string().as_bytes()).hex();
        Ok(folder.join(format!("{}.sock", &name[..24])))
    }
}

/// Say that this runner was used now.
fn note_use(socket: &Path) {
    let now = rustix::fs::Timestamps {
        last_access: NOW,
        last_modification: NOW,
    };
    // Who is not seen to be used goes earlier.
    let _ = rustix::fs::utimensat(
        rustix::fs::CWD,
        log_of(socket),
        &now,
        rustix::fs::AtFlags::empty(),
    );
}

/// Take the sockets of those away that were used least recently, so that there is room for one more: such a runner ends when its
/// runs are done. What ended ones have said goes when nobody can wait for it any more.
fn make_room(socket: &Path) {
    let entries = socket.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let paths: Vec<PathBuf> = { entries.into_iter().flatten().flatten() }
        .map(|entry| entry.path())
        .collect();
    let of_kind = |wanted: &'static str| {
        let is_wanted = move |path: &&PathBuf| path.extension().is_some_and(|kind| kind == wanted);
        paths.iter().filter(is_wanted)
    };
    for log in of_kind("log").filter(|log| !log.with_extension("sock").exists() && is_old(log)) {
        let _ = std::fs::remove_file(log);
    }
    let mut others: Vec<(SystemTime, PathBuf)> = of_kind("sock")
        .filter(|path| *path != socket)
        .cloned()
        .map(|path| {
            let used = std::fs::metadata(log_of(&path)).and_then(|found| found.modified());
            (used.unwrap_or(SystemTime::UNIX_EPOCH), path)
        })
        .collect();
    others.sort_unstable();
    let surplus = (others.len() + 1).saturating_sub(RUNNERS_MAX);
    for (_, path) in others.iter().take(surplus) {
        for file in [path.clone(), log_of(path)] {
            // Another one may have been quicker.
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Whether it was written long before any client waits.
fn is_old(log: &Path) -> bool {
    let written = std::fs::metadata(log).and_then(|found| found.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|age| age > 2 * LISTENS_WITHIN))
}

/// Send the request; the line that comes back.
fn exchange(mut stream: UnixStream, request: &Value) -> io::Result<String> {
    writeln!(stream, "{request}")?;
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

/// Where the runner of this socket writes what goes wrong.
fn log_of(socket: &Path) -> PathBuf {
    socket.with_extension("log")
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

/// What a runner said of its end.
struct LastWords {
    why: String,
    hint: Option<String>,
}

impl LastWords {
    /// Of a traceback, the exception is enough: a run has one line.
    fn parse(log: &str) -> Option<Self> {
        let lines = log.lines().map(str::trim).filter(|line| !line.is_empty());
        let (hints, said): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("hint: "));
        let (first, rest) = said.split_first()?;
        let first = first.trim_start_matches("error: ");
        Some(Self {
            why: rest
                .last()
                .map_or_else(|| first.to_owned(), |last| format!("{first}: {last}")),
            hint: hints
                .last()
                .map(|hint| hint.trim_start_matches("hint: ").to_owned()),
        })
    }

    fn after(self, sentence: &str) -> Failure {
        let failure = without_warm(format!("{sentence}: {}", self.why));
        match self.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
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
    match (reply.status, reply.limit.as_deref()) {
        (RunnerStatus::Limit, Some(limit)) if limit == Limit::Wall.as_str() => {
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
            let killed = reply.signal.and_then(|signal| u8::try_from(128 + signal).ok());
            Ok(Exit(reply.exit_code.or(killed).unwrap_or(u8::MAX)))
        }
        (RunnerStatus::Error, _) => {
            let error = reply.error.as_deref().unwrap_or("the runner gave no reason");
            let failure = without_warm(format!("cannot run it warm: {error}"));
            Err(match &reply.hint {
                Some(hint) => failure.hint(hint.clone()),
                None => failure,
            })
        }
    }
}
