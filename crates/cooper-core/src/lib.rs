//! The vocabulary of Cooperage: digests, names, versions, [`Request`], [`Plan`], [`Lock`] and [`Finding`].
//!
//! Everything that enters from outside is parsed here once, into a type that cannot hold a wrong value;
//! the other crates trust those types. The flow of the product is written in these types:
//! a [`Request`] is resolved to a [`Plan`], the gates turn a plan into a cleared [`Lock`], and a lock is
//! assembled into an image.
//!
//! This crate does no I/O, reads no clock and no environment, and knows neither HTTP nor the command line.

pub mod base;
pub mod base_choice;
pub mod clock;
pub mod debian;
pub mod digest;
pub mod finding;
pub mod library;
pub mod lock;
pub mod name;
pub mod plan;
pub mod progress;
pub mod python;
pub mod request;
pub mod requirements;
pub mod source;
pub mod text;

pub use base::Base;
pub use base_choice::BaseChoice;
pub use clock::{Clock, Timestamp};
pub use debian::{DebianName, DebianRequirement, DebianVersion};
pub use digest::{BlobDigest, ConfigDigest, DiffId, Digest, LayerDigest, LockDigest, ManifestDigest};
pub use finding::{Ecosystem, Effect, Finding, FindingCode, PackageVersion, Severity, Waived};
pub use library::{LibraryEvidence, MissingLibrary};
pub use lock::{Lock, LockContent};
pub use name::{ImageName, ImagePattern, ImageReference, ImageVersion, Organisation, VersionTag};
pub use plan::Plan;
pub use progress::{Event, Progress};
pub use python::{PythonName, PythonRequirement, PythonVersion};
pub use request::Request;
