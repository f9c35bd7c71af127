//! Where hostile scripts run: one image, an outer control group that bounds the whole suite, and the three ways of running.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::Subordinate;

use crate::context::Host;
use crate::live::live_host;
use crate::rootless::Ordinary;

pub(super) const IMAGE: &str = "walls";
const OUTER_MEMORY_BYTES: u64 = 2 << 30;
const OUTER_PIDS: u64 = 512;
/// What every run may have, however it is run.
pub(super) const LIMITS: [&str; 12] = [
    "--memory",
    "128MiB",
    "--pids",
    "32",
    "--files",
    "64",
    "--cpus",
    "1",
    "--tmp",
    "8MiB",
    "--scratch",
    "8MiB",
];

/// How a script is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Fresh,
    Warm,
    Rootless,
    WarmRootless,
}

/// What was told of a run, in the same words for every mode.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) mode: Mode,
    pub(super) status: String,
    pub(super) exit_code: Option<i64>,
    pub(super) limit: Option<String>,
    pub(super) stdout: Vec<u8>,
    pub(super) stdout_bytes: u64,
    pub(super) stderr: String,
    pub(super) outputs: Vec<String>,
    pub(super) refused: Vec<String>,
    pub(super) result: Value,
    pub(super) result_error: String,
    /// `LIMIT by ENFORCER`.
    pub(super) enforced: Vec<String>,
    /// All of it.
    pub(super) told: Value,
    pub(super) took: Duration,
}

impl Seen {
    pub(super) fn held_by(&self, limit: &str) -> &str {
        let start = format!("{limit} by ");
        let held = self.enforced.iter().find_map(|line| line.strip_prefix(&start));
        held.unwrap_or("nobody says what")
    }
}

/// Directories of a control group that the suite is in, one for each controller.
pub(super) struct Outer {
    directories: Vec<PathBuf>,
    /// Where processes join.
    joined: Vec<PathBuf>,
}

impl Outer {
    /// Make it below the group of the test itself.
    pub(super) fn make() -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let name = format!("hostile-{}", std::process::id());
        let mut outer = Self {
            directories: Vec::new(),
            joined: Vec::new(),
        };
        for controller in ["memory", "pids", "cpu"] {
            let path = own.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let controllers = parts.next()?;
                controllers
                    .split(',')
                    .any(|name| name == controller)
                    .then(|| parts.next())?
            });
            let Some(path) = path else { continue };
            let top = Path::new("/sys/fs/cgroup").join(controller);
            let directory = top.join(path.trim_start_matches('/'));
            let directory = if directory.is_dir() { directory } else { top }.join(&name);
            fs::create_dir(&directory).unwrap();
            outer.joined.push(directory.clone());
            outer.directories.push(directory);
        }
        if outer.directories.is_empty() {
            outer.make_unified(&own, &name);
        }
        outer.bound();
        outer
    }

    /// In version 2, processes are in a group of their own beside those of the runs.
    fn make_unified(&mut self, own: &str, name: &str) {
        let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
        let directory = Path::new("/sys/fs/cgroup").join(path).join(name);
        fs::create_dir(&directory).unwrap();
        let joined = directory.join("suite");
        put(
            &directory.parent().unwrap().join("cgroup.subtree_control"),
            "+memory +pids +cpu",
        );
        put(&directory.join("cgroup.subtree_control"), "+memory +pids +cpu");
        fs::create_dir(&joined).unwrap();
        self.joined.push(joined);
        self.directories.push(directory);
    }

    fn bound(&self) {
        let mut bounds = 0;
        for directory in &self.directories {
            for (file, value) in [
                ("memory.limit_in_bytes", OUTER_MEMORY_BYTES),
                ("memory.max", OUTER_MEMORY_BYTES),
                ("pids.max", OUTER_PIDS),
            ] {
                if directory.join(file).exists() {
                    put(&directory.join(file), &value.to_string());
                    bounds += 1;
                }
            }
        }
        assert_eq!(bounds, 2, "memory and processes of the suite are bounded");
    }

    /// The same command, in this group.
    pub(super) fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("/bin/sh");
        let mut join = String::new();
        for directory in &self.joined {
            let file = if directory.join("tasks").exists() {
                "tasks"
            } else {
                "cgroup.procs"
            };
            writeln!(join, "echo 0 > {}/{file} || exit 99", directory.display()).unwrap();
        }
        inside
            .args(["-c", &format!("{join}exec \"$@\""), "sh"])
            .arg(command.get_program())
            .args(command.get_args());
        inside.env_clear();
        for (name, value) in command.get_envs() {
            inside.env(name, value.unwrap_or_default());
        }
        inside.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        inside
            .current_dir(command.get_current_dir().unwrap())
            .stdin(Stdio::null());
        inside
    }

    /// The processes in it, and in every group below.
    pub(super) fn processes(&self) -> Vec<u32> {
        let mut processes: Vec<u32> = self
            .groups()
            .iter()
            .chain(&self.directories)
            .flat_map(|directory| {
                let list = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
                list.lines()
                    .filter_map(|line| line.parse().ok())
                    .collect::<Vec<u32>>()
            })
            .collect();
        processes.sort_unstable();
        processes.dedup();
        processes
    }

    /// How many groups of runs there are, and in how many hierarchies each has a directory.
    pub(super) fn groups_and_hierarchies(&self) -> (usize, usize) {
        let hierarchies = self.directories.len();
        (self.groups().len() / hierarchies, hierarchies)
    }

    /// The directories of the groups of runs that are below it.
    pub(super) fn groups(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for directory in &self.directories {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                all.extend(below(&entry.path()));
            }
        }
        all.retain(|path| {
            path.file_name()
                .is_some_and(|name| name != "cooper" && name != "suite")
        });
        all
    }
}

fn below(directory: &Path) -> Vec<PathBuf> {
    if !directory.is_dir() {
        return Vec::new();
    }
    let mut all: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .flat_map(|entry| below(&entry.path()))
        .collect();
    all.push(directory.to_owned());
    all
}

fn put(path: &Path, text: &str) {
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

impl Drop for Outer {
    fn drop(&mut self) {
        // A test that fails leaves none of its processes either.
        let until = Instant::now() + Duration::from_secs(5);
        while !self.processes().is_empty() && Instant::now() < until {
            for pid in self.processes() {
                if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            std::thread::yield_now();
        }
        for directory in &self.directories {
            for path in below(directory) {
                let _ = fs::remove_dir(path);
            }
        }
    }
}

/// One image, as root and as an ordinary user.
pub(super) struct Ground {
    pub(super) outer: Outer,
    pub(super) host: Host,
    ordinary: Ordinary,
}

impl Ground {
    pub(super) fn make() -> Self {
        let host = live_host();
        host.cooper(&["create", IMAGE, "--dependencies", "six"]).good();
        let archive = host.path("project/image.tar").display().to_string();
        host.cooper(&["save", IMAGE, "-o", &archive]).good();
        let ordinary = Ordinary::of(Host::new(), Subordinate::Usual);
        let other = ordinary.host.path("project/image.tar");
        fs::rename(&archive, &other)
            .or_else(|_| fs::copy(&archive, &other).map(drop))
            .unwrap();
        ordinary.user.give(&ordinary.host.path("project")).unwrap();
        ordinary.cooper(&["load", "image.tar"]).good();
        Self {
            outer: Outer::make(),
            host,
            ordinary,
        }
    }

    /// Run a script in a container of its own.
    pub(super) fn fresh(&self, mode: Mode, name: &str, script: &str, timeout_ms: u64) -> Seen {
        self.fresh_in(None, mode, name, script, timeout_ms)
    }

    /// The same with this network.
    pub(super) fn fresh_in(
        &self,
        network: Option<&str>,
        mode: Mode,
        name: &str,
        script: &str,
        timeout_ms: u64,
    ) -> Seen {
        let host = if mode == Mode::Rootless {
            &self.ordinary.host
        } else {
            &self.host
        };
        let file = |kind: &str| format!("{name}.{kind}");
        host.write(&format!("project/{name}.py"), script);
        let timeout = format!("{timeout_ms}ms");
        let (report, out, py) = (file("json"), file("out"), file("py"));
        let beside = [
            "--output-size",
            "8MiB",
            "--output",
            &out,
            "--result",
            &file("result"),
            "--report",
            &report,
        ];
        let args = [
            &[
                "run",
                "--timeout",
                &timeout,
                "--network",
                network.unwrap_or("none"),
            ],
            &LIMITS[..],
            &beside,
            &[IMAGE, &py],
        ]
        .concat();
        let command = if mode == Mode::Rootless {
            self.ordinary.command(&args)
        } else {
            host.command(&args)
        };
        let mut command = self.outer.inside(&command);
        let began = Instant::now();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let ((stdout, stdout_bytes), (stderr, _)) = std::thread::scope(|scope| {
            let errors = scope.spawn(|| counted(stderr));
            (counted(stdout), errors.join().unwrap())
        });
        child.wait().unwrap();
        let took = began.elapsed();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let text = fs::read_to_string(host.path("project").join(&report));
        let told: Value = text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap());
        for kind in ["json", "out", "result", "py"] {
            let path = host.path("project").join(file(kind));
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
        Seen {
            stdout,
            stdout_bytes,
            stderr,
            took,
            ..seen(mode, told)
        }
    }
}

/// All that comes: its beginning and how much it was.
fn counted(mut stream: impl std::io::Read) -> (Vec<u8>, u64) {
    let mut kept = Vec::new();
    let mut count = 0;
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        count += length as u64;
        if kept.len() < 1 << 20 {
            kept.extend_from_slice(&buffer[..length]);
        }
    }
    (kept, count)
}

fn seen(mode: Mode, told: Value) -> Seen {
    let text = |name: &str| told[name].as_str().map(ToOwned::to_owned);
    let paths = |name: &str| -> Vec<String> {
        let list = told[name].as_array().into_iter().flatten();
        list.filter_map(|entry| entry["path"].as_str().map(ToOwned::to_owned))
            .collect()
    };
    let enforced = told["enforced"].as_array().into_iter().flatten();
    let enforced = enforced.map(|entry| {
        let word = |name: &str| entry[name].as_str().unwrap_or_default();
        format!("{} by {}", word("limit"), word("by"))
    });
    let error = &told["result_error"];
    Seen {
        mode,
        status: text("status").unwrap_or_else(|| "no report".to_owned()),
        exit_code: told["exit_code"].as_i64(),
        limit: text("limit"),
        stdout: Vec::new(),
        stdout_bytes: 0,
        stderr: String::new(),
        outputs: paths("outputs"),
        refused: paths("outputs_refused"),
        result: told["result"].clone(),
        result_error: error["message"]
            .as_str()
            .or(error.as_str())
            .unwrap_or_default()
            .to_owned(),
        enforced: enforced.collect(),
        took: Duration::ZERO,
        told,
    }
}

/// A runner that answers all the warm runs of the suite.
pub(super) struct Runner {
    mode: Mode,
    process: Child,
    requests: Option<ChildStdin>,
    replies: Receiver<Value>,
    next: u64,
}

/// A request that is on its way.
pub(super) struct Request<'a> {
    pub(super) script: &'a str,
    pub(super) owner: &'a str,
    pub(super) timeout_ms: u64,
    pub(super) network: Option<&'a str>,
}

impl Runner {
    pub(super) fn start(ground: &Ground, mode: Mode, flags: &[&str]) -> Self {
        let args = [&["runner", "--output-size", "8MiB"], &LIMITS[..], flags, &[IMAGE]].concat();
        let command = if mode == Mode::WarmRootless {
            ground.ordinary.command(&args)
        } else {
            ground.host.command(&args)
        };
        let mut command = ground.outer.inside(&command);
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let requests = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (send, replies) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if send.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self {
            mode,
            process,
            requests,
            replies,
            next: 0,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What became of these, in their order; all are on their way at once.
    pub(super) fn ask(&mut self, requests: &[Request<'_>]) -> Vec<Seen> {
        let first = self.next;
        let pipe = self.requests.as_mut().unwrap();
        for request in requests {
            let line = json!({"id": self.next, "script": request.script, "owner": request.owner, "timeout_ms": request.timeout_ms, "network": request.network});
            writeln!(pipe, "{line}").unwrap();
            self.next += 1;
        }
        let mut seen: Vec<Option<Seen>> = requests.iter().map(|_| None).collect();
        for _ in requests {
            let reply = self
                .replies
                .recv_timeout(Duration::from_mins(1))
                .unwrap_or_else(|_| panic!("a request is not answered"));
            let index = usize::try_from(reply["id"].as_u64().unwrap() - first).unwrap();
            assert!(seen[index].is_none(), "answered twice: {reply}");
            seen[index] = Some(of_reply(self.mode, reply));
        }
        seen.into_iter().flatten().collect()
    }

    /// Close its input; it must end well.
    pub(super) fn end(mut self) {
        drop(self.requests.take());
        let status = self.process.wait().unwrap();
        assert!(status.success(), "{status}");
        assert!(self.replies.recv().is_err(), "a reply that nobody asked for");
    }
}

fn of_reply(mode: Mode, reply: Value) -> Seen {
    let bytes = |name: &str| match &reply[name] {
        Value::String(text) => text.clone().into_bytes(),
        encoded => {
            let text = encoded["base64"].as_str().unwrap_or_default();
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap()
        }
    };
    let (stdout, stderr) = (bytes("stdout"), bytes("stderr"));
    let took = Duration::from_secs_f64(reply["duration_ms"].as_f64().unwrap_or_default() / 1000.0);
    Seen {
        stdout_bytes: stdout.len() as u64,
        stdout,
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        took,
        ..seen(mode, reply)
    }
}
