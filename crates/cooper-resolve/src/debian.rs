//! Debian indexes and their solution.
