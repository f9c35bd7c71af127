//! The store and the intake from outside: what they promise, under faults.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends where something unexpected happens"
)]

mod blobs;
mod bounds;
mod concurrent;
mod fetch;
mod fsck;
mod gc;
mod marks;
mod names;
mod pins;
mod proxy;
mod server;
mod tls;
mod trees;
mod usage;

use std::path::Path;
use std::sync::Arc;

use cooper_core::Progress;
use cooper_core::clock::PinnedClock;
use cooper_store::{FsckOptions, FsckReport, RefRecord, Store};
use serde_json::json;
use tempfile::TempDir;

const NOW: &str = "2026-11-23T08:00:00Z";

/// A store in a directory of its own, with a clock that stands still.
struct Fixture {
    store: Store,
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            store: open(&directory.path().join("store")),
            directory,
        }
    }

    fn root(&self) -> &Path {
        self.store.root()
    }

    fn reopened(&self) -> Store {
        open(self.root())
    }

    /// A record with a manifest of its own.
    fn record(&self, content: &str) -> RefRecord {
        record(&self.store, content)
    }

    fn fsck(&self) -> FsckReport {
        fsck(&self.store)
    }
}

fn open(root: &Path) -> Store {
    Store::open(root, Arc::new(PinnedClock(NOW.parse().unwrap()))).unwrap()
}

fn record(store: &Store, content: &str) -> RefRecord {
    let manifest = store.put_blob(content.as_bytes()).unwrap();
    RefRecord {
        manifest: manifest.to_string().parse().unwrap(),
        blobs: vec![store.put_blob(format!("layer of {content}").as_bytes()).unwrap()],
        trees: Vec::new(),
        created_at: NOW.parse().unwrap(),
        details: json!({ "content": content }),
    }
}

fn fsck(store: &Store) -> FsckReport {
    store.fsck(&FsckOptions::default(), &Progress::silent()).unwrap()
}

/// The file names in a directory, sorted.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Put these bytes into a file, whatever its mode is: damage, as a disk does it.
fn damage(path: &Path, bytes: &[u8]) {
    let _ = std::fs::remove_file(path);
    std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), bytes).unwrap();
}
