//! What users and others hand to the gates: policies, SBOM documents, files of evidence, lines of ledgers.

use std::io::Write as _;

use cooper_gate::{FirstSeen, Policy, Sighting};
use cooperage::{Sbom, outside};
use testkit::ZipEntry;
use testkit::zip::write_zip;

use super::{as_it_is, chain, counted, ending};
use crate::driver::Target;

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A policy. What is accepted has rules for every profile and image, and says the same when it is read again; an image's
/// rules are never looser than its profile's.
pub(super) const POLICY: Target = Target {
    name: "policy",
    examples: || {
        texts(&[
            "profile = 'production'\n[age]\ndays_min = 14\nexempt = ['acme-lib']\n[vulnerabilities]\nhold_from = 'medium'\n\
             epss_hold_from = 0.2\n[evidence]\nunjudged = 'refuse'\n",
            "[profiles.night.names]\ndirect = 'note'\n[images.'pay-*'.names]\ntransitive = 'refuse'\n\
             [images.'pay-*'.packages]\ndeny = ['python:six', 'debian:jq']\n[licences]\npython_allow = ['GPL-3.0-only']\n",
            "[images.a.age]\ndays_min = 1\n",
        ])
    },
    mend: as_it_is,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let policy: Policy = match text.parse() {
            Ok(policy) => policy,
            Err(error) => {
                let told = chain(&error);
                assert!(told.len() < 20_000, "{told}");
                return told.chars().take(60).collect();
            }
        };
        let again: Policy = text.parse().unwrap();
        let images = ["a", "pay-roll"].map(|name| name.parse().unwrap());
        for profile in policy.profiles() {
            let rules = policy.rules(Some(profile), None).unwrap();
            assert_eq!(rules.digest(), again.rules(Some(profile), None).unwrap().digest());
            for image in &images {
                let tightened = policy.rules(Some(profile), Some(image)).unwrap();
                let (image, all) = (&tightened.rules, &rules.rules);
                assert!(image.age.days_min >= all.age.days_min);
                assert!(image.packages.deny.is_superset(&all.packages.deny));
                assert!(image.names.direct >= all.names.direct);
            }
        }
        format!("good {}", counted(policy.profiles().len()))
    },
};

const CYCLONE: &str = r#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"purl":"pkg:pypi/Django@3.2"},{"name":"x",
"components":[{"purl":"pkg:deb/debian/libc6@2.41-12?arch=amd64&distro=debian-13&upstream=glibc%402.41-12"}]},
{"purl":"pkg:npm/%40a/left-pad@1.0.0#p"},{"purl":"pkg:pypi/no-version"}]}"#;
const SPDX: &str = r#"{"spdxVersion":"SPDX-2.3","packages":[{"externalRefs":[{"referenceType":"purl",
"referenceLocator":"pkg:pypi/django@3.2"}]},{"externalRefs":[{"referenceType":"cpe23Type","referenceLocator":"cpe:x"},
{"referenceType":"purl","referenceLocator":"pkg:deb/debian/libc6@2.41-12?distro=trixie"}]}]}"#;

/// An SBOM. What is listed is named and has a version, and nothing is listed that the document does not have.
pub(super) const SBOM: Target = Target {
    name: "sbom",
    examples: || texts(&[CYCLONE, SPDX]),
    mend: as_it_is,
    run: |bytes| match Sbom::parse(&String::from_utf8_lossy(bytes)) {
        Ok(sbom) => {
            let listed = sbom.packages.len() + sbom.others.len();
            assert!(listed * "pkg:".len() <= bytes.len());
            for one in &sbom.packages {
                assert!(
                    !one.package.name.is_empty() && !one.package.version.is_empty(),
                    "{one:?}"
                );
            }
            let (packages, others) = (counted(sbom.packages.len()), counted(sbom.others.len()));
            format!("good {packages} {others}")
        }
        Err(error) => ending::<(), _>(Err(error)),
    },
};

const RECORD: &str = r#"{"id":"PYSEC-2024-1","modified":"2024-01-02T00:00:00Z","affected":[{"package":{"ecosystem":"PyPI",
"name":"a"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1.2"}]}]}]}"#;

/// A file that may be evidence: it is known by what is in it, and what is known is read as that.
pub(super) const EVIDENCE: Target = Target {
    name: "evidence-file",
    examples: || {
        let archive =
            |path: &str| write_zip(&[ZipEntry::file(path, RECORD), ZipEntry::file("b/c.json", "{}")]);
        let mut examples = texts(&[
            RECORD,
            r#"{"catalogVersion":"1","dateReleased":"2024-11-20T00:00:00Z","vulnerabilities":[{"cveID":"CVE-2024-1","dateAdded":"2024-05-01"}]}"#,
            "#model_version:v1,score_date:2024-11-20T00:00:00Z\ncve,epss,percentile\nCVE-2024-1,0.5,0.9\n",
            r#"{"last_update":"2024-11-01 07:00:00","rows":[{"download_count":2,"project":"a"},{"download_count":1,"project":"b"}]}"#,
            "download_count,project\n2,a\n1,b\n",
            r#"{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://vex.test/1","author":"Ann","statements":[{"vulnerability":{"name":"CVE-2024-1"},"products":[{"@id":"pkg:pypi/a"}],"status":"fixed"}]}"#,
        ]);
        examples.extend([archive("a.json"), archive("../a.json")]);
        examples
    },
    mend: as_it_is,
    run: |bytes| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        match outside::evidence(file.path()) {
            Ok((kind, key, records, skipped)) => {
                assert!(
                    !key.is_empty() && key.len() <= 400 && !key.contains('\n'),
                    "{key:?}"
                );
                let (records, skipped) = (usize::try_from(records), usize::try_from(skipped));
                format!(
                    "{kind:?} {} {}",
                    counted(records.unwrap()),
                    counted(skipped.unwrap())
                )
            }
            Err(error) => {
                let told = chain(&error);
                assert!(told.len() < 4_000, "{told}");
                told.chars().take(60).collect()
            }
        }
    },
};

const SIGHTING: &str = r#"{"name":"acme-lib","version":"2.0","sha256":"DIGEST","at":"2026-01-01T00:00:00Z"}"#;
const GIVEN: &str = r#"{"given":{"number":1,"finding":"AGE-YOUNG","package":"a","version":"1","reason":"r","by":"b",
"given_at":"2026-01-01T00:00:00Z","until":"2026-02-01T00:00:00Z"}}"#;
const REVOKED: &str = r#"{"revoked":{"number":1,"by":"b","at":"2026-01-01T00:00:00Z"}}"#;

/// Ledgers: a line says one thing or nothing, and whatever stands there, no time that follows is before one in it.
pub(super) const LEDGER: Target = Target {
    name: "ledger",
    examples: || {
        let digest = cooper_core::Digest::of(b"a").to_string();
        let sighting = SIGHTING.replace("DIGEST", &digest);
        let two = format!("{sighting}\n{}", sighting.replace("2026", "2027"));
        texts(&[&sighting, &two, &GIVEN.replace('\n', ""), REVOKED])
    },
    mend: as_it_is,
    run: |bytes| {
        let lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let mut counts = [0, 0];
        let seen = FirstSeen::of_lines(lines.clone());
        let next = seen.time_of_next("2026-06-01T00:00:00Z".parse().unwrap(), None);
        for line in &lines {
            let says = outside::ledger_line(line);
            assert!(says != [true, true], "a line of both ledgers");
            for (count, says) in counts.iter_mut().zip(says) {
                *count += usize::from(says);
            }
            if let Some(sighting) = Sighting::parse(line) {
                assert!(sighting.at <= next);
                let first = seen.of(sighting.name.as_str(), &sighting.sha256).unwrap();
                assert!(first <= next);
                let written = serde_json::to_vec(&sighting).unwrap();
                assert_eq!(Sighting::parse(&written), Some(sighting));
            }
        }
        format!("{} {}", counted(counts[0]), counted(counts[1]))
    },
};
