//! `index.json`: the view of the names that other programs read (image-spec, `image-index.md`).

use std::io;
use std::path::{Path, PathBuf};

use cooper_core::{ImageName, Organisation, VersionTag};
use serde_json::{Value, json};

use super::file::{Of as _, write_synced};
use super::reference::{RECORD_ENDING, RefError, manifest_in};
use super::{FileError, Store};

impl Store {
    pub(super) fn index_path(&self) -> PathBuf {
        self.root().join("index.json")
    }

    /// Write the view anew. The caller holds the lock of the names.
    pub(super) fn rewrite_index(&self) -> Result<(), RefError> {
        let stage = self.staged_file("index")?;
        write_synced(stage.path(), &self.index_bytes()?)?;
        let place = self.index_path();
        std::fs::rename(stage.path(), &place).of("rename to its place", &place)?;
        Ok(())
    }

    /// Whether the view says what it should.
    pub(super) fn index_is_current(&self) -> Result<bool, RefError> {
        let path = self.index_path();
        match std::fs::read(&path) {
            Ok(bytes) => Ok(bytes == self.index_bytes()?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).of("read", &path)?,
        }
    }

    fn index_bytes(&self) -> Result<Vec<u8>, RefError> {
        let images = self.images()?;
        Ok(index_of(
            images
                .iter()
                .filter_map(|image| self.index_entry(image))
                .collect(),
        ))
    }

    /// Names whose record or manifest is missing are left out: fsck says why.
    fn index_entry(&self, image: &(Organisation, ImageName, VersionTag)) -> Option<Value> {
        let (organisation, name, tag) = image;
        let manifest = manifest_in(
            &self
                .image_dir(organisation, name)
                .join(format!("{tag}{RECORD_ENDING}")),
        )?;
        let size = self.blob_size(&manifest.into())?;
        Some(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": manifest,
            "size": size,
            "annotations": { "org.opencontainers.image.ref.name": format!("{organisation}/{name}:{tag}") },
        }))
    }
}

/// An image index with these entries.
fn index_of(manifests: Vec<Value>) -> Vec<u8> {
    let mut index = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json" });
    index["manifests"] = Value::Array(manifests);
    index.to_string().into_bytes()
}

/// Make the view of a store without names, unless there is one.
pub(super) fn make_empty_index(stage: &Path, place: &Path) -> Result<(), FileError> {
    write_synced(stage, &index_of(Vec::new()))?;
    match std::fs::hard_link(stage, place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).of("link to its place", place)
        }
        _ => Ok(()),
    }
}
