//! Where this host keeps each controller.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Version, write};
use crate::error::SandboxError;

/// Where the directory of a run can be made for each controller; `None` where no hierarchy has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hierarchies {
    pub(crate) memory: Option<Place>,
    pub(crate) pids: Option<Place>,
    pub(crate) cpu: Option<Place>,
    /// What counts processor time, in version 1; in version 2 every group does.
    pub(crate) cpu_time: Option<Place>,
}

/// A directory in a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) version: Version,
}

/// The controllers that a version-2 group gives on to its children.
const WANTED: [&str; 3] = ["memory", "pids", "cpu"];

impl Hierarchies {
    /// Those of this host, as the calling process sees them.
    pub(crate) fn of_host() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self::parse(
            &read("/proc/self/mountinfo"),
            &read("/proc/self/cgroup"),
            Path::new("/"),
        )
    }

    /// From `/proc/self/mountinfo` and `/proc/self/cgroup`; mount points are taken below `root`.
    pub(crate) fn parse(mountinfo: &str, own: &str, root: &Path) -> Self {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
        let place = |controller: &str| {
            let old = mounts
                .iter()
                .find(|mount| mount.kind == "cgroup" && mount.has_option(controller));
            if let Some(mount) = old {
                let directory = mount.directory(own_path(own, controller), root);
                return Some(Place {
                    directory,
                    version: Version::One,
                });
            }
            let unified = mounts.iter().find(|mount| mount.kind == "cgroup2")?;
            let top = unified.directory("/", root);
            if !lists(&top.join("cgroup.controllers"), controller) {
                return None;
            }
            let own = unified.directory(own_path(own, ""), root);
            Some(Place {
                directory: giving_ancestor(&own, &top),
                version: Version::Two,
            })
        };
        Self {
            memory: place("memory"),
            pids: place("pids"),
            cpu: place("cpu"),
            cpu_time: place("cpuacct"),
        }
    }
}

struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    /// A line of `proc_pid_mountinfo(5)`.
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        let (root, point) = (before.next()?, before.next()?);
        let (kind, options) = (after.next()?, after.nth(1)?);
        Some(Self {
            root,
            point,
            kind,
            options,
        })
    }

    fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }

    /// Where the group `path` is; the mount point itself when the mount does not show it.
    fn directory(&self, path: &str, root: &Path) -> PathBuf {
        let point = root.join(self.point.trim_start_matches('/'));
        let below = Path::new(path).strip_prefix(self.root).unwrap_or(Path::new(""));
        let directory = point.join(below.strip_prefix("/").unwrap_or(below));
        if directory.is_dir() { directory } else { point }
    }
}

/// The path of the process's group in the hierarchy of a controller, version 2 for an empty name.
fn own_path<'a>(own: &'a str, controller: &str) -> &'a str {
    let line = own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    });
    line.unwrap_or("/")
}

/// The nearest group, from the process's own upwards, whose children have the controllers. A group that holds
/// processes can have no such children, except the top.
fn giving_ancestor(own: &Path, top: &Path) -> PathBuf {
    let gives = |group: &&Path| {
        ["memory", "pids"]
            .iter()
            .all(|name| lists(&group.join("cgroup.subtree_control"), name))
    };
    let inside = own.ancestors().take_while(|group| group.starts_with(top));
    inside.into_iter().find(gives).unwrap_or(top).to_owned()
}

fn lists(file: &Path, controller: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.split_whitespace().any(|name| name == controller))
}

/// Give the controllers of this version-2 group on to its children, where they are not yet.
pub(super) fn delegate(group: &Path) -> Result<(), SandboxError> {
    let control = group.join("cgroup.subtree_control");
    let missing: Vec<String> = WANTED
        .iter()
        .filter(|name| lists(&group.join("cgroup.controllers"), name) && !lists(&control, name))
        .map(|name| format!("+{name}"))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        write(&control, &missing.join(" "))
    }
}
