//! The root file system as a detached mount: made by the supervisor, attached inside the container.

use std::ffi::{CString, OsStr};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags};

use crate::caller::Caller;
use crate::error::SandboxError;
use crate::memory;
use crate::spec::{Profile, Root};
use crate::syscall::{self, MountFlags};

/// A string parameter of `fsconfig(2)` has at most this many bytes.
const PARAMETER_BYTES_MAX: usize = 255;

/// Stack directories into a writable file system that is mounted nowhere: reach it by opening relative to the
/// descriptor. `layers` are read, the top one first; `upper` takes the writes; `work` is an empty directory on the
/// same file system as `upper`. Close the descriptor before `upper` is used in another stack. Nothing is synced:
/// whoever keeps `upper` does that.
///
/// # Errors
/// When a directory cannot be opened, or the kernel refuses the stack.
pub fn overlay_fd(layers: &[PathBuf], upper: &Path, work: &Path) -> Result<OwnedFd, SandboxError> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    overlay(layers, Some((upper, work)), flags)
}

/// Stack directories, the top one first, into a read-only file system that is mounted nowhere: reach it by opening
/// relative to the descriptor, or take the only directory as it is.
///
/// # Errors
/// When a directory cannot be opened, or the kernel refuses the stack.
pub fn stack_fd(layers: &[PathBuf]) -> Result<OwnedFd, SandboxError> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let sealed = flags | MountAttrFlags::MOUNT_ATTR_RDONLY;
    match layers {
        [only] => bind(
            only,
            MountFlags::NO_SUID | MountFlags::NO_DEV | MountFlags::READ_ONLY,
        ),
        layers => overlay(layers, None, sealed),
    }
}

/// The root as a detached mount, its mount points made or found; `points` are names of mount points beside the usual
/// ones, and `owner` is the run's user on the host.
pub(crate) fn detached(
    root: Root<'_>,
    profile: Profile,
    points: &[&OsStr],
    owner: u32,
) -> Result<OwnedFd, SandboxError> {
    let private = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let sealed = private | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let mount = match root {
        Root::ReadOnly { layers: [] } => {
            return Err(SandboxError::Spec {
                reason: "the root has no directory".to_owned(),
            });
        }
        Root::ReadOnly { layers } if !points.is_empty() => memory::stack_with_points(layers, points, sealed)?,
        Root::ReadOnly { layers: [only] } => bind(
            only,
            MountFlags::NO_SUID | MountFlags::NO_DEV | MountFlags::READ_ONLY,
        )?,
        Root::ReadOnly { layers } => overlay(layers, None, sealed)?,
        Root::Writable { layers, upper, work } => overlay(layers, Some((upper, work)), private)?,
        Root::WritableInMemory { layers, bytes } => memory::writable_stack(layers, bytes, owner, private)?,
        Root::WritableDir(directory) => bind(directory, MountFlags::NO_SUID | MountFlags::NO_DEV)?,
    };
    let make = !matches!(root, Root::ReadOnly { .. });
    let scratch = (profile == Profile::Run).then_some("work");
    let usual = ["proc", "dev", "run", "tmp"].into_iter().chain(scratch);
    for name in usual.map(OsStr::new).chain(points.iter().copied()) {
        mount_point(mount.as_fd(), name, make)?;
    }
    Ok(mount)
}

/// A mount point is a directory and no link: a link could lead a mount elsewhere.
fn mount_point(root: BorrowedFd<'_>, name: &OsStr, make: bool) -> Result<(), SandboxError> {
    let failed = |operation| {
        move |errno: Errno| SandboxError::Root {
            operation,
            path: Path::new("/").join(name),
            source: errno.into(),
        }
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::openat2(root, name, flags, Mode::empty(), ResolveFlags::BENEATH);
    match found {
        Err(Errno::NOENT) if make => rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755))
            .map_err(failed("make the mount point")),
        found => found.map(drop).map_err(failed("find the mount point")),
    }
}

fn bind(directory: &Path, flags: u64) -> Result<OwnedFd, SandboxError> {
    let failed = |operation| {
        move |errno: Errno| SandboxError::Root {
            operation,
            path: directory.to_owned(),
            source: errno.into(),
        }
    };
    let flags_of_tree = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = rustix::mount::open_tree(CWD, directory, flags_of_tree).map_err(failed("open the root"))?;
    syscall::set_mount_flags(tree.as_fd(), c"", MountFlags(flags)).map_err(failed("restrict the root"))?;
    Ok(tree)
}

fn overlay(
    layers: &[PathBuf],
    writes: Option<(&Path, &Path)>,
    flags: MountAttrFlags,
) -> Result<OwnedFd, SandboxError> {
    let opened: Vec<OwnedFd> = layers
        .iter()
        .map(|path| open_directory(path))
        .collect::<Result<_, _>>()?;
    let writes = match writes {
        Some((upper, work)) => Some((open_directory(upper)?, open_directory(work)?)),
        None => None,
    };
    stack(&opened, writes.as_ref().map(|(upper, work)| (upper, work)), flags)
}

/// Stack opened directories, the top one first.
pub(crate) fn stack(
    layers: &[OwnedFd],
    writes: Option<(&OwnedFd, &OwnedFd)>,
    flags: MountAttrFlags,
) -> Result<OwnedFd, SandboxError> {
    let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC);
    let fs = fs.map_err(|errno| overlay_error(layers, None, errno))?;
    let build = || -> Result<OwnedFd, Errno> {
        set_layers(fs.as_fd(), layers)?;
        if let Some((upper, work)) = writes {
            set(fs.as_fd(), "upperdir", &by_descriptor(upper))?;
            set(fs.as_fd(), "workdir", &by_descriptor(work))?;
            leave_syncing_to_the_caller(fs.as_fd(), work)?;
        }
        if Caller::of_process().is_namespaced() {
            // Since Linux 5.11. Marks of the other kind could be neither set nor read.
            rustix::mount::fsconfig_set_flag(fs.as_fd(), "userxattr")?;
        }
        // The same view of the same directories on every host, whatever its kernel's defaults.
        for (feature, setting) in [
            ("redirect_dir", "nofollow"),
            ("index", "off"),
            ("metacopy", "off"),
        ] {
            set(fs.as_fd(), feature, setting)?;
        }
        rustix::mount::fsconfig_create(&fs)?;
        rustix::mount::fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, flags)
    };
    build().map_err(|errno| overlay_error(layers, kernel_message(fs.as_fd()), errno))
}

/// Without this, the end of every mount writes the whole file system of `upper` to the disk. The kernel marks `work`
/// so that a stack whose writes a crash may have lost is not mounted again; here the caller starts anew after a crash,
/// and syncs what it keeps.
fn leave_syncing_to_the_caller(fs: BorrowedFd<'_>, work: &OwnedFd) -> Result<(), Errno> {
    let marks = [
        ("work/incompat/volatile/dirty", AtFlags::empty()),
        ("work/incompat/volatile", AtFlags::REMOVEDIR),
        ("work/incompat", AtFlags::REMOVEDIR),
    ];
    for (mark, flags) in marks {
        match rustix::fs::unlinkat(work, mark, flags) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    match rustix::mount::fsconfig_set_flag(fs, "volatile") {
        // Before Linux 5.10.
        Err(Errno::INVAL) => Ok(()),
        set => set,
    }
}

/// Layers are named by descriptor: that is short, needs no escapes, and shows no path of the host inside.
fn set_layers(fs: BorrowedFd<'_>, layers: &[OwnedFd]) -> Result<(), Errno> {
    let mut joined = String::new();
    for layer in layers {
        let separator = if joined.is_empty() { "" } else { ":" };
        let _ = write!(joined, "{separator}{}", by_descriptor(layer));
    }
    if joined.len() <= PARAMETER_BYTES_MAX {
        return set(fs, "lowerdir", &joined);
    }
    // Since Linux 6.5; older kernels stack about 15 layers.
    layers
        .iter()
        .try_for_each(|layer| set(fs, "lowerdir+", &by_descriptor(layer)))
}

fn by_descriptor(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

fn set(fs: BorrowedFd<'_>, key: &str, value: &str) -> Result<(), Errno> {
    let value = CString::new(value).map_err(|_| Errno::INVAL)?;
    rustix::mount::fsconfig_set_string(fs, key, value.as_c_str())
}

pub(crate) fn open_directory(path: &Path) -> Result<OwnedFd, SandboxError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| SandboxError::Root {
        operation: "open the directory",
        path: path.to_owned(),
        source: errno.into(),
    })
}

fn overlay_error(layers: &[OwnedFd], detail: Option<String>, errno: Errno) -> SandboxError {
    SandboxError::Overlay {
        layers: layers.len(),
        detail,
        source: errno.into(),
    }
}

/// What the kernel logged into the file-system context: lines such as `e overlay: …`.
fn kernel_message(fs: BorrowedFd<'_>) -> Option<String> {
    let mut bytes = [0_u8; 512];
    let file = File::from(fs.try_clone_to_owned().ok()?);
    let length = io::Read::read(&mut &file, &mut bytes).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..length)?).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
