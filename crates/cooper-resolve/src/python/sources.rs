//! Sources in the place of a wheel: fetched, read, and recalled as the wheel that was built of them.

use std::collections::BTreeMap;

use cooper_core::plan::PlannedPython;
use cooper_core::python::DistributionVersion;
use cooper_core::source::{Built, PlannedSource};
use cooper_core::{BlobDigest, Digest, PythonName};
use cooper_store::FetchBlob;
use serde::{Deserialize, Serialize};

use super::built::BuiltWheel;
use super::driver::{Chosen, Solved};
use super::error::{PythonError, UnbuiltSource};
use super::metadata::Metadata;
use super::net::{Facts, Net};
use super::page::Archive;
use super::source::{self, SOURCE_BYTES_MAX, SourceReading};
use super::target::wheel_fits;
use super::young;

/// The cache's kind.
const READINGS: &str = "python-source";
/// Changes whenever the same sources would be read in another way.
const RULES: &str = "cooper-python-source 1";

/// What stands in the place of a wheel.
#[derive(Debug)]
pub(crate) enum SourceFacts {
    /// The wheel that was built of the sources.
    Built(Box<BuiltWheel>),
    /// How one is built.
    Unbuilt(Box<UnbuiltSource>),
}

/// [`source::read`]'s answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept(Result<SourceReading, String>);

impl Net {
    /// What is known of sources: from the wheel that was built of them, else from themselves.
    pub(super) fn load_source(
        &self,
        name: &PythonName,
        version: &DistributionVersion,
        archive: &Archive,
    ) -> Result<Facts, PythonError> {
        let unusable = |reason: &str| Ok(Facts::new(Err(reason.to_owned()), None));
        let Some(sha256) = archive.sha256 else {
            return unusable("has no wheel, and sources without a hash");
        };
        if let Some(built) = self.build.recall(&self.store, &BlobDigest::new(sha256)) {
            let reading = Metadata::parse(built.metadata.as_bytes(), name, version);
            return Ok(Facts {
                source: Some(SourceFacts::Built(Box::new(built))),
                ..Facts::new(reading, None)
            });
        }
        let size = match archive.size {
            Some(size) => size,
            None => self.size(archive)?,
        };
        if size > SOURCE_BYTES_MAX {
            return unusable("has no wheel, and its sources are larger than what is built");
        }
        let reading = match self.read_source(archive, &sha256, size)? {
            Ok(reading) => reading,
            Err(reason) => return unusable(&reason),
        };
        let unbuilt = UnbuiltSource {
            planned: PlannedSource {
                name: name.clone(),
                version: version.clone(),
                filename: archive.filename.clone(),
                size,
                sha256: Some(sha256),
                url: archive.url.clone(),
                yanked: archive.yanked.clone(),
                exactly_pinned: self.wishes.admission(name).exact.contains(version),
                uploaded: archive.uploaded,
                path: self
                    .wishes
                    .names(name)
                    .then(|| name.clone())
                    .into_iter()
                    .collect(),
                instead_of: self.nearest_instead_of(name, version, archive),
                project: self.page(name)?.project(),
            },
            requires: reading.requires,
            compiled: reading.compiled,
        };
        match reading.metadata {
            Some(metadata) => Ok(Facts {
                source: Some(SourceFacts::Unbuilt(Box::new(unbuilt))),
                ..Facts::new(Metadata::parse(metadata.as_bytes(), name, version), None)
            }),
            None => Err(PythonError::Unbuilt {
                sources: vec![unbuilt],
                beside: Vec::new(),
            }),
        }
    }

    /// Read the sources, in the store or fetched to it; the inner error is what is wrong with them.
    fn read_source(
        &self,
        archive: &Archive,
        sha256: &Digest,
        size: u64,
    ) -> Result<Result<SourceReading, String>, PythonError> {
        let key = format!("{RULES}\n{}\n{sha256}", archive.filename);
        let cached = self.store.cache_get(READINGS, &key);
        if let Some(Kept(reading)) = cached.and_then(|cached| serde_json::from_slice(&cached.bytes).ok()) {
            return Ok(reading);
        }
        let blob = BlobDigest::new(*sha256);
        if self.freshness.offline && !self.store.contains(&blob) {
            return Err(PythonError::Offline {
                what: archive.filename.clone(),
            });
        }
        let fetch = FetchBlob {
            urls: vec![archive.url.clone()],
            digest: *sha256,
            size,
            label: archive.filename.clone(),
        };
        let fetched = self.intake.fetch_blob(&self.store, &fetch, &|_| ());
        fetched.map_err(|source| PythonError::Metadata {
            filename: archive.filename.clone(),
            source,
        })?;
        let file = self.store.open_checked_blob(&blob);
        let file = file.map_err(|source| PythonError::StoredSource {
            filename: archive.filename.clone(),
            source,
        })?;
        let kept = Kept(source::read(std::io::BufReader::new(file), &archive.filename));
        if let Ok(bytes) = serde_json::to_vec(&kept) {
            self.keep(READINGS, &key, &bytes);
        }
        Ok(kept.0)
    }
}

/// The solution, if all of it are wheels, or those that have to become some.
pub(super) fn all_built(net: &Net, solved: Solved) -> Result<Solved, PythonError> {
    let unbuilt = solved.chosen.iter().filter_map(|(name, chosen)| {
        let Some(SourceFacts::Unbuilt(unbuilt)) = &chosen.facts.source else {
            return None;
        };
        Some((name, chosen, unbuilt))
    });
    let mut sources = Vec::new();
    let mut parents = None;
    for (name, chosen, unbuilt) in unbuilt {
        let parents = parents.get_or_insert_with(|| solved.parents(net));
        let mut unbuilt = (**unbuilt).clone();
        unbuilt.planned.path = path(name, parents);
        unbuilt.planned.instead_of = young::instead_of(net, &solved, name, chosen)?;
        unbuilt.planned.project = chosen.project(&*net.page(name)?);
        sources.push(unbuilt);
    }
    if sources.is_empty() {
        return Ok(solved);
    }
    tracing::debug!(base = %net.target.base, sources = sources.len(), "sources have to be built");
    let beside = super::planned(net, &solved, net.target.base)?;
    Err(PythonError::Unbuilt { sources, beside })
}

/// From what the request names to a distribution. Of each pair in `parents` the second needs the first; there is no ring.
fn path(name: &PythonName, parents: &BTreeMap<PythonName, PythonName>) -> Vec<PythonName> {
    let mut path = vec![name.clone()];
    while let Some(parent) = path.last().and_then(|last| parents.get(last)) {
        path.push(parent.clone());
    }
    path.reverse();
    path
}

/// A distribution of the plan whose wheel was built here.
pub(super) fn planned(
    net: &Net,
    solved: &Solved,
    (name, chosen): (&PythonName, &Chosen),
    built: &BuiltWheel,
    required_by: Option<&PythonName>,
) -> Result<PlannedPython, PythonError> {
    let archive = &chosen.archive;
    Ok(PlannedPython {
        name: name.clone(),
        version: chosen.version.clone(),
        filename: built.filename.clone(),
        size: built.size,
        sha256: Some(*built.sha256.digest()),
        url: archive.url.clone(),
        index: net.index_of(name)?,
        metadata: chosen.facts.reading.as_ref().ok().map(Metadata::digest),
        fits_platform: wheel_fits(&built.filename, net.target.base),
        yanked: archive.yanked.clone(),
        exactly_pinned: net.wishes.admission(name).exact.contains(&chosen.version),
        required_by: required_by.cloned(),
        uploaded: archive.uploaded,
        instead_of: young::instead_of(net, solved, name, chosen)?,
        project: chosen.project(&*net.page(name)?),
        built: Some(Box::new(Built {
            source: built.source.clone(),
            url: archive.url.clone(),
            environment: built.environment.clone(),
        })),
    })
}
