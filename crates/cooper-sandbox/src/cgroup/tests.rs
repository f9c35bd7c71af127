//! Version 1 and version 2 against a double of their file interface: plain directories.

use super::place::Place;
use super::*;

const LIMITS: Limits = Limits {
    memory_bytes: 1 << 30,
    pids: 256,
    open_files: 1024,
    cpu_millis: 1500,
    wall: None,
    tmp_bytes: 1 << 20,
    scratch_bytes: 1 << 20,
};

const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

struct Double(tempfile::TempDir);

impl Double {
    /// A version-2 file system with the process in `/user.slice/session.scope`.
    fn unified() -> Self {
        let double = Self(tempfile::tempdir().unwrap());
        for group in ["", "user.slice", "user.slice/session.scope"] {
            double.file(
                &format!("{group}/cgroup.controllers"),
                "cpuset cpu io memory pids\n",
            );
            double.file(&format!("{group}/cgroup.subtree_control"), "");
        }
        double
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0
            .path()
            .join("sys/fs/cgroup")
            .join(path.trim_start_matches('/'))
    }

    fn file(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        write(&self.path(path), text).unwrap();
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn hierarchies(&self) -> Hierarchies {
        Hierarchies::parse(UNIFIED, "0::/user.slice/session.scope\n", self.0.path())
    }

    /// The one run directory below `parent`.
    fn run(&self, parent: &str) -> String {
        let entries = fs::read_dir(self.path(parent)).unwrap().flatten();
        let names: Vec<String> = entries
            .filter(|entry| entry.path().is_dir())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        assert_eq!(names.len(), 1, "{names:?}");
        format!("{parent}/{}", names[0])
    }
}

#[test]
fn version_2_bounds_are_written() {
    let double = Double::unified();
    double.file("user.slice/cgroup.subtree_control", "cpu memory pids");
    // The kernel makes the files of a directory with it; here they have to be there before.
    double.file("user.slice/cooper/cgroup.controllers", "cpu memory pids\n");
    double.file("user.slice/cooper/cgroup.subtree_control", "");
    let group = Cgroup::create(&double.hierarchies(), &LIMITS, Enforcement::Required).unwrap();
    assert_eq!(
        double.text("user.slice/cooper/cgroup.subtree_control"),
        "+memory +pids +cpu"
    );
    let run = double.run("user.slice/cooper");
    assert_eq!(double.text(&format!("{run}/memory.max")), "1073741824");
    assert_eq!(double.text(&format!("{run}/pids.max")), "257");
    assert_eq!(double.text(&format!("{run}/cpu.max")), "150000 100000");
    assert!(group.unified().is_some());
    assert!(group.task_files().is_empty());
    let by: Vec<(Limit, Enforcer)> = group
        .enforced()
        .iter()
        .map(|enforced| (enforced.limit, enforced.by))
        .collect();
    assert_eq!(
        by,
        [Limit::Memory, Limit::Pids, Limit::Cpu].map(|limit| (limit, Enforcer::CgroupV2))
    );
}

#[test]
fn version_2_usage_is_read() {
    let double = Double::unified();
    let mut group = Cgroup::create(&double.hierarchies(), &LIMITS, Enforcement::Required).unwrap();
    assert_eq!(group.usage(), Usage::default());
    let run = double.run("cooper");
    double.file(&format!("{run}/memory.peak"), "4096\n");
    double.file(
        &format!("{run}/memory.events"),
        "low 0\noom 3\noom_kill 2\noom_group_kill 1\n",
    );
    let spent = |us: u64| {
        let text = format!("usage_usec {us}\nuser_usec 1\nsystem_usec 2\n");
        double.file(&format!("{run}/cpu.stat"), &text);
    };
    assert!(!group.has_refused_processes());
    double.file(&format!("{run}/pids.events"), "max 0\n");
    assert!(!group.has_refused_processes());
    double.file(&format!("{run}/pids.events"), "max 7\n");
    assert!(group.has_refused_processes());
    spent(1500);
    group.begin();
    spent(4000);
    assert_eq!(
        group.usage(),
        Usage {
            memory_peak_bytes: Some(4096),
            oom_kills: 2,
            cpu: Some((Duration::from_micros(2500), CpuCounter::CgroupV2)),
        }
    );
}

#[test]
fn without_a_group_that_gives_controllers_the_top_is_asked() {
    let double = Double::unified();
    let _group = Cgroup::create(&double.hierarchies(), &LIMITS, Enforcement::Required).unwrap();
    assert_eq!(double.text("cgroup.subtree_control"), "+memory +pids +cpu");
    double.run("cooper");
}

#[test]
fn a_missing_controller_stops_the_run_unless_told_otherwise() {
    let double = Double::unified();
    double.file("cgroup.controllers", "hugetlb pids");
    let hierarchies = double.hierarchies();
    let error = Cgroup::create(&hierarchies, &LIMITS, Enforcement::Required).unwrap_err();
    assert!(
        matches!(error, SandboxError::NoController { limit: Limit::Memory }),
        "{error:?}"
    );
    let group = Cgroup::create(&hierarchies, &LIMITS, Enforcement::BestEffort).unwrap();
    assert!(!group.holds(Limit::Memory) && group.holds(Limit::Pids) && !group.holds(Limit::Cpu));
}

#[test]
fn without_any_hierarchy_best_effort_enforces_nothing() {
    let hierarchies = Hierarchies::parse("", "", Path::new("/nonexistent"));
    assert_eq!(hierarchies, Hierarchies::default());
    let group = Cgroup::create(&hierarchies, &LIMITS, Enforcement::BestEffort).unwrap();
    assert!(
        group
            .enforced()
            .iter()
            .all(|enforced| enforced.by == Enforcer::Nothing)
    );
    assert!(group.unified().is_none() && group.task_files().is_empty());
}

#[test]
fn a_mixed_host_has_each_controller_where_it_is() {
    let root = tempfile::tempdir().unwrap();
    for directory in ["memory/outer/inner", "cpu,cpuacct", "unified"] {
        fs::create_dir_all(root.path().join("sys/fs/cgroup").join(directory)).unwrap();
    }
    write(
        &root.path().join("sys/fs/cgroup/unified/cgroup.controllers"),
        "pids hugetlb",
    )
    .unwrap();
    let mountinfo = "\
        31 25 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
        32 25 0:28 /box /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        33 25 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        34 25 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    let own = "4:memory:/outer/inner\n2:cpu,cpuacct:/box\n1:name=systemd:/\n0::/\n";
    let hierarchies = Hierarchies::parse(mountinfo, own, root.path());
    let place = |path: &str, version| {
        Some(Place {
            directory: root.path().join("sys/fs/cgroup").join(path),
            version,
        })
    };
    assert_eq!(hierarchies.memory, place("memory/outer/inner", Version::One));
    assert_eq!(hierarchies.cpu, place("cpu,cpuacct", Version::One));
    assert_eq!(hierarchies.pids, place("unified", Version::Two));
}

#[test]
fn left_over_groups_are_swept_and_live_ones_are_not() {
    let double = Double::unified();
    let hierarchies = double.hierarchies();
    let live = Cgroup::create(&hierarchies, &LIMITS, Enforcement::Required).unwrap();
    let live_path = live.directories[0].path.clone();
    let stale = double.path("cooper/99999-0");
    fs::create_dir(&stale).unwrap();
    let _next = Cgroup::create(&hierarchies, &LIMITS, Enforcement::Required).unwrap();
    assert!(!stale.exists());
    assert!(live_path.exists());
}

#[test]
fn a_removed_group_is_gone() {
    let double = Double::unified();
    let group = Cgroup::create(&double.hierarchies(), &LIMITS, Enforcement::Required).unwrap();
    let path = group.directories[0].path.clone();
    for file in fs::read_dir(&path).unwrap().flatten() {
        fs::remove_file(file.path()).unwrap();
    }
    group.remove();
    assert!(!path.exists());
}

#[test]
fn what_is_on_the_disk_too_is_no_memory_that_is_held() {
    let double = Double::unified();
    let group = Cgroup::create(&double.hierarchies(), &LIMITS, Enforcement::Required).unwrap();
    let directory = &group.directories[group.memory.unwrap()].path;
    assert_eq!(group.working_set_bytes(), None);
    write(&directory.join("memory.current"), "10485760\n").unwrap();
    assert_eq!(group.working_set_bytes(), Some(10 << 20));
    write(
        &directory.join("memory.stat"),
        "anon 7\nfile 8\ninactive_file 4194304\n",
    )
    .unwrap();
    assert_eq!(group.working_set_bytes(), Some(6 << 20));
}
