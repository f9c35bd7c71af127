//! Shared libraries that files of wheels ask for, and whether the image has them, as `ldd` would find out: without
//! running anything.
//!
//! ```text
//! wheel installed   each ELF file: what it asks for, what it is             elf
//! layer finished    what its wheels ask for that is not among their files   needs     remembered with the layer
//! image assembled   what no layer has, where the loader would look          missing   in the inventory
//! ```
//!
//! The layer of wheels is built without that of OS packages: only the last step knows what both have together.

pub(crate) mod elf;
mod missing;
mod needs;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub(crate) use missing::missing;
pub(crate) use needs::of_wheels;

/// What is read of an ELF file, in words: for the fuzz target.
#[doc(hidden)]
pub fn elf_in_words(bytes: &[u8]) -> String {
    let elf = elf::read(elf::ElfBytes::Memory(bytes));
    elf.map_or_else(
        || "no file of the image's machine".to_owned(),
        |elf| {
            let versions = (elf.versions_needed.len(), elf.versions_defined.len());
            format!(
                "needs {}, searches {}, versions {versions:?}",
                elf.needed.len(),
                elf.search.len()
            )
        },
    )
}

/// Counts up when the same files would give something else.
const RULES: u32 = 1;

/// What the ELF files of a layer ask for and have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerLibraries {
    /// By which rules they were found.
    rules: u32,
    /// The names of its libraries: those of the files, and those that they have for the loader.
    provides: BTreeSet<String>,
    /// What it asks for and does not provide.
    needs: Vec<Need>,
}

impl LayerLibraries {
    /// Whether they were found by today's rules.
    pub(crate) fn is_current(&self) -> bool {
        self.rules == RULES
    }

    /// Whether there is nothing to look for.
    pub(crate) fn asks_for_nothing(&self) -> bool {
        self.needs.is_empty()
    }
}

/// A library that a distribution asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Need {
    /// As the loader looks for it: a file name, or a path.
    library: String,
    distribution: String,
    /// One of the files that ask for it: an absolute path.
    file: String,
    /// Whether all that ask for it are plug-ins.
    plugin: bool,
    /// Directories that the loader looks into first.
    search: BTreeSet<String>,
    /// Versions of symbols that it must have.
    versions: BTreeSet<String>,
}
