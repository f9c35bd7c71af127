//! `cooper create --dry-run`: what would be in an image.

use std::io::{self, Write};

use cooperage::DryRun;
use cooperage::chat::CreateWords;
use serde_json::{Value, json};

use crate::command::create::{Terms, settings, tell_verdict, verdict_json};
use crate::failure::{Exit, Failure};
use crate::render::package::{inventory_json, write_inventory};
use crate::render::table::printable;
use crate::render::{unit, verdict};
use crate::shell::{Need, Shell, open_workshop};

/// Resolve and judge, and show what came of it.
pub(crate) fn show(words: CreateWords, terms: &Terms, shell: &Shell) -> Result<Exit, Failure> {
    let settings = settings(terms, shell)?;
    let request = words.request(settings.base()?)?;
    let need = Need::Sources {
        refresh: terms.refresh(),
    };
    let workshop = open_workshop(&settings, need)?;
    let display = shell.progress();
    let outlook = workshop.dry_run(&request, &display.sink());
    display.finish();
    let outlook = outlook?;
    for note in &outlook.notes {
        shell.note("note", note);
    }
    tell_verdict(&outlook.verdict, shell);
    shell.print(|| document(&outlook), |out| write(out, &outlook))?;
    Ok(Exit::GOOD)
}

fn document(outlook: &DryRun) -> Value {
    let (files, bytes) = outlook.download;
    json!({
        "dry_run": true,
        "image": outlook.same,
        "packages": inventory_json(&outlook.packages),
        "download": { "files": files, "bytes": bytes },
        "findings": outlook.verdict.findings,
        "verdict": verdict_json(&outlook.verdict),
        "artefacts_not_judged": verdict::unread_json(&outlook.unread),
        "notes": outlook.notes,
    })
}

fn write(out: &mut dyn Write, outlook: &DryRun) -> io::Result<()> {
    match &outlook.same {
        Some(image) => writeln!(out, "no new version: same lock as {image}")?,
        None => writeln!(out, "there would be a new version")?,
    }
    let debian = unit::count(outlook.packages.debian.len() as u64, "Debian package");
    let python = unit::count(outlook.packages.python.len() as u64, "Python package");
    writeln!(out, "  contents  {debian}, {python}")?;
    match outlook.download {
        (0, _) => writeln!(out, "  download  nothing: everything is in the store")?,
        (files, bytes) => writeln!(
            out,
            "  download  {}, {}",
            unit::count(files, "file"),
            unit::size(bytes)
        )?,
    }
    writeln!(
        out,
        "  verdict   {}",
        printable(&verdict::headline(&outlook.verdict))
    )?;
    if let Some(sentence) = outlook.unread.sentence() {
        writeln!(out, "  but       {}", printable(&sentence))?;
    }
    write_inventory(out, &outlook.packages, "")
}
