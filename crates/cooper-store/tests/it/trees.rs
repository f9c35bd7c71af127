//! Trees, scratch directories, sweeping, locks.

use std::os::unix::fs::PermissionsExt as _;

use cooper_core::DiffId;
use cooper_store::LockError;

use super::{Fixture, damage, names_in};

fn mode(path: &std::path::Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_tree_appears_when_it_is_committed() {
    let fixture = Fixture::new();
    let diff_id = DiffId::of(b"tree");
    let stage = fixture.store.stage_tree().unwrap();
    assert_eq!((mode(&stage.root()), mode(&stage.work())), (0o755, 0o755));
    damage(&stage.root().join("file"), b"content");
    damage(&stage.work().join("rest"), b"not part of it");
    assert_eq!(fixture.store.tree(&diff_id), None);
    let path = stage.commit(&diff_id).unwrap();
    assert_eq!(fixture.store.tree(&diff_id), Some(path.clone()));
    assert_eq!(names_in(&path), ["file"]);
    assert_eq!(mode(&path), 0o755);
}

#[test]
fn the_first_tree_of_a_name_stays() {
    let fixture = Fixture::new();
    let diff_id = DiffId::of(b"tree");
    let first = fixture.store.stage_tree().unwrap();
    let second = fixture.store.stage_tree().unwrap();
    damage(&first.root().join("first"), b"");
    damage(&second.root().join("second"), b"");
    let path = first.commit(&diff_id).unwrap();
    assert_eq!(second.commit(&diff_id).unwrap(), path);
    assert_eq!(names_in(&path), ["first"]);
    let session = fixture
        .root()
        .join("tmp")
        .join(&names_in(&fixture.root().join("tmp"))[0]);
    assert_eq!(names_in(&session), [".started"]);
}

#[test]
fn a_scratch_directory_goes_with_its_value() {
    let fixture = Fixture::new();
    let scratch = fixture.store.scratch().unwrap();
    assert_eq!(mode(scratch.path()), 0o700);
    let path = scratch.path().to_owned();
    std::fs::create_dir(path.join("inner")).unwrap();
    drop(scratch);
    assert!(!path.exists());
}

#[test]
fn the_session_goes_with_the_last_user_of_the_store() {
    let fixture = Fixture::new();
    let tmp = fixture.root().join("tmp");
    let stage = fixture.store.stage_tree().unwrap();
    let Fixture {
        store,
        directory: _directory,
    } = fixture;
    drop(store);
    assert_eq!(names_in(&tmp).len(), 1);
    drop(stage);
    assert_eq!(names_in(&tmp), Vec::<String>::new());
}

#[test]
fn what_a_dead_process_left_is_swept_and_what_a_living_one_holds_is_not() {
    let fixture = Fixture::new();
    let tmp = fixture.root().join("tmp");
    let living = fixture.store.stage_tree().unwrap();
    damage(&living.root().join("file"), b"in progress");
    let dead = tmp.join("4194305-0123456789abcdef");
    std::fs::create_dir_all(dead.join("tree-0/root/usr/bin")).unwrap();
    std::fs::create_dir(tmp.join("quarantine")).unwrap();
    damage(&tmp.join("quarantine/kept"), b"");
    damage(&tmp.join("stray"), b"");

    let _other = fixture.reopened();
    assert!(!dead.exists());
    assert!(!tmp.join("stray").exists());
    assert!(tmp.join("quarantine/kept").exists());
    assert!(living.root().join("file").exists());
}

#[test]
fn a_lock_excludes_until_it_is_dropped() {
    let fixture = Fixture::new();
    let other = fixture.reopened();
    let held = fixture.store.lock("image-a").unwrap();
    assert!(other.try_lock("image-a").unwrap().is_none());
    assert!(other.try_lock("image-b").unwrap().is_some());
    drop(held);
    assert!(other.try_lock("image-a").unwrap().is_some());
    for name in ["", ".names", "a/b", "..", "ä", &"a".repeat(201)] {
        assert!(matches!(other.lock(name), Err(LockError::Name { .. })), "{name}");
    }
}

#[test]
fn a_waiting_lock_is_given_on() {
    let fixture = Fixture::new();
    let held = fixture.store.lock("turn").unwrap();
    let other = fixture.reopened();
    let waiting = std::thread::spawn(move || other.lock("turn").map(drop));
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(!waiting.is_finished());
    drop(held);
    waiting.join().unwrap().unwrap();
}
