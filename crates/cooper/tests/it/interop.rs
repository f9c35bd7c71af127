//! What `cooper save` wrote, in the hands of other programs: Docker Engine, Podman, skopeo, umoci and containerd as Debian
//! has them. Each loads the archive, sees the same digests, and runs a script in the image; what package managers list
//! is what `cooper inspect` lists.
//!
//! Every daemon is this test's own: its folder, its socket, ended by its process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::context::{Host, done};
use crate::live::live;

const IMAGE: &str = "local/example_name:1.0.0.1";
/// What the copies of the image take together.
const MEMORY_BYTES: u64 = 3 << 30;
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What dpkg and Python themselves say is installed, as `cooper inspect --json` lists it.
const LISTED: &str = r#"
import importlib.metadata, json, os, re, subprocess, sys
root = sys.argv[1] if len(sys.argv) > 1 else "/"
query = ["dpkg-query", "--admindir", os.path.join(root, "var/lib/dpkg"), "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n"]
lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
debian = sorted(line.split()[1:] for line in lines)
assert all(line.startswith("installed ") for line in lines), lines
local = os.path.join(root, "usr/local/lib")
sites = [os.path.join(local, name, "dist-packages") for name in os.listdir(local) if name.startswith("python3.")]
found = importlib.metadata.distributions(path=sites)
python = sorted([re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(), one.version] for one in found)
if root == "/":
    import mechanize
    assert os.getuid() == 1000 and os.getcwd() == "/work", (os.getuid(), os.getcwd())
print(json.dumps({"debian": debian, "python": python}))
"#;

/// The archive of a live image, and what must come out of it.
struct Bench {
    host: Host,
    /// The archive.
    file: PathBuf,
    /// The manifest's digest: what readers of the layout see.
    manifest: String,
    /// The configuration's digest: what Docker shows.
    config: String,
    /// The packages as `cooper inspect` lists them, in the form of [`LISTED`].
    listed: Value,
}

impl Bench {
    fn new() -> Self {
        let host = live(Host::in_memory(MEMORY_BYTES));
        let create = [
            "create",
            "example_name",
            "--dependencies",
            "mechanize",
            "--packages",
            "wget",
        ];
        host.cooper(&create).good();
        let saved = host
            .cooper(&["save", "example_name", "-o", "example.tar", "--json"])
            .good()
            .json();
        let image = host.cooper(&["inspect", "example_name", "--json"]).good().json();
        let packages = |kind: &str| {
            let list = image["packages"][kind].as_array().unwrap().iter();
            list.map(|package| json!([package["name"], package["version"]]))
                .collect::<Value>()
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Self {
            file: host.path("project/example.tar"),
            manifest: text(&saved["images"][0]["digest"]),
            config: text(&saved["images"][0]["config"]),
            listed: json!({ "debian": packages("debian"), "python": packages("python") }),
            host,
        }
    }

    fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// An empty folder with a short path: sockets are in it.
    fn folder(&self, name: &str) -> PathBuf {
        let folder = self.host.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn assert_listed(&self, by: &str, output: &str) {
        let listed: Value =
            serde_json::from_str(output).unwrap_or_else(|error| panic!("{by}: {error}: {output}"));
        for kind in ["debian", "python"] {
            let mut expected = self.listed[kind].as_array().unwrap().clone();
            expected.sort_by_key(ToString::to_string);
            let mut found = listed[kind].as_array().unwrap().clone();
            found.sort_by_key(ToString::to_string);
            assert!(
                !found.is_empty() && found == expected,
                "{by}: {kind}: {found:?}, expected {expected:?}"
            );
        }
    }
}

/// Who reads the archive, and how that is tried.
type Program = (&'static str, fn(&Bench));

/// Whether the programs are there. In CI they must be.
fn have(test: &str, programs: &[&str]) -> bool {
    let missing: Vec<&&str> = programs
        .iter()
        .filter(|program| !Path::new(program).exists())
        .collect();
    if missing.is_empty() {
        return true;
    }
    #[expect(clippy::disallowed_methods, reason = "CI says that it has everything")]
    let nothing_skipped = std::env::var_os("COOPER_TEST_SKIP_NOTHING").is_some();
    assert!(!nothing_skipped, "{test} needs {missing:?}");
    eprintln!("SKIPPED {test}: this host has no {missing:?}");
    false
}

/// Run a program to its good end; its standard output.
fn run(command: &mut Command) -> String {
    command.env("PATH", PATH).stdin(Stdio::null());
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let done = done(&output);
    assert_eq!(done.status, 0, "{command:?}: {done}");
    done.stdout
}

/// A daemon of this test, ended with it.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command, ready: impl Fn() -> bool) -> Self {
        let log = Stdio::null();
        let child = command
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut daemon = Self(child.spawn().unwrap());
        let started = Instant::now();
        while !ready() {
            assert!(daemon.0.try_wait().unwrap().is_none(), "{command:?} ended");
            assert!(
                started.elapsed() < Duration::from_mins(1),
                "{command:?} is not ready"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Asked to end, it ends what it started, too.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let asked = Instant::now();
        while self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            if asked.elapsed() > Duration::from_secs(30) {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn live_archives_are_read_by_other_programs() {
    let started = Instant::now();
    let bench = Bench::new();
    eprintln!("create and save: {} s", started.elapsed().as_secs());
    std::thread::scope(|scope| {
        let programs: [Program; 5] = [
            ("Docker Engine", docker),
            ("Podman", podman),
            ("containerd", containerd),
            ("skopeo and umoci", skopeo_and_umoci),
            ("cooper", cooper),
        ];
        for (name, by) in programs {
            let bench = &bench;
            scope.spawn(move || {
                let started = Instant::now();
                by(bench);
                eprintln!("{name}: {} s", started.elapsed().as_secs());
            });
        }
    });
}

fn docker(bench: &Bench) {
    if !have(
        "Docker Engine",
        &["/usr/sbin/dockerd", "/usr/bin/docker", "/usr/sbin/runc"],
    ) {
        return;
    }
    let folder = bench.folder("docker");
    let below = |name: &str| folder.join(name).display().to_string();
    let socket = format!("unix://{}", below("sock"));
    let mut daemon = Command::new("/usr/sbin/dockerd");
    daemon.args([
        "--data-root",
        &below("data"),
        "--exec-root",
        &below("exec"),
        "--pidfile",
        &below("pid"),
    ]);
    daemon.args([
        "--host",
        &socket,
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
    ]);
    let docker = |args: &[&str]| {
        let mut command = Command::new("/usr/bin/docker");
        command.args(["--host", &socket]).args(args);
        command
    };
    let ready = || {
        docker(&["version"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let _daemon = Daemon::start(&mut daemon, ready);
    let loaded = run(&mut docker(&["load", "--input", bench.file()]));
    assert!(loaded.contains(IMAGE), "{loaded}");
    let id = run(&mut docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE]));
    assert_eq!(id.trim(), bench.config);
    let script = run(&mut docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        IMAGE,
        "python3",
        "-c",
        LISTED,
    ]));
    bench.assert_listed("docker run", &script);
}

fn podman(bench: &Bench) {
    if !have("Podman", &["/usr/bin/podman", "/usr/sbin/runc"]) {
        return;
    }
    let folder = bench.folder("podman");
    let below = |name: &str| folder.join(name).display().to_string();
    let podman = |args: &[&str]| {
        let mut command = Command::new("/usr/bin/podman");
        command.args([
            "--root",
            &below("root"),
            "--runroot",
            &below("run"),
            "--storage-driver",
            "vfs",
        ]);
        // Debian 12's crun refuses hosts with both versions of cgroups.
        command.args([
            "--cgroup-manager",
            "cgroupfs",
            "--runtime",
            "/usr/sbin/runc",
            "--events-backend",
            "file",
        ]);
        command.env("HOME", &folder).args(args);
        command
    };
    run(&mut podman(&["load", "--quiet", "--input", bench.file()]));
    let listed = run(&mut podman(&[
        "images",
        "--no-trunc",
        "--format",
        "{{.Repository}}:{{.Tag}} {{.Digest}} {{.Id}}",
    ]));
    let (name, digests) = listed.trim().split_once(' ').unwrap();
    assert!(name.ends_with(IMAGE), "{listed}");
    // It read the layout, so that the manifest is the same.
    let expected = format!(
        "{} {}",
        bench.manifest,
        bench.config.trim_start_matches("sha256:")
    );
    assert_eq!(digests.replace(" sha256:", " "), expected);
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    let script = [
        &["run", "--rm", "--network", "none"],
        &limits[..],
        &[name, "python3", "-c", LISTED],
    ]
    .concat();
    bench.assert_listed("podman run", &run(&mut podman(&script)));
}

fn containerd(bench: &Bench) {
    if !have(
        "containerd",
        &["/usr/bin/containerd", "/usr/bin/ctr", "/usr/sbin/runc"],
    ) {
        return;
    }
    let folder = bench.folder("containerd");
    let below = |name: &str| folder.join(name).display().to_string();
    let settings = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n",
        below("root"),
        below("state"),
        below("sock")
    );
    let settings = bench.host.write("containerd/config.toml", &settings);
    let ctr = |args: &[&str]| {
        let mut command = Command::new("/usr/bin/ctr");
        command.args(["--address", &below("sock")]).args(args);
        command
    };
    let mut daemon = Command::new("/usr/bin/containerd");
    let ready = || {
        ctr(&["version"])
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let _daemon = Daemon::start(daemon.arg("--config").arg(&settings), ready);
    run(&mut ctr(&["images", "import", bench.file()]));
    let listed = run(&mut ctr(&["images", "list"]));
    assert!(
        listed.contains(&format!("{IMAGE} ")) && listed.contains(&bench.manifest),
        "{listed}"
    );
    let checked = run(&mut ctr(&["images", "check"]));
    assert!(checked.contains("complete (4/4)"), "{checked}");
    let script = run(&mut ctr(&[
        "run", "--rm", IMAGE, "interop", "python3", "-c", LISTED,
    ]));
    bench.assert_listed("ctr run", &script);
}

fn skopeo_and_umoci(bench: &Bench) {
    let folder = bench.folder("layout");
    if have("skopeo", &["/usr/bin/skopeo"]) {
        let copied = |from: String, to: &str| {
            let to = folder.join(to);
            let mut skopeo = Command::new("/usr/bin/skopeo");
            skopeo
                .args(["--insecure-policy", "copy", "--quiet", &from])
                .arg(format!("dir:{}", to.display()));
            run(skopeo.env("TMPDIR", &folder));
            std::fs::read(to.join("manifest.json")).unwrap()
        };
        let digest = |bytes: &[u8]| cooper_core::Digest::of(bytes).to_string();
        let (file, named) = (bench.file(), format!("{}:{IMAGE}", bench.file()));
        // There is one image in the archive, whatever else is in it.
        assert_eq!(
            digest(&copied(format!("oci-archive:{file}"), "oci")),
            bench.manifest
        );
        assert_eq!(
            digest(&copied(format!("oci-archive:{named}"), "named")),
            bench.manifest
        );
        let docker: Value =
            serde_json::from_slice(&copied(format!("docker-archive:{file}"), "docker")).unwrap();
        assert_eq!(docker["config"]["digest"], json!(bench.config));
    }
    if have(
        "umoci",
        &["/usr/bin/umoci", "/usr/bin/dpkg-query", "/usr/bin/python3"],
    ) {
        let layout = bench.folder("layout/image");
        run(Command::new("tar")
            .arg("-xf")
            .arg(&bench.file)
            .arg("-C")
            .arg(&layout));
        let image = format!("{}:{IMAGE}", layout.display());
        let bundle = folder.join("bundle");
        run(Command::new("/usr/bin/umoci")
            .args(["unpack", "--image", &image])
            .arg(&bundle));
        let walked: Value =
            serde_json::from_slice(&std::fs::read(bundle.join("umoci.json")).unwrap()).unwrap();
        let first = &walked["from_descriptor_path"]["descriptor_walk"][0];
        assert_eq!(first["digest"], json!(bench.manifest));
        // A scanner's view of the unpacked tree, by the host's own programs.
        let script = run(Command::new("/usr/bin/python3")
            .args(["-c", LISTED])
            .arg(bundle.join("rootfs")));
        bench.assert_listed("the host's dpkg and Python", &script);
    }
}

fn cooper(bench: &Bench) {
    let other = live(Host::in_memory(MEMORY_BYTES));
    // Layers are never in memory as a whole: 200 MB of addresses are enough for an image of any size.
    let script = "ulimit -v 200000; exec \"$@\"";
    let loaded = other
        .cooper_from_shell(script, &["load", bench.file(), "--json"])
        .good()
        .json();
    assert_eq!(loaded["images"][0]["digest"], json!(bench.manifest));
    let script = other.cooper(&["run", "example_name", "-c", LISTED]).good().stdout;
    bench.assert_listed("cooper run", &script);
    other.cooper(&["fsck"]).good();
    other.cooper(&["save", "example_name", "-o", "again.tar"]).good();
    let again = std::fs::read(other.path("project/again.tar")).unwrap();
    assert!(
        again == std::fs::read(&bench.file).unwrap(),
        "saved again, it has other bytes"
    );
}
