//! What a Debian package says about its licence: its copyright file (Debian policy 12.5).
//!
//! It is `/usr/share/doc/PACKAGE/copyright`. A package may have a link instead, of the file or of its folder, to what another
//! package has. What is said here follows from the package's own archive alone: links are not followed.

use std::io;
use std::path::Path;

use cooper_core::DebianName;
use cooper_gate::licences::{DebianLicenceEvidence, LicenceFile, TEXT_BYTES_MAX};

use super::tar::{TarEntry, TarError, TarKind, TarLimits, TarReader};
use super::{Deb, DebError, decoder};
use crate::rootfs::UnpackLimits;
use crate::tree_files::TreeFiles;

/// Where the folders of all packages are.
const DOC: &str = "usr/share/doc";

/// Where the copyright file of a package is, from the root.
fn copyright_path(package: &DebianName) -> String {
    format!("{DOC}/{package}/copyright")
}

/// The copyright file in a package's archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Copyright {
    /// There is none.
    #[default]
    Missing,
    /// The file; of a large one the beginning.
    File(LicenceFile),
    /// A link to the one that another package has.
    Shared(DebianName),
    /// A link to something that is no package's copyright file.
    Astray(String),
}

/// Takes the copyright file from the entries of a data archive as they come by.
#[derive(Debug)]
pub(super) struct CopyrightReader {
    /// `usr/share/doc/PACKAGE`
    folder: String,
    found: Copyright,
}

impl CopyrightReader {
    pub(super) fn new(package: &DebianName) -> Self {
        Self {
            folder: format!("{DOC}/{package}"),
            found: Copyright::Missing,
        }
    }

    fn is_copyright(&self, path: &str) -> bool {
        path.strip_prefix(&self.folder) == Some("/copyright")
    }

    /// The place for the beginning of this entry's body, where it is the copyright file.
    pub(super) fn file(&mut self, path: &str, size: u64) -> Option<&mut Vec<u8>> {
        if !self.is_copyright(path) {
            return None;
        }
        self.found = Copyright::File(LicenceFile {
            path: path.to_owned(),
            bytes: Vec::new(),
            size,
        });
        match &mut self.found {
            Copyright::File(file) => Some(&mut file.bytes),
            _ => None,
        }
    }

    /// A symbolic link, which may stand for the copyright file or for its folder.
    pub(super) fn symlink(&mut self, path: &str, target: &str) {
        let led_to = if path == self.folder {
            resolved(DOC, target).map(|folder| format!("{folder}/copyright"))
        } else if self.is_copyright(path) {
            resolved(&self.folder, target)
        } else {
            return;
        };
        self.found = led_to
            .and_then(|path| owner(&path))
            .map_or_else(|| Copyright::Astray(target.to_owned()), Copyright::Shared);
    }

    /// A hard link: what it is a link to has gone by.
    pub(super) fn hard_link(&mut self, path: &str, target: &str) {
        if self.is_copyright(path) {
            self.found = Copyright::Astray(target.to_owned());
        }
    }

    pub(super) fn finish(self) -> Copyright {
        self.found
    }
}

/// Add as much of a piece as is compared.
pub(super) fn add(bytes: &mut Vec<u8>, piece: &[u8]) {
    let room = TEXT_BYTES_MAX - bytes.len();
    bytes.extend_from_slice(&piece[..piece.len().min(room)]);
}

/// The package whose copyright file has this path.
fn owner(path: &str) -> Option<DebianName> {
    let name = path
        .strip_prefix(DOC)?
        .strip_prefix('/')?
        .strip_suffix("/copyright")?;
    name.parse().ok()
}

/// Where a link in a folder leads, by its text alone; none where that is above the root.
fn resolved(folder: &str, target: &str) -> Option<String> {
    let mut way: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').collect()
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                way.pop()?;
            }
            name => way.push(name),
        }
    }
    Some(way.join("/"))
}

impl Deb {
    /// The copyright file in its archive, which is read whole: that costs about as much as unpacking it, which tells the
    /// same on the way.
    ///
    /// # Errors
    /// When the data archive cannot be read.
    pub fn copyright(&self, limits: &UnpackLimits) -> Result<Copyright, DebError> {
        let wrong = |source| DebError::Data {
            package: self.control.package.to_string(),
            source,
        };
        let stream =
            decoder(&self.bytes, &self.members.data, limits).map_err(|error| wrong(TarError::Read(error)))?;
        let mut reader = TarReader::new(
            stream,
            TarLimits {
                bytes_max: limits.unpacked_bytes_max(self.bytes.size()),
                entries_max: limits.entries_max,
                extension_bytes_max: 65_536,
            },
        );
        let mut copyright = CopyrightReader::new(&self.control.package);
        while let Some(entry) = reader.next_entry().map_err(wrong)? {
            let (path, target) = (plain(&entry.path), plain(&entry.link));
            match entry.kind {
                TarKind::File => {
                    if let Some(bytes) = copyright.file(path, entry.size) {
                        read_beginning(&mut reader, bytes).map_err(wrong)?;
                    }
                }
                TarKind::Symlink => copyright.symlink(path, link_text(&entry)),
                TarKind::HardLink => copyright.hard_link(path, target),
                _ => {}
            }
        }
        Ok(copyright.finish())
    }
}

fn read_beginning<R: io::BufRead>(reader: &mut TarReader<R>, bytes: &mut Vec<u8>) -> Result<(), TarError> {
    reader.read_body(|piece| {
        add(bytes, piece);
        Ok(())
    })
}

/// A path without the leading `./`; nothing for one that is no text.
fn plain(path: &[u8]) -> &str {
    let text = std::str::from_utf8(path).unwrap_or_default();
    let text = text.strip_prefix("./").unwrap_or(text);
    text.trim_end_matches('/')
}

fn link_text(entry: &TarEntry) -> &str {
    std::str::from_utf8(&entry.link).unwrap_or_default()
}

/// What an unpacked package says about its licence, links inside of the tree followed.
///
/// # Errors
/// When the tree cannot be read.
pub fn licence_evidence_in(root: &Path, package: &DebianName) -> io::Result<DebianLicenceEvidence> {
    let path = copyright_path(package);
    let read = TreeFiles::open(root)?.read_beginning(&path, TEXT_BYTES_MAX as u64)?;
    Ok(DebianLicenceEvidence {
        copyright: read.map(|(bytes, size)| LicenceFile { path, bytes, size }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(path: &str, target: &str) -> Copyright {
        let mut reader = CopyrightReader::new(&"made".parse().unwrap());
        reader.symlink(path, target);
        reader.finish()
    }

    #[test]
    fn links_lead_to_other_packages_or_astray() {
        let shared = |name: &str| Copyright::Shared(name.parse().unwrap());
        let astray = |target: &str| Copyright::Astray(target.to_owned());
        let folder = "usr/share/doc/made";
        let file = "usr/share/doc/made/copyright";
        for (path, target, found) in [
            (folder, "gcc-14-base", shared("gcc-14-base")),
            (folder, "./made-common/", shared("made-common")),
            (folder, "/usr/share/doc/made-common", shared("made-common")),
            (file, "../made-common/copyright", shared("made-common")),
            (file, "/usr/share/doc/a/../bb//copyright", shared("bb")),
            (folder, "../../../etc", astray("../../../etc")),
            (
                file,
                "../../../../../../etc/passwd",
                astray("../../../../../../etc/passwd"),
            ),
            (file, "/etc/passwd", astray("/etc/passwd")),
            (file, "COPYING", astray("COPYING")),
            (folder, "a/b", astray("a/b")),
            (folder, "..", astray("..")),
            ("usr/share/doc/other", "/etc", Copyright::Missing),
            ("usr/share/doc/made/changelog", "/etc", Copyright::Missing),
        ] {
            assert_eq!(linked(path, target), found, "{path} -> {target}");
        }
    }
}
