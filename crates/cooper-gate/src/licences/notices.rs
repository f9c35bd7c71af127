//! Sentences that grant a licence without giving its text: `under the terms of the GNU General Public License … either
//! version 2 of the License, or (at your option) any later version`, `SPDX-License-Identifier: …`, references to the texts
//! that every Debian system has.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::expression::LicenceExpression;
use super::names;

/// How far from a licence's name its version may stand, in words.
const REACH: usize = 45;
/// The most that are told of one text.
const NOTICES_MAX: usize = 64;

/// A grant or a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What is granted.
    pub(crate) expression: LicenceExpression,
    /// The place of its first word.
    pub(crate) at: usize,
    /// Only a pointer to a text: `/usr/share/common-licenses/GPL-2`, a title. It counts where nothing else is said.
    pub(crate) is_reference: bool,
}

/// Phrases that are a licence's name with its version, as words.
const PHRASES: &[(&str, &str)] = &[
    ("apache license version 2", "Apache-2.0"),
    ("apache license 2", "Apache-2.0"),
    ("apache software license version 2", "Apache-2.0"),
    ("apache software license 2", "Apache-2.0"),
    ("apache license v2", "Apache-2.0"),
    ("apache org licenses license 2", "Apache-2.0"),
    ("mozilla public license version 2", "MPL-2.0"),
    ("mozilla public license v 2", "MPL-2.0"),
    ("mozilla public license 2", "MPL-2.0"),
    ("zope public license zpl version 2.1", "ZPL-2.1"),
    ("zope public license version 2.1", "ZPL-2.1"),
    ("boost software license version 1", "BSL-1.0"),
    ("eclipse public license v 2", "EPL-2.0"),
    ("eclipse public license version 2", "EPL-2.0"),
    ("bsd 3 clause license", "BSD-3-Clause"),
    ("3 clause bsd license", "BSD-3-Clause"),
    ("new bsd license", "BSD-3-Clause"),
    ("modified bsd license", "BSD-3-Clause"),
    ("bsd 2 clause license", "BSD-2-Clause"),
    ("2 clause bsd license", "BSD-2-Clause"),
    ("simplified bsd license", "BSD-2-Clause"),
    ("under the mit license", "MIT"),
    ("under the terms of the mit license", "MIT"),
    ("under an mit license", "MIT"),
    ("under mit license", "MIT"),
    ("licensed under mit", "MIT"),
    ("the mit license mit", "MIT"),
    ("under the isc license", "ISC"),
    (
        "same terms as perl itself",
        "Artistic-1.0-Perl OR GPL-1.0-or-later",
    ),
    ("python software foundation license", "PSF-2.0"),
    ("in the public domain", "LicenseRef-Public-Domain"),
    ("into the public domain", "LicenseRef-Public-Domain"),
    ("to the public domain", "LicenseRef-Public-Domain"),
    ("sil open font license version 1.1", "OFL-1.1"),
    ("cc0 1.0 universal", "CC0-1.0"),
];

/// The notices among these words, in their order. `is_free` tells of a place whether no licence's text explains it.
pub(crate) fn find(words: &[String], is_free: &dyn Fn(usize) -> bool) -> Vec<Notice> {
    let mut found: Vec<Notice> = Vec::new();
    for at in 0..words.len() {
        if !is_free(at) {
            continue;
        }
        let notice = gnu(words, at)
            .or_else(|| phrase(words, at))
            .or_else(|| identifier(words, at))
            .or_else(|| common_licence(words, at));
        let Some(notice) = notice else {
            continue;
        };
        if !found
            .iter()
            .any(|known| known.expression == notice.expression && known.is_reference == notice.is_reference)
        {
            found.push(notice);
        }
        if found.len() == NOTICES_MAX {
            break;
        }
    }
    found
}

fn starts_with(words: &[String], at: usize, phrase: &str) -> bool {
    let mut words = words[at.min(words.len())..].iter();
    phrase.split(' ').all(|part| {
        words.next().is_some_and(|word| {
            let plain = word.trim_start_matches('v');
            word == part || plain == part || plain.strip_suffix(".0") == Some(part)
        })
    })
}

fn notice(spdx: &str, at: usize, is_reference: bool) -> Option<Notice> {
    let expression = LicenceExpression::parse(spdx).ok()?;
    Some(Notice {
        expression,
        at,
        is_reference,
    })
}

/// The phrases by their first words.
static BY_FIRST_WORD: LazyLock<BTreeMap<&'static str, Vec<(&'static str, &'static str)>>> =
    LazyLock::new(|| {
        let mut by_first: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (phrase, spdx) in PHRASES {
            let first = phrase.split(' ').next().unwrap_or(phrase);
            by_first.entry(first).or_default().push((phrase, spdx));
        }
        by_first
    });

fn phrase(words: &[String], at: usize) -> Option<Notice> {
    let candidates = BY_FIRST_WORD.get(words[at].as_str())?;
    let (_, spdx) = candidates
        .iter()
        .find(|(phrase, _)| starts_with(words, at, phrase))?;
    notice(spdx, at, false)
}

/// `SPDX-License-Identifier: EXPRESSION`, of which words keep identifiers apart: only single ones are read.
fn identifier(words: &[String], at: usize) -> Option<Notice> {
    if !starts_with(words, at, "spdx license identifier") {
        return None;
    }
    let rest = &words[at + 3..words.len().min(at + 8)];
    let longest = (1..=rest.len()).rev().find_map(|count| {
        let name = rest[..count].join("-");
        names::short_name(&name)
    });
    notice(&longest?, at, false)
}

/// `/usr/share/common-licenses/NAME`.
fn common_licence(words: &[String], at: usize) -> Option<Notice> {
    if !starts_with(words, at, "common licenses") {
        return None;
    }
    let family = words.get(at + 2)?;
    let next = words.get(at + 3).map(String::as_str);
    let version = next
        .filter(|word| word.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or_default();
    let spdx = match (family.as_str(), version) {
        ("gpl" | "lgpl" | "gfdl" | "mpl", "") => return None,
        ("apache", _) => "Apache-2.0".to_owned(),
        ("artistic", _) => "Artistic-1.0-Perl".to_owned(),
        ("bsd", _) => "BSD-3-Clause".to_owned(),
        ("cc0", _) => "CC0-1.0".to_owned(),
        (family, version) => names::short_name(&format!("{family}-{version}"))?,
    };
    notice(&spdx, at, true)
}

/// A licence of the GNU family by its name, with the version that stands near.
fn gnu(words: &[String], at: usize) -> Option<Notice> {
    const NAMES: [(&str, &str); 12] = [
        ("gnu affero general public license", "AGPL"),
        ("gnu lesser general public license", "LGPL"),
        ("gnu library general public license", "LGPL"),
        ("gnu library public license", "LGPL"),
        ("gnu general public license", "GPL"),
        ("gnu free documentation license", "GFDL"),
        ("gnu lgpl", "LGPL"),
        ("gnu gpl", "GPL"),
        ("gnu fdl", "GFDL"),
        ("agpl", "AGPL"),
        ("lgpl", "LGPL"),
        ("gpl", "GPL"),
    ];
    if !words[at].starts_with(['g', 'l', 'a']) {
        return None;
    }
    if at > 0 && words[at - 1] == "licenses" {
        // The path of a text.
        return None;
    }
    if let Some((family, number, plus)) = joined_name(&words[at]) {
        return gnu_notice(family, &number, plus || is_or_later(words, at + 1), at);
    }
    let (name, family) = NAMES.iter().find(|(name, _)| starts_with(words, at, name))?;
    let after = at + name.split(' ').count();
    let (version, or_later) = if name.contains(' ') {
        version_after(words, after).or_else(|| version_before(words, at))?
    } else {
        version_beside(words, after)?
    };
    let family = match at.checked_sub(1).map(|before| words[before].as_str()) {
        Some("affero") => "AGPL",
        Some("lesser" | "library") => "LGPL",
        _ => family,
    };
    gnu_notice(family, &version, or_later, at)
}

/// `gplv2+`, `lgplv3`
fn joined_name(word: &str) -> Option<(&'static str, String, bool)> {
    let families = [("agplv", "AGPL"), ("lgplv", "LGPL"), ("gplv", "GPL")];
    let split = |(name, family): &(&str, &'static str)| Some((word.strip_prefix(name)?, *family));
    let (rest, family) = families.iter().find_map(split)?;
    let (number, plus) = version(rest)?;
    Some((family, number, plus))
}

fn gnu_notice(family: &str, version: &str, or_later: bool, at: usize) -> Option<Notice> {
    let version = if version.contains('.') {
        version.to_owned()
    } else {
        format!("{version}.0")
    };
    let suffix = if or_later { "-or-later" } else { "-only" };
    notice(&format!("{family}-{version}{suffix}"), at, false)
}

/// `… as published by the Free Software Foundation; either version 2 of the License, or (at your option) any later version`.
fn version_after(words: &[String], from: usize) -> Option<(String, bool)> {
    let end = words.len().min(from + REACH);
    for at in from..end {
        // Another licence's name begins.
        if words[at] == "gnu" {
            return None;
        }
        let direct = at < from + 3;
        let after_word = matches!(words[at].as_str(), "version" | "versions" | "v");
        let candidate = if after_word { at + 1 } else { at };
        let Some(version) = words
            .get(candidate)
            .filter(|_| after_word || direct)
            .and_then(|word| version(word))
        else {
            continue;
        };
        let or_later = version.1 || is_or_later(words, candidate + 1);
        return Some((version.0, or_later));
    }
    None
}

/// `GPL version 2`, `LGPLv2.1+`: the short names need their version beside them.
fn version_beside(words: &[String], after: usize) -> Option<(String, bool)> {
    let skipped = usize::from(
        words
            .get(after)
            .is_some_and(|word| word == "version" || word == "v"),
    );
    let (number, plus) = version(words.get(after + skipped)?)?;
    Some((number, plus || is_or_later(words, after + skipped + 1)))
}

/// `version 2 of the GNU General Public License`.
fn version_before(words: &[String], name_at: usize) -> Option<(String, bool)> {
    let from = name_at.saturating_sub(16);
    let at = (from..name_at).rev().find(|at| words[*at] == "version")?;
    let (number, plus) = version(words.get(at + 1)?)?;
    Some((number, plus || is_or_later(words, at + 2)))
}

fn version(word: &str) -> Option<(String, bool)> {
    let (word, plus) = word.strip_suffix('+').map_or((word, false), |word| (word, true));
    let number = word.trim_start_matches('v');
    let number = number.strip_suffix(".0").unwrap_or(number);
    matches!(number, "1" | "2" | "2.1" | "3" | "1.1" | "1.2" | "1.3").then(|| (number.to_owned(), plus))
}

/// Whether what follows a version opens it to later ones.
fn is_or_later(words: &[String], from: usize) -> bool {
    let next = &words[from.min(words.len())..words.len().min(from + 14)];
    let has = |pair: [&str; 2]| {
        next.windows(2)
            .any(|found| found[0] == pair[0] && found[1] == pair[1])
    };
    has(["any", "later"])
        || has(["or", "later"])
        || has(["or", "newer"])
        || has(["later", "version"])
        || has(["any", "newer"])
}

#[cfg(test)]
mod tests {
    use super::super::words::words;
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let words = words(text);
        find(&words, &|_| true)
            .iter()
            .map(|notice| notice.expression.to_string())
            .collect()
    }

    #[test]
    fn grants_are_read_with_their_versions() {
        for (text, means) in [
            (
                "under the terms of the GNU General Public License as published by the Free Software Foundation; either \
                 version 2 of the License, or (at your option) any later version.",
                vec!["GPL-2.0-or-later"],
            ),
            (
                "under the terms of the GNU General Public License version 2 as published by the FSF.",
                vec!["GPL-2.0-only"],
            ),
            (
                "either version 2.1 of the GNU Lesser General Public License, or any later version",
                vec!["LGPL-2.1-or-later"],
            ),
            (
                "distributed under version 3 of the GNU General Public License",
                vec!["GPL-3.0-only"],
            ),
            ("GNU GPL v3+", vec!["GPL-3.0-or-later"]),
            (
                "socat is licensed under the GPL version 2. The full text",
                vec!["GPL-2.0-only"],
            ),
            ("under the GPL, see there", vec![]),
            ("GPL or GPLv2+ (see there)", vec!["GPL-2.0-or-later"]),
            ("GNU AFFERO GPL 3.0", vec!["AGPL-3.0-only"]),
            (
                "Licensed under the Apache License, Version 2.0 (the \"License\");",
                vec!["Apache-2.0"],
            ),
            (
                "under the same terms as Perl itself",
                vec!["Artistic-1.0-Perl OR GPL-1.0-or-later"],
            ),
            ("SPDX-License-Identifier: BSD-3-Clause\n", vec!["BSD-3-Clause"]),
            ("see /usr/share/common-licenses/LGPL-2.1", vec!["LGPL-2.1-only"]),
            ("see /usr/share/common-licenses/GPL", vec![]),
            ("SUBMIT LICENSED LIMITED DISCLAIMER", vec![]),
        ] {
            assert_eq!(found(text), means, "{text}");
        }
    }
}
