//! A world of two network namespaces: a host, in which runs are started, and all that is far from it, played by listeners
//! of this process. Between them is one virtual cable; no packet leaves the machine.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::thread::LinkNameSpaceType;

use crate::bed::{Bed, contained};

/// Answers `hello` to a request of HTTP.
pub(crate) const HTTP: u16 = 80;
/// Sends back what comes.
pub(crate) const ECHO: u16 = 7;
/// Reads to the end, then says how many bytes that were.
pub(crate) const COUNT: u16 = 9;

/// What the host's resolver knows.
const HOSTS: &str = "\
127.0.0.1 localhost
93.184.216.34 good.test
93.184.216.35 other.test
2606:4700::2 six.test
10.0.0.5 private.test
10.0.0.5 mixed.test
93.184.216.34 mixed.test
169.254.169.254 metadata.test
127.0.0.1 loop.test
8.8.4.1 own.test
8.8.4.255 broadcast.test
::ffff:10.0.0.5 mapped.test
";

const FAR: &[&str] = &[
    "link set lo up",
    "link set near up",
    "addr add 8.8.4.2/24 dev near",
    "addr add 10.0.0.5/24 dev near",
    "addr add 2606:4700::2/64 dev near nodad",
    "addr add 93.184.216.34/32 dev lo",
    "addr add 93.184.216.35/32 dev lo",
    "addr add 169.254.169.254/32 dev lo",
];
const HOST: &[&str] = &[
    "link set lo up",
    "link set far up",
    "addr add 8.8.4.1/24 broadcast 8.8.4.255 dev far",
    "addr add 10.0.0.1/24 dev far",
    "addr add 2606:4700::1/64 dev far nodad",
    "route add default via 8.8.4.2",
];

/// Where somebody was reached.
type Reached = Arc<Mutex<Vec<SocketAddr>>>;

pub(crate) struct World {
    pub(crate) bed: Bed,
    host: Child,
    far: Child,
    reached: Reached,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::around(Bed::new())
    }

    /// The same, where runs are in this bed.
    pub(crate) fn around(bed: Bed) -> Self {
        for file in ["/etc/hosts", "/etc/resolv.conf"] {
            bed.put(file, "", 0o644);
        }
        let folder = bed.aside("host");
        let file = |name: &str, text: &str| {
            std::fs::File::create(folder.join(name))
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
            format!("mount --bind {} /etc/{name}", folder.join(name).display())
        };
        let mounts = [
            file("hosts", HOSTS),
            file(
                "resolv.conf",
                "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
            ),
            file("nsswitch.conf", "hosts: files dns\n"),
        ];
        let far = namespace("true");
        let host = namespace(&mounts.join(" && "));
        let cable = format!("link add far type veth peer name near netns {}", far.id());
        ip(&host, &cable);
        for line in FAR {
            ip(&far, line);
        }
        for line in HOST {
            ip(&host, line);
        }
        let reached = Reached::default();
        for namespace in [&far, &host] {
            for port in [HTTP, ECHO, COUNT] {
                listen(namespace, port, &reached);
            }
        }
        Self {
            bed,
            host,
            far,
            reached,
        }
    }

    /// The arguments by which `nsenter` starts a program on the host.
    pub(crate) fn on_host(&self) -> [String; 2] {
        let id = self.host.id();
        [
            format!("--net=/proc/{id}/ns/net"),
            format!("--mount=/proc/{id}/ns/mnt"),
        ]
    }

    /// A run with this network, started on the host.
    pub(crate) fn command(&self, network: &str, script: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(self.on_host())
            .arg(contained())
            .args(["--network", network])
            .arg(self.bed.tree())
            .args(["/bin/sh", "-c", script])
            .stdin(Stdio::null());
        command
    }

    /// What a run printed, and what was told of its connections.
    pub(crate) fn shell(&self, network: &str, script: &str) -> (String, String) {
        let Output { stdout, stderr, .. } = self.command(network, script).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(stdout), text(stderr))
    }

    /// Where somebody was reached since this was asked last.
    pub(crate) fn reached(&self) -> Vec<String> {
        let mut reached = self.reached.lock().unwrap();
        reached.drain(..).map(|address| address.to_string()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for child in [&mut self.host, &mut self.far] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// A process that holds new namespaces until its input ends.
fn namespace(set_up: &str) -> Child {
    let mut child = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c"])
        .arg(format!("{set_up} && echo ready && exec cat >/dev/null"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|_| panic!("install util-linux"));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    child
}

fn ip(namespace: &Child, line: &str) {
    let net = format!("--net=/proc/{}/ns/net", namespace.id());
    let done = Command::new("nsenter")
        .args([&net, "ip"])
        .args(line.split(' '))
        .status()
        .unwrap();
    assert!(done.success(), "install iproute2: {line}");
}

/// Listen in that namespace on a thread of its own, as long as this process lives.
fn listen(namespace: &Child, port: u16, reached: &Reached) {
    let path = format!("/proc/{}/ns/net", namespace.id());
    let reached = Arc::clone(reached);
    let make = move || {
        let namespace = std::fs::File::open(path).unwrap();
        rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .unwrap();
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap()
    };
    let listener = thread::spawn(make).join().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, reached) = (stream.unwrap(), Arc::clone(&reached));
            thread::spawn(move || {
                let place = stream.local_addr().unwrap();
                let place = SocketAddr::new(place.ip().to_canonical(), place.port());
                reached.lock().unwrap().push(place);
                // Who comes may go at any time.
                let _ = serve(stream, port);
            });
        }
    });
}

fn serve(mut stream: TcpStream, port: u16) -> std::io::Result<()> {
    match port {
        HTTP => {
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone()?);
            while reader.read_line(&mut line)? > 2 {
                line.clear();
            }
            stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
        }
        ECHO => {
            std::io::copy(&mut stream.try_clone()?, &mut stream)?;
            stream.shutdown(Shutdown::Write)
        }
        _ => {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            writeln!(stream, "{}", bytes.len())
        }
    }
}
