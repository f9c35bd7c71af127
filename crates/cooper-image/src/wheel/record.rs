//! `RECORD`: every file of a wheel with its hash and size (binary distribution format, "The .dist-info directory").

use std::collections::BTreeMap;
use std::fmt::Write as _;

use cooper_core::Digest;
use sha2::{Digest as _, Sha384, Sha512};

use crate::rootfs::printable;

/// What `RECORD` says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordLine {
    /// `sha256=…`, or empty.
    pub hash: String,
    /// Bytes, where they are stated.
    pub size: Option<u64>,
}

/// What is wrong with `RECORD`, or with a file that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// A line that is not `path,hash,size`.
    #[error("the line is not `path,hash,size`")]
    Malformed,
    /// Two lines that say different things of one file.
    #[error("two lines contradict each other")]
    Twice,
    /// A file of the wheel that no line names.
    #[error("the file is not listed")]
    Unlisted,
    /// A line whose file is not in the wheel.
    #[error("the file is listed and is not there")]
    Absent,
    /// A line without a hash.
    #[error("the line has no hash")]
    NoHash,
    /// A hash that proves nothing.
    #[error("the hash algorithm is not accepted: SHA-256, SHA-384 and SHA-512 are")]
    WeakHash,
    /// The file has another hash.
    #[error("the file does not have the hash that is listed")]
    Hash,
    /// The file has another size.
    #[error("the file does not have the size that is listed")]
    Size,
}

/// A fault and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedFault {
    /// The file, or the line's text where it names none.
    pub path: String,
    /// What is wrong.
    pub fault: RecordFault,
}

/// Parse the lines of a `RECORD`.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, RecordLine>, LocatedFault> {
    let wrong = |path: &str, fault| LocatedFault {
        path: printable(path.as_bytes()),
        fault,
    };
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("RECORD", RecordFault::Malformed))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = BTreeMap::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let fields = split_csv(line).ok_or_else(|| wrong(line, RecordFault::Malformed))?;
        let [path, hash, size] =
            <[String; 3]>::try_from(fields).map_err(|_| wrong(line, RecordFault::Malformed))?;
        let size = match size.as_str() {
            "" => None,
            digits => Some(digits.parse().map_err(|_| wrong(&path, RecordFault::Malformed))?),
        };
        let parsed = RecordLine { hash, size };
        if lines.get(&path).is_some_and(|known| *known != parsed) {
            return Err(wrong(&path, RecordFault::Twice));
        }
        lines.insert(path, parsed);
    }
    Ok(lines)
}

/// The fields of one CSV line (RFC 4180, without line breaks inside quotes).
fn split_csv(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut closed) = (false, false);
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut()?;
        match (quoted, character) {
            (true, '"') if characters.peek() == Some(&'"') => {
                characters.next();
                field.push('"');
            }
            (true, '"') => (quoted, closed) = (false, true),
            (false, ',') => {
                closed = false;
                fields.push(String::new());
            }
            (false, '"') if field.is_empty() && !closed => quoted = true,
            (false, _) if closed => return None,
            (_, other) => field.push(other),
        }
    }
    (!quoted).then_some(fields)
}

/// Hashes a file's content as its line demands.
pub(super) struct Check<'a> {
    line: &'a RecordLine,
    sha256: sha2::Sha256,
    other: Option<Other>,
    size: u64,
}

enum Other {
    Sha384(Box<Sha384>),
    Sha512(Box<Sha512>),
}

impl<'a> Check<'a> {
    pub(super) fn new(line: &'a RecordLine) -> Result<Self, RecordFault> {
        let other = match line.hash.split_once('=').map(|(algorithm, _)| algorithm) {
            Some("sha256") => None,
            Some("sha384") => Some(Other::Sha384(Box::default())),
            Some("sha512") => Some(Other::Sha512(Box::default())),
            Some(_) => return Err(RecordFault::WeakHash),
            None => return Err(RecordFault::NoHash),
        };
        Ok(Self {
            line,
            sha256: sha2::Sha256::new(),
            other,
            size: 0,
        })
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
        match &mut self.other {
            Some(Other::Sha384(hasher)) => hasher.update(bytes),
            Some(Other::Sha512(hasher)) => hasher.update(bytes),
            None => {}
        }
    }

    /// The content's SHA-256, if hash and size are those of the line.
    pub(super) fn finish(self) -> Result<Digest, RecordFault> {
        let digest = Digest::from_bytes(self.sha256.finalize().into());
        let found = match self.other {
            None => base64(digest.as_bytes()),
            Some(Other::Sha384(hasher)) => base64(&hasher.finalize()),
            Some(Other::Sha512(hasher)) => base64(&hasher.finalize()),
        };
        let listed = self.line.hash.split_once('=').map_or("", |(_, hash)| hash);
        if listed.trim_end_matches('=') != found {
            return Err(RecordFault::Hash);
        }
        if self.line.size.is_some_and(|size| size != self.size) {
            return Err(RecordFault::Size);
        }
        Ok(digest)
    }
}

/// A `RECORD` as it is written: sorted by path, with a line for itself.
pub(super) fn render(lines: &BTreeMap<String, (Digest, u64)>, own_path: &str) -> String {
    let mut sorted: BTreeMap<&str, String> = BTreeMap::new();
    for (path, (digest, size)) in lines {
        sorted.insert(path, format!("sha256={},{size}", base64(digest.as_bytes())));
    }
    sorted.insert(own_path, ",".to_owned());
    sorted.into_iter().fold(String::new(), |mut text, (path, rest)| {
        let _ = writeln!(text, "{},{rest}", quote_csv(path));
        text
    })
}

fn quote_csv(field: &str) -> String {
    if field.contains([',', '"']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// URL-safe Base64 without padding (RFC 4648, section 5).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let word = chunk
            .iter()
            .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        (0..=chunk.len()).map(move |digit| char::from(ALPHABET[(word >> (18 - 6 * digit) & 63) as usize]))
    });
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_url_safe_and_unpadded() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"\xfb\xff", "-_8"),
        ] {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn lines_are_csv() {
        let parsed = parse(b"a,sha256=x,1\r\n\"b,\"\"c\",,\n\n").unwrap();
        assert_eq!(
            parsed["a"],
            RecordLine {
                hash: "sha256=x".to_owned(),
                size: Some(1)
            }
        );
        assert_eq!(
            parsed["b,\"c"],
            RecordLine {
                hash: String::new(),
                size: None
            }
        );
        for bad in ["a", "a,b", "a,b,c", "a,b,-1", "a,,,", "\"a,,", "\"a\"b,,"] {
            assert_eq!(
                parse(bad.as_bytes()).unwrap_err().fault,
                RecordFault::Malformed,
                "{bad}"
            );
        }
        assert!(parse(b"a,x,1\na,x,1\n").is_ok());
        assert_eq!(parse(b"a,x,1\na,x,2\n").unwrap_err().fault, RecordFault::Twice);
    }

    #[test]
    fn only_strong_hashes_prove_anything() {
        let fault = |hash: &str, size| {
            let line = RecordLine {
                hash: hash.to_owned(),
                size,
            };
            let mut check = Check::new(&line)?;
            check.update(b"foo");
            check.finish().map(|_| ())
        };
        let sha256 = "sha256=LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564";
        assert_eq!(fault(sha256, Some(3)), Ok(()));
        assert_eq!(fault(&format!("{sha256}="), None), Ok(()));
        assert_eq!(fault(sha256, Some(4)), Err(RecordFault::Size));
        assert_eq!(fault("sha256=LCa0", Some(3)), Err(RecordFault::Hash));
        assert_eq!(
            fault("md5=rL0Y20zC-Fzt72VPzMSk2A", Some(3)),
            Err(RecordFault::WeakHash)
        );
        assert_eq!(fault("", Some(3)), Err(RecordFault::NoHash));
    }
}
