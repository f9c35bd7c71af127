//! `cooper run --warm` in surroundings of all kinds: what a run may do is never what another caller's may.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;

use serde_json::Value;

use crate::context::{Done, Host, done};
use crate::live::live_host;

/// A host with an image, whose background runners end with it.
struct Warm {
    host: Host,
    sockets: PathBuf,
}

impl Warm {
    fn new() -> Self {
        let mut host = live_host();
        host.cooper(&["create", "plain", "--dependencies", "six"]).good();
        let runtime = host.path("runtime");
        std::fs::create_dir(&runtime).unwrap();
        std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        host.set("XDG_RUNTIME_DIR", runtime.to_str().unwrap());
        host.set("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let sockets = runtime.join("cooper-runners");
        Self { host, sockets }
    }

    /// What this shell script, which has the binary as `$0`, does in namespaces of its own kind.
    fn unshared(&self, kinds: &[&str], script: &str) -> Done {
        let inner = self.host.command(&[]);
        let mut command = std::process::Command::new("/usr/bin/unshare");
        command
            .args(kinds)
            .args(["sh", "-c", script])
            .arg(inner.get_program());
        command.env_clear().current_dir(self.host.path("project"));
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap());
        }
        done(&command.output().unwrap())
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let is_ours = String::from_utf8_lossy(&line).contains(self.sockets.to_str().unwrap());
            let pid = entry.file_name().to_string_lossy().parse().ok();
            if let Some(pid) = pid.filter(|_| is_ours).and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

const USES_DEVICES: &str = "import os, subprocess\nsubprocess.run(['sh', '-c', 'echo x > /dev/null'], check=True, stdout=subprocess.DEVNULL)\n\
                            open('/tmp/new', 'w').close()\nprint(oct(os.stat('/dev/null').st_mode), oct(os.stat('/tmp/new').st_mode))\n";

#[test]
fn live_a_warm_run_is_the_same_whatever_the_umask_of_whoever_started_the_runner() {
    let warm = Warm::new();
    let fresh = warm.host.cooper(&["run", "plain", "-c", USES_DEVICES]).good();
    for (umask, memory) in [
        ("000", "200MiB"),
        ("022", "201MiB"),
        ("027", "202MiB"),
        ("077", "203MiB"),
    ] {
        let script = format!("umask {umask}; exec \"$@\"");
        let args = ["run", "--warm", "--memory", memory, "plain", "-c", USES_DEVICES];
        let done = warm.host.cooper_from_shell(&script, &args).good();
        assert_eq!(done.stdout, fresh.stdout, "umask {umask}: {done}");
    }
}

#[test]
fn live_who_is_in_another_network_or_group_has_a_runner_of_its_own() {
    let warm = Warm::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut line = String::new();
            let _ = BufReader::new(&stream).read_line(&mut line);
            let _ = stream.write_all(line.as_bytes());
        }
    });
    let network = format!("allow:own.internal=127.0.0.1:{port}");
    let code = format!(
        "import socket\nwith socket.create_connection(('own.internal', {port}), 5) as s:\n    s.sendall(b'x\\n')\n    print(s.recv(2))\n"
    );
    let args = ["run", "--warm", "--network", &network, "plain", "-c", &code];
    for _ in 0..2 {
        assert_eq!(warm.host.cooper(&args).good().stdout, "b'x\\n'\n");
    }
    let runners = || {
        let found = std::fs::read_dir(&warm.sockets).unwrap().flatten();
        found
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "sock"))
            .count()
    };
    assert_eq!(runners(), 1);
    // In a network of its own there is no such listener.
    let script = format!("\"$0\" run --warm --network {network} plain -c \"$CODE\"");
    let script = format!("export CODE='{}'; {script}", code.replace('\'', "'\\''"));
    let done = warm.unshared(&["--net"], &script);
    assert!(done.status != 0 && !done.stdout.contains('x'), "{done}");
    assert_eq!(runners(), 2);
    for kind in ["--mount", "--cgroup", "--uts"] {
        warm.unshared(&[kind], "\"$0\" run --warm plain -c 'print(1)'")
            .good();
    }
    assert_eq!(runners(), 5);
}

#[test]
fn live_a_warm_run_holds_what_the_caller_requires() {
    let warm = Warm::new();
    // Where no cgroup is mounted, only who accepts that has runs, whoever has had them before.
    let script = "umount --recursive /sys/fs/cgroup
        for how in '' best-effort required ''; do
            [ -z \"$how\" ] && unset COOPER_RUN_ENFORCEMENT || export COOPER_RUN_ENFORCEMENT=$how
            \"$0\" run --warm plain -c 'print(1)' 2>&1
            echo \"$?\"
        done";
    let told = warm.unshared(&["--mount"], script).good().stdout;
    let statuses: Vec<&str> = told.lines().filter(|line| line.parse::<u8>().is_ok()).collect();
    assert_eq!(statuses, ["125", "1", "0", "125", "125"], "{told}");
    let refused = told
        .lines()
        .filter(|line| line.contains("cannot enforce the memory limit"));
    let refused: Vec<&str> = refused.collect();
    assert_eq!(refused.len(), 3, "{told}");
    for line in refused {
        assert!(
            line.contains("run.enforcement") && line.contains("COOPER_RUN_ENFORCEMENT"),
            "{line}"
        );
    }
}

#[test]
fn live_a_warm_run_gives_all_of_its_output_or_says_that_it_does_not() {
    let warm = Warm::new();
    let write = |bytes: u32| format!("import sys; sys.stdout.write('x' * {bytes})");
    let done = warm
        .host
        .cooper(&["run", "--warm", "plain", "-c", &write(20 << 20)])
        .good();
    assert_eq!((done.stdout.len(), done.stderr.as_str()), (20 << 20, ""));
    let args = [
        "run",
        "--warm",
        "--report",
        "report.json",
        "plain",
        "-c",
        &write(80 << 20),
    ];
    let done = warm.host.cooper(&args).with(125);
    assert_eq!(done.stdout.len(), 64 << 20);
    assert!(
        done.stderr.contains("the rest is lost (hint: run it fresh"),
        "{}",
        done.stderr
    );
    let report = std::fs::read(warm.host.path("project/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["status"], "error", "{report}");
}

#[test]
fn live_what_is_said_of_use_is_of_this_run_and_of_all_its_processes() {
    let warm = Warm::new();
    let used = |flags: &[&str], code: &str| -> Value {
        let args = [&["run", "--report", "report.json"], flags, &["plain", "-c", code]].concat();
        warm.host.cooper(&args);
        let report = std::fs::read(warm.host.path("project/report.json")).unwrap();
        serde_json::from_slice::<Value>(&report).unwrap()["usage"].clone()
    };
    let spin = "import os, time\nfor _ in range(4):\n    if os.fork() == 0:\n        while True: pass\ntime.sleep(1)\n";
    for flags in [&[][..], &["--warm"]] {
        let alone = used(&[flags, &["--timeout", "1s"]].concat(), "while True: pass");
        let children = used(&[flags, &["--cpus", "2"]].concat(), spin);
        for usage in [alone, children] {
            assert!(usage["cpu_ms"].as_u64().unwrap() > 250, "{flags:?}: {usage}");
            assert!(
                usage["cpu_by"].as_str().unwrap().starts_with("cgroup-v"),
                "{usage}"
            );
        }
    }
    // What one run has left in memory is not what the next ones use.
    used(
        &["--warm", "--tmp", "300MiB"],
        "open('/tmp/a', 'wb').write(bytes(200 << 20))",
    );
    for _ in 0..6 {
        let usage = used(&["--warm", "--tmp", "300MiB"], "pass");
        assert!(usage["memory_peak_bytes"].as_u64().unwrap() < 60 << 20, "{usage}");
    }
}

#[test]
fn live_what_cannot_be_as_asked_is_refused_with_what_to_do() {
    let warm = Warm::new();
    let cases: [(&[&str], &str, &str); 9] = [
        (
            &["--warm", "--env", "PYTHONPATH=/x"],
            "`PYTHONPATH` does nothing",
            "run it fresh",
        ),
        (&["--output-size", "1MiB"], "--output", ""),
        (
            &["--files", "99999999"],
            "open files at most here",
            "lower the limit",
        ),
        (
            &["--memory", "1MiB"],
            "4 MiB of memory at least",
            "raise the limit",
        ),
        (
            &["--secret", "A=missing"],
            "cannot read the secret",
            "hint: write `--secret NAME=FILE`",
        ),
        (
            &["--input", "missing"],
            "cannot read the input",
            "hint: write `--input FILE`",
        ),
        (
            &["--input", "f:../x"],
            "cannot read the input",
            "nothing but one name",
        ),
        (&["--output", "no/such/folder"], "cannot", "mkdir -p"),
        (
            &["--report", "no/such/report"],
            "cannot write",
            "a folder that is there",
        ),
    ];
    for (flags, why, what) in cases {
        let done = warm
            .host
            .cooper(&[&["run"], flags, &["plain", "-c", ""]].concat())
            .with(125);
        for part in [why, what] {
            assert!(done.stderr.contains(part), "{flags:?}: {part}: {done}");
        }
    }
    // A limit of files that the host allows is held.
    let code = "import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))";
    let done = warm
        .host
        .cooper(&["run", "--warm", "--files", "1500", "plain", "-c", code])
        .good();
    assert_eq!(done.stdout, "(1500, 1500)\n");
}

#[test]
fn live_there_are_no_more_runners_in_the_background_than_eight() {
    let warm = Warm::new();
    let sockets = || {
        let found = std::fs::read_dir(&warm.sockets).unwrap().flatten();
        let paths = found.map(|entry| entry.path());
        paths
            .filter(|path| path.extension().is_some_and(|kind| kind == "sock"))
            .collect::<std::collections::BTreeSet<_>>()
    };
    let run = |pids: u32| {
        let pids = pids.to_string();
        warm.host
            .cooper(&["run", "--warm", "--pids", &pids, "plain", "-c", "print(1)"])
            .good();
    };
    run(100);
    let first = sockets();
    for pids in 101..108 {
        run(pids);
    }
    // It was used again, and is not the one that goes.
    run(100);
    run(108);
    assert_eq!(sockets().len(), 8);
    assert!(sockets().is_superset(&first));
    let runners = || {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.map(|entry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default());
        let place = warm.sockets.to_str().unwrap();
        lines
            .filter(|line| String::from_utf8_lossy(line).contains(place))
            .count()
    };
    let started = std::time::Instant::now();
    while runners() != 8 {
        assert!(started.elapsed().as_secs() < 30, "{}", runners());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
