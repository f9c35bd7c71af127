//! Everything that is known of one image.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use cooper_core::lock::ArtefactOrigin;
use cooper_core::{BlobDigest, ImageReference, Lock, LockDigest, Request, Timestamp};
use cooper_gate::Verdict;
use cooper_image::Inventory;
use serde::Serialize;

use crate::change::{Change, differences};
use crate::record::{FullReference, KeptImage};
use crate::workshop::{LookupError, Workshop};

/// One image in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// `ORGANISATION/NAME:VERSION.N`
    pub image: FullReference,
    /// The manifest's digest.
    pub digest: cooper_core::ManifestDigest,
    /// When the tag was made.
    pub created_at: Timestamp,
    /// Bytes of the manifest, the configuration and the compressed layers.
    pub size_bytes: u64,
    /// The digest of the lock's hashed part.
    pub lock: LockDigest,
    /// What was asked.
    pub request: Request,
    /// Where it was not made here but came in an archive: the name that it had there.
    pub loaded: Option<FullReference>,
    /// The verdict that it was made by; none where it was not made here.
    pub verdict: Option<Verdict>,
    /// The OCI manifest.
    pub manifest: serde_json::Value,
    /// The OCI configuration.
    pub config: serde_json::Value,
    /// What is inside.
    pub packages: Inventory,
    /// Where it came from, the most packages first.
    pub origins: Vec<PackageOrigin>,
}

/// One index, and how many of an image's packages came from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageOrigin {
    /// A Debian suite, or the root of a Python index.
    pub from: String,
    /// How many.
    pub packages: u64,
}

/// Why an image cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Not found, or its record is damaged.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A blob of it cannot be read.
    #[error("cannot read {role} of `{image}`")]
    Blob {
        /// `the lock`, `the inventory` …
        role: &'static str,
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: cooper_store::ReadBlobError,
    },
    /// A blob of it is not what it should be.
    #[error("{role} of `{image}` cannot be understood")]
    Format {
        /// `the lock`, `the inventory` …
        role: &'static str,
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// What differs between two images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The one.
    pub from: FullReference,
    /// The other.
    pub to: FullReference,
    /// The packages that are not the same in both, from the first to the second.
    pub changes: Vec<Change>,
}

impl InspectError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Blob { .. } | Self::Format { .. } => Some(
                "run `cooper fsck`; a create of the same request makes the missing blob again".to_owned(),
            ),
        }
    }
}

const JSON_BYTES_MAX: u64 = 64 << 20;

impl Workshop {
    /// Everything about one image.
    ///
    /// # Errors
    /// When there is no such image, or a blob of it cannot be read.
    pub fn inspect(&self, reference: &ImageReference) -> Result<Inspection, InspectError> {
        let kept = self.lookup(reference)?;
        let manifest = self.json_blob(&kept, "the manifest", kept.manifest.into())?;
        let config = self.json_blob(&kept, "the configuration", kept.record.config.into())?;
        let packages = self.inventory(&kept)?;
        let origins = origins(&self.lock_of(&kept)?);
        let verdict = self.verdict_of(&kept)?;
        Ok(Inspection {
            image: kept.reference,
            digest: kept.manifest,
            created_at: kept.created_at,
            size_bytes: kept.record.size_bytes,
            lock: kept.record.lock,
            request: kept.record.request,
            loaded: kept.record.loaded,
            verdict,
            manifest,
            config,
            packages,
            origins,
        })
    }

    /// What differs between the packages of two images.
    ///
    /// # Errors
    /// When there is no such image, or an inventory cannot be read.
    pub fn diff(&self, from: &ImageReference, to: &ImageReference) -> Result<Difference, InspectError> {
        let (from, to) = (self.lookup(from)?, self.lookup(to)?);
        let changes = differences(&self.inventory(&from)?, &self.inventory(&to)?);
        Ok(Difference {
            from: from.reference,
            to: to.reference,
            changes,
        })
    }

    /// The lock of one image.
    ///
    /// # Errors
    /// When there is no such image, or its lock cannot be read.
    pub fn lock(&self, reference: &ImageReference) -> Result<Lock, InspectError> {
        let kept = self.lookup(reference)?;
        self.lock_of(&kept)
    }

    pub(crate) fn lock_of(&self, kept: &KeptImage) -> Result<Lock, InspectError> {
        self.json_blob(kept, "the lock", kept.record.lock_file)
    }

    /// The verdict that an image was made by, where one is kept.
    pub(crate) fn verdict_of(&self, kept: &KeptImage) -> Result<Option<Verdict>, InspectError> {
        let digest = kept.record.verdict;
        digest
            .map(|digest| self.json_blob(kept, "the verdict", digest))
            .transpose()
    }

    pub(crate) fn inventory(&self, kept: &KeptImage) -> Result<Inventory, InspectError> {
        self.inventory_of(&kept.reference, kept.record.inventory)
    }

    pub(crate) fn inventory_of(
        &self,
        image: &FullReference,
        inventory: BlobDigest,
    ) -> Result<Inventory, InspectError> {
        self.json_blob_of(image, "the inventory", inventory)
    }

    fn json_blob<T: serde::de::DeserializeOwned>(
        &self,
        kept: &KeptImage,
        role: &'static str,
        digest: BlobDigest,
    ) -> Result<T, InspectError> {
        self.json_blob_of(&kept.reference, role, digest)
    }

    fn json_blob_of<T: serde::de::DeserializeOwned>(
        &self,
        reference: &FullReference,
        role: &'static str,
        digest: BlobDigest,
    ) -> Result<T, InspectError> {
        let image = || reference.to_string();
        let bytes = self.store.read_blob(&digest, JSON_BYTES_MAX);
        let bytes = bytes.map_err(|source| InspectError::Blob {
            role,
            image: image(),
            source,
        })?;
        serde_json::from_slice(&bytes).map_err(|source| InspectError::Format {
            role,
            image: image(),
            source,
        })
    }
}

/// The indexes of a lock. Of Python's, locks of before there were several do not tell which.
fn origins(lock: &Lock) -> Vec<PackageOrigin> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for origin in lock.origin.artefacts.values() {
        let from = match origin {
            ArtefactOrigin::Debian { suite, .. } => suite.to_string(),
            ArtefactOrigin::Python {
                index: Some(index), ..
            } => index.to_string(),
            ArtefactOrigin::Python { index: None, .. } => "a Python index".to_owned(),
        };
        *counts.entry(from).or_default() += 1;
    }
    let mut origins: Vec<PackageOrigin> = counts
        .into_iter()
        .map(|(from, packages)| PackageOrigin { from, packages })
        .collect();
    origins.sort_by_key(|origin| Reverse(origin.packages));
    origins
}
