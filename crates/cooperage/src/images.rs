//! The list of images, filtered and sorted; and the search for one that already has what is asked.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use cooper_core::python::{DistributionVersion, VersionOrUrl};
use cooper_core::{DebianRequirement, DebianVersion, ImagePattern, PythonRequirement, Request, Timestamp};
use cooper_image::Inventory;
use serde::Serialize;

use crate::inspect::InspectError;
use crate::package_query::PackageQuery;
use crate::packages::{Ecosystem, PackageView};
use crate::record::{FullReference, KeptImage};
use crate::summary::Listed;
use crate::workshop::Workshop;

/// Which images to list, and in which order.
#[derive(Debug, Clone, Default)]
pub struct ImageQuery {
    /// Over `ORGANISATION/NAME:TAG`.
    pub pattern: Option<ImagePattern>,
    /// Over what the image stands on.
    pub base: Option<ImagePattern>,
    /// Only images that hold this package.
    pub package: Option<PackageQuery>,
    /// The order.
    pub sort: ImageSort,
    /// Load every image's inventory, too.
    pub with_packages: bool,
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
    /// What it stands on: `debian:trixie`.
    pub base: String,
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
        let named = |reference: &FullReference| {
            let matches = |pattern: &ImagePattern| pattern.matches(&reference.to_string());
            query.pattern.as_ref().is_none_or(matches)
        };
        let (mut images, unreadable) = self.listed(named)?;
        let mut unreadable: Vec<InspectError> = unreadable.into_iter().map(InspectError::from).collect();
        if let Some(base) = &query.base {
            images.retain(|image| base.matches(&image.base));
        }
        if let Some(package) = &query.package {
            let (view, more) = self.package_view(&images);
            unreadable.extend(more);
            let wanted = view.numbers(|known| package.fits(known));
            images.retain(|image| view.has_any(&image.inventory, &wanted).unwrap_or(false));
        }
        let mut summaries = Vec::with_capacity(images.len());
        for image in images {
            let inventory = if query.with_packages {
                match self.inventory_of(&image.reference, image.inventory) {
                    Ok(inventory) => Some(inventory),
                    Err(error) => {
                        unreadable.push(error);
                        continue;
                    }
                }
            } else {
                None
            };
            summaries.push(summary(image, inventory));
        }
        match query.sort {
            ImageSort::Created => {
                // They are sorted by name, and a line is large to be moved about.
                summaries.reverse();
                summaries.sort_by_cached_key(|summary| Reverse(summary.created_at));
            }
            ImageSort::Name => {}
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
        let base = request.base().to_string();
        let (mut images, _) = self.listed(|reference| {
            reference.organisation == self.config.organisation && reference.name != *request.name()
        })?;
        images.retain(|image| image.base == base);
        images.sort_by_key(|image| Reverse(image.created_at));
        let (view, _) = self.package_view(&images);
        let wanted = wanted_packages(&view, request);
        let has_names = |image: &&Listed| {
            let has = |numbers: &BTreeSet<u32>| view.has_any(&image.inventory, numbers);
            // An image that the view cannot hold is looked at.
            wanted.iter().all(|numbers| has(numbers).unwrap_or(true))
        };
        for image in images.iter().filter(has_names) {
            let Ok(kept) = self.lookup(&image.reference.clone().into()) else {
                continue;
            };
            let asked = &kept.record.request;
            let same_base = asked.base() == request.base();
            // Which files an image has is known only of one that was asked for with the same bounds.
            let same_bounds =
                asked.constraints() == request.constraints() && asked.hashes() == request.hashes();
            let same_wishes = asked.recommends() || !request.recommends();
            // What came in an archive was judged by nobody here.
            let made_here = kept.record.loaded.is_none();
            let candidate = same_base && same_bounds && same_wishes && made_here;
            if candidate && self.has_all(&kept, request).unwrap_or(false) {
                return Ok(Some(kept.reference));
            }
        }
        Ok(None)
    }

    fn has_all(&self, image: &KeptImage, request: &Request) -> Result<bool, InspectError> {
        let asked_before = &image.record.request;
        let inventory = self.inventory(image)?;
        let debian = request.packages().iter().all(|wanted| {
            inventory.debian.iter().any(|package| {
                package.name == wanted.name.as_str() && is_that_version(wanted, &package.version)
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

/// For each thing that is asked for, the packages that may be it.
fn wanted_packages(view: &PackageView, request: &Request) -> Vec<BTreeSet<u32>> {
    let debian = request.packages().iter().map(|wanted| {
        view.numbers(|package| {
            package.ecosystem == Ecosystem::Debian
                && package.name == wanted.name.as_str()
                && is_that_version(wanted, &package.version)
        })
    });
    let python = request.dependencies().iter().map(|wanted| {
        // What was asked for with extras or by address is found in the record of an image that was asked for it.
        let only_by_name = !wanted.requirement().extras.is_empty()
            || matches!(wanted.requirement().version_or_url, Some(VersionOrUrl::Url(_)));
        view.numbers(|package| {
            package.ecosystem == Ecosystem::Python
                && package.name == wanted.name().as_str()
                && (only_by_name || satisfies(wanted, &package.version))
        })
    });
    debian.chain(python).collect()
}

fn is_that_version(wanted: &DebianRequirement, version: &str) -> bool {
    let wanted = wanted.version.as_ref();
    wanted.is_none_or(|wanted| version.parse::<DebianVersion>().is_ok_and(|have| have == *wanted))
}

fn satisfies(wanted: &PythonRequirement, version: &str) -> bool {
    let version = version.parse::<DistributionVersion>().ok();
    match (&wanted.requirement().version_or_url, version) {
        (_, None) | (Some(VersionOrUrl::Url(_)), _) => false,
        (None, Some(_)) => true,
        (Some(VersionOrUrl::VersionSpecifier(specifiers)), Some(version)) => specifiers.contains(&version),
    }
}

fn python_satisfies(inventory: &Inventory, wanted: &PythonRequirement) -> bool {
    let mut packages = inventory.python.iter();
    packages
        .find(|package| package.name == wanted.name().as_str())
        .is_some_and(|package| satisfies(wanted, &package.version))
}

fn summary(image: Listed, inventory: Option<Inventory>) -> ImageSummary {
    ImageSummary {
        image: image.reference,
        digest: image.manifest,
        created_at: image.created_at,
        size_bytes: image.size_bytes,
        base: image.base,
        python_packages: image.python_packages,
        debian_packages: image.debian_packages,
        inventory,
    }
}
