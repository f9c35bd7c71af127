//! Control groups: bounds on memory, processes and CPU for a whole run, in version 1, version 2 or a mix of both.
//!
//! A run gets the directory `cooper/<name>` in each hierarchy that holds one of the three controllers, below the
//! caller's own group where that is possible, so that the caller's own bounds go on holding. The directory of the
//! first hierarchy is locked (`flock`) while the run lives; directories that nobody locks are left over from a killed
//! caller, and the next run removes them.
//!
//! Joining: version 2 by `CLONE_INTO_CGROUP`. In version 1, moving a process by `cgroup.procs` waits for an RCU grace
//! period (1 to 15 ms), but a process that has one thread and writes `0` to `tasks` is moved at once.

mod directories;
mod place;

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::error::SandboxError;
use crate::outcome::{CpuCounter, Enforced, Enforcer, Limit};
use crate::spec::{Enforcement, Limits};

pub(crate) use directories::may_make;
pub(crate) use place::{Hierarchies, Place};

/// The group of one run.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directories: Vec<Directory>,
    memory: Option<usize>,
    pids: Option<usize>,
    /// Of earlier runs.
    oom_kills_before: u64,
    /// What was used before the run began.
    cpu_before: Duration,
    enforced: Vec<Enforced>,
    /// Locked for as long as the run lives.
    _lock: Option<File>,
}

/// One directory of the group, in one hierarchy.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    version: Version,
    handle: File,
}

/// Which file interface a hierarchy has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// What the group has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) memory_peak_bytes: Option<u64>,
    pub(crate) oom_kills: u64,
    /// Processor time of all its processes, and what counted it.
    pub(crate) cpu: Option<(Duration, CpuCounter)>,
}

/// The period of `cpu.cfs_quota_us` and `cpu.max`.
const CPU_PERIOD_US: u64 = 100_000;
const SOCKET_MEMORY_PART: u64 = 4;
/// So much may be left in a group, as what the kernel keeps of ended processes, and count for the next run.
const LEFT_BYTES_MAX: u64 = 2 << 20;
const REMOVE_TRIES_MAX: u32 = 400;
const READ_BYTES: usize = 1024;

impl Cgroup {
    /// Make the group of a new run and set its bounds.
    ///
    /// # Errors
    /// When a controller for memory or processes is missing and `enforcement` requires it, or a file cannot be
    /// written.
    pub(crate) fn create(
        hierarchies: &Hierarchies,
        limits: &Limits,
        enforcement: Enforcement,
    ) -> Result<Self, SandboxError> {
        let places = [
            (Limit::Memory, &hierarchies.memory),
            (Limit::Pids, &hierarchies.pids),
            (Limit::Cpu, &hierarchies.cpu),
        ];
        let mut parents: Vec<(PathBuf, Version)> = Vec::new();
        for (limit, place) in &places {
            let wanted = *limit != Limit::Cpu && enforcement == Enforcement::Required;
            match place {
                None if wanted => return Err(SandboxError::NoController { limit: *limit }),
                None => {}
                Some(place) if parents.iter().any(|(path, _)| *path == place.directory) => {}
                // An ordinary user has been given none of it.
                Some(place) if enforcement == Enforcement::BestEffort && !directories::may_make(place) => {}
                Some(place) => parents.push((place.directory.clone(), place.version)),
            }
        }
        // No limit hangs on it.
        let counts = hierarchies.cpu_time.as_ref().filter(|place| {
            let is_known = parents.iter().any(|(path, _)| *path == place.directory);
            !is_known && !parents.is_empty() && directories::may_make(place)
        });
        parents.extend(counts.map(|place| (place.directory.clone(), place.version)));
        let (directories, lock) = match directories::make(&parents) {
            Err(error) if enforcement == Enforcement::BestEffort => {
                tracing::debug!(%error, "runs are in no cgroup");
                parents.clear();
                (Vec::new(), None)
            }
            made => made?,
        };
        let mut group = Self {
            directories,
            memory: None,
            pids: None,
            oom_kills_before: 0,
            cpu_before: Duration::ZERO,
            enforced: Vec::new(),
            _lock: lock,
        };
        for (limit, place) in places {
            let index = place
                .as_ref()
                .and_then(|place| parents.iter().position(|(path, _)| *path == place.directory));
            if let Err(error) = group.bound(limit, index, limits, enforcement) {
                group.remove();
                return Err(error);
            }
        }
        Ok(group)
    }

    /// Set one bound in the directory of this index.
    fn bound(
        &mut self,
        limit: Limit,
        index: Option<usize>,
        limits: &Limits,
        enforcement: Enforcement,
    ) -> Result<(), SandboxError> {
        let directory = index.and_then(|index| self.directories.get(index));
        let set = directory.map(|directory| directory.set(limit, limits));
        let by = match (set, directory) {
            (Some(Ok(())), Some(directory)) => directory.version.enforcer(),
            (Some(Err(error)), _) if limit != Limit::Cpu && enforcement == Enforcement::Required => {
                return Err(error);
            }
            (Some(Err(error)), _) => {
                // Whoever accepts that is told by the outcome.
                if enforcement == Enforcement::Required {
                    tracing::warn!(%error, limit = limit.as_str(), "a limit is not enforced");
                }
                Enforcer::Nothing
            }
            _ => Enforcer::Nothing,
        };
        match limit {
            Limit::Memory if by != Enforcer::Nothing => self.memory = index,
            Limit::Pids if by != Enforcer::Nothing => self.pids = index,
            _ => {}
        }
        self.enforced.push(Enforced { limit, by });
        Ok(())
    }

    /// What holds memory, processes and CPU.
    pub(crate) fn enforced(&self) -> &[Enforced] {
        &self.enforced
    }

    /// Whether the group bounds this.
    pub(crate) fn holds(&self, limit: Limit) -> bool {
        self.enforced
            .iter()
            .any(|enforced| enforced.limit == limit && enforced.by != Enforcer::Nothing)
    }

    /// The version-2 directory, to start a process in.
    pub(crate) fn unified(&self) -> Option<BorrowedFd<'_>> {
        let directory = self
            .directories
            .iter()
            .find(|directory| directory.version == Version::Two);
        directory.map(|directory| directory.handle.as_fd())
    }

    /// The version-1 files that a process with one thread joins by, writing `0`.
    pub(crate) fn task_files(&self) -> Vec<CString> {
        let old = self
            .directories
            .iter()
            .filter(|directory| directory.version == Version::One);
        old.filter_map(|directory| CString::new(directory.path.join("tasks").as_os_str().as_bytes()).ok())
            .collect()
    }

    /// The files of this version by which a process with one thread joins, writing `0`, opened by someone who may.
    pub(crate) fn join_files(&self, version: Version) -> Result<Vec<OwnedFd>, SandboxError> {
        let name = match version {
            Version::One => "tasks",
            Version::Two => "cgroup.procs",
        };
        let open = |directory: &Directory| {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&directory.handle, name, flags, Mode::empty());
            file.map_err(|errno| SandboxError::Cgroup {
                operation: "open",
                path: directory.path.join(name),
                source: errno.into(),
            })
        };
        let directories = self.directories.iter();
        let directories = directories.filter(|directory| directory.version == version);
        directories.map(open).collect()
    }

    /// Whether at least so many processes, of a few, are in each directory of the group.
    pub(crate) fn holds_processes(&self, count: usize) -> bool {
        self.directories.iter().all(|directory| {
            let list = directory.read("cgroup.procs");
            list.is_ok_and(|list| list.lines().count() >= count)
        })
    }

    /// How many processes and threads are in it, those among them that have ended and were not waited for; `None` where
    /// nothing counts them.
    pub(crate) fn processes(&self) -> Option<u64> {
        let directory = self.pids.and_then(|index| self.directories.get(index))?;
        let count = directory.read("pids.current").ok()?;
        count.trim().parse().ok()
    }

    /// Whether a process or thread more was refused, once at least.
    pub(crate) fn has_refused_processes(&self) -> bool {
        let directory = self.pids.and_then(|index| self.directories.get(index));
        let events = directory.and_then(|directory| directory.read("pids.events").ok());
        events
            .and_then(|events| counter(&events, "max"))
            .is_some_and(|count| count > 0)
    }

    /// The run begins: what was used until now does not count for it.
    pub(crate) fn begin(&mut self) {
        self.cpu_before = self.cpu().map_or(Duration::ZERO, |(used, _)| used);
    }

    /// What was used so far.
    pub(crate) fn usage(&self) -> Usage {
        let cpu = self.cpu();
        let cpu = cpu.map(|(used, by)| (used.saturating_sub(self.cpu_before), by));
        let Some(directory) = self.memory.and_then(|index| self.directories.get(index)) else {
            return Usage {
                cpu,
                ..Usage::default()
            };
        };
        let (peak, events) = match directory.version {
            Version::One => ("memory.max_usage_in_bytes", "memory.oom_control"),
            Version::Two => ("memory.peak", "memory.events"),
        };
        let read = |name: &str| directory.read(name).unwrap_or_default();
        let kills = counter(&read(events), "oom_kill");
        Usage {
            memory_peak_bytes: read(peak).trim().parse().ok(),
            oom_kills: kills.unwrap_or(0).saturating_sub(self.oom_kills_before),
            cpu,
        }
    }

    /// The processor time of all that was ever in it, where something counts that.
    fn cpu(&self) -> Option<(Duration, CpuCounter)> {
        let counting = self.directories.iter().rev();
        { counting }.find_map(|directory| match directory.version {
            Version::One => {
                let text = directory.read("cpuacct.usage").ok()?;
                let used = Duration::from_nanos(text.trim().parse().ok()?);
                Some((used, CpuCounter::CgroupV1))
            }
            Version::Two => {
                let text = directory.read("cpu.stat").ok()?;
                let used = Duration::from_micros(counter(&text, "usage_usec")?);
                Some((used, CpuCounter::CgroupV2))
            }
        })
    }

    /// What its processes have now: memory without what the kernel can take back at any time because it is on the disk.
    pub(crate) fn working_set_bytes(&self) -> Option<u64> {
        let directory = self.memory.and_then(|index| self.directories.get(index))?;
        let (usage, reclaimable) = match directory.version {
            Version::One => ("memory.usage_in_bytes", "total_inactive_file"),
            Version::Two => ("memory.current", "inactive_file"),
        };
        let usage: u64 = directory.read(usage).ok()?.trim().parse().ok()?;
        let counts = fs::read_to_string(directory.path.join("memory.stat")).unwrap_or_default();
        let on_disk = counter(&counts, reclaimable);
        Some(usage.saturating_sub(on_disk.unwrap_or(0)))
    }

    /// The same group for another run, where nothing is left in it and its counts can begin anew; else it is removed.
    pub(crate) fn reset(mut self) -> Option<Self> {
        let is_empty = |directory: &Directory| {
            let list = directory.read("cgroup.procs");
            directory.version == Version::One && list.is_ok_and(|list| list.is_empty())
        };
        let memory = self.memory.and_then(|index| self.directories.get(index));
        let is_little = |directory: &Directory| {
            let left = directory.read("memory.usage_in_bytes");
            let left = left.ok().and_then(|left| left.trim().parse().ok());
            left.is_some_and(|left: u64| left <= LEFT_BYTES_MAX)
        };
        let is_reset = |directory: &Directory| {
            // What is in file systems in memory stays: it would count for the next run.
            let is_emptied = is_little(directory)
                || (directory.write("memory.force_empty", "0").is_ok() && is_little(directory));
            is_emptied && directory.write("memory.max_usage_in_bytes", "0").is_ok()
        };
        if self.directories.iter().all(is_empty) && memory.is_none_or(is_reset) {
            self.oom_kills_before += self.usage().oom_kills;
            return Some(self);
        }
        self.remove();
        None
    }

    /// Remove the group; its processes have ended, or are about to. The locked directory goes last: where it is gone,
    /// nothing is left to sweep.
    pub(crate) fn remove(self) {
        for directory in self.directories.iter().rev() {
            if let Err(error) = directory.remove() {
                let path = directory.path.display();
                tracing::warn!(%error, %path, "cannot remove a cgroup; the next run will");
            }
        }
    }
}

/// Remove what ended callers left.
pub(crate) fn sweep(hierarchies: &Hierarchies) {
    let places = [
        &hierarchies.memory,
        &hierarchies.pids,
        &hierarchies.cpu,
        &hierarchies.cpu_time,
    ];
    let mut parents: Vec<PathBuf> = Vec::new();
    for place in places.into_iter().flatten() {
        if !parents.contains(&place.directory) {
            parents.push(place.directory.clone());
        }
    }
    directories::sweep_below(&parents);
}

impl Version {
    fn enforcer(self) -> Enforcer {
        match self {
            Self::One => Enforcer::CgroupV1,
            Self::Two => Enforcer::CgroupV2,
        }
    }
}

impl Directory {
    fn set(&self, limit: Limit, limits: &Limits) -> Result<(), SandboxError> {
        // The container's init is a process of the group too.
        let pids = (u64::from(limits.pids) + 1).to_string();
        let memory = limits.memory_bytes.to_string();
        let quota = u64::from(limits.cpu_millis) * CPU_PERIOD_US / 1000;
        match (limit, self.version) {
            (Limit::Memory, Version::One) => {
                self.write("memory.limit_in_bytes", &memory)?;
                self.write_if_there("memory.memsw.limit_in_bytes", &memory)?;
                // Version 1 counts the buffers of network sockets only when told to, and apart from all else.
                let sockets = (limits.memory_bytes / SOCKET_MEMORY_PART).to_string();
                self.write_if_there("memory.kmem.tcp.limit_in_bytes", &sockets)
            }
            (Limit::Memory, Version::Two) => {
                self.write("memory.max", &memory)?;
                self.write_if_there("memory.swap.max", "0")?;
                self.write_if_there("memory.oom.group", "1")
            }
            (Limit::Pids, _) => self.write("pids.max", &pids),
            (Limit::Cpu, Version::One) => {
                self.write("cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
                self.write("cpu.cfs_quota_us", &quota.to_string())
            }
            (_, Version::Two) => self.write("cpu.max", &format!("{quota} {CPU_PERIOD_US}")),
            (_, Version::One) => Ok(()),
        }
    }

    /// A control file, or as much of it as the kernel gives at once: at least one line.
    fn read(&self, name: &str) -> io::Result<String> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.handle, name, flags, Mode::empty())?;
        let mut bytes = [0; READ_BYTES];
        let length = rustix::io::read(file, &mut bytes)?;
        let text = bytes.get(..length).unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn write(&self, name: &str, text: &str) -> Result<(), SandboxError> {
        write(&self.path.join(name), text)
    }

    /// For files that depend on how the kernel was built.
    fn write_if_there(&self, name: &str, text: &str) -> Result<(), SandboxError> {
        if self.path.join(name).exists() {
            self.write(name, text)
        } else {
            Ok(())
        }
    }

    fn remove(&self) -> io::Result<()> {
        for attempt in 0..REMOVE_TRIES_MAX {
            match fs::remove_dir(&self.path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    if attempt == 0 && self.version == Version::Two {
                        let _ = write(&self.path.join("cgroup.kill"), "1");
                    }
                    std::thread::sleep(Duration::from_micros(if attempt < 20 { 100 } else { 5_000 }));
                }
                other => return other,
            }
        }
        fs::remove_dir(&self.path)
    }
}

/// What a file of names and numbers, one a line, has for a name.
fn counter(text: &str, name: &str) -> Option<u64> {
    let mut values = text
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.find_map(|value| value.trim().parse().ok())
}

/// Write a control file. (Created where missing for the sake of tests: in a cgroup file system that fails.)
fn write(path: &Path, text: &str) -> Result<(), SandboxError> {
    let failed = |source| SandboxError::Cgroup {
        operation: "write",
        path: path.to_owned(),
        source,
    };
    let file = File::options().write(true).create(true).truncate(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(failed)
}

#[cfg(test)]
mod tests;
