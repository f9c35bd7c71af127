//! The repository's own tasks: `cargo xtask tidy`, `cargo xtask names`, `cargo xtask licences`.
//!
//! `tidy` checks what compiler and linter cannot: the direction of dependencies, the shape of files, what texts
//! must not say, and that the documentation is true where that can be read off. It reads files and runs
//! `git ls-files`; it changes nothing. `names` measures the names gate on lists, and with `--made` on look-alikes that it makes, for BENCHMARKS;
//! `licences` runs the licence gate over its labelled set, optimised, and prints precision, coverage and times.

mod names;
mod rust_text;
mod tidy;
mod tree;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask tidy | licences | names --made";
/// Tests that print tables, and hold the same numbers to their limits.
const LICENCES: &[&str] = &[
    "licences::the_labelled_set_is_answered_precisely",
    "licences::a_fresh_sample_is_answered",
];
const MADE_NAMES: &[&str] = &[
    "made_names::made_look_alikes_are_held",
    "made_names::real_names_pass_wherever_the_list_ends",
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == ["tidy"] {
        return run_tidy();
    }
    if arguments == ["licences"] {
        return run_tests(LICENCES);
    }
    if arguments == ["names", "--made"] {
        return run_tests(MADE_NAMES);
    }
    if let Some(options) = arguments
        .strip_prefix(&["names".to_owned()])
        .and_then(names::Options::parse)
    {
        return run_names(&options);
    }
    say(USAGE);
    say(names::USAGE);
    ExitCode::from(2)
}

fn run_tidy() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let tree = match tree::Tree::of_repository(&root) {
        Ok(tree) => tree,
        Err(error) => {
            say(&format!("error: {error}"));
            return ExitCode::from(1);
        }
    };
    let problems = tidy::problems(&tree);
    for problem in &problems {
        say(&problem.to_string());
    }
    if problems.is_empty() {
        say(&format!("tidy: {} files, nothing to say", tree.files().len()));
        return ExitCode::SUCCESS;
    }
    say(&format!("tidy: {} problems", problems.len()));
    ExitCode::from(1)
}

/// Run tests of the gates, optimised, one after the other, and show what they print.
fn run_tests(tests: &[&str]) -> ExitCode {
    let options = [
        "test",
        "--release",
        "-q",
        "-p",
        "cooper-gate",
        "--test",
        "it",
        "--",
    ];
    let status = std::process::Command::new("cargo")
        .args(options)
        .args(["--exact", "--nocapture", "--test-threads=1"])
        .args(tests)
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            say(&format!("error: cannot run cargo: {error}"));
            ExitCode::from(1)
        }
    }
}

fn run_names(options: &names::Options) -> ExitCode {
    match names::table(options) {
        Ok(table) => {
            let _ = write!(std::io::stdout(), "{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(1)
        }
    }
}

fn say(line: &str) {
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(std::io::stderr(), "{line}");
}
