//! Marks: they only go up, and nothing but repair takes one away.

use cooper_core::{Progress, Timestamp};
use cooper_store::{Fault, FsckOptions, MarkError, Note};

use super::{Fixture, damage};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_mark_only_goes_up() {
    let fixture = Fixture::new();
    let raise = |text: &str| fixture.store.raise_mark("suite", time(text)).unwrap().to_string();
    assert_eq!(fixture.store.mark("suite").unwrap(), None);
    for (to, highest) in [
        ("2026-09-02T00:00:00Z", "2026-09-02T00:00:00Z"),
        ("2026-09-01T00:00:00Z", "2026-09-02T00:00:00Z"),
        ("2026-09-03T00:00:00Z", "2026-09-03T00:00:00Z"),
    ] {
        assert_eq!(raise(to), highest);
        assert_eq!(fixture.store.mark("suite").unwrap(), Some(time(highest)));
    }
    assert_eq!(fixture.store.mark("other-suite").unwrap(), None);
}

#[test]
fn a_mark_outlives_the_cache_and_everything_else_that_may_be_lost() {
    let fixture = Fixture::new();
    let newest = time("2026-09-02T00:00:00Z");
    fixture.store.raise_mark("suite", newest).unwrap();
    for name in ["cache", "tmp", "locks"] {
        std::fs::remove_dir_all(fixture.root().join(name)).unwrap();
    }
    let reopened = fixture.reopened();
    assert_eq!(reopened.mark("suite").unwrap(), Some(newest));
    assert_eq!(
        reopened
            .raise_mark("suite", time("2020-01-01T00:00:00Z"))
            .unwrap(),
        newest
    );
}

#[test]
fn marks_that_are_raised_at_once_end_at_the_highest() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for thread in 0..4_i64 {
            let store = fixture.reopened();
            scope.spawn(move || {
                for turn in 0..10_i64 {
                    let time = Timestamp::from_second((turn * 7 + thread * 13) % 41).unwrap();
                    store.raise_mark("suite", time).unwrap();
                }
            });
        }
    });
    let tried = (0..4_i64).flat_map(|thread| (0..10_i64).map(move |turn| (turn * 7 + thread * 13) % 41));
    let highest = fixture.store.mark("suite").unwrap().map(Timestamp::as_second);
    assert_eq!(highest, tried.max());
}

#[test]
fn a_damaged_mark_is_an_error_until_it_is_repaired() {
    let fixture = Fixture::new();
    fixture
        .store
        .raise_mark("suite", time("2026-09-02T00:00:00Z"))
        .unwrap();
    let path = fixture.root().join("marks/suite");
    for text in [
        "",
        "2026-09-02T00:00:00Z",
        "tomorrow\n",
        "2026-09-02T00:00:00Z\nx\n",
    ] {
        damage(&path, text.as_bytes());
        assert!(
            matches!(fixture.store.mark("suite"), Err(MarkError::Unreadable { .. })),
            "{text:?}"
        );
        let raised = fixture.store.raise_mark("suite", time("2026-09-03T00:00:00Z"));
        assert!(matches!(raised, Err(MarkError::Unreadable { .. })), "{text:?}");
    }
    let fault = |moved| Fault::UnreadableMark {
        path: path.clone(),
        moved,
    };
    assert_eq!(fixture.fsck().faults, [fault(false)]);
    let repair = FsckOptions {
        repair: true,
        ..FsckOptions::default()
    };
    assert_eq!(
        fixture.store.fsck(&repair, &Progress::silent()).unwrap().faults,
        [fault(true)]
    );
    let report = fixture.fsck();
    assert_eq!(report.faults, []);
    assert!(
        matches!(report.notes.as_slice(), [Note::Quarantined { .. }]),
        "{report:?}"
    );
    assert_eq!(fixture.store.mark("suite").unwrap(), None);
}

#[test]
fn names_that_are_no_marks_are_refused_and_foreign_files_are_found() {
    let fixture = Fixture::new();
    for name in ["", "../refs", ".hidden", "a/b", "a b"] {
        assert!(
            matches!(fixture.store.mark(name), Err(MarkError::Name { .. })),
            "{name}"
        );
    }
    let path = fixture.root().join("marks/a b");
    damage(&path, b"2026-09-02T00:00:00Z\n");
    assert_eq!(fixture.fsck().faults, [Fault::ForeignFile { path }]);
}
