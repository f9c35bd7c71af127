//! A wheel that an earlier layer had: linked into the next one, with the same bytes as if it were installed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::Wheel;

use crate::context::{World, archive, index};

/// Every file below a folder whose path ends so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.symlink_metadata().unwrap().is_dir() {
                left.push(path);
            } else if path.to_str().is_some_and(|path| path.ends_with(end)) {
                found.push(path);
            }
        }
    }
    found
}

fn python_layer(world: &World, name: &str, dependencies: &str) -> Value {
    let args = ["create", name, "--dependencies", dependencies, "--json"];
    world.cooper(&args).good();
    let inspected = world.cooper(&["inspect", name, "--json"]).good().json();
    let layers = inspected["manifest"]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    layers[1].clone()
}

fn inodes(world: &World, end: &str) -> Vec<u64> {
    let found = files(&world.host.path("store/trees"), end);
    found.iter().map(|path| path.metadata().unwrap().ino()).collect()
}

const MODULE: &str = "html5lib/__init__.py";

#[test]
fn two_layers_have_one_file_and_the_bytes_are_those_of_an_installation() {
    let world = World::new();
    python_layer(&world, "one", "mechanize");
    let kept = python_layer(&world, "two", "html5lib,requests");
    let found = inodes(&world, MODULE);
    assert!(found.len() == 2 && found[0] == found[1], "{found:?}");
    world.cooper(&["fsck"]).good();
    let other = World::new();
    assert_eq!(python_layer(&other, "two", "html5lib,requests"), kept);
    // Without the cache nothing is lost.
    fs::remove_dir_all(world.host.path("store/cache/wheel")).unwrap();
    world.cooper(&["fsck"]).good();
    assert_eq!(python_layer(&world, "three", "requests,html5lib"), kept);
}

#[test]
fn a_damaged_file_is_noticed_and_the_wheel_installed_again() {
    let world = World::new();
    let whole = python_layer(&world, "one", "html5lib");
    let number = inodes(&world, "html5lib-1.1.dist-info/METADATA")[0];
    let cache = world.host.path("store/cache");
    let is_module = |path: &PathBuf| path.metadata().unwrap().ino() == number;
    let damaged = files(&cache, "").into_iter().find(is_module).unwrap();
    let (state, mut bytes) = (damaged.metadata().unwrap(), fs::read(&damaged).unwrap());
    bytes[0] ^= 1;
    fs::remove_file(&damaged).unwrap();
    let file = fs::File::create(&damaged).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0).unwrap();
    file.set_permissions(state.permissions()).unwrap();
    file.set_modified(state.modified().unwrap()).unwrap();
    drop(file);
    fs::remove_dir_all(cache.join("layer")).unwrap();
    assert_eq!(python_layer(&world, "two", "html5lib"), whole);
    let entry = damaged.parent().unwrap();
    let again = entry.join(damaged.file_name().unwrap());
    assert_ne!(fs::read(again).unwrap(), bytes, "it is kept anew");
    // A manifest that says something else, and an entry without one.
    for text in ["{}", ""] {
        let manifest = entry.join("manifest");
        fs::remove_file(&manifest).unwrap();
        if !text.is_empty() {
            world.host.write(manifest.to_str().unwrap(), text);
        }
        fs::remove_dir_all(cache.join("layer")).unwrap();
        let name = format!("again{}", text.len());
        assert_eq!(python_layer(&world, &name, "html5lib"), whole);
    }
    world.cooper(&["fsck"]).good();
}

#[test]
fn what_wheels_share_is_decided_anew_each_time() {
    let part = |name: &str, own: &str| {
        Wheel::new(name, "1.0")
            .package(own, "x = 1\n")
            .file("shared/__init__.py", "# the same\n")
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
    world.cooper(&["fsck"]).good();
}
