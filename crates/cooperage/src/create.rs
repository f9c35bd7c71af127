//! From a request, or from a lock, to a version tag.

use std::collections::BTreeSet;

use cooper_core::lock::{ArtefactOrigin, LockPlanError};
use cooper_core::plan::{PlannedImage, PlannedPython, Snapshot};
use cooper_core::{BlobDigest, Event, ImageName, Lock, LockDigest, Plan, Progress, Request};
use cooper_gate::licences;
use cooper_gate::{Cleared, Evidence, Known, Refusal, Verdict};
use cooper_image::{AssembleError, DebianCopyright, Image, Inventory, InventoryBelow};
use cooper_resolve::ResolveError;
use cooper_store::{
    FetchBlob, FetchError, LockError, ReadBlobError, RefError, RefRecord, Store, WriteBlobError,
};
use url::Url;

use crate::base_image::BaseImageError;
use crate::change::{Change, differences};
use crate::debian_facts::Reading;
use crate::due_diligence::DiligenceError;
use crate::inspect::InspectError;
use crate::metadata::OtherMetadata;
use crate::record::{FullReference, ImageRecord, KeptImage};
use crate::sources::SourceError;
use crate::workshop::{LookupError, Workshop};

/// The result of a create.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// The version tag: a new one, or the one that is the same already.
    pub image: FullReference,
    /// What it points at.
    pub digest: cooper_core::ManifestDigest,
    /// Whether a new version was made.
    pub created: bool,
    /// Bytes of the manifest, the configuration and the compressed layers.
    pub size_bytes: u64,
    /// What is inside.
    pub packages: Inventory,
    /// The version before this one, and what differs.
    pub changes: Option<(FullReference, Vec<Change>)>,
    /// What the gates said: of the plan now, or, of an image that is taken as it is, when it was made.
    pub verdict: Option<Verdict>,
    /// What the resolvers want the user to know.
    pub notes: Vec<String>,
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// No plan.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The image that was to be the base cannot be.
    #[error(transparent)]
    Base(#[from] BaseImageError),
    /// The lock file does not hold together.
    #[error("the lock cannot be used")]
    Lock(#[from] LockPlanError),
    /// The lock is of another format.
    #[error("the lock has format {found}; this program reads format {known}")]
    LockFormat {
        /// In the file.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The gates refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The gates could not be told what they need.
    #[error(transparent)]
    Diligence(#[from] DiligenceError),
    /// An artefact could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Artefacts were damaged in the store, and could not be fetched again.
    #[error("{} damaged in the store: put aside, and not to be fetched again", .artefacts.join(", "))]
    Refetch {
        /// Their file names and digests.
        artefacts: Vec<String>,
        /// Why not.
        source: FetchError,
    },
    /// Wheels could be installed and not be read to judge them.
    #[error("what the wheels of {} tell of themselves cannot be read: they are not judged, and no image is made", .wheels.join(", "))]
    Unread {
        /// The distributions.
        wheels: Vec<String>,
    },
    /// A wheel is not what resolution took it for.
    #[error(transparent)]
    Metadata(#[from] OtherMetadata),
    /// Sources could not be built to a wheel.
    #[error(transparent)]
    Source(Box<SourceError>),
    /// The image could not be assembled.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The store could not be written.
    #[error("cannot write to the store")]
    Write(#[from] WriteBlobError),
    /// The name could not be made.
    #[error("cannot make the version tag")]
    Name(#[from] RefError),
    /// The name could not be locked.
    #[error("cannot lock the image's name")]
    NameLock(#[from] LockError),
    /// An existing image could not be read.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// An artefact's address could not be made.
    #[error("no mirror is configured that could have {artefact}")]
    NoMirror {
        /// The file.
        artefact: String,
    },
    /// The lock names a size that is not the artefact's.
    #[error("the lock says that {artefact} has {size} bytes; it has {present}")]
    OtherSize {
        /// Its digest.
        artefact: String,
        /// In the store, where its digest is right.
        present: u64,
        /// In the lock.
        size: u64,
    },
    /// The lock or the record could not be written as JSON.
    #[error("cannot write JSON")]
    Json(#[source] serde_json::Error),
}

impl From<SourceError> for CreateError {
    fn from(error: SourceError) -> Self {
        match error {
            // Whoever is refused is refused, however deep.
            SourceError::Environment { source, .. } if source.refusal().is_some() => *source,
            error => Self::Source(Box::new(error)),
        }
    }
}

impl From<LookupError> for CreateError {
    fn from(error: LookupError) -> Self {
        Self::Inspect(InspectError::Lookup(error))
    }
}

impl CreateError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Resolve(error) => error.hint(),
            Self::Base(error) => error.hint(),
            Self::Refused(refusal) => refused_hint(refusal),
            Self::Diligence(error) => error.hint(),
            Self::Fetch(error) | Self::Refetch { source: error, .. } => error.hint(),
            Self::Assemble(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Metadata(_) => Some(OtherMetadata::hint()),
            Self::Unread { .. } => Some("ask for other versions of them".to_owned()),
            Self::Inspect(error) => error.hint(),
            Self::Lock(_) | Self::LockFormat { .. } | Self::OtherSize { .. } => {
                Some("make a lock with `cooper inspect IMAGE --lock`".to_owned())
            }
            Self::NoMirror { .. } => {
                Some(
                    "set `debian.mirrors`, or the `[[debian.source]]` that it came from, in cooper.toml; `cooper config` shows \
                     what is in force"
                        .to_owned(),
                )
            }
            Self::Write(_) | Self::Name(_) | Self::NameLock(_) | Self::Json(_) => Some(
                "check that the store is writable and the disk has room: `cooper config` shows where it is"
                    .to_owned(),
            ),
        }
    }

    /// Whether a gate refused, rather than something failed.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// What helps against the first thing that refuses, or could not be judged.
fn refused_hint(refusal: &Refusal) -> Option<String> {
    let verdict = refusal.verdict();
    let refusing = verdict.findings.iter().find(|finding| finding.refuses());
    refusing
        .map(|finding| finding.hint.clone())
        .or_else(|| verdict.unjudged.first().map(|unjudged| unjudged.hint.clone()))
}

/// Where a plan comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Request,
    Lock,
}

impl Workshop {
    /// Make an image for a request; nothing new when a version of that name has the same lock already.
    ///
    /// # Errors
    /// When it cannot be resolved, is refused, or cannot be built. Nothing is left behind, nothing is lost.
    pub fn create(&self, request: &Request, progress: &Progress) -> Result<Created, CreateError> {
        let resolution = self.resolve_whole(request, progress)?;
        let evidence = self.evidence(Some(request.name()))?;
        let mut created = self.build(&resolution.plan, &evidence, Source::Request, progress)?;
        created.notes = resolution.notes;
        Ok(created)
    }

    /// An image that is there, as a create would give it.
    ///
    /// # Errors
    /// When there is no such image, or its inventory cannot be read.
    pub fn reuse(&self, image: &FullReference) -> Result<Created, CreateError> {
        let kept = self.lookup(&image.clone().into())?;
        let verdict = self.verdict_of(&kept)?;
        self.existing(kept, verdict)
    }

    /// Make an image from a lock, under a name.
    ///
    /// # Errors
    /// As [`Workshop::create`]; also when the lock does not hold together.
    pub fn create_locked(
        &self,
        name: &ImageName,
        lock: &Lock,
        progress: &Progress,
    ) -> Result<Created, CreateError> {
        let known = cooper_core::lock::LOCK_FORMAT;
        if lock.cooper_lock != known {
            return Err(CreateError::LockFormat {
                found: lock.cooper_lock,
                known,
            });
        }
        let (mut plan, evidence) = self.reloaded(lock, Some(name))?;
        plan.request = plan.request.renamed(name.clone());
        self.build(&plan, &evidence, Source::Lock, progress)
    }

    fn build(
        &self,
        plan: &Plan,
        evidence: &Evidence,
        source: Source,
        progress: &Progress,
    ) -> Result<Created, CreateError> {
        let cleared = cooper_gate::evaluate(plan, evidence, &self.config.program)?;
        let name = plan.request.name();
        let digest = cleared.lock().content.digest();
        if let Some(same) = self.same_and_whole(name, digest)? {
            // Nothing is assembled, which would judge the artefacts.
            let (cleared, _) = self.judge_artefacts(cleared, Reading::Artefacts, &evidence.known)?;
            return self.already(same, &cleared);
        }
        let (mut image, cleared) = self.assemble(cleared, &plan.python, &evidence.known, progress)?;
        image.inventory.below = plan.below.iter().map(inventory_below).collect();
        self.find_packages(plan.release, &mut image.inventory.missing_libraries, progress);
        let _one_at_a_time = self
            .store
            .lock(&format!("image-{}-{name}", self.config.organisation))?;
        if let Some(same) = self.same_and_whole(name, digest)? {
            return self.already(same, &cleared);
        }
        self.publish(&cleared, &image, source)
    }

    /// Fetch what is missing, judge what only the artefacts tell, and assemble. An artefact that is damaged in the store is fetched again.
    pub(crate) fn assemble(
        &self,
        mut cleared: Cleared,
        python: &[PlannedPython],
        known: &Known,
        progress: &Progress,
    ) -> Result<(Image, Cleared), CreateError> {
        let mut replaced = BTreeSet::new();
        loop {
            self.rebuild_missing(&cleared, progress)?;
            if self.has_unread(cleared.lock()) {
                // Whoever reads the first text waits for it.
                std::thread::spawn(licences::prepare);
            }
            self.fetch(cleared.lock(), &replaced, progress)?;
            self.check_metadata(python)?;
            let (judged, unread) = self.judge_artefacts(cleared, Reading::Remembered, known)?;
            cleared = judged;
            let judge = |unpacked: &[DebianCopyright<'_>]| self.judge_unpacked(unpacked, &cleared, known);
            let image = cooper_image::assemble(&cleared, &self.store, self.config.scripts, &judge, progress);
            let error = match image {
                // Whatever can be installed can be read: nothing is made of what was not judged.
                Ok(_) if !unread.python.is_empty() => {
                    return Err(CreateError::Unread {
                        wheels: unread.python,
                    });
                }
                // Of layers that were there already, packages may be unread.
                Ok(image) => return Ok((image, self.judge_packages(cleared, known)?)),
                // One layer's packages are refused: say what the others' tell, too.
                Err(AssembleError::Refused(refusal)) => {
                    return Err(self
                        .judge_packages(cleared, known)
                        .err()
                        .unwrap_or(refusal)
                        .into());
                }
                Err(error) => error,
            };
            match error.corrupted_artefact() {
                Some(digest) if !self.config.intake.offline && replaced.insert(digest) => {
                    progress.send(Event::Warning {
                        text: format!("{error}: it is damaged in the store and is fetched again"),
                    });
                    self.store.set_aside_blob(&digest)?;
                }
                _ => return Err(error.into()),
            }
        }
    }

    /// The version of this name that was made here from this lock, and has all its blobs.
    pub(crate) fn same_and_whole(
        &self,
        name: &ImageName,
        lock: LockDigest,
    ) -> Result<Option<KeptImage>, CreateError> {
        let organisation = &self.config.organisation;
        for tag in self.store.versions(organisation, name)?.into_iter().rev() {
            let reference = FullReference {
                organisation: organisation.clone(),
                name: name.clone(),
                tag,
            };
            // A version that cannot be read is no reason to make no other.
            let Ok(kept) = self.lookup(&reference.into()) else {
                continue;
            };
            // One that came in an archive may say that it has any lock.
            if kept.record.lock == lock && kept.record.loaded.is_none() {
                let whole = self.is_whole(&kept)?;
                return Ok(whole.then_some(kept));
            }
        }
        Ok(None)
    }

    fn is_whole(&self, kept: &KeptImage) -> Result<bool, CreateError> {
        let FullReference {
            organisation,
            name,
            tag,
        } = &kept.reference;
        let record = self.store.version(organisation, name, tag)?;
        Ok(record.is_some_and(|record| record.blobs.iter().all(|blob| self.store.contains(blob))))
    }

    fn already(&self, kept: KeptImage, cleared: &Cleared) -> Result<Created, CreateError> {
        self.existing(kept, Some(cleared.verdict().clone()))
    }

    fn existing(&self, kept: KeptImage, verdict: Option<Verdict>) -> Result<Created, CreateError> {
        let packages = self.inventory(&kept)?;
        Ok(Created {
            image: kept.reference,
            digest: kept.manifest,
            created: false,
            size_bytes: kept.record.size_bytes,
            packages,
            changes: None,
            verdict,
            notes: Vec::new(),
        })
    }

    /// Bring every artefact of the lock into the store. Those that were put aside as damaged are told as that.
    fn fetch(
        &self,
        lock: &Lock,
        put_aside: &BTreeSet<BlobDigest>,
        progress: &Progress,
    ) -> Result<(), CreateError> {
        let (mut wanted, mut damaged) = (Vec::new(), put_aside.clone());
        for (digest, size) in lock.content.artefacts() {
            match self.store.blob_size(&digest) {
                Some(present) if present == size && self.store.renew_blob(&digest) => continue,
                Some(_)
                    if matches!(
                        self.store.open_checked_blob(&digest),
                        Err(ReadBlobError::Corrupted { .. })
                    ) =>
                {
                    self.store.set_aside_blob(&digest)?;
                    damaged.insert(digest);
                }
                Some(present) => {
                    return Err(CreateError::OtherSize {
                        artefact: digest.to_string(),
                        present,
                        size,
                    });
                }
                None => {}
            }
            let origin = lock.origin.artefacts.get(&digest);
            let (urls, label) = self.addresses(origin).ok_or_else(|| CreateError::NoMirror {
                artefact: digest.to_string(),
            })?;
            wanted.push(FetchBlob {
                urls,
                digest: *digest.digest(),
                size,
                label,
            });
        }
        let is_damaged = |want: &&FetchBlob| damaged.contains(&BlobDigest::new(want.digest));
        let artefacts: Vec<(BlobDigest, String)> = wanted
            .iter()
            .filter(is_damaged)
            .map(|want| (BlobDigest::new(want.digest), want.label.clone()))
            .collect();
        let fetched = self.intake.fetch_blobs(&self.store, wanted, progress);
        fetched.map_err(|error| self.told_of_damage(artefacts, error))
    }

    fn told_of_damage(&self, damaged: Vec<(BlobDigest, String)>, error: FetchError) -> CreateError {
        let missing = damaged
            .into_iter()
            .filter(|(digest, _)| !self.store.contains(digest));
        let artefacts: Vec<String> = missing
            .map(|(digest, label)| format!("{label} ({digest})"))
            .collect();
        if artefacts.is_empty() {
            return CreateError::Fetch(error);
        }
        CreateError::Refetch {
            artefacts,
            source: error,
        }
    }

    fn addresses(&self, origin: Option<&ArtefactOrigin>) -> Option<(Vec<Url>, String)> {
        match origin? {
            ArtefactOrigin::Debian { suite, path, .. } => {
                let mirrors = self.config.sources.mirrors(*suite).iter();
                let urls: Vec<Url> = mirrors
                    .filter_map(|mirror| below(mirror, path.as_str()))
                    .collect();
                (!urls.is_empty()).then(|| (urls, path.file_name().to_owned()))
            }
            ArtefactOrigin::Python { url, .. } => {
                let label = url
                    .path_segments()
                    .and_then(Iterator::last)
                    .unwrap_or("wheel")
                    .to_owned();
                Some((vec![url.clone()], label))
            }
        }
    }

    /// Write lock, inventory and record, and take the next version tag.
    fn publish(&self, cleared: &Cleared, image: &Image, source: Source) -> Result<Created, CreateError> {
        let lock = cleared.lock();
        let request = lock.origin.request.clone();
        let name = request.name().clone();
        let organisation = &self.config.organisation;
        // An earlier version that cannot be read is no reason to fail.
        let before = self
            .store
            .newest(organisation, &name)
            .ok()
            .flatten()
            .and_then(|(tag, _)| {
                let before = FullReference {
                    organisation: organisation.clone(),
                    name: name.clone(),
                    tag,
                };
                let old = self.inventory(&self.lookup(&before.clone().into()).ok()?).ok()?;
                Some((before, differences(&old, &image.inventory)))
            });
        let lock_file = self
            .store
            .put_blob(&serde_json::to_vec(lock).map_err(CreateError::Json)?)?;
        let inventory = self
            .store
            .put_blob(&serde_json::to_vec(&image.inventory).map_err(CreateError::Json)?)?;
        let verdict = self
            .store
            .put_blob(&serde_json::to_vec(cleared.verdict()).map_err(CreateError::Json)?)?;
        let record = ImageRecord {
            request,
            base: lock.origin.below.last().map(|below| below.image.clone()),
            locked: source == Source::Lock,
            loaded: None,
            lock: lock.content.digest(),
            lock_file,
            inventory,
            verdict: Some(verdict),
            config: image.config,
            layers: image.layers.iter().map(|layer| layer.diff_id).collect(),
            size_bytes: image.size_bytes,
            python_packages: image.inventory.python.len() as u64,
            debian_packages: image.inventory.debian.len() as u64,
        };
        let reference = RefRecord {
            manifest: image.manifest,
            blobs: kept_blobs(&self.store, lock, image, &record, self.evidence_blobs()),
            trees: record.layers.clone(),
            created_at: self.clock.now(),
            details: serde_json::to_value(&record).map_err(CreateError::Json)?,
        };
        let tag = self
            .store
            .create_version(organisation, &name, &self.config.version, &reference)?;
        Ok(Created {
            image: FullReference {
                organisation: organisation.clone(),
                name,
                tag,
            },
            digest: image.manifest,
            created: true,
            size_bytes: image.size_bytes,
            packages: image.inventory.clone(),
            changes: before,
            verdict: Some(cleared.verdict().clone()),
            notes: Vec::new(),
        })
    }
}

/// Everything that a version keeps alive. The signed indexes of its snapshots and the evidence of its verdict are among it
/// where they are in the store: they prove what its lock and its verdict say.
fn kept_blobs(
    store: &Store,
    lock: &Lock,
    image: &Image,
    record: &ImageRecord,
    evidence: Vec<BlobDigest>,
) -> Vec<cooper_core::BlobDigest> {
    let mut blobs = vec![
        image.manifest.into(),
        image.config.into(),
        record.lock_file,
        record.inventory,
    ];
    blobs.extend(record.verdict);
    blobs.extend(
        image
            .layers
            .iter()
            .map(|layer| cooper_core::BlobDigest::from(layer.digest)),
    );
    blobs.extend(lock.content.artefacts().map(|(digest, _)| digest));
    let sources = lock.content.sources().into_iter().map(|(digest, _)| digest);
    blobs.extend(sources.filter(|digest| store.renew_blob(digest)));
    let below = lock.origin.below.iter().flat_map(|below| &below.snapshots);
    let snapshots = lock.origin.snapshots.iter().chain(below);
    let signed = snapshots.filter_map(Snapshot::signed_file);
    blobs.extend(signed.filter(|digest| store.renew_blob(digest)));
    blobs.extend(evidence.into_iter().filter(|digest| store.renew_blob(digest)));
    blobs
}

/// What an image has because of one below it.
pub(crate) fn inventory_below(below: &PlannedImage) -> InventoryBelow {
    InventoryBelow {
        image: below.image.clone(),
        debian: below.packages.iter().map(|one| one.name.to_string()).collect(),
        python: below.python.iter().map(|one| one.name.to_string()).collect(),
    }
}

/// `path` below `root`, whether or not `root` ends with a slash.
fn below(root: &Url, path: &str) -> Option<Url> {
    let text = format!("{}/{path}", root.as_str().trim_end_matches('/'));
    Url::parse(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_below_the_mirror() {
        for root in ["http://mirror.test/debian", "http://mirror.test/debian/"] {
            let url = below(&root.parse().unwrap(), "pool/g++_4%3a14.deb").unwrap();
            assert_eq!(url.as_str(), "http://mirror.test/debian/pool/g++_4%3a14.deb");
        }
    }
}
