//! The store: blobs, trees, names and a cache in one directory.
//!
//! # Layout
//!
//! The directory is an OCI image layout (image-spec, `image-layout.md`) with rooms of our own beside it:
//!
//! ```text
//! oci-layout                     {"imageLayoutVersion":"1.0.0"}; its presence makes the directory a store
//! index.json                     a view of refs/, rewritten after each change of a name; only fsck reads it
//! names                          another one, with what lists show of each name; may be deleted
//! blobs/sha256/<hex>             immutable, mode 0444, named by the digest of their bytes
//! trees/sha256/<hex>/            unpacked layers, named by the layer's diff id: what runs mount
//! refs/<org>/<name>/<tag>.json   a name: which manifest, which blobs and trees it keeps alive
//! refs/<org>/<name>/<tag>.removed  what remains of a removed name, so that its number is never given again
//! journal                        one JSON line for each name created or removed, append-only
//! pins/<name>                    which blobs it keeps alive beside those of names; it may be moved to others
//! marks/<name>                   a time that only goes up: the newest index seen; not a cache, never removed
//! ledgers/<name>                 lines of JSON that are only added to: waivers, what was first seen; never removed
//! cache/<kind>/<hex of key>      what may be lost; the modification time is the time of storing
//! locks/<name>                   empty files to flock
//! tmp/<session>/                 work in progress of one process, flock'd while that process lives
//! tmp/quarantine/                damaged blobs and trees, out of the way
//! ```
//!
//! The root has mode 0700: trees hold set-user-id programs, and blobs may hold private packages.
//!
//! # What is true at every moment, and after a crash
//!
//! 1. **A blob under its final name is whole.** It is written in `tmp/`, its digest is computed from the
//!    bytes written, its data is synced to the disk (`fdatasync`), and only then is it renamed. A power cut can
//!    lose the rename, which costs another download; it cannot leave half a blob.
//! 2. **A tree under its final name is whole.** `syncfs`, then one rename of the finished directory.
//! 3. **A name points at durable things.** Everything that a record names is there, its bytes were synced
//!    before it got its own name, and the directories of those names are synced before the record is
//!    linked (cheaper than another `syncfs`, which would wait for every writer of the disk). The record is written in `tmp/`, synced, and linked to its place by
//!    `link(2)`, which fails where the name exists: names are create-only, even for a process that
//!    ignores the locks. Then the directory is synced.
//! 4. **A number is never given twice.** Removal renames `<tag>.json` to `<tag>.removed`, and the next number
//!    is one more than the largest of both. A tag that was given elsewhere ([`Store::adopt_version`]) is made only where
//!    it was never given here, or to the same manifest.
//! 5. **`index.json`, `names` and the journal follow the names.** The link or rename of a record is the change. A process
//!    that is killed or fails after it leaves a stale view or a missing line; fsck notes it, and the next change of a
//!    name, or fsck's repair, rewrites the view and writes the line. It is no failure of the change.
//! 6. **What a killed process leaves is below `tmp/`** in its session directory. Whoever opens the store and
//!    finds the session's flock free sweeps it.
//! 7. **The cache holds whole entries or none**: written in `tmp/`, synced, renamed, like blobs.
//! 8. **A mark never goes down**: read and written under `locks/.marks`; written in `tmp/`, synced, renamed, and its
//!    directory synced. Emptying the cache leaves the marks; one that cannot be read is an error until fsck repairs it.
//!
//! 9. **A ledger only grows**: lines are written under `locks/.ledgers` in one write, and synced with its directory before
//!    the call returns. Only fsck's repair writes one again, without the lines that say nothing, and keeps what it was.
//!
//! # Locking
//!
//! - Blobs, trees and cache entries need no lock: the name says the content, so two writers of one name
//!   bring the same thing, and rename is atomic.
//! - `locks/.names` is held while a name is made or removed and while fsck lists the names: the numbering,
//!   `index.json` and the journal are written by one process at a time.
//! - Everything else is the callers' business through [`Store::lock`]. All locks are `flock`s of
//!   their own open file, so they work between threads as between processes and end with their holder.
//! - A session directory is flock'd by its process. Making one and locking it are two steps; a sweeper
//!   can come between, so the maker looks again after locking whether the directory is still there.
//! - A blob or a tree is flock'd, shared: for a moment by whoever renews it ([`Store::renew_blob`]), and as long as it
//!   is mounted by a run ([`Holds`]). Garbage collection, which the module `gc` writes down, passes over what it cannot
//!   lock and what was renewed.

mod adopt;
mod blob;
mod cache;
mod file;
mod follow;
mod fsck;
mod gc;
mod index;
mod journal;
mod ledger;
mod lock;
mod marks;
mod open;
mod pins;
mod quarantine;
mod reference;
mod remove;
mod session;
mod tree;
mod usage;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cooper_core::Clock;

pub use adopt::{Adopted, GivenTag};
pub use blob::{BlobWriter, ReadBlobError, WriteBlobError};
pub use cache::Cached;
pub use fsck::{Fault, FsckError, FsckOptions, FsckReport, LedgerCheck, Note, RecordCheck, TreeCheck};
pub use gc::{CacheKeeping, GcError, GcReport, Holds};
pub use ledger::LedgerError;
pub use lock::{LockError, StoreLock};
pub use marks::MarkError;
pub use open::OpenError;
pub use pins::{Pin, PinError};
pub use reference::{RefError, RefRecord};
pub use remove::clear_directory;
pub use session::{Scratch, StageError};
pub use tree::TreeStage;
pub use usage::{DiskUse, NameUse, StoreUse};
pub use view::{ListedEntry, ListedName, Summarise};

pub(crate) use file::FileError;

/// A store in one directory. Cheap to clone; all clones share one session.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    clock: Arc<dyn Clock>,
    session: session::SessionCell,
    summarise: Summarise,
}

impl Store {
    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Where this store takes the time from.
    pub fn clock(&self) -> &dyn Clock {
        self.inner.clock.as_ref()
    }

    fn tmp_dir(&self) -> PathBuf {
        self.inner.root.join("tmp")
    }

    fn blobs_dir(&self) -> PathBuf {
        self.inner.root.join("blobs/sha256")
    }

    fn trees_dir(&self) -> PathBuf {
        self.inner.root.join("trees/sha256")
    }

    fn refs_dir(&self) -> PathBuf {
        self.inner.root.join("refs")
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("root", &self.inner.root)
            .finish_non_exhaustive()
    }
}
