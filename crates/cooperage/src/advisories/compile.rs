//! From a file's content to a part.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use cooper_core::Timestamp;
use cooper_gate::advisories::{
    AdvisorySnapshot, CompileLimits, Compiler, Ecosystem, EpssTable, ExploitedList, Skipped, VexStatements,
};
use cooper_gate::names::PopularNames;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::SourceFault;
use super::manifest::EvidenceKind;
use super::recognise::{Content, recognise};

/// The part of records that were given one by one.
pub(super) const SINGLE_RECORDS: &str = "osv/records";
/// Files in an archive.
const ENTRIES_MAX: usize = 1_000_000;
/// All of them, unpacked.
const UNPACKED_BYTES_MAX: u64 = 16 << 30;

/// A part before it is kept.
#[derive(Debug)]
pub(super) struct MadePart {
    pub(super) key: String,
    pub(super) kind: EvidenceKind,
    pub(super) bytes: Vec<u8>,
    pub(super) records: u64,
    pub(super) withdrawn: u64,
    pub(super) malicious: u64,
    pub(super) packages: BTreeMap<String, u64>,
    pub(super) as_of: Option<Timestamp>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) skipped_count: u64,
}

impl MadePart {
    fn new(key: impl Into<String>, kind: EvidenceKind, bytes: Vec<u8>, records: usize) -> Self {
        Self {
            key: key.into(),
            kind,
            bytes,
            records: records as u64,
            withdrawn: 0,
            malicious: 0,
            packages: BTreeMap::new(),
            as_of: None,
            skipped: Vec::new(),
            skipped_count: 0,
        }
    }
}

/// Make a part of what a file has. Loose records are not made here: [`of_records`] joins them.
pub(super) fn of_content(content: Content) -> Result<MadePart, SourceFault> {
    match content {
        Content::Archive(file) => of_archive(file),
        Content::Record(record) => of_records(&[("record".to_owned(), record)]),
        Content::Exploited(json) => {
            let list = ExploitedList::parse(&json)?;
            let mut part = MadePart::new("exploited", EvidenceKind::Exploited, list.compiled(), list.len());
            part.as_of = list.released();
            Ok(part)
        }
        Content::Epss(csv) => {
            let bytes = EpssTable::compile(&csv)?;
            let table = EpssTable::open(bytes.clone())?;
            let mut part = MadePart::new("epss", EvidenceKind::Epss, bytes, table.len());
            part.as_of = table.scored_at();
            Ok(part)
        }
        Content::Popular(bytes) => of_popular(bytes),
        Content::Vex(json) => of_vex(&json),
    }
}

/// What a file is, the key of its part, its records, and how many were left out.
pub(crate) fn read_evidence(path: &Path) -> Result<(EvidenceKind, String, u64, u64), SourceFault> {
    let part = of_content(recognise(path)?)?;
    Ok((part.kind, part.key, part.records, part.skipped_count))
}

fn of_vex(json: &[u8]) -> Result<MadePart, SourceFault> {
    let (statements, skipped) = VexStatements::parse(json)?;
    // A later document of the same id takes the place of an earlier one.
    let id = document_id(json).unwrap_or_else(|| cooper_core::Digest::of(json).hex());
    let mut part = MadePart::new(
        format!("vex/{id}"),
        EvidenceKind::Vex,
        statements.compiled(),
        statements.len(),
    );
    part.skipped_count = skipped.len() as u64;
    part.skipped = skipped;
    Ok(part)
}

fn document_id(json: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Id {
        #[serde(rename = "@id")]
        id: String,
    }
    let Id { id } = serde_json::from_slice(json).ok()?;
    let plain = id.bytes().all(|byte| byte.is_ascii_graphic()) && (1..=300).contains(&id.len());
    plain.then_some(id)
}

/// Kept as it is: `cooper_gate`'s names are parsed from it.
fn of_popular(bytes: Vec<u8>) -> Result<MadePart, SourceFault> {
    #[derive(Deserialize)]
    struct List {
        last_update: Option<String>,
        rows: Vec<IgnoredAny>,
    }
    let (names, as_of) = if bytes.trim_ascii_start().starts_with(b"{") {
        let list: List = serde_json::from_slice(&bytes).map_err(|_| SourceFault::Unrecognised)?;
        let time = list.last_update.map(|text| text.trim().replace(' ', "T") + "Z");
        (list.rows.len(), time.and_then(|text| text.parse().ok()))
    } else {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        (lines.count().saturating_sub(1), None)
    };
    // Whoever judges names may rely on it.
    PopularNames::parse(&bytes)?;
    if names == 0 {
        return Err(SourceFault::Unrecognised);
    }
    let mut part = MadePart::new("popular", EvidenceKind::Popular, bytes, names);
    part.as_of = as_of;
    Ok(part)
}

/// Loose records, each with its file's name, as one part.
pub(super) fn of_records(records: &[(String, Vec<u8>)]) -> Result<MadePart, SourceFault> {
    let mut compiler = Compiler::new(CompileLimits::default());
    for (name, json) in records {
        compiler.add(name, json)?;
    }
    let mut part = finish(compiler, Vec::new())?;
    SINGLE_RECORDS.clone_into(&mut part.key);
    Ok(part)
}

/// An export: a zip archive with one record in each file. Nothing of it is written anywhere, so that the worst that a
/// path can do is to be a bad label.
fn of_archive(file: File) -> Result<MadePart, SourceFault> {
    let wrong = |error: zip::result::ZipError| SourceFault::Archive {
        reason: error.to_string(),
    };
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(wrong)?;
    if archive.len() > ENTRIES_MAX {
        let max = ENTRIES_MAX as u64;
        return Err(SourceFault::TooLarge { what: "files", max });
    }
    let limits = CompileLimits::default();
    let record_bytes_max = limits.record.record_bytes_max as u64;
    let mut compiler = Compiler::new(limits);
    let mut odd = Vec::new();
    let mut unpacked = 0_u64;
    let mut json = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(wrong)?;
        let name = entry.name().map_err(wrong)?.into_owned();
        if entry.is_dir() {
            continue;
        }
        if let Some(reason) = refused(&name) {
            odd.push(Skipped {
                name: name.chars().take(200).collect(),
                reason: reason.to_owned(),
            });
            continue;
        }
        json.clear();
        let read = entry.by_ref().take(record_bytes_max + 1).read_to_end(&mut json);
        read.map_err(|error| SourceFault::Archive {
            reason: format!("{}: {error}", name.escape_debug()),
        })?;
        unpacked += json.len() as u64;
        if unpacked > UNPACKED_BYTES_MAX {
            return Err(SourceFault::TooLarge {
                what: "bytes when it is unpacked",
                max: UNPACKED_BYTES_MAX,
            });
        }
        compiler.add(&name, &json)?;
    }
    finish(compiler, odd)
}

/// Why a file of an archive is passed over.
fn refused(name: &str) -> Option<&'static str> {
    let odd = name.starts_with('/')
        || name.contains(['\\', '\0', ':'])
        || name.split('/').any(|part| part == ".." || part == ".");
    let is_json = std::path::Path::new(name)
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
    match (odd, is_json) {
        (true, _) => Some("its path leads elsewhere"),
        (false, false) => Some("it is not a `.json` file"),
        (false, true) => None,
    }
}

fn finish(compiler: Compiler, odd: Vec<Skipped>) -> Result<MadePart, SourceFault> {
    let done = compiler.finish()?;
    let snapshot = AdvisorySnapshot::open(done.bytes.clone())?;
    let counts = snapshot.counts();
    let skipped_count = done.skipped_count + odd.len() as u64;
    if counts.records == 0 {
        return Err(SourceFault::NoRecords {
            skipped: skipped_count + done.other_ecosystems,
            first: done.skipped.into_iter().chain(odd).next(),
        });
    }
    let packages = snapshot.packages_by_ecosystem()?;
    let key = if counts.malicious == counts.records {
        "osv/malicious".to_owned()
    } else {
        format!("osv/{}", family(&packages))
    };
    let mut part = MadePart::new(key, EvidenceKind::Osv, done.bytes, 0);
    part.records = u64::from(counts.records);
    part.withdrawn = u64::from(counts.withdrawn);
    part.malicious = u64::from(counts.malicious);
    part.packages = packages
        .into_iter()
        .map(|(ecosystem, count)| (ecosystem.to_string(), u64::from(count)))
        .collect();
    part.as_of = counts.newest_modified;
    part.skipped = done.skipped.into_iter().chain(odd).take(SKIPPED_MAX).collect();
    part.skipped_count = skipped_count;
    Ok(part)
}

/// How many are named; all are counted.
const SKIPPED_MAX: usize = 50;

/// Whose packages most of the advisories are about.
fn family(packages: &[(Ecosystem, u32)]) -> &'static str {
    let count = |wanted: fn(&Ecosystem) -> bool| -> u64 {
        let of = packages.iter().filter(|(ecosystem, _)| wanted(ecosystem));
        of.map(|(_, count)| u64::from(*count)).sum()
    };
    let python = count(|ecosystem| *ecosystem == Ecosystem::PyPI);
    if python >= count(|ecosystem| *ecosystem != Ecosystem::PyPI) {
        "PyPI"
    } else {
        "Debian"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_are_passed_over() {
        for good in ["PYSEC-1.json", "a/b/X.JSON"] {
            assert_eq!(refused(good), None, "{good}");
        }
        for bad in [
            "../x.json",
            "/x.json",
            "a/../x.json",
            "c:\\x.json",
            "a\\x.json",
            "./x.json",
        ] {
            assert_eq!(refused(bad), Some("its path leads elsewhere"), "{bad}");
        }
        assert_eq!(refused("README.md"), Some("it is not a `.json` file"));
    }

    #[test]
    fn popular_names_are_kept_as_they_are() {
        let part = of_popular(b"download_count,project\n2,\"a\"\n1,\"b\"\n".to_vec()).unwrap();
        assert_eq!((part.records, part.as_of), (2, None));
        let json = br#"{"last_update":"2026-04-01 07:39:54","rows":[{"download_count":1,"project":"a"}]}"#;
        let part = of_popular(json.to_vec()).unwrap();
        assert_eq!(part.as_of, Some("2026-04-01T07:39:54Z".parse().unwrap()));
        assert!(of_popular(b"project\n".to_vec()).is_err());
    }
}
