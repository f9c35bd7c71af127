//! `cooper load`: images from an archive.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use cooperage::{LoadedImage, NewName};
use serde_json::json;

use crate::command::inspect::parse_reference;
use crate::failure::{Code, Exit, Failure};
use crate::host::check_host;
use crate::render::unit;
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper load example_name.tar
  cooper load example_name.tar --name from_elsewhere
  ssh other-host cooper save example_name | cooper load

Reads what `cooper save` wrote. An image keeps its name and number; where the same is there already,
nothing is made, and where the tag is another image here, nothing is loaded.

Everything is checked against its digests, and the packages that an image lists against its layers.
That the layers were made from what its lock names is not proved: `cooper inspect` says that an image
was loaded, and no create takes it for its own. For proof, `cooper create --locked` makes it again: the
digest must be the same.";

/// Take in images from an archive that `cooper save` wrote
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct LoadArgs {
    /// The archive; `-` is standard input, the default
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, as Docker and Podman have it
    #[arg(long, short, value_name = "FILE", conflicts_with = "file", hide = true)]
    input: Option<PathBuf>,
    /// Load the one image of the archive as [ORGANISATION/]NAME, with its next number
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Execute `cooper load`.
pub(crate) fn load(args: &LoadArgs, shell: &Shell) -> Result<Exit, Failure> {
    let new_name = args.name.as_deref().map(new_name).transpose()?;
    let file = args.file.as_deref().or(args.input.as_deref());
    let source = open(file.filter(|path| *path != Path::new("-")))?;
    let settings = shell.settings()?;
    check_host("loading images")?;
    let workshop = open_workshop(&settings, Need::Store)?;
    let display = shell.progress();
    let loaded = workshop.load(source, new_name.as_ref(), &display.sink());
    display.finish();
    let loaded = loaded?;
    shell.print(|| json!({ "images": loaded }), |out| write(out, &loaded))?;
    Ok(Exit::GOOD)
}

fn new_name(text: &str) -> Result<NewName, Failure> {
    let reference = parse_reference(text)?;
    if let Some(tag) = reference.tag {
        let message = format!("`--name {text}` says the number `{tag}`, which is given here");
        let hint = format!("write `--name {}`", reference.name);
        return Err(Failure::new(Code::Usage, message).hint(hint));
    }
    Ok(NewName {
        organisation: reference.organisation,
        name: reference.name,
    })
}

/// A file, or standard input.
fn open(file: Option<&Path>) -> Result<Box<dyn BufRead>, Failure> {
    const BUFFER_BYTES: usize = 256 << 10;
    let Some(path) = file else {
        if io::stdin().is_terminal() {
            let failure = Failure::new(Code::Usage, "no archive was given");
            return Err(failure.hint("name a file: `cooper load FILE`".to_owned()));
        }
        return Ok(Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            io::stdin().lock(),
        )));
    };
    let opened = File::open(path).and_then(|file| {
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(file)
    });
    let file = opened.map_err(|error| {
        let mut failure = Failure::of(Code::Of("unusable-archive"), &error);
        failure = failure.told(format!("cannot open `{}`", path.display()));
        failure.hint("give the tar that `cooper save` wrote".to_owned())
    })?;
    Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, file)))
}

fn write(out: &mut dyn Write, loaded: &[LoadedImage]) -> io::Result<()> {
    for image in loaded {
        let verb = if image.created { "loaded" } else { "already there:" };
        write!(out, "{verb} {}", image.image)?;
        if image.from != image.image {
            write!(out, " (in the archive {})", image.from)?;
        }
        writeln!(out)?;
        writeln!(out, "  digest  {}", image.digest)?;
        writeln!(out, "  size    {}", unit::size(image.size_bytes))?;
    }
    Ok(())
}
