//! From an archive back to version tags.
//!
//! What loads is untrusted. That an image's layers are the ones of its manifest is proved by digests, and what its
//! inventory lists is compared with its lock and with what the unpacked layers themselves say is installed. Nothing
//! proves that the layers were made from the artefacts that the lock names, or that any gate ever judged them. So
//! the record of such an image says that it was loaded; no create takes it for its own result or offers it for reuse. Who
//! wants the proof makes the image again from its lock: the digest must be the same.

mod claim;

use std::io::BufRead;

use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, ImageName, ManifestDigest, Organisation, Progress};
use cooper_image::archive::{self, ArchiveLimits, ArchivedImage, ReadArchiveError};
use cooper_image::installed::InstalledError;
use cooper_image::layer::{self, UnpackError};
use cooper_image::rootfs::{RootfsError, UnpackLimits};
use cooper_store::{Adopted, GivenTag, LockError, ReadBlobError, RefError, RefRecord};
use serde::Serialize;

use crate::record::{FullReference, ImageRecord};
use crate::workshop::Workshop;
use claim::Claim;

/// An image that came in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadedImage {
    /// Its name here.
    pub image: FullReference,
    /// Its name in the archive.
    pub from: FullReference,
    /// The manifest.
    pub digest: ManifestDigest,
    /// Whether a version tag was made; not, where the same was there.
    pub created: bool,
    /// Bytes of the manifest, the configuration and the compressed layers.
    pub size_bytes: u64,
}

/// Another name for what is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewName {
    /// The owner; none: the own organisation.
    pub organisation: Option<Organisation>,
    /// The name. The version is the next of the configured one.
    pub name: ImageName,
}

/// Why an archive was not loaded. No version tag was made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The archive is refused, or cannot be read.
    #[error(transparent)]
    Archive(#[from] ReadArchiveError),
    /// A document of ours cannot be read from the store.
    #[error("cannot read {role} of `{image}`")]
    Read {
        /// `the record`, `the lock`, `the inventory`
        role: &'static str,
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: ReadBlobError,
    },
    /// A document of ours cannot be understood.
    #[error("{role} of `{image}` cannot be understood")]
    Format {
        /// `the record`, `the lock`, `the inventory`
        role: &'static str,
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// What the archive says of an image is not so.
    #[error("what the archive says of `{image}` is not so: {what}")]
    Untrue {
        /// The image.
        image: String,
        /// What.
        what: String,
    },
    /// A layer is refused, or cannot be unpacked.
    #[error("cannot unpack the layer {layer} of `{image}`")]
    Layer {
        /// The image.
        image: String,
        /// The layer.
        layer: String,
        /// Why.
        #[source]
        source: Box<UnpackError>,
    },
    /// What is installed cannot be told.
    #[error("cannot tell what is installed in `{image}`")]
    Installed {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: InstalledError,
    },
    /// The tag is that of another image here.
    #[error(transparent)]
    Taken(Box<TakenTag>),
    /// One name for several images.
    #[error("the archive has {images} images, and `--name` is one name")]
    OneName {
        /// How many.
        images: usize,
    },
    /// The names could not be read or written.
    #[error("cannot make the version tag")]
    Name(#[from] RefError),
    /// The name could not be locked.
    #[error("cannot lock the image's name")]
    NameLock(#[from] LockError),
    /// The record could not be written as JSON.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
}

/// A tag that was given to another image before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", taken(self))]
pub struct TakenTag {
    /// The name.
    pub image: FullReference,
    /// What the archive has under it.
    pub digest: ManifestDigest,
    /// What is here.
    pub given: GivenTag,
}

fn taken(tag: &TakenTag) -> String {
    let TakenTag { image, digest, given } = tag;
    let here = match given {
        GivenTag { removed: true, .. } => "was removed here, and its number is never given to another image",
        GivenTag { .. } => "is another image here, and no tag ever moves",
    };
    let other = given.manifest.map_or_else(String::new, |manifest| {
        format!(" (here {manifest}, in the archive {digest})")
    });
    format!("`{image}` {here}{other}")
}

impl LoadError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(error) => error.hint(),
            Self::Taken(tag) => Some(format!(
                "load it under another name or the next number: `cooper load FILE --name {}`",
                tag.image.name
            )),
            Self::OneName { .. } => Some("load without `--name`, or save the images one by one".to_owned()),
            Self::Read { .. } | Self::Name(_) | Self::NameLock(_) | Self::Json(_) => Some(
                "check that the store is writable and the disk has room: `cooper config` shows where it is"
                    .to_owned(),
            ),
            Self::Layer { source, .. } if is_of_disk(source) => {
                Some("check that the disk has room: `cooper config` shows where the store is".to_owned())
            }
            _ => Some(
                "do not use this archive: it is damaged or was changed; save it again where it comes from"
                    .to_owned(),
            ),
        }
    }
}

/// Whether the store, rather than the layer, is what failed.
fn is_of_disk(error: &UnpackError) -> bool {
    matches!(
        error,
        UnpackError::Stage(_) | UnpackError::Blob(_) | UnpackError::Write(RootfsError::Io { .. })
    )
}

/// No honest number is larger, and there must be room for those that come after it.
const SERIAL_MAX: u32 = 1_000_000_000;

impl Workshop {
    /// Load every image of an archive; `source` may be a pipe. An image keeps its name and number, unless `new_name` is
    /// given; where the same is there already, nothing is made. All images of the archive are checked before the
    /// first gets its name.
    ///
    /// # Errors
    /// When the archive is refused, a name is taken, or the store cannot be written.
    pub fn load(
        &self,
        source: impl BufRead,
        new_name: Option<&NewName>,
        progress: &Progress,
    ) -> Result<Vec<LoadedImage>, LoadError> {
        let received = archive::read(source, &self.store, ArchiveLimits::default(), progress)?;
        let images = received.images(&self.store)?;
        if new_name.is_some() && images.len() > 1 {
            return Err(LoadError::OneName { images: images.len() });
        }
        let mut claims = Vec::new();
        for image in images {
            let claim = Claim::read(&self.store, image)?;
            if new_name.is_none() {
                self.check_free(&claim)?;
            }
            claims.push(claim);
        }
        let layers: u64 = claims.iter().map(|claim| claim.image.layers.len() as u64).sum();
        progress.started(Stage::Unpack, layers, 0);
        for claim in &claims {
            self.unpack(&claim.image, progress)?;
            claim.check_installed(&self.store)?;
        }
        progress.finished(Stage::Unpack);
        claims
            .into_iter()
            .map(|claim| match new_name {
                Some(new_name) => self.adopt_as(claim, new_name),
                None => self.adopt(claim),
            })
            .collect()
    }

    /// That the tag was not given to another image: known before anything is unpacked.
    fn check_free(&self, claim: &Claim) -> Result<(), LoadError> {
        let FullReference {
            organisation,
            name,
            tag,
        } = &claim.from;
        if tag.serial.get() > SERIAL_MAX {
            return Err(claim.untrue(format!("its number is larger than {SERIAL_MAX}")));
        }
        match self.store.given_tag(organisation, name, tag)? {
            Some(given) if given.manifest != Some(claim.image.manifest) => {
                Err(LoadError::Taken(Box::new(TakenTag {
                    image: claim.from.clone(),
                    digest: claim.image.manifest,
                    given,
                })))
            }
            _ => Ok(()),
        }
    }

    fn unpack(&self, image: &ArchivedImage, progress: &Progress) -> Result<(), LoadError> {
        for layer in &image.layers {
            progress.detail(Stage::Unpack, image.name.as_str());
            let unpacked = layer::unpack(
                &self.store,
                &layer.digest,
                &layer.diff_id,
                &UnpackLimits::default(),
            );
            unpacked.map_err(|source| LoadError::Layer {
                image: image.name.clone(),
                layer: layer.digest.to_string(),
                source: Box::new(source),
            })?;
            progress.advanced(Stage::Unpack, 1, 0);
        }
        Ok(())
    }

    /// Under the name that it has in the archive.
    fn adopt(&self, claim: Claim) -> Result<LoadedImage, LoadError> {
        let image = claim.from.clone();
        let record = self.reference(&claim, claim.record.clone())?;
        let adopted = self
            .store
            .adopt_version(&image.organisation, &image.name, &image.tag, &record)?;
        match adopted {
            Adopted::New => Ok(claim.loaded(image, true)),
            Adopted::Same => Ok(claim.loaded(image, false)),
            Adopted::Taken(given) => Err(LoadError::Taken(Box::new(TakenTag {
                image,
                digest: claim.image.manifest,
                given,
            }))),
        }
    }

    /// Under another name, with the next number of the configured version.
    fn adopt_as(&self, claim: Claim, new_name: &NewName) -> Result<LoadedImage, LoadError> {
        let organisation = new_name.organisation.as_ref();
        let organisation = organisation.unwrap_or(&self.config.organisation).clone();
        let name = new_name.name.clone();
        let _one_at_a_time = self.store.lock(&format!("image-{organisation}-{name}"))?;
        for tag in self.store.versions(&organisation, &name)?.into_iter().rev() {
            // One that cannot be read is no reason to make no other.
            let known = self.store.version(&organisation, &name, &tag).ok().flatten();
            if known.is_some_and(|known| known.manifest == claim.image.manifest) {
                let image = FullReference {
                    organisation,
                    name,
                    tag,
                };
                return Ok(claim.loaded(image, false));
            }
        }
        let renamed = ImageRecord {
            request: claim.record.request.clone().renamed(name.clone()),
            ..claim.record.clone()
        };
        let record = self.reference(&claim, renamed)?;
        let version = &self.config.version;
        let tag = self
            .store
            .create_version(&organisation, &name, version, &record)?;
        let image = FullReference {
            organisation,
            name,
            tag,
        };
        Ok(claim.loaded(image, true))
    }

    fn reference(&self, claim: &Claim, record: ImageRecord) -> Result<RefRecord, LoadError> {
        let image = &claim.image;
        let mut blobs: Vec<BlobDigest> = vec![
            image.manifest.into(),
            image.config.into(),
            image.lock,
            image.inventory,
        ];
        blobs.extend(image.layers.iter().map(|layer| BlobDigest::from(layer.digest)));
        // Artefacts that are here make a rebuild possible without a network, as for an image that was made here.
        let artefacts = claim.lock.content.artefacts().map(|(digest, _)| digest);
        blobs.extend(artefacts.filter(|digest| self.store.renew_blob(digest)));
        let record = ImageRecord {
            loaded: Some(claim.from.clone()),
            // Of another store, and not to be believed.
            verdict: None,
            ..record
        };
        Ok(RefRecord {
            manifest: image.manifest,
            blobs,
            trees: image.layers.iter().map(|layer| layer.diff_id).collect(),
            created_at: self.clock.now(),
            details: serde_json::to_value(&record).map_err(LoadError::Json)?,
        })
    }
}
