//! Whose packages an advisory is about, and which package at which version is asked about.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use cooper_core::base::Base;
use cooper_core::python::DistributionVersion;
use cooper_core::{DebianName, DebianVersion, PythonName};

/// An ecosystem of the OSV schema that images have packages of: `PyPI`, or `Debian:13` with its release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ecosystem {
    /// Python distributions.
    PyPI,
    /// Source packages of one release of Debian: 12 is bookworm, 13 is trixie.
    Debian(u16),
}

/// Why a text is no ecosystem that is looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no images are made from packages of the ecosystem `{text}`")]
pub struct ParseEcosystemError {
    text: String,
}

impl Ecosystem {
    /// The ecosystem of a base's Debian packages.
    pub const fn of_base(base: Base) -> Self {
        match base {
            Base::Bookworm => Self::Debian(12),
            Base::Trixie => Self::Debian(13),
        }
    }

    /// The number in a compiled snapshot: 0, or Debian's release.
    pub(super) const fn code(self) -> u16 {
        match self {
            Self::PyPI => 0,
            Self::Debian(release) => release,
        }
    }

    pub(super) const fn of_code(code: u16) -> Self {
        match code {
            0 => Self::PyPI,
            release => Self::Debian(release),
        }
    }
}

impl FromStr for Ecosystem {
    type Err = ParseEcosystemError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let release = |text: &str| text.parse().ok().filter(|release| *release > 0);
        let found = match text.split_once(':') {
            None if text == "PyPI" => Some(Self::PyPI),
            Some(("Debian", suffix)) => release(suffix).map(Self::Debian),
            _ => None,
        };
        found.ok_or_else(|| ParseEcosystemError {
            text: text.chars().take(80).collect(),
        })
    }
}

impl fmt::Display for Ecosystem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PyPI => formatter.write_str("PyPI"),
            Self::Debian(release) => write!(formatter, "Debian:{release}"),
        }
    }
}

/// One package at one version, as advisories name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject<'a> {
    /// A Python distribution.
    Python {
        /// Its normalised name.
        name: &'a PythonName,
        /// Its version.
        version: &'a DistributionVersion,
    },
    /// A Debian **source** package: binary packages are looked up by the source package and its version that their
    /// index entry names.
    Debian {
        /// The suite that it is judged for.
        base: Base,
        /// The source package.
        source: &'a DebianName,
        /// The source package's version.
        version: &'a DebianVersion,
    },
}

impl Subject<'_> {
    /// Its ecosystem.
    pub const fn ecosystem(&self) -> Ecosystem {
        match self {
            Self::Python { .. } => Ecosystem::PyPI,
            Self::Debian { base, .. } => Ecosystem::of_base(*base),
        }
    }

    /// Its name as advisories have it.
    pub fn name(&self) -> &str {
        match self {
            Self::Python { name, .. } => name.as_str(),
            Self::Debian { source, .. } => source.as_str(),
        }
    }

    pub(super) fn version(&self) -> AnyVersion {
        match self {
            Self::Python { version, .. } => AnyVersion::Python((*version).clone()),
            Self::Debian { version, .. } => AnyVersion::Debian((*version).clone()),
        }
    }
}

/// A version with the order of its ecosystem: PEP 440, or dpkg's.
#[derive(Debug, Clone)]
pub(super) enum AnyVersion {
    Python(DistributionVersion),
    Debian(DebianVersion),
}

impl AnyVersion {
    /// `None` where the text is no version of that ecosystem.
    pub(super) fn parse(ecosystem: Ecosystem, text: &str) -> Option<Self> {
        match ecosystem {
            Ecosystem::PyPI => text.parse().ok().map(Self::Python),
            Ecosystem::Debian(_) => text.parse().ok().map(Self::Debian),
        }
    }

    /// The same kind of version from another text.
    pub(super) fn sibling(&self, text: &str) -> Option<Self> {
        match self {
            Self::Python(_) => text.parse().ok().map(Self::Python),
            Self::Debian(_) => text.parse().ok().map(Self::Debian),
        }
    }

    /// Versions of different ecosystems are never compared.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Python(a), Self::Python(b)) => a.cmp(b),
            (Self::Debian(a), Self::Debian(b)) => a.cmp(b),
            (Self::Python(_), Self::Debian(_)) => Ordering::Less,
            (Self::Debian(_), Self::Python(_)) => Ordering::Greater,
        }
    }

    /// One text for all spellings of a version, as far as that is cheap: `1.0` for `1.0.0` and `v1`.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Python(version) => without_trailing_zeros(version).to_string(),
            Self::Debian(version) => version.as_str().to_owned(),
        }
    }

    /// A Python version without its local label: `2.1.0` for `2.1.0+cpu`. `None` where there is no label.
    pub(super) fn public(&self) -> Option<Self> {
        match self {
            Self::Python(version) if version.is_local() => {
                Some(Self::Python(version.clone().without_local()))
            }
            _ => None,
        }
    }
}

/// The release keeps its first number: `0` is a version.
fn without_trailing_zeros(version: &DistributionVersion) -> DistributionVersion {
    let release = version.release();
    let length = release
        .iter()
        .rposition(|number| *number != 0)
        .map_or(1, |last| last + 1);
    version.clone().with_release(release.iter().take(length).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecosystems_are_those_of_images() {
        for (text, code) in [("PyPI", 0), ("Debian:12", 12), ("Debian:13", 13)] {
            let ecosystem: Ecosystem = text.parse().unwrap();
            assert_eq!((ecosystem.to_string().as_str(), ecosystem.code()), (text, code));
            assert_eq!(Ecosystem::of_code(code), ecosystem);
        }
        for other in [
            "",
            "pypi",
            "npm",
            "Debian",
            "Debian:",
            "Debian:3.1",
            "Debian:0",
            "Debian:70000",
            "Ubuntu:22.04",
        ] {
            assert!(other.parse::<Ecosystem>().is_err(), "{other}");
        }
        assert_eq!(Ecosystem::of_base(Base::Trixie), Ecosystem::Debian(13));
    }

    #[test]
    fn spellings_of_one_version_have_one_key() {
        let key = |text| AnyVersion::parse(Ecosystem::PyPI, text).unwrap().key();
        for text in ["1", "1.0", "v1.0.0", "1.0.0.0"] {
            assert_eq!(key(text), key("1.0"));
        }
        assert_eq!((key("0.0"), key("0.0.dev0")), (key("0"), key("0.dev0")));
        assert_eq!(key("1.0rc1"), key("1.0.0-c1"));
        assert_ne!(key("1.0"), key("1.0.post1"));
        assert!(AnyVersion::parse(Ecosystem::PyPI, "1.0-beta-dev-x").is_none());
    }
}
