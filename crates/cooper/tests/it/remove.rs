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
    // The files of its wheels are there since something has run.
    world.cooper(&["run", "example_name", "--", "wget"]).good();
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
    assert_eq!((&after["layers"], &after["in_use"]), (&json!(3), &json!(0)));
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
        // Now and then what is cached goes as well.
        let arguments: &[&str] = if round % 5 == 0 {
            &["gc", "--cache-age", "0s"]
        } else {
            &["gc"]
        };
        let mut collector = world.host.start(arguments);
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

#[test]
fn a_crowd_is_listed_filtered_measured_and_collected() {
    let world = World::new();
    world.create_example();
    let crowd = testkit::Crowd {
        model: "local/example_name:1.0.0.1".parse().unwrap(),
        images: 120,
        names: 30,
    };
    crowd.fill(&world.host.path("store"));
    let checked = world.cooper(&["fsck", "--json"]).good().json();
    assert_eq!(
        (&checked["images"], &checked["faults"]),
        (&json!(121), &json!([])),
        "{checked}"
    );
    let images = |args: &[&str]| {
        let all: Vec<&str> = ["images", "--json"].iter().chain(args).copied().collect();
        world.cooper(&all).good().json().as_array().unwrap().len()
    };
    assert_eq!(images(&[]), 121);
    assert_eq!(images(&["local/crowd-0007:*"]), 4);
    assert_eq!(images(&["--package", "crowd<1.5"]), 30);
    assert_eq!(images(&["--package", "crowd>=1.5,<1.7"]), 12);
    assert_eq!(images(&["--package", "crowd-own==17"]), 1);
    assert_eq!(
        (images(&["--base", "trixie"]), images(&["--base", "bookworm"])),
        (121, 0)
    );
    world
        .cooper(&["run", "crowd-0003", "--", "cat", "/srv/crowd/0.txt"])
        .good();

    world.cooper(&["gc"]).good();
    let usage = world.cooper(&["images", "--usage", "--json"]).good().json();
    let own: u64 = usage["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["own"]["blob_bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(usage["images"].as_array().unwrap().len(), 121);
    let total = usage["total"]["blob_bytes"].as_u64().unwrap();
    assert!(own > 0 && own < total, "{own} {total}");
    let before = usage["images"]
        .as_array()
        .unwrap()
        .iter()
        .find(|image| image["image"] == "local/crowd-0007:1.0.0.2")
        .unwrap();
    world.cooper(&["remove", "crowd-0007:1.0.0.2"]).good();
    let freed = world.cooper(&["gc", "--json"]).good().json();
    // What its own was said to be is what it frees; the directories of a tree are not counted as files.
    assert_eq!(freed["freed_bytes"], before["own"]["blob_bytes"]);
    assert_eq!(freed["layers"], json!(1));

    let collected = world.cooper(&["gc", "--keep", "2", "--json"]).good().json();
    assert_eq!(collected["removed"].as_array().unwrap().len(), 59, "{collected}");
    assert_eq!(images(&[]), 61);
    world.cooper(&["fsck"]).good();
    world
        .cooper(&["create", "crowd-0001", "--packages", "wget"])
        .good();
    assert_eq!(images(&["crowd-0001:1.0.0.5"]), 1);
    world
        .cooper(&["run", "example_name", "--", "wget", "--version"])
        .good();
}
