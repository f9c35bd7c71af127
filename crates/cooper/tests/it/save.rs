//! `cooper save` and `cooper load`: what is written, what comes back, and under which name.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::archive_file::{ArchiveFile, blob_path};
use crate::context::{Host, World};

/// Save the usual image of a world as `project/example.tar`.
fn saved(world: &World) -> Value {
    let args = ["save", "example_name", "-o", "example.tar", "--json"];
    world.cooper(&args).good().json()
}

fn archive(host: &Host) -> std::path::PathBuf {
    host.path("project/example.tar")
}

#[test]
fn an_archive_comes_back_in_another_store() {
    let world = World::new();
    let created = world.create_example();
    let saved = saved(&world);
    let file = archive(&world.host);
    let bytes = std::fs::read(&file).unwrap();
    assert_eq!(saved["size_bytes"], json!(bytes.len()));
    assert_eq!(saved["digest"], json!(cooper_core::Digest::of(&bytes)));
    assert_eq!(saved["path"], json!("example.tar"));
    assert_eq!(saved["images"][0]["image"], created["image"]);
    assert_eq!(saved["images"][0]["digest"], created["digest"]);

    let other = world.another_host();
    let loaded = other
        .cooper(&["load", file.to_str().unwrap(), "--json"])
        .good()
        .json();
    let expected = json!({ "image": created["image"], "from": created["image"], "digest": created["digest"],
        "created": true, "size_bytes": created["size_bytes"] });
    assert_eq!(loaded["images"], json!([expected]));
    let here = world.cooper(&["inspect", "example_name", "--json"]).good().json();
    let mut there = other.cooper(&["inspect", "example_name", "--json"]).good().json();
    assert_eq!(
        (&here["loaded"], &there["loaded"]),
        (&json!(null), &created["image"])
    );
    // What one store judged is not believed in another.
    for field in ["loaded", "created_at", "verdict"] {
        there[field] = here[field].clone();
    }
    assert_eq!(here, there);
    let lock = |host: &Host| host.cooper(&["inspect", "example_name", "--lock"]).good().stdout;
    assert_eq!(lock(&world.host), lock(&other));
    let shown = other.cooper(&["inspect", "example_name"]).good().stdout;
    assert!(
        shown.contains("  loaded    from an archive, where it was local/example_name:1.0.0.1"),
        "{shown}"
    );
    other
        .cooper(&["run", "example_name", "--", "wget", "--version"])
        .good();
    other.cooper(&["fsck"]).good();
    // Only what the archive needed to be read is left over.
    other.cooper(&["gc"]).good();
    other.cooper(&["fsck"]).good();
    other
        .cooper(&["run", "example_name", "--", "cat", "/etc/passwd"])
        .good();
    other.cooper(&["save", "example_name", "-o", "again.tar"]).good();
    assert!(
        std::fs::read(other.path("project/again.tar")).unwrap() == bytes,
        "other bytes"
    );
}

#[test]
fn pipes_are_read_and_written() {
    let world = World::new();
    let created = world.create_example();
    let other = world.another_host();
    let mut save = world.host.command(&["save", "example_name"]);
    let mut save = save.stdout(Stdio::piped()).spawn().unwrap();
    let mut load = other.command(&["load", "--json"]);
    let load = load.stdin(save.stdout.take().unwrap()).output().unwrap();
    assert!(save.wait().unwrap().success());
    let loaded = crate::context::done(&load).good().json();
    assert_eq!(loaded["images"][0]["digest"], created["digest"]);
    // The reader of a pipe that goes away is nobody's failure.
    let mut save = world.host.command(&["save", "example_name"]);
    let mut save = save
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(save.stdout.take());
    let ended = save.wait_with_output().unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn several_images_share_their_layers() {
    let world = World::new();
    world.create_example();
    world.cooper(&["create", "tools", "--packages", "jq"]).good();
    let args = [
        "save",
        "tools",
        "example_name",
        "tools:1.0.0.1",
        "-o",
        "all.tar",
        "--json",
    ];
    let saved = world.cooper(&args).good().json();
    let names: Vec<&Value> = saved["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["image"])
        .collect();
    assert_eq!(names, ["local/example_name:1.0.0.1", "local/tools:1.0.0.1"]);
    world
        .cooper(&["save", "example_name", "tools", "-o", "all2.tar"])
        .good();
    let file = |name: &str| std::fs::read(world.host.path(name)).unwrap();
    assert!(
        file("project/all.tar") == file("project/all2.tar"),
        "the order of the arguments is in the bytes"
    );
    let archive = ArchiveFile::open(&world.host.path("project/all.tar"));
    let docker = archive.json("manifest.json");
    assert_eq!(docker[0]["Layers"][0], docker[1]["Layers"][0], "the base");
    let paths: std::collections::BTreeSet<&String> = archive.entries.iter().map(|(path, _)| path).collect();
    assert_eq!(paths.len(), archive.entries.len(), "each blob once");
    let other = world.another_host();
    let file = world.host.path("project/all.tar");
    let loaded = other
        .cooper(&["load", file.to_str().unwrap(), "--json"])
        .good()
        .json();
    assert_eq!(loaded["images"].as_array().unwrap().len(), 2);
    other.cooper(&["run", "tools", "--", "jq"]).good();
    let refused = other
        .cooper(&["load", file.to_str().unwrap(), "--name", "one"])
        .with(1);
    assert!(refused.stderr.contains("2 images"), "{refused}");
}

#[test]
fn formats_have_their_own_files() {
    let world = World::new();
    world.create_example();
    let paths = |format: &str| {
        let args = ["save", "example_name", "--format", format, "-o", "example.tar"];
        world.cooper(&args).good();
        let archive = ArchiveFile::open(&archive(&world.host));
        let names = ["oci-layout", "index.json", "manifest.json"];
        let has = |name: &str| archive.entries.iter().any(|(path, _)| path == name);
        (names.map(has), archive.entries.len())
    };
    let (both, oci, docker) = (paths("both"), paths("oci"), paths("docker-archive"));
    assert_eq!(
        (both.0, oci.0, docker.0),
        ([true; 3], [true, true, false], [false, false, true])
    );
    assert_eq!((both.1 - 1, docker.1), (oci.1, 1 + 1 + 3));
    let refused = world.cooper(&["load", "example.tar"]).with(1);
    assert!(refused.stderr.contains("without `--format docker`"), "{refused}");
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let world = World::new();
    world.create_example();
    let target = world.host.write("project/example.tar", "old");
    let layer =
        world.cooper(&["inspect", "example_name", "--json"]).good().json()["layers"][0]["digest"].clone();
    let blob = world.host.path("store").join(blob_path(layer.as_str().unwrap()));
    let whole = std::fs::read(&blob).unwrap();
    let mut damaged = whole.clone();
    damaged[100] ^= 1;
    std::fs::set_permissions(&blob, std::fs::Permissions::from_mode(0o644)).unwrap();
    crate::archive_file::write(&blob, &damaged);
    let failed = world
        .cooper(&["save", "example_name", "-o", "example.tar"])
        .with(1);
    assert!(
        failed.stderr.contains("the layer") && failed.stderr.contains("cooper fsck --repair"),
        "{failed}"
    );
    assert_eq!(std::fs::read(&target).unwrap(), b"old");
    let names = |folder: &Path| std::fs::read_dir(folder).unwrap().count();
    assert_eq!(names(&world.host.path("project")), 1, "nothing else is left");
    crate::archive_file::write(&blob, &whole);
    world
        .cooper(&["save", "example_name", "-o", "example.tar"])
        .good();
    let mode = std::fs::metadata(&target).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "what is inside may be private");
    assert_eq!(names(&world.host.path("project")), 1);
    ArchiveFile::open(&target);
    world.cooper(&["save", "example_name", "-o", "/dev/null"]).good();
    let refused = world.host.transcript(&[
        &["save", "nothing", "-o", "example.tar"],
        &["save", "example_name", "--json"],
        &["save", "example_name", "-o", "no/such/folder.tar"],
        &["save", "example_name", "-o", "."],
        &["save", "example_name", "--format", "zip", "-o", "example.tar"],
        &["load", "no-such-file.tar"],
        &["load", "."],
        &["load", "example.tar", "--name", "other:1.0.0.7"],
        &["load", "example.tar", "--name", "Other"],
    ]);
    world.host.assert_snapshot("archives_that_cannot_be", &refused);
}

#[test]
fn a_tag_never_means_two_things() {
    let world = World::new();
    world.create_example();
    saved(&world);
    let file = archive(&world.host);
    let file = file.to_str().unwrap();
    assert!(
        world
            .cooper(&["load", file])
            .good()
            .stdout
            .contains("already there: local/example_name:1.0.0.1")
    );

    let other = world.another_host();
    other
        .cooper(&["create", "example_name", "--packages", "jq"])
        .good();
    let taken = other.cooper(&["load", file, "--json"]).with(1).json();
    assert_eq!(taken["error"]["code"], json!("name-taken"));
    let hint = taken["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("--name example_name"), "{hint}");
    let next = other
        .cooper(&["load", file, "--name", "example_name", "--json"])
        .good()
        .json();
    assert_eq!(next["images"][0]["image"], json!("local/example_name:1.0.0.2"));
    let again = other
        .cooper(&["load", file, "--name", "example_name", "--json"])
        .good()
        .json();
    assert_eq!(
        (&again["images"][0]["image"], &again["images"][0]["created"]),
        (&json!("local/example_name:1.0.0.2"), &json!(false))
    );
    let named = other
        .cooper(&["load", file, "--name", "acme/else", "--json"])
        .good()
        .json();
    assert_eq!(named["images"][0]["image"], json!("acme/else:1.0.0.1"));
    let request = &other.cooper(&["inspect", "acme/else", "--json"]).good().json()["request"];
    assert_eq!(request["name"], json!("else"));
    other
        .cooper(&["run", "acme/else", "--", "wget", "--version"])
        .good();
    // Saved again under its other name, it is another archive, and loads as that.
    other.cooper(&["save", "acme/else", "-o", "else.tar"]).good();
    let third = world.another_host();
    let else_file = other.path("project/else.tar");
    third.cooper(&["load", else_file.to_str().unwrap()]).good();
    third
        .cooper(&["run", "acme/else", "--", "wget", "--version"])
        .good();

    // A removed number comes back for the same image alone.
    third.cooper(&["load", file]).good();
    third.cooper(&["remove", "example_name:1.0.0.1"]).good();
    third.cooper(&["load", file]).good();
    third.cooper(&["fsck"]).good();
    other.cooper(&["remove", "example_name:1.0.0.1"]).good();
    let removed = other.cooper(&["load", file]).with(1);
    assert!(removed.stderr.contains("was removed here"), "{removed}");
    other.cooper(&["fsck"]).good();
}

#[test]
fn nothing_takes_a_loaded_image_for_its_own() {
    let world = World::new();
    let created = world.create_example();
    saved(&world);
    let other = world.another_host();
    other
        .cooper(&["load", archive(&world.host).to_str().unwrap()])
        .good();
    let request = ["--dependencies", "mechanize", "--packages", "wget"];
    let create = |name: &str, more: &[&str]| {
        let args = [&["create", name, "--json"], &request[..], more].concat();
        other.cooper(&args).good().json()
    };
    let reused = create("second", &["--reuse"]);
    assert_eq!(reused["image"], json!("local/second:1.0.0.1"), "made, not reused");
    other.cooper(&["remove", "second:1.0.0.1"]).good();
    let updated = other.cooper(&["update", "example_name", "--dry-run"]).good();
    assert!(!updated.stdout.contains("error"), "{updated}");
    let made = create("example_name", &[]);
    assert_eq!(
        (&made["image"], &made["created"], &made["digest"]),
        (
            &json!("local/example_name:1.0.0.2"),
            &json!(true),
            &created["digest"]
        )
    );
    other.cooper(&["update", "example_name"]).good();
    assert_eq!(
        create("example_name", &[])["image"],
        json!("local/example_name:1.0.0.2")
    );
    other
        .cooper(&["diff", "example_name:1.0.0.1", "example_name:1.0.0.2"])
        .good();
}

#[test]
fn a_load_that_is_killed_leaves_a_whole_store() {
    let world = World::new();
    world.create_example();
    saved(&world);
    let file = archive(&world.host);
    let args = ["load", file.to_str().unwrap()];
    let other = world.another_host();
    let started = Instant::now();
    other.cooper(&args).good();
    let longest = started.elapsed().max(Duration::from_millis(20));
    for round in 0_u32..15 {
        other.cooper(&["remove", "example_name:*"]).good();
        other.cooper(&["gc"]).good();
        let mut load = other.start(&args);
        std::thread::sleep(longest * (round * 7 % 15) / 15);
        load.kill().unwrap();
        load.wait().unwrap();
        let checked = other.cooper(&["fsck"]);
        assert_eq!(checked.status, 0, "round {round}: {checked}");
        other.cooper(&args).good();
    }
    other
        .cooper(&["run", "example_name", "--", "wget", "--version"])
        .good();
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    let world = World::new();
    world.create_example();
    saved(&world);
    let file = archive(&world.host);
    let mount = world.host.path("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = rustix::mount::mount(
        "tmpfs",
        &mount,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(c"size=900k"),
    );
    if let Err(error) = mounted {
        eprintln!("SKIPPED: a file system cannot be mounted here: {error}");
        return;
    }
    let (target, store) = (mount.join("example.tar"), mount.join("store"));
    let save = world.cooper(&["save", "example_name", "--json", "-o", target.to_str().unwrap()]);
    let left = std::fs::read_dir(&mount).unwrap().count();
    let store = ["--store", store.to_str().unwrap()];
    let load = world.cooper(&[&["load", "--json", file.to_str().unwrap()], &store[..]].concat());
    let images = world.cooper(&[&["images", "--json"], &store[..]].concat());
    let fsck = world.cooper(&[&["fsck"], &store[..]].concat());
    rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(left, 0);
    for done in [save, load] {
        assert_eq!(done.json()["error"]["code"], json!("disk-full"), "{done}");
    }
    assert_eq!(images.good().json(), json!([]));
    fsck.good();
}

#[test]
fn a_save_that_is_killed_leaves_nothing_half() {
    let world = World::new();
    world.create_example();
    let folder = world.host.path("project");
    for moment in 0..20 {
        let mut save = world.host.start(&["save", "example_name", "-o", "example.tar"]);
        std::thread::sleep(Duration::from_millis(moment));
        save.kill().unwrap();
        save.wait().unwrap();
        let names = std::fs::read_dir(&folder).unwrap();
        for name in names.map(|entry| entry.unwrap().file_name()) {
            // Under whatever name: it is whole.
            ArchiveFile::open(&folder.join(&name));
            std::fs::remove_file(folder.join(&name)).unwrap();
        }
    }
    world.cooper(&["fsck"]).good();
}
