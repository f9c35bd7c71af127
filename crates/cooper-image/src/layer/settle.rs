//! Times that do not tell when a tree was built.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};

use super::PackError;
use super::walk::{DEPTH_MAX, is_whiteout, open_root, shown, sorted_names, tree_error};

/// Give every directory of the tree exactly the time `newest`, and everything else at most that time (seconds
/// since 1970): what a build step touched and when is not in the layer. Links are not followed.
pub fn settle_mtimes(root: &Path, newest: i64) -> Result<(), PackError> {
    let directory = open_root(root)?;
    let keep = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_OMIT,
    };
    let times = Timestamps {
        last_access: keep,
        last_modification: Timespec {
            tv_sec: newest,
            tv_nsec: 0,
        },
    };
    settle_directory(&directory, &mut Vec::new(), &times, 0)
}

fn settle_directory(
    directory: &OwnedFd,
    path: &mut Vec<u8>,
    times: &Timestamps,
    depth: usize,
) -> Result<(), PackError> {
    if depth > DEPTH_MAX {
        return Err(PackError::TooDeep {
            path: shown(path),
            depth_max: DEPTH_MAX,
        });
    }
    let parent_length = path.len();
    for name in sorted_names(directory, path)? {
        path.extend_from_slice(&name);
        let status = rustix::fs::statat(directory, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| tree_error("read the state of", path, errno))?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let below = rustix::fs::openat(directory, name.as_slice(), flags, Mode::empty())
                .map_err(|errno| tree_error("open", path, errno))?;
            path.push(b'/');
            settle_directory(&below, path, times, depth + 1)?;
        } else if is_later(&status, times) && !is_whiteout(&status) {
            rustix::fs::utimensat(directory, name.as_slice(), times, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| tree_error("set the time of", path, errno))?;
        }
        path.truncate(parent_length);
    }
    rustix::fs::futimens(directory, times).map_err(|errno| tree_error("set the time of", path, errno))
}

fn is_later(status: &Stat, times: &Timestamps) -> bool {
    let newest = times.last_modification.tv_sec;
    status.st_mtime > newest || status.st_mtime == newest && status.st_mtime_nsec > 0
}
