//! `cooper waive` for a whole set: one waiver for each finding that holds in a verdict, which is made here or was printed
//! before.

use std::io::{self, Write};
use std::path::Path;

use cooper_core::Finding;
use cooperage::gate::{Waiver, code};
use cooperage::{Held, NewWaiver, Waivable, Workshop};
use serde_json::{Value, json};

use crate::failure::{Code, Exit, Failure};
use crate::render::table::printable;
use crate::render::unit;
use crate::shell::{Shell, input_name, read_input};

/// How large a verdict may be, in bytes.
const VERDICT_BYTES_MAX: u64 = 64 << 20;

/// Which findings are waived.
pub(crate) struct Wanted<'a> {
    /// Those of the verdict.
    pub(crate) findings: &'a [Finding],
    /// Codes or advisories; all where there is none.
    pub(crate) only: &'a [String],
    /// Whether nothing is written.
    pub(crate) dry_run: bool,
}

/// Waive what is wanted, with what `each` says of all of them.
pub(crate) fn waive_all(
    wanted: &Wanted<'_>,
    each: &NewWaiver,
    workshop: &Workshop,
    shell: &Shell,
) -> Result<Exit, Failure> {
    let findings = wanted.findings;
    if let Some(unknown) = wanted.only.iter().find(|only| !is_known(only, findings)) {
        let shown: String = unknown.chars().take(80).collect();
        let failure = Failure::new(
            Code::Usage,
            format!("`{shown}` is neither a finding's code nor an advisory of this verdict"),
        );
        return Err(failure.hint("`cooper check --why CODE` explains a code".to_owned()));
    }
    let is_wanted = |finding: &Finding| {
        let mut only = wanted.only.iter();
        wanted.only.is_empty() || only.any(|only| is_named(only, finding))
    };
    let held = Held::of(findings, is_wanted);
    if held.waivable.is_empty() && held.fixed.is_empty() {
        let failure = Failure::new(Code::Usage, "nothing of this verdict holds that could be waived");
        return Err(failure.hint("`cooper check` shows what holds now".to_owned()));
    }
    let new = |one: &Waivable| NewWaiver {
        finding: one.finding.clone(),
        package: one.package.clone(),
        version: one.version.clone(),
        ..each.clone()
    };
    let new: Vec<NewWaiver> = held.waivable.iter().map(new).collect();
    let given = if wanted.dry_run {
        workshop.check_waivers(&new)?;
        Vec::new()
    } else {
        workshop.waive_all(&new)?
    };
    shell.print(
        || {
            json!({
                "waivers": given,
                "would_waive": wanted.dry_run.then_some(&held.waivable),
                "not_waivable": held.fixed,
            })
        },
        |out| write(out, &held, &given, each),
    )?;
    Ok(if held.fixed.is_empty() {
        Exit::GOOD
    } else {
        Exit::REFUSED
    })
}

/// The findings of a verdict, of a refused create or of an image, as `check`, `create` or `inspect` printed them with
/// `--json`.
pub(crate) fn read_verdict(file: &Path) -> Result<Vec<Finding>, Failure> {
    let name = input_name(file);
    let hint = || "write one with `cooper check … --json > FILE`, or give `-` and a pipe".to_owned();
    let wrong = |what: String| Failure::new(Code::Usage, what).hint(hint());
    let text = read_input(file, VERDICT_BYTES_MAX)
        .map_err(|error| wrong(format!("cannot read the verdict {name}: {error}")))?;
    let document: Value =
        serde_json::from_str(&text).map_err(|error| wrong(format!("{name} is no JSON: {error}")))?;
    let places = [&document, &document["error"], &document["verdict"]];
    let findings = places.into_iter().find_map(|place| place.get("findings"));
    let findings = findings.ok_or_else(|| wrong(format!("{name} has no verdict in it")))?;
    serde_json::from_value(findings.clone())
        .map_err(|error| wrong(format!("{name} has no verdict in it that can be read: {error}")))
}

fn is_named(only: &str, finding: &Finding) -> bool {
    let mut advisories = finding.advisories.iter();
    finding.code.as_str().eq_ignore_ascii_case(only)
        || advisories.any(|advisory| advisory.eq_ignore_ascii_case(only))
}

fn is_known(only: &str, findings: &[Finding]) -> bool {
    code::explain(only).is_some() || findings.iter().any(|finding| is_named(only, finding))
}

/// Each finding in one line, and what is said of all of them in one.
fn write(out: &mut dyn Write, held: &Held, given: &[Waiver], each: &NewWaiver) -> io::Result<()> {
    for (at, one) in held.waivable.iter().enumerate() {
        let mark = match given.get(at) {
            Some(waiver) => format!("waiver {}:", waiver.number),
            None => "would waive".to_owned(),
        };
        let Waivable {
            finding,
            package,
            version,
            why,
            ..
        } = one;
        let text = format!("{mark} {finding} for {package} {version}: {why}");
        writeln!(out, "{}", printable(&text))?;
    }
    for finding in &held.fixed {
        let text = format!("{} {}: {}", finding.code, finding.subject, finding.message);
        writeln!(out, "no waiver lifts {}", printable(&text))?;
    }
    let count = unit::count(held.waivable.len() as u64, "waiver");
    if given.is_empty() {
        return writeln!(out, "{count} would be given, none is");
    }
    let NewWaiver {
        by, until, reason, ..
    } = each;
    let text = format!("{count} by {by} until {}: {reason}", unit::time(*until));
    writeln!(out, "{}", printable(&text))
}
