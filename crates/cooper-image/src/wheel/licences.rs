//! What a wheel says about its licence: fields of `METADATA`, and the licence files of its `.dist-info`.

use cooper_gate::licences::{LICENCE_FILES_MAX, LicenceFile, PythonLicenceEvidence, TEXT_BYTES_MAX};

use super::metadata::CoreMetadata;
use super::zip::{Zip, ZipEntry, ZipError};
use super::{Wheel, WheelError};

/// Beginnings of names that licence files have, in upper case (PEP 639 names most of them as defaults).
const NAMES: [&str; 6] = [
    "LICENSE",
    "LICENCE",
    "COPYING",
    "COPYRIGHT",
    "UNLICENSE",
    "NOTICE",
];

impl Wheel {
    /// What it says about its licence. Of large files only the beginning is read.
    ///
    /// # Errors
    /// When a licence file cannot be read.
    pub fn licence_evidence(&self) -> Result<PythonLicenceEvidence, WheelError> {
        Ok(evidence(&self.zip, &self.dist_info, &self.metadata)?)
    }
}

pub(super) fn evidence(
    zip: &Zip,
    dist_info: &str,
    metadata: &CoreMetadata,
) -> Result<PythonLicenceEvidence, ZipError> {
    let inside = |entry: &ZipEntry| {
        let path = entry.name.strip_prefix(dist_info)?.strip_prefix('/')?;
        (!entry.directory && is_licence_file(path, &metadata.licence_files)).then(|| path.to_owned())
    };
    let files = zip.entries().iter().filter(|entry| inside(entry).is_some());
    let read = |entry: &ZipEntry| {
        Ok(LicenceFile {
            path: entry.name.clone(),
            bytes: beginning(zip, entry)?,
            size: entry.size,
        })
    };
    let of_licences = |classifier: &&String| classifier.starts_with("License");
    Ok(PythonLicenceEvidence {
        expression: metadata.licence_expression.clone(),
        free_text: metadata.licence.clone(),
        classifiers: metadata.classifiers.iter().filter(of_licences).cloned().collect(),
        files: files
            .take(LICENCE_FILES_MAX)
            .map(read)
            .collect::<Result<_, ZipError>>()?,
    })
}

/// Whether a file of `.dist-info` is stated to have a licence (`License-File`, PEP 639's folder), or is named so.
fn is_licence_file(path: &str, stated: &[String]) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_uppercase();
    path.starts_with("licenses/")
        || stated.iter().any(|stated| stated == path)
        || NAMES.iter().any(|beginning| name.starts_with(beginning))
}

/// Why the reading of an entry ended.
enum Ended {
    Enough,
    Failed(ZipError),
}

impl From<ZipError> for Ended {
    fn from(error: ZipError) -> Self {
        Self::Failed(error)
    }
}

/// The first bytes of an entry, as many as are compared.
fn beginning(zip: &Zip, entry: &ZipEntry) -> Result<Vec<u8>, ZipError> {
    if entry.size <= TEXT_BYTES_MAX as u64 {
        return zip.read(entry, TEXT_BYTES_MAX as u64);
    }
    let mut bytes = Vec::new();
    let copied = zip.copy(entry, |piece| {
        let room = TEXT_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
        if bytes.len() == TEXT_BYTES_MAX {
            Err(Ended::Enough)
        } else {
            Ok(())
        }
    });
    match copied {
        Ok(()) | Err(Ended::Enough) => Ok(bytes),
        Err(Ended::Failed(error)) => Err(error),
    }
}
