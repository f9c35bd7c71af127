//! A strict reader of zip files (APPNOTE.TXT 6.3): stored and deflated entries, zip64.
//!
//! One reading only: the directory ends exactly at the end of the file, entries do not overlap, and the local
//! header of an entry says the same as the directory. What differs between readers is refused.

use std::collections::BTreeSet;
use std::io::{self, Read as _};

use libdeflater::{Crc, Decompressor, crc32};

use crate::deb::ar::PackageBytes;
use crate::rootfs::{UnpackLimits, printable};

/// Why a zip file is refused.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// It could not be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The end of the file, or the directory before it.
    #[error("the zip directory is malformed: {reason}")]
    Directory {
        /// What is wrong.
        reason: &'static str,
    },
    /// One entry.
    #[error("the entry `{name}` is refused: {reason}")]
    Entry {
        /// The entry.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// More entries than are accepted.
    #[error("it has more than {entries_max} entries")]
    TooMany {
        /// The most that are accepted.
        entries_max: u64,
    },
    /// It unpacks to more than is accepted.
    #[error("it unpacks to more than {bytes_max} bytes")]
    TooLarge {
        /// The most that is accepted.
        bytes_max: u64,
    },
}

/// How an entry is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored,
    Deflated,
}

/// One entry of the directory.
#[derive(Debug, Clone)]
pub struct ZipEntry {
    /// The name as it is written.
    pub name: String,
    /// Bytes when unpacked.
    pub size: u64,
    /// Whether it is a directory: its name ends with a slash.
    pub directory: bool,
    /// Whether one of the Unix permissions to execute is set.
    pub executable: bool,
    /// The DOS time as if it were UTC, in seconds since 1970; never before 1980.
    pub mtime: i64,
    method: Method,
    flags: u16,
    compressed: u64,
    checksum: u32,
    offset: u64,
    /// Where the next entry, or the directory, begins.
    end: u64,
}

/// Deflate data inside of a zip file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deflated {
    /// Where it begins.
    pub(crate) offset: u64,
    /// Its bytes.
    pub(crate) length: u64,
    /// The CRC-32 of these bytes.
    pub(crate) packed_checksum: u32,
    /// The CRC-32 of the content.
    pub(crate) checksum: u32,
}

/// Takes a checksum of what is read.
struct Summed<R> {
    inner: R,
    sum: Crc,
}

impl<R: io::Read> io::Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.sum.update(&buffer[..read]);
        Ok(read)
    }
}

/// A zip file whose directory was read and checked.
#[derive(Debug)]
pub struct Zip {
    bytes: PackageBytes,
    entries: Vec<ZipEntry>,
}

/// Entries up to this size, packed and unpacked, are handled in one piece.
const WHOLE_BYTES_MAX: u64 = 64 << 20;
const DIRECTORY_BYTES_MAX: u64 = 256 << 20;
const END_BYTES: usize = 22;
const COMMENT_BYTES_MAX: usize = 65_535;
const LOCAL_HEADER_BYTES: u64 = 30;
/// 1980-01-01, the earliest time that a zip file can say.
const DOS_EPOCH: i64 = 315_532_800;

/// Systems whose Unix modes are believed: Unix and macOS.
const UNIX: [u16; 2] = [3, 19];

const FLAG_ENCRYPTED: u16 = 1;
const FLAG_PATCH: u16 = 1 << 5;
const FLAG_STRONG: u16 = 1 << 6;
const FLAG_MASKED: u16 = 1 << 13;

impl Zip {
    /// Read the directory.
    pub fn open(bytes: PackageBytes, limits: &UnpackLimits) -> Result<Self, ZipError> {
        let directory = find_directory(&bytes)?;
        if directory.entries > limits.entries_max {
            return Err(ZipError::TooMany {
                entries_max: limits.entries_max,
            });
        }
        let raw = read_part(&bytes, directory.offset, directory.size)?;
        let entries = parse_directory(&raw, &directory)?;
        let bytes_max = limits.unpacked_bytes_max(bytes.size());
        let total = entries
            .iter()
            .try_fold(0_u64, |total, entry| total.checked_add(entry.size));
        if total.is_none_or(|total| total > bytes_max) {
            return Err(ZipError::TooLarge { bytes_max });
        }
        if let Some(large) = entries.iter().find(|entry| entry.size > limits.file_bytes_max) {
            return Err(large.wrong("it is larger than the limit for one file"));
        }
        Ok(Self { bytes, entries })
    }

    /// Every entry in the order of the directory.
    pub fn entries(&self) -> &[ZipEntry] {
        &self.entries
    }

    /// The whole content of one entry.
    pub fn read(&self, entry: &ZipEntry, bytes_max: u64) -> Result<Vec<u8>, ZipError> {
        if entry.size > bytes_max {
            return Err(entry.wrong("it is too large"));
        }
        let mut bytes = Vec::new();
        self.copy(entry, |piece| {
            bytes.extend_from_slice(piece);
            Ok::<(), ZipError>(())
        })?;
        Ok(bytes)
    }

    /// The first bytes of an entry, less where it has less. Nothing is checked: they tell what it is, not that it is whole.
    pub(super) fn head(&self, entry: &ZipEntry, bytes_max: u64) -> Result<Vec<u8>, ZipError> {
        let data = self.check_local_header(entry)?;
        let packed = self.bytes.part(data..data + entry.compressed);
        let mut head = Vec::new();
        let read = match entry.method {
            Method::Stored => packed.take(bytes_max).read_to_end(&mut head),
            Method::Deflated => {
                let packed = io::BufReader::with_capacity(1 << 10, packed);
                let stream = flate2::bufread::DeflateDecoder::new(packed);
                stream.take(bytes_max).read_to_end(&mut head)
            }
        };
        read.map_err(ZipError::Read)?;
        Ok(head)
    }

    /// Give the content of one entry to `each`, piece by piece. An error may come after some pieces: size and
    /// checksum are known only at the end.
    pub fn copy<E: From<ZipError>>(
        &self,
        entry: &ZipEntry,
        each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let data = self.check_local_header(entry)?;
        match entry.method {
            Method::Stored => self.copy_stored(entry, data, each),
            Method::Deflated if entry.size.max(entry.compressed) <= WHOLE_BYTES_MAX => {
                self.copy_whole(entry, data, each)
            }
            Method::Deflated => self.copy_stream(entry, data, each),
        }
    }

    /// Where an entry's deflate data (RFC 1951) is, to be used as it is; none where the entry is stored, or where its
    /// data does not end with the stream: who reads the stream alone would not see where the data ends.
    pub(crate) fn deflated(&self, entry: &ZipEntry) -> Result<Option<Deflated>, ZipError> {
        if entry.method != Method::Deflated {
            return Ok(None);
        }
        let data = self.check_local_header(entry)?;
        let packed = Summed {
            inner: self.bytes.part(data..data + entry.compressed),
            sum: Crc::new(),
        };
        let packed = io::BufReader::with_capacity(128 << 10, packed);
        let mut stream = flate2::bufread::DeflateDecoder::new(packed);
        let unpacked = io::copy(&mut stream, &mut io::sink()).map_err(ZipError::Read)?;
        let is_exact = stream.total_in() == entry.compressed && unpacked == entry.size;
        Ok(is_exact.then(|| Deflated {
            offset: data,
            length: entry.compressed,
            packed_checksum: stream.into_inner().into_inner().sum.sum(),
            checksum: entry.checksum,
        }))
    }

    /// The local header must say what the directory says; the answer is where the data begins.
    fn check_local_header(&self, entry: &ZipEntry) -> Result<u64, ZipError> {
        let wrong = |reason| entry.wrong(reason);
        let length = LOCAL_HEADER_BYTES + entry.name.len() as u64;
        if length > entry.end.saturating_sub(entry.offset) {
            return Err(wrong("it overlaps with another entry"));
        }
        let header = read_part(&self.bytes, entry.offset, length)?;
        let fields = Fields(&header);
        if fields.long(0) != 0x0403_4b50 {
            return Err(wrong("it has no local header"));
        }
        let method = if entry.method == Method::Stored { 0 } else { 8 };
        let same = fields.short(6) == entry.flags
            && fields.short(8) == method
            && usize::from(fields.short(26)) == entry.name.len()
            && header[30..] == *entry.name.as_bytes();
        if !same {
            return Err(wrong("its local header contradicts the directory"));
        }
        let data = entry.offset + length + u64::from(fields.short(28));
        if entry.compressed > entry.end.saturating_sub(data) {
            return Err(wrong("it overlaps with another entry"));
        }
        Ok(data)
    }

    fn copy_stored<E: From<ZipError>>(
        &self,
        entry: &ZipEntry,
        data: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if entry.size != entry.compressed {
            return Err(entry.wrong("it is stored, yet has two sizes").into());
        }
        copy_checked(entry, self.bytes.part(data..data + entry.compressed), &mut each)
    }

    fn copy_whole<E: From<ZipError>>(
        &self,
        entry: &ZipEntry,
        data: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let packed = read_part(&self.bytes, data, entry.compressed)?;
        let size = usize::try_from(entry.size).map_err(|_| entry.wrong("it is too large"))?;
        let mut bytes = vec![0; size];
        let unpacked = Decompressor::new().deflate_decompress(&packed, &mut bytes);
        if unpacked != Ok(size) {
            return Err(entry.wrong("its content is damaged or has another size").into());
        }
        if crc32(&bytes) != entry.checksum {
            return Err(entry.wrong("its checksum is wrong").into());
        }
        if bytes.is_empty() { Ok(()) } else { each(&bytes) }
    }

    fn copy_stream<E: From<ZipError>>(
        &self,
        entry: &ZipEntry,
        data: u64,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let packed = io::BufReader::with_capacity(128 << 10, self.bytes.part(data..data + entry.compressed));
        copy_checked(entry, flate2::bufread::DeflateDecoder::new(packed), &mut each)
    }
}

impl ZipEntry {
    fn wrong(&self, reason: &'static str) -> ZipError {
        ZipError::Entry {
            name: printable(self.name.as_bytes()),
            reason,
        }
    }
}

/// Copy a stream that must have exactly the entry's size and checksum.
fn copy_checked<E: From<ZipError>>(
    entry: &ZipEntry,
    mut stream: impl io::Read,
    each: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut buffer = vec![0; 256 << 10];
    let (mut copied, mut checksum) = (0_u64, Crc::new());
    loop {
        let read = stream.read(&mut buffer).map_err(ZipError::Read)?;
        copied += read as u64;
        if copied > entry.size || read == 0 && copied < entry.size {
            return Err(entry.wrong("its content has another size").into());
        }
        if read == 0 {
            break;
        }
        checksum.update(&buffer[..read]);
        each(&buffer[..read])?;
    }
    if checksum.sum() != entry.checksum {
        return Err(entry.wrong("its checksum is wrong").into());
    }
    Ok(())
}

fn read_part(bytes: &PackageBytes, offset: u64, length: u64) -> Result<Vec<u8>, ZipError> {
    let end = offset.checked_add(length).filter(|end| *end <= bytes.size());
    let end = end.ok_or(ZipError::Directory {
        reason: "something lies outside the file",
    })?;
    let mut part = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    bytes
        .part(offset..end)
        .read_exact(&mut part)
        .map_err(ZipError::Read)?;
    Ok(part)
}

/// Little-endian numbers at fixed places; outside the bytes they are zero.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn short(&self, at: usize) -> u16 {
        self.0
            .get(at..at + 2)
            .map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn long(&self, at: usize) -> u32 {
        u32::from(self.short(at)) | u32::from(self.short(at + 2)) << 16
    }

    fn double(&self, at: usize) -> u64 {
        u64::from(self.long(at)) | u64::from(self.long(at + 4)) << 32
    }
}

/// Where the directory is.
struct DirectoryPlace {
    offset: u64,
    size: u64,
    entries: u64,
}

fn find_directory(bytes: &PackageBytes) -> Result<DirectoryPlace, ZipError> {
    let wrong = |reason| ZipError::Directory { reason };
    let tail_length = bytes.size().min((END_BYTES + COMMENT_BYTES_MAX) as u64);
    let tail_offset = bytes.size() - tail_length;
    let tail = read_part(bytes, tail_offset, tail_length)?;
    let last = tail
        .len()
        .checked_sub(END_BYTES)
        .ok_or(wrong("the file is too short"))?;
    let ends_here = |at: &usize| {
        tail[*at..].starts_with(b"PK\x05\x06") && usize::from(Fields(&tail[*at..]).short(20)) == last - at
    };
    let at = (0..=last)
        .rev()
        .find(ends_here)
        .ok_or(wrong("it has no end record"))?;
    let end = Fields(&tail[at..]);
    let end_offset = tail_offset + at as u64;
    if end.short(4) != 0 || end.short(6) != 0 || end.short(8) != end.short(10) {
        return Err(wrong("it is one part of several"));
    }
    let mut place = DirectoryPlace {
        offset: end.long(16).into(),
        size: end.long(12).into(),
        entries: end.short(10).into(),
    };
    let mut directory_end = end_offset;
    if place.offset == 0xffff_ffff || place.size == 0xffff_ffff || place.entries == 0xffff {
        (place, directory_end) = find_large_directory(bytes, end_offset)?;
    }
    if place.offset.checked_add(place.size) != Some(directory_end) || place.size > DIRECTORY_BYTES_MAX {
        return Err(wrong("it does not end where the end record begins"));
    }
    Ok(place)
}

/// The zip64 end record, and where it begins.
fn find_large_directory(bytes: &PackageBytes, end_offset: u64) -> Result<(DirectoryPlace, u64), ZipError> {
    let wrong = || ZipError::Directory {
        reason: "the zip64 end record is malformed",
    };
    let locator_offset = end_offset.checked_sub(20).ok_or_else(wrong)?;
    let locator = read_part(bytes, locator_offset, 20)?;
    let record_offset = Fields(&locator).double(8);
    let record = read_part(bytes, record_offset, 56)?;
    let fields = Fields(&record);
    let whole = fields
        .double(4)
        .checked_add(12)
        .and_then(|length| length.checked_add(record_offset));
    let good = Fields(&locator).long(0) == 0x0706_4b50
        && fields.long(0) == 0x0606_4b50
        && whole == Some(locator_offset)
        && fields.double(24) == fields.double(32);
    if !good {
        return Err(wrong());
    }
    let place = DirectoryPlace {
        offset: fields.double(48),
        size: fields.double(40),
        entries: fields.double(32),
    };
    Ok((place, record_offset))
}

fn parse_directory(raw: &[u8], place: &DirectoryPlace) -> Result<Vec<ZipEntry>, ZipError> {
    let mut entries = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let (entry, length) = parse_entry(rest)?;
        entries.push(entry);
        rest = &rest[length..];
    }
    if entries.len() as u64 != place.entries {
        return Err(ZipError::Directory {
            reason: "it has another number of entries than it says",
        });
    }
    let mut seen = BTreeSet::new();
    for entry in &entries {
        if !seen.insert(entry.name.trim_end_matches('/')) {
            return Err(entry.wrong("it is there twice"));
        }
    }
    let mut offsets: Vec<u64> = entries.iter().map(|entry| entry.offset).collect();
    offsets.sort_unstable();
    offsets.push(place.offset);
    for entry in &mut entries {
        let next = offsets.partition_point(|offset| *offset <= entry.offset);
        entry.end = offsets.get(next).copied().unwrap_or(entry.offset);
    }
    let repeated = offsets.windows(2).any(|pair| pair[0] >= pair[1]);
    if repeated {
        return Err(ZipError::Directory {
            reason: "entries overlap",
        });
    }
    Ok(entries)
}

/// One record of the directory, and its length.
fn parse_entry(raw: &[u8]) -> Result<(ZipEntry, usize), ZipError> {
    let cut_off = ZipError::Directory {
        reason: "a record is cut off",
    };
    let fields = Fields(raw);
    if fields.long(0) != 0x0201_4b50 {
        return Err(ZipError::Directory {
            reason: "a record has no mark",
        });
    }
    let [name_length, extra_length, comment_length] = [28, 30, 32].map(|at| usize::from(fields.short(at)));
    let length = 46 + name_length + extra_length + comment_length;
    if length > raw.len() {
        return Err(cut_off);
    }
    let name = std::str::from_utf8(&raw[46..46 + name_length]).map_err(|_| ZipError::Entry {
        name: printable(&raw[46..46 + name_length]),
        reason: "its name is not UTF-8",
    })?;
    let mut entry = ZipEntry {
        name: name.to_owned(),
        size: fields.long(24).into(),
        directory: name.ends_with('/'),
        executable: false,
        mtime: dos_time(fields.short(14), fields.short(12)),
        method: Method::Stored,
        flags: fields.short(8),
        compressed: fields.long(20).into(),
        checksum: fields.long(16),
        offset: fields.long(42).into(),
        end: 0,
    };
    entry.method = match fields.short(10) {
        0 => Method::Stored,
        8 => Method::Deflated,
        _ => return Err(entry.wrong("it is compressed in a way that wheels do not use")),
    };
    read_extra(
        &mut entry,
        &raw[46 + name_length..46 + name_length + extra_length],
    )?;
    check_kind(&mut entry, fields.short(4) >> 8, fields.long(38) >> 16)?;
    Ok((entry, length))
}

fn check_kind(entry: &mut ZipEntry, made_by: u16, unix_mode: u32) -> Result<(), ZipError> {
    if entry.flags & (FLAG_ENCRYPTED | FLAG_STRONG | FLAG_MASKED) != 0 {
        return Err(entry.wrong("it is encrypted"));
    }
    if entry.flags & FLAG_PATCH != 0 {
        return Err(entry.wrong("it is a patch"));
    }
    if entry.directory && entry.size != 0 {
        return Err(entry.wrong("it is a directory with a size"));
    }
    // Only some systems write Unix modes there; a file type is believed from anybody.
    match unix_mode >> 12 {
        0 => {}
        0o10 if !entry.directory => {}
        0o04 if entry.directory => {}
        0o12 => return Err(entry.wrong("it is a symbolic link")),
        _ => return Err(entry.wrong("it is neither a file nor a directory")),
    }
    entry.executable = UNIX.contains(&made_by) && unix_mode & 0o111 != 0;
    Ok(())
}

/// The zip64 sizes, and a second name that may not differ from the first.
fn read_extra(entry: &mut ZipEntry, mut extra: &[u8]) -> Result<(), ZipError> {
    while extra.len() >= 4 {
        let (kind, length) = (Fields(extra).short(0), usize::from(Fields(extra).short(2)));
        let Some(body) = extra.get(4..4 + length) else {
            return Err(entry.wrong("its extra field is malformed"));
        };
        match kind {
            1 => read_large_sizes(entry, body)?,
            0x7075 if body.get(5..) != Some(entry.name.as_bytes()) => {
                return Err(entry.wrong("it has two names"));
            }
            _ => {}
        }
        extra = &extra[4 + length..];
    }
    Ok(())
}

fn read_large_sizes(entry: &mut ZipEntry, body: &[u8]) -> Result<(), ZipError> {
    let mut at = 0;
    for place in [&mut entry.size, &mut entry.compressed, &mut entry.offset] {
        if *place == 0xffff_ffff {
            if body.len() < at + 8 {
                return Err(ZipError::Directory {
                    reason: "a zip64 size is missing",
                });
            }
            *place = Fields(body).double(at);
            at += 8;
        }
    }
    Ok(())
}

/// A DOS date and time read as UTC; 1980-01-01 where they make no sense.
fn dos_time(date: u16, time: u16) -> i64 {
    let field = |word: u16, shift: u32, mask: u16| i8::try_from(word >> shift & mask).unwrap_or(0);
    let year = 1980 + i16::from(field(date, 9, 0x7f));
    let (month, day) = (field(date, 5, 0x0f), field(date, 0, 0x1f));
    let (hour, minute, second) = (
        field(time, 11, 0x1f),
        field(time, 5, 0x3f),
        field(time, 0, 0x1f) * 2,
    );
    let civil = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0);
    let zoned = civil.and_then(|civil| civil.to_zoned(jiff::tz::TimeZone::UTC));
    zoned.map_or(DOS_EPOCH, |zoned| zoned.timestamp().as_second().max(DOS_EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dos_times_are_utc_and_never_before_1980() {
        assert_eq!(dos_time(0x21, 0), DOS_EPOCH);
        assert_eq!(dos_time(0, 0), DOS_EPOCH);
        assert_eq!(dos_time(0xffff, 0xffff), DOS_EPOCH);
        // 2026-05-18 21:43:10
        assert_eq!(
            dos_time((46 << 9) + (5 << 5) + 18, (21 << 11) + (43 << 5) + 5),
            1_779_140_590
        );
    }
}
