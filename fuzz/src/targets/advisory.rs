//! Evidence of vulnerabilities: OSV records, compiled snapshots, VEX, EPSS, KEV, CVSS.

use std::fmt::Write as _;
use std::ops::Range;

use cooper_core::base::Base;
use cooper_gate::advisories::{
    Added, Advisories, AdvisorySnapshot, CompileLimits, Compiler, EpssTable, ExploitedList, Hit, Severity,
    Subject, VexStatements,
};

use super::{as_it_is, counted, ending};
use crate::driver::Target;

const RECORD: &str = r#"{"schema_version":"1.6.0","id":"PYSEC-2024-1","modified":"2024-01-02T00:00:00Z","published":"2024-01-01T00:00:00Z",
"aliases":["CVE-2024-1","GHSA-x-y-z"],"summary":"s","details":"d","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
"affected":[{"package":{"ecosystem":"PyPI","name":"a"},"ranges":[{"type":"GIT","repo":"r","events":[{"introduced":"0"}]},
{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.2"},{"introduced":"2.0rc1"},{"last_affected":"2.4"},{"limit":"*"}]}],"versions":["1.0","3.0.post1","0"]}],
"references":[{"type":"WEB","url":"https://x.test/"}],"database_specific":{"severity":"MODERATE"}}"#;
const DEBIAN: &str = r#"{"id":"DEBIAN-CVE-2024-1","modified":"2024-01-02T00:00:00Z","upstream":["CVE-2024-1"],"affected":[{"package":{"ecosystem":"Debian:13","name":"curl"},
"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:8.0-1+deb13u1~x"}]}],"versions":["7-1"],"ecosystem_specific":{"urgency":"unimportant"}}]}"#;
const MALICIOUS: &str = r#"{"id":"MAL-2024-1","modified":"2024-01-02T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI","name":"a"},"versions":["1.0"]}]}"#;
const WITHDRAWN: &str = r#"{"id":"PYSEC-2024-2","modified":"2024-01-02T00:00:00Z","withdrawn":"2024-01-02T00:00:00Z","affected":[]}"#;

/// A record; what is accepted can be compiled and asked about, and gives the same bytes again.
pub(super) const OSV_RECORD: Target = Target {
    name: "osv-record",
    examples: || {
        [RECORD, DEBIAN, MALICIOUS, WITHDRAWN]
            .map(|text| text.as_bytes().to_vec())
            .to_vec()
    },
    mend: as_it_is,
    run: |bytes| {
        let compile = || {
            let mut compiler = Compiler::new(CompileLimits::default());
            let added = compiler.add("input", bytes).unwrap();
            (added, compiler.finish().unwrap())
        };
        let (added, compiled) = compile();
        assert_eq!(compile().1.bytes, compiled.bytes);
        let counts = AdvisorySnapshot::open(compiled.bytes.clone()).unwrap().counts();
        match added {
            Added::Record => {
                assert_eq!(counts.records, 1);
                asked(compiled.bytes)
            }
            Added::OtherEcosystem => "about others".to_owned(),
            Added::Skipped(error) => error.to_string(),
        }
    },
};

/// Bytes that say that they are a snapshot: whatever they are, they are read or refused.
pub(super) const ADVISORY_SNAPSHOT: Target = Target {
    name: "advisory-snapshot",
    examples: || {
        let mut compiler = Compiler::new(CompileLimits::default());
        for record in [RECORD, DEBIAN, MALICIOUS, WITHDRAWN] {
            compiler.add("example", record.as_bytes()).unwrap();
        }
        vec![compiler.finish().unwrap().bytes]
    },
    mend: mend_checksums,
    run: |bytes| asked(bytes.to_vec()),
};

/// What a snapshot says of two packages at some versions.
fn asked(bytes: Vec<u8>) -> String {
    let snapshot = match AdvisorySnapshot::open(bytes) {
        Ok(snapshot) => snapshot,
        Err(error) => return error.to_string(),
    };
    let ecosystems = snapshot.packages_by_ecosystem();
    // Twice, so that records are looked up by their ids too.
    let advisories = Advisories {
        snapshots: vec![snapshot.clone(), snapshot],
        ..Advisories::default()
    };
    let mut told = ending(ecosystems);
    let name = "a".parse().unwrap();
    for version in ["0", "1.0", "2.1", "3.0.post1+l"] {
        let version = version.parse().unwrap();
        let subject = Subject::Python {
            name: &name,
            version: &version,
        };
        tell(&mut told, &advisories, &subject);
    }
    let (source, version) = ("curl".parse().unwrap(), "7-1".parse().unwrap());
    for base in Base::ALL {
        let subject = Subject::Debian {
            base,
            source: &source,
            version: &version,
        };
        tell(&mut told, &advisories, &subject);
    }
    told
}

fn tell(told: &mut String, advisories: &Advisories, subject: &Subject<'_>) {
    match advisories.affecting(subject) {
        Ok(hits) => {
            hits.iter().for_each(check);
            let repair = advisories.smallest_repair(subject, &hits).unwrap_or_default();
            write!(
                told,
                " {} {}",
                counted(hits.len()),
                counted(usize::from(repair.is_some()))
            )
            .unwrap();
        }
        Err(error) => write!(told, " {error}").unwrap(),
    }
}

fn check(hit: &Hit) {
    assert!(!hit.records.is_empty());
    assert!(hit.severity.score_tenths.is_none_or(|tenths| tenths <= 100));
    assert!(!hit.aliases.contains(&hit.id));
    assert_eq!(hit.malicious, hit.records.iter().any(|id| id.starts_with("MAL-")));
    serde_json::to_string(hit).unwrap();
}

/// Every checksum of a snapshot whose parts are where its header says.
fn mend_checksums(bytes: &mut [u8]) {
    let number = |bytes: &[u8], at: usize| -> Option<usize> {
        let field = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(field)).ok()
    };
    let sizes = [16, 16, 32, 1];
    let mut ends = vec![64];
    for (part, size) in sizes.into_iter().enumerate() {
        let Some(rows) = number(bytes, 8 + part * 4).filter(|rows| *rows < 1 << 20) else {
            return;
        };
        ends.push(ends[part] + rows * size);
    }
    let data = ends[4];
    for (part, size, offset, crc) in [(1, 16, 4, 12), (2, 32, 16, 24)] {
        for row in (ends[part]..ends[part + 1]).step_by(size) {
            let place = number(bytes, row + offset).zip(number(bytes, row + offset + 4));
            let Some((start, length)) = place else { return };
            let range = data.saturating_add(start)..data.saturating_add(start).saturating_add(length);
            put_checksum(bytes, range, row + crc);
        }
    }
    put_checksum(bytes, 64..data, 36);
    put_checksum(bytes, 0..60, 60);
}

fn put_checksum(bytes: &mut [u8], of: Range<usize>, at: usize) {
    let crc = bytes.get(of).map(crc32fast::hash);
    if let (Some(crc), Some(field)) = (crc, bytes.get_mut(at..at + 4)) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
}

/// An `OpenVEX` document; what is accepted is the same after it was kept.
pub(super) const VEX: Target = Target {
    name: "vex",
    examples: || {
        let document = |statement: &str| {
            format!(r#"{{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://v.test/1","author":"Ann","timestamp":"2025-01-01T00:00:00Z","version":1,"statements":[{statement}]}}"#).into_bytes()
        };
        vec![
            document(
                r#"{"vulnerability":{"@id":"https://x.test/CVE-2024-1","name":"CVE-2024-1","aliases":["GHSA-x"]},"products":[{"@id":"pkg:pypi/a@1.0%2Bl"},
                {"@id":"x","identifiers":{"purl":"pkg:deb/debian/curl@7-1?arch=source&distro=debian-13#s"}}],"status":"not_affected","justification":"component_not_present"}"#,
            ),
            document(
                r#"{"vulnerability":"CVE-2024-1","products":["pkg:pypi/a"],"status":"fixed","timestamp":"2025-02-01T00:00:00Z"},
                {"vulnerability":{"name":"CVE-2024-1"},"products":[{"@id":"pkg:pypi/a","subcomponents":[{"@id":"x"}]}],"status":"affected"},
                {"vulnerability":{"name":"CVE-2024-1"},"products":[{"@id":"pkg:pypi/a"}],"status":"under_investigation"}"#,
            ),
        ]
    },
    mend: as_it_is,
    run: |bytes| match VexStatements::parse(bytes) {
        Ok((statements, skipped)) => {
            assert_eq!(VexStatements::open(&statements.compiled()).unwrap(), statements);
            let (name, version) = ("a".parse().unwrap(), "1.0+l".parse().unwrap());
            let subject = Subject::Python {
                name: &name,
                version: &version,
            };
            let last = statements.last(&subject, &["CVE-2024-1"]);
            let status = last.map_or("nothing", |statement| statement.status.as_str());
            format!(
                "good {} {} {status}",
                counted(statements.len()),
                counted(skipped.len())
            )
        }
        Err(error) => error.to_string(),
    },
};

/// A file of scores, and a compiled table of them.
pub(super) const EPSS: Target = Target {
    name: "epss",
    examples: || {
        let csv = "#model_version:v2025.03.14,score_date:2025-08-25T12:55:00Z\ncve,epss,percentile\nCVE-2021-44228,0.94358,0.99957\nCVE-1999-0001,1e-5,0\n";
        vec![
            csv.as_bytes().to_vec(),
            EpssTable::compile(csv.as_bytes()).unwrap(),
        ]
    },
    mend: as_it_is,
    run: |bytes| {
        let opened = EpssTable::open(bytes.to_vec()).map(|table| table.len());
        let compiled = EpssTable::compile(bytes).map(|compiled| {
            let table = EpssTable::open(compiled).unwrap();
            if let Some(score) = table.find("CVE-2021-44228") {
                assert!(
                    (0.0..=1.0).contains(&score.probability()) && (0.0..=1.0).contains(&score.percentile())
                );
            }
            table.len()
        });
        format!("{} {}", ending(opened), ending(compiled))
    },
};

/// The list of exploited vulnerabilities; what is accepted is the same after it was kept.
pub(super) const KNOWN_EXPLOITED: Target = Target {
    name: "known-exploited",
    examples: || {
        let list = r#"{"dateReleased":"2025-08-25T17:04:19.9796Z","vulnerabilities":[{"cveID":"CVE-2025-48384","dateAdded":"2025-08-25","dueDate":"2025-09-15","knownRansomwareCampaignUse":"Known"},{"cveID":"CVE-2021-1","dateAdded":"2021-12-10"}]}"#;
        vec![list.as_bytes().to_vec()]
    },
    mend: as_it_is,
    run: |bytes| match ExploitedList::parse(bytes) {
        Ok(list) => {
            assert_eq!(ExploitedList::open(&list.compiled()).unwrap(), list);
            format!("good {}", counted(list.len()))
        }
        Err(error) => super::chain(&error),
    },
};

/// A CVSS vector; what has a score is rated by it.
pub(super) const CVSS: Target = Target {
    name: "cvss",
    examples: || {
        [
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:P/RL:O/RC:C/MAV:L/CR:H",
            "CVSS:3.0/AV:P/AC:H/PR:H/UI:R/S:C/C:L/I:L/A:N",
            "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H/E:A/MSI:S/CR:H/S:P/AU:Y/U:Red",
            "AV:N/AC:L/Au:N/C:C/I:C/A:C/E:F/RL:OF/RC:C/CDP:H/TD:H/CR:M",
        ]
        .map(|vector| vector.as_bytes().to_vec())
        .to_vec()
    },
    mend: as_it_is,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let severity = Severity::of_vector(&text);
        severity.map_or("no vector".to_owned(), |severity| {
            assert!(severity.score_tenths.is_some_and(|tenths| tenths <= 100));
            format!("rated {}", severity.rating)
        })
    },
};
