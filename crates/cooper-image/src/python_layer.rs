//! A layer of Python wheels: prepared one by one, compiled by the image's own interpreter in the build sandbox, joined.
//!
//! Only what compiles is unpacked to a tree, which is gone afterwards; what is kept of a wheel are the members that its
//! files are in a layer ([`crate::prepared`]). A wheel that an earlier layer had is not unpacked at all: the bytes are the
//! same either way. The layer's own tree is unpacked when somebody needs it ([`crate::layer::tree`]).

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use cooper_core::lock::PythonArtefact;
use cooper_core::progress::{Event, Stage};
use cooper_core::{Base, Digest, PythonVersion};
use cooper_store::TreeStage;

use crate::assemble::{Bench, JoinedLayer};
use crate::build_step::{BuildRoot, run_build_step};
use crate::bytecode::{Sources, bytecode_of, compile_program};
use crate::debian_layer::on_every_processor;
use crate::error::AssembleError;
use crate::fast_paths::FastPrograms;
use crate::inventory::InventoryPackage;
use crate::layer::PackError;
use crate::layer::join::{JoinError, JoinedFile, Prepared, join};
use crate::libraries;
use crate::prepared::{self, Content, PackWriter, WheelFacts};
use crate::rootfs::{Links, Metadata, Rootfs, TreePath};
use crate::wheel::InstalledWheel;
use sources::{Origin, Source, package, parents};

/// The ingredients of a layer of wheels.
pub(crate) struct PythonLayer<'a> {
    /// The base that it stands on.
    pub(crate) base: Base,
    /// Its wheels.
    pub(crate) artefacts: &'a [PythonArtefact],
    /// The trees below it, the top one first.
    pub(crate) lower: &'a [PathBuf],
    /// The digest of what compiles.
    pub(crate) interpreter: Digest,
}

/// How often a layer is begun anew because a kept wheel was damaged; then all are prepared from their archives.
const DAMAGED_MAX: u32 = 8;
const ROLE: &str = "python";

/// A wheel that was installed from its archive.
struct Made {
    wheel: InstalledWheel,
    /// Its files; none where they are in the tree, since others have places of them, too.
    pack: Option<PackWriter>,
}

impl PythonLayer<'_> {
    /// Build the layer.
    pub(crate) fn build(&self, bench: Bench<'_>) -> Result<JoinedLayer, AssembleError> {
        for _ in 0..DAMAGED_MAX {
            if let Some(layer) = self.attempt(bench, true)? {
                return Ok(layer);
            }
        }
        let layer = self.attempt(bench, false)?;
        layer.ok_or_else(|| tree_error("join the prepared wheels", "one is damaged"))
    }

    /// The layer, unless a kept wheel was damaged: it is dropped then.
    fn attempt(&self, bench: Bench<'_>, use_kept: bool) -> Result<Option<JoinedLayer>, AssembleError> {
        let stage = bench.store.stage_tree().map_err(AssembleError::Stage)?;
        let (root, work) = (stage.root(), stage.work());
        let overlay = cooper_sandbox::overlay_fd(self.lower, &root, &work);
        let rootfs = Rootfs::new(overlay.map_err(AssembleError::Sandbox)?, Links::Refused);
        let count = self.artefacts.len() as u64;
        bench.progress.started(Stage::Unpack, count, 0);
        let (mut sources, below) = self.sources(bench, &rootfs, use_kept)?;
        let made = self.install(bench, &rootfs, &mut sources)?;
        bench.progress.finished(Stage::Unpack);
        let facts: Vec<WheelFacts> = sources.iter().zip(&made).filter_map(facts).collect();
        let newest = facts.iter().map(|facts| facts.newest_mtime).max().unwrap_or(0);
        let settled = rootfs.settle(newest);
        settled.map_err(|source| tree_error("settle the installed files", source))?;
        drop(rootfs);
        self.compile(bench, &stage, made.iter().flatten().map(|made| &made.wheel))?;
        let tree = Rootfs::open(&root, Links::Refused);
        let tree = tree.map_err(|source| tree_error("open the tree", source))?;
        let prepared = self.prepare(bench, &tree, &sources, made)?;
        bench.progress.started(Stage::Pack, 0, 0);
        bench.progress.detail(Stage::Pack, format!("{ROLE} layer"));
        let kept = sources.iter().filter_map(|source| match &source.from {
            Origin::Kept(kept) => Some(kept),
            Origin::Archive(_) => None,
        });
        let kept: Vec<_> = kept.collect();
        let all = kept.iter().map(|kept| kept.prepared()).chain(&prepared);
        let all: Vec<&Prepared> = all.collect();
        let directories = directories(&all, &below, newest);
        let packed = match join(&directories, &all, bench.recipe.compression, bench.store) {
            Ok(packed) => packed,
            Err(JoinError::Damaged { of, path }) if of < kept.len() => {
                tracing::warn!(path, "a prepared wheel is damaged, and prepared again");
                kept[of].forget(bench.store);
                return Ok(None);
            }
            Err(damaged @ JoinError::Damaged { .. }) => return Err(tree_error("join the layer", damaged)),
            Err(JoinError::Pack(source)) => return Err(pack_error(source)),
        };
        bench.progress.finished(Stage::Pack);
        let packages = self.artefacts.iter().zip(&facts);
        let packages = packages.map(|(artefact, facts)| described(artefact, facts));
        Ok(Some(JoinedLayer {
            packed,
            packages: packages.collect(),
            libraries: libraries::of_wheels(&facts, self.base.python()),
        }))
    }

    /// Install what comes from archives. What has its places for itself is prepared in parallel; the rest is installed
    /// below the tree's root, in the order of the lock.
    fn install(
        &self,
        bench: Bench<'_>,
        rootfs: &Rootfs,
        sources: &mut [Source<'_>],
    ) -> Result<Vec<Option<Made>>, AssembleError> {
        let shares = on_every_processor(|first, threads| {
            let own = sources.iter().enumerate().skip(first).step_by(threads);
            own.filter(|(_, source)| source.key.is_some())
                .map(|(at, source)| Ok((at, self.install_one(bench, rootfs, source)?)))
                .collect::<Result<Vec<_>, AssembleError>>()
        })?;
        let mut installed: Vec<Option<Made>> = sources.iter().map(|_| None).collect();
        for (at, made) in shares.into_iter().flatten() {
            installed[at] = made;
        }
        for (at, source) in sources.iter().enumerate() {
            if source.key.is_none() {
                installed[at] = self.install_one(bench, rootfs, source)?;
            }
        }
        for (source, made) in sources.iter_mut().zip(&installed) {
            for path in made.iter().flat_map(|made| &made.wheel.left_out) {
                let package = package(source.artefact);
                let text = format!("{package}: its {path} is left out, the other one stays");
                bench.progress.send(Event::Warning { text });
            }
            if let Origin::Archive(archive) = &mut source.from {
                *archive = None;
            }
        }
        Ok(installed)
    }

    /// Install one wheel; `None` where it is kept.
    fn install_one(
        &self,
        bench: Bench<'_>,
        rootfs: &Rootfs,
        source: &Source<'_>,
    ) -> Result<Option<Made>, AssembleError> {
        let reopened;
        let wheel = match &source.from {
            Origin::Kept(_) => return Ok(None),
            Origin::Archive(Some(wheel)) => wheel.as_ref(),
            Origin::Archive(None) => {
                reopened = Self::archive(bench, source.artefact)?;
                &reopened
            }
        };
        let package = package(source.artefact);
        bench.progress.detail(Stage::Unpack, package.clone());
        let mut pack = None;
        if source.key.is_some() {
            pack = Some(PackWriter::new(bench.store, bench.recipe.compression).map_err(pack_error)?);
        }
        let installed = match &mut pack {
            Some(pack) => wheel.prepare(rootfs, self.base.python(), pack),
            None => wheel.install(rootfs, self.base.python()),
        };
        bench.progress.advanced(Stage::Unpack, 1, 0);
        let wheel = installed.map_err(|source| AssembleError::Wheel { package, source })?;
        Ok(Some(Made { wheel, pack }))
    }

    fn compile<'w>(
        &self,
        bench: Bench<'_>,
        stage: &TreeStage,
        installed: impl Iterator<Item = &'w InstalledWheel>,
    ) -> Result<(), AssembleError> {
        let sources = installed.map(|wheel| Sources {
            paths: &wheel.files,
            mtime: Some(wheel.newest_mtime),
        });
        let program = compile_program(&sources.collect::<Vec<_>>());
        if program.is_empty() {
            return Ok(());
        }
        bench.progress.started(Stage::Configure, 0, 0);
        bench
            .progress
            .detail(Stage::Configure, "compiling Python sources");
        run_build_step(
            BuildRoot::Overlay {
                lower: self.lower,
                upper: &stage.root(),
                work: &stage.work(),
            },
            &program,
            &FastPrograms::default(),
        )?;
        bench.progress.finished(Stage::Configure);
        Ok(())
    }

    /// The members of what was installed. What is a wheel's alone is kept; the rest is one, made of the tree.
    fn prepare(
        &self,
        bench: Bench<'_>,
        tree: &Rootfs,
        sources: &[Source<'_>],
        made: Vec<Option<Made>>,
    ) -> Result<Vec<Prepared>, AssembleError> {
        let python = self.base.python();
        let mut entangled = BTreeSet::new();
        let mut own = Vec::new();
        for (source, made) in sources.iter().zip(made) {
            let Some(Made { wheel, pack }) = made else {
                continue;
            };
            match pack {
                Some(pack) => own.push((source, wheel, pack)),
                None => entangled.extend(wheel.files.iter().cloned().chain(compiled(&wheel, python))),
            }
        }
        let own = Mutex::new(own);
        let shares = on_every_processor(|_, _| {
            let mut done = Vec::new();
            loop {
                let next = own.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some((source, wheel, mut pack)) = next else {
                    return Ok(done);
                };
                add_from_tree(&mut pack, tree, compiled(&wheel, python))?;
                let archive = bench.store.open_blob(&source.artefact.sha256);
                let archive = archive.map_err(|error| AssembleError::Artefact {
                    package: package(source.artefact),
                    source: error,
                })?;
                let (prepared, scratch) = pack.finish(Some(archive)).map_err(pack_error)?;
                let is_its_own = wheel.left_out.is_empty() && !wheel.is_partly_below;
                if let Some(key) = source.key.as_deref().filter(|_| is_its_own) {
                    prepared::keep(bench.store, key, &prepared, &WheelFacts::of(&wheel), &scratch);
                }
                done.push(prepared);
            }
        })?;
        let mut all: Vec<Prepared> = shares.into_iter().flatten().collect();
        if !entangled.is_empty() {
            let mut pack = PackWriter::new(bench.store, bench.recipe.compression).map_err(pack_error)?;
            add_from_tree(&mut pack, tree, entangled.into_iter())?;
            all.push(pack.finish(None).map_err(pack_error)?.0);
        }
        Ok(all)
    }
}

/// Where the bytecode of a wheel's sources is, if they compile. Bytecode that the wheel has itself is not among it.
fn compiled(wheel: &InstalledWheel, python: PythonVersion) -> impl Iterator<Item = String> {
    let own: BTreeSet<&String> = wheel.files.iter().collect();
    let sources = wheel.files.iter();
    let bytecode = sources.filter_map(|source| bytecode_of(source, python));
    let bytecode: Vec<String> = bytecode.filter(|path| !own.contains(path)).collect();
    bytecode.into_iter()
}

/// Add files of the tree, by their absolute paths, to a pack. What is not there is passed over.
fn add_from_tree(
    pack: &mut PackWriter,
    tree: &Rootfs,
    paths: impl Iterator<Item = String>,
) -> Result<(), AssembleError> {
    use std::os::unix::fs::MetadataExt as _;
    for path in paths {
        let relative = TreePath::parse(path.trim_start_matches('/').as_bytes(), usize::MAX);
        let relative = relative.map_err(|source| tree_error("find an installed file", source))?;
        let opened = tree.open_file(&relative);
        let Some(file) = opened.map_err(|source| tree_error("open an installed file", source))? else {
            continue;
        };
        let state = file.metadata();
        let state = state.map_err(|source| tree_error("read the state of an installed file", source))?;
        if !state.is_file() || (state.uid(), state.gid()) != (0, 0) {
            let what = format!("{path} is no plain file of root's");
            return Err(tree_error("read an installed file", what));
        }
        let metadata = Metadata::of_root(state.mode() & 0o7777, state.mtime());
        let content = Content::File(file, state.len());
        pack.add(&relative, &metadata, content).map_err(pack_error)?;
    }
    Ok(())
}

/// The directories of all files: those that are below already as they are there, all with the layer's time.
fn directories(
    all: &[&Prepared],
    below: &BTreeMap<TreePath, Metadata>,
    newest: i64,
) -> Vec<(TreePath, Metadata)> {
    let files = all.iter().flat_map(|prepared| &prepared.files);
    let paths = parents(files.map(JoinedFile::path)).into_iter();
    let paths = paths.filter_map(|name| TreePath::parse(name.as_bytes(), usize::MAX).ok());
    let described = paths.map(|path| {
        let found = below.get(&path).copied().unwrap_or(Metadata::of_root(0o755, 0));
        let metadata = Metadata {
            mtime: newest,
            ..found
        };
        (path, metadata)
    });
    described.collect()
}

fn facts((source, made): (&Source<'_>, &Option<Made>)) -> Option<WheelFacts> {
    match (&source.from, made) {
        (Origin::Kept(kept), _) => Some(kept.facts().clone()),
        (Origin::Archive(_), made) => made.as_ref().map(|made| WheelFacts::of(&made.wheel)),
    }
}

fn pack_error(source: PackError) -> AssembleError {
    AssembleError::Pack { role: ROLE, source }
}

fn tree_error(
    operation: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> AssembleError {
    AssembleError::Tree {
        operation,
        role: ROLE,
        source: io::Error::other(source),
    }
}

fn described(artefact: &PythonArtefact, facts: &WheelFacts) -> InventoryPackage {
    InventoryPackage {
        name: artefact.name.to_string(),
        version: artefact.version.to_string(),
        licence: facts.licence.clone(),
        built_from: artefact.built.as_ref().map(|built| built.source.filename.clone()),
    }
}
