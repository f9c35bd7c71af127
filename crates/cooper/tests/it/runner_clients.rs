//! Clients of a runner's socket: what each may name, who waits for whom, and what becomes of the runs of those that are gone.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::context::Host;
use crate::live::live_host;

const WITHIN: Duration = Duration::from_secs(30);

/// A runner that listens, ended with this.
struct Listening {
    host: Host,
    runner: Child,
    path: PathBuf,
}

impl Listening {
    fn start(flags: &[&str]) -> Self {
        let host = live_host();
        host.cooper(&["create", "plain", "--dependencies", "six"]).good();
        let path = host.path("runner.sock");
        let args = ["runner", "plain", "--listen", path.to_str().unwrap()];
        let runner = host.start(&[&args, flags].concat());
        let started = Instant::now();
        while UnixStream::connect(&path).is_err() {
            assert!(started.elapsed() < WITHIN, "nobody listens");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { host, runner, path }
    }

    fn client(&self) -> UnixStream {
        let client = UnixStream::connect(&self.path).unwrap();
        client.set_read_timeout(Some(WITHIN)).unwrap();
        client
    }

    fn ask(&self, request: &Value) -> Value {
        let client = self.client();
        send(&client, request);
        receive(&client)
    }

    /// The replies to another user, who may connect.
    fn as_other_user(&self, requests: &[Value]) -> Vec<Value> {
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        open(&self.path, 0o666);
        open(self.path.parent().unwrap(), 0o755);
        let client = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\nf = s.makefile()\n\
                      for request in sys.argv[2:]:\n    s.sendall(request.encode() + b'\\n')\n    print(f.readline(), end='')\n";
        let output = Command::new("/usr/bin/python3")
            .args(["-c", client])
            .arg(&self.path)
            .args(requests.iter().map(Value::to_string))
            .uid(4242)
            .gid(4242)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.runner.kill();
        let _ = self.runner.wait();
    }
}

fn send(mut client: &UnixStream, request: &Value) {
    writeln!(client, "{request}").unwrap();
}

fn receive(client: &UnixStream) -> Value {
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn live_only_who_runs_the_runner_names_files_for_it_to_read() {
    let runner = Listening::start(&[]);
    let own = runner.host.write("rootonly.py", "print('a secret')\n");
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600)).unwrap();
    let pipe = runner.host.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let named = |path: &std::path::Path| json!({"id": 1, "script_path": path});
    assert_eq!(runner.ask(&named(&own))["stdout"], "a secret\n");
    let reply = runner.ask(&named(&pipe));
    assert!(
        reply["error"].as_str().unwrap().contains("no regular file"),
        "{reply}"
    );
    let text = json!({"id": 2, "script": "print('own')"});
    let replies = runner.as_other_user(&[named(&own), named("/etc/shadow".as_ref()), text]);
    for reply in &replies[..2] {
        let error = reply["error"].as_str().unwrap();
        assert!(error.contains("the rights of the runner's user"), "{reply}");
        assert_eq!(reply["hint"], "send the text as `script`");
        assert_eq!(reply["stderr"], "", "{reply}");
    }
    assert_eq!(replies[2]["stdout"], "own\n");
}

#[test]
fn live_a_client_that_does_not_read_keeps_nobody_waiting_but_itself() {
    let runner = Listening::start(&[]);
    let lazy = runner.client();
    let large = json!({"id": 1, "script": "print('x' * 900000)"});
    for _ in 0..40 {
        send(&lazy, &large);
    }
    for id in 0..20 {
        assert_eq!(
            runner.ask(&json!({"id": id, "script": "print(1)"}))["stdout"],
            "1\n"
        );
    }
    // It still gets all of its own when it reads; that it says no more is no reason against it.
    lazy.shutdown(Shutdown::Write).unwrap();
    let replies = BufReader::new(&lazy).lines().map(|line| line.unwrap().len());
    let lengths: Vec<usize> = replies.collect();
    assert_eq!(lengths.len(), 40);
    assert!(lengths.iter().all(|length| *length > 900_000), "{lengths:?}");
}

#[test]
fn live_what_a_client_that_is_gone_has_asked_for_is_ended() {
    let runner = Listening::start(&["--parallel", "1"]);
    let gone = runner.client();
    let long = json!({"id": 1, "script": "import time; print('begun', flush=True); time.sleep(100)"});
    for _ in 0..20 {
        send(&gone, &long);
    }
    std::thread::sleep(Duration::from_millis(500));
    let waiting = runner.client();
    send(&waiting, &json!({"id": 2, "script": "print('next')"}));
    drop(gone);
    let asked = Instant::now();
    assert_eq!(receive(&waiting)["stdout"], "next\n");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[test]
fn live_a_template_has_no_more_runs_than_it_may_however_many_come_at_once() {
    let runner = Listening::start(&["--runs", "20", "--pool", "1"]);
    let client = runner.client();
    // Children of one template have the same hash seed.
    for id in 0..100 {
        send(
            &client,
            &json!({"id": id, "script": "cooper_result(hash('a template'))"}),
        );
    }
    client.shutdown(Shutdown::Write).unwrap();
    let mut runs = std::collections::BTreeMap::new();
    for line in BufReader::new(&client).lines() {
        let reply: Value = serde_json::from_str(&line.unwrap()).unwrap();
        *runs.entry(reply["result"].to_string()).or_insert(0) += 1;
    }
    assert_eq!(runs.values().sum::<i32>(), 100, "{runs:?}");
    assert!(runs.values().all(|count| *count <= 20), "{runs:?}");
}

#[test]
fn live_a_request_is_an_object_and_its_id_a_string_or_a_number() {
    let runner = Listening::start(&[]);
    for (request, id) in [
        (json!([7, null, "print(5)"]), json!(null)),
        (json!({"id": 1, "script": "", "limits": []}), json!(1)),
        (json!({"id": {"x": 1}, "script": ""}), json!(null)),
        (json!({"id": null, "script": ""}), json!(null)),
    ] {
        let reply = runner.ask(&request);
        assert_eq!(
            (&reply["status"], &reply["id"]),
            (&json!("error"), &id),
            "{reply}"
        );
        assert!(
            reply["error"].as_str().unwrap().contains("not understood"),
            "{reply}"
        );
        assert!(
            reply["hint"].as_str().unwrap().contains("cooper runner --help"),
            "{reply}"
        );
    }
}

#[test]
fn live_one_owner_leaves_templates_to_others() {
    let runner = Listening::start(&["--templates", "4", "--pool", "1"]);
    let greedy = runner.client();
    for pids in 100..108 {
        let request = json!({"id": pids, "owner": "greedy", "script": "import time; time.sleep(40)", "limits": {"pids": pids}});
        send(&greedy, &request);
    }
    std::thread::sleep(Duration::from_secs(1));
    let asked = Instant::now();
    let reply = runner.ask(&json!({"id": 1, "owner": "modest", "script": "print(1)"}));
    assert_eq!(reply["stdout"], "1\n", "{reply}");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[test]
fn live_nothing_but_a_socket_that_nobody_listens_on_is_replaced() {
    let mut runner = Listening::start(&[]);
    let host = &runner.host;
    host.write("project/precious", "precious\n");
    host.write("project/other.lock", "precious\n");
    std::os::unix::fs::symlink("precious", host.path("project/link")).unwrap();
    for (path, why) in [
        ("precious", "there is something else than a socket"),
        ("link", "there is something else than a socket"),
        ("other", "other.lock is no lock of a runner"),
        ("../runner.sock", "in use"),
    ] {
        let done = host.cooper(&["runner", "plain", "--listen", path]).with(1);
        assert!(done.stderr.contains(why), "{path}: {done}");
    }
    for name in ["precious", "link", "other.lock"] {
        let text = std::fs::read_to_string(host.path("project").join(name)).unwrap();
        assert_eq!(text, "precious\n", "{name}");
    }
    // One that is told to end takes its socket along.
    let pid = rustix::process::Pid::from_child(&runner.runner);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    runner.runner.wait().unwrap();
    assert!(!runner.path.exists());
    let mut said = String::new();
    runner
        .runner
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(said, "");
}

#[test]
fn live_what_a_setting_says_of_the_network_holds_for_requests() {
    let mut runner = Listening::start(&[]);
    runner.host.set("COOPER_RUN_NETWORK", "none");
    let request = json!({"id": 1, "script": "", "network": "allow:127.0.0.1:1"}).to_string();
    let done = runner
        .host
        .cooper_with_input(&["runner", "plain"], &request)
        .good();
    assert!(
        done.stdout
            .contains("more than the runner allows, which is `none`"),
        "{done}"
    );
    runner.host.set("COOPER_RUN_NETWORK", "host");
    let done = runner.host.cooper(&["runner", "plain"]).with(2);
    assert!(done.stderr.contains("never in the host's network"), "{done}");
    runner.host.unset("COOPER_RUN_NETWORK");
    // What no run can have is told at once, and 125 is the status of runs.
    for (limit, why) in [
        ("memory_bytes", "4 MiB of memory at least"),
        ("cpu_millis", "10 ms of CPU"),
    ] {
        let reply = runner.ask(&json!({"id": 1, "script": "", "limits": {limit: 0}}));
        assert!(reply["error"].as_str().unwrap().contains(why), "{reply}");
    }
    runner.host.cooper(&["runner", "nothing_of_this_name"]).with(1);
    let folder = "import os\nos.remove(os.environ['COOPER_RESULT']) if os.path.exists(os.environ['COOPER_RESULT']) else None\nos.mkdir(os.environ['COOPER_RESULT'])";
    assert_eq!(
        runner.ask(&json!({"id": 1, "script": folder}))["result_error_code"],
        "folder"
    );
}
