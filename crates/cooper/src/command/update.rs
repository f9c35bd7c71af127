//! `cooper update`: today's answers to the requests of images that there are.

use std::io::{self, Write};

use clap::Args;
use cooper_core::ImageName;
use cooperage::chat::UpdateWords;
use cooperage::{CreateError, UpdateOutcome, Updated, Workshop};
use serde_json::{Value, json};

use crate::command::create::{Terms, findings_of, settings, tell_verdict, verdict_json};
use crate::command::inspect::parse_reference;
use crate::failure::{Code, Exit, Failure};
use crate::host::check_host;
use crate::render::package::write_changes;
use crate::render::table::{Align, Table};
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper update example_name
  cooper update --all --refresh
  cooper update example_name --dry-run
  cooper '/docker_image_update image=example_name'
  cooper '/docker_image_update all=true'

A new version is made where the indexes give another answer to what was asked; the old one stays.
Versions that a request names with `==` or `=` do not move, nor does an image that was made from a
lock.";

/// Resolve the requests of images again: a new version where the answer differs
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct UpdateArgs {
    /// The images' names
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    names: Vec<String>,
    /// Update every image; go on after one that fails
    #[arg(long)]
    all: bool,
    /// Say what would change, and make nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    terms: Terms,
}

/// Execute `cooper update`.
pub(crate) fn update(args: &UpdateArgs, shell: &Shell) -> Result<Exit, Failure> {
    let names = args.names.iter().map(|text| parse_name(text));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let wanted = if args.all {
        Wanted::All
    } else {
        Wanted::These(names)
    };
    execute(&wanted, args.dry_run, &args.terms, shell)
}

/// Execute an update from a chat line.
pub(crate) fn update_words(words: UpdateWords, shell: &Shell) -> Result<Exit, Failure> {
    let wanted = match words {
        UpdateWords::One(name) => Wanted::These(vec![name]),
        UpdateWords::All => Wanted::All,
    };
    execute(&wanted, false, &Terms::default(), shell)
}

enum Wanted {
    These(Vec<ImageName>),
    All,
}

/// A name without a version: an update is of the newest one.
fn parse_name(text: &str) -> Result<ImageName, Failure> {
    let reference = parse_reference(text)?;
    if reference.organisation.is_none() && reference.tag.is_none() {
        return Ok(reference.name);
    }
    let failure = Failure::new(Code::Usage, format!("`{text}` is more than a name"));
    let hint = format!(
        "`cooper update {}` updates the newest version; versions never change",
        reference.name
    );
    Err(failure.hint(hint))
}

fn execute(wanted: &Wanted, dry_run: bool, terms: &Terms, shell: &Shell) -> Result<Exit, Failure> {
    let settings = settings(terms, shell)?;
    check_host("making an image")?;
    let need = Need::Sources {
        refresh: terms.refresh(),
    };
    let workshop = open_workshop(&settings, need)?;
    let names = match wanted {
        Wanted::These(names) => names.clone(),
        Wanted::All => workshop.update_order()?,
    };
    if names.is_empty() {
        shell.note("note", "there are no images: `cooper create` makes one");
    }
    let mut results = Vec::new();
    for name in names {
        let result = update_one(&workshop, &name, dry_run, shell);
        // Of one image the failure is told as it is, with its own exit status.
        match (wanted, result) {
            (Wanted::These(names), Err(error)) if names.len() == 1 => return Err(error.into()),
            (_, result) => results.push((name, result.map_err(Failure::from))),
        }
    }
    shell.print(
        || {
            results
                .iter()
                .map(|(name, result)| document(name, result))
                .collect()
        },
        |out| write(out, &results, dry_run),
    )?;
    let failed = results.iter().any(|(_, result)| result.is_err());
    Ok(if failed { Exit::FAILURE } else { Exit::GOOD })
}

fn update_one(
    workshop: &Workshop,
    name: &ImageName,
    dry_run: bool,
    shell: &Shell,
) -> Result<Updated, CreateError> {
    let display = shell.progress();
    let updated = workshop.update(name, dry_run, &display.sink());
    display.finish();
    let updated = updated?;
    for note in &updated.notes {
        shell.note("note", note);
    }
    if let Some(verdict) = &updated.verdict {
        tell_verdict(verdict, shell);
    }
    Ok(updated)
}

type Results = [(ImageName, Result<Updated, Failure>)];

fn document(name: &ImageName, result: &Result<Updated, Failure>) -> Value {
    let updated = match result {
        Ok(updated) => updated,
        Err(failure) => {
            let mut document = failure.json();
            document["name"] = json!(name);
            return document;
        }
    };
    let (state, image, digest, changes) = match &updated.outcome {
        UpdateOutcome::New {
            image,
            digest,
            changes,
        } => ("new", Some(image), Some(digest), changes.as_slice()),
        UpdateOutcome::Would { changes } => ("would-change", None, None, changes.as_slice()),
        UpdateOutcome::Same => ("same", Some(&updated.before), None, &[][..]),
        UpdateOutcome::Locked => ("locked", Some(&updated.before), None, &[][..]),
    };
    json!({
        "name": name,
        "outcome": state,
        "previous": updated.before,
        "image": image,
        "digest": digest,
        "changes": changes,
        "findings": findings_of(updated.verdict.as_ref()),
        "verdict": updated.verdict.as_ref().map(verdict_json),
        "notes": updated.notes,
    })
}

fn write(out: &mut dyn Write, results: &Results, dry_run: bool) -> io::Result<()> {
    if let [(_, Ok(updated))] = results {
        return write_one(out, updated);
    }
    let mut table = Table::new([
        ("IMAGE", Align::Left),
        ("OUTCOME", Align::Left),
        ("CHANGES", Align::Right),
    ]);
    for (name, result) in results {
        let (image, outcome, changes) = match result {
            Ok(updated) => row(updated),
            Err(failure) => (name.to_string(), format!("failed: {}", failure.message()), None),
        };
        let changes = changes.map_or_else(String::new, |count| count.to_string());
        table.row([image, outcome, changes]);
    }
    if !results.is_empty() {
        table.write(out, "")?;
    }
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    let new = results.iter().filter(|(_, result)| is_new(result)).count();
    let made = if dry_run { "would change" } else { "new" };
    writeln!(
        out,
        "{new} {made}, {failed} failed, {} as before",
        results.len() - new - failed
    )
}

fn is_new(result: &Result<Updated, Failure>) -> bool {
    let outcome = result.as_ref().map(|updated| &updated.outcome);
    matches!(
        outcome,
        Ok(UpdateOutcome::New { .. } | UpdateOutcome::Would { .. })
    )
}

fn row(updated: &Updated) -> (String, String, Option<usize>) {
    let before = updated.before.to_string();
    match &updated.outcome {
        UpdateOutcome::New { image, changes, .. } => {
            (before, format!("new version {}", image.tag), Some(changes.len()))
        }
        UpdateOutcome::Would { changes } => (before, "would change".to_owned(), Some(changes.len())),
        UpdateOutcome::Same => (before, "as before".to_owned(), None),
        UpdateOutcome::Locked => (before, "locked".to_owned(), None),
    }
}

fn write_one(out: &mut dyn Write, updated: &Updated) -> io::Result<()> {
    let before = updated.before.to_string();
    match &updated.outcome {
        UpdateOutcome::New {
            image,
            digest,
            changes,
        } => {
            writeln!(out, "created {image}\n  digest    {digest}")?;
            write_changes(out, &before, changes)
        }
        UpdateOutcome::Would { changes } => {
            writeln!(out, "there would be a new version")?;
            write_changes(out, &before, changes)
        }
        UpdateOutcome::Same => writeln!(out, "no new version: the indexes give what {before} has"),
        UpdateOutcome::Locked => writeln!(out, "no new version: {before} was made from a lock"),
    }
}
