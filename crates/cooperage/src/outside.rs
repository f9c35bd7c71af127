//! The readers of outside bytes as plain functions, for the fuzz targets.

use std::path::Path;

use cooper_gate::Sighting;

use crate::advisories::{EvidenceKind, SourceFault, read_evidence};
use crate::waivers;

/// What a file is as evidence, under which key it would be kept, how many records it has, and how many were left out.
///
/// # Errors
/// When it is nothing that is known, or cannot be read.
pub fn evidence(path: &Path) -> Result<(EvidenceKind, String, u64, u64), SourceFault> {
    read_evidence(path)
}

/// Whether a line says something in the ledger of the waivers, and in that of what was first seen.
pub fn ledger_line(line: &[u8]) -> [bool; 2] {
    [waivers::is_line(line), Sighting::parse(line).is_some()]
}
