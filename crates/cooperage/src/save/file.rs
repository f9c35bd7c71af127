//! A file that appears under its name when it is complete.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD};

use super::SaveError;

/// Where an archive is written.
pub(super) struct Target {
    file: File,
    path: PathBuf,
    whole: Whole,
}

/// What makes the file appear.
enum Whole {
    /// It has no name yet; nothing remains of it when the process is killed.
    Unnamed,
    /// It has another name yet, since its file system knows no files without one. Removed when it is not finished.
    Named(PathBuf),
    /// It is no regular file: what is written is there.
    Direct,
}

impl Target {
    pub(super) fn create(path: &Path) -> Result<Self, SaveError> {
        // A link stays one: what it leads to is replaced.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => {
                return Err(failed("write", &path)(io::ErrorKind::IsADirectory.into()));
            }
            Ok(found) if !found.is_file() => {
                let file = OpenOptions::new().write(true).open(&path);
                return Ok(Self {
                    file: file.map_err(failed("open", &path))?,
                    path,
                    whole: Whole::Direct,
                });
            }
            _ => {}
        }
        let folder = folder_of(&path);
        let unnamed = OpenOptions::new()
            .write(true)
            .mode(0o600)
            .custom_flags(i32::try_from(rustix::fs::OFlags::TMPFILE.bits()).unwrap_or(0))
            .open(folder);
        if let Ok(file) = unnamed {
            return Ok(Self {
                file,
                path,
                whole: Whole::Unnamed,
            });
        }
        let other = beside(&path);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&other);
        Ok(Self {
            file: file.map_err(failed("create", &path))?,
            path,
            whole: Whole::Named(other),
        })
    }

    /// Make what was written durable, and let it appear.
    pub(super) fn finish(mut self) -> Result<(), SaveError> {
        if matches!(self.whole, Whole::Direct) {
            return Ok(());
        }
        self.file.sync_all().map_err(failed("sync", &self.path))?;
        if matches!(self.whole, Whole::Unnamed) {
            let other = beside(&self.path);
            let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            rustix::fs::linkat(CWD, unnamed, CWD, &other, AtFlags::SYMLINK_FOLLOW)
                .map_err(|errno| failed("create", &self.path)(errno.into()))?;
            self.whole = Whole::Named(other);
        }
        if let Whole::Named(other) = &self.whole {
            std::fs::rename(other, &self.path).map_err(failed("rename to its place", &self.path))?;
        }
        self.whole = Whole::Direct;
        let folder = folder_of(&self.path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed("sync", folder))
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Whole::Named(other) = &self.whole {
            let _ = std::fs::remove_file(other);
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A name in the same folder that this process alone uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    folder_of(path).join(name)
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SaveError {
    let path = path.to_owned();
    move |source| SaveError::File {
        operation,
        path,
        source,
    }
}
