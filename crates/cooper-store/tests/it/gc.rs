//! Garbage collection: what goes, and what stays.

use std::sync::atomic::{AtomicBool, Ordering};

use cooper_core::{DiffId, Progress};
use cooper_store::{GcReport, Holds, RefRecord, Store};

use super::{Fixture, damage, fsck, record};

fn collect(store: &Store) -> GcReport {
    store.collect(&Progress::silent()).unwrap()
}

fn tree(store: &Store, content: &str) -> DiffId {
    let diff_id = DiffId::of(content.as_bytes());
    let stage = store.stage_tree().unwrap();
    damage(&stage.root().join("file"), content.as_bytes());
    stage.commit(&diff_id).unwrap();
    diff_id
}

fn name(store: &Store, name: &str, record: &RefRecord) {
    let (owner, name) = ("local".parse().unwrap(), name.parse().unwrap());
    store
        .create_version(&owner, &name, &"1.0.0".parse().unwrap(), record)
        .unwrap();
}

/// What a collector in another process sees: the maker's session has ended.
fn later(fixture: Fixture) -> (tempfile::TempDir, Store) {
    let Fixture { directory, store } = fixture;
    let root = store.root().to_owned();
    drop(store);
    std::thread::sleep(std::time::Duration::from_millis(20));
    (directory, super::open(&root))
}

#[test]
fn what_no_name_keeps_goes() {
    let fixture = Fixture::new();
    let kept_tree = tree(&fixture.store, "kept");
    let lost_tree = tree(&fixture.store, "lost");
    let kept = RefRecord {
        trees: vec![kept_tree],
        ..fixture.record("kept")
    };
    name(&fixture.store, "example", &kept);
    let lost = fixture.store.put_blob(b"lost").unwrap();
    let (_directory, store) = later(fixture);
    let report = collect(&store);
    assert_eq!(
        report,
        GcReport {
            blobs: 1,
            trees: 1,
            blob_bytes: 4,
            tree_bytes: report.tree_bytes,
            held: 0,
            ..GcReport::default()
        }
    );
    assert!(!store.contains(&lost) && store.tree(&lost_tree).is_none());
    assert!(kept.needed_blobs().all(|blob| store.contains(&blob)) && store.tree(&kept_tree).is_some());
    assert_eq!(fsck(&store).faults, []);
    assert_eq!(collect(&store), GcReport::default());

    let (owner, image) = ("local".parse().unwrap(), "example".parse().unwrap());
    store
        .remove_version(&owner, &image, &"1.0.0.1".parse().unwrap())
        .unwrap();
    assert_eq!((collect(&store).blobs, collect(&store).trees), (2, 0));
    assert_eq!(fsck(&store).faults, []);
}

#[test]
fn what_is_in_progress_or_held_stays() {
    let fixture = Fixture::new();
    let old = fixture.store.put_blob(b"old").unwrap();
    let mounted = tree(&fixture.store, "mounted");
    let (_directory, store) = later(fixture);
    let mut holds = Holds::default();
    assert!(holds.tree(&store, &mounted).is_some());
    let reader = super::open(store.root());
    assert!(reader.renew_blob(&old));
    // Somebody at work, whose things have no name yet.
    let worker = super::open(store.root());
    let fresh = worker.put_blob(b"fresh").unwrap();
    let report = collect(&store);
    assert_eq!((report.blobs, report.trees, report.held), (0, 0, 1));
    assert!(store.contains(&old) && store.contains(&fresh) && store.tree(&mounted).is_some());
    drop((holds, worker, reader));
    let root = store.root().to_owned();
    drop(store);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let collector = super::open(&root);
    let report = collect(&collector);
    assert_eq!((report.blobs, report.trees, report.held), (2, 1, 0));
    assert!(!collector.renew_blob(&fresh) && collector.renew_tree(&mounted).is_none());
}

#[test]
fn a_name_that_cannot_be_read_ends_it() {
    let fixture = Fixture::new();
    name(&fixture.store, "example", &fixture.record("kept"));
    fixture.store.put_blob(b"lost").unwrap();
    damage(&fixture.root().join("refs/local/example/1.0.0.1.json"), b"{");
    let (_directory, store) = later(fixture);
    let error = store.collect(&Progress::silent()).unwrap_err();
    assert_eq!(error.to_string(), "cannot tell what the names keep alive");
    assert!(store.contains(&cooper_core::BlobDigest::of(b"lost")));
}

/// Makers that reuse each other's blobs while names come and go, and a collector that never rests.
#[test]
fn creates_go_on_meanwhile() {
    let fixture = Fixture::new();
    let root = fixture.root().to_owned();
    let done = AtomicBool::new(false);
    let rounds = 60;
    let collected: u64 = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..2)
            .map(|maker| {
                let root = &root;
                scope.spawn(move || {
                    for round in 0..rounds {
                        let store = super::open(root);
                        let shared = format!("shared {}", round % 3).into_bytes();
                        let blob = store.put_blob(&shared).unwrap();
                        let mut record = record(&store, &format!("{maker} {round}"));
                        record.blobs.push(blob);
                        let image = format!("image{maker}");
                        name(&store, &image, &record);
                        let (owner, image) = ("local".parse().unwrap(), image.parse().unwrap());
                        let tags = store.versions(&owner, &image).unwrap();
                        store.remove_version(&owner, &image, &tags[0]).unwrap();
                    }
                })
            })
            .collect();
        let collector = scope.spawn(|| {
            let mut blobs = 0;
            while !done.load(Ordering::Relaxed) {
                blobs += collect(&super::open(&root)).blobs;
            }
            blobs
        });
        for maker in makers {
            maker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        collector.join().unwrap()
    });
    let last = collect(&super::open(&root)).blobs;
    assert!(collected + last > 0);
    assert_eq!(fsck(&super::open(&root)).faults, []);
}
