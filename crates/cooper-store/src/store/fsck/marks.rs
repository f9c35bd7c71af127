//! The marks: each one a time under a plain name.

use std::path::{Path, PathBuf};

use super::{Check, Fault, FsckError};
use crate::store::MarkError;
use crate::store::lock::is_plain_name;
use crate::store::marks::read_mark;
use crate::store::reference::file_names;

impl Check<'_> {
    pub(super) fn marks(&mut self) -> Result<(), FsckError> {
        let directory = self.store.marks_dir();
        for (name, path) in self.plain_files(&directory)? {
            let Err(error) = read_mark(&path) else { continue };
            // What the system refuses to read now may be whole.
            let moved = self.options.repair && matches!(error, MarkError::Unreadable { .. });
            if moved {
                self.store.quarantine(&path, &format!("mark-{name}"))?;
            }
            self.faults.push(Fault::UnreadableMark { path, moved });
        }
        Ok(())
    }

    /// The files of a folder that has only files under plain names; whatever else is in it is foreign.
    pub(super) fn plain_files(&mut self, directory: &Path) -> Result<Vec<(String, PathBuf)>, FsckError> {
        let mut files = Vec::new();
        for name in file_names(directory)? {
            let path = directory.join(&name);
            let plain = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
            if plain && is_plain_name(&name) {
                files.push((name, path));
            } else {
                self.faults.push(Fault::ForeignFile { path });
            }
        }
        Ok(files)
    }
}
