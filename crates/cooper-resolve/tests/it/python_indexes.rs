//! Several indexes: a name is of the first that has it, and of no other.

use std::sync::Arc;
use std::time::Duration;

use cooper_core::clock::PinnedClock;
use cooper_core::{Base, Progress, PythonRequirement, Timestamp};
use cooper_resolve::python::{self, Asked, PythonError, PythonSolution};
use cooper_resolve::{Context, Freshness, Later, Sources};
use cooper_store::{Credentials, Intake, IntakeConfig, Place, Store};
use testkit::{Fault, PythonIndex, Server, Wheel};

/// A company's own index, and the public one behind it.
struct Two {
    own: Server,
    public: Server,
    folder: tempfile::TempDir,
    now: Timestamp,
    offline: bool,
}

impl Two {
    fn new() -> Self {
        let wheel = Wheel::new;
        let own = PythonIndex::new()
            .wheel(wheel("internal", "1.0").requires("requests"))
            .empty_project("reserved");
        let public = PythonIndex::new()
            .wheel(wheel("internal", "99.0"))
            .wheel(wheel("reserved", "1.0"))
            .wheel(wheel("requests", "2.0"));
        Self {
            own: Server::start(own.routes()),
            public: Server::start(public.routes()),
            folder: tempfile::tempdir().unwrap(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            offline: false,
        }
    }

    fn resolve(&self, indexes: &[&Server], text: &str) -> Result<PythonSolution, PythonError> {
        let clock = PinnedClock(self.now);
        let store = Store::open(&self.folder.path().join("store"), Arc::new(clock)).unwrap();
        let roots: Vec<url::Url> = indexes
            .iter()
            .map(|server| server.url("/simple/").parse().unwrap())
            .collect();
        let config = IntakeConfig {
            attempts: 1,
            idle_ms: 300,
            places: vec![Place {
                root: self.own.url("/simple/").parse().unwrap(),
                known: Some((Credentials::new("alice", "sesame"), "a test".to_owned())),
            }],
            ..IntakeConfig::default()
        };
        let sources = Sources {
            debian_mirrors: vec![],
            debian_security_mirrors: vec![],
            debian_keys: vec![],
            debian_sources: vec![],
            python_indexes: roots,
        };
        let context = Context {
            store: &store,
            intake: &Intake::new(config).unwrap(),
            clock: &clock,
            sources: &sources,
            freshness: Freshness {
                max_age: Duration::from_mins(10),
                refresh: None,
                offline: self.offline,
            },
            progress: &Progress::silent(),
            later: &Later::default(),
            known: None,
            pass_over: false,
        };
        let requirements: Vec<PythonRequirement> = vec![text.parse().unwrap()];
        python::resolve(&context, &Asked::plain(Base::Trixie, &requirements))
    }

    /// `name version @ port` of each.
    fn shown(&self, indexes: &[&Server], text: &str) -> Vec<String> {
        let solution = self.resolve(indexes, text).unwrap();
        let of = |index: &url::Url| match index.as_str() {
            text if text == self.own.url("/simple/") => "own",
            text if text == self.public.url("/simple/") => "public",
            _ => "nobody",
        };
        let each = solution.python.iter();
        each.map(|one| format!("{} {} {}", one.name, one.version, of(one.index.as_ref().unwrap())))
            .collect()
    }
}

#[test]
fn the_first_index_that_has_a_name_is_the_only_one() {
    let two = Two::new();
    let both = [&two.own, &two.public];
    assert_eq!(
        two.shown(&both, "internal"),
        ["internal 1.0 own", "requests 2.0 public"]
    );
    assert_eq!(two.public.count("/simple/internal/"), 0);
    assert_eq!(
        two.shown(&[&two.public, &two.own], "internal"),
        ["internal 99.0 public"]
    );
    // A version that only a later index has is no reason to look there, and neither is a project without files.
    assert!(two.resolve(&both, "internal>=2").is_err());
    let error = two.resolve(&both, "reserved").unwrap_err();
    assert!(matches!(error, PythonError::NoUsableVersion { .. }), "{error:?}");
    assert_eq!(two.public.count("/simple/reserved/"), 0);
    assert_eq!(two.public.count("/simple/internal/"), 1);
}

#[test]
fn an_index_that_fails_is_not_passed_over() {
    for fault in [
        Fault::Status(401),
        Fault::Status(403),
        Fault::Status(500),
        Fault::Status(429),
        Fault::NoAnswer,
        Fault::Redirect("/simple/requests/".to_owned()),
    ] {
        let two = Two::new();
        two.own.fault("/simple/requests/", fault.clone());
        let error = two.resolve(&[&two.own, &two.public], "requests").unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(
            text.contains(two.own.base_url().trim_end_matches('/')),
            "{fault:?}: {text}"
        );
        assert!(!text.contains("sesame"), "{text}");
        assert_eq!(two.public.requests(), [], "{fault:?}");
    }
}

#[test]
fn each_index_has_its_own_credentials_and_its_own_cache() {
    let mut two = Two::new();
    two.shown(&[&two.own, &two.public], "internal");
    assert!(
        two.own
            .requests()
            .iter()
            .all(|asked| asked.header("authorization").is_some())
    );
    assert!(
        two.public
            .requests()
            .iter()
            .all(|asked| asked.header("authorization").is_none())
    );
    // What is kept of one order says nothing of another.
    two.offline = true;
    assert_eq!(
        two.shown(&[&two.own, &two.public], "internal"),
        ["internal 1.0 own", "requests 2.0 public"]
    );
    assert!(two.resolve(&[&two.public, &two.own], "internal").is_err());
}

#[test]
fn a_redirect_to_another_host_loses_the_credentials() {
    let two = Two::new();
    let there = two.public.url("/simple/requests/");
    let with_user = there.replace("http://", "http://mallory:word@");
    two.own.fault("/simple/requests/", Fault::Redirect(with_user));
    let solution = two.resolve(&[&two.own], "requests").unwrap();
    assert_eq!(solution.python.len(), 1);
    assert!(
        two.own
            .requests()
            .iter()
            .all(|asked| asked.header("authorization").is_some())
    );
    let asked = two.public.requests();
    assert!(!asked.is_empty());
    assert!(
        asked.iter().all(|asked| asked.header("authorization").is_none()),
        "{asked:?}"
    );
    assert!(!format!("{solution:?}").contains("mallory"), "{solution:?}");
}
