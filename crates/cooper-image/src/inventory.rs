//! What is inside an image: every package with its version and licence, as the artefacts themselves say it.

use cooper_core::{ImageReference, MissingLibrary};
use serde::{Deserialize, Serialize};

/// Every package of an image, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Debian packages.
    pub debian: Vec<InventoryPackage>,
    /// Python distributions.
    pub python: Vec<InventoryPackage>,
    /// The images that it stands on, the lowest first, each with what is there because of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<InventoryBelow>,
    /// Shared libraries that files of Python distributions ask for and that are not in the image, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_libraries: Vec<MissingLibrary>,
}

/// What an image has because it stands on another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryBelow {
    /// Which version, with its organisation.
    pub image: ImageReference,
    /// Names of Debian packages, sorted.
    pub debian: Vec<String>,
    /// Names of Python distributions, sorted.
    pub python: Vec<String>,
}

impl Inventory {
    /// The image below that a Debian package comes from; none: the base or the image itself.
    pub fn below_debian(&self, name: &str) -> Option<&ImageReference> {
        self.below_with(|below| &below.debian, name)
    }

    /// The image below that a Python distribution comes from; none: the image itself.
    pub fn below_python(&self, name: &str) -> Option<&ImageReference> {
        self.below_with(|below| &below.python, name)
    }

    fn below_with(
        &self,
        list: impl Fn(&InventoryBelow) -> &Vec<String>,
        name: &str,
    ) -> Option<&ImageReference> {
        let has = |below: &&InventoryBelow| list(below).iter().any(|known| known == name);
        self.below.iter().find(has).map(|below| &below.image)
    }
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InventoryPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The licence as the package states it (Debian: the copyright file's `Files: *` paragraph; Python: the
    /// metadata); not judged.
    pub licence: Option<String>,
    /// The sources that its wheel was built from here; none where an index has the wheel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_from: Option<String>,
}
