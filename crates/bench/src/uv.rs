//! The peer for Python packages: uv, the index's own binary, with a cache of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Options;
use crate::error::BenchError;
use crate::measure::{Finished, timed};

/// Whom packages are for: what the image's interpreter is.
const TARGET: [&str; 4] = [
    "--python-version",
    "3.13",
    "--python-platform",
    "x86_64-manylinux_2_36",
];

pub(crate) struct Uv {
    binary: PathBuf,
    cache: PathBuf,
    index: Option<String>,
    ca: Option<PathBuf>,
}

impl Uv {
    pub(crate) fn new(options: &Options, scratch: &Path) -> Self {
        Self {
            binary: options.uv.clone(),
            cache: scratch.join("uv-cache"),
            index: options.pip_index.clone(),
            ca: options.ca.clone(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(["pip", "--quiet", "--no-config", "--no-python-downloads"]);
        command.arg("--cache-dir").arg(&self.cache);
        if let Some(index) = &self.index {
            command.env("UV_DEFAULT_INDEX", index);
        }
        if let Some(ca) = &self.ca {
            command.env("SSL_CERT_FILE", ca);
        }
        command
    }

    /// Its version.
    pub(crate) fn version(&self) -> Result<String, BenchError> {
        Ok(timed(Command::new(&self.binary).arg("--version"))?
            .stdout
            .trim()
            .to_owned())
    }

    /// Choose versions for the requirements in a file; the pins, one on a line.
    pub(crate) fn compile(&self, requirements: &Path) -> Result<Finished, BenchError> {
        let mut command = self.command();
        command
            .args(["compile", "--no-build", "--no-annotate", "--no-header"])
            .args(TARGET);
        timed(command.arg(requirements))
    }

    /// Install pinned requirements into a folder.
    pub(crate) fn install(
        &self,
        requirements: &Path,
        folder: &Path,
        bytecode: bool,
    ) -> Result<Finished, BenchError> {
        let mut command = self.command();
        command
            .args(["install", "--no-deps", "--only-binary", ":all:"])
            .args(TARGET);
        if bytecode {
            command.arg("--compile-bytecode");
        }
        timed(command.arg("--target").arg(folder).arg("-r").arg(requirements))
    }
}
