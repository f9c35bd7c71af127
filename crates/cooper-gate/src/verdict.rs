//! From a plan to a cleared lock, or to a refusal that says why.

use std::collections::BTreeMap;
use std::fmt;

use cooper_core::base::Suite;
use cooper_core::lock::{
    Architecture, ArtefactOrigin, BaseLock, BelowOrigin, DebianArtefact, ImageLayers, LOCK_FORMAT,
    LockOrigin, Platform, PythonArtefact,
};
use cooper_core::plan::{PlannedDebian, PlannedImage, PlannedPython};
use cooper_core::source::{BuiltFrom, PlannedSource};
use cooper_core::{BlobDigest, Digest, Effect, Finding, Lock, LockContent, LockDigest, Plan, Timestamp};

use crate::integrity;

/// What the gates know beside the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The time against which validity is judged: now for a fresh resolution; for a plan that was reloaded
    /// from a lock, the time of its resolution, since the hashes carry it from there on.
    pub judged_at: Timestamp,
    /// The suites whose snapshots are as a lock says them, because their signed indexes were not at hand.
    pub unchecked: Vec<Suite>,
}

impl Evidence {
    /// Evidence of this time, with every snapshot checked.
    pub fn at(judged_at: Timestamp) -> Self {
        Self {
            judged_at,
            unchecked: Vec::new(),
        }
    }
}

/// A lock that every gate has passed. Only [`evaluate`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    lock: Lock,
    notes: Vec<Finding>,
}

impl Cleared {
    /// The lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// What the gates noted without refusing.
    pub fn notes(&self) -> &[Finding] {
        &self.notes
    }
}

/// A plan that must not be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    findings: Vec<Finding>,
}

impl Refusal {
    /// Every finding, the refusing ones first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusing = self
            .findings
            .iter()
            .filter(|finding| finding.effect > Effect::Note);
        write!(formatter, "the plan is refused:")?;
        for finding in refusing {
            write!(
                formatter,
                "\n  {} {}: {}",
                finding.code.as_str(),
                finding.subject,
                finding.message
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// Judge a plan.
///
/// `resolved_by` is recorded in the lock: the program and its version.
///
/// # Errors
/// [`Refusal`] when any finding holds or refuses.
pub fn evaluate(plan: &Plan, evidence: &Evidence, resolved_by: &str) -> Result<Cleared, Refusal> {
    let mut findings = integrity::judge(plan, evidence);
    findings.sort_by(|a, b| b.effect.cmp(&a.effect).then_with(|| a.code.cmp(&b.code)));
    if findings.iter().any(|finding| finding.effect > Effect::Note) {
        return Err(Refusal { findings });
    }
    match lock_of(plan, resolved_by) {
        Some(lock) => Ok(Cleared {
            lock,
            notes: findings,
        }),
        None => Err(Refusal { findings }),
    }
}

/// A source distribution that may be built. Only [`evaluate_source`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearedSource {
    source: PlannedSource,
    sha256: Digest,
}

impl ClearedSource {
    /// What it is.
    pub fn source(&self) -> &PlannedSource {
        &self.source
    }

    /// Its digest.
    pub fn sha256(&self) -> BlobDigest {
        BlobDigest::new(self.sha256)
    }
}

/// Judge a source distribution, before anything of it is run. The environment in which it is built is judged as every
/// plan is, and so is the wheel that comes of it.
///
/// # Errors
/// [`Refusal`] when any finding holds or refuses.
pub fn evaluate_source(source: &PlannedSource) -> Result<ClearedSource, Refusal> {
    let findings = integrity::judge_source(source);
    let refused = findings.iter().any(|finding| finding.effect > Effect::Note);
    match source.sha256 {
        Some(sha256) if !refused => Ok(ClearedSource {
            source: source.clone(),
            sha256,
        }),
        _ => Err(Refusal { findings }),
    }
}

/// The lock of a plan whose artefacts all have hashes and fitting architectures; the integrity gate has
/// found so before this is called, and `None` fails closed if it ever had not.
fn lock_of(plan: &Plan, resolved_by: &str) -> Option<Lock> {
    let built = plan.distributions().filter_map(|planned| planned.built.as_ref());
    let environments: BTreeMap<LockDigest, &Lock> = built
        .map(|built| (built.environment.content.digest(), &built.environment))
        .collect();
    let content = LockContent {
        recipe: plan.recipe,
        platform: Platform::LinuxAmd64,
        base: BaseLock {
            name: plan.release,
            packages: debian_artefacts(&plan.base)?,
        },
        below: plan.below.iter().map(image_layers).collect::<Option<_>>()?,
        packages: debian_artefacts(&plan.packages)?,
        python: plan.python.iter().map(python_artefact).collect::<Option<_>>()?,
        environments: environments.values().map(|lock| lock.content.clone()).collect(),
    };
    let origin = LockOrigin {
        request: plan.request.clone(),
        resolved_at: plan.resolved_at,
        resolved_by: resolved_by.to_owned(),
        snapshots: plan.snapshots.clone(),
        below: plan.below.iter().map(below_origin).collect(),
        artefacts: origins(plan)?,
        environments: environments
            .iter()
            .map(|(digest, lock)| (*digest, lock.origin.clone()))
            .collect(),
    };
    Some(Lock {
        cooper_lock: LOCK_FORMAT,
        content,
        origin,
    })
}

fn image_layers(planned: &PlannedImage) -> Option<ImageLayers> {
    Some(ImageLayers {
        packages: debian_artefacts(&planned.packages)?,
        python: planned
            .python
            .iter()
            .map(python_artefact)
            .collect::<Option<_>>()?,
    })
}

fn below_origin(planned: &PlannedImage) -> BelowOrigin {
    BelowOrigin {
        image: planned.image.clone(),
        resolved_at: planned.resolved_at,
        snapshots: planned.snapshots.clone(),
    }
}

/// In the order of the names, whatever the plan's order.
fn debian_artefacts(planned: &[PlannedDebian]) -> Option<Vec<DebianArtefact>> {
    let mut artefacts = planned.iter().map(debian_artefact).collect::<Option<Vec<_>>>()?;
    artefacts.sort_by(|a, b| a.name.cmp(&b.name));
    Some(artefacts)
}

fn debian_artefact(planned: &PlannedDebian) -> Option<DebianArtefact> {
    Some(DebianArtefact {
        name: planned.name.clone(),
        version: planned.version.clone(),
        architecture: architecture(&planned.architecture)?,
        size: planned.size,
        sha256: BlobDigest::new(planned.sha256?),
    })
}

/// The architectures that a `linux/amd64` image can hold.
pub(crate) fn architecture(text: &str) -> Option<Architecture> {
    match text {
        "amd64" => Some(Architecture::Amd64),
        "all" => Some(Architecture::All),
        _ => None,
    }
}

fn python_artefact(planned: &PlannedPython) -> Option<PythonArtefact> {
    Some(PythonArtefact {
        name: planned.name.clone(),
        version: planned.version.clone(),
        filename: planned.filename.clone(),
        size: planned.size,
        sha256: BlobDigest::new(planned.sha256?),
        built: planned.built.as_ref().map(|built| BuiltFrom {
            source: built.source.clone(),
            environment: built.environment.content.digest(),
        }),
    })
}

fn origins(plan: &Plan) -> Option<BTreeMap<BlobDigest, ArtefactOrigin>> {
    let debian = plan.debian().map(|planned| {
        let origin = ArtefactOrigin::Debian {
            suite: planned.suite,
            path: planned.path.clone(),
        };
        Some((BlobDigest::new(planned.sha256?), origin))
    });
    let python = plan.distributions().map(|planned| {
        let of = match &planned.built {
            Some(built) => built.source.sha256,
            None => BlobDigest::new(planned.sha256?),
        };
        let (url, index) = (planned.url.clone(), planned.index.clone());
        Some((of, ArtefactOrigin::Python { url, index }))
    });
    debian.chain(python).collect()
}
