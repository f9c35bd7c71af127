//! Today's answer to what was asked of an image before.

use std::collections::BTreeSet;

use cooper_core::{BaseChoice, ImageName, ImageReference, ManifestDigest, Progress};

use cooper_gate::Verdict;

use crate::change::{Change, differences};
use crate::create::CreateError;
use crate::dry_run::planned;
use crate::inspect::InspectError;
use crate::record::FullReference;
use crate::workshop::{LookupError, Workshop};

/// What came of an update.
#[derive(Debug, Clone, PartialEq)]
pub struct Updated {
    /// The newest version before it.
    pub before: FullReference,
    /// What it did.
    pub outcome: UpdateOutcome,
    /// What the gates said, where they were asked.
    pub verdict: Option<Verdict>,
    /// What the resolvers want the user to know.
    pub notes: Vec<String>,
}

/// What an update did, or would do.
#[derive(Debug, Clone, PartialEq)]
pub enum UpdateOutcome {
    /// There is a new version.
    New {
        /// Its tag.
        image: FullReference,
        /// What it points at.
        digest: ManifestDigest,
        /// What differs from the version before.
        changes: Vec<Change>,
    },
    /// There would be a new version.
    Would {
        /// What would differ from the version before.
        changes: Vec<Change>,
    },
    /// The request has the same answer as before.
    Same,
    /// The image was made from a lock: it does not move.
    Locked,
}

impl Workshop {
    /// The names of the own organisation's images, sorted.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn image_names(&self) -> Result<Vec<ImageName>, InspectError> {
        let images = self.store.images().map_err(|source| LookupError::Store {
            name: self.config.organisation.to_string(),
            source,
        })?;
        let own = images
            .into_iter()
            .filter(|(organisation, ..)| *organisation == self.config.organisation);
        let names: BTreeSet<ImageName> = own.map(|(_, name, _)| name).collect();
        Ok(names.into_iter().collect())
    }

    /// The names of the own organisation's images in the order in which they are updated: by name, but an image whose
    /// newest version another one follows comes before that.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn update_order(&self) -> Result<Vec<ImageName>, InspectError> {
        let names = self.image_names()?;
        let known: BTreeSet<&ImageName> = names.iter().collect();
        let (mut ordered, mut done) = (Vec::new(), BTreeSet::new());
        for name in &names {
            let mut way = vec![name.clone()];
            while let Some(base) = way.last().and_then(|last| self.followed(last)) {
                if !known.contains(&base) || done.contains(&base) || way.contains(&base) {
                    break;
                }
                way.push(base);
            }
            ordered.extend(way.into_iter().rev().filter(|name| done.insert(name.clone())));
        }
        Ok(ordered)
    }

    /// The image whose newest version this one stands on. A record that cannot be read is told when it is updated.
    fn followed(&self, name: &ImageName) -> Option<ImageName> {
        let newest = ImageReference {
            organisation: Some(self.config.organisation.clone()),
            name: name.clone(),
            tag: None,
        };
        match self.lookup(&newest).ok()?.record.request.base() {
            BaseChoice::Image(base) if base.tag.is_none() => Some(base.name.clone()),
            BaseChoice::Image(_) | BaseChoice::Debian(_) => None,
        }
    }

    /// Resolve the request of an image's newest version again: a new version where the answer is another one. The old
    /// versions stay. With `dry_run` no version is made; what has to be built
    /// before it is known what it needs is built all the same.
    ///
    /// # Errors
    /// As [`Workshop::create`]; also when there is no such image.
    pub fn update(
        &self,
        name: &ImageName,
        dry_run: bool,
        progress: &Progress,
    ) -> Result<Updated, CreateError> {
        let kept = self.lookup(&ImageReference {
            organisation: Some(self.config.organisation.clone()),
            name: name.clone(),
            tag: None,
        })?;
        let before = kept.reference.clone();
        if kept.record.locked {
            return Ok(Updated {
                before,
                outcome: UpdateOutcome::Locked,
                verdict: None,
                notes: Vec::new(),
            });
        }
        let request = kept.record.request.clone();
        if !dry_run {
            let created = self.create(&request, progress)?;
            let changes = created.changes.map(|(_, changes)| changes);
            let outcome = if created.created {
                UpdateOutcome::New {
                    image: created.image,
                    digest: created.digest,
                    changes: changes.unwrap_or_default(),
                }
            } else {
                UpdateOutcome::Same
            };
            return Ok(Updated {
                before,
                outcome,
                verdict: created.verdict,
                notes: created.notes,
            });
        }
        let resolution = self.resolve_whole(&request, progress)?;
        let evidence = self.evidence(Some(name))?;
        let cleared = cooper_gate::evaluate(&resolution.plan, &evidence, &self.config.program)?;
        let outcome = if self
            .same_and_whole(name, cleared.lock().content.digest())?
            .is_some()
        {
            UpdateOutcome::Same
        } else {
            let changes = differences(&self.inventory(&kept)?, &planned(&resolution.plan));
            UpdateOutcome::Would { changes }
        };
        Ok(Updated {
            before,
            outcome,
            verdict: Some(cleared.verdict().clone()),
            notes: resolution.notes,
        })
    }
}
