//! Many blobs at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use cooper_core::progress::Stage;
use cooper_core::{BlobDigest, Progress};

use super::exchange::Cancel;
use super::{FetchBlob, FetchError, Intake};
use crate::store::Store;

impl Intake {
    /// Fetch every blob that the store does not have, several at once, the largest first. The first failure
    /// cancels the others and is the result; what was whole by then stays in the store.
    ///
    /// Tells `progress` of [`Stage::Download`]: begun with the number and bytes that are missing, and its end.
    pub fn fetch_blobs(
        &self,
        store: &Store,
        fetches: Vec<FetchBlob>,
        progress: &Progress,
    ) -> Result<(), FetchError> {
        let missing = missing(store, fetches);
        if missing.is_empty() {
            return Ok(());
        }
        progress.started(
            Stage::Download,
            missing.len() as u64,
            missing.iter().map(|fetch| fetch.size).sum(),
        );
        let batch = Batch::new(self, store, &missing, progress);
        std::thread::scope(|scope| {
            for _ in 0..self.config().connections_max.clamp(1, missing.len()) {
                scope.spawn(|| batch.work());
            }
        });
        progress.finished(Stage::Download);
        match batch.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// What is not in the store, each once, the largest first.
fn missing(store: &Store, fetches: Vec<FetchBlob>) -> Vec<FetchBlob> {
    let mut seen = BTreeSet::new();
    let needed = |fetch: &FetchBlob| {
        let digest = BlobDigest::new(fetch.digest);
        let present = || store.blob_size(&digest) == Some(fetch.size) && store.renew_blob(&digest);
        seen.insert(fetch.digest) && !present()
    };
    let mut missing: Vec<FetchBlob> = fetches.into_iter().filter(needed).collect();
    missing.sort_by(|one, other| {
        other
            .size
            .cmp(&one.size)
            .then_with(|| one.digest.cmp(&other.digest))
    });
    missing
}

struct Batch<'a> {
    intake: &'a Intake,
    store: &'a Store,
    missing: &'a [FetchBlob],
    progress: &'a Progress,
    next: AtomicUsize,
    cancel: Cancel,
    failed: Mutex<Option<FetchError>>,
}

impl<'a> Batch<'a> {
    fn new(intake: &'a Intake, store: &'a Store, missing: &'a [FetchBlob], progress: &'a Progress) -> Self {
        Self {
            intake,
            store,
            missing,
            progress,
            next: AtomicUsize::new(0),
            cancel: Cancel::default(),
            failed: Mutex::new(None),
        }
    }

    fn work(&self) {
        while let Some(fetch) = self.missing.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if self.cancel.is_set() {
                return;
            }
            self.progress.detail(Stage::Download, fetch.label.as_str());
            let more = |bytes| self.progress.advanced(Stage::Download, 0, bytes);
            match self
                .intake
                .fetch_blob_until(self.store, fetch, &more, &self.cancel)
            {
                Ok(_) => self.progress.advanced(Stage::Download, 1, 0),
                Err(error) => return self.fail(error),
            }
        }
    }

    /// The first failure is the reason; those that come because of it are not.
    fn fail(&self, error: FetchError) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none() {
            *failed = Some(error);
        }
        self.cancel.set();
    }
}
