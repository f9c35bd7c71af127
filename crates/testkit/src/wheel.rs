//! A builder of wheels (PEP 427), well-formed unless told otherwise.

use std::fmt::Write as _;

use cooper_core::Digest;

use crate::zip::{ZipEntry, write_zip};

/// The field of a licence expression (PEP 639).
const LICENCE: &str = "License-Expression";

/// What the index says of a file's SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hashes {
    /// The truth.
    #[default]
    Right,
    /// The digest of something else.
    Wrong,
    /// Nothing.
    Missing,
}

/// What a wheel's RECORD says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Record {
    /// The truth.
    #[default]
    Right,
    /// There is none.
    Absent,
    /// A wrong digest for this path.
    WrongHash(String),
    /// A wrong size for this path.
    WrongSize(String),
    /// Nothing of this path.
    Without(String),
    /// Also a path that is not in the wheel.
    With(String),
    /// This text.
    Text(String),
}

/// The METADATA beside a wheel.
#[derive(Debug, Clone)]
pub(crate) enum SideMetadata {
    /// The wheel's own.
    Right,
    /// This text.
    Text(String),
}

/// A wheel, and what the index says of it.
#[derive(Debug, Clone)]
pub struct Wheel {
    pub(crate) name: String,
    pub(crate) version: String,
    tag: String,
    metadata: Vec<(String, String)>,
    metadata_text: Option<String>,
    entry_points: Vec<(String, String)>,
    entries: Vec<ZipEntry>,
    raw: Vec<ZipEntry>,
    record: Record,
    filename: Option<String>,
    pub(crate) requires_python: Option<String>,
    pub(crate) yanked: Option<String>,
    pub(crate) hashes: Hashes,
    pub(crate) uploaded: Option<String>,
    /// What is served beside the wheel.
    pub(crate) side_metadata: Option<SideMetadata>,
    pub(crate) claimed_size: Option<u64>,
}

impl Wheel {
    /// A pure wheel (`py3-none-any`) without a file of its own; `name` as its author writes it.
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            tag: "py3-none-any".to_owned(),
            metadata: vec![(LICENCE.to_owned(), "MIT".to_owned())],
            metadata_text: None,
            entry_points: Vec::new(),
            entries: Vec::new(),
            raw: Vec::new(),
            record: Record::Right,
            filename: None,
            requires_python: None,
            yanked: None,
            hashes: Hashes::Right,
            uploaded: Some("2025-01-01T00:00:00.000000Z".to_owned()),
            side_metadata: None,
            claimed_size: None,
        }
    }

    /// The distribution part of file names: `_` for every run of `-`, `_` and `.`, lower case.
    fn stem(&self) -> String {
        format!("{}-{}", normalised(&self.name).replace('-', "_"), self.version)
    }

    /// Set the compatibility tag, such as `cp313-cp313-manylinux_2_28_x86_64`.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        tag.clone_into(&mut self.tag);
        self
    }

    /// A package with this source as its `__init__.py`.
    #[must_use]
    pub fn package(self, name: &str, source: &str) -> Self {
        self.file(&format!("{name}/__init__.py"), source)
    }

    /// A file.
    #[must_use]
    pub fn file(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.entries.push(ZipEntry::file(path, content));
        self
    }

    /// A file with these permission bits.
    #[must_use]
    pub fn file_mode(mut self, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        self.entries.push(ZipEntry::file(path, content).mode(mode));
        self
    }

    /// A file of the `.data` directory: `scheme` is `scripts`, `data`, `purelib`, `platlib` or `headers`.
    #[must_use]
    pub fn data(self, scheme: &str, path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        let path = format!("{}.data/{scheme}/{path}", self.stem());
        self.file_mode(&path, content, mode)
    }

    /// A file of the `.dist-info` directory.
    #[must_use]
    pub fn dist_info(self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        let path = format!("{}.dist-info/{path}", self.stem());
        self.file(&path, content)
    }

    /// An entry written as it is, after all others and not in RECORD.
    #[must_use]
    pub fn raw_entry(mut self, entry: ZipEntry) -> Self {
        self.raw.push(entry);
        self
    }

    /// A `Requires-Dist` line.
    #[must_use]
    pub fn requires(self, requirement: &str) -> Self {
        self.field("Requires-Dist", requirement)
    }

    /// An extra and what it requires.
    #[must_use]
    pub fn extra(self, extra: &str, requirement: &str) -> Self {
        let separator = if requirement.contains(';') { " and" } else { " ;" };
        self.field("Provides-Extra", extra)
            .requires(&format!("{requirement}{separator} extra == \"{extra}\""))
    }

    /// A line of METADATA.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A licence expression (PEP 639).
    #[must_use]
    pub fn licence(mut self, expression: &str) -> Self {
        self.metadata.retain(|(name, _)| name != LICENCE);
        self.field(LICENCE, expression)
    }

    /// Nothing about its licence.
    #[must_use]
    pub fn without_licence(mut self) -> Self {
        self.metadata.retain(|(name, _)| name != LICENCE);
        self
    }

    /// `Requires-Python`, in METADATA and in the index.
    #[must_use]
    pub fn requires_python(mut self, specifiers: &str) -> Self {
        self.requires_python = Some(specifiers.to_owned());
        self
    }

    /// The whole text of METADATA.
    #[must_use]
    pub fn metadata_text(mut self, text: &str) -> Self {
        self.metadata_text = Some(text.to_owned());
        self
    }

    /// An entry point: group `console_scripts`, line `tool = package:main`.
    #[must_use]
    pub fn entry_point(mut self, group: &str, line: &str) -> Self {
        self.entry_points.push((group.to_owned(), line.to_owned()));
        self
    }

    /// What RECORD says.
    #[must_use]
    pub fn record(mut self, record: Record) -> Self {
        self.record = record;
        self
    }

    /// Another file name than name, version and tag give.
    #[must_use]
    pub fn filename(mut self, filename: &str) -> Self {
        self.filename = Some(filename.to_owned());
        self
    }

    /// Withdrawn, with a reason that may be empty.
    #[must_use]
    pub fn yanked(mut self, reason: &str) -> Self {
        self.yanked = Some(reason.to_owned());
        self
    }

    /// What the index says of the digest.
    #[must_use]
    pub fn hashes(mut self, hashes: Hashes) -> Self {
        self.hashes = hashes;
        self
    }

    /// Another size in the index than the file has.
    #[must_use]
    pub fn claimed_size(mut self, size: u64) -> Self {
        self.claimed_size = Some(size);
        self
    }

    /// The index's `upload-time`.
    #[must_use]
    pub fn uploaded(mut self, time: &str) -> Self {
        self.uploaded = Some(time.to_owned());
        self
    }

    /// No `upload-time` in the index.
    #[must_use]
    pub fn without_upload_time(mut self) -> Self {
        self.uploaded = None;
        self
    }

    /// Serve METADATA beside the wheel and announce it (PEP 658).
    #[must_use]
    pub fn with_metadata_file(mut self) -> Self {
        self.side_metadata = Some(SideMetadata::Right);
        self
    }

    /// Serve this text beside the wheel and announce it as its METADATA.
    #[must_use]
    pub fn with_other_metadata_file(mut self, text: &str) -> Self {
        self.side_metadata = Some(SideMetadata::Text(text.to_owned()));
        self
    }

    /// What is served beside the wheel.
    pub(crate) fn served_metadata(&self) -> Option<String> {
        match self.side_metadata.as_ref()? {
            SideMetadata::Right => Some(self.metadata()),
            SideMetadata::Text(text) => Some(text.clone()),
        }
    }

    /// `mechanize-0.4.10-py3-none-any.whl`
    pub fn file_name(&self) -> String {
        self.filename
            .clone()
            .unwrap_or_else(|| format!("{}-{}.whl", self.stem(), self.tag))
    }

    /// The text of METADATA.
    pub fn metadata(&self) -> String {
        if let Some(text) = &self.metadata_text {
            return text.clone();
        }
        let mut text = format!(
            "Metadata-Version: 2.4\nName: {}\nVersion: {}\n",
            self.name, self.version
        );
        if let Some(specifiers) = &self.requires_python {
            let _ = writeln!(text, "Requires-Python: {specifiers}");
        }
        for (name, value) in &self.metadata {
            let _ = writeln!(text, "{name}: {value}");
        }
        text + "\nMade for tests.\n"
    }

    fn entry_points_text(&self) -> String {
        let mut groups: Vec<&str> = self
            .entry_points
            .iter()
            .map(|(group, _)| group.as_str())
            .collect();
        groups.sort_unstable();
        groups.dedup();
        let mut text = String::new();
        for group in groups {
            let _ = writeln!(text, "[{group}]");
            for (_, line) in self.entry_points.iter().filter(|(known, _)| known == group) {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }

    /// The bytes of the wheel.
    pub fn build(&self) -> Vec<u8> {
        let folder = format!("{}.dist-info", self.stem());
        let mut entries = self.entries.clone();
        entries.push(ZipEntry::file(&format!("{folder}/METADATA"), self.metadata()));
        entries.push(ZipEntry::file(&format!("{folder}/WHEEL"), self.wheel_text()));
        if !self.entry_points.is_empty() {
            entries.push(ZipEntry::file(
                &format!("{folder}/entry_points.txt"),
                self.entry_points_text(),
            ));
        }
        if self.record != Record::Absent {
            let path = format!("{folder}/RECORD");
            entries.push(ZipEntry::file(&path, self.record_text(&entries, &path)));
        }
        entries.extend(self.raw.iter().cloned());
        write_zip(&entries)
    }

    fn wheel_text(&self) -> String {
        let pure = self.tag.ends_with("-none-any");
        let mut text = format!("Wheel-Version: 1.0\nGenerator: testkit\nRoot-Is-Purelib: {pure}\n");
        for tag in expanded_tags(&self.tag) {
            let _ = writeln!(text, "Tag: {tag}");
        }
        text
    }

    fn record_text(&self, entries: &[ZipEntry], own_path: &str) -> String {
        if let Record::Text(text) = &self.record {
            return text.clone();
        }
        let mut text = String::new();
        for entry in entries {
            let (mut digest, mut size) = (Digest::of(&entry.content), entry.content.len());
            match &self.record {
                Record::WrongHash(path) if *path == entry.name => digest = Digest::of(b"something else"),
                Record::WrongSize(path) if *path == entry.name => size += 1,
                Record::Without(path) if *path == entry.name => continue,
                _ => {}
            }
            let _ = writeln!(text, "{},sha256={},{size}", entry.name, base64(digest.as_bytes()));
        }
        if let Record::With(path) = &self.record {
            let _ = writeln!(
                text,
                "{path},sha256={},9",
                base64(Digest::of(b"not there").as_bytes())
            );
        }
        text + own_path + ",,\n"
    }
}

/// `py2.py3-none-any` is two tags.
fn expanded_tags(tag: &str) -> Vec<String> {
    let parts: Vec<Vec<&str>> = tag.split('-').map(|part| part.split('.').collect()).collect();
    let [interpreters, abis, platforms] = parts.as_slice() else {
        return vec![tag.to_owned()];
    };
    let mut tags = Vec::new();
    for interpreter in interpreters {
        for abi in abis {
            tags.extend(
                platforms
                    .iter()
                    .map(|platform| format!("{interpreter}-{abi}-{platform}")),
            );
        }
    }
    tags
}

/// A project's name as PEP 503 normalises it.
pub(crate) fn normalised(name: &str) -> String {
    let parts: Vec<&str> = name
        .split(['-', '_', '.'])
        .filter(|part| !part.is_empty())
        .collect();
    parts.join("-").to_ascii_lowercase()
}

/// URL-safe base 64 without padding, as RECORD has it.
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group
            .iter()
            .fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - group.len()));
        for position in 0..=group.len() {
            text.push(char::from(LETTERS[bits >> (18 - 6 * position) & 63]));
        }
    }
    text
}
