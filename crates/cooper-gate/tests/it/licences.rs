//! The licences of real packages: what is found, held against labels that two sources agree on.
//!
//! `licence_set/labels.csv` has a package a line: its licence, and the two sources that say so (what the package states, and
//! its licence text or another distribution's own record; never an answer of ours). Packages of which no two sources say the
//! same, or which versions of a licence are meant, are not in it. `licence_set/evidence.json.xz` has what the
//! packages say: metadata fields, licence files and copyright files, each text once; names of package hosts are replaced.
//! `cargo xtask licences` prints the table of [`the_labelled_set_is_answered_precisely`].

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::{Duration, Instant};

use cooper_gate::licences::{
    DebianLicenceEvidence, LicenceAnswer, LicenceExpression, LicenceFile, LicenceRules, LicenceVerdict,
    PythonLicenceEvidence, Sureness, judge, of_debian, of_python,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Pack {
    packages: Vec<Package>,
    /// Each byte a character.
    texts: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    ecosystem: String,
    #[serde(rename = "package")]
    name: String,
    #[serde(default)]
    expression: Option<String>,
    #[serde(default)]
    licence: Option<String>,
    #[serde(default)]
    classifiers: Vec<String>,
    /// Path, size, number of the text.
    files: Vec<(String, u64, usize)>,
}

impl Package {
    fn files(&self, texts: &[Vec<u8>]) -> Vec<LicenceFile> {
        let file = |(path, size, number): &(String, u64, usize)| LicenceFile {
            path: path.clone(),
            bytes: texts[*number].clone(),
            size: *size,
        };
        self.files.iter().map(file).collect()
    }

    fn python(&self, texts: &[Vec<u8>]) -> PythonLicenceEvidence {
        PythonLicenceEvidence {
            expression: self.expression.clone(),
            free_text: self.licence.clone(),
            classifiers: self.classifiers.clone(),
            files: self.files(texts),
        }
    }

    fn debian(&self, texts: &[Vec<u8>]) -> DebianLicenceEvidence {
        DebianLicenceEvidence {
            copyright: self.files(texts).pop(),
        }
    }
}

fn pack() -> (Vec<Package>, Vec<Vec<u8>>) {
    let packed: &[u8] = include_bytes!("licence_set/evidence.json.xz");
    let mut json = String::new();
    liblzma::read::XzDecoder::new(packed)
        .read_to_string(&mut json)
        .unwrap();
    let pack: Pack = serde_json::from_str(&json).unwrap();
    let bytes = |text: &String| {
        text.chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect()
    };
    (pack.packages, pack.texts.iter().map(bytes).collect())
}

/// The licence of each package, by ecosystem and name.
fn labels() -> BTreeMap<(String, String), LicenceExpression> {
    let lines = include_str!("licence_set/labels.csv").lines().skip(1);
    let row = |line: &str| {
        let mut cells = line.split(',');
        let mut cell = || cells.next().unwrap().to_owned();
        let (ecosystem, package, _version, licence) = (cell(), cell(), cell(), cell());
        ((ecosystem, package), licence.parse().unwrap())
    };
    lines.map(row).collect()
}

#[derive(Default)]
struct Score {
    packages: usize,
    answered: usize,
    right: usize,
    time: Duration,
    wrong: Vec<String>,
    silent: Vec<String>,
}

impl Score {
    fn count(&mut self, package: &str, label: &LicenceExpression, answer: &LicenceAnswer, time: Duration) {
        self.packages += 1;
        self.time += time;
        match &answer.expression {
            Some(found) if answer.sureness >= Sureness::High => {
                self.answered += 1;
                if found == label {
                    self.right += 1;
                } else {
                    self.wrong
                        .push(format!("{package}: `{found}`, the label is `{label}`"));
                }
            }
            _ => self.silent.push(package.to_owned()),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "some hundreds of packages")]
    fn precision(&self) -> f64 {
        self.right as f64 / self.answered as f64
    }

    #[expect(clippy::cast_precision_loss, reason = "some hundreds of packages")]
    fn coverage(&self) -> f64 {
        self.answered as f64 / self.packages as f64
    }

    fn row(&self, name: &str) -> String {
        format!(
            "| {name} | {} | {:.3} | {:.3} | {:.0} ms |",
            self.packages,
            self.precision(),
            self.coverage(),
            self.time.as_secs_f64() * 1000.0
        )
    }
}

#[test]
fn the_labelled_set_is_answered_precisely() {
    let (packages, texts) = pack();
    let labels = labels();
    let (mut python, mut withheld, mut debian) = (Score::default(), Score::default(), Score::default());
    // The texts to compare with are read once.
    let started = Instant::now();
    let _ = of_debian(
        &packages
            .iter()
            .find(|package| package.ecosystem == "debian")
            .unwrap()
            .debian(&texts),
    );
    let _ = of_python(&PythonLicenceEvidence {
        files: vec![LicenceFile {
            path: "LICENSE".to_owned(),
            bytes: b"a b c d e".to_vec(),
            size: 9,
        }],
        ..PythonLicenceEvidence::default()
    });
    let first = started.elapsed();
    for package in &packages {
        let key = (package.ecosystem.clone(), package.name.clone());
        let label = labels.get(&key).unwrap();
        let name = &package.name;
        if package.ecosystem == "debian" {
            let evidence = package.debian(&texts);
            let started = Instant::now();
            let answer = of_debian(&evidence);
            debian.count(name, label, &answer, started.elapsed());
        } else {
            let mut evidence = package.python(&texts);
            let started = Instant::now();
            let answer = of_python(&evidence);
            python.count(name, label, &answer, started.elapsed());
            if evidence.expression.take().is_some()
                && !(evidence.files.is_empty() && evidence.classifiers.is_empty())
            {
                let started = Instant::now();
                let answer = of_python(&evidence);
                withheld.count(name, label, &answer, started.elapsed());
            }
        }
    }
    println!("| licences | packages | precision | coverage | time of all |\n|---|--:|--:|--:|--:|");
    println!("{}", python.row("Python"));
    println!("{}", withheld.row("Python, `License-Expression` withheld"));
    println!("{}", debian.row("Debian"));
    println!(
        "\nreading the list's texts, once: {:.0} ms",
        first.as_secs_f64() * 1000.0
    );
    for (name, score) in [("Python", &python), ("withheld", &withheld), ("Debian", &debian)] {
        println!("{name}, wrong: {:#?}", score.wrong);
        println!("{name}, not sure: {}", score.silent.join(", "));
    }
    assert!(python.packages >= 150 && debian.packages >= 150);
    for score in [&python, &debian] {
        assert!(score.precision() >= 0.99 && score.coverage() >= 0.97);
    }
}

fn python(
    expression: Option<&str>,
    free_text: Option<&str>,
    files: &[(&str, &[u8])],
) -> PythonLicenceEvidence {
    let file = |(path, bytes): &(&str, &[u8])| LicenceFile {
        path: (*path).to_owned(),
        bytes: bytes.to_vec(),
        size: bytes.len() as u64,
    };
    PythonLicenceEvidence {
        expression: expression.map(str::to_owned),
        free_text: free_text.map(str::to_owned),
        classifiers: Vec::new(),
        files: files.iter().map(file).collect(),
    }
}

fn judged(evidence: &PythonLicenceEvidence) -> (LicenceVerdict, Option<&'static str>) {
    let judgement = judge(&of_python(evidence), &LicenceRules::python());
    (
        judgement.verdict,
        judgement.code.map(cooper_gate::licences::LicenceCode::as_str),
    )
}

/// The five failures of licence checks that search texts for patterns.
#[test]
fn the_known_failures_of_patterns_do_not_happen() {
    use LicenceVerdict::{Hold, Pass};
    // `MIT` in LIMITED, `ISC` in DISCLAIMER.
    let limited = python(None, Some("PROPRIETARY LIMITED USE"), &[]);
    assert_eq!(judged(&limited), (Hold, Some("LICENCE-UNKNOWN")));
    let disclaimer = python(
        None,
        Some("SEE DISCLAIMER"),
        &[("LICENSE", b"DISCLAIMER: no warranty. LIMITED use.")],
    );
    assert_eq!(judged(&disclaimer), (Hold, Some("LICENCE-UNKNOWN")));
    // `CC-BY` in `CC-BY-NC`.
    assert_eq!(judged(&python(None, Some("CC-BY-4.0"), &[])), (Pass, None));
    assert_eq!(
        judged(&python(None, Some("CC-BY-NC-4.0"), &[])),
        (Hold, Some("LICENCE-DENIED"))
    );
    assert_eq!(
        judged(&python(Some("CC-BY-NC-SA-4.0"), None, &[])),
        (Hold, Some("LICENCE-DENIED"))
    );
    // A package without any licence passed silently.
    assert_eq!(judged(&python(None, None, &[])), (Hold, Some("LICENCE-MISSING")));
    assert_eq!(
        judged(&python(None, Some("UNKNOWN"), &[])),
        (Hold, Some("LICENCE-MISSING"))
    );
    // `GPL OR MIT` failed.
    assert_eq!(
        judged(&python(Some("GPL-3.0-or-later OR MIT"), None, &[])),
        (Pass, None)
    );
    assert_eq!(
        judged(&python(Some("GPL-3.0-or-later AND MIT"), None, &[])),
        (Hold, Some("LICENCE-DENIED"))
    );
}

#[test]
fn sources_that_contradict_each_other_hold_where_one_would_not_pass() {
    let mit = spdx_mit();
    let other = python(None, Some("GPLv3"), &[("LICENSE", mit.as_bytes())]);
    assert_eq!(
        judged(&other),
        (LicenceVerdict::Hold, Some("LICENCE-CONTRADICTION"))
    );
    assert_eq!(
        of_python(&other).contradictions,
        ["the licence file LICENSE says `MIT`, the License field says `GPL-3.0-only`"]
    );
    let both_pass = python(None, Some("ISC"), &[("LICENSE", mit.as_bytes())]);
    assert_eq!(judged(&both_pass), (LicenceVerdict::Pass, None));
}

#[test]
fn a_licence_with_a_restriction_is_not_the_licence() {
    let mit = spdx_mit();
    let plain = python(None, None, &[("LICENSE", mit.as_bytes())]);
    assert_eq!(judged(&plain), (LicenceVerdict::Pass, None));
    let restricted = format!("{mit}\n\nThe Software is for non-commercial use only.\n");
    let restricted = python(None, None, &[("LICENSE", restricted.as_bytes())]);
    assert_eq!(
        judged(&restricted),
        (LicenceVerdict::Hold, Some("LICENCE-UNSURE"))
    );
}

#[test]
fn texts_in_odd_encodings_are_read() {
    let mit = spdx_mit();
    let utf16: Vec<u8> = [0xFF, 0xFE]
        .into_iter()
        .chain(mit.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let latin1 = [
        b"Copyright (c) 2001 J\xFCrgen M\xFCller\n".as_slice(),
        mit.as_bytes(),
    ]
    .concat();
    let with_zeros = [b"\0\0\0".as_slice(), mit.as_bytes(), b"\0"].concat();
    let with_mark = [b"\xEF\xBB\xBF".as_slice(), mit.as_bytes()].concat();
    for bytes in [utf16, latin1, with_zeros, with_mark] {
        let answer = of_python(&python(None, None, &[("LICENSE", &bytes)]));
        assert_eq!(answer.expression.unwrap().to_string(), "MIT");
        assert_eq!(answer.sureness, Sureness::High);
    }
}

#[test]
fn deep_parentheses_in_metadata_are_told_and_passed_over() {
    let deep = format!("{}MIT{}", "(".repeat(10_000), ")".repeat(10_000));
    let answer = of_python(&python(Some(&deep), Some("MIT"), &[]));
    assert_eq!(answer.expression.unwrap().to_string(), "MIT");
    let note = answer.statements[0].note.as_deref().unwrap();
    assert!(note.contains("more than"), "{note}");
    assert!(answer.statements[0].said.len() < 500);
}

/// The licence as packages have it.
fn spdx_mit() -> String {
    let (packages, texts) = pack();
    let six = packages.iter().find(|package| package.name == "six").unwrap();
    String::from_utf8(texts[six.files[0].2].clone()).unwrap()
}
