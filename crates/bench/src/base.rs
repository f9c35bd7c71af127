//! The peer's base image: Debian with Python and pip, as a tar to import, made with mmdebstrap from the host's mirrors.
//!
//! It has the settings by which the official Debian images make apt and dpkg quick in a container (no fsync, no
//! translations), so that the peer is at its best.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::args::Options;
use crate::error::BenchError;
use crate::measure::{output, timed};
use crate::say;

const SUITE: &str = "trixie";
const PACKAGES: &str = "ca-certificates,python3,python3-pip";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Where the host's certificates lie in the image.
pub(crate) const CA_IN_IMAGE: &str = "/etc/ssl/host-certificates.crt";
/// An older base would make the peer fetch more than it has to.
const AGE_MAX: Duration = Duration::from_hours(24);

/// The base's tar, made anew when it is missing, old, or was made in another way.
pub(crate) fn base_tar(options: &Options, scratch: &Path) -> Result<PathBuf, BenchError> {
    let tar = options.work.join("base.tar");
    let recipe_file = options.work.join("base.recipe");
    let sources = scratch.join("base.list");
    put(&sources, &Mirrors::of_host()?.sources())?;
    let arguments = arguments(options, &sources, &tar);
    let recipe = arguments.join("\n") + &Mirrors::of_host()?.sources();
    if is_fresh(&tar) && std::fs::read_to_string(&recipe_file).is_ok_and(|text| text == recipe) {
        return Ok(tar);
    }
    say("making the peer's base image");
    remove_if_there(&recipe_file)?;
    timed(Command::new("mmdebstrap").args(&arguments))?;
    put(&recipe_file, &recipe)?;
    Ok(tar)
}

fn arguments(options: &Options, sources: &Path, tar: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        "--aptopt=Acquire::Languages \"none\"",
        "--dpkgopt=force-unsafe-io",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--include={PACKAGES}"));
    if let Some(ca) = &options.ca {
        arguments.push(format!("--customize-hook=copy-in {} /etc/ssl", ca.display()));
        let name = ca.file_name().unwrap_or_default().to_string_lossy();
        arguments.push(format!(
            "--customize-hook=mv \"$1\"/etc/ssl/{name} \"$1\"{CA_IN_IMAGE}"
        ));
    }
    arguments.push(SUITE.to_owned());
    arguments.push(tar.display().to_string());
    arguments.push(sources.display().to_string());
    arguments
}

fn is_fresh(tar: &Path) -> bool {
    let modified = std::fs::metadata(tar).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < AGE_MAX))
}

/// Where the host's own apt finds Debian.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    main: String,
    security: String,
}

impl Mirrors {
    fn of_host() -> Result<Self, BenchError> {
        let format = "$(LABEL) $(REPO_URI)";
        let text = output(
            "apt-get",
            &["indextargets", "--format", format, "Created-By: Packages"],
        )?;
        Self::parse(&text).ok_or(BenchError::NoMirror)
    }

    fn parse(text: &str) -> Option<Self> {
        let with_label = |wanted: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            let mut matching = lines.filter(|(label, _)| *label == wanted);
            matching.next().map(|(_, uri)| uri.to_owned())
        };
        Some(Self {
            main: with_label("Debian")?,
            security: with_label("Debian-Security")?,
        })
    }

    fn sources(&self) -> String {
        let Self { main, security } = self;
        let option = format!("[signed-by={KEYRING}]");
        format!(
            "deb {option} {main} {SUITE} main\n\
             deb {option} {main} {SUITE}-updates main\n\
             deb {option} {security} {SUITE}-security main\n"
        )
    }
}

/// Write a small file of our own work folder.
pub(crate) fn put(path: &Path, text: &str) -> Result<(), BenchError> {
    use std::io::Write as _;
    let written = std::fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| BenchError::file(path, source))
}

fn remove_if_there(path: &Path) -> Result<(), BenchError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(BenchError::file(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_told_apart_by_their_label() {
        let text = "Other http://other.test/apt/\n\
                    Debian http://mirror.test/debian/\n\
                    Debian http://second.test/debian/\n\
                    Debian-Security http://mirror.test/debian-security/\n";
        let mirrors = Mirrors::parse(text).unwrap();
        let sources = mirrors.sources();
        let lines: Vec<&str> = sources.lines().collect();
        assert_eq!(lines.len(), 3, "{sources}");
        assert!(
            lines[1].ends_with("http://mirror.test/debian/ trixie-updates main"),
            "{sources}"
        );
        assert!(
            lines[2].ends_with("http://mirror.test/debian-security/ trixie-security main"),
            "{sources}"
        );
        assert_eq!(Mirrors::parse("Debian http://mirror.test/debian/\n"), None);
    }
}
