//! Debian's packages as `resolvo` sees them.
//!
//! - A relation becomes one version set for the package of that name and one for each package that provides
//!   the name; alternatives become one union, in the order in which apt would try them.
//! - `Conflicts` and `Breaks` become constraints: whoever is chosen for that name is outside the versions
//!   named, and whoever provides the name does not provide it so.
//! - Versions are tried from the newest on. `Recommends` are no requirements of the solver (see [`super::recommend`]), `Suggests` are not
//!   read.

use std::cell::{Ref, RefCell};
use std::collections::HashMap;
use std::fmt::Display;

use cooper_core::DebianVersion;
use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, DenseIndex as _, Dependencies,
    DependencyProvider, Interner, KnownDependencies, NameId, Requirement, SolvableId, SolverCache, StringId,
    VersionSetId, VersionSetUnionId,
};

use super::error::DebianError;
use super::relation::Relation;
use super::stanza::Stanza;
use super::universe::{Candidate, Universe};

/// The answers for one solve. What goes wrong while it is asked is kept in `failure`.
pub(super) struct Provider<'a> {
    universe: &'a Universe,
    interned: RefCell<Interned>,
    failure: RefCell<Option<DebianError>>,
}

#[derive(Default)]
struct Interned {
    names: Vec<String>,
    name_ids: HashMap<String, NameId>,
    /// Package and position among its candidates.
    solvables: Vec<(NameId, usize)>,
    solvables_of: HashMap<NameId, Vec<SolvableId>>,
    sets: Vec<VersionSet>,
    set_ids: HashMap<(NameId, String), VersionSetId>,
    unions: Vec<Vec<VersionSetId>>,
    union_ids: HashMap<Vec<VersionSetId>, VersionSetUnionId>,
}

/// Some versions of one package.
#[derive(Debug, Clone)]
pub(super) struct VersionSet {
    name: NameId,
    filter: Filter,
    /// The relation that it comes from, for explanations.
    pub(super) origin: String,
}

/// Which versions.
#[derive(Debug, Clone)]
enum Filter {
    /// Those that the relation names, or that provide what it names.
    Meeting(Relation),
    /// All others.
    Avoiding(Relation),
    /// One, by its exact text.
    Exactly(DebianVersion),
    /// All.
    Any,
}

impl Filter {
    fn admits(&self, stanza: &Stanza) -> bool {
        match self {
            Self::Meeting(relation) => stanza.meets(relation),
            Self::Avoiding(relation) => !stanza.meets(relation),
            Self::Exactly(version) => stanza.version == *version,
            Self::Any => true,
        }
    }

    fn key(&self) -> String {
        match self {
            Self::Meeting(relation) => format!("+{relation}{}", if relation.foreign { ":" } else { "" }),
            Self::Avoiding(relation) => format!("-{relation}{}", if relation.foreign { ":" } else { "" }),
            Self::Exactly(version) => format!("={version}"),
            Self::Any => "*".to_owned(),
        }
    }
}

impl<'a> Provider<'a> {
    /// Answers from `universe`.
    pub(super) fn new(universe: &'a Universe) -> Self {
        Self {
            universe,
            interned: RefCell::default(),
            failure: RefCell::default(),
        }
    }

    /// What went wrong while answering.
    pub(super) fn take_failure(&self) -> Option<DebianError> {
        self.failure.borrow_mut().take()
    }

    /// Require some version of a package, or exactly one.
    pub(super) fn require(&self, name: &str, version: Option<&DebianVersion>) -> ConditionalRequirement {
        let filter = version.map_or(Filter::Any, |version| Filter::Exactly(version.clone()));
        let origin = version.map_or_else(|| name.to_owned(), |version| format!("{name} (= {version})"));
        let name = self.name(name);
        Requirement::Single(self.set(VersionSet { name, filter, origin })).into()
    }

    /// The package and version that a solvable stands for.
    pub(super) fn candidate(&self, solvable: SolvableId) -> Option<Candidate> {
        let (name, position) = *self.interned.borrow().solvables.get(solvable.to_index())?;
        let candidates = self.candidates_of(name);
        candidates.get(position).cloned()
    }

    /// The versions that there are of a package, the newest first.
    pub(super) fn versions(&self, name: &str) -> Vec<DebianVersion> {
        let candidates = self.noting_failure(self.universe.candidates(name));
        candidates
            .iter()
            .flat_map(|found| found.iter())
            .map(|it| it.stanza.version.clone())
            .collect()
    }

    /// The relation that a version set comes from.
    pub(super) fn origin(&self, set: VersionSetId) -> String {
        self.interned.borrow().sets[set.to_index()].origin.clone()
    }

    /// The relations that a requirement comes from: one, or alternatives.
    pub(super) fn origins(&self, requirement: Requirement) -> Vec<String> {
        let sets = match requirement {
            Requirement::Single(set) => vec![set],
            Requirement::Union(union) => self.version_sets_in_union(union).collect(),
        };
        let mut origins = Vec::new();
        for origin in sets.into_iter().map(|set| self.origin(set)) {
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        origins
    }

    fn name(&self, text: &str) -> NameId {
        let interned = &mut *self.interned.borrow_mut();
        if let Some(known) = interned.name_ids.get(text) {
            return *known;
        }
        let id = NameId::from_index(interned.names.len());
        interned.names.push(text.to_owned());
        interned.name_ids.insert(text.to_owned(), id);
        id
    }

    fn name_text(&self, name: NameId) -> Ref<'_, str> {
        Ref::map(self.interned.borrow(), |interned| {
            interned.names[name.to_index()].as_str()
        })
    }

    fn set(&self, set: VersionSet) -> VersionSetId {
        let interned = &mut *self.interned.borrow_mut();
        let key = (set.name, set.filter.key());
        *interned.set_ids.entry(key).or_insert_with(|| {
            interned.sets.push(set);
            VersionSetId::from_index(interned.sets.len() - 1)
        })
    }

    fn union(&self, sets: Vec<VersionSetId>) -> VersionSetUnionId {
        let interned = &mut *self.interned.borrow_mut();
        *interned.union_ids.entry(sets).or_insert_with_key(|sets| {
            interned.unions.push(sets.clone());
            VersionSetUnionId::from_index(interned.unions.len() - 1)
        })
    }

    fn candidates_of(&self, name: NameId) -> std::rc::Rc<[Candidate]> {
        let name = self.name_text(name).to_owned();
        self.noting_failure(self.universe.candidates(&name))
            .unwrap_or_else(|| std::rc::Rc::new([]))
    }

    fn noting_failure<T>(&self, result: Result<T, DebianError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.failure.borrow_mut().get_or_insert(error);
                None
            }
        }
    }

    /// Everyone whom a relation may be about: the package itself, then its providers.
    fn subjects(&self, relation: &Relation) -> Vec<NameId> {
        let name = relation.name.as_str();
        let providers = self.noting_failure(self.universe.providers(name));
        let mut subjects = Vec::new();
        // A purely virtual name has no package; it stays a subject where nobody provides it, to be explained.
        let real = self
            .noting_failure(self.universe.candidates(name))
            .is_some_and(|found| !found.is_empty());
        let nobody = providers.as_ref().is_none_or(|providers| providers.is_empty());
        if real || nobody {
            subjects.push(self.name(name));
        }
        subjects.extend(
            providers
                .iter()
                .flat_map(|providers| providers.iter())
                .map(|provider| self.name(provider)),
        );
        subjects
    }

    /// A clause as a requirement.
    pub(super) fn clause(&self, alternatives: &[Relation]) -> Option<ConditionalRequirement> {
        let mut sets = Vec::new();
        for relation in alternatives {
            for name in self.subjects(relation) {
                let filter = Filter::Meeting(relation.clone());
                let set = self.set(VersionSet {
                    name,
                    filter,
                    origin: relation.to_string(),
                });
                if !sets.contains(&set) {
                    sets.push(set);
                }
            }
        }
        match sets.as_slice() {
            [] => None,
            [only] => Some(Requirement::Single(*only).into()),
            _ => Some(Requirement::Union(self.union(sets)).into()),
        }
    }

    fn dependencies(&self, candidate: &Candidate) -> KnownDependencies {
        let stanza = &candidate.stanza;
        let requirements = stanza
            .depends
            .iter()
            .filter_map(|clause| self.clause(clause))
            .collect();
        let mut constrains = Vec::new();
        for (relation, verb) in stanza
            .breaks
            .iter()
            .map(|it| (it, "breaks"))
            .chain(stanza.conflicts.iter().map(|it| (it, "conflicts with")))
        {
            let others = self.subjects(relation).into_iter();
            for name in others.filter(|name| *self.name_text(*name) != *stanza.name.as_str()) {
                let filter = Filter::Avoiding(relation.clone());
                constrains.push(self.set(VersionSet {
                    name,
                    filter,
                    origin: format!("{verb} {relation}"),
                }));
            }
        }
        KnownDependencies {
            requirements,
            constrains,
        }
    }
}

impl Interner for Provider<'_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        let candidate = self.candidate(solvable);
        candidate
            .map(|it| format!("{} {}", it.stanza.name, it.stanza.version))
            .unwrap_or_default()
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.name_text(name).to_owned()
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        self.origin(version_set)
    }

    fn display_string(&self, _string_id: StringId) -> impl Display + '_ {
        ""
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        self.interned.borrow().sets[version_set.to_index()].name
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        self.interned.borrow().solvables[solvable.to_index()].0
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.interned.borrow().unions[union.to_index()]
            .clone()
            .into_iter()
    }

    fn resolve_condition(&self, condition: ConditionId) -> Condition {
        // No requirement here has a condition; the solver asks only for those it was given.
        Condition::Requirement(VersionSetId::from_index(condition.to_index()))
    }
}

impl DependencyProvider for Provider<'_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let Some(first) = candidates.first() else {
            return Vec::new();
        };
        let versions = self.candidates_of(self.solvable_name(*first));
        let interned = self.interned.borrow();
        let filter = &interned.sets[version_set.to_index()].filter;
        let admitted = |solvable: &&SolvableId| {
            let position = interned.solvables[solvable.to_index()].1;
            versions
                .get(position)
                .is_some_and(|candidate| filter.admits(&candidate.stanza))
                != inverse
        };
        candidates.iter().filter(admitted).copied().collect()
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        let count = self.candidates_of(name).len();
        let interned = &mut *self.interned.borrow_mut();
        let solvables = interned.solvables_of.entry(name).or_insert_with(|| {
            let first = interned.solvables.len();
            interned
                .solvables
                .extend((0..count).map(|position| (name, position)));
            (first..first + count).map(SolvableId::from_index).collect()
        });
        Some(Candidates {
            candidates: solvables.clone(),
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _solver: &SolverCache<Self>, solvables: &mut [SolvableId]) {
        // A package's candidates are numbered from its newest version on.
        solvables.sort();
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        let (name, position) = self.interned.borrow().solvables[solvable.to_index()];
        let versions = self.candidates_of(name);
        Dependencies::Known(
            versions
                .get(position)
                .map(|it| self.dependencies(it))
                .unwrap_or_default(),
        )
    }

    fn should_cancel_with_value(&self) -> Option<Box<dyn std::any::Any>> {
        let failed = self.failure.borrow().is_some();
        failed.then(|| Box::new(()) as Box<dyn std::any::Any>)
    }
}
