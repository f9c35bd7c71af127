//! What the gates judge beside integrity: packages with their versions, and how they came to be there.
//!
//! A plan has them, and so has a list that somebody else made: an SBOM, or lines of a file.

use cooper_core::plan::{PlannedDebian, PlannedPython, ProjectFacts, SourcePackage};
use cooper_core::source::PlannedSource;
use cooper_core::{Base, Digest, Ecosystem, Finding, PackageVersion, Plan, PythonName, Timestamp};

use crate::first_seen;

/// A way from the request to a package is at most so long.
const PATH_MAX: usize = 32;

/// One package to be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub package: PackageVersion,
    /// Of a Debian package: its source package, where name or version is another.
    pub source: Option<SourcePackage>,
    /// Of a Debian package: its release.
    pub release: Option<Base>,
    /// Whether it was asked for itself.
    pub direct: bool,
    /// From what was asked for to the package; empty where that is not known.
    pub path: Vec<String>,
    /// When the index took the file in.
    pub uploaded: Option<Timestamp>,
    /// When the list that the package is of says that it was released: the word of whoever made the list.
    pub stated: Option<Timestamp>,
    /// The digest of the file that the index has.
    pub file: Option<Digest>,
    /// Of a release that is young: what would be taken instead.
    pub instead_of: Option<String>,
    /// What is known of the project beside.
    pub project: ProjectFacts,
}

impl Listed {
    /// A package of which nothing more is known, as if it had been asked for.
    pub fn alone(package: PackageVersion) -> Self {
        Self {
            path: vec![package.name.clone()],
            package,
            source: None,
            release: None,
            direct: true,
            uploaded: None,
            stated: None,
            file: None,
            instead_of: None,
            project: ProjectFacts::default(),
        }
    }

    /// The finding as one about this package, with the way to it.
    pub(crate) fn found(&self, finding: Finding) -> Finding {
        Finding {
            path: self.path.clone(),
            ..finding.about(self.package.clone())
        }
    }

    pub(crate) fn is_python(&self) -> bool {
        self.package.ecosystem == Ecosystem::Python
    }
}

/// Every package of a plan, in its order.
pub fn of_plan(plan: &Plan) -> Vec<Listed> {
    let debian = plan.debian().map(|planned| of_debian(plan, planned));
    let python = plan.distributions().map(|planned| of_python(plan, planned));
    debian.chain(python).collect()
}

fn of_debian(plan: &Plan, planned: &PlannedDebian) -> Listed {
    let mut asked = plan.request.packages().iter();
    let direct = asked.any(|requirement| requirement.name == planned.name);
    Listed {
        source: planned.source.clone(),
        release: Some(plan.release),
        direct,
        path: direct.then(|| planned.name.to_string()).into_iter().collect(),
        ..Listed::alone(PackageVersion::new(
            Ecosystem::Debian,
            &planned.name,
            &planned.version,
        ))
    }
}

fn of_python(plan: &Plan, planned: &PlannedPython) -> Listed {
    Listed {
        direct: is_direct(plan, &planned.name),
        path: path(plan, planned),
        uploaded: planned.uploaded,
        file: first_seen::file_of(planned),
        instead_of: planned.instead_of.as_ref().map(ToString::to_string),
        project: planned.project.clone(),
        ..Listed::alone(PackageVersion::new(
            Ecosystem::Python,
            &planned.name,
            &planned.version,
        ))
    }
}

/// A source distribution that is to be built.
pub(crate) fn of_source(source: &PlannedSource) -> Listed {
    Listed {
        direct: source.path.len() == 1,
        path: source.path.iter().map(ToString::to_string).collect(),
        uploaded: source.uploaded,
        file: source.sha256,
        instead_of: source.instead_of.as_ref().map(ToString::to_string),
        project: source.project.clone(),
        ..Listed::alone(PackageVersion::new(
            Ecosystem::Python,
            &source.name,
            &source.version,
        ))
    }
}

/// Whether the request itself names the distribution.
fn is_direct(plan: &Plan, name: &PythonName) -> bool {
    let mut asked = plan.request.dependencies().iter();
    asked.any(|requirement| requirement.name() == name)
}

/// From what the request names to the distribution itself.
fn path(plan: &Plan, planned: &PlannedPython) -> Vec<String> {
    let mut path = vec![planned.name.to_string()];
    let mut next = planned.required_by.as_ref();
    while let Some(parent) = next.filter(|parent| !path.iter().any(|name| name == parent.as_str())) {
        path.push(parent.to_string());
        let of_name = |one: &&PlannedPython| one.name == *parent;
        let above = plan.distributions().find(of_name);
        next = above.and_then(|one| one.required_by.as_ref());
        if path.len() >= PATH_MAX {
            break;
        }
    }
    path.reverse();
    // A distribution that nobody is known to need came with a lock: nothing can be said.
    if path.len() == 1 && !is_direct(plan, &planned.name) {
        path.clear();
    }
    path
}
