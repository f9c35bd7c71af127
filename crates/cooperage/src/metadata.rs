//! Whether a wheel says of itself what resolution believed of it.
//!
//! Resolution reads METADATA beside the wheel or out of its end, before the wheel is here. Whoever answers such
//! questions could answer them differently from what is in the wheel, and versions would be chosen by requirements that
//! nobody has.

use cooper_core::plan::PlannedPython;
use cooper_core::{BlobDigest, Digest};
use cooper_image::wheel;
use cooper_resolve::python::metadata_digest;
use cooper_store::ReadBlobError;

use crate::workshop::Workshop;

/// A wheel that is not what resolution took it for.
#[derive(Debug, thiserror::Error)]
#[error("{filename} does not say of itself what the index said of it: {reason}")]
pub struct OtherMetadata {
    filename: String,
    reason: String,
}

impl OtherMetadata {
    /// What to do.
    pub(crate) fn hint() -> String {
        "the wheel or the index is at fault: ask for another version, or use another index".to_owned()
    }
}

impl Workshop {
    /// Compare the METADATA of the wheels in the store with what a plan was made by. A plan that comes from a lock does
    /// not know that. What is damaged is passed over: whoever opens it for a layer finds that out.
    pub(crate) fn check_metadata(&self, python: &[PlannedPython]) -> Result<(), OtherMetadata> {
        for planned in python {
            let (Some(believed), Some(sha256)) = (planned.metadata, planned.sha256) else {
                continue;
            };
            self.check_one(planned, believed, &BlobDigest::new(sha256))?;
        }
        Ok(())
    }

    fn check_one(
        &self,
        planned: &PlannedPython,
        believed: Digest,
        blob: &BlobDigest,
    ) -> Result<(), OtherMetadata> {
        let file = self.store.open_blob(blob).ok();
        let Some(bytes) = file.and_then(|file| wheel::metadata_of(file).ok()) else {
            return Ok(());
        };
        let reason = match metadata_digest(&bytes, &planned.name, &planned.version) {
            Ok(own) if own == believed => return Ok(()),
            Ok(_) => "its `Requires-Dist` or its `Requires-Python` is another".to_owned(),
            Err(reason) => reason,
        };
        if let Err(ReadBlobError::Corrupted { .. }) = self.store.open_checked_blob(blob) {
            return Ok(());
        }
        Err(OtherMetadata {
            filename: planned.filename.clone(),
            reason,
        })
    }
}
