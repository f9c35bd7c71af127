//! `index.json`: the view of the names that other programs read (image-spec, `image-index.md`).

use std::io;

use serde_json::{Value, json};

use super::file::{Of as _, write_synced};
use super::reference::Listed;
use super::{FileError, Store};

impl Store {
    pub(super) fn index_path(&self) -> std::path::PathBuf {
        self.root().join("index.json")
    }

    /// Write the view anew. The caller holds the refs lock.
    pub(super) fn rewrite_index(&self, listed: &[Listed]) -> Result<(), FileError> {
        let stage = self.fresh_path("index")?;
        write_synced(&stage, &self.index_bytes(listed))?;
        let place = self.index_path();
        std::fs::rename(&stage, &place).of("rename to its place", &place)
    }

    /// What the view should say. Names whose record or manifest is missing are left out: fsck says why.
    pub(super) fn index_bytes(&self, listed: &[Listed]) -> Vec<u8> {
        let manifests: Vec<Value> = listed
            .iter()
            .filter_map(|entry| self.index_entry(entry))
            .collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        index.to_string().into_bytes()
    }

    fn index_entry(&self, listed: &Listed) -> Option<Value> {
        let record = listed.record.as_ref().ok()?;
        let size = self.blob_size(&record.manifest.into())?;
        Some(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": record.manifest,
            "size": size,
            "annotations": { "org.opencontainers.image.ref.name": listed.to_string() },
        }))
    }

    /// Whether the view says what it should.
    pub(super) fn index_is_current(&self, listed: &[Listed]) -> Result<bool, FileError> {
        let path = self.index_path();
        match std::fs::read(&path) {
            Ok(bytes) => Ok(bytes == self.index_bytes(listed)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(listed.is_empty()),
            Err(error) => Err(error).of("read", &path),
        }
    }
}
