//! The store and its one door for outside bytes.
//!
//! [`Store`] keeps content-addressed blobs, unpacked trees, create-only names and a cache of things that may
//! be lost; [`store`] writes down the layout, the locking and what survives which crash. [`Intake`] fetches
//! outside bytes into it: bounded in size and time, checked against their digest, resumable.
//!
//! This crate does not know what a package or an image is, reads no environment, and asks no clock but
//! the one that it is given.

pub mod intake;
mod mmap;
pub mod store;

pub use intake::{
    CredentialHelper, Credentials, FailedAttempt, FetchBlob, FetchBytes, FetchError, FetchFile, Fetched,
    FetchedFile, Intake, IntakeConfig, IntakeError, Place, Proxies, Range, RangeReply, Validators,
};
pub use mmap::MappedBlob;
pub use store::{
    Adopted, BlobWriter, CacheKeeping, Cached, DiskUse, Fault, FsckError, FsckOptions, FsckReport, GcError,
    GcReport, GivenTag, Holds, LedgerCheck, LedgerError, ListedEntry, ListedName, LockError, MarkError,
    NameUse, Note, OpenError, Pin, PinError, ReadBlobError, RefError, RefRecord, Scratch, StageError, Store,
    StoreLock, StoreUse, Summarise, TreeStage, WriteBlobError, clear_directory,
};
