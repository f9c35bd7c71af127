//! A change of the names, and what follows it: the journal and the views.
//!
//! The change itself is one link or one rename, and has happened when the rest runs. So nothing there is an error of the
//! change: it is logged, and the next change of a name, or fsck's repair, puts it right. The view of the names is
//! written last: whatever it has, the journal has told.

use std::collections::BTreeSet;
use std::fs::File;

use cooper_core::{ImageName, ManifestDigest, Organisation, VersionTag};

use super::Store;
use super::file::sync_dir;
use super::journal::{Entry, Happening};
use super::lock::StoreLock;
use super::reference::{Named, RECORD_ENDING, RefError, TOMBSTONE_ENDING, TagState, read_record};
use super::session::StagedFile;
use super::view::{ImageKey, Moment, View, moment};

/// A change of names under way, with the lock of the names.
pub(super) struct NamesChange<'a> {
    store: &'a Store,
    _lock: StoreLock,
    stage: StagedFile,
    staged: File,
    before: Moment,
    /// The names before the change, and the numbers that were given.
    pub(super) view: View,
    /// Whether the journal has all that the view has.
    told: bool,
    changed: BTreeSet<ImageKey>,
    entries: Vec<Entry>,
}

impl Store {
    /// Begin a change: the view is brought up to date, and the lines that the journal lacks are written.
    pub(super) fn begin_change(&self, lock: StoreLock) -> Result<NamesChange<'_>, RefError> {
        let stage = self.staged_file("names")?;
        let (staged, before) = moment(stage.path())?;
        let read = self.read_view();
        let is_known = read.is_some();
        let mut view = read.unwrap_or_default();
        let refreshed = view.refresh(self, Some(before))?;
        let mut told = true;
        if !is_known || refreshed.differing > 0 {
            // Made by somebody who could not tell of it, or lost.
            let untold = self.untold(&mut view)?;
            if let Err(error) = self.append_to_journal(&untold) {
                tracing::warn!(?error, "the journal stays behind the names");
                told = false;
            }
        }
        Ok(NamesChange {
            store: self,
            _lock: lock,
            stage,
            staged,
            before,
            view,
            told,
            changed: BTreeSet::new(),
            entries: Vec::new(),
        })
    }

    /// The lines that the journal lacks; its numbers go into the view.
    fn untold(&self, view: &mut View) -> Result<Vec<Entry>, RefError> {
        let journal = self.read_journal()?;
        let mut told = BTreeSet::new();
        for entry in journal.entries {
            let key = (entry.organisation, entry.name);
            told.insert((entry.event, key.clone(), entry.tag.clone()));
            view.names.entry(key).or_default().note_given(&entry.tag);
        }
        let mut untold = Vec::new();
        for named in self.all_tags()? {
            let events: &[Happening] = match named.state {
                TagState::Live => &[Happening::Created],
                TagState::Removed => &[Happening::Created, Happening::Removed],
            };
            let key = (named.organisation.clone(), named.name.clone());
            let is_untold = |event: &&Happening| !told.contains(&(**event, key.clone(), named.tag.clone()));
            untold.extend(
                events
                    .iter()
                    .filter(is_untold)
                    .filter_map(|event| self.belated(&named, *event)),
            );
        }
        Ok(untold)
    }

    /// A line for what happened before. A record that cannot be read is fsck's business.
    fn belated(&self, named: &Named, event: Happening) -> Option<Entry> {
        let Named {
            organisation,
            name,
            tag,
            state,
        } = named;
        let ending = match state {
            TagState::Live => RECORD_ENDING,
            TagState::Removed => TOMBSTONE_ENDING,
        };
        let path = self.image_dir(organisation, name).join(format!("{tag}{ending}"));
        let record = read_record(&path).ok()??;
        Some(Entry {
            at: match event {
                Happening::Created => record.created_at,
                Happening::Removed => self.clock().now(),
            },
            event,
            organisation: organisation.clone(),
            name: name.clone(),
            tag: tag.clone(),
            manifest: record.manifest,
        })
    }
}

impl NamesChange<'_> {
    /// A name was made or removed. Without its manifest, which a damaged record does not tell, the journal has no line.
    pub(super) fn happened(
        &mut self,
        event: Happening,
        organisation: &Organisation,
        name: &ImageName,
        tag: &VersionTag,
        manifest: Option<ManifestDigest>,
    ) {
        self.changed.insert((organisation.clone(), name.clone()));
        let at = self.store.clock().now();
        self.entries.extend(manifest.map(|manifest| Entry {
            at,
            event,
            organisation: organisation.clone(),
            name: name.clone(),
            tag: tag.clone(),
            manifest,
        }));
    }

    /// Make the change durable and tell of it.
    pub(super) fn finish(mut self) {
        for (organisation, name) in &self.changed {
            let directory = self.store.image_dir(organisation, name);
            if let Err(error) = sync_dir(&directory) {
                tracing::warn!(path = %directory.display(), ?error, "a change of a name may be lost in a power cut");
            }
        }
        if let Err(error) = self.store.append_to_journal(&self.entries) {
            tracing::warn!(
                ?error,
                "the journal is behind the names until the next change of one"
            );
            self.told = false;
        }
        if let Err(error) = self.write_views() {
            tracing::warn!(?error, "a view is behind the names until the next change of one");
        }
    }

    /// Bring the view to what the change made of it, and write both views.
    fn write_views(&mut self) -> Result<(), RefError> {
        for key in &self.changed {
            self.view.changed(self.store, key, self.before)?;
        }
        let index = self.store.rewrite_index(&self.view);
        if self.told {
            self.store
                .write_view(&self.view, self.stage.path(), &mut self.staged)?;
        }
        index
    }

    /// Bring the views up to date, with nothing changed.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn settle(mut self) -> Result<(), RefError> {
        self.write_views()
    }
}
