//! A made archive with everything that a Debian resolution needs around it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cooper_core::base::SuiteKind;
use cooper_core::{Base, Clock, DebianRequirement, Progress, Timestamp};
use cooper_resolve::debian::{self, DebianError, DebianSolution, Recommends};
use cooper_resolve::{Context, Freshness, Later, Sources};
use cooper_store::{Intake, IntakeConfig, Store};
use testkit::{DebPackage, DebianArchive, PythonIndex, TestContext};

/// A clock that a test moves.
pub(crate) struct MovableClock(Mutex<Timestamp>);

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

pub(crate) struct World {
    pub(crate) kit: TestContext,
    pub(crate) store: Store,
    pub(crate) clock: Arc<MovableClock>,
    pub(crate) sources: Sources,
    pub(crate) freshness: Freshness,
}

pub(crate) const FRESH: Freshness = Freshness {
    max_age: Duration::from_mins(10),
    refresh: None,
    offline: false,
};

impl World {
    pub(crate) fn new(archive: &DebianArchive) -> Self {
        let kit = TestContext::new(archive, &PythonIndex::new());
        let clock = Arc::new(MovableClock(Mutex::new(testkit::context::now())));
        let store = Store::open(&kit.store(), clock.clone()).unwrap();
        let sources = Sources {
            debian_mirrors: vec![kit.debian_mirror().parse().unwrap()],
            debian_security_mirrors: vec![kit.debian_security_mirror().parse().unwrap()],
            debian_keys: vec![testkit::SigningKey::archive().certificate()],
            debian_sources: vec![],
            python_indexes: vec![kit.python_index().parse().unwrap()],
        };
        Self {
            kit,
            store,
            clock,
            sources,
            freshness: FRESH,
        }
    }

    pub(crate) fn serve(&self, archive: &DebianArchive) {
        self.kit.server().replace(archive.routes());
    }

    pub(crate) fn pass(&self, seconds: i64) {
        let mut now = self.clock.0.lock().unwrap();
        *now += jiff::SignedDuration::from_secs(seconds);
    }

    pub(crate) fn resolve_on(&self, base: Base, packages: &str) -> Result<DebianSolution, DebianError> {
        self.with_context(|context| debian::resolve(context, base, &requests(packages), Recommends::LeftOut))
    }

    pub(crate) fn resolve(&self, packages: &str) -> Result<DebianSolution, DebianError> {
        self.resolve_on(Base::Trixie, packages)
    }

    pub(crate) fn with_context<T>(&self, work: impl FnOnce(&Context) -> T) -> T {
        let config = IntakeConfig {
            offline: self.freshness.offline,
            attempts: 1,
            ..IntakeConfig::default()
        };
        let (intake, progress) = (Intake::new(config).unwrap(), Progress::silent());
        work(&Context {
            store: &self.store,
            intake: &intake,
            clock: &*self.clock,
            sources: &self.sources,
            freshness: self.freshness,
            progress: &progress,
            later: &Later::default(),
            known: None,
            pass_over: false,
        })
    }
}

/// `a, b=1` as requests.
pub(crate) fn requests(packages: &str) -> Vec<DebianRequirement> {
    if packages.is_empty() {
        Vec::new()
    } else {
        cooper_core::request::parse_packages(packages).unwrap()
    }
}

/// A package of the made archive, small and quick.
pub(crate) fn made(name: &str, version: &str) -> DebPackage {
    DebPackage::new(name, version).compression(testkit::Compression::Gzip)
}

/// `name version` of each.
pub(crate) fn shown(planned: &[cooper_core::plan::PlannedDebian]) -> Vec<String> {
    planned
        .iter()
        .map(|planned| format!("{} {}", planned.name, planned.version))
        .collect()
}

/// The made base of trixie and these packages.
pub(crate) fn archive(packages: impl IntoIterator<Item = DebPackage>) -> DebianArchive {
    packages.into_iter().fold(
        DebianArchive::with_minimal_base(Base::Trixie),
        DebianArchive::package,
    )
}

/// What went wrong, with all causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The packages of a made archive by name.
pub(crate) fn packages_by_name(archive: &DebianArchive) -> BTreeMap<String, Vec<DebPackage>> {
    let mut found: BTreeMap<String, Vec<DebPackage>> = BTreeMap::new();
    for kind in [SuiteKind::Release, SuiteKind::Updates, SuiteKind::Security] {
        for package in archive.packages_in(kind) {
            found
                .entry(package.name().to_owned())
                .or_default()
                .push(package.clone());
        }
    }
    found
}
