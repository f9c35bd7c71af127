//! The names, their view and the journal.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::path::Path;

use cooper_core::{ImageName, Organisation};

use super::{Check, Fault, FsckError, Note};
use crate::store::journal::Happening;
use crate::store::pins::read_pin;
use crate::store::reference::{Listed, Named, TagState, file_names, parse_tag_file};
use crate::store::{PinError, RefError};

impl Check<'_> {
    /// Read every name; what they need is looked for later.
    pub(super) fn names(&mut self) -> Result<(), FsckError> {
        let names_failed = |source| FsckError::Names { source };
        let lock = self
            .store
            .lock_names()
            .map_err(|source| FsckError::Lock { source })?;
        let mut view = self.store.read_view();
        if let Some(view) = &mut view {
            view.refresh(self.store, None).map_err(names_failed)?;
        }
        let named = self.store.all_tags().map_err(names_failed)?;
        let live: Vec<Named> = named
            .into_iter()
            .filter(|named| named.state == TagState::Live)
            .collect();
        let mut is_stale = view.as_ref().is_some_and(|view| view.len() != live.len());
        for named in &live {
            // One record after the other: all of them would be large.
            let Some(entry) = self.store.listed(named) else {
                continue;
            };
            self.need(&entry);
            if let (Some(view), Ok(record)) = (&view, &entry.record) {
                is_stale |= !view.has(named, &self.store.entry_of(record));
            }
        }
        self.refs_checked = live.len() as u64;
        self.foreign_refs()?;
        self.journal(&live)?;
        let view = match view {
            Some(view) => view,
            None => self.store.made_view().map_err(names_failed)?,
        };
        let is_current = self.store.index_is_current(&view).map_err(names_failed)?;
        let rewritten = self.options.repair;
        if !is_current {
            self.notes.push(Note::StaleIndex { rewritten });
        }
        if is_stale {
            self.notes.push(Note::StaleView { rewritten });
        }
        if self.options.repair {
            self.store.rewrite_views(lock).map_err(names_failed)?;
        }
        Ok(())
    }

    /// Read every pin; what they need is looked for later.
    pub(super) fn pins(&mut self) -> Result<(), FsckError> {
        let directory = self.store.pins_dir();
        for (name, path) in self.plain_files(&directory)? {
            match read_pin(&path) {
                Ok(None) => {}
                Ok(Some(pin)) => {
                    let place = u32::try_from(self.images.len()).unwrap_or(u32::MAX);
                    self.images.push(format!("pin {name}"));
                    for digest in pin.blobs {
                        needed_by(self.blobs_needed.entry(digest).or_default(), place);
                    }
                }
                Err(error) => {
                    // What the system refuses to read now may be whole.
                    let moved = self.options.repair && matches!(error, PinError::Unreadable { .. });
                    if moved {
                        self.store.quarantine(&path, &format!("pin-{name}"))?;
                    }
                    self.faults.push(Fault::UnreadablePin { path, moved });
                }
            }
        }
        Ok(())
    }

    /// Remove the names whose records cannot be read: nobody can tell any more what they meant.
    pub(super) fn retire_unreadable(&mut self) -> Result<(), FsckError> {
        for (organisation, name, tag) in std::mem::take(&mut self.unreadable) {
            self.store
                .remove_version(&organisation, &name, &tag)
                .map_err(|source| FsckError::Names { source })?;
        }
        Ok(())
    }

    fn need(&mut self, entry: &Listed) {
        let image = u32::try_from(self.images.len()).unwrap_or(u32::MAX);
        self.images.push(entry.to_string());
        match &entry.record {
            Ok(record) => {
                let check = self.options.record_check;
                if let Some(Err(reason)) = check.map(|check| check(&record.details)) {
                    self.unreadable_ref(entry, reason, self.options.repair);
                }
                for digest in record.needed_blobs() {
                    needed_by(self.blobs_needed.entry(digest).or_default(), image);
                }
                for diff_id in &record.trees {
                    needed_by(self.trees_needed.entry(*diff_id).or_default(), image);
                }
            }
            Err(error) => {
                let reason =
                    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
                // What the system refuses to read now may be whole.
                let removed = self.options.repair && matches!(error, RefError::Unreadable { .. });
                self.unreadable_ref(entry, reason, removed);
            }
        }
    }

    fn unreadable_ref(&mut self, entry: &Listed, reason: String, removed: bool) {
        self.faults.push(Fault::UnreadableRef {
            image: entry.to_string(),
            path: entry.path.clone(),
            reason,
            removed,
        });
        if removed {
            self.unreadable
                .push((entry.organisation.clone(), entry.name.clone(), entry.tag.clone()));
        }
    }

    fn foreign_refs(&mut self) -> Result<(), FsckError> {
        let refs = self.store.refs_dir();
        for owner in self.directories::<Organisation>(&refs)? {
            let images = refs.join(owner.as_str());
            for name in self.directories::<ImageName>(&images)? {
                self.foreign_tag_files(&owner, &name)?;
            }
        }
        Ok(())
    }

    fn foreign_tag_files(&mut self, owner: &Organisation, name: &ImageName) -> Result<(), FsckError> {
        let directory = self.store.image_dir(owner, name);
        let mut live = BTreeSet::new();
        let mut removed = BTreeSet::new();
        for file in file_names(&directory)? {
            match parse_tag_file(&file) {
                Some((tag, TagState::Live)) => drop(live.insert(tag)),
                Some((tag, TagState::Removed)) => drop(removed.insert(tag)),
                None => self.faults.push(Fault::ForeignFile {
                    path: directory.join(file),
                }),
            }
        }
        let both = live.intersection(&removed);
        self.faults.extend(both.map(|tag| Fault::TagInUseAndRemoved {
            image: format!("{owner}/{name}:{tag}"),
        }));
        Ok(())
    }

    /// The subdirectories that are a `T`; everything else is foreign.
    fn directories<T: std::str::FromStr>(&mut self, directory: &Path) -> Result<Vec<T>, FsckError> {
        let mut parsed = Vec::new();
        for name in file_names(directory)? {
            let path = directory.join(&name);
            match name.parse() {
                Ok(good) if is_real_dir(&path) => parsed.push(good),
                _ => self.faults.push(Fault::ForeignFile { path }),
            }
        }
        Ok(parsed)
    }

    fn journal(&mut self, listed: &[Named]) -> Result<(), FsckError> {
        let journal = self.store.read_journal()?;
        let unreadable = journal
            .unreadable_lines
            .iter()
            .map(|line| Note::UnreadableJournalLine { line: *line });
        self.notes.extend(unreadable);
        let mut told = BTreeSet::new();
        let mut tags_of = BTreeMap::new();
        for entry in journal.entries {
            if entry.event != Happening::Created {
                continue;
            }
            let image = format!("{}/{}:{}", entry.organisation, entry.name, entry.tag);
            let tags = match tags_of.entry((entry.organisation, entry.name)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let (organisation, name) = unknown.key();
                    let tags = self.store.tags(organisation, name);
                    unknown.insert(tags.map_err(|source| FsckError::Names { source })?)
                }
            };
            if !tags.contains_key(&entry.tag) {
                self.faults.push(Fault::LostTag { image: image.clone() });
            }
            told.insert(image);
        }
        let untold = listed
            .iter()
            .map(ToString::to_string)
            .filter(|image| !told.contains(image));
        self.notes
            .extend(untold.map(|image| Note::Unjournalled { image }));
        Ok(())
    }
}

/// Note that an image needs something: once, though its record may name it twice.
fn needed_by(images: &mut Vec<u32>, image: u32) {
    if images.last() != Some(&image) {
        images.push(image);
    }
}

/// A directory, and not a link to one.
fn is_real_dir(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}
