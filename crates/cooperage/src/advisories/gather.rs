//! Which files there are to read: those that were named, those of folders, those that are fetched.

use std::path::{Path, PathBuf};

use cooper_core::Progress;
use cooper_core::progress::Stage;
use cooper_store::{FetchFile, FetchedFile, Scratch, Validators};
use url::Url;

use super::error::{SourceFault, UpdateAdvisoriesError};
use super::recognise::ARCHIVE_BYTES_MAX;
use crate::workshop::Workshop;

/// Files in all folders together.
const FILES_MAX: usize = 300_000;
const DEPTH_MAX: usize = 16;

/// A file of this host that may be evidence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    /// It was named itself: then it must be evidence. One that lies in a folder may be something else.
    pub(super) named: bool,
}

/// The files of these paths, folders walked in the order of their names; links in folders are not followed.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<Candidate>, UpdateAdvisoriesError> {
    let mut found = Vec::new();
    for path in paths {
        let failed = |source| UpdateAdvisoriesError::Path {
            path: path.clone(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.is_dir() {
            walk(path, path, 0, &mut found)?;
        } else {
            found.push(Candidate {
                path: path.clone(),
                named: true,
            });
        }
    }
    Ok(found)
}

fn walk(
    root: &Path,
    folder: &Path,
    depth: usize,
    found: &mut Vec<Candidate>,
) -> Result<(), UpdateAdvisoriesError> {
    let failed = |source| UpdateAdvisoriesError::Path {
        path: folder.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| (entry.path(), entry.file_type())))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    paths.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (path, kind) in paths {
        let kind = kind.map_err(failed)?;
        if kind.is_dir() && depth < DEPTH_MAX {
            walk(root, &path, depth + 1, found)?;
        } else if kind.is_file() {
            found.push(Candidate { path, named: false });
        }
        if found.len() > FILES_MAX {
            return Err(UpdateAdvisoriesError::TooManyFiles {
                path: root.to_owned(),
                max: FILES_MAX,
            });
        }
    }
    Ok(())
}

/// What came from an address.
pub(super) enum Fetched {
    Unchanged,
    File { path: PathBuf, validators: Validators },
}

impl Workshop {
    /// Fetch a source into a file of `scratch`, unless it is as it was.
    pub(super) fn fetch_evidence(
        &self,
        url: &Url,
        known: Validators,
        scratch: &Scratch,
        progress: &Progress,
    ) -> Result<Fetched, SourceFault> {
        let path = scratch.path().join("source");
        let fetch = FetchFile {
            url: url.clone(),
            bytes_max: ARCHIVE_BYTES_MAX,
            known,
            label: "evidence".to_owned(),
        };
        let more = |bytes| progress.advanced(Stage::Download, 0, bytes);
        Ok(match self.intake.fetch_file(&fetch, &path, &more)? {
            FetchedFile::Unchanged => Fetched::Unchanged,
            FetchedFile::New(validators) => Fetched::File { path, validators },
        })
    }
}
