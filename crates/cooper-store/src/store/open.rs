//! Opening a store, and laying one out where there is none.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cooper_core::Clock;

use super::file::{Of as _, make_dir, sync_dir, takes_file_error, write_synced};
use super::index::make_empty_index;
use super::session::{self, Session, SessionCell};
use super::view::Summarise;
use super::{FileError, Inner, Store};

/// What the file `oci-layout` says (image-spec, `image-layout.md`, "oci-layout file").
const OCI_LAYOUT: &[u8] = b"{\"imageLayoutVersion\":\"1.0.0\"}";
/// The name of that file.
const OCI_LAYOUT_NAME: &str = "oci-layout";
/// Every directory of the layout, parents first.
const DIRECTORIES: [&str; 11] = [
    "blobs",
    "blobs/sha256",
    "trees",
    "trees/sha256",
    "refs",
    "pins",
    "marks",
    "ledgers",
    "cache",
    "tmp",
    "locks",
];
/// Everything that belongs into a store's root.
pub(super) const ROOT_ENTRIES: [&str; 13] = [
    "blobs",
    "trees",
    "refs",
    "pins",
    "marks",
    "ledgers",
    "cache",
    "tmp",
    "locks",
    "journal",
    "names",
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
            Ok(text) if is_our_layout(&text) => make_directories(&root)?,
            Ok(_) => return Err(OpenError::UnknownFormat { path: layout }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => lay_out(&root, &layout)?,
            Err(error) => return Err(error).of("read", &layout)?,
        }
        session::sweep(&root.join("tmp"));
        Ok(Self {
            inner: Arc::new(Inner {
                root,
                clock,
                session: SessionCell::default(),
                summarise: |_| String::new(),
            }),
        })
    }

    /// The same store, with what lists show of a record.
    #[must_use]
    pub fn summarised_by(self, summarise: Summarise) -> Self {
        let Inner { root, clock, .. } = &*self.inner;
        Self {
            inner: Arc::new(Inner {
                root: root.clone(),
                clock: Arc::clone(clock),
                session: SessionCell::default(),
                summarise,
            }),
        }
    }
}

/// Every directory of the layout, so that one which somebody removed because it was empty is there again.
fn make_directories(root: &Path) -> Result<(), FileError> {
    let mut made = false;
    for directory in DIRECTORIES {
        made |= make_dir(&root.join(directory))?;
    }
    // What is durable below a directory needs the directory to be so.
    if made { sync_dir(root) } else { Ok(()) }
}

fn is_our_layout(text: &[u8]) -> bool {
    let parsed: Option<serde_json::Value> = serde_json::from_slice(text).ok();
    parsed.is_some_and(|layout| layout["imageLayoutVersion"] == "1.0.0")
}

/// Make the layout. The file that makes the directory a store comes last and by rename: a process that is
/// killed here leaves what the next one completes.
fn lay_out(root: &Path, layout: &Path) -> Result<(), OpenError> {
    make_root(root)?;
    if let Some(found) = foreign_entry(root)? {
        return Err(OpenError::NotAStore {
            path: root.to_owned(),
            found,
        });
    }
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700)).of("set the mode of", root)?;
    make_directories(root)?;
    let session = Session::make(&root.join("tmp"))?;
    make_empty_index(&session.fresh_path("index"), &root.join("index.json"))?;
    let stage = session.fresh_path("layout");
    write_synced(&stage, OCI_LAYOUT)?;
    std::fs::rename(&stage, layout).of("rename to its place", layout)?;
    sync_dir(root)?;
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
        if !ROOT_ENTRIES.contains(&name.as_str()) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
