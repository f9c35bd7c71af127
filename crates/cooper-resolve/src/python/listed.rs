//! Requests that list hashes: which files they leave, and what they forgot to list.
//!
//! A reduced page has one file of each version, the best for the target. A request may list another one alone; then
//! the page is read again for the files that are listed, and what that gives stands in the place of the unlisted.

use std::collections::BTreeSet;

use cooper_core::{Digest, PythonName};

use super::driver::Solved;
use super::error::{OtherHash, PythonError, Unlisted};
use super::metadata::Need;
use super::net::Net;
use super::page::{Archive, Offer, Page, Release};
use super::policy::Admission;

/// The file of a release that the request's hashes rule out.
fn ruled_out<'r>(release: &'r Release, admission: &Admission) -> Option<&'r Archive> {
    match &release.offer {
        Offer::Wheel(archive) | Offer::Source(archive) => {
            (!admission.allows_file(archive.sha256.as_ref())).then_some(archive)
        }
        Offer::Excluded(_) => None,
    }
}

/// Put listed files in the place of unlisted ones. `read_listed` reads the page again, for files with these hashes.
pub(super) fn with_listed_files(
    mut page: Page,
    admission: &Admission,
    read_listed: impl FnOnce(&BTreeSet<Digest>) -> Result<Page, PythonError>,
) -> Result<Page, PythonError> {
    let wanted = |release: &Release| admission.exact.contains(&release.version);
    let mut lacking = page.releases.iter().filter(|one| wanted(one));
    let (true, Some(hashes)) = (
        lacking.any(|one| ruled_out(one, admission).is_some()),
        &admission.hashes,
    ) else {
        return Ok(page);
    };
    let listed = read_listed(hashes)?;
    for release in listed.releases {
        let usable = !matches!(release.offer, Offer::Excluded(_));
        let place = page
            .releases
            .iter_mut()
            .find(|known| known.version == release.version);
        if let Some(place) = place.filter(|place| usable && ruled_out(place, admission).is_some()) {
            *place = release;
        }
    }
    Ok(page)
}

/// The refusal when the versions that a requirement allows are there, and have no file with a listed hash.
pub(super) fn other_hash<'r>(
    need: &Need,
    admission: &Admission,
    mut matching: impl Iterator<Item = &'r Release>,
) -> Option<PythonError> {
    let hashes = admission.hashes.as_ref()?;
    let found = matching.find_map(|release| {
        let allowed = admission.allows_version(&release.version);
        ruled_out(release, admission).filter(|_| allowed)
    })?;
    Some(PythonError::OtherHash(Box::new(OtherHash {
        name: need.name.clone(),
        requirement: need.shown(),
        filename: found.filename.clone(),
        found: found.sha256,
        expected: hashes.iter().copied().collect(),
    })))
}

/// Where something has a hash, everything must be listed with one.
pub(super) fn refuse_unlisted(net: &Net, solved: &Solved) -> Result<(), PythonError> {
    if !net.wishes.hashed {
        return Ok(());
    }
    // What the base has was judged when that was made.
    let is_listed = |name: &PythonName| {
        net.wishes.admission(name).hashes.is_some() || net.wishes.installed.contains_key(name)
    };
    let unlisted = solved.chosen.iter().filter(|(name, _)| !is_listed(name));
    let unlisted = unlisted.map(|(name, chosen)| {
        let by = solved.demands.iter().find(|(_, need)| &need.name == name);
        Unlisted {
            name: name.clone(),
            version: chosen.version.to_string(),
            sha256: chosen.archive.sha256,
            required_by: by.map(|(by, _)| by.clone()).unwrap_or_default(),
        }
    });
    let unlisted: Vec<Unlisted> = unlisted.collect();
    if unlisted.is_empty() {
        Ok(())
    } else {
        Err(PythonError::Unlisted { unlisted })
    }
}
