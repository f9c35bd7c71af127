//! `docs/FINDINGS.md` explains every code, and nothing that is none.

use std::collections::BTreeSet;

use cooper_gate::code;

#[test]
fn every_code_is_documented() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/FINDINGS.md");
    let document = std::fs::read_to_string(document).unwrap();
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let known = code::all();
    let known: BTreeSet<&str> = known.iter().map(|known| known.code).collect();
    assert_eq!(documented, known);
}
