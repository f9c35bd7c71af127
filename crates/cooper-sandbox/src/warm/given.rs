//! What a child gets, and what it leaves: file systems in memory that the keeper holds by descriptor.
//!
//! They are mounted in the child's place, read-only where they only give; the keeper writes to these through a mount of its
//! own, which is attached nowhere.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::OpenTreeFlags;

use super::wire::{WarmFile, WarmLimits};
use crate::collect::{CollectLimits, Refusal, Refused, collect, read_file};
use crate::error::{SandboxError, supervising};
use crate::grants::{Attached, Owner};
use crate::memory::tmpfs_fd;
use crate::syscall::{self, MountFlags};

/// The result, in the container.
pub(super) const RESULT_PATH: &str = "/run/result/result.json";
const RESULT_NAME: &str = "result.json";
/// The names of the mount points directly below the root.
pub(super) const POINTS: [&str; 2] = ["input", "output"];

/// Where the other mounts are.
pub(super) const RUN_DIRECTORIES: [&CStr; 3] = [c"/run/cooper", c"/run/secrets", c"/run/result"];

/// A folder of what is given, and where it appears.
const FOLDERS: [(&str, &str); 3] = [
    ("cooper", "/run/cooper"),
    ("secrets", "/run/secrets"),
    ("input", "/input"),
];
const GIVEN_BYTES_MAX: u64 = 1 << 30;
const GIVEN_FILES_MAX: u64 = 4096;
/// A result that is too long is seen to be.
const RESULT_BYTES_BESIDE: u64 = 8192;
const RESULT_FILES_MAX: u64 = 16;
const OUTPUT_DEPTH_MAX: u32 = 32;

/// The file systems of one child.
pub(super) struct Given {
    folders: OwnedFd,
    output: OwnedFd,
    result: OwnedFd,
    /// The child's user on the host.
    user: u32,
}

/// What a run has left in `/output`.
#[derive(Default)]
pub(super) struct Left {
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) refused: Vec<Refused>,
    pub(super) refused_beside: u64,
}

/// Mounts for a child's place.
pub(super) struct GivenMounts(Vec<(PathBuf, OwnedFd)>);

impl GivenMounts {
    pub(super) fn attached(&self) -> Vec<Attached<'_>> {
        let attached = self.0.iter().map(|(target, mount)| Attached {
            target,
            mount: mount.as_fd(),
            owner: Owner::Kept,
        });
        attached.collect()
    }
}

impl Given {
    /// New ones, and the mounts for the child's place. `user` is the child's on the host.
    pub(super) fn make(user: u32, limits: &WarmLimits) -> Result<(Self, GivenMounts), SandboxError> {
        let given = tmpfs_fd(GIVEN_BYTES_MAX, GIVEN_FILES_MAX, 0, 0o755)?;
        // A page more for each file, and for a hole a page that is not there.
        let output = tmpfs_fd(
            limits.output_bytes_max,
            limits.output_files_max.saturating_mul(2),
            user,
            0o755,
        )?;
        let result_bytes = limits.result_bytes_max.saturating_add(RESULT_BYTES_BESIDE);
        let result = tmpfs_fd(result_bytes, RESULT_FILES_MAX, user, 0o700)?;
        let mut mounts = Vec::with_capacity(FOLDERS.len() + 2);
        for (name, target) in FOLDERS {
            let make = supervising("make a folder for the run");
            rustix::fs::mkdirat(&given, name, Mode::from_raw_mode(0o755)).map_err(make)?;
            let mount = clone_of(given.as_fd(), name)?;
            let sealed = MountFlags(MountFlags::READ_ONLY | MountFlags::NO_SUID | MountFlags::NO_DEV);
            syscall::set_mount_flags(mount.as_fd(), c"", sealed).map_err(supervising("restrict a mount"))?;
            mounts.push((PathBuf::from(target), mount));
        }
        // They go with the other mounts of the place, and what is seen of them here is let go of at once.
        let seen = [&output, &result].map(|mount| directory_of(mount.as_fd()));
        let [seen_output, seen_result] = seen;
        mounts.extend([
            (PathBuf::from("/output"), output),
            (PathBuf::from("/run/result"), result),
        ]);
        let given = Self {
            folders: given,
            output: seen_output?,
            result: seen_result?,
            user,
        };
        Ok((given, GivenMounts(mounts)))
    }

    /// Put the script there; `name` is one component.
    pub(super) fn put_script(&self, name: &str, bytes: &[u8]) -> Result<(), SandboxError> {
        self.put("cooper", name, bytes, false)
    }

    /// Put a file or a secret there.
    pub(super) fn put_file(&self, file: &WarmFile, bytes: &[u8]) -> Result<(), SandboxError> {
        let folder = if file.secret { "secrets" } else { "input" };
        self.put(folder, &file.name, bytes, file.secret)
    }

    fn put(&self, folder: &str, name: &str, bytes: &[u8], secret: bool) -> Result<(), SandboxError> {
        const OPERATION: &str = "give a file to the run";
        let (mode, owner) = if secret { (0o400, self.user) } else { (0o444, 0) };
        let path = Path::new(folder).join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folders, &path, flags, Mode::from_raw_mode(mode));
        let mut file = File::from(file.map_err(supervising(OPERATION))?);
        file.write_all(bytes).map_err(|source| SandboxError::Supervise {
            operation: OPERATION,
            source,
        })?;
        rustix::fs::fchown(&file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))
            .map_err(supervising(OPERATION))
    }

    /// The bytes of the result, if there is one.
    pub(super) fn result(&self, bytes_max: u64) -> Result<Option<Vec<u8>>, Refusal> {
        let bytes = read_file(self.result.as_fd(), OsStr::new(RESULT_NAME), bytes_max)?;
        Ok(bytes.filter(|bytes| !bytes.is_empty()))
    }

    /// What has to be let go of.
    pub(super) fn into_remains(self) -> [OwnedFd; 3] {
        [self.folders, self.output, self.result]
    }

    /// Whether the only file of that file system is its root.
    fn is_output_empty(&self) -> bool {
        let state = rustix::fs::fstatvfs(&self.output);
        state.is_ok_and(|state| state.f_files > 0 && state.f_files - state.f_ffree.min(state.f_files) == 1)
    }

    /// What is in `/output`.
    pub(super) fn left(&self, limits: &WarmLimits) -> Left {
        let files_max = u32::try_from(limits.output_files_max).unwrap_or(u32::MAX);
        let bounds = CollectLimits {
            bytes_max: limits.output_bytes_max,
            files_max,
            depth_max: OUTPUT_DEPTH_MAX,
            entries_max: files_max.saturating_mul(2),
        };
        let mut left = Left::default();
        if self.is_output_empty() {
            return left;
        }
        let collected = collect(self.output.as_fd(), &bounds, &mut |found| {
            let mut bytes = Vec::new();
            let length = found.content.read_to_end(&mut bytes)?;
            left.files
                .push((found.path.to_string_lossy().into_owned(), bytes));
            Ok(length as u64)
        });
        match collected {
            Ok(collected) => {
                left.refused = collected.refused;
                left.refused_beside = collected.refused_beside;
            }
            Err(error) => {
                tracing::warn!(error = error.to_string(), "what a warm run has left is not read");
                left.refused.push(Refused {
                    shown_path: ".".to_owned(),
                    reason: Refusal::Changed,
                });
            }
        }
        left
    }
}

/// The directory that is the root of a mount.
fn directory_of(mount: BorrowedFd<'_>) -> Result<OwnedFd, SandboxError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(mount, ".", flags, Mode::empty()).map_err(supervising("open a folder of the run"))
}

/// A detached mount of the same file system, or of a folder in it.
pub(super) fn clone_of(mount: BorrowedFd<'_>, folder: &str) -> Result<OwnedFd, SandboxError> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(mount, folder, flags).map_err(supervising("copy a mount"))
}
