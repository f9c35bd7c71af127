//! `cooper remove` and `cooper gc`: versions that are not wanted any more, and what no version keeps.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use cooper_core::ImagePattern;
use cooperage::{FullReference, GcReport, LookupError, Retention, Workshop};
use serde_json::{Value, json};

use crate::command::inspect::parse_reference;
use crate::failure::{Code, Exit, Failure};
use crate::host::own_files_of_images;
use crate::render::unit;
use crate::settings::{SettingType as _, key};
use crate::shell::{Need, Shell, open_workshop};

const REMOVE_EXAMPLES: &str = "\
Examples:
  cooper remove example_name:1.0.0.3
  cooper remove 'example_name:*' --dry-run
  cooper remove 'scratch_*' && cooper gc

The number of a removed version is never given again. What only removed versions kept stays on the
disk until `cooper gc`. A version that is the base of another image is removed with that or not at all.";

const GC_EXAMPLES: &str = "\
Examples:
  cooper gc
  cooper gc --keep 3
  cooper gc --keep 1 --older-than 30d --dry-run

What is cached and was not used for 30 days goes too, and so do notes about layers that are gone; the newest entry of each kind stays. The newest version of a name always stays. Creates and runs go on meanwhile, and what they use stays.";

/// Remove versions of images
#[derive(Debug, Args)]
#[command(after_long_help = REMOVE_EXAMPLES)]
pub(crate) struct RemoveArgs {
    /// `NAME:TAG`, or a pattern such as `scratch_*` that matches the whole of `NAME:TAG`
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Free the disk of what no version keeps
#[derive(Debug, Args)]
#[command(after_long_help = GC_EXAMPLES)]
pub(crate) struct GcArgs {
    /// First remove all but so many of the newest versions of each name
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// First remove versions, but the newest of each name, that are older than this: `12h`, `30d`
    #[arg(long, value_name = "DURATION")]
    older_than: Option<String>,
    /// Remove what is cached and was not used for this long, other than as the setting `gc.cache_age` says
    #[arg(long, value_name = "DURATION")]
    cache_age: Option<String>,
    /// Say which versions would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

/// Execute `cooper remove`.
pub(crate) fn remove(args: &RemoveArgs, shell: &Shell) -> Result<Exit, Failure> {
    let settings = shell.settings()?;
    own_files_of_images();
    let workshop = open_workshop(&settings, Need::Store)?;
    let mut images = BTreeSet::new();
    for text in &args.images {
        images.extend(select(&workshop, text)?);
    }
    let images: Vec<FullReference> = images.into_iter().collect();
    if !args.dry_run {
        workshop.remove_all(&images)?;
    }
    shell.print(
        || json!({ "removed": images, "dry_run": args.dry_run }),
        |out| write_removed(out, &images, args.dry_run),
    )?;
    Ok(Exit::GOOD)
}

/// The versions that a word of the command line means; never none.
fn select(workshop: &Workshop, text: &str) -> Result<Vec<FullReference>, Failure> {
    if text.contains('*') {
        let images = workshop.matching(&ImagePattern::new(text))?;
        if images.is_empty() {
            let failure = Failure::new(Code::Of("unknown-image"), format!("no image matches `{text}`"));
            return Err(failure.hint("`cooper images` lists the images there are".to_owned()));
        }
        return Ok(images);
    }
    let reference = parse_reference(text)?;
    if reference.tag.is_none() {
        let failure = Failure::new(Code::Usage, format!("`{text}` does not say which version"));
        let hint = format!("write `{text}:1.0.0.1` for one, or `'{text}:*'` for all of them");
        return Err(failure.hint(hint));
    }
    let images = workshop.matching(&ImagePattern::new(&format!("*{text}")))?;
    let exact = |image: &FullReference| {
        let organisation = reference.organisation.as_ref();
        image.name == reference.name
            && Some(&image.tag) == reference.tag.as_ref()
            && organisation.is_none_or(|organisation| image.organisation == *organisation)
    };
    match images.into_iter().find(exact) {
        Some(image) => Ok(vec![image]),
        None => Err(LookupError::Unknown {
            reference,
            near: Vec::new(),
        }
        .into()),
    }
}

fn write_removed(out: &mut dyn Write, images: &[FullReference], dry_run: bool) -> io::Result<()> {
    let verb = if dry_run { "would remove" } else { "removed" };
    images
        .iter()
        .try_for_each(|image| writeln!(out, "{verb} {image}"))
}

/// Execute `cooper gc`.
pub(crate) fn gc(args: &GcArgs, shell: &Shell) -> Result<Exit, Failure> {
    let older_than = duration("--older-than", args.older_than.as_deref())?;
    let settings = shell.settings()?;
    let cache_age = match duration("--cache-age", args.cache_age.as_deref())? {
        Some(age) => age,
        None => settings.value(&key::GC_CACHE_AGE)?,
    };
    own_files_of_images();
    let workshop = open_workshop(&settings, Need::Store)?;
    let removed = if args.keep.is_none() && older_than.is_none() {
        Vec::new()
    } else {
        workshop.outdated(Retention {
            keep: args
                .keep
                .map_or(1, |keep| usize::try_from(keep).unwrap_or(usize::MAX)),
            older_than: older_than.unwrap_or_default(),
        })?
    };
    let mut report = GcReport::default();
    if !args.dry_run {
        workshop.remove_all(&removed)?;
        let display = shell.progress();
        let collected = workshop.collect(cache_age, &display.sink());
        display.finish();
        report = collected
            .map_err(|error| Failure::of(Code::Of("store"), &error).hint("run `cooper fsck`".to_owned()))?;
    }
    shell.print(
        || gc_document(&removed, report, args.dry_run),
        |out| {
            write_removed(out, &removed, args.dry_run)?;
            if args.dry_run {
                Ok(())
            } else {
                write_report(out, report)
            }
        },
    )?;
    Ok(Exit::GOOD)
}

fn duration(flag: &str, text: Option<&str>) -> Result<Option<Duration>, Failure> {
    let parsed = text.map(|text| Duration::parse(&[text.to_owned()])).transpose();
    parsed.map_err(|why| Failure::new(Code::Usage, format!("`{flag}`: {why}")))
}

fn gc_document(removed: &[FullReference], report: GcReport, dry_run: bool) -> Value {
    json!({
        "removed": removed,
        "blobs": report.blobs,
        "freed_bytes": report.blob_bytes,
        "layers": report.trees,
        "freed_layer_bytes": report.tree_bytes,
        "cache_entries": report.cache_entries,
        "freed_cache_bytes": report.cache_bytes,
        "in_use": report.held,
        "dry_run": dry_run,
    })
}

fn write_report(out: &mut dyn Write, report: GcReport) -> io::Result<()> {
    let blobs = unit::count(report.blobs, "blob");
    let layers = unit::count(report.trees, "unpacked layer");
    writeln!(
        out,
        "freed {} in {blobs}, and {} in {layers}",
        unit::size(report.blob_bytes),
        unit::size(report.tree_bytes)
    )?;
    if report.cache_entries > 0 {
        let entries = unit::count(report.cache_entries, "cached file");
        writeln!(out, "freed {} in {entries}", unit::size(report.cache_bytes))?;
    }
    if report.held > 0 {
        writeln!(out, "{} in use: a later `cooper gc` may have them", report.held)?;
    }
    Ok(())
}
