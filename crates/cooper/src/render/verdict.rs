//! Verdicts and findings, for people, for programs, and as SARIF.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write};

use cooper_core::{Ecosystem, Effect, Finding};
use cooperage::UnreadArtefacts;
use cooperage::gate::{Outcome, Verdict, code};
use serde_json::{Value, json};

use crate::render::table::printable;
use crate::render::unit;

/// A verdict in one line: `refused: 2 findings hold or refuse (profile testing)`.
pub(crate) fn headline(verdict: &Verdict) -> String {
    let refusing = verdict
        .findings
        .iter()
        .filter(|finding| finding.refuses())
        .count();
    let waived = verdict.waivers().count();
    let said = match verdict.outcome {
        Outcome::Refused if refusing == 1 => "1 finding holds or refuses".to_owned(),
        Outcome::Refused => format!("{} hold or refuse", unit::count(refusing as u64, "finding")),
        Outcome::Unknown => {
            let mut gates: Vec<&str> = verdict.unjudged.iter().map(|one| one.gate.as_str()).collect();
            gates.dedup();
            format!(
                "nothing holds, and this could not be judged: {}",
                gates.join(", ")
            )
        }
        Outcome::Passed => "nothing holds".to_owned(),
    };
    let lifted = match waived {
        0 => String::new(),
        count => format!(", {count} lifted by waivers"),
    };
    format!(
        "{}: {said}{lifted} (profile {})",
        verdict.outcome.as_str(),
        verdict.profile
    )
}

/// From how many on notes of one code about packages of one kind are shown in one line.
const ALIKE_MIN: usize = 4;
/// How many packages such a line names.
const NAMED_MAX: usize = 3;

/// The findings of a verdict as people are shown them.
pub(crate) struct Shown<'a> {
    /// Those that are shown one by one, in the verdict's order.
    pub(crate) single: Vec<&'a Finding>,
    /// Notes that say much the same of many packages: their code, and `36 Debian packages (bash, coreutils, dpkg and 33 more)`.
    pub(crate) alike: Vec<(&'a str, String)>,
}

/// Put together what is alike: notes of one code about packages of one kind.
pub(crate) fn shown(verdict: &Verdict) -> Shown<'_> {
    let mut kinds: BTreeMap<(&str, Ecosystem), Vec<&str>> = BTreeMap::new();
    for (kind, name) in verdict.findings.iter().filter_map(kind_of) {
        kinds.entry(kind).or_default().push(name);
    }
    // Of an image's licences there is only the record: that is one line from the first on.
    let is_record =
        |(code, ecosystem): (&str, Ecosystem)| ecosystem == Ecosystem::Debian && code.starts_with("LICENCE-");
    kinds.retain(|kind, names| names.len() >= ALIKE_MIN || is_record(*kind));
    let is_single = |finding: &&Finding| kind_of(finding).is_none_or(|(kind, _)| !kinds.contains_key(&kind));
    Shown {
        single: verdict.findings.iter().filter(is_single).collect(),
        alike: kinds
            .iter()
            .map(|((code, ecosystem), names)| (*code, alike(*ecosystem, names)))
            .collect(),
    }
}

/// What a note may be alike with others in, and the name of its package.
fn kind_of(finding: &Finding) -> Option<((&str, Ecosystem), &str)> {
    let package = finding.package.as_ref()?;
    let kind = (finding.code.as_str(), package.ecosystem);
    (finding.effect == Effect::Note).then_some((kind, package.name.as_str()))
}

fn alike(ecosystem: Ecosystem, findings: &[&str]) -> String {
    let names: BTreeSet<&str> = findings.iter().copied().collect();
    let what = match ecosystem {
        Ecosystem::Debian => "Debian package",
        Ecosystem::Python => "Python package",
    };
    let counted = unit::count(names.len() as u64, what);
    let first: Vec<&str> = names.iter().copied().take(NAMED_MAX).collect();
    let first = match names.len().saturating_sub(NAMED_MAX) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    };
    if findings.len() > names.len() {
        format!(
            "{} about {counted} ({first})",
            unit::count(findings.len() as u64, "note")
        )
    } else {
        format!("{counted} ({first})")
    }
}

/// The verdict with every finding.
pub(crate) fn write(out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
    writeln!(out, "{}", printable(&headline(verdict)))?;
    write_findings(out, verdict)?;
    for unjudged in &verdict.unjudged {
        writeln!(out, "\n? {}  {}", unjudged.gate, printable(&unjudged.why))?;
        writeln!(out, "  help      {}", printable(&unjudged.hint))?;
    }
    Ok(())
}

/// Every finding.
pub(crate) fn write_findings(out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
    let Shown { single, alike } = shown(verdict);
    for finding in single {
        write_finding(out, finding)?;
    }
    for (code, line) in alike {
        writeln!(out, "\nnote  {code}  {}", printable(&line))?;
        writeln!(
            out,
            "  help      `--json` tells of each; `cooper check --why {code}` explains it"
        )?;
    }
    Ok(())
}

fn write_finding(out: &mut dyn Write, finding: &Finding) -> io::Result<()> {
    let mark = match (&finding.waived, finding.effect) {
        (Some(_), _) => "waived",
        (None, effect) => effect.as_str(),
    };
    let severity = finding
        .severity
        .map_or(String::new(), |severity| format!(" ({})", severity.as_str()));
    let subject = printable(&finding.subject);
    writeln!(out, "\n{mark}  {}  {subject}{severity}", finding.code)?;
    writeln!(out, "  why       {}", printable(&finding.message))?;
    if !finding.advisories.is_empty() {
        writeln!(out, "  advisory  {}", printable(&finding.advisories.join(", ")))?;
    }
    if finding.path.len() > 1 {
        writeln!(out, "  path      {}", printable(&finding.path.join(" → ")))?;
    }
    if let Some(evidence) = &finding.evidence {
        writeln!(out, "  evidence  {}", printable(evidence))?;
    }
    match &finding.waived {
        Some(waived) => {
            let text = format!(
                "{} by {} until {}: {}",
                waived.waiver,
                waived.by,
                unit::time(waived.until),
                waived.reason
            );
            writeln!(out, "  waiver    {}", printable(&text))
        }
        None => writeln!(out, "  help      {}", printable(&finding.hint)),
    }
}

/// What waits for the artefacts, for programs; null where nothing does.
pub(crate) fn unread_json(unread: &UnreadArtefacts) -> Value {
    match unread.gates() {
        [] => Value::Null,
        gates => json!({ "gates": gates, "python": unread.python, "debian": unread.debian }),
    }
}

/// Where findings are shown in a file: its path, and the line of a package's name.
pub(crate) struct Place<'a> {
    pub(crate) file: &'a str,
    pub(crate) text: &'a str,
}

impl Place<'_> {
    /// The line, from 1, that begins with this package's name; the first where there is none.
    fn line(&self, package: &str) -> usize {
        let normalised = |text: &str| text.to_ascii_lowercase().replace(['_', '.'], "-");
        let package = normalised(package);
        let of_package = |line: &str| {
            let name = line.trim_start().trim_start_matches('"');
            let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)));
            normalised(&name[..end.unwrap_or(name.len())]) == package
        };
        self.text.lines().position(of_package).map_or(1, |at| at + 1)
    }
}

/// SARIF 2.1.0 (OASIS): one run, one result for each finding that is no note, notes as notes.
pub(crate) fn sarif(verdict: &Verdict, place: Option<&Place<'_>>) -> Value {
    let mut codes: Vec<&str> = verdict
        .findings
        .iter()
        .map(|finding| finding.code.as_str())
        .collect();
    codes.sort_unstable();
    codes.dedup();
    let rules = codes.iter().map(|code| {
        let explained = code::explain(code).map_or("", |explained| explained.explanation);
        json!({ "id": code, "fullDescription": { "text": explained }, "help": { "text": explained } })
    });
    let results = verdict
        .findings
        .iter()
        .map(|finding| sarif_result(finding, place));
    let unjudged = verdict.unjudged.iter().map(|one| {
        json!({
            "level": "warning",
            "message": { "text": format!("{} could not be judged: {}. {}", one.gate, one.why, one.hint) },
        })
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "cooper",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Value>(),
            } },
            "invocations": [{
                "executionSuccessful": verdict.unjudged.is_empty(),
                "toolExecutionNotifications": unjudged.collect::<Value>(),
            }],
            "results": results.collect::<Value>(),
        }],
    })
}

/// A path as a reference to a URI (RFC 3986): bytes that are no plain ones are percent-encoded.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

fn sarif_result(finding: &Finding, place: Option<&Place<'_>>) -> Value {
    let level = if finding.effect == Effect::Note {
        "note"
    } else {
        "error"
    };
    let text = format!("{}: {}. {}", finding.subject, finding.message, finding.hint);
    let mut location = json!({
        "logicalLocations": [{ "fullyQualifiedName": finding.subject, "kind": "package" }],
    });
    if let Some(place) = place {
        let package = finding.package.as_ref().map(|package| package.name.as_str());
        // What is needed by something else is shown where that is asked for.
        let named = finding.path.first().map(String::as_str).or(package);
        location["physicalLocation"] = json!({
            "artifactLocation": { "uri": uri(place.file) },
            "region": { "startLine": named.map_or(1, |name| place.line(name)) },
        });
    }
    let mut result = json!({
        "ruleId": finding.code,
        "level": level,
        "message": { "text": text },
        "locations": [location],
        "partialFingerprints": { "finding/v1": format!("{} {} {}", finding.code, finding.subject, finding.advisories.join(" ")) },
        "properties": {
            "effect": finding.effect,
            "severity": finding.severity,
            "advisories": finding.advisories,
            "path": finding.path,
        },
    });
    if let Some(waived) = &finding.waived {
        let why = format!("waiver {} of {}: {}", waived.waiver, waived.by, waived.reason);
        result["suppressions"] = json!([{ "kind": "external", "status": "accepted", "justification": why }]);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_found_in_its_file() {
        let text = "# needed\nrequests==2.31.0 \\\n  --hash=sha256:00\nPyYAML>=6\nruamel.yaml\n";
        let place = Place {
            file: "requirements.txt",
            text,
        };
        assert_eq!(place.line("requests"), 2);
        assert_eq!(place.line("pyyaml"), 4);
        assert_eq!(place.line("ruamel-yaml"), 5);
        assert_eq!(place.line("unknown"), 1);
    }

    #[test]
    fn a_path_becomes_a_uri() {
        assert_eq!(uri("a/requirements.txt"), "a/requirements.txt");
        assert_eq!(uri("my list#1 ü.txt"), "my%20list%231%20%C3%BC.txt");
    }
}
