//! Everything again as an ordinary user: the same images, contained runs, and what is told where something is lacking.
//!
//! The tests are root and start the binary as user 12345, with `/etc/passwd`, `/etc/subuid` and `/etc/subgid` of their
//! own; the maps are made by the host's `newuidmap` and `newgidmap`.

use std::process::{Command, Stdio};

use serde_json::Value;
use testkit::{DebPackage, OrdinaryUser, Subordinate};

use crate::context::{Done, Host, World, archive, done, index};

/// A host of an ordinary user.
pub(crate) struct Ordinary {
    pub(crate) host: Host,
    pub(crate) user: OrdinaryUser,
}

impl Ordinary {
    pub(crate) fn of(mut host: Host, ids: Subordinate) -> Self {
        assert!(
            std::path::Path::new("/usr/bin/newuidmap").exists(),
            "install Debian's uidmap: what ordinary users do is tested with it"
        );
        let user = OrdinaryUser::new(&host.path("etc"), ids).unwrap();
        // Where the test's own binary is, others may not look.
        let binary = host.path("cooper");
        std::fs::hard_link(env!("CARGO_BIN_EXE_cooper"), &binary)
            .or_else(|_| std::fs::copy(env!("CARGO_BIN_EXE_cooper"), &binary).map(drop))
            .unwrap();
        host.unset("COOPER_STORE");
        let ordinary = Self { host, user };
        for name in ["home", "project"] {
            ordinary.user.give(&ordinary.host.path(name)).unwrap();
        }
        let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        std::fs::set_permissions(ordinary.host.path(""), open).unwrap();
        ordinary
    }

    /// One that fetches from this world.
    fn in_world(world: &World, ids: Subordinate) -> Self {
        Self::of(world.another_host(), ids)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let as_root = self.host.command(args);
        let mut command = self.user.command(self.host.path("cooper"));
        command.args(args).env_clear().stdin(Stdio::null());
        for (name, value) in as_root.get_envs() {
            command.env(name, value.unwrap());
        }
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir(self.host.path("project"));
        command
    }

    pub(crate) fn cooper(&self, args: &[&str]) -> Done {
        done(&self.command(args).output().unwrap())
    }

    fn create_example(&self, args: &[&str]) -> Value {
        self.cooper(&[&["create", "example_name", "--json"], args].concat())
            .good()
            .json()
    }

    fn shell(&self, flags: &[&str], script: &str) -> Done {
        self.cooper(&[&["run"], flags, &["example_name", "--", "sh", "-c", script]].concat())
    }
}

const WISHES: [&str; 4] = ["--dependencies", "mechanize", "--packages", "wget,odd"];

/// A world with a package that leaves in its layer all that depends on who makes it: owners, deletions, a directory that
/// hides the one below, file capabilities, links and pipes.
fn odd_world() -> World {
    let script = "#!/bin/sh
        set -e
        mkdir -p /srv/odd/owned
        echo text > /srv/odd/owned/file
        chown -R 33:33 /srv/odd/owned
        chown 65534:65534 /srv/odd
        chmod 4711 /srv/odd/owned/file
        mkfifo /srv/odd/pipe
        rm /usr/share/odd-base/gone
        rm -r /usr/share/odd-base/hidden
        mkdir /usr/share/odd-base/hidden
        echo new > /usr/share/odd-base/hidden/new
        ln /srv/odd/owned/file /srv/odd/again\n";
    let below = DebPackage::new("odd-base", "1.0")
        .essential()
        .file("usr/share/odd-base/gone", "x", 0o644)
        .file("usr/share/odd-base/hidden/old", "x", 0o644)
        .file("usr/share/odd-base/kept", "x", 0o644);
    let odd = DebPackage::new("odd", "1.0")
        .depends("odd-base")
        .script("postinst", script);
    World::of(&archive().package(below).package(odd), &index())
}

#[test]
fn an_ordinary_user_makes_the_same_images() {
    let world = odd_world();
    let args = [&["create", "example_name", "--json"], &WISHES[..]].concat();
    let by_root = world.cooper(&args).good().json();
    let ordinary = Ordinary::in_world(&world, Subordinate::Usual);
    let by_user = ordinary.create_example(&WISHES);
    assert!(by_root["digest"].is_string(), "{by_root}");
    assert_eq!(by_root["digest"], by_user["digest"]);
    ordinary.cooper(&["fsck"]).good();
    let state = "stat -c '%u:%g %a' /srv/odd /srv/odd/owned/file /srv/odd/again; ls /usr/share/odd-base \
                 /usr/share/odd-base/hidden; id -u; id -G";
    let seen = ordinary.shell(&[], state).good();
    assert_eq!(
        seen.stdout,
        "65534:65534 755\n33:33 4711\n33:33 4711\n/usr/share/odd-base:\nhidden\nkept\n\n\
         /usr/share/odd-base/hidden:\nnew\n1000\n1000\n"
    );
    // What a root's store has, an ordinary user's takes, and the other way round.
    let archive = ordinary.host.path("project/image.tar").display().to_string();
    ordinary.cooper(&["save", "example_name", "-o", &archive]).good();
    let other = world.another_host();
    let loaded = other.cooper(&["load", &archive, "--json"]).good().json();
    assert_eq!(loaded["images"][0]["digest"], by_root["digest"]);
    other.cooper(&["fsck"]).good();
    let taken = Ordinary::in_world(&world, Subordinate::Usual);
    std::fs::copy(&archive, taken.host.path("project/image.tar")).unwrap();
    taken.user.give(&taken.host.path("project")).unwrap();
    taken.cooper(&["load", "image.tar"]).good();
    assert_eq!(taken.shell(&[], state).good().stdout, seen.stdout);
    taken.cooper(&["fsck"]).good();
}

#[test]
fn an_ordinary_users_store_is_its_own_and_can_be_emptied() {
    let world = odd_world();
    let ordinary = Ordinary::in_world(&world, Subordinate::Usual);
    ordinary.create_example(&WISHES);
    let store = ordinary.host.path("home/.local/share/cooper/store");
    assert!(store.join("oci-layout").exists());
    ordinary
        .cooper(&["create", "example_name", "--packages", "jq"])
        .good();
    ordinary.cooper(&["remove", "example_name:1.0.0.1"]).good();
    let collected = ordinary
        .cooper(&["gc", "--cache-age", "0s", "--json"])
        .good()
        .json();
    assert!(collected["layers"].as_u64() > Some(0), "{collected}");
    ordinary.cooper(&["update", "--all"]).good();
    ordinary.cooper(&["fsck"]).good();
    let leftovers = std::fs::read_dir(store.join("tmp")).unwrap().flatten();
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn an_ordinary_users_run_is_contained() {
    let world = World::new();
    let ordinary = Ordinary::in_world(&world, Subordinate::Usual);
    ordinary.create_example(&["--packages", "wget"]);
    let status = ordinary
        .shell(
            &[],
            "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status; exit 7",
        )
        .with(7);
    for line in [
        "Uid:\t1000\t1000\t1000\t1000",
        "Groups:\t \n",
        "CapEff:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.stdout.contains(line), "{line:?}: {status}");
    }
    for denied in [
        "echo x > /usr/x",
        "mount -t tmpfs none /tmp",
        "unshare -U true",
        "cat /etc/shadow",
        "ls /proc/1/root/",
        "kill -9 1; kill -TERM 1; false",
        "cat /proc/kcore",
        "echo 1 > /proc/sys/vm/drop_caches",
        "mknod /tmp/x c 1 3",
        "dd if=/dev/zero of=/work/big bs=1M count=80",
    ] {
        assert_ne!(ordinary.shell(&[], denied).status, 0, "{denied}");
    }
    let seen = ordinary.shell(
        &[],
        "echo x > /dev/null && head -c 2 /dev/zero | wc -c && ls -d /proc/1; echo $$",
    );
    assert_eq!(seen.good().stdout, "2\n2\n", "its own processes alone");
    let late = ordinary.shell(&["--timeout", "500ms"], "sleep 60").with(124);
    assert!(late.stderr.contains("time limit"), "{late}");
}

#[test]
fn limits_without_cgroups_hold_as_told() {
    let world = World::new();
    let mut ordinary = Ordinary::in_world(&world, Subordinate::Usual);
    ordinary.create_example(&["--packages", "wget"]);
    let plain = ordinary.shell(&[], "exit 0").good();
    ordinary
        .host
        .assert_snapshot("what_an_ordinary_user_is_told_of_limits", &plain.to_string());
    assert_eq!(
        ordinary
            .cooper(&["run", "-q", "example_name", "--", "true"])
            .good()
            .stderr,
        ""
    );
    let greedy = ordinary.shell(&["--memory", "32MiB"], "x=x; while :; do x=$x$x; done");
    assert_ne!(greedy.status, 0, "{greedy}");
    let forks = "n=0; while [ $n -lt 100 ]; do sleep 5 & n=$((n + 1)); done; echo all";
    let forks = ordinary.shell(&["--pids", "10", "--timeout", "20s"], forks);
    assert!(!forks.stdout.contains("all"), "{forks}");
    // Another run beside it has its own count.
    let beside = ordinary
        .command(&[
            "run",
            "--pids",
            "8",
            "example_name",
            "--",
            "sh",
            "-c",
            "sleep 1; sleep 1",
        ])
        .spawn()
        .unwrap();
    ordinary.shell(&["--pids", "8"], "true; true; true").good();
    assert!(beside.wait_with_output().unwrap().status.success());
    ordinary.host.set("COOPER_RUN_ENFORCEMENT", "required");
    let refused = ordinary.shell(&[], "echo ran").with(125);
    assert_eq!(refused.stdout, "", "{refused}");
    assert!(refused.stderr.contains("cgroup"), "{refused}");
}

#[test]
fn signals_and_pids_are_as_without_a_namespace() {
    let world = World::new();
    let ordinary = Ordinary::in_world(&world, Subordinate::Usual);
    ordinary.create_example(&["--packages", "wget"]);
    let script = "trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let mut command = ordinary.command(&["run", "example_name", "--", "sh", "-c", script]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut first = [0; 6];
    std::io::Read::read_exact(&mut output, &mut first).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
    let ended = done(&child.wait_with_output().unwrap());
    assert_eq!((ended.status, rest.as_str()), (9, "bye\n"), "{ended}");
}

#[test]
fn what_is_lacking_is_told_at_once() {
    let world = World::new();
    let ordinary = Ordinary::in_world(&world, Subordinate::None);
    let create = ["create", "example_name", "--packages", "wget"];
    let mut text = ordinary.cooper(&create).with(1).to_string();
    let json = ordinary
        .cooper(&[&create[..], &["--json"]].concat())
        .with(1)
        .json();
    assert_eq!(json["error"]["code"], "no-subordinate-ids");
    ordinary.user.grant(Subordinate::Some(1000)).unwrap();
    text.push_str(&ordinary.cooper(&create).with(1).to_string());
    text.push_str(
        &ordinary
            .cooper(&["run", "nothing", "--", "true"])
            .with(125)
            .to_string(),
    );
    ordinary
        .host
        .assert_snapshot("what_an_ordinary_user_lacks_is_told", &text);
    // The command that the hint names helps.
    ordinary.user.grant(Subordinate::Usual).unwrap();
    ordinary.cooper(&create).good();
    // With the user's own id alone what is there can be run on.
    ordinary.user.grant(Subordinate::None).unwrap();
    let alone = ordinary.shell(&[], "id -u; id -g; cat /proc/1/cmdline").with(1);
    assert!(alone.stdout.starts_with("1000\n1000\n"), "{alone}");
    let contained = "grep -E '^(CapEff|CapBnd|Seccomp):' /proc/self/status | tr -d '[:space:]'; echo x > /work/x; \
                     kill -9 1; echo x > /usr/x || exit 3";
    let contained = ordinary.shell(&[], contained).with(3);
    assert!(
        contained.stdout.contains("CapBnd:0000000000000000Seccomp:2"),
        "{contained}"
    );
}

#[test]
fn the_doctor_sees_what_an_ordinary_user_has() {
    let ordinary = Ordinary::of(Host::new(), Subordinate::None);
    let states = |told: &Done| {
        let document = told.json();
        let checks = document["checks"].as_array().unwrap().clone();
        move |code: &str| {
            let check = checks.iter().find(|check| check["check"] == code).unwrap();
            check["state"].as_str().unwrap().to_owned()
        }
    };
    let without = ordinary.cooper(&["doctor", "--json"]).with(1);
    let state = states(&without);
    assert_eq!(
        (
            state("subordinate-ids").as_str(),
            state("run-capabilities").as_str()
        ),
        ("bad", "good")
    );
    assert!(without.stdout.contains("sudo usermod --add-subuids"), "{without}");
    ordinary.user.grant(Subordinate::Usual).unwrap();
    let state = states(&ordinary.cooper(&["doctor", "--json"]).good());
    for (code, expected) in [
        ("subordinate-ids", "good"),
        ("run-user", "good"),
        ("run-system-calls", "good"),
        ("run-host-network", "good"),
        ("run-processes", "good"),
        ("run-memory", "weak"),
        ("run-cpu", "weak"),
    ] {
        assert_eq!(state(code), expected, "{code}");
    }
}
