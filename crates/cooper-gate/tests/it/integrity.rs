//! The integrity gate against plans that are each wrong in one way.

use cooper_core::lock::Recipe;
use cooper_core::plan::{Plan, PlannedDebian, PlannedImage, PlannedPython, Snapshot};
use cooper_core::source::PlannedSource;
use cooper_core::{Base, BaseChoice, BlobDigest, Digest, Effect, FindingCode, Request, Timestamp};
use cooper_gate::integrity::IntegrityCode;
use cooper_gate::{Evidence, Known, Policy, Waiver, evaluate, evaluate_sources};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn evidence() -> Evidence {
    Evidence::now(Known::nothing(time("2026-11-23T08:00:00Z")).into())
}

fn good_plan() -> Plan {
    let request = Request::new(
        "example".parse().unwrap(),
        Base::Trixie,
        vec!["mechanize".parse().unwrap()],
        vec!["wget".parse().unwrap()],
    );
    Plan {
        request: request.unwrap(),
        recipe: Recipe::default(),
        release: Base::Trixie,
        base: vec![debian("libc6")],
        below: vec![],
        packages: vec![debian("wget")],
        python: vec![python()],
        snapshots: vec![Snapshot::Debian {
            suite: "trixie".parse().unwrap(),
            digest: BlobDigest::of(b"InRelease"),
            date: time("2026-11-20T00:00:00Z"),
            valid_until: Some(time("2026-11-27T00:00:00Z")),
            signed_by: vec!["0123ABCD".to_owned()],
            newest_seen: time("2026-11-20T00:00:00Z"),
        }],
        resolved_at: time("2026-11-23T07:59:00Z"),
    }
}

fn debian(name: &str) -> PlannedDebian {
    PlannedDebian {
        name: name.parse().unwrap(),
        version: "1.0-1".parse().unwrap(),
        architecture: "amd64".to_owned(),
        size: 10,
        sha256: Some(Digest::of(name.as_bytes())),
        suite: "trixie".parse().unwrap(),
        path: format!("pool/main/{name}.deb").parse().unwrap(),
        source: None,
    }
}

fn python() -> PlannedPython {
    PlannedPython {
        name: "mechanize".parse().unwrap(),
        version: "0.4.10".parse().unwrap(),
        filename: "mechanize-0.4.10-py2.py3-none-any.whl".to_owned(),
        size: 10,
        sha256: Some(Digest::of(b"wheel")),
        url: "http://index.test/mechanize.whl".parse().unwrap(),
        index: Some("http://index.test/simple/".parse().unwrap()),
        metadata: None,
        fits_platform: true,
        yanked: None,
        exactly_pinned: false,
        required_by: None,
        uploaded: Some(time("2026-01-01T00:00:00Z")),
        instead_of: None,
        project: cooper_core::plan::ProjectFacts::default(),
        built: None,
    }
}

/// The codes of the findings that a changed plan gets, refused or not.
fn codes(change: impl FnOnce(&mut Plan)) -> (bool, Vec<FindingCode>) {
    let mut plan = good_plan();
    change(&mut plan);
    match evaluate(&plan, &evidence(), "test") {
        Ok(cleared) => (
            true,
            cleared
                .notes()
                .iter()
                .map(|finding| finding.code.clone())
                .collect(),
        ),
        Err(refusal) => (
            false,
            refusal
                .findings()
                .iter()
                .map(|finding| finding.code.clone())
                .collect(),
        ),
    }
}

fn change_debian_snapshot(
    plan: &mut Plan,
    change: impl FnOnce(&mut Timestamp, &mut Option<Timestamp>, &mut Vec<String>),
) {
    if let Snapshot::Debian {
        date,
        valid_until,
        signed_by,
        ..
    } = &mut plan.snapshots[0]
    {
        change(date, valid_until, signed_by);
    }
}

#[test]
fn a_good_plan_is_cleared_with_every_artefact_in_the_lock() {
    let cleared = evaluate(&good_plan(), &evidence(), "test").unwrap();
    let lock = cleared.lock();
    assert_eq!(lock.content.artefacts().count(), 3);
    assert_eq!(lock.origin.artefacts.len(), 3);
    assert!(cleared.notes().is_empty());
}

#[test]
fn each_fault_has_its_code() {
    let refused = |code| (false, vec![code]);
    assert_eq!(
        codes(|plan| plan.packages[0].sha256 = None),
        refused(IntegrityCode::NoHash.into())
    );
    assert_eq!(
        codes(|plan| plan.python[0].sha256 = None),
        refused(IntegrityCode::NoHash.into())
    );
    assert_eq!(
        codes(|plan| plan.base[0].architecture = "arm64".into()),
        refused(IntegrityCode::WrongPlatform.into())
    );
    assert_eq!(
        codes(|plan| {
            plan.base[0].suite = "bookworm".parse().unwrap();
            let mut other = plan.snapshots[0].clone();
            if let Snapshot::Debian { suite, .. } = &mut other {
                *suite = plan.base[0].suite;
            }
            plan.snapshots.push(other);
        }),
        refused(IntegrityCode::WrongPlatform.into())
    );
    assert_eq!(
        codes(|plan| plan.python[0].fits_platform = false),
        refused(IntegrityCode::WrongPlatform.into())
    );
    assert_eq!(
        codes(|plan| plan.python[0].yanked = Some(String::new())),
        refused(IntegrityCode::Yanked.into())
    );
    assert_eq!(
        codes(|plan| plan.python.push(python())),
        refused(IntegrityCode::Duplicate.into())
    );
    assert_eq!(
        codes(|plan| plan.packages[0].suite = "trixie-security".parse().unwrap()),
        refused(IntegrityCode::Unsigned.into())
    );
    let unsigned = codes(|plan| change_debian_snapshot(plan, |_, _, keys| keys.clear()));
    assert_eq!(unsigned, refused(IntegrityCode::Unsigned.into()));
    let expired = |until: &str| {
        let until = time(until);
        codes(|plan| change_debian_snapshot(plan, |_, valid, _| *valid = Some(until)))
    };
    assert_eq!(
        expired("2026-11-22T00:00:00Z"),
        refused(IntegrityCode::Expired.into())
    );
    let old = codes(|plan| change_debian_snapshot(plan, |date, _, _| *date = time("2026-11-19T00:00:00Z")));
    assert_eq!(old, refused(IntegrityCode::RolledBack.into()));
}

#[test]
fn an_exact_pin_lets_a_withdrawn_file_pass_with_a_note() {
    let (cleared, notes) = codes(|plan| {
        plan.python[0].yanked = Some("broken on Windows".to_owned());
        plan.python[0].exactly_pinned = true;
    });
    assert_eq!((cleared, notes), (true, vec![IntegrityCode::YankedPinned.into()]));
}

#[test]
fn snapshots_on_a_locks_word_are_noted_once_and_change_no_lock() {
    let plan = good_plan();
    let checked = evaluate(&plan, &evidence(), "test").unwrap();
    let unchecked = Evidence {
        unchecked: Base::Trixie.suites().to_vec(),
        ..evidence()
    };
    let believed = evaluate(&plan, &unchecked, "test").unwrap();
    assert_eq!(believed.lock(), checked.lock());
    let [note] = believed.notes() else {
        panic!("{:?}", believed.notes())
    };
    assert_eq!(
        (note.code.clone(), note.effect),
        (IntegrityCode::UncheckedSnapshot.into(), Effect::Note)
    );
    assert_eq!(note.subject, "suites trixie, trixie-updates, trixie-security");
}

#[test]
fn no_valid_until_is_accepted() {
    assert_eq!(
        codes(|plan| change_debian_snapshot(plan, |_, until, _| *until = None)),
        (true, vec![])
    );
}

fn plan_on_an_image() -> Plan {
    let request = Request::new(
        "example".parse().unwrap(),
        BaseChoice::Image("below".parse().unwrap()),
        vec!["mechanize".parse().unwrap()],
        vec![],
    );
    let good = good_plan();
    Plan {
        request: request.unwrap(),
        below: vec![PlannedImage {
            image: "local/below:1.0.0.3".parse().unwrap(),
            packages: good.packages.clone(),
            python: vec![],
            snapshots: good.snapshots.clone(),
            resolved_at: good.resolved_at,
        }],
        packages: vec![debian("jq")],
        ..good
    }
}

#[test]
fn an_image_below_is_judged_and_locked_with_what_stands_on_it() {
    let first = evaluate(&plan_on_an_image(), &evidence(), "test").unwrap();
    let lock = first.lock();
    let names = lock.content.debian().map(|artefact| artefact.name.to_string());
    assert_eq!(names.collect::<Vec<_>>(), ["libc6", "wget", "jq"]);
    assert_eq!(
        (lock.content.artefacts().count(), lock.origin.artefacts.len()),
        (4, 4)
    );
    let again = evaluate(&lock.to_plan(|_, _| true).unwrap(), &evidence(), "test").unwrap();
    assert_eq!(again.lock(), lock);
    // The name of the image below is not in what the digest is over; what it has is.
    let mut elsewhere = plan_on_an_image();
    elsewhere.below[0].image = "other/name:2.0.1".parse().unwrap();
    let elsewhere = evaluate(&elsewhere, &evidence(), "test").unwrap();
    assert_eq!(elsewhere.lock().content.digest(), lock.content.digest());
    let flat = evaluate(&good_plan(), &evidence(), "test").unwrap();
    let flat = String::from_utf8(flat.lock().content.to_canonical_json()).unwrap();
    assert!(
        !flat.contains("below"),
        "the digests of images on Debian bases stay: {flat}"
    );
    // What is below is not there a second time.
    let mut shadowing = plan_on_an_image();
    shadowing.packages.push(debian("wget"));
    let refusal = evaluate(&shadowing, &evidence(), "test").unwrap_err();
    assert_eq!(refusal.findings()[0].code, IntegrityCode::Duplicate.into());
    let mut unhashed = plan_on_an_image();
    unhashed.below[0].packages[0].sha256 = None;
    assert!(evaluate(&unhashed, &evidence(), "test").is_err());
    // A lock that does not name what is below, or hides it, is none.
    let mut nameless = lock.clone();
    nameless.origin.below.clear();
    assert!(nameless.to_plan(|_, _| true).is_err());
    let mut hidden = lock.clone();
    hidden.content.below.clear();
    hidden.origin.below.clear();
    assert!(hidden.to_plan(|_, _| true).is_err());
}

#[test]
fn a_reloaded_lock_is_judged_again_and_gives_the_same_lock() {
    let first = evaluate(&good_plan(), &evidence(), "test").unwrap();
    let plan = first.lock().to_plan(|_, _| true).unwrap();
    let again = evaluate(
        &plan,
        &Evidence::now(Known::nothing(plan.resolved_at).into()),
        "test",
    )
    .unwrap();
    assert_eq!(again.lock(), first.lock());
    let elsewhere = first.lock().to_plan(|_, _| false).unwrap();
    let refusal = evaluate(&elsewhere, &evidence(), "test").unwrap_err();
    assert_eq!(refusal.findings()[0].effect, Effect::Refuse);
}

fn docopt() -> PlannedSource {
    PlannedSource {
        name: "docopt".parse().unwrap(),
        version: "0.6.2".parse().unwrap(),
        filename: "docopt-0.6.2.tar.gz".to_owned(),
        size: 10,
        sha256: Some(Digest::of(b"sources")),
        url: "http://index.test/docopt.tar.gz".parse().unwrap(),
        yanked: None,
        exactly_pinned: false,
        uploaded: Some(time("2026-01-01T00:00:00Z")),
        path: vec!["docopt".parse().unwrap()],
        instead_of: None,
        project: cooper_core::plan::ProjectFacts::default(),
    }
}

/// A source on a plan that is good so far.
fn judged(source: PlannedSource, known: &Known) -> Result<(), Vec<FindingCode>> {
    let evidence = Evidence::now(known.clone().into());
    match evaluate_sources(&good_plan(), &[source], &evidence) {
        Ok(cleared) => {
            assert_eq!(cleared[0].source().filename, "docopt-0.6.2.tar.gz");
            Ok(())
        }
        Err(refusal) => {
            let refusing = refusal.findings().iter().filter(|finding| finding.refuses());
            Err(refusing.map(|finding| finding.code.clone()).collect())
        }
    }
}

#[test]
fn a_policy_may_keep_code_from_being_run_to_build_a_wheel() {
    let mut known = Known::nothing(time("2026-11-23T08:00:00Z"));
    assert_eq!(judged(docopt(), &known), Ok(()), "it is noted");
    let policy: Policy = "[provenance]\nbuilt_here = 'hold'\n".parse().unwrap();
    known.in_force = policy.rules(None, None).unwrap();
    assert_eq!(
        judged(docopt(), &known),
        Err(vec![IntegrityCode::BuiltHere.into()])
    );
    known.waivers.push(Waiver {
        number: 1,
        finding: "INTEGRITY-BUILT-HERE".to_owned(),
        package: "docopt".to_owned(),
        version: "0.6.2".to_owned(),
        reason: "read".to_owned(),
        by: "ada".to_owned(),
        given_at: known.now,
        until: time("2027-01-01T00:00:00Z"),
    });
    assert_eq!(judged(docopt(), &known), Ok(()));
}

#[test]
fn sources_are_judged_by_every_gate_before_they_are_built() {
    let known = Known::nothing(time("2026-11-23T08:00:00Z"));
    let refused = |change: &dyn Fn(&mut PlannedSource)| {
        let mut source = docopt();
        change(&mut source);
        let refused = judged(source, &known).unwrap_err();
        refused.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(refused(&|source| source.sha256 = None), ["INTEGRITY-NO-HASH"]);
    assert_eq!(
        refused(&|source| source.yanked = Some(String::new())),
        ["INTEGRITY-YANKED"]
    );
    assert_eq!(
        refused(&|source| source.uploaded = Some(time("2026-11-22T00:00:00Z"))),
        ["AGE-YOUNG"]
    );
    assert_eq!(refused(&|source| source.uploaded = None), ["AGE-FIRST-SEEN"]);
    assert_eq!(
        refused(&|source| source.name = "sys".parse().unwrap()),
        ["NAMES-STDLIB"]
    );
    // What evidence is lacking is not passed where the policy wants it.
    let mut strict = known.clone();
    let policy: Policy = "[evidence]\nunjudged = 'refuse'\n".parse().unwrap();
    strict.in_force = policy.rules(None, None).unwrap();
    assert_eq!(judged(docopt(), &strict), Err(Vec::new()));
    // And what else the plan has is judged before.
    let mut plan = good_plan();
    plan.python[0].uploaded = Some(time("2026-11-22T00:00:00Z"));
    let refusal = evaluate_sources(&plan, &[docopt()], &Evidence::now(known.into())).unwrap_err();
    assert_eq!(refusal.findings()[0].code.as_str(), "AGE-YOUNG");
}
