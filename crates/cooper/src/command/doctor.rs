//! `cooper doctor`: what this host can enforce, what is missing and what brings it; the walls tried in a real sandbox.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use cooper_core::clock::SystemClock;
use cooperage::doctor::{clock_check, store_check};
use cooperage::{Check, State, self_test, survey};
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::host::become_able;
use crate::render::table::printable;
use crate::render::unit;
use crate::shell::Shell;

const EXAMPLES: &str = "\
Examples:
  cooper doctor
  cooper doctor --json
  sudo cooper doctor              # as root sees it

What is `bad` hinders images from being made or run; `weak` works and holds less; `absent` is
optional. The names that begin with `run-` were tried from inside of a real sandbox, by this program
itself: no image is needed. Exit status: 0, or 1 when something is bad.";

/// Check what this host can enforce, and try the walls of a sandbox
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct DoctorArgs {}

/// What the tried program is told to do.
#[derive(Debug, Args)]
pub(crate) struct InsideArgs {
    words: Vec<String>,
}

/// The hidden command by which the program tries the sandbox that it is in.
const INSIDE: &str = "inside";

/// Execute `cooper doctor`.
pub(crate) fn doctor(shell: &Shell) -> Result<Exit, Failure> {
    let settings = shell.settings()?;
    // As the calling user sees it, before the process is root of a namespace.
    let mut checks = survey();
    checks.push(store_check(&settings.store()?));
    checks.push(clock_check(&SystemClock));
    checks.extend(tried(shell));
    let bad = checks.iter().filter(|check| check.state == State::Bad).count() as u64;
    shell.print(|| document(&checks), |out| write(out, &checks, bad))?;
    Ok(if bad == 0 { Exit::GOOD } else { Exit::FAILURE })
}

/// Execute the hidden `cooper inside`.
pub(crate) fn inside(args: &InsideArgs, shell: &Shell) -> Result<Exit, Failure> {
    shell.write(|out| out.write_all(cooperage::inside(&args.words).as_bytes()))?;
    Ok(Exit::GOOD)
}

fn tried(shell: &Shell) -> Vec<Check> {
    let not_tried = |told: String| vec![Check::new("run", State::Bad, told)];
    if let Err(failure) = become_able("a sandbox") {
        return not_tried(failure.sentence());
    }
    let folder = match Folder::make(shell.temporary_folder()) {
        Ok(folder) => folder,
        Err(error) => return not_tried(format!("cannot make a temporary folder: {error}")),
    };
    let words = [OsString::from(INSIDE)];
    match self_test(&folder.0, &words) {
        Ok(checks) => checks,
        Err(error) => not_tried(Failure::of(crate::failure::Code::Of("self-test"), &error).sentence()),
    }
}

/// An empty folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn make(parent: &Path) -> io::Result<Self> {
        let path = parent.join(format!("cooper-doctor-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self(path);
        // Whatever the umask is: a run's user looks into its root.
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Only directories are in it, made by the self-test, each of them empty.
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(&self.0);
    }
}

fn document(checks: &[Check]) -> Value {
    let check = |check: &Check| {
        json!({
            "check": check.code,
            "state": check.state.as_str(),
            "message": check.told,
            "remedy": check.remedy,
        })
    };
    json!({
        "good": checks.iter().all(|check| check.state != State::Bad),
        "checks": checks.iter().map(check).collect::<Value>(),
    })
}

fn write(out: &mut dyn Write, checks: &[Check], bad: u64) -> io::Result<()> {
    let width = checks.iter().map(|check| check.code.len()).max().unwrap_or(0);
    for check in checks {
        let told = printable(&check.told);
        writeln!(out, "{:<6}  {:<width$}  {told}", check.state.as_str(), check.code)?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "{:<6}  {:<width$}  helps: {}", "", "", printable(remedy))?;
        }
    }
    match bad {
        0 => writeln!(out, "images can be made and run"),
        bad => writeln!(
            out,
            "{} in the way of making or running images",
            unit::count(bad, "fault")
        ),
    }
}
