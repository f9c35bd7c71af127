//! The benchmark: cooper and its peers, measured in one run.
//!
//! Flow: options → a base image made once ([`base`]) → an own Docker Engine ([`docker`]) → the cases ([`case`]),
//! each a round of contenders that take turns ([`measure`]) → a table in `BENCHMARKS.md` ([`report`]).
//!
//! It must not use any other crate of this workspace: cooper is measured as the program that users start. It
//! must stay on one thread, since [`namespace`] moves that thread between mount namespaces.

mod args;
mod base;
mod case;
mod cooper;
mod docker;
mod error;
mod machine;
mod many;
mod measure;
mod namespace;
mod report;
mod round;
mod run_case;
mod run_folder;
mod sets;
mod uv;
mod warm_case;

use std::io::Write as _;
use std::process::ExitCode;

use crate::args::Options;
use crate::case::{Bench, CaseResult};
use crate::error::BenchError;
use crate::machine::Machine;
use crate::run_folder::RunFolder;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&words).and_then(|options| bench(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            say(&format!("error: {}", error.chain()));
            ExitCode::from(1)
        }
    }
}

/// Measure, and write what was measured; whether nothing failed and every required ratio was reached.
fn bench(options: &Options) -> Result<bool, BenchError> {
    let run_folder = RunFolder::make(&options.work)?;
    let base = base::base_tar(options, run_folder.path())?;
    let bench = Bench::start(options, run_folder.path(), &base)?;
    let machine = Machine::describe(options, &bench)?;
    let results = bench.cases();
    drop(bench);
    let block = report::block(&machine, &results);
    if options.writes_report() {
        report::write(&options.report, &block)?;
        say(&format!("written to {}", options.report.display()));
    }
    say(&block);
    let good = results.iter().all(CaseResult::is_good);
    if !good {
        say("error: something failed, or a required ratio was missed: see the table");
    }
    Ok(good)
}

/// A line for the person who waits.
fn say(text: &str) {
    // Nobody is left to be told when this fails.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
