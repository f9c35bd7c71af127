//! A private mount namespace that holds an image's root for `chroot` and `crun`.
//!
//! A process of ours holds the namespace; with its end every mount in it is gone. There is no cgroup v2 mount in
//! it where the host has the hybrid layout, which Debian 12's crun refuses.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::BenchError;
use crate::measure::{Finished, command_line, timed};

/// Arguments: the lower folders of the overlay, and an empty folder.
const HOLD: &str = r#"
set -eu
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
mount -t tmpfs tmpfs "$2"
mkdir "$2/upper" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
echo ready
exec sleep infinity
"#;

/// A root file system that only programs started through this see.
pub(crate) struct Namespace {
    holder: Child,
    theirs: File,
    ours: File,
    root: PathBuf,
    environment: Vec<String>,
}

impl Namespace {
    /// Mount `layers`, the topmost first, below `folder`.
    pub(crate) fn make(
        folder: &Path,
        layers: &[PathBuf],
        environment: Vec<String>,
    ) -> Result<Self, BenchError> {
        std::fs::create_dir_all(folder).map_err(|source| BenchError::file(folder, source))?;
        let layers: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--propagation",
            "private",
        ]);
        command
            .args(["sh", "-c", HOLD, "sh", &layers.join(":")])
            .arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let line = command_line(&command);
        let mut holder = command.spawn().map_err(|source| BenchError::Start {
            command: line,
            source,
        })?;
        let mut said = String::new();
        if let Some(output) = holder.stdout.take() {
            let read = BufReader::new(output).read_line(&mut said);
            read.map_err(|source| BenchError::file(folder, source))?;
        }
        if said.trim() != "ready" {
            let status = holder
                .wait()
                .map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(BenchError::Failed {
                command: "mounting the image for chroot and crun".to_owned(),
                status,
                said: "see above".to_owned(),
            });
        }
        let open = |path: PathBuf| File::open(&path).map_err(|source| BenchError::file(&path, source));
        Ok(Self {
            theirs: open(format!("/proc/{}/ns/mnt", holder.id()).into())?,
            ours: open("/proc/self/ns/mnt".into())?,
            holder,
            root: folder.join("root"),
            environment,
        })
    }

    /// Where the image's root is mounted, as seen from inside.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The environment that programs in the image start with.
    pub(crate) fn environment(&self) -> &[String] {
        &self.environment
    }

    /// Run a program of the host inside, with the image's environment. The move is not in the time.
    pub(crate) fn timed(&self, command: &mut Command) -> Result<Finished, BenchError> {
        command.env_clear();
        command.envs(
            self.environment
                .iter()
                .filter_map(|variable| variable.split_once('=')),
        );
        move_to(&self.theirs)?;
        let result = timed(command);
        move_to(&self.ours)?;
        result
    }
}

fn move_to(namespace: &File) -> Result<(), BenchError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount)).map_err(|error| {
        BenchError::System {
            call: "setns",
            source: error.into(),
        }
    })
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Its end is all that is wanted.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
