//! All packages of a base's suites as one: what a name stands for, and who provides it.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use cooper_core::DebianName;
use cooper_core::base::Suite;

use super::error::DebianError;
use super::index::PackageIndex;
use super::stanza::Stanza;

/// One version of a package in one suite.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// The suite.
    pub(super) suite: Suite,
    /// The stanza.
    pub(super) stanza: Stanza,
}

/// The packages of several suites. Stanzas are read when a name is asked for, once.
pub(super) struct Universe {
    indexes: Vec<(Suite, PackageIndex)>,
    /// The only packages that a suite may give, where not all.
    admitted: BTreeMap<Suite, BTreeSet<DebianName>>,
    candidates: RefCell<HashMap<String, Rc<[Candidate]>>>,
    providers: RefCell<HashMap<String, Rc<[String]>>>,
}

impl Universe {
    /// The packages of these suites; where two have one version of a package, the first counts.
    pub(super) fn new(indexes: Vec<(Suite, PackageIndex)>) -> Self {
        Self {
            indexes,
            admitted: BTreeMap::new(),
            candidates: RefCell::default(),
            providers: RefCell::default(),
        }
    }

    /// Add suites after the others; `admitted` gives the only packages of each, none for all.
    pub(super) fn add(
        &mut self,
        indexes: Vec<(Suite, PackageIndex)>,
        admitted: impl Fn(Suite) -> BTreeSet<DebianName>,
    ) {
        for (suite, index) in indexes {
            self.admitted.insert(suite, admitted(suite));
            self.indexes.push((suite, index));
        }
        self.candidates.borrow_mut().clear();
        self.providers.borrow_mut().clear();
    }

    fn admits(&self, suite: Suite, name: &str) -> bool {
        let only = self.admitted.get(&suite).filter(|only| !only.is_empty());
        only.is_none_or(|only| only.iter().any(|admitted| admitted.as_str() == name))
    }

    /// The versions of a package, the newest first; none if the name is unknown or only virtual.
    pub(super) fn candidates(&self, name: &str) -> Result<Rc<[Candidate]>, DebianError> {
        if let Some(known) = self.candidates.borrow().get(name) {
            return Ok(Rc::clone(known));
        }
        let mut found = Vec::new();
        let admitting = self.indexes.iter().filter(|(suite, _)| self.admits(*suite, name));
        for (suite, index) in admitting {
            for at in index.find(name) {
                let stanza = index.read(at).map_err(|source| DebianError::Damaged {
                    suite: *suite,
                    source,
                })?;
                match stanza {
                    Ok(stanza) if stanza.name.as_str() == name => found.push(Candidate {
                        suite: *suite,
                        stanza,
                    }),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%suite, name, %error, "a package cannot be read and is left out");
                    }
                }
            }
        }
        found.sort_by(|a, b| b.stanza.version.cmp(&a.stanza.version));
        found.dedup_by(|later, kept| later.stanza.version == kept.stanza.version);
        let found: Rc<[Candidate]> = found.into();
        self.candidates
            .borrow_mut()
            .insert(name.to_owned(), Rc::clone(&found));
        Ok(found)
    }

    /// The packages that provide a name in some version, in apt's order of preference, the name's own package
    /// not among them: essential ones first, then by priority, then as the index lists them.
    pub(super) fn providers(&self, name: &str) -> Result<Rc<[String]>, DebianError> {
        if let Some(known) = self.providers.borrow().get(name) {
            return Ok(Rc::clone(known));
        }
        let mut names: Vec<&str> = Vec::new();
        for (_, index) in &self.indexes {
            for provider in index.providers(name).map(|at| index.name(at)) {
                if provider != name && !names.contains(&provider) {
                    names.push(provider);
                }
            }
        }
        let mut ranked = Vec::new();
        for (position, provider) in names.into_iter().enumerate() {
            if let Some(best) = self.candidates(provider)?.first() {
                ranked.push((
                    Reverse(best.stanza.essential),
                    best.stanza.priority,
                    position,
                    provider.to_owned(),
                ));
            }
        }
        ranked.sort();
        let found: Rc<[String]> = ranked.into_iter().map(|(.., provider)| provider).collect();
        self.providers
            .borrow_mut()
            .insert(name.to_owned(), Rc::clone(&found));
        Ok(found)
    }

    /// The packages that every system has.
    pub(super) fn essential(&self) -> BTreeSet<String> {
        let of_suite = |index: &PackageIndex| {
            index
                .essential()
                .map(|at| index.name(at).to_owned())
                .collect::<Vec<_>>()
        };
        self.indexes
            .iter()
            .flat_map(|(_, index)| of_suite(index))
            .collect()
    }

    /// Every name, real and virtual, in no order, with repetitions.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.indexes.iter().flat_map(|(_, index)| index.names())
    }
}
