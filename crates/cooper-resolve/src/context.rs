//! What a resolution works with: the store, the door to the network, the clock, where the indexes are.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cooper_core::base::{SourceSuite, Suite, SuiteKind};
use cooper_core::{Base, Clock, DebianName, Digest, Progress, Timestamp};
use cooper_gate::Known;
use cooper_store::{Intake, Store};
use url::Url;

/// Everything that a resolution may touch.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Keeps snapshots and caches.
    pub store: &'a Store,
    /// Fetches indexes.
    pub intake: &'a Intake,
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Where the indexes are.
    pub sources: &'a Sources,
    /// How old an index may be.
    pub freshness: Freshness,
    /// Where events go.
    pub progress: &'a Progress,
    /// Takes what need not be waited for.
    pub later: &'a Later,
    /// What candidates are judged by. None: the plan is judged, nothing before.
    pub known: Option<&'a Arc<Known>>,
    /// Whether what the gates would refuse is passed over. If not, it may be chosen, and the verdict on the plan tells.
    pub pass_over: bool,
}

/// Work that no result depends on, done on threads of its own beside what follows. Dropping it waits for them.
#[derive(Debug, Default)]
pub struct Later(Mutex<Vec<JoinHandle<()>>>);

impl Later {
    pub(crate) fn run(&self, work: impl FnOnce() + Send + 'static) {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.retain(|thread| !thread.is_finished());
        threads.push(std::thread::spawn(work));
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        let threads = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // What it panicked about was said by the panic.
            let _ = thread.join();
        }
    }
}

/// Where the indexes are. Addresses are without user name and password: the intake knows those.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Mirrors of the archive that has the release and its updates, tried in order.
    pub debian_mirrors: Vec<Url>,
    /// Mirrors of the security archive, tried in order.
    pub debian_security_mirrors: Vec<Url>,
    /// OpenPGP certificates (binary or armoured) whose signatures on Debian's indexes count.
    pub debian_keys: Vec<Vec<u8>>,
    /// Archives beside Debian's, in order.
    pub debian_sources: Vec<DebianSource>,
    /// The roots of Python simple indexes (PEP 503, PEP 691): a distribution is of the first that has its name, and of
    /// no other.
    pub python_indexes: Vec<Url>,
}

/// An archive beside Debian's, whose packages a request may take. A base is made of Debian's packages alone.
#[derive(Debug, Clone)]
pub struct DebianSource {
    /// Its suites, each with one component; all of one source name.
    pub suites: Vec<SourceSuite>,
    /// Its mirrors, tried in order.
    pub mirrors: Vec<Url>,
    /// The certificates whose signatures on its indexes count, and on no other's.
    pub keys: Vec<Vec<u8>>,
    /// The only base that it is for.
    pub base: Option<Base>,
    /// The only packages that are taken from it; none means all.
    pub packages: BTreeSet<DebianName>,
    /// The only `InRelease` that is taken.
    pub in_release: Option<Digest>,
}

impl Sources {
    /// The mirrors that have this suite.
    pub fn mirrors(&self, suite: Suite) -> &[Url] {
        match suite.kind {
            SuiteKind::Release | SuiteKind::Updates => &self.debian_mirrors,
            SuiteKind::Security => &self.debian_security_mirrors,
            SuiteKind::Source(_) => self.source(suite).map_or(&[], |source| &source.mirrors),
        }
    }

    /// The certificates whose signatures on this suite's index count.
    pub fn keys(&self, suite: Suite) -> &[Vec<u8>] {
        match suite.kind {
            SuiteKind::Source(_) => self.source(suite).map_or(&[], |source| &source.keys),
            _ => &self.debian_keys,
        }
    }

    /// The source that a suite is of, where it is configured.
    pub(crate) fn source(&self, suite: Suite) -> Option<&DebianSource> {
        let of = suite.source()?;
        let mut sources = self.debian_sources.iter();
        sources.find(|source| source.suites.contains(of))
    }

    /// Every suite for a base: its own three, then those of the sources.
    pub(crate) fn suites(&self, base: Base) -> Vec<Suite> {
        let sources = self.debian_sources.iter();
        let sources = sources.filter(|source| source.base.is_none_or(|only| only == base));
        let kinds = sources.flat_map(|source| source.suites.iter().copied().map(SuiteKind::Source));
        let more = kinds.map(|kind| Suite { base, kind });
        base.suites().into_iter().chain(more).collect()
    }
}

/// How old an index may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// An index fetched at most so long ago is used as it is.
    pub max_age: Duration,
    /// Fetch again, whatever its age, what was fetched before this time; what was fetched since is used as it is.
    pub refresh: Option<Timestamp>,
    /// Use what is there, whatever its age; never fetch.
    pub offline: bool,
}

impl Freshness {
    /// Whether what was fetched at this time is used as it is. A time in the future is not trusted.
    pub(crate) fn holds(self, fetched_at: Timestamp, now: Timestamp) -> bool {
        let age = now.duration_since(fetched_at);
        let young = match self.refresh {
            Some(since) => fetched_at >= since,
            None => age.unsigned_abs() <= self.max_age,
        };
        self.offline || (!age.is_negative() && young)
    }
}
