//! What became of a run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::network::NetworkReport;

/// What became of a run that took place.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How the program ended.
    pub end: End,
    /// From start to end.
    pub wall: Duration,
    /// Processor time, user and system, of its processes and of making the container.
    pub cpu: Duration,
    /// What counted it.
    pub cpu_by: CpuCounter,
    /// The most memory used at any time, where a cgroup counted it.
    pub memory_peak_bytes: Option<u64>,
    /// The kernel killed a process of the run for want of memory; `end` says what the program itself did.
    pub oom_killed: bool,
    /// Standard output, where it was captured.
    pub stdout: Vec<u8>,
    /// Standard error, where it was captured.
    pub stderr: Vec<u8>,
    /// Captured output was longer than the bounds.
    pub truncated: bool,
    /// What held each limit.
    pub enforced: Vec<Enforced>,
    /// What became of its connections, where its network was an allow-list.
    pub network: Option<NetworkReport>,
}

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(u8),
    /// By this signal.
    Signaled(i32),
    /// Killed when its time was over.
    TimeLimit,
    /// Killed when it had used its memory.
    MemoryLimit,
}

/// A limit and what held it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforced {
    /// Which limit.
    pub limit: Limit,
    /// What held it.
    pub by: Enforcer,
}

/// The limits of [`crate::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// `memory_bytes`
    Memory,
    /// `pids`
    Pids,
    /// `cpu_millis`
    Cpu,
    /// `open_files`
    OpenFiles,
    /// `wall`
    Wall,
    /// `tmp_bytes`
    Tmp,
    /// `scratch_bytes`
    Scratch,
}

/// What holds a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Enforcer {
    /// A controller of cgroup version 1.
    CgroupV1,
    /// A controller of cgroup version 2.
    CgroupV2,
    /// A resource limit; for memory it bounds each process's address space, not their sum.
    Rlimit,
    /// The size of a file system in memory.
    Tmpfs,
    /// The supervisor's clock.
    Timer,
    /// Nothing.
    Nothing,
}

/// What counts processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuCounter {
    /// A controller of cgroup version 1: of all processes.
    CgroupV1,
    /// Cgroup version 2: of all processes.
    CgroupV2,
    /// The kernel, for whoever waits for a process: of those that were waited for.
    EndedProcesses,
}

impl CpuCounter {
    /// Its word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CgroupV1 => "cgroup-v1",
            Self::CgroupV2 => "cgroup-v2",
            Self::EndedProcesses => "ended-processes",
        }
    }
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Memory,
        Self::Pids,
        Self::Cpu,
        Self::OpenFiles,
        Self::Wall,
        Self::Tmp,
        Self::Scratch,
    ];

    /// The limit's name: as of the flag of `cooper run` that sets it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpus",
            Self::OpenFiles => "files",
            Self::Wall => "timeout",
            Self::Tmp => "tmp",
            Self::Scratch => "scratch",
        }
    }
}

impl Enforcer {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CgroupV1,
        Self::CgroupV2,
        Self::Rlimit,
        Self::Tmpfs,
        Self::Timer,
        Self::Nothing,
    ];

    /// The enforcer's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CgroupV1 => "cgroup-v1",
            Self::CgroupV2 => "cgroup-v2",
            Self::Rlimit => "rlimit",
            Self::Tmpfs => "tmpfs",
            Self::Timer => "timer",
            Self::Nothing => "nothing",
        }
    }
}
