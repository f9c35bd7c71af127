//! What names take of the disk: their own, and what they share.
//!
//! Blobs count with their length, trees with what the file system gave to them. To walk ten thousand trees takes long,
//! and a tree never changes: what was measured is remembered in the cache.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CStr;
use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use cooper_core::progress::Stage;
use cooper_core::{DiffId, Digest, ImageName, Organisation, Progress, VersionTag};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::file::Of as _;
use super::gc::Keeping;
use super::reference::{RefError, TagState, file_names, read_record_as};
use super::remove::BLOCK_BYTES;
use super::view::record_path;
use super::{FileError, Store};

const KIND: &str = "tree-bytes";
const KEY: &str = "of all trees";

/// Bytes on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUse {
    /// Of blobs: their length.
    pub blob_bytes: u64,
    /// Of unpacked layers: what the file system gave to them. A file that several trees link to counts in each.
    pub tree_bytes: u64,
}

impl DiskUse {
    /// Both.
    pub fn bytes(self) -> u64 {
        self.blob_bytes + self.tree_bytes
    }
}

/// What one name takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameUse {
    /// The owner.
    pub organisation: Organisation,
    /// The image.
    pub name: ImageName,
    /// The version.
    pub tag: VersionTag,
    /// What no other name keeps: what would go if this name alone were removed.
    pub own: DiskUse,
    /// What other names keep, too.
    pub shared: DiskUse,
}

/// What a store takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreUse {
    /// Every name, sorted.
    pub names: Vec<NameUse>,
    /// All blobs and trees, each once.
    pub total: DiskUse,
    /// Those of them that no name and no pin keeps. Some of it may be in use, or be work in progress.
    pub unnamed: DiskUse,
    /// The cache: the length of its entries, without what they share with trees.
    pub cache_bytes: u64,
}

/// Which of the things on the disk a name keeps, by their places.
struct Kept {
    organisation: Organisation,
    name: ImageName,
    tag: VersionTag,
    things: Vec<u32>,
}

/// Blobs and trees, each with how many names keep it.
#[derive(Default)]
struct Things {
    places: HashMap<(bool, Digest), u32>,
    uses: Vec<(DiskUse, u32)>,
}

impl Things {
    fn add(&mut self, is_tree: bool, digest: Digest, bytes: u64) {
        let place = u32::try_from(self.uses.len()).unwrap_or(u32::MAX);
        self.places.insert((is_tree, digest), place);
        let usage = if is_tree {
            DiskUse {
                tree_bytes: bytes,
                ..DiskUse::default()
            }
        } else {
            DiskUse {
                blob_bytes: bytes,
                ..DiskUse::default()
            }
        };
        self.uses.push((usage, 0));
    }

    fn total(&self, wanted: impl Fn(u32) -> bool) -> DiskUse {
        let wanted = self.uses.iter().filter(|(_, names)| wanted(*names));
        sum(wanted.map(|(usage, _)| *usage))
    }
}

fn sum(uses: impl Iterator<Item = DiskUse>) -> DiskUse {
    uses.fold(DiskUse::default(), |sum, usage| DiskUse {
        blob_bytes: sum.blob_bytes + usage.blob_bytes,
        tree_bytes: sum.tree_bytes + usage.tree_bytes,
    })
}

impl Store {
    /// What the store takes of the disk, by name. Trees that were not measured before are walked.
    ///
    /// # Errors
    /// When a record or a directory cannot be read.
    pub fn usage(&self, progress: &Progress) -> Result<StoreUse, RefError> {
        let mut things = self.measured(progress)?;
        let kept = self.kept_things(&mut things, progress)?;
        self.count_pinned(&mut things);
        let of = |name: Kept| {
            let uses = || {
                name.things
                    .iter()
                    .filter_map(|place| things.uses.get(*place as usize))
            };
            let own = sum(uses().filter(|(_, names)| *names == 1).map(|(usage, _)| *usage));
            let shared = sum(uses().filter(|(_, names)| *names > 1).map(|(usage, _)| *usage));
            NameUse {
                organisation: name.organisation,
                name: name.name,
                tag: name.tag,
                own,
                shared,
            }
        };
        Ok(StoreUse {
            names: kept.into_iter().map(of).collect(),
            total: things.total(|_| true),
            unnamed: things.total(|names| names == 0),
            cache_bytes: self.cache_bytes()?,
        })
    }

    /// Every blob and tree with its bytes.
    fn measured(&self, progress: &Progress) -> Result<Things, FileError> {
        let mut things = Things::default();
        for digest in digests(&self.blobs_dir())? {
            if let Some(bytes) = self.blob_size(&cooper_core::BlobDigest::new(digest)) {
                things.add(false, digest, bytes);
            }
        }
        let known = self.known_trees();
        let mut now = BTreeMap::new();
        let trees = digests(&self.trees_dir())?;
        let unknown = trees.iter().filter(|digest| !known.contains_key(digest)).count();
        progress.started(Stage::Check, unknown as u64, 0);
        for digest in trees {
            let bytes = if let Some(bytes) = known.get(&digest) {
                *bytes
            } else {
                progress.advanced(Stage::Check, 1, 0);
                match measure(&self.tree_path(&DiffId::new(digest))) {
                    Ok(bytes) => bytes,
                    // Collected meanwhile.
                    Err(error) if error.source.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            };
            now.insert(digest, bytes);
            things.add(true, digest, bytes);
        }
        progress.finished(Stage::Check);
        if now != known {
            self.remember_trees(&now);
        }
        Ok(things)
    }

    fn known_trees(&self) -> BTreeMap<Digest, u64> {
        let cached = self.cache_get(KIND, KEY);
        let text = cached.and_then(|cached| String::from_utf8(cached.bytes).ok());
        let line = |line: &str| {
            let (digest, bytes) = line.split_once(' ')?;
            Some((Digest::from_hex(digest).ok()?, bytes.parse().ok()?))
        };
        text.iter()
            .flat_map(|text| text.lines())
            .filter_map(line)
            .collect()
    }

    fn remember_trees(&self, trees: &BTreeMap<Digest, u64>) {
        let mut text = String::new();
        for (digest, bytes) in trees {
            // Writing to a text does not fail.
            let _ = writeln!(text, "{} {bytes}", digest.hex());
        }
        if let Err(error) = self.cache_put(KIND, KEY, text.as_bytes()) {
            tracing::debug!(?error, "the sizes of the trees are not remembered");
        }
    }

    /// What each name keeps of these things, counted in them.
    fn kept_things(&self, things: &mut Things, progress: &Progress) -> Result<Vec<Kept>, RefError> {
        let names = self.all_tags()?;
        progress.started(Stage::Check, names.len() as u64, 0);
        let mut kept = Vec::with_capacity(names.len());
        for named in names {
            progress.advanced(Stage::Check, 1, 0);
            let directory = self.image_dir(&named.organisation, &named.name);
            if named.state == TagState::Removed {
                continue;
            }
            let Some(record) = read_record_as::<Keeping>(&record_path(&directory, &named.tag))? else {
                continue;
            };
            let manifest = std::iter::once(*cooper_core::BlobDigest::from(record.manifest).digest());
            let blobs = record.blobs.iter().map(|blob| *blob.digest());
            let blobs = manifest.chain(blobs).map(|digest| (false, digest));
            let trees = record.trees.iter().map(|tree| (true, *tree.digest()));
            let mut places: Vec<u32> = blobs
                .chain(trees)
                .filter_map(|thing| things.places.get(&thing).copied())
                .collect();
            places.sort_unstable();
            places.dedup();
            for place in &places {
                if let Some((_, names)) = things.uses.get_mut(*place as usize) {
                    *names += 1;
                }
            }
            kept.push(Kept {
                organisation: named.organisation,
                name: named.name,
                tag: named.tag,
                things: places,
            });
        }
        progress.finished(Stage::Check);
        Ok(kept)
    }

    /// What pins keep is kept as by a name. A pin that cannot be read keeps nothing that is known.
    fn count_pinned(&self, things: &mut Things) {
        let pins = self.all_pins().unwrap_or_default();
        for digest in pins.into_iter().flat_map(|(_, pin)| pin.blobs) {
            let place = things.places.get(&(false, *digest.digest()));
            if let Some((_, names)) = place.and_then(|place| things.uses.get_mut(*place as usize)) {
                *names += 1;
            }
        }
    }

    fn cache_bytes(&self) -> Result<u64, FileError> {
        let cache = self.root().join("cache");
        let mut bytes = 0;
        for kind in file_names(&cache)? {
            let kind = cache.join(kind);
            if !kind.is_dir() {
                continue;
            }
            for entry in file_names(&kind)? {
                bytes += entry_bytes(&kind.join(entry));
            }
        }
        Ok(bytes)
    }
}

/// The bytes of an entry of the cache that are no tree's, too: of a directory, the files that nothing else links to.
fn entry_bytes(path: &Path) -> u64 {
    let Ok(entry) = std::fs::symlink_metadata(path) else {
        return 0;
    };
    if !entry.is_dir() {
        return entry.len();
    }
    // To be counted is not to be used.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::CLOEXEC;
    let Ok(directory) = rustix::fs::open(path, flags, Mode::empty()) else {
        return 0;
    };
    let files = Dir::read_from(&directory).into_iter().flatten();
    let status = files.filter_map(|file| {
        let file = file.ok()?;
        rustix::fs::statat(&directory, file.file_name(), AtFlags::SYMLINK_NOFOLLOW).ok()
    });
    status
        .filter(|status| status.st_nlink == 1)
        .map(|status| u64::try_from(status.st_size).unwrap_or(0))
        .sum()
}

/// The entries of a directory that are digests.
fn digests(directory: &Path) -> Result<Vec<Digest>, FileError> {
    let names = file_names(directory)?.into_iter();
    Ok(names.filter_map(|name| Digest::from_hex(&name).ok()).collect())
}

/// What the file system gave to a tree, each file once however many names it has.
fn measure(tree: &Path) -> Result<u64, FileError> {
    let mut bytes = 0;
    let mut linked = BTreeSet::new();
    let mut left = vec![tree.to_owned()];
    while let Some(path) = left.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&path, flags, Mode::empty()).of("open", &path)?;
        let own = rustix::fs::fstat(&directory).of("read the state of", &path)?;
        bytes += allocated(&own);
        for entry in Dir::read_from(&directory).of("list", &path)? {
            let entry = entry.of("list", &path)?;
            let name: &CStr = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let status = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
            let status = status.of("read the state of", &path)?;
            if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                left.push(path.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
            } else if status.st_nlink == 1 || linked.insert((status.st_dev, status.st_ino)) {
                bytes += allocated(&status);
            }
        }
    }
    Ok(bytes)
}

fn allocated(status: &rustix::fs::Stat) -> u64 {
    u64::try_from(status.st_blocks).unwrap_or(0) * BLOCK_BYTES
}
