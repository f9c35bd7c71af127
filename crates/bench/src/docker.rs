//! The peer that everyone has: an own Docker Engine, started for this run and stopped after it.
//!
//! The engine and client are the distribution's, never whatever else is in PATH.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::args::Options;
use crate::base::{CA_IN_IMAGE, put};
use crate::error::BenchError;
use crate::measure::{Finished, command_line, has_ended_within, last_lines, timed};
use crate::say;

const CLIENT: &str = "/usr/bin/docker";
const ENGINE: &str = "/usr/sbin/dockerd";
/// The name of the imported base.
pub(crate) const BASE: &str = "bench-base";
const START: Duration = Duration::from_mins(1);
const STOP: Duration = Duration::from_mins(1);

/// A running engine; dropping it stops it.
pub(crate) struct Docker {
    engine: Child,
    socket: String,
    folder: PathBuf,
    build_args: Vec<String>,
}

/// A built image.
pub(crate) struct Built {
    pub(crate) elapsed: Duration,
    /// How many steps were taken from the layer cache.
    pub(crate) cached_steps: usize,
}

impl Docker {
    /// Start an engine below `folder` and import the base into it.
    pub(crate) fn start(options: &Options, folder: &Path, base: &Path) -> Result<Self, BenchError> {
        let mut docker = Self::spawn(folder, &options.build_args)?;
        docker.wait_until_up()?;
        say("importing the peer's base image");
        let mut import = docker.client();
        import.arg("import");
        for variable in image_environment(options) {
            import.args(["--change", &format!("ENV {variable}")]);
        }
        timed(import.arg(base).arg(BASE))?;
        Ok(docker)
    }

    fn spawn(folder: &Path, build_args: &[String]) -> Result<Self, BenchError> {
        std::fs::create_dir_all(folder).map_err(|source| BenchError::file(folder, source))?;
        let log_path = folder.join("log");
        let log = std::fs::File::create(&log_path).map_err(|source| BenchError::file(&log_path, source))?;
        let log_again = log
            .try_clone()
            .map_err(|source| BenchError::file(&log_path, source))?;
        let socket = format!("unix://{}", folder.join("socket").display());
        let mut command = Command::new("setpriv");
        // The engine must not outlive the benchmark, whatever ends that.
        command.args(["--pdeathsig", "TERM"]);
        // Nor must its mounts: they are in a mount namespace of its own.
        command.args(["unshare", "--mount", "--propagation", "slave"]);
        command.args([ENGINE, "--host", &socket]);
        command.arg("--data-root").arg(folder.join("data"));
        command.arg("--exec-root").arg(folder.join("exec"));
        command.arg("--pidfile").arg(folder.join("pid"));
        command.args([
            "--storage-driver=overlay2",
            "--iptables=false",
            "--ip6tables=false",
            "--bridge=none",
        ]);
        command.args(["--ip-forward=false", "--ip-masq=false", "--userland-proxy=false"]);
        command.stdin(Stdio::null()).stdout(log).stderr(log_again);
        let line = command_line(&command);
        let engine = command.spawn().map_err(|source| BenchError::Start {
            command: line,
            source,
        })?;
        Ok(Self {
            engine,
            socket,
            folder: folder.to_owned(),
            build_args: build_args.to_vec(),
        })
    }

    fn wait_until_up(&mut self) -> Result<(), BenchError> {
        let begun = Instant::now();
        loop {
            match self.server_version() {
                Ok(_) => return Ok(()),
                Err(_) if begun.elapsed() < START && !has_ended_within(&self.engine, Duration::ZERO)? => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(_) => {
                    let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                    return Err(BenchError::Failed {
                        command: "dockerd".to_owned(),
                        status: "no answer".to_owned(),
                        said: last_lines(&log, 4),
                    });
                }
            }
        }
    }

    fn client(&self) -> Command {
        let mut command = Command::new(CLIENT);
        command.args(["--host", &self.socket]);
        // The classic builder: as quick as BuildKit in this engine, and its output says which steps were cached.
        command.env("DOCKER_BUILDKIT", "0").env_remove("DOCKER_CONTEXT");
        command
    }

    /// The engine's version.
    pub(crate) fn server_version(&self) -> Result<String, BenchError> {
        let finished = timed(self.client().args(["version", "--format", "{{.Server.Version}}"]))?;
        Ok(finished.stdout.trim().to_owned())
    }

    /// Build `tag` from a Dockerfile.
    pub(crate) fn build(&self, tag: &str, dockerfile: &str, flags: &[&str]) -> Result<Built, BenchError> {
        let context = self.folder.join("context");
        put(&context.join("Dockerfile"), dockerfile)?;
        let mut command = self.client();
        command
            .args(["build", "--network", "host", "--tag", tag])
            .args(flags);
        for name in &self.build_args {
            command.args(["--build-arg", name]);
        }
        let Finished { elapsed, stdout } = timed(command.arg(context))?;
        Ok(Built {
            elapsed,
            cached_steps: stdout.matches("---> Using cache").count(),
        })
    }

    /// Build `tag` from a Dockerfile by `BuildKit`, whose caches of packages outlive a build; how long it takes. Files
    /// come into the context under their names.
    pub(crate) fn build_with_cache(
        &self,
        tag: &str,
        dockerfile: &str,
        files: &[(&str, &str)],
    ) -> Result<Duration, BenchError> {
        let context = self.folder.join("context");
        put(&context.join("Dockerfile"), dockerfile)?;
        for (name, text) in files {
            put(&context.join(name), text)?;
        }
        let mut command = self.client();
        command.env("DOCKER_BUILDKIT", "1");
        command.args(["build", "--quiet", "--network", "host", "--tag", tag]);
        for name in &self.build_args {
            command.args(["--build-arg", name]);
        }
        Ok(timed(command.arg(context))?.elapsed)
    }

    /// Where everything that the engine keeps is.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Remove what `BuildKit` kept of earlier builds.
    pub(crate) fn prune(&self) -> Result<(), BenchError> {
        timed(self.client().args(["builder", "prune", "--all", "--force"])).map(drop)
    }

    /// Remove an image, and with it what the layer cache knows of it.
    pub(crate) fn remove_image(&self, tag: &str) -> Result<(), BenchError> {
        timed(self.client().args(["image", "rm", "--force", tag])).map(drop)
    }

    /// List all images.
    pub(crate) fn images(&self) -> Result<Finished, BenchError> {
        timed(self.client().arg("images"))
    }

    /// Load an archive of images.
    pub(crate) fn load(&self, archive: &Path) -> Result<(), BenchError> {
        timed(self.client().args(["load", "--quiet", "--input"]).arg(archive)).map(drop)
    }

    /// Start a container that does nothing, for programs to be executed in it. It goes with the engine.
    pub(crate) fn start_idle(&self, tag: &str) -> Result<String, BenchError> {
        let words = ["run", "--detach", "--network", "none", tag, "sleep", "infinity"];
        Ok(timed(self.client().args(words))?.stdout.trim().to_owned())
    }

    /// Execute a program in a running container; it has to print this.
    pub(crate) fn exec(&self, container: &str, words: &[&str], prints: &str) -> Result<Finished, BenchError> {
        let mut command = self.client();
        command.args(["exec", container]).args(words);
        let finished = timed(&mut command)?;
        if finished.stdout == prints {
            return Ok(finished);
        }
        Err(BenchError::NotDone {
            command: command_line(&command),
            what: format!("it printed {:?}", finished.stdout),
        })
    }

    /// Run a program in a fresh container without network.
    pub(crate) fn run(&self, tag: &str, words: &[&str]) -> Result<Finished, BenchError> {
        timed(
            self.client()
                .args(["run", "--rm", "--network", "none", tag])
                .args(words),
        )
    }

    /// The folders of an image's layers, the topmost first, and its environment.
    pub(crate) fn layers(&self, tag: &str) -> Result<(Vec<PathBuf>, Vec<String>), BenchError> {
        let finished = timed(self.client().args(["image", "inspect", tag]))?;
        let image: Value = serde_json::from_str(&finished.stdout).unwrap_or_default();
        let data = &image[0]["GraphDriver"]["Data"];
        let folders = [&data["UpperDir"], &data["LowerDir"]];
        let folders = folders.into_iter().filter_map(Value::as_str);
        let environment = image[0]["Config"]["Env"].as_array().into_iter().flatten();
        Ok((
            folders
                .flat_map(|folders| folders.split(':'))
                .map(PathBuf::from)
                .collect(),
            environment.filter_map(Value::as_str).map(str::to_owned).collect(),
        ))
    }
}

/// The environment of the base: what pip and apt need to work unattended, and where the host's index is.
fn image_environment(options: &Options) -> Vec<String> {
    let mut variables: Vec<String> = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "DEBIAN_FRONTEND=noninteractive",
        "PIP_BREAK_SYSTEM_PACKAGES=1",
        "PIP_DISABLE_PIP_VERSION_CHECK=1",
        "PIP_ROOT_USER_ACTION=ignore",
    ]
    .map(str::to_owned)
    .to_vec();
    if options.ca.is_some() {
        variables.push(format!("PIP_CERT={CA_IN_IMAGE}"));
    }
    if let Some(index) = &options.pip_index {
        variables.push(format!("PIP_INDEX_URL={index}"));
    }
    variables
}

impl Drop for Docker {
    fn drop(&mut self) {
        // An engine that has ended already cannot be told to: fine.
        let _ = rustix::process::kill_process(Pid::from_child(&self.engine), Signal::TERM);
        if !has_ended_within(&self.engine, STOP).unwrap_or(false) {
            say("dockerd does not stop: killing it");
            let _ = self.engine.kill();
        }
        let _ = self.engine.wait();
    }
}
