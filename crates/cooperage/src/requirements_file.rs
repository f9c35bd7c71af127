//! A requirements file of this host with the files that it includes.
//!
//! The first file is whatever the user names. What it includes is opened beneath its folder by file descriptor
//! (`openat2(2)` with `RESOLVE_BENEATH`): no `..`, no absolute path and no symbolic link leads out of it, also when
//! the folder changes meanwhile. What a file says never becomes a path in a request: its requirements are values.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cooper_core::requirements::{self, FILE_BYTES_MAX, IncludePath, Requirements, RequirementsError};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

/// Why a requirements file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RequirementsFileError {
    /// It cannot be read.
    #[error("cannot read the requirements file {}", path.display())]
    Open {
        /// As the user named it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it says, or what an included file says.
    #[error(transparent)]
    Content(#[from] RequirementsError),
}

impl RequirementsFileError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Open { .. } => {
                "name a file that you may read: `--requirements requirements.txt`".to_owned()
            }
            Self::Content(error) => error.hint().to_owned(),
        }
    }
}

/// Read the requirements file at `path`, and what it includes.
///
/// # Errors
/// When it cannot be read, or with the file and line of the first fault.
pub fn read(path: &Path) -> Result<Requirements, RequirementsFileError> {
    let failed = |source| RequirementsFileError::Open {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let bytes = bounded(file).map_err(failed)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = open(
        parent.unwrap_or(Path::new(".")),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let folder = folder.map_err(|errno| failed(errno.into()))?;
    let mut included = |path: &IncludePath| beneath(&folder, path);
    Ok(requirements::parse(
        &path.display().to_string(),
        &bytes,
        &mut included,
    )?)
}

/// Read requirements from a stream, such as standard input; they have no folder to include from.
///
/// # Errors
/// As [`read`].
pub fn read_stream(name: &str, stream: impl Read) -> Result<Requirements, RequirementsFileError> {
    let failed = |source| RequirementsFileError::Open {
        path: name.into(),
        source,
    };
    let bytes = bounded(stream).map_err(failed)?;
    let mut included = |_: &IncludePath| Err(io::Error::other("what includes it is not in a folder"));
    Ok(requirements::parse(name, &bytes, &mut included)?)
}

fn beneath(folder: &OwnedFd, path: &IncludePath) -> io::Result<Vec<u8>> {
    // A pipe is not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file =
        openat2(folder, path.as_str(), flags, Mode::empty(), resolve).map_err(|errno| match errno {
            rustix::io::Errno::XDEV => io::Error::other("it leads out of the folder of the first file"),
            errno => errno.into(),
        })?;
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a file"));
    }
    bounded(File::from(file))
}

/// One byte more than is allowed tells the parser that it is too much.
fn bounded(stream: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
