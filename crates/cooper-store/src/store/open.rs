//! Opening a store, and laying one out where there is none.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cooper_core::Clock;

use super::file::{Of as _, make_dir, takes_file_error};
use super::session::{self, SessionCell};
use super::{FileError, Inner, Store};

/// What the file `oci-layout` says (image-spec, `image-layout.md`, "oci-layout file").
const OCI_LAYOUT: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";
/// The name of that file.
pub(super) const OCI_LAYOUT_NAME: &str = "oci-layout";
/// What the name of a file begins with that is to become `oci-layout`.
pub(super) const OCI_LAYOUT_STAGE: &str = ".oci-layout.";
/// Every directory of the layout, parents first.
const DIRECTORIES: [&str; 8] = [
    "blobs",
    "blobs/sha256",
    "trees",
    "trees/sha256",
    "refs",
    "cache",
    "tmp",
    "locks",
];
/// Everything that belongs into a store's root.
pub(super) const ROOT_ENTRIES: [&str; 9] = [
    "blobs",
    "trees",
    "refs",
    "cache",
    "tmp",
    "locks",
    "journal",
    "index.json",
    OCI_LAYOUT_NAME,
];

/// Why a directory cannot be opened as a store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory has something else in it; nothing was written.
    #[error("`{path}` is not a store: it holds `{found}` and no `oci-layout`")]
    NotAStore {
        /// The directory.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// The directory is of another format.
    #[error("`{path}` is an OCI layout of another version: expected 1.0.0")]
    UnknownFormat {
        /// The file that says so.
        path: PathBuf,
    },
    /// The disk, or the user's quota of it, is full.
    #[error("no space left while writing `{path}`")]
    DiskFull {
        /// What could not be written.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot {operation} `{path}`")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
takes_file_error!(OpenError);

impl Store {
    /// Open the store in `root`, laying it out where the directory is missing or empty, and sweep what killed
    /// processes left.
    ///
    /// # Errors
    /// [`OpenError::NotAStore`] when the directory holds other things; nothing is written then.
    pub fn open(root: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let root = std::path::absolute(root).of("find", root)?;
        let layout = root.join(OCI_LAYOUT_NAME);
        match std::fs::read(&layout) {
            Ok(text) if is_our_layout(&text) => {}
            Ok(_) => return Err(OpenError::UnknownFormat { path: layout }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => lay_out(&root, &layout)?,
            Err(error) => return Err(error).of("read", &layout)?,
        }
        for directory in DIRECTORIES {
            make_dir(&root.join(directory))?;
        }
        session::sweep(&root.join("tmp"));
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                clock,
                session: SessionCell::default(),
            }),
        })
    }
}

fn is_our_layout(text: &[u8]) -> bool {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    parsed.is_some_and(|layout| layout["imageLayoutVersion"] == "1.0.0")
}

/// Make the root and the file that says what it is. That file comes first, and by rename: a process that is
/// killed here leaves an empty directory or a store.
fn lay_out(root: &Path, layout: &Path) -> Result<(), OpenError> {
    make_root(root)?;
    if let Some(found) = foreign_entry(root)? {
        return Err(OpenError::NotAStore {
            path: root.to_owned(),
            found,
        });
    }
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700)).of("set the mode of", root)?;
    let stage = root.join(format!(
        "{OCI_LAYOUT_STAGE}{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    // A killed process of the same number may have left it.
    let _ = std::fs::remove_file(&stage);
    super::file::write_synced(&stage, OCI_LAYOUT)?;
    std::fs::rename(&stage, layout).of("rename", &stage)?;
    super::file::sync_dir(root)?;
    Ok(())
}

fn make_root(root: &Path) -> Result<(), FileError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(root)
        .of("make the directory", root)
}

fn foreign_entry(root: &Path) -> Result<Option<String>, FileError> {
    for entry in std::fs::read_dir(root).of("list", root)? {
        let name = entry.of("list", root)?.file_name().to_string_lossy().into_owned();
        let ours = ROOT_ENTRIES.contains(&name.as_str()) || name.starts_with(OCI_LAYOUT_STAGE);
        if !ours {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
