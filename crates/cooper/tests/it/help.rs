//! Help and versions.

use crate::context::Host;

#[test]
fn every_command_has_help_with_examples() {
    let host = Host::new();
    for command in ["create", "images", "run", "inspect", "fsck", "config", "version"] {
        let help = host.cooper(&[command, "--help"]).good();
        assert!(help.stdout.contains("\nExamples:\n  cooper "), "{help}");
        assert!(
            help.stdout.lines().all(|line| line.chars().count() <= 120),
            "{help}"
        );
        host.assert_snapshot(&format!("help_{command}"), &help.to_string());
        let short = host.cooper(&[command, "-h"]).good();
        assert!(short.stdout.contains("Usage: cooper"), "{short}");
    }
    host.assert_snapshot(
        "help",
        &host.transcript(&[&["--help"], &["--version"], &["version"], &["version", "--json"]]),
    );
}

#[test]
fn nothing_to_do_is_a_usage_error() {
    let host = Host::new();
    host.assert_snapshot(
        "no_command",
        &host.transcript(&[&[], &["--json"], &["create"], &["run"], &["inspect"]]),
    );
}

#[test]
fn help_is_a_command_too() {
    let host = Host::new();
    for (asked, flag) in [
        (&["help"][..], &["--help"][..]),
        (&["help", "create"], &["create", "--help"]),
        (&["help", "run"], &["run", "--help"]),
    ] {
        assert_eq!(host.cooper(asked).good().stdout, host.cooper(flag).good().stdout);
    }
    let unknown = host.cooper(&["help", "creat"]).with(2);
    assert!(
        unknown.stderr.contains("creat") && unknown.stderr.contains("hint:"),
        "{unknown}"
    );
}
