//! What is inside an image: every package with its version and licence, as the artefacts themselves say it.

use serde::{Deserialize, Serialize};

/// Every package of an image, sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// Debian packages.
    pub debian: Vec<InventoryPackage>,
    /// Python distributions.
    pub python: Vec<InventoryPackage>,
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
