//! Packs a tree into a deterministic OCI layer.
