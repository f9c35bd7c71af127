//! What the packages of a solution recommend, as far as it can be had beside it.
//!
//! As apt does it: what is chosen stays as it is; each `Recommends` that is not met is tried, also those of what came in
//! that way; one that cannot be met is left out, and told in a note.

use std::collections::BTreeSet;

use resolvo::ConditionalRequirement;

use super::error::DebianError;
use super::explain::BasePackages;
use super::provider::Provider;
use super::relation::Relation;
use super::solve::solve;
use super::universe::{Candidate, Universe};

/// Whether the packages that a request adds bring what they recommend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recommends {
    /// Only what is needed.
    #[default]
    LeftOut,
    /// What is recommended too.
    Installed,
}

/// How often what came in may recommend more.
const ROUNDS_MAX: usize = 32;

/// A `Recommends` of one package.
struct Wish {
    package: String,
    clause: Vec<Relation>,
}

impl Wish {
    fn text(&self) -> String {
        let alternatives: Vec<String> = self.clause.iter().map(ToString::to_string).collect();
        alternatives.join(" | ")
    }
}

/// The solution with what it recommends, sorted by name, and notes of what is left out.
pub(super) fn with_recommends(
    universe: &Universe,
    base: &BasePackages,
    chosen: Vec<Candidate>,
) -> Result<(Vec<Candidate>, Vec<String>), DebianError> {
    let (mut chosen, mut notes, mut seen) = (chosen, Vec::new(), BTreeSet::new());
    for _ in 0..ROUNDS_MAX {
        let wishes: Vec<Wish> = unmet(base, &chosen)
            .into_iter()
            .filter(|wish| seen.insert(wish.text()))
            .collect();
        if wishes.is_empty() {
            break;
        }
        let (possible, impossible) = sorted(universe, wishes)?;
        let mut left_out = impossible;
        match attempt(universe, base, &chosen, &possible)? {
            Some(more) => chosen = more,
            // One of them excludes another, or what is chosen: each by itself, in their order.
            None => {
                for wish in possible {
                    let wish = [wish];
                    match attempt(universe, base, &chosen, &wish)? {
                        Some(more) => chosen = more,
                        None => left_out.extend(wish),
                    }
                }
            }
        }
        notes.extend(left_out.iter().map(|wish| {
            format!(
                "`{}` recommends `{}`, which cannot be installed and is left out",
                wish.package,
                wish.text()
            )
        }));
    }
    Ok((chosen, notes))
}

/// What the added packages recommend and nothing chosen meets.
fn unmet(base: &BasePackages, chosen: &[Candidate]) -> Vec<Wish> {
    let is_met = |clause: &[Relation]| {
        chosen
            .iter()
            .any(|candidate| clause.iter().any(|relation| candidate.stanza.meets(relation)))
    };
    let added = chosen
        .iter()
        .filter(|candidate| !base.versions.contains_key(candidate.stanza.name.as_str()));
    let wishes = added.flat_map(|candidate| {
        let clauses = candidate.stanza.recommends.iter();
        clauses.filter(|clause| !is_met(clause)).map(|clause| Wish {
            package: candidate.stanza.name.to_string(),
            clause: clause.clone(),
        })
    });
    wishes.collect()
}

/// Those that some package meets, and those that none does.
fn sorted(universe: &Universe, wishes: Vec<Wish>) -> Result<(Vec<Wish>, Vec<Wish>), DebianError> {
    let (mut possible, mut impossible) = (Vec::new(), Vec::new());
    for wish in wishes {
        let mut met = false;
        for relation in &wish.clause {
            let name = relation.name.as_str();
            let providers = universe.providers(name)?;
            for subject in std::iter::once(name).chain(providers.iter().map(String::as_str)) {
                let candidates = universe.candidates(subject)?;
                met |= candidates
                    .iter()
                    .any(|candidate| candidate.stanza.meets(relation));
            }
        }
        if met { &mut possible } else { &mut impossible }.push(wish);
    }
    Ok((possible, impossible))
}

/// What is chosen and these; nothing where they cannot be together.
fn attempt(
    universe: &Universe,
    base: &BasePackages,
    chosen: &[Candidate],
    wishes: &[Wish],
) -> Result<Option<Vec<Candidate>>, DebianError> {
    if wishes.is_empty() {
        return Ok(Some(chosen.to_vec()));
    }
    let provider = Provider::new(universe);
    let fixed = chosen
        .iter()
        .map(|candidate| provider.require(candidate.stanza.name.as_str(), Some(&candidate.stanza.version)));
    let mut requirements: Vec<ConditionalRequirement> = fixed.collect();
    requirements.extend(wishes.iter().filter_map(|wish| provider.clause(&wish.clause)));
    match solve(provider, requirements, base) {
        Ok(more) => Ok(Some(more)),
        Err(DebianError::Unsatisfiable { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
