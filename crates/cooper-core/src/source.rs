//! Source distributions: what a wheel is built from where an index has no wheel, and what a built wheel came from.
//!
//! A built wheel is an artefact of its own: its digest is in the lock like any other's. With it the lock names the
//! sources and the whole environment in which they were built, so that the wheel can be built again where it is not
//! at hand; it counts only if it has the same digest again.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::digest::{BlobDigest, Digest, LockDigest};
use crate::lock::Lock;
use crate::plan::ProjectFacts;
use crate::python::{DistributionVersion, PythonName};

/// One source distribution (PEP 625).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceArtefact {
    /// Its file name.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: BlobDigest,
}

/// What a wheel was built from, in a lock's hashed part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuiltFrom {
    /// The sources.
    pub source: SourceArtefact,
    /// The environment's lock: one of [`crate::LockContent::environments`].
    pub environment: LockDigest,
}

/// What a wheel was built from, in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The sources.
    pub source: SourceArtefact,
    /// Where the index says they are.
    pub url: Url,
    /// The environment: an image like any other, with compilers and what the sources' own build asks for.
    pub environment: Lock,
}

/// A source distribution that an image needs as a wheel, to be judged before anything of it is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedSource {
    /// The normalised name.
    pub name: PythonName,
    /// The version.
    pub version: DistributionVersion,
    /// The file's name.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// The index's `hashes.sha256`, where it has one.
    pub sha256: Option<Digest>,
    /// Where the index says the file is.
    pub url: Url,
    /// The publisher withdrew the file; the text is the reason, perhaps empty.
    pub yanked: Option<String>,
    /// The request asks for exactly this version with `==`.
    pub exactly_pinned: bool,
    /// When the index took the file in.
    pub uploaded: Option<Timestamp>,
    /// From a distribution that the request names to this one; only this one where the request names it, and nothing where
    /// it is not known yet who needs it.
    pub path: Vec<PythonName>,
    /// Of a release that is younger than the policy wants: what would be taken instead.
    pub instead_of: Option<DistributionVersion>,
    /// What is known of its project beside.
    pub project: ProjectFacts,
}
