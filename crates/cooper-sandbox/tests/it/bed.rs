//! The test bed: a small root file system, probes in C, and a run with harmless settings to change.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use cooper_sandbox::{
    Attached, Enforcement, GatewayProgram, Grants, InjectedFile, Limits, Network, Outcome, Profile, Root,
    RuntimeProgram, SandboxError, Secret, Spec, Stdin, Stdio, User,
};
use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";
pub(crate) const MIB: u64 = 1 << 20;

/// A root file system in a directory of its own, which is removed in the end.
#[derive(Clone)]
pub(crate) struct Bed {
    directory: Arc<TempDir>,
}

impl Bed {
    /// A tree with busybox under all its names.
    pub(crate) fn new() -> Self {
        let bed = Self::of_directories(tempfile::tempdir().unwrap());
        let tree = bed.tree();
        for name in ["bin", "etc"] {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        fs::copy(BUSYBOX, tree.join("bin/busybox")).unwrap_or_else(|_| panic!("install busybox-static"));
        let names = Command::new(BUSYBOX).arg("--list").output().unwrap();
        for name in String::from_utf8(names.stdout).unwrap().lines() {
            if name != "busybox" {
                symlink("busybox", tree.join("bin").join(name)).unwrap();
            }
        }
        bed
    }

    /// A tree with the directories that every root has, to be laid over the host's root: on another file system than that.
    pub(crate) fn over_the_host() -> Self {
        Self::of_directories(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    fn of_directories(directory: TempDir) -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make sandboxes: run them as root"
        );
        let bed = Self {
            directory: Arc::new(directory),
        };
        let tree = bed.tree();
        for name in ["dev", "proc", "run", "tmp", "work"] {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        // The root is what the program sees as `/`: a temporary directory's own mode would lock it out.
        fs::set_permissions(&tree, fs::Permissions::from_mode(0o755)).unwrap();
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
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Compile a C program into the root file system as `/bin/NAME`.
    pub(crate) fn compile(&self, name: &str, source: &str) {
        compile(source, &self.tree().join("bin").join(name));
    }

    /// A run of these arguments.
    pub(crate) fn command(&self, argv: &[&str]) -> Run {
        Run {
            _bed: Arc::clone(&self.directory),
            layers: vec![self.tree()],
            argv: argv.iter().map(OsString::from).collect(),
            env: vec![("PATH".into(), "/bin".into())],
            cwd: PathBuf::from("/"),
            user: User { uid: 1000, gid: 1000 },
            profile: Profile::Run,
            network: Network::None,
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
            secrets: Vec::new(),
            hostname: "box".to_owned(),
            runtime: None,
        }
    }

    /// A run of a shell script.
    pub(crate) fn shell(&self, script: &str) -> Run {
        self.command(&["/bin/sh", "-c", script])
    }
}

/// Compile a C program that needs no library at run time.
pub(crate) fn compile(source: &str, program: &Path) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it")
        .join(source);
    let output = Command::new("cc")
        .args(["-static", "-O1", "-Wall", "-Werror", "-o"])
        .arg(program)
        .arg(&path)
        .output()
        .unwrap_or_else(|_| panic!("install a C compiler"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The example that stands for a caller in a process of its own.
pub(crate) fn contained() -> PathBuf {
    example("contained")
}

/// A program of this crate's examples.
pub(crate) fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        path.exists(),
        "build the examples too: cargo test without --test does"
    );
    path
}

/// Seconds for `sleep` that no other process of this machine sleeps.
pub(crate) fn marker() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!(
        "{}{:03}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// The processes of the host whose last argument is this.
pub(crate) fn alive(marker: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let has_it = |id: &u32| {
        let arguments = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        arguments
            .strip_suffix(b"\0")
            .is_some_and(|all| all.ends_with(format!("\0{marker}").as_bytes()))
    };
    ids.filter(has_it).collect()
}

/// The cgroups that this caller's runs have made, in all hierarchies.
pub(crate) fn cgroups_of(caller: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let own = entry
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{caller}-"));
            if own && directory.ends_with("cooper") {
                found.push(entry.path());
            } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                pending.push(entry.path());
            }
        }
    }
    found
}

/// Wait until it is so, ten seconds at most.
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(10), "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A specification that owns its parts.
pub(crate) struct Run {
    _bed: Arc<TempDir>,
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) argv: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: PathBuf,
    pub(crate) user: User,
    pub(crate) profile: Profile,
    pub(crate) network: Network,
    pub(crate) limits: Limits,
    pub(crate) stdin: Stdin,
    pub(crate) stdio: Stdio,
    pub(crate) files: Vec<InjectedFile>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) hostname: String,
    pub(crate) runtime: Option<RuntimeProgram>,
}

impl Run {
    /// The same as a build step.
    pub(crate) fn build(mut self) -> Self {
        self.profile = Profile::Build;
        self.user = User { uid: 0, gid: 0 };
        self
    }

    /// Started by this runtime.
    pub(crate) fn by(mut self, runtime: &RuntimeProgram) -> Self {
        self.runtime = Some(runtime.clone());
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
        self.attempt_with(root, &[])
    }

    /// Run it in the test bed's tree, read-only, with these mounts.
    pub(crate) fn outcome_with(&self, mounts: &[Attached<'_>]) -> Outcome {
        let root = Root::ReadOnly { layers: &self.layers };
        let outcome = self.attempt_with(root, mounts);
        outcome.unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    /// Run it in this root with these mounts.
    pub(crate) fn attempt_with(
        &self,
        root: Root<'_>,
        mounts: &[Attached<'_>],
    ) -> Result<Outcome, SandboxError> {
        let gateway = self.network.rules().map(|_| GatewayProgram::at(contained()));
        let spec = Spec {
            root,
            argv: &self.argv,
            env: &self.env,
            cwd: &self.cwd,
            user: self.user,
            profile: self.profile,
            network: &self.network,
            gateway: gateway.as_ref(),
            limits: self.limits.clone(),
            enforcement: Enforcement::of_builds(),
            stdin: self.stdin.clone(),
            stdio: self.stdio.clone(),
            files: &self.files,
            grants: Grants {
                mounts,
                secrets: &self.secrets,
            },
            hostname: &self.hostname,
        };
        match &self.runtime {
            Some(runtime) => cooper_sandbox::run_by(&spec, runtime),
            None => cooper_sandbox::run(&spec),
        }
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
