//! What the program does inside of the sandbox that is tested: it tries what must not be possible, and says what it saw.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};

/// Every wall that [`inside`] speaks of.
pub(super) const WALLS: [&str; 11] = [
    "run-user",
    "run-capabilities",
    "run-no-new-privileges",
    "run-system-calls",
    "run-root",
    "run-proc",
    "run-network",
    "run-host-network",
    "run-metadata-address",
    "run-processes",
    "run-open-files",
];

/// What is said where no more memory is given.
pub(super) const REFUSED: &str = "refused\n";
/// Far more than the test allows.
const THREADS_MAX: usize = 500;
const FILES_MAX: usize = 5000;
const CONNECT_WITHIN: Duration = Duration::from_millis(300);
/// Where clouds tell machines their secrets.
const METADATA_ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Do what these words say; the text is what was seen, for [`crate::self_test()`] to read. Called by a program in the
/// sandbox that is tested.
pub fn inside(words: &[String]) -> String {
    let number = words
        .get(1)
        .and_then(|word| word.parse::<u64>().ok())
        .unwrap_or(0);
    match words.first().map(String::as_str) {
        Some("walls") => walls(u16::try_from(number).unwrap_or(0)),
        Some("memory") => memory(number),
        Some("processor") => processor(Duration::from_millis(number)),
        _ => String::new(),
    }
}

fn walls(host_port: u16) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let seen = [
        user(),
        capabilities(&status),
        field_is(
            &status,
            "NoNewPrivs",
            "1",
            "no program gains rights by being executed",
        ),
        system_calls(&status),
        root(),
        proc(),
        network(),
        unreachable(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            host_port,
            "the host's own addresses",
        ),
        unreachable(IpAddr::V4(METADATA_ADDRESS), 80, "the metadata address of clouds"),
        processes(),
        open_files(),
    ];
    let mut text = String::new();
    for (code, (holds, told)) in WALLS.iter().zip(seen) {
        let _ = writeln!(text, "{code}\t{}\t{told}", u8::from(holds));
    }
    text
}

type Seen = (bool, String);

fn user() -> Seen {
    let (uid, gid) = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    (uid != 0 && gid != 0, format!("user {uid}, group {gid}"))
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim)
}

fn field_is(status: &str, name: &str, value: &str, told: &str) -> Seen {
    let found = field(status, name).unwrap_or("nothing");
    if found == value {
        (true, told.to_owned())
    } else {
        (false, format!("{name} is {found}"))
    }
}

fn capabilities(status: &str) -> Seen {
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    let empty = |name: &&str| field(status, name).is_some_and(|set| set.chars().all(|c| c == '0'));
    match sets.iter().find(|name| !empty(name)) {
        None => (true, "none, and none to be gained".to_owned()),
        Some(name) => (
            false,
            format!("{name} is {}", field(status, name).unwrap_or("nothing")),
        ),
    }
}

/// Sockets of families that nothing else keeps away show that the filter is there.
fn system_calls(status: &str) -> Seen {
    let (has_filter, told) = field_is(status, "Seccomp", "2", "a filter is loaded");
    let families = [
        ("vsock", AddressFamily::from_raw(40)),
        ("packet", AddressFamily::PACKET),
    ];
    let made = families
        .into_iter()
        .find(|(_, family)| rustix::net::socket(*family, SocketType::STREAM, None).is_ok());
    match made {
        Some((name, _)) => (false, format!("a {name} socket was made")),
        None => (has_filter, told),
    }
}

fn root() -> Seen {
    let places = ["/written", "/usr-written", "/run/cooper/written", "/dev/written"];
    match places.iter().find(|path| File::create(path).is_ok()) {
        Some(path) => (false, format!("{path} was written")),
        None => (true, "read-only".to_owned()),
    }
}

fn proc() -> Seen {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let others = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        is_process(&name) && name != std::process::id().to_string()
    });
    let others = others.count();
    if others > 0 {
        return (false, format!("{others} processes of others are seen"));
    }
    let knob = File::options().write(true).open("/proc/sys/kernel/hostname");
    if knob.is_ok() {
        return (false, "/proc/sys can be written".to_owned());
    }
    (
        true,
        "its own processes alone, and nothing to be written".to_owned(),
    )
}

fn network() -> Seen {
    let table = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.trim()))
        .filter(|name| *name != "lo")
        .collect();
    if names.is_empty() {
        (true, "a loopback interface of its own".to_owned())
    } else {
        (false, format!("it has {}", names.join(", ")))
    }
}

fn unreachable(address: IpAddr, port: u16, what: &str) -> Seen {
    match TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT_WITHIN) {
        Ok(_) => (false, format!("{address} port {port} was reached")),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => (
            false,
            format!("{address} port {port} was tried without an answer"),
        ),
        Err(_) => (true, format!("{what} cannot be reached")),
    }
}

fn processes() -> Seen {
    let mut threads = Vec::new();
    let gate = Arc::new(Mutex::new(()));
    let closed = gate.lock();
    while threads.len() < THREADS_MAX {
        let waits = Arc::clone(&gate);
        let thread = std::thread::Builder::new().stack_size(64 << 10);
        match thread.spawn(move || drop(waits.lock())) {
            Ok(thread) => threads.push(thread),
            Err(_) => break,
        }
    }
    drop(closed);
    let count = threads.len();
    for thread in threads {
        let _ = thread.join();
    }
    bounded(count, THREADS_MAX, "threads")
}

fn open_files() -> Seen {
    let mut files = Vec::new();
    while files.len() < FILES_MAX {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(_) => break,
        }
    }
    bounded(files.len(), FILES_MAX, "open files")
}

fn bounded(count: usize, tried: usize, what: &str) -> Seen {
    if count < tried {
        (true, format!("no more than {count} {what} beside the first ones"))
    } else {
        (false, format!("{tried} {what} were no problem"))
    }
}

/// Take so many MiB and use them.
fn memory(mebibytes: u64) -> String {
    const PIECE: usize = 1 << 20;
    const PAGE: usize = 4096;
    let mut pieces: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mebibytes {
        let mut piece: Vec<u8> = Vec::new();
        if piece.try_reserve_exact(PIECE).is_err() || pieces.try_reserve(1).is_err() {
            return REFUSED.to_owned();
        }
        piece.resize(PIECE, 0);
        piece.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        pieces.push(piece);
    }
    let sum: usize = pieces.iter().map(|piece| usize::from(piece[0])).sum();
    format!("taken {sum}\n")
}

fn processor(time: Duration) -> String {
    let started = Instant::now();
    let mut count = 0_u64;
    while started.elapsed() < time {
        count = count.wrapping_add(1);
    }
    format!("{count}\n")
}
