//! A run has a loopback interface of its own and nothing else.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use cooper_sandbox::{End, InjectedFile, Network};

use crate::bed::Bed;

#[test]
fn there_is_no_interface_but_loopback() {
    let bed = Bed::new();
    for run in [
        bed.shell("tail -n +3 /proc/net/dev | cut -d: -f1; ip route"),
        bed.shell("tail -n +3 /proc/net/dev | cut -d: -f1; ip route")
            .build(),
    ] {
        assert_eq!(run.stdout().trim(), "lo");
    }
}

#[test]
fn loopback_works_inside_and_does_not_reach_the_host() {
    let bed = Bed::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let outcome = bed
        .shell(&format!("nc -w 2 127.0.0.1 {port} </dev/null"))
        .outcome();
    assert_eq!(outcome.end, End::Exited(1), "{outcome:?}");
    let inside = "nc -l -p 7000 -e /bin/echo hello & for i in 1 2 3 4 5 6 7 8 9; do
        nc 127.0.0.1 7000 2>/dev/null && break; sleep 0.1; done";
    assert_eq!(bed.shell(inside).stdout(), "hello\n");
}

#[test]
fn abstract_sockets_of_the_host_are_not_reached() {
    let bed = Bed::new();
    bed.compile("abstract", "abstract.c");
    let name = format!("cooper-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    for run in [
        bed.command(&["abstract", &name]),
        bed.command(&["abstract", &name]).build(),
    ] {
        assert_eq!(run.stdout(), "ECONNREFUSED\n");
    }
    let own = std::process::Command::new(bed.tree().join("bin/abstract"))
        .arg(&name)
        .output()
        .unwrap();
    assert_eq!(own.stdout, b"connected\n", "the host itself reaches it");
}

#[test]
fn the_hosts_network_is_there_when_asked_for() {
    let bed = Bed::new();
    bed.put("/etc/resolv.conf", "", 0o644);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut run = bed.shell(&format!(
        "cat /etc/resolv.conf; nc -w 2 127.0.0.1 {port} </dev/null; (echo x >/etc/resolv.conf) 2>/dev/null || echo sealed"
    ));
    run.network = Network::Host;
    run.files = vec![InjectedFile {
        path: "/etc/resolv.conf".into(),
        bytes: b"nameserver 192.0.2.1\n".to_vec(),
        mode: 0o444,
    }];
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"hello\n").unwrap();
    });
    assert_eq!(run.stdout(), "nameserver 192.0.2.1\nhello\nsealed\n");
    answer.join().unwrap();
    let covered = std::fs::read_to_string(bed.tree().join("etc/resolv.conf")).unwrap();
    assert_eq!(covered, "", "the tree itself is as it was");
}
