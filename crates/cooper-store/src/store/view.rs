//! The view of the names: what lists show of each, in one file, so that nobody reads ten thousand records for it.
//!
//! The file `names` is made from `refs/` and the journal, and can be deleted. It is believed name by name: an image's
//! directory changes its stamp whenever a tag is made or removed, so that one with the stamp that the view has is as
//! the view says. Stamps are as coarse as the kernel's clock: one that was not older than the listing proves nothing
//! (it is not *settled*), and its directory is listed again. Records never change, so that only those of unknown tags
//! are read.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cooper_core::{ImageName, ImageVersion, ManifestDigest, Organisation, Timestamp, VersionTag};

use super::file::{Of as _, create_new, read_bounded};
use super::follow::NamesChange;
use super::reference::{
    Named, RECORD_ENDING, RefError, RefRecord, TagState, file_names, parse_tag_file, read_record,
};
use super::{FileError, Store, StoreLock};

mod text;

/// No view is larger; one that is, is made anew each time.
const VIEW_BYTES_MAX: u64 = 1 << 30;

/// Makes what lists show out of a record: one short line of the caller's own.
pub type Summarise = fn(&RefRecord) -> String;

/// A name as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedName {
    /// The owner.
    pub organisation: Organisation,
    /// The image.
    pub name: ImageName,
    /// The version.
    pub tag: VersionTag,
    /// What its record says; nothing where that cannot be read.
    pub entry: Option<ListedEntry>,
}

/// What a list shows of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedEntry {
    /// The image's manifest.
    pub manifest: ManifestDigest,
    /// When the image was made.
    pub created_at: Timestamp,
    /// The caller's own line.
    pub summary: String,
    /// Bytes of the manifest, where the store has it.
    pub(super) manifest_bytes: Option<u64>,
}

/// An image without its version.
pub(super) type ImageKey = (Organisation, ImageName);

/// A moment as file systems keep it: seconds and nanoseconds.
pub(super) type Moment = (i64, i64);

/// What changes with every change of a directory's entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    changed: Moment,
}

impl Stamp {
    /// Of a directory; `None` where there is none.
    pub(super) fn of(path: &Path) -> Result<Option<Self>, FileError> {
        match std::fs::metadata(path) {
            Ok(status) if status.is_dir() => Ok(Some(Self {
                inode: status.ino(),
                changed: (status.ctime(), status.ctime_nsec()),
            })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).of("read the state of", path),
        }
    }

    /// Whether a change at `moment` or later would have given another one.
    pub(super) fn is_settled(&self, moment: Moment) -> bool {
        self.changed < moment
    }
}

/// What is known of one image's tags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NameView {
    stamp: Stamp,
    settled: bool,
    pub(super) tags: BTreeMap<VersionTag, Option<ListedEntry>>,
    /// The largest number that each version ever had.
    pub(super) given: BTreeMap<ImageVersion, u32>,
}

/// What is known of all names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) names: BTreeMap<ImageKey, NameView>,
}

/// What a refreshing found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refreshed {
    /// Names that were not as the view had them.
    pub(super) differing: usize,
    /// Directories that were listed.
    pub(super) listed: usize,
}

impl NameView {
    /// A number of this version was given.
    pub(super) fn note_given(&mut self, tag: &VersionTag) {
        let largest = self.given.entry(tag.version.clone()).or_default();
        *largest = (*largest).max(tag.serial.get());
    }

    /// Whether a listing after `before` can be believed from now on: no change went unseen, and all could be read.
    fn is_settled(&self, before: Moment) -> bool {
        self.stamp.is_settled(before) && self.tags.values().all(Option::is_some)
    }

    /// List the directory anew; whether it differs from what was known.
    fn list(&mut self, store: &Store, directory: &Path) -> Result<bool, FileError> {
        let mut live = BTreeMap::new();
        for file in file_names(directory)? {
            let Some((tag, state)) = parse_tag_file(&file) else {
                continue;
            };
            self.note_given(&tag);
            if state == TagState::Live {
                let known = self.tags.get_mut(&tag).and_then(Option::take);
                let entry = known.or_else(|| store.listed_entry(&directory.join(&file)));
                live.insert(tag, entry);
            }
        }
        let differs = !live.keys().eq(self.tags.keys());
        self.tags = live;
        Ok(differs)
    }
}

impl View {
    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.names.values().map(|image| image.tags.len()).sum()
    }

    /// Whether it says this of a name. A manifest may have been lost since.
    pub(super) fn has(&self, named: &Named, entry: &ListedEntry) -> bool {
        let image = self.names.get(&(named.organisation.clone(), named.name.clone()));
        let known = image.and_then(|image| image.tags.get(&named.tag));
        known.and_then(Option::as_ref).is_some_and(|known| {
            let manifest_bytes = entry.manifest_bytes;
            ListedEntry {
                manifest_bytes,
                ..known.clone()
            } == *entry
        })
    }

    /// The names, sorted.
    pub(super) fn into_listed(self) -> Vec<ListedName> {
        let mut listed = Vec::new();
        for ((organisation, name), view) in self.names {
            listed.extend(view.tags.into_iter().map(|(tag, entry)| ListedName {
                organisation: organisation.clone(),
                name: name.clone(),
                tag,
                entry,
            }));
        }
        listed
    }

    /// Bring the view to what the directories say. `before` is a moment of the file system before this call, for
    /// those who write the view; without it nothing that is listed counts as settled.
    pub(super) fn refresh(&mut self, store: &Store, before: Option<Moment>) -> Result<Refreshed, RefError> {
        let mut refreshed = Refreshed::default();
        let mut known = std::mem::take(&mut self.names);
        for (key, directory) in store.image_directories()? {
            let Some(stamp) = Stamp::of(&directory)? else {
                continue;
            };
            let (mut view, is_new) = known
                .remove(&key)
                .map_or_else(|| (NameView::default(), true), |view| (view, false));
            if !(view.settled && view.stamp == stamp) {
                let other = view.list(store, &directory)? || (view.stamp != stamp && !is_new);
                refreshed.listed += 1;
                refreshed.differing += usize::from(other);
                view.stamp = stamp;
                view.settled = before.is_some_and(|before| view.is_settled(before));
            }
            self.names.insert(key, view);
        }
        // Directories that are gone: their numbers stay given.
        for (key, view) in known {
            refreshed.differing += usize::from(!view.tags.is_empty());
            let given = view.given;
            self.names.insert(
                key,
                NameView {
                    given,
                    ..NameView::default()
                },
            );
        }
        Ok(refreshed)
    }

    /// What a change of these directories made of them.
    pub(super) fn changed(&mut self, store: &Store, key: &ImageKey, before: Moment) -> Result<(), RefError> {
        let directory = store.image_dir(&key.0, &key.1);
        if let Some(stamp) = Stamp::of(&directory)? {
            let view = self.names.entry(key.clone()).or_default();
            view.list(store, &directory)?;
            view.stamp = stamp;
            view.settled = view.is_settled(before);
        }
        Ok(())
    }
}

impl Store {
    pub(super) fn view_path(&self) -> PathBuf {
        self.root().join("names")
    }

    /// The view as it was written; `None` where there is none, or not a whole one.
    pub(super) fn read_view(&self) -> Option<View> {
        let mut file = File::open(self.view_path()).ok()?;
        let bytes = read_bounded(&mut file, VIEW_BYTES_MAX).ok()??;
        let view = text::parse(&bytes);
        if view.is_none() {
            tracing::debug!("the view of the names is damaged and is made anew");
        }
        view
    }

    /// Write the view to a staged file, which was made at `before` or later, and give it its name. It is not synced: a
    /// view that a power cut damaged does not have its own checksum.
    pub(super) fn write_view(&self, view: &View, stage: &Path, file: &mut File) -> Result<(), FileError> {
        file.write_all(&text::write(view)).of("write", stage)?;
        let place = self.view_path();
        std::fs::rename(stage, &place).of("rename to its place", &place)
    }

    /// What a list shows of a record; nothing where it cannot be read.
    pub(super) fn listed_entry(&self, path: &Path) -> Option<ListedEntry> {
        let record = read_record(path).ok()??;
        Some(self.entry_of(&record))
    }

    pub(super) fn entry_of(&self, record: &RefRecord) -> ListedEntry {
        let summary = (self.inner.summarise)(record);
        ListedEntry {
            manifest: record.manifest,
            created_at: record.created_at,
            summary: if summary.contains(char::is_control) {
                String::new()
            } else {
                summary
            },
            manifest_bytes: self.blob_size(&record.manifest.into()),
        }
    }

    /// Every image's directory, foreign entries left out.
    pub(super) fn image_directories(&self) -> Result<Vec<(ImageKey, PathBuf)>, FileError> {
        let mut directories = Vec::new();
        for organisation in file_names(&self.refs_dir())? {
            let path = self.refs_dir().join(&organisation);
            let Ok(organisation) = organisation.parse::<Organisation>() else {
                continue;
            };
            if !path.is_dir() {
                continue;
            }
            for name in file_names(&path)? {
                if let Ok(parsed) = name.parse() {
                    directories.push(((organisation.clone(), parsed), path.join(name)));
                }
            }
        }
        Ok(directories)
    }

    /// Every name as lists show it, sorted. Reads one file, and the records that are not in it yet.
    ///
    /// # Errors
    /// When the names cannot be listed.
    pub fn list(&self) -> Result<Vec<ListedName>, RefError> {
        let mut view = self.read_view().unwrap_or_default();
        let refreshed = view.refresh(self, None)?;
        if refreshed.listed > LISTED_MAX {
            self.settle();
        }
        Ok(view.into_listed())
    }

    /// The view as it would be, were there none.
    pub(super) fn made_view(&self) -> Result<View, RefError> {
        let mut view = View::default();
        view.refresh(self, None)?;
        Ok(view)
    }

    /// Make both views anew, and write the lines that the journal lacks.
    pub(super) fn rewrite_views(&self, lock: StoreLock) -> Result<(), RefError> {
        let path = self.view_path();
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).of("remove", &path)?,
            _ => self.begin_change(lock)?.settle(),
        }
    }

    /// Let the next one who lists have less to do. Whoever changes the names now does that too.
    fn settle(&self) {
        let settled = match self.try_lock_names() {
            Ok(Some(lock)) => self.begin_change(lock).and_then(NamesChange::settle),
            Ok(None) => Ok(()),
            Err(source) => Err(RefError::Lock { source }),
        };
        if let Err(error) = settled {
            tracing::debug!(?error, "the view of the names stays behind");
        }
    }
}

/// How many directories may be listed again and again.
const LISTED_MAX: usize = 20;

/// A new file, and the moment of its making as the file system has it.
pub(super) fn moment(stage: &Path) -> Result<(File, Moment), FileError> {
    let file = create_new(stage)?;
    let status = file.metadata().of("read the state of", stage)?;
    Ok((file, (status.ctime(), status.ctime_nsec())))
}

/// A tag's record in an image's directory.
pub(super) fn record_path(directory: &Path, tag: &VersionTag) -> PathBuf {
    directory.join(format!("{tag}{RECORD_ENDING}"))
}
