//! Building the compact form, from a text that comes in pieces.

use std::ops::Range;

use super::{ESSENTIAL, MAGIC, TEXT_BYTES_MAX};
use crate::debian::stanza::{Line, ParseStanzaError, STANZA_BYTES_MAX, known_field, read_line};

const NAME_BYTES_MAX: usize = 1024;
const PACKAGE: usize = 0;
const ESSENTIAL_FIELD: usize = 3;
const PROVIDES: usize = 7;

/// Why an index text has no compact form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildIndexError {
    /// Longer than [`TEXT_BYTES_MAX`].
    #[error("the index has {bytes} bytes; at most {TEXT_BYTES_MAX} are accepted")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A stanza that cannot be read.
    #[error("the stanza at byte {at} cannot be read")]
    Stanza {
        /// Where it begins.
        at: usize,
        /// Why.
        source: ParseStanzaError,
    },
    /// A name longer than any package's.
    #[error("the stanza at byte {at} has a name of {bytes} bytes")]
    Name {
        /// Where it begins.
        at: usize,
        /// The name's length.
        bytes: usize,
    },
}

/// Build the compact form of a `Packages` text.
pub fn build(text: &[u8]) -> Result<Vec<u8>, BuildIndexError> {
    let mut builder = IndexBuilder::new(text.len());
    builder.feed(text)?;
    builder.finish()
}

/// Builds the compact form of a `Packages` text that comes in pieces.
#[derive(Debug, Default)]
pub struct IndexBuilder {
    records: Vec<u8>,
    entries: Vec<Entry>,
    /// Where in `records` a provided name is, and the stanza that provides it.
    provides: Vec<(Range<usize>, usize)>,
    /// The parts of the present stanza that are kept.
    kept: Vec<Range<usize>>,
    /// The beginning of a stanza whose end has not come yet.
    begun: Vec<u8>,
    /// How many bytes have come before `begun`.
    taken: usize,
}

/// What the index itself needs of a stanza: places in it.
#[derive(Default)]
struct Scan {
    name: Range<usize>,
    essential: bool,
    /// Where the value of `Provides` is.
    provided: Range<usize>,
}

impl Scan {
    /// Read a stanza; `kept` gets the places of the fields that resolution reads, whole lines.
    fn read(stanza: &[u8], kept: &mut Vec<Range<usize>>) -> Result<Self, ParseStanzaError> {
        if stanza.len() > STANZA_BYTES_MAX {
            return Err(ParseStanzaError::TooLong { bytes: stanza.len() });
        }
        let (mut scan, mut open, mut start) = (Self::default(), None, 0);
        for end in memchr::memchr_iter(b'\n', stanza).chain(ends_unfinished(stanza)) {
            let next = (end + 1).min(stanza.len());
            match read_line(&stanza[start..end])? {
                Line::Continuation if open == Some(PROVIDES) => scan.provided.end = end,
                Line::Continuation => {}
                Line::Field(field, value) => {
                    open = known_field(field);
                    match open {
                        Some(PACKAGE) => scan.name = place_of(value, stanza),
                        Some(ESSENTIAL_FIELD) => scan.essential = value == b"yes",
                        Some(PROVIDES) => scan.provided = start + field.len() + 1..end,
                        _ => {}
                    }
                }
            }
            match kept.last_mut() {
                _ if open.is_none() => {}
                Some(last) if last.end == start => last.end = next,
                _ => kept.push(start..next),
            }
            start = next;
        }
        Ok(scan)
    }
}

/// Where a part of a text is in it.
fn place_of(part: &[u8], text: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

#[derive(Debug)]
struct Entry {
    /// Where in the records it is.
    name: Range<usize>,
    record: Range<usize>,
    crc: u32,
    essential: bool,
}

impl IndexBuilder {
    /// For a text of about so many bytes.
    pub fn new(text_bytes: usize) -> Self {
        Self {
            // What is left out is more than what is added at the end: nothing is moved.
            records: Vec::with_capacity(text_bytes.min(1 << 30)),
            ..Self::default()
        }
    }

    /// Take the next piece of the text.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), BuildIndexError> {
        let bytes = self.taken + self.begun.len() + piece.len();
        if bytes as u64 > TEXT_BYTES_MAX {
            return Err(BuildIndexError::TooLong { bytes });
        }
        let mut rest = piece;
        if !self.begun.is_empty() {
            let Some(end) = end_across(&self.begun, piece) else {
                self.begun.extend_from_slice(piece);
                return self.check_begun();
            };
            let mut stanza = std::mem::take(&mut self.begun);
            stanza.extend_from_slice(&piece[..end]);
            self.add(self.taken, &stanza)?;
            self.taken += stanza.len();
            stanza.clear();
            self.begun = stanza;
            rest = &piece[end..];
        }
        let finder = memchr::memmem::Finder::new(b"\n\n");
        loop {
            let blank = rest.iter().take_while(|byte| **byte == b'\n').count();
            self.taken += blank;
            rest = &rest[blank..];
            let Some(end) = finder.find(rest).map(|end| end + 1) else {
                self.begun.extend_from_slice(rest);
                return self.check_begun();
            };
            self.add(self.taken, &rest[..end])?;
            self.taken += end;
            rest = &rest[end..];
        }
    }

    /// A stanza without end is not collected.
    fn check_begun(&self) -> Result<(), BuildIndexError> {
        if self.begun.len() <= STANZA_BYTES_MAX {
            return Ok(());
        }
        let bytes = self.begun.len();
        Err(BuildIndexError::Stanza {
            at: self.taken,
            source: ParseStanzaError::TooLong { bytes },
        })
    }

    fn add(&mut self, at: usize, stanza: &[u8]) -> Result<(), BuildIndexError> {
        let fault = |source| BuildIndexError::Stanza { at, source };
        self.kept.clear();
        let scan = Scan::read(stanza, &mut self.kept).map_err(fault)?;
        if scan.name.is_empty() {
            return Err(fault(ParseStanzaError::Missing { field: "Package" }));
        }
        if scan.name.len() > NAME_BYTES_MAX {
            return Err(BuildIndexError::Name {
                at,
                bytes: scan.name.len(),
            });
        }
        let start = self.records.len();
        let (mut name, mut provided) = (0..0, 0..0);
        for range in &self.kept {
            let moved = |place: &Range<usize>| {
                let place_start = self.records.len() + (place.start - range.start);
                place_start..place_start + place.len()
            };
            if range.contains(&scan.name.start) {
                name = moved(&scan.name);
            }
            if range.contains(&scan.provided.start) {
                provided = moved(&scan.provided);
            }
            self.records.extend_from_slice(&stanza[range.clone()]);
        }
        self.add_provides(provided);
        let record = start..self.records.len();
        self.records.push(b'\n');
        let crc = libdeflater::crc32(&self.records[record.clone()]);
        self.entries.push(Entry {
            name,
            record,
            crc,
            essential: scan.essential,
        });
        Ok(())
    }

    /// Names only: versions are looked at when the stanza is read.
    fn add_provides(&mut self, field: Range<usize>) {
        let text = &self.records[field.clone()];
        for piece in text.split(|byte| *byte == b',') {
            let piece = piece.trim_ascii();
            let end = piece
                .iter()
                .position(|byte| byte.is_ascii_whitespace() || b":([<".contains(byte));
            let name = &piece[..end.unwrap_or(piece.len())];
            if !name.is_empty() && name.len() <= NAME_BYTES_MAX {
                let place = place_of(name, text);
                let place = field.start + place.start..field.start + place.end;
                self.provides.push((place, self.entries.len()));
            }
        }
    }

    /// The compact form, when the whole text has been taken.
    pub fn finish(mut self) -> Result<Vec<u8>, BuildIndexError> {
        let last = std::mem::take(&mut self.begun);
        if !last.is_empty() {
            self.add(self.taken, &last)?;
        }
        let table = self.table();
        let mut records = self.records;
        let records_len = records.len();
        records.extend_from_slice(&table.bytes);

        let table_crc = libdeflater::crc32(&table.bytes);
        let footer_start = records.len();
        records.extend_from_slice(MAGIC);
        records.extend_from_slice(&(records_len as u64).to_le_bytes());
        put(&mut records, self.entries.len());
        put(&mut records, self.provides.len());
        put(&mut records, table.names_len);
        put(&mut records, 0);
        records.extend_from_slice(&table_crc.to_le_bytes());
        let footer_crc = libdeflater::crc32(&records[footer_start..]);
        records.extend_from_slice(&footer_crc.to_le_bytes());
        Ok(records)
    }

    /// entries, provides, names
    fn table(&self) -> Table {
        let text = |place: &Range<usize>| &self.records[place.clone()];
        let order = by_hash(self.entries.iter().map(|entry| text(&entry.name)));
        let mut rank = vec![0; self.entries.len()];
        for (sorted, (_, position)) in order.iter().enumerate() {
            rank[*position] = sorted;
        }
        let mut bytes = Vec::new();
        let (mut names, mut last) = (Vec::new(), (&b""[..], 0));
        for (hash, position) in &order {
            let entry = &self.entries[*position];
            bytes.extend_from_slice(&hash.to_le_bytes());
            put(&mut bytes, entry.record.start);
            put(&mut bytes, entry.record.len());
            bytes.extend_from_slice(&entry.crc.to_le_bytes());
            put_name(&mut bytes, &mut names, &mut last, text(&entry.name));
            bytes.extend_from_slice(&(if entry.essential { ESSENTIAL } else { 0 }).to_le_bytes());
        }
        for (hash, position) in by_hash(self.provides.iter().map(|(name, _)| text(name))) {
            let (name, stanza) = &self.provides[position];
            bytes.extend_from_slice(&hash.to_le_bytes());
            put(&mut bytes, rank[*stanza]);
            put_name(&mut bytes, &mut names, &mut last, text(name));
            bytes.extend_from_slice(&[0; 2]);
        }
        bytes.extend_from_slice(&names);
        Table {
            bytes,
            names_len: names.len(),
        }
    }
}

/// What is loaded of an index when it is opened.
struct Table {
    bytes: Vec<u8>,
    names_len: usize,
}

/// Where in `piece` the stanza ends that `begun` begins, its line feed included.
fn end_across(begun: &[u8], piece: &[u8]) -> Option<usize> {
    if begun.ends_with(b"\n") && piece.first() == Some(&b'\n') {
        return Some(0);
    }
    memchr::memmem::find(piece, b"\n\n").map(|end| end + 1)
}

/// The names' hashes and positions, sorted. Sorting numbers is several times quicker than sorting names.
fn by_hash<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<(u32, usize)> {
    let hashed = names
        .enumerate()
        .map(|(position, name)| (libdeflater::crc32(name), position));
    let mut hashed: Vec<(u32, usize)> = hashed.collect();
    hashed.sort_unstable();
    hashed
}

/// Where the last line ends if no line feed ends it.
fn ends_unfinished(stanza: &[u8]) -> Option<usize> {
    stanza.last().filter(|byte| **byte != b'\n').map(|_| stanza.len())
}

/// A number that fits 32 bits because the text is at most [`TEXT_BYTES_MAX`] long.
fn put(to: &mut Vec<u8>, number: usize) {
    to.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

/// Offset (4 bytes) and length (2 bytes) of a name; equal names that follow each other are kept once.
fn put_name<'a>(to: &mut Vec<u8>, names: &mut Vec<u8>, last: &mut (&'a [u8], usize), name: &'a [u8]) {
    if last.0 != name {
        *last = (name, names.len());
        names.extend_from_slice(name);
    }
    put(to, last.1);
    to.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
}
