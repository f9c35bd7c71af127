//! Removing versions, and what no version keeps any more.

use std::collections::BTreeMap;
use std::time::Duration;

use cooper_core::{BlobDigest, ImageName, ImagePattern, Organisation, Progress};
use cooper_store::{CacheKeeping, GcError, GcReport};
use serde::Deserialize;

use crate::inspect::InspectError;
use crate::record::FullReference;
use crate::summary::Listed;
use crate::workshop::{LookupError, Workshop};

/// Which versions are old enough to go. The newest version of a name never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How many of the newest versions of each name stay; 1 at least.
    pub keep: usize,
    /// Versions that are not older than this stay.
    pub older_than: Duration,
}

/// What a note about a made layer says of where the layer is.
#[derive(Deserialize)]
struct LayerNote {
    digest: BlobDigest,
}

impl Workshop {
    /// The versions whose `ORGANISATION/NAME:TAG`, or `NAME:TAG` in the own organisation, matches the pattern, sorted.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn matching(&self, pattern: &ImagePattern) -> Result<Vec<FullReference>, InspectError> {
        let matches = |image: &FullReference| {
            let own = image.organisation == self.config.organisation;
            pattern.matches(&image.to_string())
                || (own && pattern.matches(&format!("{}:{}", image.name, image.tag)))
        };
        let mut images = self.all_references()?;
        images.retain(matches);
        Ok(images)
    }

    /// The own organisation's versions that a retention lets go, sorted.
    ///
    /// # Errors
    /// When the names cannot be listed, or a record not be read.
    pub fn outdated(&self, retention: Retention) -> Result<Vec<FullReference>, InspectError> {
        let mut by_name: BTreeMap<(Organisation, ImageName), Vec<Listed>> = BTreeMap::new();
        let (images, unreadable) = self.listed(|image| image.organisation == self.config.organisation)?;
        if let Some(error) = unreadable.into_iter().next() {
            return Err(error.into());
        }
        for image in images {
            let name = (image.reference.organisation.clone(), image.reference.name.clone());
            by_name.entry(name).or_default().push(image);
        }
        let now = self.clock.now();
        let standing = self.standing()?;
        let mut outdated = Vec::new();
        for mut versions in by_name.into_values() {
            versions.truncate(versions.len().saturating_sub(retention.keep.max(1)));
            for image in versions {
                let age = now.as_second().saturating_sub(image.created_at.as_second());
                let old = u64::try_from(age).unwrap_or(0) >= retention.older_than.as_secs();
                // What others stand on goes when they are gone.
                if old && !standing.contains_key(&image.reference) {
                    outdated.push(image.reference);
                }
            }
        }
        Ok(outdated)
    }

    /// Remove versions: nothing names them any more, and their numbers are never given again. How many were there. What
    /// they alone kept goes with the next [`Workshop::collect`].
    ///
    /// # Errors
    /// When a name cannot be removed; those before it are.
    pub fn remove(&self, images: &[FullReference]) -> Result<usize, InspectError> {
        let names: Vec<_> = images
            .iter()
            .map(|image| (image.organisation.clone(), image.name.clone(), image.tag.clone()))
            .collect();
        let removed = self.store.remove_versions(&names);
        removed.map_err(|source| {
            let name = match images {
                [one] => one.to_string(),
                many => format!("one of {} images", many.len()),
            };
            LookupError::Store { name, source }.into()
        })
    }

    /// Remove every blob and tree that no version keeps, and entries of the cache that were not used for so long or
    /// tell of what is gone. Creates and runs go on meanwhile.
    ///
    /// # Errors
    /// When it cannot be told what the versions keep, or the store not be written.
    pub fn collect(&self, cache_unused_for: Duration, progress: &Progress) -> Result<GcReport, GcError> {
        let mut report = self.store.collect(progress)?;
        let keeping = CacheKeeping {
            unused_for: cache_unused_for,
            judged_kinds: &["layer"],
            is_of_use: &|_, note| self.has_layer(note),
        };
        self.store.collect_cache(&keeping, &mut report, progress)?;
        Ok(report)
    }

    /// Whether the layer of an assembler's note is in the store.
    fn has_layer(&self, note: &[u8]) -> bool {
        serde_json::from_slice::<LayerNote>(note).is_ok_and(|layer| self.store.contains(&layer.digest))
    }

    /// Every version, by organisation, name and version.
    fn all_references(&self) -> Result<Vec<FullReference>, InspectError> {
        let images = self.store.images().map_err(|source| LookupError::Store {
            name: self.config.organisation.to_string(),
            source,
        })?;
        let reference = |(organisation, name, tag)| FullReference {
            organisation,
            name,
            tag,
        };
        Ok(images.into_iter().map(reference).collect())
    }
}
