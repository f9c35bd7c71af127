//! Reads and unpacks Debian binary packages.
