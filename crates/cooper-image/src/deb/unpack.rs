//! The data archive: one entry after the other into the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::BufRead;
use std::sync::Arc;

use cooper_core::Digest;
use md5::{Digest as _, Md5};

use super::control::Control;
use super::diversions::Diversions;
use super::licences::{self, Copyright, CopyrightReader};
use super::owners::owner_of;
use super::tar::{TarEntry, TarError, TarKind, TarLimits, TarReader};
use super::{DebError, EntryFault};
use crate::rootfs::{Claim, Metadata, Rootfs, RootfsError, TreePath, TreeWriter, UnpackLimits};

/// Who wins when two packages have the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// The package being unpacked: it `Replaces` the other.
    Ours,
    /// The other: it `Replaces` the package being unpacked.
    Theirs,
    /// Neither: an error.
    Conflict,
}

/// How one package is to be unpacked.
#[derive(Clone, Copy)]
pub struct UnpackSettings<'a> {
    /// What is accepted.
    pub limits: UnpackLimits,
    /// The package's place in the order of packages: of two that describe one directory, the lower counts.
    pub rank: u32,
    /// The diversions in force.
    pub diversions: &'a Diversions,
    /// Asked with the name of the other package when both have a file.
    pub precedence: &'a (dyn Fn(&str) -> Precedence + Sync),
}

/// What unpacking one package gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Every path in the order of the archive, as dpkg lists them: `/.`, `/usr`, `/usr/bin`. Files that
    /// another package keeps ([`Precedence::Theirs`]) are left out.
    pub paths: Vec<String>,
    /// The configuration files that the package carries.
    pub conffiles: Vec<UnpackedConffile>,
    /// What dpkg writes as the package's `md5sums`, where the package has none of its own.
    pub md5sums: Option<String>,
    /// Files that other packages had and this one replaced: package and path. They leave the other's list.
    pub displaced: Vec<(String, String)>,
    /// The newest time of any entry, in seconds since 1970.
    pub newest_mtime: i64,
    /// Bytes of all files.
    pub bytes: u64,
    /// What it says about its licence.
    pub copyright: Copyright,
}

/// A configuration file and the MD5 of its content, as `Conffiles` in dpkg's status has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedConffile {
    /// The absolute path.
    pub path: String,
    /// 32 hexadecimal digits.
    pub md5: String,
}

pub(super) fn unpack(
    control: &Control,
    stream: impl BufRead,
    package_bytes: u64,
    rootfs: &Rootfs,
    settings: &UnpackSettings<'_>,
) -> Result<Unpacked, DebError> {
    let limits = &settings.limits;
    let tar_limits = TarLimits {
        bytes_max: limits.unpacked_bytes_max(package_bytes),
        entries_max: limits.entries_max,
        extension_bytes_max: 65_536,
    };
    let mut unpacker = Unpacker::new(control, rootfs, settings);
    let mut reader = TarReader::new(stream, tar_limits);
    while let Some(entry) = reader
        .next_entry()
        .map_err(|source| unpacker.data_error(source))?
    {
        unpacker.entry(&entry, &mut reader)?;
    }
    Ok(unpacker.finish())
}

struct Unpacker<'a> {
    package: Arc<str>,
    settings: &'a UnpackSettings<'a>,
    writer: TreeWriter<'a>,
    seen: BTreeMap<TreePath, TarKind>,
    has_links: bool,
    /// The parent that was last found not to be below a link of this package.
    clear_parent: Option<String>,
    conffiles: BTreeSet<&'a TreePath>,
    /// MD5 of every file, kept only where the package has no `md5sums`.
    sums: Option<BTreeMap<TreePath, String>>,
    copyright: CopyrightReader,
    unpacked: Unpacked,
}

/// How an entry gets its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placement {
    New,
    Replace,
    /// What is there is the same thing.
    Shared,
    /// What is there stays, and is another package's.
    Skip,
}

impl<'a> Unpacker<'a> {
    fn new(control: &'a Control, rootfs: &'a Rootfs, settings: &'a UnpackSettings<'a>) -> Self {
        Self {
            package: Arc::from(control.package.as_str()),
            settings,
            writer: rootfs.writer(),
            seen: BTreeMap::new(),
            has_links: false,
            clear_parent: None,
            conffiles: control.conffiles.iter().map(|conffile| &conffile.path).collect(),
            sums: (!control.files.contains_key("md5sums")).then(BTreeMap::new),
            copyright: CopyrightReader::new(&control.package),
            unpacked: Unpacked::default(),
        }
    }

    fn entry<R: BufRead>(&mut self, entry: &TarEntry, reader: &mut TarReader<R>) -> Result<(), DebError> {
        let path = TreePath::parse(&entry.path, self.settings.limits.path_bytes_max).map_err(|source| {
            DebError::Path {
                package: self.package.to_string(),
                source,
            }
        })?;
        if self.seen.insert(path.clone(), entry.kind).is_some() {
            return Err(self.refuse(&path, EntryFault::Duplicate));
        }
        self.check_parents(&path)?;
        let metadata = self.metadata(&path, entry)?;
        self.unpacked.newest_mtime = self.unpacked.newest_mtime.max(metadata.mtime);
        let placement = match entry.kind {
            TarKind::Directory => {
                let made = self.writer.directory(&path, &metadata, self.settings.rank);
                made.map_err(|source| self.write_error(source))?;
                Placement::New
            }
            TarKind::File => self.file(&path, entry, &metadata, reader)?,
            TarKind::Symlink => self.symlink(&path, entry, &metadata)?,
            TarKind::HardLink => self.hard_link(&path, entry)?,
            TarKind::Device => return Err(self.refuse(&path, EntryFault::Device)),
            TarKind::Fifo => return Err(self.refuse(&path, EntryFault::Fifo)),
            TarKind::Other(_) => return Err(self.refuse(&path, EntryFault::UnknownType)),
        };
        if placement != Placement::Skip {
            let listed = if path.is_root() {
                "/.".to_owned()
            } else {
                path.absolute()
            };
            self.unpacked.paths.push(listed);
        }
        Ok(())
    }

    fn metadata(&self, path: &TreePath, entry: &TarEntry) -> Result<Metadata, DebError> {
        let id = |number: u64| u16::try_from(number).map(u32::from);
        let (Ok(uid), Ok(gid)) = (id(entry.uid), id(entry.gid)) else {
            return Err(self.refuse(path, EntryFault::Owner));
        };
        // The tar reader accepts no number above `i64::MAX`.
        let mtime = i64::try_from(entry.mtime).unwrap_or(i64::MAX);
        Ok(Metadata {
            mode: entry.mode & 0o7777,
            uid,
            gid,
            mtime,
        })
    }

    /// A package made from a tree has no entry below one of its own links.
    fn check_parents(&mut self, path: &TreePath) -> Result<(), DebError> {
        let Some((parent, _)) = path.split() else {
            return Ok(());
        };
        if !self.has_links || self.clear_parent.as_deref() == Some(parent) {
            return Ok(());
        }
        let mut above = parent;
        while !above.is_empty() {
            let ancestor = TreePath::parse(above.as_bytes(), usize::MAX).unwrap_or_default();
            if self.seen.get(&ancestor) == Some(&TarKind::Symlink) {
                return Err(self.refuse(path, EntryFault::BelowLink));
            }
            above = above.rsplit_once('/').map_or("", |(above, _)| above);
        }
        self.clear_parent = Some(parent.to_owned());
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        path: &TreePath,
        entry: &TarEntry,
        metadata: &Metadata,
        reader: &mut TarReader<R>,
    ) -> Result<Placement, DebError> {
        if entry.size > self.settings.limits.file_bytes_max {
            return Err(self.refuse(path, EntryFault::TooLarge));
        }
        let target = self.diverted(path)?;
        let (placement, mut file) = self.place(path, &target, None, |writer, replace| {
            writer.file(&target, replace)
        })?;
        let mut copyright = self.copyright.file(path.as_str(), entry.size);
        if file.is_none() && copyright.is_none() {
            return Ok(placement);
        }
        let is_conffile = self.conffiles.contains(path);
        let mut md5 = (is_conffile || self.sums.is_some()).then(Md5::new);
        let copied = reader.read_body(|piece| {
            if let Some(bytes) = &mut copyright {
                licences::add(bytes, piece);
            }
            let Some(file) = &mut file else {
                return Ok(());
            };
            if let Some(md5) = &mut md5 {
                md5.update(piece);
            }
            file.write_piece(piece).map_err(CopyError::Write)
        });
        copied.map_err(|error| self.copy_error(error))?;
        let Some(file) = file else {
            return Ok(placement);
        };
        file.finish(metadata).map_err(|source| self.write_error(source))?;
        self.unpacked.bytes += entry.size;
        if let Some(md5) = md5 {
            self.note_sum(path, hex(&md5.finalize()), is_conffile);
        }
        Ok(placement)
    }

    fn note_sum(&mut self, path: &TreePath, md5: String, is_conffile: bool) {
        if is_conffile {
            self.unpacked.conffiles.push(UnpackedConffile {
                path: path.absolute(),
                md5,
            });
        } else if let Some(sums) = &mut self.sums {
            sums.insert(path.clone(), md5);
        }
    }

    fn symlink(
        &mut self,
        path: &TreePath,
        entry: &TarEntry,
        metadata: &Metadata,
    ) -> Result<Placement, DebError> {
        let text = std::str::from_utf8(&entry.link).unwrap_or_default();
        if text.is_empty() || text.len() > 4_095 || text.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(self.refuse(path, EntryFault::LinkTarget));
        }
        self.copyright.symlink(path.as_str(), text);
        self.has_links = true;
        self.clear_parent = None;
        let target = self.diverted(path)?;
        let made = self.place(path, &target, Some(text), |writer, replace| {
            writer.symlink(&target, text, metadata, replace)
        });
        made.map(|(placement, _)| placement)
    }

    fn hard_link(&mut self, path: &TreePath, entry: &TarEntry) -> Result<Placement, DebError> {
        let existing = TreePath::parse(&entry.link, self.settings.limits.path_bytes_max).ok();
        let is_file =
            |existing: &TreePath| matches!(self.seen.get(existing), Some(TarKind::File | TarKind::HardLink));
        let Some(existing) = existing.filter(|existing| existing != path && is_file(existing)) else {
            return Err(self.refuse(path, EntryFault::HardLink));
        };
        self.copyright.hard_link(path.as_str(), existing.as_str());
        let (from, target) = (self.diverted(&existing)?, self.diverted(path)?);
        let (placement, _) = self.place(path, &target, None, |writer, replace| {
            writer.hard_link(&from, &target, replace)
        })?;
        if let Some(sums) = &mut self.sums
            && let Some(sum) = sums.get(&existing).cloned()
        {
            sums.insert(path.clone(), sum);
        }
        Ok(placement)
    }

    /// Where a path goes under the diversions in force.
    fn diverted(&self, path: &TreePath) -> Result<TreePath, DebError> {
        if self.settings.diversions.is_empty() {
            return Ok(path.clone());
        }
        match self.settings.diversions.target(&path.absolute(), &self.package) {
            Some(target) => {
                TreePath::parse(target.trim_start_matches('/').as_bytes(), usize::MAX).map_err(|source| {
                    DebError::Path {
                        package: self.package.to_string(),
                        source,
                    }
                })
            }
            None => Ok(path.clone()),
        }
    }

    /// Make something at `target` with `create`, which is told whether to replace what is there. What
    /// already has the name decides: nothing, a file that nobody owns, another package's, or an equal link.
    fn place<T>(
        &mut self,
        path: &TreePath,
        target: &TreePath,
        link: Option<&str>,
        mut create: impl FnMut(&mut TreeWriter<'a>, bool) -> Result<T, RootfsError>,
    ) -> Result<(Placement, Option<T>), DebError> {
        let place = self
            .writer
            .place(target)
            .map_err(|source| self.write_error(source))?;
        let content = link.map(|link| *Digest::of(link.as_bytes()).as_bytes());
        let claim = Claim {
            owner: Arc::clone(&self.package),
            rank: self.settings.rank,
            content,
        };
        let rootfs = self.writer.rootfs();
        let mut placement = match rootfs.claim(&place, &claim) {
            None => Placement::New,
            Some(prior) => self.judge(path, &claim, &prior)?,
        };
        if placement == Placement::New {
            match create(&mut self.writer, false) {
                Ok(made) => return Ok((placement, Some(made))),
                Err(RootfsError::Exists { .. }) => {}
                Err(source) => return Err(self.write_error(source)),
            }
            placement = match rootfs.claimant(&place) {
                Some(prior) if prior.owner != self.package => self.judge(path, &claim, &prior)?,
                _ => self.judge_found(path, target, link)?,
            };
        }
        if placement != Placement::Replace {
            return Ok((placement, None));
        }
        rootfs.take_over(&place, &claim);
        let made = create(&mut self.writer, true).map_err(|source| self.write_error(source))?;
        Ok((placement, Some(made)))
    }

    /// Another package of the same tree claimed the place first.
    fn judge(&mut self, path: &TreePath, ours: &Claim, prior: &Claim) -> Result<Placement, DebError> {
        if prior.owner == self.package {
            return Err(self.refuse(path, EntryFault::Duplicate));
        }
        if ours.content.is_some() && ours.content == prior.content {
            return Ok(if ours.rank < prior.rank {
                Placement::Replace
            } else {
                Placement::Shared
            });
        }
        self.judge_other(path, &prior.owner)
    }

    /// Something was in the tree before: from a lower layer, or made by a script.
    fn judge_found(
        &mut self,
        path: &TreePath,
        target: &TreePath,
        link: Option<&str>,
    ) -> Result<Placement, DebError> {
        if let Some(link) = link {
            let found = self
                .writer
                .link_target(target)
                .map_err(|source| self.write_error(source))?;
            if found.as_deref() == Some(link) && self.writer.leads_to_directory(target) {
                return Ok(Placement::Shared);
            }
        }
        match owner_of(self.writer.rootfs(), target) {
            Some(other) if *other != *self.package => self.judge_other(path, &other),
            _ => Ok(Placement::Replace),
        }
    }

    fn judge_other(&mut self, path: &TreePath, other: &str) -> Result<Placement, DebError> {
        match (self.settings.precedence)(other) {
            Precedence::Ours => {
                self.unpacked.displaced.push((other.to_owned(), path.absolute()));
                Ok(Placement::Replace)
            }
            Precedence::Theirs => Ok(Placement::Skip),
            Precedence::Conflict => Err(DebError::Conflict {
                package: self.package.to_string(),
                other: other.to_owned(),
                path: path.absolute(),
            }),
        }
    }

    fn finish(mut self) -> Unpacked {
        self.unpacked.md5sums = self.sums.map(|sums| {
            sums.iter().fold(String::new(), |mut text, (path, sum)| {
                let _ = writeln!(text, "{sum}  {path}");
                text
            })
        });
        self.unpacked.copyright = self.copyright.finish();
        self.unpacked
    }

    fn refuse(&self, path: &TreePath, fault: EntryFault) -> DebError {
        DebError::Entry {
            package: self.package.to_string(),
            path: path.absolute(),
            fault,
        }
    }

    fn data_error(&self, source: TarError) -> DebError {
        DebError::Data {
            package: self.package.to_string(),
            source,
        }
    }

    fn write_error(&self, source: RootfsError) -> DebError {
        DebError::Write {
            package: self.package.to_string(),
            source,
        }
    }

    fn copy_error(&self, error: CopyError) -> DebError {
        match error {
            CopyError::Read(source) => self.data_error(source),
            CopyError::Write(source) => self.write_error(source),
        }
    }
}

/// Which side of a copy failed.
enum CopyError {
    Read(TarError),
    Write(RootfsError),
}

impl From<TarError> for CopyError {
    fn from(error: TarError) -> Self {
        Self::Read(error)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
