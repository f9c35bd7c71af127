//! From a cleared lock to an image: packages are unpacked, configured and packed into deterministic layers.

pub mod deb;
pub mod layer;
pub mod rootfs;
pub mod wheel;
