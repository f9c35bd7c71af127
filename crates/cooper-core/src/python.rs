//! Python's vocabulary: normalised names, PEP 440 versions and PEP 508 requirements.
//!
//! Names, versions and requirements are those of uv's leaf crates; this file narrows a requirement to
//! what a request may say: no URLs, no paths.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uv_pep508::Requirement;
pub use uv_pep508::{VerbatimUrl, VersionOrUrl};

/// A distribution's name, normalised as PEP 503 says.
pub type PythonName = uv_normalize::PackageName;
/// A distribution's version (PEP 440).
pub type DistributionVersion = uv_pep440::Version;

/// The version of an interpreter without its patch level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PythonVersion {
    /// 3
    pub major: u8,
    /// 13 in `3.13`
    pub minor: u8,
}

impl fmt::Display for PythonVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Why a text is not a requirement that a request may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParsePythonError {
    /// Not PEP 508.
    #[error("`{text}` is not a Python requirement: {reason}")]
    Syntax {
        /// What was written.
        text: String,
        /// The parser's first sentence.
        reason: String,
    },
    /// A URL or a path.
    #[error("`{text}` names a URL or a path; only distributions from the configured index are accepted")]
    Url {
        /// What was written.
        text: String,
    },
}

/// One PEP 508 requirement by name, such as `requests[socks]>=2.31,<3; python_version >= "3.11"`.
#[derive(Clone)]
pub struct PythonRequirement {
    requirement: Requirement<VerbatimUrl>,
    text: String,
}

impl PythonRequirement {
    /// The parsed requirement.
    pub fn requirement(&self) -> &Requirement<VerbatimUrl> {
        &self.requirement
    }

    /// The distribution's name.
    pub fn name(&self) -> &PythonName {
        &self.requirement.name
    }

    /// The version if the requirement admits exactly one (`==` or `===` without `*`).
    pub fn exact_version(&self) -> Option<&DistributionVersion> {
        let Some(VersionOrUrl::VersionSpecifier(specifiers)) = &self.requirement.version_or_url else {
            return None;
        };
        let exact = [uv_pep440::Operator::Equal, uv_pep440::Operator::ExactEqual];
        specifiers
            .iter()
            .find(|one| exact.contains(one.operator()))
            .map(uv_pep440::VersionSpecifier::version)
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for PythonRequirement {
    type Err = ParsePythonError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let shown = || text.chars().take(200).collect::<String>();
        if text.contains("://")
            || text.starts_with(['.', '/', '~'])
            || text.contains(" @")
            || text.contains('@')
        {
            return Err(ParsePythonError::Url { text: shown() });
        }
        let requirement = Requirement::<VerbatimUrl>::from_str(text).map_err(|error| {
            let message = error.to_string();
            let reason = message
                .lines()
                .next()
                .unwrap_or("it does not follow PEP 508")
                .chars()
                // It may repeat the text.
                .take(200)
                .collect();
            ParsePythonError::Syntax {
                text: shown(),
                reason,
            }
        })?;
        if matches!(requirement.version_or_url, Some(VersionOrUrl::Url(_))) {
            return Err(ParsePythonError::Url { text: shown() });
        }
        Ok(Self {
            text: settled(requirement.to_string()),
            requirement,
        })
    }
}

/// The canonical text of a canonical text. A marker that nothing fulfils is written in a way that is read as
/// another marker that nothing fulfils; what is kept and read again must be equal to what it was.
fn settled(mut text: String) -> String {
    for _ in 0..4 {
        match Requirement::<VerbatimUrl>::from_str(&text).map(|requirement| requirement.to_string()) {
            Ok(again) if again != text => text = again,
            _ => break,
        }
    }
    text
}

impl PartialEq for PythonRequirement {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PythonRequirement {}

impl PartialOrd for PythonRequirement {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PythonRequirement {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

impl fmt::Display for PythonRequirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for PythonRequirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Serialize for PythonRequirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for PythonRequirement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_named_and_normalised() {
        let parsed: PythonRequirement = "Requests[socks] >=2.31, <3".parse().unwrap();
        assert_eq!(parsed.name().as_str(), "requests");
        assert_eq!(parsed.as_str(), "requests[socks]>=2.31,<3");
        let never: PythonRequirement = "a==1; python_version in '3.13.13'".parse().unwrap();
        assert_eq!(never.as_str().parse(), Ok(never.clone()));
        let pin: PythonRequirement = "mechanize==0.4.10".parse().unwrap();
        assert_eq!(pin.exact_version().unwrap().to_string(), "0.4.10");
        assert_eq!(
            "a==1.*".parse::<PythonRequirement>().unwrap().exact_version(),
            None
        );
    }

    #[test]
    fn urls_and_nonsense_are_refused() {
        for bad in [
            "",
            "a @ https://x.test/a.whl",
            "./a",
            "a b",
            "a=1",
            "a>=",
            "git+https://x.test/a",
        ] {
            assert!(bad.parse::<PythonRequirement>().is_err(), "{bad}");
        }
        let long = format!("a==1 {}", "~h=1 ".repeat(10_000));
        let told = long.parse::<PythonRequirement>().unwrap_err().to_string();
        assert!(told.len() < 1_000, "{} bytes", told.len());
    }
}
