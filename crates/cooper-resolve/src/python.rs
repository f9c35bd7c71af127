//! Python indexes and their solution.
//!
//! The flow: `wishes` (what the request says, for the target) → `net` (pages and metadata, each read once,
//! from the cache or the index; `ahead` reads them before they are asked for) → `policy` (which file of a
//! release the target may have, or why none) → `provider` (the index as the solver sees it) → `driver` (runs
//! the solver, checks its answer without it) → [`PythonSolution`], or `explain` and `suggest` say why not.
//!
//! Resolution is for the target, never the host, and nothing of what is resolved is run. Where a release has only
//! sources, `sources` fetches them and `source` reads them; that they have to be built is an answer of its own.
//! The same pages give the same solution, whatever was cached and however the network behaves.

mod ahead;
mod built;
mod default_index;
mod driver;
mod error;
mod explain;
mod html;
mod installed;
mod listed;
mod memo;
mod metadata;
mod net;
mod notes;
#[doc(hidden)]
pub mod outside;
mod page;
mod policy;
mod provider;
mod source;
mod sources;
mod suggest;
mod tail;
mod target;
mod wishes;
mod young;

use std::fmt::Write as _;

use cooper_core::plan::{PlannedPython, Snapshot};
use cooper_core::python::DistributionVersion;
use cooper_core::requirements::Hashes;
use cooper_core::{Base, BlobDigest, DebianRequirement, Digest, PythonName, PythonRequirement, Timestamp};

pub use built::{BuildTarget, BuiltWheel};
pub use default_index::default_index;
pub use error::{BaseConflict, OtherHash, PythonError, UnbuiltSource, Unlisted, Withdrawn};
pub use target::{wheel_fits, wheel_is};

use crate::context::Context;
use crate::ground::InstalledPython;
use ahead::ReadAhead;
use driver::Solved;
use memo::Memo;
use metadata::Metadata;
use net::Net;
use sources::SourceFacts;
use target::Target;
use wishes::Wishes;

/// The Python distributions that a request needs, and where the answer comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct PythonSolution {
    /// Sorted by name; each once.
    pub python: Vec<PlannedPython>,
    /// The pages that were read.
    pub snapshot: Snapshot,
    /// What the user should know: one sentence each.
    pub notes: Vec<String>,
}

/// What is asked for, and what bounds the answer.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The base whose interpreter and platform it is for.
    pub base: Base,
    /// What is asked for.
    pub dependencies: &'a [PythonRequirement],
    /// What bounds the versions of distributions that something else asks for.
    pub constraints: &'a [PythonRequirement],
    /// The hashes that the files of requirements and constraints may have. Once there is one, every file must have a
    /// hash that is listed.
    pub hashes: &'a Hashes,
    /// Debian packages that are there where wheels are built from sources.
    pub build_packages: &'a [DebianRequirement],
    /// What the base has already: it stays as it is.
    pub installed: &'a [InstalledPython],
}

impl<'a> Asked<'a> {
    /// Dependencies without bounds.
    pub fn plain(base: Base, dependencies: &'a [PythonRequirement]) -> Self {
        static NONE: Hashes = Hashes::new();
        Self {
            base,
            dependencies,
            constraints: &[],
            hashes: &NONE,
            build_packages: &[],
            installed: &[],
        }
    }

    /// How its sources are built.
    fn build_target(&self) -> BuildTarget {
        BuildTarget {
            base: self.base,
            packages: self.build_packages.to_vec(),
        }
    }
}

/// Choose a version and a wheel for everything that is asked for and all that it needs.
///
/// # Errors
/// [`PythonError::Unbuilt`] when sources have to be built to wheels first; whoever has done so
/// ([`BuildTarget::remember`]) resolves again. Else when a name is unknown, no version fits, the versions do not fit
/// together, no file has a hash that is listed, something that is needed is not listed where everything must be, or the
/// index cannot be read.
pub fn resolve(context: &Context, asked: &Asked<'_>) -> Result<PythonSolution, PythonError> {
    let base = asked.base;
    let memo = Memo::new(context, asked);
    if let Some(solution) = memo.recall() {
        return Ok(solution);
    }
    let target = Target::new(base).ok_or_else(|| PythonError::Inconsistent {
        detail: format!("{base} cannot be described"),
    })?;
    let wishes = Wishes::new(asked, &target);
    let ahead = ReadAhead(Net::new(context, target, wishes, asked.build_target()));
    let solved = driver::solve(&ahead, context.progress)?;
    tracing::debug!(
        distributions = solved.chosen.len(),
        pages = solved.pages.len(),
        runs = solved.runs,
        "solved"
    );
    let solution = PythonSolution {
        python: planned(&ahead.0, &solved, base)?,
        snapshot: snapshot(&ahead.0, &solved, context.clock.now())?,
        notes: notes::of(&ahead.0, &solved)?,
    };
    memo.keep(&solution);
    Ok(solution)
}

/// What [`PlannedPython::metadata`] is for a wheel with this METADATA.
///
/// # Errors
/// Why this cannot be the metadata of that distribution, as the end of a sentence.
pub fn metadata_digest(
    bytes: &[u8],
    name: &PythonName,
    version: &DistributionVersion,
) -> Result<Digest, String> {
    Metadata::parse(&metadata::reduce(bytes), name, version).map(|metadata| metadata.digest())
}

/// What is added, as far as it is no sources that have to be built first.
fn planned(net: &Net, solved: &Solved, base: Base) -> Result<Vec<PlannedPython>, PythonError> {
    let parents = solved.parents(net);
    let added = solved.chosen.iter();
    let added = added.filter(|(name, chosen)| {
        let is_unbuilt = matches!(chosen.facts.source, Some(SourceFacts::Unbuilt(_)));
        !is_unbuilt && !net.wishes.installed.contains_key(*name)
    });
    let planned = added.map(|(name, chosen)| {
        let archive = &chosen.archive;
        if let Some(SourceFacts::Built(built)) = &chosen.facts.source {
            return sources::planned(net, solved, (name, chosen), built, parents.get(name));
        }
        let size = match archive.size.or(chosen.facts.size) {
            Some(size) => size,
            None => net.size(archive)?,
        };
        Ok(PlannedPython {
            name: name.clone(),
            version: chosen.version.clone(),
            filename: archive.filename.clone(),
            size,
            sha256: archive.sha256,
            url: archive.url.clone(),
            index: net.index_of(name)?,
            metadata: chosen.facts.reading.as_ref().ok().map(Metadata::digest),
            fits_platform: wheel_fits(&archive.filename, base),
            yanked: archive.yanked.clone(),
            exactly_pinned: net.wishes.admission(name).exact.contains(&chosen.version),
            required_by: parents.get(name).cloned(),
            uploaded: archive.uploaded,
            instead_of: young::instead_of(net, solved, name, chosen)?,
            project: chosen.project(&*net.page(name)?),
            built: None,
        })
    });
    planned.collect()
}

/// The digest over the pages that the solver asked for, and the time of the oldest.
fn snapshot(net: &Net, solved: &Solved, now: Timestamp) -> Result<Snapshot, PythonError> {
    let mut lines = String::new();
    let mut fetched_at = now;
    for name in &solved.pages {
        let page = net.page(name)?;
        fetched_at = fetched_at.min(page.fetched_at);
        let _ = writeln!(lines, "{name} {}", page.digest);
    }
    Ok(Snapshot::Python {
        digest: BlobDigest::of(lines.as_bytes()),
        fetched_at,
    })
}
