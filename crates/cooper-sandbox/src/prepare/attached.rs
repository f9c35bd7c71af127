//! Detached mounts, checked and made ready before the fork.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Gid, Uid};
use rustix::io::Errno;

use super::{INJECTED_DIR, PreparedMount, SECRETS_DIR, c_string, fault};
use crate::error::SandboxError;
use crate::grants::{Attached, Owner};
use crate::memory::SHOW_FILE;
use crate::owners;
use crate::syscall::{self, MountFlags};

/// What the container mounts there itself.
const TAKEN: [&str; 5] = ["proc", "dev", "run", "tmp", "work"];

/// The names directly below `/` that have to be there.
pub(super) fn points<'a>(mounts: &[Attached<'a>]) -> Vec<&'a OsStr> {
    let below_root = |mount: &Attached<'a>| match *names(mount.target)?.as_slice() {
        [name] => Some(name),
        _ => None,
    };
    mounts.iter().filter_map(below_root).collect()
}

/// Check each target, and give each mount the owner that it shall have. Nothing is mounted where injected files are reached:
/// `injects` says whether there are any.
pub(super) fn prepare<'a>(
    mounts: &[Attached<'a>],
    injects: bool,
    user: u32,
) -> Result<Vec<PreparedMount<'a>>, SandboxError> {
    let mut prepared = Vec::with_capacity(mounts.len());
    for (index, attached) in mounts.iter().enumerate() {
        let before = mounts.get(..index).unwrap_or_default();
        let make = placed(attached.target, before, injects).ok_or_else(|| {
            fault(format!(
                "nothing can be mounted at `{}`",
                attached.target.display()
            ))
        })?;
        set_owner(attached, user).map_err(|errno| SandboxError::Root {
            operation: SHOW_FILE,
            path: attached.target.to_owned(),
            source: errno.into(),
        })?;
        prepared.push(PreparedMount {
            mount: attached.mount,
            target: c_string("a path", attached.target.as_os_str())?,
            make,
        });
    }
    Ok(prepared)
}

/// Whether the mount point has to be made by init; `None` where nothing may be mounted.
fn placed(target: &Path, before: &[Attached<'_>], injects: bool) -> Option<bool> {
    let injected = injects && [INJECTED_DIR, SECRETS_DIR].map(Path::new).contains(&target);
    let taken = |name: &OsStr| TAKEN.iter().any(|taken| name == *taken);
    let in_earlier = before
        .iter()
        .any(|earlier| target != earlier.target && target.starts_with(earlier.target));
    match *names(target)?.as_slice() {
        _ if in_earlier => Some(false),
        [name] if !taken(name) => Some(false),
        [run, _] if run == "run" && !injected => Some(true),
        _ => None,
    }
}

/// The components of an absolute path without `.` and `..`.
fn names(path: &Path) -> Option<Vec<&OsStr>> {
    let below = path.as_os_str().as_bytes().strip_prefix(b"/")?;
    let components = Path::new(OsStr::from_bytes(below)).components();
    components
        .map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

fn set_owner(attached: &Attached<'_>, user: u32) -> Result<(), Errno> {
    let private = MountFlags(MountFlags::NO_SUID | MountFlags::NO_DEV);
    syscall::set_mount_flags(attached.mount, c"", private)?;
    match attached.owner {
        Owner::Kept => Ok(()),
        Owner::RunUser => rustix::fs::chownat(
            attached.mount,
            c"",
            Some(Uid::from_raw(user)),
            Some(Gid::from_raw(user)),
            AtFlags::EMPTY_PATH,
        ),
        Owner::ShownAsRunUser => show_as(attached.mount, user),
    }
}

fn show_as(mount: BorrowedFd<'_>, user: u32) -> Result<(), Errno> {
    use std::os::fd::AsFd as _;
    let state = rustix::fs::statat(mount, c"", AtFlags::EMPTY_PATH)?;
    if state.st_uid >= user || state.st_gid >= user {
        return Err(Errno::OVERFLOW);
    }
    let shift = owners::shifted((state.st_uid, state.st_gid), user)?;
    syscall::set_mount_owners(mount, shift.as_fd())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn targets_are_new_directories_or_in_mounts_before() {
        let file = std::fs::File::open("/").unwrap();
        let at = |target: &'static str| Attached {
            target: Path::new(target),
            mount: file.as_fd(),
            owner: Owner::Kept,
        };
        let input = [at("/input")];
        for (target, before, expected) in [
            ("/output", &[][..], Some(false)),
            ("/run/result", &[], Some(true)),
            ("/input/a.csv", &input, Some(false)),
            ("/input/a.csv", &[], None),
            ("/input", &input, Some(false)),
            ("/proc", &[], None),
            ("/work", &[], None),
            ("/run/cooper", &[], None),
            ("/run/secrets", &[], None),
            ("/run/a/b", &[], None),
            ("/input/../etc", &input, None),
            ("/", &[], None),
            ("input", &[], None),
            ("/usr/bin", &[], None),
        ] {
            assert_eq!(placed(Path::new(target), before, true), expected, "{target}");
        }
        assert_eq!(placed(Path::new("/run/cooper"), &[], false), Some(true));
        assert_eq!(points(&[at("/input"), at("/input/a"), at("/run/x")]), ["input"]);
    }
}
