//! What a Debian package says about its licence: its copyright file (Debian policy 12.5).

use std::io;
use std::path::Path;

use cooper_core::DebianName;
use cooper_gate::licences::{DebianLicenceEvidence, LicenceFile, TEXT_BYTES_MAX};

use super::tar::{TarError, TarKind, TarLimits, TarReader};
use super::{Deb, DebError, decoder};
use crate::rootfs::UnpackLimits;
use crate::tree_files::TreeFiles;

/// Where the copyright file of a package is, from the root.
fn copyright_path(package: &DebianName) -> String {
    format!("usr/share/doc/{package}/copyright")
}

impl Deb {
    /// What it says about its licence. The data archive is read up to the copyright file, which costs about as much as
    /// unpacking it; where the package is unpacked already, [`licence_evidence_in`] costs nothing. A package whose
    /// documentation is a link to that of another package says nothing by itself.
    ///
    /// # Errors
    /// When the data archive cannot be read.
    pub fn licence_evidence(&self, limits: &UnpackLimits) -> Result<DebianLicenceEvidence, DebError> {
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
        let path = copyright_path(&self.control.package);
        while let Some(entry) = reader.next_entry().map_err(wrong)? {
            let found = entry.path.strip_prefix(b"./").unwrap_or(&entry.path) == path.as_bytes();
            if !found || entry.kind != TarKind::File {
                continue;
            }
            let mut bytes = Vec::new();
            let read = reader.read_body(|piece| {
                let room = TEXT_BYTES_MAX - bytes.len();
                bytes.extend_from_slice(&piece[..piece.len().min(room)]);
                Ok::<(), TarError>(())
            });
            read.map_err(wrong)?;
            let size = entry.size;
            return Ok(DebianLicenceEvidence {
                copyright: Some(LicenceFile { path, bytes, size }),
            });
        }
        Ok(DebianLicenceEvidence::default())
    }
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
