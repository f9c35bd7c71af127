//! The snapshots that a lock names, checked again where their signed files are at hand.
//!
//! A lock says of each suite which `InRelease` it was resolved against, from when that was and whose keys had signed
//! it. The digest is the only part of that which cannot lie: what the file behind it says takes the place of what the
//! lock says.

use cooper_core::base::Suite;
use cooper_core::plan::Snapshot;
use cooper_core::{BlobDigest, Timestamp};
use cooper_store::{ReadBlobError, Store};

use super::openpgp::{Keyring, verify};
use super::release;
use super::snapshot::INRELEASE_BYTES_MAX;
use crate::context::Sources;

/// A lock's snapshots as far as they could be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rechecked {
    /// In the lock's order. A file that no trusted key has signed, or that is another suite's, has no signatures.
    pub snapshots: Vec<Snapshot>,
    /// The suites that are still as the lock says them: their files, or keys to check them with, are not at hand.
    pub unchecked: Vec<Suite>,
}

/// Check the signed files of these snapshots that the store has, each with the keys of its own archive, as of the time `at`: keys that have ended since then
/// still count. Nothing is fetched, and a snapshot of a Python index, which nobody signs, is left as it is.
pub fn recheck(store: &Store, sources: &Sources, snapshots: &[Snapshot], at: Timestamp) -> Rechecked {
    let mut rechecked = Rechecked {
        snapshots: Vec::with_capacity(snapshots.len()),
        unchecked: Vec::new(),
    };
    for snapshot in snapshots {
        let mut checked = snapshot.clone();
        if let Snapshot::Debian {
            suite,
            digest,
            date,
            valid_until,
            signed_by,
            ..
        } = &mut checked
        {
            let keyring = Keyring::parse(sources.keys(*suite));
            match file_at_hand(store, &keyring, *suite, digest) {
                None => rechecked.unchecked.push(*suite),
                Some(file) => match read(&file, *suite, &keyring, at) {
                    None => signed_by.clear(),
                    Some(stated) => (*date, *valid_until, *signed_by) = stated,
                },
            }
        }
        rechecked.snapshots.push(checked);
    }
    rechecked
}

fn file_at_hand(store: &Store, keyring: &Keyring, suite: Suite, digest: &BlobDigest) -> Option<Vec<u8>> {
    if keyring.is_empty() {
        return None;
    }
    match store.read_blob(digest, INRELEASE_BYTES_MAX) {
        Ok(file) => Some(file),
        Err(ReadBlobError::Missing { .. }) => None,
        Err(error) => {
            tracing::warn!(%suite, ?error, "the signed index of a lock cannot be read and is not checked again");
            None
        }
    }
}

/// `Date`, `Valid-Until`, and who has signed.
type Stated = (Timestamp, Option<Timestamp>, Vec<String>);

fn read(file: &[u8], suite: Suite, keyring: &Keyring, at: Timestamp) -> Option<Stated> {
    let signed = verify(file, keyring, at)
        .inspect_err(|error| tracing::warn!(%suite, ?error, "the signed index of a lock is not trusted"))
        .ok()?;
    let release = release::parse(&signed.text, suite)
        .inspect_err(
            |error| tracing::warn!(%suite, ?error, "the signed index of a lock is not that of its suite"),
        )
        .ok()?;
    let signed_by = signed
        .signatures
        .into_iter()
        .map(|good| good.certificate)
        .collect();
    Some((release.date, release.valid_until, signed_by))
}
