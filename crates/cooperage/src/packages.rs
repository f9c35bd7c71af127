//! Which packages are in which images: a view over all inventories, kept in the cache, so that a question about ten
//! thousand images reads one file.
//!
//! Packages are numbered as they are first seen, so that what images share, such as their base, is a range of numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use cooper_core::{BlobDigest, Digest};
use cooper_image::Inventory;

use crate::inspect::InspectError;
use crate::summary::Listed;
use crate::workshop::Workshop;

const KIND: &str = "packages";
const KEY: &str = "of inventories";
const FIRST_LINE: &str = "cooper-packages 1";
/// So many inventories may be read again and again before the view is written anew.
const UNKNOWN_MAX: usize = 32;

/// Whose package it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ecosystem {
    Debian,
    Python,
}

/// A package at a version, as inventories name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    pub(crate) ecosystem: Ecosystem,
    pub(crate) name: String,
    pub(crate) version: String,
}

/// The packages of inventories.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PackageView {
    packages: Vec<Package>,
    numbers: BTreeMap<Package, u32>,
    /// Ascending ranges, ends included.
    inventories: BTreeMap<BlobDigest, Vec<(u32, u32)>>,
}

impl PackageView {
    /// The numbers of the packages that fit.
    pub(crate) fn numbers(&self, fits: impl Fn(&Package) -> bool) -> BTreeSet<u32> {
        let numbered = self.packages.iter().zip(0..);
        numbered
            .filter(|(package, _)| fits(package))
            .map(|(_, number)| number)
            .collect()
    }

    /// Whether an inventory has one of these packages; nothing if the inventory is unknown.
    pub(crate) fn has_any(&self, inventory: &BlobDigest, numbers: &BTreeSet<u32>) -> Option<bool> {
        let ranges = self.inventories.get(inventory)?;
        Some(
            ranges
                .iter()
                .any(|(first, last)| numbers.range(first..=last).next().is_some()),
        )
    }

    fn add(&mut self, digest: BlobDigest, inventory: Inventory) {
        let debian = inventory
            .debian
            .into_iter()
            .map(|package| (Ecosystem::Debian, package));
        let python = inventory
            .python
            .into_iter()
            .map(|package| (Ecosystem::Python, package));
        let mut numbers: Vec<u32> = debian
            .chain(python)
            .map(|(ecosystem, package)| {
                self.number(Package {
                    ecosystem,
                    name: package.name,
                    version: package.version,
                })
            })
            .collect();
        numbers.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match ranges.last_mut() {
                Some((_, last)) if number <= last.saturating_add(1) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        self.inventories.insert(digest, ranges);
    }

    fn number(&mut self, package: Package) -> u32 {
        let next = u32::try_from(self.packages.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(package).or_insert_with_key(|package| {
            self.packages.push(package.clone());
            next
        })
    }

    fn write(&self) -> Vec<u8> {
        let mut text = format!("{FIRST_LINE}\n");
        // Writing to a text does not fail.
        for package in &self.packages {
            let ecosystem = match package.ecosystem {
                Ecosystem::Debian => 'd',
                Ecosystem::Python => 'p',
            };
            let _ = writeln!(text, "{ecosystem} {} {}", package.name, package.version);
        }
        for (digest, ranges) in &self.inventories {
            let _ = write!(text, "i {}", digest.hex());
            for (first, last) in ranges {
                let _ = write!(text, " {first}-{last}");
            }
            text.push('\n');
        }
        text.into_bytes()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(bytes).ok()?.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut view = Self::default();
        for line in lines {
            let (kind, rest) = line.split_once(' ')?;
            let ecosystem = match kind {
                "d" => Ecosystem::Debian,
                "p" => Ecosystem::Python,
                "i" => {
                    let (digest, ranges) = rest.split_once(' ').unwrap_or((rest, ""));
                    let digest = BlobDigest::new(Digest::from_hex(digest).ok()?);
                    view.inventories.insert(digest, parse_ranges(ranges)?);
                    continue;
                }
                _ => return None,
            };
            let (name, version) = rest.split_once(' ')?;
            view.number(Package {
                ecosystem,
                name: name.to_owned(),
                version: version.to_owned(),
            });
        }
        Some(view)
    }
}

fn parse_ranges(text: &str) -> Option<Vec<(u32, u32)>> {
    let range = |word: &str| {
        let (first, last) = word.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    };
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(range)
        .collect()
}

/// A name or version that a line of the view can have; others are not listed by package.
fn is_plain(inventory: &Inventory) -> bool {
    let all = inventory.debian.iter().chain(&inventory.python);
    all.flat_map(|package| [&package.name, &package.version])
        .all(|text| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control()))
}

impl Workshop {
    /// The packages of these images, and which inventories could not be read. What the view lacks is read and put into
    /// it; what no image has any more is dropped from it then.
    pub(crate) fn package_view(&self, images: &[Listed]) -> (PackageView, Vec<InspectError>) {
        let cached = self.store.cache_get(KIND, KEY);
        let mut view = cached
            .and_then(|cached| PackageView::parse(&cached.bytes))
            .unwrap_or_default();
        let (mut unreadable, mut added) = (Vec::new(), 0);
        for image in images {
            if view.inventories.contains_key(&image.inventory) {
                continue;
            }
            match self.inventory_of(&image.reference, image.inventory) {
                Ok(inventory) if is_plain(&inventory) => {
                    view.add(image.inventory, inventory);
                    added += 1;
                }
                Ok(_) => {}
                Err(error) => unreadable.push(error),
            }
        }
        if added > UNKNOWN_MAX
            && let Err(error) = self.store.cache_put(KIND, KEY, &view.write())
        {
            tracing::debug!(?error, "the view of the packages is not kept");
        }
        (view, unreadable)
    }
}

#[cfg(test)]
mod tests {
    use cooper_image::InventoryPackage;

    use super::*;

    fn inventory(debian: &[(&str, &str)], python: &[(&str, &str)]) -> Inventory {
        let list = |packages: &[(&str, &str)]| {
            let package = |(name, version): &(&str, &str)| InventoryPackage {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                licence: None,
                built_from: None,
            };
            packages.iter().map(package).collect()
        };
        Inventory {
            debian: list(debian),
            python: list(python),
            below: Vec::new(),
            missing_libraries: Vec::new(),
        }
    }

    #[test]
    fn packages_are_found_again() {
        let base = [("libc6", "2.41"), ("perl-base", "5.40"), ("zlib1g", "1:1.3")];
        let mut view = PackageView::default();
        let digests = [b"a", b"b", b"c"].map(|content| BlobDigest::of(content));
        view.add(digests[0], inventory(&base, &[("jinja2", "3.1.4")]));
        view.add(digests[1], inventory(&base, &[("jinja2", "3.1.6")]));
        view.add(
            digests[2],
            inventory(&[("libc6", "2.36"), ("zlib1g", "1:1.3")], &[]),
        );
        let view = PackageView::parse(&view.write()).unwrap();
        assert_eq!(view.inventories[&digests[1]], [(0, 2), (4, 4)]);
        let having = |fits: &dyn Fn(&Package) -> bool| {
            let numbers = view.numbers(fits);
            digests.map(|digest| view.has_any(&digest, &numbers).unwrap())
        };
        assert_eq!(having(&|package| package.name == "jinja2"), [true, true, false]);
        assert_eq!(
            having(&|package| package.version == "3.1.6"),
            [false, true, false]
        );
        assert_eq!(having(&|package| package.name == "zlib1g"), [true, true, true]);
        assert_eq!(having(&|package| package.name == "none"), [false; 3]);
        assert_eq!(view.has_any(&BlobDigest::of(b"d"), &BTreeSet::new()), None);
    }

    #[test]
    fn what_is_not_a_view_is_none() {
        for text in [
            "",
            "cooper-packages 2\n",
            "cooper-packages 1\nx a b\n",
            "cooper-packages 1\ni ab 1-2\n",
        ] {
            assert_eq!(PackageView::parse(text.as_bytes()), None, "{text}");
        }
    }
}
