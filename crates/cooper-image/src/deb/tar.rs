//! A strict reader of tar streams: ustar, GNU long names and POSIX.1-2001 extended headers.
//!
//! What it does not know it refuses, so that nothing is unpacked that another reader would see differently:
//! sparse files, extended attributes of size and name that contradict, bytes after the end.

use std::io::{self, BufRead};

/// Limits of one tar stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TarLimits {
    /// How many bytes the stream may have.
    pub bytes_max: u64,
    /// How many entries it may have.
    pub entries_max: u64,
    /// How many bytes the body of an extended header may have.
    pub extension_bytes_max: u64,
}

/// Why a tar stream is refused.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It could not be read or decompressed.
    #[error("cannot read the stream")]
    Read(#[source] io::Error),
    /// It ends in the middle of an entry, or without an end mark.
    #[error("the stream is cut off")]
    Truncated,
    /// It unpacks to more than is accepted.
    #[error("it unpacks to more than {bytes_max} bytes")]
    TooLarge {
        /// The most that is accepted.
        bytes_max: u64,
    },
    /// It has more entries than are accepted.
    #[error("it has more than {entries_max} entries")]
    TooMany {
        /// The most that are accepted.
        entries_max: u64,
    },
    /// A header that makes no sense.
    #[error("the header at byte {offset} is malformed: {reason}")]
    Header {
        /// Where the header begins in the unpacked stream.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TarKind {
    /// A regular file.
    File,
    /// A hard link to an earlier entry.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A directory.
    Directory,
    /// A character or block device.
    Device,
    /// A named pipe.
    Fifo,
    /// Anything else: its type byte.
    Other(u8),
}

/// One entry's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarEntry {
    /// The path as it is written.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: TarKind,
    /// Where a link points; empty otherwise.
    pub link: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Numeric owner.
    pub uid: u64,
    /// Numeric group.
    pub gid: u64,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Bytes of the body; only files have one.
    pub size: u64,
    /// The attribute `security.capability`, where an extended header has it.
    pub capability: Option<Vec<u8>>,
}

/// Reads entries one after the other.
#[derive(Debug)]
pub struct TarReader<R> {
    source: R,
    limits: TarLimits,
    consumed: u64,
    entries: u64,
    body_left: u64,
    padding_left: u64,
    ended: bool,
}

/// What extended headers said about the next entry.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u64>,
    gid: Option<u64>,
    mtime: Option<u64>,
    capability: Option<Vec<u8>>,
}

const BLOCK: usize = 512;

impl<R: BufRead> TarReader<R> {
    /// Read from `source`.
    pub fn new(source: R, limits: TarLimits) -> Self {
        Self {
            source,
            limits,
            consumed: 0,
            entries: 0,
            body_left: 0,
            padding_left: 0,
            ended: false,
        }
    }

    /// How many bytes were read so far.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The next entry; what is left of the body before it is skipped. `None` after a proper end: an end mark
    /// and nothing but zeros after it.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, TarError> {
        let mut extension = Extension::default();
        let mut extended = false;
        while !self.ended {
            self.skip_body()?;
            let offset = self.consumed;
            let block = self.read_block()?;
            if block.iter().all(|byte| *byte == 0) {
                self.read_end(extended)?;
                return Ok(None);
            }
            self.entries += 1;
            if self.entries > self.limits.entries_max {
                return Err(TarError::TooMany {
                    entries_max: self.limits.entries_max,
                });
            }
            let header = Header {
                block: &block,
                offset,
            };
            header.check_sum()?;
            match header.type_byte() {
                b'L' => extension.path = Some(self.read_name(&header)?),
                b'K' => extension.link = Some(self.read_name(&header)?),
                b'x' => self.read_records(&header, &mut extension)?,
                b'g' => self.read_global(&header)?,
                _ => return self.entry(&header, extension).map(Some),
            }
            extended = true;
        }
        Ok(None)
    }

    /// Give the body of the present entry to `each`, piece by piece.
    pub fn read_body<E: From<TarError>>(
        &mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while self.body_left > 0 {
            let piece = self.source.fill_buf().map_err(TarError::Read)?;
            if piece.is_empty() {
                return Err(TarError::Truncated.into());
            }
            let length = piece
                .len()
                .min(usize::try_from(self.body_left).unwrap_or(usize::MAX));
            each(&piece[..length])?;
            self.source.consume(length);
            self.body_left -= length as u64;
            self.count(length)?;
        }
        Ok(())
    }

    fn entry(&mut self, header: &Header<'_>, extension: Extension) -> Result<TarEntry, TarError> {
        let size = extension.size.map_or_else(|| header.size(), Ok)?;
        let path = extension.path.unwrap_or_else(|| header.path());
        let kind = header.kind(&path);
        if size != 0 && kind != TarKind::File {
            return Err(header.wrong("an entry that is not a file has a size"));
        }
        self.expect_body(size)?;
        Ok(TarEntry {
            path,
            kind,
            link: extension.link.unwrap_or_else(|| header.link()),
            mode: u32::try_from(header.number(100..108)?)
                .map_err(|_| header.wrong("the mode is too large"))?,
            uid: extension.uid.map_or_else(|| header.number(108..116), Ok)?,
            gid: extension.gid.map_or_else(|| header.number(116..124), Ok)?,
            mtime: extension.mtime.map_or_else(|| header.number(136..148), Ok)?,
            size,
            capability: extension.capability,
        })
    }

    /// Prepare for a body of `size` bytes; one that the limit forbids is refused before it is read.
    fn expect_body(&mut self, size: u64) -> Result<(), TarError> {
        if size > self.limits.bytes_max.saturating_sub(self.consumed) {
            return Err(TarError::TooLarge {
                bytes_max: self.limits.bytes_max,
            });
        }
        self.body_left = size;
        self.padding_left = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_body(&mut self) -> Result<(), TarError> {
        self.read_body(|_| Ok::<(), TarError>(()))?;
        self.body_left = std::mem::take(&mut self.padding_left);
        self.read_body(|_| Ok::<(), TarError>(()))
    }

    fn read_extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>, TarError> {
        let size = header.size()?;
        if size > self.limits.extension_bytes_max {
            return Err(header.wrong("the extended header is too large"));
        }
        self.expect_body(size)?;
        let mut bytes = Vec::new();
        self.read_body(|piece| {
            bytes.extend_from_slice(piece);
            Ok::<(), TarError>(())
        })?;
        Ok(bytes)
    }

    fn read_name(&mut self, header: &Header<'_>) -> Result<Vec<u8>, TarError> {
        let mut name = self.read_extension(header)?;
        if name.last() == Some(&0) {
            name.pop();
        }
        Ok(name)
    }

    fn read_records(&mut self, header: &Header<'_>, extension: &mut Extension) -> Result<(), TarError> {
        let bytes = self.read_extension(header)?;
        for (key, value) in parse_records(&bytes).map_err(|reason| header.wrong(reason))? {
            let number = || decimal(value).ok_or_else(|| header.wrong("an extended header has a bad number"));
            match key {
                b"path" => extension.path = Some(value.to_vec()),
                b"linkpath" => extension.link = Some(value.to_vec()),
                b"size" => extension.size = Some(number()?),
                b"uid" => extension.uid = Some(number()?),
                b"gid" => extension.gid = Some(number()?),
                b"mtime" => extension.mtime = Some(number()?),
                b"SCHILY.xattr.security.capability" => extension.capability = Some(value.to_vec()),
                key if key.starts_with(b"GNU.sparse") => {
                    return Err(header.wrong("sparse files are not accepted"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A header for all entries may comment; it may not change them.
    fn read_global(&mut self, header: &Header<'_>) -> Result<(), TarError> {
        let bytes = self.read_extension(header)?;
        let records = parse_records(&bytes).map_err(|reason| header.wrong(reason))?;
        if records.iter().all(|(key, _)| *key == b"comment") {
            return Ok(());
        }
        Err(header.wrong("a global header changes the entries after it"))
    }

    fn read_block(&mut self) -> Result<[u8; BLOCK], TarError> {
        let mut block = [0; BLOCK];
        self.source
            .read_exact(&mut block)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => TarError::Truncated,
                _ => TarError::Read(error),
            })?;
        self.count(BLOCK)?;
        Ok(block)
    }

    /// Read to the end of the stream, so that its checksum is verified too.
    fn read_end(&mut self, extended: bool) -> Result<(), TarError> {
        let wrong = |offset, reason| Err(TarError::Header { offset, reason });
        if extended {
            return wrong(self.consumed, "an extended header has no entry after it");
        }
        loop {
            let piece = self.source.fill_buf().map_err(TarError::Read)?;
            if piece.iter().any(|byte| *byte != 0) {
                return wrong(self.consumed, "there are bytes after the end");
            }
            let length = piece.len();
            if length == 0 {
                self.ended = true;
                return Ok(());
            }
            self.source.consume(length);
            self.count(length)?;
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), TarError> {
        self.consumed += bytes as u64;
        if self.consumed > self.limits.bytes_max {
            return Err(TarError::TooLarge {
                bytes_max: self.limits.bytes_max,
            });
        }
        Ok(())
    }
}

struct Header<'a> {
    block: &'a [u8; BLOCK],
    offset: u64,
}

impl Header<'_> {
    fn wrong(&self, reason: &'static str) -> TarError {
        TarError::Header {
            offset: self.offset,
            reason,
        }
    }

    fn type_byte(&self) -> u8 {
        self.block[156]
    }

    fn check_sum(&self) -> Result<(), TarError> {
        let blanked = |(at, byte): (usize, &u8)| {
            if (148..156).contains(&at) {
                32
            } else {
                u64::from(*byte)
            }
        };
        let sum: u64 = self.block.iter().enumerate().map(blanked).sum();
        if self.number(148..156)? == sum {
            Ok(())
        } else {
            Err(self.wrong("the checksum is wrong"))
        }
    }

    fn size(&self) -> Result<u64, TarError> {
        self.number(124..136)
    }

    /// Octal digits, or binary with the highest bit set (GNU).
    fn number(&self, field: std::ops::Range<usize>) -> Result<u64, TarError> {
        let field = &self.block[field];
        if let [first @ (0x80 | 0xff), rest @ ..] = field {
            let fits = *first == 0x80 && rest.iter().rev().skip(8).all(|byte| *byte == 0);
            let value = rest
                .iter()
                .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
            let fits = fits && i64::try_from(value).is_ok();
            return if fits {
                Ok(value)
            } else {
                Err(self.wrong("a number is too large"))
            };
        }
        let end = field
            .iter()
            .rposition(|byte| !matches!(byte, b' ' | 0))
            .map_or(0, |last| last + 1);
        let start = field.iter().position(|byte| *byte != b' ').unwrap_or(0).min(end);
        field[start..end]
            .iter()
            .try_fold(0_u64, |value, byte| match byte {
                b'0'..=b'7' => Ok(value << 3 | u64::from(byte - b'0')),
                _ => Err(self.wrong("a number is not octal")),
            })
    }

    fn text(&self, field: std::ops::Range<usize>) -> Vec<u8> {
        let field = &self.block[field];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        field[..end].to_vec()
    }

    fn path(&self) -> Vec<u8> {
        let name = self.text(0..100);
        let posix = self.block[257..263] == *b"ustar\0";
        let prefix = if posix { self.text(345..500) } else { Vec::new() };
        if prefix.is_empty() {
            name
        } else {
            [prefix, name].join(&b'/')
        }
    }

    fn link(&self) -> Vec<u8> {
        self.text(157..257)
    }

    fn kind(&self, path: &[u8]) -> TarKind {
        match self.type_byte() {
            // The oldest tars wrote directories as files with a slash at the end.
            0 if path.ends_with(b"/") => TarKind::Directory,
            0 | b'0' => TarKind::File,
            b'1' => TarKind::HardLink,
            b'2' => TarKind::Symlink,
            b'3' | b'4' => TarKind::Device,
            b'5' => TarKind::Directory,
            b'6' => TarKind::Fifo,
            other => TarKind::Other(other),
        }
    }
}

/// A key and its value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Split the body of an extended header into its records, `LENGTH KEY=VALUE\n` each.
pub fn parse_records(mut bytes: &[u8]) -> Result<Vec<Record<'_>>, &'static str> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let bad = "an extended header has a bad record";
        let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or(bad)?;
        let length = decimal(&bytes[..space])
            .and_then(|length| usize::try_from(length).ok())
            .ok_or(bad)?;
        if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
            return Err(bad);
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(bad)?;
        records.push((&record[..equals], &record[equals + 1..]));
        bytes = &bytes[length..];
    }
    Ok(records)
}

/// A decimal number; the fraction of a time is cut off.
fn decimal(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let digits = !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit());
    let value: u64 = digits.then(|| whole.parse().ok()).flatten()?;
    i64::try_from(value).is_ok().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str, kind: u8, size: u64) -> Vec<u8> {
        let mut block = [0; BLOCK];
        block[..path.len()].copy_from_slice(path.as_bytes());
        block[100..108].copy_from_slice(b"0000644\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[136..148].copy_from_slice(b"00000000144\0");
        block[148..156].fill(b' ');
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block.to_vec()
    }

    fn body(bytes: &[u8]) -> Vec<u8> {
        let mut padded = bytes.to_vec();
        padded.resize(bytes.len().next_multiple_of(BLOCK), 0);
        padded
    }

    fn read(parts: &[Vec<u8>]) -> Result<Vec<TarEntry>, TarError> {
        let limits = TarLimits {
            bytes_max: 1 << 20,
            entries_max: 10,
            extension_bytes_max: 4096,
        };
        let stream = parts.concat();
        let mut reader = TarReader::new(stream.as_slice(), limits);
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }

    fn end() -> Vec<u8> {
        vec![0; 2 * BLOCK]
    }

    #[test]
    fn long_names_and_records_apply_to_the_next_entry_alone() {
        let entries = read(&[
            header("././@LongLink", b'L', 6),
            body(b"./long\0"[..6].as_ref()),
            header("short", b'0', 3),
            body(b"abc"),
            header("x", b'x', 31),
            body(b"13 path=./pp\n18 mtime=55.12345\n"[..31].as_ref()),
            header("short", b'0', 0),
            header("last", b'5', 0),
            end(),
        ]);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => panic!("{error:?}"),
        };
        let seen: Vec<_> = entries
            .iter()
            .map(|e| (String::from_utf8_lossy(&e.path), e.mtime, e.size))
            .collect();
        assert_eq!(
            seen,
            [
                ("./long".into(), 100, 3),
                ("./pp".into(), 55, 0),
                ("last".into(), 100, 0)
            ]
        );
    }

    #[test]
    fn lies_and_bombs_are_refused() {
        let mut wrong_sum = header("a", b'0', 0);
        wrong_sum[0] = b'b';
        let sparse = body(b"22 GNU.sparse.major=1\n");
        let cases: [(&str, Vec<Vec<u8>>); 12] = [
            ("cut off", vec![header("a", b'0', 600), body(b"abc")]),
            ("cut off", vec![header("a", b'0', 0)]),
            ("cut off", vec![header("a", b'0', 0)[..100].to_vec()]),
            ("checksum", vec![wrong_sum, end()]),
            ("unpacks to more", vec![header("a", b'0', 1 << 30), end()]),
            ("has a size", vec![header("a", b'5', 512), body(b"x"), end()]),
            ("has a size", vec![header("a", b'1', 512), body(b"x"), end()]),
            (
                "sparse",
                vec![header("a", b'x', 22), sparse, header("a", b'0', 0), end()],
            ),
            (
                "too large",
                vec![
                    header("a", b'L', 5000),
                    body(&[b'a'; 5000]),
                    header("a", b'0', 0),
                    end(),
                ],
            ),
            (
                "more than 10",
                (0..11).map(|_| header("a", b'0', 0)).chain([end()]).collect(),
            ),
            ("after the end", vec![end(), header("a", b'0', 0), end()]),
            ("no entry", vec![header("a", b'L', 1), body(b"a"), end()]),
        ];
        for (reason, parts) in cases {
            let error = read(&parts).unwrap_err().to_string();
            assert!(error.contains(reason), "{reason}: {error}");
        }
        let global = [header("g", b'g', 11), body(b"11 path=./a"), end()];
        assert!(read(&global).unwrap_err().to_string().contains("record"));
        let global = [header("g", b'g', 12), body(b"12 path=./a\n"), end()];
        assert!(read(&global).unwrap_err().to_string().contains("global"));
    }

    #[test]
    fn binary_numbers_are_read_and_bounded() {
        let mut block = [0; BLOCK];
        let number = |block: &[u8; BLOCK]| Header { block, offset: 0 }.number(124..136);
        block[124] = 0x80;
        block[135] = 7;
        assert_eq!(number(&block).unwrap(), 7);
        block[125] = 1;
        assert!(number(&block).is_err());
        block[124..136].copy_from_slice(b"0000000009\0\0");
        assert!(number(&block).is_err());
    }
}
