//! Solutions remembered: the same request within freshness costs one read of a small file.

use cooper_core::plan::{PlannedPython, ProjectFacts, Snapshot};
use cooper_core::python::DistributionVersion;
use cooper_core::source::Built;
use cooper_core::{BlobDigest, Clock, Digest, PythonName, PythonRequirement, Timestamp};
use cooper_store::Store;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use url::Url;

use super::{Asked, PythonSolution};
use crate::address::public;
use crate::context::{Context, Freshness};
use crate::ground::InstalledPython;

/// The cache's kind.
const KIND: &str = "python-solution";
/// Changes whenever the same pages may give another solution.
const RULES: &str = concat!("cooper-python-solution 7 of ", env!("CARGO_PKG_VERSION"));

/// Where one request's solution is remembered.
pub(super) struct Memo<'a> {
    store: &'a Store,
    clock: &'a dyn Clock,
    freshness: Freshness,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    /// The whole key again: the cache knows it only by its hash.
    key: String,
    digest: BlobDigest,
    fetched_at: Timestamp,
    python: Vec<Distribution>,
    notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Distribution {
    name: PythonName,
    version: DistributionVersion,
    filename: String,
    size: u64,
    sha256: Option<Digest>,
    url: Url,
    index: Option<Url>,
    metadata: Option<Digest>,
    yanked: Option<String>,
    exactly_pinned: bool,
    fits_platform: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    required_by: Option<PythonName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uploaded: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instead_of: Option<DistributionVersion>,
    project: ProjectFacts,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    built: Option<Box<Built>>,
}

impl<'a> Memo<'a> {
    pub(super) fn new(context: &Context<'a>, asked: &Asked<'_>) -> Self {
        let mut texts: Vec<&str> = asked.dependencies.iter().map(PythonRequirement::as_str).collect();
        texts.sort_unstable();
        let build_packages: Vec<String> = asked.build_packages.iter().map(ToString::to_string).collect();
        let indexes = context.sources.python_indexes.iter();
        let indexes: Vec<String> = indexes.map(|index| public(index).to_string()).collect();
        let mut key = format!(
            "{RULES}\n{}\n{}\n{}\n{}",
            indexes.join(" "),
            asked.base,
            build_packages.join(","),
            texts.join("\n")
        );
        if !asked.constraints.is_empty() || !asked.hashes.is_empty() {
            // What bounds the answer, in a form that nothing else has.
            let bounds = serde_json::to_vec(&(asked.constraints, asked.hashes)).unwrap_or_default();
            let _ = write!(key, "\nbounds {}", Digest::of(&bounds));
        }
        if let Some(known) = context.known {
            let how = if context.pass_over { "judged" } else { "dated" };
            let _ = write!(key, "\n{how} {}", known.candidate_key());
        }
        if !asked.installed.is_empty() {
            let there: Vec<String> = asked.installed.iter().map(InstalledPython::key).collect();
            let _ = write!(key, "\non {}", Digest::of(there.join("\n").as_bytes()));
        }
        Self {
            store: context.store,
            clock: context.clock,
            freshness: context.freshness,
            key,
        }
    }

    /// The remembered solution, if every page that it came from is young enough.
    pub(super) fn recall(&self) -> Option<PythonSolution> {
        let cached = self.store.cache_get(KIND, &self.key)?;
        let remembered: Remembered = serde_json::from_slice(&cached.bytes).ok()?;
        let fresh = self.freshness.holds(remembered.fetched_at, self.clock.now());
        if remembered.key != self.key || !fresh {
            return None;
        }
        let Remembered {
            digest,
            fetched_at,
            python,
            notes,
            ..
        } = remembered;
        let python = python.into_iter().map(Distribution::planned).collect();
        Some(PythonSolution {
            python,
            snapshot: Snapshot::Python { digest, fetched_at },
            notes,
        })
    }

    /// Remember a solution. A cache that cannot be written makes the next resolution slower, and nothing else.
    pub(super) fn keep(&self, solution: &PythonSolution) {
        let Snapshot::Python { digest, fetched_at } = solution.snapshot else {
            return;
        };
        let python = solution.python.iter().map(Distribution::from).collect();
        let notes = solution.notes.clone();
        let remembered = Remembered {
            key: self.key.clone(),
            digest,
            fetched_at,
            python,
            notes,
        };
        let kept = serde_json::to_vec(&remembered).map(|bytes| self.store.cache_put(KIND, &self.key, &bytes));
        if let Ok(Err(error)) = kept {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot remember a solution"
            );
        }
    }
}

impl Distribution {
    fn planned(self) -> PlannedPython {
        let Self {
            name,
            version,
            filename,
            size,
            sha256,
            url,
            index,
            metadata,
            yanked,
            exactly_pinned,
            fits_platform,
            required_by,
            uploaded,
            instead_of,
            project,
            built,
        } = self;
        PlannedPython {
            name,
            version,
            filename,
            size,
            sha256,
            url,
            index,
            metadata,
            fits_platform,
            yanked,
            exactly_pinned,
            required_by,
            uploaded,
            instead_of,
            project,
            built,
        }
    }
}

impl From<&PlannedPython> for Distribution {
    fn from(planned: &PlannedPython) -> Self {
        let planned = planned.clone();
        Self {
            name: planned.name,
            version: planned.version,
            filename: planned.filename,
            size: planned.size,
            sha256: planned.sha256,
            url: planned.url,
            index: planned.index,
            metadata: planned.metadata,
            yanked: planned.yanked,
            exactly_pinned: planned.exactly_pinned,
            fits_platform: planned.fits_platform,
            required_by: planned.required_by,
            uploaded: planned.uploaded,
            instead_of: planned.instead_of,
            project: planned.project,
            built: planned.built,
        }
    }
}
