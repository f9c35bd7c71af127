//! Reads an archive: its blobs into a store, its documents against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write as _};

use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, ConfigDigest, Digest, LayerDigest, ManifestDigest, Progress};
use cooper_store::{BlobWriter, ReadBlobError, Store, WriteBlobError};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::document::{
    ARCHITECTURE, ARTIFACT_TYPE, BLOBS_PATH, CONFIG_TYPE, CONTAINERD_NAME_ANNOTATION, Config,
    DOCKER_LIST_TYPE, DOCKER_PATH, Descriptor, DockerImage, INDEX_PATH, INDEX_TYPE, INVENTORY_TYPE, Index,
    LAYER_TYPE, LAYOUT_PATH, LAYOUT_VERSION, LOCK_TYPE, Layout, MANIFEST_TYPE, Manifest, NAME_ANNOTATION,
    RECORD_TYPE, SYSTEM, blob_path, docker_list,
};
use super::{ArchivedImage, ArchivedLayer, RECORD_ANNOTATION, ReadArchiveError};
use crate::deb::tar::{TarEntry, TarKind, TarLimits, TarReader};
use crate::rootfs::{TreePath, printable};

/// What an archive may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Bytes of the tar.
    pub tar_bytes_max: u64,
    /// Entries of the tar.
    pub entries_max: u64,
    /// Bytes of a document: an index, a manifest, a configuration.
    pub document_bytes_max: u64,
    /// How many images.
    pub images_max: usize,
    /// How many layers an image.
    pub layers_max: usize,
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            tar_bytes_max: 64 << 30,
            entries_max: 20_000,
            document_bytes_max: 4 << 20,
            images_max: 1_000,
            layers_max: 128,
        }
    }
}

/// An archive whose blobs are in the store, each with the digest that its name says. What the documents say is not
/// known yet.
#[derive(Debug)]
pub struct Received {
    limits: ArchiveLimits,
    layout: Vec<u8>,
    index: Vec<u8>,
    docker: Option<Vec<u8>>,
    blobs: BTreeMap<BlobDigest, u64>,
}

/// How the documents that are blobs are read: the digest, and the most bytes that are accepted.
type ReadBlob<'a> = dyn Fn(&BlobDigest, u64) -> Result<Vec<u8>, ReadBlobError> + 'a;

const PATH_BYTES_MAX: usize = 128;
const EXTENSION_BYTES_MAX: u64 = 4 << 10;
const KNOWN_FORMATS: [(&[u8], &str); 4] = [
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\xfd7zXZ", "xz"),
    (b"BZh", "bzip2"),
];

/// Bring the blobs of an archive into the store, in one pass: `source` may be a pipe. Blobs that are there already are
/// checked and not written again.
///
/// # Errors
/// When it is no archive of images, a blob is not what its name says, a limit is reached, or the store cannot be
/// written.
pub fn read(
    mut source: impl BufRead,
    store: &Store,
    limits: ArchiveLimits,
    progress: &Progress,
) -> Result<Received, ReadArchiveError> {
    refuse_compressed(&mut source)?;
    let tar_limits = TarLimits {
        bytes_max: limits.tar_bytes_max,
        entries_max: limits.entries_max,
        extension_bytes_max: EXTENSION_BYTES_MAX,
    };
    let mut reader = TarReader::new(source, tar_limits);
    let (mut documents, mut blobs) = (BTreeMap::new(), BTreeMap::new());
    progress.started(Stage::Copy, 0, 0);
    while let Some(entry) = reader.next_entry()? {
        let path = TreePath::parse(&entry.path, PATH_BYTES_MAX)?;
        let refused = |fault| ReadArchiveError::Entry {
            path: path.to_string(),
            fault,
        };
        match (entry.kind, path.as_str()) {
            (TarKind::Directory, "" | "blobs" | "blobs/sha256") => {}
            (TarKind::File, LAYOUT_PATH | INDEX_PATH | DOCKER_PATH) => {
                let bytes = document(&mut reader, &entry, limits.document_bytes_max)?;
                let bytes = bytes.ok_or_else(|| refused("it is too large"))?;
                if documents.insert(path.as_str().to_owned(), bytes).is_some() {
                    return Err(refused("it is there twice"));
                }
            }
            (TarKind::File, file) => {
                let digest = file.strip_prefix(BLOBS_PATH).and_then(digest_of);
                let digest = digest.ok_or_else(|| refused("it does not belong in an archive of images"))?;
                if blobs.insert(digest, entry.size).is_some() {
                    return Err(refused("it is there twice"));
                }
                receive(&mut reader, store, &digest, entry.size, progress)?;
            }
            _ => {
                return Err(refused(
                    "it is neither a file nor a folder that such an archive has",
                ));
            }
        }
    }
    progress.finished(Stage::Copy);
    let mut take = |path| documents.remove(path).ok_or(ReadArchiveError::Missing { path });
    Ok(Received {
        limits,
        layout: take(LAYOUT_PATH)?,
        index: take(INDEX_PATH)?,
        docker: take(DOCKER_PATH).ok(),
        blobs,
    })
}

fn refuse_compressed(source: &mut impl BufRead) -> Result<(), ReadArchiveError> {
    let beginning = source
        .fill_buf()
        .map_err(|error| ReadArchiveError::Tar(crate::deb::tar::TarError::Read(error)))?;
    let known = KNOWN_FORMATS
        .iter()
        .find(|(magic, _)| beginning.starts_with(magic));
    match known {
        Some((_, format)) => Err(ReadArchiveError::Compressed { format }),
        None => Ok(()),
    }
}

/// As the store writes it: lower case.
fn digest_of(hex: &str) -> Option<BlobDigest> {
    format!("sha256:{hex}").parse().ok()
}

/// The body of an entry, unless it is larger than that.
fn document(
    reader: &mut TarReader<impl BufRead>,
    entry: &TarEntry,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, ReadArchiveError> {
    if entry.size > bytes_max {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    reader.read_body(|piece| {
        bytes.extend_from_slice(piece);
        Ok::<(), ReadArchiveError>(())
    })?;
    Ok(Some(bytes))
}

/// Keep a blob, or compare its bytes with their name where the store has it.
fn receive(
    reader: &mut TarReader<impl BufRead>,
    store: &Store,
    digest: &BlobDigest,
    size: u64,
    progress: &Progress,
) -> Result<(), ReadArchiveError> {
    let path = blob_path(digest);
    progress.detail(Stage::Copy, path.as_str());
    let failed = |source| ReadArchiveError::Blob {
        path: path.clone(),
        source,
    };
    let there = store.blob_size(digest) == Some(size) && store.renew_blob(digest);
    if there {
        let mut hasher = Sha256::new();
        reader.read_body(|piece| {
            hasher.update(piece);
            Ok::<(), ReadArchiveError>(())
        })?;
        let actual = Digest::from_bytes(hasher.finalize().into());
        if actual != *digest.digest() {
            let expected = *digest.digest();
            return Err(failed(WriteBlobError::Mismatch { expected, actual }));
        }
        return Ok(());
    }
    let mut writer = store.blob_writer().map_err(failed)?;
    reader.read_body(|piece| write_piece(&mut writer, piece, store, digest, &path))?;
    writer.finish_expecting(digest.digest()).map_err(failed)?;
    Ok(())
}

fn write_piece(
    writer: &mut BlobWriter,
    piece: &[u8],
    store: &Store,
    digest: &BlobDigest,
    path: &str,
) -> Result<(), ReadArchiveError> {
    writer.write_all(piece).map_err(|source| {
        let place = store.blob_path(digest);
        let full = matches!(
            source.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        );
        ReadArchiveError::Blob {
            path: path.to_owned(),
            source: if full {
                WriteBlobError::DiskFull { path: place }
            } else {
                WriteBlobError::Io {
                    operation: "write",
                    path: place,
                    source,
                }
            },
        }
    })
}

impl Received {
    /// The images of the archive, after everything that its documents say was compared: digests, sizes and types of what
    /// they name, the platform, the names, the docker-archive's list. Blobs that nothing names are refused.
    ///
    /// # Errors
    /// When something is missing, or two parts do not agree; when an image is not one of ours.
    pub fn images(&self, store: &Store) -> Result<Vec<ArchivedImage>, ReadArchiveError> {
        self.images_read_by(&|digest, bytes_max| store.read_blob(digest, bytes_max))
    }

    fn images_read_by(&self, read: &ReadBlob<'_>) -> Result<Vec<ArchivedImage>, ReadArchiveError> {
        let layout: Layout = parsed("the layout", &self.layout)?;
        if layout.image_layout_version != LAYOUT_VERSION {
            let found = printable(layout.image_layout_version.as_bytes());
            return Err(contradiction(format!("the layout has the version `{found}`")));
        }
        let index: Index = parsed("the index", &self.index)?;
        let known_type = index
            .media_type
            .as_deref()
            .is_none_or(|found| found == INDEX_TYPE);
        if index.schema_version != 2 || !known_type {
            return Err(contradiction("`index.json` is no index".to_owned()));
        }
        if index.manifests.is_empty() {
            return Err(contradiction("it has no image".to_owned()));
        }
        few("images", index.manifests.len(), self.limits.images_max)?;
        let mut named = BTreeSet::new();
        let checks = Checks { received: self, read };
        let images = index.manifests.iter();
        let images = images
            .map(|descriptor| checks.image(descriptor, &mut named))
            .collect::<Result<Vec<_>, _>>()?;
        self.check_docker(&images)?;
        match self.blobs.keys().find(|digest| !named.contains(digest)) {
            Some(digest) => Err(contradiction(format!("nothing in it names its blob {digest}"))),
            None => Ok(images),
        }
    }

    /// Whoever reads the docker-archive must get the same images.
    fn check_docker(&self, images: &[ArchivedImage]) -> Result<(), ReadArchiveError> {
        let Some(bytes) = &self.docker else {
            return Ok(());
        };
        let found: Vec<DockerImage> = parsed("the docker-archive's list", bytes)?;
        let expected = docker_list(images.iter().map(|image| {
            let layers = image.layers.iter().map(|layer| layer.digest.into());
            (image.name.as_str(), image.config.into(), layers.collect())
        }));
        if found == expected {
            return Ok(());
        }
        let what = format!("`{DOCKER_PATH}` and `{INDEX_PATH}` do not name the same images");
        Err(contradiction(what))
    }
}

fn few(what: &'static str, found: usize, max: usize) -> Result<(), ReadArchiveError> {
    if found > max {
        return Err(ReadArchiveError::TooMany { what, max });
    }
    Ok(())
}

struct Checks<'a> {
    received: &'a Received,
    read: &'a ReadBlob<'a>,
}

impl Checks<'_> {
    fn image(
        &self,
        descriptor: &Descriptor,
        named: &mut BTreeSet<BlobDigest>,
    ) -> Result<ArchivedImage, ReadArchiveError> {
        let image = name_of(descriptor)?;
        if [INDEX_TYPE, DOCKER_LIST_TYPE].contains(&descriptor.media_type.as_str()) {
            return Err(ReadArchiveError::SeveralPlatforms { image });
        }
        check_type("the manifest", &image, &descriptor.media_type, MANIFEST_TYPE)?;
        if let Some(platform) = &descriptor.platform {
            check_platform(&image, &platform.os, &platform.architecture)?;
        }
        let manifest: Manifest = self.document("the manifest", descriptor, named)?;
        check_manifest("the manifest", &image, &manifest)?;
        if manifest.subject.is_some() {
            return Err(contradiction(format!("`{image}` is about another image")));
        }
        check_type(
            "the configuration",
            &image,
            &manifest.config.media_type,
            CONFIG_TYPE,
        )?;
        let config: Config = self.document("the configuration", &manifest.config, named)?;
        check_platform(&image, &config.os, &config.architecture)?;
        let layers = self.layers(&image, &manifest, &config, named)?;
        let [record, lock, inventory] = self.kept(&image, descriptor, named)?;
        let layer_bytes: u64 = layers.iter().map(|layer| layer.size).sum();
        Ok(ArchivedImage {
            name: image,
            manifest: ManifestDigest::new(*descriptor.digest.digest()),
            config: ConfigDigest::new(*manifest.config.digest.digest()),
            layers,
            size_bytes: layer_bytes + descriptor.size + manifest.config.size,
            record,
            lock,
            inventory,
        })
    }

    fn layers(
        &self,
        image: &str,
        manifest: &Manifest,
        config: &Config,
        named: &mut BTreeSet<BlobDigest>,
    ) -> Result<Vec<ArchivedLayer>, ReadArchiveError> {
        let (found, diff_ids) = (&manifest.layers, &config.rootfs.diff_ids);
        few("layers in an image", found.len(), self.received.limits.layers_max)?;
        if config.rootfs.kind != "layers" || found.len() != diff_ids.len() || found.is_empty() {
            let what = format!("the configuration of `{image}` does not have the manifest's layers");
            return Err(contradiction(what));
        }
        let layer = |(layer, diff_id): (&Descriptor, &cooper_core::DiffId)| {
            check_type("the layer", image, &layer.media_type, LAYER_TYPE)?;
            self.present("the layer", layer, named)?;
            Ok(ArchivedLayer {
                digest: LayerDigest::new(*layer.digest.digest()),
                diff_id: *diff_id,
                size: layer.size,
            })
        };
        found.iter().zip(diff_ids).map(layer).collect()
    }

    /// Record, lock and inventory of an image.
    fn kept(
        &self,
        image: &str,
        descriptor: &Descriptor,
        named: &mut BTreeSet<BlobDigest>,
    ) -> Result<[BlobDigest; 3], ReadArchiveError> {
        let foreign = || ReadArchiveError::Foreign {
            image: image.to_owned(),
        };
        let role = "the artifact manifest";
        let artifact = descriptor.annotations.get(RECORD_ANNOTATION);
        let digest: BlobDigest = artifact
            .and_then(|digest| digest.parse().ok())
            .ok_or_else(foreign)?;
        let size = self.received.blobs.get(&digest).copied();
        let size = size.ok_or(ReadArchiveError::MissingBlob { role, digest })?;
        let manifest: Manifest = self.document(role, &Descriptor::new(MANIFEST_TYPE, digest, size), named)?;
        check_manifest(role, image, &manifest)?;
        if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
            return Err(foreign());
        }
        self.present("the empty configuration", &manifest.config, named)?;
        let subject = manifest.subject.as_ref();
        if subject
            .is_none_or(|subject| subject.digest != descriptor.digest || subject.size != descriptor.size)
        {
            return Err(contradiction(format!(
                "the record of `{image}` is about another image"
            )));
        }
        let [record, lock, inventory] = manifest.layers.as_slice() else {
            return Err(foreign());
        };
        let roles = [
            ("the record", record, RECORD_TYPE),
            ("the lock", lock, LOCK_TYPE),
            ("the inventory", inventory, INVENTORY_TYPE),
        ];
        for (role, part, expected) in roles {
            check_type(role, image, &part.media_type, expected)?;
            self.present(role, part, named)?;
        }
        Ok([record.digest, lock.digest, inventory.digest])
    }

    /// A blob that a descriptor names is there, and has the size that it says.
    fn present(
        &self,
        role: &'static str,
        descriptor: &Descriptor,
        named: &mut BTreeSet<BlobDigest>,
    ) -> Result<(), ReadArchiveError> {
        let digest = descriptor.digest;
        let found = self.received.blobs.get(&digest).copied();
        let found = found.ok_or(ReadArchiveError::MissingBlob { role, digest })?;
        if found != descriptor.size {
            let stated = descriptor.size;
            return Err(ReadArchiveError::Size {
                role,
                digest,
                stated,
                found,
            });
        }
        named.insert(digest);
        Ok(())
    }

    fn document<T: DeserializeOwned>(
        &self,
        role: &'static str,
        descriptor: &Descriptor,
        named: &mut BTreeSet<BlobDigest>,
    ) -> Result<T, ReadArchiveError> {
        self.present(role, descriptor, named)?;
        let bytes = (self.read)(&descriptor.digest, self.received.limits.document_bytes_max);
        let bytes = bytes.map_err(|source| ReadArchiveError::Read { role, source })?;
        parsed(role, &bytes)
    }
}

/// Both readers of names must find the same one.
fn name_of(descriptor: &Descriptor) -> Result<String, ReadArchiveError> {
    let annotation = |key: &str| {
        let value = descriptor.annotations.get(key);
        value.map(|name| printable(name.as_bytes()))
    };
    let name = annotation(NAME_ANNOTATION);
    let containerd = annotation(CONTAINERD_NAME_ANNOTATION);
    if name.is_some() && containerd.is_some() && name != containerd {
        return Err(contradiction("an image of it has two names".to_owned()));
    }
    Ok(name.unwrap_or_else(|| descriptor.digest.to_string()))
}

fn check_manifest(role: &'static str, image: &str, manifest: &Manifest) -> Result<(), ReadArchiveError> {
    check_type(role, image, &manifest.media_type, MANIFEST_TYPE)?;
    if manifest.schema_version == 2 {
        return Ok(());
    }
    Err(contradiction(format!(
        "{role} of `{image}` has another schema version"
    )))
}

fn check_type(
    role: &'static str,
    image: &str,
    found: &str,
    expected: &'static str,
) -> Result<(), ReadArchiveError> {
    if found == expected {
        return Ok(());
    }
    Err(ReadArchiveError::MediaType {
        role,
        image: image.to_owned(),
        found: printable(found.as_bytes()),
        expected,
    })
}

fn check_platform(image: &str, system: &str, architecture: &str) -> Result<(), ReadArchiveError> {
    if (system, architecture) == (SYSTEM, ARCHITECTURE) {
        return Ok(());
    }
    Err(ReadArchiveError::Platform {
        image: image.to_owned(),
        found: printable(format!("{system}/{architecture}").as_bytes()),
    })
}

fn parsed<T: DeserializeOwned>(role: &'static str, bytes: &[u8]) -> Result<T, ReadArchiveError> {
    serde_json::from_slice(bytes).map_err(|source| ReadArchiveError::Document { role, source })
}

fn contradiction(what: String) -> ReadArchiveError {
    ReadArchiveError::Contradiction { what }
}
