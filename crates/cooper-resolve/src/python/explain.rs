//! Why no choice of versions fits together, in a few lines.
//!
//! The solver's own conflict names clauses. Here the conflict is found again in the terms of the request, with
//! what the solver read: versions that cannot be are struck out, one reason each, until a project that is
//! needed has none left; then the reasons that matter are told, each once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cooper_core::PythonName;
use cooper_core::python::DistributionVersion;
use uv_normalize::ExtraName;
use uv_pep440::VersionSpecifiers;

use super::metadata::{Metadata, Need};
use super::net::Net;
use super::page::Page;
use super::provider::{Advice, Trace, unusable};

/// How often the projects are gone through.
const ROUNDS_MAX: usize = 200;
/// How long an explanation may be.
const LINES_MAX: usize = 12;

/// The explanation of a conflict, one fact a line.
pub(crate) fn conflict(net: &Net, seen: &Trace, advice: &Advice) -> String {
    let mut board = Board::new(net, seen, advice);
    let lines = match board.find_empty() {
        Some(name) => board.tell(&name),
        None => board.tell_at_large(),
    };
    let lines: Vec<String> = lines.into_iter().map(|line| format!("\n  {line}")).collect();
    lines.concat()
}

/// Why one version cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    /// The request asks for others.
    Request,
    /// Every version that is left of this project asks for others.
    AskedBy(PythonName),
    /// It needs this, which cannot be had.
    Needs { on: PythonName, text: String },
    /// By itself: the end of a sentence.
    Unusable(String),
}

struct Version {
    number: DistributionVersion,
    metadata: Option<Arc<super::net::Facts>>,
    gone: Option<Reason>,
}

impl Version {
    fn metadata(&self) -> Option<&Metadata> {
        self.metadata.as_ref()?.reading.as_ref().ok()
    }
}

#[derive(Default)]
struct Project {
    versions: Vec<Version>,
    extras: BTreeSet<ExtraName>,
    needed: bool,
}

struct Board<'a> {
    net: &'a Net,
    seen: &'a Trace,
    advice: &'a Advice,
    projects: BTreeMap<PythonName, Project>,
}

impl<'a> Board<'a> {
    fn new(net: &'a Net, seen: &'a Trace, advice: &'a Advice) -> Self {
        let mut board = Self {
            net,
            seen,
            advice,
            projects: BTreeMap::new(),
        };
        for name in &seen.pages {
            let versions = board.versions(name);
            board.projects.insert(
                name.clone(),
                Project {
                    versions,
                    ..Project::default()
                },
            );
        }
        for need in &net.wishes.needs {
            board.demand(need);
        }
        board
    }

    fn page(&self, name: &PythonName) -> Option<Arc<Page>> {
        self.seen
            .pages
            .contains(name)
            .then(|| self.net.page(name).ok())
            .flatten()
    }

    fn versions(&self, name: &PythonName) -> Vec<Version> {
        let Some(page) = self.page(name) else {
            return Vec::new();
        };
        let admission = self.net.wishes.admission(name);
        let read = self.seen.read.get(name);
        let finals_only = self.advice.finals_only.contains(name);
        let admitted = page.releases.iter().filter_map(|release| {
            let archive = admission.admit(release, &self.net.target).ok()?;
            if finals_only && release.version.any_prerelease() {
                return None;
            }
            let was_read = read.is_some_and(|read| read.contains(&release.version));
            let metadata = was_read
                .then(|| self.net.facts(name, &release.version, archive).ok())
                .flatten();
            Some(Version {
                number: release.version.clone(),
                metadata,
                gone: None,
            })
        });
        admitted.collect()
    }

    /// A requirement that holds whatever is chosen.
    fn demand(&mut self, need: &Need) {
        let project = self.projects.entry(need.name.clone()).or_default();
        project.needed = true;
        project.extras.extend(need.extras.iter().cloned());
        for version in &mut project.versions {
            if version.gone.is_none() && !need.specifiers.contains(&version.number) {
                version.gone = Some(Reason::Request);
            }
        }
    }

    /// Strike out what cannot be, until a needed project has nothing left.
    fn find_empty(&mut self) -> Option<PythonName> {
        for _ in 0..ROUNDS_MAX {
            if let Some((name, _)) = self
                .projects
                .iter()
                .find(|(_, project)| project.needed && project.is_empty())
            {
                return Some(name.clone());
            }
            let needed = self.projects.iter().filter(|(_, project)| project.needed);
            let names: Vec<PythonName> = needed.map(|(name, _)| name.clone()).collect();
            let mut changed = false;
            for name in &names {
                changed |= self.strike_versions(name);
                changed |= self.strike_needs(name);
            }
            if !changed {
                return None;
            }
        }
        None
    }

    /// Strike out the versions of a project that need what cannot be had.
    fn strike_versions(&mut self, name: &PythonName) -> bool {
        let Some(project) = self.projects.get(name) else {
            return false;
        };
        let mut gone: Vec<(usize, Reason)> = Vec::new();
        for (at, version) in project
            .versions
            .iter()
            .enumerate()
            .filter(|(_, one)| one.gone.is_none())
        {
            if let Some(reason) = self.fault(project, version) {
                gone.push((at, reason));
            }
        }
        let changed = !gone.is_empty();
        if let Some(project) = self.projects.get_mut(name) {
            for (at, reason) in gone {
                project.versions[at].gone = Some(reason);
            }
        }
        changed
    }

    fn fault(&self, project: &Project, version: &Version) -> Option<Reason> {
        let facts = version.metadata.as_ref()?;
        let metadata = match &facts.reading {
            Ok(metadata) => metadata,
            Err(reason) => return Some(Reason::Unusable(reason.clone())),
        };
        if let Some(reason) = unusable(metadata, self.net, None) {
            return Some(Reason::Unusable(reason));
        }
        let needs = needs(self.net, metadata, &project.extras);
        needs
            .into_iter()
            .find(|need| !self.can_be(need))
            .map(|need| Reason::Needs {
                on: need.name.clone(),
                text: need.shown(),
            })
    }

    /// Something is left that meets the requirement, as far as the solver looked.
    fn can_be(&self, need: &Need) -> bool {
        match self.projects.get(&need.name) {
            None => true,
            Some(project) => project
                .left()
                .any(|version| need.specifiers.contains(&version.number)),
        }
    }

    /// What all versions left of a project need is needed; versions that none of them takes are struck out.
    fn strike_needs(&mut self, name: &PythonName) -> bool {
        let Some(project) = self.projects.get(name) else {
            return false;
        };
        let common = common_needs(self.net, project);
        let mut changed = false;
        for (on, (ranges, extras)) in common {
            let Some(other) = self.projects.get_mut(&on) else {
                continue;
            };
            changed |= !std::mem::replace(&mut other.needed, true);
            for extra in extras {
                changed |= other.extras.insert(extra);
            }
            for version in other.versions.iter_mut().filter(|version| version.gone.is_none()) {
                if !ranges.iter().any(|range| range.contains(&version.number)) {
                    version.gone = Some(Reason::AskedBy(name.clone()));
                    changed = true;
                }
            }
        }
        changed
    }

    fn tell(&self, name: &PythonName) -> Vec<String> {
        let mut lines = self.way_to(name);
        let mut told = BTreeSet::new();
        let mut open = vec![name.clone()];
        while let Some(name) = open.pop() {
            if told.insert(name.clone()) && lines.len() < LINES_MAX {
                self.tell_project(&name, &mut lines, &mut open);
            }
        }
        let mut unique: Vec<String> = Vec::new();
        for line in lines {
            if !unique.contains(&line) {
                unique.push(line);
            }
        }
        unique.truncate(LINES_MAX);
        unique
    }

    /// Through what the request needs a project.
    fn way_to(&self, name: &PythonName) -> Vec<String> {
        let mut way = vec![name];
        while let Some(parent) = way.last().and_then(|last| self.seen.parents.get(*last)) {
            let named = way.last().is_some_and(|last| self.net.wishes.names(last));
            if named || way.contains(&parent) || way.len() >= LINES_MAX {
                break;
            }
            way.push(parent);
        }
        let wishes = self
            .net
            .wishes
            .needs
            .iter()
            .filter(|need| Some(&&need.name) == way.last());
        let mut lines: Vec<String> = wishes
            .map(|need| format!("the request needs {}", need.shown()))
            .collect();
        lines.extend(way.windows(2).rev().map(|pair| self.asked_by(pair[1], pair[0])));
        lines
    }

    /// The facts about one project; the projects in them are told next.
    fn tell_project(&self, name: &PythonName, lines: &mut Vec<String>, open: &mut Vec<PythonName>) {
        let Some(project) = self.projects.get(name) else {
            return;
        };
        let wishes = self.net.wishes.needs.iter().filter(|need| &need.name == name);
        lines.extend(wishes.map(|need| format!("the request needs {}", need.shown())));
        if let Some(installed) = self.net.wishes.installed.get(name) {
            lines.push(format!(
                "the base {} has {name} {}",
                installed.image, installed.version
            ));
        }
        let constraints = self.net.wishes.constraints.iter();
        let constraints = constraints.filter(|need| &need.name == name);
        lines.extend(constraints.map(|need| format!("the request's constraint is {}", need.shown())));
        if project.versions.is_empty() {
            lines.push(match self.page(name) {
                Some(page) if page.exists => {
                    format!("{name} has no version that can be used: {}", self.nearest(name))
                }
                _ => format!("{name} is not on the Python index"),
            });
        }
        let mut groups: Vec<(Group, Vec<&Version>)> = Vec::new();
        for version in &project.versions {
            let Some(group) = version.gone.as_ref().and_then(Group::of) else {
                continue;
            };
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, versions)) => versions.push(version),
                None => groups.push((group, vec![version])),
            }
        }
        for (group, versions) in groups {
            match group {
                Group::AskedBy(by) => {
                    lines.push(self.asked_by(&by, name));
                    open.push(by);
                }
                Group::Needs(on) => {
                    let texts = versions.iter().filter_map(|version| match &version.gone {
                        Some(Reason::Needs { text, .. }) => Some(text.as_str()),
                        _ => None,
                    });
                    lines.push(format!(
                        "{name} {} {}",
                        shown_needing(&versions),
                        newest_to_oldest(texts)
                    ));
                    open.push(on);
                }
                Group::Unusable(reason) => lines.push(format!("{name} {} {reason}", shown(&versions))),
            }
        }
        lines.extend(self.refused_matches(name));
    }

    /// `fastapi 0.115.0 needs starlette>=0.37,<0.39`: what is left of one project asks of another.
    fn asked_by(&self, by: &PythonName, of: &PythonName) -> String {
        let Some(project) = self.projects.get(by) else {
            return format!("{by} needs other versions of {of}");
        };
        let left: Vec<&Version> = project.left().collect();
        let left = if left.is_empty() {
            project.versions.iter().collect()
        } else {
            left
        };
        let texts = left.iter().filter_map(|version| {
            let needs = needs(self.net, version.metadata()?, &project.extras);
            let matching: Vec<String> = needs
                .iter()
                .filter(|need| &need.name == of)
                .map(|need| need.shown())
                .collect();
            (!matching.is_empty()).then(|| matching.join(" and "))
        });
        let mut texts: Vec<String> = texts.collect();
        texts.dedup();
        let shown_texts = match texts.as_slice() {
            [] => format!("other versions of {of}"),
            [one] => one.clone(),
            [newest, .., oldest] => format!("{newest} to {oldest}"),
        };
        format!("{by} {} {shown_texts}", shown_needing(&left))
    }

    /// The newest release of a project and why it cannot be used.
    fn nearest(&self, name: &PythonName) -> String {
        let Some(page) = self.page(name) else {
            return String::new();
        };
        let admission = self.net.wishes.admission(name);
        let newest = page.releases.iter().find_map(|release| {
            let why = admission.admit(release, &self.net.target).err()?;
            Some(format!("{} {why}", release.version))
        });
        newest.unwrap_or_else(|| "it has no files".to_owned())
    }

    /// Releases that the request's own range would take, were they usable.
    fn refused_matches(&self, name: &PythonName) -> Option<String> {
        let page = self.page(name)?;
        let wishes: Vec<&Need> = self
            .net
            .wishes
            .needs
            .iter()
            .filter(|need| &need.name == name)
            .collect();
        if wishes.is_empty() {
            return None;
        }
        let admission = self.net.wishes.admission(name);
        let matches =
            |version: &DistributionVersion| wishes.iter().all(|need| need.specifiers.contains(version));
        page.releases
            .iter()
            .filter(|release| matches(&release.version))
            .find_map(|release| {
                let why = admission.admit(release, &self.net.target).err()?;
                (!release.version.any_prerelease()).then(|| format!("{name} {} {why}", release.version))
            })
    }

    /// Where striking out alone does not end in nothing: what was asked for and what was tried most.
    fn tell_at_large(&self) -> Vec<String> {
        let mut tried: Vec<(usize, &PythonName)> = self
            .seen
            .read
            .iter()
            .map(|(name, versions)| (versions.len(), name))
            .collect();
        tried.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let tried: Vec<String> = tried
            .iter()
            .take(4)
            .map(|(count, name)| format!("{name} ({count} versions)"))
            .collect();
        let wishes: Vec<String> = self.net.wishes.needs.iter().take(40).map(Need::shown).collect();
        vec![
            format!("no choice of versions gives all of {}", wishes.join(", ")),
            format!("tried most: {}", tried.join(", ")),
        ]
    }
}

/// Reasons that are told in one line.
#[derive(PartialEq, Eq)]
enum Group {
    AskedBy(PythonName),
    Needs(PythonName),
    Unusable(String),
}

impl Group {
    fn of(reason: &Reason) -> Option<Self> {
        match reason {
            Reason::Request => None,
            Reason::AskedBy(by) => Some(Self::AskedBy(by.clone())),
            Reason::Needs { on, .. } => Some(Self::Needs(on.clone())),
            Reason::Unusable(reason) => Some(Self::Unusable(reason.clone())),
        }
    }
}

impl Project {
    fn left(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().filter(|version| version.gone.is_none())
    }

    fn is_empty(&self) -> bool {
        self.left().next().is_none()
    }
}

fn needs<'m>(net: &Net, metadata: &'m Metadata, extras: &BTreeSet<ExtraName>) -> Vec<&'m Need> {
    let which = std::iter::once(None).chain(extras.iter().map(Some));
    let mut needs = Vec::new();
    for extra in which {
        needs.extend(metadata.needs.iter().filter(|need| {
            let plain = need.marker.evaluate(&net.target.markers, &[]);
            match extra {
                None => plain,
                Some(extra) => {
                    !plain
                        && need
                            .marker
                            .evaluate(&net.target.markers, std::slice::from_ref(extra))
                }
            }
        }));
    }
    needs
}

/// For each project that all versions left need: the ranges that they take, and the extras that all want.
type Common = BTreeMap<PythonName, (Vec<VersionSpecifiers>, BTreeSet<ExtraName>)>;

fn common_needs(net: &Net, project: &Project) -> Common {
    let mut common: Option<Common> = None;
    for version in project.left() {
        // A version that was not read may need nothing.
        let Some(metadata) = version.metadata() else {
            return Common::new();
        };
        let mut own = Common::new();
        for need in needs(net, metadata, &project.extras) {
            let entry = own.entry(need.name.clone()).or_default();
            entry.0.push(need.specifiers.clone());
            entry.1.extend(need.extras.iter().cloned());
        }
        // Several ranges of one version hold together; one of them stands for all.
        for (ranges, _) in own.values_mut() {
            ranges.truncate(1);
        }
        common = Some(match common {
            None => own,
            Some(mut all) => {
                all.retain(|name, (ranges, extras)| match own.remove(name) {
                    Some((more, wanted)) => {
                        ranges.extend(more);
                        extras.retain(|extra| wanted.contains(extra));
                        true
                    }
                    None => false,
                });
                all
            }
        });
    }
    common.unwrap_or_default()
}

/// Versions as the beginning of a sentence about what they need.
fn shown_needing(versions: &[&Version]) -> String {
    format!(
        "{} {}",
        shown(versions),
        if versions.len() == 1 { "needs" } else { "need" }
    )
}

/// What versions need, the newest first, in a few words.
fn newest_to_oldest<'t>(mut texts: impl Iterator<Item = &'t str>) -> String {
    let newest = texts.next().unwrap_or_default();
    match texts.filter(|text| *text != newest).last() {
        Some(oldest) => format!("{newest} (the newest) to {oldest} (the oldest)"),
        None => newest.to_owned(),
    }
}

/// Versions, newest first, in a few words.
fn shown(versions: &[&Version]) -> String {
    match versions {
        [] => "(no version)".to_owned(),
        [one] => one.number.to_string(),
        [one, two] => format!("{} and {}", one.number, two.number),
        [newest, .., oldest] => format!(
            "{} to {} ({} versions)",
            newest.number,
            oldest.number,
            versions.len()
        ),
    }
}
