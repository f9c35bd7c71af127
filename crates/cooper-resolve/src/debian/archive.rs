//! A suite's packages: fetched as the signed release file lists them, kept in compact form.
//!
//! The compact form is kept under the digest of the uncompressed list, so that a new release file that lists
//! the same packages costs nothing.

use std::sync::Arc;

use cooper_core::base::Suite;
use cooper_core::progress::Stage;
use cooper_store::{FetchBlob, FetchBytes, FetchError};
use url::Url;

use super::error::DebianError;
use super::index::{IndexBuilder, PackageIndex};
use super::release::{Form, ListedFile, Release, packages};
use super::snapshot::{SuiteSnapshot, below};
use super::unpack::{UnpackError, unpack};
use crate::address::public;
use crate::context::Context;

const KIND: &str = "debian-packages";
/// The largest compressed list that is accepted; Debian 13's has 13 MB.
const COMPRESSED_BYTES_MAX: u64 = 256 << 20;
/// Counts up when the compact form changes.
const FORMAT: u32 = 3;

/// Whether what is kept may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// As long as it is whole.
    Kept,
    /// No: a stanza in it was found damaged.
    Nothing,
}

/// Open the package lists of all suites, making those that are missing, several at the same time.
pub(super) fn open(
    context: &Context,
    snapshots: &[SuiteSnapshot],
    reuse: Reuse,
) -> Result<Vec<(Suite, PackageIndex)>, DebianError> {
    let kept: Vec<Option<PackageIndex>> = snapshots
        .iter()
        .map(|snapshot| recall(context, snapshot).filter(|_| reuse == Reuse::Kept))
        .collect();
    std::thread::scope(|scope| {
        let indexes: Vec<_> = snapshots
            .iter()
            .zip(kept)
            .map(|(snapshot, kept)| match kept {
                Some(index) => Ok((snapshot.suite, index)),
                None => Err(scope.spawn(move || make(context, snapshot))),
            })
            .collect();
        let finish = |index| match index {
            Ok(index) => Ok(index),
            // A panic in a thread is a panic of this operation.
            Err(thread) => {
                std::thread::ScopedJoinHandle::join(thread).unwrap_or_else(|it| std::panic::resume_unwind(it))
            }
        };
        indexes.into_iter().map(finish).collect()
    })
}

fn key(snapshot: &SuiteSnapshot) -> String {
    format!("{FORMAT} {}", snapshot.signed.release.index.sha256)
}

fn recall(context: &Context, snapshot: &SuiteSnapshot) -> Option<PackageIndex> {
    let file = context.store.cache_file(KIND, &key(snapshot))?;
    match PackageIndex::open(file) {
        Ok(index) => Some(index),
        Err(error) => {
            tracing::warn!(suite = %snapshot.suite, ?error, "the kept packages are damaged and are made anew");
            None
        }
    }
}

/// Fetch, unpack, check, build and keep.
fn make(context: &Context, snapshot: &SuiteSnapshot) -> Result<(Suite, PackageIndex), DebianError> {
    let (suite, release) = (snapshot.suite, &snapshot.signed.release);
    let unpack_error = |source| DebianError::Unpack { suite, source };
    let mut builder = IndexBuilder::new(usize::try_from(release.index.size).unwrap_or(0));
    let mut built = Ok(());
    if let Some((bytes, form)) = compressed(context, snapshot, release)? {
        let unpacked = unpack(&bytes, form, release.index, |piece| {
            if built.is_ok() {
                built = builder.feed(piece);
            }
        });
        unpacked.map_err(unpack_error)?;
    }
    let built = built.and_then(|()| builder.finish());
    let compact = Arc::new(built.map_err(|source| DebianError::Index { suite, source })?);
    let index = PackageIndex::from_shared(Arc::clone(&compact));
    let index = index.map_err(|source| DebianError::Damaged { suite, source })?;
    let (store, key) = (context.store.clone(), key(snapshot));
    context.later.run(move || {
        if let Err(error) = store.cache_put(KIND, &key, &compact) {
            tracing::debug!(%suite, ?error, "cannot keep the packages in the cache");
        }
    });
    Ok((suite, index))
}

/// The compressed list and its form; nothing for an empty one.
fn compressed(
    context: &Context,
    snapshot: &SuiteSnapshot,
    release: &Release,
) -> Result<Option<(Vec<u8>, Form)>, DebianError> {
    let suite = snapshot.suite;
    let unpack_error = |source| DebianError::Unpack { suite, source };
    if release.index.size == 0 {
        return Ok(None);
    }
    let Some((form, file)) = release.forms.first().copied() else {
        return Err(DebianError::Release {
            suite,
            url: Box::new(snapshot.signed.url.clone()),
            source: super::release::ParseReleaseError::NoIndex {
                path: packages(suite),
            },
        });
    };
    if file.size > COMPRESSED_BYTES_MAX {
        return Err(unpack_error(UnpackError::TooLarge { size: file.size }));
    }
    let urls = addresses(context, suite, release, form, file);
    let url = urls.first().cloned().ok_or(DebianError::NoMirror { suite })?;
    context
        .progress
        .detail(Stage::Resolve, format!("packages of {suite}"));
    let request = FetchBlob {
        urls,
        digest: file.sha256,
        size: file.size,
        label: format!("packages of {suite}"),
    };
    let fetch_error = |source| DebianError::Fetch {
        suite,
        url: Box::new(public(&url)),
        kept: None,
        source: Box::new(source),
    };
    let bytes = fetched(context, &request).map_err(fetch_error)?;
    Ok(Some((bytes, form)))
}

/// The compressed list from the store, fetched where it is not there. A damaged copy there is passed over; what
/// is fetched instead is checked by what it unpacks to.
pub(super) fn fetched(context: &Context, request: &FetchBlob) -> Result<Vec<u8>, FetchError> {
    let blob = context.intake.fetch_blob(context.store, request, &|_| {})?;
    match context.store.read_blob(&blob, request.size) {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            tracing::warn!(%blob, ?error, "the store's copy is damaged and is passed over");
            let FetchBlob {
                urls, size, label, ..
            } = request.clone();
            let again = FetchBytes {
                urls,
                bytes_max: size,
                accept: None,
                label,
            };
            context.intake.fetch_bytes(&again).map(|fetched| fetched.bytes)
        }
    }
}

/// Where a form of the list may be: under its digest at every mirror, then under its name.
fn addresses(context: &Context, suite: Suite, release: &Release, form: Form, file: ListedFile) -> Vec<Url> {
    let mirrors = context.sources.mirrors(suite);
    let (suite, packages) = (suite.distribution(), packages(suite));
    let folder = packages.rsplit_once('/').map_or("", |(folder, _)| folder);
    let by_hash = format!("dists/{suite}/{folder}/by-hash/SHA256/{}", file.sha256.hex());
    let by_name = format!("dists/{suite}/{packages}{}", form.suffix());
    let by_hash = mirrors
        .iter()
        .filter(|_| release.by_hash)
        .map(|mirror| below(mirror, &by_hash));
    by_hash
        .chain(mirrors.iter().map(|mirror| below(mirror, &by_name)))
        .collect()
}
