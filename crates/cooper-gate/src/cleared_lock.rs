//! From a plan that has passed to its lock.

use std::collections::BTreeMap;

use cooper_core::lock::{
    Architecture, ArtefactOrigin, BaseLock, BelowOrigin, DebianArtefact, ImageLayers, LOCK_FORMAT,
    LockOrigin, Platform, PythonArtefact,
};
use cooper_core::plan::{PlannedDebian, PlannedImage, PlannedPython};
use cooper_core::source::BuiltFrom;
use cooper_core::{BlobDigest, Lock, LockContent, LockDigest, Plan};

/// The lock of a plan whose artefacts all have hashes and fitting architectures; the integrity gate has
/// found so before this is called, and `None` fails closed if it ever had not.
pub(crate) fn lock_of(plan: &Plan, resolved_by: &str) -> Option<Lock> {
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
            source: planned.source.clone(),
        };
        Some((BlobDigest::new(planned.sha256?), origin))
    });
    let python = plan.distributions().map(|planned| {
        let of = match &planned.built {
            Some(built) => built.source.sha256,
            None => BlobDigest::new(planned.sha256?),
        };
        let origin = ArtefactOrigin::Python {
            url: planned.url.clone(),
            index: planned.index.clone(),
            required_by: planned.required_by.clone(),
            uploaded: planned.uploaded,
            instead_of: planned.instead_of.clone(),
        };
        Some((of, origin))
    });
    debian.chain(python).collect()
}
