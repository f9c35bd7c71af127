//! Names: numbering, order, removal, the view, the journal.

use cooper_core::{BlobDigest, ImageName, ImageVersion, Organisation, VersionTag};
use cooper_store::{Adopted, RefError, Store};
use serde_json::Value;

use super::{Fixture, damage, names_in, record};

fn owner() -> Organisation {
    "local".parse().unwrap()
}

fn name() -> ImageName {
    "example".parse().unwrap()
}

fn create(store: &Store, version: &str, content: &str) -> String {
    let version: ImageVersion = version.parse().unwrap();
    store
        .create_version(&owner(), &name(), &version, &record(store, content))
        .unwrap()
        .to_string()
}

fn tag(text: &str) -> VersionTag {
    text.parse().unwrap()
}

#[test]
fn numbers_count_up_for_each_version() {
    let fixture = Fixture::new();
    assert_eq!(create(&fixture.store, "1.0.0", "a"), "1.0.0.1");
    assert_eq!(create(&fixture.store, "1.0.0", "b"), "1.0.0.2");
    assert_eq!(create(&fixture.store, "2.0", "c"), "2.0.1");
    assert_eq!(create(&fixture.store, "1.0.0", "d"), "1.0.0.3");
    let versions = fixture.store.versions(&owner(), &name()).unwrap();
    assert_eq!(
        versions,
        [tag("1.0.0.1"), tag("1.0.0.2"), tag("1.0.0.3"), tag("2.0.1")]
    );
    let (newest, found) = fixture.store.newest(&owner(), &name()).unwrap().unwrap();
    assert_eq!(newest, tag("2.0.1"));
    assert_eq!(found, fixture.record("c"));
}

#[test]
fn a_number_whose_file_was_lost_is_not_given_again() {
    let fixture = Fixture::new();
    create(&fixture.store, "1.0.0", "a");
    create(&fixture.store, "1.0.0", "b");
    let lost = fixture
        .root()
        .join("refs")
        .join(owner().as_str())
        .join(name().as_str());
    std::fs::remove_file(lost.join("1.0.0.2.json")).unwrap();
    assert_eq!(create(&fixture.store, "1.0.0", "c"), "1.0.0.3");
}

#[test]
fn a_name_comes_back_as_it_was_made() {
    let fixture = Fixture::new();
    create(&fixture.store, "1.0.0", "a");
    let found = fixture
        .reopened()
        .version(&owner(), &name(), &tag("1.0.0.1"))
        .unwrap();
    assert_eq!(found, Some(fixture.record("a")));
    assert_eq!(
        fixture.store.version(&owner(), &name(), &tag("1.0.0.2")).unwrap(),
        None
    );
    assert_eq!(
        fixture.store.newest(&owner(), &"other".parse().unwrap()).unwrap(),
        None
    );
}

#[test]
fn a_removed_number_is_never_given_again() {
    let fixture = Fixture::new();
    create(&fixture.store, "1.0.0", "a");
    create(&fixture.store, "1.0.0", "b");
    assert!(
        fixture
            .store
            .remove_version(&owner(), &name(), &tag("1.0.0.2"))
            .unwrap()
    );
    assert!(
        !fixture
            .store
            .remove_version(&owner(), &name(), &tag("1.0.0.2"))
            .unwrap()
    );
    assert_eq!(
        fixture.store.version(&owner(), &name(), &tag("1.0.0.2")).unwrap(),
        None
    );
    assert_eq!(create(&fixture.store, "1.0.0", "b"), "1.0.0.3");
    let versions = fixture.store.versions(&owner(), &name()).unwrap();
    assert_eq!(versions, [tag("1.0.0.1"), tag("1.0.0.3")]);
    assert!(fixture.fsck().is_clean());
    assert_eq!(fixture.fsck().notes, []);
}

#[test]
fn every_image_is_listed_in_order() {
    let fixture = Fixture::new();
    let version: ImageVersion = "1.0.0".parse().unwrap();
    for (owner, name) in [("team", "b"), ("local", "c"), ("team", "a"), ("team", "b")] {
        let record = fixture.record(name);
        fixture
            .store
            .create_version(&owner.parse().unwrap(), &name.parse().unwrap(), &version, &record)
            .unwrap();
    }
    let images = fixture.store.images().unwrap();
    let images: Vec<String> = images
        .iter()
        .map(|(owner, name, tag)| format!("{owner}/{name}:{tag}"))
        .collect();
    assert_eq!(
        images,
        [
            "local/c:1.0.0.1",
            "team/a:1.0.0.1",
            "team/b:1.0.0.1",
            "team/b:1.0.0.2"
        ]
    );
}

#[test]
fn a_record_must_be_complete() {
    let fixture = Fixture::new();
    let version: ImageVersion = "1.0.0".parse().unwrap();
    let create = |record| fixture.store.create_version(&owner(), &name(), &version, &record);
    let mut record = fixture.record("a");
    record.blobs.push(cooper_core::BlobDigest::of(b"never put"));
    assert!(
        matches!(create(record), Err(RefError::MissingBlob { digest }) if digest == cooper_core::BlobDigest::of(b"never put"))
    );
    assert_eq!(fixture.store.images().unwrap(), []);
    // A tree is made of blobs when it is needed.
    let mut record = fixture.record("a");
    record.trees.push(cooper_core::DiffId::of(b"never made"));
    create(record).unwrap();
}

#[test]
fn the_view_follows_the_names() {
    let fixture = Fixture::new();
    create(&fixture.store, "1.0.0", "a");
    create(&fixture.store, "1.0.0", "bb");
    fixture
        .store
        .remove_version(&owner(), &name(), &tag("1.0.0.1"))
        .unwrap();
    let text = std::fs::read(fixture.root().join("index.json")).unwrap();
    let index: Value = serde_json::from_slice(&text).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["digest"], fixture.record("bb").manifest.to_string());
    assert_eq!(entries[0]["size"], 2);
    assert_eq!(
        entries[0]["mediaType"],
        "application/vnd.oci.image.manifest.v1+json"
    );
    assert_eq!(
        entries[0]["annotations"]["org.opencontainers.image.ref.name"],
        "local/example:1.0.0.2"
    );
}

#[test]
fn the_journal_tells_what_happened_even_after_a_torn_line() {
    let fixture = Fixture::new();
    create(&fixture.store, "1.0.0", "a");
    let journal = fixture.root().join("journal");
    let mut text = std::fs::read(&journal).unwrap();
    text.extend_from_slice(b"{\"at\":\"2026-1");
    damage(&journal, &text);
    fixture
        .store
        .remove_version(&owner(), &name(), &tag("1.0.0.1"))
        .unwrap();
    let text = std::fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    let event = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    assert_eq!(event(lines[0])["event"], "created");
    assert_eq!(event(lines[0])["at"], super::NOW);
    assert_eq!(event(lines[2])["event"], "removed");
    assert_eq!(event(lines[2])["tag"], "1.0.0.1");
    assert!(fixture.fsck().is_clean());
}

#[test]
fn an_unreadable_record_is_an_error_and_can_be_removed() {
    let fixture = Fixture::new();
    create(&fixture.store, "1.0.0", "a");
    damage(&fixture.root().join("refs/local/example/1.0.0.1.json"), b"{}");
    assert!(matches!(
        fixture.store.newest(&owner(), &name()),
        Err(RefError::Unreadable { .. })
    ));
    assert!(
        fixture
            .store
            .remove_version(&owner(), &name(), &tag("1.0.0.1"))
            .unwrap()
    );
    assert_eq!(create(&fixture.store, "1.0.0", "a"), "1.0.0.2");
}

#[test]
fn nothing_stays_in_tmp_after_a_name_was_made() {
    let fixture = Fixture::new();
    create(&fixture.store, "1.0.0", "a");
    let session = fixture
        .root()
        .join("tmp")
        .join(&names_in(&fixture.root().join("tmp"))[0]);
    assert_eq!(names_in(&session), [".started"]);
}

/// The lines of the journal: what happened, and to which tag.
fn journal(fixture: &Fixture) -> Vec<String> {
    let text = std::fs::read_to_string(fixture.root().join("journal")).unwrap_or_default();
    let line = |line: &str| {
        let entry: Value = serde_json::from_str(line).unwrap();
        format!(
            "{} {}",
            entry["event"].as_str().unwrap(),
            entry["tag"].as_str().unwrap()
        )
    };
    text.lines().map(line).collect()
}

#[test]
fn a_name_that_was_made_is_made_whatever_fails_after_it() {
    let fixture = Fixture::new();
    let (index, lines) = (fixture.root().join("index.json"), fixture.root().join("journal"));
    // Neither can be written: one is a directory with something in it, the other leads nowhere.
    std::fs::remove_file(&index).unwrap();
    std::fs::create_dir_all(index.join("in the way")).unwrap();
    std::os::unix::fs::symlink("nowhere/journal", &lines).unwrap();
    assert_eq!(create(&fixture.store, "1.0.0", "a"), "1.0.0.1");
    assert_eq!(create(&fixture.store, "1.0.0", "b"), "1.0.0.2");
    assert!(
        fixture
            .store
            .remove_version(&owner(), &name(), &tag("1.0.0.2"))
            .unwrap()
    );
    assert_eq!(
        fixture.store.versions(&owner(), &name()).unwrap(),
        [tag("1.0.0.1")]
    );
    assert_eq!(journal(&fixture), Vec::<String>::new());

    std::fs::remove_dir_all(&index).unwrap();
    std::fs::remove_file(&lines).unwrap();
    assert_eq!(create(&fixture.store, "1.0.0", "c"), "1.0.0.3");
    let expected = [
        "created 1.0.0.1",
        "created 1.0.0.2",
        "removed 1.0.0.2",
        "created 1.0.0.3",
    ];
    assert_eq!(journal(&fixture), expected);
    let report = fixture.fsck();
    assert_eq!((report.faults, report.notes), (Vec::new(), Vec::new()));
}

fn listed(store: &Store) -> Vec<String> {
    let names = store.list().unwrap().into_iter();
    names
        .map(|listed| {
            let summary = listed.entry.map(|entry| entry.summary);
            format!(
                "{}:{} {}",
                listed.name,
                listed.tag,
                summary.as_deref().unwrap_or("?")
            )
        })
        .collect()
}

/// A store that keeps the content of a record for lists.
fn summarised(fixture: &Fixture) -> Store {
    let store = fixture.reopened();
    store.summarised_by(|record| record.details["content"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_list_is_right_whatever_became_of_the_view() {
    let fixture = Fixture::new();
    let store = summarised(&fixture);
    for content in ["a", "b", "c"] {
        create(&store, "1.0.0", content);
    }
    let view = fixture.root().join("names");
    let whole = std::fs::read(&view).unwrap();
    let expected = ["example:1.0.0.1 a", "example:1.0.0.2 b", "example:1.0.0.3 c"];
    assert_eq!(listed(&store), expected);
    let damaged = [
        whole[..whole.len() / 2].to_vec(),
        vec![0; whole.len()],
        Vec::new(),
    ];
    for bytes in damaged {
        damage(&view, &bytes);
        assert_eq!(listed(&store), expected);
        assert_eq!(create(&store, "2", "d"), "2.1");
        assert_eq!(listed(&store).len(), 4);
        assert!(store.remove_version(&owner(), &name(), &tag("2.1")).unwrap());
        // As it would be on a disk that lost all about the version but the journal.
        std::fs::remove_file(fixture.root().join("refs/local/example/2.1.removed")).unwrap();
        std::fs::remove_file(fixture.root().join("journal")).unwrap();
    }
    // Behind the names: a killed process left it so.
    damage(&view, &whole);
    assert!(store.remove_version(&owner(), &name(), &tag("1.0.0.2")).unwrap());
    damage(&view, &whole);
    assert_eq!(listed(&store), [expected[0], expected[2]]);
    std::fs::remove_dir_all(fixture.root().join("refs/local/example")).unwrap();
    assert_eq!(listed(&store), Vec::<String>::new());
    assert_eq!(create(&store, "1.0.0", "e"), "1.0.0.4");
}

#[test]
fn a_list_shows_what_others_just_made() {
    let fixture = Fixture::new();
    let store = summarised(&fixture);
    // Within one tick of the clock that directories are stamped with, again and again.
    for round in 1..200 {
        let tag = create(&store, "1.0.0", "a");
        let beside = fixture
            .root()
            .join("refs/local/example")
            .join(format!("{tag}.json"));
        let killed = beside.with_file_name(format!("9.{round}.json"));
        std::fs::hard_link(&beside, &killed).unwrap();
        assert_eq!(listed(&store).len(), round * 2);
    }
}

#[test]
fn many_names_are_removed_at_once() {
    let fixture = Fixture::new();
    let store = summarised(&fixture);
    for _ in 0..7 {
        create(&store, "1.0.0", "a");
    }
    let image = |tag_text: &str| (owner(), name(), tag(tag_text));
    let gone: Vec<_> = ["1.0.0.2", "1.0.0.4", "1.0.0.9", "1.0.0.7"].map(image).to_vec();
    assert_eq!(store.remove_versions(&gone).unwrap(), 3);
    assert_eq!(store.remove_versions(&gone).unwrap(), 0);
    assert_eq!(listed(&store).len(), 4);
    assert_eq!(create(&store, "1.0.0", "a"), "1.0.0.8");
    assert_eq!(
        journal(&fixture)[7..],
        [
            "removed 1.0.0.2",
            "removed 1.0.0.4",
            "removed 1.0.0.7",
            "created 1.0.0.8"
        ]
    );
    let report = fixture.fsck();
    // A store that summarises otherwise sees other lines.
    assert_eq!(report.faults, []);
}

fn adopt(store: &Store, number: &str, content: &str) -> Adopted {
    let record = record(store, content);
    store
        .adopt_version(&owner(), &name(), &tag(number), &record)
        .unwrap()
}

#[test]
fn a_number_from_elsewhere_is_kept_and_never_means_two_things() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    assert_eq!(store.given_tag(&owner(), &name(), &tag("1.0.0.7")).unwrap(), None);
    assert_eq!(adopt(store, "1.0.0.7", "a"), Adopted::New);
    assert_eq!(adopt(store, "1.0.0.7", "a"), Adopted::Same);
    let Adopted::Taken(given) = adopt(store, "1.0.0.7", "b") else {
        panic!("a tag was moved")
    };
    assert_eq!(
        (given.manifest, given.removed),
        (Some(fixture.record("a").manifest), false)
    );
    assert_eq!(create(store, "1.0.0", "c"), "1.0.0.8");
    assert!(fixture.fsck().faults.is_empty());

    assert!(store.remove_version(&owner(), &name(), &tag("1.0.0.7")).unwrap());
    assert!(matches!(adopt(store, "1.0.0.7", "b"), Adopted::Taken(given) if given.removed));
    assert_eq!(store.versions(&owner(), &name()).unwrap(), [tag("1.0.0.8")]);
    assert_eq!(adopt(store, "1.0.0.7", "a"), Adopted::New);
    assert_eq!(
        store.versions(&owner(), &name()).unwrap(),
        [tag("1.0.0.7"), tag("1.0.0.8")]
    );
    let report = fixture.fsck();
    assert!(report.faults.is_empty(), "{:?}", report.faults);
    assert!(store.remove_version(&owner(), &name(), &tag("1.0.0.7")).unwrap());
    assert_eq!(create(store, "1.0.0", "d"), "1.0.0.9");
    assert!(fixture.fsck().faults.is_empty());
}

#[test]
fn a_number_whose_file_was_lost_comes_back_for_the_same_alone() {
    let fixture = Fixture::new();
    create(&fixture.store, "1.0.0", "a");
    let lost = fixture.root().join("refs/local/example/1.0.0.1.json");
    std::fs::remove_file(lost).unwrap();
    assert!(matches!(adopt(&fixture.store, "1.0.0.1", "b"), Adopted::Taken(_)));
    assert_eq!(adopt(&fixture.store, "1.0.0.1", "a"), Adopted::New);
}

#[test]
fn nothing_incomplete_is_adopted() {
    let fixture = Fixture::new();
    let mut incomplete = fixture.record("a");
    incomplete.blobs.push(BlobDigest::of(b"not there"));
    let adopted = fixture
        .store
        .adopt_version(&owner(), &name(), &tag("1.0.0.1"), &incomplete);
    assert!(matches!(adopted, Err(RefError::MissingBlob { .. })));
    assert!(fixture.store.versions(&owner(), &name()).unwrap().is_empty());
}
