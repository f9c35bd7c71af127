//! The few file operations that the store is made of, each with an error that names its path.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// A file operation that failed. Never shown itself: each operation's error takes its fields over.
#[derive(Debug)]
pub(crate) struct FileError {
    pub(crate) operation: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) source: io::Error,
}

impl FileError {
    pub(crate) fn is_disk_full(&self) -> bool {
        is_disk_full(&self.source)
    }
}

/// Whether an error says that there is no room left: on the device, or in the user's quota.
pub(crate) fn is_disk_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Turn a [`FileError`] into the `DiskFull` and `Io` variants of an operation's own error.
macro_rules! takes_file_error {
    ($name:ident) => {
        impl From<$crate::store::FileError> for $name {
            fn from(error: $crate::store::FileError) -> Self {
                if error.is_disk_full() {
                    return Self::DiskFull { path: error.path };
                }
                Self::Io {
                    operation: error.operation,
                    path: error.path,
                    source: error.source,
                }
            }
        }
    };
}
pub(crate) use takes_file_error;

/// Give an I/O error the name of its operation and its path.
pub(crate) trait Of<T> {
    fn of(self, operation: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T> Of<T> for io::Result<T> {
    fn of(self, operation: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError {
            operation,
            path: path.to_owned(),
            source,
        })
    }
}

impl<T> Of<T> for rustix::io::Result<T> {
    fn of(self, operation: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(io::Error::from).of(operation, path)
    }
}

/// Make a new file that is readable by its owner alone.
pub(crate) fn create_new(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .of("create", path)
}

/// Open a file to read it; `None` where there is none.
pub(crate) fn open_if_there(path: &Path) -> Result<Option<File>, FileError> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).of("open", path),
    }
}

/// Write a whole new file and sync its data.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = create_new(path)?;
    file.write_all(bytes).of("write", path)?;
    file.sync_data().of("sync", path)
}

/// Make the entries of a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), FileError> {
    File::open(path).and_then(|dir| dir.sync_all()).of("sync", path)
}

/// Make everything durable that was written to the file system which holds `path`.
pub(crate) fn sync_filesystem(path: &Path) -> Result<(), FileError> {
    let dir = File::open(path).of("open", path)?;
    rustix::fs::syncfs(&dir).of("sync the file system of", path)
}

/// Read a whole file, unless it is longer than `bytes_max`: then `None`.
pub(crate) fn read_bounded(file: &mut File, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    let length = file.metadata()?.len();
    if length > bytes_max {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0).saturating_add(1));
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(if bytes.len() as u64 > bytes_max {
        None
    } else {
        Some(bytes)
    })
}

/// Make one directory; fine where it exists. Whether it was made.
pub(crate) fn make_dir(path: &Path) -> Result<bool, FileError> {
    use std::os::unix::fs::DirBuilderExt as _;
    match std::fs::DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error).of("make the directory", path),
    }
}

/// Open a file to be locked, making it where it is missing.
pub(crate) fn open_lock_file(path: &Path) -> Result<File, FileError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .of("open", path)
}
