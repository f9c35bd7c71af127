//! What one ELF file says to the loader: which libraries it asks for, where, and what it is itself.
//!
//! Only headers and the dynamic section are read, through the program headers as the loader does, never the section
//! headers. The bytes are hostile: each part is bounded, and whatever makes no sense is as if it were not there.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use elf::abi;
use elf::dynamic::DynamicTable;
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::gnu_symver::{VerDefIterator, VerNeedIterator};
use elf::segment::{ProgramHeader, SegmentTable};
use serde::{Deserialize, Serialize};

const HEADER_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SEGMENTS_MAX: u16 = 256;
const DYNAMIC_BYTES_MAX: usize = 64 << 10;
const STRING_BYTES_MAX: usize = 4 << 10;
const VERSION_BYTES_MAX: usize = 256 << 10;
const NEEDED_MAX: usize = 512;
const VERSIONS_MAX: usize = 4_096;

/// Where the bytes of a file are.
#[derive(Clone, Copy)]
pub(crate) enum ElfBytes<'a> {
    /// All in memory.
    Memory(&'a [u8]),
    /// In a file, of which only what is needed is read.
    File(&'a File),
}

/// What a file of the image's machine says to the loader.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ElfFile {
    /// `DT_SONAME`
    pub(crate) soname: Option<String>,
    /// `DT_NEEDED`, in order.
    pub(crate) needed: Vec<String>,
    /// The entries of `DT_RUNPATH`, or of `DT_RPATH` where there is none.
    pub(crate) search: Vec<String>,
    /// The program's loader.
    pub(crate) interpreter: Option<String>,
    /// Versions of symbols that are asked for: the library, and the version.
    pub(crate) versions_needed: BTreeSet<(String, String)>,
    /// Versions of symbols that it has.
    pub(crate) versions_defined: BTreeSet<String>,
}

/// Read a file; nothing if it is not for the loader of the image's machine (x86-64, little-endian, 64 bits).
pub(crate) fn read(bytes: ElfBytes<'_>) -> Option<ElfFile> {
    let header = bytes.at(0, HEADER_BYTES)?;
    let ident = parse_ident::<LittleEndian>(&header).ok()?;
    let header = FileHeader::parse_tail(ident, header.get(abi::EI_NIDENT..)?).ok()?;
    let loadable = matches!(header.e_type, abi::ET_DYN | abi::ET_EXEC);
    let ours = header.class == Class::ELF64 && header.e_machine == abi::EM_X86_64 && loadable;
    if !ours || usize::from(header.e_phentsize) != SEGMENT_BYTES || header.e_phnum > SEGMENTS_MAX {
        return None;
    }
    let table = bytes.at(header.e_phoff, usize::from(header.e_phnum) * SEGMENT_BYTES)?;
    let segments: Vec<ProgramHeader> = SegmentTable::new(LittleEndian, Class::ELF64, &table)
        .iter()
        .collect();
    Dynamic::read(bytes, &segments).map(|dynamic| dynamic.file(&segments))
}

impl<'a> ElfBytes<'a> {
    /// Exactly this many bytes.
    fn at(self, offset: u64, length: usize) -> Option<Cow<'a, [u8]>> {
        let piece = self.up_to(offset, length)?;
        (piece.len() == length).then_some(piece)
    }

    /// This many bytes, or those that there are.
    fn up_to(self, offset: u64, length: usize) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Memory(bytes) => {
                let rest = bytes.get(usize::try_from(offset).ok()?..)?;
                Some(Cow::Borrowed(&rest[..length.min(rest.len())]))
            }
            Self::File(file) => {
                let mut piece = vec![0; length];
                let mut filled = 0;
                while filled < length {
                    let at = offset.checked_add(filled as u64)?;
                    match file.read_at(&mut piece[filled..], at).ok()? {
                        0 => break,
                        read => filled += read,
                    }
                }
                piece.truncate(filled);
                Some(Cow::Owned(piece))
            }
        }
    }
}

/// The dynamic section, its addresses as offsets.
struct Dynamic<'a> {
    bytes: ElfBytes<'a>,
    entries: Vec<(i64, u64)>,
    strings: u64,
    strings_len: u64,
}

impl<'a> Dynamic<'a> {
    fn read(bytes: ElfBytes<'a>, segments: &[ProgramHeader]) -> Option<Self> {
        let segment = segments.iter().find(|segment| segment.p_type == abi::PT_DYNAMIC);
        let Some(segment) = segment else {
            // A static program asks for nothing.
            return Some(Self {
                bytes,
                entries: Vec::new(),
                strings: 0,
                strings_len: 0,
            });
        };
        let length = usize::try_from(segment.p_filesz).ok()?.min(DYNAMIC_BYTES_MAX);
        let table = bytes.up_to(segment.p_offset, length)?;
        let table = DynamicTable::new(LittleEndian, Class::ELF64, &table);
        let entries: Vec<(i64, u64)> = table
            .iter()
            .map(|entry| (entry.d_tag, entry.d_val()))
            .take_while(|(tag, _)| *tag != abi::DT_NULL)
            .collect();
        let mut dynamic = Self {
            bytes,
            entries,
            strings: 0,
            strings_len: 0,
        };
        if let Some(address) = dynamic.value(abi::DT_STRTAB) {
            dynamic.strings = offset_of(segments, address)?;
            dynamic.strings_len = dynamic.value(abi::DT_STRSZ).unwrap_or(0);
        }
        Some(dynamic)
    }

    fn value(&self, tag: i64) -> Option<u64> {
        self.entries
            .iter()
            .find(|entry| entry.0 == tag)
            .map(|entry| entry.1)
    }

    /// A string of the table, where it is one that a path or a name may be.
    fn string(&self, at: u64) -> Option<String> {
        let room = usize::try_from(self.strings_len.checked_sub(at)?).ok()?;
        let offset = self.strings.checked_add(at)?;
        let piece = self.bytes.up_to(offset, room.min(STRING_BYTES_MAX))?;
        let end = piece.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(&piece[..end]).ok()?;
        let plain = !text.is_empty() && !text.chars().any(char::is_control);
        plain.then(|| text.to_owned())
    }

    fn strings(&self, tag: i64) -> impl Iterator<Item = String> {
        let entries = self.entries.iter().filter(move |entry| entry.0 == tag);
        entries.take(NEEDED_MAX).filter_map(|entry| self.string(entry.1))
    }

    fn file(&self, segments: &[ProgramHeader]) -> ElfFile {
        let search = self.strings(abi::DT_RUNPATH).next();
        let search = search
            .or_else(|| self.strings(abi::DT_RPATH).next())
            .unwrap_or_default();
        let interpreter = segments.iter().find(|segment| segment.p_type == abi::PT_INTERP);
        let interpreter = interpreter.and_then(|segment| {
            let length = usize::try_from(segment.p_filesz).ok()?.min(STRING_BYTES_MAX);
            let path = self.bytes.at(segment.p_offset, length)?;
            let path = std::str::from_utf8(path.strip_suffix(b"\0")?).ok()?;
            Some(path.to_owned())
        });
        ElfFile {
            soname: self.strings(abi::DT_SONAME).next(),
            needed: self.strings(abi::DT_NEEDED).collect(),
            search: search
                .split(':')
                .filter(|entry| !entry.is_empty())
                .map(str::to_owned)
                .collect(),
            interpreter,
            versions_needed: self.versions_needed(segments).unwrap_or_default(),
            versions_defined: self.versions_defined(segments).unwrap_or_default(),
        }
    }

    /// The part that a tag's address leads to, and how many entries it has.
    fn version_part(
        &self,
        segments: &[ProgramHeader],
        address: i64,
        count: i64,
    ) -> Option<(Cow<'a, [u8]>, u64)> {
        let offset = offset_of(segments, self.value(address)?)?;
        let part = self.bytes.up_to(offset, VERSION_BYTES_MAX)?;
        Some((part, self.value(count)?.min(VERSIONS_MAX as u64)))
    }

    fn versions_needed(&self, segments: &[ProgramHeader]) -> Option<BTreeSet<(String, String)>> {
        let (part, count) = self.version_part(segments, abi::DT_VERNEED, abi::DT_VERNEEDNUM)?;
        let needs = VerNeedIterator::new(LittleEndian, Class::ELF64, count, 0, &part);
        let named = needs.flat_map(|(need, versions)| {
            // A weak version may be missing.
            let strong = versions.filter(|version| version.vna_flags & abi::VER_FLG_WEAK == 0);
            strong.map(move |version| (u64::from(need.vn_file), u64::from(version.vna_name)))
        });
        let named: BTreeSet<(u64, u64)> = named.take(VERSIONS_MAX).collect();
        let texts = named
            .into_iter()
            .filter_map(|(file, version)| self.string(file).zip(self.string(version)));
        Some(texts.collect())
    }

    fn versions_defined(&self, segments: &[ProgramHeader]) -> Option<BTreeSet<String>> {
        let (part, count) = self.version_part(segments, abi::DT_VERDEF, abi::DT_VERDEFNUM)?;
        let defined = VerDefIterator::new(LittleEndian, Class::ELF64, count, 0, &part);
        let named = defined.filter_map(|(_, mut names)| names.next());
        let named: BTreeSet<u64> = named
            .take(VERSIONS_MAX)
            .map(|name| u64::from(name.vda_name))
            .collect();
        Some(named.into_iter().filter_map(|name| self.string(name)).collect())
    }
}

/// Where in the file an address of memory is.
fn offset_of(segments: &[ProgramHeader], address: u64) -> Option<u64> {
    let loaded = segments.iter().filter(|segment| segment.p_type == abi::PT_LOAD);
    let mut offsets = loaded.filter_map(|segment| {
        let into = address.checked_sub(segment.p_vaddr)?;
        (into < segment.p_filesz).then(|| segment.p_offset.checked_add(into))?
    });
    offsets.next()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use testkit::ElfLibrary;

    use super::*;

    fn made() -> ElfLibrary {
        ElfLibrary::new()
            .soname("liba.so.1")
            .needs("libc.so.6")
            .needs("libb.so.2")
            .run_path("$ORIGIN/../a.libs:/opt/lib::")
            .needs_version("libc.so.6", "GLIBC_2.34")
            .needs_version("libb.so.2", "B_1")
            .defines_version("A_1")
            .defines_version("A_2")
    }

    #[test]
    fn what_the_loader_reads_is_read() {
        let bytes = made().build();
        let elf = read(ElfBytes::Memory(&bytes)).unwrap();
        assert_eq!(elf.soname.as_deref(), Some("liba.so.1"));
        assert_eq!(elf.needed, ["libc.so.6", "libb.so.2"]);
        assert_eq!(elf.search, ["$ORIGIN/../a.libs", "/opt/lib"]);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let needed = BTreeSet::from([pair("libb.so.2", "B_1"), pair("libc.so.6", "GLIBC_2.34")]);
        assert_eq!(elf.versions_needed, needed);
        assert_eq!(
            elf.versions_defined,
            BTreeSet::from(["A_1".to_owned(), "A_2".to_owned()])
        );
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        assert_eq!(read(ElfBytes::File(&file)), Some(elf));
    }

    #[test]
    fn other_machines_and_other_files_are_nothing() {
        assert_eq!(read(ElfBytes::Memory(&made().machine(183).build())), None);
        for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0x7f; 200]] {
            assert_eq!(read(ElfBytes::Memory(bytes)), None);
        }
    }

    #[test]
    fn hostile_bytes_end_in_something_or_nothing() {
        let good = made().build();
        for length in 0..good.len() {
            read(ElfBytes::Memory(&good[..length]));
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                read(ElfBytes::Memory(&bad));
                // Offsets, sizes and counts have eight bytes.
                let end = (at + 8).min(bad.len());
                bad[at..end].fill(value);
                read(ElfBytes::Memory(&bad));
            }
        }
    }

    /// The C library of this machine, which no builder of ours made.
    #[test]
    fn a_real_library_is_read() {
        let Ok(file) = File::open("/lib/x86_64-linux-gnu/libc.so.6") else {
            eprintln!("SKIPPED: there is no libc.so.6 where Debian has it");
            return;
        };
        let elf = read(ElfBytes::File(&file)).unwrap();
        assert_eq!(elf.soname.as_deref(), Some("libc.so.6"));
        assert_eq!(elf.needed, ["ld-linux-x86-64.so.2"]);
        assert!(
            elf.versions_defined.contains("GLIBC_2.34"),
            "{:?}",
            elf.versions_defined
        );
    }
}
