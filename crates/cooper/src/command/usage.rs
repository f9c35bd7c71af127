//! `cooper images --usage`: what images take of the disk.

use std::io::{self, Write};

use cooper_core::ImagePattern;
use cooperage::{DiskUse, ImageUse, Usage};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::render::table::{Align, Table};
use crate::render::unit;
use crate::shell::{Need, Shell, open_workshop};

/// List what images take.
pub(crate) fn usage(pattern: Option<&ImagePattern>, shell: &Shell) -> Result<Exit, Failure> {
    let settings = shell.settings()?;
    let workshop = open_workshop(&settings, Need::Store)?;
    let display = shell.progress();
    let usage = workshop.usage(pattern, &display.sink());
    display.finish();
    let usage = usage?;
    if usage.images.is_empty() && pattern.is_some() {
        shell.note("note", "no image matches");
    }
    shell.print(|| document(&usage), |out| write(out, &usage))?;
    Ok(Exit::GOOD)
}

fn document(usage: &Usage) -> Value {
    let of = |usage: DiskUse| json!({ "blob_bytes": usage.blob_bytes, "layer_bytes": usage.tree_bytes });
    let image =
        |image: &ImageUse| json!({ "image": image.image, "own": of(image.own), "shared": of(image.shared) });
    json!({
        "images": usage.images.iter().map(image).collect::<Vec<_>>(),
        "total": of(usage.total),
        "unnamed": of(usage.unnamed),
        "cache_bytes": usage.cache_bytes,
    })
}

fn write(out: &mut dyn Write, usage: &Usage) -> io::Result<()> {
    let mut table = Table::new([
        ("IMAGE", Align::Left),
        ("OWN", Align::Right),
        ("SHARED", Align::Right),
        ("OWN UNPACKED", Align::Right),
        ("SHARED UNPACKED", Align::Right),
    ]);
    for image in &usage.images {
        table.row([
            image.image.to_string(),
            unit::size(image.own.blob_bytes),
            unit::size(image.shared.blob_bytes),
            unit::size(image.own.tree_bytes),
            unit::size(image.shared.tree_bytes),
        ]);
    }
    if !usage.images.is_empty() {
        table.write(out, "")?;
    }
    writeln!(
        out,
        "the store: {} in blobs, {} in unpacked layers, {} cached",
        unit::size(usage.total.blob_bytes),
        unit::size(usage.total.tree_bytes),
        unit::size(usage.cache_bytes)
    )?;
    if usage.unnamed.bytes() > 0 {
        writeln!(
            out,
            "no version keeps {} of it: `cooper gc` frees what is not in use",
            unit::size(usage.unnamed.bytes())
        )?;
    }
    Ok(())
}
