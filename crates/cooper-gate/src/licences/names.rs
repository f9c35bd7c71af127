//! What people call licences: identifiers, Debian's short names, classifiers and free text, each read whole.
//!
//! Nothing is searched for inside of a text: a text is brought to a *key* (its words in lower case without `the`,
//! `license`, `version` and so on, versions without `.0`), and the whole key must be in the table. So `MIT` is not found
//! in `LIMITED`, nor `CC-BY` in `CC-BY-NC`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::expression::LicenceExpression;
use super::tables::{ALIASES, DEPRECATED, EXCEPTION_ALIASES, NOTHING, VAGUE};

/// The most bytes of a free text that are quoted.
const EXCERPT_CHARS: usize = 120;
/// Longer is no name of a licence.
const NAME_BYTES_MAX: usize = 400;

/// How a text was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reading {
    /// As this licence.
    Licence(LicenceExpression),
    /// It names a family of licences or a way of licensing, not a licence.
    Vague(Vague),
    /// It says nothing: empty, `UNKNOWN`.
    Nothing,
    /// It says something that is not understood.
    Unreadable,
}

/// A text that leaves open which licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vague {
    /// The key.
    pub(crate) key: &'static str,
    /// Identifiers that it may mean begin so; empty where it may mean anything.
    pub(crate) family: &'static str,
    /// What it means nearly always.
    pub(crate) guess: Option<&'static str>,
}

impl Vague {
    /// Whether an expression may be what was meant.
    pub(crate) fn admits(&self, expression: &LicenceExpression) -> bool {
        self.family.is_empty()
            || expression
                .terms()
                .iter()
                .any(|term| term.id.starts_with(self.family) || self.guess == Some(term.id.as_str()))
    }
}

impl Reading {
    /// What a name comes to that reserves all rights: no licence that could be concluded, and one that contradicts.
    pub(crate) fn reserved(&self) -> Option<LicenceExpression> {
        const RESERVED: [&str; 5] = [
            "commercial",
            "free for non commercial use",
            "free to use but restricted",
            "other proprietary",
            "proprietary",
        ];
        match self {
            Self::Vague(vague) if RESERVED.contains(&vague.key) => {
                Some(LicenceExpression::of_id("LicenseRef-Proprietary"))
            }
            _ => None,
        }
    }
}

/// The identifier of an exception, without regard to case.
pub(crate) fn exception(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let listed = spdx::identifiers::EXCEPTIONS
        .iter()
        .find(|exception| exception.name.eq_ignore_ascii_case(name));
    let alias = || EXCEPTION_ALIASES.iter().find(|(alias, _)| *alias == lower);
    listed
        .map(|exception| exception.name)
        .or_else(|| alias().map(|(_, id)| *id))
}

/// What a name without blanks means, as SPDX: an identifier, or a short name of Debian's copyright files.
pub(crate) fn short_name(name: &str) -> Option<String> {
    if name.len() > NAME_BYTES_MAX || !name.is_ascii() {
        return None;
    }
    if let Some(id) = listed(name) {
        return Some(id.to_owned());
    }
    if let Some(known) = KEYS.get(key(name).as_str()) {
        return Some(grouped(known));
    }
    let base = name.strip_suffix('+')?;
    listed(base).map(|id| match id.strip_suffix("-only") {
        Some(family) => format!("{family}-or-later"),
        None => format!("{id}+"),
    })
}

/// An alias that is an expression must stay one operand.
fn grouped(expression: &str) -> String {
    if expression.contains(" OR ") || expression.contains(" AND ") {
        format!("( {expression} )")
    } else {
        expression.to_owned()
    }
}

/// An identifier of the list in its spelling, deprecated ones by what they mean.
fn listed(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    IDS.get(lower.as_str()).copied()
}

/// Every identifier by its lower case.
static IDS: LazyLock<BTreeMap<String, &'static str>> = LazyLock::new(|| {
    let all = spdx::identifiers::LICENSES.iter();
    let plain = all.map(|licence| (licence.name.to_ascii_lowercase(), licence.name));
    let replaced = DEPRECATED
        .iter()
        .map(|(name, by)| (name.to_ascii_lowercase(), *by));
    plain.chain(replaced).collect()
});

/// What a key means: identifiers and full names of the list, then our own table.
static KEYS: LazyLock<BTreeMap<String, &'static str>> = LazyLock::new(|| {
    let all = || spdx::identifiers::LICENSES.iter();
    let meaning = |name: &'static str| listed(name).unwrap_or(name);
    let full = all().map(|licence| (key(licence.full_name), meaning(licence.name)));
    let ids = all().map(|licence| (key(licence.name), meaning(licence.name)));
    let own = ALIASES.iter().map(|(name, means)| (key(name), *means));
    let mut keys: BTreeMap<String, &'static str> = full.chain(ids).chain(own).collect();
    // What is vague is never an identifier's short form, whatever the list has.
    for vague in VAGUE {
        keys.remove(vague.key);
    }
    keys.remove("");
    keys
});

/// The words of a name that tell licences apart, in lower case with one blank between.
pub(crate) fn key(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let lower = text.to_lowercase();
    let parts = lower.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '+'));
    for part in parts {
        let part = part.trim_matches('.');
        let (name, number) = split_version(part);
        for word in [name, number] {
            push_word(&mut words, word);
        }
    }
    let joined = words.join(" ");
    PHRASES
        .iter()
        .fold(joined, |text, (from, to)| replace_words(&text, from, to))
}

/// Phrases that mean one word, in the order in which they are replaced.
const PHRASES: &[(&str, &str)] = &[
    ("or any later", "+"),
    ("or later", "+"),
    ("or newer", "+"),
    ("or above", "+"),
    ("or greater", "+"),
    ("or higher", "+"),
    ("and later", "+"),
    ("and above", "+"),
    ("and newer", "+"),
    (" +", "+"),
    ("gnu ", ""),
    ("lesser general public", "lgpl"),
    ("library general public", "lgpl"),
    ("library or lesser general public", "lgpl"),
    ("library or lgpl", "lgpl"),
    ("affero general public", "agpl"),
    ("general public", "gpl"),
    ("lesser gpl", "lgpl"),
    ("affero gpl", "agpl"),
    ("mozilla public", "mpl"),
    ("python foundation", "psf"),
    ("gpl gpl", "gpl"),
    ("lgpl lgpl", "lgpl"),
    ("three clause", "3 clause"),
    ("two clause", "2 clause"),
    ("clauses", "clause"),
    (" only", ""),
];

/// Replace whole words only.
fn replace_words(text: &str, from: &str, to: &str) -> String {
    if !text.contains(from) {
        return text.to_owned();
    }
    let (padded, from_padded) = (format!(" {text} "), format!(" {} ", from.trim()));
    let to_padded = match (from.starts_with(' '), to) {
        // ` +` and ` only` hang on the word before.
        (true, to) => format!("{to} "),
        (false, "") => " ".to_owned(),
        (false, to) => format!(" {to} "),
    };
    padded.replace(&from_padded, &to_padded).trim().to_owned()
}

const FILLERS: [&str; 12] = [
    "", "the", "license", "licence", "licenses", "licences", "licensed", "version", "v", "under", "software",
    "of",
];

fn push_word(words: &mut Vec<String>, word: &str) {
    if FILLERS.contains(&word) {
        return;
    }
    let numeric = word.trim_start_matches('v');
    let is_version = numeric.starts_with(|c: char| c.is_ascii_digit());
    let word = if is_version { numeric } else { word };
    let (base, plus) = word.strip_suffix('+').map_or((word, ""), |base| (base, "+"));
    let base = if is_version {
        base.strip_suffix(".0").unwrap_or(base)
    } else {
        base
    };
    words.push(format!("{base}{plus}"));
}

/// `gplv3+` → `gpl`, `v3+`: families whose version is written without a gap.
fn split_version(word: &str) -> (&str, &str) {
    const FAMILIES: [&str; 12] = [
        "agpl", "lgpl", "gpl", "mpl", "apache", "asl", "bsd", "zpl", "epl", "psf", "gfdl", "eupl",
    ];
    let version = |family: &str| {
        let rest = word.strip_prefix(family)?;
        let number = rest.strip_prefix('v').unwrap_or(rest);
        number.starts_with(|c: char| c.is_ascii_digit()).then_some(rest)
    };
    FAMILIES
        .iter()
        .find_map(|family| version(family).map(|rest| word.split_at(word.len() - rest.len())))
        .unwrap_or((word, ""))
}

/// Read a free text: the field `License`, or a classifier's last part.
pub(crate) fn free_text(text: &str) -> Reading {
    let text = text.trim();
    if text.len() > NAME_BYTES_MAX {
        return Reading::Unreadable;
    }
    let whole = named(text);
    if whole != Reading::Unreadable {
        return whole;
    }
    if let Ok(expression) = LicenceExpression::parse(text) {
        return Reading::Licence(expression);
    }
    if let Some(reading) = with_parentheses(text) {
        return reading;
    }
    joined(text).unwrap_or(Reading::Unreadable)
}

/// One name, whole.
fn named(text: &str) -> Reading {
    let key = key(text);
    if NOTHING.contains(&key.as_str()) {
        return Reading::Nothing;
    }
    if let Some(vague) = VAGUE.iter().find(|vague| vague.key == key) {
        return Reading::Vague(*vague);
    }
    match KEYS.get(&key).map(|means| LicenceExpression::parse(means)) {
        Some(Ok(expression)) => Reading::Licence(expression),
        _ => Reading::Unreadable,
    }
}

/// `Mozilla Public License 2.0 (MPL 2.0)`: the name and its short form, of which one must be known and the other not
/// known as something else.
fn with_parentheses(text: &str) -> Option<Reading> {
    let (name, rest) = text.split_once('(')?;
    let (inner, after) = rest.split_once(')')?;
    if name.trim().is_empty() || after.contains('(') {
        return None;
    }
    let outer = named(&format!("{name} {after}"));
    match (outer, named(inner)) {
        (Reading::Licence(outer), Reading::Licence(inner)) => {
            (outer == inner).then_some(Reading::Licence(outer))
        }
        (Reading::Licence(outer), Reading::Vague(inner)) => {
            inner.admits(&outer).then_some(Reading::Licence(outer))
        }
        (Reading::Vague(outer), Reading::Licence(inner)) => {
            outer.admits(&inner).then_some(Reading::Licence(inner))
        }
        (known @ (Reading::Licence(_) | Reading::Vague(_)), Reading::Unreadable | Reading::Vague(_)) => {
            Some(known)
        }
        (Reading::Unreadable, known @ Reading::Licence(_)) => Some(known),
        _ => None,
    }
}

/// Several names: `Apache 2.0 or BSD-3-Clause`, `MIT and PSF`. Commas leave the operator to the last pair.
fn joined(text: &str) -> Option<Reading> {
    let spaced = text.replace([',', ';', '/', '|', '&', '\n'], " , ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let is = |word: &str, operator: &str| word.eq_ignore_ascii_case(operator);
    let mut names: Vec<String> = vec![String::new()];
    let (mut or, mut and) = (text.contains('/') || text.contains('|'), text.contains('&'));
    for word in words {
        if is(word, "or") || is(word, "and") || word == "," {
            or |= is(word, "or");
            and |= is(word, "and");
            names.push(String::new());
        } else if let Some(last) = names.last_mut() {
            last.push(' ');
            last.push_str(word);
        }
    }
    names.retain(|name| !name.trim().is_empty());
    if names.len() < 2 || (or && and) {
        return None;
    }
    let parts: Option<Vec<LicenceExpression>> = names
        .iter()
        .map(|name| match named(name) {
            Reading::Licence(expression) => Some(expression),
            _ => with_parentheses(name).and_then(|reading| match reading {
                Reading::Licence(expression) => Some(expression),
                _ => None,
            }),
        })
        .collect();
    let parts = parts?;
    let joined = if or {
        LicenceExpression::any_of(parts)
    } else {
        LicenceExpression::all_of(parts)
    };
    joined.map(Reading::Licence)
}

/// Read a trove classifier; none where it does not speak of licences, or only says that they are approved.
pub(crate) fn classifier(text: &str) -> Option<Reading> {
    let (kind, rest) = text.split_once("::")?;
    if kind.trim() != "License" {
        return None;
    }
    match rest.rsplit("::").next()?.trim() {
        "OSI Approved" | "DFSG approved" => None,
        name => Some(free_text(name)),
    }
}

/// The beginning of a text for showing, in one line.
pub(crate) fn excerpt(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = line
        .chars()
        .filter(|c| !c.is_control())
        .take(EXCERPT_CHARS)
        .collect();
    if line.chars().count() > EXCERPT_CHARS {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match free_text(text) {
            Reading::Licence(expression) => expression.to_string(),
            Reading::Vague(vague) => format!("vague {}", vague.key),
            Reading::Nothing => "nothing".to_owned(),
            Reading::Unreadable => "unreadable".to_owned(),
        }
    }

    #[test]
    fn free_texts_that_occur_are_read_whole() {
        for (text, means) in [
            ("MIT License", "MIT"),
            ("The MIT License (MIT)", "MIT"),
            ("MIT license", "MIT"),
            ("Apache 2.0", "Apache-2.0"),
            ("Apache License, Version 2.0", "Apache-2.0"),
            ("Apache License v2", "Apache-2.0"),
            ("Apache Software License 2.0", "Apache-2.0"),
            ("ASL 2", "Apache-2.0"),
            ("Apache-2", "Apache-2.0"),
            ("Apache License", "vague apache"),
            ("BSD 3-Clause", "BSD-3-Clause"),
            ("BSD-3", "BSD-3-Clause"),
            ("3-Clause BSD License", "BSD-3-Clause"),
            ("new BSD", "BSD-3-Clause"),
            ("Modified BSD License", "BSD-3-Clause"),
            ("Simplified BSD", "BSD-2-Clause"),
            ("2-clause BSD", "BSD-2-Clause"),
            ("BSD", "vague bsd"),
            ("BSD License", "vague bsd"),
            ("GPLv2+", "GPL-2.0-or-later"),
            (
                "GNU General Public License v2 or later (GPLv2+)",
                "GPL-2.0-or-later",
            ),
            ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
            ("GPL v3 or later", "GPL-3.0-or-later"),
            ("GNU GPL", "vague gpl"),
            ("GPL", "vague gpl"),
            ("LGPL with exceptions", "vague lgpl with exceptions"),
            (
                "GNU Library or Lesser General Public License (LGPL)",
                "vague lgpl",
            ),
            (
                "GNU Lesser General Public License v2 or later (LGPLv2+)",
                "LGPL-2.0-or-later",
            ),
            ("LGPLv3+", "LGPL-3.0-or-later"),
            ("LGPL 2.1", "LGPL-2.1-only"),
            ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
            ("MPL-2.0", "MPL-2.0"),
            ("Python Software Foundation License", "PSF-2.0"),
            ("PSF", "PSF-2.0"),
            ("ISC License (ISCL)", "ISC"),
            ("Zope Public License", "vague zope public"),
            ("ZPL 2.1", "ZPL-2.1"),
            ("The Unlicense (Unlicense)", "Unlicense"),
            ("Historical Permission Notice and Disclaimer (HPND)", "HPND"),
            ("Public Domain", "LicenseRef-Public-Domain"),
            ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
            ("CC-BY-4.0", "CC-BY-4.0"),
            ("CC-BY-NC-4.0", "CC-BY-NC-4.0"),
            ("CC BY-NC 4.0", "CC-BY-NC-4.0"),
            ("Dual License", "vague dual"),
            ("Other/Proprietary License", "vague other proprietary"),
            ("UNKNOWN", "nothing"),
            ("", "nothing"),
            ("MIT OR Apache-2.0", "MIT OR Apache-2.0"),
            ("Apache 2.0 or BSD 3-Clause", "Apache-2.0 OR BSD-3-Clause"),
            ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
            ("MIT and PSF", "MIT AND PSF-2.0"),
            ("LIMITED", "unreadable"),
            ("DISCLAIMER", "unreadable"),
            ("MIT with a twist", "unreadable"),
            ("BSD, Public Domain", "unreadable"),
        ] {
            assert_eq!(read(text), means, "{text}");
        }
    }

    #[test]
    fn every_row_of_the_tables_means_something() {
        for (name, means) in ALIASES.iter().chain(DEPRECATED) {
            assert!(LicenceExpression::parse(means).is_ok(), "{name}: {means}");
        }
        for vague in VAGUE {
            assert_eq!(key(vague.key), vague.key, "the key of a vague name");
            if let Some(guess) = vague.guess {
                assert!(LicenceExpression::parse(guess).is_ok());
            }
        }
        for nothing in NOTHING {
            assert_eq!(&key(nothing), nothing);
        }
    }

    #[test]
    fn classifiers_are_read_by_their_last_part() {
        let read = |text| classifier(text).map(|reading| format!("{reading:?}"));
        assert!(
            read("License :: OSI Approved :: MIT License")
                .unwrap()
                .contains("MIT")
        );
        assert_eq!(read("License :: OSI Approved"), None);
        assert_eq!(read("Programming Language :: Python"), None);
    }
}
