//! The three suites of a base: their `InRelease` files, fetched or reused, checked and recorded.
//!
//! A file that no trusted key has signed is an error here, and nothing of it is read. An expired one, or one
//! older than the newest seen, is recorded as that in its [`Snapshot`], and `cooper-gate` refuses it.

use cooper_core::base::{Base, Suite};
use cooper_core::plan::Snapshot;
use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, Digest, Timestamp};
use cooper_store::FetchBytes;
use serde::{Deserialize, Serialize};
use url::Url;

use super::error::DebianError;
use super::memo::{keep, recall};
use super::openpgp::{GoodSignature, Keyring, verify};
use super::release::{self, Release};
use crate::address::public;
use crate::context::Context;

/// The longest `InRelease` that is accepted; Debian 13's has 140 kB.
pub(super) const INRELEASE_BYTES_MAX: u64 = 4 << 20;
const INRELEASE: &str = "debian-inrelease";
/// The store's marks of the newest dates: this, and the suite.
const NEWEST: &str = "debian-newest";

/// A suite's index at one time: signed, read, perhaps expired or rolled back.
#[derive(Debug, Clone)]
pub(super) struct SuiteSnapshot {
    /// Which suite.
    pub(super) suite: Suite,
    /// What the signed file says.
    pub(super) signed: SignedRelease,
    /// The newest `Date` that this store has ever seen for this suite, whatever the mirror.
    pub(super) newest_seen: Timestamp,
}

/// A checked `InRelease`, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SignedRelease {
    /// The digest of the file.
    pub(super) digest: BlobDigest,
    /// The digest of the keys that it was checked with.
    keys: Digest,
    /// Where it came from.
    pub(super) url: Url,
    /// The good signatures.
    signatures: Vec<GoodSignature>,
    /// Its content.
    pub(super) release: Release,
}

impl SuiteSnapshot {
    /// As evidence for a plan.
    pub(super) fn evidence(&self) -> Snapshot {
        Snapshot::Debian {
            suite: self.suite,
            digest: self.signed.digest,
            date: self.signed.release.date,
            valid_until: self.signed.release.valid_until,
            signed_by: self
                .signed
                .signatures
                .iter()
                .map(|good| good.certificate.clone())
                .collect(),
            newest_seen: self.newest_seen,
        }
    }
}

/// Get the snapshots of a base's suites, in the order of [`Base::suites`].
pub(super) fn snapshots(context: &Context, base: Base) -> Result<Vec<SuiteSnapshot>, DebianError> {
    let mut kept: Vec<(Suite, Option<SuiteSnapshot>)> = Vec::new();
    for suite in context.sources.suites(base) {
        if context.sources.mirrors(suite).is_empty() {
            return Err(DebianError::NoMirror { suite });
        }
        let fresh = recall_release(context, suite).filter(|kept| is_fresh(context, kept));
        if fresh.is_none() && context.freshness.offline {
            return Err(DebianError::Offline { suite });
        }
        let fresh = fresh.map(|(signed, _)| record_newest(context, suite, signed));
        kept.push((suite, fresh.transpose()?));
    }
    fetch_missing(context, kept)
}

/// Fetch what is not there, all at the same time.
fn fetch_missing(
    context: &Context,
    kept: Vec<(Suite, Option<SuiteSnapshot>)>,
) -> Result<Vec<SuiteSnapshot>, DebianError> {
    if kept.iter().all(|(_, snapshot)| snapshot.is_some()) {
        return Ok(kept.into_iter().filter_map(|(_, snapshot)| snapshot).collect());
    }
    let fetch = |suite| {
        let keyring = Keyring::parse(context.sources.keys(suite));
        if keyring.is_empty() {
            return Err(DebianError::NoKeys { suite });
        }
        let signed = fetch(context, suite, &keyring)?;
        record_newest(context, suite, signed)
    };
    std::thread::scope(|scope| {
        let start = |(suite, snapshot): (Suite, Option<SuiteSnapshot>)| {
            let fetch = &fetch;
            snapshot.ok_or_else(|| scope.spawn(move || fetch(suite)))
        };
        let started: Vec<_> = kept.into_iter().map(start).collect();
        let finish = |snapshot: Result<SuiteSnapshot, std::thread::ScopedJoinHandle<_>>| match snapshot {
            Ok(snapshot) => Ok(snapshot),
            // A panic in a thread is a panic of this operation.
            Err(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        };
        started.into_iter().map(finish).collect()
    })
}

/// Fetch one suite's file from the first mirror that has a good one.
fn fetch(context: &Context, suite: Suite, keyring: &Keyring) -> Result<SignedRelease, DebianError> {
    context
        .progress
        .detail(Stage::Resolve, format!("index of {suite}"));
    let mut failure = DebianError::NoMirror { suite };
    for mirror in context.sources.mirrors(suite) {
        let url = below(mirror, &format!("dists/{}/InRelease", suite.distribution()));
        match fetch_from(context, suite, &url, keyring) {
            Ok(signed) => {
                keep(context.store, INRELEASE, &release_key(context, suite), &signed);
                return Ok(signed);
            }
            // A wrong signature says more than a mirror that is down.
            Err(error @ DebianError::Fetch { .. }) if matches!(failure, DebianError::Signature { .. }) => {
                tracing::debug!(%suite, ?error, "mirror failed");
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn fetch_from(
    context: &Context,
    suite: Suite,
    url: &Url,
    keyring: &Keyring,
) -> Result<SignedRelease, DebianError> {
    let request = FetchBytes {
        urls: vec![url.clone()],
        bytes_max: INRELEASE_BYTES_MAX,
        accept: None,
        label: format!("index of {suite}"),
    };
    let fetched = context
        .intake
        .fetch_bytes(&request)
        .map_err(|source| DebianError::Fetch {
            suite,
            url: Box::new(public(url)),
            kept: recall::<SignedRelease>(context.store, INRELEASE, &release_key(context, suite))
                .map(|kept| kept.1),
            source: Box::new(source),
        })?;
    if let Some(expected) = pinned(context, suite)
        && expected != Digest::of(&fetched.bytes)
    {
        return Err(DebianError::Pinned {
            suite,
            url: Box::new(public(url)),
            expected,
            found: Digest::of(&fetched.bytes),
        });
    }
    let signed =
        verify(&fetched.bytes, keyring, context.clock.now()).map_err(|source| DebianError::Signature {
            suite,
            url: Box::new(public(url)),
            source,
        })?;
    let release = release::parse(&signed.text, suite).map_err(|source| DebianError::Release {
        suite,
        url: Box::new(public(url)),
        source,
    })?;
    let digest = context.store.put_blob(&fetched.bytes);
    let digest = digest.map_err(|source| DebianError::Store {
        suite,
        source: Box::new(source),
    })?;
    Ok(SignedRelease {
        digest,
        keys: digest_of_keys(context.sources.keys(suite)),
        url: public(url),
        signatures: signed.signatures,
        release,
    })
}

/// What is kept of a suite, if it was checked with the keys that are trusted now and the signatures still hold.
fn recall_release(context: &Context, suite: Suite) -> Option<(SignedRelease, Timestamp)> {
    let (mut kept, stored_at): (SignedRelease, _) =
        recall(context.store, INRELEASE, &release_key(context, suite))?;
    let now = context.clock.now();
    kept.signatures
        .retain(|good| good.until.is_none_or(|until| until > now));
    let same_keys = kept.keys == digest_of_keys(context.sources.keys(suite));
    let wanted = pinned(context, suite).is_none_or(|expected| expected == *kept.digest.digest());
    (same_keys && wanted && !kept.signatures.is_empty()).then_some((kept, stored_at))
}

/// The digest of the only `InRelease` of this suite that is taken.
fn pinned(context: &Context, suite: Suite) -> Option<Digest> {
    context.sources.source(suite)?.in_release
}

fn is_fresh(context: &Context, (kept, stored_at): &(SignedRelease, Timestamp)) -> bool {
    let (freshness, now) = (context.freshness, context.clock.now());
    if freshness.offline {
        return true;
    }
    let valid = kept.release.valid_until.is_none_or(|until| until > now);
    valid && freshness.holds(*stored_at, now)
}

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Note the newest date that was ever seen of a suite, under the codename that the signed file states: parsing it has
/// found that it is this suite's. Neither another mirror nor an empty cache makes an old state new.
fn record_newest(
    context: &Context,
    suite: Suite,
    signed: SignedRelease,
) -> Result<SuiteSnapshot, DebianError> {
    let (mark, date) = (mark_name(suite), signed.release.date);
    let failed = |source| DebianError::Newest {
        suite,
        source: Box::new(source),
    };
    let before = context.store.mark(&mark).map_err(failed)?;
    // A date that has not come yet would shut out every index until then.
    let has_come = date.as_second() - context.clock.now().as_second() < DAY_SECONDS;
    let newest_seen = match before {
        Some(before) if before >= date => before,
        _ if has_come => context.store.raise_mark(&mark, date).map_err(failed)?,
        _ => date,
    };
    Ok(SuiteSnapshot {
        suite,
        signed,
        newest_seen,
    })
}

/// What a suite's mark is called: a plain name, whatever the suite of a source is called.
fn mark_name(suite: Suite) -> String {
    match suite.source() {
        None => format!("{NEWEST}-{suite}"),
        Some(of) => {
            let digest = Digest::of(suite.to_string().as_bytes()).hex();
            format!("{NEWEST}-{}.{}", of.source(), &digest[..32])
        }
    }
}

/// A suite at certain mirrors.
fn release_key(context: &Context, suite: Suite) -> String {
    let mirrors = context.sources.mirrors(suite).iter().map(Url::as_str);
    std::iter::once(suite.to_string().as_str())
        .chain(mirrors)
        .collect::<Vec<_>>()
        .join(" ")
}

fn digest_of_keys(files: &[Vec<u8>]) -> Digest {
    let digests: Vec<String> = files.iter().map(|file| Digest::of(file).hex()).collect();
    Digest::of(digests.join(" ").as_bytes())
}

/// The address of a path below a mirror's root.
pub(super) fn below(mirror: &Url, path: &str) -> Url {
    let mut url = mirror.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_go_below_a_mirror_with_or_without_a_slash() {
        for root in ["http://mirror.test/debian", "http://mirror.test/debian/"] {
            let url = below(&root.parse().unwrap(), "pool/g++_4%3a1~b+1.deb");
            assert_eq!(url.as_str(), "http://mirror.test/debian/pool/g++_4%253a1~b+1.deb");
        }
    }
}
