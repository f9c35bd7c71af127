//! `cooper advisories`: the evidence that the gates judge by.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use cooper_core::Timestamp;
use cooperage::{
    AdvisoriesStatus, AdvisoriesUpdate, EvidenceFrom, EvidencePart, FailedSource, SourceOutcome,
    UpdatedSource,
};
use serde_json::{Value, json};

use crate::failure::{Code, Exit, Failure};
use crate::render::table::{Align, Table, printable};
use crate::render::unit;
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper advisories update
  cooper advisories status
  cooper advisories status --json

Evidence is kept in the store and named by its digest, so that a verdict can be reproduced. Nothing
is asked for by package: which packages are used stays on this host.";

const UPDATE_EXAMPLES: &str = "\
Examples:
  cooper advisories update
  cooper advisories update --from PyPI-all.zip --from known_exploited_vulnerabilities.json
  cooper advisories update --from /mnt/evidence

Files are known by what is in them: archives and records of OSV, CISA's list of exploited
vulnerabilities, EPSS scores (also compressed), the list of popular distributions (CSV or JSON),
OpenVEX documents. What a source gives takes the place of what it gave before; what fails leaves it.

Exit status: 0 when every source was read, 1 when one was not; the others are in use then.";

const STATUS_EXAMPLES: &str = "\
Examples:
  cooper advisories status
  cooper advisories status --json";

/// Bring advisories and other evidence for the gates up to date, and show what there is
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct AdvisoriesArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fetch what has changed, or take it from files
    #[command(after_long_help = UPDATE_EXAMPLES)]
    Update(UpdateArgs),
    /// Show what there is, of when it is, and what is missing
    #[command(after_long_help = STATUS_EXAMPLES)]
    Status,
}

#[derive(Debug, Args)]
struct UpdateArgs {
    /// Take this file, or the files in this folder, and fetch nothing
    #[arg(long, value_name = "PATH")]
    from: Vec<PathBuf>,
    /// Accept a source that lost more than half of its records, or is older than before
    #[arg(long)]
    replace: bool,
}

/// Execute `cooper advisories`.
pub(crate) fn advisories(args: &AdvisoriesArgs, shell: &Shell) -> Result<Exit, Failure> {
    match &args.action {
        Action::Update(args) => update(args, shell),
        Action::Status => status(shell),
    }
}

fn update(args: &UpdateArgs, shell: &Shell) -> Result<Exit, Failure> {
    let settings = shell.settings()?;
    let (from, need) = if args.from.is_empty() {
        (EvidenceFrom::Addresses, Need::Evidence)
    } else {
        (EvidenceFrom::Paths(args.from.clone()), Need::Store)
    };
    let workshop = open_workshop(&settings, need)?;
    let display = shell.progress();
    let update = workshop.update_advisories(&from, args.replace, &display.sink());
    display.finish();
    let update = update?;
    for note in &update.notes {
        shell.note("note", note);
    }
    for name in &update.unrecognised {
        shell.note(
            "note",
            &format!("skipped {}: nothing that is known", printable(name)),
        );
    }
    if let ([], [failed]) = (update.updated.as_slice(), update.failed.as_slice()) {
        return Err(failure(failed));
    }
    shell.print(|| update_document(&update), |out| write_update(out, &update))?;
    Ok(if update.failed.is_empty() {
        Exit::GOOD
    } else {
        Exit::FAILURE
    })
}

fn failure(failed: &FailedSource) -> Failure {
    Failure::of(Code::Of(failed.fault.code()), &failed.fault)
        .hint(failed.fault.hint())
        .told(format!("{} gives no evidence", printable(&failed.source)))
}

fn update_document(update: &AdvisoriesUpdate) -> Value {
    let source = |source: &UpdatedSource| {
        let (outcome, before) = match &source.outcome {
            SourceOutcome::New { records_before } => ("new", *records_before),
            SourceOutcome::Unchanged => ("unchanged", Some(source.records)),
        };
        json!({
            "source": source.source,
            "part": source.key,
            "kind": source.kind,
            "outcome": outcome,
            "records": source.records,
            "records_before": before,
            "skipped_count": source.skipped_count,
            "skipped": source.skipped,
        })
    };
    let failed = |failed: &FailedSource| {
        let mut document = failure(failed).json();
        document["source"] = json!(failed.source);
        document
    };
    json!({
        "evidence": update.evidence,
        "previous": update.before,
        "sources": update.updated.iter().map(source).collect::<Value>(),
        "failed": update.failed.iter().map(failed).collect::<Value>(),
        "unrecognised": update.unrecognised,
        "notes": update.notes,
    })
}

fn write_update(out: &mut dyn Write, update: &AdvisoriesUpdate) -> io::Result<()> {
    for source in &update.updated {
        let key = printable(&source.key);
        let records = unit::count(source.records, "record");
        match &source.outcome {
            SourceOutcome::Unchanged => writeln!(out, "{key}: unchanged, {records}")?,
            SourceOutcome::New { records_before: None } => writeln!(out, "{key}: new, {records}")?,
            SourceOutcome::New {
                records_before: Some(before),
            } => writeln!(out, "{key}: {records}, {before} before")?,
        }
        if source.skipped_count > 0 {
            writeln!(out, "  {} skipped:", source.skipped_count)?;
        }
        for skipped in source.skipped.iter().take(SKIPPED_SHOWN) {
            let (name, reason) = (printable(&skipped.name), printable(&skipped.reason));
            writeln!(out, "    {name}: {reason}")?;
        }
    }
    for failed in &update.failed {
        writeln!(out, "failed: {}", failure(failed).sentence())?;
        if let Some(hint) = failed.fault.hint() {
            writeln!(out, "  what helps: {hint}")?;
        }
    }
    match update.evidence {
        Some(evidence) if update.before == Some(evidence) => writeln!(out, "evidence as before: {evidence}"),
        Some(evidence) => writeln!(out, "evidence {evidence}"),
        None => writeln!(out, "there is no evidence"),
    }
}

/// How many of what was skipped are named; `--json` has more.
const SKIPPED_SHOWN: usize = 5;

fn status(shell: &Shell) -> Result<Exit, Failure> {
    let settings = shell.settings()?;
    let workshop = open_workshop(&settings, Need::Store)?;
    let status = workshop.advisories_status()?;
    shell.print(|| status_document(&status), |out| write_status(out, &status))?;
    Ok(Exit::GOOD)
}

fn status_document(status: &AdvisoriesStatus) -> Value {
    let part = |part: &EvidencePart| {
        let origin = part.origin.as_ref();
        json!({
            "part": part.key,
            "kind": part.kind,
            "blob": part.blob,
            "bytes": part.bytes,
            "records": part.records,
            "withdrawn": part.withdrawn,
            "malicious": part.malicious,
            "packages": part.packages,
            "dated": unit::time(part.dated),
            "age_seconds": part.age_seconds(status.now),
            "from_the_future": part.is_from_the_future(status.now),
            "source": origin.map(|origin| &origin.source),
            "fetched_at": origin.map(|origin| unit::time(origin.fetched_at)),
            "checked_at": origin.map(|origin| unit::time(origin.checked_at)),
            "skipped_count": origin.map(|origin| origin.skipped_count),
            "skipped": origin.map(|origin| &origin.skipped),
        })
    };
    json!({
        "evidence": status.evidence,
        "parts": status.parts.iter().map(part).collect::<Value>(),
        "missing": status.missing.iter().map(|missing| missing.code()).collect::<Value>(),
        "notes": status.notes,
    })
}

fn write_status(out: &mut dyn Write, status: &AdvisoriesStatus) -> io::Result<()> {
    if let Some(evidence) = status.evidence {
        writeln!(out, "evidence {evidence}")?;
    }
    let mut table = Table::new([
        ("PART", Align::Left),
        ("RECORDS", Align::Right),
        ("OF", Align::Left),
        ("AGE", Align::Right),
        ("CHECKED", Align::Left),
        ("SOURCE", Align::Left),
    ]);
    for part in &status.parts {
        let origin = part.origin.as_ref();
        table.row([
            part.key.clone(),
            part.records.to_string(),
            unit::time(part.dated),
            age(part, status.now),
            origin.map_or_else(String::new, |origin| unit::time(origin.checked_at)),
            origin.map_or_else(String::new, |origin| origin.source.clone()),
        ]);
    }
    if !status.parts.is_empty() {
        table.write(out, "")?;
    }
    for note in &status.notes {
        writeln!(out, "note: {}", printable(note))?;
    }
    for missing in &status.missing {
        writeln!(out, "missing: {}", missing.text())?;
    }
    if !status.missing.is_empty() {
        writeln!(out, "what helps: `cooper advisories update`")?;
    }
    Ok(())
}

/// `3 days`, `5 hours`, `ahead`.
fn age(part: &EvidencePart, now: Timestamp) -> String {
    let seconds = part.age_seconds(now);
    let (hours, days) = (seconds / 3_600, seconds / 86_400);
    match u64::try_from(seconds) {
        Err(_) if part.is_from_the_future(now) => "ahead".to_owned(),
        Ok(_) if days >= 2 => format!("{days} days"),
        Ok(_) if hours >= 1 => unit::count(hours.unsigned_abs(), "hour"),
        _ => "now".to_owned(),
    }
}
