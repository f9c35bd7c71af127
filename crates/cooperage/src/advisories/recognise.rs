//! What a file is, by what is in it: its name says nothing.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use cooper_core::Digest;
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::Digest as _;

use super::error::SourceFault;

/// A list, a document or scores as a whole; archives are read from their files.
pub(super) const TEXT_BYTES_MAX: u64 = 512 << 20;
/// An archive as it is on the disk.
pub(super) const ARCHIVE_BYTES_MAX: u64 = 4 << 30;

/// What a file is.
#[derive(Debug)]
pub(super) enum Content {
    /// A zip archive, of OSV records presumably.
    Archive(File),
    /// One OSV record.
    Record(Vec<u8>),
    /// A list of exploited vulnerabilities.
    Exploited(Vec<u8>),
    /// EPSS scores.
    Epss(Vec<u8>),
    /// Names of popular distributions.
    Popular(Vec<u8>),
    /// An `OpenVEX` document.
    Vex(Vec<u8>),
}

/// The keys by which JSON documents are told from each other.
#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "@context")]
    context: Option<IgnoredAny>,
    statements: Option<IgnoredAny>,
    #[serde(rename = "catalogVersion")]
    catalogue: Option<IgnoredAny>,
    vulnerabilities: Option<IgnoredAny>,
    rows: Option<IgnoredAny>,
    id: Option<IgnoredAny>,
    modified: Option<IgnoredAny>,
}

fn failed(operation: &'static str) -> impl Fn(std::io::Error) -> SourceFault {
    move |source| SourceFault::Read { operation, source }
}

/// The digest of a file's bytes.
pub(super) fn digest(path: &Path) -> Result<Digest, SourceFault> {
    let mut file = File::open(path).map_err(failed("open"))?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(failed("read"))?;
        if read == 0 {
            return Ok(Digest::from_bytes(hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
        if bytes > ARCHIVE_BYTES_MAX {
            return Err(too_large(ARCHIVE_BYTES_MAX));
        }
    }
}

const fn too_large(max: u64) -> SourceFault {
    SourceFault::TooLarge { what: "bytes", max }
}

/// Look what a file is.
pub(super) fn recognise(path: &Path) -> Result<Content, SourceFault> {
    let mut file = File::open(path).map_err(failed("open"))?;
    let mut head = Vec::new();
    file.by_ref()
        .take(4)
        .read_to_end(&mut head)
        .map_err(failed("read"))?;
    file.rewind().map_err(failed("read"))?;
    if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        return Ok(Content::Archive(file));
    }
    let bytes = if head.starts_with(b"\x1f\x8b") {
        bounded(flate2::read::MultiGzDecoder::new(file), "unpack")?
    } else {
        bounded(file, "read")?
    };
    of_bytes(bytes).ok_or(SourceFault::Unrecognised)
}

fn bounded(reader: impl std::io::Read, operation: &'static str) -> Result<Vec<u8>, SourceFault> {
    let mut bytes = Vec::new();
    let mut reader = reader.take(TEXT_BYTES_MAX + 1);
    reader.read_to_end(&mut bytes).map_err(failed(operation))?;
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        return Err(too_large(TEXT_BYTES_MAX));
    }
    Ok(bytes)
}

/// Documents by their keys, tables by their header.
pub(super) fn of_bytes(mut bytes: Vec<u8>) -> Option<Content> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if bytes.starts_with(MARK) {
        bytes.drain(..MARK.len());
    }
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if *first != b'{' {
        return of_table(bytes);
    }
    let shape: Shape = serde_json::from_slice(&bytes).ok()?;
    Some(if shape.context.is_some() && shape.statements.is_some() {
        Content::Vex(bytes)
    } else if shape.vulnerabilities.is_some() && shape.catalogue.is_some() {
        Content::Exploited(bytes)
    } else if shape.rows.is_some() {
        Content::Popular(bytes)
    } else if shape.id.is_some() && shape.modified.is_some() {
        Content::Record(bytes)
    } else {
        return None;
    })
}

fn of_table(bytes: Vec<u8>) -> Option<Content> {
    let head = &bytes[..bytes.len().min(4096)];
    let head = String::from_utf8_lossy(head);
    let header = head
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with('#'))?;
    let columns: Vec<&str> = header
        .split(',')
        .map(|cell| cell.trim().trim_matches('"'))
        .collect();
    if columns.starts_with(&["cve", "epss"]) {
        return Some(Content::Epss(bytes));
    }
    columns.contains(&"project").then_some(Content::Popular(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_what_is_in_them() {
        let of = |text: &str| match of_bytes(text.as_bytes().to_vec()) {
            Some(Content::Archive(_)) => "archive",
            Some(Content::Record(_)) => "record",
            Some(Content::Exploited(_)) => "exploited",
            Some(Content::Epss(_)) => "epss",
            Some(Content::Popular(_)) => "popular",
            Some(Content::Vex(_)) => "vex",
            None => "nothing",
        };
        assert_eq!(of(r#" {"id":"X","modified":"x","affected":[]}"#), "record");
        assert_eq!(of(r#"{"catalogVersion":"1","vulnerabilities":[]}"#), "exploited");
        assert_eq!(of(r#"{"last_update":"x","rows":[{"project":"a"}]}"#), "popular");
        assert_eq!(
            of(r#"{"@context":"https://openvex.dev/ns","statements":[]}"#),
            "vex"
        );
        assert_eq!(of("#model:1\ncve,epss,percentile\n"), "epss");
        assert_eq!(of("\u{feff}{\"id\":\"X\",\"modified\":\"x\"}"), "record");
        assert_eq!(of("\u{feff}download_count,project\n1,\"a\"\n"), "popular");
        for other in ["", " ", "{", "[]", "{\"id\":1}", "a,b\n", "\0\0", "<html>"] {
            assert_eq!(of(other), "nothing", "{other}");
        }
    }
}
