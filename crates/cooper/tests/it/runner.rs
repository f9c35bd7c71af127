//! `cooper runner`: requests and replies, owners and clients, templates that come and go.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use testkit::Subordinate;

use crate::context::{Host, done};
use crate::live::live_host;
use crate::rootless::Ordinary;

/// A host with an image that has numpy.
fn host() -> Host {
    let host = live_host();
    host.cooper(&["create", "numbers", "--dependencies", "numpy"])
        .good();
    host
}

/// The replies to these requests, by id.
fn replies(host: &Host, flags: &[&str], requests: &[Value]) -> Vec<Value> {
    let lines: Vec<String> = requests.iter().map(Value::to_string).collect();
    let lines = lines.join("\n");
    let args: Vec<&str> = ["runner", "numbers"].iter().chain(flags).copied().collect();
    let done = host.cooper_with_input(&args, &lines).good();
    let mut replies: Vec<Value> = done
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    replies.sort_by_key(|reply| reply["id"].as_u64());
    assert_eq!(replies.len(), requests.len(), "{done}");
    replies
}

const RANDOM: &str = "
import os, random, secrets, ssl, uuid
import numpy
cooper_result([random.random(), secrets.token_hex(8), str(uuid.uuid4()), ssl.RAND_bytes(8).hex(),
               float(numpy.random.random()), float(numpy.random.default_rng().random()), os.urandom(8).hex()])
";

/// Of all kinds, those at 6, 7, 8, 12, 13, 15, 17 and 18 wrong.
fn requests() -> Vec<Value> {
    vec![
        json!({"id": 1, "script": "print('hello'); cooper_result({'six': [6]})"}),
        json!({"id": 2, "script": "import sys; print(sys.argv[1:]); sys.exit(3)", "args": ["a", 1]}),
        json!({"id": 3, "script": "import sys; sys.stdout.buffer.write(b'\\xff\\x00')"}),
        json!({"id": 4, "script": "while True: pass", "timeout_ms": 200}),
        json!({"id": 5, "script": "x = bytearray(1 << 30)", "limits": {"memory_bytes": 100_000_000}}),
        json!({"id": 6, "script": "", "limits": {"memory_bytes": 1_u64 << 40}}),
        json!({"id": 7, "script": "", "timeout": 3}),
        json!({"id": 8}),
        json!({"id": 9, "script_path": "script of the host.py"}),
        json!({"id": 10, "script": "import os, json; cooper_result(json.loads(os.environ['COOPER_ARGS']))",
            "args": {"deep": [1, {"x": null}]}}),
        json!({"id": 11, "script": "import os; open(os.environ['COOPER_RESULT'], 'w').write('{')"}),
        json!({"id": 12, "script": "", "files": {"../x": ""}}),
        json!({"id": 13, "script": "", "network": "host"}),
        json!({"id": 14, "script": "print(open('/etc/shadow').read())"}),
        json!({"id": 15, "script": "", "network": "allow:*.example.org"}),
        json!({"id": 16, "script": "import os; os.abort()"}),
        json!({"id": 17, "script": "", "env": {"PYTHONHASHSEED": "0"}}),
        json!({"id": 18, "script": "", "timeout_ms": 0}),
    ]
}

#[test]
fn live_a_runner_answers_each_request_once_with_what_became_of_it() {
    let host = host();
    let requests = requests();
    host.write("project/script of the host.py", "print(__file__)");
    let replies = replies(&host, &["--preload", "numpy"], &requests);
    let of = |id: usize| &replies[id - 1];
    assert_eq!(of(1)["stdout"], "hello\n");
    assert_eq!(of(1)["result"], json!({"six": [6]}));
    assert!(of(1)["usage"]["memory_peak_bytes"].as_u64().unwrap() > 0);
    assert!(of(1)["duration_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (&of(2)["exit_code"], &of(2)["stdout"]),
        (&json!(3), &json!("['a', '1']\n"))
    );
    assert_eq!(of(3)["stdout"], json!({"base64": "/wA="}));
    assert_eq!(
        (&of(4)["status"], &of(4)["limit"]),
        (&json!("limit"), &json!("timeout"))
    );
    assert_eq!(
        (&of(5)["status"], &of(5)["limit"]),
        (&json!("limit"), &json!("memory"))
    );
    for (id, error) in [
        (6, "`limits.memory_bytes` is more than the runner allows"),
        (7, "unknown field `timeout`"),
        (8, "`script` or `script_path` is missing"),
        (12, "is no name for a file"),
        (13, "a warm run is never in the host's network"),
        (15, "there are no wildcards"),
        (17, "`PYTHONHASHSEED` does nothing in a warm run"),
        (18, "`timeout_ms` is 0"),
    ] {
        assert_eq!(of(id)["status"], "error", "{}", of(id));
        assert!(of(id)["error"].as_str().unwrap().contains(error), "{}", of(id));
    }
    assert!(of(6)["error"].as_str().unwrap().ends_with("which is 1073741824"));
    assert!(
        of(6)["hint"]
            .as_str()
            .unwrap()
            .contains("start the runner with more")
    );
    assert_eq!(
        (&of(16)["status"], &of(16)["exit_code"], &of(16)["signal"]),
        (&json!("killed"), &json!(null), &json!(6))
    );
    words_are_those_of_reports(of(1));
    assert_eq!(of(9)["stdout"], "/run/cooper/script of the host.py\n");
    assert_eq!(of(10)["result"], json!({"deep": [1, {"x": null}]}));
    assert!(
        of(11)["result_error"]
            .as_str()
            .unwrap()
            .starts_with("it is not JSON")
    );
    assert_eq!(of(14)["exit_code"], 1);
}

fn words_are_those_of_reports(reply: &Value) {
    let held: BTreeSet<&str> = reply["enforced"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|held| ["limit", "by"].map(|name| held[name].as_str().unwrap()))
        .collect();
    for word in ["memory", "pids", "cpus", "files", "timeout", "tmp", "scratch"] {
        assert!(held.contains(word), "{held:?}");
    }
    assert!(held.iter().all(|word| !word.contains([' ', '/'])), "{held:?}");
}

#[test]
fn live_children_and_owners_share_no_randomness_and_no_template() {
    let host = host();
    let owners = ["a", "b"];
    let requests: Vec<Value> = (0..12)
        .map(|id| json!({"id": id, "owner": owners[id % 2], "script": RANDOM}))
        .collect();
    // Templates are replaced all the time, and there is room for one only.
    for flags in [
        &["--preload", "numpy,ssl"][..],
        &[
            "--preload",
            "numpy,ssl",
            "--runs",
            "2",
            "--templates",
            "1",
            "--pool",
            "1",
        ],
    ] {
        let mut seen = BTreeSet::new();
        for reply in replies(&host, flags, &requests) {
            assert_eq!(reply["status"], "exited", "{reply}");
            for value in reply["result"].as_array().unwrap() {
                assert!(seen.insert(value.to_string()), "{value} comes twice");
            }
        }
    }
    // What fails beforehand is told before there are requests.
    for words in [
        &["runner", "numbers"][..],
        &["run", "--warm", "numbers", "-c", ""],
    ] {
        let (command, rest) = words.split_first().unwrap();
        let preload = ["--preload", "nothing_of_this_name"];
        let runtime = host.path("own");
        std::fs::create_dir_all(&runtime).unwrap();
        std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let args = if *command == "run" {
            [&["run", "--warm"], &preload[..], &rest[1..]].concat()
        } else {
            [&["runner"], &preload[..], rest].concat()
        };
        let mut call = host.command(&args);
        let done = done(&call.env("XDG_RUNTIME_DIR", &runtime).output().unwrap());
        assert!(done.status == if *command == "run" { 125 } else { 1 }, "{done}");
        for part in ["No module named 'nothing_of_this_name'", "`--preload`"] {
            assert!(done.stderr.contains(part), "{part}: {done}");
        }
        // A run has one line, and of a traceback the exception is enough.
        let is_line = done.stderr.lines().count() == 1 && !done.stderr.contains("Traceback");
        assert_eq!(is_line, *command == "run", "{done}");
    }
}

#[test]
fn live_children_count_no_references_to_what_their_template_had() {
    // Where they are counted, looking at an object is writing to it, and most of its memory becomes the child's own.
    let script = "\
import json, sys
assert sys.version_info >= (3, 12)
here = object()
seen = [sys.getrefcount(thing) for thing in (json, json.dumps, json.dumps.__code__, json.__name__, here)]
cooper_result([count == sys.getrefcount(None) for count in seen])
";
    let reply = replies(&host(), &[], &[json!({"id": 1, "script": script})]).remove(0);
    assert_eq!(reply["result"], json!([true, true, true, true, false]), "{reply}");
}

#[test]
fn live_clients_of_a_socket_speak_for_themselves() {
    let host = host();
    let path = host.path("runner.sock");
    let args = ["runner", "numbers", "--listen", path.to_str().unwrap()];
    let mut runner = host.start(&args);
    let started = Instant::now();
    while UnixStream::connect(&path).is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "nobody listens");
        std::thread::sleep(Duration::from_millis(10));
    }
    let ask = |request: Value| -> Value {
        let mut client = UnixStream::connect(&path).unwrap();
        writeln!(client, "{request}").unwrap();
        let mut line = String::new();
        BufReader::new(client).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    };
    let reply = ask(json!({"id": "x", "script": "print(1)", "owner": "somebody"}));
    assert_eq!(
        (&reply["id"], &reply["stdout"]),
        (&json!("x"), &json!("1\n")),
        "{reply}"
    );

    // Another user may connect where the file lets him, and is nobody else.
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let folder = path.parent().unwrap();
    std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let client = "import json, socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                  for owner in (None, 'uid:0', 'uid:4242'):\n    request = {'id': str(owner), 'script': 'print(2)'}\n    \
                  if owner: request['owner'] = owner\n    s.sendall(json.dumps(request).encode() + b'\\n')\n\
                  f = s.makefile()\nprint(''.join(sorted(f.readline() for _ in range(3))))\n";
    let output = Command::new("/usr/bin/python3")
        .args(["-c", client])
        .arg(&path)
        .uid(4242)
        .gid(4242)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<Value> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let status = |id: &str| {
        let reply = lines.iter().find(|reply| reply["id"] == id);
        reply.unwrap_or_else(|| panic!("{id}: {text}{}", String::from_utf8_lossy(&output.stderr)))["status"]
            .clone()
    };
    assert_eq!(status("None"), "exited");
    assert_eq!(status("uid:4242"), "exited");
    assert_eq!(status("uid:0"), "error");
    runner.kill().unwrap();
    runner.wait().unwrap();
}

#[test]
fn live_warm_runs_share_a_runner_that_is_started_and_ends_by_itself() {
    let mut host = host();
    let folder = own_runtime(&mut host);
    host.write("project/key.txt", "hunter2");
    host.write("project/data.csv", "1,2");
    let script = "import sys, numpy\nprint(sys.argv[1:], sys.stdin.read(), open('/input/d.csv').read())\n\
                  cooper_result({'key': open('/run/secrets/KEY').read()})\nprint('to stderr', file=sys.stderr)\n\
                  sys.exit(7)\n";
    host.write("project/script.py", script);
    let args = [
        "run",
        "--warm",
        "--preload",
        "numpy",
        "--secret",
        "KEY=key.txt",
        "--input",
        "data.csv:d.csv",
        "--result",
        "out.json",
        "numbers",
        "script.py",
        "a",
        "b",
    ];
    for _ in 0..2 {
        let done = host.cooper_with_input(&args, "typed").with(7);
        assert_eq!(done.stdout, "['a', 'b'] typed 1,2\n", "{done}");
        assert_eq!(done.stderr, "to stderr\n");
        let result = std::fs::read_to_string(host.path("project/out.json")).unwrap();
        assert_eq!(result, "{\"key\":\"hunter2\"}\n");
    }
    let sockets = || {
        let entries = std::fs::read_dir(&folder).unwrap().flatten();
        entries
            .filter(|entry| entry.path().extension().is_some_and(|kind| kind == "sock"))
            .count()
    };
    assert_eq!(sockets(), 1);
    some_runs_are_told_why_not(&host);
    // Who else may write to the folder could listen in the runner's place.
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let done = host.cooper(&["run", "--warm", "numbers", "-c", ""]).with(125);
    assert!(
        done.stderr.contains("it is not a folder of yours alone"),
        "{done}"
    );
    end_runners(&folder);
}

fn some_runs_are_told_why_not(host: &Host) {
    let done = host
        .cooper(&[
            "run",
            "--warm",
            "--timeout",
            "300ms",
            "numbers",
            "-c",
            "while True: pass",
        ])
        .with(124);
    assert!(
        done.stderr.contains("stopped after the time limit of 300 ms"),
        "{done}"
    );
    let done = host.cooper(&["run", "--warm", "numbers", "--", "ls"]).with(125);
    assert!(done.stderr.contains("has no template"), "{done}");
    let done = host
        .cooper(&["run", "--warm", "--network", "host", "numbers", "-c", ""])
        .with(125);
    assert!(
        done.stderr.contains("a warm run is never in the host's network"),
        "{done}"
    );
}

const LEAVES: &str = "
import os
os.makedirs('/output/a/b')
open('/output/a/b/c.bin', 'wb').write(bytes(range(256)))
os.symlink('/etc/passwd', '/output/link')
open('/usr/of-a-run', 'w').write('x')
open(os.environ['COOPER_RESULT'], 'w').write('[1, 2.5]')
raise SystemExit(5)
";

/// What there is in common of two reports of the same.
fn comparable(report: &std::path::Path) -> Value {
    let mut report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    for measured in ["duration_ms", "usage"] {
        assert!(!report[measured].is_null(), "{report}");
        report[measured] = Value::Null;
    }
    report
}

#[test]
fn live_a_warm_run_leaves_and_reports_what_a_fresh_one_does() {
    let mut host = host();
    let runtime = own_runtime(&mut host);
    host.write("project/leaves.py", LEAVES);
    let cases: [(&[&str], i32); 4] = [
        (&["--writable", "numbers", "leaves.py"], 5),
        (&["--read-only", "numbers", "leaves.py"], 1),
        (&["--timeout", "300ms", "numbers", "-c", "while True: pass"], 124),
        (&["numbers", "-c", "import os; os.abort()"], 134),
    ];
    for (number, (words, status)) in cases.into_iter().enumerate() {
        let reports = [None, Some("--warm")].map(|warm| {
            let name = format!("{number}{}", warm.unwrap_or_default());
            let (report, folder) = (format!("{name}.json"), format!("{name}.out"));
            let mut args = vec!["run", "--report", &report, "--output", &folder];
            args.extend(warm);
            args.extend(words);
            let done = host.cooper(&args).with(status);
            if number < 2 {
                assert!(done.stderr.contains("`/output/link` is not taken"), "{done}");
                let left = host.path(&format!("project/{folder}/a/b/c.bin"));
                let bytes: Vec<u8> = (0..=255).collect();
                assert_eq!(std::fs::read(left).unwrap(), bytes, "{done}");
            }
            comparable(&host.path(&format!("project/{report}")))
        });
        assert_eq!(reports[0], reports[1]);
    }
    let report = comparable(&host.path("project/0--warm.json"));
    assert_eq!(report["result"], json!([1, 2.5]), "{report}");
    assert_eq!(report["exit_code"], 5, "{report}");
    // Nothing is overwritten.
    let done = host
        .cooper(&["run", "--warm", "--output", "0.out", "numbers", "-c", ""])
        .with(125);
    assert!(done.stderr.contains("is not empty"), "{done}");
    end_runners(&runtime);
}

/// A place for the sockets of this test's runners; the folder that they are in.
fn own_runtime(host: &mut Host) -> std::path::PathBuf {
    let runtime = host.path("runtime");
    std::fs::create_dir(&runtime).unwrap();
    std::fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    host.set("XDG_RUNTIME_DIR", runtime.to_str().unwrap());
    runtime.join("cooper-runners")
}

/// Answers each connection with the bytes that came, for so many connections.
fn echo(connections: usize) -> (u16, std::thread::JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            (&stream).write_all(line.as_bytes()).unwrap();
        }
    });
    (port, answering)
}

const ASK: &str = "
import socket
def ask(name):
    try:
        with socket.create_connection((name, PORT), 5) as s:
            s.sendall(b'x\\n')
            return s.recv(2).decode()
    except OSError as error:
        return type(error).__name__
print([ask('own.internal'), ask('127.0.0.1'), ask('other.test')])
";

#[test]
fn live_requests_reach_whom_they_list_and_no_more_than_the_runner_allows() {
    let mut host = host();
    let (port, answering) = echo(2);
    let script = ASK.replace("PORT", &port.to_string());
    let own = format!("allow:own.internal=127.0.0.1:{port}");
    let requests = [
        json!({"id": 1, "script": script}),
        json!({"id": 2, "script": script, "network": "none"}),
        json!({"id": 3, "script": script, "network": own}),
        json!({"id": 4, "script": script, "network": format!("allow:127.0.0.1:{}", port - 1)}),
    ];
    let answered = replies(&host, &["--network", &own], &requests);
    let closed = "['gaierror', 'ConnectionRefusedError', 'gaierror']\n";
    for reply in &answered[..2] {
        assert_eq!(reply["stdout"], closed, "{reply}");
        assert!(reply.get("network").is_none(), "{reply}");
    }
    assert_eq!(
        answered[2]["stdout"], "['x\\n', 'ConnectionRefusedError', 'gaierror']\n",
        "{}",
        answered[2]
    );
    let network = &answered[2]["network"];
    assert_eq!(
        (&network["connections"], &network["unknown_names"][0]["name"]),
        (&json!(1), &json!("other.test")),
        "{network}"
    );
    let error = answered[3]["error"].as_str().unwrap();
    assert!(error.contains("more than the runner allows"), "{error}");
    let refused = host.cooper(&["runner", "numbers", "--network", "host"]).with(2);
    assert!(
        refused.stderr.contains("never in the host's network"),
        "{refused}"
    );

    let runtime = own_runtime(&mut host);
    let done = host
        .cooper(&["run", "--warm", "--network", &own, "numbers", "-c", &script])
        .good();
    assert_eq!(
        done.stdout, "['x\\n', 'ConnectionRefusedError', 'gaierror']\n",
        "{done}"
    );
    assert!(
        done.stderr
            .contains("warning: the name other.test was asked for and is not allowed"),
        "{done}"
    );
    end_runners(&runtime);
    answering.join().unwrap();
}

/// How many keepers a runner has.
fn keepers(runner: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{runner}/task"))
        .unwrap()
        .flatten();
    let children =
        tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    let children: Vec<String> = children
        .flat_map(|line| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>())
        .collect();
    let lines = children
        .iter()
        .map(|id| std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default());
    lines.filter(|line| line.ends_with(b"\0keeper\0")).count()
}

#[test]
fn live_templates_are_bounded_in_memory() {
    let host = host();
    host.write(
        "project/ballast.py",
        "import builtins\nbuiltins.ballast = bytearray(60 << 20)\n",
    );
    let path = host.path("runner.sock");
    for (memory, expected) in [
        ("150MiB", [1, 2, 2, 2]),
        ("1GiB", [1, 2, 3, 4]),
        ("10MiB", [1; 4]),
    ] {
        let args = [
            "runner",
            "numbers",
            "--rehearse",
            "ballast.py",
            "--pool",
            "1",
            "--templates-memory",
            memory,
            "--listen",
            path.to_str().unwrap(),
        ];
        let mut runner = host.start(&args);
        let started = Instant::now();
        while UnixStream::connect(&path).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "nobody listens");
            std::thread::sleep(Duration::from_millis(10));
        }
        // The first one's is ready before there are requests.
        for (owner, expected) in ["uid:0", "b", "c", "d"].into_iter().zip(expected) {
            let mut client = UnixStream::connect(&path).unwrap();
            writeln!(
                client,
                "{}",
                json!({"id": 1, "owner": owner, "script": "print(len(ballast) >> 20)"})
            )
            .unwrap();
            let mut line = String::new();
            BufReader::new(client).read_line(&mut line).unwrap();
            assert!(line.contains("60\\n"), "{line}");
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_secs(1) || keepers(runner.id()) != expected {
                assert!(
                    asked.elapsed() < Duration::from_secs(20),
                    "{memory} {owner}: {}",
                    keepers(runner.id())
                );
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        runner.kill().unwrap();
        runner.wait().unwrap();
    }
}

#[test]
fn live_an_ordinary_user_has_warm_runs_of_its_own() {
    let mut ordinary = ordinary();
    let folder = own_runtime(&mut ordinary.host);
    ordinary.user.give(folder.parent().unwrap()).unwrap();
    let (port, answering) = echo(1);
    let own = format!("allow:own.internal=127.0.0.1:{port}");
    let code = "import os, socket\nwith socket.create_connection(('own.internal', PORT), 5) as s:\n    s.sendall(b'x\\n')\n    print(s.recv(2))\n\
                print(os.getuid(), sorted(name for name in os.listdir('/proc') if name.isdigit())[:1], open('/proc/self/uid_map').read().split()[:3])\n\
                open('/output/a', 'w').write('a')\n";
    let code = code.replace("PORT", &port.to_string());
    let report = ordinary.host.path("project/report.json");
    let args = [
        "run",
        "--warm",
        "--network",
        &own,
        "--output",
        "out",
        "--report",
        "report.json",
        "numbers",
        "-c",
        &code,
    ];
    let done = ordinary.cooper(&args).good();
    assert!(done.stdout.starts_with("b'x\\n'\n1000 "), "{done}");
    assert!(
        done.stderr.contains("memory is bounded for each process"),
        "{done}"
    );
    assert_eq!(std::fs::read(ordinary.host.path("project/out/a")).unwrap(), b"a");
    let report = comparable(&report);
    let held: Vec<(&str, &str)> = report["enforced"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| (held["limit"].as_str().unwrap(), held["by"].as_str().unwrap()))
        .collect();
    for expected in [
        ("memory", "rlimit"),
        ("pids", "rlimit"),
        ("cpus", "nothing"),
        ("files", "rlimit"),
        ("tmp", "tmpfs"),
    ] {
        assert!(held.contains(&expected), "{expected:?}: {held:?}");
    }
    limits_hold_for(&ordinary);
    end_runners(&folder);
    answering.join().unwrap();
    let single = Ordinary::of(Host::new(), Subordinate::None);
    let done = single.cooper(&["runner", "numbers"]).with(1);
    assert!(
        done.stderr.contains("needs subordinate user and group ids"),
        "{done}"
    );
}

/// An ordinary user with the image.
fn ordinary() -> Ordinary {
    let root = host();
    let archive = root.path("project/image.tar").display().to_string();
    root.cooper(&["save", "numbers", "-o", &archive]).good();
    let ordinary = Ordinary::of(Host::new(), Subordinate::Usual);
    let image = ordinary.host.path("project/image.tar");
    std::fs::copy(&archive, &image).unwrap();
    ordinary.user.give(&ordinary.host.path("project")).unwrap();
    ordinary.cooper(&["load", "image.tar"]).good();
    ordinary
}

fn limits_hold_for(ordinary: &Ordinary) {
    let done = ordinary
        .cooper(&[
            "run",
            "--warm",
            "--memory",
            "100MiB",
            "numbers",
            "-c",
            "x = bytearray(200 << 20)",
        ])
        .with(1);
    assert!(done.stderr.contains("MemoryError"), "{done}");
    let fork = "import os\ntry:\n    for _ in range(40):\n        if os.fork() == 0:\n            import time; time.sleep(5)\nexcept OSError as error:\n    print(error.errno)\n";
    let done = ordinary
        .cooper(&["run", "--warm", "--pids", "20", "numbers", "-c", fork])
        .good();
    assert_eq!(done.stdout, "11\n", "{done}");
    let done = ordinary
        .cooper(&["run", "--warm", "--writable", "numbers", "-c", ""])
        .with(125);
    assert!(done.stderr.contains("show the run's user as the owner"), "{done}");
}

/// End what was left running in the background, as it does by itself after a while.
fn end_runners(folder: &std::path::Path) {
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let is_ours = String::from_utf8_lossy(&line).contains(folder.to_str().unwrap());
        let pid = entry.file_name().to_string_lossy().parse().ok();
        if let Some(pid) = pid.filter(|_| is_ours).and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}
