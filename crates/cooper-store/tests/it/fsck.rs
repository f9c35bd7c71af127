//! What fsck finds, and what it repairs.

use std::path::Path;

use cooper_core::{BlobDigest, DiffId, Digest, Progress};
use cooper_store::{Fault, FsckOptions, Note, RefRecord};

use super::{Fixture, damage};

const IMAGE: &str = "local/example:1.0.0.1";

/// A store with one image that has a manifest, a layer and a tree.
fn with_image() -> (Fixture, RefRecord) {
    let fixture = Fixture::new();
    let diff_id = DiffId::of(b"tree");
    let stage = fixture.store.stage_tree().unwrap();
    damage(&stage.root().join("file"), b"content");
    stage.commit(&diff_id).unwrap();
    let record = RefRecord {
        trees: vec![diff_id],
        ..fixture.record("image")
    };
    let (owner, name) = ("local".parse().unwrap(), "example".parse().unwrap());
    fixture
        .store
        .create_version(&owner, &name, &"1.0.0".parse().unwrap(), &record)
        .unwrap();
    (fixture, record)
}

fn needed_by() -> Vec<String> {
    vec![IMAGE.to_owned()]
}

#[test]
fn a_good_store_is_clean() {
    let (fixture, _) = with_image();
    fixture.store.cache_put("kind", "key", b"entry").unwrap();
    let report = fixture.fsck();
    assert_eq!(
        (report.faults.as_slice(), report.notes.as_slice()),
        ([].as_slice(), [].as_slice())
    );
    let counts = (
        report.blobs_checked,
        report.bytes_checked,
        report.trees_checked,
        report.refs_checked,
    );
    assert_eq!(counts, (2, 5 + 14, 1, 1));
}

#[test]
fn a_corrupted_blob_is_named_with_who_needs_it() {
    let (fixture, record) = with_image();
    let layer = record.blobs[0];
    let unneeded = fixture.store.put_blob(b"unneeded").unwrap();
    damage(&fixture.store.blob_path(&layer), b"flipped");
    damage(&fixture.store.blob_path(&unneeded), b"unneedee");
    let mut expected = vec![
        Fault::CorruptedBlob {
            digest: layer,
            actual: Digest::of(b"flipped"),
            needed_by: needed_by(),
            moved: false,
        },
        Fault::CorruptedBlob {
            digest: unneeded,
            actual: Digest::of(b"unneedee"),
            needed_by: Vec::new(),
            moved: false,
        },
    ];
    expected.sort();
    assert_eq!(fixture.fsck().faults, expected);
    assert!(fixture.store.contains(&layer));
}

#[test]
fn repair_takes_a_corrupted_blob_out_of_the_way() {
    let (fixture, record) = with_image();
    let layer = record.blobs[0];
    damage(&fixture.store.blob_path(&layer), b"flipped");
    damage(&fixture.root().join("index.json"), b"");
    let options = FsckOptions {
        repair: true,
        record_check: None,
        ledger_check: None,
        tree_check: None,
    };
    let report = fixture.store.fsck(&options, &Progress::silent()).unwrap();
    assert!(
        matches!(
            report.faults.as_slice(),
            [Fault::CorruptedBlob { moved: true, .. }]
        ),
        "{report:?}"
    );
    let quarantined = Note::Quarantined {
        path: fixture.root().join("tmp/quarantine").join(layer.hex()),
    };
    assert_eq!(
        report.notes,
        [quarantined.clone(), Note::StaleIndex { rewritten: true }]
    );
    assert!(!fixture.store.contains(&layer));

    let again = fixture.fsck();
    assert_eq!(
        again.faults,
        [Fault::MissingBlob {
            digest: layer,
            needed_by: needed_by()
        }]
    );
    assert_eq!(again.notes, [quarantined]);
    fixture.store.put_blob(b"layer of image").unwrap();
    assert!(fixture.fsck().is_clean());
}

#[test]
fn what_is_missing_is_named_with_who_needs_it() {
    let (fixture, record) = with_image();
    let manifest = BlobDigest::from(record.manifest);
    std::fs::remove_file(fixture.store.blob_path(&manifest)).unwrap();
    // A tree is made of blobs again when it is needed.
    std::fs::remove_dir_all(fixture.store.tree(&record.trees[0]).unwrap()).unwrap();
    let expected = [Fault::MissingBlob {
        digest: manifest,
        needed_by: needed_by(),
    }];
    assert_eq!(fixture.fsck().faults, expected);
}

#[test]
fn trees_are_checked_by_the_caller() {
    let (fixture, record) = with_image();
    let check = |path: &Path, diff_id: &DiffId| {
        assert_eq!(*diff_id, record.trees[0]);
        let content = std::fs::read(path.join("file")).unwrap();
        if content == b"content" {
            Ok(())
        } else {
            Err("another diff id".to_owned())
        }
    };
    let options = FsckOptions {
        repair: false,
        record_check: None,
        ledger_check: None,
        tree_check: Some(&check),
    };
    let fsck = || fixture.store.fsck(&options, &Progress::silent()).unwrap();
    assert_eq!(fsck().faults, []);
    damage(
        &fixture.store.tree(&record.trees[0]).unwrap().join("file"),
        b"changed",
    );
    let reason = "another diff id".to_owned();
    let expected = Fault::DamagedTree {
        diff_id: record.trees[0],
        reason,
        needed_by: needed_by(),
        moved: false,
    };
    assert_eq!(fsck().faults, [expected]);
    let options = FsckOptions {
        repair: true,
        ..options
    };
    let repaired = fixture.store.fsck(&options, &Progress::silent()).unwrap();
    assert!(matches!(
        &repaired.faults[..],
        [Fault::DamagedTree { moved: true, .. }]
    ));
    assert!(fixture.store.tree(&record.trees[0]).is_none(), "out of the way");
}

#[test]
fn foreign_files_are_found_everywhere() {
    let (fixture, _) = with_image();
    let foreign = [
        "blobs/md5",
        "blobs/sha256/short",
        "notes.txt",
        "refs/UPPER",
        "refs/local/a b",
        "refs/local/example/latest.json",
        "refs/local/example/1.0.0.1.bak",
        "trees/sha256/x",
    ];
    for path in foreign {
        damage(&fixture.root().join(path), b"");
    }
    let mut expected: Vec<Fault> = foreign
        .iter()
        .map(|path| Fault::ForeignFile {
            path: fixture.root().join(path),
        })
        .collect();
    expected.sort();
    assert_eq!(fixture.fsck().faults, expected);
}

#[test]
fn links_to_elsewhere_are_faults() {
    let (fixture, record) = with_image();
    let layer = record.blobs[0];
    std::fs::remove_file(fixture.store.blob_path(&layer)).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", fixture.store.blob_path(&layer)).unwrap();
    let faults = fixture.fsck().faults;
    assert!(
        matches!(&faults[..], [Fault::UnreadableBlob { digest, .. }] if *digest == layer),
        "{faults:?}"
    );

    let tree = fixture.store.tree(&record.trees[0]).unwrap();
    let elsewhere = fixture.directory.path().join("elsewhere");
    std::fs::rename(&tree, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &tree).unwrap();
    let faults = fixture.fsck().faults;
    assert!(
        matches!(&faults[..], [_, Fault::DamagedTree { .. }]),
        "{faults:?}"
    );
}

#[test]
fn an_unreadable_record_is_named() {
    let (fixture, _) = with_image();
    damage(
        &fixture.root().join("refs/local/example/1.0.0.1.json"),
        b"{\"manifest\":",
    );
    let faults = fixture.fsck().faults;
    assert!(
        matches!(&faults[..], [Fault::UnreadableRef { image, .. }] if image == IMAGE),
        "{faults:?}"
    );
}

#[test]
fn a_number_that_could_be_given_again_is_a_fault() {
    let (fixture, _) = with_image();
    let record = fixture.root().join("refs/local/example/1.0.0.1.json");
    let text = std::fs::read(&record).unwrap();
    std::fs::remove_file(&record).unwrap();
    let image = IMAGE.to_owned();
    assert_eq!(fixture.fsck().faults, [Fault::LostTag { image: image.clone() }]);
    damage(&record, &text);
    damage(&record.with_file_name("1.0.0.1.removed"), &text);
    assert_eq!(fixture.fsck().faults, [Fault::TagInUseAndRemoved { image }]);
}

#[test]
fn a_record_that_is_not_the_callers_is_a_fault() {
    let (fixture, _) = with_image();
    let check = |details: &serde_json::Value| match details.get("content") {
        Some(content) if content == "image" => Ok(()),
        _ => Err("it tells of no content".to_owned()),
    };
    let fsck = |repair| {
        let options = FsckOptions {
            repair,
            record_check: Some(&check),
            ledger_check: None,
            ..FsckOptions::default()
        };
        fixture.store.fsck(&options, &Progress::silent()).unwrap().faults
    };
    assert_eq!(fsck(false), []);
    let path = fixture.root().join("refs/local/example/1.0.0.1.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    record["details"] = serde_json::json!({ "somebody": "else" });
    damage(&path, record.to_string().as_bytes());
    let fault = |removed| Fault::UnreadableRef {
        image: IMAGE.to_owned(),
        path: path.clone(),
        reason: "it tells of no content".to_owned(),
        removed,
    };
    assert_eq!(fsck(false), [fault(false)]);
    assert_eq!(fsck(true), [fault(true)]);
    assert!(!path.exists() && path.with_file_name("1.0.0.1.removed").exists());
    assert_eq!(fsck(false), []);
}

#[test]
fn repair_writes_the_missing_lines_of_the_journal() {
    let (fixture, _) = with_image();
    std::fs::remove_file(fixture.root().join("journal")).unwrap();
    let repair = FsckOptions {
        repair: true,
        ..FsckOptions::default()
    };
    let notes = fixture.store.fsck(&repair, &Progress::silent()).unwrap().notes;
    assert!(
        matches!(notes.as_slice(), [Note::Unjournalled { .. }]),
        "{notes:?}"
    );
    assert_eq!(fixture.fsck().notes, []);
}

#[test]
fn what_a_killed_process_may_leave_is_noted_and_no_fault() {
    let (fixture, _) = with_image();
    std::fs::remove_file(fixture.root().join("journal")).unwrap();
    damage(&fixture.root().join("index.json"), b"{");
    let leftover = fixture.root().join("tmp/4194305-0123456789abcdef");
    std::fs::create_dir(&leftover).unwrap();
    let report = fixture.fsck();
    assert_eq!(report.faults, []);
    let expected = [
        Note::Leftover { path: leftover },
        Note::StaleIndex { rewritten: false },
        Note::Unjournalled {
            image: IMAGE.to_owned(),
        },
    ];
    assert_eq!(report.notes, expected);
}
