//! What an image stands on: a Debian suite, written `debian:trixie`.

mod source;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::python::PythonVersion;

pub use source::{ParseSourceSuiteError, SourceSuite};

/// A base made from Debian packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Base {
    /// Debian 12, Python 3.11.
    Bookworm,
    /// Debian 13, Python 3.13.
    #[default]
    Trixie,
}

/// Why a text is not a base.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a base: expected `debian:trixie` (Python 3.13) or `debian:bookworm` (Python 3.11)")]
pub struct ParseBaseError {
    text: String,
}

impl Base {
    /// Every base, the default first.
    pub const ALL: [Self; 2] = [Self::Trixie, Self::Bookworm];

    /// The suite's code name.
    pub const fn codename(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }

    /// The suites that make up the base: the release, its updates, its security suite.
    pub fn suites(self) -> [Suite; 3] {
        [SuiteKind::Release, SuiteKind::Updates, SuiteKind::Security].map(|kind| Suite { base: self, kind })
    }

    /// The version of the `python3` package's interpreter.
    pub const fn python(self) -> PythonVersion {
        match self {
            Self::Bookworm => PythonVersion { major: 3, minor: 11 },
            Self::Trixie => PythonVersion { major: 3, minor: 13 },
        }
    }

    /// The C library's version as (major, minor), which bounds the `manylinux` tags that are usable.
    pub const fn glibc(self) -> (u16, u16) {
        match self {
            Self::Bookworm => (2, 36),
            Self::Trixie => (2, 41),
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "debian:{}", self.codename())
    }
}

impl FromStr for Base {
    type Err = ParseBaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|base| base.to_string() == text);
        found.ok_or_else(|| ParseBaseError {
            text: text.chars().take(80).collect(),
        })
    }
}

impl Serialize for Base {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which of a base's three suites, or of a configured source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SuiteKind {
    /// `trixie`
    Release,
    /// `trixie-updates`
    Updates,
    /// `trixie-security`, from the security archive
    Security,
    /// `trixie+acme:stable:main`: of another archive, for a base
    Source(SourceSuite),
}

/// One suite of one base, or for one base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Suite {
    /// The base that it belongs to.
    pub base: Base,
    /// Which of the three, or of which source.
    pub kind: SuiteKind,
}

impl Suite {
    /// The folder below `dists/`.
    pub fn distribution(&self) -> String {
        match &self.kind {
            SuiteKind::Source(source) => source.suite().to_owned(),
            _ => self.to_string(),
        }
    }

    /// The component whose packages are read.
    pub fn component(&self) -> &str {
        match &self.kind {
            SuiteKind::Source(source) => source.component(),
            _ => "main",
        }
    }

    /// The suite of a source, where it is one.
    pub fn source(&self) -> Option<&SourceSuite> {
        match &self.kind {
            SuiteKind::Source(source) => Some(source),
            _ => None,
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.base.codename();
        match self.kind {
            SuiteKind::Release => formatter.write_str(name),
            SuiteKind::Updates => write!(formatter, "{name}-updates"),
            SuiteKind::Security => write!(formatter, "{name}-security"),
            SuiteKind::Source(source) => write!(formatter, "{name}+{source}"),
        }
    }
}

impl FromStr for Suite {
    type Err = ParseBaseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let suites = Base::ALL.into_iter().flat_map(Base::suites);
        let of_source = || {
            let (codename, source) = text.split_once('+')?;
            let base = Base::ALL.into_iter().find(|base| base.codename() == codename)?;
            let kind = SuiteKind::Source(source.parse().ok()?);
            Some(Self { base, kind })
        };
        let found = suites
            .into_iter()
            .find(|suite| suite.to_string() == text)
            .or_else(of_source);
        found.ok_or_else(|| ParseBaseError {
            text: text.chars().take(80).collect(),
        })
    }
}

impl Serialize for Suite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Suite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_and_suites_round_trip() {
        for base in Base::ALL {
            assert_eq!(base.to_string().parse(), Ok(base));
            for suite in base.suites() {
                assert_eq!(suite.to_string().parse(), Ok(suite));
            }
        }
        let text = "bookworm+acme:stable/x:main";
        let suite: Suite = text.parse().unwrap();
        assert_eq!((suite.base, suite.to_string().as_str()), (Base::Bookworm, text));
        assert_eq!(
            (suite.distribution().as_str(), suite.component()),
            ("stable/x", "main")
        );
        for bad in [
            "trixie+",
            "sid+acme:stable:main",
            "acme:stable:main",
            "trixie+trixie",
            "+acme:stable:main",
        ] {
            assert!(bad.parse::<Suite>().is_err(), "{bad}");
        }
        assert!("debian:sid".parse::<Base>().is_err());
    }
}
