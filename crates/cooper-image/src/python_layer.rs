//! The tree of a layer of Python wheels: installed in Rust, compiled by the image's own interpreter in the build sandbox.
//!
//! A wheel that an earlier layer had comes from there, compiled ([`crate::kept_wheel`]): the bytes are the same either
//! way. Kept files are linked below the tree's root when no overlay is mounted on it and no step will run any more:
//! nothing that runs in a sandbox ever has a file at hand, to be written, that other trees share.

mod sources;

use std::io;
use std::path::PathBuf;

use cooper_core::lock::PythonArtefact;
use cooper_core::progress::{Event, Stage};
use cooper_core::{Base, Digest};
use cooper_store::TreeStage;

use crate::assemble::{Bench, FinishedTree};
use crate::build_step::{BuildRoot, run_build_step};
use crate::bytecode::{Sources, compile_program};
use crate::debian_layer::on_every_processor;
use crate::error::AssembleError;
use crate::fast_paths::FastPrograms;
use crate::inventory::InventoryPackage;
use crate::kept_wheel::{self, LinkError, WheelFacts};
use crate::layer::LayerKind;
use crate::libraries;
use crate::rootfs::{Links, Rootfs};
use crate::wheel::{InstalledWheel, WheelError};
use sources::{Origin, Source, package};

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

/// How often a layer is begun anew because a kept wheel was damaged; then all are installed from their archives.
const DAMAGED_MAX: u32 = 8;

impl PythonLayer<'_> {
    /// Build the layer's tree.
    pub(crate) fn build(&self, bench: Bench<'_>) -> Result<FinishedTree, AssembleError> {
        for _ in 0..DAMAGED_MAX {
            if let Some(tree) = self.attempt(bench, true)? {
                return Ok(tree);
            }
        }
        let tree = self.attempt(bench, false)?;
        tree.ok_or_else(|| tree_error("link a kept file", "it is damaged"))
    }

    /// The tree, unless a kept wheel was damaged: it is dropped then.
    fn attempt(&self, bench: Bench<'_>, use_kept: bool) -> Result<Option<FinishedTree>, AssembleError> {
        let stage = bench.store.stage_tree().map_err(AssembleError::Stage)?;
        let (root, work) = (stage.root(), stage.work());
        let overlay = cooper_sandbox::overlay_fd(self.lower, &root, &work);
        let rootfs = Rootfs::new(overlay.map_err(AssembleError::Sandbox)?, Links::Refused);
        let count = self.artefacts.len() as u64;
        bench.progress.started(Stage::Unpack, count, 0);
        let mut sources = self.sources(bench, &rootfs, use_kept)?;
        let installed = self.install(bench, &rootfs, &mut sources)?;
        bench.progress.finished(Stage::Unpack);
        let facts: Vec<WheelFacts> = sources.iter().zip(&installed).filter_map(facts).collect();
        let newest = facts.iter().map(|facts| facts.newest_mtime).max().unwrap_or(0);
        let settled = rootfs.settle(newest);
        settled.map_err(|source| tree_error("settle the installed files", source))?;
        drop(rootfs);
        self.compile(bench, &stage, installed.iter().flatten())?;
        let tree = Rootfs::open(&root, Links::Refused);
        let tree = tree.map_err(|source| tree_error("open the tree", source))?;
        if !link(bench, &tree, &sources)? {
            return Ok(None);
        }
        self.keep(bench, &tree, &sources, &installed)?;
        let packages = self.artefacts.iter().zip(&facts);
        let packages = packages.map(|(artefact, facts)| described(artefact, facts));
        Ok(Some(FinishedTree {
            stage,
            kind: LayerKind::OverlayUpper,
            newest_mtime: newest,
            packages: packages.collect(),
            libraries: Some(libraries::of_wheels(&facts, self.base.python())),
        }))
    }

    /// Install what comes from archives, and make the directories of what is kept. What has its places for itself is
    /// installed in parallel, the rest in the order of the lock.
    fn install(
        &self,
        bench: Bench<'_>,
        rootfs: &Rootfs,
        sources: &mut [Source<'_>],
    ) -> Result<Vec<Option<InstalledWheel>>, AssembleError> {
        let shares = on_every_processor(|first, threads| {
            let own = sources.iter().enumerate().skip(first).step_by(threads);
            own.filter(|(_, source)| source.key.is_some())
                .map(|(at, source)| Ok((at, self.install_one(bench, rootfs, source)?)))
                .collect::<Result<Vec<_>, AssembleError>>()
        })?;
        let mut installed: Vec<Option<InstalledWheel>> = sources.iter().map(|_| None).collect();
        for (at, wheel) in shares.into_iter().flatten() {
            installed[at] = wheel;
        }
        for (at, source) in sources.iter().enumerate() {
            if source.key.is_none() {
                installed[at] = self.install_one(bench, rootfs, source)?;
            }
        }
        for (source, wheel) in sources.iter_mut().zip(&installed) {
            for path in wheel.iter().flat_map(|wheel| &wheel.left_out) {
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
    ) -> Result<Option<InstalledWheel>, AssembleError> {
        let package = package(source.artefact);
        bench.progress.detail(Stage::Unpack, package.clone());
        let reopened;
        let installed = match &source.from {
            Origin::Kept(kept) => {
                let made = kept.make_directories(&mut rootfs.writer());
                made.map(|()| None).map_err(WheelError::Write)
            }
            Origin::Archive(Some(wheel)) => wheel.install(rootfs, self.base.python()).map(Some),
            Origin::Archive(None) => {
                reopened = Self::archive(bench, source.artefact)?;
                reopened.install(rootfs, self.base.python()).map(Some)
            }
        };
        bench.progress.advanced(Stage::Unpack, 1, 0);
        installed.map_err(|source| AssembleError::Wheel { package, source })
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

    /// Keep what was installed and is the wheel's alone.
    fn keep(
        &self,
        bench: Bench<'_>,
        tree: &Rootfs,
        sources: &[Source<'_>],
        installed: &[Option<InstalledWheel>],
    ) -> Result<(), AssembleError> {
        on_every_processor(|first, threads| {
            let own = sources.iter().zip(installed).skip(first).step_by(threads);
            for (source, wheel) in own {
                let (Some(key), Some(wheel)) = (&source.key, wheel) else {
                    continue;
                };
                if wheel.left_out.is_empty() && !wheel.is_partly_below {
                    kept_wheel::keep(bench.store, key, tree, wheel, self.base.python());
                }
            }
            Ok(())
        })?;
        Ok(())
    }
}

/// Link the files of kept wheels below the tree; false where one is damaged.
fn link(bench: Bench<'_>, tree: &Rootfs, sources: &[Source<'_>]) -> Result<bool, AssembleError> {
    let shares = on_every_processor(|first, threads| {
        let mut whole = true;
        for source in sources.iter().skip(first).step_by(threads) {
            let Origin::Kept(kept) = &source.from else {
                continue;
            };
            match kept.link_into(tree) {
                Ok(()) => {}
                Err(error @ LinkError::Damaged { .. }) => {
                    tracing::warn!(package = package(source.artefact), %error, "the wheel is installed again");
                    kept.forget(bench.store);
                    whole = false;
                }
                Err(LinkError::Write(source_error)) => {
                    return Err(AssembleError::Wheel {
                        package: package(source.artefact),
                        source: WheelError::Write(source_error),
                    });
                }
            }
        }
        Ok(whole)
    })?;
    Ok(shares.into_iter().all(|whole| whole))
}

fn facts((source, installed): (&Source<'_>, &Option<InstalledWheel>)) -> Option<WheelFacts> {
    match (&source.from, installed) {
        (Origin::Kept(kept), _) => Some(kept.facts().clone()),
        (Origin::Archive(_), installed) => installed.as_ref().map(WheelFacts::of),
    }
}

fn tree_error(
    operation: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> AssembleError {
    AssembleError::Tree {
        operation,
        role: "python",
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
