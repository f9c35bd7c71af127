//! What Debian packages say of their licences: read once for each artefact, and remembered by its digest.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use cooper_core::plan::PlannedDebian;
use cooper_core::{BlobDigest, DebianName, Finding};
use cooper_gate::artefact::{DebianLicence, DebianSection, judge_debian};
use cooper_gate::licences::{DebianLicenceEvidence, LicenceAnswer, of_debian};
use cooper_gate::{Cleared, Known, Listed, Refusal};
use cooper_image::DebianCopyright;
use cooper_image::deb::{Copyright, Deb};
use cooper_image::rootfs::UnpackLimits;
use serde::{Deserialize, Serialize};

use crate::side_by_side::side_by_side;
use crate::workshop::Workshop;

/// The cache's kind.
const KIND: &str = "debian-facts";
/// Changes whenever the same package would be read in another way.
const RULES: &str = concat!("cooper-debian-facts 2 of ", env!("CARGO_PKG_VERSION"));
/// A package may share the copyright file of one that shares another's, and so on, so often.
const SHARED_MAX: usize = 8;

/// What a package's own archive says: it follows from its digest. What is remembered has of a known licence no single
/// statements: they are most of it, and only explain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DebianFacts {
    /// What its copyright file says; nothing where there is none.
    Says(LicenceAnswer),
    /// It has a link to the copyright file of this package.
    Shared(DebianName),
    /// It has a link to what is no package's copyright file.
    Astray(String),
}

impl DebianFacts {
    fn of(copyright: &Copyright) -> Self {
        let says = |copyright| Self::Says(of_debian(&DebianLicenceEvidence { copyright }));
        match copyright {
            Copyright::Missing => says(None),
            Copyright::File(file) => says(Some(file.clone())),
            Copyright::Shared(package) => Self::Shared(package.clone()),
            Copyright::Astray(target) => Self::Astray(target.clone()),
        }
    }

    fn for_verdict(self) -> Self {
        match self {
            Self::Says(answer) => Self::Says(answer.for_verdict()),
            other => other,
        }
    }
}

/// Where facts may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// What was read before alone.
    Remembered,
    /// Else the packages themselves, where they are in the store.
    Artefacts,
    /// The packages themselves alone, with every statement.
    Explained,
}

/// What the packages of a plan say.
struct Facts<'a> {
    packages: BTreeMap<&'a DebianName, Arc<DebianFacts>>,
}

impl Facts<'_> {
    /// What is known of a package's licence, links to other packages of the same source followed. None where one of them
    /// was not read.
    fn licence(&self, planned: &PlannedDebian, plan: &[&PlannedDebian]) -> Option<FoundLicence> {
        let source = source_of(planned);
        let (mut name, mut facts) = (&planned.name, self.packages.get(&planned.name)?);
        let mut shared = None;
        for _ in 0..SHARED_MAX {
            let target = match &**facts {
                DebianFacts::Says(_) => {
                    let facts = Arc::clone(facts);
                    let astray = None;
                    return Some(FoundLicence {
                        facts,
                        shared,
                        astray,
                    });
                }
                DebianFacts::Astray(target) => return Some(FoundLicence::astray(target)),
                DebianFacts::Shared(other) => other,
            };
            // Another source's packages say nothing of this one.
            let is_it = |one: &&&PlannedDebian| one.name == *target && source_of(one) == source;
            let Some(other) = plan.iter().find(is_it) else {
                return Some(FoundLicence::astray(target.as_str()));
            };
            (name, facts) = (&other.name, self.packages.get(&other.name)?);
            shared = Some(name.clone());
        }
        Some(FoundLicence::astray(name.as_str()))
    }
}

/// What a package's licence is, and by whose file.
struct FoundLicence {
    facts: Arc<DebianFacts>,
    shared: Option<DebianName>,
    astray: Option<String>,
}

impl FoundLicence {
    fn astray(target: &str) -> Self {
        Self {
            facts: Arc::new(DebianFacts::of(&Copyright::Missing)),
            shared: None,
            astray: Some(target.to_owned()),
        }
    }

    fn answer(&self) -> Option<&LicenceAnswer> {
        match &*self.facts {
            DebianFacts::Says(answer) => Some(answer),
            DebianFacts::Shared(_) | DebianFacts::Astray(_) => None,
        }
    }
}

/// The name of the source package.
fn source_of(planned: &PlannedDebian) -> &str {
    let source = planned.source.as_ref();
    source.map_or(planned.name.as_str(), |source| source.name.as_str())
}

impl Workshop {
    /// What the Debian packages of a plan tell of their licences, and those of which nothing is known here.
    pub(crate) fn debian_findings(
        &self,
        packages: &[(&PlannedDebian, &Listed)],
        reading: Reading,
        known: &Known,
    ) -> (Vec<Finding>, Vec<DebianName>) {
        let plan: Vec<&PlannedDebian> = packages.iter().map(|(planned, _)| *planned).collect();
        let facts = self.debian_facts(&plan, reading);
        let (mut findings, mut unread) = (Vec::new(), Vec::new());
        for (planned, listed) in packages {
            let found = facts.licence(planned, &plan);
            let Some((found, answer)) = found.as_ref().and_then(|found| Some((found, found.answer()?)))
            else {
                unread.push(planned.name.clone());
                continue;
            };
            let licence = DebianLicence {
                answer,
                shared: found.shared.as_ref().map(DebianName::as_str),
                astray: found.astray.as_deref(),
            };
            let section = match planned.suite.source() {
                None => DebianSection::Main,
                Some(_) => DebianSection::Elsewhere,
            };
            findings.extend(judge_debian(listed, &licence, section, known));
        }
        (findings, unread)
    }

    /// What the copyright file of a package says, or that of the package with which it shares one.
    pub(crate) fn debian_licence(
        &self,
        planned: &PlannedDebian,
        plan: &[&PlannedDebian],
    ) -> Option<LicenceAnswer> {
        let of_source = |one: &&&PlannedDebian| source_of(one) == source_of(planned);
        let siblings: Vec<&PlannedDebian> = plan.iter().filter(of_source).copied().collect();
        let facts = self.debian_facts(&siblings, Reading::Explained);
        facts.licence(planned, &siblings)?.answer().cloned()
    }

    /// Take in what was read of packages that are unpacked, and judge the plan by all that is known by now.
    ///
    /// # Errors
    /// [`Refusal`] when that holds or refuses.
    pub(crate) fn judge_unpacked(
        &self,
        unpacked: &[DebianCopyright<'_>],
        cleared: &Cleared,
        known: &Known,
    ) -> Result<(), Refusal> {
        // Packages of one source mostly have the same file.
        let mut distinct: BTreeMap<&[u8], Vec<&DebianCopyright<'_>>> = BTreeMap::new();
        let (files, others) = unpacked
            .iter()
            .partition::<Vec<_>, _>(|package| text(package).is_some());
        for package in files {
            let text = text(package).unwrap_or_default();
            distinct.entry(text).or_default().push(package);
        }
        let groups: Vec<Vec<&DebianCopyright<'_>>> = distinct
            .into_values()
            .chain(others.into_iter().map(|one| vec![one]))
            .collect();
        let read = side_by_side(&groups, |group| {
            Arc::new(DebianFacts::of(&group[0].copyright).for_verdict())
        });
        for (group, facts) in groups.iter().zip(&read) {
            for package in group {
                self.remember(package.artefact.sha256, facts);
            }
        }
        let findings = self.findings_of_packages(cleared.lock(), Reading::Remembered, known);
        cleared.clone().with_findings(findings, known).map(drop)
    }

    /// Whether all of a plan's packages were read before.
    pub(crate) fn has_read(&self, digests: impl IntoIterator<Item = BlobDigest>) -> bool {
        let remembered = self.debian_facts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut digests = digests.into_iter();
        digests.all(|digest| {
            remembered.contains_key(&digest) || self.store.cache_path(KIND, &key(&digest)).exists()
        })
    }

    fn debian_facts<'a>(&self, plan: &[&'a PlannedDebian], reading: Reading) -> Facts<'a> {
        let read = |planned: &&'a PlannedDebian| {
            let digest = BlobDigest::new(planned.sha256?);
            let facts = match reading {
                Reading::Remembered => self.remembered(&digest),
                Reading::Artefacts => self.remembered(&digest).or_else(|| self.read_to_judge(digest)),
                Reading::Explained => self.read_package(digest).map(Arc::new),
            };
            Some((&planned.name, facts?))
        };
        Facts {
            packages: side_by_side(plan, read).into_iter().flatten().collect(),
        }
    }

    /// What was read of a package before.
    fn remembered(&self, digest: &BlobDigest) -> Option<Arc<DebianFacts>> {
        let known = || self.debian_facts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(facts) = known().get(digest) {
            return Some(Arc::clone(facts));
        }
        let cached = self.store.cache_get(KIND, &key(digest))?;
        // What is torn is read again.
        let facts: Arc<DebianFacts> = Arc::new(serde_json::from_slice(&cached.bytes).ok()?);
        known().insert(*digest, Arc::clone(&facts));
        Some(facts)
    }

    fn read_to_judge(&self, digest: BlobDigest) -> Option<Arc<DebianFacts>> {
        let facts = Arc::new(self.read_package(digest)?.for_verdict());
        self.remember(digest, &facts);
        Some(facts)
    }

    fn read_package(&self, digest: BlobDigest) -> Option<DebianFacts> {
        let file = self.store.open_checked_blob(&digest).ok()?;
        let limits = UnpackLimits::default();
        let copyright = Deb::open(file, &limits)
            .and_then(|deb| deb.copyright(&limits))
            .ok()?;
        Some(DebianFacts::of(&copyright))
    }

    fn remember(&self, digest: BlobDigest, facts: &Arc<DebianFacts>) {
        let mut known = self.debian_facts.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(digest, Arc::clone(facts));
        drop(known);
        if let Ok(bytes) = serde_json::to_vec(&**facts)
            && let Err(error) = self.store.cache_note(KIND, &key(&digest), &bytes)
        {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "cannot keep what a package tells"
            );
        }
    }
}

/// The text of a copyright file that was read whole.
fn text<'a>(package: &'a DebianCopyright<'_>) -> Option<&'a [u8]> {
    match &package.copyright {
        Copyright::File(file) if file.size == file.bytes.len() as u64 => Some(&file.bytes),
        _ => None,
    }
}

fn key(digest: &BlobDigest) -> String {
    format!("{RULES}\n{digest}")
}
