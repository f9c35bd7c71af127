//! Who the program is and what it may do.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::Duration;

use cooper_sandbox::{Caller, Root};
use rustix::fs::XattrFlags;

use crate::bed::{Bed, alive, marker, wait_for};

/// `CHOWN`, `DAC_OVERRIDE`, `FOWNER`, `FSETID`, `KILL`, `SETGID`, `SETUID`, `SETPCAP`, `SYS_CHROOT`, `SETFCAP`.
const BUILD_CAPABILITIES: &str = "00000000800401fb";
const NONE: &str = "0000000000000000";

/// Lines of `/proc/PID/status`, their blanks made single.
fn status(text: &str) -> BTreeMap<String, String> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), words(value)))
        .collect()
}

fn expect(status: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (key, value) in expected {
        assert_eq!(status.get(*key).map(String::as_str), Some(*value), "{key}");
    }
}

#[test]
fn a_run_is_nobody_special() {
    let bed = Bed::new();
    let told = status(&bed.command(&["/bin/cat", "/proc/self/status"]).stdout());
    let capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| (set, NONE));
    expect(&told, &capabilities);
    expect(
        &told,
        &[
            ("Uid", "1000 1000 1000 1000"),
            ("Gid", "1000 1000 1000 1000"),
            ("Groups", ""),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
            ("SigBlk", NONE),
            ("SigIgn", NONE),
        ],
    );
}

#[test]
fn a_build_step_is_root_with_few_capabilities() {
    let bed = Bed::new();
    let told = status(&bed.command(&["/bin/cat", "/proc/self/status"]).build().stdout());
    expect(
        &told,
        &["CapPrm", "CapEff", "CapBnd"].map(|set| (set, BUILD_CAPABILITIES)),
    );
    expect(
        &told,
        &[
            ("Uid", "0 0 0 0"),
            ("Gid", "0 0 0 0"),
            ("Groups", ""),
            ("CapInh", NONE),
            ("CapAmb", NONE),
            ("NoNewPrivs", "1"),
            ("Seccomp", "2"),
        ],
    );
}

#[test]
fn a_run_has_a_host_id_of_its_own() {
    let bed = Bed::new();
    let markers = [marker(), marker()];
    let ids = std::thread::scope(|scope| {
        let bed = &bed;
        for marker in &markers {
            let run = bed
                .command(&["/bin/sleep", marker])
                .limited(|limits| limits.wall = Some(Duration::from_millis(1500)));
            scope.spawn(move || run.outcome());
        }
        markers.each_ref().map(|marker| {
            wait_for(|| alive(marker).len() == 1);
            let process = alive(marker)[0];
            let told = status(&fs::read_to_string(format!("/proc/{process}/status")).unwrap());
            let id: u32 = told["Uid"].split(' ').next().unwrap().parse().unwrap();
            id
        })
    });
    let of_runs = match Caller::of_process() {
        Caller::NamespaceRoot { ids } => 65_536..ids,
        _ => 0x7000_0000..0x7800_0000,
    };
    assert!(ids.iter().all(|id| of_runs.contains(id)), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn set_user_id_programs_and_file_capabilities_gain_nothing() {
    let bed = Bed::new();
    let tree = bed.tree();
    for name in ["setuid", "setcap"] {
        fs::create_dir(tree.join(name)).unwrap();
        fs::copy("/bin/busybox", tree.join(name).join("busybox")).unwrap();
    }
    let (setuid, setcap) = (tree.join("setuid/busybox"), tree.join("setcap/busybox"));
    fs::set_permissions(setuid, fs::Permissions::from_mode(0o6755)).unwrap();
    // Version 2, effective, all of the permitted set.
    let all = [
        1, 0, 0, 2, 255, 255, 255, 255, 0, 0, 0, 0, 255, 1, 0, 0, 0, 0, 0, 0_u8,
    ];
    rustix::fs::setxattr(setcap, "security.capability", &all, XattrFlags::empty()).unwrap();
    for program in ["/setuid/busybox", "/setcap/busybox"] {
        let told = status(&bed.command(&[program, "cat", "/proc/self/status"]).stdout());
        expect(
            &told,
            &[
                ("Uid", "1000 1000 1000 1000"),
                ("Gid", "1000 1000 1000 1000"),
                ("CapEff", NONE),
                ("CapPrm", NONE),
            ],
        );
    }
}

#[test]
fn ownership_of_a_build_is_true_on_disk() {
    let bed = Bed::new();
    let tree = bed.tree();
    let script = "cd /etc; for f in a b c; do : >$f; done; chown 5:6 a; chown 65535:65535 b
        chown 65536 c 2>&1; chmod 4755 a; chown 7 /bin/busybox";
    let told = bed.shell(script).build().stdout_in(Root::WritableDir(&tree));
    assert!(told.contains("Invalid argument"), "{told}");
    let owner = |name: &str| {
        fs::metadata(tree.join(name))
            .map(|file| (file.uid(), file.gid()))
            .unwrap()
    };
    assert_eq!(
        (owner("etc/a"), owner("etc/b"), owner("etc/c")),
        ((5, 6), (65535, 65535), (0, 0))
    );
    assert_eq!(fs::metadata(tree.join("etc/a")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(owner("bin/busybox").0, 7);
}

#[test]
fn a_build_step_makes_no_devices_and_no_mounts() {
    let bed = Bed::new();
    let script = "for place in / /dev /tmp /run; do mknod $place/b b 8 0 || mknod $place/c c 1 1; done
        mount -t tmpfs none /tmp; mount -o remount,rw /proc; umount /tmp; mount --bind / /tmp; hostname other";
    let outcome = bed
        .shell(script)
        .build()
        .attempt_in(Root::WritableDir(&bed.tree()))
        .unwrap();
    let told = String::from_utf8_lossy(&outcome.stderr);
    assert_eq!(told.lines().count(), 13, "{told}");
    assert_eq!(
        told.to_lowercase().matches("operation not permitted").count()
            + told.matches("permission denied").count(),
        13,
        "{told}"
    );
    assert!(!bed.tree().join("b").exists() && !bed.tree().join("c").exists());
}

#[test]
fn device_nodes_of_the_root_do_not_work() {
    let bed = Bed::new();
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    let zero = rustix::fs::makedev(1, 5);
    let path = bed.tree().join("etc/zero");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::CharacterDevice,
        mode,
        zero,
    )
    .unwrap();
    let (tree, upper, work) = (bed.tree(), bed.aside("upper"), bed.aside("scratch"));
    let layers = [tree.clone()];
    let stack = Root::Writable {
        layers: &layers,
        upper: &upper,
        work: &work,
    };
    let roots = [
        Root::ReadOnly { layers: &layers },
        Root::WritableDir(&tree),
        stack,
    ];
    for root in roots {
        for run in [
            bed.shell("head -c 1 /etc/zero 2>&1; true"),
            bed.shell("head -c 1 /etc/zero 2>&1; true").build(),
        ] {
            let told = run.stdout_in(root);
            assert!(told.contains("Permission denied"), "{told}");
        }
    }
}

#[test]
fn a_build_step_may_change_its_root_and_its_user() {
    let bed = Bed::new();
    bed.put(
        "/etc/passwd",
        "root:x:0:0::/:/bin/sh\nuser:x:1234:1234::/:/bin/sh\n",
        0o644,
    );
    bed.put("/etc/group", "root:x:0:\nuser:x:1234:\n", 0o644);
    let script = "chroot / /bin/echo changed; su user -c 'id -u; : >/x' 2>&1";
    let told = bed
        .shell(script)
        .build()
        .stdout_in(Root::WritableDir(&bed.tree()));
    assert!(
        told.starts_with("changed\n1234\n") && told.contains("Permission denied"),
        "{told}"
    );
}

#[test]
fn a_run_owns_nothing_outside_its_scratch() {
    let bed = Bed::new();
    bed.put("/etc/secret", "x", 0o600);
    bed.put("/etc/own", "x", 0o600);
    // The same number on the host is somebody else.
    std::os::unix::fs::chown(bed.tree().join("etc/own"), Some(1000), Some(1000)).unwrap();
    let told = bed
        .shell("cat /etc/secret /etc/own 2>&1; stat -c %u:%a /work /tmp; : >/work/a; : >/tmp/a")
        .stdout();
    assert_eq!(told.matches("Permission denied").count(), 2, "{told}");
    assert!(told.ends_with("1000:755\n0:1777\n"), "{told}");
}
