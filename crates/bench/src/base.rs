//! The peer's base image: Debian with Python and pip, as a tar to import, made with mmdebstrap from the host's mirrors.
//!
//! It has the settings of apt and dpkg that the official Debian images have (no fsync, no translations, nothing
//! left in the archive cache), since that is what a `FROM debian:…` gives.

use std::io::Write as _;
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
/// In the scratch folder: the apt sources, and the files of the settings.
const SOURCES: &str = "base.list";
const SETTINGS_FOLDER: &str = "base.settings";
/// Where the host's certificates lie in the image.
pub(crate) const CA_IN_IMAGE: &str = "/etc/ssl/host-certificates.crt";
/// An older base would make the peer fetch more than it has to.
const AGE_MAX: Duration = Duration::from_hours(24);

/// The settings of the official images: file and text.
const SETTINGS: [(&str, &str); 5] = [
    ("etc/dpkg/dpkg.cfg.d/docker-apt-speedup", "force-unsafe-io\n"),
    (
        "etc/apt/apt.conf.d/docker-no-languages",
        "Acquire::Languages \"none\";\n",
    ),
    (
        "etc/apt/apt.conf.d/docker-gzip-indexes",
        "Acquire::GzipIndexes \"true\";\nAcquire::CompressionTypes::Order:: \"gz\";\n",
    ),
    (
        "etc/apt/apt.conf.d/docker-autoremove-suggests",
        "Apt::AutoRemove::SuggestsImportant \"false\";\n",
    ),
    (
        "etc/apt/apt.conf.d/docker-clean",
        "DPkg::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true\"; };\n\
         APT::Update::Post-Invoke { \"rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true\"; };\n\
         Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n",
    ),
];

/// The base's tar, made anew when it is missing, old, or was made in another way.
pub(crate) fn base_tar(options: &Options, scratch: &Path) -> Result<PathBuf, BenchError> {
    let tar = options.work.join("base.tar");
    let recipe_file = options.work.join("base.recipe");
    let sources = Mirrors::of_host()?.sources();
    let arguments = arguments(options, scratch, &tar);
    let recipe = format!("{arguments:#?}\n{sources}{SETTINGS:#?}\n");
    if is_fresh(&tar) && std::fs::read_to_string(&recipe_file).is_ok_and(|text| text == recipe) {
        return Ok(tar);
    }
    say("making the peer's base image");
    remove_if_there(&recipe_file)?;
    put(&scratch.join(SOURCES), &sources)?;
    for (file, text) in SETTINGS {
        put(&scratch.join(SETTINGS_FOLDER).join(file), text)?;
    }
    timed(Command::new("mmdebstrap").args(&arguments))?;
    put(&recipe_file, &recipe)?;
    Ok(tar)
}

fn arguments(options: &Options, scratch: &Path, tar: &Path) -> Vec<String> {
    let mut arguments = ["--quiet", "--mode=root", "--variant=minbase"]
        .map(str::to_owned)
        .to_vec();
    arguments.push(format!("--include={PACKAGES}"));
    let settings = scratch.join(SETTINGS_FOLDER);
    arguments.push(format!("--customize-hook=cp -r {}/. \"$1\"", settings.display()));
    if let Some(ca) = &options.ca {
        arguments.push(format!(
            "--customize-hook=cp {} \"$1\"{CA_IN_IMAGE}",
            ca.display()
        ));
    }
    arguments.push(SUITE.to_owned());
    arguments.push(tar.display().to_string());
    arguments.push(scratch.join(SOURCES).display().to_string());
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

/// Write a small file of our own work folder, and make its folder.
pub(crate) fn put(path: &Path, text: &str) -> Result<(), BenchError> {
    let folder = path.parent().unwrap_or(path);
    let made = std::fs::create_dir_all(folder).and_then(|()| std::fs::File::create(path));
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
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
