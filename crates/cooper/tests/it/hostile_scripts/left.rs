//! What is left on the host.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::ground::{Ground, Runner};

/// The processes of the host that call themselves this.
pub(super) fn processes_named(name: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| name_of(*pid) == name).collect()
}

fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

/// What the suite has on the host at one time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Count {
    /// The names of its processes.
    processes: Vec<String>,
    network_namespaces: usize,
    mount_namespaces: usize,
    /// Mounts that the host sees.
    mounts: usize,
    /// Mounts, open files beside those of groups, and threads of each process that lives as long as the runner.
    kept: Vec<(String, usize, usize, usize)>,
    /// Files in the folders of runs and stores.
    temporary: Vec<PathBuf>,
}

/// Sixteen run at once, four wait, and one is the template's.
const GROUPS_MAX: usize = 21;
/// The names of what stays as long as a runner.
const KEPT: [&str; 2] = ["cooper", "cooper-keeper"];

impl Count {
    fn now(ground: &Ground) -> Self {
        let pids = ground.outer.processes();
        let namespaces = |kind: &str| {
            let links = pids
                .iter()
                .filter_map(|pid| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok());
            let mut links: Vec<PathBuf> = links.collect();
            links.sort();
            links.dedup();
            links.len()
        };
        // A keeper has a group for each run at once, and a file for each directory and a lock in each.
        let (groups, hierarchies) = ground.outer.groups_and_hierarchies();
        let group_files = groups * (hierarchies + 1);
        let entries =
            |pid: u32, name: &str| fs::read_dir(format!("/proc/{pid}/{name}")).map_or(0, Iterator::count);
        let lines = |pid: &str| fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let kept = pids
            .iter()
            .filter(|pid| KEPT.contains(&name_of(**pid).as_str()))
            .map(|pid| {
                let (name, mounts) = (name_of(*pid), lines(&pid.to_string()).lines().count());
                let of_groups = if name == "cooper-keeper" { group_files } else { 0 };
                let files = entries(*pid, "fd").saturating_sub(of_groups);
                (name, mounts, files, entries(*pid, "task"))
            });
        let mut kept: Vec<_> = kept.collect();
        kept.sort();
        let mut processes: Vec<String> = pids.iter().map(|pid| name_of(*pid)).collect();
        processes.sort();
        let folder = ground.host.path("");
        let folder = folder.to_str().unwrap();
        let temporary = ["store/tmp", "project"].map(|name| ground.host.path(name));
        let temporary = temporary
            .iter()
            .flat_map(|path| fs::read_dir(path).into_iter().flatten().flatten());
        Self {
            network_namespaces: namespaces("net"),
            mount_namespaces: namespaces("mnt"),
            mounts: lines("self").lines().filter(|line| line.contains(folder)).count(),
            kept,
            processes,
            temporary: temporary.map(|entry| entry.path()).collect(),
        }
    }

    /// What there is when nothing changes any more: twice the same, with so many children waiting.
    pub(super) fn at_rest(ground: &Ground, waiting: usize) -> Self {
        let until = Instant::now() + Duration::from_secs(20);
        let mut before = Self::now(ground);
        loop {
            std::thread::sleep(Duration::from_millis(50));
            let now = Self::now(ground);
            let holders = now
                .processes
                .iter()
                .filter(|name| *name == "cooper-holder")
                .count();
            let is_at_rest = before == now && holders == waiting;
            if is_at_rest || Instant::now() > until {
                assert!(is_at_rest, "{waiting} children wait for ever: {now:#?}");
                let (groups, _) = ground.outer.groups_and_hierarchies();
                assert!(groups <= GROUPS_MAX, "{groups} groups");
                return now;
            }
            before = now;
        }
    }
}

/// Nothing of this runner's is there any more, nor of any run.
pub(super) fn assert_nothing_is_left(ground: &Ground, runner: Runner) {
    let pid = runner.pid();
    runner.end();
    let left = Count::at_rest(ground, 0);
    assert_eq!(left.processes, [] as [String; 0], "of the runner {pid}");
    assert_eq!(ground.outer.groups(), [] as [PathBuf; 0]);
    assert_eq!(left.mounts, 0, "mounts of the host");
}
