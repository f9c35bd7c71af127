//! `cooper fsck`: whether the store keeps its promises.

use std::io::{self, Write};

use clap::Args;
use cooperage::{Fault, FsckReport};
use serde_json::{Value, json};

use crate::failure::{Code, Exit, Failure};
use crate::host::own_files_of_images;
use crate::render::table::printable;
use crate::render::unit;
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper fsck
  cooper fsck --repair; cooper create example_name --dependencies mechanize

Exit status: 0 when nothing is wrong, 1 when something is.";

/// Check every blob, layer and name of the store
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct FsckArgs {
    /// Take what is damaged out of the way, so that the next create fetches or makes it again
    #[arg(long)]
    repair: bool,
}

/// Execute `cooper fsck`.
pub(crate) fn fsck(args: &FsckArgs, shell: &Shell) -> Result<Exit, Failure> {
    let settings = shell.settings()?;
    own_files_of_images();
    let workshop = open_workshop(&settings, Need::Store)?;
    let display = shell.progress();
    let report = workshop.fsck(args.repair, &display.sink());
    display.finish();
    let report = report.map_err(|error| Failure::of(Code::Of("store"), &error))?;
    shell.print(|| document(&report), |out| write(out, &report, args.repair))?;
    Ok(if report.is_clean() {
        Exit::GOOD
    } else {
        Exit::FAILURE
    })
}

fn document(report: &FsckReport) -> Value {
    let fault = |fault: &Fault| {
        let Described {
            code,
            needed_by,
            repaired,
        } = describe(fault);
        json!({ "code": code, "message": fault.to_string(), "needed_by": needed_by, "repaired": repaired })
    };
    json!({
        "clean": report.is_clean(),
        "blobs": report.blobs_checked,
        "bytes": report.bytes_checked,
        "trees": report.trees_checked,
        "images": report.refs_checked,
        "faults": report.faults.iter().map(fault).collect::<Value>(),
        "notes": report.notes.iter().map(ToString::to_string).collect::<Value>(),
    })
}

fn write(out: &mut dyn Write, report: &FsckReport, repair: bool) -> io::Result<()> {
    let blobs = unit::count(report.blobs_checked, "blob");
    let trees = unit::count(report.trees_checked, "tree");
    let images = unit::count(report.refs_checked, "image");
    writeln!(
        out,
        "checked {blobs} ({}), {trees}, {images}",
        unit::size(report.bytes_checked)
    )?;
    for note in &report.notes {
        writeln!(out, "note: {}", printable(&note.to_string()))?;
    }
    for fault in &report.faults {
        let Described {
            code,
            needed_by,
            repaired,
        } = describe(fault);
        writeln!(out, "fault: {code}: {}", printable(&fault.to_string()))?;
        if !needed_by.is_empty() {
            writeln!(out, "  needed by {}", needed_by.join(", "))?;
        }
        if repaired {
            writeln!(out, "  taken out of the way")?;
        }
    }
    if report.is_clean() {
        return writeln!(out, "nothing is wrong");
    }
    let is_evidence = |fault: &Fault| match fault {
        Fault::UnreadablePin { .. } => true,
        other => describe(other)
            .needed_by
            .iter()
            .any(|name| name.starts_with("pin ")),
    };
    let is_of_ledgers =
        |fault: &Fault| matches!(fault, Fault::DamagedLedger { .. } | Fault::LargeLedger { .. });
    let again = if report.faults.iter().all(is_of_ledgers) {
        "look at `cooper waive --list`: what a line that is gone said does not hold"
    } else if report.faults.iter().any(is_evidence) {
        "create the images named above again, and `cooper advisories update` for what is pinned"
    } else {
        "create the images named above again"
    };
    let next = if repair {
        again.to_owned()
    } else {
        format!("`cooper fsck --repair`, then {again}")
    };
    writeln!(
        out,
        "{}; what helps: {next}",
        unit::count(report.faults.len() as u64, "fault")
    )
}

/// A fault as it is shown beside its own sentence.
struct Described<'a> {
    /// Stable.
    code: &'static str,
    needed_by: &'a [String],
    repaired: bool,
}

fn describe(fault: &Fault) -> Described<'_> {
    let (code, needed_by, repaired): (_, &[String], _) = match fault {
        Fault::CorruptedBlob { needed_by, moved, .. } => ("corrupted-blob", needed_by, *moved),
        Fault::UnreadableBlob { needed_by, .. } => ("unreadable-blob", needed_by, false),
        Fault::MissingBlob { needed_by, .. } => ("missing-blob", needed_by, false),
        Fault::DamagedTree { needed_by, moved, .. } => ("damaged-tree", needed_by, *moved),
        Fault::UnreadableRef { removed, .. } => ("unreadable-name", &[], *removed),
        Fault::LostTag { .. } => ("lost-tag", &[], false),
        Fault::TagInUseAndRemoved { .. } => ("tag-in-use-and-removed", &[], false),
        Fault::UnreadableMark { moved, .. } => ("unreadable-mark", &[], *moved),
        Fault::UnreadablePin { moved, .. } => ("unreadable-pin", &[], *moved),
        Fault::DamagedLedger { mended, .. } => ("damaged-ledger", &[], *mended),
        Fault::LargeLedger { .. } => ("large-ledger", &[], false),
        Fault::ForeignFile { .. } => ("foreign-file", &[], false),
    };
    Described {
        code,
        needed_by,
        repaired,
    }
}
