//! Evidence for the gates: from real files, from addresses, and from files that are broken or made to harm.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use cooper_core::Clock as _;
use cooper_core::clock::SystemClock;
use serde_json::Value;
use testkit::zip::write_zip as zip;
use testkit::{Route, Routes, Server, ZipEntry};

use crate::context::{Done, Host};

/// The shared data; `None`, said loudly, where it is not there.
pub(crate) fn data(file: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(file);
    if !path.exists() {
        eprintln!("SKIPPED: the shared data are not there");
        return None;
    }
    Some(path.canonicalize().unwrap().display().to_string())
}

fn write(host: &Host, name: &str, bytes: &[u8]) -> String {
    let path: PathBuf = host.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    path.display().to_string()
}

fn record(id: &str, modified: &str, name: &str) -> String {
    format!(
        r#"{{"id":"{id}","modified":"{modified}T00:00:00Z","affected":[{{"package":{{"ecosystem":"PyPI","name":"{name}"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}}]}}]}}]}}"#
    )
}

/// An export with this many records.
fn export(count: usize, modified: &str) -> Vec<u8> {
    let entry = |number: usize| {
        let id = format!("PYSEC-2024-{number}");
        ZipEntry::file(&format!("{id}.json"), record(&id, modified, "a"))
    };
    zip(&(0..count).map(entry).collect::<Vec<_>>())
}

const KEV: &str = r#"{"catalogVersion":"1","dateReleased":"2024-11-20T00:00:00Z","vulnerabilities":[{"cveID":"CVE-2024-1","dateAdded":"2024-05-01"}]}"#;
const EPSS: &str =
    "#model_version:v1,score_date:2024-11-20T00:00:00Z\ncve,epss,percentile\nCVE-2024-1,0.5,0.9\n";
const POPULAR: &str = r#"{"last_update":"2024-11-01 07:00:00","rows":[{"download_count":2,"project":"a"},{"download_count":1,"project":"b"}]}"#;
const VEX: &str = r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://vex.test/1","author":"Ann","statements":[{"vulnerability":{"name":"CVE-2024-1"},"products":[{"@id":"pkg:pypi/a"}],"status":"fixed"}]}"#;

fn status(host: &Host) -> Value {
    host.cooper(&["advisories", "status", "--json"]).good().json()
}

fn parts(status: &Value) -> Vec<(String, u64)> {
    let part = |part: &Value| {
        let key = part["part"].as_str().unwrap().to_owned();
        (key, part["records"].as_u64().unwrap())
    };
    status["parts"].as_array().unwrap().iter().map(part).collect()
}

fn update(host: &Host, paths: &[&str]) -> Done {
    let mut args = vec!["advisories", "update", "--json"];
    for path in paths {
        args.extend(["--from", path]);
    }
    host.cooper(&args)
}

#[test]
fn a_single_record_says_nothing_of_how_new_the_advisories_are() {
    let host = Host::new();
    let today = SystemClock.now().to_string()[..10].to_owned();
    let marked = format!("\u{feff}{}", record("PYSEC-2026-1", &today, "a"));
    let one = write(&host, "one.json", marked.as_bytes());
    update(&host, &[&one]).good();
    let missing = status(&host)["missing"].to_string();
    assert!(missing.contains("osv-python"), "{missing}");
    let sbom = r#"{"bomFormat":"CycloneDX","components":[{"purl":"pkg:pypi/NAME@1.0"}]}"#;
    let judged = |name: &str| {
        let file = write(&host, "bom.json", sbom.replace("NAME", name).as_bytes());
        host.cooper(&["check", "--sbom", &file, "--json"])
    };
    let judged_other = judged("zzqx").with(4).json();
    let why = judged_other["unjudged"].to_string();
    assert!(why.contains("no advisories about Python distributions"), "{why}");
    // What it does say counts.
    let named = judged("a").with(3).json();
    assert_eq!(named["findings"][0]["advisories"][0], "PYSEC-2026-1", "{named}");
    // A record that cannot be used is told with the reason.
    let odd = record("PYSEC-2026-2", "yesterday", "a");
    let odd = write(&host, "odd.json", odd.as_bytes());
    let told = update(&host, &[&odd]).with(1);
    assert!(
        told.stdout.contains("odd.json") && told.stdout.contains("it is no OSV record"),
        "{told}"
    );
}

#[test]
fn real_evidence_is_taken_from_files_and_told() {
    let files = [
        "osv-pypi-2024-10.zip",
        "osv-debian-sample.zip",
        "osv-malicious-sample.zip",
        "kev.json",
        "top-pypi-packages.csv",
    ];
    let Some(paths) = files
        .iter()
        .map(|file| data(file))
        .collect::<Option<Vec<String>>>()
    else {
        return;
    };
    let host = Host::new();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let done = update(&host, &paths).good().json();
    let found = status(&host);
    let wanted = [
        ("exploited", 1404),
        ("osv/Debian", 13),
        ("osv/PyPI", 2659),
        ("osv/malicious", 2),
        ("popular", 15_000),
    ];
    assert_eq!(parts(&found), wanted.map(|(key, count)| (key.to_owned(), count)));
    assert_eq!(found["evidence"], done["evidence"]);
    assert_eq!(found["missing"].to_string(), r#"["epss"]"#);
    let python = &found["parts"][2];
    assert_eq!(
        (&python["withdrawn"], &python["skipped_count"]),
        (&10.into(), &2.into())
    );
    assert!(python["packages"]["PyPI"].as_u64().unwrap() > 500);
    // Once more: nothing is compiled, nothing changes.
    let again = update(&host, &paths).good().json();
    assert_eq!(again["evidence"], done["evidence"]);
    let outcomes = again["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|source| &source["outcome"]);
    assert!(
        outcomes.clone().all(|outcome| outcome == "unchanged"),
        "{again:#}"
    );
    // The same files in another store are the same evidence.
    let other = Host::new();
    let turned: Vec<&str> = paths.iter().rev().copied().collect();
    assert_eq!(
        update(&other, &turned).good().json()["evidence"],
        done["evidence"]
    );
}

#[test]
fn a_folder_is_read_and_what_is_nothing_is_named() {
    let host = Host::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(EPSS.as_bytes()).unwrap();
    write(&host, "evidence/epss.bin", &packed.finish().unwrap());
    write(&host, "evidence/deep/er/export", &export(3, "2024-11-20"));
    write(
        &host,
        "evidence/deep/one.txt",
        record("PYSEC-1", "2024-11-20", "b").as_bytes(),
    );
    write(
        &host,
        "evidence/deep/two.txt",
        record("MAL-1", "2024-11-20", "c").as_bytes(),
    );
    write(&host, "evidence/k", KEV.as_bytes());
    write(&host, "evidence/p", POPULAR.as_bytes());
    write(&host, "evidence/v", VEX.as_bytes());
    let folder = write(&host, "evidence/README.md", b"# Evidence\n");
    let folder = Path::new(&folder).parent().unwrap().display().to_string();
    let done = update(&host, &[&folder]).good().json();
    assert_eq!(done["unrecognised"].to_string(), r#"["README.md"]"#);
    let found = status(&host);
    let keys: Vec<String> = parts(&found).into_iter().map(|(key, _)| key).collect();
    let wanted = [
        "epss",
        "exploited",
        "osv/PyPI",
        "osv/records",
        "popular",
        "vex/https://vex.test/1",
    ];
    assert_eq!(keys, wanted);
    assert_eq!(
        found["missing"].to_string(),
        r#"["osv-debian-trixie","osv-debian-bookworm","malicious"]"#,
        "a single record of malice is no list of them"
    );
    // Other evidence stays when one source is brought up to date.
    let export = write(&host, "new.zip", &export(4, "2024-11-21"));
    let done = update(&host, &[&export]).good().json();
    assert_ne!(done["evidence"], done["previous"]);
    assert_eq!(done["sources"][0]["records_before"], 3);
    assert_eq!(parts(&status(&host)).len(), 6);
}

#[test]
fn what_is_broken_or_hostile_leaves_the_old_evidence() {
    let host = Host::new();
    let good = write(&host, "good.zip", &export(10, "2024-11-20"));
    let before = update(&host, &[&good]).good().json()["evidence"].clone();
    let whole = export(10, "2024-11-21");
    let mut damaged = whole.clone();
    let middle = damaged.len() / 3;
    damaged[middle] ^= 0xff;
    let hostile: [(&str, Vec<u8>, &str); 9] = [
        ("cut.zip", whole[..whole.len() / 2].to_vec(), "invalid-evidence"),
        ("damaged.zip", damaged, "invalid-evidence"),
        ("empty.zip", zip(&[]), "invalid-evidence"),
        (
            "tricks.zip",
            zip(&[
                ZipEntry::file("../../etc/x.json", record("PYSEC-1", "2024-11-21", "a")),
                ZipEntry::file("/x.json", record("PYSEC-2", "2024-11-21", "a")),
                ZipEntry::symlink("y.json", "/etc/passwd"),
            ]),
            "invalid-evidence",
        ),
        (
            "bomb.zip",
            zip(&[ZipEntry::bomb("x.json", 64 << 20)]),
            "invalid-evidence",
        ),
        ("cut.json", KEV.as_bytes()[..40].to_vec(), "unknown-evidence"),
        ("page.html", b"<html>404</html>".to_vec(), "unknown-evidence"),
        ("few.zip", export(4, "2024-11-21"), "suspicious-evidence"),
        ("old.zip", export(10, "2024-11-19"), "suspicious-evidence"),
    ];
    let mut told = String::new();
    for (name, bytes, code) in hostile {
        let path = write(&host, name, &bytes);
        let failed = update(&host, &[&path]).with(1).json();
        assert_eq!(failed["error"]["code"], code, "{name}: {failed:#}");
        told += &host
            .cooper(&["advisories", "update", "--from", &path])
            .with(1)
            .to_string();
        assert_eq!(status(&host)["evidence"], before, "{name}");
    }
    host.assert_snapshot("evidence_that_cannot_be", &told);
    let missing = update(&host, &["/nowhere"]).with(1).json();
    assert_eq!(missing["error"]["code"], "unreadable-file");
    // What looks suspicious may be right.
    let few = host.path("few.zip").display().to_string();
    host.cooper(&["advisories", "update", "--replace", "--from", &few])
        .good();
    assert_eq!(parts(&status(&host)), [("osv/PyPI".to_owned(), 4)]);
}

#[test]
fn a_record_with_a_hundred_thousand_versions_is_read() {
    let host = Host::new();
    let versions: Vec<String> = (0..100_000).map(|number| format!("\"{number}.1\"")).collect();
    let record = format!(
        r#"{{"id":"PYSEC-1","modified":"2024-11-20T00:00:00Z","affected":[{{"package":{{"ecosystem":"PyPI","name":"a"}},"versions":[{}]}}]}}"#,
        versions.join(",")
    );
    let path = write(&host, "record.json", record.as_bytes());
    assert_eq!(update(&host, &[&path]).good().json()["sources"][0]["records"], 1);
}

#[test]
fn one_source_that_fails_leaves_the_others() {
    let server = Server::start(
        Routes::new()
            .with("/PyPI/all.zip", export(3, "2024-11-20"))
            .with("/kev.json", KEV)
            .with("/epss.csv", EPSS)
            .with("/popular.json", POPULAR),
    );
    let mut host = Host::new();
    host.set("COOPER_ADVISORIES_OSV", &server.url("PyPI/all.zip"));
    host.set("COOPER_ADVISORIES_EXPLOITED", &server.url("kev.json"));
    host.set("COOPER_ADVISORIES_EPSS", &server.url("epss.csv"));
    host.set("COOPER_ADVISORIES_POPULAR", &server.url("popular.json"));
    let first = host.cooper(&["advisories", "update", "--json"]).good().json();
    assert_eq!(first["sources"].as_array().unwrap().len(), 4, "{first:#}");
    // One new, one gone, one a page of an error, one as it was.
    server.insert("/PyPI/all.zip", Route::bytes(export(5, "2024-11-21")));
    server.remove("/kev.json");
    server.insert("/epss.csv", Route::bytes(b"<html>busy</html>".to_vec()));
    let second = host.cooper(&["advisories", "update", "--json"]).with(1).json();
    assert_ne!(second["evidence"], first["evidence"]);
    assert_eq!(second["failed"].as_array().unwrap().len(), 2, "{second:#}");
    let wanted = [("epss", 1), ("exploited", 1), ("osv/PyPI", 5), ("popular", 2)];
    assert_eq!(
        parts(&status(&host)),
        wanted.map(|(key, count)| (key.to_owned(), count))
    );
    // Nothing is asked by package.
    let paths: BTreeSet<String> = server
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    let addresses = ["/PyPI/all.zip", "/epss.csv", "/kev.json", "/popular.json"];
    assert_eq!(paths, addresses.map(str::to_owned).into());
    // Without a network what there is stays in use.
    host.set("COOPER_OFFLINE", "true");
    let offline = host.cooper(&["advisories", "update", "--json"]).with(1).json();
    assert_eq!(offline["evidence"], second["evidence"]);
    assert_eq!(offline["failed"][0]["error"]["code"], "offline");
}

#[test]
fn evidence_is_told_with_age_and_what_is_missing() {
    let host = Host::new();
    let mut told = host.transcript(&[&["advisories", "status"], &["advisories", "status", "--json"]]);
    let kev = write(&host, "kev.json", KEV.as_bytes());
    let ahead = KEV.replace("2024-11-20", "2124-11-20");
    told += &host.transcript(&[&["advisories", "update", "--from", &kev]]);
    let kev = write(&host, "kev.json", ahead.as_bytes());
    told += &host.transcript(&[&["advisories", "update", "--from", &kev]]);
    told += &host.transcript(&[&["advisories", "status"]]);
    host.assert_snapshot("evidence_with_ages", &told);
}

#[test]
fn evidence_outlives_a_collection_and_damage_is_found() {
    let host = Host::new();
    let good = write(&host, "good.zip", &export(10, "2024-11-20"));
    update(&host, &[&good]).good();
    let better = write(&host, "better.zip", &export(11, "2024-11-21"));
    let evidence = update(&host, &[&better]).good().json()["evidence"].clone();
    host.cooper(&["gc"]).good();
    let found = status(&host);
    assert_eq!(found["evidence"], evidence);
    host.cooper(&["fsck"]).good();
    let blobs = std::fs::read_dir(host.path("store/blobs/sha256"))
        .unwrap()
        .count();
    assert_eq!(blobs, 2, "the part and the manifest; those before are gone");
    let part = found["parts"][0]["blob"].as_str().unwrap().replace("sha256:", "");
    std::fs::remove_file(host.path("store/blobs/sha256").join(part)).unwrap();
    let damaged = host.cooper(&["advisories", "status", "--json"]).with(1).json();
    assert_eq!(damaged["error"]["code"], "damaged-evidence");
    // The same file makes it whole again, also where the manifest is damaged.
    assert_eq!(update(&host, &[&better]).good().json()["evidence"], evidence);
    assert_eq!(status(&host)["evidence"], evidence);
    let manifest = evidence.as_str().unwrap().replace("sha256:", "");
    let manifest = host.path("store/blobs/sha256").join(manifest);
    let text = std::fs::read_to_string(&manifest)
        .unwrap()
        .replace("\"records\":11", "\"records\":12");
    std::fs::remove_file(&manifest).unwrap();
    std::fs::File::create(&manifest)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    host.cooper(&["advisories", "status"]).with(1);
    let healed = update(&host, &[&better]).good().json();
    assert_eq!(healed["evidence"], evidence, "{healed:#}");
    assert_eq!(healed["notes"].as_array().unwrap().len(), 1);
    assert_eq!(status(&host)["evidence"], evidence);
    host.cooper(&["fsck"]).good();
}
