//! What to tell when there is no solution: names that are close, and why wishes exclude each other.

use std::collections::{BTreeMap, BTreeSet};

use cooper_core::DebianVersion;
use resolvo::conflict::{Conflict, ConflictCause, ConflictEdge, ConflictGraph, ConflictNode};
use resolvo::{Requirement, Solver};

use super::provider::Provider;
use super::universe::{Candidate, Universe};

/// The packages that are there, with their versions.
#[derive(Debug, Default)]
pub(super) struct BasePackages {
    /// The image that they are, where they are more than a base.
    pub(super) image: Option<String>,
    /// By name.
    pub(super) versions: BTreeMap<String, DebianVersion>,
}

/// How many suggestions are made.
const SUGGESTIONS_MAX: usize = 5;
/// How many reasons are told.
const REASONS_MAX: usize = 12;

/// The names closest to one that nobody has, the closest first.
pub(super) fn suggestions(universe: &Universe, wanted: &str) -> Vec<String> {
    let close = universe
        .names()
        .filter_map(|name| Some((distance(wanted, name)?, name.len(), name)));
    let ranked: BTreeSet<(usize, usize, &str)> = close.collect();
    ranked
        .into_iter()
        .take(SUGGESTIONS_MAX)
        .map(|(.., name)| name.to_owned())
        .collect()
}

/// How far a name is from the wanted one; `None` is too far.
fn distance(wanted: &str, name: &str) -> Option<usize> {
    let is_version = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || b".-+".contains(&byte))
    };
    if let Some(rest) = name.strip_prefix(wanted) {
        // `libxslt` is meant to be `libxslt1.1` rather than `libxslt-dev`.
        return Some(match rest {
            rest if is_version(rest) => 0,
            rest if rest.starts_with(|c: char| c.is_ascii_digit()) => 4,
            _ => 5,
        });
    }
    let bare = |text: &str| {
        text.bytes()
            .filter(u8::is_ascii_alphanumeric)
            .collect::<Vec<u8>>()
    };
    if wanted.len().abs_diff(name.len()) <= 3 {
        if bare(wanted) == bare(name) {
            return Some(1);
        }
        let edits = strsim::osa_distance(wanted, name);
        if edits <= (wanted.len() / 4).clamp(1, 3) {
            return Some(1 + edits);
        }
    }
    let stem = wanted.trim_end_matches(|c: char| c.is_ascii_digit() || ".-+".contains(c));
    match name.strip_prefix(stem) {
        Some(rest) if stem.len() >= 4 && is_version(rest) => Some(2),
        _ if wanted.len() >= 4 && name.contains(wanted) => Some(6),
        _ => None,
    }
}

/// Why there is no solution, one line for each reason, in the order in which they follow from the request.
pub(super) fn reasons(solver: &Solver<Provider>, conflict: &Conflict, base: &BasePackages) -> Vec<String> {
    let mut told = Told {
        provider: solver.provider(),
        base,
        lines: Vec::new(),
    };
    let graph = conflict.graph(solver);
    for node in from_root(&graph) {
        told.tell(&graph, node);
    }
    told.lines()
}

/// A place in the graph. The type's own crate is not a dependency, so it is named through the graph.
type Place = usize;

/// The places that can be reached from the request, the nearest first.
fn from_root(graph: &ConflictGraph) -> Vec<Place> {
    let edges = edges(graph);
    let mut found = vec![graph.root_node.index()];
    let mut next = 0;
    while let Some(place) = found.get(next).copied() {
        for (_, to, _) in edges.iter().filter(|(from, ..)| *from == place) {
            if !found.contains(to) {
                found.push(*to);
            }
        }
        next += 1;
    }
    found
}

/// All edges in the order in which they were made.
fn edges(graph: &ConflictGraph) -> Vec<(Place, Place, ConflictEdge)> {
    let graph = &graph.graph;
    let ends = graph
        .edge_indices()
        .filter_map(|edge| Some((graph.edge_endpoints(edge)?, graph[edge])));
    ends.map(|((from, to), edge)| (from.index(), to.index(), edge))
        .collect()
}

fn node(graph: &ConflictGraph, place: Place) -> Option<ConflictNode> {
    let index = graph.graph.node_indices().find(|index| index.index() == place)?;
    Some(graph.graph[index])
}

/// The reasons so far: which package, in which versions, does what.
struct Told<'a, 'u> {
    provider: &'a Provider<'u>,
    base: &'a BasePackages,
    lines: Vec<(Subject, String)>,
}

#[derive(PartialEq)]
enum Subject {
    /// The line is a whole sentence.
    Nobody,
    Package {
        name: String,
        versions: Vec<String>,
    },
}

impl Told<'_, '_> {
    fn tell(&mut self, graph: &ConflictGraph, place: Place) {
        let from = node(graph, place);
        for (_, to, edge) in edges(graph).into_iter().filter(|(from, ..)| *from == place) {
            let target = node(graph, to);
            match (from, edge) {
                (Some(ConflictNode::Root), ConflictEdge::Requires(requirement)) => {
                    self.tell_wish(requirement);
                }
                (Some(ConflictNode::Solvable(solvable)), ConflictEdge::Requires(requirement)) => {
                    let unmet = matches!(target, Some(ConflictNode::UnresolvedDependency));
                    self.tell_dependency(self.provider.candidate(solvable), requirement, unmet);
                }
                (Some(ConflictNode::Solvable(one)), ConflictEdge::Conflict(cause)) => {
                    let Some(ConflictNode::Solvable(other)) = target else {
                        continue;
                    };
                    let pair = self.provider.candidate(one).zip(self.provider.candidate(other));
                    if let Some((one, other)) = pair {
                        self.tell_conflict(&one, &other, cause);
                    }
                }
                _ => {}
            }
        }
    }

    fn tell_wish(&mut self, requirement: Requirement) {
        let origin = self.provider.origins(requirement).join(" | ");
        let line = match self
            .base
            .versions
            .iter()
            .find(|(name, version)| origin == format!("{name} (= {version})"))
        {
            Some((name, version)) => {
                let image = self.base.image.as_ref();
                let image = image.map(|image| format!(" {image}")).unwrap_or_default();
                format!("the base{image} has {name} {version}")
            }
            None => format!("{origin} is asked for"),
        };
        self.push(Subject::Nobody, line);
    }

    fn tell_dependency(&mut self, from: Option<Candidate>, requirement: Requirement, unmet: bool) {
        let Some(from) = from else { return };
        let origins = self.provider.origins(requirement);
        let unmet = if unmet {
            self.what_there_is(&origins)
        } else {
            String::new()
        };
        self.push(
            subject(&from),
            format!("depends on {}{unmet}", origins.join(" | ")),
        );
    }

    fn what_there_is(&self, origins: &[String]) -> String {
        let there: Vec<String> = origins.iter().flat_map(|origin| self.there_is(origin)).collect();
        match there.as_slice() {
            [] => ", which no package is or provides".to_owned(),
            _ => format!(", and there is only {}", there.join(", ")),
        }
    }

    /// The versions of the package that a relation names.
    fn there_is(&self, relation: &str) -> Vec<String> {
        let name = relation.split(' ').next().unwrap_or(relation);
        let versions = self.provider.versions(name);
        versions
            .into_iter()
            .take(5)
            .map(|version| format!("{name} {version}"))
            .collect()
    }

    fn tell_conflict(&mut self, one: &Candidate, other: &Candidate, cause: ConflictCause) {
        let shown = format!("{} {}", other.stanza.name, other.stanza.version);
        match cause {
            ConflictCause::Constrains(set) => {
                let origin = self.provider.origin(set);
                let named = origin.split(' ').any(|word| word == other.stanza.name.as_str());
                let how = if named { "which" } else { "which is provided by" };
                let line = if named {
                    format!("{origin}, and it is {shown}")
                } else {
                    format!("{origin}, {how} {shown}")
                };
                self.push(subject(one), line);
            }
            ConflictCause::ForbidMultipleInstances if one.stanza.name == other.stanza.name => {
                let line = format!("only one version of {} can be there", one.stanza.name);
                self.push(Subject::Nobody, line);
            }
            _ => {}
        }
    }

    fn push(&mut self, subject: Subject, line: String) {
        let same = self
            .lines
            .iter_mut()
            .find(|(known, text)| *text == line && known.is_named_as(&subject));
        match same {
            Some((known, _)) => known.merge(subject),
            None => self.lines.push((subject, line)),
        }
    }

    fn lines(self) -> Vec<String> {
        let more = self.lines.len().saturating_sub(REASONS_MAX);
        let shown = self
            .lines
            .into_iter()
            .take(REASONS_MAX)
            .map(|(subject, line)| match subject {
                Subject::Nobody => format!("  {line}"),
                Subject::Package { name, versions } => format!("  {name} {} {line}", versions.join(", ")),
            });
        let mut lines: Vec<String> = shown.collect();
        if more > 0 {
            lines.push(format!("  and {more} more reasons"));
        }
        lines
    }
}

fn subject(candidate: &Candidate) -> Subject {
    Subject::Package {
        name: candidate.stanza.name.to_string(),
        versions: vec![candidate.stanza.version.to_string()],
    }
}

impl Subject {
    fn is_named_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nobody, Self::Nobody) => true,
            (Self::Package { name, .. }, Self::Package { name: other, .. }) => name == other,
            _ => false,
        }
    }

    fn merge(&mut self, other: Self) {
        let (Self::Package { versions, .. }, Self::Package { versions: more, .. }) = (self, other) else {
            return;
        };
        for version in more {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked<'a>(wanted: &str, names: &[&'a str]) -> Vec<&'a str> {
        let mut ranked: Vec<_> = names
            .iter()
            .filter_map(|name| Some((distance(wanted, name)?, name.len(), *name)))
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(.., name)| name).collect()
    }

    #[test]
    fn close_names_come_in_a_sensible_order() {
        let names = [
            "libxslt1.1",
            "libxslt1-dev",
            "libxml2",
            "python3-libxslt1",
            "wget",
            "wget2",
            "w3m",
            "libxslt-tools",
        ];
        assert_eq!(
            ranked("libxslt", &names)[..3],
            ["libxslt1.1", "libxslt1-dev", "libxslt-tools"]
        );
        assert_eq!(ranked("wgte", &names)[0], "wget");
        assert_eq!(ranked("libxslt2", &names)[0], "libxslt1.1");
        assert_eq!(ranked("zzzzzz", &names), Vec::<&str>::new());
    }
}
