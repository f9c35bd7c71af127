//! Archives of images: one tar that is an OCI image layout and a docker-archive at once.
//!
//! # Layout
//!
//! ```text
//! oci-layout             {"imageLayoutVersion":"1.0.0"}
//! index.json             one descriptor for each image, annotated with its name and with what is kept of it
//! manifest.json          the docker-archive's list: configuration, names and layers of each image
//! blobs/sha256/<hex>     manifests, configurations, what is kept, and the layers, each once
//! ```
//!
//! The blobs are those of the store, byte for byte, so that every digest stays what it is: the manifest's for whoever
//! reads the layout, the configuration's for whoever reads the docker-archive. Order, owners and times are fixed: the same
//! images give the same bytes.
//!
//! What this program keeps of an image beside the manifest (record, lock, inventory) is in an artifact manifest
//! (image-spec 1.1, `manifest.md`, "Guidelines for Artifact Usage") whose `subject` is the image. The annotation
//! [`RECORD_ANNOTATION`] of the image's descriptor names it. It is not among the index's manifests: programs that
//! are asked for "the image" of a layout refuse one that seems to have two.
//!
//! # Reading
//!
//! [`read()`] brings the blobs of an archive into a store, each checked against its digest, and [`Received::images`]
//! checks that everything that the documents say holds together. Neither makes a name, and what a failure leaves is
//! without a name: garbage. Whether record, lock and inventory tell the truth of the layers is for the caller to judge.

mod document;
mod read;
mod write;

use cooper_core::{BlobDigest, ConfigDigest, DiffId, LayerDigest, ManifestDigest};
use cooper_store::{ReadBlobError, WriteBlobError};

use crate::deb::tar::TarError;
use crate::rootfs::ParseTreePathError;
pub use read::{ArchiveLimits, Received, read};
pub use write::{SavedImage, WriteArchiveError, WrittenArchive, write};

/// The annotation that names the artifact manifest with what this program keeps of an image.
pub const RECORD_ANNOTATION: &str = "org.cooperage.image.record";

/// For whom an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ArchiveFormat {
    /// An OCI image layout and a docker-archive in one.
    #[default]
    Both,
    /// An OCI image layout alone.
    Oci,
    /// A docker-archive alone: it has nothing of what is kept beside the image, and cannot be loaded back.
    Docker,
}

impl ArchiveFormat {
    fn is_layout(self) -> bool {
        self != Self::Docker
    }

    fn is_docker_archive(self) -> bool {
        self != Self::Oci
    }
}

/// An image as an archive describes it; everything but the three documents holds together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedImage {
    /// Its name in the archive, printable.
    pub name: String,
    /// The manifest.
    pub manifest: ManifestDigest,
    /// The configuration.
    pub config: ConfigDigest,
    /// The layers, lowest first; their content is not checked yet.
    pub layers: Vec<ArchivedLayer>,
    /// Bytes of the manifest, the configuration and the compressed layers.
    pub size_bytes: u64,
    /// The caller's record.
    pub record: BlobDigest,
    /// The lock.
    pub lock: BlobDigest,
    /// The inventory.
    pub inventory: BlobDigest,
}

/// A layer of an archived image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchivedLayer {
    /// The digest of the compressed tar.
    pub digest: LayerDigest,
    /// The digest that the tar is said to have.
    pub diff_id: DiffId,
    /// Bytes of the compressed tar.
    pub size: u64,
}

/// Why an archive is refused, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadArchiveError {
    /// No tar, or more than is accepted.
    #[error("the archive is malformed")]
    Tar(#[from] TarError),
    /// A compressed tar.
    #[error("the archive is compressed with {format}")]
    Compressed {
        /// The compressor.
        format: &'static str,
    },
    /// A path that is not accepted.
    #[error("the archive has a path that is not accepted")]
    Path(#[from] ParseTreePathError),
    /// An entry that no archive of images has.
    #[error("the entry `{path}` of the archive is refused: {fault}")]
    Entry {
        /// The path, made printable.
        path: String,
        /// What is wrong.
        fault: &'static str,
    },
    /// A blob that could not be kept, or has another digest than its name says.
    #[error("cannot keep the blob `{path}` of the archive")]
    Blob {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: WriteBlobError,
    },
    /// A blob that was just kept could not be read.
    #[error("cannot read {role}")]
    Read {
        /// `the manifest`, `the configuration` …
        role: &'static str,
        /// Why.
        #[source]
        source: ReadBlobError,
    },
    /// Something without which it is no archive of images.
    #[error("the archive has no `{path}`")]
    Missing {
        /// Its path.
        path: &'static str,
    },
    /// A blob that a document names is not there.
    #[error("the archive names {role} {digest}, and does not have it")]
    MissingBlob {
        /// `the manifest`, `the layer` …
        role: &'static str,
        /// Which.
        digest: BlobDigest,
    },
    /// A blob has another size than a document says.
    #[error("{role} {digest} has {found} bytes, the archive says {stated}")]
    Size {
        /// `the manifest`, `the layer` …
        role: &'static str,
        /// Which.
        digest: BlobDigest,
        /// In the document.
        stated: u64,
        /// Of the blob.
        found: u64,
    },
    /// A document that is not what it should be.
    #[error("{role} of the archive cannot be understood")]
    Document {
        /// `the index`, `the manifest` …
        role: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A document or a blob of another type.
    #[error("{role} of `{image}` has the type `{found}`, expected `{expected}`")]
    MediaType {
        /// `the manifest`, `the layer` …
        role: &'static str,
        /// The image.
        image: String,
        /// What it is said to be, made printable.
        found: String,
        /// What is accepted.
        expected: &'static str,
    },
    /// A list of images for several platforms.
    #[error("`{image}` is a list of images for several platforms")]
    SeveralPlatforms {
        /// Its name.
        image: String,
    },
    /// An image for another machine.
    #[error("`{image}` is for {found}, and this program has images for linux/amd64")]
    Platform {
        /// Its name.
        image: String,
        /// What it is for, made printable.
        found: String,
    },
    /// An image of another program: nobody judged what is in it.
    #[error("`{image}` was not saved by `cooper save`: it has no lock and no record")]
    Foreign {
        /// Its name.
        image: String,
    },
    /// Two parts of the archive disagree.
    #[error("the archive contradicts itself: {what}")]
    Contradiction {
        /// About what.
        what: String,
    },
    /// More than is accepted.
    #[error("the archive has more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most that are accepted.
        max: usize,
    },
}

impl ReadArchiveError {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Compressed { format: "gzip" } => "unpack it first: `gunzip -c FILE | cooper load -`",
            Self::Compressed { .. } => "unpack it first, and give the tar to `cooper load -`",
            Self::Tar(TarError::Truncated) => {
                "the end is missing: copy it again, and compare the digest that `cooper save --json` told"
            }
            Self::Foreign { .. } | Self::Missing { .. } | Self::SeveralPlatforms { .. } => {
                "make the archive with `cooper save IMAGE -o FILE`, without `--format docker`"
            }
            Self::Blob {
                source: WriteBlobError::DiskFull { .. },
                ..
            } => "free some disk with `cooper gc`",
            Self::Platform { .. } => "make the image on this machine from its lock: `cooper create --locked`",
            _ => "the archive is damaged or was changed: save it again where it comes from",
        };
        Some(hint.to_owned())
    }
}
