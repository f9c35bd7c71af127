//! Whether the store is whole.

use cooper_core::{Progress, Timestamp};
use cooper_gate::Sighting;
use cooper_image::layer::{self, LayerKind};
use cooper_store::{FsckError, FsckOptions, FsckReport};

use crate::record::ImageRecord;
use crate::workshop::Workshop;
use crate::{first_seen, waivers};

impl Workshop {
    /// Check every blob, tree and name. With `repair`, damaged blobs are set aside, so that the next create
    /// fetches or makes them again.
    ///
    /// # Errors
    /// When the store cannot be read at all; damage is in the report.
    pub fn fsck(&self, repair: bool, progress: &Progress) -> Result<FsckReport, FsckError> {
        let tree_check = |root: &std::path::Path, expected: &cooper_core::DiffId| match layer::diff_id(
            root,
            LayerKind::OverlayUpper,
        ) {
            Ok(found) if found == *expected => Ok(()),
            Ok(found) => Err(format!("its contents have the diff id {found}")),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
                Err(format!("{error}{}", cause.unwrap_or_default()))
            }
        };
        let record_check = |details: &serde_json::Value| {
            let ours = serde_json::from_value::<ImageRecord>(details.clone());
            ours.map(drop)
                .map_err(|error| format!("it is not the record of an image: {error}"))
        };
        let ledger_check = |name: &str, line: &[u8]| match name {
            waivers::LEDGER => waivers::is_line(line),
            first_seen::LEDGER => Sighting::parse(line).is_some(),
            _ => false,
        };
        self.store.fsck(
            &FsckOptions {
                ledger_check: Some(&ledger_check),
                repair,
                record_check: Some(&record_check),
                tree_check: Some(&tree_check),
            },
            progress,
        )
    }

    /// The present time, as the workshop sees it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
