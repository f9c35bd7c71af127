//! A checked wheel becomes files: content verified against `RECORD` on its way, scripts made, `RECORD` rewritten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cooper_core::{Digest, PythonVersion};

use super::place::{BASE_PROGRAMS, bytecode_source, check_library, program_name};
use super::record::{self, Check, RecordFault};
use super::zip::ZipEntry;
use super::{CoreMetadata, Wheel, WheelError, metadata};
use crate::bytecode::is_source;
use crate::libraries::elf::{self, ElfBytes, ElfFile};
use crate::prepared::{Content, PackWriter};
use crate::rootfs::{Claim, Metadata, Rootfs, RootfsError, TreePath, TreeWriter, printable};

/// What installing one wheel gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledWheel {
    /// The distribution's name as it spells it.
    pub name: String,
    /// The distribution's version as it spells it.
    pub version: String,
    /// What the distribution says of itself.
    pub metadata: CoreMetadata,
    /// Every file's absolute path in the image, sorted; those that were made here included.
    pub files: Vec<String>,
    /// The newest time of any file, in seconds since 1970.
    pub newest_mtime: i64,
    /// `.pth` files that Python reads at every start.
    pub pth_files: Vec<PthFile>,
    /// Whether the wheel has machine code, or says that it is not pure Python.
    pub native: bool,
    /// Bytes of all files.
    pub bytes: u64,
    /// Whether a file of what is below does for one of the wheel's.
    pub is_partly_below: bool,
    /// Documents beside all libraries that another distribution has with other words, and whose it is.
    pub left_out: Vec<String>,
    /// What its machine code says to the loader, by the files' absolute paths.
    pub(crate) elf_files: Vec<(String, ElfFile)>,
}

/// A `.pth` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PthFile {
    /// Its absolute path in the image.
    pub path: String,
    /// The lines that Python runs.
    pub code: Vec<String>,
}

/// Files of this size are kept in memory while they are checked; larger ones are checked while they are written.
const WHOLE_BYTES_MAX: u64 = 64 << 20;
const PREFIX: &str = "usr/local";

/// Where one file goes.
struct Target {
    path: TreePath,
    mode: u32,
    is_script: bool,
}

impl Wheel {
    /// Install below `rootfs` for the given interpreter. Directories get their time at [`Rootfs::settle`], as do
    /// files that several distributions share.
    pub fn install(&self, rootfs: &Rootfs, python: PythonVersion) -> Result<InstalledWheel, WheelError> {
        self.installer(rootfs, python).run()
    }

    /// The same, with every file added to `pack`. What is no source to compile is not written below `rootfs`, where
    /// nothing else may have any of the wheel's places.
    pub(crate) fn prepare(
        &self,
        rootfs: &Rootfs,
        python: PythonVersion,
        pack: &mut PackWriter,
    ) -> Result<InstalledWheel, WheelError> {
        let mut installer = self.installer(rootfs, python);
        installer.pack = Some(pack);
        installer.run()
    }

    /// Every place that [`Wheel::install`] would take, without the bytecode.
    pub fn places(&self, rootfs: &Rootfs, python: PythonVersion) -> Result<Vec<TreePath>, WheelError> {
        let installer = self.installer(rootfs, python);
        let targets = installer.targets()?.into_iter();
        let mut places: Vec<TreePath> = targets.map(|(_, target)| target.path).collect();
        for path in installer.generated() {
            places.push(TreePath::parse(path.as_bytes(), usize::MAX)?);
        }
        Ok(places)
    }

    fn installer<'a>(&'a self, rootfs: &'a Rootfs, python: PythonVersion) -> Installer<'a> {
        Installer {
            wheel: self,
            writer: rootfs.writer(),
            distribution: Arc::from(self.metadata.name.as_str()),
            site: format!("{PREFIX}/lib/python{python}/dist-packages"),
            include: format!("{PREFIX}/include/python{python}/{}", self.metadata.name),
            newest_mtime: self.files().map(|(entry, _)| entry.mtime).max().unwrap_or(0),
            installed: BTreeMap::new(),
            pth_files: Vec::new(),
            left_out: Vec::new(),
            elf_files: Vec::new(),
            is_partly_below: false,
            native: !self.declared.pure,
            pack: None,
        }
    }

    fn files(&self) -> impl Iterator<Item = (&ZipEntry, &TreePath)> {
        let entries = self.zip.entries().iter().zip(&self.paths);
        entries.filter(|(entry, _)| !entry.directory)
    }

    /// The proof that an entry's content has to give.
    fn check(&self, entry: &ZipEntry) -> Result<Check<'_>, WheelError> {
        let line = self
            .record
            .get(&entry.name)
            .ok_or_else(|| record_error(entry, RecordFault::Unlisted))?;
        Check::new(line).map_err(|fault| record_error(entry, fault))
    }
}

struct Installer<'a> {
    wheel: &'a Wheel,
    writer: TreeWriter<'a>,
    distribution: Arc<str>,
    /// `usr/local/lib/python3.X/dist-packages`
    site: String,
    /// Where the headers go.
    include: String,
    newest_mtime: i64,
    installed: BTreeMap<TreePath, (Digest, u64)>,
    pth_files: Vec<PthFile>,
    left_out: Vec<String>,
    is_partly_below: bool,
    elf_files: Vec<(String, ElfFile)>,
    native: bool,
    /// Where every file is added, if anywhere.
    pack: Option<&'a mut PackWriter>,
}

impl<'a> Installer<'a> {
    fn run(mut self) -> Result<InstalledWheel, WheelError> {
        for (entry, target) in self.targets()? {
            self.entry(entry, &target)?;
        }
        self.generate()?;
        Ok(self.finish())
    }

    /// The entries that become files, and where.
    fn targets(&self) -> Result<Vec<(&'a ZipEntry, Target)>, WheelError> {
        let wheel = self.wheel;
        let mut targets = Vec::new();
        for (entry, path) in wheel.files().filter(|(_, path)| !self.is_replaced(path)) {
            targets.push((entry, self.target(entry, path)?));
        }
        // A script of the same name as an entry point is the wrapper that its builder made for it: pip leaves it out, too.
        targets.retain(|(_, target)| !(target.is_script && self.is_entry_point(&target.path)));
        let paths: BTreeSet<&str> = targets.iter().map(|(_, target)| target.path.as_str()).collect();
        // Bytecode is made anew, over that of the wheel, which `RECORD` must not promise then.
        let is_remade = |target: &Target| {
            bytecode_source(&target.path).is_some_and(|source| paths.contains(source.as_str()))
        };
        let remade: Vec<bool> = targets.iter().map(|(_, target)| is_remade(target)).collect();
        let kept = targets.into_iter().zip(remade);
        Ok(kept
            .filter_map(|(target, is_remade)| (!is_remade).then_some(target))
            .collect())
    }

    fn is_entry_point(&self, path: &TreePath) -> bool {
        let name = path
            .as_str()
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix("/bin/"));
        let mut entry_points = self.wheel.entry_points.iter();
        name.is_some_and(|name| entry_points.any(|entry_point| entry_point.name == name))
    }

    /// The places of what [`Installer::generate`] makes.
    fn generated(&self) -> Vec<String> {
        let scripts = self.wheel.entry_points.iter();
        let mut paths: Vec<String> = scripts
            .map(|entry_point| format!("{PREFIX}/bin/{}", entry_point.name))
            .collect();
        for name in ["INSTALLER", "RECORD"] {
            paths.push(format!("{}/{}/{name}", self.site, self.wheel.dist_info));
        }
        paths
    }

    /// Whether a file of the wheel is made anew, or says something that is no longer true.
    fn is_replaced(&self, path: &TreePath) -> bool {
        let name = path
            .as_str()
            .strip_prefix(self.wheel.dist_info.as_str())
            .and_then(|rest| rest.strip_prefix('/'));
        let own = [
            "RECORD",
            "RECORD.jws",
            "RECORD.p7s",
            "INSTALLER",
            "REQUESTED",
            "direct_url.json",
        ];
        name.is_some_and(|name| own.contains(&name))
    }

    fn entry(&mut self, entry: &ZipEntry, target: &Target) -> Result<(), WheelError> {
        self.native |= has_suffix(&target.path, "so") || target.path.as_str().contains(".so.");
        if entry.size > WHOLE_BYTES_MAX {
            return self.large_file(entry, target);
        }
        let mut check = self.wheel.check(entry)?;
        let mut bytes = self.wheel.zip.read(entry, WHOLE_BYTES_MAX)?;
        check.update(&bytes);
        let mut digest = check.finish().map_err(|fault| record_error(entry, fault))?;
        let mut own = Some(entry);
        if target.is_script
            && let Some(rewritten) = rewrite_shebang(&bytes)
        {
            bytes = rewritten;
            digest = Digest::of(&bytes);
            own = None;
        }
        self.note_pth(&target.path, &bytes);
        self.note_elf(&target.path, ElfBytes::Memory(&bytes));
        let metadata = Metadata::of_root(target.mode, entry.mtime);
        self.write(&target.path, &metadata, &bytes, digest, own)
    }

    /// Where an entry goes: `.data/KEY/…` by its key, everything else into the library.
    fn target(&self, entry: &ZipEntry, path: &TreePath) -> Result<Target, WheelError> {
        let data = format!("{}.data/", self.wheel.stem());
        let (root, rest, is_script) = match path.as_str().strip_prefix(&data) {
            None => (self.site.as_str(), path.as_str(), false),
            Some(below) => {
                let no_place = || WheelError::DataKey {
                    path: printable(path.as_str().as_bytes()),
                };
                let (key, rest) = below.split_once('/').ok_or_else(no_place)?;
                match key {
                    // Debian's `/usr/local/man` is a link, and nothing is written through links.
                    "data" if rest.starts_with("man/") => ("usr/local/share", rest, false),
                    "purelib" | "platlib" => (self.site.as_str(), rest, false),
                    "headers" => (self.include.as_str(), rest, false),
                    "scripts" => ("usr/local/bin", rest, true),
                    "data" => (PREFIX, rest, false),
                    _ => return Err(no_place()),
                }
            }
        };
        let target = TreePath::parse(format!("{root}/{rest}").as_bytes(), usize::MAX)?;
        self.check_place(&target)?;
        let mode = if entry.executable || is_script {
            0o755
        } else {
            0o644
        };
        Ok(Target {
            path: target,
            mode,
            is_script,
        })
    }

    /// Whatever way a file takes there, it may not take the place of another's.
    fn check_place(&self, target: &TreePath) -> Result<(), WheelError> {
        if let Some(below) = self.below_site(target) {
            let Wheel {
                metadata, dist_info, ..
            } = self.wheel;
            check_library(below, target, &metadata.name, dist_info)?;
        }
        match hidden_program(self.writer.rootfs(), target)? {
            None => Ok(()),
            Some(program) => Err(WheelError::BaseProgram {
                path: target.absolute(),
                program: program.absolute(),
            }),
        }
    }

    /// A path relative to the library, where it is in it.
    fn below_site<'p>(&self, path: &'p TreePath) -> Option<&'p str> {
        path.as_str().strip_prefix(&self.site)?.strip_prefix('/')
    }

    fn note_pth(&mut self, path: &TreePath, bytes: &[u8]) {
        let in_site = path.split().is_some_and(|(parent, _)| parent == self.site);
        if in_site && has_suffix(path, "pth") {
            self.pth_files.push(PthFile {
                path: path.absolute(),
                code: metadata::pth_code(bytes),
            });
        }
    }

    fn note_elf(&mut self, path: &TreePath, bytes: ElfBytes<'_>) {
        let elf = elf::read(bytes);
        self.elf_files.extend(elf.map(|elf| (path.absolute(), elf)));
    }

    /// Write a file; `entry` is the one of the archive that has exactly these bytes.
    fn write(
        &mut self,
        path: &TreePath,
        metadata: &Metadata,
        bytes: &[u8],
        digest: Digest,
        entry: Option<&ZipEntry>,
    ) -> Result<(), WheelError> {
        if !self.claim(path, digest, bytes.len() as u64, metadata)? {
            return Ok(());
        }
        if self.pack.is_none() || is_source(path.as_str()) {
            let mut file = match self.create(path) {
                Err(WheelError::Write(RootfsError::Exists { .. })) => return self.as_below(path, bytes),
                created => created?,
            };
            file.write_piece(bytes)?;
            file.finish(metadata)?;
        }
        self.pack(path, metadata, Content::Bytes(bytes), entry)
    }

    /// Add a file to the pack, if there is one.
    fn pack(
        &mut self,
        path: &TreePath,
        metadata: &Metadata,
        content: Content<'_>,
        entry: Option<&ZipEntry>,
    ) -> Result<(), WheelError> {
        let Some(pack) = self.pack.as_deref_mut() else {
            return Ok(());
        };
        let entry = entry.filter(|entry| PackWriter::reuses(entry.size));
        let deflated =
            entry.map(|entry| Ok::<_, WheelError>(self.wheel.zip.deflated(entry)?.zip(Some(entry.size))));
        let content = match deflated.transpose()?.flatten() {
            Some((deflated, size)) => Content::Deflated(deflated, size),
            None => content,
        };
        Ok(pack.add(path, metadata, content)?)
    }

    fn large_file(&mut self, entry: &ZipEntry, target: &Target) -> Result<(), WheelError> {
        let wheel = self.wheel;
        let mut check = wheel.check(entry)?;
        // What the line says is proved below, after it was believed for the claim.
        let listed = wheel
            .record
            .get(&entry.name)
            .map_or("", |line| line.hash.as_str());
        let metadata = Metadata::of_root(target.mode, entry.mtime);
        let believed = Digest::of(listed.as_bytes());
        let mut file = None;
        if self.claim(&target.path, believed, entry.size, &metadata)? {
            file = Some(self.create(&target.path)?);
        }
        wheel.zip.copy(entry, |piece| {
            check.update(piece);
            file.as_mut()
                .map_or(Ok(()), |file| file.write_piece(piece))
                .map_err(WheelError::Write)
        })?;
        let digest = check.finish().map_err(|fault| record_error(entry, fault))?;
        self.installed.insert(target.path.clone(), (digest, entry.size));
        let Some(file) = file else { return Ok(()) };
        file.finish(&metadata)?;
        let Some(file) = self.writer.rootfs().file(&target.path)? else {
            return Ok(());
        };
        self.note_elf(&target.path, ElfBytes::File(&file));
        self.pack(
            &target.path,
            &metadata,
            Content::File(file, entry.size),
            Some(entry),
        )
    }

    /// Nobody in this layer has the name, so it is that of a file below: the same one does for both.
    fn as_below(&mut self, path: &TreePath, bytes: &[u8]) -> Result<(), WheelError> {
        match self.writer.rootfs().read(path, bytes.len() as u64) {
            Ok(Some(below)) if below == bytes => {
                self.is_partly_below = true;
                Ok(())
            }
            Ok(_) | Err(RootfsError::TooLarge { .. } | RootfsError::ThroughLink { .. }) => {
                Err(WheelError::BelowConflict {
                    path: path.absolute(),
                })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn create(&mut self, path: &TreePath) -> Result<crate::rootfs::NewFile, WheelError> {
        self.writer.file(path, false).map_err(WheelError::Write)
    }

    /// Claim a place for a file; false if another distribution has the same file there, or one that matters as little.
    fn claim(
        &mut self,
        path: &TreePath,
        digest: Digest,
        size: u64,
        metadata: &Metadata,
    ) -> Result<bool, WheelError> {
        if self.installed.insert(path.clone(), (digest, size)).is_some() {
            return Err(WheelError::Twice {
                path: path.absolute(),
            });
        }
        let place = self.writer.place(path)?;
        let owner = Arc::clone(&self.distribution);
        let claim = Claim {
            owner,
            rank: 0,
            content: Some(*digest.as_bytes()),
        };
        let Some(prior) = self.writer.rootfs().claim(&place, &claim) else {
            return Ok(true);
        };
        if prior.content != claim.content && self.is_stray_document(path) {
            self.installed.remove(path);
            self.left_out
                .push(format!("{} (of {})", path.absolute(), prior.owner));
            return Ok(false);
        }
        if prior.content != claim.content {
            return Err(WheelError::Conflict {
                distribution: self.distribution.to_string(),
                other: prior.owner.to_string(),
                path: path.absolute(),
            });
        }
        self.writer.rootfs().note_shared(path, metadata);
        Ok(false)
    }

    /// Whether a file lies beside all libraries and cannot be imported: a `LICENSE` or `README.md` that was packed there
    /// by mistake. Other installers write one over the other; here the first one stays.
    fn is_stray_document(&self, path: &TreePath) -> bool {
        let importable = ["py", "pyc", "so", "pth", "pyd", "egg", "egg-link", "zip"];
        let beside = self.below_site(path).is_some_and(|below| !below.contains('/'));
        beside && !importable.iter().any(|suffix| has_suffix(path, suffix))
    }

    /// The scripts of the entry points, `INSTALLER`, and last `RECORD`.
    fn generate(&mut self) -> Result<(), WheelError> {
        for entry_point in &self.wheel.entry_points {
            let path = format!("{PREFIX}/bin/{}", entry_point.name);
            self.generate_one(&path, 0o755, entry_point.script().as_bytes())?;
        }
        let dist_info = format!("{}/{}", self.site, self.wheel.dist_info);
        self.generate_one(&format!("{dist_info}/INSTALLER"), 0o644, b"cooper\n")?;
        let lines = self
            .installed
            .iter()
            .map(|(path, line)| (self.relative(path), *line))
            .collect();
        let record = record::render(&lines, &format!("{}/RECORD", self.wheel.dist_info));
        self.generate_one(&format!("{dist_info}/RECORD"), 0o644, record.as_bytes())
    }

    fn generate_one(&mut self, path: &str, mode: u32, bytes: &[u8]) -> Result<(), WheelError> {
        let path = TreePath::parse(path.as_bytes(), usize::MAX)?;
        self.check_place(&path)?;
        let metadata = Metadata::of_root(mode, self.newest_mtime);
        self.write(&path, &metadata, bytes, Digest::of(bytes), None)
    }

    /// A path as `RECORD` has it: relative to the library.
    fn relative(&self, path: &TreePath) -> String {
        if let Some(below) = self.below_site(path) {
            return below.to_owned();
        }
        let text = path.as_str();
        let below = text.strip_prefix(PREFIX).unwrap_or(text).trim_start_matches('/');
        format!("../../../{below}")
    }

    fn finish(self) -> InstalledWheel {
        // `TreePath`s are in the order of their texts.
        let files = self.installed.keys().map(TreePath::absolute).collect();
        InstalledWheel {
            name: self.wheel.metadata.name.clone(),
            version: self.wheel.metadata.version.clone(),
            metadata: self.wheel.metadata.clone(),
            files,
            is_partly_below: self.is_partly_below,
            newest_mtime: self.newest_mtime,
            pth_files: self.pth_files,
            left_out: self.left_out,
            elf_files: self.elf_files,
            native: self.native,
            bytes: self.installed.values().map(|(_, size)| size).sum(),
        }
    }
}

/// The program of the base that a file at `path` would hide.
pub(crate) fn hidden_program(rootfs: &Rootfs, path: &TreePath) -> Result<Option<TreePath>, WheelError> {
    let Some(name) = program_name(path) else {
        return Ok(None);
    };
    for folder in BASE_PROGRAMS {
        let program = TreePath::parse(format!("{folder}/{name}").as_bytes(), usize::MAX)?;
        if rootfs.has_name(&program)? {
            return Ok(Some(program));
        }
    }
    Ok(None)
}

/// `#!python` in a script means: the interpreter that it is installed for.
fn rewrite_shebang(bytes: &[u8]) -> Option<Vec<u8>> {
    let rest = bytes
        .strip_prefix(b"#!pythonw")
        .or_else(|| bytes.strip_prefix(b"#!python"))?;
    Some([b"#!/usr/bin/python3", rest].concat())
}

fn record_error(entry: &ZipEntry, fault: RecordFault) -> WheelError {
    WheelError::Record {
        path: printable(entry.name.as_bytes()),
        fault,
    }
}

/// Suffixes are compared as Python does on Linux: exactly.
fn has_suffix(path: &TreePath, suffix: &str) -> bool {
    std::path::Path::new(path.as_str())
        .extension()
        .is_some_and(|found| found == suffix)
}
