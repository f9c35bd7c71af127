//! A shared library that files of an image ask for and that is not in it, and who has it.

use serde::{Deserialize, Serialize};

use crate::debian::DebianName;

/// A shared library that is missing in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MissingLibrary {
    /// The name that the loader looks for: `libGL.so.1`.
    pub library: String,
    /// Where the library is there but too old: the version of its symbols that is asked for, `GLIBCXX_3.4.32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The Python distributions whose files ask for it, sorted.
    pub needed_by: Vec<String>,
    /// One of those files, by its absolute path in the image.
    pub file: String,
    /// Only plug-ins ask for it, which are loaded when they are used: the rest works without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plugin: bool,
    /// The Debian package that has it, where one is known.
    pub package: Option<DebianName>,
    /// How the package is known.
    pub how: Option<LibraryEvidence>,
}

/// How it is known which package has a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LibraryEvidence {
    /// The archive's list of contents says so: certain.
    Contents,
    /// The package has the name that Debian Policy (8.1) gives the package of that library: nearly certain.
    Name,
}

impl MissingLibrary {
    /// Whether it can be had: nothing that works without it, and a package has it.
    pub fn fix(&self) -> Option<&DebianName> {
        self.package
            .as_ref()
            .filter(|_| !self.plugin && self.version.is_none())
    }
}

impl LibraryEvidence {
    /// The end of a sentence about the package.
    pub const fn told(self) -> &'static str {
        match self {
            Self::Contents => "has it",
            Self::Name => "should have it, by its name",
        }
    }
}
