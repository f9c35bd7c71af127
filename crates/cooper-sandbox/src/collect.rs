//! What a run leaves behind, taken out of its directory as one takes things from a stranger: regular files with one
//! name alone, each opened beneath its directory, everything bounded. What is refused is told and left where it is.
//!
//! Nothing here trusts that the directory stands still: what counts is what an opened descriptor says of itself.

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Bounds on what is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectLimits {
    /// Bytes of all files together; a hole counts as if it were written.
    pub bytes_max: u64,
    /// Files.
    pub files_max: u32,
    /// Directories on the way to a file.
    pub depth_max: u32,
    /// Names looked at, of whatever kind.
    pub entries_max: u32,
}

/// What was taken and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// By path.
    pub files: Vec<CollectedFile>,
    /// By path, the first [`REFUSED_MAX`] of them.
    pub refused: Vec<Refused>,
    /// How many were refused beside those.
    pub refused_beside: u64,
}

/// As many refusals are told one by one.
pub const REFUSED_MAX: usize = 100;

/// A file that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectedFile {
    /// Below the directory.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// Something that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Below the directory, to be shown: what is no printable text is escaped.
    pub shown_path: String,
    /// Why.
    pub reason: Refusal,
}

/// Why something was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// It may lead anywhere.
    SymbolicLink,
    /// It has other names.
    HardLink,
    /// A device.
    Device,
    /// A FIFO.
    Fifo,
    /// A socket.
    Socket,
    /// A folder, in the place of a file.
    Folder,
    /// Its name is not UTF-8, or has control characters.
    Name,
    /// Another file system is mounted there.
    Mount,
    /// It is too deep.
    TooDeep,
    /// With it, there would be too many bytes.
    TooLarge,
    /// With it, there would be too many files or names; nothing after it is looked at.
    TooMany,
    /// It went away or became something else meanwhile, or cannot be read.
    Changed,
}

impl Refusal {
    /// A stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SymbolicLink => "symbolic-link",
            Self::HardLink => "hard-link",
            Self::Device => "device",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::Folder => "folder",
            Self::Name => "name",
            Self::Mount => "mount",
            Self::TooDeep => "too-deep",
            Self::TooLarge => "too-large",
            Self::TooMany => "too-many",
            Self::Changed => "changed",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SymbolicLink => "it is a symbolic link",
            Self::HardLink => "it has other names (hard links)",
            Self::Device => "it is a device",
            Self::Fifo => "it is a FIFO",
            Self::Socket => "it is a socket",
            Self::Folder => "it is a folder",
            Self::Name => "its name is not UTF-8 or has control characters",
            Self::Mount => "it is on another file system",
            Self::TooDeep => "it is too many directories deep",
            Self::TooLarge => "it is larger than what is left of the bound",
            Self::TooMany => "there are too many files; nothing after it was looked at",
            Self::Changed => "it changed meanwhile, or cannot be read",
        })
    }
}

/// The directory itself could not be read, or a file could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The directory.
    #[error("cannot read what the run has left")]
    Directory {
        /// Why.
        source: io::Error,
    },
    /// A file.
    #[error("cannot keep `{}`", path.display())]
    Keep {
        /// Below the directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A regular file that was found, and opened.
pub struct FileFound<'a> {
    /// Below the directory: plain names of printable UTF-8.
    pub path: &'a Path,
    /// Its content, bounded.
    pub content: &'a mut dyn Read,
}

/// Walk the directory in the order of names and give each regular file to `keep`, which returns how many bytes it has
/// kept. Directories without a file are passed over.
///
/// # Errors
/// When the directory cannot be read, or at the first file that cannot be kept.
pub fn collect(
    directory: BorrowedFd<'_>,
    limits: &CollectLimits,
    keep: &mut dyn FnMut(FileFound<'_>) -> io::Result<u64>,
) -> Result<Collected, CollectError> {
    let source = |errno: Errno| CollectError::Directory { source: errno.into() };
    let root = open_directory(directory, OsStr::new(".")).map_err(source)?;
    let mut walk = Walk {
        depth_max: limits.depth_max,
        bytes_left: limits.bytes_max,
        files_left: limits.files_max,
        entries_left: limits.entries_max,
        keep,
        collected: Collected::default(),
        ended: false,
    };
    let names = walk.names(&root).map_err(source)?;
    walk.visit(&root, Path::new(""), names, 0)?;
    Ok(walk.collected)
}

/// Read one file of a directory, opened as carefully: `None` where there is none.
///
/// # Errors
/// What is there is no regular file with one name, or is longer than `bytes_max`.
pub fn read_file(
    directory: BorrowedFd<'_>,
    name: &OsStr,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, Refusal> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(None),
        Err(_) => return Err(Refusal::Changed),
        Ok(state) => regular(&state).map_or(Ok(()), Err)?,
    }
    let (file, length) = open_file(directory, name)?;
    if length > bytes_max {
        return Err(Refusal::TooLarge);
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| Refusal::Changed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Refusal::TooLarge);
    }
    Ok(Some(bytes))
}

struct Walk<'a> {
    depth_max: u32,
    bytes_left: u64,
    files_left: u32,
    entries_left: u32,
    keep: &'a mut dyn FnMut(FileFound<'_>) -> io::Result<u64>,
    collected: Collected,
    /// A count is used up.
    ended: bool,
}

impl Walk<'_> {
    /// The names in a directory, sorted; no more than may still be looked at, and one.
    fn names(&mut self, directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            names.push(name);
            if names.len() > self.entries_left as usize {
                break;
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// As deep as the bound on depth says.
    fn visit(
        &mut self,
        directory: &OwnedFd,
        above: &Path,
        names: Vec<Vec<u8>>,
        depth: u32,
    ) -> Result<(), CollectError> {
        for name in names {
            let name = OsStr::from_bytes(&name);
            let path = above.join(name);
            if self.entries_left == 0 {
                self.end(&path);
            }
            if self.ended {
                return Ok(());
            }
            self.entries_left -= 1;
            if let Err(reason) = self.entry(directory, name, &path, depth)? {
                self.refuse(&path, reason);
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
        depth: u32,
    ) -> Result<Result<(), Refusal>, CollectError> {
        let Some(text) = name.to_str() else {
            return Ok(Err(Refusal::Name));
        };
        if text.chars().any(char::is_control) {
            return Ok(Err(Refusal::Name));
        }
        let Ok(state) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(Err(Refusal::Changed));
        };
        if FileType::from_raw_mode(state.st_mode) != FileType::Directory {
            return match regular(&state) {
                Some(reason) => Ok(Err(reason)),
                None => self.file(directory, name, path),
            };
        }
        if depth >= self.depth_max {
            return Ok(Err(Refusal::TooDeep));
        }
        let opened = open_directory(directory.as_fd(), name);
        match opened.and_then(|opened| Ok((self.names(&opened)?, opened))) {
            Ok((names, opened)) => self.visit(&opened, path, names, depth + 1).map(Ok),
            Err(errno) => Ok(Err(refusal(errno))),
        }
    }

    fn file(
        &mut self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<Result<(), Refusal>, CollectError> {
        let (file, length) = match open_file(directory.as_fd(), name) {
            Ok(opened) => opened,
            Err(reason) => return Ok(Err(reason)),
        };
        if length > self.bytes_left {
            return Ok(Err(Refusal::TooLarge));
        }
        if self.files_left == 0 {
            self.end(path);
            return Ok(Ok(()));
        }
        let mut content = file.take(length);
        let found = FileFound {
            path,
            content: &mut content,
        };
        let bytes = (self.keep)(found).map_err(|source| CollectError::Keep {
            path: path.to_owned(),
            source,
        })?;
        self.files_left -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(length);
        self.collected.files.push(CollectedFile {
            path: path.to_owned(),
            bytes,
        });
        Ok(Ok(()))
    }

    fn end(&mut self, path: &Path) {
        if !self.ended {
            self.refuse(path, Refusal::TooMany);
        }
        self.ended = true;
    }

    fn refuse(&mut self, path: &Path, reason: Refusal) {
        if self.collected.refused.len() < REFUSED_MAX {
            self.collected.refused.push(Refused {
                shown_path: shown(path),
                reason,
            });
        } else {
            self.collected.refused_beside += 1;
        }
    }
}

/// A path for people: a long one is cut in its middle, and what is no printable text is escaped.
fn shown(path: &Path) -> String {
    const BYTES_MAX: usize = 200;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() <= BYTES_MAX {
        return escape(bytes);
    }
    let (first, _) = bytes.split_at(BYTES_MAX / 2);
    let (_, last) = bytes.split_at(bytes.len() - BYTES_MAX / 2);
    format!("{}…{}", escape(first), escape(last))
}

/// Printable UTF-8 as it is; control characters and backslashes as Rust writes them; other bytes as `\xNN`.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Why this is no regular file with one name.
fn regular(state: &rustix::fs::Stat) -> Option<Refusal> {
    match FileType::from_raw_mode(state.st_mode) {
        FileType::RegularFile if state.st_nlink == 1 => None,
        FileType::RegularFile => Some(Refusal::HardLink),
        FileType::Symlink => Some(Refusal::SymbolicLink),
        FileType::Fifo => Some(Refusal::Fifo),
        FileType::Socket => Some(Refusal::Socket),
        FileType::CharacterDevice | FileType::BlockDevice => Some(Refusal::Device),
        FileType::Directory => Some(Refusal::Folder),
        FileType::Unknown => Some(Refusal::Changed),
    }
}

fn beneath() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV
}

fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(parent, name, flags, Mode::empty(), beneath())
}

/// Open it without waiting for anybody, and look at what was opened.
fn open_file(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(File, u64), Refusal> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat2(parent, name, flags, Mode::empty(), beneath()).map_err(refusal)?;
    let state = rustix::fs::fstat(&opened).map_err(|_| Refusal::Changed)?;
    regular(&state).map_or(Ok(()), Err)?;
    let length = u64::try_from(state.st_size).unwrap_or(0);
    Ok((File::from(opened), length))
}

fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::LOOP => Refusal::SymbolicLink,
        Errno::XDEV => Refusal::Mount,
        _ => Refusal::Changed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_paths_hold_nothing_that_drives_a_terminal() {
        let shown = |bytes: &[u8]| shown(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(shown("a/é.txt".as_bytes()), "a/é.txt");
        assert_eq!(shown(b"a\nb\x1b[31m\xff\\"), r"a\nb\u{1b}[31m\xff\\");
        assert_eq!(shown("\u{9b}".as_bytes()), r"\u{9b}");
        let long = shown(&[b'x'; 5000]);
        assert!(long.chars().count() < 250 && long.contains('…'), "{long}");
    }
}
