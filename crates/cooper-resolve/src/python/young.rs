//! What the gates would refuse, and of releases that are younger than the policy wants: what would be taken instead.
//!
//! A young release passes when what would be taken instead has a vulnerability that it does not have. What that is, the
//! constraints in force decide, and these are known only when there is a solution. So a candidate is first compared with
//! the nearest older release that is old enough ([`Net::refusal`]), and in the end with what meets the same constraints
//! ([`instead_of`]); where that gives another answer, the projects are barred from the exemption and the solver runs again.

use std::collections::BTreeSet;
use std::sync::Arc;

use cooper_core::PythonName;
use cooper_core::python::DistributionVersion;
use cooper_gate::{Candidate, Known};

use super::driver::{Chosen, Solved};
use super::error::PythonError;
use super::net::{Net, locked};
use super::page::{Archive, Page, Release};
use super::policy::{Admission, preference};

impl Net {
    /// Why the gates would refuse a version, to follow it in a sentence. A version that the request insists on is not
    /// passed over: the whole plan is judged then, and tells more.
    pub(super) fn refusal(
        &self,
        name: &PythonName,
        version: &DistributionVersion,
        archive: &Archive,
    ) -> Option<String> {
        let known = self.passing_over()?;
        if self.wishes.admission(name).exact.contains(version) {
            return None;
        }
        let candidate = candidate(name, version, archive);
        if known.is_old_enough(&candidate) || locked(&self.barred).contains(name) {
            return known.refuse_candidate(&candidate, None);
        }
        let page = self.page(name).ok()?;
        let older = self.nearest_older(known, name, version, &page);
        known.refuse_candidate(&candidate, older.as_ref())
    }

    /// What candidates are judged by, where what would be refused is passed over.
    fn passing_over(&self) -> Option<&Arc<Known>> {
        self.known.as_ref().filter(|_| self.pass_over)
    }

    /// Of sources whose release is too young, while nothing is known of the constraints in force: the nearest older release.
    pub(super) fn nearest_instead_of(
        &self,
        name: &PythonName,
        version: &DistributionVersion,
        archive: &Archive,
    ) -> Option<DistributionVersion> {
        let known = self.known.as_ref()?;
        if known.is_old_enough(&candidate(name, version, archive)) {
            return None;
        }
        let page = self.page(name).ok()?;
        self.nearest_older(known, name, version, &page)
    }

    fn nearest_older(
        &self,
        known: &Known,
        name: &PythonName,
        version: &DistributionVersion,
        page: &Page,
    ) -> Option<DistributionVersion> {
        let older = |release: &&Release| release.version < *version && !release.version.any_prerelease();
        let mut older = page.releases.iter().filter(older);
        let found = older.find(|release| {
            let archive = Admission::ORDINARY.admit(release, &self.target);
            archive.is_ok_and(|archive| known.is_old_enough(&candidate(name, &release.version, archive)))
        });
        found.map(|release| release.version.clone())
    }
}

fn candidate<'a>(name: &'a PythonName, version: &'a DistributionVersion, archive: &Archive) -> Candidate<'a> {
    Candidate {
        name,
        version,
        uploaded: archive.uploaded,
        file: archive.sha256,
    }
}

/// Of a chosen release that is too young: the first in order of preference that is old enough and meets the same
/// constraints; where none does, as for one that the request insists on, the nearest older one.
pub(super) fn instead_of(
    net: &Net,
    solved: &Solved,
    name: &PythonName,
    chosen: &Chosen,
) -> Result<Option<DistributionVersion>, PythonError> {
    let Some(known) = &net.known else { return Ok(None) };
    let version = &chosen.version;
    if known.is_old_enough(&candidate(name, version, &chosen.archive)) {
        return Ok(None);
    }
    let page = net.page(name)?;
    let demands = || solved.demands.iter().filter(|(_, need)| &need.name == name);
    let fits = |other: &DistributionVersion| {
        other != version
            && (version.any_prerelease() || !other.any_prerelease())
            && demands().all(|(_, need)| need.specifiers.contains(other))
    };
    let admission = net.wishes.admission(name);
    let mut fitting = preference(&page).filter_map(|at| page.releases.get(at));
    let found = fitting.find(|release| {
        let archive = admission.admit(release, &net.target);
        fits(&release.version)
            && archive.is_ok_and(|archive| known.is_old_enough(&candidate(name, &release.version, archive)))
    });
    let found = found.map(|release| release.version.clone());
    Ok(found.or_else(|| net.nearest_older(known, name, version, &page)))
}

/// The projects of which a young release was chosen as a fix, and is none of what meets the same constraints.
pub(super) fn unfounded(net: &Net, solved: &Solved) -> Result<BTreeSet<PythonName>, PythonError> {
    let mut unfounded = BTreeSet::new();
    let Some(known) = net.passing_over() else {
        return Ok(unfounded);
    };
    for (name, chosen) in &solved.chosen {
        let candidate = candidate(name, &chosen.version, &chosen.archive);
        let is_wished = net.wishes.admission(name).exact.contains(&chosen.version);
        if is_wished || net.wishes.installed.contains_key(name) || known.is_old_enough(&candidate) {
            continue;
        }
        let instead = instead_of(net, solved, name, chosen)?;
        if known.refuse_candidate(&candidate, instead.as_ref()).is_some() {
            unfounded.insert(name.clone());
        }
    }
    Ok(unfounded)
}
