//! A wheel that an earlier layer had: its members go into the next one, with the same bytes as if it were prepared anew.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::Wheel;

use crate::context::{World, archive, index};

fn python_layer(world: &World, name: &str, dependencies: &str) -> Value {
    let args = ["create", name, "--dependencies", dependencies, "--json"];
    world.cooper(&args).good();
    let inspected = world.cooper(&["inspect", name, "--json"]).good().json();
    let layers = inspected["manifest"]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    layers[1].clone()
}

/// The entries of the store's cache.
fn entries(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.host.path("store/cache/wheel")).unwrap();
    let mut entries: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn flip(path: &Path, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path);
    // Blobs cannot be written to, but by root.
    let file = file.unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// Words that deflate makes smaller, more than are worth a member.
fn words() -> String {
    let lines: Vec<String> = (0..4_000).map(|number| format!("word {number}")).collect();
    lines.join("\n")
}

#[test]
fn a_wheel_is_prepared_once_and_the_bytes_are_those_of_a_fresh_store() {
    let world = World::new();
    python_layer(&world, "one", "mechanize");
    let before = entries(&world);
    let kept = python_layer(&world, "two", "html5lib,requests");
    let after = entries(&world);
    // mechanize needs html5lib: only requests is new.
    assert_eq!(after.len(), before.len() + 1);
    assert!(before.iter().all(|entry| after.contains(entry)));
    let other = World::new();
    assert_eq!(python_layer(&other, "two", "html5lib,requests"), kept);
    // Without the cache nothing is lost.
    fs::remove_dir_all(world.host.path("store/cache/wheel")).unwrap();
    world.cooper(&["fsck"]).good();
    assert_eq!(python_layer(&world, "three", "requests,html5lib"), kept);
}

#[test]
fn the_files_of_wheels_are_unpacked_by_the_first_run() {
    let world = World::new();
    python_layer(&world, "one", "mechanize");
    let trees = || {
        fs::read_dir(world.host.path("store/trees/sha256"))
            .unwrap()
            .count()
    };
    let without = trees();
    let list = [
        "run",
        "one",
        "--",
        "sh",
        "-c",
        "echo /usr/local/lib/python3*/dist-packages/*",
    ];
    let first = world.cooper(&list).good().stdout;
    assert!(first.contains("mechanize"), "{first}");
    assert_eq!(trees(), without + 1);
    world.cooper(&["fsck"]).good();
    // A layer that is damaged is not run.
    fs::remove_dir_all(world.host.path("store/trees/sha256")).unwrap();
    fs::create_dir(world.host.path("store/trees/sha256")).unwrap();
    assert_eq!(world.cooper(&list).good().stdout, first);
    let layer = python_layer(&world, "two", "mechanize");
    let digest = layer["digest"].as_str().unwrap().trim_start_matches("sha256:");
    let blob = world.host.path("store/blobs/sha256").join(digest);
    flip(&blob, blob.metadata().unwrap().len() / 2);
    fs::remove_dir_all(world.host.path("store/trees/sha256")).unwrap();
    fs::create_dir(world.host.path("store/trees/sha256")).unwrap();
    let refused = world.cooper(&list).with(125).stderr;
    assert!(refused.contains("cooper fsck --repair"), "{refused}");
}

#[test]
fn what_is_damaged_is_noticed_and_the_wheel_prepared_again() {
    let index = index().wheel(Wheel::new("wordy", "1.0").file("wordy/list.txt", words()));
    let world = World::of(&archive(), &index);
    let whole = python_layer(&world, "one", "wordy");
    let [entry] = entries(&world).try_into().unwrap();
    let forget_layers = || fs::remove_dir_all(world.host.path("store/cache/layer")).unwrap();
    let pack = entry.join("pack");
    let bytes = fs::read(&pack).unwrap();
    flip(&pack, 40);
    forget_layers();
    assert_eq!(python_layer(&world, "two", "wordy"), whole);
    assert_eq!(fs::read(&pack).unwrap(), bytes, "it is kept anew");
    // A manifest that says something else, and an entry without one.
    for text in ["{}", ""] {
        let manifest = entry.join("manifest");
        fs::remove_file(&manifest).unwrap();
        if !text.is_empty() {
            world.host.write(manifest.to_str().unwrap(), text);
        }
        forget_layers();
        let name = format!("again{}", text.len());
        assert_eq!(python_layer(&world, &name, "wordy"), whole);
    }
    // The wheel itself, whose bytes are the layer's: it is fetched again.
    let lock = world.cooper(&["inspect", "one", "--lock"]).good().json();
    let wheel = lock["content"]["python"][0]["sha256"].as_str().unwrap();
    let wheel = world
        .host
        .path("store/blobs/sha256")
        .join(wheel.trim_start_matches("sha256:"));
    let archive = fs::read(&wheel).unwrap();
    let name = b"wordy/list.txt";
    let data = archive
        .windows(name.len())
        .position(|found| found == name)
        .unwrap()
        + name.len()
        + 500;
    flip(&wheel, data as u64);
    forget_layers();
    assert_eq!(python_layer(&world, "fetched", "wordy"), whole);
    world.cooper(&["fsck"]).good();
}

#[test]
fn what_wheels_share_is_decided_anew_each_time() {
    let part = |name: &str, own: &str| {
        Wheel::new(name, "1.0")
            .package(own, "x = 1\n")
            .file("shared/__init__.py", "# the same\n")
            .file("shared/words.txt", words())
    };
    let index = index()
        .wheel(part("first", "first"))
        .wheel(part("second", "second").file("LICENSE", "its own"))
        .wheel(
            Wheel::new("third", "1.0")
                .file("LICENSE", "another")
                .package("third", ""),
        );
    let world = World::of(&archive(), &index);
    for (name, dependencies) in [("a", "first"), ("b", "second"), ("c", "third")] {
        python_layer(&world, name, dependencies);
    }
    let kept = python_layer(&world, "all", "first,second,third");
    let other = World::of(&archive(), &index);
    assert_eq!(python_layer(&other, "all", "first,second,third"), kept);
    let list = "echo /usr/local/lib/python3*/dist-packages/shared/*";
    let places = ["run", "all", "--", "sh", "-c", list];
    assert!(world.cooper(&places).good().stdout.contains("words.txt"));
    world.cooper(&["fsck"]).good();
}
