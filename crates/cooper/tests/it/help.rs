//! Help and versions.

use crate::context::Host;

#[test]
fn every_command_has_help_with_examples() {
    let host = Host::new();
    let commands = [
        "create",
        "update",
        "check",
        "waive",
        "policy",
        "advisories",
        "images",
        "run",
        "inspect",
        "diff",
        "save",
        "load",
        "remove",
        "gc",
        "fsck",
        "config",
        "version",
        "completions",
        "man",
    ];
    for command in commands {
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

/// Completions and manual pages know every command that `--help` shows.
#[test]
fn completions_and_manual_pages_are_those_of_the_commands() {
    let host = Host::new();
    let commands = [
        "create", "update", "images", "run", "inspect", "diff", "remove", "gc", "fsck", "config", "version",
    ];
    for shell in ["bash", "zsh", "fish"] {
        let script = host.cooper(&["completions", shell]).good().stdout;
        for command in commands {
            assert!(script.contains(command), "{shell}: {command}");
        }
        assert!(script.contains("dry-run"), "{shell}: {script}");
    }
    let program = host.cooper(&["man"]).good().stdout;
    assert!(
        program.starts_with(".ie") && program.contains(".TH cooper 1"),
        "{program}"
    );
    for command in commands {
        let page = host.cooper(&["man", command]).good().stdout;
        assert!(page.contains(&format!(".TH cooper-{command} 1")), "{page}");
        assert!(
            page.contains("EXAMPLES") || page.contains("Examples") || command == "version",
            "{page}"
        );
    }
    host.cooper(&["man", "nothing"]).with(2);
    host.cooper(&["completions", "cmd.exe"]).with(2);
}
