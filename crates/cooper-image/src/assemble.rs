//! From a cleared lock to an image: the layers, each built once and remembered, then configuration and manifest.

use std::path::PathBuf;

use cooper_core::lock::Recipe;
use cooper_core::progress::Stage;
use cooper_core::{ConfigDigest, DiffId, Digest, LayerDigest, LockContent, ManifestDigest, Progress};
use cooper_gate::Cleared;
use cooper_store::{Store, TreeStage};
use serde::{Deserialize, Serialize};

use crate::debian_layer::DebianLayer;
use crate::error::AssembleError;
use crate::fast_paths::Scripts;
use crate::inventory::{Inventory, InventoryPackage};
use crate::layer::{self, LayerKind};
use crate::oci::{self, Layer};
use crate::python_layer::PythonLayer;

/// A whole image in the store, without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest: what a tag points at.
    pub manifest: ManifestDigest,
    /// The configuration.
    pub config: ConfigDigest,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
    /// What is inside.
    pub inventory: Inventory,
    /// Bytes of the manifest, the configuration and the compressed layers.
    pub size_bytes: u64,
}

/// What a layer builder gets beside its artefacts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bench<'a> {
    /// Artefacts, trees, blobs.
    pub(crate) store: &'a Store,
    /// Compression.
    pub(crate) recipe: Recipe,
    /// How maintainer scripts are run.
    pub(crate) scripts: Scripts,
    /// Where events go.
    pub(crate) progress: &'a Progress,
}

/// A built layer with what is inside; kept in the store's cache under the digest of its ingredients.
#[derive(Debug, Clone)]
pub(crate) struct BuiltLayer {
    /// The layer.
    pub(crate) layer: Layer,
    /// Its packages.
    pub(crate) packages: Vec<InventoryPackage>,
}

/// [`BuiltLayer`] as it is kept.
#[derive(Serialize, Deserialize)]
struct RememberedLayer {
    diff_id: DiffId,
    digest: LayerDigest,
    size: u64,
    newest_mtime: i64,
    packages: Vec<InventoryPackage>,
}

/// Assemble the image of a cleared lock; every artefact of it must be in the store.
///
/// # Errors
/// When an artefact is not what it should be, a maintainer script fails, or the store cannot be written.
/// Nothing of a failed assembly can be reached by a name.
pub fn assemble(
    cleared: &Cleared,
    store: &Store,
    scripts: Scripts,
    progress: &Progress,
) -> Result<Image, AssembleError> {
    let content = &cleared.lock().content;
    check_recipe(content)?;
    let bench = Bench {
        store,
        recipe: content.recipe,
        scripts,
        progress,
    };
    let base = bench.layer("base", &[], &content.base, |lower| {
        DebianLayer {
            role: "base",
            base: content.base.name,
            artefacts: &content.base.packages,
            lower,
        }
        .build(bench)
    })?;
    // Both stand on the base alone.
    let lower = [base.layer.diff_id];
    let (os, python) = std::thread::scope(|scope| {
        let os = (!content.packages.is_empty()).then(|| {
            scope.spawn(|| {
                bench.layer("os", &lower, &content.packages, |lower| {
                    DebianLayer {
                        role: "os",
                        base: content.base.name,
                        artefacts: &content.packages,
                        lower,
                    }
                    .build(bench)
                })
            })
        });
        let python = (!content.python.is_empty()).then(|| {
            bench.layer("python", &lower, &content.python, |lower| {
                PythonLayer {
                    base: content.base.name,
                    artefacts: &content.python,
                    lower,
                }
                .build(bench)
            })
        });
        let os = os.map(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        (os, python)
    });
    let (os, python) = (os.transpose()?, python.transpose()?);
    write_image(
        content,
        [Some(base), os, python].into_iter().flatten().collect(),
        store,
    )
}

fn check_recipe(content: &LockContent) -> Result<(), AssembleError> {
    let known = Recipe::default().version;
    let found = content.recipe.version;
    if found == known {
        Ok(())
    } else {
        Err(AssembleError::Recipe { found, known })
    }
}

impl Bench<'_> {
    /// The layer of these ingredients: the remembered one while its blob and tree are there, else a new one.
    /// One process builds, the others wait for it.
    fn layer(
        self,
        role: &'static str,
        lower: &[DiffId],
        ingredients: &impl Serialize,
        make: impl FnOnce(&[PathBuf]) -> Result<BuiltLayer, AssembleError>,
    ) -> Result<BuiltLayer, AssembleError> {
        let json = |source| AssembleError::Json { role, source };
        let key = serde_json::to_vec(&(role, self.recipe, lower, ingredients)).map_err(json)?;
        let mut key = Digest::of(&key).hex();
        if self.scripts == Scripts::AsShipped {
            // Who wants it made so is not served what was made otherwise.
            key.push_str("-as-shipped");
        }
        if let Some(known) = self.remembered(role, &key) {
            return Ok(known);
        }
        let _one_at_a_time = self
            .store
            .lock(&format!("layer-{key}"))
            .map_err(AssembleError::Lock)?;
        if let Some(known) = self.remembered(role, &key) {
            return Ok(known);
        }
        let trees: Vec<PathBuf> = lower
            .iter()
            .rev()
            .filter_map(|layer| self.store.tree(layer))
            .collect();
        let built = make(&trees)?;
        let Layer {
            diff_id,
            digest,
            size,
            newest_mtime,
            ..
        } = built.layer;
        let remembered = RememberedLayer {
            diff_id,
            digest,
            size,
            newest_mtime,
            packages: built.packages.clone(),
        };
        let bytes = serde_json::to_vec(&remembered).map_err(json)?;
        self.store
            .cache_put("layer", &key, &bytes)
            .map_err(AssembleError::Write)?;
        Ok(built)
    }

    fn remembered(self, role: &'static str, key: &str) -> Option<BuiltLayer> {
        let cached = self.store.cache_get("layer", key)?;
        let known: RememberedLayer = serde_json::from_slice(&cached.bytes).ok()?;
        let RememberedLayer {
            diff_id,
            digest,
            size,
            newest_mtime,
            packages,
        } = known;
        let whole = self.store.contains(&digest.into()) && self.store.tree(&diff_id).is_some();
        whole.then_some(BuiltLayer {
            layer: Layer {
                role,
                diff_id,
                digest,
                size,
                newest_mtime,
            },
            packages,
        })
    }
}

fn write_image(content: &LockContent, built: Vec<BuiltLayer>, store: &Store) -> Result<Image, AssembleError> {
    let mut inventory = Inventory::default();
    let mut layers = Vec::new();
    for BuiltLayer { layer, packages } in built {
        let list = if layer.role == "python" {
            &mut inventory.python
        } else {
            &mut inventory.debian
        };
        list.extend(packages);
        layers.push(layer);
    }
    inventory.debian.sort();
    inventory.python.sort();
    let base = content.base.name;
    let config = oci::config(base, &layers).map_err(|source| AssembleError::Json {
        role: "configuration",
        source,
    })?;
    let manifest = oci::manifest(base, &config, &layers).map_err(|source| AssembleError::Json {
        role: "manifest",
        source,
    })?;
    store.put_blob(&config).map_err(AssembleError::Write)?;
    store.put_blob(&manifest).map_err(AssembleError::Write)?;
    let layer_bytes: u64 = layers.iter().map(|layer| layer.size).sum();
    Ok(Image {
        manifest: ManifestDigest::of(&manifest),
        config: ConfigDigest::of(&config),
        layers,
        inventory,
        size_bytes: layer_bytes + (config.len() + manifest.len()) as u64,
    })
}

impl Bench<'_> {
    /// Settle the times of a finished tree, pack it, and keep tree and blob.
    ///
    /// Nothing in the layer is newer than `newest_mtime`, the newest file of its artefacts, and directories have
    /// exactly that time: what a build step touched and when is not in the bytes.
    pub(crate) fn keep(
        self,
        role: &'static str,
        stage: TreeStage,
        kind: LayerKind,
        newest_mtime: i64,
    ) -> Result<Layer, AssembleError> {
        let failed = |source| AssembleError::Pack { role, source };
        self.progress.started(Stage::Pack, 0, 0);
        self.progress.detail(Stage::Pack, format!("{role} layer"));
        layer::settle_mtimes(&stage.root(), newest_mtime).map_err(failed)?;
        let packed =
            layer::pack(&stage.root(), kind, &self.recipe.compression, self.store).map_err(failed)?;
        stage.commit(&packed.diff_id).map_err(AssembleError::Stage)?;
        self.progress.finished(Stage::Pack);
        Ok(Layer {
            role,
            diff_id: packed.diff_id,
            digest: packed.digest,
            size: packed.size,
            newest_mtime,
        })
    }
}
