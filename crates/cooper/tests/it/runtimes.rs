//! `cooper run --runtime`: the same answers by another runtime, nothing left, and what is told where it cannot be.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::context::{Done, World};

fn world() -> World {
    assert!(
        std::path::Path::new("/usr/bin/crun").exists(),
        "install Debian's crun"
    );
    let world = World::new();
    world.create_example();
    world
}

fn shell(world: &World, flags: &[&str], script: &str) -> Done {
    world.cooper(&[&["run"], flags, &["example_name", "--", "sh", "-c", script]].concat())
}

fn report(world: &World) -> serde_json::Value {
    let text = fs::read_to_string(world.host.path("project/run.json")).unwrap();
    let mut report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let members = report.as_object_mut().unwrap();
    // What is measured.
    members.remove("duration_ms");
    members.remove("usage");
    report
}

#[test]
fn crun_gives_the_same_output_status_and_report() {
    let world = world();
    world.host.write("project/token", "hush");
    world.host.write("project/data", "given");
    let script = "cat /run/secrets/T /input/data; id -u; echo left > /output/file; echo '[1]' > $COOPER_RESULT; \
        echo wrong >&2; ls /; exit 9";
    let answer = |flags: &[&str]| {
        let _ = fs::remove_dir_all(world.host.path("project/out"));
        let grants = [
            "--secret", "T=token", "--input", "data", "--output", "out", "--report", "run.json",
        ];
        let ran = shell(&world, &[flags, &grants].concat(), script).with(9);
        let left = fs::read_to_string(world.host.path("project/out/file")).unwrap();
        (ran.stdout.clone(), ran.stderr.clone(), left, report(&world))
    };
    let own = answer(&[]);
    assert_eq!(answer(&["--runtime", "crun"]), own);
    assert_eq!(own.2, "left\n");
    let written = shell(
        &world,
        &["--runtime", "crun", "--writable"],
        "echo x > /etc/x && cat /etc/x",
    );
    assert_eq!(written.with(0).stdout, "x\n");
    shell(&world, &["--runtime", "crun", "--timeout", "300ms"], "sleep 60").with(124);
    let missing = world.cooper(&["run", "--runtime", "crun", "example_name", "--", "nothing"]);
    assert!(missing.with(125).stderr.contains("cannot execute `nothing`"));
}

#[test]
fn a_killed_cooper_leaves_no_container() {
    let world = world();
    let seconds = format!("8{:07}", std::process::id());
    let mut command = world.host.command(&[
        "run",
        "--runtime",
        "crun",
        "example_name",
        "--",
        "sh",
        "-c",
        &format!("echo up; sleep {seconds}"),
    ]);
    let mut cooper = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut up = [0; 3];
    std::io::Read::read_exact(cooper.stdout.as_mut().unwrap(), &mut up).unwrap();
    let own = cooper.id();
    cooper.kill().unwrap();
    cooper.wait().unwrap();
    let started = Instant::now();
    let sleeps = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter(|process| {
                let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(&format!("\0{seconds}"))
            })
            .count()
    };
    while sleeps() > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "it is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The next run sweeps the cgroup; there is nothing else.
    shell(&world, &["--runtime", "crun"], "true").with(0);
    let groups = fs::read_dir("/sys/fs/cgroup/memory/cooper");
    let left = groups.into_iter().flatten().flatten();
    let of_killed = left.filter(|group| {
        group
            .file_name()
            .to_string_lossy()
            .starts_with(&format!("{own}-"))
    });
    assert_eq!(of_killed.count(), 0);
}

#[test]
fn what_cannot_be_is_told() {
    let world = world();
    let unknown = shell(&world, &["--runtime", "runc"], "true").with(125);
    assert!(
        unknown.stderr.contains("expected `own`, `crun` or `runsc`"),
        "{unknown}"
    );
    let warm = shell(&world, &["--runtime", "crun", "--warm"], "true");
    assert!(warm.stderr.contains("cannot be used with"), "{warm}");
    world
        .host
        .write("home/.config/cooper/cooper.toml", "run.runtime = \"crun\"\n");
    let runner = world.cooper(&["runner", "example_name"]);
    assert!(
        runner.stderr.contains("no warm runs by the runtime `crun`"),
        "{runner}"
    );
    let warm = shell(&world, &["--warm"], "true");
    assert!(
        warm.stderr.contains("no warm runs by the runtime `crun`"),
        "{warm}"
    );
    shell(&world, &[], "true").with(0);
}
