//! The age gate: by the index, by this store's own ledger, and what a release may be young for.

use std::path::PathBuf;

use cooper_core::Clock as _;
use cooper_core::clock::SystemClock;
use serde_json::{Value, json};
use testkit::{PythonIndex, Server, Wheel, ZipEntry};

use crate::context::{Host, World, archive, index};

/// A time so many hours ago, as an index writes it.
fn hours_ago(hours: i64) -> String {
    let time = SystemClock.now().as_second() - hours * 3600;
    cooper_core::Timestamp::from_second(time).unwrap().to_string()
}

fn codes(document: &Value) -> Vec<&str> {
    let findings = document["findings"].as_array().unwrap().iter();
    let age = findings.filter(|finding| finding["code"].as_str().unwrap().starts_with("AGE-"));
    age.map(|finding| finding["code"].as_str().unwrap()).collect()
}

/// The only wheels of an index that gives no times.
fn silent(versions: &[&str]) -> PythonIndex {
    let wheel = |version: &&str| Wheel::new("silent", version).without_upload_time();
    versions.iter().map(wheel).fold(index(), PythonIndex::wheel)
}

fn ledger(host: &Host) -> PathBuf {
    host.path("store/ledgers/first-seen")
}

fn sightings(host: &Host) -> Vec<Value> {
    let text = std::fs::read_to_string(ledger(host)).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Let everything have been seen so many hours ago.
fn seen(host: &Host, hours: i64) {
    let line = |mut sighting: Value| {
        sighting["at"] = json!(hours_ago(hours));
        format!("{sighting}\n")
    };
    let text: String = sightings(host).into_iter().map(line).collect();
    host.write("store/ledgers/first-seen", &text);
}

#[test]
fn where_the_index_gives_no_time_the_stores_own_ledger_counts() {
    let mut world = World::of(&archive(), &silent(&["1.0"]));
    let create = ["create", "a", "--dependencies", "silent", "--json"];
    // A dry run sees as well as a create does.
    world
        .cooper(&["create", "a", "--dependencies", "silent", "--dry-run"])
        .with(3);
    let first = sightings(&world.host);
    assert_eq!(first.len(), 1, "{first:?}");
    let held = world.cooper(&create).with(3).json();
    assert_eq!(codes(&held["error"]), ["AGE-FIRST-SEEN"], "{held}");
    let finding = &held["error"]["findings"][0];
    let message = finding["message"].as_str().unwrap();
    let at = first[0]["at"].as_str().unwrap();
    assert!(message.contains("ledger") && message.contains(at), "{message}");
    assert!(
        finding["hint"].as_str().unwrap().contains("wait until 2"),
        "{finding}"
    );
    assert_eq!(
        sightings(&world.host),
        first,
        "what was seen is not written twice"
    );
    // A day before the end, and after it.
    seen(&world.host, 6 * 24);
    world.cooper(&create).with(3);
    seen(&world.host, 7 * 24);
    let made = world.cooper(&create).good().json();
    assert_eq!(codes(&made), [""; 0], "{made}");
    // A newer release is passed over for one that is old enough, and said.
    let newer = Server::start(silent(&["1.0", "2.0"]).routes());
    world.host.set("COOPER_PYTHON_INDEX", &newer.url("simple/"));
    let checked = world.cooper(&["check", "silent", "--json"]).json();
    assert!(
        checked["notes"]
            .to_string()
            .contains("silent 1.0 is taken and not 2.0"),
        "{checked}"
    );
    assert!(
        checked["notes"].to_string().contains("AGE-FIRST-SEEN"),
        "{checked}"
    );
    assert_eq!(sightings(&world.host).len(), 1, "only what is chosen is written");
    let insisted = world.cooper(&["check", "silent==2.0", "--json"]).with(3).json();
    assert_eq!(codes(&insisted), ["AGE-FIRST-SEEN"], "{insisted}");
    assert_eq!(sightings(&world.host).len(), 2);
}

#[test]
fn a_wrong_clock_makes_nothing_old() {
    let world = World::of(&archive(), &silent(&["1.0", "2.0"]));
    world.cooper(&["check", "silent==1.0"]).with(3);
    // The clock was ahead when the file was first seen, or is behind now.
    seen(&world.host, -24 * 365);
    let ahead = world.cooper(&["check", "silent==1.0", "--json"]).with(3).json();
    assert_eq!(codes(&ahead), ["AGE-FUTURE"], "{ahead}");
    // What is first seen now is not older than what was seen before.
    world.cooper(&["check", "silent==2.0"]).with(3);
    let lines = sightings(&world.host);
    assert_eq!(lines[1]["version"], "2.0");
    assert_eq!(lines[0]["at"], lines[1]["at"], "{lines:?}");
}

#[test]
fn a_store_that_cannot_be_written_holds_and_says_so() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root");
        return;
    }
    let world = World::of(&archive(), &silent(&["1.0"]));
    world.cooper(&["check", "html5lib"]).with(4);
    let read_only = "exec unshare -m sh -c 'mount --bind \"$COOPER_STORE/ledgers\" \"$COOPER_STORE/ledgers\" && \
                     mount -o remount,bind,ro \"$COOPER_STORE/ledgers\" && exec \"$@\"' sh \"$@\"";
    let mut host = world.another_host();
    host.set("COOPER_STORE", &world.host.path("store").display().to_string());
    host.set("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    let held = host.cooper_from_shell(read_only, &["check", "silent", "--json"]);
    let held = held.with(3).json();
    assert_eq!(codes(&held), ["AGE-FIRST-SEEN"], "{held}");
    let message = held["findings"][0]["message"].as_str().unwrap();
    assert!(message.contains("never seen it before"), "{message}");
    assert!(
        held["notes"].to_string().contains("is not written down"),
        "{held}"
    );
    assert_eq!(sightings(&world.host).len(), 0);
}

#[test]
fn fsck_reads_the_ledgers_and_mends_them() {
    let world = World::of(&archive(), &silent(&["1.0", "2.0"]));
    world.cooper(&["check", "silent==1.0"]).with(3);
    world.cooper(&["check", "silent==2.0"]).with(3);
    world.cooper(&["fsck"]).good();
    let whole = std::fs::read_to_string(ledger(&world.host)).unwrap();
    // A power cut tore the last line, and somebody wrote between the others.
    let torn = format!("{{\"name\":\"x\"}}\n{}", &whole[..whole.len() - 20]);
    world.host.write("store/ledgers/first-seen", &torn);
    let told = world.cooper(&["fsck"]).with(1).stdout;
    assert!(
        told.contains("damaged-ledger")
            && told.contains("lines 1, 3 say nothing")
            && told.contains("not ended"),
        "{told}"
    );
    assert!(told.contains("cooper fsck --repair"), "{told}");
    world.cooper(&["fsck", "--repair"]).with(1);
    let mended = std::fs::read_to_string(ledger(&world.host)).unwrap();
    assert_eq!(
        mended.lines().collect::<Vec<_>>(),
        [whole.lines().next().unwrap()]
    );
    let after = world.cooper(&["fsck"]).good().stdout;
    assert!(after.contains("quarantine/ledger-first-seen"), "{after}");
    // What was lost was never seen, and so is young again.
    world.cooper(&["check", "silent==2.0"]).with(3);
    assert_eq!(sightings(&world.host).len(), 2);
}

/// An OSV export in which versions of a distribution are affected from one version on until it is fixed in another.
fn advisories(affected: &[(&str, &str, &str)]) -> Vec<u8> {
    let entry = |(number, (name, from, fixed)): (usize, &(&str, &str, &str))| {
        let id = format!("PYSEC-2026-{number}");
        let record = json!({
            "id": id,
            "modified": "2026-01-01T00:00:00Z",
            "affected": [{
                "package": { "ecosystem": "PyPI", "name": name },
                "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": from }, { "fixed": fixed }] }],
            }],
        });
        ZipEntry::file(&format!("{id}.json"), record.to_string())
    };
    testkit::zip::write_zip(&affected.iter().enumerate().map(entry).collect::<Vec<_>>())
}

#[test]
fn a_release_may_be_young_when_what_would_be_taken_instead_is_affected() {
    let old = Wheel::new;
    let young = |name: &str, version: &str| Wheel::new(name, version).uploaded(&hours_ago(5));
    let world = World::of(
        &archive(),
        &index()
            // The fix, and a later one that no advisory names.
            .wheel(old("fixed", "1.1"))
            .wheel(young("fixed", "1.2"))
            .wheel(young("fixed", "1.3"))
            // What is old enough is not affected any more.
            .wheel(old("calm", "1.0"))
            .wheel(old("calm", "2.0"))
            .wheel(young("calm", "3.0"))
            // Newer and older than what the application allows.
            .wheel(old("lib", "1.0"))
            .wheel(young("lib", "1.0.1"))
            .wheel(old("lib", "2.0"))
            .wheel(old("app", "1.0").requires("lib<2"))
            // The nearest older release is affected, and is not what would be taken.
            .wheel(old("odd", "1.4"))
            .wheel(old("odd", "1.5"))
            .wheel(young("odd", "1.6"))
            .wheel(old("picky", "1.0").requires("odd!=1.5")),
    );
    let export = world.host.path("osv.zip");
    let records = [
        ("fixed", "0", "1.2"),
        ("calm", "0", "2.0"),
        ("lib", "0", "1.0.1"),
        ("odd", "1.5", "1.6"),
    ];
    std::fs::File::create(&export)
        .and_then(|mut file| std::io::Write::write_all(&mut file, &advisories(&records)))
        .unwrap();
    world
        .cooper(&["advisories", "update", "--from", export.to_str().unwrap()])
        .good();
    let taken = |asked: &str, name: &str| {
        let checked = world.cooper(&["check", asked, "--json"]).json();
        let packages = checked["packages"].as_array().unwrap();
        let package = packages.iter().find(|package| package["name"] == name).unwrap();
        let version = package["version"].as_str().unwrap().to_owned();
        (version, codes(&checked).join(" "), checked)
    };
    for (asked, name, version, code) in [
        ("fixed", "fixed", "1.3", "AGE-YOUNG-FIX"),
        ("fixed<1.3", "fixed", "1.2", "AGE-YOUNG-FIX"),
        ("fixed==1.2", "fixed", "1.2", "AGE-YOUNG-FIX"),
        ("calm", "calm", "2.0", ""),
        ("calm==3.0", "calm", "3.0", "AGE-YOUNG"),
        ("app", "lib", "1.0.1", "AGE-YOUNG-FIX"),
        ("odd", "odd", "1.6", "AGE-YOUNG-FIX"),
        ("picky", "odd", "1.4", ""),
    ] {
        let (found, codes, checked) = taken(asked, name);
        assert_eq!(
            (found.as_str(), codes.as_str()),
            (version, code),
            "{asked}: {checked}"
        );
    }
    let (_, _, checked) = taken("fixed", "fixed");
    let message = checked["findings"].to_string();
    assert!(
        message.contains("since 1.1, which would be taken instead, is affected by PYSEC-2026-0"),
        "{message}"
    );
    // An image says so later too, when nobody resolves.
    world.cooper(&["create", "a", "--dependencies", "fixed"]).good();
    let image = world.cooper(&["check", "--image", "a", "--json"]).json();
    assert_eq!(codes(&image), ["AGE-YOUNG-FIX"], "{image}");
}

#[test]
fn a_request_without_an_answer_is_resolved_once_unless_something_was_passed_over() {
    let mut world = World::of(
        &archive(),
        &index()
            .wheel(Wheel::new("one", "1.0").requires("html5lib<1"))
            .wheel(Wheel::new("two", "1.0").requires("fresh"))
            .wheel(Wheel::new("fresh", "1.0").uploaded(&hours_ago(5))),
    );
    world.host.set("COOPER_LOG", "debug");
    let again = "no answer without what the gates would refuse";
    let never = world.cooper(&["check", "one"]).with(1);
    assert!(never.stderr.contains("do not fit together"), "{never}");
    assert!(!never.stderr.contains(again), "{never}");
    let held = world.cooper(&["check", "two"]).with(3);
    assert!(held.stderr.contains(again), "{held}");
}
