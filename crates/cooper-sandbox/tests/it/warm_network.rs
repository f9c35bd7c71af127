//! Warm runs with an allow-list, in a world of their own: who is reached, by which child, and what is left of it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cooper_sandbox::NetworkReport;
use cooper_sandbox::warm::WarmEnd;

use crate::bed::{Bed, example, wait_for};
use crate::warm::{Done, Kept};
use crate::world::World;

/// What the scripts are made of.
const PRELUDE: &str = "
import os, socket, sys, time
def call(host, port=80, data=b'GET / HTTP/1.0\\r\\n\\r\\n', timeout=5):
    with socket.create_connection((host, port), timeout) as s:
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = b''
        while part := s.recv(65536):
            got += part
        return got
def is_reached(host, port):
    try:
        return bool(call(host, port, b'x\\n', 3))
    except OSError:
        return False
";

struct Ground {
    world: World,
    kept: Kept,
}

impl Ground {
    fn new(network: &str) -> Self {
        let bed = Bed::over_the_host();
        let world = World::around(bed.clone());
        let mut arguments: Vec<_> = world.on_host().map(Into::into).into();
        arguments.push(example("keeper").into());
        let kept = Kept::started(bed, Path::new("/usr/bin/nsenter"), &arguments, |settings| {
            settings.network = network.parse().unwrap();
        });
        Self { world, kept }
    }

    fn run(&mut self, script: &str) -> Done {
        self.kept.run(&format!("{PRELUDE}{script}"))
    }

    /// The processes of the keeper's that have this name.
    fn named(&self, name: &str) -> Vec<u32> {
        let mut found = Vec::new();
        let mut open = vec![self.kept.process.id()];
        while let Some(id) = open.pop() {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            open.extend(
                children
                    .split_ascii_whitespace()
                    .map(|id| id.parse::<u32>().unwrap()),
            );
            if fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|comm| comm.trim() == name) {
                found.push(id);
            }
        }
        found.sort_unstable();
        found
    }
}

fn told(done: &Done) -> &NetworkReport {
    done.reply.network.as_ref().unwrap()
}

#[test]
fn allowed_hosts_are_reached_by_name_and_each_run_has_its_own_counts() {
    let mut ground = Ground::new("allow:good.test,other.test:80,db.internal=10.0.0.5:80,six.test:80");
    let script = "print([call(host)[-6:] for host in ('good.test', 'GOOD.test', 'other.test')])";
    let done = ground.run(script);
    assert_eq!(done.reply.end, WarmEnd::Exited(0), "{}", done.stderr);
    assert_eq!(done.stdout, "[b'hello\\n', b'hello\\n', b'hello\\n']\n");
    assert_eq!(
        ground.world.reached(),
        ["93.184.216.34:80", "93.184.216.34:80", "93.184.216.35:80"]
    );
    assert_eq!((told(&done).connections, told(&done).refused.len()), (3, 0));
    let done = ground.run("print(call('db.internal')[-6:], call('six.test')[-6:])");
    assert_eq!(done.stdout, "b'hello\\n' b'hello\\n'\n", "{}", done.stderr);
    assert_eq!(told(&done).connections, 2);
    assert_eq!(ground.world.reached(), ["10.0.0.5:80", "[2606:4700::2]:80"]);
    let done = ground.run("pass");
    assert_eq!(
        *told(&done),
        NetworkReport::default(),
        "nothing of the runs before"
    );
}

#[test]
fn names_are_the_rules_own_and_nobody_writes_them() {
    let mut ground = Ground::new("allow:good.test,10.9.9.9:80");
    let script = "
print(sorted(os.listdir('/run/cooper')), socket.gethostbyname('good.test'))
for path in ('/etc/hosts', '/etc/resolv.conf'):
    print(open(path).read().split()[-2:])
    try:
        open(path, 'a')
    except OSError as error:
        print(error.errno)
try:
    socket.getaddrinfo('secret.evil.test', 80)
except socket.gaierror:
    print('not known')
";
    let done = ground.run(script);
    assert_eq!(
        done.stdout,
        "['script.py'] 127.80.1.1\n['127.80.1.1', 'good.test']\n13\n['timeout:2', 'attempts:2']\n13\nnot known\n",
        "{}",
        done.stderr
    );
    let names: Vec<&str> = told(&done)
        .unknown_names
        .iter()
        .map(|name| name.name.as_str())
        .collect();
    assert_eq!(names, ["secret.evil.test"]);
    assert_eq!(ground.world.reached(), [""; 0]);
}

#[test]
fn nobody_else_is_reached() {
    let mut ground = Ground::new("allow:good.test:80");
    let places = "[('good.test', 7), ('other.test', 80), ('93.184.216.34', 80), ('169.254.169.254', 80), \
                  ('10.0.0.5', 80), ('8.8.4.1', 80), ('10.0.0.1', 80), ('127.0.0.1', 80), ('127.80.1.1', 7), \
                  ('::ffff:93.184.216.34', 80), ('2606:4700::2', 80)]";
    let script = format!("print([place for place in {places} if is_reached(*place)])");
    let done = ground.run(&script);
    assert_eq!(done.stdout, "[]\n", "{}", done.stderr);
    assert_eq!(ground.world.reached(), [""; 0]);
    let raw = "
for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW), (40, socket.SOCK_STREAM)):
    try:
        socket.socket(family, kind)
        print('made', family)
    except OSError:
        pass
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    try:
        s.sendto(b'x', ('93.184.216.34', 7))
        print('sent')
    except OSError:
        pass
";
    let done = ground.run(raw);
    assert_eq!(
        (done.stdout.as_str(), done.reply.end),
        ("", WarmEnd::Exited(0)),
        "{}",
        done.stderr
    );
}

#[test]
fn names_do_not_lead_to_closed_addresses_and_the_reply_says_so() {
    let names = "private.test,mapped.test,metadata.test,loop.test,own.test,nowhere.test";
    let mut ground = Ground::new(&format!("allow:{}", names.replace(',', ":80,") + ":80"));
    let script = format!("print([name for name in '{names}'.split(',') if is_reached(name, 80)])");
    let done = ground.run(&script);
    assert_eq!(done.stdout, "[]\n", "{}", done.stderr);
    assert_eq!(ground.world.reached(), [""; 0]);
    let refused: Vec<String> = told(&done).refused.iter().map(ToString::to_string).collect();
    for reason in [
        "private.test:80 was refused: it resolves to 10.0.0.5, a private address",
        "mapped.test:80 was refused",
        "metadata.test:80 was refused: it resolves to 169.254.169.254, an address of cloud metadata",
        "loop.test:80 was refused: it resolves to 127.0.0.1, a loopback address",
        "own.test:80 was refused: it resolves to 8.8.4.1, an address of the host itself",
        "nowhere.test:80 was not made: its name cannot be resolved",
    ] {
        assert!(
            refused.iter().any(|text| text.contains(reason)),
            "{reason}: {refused:?}"
        );
    }
}

#[test]
fn children_share_no_gateway_and_a_gateway_ends_with_its_run() {
    let mut ground = Ground::new("allow:good.test:7");
    // One holds a connection while the other looks for it, and for whatever listens.
    let holder = "
s = socket.create_connection(('good.test', 7))
s.sendall(b'held')
print(s.recv(4), flush=True)
time.sleep(3)
s.sendall(b'late')
print(s.recv(4))
";
    let look = "
time.sleep(1)
peers = [line.split()[2:4] for line in open('/proc/net/tcp').read().splitlines()[1:]]
print(sorted({state for _, state in peers}), len(peers), len(os.listdir('/proc/self/fd')))
";
    ground.kept.order(&format!("{PRELUDE}{holder}"), |_, _| {});
    ground.kept.order(&format!("{PRELUDE}{look}"), |_, _| {});
    let mut dones = [ground.kept.done(), ground.kept.done()];
    dones.sort_by_key(|done| done.reply.id);
    let [held, looked] = dones;
    assert_eq!(held.stdout, "b'held'\nb'late'\n", "{}", held.stderr);
    assert_eq!(
        looked.stdout, "['0A'] 2 4\n",
        "nothing but its own two listeners: {}",
        looked.stderr
    );
    assert_eq!((told(&held).connections, told(&looked).connections), (1, 0));
    wait_for(|| ground.named("cooper-holder").len() == 2);
    wait_for(|| ground.named("cooper-gateway").len() == 2);
    // Each is a user that nobody else is.
    let ids: Vec<u32> = ["cooper-gateway", "cooper-holder"]
        .into_iter()
        .flat_map(|name| ground.named(name))
        .collect();
    let users: Vec<String> = ground
        .named("cooper-gateway")
        .iter()
        .map(|id| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
            let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        })
        .collect();
    assert!(
        users[0] != users[1]
            && users
                .iter()
                .all(|user| user.parse::<u32>().unwrap() >= 0x7000_0000),
        "{users:?}"
    );
    drop(ground);
    wait_for(|| ids.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists()));
}

#[test]
fn a_run_goes_on_without_its_gateway_and_the_next_one_has_its_own() {
    let mut ground = Ground::new("allow:good.test:7");
    wait_for(|| ground.named("cooper-gateway").len() == 2);
    let script = format!(
        "{PRELUDE}
s = socket.create_connection(('good.test', 7))
s.sendall(b'one')
print(s.recv(3), flush=True)
time.sleep(2)
try:
    print(s.recv(3))
except OSError as error:
    print('reset')
print(is_reached('good.test', 7))
"
    );
    ground.kept.order(&script, |_, _| {});
    std::thread::sleep(Duration::from_secs(1));
    for id in ground.named("cooper-gateway") {
        let done = Command::new("kill").args(["-9", &id.to_string()]).status();
        assert!(done.unwrap().success());
    }
    let done = ground.kept.done();
    assert_eq!(done.stdout, "b'one'\nb''\nFalse\n", "{}", done.stderr);
    assert!(told(&done).gateway_lost, "{:?}", told(&done));
    let done = ground.run("print(call('good.test', 7, b'again'))");
    assert_eq!(done.stdout, "b'again'\n", "{}", done.stderr);
    assert!(!told(&done).gateway_lost, "{:?}", told(&done));
}

#[test]
fn what_was_sent_at_the_very_end_arrives_and_nobody_waits_for_it() {
    let mut ground = Ground::new("allow:good.test:9");
    let script = "
s = socket.create_connection(('good.test', 9))
s.sendall(bytes(100000))
os._exit(0)
";
    for _ in 0..3 {
        let done = ground.run(script);
        assert_eq!(done.reply.end, WarmEnd::Exited(0), "{}", done.stderr);
        assert_eq!(told(&done).bytes_sent, 100_000);
    }
    // As many as there are ids for, and more.
    for _ in 0..40 {
        ground.kept.order(
            &format!("{PRELUDE}print(len(call('good.test', 9, b'x')))"),
            |_, _| {},
        );
    }
    for _ in 0..40 {
        let done = ground.kept.done();
        assert_eq!(done.stdout, "2\n", "{}", done.stderr);
    }
}
