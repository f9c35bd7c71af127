//! `cooper run` in an image of a made archive. Its Python is a stub that runs shell scripts: what is tested is how
//! arguments, streams, limits and statuses pass, on any host that has busybox.

use std::time::{Duration, Instant};

use crate::context::{World, done};

fn world() -> World {
    assert!(
        testkit::base::busybox().is_some(),
        "these tests need Debian's busybox-static at /bin/busybox"
    );
    let world = World::new();
    world.create_example();
    world
}

#[test]
fn programs_at_a_terminal_know_which_it_is() {
    let world = world();
    let shown = |args: &[&str]| {
        let mut child = world.host.at_terminal(args).spawn().unwrap();
        let _keyboard = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let print = ["example_name", "--", "sh", "-c", "echo term=$TERM"];
    assert_eq!(
        shown(&[&["run", "--raw"], &print[..]].concat()),
        "term=xterm-256color"
    );
    assert_eq!(shown(&[&["run"], &print[..]].concat()), "term=");
    assert_eq!(
        shown(&[&["run", "--raw", "--env", "TERM=dumb"], &print[..]].concat()),
        "term=dumb"
    );
    let mut host = world.another_host();
    host.set("COOPER_STORE", &world.host.path("store").display().to_string());
    host.set("TERM", "xterm-256color");
    assert_eq!(
        host.cooper(&[&["run"], &print[..]].concat()).good().stdout.trim(),
        "term="
    );
}

#[test]
fn scripts_code_and_commands_run() {
    let world = world();
    world
        .host
        .write("project/script.py", "echo \"$0\" \"$#\" \"$@\"; pwd; exit 7\n");
    let ran = world
        .cooper(&[
            "run",
            "example_name",
            "script.py",
            "a b",
            "--json",
            "-q",
            "--",
            "--help",
        ])
        .with(7);
    let words = ran.stdout.lines().collect::<Vec<_>>();
    assert!(
        words[0].ends_with("/script.py 5 a b --json -q -- --help"),
        "{ran}"
    );
    assert_eq!((words[1], ran.stderr.as_str()), ("/work", ""));
    let piped = world
        .host
        .cooper_with_input(&["run", "example_name", "-", "x"], "echo piped \"$1\"; exit 3\n")
        .with(3);
    assert_eq!(piped.stdout, "piped x\n");
    world
        .cooper(&["run", "example_name", "-c", "import mechanize, html5lib"])
        .good();
    let missing = world
        .cooper(&["run", "example_name", "-c", "import requests"])
        .with(1);
    assert!(missing.stderr.contains("ModuleNotFoundError"), "{missing}");
    let wget = world
        .cooper(&["run", "example_name", "--", "wget", "--version"])
        .good();
    assert_eq!(wget.stdout, "GNU Wget --version\n");
    world
        .cooper(&["run", "local/example_name:1.0.0.1", "--", "true"])
        .good();
}

#[test]
fn streams_pass_through_unchanged() {
    let world = world();
    let lines: Vec<String> = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let input = lines.concat();
    let echoed = world
        .host
        .cooper_with_input(&["run", "example_name", "--", "cat"], &input)
        .good();
    assert_eq!(echoed.stdout, input);
    let both = world
        .cooper(&["run", "example_name", "--", "sh", "-c", "echo out; echo err >&2"])
        .good();
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
}

#[test]
fn a_run_is_contained() {
    let world = world();
    let shell = |script: &str| world.cooper(&["run", "example_name", "--", "sh", "-c", script]);
    assert_ne!(shell("id -u").good().stdout, "0\n");
    assert_ne!(shell("echo x > /usr/x").status, 0);
    shell("echo x > /tmp/x && echo x > /work/x && echo x > x").good();
    assert_eq!(
        shell("ls /tmp /work | grep -c x").stdout,
        "0\n",
        "nothing of the run before"
    );
    assert_ne!(
        shell("dd if=/dev/zero of=/work/big bs=1M count=80").status,
        0,
        "the working directory is bounded"
    );
    assert!(
        !shell("ls /proc/net/dev && cat /proc/net/dev")
            .stdout
            .contains("eth0")
    );
    let env = world
        .cooper(&["run", "--env", "COLOUR=dark red", "example_name", "--", "env"])
        .good();
    assert!(env.stdout.contains("COLOUR=dark red\n"), "{env}");
    assert!(
        !env.stdout.contains("COOPER_STORE"),
        "the host's environment stays outside: {env}"
    );
}

#[test]
fn the_network_is_there_only_when_asked_for() {
    let world = world();
    let address = world.server.url("simple/");
    let (host, port) = address
        .trim_start_matches("http://")
        .trim_end_matches("/simple/")
        .split_once(':')
        .unwrap();
    let reach = format!("nc -w 2 {host} {port} </dev/null");
    let run = |network: &str| {
        world.cooper(&[
            "run",
            "--network",
            network,
            "example_name",
            "--",
            "sh",
            "-c",
            &reach,
        ])
    };
    assert_ne!(run("none").status, 0);
    run("host").good();
    run("bridge").with(125);
}

#[test]
fn an_allow_list_opens_a_way_to_its_hosts_alone() {
    let world = world();
    let address = world.server.url("simple/");
    let port = address.trim_end_matches("/simple/").rsplit(':').next().unwrap();
    let fetch =
        format!("busybox wget -q -O - http://index.internal:{port}/simple/ >/dev/null && echo fetched");
    let run = |network: &str, script: &str| {
        let network = network.replace("PORT", port);
        world.cooper(&[
            "run",
            "--network",
            &network,
            "example_name",
            "--",
            "busybox",
            "sh",
            "-c",
            script,
        ])
    };
    let reached = run("allow:index.internal=127.0.0.1:PORT", &fetch).good();
    assert_eq!(
        (reached.stdout.as_str(), reached.stderr.as_str()),
        ("fetched\n", "")
    );
    let other_port = run("allow:index.internal=127.0.0.1:1", &fetch);
    assert_ne!(other_port.status, 0, "{other_port}");
    let unknown = run("allow:other.internal=127.0.0.1:PORT", &fetch);
    assert_ne!(unknown.status, 0, "{unknown}");
    assert!(
        unknown
            .stderr
            .contains("warning: the name index.internal was asked for and is not allowed"),
        "{unknown}"
    );
    for wrong in [
        "allow:*.internal",
        "allow:10.0.0.0/8",
        "allow:a:1-9",
        "allow:",
        "allow:localhost",
    ] {
        let refused = run(wrong, "true").with(125);
        assert!(refused.stderr.starts_with("error: --network: "), "{refused}");
    }
    // The setting takes the same text.
    let settings = format!("run.network = \"allow:index.internal=127.0.0.1:{port}\"\n");
    world.host.write("home/.config/cooper/cooper.toml", &settings);
    let by_setting = world.cooper(&["run", "example_name", "--", "busybox", "sh", "-c", &fetch]);
    assert_eq!(by_setting.good().stdout, "fetched\n");
}

#[test]
fn a_report_tells_of_connections() {
    let world = world();
    let address = world.server.url("simple/");
    let port = address.trim_end_matches("/simple/").rsplit(':').next().unwrap();
    let fetch = format!("busybox wget -q -O - http://index.internal:{port}/simple/ >/dev/null");
    let report = world.host.path("report.json");
    let script = format!("{fetch}; {fetch}; busybox wget -q http://elsewhere.test/; true");
    let network = format!("allow:index.internal=127.0.0.1:{port}");
    let told = [
        "run",
        "-q",
        "--network",
        &network,
        "--report",
        report.to_str().unwrap(),
    ];
    world
        .cooper(&[&told[..], &["example_name", "--", "busybox", "sh", "-c", &script]].concat())
        .good();
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    let network = &report["network"];
    assert_eq!(network["connections"], 2, "{report}");
    assert!(network["bytes_received"].as_u64() > Some(100), "{report}");
    assert_eq!(network["refused"], serde_json::json!([]), "{report}");
    let unknown = &network["unknown_names"][0];
    assert_eq!(
        (&unknown["name"], &unknown["count"]),
        (&serde_json::json!("elsewhere.test"), &serde_json::json!(1)),
        "{report}"
    );
}

#[test]
fn limits_end_a_run_and_say_so() {
    let world = world();
    let started = Instant::now();
    let late = world
        .cooper(&["run", "--timeout", "500ms", "example_name", "--", "sleep", "60"])
        .with(124);
    assert!(started.elapsed() < Duration::from_secs(10), "{late}");
    assert_eq!(
        late.stderr,
        "error: stopped after the time limit of 500 ms; `--timeout` sets another\n"
    );
    let greedy = [
        "run",
        "--memory",
        "32MiB",
        "example_name",
        "--",
        "sh",
        "-c",
        "x=x; while :; do x=$x$x; done",
    ];
    let greedy = world.cooper(&greedy).with(137);
    assert_eq!(
        greedy
            .stderr
            .lines()
            .filter(|line| line.starts_with("error: "))
            .count(),
        1,
        "{greedy}"
    );
    assert!(greedy.stderr.contains("memory limit of 32.0 MiB"), "{greedy}");
    let forks = "for i in $(seq 100); do sleep 5 & done; wait";
    let forks = world.cooper(&[
        "run",
        "--pids",
        "10",
        "--timeout",
        "20s",
        "example_name",
        "--",
        "sh",
        "-c",
        forks,
    ]);
    assert_ne!(forks.status, 0, "{forks}");
    // A project may lower the limits; a flag of who runs it is stronger.
    world
        .host
        .write("project/cooper.toml", "run.timeout = \"300ms\"\n");
    world
        .cooper(&["run", "example_name", "--", "sleep", "60"])
        .with(124);
    world
        .cooper(&["run", "--timeout", "20s", "example_name", "--", "sleep", "1"])
        .good();
}

#[test]
fn statuses_of_our_own_are_125() {
    let world = world();
    for args in [
        &["run", "example_nam", "--", "true"][..],
        &["run", "example_name", "missing.py"],
        &["run", "example_name", "--", "no-such-program"],
        &["run", "--bad-flag", "example_name", "--", "true"],
    ] {
        let failed = world.cooper(args).with(125);
        assert!(failed.stderr.starts_with("error: "), "{args:?}: {failed}");
        assert_eq!(failed.stdout, "", "{args:?}: {failed}");
    }
    world
        .cooper(&["run", "example_name", "--", "sh", "-c", "exit 255"])
        .with(255);
}

#[test]
fn signals_pass_and_nothing_outlives_the_run() {
    let world = world();
    let script = "trap 'echo bye; exit 9' TERM; echo ready; sleep 61 & while :; do sleep 0.1; done";
    let mut child = world
        .host
        .start(&["run", "example_name", "--", "sh", "-c", script]);
    let mut output = child.stdout.take().unwrap();
    let mut first = [0; 6];
    std::io::Read::read_exact(&mut output, &mut first).unwrap();
    assert_eq!(&first, b"ready\n");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
    let ended = done(&child.wait_with_output().unwrap());
    assert_eq!((ended.status, rest.as_str()), (9, "bye\n"), "{ended}");
    assert_eq!(processes_with("sleep\u{0}61"), 0);
}

#[test]
fn a_killed_run_takes_its_processes_along() {
    let world = world();
    let mut child = world.host.start(&[
        "run",
        "example_name",
        "--",
        "sh",
        "-c",
        "sleep 62 & echo ready; sleep 62",
    ]);
    let mut first = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while processes_with("sleep\u{0}62") > 0 {
        assert!(Instant::now() < deadline, "they live on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many processes of this machine have this in their command line.
fn processes_with(text: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| String::from_utf8_lossy(line).contains(text))
        .count()
}
