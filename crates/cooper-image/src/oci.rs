//! The OCI image configuration and manifest (image-spec 1.1): both derived from the layers and the base alone.
//!
//! Name, version number and verdict stay outside: the same lock gives the same manifest under any name.

use std::collections::BTreeMap;

use cooper_core::{Base, ConfigDigest, DiffId, LayerDigest, Timestamp};
use serde::Serialize;

/// The environment of every image.
pub const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "PATH",
        "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin",
    ),
    ("LANG", "C.UTF-8"),
    ("PYTHONUNBUFFERED", "1"),
];
/// The user of every image, as `uid:gid`.
pub const USER: &str = "1000:1000";
/// The working directory of every image.
pub const WORKING_DIR: &str = "/work";

const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What it holds: `base`, `os` or `python`.
    pub role: &'static str,
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The digest of the blob.
    pub digest: LayerDigest,
    /// Bytes of the blob.
    pub size: u64,
    /// The newest file time inside, in seconds since 1970.
    pub newest_mtime: i64,
}

#[derive(Serialize)]
struct ImageConfig<'a> {
    created: &'a str,
    architecture: &'a str,
    os: &'a str,
    config: Execution<'a>,
    rootfs: RootFs,
    history: Vec<History<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Execution<'a> {
    user: &'a str,
    env: Vec<String>,
    cmd: [&'a str; 1],
    working_dir: &'a str,
    labels: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: &'static str,
    diff_ids: Vec<DiffId>,
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor<ConfigDigest>,
    layers: Vec<Descriptor<LayerDigest>>,
    annotations: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<D> {
    media_type: &'static str,
    digest: D,
    size: u64,
}

fn annotations(base: Base, created: &str) -> BTreeMap<&'static str, String> {
    let base = ("org.opencontainers.image.base.name", base.to_string());
    BTreeMap::from([base, ("org.opencontainers.image.created", created.to_owned())])
}

/// The image configuration as JSON bytes. `created` is the newest file time of the layers.
pub(crate) fn config(base: Base, layers: &[Layer]) -> Result<Vec<u8>, serde_json::Error> {
    let created = created(layers);
    let created = created.as_str();
    let history = |layer: &Layer| History {
        created,
        created_by: format!("cooper: {} layer", layer.role),
    };
    serde_json::to_vec(&ImageConfig {
        created,
        architecture: "amd64",
        os: "linux",
        config: Execution {
            user: USER,
            env: ENVIRONMENT
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            cmd: ["python3"],
            working_dir: WORKING_DIR,
            labels: annotations(base, created),
        },
        rootfs: RootFs {
            kind: "layers",
            diff_ids: layers.iter().map(|layer| layer.diff_id).collect(),
        },
        history: layers.iter().map(history).collect(),
    })
}

/// The image manifest as JSON bytes.
pub(crate) fn manifest(base: Base, config: &[u8], layers: &[Layer]) -> Result<Vec<u8>, serde_json::Error> {
    let descriptor = |layer: &Layer| Descriptor {
        media_type: LAYER_TYPE,
        digest: layer.digest,
        size: layer.size,
    };
    serde_json::to_vec(&Manifest {
        schema_version: 2,
        media_type: MANIFEST_TYPE,
        config: Descriptor {
            media_type: CONFIG_TYPE,
            digest: ConfigDigest::of(config),
            size: config.len() as u64,
        },
        layers: layers.iter().map(descriptor).collect(),
        annotations: annotations(base, &created(layers)),
    })
}

/// The newest file time of the layers, as RFC 3339.
fn created(layers: &[Layer]) -> String {
    let newest = layers.iter().map(|layer| layer.newest_mtime).max().unwrap_or(0);
    Timestamp::from_second(newest)
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn layer(mtime: i64) -> Layer {
        Layer {
            role: "base",
            diff_id: DiffId::of(b"tar"),
            digest: LayerDigest::of(b"gz"),
            size: 2,
            newest_mtime: mtime,
        }
    }

    #[test]
    fn created_is_the_newest_file_time() {
        let layers = [layer(1_700_000_000), layer(1_600_000_000)];
        let config: Value = serde_json::from_slice(&config(Base::Trixie, &layers).unwrap()).unwrap();
        assert_eq!(config["created"], "2023-11-14T22:13:20Z");
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
        assert_eq!(config["config"]["User"], "1000:1000");
    }

    #[test]
    fn the_manifest_names_its_parts() {
        let manifest: Value =
            serde_json::from_slice(&manifest(Base::Trixie, b"{}", &[layer(0)]).unwrap()).unwrap();
        assert_eq!(manifest["config"]["digest"], ConfigDigest::of(b"{}").to_string());
        assert_eq!(manifest["layers"][0]["mediaType"], LAYER_TYPE);
        assert_eq!(manifest["schemaVersion"], 2);
    }
}
