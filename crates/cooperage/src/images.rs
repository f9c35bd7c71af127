//! The list of images, filtered and sorted; and the search for one that already has what is asked.

use std::cmp::Reverse;

use cooper_core::{DebianVersion, ImagePattern, Request, Timestamp};
use cooper_image::Inventory;
use serde::Serialize;

use crate::inspect::InspectError;
use crate::record::{FullReference, KeptImage};
use crate::workshop::Workshop;

/// Which images to list, and in which order.
#[derive(Debug, Clone, Default)]
pub struct ImageQuery {
    /// Over `ORGANISATION/NAME:TAG`.
    pub pattern: Option<ImagePattern>,
    /// Only images that hold this package.
    pub package: Option<PackageQuery>,
    /// The order.
    pub sort: ImageSort,
    /// Load every image's inventory, too.
    pub with_packages: bool,
}

/// A package by name, Python's or Debian's, perhaps at one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageQuery {
    /// As it was written; Python names are compared normalised.
    pub name: String,
    /// After `==`.
    pub version: Option<String>,
}

impl PackageQuery {
    /// Parse `P` or `P==V`.
    pub fn new(text: &str) -> Option<Self> {
        let (name, version) = match text.split_once("==") {
            Some((name, version)) => (name.trim(), Some(version.trim())),
            None => (text.trim(), None),
        };
        let plain = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-+".contains(c));
        let versioned = version.is_none_or(|version| !version.is_empty());
        (plain && versioned).then(|| Self {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        })
    }

    fn matches(&self, inventory: &Inventory) -> bool {
        let version_fits = |version: &str| self.version.as_deref().is_none_or(|wanted| wanted == version);
        let normalised = self.name.parse::<cooper_core::PythonName>();
        let python = normalised.is_ok_and(|name| {
            inventory
                .python
                .iter()
                .any(|package| package.name == name.as_str() && version_fits(&package.version))
        });
        python
            || inventory
                .debian
                .iter()
                .any(|package| package.name == self.name && version_fits(&package.version))
    }
}

/// The order of a list of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageSort {
    /// Newest first.
    #[default]
    Created,
    /// By name, then version.
    Name,
    /// Largest first.
    Size,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// `ORGANISATION/NAME:VERSION.N`
    pub image: FullReference,
    /// The manifest's digest.
    pub digest: cooper_core::ManifestDigest,
    /// When the tag was made.
    pub created_at: Timestamp,
    /// Bytes of the manifest, the configuration and the compressed layers.
    pub size_bytes: u64,
    /// How many Python distributions are inside.
    pub python_packages: u64,
    /// How many Debian packages are inside.
    pub debian_packages: u64,
    /// The inventory, where it was asked for.
    #[serde(skip)]
    pub inventory: Option<Inventory>,
}

impl Workshop {
    /// The images that the query selects, and what of the store could not be read.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn images(&self, query: &ImageQuery) -> Result<(Vec<ImageSummary>, Vec<InspectError>), InspectError> {
        let mut summaries = Vec::new();
        let (all, unreadable) = self.all_images()?;
        let mut unreadable: Vec<InspectError> = unreadable.into_iter().map(InspectError::from).collect();
        for kept in all {
            let name = kept.reference.to_string();
            if query
                .pattern
                .as_ref()
                .is_some_and(|pattern| !pattern.matches(&name))
            {
                continue;
            }
            let needed = query.with_packages || query.package.is_some();
            let inventory = match needed.then(|| self.inventory(&kept)).transpose() {
                Ok(inventory) => inventory,
                Err(error) => {
                    unreadable.push(error);
                    continue;
                }
            };
            if let (Some(package), Some(inventory)) = (&query.package, &inventory)
                && !package.matches(inventory)
            {
                continue;
            }
            summaries.push(summary(kept, inventory.filter(|_| query.with_packages)));
        }
        match query.sort {
            ImageSort::Created => {
                summaries.sort_by(|a, b| b.created_at.cmp(&a.created_at).then(b.image.cmp(&a.image)));
            }
            ImageSort::Name => summaries.sort_by(|a, b| a.image.cmp(&b.image)),
            ImageSort::Size => {
                summaries.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then(a.image.cmp(&b.image)));
            }
        }
        Ok((summaries, unreadable))
    }

    /// The newest image of the own organisation that already has all that is asked: the same base, every Debian
    /// package, and Python distributions that satisfy every requirement (extras excepted: an image that was not
    /// asked for them cannot be known to have them all).
    ///
    /// An image that cannot be read is passed over.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn sufficient(&self, request: &Request) -> Result<Option<FullReference>, InspectError> {
        let (mut kept, _) = self.all_images()?;
        kept.sort_by_key(|image| Reverse(image.created_at));
        for image in kept {
            let asked = &image.record.request;
            let same_base = asked.base() == request.base();
            // Which files an image has is known only of one that was asked for with the same bounds.
            let same_bounds =
                asked.constraints() == request.constraints() && asked.hashes() == request.hashes();
            let same_wishes = asked.recommends() || !request.recommends();
            let another = image.record.request.name() != request.name();
            // What came in an archive was judged by nobody here.
            let made_here = image.record.loaded.is_none();
            let candidate = same_base && same_bounds && same_wishes && another && made_here;
            if candidate && self.has_all(&image, request).unwrap_or(false) {
                return Ok(Some(image.reference));
            }
        }
        Ok(None)
    }

    fn has_all(&self, image: &KeptImage, request: &Request) -> Result<bool, InspectError> {
        let asked_before = &image.record.request;
        let inventory = self.inventory(image)?;
        let debian = request.packages().iter().all(|wanted| {
            inventory.debian.iter().any(|package| {
                let version_fits = || match &wanted.version {
                    Some(version) => package
                        .version
                        .parse::<DebianVersion>()
                        .is_ok_and(|have| have == *version),
                    None => true,
                };
                package.name == wanted.name.as_str() && version_fits()
            })
        });
        let python = request.dependencies().iter().all(|wanted| {
            asked_before.dependencies().contains(wanted)
                || (wanted.requirement().extras.is_empty() && python_satisfies(&inventory, wanted))
        });
        let lacking = inventory.missing_libraries.iter().any(|library| !library.plugin);
        Ok(debian && python && !(request.fix_missing() && lacking))
    }
}

fn python_satisfies(inventory: &Inventory, wanted: &cooper_core::PythonRequirement) -> bool {
    use cooper_core::python::{DistributionVersion, VersionOrUrl};
    let found = inventory
        .python
        .iter()
        .find(|package| package.name == wanted.name().as_str());
    let version = found.and_then(|package| package.version.parse::<DistributionVersion>().ok());
    match (&wanted.requirement().version_or_url, version) {
        (_, None) | (Some(VersionOrUrl::Url(_)), _) => false,
        (None, Some(_)) => true,
        (Some(VersionOrUrl::VersionSpecifier(specifiers)), Some(version)) => specifiers.contains(&version),
    }
}

fn summary(kept: KeptImage, inventory: Option<Inventory>) -> ImageSummary {
    ImageSummary {
        image: kept.reference,
        digest: kept.manifest,
        created_at: kept.created_at,
        size_bytes: kept.record.size_bytes,
        python_packages: kept.record.python_packages,
        debian_packages: kept.record.debian_packages,
        inventory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_a_name_or_a_pin() {
        assert!(PackageQuery::new("requests==2.32.3").is_some());
        assert!(PackageQuery::new("libstdc++6").is_some());
        for bad in ["", "==1", "a==", "a b"] {
            assert_eq!(PackageQuery::new(bad), None, "{bad}");
        }
    }
}
