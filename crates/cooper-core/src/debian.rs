//! Debian's vocabulary: package names, versions with dpkg's order, and what a request says of them.
//!
//! Debian Policy 5.6.1 (Source), 5.6.7 (Package) and 5.6.12 (Version); the order is that of `deb-version(7)`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a Debian package name, version or requirement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a Debian {role}: {reason}")]
pub struct ParseDebianError {
    role: &'static str,
    text: String,
    reason: &'static str,
}

fn fault(role: &'static str, text: &str, reason: &'static str) -> ParseDebianError {
    ParseDebianError {
        role,
        text: text.chars().take(80).collect(),
        reason,
    }
}

/// A binary package's name, such as `libxslt1.1`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DebianName(String);

impl DebianName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DebianName {
    type Err = ParseDebianError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
        if text.len() < 2 || text.len() > 128 {
            return Err(fault("package name", text, "it has 2 to 128 characters"));
        }
        if !text.bytes().all(allowed) || !text.as_bytes()[0].is_ascii_alphanumeric() {
            return Err(fault(
                "package name",
                text,
                "only a-z, 0-9, `+`, `-` and `.`, a letter or digit first",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A package's version, `[epoch:]upstream[-revision]`, ordered as dpkg orders it.
///
/// Equality follows the order: `1.0` and `1.00` are the same version with two spellings.
#[derive(Clone)]
pub struct DebianVersion(String);

impl DebianVersion {
    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (u64, &str, &str) {
        let (epoch, rest) = self.0.split_once(':').unwrap_or(("0", &self.0));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        (epoch.parse().unwrap_or(0), upstream, revision)
    }
}

impl FromStr for DebianVersion {
    type Err = ParseDebianError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |reason| fault("version", text, reason);
        if text.is_empty() || text.len() > 256 {
            return Err(wrong("it has 1 to 256 characters"));
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b".+-~:_".contains(&b))
        {
            return Err(wrong("only letters, digits and `.`, `+`, `-`, `~`, `:`"));
        }
        if let Some((epoch, rest)) = text.split_once(':')
            && (epoch.parse::<u32>().is_err() || rest.is_empty())
        {
            return Err(wrong("the epoch before `:` is a number"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Ord for DebianVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((epoch, upstream, revision), (their_epoch, theirs, their_revision)) =
            (self.parts(), other.parts());
        epoch
            .cmp(&their_epoch)
            .then_with(|| compare_part(upstream.as_bytes(), theirs.as_bytes()))
            .then_with(|| compare_part(revision.as_bytes(), their_revision.as_bytes()))
    }
}

/// dpkg's `verrevcmp`: runs of non-digits by character, `~` before the end, letters before the rest;
/// runs of digits by value.
fn compare_part(mut a: &[u8], mut b: &[u8]) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(digit) if digit.is_ascii_digit() => 0,
        Some(letter) if letter.is_ascii_alphabetic() => i32::from(*letter),
        Some(other) => i32::from(*other) + 256,
    };
    while !a.is_empty() || !b.is_empty() {
        let not_digit = |text: &[u8]| text.first().is_some_and(|c| !c.is_ascii_digit());
        while not_digit(a) || not_digit(b) {
            match weight(a.first()).cmp(&weight(b.first())) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let (ours, rest) = split_number(a);
        let (theirs, their_rest) = split_number(b);
        match ours.len().cmp(&theirs.len()).then_with(|| ours.cmp(theirs)) {
            Ordering::Equal => {}
            unequal => return unequal,
        }
        (a, b) = (rest, their_rest);
    }
    Ordering::Equal
}

/// The leading digits without leading zeros, and the rest.
fn split_number(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text
        .iter()
        .position(|c| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let zeros = number.iter().take_while(|c| **c == b'0').count();
    (&number[zeros..], rest)
}

impl PartialOrd for DebianVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DebianVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DebianVersion {}

/// What a request says of one Debian package: its name and perhaps its exact version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DebianRequirement {
    /// The package.
    pub name: DebianName,
    /// After `=`: this version and no other.
    pub version: Option<DebianVersion>,
}

impl FromStr for DebianRequirement {
    type Err = ParseDebianError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if text.contains(['<', '>', '!', '~']) && !text.contains('=')
            || text.contains("==")
            || text.contains(">=")
            || text.contains("<=")
        {
            return Err(fault(
                "package",
                text,
                "write a name such as `wget`, or `wget=1.25.0-2` for one exact version",
            ));
        }
        let Some((name, version)) = text.split_once('=') else {
            return Ok(Self {
                name: text.parse()?,
                version: None,
            });
        };
        Ok(Self {
            name: name.trim().parse()?,
            version: Some(version.trim().parse()?),
        })
    }
}

impl fmt::Display for DebianRequirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(formatter, "{}={version}", self.name),
            None => write!(formatter, "{}", self.name),
        }
    }
}

macro_rules! text_traits {
    ($($name:ident),*) => { $(
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

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{self}")
            }
        }
    )* };
}
text_traits!(DebianName, DebianVersion, DebianRequirement);

impl fmt::Display for DebianName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for DebianVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> DebianVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_order_as_dpkg_orders_them() {
        let ascending = [
            "0~~",
            "0~",
            "0",
            "1.0~rc1-1",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0a-1",
            "1.0+dfsg-1",
            "1.2-1",
            "1.10-1",
            "1:0.1-1",
            "2:0-1",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
        }
        assert_eq!(version("1.0"), version("1.00"));
        assert_eq!(version("0:1-0"), version("1"));
    }

    #[test]
    fn requirements_are_a_name_or_a_pin() {
        let pin: DebianRequirement = "wget=1.25.0-2".parse().unwrap();
        assert_eq!(
            (pin.name.as_str(), pin.version.clone()),
            ("wget", Some(version("1.25.0-2")))
        );
        assert_eq!(pin.to_string(), "wget=1.25.0-2");
        for bad in [
            "", "W", "Wget", "wget>=1", "wget==1", "wget>1", "wget=", "wget=a b", "-wget", "we get",
        ] {
            assert!(bad.parse::<DebianRequirement>().is_err(), "{bad}");
        }
    }
}
