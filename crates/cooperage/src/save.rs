//! From version tags to an archive that Docker, Podman, skopeo, umoci, containerd and [`Workshop::load`] read.

mod file;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cooper_core::{ConfigDigest, Digest, ImageReference, ManifestDigest, Progress};
use cooper_image::archive::{self, ArchiveFormat, SavedImage, WriteArchiveError};
use serde::{Deserialize, Serialize};

use crate::record::{FullReference, ImageRecord, KeptImage};
use crate::workshop::{LookupError, Workshop};
use file::Target;

/// What an archive says of an image beside its OCI documents, its lock and its inventory: a JSON blob of the type
/// `application/vnd.cooperage.record.v1+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SavedRecord {
    /// The full name.
    pub(crate) image: FullReference,
    /// What is kept with the version tag.
    pub(crate) record: ImageRecord,
}

/// An archive that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// What is in it, sorted.
    pub images: Vec<SavedVersion>,
    /// Bytes of the tar.
    pub bytes: u64,
    /// The digest of the tar.
    pub digest: Digest,
}

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SavedVersion {
    /// Its full name.
    pub image: FullReference,
    /// The manifest: what readers of the OCI layout see.
    pub digest: ManifestDigest,
    /// The configuration: what Docker shows as the image's identity.
    pub config: ConfigDigest,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// An image is not found.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A blob is missing or damaged, or the archive cannot be written.
    #[error(transparent)]
    Write(#[from] WriteArchiveError),
    /// The file could not be made.
    #[error("cannot {operation} `{path}`")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The record could not be written as JSON.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
}

impl SaveError {
    /// The system's answer, where the place that is written to is what failed.
    pub fn output_error(&self) -> Option<&io::Error> {
        match self {
            Self::Write(WriteArchiveError::Write(error)) => Some(error),
            _ => None,
        }
    }

    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::Write(WriteArchiveError::Blob { .. } | WriteArchiveError::Manifest { .. }) => Some(
                "run `cooper fsck --repair`; a create of the same request makes the missing blob again"
                    .to_owned(),
            ),
            Self::Write(_) | Self::File { .. } => {
                Some("choose a place that you may write and that has room: `-o FILE`".to_owned())
            }
            Self::Json(_) => None,
        }
    }
}

impl Workshop {
    /// Write versions of images to `out` as one tar; the same versions give the same bytes.
    ///
    /// # Errors
    /// When an image is not found, a blob of it is missing or damaged, or `out` cannot be written. What was written
    /// until then is no archive.
    pub fn save(
        &self,
        images: &[ImageReference],
        format: ArchiveFormat,
        out: &mut dyn Write,
        progress: &Progress,
    ) -> Result<Saved, SaveError> {
        let kept = self.distinct(images)?;
        let saved = kept.iter().map(saved_image).collect::<Result<Vec<_>, _>>()?;
        let written = archive::write(&self.store, &saved, format, out, progress)?;
        let version = |kept: KeptImage| SavedVersion {
            image: kept.reference,
            digest: kept.manifest,
            config: kept.record.config,
        };
        Ok(Saved {
            images: kept.into_iter().map(version).collect(),
            bytes: written.bytes,
            digest: written.digest,
        })
    }

    /// The same into a file that is there whole or not at all, and readable by its owner alone. What has that name
    /// stays until the archive is complete; a device or a pipe is written to directly.
    ///
    /// # Errors
    /// As [`Workshop::save`]; also when the file cannot be made.
    pub fn save_to_file(
        &self,
        images: &[ImageReference],
        format: ArchiveFormat,
        path: &Path,
        progress: &Progress,
    ) -> Result<Saved, SaveError> {
        let mut target = Target::create(path)?;
        let saved = self.save(images, format, &mut target, progress)?;
        target.finish()?;
        Ok(saved)
    }

    /// Every version that is asked for, once.
    fn distinct(&self, images: &[ImageReference]) -> Result<Vec<KeptImage>, LookupError> {
        let mut seen = BTreeSet::new();
        let mut kept = Vec::new();
        for reference in images {
            let image = self.lookup(reference)?;
            if seen.insert(image.reference.clone()) {
                kept.push(image);
            }
        }
        kept.sort_by(|one, other| one.reference.cmp(&other.reference));
        Ok(kept)
    }
}

fn saved_image(kept: &KeptImage) -> Result<SavedImage, SaveError> {
    // Where it came from, and what was judged when, is not what it is: saved again, it gives the same bytes.
    let record = ImageRecord {
        loaded: None,
        verdict: None,
        ..kept.record.clone()
    };
    let record = SavedRecord {
        image: kept.reference.clone(),
        record,
    };
    Ok(SavedImage {
        name: kept.reference.to_string(),
        manifest: kept.manifest,
        record: serde_json::to_vec(&record).map_err(SaveError::Json)?,
        lock: kept.record.lock_file,
        inventory: kept.record.inventory,
    })
}
