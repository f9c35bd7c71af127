//! `cooper waive`: let a hold pass, for one version of one package, until a date.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use cooper_core::Timestamp;
use cooperage::gate::Waiver;
use cooperage::{NewWaiver, WaiverState};
use serde_json::json;

use crate::command::subject::Subject;
use crate::command::waive_all::{Wanted, read_verdict, waive_all};
use crate::failure::{Code, Exit, Failure};
use crate::render::table::{Align, Table, printable};
use crate::render::unit;
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper waive CVE-2024-3651 --package idna --version 3.6 --reason 'no input from outside' \\
      --until 2027-01-31 --by ada@example.org
  cooper waive AGE-YOUNG --package acme-lib --version 2.0 --reason 'our own release' \\
      --until 2026-12-24 --by ada@example.org
  cooper waive --requirements requirements.txt --dry-run --reason 'a review' \\
      --until 2027-01-31 --by ada@example.org
  cooper waive --image example_name --only LICENCE-DENIED --reason 'LGPL, used unchanged: agreed' \\
      --until 2027-01-31 --by ada@example.org
  cooper create a -r requirements.txt --json > refused.json
  cooper waive --from refused.json --reason 'read, all of them' --until 2027-01-31 --by ada
  cooper waive --list
  cooper waive --revoke 3 --by ada@example.org

A waiver lifts a finding that holds, never one that refuses. Of a set, each finding that holds is
waived by itself, for that version of that package: `--requirements`, `--dependencies`,
`--packages`, `--image`, `--lock` and `--sbom` are judged as by `cooper check`, `--from` is a
verdict that was printed. Waivers are kept in the store, and only added to; every verdict that
used one names it. After its end it lifts nothing.";

/// What has a verdict of which each finding that holds is waived.
const SET: [&str; 7] = [
    "from",
    "requirements",
    "dependencies",
    "packages",
    "image",
    "lock",
    "sbom",
];

/// Let a finding that holds pass, with a reason and an end
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, group = ArgGroup::new("set").args(SET).multiple(true))]
pub(crate) struct WaiveArgs {
    /// A finding's code, or an advisory: `AGE-YOUNG`, `CVE-2024-3651`
    #[arg(value_name = "FINDING", conflicts_with = "set", required_unless_present_any = ["list", "revoke", "set"])]
    finding: Option<String>,
    /// The package
    #[arg(long, value_name = "NAME", requires = "finding", required_unless_present_any = ["list", "revoke", "set"])]
    package: Option<String>,
    /// Its version
    #[arg(long, value_name = "VERSION", requires = "finding", required_unless_present_any = ["list", "revoke", "set"])]
    version: Option<String>,
    /// Why it may pass
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["list", "revoke"], required_unless_present_any = ["list", "revoke"])]
    reason: Option<String>,
    /// Until when: `2027-01-31` (to the end of that day, UTC) or a time
    #[arg(long, value_name = "DATE", conflicts_with_all = ["list", "revoke"], required_unless_present_any = ["list", "revoke"])]
    until: Option<String>,
    /// Who answers for it
    #[arg(long, value_name = "WHO", required_unless_present = "list")]
    by: Option<String>,
    /// Waive each finding that holds in a verdict: what `check`, `create` or `inspect` printed with `--json` (`-`: standard
    /// input)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["requirements", "dependencies", "packages", "base", "image", "lock", "sbom", "name"])]
    from: Option<PathBuf>,
    /// Python requirements (PEP 508), separated by commas
    #[arg(long, short, value_name = "LIST", conflicts_with_all = ["image", "lock", "sbom"])]
    dependencies: Vec<String>,
    #[command(flatten)]
    subject: Subject,
    /// Of a set: only findings of this code, or of this advisory; may be repeated
    #[arg(long, value_name = "CODE", requires = "set")]
    only: Vec<String>,
    /// Of a set: only show what would be waived
    #[arg(long, requires = "set")]
    dry_run: bool,
    /// Show every waiver that was ever given
    #[arg(long, conflicts_with_all = ["finding", "set", "revoke", "by"])]
    list: bool,
    /// Take a waiver back
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["finding", "set"])]
    revoke: Option<u64>,
}

/// Execute `cooper waive`.
pub(crate) fn waive(args: &WaiveArgs, shell: &Shell) -> Result<Exit, Failure> {
    let open = || open_workshop(&shell.settings()?, Need::Store);
    if args.list {
        let states = open()?.waiver_states()?;
        shell.print(|| json!({ "waivers": states }), |out| write_list(out, &states))?;
        return Ok(Exit::GOOD);
    }
    if let Some(number) = args.revoke {
        let waiver = open()?.revoke(number, args.by.as_deref().unwrap_or_default())?;
        shell.print(
            || json!({ "revoked": waiver }),
            |out| writeln!(out, "revoked waiver {number}: {}", printable(&sentence(&waiver))),
        )?;
        return Ok(Exit::GOOD);
    }
    let Some(finding) = args.finding.clone() else {
        return waive_set(args, shell);
    };
    let new = NewWaiver {
        finding,
        package: args.package.clone().unwrap_or_default(),
        version: args.version.clone().unwrap_or_default(),
        ..terms_of(args)?
    };
    let waiver = open()?.waive(&new)?;
    shell.print(
        || json!({ "waiver": waiver }),
        |out| writeln!(out, "waiver {}: {}", waiver.number, printable(&sentence(&waiver))),
    )?;
    Ok(Exit::GOOD)
}

/// Who answers for it, why, and until when; for nothing yet.
fn terms_of(args: &WaiveArgs) -> Result<NewWaiver, Failure> {
    Ok(NewWaiver {
        finding: String::new(),
        package: String::new(),
        version: String::new(),
        reason: args.reason.clone().unwrap_or_default(),
        by: args.by.clone().unwrap_or_default(),
        until: end_of(args.until.as_deref().unwrap_or_default())?,
    })
}

/// Waive each finding that holds in a verdict: one that was printed, or one that is made now.
fn waive_set(args: &WaiveArgs, shell: &Shell) -> Result<Exit, Failure> {
    let each = terms_of(args)?;
    let (workshop, findings) = if let Some(file) = &args.from {
        (
            open_workshop(&shell.settings()?, Need::Store)?,
            read_verdict(file)?,
        )
    } else {
        let (workshop, checked) = args.subject.judge(&args.dependencies, shell)?;
        for note in &checked.notes {
            shell.note("note", note);
        }
        (workshop, checked.verdict.findings)
    };
    let wanted = Wanted {
        findings: &findings,
        only: &args.only,
        dry_run: args.dry_run,
    };
    waive_all(&wanted, &each, &workshop, shell)
}

/// A day holds to its end.
fn end_of(text: &str) -> Result<Timestamp, Failure> {
    let whole_day = text.len() == 10;
    let time = if whole_day {
        format!("{text}T23:59:59Z")
    } else {
        text.to_owned()
    };
    time.parse().map_err(|_| {
        let shown: String = text.chars().take(40).collect();
        let failure = Failure::new(Code::Usage, format!("`{shown}` is neither a date nor a time"));
        failure.hint("give `2027-01-31`, or `2027-01-31T12:00:00Z`".to_owned())
    })
}

fn sentence(waiver: &Waiver) -> String {
    let Waiver {
        finding,
        package,
        version,
        by,
        until,
        reason,
        ..
    } = waiver;
    let until = unit::time(*until);
    format!("{finding} for {package} {version}, by {by} until {until}: {reason}")
}

fn write_list(out: &mut dyn Write, states: &[WaiverState]) -> io::Result<()> {
    if states.is_empty() {
        return writeln!(out, "no waiver was ever given in this store");
    }
    let mut table = Table::new([
        ("number", Align::Right),
        ("state", Align::Left),
        ("finding", Align::Left),
        ("package", Align::Left),
        ("until", Align::Left),
        ("by", Align::Left),
        ("reason", Align::Left),
    ]);
    for WaiverState { waiver, state } in states {
        table.row([
            waiver.number.to_string(),
            (*state).to_owned(),
            waiver.finding.clone(),
            format!("{} {}", waiver.package, waiver.version),
            unit::time(waiver.until),
            waiver.by.clone(),
            waiver.reason.clone(),
        ]);
    }
    table.write(out, "")
}
