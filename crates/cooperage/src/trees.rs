//! The unpacked layers of an image: what is mounted and built upon. Those that are not there are unpacked from their blobs.

use std::path::PathBuf;

use cooper_core::{BlobDigest, DiffId, LayerDigest};
use cooper_image::layer::{self, UnpackError};
use cooper_store::{Holds, ReadBlobError};
use serde::Deserialize;

use crate::record::KeptImage;
use crate::workshop::Workshop;

/// Why a layer is not there unpacked.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The image's manifest cannot be read, which names the layers' blobs.
    #[error("cannot read the manifest of the image")]
    Manifest(#[source] ReadBlobError),
    /// The image's manifest is none.
    #[error("the manifest of the image cannot be understood")]
    Document(#[source] serde_json::Error),
    /// The manifest names other layers than the record.
    #[error("the manifest does not name layer {layer}")]
    Unnamed {
        /// The layer.
        layer: DiffId,
    },
    /// The layer could not be unpacked.
    #[error("cannot unpack layer {layer}")]
    Unpack {
        /// The layer.
        layer: DiffId,
        /// Why.
        #[source]
        source: UnpackError,
    },
}

/// What is read of a manifest (OCI image specification, `manifest.md`).
#[derive(Deserialize)]
struct Layers {
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: LayerDigest,
}

const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// How often a tree is unpacked that is taken away before it can be held.
const TRIES_MAX: u32 = 5;

impl Workshop {
    /// The trees of an image's layers, the lowest first, held: no garbage collection takes one away.
    ///
    /// # Errors
    /// When one is not there and cannot be unpacked.
    pub(crate) fn hold_trees(&self, kept: &KeptImage, holds: &mut Holds) -> Result<Vec<PathBuf>, TreeError> {
        let mut blobs: Option<Vec<LayerDigest>> = None;
        let mut trees = Vec::with_capacity(kept.record.layers.len());
        for (number, layer) in kept.record.layers.iter().enumerate() {
            let unnamed = || TreeError::Unnamed { layer: *layer };
            let mut tree = holds.tree(&self.store, layer);
            for _ in 0..TRIES_MAX {
                if tree.is_some() {
                    break;
                }
                let known = blobs.take();
                let named = known.map_or_else(|| self.layer_blobs(kept), Ok)?;
                let blob = *named.get(number).ok_or_else(unnamed)?;
                blobs = Some(named);
                let unpacked = layer::tree(&self.store, &blob, layer);
                unpacked.map_err(|source| TreeError::Unpack {
                    layer: *layer,
                    source,
                })?;
                tree = holds.tree(&self.store, layer);
            }
            let gone = || TreeError::Unpack {
                layer: *layer,
                source: UnpackError::Gone { diff_id: *layer },
            };
            trees.push(tree.ok_or_else(gone)?);
        }
        Ok(trees)
    }

    /// The blobs of an image's layers, the lowest first.
    fn layer_blobs(&self, kept: &KeptImage) -> Result<Vec<LayerDigest>, TreeError> {
        let manifest = BlobDigest::from(kept.manifest);
        let bytes = self
            .store
            .read_blob(&manifest, MANIFEST_BYTES_MAX)
            .map_err(TreeError::Manifest)?;
        let layers: Layers = serde_json::from_slice(&bytes).map_err(TreeError::Document)?;
        Ok(layers.layers.into_iter().map(|layer| layer.digest).collect())
    }
}
