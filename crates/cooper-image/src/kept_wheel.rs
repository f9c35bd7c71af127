//! Installed wheels that are kept for the next layer which has them: their files with the bytecode, in the store's cache.
//!
//! An entry is a directory with the files by number and a manifest. Its files are links to those of the tree in which the
//! wheel was installed first, and a later tree gets links to them in turn: nothing is unpacked, compiled or stored twice.
//! What an entry has follows from its key: the wheel, the interpreter and the recipe. Only what is the wheel's alone is
//! kept: where it shares a file with another wheel or with what is below, it is installed each time.
//!
//! The cache may lose an entry at any time. A file is read and compared with its checksum and state before it is linked,
//! and the manifest begins with its own digest: an entry that is damaged is dropped and the wheel installed again. The
//! checksum is a CRC-32, which finds what a disk does: whoever may write to the store could change manifests, too.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};

use cooper_core::lock::{PythonArtefact, Recipe};
use cooper_core::{Digest, PythonVersion};
use cooper_store::Store;
use libdeflater::Crc;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::bytecode::bytecode_of;
use crate::libraries::elf::ElfFile;
use crate::rootfs::{Metadata, Rootfs, RootfsError, TreePath, TreeWriter};
use crate::wheel::InstalledWheel;

/// The kind of these entries in the cache.
const KIND: &str = "wheel";
/// Counts up when an entry would have other files, or a manifest that says other things, for the same key.
const FORMAT: u32 = 2;
const MANIFEST: &str = "manifest";
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
const PIECE_BYTES: usize = 256 << 10;

/// What a layer has to know of a wheel, whether it was installed now or kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WheelFacts {
    /// The newest time of any of its files, in seconds since 1970.
    pub(crate) newest_mtime: i64,
    /// The distribution's name as it spells it.
    pub(crate) name: String,
    /// The licence as the distribution states it.
    pub(crate) licence: Option<String>,
    /// What its machine code says to the loader, by the files' absolute paths.
    pub(crate) elf_files: Vec<(String, ElfFile)>,
}

/// A wheel whose files are at hand.
pub(crate) struct KeptWheel {
    key: String,
    directory: OwnedFd,
    facts: WheelFacts,
    /// The files in the order of their numbers.
    files: Vec<KeptFile>,
    /// Their places.
    paths: Vec<TreePath>,
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    facts: WheelFacts,
    files: Vec<KeptFile>,
}

#[derive(Serialize, Deserialize)]
struct KeptFile {
    /// Relative to the root.
    path: String,
    mode: u32,
    size: u64,
    mtime: i64,
    crc32: u32,
}

/// Why a kept wheel did not get into a tree.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The entry is not what it should be, or is gone.
    #[error("the kept file `{path}` is damaged or gone")]
    Damaged {
        /// The place in the tree.
        path: String,
    },
    /// The tree could not be written.
    #[error("cannot link the kept wheel")]
    Write(#[from] RootfsError),
}

/// The key of a wheel: everything that its files depend on. `interpreter` is the digest of what compiles.
pub(crate) fn key(artefact: &PythonArtefact, interpreter: &Digest, recipe: Recipe) -> Option<String> {
    serde_json::to_string(&(FORMAT, recipe.version, interpreter, artefact)).ok()
}

impl WheelFacts {
    /// Those of a wheel that was installed.
    pub(crate) fn of(installed: &InstalledWheel) -> Self {
        Self {
            newest_mtime: installed.newest_mtime,
            name: installed.name.clone(),
            licence: installed.metadata.stated_licence(),
            elf_files: installed.elf_files.clone(),
        }
    }
}

impl KeptWheel {
    /// The wheel that is kept under this key; none where there is none, or it cannot be understood.
    pub(crate) fn find(store: &Store, key: &str) -> Option<Self> {
        let directory = store.cache_directory(KIND, key)?;
        let Some(Manifest { facts, files }) = read_manifest(&directory) else {
            drop_entry(store, key);
            return None;
        };
        let parse = |file: &KeptFile| TreePath::parse(file.path.as_bytes(), usize::MAX).ok();
        let paths = files.iter().map(parse).collect::<Option<Vec<_>>>()?;
        Some(Self {
            key: key.to_owned(),
            directory,
            facts,
            files,
            paths,
        })
    }

    /// What it says of the wheel.
    pub(crate) fn facts(&self) -> &WheelFacts {
        &self.facts
    }

    /// The places of its files, bytecode included.
    pub(crate) fn paths(&self) -> &[TreePath] {
        &self.paths
    }

    /// Make the directories of its files.
    pub(crate) fn make_directories(&self, writer: &mut TreeWriter<'_>) -> Result<(), RootfsError> {
        let mut last = None;
        for path in &self.paths {
            let parent = path.split().map(|(parent, _)| parent);
            if parent != last {
                writer.place(path)?;
                last = parent;
            }
        }
        Ok(())
    }

    /// Link its files below `tree`, each checked before. Its directories are there.
    pub(crate) fn link_into(&self, tree: &Rootfs) -> Result<(), LinkError> {
        let mut writer = tree.writer();
        let mut piece = vec![0; PIECE_BYTES];
        for (number, (file, path)) in self.files.iter().zip(&self.paths).enumerate() {
            let name = number.to_string();
            let damaged = || LinkError::Damaged {
                path: path.absolute(),
            };
            let opened = self.checked(&name, file, &mut piece).ok().flatten();
            let opened = opened.ok_or_else(damaged)?;
            match writer.link_in(path, self.directory.as_fd(), &name) {
                Ok(true) => {}
                Ok(false) => copy(&mut writer, path, file, opened)?,
                Err(RootfsError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Err(damaged());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Remove the entry.
    pub(crate) fn forget(&self, store: &Store) {
        drop_entry(store, &self.key);
    }

    /// One of its files, if it is what it should be.
    fn checked(&self, name: &str, expected: &KeptFile, piece: &mut [u8]) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
        let mut file = File::from(opened);
        if !state(&file)?.is_some_and(|(mode, size, mtime)| {
            (mode, size, mtime) == (expected.mode, expected.size, expected.mtime)
        }) {
            return Ok(None);
        }
        Ok((checksum(&mut file, expected.size, piece)? == Some(expected.crc32)).then_some(file))
    }
}

/// Mode, size and time of a plain file of root's.
fn state(file: &File) -> io::Result<Option<(u32, u64, i64)>> {
    use std::os::unix::fs::MetadataExt as _;
    let status = file.metadata()?;
    let is_plain = status.is_file() && status.uid() == 0 && status.gid() == 0 && status.mtime_nsec() == 0;
    Ok(is_plain.then(|| (status.mode() & 0o7777, status.len(), status.mtime())))
}

/// The checksum of a file of this size; none where it is shorter.
fn checksum(file: &mut File, size: u64, piece: &mut [u8]) -> io::Result<Option<u32>> {
    let mut crc = Crc::new();
    let mut left = size;
    while left > 0 {
        let room = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = file.read(&mut piece[..room])?;
        if read == 0 {
            return Ok(None);
        }
        crc.update(&piece[..read]);
        left -= read as u64;
    }
    Ok(Some(crc.sum()))
}

/// Where a file may have no more links, its content is copied.
fn copy(
    writer: &mut TreeWriter<'_>,
    path: &TreePath,
    kept: &KeptFile,
    mut from: File,
) -> Result<(), RootfsError> {
    let mut to = writer.file(path, false)?;
    let copied = io::Seek::rewind(&mut from).and_then(|()| io::copy(&mut from, &mut to));
    copied.map_err(|source| RootfsError::Io {
        operation: "copy a kept file to",
        path: path.to_string(),
        source,
    })?;
    to.finish(&Metadata::of_root(kept.mode, kept.mtime))
}

fn read_manifest(directory: &OwnedFd) -> Option<Manifest> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, MANIFEST, flags, Mode::empty()).ok()?;
    let mut text = String::new();
    let read = File::from(file)
        .take(MANIFEST_BYTES_MAX)
        .read_to_string(&mut text);
    read.ok()?;
    let (digest, manifest) = text.split_once('\n')?;
    if Digest::of(manifest.as_bytes()).hex() != digest {
        return None;
    }
    serde_json::from_str(manifest).ok()
}

fn drop_entry(store: &Store, key: &str) {
    if let Err(error) = store.cache_drop_directory(KIND, key) {
        tracing::debug!(?error, "a kept wheel stays");
    }
}

/// Keep a wheel that was installed and compiled in `tree`. What hinders it is not the caller's business.
pub(crate) fn keep(
    store: &Store,
    key: &str,
    tree: &Rootfs,
    installed: &InstalledWheel,
    python: PythonVersion,
) {
    match try_to_keep(store, key, tree, installed, python) {
        Ok(()) => {}
        Err(error) => tracing::debug!(name = installed.name, %error, "a wheel is not kept"),
    }
}

fn try_to_keep(
    store: &Store,
    key: &str,
    tree: &Rootfs,
    installed: &InstalledWheel,
    python: PythonVersion,
) -> io::Result<()> {
    let scratch = store.scratch().map_err(io::Error::other)?;
    let entry = scratch.path().join("entry");
    rustix::fs::mkdir(&entry, Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(&entry, flags, Mode::empty())?;
    let mut writer = tree.writer();
    let mut piece = vec![0; PIECE_BYTES];
    let mut files = Vec::new();
    for (path, is_needed) in places(installed, python) {
        let parsed = TreePath::parse(path.trim_start_matches('/').as_bytes(), usize::MAX);
        let parsed = parsed.map_err(io::Error::other)?;
        let Some(mut file) = tree.open_file(&parsed).map_err(io::Error::other)? else {
            if is_needed {
                return Err(io::ErrorKind::NotFound.into());
            }
            continue;
        };
        let Some((mode, size, mtime)) = state(&file)? else {
            return Err(io::Error::other(format!("{path} is no plain file of root's")));
        };
        let Some(crc32) = checksum(&mut file, size, &mut piece)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let linked = writer.link_out(&parsed, directory.as_fd(), &files.len().to_string());
        linked.map_err(io::Error::other)?;
        files.push(KeptFile {
            path: parsed.to_string(),
            mode,
            size,
            mtime,
            crc32,
        });
    }
    let facts = WheelFacts::of(installed);
    let manifest = serde_json::to_string(&Manifest { facts, files })?;
    let text = format!("{}\n{manifest}", Digest::of(manifest.as_bytes()).hex());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&directory, MANIFEST, flags, Mode::from_raw_mode(0o600))?;
    File::from(file).write_all(text.as_bytes())?;
    store
        .cache_put_directory(KIND, key, &entry)
        .map_err(io::Error::other)
}

/// The files of a wheel, and its bytecode, which is there only of what compiles.
fn places(installed: &InstalledWheel, python: PythonVersion) -> impl Iterator<Item = (String, bool)> {
    let own: BTreeSet<&String> = installed.files.iter().collect();
    let bytecode = installed
        .files
        .iter()
        .filter_map(|source| bytecode_of(source, python));
    let bytecode: Vec<_> = bytecode
        .filter(|path| !own.contains(path))
        .map(|path| (path, false))
        .collect();
    let files = installed.files.iter().cloned().map(|path| (path, true));
    files.chain(bytecode)
}
