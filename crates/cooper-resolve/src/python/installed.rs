//! Distributions that the base has: each is a project with one version, read from the base itself.

use std::sync::Arc;

use cooper_core::python::DistributionVersion;
use cooper_core::{BlobDigest, Timestamp};

use super::error::{BaseConflict, PythonError};
use super::metadata::{self, Metadata, Need};
use super::net::Facts;
use super::page::{Archive, Offer, Page, Release, SideMetadata};
use super::wishes::Wishes;
use crate::ground::InstalledPython;

/// One distribution of the base.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    pub(crate) version: DistributionVersion,
    /// The image that it is a part of.
    pub(crate) image: String,
    wheel: Archive,
    metadata: BlobDigest,
    facts: Arc<Facts>,
}

impl Installed {
    pub(crate) fn new(installed: &InstalledPython) -> Self {
        let planned = &installed.planned;
        let kept = metadata::reduce(&installed.metadata);
        Self {
            version: planned.version.clone(),
            image: installed.image.to_string(),
            wheel: Archive {
                filename: planned.filename.clone(),
                url: planned.url.clone(),
                size: Some(planned.size),
                sha256: planned.sha256,
                metadata: SideMetadata::None,
                yanked: None,
                uploaded: planned.uploaded,
            },
            metadata: BlobDigest::of(&installed.metadata),
            facts: Arc::new(Facts::new(
                Metadata::parse(&kept, &planned.name, &planned.version),
                Some(planned.size),
            )),
        }
    }

    /// The project as if an index had it.
    pub(super) fn page(&self, now: Timestamp) -> Page {
        Page {
            index: 0,
            digest: self.metadata,
            fetched_at: now,
            exists: true,
            releases: vec![Release {
                version: self.version.clone(),
                offer: Offer::Wheel(Box::new(self.wheel.clone())),
            }],
        }
    }

    pub(super) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts)
    }
}

/// A requirement of the request on what the base has: met, or told as a conflict with the base.
pub(super) fn check(wishes: &Wishes, need: &Need, installed: &Installed) -> Result<(), PythonError> {
    let bounds = wishes.said_of(&need.name);
    let unmet = std::iter::once(need)
        .chain(bounds)
        .find(|need| !need.specifiers.contains(&installed.version));
    let Some(unmet) = unmet else {
        return Ok(());
    };
    Err(PythonError::BaseConflict(Box::new(BaseConflict {
        name: need.name.clone(),
        requirement: unmet.shown(),
        image: installed.image.clone(),
        version: installed.version.to_string(),
    })))
}
