//! What a tree itself says is installed in it, read as package managers and scanners read it: dpkg's status file, and
//! the metadata of distributions in `/usr/local/lib/python3.X/dist-packages`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use cooper_core::PythonName;

use crate::deb::Stanza;
use crate::rootfs::{Links, Rootfs, RootfsError, TreePath};

/// Packages by name and version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// Debian packages that are installed.
    pub debian: BTreeSet<(String, String)>,
    /// Python distributions, by their normalised name.
    pub python: BTreeSet<(String, String)>,
}

/// Why it cannot be told what is installed.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// A tree could not be read.
    #[error("cannot read the unpacked layer")]
    Tree(#[from] RootfsError),
    /// A file that cannot be understood.
    #[error("`{path}` in the image cannot be understood")]
    Format {
        /// The file.
        path: String,
    },
}

const STATUS: &str = "var/lib/dpkg/status";
const PYTHON: &str = "usr/local/lib";
const INSTALLED: &str = "install ok installed";
const STATUS_BYTES_MAX: u64 = 64 << 20;
const METADATA_BYTES_MAX: u64 = 8 << 20;

/// What the trees of an image, lowest first, have installed when one is laid over the other.
///
/// # Errors
/// When a tree cannot be read, leads through links, or has files that cannot be understood.
pub fn installed(trees: &[PathBuf]) -> Result<Installed, InstalledError> {
    let mut found = Installed::default();
    for tree in trees {
        let rootfs = Rootfs::open(tree, Links::Refused)?;
        // A file of an upper tree hides the one below it.
        if let Some(status) = read(&rootfs, STATUS, STATUS_BYTES_MAX)? {
            found.debian = debian(&status)?;
        }
        python(&rootfs, &mut found.python)?;
    }
    Ok(found)
}

fn debian(status: &str) -> Result<BTreeSet<(String, String)>, InstalledError> {
    let wrong = || InstalledError::Format {
        path: format!("/{STATUS}"),
    };
    let mut packages = BTreeSet::new();
    for text in status.split("\n\n").filter(|text| !text.trim_ascii().is_empty()) {
        let stanza = Stanza::parse(text).map_err(|_| wrong())?;
        let field = |name| stanza.field(name).map(str::to_owned).ok_or_else(wrong);
        if field("Status")? == INSTALLED {
            packages.insert((field("Package")?, field("Version")?));
        }
    }
    Ok(packages)
}

fn python(rootfs: &Rootfs, found: &mut BTreeSet<(String, String)>) -> Result<(), InstalledError> {
    let versions = names(rootfs, PYTHON)?;
    for version in versions.iter().filter(|name| name.starts_with("python3")) {
        let site = format!("{PYTHON}/{version}/dist-packages");
        let folders = names(rootfs, &site)?;
        for folder in folders.iter().filter(|name| name.ends_with(".dist-info")) {
            let path = format!("{site}/{folder}/METADATA");
            let wrong = || InstalledError::Format {
                path: format!("/{path}"),
            };
            let metadata = read(rootfs, &path, METADATA_BYTES_MAX)?.ok_or_else(wrong)?;
            let name = header(&metadata, "Name").and_then(|name| name.parse::<PythonName>().ok());
            let version = header(&metadata, "Version");
            let (name, version) = name.zip(version).ok_or_else(wrong)?;
            found.insert((name.to_string(), version.to_owned()));
        }
    }
    Ok(())
}

/// A field of the headers, which end with the first blank line.
fn header<'a>(metadata: &'a str, name: &str) -> Option<&'a str> {
    let headers = metadata.lines().take_while(|line| !line.is_empty());
    headers
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn read(rootfs: &Rootfs, path: &str, bytes_max: u64) -> Result<Option<String>, InstalledError> {
    let tree_path = tree_path(path)?;
    let Some(bytes) = rootfs.read(&tree_path, bytes_max)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| InstalledError::Format {
        path: format!("/{path}"),
    })
}

fn names(rootfs: &Rootfs, path: &str) -> Result<Vec<String>, InstalledError> {
    Ok(rootfs.names(&tree_path(path)?)?)
}

fn tree_path(path: &str) -> Result<TreePath, InstalledError> {
    TreePath::parse(path.as_bytes(), 4096).map_err(|_| InstalledError::Format {
        path: path.to_owned(),
    })
}
