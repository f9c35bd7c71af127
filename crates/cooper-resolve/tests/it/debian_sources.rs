//! Other archives beside Debian's: their own keys, their own marks, and what they may give.

use cooper_core::base::{SourceSuite, Suite, SuiteKind};
use cooper_core::plan::Snapshot;
use cooper_core::{Base, BlobDigest, Digest};
use cooper_resolve::DebianSource;
use cooper_resolve::debian::{self, DebianError, DebianSolution};
use testkit::archive::Signing;
use testkit::{DebianArchive, Server, SigningKey};

use crate::debian_world::{World, archive, chain, made};

/// A company's archive: a newer curl, a tool of its own, and a newer package of the base.
fn acme() -> DebianArchive {
    [
        made("acme-tool", "1.0").depends("curl (>= 9)"),
        made("curl", "9.0-1"),
        made("other", "1.0"),
        made("tzdata", "9999a-1").architecture("all"),
    ]
    .into_iter()
    .fold(DebianArchive::new(Base::Trixie), DebianArchive::package)
    .signing(&Signing::By(SigningKey::stranger()))
}

struct Two {
    world: World,
    server: Server,
}

impl Two {
    fn new() -> Self {
        let mut world = World::new(&archive([made("curl", "8.0-1"), made("jq", "1-1")]));
        let server = Server::start(acme().routes());
        world.sources.debian_sources.push(DebianSource {
            suites: vec![suite()],
            mirrors: vec![server.url("debian").parse().unwrap()],
            keys: vec![SigningKey::stranger().certificate()],
            base: None,
            packages: std::collections::BTreeSet::default(),
            in_release: None,
        });
        Self { world, server }
    }

    fn source(&mut self) -> &mut DebianSource {
        &mut self.world.sources.debian_sources[0]
    }

    /// `name version suite` of what is added.
    fn added(&self, packages: &str) -> Vec<String> {
        let solution = self.world.resolve(packages).unwrap();
        let each = solution.packages.iter();
        each.map(|one| format!("{} {} {}", one.name, one.version, one.suite))
            .collect()
    }
}

fn suite() -> SourceSuite {
    SourceSuite::new("acme", "trixie", "main").unwrap()
}

fn snapshot(solution: &DebianSolution) -> &Snapshot {
    solution.snapshots.last().unwrap()
}

#[test]
fn the_highest_version_counts_and_the_base_is_debians() {
    let two = Two::new();
    assert_eq!(
        two.added("acme-tool,jq"),
        [
            "acme-tool 1.0 trixie+acme:trixie:main",
            "curl 9.0-1 trixie+acme:trixie:main",
            "jq 1-1 trixie"
        ]
    );
    assert_eq!(two.added("curl=8.0-1"), ["curl 8.0-1 trixie"]);
    let alone = World::new(&archive([made("curl", "8.0-1"), made("jq", "1-1")]));
    let (base, same) = (
        two.world.resolve("").unwrap().base,
        alone.resolve("").unwrap().base,
    );
    assert_eq!(base, same);
    let fetched = two.server.requests().len();
    two.added("acme-tool,jq");
    assert_eq!(two.server.requests().len(), fetched);
}

#[test]
fn a_source_may_be_for_some_packages_and_one_base_alone() {
    let mut two = Two::new();
    two.source().packages.insert("other".parse().unwrap());
    assert_eq!(
        two.added("curl,other"),
        ["curl 8.0-1 trixie", "other 1.0 trixie+acme:trixie:main"]
    );
    let error = two.world.resolve("acme-tool").unwrap_err();
    assert!(matches!(error, DebianError::UnknownPackage { .. }), "{error:?}");
    // Another list is another answer, whatever is kept.
    two.source().packages.clear();
    assert_eq!(two.added("curl,other")[0], "curl 9.0-1 trixie+acme:trixie:main");
    two.source().base = Some(Base::Bookworm);
    assert_eq!(two.added("curl"), ["curl 8.0-1 trixie"]);
    assert!(two.world.resolve("other").is_err());
}

#[test]
fn each_archive_is_held_to_its_own_keys() {
    let mut two = Two::new();
    two.source().keys = vec![SigningKey::archive().certificate()];
    let error = two.world.resolve("acme-tool").unwrap_err();
    assert!(
        matches!(error, DebianError::Signature { suite, .. } if suite.source().is_some()),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("signed_by"), "{:?}", error.hint());
    two.source().keys = vec![];
    assert!(matches!(
        two.world.resolve("acme-tool"),
        Err(DebianError::NoKeys { .. })
    ));
    // The company's key signs nothing of Debian's.
    let mut two = Two::new();
    two.world
        .serve(&archive([]).signing(&Signing::By(SigningKey::stranger())));
    let error = two.world.resolve("acme-tool").unwrap_err();
    assert!(
        matches!(error, DebianError::Signature { suite, .. } if suite.source().is_none()),
        "{error:?}"
    );
    two.source().keys = vec![SigningKey::stranger().certificate()];
    assert!(two.world.resolve("acme-tool").is_err());
}

#[test]
fn one_suite_of_a_source_does_not_stand_for_another() {
    let mut two = Two::new();
    let routes = acme().routes();
    let signed = routes.body("/debian/dists/trixie/InRelease").unwrap().to_vec();
    two.server.insert(
        "/debian/dists/stable-old/InRelease",
        testkit::Route::bytes(signed),
    );
    two.source().suites = vec![SourceSuite::new("acme", "stable-old", "main").unwrap()];
    let error = two.world.resolve("acme-tool").unwrap_err();
    assert!(
        chain(&error).contains("release file of `trixie`"),
        "{}",
        chain(&error)
    );
    two.source().suites = vec![SourceSuite::new("acme", "trixie", "extra").unwrap()];
    let error = two.world.resolve("acme-tool").unwrap_err();
    assert!(
        chain(&error).contains("extra/binary-amd64/Packages"),
        "{}",
        chain(&error)
    );
}

#[test]
fn an_old_state_of_a_source_stays_old() {
    let two = Two::new();
    let first = two.world.resolve("acme-tool").unwrap();
    two.world.pass(601);
    two.server.replace(acme().date("2025-09-01T00:00:00Z").routes());
    let again = two.world.resolve("acme-tool").unwrap();
    let (
        Snapshot::Debian { date: newest, .. },
        Snapshot::Debian {
            date, newest_seen, ..
        },
    ) = (snapshot(&first), snapshot(&again))
    else {
        panic!("no snapshots");
    };
    assert_eq!(newest_seen, newest);
    assert!(date < newest_seen);
    // Debian's marks are untouched, and another source has its own.
    for snapshot in &again.snapshots[..3] {
        assert!(matches!(snapshot, Snapshot::Debian { date, newest_seen, .. } if date == newest_seen));
    }
}

#[test]
fn a_pinned_suite_is_that_file_or_nothing() {
    let mut two = Two::new();
    let routes = acme().routes();
    let pinned = Digest::of(routes.body("/debian/dists/trixie/InRelease").unwrap());
    two.source().in_release = Some(pinned);
    assert_eq!(two.added("curl"), ["curl 9.0-1 trixie+acme:trixie:main"]);
    two.world.pass(601);
    two.server.replace(acme().date("2025-09-07T00:00:00Z").routes());
    let error = two.world.resolve("curl").unwrap_err();
    assert!(
        matches!(error, DebianError::Pinned { expected, .. } if expected == pinned),
        "{error:?}"
    );
    two.source().in_release = None;
    two.added("curl");
    // What is kept and fresh, and not what is pinned, is not used.
    two.source().in_release = Some(pinned);
    assert!(matches!(
        two.world.resolve("curl"),
        Err(DebianError::Pinned { .. })
    ));
}

#[test]
fn a_locks_snapshots_are_checked_with_the_keys_of_their_archive() {
    let mut two = Two::new();
    let solution = two.world.resolve("acme-tool").unwrap();
    let at = testkit::context::now();
    let check = |two: &Two| debian::recheck(&two.world.store, &two.world.sources, &solution.snapshots, at);
    assert_eq!(
        (check(&two).unchecked, &check(&two).snapshots),
        (vec![], &solution.snapshots)
    );
    let of = Suite {
        base: Base::Trixie,
        kind: SuiteKind::Source(suite()),
    };
    two.source().keys = vec![SigningKey::archive().certificate()];
    let Some(Snapshot::Debian { signed_by, .. }) = check(&two).snapshots.pop() else {
        panic!("no snapshot");
    };
    assert_eq!(signed_by, Vec::<String>::new());
    two.world.sources.debian_sources.clear();
    assert_eq!(check(&two).unchecked, [of]);
    assert!(two.world.store.contains(&BlobDigest::new(
        *snapshot(&solution).signed_file().unwrap().digest()
    )));
}
