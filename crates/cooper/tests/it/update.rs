//! `cooper update`: the answers of another day.

use serde_json::json;
use testkit::{DebPackage, Wheel};

use crate::context::{World, archive, index};

/// The usual world on another day: a newer mechanize, a newer wget.
fn another_day(world: &World) {
    let wget =
        DebPackage::new("wget", "1.25.0-3").file("usr/bin/wget", "#!/bin/sh\necho GNU Wget $1\n", 0o755);
    let archive = archive().without_package("wget").package(wget);
    let mechanize = Wheel::new("mechanize", "0.5.0").package("mechanize", "");
    let index = index().wheel(mechanize.requires("html5lib>=1"));
    world.server.replace(archive.routes().merge(index.routes()));
}

#[test]
fn a_new_version_is_made_where_the_answer_is_another_one() {
    let world = World::new();
    world.create_example();
    let same = world
        .cooper(&["update", "example_name", "--refresh", "--json"])
        .good()
        .json();
    assert_eq!(same[0]["outcome"], json!("same"));
    another_day(&world);

    let planned = world.cooper(&["update", "example_name", "--refresh", "--dry-run", "--json"]);
    let planned = planned.good().json();
    assert_eq!(
        (&planned[0]["outcome"], &planned[0]["image"]),
        (&json!("would-change"), &json!(null))
    );
    assert_eq!(
        world
            .cooper(&["images", "--json"])
            .good()
            .json()
            .as_array()
            .unwrap()
            .len(),
        1
    );

    let updated = world
        .cooper(&["/docker_image_update image=example_name", "--json"])
        .good()
        .json();
    assert_eq!(updated[0]["outcome"], json!("new"));
    assert_eq!(updated[0]["image"], json!("local/example_name:1.0.0.2"));
    assert_eq!(updated[0]["previous"], json!("local/example_name:1.0.0.1"));
    let changes = json!([
        { "ecosystem": "debian", "name": "libpsl5", "before": "0.21.2-1", "now": null },
        { "ecosystem": "debian", "name": "wget", "before": "1.25.0-2", "now": "1.25.0-3" },
        { "ecosystem": "python", "name": "mechanize", "before": "0.4.10", "now": "0.5.0" },
    ]);
    assert_eq!(
        (&updated[0]["changes"], &planned[0]["changes"]),
        (&changes, &changes)
    );
    let diff = world.cooper(&["diff", "example_name:1.0.0.1", "example_name", "--json"]);
    assert_eq!(diff.good().json()["changes"], changes);
    let text = world
        .cooper(&["diff", "example_name", "example_name:1.0.0.1"])
        .good()
        .stdout;
    assert_eq!(
        text,
        "+ debian libpsl5 0.21.2-1\n~ debian wget 1.25.0-3 -> 1.25.0-2\n~ python mechanize 0.5.0 -> 0.4.10\n"
    );
    let again = world.cooper(&["update", "example_name", "--json"]).good().json();
    assert_eq!(again[0]["outcome"], json!("same"));
}

#[test]
fn pins_and_locks_do_not_move() {
    let world = World::new();
    world.create_example();
    let pinned = [
        "create",
        "pinned",
        "--dependencies",
        "mechanize==0.4.10",
        "--packages",
        "jq",
    ];
    world.cooper(&pinned).good();
    let lock = world.cooper(&["inspect", "example_name", "--lock"]).good().stdout;
    world.host.write("project/a.lock", &lock);
    world.cooper(&["create", "frozen", "--locked", "a.lock"]).good();
    another_day(&world);
    let all = world
        .cooper(&["update", "--all", "--refresh", "--json"])
        .good()
        .json();
    let outcomes: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].clone(), one["outcome"].clone()))
        .collect();
    assert_eq!(
        outcomes,
        [
            (json!("example_name"), json!("new")),
            (json!("frozen"), json!("locked")),
            (json!("pinned"), json!("same")),
        ]
    );
}

#[test]
fn one_that_fails_does_not_stop_the_others() {
    let world = World::new();
    world.create_example();
    world
        .cooper(&["create", "broken", "--dependencies", "requests<2.32"])
        .good();
    world.server.remove("/simple/requests/");
    let text = world.host.transcript(&[
        &["update", "--all", "--refresh"],
        &["update", "broken", "--refresh"],
        &["update", "nothing"],
        &["update", "example_name:1.0.0.1"],
        &["update"],
        &["update", "--help"],
    ]);
    world.host.assert_snapshot("updates_that_fail", &text);
}

#[test]
fn an_update_of_all_does_not_ask_for_each_index_again_and_again() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        let args = ["create", name, "--dependencies", "mechanize", "--packages", "jq"];
        world.cooper(&args).good();
    }
    let asked = |ending: &str| {
        let requests = world.server.requests();
        requests
            .iter()
            .filter(|request| request.path.ends_with(ending))
            .count()
    };
    let before = (asked("/InRelease"), asked("/simple/mechanize/"));
    world.cooper(&["update", "--all", "--refresh"]).good();
    let after = (asked("/InRelease"), asked("/simple/mechanize/"));
    assert_eq!(
        (after.0 - before.0, after.1 - before.1),
        (3, 1),
        "{before:?} {after:?}"
    );
}
