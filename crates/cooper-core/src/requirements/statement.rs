//! One line: a requirement with its hashes, an inclusion, or a setting.

use std::collections::BTreeSet;

use super::fault::{Elsewhere, RequirementsFault};
use crate::digest::Digest;
use crate::python::{ParsePythonError, PythonRequirement};

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Statement {
    /// A requirement; without hashes the set is empty.
    Requirement {
        requirement: PythonRequirement,
        hashes: BTreeSet<Digest>,
    },
    /// `-r` or `-c`
    Include { path: String, constraints: bool },
    /// `--require-hashes`
    RequireHashes,
}

/// How many hashes one requirement may have.
const HASHES_MAX: usize = 4_000;

/// Parse a line without comments.
pub(super) fn parse(line: &str) -> Result<Statement, RequirementsFault> {
    let (text, options) = split_options(line);
    let options = options_of(&words(options)?)?;
    if text.is_empty() {
        return setting(options);
    }
    let requirement = requirement(text)?;
    let hashes = hashes(&requirement, options)?;
    Ok(Statement::Requirement { requirement, hashes })
}

/// A requirement and its options: these begin with the first word that begins with `-`.
fn split_options(line: &str) -> (&str, &str) {
    let begins = |(at, _): &(usize, &str)| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    match line.match_indices('-').find(begins) {
        Some((at, _)) => (line[..at].trim_end(), &line[at..]),
        None => (line, ""),
    }
}

/// Words as a shell splits them, with quotes and without `\`.
fn words(text: &str) -> Result<Vec<String>, RequirementsFault> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for character in text.chars() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '\\') => return Err(RequirementsFault::Backslash),
            (None, _) if character.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    if quote.is_some() {
        return Err(RequirementsFault::Unclosed);
    }
    words.extend(word);
    Ok(words)
}

/// An option that is understood.
enum Given {
    Hash(String),
    Include { path: String, constraints: bool },
    RequireHashes,
}

/// What becomes of an option.
#[derive(Clone, Copy)]
enum Meaning {
    Hash,
    Requirements,
    Constraints,
    RequireHashes,
    Refused(Elsewhere),
}

/// pip's options in files, short and long.
const OPTIONS: &[(&str, Meaning)] = &[
    ("--hash", Meaning::Hash),
    ("-r", Meaning::Requirements),
    ("--requirement", Meaning::Requirements),
    ("-c", Meaning::Constraints),
    ("--constraint", Meaning::Constraints),
    ("--require-hashes", Meaning::RequireHashes),
    ("-i", Meaning::Refused(Elsewhere::Index)),
    ("--index-url", Meaning::Refused(Elsewhere::Index)),
    ("--pypi-url", Meaning::Refused(Elsewhere::Index)),
    ("--extra-index-url", Meaning::Refused(Elsewhere::Index)),
    ("--no-index", Meaning::Refused(Elsewhere::Index)),
    ("-f", Meaning::Refused(Elsewhere::Index)),
    ("--find-links", Meaning::Refused(Elsewhere::Index)),
    ("--trusted-host", Meaning::Refused(Elsewhere::Trust)),
    ("-e", Meaning::Refused(Elsewhere::Editable)),
    ("--editable", Meaning::Refused(Elsewhere::Editable)),
    ("--no-binary", Meaning::Refused(Elsewhere::Files)),
    ("--only-binary", Meaning::Refused(Elsewhere::Files)),
    ("--prefer-binary", Meaning::Refused(Elsewhere::Files)),
    ("--pre", Meaning::Refused(Elsewhere::Prereleases)),
    ("--all-releases", Meaning::Refused(Elsewhere::Prereleases)),
    ("--only-final", Meaning::Refused(Elsewhere::Prereleases)),
    ("-C", Meaning::Refused(Elsewhere::Build)),
    ("--config-settings", Meaning::Refused(Elsewhere::Build)),
    ("--config-setting", Meaning::Refused(Elsewhere::Build)),
    ("--global-option", Meaning::Refused(Elsewhere::Build)),
    ("--install-option", Meaning::Refused(Elsewhere::Build)),
    ("--build-option", Meaning::Refused(Elsewhere::Build)),
    ("--use-feature", Meaning::Refused(Elsewhere::Pip)),
];

/// The options of a line. A refused one is named without its value, which may hold a password.
fn options_of(words: &[String]) -> Result<Vec<Given>, RequirementsFault> {
    let mut given = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, attached) = split_value(word);
        let Some((option, meaning)) = OPTIONS.iter().find(|(known, _)| *known == name) else {
            return Err(if word.starts_with('-') {
                RequirementsFault::UnknownOption {
                    option: name.chars().take(80).collect(),
                }
            } else {
                RequirementsFault::Leftover
            });
        };
        let mut value = || match attached.map(str::to_owned).or_else(|| words.next().cloned()) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(RequirementsFault::NoValue { option }),
        };
        given.push(match meaning {
            Meaning::Hash => Given::Hash(value()?),
            Meaning::Requirements | Meaning::Constraints => Given::Include {
                path: value()?,
                constraints: matches!(meaning, Meaning::Constraints),
            },
            Meaning::RequireHashes if attached.is_some() => return Err(RequirementsFault::Leftover),
            Meaning::RequireHashes => Given::RequireHashes,
            Meaning::Refused(why) => return Err(RequirementsFault::Refused { option, why: *why }),
        });
    }
    Ok(given)
}

/// `--name=value`, or `-nvalue`.
fn split_value(word: &str) -> (&str, Option<&str>) {
    if word.starts_with("--") {
        return word
            .split_once('=')
            .map_or((word, None), |(name, value)| (name, Some(value)));
    }
    match word.char_indices().nth(2) {
        Some((at, _)) if word.starts_with('-') => (&word[..at], Some(&word[at..])),
        _ => (word, None),
    }
}

/// A line without a requirement has one option.
fn setting(options: Vec<Given>) -> Result<Statement, RequirementsFault> {
    let mut options = options.into_iter();
    let statement = match options.next() {
        Some(Given::Include { path, constraints }) => Statement::Include { path, constraints },
        Some(Given::RequireHashes) => Statement::RequireHashes,
        Some(Given::Hash(_)) | None => return Err(RequirementsFault::HashOfNothing),
    };
    match options.next() {
        None => Ok(statement),
        Some(_) => Err(RequirementsFault::OneOption),
    }
}

fn requirement(text: &str) -> Result<PythonRequirement, RequirementsFault> {
    if text.ends_with('\\') {
        return Err(RequirementsFault::Backslash);
    }
    let named = text.split([';', '[', '=', '<', '>', '!', '~', '(']).next();
    let named = named.unwrap_or_default().trim();
    let path = text.starts_with(['.', '/', '~']) || named.contains(['/', '\\']);
    let archive = [".whl", ".zip", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"];
    let why = if text.starts_with("git+") || text.starts_with("hg+") || text.starts_with("svn+") {
        Some(Elsewhere::Vcs)
    } else if text.contains("://") || text.contains('@') {
        Some(Elsewhere::Url)
    } else if path || archive.iter().any(|end| named.ends_with(end)) {
        Some(Elsewhere::Path)
    } else {
        None
    };
    if let Some(why) = why {
        return Err(RequirementsFault::NotByName { why });
    }
    text.parse::<PythonRequirement>().map_err(|error| match error {
        // Nothing of an address is told: it may hold a password.
        ParsePythonError::Url { .. } => RequirementsFault::NotByName { why: Elsewhere::Url },
        error @ ParsePythonError::Syntax { .. } => RequirementsFault::Requirement(error),
    })
}

/// The sha256 hashes of a requirement. Others are read, and files are not chosen by them.
fn hashes(
    requirement: &PythonRequirement,
    options: Vec<Given>,
) -> Result<BTreeSet<Digest>, RequirementsFault> {
    let mut hashes = BTreeSet::new();
    let mut other = None;
    for option in options {
        let Given::Hash(text) = option else {
            return Err(RequirementsFault::OptionOfLine);
        };
        let malformed = || RequirementsFault::Hash {
            text: text.chars().take(160).collect(),
        };
        let (algorithm, hex) = text.split_once(':').ok_or_else(malformed)?;
        let digits = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return Err(malformed()),
        };
        if hex.len() != digits || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        match Digest::from_hex(hex) {
            Ok(digest) => drop(hashes.insert(digest)),
            Err(_) => other = Some(algorithm.to_owned()),
        }
        if hashes.len() > HASHES_MAX {
            return Err(RequirementsFault::TooManyHashes);
        }
    }
    match other {
        Some(algorithm) if hashes.is_empty() => Err(RequirementsFault::NoSha256 {
            requirement: requirement.to_string(),
            algorithm,
        }),
        _ => Ok(hashes),
    }
}
