//! Real advisories, against an independent reading of OSV's evaluation algorithm and against pip-audit.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use cooper_core::base::Base;
use cooper_core::{DebianName, DebianVersion, Effect, PythonName, Severity as Rating};
use cooper_gate::advisories::{
    Advisories, AdvisorySnapshot, CompileLimits, Compiled, Compiler, EpssTable, ExploitedList, Hit, Subject,
    Urgency, VexStatements,
};
use cooper_gate::{Known, Policy, vulnerabilities};

/// Where the data is; `None`, said loudly, where it is not.
fn data(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(file);
    if !path.exists() {
        eprintln!("SKIPPED: the shared data are not there");
        return None;
    }
    Some(path)
}

fn compile(archive: &Path) -> Compiled {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(archive).unwrap()).unwrap();
    let mut compiler = Compiler::new(CompileLimits::default());
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let name = entry.name().unwrap().into_owned();
        let mut json = Vec::new();
        entry.read_to_end(&mut json).unwrap();
        compiler.add(&name, &json).unwrap();
    }
    compiler.finish().unwrap()
}

fn advisories(archive: &Path) -> Advisories {
    let compiled = compile(archive);
    Advisories {
        snapshots: vec![AdvisorySnapshot::open(compiled.bytes).unwrap()],
        ..Advisories::default()
    }
}

fn python() -> Option<&'static Advisories> {
    static ADVISORIES: OnceLock<Option<Advisories>> = OnceLock::new();
    let made = ADVISORIES.get_or_init(|| data("osv-pypi-2024-10.zip").map(|path| advisories(&path)));
    made.as_ref()
}

fn affecting(advisories: &Advisories, name: &str, version: &str) -> Vec<Hit> {
    let (name, version) = (name.parse::<PythonName>().unwrap(), version.parse().unwrap());
    let subject = Subject::Python {
        name: &name,
        version: &version,
    };
    advisories.affecting(&subject).unwrap()
}

fn debian(advisories: &Advisories, base: Base, source: &str, version: &str) -> Vec<Hit> {
    let (source, version): (DebianName, DebianVersion) = (source.parse().unwrap(), version.parse().unwrap());
    let subject = Subject::Debian {
        base,
        source: &source,
        version: &version,
    };
    advisories.affecting(&subject).unwrap()
}

/// What the reading in Python says: (name, version) and ids. `None` where it cannot run here.
fn reading(arguments: &[PathBuf]) -> Option<Vec<(String, String, BTreeSet<String>)>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/osv_reading.py");
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    let output = python.arg(script).args(arguments).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        eprintln!("SKIPPED: there is no python3 with packaging, or with pip");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap(), words.collect())
    };
    Some(text.lines().map(line).collect())
}

fn records(hits: &[Hit]) -> BTreeSet<String> {
    hits.iter().flat_map(|hit| hit.records.clone()).collect()
}

#[test]
fn every_advisory_matches_what_another_reading_of_the_algorithm_says() {
    let (Some(advisories), Some(archive)) = (python(), data("osv-pypi-2024-10.zip")) else {
        return;
    };
    let Some(lines) = reading(&[archive]) else {
        return;
    };
    assert!(lines.len() > 100_000, "{} versions were tried", lines.len());
    let mut seen = BTreeSet::new();
    for (name, version, wanted) in &lines {
        let found = records(&affecting(advisories, name, version));
        assert_eq!(&found, wanted, "{name} {version}");
        seen.extend(found);
    }
    // Of 2,661 records 10 are withdrawn, and the fix of two is no version.
    assert_eq!(seen.len(), 2649);
}

#[test]
fn records_whose_fix_is_no_version_are_named() {
    let Some(archive) = data("osv-pypi-2024-10.zip") else {
        return;
    };
    let compiled = compile(&archive);
    let names: BTreeSet<&str> = compiled.skipped.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(
        names,
        BTreeSet::from(["PYSEC-2019-125.json", "PYSEC-2021-371.json"])
    );
    assert_eq!(compiled.skipped_count, 2);
}

#[test]
fn real_requirement_sets_have_the_findings_of_the_other_reading() {
    let (Some(advisories), Some(archive), Some(folder)) =
        (python(), data("osv-pypi-2024-10.zip"), data("requirements"))
    else {
        return;
    };
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 20);
    // The sets are newer than the advisories; these are what they would have been in 2020.
    files.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/pins-of-2020.txt"));
    let Some(lines) = reading(&[vec![archive], files].concat()) else {
        return;
    };
    let mut affected = 0;
    for (name, version, wanted) in &lines {
        let hits = affecting(advisories, name, version);
        assert_eq!(&records(&hits), wanted, "{name} {version}");
        affected += usize::from(!hits.is_empty());
    }
    assert!(
        lines.len() > 170 && affected >= 15,
        "{affected} of {} pins",
        lines.len()
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "CI says that it has everything, and where"
)]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

#[test]
fn pip_audit_finds_the_same_in_real_requirement_sets() {
    let (Some(advisories), Some(archive), Some(folder)) =
        (python(), data("osv-pypi-2024-10.zip"), data("requirements"))
    else {
        return;
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.push(here.join("pins-of-2020.txt"));
    let mut audit = Command::new("python3");
    audit.env("PYTHONDONTWRITEBYTECODE", "1");
    // Where `scripts/check` has installed it.
    if let Some(folder) = variable("COOPER_TEST_PIP_AUDIT") {
        audit.env("PYTHONPATH", folder);
    }
    let output = audit
        .arg(here.join("osv_audit.py"))
        .arg(archive)
        .args(files)
        .output()
        .unwrap();
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(variable("COOPER_TEST_SKIP_NOTHING").is_none(), "{error}");
        eprintln!("SKIPPED: there is no python3 with pip-audit: {error}");
        return;
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() > 190);
    for line in text.lines() {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let wanted = words.map(str::to_owned).collect();
        assert_eq!(records(&affecting(advisories, name, version)), wanted, "{line}");
    }
}

#[test]
fn four_advisories_call_their_own_fix_affected_and_are_followed() {
    let Some(advisories) = python() else { return };
    let gevent = affecting(advisories, "gevent", "23.9.0");
    let found = gevent.iter().find(|hit| hit.id == "PYSEC-2023-177").unwrap();
    assert_eq!(found.fixed_in, [""; 0], "no version that is known to have a fix");
    assert!(affecting(advisories, "gevent", "23.9.1").is_empty());
}

#[test]
fn a_hit_has_ids_severity_and_the_smallest_fix() {
    let Some(advisories) = python() else { return };
    let hits = affecting(advisories, "jinja2", "2.10");
    let hit = hits.iter().find(|hit| hit.id == "PYSEC-2019-217").unwrap();
    assert!(hit.aliases.contains(&"CVE-2019-10906".to_owned()), "{hit:?}");
    assert_eq!(hit.fixed_in, ["2.10.1"]);
    assert_eq!(hit.severity.rating, Rating::High, "nobody rated it");
    assert!(!hit.malicious && !hit.references.is_empty());
    let (name, version) = ("jinja2".parse().unwrap(), "2.10".parse().unwrap());
    let subject = Subject::Python {
        name: &name,
        version: &version,
    };
    let repair = advisories.smallest_repair(&subject, &hits).unwrap().unwrap();
    assert!(affecting(advisories, "jinja2", &repair).is_empty(), "{repair}");
    assert!(affecting(advisories, "no-such-distribution", "1").is_empty());
}

#[test]
fn debian_is_judged_by_source_package_and_suite() {
    let Some(archive) = data("osv-debian-sample.zip") else {
        return;
    };
    let advisories = advisories(&archive);
    let of = |base, version| debian(&advisories, base, "nettle", version).len();
    assert_eq!(of(Base::Bookworm, "3.2-1"), 1);
    assert_eq!(of(Base::Bookworm, "3.3-1"), 0, "the distribution's fix counts");
    assert_eq!(of(Base::Trixie, "3.2-1"), 1);
    // A name of Debian is none of PyPI, and the other way round.
    assert!(affecting(&advisories, "nettle", "3.2").is_empty());
    let [hit] = &debian(&advisories, Base::Trixie, "nettle", "3.2-1")[..] else {
        panic!("one hit")
    };
    assert_eq!(
        (hit.id.as_str(), hit.aliases[0].as_str()),
        ("DEBIAN-CVE-2016-6489", "CVE-2016-6489")
    );
    assert_eq!(hit.fixed_in, ["3.3-1"]);
}

#[test]
fn malicious_packages_are_known_by_their_listed_versions() {
    let Some(archive) = data("osv-malicious-sample.zip") else {
        return;
    };
    let advisories = advisories(&archive);
    let [hit] = &affecting(&advisories, "3Web", "1.0")[..] else {
        panic!("one hit")
    };
    assert!(hit.malicious && hit.id == "MAL-2024-9933", "{hit:?}");
    assert!(affecting(&advisories, "3web", "1.0.1").is_empty());
}

fn record(id: &str, rest: &str) -> String {
    format!(r#"{{"id":"{id}","modified":"2024-01-01T00:00:00Z",{rest}}}"#)
}

fn of_package(ecosystem: &str, name: &str, fixed: &str, rest: &str) -> String {
    let fixed = if fixed.is_empty() {
        String::new()
    } else {
        format!(r#",{{"fixed":"{fixed}"}}"#)
    };
    format!(
        r#""affected":[{{"package":{{"ecosystem":"{ecosystem}","name":"{name}"}},"ranges":[{{"type":"ECOSYSTEM","events":[{{"introduced":"0"}}{fixed}]}}]{rest}}}]"#
    )
}

fn snapshot(records: &[String]) -> AdvisorySnapshot {
    let mut compiler = Compiler::new(CompileLimits::default());
    for record in records {
        compiler.add("made", record.as_bytes()).unwrap();
    }
    let made = compiler.finish().unwrap();
    assert_eq!(made.skipped_count, 0, "{:?}", made.skipped);
    AdvisorySnapshot::open(made.bytes).unwrap()
}

fn made(records: &[String]) -> Advisories {
    Advisories {
        snapshots: vec![snapshot(records)],
        ..Advisories::default()
    }
}

#[test]
fn one_vulnerability_under_several_ids_is_one_hit() {
    let package = of_package("PyPI", "a", "1.5", "");
    let severe = r#""severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]"#;
    let advisories = made(&[
        record(
            "GHSA-x-y-z",
            &format!(r#""aliases":["CVE-2024-1"],"summary":"Short",{severe},{package}"#),
        ),
        record(
            "PYSEC-2024-1",
            &format!(r#""aliases":["CVE-2024-1"],"details":"A longer text",{package}"#),
        ),
        record("PYSEC-2024-2", &package),
    ]);
    let [first, second] = &affecting(&advisories, "a", "1")[..] else {
        panic!("two hits")
    };
    assert_eq!(
        (first.id.as_str(), first.aliases.join(" ").as_str()),
        ("PYSEC-2024-1", "CVE-2024-1 GHSA-x-y-z")
    );
    assert_eq!(first.records, ["PYSEC-2024-1", "GHSA-x-y-z"]);
    assert_eq!(
        (first.severity.score_tenths, first.summary.as_str()),
        (Some(98), "Short")
    );
    assert_eq!(
        (second.id.as_str(), second.severity.score_tenths),
        ("PYSEC-2024-2", None)
    );
}

#[test]
fn a_newer_state_of_a_record_counts_and_so_does_its_withdrawal() {
    let package = of_package("PyPI", "a", "", "");
    let old = snapshot(&[record("PYSEC-1", &package)]);
    let withdrawn =
        r#"{"id":"PYSEC-1","modified":"2024-02-01T00:00:00Z","withdrawn":"2024-02-01T00:00:00Z"}"#;
    let newer = snapshot(&[withdrawn.to_owned()]);
    let count = |snapshots: Vec<AdvisorySnapshot>| {
        let advisories = Advisories {
            snapshots,
            ..Advisories::default()
        };
        affecting(&advisories, "a", "1").len()
    };
    assert_eq!(count(vec![old.clone()]), 1);
    assert_eq!(count(vec![old.clone(), old.clone()]), 1);
    assert_eq!(count(vec![old.clone(), newer.clone()]), 0);
    assert_eq!(count(vec![newer, old]), 0);
}

#[test]
fn debians_words_mean_what_the_tracker_means() {
    let of = |id: &str, urgency: &str| {
        let rest = format!(r#","ecosystem_specific":{{"urgency":"{urgency}"}}"#);
        record(id, &of_package("Debian:13", "curl", "", &rest))
    };
    let advisories = made(&[
        of("DEBIAN-CVE-2024-1", "unimportant"),
        of("DEBIAN-CVE-2024-2", "end-of-life"),
        of("DEBIAN-CVE-2024-3", "not yet assigned"),
        of("DEBIAN-CVE-2024-4", "medium**"),
        record(
            "DSA-1-1",
            &format!(
                r#""upstream":["CVE-2024-1"],{}"#,
                of_package("Debian:13", "curl", "9", "")
            ),
        ),
        record(
            "DSA-2-1",
            &format!(
                r#""upstream":["CVE-2024-9"],{}"#,
                of_package("Debian:13", "curl", "9", "")
            ),
        ),
    ]);
    let hits = debian(&advisories, Base::Trixie, "curl", "8.0-1");
    let told: BTreeMap<&str, (Rating, Option<Urgency>)> = hits
        .iter()
        .map(|hit| (hit.id.as_str(), (hit.severity.rating, hit.urgency)))
        .collect();
    let wanted = BTreeMap::from([
        ("DEBIAN-CVE-2024-1", (Rating::None, Some(Urgency::Unimportant))),
        ("DEBIAN-CVE-2024-2", (Rating::High, Some(Urgency::EndOfLife))),
        ("DEBIAN-CVE-2024-3", (Rating::High, None)),
        ("DEBIAN-CVE-2024-4", (Rating::Medium, Some(Urgency::Medium))),
        ("DSA-1-1", (Rating::High, None)),
        ("DSA-2-1", (Rating::High, None)),
    ]);
    assert_eq!(told, wanted);
}

#[test]
fn an_announcement_adds_nothing_to_its_vulnerabilities() {
    let cve = record(
        "DEBIAN-CVE-2024-1",
        &format!(
            r#""upstream":["CVE-2024-1"],{}"#,
            of_package("Debian:12", "curl", "9", "")
        ),
    );
    let announcement = record(
        "DSA-1-1",
        &format!(
            r#""aliases":["CVE-2024-1"],{}"#,
            of_package("Debian:12", "curl", "9", "")
        ),
    );
    let advisories = made(&[cve, announcement]);
    let [hit] = &debian(&advisories, Base::Bookworm, "curl", "8")[..] else {
        panic!("one hit")
    };
    assert_eq!(hit.id, "DEBIAN-CVE-2024-1");
}

#[test]
fn what_is_malicious_and_names_no_version_is_so_in_all() {
    let nothing = r#""affected":[{"package":{"ecosystem":"PyPI","name":"a"}}]"#;
    let commits = r#""affected":[{"package":{"ecosystem":"PyPI","name":"b"},
        "ranges":[{"type":"GIT","repo":"x","events":[{"introduced":"0"}]}]}]"#;
    let advisories = made(&[record("MAL-2026-1", nothing), record("MAL-2026-2", commits)]);
    for name in ["a", "b"] {
        assert!(affecting(&advisories, name, "1.0")[0].malicious, "{name}");
        let told = advisories.malicious_name(&name.parse().unwrap()).unwrap();
        assert!(told.is_some_and(|(_, wholly)| wholly), "{name}");
    }
}

#[test]
fn being_exploited_or_likely_to_be_never_makes_less_of_a_vulnerability() {
    let advisory = |id: &str, name: &str, rest: &str| {
        let vector =
            r#""severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]"#;
        let open = r#""ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}]"#;
        let package = format!(r#""affected":[{{"package":{{"ecosystem":"PyPI","name":"{name}"}},{open}}}]"#);
        record(id, &format!("{rest}{vector},{package}"))
    };
    let list = r#"{"vulnerabilities":[{"cveID":"CVE-2024-1","dateAdded":"2024-05-01"}]}"#;
    let scores =
        "#model_version:v1,score_date:2026-01-01T00:00:00+0000\ncve,epss,percentile\nCVE-2024-2,0.9,0.9\n";
    let scores = EpssTable::open(EpssTable::compile(scores.as_bytes()).unwrap()).unwrap();
    let advisories = Advisories {
        exploited: ExploitedList::parse(list.as_bytes()).unwrap(),
        epss: Some(scores),
        ..made(&[
            advisory("PYSEC-1", "exploited", r#""aliases":["CVE-2024-1"],"#),
            advisory("PYSEC-2", "likely", r#""aliases":["CVE-2024-2"],"#),
        ])
    };
    let policy: Policy = "[vulnerabilities]\nknown_exploited = 'note'\nunfixed = 'refuse'\n"
        .parse()
        .unwrap();
    let known = Known {
        advisories,
        in_force: policy.rules(None, None).unwrap(),
        ..Known::nothing("2026-06-01T00:00:00Z".parse().unwrap())
    };
    for (name, code) in [
        ("exploited", "VULNERABILITY-EXPLOITED"),
        ("likely", "VULNERABILITY-LIKELY"),
    ] {
        let findings =
            vulnerabilities::of_distribution(&name.parse().unwrap(), &"1".parse().unwrap(), &known).unwrap();
        assert_eq!(
            (findings[0].code.as_str(), findings[0].effect),
            (code, Effect::Refuse)
        );
    }
}

#[test]
fn exploitation_and_statements_are_told_with_the_hit() {
    let package = of_package("PyPI", "a", "2", "");
    let advisory = record("PYSEC-2024-1", &format!(r#""aliases":["CVE-2024-1"],{package}"#));
    let list = r#"{"vulnerabilities":[{"cveID":"CVE-2024-1","dateAdded":"2024-05-01"}]}"#;
    let vex = r#"{"@context":"https://openvex.dev/ns/v0.2.0","author":"Ann","statements":[{"vulnerability":{"name":"CVE-2024-1"},
        "products":[{"@id":"pkg:pypi/a@1.0"}],"status":"not_affected","justification":"component_not_present"}]}"#;
    let advisories = Advisories {
        exploited: ExploitedList::parse(list.as_bytes()).unwrap(),
        vex: VexStatements::parse(vex.as_bytes()).unwrap().0,
        ..made(&[advisory])
    };
    let [hit] = &affecting(&advisories, "a", "1")[..] else {
        panic!("one hit")
    };
    assert_eq!(
        hit.exploited.as_ref().unwrap().date_added.to_string(),
        "2024-05-01"
    );
    assert!(hit.is_lifted());
    assert!(!affecting(&advisories, "a", "1.1")[0].is_lifted());
}

#[test]
fn the_real_list_of_exploited_vulnerabilities_is_read() {
    let Some(path) = data("kev.json") else { return };
    let list = ExploitedList::parse(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(list.len(), 1404);
    assert!(list.find("CVE-2021-44228").unwrap().ransomware);
}
