//! An allow-list: who is on it is reached, and nobody else.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};

use cooper_sandbox::{End, SandboxError, Spec};

use crate::bed::{Bed, alive, cgroups_of, marker, wait_for};
use crate::world::World;

#[test]
fn allowed_hosts_are_reached_by_name() {
    let world = World::new();
    let (out, told) = world.shell(
        "allow:good.test,other.test:80",
        "wget -q -O - http://good.test/; wget -q -O - http://GOOD.test./; wget -q -O - http://other.test/",
    );
    assert_eq!(out, "hello\nhello\nhello\n", "{told}");
    assert_eq!(
        world.reached(),
        ["93.184.216.34:80", "93.184.216.34:80", "93.184.216.35:80"]
    );
    assert!(told.contains("connections: 3,"), "{told}");
    let (out, told) = world.shell("allow:six.test", "wget -q -O - http://six.test/");
    assert_eq!(out, "hello\n", "by IPv6 outside: {told}");
    assert_eq!(world.reached(), ["[2606:4700::2]:80"]);
}

#[test]
fn names_are_answered_by_dns_too() {
    let world = World::new();
    world.bed.put("/etc/nsswitch.conf", "hosts: dns\n", 0o644);
    let script = "wget -q -O - http://good.test/; wget -O - http://other.test/ 2>&1; nslookup -type=a good.test | tail -3;
        nslookup -type=aaaa good.test >/dev/null && echo no IPv6; nslookup -type=txt secret.evil.test; true";
    let (out, told) = world.shell("allow:good.test", script);
    assert!(
        out.starts_with("hello\nwget: bad address 'other.test'\n"),
        "{out} {told}"
    );
    assert!(out.contains("127.80.1.1"), "{out}");
    assert!(told.contains("name: \"other.test\""), "{told}");
    assert_eq!(world.reached(), ["93.184.216.34:80"]);
}

#[test]
fn nobody_else_is_reached() {
    let world = World::new();
    let attempts = [
        ("another port", "good.test", 7),
        ("another host", "other.test", 80),
        ("the allowed host's real address", "93.184.216.34", 80),
        ("another address", "93.184.216.35", 80),
        ("the metadata address", "169.254.169.254", 80),
        ("a private address", "10.0.0.5", 80),
        ("an address of the host", "8.8.4.1", 80),
        ("another one", "10.0.0.1", 80),
        ("what listens on the host's loopback", "127.0.0.1", 80),
        ("the same by any loopback address", "127.80.1.1", 7),
        ("a mapped address", "::ffff:93.184.216.34", 80),
        ("an IPv6 address", "2606:4700::2", 80),
    ];
    for (what, host, port) in attempts {
        let script = format!("echo | nc -w 3 {host} {port} && echo reached; true");
        let (out, _) = world.shell("allow:good.test:80", &script);
        assert_eq!(out, "", "{what}");
    }
    assert_eq!(world.reached(), [""; 0]);
    let (out, _) = world.shell("none", "echo | nc -w 3 good.test 80 && echo reached; true");
    assert_eq!(out, "");
}

#[test]
fn names_do_not_lead_to_closed_addresses() {
    let world = World::new();
    let cases = [
        ("private.test", "it resolves to 10.0.0.5, a private address"),
        ("mapped.test", "a private address"),
        (
            "metadata.test",
            "it resolves to 169.254.169.254, an address of cloud metadata",
        ),
        ("loop.test", "it resolves to 127.0.0.1, a loopback address"),
        (
            "own.test",
            "it resolves to 8.8.4.1, an address of the host itself",
        ),
        (
            "broadcast.test",
            "it resolves to 8.8.4.255, an address of the host itself",
        ),
        ("nowhere.test", "its name cannot be resolved"),
    ];
    for (name, reason) in cases {
        let script = format!("wget -O - http://{name}/ 2>&1 | tail -n 1");
        let (out, told) = world.shell(&format!("allow:{name}"), &script);
        assert!(out.contains("reset by peer"), "{name}: {out}");
        assert!(told.contains("1 connection to "), "{told}");
        assert!(told.contains(reason), "{told}");
    }
    assert_eq!(world.reached(), [""; 0]);
    let (out, told) = world.shell("allow:mixed.test", "wget -q -O - http://mixed.test/");
    assert_eq!(out, "hello\n", "{told}");
    assert_eq!(world.reached(), ["93.184.216.34:80"], "the public one of two");
    let (_, told) = world.shell("allow:good.test:81", "echo | nc -w 5 good.test 81");
    assert!(told.contains("was not made: it cannot be connected to"), "{told}");
}

#[test]
fn addresses_that_the_rule_names_are_reached() {
    let world = World::new();
    let cases = [
        ("db.internal=10.0.0.5:80", "db.internal", "10.0.0.5:80"),
        ("10.0.0.5:80", "10.0.0.5", "10.0.0.5:80"),
        ("169.254.169.254:80", "169.254.169.254", "169.254.169.254:80"),
        ("127.0.0.1:80", "127.0.0.1", "127.0.0.1:80"),
        ("[2606:4700::2]:80", "[2606:4700::2]", "[2606:4700::2]:80"),
        ("good.test=93.184.216.35:80", "good.test", "93.184.216.35:80"),
    ];
    for (rule, host, place) in cases {
        let (out, told) = world.shell(
            &format!("allow:{rule}"),
            &format!("wget -q -O - http://{host}/; echo | nc -w 3 {host} 7 2>/dev/null && echo port; true"),
        );
        assert_eq!(out, "hello\n", "{rule}: {told}");
        assert_eq!(world.reached(), [place], "{rule}");
    }
}

#[test]
fn bytes_flow_both_ways_to_their_ends() {
    let world = World::new();
    let script = "head -c 10000000 /dev/urandom >/tmp/sent
        nc good.test 7 </tmp/sent >/work/got && cmp /tmp/sent /work/got && echo same
        nc good.test 9 </tmp/sent
        (echo early; sleep 3; echo late) | nc good.test 7";
    let mut command = world.command("allow:good.test:7,good.test:9", script);
    let output = command.output().unwrap();
    let (out, told) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(out, "same\n10000000\nearly\nlate\n", "{told}");
    assert!(
        told.contains("bytes_sent: 20000011, bytes_received: 10000020"),
        "{told}"
    );
}

#[test]
fn what_was_sent_at_the_very_end_arrives() {
    let world = World::new();
    for _ in 0..5 {
        let (_, told) = world.shell(
            "allow:good.test:9",
            "head -c 100000 /dev/zero | nc good.test 9 >/dev/null & sleep 0.2; kill -9 $!; exit 0",
        );
        assert!(told.contains("bytes_sent: 100000,"), "{told}");
    }
}

#[test]
fn connections_are_many_and_bounded() {
    let world = World::new();
    world.bed.compile("many", "many.c");
    let (out, told) = world.shell("allow:good.test:7", "many 127.80.1.1 7 200");
    assert_eq!(out, "200\n", "{told}");
    assert!(told.contains("connections: 200,"), "{told}");
    let (out, told) = world.shell(
        "allow:good.test:7",
        "ulimit -n; many 127.80.1.1 7 240; sleep 1; many 127.80.1.1 7 240",
    );
    assert_eq!(out, "256\n240\n240\n", "ended ones do not count: {told}");
    let (out, told) = world.shell(
        "allow:good.test:7",
        "for i in 1 2; do many 127.80.1.1 7 150 & done; wait",
    );
    let answered: u32 = out.lines().map(|line| line.parse::<u32>().unwrap()).sum();
    assert!((256..=300).contains(&answered), "{out} {told}");
}

/// A run that waits in a connection, and its gateway's process id.
fn waiting(world: &World, marker: &str) -> (Child, u32) {
    let script = format!(
        "(echo one; sleep {marker}) | nc good.test 7; echo ended; nc -w 3 good.test 7 </dev/null || echo refused; exit 7"
    );
    let mut command = world.command("allow:good.test:7", &script);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 4];
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"one\n");
    let id = child.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    let mut children = children.split_ascii_whitespace().map(|id| id.parse().unwrap());
    let gateway = children.find(|id: &u32| name(*id).as_deref() == Some("cooper-gateway\n"));
    (child, gateway.unwrap())
}

fn name(id: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{id}/comm")).ok()
}

#[test]
fn a_gateway_is_nobody() {
    let world = World::new();
    let (mut child, gateway) = waiting(&world, &marker());
    let status = fs::read_to_string(format!("/proc/{gateway}/status")).unwrap();
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap()
            .split_ascii_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let ids = value("Uid:");
    let id: u32 = ids.split(' ').next().unwrap().parse().unwrap();
    assert!(id >= 0x7000_0000, "{ids}");
    assert_eq!(ids, [id; 4].map(|id| id.to_string()).join(" "));
    assert_eq!(value("Groups:"), "");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(value(set), "0000000000000000", "{set}");
    }
    assert_eq!(
        (value("NoNewPrivs:").as_str(), value("Seccomp_filters:").as_str()),
        ("1", "2")
    );
    assert_eq!(fs::read(format!("/proc/{gateway}/environ")).unwrap(), b"");
    let open = fs::read_dir(format!("/proc/{gateway}/fd")).unwrap();
    let open: Vec<String> = open
        .map(|entry| {
            fs::read_link(entry.unwrap().path())
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    for place in open {
        let expected = ["/dev/null", "socket:", "anon_inode:"];
        assert!(expected.iter().any(|start| place.starts_with(start)), "{place}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_goes_on_without_its_gateway() {
    let world = World::new();
    let (mut child, gateway) = waiting(&world, "3");
    let pid = rustix::process::Pid::from_raw(i32::try_from(gateway).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let (mut out, mut told) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(out, "ended\nrefused\n", "{told}");
    assert!(told.contains("gateway_lost: true"), "{told}");
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn a_gateway_does_not_outlive_its_run() {
    let world = World::new();
    let marker = marker();
    let (mut child, gateway) = waiting(&world, &marker);
    let namespace = fs::read_link(format!("/proc/{}/ns/net", alive(&marker)[0])).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(|| name(gateway).is_none());
    wait_for(|| alive(&marker).is_empty());
    wait_for(|| !in_use(&namespace));
}

/// Whether a process is in this namespace.
fn in_use(namespace: &std::path::Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| fs::read_link(entry.path().join("ns/net")).ok())
        .any(|of_process| of_process == namespace)
}

#[test]
fn nothing_is_left_of_a_run() {
    let bed = Bed::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = std::thread::spawn(move || {
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            stream.write_all(line.as_bytes()).unwrap();
        }
    });
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    for _ in 0..3 {
        let mut run = bed.shell(&format!("echo ping | nc 127.0.0.1 {port}"));
        run.network = format!("allow:127.0.0.1:{port}").parse().unwrap();
        let outcome = run.outcome();
        assert_eq!(
            (outcome.end, &outcome.stdout[..]),
            (End::Exited(0), &b"ping\n"[..])
        );
        let report = outcome.network.unwrap();
        assert_eq!(
            (report.connections, report.bytes_sent, report.bytes_received),
            (1, 5, 5)
        );
    }
    answering.join().unwrap();
    assert_eq!(
        descriptors(),
        before - 1,
        "the listener is closed, and nothing else"
    );
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let children = fs::read_to_string(task.unwrap().path().join("children")).unwrap();
        assert_eq!(children, "");
    }
    assert_eq!(cgroups_of(std::process::id()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn without_a_gateway_nothing_runs() {
    let bed = Bed::new();
    let (layers, argv) = ([bed.tree()], ["/bin/echo".into(), "ran".into()]);
    let run = bed.command(&["/bin/true"]);
    let network = "allow:good.test".parse().unwrap();
    for program in ["/nonexistent", "/bin/true", "/bin/false"] {
        let gateway = cooper_sandbox::GatewayProgram::at(program);
        let attempt = |gateway| {
            cooper_sandbox::run(&Spec {
                root: cooper_sandbox::Root::ReadOnly { layers: &layers },
                argv: &argv,
                env: &[],
                cwd: &run.cwd,
                user: run.user,
                profile: run.profile,
                network: &network,
                gateway,
                limits: run.limits.clone(),
                enforcement: cooper_sandbox::Enforcement::Required,
                stdin: cooper_sandbox::Stdin::Null,
                stdio: run.stdio.clone(),
                files: &[],
                grants: cooper_sandbox::Grants::default(),
                hostname: "box",
            })
        };
        assert!(
            matches!(attempt(Some(&gateway)), Err(SandboxError::Gateway { .. })),
            "{program}"
        );
        assert!(matches!(attempt(None), Err(SandboxError::Spec { .. })));
    }
}
