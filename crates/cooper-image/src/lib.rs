//! From a cleared lock to an image: packages are unpacked, configured and packed into deterministic layers.

pub mod archive;
mod assemble;
mod build_step;
mod bytecode;
mod copyright;
pub mod deb;
mod debian_layer;
mod dpkg;
mod error;
mod fast_paths;
mod finish;
pub mod installed;
pub mod inventory;
pub mod layer;
#[doc(hidden)]
pub mod libraries;
mod maintainer_scripts;
mod oci;
mod order;
mod prepared;
mod python_layer;
mod replacements;
pub mod rootfs;
mod source_build;
mod tree_files;
pub mod wheel;

pub use assemble::{DebianCopyright, Image, JudgeDebian, assemble};
pub use copyright::stated_licence;
pub use error::AssembleError;
pub use fast_paths::Scripts;
pub use inventory::{Inventory, InventoryBelow, InventoryPackage};
pub use oci::{ENVIRONMENT, Layer, USER, WORKING_DIR};
pub use source_build::{BuildOutcome, Installed, SourceBuildError, SourceLimits, build_source};
