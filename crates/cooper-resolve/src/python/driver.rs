//! Running the solver: again with better advice when it walks in the wrong direction, and checking its answer.
//!
//! resolvo chooses a whole layer of projects before it reads what they need. Where a late requirement rules
//! out an early choice, it walks down the versions of the wrong project. After a few versions of one project
//! the run is stopped, and the next one decides that project, and those through which it is needed, first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use cooper_core::PythonName;
use cooper_core::plan::ProjectFacts;
use cooper_core::progress::Progress;
use cooper_core::python::DistributionVersion;
use resolvo::{ConditionalRequirement, Problem, Solver, UnsolvableOrCancelled, VersionSetId};
use uv_normalize::ExtraName;

use super::ahead::ReadAhead;
use super::error::{PythonError, Withdrawn};
use super::explain;
use super::installed;
use super::listed;
use super::metadata::Need;
use super::net::{Facts, Net, locked};
use super::page::{Archive, Page, Release};
use super::policy::{lets_prereleases_in, withdrawn};
use super::provider::{Advice, Provider, Stop, Trace};
use super::sources;
use super::suggest;
use super::young;

/// How often the solver is run with new advice before it is left to find its way.
const RUNS_MAX: usize = 200;
/// How long the way from a requirement of the request to a project may be.
const CHAIN_MAX: usize = 64;

/// A distribution of the solution.
pub(crate) struct Chosen {
    pub(crate) version: DistributionVersion,
    pub(crate) archive: Archive,
    pub(crate) facts: Arc<Facts>,
}

impl Chosen {
    /// What the page and the metadata tell of its project.
    pub(super) fn project(&self, page: &Page) -> ProjectFacts {
        let metadata = self.facts.reading.as_ref().ok();
        ProjectFacts {
            authors: metadata.and_then(|metadata| metadata.authors.clone()),
            ..page.project()
        }
    }
}

/// A checked solution.
pub(crate) struct Solved {
    pub(crate) chosen: BTreeMap<PythonName, Chosen>,
    /// The projects whose pages were read on the way.
    pub(crate) pages: BTreeSet<PythonName>,
    /// Extras that a distribution needs of another that does not have them.
    pub(crate) missing_extras: BTreeSet<(PythonName, ExtraName)>,
    /// What is needed by whom: every requirement in force.
    pub(crate) demands: Vec<(String, Need)>,
    /// How often the solver was run.
    pub(crate) runs: usize,
}

impl Solved {
    /// Who needs a distribution, along the shortest way from the request; whoever the request itself names is left out.
    pub(crate) fn parents(&self, net: &Net) -> BTreeMap<PythonName, PythonName> {
        let mut needs: BTreeMap<&str, BTreeSet<&PythonName>> = BTreeMap::new();
        for (by, need) in &self.demands {
            let (by, _) = by.split_once(' ').unwrap_or((by, ""));
            needs.entry(by).or_default().insert(&need.name);
        }
        let mut parents = BTreeMap::new();
        let mut reached: BTreeSet<&PythonName> = net.wishes.needs.iter().map(|need| &need.name).collect();
        let mut open: VecDeque<&PythonName> = reached.iter().copied().collect();
        while let Some(parent) = open.pop_front() {
            for name in needs.get(parent.as_str()).into_iter().flatten() {
                if reached.insert(name) {
                    parents.insert((*name).clone(), parent.clone());
                    open.push_back(name);
                }
            }
        }
        parents
    }
}

/// Solve the request's requirements.
pub(crate) fn solve(ahead: &ReadAhead, progress: &Progress) -> Result<Solved, PythonError> {
    let net = &*ahead.0;
    net.wishes.needs.iter().for_each(|need| ahead.need(need));
    for need in &net.wishes.needs {
        check_wish(net, need)?;
    }
    let mut advice = Advice::default();
    let mut seen = Trace::default();
    for runs in 1.. {
        advice.patient = runs > RUNS_MAX;
        match run(ahead, progress, &advice, &mut seen) {
            Outcome::Solution(versions) => {
                let solved = check(net, &versions, &seen.pages, runs)?;
                let uninvited = uninvited_prereleases(net, &solved)?;
                let unfounded = young::unfounded(net, &solved)?;
                if uninvited.is_empty() && unfounded.is_empty() {
                    return sources::all_built(net, solved);
                }
                advice.finals_only.extend(uninvited);
                locked(&net.barred).extend(unfounded);
            }
            Outcome::Conflict => {
                let passed_over = seen.passed_over;
                let explanation = explain::conflict(net, &seen, &advice);
                return Err(PythonError::Unsatisfiable {
                    explanation,
                    passed_over,
                });
            }
            Outcome::Failed(error) => return Err(error),
            Outcome::Walk(name) => advice.learn(chain(net, &seen, name)),
        }
        tracing::debug!(runs, ?advice, "again");
    }
    Err(PythonError::Inconsistent {
        detail: "no run gave an answer".to_owned(),
    })
}

/// Pre-releases in the solution that no requirement in force lets in.
fn uninvited_prereleases(net: &Net, solved: &Solved) -> Result<Vec<PythonName>, PythonError> {
    let mut uninvited = Vec::new();
    let there = &net.wishes.installed;
    for (name, _) in solved
        .chosen
        .iter()
        .filter(|(name, chosen)| chosen.version.any_prerelease() && !there.contains_key(*name))
    {
        let page = net.page(name)?;
        let demands = solved.demands.iter().map(|(_, need)| need);
        let demands = demands.filter(|need| &need.name == name);
        let mut said = demands.chain(net.wishes.said_of(name));
        if !said.any(|need| lets_prereleases_in(&page, &need.specifiers)) {
            uninvited.push(name.clone());
        }
    }
    Ok(uninvited)
}

/// The way from the request to a project: the project that the request names first, the project itself last.
fn chain(net: &Net, seen: &Trace, name: PythonName) -> Vec<PythonName> {
    let mut chain = vec![name];
    while let Some(last) = chain.last().filter(|last| !net.wishes.names(last)) {
        let Some(parent) = seen.parents.get(last).filter(|parent| !chain.contains(parent)) else {
            break;
        };
        chain.push(parent.clone());
        if chain.len() >= CHAIN_MAX {
            break;
        }
    }
    chain.reverse();
    chain
}

enum Outcome {
    Solution(BTreeMap<PythonName, DistributionVersion>),
    Conflict,
    Walk(PythonName),
    Failed(PythonError),
}

fn run(ahead: &ReadAhead, progress: &Progress, advice: &Advice, seen: &mut Trace) -> Outcome {
    let provider = Provider::new(ahead, progress, advice);
    let (requirements, constraints) = roots(&ahead.0, &provider, advice);
    // Without activity scores the order of decisions is the request's, then breadth first: what was asked for
    // is as new as it can be, and what is merely needed gives way.
    let mut solver = Solver::new(provider).with_activity_params(0.0, 1.0);
    let problem = Problem::new().requirements(requirements).constraints(constraints);
    let answer = solver.solve(problem);
    let trace = solver.provider().trace.take();
    seen.pages.extend(trace.pages);
    seen.passed_over |= trace.passed_over;
    for (name, versions) in trace.read {
        seen.read.entry(name).or_default().extend(versions);
    }
    for (name, parent) in trace.parents {
        seen.parents.entry(name).or_insert(parent);
    }
    match (trace.stop, answer) {
        (Some(Stop::Failed(error)), _) => Outcome::Failed(error),
        (Some(Stop::Walk(name)), _) => Outcome::Walk(name),
        (None, Ok(ids)) => {
            let projects = ids.into_iter().filter_map(|id| solver.provider().project(id));
            let versions = projects.map(|(name, candidate)| (name.clone(), candidate.version.clone()));
            Outcome::Solution(versions.collect())
        }
        (None, Err(UnsolvableOrCancelled::Unsolvable(_) | UnsolvableOrCancelled::Cancelled(_))) => {
            Outcome::Conflict
        }
    }
}

/// What the solver is asked for, in the order in which it decides: the front, the request's order, early hints.
fn roots(
    net: &Net,
    provider: &Provider,
    advice: &Advice,
) -> (Vec<ConditionalRequirement>, Vec<VersionSetId>) {
    let mut requirements = Vec::new();
    let mut constraints = Vec::new();
    let mut add = |need: &Need, requirements: &mut Vec<ConditionalRequirement>| {
        let ranges = provider.ranges(need);
        requirements.extend(ranges.iter().copied().map(ConditionalRequirement::from));
        constraints.extend(ranges);
    };
    for name in &advice.front {
        if net.wishes.names(name) {
            let wishes = net.wishes.needs.iter().filter(|need| &need.name == name);
            wishes.for_each(|need| add(need, &mut requirements));
        } else {
            requirements.push(provider.hint(name));
        }
    }
    let rest = net
        .wishes
        .needs
        .iter()
        .filter(|need| !advice.front.contains(&need.name));
    rest.for_each(|need| add(need, &mut requirements));
    let early = advice
        .early
        .iter()
        .filter(|name| !advice.front.contains(name) && !net.wishes.names(name));
    requirements.extend(early.map(|name| provider.hint(name)));
    (requirements, constraints)
}

/// A requirement of the request must have a version by itself: the plainest errors are told plainly.
fn check_wish(net: &Net, need: &Need) -> Result<(), PythonError> {
    let page = net.page(&need.name)?;
    if !page.exists {
        let suggestions = suggest::names(net, &need.name);
        return Err(PythonError::UnknownPackage {
            name: need.name.clone(),
            required_by: None,
            suggestions,
        });
    }
    let admission = net.wishes.admission(&need.name);
    if let Some(there) = net.wishes.installed.get(&need.name) {
        installed::check(&net.wishes, need, there)?;
        return listed::other_hash(need, admission, page.releases.iter()).map_or(Ok(()), Err);
    }
    let admitted = |release: &&Release| admission.admit(release, &net.target).is_ok();
    let matching = || {
        page.releases
            .iter()
            .filter(|release| need.specifiers.contains(&release.version))
    };
    let mut said = net.wishes.said_of(&need.name);
    let prereleases = said.any(|other| lets_prereleases_in(&page, &other.specifiers));
    let good = |release: &&Release| admitted(release) && (prereleases || !release.version.any_prerelease());
    if matching().any(|release| good(&release)) {
        return Ok(());
    }
    if let Some(error) = listed::other_hash(need, admission, matching()) {
        return Err(error);
    }
    let usable = page
        .releases
        .iter()
        .filter(good)
        .take(5)
        .map(|release| release.version.to_string());
    let usable: Vec<String> = usable.collect();
    let withdrawn: Vec<Withdrawn> = matching()
        .filter(|release| admission.allows_version(&release.version))
        .filter(|release| prereleases || !release.version.any_prerelease())
        .filter_map(withdrawn)
        .collect();
    if !withdrawn.is_empty() {
        return Err(PythonError::Withdrawn {
            name: need.name.clone(),
            requirement: need.shown(),
            withdrawn,
            usable: usable.into_iter().next(),
        });
    }
    Err(PythonError::NoUsableVersion {
        name: need.name.clone(),
        requirement: need.shown(),
        reason: why_none(net, need, &page),
        usable,
    })
}

/// What is wrong with the versions that a requirement allows, in one sentence.
fn why_none(net: &Net, need: &Need, page: &Page) -> String {
    let allowed = |release: &&Release| need.specifiers.contains(&release.version);
    let matching: Vec<&Release> = page.releases.iter().filter(allowed).collect();
    let mut finals = matching
        .iter()
        .filter(|release| !release.version.any_prerelease());
    match finals.next().or_else(|| matching.first()) {
        None if page.releases.is_empty() => "it has no files".to_owned(),
        None => "no version matches".to_owned(),
        Some(newest) => {
            let why = net.wishes.admission(&need.name).admit(newest, &net.target).err();
            let why = why.unwrap_or_else(|| "is a pre-release that nothing lets in".to_owned());
            format!("{} {why}{}", newest.version, and_others(matching.len() - 1))
        }
    }
}

fn and_others(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => " (another version does not fit either)".to_owned(),
        count => format!(" ({count} other versions do not fit either)"),
    }
}

/// Walk the solution from the request down, without the solver: each requirement in force is met by what was
/// chosen, and what nothing requires is dropped.
fn check(
    net: &Net,
    versions: &BTreeMap<PythonName, DistributionVersion>,
    pages: &BTreeSet<PythonName>,
    runs: usize,
) -> Result<Solved, PythonError> {
    let mut solved = Solved {
        chosen: BTreeMap::new(),
        pages: pages.clone(),
        missing_extras: BTreeSet::new(),
        demands: Vec::new(),
        runs,
    };
    let mut open: Vec<(String, Need)> = net
        .wishes
        .needs
        .iter()
        .map(|need| ("the request".to_owned(), need.clone()))
        .collect();
    let mut done: BTreeSet<(PythonName, Option<ExtraName>)> = BTreeSet::new();
    while let Some((by, need)) = open.pop() {
        let wrong = || PythonError::Inconsistent {
            detail: format!("{by} needs {}", need.shown()),
        };
        let version = versions.get(&need.name).ok_or_else(wrong)?;
        if !need.specifiers.contains(version) {
            return Err(wrong());
        }
        for extra in std::iter::once(None).chain(need.extras.iter().cloned().map(Some)) {
            if !done.insert((need.name.clone(), extra.clone())) {
                continue;
            }
            let chosen = match solved.chosen.entry(need.name.clone()) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(choose(net, &need.name, version)?)
                }
            };
            let metadata = chosen.facts.reading.as_ref().map_err(|_| wrong())?;
            if let Some(extra) = extra.as_ref().filter(|extra| !metadata.extras.contains(extra)) {
                solved.missing_extras.insert((need.name.clone(), extra.clone()));
            }
            let needs = metadata.needs_for(&net.target, extra.as_ref());
            open.extend(needs.map(|next| (format!("{} {version}", need.name), next.clone())));
        }
        solved.demands.push((by, need));
    }
    refuse_missing_extras(net, &solved)?;
    listed::refuse_unlisted(net, &solved)?;
    Ok(solved)
}

fn choose(net: &Net, name: &PythonName, version: &DistributionVersion) -> Result<Chosen, PythonError> {
    let page = net.page(name)?;
    let release = page.releases.iter().find(|release| &release.version == version);
    let archive = release.and_then(|release| net.wishes.admission(name).admit(release, &net.target).ok());
    let archive = archive.ok_or_else(|| PythonError::Inconsistent {
        detail: format!("{name} {version} was chosen"),
    })?;
    let facts = net.facts(name, version, archive)?;
    Ok(Chosen {
        version: version.clone(),
        archive: archive.clone(),
        facts,
    })
}

/// An extra that the request itself names must be there.
fn refuse_missing_extras(net: &Net, solved: &Solved) -> Result<(), PythonError> {
    for need in &net.wishes.needs {
        let missing = need.extras.iter().find(|extra| {
            solved
                .missing_extras
                .contains(&(need.name.clone(), (*extra).clone()))
        });
        let (Some(extra), Some(chosen)) = (missing, solved.chosen.get(&need.name)) else {
            continue;
        };
        let known = chosen
            .facts
            .reading
            .as_ref()
            .map(|metadata| metadata.extras.as_slice())
            .unwrap_or_default();
        return Err(PythonError::UnknownExtra {
            name: need.name.clone(),
            version: chosen.version.to_string(),
            extra: extra.to_string(),
            known: suggest::nearest_first(extra.as_str(), known.iter().map(ToString::to_string)),
        });
    }
    Ok(())
}
