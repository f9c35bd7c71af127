//! The licences of real packages: what is found, held against labels that two sources agree on.
//!
//! `licence_set/labels.csv` has a package a line: its licence, and the two sources that say so (what the package states, and
//! its licence text or another distribution's own record; never an answer of ours). Packages of which no two sources say the
//! same, or which versions of a licence are meant, are not in it. `licence_set/evidence.json.xz` has what the
//! packages say: metadata fields, licence files and copyright files, each text once; names of package hosts are replaced.
//! `fresh-labels.csv` and `fresh-evidence.json.xz` have the same of a sample that was drawn by lot and labelled before anything
//! was answered; there the label `NONE` says that no licence of the list is right.
//! `cargo xtask licences` prints the tables of both.

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

/// A set of packages: what they say, and the labels.
struct Set {
    packed: &'static [u8],
    labels: &'static str,
}

const LABELLED: Set = Set {
    packed: include_bytes!("licence_set/evidence.json.xz"),
    labels: include_str!("licence_set/labels.csv"),
};

const FRESH: Set = Set {
    packed: include_bytes!("licence_set/fresh-evidence.json.xz"),
    labels: include_str!("licence_set/fresh-labels.csv"),
};

fn pack(packed: &[u8]) -> (Vec<Package>, Vec<Vec<u8>>) {
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

/// The licence of each package, by ecosystem and name; `None` where none of the list is right.
fn labels(csv: &str) -> BTreeMap<(String, String), Option<LicenceExpression>> {
    let lines = csv.lines().skip(1);
    let row = |line: &str| {
        let mut cells = line.split(',');
        let mut cell = || cells.next().unwrap().to_owned();
        let (ecosystem, package, _version, licence) = (cell(), cell(), cell(), cell());
        let licence = (licence != "NONE").then(|| licence.parse().unwrap());
        ((ecosystem, package), licence)
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
    fn count(
        &mut self,
        package: &str,
        label: Option<&LicenceExpression>,
        answer: &LicenceAnswer,
        time: Duration,
    ) {
        self.packages += 1;
        self.time += time;
        let Some(label) = label else {
            return self.count_none(package, answer);
        };
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

    /// Silence is right, and is no answer that could have been given.
    fn count_none(&mut self, package: &str, answer: &LicenceAnswer) {
        match &answer.expression {
            Some(found) if answer.sureness >= Sureness::High => {
                self.answered += 1;
                self.wrong
                    .push(format!("{package}: `{found}`, and there is none"));
            }
            _ => self.packages -= 1,
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

/// How a set is answered: Python, the same without `License-Expression`, Debian.
struct Scores {
    python: Score,
    withheld: Score,
    debian: Score,
}

impl Scores {
    fn table(&self, first: Duration) -> String {
        let scores = [
            ("Python", &self.python),
            ("Python, `License-Expression` withheld", &self.withheld),
            ("Debian", &self.debian),
        ];
        let mut lines = vec![
            "| licences | packages | precision | coverage | time of all |\n|---|--:|--:|--:|--:|".to_owned(),
        ];
        lines.extend(scores.map(|(name, score)| score.row(name)));
        let first = first.as_secs_f64() * 1000.0;
        lines.push(format!("\nreading the list's texts, once: {first:.0} ms"));
        for (name, score) in scores {
            lines.push(format!("{name}, wrong: {:#?}", score.wrong));
            lines.push(format!("{name}, not sure: {}", score.silent.join(", ")));
        }
        lines.join("\n")
    }
}

#[test]
fn the_labelled_set_is_answered_precisely() {
    let (scores, first) = answered(&LABELLED);
    println!("{}", scores.table(first));
    let (python, debian) = (&scores.python, &scores.debian);
    assert!(python.packages >= 150 && debian.packages >= 150);
    for score in [python, debian] {
        assert!(score.precision() >= 0.99 && score.coverage() >= 0.97);
    }
}

#[test]
fn a_fresh_sample_is_answered() {
    let (scores, first) = answered(&FRESH);
    println!("{}", scores.table(first));
    let (python, debian) = (&scores.python, &scores.debian);
    assert!(python.packages >= 70 && debian.packages >= 80);
    for score in [python, debian] {
        assert!(score.precision() >= 0.98 && score.coverage() >= 0.97);
    }
}

fn answered(set: &Set) -> (Scores, Duration) {
    let (packages, texts) = pack(set.packed);
    let labels = labels(set.labels);
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
        let label = labels.get(&key).unwrap().as_ref();
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
    let scores = Scores {
        python,
        withheld,
        debian,
    };
    (scores, first)
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

/// A package that calls itself somebody's property, or has a long agreement, is not under what that mentions.
#[test]
fn an_agreement_is_not_what_it_mentions() {
    let gpl = "The debugger is under the terms of the GNU General Public License as published by the Free Software \
               Foundation, either version 3 of the License, or (at your option) any later version.\n";
    let agreement = |words: usize| {
        format!(
            "You accept this.\n{}\n{gpl}",
            "we own whatever you make ".repeat(words / 5)
        )
    };
    let answer = |field: Option<&str>, text: &str| {
        of_python(&python(
            None,
            field,
            &[("x-1.dist-info/LICENSE", text.as_bytes())],
        ))
    };
    assert_eq!(answer(None, gpl).sureness, Sureness::High);
    assert_eq!(answer(None, &agreement(2_000)).sureness, Sureness::Low);
    assert_eq!(
        answer(Some("GPL-3.0-or-later"), &agreement(2_000)).sureness,
        Sureness::High
    );
    assert_eq!(
        answer(Some("Our Proprietary License"), gpl).sureness,
        Sureness::Low
    );
    let mit = spdx_mit();
    let alien = "you pay for whatever ".repeat(400);
    let files = [
        ("x-1.dist-info/LICENSE", mit.as_bytes()),
        ("x-1.dist-info/LICENSE_PRO", alien.as_bytes()),
    ];
    assert_eq!(
        of_python(&python(None, Some("MIT"), &files)).sureness,
        Sureness::Low
    );
    assert_eq!(
        of_python(&python(None, Some("MIT"), &files[..1])).sureness,
        Sureness::High
    );
    let mut classified = python(None, None, &[("x-1.dist-info/LICENSE", gpl.as_bytes())]);
    classified.classifiers = vec!["License :: Other/Proprietary License".to_owned()];
    assert_eq!(of_python(&classified).sureness, Sureness::Low);
}

/// Files that are named after their licences are no offer where the package names one of them.
#[test]
fn files_of_several_licences_are_an_offer_only_where_that_is_usual() {
    let (packages, texts) = pack(FRESH.packed);
    let cmake = packages.iter().find(|package| package.name == "cmake").unwrap();
    let mut evidence = cmake.python(&texts);
    let shown = |evidence: &PythonLicenceEvidence| of_python(evidence).expression.unwrap().to_string();
    assert_eq!(shown(&evidence), "Apache-2.0 AND BSD-3-Clause");
    evidence.free_text = None;
    assert_eq!(shown(&evidence), "Apache-2.0 OR BSD-3-Clause");
}

#[test]
fn debian_forms_with_another_address_or_without_files_are_read() {
    let shown = |text: &str| {
        let copyright = LicenceFile {
            path: "usr/share/doc/x/copyright".to_owned(),
            bytes: text.as_bytes().to_vec(),
            size: text.len() as u64,
        };
        let answer = of_debian(&DebianLicenceEvidence {
            copyright: Some(copyright),
        });
        answer.expression.map(|expression| expression.to_string())
    };
    let by_revision = "Format: http://example.org/dep?revision=174\n\nFiles: install-sh\nCopyright: a\nLicense: X11\n\n\
                       Files: *\nCopyright: b\nLicense: GPL-3+\n";
    assert_eq!(shown(by_revision).as_deref(), Some("GPL-3.0-or-later"));
    let of_all = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nCopyright: a\nLicense: Expat\n\n\
                  Files: hbf.*\nCopyright: b\nLicense: BSD-2-clause\n";
    assert_eq!(shown(of_all).as_deref(), Some("MIT"));
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
    let (packages, texts) = pack(LABELLED.packed);
    let six = packages.iter().find(|package| package.name == "six").unwrap();
    String::from_utf8(texts[six.files[0].2].clone()).unwrap()
}
