//! Removing a whole directory that others have filled: as deep and as wide as they liked.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A directory on the way down.
struct Level {
    /// Its name in the directory above; none for the top.
    name: Option<CString>,
    /// Its directories that are still there.
    left: Vec<CString>,
}

/// Remove a directory and everything in it, as [`clear_directory`] does.
///
/// # Errors
/// When something cannot be removed; what was removed until then is gone. [`io::ErrorKind::NotFound`] when there is no
/// such directory.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    clear_directory(open_at(rustix::fs::CWD.as_fd(), path)?)?;
    std::fs::remove_dir(path)
}

/// The same; how many bytes the file system had given to its files, links to files that stay left out.
pub(super) fn remove_measured(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    clear(open_at(rustix::fs::CWD.as_fd(), path)?, &mut |directory, name| {
        bytes += allocated_last(directory, name);
    })?;
    std::fs::remove_dir(path)?;
    Ok(bytes)
}

/// Bytes that go when this name of a file does.
fn allocated_last(directory: &OwnedFd, name: &CStr) -> u64 {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) if status.st_nlink == 1 => u64::try_from(status.st_blocks).unwrap_or(0) * BLOCK_BYTES,
        _ => 0,
    }
}

/// The unit of `st_blocks` (`stat(2)`).
pub(super) const BLOCK_BYTES: u64 = 512;

/// Remove everything in an open directory and not the directory, following no link. One descriptor is open at a time
/// and nothing recurses, so that no depth is too deep: the way up is `..`, which is safe where nobody else moves
/// directories.
///
/// # Errors
/// When something cannot be removed; what was removed until then is gone.
pub fn clear_directory(directory: OwnedFd) -> io::Result<()> {
    clear(directory, &mut |_, _| {})
}

/// Is told of each file before it goes: the directory and the name.
type Seen<'a> = dyn FnMut(&OwnedFd, &CStr) + 'a;

fn clear(directory: OwnedFd, seen: &mut Seen<'_>) -> io::Result<()> {
    let mut directory = directory;
    let mut levels = vec![Level {
        name: None,
        left: remove_files(&directory, seen)?,
    }];
    while let Some(level) = levels.last_mut() {
        if let Some(name) = level.left.pop() {
            match open_at(directory.as_fd(), name.as_c_str()) {
                Ok(below) => directory = below,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            }
            levels.push(Level {
                name: Some(name),
                left: remove_files(&directory, seen)?,
            });
            continue;
        }
        let done = levels.pop().and_then(|level| level.name);
        if let Some(name) = done {
            directory = open_at(directory.as_fd(), c"..")?;
            match rustix::fs::unlinkat(&directory, &name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn open_at(directory: rustix::fd::BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Remove what is no directory; the names of the directories.
fn remove_files(directory: &OwnedFd, seen: &mut Seen<'_>) -> Result<Vec<CString>, Errno> {
    let mut directories = Vec::new();
    let mut files = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let list = match entry.file_type() {
            FileType::Directory => &mut directories,
            _ => &mut files,
        };
        list.push(name.to_owned());
    }
    for name in files {
        seen(directory, &name);
        match rustix::fs::unlinkat(directory, &name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // The file system did not say what it is.
            Err(Errno::ISDIR) => directories.push(name),
            Err(error) => return Err(error),
        }
    }
    Ok(directories)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deep_and_wide_trees_go_and_what_links_lead_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        std::fs::create_dir_all(kept.join("inside")).unwrap();
        let top = folder.path().join("top");
        std::fs::create_dir(&top).unwrap();
        std::os::unix::fs::symlink(&kept, top.join("link")).unwrap();
        let mut directory = open_at(rustix::fs::CWD.as_fd(), &top).unwrap();
        for level in 0..20_000 {
            if level < 100 {
                for name in ["a", "b"] {
                    rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(0o700)).unwrap();
                }
            }
            rustix::fs::mkdirat(&directory, "d", Mode::from_raw_mode(0o000)).unwrap();
            rustix::fs::symlinkat("..", &directory, "up").unwrap();
            directory = open_at(directory.as_fd(), "d").unwrap();
        }
        drop(directory);
        remove_tree(&top).unwrap();
        assert!(!top.exists() && kept.join("inside").exists());
        assert_eq!(remove_tree(&top).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
