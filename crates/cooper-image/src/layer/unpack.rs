//! Unpacks a layer to the tree that it was packed from, and proves that it is that tree.
//!
//! The bytes are hostile until the end. Three things must agree: the digest of the uncompressed tar, the diff id
//! that the image's configuration states, and the diff id of the tree when it is packed again. The last one refuses
//! every tar that this program would not have written: entries out of order, twice, or with headers that two
//! readers could understand differently.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use cooper_core::{DiffId, Digest, LayerDigest};
use cooper_store::{LockError, ReadBlobError, StageError, Store, TreeStage};
use flate2::bufread::MultiGzDecoder;
use rustix::fs::{Timespec, Timestamps, UTIME_OMIT};
use sha2::{Digest as _, Sha256};

use super::read_ahead::{Ahead, ahead};
use super::{LayerKind, PackError};
use crate::deb::tar::{TarEntry, TarError, TarKind, TarLimits, TarReader};
use crate::rootfs::{
    Links, Metadata, ParseTreePathError, Rootfs, RootfsError, TreePath, TreeWriter, UnpackLimits, printable,
};

/// Why a layer is refused, or could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The blob could not be read.
    #[error("cannot read the layer")]
    Blob(#[from] ReadBlobError),
    /// The stream is no tar, or more than is accepted.
    #[error("the layer is malformed")]
    Tar(#[from] TarError),
    /// A path that is not accepted.
    #[error("the layer has a path that is not accepted")]
    Path(#[from] ParseTreePathError),
    /// An entry that is not accepted.
    #[error("the entry `{path}` of the layer is refused: {fault}")]
    Entry {
        /// The path, made printable.
        path: String,
        /// What is wrong.
        fault: LayerEntryFault,
    },
    /// The tar has another digest than the configuration says.
    #[error("the layer's tar has the digest {found}, the configuration says {expected}")]
    DiffId {
        /// In the configuration.
        expected: DiffId,
        /// Of the tar.
        found: DiffId,
    },
    /// The tree, packed again, is another tar.
    #[error("the layer was not packed by this program: its files, packed again, have the digest {found}")]
    NotCanonical {
        /// Of the tree, packed again.
        found: DiffId,
    },
    /// The tree could not be packed again.
    #[error("cannot check the unpacked layer")]
    Repack(#[source] PackError),
    /// The tree could not be written.
    #[error("cannot unpack the layer")]
    Write(#[from] RootfsError),
    /// Another process holds the layer.
    #[error("cannot lock the layer")]
    Lock(#[from] LockError),
    /// It was taken away as soon as it was there.
    #[error("the unpacked layer {diff_id} was removed again")]
    Gone {
        /// The layer.
        diff_id: DiffId,
    },
    /// The tree could not be kept.
    #[error("cannot keep the unpacked layer")]
    Stage(#[from] StageError),
}

/// What is wrong with an entry of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LayerEntryFault {
    /// A device node.
    #[error("a layer may not have device nodes")]
    Device,
    /// A type that layers do not have.
    #[error("its type is unknown")]
    UnknownType,
    /// A whiteout with content, or of another kind than a file.
    #[error("its name deletes files, and it is more than a name")]
    Whiteout,
    /// A link to nothing, or to a name that is not UTF-8.
    #[error("its link target is not a path")]
    LinkTarget,
    /// An owner or group that the system does not have.
    #[error("its owner or group is out of range")]
    Owner,
    /// A file larger than the limit.
    #[error("it is larger than the limit for one file")]
    TooLarge,
}

const EXTENSION_BYTES_MAX: u64 = 64 << 10;
const IN_BYTES: usize = 128 << 10;
const OPAQUE: &[u8] = b".wh..wh..opq";
const WHITEOUT: &[u8] = b".wh.";

/// Bring the tree of a layer whose blob is in the store into the store, unless it is there. That the blob holds this
/// tree is checked in both cases.
///
/// # Errors
/// When the layer is not what its digests say, or could not be unpacked. The store has no tree of it then.
pub fn unpack(
    store: &Store,
    digest: &LayerDigest,
    diff_id: &DiffId,
    limits: &UnpackLimits,
) -> Result<(), UnpackError> {
    let limits = limits_for(store, digest, limits);
    if store.renew_tree(diff_id).is_some() {
        let found = with_tar(store, digest, |mut stream| {
            stream.drain(limits.total_bytes_max)?;
            Ok(stream.diff_id())
        })?;
        return check(found, diff_id);
    }
    let stage = unpack_stage(store, digest, diff_id, &limits)?;
    let found = super::diff_id(&stage.root(), LayerKind::OverlayUpper).map_err(UnpackError::Repack)?;
    if found != *diff_id {
        return Err(UnpackError::NotCanonical { found });
    }
    stage.commit(diff_id)?;
    Ok(())
}

/// Where the tree of a layer is that was packed here, or unpacked by [`unpack`] before: it is unpacked unless it is there.
/// Who wants the same one meanwhile waits for it. That this tar is that of its tree was proved then.
///
/// # Errors
/// When the layer is not what its digests say, or could not be unpacked.
pub fn tree(store: &Store, digest: &LayerDigest, diff_id: &DiffId) -> Result<PathBuf, UnpackError> {
    if let Some(path) = store.renew_tree(diff_id) {
        return Ok(path);
    }
    let _one_at_a_time = store.lock(&format!("tree-{}", diff_id.hex()))?;
    if store.renew_tree(diff_id).is_none() {
        let limits = limits_for(store, digest, &UnpackLimits::default());
        unpack_stage(store, digest, diff_id, &limits)?.commit(diff_id)?;
    }
    store.tree(diff_id).ok_or(UnpackError::Gone { diff_id: *diff_id })
}

fn limits_for(store: &Store, digest: &LayerDigest, limits: &UnpackLimits) -> UnpackLimits {
    let size = store.blob_size(&(*digest).into()).unwrap_or(0);
    UnpackLimits {
        total_bytes_max: limits.unpacked_bytes_max(size),
        ..*limits
    }
}

/// Give `work` the tar of a layer; another thread decompresses it.
fn with_tar<T>(
    store: &Store,
    digest: &LayerDigest,
    work: impl FnOnce(Hashed<Ahead>) -> Result<T, UnpackError>,
) -> Result<T, UnpackError> {
    let blob = store.open_blob(&(*digest).into())?;
    let decoder = MultiGzDecoder::new(BufReader::with_capacity(IN_BYTES, blob));
    ahead(decoder, |stream| work(Hashed::new(stream)))
}

/// A tree from a tar that has this diff id.
fn unpack_stage(
    store: &Store,
    digest: &LayerDigest,
    diff_id: &DiffId,
    limits: &UnpackLimits,
) -> Result<TreeStage, UnpackError> {
    let stage = store.stage_tree()?;
    let found = with_tar(store, digest, |mut stream| {
        unpack_tar(&mut stream, &stage.root(), limits)?;
        Ok(stream.diff_id())
    })?;
    check(found, diff_id)?;
    Ok(stage)
}

fn check(found: DiffId, expected: &DiffId) -> Result<(), UnpackError> {
    if found == *expected {
        return Ok(());
    }
    Err(UnpackError::DiffId {
        expected: *expected,
        found,
    })
}

/// Unpack the tar of a layer into the empty directory `root`. Deletions become what the upper directory of an overlay
/// has ([`LayerKind::OverlayUpper`]). That the tree is the one that was packed is not known yet.
///
/// # Errors
/// When an entry is not accepted, or a limit is reached. What was written stays.
pub fn unpack_tar(stream: impl BufRead, root: &Path, limits: &UnpackLimits) -> Result<(), UnpackError> {
    let rootfs = Rootfs::open(root, Links::Refused)?;
    let mut reader = TarReader::new(
        stream,
        TarLimits {
            bytes_max: limits.total_bytes_max,
            entries_max: limits.entries_max,
            extension_bytes_max: EXTENSION_BYTES_MAX,
        },
    );
    let mut writer = rootfs.writer();
    let mut newest = 0;
    while let Some(entry) = reader.next_entry()? {
        let metadata = metadata(&entry)?;
        newest = newest.max(metadata.mtime);
        write_entry(&mut reader, &mut writer, &entry, &metadata, limits)?;
    }
    rootfs.settle(newest)?;
    // The root is no entry of the tar; where a tree was built, it has the time of its newest artefact.
    let time = Timespec {
        tv_sec: newest,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: time,
    };
    rustix::fs::futimens(rootfs.root(), &times).map_err(|errno| {
        UnpackError::Write(RootfsError::Io {
            operation: "set the time of",
            path: "/".to_owned(),
            source: errno.into(),
        })
    })
}

fn metadata(entry: &TarEntry) -> Result<Metadata, UnpackError> {
    // The two largest numbers mean "no change" to the system.
    let owner = |id: u64| u32::try_from(id).ok().filter(|id| *id < u32::MAX - 1);
    let owners = owner(entry.uid).zip(owner(entry.gid));
    let (uid, gid) = owners.ok_or_else(|| refused(entry, LayerEntryFault::Owner))?;
    Ok(Metadata {
        mode: entry.mode,
        uid,
        gid,
        mtime: i64::try_from(entry.mtime).unwrap_or(i64::MAX),
    })
}

fn write_entry(
    reader: &mut TarReader<impl BufRead>,
    writer: &mut TreeWriter<'_>,
    entry: &TarEntry,
    metadata: &Metadata,
    limits: &UnpackLimits,
) -> Result<(), UnpackError> {
    let (folder, name) = split(&entry.path);
    if name.starts_with(WHITEOUT) {
        return write_whiteout(writer, entry, folder, name, limits);
    }
    let path = TreePath::parse(&entry.path, limits.path_bytes_max)?;
    match entry.kind {
        TarKind::Directory => writer.directory(&path, metadata, 0)?,
        TarKind::File => {
            if entry.size > limits.file_bytes_max {
                return Err(refused(entry, LayerEntryFault::TooLarge));
            }
            let mut file = writer.file(&path, false)?;
            reader.read_body(|piece| file.write_piece(piece).map_err(UnpackError::from))?;
            file.finish_with(metadata, entry.capability.as_deref())?;
        }
        TarKind::HardLink => {
            let existing = TreePath::parse(&entry.link, limits.path_bytes_max)?;
            writer.hard_link(&existing, &path, false)?;
        }
        TarKind::Symlink => {
            let target = std::str::from_utf8(&entry.link).ok();
            let target = target.filter(|target| !target.is_empty() && !target.contains('\0'));
            let target = target.ok_or_else(|| refused(entry, LayerEntryFault::LinkTarget))?;
            writer.symlink(&path, target, metadata, false)?;
        }
        TarKind::Fifo => writer.fifo(&path, metadata)?,
        TarKind::Device => return Err(refused(entry, LayerEntryFault::Device)),
        TarKind::Other(_) => return Err(refused(entry, LayerEntryFault::UnknownType)),
    }
    Ok(())
}

/// `folder/.wh.name` deletes `folder/name`; `folder/.wh..wh..opq` deletes what is in `folder`.
fn write_whiteout(
    writer: &mut TreeWriter<'_>,
    entry: &TarEntry,
    folder: &[u8],
    name: &[u8],
    limits: &UnpackLimits,
) -> Result<(), UnpackError> {
    if entry.kind != TarKind::File || entry.size > 0 {
        return Err(refused(entry, LayerEntryFault::Whiteout));
    }
    if name == OPAQUE {
        let folder = TreePath::parse(folder, limits.path_bytes_max)?;
        return Ok(writer.opaque(&folder)?);
    }
    let deleted = name.strip_prefix(WHITEOUT).unwrap_or(name);
    let path = TreePath::parse(&[folder, deleted].concat(), limits.path_bytes_max)?;
    Ok(writer.whiteout(&path)?)
}

/// The folder with its slash, and the last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    path.split_at(at)
}

fn refused(entry: &TarEntry, fault: LayerEntryFault) -> UnpackError {
    UnpackError::Entry {
        path: printable(&entry.path),
        fault,
    }
}

/// A stream that is hashed as it is consumed.
struct Hashed<R> {
    source: R,
    hasher: Sha256,
    bytes: u64,
}

impl<R: BufRead> Hashed<R> {
    /// Read to the end.
    fn drain(&mut self, bytes_max: u64) -> Result<(), TarError> {
        loop {
            let length = self.fill_buf().map_err(TarError::Read)?.len();
            if length == 0 {
                return Ok(());
            }
            self.consume(length);
            if self.bytes > bytes_max {
                return Err(TarError::TooLarge { bytes_max });
            }
        }
    }
}

impl<R> Hashed<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    fn diff_id(self) -> DiffId {
        DiffId::new(Digest::from_bytes(self.hasher.finalize().into()))
    }
}

impl<R: BufRead> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Hashed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        // What was filled is there still; nothing is read.
        if let Ok(filled) = self.source.fill_buf() {
            let consumed = filled.get(..length).unwrap_or(filled);
            self.hasher.update(consumed);
            self.bytes += consumed.len() as u64;
        }
        self.source.consume(length);
    }
}
