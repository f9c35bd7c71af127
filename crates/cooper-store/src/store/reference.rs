//! Names: create-only, numbered, never moved.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use cooper_core::{
    BlobDigest, DiffId, ImageName, ImageVersion, ManifestDigest, Organisation, Timestamp, VersionTag,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::file::{Of as _, make_dir, open_if_there, read_bounded, sync_dir, takes_file_error, write_synced};
use super::follow::NamesChange;
use super::journal::Happening;
use super::session::StagedFile;
use super::view::ListedName;
use super::{FileError, LockError, Store};

/// The ending of a name's file.
pub(super) const RECORD_ENDING: &str = ".json";
/// The ending of what remains of a removed name.
pub(super) const TOMBSTONE_ENDING: &str = ".removed";
/// How many names are removed while the lock is held.
const REMOVED_AT_ONCE: usize = 500;
/// No record is larger.
const RECORD_BYTES_MAX: u64 = 64 << 20;

/// What a name points at and keeps alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefRecord {
    /// The image's manifest.
    pub manifest: ManifestDigest,
    /// Every blob that the name keeps alive; the manifest counts among them whether it is listed or not.
    pub blobs: Vec<BlobDigest>,
    /// Every unpacked layer that the name keeps alive.
    pub trees: Vec<DiffId>,
    /// When the image was made.
    pub created_at: Timestamp,
    /// What the store does not know: the caller's own record of the image.
    pub details: serde_json::Value,
}

impl RefRecord {
    /// Every blob that this record needs, the manifest among them.
    pub fn needed_blobs(&self) -> impl Iterator<Item = BlobDigest> {
        let listed = self.blobs.iter().copied();
        std::iter::once(BlobDigest::from(self.manifest)).chain(listed)
    }
}

/// Why a name could not be made, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum RefError {
    /// The record names a blob that the store does not have.
    #[error("the record names blob {digest}, which the store does not have")]
    MissingBlob {
        /// Which blob.
        digest: BlobDigest,
    },
    /// The numbers of this version are used up.
    #[error("version {version} of {organisation}/{name} has no number left")]
    NumbersUsedUp {
        /// The owner.
        organisation: Organisation,
        /// The image.
        name: ImageName,
        /// The version.
        version: ImageVersion,
    },
    /// A name's record cannot be understood.
    #[error("`{path}` is not a record of an image")]
    Unreadable {
        /// The record.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The lock of the names could not be taken.
    #[error("cannot take the lock of the names")]
    Lock {
        /// Why.
        source: LockError,
    },
    /// The disk, or the user's quota of it, is full.
    #[error("no space left while writing `{path}`")]
    DiskFull {
        /// What could not be written.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
takes_file_error!(RefError);

/// A name as it was found, with its record or the reason why that cannot be read.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) organisation: Organisation,
    pub(super) name: ImageName,
    pub(super) tag: VersionTag,
    pub(super) path: PathBuf,
    pub(super) record: Result<RefRecord, RefError>,
}

impl fmt::Display for Listed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}:{}", self.organisation, self.name, self.tag)
    }
}

/// A tag of an image, in use or not.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) organisation: Organisation,
    pub(super) name: ImageName,
    pub(super) tag: VersionTag,
    pub(super) state: TagState,
}

impl fmt::Display for Named {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}:{}", self.organisation, self.name, self.tag)
    }
}

/// Whether a tag is in use or was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagState {
    Live,
    Removed,
}

impl Store {
    /// Make the next name of this version. Two at once both succeed, with different numbers.
    ///
    /// The name is made when its file is there. What fails after that, the view of the names or the journal, is
    /// logged, and the next change of a name puts it right.
    ///
    /// # Errors
    /// [`RefError::MissingBlob`] when the record names one that is not there. A tree may be missing: it is made of blobs
    /// when it is needed.
    pub fn create_version(
        &self,
        organisation: &Organisation,
        name: &ImageName,
        version: &ImageVersion,
        record: &RefRecord,
    ) -> Result<VersionTag, RefError> {
        self.check_complete(record)?;
        let stage = self.stage_record(record)?;
        self.publish_record(organisation, name, version, stage.path(), record)
    }

    /// The record of one name; `None` if there is no such name.
    pub fn version(
        &self,
        organisation: &Organisation,
        name: &ImageName,
        tag: &VersionTag,
    ) -> Result<Option<RefRecord>, RefError> {
        let path = self
            .image_dir(organisation, name)
            .join(format!("{tag}{RECORD_ENDING}"));
        read_record(&path)
    }

    /// Every tag of this image, ascending.
    pub fn versions(
        &self,
        organisation: &Organisation,
        name: &ImageName,
    ) -> Result<Vec<VersionTag>, RefError> {
        let tags = self.tags(organisation, name)?;
        Ok(tags
            .into_iter()
            .filter(|(_, state)| *state == TagState::Live)
            .map(|(tag, _)| tag)
            .collect())
    }

    /// The newest version of this image: the one with the highest version and number.
    pub fn newest(
        &self,
        organisation: &Organisation,
        name: &ImageName,
    ) -> Result<Option<(VersionTag, RefRecord)>, RefError> {
        for tag in self.versions(organisation, name)?.into_iter().rev() {
            // Gone only if it was removed since it was listed.
            if let Some(record) = self.version(organisation, name, &tag)? {
                return Ok(Some((tag, record)));
            }
        }
        Ok(None)
    }

    /// Every name, sorted.
    pub fn images(&self) -> Result<Vec<(Organisation, ImageName, VersionTag)>, RefError> {
        let name = |listed: ListedName| (listed.organisation, listed.name, listed.tag);
        Ok(self.list()?.into_iter().map(name).collect())
    }

    /// Every tag that any image has or had.
    pub(super) fn all_tags(&self) -> Result<Vec<Named>, RefError> {
        let mut found = Vec::new();
        for organisation in parsed_entries::<Organisation>(&self.refs_dir())? {
            for name in parsed_entries::<ImageName>(&self.refs_dir().join(organisation.as_str()))? {
                let named = |(tag, state)| Named {
                    organisation: organisation.clone(),
                    name: name.clone(),
                    tag,
                    state,
                };
                found.extend(self.tags(&organisation, &name)?.into_iter().map(named));
            }
        }
        Ok(found)
    }

    /// Remove a name; its number is never given again. Whether it was there. As with
    /// [`Store::create_version`], what fails after the change itself is logged and put right later.
    pub fn remove_version(
        &self,
        organisation: &Organisation,
        name: &ImageName,
        tag: &VersionTag,
    ) -> Result<bool, RefError> {
        let image = (organisation.clone(), name.clone(), tag.clone());
        Ok(self.remove_versions(&[image])? > 0)
    }

    /// Remove many names; how many were there. Quickest when they are sorted. Others change names in between.
    ///
    /// # Errors
    /// When one cannot be removed. Those before it are.
    pub fn remove_versions(
        &self,
        images: &[(Organisation, ImageName, VersionTag)],
    ) -> Result<usize, RefError> {
        let mut removed = 0;
        for some in images.chunks(REMOVED_AT_ONCE) {
            let lock = self.lock_names().map_err(|source| RefError::Lock { source })?;
            let mut change = self.begin_change(lock)?;
            let outcome = some.iter().try_for_each(|(organisation, name, tag)| {
                removed += usize::from(self.bury(&mut change, organisation, name, tag)?);
                Ok(())
            });
            change.finish();
            outcome.map_err(|error: FileError| RefError::from(error))?;
        }
        Ok(removed)
    }

    /// Rename a record to what remains of it; whether it was there. One that cannot be read goes all the same.
    fn bury(
        &self,
        change: &mut NamesChange<'_>,
        organisation: &Organisation,
        name: &ImageName,
        tag: &VersionTag,
    ) -> Result<bool, FileError> {
        let directory = self.image_dir(organisation, name);
        let path = directory.join(format!("{tag}{RECORD_ENDING}"));
        let known = change.view.names.get(&(organisation.clone(), name.clone()));
        let entry = known
            .and_then(|image| image.tags.get(tag))
            .and_then(Option::as_ref);
        let manifest = entry.map(|entry| entry.manifest);
        let tombstone = directory.join(format!("{tag}{TOMBSTONE_ENDING}"));
        match std::fs::rename(&path, &tombstone) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error).of("rename to its place", &tombstone),
        }
        change.happened(Happening::Removed, organisation, name, tag, manifest);
        Ok(true)
    }

    pub(super) fn image_dir(&self, organisation: &Organisation, name: &ImageName) -> PathBuf {
        self.refs_dir().join(organisation.as_str()).join(name.as_str())
    }

    pub(super) fn check_complete(&self, record: &RefRecord) -> Result<(), RefError> {
        match record.needed_blobs().find(|digest| !self.contains(digest)) {
            Some(digest) => Err(RefError::MissingBlob { digest }),
            None => Ok(()),
        }
    }

    /// Write the record below `tmp/`, and make it and everything that it names durable.
    pub(super) fn stage_record(&self, record: &RefRecord) -> Result<StagedFile, FileError> {
        let stage = self.staged_file("ref")?;
        let bytes = serde_json::to_vec(record)
            .map_err(io::Error::other)
            .of("write", stage.path())?;
        write_synced(stage.path(), &bytes)?;
        // The bytes of blobs and trees were synced before they got their names; now the names.
        sync_dir(&self.blobs_dir())?;
        sync_dir(&self.trees_dir())?;
        Ok(stage)
    }

    fn publish_record(
        &self,
        organisation: &Organisation,
        name: &ImageName,
        version: &ImageVersion,
        stage: &Path,
        record: &RefRecord,
    ) -> Result<VersionTag, RefError> {
        let lock = self.lock_names().map_err(|source| RefError::Lock { source })?;
        let mut change = self.begin_change(lock)?;
        self.make_image_dir(organisation, name)?;
        let known = change.view.names.get(&(organisation.clone(), name.clone()));
        let given = known.and_then(|image| image.given.get(version));
        let mut serial = given.copied().unwrap_or(0);
        let tag = loop {
            let tag = next_tag(organisation, name, version, serial)?;
            let place = self
                .image_dir(organisation, name)
                .join(format!("{tag}{RECORD_ENDING}"));
            match std::fs::hard_link(stage, &place) {
                Ok(()) => break tag,
                // Somebody made it without the lock: then the next number is ours.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => serial = tag.serial.get(),
                Err(error) => return Err(error).of("link to its place", &place)?,
            }
        };
        change.happened(
            Happening::Created,
            organisation,
            name,
            &tag,
            Some(record.manifest),
        );
        change.finish();
        Ok(tag)
    }

    pub(super) fn make_image_dir(
        &self,
        organisation: &Organisation,
        name: &ImageName,
    ) -> Result<(), FileError> {
        let owner = self.refs_dir().join(organisation.as_str());
        if make_dir(&owner)? {
            sync_dir(&self.refs_dir())?;
        }
        if make_dir(&self.image_dir(organisation, name))? {
            sync_dir(&owner)?;
        }
        Ok(())
    }

    /// Every tag that this image has or had.
    pub(super) fn tags(
        &self,
        organisation: &Organisation,
        name: &ImageName,
    ) -> Result<BTreeMap<VersionTag, TagState>, RefError> {
        let mut tags = BTreeMap::new();
        for file in file_names(&self.image_dir(organisation, name))? {
            if let Some((tag, state)) = parse_tag_file(&file) {
                let known = tags.entry(tag).or_insert(state);
                if state == TagState::Live {
                    *known = TagState::Live;
                }
            }
        }
        Ok(tags)
    }

    /// A name with its record; nothing if it was removed since it was listed.
    pub(super) fn listed(&self, named: &Named) -> Option<Listed> {
        let Named {
            organisation,
            name,
            tag,
            ..
        } = named;
        let path = self
            .image_dir(organisation, name)
            .join(format!("{tag}{RECORD_ENDING}"));
        let record = match read_record(&path) {
            Ok(record) => Ok(record?),
            Err(error) => Err(error),
        };
        Some(Listed {
            organisation: organisation.clone(),
            name: name.clone(),
            tag: tag.clone(),
            path,
            record,
        })
    }
}

/// The tag after the number that was given last.
fn next_tag(
    organisation: &Organisation,
    name: &ImageName,
    version: &ImageVersion,
    given: u32,
) -> Result<VersionTag, RefError> {
    let used_up = || RefError::NumbersUsedUp {
        organisation: organisation.clone(),
        name: name.clone(),
        version: version.clone(),
    };
    let serial = given
        .checked_add(1)
        .and_then(NonZeroU32::new)
        .ok_or_else(used_up)?;
    Ok(VersionTag {
        version: version.clone(),
        serial,
    })
}

/// What a file in an image's directory says; `None` for a foreign one.
pub(super) fn parse_tag_file(file: &str) -> Option<(VersionTag, TagState)> {
    let (tag, state) = match file.strip_suffix(RECORD_ENDING) {
        Some(tag) => (tag, TagState::Live),
        None => (file.strip_suffix(TOMBSTONE_ENDING)?, TagState::Removed),
    };
    Some((tag.parse().ok()?, state))
}

pub(super) fn read_record(path: &Path) -> Result<Option<RefRecord>, RefError> {
    read_record_as(path)
}

/// The same, of which only a part is wanted.
pub(super) fn read_record_as<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RefError> {
    let Some(mut file) = open_if_there(path)? else {
        return Ok(None);
    };
    let bytes = read_bounded(&mut file, RECORD_BYTES_MAX)
        .of("read", path)?
        .unwrap_or_default();
    let unreadable = |source| RefError::Unreadable {
        path: path.to_owned(),
        source,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
}

/// The names in a directory, sorted; none where there is no such directory. Names that are not UTF-8 come
/// with replacement characters, so that they are seen and fit nothing.
pub(super) fn file_names(directory: &Path) -> Result<Vec<String>, FileError> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).of("list", directory),
    };
    let name = |entry: io::Result<std::fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = entries
        .map(name)
        .collect::<io::Result<Vec<_>>>()
        .of("list", directory)?;
    names.sort_unstable();
    Ok(names)
}

/// The subdirectories whose name is a `T`. Foreign ones are fsck's business.
fn parsed_entries<T: FromStr>(directory: &Path) -> Result<Vec<T>, FileError> {
    let names = file_names(directory)?;
    let inside = |name: &String| directory.join(name).is_dir();
    Ok(names
        .into_iter()
        .filter(inside)
        .filter_map(|name| name.parse().ok())
        .collect())
}
