//! From a cleared lock to an image: the layers, each built once and remembered, then configuration and manifest.

use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;
use std::thread::ScopedJoinHandle;

use cooper_core::lock::{DebianArtefact, PythonArtefact, Recipe};
use cooper_core::progress::Stage;
use cooper_core::{
    Base, ConfigDigest, DiffId, Digest, LayerDigest, LockContent, ManifestDigest, MissingLibrary, Progress,
};
use cooper_gate::{Cleared, Refusal};
use cooper_store::{Store, StoreLock, TreeStage};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::deb::Copyright;
use crate::debian_layer::DebianLayer;
use crate::error::AssembleError;
use crate::fast_paths::Scripts;
use crate::inventory::{Inventory, InventoryPackage};
use crate::layer::{self, LayerKind, PackedLayer};
use crate::libraries::{self, LayerLibraries};
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

/// What a Debian package's own archive says of its licence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebianCopyright<'a> {
    /// The package.
    pub artefact: &'a DebianArtefact,
    /// Its copyright file.
    pub copyright: Copyright,
}

/// Judges Debian packages that were read, before anything of them is run: what it refuses ends the assembly.
pub type JudgeDebian<'a> = &'a (dyn Fn(&[DebianCopyright<'_>]) -> Result<(), Refusal> + Sync);

/// What a layer builder gets beside its artefacts.
#[derive(Clone, Copy)]
pub(crate) struct Bench<'a> {
    /// Artefacts, trees, blobs.
    pub(crate) store: &'a Store,
    /// Compression.
    pub(crate) recipe: Recipe,
    /// How maintainer scripts are run.
    pub(crate) scripts: Scripts,
    /// Who judges what only the packages tell.
    pub(crate) judge: JudgeDebian<'a>,
    /// Where events go.
    pub(crate) progress: &'a Progress,
}

/// The layers that others stand on.
struct Lower {
    key: String,
    /// Their trees, the top one first; a tree gets another name when it is kept.
    roots: Vec<OwnedFd>,
}

impl Lower {
    fn paths(&self) -> Vec<PathBuf> {
        let path = |root: &OwnedFd| PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd()));
        self.roots.iter().map(path).collect()
    }

    /// The same with the layers of an image on top, the lowest first. An image without layers changes nothing.
    fn with(mut self, layers: &[KeptLayer], store: &Store) -> Result<Self, AssembleError> {
        for KeptLayer { key, built } in layers {
            let both = serde_json::to_vec(&(&self.key, key));
            let both = both.map_err(|source| AssembleError::Json {
                role: built.layer.role,
                source,
            })?;
            self.key = Digest::of(&both).hex();
            let Layer {
                role,
                digest,
                diff_id,
                ..
            } = &built.layer;
            let path = layer::tree(store, digest, diff_id);
            let path = path.map_err(|source| AssembleError::Unpack { role, source })?;
            self.roots.insert(0, open_tree(path, role)?);
        }
        Ok(self)
    }
}

/// A layer that is in the store.
struct KeptLayer {
    /// The digest of its ingredients.
    key: String,
    built: BuiltLayer,
}

/// What one image adds to what is below it.
#[derive(Clone, Copy)]
struct Level<'a> {
    base: Base,
    packages: &'a [DebianArtefact],
    python: &'a [PythonArtefact],
    /// The digest of the packages whose interpreter compiles: with it, the same source gives the same bytecode.
    interpreter: Digest,
}

/// A layer whose tree is finished and can be built upon.
struct FinishedLayer {
    role: &'static str,
    /// The digest of its ingredients.
    key: String,
    state: State,
}

enum State {
    /// It was there.
    Kept(BuiltLayer),
    /// It is to be packed. Others who want it wait for the lock.
    New { made: Made, one_at_a_time: StoreLock },
}

/// What a layer builder gives.
pub(crate) enum Made {
    /// A tree that is to be packed.
    Tree(FinishedTree),
    /// A layer that is in the store already, without its tree.
    Joined(JoinedLayer),
}

/// A layer of wheels.
pub(crate) struct JoinedLayer {
    /// The layer.
    pub(crate) packed: PackedLayer,
    /// Its packages.
    pub(crate) packages: Vec<InventoryPackage>,
    /// What the machine code of its wheels asks for.
    pub(crate) libraries: LayerLibraries,
}

/// A tree and what is inside.
pub(crate) struct FinishedTree {
    /// The tree; nothing is written to it any more.
    pub(crate) stage: TreeStage,
    /// What the tree is.
    pub(crate) kind: LayerKind,
    /// The newest file of the layer's artefacts, in seconds since 1970. Nothing in the layer is newer, and directories
    /// have exactly that time: what a build step touched and when is not in the bytes.
    pub(crate) newest_mtime: i64,
    /// Its packages.
    pub(crate) packages: Vec<InventoryPackage>,
}

/// A built layer with what is inside; kept in the store's cache under the digest of its ingredients.
#[derive(Debug, Clone)]
pub(crate) struct BuiltLayer {
    /// The layer.
    pub(crate) layer: Layer,
    /// Its packages.
    pub(crate) packages: Vec<InventoryPackage>,
    /// What the machine code of its wheels asks for; none for a layer of other things.
    pub(crate) libraries: Option<LayerLibraries>,
}

/// [`BuiltLayer`] as it is kept.
#[derive(Serialize, Deserialize)]
struct RememberedLayer {
    diff_id: DiffId,
    digest: LayerDigest,
    size: u64,
    newest_mtime: i64,
    packages: Vec<InventoryPackage>,
    #[serde(default)]
    libraries: Option<LayerLibraries>,
}

/// Assemble the image of a cleared lock; every artefact of it must be in the store. The packages of each layer that is
/// built are shown to `judge` before anything of them is run; a layer that is there already is not.
///
/// # Errors
/// When an artefact is not what it should be or is refused, a maintainer script fails, or the store cannot be written.
/// Nothing of a failed assembly can be reached by a name.
pub fn assemble(
    cleared: &Cleared,
    store: &Store,
    scripts: Scripts,
    judge: JudgeDebian<'_>,
    progress: &Progress,
) -> Result<Image, AssembleError> {
    let content = &cleared.lock().content;
    check_recipe(content)?;
    let bench = Bench {
        store,
        recipe: content.recipe,
        scripts,
        judge,
        progress,
    };
    let base = bench.layer("base", None, &content.base, |lower| {
        DebianLayer {
            role: "base",
            base: content.base.name,
            artefacts: &content.base.packages,
            lower,
        }
        .build(bench)
        .map(Made::Tree)
    })?;
    let mut levels = levels(content, interpreter(content)?);
    let mut lower = base.lower(store)?;
    // The lowest image's layers stand on the base's tree before that is packed.
    let (base, lowest) = bench.level_on(base, &lower, levels.next());
    let mut layers = vec![base?];
    let mut top = lowest?;
    for level in levels {
        lower = lower.with(&top, store)?;
        layers.extend(top.into_iter().map(|kept| kept.built));
        top = bench.level(level, &lower)?;
    }
    layers.extend(top.into_iter().map(|kept| kept.built));
    write_image(content, layers, store)
}

/// The images below, the lowest first, then the image itself: there is always one.
fn levels(content: &LockContent, interpreter: Digest) -> impl Iterator<Item = Level<'_>> {
    let base = content.base.name;
    let below = content.below.iter().map(move |image| Level {
        base,
        packages: &image.packages,
        python: &image.python,
        interpreter,
    });
    below.chain(std::iter::once(Level {
        base,
        packages: &content.packages,
        python: &content.python,
        interpreter,
    }))
}

/// The digest of the packages that have the interpreter and what is frozen into it.
fn interpreter(content: &LockContent) -> Result<Digest, AssembleError> {
    let python = content.base.name.python();
    let names = [
        "python3-minimal".to_owned(),
        format!("python{python}-minimal"),
        format!("libpython{python}-minimal"),
        format!("libpython{python}-stdlib"),
    ];
    let below = content.below.iter().flat_map(|image| &image.packages);
    let all: Vec<&DebianArtefact> = content.base.packages.iter().chain(below).collect();
    let is_own = |package: &&DebianArtefact| names.iter().any(|name| package.name.as_str() == name);
    let mut own: Vec<&DebianArtefact> = all.iter().copied().filter(is_own).collect();
    if own.is_empty() {
        own = all;
    }
    let bytes = serde_json::to_vec(&own).map_err(|source| AssembleError::Json {
        role: "interpreter",
        source,
    })?;
    Ok(Digest::of(&bytes))
}

/// Open a tree, whatever name it gets.
fn open_tree(path: PathBuf, role: &'static str) -> Result<OwnedFd, AssembleError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| AssembleError::Tree {
        operation: "open the tree",
        role,
        source: errno.into(),
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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
    /// Keep the base's layer, and meanwhile make what the lowest image adds to it.
    fn level_on(
        self,
        base: FinishedLayer,
        lower: &Lower,
        level: Option<Level<'_>>,
    ) -> (
        Result<BuiltLayer, AssembleError>,
        Result<Vec<KeptLayer>, AssembleError>,
    ) {
        std::thread::scope(|scope| {
            let above = level.map(|level| scope.spawn(move || self.level(level, lower)));
            // A stage whose tree the store has already is gone when it is committed: not from under those who build on it.
            let mut lowest = None;
            let base = base.keep(self, || lowest = above.map(joined));
            (base, lowest.unwrap_or_else(|| Ok(Vec::new())))
        })
    }

    /// The layers of one image, the lowest first. Both stand on what is below alone, so that another OS package does
    /// not rebuild the Python layer; they are made beside each other.
    fn level(self, level: Level<'_>, lower: &Lower) -> Result<Vec<KeptLayer>, AssembleError> {
        let Level {
            base,
            packages,
            python,
            interpreter,
        } = level;
        let (os, python) = std::thread::scope(|scope| {
            let os = (!packages.is_empty()).then(|| {
                scope.spawn(move || {
                    let layer = self.layer("os", Some(lower), &packages, |lower| {
                        DebianLayer {
                            role: "os",
                            base,
                            artefacts: packages,
                            lower,
                        }
                        .build(self)
                        .map(Made::Tree)
                    });
                    layer.and_then(|layer| layer.kept(self))
                })
            });
            let python = (!python.is_empty()).then(|| {
                let layer = self.layer("python", Some(lower), &python, |lower| {
                    PythonLayer {
                        base,
                        artefacts: python,
                        lower,
                        interpreter,
                    }
                    .build(self)
                    .map(Made::Joined)
                });
                layer.and_then(|layer| layer.kept(self))
            });
            (os.map(joined), python)
        });
        let layers = [os.transpose()?, python.transpose()?];
        Ok(layers.into_iter().flatten().collect())
    }

    /// The layer of these ingredients: the remembered one while its blob and tree are there, else a new one.
    /// One process builds, the others wait for it.
    fn layer(
        self,
        role: &'static str,
        lower: Option<&Lower>,
        ingredients: &impl Serialize,
        build: impl FnOnce(&[PathBuf]) -> Result<Made, AssembleError>,
    ) -> Result<FinishedLayer, AssembleError> {
        let json = |source| AssembleError::Json { role, source };
        let lower_key = lower.map(|lower| &lower.key);
        let key = serde_json::to_vec(&(role, self.recipe, lower_key, ingredients)).map_err(json)?;
        let mut key = Digest::of(&key).hex();
        if self.scripts == Scripts::AsShipped {
            // Who wants it made so is not served what was made otherwise.
            key.push_str("-as-shipped");
        }
        let layer = |state| FinishedLayer {
            role,
            key: key.clone(),
            state,
        };
        if let Some(known) = self.remembered(role, &key) {
            return Ok(layer(State::Kept(known)));
        }
        let one_at_a_time = self
            .store
            .lock(&format!("layer-{key}"))
            .map_err(AssembleError::Lock)?;
        if let Some(known) = self.remembered(role, &key) {
            return Ok(layer(State::Kept(known)));
        }
        let lower = lower.map(Lower::paths).unwrap_or_default();
        let made = build(&lower)?;
        if let Made::Tree(tree) = &made {
            let settled = layer::settle_mtimes(&tree.stage.root(), tree.newest_mtime);
            settled.map_err(|source| AssembleError::Pack { role, source })?;
        }
        Ok(layer(State::New { made, one_at_a_time }))
    }

    fn remembered(self, role: &'static str, key: &str) -> Option<BuiltLayer> {
        let cached = self.store.cache_get("layer", key)?;
        let known: RememberedLayer = serde_json::from_slice(&cached.bytes).ok()?;
        // One that was remembered before libraries were, or when they were found otherwise.
        let current = known.libraries.as_ref().is_some_and(LayerLibraries::is_current);
        if role == "python" && !current {
            return None;
        }
        // The tree of wheels is unpacked when it is needed; others build on the rest.
        let has_tree = self.store.renew_tree(&known.diff_id).is_some() || role == "python";
        let whole = self.store.renew_blob(&known.digest.into()) && has_tree;
        whole.then(|| known.built(role))
    }
}

fn write_image(content: &LockContent, built: Vec<BuiltLayer>, store: &Store) -> Result<Image, AssembleError> {
    let mut inventory = Inventory::default();
    let mut layers = Vec::new();
    inventory.missing_libraries = missing_libraries(&built, store)?;
    for BuiltLayer { layer, packages, .. } in built {
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

/// What no layer has that the machine code in wheels asks for.
fn missing_libraries(built: &[BuiltLayer], store: &Store) -> Result<Vec<MissingLibrary>, AssembleError> {
    let asking: Vec<LayerLibraries> = built.iter().filter_map(|layer| layer.libraries.clone()).collect();
    if asking.iter().all(LayerLibraries::asks_for_nothing) {
        return Ok(Vec::new());
    }
    // What the wheels have themselves is in `asking`.
    let others = built.iter().rev().filter(|built| built.libraries.is_none());
    let trees = others.filter_map(|built| store.tree(&built.layer.diff_id));
    let trees: Vec<PathBuf> = trees.collect();
    let root = cooper_sandbox::stack_fd(&trees).map_err(AssembleError::Sandbox)?;
    libraries::missing(&asking, root).map_err(|source| AssembleError::Tree {
        operation: "look for shared libraries",
        role: "image",
        source,
    })
}

impl FinishedLayer {
    fn lower(&self, store: &Store) -> Result<Lower, AssembleError> {
        let path = match &self.state {
            State::Kept(built) => store.tree(&built.layer.diff_id).unwrap_or_default(),
            State::New {
                made: Made::Tree(tree),
                ..
            } => tree.stage.root(),
            State::New {
                made: Made::Joined(joined),
                ..
            } => store.tree(&joined.packed.diff_id).unwrap_or_default(),
        };
        Ok(Lower {
            key: self.key.clone(),
            roots: vec![open_tree(path, self.role)?],
        })
    }

    /// [`FinishedLayer::keep`] when nobody builds on the tree yet.
    fn kept(self, bench: Bench<'_>) -> Result<KeptLayer, AssembleError> {
        let key = self.key.clone();
        let built = self.keep(bench, || ())?;
        Ok(KeptLayer { key, built })
    }

    /// Pack the tree, and keep tree, blob and a note of both. Until `others` returns, the tree stays where it is.
    fn keep(self, bench: Bench<'_>, others: impl FnOnce()) -> Result<BuiltLayer, AssembleError> {
        let role = self.role;
        let (made, _one_at_a_time) = match self.state {
            State::Kept(built) => {
                others();
                return Ok(built);
            }
            State::New { made, one_at_a_time } => (made, one_at_a_time),
        };
        let remembered = match made {
            Made::Tree(tree) => packed(role, tree, bench, others)?,
            Made::Joined(joined) => {
                others();
                RememberedLayer::of(&joined.packed, joined.packages, Some(joined.libraries))
            }
        };
        let bytes = serde_json::to_vec(&remembered).map_err(|source| AssembleError::Json { role, source })?;
        let put = bench.store.cache_put("layer", &self.key, &bytes);
        put.map_err(AssembleError::Write)?;
        Ok(remembered.built(role))
    }
}

fn packed(
    role: &'static str,
    tree: FinishedTree,
    bench: Bench<'_>,
    others: impl FnOnce(),
) -> Result<RememberedLayer, AssembleError> {
    bench.progress.started(Stage::Pack, 0, 0);
    bench.progress.detail(Stage::Pack, format!("{role} layer"));
    let compression = &bench.recipe.compression;
    let packed = layer::pack(&tree.stage.root(), tree.kind, compression, bench.store);
    others();
    let packed = packed.map_err(|source| AssembleError::Pack { role, source })?;
    tree.stage.commit(&packed.diff_id).map_err(AssembleError::Stage)?;
    bench.progress.finished(Stage::Pack);
    let newest_mtime = tree.newest_mtime;
    Ok(RememberedLayer {
        newest_mtime,
        ..RememberedLayer::of(&packed, tree.packages, None)
    })
}

impl RememberedLayer {
    fn of(packed: &PackedLayer, packages: Vec<InventoryPackage>, libraries: Option<LayerLibraries>) -> Self {
        Self {
            diff_id: packed.diff_id,
            digest: packed.digest,
            size: packed.size,
            newest_mtime: packed.newest_mtime,
            packages,
            libraries,
        }
    }

    fn built(self, role: &'static str) -> BuiltLayer {
        BuiltLayer {
            layer: Layer {
                role,
                diff_id: self.diff_id,
                digest: self.digest,
                size: self.size,
                newest_mtime: self.newest_mtime,
            },
            packages: self.packages,
            libraries: self.libraries,
        }
    }
}
