//! Names of images: `ORGANISATION/NAME:VERSION.N`.
//!
//! The grammar is that of OCI repository names and tags (distribution-spec, "Pulling manifests"),
//! narrowed: one level of organisation, a dotted numeric version, a serial number that counts up.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a name, a version, a tag or a reference. The message says what to type instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{role} `{text}` {reason}")]
pub struct ParseNameError {
    role: &'static str,
    text: String,
    reason: &'static str,
    suggestion: Option<String>,
}

impl ParseNameError {
    /// A text that would be accepted, where one is near.
    pub fn suggestion(&self) -> Option<&str> {
        self.suggestion.as_deref()
    }
}

const NAME_LENGTH_MAX: usize = 64;

fn parse_component(role: &'static str, text: &str) -> Result<String, ParseNameError> {
    let reason = component_fault(text);
    let Some(reason) = reason else {
        return Ok(text.to_owned());
    };
    let repaired: String = text
        .to_lowercase()
        .chars()
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(NAME_LENGTH_MAX)
        .collect();
    let repaired = repaired.trim_matches(['.', '_', '-']).to_owned();
    let suggestion = (component_fault(&repaired).is_none()).then_some(repaired);
    Err(ParseNameError {
        role,
        text: text.chars().take(80).collect(),
        reason,
        suggestion,
    })
}

/// OCI: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn component_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("is empty: a name is needed, for example `example_name`");
    }
    if text.len() > NAME_LENGTH_MAX {
        return Some("is longer than 64 characters");
    }
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        return Some("has an upper-case letter: names are lower case only");
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    if !text.chars().all(allowed) {
        return Some("has a character that is not allowed: only a-z, 0-9, `.`, `_` and `-` are");
    }
    let ends_well = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !ends_well(text.chars().next()) || !ends_well(text.chars().last()) {
        return Some("must begin and end with a letter or a digit");
    }
    separators_fault(text)
}

fn separators_fault(text: &str) -> Option<&'static str> {
    let runs = text
        .split(|c: char| c.is_ascii_alphanumeric())
        .filter(|run| !run.is_empty());
    for run in runs {
        let dashes = run.chars().all(|c| c == '-');
        if !(dashes || run == "." || run == "_" || run == "__") {
            return Some("has separators in a row: use one `.`, one or two `_`, or dashes");
        }
    }
    None
}

macro_rules! text_type {
    ($(#[$meta:meta])* $name:ident, $parse:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let parse: fn(&str) -> Result<String, ParseNameError> = $parse;
                parse(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:?}", self.0)
            }
        }

        serde_as_text!($name);
    };
}

macro_rules! serde_as_text {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_type!(
    /// An image's name without organisation and version: lower case, an OCI path component.
    ImageName,
    |text| parse_component("image name", text)
);
text_type!(
    /// The organisation that owns an image: lower case, an OCI path component.
    Organisation,
    |text| parse_component("organisation", text)
);
text_type!(
    /// The configured part of a tag: one to four dotted numbers, such as `1.0.0`.
    ImageVersion,
    |text| {
        let numbers: Vec<&str> = text.split('.').collect();
        let number = |n: &&str| {
            !n.is_empty() && n.len() <= 9 && n.bytes().all(|b| b.is_ascii_digit()) && (*n == "0" || !n.starts_with('0'))
        };
        if (1..=4).contains(&numbers.len()) && numbers.iter().all(number) {
            return Ok(text.to_owned());
        }
        Err(ParseNameError {
            role: "version",
            text: text.chars().take(80).collect(),
            reason: "is not one to four dotted numbers without leading zeros, such as `1.0.0`",
            suggestion: None,
        })
    }
);

/// A tag that never moves: the configured version, then a serial number that is never reused.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VersionTag {
    /// For example `1.0.0`.
    pub version: ImageVersion,
    /// Counts up from 1 for each organisation, name and version.
    pub serial: NonZeroU32,
}

impl fmt::Display for VersionTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.version, self.serial)
    }
}

impl fmt::Debug for VersionTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for VersionTag {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseNameError {
            role: "tag",
            text: text.chars().take(80).collect(),
            reason: "is not a version and a serial number, such as `1.0.0.3`",
            suggestion: None,
        };
        let (version, serial) = text.rsplit_once('.').ok_or_else(wrong)?;
        let plain = !serial.starts_with(['0', '+']);
        let serial = serial.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
        Ok(Self {
            version: version.parse().map_err(|_| wrong())?,
            serial,
        })
    }
}

impl VersionTag {
    /// The version's numbers.
    fn numbers(&self) -> impl Iterator<Item = u64> {
        self.version.as_str().split('.').filter_map(|n| n.parse().ok())
    }
}

impl Ord for VersionTag {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Mostly they are of one version.
        let numbers = if self.version == other.version {
            std::cmp::Ordering::Equal
        } else {
            self.numbers().cmp(other.numbers())
        };
        numbers.then(self.serial.cmp(&other.serial))
    }
}

impl PartialOrd for VersionTag {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

serde_as_text!(VersionTag);

/// An image as a user names it: `[ORGANISATION/]NAME[:TAG]`. Without a tag it means the newest version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    /// The owner, where it was given.
    pub organisation: Option<Organisation>,
    /// The name.
    pub name: ImageName,
    /// The version, where it was given.
    pub tag: Option<VersionTag>,
}

impl FromStr for ImageReference {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, tag) = match text.split_once(':') {
            Some((path, tag)) => (path, Some(tag.parse()?)),
            None => (text, None),
        };
        let (organisation, name) = match path.split_once('/') {
            Some((organisation, name)) => (Some(organisation.parse()?), name),
            None => (None, path),
        };
        Ok(Self {
            organisation,
            name: name.parse()?,
            tag,
        })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(organisation) = &self.organisation {
            write!(formatter, "{organisation}/")?;
        }
        write!(formatter, "{}", self.name)?;
        match &self.tag {
            Some(tag) => write!(formatter, ":{tag}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

serde_as_text!(ImageReference);

/// A pattern over `ORGANISATION/NAME:TAG`: plain text is searched for, `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePattern {
    pieces: Vec<String>,
}

impl ImagePattern {
    /// A pattern; every text is one.
    pub fn new(text: &str) -> Self {
        Self {
            pieces: text.split('*').map(str::to_owned).collect(),
        }
    }

    /// Whether the pattern matches: without `*` anywhere in the text, with `*` the whole text.
    pub fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = self.pieces.as_slice() else {
            return self
                .pieces
                .first()
                .is_none_or(|piece| text.contains(piece.as_str()));
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for piece in middle {
            let Some(at) = rest.find(piece.as_str()) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_oci_grammar() {
        for good in ["a", "example_name", "a.b", "a__b", "a--b", "py3-tools"] {
            assert_eq!(good.parse::<ImageName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "A",
            "a b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a/b",
            "ä",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_wrong_name_comes_with_one_that_works() {
        let error = "Example Name".parse::<ImageName>().unwrap_err();
        assert_eq!(error.suggestion(), Some("example-name"));
        assert!(error.to_string().contains("upper-case"), "{error}");
    }

    #[test]
    fn tags_order_by_number() {
        let tag = |text: &str| text.parse::<VersionTag>().unwrap();
        assert!(tag("1.0.0.10") > tag("1.0.0.9"));
        assert!(tag("1.10.0.1") > tag("1.9.0.99"));
        assert_eq!(tag("1.0.0.3").to_string(), "1.0.0.3");
        for bad in ["", "1", "1.0.0.0", "1.0.0.03", "1.0.0.+3", "latest", "1.0.0."] {
            assert!(bad.parse::<VersionTag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn references_round_trip() {
        for text in ["a", "local/a", "a:1.0.0.2", "local/a:1.0.0.2"] {
            assert_eq!(text.parse::<ImageReference>().unwrap().to_string(), text);
        }
        assert!("local/a/b".parse::<ImageReference>().is_err());
    }

    #[test]
    fn patterns_search_or_match_whole() {
        let matches = |pattern: &str, text: &str| ImagePattern::new(pattern).matches(text);
        assert!(matches("ample", "local/example:1.0.0.1"));
        assert!(matches("local/*:1.0.0.1", "local/example:1.0.0.1"));
        assert!(!matches("example*", "local/example:1.0.0.1"));
        assert!(matches("", "anything"));
    }
}
