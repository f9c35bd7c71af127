//! What names take of the disk.

use cooper_core::{DiffId, Progress};
use cooper_store::{DiskUse, RefRecord, Store, StoreUse};

use super::{Fixture, damage, record};

fn tree(store: &Store, kilobytes: usize) -> DiffId {
    let content = vec![b'x'; kilobytes << 10];
    let diff_id = DiffId::of(&content);
    let stage = store.stage_tree().unwrap();
    std::fs::create_dir(stage.root().join("directory")).unwrap();
    let file = stage.root().join("directory/file");
    damage(&file, &content);
    // The same file again.
    std::fs::hard_link(&file, stage.root().join("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", stage.root().join("symlink")).unwrap();
    stage.commit(&diff_id).unwrap();
    diff_id
}

fn usage(store: &Store) -> StoreUse {
    store.usage(&Progress::silent()).unwrap()
}

fn name(store: &Store, name: &str, record: &RefRecord) {
    let version = "1.0.0".parse().unwrap();
    store
        .create_version(
            &"local".parse().unwrap(),
            &name.parse().unwrap(),
            &version,
            record,
        )
        .unwrap();
}

#[test]
fn what_is_shared_is_told_from_what_is_own() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let (shared, own, unnamed) = (tree(store, 400), tree(store, 200), tree(store, 100));
    let common = store.put_blob(&[b'c'; 1000]).unwrap();
    let mut first = record(store, "first");
    first.blobs.push(common);
    first.trees = vec![shared, own];
    let mut second = record(store, "the second");
    second.blobs.extend([common, common]);
    second.trees = vec![shared];
    name(store, "a", &first);
    name(store, "b", &second);
    let found = usage(store);
    let [a, b] = found.names.as_slice() else {
        panic!("{found:?}");
    };
    // A manifest, a layer of its own, the common blob.
    assert_eq!(a.own.blob_bytes, 5 + "layer of first".len() as u64);
    assert_eq!(b.own.blob_bytes, 10 + "layer of the second".len() as u64);
    assert_eq!((a.shared.blob_bytes, b.shared.blob_bytes), (1000, 1000));
    let near = |bytes: u64, kilobytes: u64| (kilobytes << 10..(kilobytes + 40) << 10).contains(&bytes);
    assert!(
        near(a.own.tree_bytes, 200) && near(a.shared.tree_bytes, 400),
        "{a:?}"
    );
    assert!(b.own.tree_bytes == 0 && b.shared == a.shared, "{b:?}");
    assert!(
        near(found.unnamed.tree_bytes, 100) && found.unnamed.blob_bytes == 0,
        "{found:?}"
    );
    let all = [a.own, b.own, a.shared, found.unnamed];
    assert_eq!(
        found.total.bytes(),
        all.into_iter().map(DiskUse::bytes).sum::<u64>()
    );

    // What was measured once is remembered: a tree never changes.
    let file = store.tree(&unnamed).unwrap().join("directory/file");
    damage(&file, b"");
    let again = usage(store);
    assert_eq!((&again.names, again.unnamed), (&found.names, found.unnamed));
    store
        .remove_version(
            &"local".parse().unwrap(),
            &"a".parse().unwrap(),
            &"1.0.0.1".parse().unwrap(),
        )
        .unwrap();
    let after = usage(store);
    assert_eq!(after.names.len(), 1);
    assert_eq!(
        after.names[0].own.tree_bytes,
        again.total.tree_bytes - after.unnamed.tree_bytes
    );
    assert_eq!(after.unnamed.blob_bytes, a.own.blob_bytes);
}
