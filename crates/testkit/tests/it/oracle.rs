//! Programs of the host that read what the kit writes.

use std::path::Path;
use std::process::{Command, Output};

/// Whether a program is there and runs; says so loudly when it is not.
pub(crate) fn present(program: &str, test: &str) -> bool {
    let there = Command::new(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("SKIPPED {test}: this host has no {program}");
    }
    there
}

/// Run it; its output.
pub(crate) fn run(program: &str, arguments: &[&str], folder: &Path) -> Output {
    Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// Run it, which must succeed; its standard output.
pub(crate) fn run_well(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = run(program, arguments, folder);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
