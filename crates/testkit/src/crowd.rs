//! A store with many images, in the likeness of one that was really made: for measuring what ten thousand cost.
//!
//! It writes the store's documented layout by hand: blobs, unpacked layers, records and the journal. Every image has the
//! layers of its model but the topmost, which is its own and small; its own configuration, manifest, lock and inventory;
//! and one wheel of its own in the lock. Names have many versions. Everything that the product checks holds; the views
//! are left to it.

use std::collections::BTreeMap;
use std::fs::{File, FileTimes};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cooper_core::{BlobDigest, DiffId, ImageReference, Lock, Timestamp};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::compress::Compression;

/// What a crowd is made of.
#[derive(Debug, Clone)]
pub struct Crowd {
    /// `ORGANISATION/NAME:TAG` of an image in the store that has at least one Python distribution.
    pub model: ImageReference,
    /// How many images to add.
    pub images: usize,
    /// How many names they have.
    pub names: usize,
}

/// The times in layers, in seconds since 1970.
const MTIME: u64 = 1_700_000_000;
/// How long the newest image of a crowd is older than the next one.
const APART: SignedDuration = SignedDuration::from_mins(30);

/// A model's parts.
struct Model {
    record: Value,
    lock: Lock,
    inventory: Value,
    config: Value,
    manifest: Value,
    /// The digest of the wheel that each image has another of.
    wheel: BlobDigest,
    organisation: String,
    made_at: Timestamp,
}

impl Crowd {
    /// Add the images to a store that nobody uses.
    ///
    /// # Panics
    /// When the store does not have the model, or cannot be written.
    pub fn fill(&self, store: &Path) {
        let model = Model::read(store, &self.model);
        let mut journal = Vec::new();
        for number in 0..self.images {
            let name = format!("crowd-{:04}", number % self.names);
            let tag = format!("1.0.0.{}", number / self.names + 1);
            let age = APART * i32::try_from(self.images - number).unwrap();
            let created_at = model.made_at - age;
            let record = model.image(store, number, &name, created_at);
            let directory = store.join("refs").join(&model.organisation).join(&name);
            make_dirs(&directory);
            put(
                &directory.join(format!("{tag}.json")),
                &serde_json::to_vec(&record).unwrap(),
                0o600,
            );
            let line = json!({
                "at": created_at,
                "event": "created",
                "organisation": model.organisation,
                "name": name,
                "tag": tag,
                "manifest": record["manifest"],
            });
            writeln!(journal, "{line}").unwrap();
        }
        let mut file = File::options().append(true).open(store.join("journal")).unwrap();
        file.write_all(&journal).unwrap();
        let _ = std::fs::remove_file(store.join("names"));
    }
}

impl Model {
    fn read(store: &Path, model: &ImageReference) -> Self {
        let organisation = model.organisation.as_ref().unwrap().to_string();
        let tag = model.tag.as_ref().unwrap();
        let refs = store.join("refs").join(&organisation).join(model.name.as_str());
        let record: Value = json_of(&std::fs::read(refs.join(format!("{tag}.json"))).unwrap());
        let details = &record["details"];
        let lock: Lock = serde_json::from_slice(&blob(store, &details["lock_file"])).unwrap();
        let wheel = lock
            .content
            .python
            .first()
            .expect("the model has no Python distribution")
            .sha256;
        Self {
            inventory: json_of(&blob(store, &details["inventory"])),
            config: json_of(&blob(store, &details["config"])),
            manifest: json_of(&blob(store, &record["manifest"])),
            made_at: serde_json::from_value(record["created_at"].clone()).unwrap(),
            record,
            lock,
            wheel,
            organisation,
        }
    }

    /// Write one image; its record.
    fn image(&self, store: &Path, number: usize, name: &str, created_at: Timestamp) -> Value {
        let (diff_id, layer, layer_bytes) = layer(store, number);
        let mut layers: Vec<Value> = list(&self.record["details"]["layers"]);
        *layers.last_mut().unwrap() = json!(diff_id);

        let mut config = self.config.clone();
        config["rootfs"]["diff_ids"] = json!(layers);
        let config_bytes = serde_json::to_vec(&config).unwrap();
        let config = put_blob(store, &config_bytes);
        let mut manifest = self.manifest.clone();
        manifest["config"]["digest"] = json!(config);
        manifest["config"]["size"] = json!(config_bytes.len());
        let top = manifest["layers"].as_array_mut().unwrap().last_mut().unwrap();
        let top_of_model = std::mem::replace(&mut top["digest"], json!(layer));
        top["size"] = json!(layer_bytes);
        let sizes: u64 = list(&manifest["layers"])
            .iter()
            .map(|layer| layer["size"].as_u64().unwrap())
            .sum();
        let manifest_bytes = serde_json::to_vec(&manifest).unwrap();
        let manifest = put_blob(store, &manifest_bytes);

        let (lock, wheel) = self.lock(store, number, name);
        let lock_file = put_blob(store, &serde_json::to_vec(&lock).unwrap());
        let inventory = put_blob(store, &serde_json::to_vec(&self.inventory(number)).unwrap());
        let own = [
            (&self.record["manifest"], json!(manifest)),
            (&self.record["details"]["config"], json!(config)),
            (&self.record["details"]["lock_file"], json!(lock_file)),
            (&self.record["details"]["inventory"], json!(inventory)),
            (&top_of_model, json!(layer)),
            (&json!(self.wheel), json!(wheel)),
        ];
        let mut record = self.record.clone();
        let mut blobs = list(&record["blobs"]);
        for blob in &mut blobs {
            if let Some((_, other)) = own.iter().find(|(of_model, _)| *of_model == blob) {
                *blob = other.clone();
            }
        }
        record["manifest"] = json!(manifest);
        record["blobs"] = json!(blobs);
        record["trees"] = json!(layers);
        record["created_at"] = json!(created_at);
        let details = &mut record["details"];
        details["request"]["name"] = json!(name);
        details["lock"] = json!(lock.content.digest());
        details["lock_file"] = json!(lock_file);
        details["inventory"] = json!(inventory);
        details["config"] = json!(config);
        details["layers"] = json!(layers);
        details["size_bytes"] = json!(sizes + (config_bytes.len() + manifest_bytes.len()) as u64);
        details["python_packages"] = json!(self.inventory["python"].as_array().unwrap().len() + 2);
        record
    }

    /// The model's lock with another wheel in it.
    fn lock(&self, store: &Path, number: usize, name: &str) -> (Lock, BlobDigest) {
        let content = format!("not a wheel, but a stand-in for the one of image {number}");
        let wheel = put_blob(store, content.as_bytes());
        let mut lock = self.lock.clone();
        let artefact = lock.content.python.first_mut().unwrap();
        artefact.sha256 = wheel;
        artefact.size = content.len() as u64;
        let origins: BTreeMap<_, _> = std::mem::take(&mut lock.origin.artefacts);
        let renamed = |(digest, origin)| (if digest == self.wheel { wheel } else { digest }, origin);
        lock.origin.artefacts = origins.into_iter().map(renamed).collect();
        lock.origin.request = lock.origin.request.renamed(name.parse().unwrap());
        (lock, wheel)
    }

    /// The model's inventory, and two distributions: `crowd` of one of twenty versions, `crowd-own` of its own.
    fn inventory(&self, number: usize) -> Value {
        let mut inventory = self.inventory.clone();
        let mut python = list(&inventory["python"]);
        python.push(json!({ "name": "crowd", "version": format!("1.{}", number % 20), "licence": "MIT" }));
        python.push(json!({ "name": "crowd-own", "version": number.to_string(), "licence": "MIT" }));
        python.sort_by_key(|package| package["name"].as_str().unwrap().to_owned());
        inventory["python"] = json!(python);
        inventory
    }
}

/// Write one small layer, unpacked and packed.
fn layer(store: &Path, number: usize) -> (DiffId, BlobDigest, u64) {
    let files: Vec<(String, Vec<u8>)> = (0..4)
        .map(|file| {
            let content = format!("image {number}, file {file}\n").repeat(20 << file);
            (format!("srv/crowd/{file}.txt"), content.into_bytes())
        })
        .collect();
    let mut tar = Vec::new();
    for directory in ["srv/", "srv/crowd/"] {
        tar.extend_from_slice(&header(directory, b'5', 0o755, 0));
    }
    for (path, content) in &files {
        tar.extend_from_slice(&header(path, b'0', 0o644, content.len()));
        tar.extend_from_slice(content);
        tar.resize(tar.len().next_multiple_of(512), 0);
    }
    tar.extend_from_slice(&[0; 1024]);
    let diff_id = DiffId::of(&tar);
    let tree = store.join("trees/sha256").join(diff_id.hex());
    make_dirs(&tree.join("srv/crowd"));
    for (path, content) in &files {
        put(&tree.join(path), content, 0o644);
    }
    let directories = ["srv/crowd", "srv", ""].map(|path| tree.join(path));
    let paths = files.iter().map(|(path, _)| tree.join(path)).chain(directories);
    paths.for_each(|path| settle(&path));
    let packed = Compression::Gzip.apply(&tar);
    (diff_id, put_blob(store, &packed), packed.len() as u64)
}

/// A ustar header as the product writes it: no names of owners, whole seconds.
fn header(path: &str, kind: u8, mode: u32, size: usize) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, path.as_bytes());
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{size:011o}").as_bytes());
    put(136, format!("{MTIME:011o}").as_bytes());
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    put(329, b"0000000");
    put(337, b"0000000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header
}

fn settle(path: &Path) {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(MTIME);
    let times = FileTimes::new().set_modified(time);
    File::open(path).unwrap().set_times(times).unwrap();
}

fn make_dirs(path: &Path) {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(path).unwrap();
}

fn put(path: &Path, content: &[u8], mode: u32) {
    let mut file = File::create(path).unwrap();
    file.write_all(content).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .unwrap();
}

fn put_blob(store: &Path, content: &[u8]) -> BlobDigest {
    let digest = BlobDigest::of(content);
    let path = blob_path(store, &digest);
    if !path.exists() {
        put(&path, content, 0o444);
    }
    digest
}

fn blob_path(store: &Path, digest: &BlobDigest) -> PathBuf {
    store.join("blobs/sha256").join(digest.hex())
}

fn blob(store: &Path, digest: &Value) -> Vec<u8> {
    let digest = digest.as_str().unwrap().parse().unwrap();
    std::fs::read(blob_path(store, &digest)).unwrap()
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().unwrap().clone()
}
