//! From a request and index snapshots to one plan, for Debian and Python.
//!
//! Both ecosystems go through one solver (`resolvo`). This crate fetches indexes through the store's intake,
//! checks their signatures, solves, and explains. It knows no images and runs nothing; what it gives is
//! judged by `cooper-gate` before any artefact is fetched.

pub mod address;
pub mod context;
pub mod debian;
pub mod ground;
pub mod python;
pub mod resolve;

pub use context::{Context, DebianSource, Freshness, Later, Sources};
pub use ground::{Ground, GroundImage, InstalledPython};
pub use resolve::{Resolution, ResolveError, resolve};
