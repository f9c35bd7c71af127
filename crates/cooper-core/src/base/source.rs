//! Suites of other archives than Debian's, by the names that the configuration gives their sources.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

/// How many bytes a [`SourceSuite`]'s text may have.
const BYTES_MAX: usize = 95;
/// How many different ones one process may know: their texts are kept for as long as it runs.
const KNOWN_MAX: usize = 1_000;

static KNOWN: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

/// One component of one suite of a configured source, written `SOURCE:SUITE:COMPONENT`, such as `acme:stable:main`.
///
/// The source's name is lower case, digits and `-`. It is what a lock says of where a package came from, and what the
/// newest date that was seen is remembered under: another archive takes another name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceSuite(
    /// The place of its text among those that are known: suites are part of many values, and have to be small.
    u16,
);

/// Why a text is not a [`SourceSuite`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a suite of a source: expected `SOURCE:SUITE:COMPONENT` such as `acme:stable:main`")]
pub struct ParseSourceSuiteError {
    text: String,
}

impl SourceSuite {
    /// The suite of a source and a component of it.
    ///
    /// # Errors
    /// When one of them cannot be such a name, or all are too long together.
    pub fn new(source: &str, suite: &str, component: &str) -> Result<Self, ParseSourceSuiteError> {
        format!("{source}:{suite}:{component}").parse()
    }

    /// The whole text.
    pub fn as_str(&self) -> &'static str {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(usize::from(self.0)).copied().unwrap_or_default()
    }

    fn part(self, at: usize) -> &'static str {
        self.as_str().split(':').nth(at).unwrap_or_default()
    }

    /// The source's name.
    pub fn source(&self) -> &'static str {
        self.part(0)
    }

    /// The suite: the folder below `dists/`.
    pub fn suite(&self) -> &'static str {
        self.part(1)
    }

    /// The component.
    pub fn component(&self) -> &'static str {
        self.part(2)
    }
}

fn is_source_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain)
}

fn is_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(plain);
    text.split('/').all(part)
}

impl FromStr for SourceSuite {
    type Err = ParseSourceSuiteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseSourceSuiteError {
            text: text.chars().take(120).collect(),
        };
        let parts: Vec<&str> = text.split(':').collect();
        let good = matches!(parts[..], [source, suite, component]
            if is_source_name(source) && is_path(suite) && is_path(component));
        if !good || text.len() > BYTES_MAX {
            return Err(wrong());
        }
        known(text).map(Self).ok_or_else(wrong)
    }
}

/// The place of a text. It is kept for as long as the process runs, so that suites can be copied as Debian's are.
fn known(text: &str) -> Option<u16> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let at = match known.iter().position(|kept| *kept == text) {
        Some(at) => at,
        None if known.len() >= KNOWN_MAX => return None,
        None => {
            known.push(Box::leak(text.to_owned().into_boxed_str()));
            known.len() - 1
        }
    };
    u16::try_from(at).ok()
}

impl Ord for SourceSuite {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for SourceSuite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for SourceSuite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Debug for SourceSuite {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_of_sources_round_trip() {
        let suite = SourceSuite::new("acme", "stable/updates", "non-free").unwrap();
        assert_eq!(
            (suite.source(), suite.suite(), suite.component()),
            ("acme", "stable/updates", "non-free")
        );
        assert_eq!(suite.to_string().parse(), Ok(suite));
        let long = format!("a:{}:main", "s".repeat(BYTES_MAX));
        for bad in [
            "",
            "acme",
            "acme:stable",
            "acme:stable:main:x",
            "Acme:stable:main",
            ":stable:main",
            "-a:stable:main",
            "acme::main",
            "acme:/etc:main",
            "acme:../x:main",
            "acme:a//b:main",
            "acme:stable:ma in",
            "acme:st?:main",
            "acme+x:stable:main",
            &long,
        ] {
            assert!(bad.parse::<SourceSuite>().is_err(), "{bad}");
        }
    }
}
