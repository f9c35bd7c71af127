//! Names whose number was given elsewhere: what comes in an archive keeps the tag that it has there.

use std::io;
use std::path::Path;

use cooper_core::{ImageName, ManifestDigest, Organisation, VersionTag};
use rustix::fs::{CWD, RenameFlags};

use super::Store;
use super::file::Of as _;
use super::journal::Happening;
use super::reference::{RECORD_ENDING, RefError, RefRecord, TOMBSTONE_ENDING, read_record};

/// A tag that was given in this store before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenTag {
    /// What it points at, or pointed at before it was removed; `None` where nobody can tell any more.
    pub manifest: Option<ManifestDigest>,
    /// Whether it was removed.
    pub removed: bool,
}

/// What came of [`Store::adopt_version`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adopted {
    /// The name was made.
    New,
    /// It was there, and points at the same manifest.
    Same,
    /// The tag was given to something else.
    Taken(GivenTag),
}

impl GivenTag {
    /// Whether a name for `manifest` may be made, or is there: no tag ever means two things.
    fn allows(&self, manifest: &ManifestDigest) -> bool {
        self.manifest.as_ref() == Some(manifest)
    }
}

impl Store {
    /// Whether this tag was given before, and to what.
    pub fn given_tag(
        &self,
        organisation: &Organisation,
        name: &ImageName,
        tag: &VersionTag,
    ) -> Result<Option<GivenTag>, RefError> {
        let directory = self.image_dir(organisation, name);
        for (ending, removed) in [(RECORD_ENDING, false), (TOMBSTONE_ENDING, true)] {
            let manifest = match read_record(&directory.join(format!("{tag}{ending}"))) {
                Ok(None) => continue,
                Ok(Some(record)) => Some(record.manifest),
                Err(RefError::Unreadable { .. }) => None,
                Err(error) => return Err(error),
            };
            return Ok(Some(GivenTag { manifest, removed }));
        }
        // The journal knows a number too whose file was lost.
        let journal = self.read_journal()?;
        let noted =
            journal.entries.iter().rev().find(|entry| {
                entry.organisation == *organisation && entry.name == *name && entry.tag == *tag
            });
        Ok(noted.map(|entry| GivenTag {
            manifest: Some(entry.manifest),
            removed: true,
        }))
    }

    /// Make a name with the number that it has elsewhere. A tag that was given before, and be it removed, is only made
    /// again for the same manifest. As with [`Store::create_version`], what fails after the change itself is logged and
    /// put right later.
    ///
    /// # Errors
    /// [`RefError::MissingBlob`] when the record names one that is not there.
    pub fn adopt_version(
        &self,
        organisation: &Organisation,
        name: &ImageName,
        tag: &VersionTag,
        record: &RefRecord,
    ) -> Result<Adopted, RefError> {
        self.check_complete(record)?;
        let stage = self.stage_record(record)?;
        let lock = self.lock_names().map_err(|source| RefError::Lock { source })?;
        let mut change = self.begin_change(lock)?;
        if let Some(given) = self.given_tag(organisation, name, tag)? {
            if !given.allows(&record.manifest) {
                return Ok(Adopted::Taken(given));
            }
            if !given.removed {
                return Ok(Adopted::Same);
            }
        }
        self.make_image_dir(organisation, name)?;
        let directory = self.image_dir(organisation, name);
        let place = directory.join(format!("{tag}{RECORD_ENDING}"));
        let tombstone = directory.join(format!("{tag}{TOMBSTONE_ENDING}"));
        let made = if tombstone.exists() {
            revive(stage.path(), &tombstone, &place)
        } else {
            std::fs::hard_link(stage.path(), &place)
        };
        match made {
            Ok(()) => {}
            // Somebody made it without the lock.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let given = self.given_tag(organisation, name, tag)?;
                let same = given.is_some_and(|given| given.allows(&record.manifest));
                let unknown = GivenTag {
                    manifest: None,
                    removed: false,
                };
                return Ok(if same {
                    Adopted::Same
                } else {
                    Adopted::Taken(given.unwrap_or(unknown))
                });
            }
            Err(error) => return Err(error).of("make the name", &place)?,
        }
        change.happened(Happening::Created, organisation, name, tag, Some(record.manifest));
        change.finish();
        Ok(Adopted::New)
    }
}

/// Let what remains of a removed name be a name again. At every moment the tag is either removed or in use, with the
/// same manifest.
fn revive(stage: &Path, tombstone: &Path, place: &Path) -> io::Result<()> {
    std::fs::rename(stage, tombstone)?;
    rustix::fs::renameat_with(CWD, tombstone, CWD, place, RenameFlags::NOREPLACE)?;
    Ok(())
}
