//! Specifications that cannot be carried out: an error, and nothing is left behind.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use cooper_sandbox::{InjectedFile, Root, SandboxError, Step, User};

use crate::bed::{Bed, Run, cgroups_of};

type Change = Box<dyn Fn(&mut Run)>;

/// The error, after a look that the attempt left no process, descriptor and cgroup.
fn refused(run: &Run) -> SandboxError {
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let error = run.attempt().unwrap_err();
    assert_eq!(descriptors(), before, "{error:?}");
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let children = fs::read_to_string(task.unwrap().path().join("children")).unwrap();
        assert_eq!(children, "", "{error:?}");
    }
    assert_eq!(cgroups_of(std::process::id()), Vec::<PathBuf>::new(), "{error:?}");
    error
}

#[test]
fn wrong_specifications_are_refused() {
    let bed = Bed::new();
    let zero = || OsString::from_vec(b"a\0b".to_vec());
    let cases: Vec<(&str, Change)> = vec![
        ("no program", Box::new(|run| run.argv.clear())),
        ("an empty program", Box::new(|run| run.argv = vec!["".into()])),
        (
            "a zero byte in the program",
            Box::new(move |run| run.argv = vec![zero()]),
        ),
        (
            "a zero byte in an argument",
            Box::new(move |run| run.argv.push(zero())),
        ),
        (
            "a zero byte in a variable",
            Box::new(move |run| run.env.push(("A".into(), zero()))),
        ),
        (
            "a variable without a name",
            Box::new(|run| run.env.push(("".into(), "x".into()))),
        ),
        (
            "a variable with = in its name",
            Box::new(|run| run.env.push(("A=B".into(), "x".into()))),
        ),
        (
            "a relative working directory",
            Box::new(|run| run.cwd = "work".into()),
        ),
        (
            "a zero byte in the working directory",
            Box::new(move |run| run.cwd = zero().into()),
        ),
        ("no host name", Box::new(|run| run.hostname.clear())),
        ("a long host name", Box::new(|run| run.hostname = "x".repeat(65))),
        (
            "root in a run",
            Box::new(|run| run.user = User { uid: 0, gid: 0 }),
        ),
        ("root's group in a run", Box::new(|run| run.user.gid = 0)),
        (
            "a user of the reserved range",
            Box::new(|run| run.user.uid = 0x7000_0000),
        ),
        ("the highest user", Box::new(|run| run.user.uid = u32::MAX)),
        ("no processes", Box::new(|run| run.limits.pids = 0)),
        ("no files", Box::new(|run| run.limits.open_files = 0)),
        ("no processor", Box::new(|run| run.limits.cpu_millis = 0)),
        ("no layers", Box::new(|run| run.layers.clear())),
    ];
    for (name, change) in cases {
        let mut run = bed.shell("exit 0");
        change(&mut run);
        let error = refused(&run);
        assert!(matches!(error, SandboxError::Spec { .. }), "{name}: {error:?}");
    }
}

#[test]
fn only_what_is_there_is_covered() {
    let bed = Bed::new();
    std::os::unix::fs::symlink("/run/nowhere", bed.tree().join("dangling")).unwrap();
    for path in ["/not-there", "/dangling", "/bin/not/there"] {
        let mut run = bed.shell("ls /run /bin | grep -c nowhere");
        run.files = vec![InjectedFile {
            path: path.into(),
            bytes: vec![],
            mode: 0o644,
        }];
        assert_eq!(run.stdout(), "0\n", "{path}");
    }
}

#[test]
fn injected_paths_are_plain() {
    let bed = Bed::new();
    let long = format!("/run/cooper/{}", "x/".repeat(100));
    for path in [
        "/run/cooper/../x",
        "/run/cooper/a/../../x",
        "/run/cooper",
        "/run/cooper/",
        "/run/cooper/..",
        "/etc/../etc/passwd",
        "/",
        "relative",
        "",
        "/run/cooper/a\0b",
    ] {
        let mut run = bed.shell("exit 0");
        run.files = vec![InjectedFile {
            path: path.into(),
            bytes: vec![],
            mode: 0o644,
        }];
        assert!(matches!(refused(&run), SandboxError::Spec { .. }), "{path:?}");
    }
    let mut run = bed.shell("exit 0");
    run.files = vec![InjectedFile {
        path: long.into(),
        bytes: vec![],
        mode: 0o4777,
    }];
    assert_eq!(run.stdout(), "");
    // Twice the same, a directory in the way of a file, a name that is too long.
    for paths in [
        ["/run/cooper/a", "/run/cooper/a"],
        ["/run/cooper/a/b", "/run/cooper/a"],
        ["/run/cooper/a", "/run/cooper/a/b"],
    ] {
        let file = |path: &str| InjectedFile {
            path: path.into(),
            bytes: vec![1],
            mode: 0o444,
        };
        run.files = paths.map(file).to_vec();
        let error = refused(&run);
        assert!(
            matches!(
                error,
                SandboxError::Setup {
                    step: Step::InjectFile,
                    ..
                }
            ),
            "{error:?}"
        );
    }
    run.files = vec![InjectedFile {
        path: format!("/run/cooper/{}", "x".repeat(300)).into(),
        bytes: vec![],
        mode: 0o444,
    }];
    assert!(matches!(
        refused(&run),
        SandboxError::Setup {
            step: Step::InjectFile,
            ..
        }
    ));
}

#[test]
fn roots_that_are_not_usable_are_refused() {
    let bed = Bed::new();
    let tree = bed.tree();
    let mut run = bed.shell("exit 0");
    for root in [bed.tree().join("none"), tree.join("bin/busybox")] {
        run.layers = vec![root.clone()];
        assert!(matches!(refused(&run), SandboxError::Root { .. }), "{root:?}");
        run.layers = vec![tree.clone(), root.clone()];
        assert!(matches!(refused(&run), SandboxError::Root { .. }), "{root:?}");
    }
    run.layers = vec![tree.clone()];
    let upper = bed.aside("upper");
    let error = run.attempt_in(Root::Writable {
        layers: std::slice::from_ref(&tree),
        upper: &upper,
        work: &tree.join("none"),
    });
    assert!(matches!(error, Err(SandboxError::Root { .. })), "{error:?}");
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let error = run.attempt_in(Root::Writable {
        layers: std::slice::from_ref(&tree),
        upper: &upper,
        work: elsewhere.path(),
    });
    assert!(matches!(error, Err(SandboxError::Overlay { .. })), "{error:?}");
}

#[test]
fn a_mount_point_that_is_a_link_is_refused() {
    let bed = Bed::new();
    let outside = bed.aside("outside");
    for name in ["proc", "dev", "run", "tmp", "work"] {
        let point = bed.tree().join(name);
        for target in [
            outside.clone(),
            PathBuf::from("bin"),
            PathBuf::from("../outside"),
            PathBuf::from("/"),
        ] {
            fs::remove_dir(&point)
                .or_else(|_| fs::remove_file(&point))
                .unwrap();
            symlink(&target, &point).unwrap();
            let error = refused(&bed.shell("exit 0"));
            assert!(matches!(error, SandboxError::Root { .. }), "{name}: {error:?}");
            let tree = bed.tree();
            let error = bed
                .shell("exit 0")
                .attempt_in(Root::WritableDir(&tree))
                .unwrap_err();
            assert!(matches!(error, SandboxError::Root { .. }), "{name}: {error:?}");
        }
        fs::remove_file(&point).unwrap();
        fs::create_dir(&point).unwrap();
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let bed = Bed::new();
    bed.put("/bin/plain", "text", 0o644);
    bed.put("/bin/no-interpreter", "#!/bin/none\n", 0o755);
    bed.put("/bin/garbage", "\u{1}\u{2}", 0o755);
    for program in [
        "/bin/none",
        "none",
        "plain",
        "/bin/no-interpreter",
        "/bin/garbage",
        "/etc",
        "./none",
        "/bin/busybox/x",
    ] {
        let error = refused(&bed.command(&[program]));
        let SandboxError::Program { program: named, .. } = error else {
            panic!("{program}: {error:?}")
        };
        assert_eq!(named, program);
    }
    let long = "x".repeat(200_000);
    let error = refused(&bed.command(&["/bin/true", &long]));
    assert!(matches!(error, SandboxError::Program { .. }), "{error:?}");
}

#[test]
fn a_missing_working_directory_is_named() {
    let bed = Bed::new();
    let mut run = bed.shell("exit 0");
    run.cwd = "/none".into();
    let error = refused(&run);
    assert!(
        matches!(
            error,
            SandboxError::Setup {
                step: Step::ChangeDirectory,
                ..
            }
        ),
        "{error:?}"
    );
}
