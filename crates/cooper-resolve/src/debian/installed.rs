//! The packages of an image below, as an index of their own: the versions that are there can be chosen although no
//! archive may have them any more.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cooper_core::base::{Suite, SuiteKind};
use cooper_core::plan::PlannedDebian;

use super::error::DebianError;
use super::index::{self, PackageIndex};
use crate::ground::GroundImage;

/// An image's packages with what they depend on, provide and conflict with.
pub(super) struct Installed<'a> {
    pub(super) image: &'a GroundImage,
    /// Stanzas of the form that an archive's index has.
    text: String,
}

impl<'a> Installed<'a> {
    /// Read them from the image's own package database.
    ///
    /// # Errors
    /// When that does not know one of the packages that the image's lock names.
    pub(super) fn read(image: &'a GroundImage) -> Result<Self, DebianError> {
        let mut known: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        for paragraph in image.status.split("\n\n") {
            if let Some(name) = field(paragraph, "Package").zip(field(paragraph, "Version")) {
                known.insert(name, paragraph);
            }
        }
        let mut text = String::new();
        for planned in image.debian() {
            let paragraph = known.get(&(planned.name.as_str(), planned.version.as_str()));
            let paragraph = paragraph.ok_or_else(|| DebianError::GroundImage {
                image: image.image.to_string(),
                name: planned.name.clone(),
                version: planned.version.clone(),
            })?;
            push_stanza(&mut text, paragraph, planned);
        }
        Ok(Self { image, text })
    }

    /// The digest of all that a solution depends on.
    pub(super) fn digest(&self) -> cooper_core::Digest {
        cooper_core::Digest::of(format!("{}\n{}", self.image.image, self.text).as_bytes())
    }

    /// The packages as an index. Its suite is the base's own: nothing is fetched by it.
    pub(super) fn index(&self) -> Result<(Suite, PackageIndex), DebianError> {
        let suite = Suite {
            base: self.image.release,
            kind: SuiteKind::Release,
        };
        let compact = index::build(self.text.as_bytes());
        let compact = compact.map_err(|source| DebianError::Index { suite, source })?;
        let index = PackageIndex::from_bytes(compact);
        let index = index.map_err(|source| DebianError::Damaged { suite, source })?;
        Ok((suite, index))
    }
}

/// The value of a field that stands in one line.
fn field<'t>(paragraph: &'t str, name: &str) -> Option<&'t str> {
    let value = |line: &'t str| line.strip_prefix(name)?.strip_prefix(':').map(str::trim);
    paragraph.lines().find_map(value)
}

/// What the package says of itself, and where the archive had it.
fn push_stanza(text: &mut String, paragraph: &str, planned: &PlannedDebian) {
    let of_archive = ["Size:", "SHA256:", "Filename:"];
    let own = paragraph
        .lines()
        .filter(|line| !of_archive.iter().any(|field| line.starts_with(field)));
    for line in own.filter(|line| !line.trim().is_empty()) {
        text.push_str(line);
        text.push('\n');
    }
    if let Some(hash) = planned.sha256 {
        let _ = writeln!(text, "SHA256: {}", hash.hex());
    }
    let _ = writeln!(text, "Size: {}\nFilename: {}\n", planned.size, planned.path);
}
