//! Wheels that were built here of sources, remembered by the sources and by what was asked for their environment.
//!
//! A newer compiler or build tool is no reason to build again: as long as the wheel is in the store, it is the one for
//! every image that asks the same. Its lock tells the environment that it really came from.

use cooper_core::source::SourceArtefact;
use cooper_core::{Base, BlobDigest, DebianRequirement, Lock};
use cooper_store::{Store, WriteBlobError};
use serde::{Deserialize, Serialize};

/// The cache's kind.
const KIND: &str = "python-built";
/// Changes whenever the same sources would be built in another way.
const RULES: &str = "cooper-python-built 1";

/// A wheel that was built here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltWheel {
    /// Its file name.
    pub filename: String,
    /// Bytes.
    pub size: u64,
    /// Its digest: a blob of the store.
    pub sha256: BlobDigest,
    /// What it was built of.
    pub source: SourceArtefact,
    /// Its METADATA.
    pub metadata: String,
    /// The environment in which it was built.
    pub environment: Lock,
}

/// What, apart from the sources, decides how they are built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTarget {
    /// The base of the image that the wheel is for, and of the environment.
    pub base: Base,
    /// Debian packages that the request wants in the environment.
    pub packages: Vec<DebianRequirement>,
}

impl BuildTarget {
    fn key(&self, source: &BlobDigest) -> String {
        let packages: Vec<String> = self.packages.iter().map(ToString::to_string).collect();
        format!("{RULES}\n{}\n{}\n{source}", self.base, packages.join(","))
    }

    /// Remember a wheel.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn remember(&self, store: &Store, built: &BuiltWheel) -> Result<(), WriteBlobError> {
        let bytes = serde_json::to_vec(built).unwrap_or_default();
        store.cache_put(KIND, &self.key(&built.source.sha256), &bytes)
    }

    /// The wheel that was built of sources with this digest, while the store has it.
    pub fn recall(&self, store: &Store, source: &BlobDigest) -> Option<BuiltWheel> {
        let cached = store.cache_get(KIND, &self.key(source))?;
        let built: BuiltWheel = serde_json::from_slice(&cached.bytes).ok()?;
        store.renew_blob(&built.sha256).then_some(built)
    }
}
