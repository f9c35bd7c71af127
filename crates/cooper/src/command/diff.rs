//! `cooper diff`: what differs between the packages of two images.

use clap::Args;
use serde_json::json;

use crate::command::inspect::parse_reference;
use crate::failure::{Exit, Failure};
use crate::render::package::write_change;
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper diff example_name:1.0.0.1 example_name:1.0.0.2
  cooper diff example_name:1.0.0.1 example_name
  cooper diff example_name other --json";

/// Show what differs between the packages of two images
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DiffArgs {
    #[arg(help = "[ORGANISATION/]NAME[:TAG]; without a tag its newest version")]
    from: String,
    /// The image to compare it with
    to: String,
}

/// Execute `cooper diff`.
pub(crate) fn diff(args: &DiffArgs, shell: &Shell) -> Result<Exit, Failure> {
    let (from, to) = (parse_reference(&args.from)?, parse_reference(&args.to)?);
    let settings = shell.settings()?;
    let workshop = open_workshop(&settings, Need::Store)?;
    let difference = workshop.diff(&from, &to)?;
    if difference.changes.is_empty() {
        let text = format!("{} and {} have the same packages", difference.from, difference.to);
        shell.note("note", &text);
    }
    shell.print(
        || json!(difference),
        |out| {
            let mut changes = difference.changes.iter();
            changes.try_for_each(|change| {
                write_change(out, change)?;
                writeln!(out)
            })
        },
    )?;
    Ok(Exit::GOOD)
}
