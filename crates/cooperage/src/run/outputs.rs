//! What a run leaves in `/output`, brought into a folder of the host.

use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cooper_sandbox::{CollectError, CollectLimits, Collected, CollectedFile, FileFound, collect};
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use super::grants::GrantError;

/// Files, directories and links that `/output` may hold, so that nobody fills the host's memory with names.
pub(super) const OUTPUT_ENTRIES_MAX: u32 = 20_000;
/// As many files come back of a run.
pub const OUTPUT_FILES_MAX: u32 = 10_000;
const OUTPUT_DEPTH_MAX: u32 = 32;
const COPY_BYTES: usize = 128 << 10;

/// An empty folder of the host, opened: whoever puts something else in its place meanwhile changes nothing.
#[derive(Debug)]
pub struct OutputFolder {
    folder: OwnedFd,
}

impl OutputFolder {
    /// Open the folder, which is made where it is missing.
    ///
    /// # Errors
    /// When it cannot be opened or made, or is not empty.
    pub fn open(path: &Path) -> Result<Self, GrantError> {
        let failed = |operation| {
            move |errno: Errno| GrantError::Output {
                operation,
                path: path.to_owned(),
                source: errno.into(),
            }
        };
        match rustix::fs::mkdir(path, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("make")(errno)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(failed("open"))?;
        let entries = Dir::read_from(&folder).map_err(failed("read"))?;
        for entry in entries {
            let entry = entry.map_err(failed("read"))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                return Err(GrantError::OutputNotEmpty {
                    path: path.to_owned(),
                });
            }
        }
        let writable = rustix::fs::accessat(&folder, c".", rustix::fs::Access::WRITE_OK, AtFlags::EACCESS);
        writable.map_err(failed("write to"))?;
        Ok(Self { folder })
    }

    /// Bring what is in the directory here, file by file, each whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be read, or at the first file that cannot be kept: those before it are there.
    pub fn take(&self, directory: BorrowedFd<'_>, bytes_max: u64) -> Result<Collected, CollectError> {
        let limits = CollectLimits {
            bytes_max,
            files_max: OUTPUT_FILES_MAX,
            depth_max: OUTPUT_DEPTH_MAX,
            entries_max: OUTPUT_ENTRIES_MAX,
        };
        collect(directory, &limits, &mut |found| self.keep(found))
    }

    /// Bring this file here, whole or not at all; the path is below the folder.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn put(&self, path: &Path, mut content: &[u8]) -> Result<CollectedFile, CollectError> {
        let found = FileFound {
            path,
            content: &mut content,
        };
        let kept = self.keep(found);
        kept.map(|bytes| CollectedFile {
            path: path.to_owned(),
            bytes,
        })
        .map_err(|source| CollectError::Keep {
            path: path.to_owned(),
            source,
        })
    }

    fn keep(&self, found: FileFound<'_>) -> io::Result<u64> {
        let parent = self.parent(found.path)?;
        let name = found.path.file_name().unwrap_or_default();
        let partial = partial_name()?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, &partial, flags, Mode::from_raw_mode(0o644))?;
        let mut content = BufReader::with_capacity(COPY_BYTES, found.content);
        let kept = io::copy(&mut content, &mut File::from(file)).and_then(|bytes| {
            self.appear(&partial, parent.as_fd(), Path::new(name))
                .map(|()| bytes)
        });
        if kept.is_err() {
            let _ = rustix::fs::unlinkat(&self.folder, &partial, AtFlags::empty());
        }
        kept
    }

    /// The folder of the file, made where it is missing; never through a link.
    fn parent(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut folder = self.folder.try_clone()?;
        for name in path.parent().into_iter().flat_map(Path::components) {
            let name = name.as_os_str();
            match rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            folder = rustix::fs::openat2(&folder, name, flags, Mode::empty(), beneath)?;
        }
        Ok(folder)
    }

    /// Under its name, unless something has that name.
    fn appear(&self, partial: &Path, parent: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
        match rustix::fs::renameat_with(&self.folder, partial, parent, name, RenameFlags::NOREPLACE) {
            // Some file systems cannot.
            Err(Errno::INVAL | Errno::NOSYS) => {
                rustix::fs::linkat(&self.folder, partial, parent, name, AtFlags::empty())?;
                Ok(rustix::fs::unlinkat(&self.folder, partial, AtFlags::empty())?)
            }
            renamed => Ok(renamed?),
        }
    }
}

/// A name that no script can have guessed.
fn partial_name() -> io::Result<PathBuf> {
    let mut random = [0; 16];
    let length = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    if length < random.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let number = u128::from_ne_bytes(random);
    Ok(PathBuf::from(format!(".cooper-{number:032x}.partial")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn write(path: PathBuf, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        io::Write::write_all(&mut File::create(path).unwrap(), text.as_bytes()).unwrap();
    }

    fn opened(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[test]
    fn files_arrive_with_their_folders_and_plain_modes() {
        let left = tempfile::tempdir().unwrap();
        let host = tempfile::tempdir().unwrap();
        write(left.path().join("a.txt"), "a");
        write(left.path().join("b/c/d.txt"), "deep");
        let executable = std::fs::Permissions::from_mode(0o4777);
        std::fs::set_permissions(left.path().join("a.txt"), executable).unwrap();
        std::fs::create_dir(left.path().join("empty")).unwrap();
        let folder = OutputFolder::open(&host.path().join("out")).unwrap();
        let collected = folder.take(opened(left.path()).as_fd(), 1 << 20).unwrap();
        assert!(collected.refused.is_empty(), "{collected:?}");
        let paths: Vec<_> = collected
            .files
            .iter()
            .map(|file| file.path.to_str().unwrap())
            .collect();
        assert_eq!(paths, ["a.txt", "b/c/d.txt"]);
        let out = host.path().join("out");
        assert_eq!(std::fs::read_to_string(out.join("b/c/d.txt")).unwrap(), "deep");
        let mode = std::fs::metadata(out.join("a.txt")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7111, 0, "{mode:o}");
        let names: Vec<_> = std::fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names.len(), 2, "{names:?}");
    }

    #[test]
    fn nothing_is_overwritten_and_no_link_followed() {
        let left = tempfile::tempdir().unwrap();
        let host = tempfile::tempdir().unwrap();
        write(left.path().join("a/b"), "new");
        let out = host.path().join("out");
        let folder = OutputFolder::open(&out).unwrap();
        // Somebody puts things there while the run goes on.
        symlink(host.path(), out.join("a")).unwrap();
        assert!(folder.take(opened(left.path()).as_fd(), 1 << 20).is_err());
        assert!(!host.path().join("b").exists());
        std::fs::remove_file(out.join("a")).unwrap();
        write(out.join("a/b"), "old");
        assert!(folder.take(opened(left.path()).as_fd(), 1 << 20).is_err());
        assert_eq!(std::fs::read_to_string(out.join("a/b")).unwrap(), "old");
        assert!(matches!(
            OutputFolder::open(&out),
            Err(GrantError::OutputNotEmpty { .. })
        ));
        assert!(OutputFolder::open(&out.join("a/b")).is_err());
        let names: Vec<_> = std::fs::read_dir(&out)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["a"], "nothing partial is left");
    }
}
