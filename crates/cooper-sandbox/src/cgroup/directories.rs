//! The directories of one run, one in each hierarchy: made, locked, and swept where a killed caller left them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Access, FlockOperation};
use rustix::io::Errno;

use super::place::{self, Place};
use super::{Directory, Version};
use crate::error::SandboxError;

const PARENT: &str = "cooper";
const NAMES_TRIED_MAX: u32 = 64;

/// The same new directory in every hierarchy, and a lock on the first.
pub(super) fn make(parents: &[(PathBuf, Version)]) -> Result<(Vec<Directory>, Option<File>), SandboxError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let parents: Vec<(PathBuf, Version)> = parents
        .iter()
        .map(|(parent, version)| Ok((common_parent(parent, *version)?, *version)))
        .collect::<Result<_, _>>()?;
    let Some((first, _)) = parents.first() else {
        return Ok((Vec::new(), None));
    };
    sweep(first, &parents);
    for _ in 0..NAMES_TRIED_MAX {
        let name = format!("{}-{}", own_number(), COUNT.fetch_add(1, Ordering::Relaxed));
        let Some(lock) = claim(&first.join(&name))? else {
            continue;
        };
        let mut directories: Vec<Directory> = Vec::new();
        for (parent, version) in &parents {
            let path = parent.join(&name);
            match open_new(&path) {
                Ok(handle) => directories.push(Directory {
                    path,
                    version: *version,
                    handle,
                }),
                Err(error) => {
                    for made in &directories {
                        let _ = made.remove();
                    }
                    return Err(error);
                }
            }
        }
        return Ok((directories, Some(lock)));
    }
    let source = io::ErrorKind::AlreadyExists.into();
    Err(SandboxError::Cgroup {
        operation: "find a free name below",
        path: first.clone(),
        source,
    })
}

/// Remove the directories that nobody locks below these.
pub(super) fn sweep_below(parents: &[PathBuf]) {
    let parents: Vec<(PathBuf, Version)> = parents
        .iter()
        .map(|parent| (parent.join(PARENT), Version::One))
        .collect();
    if let Some((first, _)) = parents.first() {
        sweep(first, &parents);
    }
}

/// This process as the host counts it: a keeper of warm runs is 1 in its own pid namespace.
fn own_number() -> String {
    let link = fs::read_link("/proc/self").ok();
    let number = link.and_then(|path| path.to_str().map(ToOwned::to_owned));
    number.unwrap_or_else(|| std::process::id().to_string())
}

/// Whether a run's directory can be made here, and a process be started in it, as far as permissions tell. In version 2
/// starting one also takes the right to move processes within the nearest group above both.
pub(crate) fn may_make(place: &Place) -> bool {
    let parent = &place.directory;
    let common = parent.join(PARENT);
    let holds = if common.is_dir() { &common } else { parent };
    let is_denied = |path: &Path| {
        let access = rustix::fs::access(path, Access::WRITE_OK);
        matches!(access, Err(Errno::ACCESS | Errno::PERM | Errno::ROFS))
    };
    !is_denied(holds) && (place.version == Version::One || !is_denied(&parent.join("cgroup.procs")))
}

/// `cooper` below a hierarchy's directory; in version 2 with the controllers given on to its children.
fn common_parent(parent: &Path, version: Version) -> Result<PathBuf, SandboxError> {
    let path = parent.join(PARENT);
    if !path.is_dir() {
        if version == Version::Two {
            place::delegate(parent)?;
        }
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(SandboxError::Cgroup {
                    operation: "make",
                    path,
                    source: error,
                });
            }
            _ => {}
        }
    }
    if version == Version::Two {
        place::delegate(&path)?;
    }
    Ok(path)
}

/// Make the directory and lock it; `None` when the name is taken, or a sweep took the directory away.
fn claim(path: &Path) -> Result<Option<File>, SandboxError> {
    let failed = |source| SandboxError::Cgroup {
        operation: "make",
        path: path.to_owned(),
        source,
    };
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        made => made.map_err(failed)?,
    }
    let Ok(lock) = File::open(path) else {
        return Ok(None);
    };
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    let same = |other: fs::Metadata| lock.metadata().is_ok_and(|own| own.ino() == other.ino());
    Ok(fs::metadata(path).is_ok_and(same).then_some(lock))
}

fn open_new(path: &Path) -> Result<File, SandboxError> {
    let made = match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    };
    let opened = made.and_then(|()| File::open(path));
    opened.map_err(|source| SandboxError::Cgroup {
        operation: "make",
        path: path.to_owned(),
        source,
    })
}

/// Remove the directories of callers that were killed: those that nobody locks.
fn sweep(first: &Path, parents: &[(PathBuf, Version)]) {
    let Ok(entries) = fs::read_dir(first) else { return };
    for entry in entries.flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let Ok(handle) = File::open(entry.path()) else {
            continue;
        };
        if rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // The locked directory last, as in `remove`.
            let gone = |path: PathBuf| {
                let removed = fs::remove_dir(path);
                removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
            };
            let mut parents = parents.iter().rev();
            let _ = parents.all(|(parent, _)| gone(parent.join(entry.file_name())));
        }
    }
}
