//! The workshop itself: what it is made of, and how names are looked up in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use cooper_core::{BlobDigest, Clock, ImageName, ImageReference, ImageVersion, Organisation, VersionTag};
use cooper_gate::Policy;
use cooper_image::{Scripts, SourceLimits};
use cooper_resolve::{Context, Freshness, Later, Sources};
use cooper_store::{Intake, IntakeConfig, IntakeError, RefRecord, Store};
use url::Url;

use crate::debian_facts::DebianFacts;
use crate::due_diligence::OpenedEvidence;
use crate::record::{FullReference, ImageRecord, KeptImage};
use crate::summary;

/// What a workshop is opened with; where each value came from is the door's business.
#[derive(Debug, Clone)]
pub struct WorkshopConfig {
    /// The store's folder.
    pub store: PathBuf,
    /// The organisation of images made here, and of names without one.
    pub organisation: Organisation,
    /// The version part of new tags.
    pub version: ImageVersion,
    /// Where the indexes are.
    pub sources: Sources,
    /// The addresses of evidence for the gates: advisories, lists, scores, popular names.
    pub evidence: Vec<Url>,
    /// How old an index may be.
    pub freshness: Freshness,
    /// How bytes are fetched.
    pub intake: IntakeConfig,
    /// How maintainer scripts are run.
    pub scripts: Scripts,
    /// How much the building of a wheel may use.
    pub source_limits: SourceLimits,
    /// What holds, and what is only noted.
    pub policy: Policy,
    /// The policy's profile, where it is not the policy's own.
    pub profile: Option<String>,
    /// The program and its version, recorded in locks.
    pub program: String,
}

/// The verbs of Cooperage over one store.
pub struct Workshop {
    pub(crate) config: WorkshopConfig,
    pub(crate) store: Store,
    pub(crate) intake: Intake,
    pub(crate) clock: Arc<dyn Clock>,
    later: Later,
    pub(crate) opened_evidence: OnceLock<OpenedEvidence>,
    /// What was read of Debian packages already.
    pub(crate) debian_facts: Mutex<BTreeMap<BlobDigest, Arc<DebianFacts>>>,
}

/// Why a workshop cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store.
    #[error("cannot open the store")]
    Store(#[source] cooper_store::OpenError),
    /// The network settings.
    #[error("cannot use the network settings")]
    Intake(#[source] IntakeError),
}

/// Why an image is not found, or its record not read.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// There is no such image.
    #[error("there is no image `{reference}`")]
    Unknown {
        /// As it was asked.
        reference: ImageReference,
        /// Names that are near.
        near: Vec<String>,
    },
    /// The store could not be read.
    #[error("cannot read the record of `{name}`")]
    Store {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: cooper_store::RefError,
    },
    /// The record is not one of ours.
    #[error("the record of `{name}` cannot be understood")]
    Record {
        /// The image.
        name: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl LookupError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { near, .. } => match near.as_slice() {
                [] => {
                    Some("`cooper images` lists the images there are; `cooper create` makes one".to_owned())
                }
                near => Some(format!(
                    "did you mean {}? `cooper images` lists all",
                    near.join(" or ")
                )),
            },
            Self::Store { .. } | Self::Record { .. } => Some("run `cooper fsck`".to_owned()),
        }
    }
}

impl Workshop {
    /// Open the store and make ready; nothing is fetched.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn open(config: WorkshopConfig, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let store = Store::open(&config.store, Arc::clone(&clock)).map_err(OpenError::Store)?;
        let store = store.summarised_by(summary::line);
        let intake = Intake::new(config.intake.clone()).map_err(OpenError::Intake)?;
        Ok(Self {
            config,
            store,
            intake,
            clock,
            later: Later::default(),
            opened_evidence: OnceLock::new(),
            debian_facts: Mutex::default(),
        })
    }

    /// The store, for its paths.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What resolution works with.
    pub(crate) fn context<'a>(&'a self, progress: &'a cooper_core::Progress) -> Context<'a> {
        Context {
            store: &self.store,
            intake: &self.intake,
            clock: &*self.clock,
            sources: &self.config.sources,
            freshness: self.config.freshness,
            progress,
            later: &self.later,
            known: None,
            pass_over: false,
        }
    }

    /// Where the store is.
    pub fn store_folder(&self) -> &std::path::Path {
        &self.config.store
    }

    /// The version that a reference means now.
    ///
    /// # Errors
    /// When there is none.
    pub fn full_reference(&self, reference: &ImageReference) -> Result<FullReference, LookupError> {
        self.lookup(reference).map(|kept| kept.reference)
    }

    /// Find an image by what a user calls it; without a tag its newest version.
    pub(crate) fn lookup(&self, reference: &ImageReference) -> Result<KeptImage, LookupError> {
        let organisation = reference
            .organisation
            .as_ref()
            .unwrap_or(&self.config.organisation);
        let failed = |source| LookupError::Store {
            name: reference.to_string(),
            source,
        };
        let found = match &reference.tag {
            Some(tag) => {
                let record = self
                    .store
                    .version(organisation, &reference.name, tag)
                    .map_err(failed)?;
                record.map(|record| (tag.clone(), record))
            }
            None => self.store.newest(organisation, &reference.name).map_err(failed)?,
        };
        let Some((tag, record)) = found else {
            let near = self.near(&reference.name).unwrap_or_default();
            return Err(LookupError::Unknown {
                reference: reference.clone(),
                near,
            });
        };
        kept_image(organisation, &reference.name, tag, record)
    }

    /// Names like this one, at most three.
    fn near(&self, name: &ImageName) -> Result<Vec<String>, cooper_store::RefError> {
        let mut names: Vec<String> = self
            .store
            .images()?
            .into_iter()
            .filter(|(_, other, _)| {
                let other = other.as_str();
                other.contains(name.as_str()) || strsim::jaro_winkler(other, name.as_str()) > 0.85
            })
            .map(|(organisation, other, _)| {
                if organisation == self.config.organisation {
                    other.to_string()
                } else {
                    format!("{organisation}/{other}")
                }
            })
            .collect();
        names.sort();
        names.dedup();
        names.truncate(3);
        Ok(names.into_iter().map(|name| format!("`{name}`")).collect())
    }
}

pub(crate) fn kept_image(
    organisation: &Organisation,
    name: &ImageName,
    tag: VersionTag,
    record: RefRecord,
) -> Result<KeptImage, LookupError> {
    let reference = FullReference {
        organisation: organisation.clone(),
        name: name.clone(),
        tag,
    };
    let details: Result<ImageRecord, _> = serde_json::from_value(record.details);
    let details = details.map_err(|source| LookupError::Record {
        name: reference.to_string(),
        source,
    })?;
    Ok(KeptImage {
        reference,
        manifest: record.manifest,
        created_at: record.created_at,
        record: details,
    })
}
