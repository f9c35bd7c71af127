//! The two solves: the base alone, then the request with every version of the base as it is.

use std::collections::BTreeMap;

use cooper_core::plan::PlannedDebian;
use cooper_core::{Base, DebianName, DebianRequirement, DebianVersion};
use resolvo::{ConditionalRequirement, Problem, Solver, UnsolvableOrCancelled};

use super::error::DebianError;
use super::explain::{BasePackages, reasons, suggestions};
use super::provider::Provider;
use super::recommend::{Recommends, with_recommends};
use super::universe::{Candidate, Universe};

/// What a base has apart from Debian's essential packages and all that these need.
///
/// `python3` and its name `python`; `ca-certificates`, so that TLS works; `tzdata`, so that time zones do; `libstdc++6`,
/// which wheels for `manylinux` may take as given (PEP 513), as they may the C library and zlib, which the others
/// bring. The UTF-8 locale `C.UTF-8` is in `libc-bin`, which is essential.
pub const BASE_ROOTS: [&str; 5] = [
    "ca-certificates",
    "libstdc++6",
    "python-is-python3",
    "python3",
    "tzdata",
];

/// What bookworm needs besides: either this or `usrmerge`, which brings the whole of perl, must be there.
pub const BOOKWORM_ROOTS: [&str; 1] = ["usr-is-merged"];

/// Choose the packages of a base, sorted by name.
pub(super) fn solve_base(universe: &Universe, base: Base) -> Result<Vec<PlannedDebian>, DebianError> {
    let mut roots = universe.essential();
    roots.extend(BASE_ROOTS.map(str::to_owned));
    if base == Base::Bookworm {
        roots.extend(BOOKWORM_ROOTS.map(str::to_owned));
    }
    for root in &roots {
        if universe.candidates(root)?.is_empty()
            && let Ok(name) = root.parse()
        {
            return Err(DebianError::UnknownPackage {
                base,
                name,
                suggestions: Vec::new(),
            });
        }
    }
    let provider = Provider::new(universe);
    let requirements = roots.iter().map(|root| provider.require(root, None)).collect();
    let chosen = solve(provider, requirements, &BasePackages::default())?;
    Ok(chosen
        .iter()
        .map(|candidate| candidate.stanza.to_planned(candidate.suite))
        .collect())
}

/// What a request adds to a base.
#[derive(Debug)]
pub(super) struct Addition {
    /// The packages, sorted by name; none is in the base.
    pub(super) packages: Vec<PlannedDebian>,
    /// What the user should know about the choice.
    pub(super) notes: Vec<String>,
}

/// Choose what must be added to the packages that are there, so that it has what is asked. `image` is the image that
/// they are, where they are more than a base.
pub(super) fn solve_request<'p>(
    universe: &Universe,
    base: Base,
    image: Option<&str>,
    there: impl IntoIterator<Item = &'p PlannedDebian>,
    requests: &[DebianRequirement],
    recommends: Recommends,
) -> Result<Addition, DebianError> {
    let versions = there
        .into_iter()
        .map(|planned| (planned.name.to_string(), planned.version.clone()));
    let versions = BasePackages {
        image: image.map(str::to_owned),
        versions: versions.collect(),
    };
    let mut wishes = Wishes::read(universe, base, &versions, requests)?;
    if wishes.wanted.is_empty() {
        return Ok(Addition {
            packages: Vec::new(),
            notes: wishes.notes,
        });
    }
    let provider = Provider::new(universe);
    let fixed = versions
        .versions
        .iter()
        .map(|(name, version)| provider.require(name, Some(version)));
    let mut requirements: Vec<ConditionalRequirement> = fixed.collect();
    requirements.extend(
        wishes
            .wanted
            .iter()
            .map(|(name, version)| provider.require(name, version.as_ref())),
    );
    let mut chosen = solve(provider, requirements, &versions)?;
    if recommends == Recommends::Installed {
        let (more, notes) = with_recommends(universe, &versions, chosen)?;
        chosen = more;
        wishes.notes.extend(notes);
    }
    let added = chosen
        .iter()
        .filter(|candidate| !versions.versions.contains_key(candidate.stanza.name.as_str()));
    let packages = added
        .map(|candidate| candidate.stanza.to_planned(candidate.suite))
        .collect();
    Ok(Addition {
        packages,
        notes: wishes.notes,
    })
}

/// Requests as requirements on real packages that the base does not have.
struct Wishes {
    wanted: BTreeMap<String, Option<DebianVersion>>,
    notes: Vec<String>,
}

impl Wishes {
    fn read(
        universe: &Universe,
        base: Base,
        versions: &BasePackages,
        requests: &[DebianRequirement],
    ) -> Result<Self, DebianError> {
        let mut wishes = Self {
            wanted: BTreeMap::new(),
            notes: Vec::new(),
        };
        let (mut real, mut virtual_names) = (Vec::new(), Vec::new());
        for request in requests {
            let candidates = universe.candidates(request.name.as_str())?;
            if candidates.is_empty() {
                virtual_names.push(request);
            } else {
                real.push((request, candidates));
            }
        }
        for (request, candidates) in real {
            wishes.add_real(base, versions, request, &candidates)?;
        }
        for request in virtual_names {
            wishes.add_virtual(universe, base, versions, &request.name)?;
        }
        Ok(wishes)
    }

    fn add_real(
        &mut self,
        base: Base,
        versions: &BasePackages,
        request: &DebianRequirement,
        candidates: &[Candidate],
    ) -> Result<(), DebianError> {
        let DebianRequirement { name, version } = request.clone();
        let available = || {
            candidates
                .iter()
                .map(|candidate| candidate.stanza.version.clone())
        };
        if let Some(version) = &version
            && !available().any(|there| there == *version)
        {
            let (name, version, available) = (name, version.clone(), available().collect());
            return Err(DebianError::UnknownVersion {
                base,
                name,
                version,
                available,
            });
        }
        match (versions.versions.get(name.as_str()), version) {
            (Some(has), Some(version)) if *has != version => {
                return Err(DebianError::BaseVersion {
                    base: versions.image.clone().unwrap_or_else(|| base.to_string()),
                    name,
                    version,
                    base_version: has.clone(),
                });
            }
            (Some(has), _) => self
                .notes
                .push(format!("`{name}` is part of the base already, as {has}")),
            (None, version) => self.want(name, version)?,
        }
        Ok(())
    }

    fn want(&mut self, name: DebianName, version: Option<DebianVersion>) -> Result<(), DebianError> {
        let wanted = self.wanted.entry(name.to_string()).or_default();
        match (&wanted, version) {
            (Some(one), Some(other)) if *one != other => Err(DebianError::TwoVersions {
                name,
                versions: (one.clone(), other),
            }),
            (None, Some(version)) => {
                *wanted = Some(version);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A name that is no package itself: whoever is there provides it, or the only one that can.
    fn add_virtual(
        &mut self,
        universe: &Universe,
        base: Base,
        versions: &BasePackages,
        name: &DebianName,
    ) -> Result<(), DebianError> {
        let mut providers = Vec::new();
        for provider in universe.providers(name.as_str())?.iter() {
            let newest = universe.candidates(provider)?;
            if newest
                .first()
                .is_some_and(|newest| newest.stanza.provides(name, None))
            {
                providers.push(provider.clone());
            }
        }
        if let Some(provider) = providers
            .iter()
            .find(|provider| versions.versions.contains_key(*provider))
        {
            self.notes.push(format!(
                "`{name}` is provided by `{provider}`, which is part of the base"
            ));
            return Ok(());
        }
        if let Some(provider) = providers
            .iter()
            .find(|provider| self.wanted.contains_key(*provider))
        {
            self.notes.push(format!(
                "`{name}` is provided by `{provider}`, which is asked for"
            ));
            return Ok(());
        }
        let name = name.clone();
        match providers.as_slice() {
            [] => {
                let suggestions = suggestions(universe, name.as_str());
                Err(DebianError::UnknownPackage {
                    base,
                    name,
                    suggestions,
                })
            }
            [only] => {
                self.notes
                    .push(format!("`{name}` is provided by `{only}` alone, which is taken"));
                self.wanted.entry(only.clone()).or_default();
                Ok(())
            }
            _ => Err(DebianError::Virtual { name, providers }),
        }
    }
}

/// One solve: the chosen packages, sorted by name.
pub(super) fn solve(
    provider: Provider,
    requirements: Vec<ConditionalRequirement>,
    base: &BasePackages,
) -> Result<Vec<Candidate>, DebianError> {
    let mut solver = Solver::new(provider);
    match solver.solve(Problem::new().requirements(requirements)) {
        Ok(solution) => {
            let chosen = solution
                .into_iter()
                .filter_map(|solvable| solver.provider().candidate(solvable));
            let mut chosen: Vec<Candidate> = chosen.collect();
            chosen.sort_by(|a, b| a.stanza.name.cmp(&b.stanza.name));
            match solver.provider().take_failure() {
                Some(failure) => Err(failure),
                None => Ok(chosen),
            }
        }
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
            let reasons = reasons(&solver, &conflict, base);
            Err(solver
                .provider()
                .take_failure()
                .unwrap_or(DebianError::Unsatisfiable { reasons }))
        }
        Err(UnsolvableOrCancelled::Cancelled(_)) => {
            let nothing = DebianError::Unsatisfiable { reasons: Vec::new() };
            Err(solver.provider().take_failure().unwrap_or(nothing))
        }
    }
}
