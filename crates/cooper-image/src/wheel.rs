//! Installs wheels.
