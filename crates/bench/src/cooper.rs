//! Us: the program as users start it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::error::BenchError;
use crate::measure::{Finished, command_line, timed};

/// Real requirement sets have libraries that the standard policy holds; everything is judged all the same, and noted.
const POLICY: &str = "[names]\ndirect = 'note'\ntransitive = 'note'\n[age]\ndays_min = 0\n[licences]\npython_denied = 'note'\n\
     python_doubtful = 'note'\n[provenance]\nstartup_code = 'note'\nnative_in_pure = 'note'\n";
const POLICY_NAME: &str = "policy.toml";

/// The built binary.
pub(crate) struct Cooper {
    binary: PathBuf,
    /// Where it is started: a folder without a project's settings.
    folder: PathBuf,
}

/// What is asked of `cooper create`.
pub(crate) struct Asked<'a> {
    pub(crate) name: &'a str,
    pub(crate) dependencies: &'a [&'a str],
    pub(crate) packages: &'a [&'a str],
}

impl Cooper {
    /// Started in this folder, where the policy is written.
    pub(crate) fn new(binary: &Path, folder: &Path) -> std::io::Result<Self> {
        std::fs::File::create(folder.join(POLICY_NAME))?.write_all(POLICY.as_bytes())?;
        Ok(Self {
            binary: binary.to_owned(),
            folder: folder.to_owned(),
        })
    }

    fn command(&self, store: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(&self.folder).arg("--store").arg(store);
        command.env("COOPER_POLICY", self.folder.join(POLICY_NAME));
        command
    }

    /// Its version.
    pub(crate) fn version(&self) -> Result<String, BenchError> {
        Ok(timed(Command::new(&self.binary).arg("--version"))?
            .stdout
            .trim()
            .to_owned())
    }

    /// Create an image. It fails when the answer does not say that a version was made (or that none was, as
    /// `is_new` says), or lacks a package that was asked for.
    pub(crate) fn create(
        &self,
        store: &Path,
        asked: &Asked<'_>,
        is_new: bool,
    ) -> Result<Duration, BenchError> {
        let mut command = self.command(store);
        command.args(["create", asked.name, "--json"]);
        command.args(["--dependencies", &asked.dependencies.join(",")]);
        command.args(["--packages", &asked.packages.join(",")]);
        let Finished { elapsed, stdout } = timed(&mut command)?;
        match lacking(&stdout, asked, is_new) {
            None => Ok(elapsed),
            Some(what) => Err(BenchError::NotDone {
                command: command_line(&command),
                what,
            }),
        }
    }

    /// Create an image from a requirements file; with `dry_run` only say what would be in it.
    pub(crate) fn create_from(
        &self,
        store: &Path,
        name: &str,
        requirements: &Path,
        dry_run: bool,
    ) -> Result<Finished, BenchError> {
        let mut command = self.command(store);
        command
            .args(["create", name, "--json", "--requirements"])
            .arg(requirements);
        if dry_run {
            command.arg("--dry-run");
        }
        timed(&mut command)
    }

    /// Create an image of libraries alone.
    pub(crate) fn create_library(
        &self,
        store: &Path,
        name: &str,
        libraries: &[&str],
    ) -> Result<(), BenchError> {
        let asked = Asked {
            name,
            dependencies: libraries,
            packages: &[],
        };
        timed(&mut self.creating(store, &asked)).map(drop)
    }

    /// The same, for a look at its processes.
    pub(crate) fn creating(&self, store: &Path, asked: &Asked<'_>) -> Command {
        let mut command = self.command(store);
        command.args(["create", asked.name, "--json"]);
        command.args(["--dependencies", &asked.dependencies.join(",")]);
        command
    }

    /// Run Python code in an image.
    pub(crate) fn run(&self, store: &Path, image: &str, code: &str) -> Result<Finished, BenchError> {
        timed(self.command(store).args(["run", image, "-c", code]))
    }

    /// A runner that takes requests from its standard input.
    pub(crate) fn runner(&self, store: &Path, image: &str) -> Command {
        let mut command = self.command(store);
        command.args(["runner", image]);
        command
    }

    /// List all images.
    pub(crate) fn images(&self, store: &Path) -> Result<Finished, BenchError> {
        timed(self.command(store).arg("images"))
    }

    /// Resolve every image's request again.
    pub(crate) fn update_all(&self, store: &Path) -> Result<Finished, BenchError> {
        timed(self.command(store).args(["update", "--all", "--json"]))
    }

    /// Remove all but some versions of each name, and what only they kept.
    pub(crate) fn collect(&self, store: &Path, keep: usize) -> Result<Finished, BenchError> {
        timed(
            self.command(store)
                .args(["gc", "--json", "--keep", &keep.to_string()]),
        )
    }

    /// Check a store; it fails where something is wrong.
    pub(crate) fn fsck(&self, store: &Path) -> Result<Finished, BenchError> {
        timed(self.command(store).arg("fsck"))
    }

    /// The unpacked layers of an image, the topmost first, and its environment.
    pub(crate) fn layers(
        &self,
        store: &Path,
        image: &str,
    ) -> Result<(Vec<PathBuf>, Vec<String>), BenchError> {
        // The first run unpacks what is not unpacked yet.
        self.run(store, image, "pass")?;
        let mut command = self.command(store);
        command.args(["inspect", image, "--json"]);
        let answer: Value = serde_json::from_str(&timed(&mut command)?.stdout).unwrap_or_default();
        let texts = |value: &Value| -> Vec<String> {
            let each = value.as_array().into_iter().flatten();
            each.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let trees = store.join("trees/sha256");
        let diff_ids = texts(&answer["config"]["rootfs"]["diff_ids"]);
        let layers: Vec<PathBuf> = diff_ids
            .iter()
            .rev()
            .map(|diff_id| trees.join(diff_id.trim_start_matches("sha256:")))
            .collect();
        if layers.is_empty() || !layers.iter().all(|layer| layer.is_dir()) {
            return Err(BenchError::NotDone {
                command: command_line(&command),
                what: "it names no unpacked layers".to_owned(),
            });
        }
        Ok((layers, texts(&answer["config"]["config"]["Env"])))
    }
}

/// What the answer of `create` should have said and does not.
fn lacking(answer: &str, asked: &Asked<'_>, is_new: bool) -> Option<String> {
    let Ok(answer) = serde_json::from_str::<Value>(answer) else {
        return Some("its answer is not JSON".to_owned());
    };
    if answer["created"] != is_new {
        return Some(format!("`created` is {}, not {is_new}", answer["created"]));
    }
    let has = |list: &str, name: &str| {
        let entries = answer["packages"][list].as_array().into_iter().flatten();
        entries.into_iter().any(|entry| entry["name"] == name)
    };
    let python = asked.dependencies.iter().map(|name| ("python", *name));
    let debian = asked.packages.iter().map(|name| ("debian", *name));
    let mut missing = python.chain(debian).filter(|(list, name)| !has(list, name));
    missing
        .next()
        .map(|(_, name)| format!("{name} is not in the image"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked<'_> = Asked {
        name: "a",
        dependencies: &["mechanize"],
        packages: &["wget"],
    };

    #[test]
    fn an_answer_must_say_that_the_work_was_done() {
        let good = r#"{"created": true, "packages": {"debian": [{"name": "wget"}], "python": [{"name": "mechanize"}]}}"#;
        assert_eq!(lacking(good, &ASKED, true), None);
        assert!(
            lacking(good, &ASKED, false)
                .unwrap()
                .contains("`created` is true")
        );
        let without = good.replace("\"wget\"", "\"wput\"");
        assert_eq!(
            lacking(&without, &ASKED, true).unwrap(),
            "wget is not in the image"
        );
        assert!(lacking("{}", &ASKED, true).unwrap().contains("null"));
        assert_eq!(lacking("", &ASKED, true).unwrap(), "its answer is not JSON");
    }
}
