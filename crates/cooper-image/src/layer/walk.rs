//! The walk: every entry of a tree in byte order, as a tar, cut into pieces of fixed size.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use cooper_sandbox::Caller;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::tar::{BLOCK, END, Header, Kind};
use super::{LayerKind, PackError};

/// Takes a full piece and gives an empty buffer for the next one.
pub(super) type Emit<'a> = dyn FnMut(Vec<u8>) -> Result<Vec<u8>, PackError> + 'a;

/// What a walk found.
pub(super) struct Walked {
    pub(super) hasher: Sha256,
    pub(super) bytes: u64,
    pub(super) entries: u64,
    pub(super) newest_mtime: i64,
    pub(super) skipped: Vec<String>,
}

/// How many directories may be nested.
pub(super) const DEPTH_MAX: usize = 200;

/// What a layer may have. The sizes are apparent ones: a sparse file of some blocks can claim to have exabytes.
#[derive(Debug, Clone, Copy)]
struct WalkLimits {
    /// Bytes of the tar.
    tar_bytes_max: u64,
}

impl Default for WalkLimits {
    fn default() -> Self {
        Self {
            tar_bytes_max: 64 << 30,
        }
    }
}

/// Why one more file does not go into a layer: the cause in [`PackError::Tree`].
#[derive(Debug, thiserror::Error)]
#[error("it has {size} bytes, and a layer may not have more than {tar_bytes_max}")]
struct LayerTooLarge {
    size: u64,
    tar_bytes_max: u64,
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const CAPABILITY: &str = "security.capability";
const OVERLAY_OPAQUE: &str = "opaque";
/// Overlay attributes that say that the content is not here.
const OVERLAY_ELSEWHERE: [&str; 2] = ["redirect", "metacopy"];

/// Walk the tree at `root` and emit its tar in pieces of `piece_bytes`; only the last one is shorter.
pub(super) fn walk(
    root: &Path,
    kind: LayerKind,
    piece_bytes: usize,
    emit: impl FnMut(Vec<u8>) -> Result<Vec<u8>, PackError>,
) -> Result<Walked, PackError> {
    walk_within(WalkLimits::default(), root, kind, piece_bytes, emit)
}

fn walk_within(
    limits: WalkLimits,
    root: &Path,
    kind: LayerKind,
    piece_bytes: usize,
    emit: impl FnMut(Vec<u8>) -> Result<Vec<u8>, PackError>,
) -> Result<Walked, PackError> {
    let directory = open_root(root)?;
    let nothing = Walked {
        hasher: Sha256::new(),
        bytes: 0,
        entries: 0,
        newest_mtime: 0,
        skipped: Vec::new(),
    };
    let piece = Piece {
        buffer: vec![0; piece_bytes],
        filled: 0,
        emit,
    };
    let mut walker = Walker {
        limits,
        kind,
        overlay_prefix: Caller::of_process().overlay_prefix(),
        piece,
        walked: nothing,
        first_names: BTreeMap::new(),
        path: Vec::new(),
    };
    walker.directory(&directory, 0)?;
    walker.write(&END)?;
    walker.finish()
}

/// Open the root of a tree, which must not be a link.
pub(super) fn open_root(root: &Path) -> Result<OwnedFd, PackError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(root, flags, Mode::empty()).map_err(|errno| PackError::Tree {
        operation: "open",
        path: root.display().to_string(),
        source: errno.into(),
    })
}

/// The names in a directory, sorted by their bytes.
pub(super) fn sorted_names(directory: &OwnedFd, path: &[u8]) -> Result<Vec<Vec<u8>>, PackError> {
    let failed = |errno| tree_error("list", path, errno);
    let mut names = Vec::new();
    for entry in Dir::read_from(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether an entry of an upper directory deletes the name below it.
pub(super) fn is_whiteout(status: &Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice && status.st_rdev == 0
}

pub(super) fn tree_error(operation: &'static str, path: &[u8], errno: Errno) -> PackError {
    PackError::Tree {
        operation,
        path: shown(path),
        source: errno.into(),
    }
}

pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// The piece of the tar that is being filled.
struct Piece<E> {
    buffer: Vec<u8>,
    filled: usize,
    emit: E,
}

struct Walker<E> {
    limits: WalkLimits,
    kind: LayerKind,
    /// What the names of the overlay's own attributes begin with: it depends on who mounts.
    overlay_prefix: &'static str,
    piece: Piece<E>,
    walked: Walked,
    /// Where the first name of each file with several names is.
    first_names: BTreeMap<(u64, u64), Vec<u8>>,
    /// The path of the present entry.
    path: Vec<u8>,
}

impl<E: FnMut(Vec<u8>) -> Result<Vec<u8>, PackError>> Walker<E> {
    fn directory(&mut self, directory: &OwnedFd, depth: usize) -> Result<(), PackError> {
        if depth > DEPTH_MAX {
            return Err(PackError::TooDeep {
                path: shown(&self.path),
                depth_max: DEPTH_MAX,
            });
        }
        let parent_length = self.path.len();
        for name in sorted_names(directory, &self.path)? {
            self.path.extend_from_slice(&name);
            if name.starts_with(WHITEOUT) {
                return Err(PackError::Reserved {
                    path: shown(&self.path),
                });
            }
            let status = rustix::fs::statat(directory, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| tree_error("read the state of", &self.path, errno))?;
            self.entry(directory, &name, &status, depth)?;
            self.path.truncate(parent_length);
        }
        Ok(())
    }

    fn entry(&mut self, parent: &OwnedFd, name: &[u8], status: &Stat, depth: usize) -> Result<(), PackError> {
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => self.subdirectory(parent, name, status, depth),
            FileType::RegularFile => self.file(parent, name, status),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())
                    .map_err(|errno| tree_error("read the link", &self.path, errno))?;
                self.header(Kind::Symlink, status, 0, target.to_bytes(), None)
            }
            FileType::Fifo => self.header(Kind::Fifo, status, 0, b"", None),
            FileType::Socket => {
                self.walked.skipped.push(shown(&self.path));
                Ok(())
            }
            _ if self.kind == LayerKind::OverlayUpper && is_whiteout(status) => {
                let at = self.path.len() - name.len();
                let whiteout = [&self.path[..at], WHITEOUT, name].concat();
                self.whiteout(&whiteout)
            }
            _ => Err(PackError::Device {
                path: shown(&self.path),
            }),
        }
    }

    fn subdirectory(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        status: &Stat,
        depth: usize,
    ) -> Result<(), PackError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|errno| tree_error("open", &self.path, errno))?;
        let attributes = self.attributes(&directory)?;
        self.path.push(b'/');
        self.header(Kind::Directory, status, 0, b"", None)?;
        if attributes.opaque {
            self.whiteout(&[self.path.as_slice(), OPAQUE].concat())?;
        }
        self.directory(&directory, depth + 1)
    }

    fn file(&mut self, parent: &OwnedFd, name: &[u8], status: &Stat) -> Result<(), PackError> {
        if status.st_nlink > 1 {
            let identity = (status.st_dev, status.st_ino);
            if let Some(first) = self.first_names.get(&identity) {
                let first = first.clone();
                return self.header(Kind::HardLink, status, 0, &first, None);
            }
            self.first_names.insert(identity, self.path.clone());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let descriptor = rustix::fs::openat(parent, name, flags, Mode::empty())
            .map_err(|errno| tree_error("open", &self.path, errno))?;
        let attributes = self.attributes(&descriptor)?;
        let size = u64::try_from(status.st_size).unwrap_or(0);
        self.header(Kind::File, status, size, b"", attributes.capability)?;
        self.content(&File::from(descriptor), size)
    }

    fn attributes(&self, descriptor: &OwnedFd) -> Result<Attributes, PackError> {
        let failed = |errno| tree_error("read the attributes of", &self.path, errno);
        let mut names = [0_u8; 4096];
        let length = match rustix::fs::flistxattr(descriptor, &mut names) {
            Ok(length) => length,
            // A file system without extended attributes.
            Err(Errno::OPNOTSUPP) => 0,
            Err(errno) => return Err(failed(errno)),
        };
        let mut found = Attributes::default();
        for name in names[..length]
            .split(|byte| *byte == 0)
            .filter_map(|name| std::str::from_utf8(name).ok())
        {
            if name == CAPABILITY {
                found.capability = Some(attribute(descriptor, name).map_err(failed)?);
                continue;
            }
            let mark = name.strip_prefix(self.overlay_prefix);
            let Some(mark) = mark.filter(|_| self.kind == LayerKind::OverlayUpper) else {
                continue;
            };
            if mark == OVERLAY_OPAQUE {
                found.opaque = attribute(descriptor, name).map_err(failed)? == b"y";
            } else if OVERLAY_ELSEWHERE.contains(&mark) {
                return Err(PackError::Overlay {
                    path: shown(&self.path),
                    attribute: name.to_owned(),
                });
            }
        }
        Ok(found)
    }

    fn header(
        &mut self,
        kind: Kind,
        status: &Stat,
        size: u64,
        link: &[u8],
        capability: Option<Vec<u8>>,
    ) -> Result<(), PackError> {
        self.check_room(size)?;
        let mtime = status.st_mtime;
        self.walked.newest_mtime = self.walked.newest_mtime.max(mtime);
        self.walked.entries += 1;
        // The mode of a symbolic link differs between file systems.
        let mode = if kind == Kind::Symlink {
            0o777
        } else {
            status.st_mode
        };
        let header = Header {
            path: &self.path,
            kind,
            mode,
            uid: status.st_uid,
            gid: status.st_gid,
            mtime,
            size,
            link,
            capability,
        };
        let blocks = header.blocks();
        self.write(&blocks)
    }

    /// Whether an entry of this size still fits, before any of it is read.
    fn check_room(&self, size: u64) -> Result<(), PackError> {
        let tar_bytes_max = self.limits.tar_bytes_max;
        if self.walked.bytes.saturating_add(size) <= tar_bytes_max {
            return Ok(());
        }
        Err(PackError::Tree {
            operation: "pack",
            path: shown(&self.path),
            source: std::io::Error::other(LayerTooLarge { size, tar_bytes_max }),
        })
    }

    fn whiteout(&mut self, path: &[u8]) -> Result<(), PackError> {
        self.walked.entries += 1;
        let kind = Kind::File;
        let header = Header {
            path,
            kind,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: 0,
            size: 0,
            link: b"",
            capability: None,
        };
        let blocks = header.blocks();
        self.write(&blocks)
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), PackError> {
        while !bytes.is_empty() {
            let length = bytes.len().min(self.piece.room());
            let (now, later) = bytes.split_at(length);
            self.piece.buffer[self.piece.filled..][..length].copy_from_slice(now);
            self.advance(length)?;
            bytes = later;
        }
        Ok(())
    }

    fn content(&mut self, mut file: &File, size: u64) -> Result<(), PackError> {
        let mut left = size;
        while left > 0 {
            let room = self.piece.room().min(usize::try_from(left).unwrap_or(usize::MAX));
            let filled = self.piece.filled;
            let read = file.read(&mut self.piece.buffer[filled..filled + room]);
            let read = read.map_err(|source| PackError::Tree {
                operation: "read",
                path: shown(&self.path),
                source,
            })?;
            if read == 0 {
                return Err(PackError::Changed {
                    path: shown(&self.path),
                });
            }
            left -= read as u64;
            self.advance(read)?;
        }
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.write(&[0; BLOCK][..usize::try_from(padding).unwrap_or(0)])
    }

    fn advance(&mut self, length: usize) -> Result<(), PackError> {
        self.walked.bytes += length as u64;
        self.piece.filled += length;
        if self.piece.room() > 0 {
            return Ok(());
        }
        self.emit_piece()
    }

    fn emit_piece(&mut self) -> Result<(), PackError> {
        let piece = std::mem::take(&mut self.piece.buffer);
        let length = piece.len();
        self.walked.hasher.update(&piece);
        self.piece.buffer = (self.piece.emit)(piece)?;
        self.piece.buffer.resize(length, 0);
        self.piece.filled = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<Walked, PackError> {
        if self.piece.filled > 0 {
            self.piece.buffer.truncate(self.piece.filled);
            self.emit_piece()?;
        }
        Ok(self.walked)
    }
}

impl<E> Piece<E> {
    fn room(&self) -> usize {
        self.buffer.len() - self.filled
    }
}

#[derive(Default)]
struct Attributes {
    capability: Option<Vec<u8>>,
    opaque: bool,
}

fn attribute(descriptor: &OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = [0_u8; 1024];
    let length = rustix::fs::fgetxattr(descriptor, name, &mut value)?;
    Ok(value[..length].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk_with(tar_bytes_max: u64, root: &Path) -> Result<u64, String> {
        let limits = WalkLimits { tar_bytes_max };
        let walked = walk_within(limits, root, LayerKind::Tree, 4096, Ok);
        walked.map(|walked| walked.bytes).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", cause.unwrap_or_default())
        })
    }

    #[test]
    fn a_layer_is_bounded_whatever_its_files_claim_to_have() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            File::create(folder.path().join(name))
                .unwrap()
                .set_len(2048)
                .unwrap();
        }
        // Two headers and two contents; the end is not counted.
        assert_eq!(walk_with(5120, folder.path()), Ok(5120 + END.len() as u64));
        let refused = "cannot pack `b`: it has 2048 bytes, and a layer may not have more than 4607";
        assert_eq!(walk_with(4607, folder.path()), Err(refused.to_owned()));

        let sparse = File::create(folder.path().join("sparse")).unwrap();
        sparse.set_len(8 << 40).unwrap();
        let Err(error) = walk(folder.path(), LayerKind::Tree, 4096, Ok) else {
            panic!("a sparse file of terabytes was packed");
        };
        assert_eq!(error.to_string(), "cannot pack `sparse`");
    }
}
