//! Where each wheel of a layer comes from: kept from an earlier layer, or its archive.
//!
//! A kept wheel is used, and a wheel is kept, only where it has all its places for itself: what several wheels have, or
//! what is there below, is decided while the wheels are installed, in the order of the lock.

use std::collections::{BTreeMap, BTreeSet};

use cooper_core::lock::PythonArtefact;

use super::PythonLayer;
use crate::assemble::Bench;
use crate::bytecode::bytecode_of;
use crate::debian_layer::on_every_processor;
use crate::error::AssembleError;
use crate::prepared::{self, KeptWheel};
use crate::rootfs::{Metadata, Rootfs, RootfsError, TreePath, UnpackLimits};
use crate::wheel::{Wheel, WheelError, hidden_program};

/// How many archives stay open between being looked at and being installed.
const HELD_MAX: usize = 256;

/// One wheel of a layer.
pub(super) struct Source<'a> {
    pub(super) artefact: &'a PythonArtefact,
    /// Where it is kept, or may be; none where it is not the layer's alone.
    pub(super) key: Option<String>,
    pub(super) from: Origin,
}

/// Where its files come from.
pub(super) enum Origin {
    Kept(KeptWheel),
    /// The archive, if it is open.
    Archive(Option<Box<Wheel>>),
}

/// A wheel and the places that it would take.
struct Looked<'a> {
    source: Source<'a>,
    places: Vec<TreePath>,
}

impl PythonLayer<'_> {
    /// Look at every wheel, and at the directories of all their places that are below already; nothing is written to
    /// `rootfs`.
    pub(super) fn sources(
        &self,
        bench: Bench<'_>,
        rootfs: &Rootfs,
        use_kept: bool,
    ) -> Result<(Vec<Source<'_>>, BTreeMap<TreePath, Metadata>), AssembleError> {
        let shares = on_every_processor(|first, threads| {
            let mut below = Below::new(rootfs);
            let own = self.artefacts.iter().enumerate().skip(first).step_by(threads);
            own.map(|(at, artefact)| {
                let kept = use_kept.then(|| self.kept(bench, artefact, &mut below)).flatten();
                let looked = match kept {
                    Some(looked) => looked,
                    None => self.looked_into(bench, rootfs, artefact, at < HELD_MAX)?,
                };
                Ok((at, looked))
            })
            .collect::<Result<Vec<_>, AssembleError>>()
        })?;
        let mut all: Vec<(usize, Looked<'_>)> = shares.into_iter().flatten().collect();
        all.sort_by_key(|(at, _)| *at);
        let entangled = entangled(all.iter().map(|(_, looked)| looked.places.as_slice()));
        let places = all.iter().flat_map(|(_, looked)| &looked.places);
        let below = directories_below(rootfs, places);
        let below = below.map_err(|source| super::tree_error("look at the directories below", source))?;
        let mut sources: Vec<Source<'_>> = all.into_iter().map(|(_, looked)| looked.source).collect();
        for at in entangled {
            sources[at].key = None;
            if let Origin::Kept(_) = sources[at].from {
                sources[at].from = Origin::Archive(None);
            }
        }
        Ok((sources, below))
    }

    /// Open and check an archive.
    pub(super) fn archive(bench: Bench<'_>, artefact: &PythonArtefact) -> Result<Wheel, AssembleError> {
        let package = package(artefact);
        let file = bench.store.open_checked_blob(&artefact.sha256);
        let file = file.map_err(|source| AssembleError::Artefact {
            package: package.clone(),
            source,
        })?;
        Wheel::open_as(file, artefact, &UnpackLimits::default())
            .map_err(|source| AssembleError::Wheel { package, source })
    }

    fn key(&self, bench: Bench<'_>, artefact: &PythonArtefact) -> Option<String> {
        prepared::key(artefact, &self.interpreter, bench.recipe)
    }

    fn kept<'a>(
        &self,
        bench: Bench<'_>,
        artefact: &'a PythonArtefact,
        below: &mut Below<'_>,
    ) -> Option<Looked<'a>> {
        let key = self.key(bench, artefact)?;
        let kept = KeptWheel::find(bench.store, &key, artefact)?;
        // Whatever is wrong with it, installing the archive says so.
        let is_free = below.has_none_of(kept.paths()).unwrap_or(false);
        let places = kept.paths().to_vec();
        let source = Source {
            artefact,
            key: Some(key),
            from: Origin::Kept(kept),
        };
        is_free.then_some(Looked { source, places })
    }

    fn looked_into<'a>(
        &self,
        bench: Bench<'_>,
        rootfs: &Rootfs,
        artefact: &'a PythonArtefact,
        is_held: bool,
    ) -> Result<Looked<'a>, AssembleError> {
        let wheel = Self::archive(bench, artefact)?;
        let places = wheel.places(rootfs, self.base.python());
        let mut places = places.map_err(|source| AssembleError::Wheel {
            package: package(artefact),
            source,
        })?;
        let bytecode = places
            .iter()
            .filter_map(|path| bytecode_of(path.as_str(), self.base.python()));
        let bytecode: Vec<String> = bytecode.collect();
        let bytecode = bytecode
            .iter()
            .filter_map(|path| TreePath::parse(path.as_bytes(), usize::MAX).ok());
        places.extend(bytecode);
        // A wheel may ship the bytecode of a source that it does not have.
        places.sort_unstable();
        places.dedup();
        let source = Source {
            artefact,
            key: self.key(bench, artefact),
            from: Origin::Archive(is_held.then(|| Box::new(wheel))),
        };
        Ok(Looked { source, places })
    }
}

pub(super) fn package(artefact: &PythonArtefact) -> String {
    format!("{} {}", artefact.name, artefact.version)
}

/// All directories above these paths, but the root.
pub(super) fn parents<'a>(paths: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for mut path in paths {
        while let Some((parent, _)) = path.rsplit_once('/') {
            if !found.insert(parent) {
                break;
            }
            path = parent;
        }
    }
    found
}

/// Those of the directories above these places that are there already.
fn directories_below<'a>(
    rootfs: &Rootfs,
    places: impl Iterator<Item = &'a TreePath>,
) -> Result<BTreeMap<TreePath, Metadata>, RootfsError> {
    let mut below = BTreeMap::new();
    let mut absent: Option<String> = None;
    for name in parents(places.map(TreePath::as_str)) {
        // What is in a directory comes after it: nothing is where that is not.
        if absent.as_deref().is_some_and(|absent| name.starts_with(absent)) {
            continue;
        }
        let Ok(path) = TreePath::parse(name.as_bytes(), usize::MAX) else {
            continue;
        };
        match rootfs.directory(&path) {
            Ok(Some(metadata)) => drop(below.insert(path, metadata)),
            // Installing says what is wrong with it.
            Ok(None) | Err(RootfsError::ThroughLink { .. } | RootfsError::NotADirectory { .. }) => {
                absent = Some(format!("{name}/"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(below)
}

/// What is below a layer: the names in directories, each listed once.
struct Below<'a> {
    rootfs: &'a Rootfs,
    names: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Below<'a> {
    fn new(rootfs: &'a Rootfs) -> Self {
        Self {
            rootfs,
            names: BTreeMap::new(),
        }
    }

    /// Whether none of these places is taken, and no program would hide one of the base.
    fn has_none_of(&mut self, paths: &[TreePath]) -> Result<bool, WheelError> {
        for path in paths {
            if self.has(path)? || hidden_program(self.rootfs, path)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn has(&mut self, path: &TreePath) -> Result<bool, RootfsError> {
        let Some((parent, name)) = path.split() else {
            return Ok(true);
        };
        if let Some(names) = self.names.get(parent) {
            return Ok(names.contains(name));
        }
        let directory = TreePath::parse(parent.as_bytes(), usize::MAX);
        let directory = directory.unwrap_or_default();
        let names: BTreeSet<String> = self.rootfs.names(&directory)?.into_iter().collect();
        let has = names.contains(name);
        self.names.insert(parent.to_owned(), names);
        Ok(has)
    }
}

/// The wheels, by number, that want a place which another one wants, or one below it.
fn entangled<'a>(wheels: impl Iterator<Item = &'a [TreePath]>) -> BTreeSet<usize> {
    let mut owners: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, places) in wheels.enumerate() {
        for place in places {
            owners.entry(place.as_str()).or_default().push(at);
        }
    }
    let mut found = BTreeSet::new();
    for (place, own) in &owners {
        if own.len() > 1 {
            found.extend(own);
        }
        // `/` is not the first byte that can follow: `a-b` comes between `a` and `a/b`.
        let below = format!("{place}/");
        for (path, others) in owners.range(below.as_str()..) {
            if !path.starts_with(&below) {
                break;
            }
            found.extend(own.iter().chain(others));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(wheels: &[&[&str]]) -> Vec<usize> {
        let parse = |path: &&str| TreePath::parse(path.as_bytes(), usize::MAX).unwrap();
        let wheels: Vec<Vec<TreePath>> = wheels
            .iter()
            .map(|paths| paths.iter().map(parse).collect())
            .collect();
        entangled(wheels.iter().map(Vec::as_slice)).into_iter().collect()
    }

    #[test]
    fn wheels_that_want_one_place_are_entangled() {
        assert_eq!(of(&[&["a/x"], &["a/y"], &["b/x", "a/x"]]), [0, 2]);
        assert_eq!(of(&[&["a"], &["a-b", "a.c"], &["a/y"], &["c"]]), [0, 2]);
        assert_eq!(of(&[&["a/b/c/d"], &["a/b"], &["a/bc"]]), [0, 1]);
        assert!(of(&[&["a/b"], &["a/c"]]).is_empty());
    }
}
