//! Where a run has its files: a new file system, so that nothing that this machine did before is in the figures.
//!
//! Contenders share it. An ext4 without a journal, for one, is slow for minutes after large deletions.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BenchError;
use crate::measure::timed;
use crate::say;

const DISK_BYTES: u64 = 32 << 30;

/// A mounted file system; dropping it leaves nothing. What an earlier, killed run left is removed as well.
pub(crate) struct RunFolder {
    path: PathBuf,
    disk: PathBuf,
}

impl RunFolder {
    /// Make it below the folder `work`: an ext4 with the usual features in a sparse file.
    pub(crate) fn make(work: &Path) -> Result<Self, BenchError> {
        let folder = Self {
            path: work.join("run"),
            disk: work.join("run.ext4"),
        };
        folder.remove();
        let file = |source| BenchError::file(&folder.path, source);
        std::fs::create_dir_all(&folder.path).map_err(file)?;
        let disk = std::fs::File::create(&folder.disk).map_err(file)?;
        disk.set_len(DISK_BYTES).map_err(file)?;
        let no_late_work = ["-E", "lazy_itable_init=0,lazy_journal_init=0"];
        timed(
            Command::new("/sbin/mkfs.ext4")
                .arg("-qF")
                .args(no_late_work)
                .arg(&folder.disk),
        )?;
        let device = timed(
            Command::new("/sbin/losetup")
                .args(["--find", "--show", "--direct-io=on"])
                .arg(&folder.disk),
        )?;
        let device = device.stdout.trim();
        let mounted = timed(Command::new("/bin/mount").arg(device).arg(&folder.path));
        // From now on the device lives as long as its mount.
        timed(Command::new("/sbin/losetup").args(["--detach", device]))?;
        mounted?;
        Ok(folder)
    }

    /// Its root.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn remove(&self) {
        // Where nothing is mounted there is nothing to unmount.
        let _ = timed(Command::new("/bin/umount").arg(&self.path));
        if self.path.exists()
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            say(&format!("{} could not be removed: {error}", self.path.display()));
        }
        let _ = std::fs::remove_file(&self.disk);
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        self.remove();
    }
}
