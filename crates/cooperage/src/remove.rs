//! Removing versions, and what no version keeps any more.

use std::collections::BTreeMap;
use std::time::Duration;

use cooper_core::{ImageName, ImagePattern, Organisation, Progress};
use cooper_store::{GcError, GcReport};

use crate::inspect::InspectError;
use crate::record::FullReference;
use crate::workshop::{LookupError, Workshop};

/// Which versions are old enough to go. The newest version of a name never is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// How many of the newest versions of each name stay; 1 at least.
    pub keep: usize,
    /// Versions that are not older than this stay.
    pub older_than: Duration,
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
        let mut by_name: BTreeMap<(Organisation, ImageName), Vec<FullReference>> = BTreeMap::new();
        for image in self.all_references()? {
            if image.organisation == self.config.organisation {
                let name = (image.organisation.clone(), image.name.clone());
                by_name.entry(name).or_default().push(image);
            }
        }
        let now = self.clock.now();
        let standing = self.standing()?;
        let mut outdated = Vec::new();
        for mut versions in by_name.into_values() {
            versions.truncate(versions.len().saturating_sub(retention.keep.max(1)));
            for image in versions {
                let kept = self.lookup(&image.clone().into())?;
                let age = now.as_second().saturating_sub(kept.created_at.as_second());
                let old = u64::try_from(age).unwrap_or(0) >= retention.older_than.as_secs();
                // What others stand on goes when they are gone.
                if old && !standing.contains_key(&image) {
                    outdated.push(image);
                }
            }
        }
        Ok(outdated)
    }

    /// Remove a version: nothing names it any more, and its number is never given again. Whether it was there. What it
    /// alone kept goes with the next [`Workshop::collect`].
    ///
    /// # Errors
    /// When the name cannot be removed.
    pub fn remove(&self, image: &FullReference) -> Result<bool, InspectError> {
        let FullReference {
            organisation,
            name,
            tag,
        } = image;
        let removed = self.store.remove_version(organisation, name, tag);
        removed.map_err(|source| {
            let name = image.to_string();
            LookupError::Store { name, source }.into()
        })
    }

    /// Remove every blob and tree that no version keeps. Creates and runs go on meanwhile.
    ///
    /// # Errors
    /// When it cannot be told what the versions keep, or the store not be written.
    pub fn collect(&self, progress: &Progress) -> Result<GcReport, GcError> {
        self.store.collect(progress)
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
