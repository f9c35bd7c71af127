//! Writes wheels, good ones and others.

use std::fmt::Write as _;

use libdeflater::{CompressionLvl, Compressor};
use sha2::{Digest as _, Sha256};

/// One entry of a zip, with what may be a lie.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) flags: u16,
    pub(crate) method: u16,
    /// Added to the size that is stated.
    pub(crate) size_lie: u32,
    pub(crate) checksum_lie: u32,
    /// What the local header says, where it differs.
    pub(crate) local_name: Option<Vec<u8>>,
    pub(crate) extra: Vec<u8>,
}

pub(crate) fn file(name: &str, body: &[u8]) -> Entry {
    Entry {
        name: name.as_bytes().to_vec(),
        body: body.to_vec(),
        mode: if name.ends_with('/') { 0o040_755 } else { 0o100_644 },
        flags: 0,
        method: 8,
        size_lie: 0,
        checksum_lie: 0,
        local_name: None,
        extra: Vec::new(),
    }
}

/// 2026-05-18 21:43:10
const TIME: u16 = (21 << 11) + (43 << 5) + 5;
const DATE: u16 = (46 << 9) + (5 << 5) + 18;
pub(crate) const MTIME: i64 = 1_779_140_590;

impl Entry {
    fn packed(&self) -> Vec<u8> {
        if self.method != 8 {
            return self.body.clone();
        }
        let mut compressor = Compressor::new(CompressionLvl::fastest());
        let mut packed = vec![0; compressor.deflate_compress_bound(self.body.len())];
        let length = compressor.deflate_compress(&self.body, &mut packed).unwrap();
        packed.truncate(length);
        packed
    }

    /// The fields that the local header and the directory have in common.
    fn common(&self, packed: usize, name: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [20, self.flags, self.method, TIME, DATE] {
            bytes.extend(word.to_le_bytes());
        }
        let size = u32::try_from(self.body.len())
            .unwrap()
            .wrapping_add(self.size_lie);
        let checksum = libdeflater::crc32(&self.body).wrapping_add(self.checksum_lie);
        for word in [checksum, u32::try_from(packed).unwrap(), size] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend(u16::try_from(self.extra.len()).unwrap().to_le_bytes());
        bytes
    }
}

pub(crate) fn zip(entries: &[Entry]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let packed = entry.packed();
        let local_name = entry.local_name.as_ref().unwrap_or(&entry.name);
        let offset = u32::try_from(bytes.len()).unwrap();
        bytes.extend(b"PK\x03\x04");
        bytes.extend(entry.common(packed.len(), local_name));
        bytes.extend(local_name);
        bytes.extend(&entry.extra);
        bytes.extend(&packed);
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(entry.common(packed.len(), &entry.name));
        directory.extend([0; 6]);
        directory.extend((entry.mode << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(&entry.name);
        directory.extend(&entry.extra);
    }
    let offset = u32::try_from(bytes.len()).unwrap();
    bytes.extend(&directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(entries.len()).unwrap().to_le_bytes();
    bytes.extend([count, count].concat());
    bytes.extend(u32::try_from(directory.len()).unwrap().to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend([0; 2]);
    bytes
}

pub(crate) fn hash(body: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digest = Sha256::digest(body);
    let bits: Vec<u8> = digest
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let digit = |chunk: &[u8]| {
        chunk
            .iter()
            .chain(&[0; 6])
            .take(6)
            .fold(0_usize, |value, bit| value << 1 | usize::from(*bit))
    };
    let text: String = bits
        .chunks(6)
        .map(|chunk| char::from(ALPHABET[digit(chunk)]))
        .collect();
    format!("sha256={text}")
}

pub(crate) const METADATA: &str =
    "Metadata-Version: 2.4\nName: Made.Thing\nVersion: 1.0\nLicense-Expression: MIT\n\ntext\n";
pub(crate) const WHEEL: &str =
    "Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: true\nTag: py3-none-any\n";

/// The metadata of a wheel with these files, without its `RECORD`.
pub(crate) fn with_metadata(files: &[Entry]) -> Vec<Entry> {
    let mut entries = files.to_vec();
    entries.push(file("made_thing-1.0.dist-info/METADATA", METADATA.as_bytes()));
    entries.push(file("made_thing-1.0.dist-info/WHEEL", WHEEL.as_bytes()));
    entries
}

/// The `RECORD` of these entries.
pub(crate) fn record(entries: &[Entry]) -> String {
    let files = entries.iter().filter(|entry| !entry.name.ends_with(b"/"));
    let mut text = files.fold(String::new(), |mut text, entry| {
        let name = String::from_utf8_lossy(&entry.name);
        let name = if name.contains(',') {
            format!("\"{name}\"")
        } else {
            name.into_owned()
        };
        let _ = writeln!(text, "{name},{},{}", hash(&entry.body), entry.body.len());
        text
    });
    text.push_str("made_thing-1.0.dist-info/RECORD,,\n");
    text
}

/// A wheel of `Made.Thing` 1.0 with these files.
pub(crate) fn wheel(files: &[Entry]) -> Vec<u8> {
    let mut entries = with_metadata(files);
    let record = record(&entries);
    entries.push(file("made_thing-1.0.dist-info/RECORD", record.as_bytes()));
    zip(&entries)
}
