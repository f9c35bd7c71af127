//! What a request stands on, as resolution sees it: a Debian base, or an image whose packages are there already.

use cooper_core::plan::{PlannedDebian, PlannedImage, PlannedPython};
use cooper_core::{Base, Digest, ImageReference};

/// What is there before anything is chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum Ground {
    /// A Debian base as today's indexes make it.
    Debian(Base),
    /// An image as it is.
    Image(Box<GroundImage>),
}

/// An image that another one is to stand on. Nothing in it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct GroundImage {
    /// Which version, with its organisation.
    pub image: ImageReference,
    /// The Debian base below it.
    pub release: Base,
    /// The packages of that base.
    pub base: Vec<PlannedDebian>,
    /// The images on that base, the lowest first; the last is the image itself.
    pub below: Vec<PlannedImage>,
    /// dpkg's `status` as it is in the image: what its packages depend on, provide and conflict with.
    pub status: String,
    /// Its Python distributions.
    pub python: Vec<InstalledPython>,
}

/// A Python distribution that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct InstalledPython {
    /// Its artefact.
    pub planned: PlannedPython,
    /// Its METADATA.
    pub metadata: Vec<u8>,
    /// The image that it is a part of.
    pub image: ImageReference,
}

impl Ground {
    /// The Debian base at the bottom.
    pub fn release(&self) -> Base {
        match self {
            Self::Debian(base) => *base,
            Self::Image(image) => image.release,
        }
    }

    /// The images on that base, the lowest first.
    pub fn below(&self) -> &[PlannedImage] {
        match self {
            Self::Debian(_) => &[],
            Self::Image(image) => &image.below,
        }
    }

    /// The Python distributions that are there.
    pub fn python(&self) -> &[InstalledPython] {
        match self {
            Self::Debian(_) => &[],
            Self::Image(image) => &image.python,
        }
    }
}

impl GroundImage {
    /// Every Debian package that is there: the base's, then those of the images.
    pub fn debian(&self) -> impl Iterator<Item = &PlannedDebian> {
        self.base
            .iter()
            .chain(self.below.iter().flat_map(|image| &image.packages))
    }
}

impl InstalledPython {
    /// What a solution depends on.
    pub(crate) fn key(&self) -> String {
        let hash = self.planned.sha256.map_or_else(String::new, |hash| hash.hex());
        let metadata = Digest::of(&self.metadata).hex();
        format!(
            "{} {} {hash} {metadata} {}",
            self.planned.name, self.planned.version, self.image
        )
    }
}
