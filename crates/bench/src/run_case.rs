//! The case of running: a fresh container and `python3 -c pass`, the whole process.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::put;
use crate::case::{Bench, CaseResult, Goal, KNOWN, prepared};
use crate::error::BenchError;
use crate::measure::output;
use crate::namespace::Namespace;
use crate::round::{Contender, play};
use crate::say;

const CODE: &str = "pass";
const TURNS: usize = 40;
const WARM_UPS: usize = 3;
/// What a check prints, so that nothing is measured that runs no Python.
const PROOF: &str = "print(6 * 7)";

impl Bench<'_> {
    /// `cooper run` against docker, crun and a bare chroot.
    pub(crate) fn run(&self) -> Option<CaseResult> {
        let known = self.known_store();
        let (namespace, whose) = self.namespace(&known);
        let bundle = namespace
            .as_ref()
            .map_err(BenchError::chain)
            .and_then(|namespace| {
                Bundle::make(&self.scratch.join("bundle"), namespace).map_err(|error| error.chain())
            });
        let proven = self.prove(&known);
        let ours = Contender::new("cooper run", || {
            proven
                .as_ref()
                .map_err(|error| BenchError::NotPrepared(error.chain()))?;
            Ok(self.cooper.run(prepared(&known)?, KNOWN, CODE)?.elapsed)
        });
        let docker = Contender::new("docker run --rm --network none", || {
            Ok(self.docker.run(KNOWN, &["python3", "-c", CODE])?.elapsed)
        });
        let entered = || {
            let reason = |error: &BenchError| BenchError::NotPrepared(error.chain());
            namespace.as_ref().map_err(reason)
        };
        let crun = Contender::new(format!("crun run{whose}"), || {
            let bundle = bundle
                .as_ref()
                .map_err(|error| BenchError::NotPrepared(error.clone()))?;
            bundle.run(entered()?)
        });
        let chroot = Contender::new(format!("chroot{whose}"), || {
            let namespace = entered()?;
            let mut command = Command::new("/usr/sbin/chroot");
            command.arg(namespace.root()).args(["python3", "-c", CODE]);
            Ok(namespace.timed(&mut command)?.elapsed)
        });
        let contenders = vec![ours, docker, crun, chroot];
        let series = play(contenders, WARM_UPS, self.turns(TURNS));
        let docker_goal = Goal {
            required: Some(0.12),
            aim: None,
        };
        CaseResult::new(
            "`run IMAGE -c pass`, whole process",
            series,
            &[docker_goal, Goal::default(), Goal::of(1.6, 1.2)],
        )
    }

    /// The root that crun and chroot use: our image's. When that cannot be had, docker's, and it is said.
    pub(crate) fn namespace(
        &self,
        known: &Result<PathBuf, BenchError>,
    ) -> (Result<Namespace, BenchError>, &'static str) {
        let ours = prepared(known).and_then(|store| self.cooper.layers(store, KNOWN));
        let (layers, whose) = match ours {
            Ok(layers) => (Ok(layers), ""),
            Err(error) => {
                say(&format!(
                    "  crun and chroot get docker's image, not ours: {}",
                    error.chain()
                ));
                (self.docker.layers(KNOWN), " (docker's image, not ours)")
            }
        };
        let folder = self.scratch.join("namespace");
        let namespace =
            layers.and_then(|(layers, environment)| Namespace::make(&folder, &layers, environment));
        (namespace, whose)
    }

    /// Whether `cooper run` really runs Python.
    fn prove(&self, known: &Result<PathBuf, BenchError>) -> Result<(), BenchError> {
        let finished = self.cooper.run(prepared(known)?, KNOWN, PROOF)?;
        if finished.stdout == "42\n" {
            return Ok(());
        }
        Err(BenchError::NotDone {
            command: format!("cooper run {KNOWN} -c '{PROOF}'"),
            what: format!("it printed {:?}", finished.stdout),
        })
    }
}

/// An OCI bundle for crun.
struct Bundle {
    folder: PathBuf,
    state: PathBuf,
}

impl Bundle {
    /// crun's own default configuration, with the image's root and environment.
    fn make(folder: &Path, namespace: &Namespace) -> Result<Self, BenchError> {
        let bundle = Self {
            folder: folder.to_owned(),
            state: folder.join("state"),
        };
        std::fs::create_dir_all(&bundle.state).map_err(|source| BenchError::file(folder, source))?;
        output("crun", &["spec", "--bundle", &folder.display().to_string()])?;
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).map_err(|source| BenchError::file(&path, source))?;
        let mut config: Value = serde_json::from_str(&text).unwrap_or_default();
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["python3", "-c", CODE]);
        config["process"]["env"] = json!(namespace.environment());
        config["root"] = json!({ "path": namespace.root(), "readonly": true });
        put(&path, &config.to_string())?;
        Ok(bundle)
    }

    fn run(&self, namespace: &Namespace) -> Result<Duration, BenchError> {
        let mut command = Command::new("/usr/bin/crun");
        command
            .arg("--cgroup-manager=cgroupfs")
            .arg("--root")
            .arg(&self.state);
        command.args(["run", "--bundle"]).arg(&self.folder).arg("bench");
        Ok(namespace.timed(&mut command)?.elapsed)
    }
}
