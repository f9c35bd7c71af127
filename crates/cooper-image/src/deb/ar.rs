//! The outer archive of a package: `ar(5)` in the form that `deb(5)` prescribes.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// Where a package's bytes are.
#[derive(Debug)]
pub enum PackageBytes {
    /// In a file, read by position.
    File {
        /// The file.
        file: File,
        /// Its size in bytes.
        size: u64,
    },
    /// In memory.
    Memory(Vec<u8>),
}

/// Why the outer archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArError {
    /// It could not be read.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// Not an `ar` archive.
    #[error("it does not begin as an `ar` archive")]
    Magic,
    /// A header that makes no sense, or a member that is larger than the file.
    #[error("the member at byte {offset} is malformed: {reason}")]
    Member {
        /// Where the member's header begins.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The first member is not `debian-binary` with version 2.
    #[error("it is not a Debian package of format 2")]
    Format,
    /// Members are missing, repeated, in another order, or unknown.
    #[error("the member `{name}` is unknown or in the wrong place")]
    Unexpected {
        /// The member.
        name: String,
    },
    /// There is no control or no data archive.
    #[error("the member `{name}` is missing")]
    Missing {
        /// The member without its suffix.
        name: &'static str,
    },
    /// A compressor that is not supported.
    #[error("the member `{name}` is compressed in a way that is not supported (gzip, xz and none are)")]
    Compression {
        /// The member.
        name: String,
    },
}

/// How a member is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// gzip
    Gzip,
    /// xz
    Xz,
}

/// One inner archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where its bytes are.
    pub range: Range<u64>,
    /// How they are compressed.
    pub packing: Packing,
}

/// The two inner archives of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// `control.tar*`
    pub control: Member,
    /// `data.tar*`
    pub data: Member,
}

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_BYTES: u64 = 60;
const MEMBERS_MAX: usize = 32;

impl PackageBytes {
    /// How many there are.
    pub fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Self::File { file, .. } => file.read_at(buffer, offset),
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let mut rest = &bytes[start..];
                rest.read(buffer)
            }
        }
    }

    /// Read one part from beginning to end.
    pub fn part(&self, range: Range<u64>) -> PartReader<'_> {
        PartReader { bytes: self, range }
    }

    fn exactly(&self, range: Range<u64>) -> Result<Vec<u8>, ArError> {
        let length = range.end - range.start;
        let mut bytes = Vec::new();
        let read = self.part(range).read_to_end(&mut bytes).map_err(ArError::Read)?;
        if read as u64 != length {
            return Err(ArError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }
}

/// Reads one part of a package.
#[derive(Debug)]
pub struct PartReader<'a> {
    bytes: &'a PackageBytes,
    range: Range<u64>,
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let read = self.bytes.read_at(&mut buffer[..wanted], self.range.start)?;
        self.range.start += read as u64;
        Ok(read)
    }
}

/// Find the two inner archives: `debian-binary`, `control.tar*`, `data.tar*` in this order; members whose name
/// begins with `_` may stand between them and are ignored.
pub fn find_members(bytes: &PackageBytes) -> Result<Members, ArError> {
    if bytes.size() < 8 || bytes.exactly(0..8)? != MAGIC {
        return Err(ArError::Magic);
    }
    let mut named = Vec::new();
    let mut offset = 8;
    while offset < bytes.size() {
        let (name, range) = read_member(bytes, offset)?;
        offset = range.end + range.end % 2;
        if !name.starts_with('_') {
            named.push((name, range));
        }
        if named.len() > MEMBERS_MAX {
            return Err(ArError::Member {
                offset,
                reason: "too many members",
            });
        }
    }
    let mut named = named.into_iter();
    let Some((first, format)) = named.next() else {
        return Err(ArError::Format);
    };
    if first != "debian-binary"
        || format.end - format.start > 64
        || !bytes.exactly(format)?.starts_with(b"2.")
    {
        return Err(ArError::Format);
    }
    let control = inner(named.next(), "control.tar")?;
    let data = inner(named.next(), "data.tar")?;
    match named.next() {
        Some((name, _)) => Err(ArError::Unexpected { name }),
        None => Ok(Members { control, data }),
    }
}

fn read_member(bytes: &PackageBytes, offset: u64) -> Result<(String, Range<u64>), ArError> {
    let wrong = |reason| ArError::Member { offset, reason };
    let start = offset + HEADER_BYTES;
    if start > bytes.size() {
        return Err(wrong("the header is cut off"));
    }
    let header = bytes.exactly(offset..start)?;
    if header[58..] != *b"`\n" {
        return Err(wrong("the header has no end mark"));
    }
    let name = std::str::from_utf8(&header[..16]).map_err(|_| wrong("the name is not ASCII"))?;
    let name = name.trim_end_matches(' ').trim_end_matches('/');
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("the name is not plain"));
    }
    let size = std::str::from_utf8(&header[48..58]).map_err(|_| wrong("the size is not a number"))?;
    let size = size.trim_end_matches(' ');
    if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong("the size is not a number"));
    }
    let size: u64 = size.parse().map_err(|_| wrong("the size is not a number"))?;
    if size > bytes.size() - start {
        return Err(wrong("it is larger than the file"));
    }
    Ok((name.to_owned(), start..start + size))
}

fn inner(found: Option<(String, Range<u64>)>, wanted: &'static str) -> Result<Member, ArError> {
    let Some((name, range)) = found else {
        return Err(ArError::Missing { name: wanted });
    };
    let Some(suffix) = name.strip_prefix(wanted) else {
        return Err(ArError::Unexpected { name });
    };
    let packing = match suffix {
        "" => Packing::None,
        ".gz" => Packing::Gzip,
        ".xz" => Packing::Xz,
        _ => return Err(ArError::Compression { name }),
    };
    Ok(Member { range, packing })
}
