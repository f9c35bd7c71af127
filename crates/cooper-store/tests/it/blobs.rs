//! Blobs, the cache, opening.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use cooper_core::{BlobDigest, Digest};
use cooper_store::{OpenError, ReadBlobError, Store, WriteBlobError};

use super::{Fixture, NOW, damage, names_in, open};

#[test]
fn a_blob_comes_back_as_it_was_put() {
    let fixture = Fixture::new();
    let digest = fixture.store.put_blob(b"some bytes").unwrap();
    assert_eq!(digest, BlobDigest::of(b"some bytes"));
    assert!(fixture.store.contains(&digest));
    assert_eq!(fixture.store.blob_size(&digest), Some(10));
    assert_eq!(fixture.store.read_blob(&digest, 10).unwrap(), b"some bytes");
    let mut bytes = Vec::new();
    fixture
        .store
        .open_blob(&digest)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, b"some bytes");
    let mode = fixture
        .store
        .blob_path(&digest)
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o444);
    assert_eq!(fixture.store.put_blob(b"some bytes").unwrap(), digest);
}

#[test]
fn an_empty_blob_is_a_blob() {
    let fixture = Fixture::new();
    let digest = fixture.store.put_blob(b"").unwrap();
    assert_eq!(fixture.store.read_blob(&digest, 0).unwrap(), b"");
}

#[test]
fn a_writer_names_its_bytes_only_when_it_is_finished() {
    let fixture = Fixture::new();
    let mut writer = fixture.store.blob_writer().unwrap();
    writer.write_all(b"some ").unwrap();
    writer.write_all(b"bytes").unwrap();
    assert!(!fixture.store.contains(&BlobDigest::of(b"some bytes")));
    assert_eq!(writer.finish().unwrap(), (BlobDigest::of(b"some bytes"), 10));
    assert!(fixture.store.contains(&BlobDigest::of(b"some bytes")));
}

#[test]
fn a_writer_that_is_dropped_or_disappointed_leaves_nothing() {
    let fixture = Fixture::new();
    let mut writer = fixture.store.blob_writer().unwrap();
    writer.write_all(b"half").unwrap();
    drop(writer);
    let mut writer = fixture.store.blob_writer().unwrap();
    writer.write_all(b"wrong").unwrap();
    let error = writer.finish_expecting(&Digest::of(b"right")).unwrap_err();
    assert!(matches!(error, WriteBlobError::Mismatch { expected, actual }
            if expected == Digest::of(b"right") && actual == Digest::of(b"wrong")));
    assert_eq!(
        names_in(&fixture.root().join("blobs/sha256")),
        Vec::<String>::new()
    );
    let session = fixture
        .root()
        .join("tmp")
        .join(&names_in(&fixture.root().join("tmp"))[0]);
    assert_eq!(names_in(&session), [".started"]);
}

#[test]
fn wrong_bytes_are_not_read() {
    let fixture = Fixture::new();
    let digest = fixture.store.put_blob(b"some bytes").unwrap();
    damage(&fixture.store.blob_path(&digest), b"some bites");
    let error = fixture.store.read_blob(&digest, 100).unwrap_err();
    assert!(matches!(error, ReadBlobError::Corrupted { digest: named, actual }
            if named == digest && actual == Digest::of(b"some bites")));
}

#[test]
fn missing_and_large_blobs_say_so() {
    let fixture = Fixture::new();
    let missing = BlobDigest::of(b"never put");
    assert!(
        matches!(fixture.store.read_blob(&missing, 1), Err(ReadBlobError::Missing { digest }) if digest == missing)
    );
    let digest = fixture.store.put_blob(b"some bytes").unwrap();
    assert!(matches!(
        fixture.store.read_blob(&digest, 9),
        Err(ReadBlobError::TooLarge { bytes_max: 9, .. })
    ));
}

#[test]
fn a_blob_of_another_size_is_written_again() {
    let fixture = Fixture::new();
    let digest = fixture.store.put_blob(b"some bytes").unwrap();
    damage(&fixture.store.blob_path(&digest), b"some");
    fixture.store.put_blob(b"some bytes").unwrap();
    assert_eq!(fixture.store.read_blob(&digest, 100).unwrap(), b"some bytes");
}

#[test]
fn the_cache_keeps_bytes_and_time() {
    let fixture = Fixture::new();
    assert_eq!(fixture.store.cache_get("index", "a key/with ../ anything"), None);
    fixture
        .store
        .cache_put("index", "a key/with ../ anything", b"one")
        .unwrap();
    fixture
        .store
        .cache_put("index", "a key/with ../ anything", b"two")
        .unwrap();
    let cached = fixture
        .reopened()
        .cache_get("index", "a key/with ../ anything")
        .unwrap();
    assert_eq!(cached.bytes, b"two");
    assert_eq!(cached.stored_at, NOW.parse().unwrap());
    assert_eq!(fixture.store.cache_get("other", "a key/with ../ anything"), None);
    assert_eq!(
        std::fs::read(fixture.store.cache_path("index", "a key/with ../ anything")).unwrap(),
        b"two"
    );
    fixture
        .store
        .cache_put("../../up", "key", b"kept inside")
        .unwrap();
    assert_eq!(
        fixture.store.cache_get("../../up", "key").unwrap().bytes,
        b"kept inside"
    );
    assert_eq!(names_in(&fixture.root().join("cache")), ["------up", "index"]);
}

#[test]
fn a_new_store_is_a_private_oci_layout() {
    let fixture = Fixture::new();
    assert_eq!(
        fixture.root().metadata().unwrap().permissions().mode() & 0o7777,
        0o700
    );
    let read = |name: &str| std::fs::read_to_string(fixture.root().join(name)).unwrap();
    assert_eq!(read("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    let index: serde_json::Value = serde_json::from_str(&read("index.json")).unwrap();
    assert_eq!(index["schemaVersion"], 2);
    assert_eq!(index["manifests"], serde_json::json!([]));
    let entries = [
        "blobs",
        "cache",
        "index.json",
        "ledgers",
        "locks",
        "marks",
        "oci-layout",
        "pins",
        "refs",
        "tmp",
        "trees",
    ];
    assert_eq!(names_in(fixture.root()), entries);
    assert_eq!(names_in(&fixture.root().join("tmp")), Vec::<String>::new());
}

#[test]
fn a_directory_with_other_things_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("photographs")).unwrap();
    let clock = std::sync::Arc::new(cooper_core::clock::SystemClock);
    let error = Store::open(directory.path(), clock.clone()).unwrap_err();
    assert!(
        matches!(&error, OpenError::NotAStore { found, .. } if found == "photographs"),
        "{error}"
    );
    assert_eq!(names_in(directory.path()), ["photographs"]);

    let directory = tempfile::tempdir().unwrap();
    damage(
        &directory.path().join("oci-layout"),
        br#"{"imageLayoutVersion":"2.0.0"}"#,
    );
    assert!(matches!(
        Store::open(directory.path(), clock),
        Err(OpenError::UnknownFormat { .. })
    ));
}

#[test]
fn a_layout_that_was_begun_is_completed() {
    let directory = tempfile::tempdir().unwrap();
    for begun in ["blobs", "tmp", "tmp/1-0123456789abcdef"] {
        std::fs::create_dir(directory.path().join(begun)).unwrap();
    }
    let store = open(directory.path());
    store.put_blob(b"works").unwrap();
    assert!(!directory.path().join("tmp/1-0123456789abcdef").exists());
    assert!(super::fsck(&store).is_clean());
}
