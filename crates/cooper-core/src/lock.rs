//! The lock: exactly which artefacts an image is made of.
//!
//! A lock has two parts. [`LockContent`] is hashed: artefacts in order with their digests, the base's own
//! full list, the recipe and the compressor. Sameness, tags and the image's digest depend on it alone.
//! [`LockOrigin`] is not: what was asked, the snapshots, when and by which program, where each artefact
//! came from. A moved mirror or another day changes the origin and leaves the image's bytes as they are.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::base::{Base, Suite};
use crate::base_choice::BaseChoice;
use crate::debian::{DebianName, DebianVersion};
use crate::digest::{BlobDigest, LockDigest};
use crate::name::ImageReference;
use crate::plan::{
    Plan, PlannedDebian, PlannedImage, PlannedPython, PoolPath, ProjectFacts, Snapshot, SourcePackage,
};
use crate::python::{DistributionVersion, PythonName};
use crate::request::Request;
use crate::source::{Built, BuiltFrom};

/// A lock as it is kept and printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The version of this format: [`LOCK_FORMAT`].
    pub cooper_lock: u32,
    /// The hashed part.
    pub content: LockContent,
    /// The unhashed part.
    pub origin: LockOrigin,
}

/// The version of the lock format that this program reads and writes.
pub const LOCK_FORMAT: u32 = 1;

/// The hashed part of a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockContent {
    /// How the image is made.
    pub recipe: Recipe,
    /// `linux/amd64`
    pub platform: Platform,
    /// The base.
    pub base: BaseLock,
    /// What the images between the base and this one add, the lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<ImageLayers>,
    /// The Debian packages that the image adds to its base, sorted by name.
    pub packages: Vec<DebianArtefact>,
    /// The Python distributions, sorted by name.
    pub python: Vec<PythonArtefact>,
    /// The environments in which wheels of `python` were built, sorted by digest, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<LockContent>,
}

/// The base's own full lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseLock {
    /// Which base.
    pub name: Base,
    /// Its packages, sorted by name.
    pub packages: Vec<DebianArtefact>,
}

/// What an image that is part of another one's base adds to what is below it. Which image that was, is of no
/// importance for the bytes: its name is in the unhashed part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageLayers {
    /// Its Debian packages, sorted by name.
    pub packages: Vec<DebianArtefact>,
    /// Its Python distributions, sorted by name.
    pub python: Vec<PythonArtefact>,
}

/// How many images may stand on each other below an image.
pub const BELOW_MAX: usize = 8;

/// The only platform for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Platform {
    /// 64-bit x86 Linux with the GNU C library.
    #[default]
    #[serde(rename = "linux/amd64")]
    LinuxAmd64,
}

/// What, apart from the artefacts, determines an image's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Counts up whenever assembly would give other bytes for the same artefacts.
    pub version: u32,
    /// How layers are compressed.
    pub compression: Compression,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            version: 4,
            compression: Compression::Igzip {
                member_bytes: 1 << 20,
            },
        }
    }
}

/// A layer compressor with all that its bytes depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Compression {
    /// gzip as a sequence of independent members, so that it runs in parallel and gives the same bytes on
    /// any number of threads (RFC 1952, section 2.2).
    Gzip {
        /// libdeflate's level, 1 to 12.
        level: u8,
        /// Uncompressed bytes of each member but the last.
        member_bytes: u32,
    },
    /// The same by level 1 of Intel's ISA-L 2.31: more than twice as quick, one part in twenty larger. Its bytes are
    /// the same on every x86-64 processor that has SSE 4.2 and PCLMULQDQ; others are refused.
    Igzip {
        /// Uncompressed bytes of each member but the last.
        member_bytes: u32,
    },
}

/// A Debian architecture that the platform can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// `amd64`
    Amd64,
    /// `all`
    All,
}

/// One Debian binary package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DebianArtefact {
    /// The package.
    pub name: DebianName,
    /// Its version.
    pub version: DebianVersion,
    /// Its architecture.
    pub architecture: Architecture,
    /// Bytes of the `.deb`.
    pub size: u64,
    /// The digest of the `.deb`.
    pub sha256: BlobDigest,
}

/// One Python wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PythonArtefact {
    /// The distribution.
    pub name: PythonName,
    /// Its version.
    pub version: DistributionVersion,
    /// The wheel's file name: its tags say what it fits.
    pub filename: String,
    /// Bytes of the wheel.
    pub size: u64,
    /// The digest of the wheel.
    pub sha256: BlobDigest,
    /// What it was built from; none where an index has the wheel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<BuiltFrom>,
}

/// The unhashed part of a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockOrigin {
    /// What was asked.
    pub request: Request,
    /// When it was resolved.
    pub resolved_at: Timestamp,
    /// The program and its version: `cooper 0.1.0`.
    pub resolved_by: String,
    /// The indexes that it was resolved against.
    pub snapshots: Vec<Snapshot>,
    /// The images below, as many as in the hashed part and in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<BelowOrigin>,
    /// Where each artefact came from; of a wheel that was built, where its sources did.
    pub artefacts: BTreeMap<BlobDigest, ArtefactOrigin>,
    /// The same of the environments in which wheels were built.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environments: BTreeMap<LockDigest, LockOrigin>,
}

/// An image below as it was when it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BelowOrigin {
    /// Which version, with its organisation.
    pub image: ImageReference,
    /// When it was resolved.
    pub resolved_at: Timestamp,
    /// The indexes that it was resolved against.
    pub snapshots: Vec<Snapshot>,
}

/// Where an artefact came from, and can be fetched again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ArtefactOrigin {
    /// A Debian archive: any mirror of it.
    Debian {
        /// The suite whose index named it, which tells the archive.
        suite: Suite,
        /// The path below the archive's root.
        path: PoolPath,
        /// The source package, where its name or version is another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<SourcePackage>,
    },
    /// A Python index.
    Python {
        /// The file's address.
        url: Url,
        /// The root of the index that named it. Locks of before there were several do not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        index: Option<Url>,
        /// The distribution that first needed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        required_by: Option<PythonName>,
        /// When the index took the file in.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uploaded: Option<Timestamp>,
        /// Of a release that was young then: what would have been taken instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead_of: Option<DistributionVersion>,
    },
}

impl LockContent {
    /// The canonical bytes: compact JSON with the fields in their declared order.
    pub fn to_canonical_json(&self) -> Vec<u8> {
        // Serialising these types cannot fail: no maps with other than text keys, no foreign serializers.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The digest of the canonical bytes.
    pub fn digest(&self) -> LockDigest {
        LockDigest::of(&self.to_canonical_json())
    }

    /// Every Debian package: the base's, those of the images below, then the image's own.
    pub fn debian(&self) -> impl Iterator<Item = &DebianArtefact> {
        let below = self.below.iter().flat_map(|image| &image.packages);
        self.base.packages.iter().chain(below).chain(&self.packages)
    }

    /// Every Python distribution: those of the images below, then the image's own.
    pub fn distributions(&self) -> impl Iterator<Item = &PythonArtefact> {
        let below = self.below.iter().flat_map(|image| &image.python);
        below.chain(&self.python)
    }

    /// The digest and size of every artefact that the image is assembled from.
    pub fn artefacts(&self) -> impl Iterator<Item = (BlobDigest, u64)> {
        let debian = self.debian().map(|artefact| (artefact.sha256, artefact.size));
        debian.chain(
            self.distributions()
                .map(|artefact| (artefact.sha256, artefact.size)),
        )
    }

    /// The digest and size of every artefact that wheels were built from, with those of the environments.
    pub fn sources(&self) -> Vec<(BlobDigest, u64)> {
        let built = self
            .distributions()
            .filter_map(|artefact| artefact.built.as_ref());
        let mut sources: Vec<_> = built
            .map(|built| (built.source.sha256, built.source.size))
            .collect();
        for environment in &self.environments {
            sources.extend(environment.artefacts());
            sources.extend(environment.sources());
        }
        sources
    }
}

impl Lock {
    /// The plan that this lock was, to be judged again. The lock's own record of its snapshots is the evidence.
    ///
    /// `fits` tells whether a wheel's file name fits the base (the resolver knows tags, this crate does not).
    pub fn to_plan(&self, fits: impl Fn(&str, Base) -> bool) -> Result<Plan, LockPlanError> {
        let content = &self.content;
        let base = content.base.name;
        match self.origin.request.base() {
            BaseChoice::Debian(asked) if *asked != base || !content.below.is_empty() => {
                return Err(LockPlanError::OtherBase { base, asked: *asked });
            }
            BaseChoice::Image(image) if content.below.is_empty() => {
                let image = image.to_string();
                return Err(LockPlanError::NoBaseImage { image });
            }
            BaseChoice::Debian(_) | BaseChoice::Image(_) => {}
        }
        Ok(Plan {
            request: self.origin.request.clone(),
            recipe: content.recipe,
            release: base,
            base: self.planned_debian(&content.base.packages)?,
            below: self.planned_below(&fits)?,
            packages: self.planned_debian(&content.packages)?,
            python: self.planned_python(&content.python, &fits)?,
            snapshots: self.origin.snapshots.clone(),
            resolved_at: self.origin.resolved_at,
        })
    }

    fn planned_debian(&self, artefacts: &[DebianArtefact]) -> Result<Vec<PlannedDebian>, LockPlanError> {
        let planned = |artefact: &DebianArtefact| match self.origin.artefacts.get(&artefact.sha256) {
            Some(ArtefactOrigin::Debian { suite, path, source }) => Ok(PlannedDebian {
                name: artefact.name.clone(),
                version: artefact.version.clone(),
                architecture: match artefact.architecture {
                    Architecture::Amd64 => "amd64".to_owned(),
                    Architecture::All => "all".to_owned(),
                },
                size: artefact.size,
                sha256: Some(*artefact.sha256.digest()),
                suite: *suite,
                path: path.clone(),
                source: source.clone(),
            }),
            _ => Err(LockPlanError::NoOrigin {
                artefact: artefact.name.to_string(),
            }),
        };
        artefacts.iter().map(planned).collect()
    }

    fn planned_below(&self, fits: &impl Fn(&str, Base) -> bool) -> Result<Vec<PlannedImage>, LockPlanError> {
        let (layers, origins) = (&self.content.below, &self.origin.below);
        if layers.len() != origins.len() || layers.len() > BELOW_MAX {
            return Err(LockPlanError::Below);
        }
        let planned = |(layers, origin): (&ImageLayers, &BelowOrigin)| {
            Ok(PlannedImage {
                image: origin.image.clone(),
                packages: self.planned_debian(&layers.packages)?,
                python: self.planned_python(&layers.python, fits)?,
                snapshots: origin.snapshots.clone(),
                resolved_at: origin.resolved_at,
            })
        };
        layers.iter().zip(origins).map(planned).collect()
    }

    fn planned_python(
        &self,
        artefacts: &[PythonArtefact],
        fits: &impl Fn(&str, Base) -> bool,
    ) -> Result<Vec<PlannedPython>, LockPlanError> {
        let pinned = |name: &PythonName| {
            let request = &self.origin.request;
            let mut asked = request.dependencies().iter().chain(request.constraints());
            asked.any(|requirement| requirement.name() == name && requirement.exact_version().is_some())
        };
        let origin = |artefact: &PythonArtefact| {
            let of = artefact
                .built
                .as_ref()
                .map_or(artefact.sha256, |built| built.source.sha256);
            self.origin.artefacts.get(&of)
        };
        let planned = |artefact: &PythonArtefact| match origin(artefact) {
            Some(ArtefactOrigin::Python {
                url,
                index,
                required_by,
                uploaded,
                instead_of,
            }) => Ok(PlannedPython {
                name: artefact.name.clone(),
                version: artefact.version.clone(),
                filename: artefact.filename.clone(),
                size: artefact.size,
                sha256: Some(*artefact.sha256.digest()),
                url: url.clone(),
                index: index.clone(),
                metadata: None,
                fits_platform: fits(&artefact.filename, self.content.base.name),
                yanked: None,
                exactly_pinned: pinned(&artefact.name),
                required_by: required_by.clone(),
                uploaded: *uploaded,
                instead_of: instead_of.clone(),
                project: ProjectFacts::default(),
                built: self.built(artefact, url)?,
            }),
            _ => Err(LockPlanError::NoOrigin {
                artefact: artefact.name.to_string(),
            }),
        };
        artefacts.iter().map(planned).collect()
    }

    fn built(&self, artefact: &PythonArtefact, url: &Url) -> Result<Option<Box<Built>>, LockPlanError> {
        let Some(built) = &artefact.built else {
            return Ok(None);
        };
        let of_digest = |content: &&LockContent| content.digest() == built.environment;
        let content = self.content.environments.iter().find(of_digest);
        let origin = self.origin.environments.get(&built.environment);
        let (Some(content), Some(origin)) = (content, origin) else {
            return Err(LockPlanError::NoEnvironment {
                artefact: artefact.name.to_string(),
            });
        };
        Ok(Some(Box::new(Built {
            source: built.source.clone(),
            url: url.clone(),
            environment: Self {
                cooper_lock: self.cooper_lock,
                content: content.clone(),
                origin: origin.clone(),
            },
        })))
    }
}

/// A lock that does not hold together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockPlanError {
    /// It does not say where one of its artefacts came from.
    #[error("the lock does not say where `{artefact}` came from")]
    NoOrigin {
        /// The package.
        artefact: String,
    },
    /// It does not have the environment in which one of its wheels was built.
    #[error("the lock does not have the environment in which `{artefact}` was built")]
    NoEnvironment {
        /// The distribution.
        artefact: String,
    },
    /// It was asked for on an image, and has none below.
    #[error("the lock's request is for an image on `{image}`, but the lock has no image below")]
    NoBaseImage {
        /// What was asked for.
        image: String,
    },
    /// What it says of the images below does not hold together.
    #[error("the lock does not name each of the images below, or has more than {BELOW_MAX} of them")]
    Below,
    /// What it locks is on another base than what was asked for.
    #[error("the lock has packages of {base}, but its request is for {asked}")]
    OtherBase {
        /// Of the content.
        base: Base,
        /// Of the request.
        asked: Base,
    },
}
