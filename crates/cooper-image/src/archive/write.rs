//! Writes an archive, blob by blob, from the store.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write};

use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, Digest, ManifestDigest, Progress};
use cooper_store::{ReadBlobError, Store};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::document::{
    ARCHITECTURE, ARTIFACT_TYPE, BLOBS_PATH, CONTAINERD_NAME_ANNOTATION, DOCKER_PATH, Descriptor, EMPTY,
    EMPTY_TYPE, INDEX_PATH, INDEX_TYPE, INVENTORY_TYPE, Index, LAYOUT_PATH, LAYOUT_VERSION, LOCK_TYPE,
    Layout, MANIFEST_TYPE, Manifest, NAME_ANNOTATION, Platform, RECORD_TYPE, SYSTEM, blob_path, docker_list,
};
use super::{ArchiveFormat, RECORD_ANNOTATION};
use crate::layer::tar::{BLOCK, END, Header, Kind};

/// An image that is to be saved. Everything that it names is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedImage {
    /// The name that it gets in the archive: `ORGANISATION/NAME:TAG`.
    pub name: String,
    /// The manifest.
    pub manifest: ManifestDigest,
    /// The caller's record, as JSON.
    pub record: Vec<u8>,
    /// The lock.
    pub lock: BlobDigest,
    /// The inventory.
    pub inventory: BlobDigest,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenArchive {
    /// Bytes of the tar.
    pub bytes: u64,
    /// The digest of the tar.
    pub digest: Digest,
}

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteArchiveError {
    /// A blob of an image is missing or damaged.
    #[error("cannot read {role} of `{image}`")]
    Blob {
        /// `the manifest`, `the layer` …
        role: &'static str,
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: ReadBlobError,
    },
    /// The manifest is not one of ours.
    #[error("the manifest of `{image}` cannot be understood")]
    Manifest {
        /// The image.
        image: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A document could not be made.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
    /// The archive could not be written.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
}

const MANIFEST_BYTES_MAX: u64 = 4 << 20;
const COPY_BYTES: usize = 256 << 10;

/// What is written under a blob's name.
enum Content {
    Stored {
        role: &'static str,
        image: String,
        size: u64,
    },
    Made(Vec<u8>),
}

/// Everything that goes into an archive, in its order.
#[derive(Default)]
struct Plan {
    index: Vec<Descriptor>,
    docker: Vec<(String, BlobDigest, Vec<BlobDigest>)>,
    known: BTreeSet<BlobDigest>,
    documents: Vec<(BlobDigest, Content)>,
    layers: Vec<(BlobDigest, Content)>,
}

/// Write the images to `out`; each blob is checked against its digest on the way. Blobs that several images have are
/// written once.
///
/// # Errors
/// When a blob is missing or damaged, or `out` cannot be written. What was written until then is no archive.
pub fn write(
    store: &Store,
    images: &[SavedImage],
    format: ArchiveFormat,
    out: &mut dyn Write,
    progress: &Progress,
) -> Result<WrittenArchive, WriteArchiveError> {
    let mut plan = Plan::default();
    for image in images {
        plan.add(store, image, format)?;
    }
    let mut tar = TarWriter {
        out,
        hasher: Sha256::new(),
        bytes: 0,
    };
    if format.is_layout() {
        tar.document(
            LAYOUT_PATH,
            &Layout {
                image_layout_version: LAYOUT_VERSION.to_owned(),
            },
        )?;
        let index = Index {
            schema_version: 2,
            media_type: Some(INDEX_TYPE.to_owned()),
            manifests: plan.index,
        };
        tar.document(INDEX_PATH, &index)?;
    }
    if format.is_docker_archive() {
        let images = plan.docker.into_iter();
        let images: Vec<_> = images.collect();
        let named = images
            .iter()
            .map(|(name, config, layers)| (name.as_str(), *config, layers.clone()));
        tar.document(DOCKER_PATH, &docker_list(named))?;
    }
    for folder in ["blobs/", BLOBS_PATH] {
        tar.header(folder, Kind::Directory, 0)?;
    }
    let blobs: Vec<_> = plan.documents.into_iter().chain(plan.layers).collect();
    let bytes = blobs.iter().map(|(_, content)| content.size()).sum();
    progress.started(Stage::Copy, blobs.len() as u64, bytes);
    for (digest, content) in blobs {
        tar.blob(store, &digest, content, progress)?;
    }
    progress.finished(Stage::Copy);
    tar.finish()
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Stored { size, .. } => *size,
            Self::Made(bytes) => bytes.len() as u64,
        }
    }
}

impl Plan {
    fn add(
        &mut self,
        store: &Store,
        image: &SavedImage,
        format: ArchiveFormat,
    ) -> Result<(), WriteArchiveError> {
        let role = "the manifest";
        let blob = |source| WriteArchiveError::Blob {
            role,
            image: image.name.clone(),
            source,
        };
        let bytes = store
            .read_blob(&image.manifest.into(), MANIFEST_BYTES_MAX)
            .map_err(blob)?;
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|source| WriteArchiveError::Manifest {
                image: image.name.clone(),
                source,
            })?;
        let config = manifest.config.digest;
        let layers: Vec<BlobDigest> = manifest.layers.iter().map(|layer| layer.digest).collect();
        let described = Descriptor::new(MANIFEST_TYPE, image.manifest.into(), bytes.len() as u64);
        if format.is_layout() {
            self.made(bytes);
            let record = self.artifact(store, image, &described)?;
            self.index.push(named(described, &image.name, &record));
        }
        self.stored(store, image, "the configuration", config)?;
        for layer in &layers {
            self.stored(store, image, "the layer", *layer)?;
        }
        self.docker.push((image.name.clone(), config, layers));
        Ok(())
    }

    /// The artifact manifest with what is kept of an image; its digest.
    fn artifact(
        &mut self,
        store: &Store,
        image: &SavedImage,
        subject: &Descriptor,
    ) -> Result<BlobDigest, WriteArchiveError> {
        let record = BlobDigest::of(&image.record);
        let record = Descriptor::new(RECORD_TYPE, record, image.record.len() as u64);
        let lock = self.stored(store, image, "the lock", image.lock)?;
        let inventory = self.stored(store, image, "the inventory", image.inventory)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST_TYPE.to_owned(),
            artifact_type: Some(ARTIFACT_TYPE.to_owned()),
            config: Descriptor::new(EMPTY_TYPE, BlobDigest::of(EMPTY), EMPTY.len() as u64),
            layers: vec![
                record,
                Descriptor::new(LOCK_TYPE, image.lock, lock),
                Descriptor::new(INVENTORY_TYPE, image.inventory, inventory),
            ],
            subject: Some(subject.clone()),
        };
        self.made(EMPTY.to_vec());
        self.made(image.record.clone());
        let bytes = serde_json::to_vec(&manifest).map_err(WriteArchiveError::Json)?;
        let digest = BlobDigest::of(&bytes);
        self.made(bytes);
        Ok(digest)
    }

    fn made(&mut self, bytes: Vec<u8>) {
        let digest = BlobDigest::of(&bytes);
        if self.known.insert(digest) {
            self.documents.push((digest, Content::Made(bytes)));
        }
    }

    /// A blob of the store, which no garbage collection takes from now on; its size.
    fn stored(
        &mut self,
        store: &Store,
        image: &SavedImage,
        role: &'static str,
        digest: BlobDigest,
    ) -> Result<u64, WriteArchiveError> {
        let there = store.renew_blob(&digest);
        let size = store.blob_size(&digest).filter(|_| there);
        let size = size.ok_or_else(|| WriteArchiveError::Blob {
            role,
            image: image.name.clone(),
            source: ReadBlobError::Missing { digest },
        })?;
        let content = Content::Stored {
            role,
            image: image.name.clone(),
            size,
        };
        if self.known.insert(digest) {
            let list = if role == "the layer" {
                &mut self.layers
            } else {
                &mut self.documents
            };
            list.push((digest, content));
        }
        Ok(size)
    }
}

fn named(manifest: Descriptor, name: &str, record: &BlobDigest) -> Descriptor {
    let annotations = [
        (NAME_ANNOTATION, name.to_owned()),
        (CONTAINERD_NAME_ANNOTATION, name.to_owned()),
        (RECORD_ANNOTATION, record.to_string()),
    ];
    Descriptor {
        platform: Some(Platform {
            architecture: ARCHITECTURE.to_owned(),
            os: SYSTEM.to_owned(),
        }),
        annotations: BTreeMap::from(annotations.map(|(key, value)| (key.to_owned(), value))),
        ..manifest
    }
}

/// A tar in which nothing depends on the host.
struct TarWriter<'a> {
    out: &'a mut dyn Write,
    hasher: Sha256,
    bytes: u64,
}

impl TarWriter<'_> {
    fn document(&mut self, path: &str, document: &impl Serialize) -> Result<(), WriteArchiveError> {
        let bytes = serde_json::to_vec(document).map_err(WriteArchiveError::Json)?;
        self.file(path, &bytes)
    }

    fn file(&mut self, path: &str, bytes: &[u8]) -> Result<(), WriteArchiveError> {
        self.header(path, Kind::File, bytes.len() as u64)?;
        self.put(bytes)?;
        self.pad()
    }

    fn blob(
        &mut self,
        store: &Store,
        digest: &BlobDigest,
        content: Content,
        progress: &Progress,
    ) -> Result<(), WriteArchiveError> {
        let path = blob_path(digest);
        let (role, image, size) = match content {
            Content::Stored { role, image, size } => (role, image, size),
            Content::Made(bytes) => {
                progress.advanced(Stage::Copy, 1, bytes.len() as u64);
                return self.file(&path, &bytes);
            }
        };
        progress.detail(Stage::Copy, format!("{role} of {image}"));
        let failed = |source| WriteArchiveError::Blob {
            role,
            image: image.clone(),
            source,
        };
        let io_failed = |source| {
            failed(ReadBlobError::Io {
                operation: "read",
                path: store.blob_path(digest),
                source,
            })
        };
        let mut file = store.open_blob(digest).map_err(failed)?.take(size);
        self.header(&path, Kind::File, size)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; COPY_BYTES];
        let mut copied = 0;
        loop {
            let read = file.read(&mut buffer).map_err(io_failed)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            self.put(&buffer[..read])?;
            copied += read as u64;
            progress.advanced(Stage::Copy, 0, read as u64);
        }
        let actual = Digest::from_bytes(hasher.finalize().into());
        if copied != size || actual != *digest.digest() {
            let digest = *digest;
            return Err(failed(ReadBlobError::Corrupted { digest, actual }));
        }
        progress.advanced(Stage::Copy, 1, 0);
        self.pad()
    }

    fn header(&mut self, path: &str, kind: Kind, size: u64) -> Result<(), WriteArchiveError> {
        let header = Header {
            path: path.as_bytes(),
            kind,
            mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
            uid: 0,
            gid: 0,
            mtime: 0,
            size,
            link: b"",
            capability: None,
        };
        self.put(&header.blocks())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteArchiveError> {
        self.out.write_all(bytes).map_err(WriteArchiveError::Write)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self) -> Result<(), WriteArchiveError> {
        let missing = self.bytes.next_multiple_of(BLOCK as u64) - self.bytes;
        self.put(&[0; BLOCK][..usize::try_from(missing).unwrap_or(0)])
    }

    fn finish(mut self) -> Result<WrittenArchive, WriteArchiveError> {
        self.put(&END)?;
        self.out.flush().map_err(WriteArchiveError::Write)?;
        Ok(WrittenArchive {
            bytes: self.bytes,
            digest: Digest::from_bytes(self.hasher.finalize().into()),
        })
    }
}
