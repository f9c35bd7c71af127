//! Python resolution against a made index on loopback: the hard cases, and what hostile servers do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cooper_core::clock::PinnedClock;
use cooper_core::plan::Snapshot;
use cooper_core::{Base, Progress, PythonRequirement, Timestamp};
use cooper_resolve::python::{self, Asked, PythonError, PythonSolution};
use cooper_resolve::{Context, Freshness, Later, Sources};
use cooper_store::{Intake, IntakeConfig, Store};
use testkit::{Fault, Hashes, PythonIndex, Route, Sdist, Server, Wheel};

/// A made index, and a store that resolves against it.
pub(crate) struct World {
    pub(crate) server: Server,
    folder: tempfile::TempDir,
    now: Timestamp,
    freshness: Freshness,
    base: Base,
}

impl World {
    pub(crate) fn new(index: &PythonIndex) -> Self {
        Self {
            server: Server::start(index.routes()),
            folder: tempfile::tempdir().unwrap(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            freshness: Freshness {
                max_age: Duration::from_mins(10),
                refresh: None,
                offline: false,
            },
            base: Base::Trixie,
        }
    }

    pub(crate) fn resolve(&self, texts: &[&str]) -> Result<PythonSolution, PythonError> {
        let requirements: Vec<PythonRequirement> = texts.iter().map(|text| text.parse().unwrap()).collect();
        self.resolve_asked(&Asked::plain(self.base, &requirements))
    }

    pub(crate) fn resolve_asked(&self, asked: &Asked<'_>) -> Result<PythonSolution, PythonError> {
        let clock = PinnedClock(self.now);
        let store = Store::open(&self.folder.path().join("store"), Arc::new(clock)).unwrap();
        let config = IntakeConfig {
            attempts: 1,
            idle_ms: 5_000,
            ..IntakeConfig::default()
        };
        let sources = Sources {
            debian_mirrors: vec![],
            debian_security_mirrors: vec![],
            debian_keys: vec![],
            debian_sources: vec![],
            python_indexes: vec![self.server.url("/simple/").parse().unwrap()],
        };
        let context = Context {
            store: &store,
            intake: &Intake::new(config).unwrap(),
            clock: &clock,
            sources: &sources,
            freshness: self.freshness,
            progress: &Progress::silent(),
            later: &Later::default(),
            known: None,
            pass_over: false,
        };
        python::resolve(&context, asked)
    }

    fn forget(&self, kind: &str) {
        std::fs::remove_dir_all(self.folder.path().join("store/cache").join(kind)).unwrap();
    }
}

/// `name version` of each distribution, or the error with its hint.
pub(crate) fn shown(answer: &Result<PythonSolution, PythonError>) -> String {
    match answer {
        Ok(solution) => {
            let lines = solution
                .python
                .iter()
                .map(|one| format!("{} {}", one.name, one.version));
            lines.collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("{error} | {}", error.hint().unwrap_or_default()),
    }
}

fn wheel(name: &str, version: &str, needs: &[&str]) -> Wheel {
    needs
        .iter()
        .fold(Wheel::new(name, version), |wheel, need| wheel.requires(need))
}

fn index(wheels: impl IntoIterator<Item = Wheel>) -> PythonIndex {
    wheels.into_iter().fold(PythonIndex::new(), PythonIndex::wheel)
}

#[track_caller]
fn check(index: &PythonIndex, wanted: &[&str], expected: &str) -> Vec<String> {
    let answer = World::new(index).resolve(wanted);
    assert_eq!(shown(&answer), expected, "{wanted:?}");
    answer.map(|solution| solution.notes).unwrap_or_default()
}

#[test]
fn the_newest_versions_with_what_they_need() {
    let plain = || {
        index([
            wheel(
                "Top.Level",
                "1.0",
                &[
                    "leaf>=1",
                    "other; sys_platform == 'win32'",
                    "old; python_version < '3.13'",
                ],
            ),
            wheel("top-level", "0.9", &[]),
            wheel("leaf", "1.0", &[]),
            wheel("leaf", "2.0", &[]),
        ])
    };
    for index in [plain(), plain().relative_urls(), plain().without_ranges()] {
        let world = World::new(&index);
        let solution = world.resolve(&["top_level"]).unwrap();
        assert_eq!(shown(&Ok(solution.clone())), "leaf 2.0, top-level 1.0");
        let leaf = &solution.python[0];
        assert_eq!(leaf.filename, "leaf-2.0-py3-none-any.whl");
        assert_eq!(
            leaf.url.as_str(),
            world.server.url("/files/leaf-2.0-py3-none-any.whl")
        );
        assert!(leaf.sha256.is_some() && leaf.size > 100 && leaf.fits_platform && !leaf.exactly_pinned);
        assert!(solution.notes.is_empty(), "{:?}", solution.notes);
    }
}

#[test]
fn the_target_decides_not_the_host() {
    let index = index([
        wheel("a", "1", &["b; python_full_version < '3.12'"]).tag("cp311-cp311-manylinux_2_36_x86_64"),
        wheel("a", "1", &[]).tag("cp313-cp313-manylinux_2_41_x86_64"),
        wheel("b", "1", &[]),
    ]);
    let mut world = World::new(&index);
    assert_eq!(shown(&world.resolve(&["a"])), "a 1");
    world.base = Base::Bookworm;
    assert_eq!(shown(&world.resolve(&["a"])), "a 1, b 1");
    assert_eq!(world.server.count("/simple/a/"), 1, "a page serves both bases");
}

#[test]
fn extras_bring_their_own_and_may_go_in_circles() {
    let index = index([
        wheel("app", "1", &["lib[fast]"]),
        Wheel::new("lib", "2")
            .extra("fast", "speedy>=1")
            .extra("all", "lib[fast,loop]")
            .extra("loop", "lib[all]"),
        wheel("speedy", "1", &["app"]),
    ]);
    check(&index, &["app"], "app 1, lib 2, speedy 1");
    check(&index, &["lib"], "lib 2");
    check(&index, &["lib[all]"], "app 1, lib 2, speedy 1");
    check(&index, &["lib[loop]", "lib[fast]"], "app 1, lib 2, speedy 1");
}

#[test]
fn extras_hold_their_project_to_the_same_version() {
    let index = index([
        wheel("lib", "1", &[]).extra("x", "dep<2"),
        wheel("lib", "2", &[]).extra("x", "dep>=2"),
        wheel("dep", "1", &[]),
        wheel("dep", "2", &[]),
    ]);
    check(&index, &["lib[x]"], "dep 2, lib 2");
    check(&index, &["lib[x]", "dep<2"], "dep 1, lib 1");
}

#[test]
fn missing_extras_are_refused_where_asked_for_and_noted_elsewhere() {
    let index = index([
        wheel("app", "1", &["lib[nope]"]),
        Wheel::new("lib", "1")
            .extra("socks", "dep")
            .extra("security", "dep"),
        wheel("dep", "1", &[]),
    ]);
    check(
        &index,
        &["lib[sock]"],
        "`lib` 1 has no extra `sock` | it has `socks`, `security`",
    );
    let notes = check(&index, &["app"], "app 1, lib 1");
    assert_eq!(
        notes,
        ["lib 1 has no extra `nope`, which another distribution asks for"]
    );
}

#[test]
fn yanked_versions_need_an_exact_pin() {
    let index = index([
        wheel("a", "1", &[]),
        wheel("a", "2", &[]).yanked("broken on Mondays"),
    ]);
    let notes = check(&index, &["a"], "a 1");
    assert_eq!(
        notes,
        ["a 1 is taken and not 2: 2 was withdrawn by its publisher (broken on Mondays)"]
    );
    check(
        &index,
        &["a>1"],
        "every usable version of `a` that `a>1` allows was withdrawn by its publisher: 2 (broken on Mondays) | write `a==1`, or insist on a withdrawn version: `a==2`",
    );
    let solution = World::new(&index).resolve(&["a==2"]).unwrap();
    assert_eq!(solution.python[0].yanked.as_deref(), Some("broken on Mondays"));
    assert!(solution.python[0].exactly_pinned);
}

#[test]
fn sources_are_for_what_has_no_wheel_that_fits() {
    let index = index([
        wheel("part", "1", &[]),
        wheel("part", "2", &[]).tag("cp313-cp313-win_amd64"),
        wheel("part", "3", &[]).requires_python("<3.13"),
    ])
    .sdist(Sdist::new("src", "1.0"))
    .sdist(Sdist::new("part", "4"));
    check(
        &index,
        &["src"],
        "sources have to be built first: src-1.0.tar.gz | ",
    );
    let notes = check(&index, &["part"], "part 1");
    assert_eq!(
        notes,
        ["part 1 is taken and not 4: 4 has no wheel, only sources; `part==4` has it built"]
    );
    check(
        &index,
        &["part>=2"],
        "sources have to be built first: part-4.tar.gz | ",
    );
    check(
        &index,
        &["part==3"],
        "no usable version of `part` for `part==3`: 3 needs Python <3.13, and debian:trixie has 3.13.5 | write part==4, or drop the version",
    );
    check(
        &index,
        &["part==2"],
        "no usable version of `part` for `part==2`: 2 has no wheel for Python 3.13 on debian:trixie (but cp313-cp313-win_amd64) | write part==4, or drop the version",
    );
    check(
        &index,
        &["part>9"],
        "no usable version of `part` for `part>9`: no version matches | write part==4, or drop the version",
    );
}

#[test]
fn requires_python_in_the_metadata_counts_too() {
    let index = index([
        wheel("a", "1", &[]),
        wheel("a", "2", &[]).field("Requires-Python", "<3.13"),
    ]);
    check(&index, &["a"], "a 1");
}

#[test]
fn prereleases_come_only_where_something_lets_them_in() {
    let index = index([
        wheel("a", "1", &[]),
        wheel("a", "2rc1", &[]),
        wheel("only", "0.1b1", &[]),
        wheel("pins", "1", &["a==2rc1"]),
        wheel("nowheel", "2.0b1", &[]),
        wheel("needs", "1", &["a>=1.5"]),
    ])
    .sdist(Sdist::new("nowheel", "1"));
    check(&index, &["a"], "a 1");
    check(&index, &["a>=2rc1"], "a 2rc1");
    check(&index, &["only"], "only 0.1b1");
    check(&index, &["a>1"], "a 2rc1");
    check(&index, &["needs"], "a 2rc1, needs 1");
    let notes = check(&index, &["pins", "a"], "a 2rc1, pins 1");
    assert!(
        notes[0].contains("a 2rc1 is a pre-release: ") && notes[0].contains("pins 1 needs a==2rc1"),
        "{notes:?}"
    );
    // The final version has only sources: that lets no pre-release in.
    check(
        &index,
        &["nowheel"],
        "sources have to be built first: nowheel-1.tar.gz | ",
    );
}

#[test]
fn an_uninvited_prerelease_gives_way_to_older_finals() {
    let index = index([
        wheel("top", "2", &["leaf!=1"]),
        wheel("top", "1", &["leaf"]),
        wheel("leaf", "0.5", &[]),
        wheel("leaf", "1", &[]),
        wheel("leaf", "2b1", &[]),
        wheel("cap", "1", &["leaf>=0.9"]),
    ]);
    check(&index, &["top", "cap"], "cap 1, leaf 1, top 1");
}

#[test]
fn markers_that_do_not_hold_are_noted() {
    let index = index([wheel("a", "1", &[])]);
    let notes = check(&index, &["a", "b; sys_platform == 'win32'"], "a 1");
    assert!(notes[0].contains("does not apply to debian:trixie"), "{notes:?}");
}

#[test]
fn conflicts_are_told_in_the_terms_of_the_request() {
    let index = index([
        wheel("web", "2", &["stars>=0.40,<0.50"]),
        wheel("web", "1", &["stars>=0.30,<0.40"]),
        wheel("stars", "0.35", &[]),
        wheel("stars", "0.45", &[]),
        wheel("stars", "0.50", &[]),
        wheel("lonely", "1", &["nowhere>=1"]),
        wheel("deep", "1", &["lonely"]),
    ]);
    let hint = "| loosen or drop one of the versions that the request names";
    check(
        &index,
        &["stars>=0.50", "web"],
        &format!(
            "the requirements do not fit together:\n  the request needs web\n  \
             web 2 and 1 need stars>=0.40,<0.50 (the newest) to stars>=0.30,<0.40 (the oldest)\n  the request needs stars>=0.50 {hint}"
        ),
    );
    check(
        &index,
        &["deep"],
        &format!(
            "the requirements do not fit together:\n  the request needs deep\n  deep 1 needs lonely\n  \
             lonely 1 needs nowhere>=1\n  nowhere is not on the Python index {hint}"
        ),
    );
    check(
        &index,
        &["stars<0.40", "stars>0.40"],
        &format!(
            "the requirements do not fit together:\n  the request needs stars<0.40\n  \
             the request needs stars>0.40 {hint}"
        ),
    );
}

/// `core` has a hundred versions; each `plugin` works with one old `core`, each `app` with the newest.
#[test]
fn walks_end_with_what_was_asked_for_as_new_as_can_be() {
    let mut wheels = vec![wheel("plugin", "1", &["core<20"])];
    for n in 1..=100 {
        wheels.push(wheel("app", &format!("{n}"), &[&format!("core=={n}")]));
        wheels.push(wheel("core", &format!("{n}"), &[]));
    }
    let index = index(wheels);
    check(&index, &["plugin", "app"], "app 19, core 19, plugin 1");
    check(&index, &["app", "plugin"], "app 19, core 19, plugin 1");
    check(&index, &["app==50", "core"], "app 50, core 50");
}

#[test]
fn unknown_names_get_suggestions() {
    let index = index([wheel("pyfrob", "1", &[]), wheel("requests", "1", &[])]).empty_project("frobs");
    check(
        &index,
        &["frob"],
        "the Python index has no distribution `frob` | did you mean `pyfrob`?",
    );
    check(
        &index,
        &["reqests"],
        "the Python index has no distribution `reqests` | did you mean `requests`?",
    );
    let nothing = World::new(&index).resolve(&["qqqqzzzz"]).unwrap_err();
    assert!(nothing.hint().unwrap().contains("spelling"), "{nothing}");
}

#[test]
fn what_was_read_is_reused_within_freshness() {
    let mut world = World::new(&index([wheel("a", "1", &["b"]), wheel("b", "1", &[])]));
    let cold = world.resolve(&["a"]).unwrap();
    world.server.clear_requests();
    assert_eq!(world.resolve(&["a"]).unwrap(), cold, "remembered");
    world.forget("python-solution");
    assert_eq!(world.resolve(&["a"]).unwrap(), cold, "from pages and metadata");
    assert!(
        world.server.requests().is_empty(),
        "{:?}",
        world.server.requests()
    );

    world.now = world
        .now
        .checked_add(jiff::SignedDuration::from_mins(11))
        .unwrap();
    let later = world.resolve(&["a"]).unwrap();
    assert_eq!(
        (later.python, world.server.requests().len()),
        (cold.python.clone(), 2),
        "pages again, metadata not"
    );
    let Snapshot::Python { fetched_at, digest } = later.snapshot else {
        panic!()
    };
    let Snapshot::Python { digest: before, .. } = cold.snapshot else {
        panic!()
    };
    assert_eq!((fetched_at, digest), (world.now, before));

    world.server.clear_requests();
    world.freshness.refresh = Some(Timestamp::MAX);
    world.resolve(&["a"]).unwrap();
    assert_eq!(world.server.requests().len(), 2, "refresh");

    world.freshness = Freshness {
        offline: true,
        refresh: None,
        ..world.freshness
    };
    world.now = world
        .now
        .checked_add(jiff::SignedDuration::from_hours(100))
        .unwrap();
    assert_eq!(
        world.resolve(&["a"]).unwrap().python,
        cold.python,
        "offline, whatever the age"
    );
    world.forget("python-solution");
    assert_eq!(world.resolve(&["a"]).unwrap().python, cold.python);
    assert_eq!(world.server.requests().len(), 2, "offline");
    let error = world.resolve(&["c"]);
    assert_eq!(
        shown(&error),
        "offline, and the store does not have the Python index's page of `c` | run once without --offline"
    );
}

#[test]
fn metadata_beside_the_wheel_is_used_and_checked() {
    let good = index([wheel("a", "1", &["b"]).with_metadata_file(), wheel("b", "1", &[])]);
    let world = World::new(&good);
    assert_eq!(shown(&world.resolve(&["a"])), "a 1, b 1");
    assert_eq!(world.server.count("/files/a-1-py3-none-any.whl"), 0);

    let two = index([wheel("a", "1", &[]), wheel("a", "2", &[]).with_metadata_file()]);
    let world = World::new(&two);
    world.server.insert(
        "/files/a-2-py3-none-any.whl.metadata",
        Route::bytes("Metadata-Version: 2.1\nName: a\nVersion: 2\nX: y\n"),
    );
    assert_eq!(
        shown(&world.resolve(&["a"])),
        "a 1",
        "a wrong hash rules the version out"
    );

    let world = World::new(&good);
    world
        .server
        .fault("/files/a-1-py3-none-any.whl.metadata", Fault::NotFound);
    assert_eq!(
        shown(&world.resolve(&["a"])),
        "a 1, b 1",
        "not there after all: read from the wheel"
    );
}

#[test]
fn wheels_that_lie_are_ruled_out() {
    let lies: Vec<(&str, Wheel)> = vec![
        (
            "another name",
            wheel("a", "2", &[]).metadata_text("Metadata-Version: 2.1\nName: b\nVersion: 2\n"),
        ),
        (
            "another version",
            wheel("a", "2", &[]).metadata_text("Metadata-Version: 2.1\nName: a\nVersion: 3\n"),
        ),
        ("nonsense", wheel("a", "2", &[]).metadata_text("\0\u{1}")),
        (
            "a URL",
            wheel("a", "2", &["b @ https://example.test/b-1-py3-none-any.whl"]),
        ),
        ("bad requirement", wheel("a", "2", &["!!"])),
        ("too small", wheel("a", "2", &[]).claimed_size(30)),
        ("too large", wheel("a", "2", &[]).claimed_size(1 << 40)),
    ];
    for (lie, liar) in lies {
        let world = World::new(&index([wheel("a", "1", &[]), liar]));
        assert_eq!(shown(&world.resolve(&["a"])), "a 1", "{lie}");
    }
    let world = World::new(&index([wheel("a", "1", &[]), wheel("a", "2", &[])]));
    world
        .server
        .insert("/files/a-2-py3-none-any.whl", Route::bytes(vec![b'x'; 100_000]));
    assert_eq!(shown(&world.resolve(&["a"])), "a 1", "not a zip file");
}

#[test]
fn a_file_without_a_hash_is_planned_without_one() {
    let solution = World::new(&index([wheel("a", "1", &[]).hashes(Hashes::Missing)]))
        .resolve(&["a"])
        .unwrap();
    assert_eq!(solution.python[0].sha256, None);
}

#[test]
fn pages_that_cannot_be_read_are_errors() {
    let simple = || index([wheel("a", "1", &["b"]), wheel("b", "1", &[])]);
    for body in ["{", "{\"files\": 3}", "nonsense"] {
        let world = World::new(&simple());
        world.server.insert(
            "/simple/b/",
            Route::bytes(body).content_type("application/vnd.pypi.simple.v1+json"),
        );
        let error = world.resolve(&["a"]).unwrap_err();
        assert!(
            matches!(&error, PythonError::Page { name, .. } if name.as_str() == "b"),
            "{body}: {error}"
        );
    }
    for fault in [
        Fault::Status(500),
        Fault::NoAnswer,
        Fault::CloseAfter(10),
        Fault::Endless,
    ] {
        let world = World::new(&simple());
        world.server.fault("/simple/b/", fault.clone());
        let error = world.resolve(&["a"]).unwrap_err();
        assert!(
            matches!(&error, PythonError::Fetch { name, .. } if name.as_str() == "b"),
            "{fault:?}: {error}"
        );
        world.server.clear_faults();
        assert_eq!(
            shown(&world.resolve(&["a"])),
            "a 1, b 1",
            "{fault:?}: nothing is left behind"
        );
    }
}

#[test]
fn html_pages_are_read_too() {
    let world = World::new(&index([wheel("a", "1", &[]), wheel("b", "1", &["a"])]));
    let html = "<!DOCTYPE html><html><body><a href=\"../../files/a-1-py3-none-any.whl\">a-1-py3-none-any.whl</a></body></html>";
    world.server.insert(
        "/simple/a/",
        Route::bytes(html).content_type("text/html; charset=utf-8"),
    );
    let solution = world.resolve(&["b"]).unwrap();
    assert_eq!(shown(&Ok(solution.clone())), "a 1, b 1");
    assert!(solution.python[0].size > 100, "the size comes from the server");
    assert_eq!(solution.python[0].sha256, None);
}

#[test]
fn many_versions_take_no_time() {
    let file = |n: u32| {
        let name = format!("many-{n}.0-py3-none-any.whl");
        format!(r#"{{"filename":"{name}","url":"/files/{name}","hashes":{{}},"size":1}}"#)
    };
    let files: Vec<String> = (0..10_000).map(file).collect();
    let page = format!(
        r#"{{"meta":{{"api-version":"1.1"}},"name":"many","files":[{}]}}"#,
        files.join(",")
    );
    let world = World::new(&index([
        wheel("many", "77.0", &[]),
        wheel("a", "1", &["many<78"]),
    ]));
    let wheel_size = format!("{}", wheel("many", "77.0", &[]).build().len());
    let page = page.replace(
        r#""url":"/files/many-77.0-py3-none-any.whl","hashes":{},"size":1"#,
        &format!(r#""url":"/files/many-77.0-py3-none-any.whl","hashes":{{}},"size":{wheel_size}"#),
    );
    world.server.insert(
        "/simple/many/",
        Route::bytes(page).content_type("application/json"),
    );
    let start = std::time::Instant::now();
    assert_eq!(shown(&world.resolve(&["a"])), "a 1, many 77.0");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn the_network_does_not_change_the_solution() {
    let build = || {
        let mut wheels = Vec::new();
        for n in 1..=12 {
            wheels.push(wheel("p", &format!("{n}"), &[&format!("q<={}", 13 - n), "r"]));
            wheels.push(wheel("q", &format!("{n}"), &[&format!("r>={n}")]));
            wheels.push(wheel("r", &format!("{n}"), &[&format!("s!={n}")]));
            wheels.push(wheel("s", &format!("{n}"), &[]));
        }
        index(wheels)
    };
    let world = World::new(&build());
    let wanted = ["p", "q>=5", "r", "s>4"];
    let first = world.resolve(&wanted).unwrap().python;
    let identity = |solution: &[cooper_core::plan::PlannedPython]| -> Vec<String> {
        solution.iter().map(|one| one.filename.clone()).collect()
    };
    for slow in ["/simple/p/", "/simple/s/", "/files/q-12*", "/files/p-*"] {
        let world = World::new(&build());
        world.server.fault(slow, Fault::Delay(Duration::from_millis(60)));
        let cold = world.resolve(&wanted).unwrap().python;
        assert_eq!(identity(&cold), identity(&first), "{slow}");
        world.forget("python-solution");
        assert_eq!(
            identity(&world.resolve(&wanted).unwrap().python),
            identity(&first),
            "{slow}, warm"
        );
    }
}

/// Which versions a small world has, and what each needs: `needs[project][version]` are pairs of a project
/// and the versions of it that will do.
type Universe = Vec<Vec<Vec<(usize, Vec<usize>)>>>;

const PROJECTS: [&str; 4] = ["pa", "pb", "pc", "pd"];

fn universe_index(universe: &Universe) -> PythonIndex {
    let mut wheels = Vec::new();
    for (project, versions) in universe.iter().enumerate() {
        for (version, needs) in versions.iter().enumerate() {
            let needs = needs.iter().map(|(on, good)| {
                let all = 0..universe[*on].len();
                let bad: Vec<String> = all
                    .filter(|one| !good.contains(one))
                    .map(|one| format!("!={}", one + 1))
                    .collect();
                format!("{} {}", PROJECTS[*on], bad.join(","))
            });
            let needs: Vec<String> = needs.collect();
            let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
            wheels.push(wheel(PROJECTS[project], &format!("{}", version + 1), &needs));
        }
    }
    index(wheels)
}

/// Some choice gives `pa`, and every version chosen has what it needs.
fn can_be_solved(universe: &Universe) -> bool {
    let choices = universe.iter().map(|versions| versions.len() + 1);
    let count: usize = choices.clone().product();
    (0..count).any(|mut number| {
        let mut chosen = Vec::new();
        for size in choices.clone() {
            chosen.push((number % size).checked_sub(1));
            number /= size;
        }
        chosen[0].is_some() && holds(universe, &chosen)
    })
}

fn holds(universe: &Universe, chosen: &[Option<usize>]) -> bool {
    chosen.iter().enumerate().all(|(project, version)| {
        version.is_none_or(|version| {
            let mut needs = universe[project][version].iter();
            needs.all(|(on, good)| chosen[*on].is_some_and(|other| good.contains(&other)))
        })
    })
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 48, ..Default::default() })]

    #[test]
    fn solutions_hold_and_are_found_where_there_are_any(
        raw in proptest::collection::vec(
            proptest::collection::vec(
                proptest::collection::vec((0_usize..4, 0_u8..8), 0..3),
                1..4,
            ),
            4,
        )
    ) {
        let lengths: Vec<usize> = raw.iter().map(Vec::len).collect();
        let universe: Universe = raw.iter().enumerate().map(|(project, versions)| {
            versions.iter().map(|needs| {
                let other = needs.iter().filter(|(on, _)| *on != project);
                other.map(|(on, bits)| (*on, (0..lengths[*on]).filter(|bit| bits & (1 << bit) != 0).collect())).collect()
            }).collect()
        }).collect();
        let answer = World::new(&universe_index(&universe)).resolve(&["pa"]);
        match &answer {
            Ok(solution) => {
                let versions: BTreeMap<&str, usize> = solution.python.iter()
                    .map(|one| (one.name.as_str(), one.version.to_string().parse::<usize>().unwrap() - 1)).collect();
                let chosen: Vec<Option<usize>> = PROJECTS.iter().map(|name| versions.get(name).copied()).collect();
                proptest::prop_assert!(chosen[0].is_some() && holds(&universe, &chosen), "{chosen:?}");
            }
            Err(PythonError::Unsatisfiable { explanation, .. }) => {
                proptest::prop_assert!(!can_be_solved(&universe), "{explanation}");
                proptest::prop_assert!(explanation.lines().count() > 1);
            }
            Err(error) => proptest::prop_assert!(false, "{error}"),
        }
    }
}

#[test]
fn one_index_does_not_speak_for_another() {
    // Both claim the same hash for the wheel.
    let stars = || {
        Wheel::new("stars", "1.0")
            .hashes(Hashes::Wrong)
            .with_metadata_file()
    };
    let other = PythonIndex::new()
        .wheel(stars().requires("moons"))
        .wheel(Wheel::new("moons", "1.0"));
    let mut world = World::new(&other);
    assert_eq!(shown(&world.resolve(&["stars"])), "moons 1.0, stars 1.0");
    world.server = Server::start(PythonIndex::new().wheel(stars()).routes());
    assert_eq!(shown(&world.resolve(&["stars"])), "stars 1.0");
}
