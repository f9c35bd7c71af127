//! What a run gets beside its root: inputs, secrets, places for what it leaves, a root that it may write.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cooper_sandbox::{
    Attached, End, Owner, Root, SandboxError, Secret, input_fd, points_fd, read_file, tmpfs_fd,
};

use crate::bed::{Bed, MIB, chain};

fn written(path: &Path, text: &str, mode: u32) -> File {
    File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    File::open(path).unwrap()
}

fn attached<'a>(target: &'a str, mount: &'a impl std::os::fd::AsFd, owner: Owner) -> Attached<'a> {
    Attached {
        target: Path::new(target),
        mount: mount.as_fd(),
        owner,
    }
}

#[test]
fn secrets_are_for_the_program_alone() {
    let bed = Bed::new();
    let script = "ls -ln /run/secrets | tail -n +2; cat /run/secrets/TOKEN; \
        echo x > /run/secrets/TOKEN || echo kept; rm /run/secrets/TOKEN || echo kept; \
        cat /proc/self/environ /proc/1/environ; grep secrets /proc/self/mountinfo";
    let mut run = bed.shell(script);
    run.secrets = vec![Secret::new("TOKEN", b"hunter2\n".to_vec())];
    let outcome = run.outcome();
    let text = String::from_utf8_lossy(&outcome.stdout);
    assert!(
        text.starts_with("-r--------    1 1000     1000             8 "),
        "{text}"
    );
    assert_eq!(text.matches("hunter2").count(), 1, "{text}");
    assert_eq!(text.matches("kept").count(), 2, "{text}");
    for name in ["", ".", "..", "a/b", "/a"] {
        run.secrets = vec![Secret::new(name, Vec::new())];
        assert!(matches!(run.attempt(), Err(SandboxError::Spec { .. })), "{name}");
    }
}

#[test]
fn inputs_are_the_files_of_the_host_and_cannot_be_changed() {
    let bed = Bed::new();
    let aside = bed.aside("host");
    let open = written(&aside.join("a"), "open data\n", 0o644);
    // Larger than the run's memory.
    let large = written(&aside.join("large"), "large", 0o644);
    File::options()
        .write(true)
        .open(aside.join("large"))
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    let names = ["a.txt", "large"].map(OsStr::new);
    let (points, open, large) = (
        points_fd(&names).unwrap(),
        input_fd(open.as_fd()).unwrap(),
        input_fd(large.as_fd()).unwrap(),
    );
    let mounts = [
        attached("/input", &points, Owner::Kept),
        attached("/input/a.txt", &open, Owner::Kept),
        attached("/input/large", &large, Owner::Kept),
    ];
    let script = "ls /input; cat /input/a.txt; stat -c %s /input/large; head -c 5 /input/large; echo; \
        for try in 'echo x >/input/a.txt' 'rm /input/a.txt' 'touch /input/b' 'chmod 777 /input/a.txt' \
        'mv /input/a.txt /input/c' 'touch /input/a.txt' /input/a.txt; do \
        sh -c \"$try\" 2>/dev/null && echo \"could: $try\"; done; ls / | grep -c input";
    let outcome = bed.shell(script).outcome_with(&mounts);
    assert_eq!(
        String::from_utf8_lossy(&outcome.stdout),
        "a.txt\nlarge\nopen data\n1073741824\nlarge\n1\n"
    );
    assert_eq!(fs::read_to_string(aside.join("a")).unwrap(), "open data\n");
    assert!(!bed.tree().join("input").exists(), "the image is as it was");
}

#[test]
fn a_private_file_that_is_given_is_readable_and_stays_private_on_the_host() {
    let bed = Bed::new();
    let aside = bed.aside("host");
    let private = written(&aside.join("a"), "private\n", 0o600);
    let names = [OsStr::new("a")];
    let points = points_fd(&names).unwrap();
    let script = "cat /input/a; stat -c %u /input/a; chmod 777 /input/a 2>/dev/null || echo kept";
    let with = |owner| {
        let mount = input_fd(private.as_fd()).unwrap();
        let mounts = [
            attached("/input", &points, Owner::Kept),
            attached("/input/a", &mount, owner),
        ];
        String::from_utf8(bed.shell(script).outcome_with(&mounts).stdout).unwrap()
    };
    assert_eq!(with(Owner::ShownAsRunUser), "private\n1000\nkept\n");
    let points = points_fd(&names).unwrap();
    let mount = input_fd(private.as_fd()).unwrap();
    let mounts = [
        attached("/input", &points, Owner::Kept),
        attached("/input/a", &mount, Owner::Kept),
    ];
    assert_eq!(bed.shell(script).outcome_with(&mounts).stdout, b"0\nkept\n");
    let metadata = fs::metadata(aside.join("a")).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o600));
}

#[test]
fn what_is_left_in_memory_is_there_after_the_run_and_bounded() {
    let bed = Bed::new();
    let output = tmpfs_fd(MIB, 100, 0, 0o755).unwrap();
    let result = tmpfs_fd(MIB, 16, 0, 0o755).unwrap();
    let mounts = [
        attached("/output", &output, Owner::RunUser),
        attached("/run/result", &result, Owner::RunUser),
    ];
    let script = "echo left > /output/a; echo 42 > /run/result/r; \
        head -c 3000000 /dev/zero > /output/big || echo full; \
        for i in $(seq 200); do touch /output/f$i || break; done 2>/dev/null; [ $i = 200 ] || echo 'no more'; \
        cp /bin/busybox /run/x 2>/dev/null || echo sealed; id -u";
    let outcome = bed.shell(script).outcome_with(&mounts);
    let said = String::from_utf8_lossy(&outcome.stdout);
    assert_eq!(said, "full\nno more\nsealed\n1000\n", "{outcome:?}");
    let read = |mount, name: &str| read_file(mount, OsStr::new(name), MIB);
    assert_eq!(read(output.as_fd(), "a").unwrap().unwrap(), b"left\n");
    assert_eq!(read(result.as_fd(), "r").unwrap().unwrap(), b"42\n");
    assert_eq!(read(result.as_fd(), "none"), Ok(None));
}

#[test]
fn mounts_appear_nowhere_else() {
    let bed = Bed::new();
    let memory = tmpfs_fd(MIB, 16, 0, 0o755).unwrap();
    let mut run = bed.shell("true");
    run.secrets = vec![Secret::new("TOKEN", Vec::new())];
    for target in [
        "/proc",
        "/usr/x",
        "/",
        "relative",
        "/run/cooper",
        "/run/secrets",
        "/work",
        "/a/../b",
    ] {
        let mounts = [attached(target, &memory, Owner::Kept)];
        let root = [bed.tree()];
        let refused = run.attempt_with(Root::ReadOnly { layers: &root }, &mounts);
        assert!(matches!(refused, Err(SandboxError::Spec { .. })), "{target}");
    }
}

#[test]
fn a_link_in_the_image_does_not_lead_a_mount_astray() {
    let bed = Bed::new();
    std::os::unix::fs::symlink("/etc", bed.tree().join("output")).unwrap();
    let memory = tmpfs_fd(MIB, 16, 0, 0o755).unwrap();
    let mounts = [attached("/output", &memory, Owner::RunUser)];
    let outcome = bed
        .shell("echo x > /output/x; ls /etc/x || echo apart")
        .outcome_with(&mounts);
    assert_eq!(outcome.stdout, b"apart\n");
}

#[test]
fn a_hundred_runs_with_grants_leave_nothing_behind() {
    let bed = Bed::new();
    let private = written(&bed.aside("host").join("a"), "a", 0o600);
    let names = [OsStr::new("a")];
    let layers = [bed.tree()];
    let seen = || {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
        let threads = fs::read_dir("/proc/self/task").unwrap().count();
        let children = fs::read_to_string("/proc/thread-self/children").unwrap();
        (mounts, descriptors, threads, children)
    };
    let before = seen();
    for index in 0..100 {
        let [output, points] = [tmpfs_fd(MIB, 16, 0, 0o755), points_fd(&names)].map(Result::unwrap);
        let input = input_fd(private.as_fd()).unwrap();
        let mounts = [
            attached("/output", &output, Owner::RunUser),
            attached("/input", &points, Owner::Kept),
            attached("/input/a", &input, Owner::ShownAsRunUser),
        ];
        let script = "cat /input/a > /output/a; sleep 60 & kill -9 $$";
        let root = if index % 2 == 0 {
            Root::WritableInMemory {
                layers: &layers,
                bytes: MIB,
            }
        } else {
            Root::ReadOnly { layers: &layers }
        };
        let outcome = bed.shell(script).attempt_with(root, &mounts).unwrap();
        assert_eq!(outcome.end, End::Signaled(9));
        let left = read_file(output.as_fd(), OsStr::new("a"), MIB);
        assert_eq!(left, Ok(Some(b"a".to_vec())));
    }
    assert_eq!(seen(), before);
    assert!(crate::bed::cgroups_of(std::process::id()).is_empty());
}

#[test]
fn a_root_in_memory_takes_writes_and_forgets_them() {
    let bed = Bed::new();
    bed.put("/etc/conf", "of the image\n", 0o644);
    let layers: Vec<PathBuf> = vec![bed.aside("upper-layer"), bed.tree()];
    fs::set_permissions(&layers[0], fs::Permissions::from_mode(0o755)).unwrap();
    let root = Root::WritableInMemory {
        layers: &layers,
        bytes: 4 * MIB,
    };
    let memory = tmpfs_fd(MIB, 16, 0, 0o755).unwrap();
    let mounts = [attached("/output", &memory, Owner::RunUser)];
    let script = "echo more >> /etc/conf && cat /etc/conf; echo new > /etc/new; mkdir /data; rm /bin/ls; \
        echo x > /x; echo y > /output/y; id -u; head -c 8000000 /dev/zero > /etc/big || echo full; \
        echo x > /run/x || echo sealed; grep CapEff /proc/self/status";
    let outcome = bed.shell(script).attempt_with(root, &mounts).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&outcome.stdout),
        "of the image\nmore\n1000\nfull\nsealed\nCapEff:\t0000000000000000\n",
        "{outcome:?}"
    );
    assert_eq!(outcome.end, End::Exited(0));
    let tree = bed.tree();
    assert_eq!(
        fs::read_to_string(tree.join("etc/conf")).unwrap(),
        "of the image\n"
    );
    assert!(tree.join("bin/ls").exists() && !tree.join("x").exists() && !tree.join("data").exists());
    assert_eq!(
        fs::metadata(tree.join("etc/conf")).unwrap().uid(),
        0,
        "owners on the disk are as they were"
    );
    assert_eq!(fs::read_dir(&layers[0]).unwrap().count(), 0);
    let clean = bed.shell("cat /etc/conf; ls /x").attempt_in(root).unwrap();
    assert_eq!(clean.stdout, b"of the image\n");
}

#[test]
fn setuid_files_of_a_writable_root_give_nothing() {
    let bed = Bed::new();
    fs::create_dir(bed.tree().join("su")).unwrap();
    let program = bed.tree().join("su/busybox");
    fs::copy(bed.tree().join("bin/busybox"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let root = Root::WritableInMemory {
        layers: &[bed.tree()],
        bytes: 4 * MIB,
    };
    let script = "/su/busybox id -u; mkdir /own; cp /bin/busybox /own; chmod 4777 /own/busybox; /own/busybox id -u; \
        mknod /dev-null c 1 3 2>/dev/null || echo no device";
    let outcome = bed.shell(script).attempt_in(root);
    let outcome = outcome.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(
        String::from_utf8_lossy(&outcome.stdout),
        "1000\n1000\nno device\n",
        "{outcome:?}"
    );
}

#[test]
fn many_inputs_fit_below_a_low_limit_of_open_files() {
    let bed = Bed::new();
    let aside = bed.aside("host");
    let names: Vec<String> = (0..100).map(|index| format!("f{index}")).collect();
    let files: Vec<File> = names
        .iter()
        .map(|name| written(&aside.join(name), name, 0o644))
        .collect();
    let points = points_fd(&names.iter().map(OsStr::new).collect::<Vec<_>>()).unwrap();
    let inputs: Vec<_> = files.iter().map(|file| input_fd(file.as_fd()).unwrap()).collect();
    let targets: Vec<String> = names.iter().map(|name| format!("/input/{name}")).collect();
    let mut mounts = vec![attached("/input", &points, Owner::Kept)];
    mounts.extend(
        targets
            .iter()
            .zip(&inputs)
            .map(|(target, input)| attached(target, input, Owner::Kept)),
    );
    let run = bed
        .shell("cat /input/* | wc -c; ls /proc/self/fd")
        .limited(|limits| limits.open_files = 16);
    let outcome = run.outcome_with(&mounts);
    assert_eq!(
        String::from_utf8_lossy(&outcome.stdout),
        "290\n0\n1\n2\n3\n",
        "{outcome:?}"
    );
    let mut text = String::new();
    (&files[0]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "f0", "the caller's descriptors are untouched");
}
