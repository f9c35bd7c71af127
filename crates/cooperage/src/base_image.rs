//! An image that was made earlier as the base of a new one.
//!
//! What the new image takes over is the lock, whole: every artefact of the base image becomes an artefact of the new
//! one, in the place where it was. So the new lock needs no other to be rebuilt, and the layers are the same ones.

use std::os::fd::AsFd;

use cooper_core::lock::{BELOW_MAX, LockPlanError, Recipe};
use cooper_core::plan::PlannedImage;
use cooper_core::{BaseChoice, BlobDigest, ImageReference, Lock, Plan, Progress, Request};
use cooper_gate::Evidence;
use cooper_image::wheel;
use cooper_resolve::{Ground, GroundImage, InstalledPython, python};
use cooper_store::Holds;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

use crate::create::CreateError;
use crate::record::{FullReference, KeptImage};
use crate::workshop::{LookupError, Workshop};

/// Why an image cannot be the base of another one.
#[derive(Debug, thiserror::Error)]
pub enum BaseImageError {
    /// It is another organisation's.
    #[error("`{image}` is of another organisation than {own}: only own images are bases")]
    Foreign {
        /// As it was asked for.
        image: ImageReference,
        /// The own organisation.
        own: String,
    },
    /// There is none.
    #[error(transparent)]
    Lookup(LookupError),
    /// An image whose base is always the newest of itself would grow with each update.
    #[error("`{name}` cannot follow the newest version of `{base}`, which {}", itself(*.chain))]
    Itself {
        /// The image that is made.
        name: String,
        /// What it was to stand on.
        base: String,
        /// Whether it only stands on the image.
        chain: bool,
    },
    /// Too many images on each other.
    #[error("`{image}` stands on {depth} images already: at most {BELOW_MAX} stand on each other")]
    TooDeep {
        /// The base.
        image: String,
        /// How many are below it.
        depth: usize,
    },
    /// It was made by another recipe than this program's.
    #[error("`{image}` was made by recipe {found}; this program makes images by recipe {known}")]
    Recipe {
        /// The base.
        image: String,
        /// Its recipe.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Its lock does not hold together.
    #[error("the lock of `{image}` cannot be used")]
    Lock {
        /// The base.
        image: String,
        /// Why not.
        #[source]
        source: LockPlanError,
    },
    /// Something that is to be read of it cannot be.
    #[error("cannot read {what} of `{image}`, which is to be the base")]
    Unreadable {
        /// The base.
        image: String,
        /// The package database, or a wheel.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

fn itself(chain: bool) -> &'static str {
    if chain { "stands on it" } else { "is itself" }
}

impl BaseImageError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { image, .. } => Some(format!(
                "make `{}` here first: `cooper create --locked FILE {}` with its lock",
                image.name, image.name
            )),
            Self::Lookup(error) => {
                let hint = error.hint()?;
                Some(format!(
                    "{hint}; Debian bases are `debian:trixie` and `debian:bookworm`"
                ))
            }
            Self::Itself { base, .. } => Some(format!(
                "name the version that is meant, such as `--base {base}:1.0.0.1`; `cooper images {base}` lists them"
            )),
            Self::TooDeep { .. } => Some("ask for everything in one image, on a Debian base".to_owned()),
            Self::Recipe { image, .. } => Some(format!(
                "`cooper update` makes a new version of `{image}` that can be used"
            )),
            Self::Lock { .. } | Self::Unreadable { .. } => Some(
                "run `cooper fsck --repair`; a create of the base's own request makes what is missing again"
                    .to_owned(),
            ),
        }
    }
}

/// How large a package database may be.
const STATUS_BYTES_MAX: u64 = 64 << 20;
const STATUS: &str = "var/lib/dpkg/status";

impl Workshop {
    /// What a request stands on. Of an image without a version that is the newest one now.
    pub(crate) fn ground(&self, request: &Request, progress: &Progress) -> Result<Ground, CreateError> {
        let reference = match request.base() {
            BaseChoice::Debian(base) => return Ok(Ground::Debian(*base)),
            BaseChoice::Image(reference) => reference,
        };
        let own = &self.config.organisation;
        if reference.organisation.as_ref().is_some_and(|other| other != own) {
            return Err(CreateError::Base(BaseImageError::Foreign {
                image: reference.clone(),
                own: own.to_string(),
            }));
        }
        let follows_itself = |chain| {
            CreateError::Base(BaseImageError::Itself {
                name: request.name().to_string(),
                base: reference.name.to_string(),
                chain,
            })
        };
        if reference.tag.is_none() && reference.name == *request.name() {
            return Err(follows_itself(false));
        }
        let kept = self
            .lookup(reference)
            .map_err(|error| CreateError::Base(BaseImageError::Lookup(error)))?;
        let lock = self.lock_of(&kept)?;
        let below_itself = |below: &cooper_core::lock::BelowOrigin| below.image.name == *request.name();
        if reference.tag.is_none() && lock.origin.below.iter().any(below_itself) {
            return Err(follows_itself(true));
        }
        let plan = usable_plan(&kept.reference, &lock).map_err(CreateError::Base)?;
        self.restore(&kept, &lock, &plan, progress)?;
        let image = self.ground_image(&kept, plan)?;
        Ok(Ground::Image(Box::new(image)))
    }

    /// Make what is missing of the image's trees and wheels again, from its lock.
    fn restore(
        &self,
        kept: &KeptImage,
        lock: &Lock,
        plan: &Plan,
        progress: &Progress,
    ) -> Result<(), CreateError> {
        let mut wheels = plan.distributions().filter_map(|planned| planned.sha256);
        let trees = self.hold_trees(kept, &mut Holds::default());
        if trees.is_ok() && wheels.all(|wheel| self.store.renew_blob(&BlobDigest::new(wheel))) {
            return Ok(());
        }
        let evidence = Evidence {
            judged_at: lock.origin.resolved_at,
            ..self.evidence(Some(plan.request.name()))?
        };
        let cleared = cooper_gate::evaluate(plan, &evidence, &self.config.program)?;
        self.assemble(cleared, &[], &evidence.known, progress).map(drop)
    }

    fn ground_image(&self, kept: &KeptImage, plan: Plan) -> Result<GroundImage, CreateError> {
        let image: ImageReference = kept.reference.clone().into();
        let unreadable = |what: &str| {
            let (image, what) = (image.to_string(), what.to_owned());
            move |source| CreateError::Base(BaseImageError::Unreadable { image, what, source })
        };
        let status = self.status_of(kept);
        let status = status.map_err(unreadable("the package database"))?;
        let mut below = plan.below;
        below.push(PlannedImage {
            image: image.clone(),
            packages: plan.packages,
            python: plan.python,
            snapshots: plan.snapshots,
            resolved_at: plan.resolved_at,
        });
        let mut python = Vec::new();
        for level in &below {
            for planned in &level.python {
                let sha256 = planned.sha256.map(BlobDigest::new);
                let file = sha256.map(|sha256| self.store.open_checked_blob(&sha256));
                let file = file.and_then(Result::ok);
                let metadata = file.and_then(|file| wheel::metadata_of(file).ok());
                let metadata = metadata.ok_or_else(|| {
                    unreadable(&planned.filename)(std::io::Error::other("it is damaged or not there"))
                })?;
                python.push(InstalledPython {
                    planned: planned.clone(),
                    metadata,
                    image: level.image.clone(),
                });
            }
        }
        Ok(GroundImage {
            image,
            release: plan.release,
            base: plan.base,
            below,
            status,
            python,
        })
    }

    /// The package database of the topmost layer that has one: each has all that is below it.
    fn status_of(&self, kept: &KeptImage) -> std::io::Result<String> {
        let mut holds = Holds::default();
        let trees = self.hold_trees(kept, &mut holds);
        for tree in trees.map_err(std::io::Error::other)?.iter().rev() {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let tree = open(tree, flags, Mode::empty())?;
            if let Some(status) = read_beneath(&tree, STATUS)? {
                return Ok(status);
            }
        }
        Err(std::io::ErrorKind::NotFound.into())
    }
}

/// A text file of a tree, whose links are third parties' and are not followed; none when it is not there.
fn read_beneath(tree: &impl AsFd, path: &str) -> std::io::Result<Option<String>> {
    use std::io::Read as _;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(tree, path, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let stat = fstat(&file)?;
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || size > STATUS_BYTES_MAX {
        return Err(std::io::Error::other("it is not a file of a sensible size"));
    }
    let mut text = String::new();
    std::fs::File::from(file)
        .take(STATUS_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(Some(text))
}

/// The plan of an image that can be a base.
fn usable_plan(reference: &FullReference, lock: &Lock) -> Result<Plan, BaseImageError> {
    let image = reference.to_string();
    let known = Recipe::default();
    if lock.content.recipe != known {
        return Err(BaseImageError::Recipe {
            image,
            found: lock.content.recipe.version,
            known: known.version,
        });
    }
    let depth = lock.content.below.len();
    if depth >= BELOW_MAX {
        return Err(BaseImageError::TooDeep { image, depth });
    }
    lock.to_plan(python::wheel_fits)
        .map_err(|source| BaseImageError::Lock { image, source })
}
