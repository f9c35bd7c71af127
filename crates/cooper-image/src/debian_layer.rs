//! The tree of a layer of Debian packages: unpacked in Rust, configured in the build sandbox.
//!
//! The base layer is a whole tree; an os layer is what its packages add to and change in the base (an overlay's
//! upper directory). The steps of dpkg are kept where packages can tell the difference:
//!
//! 1. `preinst install` of packages that can run it before unpacking (they may divert files of the base);
//! 2. unpacking, several packages at a time, around the diversions; what the packages say of their licences is judged
//!    then, and before step 1 of those that have a part in it;
//! 3. the package database;
//! 4. `preinst` of the others, `postinst configure` in the order of dependencies, then triggers;
//! 5. what is state of the build goes.
//!
//! The base unpacks everything before its first script, as every bootstrap does: before that there is no shell.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

use cooper_core::Base;
use cooper_core::lock::{Architecture, DebianArtefact};
use cooper_core::progress::Stage;

use crate::assemble::{Bench, DebianCopyright, FinishedTree};
use crate::build_step::{BuildRoot, run_build_step};
use crate::copyright::stated_licence;
use crate::deb::{Deb, Diversions, UnpackSettings, Unpacked};
use crate::dpkg::{self, Interests, NewPackage};
use crate::error::AssembleError;
use crate::fast_paths::{self, FastPrograms, Scripts};
use crate::finish;
use crate::inventory::InventoryPackage;
use crate::layer::LayerKind;
use crate::maintainer_scripts::ScriptRun;
use crate::order::{OrderedPackage, configuration_order};
use crate::replacements::Replacements;
use crate::rootfs::{Links, Rootfs, UnpackLimits};
use crate::tree_files::TreeFiles;

/// The ingredients of a layer of Debian packages.
pub(crate) struct DebianLayer<'a> {
    /// `base` or `os`
    pub(crate) role: &'static str,
    /// Which base it is, or stands on.
    pub(crate) base: Base,
    /// Its packages.
    pub(crate) artefacts: &'a [DebianArtefact],
    /// The trees below it, the top one first; none below the base itself.
    pub(crate) lower: &'a [PathBuf],
}

const ADMIN: &str = "/var/lib/dpkg";

impl DebianLayer<'_> {
    /// Build the layer's tree.
    pub(crate) fn build(&self, bench: Bench<'_>) -> Result<FinishedTree, AssembleError> {
        let stage = bench.store.stage_tree().map_err(AssembleError::Stage)?;
        let debs = self.open_debs(bench)?;
        let mut packages = debs.iter().map(|(_, deb)| new_package(deb)).collect::<Vec<_>>();
        sort_for_configuration(&mut packages);
        let site = Site {
            layer: self,
            root: stage.root(),
            work: stage.work(),
        };
        let early = if self.lower.is_empty() {
            Vec::new()
        } else {
            site.run_early_preinsts(bench, &debs, &packages)?
        };
        let newest_mtime = site.unpack(bench, &debs, &mut packages)?;
        site.configure(bench, &packages, &early)?;
        let packages = site.finish(&packages)?;
        let kind = if self.lower.is_empty() {
            LayerKind::Tree
        } else {
            LayerKind::OverlayUpper
        };
        Ok(FinishedTree {
            stage,
            kind,
            newest_mtime,
            packages,
        })
    }

    fn open_debs(&self, bench: Bench<'_>) -> Result<Vec<(String, Deb)>, AssembleError> {
        let open = |artefact: &DebianArtefact| {
            let package = format!("{} {}", artefact.name, artefact.version);
            let file = bench.store.open_checked_blob(&artefact.sha256);
            let file = file.map_err(|source| AssembleError::Artefact {
                package: package.clone(),
                source,
            })?;
            let deb = Deb::open(file, &UnpackLimits::default());
            let deb = deb.and_then(|deb| deb.check_identity(artefact).map(|()| deb));
            let deb = deb.map_err(|source| AssembleError::Deb {
                package: package.clone(),
                source,
            })?;
            Ok((package, deb))
        };
        let shares = on_every_processor(|first, threads| {
            let own = self.artefacts.iter().enumerate().skip(first).step_by(threads);
            own.map(|(at, artefact)| Ok((at, open(artefact)?)))
                .collect::<Result<Vec<_>, AssembleError>>()
        })?;
        let mut opened: Vec<_> = shares.into_iter().flatten().collect();
        opened.sort_by_key(|(at, _)| *at);
        Ok(opened.into_iter().map(|(_, deb)| deb).collect())
    }

    fn tree_error(&self, operation: &'static str) -> impl Fn(io::Error) -> AssembleError {
        let role = self.role;
        move |source| AssembleError::Tree {
            operation,
            role,
            source,
        }
    }
}

fn new_package(deb: &Deb) -> NewPackage {
    let control = deb.control();
    let architecture = match control.architecture {
        Architecture::Amd64 => "amd64",
        Architecture::All => "all",
    };
    NewPackage {
        name: control.package.to_string(),
        architecture: architecture.to_owned(),
        control: control.stanza.text().trim_end().to_owned() + "\n",
        members: control
            .files
            .iter()
            .map(|(name, file)| (name.clone(), file.bytes.clone()))
            .collect(),
        paths: Vec::new(),
        conffiles: Vec::new(),
    }
}

fn sort_for_configuration(packages: &mut Vec<NewPackage>) {
    let ordered: Vec<_> = packages
        .iter()
        .map(|package| OrderedPackage::new(&package.name, |field| package.field(field)))
        .collect();
    let order = configuration_order(&ordered);
    let mut slots: Vec<Option<NewPackage>> = packages.drain(..).map(Some).collect();
    packages.extend(order.into_iter().filter_map(|at| slots[at].take()));
}

/// The tree under construction.
struct Site<'a> {
    layer: &'a DebianLayer<'a>,
    root: PathBuf,
    work: PathBuf,
}

impl Site<'_> {
    fn build_root(&self) -> BuildRoot<'_> {
        if self.layer.lower.is_empty() {
            return BuildRoot::Tree(&self.root);
        }
        BuildRoot::Overlay {
            lower: self.layer.lower,
            upper: &self.root,
            work: &self.work,
        }
    }

    /// The tree as packages see it: the directory itself, or the overlay. Not to be held while a step runs:
    /// an upper directory belongs to one mount at a time.
    fn files(&self) -> Result<TreeFiles, AssembleError> {
        let failed = self.layer.tree_error("open the tree");
        if self.layer.lower.is_empty() {
            return TreeFiles::open(&self.root).map_err(failed);
        }
        let overlay = cooper_sandbox::overlay_fd(self.layer.lower, &self.root, &self.work);
        Ok(TreeFiles::new(overlay.map_err(AssembleError::Sandbox)?))
    }

    /// Run the `preinst` of every package that needs no other new package for it; the names of those that ran.
    fn run_early_preinsts(
        &self,
        bench: Bench<'_>,
        debs: &[(String, Deb)],
        packages: &[NewPackage],
    ) -> Result<Vec<String>, AssembleError> {
        let fresh: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        let independent = |package: &&NewPackage| {
            let wanted = package.field("Pre-Depends").unwrap_or_default();
            let mut names = wanted
                .split([',', '|'])
                .filter_map(|clause| clause.split_whitespace().next());
            package.has_script("preinst")
                && !names.any(|name| fresh.contains(&name.split(':').next().unwrap_or(name)))
        };
        let early: Vec<&NewPackage> = packages.iter().filter(independent).collect();
        if early.is_empty() {
            return Ok(Vec::new());
        }
        self.judge_early(bench, debs, &early)?;
        let mut run = ScriptRun::new();
        let files = self.files()?;
        for package in &early {
            run.preinst(package);
            write_info(&files, package).map_err(self.layer.tree_error("write the package database"))?;
        }
        drop(files);
        self.run(bench.scripts, &run, packages, "")?;
        Ok(early.into_iter().map(|package| package.name.clone()).collect())
    }

    /// Show packages that are not unpacked yet to whoever judges.
    fn judge_early(
        &self,
        bench: Bench<'_>,
        debs: &[(String, Deb)],
        early: &[&NewPackage],
    ) -> Result<(), AssembleError> {
        let is_early = |deb: &Deb| {
            early
                .iter()
                .any(|package| package.name == deb.control().package.as_str())
        };
        let mut read = Vec::new();
        for (artefact, (package, deb)) in self.layer.artefacts.iter().zip(debs) {
            if is_early(deb) {
                let copyright = deb.copyright(&UnpackLimits::default());
                let copyright = copyright.map_err(|source| AssembleError::Deb {
                    package: package.clone(),
                    source,
                })?;
                read.push(DebianCopyright { artefact, copyright });
            }
        }
        (bench.judge)(&read).map_err(AssembleError::Refused)
    }

    /// Unpack every package; the newest time of their files.
    fn unpack(
        &self,
        bench: Bench<'_>,
        debs: &[(String, Deb)],
        packages: &mut [NewPackage],
    ) -> Result<i64, AssembleError> {
        let files = self.files()?;
        let tree_error = self.layer.tree_error("prepare the tree");
        let diversions = files
            .read_text(&format!("{ADMIN}/diversions"))
            .map_err(&tree_error)?;
        let diversions = Diversions::parse(diversions.as_bytes());
        let diversions = diversions.map_err(|source| tree_error(io::Error::other(source)))?;
        let status = files.read_text(&format!("{ADMIN}/status")).map_err(&tree_error)?;
        let replacements = Replacements::new(&status, packages);
        if self.layer.lower.is_empty() {
            prepare_base(&files, self.layer.base).map_err(&tree_error)?;
        }
        let root = files.root().try_clone_to_owned().map_err(&tree_error)?;
        let rootfs = Rootfs::new(root, Links::FollowInRoot);
        bench.progress.started(Stage::Unpack, debs.len() as u64, 0);
        let mut unpacked = unpack_parallel(&rootfs, debs, &diversions, &replacements, bench)?;
        let read = self.layer.artefacts.iter().filter_map(|artefact| {
            let unpacked = unpacked.get_mut(artefact.name.as_str())?;
            let copyright = std::mem::take(&mut unpacked.copyright);
            Some(DebianCopyright { artefact, copyright })
        });
        (bench.judge)(&read.collect::<Vec<_>>()).map_err(AssembleError::Refused)?;
        let newest = unpacked
            .values()
            .map(|unpacked| unpacked.newest_mtime)
            .max()
            .unwrap_or(0);
        rootfs
            .settle(newest)
            .map_err(|source| self.layer.tree_error("settle the tree")(io::Error::other(source)))?;
        bench.progress.finished(Stage::Unpack);
        for package in packages.iter_mut() {
            if let Some(unpacked) = unpacked.get(&package.name) {
                package.paths.clone_from(&unpacked.paths);
                let conffiles = unpacked.conffiles.iter();
                package.conffiles = conffiles
                    .map(|file| (file.path.clone(), file.md5.clone()))
                    .collect();
                if let Some(md5sums) = &unpacked.md5sums {
                    package
                        .members
                        .insert("md5sums".to_owned(), md5sums.clone().into_bytes());
                }
            }
        }
        remove_displaced(packages, unpacked.values());
        Ok(newest)
    }

    /// Write the package database, run the scripts, then the triggers that they left.
    fn configure(
        &self,
        bench: Bench<'_>,
        packages: &[NewPackage],
        early: &[String],
    ) -> Result<(), AssembleError> {
        let (mut run, interests) = self.write_database(bench.scripts, packages)?;
        let compile = fast_paths::compile_program(packages, bench.scripts);
        for package in packages.iter().filter(|package| !early.contains(&package.name)) {
            run.preinst(package);
        }
        for package in packages {
            run.postinst(package);
        }
        run.triggered(&interests.activated(packages));
        bench.progress.started(Stage::Configure, 0, 0);
        if !run.is_empty() || !compile.is_empty() {
            self.run(bench.scripts, &run, packages, &compile)?;
        }
        self.restore_scripts(bench.scripts, packages)?;
        self.run_left_triggers(bench.scripts, &interests)?;
        bench.progress.finished(Stage::Configure);
        Ok(())
    }

    /// Run scripts of these packages, and a program beside them.
    fn run(
        &self,
        scripts: Scripts,
        run: &ScriptRun,
        packages: &[NewPackage],
        beside: &str,
    ) -> Result<(), AssembleError> {
        let programs = match scripts {
            Scripts::AsShipped => FastPrograms::default(),
            Scripts::Faster => FastPrograms::new(&self.files()?, packages)
                .map_err(self.layer.tree_error("read the programs"))?,
        };
        let program = run.program(&programs.entrance(), beside);
        run_build_step(self.build_root(), &program, &programs)
    }

    fn write_database(
        &self,
        scripts: Scripts,
        packages: &[NewPackage],
    ) -> Result<(ScriptRun, Interests), AssembleError> {
        let failed = self.layer.tree_error("write the package database");
        let files = self.files()?;
        let write = || -> io::Result<Interests> {
            for dir in ["info", "updates", "triggers", "alternatives", "parts"] {
                files.create_dir(&format!("{ADMIN}/{dir}"), 0o755, None)?;
            }
            let mut interests = read_interests(&files)?;
            interests.add_packages(packages);
            for (name, text) in interests.files() {
                files.write(&format!("{ADMIN}/triggers/{name}"), text.as_bytes(), 0o644)?;
            }
            for package in packages {
                write_info(&files, package)?;
                for (script, text) in fast_paths::faster_scripts(package, scripts) {
                    let path = format!("{ADMIN}/info/{}.{script}", package.info_name());
                    files.write(&path, &text, 0o755)?;
                }
            }
            let status = dpkg::status(&files.read_text(&format!("{ADMIN}/status"))?, packages);
            files.write(&format!("{ADMIN}/status"), status.as_bytes(), 0o644)?;
            if self.layer.lower.is_empty() {
                files.write(&format!("{ADMIN}/info/format"), b"1\n", 0o644)?;
                for empty in ["available", "diversions", "statoverride"] {
                    files.write(&format!("{ADMIN}/{empty}"), b"", 0o644)?;
                }
            }
            Ok(interests)
        };
        Ok((ScriptRun::new(), write().map_err(failed)?))
    }

    /// Put back the shipped scripts in place of the changed ones.
    fn restore_scripts(&self, scripts: Scripts, packages: &[NewPackage]) -> Result<(), AssembleError> {
        let changed = packages
            .iter()
            .filter(|package| !fast_paths::faster_scripts(package, scripts).is_empty());
        let files = self.files()?;
        for package in changed {
            write_info(&files, package).map_err(self.layer.tree_error("write the package database"))?;
        }
        Ok(())
    }

    /// Scripts may have activated triggers with `dpkg-trigger`: run those, a few rounds at most.
    fn run_left_triggers(&self, scripts: Scripts, interests: &Interests) -> Result<(), AssembleError> {
        const ROUNDS_MAX: usize = 5;
        let failed = self.layer.tree_error("read the triggers");
        let path = format!("{ADMIN}/triggers/Unincorp");
        for _ in 0..ROUNDS_MAX {
            let files = self.files()?;
            let left = dpkg::unincorporated(&files.read_text(&path).map_err(&failed)?);
            if left.is_empty() {
                return Ok(());
            }
            files.write(&path, b"", 0o644).map_err(&failed)?;
            drop(files);
            let mut run = ScriptRun::new();
            run.triggered(&interests.pending(&left));
            if !run.is_empty() {
                self.run(scripts, &run, &[], "")?;
            }
        }
        Ok(())
    }

    /// Remove the build's state, add the run's user to a base, read the stated licences.
    fn finish(&self, packages: &[NewPackage]) -> Result<Vec<InventoryPackage>, AssembleError> {
        let files = self.files()?;
        let failed = self.layer.tree_error("finish the tree");
        if self.layer.lower.is_empty() {
            finish::add_run_user(&files).map_err(&failed)?;
            finish::add_names_places(&files).map_err(&failed)?;
        }
        finish::remove_build_state(&files).map_err(&failed)?;
        let described = |package: &NewPackage| {
            let copyright = files
                .read_text(&format!("/usr/share/doc/{}/copyright", package.name))
                .unwrap_or_default();
            InventoryPackage {
                name: package.name.clone(),
                version: package.field("Version").unwrap_or_default(),
                licence: stated_licence(&copyright),
                built_from: None,
            }
        };
        Ok(packages.iter().map(described).collect())
    }
}

/// The newest time and everything else of each package, by name.
type UnpackedByName = BTreeMap<String, Unpacked>;

/// Unpack with as many threads as there are processors, the largest package first.
fn unpack_parallel(
    rootfs: &Rootfs,
    debs: &[(String, Deb)],
    diversions: &Diversions,
    replacements: &Replacements,
    bench: Bench<'_>,
) -> Result<UnpackedByName, AssembleError> {
    let limits = UnpackLimits::default();
    let mut queue: Vec<(u32, &(String, Deb))> = (0..).zip(debs).collect();
    queue.sort_by_key(|(_, (_, deb))| deb.package_bytes());
    let queue = Mutex::new(queue);
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let shares = on_every_processor(|_, _| {
        let mut done = UnpackedByName::new();
        while let Some((rank, (package, deb))) = next() {
            bench.progress.detail(Stage::Unpack, package.clone());
            let name = &deb.control().package;
            let precedence = |other: &str| replacements.precedence(name.as_str(), other);
            let settings = UnpackSettings {
                limits,
                rank,
                diversions,
                precedence: &precedence,
            };
            let unpacked = deb.unpack(rootfs, &settings);
            let unpacked = unpacked.map_err(|source| AssembleError::Deb {
                package: package.clone(),
                source,
            })?;
            done.insert(name.to_string(), unpacked);
            bench.progress.advanced(Stage::Unpack, 1, 0);
        }
        Ok(done)
    })?;
    Ok(shares.into_iter().flatten().collect())
}

/// Do a share of the work on each processor: `work` gets its number and how many there are.
pub(crate) fn on_every_processor<T: Send>(
    work: impl Fn(usize, usize) -> Result<T, AssembleError> + Sync,
) -> Result<Vec<T>, AssembleError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..threads)
            .map(|number| scope.spawn(move || work(number, threads)))
            .collect();
        let joined = workers.into_iter().map(ScopedJoinHandle::join);
        joined
            .map(|share| share.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// A file that another package of the same layer replaced leaves the list of the one that had it.
fn remove_displaced<'a>(packages: &mut [NewPackage], unpacked: impl Iterator<Item = &'a Unpacked>) {
    for (owner, path) in unpacked.flat_map(|unpacked| &unpacked.displaced) {
        if let Some(package) = packages.iter_mut().find(|package| package.name == *owner) {
            package.paths.retain(|present| present != path);
        }
    }
}

/// The links of a merged `/usr`: bookworm's packages still ship files in `/bin` and `/lib`, and its `base-files`
/// does not make the links itself (a bootstrap does).
fn prepare_base(files: &TreeFiles, base: Base) -> io::Result<()> {
    if base == Base::Bookworm {
        for dir in ["bin", "sbin", "lib", "lib64"] {
            files.create_dir(&format!("/usr/{dir}"), 0o755, None)?;
            files.symlink(&format!("usr/{dir}"), &format!("/{dir}"))?;
        }
    }
    Ok(())
}

fn write_info(files: &TreeFiles, package: &NewPackage) -> io::Result<()> {
    files.create_dir(&format!("{ADMIN}/info"), 0o755, None)?;
    for (name, bytes, mode) in package.info_files() {
        files.write(&format!("{ADMIN}/info/{name}"), &bytes, mode)?;
    }
    Ok(())
}

fn read_interests(files: &TreeFiles) -> io::Result<Interests> {
    let mut interests = Interests::default();
    for name in files.list(&format!("{ADMIN}/triggers"))? {
        let text = files.read_text(&format!("{ADMIN}/triggers/{name}"))?;
        match name.as_str() {
            "File" => interests.add_file_interests(&text),
            "Unincorp" | "Lock" => {}
            named => interests.add_named_interests(named, &text),
        }
    }
    Ok(interests)
}
