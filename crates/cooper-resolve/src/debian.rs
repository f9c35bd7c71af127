//! Debian indexes and their solution.
//!
//! ```text
//! snapshots   three InRelease files: fetched or reused, signatures checked      openpgp, release, snapshot
//! indexes     the packages that they list, in compact form                      unpack, index, archive
//! universe    all versions of all packages by name; stanzas read when needed    stanza, relation, universe
//! solution    the base alone, then the request on top of it                     provider, solve, recommend, explain
//! ```
//!
//! The whole solution is kept under the digests of the three files, so that the same request costs next to
//! nothing until one of them changes.

mod archive;
mod contents;
mod error;
mod explain;
mod installed;
mod library;
mod memo;
mod planned;
mod recheck;
mod recommend;
mod snapshot;

#[doc(hidden)]
pub mod index;
#[doc(hidden)]
pub mod openpgp;
mod provider;
#[doc(hidden)]
pub mod relation;
#[doc(hidden)]
pub mod release;
mod solve;
#[doc(hidden)]
pub mod stanza;
mod universe;
#[doc(hidden)]
pub mod unpack;

pub use error::DebianError;
pub use library::packages_with;
pub use recheck::{Rechecked, recheck};
pub use recommend::Recommends;
pub use solve::{BASE_ROOTS, BOOKWORM_ROOTS};

use cooper_core::base::Suite;
use cooper_core::plan::{PlannedDebian, Snapshot};
use cooper_core::{Base, DebianRequirement};

use crate::context::Context;
use crate::ground::GroundImage;
use archive::Reuse;
use index::PackageIndex;
use installed::Installed;
use planned::{KeptAddition, KeptPackage};
use snapshot::SuiteSnapshot;
use solve::Addition;
use universe::Universe;

const BASE: &str = "debian-base";
const SOLUTION: &str = "debian-solution";

/// The Debian side of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianSolution {
    /// The base's packages, sorted by name.
    pub base: Vec<PlannedDebian>,
    /// What the request adds, sorted by name.
    pub packages: Vec<PlannedDebian>,
    /// The suites that were read, in the order of [`Base::suites`].
    pub snapshots: Vec<Snapshot>,
    /// What the user should know about the choice.
    pub notes: Vec<String>,
}

/// Get the present state of a base's suites without reading their packages: fetched, or reused where they are
/// fresh enough. Their digests tell whether a solution is still the same.
pub fn snapshots(context: &Context, base: Base) -> Result<Vec<Snapshot>, DebianError> {
    let snapshots = snapshot::snapshots(context, base)?;
    Ok(snapshots.iter().map(SuiteSnapshot::evidence).collect())
}

/// Choose the Debian packages of an image: its base, and what a request adds to it.
///
/// # Errors
/// When an index cannot be fetched or trusted, a package or version is unknown, or the wishes exclude each other.
pub fn resolve(
    context: &Context,
    base: Base,
    packages: &[DebianRequirement],
    recommends: Recommends,
) -> Result<DebianSolution, DebianError> {
    resolve_with(context, base, None, packages, recommends)
}

/// Choose what a request adds to an image that is there. Every package of the image stays as it is.
///
/// # Errors
/// As [`resolve`]; also when the image's package database is not that of its lock.
pub fn resolve_on(
    context: &Context,
    image: &GroundImage,
    packages: &[DebianRequirement],
    recommends: Recommends,
) -> Result<DebianSolution, DebianError> {
    resolve_with(
        context,
        image.release,
        Some(&Installed::read(image)?),
        packages,
        recommends,
    )
}

fn resolve_with(
    context: &Context,
    base: Base,
    installed: Option<&Installed<'_>>,
    packages: &[DebianRequirement],
    recommends: Recommends,
) -> Result<DebianSolution, DebianError> {
    let snapshots = snapshot::snapshots(context, base)?;
    let attempt = Attempt {
        context,
        base,
        installed,
        snapshots: &snapshots,
        recommends,
    };
    let (base_packages, addition) = match attempt.solve(packages, Reuse::Kept) {
        // Found while it was read: what is kept is damaged. Make it anew, once.
        Err(DebianError::Damaged { suite, source }) => {
            tracing::warn!(%suite, ?source, "the kept packages are damaged and are made anew");
            attempt.solve(packages, Reuse::Nothing)?
        }
        solved => solved?,
    };
    Ok(DebianSolution {
        base: base_packages,
        packages: addition.packages,
        snapshots: snapshots.iter().map(SuiteSnapshot::evidence).collect(),
        notes: addition.notes,
    })
}

/// Choose over index texts that are at hand, on top of a base that has these packages: the solver without
/// archives, for its tests.
#[doc(hidden)]
pub fn solve_texts(
    base: Base,
    texts: &[(Suite, &[u8])],
    base_packages: &[PlannedDebian],
    requests: &[DebianRequirement],
) -> Result<Vec<PlannedDebian>, DebianError> {
    let open = |(suite, text): &(Suite, &[u8])| {
        let suite = *suite;
        let compact = index::build(text).map_err(|source| DebianError::Index { suite, source })?;
        let index = index::PackageIndex::from_bytes(compact);
        Ok((
            suite,
            index.map_err(|source| DebianError::Damaged { suite, source })?,
        ))
    };
    let universe = Universe::new(texts.iter().map(open).collect::<Result<_, DebianError>>()?);
    solve::solve_request(
        &universe,
        base,
        None,
        base_packages,
        requests,
        Recommends::LeftOut,
    )
    .map(|addition| addition.packages)
}

struct Attempt<'a> {
    context: &'a Context<'a>,
    base: Base,
    installed: Option<&'a Installed<'a>>,
    snapshots: &'a [SuiteSnapshot],
    recommends: Recommends,
}

impl Attempt<'_> {
    fn solve(
        &self,
        requests: &[DebianRequirement],
        reuse: Reuse,
    ) -> Result<(Vec<PlannedDebian>, Addition), DebianError> {
        if let Some(installed) = self.installed {
            let addition = self.solve_on(installed, requests, reuse)?;
            return Ok((installed.image.base.clone(), addition));
        }
        let store = self.context.store;
        let (base_key, key) = (self.base_key(), self.addition_key(requests));
        let base =
            memo::recall::<Vec<KeptPackage>>(store, BASE, &base_key).map(|(kept, _)| planned::restore(kept));
        let addition = memo::recall::<KeptAddition>(store, SOLUTION, &key).map(|(kept, _)| kept.restore());
        if let (Some(base), Some(addition)) = (&base, addition) {
            return Ok((base.clone(), addition));
        }
        let indexes = archive::open(self.context, self.snapshots, reuse)?;
        let (of_debian, of_sources) = indexes
            .into_iter()
            .partition(|(suite, _)| suite.source().is_none());
        let mut universe = Universe::new(of_debian);
        // What other archives have changes no base: it is shared, and all of it is Debian's.
        let base = base.map_or_else(|| self.make_base(&universe), Ok)?;
        self.add_sources(&mut universe, of_sources);
        let addition = solve::solve_request(&universe, self.base, None, &base, requests, self.recommends)?;
        memo::keep(store, SOLUTION, &key, &KeptAddition::of(&addition));
        Ok((base, addition))
    }

    fn solve_on(
        &self,
        installed: &Installed<'_>,
        requests: &[DebianRequirement],
        reuse: Reuse,
    ) -> Result<Addition, DebianError> {
        let store = self.context.store;
        let key = format!("{} on {}", self.addition_key(requests), installed.digest());
        if let Some((kept, _)) = memo::recall::<KeptAddition>(store, SOLUTION, &key) {
            return Ok(kept.restore());
        }
        // What is there comes first: of one version, its own stanza counts.
        let mut indexes = vec![installed.index()?];
        let opened = archive::open(self.context, self.snapshots, reuse)?;
        let (of_debian, of_sources): (Vec<_>, Vec<_>) = opened
            .into_iter()
            .partition(|(suite, _)| suite.source().is_none());
        indexes.extend(of_debian);
        let mut universe = Universe::new(indexes);
        self.add_sources(&mut universe, of_sources);
        let image = installed.image.image.to_string();
        let there = installed.image.debian();
        let addition = solve::solve_request(
            &universe,
            self.base,
            Some(&image),
            there,
            requests,
            self.recommends,
        )?;
        memo::keep(store, SOLUTION, &key, &KeptAddition::of(&addition));
        Ok(addition)
    }

    fn add_sources(&self, universe: &mut Universe, of_sources: Vec<(Suite, PackageIndex)>) {
        universe.add(of_sources, |suite| {
            let source = self.context.sources.source(suite);
            source.map(|source| source.packages.clone()).unwrap_or_default()
        });
    }

    fn addition_key(&self, requests: &[DebianRequirement]) -> String {
        let key = self.key(requests);
        match self.recommends {
            Recommends::LeftOut => key,
            // No package has such a name.
            Recommends::Installed => key + " +recommends",
        }
    }

    fn make_base(&self, universe: &Universe) -> Result<Vec<PlannedDebian>, DebianError> {
        let base = solve::solve_base(universe, self.base)?;
        memo::keep(self.context.store, BASE, &self.base_key(), &planned::kept(&base));
        Ok(base)
    }

    /// What a base depends on, apart from this code.
    fn base_key(&self) -> String {
        let mut parts = vec![self.base.to_string()];
        let of_debian = self
            .snapshots
            .iter()
            .filter(|snapshot| snapshot.suite.source().is_none());
        parts.extend(of_debian.map(|snapshot| snapshot.signed.digest.to_string()));
        parts.join(" ")
    }

    /// What a solution depends on, apart from this code.
    fn key(&self, requests: &[DebianRequirement]) -> String {
        let mut wishes: Vec<String> = requests.iter().map(ToString::to_string).collect();
        wishes.sort();
        wishes.dedup();
        let of_source = |snapshot: &SuiteSnapshot| {
            let source = self.context.sources.source(snapshot.suite)?;
            let packages = source
                .packages
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>();
            Some(format!(
                "{} {} [{}]",
                snapshot.suite,
                snapshot.signed.digest,
                packages.join(",")
            ))
        };
        let parts = std::iter::once(self.base_key())
            .chain(self.snapshots.iter().filter_map(of_source))
            .chain(wishes);
        parts.collect::<Vec<_>>().join(" ")
    }
}
