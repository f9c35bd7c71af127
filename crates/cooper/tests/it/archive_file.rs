//! An archive of images taken apart, changed so that its digests still fit, and put together again.

use std::io::Write as _;
use std::path::Path;

use cooper_core::Digest;
use serde_json::Value;
use testkit::tar::{TarEntry, write_tar};

/// The files of an archive, in their order.
#[derive(Clone)]
pub(crate) struct ArchiveFile {
    pub(crate) entries: Vec<(String, Vec<u8>)>,
}

const BLOBS: &str = "blobs/sha256/";

impl ArchiveFile {
    /// Take an archive apart. Only what `cooper save` writes is understood.
    pub(crate) fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let mut entries = Vec::new();
        let mut at = 0;
        while bytes[at] != 0 {
            let header = &bytes[at..at + 512];
            let text = |range: std::ops::Range<usize>| {
                let field = &header[range];
                let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
                String::from_utf8(field[..end].to_vec()).unwrap()
            };
            let size = usize::from_str_radix(&text(124..136), 8).unwrap();
            let body = bytes[at + 512..at + 512 + size].to_vec();
            if header[156] == b'0' {
                entries.push((text(0..100), body));
            }
            at += 512 + size.next_multiple_of(512);
        }
        assert_eq!(bytes.len(), at + 1024, "nothing after the end");
        Self { entries }
    }

    /// The tar of it.
    pub(crate) fn tar(&self) -> Vec<u8> {
        let entries = self.entries.iter();
        let entries: Vec<TarEntry> = entries
            .map(|(path, bytes)| TarEntry::file(path, bytes.clone()))
            .collect();
        write_tar(&entries, 0)
    }

    pub(crate) fn get(&self, path: &str) -> &[u8] {
        let found = self.entries.iter().find(|(known, _)| known == path);
        &found.unwrap_or_else(|| panic!("no {path}")).1
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_slice(self.get(path)).unwrap()
    }

    pub(crate) fn blob(&self, digest: &Value) -> Value {
        self.json(&blob_path(digest.as_str().unwrap()))
    }

    pub(crate) fn remove(&mut self, path: &str) {
        self.entries.retain(|(known, _)| known != path);
    }

    pub(crate) fn set(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        match self.entries.iter_mut().find(|(known, _)| known == path) {
            Some(entry) => entry.1 = bytes,
            None => self.entries.push((path.to_owned(), bytes)),
        }
    }

    /// Change the index; nothing follows.
    pub(crate) fn edit_index(&mut self, edit: impl FnOnce(&mut Value)) {
        let mut index = self.json("index.json");
        edit(&mut index);
        self.set("index.json", index.to_string());
    }

    /// The digest of the first image's manifest.
    pub(crate) fn manifest(&self) -> String {
        text(&self.json("index.json")["manifests"][0]["digest"])
    }

    /// The digest of one of the documents: `config`, `artifact`, `record`, `lock`, `inventory`, or of a layer: its
    /// number.
    pub(crate) fn digest_of(&self, what: &str) -> String {
        let index = self.json("index.json");
        let manifest = self.blob(&index["manifests"][0]["digest"]);
        let artifact = &index["manifests"][0]["annotations"]["org.cooperage.image.record"];
        let kept = |number: usize| text(&self.blob(artifact)["layers"][number]["digest"]);
        match what {
            "manifest" => self.manifest(),
            "config" => text(&manifest["config"]["digest"]),
            "artifact" => text(artifact),
            "record" => kept(0),
            "lock" => kept(1),
            "inventory" => kept(2),
            number => text(&manifest["layers"][number.parse::<usize>().unwrap()]["digest"]),
        }
    }

    /// Change one of the documents; everything that names it follows.
    pub(crate) fn edit(&mut self, what: &str, edit: impl FnOnce(&mut Value)) {
        let digest = self.digest_of(what);
        let mut value = self.json(&blob_path(&digest));
        edit(&mut value);
        self.replace(&digest, value.to_string().into_bytes());
    }

    /// Give a blob another content; everything that names it follows.
    pub(crate) fn replace(&mut self, digest: &str, bytes: Vec<u8>) {
        let new = Digest::of(&bytes).to_string();
        let size = bytes.len();
        let at = self.position(digest);
        self.entries[at] = (blob_path(&new), bytes);
        self.follow(digest, &new, Some(size));
    }

    /// Put another tar in the place of a layer; digest, size and diff id follow everywhere.
    pub(crate) fn replace_layer(&mut self, number: usize, tar: &[u8], packed: Vec<u8>) {
        let config = self.blob(&Value::String(self.digest_of("config")));
        let old = text(&config["rootfs"]["diff_ids"][number]);
        let digest = self.digest_of(&number.to_string());
        self.replace(&digest, packed);
        self.follow(&old, &Digest::of(tar).to_string(), None);
        self.settle_size();
    }

    /// Let the record have the size that the manifest's parts have.
    pub(crate) fn settle_size(&mut self) {
        let manifest = self.blob(&Value::String(self.manifest()));
        let size = |part: &Value| part["size"].as_u64().unwrap();
        let layers: u64 = manifest["layers"].as_array().unwrap().iter().map(size).sum();
        let own = self.get(&blob_path(&self.manifest())).len() as u64;
        let total = layers + size(&manifest["config"]) + own;
        self.edit("record", |record| record["record"]["size_bytes"] = total.into());
    }

    /// Replace a digest in every document, and then the digests of those.
    fn follow(&mut self, old: &str, new: &str, size: Option<usize>) {
        let old_hex = old.trim_start_matches("sha256:");
        for at in 0..self.entries.len() {
            let (path, bytes) = &self.entries[at];
            if bytes.first().is_none_or(|byte| !b"{[".contains(byte)) {
                continue;
            }
            let before: Value = serde_json::from_slice(bytes).unwrap();
            let mut after = before.clone();
            substitute(&mut after, old_hex, new.trim_start_matches("sha256:"), size);
            if before == after {
                continue;
            }
            match path.strip_prefix(BLOBS) {
                Some(hex) => {
                    let digest = format!("sha256:{hex}");
                    self.replace(&digest, after.to_string().into_bytes());
                }
                None => self.entries[at].1 = after.to_string().into_bytes(),
            }
        }
    }

    fn position(&self, digest: &str) -> usize {
        let path = blob_path(digest);
        self.entries.iter().position(|(known, _)| *known == path).unwrap()
    }
}

/// Where a blob is.
pub(crate) fn blob_path(digest: &str) -> String {
    format!("{BLOBS}{}", digest.trim_start_matches("sha256:"))
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    std::fs::File::create(path).unwrap().write_all(bytes).unwrap();
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

fn substitute(value: &mut Value, old: &str, new: &str, size: Option<usize>) {
    match value {
        Value::String(text) => *text = text.replace(old, new),
        Value::Array(values) => {
            for value in values {
                substitute(value, old, new, size);
            }
        }
        Value::Object(fields) => {
            let named = fields
                .get("digest")
                .and_then(Value::as_str)
                .is_some_and(|digest| digest.ends_with(old));
            if let (true, Some(size)) = (named, size) {
                fields.insert("size".to_owned(), size.into());
            }
            for value in fields.values_mut() {
                substitute(value, old, new, size);
            }
        }
        _ => {}
    }
}
