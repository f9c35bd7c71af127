//! A made Debian archive and a made Python index, served on loopback, for the tests of every crate.
//!
//! Everything is written by hand, byte by byte (`ar`, `tar`, `zip`, `InRelease`, simple index), and shares no
//! code with the product's readers: a mistake in a reader cannot hide behind the same mistake here, and a
//! hostile archive can say whatever it likes. The flow is: builders ([`DebPackage`], [`Wheel`]) go into an
//! archive or index ([`DebianArchive`], [`PythonIndex`]), which gives [`Routes`], which a [`Server`] serves
//! with faults where asked.
//!
//! It panics where a test would: it is a development dependency only, and knows only `cooper-core`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test kit fails as tests do"
)]

pub mod ar;
pub mod archive;
pub mod base;
pub mod compress;
pub mod context;
pub mod crowd;
pub mod deb;
pub mod elf;
pub mod fault;
pub mod index;
pub mod key;
pub mod routes;
pub mod server;
pub mod tar;
pub mod user;
pub mod wheel;
pub mod zip;

pub use archive::{DebianArchive, Flaw, Signing};
pub use compress::Compression;
pub use context::TestContext;
pub use crowd::Crowd;
pub use deb::DebPackage;
pub use elf::ElfLibrary;
pub use fault::Fault;
pub use index::{PythonIndex, Sdist};
pub use key::SigningKey;
pub use routes::{Route, Routes};
pub use server::{LoggedRequest, Server};
pub use tar::TarEntry;
pub use user::{ORDINARY_NAME, ORDINARY_UID, OrdinaryUser, Subordinate};
pub use wheel::{Hashes, Record, Wheel};
pub use zip::ZipEntry;
