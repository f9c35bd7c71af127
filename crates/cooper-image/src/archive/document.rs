//! The documents of an archive: index, manifests, configuration, and the docker-archive's list.

use std::collections::BTreeMap;

use cooper_core::{BlobDigest, DiffId};
use serde::{Deserialize, Serialize};

pub(super) const LAYOUT_PATH: &str = "oci-layout";
pub(super) const INDEX_PATH: &str = "index.json";
pub(super) const DOCKER_PATH: &str = "manifest.json";
pub(super) const BLOBS_PATH: &str = "blobs/sha256/";

pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
pub(super) const ARTIFACT_TYPE: &str = "application/vnd.cooperage.image.v1";
pub(super) const RECORD_TYPE: &str = "application/vnd.cooperage.record.v1+json";
pub(super) const LOCK_TYPE: &str = "application/vnd.cooperage.lock.v1+json";
pub(super) const INVENTORY_TYPE: &str = "application/vnd.cooperage.inventory.v1+json";
/// Docker's list of images for several platforms.
pub(super) const DOCKER_LIST_TYPE: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The name of an image, for readers of layouts.
pub(super) const NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";
/// The same for containerd.
pub(super) const CONTAINERD_NAME_ANNOTATION: &str = "io.containerd.image.name";

/// The content of the empty configuration.
pub(super) const EMPTY: &[u8] = b"{}";
pub(super) const LAYOUT_VERSION: &str = "1.0.0";
pub(super) const ARCHITECTURE: &str = "amd64";
pub(super) const SYSTEM: &str = "linux";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Layout {
    pub(super) image_layout_version: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    #[serde(default)]
    pub(super) media_type: Option<String>,
    pub(super) manifests: Vec<Descriptor>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: BlobDigest,
    pub(super) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
}

/// An image's manifest, or an artifact's: that one has a `subject`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    pub(super) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) subject: Option<Descriptor>,
}

/// The part of an image's configuration that an archive is checked against.
#[derive(Deserialize)]
pub(super) struct Config {
    pub(super) architecture: String,
    pub(super) os: String,
    pub(super) rootfs: RootFs,
}

#[derive(Deserialize)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) diff_ids: Vec<DiffId>,
}

/// One image of a docker-archive's list.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DockerImage {
    pub(super) config: String,
    pub(super) repo_tags: Vec<String>,
    pub(super) layers: Vec<String>,
}

impl Descriptor {
    pub(super) fn new(media_type: &str, digest: BlobDigest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// Where a blob is in an archive.
pub(super) fn blob_path(digest: &BlobDigest) -> String {
    format!("{BLOBS_PATH}{}", digest.hex())
}

/// The docker-archive's list: one entry for each configuration, in the order of the first name.
pub(super) fn docker_list<'a>(
    images: impl Iterator<Item = (&'a str, BlobDigest, Vec<BlobDigest>)>,
) -> Vec<DockerImage> {
    let mut list: Vec<DockerImage> = Vec::new();
    for (name, config, layers) in images {
        let entry = DockerImage {
            config: blob_path(&config),
            repo_tags: Vec::new(),
            layers: layers.iter().map(blob_path).collect(),
        };
        let same = |known: &DockerImage| known.config == entry.config && known.layers == entry.layers;
        let at = list.iter().position(same).unwrap_or_else(|| {
            list.push(entry);
            list.len() - 1
        });
        list[at].repo_tags.push(name.to_owned());
    }
    list
}
