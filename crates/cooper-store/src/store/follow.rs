//! What follows a change of the names: the view and the journal.
//!
//! The change itself is one link or one rename, and has happened when this runs. So nothing here is an error of the
//! change: it is logged, and the next change of a name, or fsck's repair, puts it right.

use std::collections::BTreeSet;
use std::path::Path;

use super::Store;
use super::file::sync_dir;
use super::journal::{Entry, Happening};
use super::reference::{Named, RECORD_ENDING, RefError, TOMBSTONE_ENDING, TagState, read_record};

impl Store {
    /// Make a change durable and tell of it. The caller holds the lock of the names.
    pub(super) fn follow(&self, directory: &Path, entry: Option<&Entry>) {
        if let Err(error) = sync_dir(directory) {
            tracing::warn!(path = %directory.display(), ?error, "a change of a name may be lost in a power cut");
        }
        if let Err(error) = self.rewrite_index() {
            tracing::warn!(
                ?error,
                "`index.json` is behind the names until the next change of one"
            );
        }
        if let Some(Err(error)) = entry.map(|entry| self.append_to_journal(entry)) {
            tracing::warn!(
                ?error,
                "the journal is behind the names until the next change of one"
            );
        }
    }

    /// Write the lines of the journal that are missing, as far as that can be done. The caller holds the lock of
    /// the names.
    pub(super) fn catch_up(&self) {
        if let Err(error) = self.tell_untold() {
            tracing::warn!(?error, "the journal stays behind the names");
        }
    }

    /// The same, with an error where it cannot be done.
    pub(super) fn tell_untold(&self) -> Result<(), RefError> {
        let journal = self.read_journal()?;
        let key = |entry: &Entry| {
            let Entry {
                organisation,
                name,
                tag,
                ..
            } = entry;
            (entry.event, format!("{organisation}/{name}:{tag}"))
        };
        let told: BTreeSet<(Happening, String)> = journal.entries.iter().map(key).collect();
        for named in self.all_tags()? {
            let Named {
                organisation,
                name,
                tag,
                state,
            } = &named;
            let image = format!("{organisation}/{name}:{tag}");
            let events: &[Happening] = match state {
                TagState::Live => &[Happening::Created],
                TagState::Removed => &[Happening::Created, Happening::Removed],
            };
            for event in events
                .iter()
                .filter(|event| !told.contains(&(**event, image.clone())))
            {
                self.tell(&named, *event)?;
            }
        }
        Ok(())
    }

    /// A line for what happened before. A record that cannot be read is fsck's business.
    fn tell(&self, named: &Named, event: Happening) -> Result<(), RefError> {
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
        let Ok(Some(record)) = read_record(&path) else {
            return Ok(());
        };
        Ok(self.append_to_journal(&Entry {
            at: match event {
                Happening::Created => record.created_at,
                Happening::Removed => self.clock().now(),
            },
            event,
            organisation: organisation.clone(),
            name: name.clone(),
            tag: tag.clone(),
            manifest: record.manifest,
        })?)
    }
}
