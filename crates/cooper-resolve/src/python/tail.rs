//! METADATA out of a wheel, without the wheel: its central directory and one member, read by ranges.
//!
//! Follows APPNOTE 6.3.10 sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14–16 (ends, with
//! ZIP64). Every length in the file is a claim that is checked against the bytes that are there.

use std::str::FromStr as _;

use cooper_core::PythonName;
use cooper_store::FetchError;

use super::metadata::METADATA_BYTES_MAX;

/// How much of the end of a wheel is asked for first: it usually holds METADATA too.
const TAIL_BYTES: u64 = 48 * 1024;
/// How large a central directory may be.
const DIRECTORY_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How many members a wheel may have.
const MEMBERS_MAX: usize = 500_000;

/// What a read of a part gives.
pub(crate) struct Part {
    pub(crate) bytes: Vec<u8>,
    /// Where the first byte is in the file.
    pub(crate) start: u64,
    /// The whole file's size.
    pub(crate) total: u64,
}

/// Which bytes of a wheel are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// So many at the end.
    Last(u64),
    /// So many from here.
    From { start: u64, length: u64 },
}

/// Why METADATA cannot be read from a wheel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TailError {
    /// The network.
    #[error("cannot fetch a part of the wheel")]
    Fetch(#[from] FetchError),
    /// The file; the text ends a sentence that begins with the wheel.
    #[error("{0}")]
    Broken(String),
}

fn broken<T>(reason: &str) -> Result<T, TailError> {
    Err(TailError::Broken(reason.to_owned()))
}

/// METADATA and the wheel's size.
pub(crate) fn read_metadata(
    name: &PythonName,
    read: &dyn Fn(Wanted) -> Result<Part, FetchError>,
) -> Result<(Vec<u8>, u64), TailError> {
    let mut window = Window::new(read(Wanted::Last(TAIL_BYTES))?)?;
    let directory = Directory::find(&window.bytes, window.start)?;
    window.extend_down_to(directory.start, DIRECTORY_BYTES_MAX, read)?;
    let listing = window
        .slice(directory.start, directory.size)
        .ok_or_else(cut_off)?;
    let member = find_member(listing, name)?;
    if member.packed_size > METADATA_BYTES_MAX || member.plain_size > METADATA_BYTES_MAX {
        return broken("its METADATA is too large");
    }
    let packed = window.member_bytes(&member, directory.shift, read)?;
    Ok((unpack(&member, &packed)?, window.total))
}

fn cut_off() -> TailError {
    TailError::Broken("it is cut off or its zip directory lies".to_owned())
}

/// The end of a wheel, as much of it as was read.
struct Window {
    bytes: Vec<u8>,
    start: u64,
    total: u64,
}

impl Window {
    fn new(part: Part) -> Result<Self, TailError> {
        let end = part.start.checked_add(part.bytes.len() as u64);
        if end != Some(part.total) {
            return broken("the server sent another part than the end");
        }
        Ok(Self {
            bytes: part.bytes,
            start: part.start,
            total: part.total,
        })
    }

    fn slice(&self, start: u64, length: u64) -> Option<&[u8]> {
        let from = usize::try_from(start.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(usize::try_from(length).ok()?)?;
        self.bytes.get(from..to)
    }

    fn extend_down_to(
        &mut self,
        start: u64,
        length_max: u64,
        read: &dyn Fn(Wanted) -> Result<Part, FetchError>,
    ) -> Result<(), TailError> {
        let Some(missing) = self.start.checked_sub(start).filter(|missing| *missing > 0) else {
            return Ok(());
        };
        if missing > length_max {
            return broken("its zip directory is too large");
        }
        let part = read(Wanted::From {
            start,
            length: missing,
        })?;
        if part.start != start || part.bytes.len() as u64 != missing {
            return broken("the server sent another part than was asked for");
        }
        let mut bytes = part.bytes;
        bytes.extend_from_slice(&self.bytes);
        (self.bytes, self.start) = (bytes, start);
        Ok(())
    }

    /// The packed bytes of a member, whose local header says where they begin.
    fn member_bytes(
        &self,
        member: &Member,
        shift: u64,
        read: &dyn Fn(Wanted) -> Result<Part, FetchError>,
    ) -> Result<Vec<u8>, TailError> {
        let header = member.header.checked_add(shift).ok_or_else(cut_off)?;
        let guess = 30 + member.name_length + 1024 + member.packed_size;
        let mut length = guess.min(self.total.saturating_sub(header));
        for _ in 0..2 {
            let fetched;
            let bytes = if let Some(bytes) = self.slice(header, length) {
                bytes
            } else {
                fetched = read(Wanted::From {
                    start: header,
                    length,
                })?;
                if fetched.start != header {
                    return broken("the server sent another part than was asked for");
                }
                &fetched.bytes
            };
            let data = local_data_start(bytes)?;
            let end = data.checked_add(usize::try_from(member.packed_size).map_err(|_| cut_off())?);
            let end = end.ok_or_else(cut_off)?;
            if let Some(packed) = bytes.get(data..end) {
                return Ok(packed.to_vec());
            }
            length = end as u64;
        }
        Err(cut_off())
    }
}

/// Where the member's bytes begin, counted from its local header.
fn local_data_start(bytes: &[u8]) -> Result<usize, TailError> {
    if bytes.get(..4) != Some(b"PK\x03\x04") {
        return Err(cut_off());
    }
    let (name, extra) = (u16_at(bytes, 26), u16_at(bytes, 28));
    let (Some(name), Some(extra)) = (name, extra) else {
        return Err(cut_off());
    };
    Ok(30 + usize::from(name) + usize::from(extra))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(
        bytes.get(at..at.checked_add(2)?)?.try_into().ok()?,
    ))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(
        bytes.get(at..at.checked_add(4)?)?.try_into().ok()?,
    ))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(
        bytes.get(at..at.checked_add(8)?)?.try_into().ok()?,
    ))
}

/// Where the central directory is.
#[derive(Debug, PartialEq, Eq)]
struct Directory {
    /// Where it is in the file.
    start: u64,
    size: u64,
    /// How much further everything lies than the file says, because something stands before the archive.
    shift: u64,
}

impl Directory {
    /// Find the end record in the last bytes of a file; `start` is where those bytes begin.
    fn find(tail: &[u8], start: u64) -> Result<Self, TailError> {
        let last = tail.len().checked_sub(22).ok_or_else(cut_off)?;
        let ends_there = |at: &usize| {
            tail[*at..].starts_with(b"PK\x05\x06")
                && u16_at(tail, at + 20).is_some_and(|comment| at + 22 + usize::from(comment) == tail.len())
        };
        let at = (0..=last).rev().find(ends_there).ok_or_else(cut_off)?;
        let (size, offset) = (u32_at(tail, at + 12), u32_at(tail, at + 16));
        let (Some(size), Some(offset)) = (size, offset) else {
            return Err(cut_off());
        };
        let (end, size, offset) = if size == u32::MAX || offset == u32::MAX {
            zip64_end(tail, at, start)?
        } else {
            (start + at as u64, u64::from(size), u64::from(offset))
        };
        let directory = end.checked_sub(size).ok_or_else(cut_off)?;
        let shift = directory.checked_sub(offset).ok_or_else(cut_off)?;
        Ok(Self {
            start: directory,
            size,
            shift,
        })
    }
}

/// The ZIP64 end record before the end record at `at`: where it is, the directory's size and offset.
fn zip64_end(tail: &[u8], at: usize, start: u64) -> Result<(u64, u64, u64), TailError> {
    let locator = at.checked_sub(20).ok_or_else(cut_off)?;
    if !tail[locator..].starts_with(b"PK\x06\x07") {
        return Err(cut_off());
    }
    let record = locator.checked_sub(56).ok_or_else(cut_off)?;
    if !tail[record..].starts_with(b"PK\x06\x06") {
        return broken("its ZIP64 end record is elsewhere");
    }
    let (Some(size), Some(offset)) = (u64_at(tail, record + 40), u64_at(tail, record + 48)) else {
        return Err(cut_off());
    };
    Ok((start + record as u64, size, offset))
}

/// The METADATA member as the central directory describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    directory: String,
    method: u16,
    crc32: u32,
    packed_size: u64,
    plain_size: u64,
    name_length: u64,
    header: u64,
}

/// The one `NAME-VERSION.dist-info/METADATA`; where there are several, the one with the wheel's name.
fn find_member(listing: &[u8], name: &PythonName) -> Result<Member, TailError> {
    let mut found: Vec<Member> = Vec::new();
    let mut at = 0;
    for _ in 0..MEMBERS_MAX {
        if at == listing.len() {
            break;
        }
        let (member, next) = read_entry(listing, at).ok_or_else(cut_off)?;
        found.extend(member);
        at = next;
    }
    if at != listing.len() {
        return broken("it has too many members");
    }
    if found.len() > 1 {
        found.retain(|member| {
            let project = member.directory.split('-').next().unwrap_or_default();
            PythonName::from_str(project).is_ok_and(|project| &project == name)
        });
    }
    match <[Member; 1]>::try_from(found) {
        Ok([member]) => Ok(member),
        Err(found) if found.is_empty() => broken("it has no .dist-info/METADATA"),
        Err(_) => broken("it has more than one METADATA"),
    }
}

/// One entry of the central directory: itself if it is a METADATA, and where the next begins.
fn read_entry(listing: &[u8], at: usize) -> Option<(Option<Member>, usize)> {
    let entry = listing.get(at..)?;
    if !entry.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (name, extra, comment) = (u16_at(entry, 28)?, u16_at(entry, 30)?, u16_at(entry, 32)?);
    let name_end = 46 + usize::from(name);
    let extra_end = name_end + usize::from(extra);
    let next = at.checked_add(extra_end + usize::from(comment))?;
    let text = std::str::from_utf8(entry.get(46..name_end)?).unwrap_or_default();
    let extra = entry.get(name_end..extra_end)?;
    if next > listing.len() {
        return None;
    }
    let directory = text
        .strip_suffix(".dist-info/METADATA")
        .filter(|rest| !rest.contains('/'));
    let Some(directory) = directory else {
        return Some((None, next));
    };
    let mut wide = WideFields::find(extra)?;
    let plain_size = wide.or_narrow(u32_at(entry, 24)?)?;
    let packed_size = wide.or_narrow(u32_at(entry, 20)?)?;
    let header = wide.or_narrow(u32_at(entry, 42)?)?;
    let member = Member {
        directory: directory.to_owned(),
        method: u16_at(entry, 10)?,
        crc32: u32_at(entry, 16)?,
        packed_size,
        plain_size,
        name_length: u64::from(name),
        header,
    };
    Some((Some(member), next))
}

/// The values of the ZIP64 extra field, which replace those that do not fit, in a fixed order.
struct WideFields<'a> {
    values: &'a [u8],
}

impl<'a> WideFields<'a> {
    fn find(mut extra: &'a [u8]) -> Option<Self> {
        while extra.len() >= 4 {
            let (kind, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
            if kind == 1 {
                return Some(Self {
                    values: extra.get(4..4 + length)?,
                });
            }
            extra = extra.get(4 + length..)?;
        }
        Some(Self { values: &[] })
    }

    fn or_narrow(&mut self, narrow: u32) -> Option<u64> {
        if narrow != u32::MAX {
            return Some(u64::from(narrow));
        }
        let value = u64_at(self.values, 0)?;
        self.values = &self.values[8..];
        Some(value)
    }
}

fn unpack(member: &Member, packed: &[u8]) -> Result<Vec<u8>, TailError> {
    let size = usize::try_from(member.plain_size).map_err(|_| cut_off())?;
    let plain = match member.method {
        0 => packed.to_vec(),
        8 => {
            let mut plain = vec![0; size];
            let mut inflate = libdeflater::Decompressor::new();
            match inflate.deflate_decompress(packed, &mut plain) {
                Ok(written) if written == size => plain,
                _ => return broken("its METADATA is damaged or larger than it says"),
            }
        }
        _ => return broken("its METADATA is packed in a way that wheels do not use"),
    };
    if plain.len() != size || libdeflater::crc32(&plain) != member.crc32 {
        return broken("its METADATA is damaged");
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write as _;

    use super::*;

    const TEXT: &str = "Metadata-Version: 2.1\nName: a\nVersion: 1\n";

    type Members<'a> = &'a [(&'a str, &'a [u8])];

    fn wheel(members: Members) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in members {
            zip.start_file(*name, zip::write::SimpleFileOptions::default())
                .unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn read(file: &[u8]) -> Result<(Vec<u8>, u64), TailError> {
        let reads = RefCell::new(0);
        let part = |wanted: Wanted| {
            *reads.borrow_mut() += 1;
            assert!(*reads.borrow() < 6, "too many reads");
            let total = file.len() as u64;
            let (start, length) = match wanted {
                Wanted::Last(length) => (total.saturating_sub(length), length),
                Wanted::From { start, length } => (start, length),
            };
            let from = usize::try_from(start.min(total)).unwrap();
            let to = usize::try_from((start + length).min(total)).unwrap();
            Ok(Part {
                bytes: file[from..to].to_vec(),
                start,
                total,
            })
        };
        read_metadata(&"a".parse().unwrap(), &part)
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn metadata_is_found_wherever_it_lies() {
        let big = noise(300_000);
        let near: [(&str, &[u8]); 2] = [("a/x.bin", &big), ("a-1.dist-info/METADATA", TEXT.as_bytes())];
        let far: [(&str, &[u8]); 2] = [("a-1.dist-info/METADATA", TEXT.as_bytes()), ("a/x.bin", &big)];
        for members in [near, far] {
            let file = wheel(&members);
            let (metadata, total) = read(&file).unwrap();
            assert_eq!((metadata.as_slice(), total), (TEXT.as_bytes(), file.len() as u64));
            let shifted = [b"#!/bin/sh\n".as_slice(), &file].concat();
            assert_eq!(read(&shifted).unwrap().0, TEXT.as_bytes());
        }
    }

    #[test]
    fn a_long_directory_is_read_whole() {
        let names: Vec<String> = (0..2_000)
            .map(|n| format!("a/some_quite_long_module_name_{n}.py"))
            .collect();
        let mut members: Vec<(&str, &[u8])> = vec![("a-1.dist-info/METADATA", TEXT.as_bytes())];
        members.extend(names.iter().map(|name| (name.as_str(), b"x".as_slice())));
        assert_eq!(read(&wheel(&members)).unwrap().0, TEXT.as_bytes());
    }

    #[test]
    fn wide_directories_are_read() {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let wide = zip::write::SimpleFileOptions::default().large_file(true);
        zip.start_file("a-1.dist-info/METADATA", wide).unwrap();
        zip.write_all(TEXT.as_bytes()).unwrap();
        assert_eq!(
            read(&zip.finish().unwrap().into_inner()).unwrap().0,
            TEXT.as_bytes()
        );
    }

    #[test]
    fn wheels_without_one_metadata_are_refused() {
        let text = TEXT.as_bytes();
        let table: [(Members, &str); 4] = [
            (&[("a/x.py", b"x")], "no .dist-info/METADATA"),
            (&[("a/a-1.dist-info/METADATA", text)], "no .dist-info/METADATA"),
            (
                &[("a-1.dist-info/METADATA", text), ("A-2.dist-info/METADATA", text)],
                "more than one",
            ),
            (
                &[("b-1.dist-info/METADATA", text), ("c-2.dist-info/METADATA", text)],
                "no .dist-info/METADATA",
            ),
        ];
        for (members, said) in table {
            let error = read(&wheel(members)).unwrap_err().to_string();
            assert!(error.contains(said), "{members:?}: {error}");
        }
        let vendored: [(&str, &[u8]); 2] =
            [("a-1.dist-info/METADATA", text), ("b-2.dist-info/METADATA", b"b")];
        assert_eq!(read(&wheel(&vendored)).unwrap().0, text);
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_an_answer() {
        let file = wheel(&[
            ("a/x.py", b"x"),
            ("a-1.dist-info/METADATA", TEXT.repeat(20).as_bytes()),
        ]);
        for cut in 0..file.len() {
            assert!(read(&file[..cut]).is_err(), "cut at {cut}");
        }
        let whole = TEXT.repeat(20);
        for at in 0..file.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut bad = file.clone();
                bad[at] ^= change;
                if let Ok((metadata, _)) = read(&bad) {
                    assert_eq!(metadata, whole.as_bytes(), "byte {at}");
                }
            }
        }
    }

    #[test]
    fn lying_sizes_do_not_allocate() {
        let mut file = wheel(&[("a-1.dist-info/METADATA", TEXT.as_bytes())]);
        let entry = file.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
        file[entry + 24..entry + 28].copy_from_slice(&0xffff_fff0_u32.to_le_bytes());
        assert!(read(&file).unwrap_err().to_string().contains("too large"));
        assert!(read(b"").is_err());
        assert!(read(&noise(100_000)).is_err());
    }
}
