//! `cooper save`: images as an archive for other machines and other programs.

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use cooper_core::ImageReference;
use cooperage::{ArchiveFormat, SaveError, Saved};
use serde_json::{Value, json};

use crate::command::inspect::parse_reference;
use crate::failure::{Code, Exit, Failure};
use crate::render::unit;
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper save example_name -o example_name.tar
  cooper save example_name:1.0.0.1 other -o images.tar --json
  cooper save example_name | ssh other-host cooper load -
  cooper save example_name | docker load
  skopeo copy oci-archive:example_name.tar docker://registry.example/example_name:1.0.0.1

The tar is an OCI image layout and a docker-archive in one: Docker, Podman, skopeo, umoci,
containerd and `cooper load` read it. For those that read the layout the digest is the manifest's, as
here; Docker shows the configuration's. The same versions give the same bytes.";

/// Write images to an archive that Docker, Podman and `cooper load` read
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct SaveArgs {
    #[arg(
        required = true,
        value_name = "IMAGE",
        help = "[ORGANISATION/]NAME[:TAG]; without a tag its newest version"
    )]
    images: Vec<String>,
    /// Write to this file, which appears when it is complete; `-` is standard output, the default
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// both (an OCI image layout that is a docker-archive too), oci or docker
    #[arg(long, value_enum, default_value_t, hide_possible_values = true)]
    format: Format,
}

/// For whom an archive is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Both,
    #[value(alias = "oci-archive")]
    Oci,
    #[value(alias = "docker-archive")]
    Docker,
}

impl From<Format> for ArchiveFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Both => Self::Both,
            Format::Oci => Self::Oci,
            Format::Docker => Self::Docker,
        }
    }
}

/// Execute `cooper save`.
pub(crate) fn save(args: &SaveArgs, shell: &Shell) -> Result<Exit, Failure> {
    let images = args.images.iter().map(|image| parse_reference(image));
    let images = images.collect::<Result<Vec<_>, _>>()?;
    let file = args.output.as_deref().filter(|path| *path != Path::new("-"));
    let Some(file) = file else {
        return to_standard_output(&images, args.format, shell);
    };
    let settings = shell.settings()?;
    let workshop = open_workshop(&settings, Need::Store)?;
    let display = shell.progress();
    let saved = workshop.save_to_file(&images, args.format.into(), file, &display.sink());
    display.finish();
    let saved = saved?;
    shell.print(|| document(file, &saved), |out| write(out, file, &saved))?;
    Ok(Exit::GOOD)
}

/// The archive is the result: nothing else may be on standard output.
fn to_standard_output(images: &[ImageReference], format: Format, shell: &Shell) -> Result<Exit, Failure> {
    let usage = |message: &str| {
        let hint = "name a file: `cooper save IMAGE -o FILE`".to_owned();
        Failure::new(Code::Usage, message).hint(hint)
    };
    if shell.json() {
        return Err(usage(
            "`--json` and the archive cannot both go to standard output",
        ));
    }
    if io::stdout().is_terminal() {
        return Err(usage("an archive is nothing for a terminal"));
    }
    let settings = shell.settings()?;
    let workshop = open_workshop(&settings, Need::Store)?;
    let display = shell.progress();
    let mut out = io::stdout().lock();
    let saved = workshop.save(images, format.into(), &mut out, &display.sink());
    display.finish();
    match saved {
        Err(SaveError::Write(error)) => Err(output_failure(SaveError::Write(error))),
        other => Ok(other.map(|_| Exit::GOOD)?),
    }
}

/// When the reader of a pipe has gone, that is nobody's failure.
fn output_failure(error: SaveError) -> Failure {
    match error.output_error() {
        Some(source) => Failure::output(source),
        None => error.into(),
    }
}

fn document(file: &Path, saved: &Saved) -> Value {
    json!({
        "path": file.to_string_lossy(),
        "size_bytes": saved.bytes,
        "digest": saved.digest,
        "images": saved.images,
    })
}

fn write(out: &mut dyn Write, file: &Path, saved: &Saved) -> io::Result<()> {
    for version in &saved.images {
        writeln!(out, "saved {}", version.image)?;
    }
    writeln!(out, "  file    {}", file.display())?;
    writeln!(out, "  size    {}", unit::size(saved.bytes))?;
    writeln!(out, "  digest  {}", saved.digest)
}
