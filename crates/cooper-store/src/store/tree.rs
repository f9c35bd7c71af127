//! Trees: unpacked layers, named by their diff id.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cooper_core::DiffId;

use super::file::{Of as _, sync_filesystem};
use super::remove::remove_tree;
use super::session::StageError;
use super::{FileError, Store};

impl Store {
    /// Where the unpacked layer with this diff id is; `None` if it is not there.
    pub fn tree(&self, diff_id: &DiffId) -> Option<PathBuf> {
        let path = self.tree_path(diff_id);
        path.is_dir().then_some(path)
    }

    pub(super) fn tree_path(&self, diff_id: &DiffId) -> PathBuf {
        self.trees_dir().join(diff_id.hex())
    }

    /// Begin a tree: a directory on the store's file system with `root/` and `work/` in it.
    pub fn stage_tree(&self) -> Result<TreeStage, StageError> {
        let path = self.fresh_path("tree")?;
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .of("make the directory", &path)?;
        let stage = TreeStage {
            store: self.clone(),
            path,
        };
        for directory in [stage.root(), stage.work()] {
            make_open_dir(&directory)?;
        }
        Ok(stage)
    }
}

/// A directory of mode 0755 whatever the umask is: a tree's root is part of what is hashed and mounted.
fn make_open_dir(path: &Path) -> Result<(), FileError> {
    std::fs::create_dir(path).of("make the directory", path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).of("set the mode of", path)
}

/// A tree in progress below `tmp/`; dropped without `commit`, it is gone.
#[derive(Debug)]
pub struct TreeStage {
    store: Store,
    path: PathBuf,
}

impl TreeStage {
    /// The directory that holds the two others.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What becomes the tree. Made empty with mode 0755.
    pub fn root(&self) -> PathBuf {
        self.path.join("root")
    }

    /// Room for work beside it, on the same file system: an overlay's work directory, for example.
    pub fn work(&self) -> PathBuf {
        self.path.join("work")
    }

    /// Make `root/` durable and give it its name. Where the tree is there already, that one stays and this
    /// one is dropped.
    pub fn commit(self, diff_id: &DiffId) -> Result<PathBuf, StageError> {
        let place = self.store.tree_path(diff_id);
        if place.is_dir() && self.store.renew(&place) {
            return Ok(place);
        }
        sync_filesystem(&self.path)?;
        match std::fs::rename(self.root(), &place) {
            Ok(()) => Ok(place),
            // Another process was quicker.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
                ) =>
            {
                Ok(place)
            }
            Err(error) => Err(error).of("rename to its place", &place)?,
        }
    }
}

impl Drop for TreeStage {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "a tree in progress stays until the next sweep");
        }
    }
}
