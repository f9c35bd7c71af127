//! The tree of a layer of Python wheels: installed in Rust, compiled by the image's own interpreter in the build sandbox.

use std::io;
use std::path::PathBuf;

use cooper_core::Base;
use cooper_core::lock::PythonArtefact;
use cooper_core::progress::{Event, Stage};

use crate::assemble::{Bench, FinishedTree};
use crate::build_step::{BuildRoot, run_build_step};
use crate::bytecode::compile_program;
use crate::error::AssembleError;
use crate::fast_paths::FastPrograms;
use crate::inventory::InventoryPackage;
use crate::layer::LayerKind;
use crate::libraries;
use crate::rootfs::{Links, Rootfs, UnpackLimits};
use crate::wheel::{self, InstalledWheel};

/// The ingredients of a layer of wheels.
pub(crate) struct PythonLayer<'a> {
    /// The base that it stands on.
    pub(crate) base: Base,
    /// Its wheels.
    pub(crate) artefacts: &'a [PythonArtefact],
    /// The trees below it, the top one first.
    pub(crate) lower: &'a [PathBuf],
}

impl PythonLayer<'_> {
    /// Build the layer's tree.
    pub(crate) fn build(&self, bench: Bench<'_>) -> Result<FinishedTree, AssembleError> {
        let stage = bench.store.stage_tree().map_err(AssembleError::Stage)?;
        let (root, work) = (stage.root(), stage.work());
        let overlay = cooper_sandbox::overlay_fd(self.lower, &root, &work);
        let rootfs = Rootfs::new(overlay.map_err(AssembleError::Sandbox)?, Links::Refused);
        let installed = self.install(bench, &rootfs)?;
        let newest = installed
            .iter()
            .map(|wheel| wheel.newest_mtime)
            .max()
            .unwrap_or(0);
        rootfs.settle(newest).map_err(|source| AssembleError::Tree {
            operation: "settle the installed files",
            role: "python",
            source: io::Error::other(source),
        })?;
        drop(rootfs);
        let sources: Vec<String> = installed
            .iter()
            .flat_map(|wheel| wheel.files.iter().cloned())
            .collect();
        let program = compile_program(&sources);
        if !program.is_empty() {
            bench.progress.started(Stage::Configure, 0, 0);
            bench
                .progress
                .detail(Stage::Configure, "compiling Python sources");
            run_build_step(
                BuildRoot::Overlay {
                    lower: self.lower,
                    upper: &root,
                    work: &work,
                },
                &program,
                &FastPrograms::default(),
            )?;
            bench.progress.finished(Stage::Configure);
        }
        let packages = self
            .artefacts
            .iter()
            .zip(&installed)
            .map(|(artefact, wheel)| described(artefact, wheel));
        Ok(FinishedTree {
            stage,
            kind: LayerKind::OverlayUpper,
            newest_mtime: newest,
            packages: packages.collect(),
            libraries: Some(libraries::of_wheels(&installed, self.base.python())),
        })
    }

    fn install(&self, bench: Bench<'_>, rootfs: &Rootfs) -> Result<Vec<InstalledWheel>, AssembleError> {
        let limits = UnpackLimits::default();
        bench
            .progress
            .started(Stage::Unpack, self.artefacts.len() as u64, 0);
        let install = |artefact: &PythonArtefact| {
            let package = format!("{} {}", artefact.name, artefact.version);
            bench.progress.detail(Stage::Unpack, package.clone());
            let file = bench.store.open_checked_blob(&artefact.sha256);
            let file = file.map_err(|source| AssembleError::Artefact {
                package: package.clone(),
                source,
            })?;
            let installed = wheel::install(file, artefact, rootfs, self.base.python(), &limits);
            bench.progress.advanced(Stage::Unpack, 1, 0);
            let installed = installed.map_err(|source| AssembleError::Wheel {
                package: package.clone(),
                source,
            })?;
            for path in &installed.left_out {
                let text = format!("{package}: its {path} is left out, the other one stays");
                bench.progress.send(Event::Warning { text });
            }
            Ok(installed)
        };
        let installed = self.artefacts.iter().map(install).collect::<Result<_, _>>()?;
        bench.progress.finished(Stage::Unpack);
        Ok(installed)
    }
}

fn described(artefact: &PythonArtefact, wheel: &InstalledWheel) -> InventoryPackage {
    InventoryPackage {
        name: artefact.name.to_string(),
        version: artefact.version.to_string(),
        licence: wheel.metadata.stated_licence(),
    }
}
