//! `cooper remove` and `cooper gc`: what goes, and what stays.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::context::World;

#[test]
fn what_only_removed_versions_kept_goes() {
    let world = World::new();
    world.create_example();
    let second = [
        "create",
        "example_name",
        "--packages",
        "jq",
        "--dependencies",
        "requests",
    ];
    world.cooper(&second).good();
    world.cooper(&["remove", "example_name:1.0.0.1"]).good();
    let first = world.cooper(&["gc", "--json"]).good().json();
    assert!(first["freed_bytes"].as_u64().unwrap() > 1000, "{first}");
    assert_eq!(
        (&first["layers"], &first["in_use"]),
        (&json!(2), &json!(0)),
        "{first}"
    );
    world.cooper(&["fsck"]).good();
    world.cooper(&["run", "example_name", "--", "jq"]).good();
    assert_eq!(world.cooper(&["gc", "--json"]).good().json()["blobs"], json!(0));
    assert_eq!(
        world.create_example()["image"],
        json!("local/example_name:1.0.0.3")
    );
    world.cooper(&["fsck"]).good();
}

#[test]
fn old_versions_go_and_the_newest_stays() {
    let world = World::new();
    for packages in ["wget", "jq", "wget,jq"] {
        world
            .cooper(&["create", "example_name", "--packages", packages])
            .good();
    }
    world.cooper(&["create", "other", "--packages", "wget"]).good();
    let text = world.host.transcript(&[
        &["gc", "--keep", "2", "--dry-run"],
        &["gc", "--older-than", "1h"],
        &["gc", "--keep", "1", "--older-than", "1h"],
        &["remove", "example_name"],
        &["remove", "example_name:1.0.0.9"],
        &["remove", "nothing:*"],
        &["remove", "example_name:1.0.0.1", "--dry-run"],
        &["remove", "example_*", "--json", "--dry-run"],
        &["gc", "--keep", "0"],
        &["gc", "--older-than", "soon"],
    ]);
    world
        .host
        .assert_snapshot("old_versions_go_and_the_newest_stays", &text);
    let kept = world.cooper(&["gc", "--keep", "1", "--json"]).good().json();
    assert_eq!(
        kept["removed"],
        json!(["local/example_name:1.0.0.1", "local/example_name:1.0.0.2"])
    );
    world.cooper(&["fsck"]).good();
    world
        .cooper(&["run", "example_name", "--", "wget", "--version"])
        .good();
    world.cooper(&["run", "other", "--", "wget", "--version"]).good();
}

#[test]
fn nothing_is_pulled_from_under_a_run() {
    let world = World::new();
    world.create_example();
    let mut command = world.host.command(&[
        "run",
        "example_name",
        "--",
        "sh",
        "-c",
        "echo ready; read line; cat /usr/bin/wget; exit 7",
    ]);
    let mut run = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    world.cooper(&["remove", "example_name:*"]).good();
    let during = world.cooper(&["gc", "--json"]).good().json();
    assert!(during["in_use"].as_u64().unwrap() >= 2, "{during}");
    drop(run.stdin.take());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
    assert!(rest.contains("GNU Wget"), "{rest}");
    assert_eq!(run.wait().unwrap().code(), Some(7));
    let after = world.cooper(&["gc", "--json"]).good().json();
    assert_eq!(
        (&after["layers"], &after["in_use"]),
        (&during["in_use"], &json!(0))
    );
    world.cooper(&["fsck"]).good();
}

#[test]
fn a_collection_that_is_killed_leaves_a_whole_store() {
    let world = World::new();
    world.create_example();
    for round in 0_u32..100 {
        let name = format!("n{}", round % 4);
        let packages = ["jq", "libxslt1.1", "jq,libpsl5"][round as usize % 3];
        world.cooper(&["create", &name, "--packages", packages]).good();
        world.cooper(&["remove", &format!("{name}:*")]).good();
        let started = Instant::now();
        let mut collector = world.host.start(&["gc"]);
        std::thread::sleep(Duration::from_micros(u64::from(round) * 137 % 9000));
        collector.kill().unwrap();
        collector.wait().unwrap();
        assert!(started.elapsed() < Duration::from_secs(30));
        let checked = world.cooper(&["fsck"]);
        assert_eq!(checked.status, 0, "round {round}: {checked}");
    }
    world.cooper(&["gc"]).good();
    world
        .cooper(&["run", "example_name", "--", "wget", "--version"])
        .good();
    world.cooper(&["fsck"]).good();
}
