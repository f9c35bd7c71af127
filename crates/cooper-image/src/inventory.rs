//! What is inside an image: every package with its version and licence, as the artefacts themselves say it.

use cooper_core::MissingLibrary;
use serde::{Deserialize, Serialize};

/// Every package of an image, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Debian packages.
    pub debian: Vec<InventoryPackage>,
    /// Python distributions.
    pub python: Vec<InventoryPackage>,
    /// Shared libraries that files of Python distributions ask for and that are not in the image, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_libraries: Vec<MissingLibrary>,
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
}
