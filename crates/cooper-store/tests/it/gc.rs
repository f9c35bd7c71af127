//! Garbage collection: what goes, and what stays.

use std::sync::atomic::{AtomicBool, Ordering};

use cooper_core::{DiffId, Progress};
use cooper_store::{CacheKeeping, GcReport, Holds, RefRecord, Store};

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

/// Let an entry of the cache have been stored and used so many days ago.
fn age(store: &Store, kind: &str, key: &str, days: u64) {
    let now: std::time::SystemTime = super::NOW.parse::<cooper_core::Timestamp>().unwrap().into();
    let then = now - std::time::Duration::from_hours(24 * days);
    let times = std::fs::FileTimes::new().set_modified(then).set_accessed(then);
    let file = std::fs::File::open(store.cache_path(kind, key)).unwrap();
    file.set_times(times).unwrap();
}

fn collect_cache(store: &Store, days: u64) -> (u64, u64) {
    let mut report = GcReport::default();
    let keeping = CacheKeeping {
        unused_for: std::time::Duration::from_hours(24 * days),
        judged_kinds: &["judged"],
        is_of_use: &|_, bytes| bytes != b"useless",
    };
    store
        .collect_cache(&keeping, &mut report, &Progress::silent())
        .unwrap();
    (report.cache_entries, report.cache_bytes)
}

#[test]
fn what_was_cached_and_not_used_for_long_goes() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    for (key, days) in [("old", 90), ("used", 80), ("newest", 70)] {
        store.cache_put("lists", key, b"content").unwrap();
        age(store, "lists", key, days);
    }
    store.cache_put("alone", "key", b"content").unwrap();
    age(store, "alone", "key", 400);
    for (key, content) in [("good", &b"useful"[..]), ("bad", b"useless")] {
        store.cache_put("judged", key, content).unwrap();
    }
    assert!(store.cache_get("lists", "used").is_some());
    assert_eq!(collect_cache(store, 30), (2, 7 + 7));
    let left = |kind, key| store.cache_path(kind, key).exists();
    assert!(!left("lists", "old") && left("lists", "used") && left("lists", "newest"));
    assert!(left("alone", "key") && left("judged", "good") && !left("judged", "bad"));
    // The time of storing is as it was: it says how old an index is.
    let stored = store.cache_get("lists", "used").unwrap().stored_at;
    assert_eq!(stored.to_string(), "2026-09-04T08:00:00Z");
    assert_eq!(collect_cache(store, 30), (0, 0));
    assert_eq!(fsck(store).faults, []);
}

/// Store a directory with one file, which a tree may have, too.
fn put_directory(store: &Store, key: &str, content: &[u8], linked: Option<&std::path::Path>) {
    let scratch = store.scratch().unwrap();
    let directory = scratch.path().join("entry");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("0");
    damage(&file, content);
    if let Some(linked) = linked {
        std::fs::hard_link(&file, linked).unwrap();
    }
    store.cache_put_directory("wheels", key, &directory).unwrap();
}

#[test]
fn a_cached_directory_goes_as_a_whole_and_takes_nothing_of_a_tree() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let tree = store.stage_tree().unwrap();
    let linked = tree.root().join("linked");
    put_directory(store, "old", b"content", Some(&linked));
    age(store, "wheels", "old", 90);
    put_directory(store, "used", b"12345", None);
    age(store, "wheels", "used", 90);
    put_directory(store, "newest", b"123", None);
    assert!(store.cache_directory("wheels", "used").is_some());
    // What a tree has, too, is counted there.
    assert_eq!(store.usage(&Progress::silent()).unwrap().cache_bytes, 5 + 3);
    assert_eq!(collect_cache(store, 30), (1, 0));
    assert_eq!(std::fs::read(&linked).unwrap(), b"content");
    assert!(store.cache_directory("wheels", "old").is_none());
    assert_eq!(fsck(store).faults, []);
    store.cache_drop_directory("wheels", "used").unwrap();
    store.cache_drop_directory("wheels", "used").unwrap();
    assert!(store.cache_directory("wheels", "used").is_none());
    // Who comes second with the same key changes nothing.
    put_directory(store, "newest", b"other", None);
    let kept = store.cache_path("wheels", "newest").join("0");
    assert_eq!(std::fs::read(kept).unwrap(), b"123");
}
