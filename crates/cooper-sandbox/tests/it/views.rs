//! What a run sees: of the kernel, of other processes, of the caller.

use std::fs::File;
use std::os::fd::AsFd as _;

use cooper_sandbox::{Caller, InjectedFile, Root};
use rustix::io::FdFlags;

use crate::bed::{Bed, Run};

fn both(bed: &Bed, script: &str) -> [Run; 2] {
    [bed.shell(script), bed.shell(script).build()]
}

#[test]
fn parts_of_proc_are_masked() {
    let bed = Bed::new();
    // Not by writing: where the mask fails, that would restart this machine.
    let script = "for f in kcore sysrq-trigger keys key-users timer_list kallsyms kmsg interrupts kpagecount slabinfo; do
        [ ! -e /proc/$f ] || stat -c %t:%T /proc/$f; done; ls /proc/acpi /proc/scsi 2>/dev/null | grep -v :; true";
    for run in both(&bed, script) {
        let told = run.stdout();
        assert!(told.split_whitespace().all(|device| device == "1:3"), "{told}");
        assert!(told.lines().count() >= 6, "{told}");
    }
}

#[test]
fn proc_is_read_only() {
    let bed = Bed::new();
    // Opened for writing, not written: where that succeeds, it must not change this machine.
    let script = "for f in sys/kernel/core_pattern sys/vm/drop_caches sys/kernel/hostname self/oom_score_adj self/uid_map \
        self/comm irq/default_smp_affinity; do [ ! -e /proc/$f ] || (: >/proc/$f) 2>&1; done";
    for run in both(&bed, script) {
        let told = run.stdout();
        let refused = told.matches("Read-only file system").count();
        assert!(refused >= 6 && refused == told.lines().count(), "{told}");
    }
}

#[test]
fn only_own_processes_are_seen() {
    let bed = Bed::new();
    let script = "ls /proc | grep '^[0-9]'; ls /proc/1 2>&1; cat /proc/1/environ /proc/1/maps 2>&1; ls /proc/1/root /proc/1/fd 2>&1; true";
    for run in both(&bed, script) {
        let told = run.stdout();
        let (seen, rest): (Vec<&str>, Vec<&str>) = told.lines().partition(|line| line.parse::<u32>().is_ok());
        assert!(
            seen.iter()
                .all(|process| (2..10).contains(&process.parse::<u32>().unwrap())),
            "{seen:?}"
        );
        assert!(
            rest.len() == 5 && rest.iter().all(|line| line.contains("No such file")),
            "{rest:?}"
        );
    }
}

#[test]
fn no_mount_of_the_host_is_seen() {
    let bed = Bed::new();
    let told = bed.shell("cut -d' ' -f5 /proc/self/mountinfo").stdout();
    // A namespace's root cannot make device nodes and takes the host's.
    let devices: &[&str] = match Caller::of_process() {
        Caller::HostRoot => &[],
        _ => &[
            "/dev/null",
            "/dev/zero",
            "/dev/full",
            "/dev/random",
            "/dev/urandom",
            "/dev/tty",
        ],
    };
    let seen: Vec<&str> = told
        .lines()
        .filter(|point| !point.starts_with("/proc/") && !devices.contains(point))
        .collect();
    assert_eq!(
        seen,
        [
            "/", "/proc", "/dev", "/dev/pts", "/dev/shm", "/tmp", "/run", "/work"
        ]
    );
    assert_eq!(
        bed.shell("ls /..; ls / | wc -l").stdout().lines().last(),
        Some("7")
    );
    assert_eq!(
        bed.shell("cat /proc/self/cgroup | cut -d: -f3 | sort -u")
            .stdout(),
        "/\n"
    );
}

#[test]
fn devices_are_those_that_need_no_hardware() {
    let bed = Bed::new();
    let told = bed
        .shell("ls /dev; echo x >/dev/null; head -c 3 /dev/zero | wc -c; head -c 9 /dev/urandom | wc -c")
        .stdout();
    let expected = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero 3 9";
    assert_eq!(told.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    let told = bed.shell("(: >/dev/x) 2>&1; rm /dev/null 2>&1; true").stdout();
    assert_eq!(told.lines().count(), 2, "{told}");
    let caller = Caller::of_process();
    if caller.is_namespaced() && caller.owns_image_ids() {
        let mode = "chmod 600 /dev/null && echo changed; chown 1:1 /dev/null && echo changed; true";
        let told = bed.shell(mode).build().outcome();
        assert_eq!(told.stdout, b"", "a build step owns nothing of the host");
    }
}

#[test]
fn nothing_of_the_callers_environment_is_there() {
    let bed = Bed::new();
    let mut run = bed.command(&["/bin/env"]);
    run.env.push(("WORD".into(), "two words".into()));
    assert_eq!(run.stdout(), "PATH=/bin\nWORD=two words\n");
    run.env.clear();
    assert_eq!(run.stdout(), "");
}

#[test]
fn no_descriptor_of_the_caller_is_there() {
    let bed = Bed::new();
    let open: Vec<File> = (0..20).map(|_| File::open("/etc/passwd").unwrap()).collect();
    for file in &open {
        rustix::io::fcntl_setfd(file.as_fd(), FdFlags::empty()).unwrap();
    }
    for run in both(&bed, "ls /proc/self/fd | wc -l; echo /proc/$$/fd/*") {
        let told = run.stdout();
        // 10 is the shell's own.
        assert!(
            told.starts_with("4\n/proc/2/fd/0 /proc/2/fd/1 /proc/2/fd/2"),
            "{told}"
        );
        assert!(!told.contains("fd/4") && !told.contains("fd/5"), "{told}");
    }
}

#[test]
fn resource_limits_do_not_depend_on_the_caller() {
    let bed = Bed::new();
    let told = || bed.shell("cat /proc/self/limits").stdout();
    let before = told();
    let lower = |resource, value| {
        let limit = rustix::process::Rlimit {
            current: Some(value),
            maximum: rustix::process::getrlimit(resource).maximum,
        };
        rustix::process::setrlimit(resource, limit).unwrap();
    };
    lower(rustix::process::Resource::Stack, 1 << 20);
    lower(rustix::process::Resource::Nproc, 10_000);
    lower(rustix::process::Resource::Fsize, 1 << 30);
    assert_eq!(told(), before);
}

#[test]
fn working_directory_and_host_name_are_as_asked() {
    let bed = Bed::new();
    let mut run = bed.shell("pwd; hostname");
    run.cwd = "/work".into();
    assert_eq!(run.stdout(), "/work\nbox\n");
}

#[test]
fn injected_files_are_there_and_sealed() {
    let bed = Bed::new();
    let script = "cat /run/cooper/deep/er/file; stat -c %u:%a /run/cooper/deep/er/file; /run/cooper/program
        (: >/run/cooper/x) 2>&1; (: >/run/cooper/deep/er/file) 2>&1; true";
    for mut run in both(&bed, script) {
        let file = |path: &str, text: &str, mode| InjectedFile {
            path: path.into(),
            bytes: text.into(),
            mode,
        };
        run.files = vec![
            file("/run/cooper/deep/er/file", "content\n", 0o444),
            file("/run/cooper/program", "#!/bin/sh\necho ran\n", 0o555),
        ];
        let told = run.stdout();
        assert!(told.starts_with("content\n0:444\nran\n"), "{told}");
        assert_eq!(told.matches("Read-only file system").count(), 2, "{told}");
    }
}

#[test]
fn a_large_injected_file_fits() {
    let bed = Bed::new();
    let mut run = bed.command(&["/bin/md5sum", "/run/cooper/large"]);
    let bytes: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    run.files = vec![InjectedFile {
        path: "/run/cooper/large".into(),
        bytes,
        mode: 0o444,
    }];
    let plain = run.stdout();
    let build = {
        run = run.build();
        run.stdout_in(Root::WritableDir(&bed.tree()))
    };
    assert_eq!(plain, build);
    assert!(plain.len() > 40, "{plain}");
}
