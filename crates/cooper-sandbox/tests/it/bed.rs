//! The test bed: a small root file system, probes in C, and a run with harmless settings to change.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use cooper_sandbox::{
    Enforcement, InjectedFile, Limits, Outcome, Profile, Root, SandboxError, Spec, Stdin, Stdio, User,
};
use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";
pub(crate) const MIB: u64 = 1 << 20;

/// A root file system in a directory of its own, which is removed in the end.
pub(crate) struct Bed {
    directory: TempDir,
}

impl Bed {
    /// A tree with busybox under all its names.
    pub(crate) fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make sandboxes: run them as root"
        );
        let bed = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let tree = bed.tree();
        for name in ["bin", "dev", "etc", "proc", "run", "tmp", "work"] {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        // The root is what the program sees as `/`: a temporary directory's own mode would lock it out.
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755)).unwrap();
        fs::copy(BUSYBOX, tree.join("bin/busybox")).expect("busybox-static is installed");
        let names = Command::new(BUSYBOX).arg("--list").output().unwrap();
        for name in String::from_utf8(names.stdout).unwrap().lines() {
            if name != "busybox" {
                symlink("busybox", tree.join("bin").join(name)).unwrap();
            }
        }
        bed
    }

    /// Where the root file system is.
    pub(crate) fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    /// A new directory beside the root file system.
    pub(crate) fn aside(&self, name: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// Put a file into the root file system.
    pub(crate) fn put(&self, path: &str, text: &str, mode: u32) {
        let path = self.tree().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy("/dev/null", &path).unwrap();
        rustix::fs::open(&path, rustix::fs::OFlags::WRONLY, rustix::fs::Mode::empty())
            .map(|file| rustix::io::write(&file, text.as_bytes()).unwrap())
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Compile a C program into the root file system as `/bin/NAME`.
    pub(crate) fn compile(&self, name: &str, source: &str) {
        compile(source, &self.tree().join("bin").join(name));
    }

    /// A run of these arguments.
    pub(crate) fn command(&self, argv: &[&str]) -> Run {
        Run {
            layers: vec![self.tree()],
            argv: argv.iter().map(OsString::from).collect(),
            env: vec![("PATH".into(), "/bin".into())],
            cwd: PathBuf::from("/"),
            user: User { uid: 1000, gid: 1000 },
            profile: Profile::Run,
            limits: Limits {
                memory_bytes: 128 * MIB,
                pids: 64,
                open_files: 256,
                cpu_millis: 2000,
                wall: Some(Duration::from_secs(30)),
                tmp_bytes: 8 * MIB,
                scratch_bytes: 8 * MIB,
            },
            stdin: Stdin::Null,
            stdio: Stdio::Capture {
                stdout_max: 32 * MIB,
                stderr_max: 32 * MIB,
            },
            files: Vec::new(),
            hostname: "box".to_owned(),
        }
    }

    /// A run of a shell script.
    pub(crate) fn shell(&self, script: &str) -> Run {
        self.command(&["/bin/sh", "-c", script])
    }
}

/// Compile a C program that needs no library at run time.
pub(crate) fn compile(source: &str, program: &Path) {
    let text = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it")
        .join(source);
    let compiler = Command::new("cc")
        .args(["-static", "-O1", "-Wall", "-Werror", "-o"])
        .arg(program)
        .arg(&text)
        .output()
        .expect("a C compiler is installed");
    assert!(
        compiler.status.success(),
        "{}",
        String::from_utf8_lossy(&compiler.stderr)
    );
}

/// A specification that owns its parts.
pub(crate) struct Run {
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) argv: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: PathBuf,
    pub(crate) user: User,
    pub(crate) profile: Profile,
    pub(crate) limits: Limits,
    pub(crate) stdin: Stdin,
    pub(crate) stdio: Stdio,
    pub(crate) files: Vec<InjectedFile>,
    pub(crate) hostname: String,
}

impl Run {
    /// The same as a build step.
    pub(crate) fn build(mut self) -> Self {
        self.profile = Profile::Build;
        self.user = User { uid: 0, gid: 0 };
        self
    }

    /// With other limits.
    pub(crate) fn limited(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Run it in the test bed's tree, read-only.
    pub(crate) fn attempt(&self) -> Result<Outcome, SandboxError> {
        self.attempt_in(Root::ReadOnly { layers: &self.layers })
    }

    /// Run it in this root.
    pub(crate) fn attempt_in(&self, root: Root<'_>) -> Result<Outcome, SandboxError> {
        cooper_sandbox::run(&Spec {
            root,
            argv: &self.argv,
            env: &self.env,
            cwd: &self.cwd,
            user: self.user,
            profile: self.profile,
            limits: self.limits.clone(),
            enforcement: Enforcement::Required,
            stdin: self.stdin.clone(),
            stdio: self.stdio.clone(),
            files: &self.files,
            hostname: &self.hostname,
        })
    }

    /// The outcome, in the test bed's tree.
    pub(crate) fn outcome(&self) -> Outcome {
        self.attempt().unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Standard output; standard error is empty.
    pub(crate) fn stdout(&self) -> String {
        text(&self.outcome())
    }

    /// As [`Self::stdout`], in this root.
    pub(crate) fn stdout_in(&self, root: Root<'_>) -> String {
        text(
            &self
                .attempt_in(root)
                .unwrap_or_else(|error| panic!("{}", chain(&error))),
        )
    }
}

fn text(outcome: &Outcome) -> String {
    assert_eq!(String::from_utf8_lossy(&outcome.stderr), "", "{:?}", outcome.end);
    String::from_utf8(outcome.stdout.clone()).unwrap()
}

/// The error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {}", chain(cause)))
}
