//! The compact form of a `Packages` index: built once for each index, then read in place.
//!
//! ```text
//! records   the stanzas, only the fields that resolution reads, each ended by a blank line
//! entries   one for each stanza, sorted by package name, then by position (20 bytes each)
//! provides  one for each provided name, sorted by that name, then by position (12 bytes each)
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

use super::stanza::{FIELDS, Line, ParseStanzaError, STANZA_BYTES_MAX, Stanza, known_field, read_line};

const MAGIC: &[u8; 8] = b"CPRDEB\x00\x01";
const FOOTER_BYTES: usize = 40;
const ENTRY_BYTES: usize = 20;
const PROVISION_BYTES: usize = 12;
/// The largest index text that is accepted; Debian 13's has 57 MB.
pub const TEXT_BYTES_MAX: u64 = 512 << 20;
const ESSENTIAL: u16 = 1;

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
    Memory(Vec<u8>),
}

/// Build the compact form of a `Packages` text.
pub fn build(text: &[u8]) -> Result<Vec<u8>, BuildIndexError> {
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(BuildIndexError::TooLong { bytes: text.len() });
    }
    let mut builder = Builder {
        records: Vec::with_capacity(text.len() * 5 / 8),
        ..Builder::default()
    };
    for range in stanzas(text) {
        builder.add(range.start, &text[range])?;
    }
    Ok(builder.finish())
}

/// The stanzas' places, without the blank lines between them.
fn stanzas(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let finder = memchr::memmem::Finder::new(b"\n\n");
    let mut at = 0;
    std::iter::from_fn(move || {
        while text.get(at) == Some(&b'\n') {
            at += 1;
        }
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let end = finder.find(rest).map_or(rest.len(), |end| end + 1);
        let range = at..at + end;
        at += end;
        Some(range)
    })
}

#[derive(Default)]
struct Builder<'a> {
    records: Vec<u8>,
    entries: Vec<Entry<'a>>,
    provides: Vec<(&'a [u8], usize)>,
}

struct Entry<'a> {
    name: &'a [u8],
    record: Range<usize>,
    crc: u32,
    essential: bool,
}

impl<'a> Builder<'a> {
    fn add(&mut self, at: usize, stanza: &'a [u8]) -> Result<(), BuildIndexError> {
        let fault = |source| BuildIndexError::Stanza { at, source };
        if stanza.len() > STANZA_BYTES_MAX {
            return Err(fault(ParseStanzaError::TooLong { bytes: stanza.len() }));
        }
        let start = self.records.len();
        let (mut name, mut essential, mut provided): (&[u8], _, Option<Range<usize>>) = (b"", false, None);
        let (mut keep, mut line_start) = (false, 0);
        let line_ends = memchr::memchr_iter(b'\n', stanza).chain(ends_unfinished(stanza));
        for line_end in line_ends {
            let line = &stanza[line_start..line_end];
            match read_line(line).map_err(fault)? {
                Line::Continuation => {
                    if let Some(range) = provided
                        .as_mut()
                        .filter(|range| keep && range.end + 1 == line_start)
                    {
                        range.end = line_end;
                    }
                }
                Line::Field(field, value) => {
                    let known = known_field(field);
                    keep = known.is_some();
                    match known.map(|index| FIELDS[index]) {
                        Some("Package") => name = value,
                        Some("Essential") => essential = value == b"yes",
                        Some("Provides") => provided = Some(line_start + field.len() + 1..line_end),
                        _ => {}
                    }
                }
            }
            if keep {
                self.records.extend_from_slice(line);
                self.records.push(b'\n');
            }
            line_start = line_end + 1;
        }
        if name.is_empty() {
            return Err(fault(ParseStanzaError::Missing { field: "Package" }));
        }
        if name.len() > 1024 {
            return Err(BuildIndexError::Name {
                at,
                bytes: name.len(),
            });
        }
        if let Some(range) = provided {
            self.add_provides(&stanza[range]);
        }
        let record = start..self.records.len();
        self.records.push(b'\n');
        let crc = libdeflater::crc32(&self.records[record.clone()]);
        self.entries.push(Entry {
            name,
            record,
            crc,
            essential,
        });
        Ok(())
    }

    /// Names only: versions are looked at when the stanza is read.
    fn add_provides(&mut self, field: &'a [u8]) {
        for piece in field.split(|byte| *byte == b',') {
            let piece = piece.trim_ascii();
            let end = piece
                .iter()
                .position(|byte| byte.is_ascii_whitespace() || b":([<".contains(byte));
            let name = &piece[..end.unwrap_or(piece.len())];
            if !name.is_empty() && name.len() <= 1024 {
                self.provides.push((name, self.entries.len()));
            }
        }
    }

    fn finish(self) -> Vec<u8> {
        let Self {
            mut records,
            entries,
            mut provides,
        } = self;
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|position| (entries[*position].name, *position));
        let mut rank = vec![0; entries.len()];
        for (sorted, position) in order.iter().enumerate() {
            rank[*position] = sorted;
        }
        provides.sort_unstable();
        provides.dedup();

        let records_len = records.len();
        let (mut names, mut last) = (Vec::new(), (&b""[..], 0));
        for position in &order {
            let entry = &entries[*position];
            put(&mut records, entry.record.start);
            put(&mut records, entry.record.len());
            records.extend_from_slice(&entry.crc.to_le_bytes());
            put_name(&mut records, &mut names, &mut last, entry.name);
            records.extend_from_slice(&(if entry.essential { ESSENTIAL } else { 0 }).to_le_bytes());
        }
        for (name, position) in &provides {
            put(&mut records, rank[*position]);
            put_name(&mut records, &mut names, &mut last, name);
            records.extend_from_slice(&[0; 2]);
        }
        records.extend_from_slice(&names);

        let table_crc = libdeflater::crc32(&records[records_len..]);
        let footer_start = records.len();
        records.extend_from_slice(MAGIC);
        records.extend_from_slice(&(records_len as u64).to_le_bytes());
        put(&mut records, entries.len());
        put(&mut records, provides.len());
        put(&mut records, names.len());
        put(&mut records, 0);
        records.extend_from_slice(&table_crc.to_le_bytes());
        let footer_crc = libdeflater::crc32(&records[footer_start..]);
        records.extend_from_slice(&footer_crc.to_le_bytes());
        records
    }
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
    pub fn from_bytes(mut bytes: Vec<u8>) -> Result<Self, ReadIndexError> {
        let damaged = |part| ReadIndexError::Damaged { part };
        let footer_start = bytes
            .len()
            .checked_sub(FOOTER_BYTES)
            .ok_or_else(|| damaged("its length"))?;
        let footer = Footer::read(&bytes[footer_start..]).ok_or_else(|| damaged("its footer"))?;
        bytes.truncate(footer_start);
        let table_start = footer
            .table_len()
            .and_then(|length| footer_start.checked_sub(length));
        let table_start = table_start.filter(|start| *start as u64 == footer.records);
        let table = bytes.split_off(table_start.ok_or_else(|| damaged("its length"))?);
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
        self.name_at(entry * ENTRY_BYTES + 12)
    }

    fn provided_name(&self, provision: usize) -> &[u8] {
        self.name_at(self.entries * ENTRY_BYTES + provision * PROVISION_BYTES + 4)
    }

    /// The stanzas of the package with this name.
    pub fn find(&self, name: &str) -> Range<usize> {
        let name = name.as_bytes();
        lower_bound(self.entries, |entry| self.entry_name(entry) < name)..lower_bound(self.entries, |entry| {
            self.entry_name(entry) <= name
        })
    }

    /// The stanzas that provide this name.
    pub fn providers(&self, name: &str) -> impl Iterator<Item = usize> {
        let name = name.as_bytes();
        let first = lower_bound(self.provides, |provision| self.provided_name(provision) < name);
        let end = lower_bound(self.provides, |provision| self.provided_name(provision) <= name);
        let base = self.entries * ENTRY_BYTES;
        let stanza = move |provision: usize| self.number(base + provision * PROVISION_BYTES);
        (first..end).map(stanza).filter(|entry| *entry < self.entries)
    }

    /// The name of a stanza's package.
    pub fn name(&self, stanza: usize) -> &str {
        std::str::from_utf8(self.entry_name(stanza)).unwrap_or_default()
    }

    /// The stanzas with `Essential: yes`.
    pub fn essential(&self) -> impl Iterator<Item = usize> {
        (0..self.entries).filter(|entry| self.short(entry * ENTRY_BYTES + 18) & ESSENTIAL != 0)
    }

    /// Every package's name and every provided name, each sort in ascending order, with repetitions.
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
        let (start, length, crc) = (self.number(at), self.number(at + 4), self.number(at + 8));
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
    fn packages_are_found_by_name_and_by_what_they_provide() {
        let index = open(&text());
        assert_eq!(
            (index.find("bash"), index.find("mawk"), index.find("awk").len()),
            (0..2, 2..3, 0)
        );
        let providers = |name: &str| {
            index
                .providers(name)
                .map(|at| index.name(at).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (providers("awk"), providers("shell"), providers("x")),
            (
                vec!["mawk".to_owned()],
                vec!["mawk".to_owned(), "bash".to_owned()],
                vec![]
            )
        );
        assert_eq!(index.essential().collect::<Vec<_>>(), [0]);
        assert!(index.read(2).unwrap().unwrap().provides[1].version.is_some());
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
