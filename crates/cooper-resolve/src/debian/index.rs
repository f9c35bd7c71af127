//! The compact form of a `Packages` index: built once for each index, then read in place.
//!
//! ```text
//! records   the stanzas, only the fields that resolution reads, each ended by a blank line
//! entries   one for each stanza, sorted by its name's CRC-32, then by position (24 bytes each)
//! provides  one for each provided name, sorted in the same way (16 bytes each)
//! names     the bytes of all names
//! footer    magic, the lengths of the parts, CRC-32 of entries + provides + names, CRC-32 of the footer
//! ```
//!
//! All numbers are little-endian. Only the part after the records is loaded; a stanza is read when it is
//! asked for, and checked against the CRC-32 in its entry. The checksums find damage, not malice: whoever can
//! write to the store's cache can do worse.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::stanza::{Line, ParseStanzaError, STANZA_BYTES_MAX, Stanza, known_field, read_line};

const MAGIC: &[u8; 8] = b"CPRDEB\x00\x02";
const FOOTER_BYTES: usize = 40;
const ENTRY_BYTES: usize = 24;
const PROVISION_BYTES: usize = 16;
/// The largest index text that is accepted; Debian 13's has 57 MB.
pub const TEXT_BYTES_MAX: u64 = 512 << 20;
const ESSENTIAL: u16 = 1;
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

/// Why a compact index cannot be used. It is rebuilt then.
#[derive(Debug, thiserror::Error)]
pub enum ReadIndexError {
    /// It is not what was written.
    #[error("the compact index is damaged: {part}")]
    Damaged {
        /// Which part.
        part: &'static str,
    },
    /// It cannot be read.
    #[error("cannot read the compact index")]
    Io(#[source] std::io::Error),
}

/// A compact index, open for look-ups.
#[derive(Debug)]
pub struct PackageIndex {
    records: Records,
    records_len: u64,
    /// entries, provides, names
    table: Vec<u8>,
    entries: usize,
    provides: usize,
}

#[derive(Debug)]
enum Records {
    File { file: File, start: u64 },
    Memory(Arc<Vec<u8>>),
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

struct Footer {
    records: u64,
    entries: usize,
    provides: usize,
    names: usize,
    table_crc: u32,
}

impl Footer {
    fn read(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let size = |at: usize| number(at).and_then(|number| usize::try_from(number).ok());
        let crc = libdeflater::crc32(bytes.get(..FOOTER_BYTES - 4)?);
        if !bytes.starts_with(MAGIC) || bytes.len() != FOOTER_BYTES || number(FOOTER_BYTES - 4)? != crc {
            return None;
        }
        let records = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
        Some(Self {
            records,
            entries: size(16)?,
            provides: size(20)?,
            names: size(24)?,
            table_crc: number(32)?,
        })
    }

    fn table_len(&self) -> Option<usize> {
        let entries = self.entries.checked_mul(ENTRY_BYTES)?;
        let provides = self.provides.checked_mul(PROVISION_BYTES)?;
        entries.checked_add(provides)?.checked_add(self.names)
    }
}

impl PackageIndex {
    /// Open a compact index that ends where the file ends.
    pub fn open(file: File) -> Result<Self, ReadIndexError> {
        let damaged = |part| ReadIndexError::Damaged { part };
        let length = file.metadata().map_err(ReadIndexError::Io)?.len();
        let mut footer = [0; FOOTER_BYTES];
        let footer_start = length
            .checked_sub(FOOTER_BYTES as u64)
            .ok_or_else(|| damaged("its length"))?;
        file.read_exact_at(&mut footer, footer_start)
            .map_err(ReadIndexError::Io)?;
        let footer = Footer::read(&footer).ok_or_else(|| damaged("its footer"))?;
        let table_len = footer.table_len().filter(|length| *length as u64 <= footer_start);
        let table_len = table_len.ok_or_else(|| damaged("its length"))?;
        let table_start = footer_start - table_len as u64;
        let start = table_start
            .checked_sub(footer.records)
            .ok_or_else(|| damaged("its length"))?;
        let mut table = vec![0; table_len];
        file.read_exact_at(&mut table, table_start)
            .map_err(ReadIndexError::Io)?;
        Self::checked(Records::File { file, start }, table, &footer)
    }

    /// Use a compact index that is in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ReadIndexError> {
        Self::from_shared(Arc::new(bytes))
    }

    /// Use a compact index that somebody else uses too.
    pub(super) fn from_shared(bytes: Arc<Vec<u8>>) -> Result<Self, ReadIndexError> {
        let damaged = |part| ReadIndexError::Damaged { part };
        let footer_start = bytes
            .len()
            .checked_sub(FOOTER_BYTES)
            .ok_or_else(|| damaged("its length"))?;
        let footer = Footer::read(&bytes[footer_start..]).ok_or_else(|| damaged("its footer"))?;
        let table_start = footer
            .table_len()
            .and_then(|length| footer_start.checked_sub(length));
        let table_start = table_start.filter(|start| *start as u64 == footer.records);
        let table = bytes[table_start.ok_or_else(|| damaged("its length"))?..footer_start].to_vec();
        Self::checked(Records::Memory(bytes), table, &footer)
    }

    fn checked(records: Records, table: Vec<u8>, footer: &Footer) -> Result<Self, ReadIndexError> {
        if libdeflater::crc32(&table) != footer.table_crc {
            return Err(ReadIndexError::Damaged { part: "its table" });
        }
        let (entries, provides) = (footer.entries, footer.provides);
        Ok(Self {
            records,
            records_len: footer.records,
            table,
            entries,
            provides,
        })
    }

    /// How many stanzas there are.
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn number(&self, at: usize) -> usize {
        let bytes = self.table.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(u32::from_le_bytes)
            .and_then(|number| usize::try_from(number).ok())
            .unwrap_or(usize::MAX)
    }

    fn short(&self, at: usize) -> u16 {
        let bytes = self.table.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u16::from_le_bytes).unwrap_or_default()
    }

    /// The name whose offset is kept at `at`, its length after it.
    fn name_at(&self, at: usize) -> &[u8] {
        let names = self.entries * ENTRY_BYTES + self.provides * PROVISION_BYTES;
        let start = names.saturating_add(self.number(at));
        let end = start.saturating_add(usize::from(self.short(at + 4)));
        self.table.get(start..end).unwrap_or_default()
    }

    fn entry_name(&self, entry: usize) -> &[u8] {
        self.name_at(entry * ENTRY_BYTES + 16)
    }

    fn provided_name(&self, provision: usize) -> &[u8] {
        self.name_at(self.entries * ENTRY_BYTES + provision * PROVISION_BYTES + 8)
    }

    /// The rows of a part whose name has this hash.
    fn rows(&self, start: usize, row_bytes: usize, count: usize, name: &[u8]) -> Range<usize> {
        let hash = libdeflater::crc32(name) as usize;
        let hash_of = |row: usize| self.number(start + row * row_bytes);
        lower_bound(count, |row| hash_of(row) < hash)..lower_bound(count, |row| hash_of(row) <= hash)
    }

    /// The stanzas of the package with this name.
    pub fn find(&self, name: &str) -> impl Iterator<Item = usize> {
        let rows = self.rows(0, ENTRY_BYTES, self.entries, name.as_bytes());
        rows.filter(move |entry| self.entry_name(*entry) == name.as_bytes())
    }

    /// The stanzas that provide this name, perhaps with repetitions.
    pub fn providers(&self, name: &str) -> impl Iterator<Item = usize> {
        let start = self.entries * ENTRY_BYTES;
        let rows = self.rows(start, PROVISION_BYTES, self.provides, name.as_bytes());
        let rows = rows.filter(move |provision| self.provided_name(*provision) == name.as_bytes());
        let stanza = move |provision: usize| self.number(start + provision * PROVISION_BYTES + 4);
        rows.map(stanza).filter(|entry| *entry < self.entries)
    }

    /// The name of a stanza's package.
    pub fn name(&self, stanza: usize) -> &str {
        std::str::from_utf8(self.entry_name(stanza)).unwrap_or_default()
    }

    /// The stanzas with `Essential: yes`.
    pub fn essential(&self) -> impl Iterator<Item = usize> {
        (0..self.entries).filter(|entry| self.short(entry * ENTRY_BYTES + 22) & ESSENTIAL != 0)
    }

    /// Every package's name and every provided name, in no order, with repetitions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let provided = (0..self.provides).map(|provision| self.provided_name(provision));
        let names = (0..self.entries)
            .map(|entry| self.entry_name(entry))
            .chain(provided);
        names.filter_map(|name| std::str::from_utf8(name).ok())
    }

    /// Read one stanza.
    ///
    /// # Errors
    /// When it is not there as it was written. What the archive wrote wrongly is the inner result.
    pub fn read(&self, stanza: usize) -> Result<Result<Stanza, ParseStanzaError>, ReadIndexError> {
        let damaged = |part| ReadIndexError::Damaged { part };
        let at = stanza * ENTRY_BYTES;
        let (start, length, crc) = (self.number(at + 4), self.number(at + 8), self.number(at + 12));
        let end = start.saturating_add(length);
        if stanza >= self.entries || length > STANZA_BYTES_MAX || end as u64 > self.records_len {
            return Err(damaged("a stanza's place"));
        }
        let owned;
        let bytes = match &self.records {
            Records::Memory(records) => records
                .get(start..end)
                .ok_or_else(|| damaged("a stanza's place"))?,
            Records::File { file, start: first } => {
                let mut buffer = vec![0; length];
                file.read_exact_at(&mut buffer, first + start as u64)
                    .map_err(ReadIndexError::Io)?;
                owned = buffer;
                &owned
            }
        };
        if libdeflater::crc32(bytes) as usize != crc {
            return Err(damaged("a stanza"));
        }
        Ok(Stanza::parse(bytes))
    }
}

/// The first of `0..count` for which `before` does not hold.
fn lower_bound(count: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(name: &str, more: &str) -> String {
        format!(
            "Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x\nSize: 1\nFilename: pool/{name}.deb\n{more}\n"
        )
    }

    fn text() -> String {
        let provides = "Provides: awk, mail (= 2),\n shell\nDescription: one\n two\n";
        stanza("mawk", provides) + &stanza("bash", "Essential: yes\nProvides: shell\n") + &stanza("bash", "")
    }

    fn open(text: &str) -> PackageIndex {
        PackageIndex::from_bytes(build(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn it_does_not_matter_where_the_text_is_cut() {
        let text = format!("\n\n{}\n\n\n{}", text(), text().trim_end());
        let whole = build(text.as_bytes()).unwrap();
        for length in 1..text.len() {
            let mut builder = IndexBuilder::new(0);
            for piece in text.as_bytes().chunks(length) {
                builder.feed(piece).unwrap();
            }
            assert_eq!(builder.finish().unwrap(), whole, "pieces of {length} bytes");
        }
    }

    #[test]
    fn a_stanza_without_end_is_not_collected() {
        let mut builder = IndexBuilder::new(0);
        let piece = vec![b'x'; 64 << 10];
        let fed: Vec<bool> = (0..20).map(|_| builder.feed(&piece).is_ok()).collect();
        assert_eq!(
            fed.iter().position(|good| !good),
            Some(STANZA_BYTES_MAX / (64 << 10))
        );
    }

    #[test]
    fn packages_are_found_by_name_and_by_what_they_provide() {
        let index = open(&text());
        let found = |name: &str| {
            index
                .find(name)
                .map(|at| index.name(at).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (found("bash"), found("mawk").len(), found("awk").len()),
            (vec!["bash".to_owned(); 2], 1, 0)
        );
        let providers = |name: &str| {
            index
                .providers(name)
                .map(|at| index.name(at).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(providers("awk"), ["mawk"]);
        assert_eq!(providers("shell"), ["mawk", "bash"]);
        assert_eq!(providers("x"), Vec::<String>::new());
        let essential: Vec<&str> = index.essential().map(|at| index.name(at)).collect();
        assert_eq!(essential, ["bash"]);
        let mawk = index.find("mawk").next().unwrap();
        assert!(index.read(mawk).unwrap().unwrap().provides[1].version.is_some());
    }

    #[test]
    fn an_index_may_be_empty_or_lack_its_last_line_feed() {
        assert!(open("").is_empty() && open("\n\n\n").is_empty());
        let index = open(stanza("bash", "").trim_end());
        assert!(index.read(0).unwrap().is_ok());
    }

    #[test]
    fn any_changed_byte_is_found() {
        let good = build(text().as_bytes()).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            let Ok(index) = PackageIndex::from_bytes(bad) else {
                continue;
            };
            let wrong = (0..index.len())
                .filter(|stanza| index.read(*stanza).is_err())
                .count();
            let separators = index.len();
            assert!(
                wrong == 1 || good[at] == b'\n' && separators > 0,
                "byte {at} changed unseen"
            );
        }
        for length in 0..good.len() {
            assert!(
                PackageIndex::from_bytes(good[..length].to_vec()).is_err(),
                "cut to {length}"
            );
        }
    }

    #[test]
    fn a_file_is_read_in_place_and_a_damaged_one_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let write = |bytes: &[u8]| {
            use std::io::Write as _;
            File::create(&path).unwrap().write_all(bytes).unwrap();
            PackageIndex::open(File::open(&path).unwrap())
        };
        let good = build(text().as_bytes()).unwrap();
        assert!(write(&good).unwrap().read(0).unwrap().is_ok());
        assert!(write(&[]).is_err() && write(&good[..good.len() - 1]).is_err());
        assert!(write(&[0xff; 4096]).is_err());
    }

    #[test]
    fn wrong_texts_are_refused() {
        let long = stanza("bash", &format!("Tag: {}\n", "x".repeat(1 << 20)));
        assert!(matches!(
            build(long.as_bytes()),
            Err(BuildIndexError::Stanza { at: 0, .. })
        ));
        assert!(build(b"Version: 1\n").is_err());
        assert!(build(b"garbage").is_err());
        assert!(build(&[0, 159, 146, 150]).is_err());
    }
}
