//! How long evidence takes: to compile, to open, to ask about a plan of 70 packages; and how much memory.
//!
//! `cargo run --release -p cooperage --example measure_evidence -- DATA [RECORDS]`, where DATA is the folder with
//! `osv-pypi-2024-10.zip`, `kev.json` and `top-pypi-packages.csv`. The advisories are multiplied, each copy about
//! distributions of its own, until there are RECORDS (20,000) of them.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement says what it saw, and ends where it cannot measure"
)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cooper_core::clock::SystemClock;
use cooper_core::python::DistributionVersion;
use cooper_core::{Ecosystem, PackageVersion, Progress, PythonName};
use cooper_gate::Listed;
use cooper_gate::advisories::Subject;
use cooper_gate::policy::Policy;
use cooperage::{
    EvidenceFrom, Freshness, IntakeConfig, Sbom, Scripts, SourceLimits, Sources, Workshop, WorkshopConfig,
};
use serde_json::Value;

const ROUNDS: usize = 51;
const PLAN: usize = 70;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let data = PathBuf::from(arguments.next().unwrap_or_else(|| "../shared/data".to_owned()));
    let wanted: usize = arguments.next().map_or(20_000, |text| text.parse().unwrap());
    let records = read_records(&data.join("osv-pypi-2024-10.zip"));
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("all.zip");
    multiply(&records, wanted, &export);
    let workshop = workshop(&folder.path().join("store"));
    let paths = vec![export, data.join("kev.json"), data.join("top-pypi-packages.csv")];

    let start = Instant::now();
    let update = workshop.update_advisories(&EvidenceFrom::Paths(paths.clone()), false, &Progress::silent());
    let update = update.unwrap();
    assert!(update.failed.is_empty());
    for source in &update.updated {
        println!("{}: {} records", source.key, source.records);
    }
    told("compile and keep, once", start.elapsed());
    let start = Instant::now();
    workshop
        .update_advisories(&EvidenceFrom::Paths(paths), false, &Progress::silent())
        .unwrap();
    told("the same again, unchanged", start.elapsed());
    drop(update);

    let plan = plan(&records);
    drop(records);
    let before = resident_bytes();
    told(
        "open (median)",
        median(|| drop(workshop.gate_evidence().unwrap())),
    );
    let evidence = workshop.gate_evidence().unwrap();
    let mut hits = 0;
    let time = median(|| hits = ask(&evidence.advisories, &plan));
    told(&format!("ask about {PLAN} packages (median), {hits} hits"), time);
    let cold = Instant::now();
    let evidence = workshop.gate_evidence().unwrap();
    ask(&evidence.advisories, &plan);
    told("open and ask, once", cold.elapsed());
    let sbom = Sbom {
        packages: plan.iter().map(listed).collect(),
        ..Sbom::default()
    };
    let store = folder.path().join("store");
    let first = median(|| drop(self::workshop(&store).check_sbom(sbom.clone(), None).unwrap()));
    told("verdict, everything opened for it (median)", first);
    let again = median(|| drop(workshop.check_sbom(sbom.clone(), None).unwrap()));
    told("another verdict of the same process (median)", again);
    let grown = resident_bytes().saturating_sub(before);
    println!("memory for opening and asking: {:.1} MiB", mebibytes(grown));
    let size: u64 = evidence.parts.iter().map(|part| part.bytes).sum();
    println!("size of the evidence: {:.1} MiB", mebibytes(size));
}

fn listed((name, version): &(PythonName, DistributionVersion)) -> Listed {
    Listed::alone(PackageVersion {
        ecosystem: Ecosystem::Python,
        name: name.to_string(),
        version: version.to_string(),
    })
}

fn told(what: &str, time: Duration) {
    println!("{what}: {:.2} ms", time.as_secs_f64() * 1e3);
}

#[expect(clippy::cast_precision_loss, reason = "a size to be read by people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn median(mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}

fn ask(
    advisories: &cooper_gate::advisories::Advisories,
    plan: &[(PythonName, DistributionVersion)],
) -> usize {
    let hits = plan.iter().map(|(name, version)| {
        let subject = Subject::Python { name, version };
        advisories.affecting(&subject).unwrap().len()
    });
    hits.sum()
}

fn read_records(archive: &Path) -> Vec<Value> {
    let mut archive = zip::ZipArchive::new(File::open(archive).unwrap()).unwrap();
    let count = archive.len();
    let read = |index| {
        let mut json = Vec::new();
        archive.by_index(index).unwrap().read_to_end(&mut json).unwrap();
        serde_json::from_slice(&json).unwrap()
    };
    (0..count).map(read).collect()
}

/// The distributions with most advisories, each at a version in the middle of those that one lists.
fn plan(records: &[Value]) -> Vec<(PythonName, DistributionVersion)> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for affected in records
        .iter()
        .filter_map(|record| record["affected"].as_array())
        .flatten()
    {
        let listed = affected["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        versions
            .entry(affected["package"]["name"].as_str().unwrap())
            .or_default()
            .extend(listed);
    }
    let mut most: Vec<_> = versions.into_iter().collect();
    most.sort_by_key(|(name, versions)| (std::cmp::Reverse(versions.len()), *name));
    let pins = most.into_iter().filter_map(|(name, versions)| {
        let middle = versions.get(versions.len() / 2)?;
        Some((name.parse().ok()?, middle.parse().ok()?))
    });
    pins.take(PLAN).collect()
}

/// An export with copies of the records; the first of each is as it is.
fn multiply(records: &[Value], wanted: usize, into: &Path) {
    let mut zip = zip::ZipWriter::new(File::create(into).unwrap());
    for number in 0..wanted {
        let (copy, record) = (number / records.len(), &records[number % records.len()]);
        let mut record = record.clone();
        if copy > 0 {
            record["id"] = format!("{}-{copy}", record["id"].as_str().unwrap()).into();
            record["aliases"] = Value::Array(Vec::new());
            for affected in record["affected"].as_array_mut().into_iter().flatten() {
                let name = affected["package"]["name"].as_str().unwrap();
                affected["package"]["name"] = format!("{name}-{copy}").into();
            }
        }
        let name = format!("{}.json", record["id"].as_str().unwrap());
        zip.start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        zip.write_all(&serde_json::to_vec(&record).unwrap()).unwrap();
    }
    zip.finish().unwrap();
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn workshop(store: &Path) -> Workshop {
    let config = WorkshopConfig {
        store: store.to_owned(),
        organisation: "local".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        sources: Sources {
            debian_mirrors: Vec::new(),
            debian_security_mirrors: Vec::new(),
            debian_keys: Vec::new(),
            debian_sources: Vec::new(),
            python_indexes: Vec::new(),
        },
        evidence: Vec::new(),
        freshness: Freshness {
            max_age: Duration::from_mins(10),
            refresh: None,
            offline: true,
        },
        intake: IntakeConfig::default(),
        scripts: Scripts::Faster,
        source_limits: SourceLimits {
            wall: Duration::from_mins(1),
            memory_bytes: 1 << 30,
        },
        policy: Policy::default(),
        profile: None,
        program: "measure_evidence".to_owned(),
    };
    Workshop::open(config, Arc::new(SystemClock)).unwrap()
}
