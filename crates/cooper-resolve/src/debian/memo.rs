//! Small values in the store's cache: serialised, checked for damage, lost without harm.

use cooper_core::Timestamp;
use cooper_store::Store;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Counts up when the form or the meaning of a kept value changes, or a solution would come out differently.
pub(super) const CODE_VERSION: u32 = 3;

fn versioned(key: &str) -> String {
    format!("{CODE_VERSION} {key}")
}

/// Keep a value. A store that cannot be written loses the value: it is a cache.
pub(super) fn keep<T: Serialize>(store: &Store, kind: &str, key: &str, value: &T) {
    let Ok(mut bytes) = serde_json::to_vec(value) else {
        return;
    };
    let crc = libdeflater::crc32(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    if let Err(error) = store.cache_put(kind, &versioned(key), &bytes) {
        tracing::debug!(kind, ?error, "cannot keep a value in the cache");
    }
}

/// What was kept, and when. Nothing if it is damaged.
pub(super) fn recall<T: DeserializeOwned>(store: &Store, kind: &str, key: &str) -> Option<(T, Timestamp)> {
    let cached = store.cache_get(kind, &versioned(key))?;
    let (json, crc) = cached.bytes.split_last_chunk::<4>()?;
    if libdeflater::crc32(json) != u32::from_le_bytes(*crc) {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, cached.stored_at))
}
