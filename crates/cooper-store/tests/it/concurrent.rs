//! Many threads, many processes, death at any moment, and a full disk.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cooper_core::{BlobDigest, DiffId, ImageName, ImageVersion, Organisation};
use cooper_store::{FetchError, RefError, Store, WriteBlobError};

use super::{Fixture, damage, fsck, open, record};

const THREADS: usize = 8;
const PROCESSES: usize = 4;
const VERSIONS_EACH: usize = 5;

fn names() -> (Organisation, ImageName, ImageVersion) {
    (
        "local".parse().unwrap(),
        "example".parse().unwrap(),
        "1.0.0".parse().unwrap(),
    )
}

fn create(store: &Store, content: &str) -> u32 {
    let (owner, name, version) = names();
    store
        .create_version(&owner, &name, &version, &record(store, content))
        .unwrap()
        .serial
        .get()
}

#[test]
fn many_writers_of_one_blob_agree() {
    let fixture = Fixture::new();
    let bytes = vec![7; 1 << 20];
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| fixture.store.put_blob(&bytes).unwrap());
        }
    });
    assert_eq!(
        fixture.store.read_blob(&BlobDigest::of(&bytes), 1 << 20).unwrap(),
        bytes
    );
    assert!(fixture.fsck().is_clean());
}

#[test]
fn threads_get_distinct_consecutive_numbers() {
    let fixture = Fixture::new();
    let numbers = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS)
            .map(|at| {
                let store = if at % 2 == 0 {
                    fixture.store.clone()
                } else {
                    fixture.reopened()
                };
                scope.spawn(move || create(&store, &format!("thread {at}")))
            })
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .collect::<BTreeSet<u32>>()
    });
    assert_eq!(numbers, (1..=8).collect());
    assert!(fixture.fsck().is_clean());
    assert_eq!(fixture.fsck().notes, []);
}

#[test]
fn processes_get_distinct_consecutive_numbers() {
    if let Some(store) = store_of_child() {
        return create_versions(&store);
    }
    let fixture = Fixture::new();
    let children: Vec<Child> = (0..PROCESSES)
        .map(|_| spawn_child("processes_get_distinct_consecutive_numbers", fixture.root()))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let (owner, name, _) = names();
    let numbers: Vec<u32> = fixture
        .store
        .versions(&owner, &name)
        .unwrap()
        .iter()
        .map(|tag| tag.serial.get())
        .collect();
    let count = u32::try_from(PROCESSES * VERSIONS_EACH).unwrap();
    assert_eq!(numbers, (1..=count).collect::<Vec<u32>>());
    let report = fixture.fsck();
    assert_eq!((report.faults, report.notes), (Vec::new(), Vec::new()));
}

fn create_versions(store: &Store) {
    for at in 0..VERSIONS_EACH {
        create(store, &format!("process {} version {at}", std::process::id()));
    }
}

#[test]
fn killed_at_any_moment_the_store_stays_whole() {
    if let Some(store) = store_of_child() {
        return work_until_killed(&store);
    }
    let fixture = Fixture::new();
    for round in 0..30_u64 {
        let mut child = spawn_child("killed_at_any_moment_the_store_stays_whole", fixture.root());
        wait_for_work(&fixture);
        std::thread::sleep(Duration::from_micros(round * 1_700 % 23_000));
        child.kill().unwrap();
        child.wait().unwrap();

        let reopened = fixture.reopened();
        let report = fsck(&reopened);
        assert_eq!(report.faults, [], "round {round}");
        let leftover = std::fs::read_dir(fixture.root().join("tmp")).unwrap().count();
        assert_eq!(leftover, 0, "round {round}");
        create(&reopened, &format!("after round {round}"));
    }
    let (owner, name, _) = names();
    let tags = fixture.store.versions(&owner, &name).unwrap();
    assert!(tags.len() >= 30);
}

/// Until the child has opened its session, so that the kill comes in the middle of its work.
fn wait_for_work(fixture: &Fixture) {
    let tmp = fixture.root().join("tmp");
    for _ in 0..2_000 {
        if std::fs::read_dir(&tmp).unwrap().next().is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the child did not begin to work");
}

/// Everything that writes, over and over.
fn work_until_killed(store: &Store) {
    let (owner, name, version) = names();
    for at in 0_u64.. {
        let content = format!("process {} round {at}", std::process::id());
        let stage = store.stage_tree().unwrap();
        damage(&stage.root().join("file"), content.as_bytes());
        let diff_id = DiffId::of(content.as_bytes());
        stage.commit(&diff_id).unwrap();
        store.put_blob(&content.as_bytes().repeat(4_000)).unwrap();
        store.cache_put("kind", "key", content.as_bytes()).unwrap();
        let _scratch = store.scratch().unwrap();
        let mut record = record(store, &content);
        record.trees.push(diff_id);
        let tag = store.create_version(&owner, &name, &version, &record).unwrap();
        if at % 3 == 0 {
            store.remove_version(&owner, &name, &tag).unwrap();
        }
    }
}

/// Run the same test in another process, where it does the other process's part. It knows that by its working
/// directory, which is its store.
fn spawn_child(test: &str, root: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", &format!("concurrent::{test}")])
        .current_dir(root);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// `None` when the test was not started by another one.
fn store_of_child() -> Option<Store> {
    let here = std::env::current_dir().unwrap();
    here.join("oci-layout").exists().then(|| open(&here))
}

#[test]
fn a_full_disk_is_an_error_and_leaves_the_store_whole() {
    let here = std::env::current_dir().unwrap();
    if here.join("is-small").exists() {
        return fill_the_disk(&open(&here.join("store")));
    }
    let fixture = Fixture::new();
    let small = fixture.directory.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let program = std::env::current_exe().unwrap();
    // A small file system of its own, in a mount namespace that ends with the child.
    let script = r#"mount -t tmpfs -o size=1m none "$1" && cd "$1" && touch is-small && exec "$2" --exact concurrent::a_full_disk_is_an_error_and_leaves_the_store_whole"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
    command.arg(&small).arg(program).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    if !text.contains("running 1 test") {
        println!(
            "SKIPPED: no small file system could be mounted: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn fill_the_disk(store: &Store) {
    let large = vec![7; 3 << 20];
    let is_full = |path: &Path| path.starts_with(store.root());
    let error = store.put_blob(&large).unwrap_err();
    assert!(
        matches!(&error, WriteBlobError::DiskFull { path } if is_full(path)),
        "{error:?}"
    );
    let error = store.cache_put("kind", "key", &large).unwrap_err();
    assert!(
        matches!(&error, WriteBlobError::DiskFull { path } if is_full(path)),
        "{error:?}"
    );
    let server = super::server::Server::of(&large);
    let fetch = super::fetch::blob_from(&[server.url("/")], &large);
    let error = super::fetch::intake()
        .fetch_blob(store, &fetch, &|_| ())
        .unwrap_err();
    assert!(
        matches!(&error, FetchError::DiskFull { path } if is_full(path)),
        "{error:?}"
    );
    // What failed has given its room back.
    create(store, "fits");
    let mut record = record(store, "large");
    record.details = "x".repeat(3 << 20).into();
    let (owner, name, version) = names();
    let error = store
        .create_version(&owner, &name, &version, &record)
        .unwrap_err();
    assert!(
        matches!(&error, RefError::DiskFull { path } if is_full(path)),
        "{error:?}"
    );
    assert_eq!(create(store, "fits too"), 2);
    assert!(fsck(store).is_clean());
}
