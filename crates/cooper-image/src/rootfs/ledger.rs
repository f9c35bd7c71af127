//! Who made what in one tree: the memory that makes parallel unpacking come out the same every time.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::{Metadata, Rootfs, TreePath};

/// A directory's identity, whatever path led to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DirectoryId {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// A name in a directory; two paths that lead to the same name through links are one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub(super) directory: DirectoryId,
    pub(super) name: Box<str>,
}

/// Who has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The package or distribution.
    pub owner: Arc<str>,
    /// The claimant's place in the order of archives: where two are equal, the lower rank counts.
    pub rank: u32,
    /// The SHA-256 of the content, where the claimant knows it beforehand.
    pub content: Option<[u8; 32]>,
}

/// Directories with the metadata that an archive gave, and files that archives share.
type Unsettled = (Vec<(TreePath, Option<Metadata>)>, Vec<(TreePath, Metadata)>);

#[derive(Debug, Default)]
pub(super) struct Ledger {
    made: BTreeMap<DirectoryId, TreePath>,
    described: BTreeMap<DirectoryId, (u32, Metadata)>,
    places: BTreeMap<Place, Claim>,
    shared: BTreeMap<TreePath, Metadata>,
}

impl Ledger {
    pub(super) fn note_made(&mut self, id: DirectoryId, path: TreePath) {
        self.made.insert(id, path);
    }

    /// An archive describes a directory, perhaps one that was there before: then it has no effect.
    pub(super) fn note_described(&mut self, id: DirectoryId, rank: u32, metadata: Metadata) {
        match self.described.entry(id) {
            Entry::Vacant(entry) => {
                entry.insert((rank, metadata));
            }
            Entry::Occupied(mut entry) if rank < entry.get().0 => {
                entry.insert((rank, metadata));
            }
            Entry::Occupied(_) => {}
        }
    }

    pub(super) fn drain_unsettled(&mut self) -> Unsettled {
        let described = std::mem::take(&mut self.described);
        let made = std::mem::take(&mut self.made).into_iter();
        let directories = made.map(|(id, path)| (path, described.get(&id).map(|(_, metadata)| *metadata)));
        let directories = directories.collect();
        let files = std::mem::take(&mut self.shared).into_iter().collect();
        (directories, files)
    }
}

impl Rootfs {
    /// Claim a place, unless somebody has it: then the answer is their claim.
    pub fn claim(&self, place: &Place, claim: &Claim) -> Option<Claim> {
        match self.ledger().places.entry(place.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(claim.clone());
                None
            }
            Entry::Occupied(entry) => Some(entry.get().clone()),
        }
    }

    /// Claim a place, whoever has it.
    pub fn take_over(&self, place: &Place, claim: &Claim) {
        self.ledger().places.insert(place.clone(), claim.clone());
    }

    /// Who has a place.
    pub fn claimant(&self, place: &Place) -> Option<Claim> {
        self.ledger().places.get(place).cloned()
    }

    /// Two archives carry the same file: [`Rootfs::settle`] gives it the newest time and the union of the modes
    /// of all that said so.
    pub fn note_shared(&self, path: &TreePath, metadata: &Metadata) {
        let mut ledger = self.ledger();
        let kept = ledger.shared.entry(path.clone()).or_insert(*metadata);
        kept.mtime = kept.mtime.max(metadata.mtime);
        kept.mode |= metadata.mode;
    }
}
