//! `cooper images`: the images that there are.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use cooper_core::{ImagePattern, ManifestDigest};
use cooperage::{ImageQuery, ImageSort, ImageSummary, PackageQuery};
use serde_json::{Value, json};

use crate::command::usage::usage;
use crate::failure::{Code, Exit, Failure};
use crate::render::package::{debian_json, python_json, write_inventory};
use crate::render::table::{Align, Table};
use crate::render::unit;
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper images
  cooper images example
  cooper images 'local/*:1.0.0.1' --sort size
  cooper images --package requests==2.32.3
  cooper images --package 'jinja2<3.1.5' --base bookworm
  cooper images --json --packages
  cooper images 'local/example_name:*' --usage

OWN is what no other version keeps: what `cooper remove` of this version alone, and `cooper gc`, would free. SHARED is what other versions keep, too. Both are blobs, by their length: compressed layers, the packages that they were made of, manifest, lock and inventory. UNPACKED is the same of the unpacked layers that runs mount, by what the file system gave to them.";

/// List the images, the newest first
///
/// PATTERN is searched for in `ORGANISATION/NAME:TAG`; with `*` (any text) it must match the whole of it.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ImagesArgs {
    /// Only images whose name has this text
    pattern: Option<String>,
    /// Only images that hold this Python or Debian package, perhaps within bounds: `jinja2>=3,<3.1.5`
    #[arg(long, value_name = "NAME[==VERSION]")]
    package: Option<String>,
    /// Only images whose base has this text, such as `bookworm`
    #[arg(long, value_name = "BASE")]
    base: Option<String>,
    /// The order
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    /// Show every package of every image
    #[arg(long)]
    packages: bool,
    /// Show what each image takes of the disk, the one with most of its own first, and the whole store
    #[arg(long, conflicts_with_all = ["package", "base", "sort", "packages"])]
    usage: bool,
}

/// The order of a list of images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// The newest first
    #[default]
    Created,
    /// By name, then version
    Name,
    /// The largest first
    Size,
}

/// Execute `cooper images`.
pub(crate) fn images(args: &ImagesArgs, shell: &Shell) -> Result<Exit, Failure> {
    if args.usage {
        return usage(args.pattern.as_deref().map(ImagePattern::new).as_ref(), shell);
    }
    let wrong = || {
        let text = args.package.as_deref().unwrap_or_default();
        let failure = Failure::new(Code::Usage, format!("`{text}` is not a package"));
        failure
            .hint("write a name such as `requests`, `requests==2.32.3`, or `'jinja2>=3,<3.1.5'`".to_owned())
    };
    let package = match &args.package {
        Some(text) => Some(PackageQuery::new(text).ok_or_else(wrong)?),
        None => None,
    };
    let sort = match args.sort {
        Sort::Created => ImageSort::Created,
        Sort::Name => ImageSort::Name,
        Sort::Size => ImageSort::Size,
    };
    list(
        &ImageQuery {
            pattern: args.pattern.as_deref().map(ImagePattern::new),
            base: args.base.as_deref().map(ImagePattern::new),
            package,
            sort,
            with_packages: args.packages,
        },
        shell,
    )
}

/// List the images that a query of any door selects.
pub(crate) fn list(query: &ImageQuery, shell: &Shell) -> Result<Exit, Failure> {
    let settings = shell.settings()?;
    let workshop = open_workshop(&settings, Need::Store)?;
    let (images, unreadable) = workshop.images(query)?;
    for error in &unreadable {
        shell.say("warning", &format!("{error}; `cooper fsck` tells more"));
    }
    if images.is_empty() && unreadable.is_empty() {
        let narrowed = query.pattern.is_some() || query.package.is_some() || query.base.is_some();
        let text = if narrowed {
            "no image matches"
        } else {
            "there are no images: `cooper create` makes one"
        };
        shell.note("note", text);
    }
    shell.print(
        || images.iter().map(summary_json).collect(),
        |out| write(out, &images),
    )?;
    Ok(Exit::GOOD)
}

/// One image; with its inventory the lists of packages stand in place of their counts.
fn summary_json(image: &ImageSummary) -> Value {
    let (python, debian) = match &image.inventory {
        Some(inventory) => (python_json(inventory), debian_json(inventory)),
        None => (json!(image.python_packages), json!(image.debian_packages)),
    };
    json!({
        "image": image.image,
        "digest": image.digest,
        "created_at": unit::time(image.created_at),
        "size_bytes": image.size_bytes,
        "base": image.base,
        "python_packages": python,
        "debian_packages": debian,
    })
}

fn write(out: &mut dyn Write, images: &[ImageSummary]) -> io::Result<()> {
    if images.is_empty() {
        return Ok(());
    }
    let with_packages = images.iter().any(|image| image.inventory.is_some());
    if !with_packages {
        return table(images).write(out, "");
    }
    for (index, image) in images.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        table(std::slice::from_ref(image)).write(out, "")?;
        if let Some(inventory) = &image.inventory {
            write_inventory(out, inventory, "  ")?;
        }
    }
    Ok(())
}

/// As much of a digest as tells one from another.
fn beginning(digest: ManifestDigest) -> String {
    let mut text = digest.to_string();
    text.truncate("sha256:".len() + 12);
    text
}

fn table(images: &[ImageSummary]) -> Table<6> {
    let mut table = Table::new([
        ("IMAGE", Align::Left),
        ("CREATED", Align::Left),
        ("SIZE", Align::Right),
        ("PYTHON", Align::Right),
        ("DEBIAN", Align::Right),
        ("DIGEST", Align::Left),
    ]);
    for image in images {
        table.row([
            image.image.to_string(),
            unit::time(image.created_at),
            unit::size(image.size_bytes),
            image.python_packages.to_string(),
            image.debian_packages.to_string(),
            beginning(image.digest),
        ]);
    }
    table
}
