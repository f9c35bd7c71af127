//! How results look: sizes, times, tables, packages and progress.

pub(crate) mod library;
pub(crate) mod package;
pub(crate) mod progress;
pub(crate) mod table;
pub(crate) mod unit;
pub(crate) mod verdict;
