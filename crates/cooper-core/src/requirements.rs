//! Requirements files in pip's format, as one value: what is asked for, what bounds it, the hashes that its files may
//! have.
//!
//! The format is that of pip's documentation, "Requirements File Format": comments begin with `#` at the start of a
//! line or after white space; a line that ends with `\` goes on in the next one, and comments are taken away after
//! that; `-r` and `-c` include other files. What would weaken an image is refused with the reason: addresses of
//! indexes (the configuration's business), URLs and paths, variables of the environment. So is what pip takes and
//! ignores.
//!
//! Text goes in and a value comes out: included files are read by a function that the caller gives. When one
//! requirement has a hash, or `--require-hashes` is there, every requirement must have one and name one version; also
//! those whose marker is false for one base, because they count on another.

mod fault;
mod include;
mod statement;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::io;

pub use fault::{Place, RequirementsError, RequirementsFault};
pub use include::IncludePath;

use crate::digest::Digest;
use crate::python::{PythonName, PythonRequirement};
use crate::request::ENTRIES_MAX;
use statement::Statement;

/// How many bytes all files together may have.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
/// How many bytes one line may have, continuations counted in.
pub const LINE_BYTES_MAX: usize = 512 << 10;
/// How many files may be read, repetitions counted in.
pub const FILES_MAX: usize = 64;
/// How many files may include each other in a row.
pub const DEPTH_MAX: usize = 16;
/// How many lines may name the same distribution.
pub const REPEATS_MAX: usize = 64;

/// The sha256 digests that the files of each requirement may have.
pub type Hashes = BTreeMap<PythonRequirement, BTreeSet<Digest>>;

/// What a requirements file says, with all that it includes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// What is asked for, in the order of the lines.
    pub dependencies: Vec<PythonRequirement>,
    /// What bounds the versions of distributions that something else asks for.
    pub constraints: Vec<PythonRequirement>,
    /// The hashes of those requirements and constraints that have some.
    pub hashes: Hashes,
}

/// Parse a requirements file. `name` is what errors call it; `read` gives the bytes of an included file, of which no
/// more than [`FILE_BYTES_MAX`] and one are needed.
///
/// # Errors
/// The first fault with its file and line.
pub fn parse(
    name: &str,
    bytes: &[u8],
    read: &mut dyn FnMut(&IncludePath) -> io::Result<Vec<u8>>,
) -> Result<Requirements, RequirementsError> {
    let mut reader = Reader {
        top: name,
        read,
        files: 0,
        bytes: 0,
        dependencies: Vec::new(),
        constraints: Vec::new(),
        hashed_at: None,
    };
    let top = File {
        name,
        path: None,
        constraints: false,
    };
    reader.file(&top, bytes, &mut Vec::new())?;
    reader.check_repeats()?;
    reader.check_hashed()?;
    Ok(reader.finish())
}

/// One requirement with where it stands.
struct Entry {
    requirement: PythonRequirement,
    hashes: BTreeSet<Digest>,
    place: Place,
}

/// One file of the tree.
struct File<'a> {
    /// What errors call it.
    name: &'a str,
    /// None for the first one.
    path: Option<&'a IncludePath>,
    /// Its lines bound versions and ask for nothing.
    constraints: bool,
}

struct Reader<'a> {
    top: &'a str,
    read: &'a mut dyn FnMut(&IncludePath) -> io::Result<Vec<u8>>,
    files: usize,
    bytes: u64,
    dependencies: Vec<Entry>,
    constraints: Vec<Entry>,
    /// The first hash, or `--require-hashes`.
    hashed_at: Option<Place>,
}

impl Reader<'_> {
    /// Read one file; `open` are those around it that have a path.
    fn file(
        &mut self,
        file: &File<'_>,
        bytes: &[u8],
        open: &mut Vec<IncludePath>,
    ) -> Result<(), RequirementsError> {
        let at = |line| Place {
            file: file.name.to_owned(),
            line,
        };
        self.files += 1;
        self.bytes += bytes.len() as u64;
        if self.bytes > FILE_BYTES_MAX {
            return Err(at(1).fault(RequirementsFault::TooLarge));
        }
        let lines = text::logical_lines(bytes).map_err(|(line, fault)| at(line).fault(fault))?;
        for (line, text) in lines {
            let place = at(line);
            match statement::parse(&text).map_err(|fault| place.clone().fault(fault))? {
                Statement::Requirement { requirement, hashes } => {
                    let entry = Entry {
                        requirement,
                        hashes,
                        place,
                    };
                    self.entry(entry, file.constraints)?;
                }
                Statement::RequireHashes => {
                    self.hashed_at.get_or_insert(place);
                }
                Statement::Include { path, constraints } => {
                    let path = IncludePath::new(file.path, &path);
                    let path = path.map_err(|fault| place.clone().fault(fault))?;
                    self.include(&path, constraints, place, open)?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: Entry, constraint: bool) -> Result<(), RequirementsError> {
        if constraint && !entry.requirement.requirement().extras.is_empty() {
            return Err(entry.place.fault(RequirementsFault::ConstraintExtras));
        }
        if !entry.hashes.is_empty() {
            self.hashed_at.get_or_insert_with(|| entry.place.clone());
        }
        let list = if constraint {
            &mut self.constraints
        } else {
            &mut self.dependencies
        };
        if list.len() >= ENTRIES_MAX {
            return Err(entry.place.fault(RequirementsFault::TooMany));
        }
        list.push(entry);
        Ok(())
    }

    /// As in pip, what `-r` includes is asked for, even from a file of constraints.
    fn include(
        &mut self,
        path: &IncludePath,
        constraints: bool,
        place: Place,
        open: &mut Vec<IncludePath>,
    ) -> Result<(), RequirementsError> {
        let folder = self.top.rfind('/').map_or("", |at| &self.top[..=at]);
        let name = format!("{folder}{path}");
        if self.files >= FILES_MAX || open.len() >= DEPTH_MAX {
            return Err(place.fault(RequirementsFault::TooManyFiles));
        }
        if name == self.top || open.contains(path) {
            return Err(place.fault(RequirementsFault::Cycle { path: name }));
        }
        let bytes = (self.read)(path);
        let bytes = bytes.map_err(|source| {
            place.fault(RequirementsFault::Unreadable {
                path: name.clone(),
                source,
            })
        })?;
        open.push(path.clone());
        let file = File {
            name: &name,
            path: Some(path),
            constraints,
        };
        self.file(&file, &bytes, open)?;
        open.pop();
        Ok(())
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.dependencies.iter().chain(&self.constraints)
    }

    /// Lines about the same distribution that can hold at the same time have the same hashes.
    fn check_repeats(&self) -> Result<(), RequirementsError> {
        let mut by_name: BTreeMap<&PythonName, Vec<&Entry>> = BTreeMap::new();
        for entry in self.entries() {
            let name = entry.requirement.name();
            let earlier = by_name.entry(name).or_default();
            if earlier.len() >= REPEATS_MAX {
                let fault = RequirementsFault::Repeated { name: name.clone() };
                return Err(entry.place.clone().fault(fault));
            }
            let disagrees = |other: &&&Entry| {
                let both_hashed = !entry.hashes.is_empty() && !other.hashes.is_empty();
                both_hashed && entry.hashes != other.hashes && entry.can_hold_with(other)
            };
            if let Some(other) = earlier.iter().find(disagrees) {
                let fault = RequirementsFault::OtherHashes {
                    name: name.clone(),
                    other: other.place.clone(),
                };
                return Err(entry.place.clone().fault(fault));
            }
            earlier.push(entry);
        }
        Ok(())
    }

    /// Once one requirement has a hash, each has one, and names one version. A constraint may give both.
    fn check_hashed(&self) -> Result<(), RequirementsError> {
        let Some(because) = &self.hashed_at else {
            return Ok(());
        };
        for entry in &self.dependencies {
            let same = |other: &&Entry| other.requirement.name() == entry.requirement.name();
            let bounds = || std::iter::once(entry).chain(self.constraints.iter().filter(same));
            let requirement = entry.requirement.to_string();
            let fault = if bounds().all(|entry| entry.hashes.is_empty()) {
                RequirementsFault::Unhashed {
                    requirement,
                    because: because.clone(),
                }
            } else if bounds().all(|entry| entry.requirement.exact_version().is_none()) {
                RequirementsFault::Unpinned { requirement }
            } else {
                continue;
            };
            return Err(entry.place.clone().fault(fault));
        }
        Ok(())
    }

    fn finish(self) -> Requirements {
        let mut hashes = Hashes::new();
        for entry in self.entries().filter(|entry| !entry.hashes.is_empty()) {
            let known = hashes.entry(entry.requirement.clone()).or_default();
            known.extend(&entry.hashes);
        }
        let requirements = |entries: Vec<Entry>| entries.into_iter().map(|entry| entry.requirement).collect();
        Requirements {
            dependencies: requirements(self.dependencies),
            constraints: requirements(self.constraints),
            hashes,
        }
    }
}

impl Entry {
    fn can_hold_with(&self, other: &Self) -> bool {
        let marker = |entry: &Self| entry.requirement.requirement().marker;
        self.requirement == other.requirement || !marker(self).is_disjoint(marker(other))
    }
}

#[cfg(test)]
mod tests;
