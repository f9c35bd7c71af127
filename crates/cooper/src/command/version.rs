//! `cooper version`: which program this is.

use clap::Args;
use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::shell::Shell;

const EXAMPLES: &str = "\
Examples:
  cooper version
  cooper version --json";

/// Show the version of this program
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct VersionArgs {}

/// Execute `cooper version`.
pub(crate) fn version(shell: &Shell) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    shell.print(
        || json!({ "version": version }),
        |out| writeln!(out, "cooper {version}"),
    )?;
    Ok(Exit::GOOD)
}
