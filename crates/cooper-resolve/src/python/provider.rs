//! The index as resolvo sees it: projects, their versions, what each version needs.
//!
//! One thread, no waiting futures: every read blocks here, so the order of the solver's clauses never follows
//! the network. An extra is a project of its own, tied to its project by the same version. Every requirement
//! is stated as a constraint too, so that the solver learns of it before it chooses the project.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cooper_core::PythonName;
use cooper_core::progress::{Progress, Stage};
use cooper_core::python::DistributionVersion;
use resolvo::utils::{Pool, VersionSet};
use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider, Interner,
    KnownDependencies, NameId, Requirement, SolvableId, SolverCache, StringId, VersionSetId,
    VersionSetUnionId,
};
use uv_normalize::ExtraName;
use uv_pep440::VersionSpecifiers;

use super::ahead::ReadAhead;
use super::error::PythonError;
use super::metadata::{Metadata, Need, shown_specifiers};
use super::net::Net;
use super::page::{Archive, Offer, Release};
use super::policy::preference;

/// After so many versions of one project the search is taken to go in the wrong direction.
const TRIES_MAX: usize = 8;
/// After so many it is so even though the project is decided right after those of the request.
const HINTED_TRIES_MAX: usize = 40;
/// How many versions of one project may be read of which there are only sources.
const SOURCE_TRIES_MAX: usize = 8;
/// How many versions at most are read ahead when a project's versions are tried one after the other.
const READ_AHEAD_MAX: usize = 32;

/// What the solver chooses versions of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Project(PythonName),
    Extra(PythonName, ExtraName),
    /// The other choice where a project is only a hint: not to have it.
    Without(PythonName),
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Project(name) => write!(formatter, "{name}"),
            Self::Extra(name, extra) => write!(formatter, "{name}[{extra}]"),
            Self::Without(name) => write!(formatter, "no {name}"),
        }
    }
}

/// Which versions of a [`Key`] will do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Range {
    Specifiers(VersionSpecifiers),
    Exactly(DistributionVersion),
}

impl Range {
    fn contains(&self, version: &DistributionVersion) -> bool {
        match self {
            Self::Specifiers(specifiers) => specifiers.contains(version),
            Self::Exactly(wanted) => wanted == version,
        }
    }
}

/// One version of a [`Key`].
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) version: DistributionVersion,
    /// Its place among the page's releases.
    release: usize,
    /// Its place in the order in which versions are tried.
    rank: usize,
}

impl fmt::Display for Candidate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.version)
    }
}

impl VersionSet for Range {
    type V = Candidate;
}

/// What earlier runs of the solver have taught.
#[derive(Debug, Default)]
pub(crate) struct Advice {
    /// Projects to decide right after those of the request, in this order.
    pub(crate) early: Vec<PythonName>,
    /// Projects to decide before all others, in this order; their versions may be tried as often as it takes.
    pub(crate) front: Vec<PythonName>,
    /// Projects whose pre-releases nothing lets in.
    pub(crate) finals_only: BTreeSet<PythonName>,
    /// No run is stopped any more.
    pub(crate) patient: bool,
}

impl Advice {
    /// How many versions of a project may be tried in one run.
    fn tries_max(&self, name: &PythonName) -> usize {
        if self.patient || self.front.contains(name) {
            return usize::MAX;
        }
        if self.early.contains(name) {
            HINTED_TRIES_MAX
        } else {
            TRIES_MAX
        }
    }

    /// Learn from a run that tried too many versions of a project, which is needed along this chain: the
    /// project that the request names first, the project itself last.
    ///
    /// At first the chain is decided before all else that the request does not name, so that what was asked for
    /// stays as new as it can be. If that does not help, one of the request's own projects has to give way, and the
    /// chain is decided before the others.
    pub(crate) fn learn(&mut self, chain: Vec<PythonName>) {
        let again = chain.last().is_some_and(|walked| self.early.contains(walked));
        let list = if again { &mut self.front } else { &mut self.early };
        for name in chain {
            if !list.contains(&name) {
                list.push(name);
            }
        }
    }
}

/// Why the solver was stopped before it had an answer.
pub(crate) enum Stop {
    /// Too many versions of this project were tried.
    Walk(PythonName),
    /// A read failed.
    Failed(PythonError),
}

/// What a run of the solver leaves behind.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) stop: Option<Stop>,
    /// The projects whose pages were asked for.
    pub(crate) pages: BTreeSet<PythonName>,
    /// The versions whose metadata was read.
    pub(crate) read: BTreeMap<PythonName, BTreeSet<DistributionVersion>>,
    /// Some version was not used since the gates would refuse it.
    pub(crate) passed_over: bool,
    /// Who first needed a project.
    pub(crate) parents: BTreeMap<PythonName, PythonName>,
}

/// The index as one run of the solver sees it.
pub(crate) struct Provider<'a> {
    net: &'a Net,
    ahead: &'a ReadAhead,
    progress: &'a Progress,
    advice: &'a Advice,
    pool: Pool<Range, Key>,
    pub(crate) trace: RefCell<Trace>,
}

impl<'a> Provider<'a> {
    pub(crate) fn new(ahead: &'a ReadAhead, progress: &'a Progress, advice: &'a Advice) -> Self {
        let trace = RefCell::default();
        Self {
            net: &ahead.0,
            ahead,
            progress,
            advice,
            pool: Pool::new(),
            trace,
        }
    }

    /// A requirement's projects and ranges: the project itself, and each extra.
    pub(crate) fn ranges(&self, need: &Need) -> Vec<VersionSetId> {
        let extras = need
            .extras
            .iter()
            .map(|extra| Key::Extra(need.name.clone(), extra.clone()));
        let keys = std::iter::once(Key::Project(need.name.clone())).chain(extras);
        keys.map(|key| self.range(key, Range::Specifiers(need.specifiers.clone())))
            .collect()
    }

    /// The project if it can be had, in any version, else nothing: it is decided early and binds nobody.
    pub(crate) fn hint(&self, name: &PythonName) -> ConditionalRequirement {
        let any = || Range::Specifiers(VersionSpecifiers::empty());
        let with = self.range(Key::Project(name.clone()), any());
        let without = self.range(Key::Without(name.clone()), any());
        Requirement::Union(self.pool.intern_version_set_union(with, std::iter::once(without))).into()
    }

    /// The project and version that a solvable stands for; nothing for extras and hints.
    pub(crate) fn project(&self, id: SolvableId) -> Option<(&PythonName, &Candidate)> {
        let solvable = self.pool.resolve_solvable(id);
        match self.pool.resolve_package_name(solvable.name) {
            Key::Project(name) => Some((name, &solvable.record)),
            Key::Extra(..) | Key::Without(_) => None,
        }
    }

    fn range(&self, key: Key, range: Range) -> VersionSetId {
        let name = self.pool.intern_package_name(key);
        self.pool.intern_version_set(name, range)
    }

    fn fail(&self, error: PythonError) {
        self.trace.borrow_mut().stop.get_or_insert(Stop::Failed(error));
    }

    fn versions(&self, id: NameId, name: &PythonName) -> Option<Vec<SolvableId>> {
        let first = self.trace.borrow_mut().pages.insert(name.clone());
        if first {
            self.progress.detail(Stage::Resolve, name.as_str());
        }
        let page = self.net.page(name).map_err(|error| self.fail(error)).ok()?;
        let admission = self.net.wishes.admission(name);
        let finals_only = self.advice.finals_only.contains(name);
        let ids = preference(&page).enumerate().filter_map(|(rank, at)| {
            let release = &page.releases[at];
            if finals_only && release.version.any_prerelease() {
                return None;
            }
            admission.admit(release, &self.net.target).ok()?;
            let candidate = Candidate {
                version: release.version.clone(),
                release: at,
                rank,
            };
            Some(self.pool.intern_solvable(id, candidate))
        });
        Some(ids.collect())
    }

    /// Count a try of a version; read ahead, or stop a search that walks down one project.
    fn count_try(&self, name: &PythonName, candidate: &Candidate) {
        let mut trace = self.trace.borrow_mut();
        let tries = trace.read.entry(name.clone()).or_default();
        tries.insert(candidate.version.clone());
        let count = tries.len();
        if count > self.advice.tries_max(name) {
            trace.stop.get_or_insert(Stop::Walk(name.clone()));
        } else if (count >= 4 && count.is_power_of_two()) || count.is_multiple_of(READ_AHEAD_MAX) {
            drop(trace);
            self.read_ahead(name, candidate.release, count.min(READ_AHEAD_MAX));
        }
    }

    /// Sources may have to be built to be read: of one project only so many are.
    fn is_source_too_many(&self, name: &PythonName, candidate: &Candidate) -> bool {
        let Ok(page) = self.net.page(name) else {
            return false;
        };
        let source = |release: &Release| matches!(release.offer, Offer::Source(_));
        if !page.releases.get(candidate.release).is_some_and(source) {
            return false;
        }
        let trace = self.trace.borrow();
        let tried = trace.read.get(name).into_iter().flatten().filter(|version| {
            let release = page.releases.iter().find(|release| release.version == **version);
            **version != candidate.version && release.is_some_and(source)
        });
        tried.count() >= SOURCE_TRIES_MAX
    }

    fn read_ahead(&self, name: &PythonName, release: usize, count: usize) {
        let Ok(page) = self.net.page(name) else { return };
        let admission = self.net.wishes.admission(name);
        let older = page.releases.iter().skip(release + 1);
        let older =
            older.filter_map(|one| Some((&one.version, admission.admit(one, &self.net.target).ok()?)));
        for (version, wheel) in older.filter(|(_, archive)| !archive.is_source()).take(count) {
            self.ahead.wheel(name, version, wheel);
        }
    }

    fn dependencies(&self, key: &Key, candidate: &Candidate) -> Dependencies {
        let (name, extra) = match key {
            Key::Without(_) => return Dependencies::Known(KnownDependencies::default()),
            Key::Project(name) => {
                self.count_try(name, candidate);
                (name, None)
            }
            Key::Extra(name, extra) => (name, Some(extra)),
        };
        if self.is_source_too_many(name, candidate) {
            let reason =
                format!("has no wheel, and {SOURCE_TRIES_MAX} newer versions without one were tried");
            return Dependencies::Unknown(self.pool.intern_string(reason));
        }
        let facts = match self.read(name, candidate) {
            Ok(facts) => facts,
            Err(error) => {
                self.fail(error);
                return Dependencies::Unknown(self.pool.intern_string("could not be read"));
            }
        };
        self.trace.borrow_mut().passed_over |= facts.passed_over;
        let usable = facts
            .reading
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|metadata| unusable(metadata, self.net, extra).map_or(Ok(metadata), Err));
        match usable {
            Ok(metadata) => Dependencies::Known(self.known(name, extra, candidate, metadata)),
            Err(reason) => Dependencies::Unknown(self.pool.intern_string(reason)),
        }
    }

    fn read(
        &self,
        name: &PythonName,
        candidate: &Candidate,
    ) -> Result<std::sync::Arc<super::net::Facts>, PythonError> {
        let page = self.net.page(name)?;
        let archive = admitted(self.net, name, &page, candidate.release);
        let archive = archive.ok_or_else(|| PythonError::Inconsistent {
            detail: format!("{name} {candidate}"),
        })?;
        self.net.facts(name, &candidate.version, archive)
    }

    fn known(
        &self,
        name: &PythonName,
        extra: Option<&ExtraName>,
        candidate: &Candidate,
        metadata: &Metadata,
    ) -> KnownDependencies {
        let mut known = KnownDependencies::default();
        let mut add = |range: VersionSetId| {
            known.requirements.push(range.into());
            known.constrains.push(range);
        };
        if extra.is_some() {
            add(self.range(
                Key::Project(name.clone()),
                Range::Exactly(candidate.version.clone()),
            ));
        }
        for need in metadata.needs_for(&self.net.target, extra) {
            self.ahead.need(need);
            if need.name != *name {
                let mut trace = self.trace.borrow_mut();
                trace
                    .parents
                    .entry(need.name.clone())
                    .or_insert_with(|| name.clone());
            }
            self.ranges(need).into_iter().for_each(&mut add);
        }
        known
    }
}

fn admitted<'p>(
    net: &Net,
    name: &PythonName,
    page: &'p super::page::Page,
    release: usize,
) -> Option<&'p Archive> {
    let release = page.releases.get(release)?;
    net.wishes.admission(name).admit(release, &net.target).ok()
}

/// Why a version cannot be used although its metadata can be read, to follow the version in a sentence.
pub(crate) fn unusable(metadata: &Metadata, net: &Net, extra: Option<&ExtraName>) -> Option<String> {
    let target = &net.target;
    if let Some(wanted) = metadata
        .requires_python
        .as_ref()
        .filter(|wanted| !wanted.contains(&target.python))
    {
        let wanted = shown_specifiers(wanted);
        return Some(format!(
            "needs Python {wanted}, and {} has {}",
            target.base, target.python
        ));
    }
    let url = metadata.needs_for(target, extra).find(|need| need.url)?;
    Some(format!(
        "needs {} from a URL, and only the configured index is used",
        url.name
    ))
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl fmt::Display + '_ {
        let solvable = self.pool.resolve_solvable(solvable);
        format!(
            "{} {}",
            self.pool.resolve_package_name(solvable.name),
            solvable.record
        )
    }

    fn display_name(&self, name: NameId) -> impl fmt::Display + '_ {
        self.pool.resolve_package_name(name)
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl fmt::Display + '_ {
        match self.pool.resolve_version_set(version_set) {
            Range::Specifiers(specifiers) => shown_specifiers(specifiers),
            Range::Exactly(version) => format!("=={version}"),
        }
    }

    fn display_string(&self, string_id: StringId) -> impl fmt::Display + '_ {
        self.pool.resolve_string(string_id)
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        self.pool.resolve_version_set_package_name(version_set)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.pool.resolve_solvable(solvable).name
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.pool.resolve_version_set_union(union)
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        self.pool.resolve_condition(condition).clone()
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let range = self.pool.resolve_version_set(version_set);
        let holds = |id: &SolvableId| range.contains(&self.pool.resolve_solvable(*id).record.version);
        candidates
            .iter()
            .copied()
            .filter(|id| holds(id) != inverse)
            .collect()
    }

    async fn get_candidates(&self, id: NameId) -> Option<Candidates> {
        let candidates = match self.pool.resolve_package_name(id) {
            Key::Project(name) | Key::Extra(name, _) => self.versions(id, name)?,
            Key::Without(_) => {
                let version = DistributionVersion::new([0]);
                vec![self.pool.intern_solvable(
                    id,
                    Candidate {
                        version,
                        release: 0,
                        rank: 0,
                    },
                )]
            }
        };
        Some(Candidates {
            candidates,
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        solvables.sort_by_key(|id| self.pool.resolve_solvable(*id).record.rank);
    }

    async fn get_dependencies(&self, id: SolvableId) -> Dependencies {
        let solvable = self.pool.resolve_solvable(id);
        self.dependencies(self.pool.resolve_package_name(solvable.name), &solvable.record)
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn Any>> {
        self.trace
            .borrow()
            .stop
            .as_ref()
            .map(|_| Box::new(()) as Box<dyn Any>)
    }
}
