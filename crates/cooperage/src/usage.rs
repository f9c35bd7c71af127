//! What images take of the disk.

use cooper_core::{ImagePattern, Progress};
use cooper_store::DiskUse;

use crate::inspect::InspectError;
use crate::record::FullReference;
use crate::workshop::{LookupError, Workshop};

/// What one image takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// `ORGANISATION/NAME:VERSION.N`
    pub image: FullReference,
    /// What no other version keeps: what would go if this one alone was removed.
    pub own: DiskUse,
    /// What other versions keep, too.
    pub shared: DiskUse,
}

/// What the store takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The images that were asked for, the one with most of its own first.
    pub images: Vec<ImageUse>,
    /// All blobs and unpacked layers, each once.
    pub total: DiskUse,
    /// Those of them that no version keeps: a collection frees them, as far as nobody uses them.
    pub unnamed: DiskUse,
    /// What is cached.
    pub cache_bytes: u64,
}

impl Workshop {
    /// What images take of the disk, and the store as a whole. The pattern is over `ORGANISATION/NAME:TAG`.
    ///
    /// # Errors
    /// When a record cannot be read.
    pub fn usage(&self, pattern: Option<&ImagePattern>, progress: &Progress) -> Result<Usage, InspectError> {
        let usage = self.store.usage(progress).map_err(|source| LookupError::Store {
            name: "refs".to_owned(),
            source,
        })?;
        let mut images: Vec<ImageUse> = usage
            .names
            .into_iter()
            .map(|name| ImageUse {
                image: FullReference {
                    organisation: name.organisation,
                    name: name.name,
                    tag: name.tag,
                },
                own: name.own,
                shared: name.shared,
            })
            .filter(|image| pattern.is_none_or(|pattern| pattern.matches(&image.image.to_string())))
            .collect();
        images.sort_by(|a, b| {
            let own = b.own.bytes().cmp(&a.own.bytes());
            own.then_with(|| a.image.cmp(&b.image))
        });
        Ok(Usage {
            images,
            total: usage.total,
            unnamed: usage.unnamed,
            cache_bytes: usage.cache_bytes,
        })
    }
}
