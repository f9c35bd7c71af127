//! What differs between the packages of two images.

use std::collections::BTreeMap;

use cooper_core::ImageReference;
use cooper_image::Inventory;
use serde::Serialize;

/// One package that differs between two versions of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// `debian` or `python`.
    pub ecosystem: &'static str,
    /// The package.
    pub name: String,
    /// The version before; none: added.
    pub before: Option<String>,
    /// The version now; none: removed.
    pub now: Option<String>,
    /// The image below that it comes from now, or came from; none: it is the image's own, or the Debian base's.
    #[serde(rename = "from_base", skip_serializing_if = "Option::is_none")]
    pub below: Option<ImageReference>,
}

/// The packages that are not the same in both, from the old to the new.
pub(crate) fn differences(old: &Inventory, new: &Inventory) -> Vec<Change> {
    let mut changes = Vec::new();
    let inventories = (old, new);
    for (ecosystem, old, new) in [
        ("debian", &old.debian, &new.debian),
        ("python", &old.python, &new.python),
    ] {
        let below = |inventory: &Inventory, name: &str| match ecosystem {
            "debian" => inventory.below_debian(name).cloned(),
            _ => inventory.below_python(name).cloned(),
        };
        let mut versions: BTreeMap<&str, (Option<&str>, Option<&str>)> = BTreeMap::new();
        for package in old {
            versions.entry(&package.name).or_default().0 = Some(&package.version);
        }
        for package in new {
            versions.entry(&package.name).or_default().1 = Some(&package.version);
        }
        let differing = versions.into_iter().filter(|(_, (before, now))| before != now);
        changes.extend(differing.map(|(name, (before, now))| Change {
            ecosystem,
            name: name.to_owned(),
            before: before.map(str::to_owned),
            now: now.map(str::to_owned),
            below: below(
                if now.is_some() {
                    inventories.1
                } else {
                    inventories.0
                },
                name,
            ),
        }));
    }
    changes
}

#[cfg(test)]
mod tests {
    use cooper_image::InventoryPackage;

    use super::*;

    fn inventory(python: &[(&str, &str)]) -> Inventory {
        let package = |(name, version): &(&str, &str)| InventoryPackage {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            licence: None,
            built_from: None,
        };
        Inventory {
            python: python.iter().map(package).collect(),
            ..Inventory::default()
        }
    }

    #[test]
    fn differences_are_added_removed_and_changed() {
        let changes = differences(
            &inventory(&[("a", "1"), ("b", "1")]),
            &inventory(&[("b", "2"), ("c", "1")]),
        );
        let shown: Vec<_> = changes
            .iter()
            .map(|c| (c.name.as_str(), c.before.as_deref(), c.now.as_deref()))
            .collect();
        assert_eq!(
            shown,
            [
                ("a", Some("1"), None),
                ("b", Some("1"), Some("2")),
                ("c", None, Some("1"))
            ]
        );
    }
}
