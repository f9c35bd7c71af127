//! `index.json`: the view of the names that other programs read (image-spec, `image-index.md`).

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::file::{Of as _, create_new, write_synced};
use super::reference::RefError;
use super::view::{ListedEntry, View};
use super::{FileError, Store};

impl Store {
    pub(super) fn index_path(&self) -> PathBuf {
        self.root().join("index.json")
    }

    /// Write it anew. The caller holds the lock of the names. It is not synced: after a power cut that damaged it, the
    /// next change of a name writes it.
    pub(super) fn rewrite_index(&self, view: &View) -> Result<(), RefError> {
        let stage = self.staged_file("index")?;
        let mut file = create_new(stage.path())?;
        file.write_all(&self.index_bytes(view))
            .of("write", stage.path())?;
        let place = self.index_path();
        std::fs::rename(stage.path(), &place).of("rename to its place", &place)?;
        Ok(())
    }

    /// Whether it says what it should.
    pub(super) fn index_is_current(&self, view: &View) -> Result<bool, RefError> {
        let path = self.index_path();
        match std::fs::read(&path) {
            Ok(bytes) => Ok(bytes == self.index_bytes(view)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).of("read", &path)?,
        }
    }

    /// Names whose record or manifest is missing are left out: fsck says why.
    fn index_bytes(&self, view: &View) -> Vec<u8> {
        let mut entries = Vec::new();
        for ((organisation, name), image) in &view.names {
            for (tag, entry) in &image.tags {
                let Some(ListedEntry {
                    manifest,
                    manifest_bytes,
                    ..
                }) = entry
                else {
                    continue;
                };
                let Some(size) = manifest_bytes.or_else(|| self.blob_size(&(*manifest).into())) else {
                    continue;
                };
                // Names, tags and digests have nothing that JSON would escape.
                entries.push(format!(
                    r#"{{"annotations":{{"org.opencontainers.image.ref.name":"{organisation}/{name}:{tag}"}},"digest":"{manifest}","mediaType":"application/vnd.oci.image.manifest.v1+json","size":{size}}}"#
                ));
            }
        }
        index_of(&entries)
    }
}

/// An image index with these entries.
fn index_of(manifests: &[String]) -> Vec<u8> {
    format!(
        r#"{{"manifests":[{}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#,
        manifests.join(",")
    )
    .into_bytes()
}

/// Make the view of a store without names, unless there is one.
pub(super) fn make_empty_index(stage: &Path, place: &Path) -> Result<(), FileError> {
    write_synced(stage, &index_of(&[]))?;
    match std::fs::hard_link(stage, place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).of("link to its place", place)
        }
        _ => Ok(()),
    }
}
