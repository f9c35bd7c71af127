//! `cooper inspect`: everything about one image.

use std::io::{self, Write};

use clap::Args;
use cooper_core::{DebianName, ImageName, ImageReference, PythonRequirement, Request};
use cooperage::Inspection;
use cooperage::chat::ChatError;
use serde_json::{Value, json};

use crate::failure::{Code, Exit, Failure};
use crate::render::library::write_missing;
use crate::render::package::{inventory_json, write_inventory};
use crate::render::table::{Align, Table, printable};
use crate::render::{unit, verdict};
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper inspect example_name
  cooper inspect local/example_name:1.0.0.1 --json
  cooper inspect example_name --lock > example_name.lock

A lock names every artefact with its digest. `cooper create --locked example_name.lock NAME`
rebuilds the image from it, with the same digest.";

/// Show an image: layers, configuration, every package with version and licence
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct InspectArgs {
    #[arg(help = "[ORGANISATION/]NAME[:TAG]; without a tag its newest version")]
    image: String,
    /// Print the image's lock
    #[arg(long)]
    lock: bool,
}

/// Parse what a user calls an image.
pub(crate) fn parse_reference(text: &str) -> Result<ImageReference, Failure> {
    text.parse::<ImageReference>().map_err(|error| {
        let near = error.suggestion().map(|name| format!("did you mean `{name}`?"));
        let form =
            "an image is `NAME`, `NAME:1.0.0.1` or `ORGANISATION/NAME:1.0.0.1`; `cooper images` lists them";
        Failure::of(Code::Of("invalid-name"), &error)
            .hint(near.unwrap_or_else(|| form.to_owned()))
            .exit(Exit::USAGE)
    })
}

/// Parse an image's name, without organisation and version.
pub(crate) fn parse_image_name(text: &str) -> Result<ImageName, Failure> {
    Ok(text.parse::<ImageName>().map_err(ChatError::from)?)
}

/// Execute `cooper inspect`.
pub(crate) fn inspect(args: &InspectArgs, shell: &Shell) -> Result<Exit, Failure> {
    let reference = parse_reference(&args.image)?;
    let settings = shell.settings()?;
    let workshop = open_workshop(&settings, Need::Store)?;
    if args.lock {
        let lock = workshop.lock(&reference)?;
        shell.write(|out| {
            serde_json::to_writer_pretty(&mut *out, &lock)?;
            writeln!(out)
        })?;
        return Ok(Exit::GOOD);
    }
    let inspection = workshop.inspect(&reference)?;
    shell.print(|| document(&inspection), |out| write(out, &inspection))?;
    Ok(Exit::GOOD)
}

fn document(image: &Inspection) -> Value {
    json!({
        "image": image.image,
        "digest": image.digest,
        "created_at": unit::time(image.created_at),
        "size_bytes": image.size_bytes,
        "lock": image.lock,
        "base": stands_on(image),
        "request": image.request,
        "loaded": image.loaded,
        "verdict": image.verdict,
        "layers": layers(image).iter().map(Layer::json).collect::<Value>(),
        "config": image.config,
        "manifest": image.manifest,
        "packages": inventory_json(&image.packages),
        "origins": image.origins,
        "missing_libraries": image.packages.missing_libraries,
    })
}

/// The version that it stands on, where that is no Debian base.
fn stands_on(image: &Inspection) -> Option<&ImageReference> {
    image.packages.below.last().map(|below| &below.image)
}

/// A layer as manifest and configuration together describe it.
struct Layer {
    digest: String,
    diff_id: String,
    size_bytes: u64,
    comment: String,
}

impl Layer {
    fn json(&self) -> Value {
        json!({ "digest": self.digest, "diff_id": self.diff_id, "size_bytes": self.size_bytes, "comment": self.comment })
    }
}

fn layers(image: &Inspection) -> Vec<Layer> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let diff_ids = list(&image.config["rootfs"]["diff_ids"]);
    let history = list(&image.config["history"]);
    let made: Vec<&Value> = history
        .iter()
        .filter(|entry| entry["empty_layer"] != json!(true))
        .collect();
    let describe = |(index, layer): (usize, &Value)| Layer {
        digest: text(layer.get("digest")),
        diff_id: text(diff_ids.get(index)),
        size_bytes: layer["size"].as_u64().unwrap_or_default(),
        comment: text(
            made.get(index)
                .and_then(|entry| entry.get("comment").or_else(|| entry.get("created_by"))),
        ),
    };
    list(&image.manifest["layers"])
        .iter()
        .enumerate()
        .map(describe)
        .collect()
}

fn write(out: &mut dyn Write, image: &Inspection) -> io::Result<()> {
    writeln!(out, "{}", image.image)?;
    writeln!(out, "  digest    {}", image.digest)?;
    writeln!(out, "  lock      {}", image.lock)?;
    writeln!(out, "  created   {}", unit::time(image.created_at))?;
    writeln!(out, "  size      {}", unit::size(image.size_bytes))?;
    let debian = unit::count(image.packages.debian.len() as u64, "Debian package");
    let python = unit::count(image.packages.python.len() as u64, "Python package");
    writeln!(out, "  contents  {debian}, {python}")?;
    if let Some(below) = stands_on(image) {
        writeln!(out, "  on        {below}")?;
    }
    let origins = image.origins.iter();
    let origins: Vec<String> = origins
        .map(|it| format!("{} ({})", printable(&it.from), it.packages))
        .collect();
    writeln!(out, "  from      {}", origins.join(", "))?;
    write_request(out, &image.request)?;
    if let Some(from) = &image.loaded {
        writeln!(
            out,
            "  loaded    from an archive, where it was {from}: not made or judged here"
        )?;
    }
    if let Some(judged) = &image.verdict {
        let when = unit::time(judged.judged_at);
        writeln!(
            out,
            "  verdict   {} at {when}",
            printable(&verdict::headline(judged))
        )?;
    }
    writeln!(out)?;
    let mut table = Table::new([
        ("LAYER", Align::Left),
        ("SIZE", Align::Right),
        ("DIGEST", Align::Left),
    ]);
    for layer in layers(image) {
        table.row([layer.comment, unit::size(layer.size_bytes), layer.digest]);
    }
    table.write(out, "")?;
    write_configuration(out, &image.config)?;
    if let Some(judged) = image
        .verdict
        .as_ref()
        .filter(|judged| !judged.findings.is_empty())
    {
        write!(out, "\nFINDINGS")?;
        verdict::write_findings(out, judged)?;
    }
    write_missing(out, &image.packages.missing_libraries)?;
    write_inventory(out, &image.packages, "")
}

fn write_request(out: &mut dyn Write, request: &Request) -> io::Result<()> {
    let mut words = vec![format!("base={}", request.base())];
    let dependencies: Vec<&str> = request
        .dependencies()
        .iter()
        .map(PythonRequirement::as_str)
        .collect();
    let packages: Vec<String> = request.packages().iter().map(ToString::to_string).collect();
    if !dependencies.is_empty() {
        words.push(format!("dependencies=\"{}\"", dependencies.join(", ")));
    }
    let constraints = request.constraints().iter().map(PythonRequirement::as_str);
    let constraints: Vec<&str> = constraints.collect();
    if !constraints.is_empty() {
        words.push(format!("constraints=\"{}\"", constraints.join(", ")));
    }
    if !packages.is_empty() {
        words.push(format!("packages={}", packages.join(",")));
    }
    let build: Vec<String> = request.build_packages().iter().map(ToString::to_string).collect();
    if !build.is_empty() {
        words.push(format!("build-packages={}", build.join(",")));
    }
    for (wish, wished) in [
        ("recommends", request.recommends()),
        ("fix-missing", request.fix_missing()),
    ] {
        if wished {
            words.push(format!("{wish}=true"));
        }
    }
    writeln!(out, "  request   {}", words.join(" "))?;
    let added: Vec<&str> = request.added().iter().map(DebianName::as_str).collect();
    if !added.is_empty() {
        writeln!(
            out,
            "  added     {}, for shared libraries that were missing",
            added.join(", ")
        )?;
    }
    match request.hashes().values().map(|hashes| hashes.len() as u64).sum() {
        0 => Ok(()),
        hashes => writeln!(
            out,
            "  hashes    {hashes} listed, of which each fetched Python file has one"
        ),
    }
}

/// What a container of the image starts with.
fn write_configuration(out: &mut dyn Write, config: &Value) -> io::Result<()> {
    let texts = |value: &Value| {
        let each = value.as_array().into_iter().flatten().filter_map(Value::as_str);
        each.map(printable).collect::<Vec<_>>()
    };
    let inner = &config["config"];
    let user = inner["User"].as_str().map(printable).unwrap_or_default();
    let folder = inner["WorkingDir"].as_str().map(printable).unwrap_or_default();
    let command = [texts(&inner["Entrypoint"]), texts(&inner["Cmd"])]
        .concat()
        .join(" ");
    writeln!(out, "\nCONFIGURATION")?;
    for (name, value) in [("user", user), ("directory", folder), ("command", command)] {
        if !value.is_empty() {
            writeln!(out, "{name:<11}{value}")?;
        }
    }
    for variable in texts(&inner["Env"]) {
        writeln!(out, "{:<11}{variable}", "variable")?;
    }
    Ok(())
}
