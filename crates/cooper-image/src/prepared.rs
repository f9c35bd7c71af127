//! Prepared wheels: the entries that a wheel's files are in a layer, compressed already, in the store's cache.
//!
//! A layer of wheels is a join of gzip members (RFC 1952, section 2.2), and the members of a file depend on the wheel
//! alone: its headers are made when the wheel is prepared, and its content is the wheel's own deflate data wherever that
//! can be used as it is. An entry of the cache has the members that were made here (headers, small files, bytecode) in
//! the file `pack`, and a manifest that says where every file's members are, there or in the wheel. What an entry has
//! follows from its key: the wheel, the interpreter and the recipe. Only what is the wheel's alone is kept: where it
//! shares a file with another wheel or with what is below, it is prepared each time.
//!
//! The cache may lose an entry at any time. The manifest begins with its own digest and has a checksum of every member,
//! which is compared when a layer is joined: an entry that is damaged is dropped and the wheel prepared again. The
//! checksum is a CRC-32, which finds what a disk does: whoever may write to the store could change manifests, too.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::fd::OwnedFd;

use cooper_core::Digest;
use cooper_core::lock::{Compression, PythonArtefact, Recipe};
use cooper_store::{Scratch, Store};
use libdeflater::crc32;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::layer::join::{JoinedFile, Member, Place, Prepared};
use crate::layer::tar::{BLOCK, Header, Kind};
use crate::layer::{MemberWriter, PackError};
use crate::libraries::elf::ElfFile;
use crate::rootfs::{Metadata, TreePath};
use crate::wheel::InstalledWheel;
use crate::wheel::zip::Deflated;

/// The kind of these entries in the cache.
const KIND: &str = "wheel";
/// Counts up when an entry would have other files, or a manifest that says other things, for the same key.
const FORMAT: u32 = 3;
const MANIFEST: &str = "manifest";
const PACK: &str = "pack";
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// Smaller content is compressed anew, with its header: a member has bytes of its own, and takes time.
const REUSED_BYTES_MIN: u64 = 4 << 10;
const PACK_BUFFER_BYTES: usize = 128 << 10;

/// What a layer has to know of a wheel, whether it was prepared now or kept.
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

#[derive(Serialize, Deserialize)]
struct Manifest {
    facts: WheelFacts,
    files: Vec<JoinedFile>,
}

/// A wheel that was found prepared.
pub(crate) struct KeptWheel {
    key: String,
    facts: WheelFacts,
    prepared: Prepared,
    paths: Vec<TreePath>,
}

/// The key of a wheel: everything that its members depend on. `interpreter` is the digest of what compiles.
pub(crate) fn key(artefact: &PythonArtefact, interpreter: &Digest, recipe: Recipe) -> Option<String> {
    serde_json::to_string(&(FORMAT, recipe, interpreter, artefact)).ok()
}

impl KeptWheel {
    /// The wheel that is kept under this key; none where there is none, or it cannot be understood.
    pub(crate) fn find(store: &Store, key: &str, artefact: &PythonArtefact) -> Option<Self> {
        let directory = store.cache_directory(KIND, key)?;
        let Some(Manifest { facts, files }) = read_manifest(&directory) else {
            forget(store, key);
            return None;
        };
        let parse = |file: &JoinedFile| TreePath::parse(file.path().as_bytes(), usize::MAX).ok();
        let paths = files.iter().map(parse).collect::<Option<Vec<_>>>()?;
        Some(Self {
            key: key.to_owned(),
            facts,
            prepared: Prepared {
                files,
                pack: open(&directory, PACK).ok()?,
                wheel: Some(store.open_blob(&artefact.sha256).ok()?),
            },
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

    pub(crate) fn prepared(&self) -> &Prepared {
        &self.prepared
    }

    /// Remove the entry.
    pub(crate) fn forget(&self, store: &Store) {
        forget(store, &self.key);
    }
}

fn open(directory: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(
        directory,
        name,
        flags,
        Mode::empty(),
    )?))
}

fn read_manifest(directory: &OwnedFd) -> Option<Manifest> {
    let mut text = String::new();
    let read = open(directory, MANIFEST)
        .ok()?
        .take(MANIFEST_BYTES_MAX)
        .read_to_string(&mut text);
    read.ok()?;
    let (digest, manifest) = text.split_once('\n')?;
    if Digest::of(manifest.as_bytes()).hex() != digest {
        return None;
    }
    serde_json::from_str(manifest).ok()
}

fn forget(store: &Store, key: &str) {
    if let Err(error) = store.cache_drop_directory(KIND, key) {
        tracing::debug!(?error, "a prepared wheel stays");
    }
}

/// Content of a file.
pub(crate) enum Content<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// In a file, of this size.
    File(File, u64),
    /// In the wheel, as deflate data; the size is that of the content.
    Deflated(Deflated, u64),
}

/// Makes members and writes them to a pack.
pub(crate) struct PackWriter {
    scratch: Scratch,
    pack: BufWriter<File>,
    length: u64,
    members: MemberWriter,
    /// Where members are made.
    room: Vec<u8>,
    files: Vec<JoinedFile>,
}

impl PackWriter {
    pub(crate) fn new(store: &Store, compression: Compression) -> Result<Self, PackError> {
        let scratch = store
            .scratch()
            .map_err(|error| PackError::Write(io::Error::other(error)))?;
        let members = MemberWriter::new(compression)?;
        let begun = begin(&scratch);
        Ok(Self {
            pack: BufWriter::with_capacity(PACK_BUFFER_BYTES, begun.map_err(PackError::Write)?),
            scratch,
            length: 0,
            members,
            room: Vec::new(),
            files: Vec::new(),
        })
    }

    /// Whether content of this size is worth having a member of its own, so that the wheel's data can be it.
    pub(crate) fn reuses(size: u64) -> bool {
        size >= REUSED_BYTES_MIN
    }

    /// Add a file of root's.
    pub(crate) fn add(
        &mut self,
        path: &TreePath,
        metadata: &Metadata,
        content: Content<'_>,
    ) -> Result<(), PackError> {
        let size = match &content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(_, size) | Content::Deflated(_, size) => *size,
        };
        let mut entry = Header {
            path: path.as_str().as_bytes(),
            kind: Kind::File,
            mode: metadata.mode,
            uid: metadata.uid,
            gid: metadata.gid,
            mtime: metadata.mtime,
            size,
            link: b"",
            capability: None,
        }
        .blocks();
        let padding = vec![0; usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0)];
        let mut made = Vec::new();
        match content {
            Content::Bytes(bytes) => {
                entry.extend_from_slice(bytes);
                entry.extend_from_slice(&padding);
                self.pack_all(&mut made, &entry)?;
            }
            Content::File(mut file, size) => {
                let mut rest = self.pack_stream(&mut made, entry, &mut file, size, path)?;
                rest.extend_from_slice(&padding);
                self.pack_all(&mut made, &rest)?;
            }
            Content::Deflated(data, size) => {
                self.pack_all(&mut made, &entry)?;
                let place = Place {
                    offset: data.offset,
                    length: data.length,
                    checksum: data.packed_checksum,
                };
                made.push(Member::InWheel(place, size, data.checksum));
                self.pack_all(&mut made, &padding)?;
            }
        }
        self.files.push(JoinedFile::new(path, made));
        Ok(())
    }

    /// Full members of `entry` and what follows it in the file; the answer is what is left for the last one.
    fn pack_stream(
        &mut self,
        made: &mut Vec<Member>,
        mut entry: Vec<u8>,
        file: &mut File,
        size: u64,
        path: &TreePath,
    ) -> Result<Vec<u8>, PackError> {
        let member_bytes = self.members.member_bytes();
        let mut left = size;
        while left > 0 {
            let room = member_bytes.saturating_sub(entry.len()).max(1) as u64;
            let read = file.take(room.min(left)).read_to_end(&mut entry);
            let read = read.map_err(|source| PackError::Tree {
                operation: "read",
                path: path.to_string(),
                source,
            })?;
            if read == 0 {
                return Err(PackError::Changed {
                    path: path.to_string(),
                });
            }
            left -= read as u64;
            if entry.len() >= member_bytes {
                self.pack_all(made, &entry)?;
                entry.clear();
            }
        }
        Ok(entry)
    }

    /// Make members of all these bytes.
    fn pack_all(&mut self, made: &mut Vec<Member>, bytes: &[u8]) -> Result<(), PackError> {
        for piece in bytes.chunks(self.members.member_bytes()) {
            let length = self.members.compress(piece, &mut self.room)?;
            self.pack
                .write_all(&self.room[..length])
                .map_err(PackError::Write)?;
            let place = Place {
                offset: self.length,
                length: length as u64,
                checksum: crc32(&self.room[..length]),
            };
            made.push(Member::Packed(place, piece.len() as u64));
            self.length += length as u64;
        }
        Ok(())
    }

    /// All files that were added. The directory holds the pack.
    pub(crate) fn finish(self, wheel: Option<File>) -> Result<(Prepared, Scratch), PackError> {
        let pack = self.pack.into_inner();
        let prepared = Prepared {
            files: self.files,
            pack: pack.map_err(|error| PackError::Write(error.into_error()))?,
            wheel,
        };
        Ok((prepared, self.scratch))
    }
}

fn begin(scratch: &Scratch) -> io::Result<File> {
    let entry = scratch.path().join("entry");
    rustix::fs::mkdir(&entry, Mode::from_raw_mode(0o700))?;
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let pack = rustix::fs::open(entry.join(PACK), flags, Mode::from_raw_mode(0o600))?;
    Ok(File::from(pack))
}

/// Keep a wheel that was prepared. What hinders it is not the caller's business.
pub(crate) fn keep(store: &Store, key: &str, prepared: &Prepared, facts: &WheelFacts, scratch: &Scratch) {
    match try_to_keep(store, key, prepared, facts, scratch) {
        Ok(()) => {}
        Err(error) => tracing::debug!(name = facts.name, %error, "a wheel is not kept"),
    }
}

fn try_to_keep(
    store: &Store,
    key: &str,
    prepared: &Prepared,
    facts: &WheelFacts,
    scratch: &Scratch,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct ManifestOf<'a> {
        facts: &'a WheelFacts,
        files: &'a [JoinedFile],
    }
    let entry = scratch.path().join("entry");
    let files = prepared.files.as_slice();
    let manifest = serde_json::to_string(&ManifestOf { facts, files })?;
    let text = format!("{}\n{manifest}", Digest::of(manifest.as_bytes()).hex());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::open(entry.join(MANIFEST), flags, Mode::from_raw_mode(0o600))?;
    File::from(file).write_all(text.as_bytes())?;
    store
        .cache_put_directory(KIND, key, &entry)
        .map_err(io::Error::other)
}
