//! What resolution gives and the gates judge: every artefact that would enter an image, with the evidence.
//!
//! A plan may be bad (an artefact without a hash, an index without a signature): it says so, and the gates
//! refuse it. Only a cleared plan becomes a [`crate::Lock`].

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use crate::base::{Base, Suite};
use crate::debian::{DebianName, DebianVersion};
use crate::digest::{BlobDigest, Digest};
use crate::lock::Recipe;
use crate::name::ImageReference;
use crate::python::{DistributionVersion, PythonName};
use crate::request::Request;
use crate::source::Built;

/// The result of resolving one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What was asked.
    pub request: Request,
    /// How the image will be made.
    pub recipe: Recipe,
    /// The Debian base that everything stands on.
    pub release: Base,
    /// The Debian packages of the base layer, sorted by name.
    pub base: Vec<PlannedDebian>,
    /// The images that stand between the base and this one, the lowest first; the last is the one that the request
    /// names as its base. What they have is in the image as it is.
    pub below: Vec<PlannedImage>,
    /// The Debian packages that the request adds to what is below, sorted by name; none is there.
    pub packages: Vec<PlannedDebian>,
    /// The Python distributions that the request adds, sorted by name; none is below.
    pub python: Vec<PlannedPython>,
    /// The indexes that it was resolved against.
    pub snapshots: Vec<Snapshot>,
    /// When it was resolved.
    pub resolved_at: Timestamp,
}

/// An image that is part of the base of another one: what it adds to what is below it, and what that was resolved
/// against.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedImage {
    /// Which version, with its organisation.
    pub image: ImageReference,
    /// The Debian packages that it adds, sorted by name.
    pub packages: Vec<PlannedDebian>,
    /// The Python distributions that it adds, sorted by name.
    pub python: Vec<PlannedPython>,
    /// The indexes that it was resolved against.
    pub snapshots: Vec<Snapshot>,
    /// When it was resolved.
    pub resolved_at: Timestamp,
}

impl Plan {
    /// Every Debian package: the base's, those of the images below, the request's own.
    pub fn debian(&self) -> impl Iterator<Item = &PlannedDebian> {
        let below = self.below.iter().flat_map(|image| &image.packages);
        self.base.iter().chain(below).chain(&self.packages)
    }

    /// Every Python distribution: those of the images below, then the request's own.
    pub fn distributions(&self) -> impl Iterator<Item = &PlannedPython> {
        let below = self.below.iter().flat_map(|image| &image.python);
        below.chain(&self.python)
    }
}

/// One Debian binary package in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDebian {
    /// `Package`
    pub name: DebianName,
    /// `Version`
    pub version: DebianVersion,
    /// `Architecture` as the index says it: `amd64`, `all`, or a wrong one.
    pub architecture: String,
    /// `Size` in bytes.
    pub size: u64,
    /// `SHA256`, where the index has one.
    pub sha256: Option<Digest>,
    /// The suite whose index named it; one of the plan's snapshots is of this suite.
    pub suite: Suite,
    /// `Filename`: the path below the archive's root.
    pub path: PoolPath,
    /// `Source`, where its name or version is another than the package's own. None also where the plan comes from a
    /// lock that does not tell.
    pub source: Option<SourcePackage>,
}

impl PlannedDebian {
    /// The source package that it was built of: name and version.
    pub fn source_package(&self) -> (&DebianName, &DebianVersion) {
        match &self.source {
            Some(source) => (&source.name, &source.version),
            None => (&self.name, &self.version),
        }
    }
}

/// A Debian source package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePackage {
    /// Its name.
    pub name: DebianName,
    /// Its version.
    pub version: DebianVersion,
}

/// One Python distribution in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPython {
    /// The normalised name.
    pub name: PythonName,
    /// The version.
    pub version: DistributionVersion,
    /// The wheel's file name.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// The index's `hashes.sha256`, where it has one.
    pub sha256: Option<Digest>,
    /// Where the index says the file is.
    pub url: Url,
    /// The root of the index that named it. None where the plan comes from a lock that does not tell.
    pub index: Option<Url>,
    /// A digest over what resolution went by of its metadata: `Requires-Python`, and `Requires-Dist` as a set. None
    /// where the plan comes from a lock.
    pub metadata: Option<Digest>,
    /// Whether the file's tags fit the image's platform and interpreter.
    pub fits_platform: bool,
    /// The publisher withdrew the file; the text is the reason, perhaps empty.
    pub yanked: Option<String>,
    /// The request asks for exactly this version with `==`.
    pub exactly_pinned: bool,
    /// The distribution that first needed it; none where the request itself asks for it, or where that is not known.
    pub required_by: Option<PythonName>,
    /// When the index took the file in (PEP 700), where it tells.
    pub uploaded: Option<Timestamp>,
    /// Of a release that was younger than the policy wants: the newest release old enough that meets the same
    /// constraints, which would have been taken instead.
    pub instead_of: Option<DistributionVersion>,
    /// What its index and its metadata tell of the project beside.
    pub project: ProjectFacts,
    /// What the wheel was built from here; none where the index has the wheel. `url` is then that of the sources.
    pub built: Option<Box<Built>>,
}

/// What an index and a release's metadata tell of a Python project, where they were read anyway. Nothing is known where a
/// plan comes from a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProjectFacts {
    /// When the oldest of its files that an image may have was taken in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Timestamp>,
    /// When the newest of them was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Timestamp>,
    /// How many releases it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub releases: Option<u32>,
    /// Who the release's metadata says that its authors or maintainers are: one short line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authors: Option<String>,
}

/// One index at one time, with what proves where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Snapshot {
    /// A Debian suite.
    Debian {
        /// Which.
        suite: Suite,
        /// The digest of the `InRelease` file.
        digest: BlobDigest,
        /// The signed `Date`.
        date: Timestamp,
        /// The signed `Valid-Until`, where the suite has one.
        valid_until: Option<Timestamp>,
        /// The fingerprints of the trusted keys that made good signatures; none means unsigned.
        signed_by: Vec<String>,
        /// The newest `Date` that this store has ever seen for this suite.
        newest_seen: Timestamp,
    },
    /// A Python index: not signed; its transport is, and every file's hash is in the lock.
    Python {
        /// The digest over the index pages that were read, sorted by name.
        digest: BlobDigest,
        /// When the oldest of them was fetched.
        fetched_at: Timestamp,
    },
}

impl Snapshot {
    /// The file that is signed: a Debian suite's `InRelease`.
    pub fn signed_file(&self) -> Option<BlobDigest> {
        match self {
            Self::Debian { digest, .. } => Some(*digest),
            Self::Python { .. } => None,
        }
    }
}

/// A relative path below an archive's root: plain components only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolPath(String);

/// Why a text is not a [`PoolPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a path below an archive")]
pub struct ParsePoolPathError {
    text: String,
}

impl PoolPath {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for PoolPath {
    type Err = ParsePoolPathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |part: &str| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        };
        if text.len() <= 1024 && text.split('/').all(plain) && !text.contains(['?', '#']) {
            return Ok(Self(text.to_owned()));
        }
        Err(ParsePoolPathError {
            text: text.chars().take(120).collect(),
        })
    }
}

impl fmt::Display for PoolPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Serialize for PoolPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PoolPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pool_paths_stay_below_the_archive() {
        assert!(
            "pool/main/w/wget/wget_1.25.0-2_amd64.deb"
                .parse::<PoolPath>()
                .is_ok()
        );
        assert!("pool/main/g/g++/g++_4%3a14_amd64.deb".parse::<PoolPath>().is_ok());
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "pool//x",
            "pool/./x",
            "a?b",
            "a b",
            "http://x/y",
        ] {
            assert!(bad.parse::<PoolPath>().is_err(), "{bad}");
        }
    }
}
