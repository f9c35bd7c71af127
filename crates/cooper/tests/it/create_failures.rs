//! Creates that cannot succeed: what is said, with which status, and that nothing is left behind.

use cooper_core::Base;
use cooper_core::base::SuiteKind;
use serde_json::{Value, json};
use testkit::{DebPackage, DebianArchive, Fault, Flaw, Hashes, PythonIndex, Signing, SigningKey, Wheel};

use crate::context::{Done, World, archive, index};

/// A create that fails: its error, after it was checked that the store is whole and has no image.
fn failure(world: &World, args: &[&str], status: i32) -> Value {
    let done = world
        .cooper(&[&["create", "a", "--json"], args].concat())
        .with(status);
    assert_eq!(done.stderr, "", "{done}");
    let error = done.json()["error"].clone();
    assert!(error["hint"].is_string(), "a hint: {error}");
    nothing_left(world);
    error
}

fn nothing_left(world: &World) {
    assert_eq!(world.cooper(&["images", "--json"]).good().json(), json!([]));
    world.cooper(&["fsck"]).good();
}

fn said(error: &Value) -> String {
    format!(
        "{} | {}",
        error["message"].as_str().unwrap(),
        error["hint"].as_str().unwrap()
    )
}

#[test]
fn what_cannot_be_resolved_is_explained() {
    let world = World::new();
    let calls: &[&[&str]] = &[
        &["create", "a", "--packages", "libxslt"],
        &["create", "a", "--packages", "wgett"],
        &["create", "a", "--packages", "wget=9.9-1"],
        &["create", "a", "--dependencies", "mechanise"],
        &["create", "a", "--dependencies", "requests>=3"],
        &["create", "a", "--dependencies", "requests>=2.32,old"],
        &["create", "a", "--dependencies", "requests[sockets]"],
        &["create", "a", "--dependencies", "requests>2.32.3"],
        &["create", "a", "--packages", "libxslt", "--json"],
    ];
    world.host.assert_snapshot(
        "what_cannot_be_resolved_is_explained",
        &world.host.transcript(calls),
    );
    nothing_left(&world);
}

#[test]
fn a_package_without_a_wheel_is_refused_with_those_that_have_one() {
    let index = index()
        .wheel(Wheel::new("native", "1.0").tag("cp313-cp313-manylinux_2_28_x86_64"))
        .wheel(Wheel::new("native", "2.0").tag("cp313-cp313-win_amd64"));
    let world = World::of(&archive(), &index);
    let error = failure(&world, &["--dependencies", "native==2.0"], 1);
    assert_eq!(error["code"], json!("no-usable-version"));
    assert!(said(&error).contains("1.0"), "{error}");
}

#[test]
fn bytes_that_are_not_those_promised_are_never_used() {
    let world = World::of(
        &archive(),
        &index().wheel(Wheel::new("liar", "1.0").hashes(Hashes::Wrong)),
    );
    let error = failure(&world, &["--dependencies", "liar"], 1);
    assert_eq!(error["code"], json!("digest-mismatch"), "{error}");
    assert!(said(&error).contains("liar"), "{error}");
    world
        .server
        .fault("/debian/pool/main/w/wget/*", Fault::WrongBytes);
    let error = failure(&world, &["--packages", "wget"], 1);
    assert!(said(&error).contains("wget_1.25.0-2_amd64.deb"), "{error}");
    world.server.clear_faults();
    world.create_example();
}

#[test]
fn plans_without_integrity_are_refused() {
    let yanked = Wheel::new("gone", "1.0").yanked("it was wrong");
    let world = World::of(
        &archive(),
        &index()
            .wheel(Wheel::new("bare", "1.0").hashes(Hashes::Missing))
            .wheel(yanked),
    );
    let error = failure(&world, &["--dependencies", "bare"], 3);
    assert_eq!(
        (&error["code"], &error["findings"][0]["code"]),
        (&json!("refused"), &json!("INTEGRITY-NO-HASH")),
        "{error}"
    );
    let error = failure(&world, &["--dependencies", "gone"], 3);
    assert_eq!(
        (
            &error["code"],
            &error["findings"][0]["code"],
            &error["findings"][0]["subject"]
        ),
        (&json!("refused"), &json!("INTEGRITY-YANKED"), &json!("gone 1.0")),
        "{error}"
    );
    assert!(
        said(&error).contains("1.0 (it was wrong)") && said(&error).contains("`gone==1.0`"),
        "{error}"
    );
    let pinned = world
        .cooper(&["create", "a", "--dependencies", "gone==1.0", "--json"])
        .good()
        .json();
    assert_eq!(
        pinned["findings"][0]["code"],
        json!("INTEGRITY-YANKED-PINNED"),
        "{pinned}"
    );
}

#[test]
fn a_wheel_that_says_other_things_of_itself_than_the_index_is_refused() {
    let side =
        |name: &str, rest: &str| format!("Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{rest}\n");
    let wheel = |name: &str| Wheel::new(name, "1.0").package(name, "").requires("html5lib>=1");
    let world = World::of(
        &archive(),
        &index()
            .wheel(wheel("silent").with_other_metadata_file(&side("silent", "")))
            .wheel(wheel("python").with_other_metadata_file(&side(
                "python",
                "Requires-Python: >=3.8\nRequires-Dist: html5lib>=1\n",
            )))
            .wheel(wheel("honest").with_other_metadata_file(&side(
                "Honest",
                "Summary: written otherwise\nRequires-Dist: HTML5lib (>= 1)\n",
            ))),
    );
    for name in ["silent", "python"] {
        let error = failure(&world, &["--dependencies", name], 1);
        assert_eq!(error["code"], json!("unusable-artefact"), "{error}");
        let file = format!("{name}-1.0-py3-none-any.whl does not say of itself what the index said of it");
        assert!(said(&error).contains(&file), "{error}");
    }
    world.cooper(&["create", "a", "--dependencies", "honest"]).good();
}

#[test]
fn a_wheel_for_another_platform_than_its_name_says_is_refused() {
    let mut native = Wheel::new("native", "1.0").tag("cp313-cp313-win_amd64");
    native = native
        .package("native", "")
        .filename("native-1.0-py3-none-any.whl");
    let world = World::of(&archive(), &index().wheel(native));
    let error = failure(&world, &["--dependencies", "native"], 1);
    assert_eq!(error["code"], json!("unusable-artefact"), "{error}");
    assert!(
        said(&error).contains("named for py3-none-any, its `WHEEL` file says cp313-cp313-win_amd64"),
        "{error}"
    );
}

#[test]
fn downloads_that_break_say_which() {
    let world = World::new();
    let pool = "/debian/pool/main/w/wget/*";
    for (fault, word) in [
        (Fault::CutShort(100), "bytes, expected"),
        (Fault::CloseAfter(100), "bytes, expected"),
        (Fault::HangAfter(100), "silent"),
        (Fault::NoAnswer, "cannot reach"),
        (Fault::Status(503), "503"),
        (Fault::NotFound, "does not exist"),
        (Fault::Endless, "more than"),
        (Fault::Trickle(50), "too slow"),
    ] {
        world.server.clear_faults();
        world.server.fault(pool, fault.clone());
        let error = failure(&world, &["--packages", "wget"], 1);
        assert_eq!(error["code"], json!("fetch-failed"), "{fault:?}: {error}");
        assert!(
            said(&error).contains("wget_1.25.0-2_amd64.deb"),
            "{fault:?}: {error}"
        );
        assert!(said(&error).contains(word), "{fault:?}: {error}");
    }
    world.server.clear_faults();
    world.server.fault_times(pool, Fault::CloseAfter(200), 2);
    world.create_example();
}

#[test]
fn a_mirror_that_is_down_is_left_for_the_next() {
    let mut world = World::new();
    let error = |world: &World| failure(world, &["--packages", "wget"], 1);
    world.server.fault("/debian/*", Fault::Status(500));
    let down = error(&world);
    assert_eq!(down["code"], json!("fetch-failed"), "{down}");
    assert!(
        said(&down).contains("InRelease") && said(&down).contains("500"),
        "{down}"
    );
    world.server.clear_faults();
    let good = world.server.url("debian");
    world.host.set(
        "COOPER_DEBIAN_MIRROR",
        &format!("http://127.0.0.1:9/debian {good}"),
    );
    world.create_example();
}

#[test]
fn indexes_without_a_good_signature_are_refused() {
    let strange = || archive().signing(&Signing::By(SigningKey::stranger()));
    for (archive, word) in [
        (archive().signing(&Signing::Nobody), "sign"),
        (strange(), "key"),
        (archive().signing(&Signing::Weak), ""),
        (
            archive().signing_in(SuiteKind::Security, Signing::By(SigningKey::stranger())),
            "trixie-security",
        ),
        (archive().flaw_in(SuiteKind::Release, Flaw::Tampered), "sign"),
    ] {
        let world = World::of(&archive, &index());
        let error = failure(&world, &["--packages", "wget"], 3);
        assert_eq!(error["code"], json!("untrusted-index"), "{error}");
        assert_eq!(
            error["findings"][0]["code"],
            json!("INTEGRITY-UNSIGNED"),
            "{error}"
        );
        assert!(said(&error).contains(word), "{error}");
    }
}

#[test]
fn old_states_of_an_archive_are_refused() {
    let expired = archive().valid_until_in(SuiteKind::Security, "2025-09-13T08:00:00Z");
    let world = World::of(&expired, &index());
    let error = failure(&world, &["--packages", "wget"], 3);
    assert_eq!(
        (&error["code"], &error["findings"][0]["code"]),
        (&json!("refused"), &json!("INTEGRITY-EXPIRED")),
        "{error}"
    );

    let world = World::new();
    let example = world.create_example();
    let older = archive().date("2025-09-01T08:00:00Z");
    world.server.replace(older.routes().merge(index().routes()));
    let error = world
        .cooper(&["create", "b", "--packages", "jq", "--refresh", "--json"])
        .with(3)
        .json()["error"]
        .clone();
    assert_eq!(
        error["findings"][0]["code"],
        json!("INTEGRITY-ROLLED-BACK"),
        "{error}"
    );
    let images = world.cooper(&["images", "--json"]).good().json();
    assert_eq!(
        (images.as_array().unwrap().len(), &images[0]["digest"]),
        (1, &example["digest"]),
        "nothing is lost"
    );
}

#[test]
fn an_old_state_stays_old_when_the_cache_is_emptied_and_the_mirror_changes() {
    let mut world = World::new();
    world.create_example();
    std::fs::remove_dir_all(world.host.path("store/cache")).unwrap();
    let older = archive().date("2025-09-01T08:00:00Z");
    let elsewhere = testkit::Server::start(older.routes().merge(index().routes()));
    for (variable, folder) in [
        ("COOPER_DEBIAN_MIRROR", "debian"),
        ("COOPER_DEBIAN_SECURITY_MIRROR", "debian-security"),
    ] {
        world.host.set(variable, &elsewhere.url(folder));
    }
    let create = ["create", "b", "--packages", "jq", "--json"];
    let error = world.cooper(&create).with(3).json()["error"].clone();
    let codes: Vec<&Value> = error["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["code"])
        .collect();
    assert_eq!(codes, [&json!("INTEGRITY-ROLLED-BACK"); 3], "{error}");
    world.cooper(&["fsck"]).good();
    // The hint's other way: a store that has not seen the newer state.
    let fresh = world.host.path("fresh").display().to_string();
    world
        .cooper(&[create.as_slice(), &["--store", &fresh]].concat())
        .good();
}

#[test]
fn an_interrupt_takes_progress_off_the_terminal() {
    use std::io::{Read as _, Write as _};
    let world = World::new();
    world.server.fault("/debian/pool/*", Fault::HangAfter(100));
    let mut child = world
        .host
        .at_terminal(&["create", "a", "--packages", "wget"])
        .spawn()
        .unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&shown).contains("downloading") {
        let read = screen.read(&mut piece).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&shown));
        shown.extend_from_slice(&piece[..read]);
    }
    keyboard.write_all(b"\x03").unwrap();
    screen.read_to_end(&mut shown).unwrap();
    let shown = String::from_utf8_lossy(&shown).into_owned();
    // What the last line has after it was cleared for the last time.
    let last = shown.rsplit("\u{1b}[2K").next().unwrap();
    assert_eq!(last.trim(), "", "{shown:?}");
    assert_eq!(child.wait().unwrap().code(), Some(128 + 2));
    world.server.clear_faults();
    nothing_left(&world);
}

#[test]
fn an_archive_that_lacks_the_base_says_so() {
    let bare = DebianArchive::new(Base::Trixie).package(DebPackage::new("wget", "1.0-1"));
    let world = World::of(&bare, &PythonIndex::new());
    let error = failure(&world, &["--packages", "wget"], 1);
    assert!(said(&error).contains("trixie"), "{error}");
}

#[test]
fn a_full_disk_is_said_and_leaves_the_store_whole() {
    let world = World::new();
    let mount = world.host.path("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = rustix::mount::mount(
        "tmpfs",
        &mount,
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        Some(c"size=1m"),
    );
    if let Err(error) = mounted {
        eprintln!("SKIPPED: a file system cannot be mounted here: {error}");
        return;
    }
    let store = mount.join("store").display().to_string();
    let done = world.cooper(&["create", "a", "--packages", "wget", "--json", "--store", &store]);
    let after = world.cooper(&["fsck", "--store", &store]);
    rustix::mount::unmount(&mount, rustix::mount::UnmountFlags::DETACH).unwrap();
    let Done { status, .. } = &done;
    assert_eq!(
        (*status, &done.json()["error"]["code"]),
        (1, &json!("disk-full")),
        "{done}"
    );
    after.good();
}
