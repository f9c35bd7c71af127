//! Packs a tree into an OCI layer, and back: the same tree gives the same bytes, on any machine and any number of threads.
//!
//! A walk in byte order writes a tar in which nothing depends on the host; the tar is cut into
//! pieces of fixed size, each compressed by itself (RFC 1952, section 2.2: a gzip file is a sequence of
//! members), and both digests are taken on the way to the store. Memory is bounded by the pieces in flight.
//!
//! An overlay's upper directory keeps its own form of deletions in the tree; in the layer they become the
//! whiteout files of the OCI image specification (`layer.md`, "Whiteouts"). [`unpack()`] is the way back.

mod compress;
pub(crate) mod join;
mod read_ahead;
mod settle;
pub(crate) mod tar;
mod unpack;
mod walk;

use std::io::{self, Write};
use std::path::Path;

use cooper_core::lock::Compression;
use cooper_core::{DiffId, Digest, LayerDigest};
use cooper_store::{Store, WriteBlobError};
use sha2::Digest as _;

pub(crate) use compress::MemberWriter;
pub use settle::settle_mtimes;
pub use unpack::{LayerEntryFault, UnpackError, tree, unpack, unpack_tar};
use walk::Walked;

/// What a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerKind {
    /// A whole tree.
    Tree,
    /// The upper directory of an overlay: a 0:0 character device deletes the name below it, and the
    /// attribute `trusted.overlay.opaque` deletes what a directory had below it; `user.overlay.opaque` where root of a
    /// user namespace mounts it.
    OverlayUpper,
}

/// A layer that was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedLayer {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// The digest of the compressed tar.
    pub digest: LayerDigest,
    /// Bytes of the compressed tar.
    pub size: u64,
    /// Bytes of the tar.
    pub uncompressed: u64,
    /// How many entries the tar has.
    pub entries: u64,
    /// The newest time of any entry, in seconds since 1970.
    pub newest_mtime: i64,
    /// Sockets, which no layer can hold.
    pub skipped: Vec<String>,
}

/// What a tar has in it, whatever its compression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarSummary {
    /// The digest of the tar.
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub uncompressed: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The newest time of any entry, in seconds since 1970.
    pub newest_mtime: i64,
    /// Sockets, which no layer can hold.
    pub skipped: Vec<String>,
}

/// Why a tree could not be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Something in the tree could not be read, or its time not be set.
    #[error("cannot {operation} `{path}`")]
    Tree {
        /// What was tried.
        operation: &'static str,
        /// The path below the tree's root.
        path: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A device node.
    #[error("`{path}` is a device node: a layer may not have one")]
    Device {
        /// The path below the tree's root.
        path: String,
    },
    /// A name that means something else in a layer.
    #[error("`{path}` has a name that deletes files when it is in a layer")]
    Reserved {
        /// The path below the tree's root.
        path: String,
    },
    /// The overlay stored part of an entry elsewhere.
    #[error("`{path}` has the overlay attribute `{attribute}`: the upper directory does not hold all of it")]
    Overlay {
        /// The path below the tree's root.
        path: String,
        /// The attribute.
        attribute: String,
    },
    /// A file became shorter while it was read.
    #[error("`{path}` changed while it was packed")]
    Changed {
        /// The path below the tree's root.
        path: String,
    },
    /// Directories in directories in directories.
    #[error("`{path}` is more than {depth_max} directories deep")]
    TooDeep {
        /// The path below the tree's root.
        path: String,
        /// The limit.
        depth_max: usize,
    },
    /// The recipe's compressor settings are out of range.
    #[error("gzip level {level} with members of {member_bytes} bytes is not possible")]
    Compression {
        /// The level.
        level: u8,
        /// Bytes of a member.
        member_bytes: u32,
    },
    /// The compressor works otherwise on this processor.
    #[error("the compressor gives other bytes on this processor than on others")]
    Processor,
    /// The compressed layer could not be written.
    #[error("cannot write the layer")]
    Write(#[source] io::Error),
    /// The store could not keep the layer.
    #[error("cannot keep the layer in the store")]
    Store(#[from] WriteBlobError),
    /// A thread of the compressor ended early.
    #[error("the compressor stopped")]
    Stopped,
}

impl PackError {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Overlay { .. } => {
                Some("mount build overlays with `redirect_dir=off,metacopy=off`".to_owned())
            }
            Self::Processor => Some(
                "use a machine whose processor has SSE 4.2 and PCLMULQDQ, as all x86-64 processors since 2011 do"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Pack the tree at `root` and keep the layer in the store, on as many threads as the machine has processors.
pub fn pack(
    root: &Path,
    kind: LayerKind,
    compression: &Compression,
    store: &Store,
) -> Result<PackedLayer, PackError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut writer = store.blob_writer()?;
    let summary = pack_to(root, kind, compression, threads, &mut writer)?;
    let (digest, size) = writer.finish()?;
    Ok(PackedLayer {
        diff_id: summary.diff_id,
        digest: LayerDigest::new(*digest.digest()),
        size,
        uncompressed: summary.uncompressed,
        entries: summary.entries,
        newest_mtime: summary.newest_mtime,
        skipped: summary.skipped,
    })
}

/// Pack the tree at `root` into `out`, compressed by `threads` threads.
pub fn pack_to(
    root: &Path,
    kind: LayerKind,
    compression: &Compression,
    threads: usize,
    out: &mut dyn Write,
) -> Result<TarSummary, PackError> {
    let settings = compress::Settings::new(*compression, threads)?;
    let piece_bytes = settings.member_bytes();
    let produce = |emit: &mut walk::Emit<'_>| walk::walk(root, kind, piece_bytes, emit);
    let walked = compress::compress(&settings, produce, out)?;
    Ok(summarised(walked))
}

/// The diff id of the tree at `root`, without packing it: what `fsck` compares with the tree's name.
pub fn diff_id(root: &Path, kind: LayerKind) -> Result<DiffId, PackError> {
    const PIECE_BYTES: usize = 1 << 20;
    let walked = walk::walk(root, kind, PIECE_BYTES, Ok)?;
    Ok(summarised(walked).diff_id)
}

fn summarised(walked: Walked) -> TarSummary {
    TarSummary {
        diff_id: DiffId::new(Digest::from_bytes(walked.hasher.finalize().into())),
        uncompressed: walked.bytes,
        entries: walked.entries,
        newest_mtime: walked.newest_mtime,
        skipped: walked.skipped,
    }
}
