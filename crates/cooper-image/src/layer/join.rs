//! Joins entries whose gzip members are made already to a layer: nothing but headers of directories is compressed.
//!
//! The layer's tar is in the order of a walk, as [`pack`](super::pack) would make it of the unpacked tree, so that tree
//! and layer have the same diff id. Every member is unpacked on its way: for the diff id, and because its checksum
//! must hold. Some threads read and unpack pieces, the calling thread takes the digests and writes, in order. Memory is
//! bounded by a few pieces for each thread.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use cooper_core::lock::Compression;
use cooper_core::{DiffId, Digest, LayerDigest};
use cooper_store::Store;
use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{Crc, Decompressor, crc32};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::tar::{END, Header, Kind};
use super::walk::DEPTH_MAX;
use super::{MemberWriter, PackError, PackedLayer};
use crate::rootfs::{Metadata, TreePath};

/// Where bytes of a member are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    #[serde(rename = "at")]
    pub(crate) offset: u64,
    #[serde(rename = "n")]
    pub(crate) length: u64,
    /// Their CRC-32. That of the content, which every member has, leaves some of their bits out.
    #[serde(rename = "c")]
    pub(crate) checksum: u32,
}

/// One gzip member, and the bytes that it unpacks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Member {
    /// A whole member, in the pack.
    #[serde(rename = "p")]
    Packed(Place, u64),
    /// Deflate data in the wheel, and the CRC-32 of the content: without a member's head and tail.
    #[serde(rename = "w")]
    InWheel(Place, u64, u32),
}

/// A file of a layer: its members, in this order, are its entry in the tar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinedFile {
    #[serde(rename = "path")]
    path: String,
    #[serde(rename = "m")]
    members: Vec<Member>,
}

/// Files whose members are at hand.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The files, in any order.
    pub(crate) files: Vec<JoinedFile>,
    /// Where members lie that were made here.
    pub(crate) pack: File,
    /// Where the others lie.
    pub(crate) wheel: Option<File>,
}

/// Why members were not joined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    /// A member is not what it should be.
    #[error("a member of `{path}` is damaged")]
    Damaged {
        /// Whose, by its number.
        of: usize,
        /// The file.
        path: String,
    },
    /// The layer could not be made.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// Unpacked bytes of a piece, unless it is one larger member.
const PIECE_BYTES: u64 = 1 << 20;
/// Members that unpack to more are read bit by bit.
const WHOLE_BYTES_MAX: u64 = 8 << 20;
const READ_BYTES: u64 = 64 << 10;
/// Nothing but the method is said: no name, no time, no system (RFC 1952, section 2.3).
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const THREADS_MAX: usize = 16;

impl Member {
    fn unpacked(&self) -> u64 {
        match self {
            Self::Packed(_, unpacked) | Self::InWheel(_, unpacked, _) => *unpacked,
        }
    }
}

impl JoinedFile {
    pub(crate) fn new(path: &TreePath, members: Vec<Member>) -> Self {
        Self {
            path: path.to_string(),
            members,
        }
    }

    /// Relative to the root.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

/// Join the files of `sources`, and the directories that they are in, to a layer, and keep it in the store.
pub(crate) fn join(
    directories: &[(TreePath, Metadata)],
    sources: &[&Prepared],
    compression: Compression,
    store: &Store,
) -> Result<PackedLayer, JoinError> {
    let newest = directories.iter().map(|(_, metadata)| metadata.mtime).max();
    let plain = MemberWriter::new(compression)?.member_bytes();
    let (pieces, entries) = pieces(directories, sources, plain)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(THREADS_MAX).min(pieces.len());
    let mut out = store.blob_writer().map_err(PackError::Store)?;
    let (mut hasher, mut uncompressed) = (Sha256::new(), 0_u64);
    std::thread::scope(|scope| {
        let lines: Vec<Line> = (0..threads)
            .map(|first| {
                let (full, done) = sync_channel(1);
                let (used, empty) = channel();
                let own = pieces.iter().skip(first).step_by(threads);
                scope.spawn(move || work(sources, compression, own, WorkerEnd { full, empty }));
                Line { done, used }
            })
            .collect();
        for number in 0..pieces.len() {
            let line = &lines[number % threads];
            loop {
                let part = line.done.recv().map_err(|_| PackError::Stopped)??;
                hasher.update(&part.unpacked);
                uncompressed += part.unpacked.len() as u64;
                out.write_all(&part.packed).map_err(PackError::Write)?;
                let is_last = part.is_last;
                // A worker that is done needs no more.
                let _ = line.used.send(part);
                if is_last {
                    break;
                }
            }
        }
        Ok::<(), JoinError>(())
    })?;
    let (digest, size) = out.finish().map_err(PackError::Store)?;
    Ok(PackedLayer {
        diff_id: DiffId::new(Digest::from_bytes(hasher.finalize().into())),
        digest: LayerDigest::new(*digest.digest()),
        size,
        uncompressed,
        entries,
        newest_mtime: newest.unwrap_or(0),
        skipped: Vec::new(),
    })
}

/// What is read, or made, and unpacked at once.
type Piece<'a> = Vec<Step<'a>>;

enum Step<'a> {
    /// To be compressed.
    Plain(Vec<u8>),
    /// A member of a source.
    Made(usize, &'a JoinedFile, Member),
}

/// All that the layer is made of, in order, and the number of entries.
fn pieces<'a>(
    directories: &[(TreePath, Metadata)],
    sources: &[&'a Prepared],
    plain_bytes_max: usize,
) -> Result<(Vec<Piece<'a>>, u64), PackError> {
    enum Entry<'a> {
        Directory(Vec<u8>),
        File(usize, &'a JoinedFile),
    }
    let mut entries: Vec<(Vec<u8>, Entry<'a>)> = Vec::new();
    for (path, metadata) in directories {
        entries.push((place(path.as_str())?, Entry::Directory(header(path, metadata))));
    }
    for (source, prepared) in sources.iter().enumerate() {
        for file in &prepared.files {
            entries.push((place(file.path())?, Entry::File(source, file)));
        }
    }
    entries.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let count = entries.len() as u64;
    let mut steps: Vec<Step<'a>> = Vec::new();
    let plain = |steps: &mut Vec<Step<'a>>, bytes: Vec<u8>| match steps.last_mut() {
        Some(Step::Plain(before)) if before.len() + bytes.len() <= plain_bytes_max => before.extend(bytes),
        _ => steps.push(Step::Plain(bytes)),
    };
    for (_, entry) in entries {
        match entry {
            Entry::Directory(header) => plain(&mut steps, header),
            Entry::File(source, file) => {
                steps.extend(
                    file.members
                        .iter()
                        .map(|member| Step::Made(source, file, *member)),
                );
            }
        }
    }
    plain(&mut steps, END.to_vec());
    let (mut pieces, mut filled) = (Vec::new(), PIECE_BYTES);
    for step in steps {
        let bytes = match &step {
            Step::Plain(bytes) => bytes.len() as u64,
            Step::Made(_, _, member) => member.unpacked(),
        };
        filled = filled.saturating_add(bytes);
        if filled > PIECE_BYTES {
            pieces.push(vec![step]);
            filled = bytes;
        } else if let Some(piece) = pieces.last_mut() {
            piece.push(step);
        }
    }
    Ok((pieces, count))
}

/// A key by which paths are in the order of a walk: what a directory holds comes right after it.
fn place(path: &str) -> Result<Vec<u8>, PackError> {
    if path.split('/').count() > DEPTH_MAX {
        return Err(PackError::TooDeep {
            path: path.to_owned(),
            depth_max: DEPTH_MAX,
        });
    }
    let lowest = |byte| if byte == b'/' { 0 } else { byte };
    Ok(path.bytes().map(lowest).collect())
}

fn header(path: &TreePath, metadata: &Metadata) -> Vec<u8> {
    Header {
        path: format!("{path}/").as_bytes(),
        kind: Kind::Directory,
        mode: metadata.mode,
        uid: metadata.uid,
        gid: metadata.gid,
        mtime: metadata.mtime,
        size: 0,
        link: b"",
        capability: None,
    }
    .blocks()
}

/// A part of a piece. Its buffers are used again: memory that is touched for the first time is dear.
#[derive(Default)]
struct Part {
    packed: Vec<u8>,
    unpacked: Vec<u8>,
    is_last: bool,
}

/// The way from one worker, and the way back for empty parts.
struct Line {
    done: Receiver<Result<Part, JoinError>>,
    used: Sender<Part>,
}

/// Makes the parts of every piece that is its own.
struct Worker<'a> {
    sources: &'a [&'a Prepared],
    members: MemberWriter,
    inflate: Decompressor,
    room: Vec<u8>,
    line: WorkerEnd,
}

/// The worker's end of a [`Line`].
struct WorkerEnd {
    full: SyncSender<Result<Part, JoinError>>,
    empty: Receiver<Part>,
}

/// Why a worker goes no further.
enum Halt {
    Failed(JoinError),
    /// Nobody listens any more.
    Ended,
}

impl From<JoinError> for Halt {
    fn from(error: JoinError) -> Self {
        Self::Failed(error)
    }
}

impl WorkerEnd {
    fn part(&self) -> Part {
        let mut part = self.empty.try_recv().unwrap_or_default();
        part.packed.clear();
        part.unpacked.clear();
        part.is_last = false;
        part
    }

    fn send(&self, part: Part) -> Result<(), Halt> {
        self.full.send(Ok(part)).map_err(|_| Halt::Ended)
    }
}

fn work<'a>(
    sources: &[&Prepared],
    compression: Compression,
    pieces: impl Iterator<Item = &'a Piece<'a>>,
    line: WorkerEnd,
) {
    let full = line.full.clone();
    let worked = MemberWriter::new(compression)
        .map_err(|error| Halt::Failed(error.into()))
        .and_then(|members| {
            let mut worker = Worker {
                sources,
                members,
                inflate: Decompressor::new(),
                room: Vec::new(),
                line,
            };
            pieces.into_iter().try_for_each(|piece| worker.piece(piece))
        });
    if let Err(Halt::Failed(error)) = worked {
        // Who would listen has failed, too.
        let _ = full.send(Err(error));
    }
}

impl Worker<'_> {
    fn piece(&mut self, piece: &Piece<'_>) -> Result<(), Halt> {
        let mut part = self.line.part();
        for step in piece {
            match step {
                Step::Plain(bytes) => {
                    let length = self.members.compress(bytes, &mut self.room);
                    let length = length.map_err(JoinError::Pack)?;
                    part.packed.extend_from_slice(&self.room[..length]);
                    part.unpacked.extend_from_slice(bytes);
                }
                Step::Made(source, file, member) => {
                    let damaged = || JoinError::Damaged {
                        of: *source,
                        path: file.path.clone(),
                    };
                    let from = self.sources[*source];
                    let whole = member.unpacked() <= WHOLE_BYTES_MAX;
                    let made = match (*member, &from.wheel) {
                        (Member::Packed(place, unpacked), _) if whole => {
                            self.packed(&mut part, (&from.pack, place), unpacked)
                        }
                        (Member::InWheel(place, unpacked, checksum), Some(wheel)) if whole => {
                            self.in_wheel(&mut part, (wheel, place), (unpacked, checksum))
                        }
                        (Member::InWheel(place, unpacked, checksum), Some(wheel)) => {
                            part = self.streamed(part, (wheel, place), (unpacked, checksum), &damaged)?;
                            Some(())
                        }
                        _ => None,
                    };
                    made.ok_or_else(damaged)?;
                }
            }
        }
        part.is_last = true;
        self.line.send(part)
    }

    /// A whole member; none where it is damaged.
    fn packed(&mut self, part: &mut Part, place: (&File, Place), unpacked: u64) -> Option<()> {
        let begun = part.packed.len();
        read_checked(&mut part.packed, place)?;
        let room = extended(&mut part.unpacked, unpacked)?;
        let unpacked = self.inflate.gzip_decompress(&part.packed[begun..], room);
        (unpacked == Ok(room.len())).then_some(())
    }

    /// Deflate data that becomes a member; none where it is damaged.
    fn in_wheel(
        &mut self,
        part: &mut Part,
        place: (&File, Place),
        (unpacked, checksum): (u64, u32),
    ) -> Option<()> {
        part.packed.extend_from_slice(&HEAD);
        let begun = part.packed.len();
        read_checked(&mut part.packed, place)?;
        let room = extended(&mut part.unpacked, unpacked)?;
        let done = self.inflate.deflate_decompress(&part.packed[begun..], room);
        if done != Ok(room.len()) || crc32(room) != checksum {
            return None;
        }
        part.packed.extend_from_slice(&tail(unpacked, checksum));
        Some(())
    }

    /// The same for more than is held in memory at once.
    fn streamed(
        &self,
        mut part: Part,
        (wheel, place): (&File, Place),
        (unpacked, checksum): (u64, u32),
        damaged: &dyn Fn() -> JoinError,
    ) -> Result<Part, Halt> {
        part.packed.extend_from_slice(&HEAD);
        let (mut inflate, mut at) = (Decompress::new(false), 0);
        let (mut packed_sum, mut found) = (Crc::new(), Crc::new());
        let mut status = Status::Ok;
        while at < place.length {
            let begun = part.packed.len();
            let bytes = READ_BYTES.min(place.length - at);
            read(&mut part.packed, wheel, place.offset.saturating_add(at), bytes).ok_or_else(damaged)?;
            packed_sum.update(&part.packed[begun..]);
            at += bytes;
            // Until nothing of these bytes is left, and nothing that they give.
            loop {
                let consumed = inflate.total_in().saturating_sub(at - bytes);
                let rest = begun + usize::try_from(consumed).unwrap_or(usize::MAX);
                let rest = part.packed.get(rest..).unwrap_or_default();
                let filled = part.unpacked.len();
                part.unpacked.reserve(1 << 16);
                let inflated = inflate.decompress_vec(rest, &mut part.unpacked, FlushDecompress::None);
                status = inflated.map_err(|_| damaged())?;
                found.update(&part.unpacked[filled..]);
                let is_full = part.unpacked.len() == part.unpacked.capacity();
                if inflate.total_out() > unpacked {
                    return Err(damaged().into());
                }
                if status == Status::StreamEnd || inflate.total_in() == at && !is_full {
                    break;
                }
            }
            if part.unpacked.len() as u64 >= PIECE_BYTES {
                self.line.send(part)?;
                part = self.line.part();
            }
            if status == Status::StreamEnd {
                break;
            }
        }
        let is_whole = status == Status::StreamEnd
            && (inflate.total_in(), packed_sum.sum()) == (place.length, place.checksum)
            && (inflate.total_out(), found.sum()) == (unpacked, checksum);
        if !is_whole {
            return Err(damaged().into());
        }
        part.packed.extend_from_slice(&tail(unpacked, checksum));
        Ok(part)
    }
}

/// Append what lies there; none where it is damaged.
fn read_checked(to: &mut Vec<u8>, (file, place): (&File, Place)) -> Option<()> {
    let begun = to.len();
    read(to, file, place.offset, place.length)?;
    (crc32(&to[begun..]) == place.checksum).then_some(())
}

fn read(to: &mut Vec<u8>, file: &File, offset: u64, length: u64) -> Option<()> {
    let room = extended(to, length)?;
    file.read_exact_at(room, offset).ok()
}

/// Room for so many bytes more, at the end.
fn extended(bytes: &mut Vec<u8>, more: u64) -> Option<&mut [u8]> {
    let begun = bytes.len();
    let end = usize::try_from(more).ok()?.checked_add(begun)?;
    bytes.resize(end, 0);
    bytes.get_mut(begun..)
}

/// The end of a member: the checksum of the content and its size modulo 2^32.
fn tail(unpacked: u64, checksum: u32) -> [u8; 8] {
    let mut tail = [0; 8];
    tail[..4].copy_from_slice(&checksum.to_le_bytes());
    tail[4..].copy_from_slice(&unpacked.to_le_bytes()[..4]);
    tail
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use cooper_core::Timestamp;
    use cooper_core::clock::PinnedClock;
    use cooper_core::lock::Recipe;
    use testkit::zip::{ZipEntry, write_zip};

    use super::*;
    use crate::deb::ar::PackageBytes;
    use crate::layer::unpack;
    use crate::prepared::{Content, PackWriter};
    use crate::rootfs::UnpackLimits;
    use crate::wheel::zip::Zip;

    /// Noise that deflate makes nothing of, in turns with what it makes smaller.
    fn content(seed: u32, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 64);
        let mut number = seed;
        while bytes.len() < size {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend_from_slice(&number.to_le_bytes());
            bytes.extend_from_slice(b"the same words again and again, ");
        }
        bytes.truncate(size);
        bytes
    }

    fn compression() -> Compression {
        Recipe::default().compression
    }

    /// Over what is there, for who has it open.
    fn put(path: &Path, bytes: &[u8]) {
        File::create(path).unwrap().write_all(bytes).unwrap();
    }

    fn path(text: &str) -> TreePath {
        TreePath::parse(text.as_bytes(), usize::MAX).unwrap()
    }

    /// The members of a wheel with these files, and how many are its own bytes.
    fn prepared(
        store: &Store,
        folder: &Path,
        entries: &[ZipEntry],
        files: &[(&str, Vec<u8>)],
    ) -> (Prepared, usize) {
        let archive = folder.join("wheel");
        put(&archive, &write_zip(entries));
        let open = || File::open(&archive).unwrap();
        let size = open().metadata().unwrap().len();
        let zip = Zip::open(
            PackageBytes::File { file: open(), size },
            &UnpackLimits::default(),
        )
        .unwrap();
        let mut pack = PackWriter::new(store, compression()).unwrap();
        let mut reused = 0;
        for (entry, (name, bytes)) in zip.entries().iter().zip(files) {
            let deflated = zip.deflated(entry).unwrap();
            let deflated = deflated.filter(|_| PackWriter::reuses(entry.size));
            reused += usize::from(deflated.is_some());
            let content = match deflated {
                Some(data) => Content::Deflated(data, entry.size),
                None => Content::Bytes(bytes),
            };
            pack.add(&path(name), &Metadata::of_root(0o644, 1_000), content)
                .unwrap();
        }
        (pack.finish(Some(open())).unwrap().0, reused)
    }

    struct Joined {
        folder: tempfile::TempDir,
        store: Store,
        files: Vec<(&'static str, Vec<u8>)>,
        wheel: Prepared,
        reused: usize,
    }

    const FILES: [(&str, usize); 8] = [
        ("a-b", 10),
        ("a/b.py", 4_095),
        ("a/c/d", 4_096),
        ("a/large", (8 << 20) + 12_345),
        ("a/whole", 3 << 20),
        ("a.c", 0),
        ("z/stored", 5_000),
        ("z/odd", 6_000),
    ];

    impl Joined {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let clock = Arc::new(PinnedClock(Timestamp::UNIX_EPOCH));
            let store = Store::open(&folder.path().join("store"), clock).unwrap();
            let files = FILES.iter().zip(0..);
            let files: Vec<_> = files
                .map(|((name, size), seed)| (*name, content(seed, *size)))
                .collect();
            let entry = |(name, bytes): &(&str, Vec<u8>)| match *name {
                "z/stored" => ZipEntry::file(name, bytes.clone()).stored(),
                // A whole member, for who does not know where the data ends.
                "z/odd" => {
                    ZipEntry::file(name, bytes.clone()).after_stream(&tail(6_000, testkit::zip::crc32(bytes)))
                }
                _ => ZipEntry::file(name, bytes.clone()),
            };
            let entries: Vec<ZipEntry> = files.iter().map(entry).collect();
            let (wheel, reused) = prepared(&store, folder.path(), &entries, &files);
            Self {
                folder,
                store,
                files,
                wheel,
                reused,
            }
        }

        fn join(&self) -> Result<PackedLayer, JoinError> {
            let directories = ["a", "a/c", "z"].map(|name| (path(name), Metadata::of_root(0o755, 2_000)));
            join(&directories, &[&self.wheel], compression(), &self.store)
        }
    }

    #[test]
    fn a_join_is_the_layer_of_its_tree() {
        let joined = Joined::new();
        // Not what is small, stored, or followed by something.
        assert_eq!(joined.reused, 3);
        let layer = joined.join().unwrap();
        assert_eq!((layer.entries, layer.newest_mtime), (11, 2_000));
        // This packs the unpacked tree again, and wants the same tar.
        unpack(
            &joined.store,
            &layer.digest,
            &layer.diff_id,
            &UnpackLimits::default(),
        )
        .unwrap();
        let tree = joined.store.tree(&layer.diff_id).unwrap();
        for (name, bytes) in &joined.files {
            assert!(fs::read(tree.join(name)).unwrap() == *bytes, "{name}");
        }
        let again = joined.join().unwrap();
        assert_eq!((again.digest, again.size), (layer.digest, layer.size));
    }

    #[test]
    fn whatever_is_damaged_is_noticed() {
        let joined = Joined::new();
        let wheel = joined.folder.path().join("wheel");
        let whole = fs::read(&wheel).unwrap();
        let mut places = Vec::new();
        for member in joined.wheel.files.iter().flat_map(|file| &file.members) {
            if let Member::InWheel(place, ..) = member {
                places.extend([
                    place.offset,
                    place.offset + place.length / 2,
                    place.offset + place.length - 1,
                ]);
            }
        }
        assert_eq!(places.len(), 9);
        for (place, bit) in places.into_iter().zip([1, 0x40, 0x80].into_iter().cycle()) {
            let at = usize::try_from(place).unwrap();
            let mut damaged = whole.clone();
            damaged[at] ^= bit;
            put(&wheel, &damaged);
            assert!(
                matches!(joined.join(), Err(JoinError::Damaged { of: 0, .. })),
                "byte {at}"
            );
        }
        put(&wheel, &whole);
        joined.join().unwrap();
        let pack = &joined.wheel.pack;
        let length = pack.metadata().unwrap().len();
        for at in (0..length)
            .step_by(usize::try_from(length / 40).unwrap())
            .chain([9, length - 1])
        {
            let mut byte = [0];
            pack.read_exact_at(&mut byte, at).unwrap();
            pack.write_all_at(&[byte[0] ^ 2], at).unwrap();
            assert!(
                matches!(joined.join(), Err(JoinError::Damaged { of: 0, .. })),
                "byte {at}"
            );
            pack.write_all_at(&byte, at).unwrap();
        }
        pack.set_len(length - 1).unwrap();
        assert!(matches!(joined.join(), Err(JoinError::Damaged { .. })));
    }

    #[test]
    fn a_deeper_place_than_a_walk_goes_to_is_refused() {
        let deep = "a/".repeat(DEPTH_MAX) + "b";
        assert!(matches!(place(&deep), Err(PackError::TooDeep { .. })));
        assert!(place(&"a/".repeat(DEPTH_MAX - 1)).is_ok());
    }
}
