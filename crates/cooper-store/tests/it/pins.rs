//! Pins and mapped blobs: what is pinned stays, and only that.

use cooper_core::{BlobDigest, Progress};
use cooper_store::{Fault, FsckOptions, Pin, PinError, Store};
use serde_json::json;

use super::{Fixture, damage, fsck};

fn pin(blobs: &[BlobDigest]) -> Pin {
    Pin {
        blobs: blobs.to_vec(),
        details: json!({ "of": blobs.len() }),
    }
}

fn later(fixture: Fixture) -> (tempfile::TempDir, Store) {
    let Fixture { directory, store } = fixture;
    let root = store.root().to_owned();
    drop(store);
    std::thread::sleep(std::time::Duration::from_millis(20));
    (directory, super::open(&root))
}

#[test]
fn what_is_pinned_stays_until_the_pin_moves_on() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    assert_eq!(store.pin("evidence").unwrap(), None);
    let (old, new) = (store.put_blob(b"old").unwrap(), store.put_blob(b"new").unwrap());
    store.set_pin("evidence", &pin(&[old])).unwrap();
    assert_eq!(store.pin("evidence").unwrap(), Some(pin(&[old])));
    let (directory, store) = later(fixture);
    assert_eq!(store.usage(&Progress::silent()).unwrap().unnamed.blob_bytes, 3);
    assert_eq!(store.collect(&Progress::silent()).unwrap().blobs, 1);
    assert!(store.contains(&old) && !store.contains(&new));
    let new = store.put_blob(b"new").unwrap();
    let mapped = store.map_blob(&old).unwrap();
    store.set_pin("evidence", &pin(&[new])).unwrap();
    let (_directory, store) = later(Fixture { store, directory });
    assert_eq!(store.collect(&Progress::silent()).unwrap().blobs, 1);
    assert!(!store.contains(&old) && store.contains(&new));
    assert_eq!(mapped.as_ref(), b"old", "what is mapped outlives its name");
    assert_eq!(fsck(&store).faults, []);
}

#[test]
fn a_pin_names_only_what_is_there_and_a_failure_leaves_the_old_one() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let there = store.put_blob(b"there").unwrap();
    store.set_pin("evidence", &pin(&[there])).unwrap();
    let missing = BlobDigest::of(b"missing");
    let error = store.set_pin("evidence", &pin(&[there, missing])).unwrap_err();
    assert!(
        matches!(error, PinError::MissingBlob { digest } if digest == missing),
        "{error}"
    );
    assert_eq!(store.pin("evidence").unwrap(), Some(pin(&[there])));
    for name in ["", ".x", "a/b", "../x"] {
        assert!(
            matches!(store.set_pin(name, &pin(&[])), Err(PinError::Name { .. })),
            "{name}"
        );
    }
}

#[test]
fn damaged_pins_and_lost_blobs_are_faults() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let blob = store.put_blob(b"evidence").unwrap();
    store.set_pin("evidence", &pin(&[blob])).unwrap();
    std::fs::remove_file(store.blob_path(&blob)).unwrap();
    let [Fault::MissingBlob { needed_by, .. }] = &fsck(store).faults[..] else {
        panic!("{:?}", fsck(store).faults)
    };
    assert_eq!(needed_by, &["pin evidence"]);
    damage(&fixture.root().join("pins/evidence"), b"{\"blobs\":");
    assert!(store.pin("evidence").is_err());
    assert!(
        store.collect(&Progress::silent()).is_err(),
        "nobody knows what it keeps"
    );
    assert!(matches!(
        fsck(store).faults[..],
        [Fault::UnreadablePin { moved: false, .. }]
    ));
    let repair = FsckOptions {
        repair: true,
        ..FsckOptions::default()
    };
    store.fsck(&repair, &Progress::silent()).unwrap();
    assert_eq!(store.pin("evidence").unwrap(), None);
    assert_eq!(fsck(store).faults, []);
}

#[test]
fn blobs_are_mapped_whatever_their_size() {
    let fixture = Fixture::new();
    for bytes in [vec![], vec![1], vec![7; 100_000]] {
        let blob = fixture.store.put_blob(&bytes).unwrap();
        assert_eq!(fixture.store.map_blob(&blob).unwrap().as_ref(), bytes);
    }
    assert!(fixture.store.map_blob(&BlobDigest::of(b"missing")).is_err());
}
