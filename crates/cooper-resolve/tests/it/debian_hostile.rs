//! Archives that lie, are old, or are made by somebody else.

use cooper_core::Base;
use cooper_core::base::SuiteKind;
use cooper_resolve::debian::DebianError;
use testkit::{Compression, DebianArchive, Fault, Flaw, PythonIndex, Routes, Signing, SigningKey};

use crate::debian::dates;
use crate::debian_world::{World, archive, chain, made, shown};

fn small() -> DebianArchive {
    archive([made("gawk", "5.3-1")])
}

/// Resolving refuses the signature, for this reason, and reads nothing of the packages.
fn refuses(archive: &DebianArchive, reason: &str) {
    let world = World::new(archive);
    let error = world.resolve("gawk").unwrap_err();
    let shown = chain(&error);
    assert!(matches!(error, DebianError::Signature { .. }), "{shown}");
    assert!(shown.contains(reason) && shown.contains("/InRelease"), "{shown}");
    assert!(error.hint().unwrap().contains("debian.keyring"));
    assert!(
        !world
            .kit
            .server()
            .requests()
            .iter()
            .any(|request| request.path.contains("Packages"))
    );
}

#[test]
fn signatures_that_do_not_count_are_refused() {
    for kind in [SuiteKind::Release, SuiteKind::Updates, SuiteKind::Security] {
        refuses(
            &small().signing_in(kind, Signing::Nobody),
            "it does not begin with a signed message",
        );
        refuses(&small().flaw_in(kind, Flaw::Tampered), "it does not fit the text");
        refuses(
            &small().signing_in(kind, Signing::By(SigningKey::stranger())),
            "the key is not trusted",
        );
        refuses(
            &small().signing_in(kind, Signing::Weak),
            "SHA1, which is too weak",
        );
        refuses(
            &small().signing_in(kind, Signing::Expiring(SigningKey::archive(), 60)),
            "the signature expired at 2025-09-06",
        );
    }
}

#[test]
fn the_refusal_names_the_keys_that_were_tried() {
    let world = World::new(&small().signing(&Signing::By(SigningKey::stranger())));
    let error = world.resolve("gawk").unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        reason.contains("signature by key ") && reason.contains("the key is not trusted"),
        "{reason}"
    );
}

#[test]
fn keys_that_have_ended_do_not_count() {
    let short = SigningKey::from_seed(7, Some(86_400));
    let mut world = World::new(&small().signing(&Signing::By(short.clone())));
    world.sources.debian_keys = vec![short.certificate()];
    let shown = chain(&world.resolve("gawk").unwrap_err());
    assert!(shown.contains("the key expired at 2020-01-02"), "{shown}");
    world.sources.debian_keys = vec![b"no key".to_vec()];
    assert!(matches!(world.resolve("gawk"), Err(DebianError::NoKeys { .. })));
    world.sources.debian_keys = Vec::new();
    assert!(matches!(world.resolve("gawk"), Err(DebianError::NoKeys { .. })));
}

#[test]
fn keyrings_may_be_armoured_or_have_several_certificates() {
    let mut world = World::new(&small());
    let (stranger, archive) = (SigningKey::stranger(), SigningKey::archive());
    let two_blocks = stranger.certificate_armoured() + &archive.certificate_armoured();
    let two_binary = [stranger.certificate(), archive.certificate()].concat();
    for keys in [
        vec![two_blocks.into_bytes()],
        vec![two_binary],
        vec![b"junk".to_vec(), archive.certificate()],
    ] {
        world.sources.debian_keys = keys;
        world.freshness.refresh = Some(cooper_core::Timestamp::MAX);
        assert_eq!(shown(&world.resolve("gawk").unwrap().packages), ["gawk 5.3-1"]);
    }
}

#[test]
fn other_keys_mean_another_check() {
    let mut world = World::new(&small());
    world.resolve("gawk").unwrap();
    world.sources.debian_keys = vec![SigningKey::stranger().certificate()];
    assert!(
        matches!(world.resolve("gawk"), Err(DebianError::Signature { .. })),
        "a kept answer is checked again"
    );
}

#[test]
fn a_good_mirror_is_used_where_another_is_tampered_with() {
    let world = World::new(&small().flaw_in(SuiteKind::Release, Flaw::Tampered));
    let good = testkit::Server::start(small().routes());
    let mut world = world;
    world
        .sources
        .debian_mirrors
        .push(good.url("debian/").parse().unwrap());
    assert_eq!(shown(&world.resolve("gawk").unwrap().packages), ["gawk 5.3-1"]);
}

#[test]
fn an_expired_state_is_recorded_for_the_gate() {
    let expired = small().valid_until_in(SuiteKind::Security, "2025-09-07T00:00:00Z");
    let world = World::new(&expired);
    let solution = world.resolve("gawk").unwrap();
    let (_, until, _) = dates(&solution.snapshots[2]);
    assert_eq!(until.unwrap().to_string(), "2025-09-07T00:00:00Z");
    // It is not taken as fresh: the next time asks for a newer one.
    let before = world.kit.server().requests().len();
    world.resolve("gawk").unwrap();
    assert_eq!(world.kit.server().requests().len(), before + 1);
}

#[test]
fn an_older_state_than_was_seen_is_recorded_for_the_gate() {
    let world = World::new(&small());
    world.resolve("gawk").unwrap();
    world.serve(&small().date_in(SuiteKind::Updates, "2025-09-01T00:00:00Z"));
    world.pass(601);
    let solution = world.resolve("gawk").unwrap();
    let seen: Vec<bool> = solution
        .snapshots
        .iter()
        .map(|it| dates(it).0 < dates(it).2)
        .collect();
    assert_eq!(seen, [false, true, false]);
    // Going forward again is fine.
    world.serve(&small().date_in(SuiteKind::Updates, "2025-09-08T00:00:00Z"));
    world.pass(601);
    let (date, _, newest) = dates(&world.resolve("gawk").unwrap().snapshots[1]);
    assert_eq!(
        (date, newest.to_string()),
        (newest, "2025-09-08T00:00:00Z".to_owned())
    );
}

#[test]
fn another_suite_or_weak_digests_in_a_signed_file_are_refused() {
    let world = World::new(&small().flaw_in(SuiteKind::Release, Flaw::ReleaseWithoutSha256));
    let shown = chain(&world.resolve("gawk").unwrap_err());
    assert!(shown.contains("lists no SHA-256"), "{shown}");

    let other = DebianArchive::with_minimal_base(Base::Bookworm)
        .in_release(SuiteKind::Release)
        .unwrap();
    let world = World::new(&small());
    world
        .kit
        .server()
        .insert("/debian/dists/trixie/InRelease", testkit::Route::bytes(other));
    let error = world.resolve("gawk").unwrap_err();
    assert!(matches!(error, DebianError::Release { .. }), "{error}");
    assert!(chain(&error).contains("it is the release file of `bookworm`"));
}

#[test]
fn a_missing_suite_is_named_by_its_address() {
    let world = World::new(&small().signing_in(SuiteKind::Updates, Signing::Absent));
    let shown = chain(&world.resolve("gawk").unwrap_err());
    assert!(
        shown.contains("/debian/dists/trixie-updates/InRelease"),
        "{shown}"
    );
}

#[test]
fn wrong_packages_files_are_refused() {
    for forms in [&[Compression::Gzip][..], &[Compression::Xz], &[Compression::None]] {
        let wrong = small()
            .compressions_in(SuiteKind::Release, forms)
            .flaw_in(SuiteKind::Release, Flaw::PackagesWrong);
        let error = World::new(&wrong).resolve("gawk").unwrap_err();
        assert!(matches!(error, DebianError::Fetch { .. }), "{}", chain(&error));
        let right = small().compressions_in(SuiteKind::Release, forms);
        assert_eq!(
            shown(&World::new(&right).resolve("gawk").unwrap().packages),
            ["gawk 5.3-1"]
        );
    }
}

#[test]
fn by_hash_is_not_needed() {
    let world = World::new(&small().flaw_in(SuiteKind::Release, Flaw::WithoutByHash));
    world.resolve("gawk").unwrap();
    let world = World::new(&small());
    world.kit.server().fault(
        "/debian/dists/trixie/main/binary-amd64/by-hash/*",
        Fault::NotFound,
    );
    world.resolve("gawk").unwrap();
}

/// A release whose signed list is a lie about what the compressed file unpacks to.
fn with_listed(change: impl Fn(&str) -> String) -> Routes {
    let made = small();
    let text = String::from_utf8(made.in_release(SuiteKind::Release).unwrap()).unwrap();
    let body = text
        .split_once("\n\n")
        .unwrap()
        .1
        .split_once("\n-----BEGIN PGP SIGNATURE")
        .unwrap()
        .0;
    let options = testkit::key::SignatureOptions {
        made_at: testkit::context::now(),
        expires_after: None,
        weak: false,
    };
    let signed = SigningKey::archive().sign_cleartext(&change(body), &options);
    made.routes()
        .with("/debian/dists/trixie/InRelease", signed.into_bytes())
}

#[test]
fn sizes_and_digests_that_lie_about_the_unpacked_list_are_found() {
    let line = |body: &str| {
        body.lines()
            .find(|line| line.ends_with("/Packages"))
            .unwrap()
            .to_owned()
    };
    let smaller = with_listed(|body| {
        let line = line(body);
        let size = line.split_whitespace().nth(1).unwrap();
        body.replace(&line, &line.replace(size, "1000"))
    });
    let larger = with_listed(|body| {
        let line = line(body);
        let size = line.split_whitespace().nth(1).unwrap();
        body.replace(&line, &line.replace(size, "99999999"))
    });
    let huge = with_listed(|body| {
        let line = line(body);
        let size = line.split_whitespace().nth(1).unwrap();
        body.replace(&line, &line.replace(size, "18446744073709551615"))
    });
    let digest = with_listed(|body| {
        let line = line(body);
        let digest = line.split_whitespace().next().unwrap();
        body.replace(&line, &line.replace(digest, &"0".repeat(64)))
    });
    for (routes, reason) in [
        (smaller, "unpacks to more than the 1000 bytes"),
        (larger, "99999999 were signed"),
        (huge, "at most"),
        (digest, "was signed"),
    ] {
        let world = World::new(&small());
        world.kit.server().replace(routes);
        let error = world.resolve("gawk").unwrap_err();
        assert!(matches!(error, DebianError::Unpack { .. }), "{}", chain(&error));
        assert!(chain(&error).contains(reason), "{}", chain(&error));
    }
}

#[test]
fn text_around_the_signed_block_is_refused() {
    let made = small();
    let good = String::from_utf8(made.in_release(SuiteKind::Release).unwrap()).unwrap();
    for text in [
        format!("{good}\nOrigin: Evil\n"),
        format!("Origin: Evil\n\n{good}"),
        good.replace("Hash:", "X-Hash:"),
        good.replace('\n', "\r"),
    ] {
        let world = World::new(&small());
        let routes = made.routes().merge(PythonIndex::new().routes());
        world
            .kit
            .server()
            .replace(routes.with("/debian/dists/trixie/InRelease", text.into_bytes()));
        let error = world.resolve("gawk").unwrap_err();
        assert!(
            matches!(error, DebianError::Signature { .. }),
            "{}",
            chain(&error)
        );
    }
}

#[test]
fn a_stanza_with_a_line_of_a_megabyte_is_refused() {
    let long = small().stanza_field("gawk", "Description", Some(&"x".repeat(1 << 20)));
    let error = World::new(&long).resolve("gawk").unwrap_err();
    assert!(matches!(error, DebianError::Index { .. }), "{}", chain(&error));
    assert!(
        chain(&error).contains("at most 524288 are accepted"),
        "{}",
        chain(&error)
    );
}

#[test]
fn truncated_and_endless_answers_are_errors_and_leave_nothing_wrong_behind() {
    let world = World::new(&small());
    for fault in [
        Fault::CutShort(200),
        Fault::Endless,
        Fault::WrongBytes,
        Fault::NoAnswer,
    ] {
        let paths = ["/debian/dists/trixie/InRelease", "/debian/dists/trixie/main/*"];
        for pattern in paths {
            // An earlier round left a good release file; here another one is asked for.
            world.pass(601);
            world.kit.server().fault(pattern, fault.clone());
            let error = world.resolve("gawk").expect_err(&format!("{pattern} {fault:?}"));
            assert!(
                chain(&error).contains(world.kit.server().base_url()),
                "{}",
                chain(&error)
            );
            world.kit.server().clear_faults();
        }
    }
    assert_eq!(shown(&world.resolve("gawk").unwrap().packages), ["gawk 5.3-1"]);
}
