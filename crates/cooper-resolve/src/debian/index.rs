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

mod build;

use super::stanza::{ParseStanzaError, STANZA_BYTES_MAX, Stanza};
pub use build::{BuildIndexError, IndexBuilder, build};

const MAGIC: &[u8; 8] = b"CPRDEB\x00\x03";
const FOOTER_BYTES: usize = 40;
const ENTRY_BYTES: usize = 24;
const PROVISION_BYTES: usize = 16;
/// The largest index text that is accepted; Debian 13's has 57 MB.
pub const TEXT_BYTES_MAX: u64 = 512 << 20;
const ESSENTIAL: u16 = 1;

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
