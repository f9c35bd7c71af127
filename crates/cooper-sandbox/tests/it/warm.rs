//! Warm runs in the host's own Python: what children share, what they do not, and what is left of them.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use cooper_sandbox::warm::{
    Frame, Order, Report, TemplateSettings, WarmEnd, WarmFile, WarmJob, WarmLimits, WarmReply, start_keeper,
};
use cooper_sandbox::{Network, Refusal};
use serde_json::Value;

use crate::bed::{Bed, MIB, example};

/// A keeper and its caller.
pub(crate) struct Kept {
    _bed: Bed,
    socket: UnixStream,
    pub(crate) process: Child,
    next: u64,
}

pub(crate) struct Done {
    pub(crate) reply: WarmReply,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) result: Value,
}

fn settings(bed: &Bed) -> TemplateSettings {
    TemplateSettings {
        // The directories of the bed cover those of the host; the interpreter is the host's.
        layers: vec![bed.tree(), "/".into()],
        python: "/usr/bin/python3".to_owned(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: "/work".into(),
        user: (1000, 1000),
        hostname: "box".to_owned(),
        network: Network::None,
        writable: false,
        limits: WarmLimits {
            memory_bytes: 128 * MIB,
            pids: 32,
            open_files: 256,
            cpu_millis: 2000,
            tmp_bytes: 8 * MIB,
            scratch_bytes: 8 * MIB,
            stream_bytes_max: 64 << 10,
            result_bytes_max: 64 << 10,
            output_bytes_max: MIB,
            output_files_max: 100,
        },
        preload: Vec::new(),
        rehearsal: None,
        pool: 2,
        running_max: 8,
        required: true,
    }
}

impl Kept {
    fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut TemplateSettings)) -> Self {
        Self::started(Bed::over_the_host(), &example("keeper"), &[], change)
    }

    /// One whose keeper is started by this program.
    pub(crate) fn started(
        bed: Bed,
        program: &Path,
        arguments: &[OsString],
        change: impl FnOnce(&mut TemplateSettings),
    ) -> Self {
        let mut settings = settings(&bed);
        change(&mut settings);
        let (socket, process) = start_keeper(program, arguments, settings).unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self {
            _bed: bed,
            socket,
            process,
            next: 1,
        }
    }

    pub(crate) fn order(
        &mut self,
        script: &str,
        change: impl FnOnce(&mut WarmJob, &mut Vec<Vec<u8>>),
    ) -> u64 {
        let id = self.next;
        self.next += 1;
        let mut job = WarmJob {
            id,
            script_name: "script.py".to_owned(),
            args: Vec::new(),
            env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            files: Vec::new(),
            wall: Duration::from_secs(20),
        };
        let mut parts = vec![script.as_bytes().to_vec(), Vec::new()];
        change(&mut job, &mut parts);
        let frame = Frame {
            header: Order::Run(job),
            parts,
        };
        frame.send(&mut self.socket).unwrap();
        id
    }

    fn report(&mut self) -> (Report, Vec<Vec<u8>>) {
        let frame = Frame::<Report>::receive(&mut self.socket).unwrap();
        let Frame { header, parts } = frame.expect("the keeper is gone");
        (header, parts)
    }

    pub(crate) fn done(&mut self) -> Done {
        loop {
            match self.report() {
                (Report::Done(reply), parts) => {
                    let text = |at: usize| String::from_utf8_lossy(&parts[at]).into_owned();
                    return Done {
                        reply: *reply,
                        stdout: text(0),
                        stderr: text(1),
                        result: serde_json::from_slice(&parts[2]).unwrap_or(Value::Null),
                    };
                }
                (Report::Lost { reason, log, .. }, _) => panic!("lost: {reason}\n{log}"),
                (Report::Ready { .. } | Report::Memory { .. } | Report::Cancelled { .. }, _) => {}
            }
        }
    }

    pub(crate) fn run(&mut self, script: &str) -> Done {
        self.order(script, |_, _| {});
        self.done()
    }

    fn lost(&mut self) -> (String, String) {
        loop {
            match self.report() {
                (Report::Lost { reason, log, .. }, _) => return (reason, log),
                (
                    Report::Done(_) | Report::Ready { .. } | Report::Memory { .. } | Report::Cancelled { .. },
                    _,
                ) => {}
            }
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.process.wait();
    }
}

#[test]
fn a_script_gets_what_it_was_given_and_gives_a_result() {
    let mut kept = Kept::new();
    kept.order(
        "import sys, os\nprint(sys.argv[1:], __name__, os.getcwd())\nprint(sys.stdin.read(), file=sys.stderr)\n\
         cooper_result({'file': open('/input/a.txt').read(), 'x': os.environ['X']})\n",
        |job, parts| {
            job.args = vec!["one".to_owned(), "two words".to_owned()];
            job.env.push(("X".to_owned(), "y=z".to_owned()));
            job.files.push(WarmFile {
                name: "a.txt".to_owned(),
                secret: false,
            });
            parts[1] = b"from outside".to_vec();
            parts.push(b"content".to_vec());
        },
    );
    let done = kept.done();
    assert_eq!(done.reply.end, WarmEnd::Exited(0), "{}", done.stderr);
    assert_eq!(done.stdout, "['one', 'two words'] __main__ /work\n");
    assert_eq!(done.stderr, "from outside\n");
    assert_eq!(done.result, serde_json::json!({"file": "content", "x": "y=z"}));
}

#[test]
fn secrets_are_its_own_and_outputs_are_plain_files() {
    let mut kept = Kept::new();
    kept.order(
        "import os\nos.makedirs('/output/a')\nopen('/output/a/b.txt', 'w').write(open('/run/secrets/KEY').read())\n\
         os.symlink('/etc/passwd', '/output/link')\nos.mkfifo('/output/fifo')\n\
         os.link('/output/a/b.txt', '/output/hard')\nopen('/output/big', 'wb').truncate(1 << 40)\n\
         open('/output/line\\nbreak', 'w')\nopen('/output/c', 'w').write('c')\n\
         cooper_result([oct(os.stat('/run/secrets/KEY').st_mode), os.stat('/run/secrets/KEY').st_uid])\n",
        |job, parts| {
            job.files.push(WarmFile {
                name: "KEY".to_owned(),
                secret: true,
            });
            parts.push(b"hunter2".to_vec());
        },
    );
    let done = kept.done();
    assert_eq!(done.reply.end, WarmEnd::Exited(0), "{}", done.stderr);
    assert_eq!(done.result, serde_json::json!(["0o100400", 1000]));
    assert_eq!(done.reply.outputs, ["c"]);
    let refused: Vec<&str> = done
        .reply
        .outputs_refused
        .iter()
        .map(|refused| refused.shown_path.as_str())
        .collect();
    assert_eq!(
        refused,
        ["a/b.txt", "big", "fifo", "hard", "line\\nbreak", "link"]
    );
    let done = kept.run("import os; print(os.listdir('/run/secrets'), os.listdir('/output'))");
    assert_eq!(done.stdout, "[] []\n");
    let done = kept.run("for i in range(10**6): open(f'/output/{i}', 'w')");
    assert!(done.stderr.contains("No space left"), "{}", done.stderr);
    assert!(done.reply.outputs.len() <= 100, "{}", done.reply.outputs.len());
}

#[test]
fn what_a_child_writes_to_its_root_is_gone_with_it() {
    let mut kept = Kept::with(|settings| settings.writable = true);
    let script = "
import os
print(sorted(name for name in os.listdir('/usr') if name.startswith('of-')), os.path.exists('/usr/bin/env'))
open('/usr/of-a-run', 'w').write('x' * 1000)
os.remove('/usr/bin/env')
os.mkdir('/etc/of-a-run')
for path in ('/run/cooper/x', '/proc/sys/kernel/hostname', '/input/x'):
    try:
        open(path, 'w')
        print('wrote', path)
    except OSError:
        pass
try:
    with open('/usr/of-large', 'wb') as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
    print('no bound')
except OSError as error:
    print(error.errno)
";
    for _ in 0..3 {
        let done = kept.run(script);
        assert_eq!(done.reply.end, WarmEnd::Exited(0), "{}", done.stderr);
        assert_eq!(done.stdout, "[] True\n28\n");
    }
    assert!(!Path::new("/usr/of-a-run").exists() && Path::new("/usr/bin/env").exists());
}

#[test]
fn the_end_is_the_scripts_own() {
    let mut kept = Kept::new();
    for (script, end) in [
        ("pass", WarmEnd::Exited(0)),
        ("raise SystemExit(7)", WarmEnd::Exited(7)),
        ("raise SystemExit('why')", WarmEnd::Exited(1)),
        ("1/0", WarmEnd::Exited(1)),
        ("def f(:", WarmEnd::Exited(1)),
        ("import os; os._exit(3)", WarmEnd::Exited(3)),
        ("import os; os.abort()", WarmEnd::Signaled(6)),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            WarmEnd::Signaled(9),
        ),
        ("import atexit; atexit.register(print, 'bye')", WarmEnd::Exited(0)),
    ] {
        let done = kept.run(script);
        assert_eq!(done.reply.end, end, "{script}: {}", done.stderr);
        assert_eq!(done.stdout.contains("bye"), script.contains("bye"), "{script}");
        assert!(!done.stderr.contains("template.py"), "{}", done.stderr);
    }
    let done = kept.run("def f():\n    1/0\nf()\n");
    assert!(
        done.stderr
            .contains("File \"/run/cooper/script.py\", line 2, in f"),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("ZeroDivisionError"), "{}", done.stderr);
}

#[test]
fn a_child_has_nothing_but_its_own() {
    let mut kept = Kept::new();
    let probe = "
import os, random, uuid
status = dict(line.split(':', 1) for line in open('/proc/self/status').read().splitlines())
def denied(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    return (libc.syscall(number, *arguments), ctypes.get_errno())
spaces = sorted(os.listdir('/proc/self/ns'))
cooper_result({
    'capabilities': [status[name].strip() for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')],
    'no_new_privs': status['NoNewPrivs'].strip(), 'seccomp': status['Seccomp'].strip(),
    'ids': [os.getresuid(), os.getresgid(), os.getgroups()],
    'processes': [name for name in os.listdir('/proc') if name.isdigit() and int(name) != os.getpid()],
    'pid': os.getpid(),
    'descriptors': sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:4],
    'left': os.listdir('/tmp') + os.listdir('/work') + os.listdir('/dev/shm'),
    'interfaces': [name for line in open('/proc/net/dev') if ':' in line for name in [line.split(':')[0].strip()]],
    'setns': call(308, os.open('/proc/self/ns/mnt', os.O_RDONLY), 0),
    'unshare': call(272, 0x10000000),
    'ptrace': call(101, 16, 1, 0, 0),
    'mount': call(165, b'none', b'/tmp', b'tmpfs', 0, None),
    'spaces': {name: os.readlink('/proc/self/ns/' + name) for name in spaces},
    'uid': open('/proc/self/uid_map').read().split(),
    'random': [random.random(), str(uuid.uuid4())],
})
open('/tmp/left', 'w'); open('/work/left', 'w'); open('/dev/shm/left', 'w')
";
    let (first, second) = (kept.run(probe), kept.run(probe));
    for done in [&first, &second] {
        let result = &done.result;
        assert_eq!(done.reply.end, WarmEnd::Exited(0), "{}", done.stderr);
        assert_eq!(
            result["capabilities"],
            serde_json::json!(vec!["0000000000000000"; 5])
        );
        assert_eq!(
            (&result["no_new_privs"], &result["seccomp"]),
            (&"1".into(), &"2".into())
        );
        assert_eq!(
            result["ids"],
            serde_json::json!([[1000, 1000, 1000], [1000, 1000, 1000], []])
        );
        assert_eq!(result["processes"], serde_json::json!([]));
        assert_eq!(result["left"], serde_json::json!([]));
        assert_eq!(result["interfaces"], serde_json::json!(["lo"]));
        for call in ["setns", "unshare", "ptrace", "mount"] {
            assert_eq!(result[call], serde_json::json!([-1, libc_eperm()]), "{call}");
        }
    }
    assert_ne!(first.result["pid"], second.result["pid"]);
    assert_ne!(first.result["uid"], second.result["uid"]);
    for at in 0..2 {
        assert_ne!(first.result["random"][at], second.result["random"][at]);
    }
    for space in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        let of = |done: &Done| done.result["spaces"][space].as_str().unwrap().to_owned();
        let host = fs::read_link(format!("/proc/self/ns/{space}")).unwrap();
        let all = BTreeSet::from([of(&first), of(&second), host.to_string_lossy().into_owned()]);
        assert_eq!(all.len(), 3, "{space}: {all:?}");
    }
}

fn libc_eperm() -> i32 {
    rustix::io::Errno::PERM.raw_os_error()
}

#[test]
fn limits_hold_and_are_told() {
    let mut kept = Kept::new();
    let started = Instant::now();
    kept.order("import signal\nfor s in range(1, 32):\n    try: signal.signal(s, signal.SIG_IGN)\n    except OSError: pass\nwhile True: pass", |job, _| {
        job.wall = Duration::from_millis(300);
    });
    assert_eq!(kept.done().reply.end, WarmEnd::TimeLimit);
    assert!(started.elapsed() < Duration::from_secs(15));
    let done = kept.run("x = bytearray(400 << 20)\nprint('never')");
    assert_eq!(
        (done.reply.end, done.stdout.as_str()),
        (WarmEnd::MemoryLimit, ""),
        "{}",
        done.stderr
    );
    let done = kept.run(
        "import os, time\ncount = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            time.sleep(60)\n        count += 1\nexcept OSError as error:\n    cooper_result([count, error.errno])\n",
    );
    assert!(done.result[0].as_u64().unwrap() < 32, "{}", done.result);
    let done = kept.run("open('/tmp/x', 'wb').write(bytes(9 << 20))");
    assert!(done.stderr.contains("No space left"), "{}", done.stderr);
    let done = kept.run("files = [open('/dev/null') for _ in range(300)]");
    assert!(done.stderr.contains("Too many open files"), "{}", done.stderr);
    let done = kept.run("print('x' * (1 << 20))");
    assert_eq!((done.stdout.len(), done.reply.stdout_truncated), (64 << 10, true));
    let done = kept.run("cooper_result('x' * (1 << 20))");
    assert!(done.result.is_null());
    let done = kept.run("import os; open(os.environ['COOPER_RESULT'], 'w').write('x' * (65 << 10))");
    assert_eq!(done.reply.result_fault, Some(Refusal::TooLarge));
    let done = kept.run("import os; os.symlink('/etc/passwd', os.environ['COOPER_RESULT'])");
    assert_eq!(done.reply.result_fault, Some(Refusal::SymbolicLink));
    let done = kept.run("import os; os.mkfifo(os.environ['COOPER_RESULT'])");
    assert_eq!(done.reply.result_fault, Some(Refusal::Fifo));
}

#[test]
fn what_processes_have_used_counts_whoever_waited_for_them() {
    let script = "\
import os, time
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
        os.write(writer, b'x')
    os._exit(0)
os.wait()
os.read(reader, 1)
time.sleep(0.1)
";
    let cpu = Kept::new().run(script).reply.cpu;
    assert!(cpu >= Duration::from_millis(250), "{cpu:?}");
}

#[test]
fn nothing_outlives_its_run() {
    let mut kept = Kept::new();
    let marker = crate::bed::marker();
    let done = kept.run(&format!(
        "import os, sys\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.close(1); os.close(2)\n        os.execv('/usr/bin/sleep', ['sleep', '{marker}'])\n    os._exit(0)\nos.wait()\n"
    ));
    assert_eq!(done.reply.end, WarmEnd::Exited(0), "{}", done.stderr);
    assert!(!is_running(&marker));
}

fn is_running(marker: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(marker))
}

#[test]
fn a_template_that_cannot_be_had_says_why() {
    let mut kept = Kept::with(|settings| settings.preload = vec!["there_is_no_such_module".to_owned()]);
    let (reason, log) = kept.lost();
    assert!(reason.contains("during its imports"), "{reason}");
    assert!(log.contains("No module named 'there_is_no_such_module'"), "{log}");

    let threads =
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()";
    let mut kept = Kept::with(|settings| settings.rehearsal = Some(threads.to_owned()));
    let (_, log) = kept.lost();
    assert!(log.contains("1 threads are left after the imports"), "{log}");

    let mut kept = Kept::with(|settings| settings.python = "/usr/bin/no-python".to_owned());
    let (reason, _) = kept.lost();
    assert!(reason.contains("cannot execute the program"), "{reason}");
}

#[test]
fn many_runs_leave_nothing() {
    let mut kept = Kept::new();
    kept.run("pass");
    let scripts = [
        "print('x')",
        "1/0",
        "import os; os.fork(); os.fork()",
        "import os; os.abort()",
        "import time; time.sleep(60)",
        "x = bytearray(400 << 20)",
    ];
    for round in 0..8 {
        for script in scripts {
            let wall = Duration::from_millis(if script.contains("sleep") { 50 } else { 10_000 });
            kept.order(script, |job, _| job.wall = wall);
        }
        for _ in scripts {
            let done = kept.done();
            assert_ne!(done.reply.end, WarmEnd::Failed, "{round}: {}", done.stderr);
        }
    }
    let process = kept.process.id();
    drop(kept);
    let cgroups = groups_of(process);
    assert!(cgroups.is_empty(), "{cgroups:?}");
}

/// The cgroups of a keeper's children: each is named after the host's number of the keeper, which is a child of `process`.
fn groups_of(process: u32) -> Vec<String> {
    let own = u64::from(process)..u64::from(process) + 3;
    let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let groups = hierarchies.filter_map(|hierarchy| fs::read_dir(hierarchy.path().join("cooper")).ok());
    let names = groups
        .flatten()
        .flatten()
        .map(|group| group.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| {
            let number = name.split('-').next().and_then(|number| number.parse().ok());
            number.is_some_and(|number| own.contains(&number))
        })
        .collect()
}

#[test]
fn a_keeper_ends_with_its_caller() {
    let mut kept = Kept::new();
    kept.run("pass");
    let marker = crate::bed::marker();
    kept.order(
        &format!("import os; os.execv('/usr/bin/sleep', ['sleep', '{marker}'])"),
        |_, _| {},
    );
    let started = Instant::now();
    while !is_running(&marker) {
        assert!(started.elapsed() < Duration::from_secs(20), "it does not run");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(kept);
    assert!(!is_running(&marker));
}

#[test]
fn a_run_whose_end_the_keeper_does_not_see_is_answered_at_its_time_limit() {
    // What a hostile library could do to its own template.
    let grandchild = "\
import __main__, os
kept = __main__.perform
def perform(calls):
    if calls is __main__.give_up:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            os._exit(0)
    kept(calls)
__main__.perform = perform
";
    let mut kept = Kept::with(|settings| settings.rehearsal = Some(grandchild.to_owned()));
    for _ in 0..3 {
        kept.order("print('ran')", |job, _| job.wall = Duration::from_millis(300));
        let done = kept.done();
        assert_eq!(
            (done.reply.end, done.stdout.as_str()),
            (WarmEnd::TimeLimit, "ran\n")
        );
    }
}

#[test]
fn a_template_that_holds_on_to_its_children_is_given_up() {
    // The child is born in the run's pid namespace, and the template never looks at its end.
    let hostile = "import __main__, os; __main__.fork_for_keeper = os.fork";
    let mut kept = Kept::with(|settings| settings.rehearsal = Some(hostile.to_owned()));
    kept.order("pass", |job, _| job.wall = Duration::from_secs(1));
    let started = Instant::now();
    let (reason, _) = kept.lost();
    assert!(reason.contains("the template holds it"), "{reason}");
    assert!(started.elapsed() < Duration::from_secs(30));
}
