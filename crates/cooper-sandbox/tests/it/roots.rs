//! The root file system: read-only, stacked, written.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

use cooper_sandbox::{Caller, Root, SandboxError, overlay_fd};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use crate::bed::Bed;

#[test]
fn a_read_only_root_takes_no_writes() {
    let bed = Bed::new();
    let upper_layer = bed.aside("layer");
    let script =
        "for f in /x /etc/x /bin/busybox; do (: >$f) 2>&1; done; rm /bin/sh 2>&1; mkdir /bin/d 2>&1; true";
    let single = bed.shell(script);
    let mut stacked = bed.shell(script);
    stacked.layers = vec![upper_layer, bed.tree()];
    for run in [single, stacked] {
        for run in [bed.shell(script).build(), run] {
            let told = run.stdout();
            assert_eq!(told.matches("Read-only file system").count(), 5, "{told}");
        }
    }
    assert!(!bed.tree().join("x").exists());
}

#[test]
fn the_top_layer_wins() {
    let bed = Bed::new();
    bed.put("/etc/word", "lower", 0o644);
    let mut layers = vec![bed.tree()];
    // More than fit into one string parameter of the kernel.
    for number in 0..20 {
        let layer = bed.aside(&format!("layer{number}"));
        fs::create_dir(layer.join("etc")).unwrap();
        fs::copy(bed.tree().join("etc/word"), layer.join(format!("etc/{number}"))).unwrap();
        layers.insert(0, layer);
    }
    fs::remove_file(layers[0].join("etc/19")).unwrap();
    fs::File::create(layers[0].join("etc/word")).unwrap();
    let mut run = bed.shell("cat /etc/word; ls /etc | wc -l");
    run.layers = layers;
    assert_eq!(run.stdout(), "20\n");
}

#[test]
fn names_of_layers_may_hold_anything() {
    let bed = Bed::new();
    let odd = bed.aside("a:b,lowerdir=x\\ c\n");
    fs::create_dir(odd.join("srv")).unwrap();
    let mut run =
        bed.shell("ls -d /srv; grep -c : /proc/self/mountinfo >/dev/null; grep ' / / ' /proc/self/mountinfo");
    run.layers = vec![odd, bed.tree()];
    let told = run.stdout();
    assert!(
        told.starts_with("/srv\n") && !told.contains("lowerdir=x"),
        "{told}"
    );
}

#[test]
fn more_layers_than_the_kernel_stacks_are_refused() {
    let bed = Bed::new();
    let mut run = bed.shell("exit 0");
    run.layers = (0..600).map(|_| bed.tree()).collect();
    let error = run.attempt().unwrap_err();
    assert!(
        matches!(error, SandboxError::Overlay { layers: 600, .. }),
        "{error:?}"
    );
}

#[test]
fn an_overlay_keeps_writes_and_deletions_and_can_be_read_again() {
    let bed = Bed::new();
    bed.put("/etc/gone", "x", 0o644);
    bed.put("/etc/dir/inner", "x", 0o644);
    let (upper, work) = (bed.aside("upper"), bed.aside("work"));
    let layers = [bed.tree()];
    let script = "echo new >/etc/new; rm /etc/gone; rm -r /etc/dir; mkdir /etc/dir; mkdir -p /srv/deep";
    let root = Root::Writable {
        layers: &layers,
        upper: &upper,
        work: &work,
    };
    assert_eq!(bed.shell(script).build().stdout_in(root), "");
    assert_eq!(fs::read_to_string(upper.join("etc/new")).unwrap(), "new\n");
    let whiteout = fs::symlink_metadata(upper.join("etc/gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
    assert!(upper.join("srv/deep").is_dir());
    let mut opaque = [0; 4];
    let mark = format!("{}opaque", Caller::of_process().overlay_prefix());
    let length = rustix::fs::getxattr(upper.join("etc/dir"), mark, &mut opaque).unwrap();
    assert_eq!(&opaque[..length], b"y");
    assert!(
        bed.tree().join("etc/gone").exists(),
        "the layer below is untouched"
    );

    let merged = overlay_fd(&layers, &upper, &work).unwrap();
    let exists = |path: &str| rustix::fs::openat(&merged, path, OFlags::PATH, Mode::empty()).is_ok();
    assert!(exists("etc/new") && exists("bin/busybox") && exists("etc/dir"));
    assert!(!exists("etc/gone") && !exists("etc/dir/inner"));
}

#[test]
fn a_directory_is_written_in_place() {
    let bed = Bed::new();
    let tree = bed.tree();
    let script = "echo a >/etc/a; echo t >/tmp/t; echo r >/run/r; rm /bin/yes; umask";
    assert_eq!(
        bed.shell(script).build().stdout_in(Root::WritableDir(&tree)),
        "0022\n"
    );
    assert_eq!(fs::read_to_string(tree.join("etc/a")).unwrap(), "a\n");
    assert!(!tree.join("bin/yes").exists());
    for place in ["tmp", "run", "dev", "proc"] {
        assert_eq!(
            fs::read_dir(tree.join(place)).unwrap().count(),
            0,
            "{place} is the container's own"
        );
    }
}

#[test]
fn missing_mount_points_are_made_only_where_that_is_allowed() {
    let bed = Bed::new();
    for name in ["proc", "run", "tmp"] {
        fs::remove_dir(bed.tree().join(name)).unwrap();
    }
    let run = bed.shell("echo ok");
    let error = run.attempt().unwrap_err();
    assert!(matches!(error, SandboxError::Root { .. }), "{error:?}");
    let (upper, work) = (bed.aside("upper"), bed.aside("work"));
    let root = Root::Writable {
        layers: &[bed.tree()],
        upper: &upper,
        work: &work,
    };
    assert_eq!(run.stdout_in(root), "ok\n");
    assert_eq!(run.stdout_in(Root::WritableDir(&bed.tree())), "ok\n");
}

/// Unmounts in the end.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn mounts_do_not_reach_the_host_where_the_roots_mount_is_shared() {
    let bed = Bed::new();
    let place = bed.aside("shared");
    rustix::mount::mount("none", &place, "tmpfs", MountFlags::empty(), None).unwrap();
    let mounted = Mounted(place.clone());
    rustix::mount::mount_change(&place, MountPropagationFlags::SHARED).unwrap();
    let tree = place.join("tree");
    for name in ["proc", "dev", "run", "tmp", "bin", "work"] {
        fs::create_dir_all(tree.join(name)).unwrap();
    }
    for name in ["busybox", "sh"] {
        fs::copy(bed.tree().join("bin/busybox"), tree.join("bin").join(name)).unwrap();
    }
    let host_mounts = || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table
            .lines()
            .filter(|line| line.contains(mounted.0.to_str().unwrap()))
            .count()
    };
    let mut run = bed.shell("read _; exit 0");
    run.layers = vec![tree.clone()];
    assert_eq!(host_mounts(), 1);
    assert_eq!(run.stdout(), "");
    assert_eq!(
        bed.shell("exit 0").build().stdout_in(Root::WritableDir(&tree)),
        ""
    );
    assert_eq!(host_mounts(), 1, "nothing was left");
    // While it runs, too: the program lists nothing, the host's table is read from outside.
    let during = std::thread::scope(|scope| {
        let slow = || {
            let mut run = bed.shell("sleep 0.4");
            run.layers = vec![tree.clone()];
            run.stdout()
        };
        let running = scope.spawn(slow);
        std::thread::sleep(std::time::Duration::from_millis(200));
        let during = host_mounts();
        assert_eq!(running.join().unwrap(), "");
        during
    });
    assert_eq!(during, 1, "nothing is seen during a run");
}
