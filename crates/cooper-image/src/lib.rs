//! From a cleared lock to an image: packages are unpacked, configured and packed into deterministic layers.

mod bytecode;
mod copyright;
pub mod deb;
mod dpkg;
mod finish;
pub mod inventory;
pub mod layer;
mod maintainer_scripts;
mod oci;
mod order;
pub mod rootfs;
mod tree_files;
pub mod wheel;

pub use copyright::stated_licence;
pub use inventory::{Inventory, InventoryPackage};
pub use oci::{ENVIRONMENT, Layer, USER, WORKING_DIR};
