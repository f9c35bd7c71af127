//! Scripts that try to get out, to see others, or to use everything up: fresh, warm and as an ordinary user.
//!
//! Each case is a script beside this file, whose first line says what it tries, and what must be seen of it. Most scripts try
//! and check for themselves, and end with `held`. System calls that would do something get arguments with which they could
//! not, were they let through. No packet leaves the machine: runs have no network.

mod ground;
mod left;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

use self::ground::{Ground, Mode, Request, Runner, Seen};

const PRELUDE: &str = include_str!("hostile_scripts/prelude.py");

/// What must be seen of a run, beside what is asked of all.
enum Must {
    /// It checks for itself, and ends well.
    Hold,
    /// It is ended at its time limit.
    TimeOut,
    /// This.
    Be(fn(&Seen) -> bool),
}

struct Case {
    name: &'static str,
    script: &'static str,
    must: Must,
    timeout_ms: u64,
    /// Run as an ordinary user too.
    rootless: bool,
    /// It may reach one host.
    network: bool,
}

macro_rules! case {
    ($name:literal, $must:expr) => {
        case!($name, $must, 10_000)
    };
    ($name:literal, $must:expr, $timeout_ms:expr) => {
        Case {
            name: $name,
            script: include_str!(concat!("hostile_scripts/", $name, ".py")),
            must: $must,
            timeout_ms: $timeout_ms,
            rootless: true,
            network: false,
        }
    };
}

fn cases() -> Vec<Case> {
    use Must::{Be, Hold, TimeOut};
    vec![
        case!(
            "fork_bomb",
            Be(|seen| is_timed_out(seen) && seen.stdout.starts_with(b"forked")),
            700
        ),
        case!("processes", Hold),
        case!("memory_in_one", Be(memory_in_one)),
        case!("memory_in_many", Be(memory_in_many)),
        case!("fill_places", Hold),
        case!("open_files", Hold),
        case!("spin", TimeOut, 500),
        case!("ignore_signals", TimeOut, 500),
        case!(
            "never_ends_at_exit",
            Be(|seen| is_timed_out(seen) && seen.stdout == b"end\n"),
            500
        ),
        case!("daemons", Hold),
        case!("host_files", Hold),
        case!("kernel_settings", Hold),
        case!("mounts", Hold),
        case!("namespaces", Hold),
        case!("tracing", Hold),
        case!("kernel_calls", Hold),
        case!("privileges", Hold),
        case!("sockets", Hold),
        Case {
            network: true,
            ..case!("network", Hold, 20_000)
        },
        case!("output_tricks", Be(output_tricks)),
        Case {
            // Ten thousand of them come back: once is enough.
            rootless: false,
            ..case!(
                "tiny_files",
                Be(|seen| has_held(seen) && seen.outputs.len() <= 10_000)
            )
        },
        case!("flood", Be(flood), 1500),
        case!("result_no_json", Be(has_refused_result)),
        case!("result_nested", Be(has_refused_result)),
        case!("result_huge", Be(has_refused_result)),
        case!("result_link", Be(has_refused_result)),
        case!("kill_all", Hold),
        case!("splice", Hold),
        case!("crash", Be(|seen| seen.status == "killed")),
        case!("close_all", Be(|seen| seen.exit_code == Some(7))),
        case!("inherited", Hold),
        case!(
            "escapes",
            Be(|seen| has_held(seen) && seen.stdout.starts_with(b"\x1b]0;title\x07\x1b[2J\x9b1m\xff\n"))
        ),
    ]
}

fn has_held(seen: &Seen) -> bool {
    seen.status == "exited" && seen.exit_code == Some(0) && seen.stdout.ends_with(b"held\n")
}

fn is_timed_out(seen: &Seen) -> bool {
    seen.status == "limit" && seen.limit.as_deref() == Some("timeout")
}

/// What no cgroup bounds, the report says so of, and each process is bounded.
fn memory_in_one(seen: &Seen) -> bool {
    match seen.held_by("memory") {
        "rlimit" => seen.exit_code == Some(1) && seen.stderr.contains("MemoryError"),
        held => held.starts_with("cgroup-v") && seen.limit.as_deref() == Some("memory"),
    }
}

fn memory_in_many(seen: &Seen) -> bool {
    match seen.held_by("memory") {
        "rlimit" => matches!(seen.mode, Mode::Rootless | Mode::WarmRootless) && seen.status == "exited",
        held => {
            held.starts_with("cgroup-v")
                && (seen.limit.as_deref() == Some("memory") || seen.stdout.contains(&b'9'))
        }
    }
}

fn output_tricks(seen: &Seen) -> bool {
    let taken = ["..hidden", "...", "a..b", "plain"];
    let refused = [
        "link-shadow",
        "link-secret",
        "link-up",
        "link-mem",
        "link-zero",
        "folder-link",
        "fifo",
        "hard-a",
        "hard-b",
        "socket",
        "sparse",
    ];
    has_held(seen)
        && taken
            .iter()
            .all(|name| seen.outputs.iter().any(|path| path == name))
        && seen
            .outputs
            .iter()
            .all(|path| taken.contains(&path.as_str()) || path.starts_with("xxx"))
        && refused
            .iter()
            .all(|name| seen.refused.iter().any(|path| path == name))
        && seen.refused.iter().all(|path| !path.contains(['\n', '\x1b']))
}

/// Who reads gets everything; a reply keeps a part and says so.
fn flood(seen: &Seen) -> bool {
    let ended = is_timed_out(seen) || seen.exit_code == Some(0);
    ended
        && match seen.mode {
            Mode::Warm | Mode::WarmRootless => seen.told["truncated"] == true && seen.stdout_bytes <= 2 << 20,
            _ => seen.stdout_bytes > 8 << 20,
        }
}

fn has_refused_result(seen: &Seen) -> bool {
    has_held(seen) && seen.result.is_null() && !seen.result_error.is_empty()
}

/// What of the host the scripts are set upon.
struct Bait {
    secret: std::path::PathBuf,
    port: TcpListener,
    /// The port of the host that some may reach.
    allowed: u16,
    socket: UnixListener,
    name: String,
}

impl Bait {
    fn lay(ground: &Ground) -> Self {
        let secret = ground.host.write("secret-of-the-host", "the host's secret");
        let name = format!("hostile-scripts-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let (port, socket) = (
            TcpListener::bind("127.0.0.1:0").unwrap(),
            UnixListener::bind_addr(&address).unwrap(),
        );
        port.set_nonblocking(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            secret,
            port,
            allowed: answering(),
            socket,
            name,
        }
    }

    fn script(&self, script: &str) -> String {
        let port = self.port.local_addr().unwrap().port().to_string();
        let script = script.replace("@SECRET@", self.secret.to_str().unwrap());
        format!(
            "{PRELUDE}\n{}",
            script
                .replace("@PORT@", &port)
                .replace("@ALLOWED@", &self.allowed.to_string())
                .replace("@ABSTRACT@", &self.name)
        )
    }

    fn is_untouched(&self) -> bool {
        self.port.accept().is_err()
            && self.socket.accept().is_err()
            && std::fs::read_to_string(&self.secret).unwrap() == "the host's secret"
    }
}

/// A listener on the host's loopback that sends back what comes; its port.
fn answering() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // Who comes may go at any time.
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone()?, &mut stream));
        }
    });
    port
}

/// Why a case has not held, if so.
fn fault(case: &Case, seen: &Seen, bait: &Bait) -> Option<String> {
    let is_good = match case.must {
        Must::Hold => has_held(seen),
        Must::TimeOut => is_timed_out(seen),
        Must::Be(is_seen) => is_seen(seen),
    };
    let leaks = [
        String::from_utf8_lossy(&seen.stdout).into_owned(),
        seen.told.to_string(),
    ];
    let told = || {
        let out = String::from_utf8_lossy(&seen.stdout[..seen.stdout.len().min(500)]).into_owned();
        let error: String = seen.stderr.chars().take(1500).collect();
        format!("{out}{error}{:.3000}", seen.told.to_string())
    };
    if !is_good {
        return Some(told());
    }
    if leaks.iter().any(|text| text.contains("the host's secret")) {
        return Some(format!("the host's secret is out: {}", told()));
    }
    let patience = Duration::from_millis(case.timeout_ms) + Duration::from_secs(8);
    if seen.took > patience {
        return Some(format!("it took {:?}", seen.took));
    }
    if !bait.is_untouched() {
        return Some("it reached what belongs to the host".to_owned());
    }
    let daemons = left::processes_named("hostile-daemon");
    (!daemons.is_empty()).then(|| format!("its daemons {daemons:?} are alive"))
}

#[derive(Default)]
struct Table {
    text: String,
    faults: Vec<String>,
}

impl Table {
    fn add(&mut self, case: &Case, seen: &[Option<Seen>; 4], bait: &Bait) {
        write!(self.text, "{:<20}", case.name).unwrap();
        for seen in seen {
            let shown = seen.as_ref().map_or_else(
                || "-".to_owned(),
                |seen| match fault(case, seen, bait) {
                    None => word(seen),
                    Some(fault) => {
                        self.faults
                            .push(format!("{} {:?}: {fault}", case.name, seen.mode));
                        "FAILED".to_owned()
                    }
                },
            );
            write!(self.text, " {shown:<22}").unwrap();
        }
        let tries = case.script.lines().next().unwrap_or_default();
        writeln!(self.text, " {}", tries.trim_start_matches("# ")).unwrap();
    }
}

/// How it ended, and when.
fn word(seen: &Seen) -> String {
    let end = match (&seen.limit, seen.exit_code) {
        (Some(limit), _) => format!("{limit} limit"),
        (None, Some(code)) if seen.status == "exited" => format!("exit {code}"),
        _ => seen.status.clone(),
    };
    format!("{end}, {} ms", seen.took.as_millis())
}

#[test]
fn live_hostile_scripts_are_contained() {
    let ground = Ground::make();
    let bait = Bait::lay(&ground);
    let began = Instant::now();
    let mut runner = Runner::start(&ground, Mode::Warm, &["--pool", "2"]);
    let mut ordinary = Runner::start(&ground, Mode::WarmRootless, &["--pool", "2"]);
    let mut table = Table::default();
    run_cases(&ground, &bait, [&mut runner, &mut ordinary], &mut table);
    show(&table, began);
    assert!(table.faults.is_empty(), "{}", table.faults.join("\n\n"));
    owners_find_nothing_of_each_other(&ground, &bait, &mut runner);
    more_than_the_pool_at_once(&bait, &mut ordinary);
    ordinary.end();
    more_than_the_pool_at_once(&bait, &mut runner);
    left::assert_nothing_is_left(&ground, runner);
    nothing_is_left_of_a_thousand_runs(&ground, &bait);
    show_time("altogether", began);
}

fn run_cases(ground: &Ground, bait: &Bait, runners: [&mut Runner; 2], table: &mut Table) {
    let cases = cases();
    let scripts: Vec<String> = cases.iter().map(|case| bait.script(case.script)).collect();
    let rule = format!("allow:allowed.internal=127.0.0.1:{}", bait.allowed);
    let requests: Vec<Request<'_>> = cases
        .iter()
        .zip(&scripts)
        .map(|(case, script)| Request {
            script,
            owner: "hostile",
            timeout_ms: case.timeout_ms,
            network: case.network.then_some(rule.as_str()),
        })
        .collect();
    let [warm, ordinary] = runners.map(|runner| runner.ask(&requests));
    let warm = warm.into_iter().zip(ordinary);
    for ((case, script), (warm, ordinary)) in cases.iter().zip(&scripts).zip(warm) {
        let fresh = |mode| {
            let network = case.network.then_some(rule.as_str());
            ground.fresh_in(network, mode, case.name, script, case.timeout_ms)
        };
        let rootless = case.rootless.then(|| fresh(Mode::Rootless));
        let fresh = fresh(Mode::Fresh);
        table.add(case, &[Some(fresh), Some(warm), rootless, Some(ordinary)], bait);
    }
}

/// One leaves what it can, at the same time the other looks for it; nothing random comes twice.
fn owners_find_nothing_of_each_other(ground: &Ground, bait: &Bait, runner: &mut Runner) {
    let leave = bait.script(include_str!("hostile_scripts/leave_traces.py"));
    let find = bait.script(include_str!("hostile_scripts/find_traces.py"));
    let random = bait.script(include_str!("hostile_scripts/randomness.py"));
    let request = |script, owner| Request {
        script,
        owner,
        timeout_ms: 20_000,
        network: None,
    };
    let warm = runner.ask(&[
        request(&leave, "a"),
        request(&find, "b"),
        request(&find, "a"),
        request(&leave, "b"),
        request(&find, "b"),
        request(&random, "a"),
        request(&random, "b"),
        request(&random, "a"),
        request(&random, "b"),
    ]);
    let fresh = std::thread::scope(|scope| {
        let left = scope.spawn(|| ground.fresh(Mode::Fresh, "leave", &leave, 20_000));
        let found = ground.fresh(Mode::Fresh, "find", &find, 20_000);
        let random = ["one", "two"].map(|name| ground.fresh(Mode::Fresh, name, &random, 20_000));
        [left.join().unwrap(), found]
            .into_iter()
            .chain(random)
            .collect::<Vec<Seen>>()
    });
    let mut values = BTreeSet::new();
    for seen in warm.iter().chain(&fresh) {
        assert!(has_held(seen), "{seen:#?}");
        for value in seen.result.as_array().into_iter().flatten() {
            assert!(values.insert(value.to_string()), "{value} comes twice");
        }
    }
    assert_eq!(values.len(), 6 * 9, "six runs tell nine values each");
}

/// Far more than there are children, with some that do not end by themselves.
fn more_than_the_pool_at_once(bait: &Bait, runner: &mut Runner) {
    let (good, bad) = (bait.script("held()"), bait.script("while True: pass"));
    let requests: Vec<Request<'_>> = (0..64)
        .map(|number| Request {
            script: if number % 16 == 0 { &bad } else { &good },
            owner: if number % 2 == 0 { "a" } else { "b" },
            timeout_ms: if number % 16 == 0 { 300 } else { 20_000 },
            network: None,
        })
        .collect();
    for (number, seen) in runner.ask(&requests).iter().enumerate() {
        let is_good = if number % 16 == 0 {
            is_timed_out(seen)
        } else {
            has_held(seen)
        };
        assert!(is_good, "{number}: {seen:#?}");
    }
}

/// What the many runs do in turn, and how each must end.
type Quick = (&'static str, fn(&Seen) -> bool);
const QUICK: [Quick; 6] = [
    ("print('held')", has_held),
    (
        "import os, sys\nif os.fork() == 0:\n    os.setsid()\n    os.fork()\n    import time; time.sleep(600)\nprint('held')",
        has_held,
    ),
    ("import os; os.kill(os.getpid(), 9)", |seen| {
        seen.status == "killed"
    }),
    (
        "import os\nos.mkfifo('/output/fifo')\nopen('/output/a', 'w').write('a')\nopen('/tmp/a', 'w').write('a')\nprint('held')",
        |seen| has_held(seen) && seen.outputs == ["a"] && seen.refused == ["fifo"],
    ),
    ("raise SystemExit(3)", |seen| seen.exit_code == Some(3)),
    (
        "import os; open(os.environ['COOPER_RESULT'], 'w').write('[1'); os.closerange(0, 99); os._exit(4)",
        |seen| seen.exit_code == Some(4) && seen.result.is_null(),
    ),
];
const WARM_RUNS: usize = 1000;
const FRESH_RUNS: usize = 100;
const AT_ONCE: usize = 50;

/// Processes, groups, namespaces, mounts, descriptors, threads and files, before and after.
fn nothing_is_left_of_a_thousand_runs(ground: &Ground, bait: &Bait) {
    let pool = 4;
    let mut runner = Runner::start(ground, Mode::Warm, &["--pool", "4", "--runs", "1000000"]);
    let ask = |runner: &mut Runner, count: usize| {
        let requests: Vec<Request<'_>> = (0..count)
            .map(|number| Request {
                script: QUICK[number % QUICK.len()].0,
                owner: "many",
                timeout_ms: 20_000,
                network: None,
            })
            .collect();
        for (number, seen) in runner.ask(&requests).iter().enumerate() {
            assert!(QUICK[number % QUICK.len()].1(seen), "{number}: {seen:#?}");
        }
    };
    ask(&mut runner, AT_ONCE);
    let before = left::Count::at_rest(ground, pool);
    for _ in 0..WARM_RUNS / AT_ONCE {
        ask(&mut runner, AT_ONCE);
    }
    assert_eq!(left::Count::at_rest(ground, pool), before, "after warm runs");
    for number in 0..FRESH_RUNS {
        let (script, is_good) = QUICK[number % QUICK.len()];
        let seen = ground.fresh(Mode::Fresh, "quick", script, 20_000);
        assert!(is_good(&seen), "{number}: {seen:#?}");
    }
    assert_eq!(left::Count::at_rest(ground, pool), before, "after fresh runs");
    assert!(bait.is_untouched());
    left::assert_nothing_is_left(ground, runner);
}

#[expect(clippy::print_stdout, reason = "the table is what the suite is for")]
fn show(table: &Table, began: Instant) {
    println!(
        "{:<20} {:<22} {:<22} {:<22} {:<22} what it tries\n{}",
        "case", "fresh", "warm", "rootless", "warm rootless", table.text
    );
    show_time("the cases", began);
}

#[expect(clippy::print_stdout, reason = "the table is what the suite is for")]
fn show_time(what: &str, began: Instant) {
    println!("{what}: {:.1} s", began.elapsed().as_secs_f64());
}
