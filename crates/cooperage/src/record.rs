//! What is kept with a version tag.

use std::fmt;

use cooper_core::{
    BlobDigest, ConfigDigest, DiffId, ImageName, ImageReference, LockDigest, ManifestDigest, Organisation,
    Request, Timestamp, VersionTag,
};
use serde::{Deserialize, Serialize};

/// An image's full name: `ORGANISATION/NAME:VERSION.N`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FullReference {
    /// The owner.
    pub organisation: Organisation,
    /// The name.
    pub name: ImageName,
    /// The version.
    pub tag: VersionTag,
}

impl FullReference {
    /// The reference, if nothing is left open in it.
    pub(crate) fn of(reference: ImageReference) -> Option<Self> {
        Some(Self {
            organisation: reference.organisation?,
            name: reference.name,
            tag: reference.tag?,
        })
    }
}

impl fmt::Display for FullReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}:{}", self.organisation, self.name, self.tag)
    }
}

impl Serialize for FullReference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FullReference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reference = ImageReference::deserialize(deserializer)?;
        let (Some(organisation), Some(tag)) = (reference.organisation, reference.tag) else {
            return Err(serde::de::Error::custom(
                "the name is not `ORGANISATION/NAME:TAG`",
            ));
        };
        Ok(Self {
            organisation,
            name: reference.name,
            tag,
        })
    }
}

impl From<FullReference> for ImageReference {
    fn from(full: FullReference) -> Self {
        Self {
            organisation: Some(full.organisation),
            name: full.name,
            tag: Some(full.tag),
        }
    }
}

/// What a version tag's record says beside the manifest: kept as the `details` of the store's reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// What was asked.
    pub request: Request,
    /// The image that it stands on, where that is no Debian base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<ImageReference>,
    /// Whether it was made from a lock: then no update moves it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
    /// Where it was not made here but came in an archive: the name that it had there. Then nothing but digests proves
    /// what is in it, and no gate of this store judged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<FullReference>,
    /// The hashed part of the lock: same digest, same image.
    pub lock: LockDigest,
    /// The whole lock as a blob, with its origin.
    pub lock_file: BlobDigest,
    /// The inventory as a blob: [`cooper_image::Inventory`].
    pub inventory: BlobDigest,
    /// The verdict on its plan as a blob: [`cooper_gate::Verdict`]. None where it was not made here, or before there
    /// were verdicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<BlobDigest>,
    /// The image's configuration.
    pub config: ConfigDigest,
    /// The layers' unpacked trees, lowest first.
    pub layers: Vec<DiffId>,
    /// Bytes of the manifest, the configuration and the compressed layers.
    pub size_bytes: u64,
    /// How many Python distributions are inside.
    pub python_packages: u64,
    /// How many Debian packages are inside.
    pub debian_packages: u64,
}

/// A version tag with what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptImage {
    /// Its full name.
    pub reference: FullReference,
    /// The manifest that the tag points at.
    pub manifest: ManifestDigest,
    /// When the tag was made.
    pub created_at: Timestamp,
    /// The record.
    pub record: ImageRecord,
}
