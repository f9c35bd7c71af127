//! What is chosen, what is kept, and what is said when nothing can be chosen.

use cooper_core::base::SuiteKind;
use cooper_core::plan::Snapshot;
use cooper_core::{Base, Timestamp};
use cooper_resolve::debian::{self, DebianError};
use testkit::{DebPackage, DebianArchive, Fault};

use crate::debian_checker::Checker;
use crate::debian_world::{FRESH, World, archive, chain, made, packages_by_name, shown};

fn tools() -> DebianArchive {
    archive([
        made("wget", "1.25.0-2").depends("libpsl5 (>= 0.16), libc6 (>= 2.34), mawk | awk"),
        made("libpsl5", "0.21-1").depends("libc6:any"),
        made("mawk", "1.3-1").provides("awk"),
        made("gawk", "5.3-1").provides("awk"),
        made("exim4", "4.98-1")
            .provides("mail-transport-agent")
            .conflicts("mail-transport-agent"),
        made("postfix", "3.10-1")
            .provides("mail-transport-agent")
            .conflicts("mail-transport-agent"),
        made("only-editor", "1-1").provides("editor, vi (= 9)"),
        made("needs-editor", "1-1").depends("vi (>= 8), nothing-real | editor"),
        made("libxslt1.1", "1.1-1"),
        made("libxslt1-dev", "1.1-1").depends("libxslt1.1 (= 1.1-1)"),
        made("loop-a", "1-1").depends("loop-b"),
        made("loop-b", "1-1").depends("loop-c"),
        made("loop-c", "1-1").depends("loop-a (>= 1)"),
        made("breaker", "1-1").breaks("libpsl5 (<< 1)"),
        made("wants-new-libc", "1-1").depends("libc6 (>= 99)"),
        made("hard", "1-1").depends("breaker, wget"),
    ])
    .package_in(SuiteKind::Security, made("libpsl5", "0.21-1+deb13u1"))
    .package_in(SuiteKind::Updates, made("tzdata", "2099a-1").architecture("all"))
}

fn hint(error: &DebianError) -> String {
    error.hint().unwrap_or_default()
}

#[test]
fn the_base_and_what_a_request_adds_come_apart() {
    let world = World::new(&tools());
    let solution = world.resolve("wget").unwrap();
    assert_eq!(
        shown(&solution.packages),
        ["libpsl5 0.21-1+deb13u1", "mawk 1.3-1", "wget 1.25.0-2"]
    );
    let base = shown(&solution.base);
    assert!(
        base.contains(&"tzdata 2099a-1".to_owned()),
        "the updates suite counts: {base:?}"
    );
    let names: Vec<&str> = solution
        .base
        .iter()
        .map(|planned| planned.name.as_str())
        .collect();
    for name in [
        "bash",
        "ca-certificates",
        "libc6",
        "libstdc++6",
        "python-is-python3",
        "python3",
        "openssl",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    assert!(names.is_sorted() && solution.notes.is_empty());
    let libpsl = &solution.packages[0];
    assert_eq!(libpsl.suite.to_string(), "trixie-security");
    assert!(libpsl.path.as_str().starts_with("pool/updates/") && libpsl.sha256.is_some() && libpsl.size > 0);

    let key = testkit::SigningKey::archive().fingerprint();
    assert_eq!(solution.snapshots.len(), 3);
    for (snapshot, suite) in solution.snapshots.iter().zip(Base::Trixie.suites()) {
        let Snapshot::Debian {
            suite: found,
            signed_by,
            date,
            newest_seen,
            valid_until,
            ..
        } = snapshot
        else {
            panic!("not a Debian snapshot");
        };
        assert_eq!(
            (found, signed_by, date),
            (&suite, &vec![key.clone()], newest_seen)
        );
        assert_eq!(*valid_until, None);
    }
    let checker = Checker::of(&packages_by_name(&tools()));
    checker.check(
        &[&solution.base[..], &solution.packages[..]].concat(),
        &["wget", "bash", "python3"],
    );
}

#[test]
fn an_empty_request_is_the_base_alone_on_both_bases() {
    for base in Base::ALL {
        let world = World::new(&DebianArchive::with_minimal_base(base));
        let solution = world.resolve_on(base, "").unwrap();
        assert!(solution.packages.is_empty() && solution.base.len() > 10);
    }
}

#[test]
fn a_second_time_nothing_is_fetched_and_nothing_is_read() {
    let mut world = World::new(&tools());
    let first = world.resolve("wget, gawk").unwrap();
    let requests = world.kit.server().requests().len();
    assert_eq!(world.resolve("wget, gawk").unwrap(), first);
    // Another request on the same indexes: read from the compact form.
    let other = world.resolve("gawk").unwrap();
    assert_eq!(shown(&other.packages), ["gawk 5.3-1"]);
    assert_eq!(world.kit.server().requests().len(), requests);

    world.pass(601);
    assert_eq!(world.resolve("wget, gawk").unwrap(), first);
    assert_eq!(
        world.kit.server().requests().len(),
        requests + 3,
        "only the three release files"
    );
    world.freshness.refresh = Some(Timestamp::MAX);
    assert_eq!(world.resolve("wget, gawk").unwrap(), first);
    assert_eq!(world.kit.server().requests().len(), requests + 6);
}

#[test]
fn snapshots_alone_fetch_no_packages() {
    let world = World::new(&tools());
    let before = world
        .with_context(|context| debian::snapshots(context, Base::Trixie))
        .unwrap();
    let requests = world.kit.server().requests();
    assert!(
        requests
            .iter()
            .all(|request| request.path.ends_with("/InRelease")),
        "{requests:?}"
    );
    assert_eq!(world.resolve("wget").unwrap().snapshots, before);
}

#[test]
fn offline_uses_what_there_is_and_says_when_there_is_nothing() {
    let mut world = World::new(&tools());
    world.freshness.offline = true;
    let error = world.resolve("wget").unwrap_err();
    assert!(matches!(error, DebianError::Offline { .. }), "{error:?}");
    assert!(hint(&error).contains("--offline"));
    world.freshness = FRESH;
    let online = world.resolve("wget").unwrap();
    world.freshness.offline = true;
    world.pass(86_400);
    assert_eq!(world.resolve("wget").unwrap(), online);
    // Another request works as well: the packages are kept.
    assert_eq!(shown(&world.resolve("libxslt1-dev").unwrap().packages).len(), 2);
}

#[test]
fn a_new_state_of_the_archive_is_seen_after_a_while() {
    let world = World::new(&tools());
    assert_eq!(shown(&world.resolve("gawk").unwrap().packages), ["gawk 5.3-1"]);
    world.serve(&tools().package_in(SuiteKind::Security, made("gawk", "5.3-1+deb13u1")));
    assert_eq!(shown(&world.resolve("gawk").unwrap().packages), ["gawk 5.3-1"]);
    world.pass(601);
    assert_eq!(
        shown(&world.resolve("gawk").unwrap().packages),
        ["gawk 5.3-1+deb13u1"]
    );
    assert_eq!(
        shown(&world.resolve("gawk=5.3-1").unwrap().packages),
        ["gawk 5.3-1"]
    );
}

#[test]
fn damaged_caches_are_made_anew() {
    let world = World::new(&tools());
    let good = world.resolve("wget").unwrap();
    let cache = world.store.root().join("cache");
    for (round, damage) in [
        |bytes: &mut Vec<u8>| bytes.iter_mut().for_each(|byte| *byte ^= 0x55),
        |bytes: &mut Vec<u8>| bytes.clear(),
        |bytes: &mut Vec<u8>| {
            bytes.truncate(bytes.len() / 2);
        },
        |bytes: &mut Vec<u8>| bytes.iter_mut().take(4000).for_each(|byte| *byte ^= 1),
    ]
    .into_iter()
    .enumerate()
    {
        let mut damaged = 0;
        let mut folders = vec![cache.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let mut bytes = std::fs::read(&path).unwrap();
                damage(&mut bytes);
                std::fs::remove_file(&path).unwrap();
                std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), &bytes).unwrap();
                damaged += 1;
            }
        }
        assert!(damaged >= 5, "{damaged}");
        assert_eq!(
            world.resolve("wget").unwrap().packages,
            good.packages,
            "round {round}"
        );
        assert_eq!(
            world.resolve("wget, gawk").unwrap().packages.len(),
            3,
            "round {round}"
        );
    }
}

#[test]
fn a_damaged_stanza_alone_is_found_when_it_is_read() {
    let world = World::new(&tools());
    world.resolve("gawk").unwrap();
    let folder = world.store.root().join("cache/debian-packages");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let Some(at) = bytes.windows(12).position(|window| window == b"Package: wge") else {
            continue;
        };
        bytes[at + 9] = b'x';
        std::fs::remove_file(&path).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), &bytes).unwrap();
    }
    assert_eq!(shown(&world.resolve("wget").unwrap().packages).len(), 3);
}

#[test]
fn a_damaged_list_in_the_store_is_fetched_again() {
    let world = World::new(&tools());
    let good = world.resolve("wget").unwrap();
    std::fs::remove_dir_all(world.store.root().join("cache")).unwrap();
    for entry in std::fs::read_dir(world.store.root().join("blobs/sha256")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::io::Write::write_all(&mut std::fs::File::create(&path).unwrap(), &bytes).unwrap();
    }
    assert_eq!(world.resolve("wget").unwrap().packages, good.packages);
}

#[test]
fn cycles_and_versioned_provisions_are_no_trouble() {
    let world = World::new(&tools());
    assert_eq!(shown(&world.resolve("loop-b").unwrap().packages).len(), 3);
    assert_eq!(
        shown(&world.resolve("needs-editor").unwrap().packages),
        ["needs-editor 1-1", "only-editor 1-1"]
    );
}

#[test]
fn virtual_names_are_taken_only_where_the_choice_is_clear() {
    let world = World::new(&tools());
    let only = world.resolve("editor").unwrap();
    assert_eq!(shown(&only.packages), ["only-editor 1-1"]);
    assert_eq!(
        only.notes,
        ["`editor` is provided by `only-editor` alone, which is taken"]
    );
    let asked = world.resolve("awk, gawk").unwrap();
    assert_eq!(shown(&asked.packages), ["gawk 5.3-1"]);
    assert_eq!(asked.notes, ["`awk` is provided by `gawk`, which is asked for"]);
    let error = world.resolve("mail-transport-agent").unwrap_err();
    assert!(matches!(&error, DebianError::Virtual { providers, .. } if providers == &["exim4", "postfix"]));
    assert_eq!(hint(&error), "ask for one of them: `exim4` or `postfix`");
}

#[test]
fn what_the_base_has_is_said() {
    let world = World::new(&tools());
    let solution = world.resolve("tzdata, gawk").unwrap();
    assert_eq!(shown(&solution.packages), ["gawk 5.3-1"]);
    assert_eq!(
        solution.notes,
        ["`tzdata` is part of the base already, as 2099a-1"]
    );
    assert!(world.resolve("tzdata=2099a-1").unwrap().packages.is_empty());
    let older = packages_by_name(&tools())["tzdata"][0].version().to_owned();
    let error = world.resolve(&format!("tzdata={older}")).unwrap_err();
    assert!(matches!(error, DebianError::BaseVersion { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!("`tzdata={older}` is asked for, but debian:trixie is made with tzdata 2099a-1")
    );
    assert!(hint(&error).contains("`tzdata=2099a-1`"));
}

#[test]
fn unknown_packages_and_versions_come_with_what_there_is() {
    let world = World::new(&tools());
    let error = world.resolve("libxslt").unwrap_err();
    assert_eq!(error.to_string(), "debian:trixie has no package `libxslt`");
    assert_eq!(hint(&error), "did you mean `libxslt1.1` or `libxslt1-dev`?");
    assert_eq!(hint(&world.resolve("wgte").unwrap_err()), "did you mean `wget`?");
    let error = world.resolve("no-such-thing-at-all").unwrap_err();
    assert!(
        matches!(&error, DebianError::UnknownPackage { suggestions, .. } if suggestions.is_empty()),
        "{error:?}"
    );
    let error = world.resolve("libpsl5=7").unwrap_err();
    assert_eq!(error.to_string(), "debian:trixie has no version 7 of `libpsl5`");
    assert_eq!(
        hint(&error),
        "ask for `libpsl5=0.21-1+deb13u1` or `libpsl5=0.21-1`, or for `libpsl5` alone"
    );
    let error = world
        .resolve("libpsl5=0.21-1,libpsl5=0.21-1+deb13u1")
        .unwrap_err();
    assert!(matches!(error, DebianError::TwoVersions { .. }), "{error}");
}

#[test]
fn wishes_that_exclude_each_other_are_explained() {
    let world = World::new(&tools());
    let text = world.resolve("exim4, postfix").unwrap_err().to_string();
    assert!(
        text.contains("exim4 is asked for") && text.contains("postfix is asked for"),
        "{text}"
    );
    assert!(
        text.contains("conflicts with mail-transport-agent, which is provided by"),
        "{text}"
    );

    let text = world.resolve("wants-new-libc").unwrap_err().to_string();
    assert!(
        text.contains("wants-new-libc 1-1 depends on libc6 (>= 99), and there is only libc6 2.41-1"),
        "{text}"
    );

    let text = world.resolve("hard").unwrap_err().to_string();
    assert!(
        text.contains("hard 1-1 depends on breaker") && text.contains("hard 1-1 depends on wget"),
        "{text}"
    );
    assert!(
        text.contains("breaker 1-1 breaks libpsl5 (<< 1), and it is libpsl5 0.21-1"),
        "{text}"
    );
    assert!(text.lines().count() < 14, "{text}");
}

#[test]
fn the_newest_version_that_works_is_taken() {
    let world = World::new(
        &archive([
            made("app", "1-1").depends("lib"),
            made("lib", "1-1"),
            made("lib", "3-1").depends("gone"),
        ])
        .package_in(SuiteKind::Updates, made("lib", "2-1")),
    );
    assert_eq!(
        shown(&world.resolve("app").unwrap().packages),
        ["app 1-1", "lib 2-1"]
    );
}

#[test]
fn the_first_mirror_that_works_is_used_and_the_one_that_does_not_is_named() {
    let mut world = World::new(&tools());
    let down = world.kit.server().url("down/");
    world.sources.debian_mirrors.insert(0, down.parse().unwrap());
    assert_eq!(world.resolve("wget").unwrap().packages.len(), 3);

    world.sources.debian_mirrors.truncate(1);
    let error = world.resolve("wget").unwrap_err();
    assert!(
        matches!(&error, DebianError::Fetch { kept: None, .. }),
        "{error:?}"
    );
    let shown = chain(&error);
    assert!(
        shown.contains("down/dists/trixie") && shown.contains("/InRelease"),
        "{shown}"
    );
    assert!(hint(&error).contains("debian.mirrors"));

    world.sources.debian_security_mirrors.clear();
    assert!(matches!(world.resolve("wget"), Err(DebianError::NoMirror { .. })));
}

#[test]
fn no_error_shows_a_password() {
    let mut world = World::new(&tools());
    for mirror in &mut world.sources.debian_mirrors {
        mirror.set_username("user").unwrap();
        mirror.set_password(Some("sesame")).unwrap();
    }
    let good = world.resolve("wget").unwrap();
    assert!(!format!("{good:?}").contains("sesame"));
    world.pass(601);
    for fault in [Fault::Status(500), Fault::WrongBytes] {
        world.kit.server().fault("/debian/*", fault);
        let error = world.resolve("wget").unwrap_err();
        let shown = format!("{} {error:?} {:?}", chain(&error), error.hint());
        assert!(!shown.contains("sesame"), "{shown}");
    }
}

#[test]
fn a_mirror_that_is_down_later_leaves_the_way_offline() {
    let world = World::new(&tools());
    world.resolve("wget").unwrap();
    world.pass(601);
    world.kit.server().fault("/debian-security/*", Fault::Status(503));
    let error = world.resolve("wget").unwrap_err();
    assert!(
        matches!(&error, DebianError::Fetch { kept: Some(_), .. }),
        "{error:?}"
    );
    assert!(hint(&error).contains("--offline"), "{}", hint(&error));
}

#[test]
fn packages_without_a_digest_or_for_another_machine_are_left_to_the_gate() {
    let bare =
        tools()
            .stanza_field("gawk", "SHA256", None)
            .stanza_field("gawk", "Architecture", Some("arm64"));
    let solution = World::new(&bare).resolve("gawk").unwrap();
    let gawk: &cooper_core::plan::PlannedDebian = &solution.packages[0];
    assert_eq!((gawk.sha256, gawk.architecture.as_str()), (None, "arm64"));
}

#[test]
fn a_stanza_that_cannot_be_read_hides_only_its_package() {
    let broken = tools().stanza_field("gawk", "Depends", Some("((("));
    let world = World::new(&broken);
    assert_eq!(world.resolve("wget").unwrap().packages.len(), 3);
    assert!(matches!(
        world.resolve("gawk"),
        Err(DebianError::UnknownPackage { .. })
    ));
}

#[test]
fn the_same_request_gives_the_same_answer_in_another_store() {
    let first = World::new(&tools())
        .resolve("hard, exim4, editor")
        .map_err(|error| error.to_string());
    let good = World::new(&tools()).resolve("needs-editor, wget, exim4").unwrap();
    for _ in 0..4 {
        let again = World::new(&tools())
            .resolve("hard, exim4, editor")
            .map_err(|error| error.to_string());
        assert_eq!(again, first);
        let again = World::new(&tools()).resolve("needs-editor, wget, exim4").unwrap();
        assert_eq!(
            (again.base, again.packages),
            (good.base.clone(), good.packages.clone())
        );
    }
}

/// Moves a date in a snapshot out, for tests elsewhere in this folder.
pub(crate) fn dates(snapshot: &Snapshot) -> (Timestamp, Option<Timestamp>, Timestamp) {
    match snapshot {
        Snapshot::Debian {
            date,
            valid_until,
            newest_seen,
            ..
        } => (*date, *valid_until, *newest_seen),
        Snapshot::Python { .. } => panic!("not a Debian snapshot"),
    }
}

#[test]
fn a_package_may_conflict_with_what_it_provides_itself() {
    let world = World::new(&archive([DebPackage::new("self", "1-1")
        .provides("thing")
        .conflicts("thing")
        .breaks("self")]));
    assert_eq!(shown(&world.resolve("self").unwrap().packages), ["self 1-1"]);
}
