//! What an archive claims of one image, and how far it can be checked.

use std::collections::BTreeSet;

use cooper_core::python::DistributionVersion;
use cooper_core::{BaseChoice, BlobDigest, DiffId, Lock, LockContent};
use cooper_image::archive::ArchivedImage;
use cooper_image::installed::{Installed, installed};
use cooper_image::{Inventory, InventoryPackage};
use cooper_store::Store;
use serde::de::DeserializeOwned;

use super::{LoadError, LoadedImage};
use crate::record::{FullReference, ImageRecord};
use crate::save::SavedRecord;

/// An image of an archive with its record, lock and inventory, which fit each other and the manifest.
pub(super) struct Claim {
    pub(super) image: ArchivedImage,
    /// The name that it has in the archive.
    pub(super) from: FullReference,
    pub(super) record: ImageRecord,
    pub(super) lock: Lock,
    inventory: Inventory,
}

const JSON_BYTES_MAX: u64 = 16 << 20;

impl Claim {
    /// Read the three documents and compare them with each other and with the manifest.
    pub(super) fn read(store: &Store, image: ArchivedImage) -> Result<Self, LoadError> {
        let name = image.name.clone();
        let saved: SavedRecord = document(store, &name, "the record", &image.record)?;
        let lock: Lock = document(store, &name, "the lock", &image.lock)?;
        let inventory: Inventory = document(store, &name, "the inventory", &image.inventory)?;
        let claim = Self {
            image,
            from: saved.image,
            record: saved.record,
            lock,
            inventory,
        };
        match claim.contradiction() {
            Some(what) => Err(claim.untrue(what)),
            None => Ok(claim),
        }
    }

    /// The first thing that does not fit.
    fn contradiction(&self) -> Option<String> {
        let Self {
            image, record, lock, ..
        } = self;
        let name = &self.from.name;
        let layers: Vec<DiffId> = image.layers.iter().map(|layer| layer.diff_id).collect();
        let known = cooper_core::lock::LOCK_FORMAT;
        let counts = (
            self.inventory.python.len() as u64,
            self.inventory.debian.len() as u64,
        );
        let facts = [
            (self.from.to_string() == image.name, "its record has another name"),
            (record.loaded.is_none(), "its record has no place in an archive"),
            (
                record.config == image.config,
                "its record has another configuration",
            ),
            (record.layers == layers, "its record has other layers"),
            (
                record.size_bytes == image.size_bytes,
                "its record has another size",
            ),
            (record.lock_file == image.lock, "its record has another lock"),
            (
                record.inventory == image.inventory,
                "its record has another inventory",
            ),
            (
                lock.cooper_lock == known,
                "its lock has another format than this program reads",
            ),
            (
                record.lock == lock.content.digest(),
                "its lock has another digest than its record says",
            ),
            (record.request.name() == name, "its request has another name"),
            (
                lock.origin.request.clone().renamed(name.clone()) == record.request,
                "its lock is for another request",
            ),
            (
                is_on(&lock.content, record.request.base()),
                "its lock is for another base",
            ),
            (
                (record.python_packages, record.debian_packages) == counts,
                "its record counts other packages",
            ),
        ];
        let untrue = facts.into_iter().find(|(fact, _)| !fact);
        let untrue = untrue.map(|(_, what)| what.to_owned());
        untrue.or_else(|| {
            let listed = packages(&self.inventory);
            difference(&locked(lock), &listed)
                .map(|package| format!("its lock and its inventory disagree about {package}"))
        })
    }

    /// That the unpacked layers have what the inventory lists, as package managers see it.
    pub(super) fn check_installed(&self, store: &Store) -> Result<(), LoadError> {
        let layers = self.image.layers.iter();
        let trees: Vec<_> = layers.filter_map(|layer| store.tree(&layer.diff_id)).collect();
        let found = installed(&trees).map_err(|source| LoadError::Installed {
            image: self.image.name.clone(),
            source,
        })?;
        let found = Installed {
            python: found.python.into_iter().map(normalised).collect(),
            ..found
        };
        match difference(&packages(&self.inventory), &found) {
            Some(package) => Err(self.untrue(format!("its lock and its layers disagree about {package}"))),
            None => Ok(()),
        }
    }

    pub(super) fn untrue(&self, what: String) -> LoadError {
        LoadError::Untrue {
            image: self.image.name.clone(),
            what,
        }
    }

    pub(super) fn loaded(self, image: FullReference, created: bool) -> LoadedImage {
        LoadedImage {
            image,
            from: self.from,
            digest: self.image.manifest,
            created,
            size_bytes: self.image.size_bytes,
        }
    }
}

fn document<T: DeserializeOwned>(
    store: &Store,
    image: &str,
    role: &'static str,
    digest: &BlobDigest,
) -> Result<T, LoadError> {
    let bytes = store.read_blob(digest, JSON_BYTES_MAX);
    let bytes = bytes.map_err(|source| LoadError::Read {
        role,
        image: image.to_owned(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| LoadError::Format {
        role,
        image: image.to_owned(),
        source,
    })
}

fn packages(inventory: &Inventory) -> Installed {
    let named = |package: &InventoryPackage| (package.name.clone(), package.version.clone());
    Installed {
        debian: inventory.debian.iter().map(named).collect(),
        python: inventory.python.iter().map(named).map(normalised).collect(),
    }
}

/// Whether a lock is for something on that base.
fn is_on(content: &LockContent, base: &BaseChoice) -> bool {
    match base {
        BaseChoice::Debian(base) => content.base.name == *base && content.below.is_empty(),
        BaseChoice::Image(_) => !content.below.is_empty(),
    }
}

fn locked(lock: &Lock) -> Installed {
    let debian = lock.content.debian();
    let python = lock.content.distributions();
    Installed {
        debian: debian
            .map(|artefact| (artefact.name.to_string(), artefact.version.to_string()))
            .collect(),
        python: python
            .map(|artefact| (artefact.name.to_string(), artefact.version.to_string()))
            .map(normalised)
            .collect(),
    }
}

/// A version as it is compared: `1.0` and `1.00` are one.
fn normalised((name, version): (String, String)) -> (String, String) {
    let parsed = version.parse::<DistributionVersion>();
    (name, parsed.map_or(version, |parsed| parsed.to_string()))
}

/// The first package that is in one of them alone.
fn difference(one: &Installed, other: &Installed) -> Option<String> {
    let first = |one: &BTreeSet<(String, String)>, other: &BTreeSet<(String, String)>| {
        let differing = one.symmetric_difference(other).next();
        differing.map(|(name, version)| format!("`{name}` {version}"))
    };
    first(&one.debian, &other.debian).or_else(|| first(&one.python, &other.python))
}
