//! The licence of a Debian package, from its copyright file: the machine-readable form (copyright-format 1.0, once
//! DEP-5), else its text.
//!
//! The answer is the licence of the main work, `Files: *`; what other files have is told beside it. The paragraph of
//! `debian/*` is about the packaging and counts for neither.

use std::collections::BTreeMap;

use super::answer::{LicenceAnswer, LicenceSource, LicenceStatement, Sureness};
use super::expression::LicenceExpression;
use super::names::{self, Reading};
use super::python::LicenceFile;
use super::reading::TextReading;
use super::words::decode;

/// The most paragraphs that are read.
const PARAGRAPHS_MAX: usize = 2_000;
/// The most licences that are looked up in one package.
const STATEMENTS_MAX: usize = 64;

/// What a Debian package says about its licence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DebianLicenceEvidence {
    /// `/usr/share/doc/PACKAGE/copyright`
    pub copyright: Option<LicenceFile>,
}

/// Find the licence of a Debian package.
pub fn of_debian(evidence: &DebianLicenceEvidence) -> LicenceAnswer {
    let Some(file) = &evidence.copyright else {
        return LicenceAnswer::silent();
    };
    let text = decode(&file.bytes).replace("\r\n", "\n");
    let machine_readable = MachineReadable::parse(&text).and_then(|parsed| parsed.answer());
    let mut answer = machine_readable.unwrap_or_else(|| of_text(&text));
    if file.size > super::words::TEXT_BYTES_MAX as u64
        && let Some(first) = answer.statements.first_mut()
    {
        // What is not read may say anything.
        answer.sureness = Sureness::Low;
        let cut = format!("of {} bytes only the beginning was read", file.size);
        first.note = Some(
            first
                .note
                .take()
                .map_or(cut.clone(), |note| format!("{note}; {cut}")),
        );
    }
    answer
}

/// A copyright file for readers only.
fn of_text(text: &str) -> LicenceAnswer {
    let upstream = without_packaging(text);
    let reading = TextReading::of(&upstream).of_the_whole();
    let own = reading.own();
    let statement = LicenceStatement {
        source: LicenceSource::CopyrightText,
        said: names::excerpt(text),
        read_as: own.clone(),
        note: reading.note(),
    };
    LicenceAnswer {
        source: own.is_some().then_some(LicenceSource::CopyrightText),
        sureness: if reading.is_sure() {
            Sureness::High
        } else {
            Sureness::Low
        },
        others: reading.others(),
        expression: own,
        statements: if text.trim().is_empty() {
            Vec::new()
        } else {
            vec![statement]
        },
        contradictions: Vec::new(),
    }
}

/// The text without the paragraphs that speak of the packaging.
fn without_packaging(text: &str) -> String {
    const MARKS: [&str; 8] = [
        "the debian packaging is",
        "the debian packaging information",
        "packaging is copyright",
        "files in the debian",
        "debian specific changes",
        "debian/*",
        "on top of debian",
        "debian packaging copyright",
    ];
    let is_packaging = |paragraph: &str| {
        let start: String = paragraph.chars().take(160).collect::<String>().to_lowercase();
        MARKS.iter().any(|mark| start.contains(mark))
    };
    let paragraphs: Vec<&str> = text.split("\n\n").collect();
    match paragraphs.iter().position(|paragraph| is_packaging(paragraph)) {
        // What it says of the packaging goes on to the end, where that comes last.
        Some(at) if at * 2 > paragraphs.len() => paragraphs[..at].join("\n\n"),
        Some(_) => paragraphs
            .into_iter()
            .filter(|paragraph| !is_packaging(paragraph))
            .collect::<Vec<_>>()
            .join("\n\n"),
        None => text.to_owned(),
    }
}

/// The fields of a paragraph that matter here.
#[derive(Debug, Default)]
struct Paragraph {
    files: Vec<String>,
    /// The first line of `License`.
    licence: Option<String>,
    /// What follows it.
    text: String,
}

struct MachineReadable {
    header: Paragraph,
    works: Vec<Paragraph>,
    /// The texts of licences, by their short names in lower case.
    texts: BTreeMap<String, String>,
}

impl MachineReadable {
    fn parse(text: &str) -> Option<Self> {
        let mut paragraphs = text
            .split("\n\n")
            .flat_map(|part| part.split("\n \n\n"))
            .filter(|paragraph| !paragraph.trim().is_empty())
            .take(PARAGRAPHS_MAX);
        let first = paragraphs.next()?;
        let format = value(first, "Format").or_else(|| value(first, "Format-Specification"))?;
        let format = format.to_lowercase();
        let is_named = ["copyright-format", "dep5", "dep-5", "dep.debian.net"]
            .iter()
            .any(|mark| format.contains(mark));
        let mut parsed = Self {
            header: Paragraph::parse(first),
            works: Vec::new(),
            texts: BTreeMap::new(),
        };
        for paragraph in paragraphs.map(Paragraph::of_body) {
            if let Some(name) = &paragraph.licence
                && !paragraph.text.is_empty()
            {
                parsed
                    .texts
                    .entry(name.to_lowercase())
                    .or_insert_with(|| paragraph.text.clone());
            }
            if !paragraph.files.is_empty() {
                parsed.works.push(paragraph);
            }
        }
        // By whatever address the format is called, it has paragraphs of files.
        let is_of_the_form = parsed.works.iter().any(|work| work.licence.is_some());
        (is_named || is_of_the_form).then_some(parsed)
    }

    /// None where it names no licence at all: then it is read as a text.
    fn answer(&self) -> Option<LicenceAnswer> {
        let is_packaging = |work: &&Paragraph| work.files.iter().all(|file| file.starts_with("debian/"));
        let upstream = || {
            self.works
                .iter()
                .filter(|work| !is_packaging(work) && work.licence.is_some())
        };
        let main = upstream()
            .find(|work| work.files.iter().any(|file| file == "*"))
            .or_else(|| self.header.licence.is_some().then_some(&self.header))
            .or_else(|| upstream().next())
            .or_else(|| self.works.iter().find(|work| work.licence.is_some()))?;
        let (expression, sureness, note) = self.licence(main);
        let mut statements = vec![statement(main, Some(expression.clone()), note)];
        let mut others: Vec<LicenceExpression> = Vec::new();
        let mut seen: Vec<&str> = main.licence.as_deref().into_iter().collect();
        for work in upstream() {
            let name = work.licence.as_deref().unwrap_or_default();
            if seen.contains(&name) || statements.len() >= STATEMENTS_MAX {
                continue;
            }
            seen.push(name);
            let (read_as, _, note) = self.licence(work);
            statements.push(statement(work, Some(read_as.clone()), note));
            others.push(read_as);
        }
        Some(LicenceAnswer {
            others: LicenceExpression::all_of(
                others
                    .into_iter()
                    .filter(|other| !expression.has_all_terms_of(other)),
            ),
            expression: Some(expression),
            source: Some(LicenceSource::Dep5),
            sureness,
            statements,
            contradictions: Vec::new(),
        })
    }

    /// The licence of a paragraph: by its short name, else by its text, else as a reference to what only it names.
    fn licence(&self, work: &Paragraph) -> (LicenceExpression, Sureness, Option<String>) {
        let name = work.licence.as_deref().unwrap_or_default();
        let text = if work.text.is_empty() {
            self.texts.get(&name.to_lowercase()).map_or("", String::as_str)
        } else {
            work.text.as_str()
        };
        if let Some((expression, sureness)) = self.by_name(name) {
            let note = (sureness == Sureness::Low)
                .then(|| "some of it is the package's own name for a licence".to_owned());
            return (expression, sureness, note);
        }
        let reading = TextReading::of(text);
        let vague = match names::free_text(name) {
            Reading::Vague(vague) => Some(vague),
            _ => None,
        };
        let fitting = vague.map_or_else(
            || reading.own(),
            |vague| reading.part_for(&vague).map(|part| part.expression.clone()),
        );
        if let Some(expression) = fitting {
            let sureness = if reading.is_sure() {
                Sureness::High
            } else {
                Sureness::Low
            };
            return (expression, sureness, reading.note());
        }
        let note = Some("the package's own name for a licence".to_owned());
        (reference(name), Sureness::Low, note)
    }

    /// `GPL-2+ or Artistic, and Expat`: names joined by `or` and `and`, commas close a group.
    fn by_name(&self, name: &str) -> Option<(LicenceExpression, Sureness)> {
        let mut sureness = Sureness::Exact;
        let name = name.replace('|', " or ");
        let mut groups: Vec<LicenceExpression> = Vec::new();
        let mut pending = None;
        for group in name.split(',') {
            let words: Vec<&str> = group.split_whitespace().collect();
            let (leading, words) = match words.first().copied() {
                Some(word @ ("and" | "or")) => (Some(word), &words[1..]),
                _ => (None, words.as_slice()),
            };
            if words.is_empty() {
                continue;
            }
            pending = pending.or(leading);
            groups.push(self.group(words, &mut sureness)?);
        }
        let joined = if pending == Some("or") {
            LicenceExpression::any_of(groups)
        } else {
            LicenceExpression::all_of(groups)
        };
        let is_known = |expression: &LicenceExpression| {
            let mut terms = expression.terms().into_iter();
            terms.any(|term| !term.id.starts_with(OWN_REFERENCE))
        };
        joined.filter(is_known).map(|expression| (expression, sureness))
    }

    /// Without commas: `and` binds closer than `or`.
    fn group(&self, words: &[&str], sureness: &mut Sureness) -> Option<LicenceExpression> {
        let mut choices = Vec::new();
        for choice in words.split(|word| word.eq_ignore_ascii_case("or") || *word == "/") {
            let parts = choice.split(|word| word.eq_ignore_ascii_case("and") || *word == "&");
            let parts: Option<Vec<_>> = parts.map(|part| self.single(part, sureness)).collect();
            choices.push(LicenceExpression::all_of(parts?)?);
        }
        LicenceExpression::any_of(choices)
    }

    /// `GPL-3+`, `GPL-2+ with OpenSSL exception`, `The MIT License`.
    fn single(&self, words: &[&str], sureness: &mut Sureness) -> Option<LicenceExpression> {
        let with = words.iter().position(|word| word.eq_ignore_ascii_case("with"));
        let (name, exception) = words.split_at(with.unwrap_or(words.len()));
        let joined = name.join(" ");
        let known = debian_name(&joined).or_else(|| match names::free_text(&joined) {
            Reading::Licence(expression) => Some(expression),
            _ => None,
        });
        let licence = known.unwrap_or_else(|| {
            let by_text = self.by_own_text(&joined);
            *sureness = (*sureness).min(if by_text.is_some() {
                Sureness::High
            } else {
                Sureness::Low
            });
            by_text.unwrap_or_else(|| reference(&joined))
        });
        if licence.terms().len() != 1 {
            return (!name.is_empty()).then_some(licence);
        }
        let [_, exception @ ..] = exception else {
            return Some(licence);
        };
        let name = exception.join("-").trim_end_matches(['.', ';']).to_owned();
        let id = names::exception(&name).map(str::to_owned);
        let versioned = || versioned_exception(&name, &licence.to_string());
        let id = id
            .or_else(versioned)
            .unwrap_or_else(|| format!("AdditionRef-{}", sanitised(&name)));
        LicenceExpression::parse(&format!("{licence} WITH {id}")).ok()
    }

    /// A name that only this file has, in a sum or a choice: its own paragraph tells.
    fn by_own_text(&self, name: &str) -> Option<LicenceExpression> {
        let text = self.texts.get(&name.to_lowercase())?;
        let reading = TextReading::of(text);
        reading.is_sure().then(|| reading.own()).flatten()
    }
}

/// Exceptions whose identifier has the version of the licence.
fn versioned_exception(name: &str, licence: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if lower.starts_with("autoconf") {
        let version = if licence.contains("3.0") { "3.0" } else { "2.0" };
        return Some(format!("Autoconf-exception-{version}"));
    }
    None
}

/// Short names that mean something else, or something closer, in Debian than elsewhere.
fn debian_name(name: &str) -> Option<LicenceExpression> {
    let spdx = match name.to_ascii_lowercase().as_str() {
        "artistic" | "artistic-1" | "artistic-1.0" | "perl-artistic" => "Artistic-1.0-Perl",
        "public-domain" | "pd" => "LicenseRef-Public-Domain",
        _ => return None,
    };
    LicenceExpression::parse(spdx).ok()
}

/// How references to names that only a package knows begin.
const OWN_REFERENCE: &str = "LicenseRef-Debian-";

/// `LicenseRef-…` of a name that only the package knows.
fn reference(name: &str) -> LicenceExpression {
    let name = sanitised(name);
    let name = if name.is_empty() { "unnamed" } else { &name };
    LicenceExpression::of_id(&format!("{OWN_REFERENCE}{name}"))
}

/// Only what an identifier may have.
fn sanitised(name: &str) -> String {
    let mapped = name.chars().take(60).map(|c| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    });
    mapped.collect::<String>().trim_matches('-').to_owned()
}

fn statement(work: &Paragraph, read_as: Option<LicenceExpression>, note: Option<String>) -> LicenceStatement {
    let files = match work.files.as_slice() {
        [] => "the header".to_owned(),
        [only] => only.clone(),
        [first, ..] => format!("{first} …"),
    };
    LicenceStatement {
        source: LicenceSource::Dep5,
        said: names::excerpt(&format!(
            "{files}: {}",
            work.licence.as_deref().unwrap_or_default()
        )),
        read_as,
        note,
    }
}

impl Paragraph {
    /// One after the header. Where it has holders and a licence but no files, it is about all of them.
    fn of_body(text: &str) -> Self {
        let mut paragraph = Self::parse(text);
        if paragraph.files.is_empty() && value(text, "Copyright").is_some() {
            paragraph.files.push("*".to_owned());
        }
        paragraph
    }

    fn parse(text: &str) -> Self {
        let licence = value(text, "License");
        let mut lines = licence.as_deref().unwrap_or_default().lines();
        let first = lines
            .next()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(str::to_owned);
        Self {
            files: value(text, "Files")
                .unwrap_or_default()
                .split([' ', '\t', '\n', ','])
                .filter(|file| !file.is_empty())
                .map(|file| file.trim_start_matches("./").to_owned())
                .collect(),
            licence: first,
            text: lines.collect::<Vec<_>>().join("\n"),
        }
    }
}

/// A field's value with its continuation lines. Names are compared without case.
fn value(paragraph: &str, name: &str) -> Option<String> {
    let mut lines = paragraph.lines();
    let first = lines.by_ref().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })?;
    let more = lines.take_while(|line| line.starts_with([' ', '\t']));
    Some(
        std::iter::once(first.as_str())
            .chain(more)
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> LicenceAnswer {
        of_debian(&DebianLicenceEvidence {
            copyright: Some(LicenceFile {
                path: "usr/share/doc/x/copyright".to_owned(),
                bytes: text.as_bytes().to_vec(),
                size: text.len() as u64,
            }),
        })
    }

    fn shown(licence: &str) -> String {
        let text = format!(
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nCopyright: x\nLicense: {licence}\n"
        );
        of(&text).expression.unwrap().to_string()
    }

    #[test]
    fn short_names_and_their_operators_are_read() {
        for (licence, means) in [
            ("Expat", "MIT"),
            ("GPL-2+", "GPL-2.0-or-later"),
            ("GPL-1+ or Artistic", "GPL-1.0-or-later OR Artistic-1.0-Perl"),
            ("GPL-2+ and LGPL-2.1+", "GPL-2.0-or-later AND LGPL-2.1-or-later"),
            (
                "GPL-2+ or Artistic-2.0, and BSD-3-clause",
                "(GPL-2.0-or-later OR Artistic-2.0) AND BSD-3-Clause",
            ),
            (
                "GPL-3+ with Autoconf exception",
                "GPL-3.0-or-later WITH Autoconf-exception-3.0",
            ),
            (
                "GPL-2+ with OpenSSL exception",
                "GPL-2.0-or-later WITH AdditionRef-OpenSSL-exception",
            ),
            ("MIT/X11", "MIT"),
            ("Apache-2.0 with LLVM exception", "Apache-2.0 WITH LLVM-exception"),
            ("public-domain", "LicenseRef-Public-Domain"),
            ("weird", "LicenseRef-Debian-weird"),
        ] {
            assert_eq!(shown(licence), means, "{licence}");
        }
    }

    #[test]
    fn the_main_work_is_told_apart_from_the_rest() {
        let answer = of(
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: x\n\n\
             Files: lib/zlib/*\nCopyright: z\nLicense: Zlib\n\n\
             Files:\n *\nCopyright: x\nLicense: BSD\n\n\
             Files: debian/*\nCopyright: d\nLicense: GPL-3+\n\n\
             License: BSD\n Redistribution and use under the 3-clause BSD license\n",
        );
        assert_eq!(answer.expression.unwrap().to_string(), "BSD-3-Clause");
        assert_eq!(answer.others.unwrap().to_string(), "Zlib");
        assert_eq!(answer.source, Some(LicenceSource::Dep5));
    }

    #[test]
    fn a_free_text_is_read_by_its_grants() {
        let answer = of("This package was debianized by X.\n\n\
             This program is free software; you can redistribute it and/or modify it under the terms of the GNU General\n\
             Public License as published by the Free Software Foundation; either version 2 of the License, or (at your\n\
             option) any later version.\n\nOn Debian systems see `/usr/share/common-licenses/GPL-2'.\n\n\
             The Debian packaging is (C) 2010, X and is licensed under the GPL, see /usr/share/common-licenses/GPL-3\n");
        assert_eq!(answer.expression.unwrap().to_string(), "GPL-2.0-or-later");
        assert_eq!(answer.source, Some(LicenceSource::CopyrightText));
        assert_eq!(answer.others, None);
    }

    #[test]
    fn of_a_file_that_is_too_long_nothing_is_sure() {
        let mut text =
            b"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\n\
            Copyright: x\nLicense: Expat\n\n"
                .to_vec();
        text.resize(super::super::words::TEXT_BYTES_MAX, b'\n');
        let answer = of_debian(&DebianLicenceEvidence {
            copyright: Some(LicenceFile {
                path: "usr/share/doc/x/copyright".to_owned(),
                bytes: text,
                size: 50 << 20,
            }),
        });
        assert_eq!(answer.expression.unwrap().to_string(), "MIT");
        assert_eq!(answer.sureness, Sureness::Low);
        let note = answer.statements[0].note.clone().unwrap();
        assert_eq!(note, "of 52428800 bytes only the beginning was read");
    }

    #[test]
    fn nothing_is_missing_and_something_odd_is_not() {
        assert!(of_debian(&DebianLicenceEvidence::default()).is_missing());
        assert!(of("").is_missing());
        let odd = of("Ask the author.");
        assert!(odd.expression.is_none() && !odd.is_missing());
    }
}
