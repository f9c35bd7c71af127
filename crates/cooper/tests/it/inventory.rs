//! `cooper images`, `cooper inspect`, `cooper fsck`: what is in the store.

use std::io::Write as _;

use serde_json::json;

use crate::context::World;

fn world_with_images() -> World {
    let world = World::new();
    world.create_example();
    world.cooper(&["create", "tools", "--packages", "jq"]).good();
    world
        .cooper(&[
            "create",
            "tools",
            "--packages",
            "jq",
            "--dependencies",
            "requests==2.31.0",
        ])
        .good();
    world
}

#[test]
fn images_are_found_and_ordered() {
    let world = world_with_images();
    let text = world.host.transcript(&[
        &["images"],
        &["images", "tools", "--sort", "name"],
        &["images", "local/*:1.0.0.2"],
        &["images", "--package", "requests"],
        &["images", "--package", "Requests==2.31.0"],
        &["images", "--package", "wget==1.25.0-2"],
        &["images", "--package", "requests==2.32.3"],
        &["/docker_images pattern=tools sort=name"],
        &["inspect", "tool"],
    ]);
    world.host.assert_snapshot("images_are_found_and_ordered", &text);
    let sorted = world
        .cooper(&["images", "--sort", "size", "--json"])
        .good()
        .json();
    let sizes: Vec<u64> = sorted
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["size_bytes"].as_u64().unwrap())
        .collect();
    assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
}

#[test]
fn the_list_has_its_fields() {
    let world = World::new();
    let created = world.create_example();
    let list = world.cooper(&["images", "--json"]).good().json();
    let one = &list[0];
    let debian = created["packages"]["debian"].as_array().unwrap().len();
    assert_eq!(one["image"], created["image"]);
    assert_eq!(one["digest"], created["digest"]);
    assert_eq!(one["size_bytes"], created["size_bytes"]);
    assert_eq!(
        (&one["python_packages"], &one["debian_packages"]),
        (&json!(2), &json!(debian))
    );
    let time = one["created_at"].as_str().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
    assert_eq!(one["base"], "debian:trixie");
    assert_eq!(one.as_object().unwrap().len(), 7);
    let whole = world.cooper(&["images", "--json", "--packages"]).good().json();
    assert_eq!(whole[0]["python_packages"], created["packages"]["python"]);
    assert_eq!(whole[0]["debian_packages"], created["packages"]["debian"]);
    assert_eq!(world.cooper(&["/docker_images", "--json"]).good().json(), list);
}

#[test]
fn an_image_is_shown_in_full() {
    let world = World::new();
    let created = world.create_example();
    let text = world.host.transcript(&[&["inspect", "example_name"]]);
    world.host.assert_snapshot("an_image_is_shown_in_full", &text);
    let document = world
        .cooper(&["inspect", "local/example_name:1.0.0.1", "--json"])
        .good()
        .json();
    for field in ["image", "digest", "size_bytes", "packages"] {
        assert_eq!(document[field], created[field], "{field}");
    }
    let request = json!({ "name": "example_name", "base": "debian:trixie", "dependencies": ["mechanize"], "packages": ["wget"] });
    assert_eq!(document["request"], request);
    let layers = document["layers"].as_array().unwrap();
    assert!(layers.len() >= 3, "{layers:?}");
    for layer in layers {
        assert!(
            layer["digest"].as_str().unwrap().starts_with("sha256:"),
            "{layer}"
        );
        assert!(
            layer["diff_id"].as_str().unwrap().starts_with("sha256:"),
            "{layer}"
        );
        assert!(layer["size_bytes"].as_u64().unwrap() > 0, "{layer}");
    }
    assert_eq!(document["config"]["architecture"], json!("amd64"));
    assert_eq!(document["manifest"]["schemaVersion"], json!(2));
}

#[test]
fn a_lock_names_every_artefact() {
    let world = World::new();
    let created = world.create_example();
    let lock = world.cooper(&["inspect", "example_name", "--lock"]).good().json();
    assert_eq!(lock["cooper_lock"], json!(1));
    let count = |list: &serde_json::Value| list.as_array().unwrap().len();
    let debian = count(&lock["content"]["base"]["packages"]) + count(&lock["content"]["packages"]);
    assert_eq!(debian, count(&created["packages"]["debian"]));
    assert_eq!(count(&lock["content"]["python"]), 2);
    for artefact in lock["content"]["python"].as_array().unwrap() {
        assert!(
            artefact["sha256"].as_str().unwrap().starts_with("sha256:"),
            "{artefact}"
        );
    }
}

#[test]
fn damage_is_found_named_and_made_good() {
    let world = World::new();
    let created = world.create_example();
    world.cooper(&["fsck"]).good();
    let document = world.cooper(&["inspect", "example_name", "--json"]).good().json();
    let layer = document["layers"][0]["digest"].as_str().unwrap().to_owned();
    let lock = world.cooper(&["inspect", "example_name", "--lock"]).good().json();
    let wheel = lock["content"]["python"][0]["sha256"]
        .as_str()
        .unwrap()
        .to_owned();
    for digest in [&layer, &wheel] {
        let blob = world
            .host
            .path("store/blobs/sha256")
            .join(digest.trim_start_matches("sha256:"));
        damage(&blob);
        let found = world.cooper(&["fsck", "--json"]).with(1).json();
        let fault = &found["faults"][0];
        assert_eq!(
            (&found["clean"], &fault["code"]),
            (&json!(false), &json!("corrupted-blob")),
            "{found}"
        );
        assert!(
            fault["message"].as_str().unwrap().contains(digest.as_str()),
            "{fault}"
        );
        assert_eq!(fault["needed_by"], json!(["local/example_name:1.0.0.1"]));
        assert_eq!(fault["repaired"], json!(false));
        let text = world.cooper(&["fsck", "--repair"]).with(1);
        assert!(text.stdout.contains("taken out of the way"), "{text}");
        let again = world.create_example();
        assert_eq!(
            (&again["digest"], &again["image"]),
            (&created["digest"], &created["image"])
        );
        world.cooper(&["fsck"]).good();
    }
}

#[test]
fn damaged_artefacts_are_never_built_and_fetched_again() {
    let world = World::new();
    let created = world.create_example();
    let lock = world.cooper(&["inspect", "example_name", "--lock"]).good().json();
    for list in [&lock["content"]["base"]["packages"], &lock["content"]["python"]] {
        let digest = list[0]["sha256"].as_str().unwrap();
        let blob = digest.trim_start_matches("sha256:");
        damage(&world.host.path("store/blobs/sha256").join(blob));
        for folder in ["cache/layer", "cache/wheel", "trees/sha256"] {
            std::fs::remove_dir_all(world.host.path("store").join(folder)).unwrap();
        }
        std::fs::create_dir(world.host.path("store/trees/sha256")).unwrap();
        // The image has all its blobs: another one is made of the same artefacts.
        let name = format!("again-{}", &blob[..8]);
        let create = ["create", name.as_str(), "-d", "mechanize", "-p", "wget", "--json"];
        let offline = world.cooper(&[&create[..], &["--offline"]].concat());
        let offline = offline.with(1).stdout;
        assert!(offline.contains("cooper fsck --repair"), "{offline}");
        let again = world.cooper(&create).good().json();
        assert_eq!(again["digest"], created["digest"]);
        world.cooper(&["fsck"]).good();
    }
}

#[test]
fn a_damaged_artefact_that_cannot_be_fetched_again_is_called_damaged() {
    let world = World::new();
    world.create_example();
    let lock = world.cooper(&["inspect", "example_name", "--lock"]).good().json();
    let (python, debian) = (&lock["content"]["python"][0], &lock["content"]["packages"][0]);
    for (artefact, path, cut_off) in [(python, "/files/*", false), (debian, "/debian/pool/*", true)] {
        let digest = artefact["sha256"].as_str().unwrap();
        let blob = world
            .host
            .path("store/blobs/sha256")
            .join(digest.trim_start_matches("sha256:"));
        damage(&blob);
        if cut_off {
            std::fs::File::options()
                .write(true)
                .open(&blob)
                .unwrap()
                .set_len(10)
                .unwrap();
        }
        for folder in ["cache/layer", "cache/wheel", "trees/sha256"] {
            std::fs::remove_dir_all(world.host.path("store").join(folder)).unwrap();
        }
        std::fs::create_dir(world.host.path("store/trees/sha256")).unwrap();
        world.server.fault(path, testkit::Fault::NotFound);
        let create = [
            "create",
            if cut_off { "again-os" } else { "again-python" },
            "-d",
            "mechanize",
            "-p",
            "wget",
            "--json",
        ];
        let error = world.cooper(&create).with(1).json()["error"].clone();
        assert_eq!(error["code"], json!("fetch-failed"), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(digest) && message.contains("damaged in the store: put aside"),
            "{message}"
        );
        assert!(message.contains("does not exist"), "{message}");
        world.server.clear_faults();
        world.cooper(&create).good();
        world.cooper(&["fsck"]).good();
    }
}

#[test]
fn a_record_that_is_json_and_not_ours_is_found_and_repaired() {
    let world = World::new();
    world.create_example();
    let path = world.host.path("store/refs/local/example_name/1.0.0.1.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["details"] = json!({ "made_by": "somebody else" });
    std::fs::File::create(&path)
        .unwrap()
        .write_all(record.to_string().as_bytes())
        .unwrap();
    let report = world.cooper(&["fsck", "--json"]).with(1).json();
    assert_eq!(report["faults"][0]["code"], json!("unreadable-name"), "{report}");
    let message = report["faults"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("local/example_name:1.0.0.1") && message.contains("not the record of an image"),
        "{message}"
    );
    world.cooper(&["fsck", "--repair"]).with(1);
    world.cooper(&["fsck"]).good();
    assert_eq!(
        world.create_example()["image"],
        json!("local/example_name:1.0.0.2")
    );
}

#[test]
fn a_damaged_tree_is_made_again() {
    let world = World::new();
    let created = world.create_example();
    let document = world.cooper(&["inspect", "example_name", "--json"]).good().json();
    let tree = document["config"]["rootfs"]["diff_ids"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let tree = world
        .host
        .path("store/trees/sha256")
        .join(tree.trim_start_matches("sha256:"));
    damage(&tree.join("etc/passwd"));
    let text = world.cooper(&["fsck", "--repair"]).with(1);
    assert!(text.stdout.contains("taken out of the way"), "{text}");
    assert_eq!(world.create_example()["digest"], created["digest"]);
    world.cooper(&["fsck"]).good();
    world.cooper(&["run", "example_name", "--", "true"]).good();
}

#[test]
fn a_damaged_record_hides_nothing_else() {
    let world = World::new();
    world.create_example();
    world.cooper(&["create", "other", "--packages", "jq"]).good();
    std::fs::File::create(world.host.path("store/refs/local/other/1.0.0.1.json")).unwrap();
    // The view of the names knows what the record said; without it, the record is read.
    let viewed = world.cooper(&["images"]).good();
    assert!(viewed.stdout.contains("local/other:1.0.0.1"), "{viewed}");
    std::fs::remove_file(world.host.path("store/names")).unwrap();
    let listed = world.cooper(&["images"]).good();
    assert!(listed.stdout.contains("local/example_name:1.0.0.1"), "{listed}");
    assert!(listed.stderr.contains("local/other:1.0.0.1"), "{listed}");
    world
        .cooper(&["create", "third", "--packages", "libxslt1.1"])
        .good();
    let same_name = world
        .cooper(&["create", "other", "--packages", "jq,wget", "--json"])
        .good()
        .json();
    assert_eq!(same_name["image"], json!("local/other:1.0.0.2"));
    world.cooper(&["fsck", "--repair"]).with(1);
    world.cooper(&["fsck"]).good();
    let made = world
        .cooper(&["create", "other", "--packages", "jq", "--json"])
        .good()
        .json();
    assert_eq!(made["image"], json!("local/other:1.0.0.3"));
}

fn damage(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::File::create(file).unwrap().write_all(&bytes).unwrap();
}
