//! Single files in a tree that is being built: read, write, remove, list, all resolved inside the tree.
//!
//! The tree holds third-party links, so every path is resolved with `RESOLVE_IN_ROOT` (`openat2(2)`): a link
//! to `/etc` means the tree's own `/etc`, and `..` stops at its root.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

/// A tree's root directory.
#[derive(Debug)]
pub(crate) struct TreeFiles {
    root: OwnedFd,
}

impl TreeFiles {
    /// The tree at a path of the host.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            root: fs::open(
                path,
                OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )?,
        })
    }

    /// The tree below a directory or a detached mount.
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// The root directory.
    pub(crate) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    fn resolve(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, resolve)
    }

    fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str), Errno> {
        let (parent, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        let parent = if parent.is_empty() { "/" } else { parent };
        Ok((
            self.resolve(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?,
            name,
        ))
    }

    /// The contents of a regular file, `None` where there is none; at most `bytes_max`.
    pub(crate) fn read(&self, path: &str, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{path} has more than {bytes_max} bytes"),
            ));
        }
        Ok(Some(bytes))
    }

    /// The first bytes of a regular file, at most `bytes_max`, and its size; `None` where there is none.
    pub(crate) fn read_beginning(&self, path: &str, bytes_max: u64) -> io::Result<Option<(Vec<u8>, u64)>> {
        let file = match self.resolve(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let status = file.metadata()?;
        if !status.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(Some((bytes, status.len())))
    }

    /// The contents of a text file, empty where there is none.
    pub(crate) fn read_text(&self, path: &str) -> io::Result<String> {
        let bytes = self.read(path, 256 << 20)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Write a regular file owned by root, in place of whatever had the name; its directory must be there.
    pub(crate) fn write(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(bytes)?;
        fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(())
    }

    /// Make a directory, and those above it, where they are not there.
    pub(crate) fn create_dir(&self, path: &str, mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
        let plain = Mode::from_raw_mode(0o755);
        let mut ancestor = String::new();
        for component in path.split('/').filter(|component| !component.is_empty()) {
            ancestor.push('/');
            ancestor.push_str(component);
            let (parent, name) = self.parent(&ancestor)?;
            match fs::mkdirat(&parent, name, plain) {
                // Whatever the umask is.
                Ok(()) => fs::chmodat(&parent, name, plain, AtFlags::empty())?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let dir = self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        if let Some((uid, gid)) = owner {
            fs::fchown(&dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        }
        fs::fchmod(&dir, Mode::from_raw_mode(mode))?;
        Ok(())
    }

    /// Make a symbolic link where nothing has the name.
    pub(crate) fn symlink(&self, target: &str, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        match fs::symlinkat(target, &parent, name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Remove a file or link, where it is there.
    pub(crate) fn remove(&self, path: &str) -> io::Result<()> {
        let (parent, name) = match self.parent(path) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Remove everything in a directory, not the directory. Programs of packages have filled it: it may be deep.
    pub(crate) fn clear_dir(&self, path: &str) -> io::Result<()> {
        match self.resolve(
            path,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW,
            Mode::empty(),
        ) {
            Ok(dir) => cooper_store::clear_directory(dir),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in a directory, sorted; none where there is no directory.
    pub(crate) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        match self.resolve(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
            Ok(dir) => names_in(&dir),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

fn names_in(dir: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_the_tree_stay_inside() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), inside.path().join("etc")).unwrap();
        let tree = TreeFiles::open(inside.path()).unwrap();
        assert!(tree.write("/etc/passwd", b"x", 0o644).is_err());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_are_written_read_listed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let tree = TreeFiles::open(dir.path()).unwrap();
        tree.create_dir("/a/b", 0o700, None).unwrap();
        tree.write("/a/b/c", b"text", 0o640).unwrap();
        assert_eq!(tree.read("/a/b/c", 4).unwrap().as_deref(), Some(&b"text"[..]));
        assert!(tree.read("/a/b/c", 3).is_err());
        assert_eq!(tree.list("/a/b").unwrap(), ["c"]);
        tree.clear_dir("/a").unwrap();
        assert_eq!(tree.list("/a").unwrap(), Vec::<String>::new());
        assert_eq!(tree.read("/nowhere", 1).unwrap(), None);
    }

    #[test]
    fn directories_of_any_depth_are_cleared_and_links_are_not_followed() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(outside.path().join("kept")).unwrap();
        let tree = TreeFiles::open(dir.path()).unwrap();
        tree.create_dir("/tmp", 0o755, None).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("tmp/link")).unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut below = fs::open(dir.path().join("tmp"), flags, Mode::empty()).unwrap();
        for _ in 0..5_000 {
            fs::mkdirat(&below, "d", Mode::from_raw_mode(0o755)).unwrap();
            below = fs::openat(&below, "d", flags, Mode::empty()).unwrap();
        }
        drop(below);
        tree.clear_dir("/tmp").unwrap();
        assert_eq!(tree.list("/tmp").unwrap(), Vec::<String>::new());
        assert!(outside.path().join("kept").exists());
    }
}
