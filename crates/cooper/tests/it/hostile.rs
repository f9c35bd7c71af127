//! Packages that attack who unpacks them: refused, named, nothing left behind, nothing written outside.

use serde_json::json;
use testkit::{DebPackage, Record, TarEntry, Wheel};

use crate::context::{World, archive, index};

/// A create of a hostile package fails as one of these, and neither an image nor a stray file is there.
fn refused(world: &World, list: &str, name: &str) -> String {
    let done = world.cooper(&["create", "a", list, name, "--json"]).with(1);
    let error = done.json()["error"].clone();
    assert_eq!(error["code"], json!("unusable-artefact"), "{error}");
    assert!(error["message"].as_str().unwrap().contains(name), "{error}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.contains("ask for another version"), "{error}");
    assert_eq!(world.cooper(&["images", "--json"]).good().json(), json!([]));
    world.cooper(&["fsck"]).good();
    for stray in ["escaped", "store/escaped", "store/tmp/escaped"] {
        assert!(!world.host.path(stray).exists(), "{stray}");
    }
    assert!(!std::path::Path::new("/escaped-cooper-test").exists());
    error["message"].as_str().unwrap().to_owned()
}

#[test]
fn hostile_debian_packages() {
    let hostile: Vec<DebPackage> = vec![
        DebPackage::new("traverses", "1.0-1").raw_entry(TarEntry::file("./../../../../escaped", "x")),
        DebPackage::new("absolute", "1.0-1").raw_entry(TarEntry::file("/escaped-cooper-test", "x")),
        DebPackage::new("through-link", "1.0-1")
            .raw_entry(TarEntry::symlink("./usr/share/out", "/"))
            .raw_entry(TarEntry::file("./usr/share/out/escaped-cooper-test", "x")),
    ];
    let names: Vec<String> = hostile.iter().map(|package| package.name().to_owned()).collect();
    let world = World::of(
        &hostile
            .into_iter()
            .fold(archive(), testkit::DebianArchive::package),
        &index(),
    );
    for name in &names {
        if name == "through-link" {
            // Inside an image an absolute link is the image's own: the file may land there, never here.
            let done = world.cooper(&["create", "a", "--packages", name, "--json"]);
            assert!(!std::path::Path::new("/escaped-cooper-test").exists(), "{done}");
            continue;
        }
        refused(&world, "--packages", name);
    }
}

#[test]
fn hostile_wheels() {
    let hostile = [
        Wheel::new("traverses", "1.0").file("../../../../../../../../escaped-cooper-test", "x"),
        Wheel::new("absolute", "1.0").file("/escaped-cooper-test", "x"),
        Wheel::new("liar", "1.0")
            .package("liar", "x = 1\n")
            .record(Record::WrongHash("liar/__init__.py".to_owned())),
        Wheel::new("bare", "1.0")
            .package("bare", "x = 1\n")
            .record(Record::Absent),
        Wheel::new("data-escape", "1.0").data("data", "../../../../../escaped-cooper-test", "x", 0o644),
        Wheel::new("whiteout", "1.0").file("whiteout/.wh.os", "x"),
        Wheel::new("separator", "1.0").file("separator/a\u{2028}b.py", "x = 1\n"),
        Wheel::new("shadow", "1.0").entry_point("console_scripts", "python3 = shadow:main"),
    ];
    let names = [
        "traverses",
        "absolute",
        "liar",
        "bare",
        "data-escape",
        "whiteout",
        "separator",
        "shadow",
    ];
    let world = World::of(
        &archive(),
        &hostile.into_iter().fold(index(), testkit::PythonIndex::wheel),
    );
    for name in names {
        let said = refused(&world, "--dependencies", name);
        assert!(said.contains(&format!("cannot install {name} 1.0")), "{said}");
    }
}

#[test]
fn texts_of_packages_do_not_drive_the_terminal() {
    let wheel = Wheel::new("loud", "1.0")
        .package("loud", "")
        .field("License", "\u{1b}[31mMIT\u{1b}]0;title\u{7}");
    let world = World::of(&archive(), &index().wheel(wheel));
    world.cooper(&["create", "a", "--dependencies", "loud"]).good();
    for args in [&["inspect", "a"][..], &["images", "--packages"]] {
        let shown = world.cooper(args).good();
        assert!(!shown.stdout.contains(['\u{1b}', '\u{7}']), "{shown}");
    }
    let failing = DebPackage::new("failing", "1.0").script(
        "postinst",
        "#!/bin/sh\nprintf '\\033]0;title\\007\\033[2J\\nsecond line\\n' >&2\nexit 1\n",
    );
    let world = World::of(&archive().package(failing), &index());
    let failed = world.cooper(&["create", "a", "--packages", "failing"]).with(1);
    assert!(!failed.stderr.contains(['\u{1b}', '\u{7}']), "{failed}");
    assert!(failed.stderr.contains("\nsecond line\n"), "{failed}");
}

#[test]
fn a_script_that_digs_deep_leaves_nothing() {
    let script = "#!/bin/sh\nmkdir /var/deep && cd /var/deep || exit 1\ni=0\nwhile [ $i -lt 6000 ]; do mkdir d && cd d || exit 1; i=$((i + 1)); done\nexit 1\n";
    let digging = DebPackage::new("digging", "1.0").script("postinst", script);
    let world = World::of(&archive().package(digging), &index());
    world.cooper(&["create", "a", "--packages", "digging"]).with(1);
    world.cooper(&["fsck"]).good();
    let left = std::fs::read_dir(world.host.path("store/tmp")).unwrap().count();
    assert_eq!(left, 0);
}
