//! What most tests want: a made world on loopback, a folder that goes away, pinned times.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cooper_core::Timestamp;
use cooper_core::clock::PinnedClock;

use crate::archive::DebianArchive;
use crate::index::PythonIndex;
use crate::server::Server;

/// The present time of tests that pin it: 2025-09-10T12:00:00Z, four days after [`crate::archive::DATE`].
pub const NOW: &str = "2025-09-10T12:00:00Z";

/// [`NOW`] as a value.
pub fn now() -> Timestamp {
    NOW.parse().expect("a constant time")
}

/// A clock that stands at [`NOW`].
pub fn clock() -> Arc<PinnedClock> {
    Arc::new(PinnedClock(now()))
}

/// One test's world: an archive and an index on one server, and a folder that is removed at the end.
pub struct TestContext {
    folder: tempfile::TempDir,
    server: Server,
}

impl TestContext {
    /// Serve an archive and an index.
    pub fn new(archive: &DebianArchive, index: &PythonIndex) -> Self {
        Self::serving(Server::start(archive.routes().merge(index.routes())))
    }

    /// Around a server that is running already.
    pub fn serving(server: Server) -> Self {
        let context = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            server,
        };
        context.write("archive-keys.gpg", &crate::SigningKey::archive().certificate());
        context
    }

    /// The server, for faults and for the log of requests.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where this test's store is to be; it does not exist yet.
    pub fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// A file with the certificate of the archive's key, binary.
    pub fn keys_file(&self) -> PathBuf {
        self.folder.path().join("archive-keys.gpg")
    }

    /// The URL of the archive that has the release and its updates.
    pub fn debian_mirror(&self) -> String {
        self.server.url("debian/")
    }

    /// The URL of the security archive.
    pub fn debian_security_mirror(&self) -> String {
        self.server.url("debian-security/")
    }

    /// The URL of the simple index.
    pub fn python_index(&self) -> String {
        self.server.url("simple/")
    }

    /// Write a file below the folder, with its parents, and give its path.
    pub fn write(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a path below the folder")).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        std::io::Write::write_all(&mut file, content).unwrap();
        path
    }
}
