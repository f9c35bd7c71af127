//! `cooper check --names`, `--plan` and `--sbom`: lists that somebody else made.

use std::io::{self, Write};
use std::path::Path;

use cooper_core::PythonName;
use cooper_core::python::DistributionVersion;
use cooperage::{ListChecked, Sbom};
use serde::Serialize;

use crate::command::create::settings;
use crate::command::subject::Subject;
use crate::failure::{Code, Exit, Failure};
use crate::render::table::{Align, Table};
use crate::shell::{Need, Shell, input_name, open_workshop, read_input};

/// How large a list may be.
const LIST_BYTES_MAX: u64 = 64 << 20;

/// Judge the names of a file, one a line.
pub(crate) fn names(file: &Path, subject: &Subject, shell: &Shell) -> Result<Exit, Failure> {
    let text = read_list(file)?;
    let workshop = open_workshop(&settings(&subject.terms, shell)?, Need::Store)?;
    let image = subject.name()?;
    let checked = workshop.check_names(entries(&text).map(|(_, name)| name), image.as_ref())?;
    let lines = &checked.lines;
    let verdicts = lines.iter().map(|one| one.verdict);
    show(&checked, shell, |out| {
        let mut table = Table::new([
            ("VERDICT", Align::Left),
            ("NAME", Align::Left),
            ("CODE", Align::Left),
            ("WHY", Align::Left),
        ]);
        for one in lines {
            let code = one.code.unwrap_or_default().to_owned();
            table.row([one.verdict.to_owned(), shown(&one.name), code, one.why.clone()]);
        }
        table.write(out, "")
    })?;
    Ok(exit_of(verdicts, &checked))
}

/// Judge the `name==version` lines of a file.
pub(crate) fn versions(file: &Path, subject: &Subject, shell: &Shell) -> Result<Exit, Failure> {
    let text = read_list(file)?;
    let packages = entries(&text).map(|(number, line)| {
        version_of(line).ok_or_else(|| {
            let shown: String = line.chars().take(80).collect();
            let message = format!("{}:{number}: `{shown}` is no `name==version`", file.display());
            Failure::new(Code::Usage, message).hint("write `jinja2==3.1.6`, one a line".to_owned())
        })
    });
    let packages = packages.collect::<Result<Vec<_>, _>>()?;
    let workshop = open_workshop(&settings(&subject.terms, shell)?, Need::Store)?;
    let image = subject.name()?;
    let checked = workshop.check_versions(packages, image.as_ref())?;
    let lines = &checked.lines;
    let verdicts = lines.iter().map(|one| one.verdict);
    show(&checked, shell, |out| {
        let mut table = Table::new([
            ("VERDICT", Align::Left),
            ("PACKAGE", Align::Left),
            ("ADVISORIES", Align::Left),
        ]);
        for one in lines {
            let package = format!("{} {}", one.name, one.version);
            table.row([one.verdict.to_owned(), package, one.advisories.join(", ")]);
        }
        table.write(out, "")
    })?;
    Ok(exit_of(verdicts, &checked))
}

/// Read an SBOM.
pub(crate) fn read_sbom(file: &Path) -> Result<Sbom, Failure> {
    let text = read_list(file)?;
    Sbom::parse(&text).map_err(|error| {
        Failure::of(Code::Of("invalid-sbom"), &error)
            .told(format!("cannot use the SBOM {}", input_name(file)))
            .hint("give a CycloneDX or an SPDX 2 document in JSON, with package URLs".to_owned())
    })
}

/// Without the mark at its beginning that some editors and programs write.
fn read_list(file: &Path) -> Result<String, Failure> {
    let read = read_input(file, LIST_BYTES_MAX);
    let read = read.map(|text| match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    });
    read.map_err(|error| {
        Failure::new(Code::Usage, format!("cannot read {}: {error}", input_name(file)))
            .hint("check the path, and that it is a text in UTF-8".to_owned())
    })
}

/// Lines with their numbers, without comments and empty ones.
fn entries(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or(line).trim());
    let lines = lines.enumerate().map(|(at, line)| (at + 1, line));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// The beginning of what may be no name, with what does not print escaped: one cell is as wide as the widest.
fn shown(name: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let start = name.chars().take(CHARACTERS_MAX).flat_map(char::escape_debug);
    let rest = name.chars().nth(CHARACTERS_MAX).map(|_| '…');
    start.chain(rest).collect()
}

/// What follows a blank, as a marker or a hash in a requirements file does, is passed over.
fn version_of(line: &str) -> Option<(PythonName, DistributionVersion)> {
    let (name, version) = line.split_once("==")?;
    let name = name.split('[').next().unwrap_or(name);
    let version = version.trim_start_matches('=').trim_start();
    let version = version.split([' ', ';', '\\', '#']).next()?;
    Some((name.trim().parse().ok()?, version.parse().ok()?))
}

/// One JSON document a line, or a table; beside it, what evidence is missing.
fn show<T: Serialize>(
    checked: &ListChecked<T>,
    shell: &Shell,
    table: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    for unjudged in &checked.unjudged {
        shell.note(
            "note",
            &format!("{}: {}: {}", unjudged.gate, unjudged.why, unjudged.hint),
        );
    }
    shell.write(|out| {
        if !shell.json() {
            return table(out);
        }
        for one in &checked.lines {
            serde_json::to_writer(&mut *out, one).map_err(io::Error::from)?;
            writeln!(out)?;
        }
        Ok(())
    })
}

/// Evidence that is old still says what it says; where there is none, nothing passes.
fn exit_of<'a, T>(mut verdicts: impl Iterator<Item = &'a str>, checked: &ListChecked<T>) -> Exit {
    if verdicts.any(|verdict| !matches!(verdict, "pass" | "unknown")) {
        Exit::REFUSED
    } else if checked.is_without_evidence {
        Exit::UNKNOWN
    } else {
        Exit::GOOD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_a_pinned_requirements_file_has_them() {
        let read = |line: &str| version_of(line).map(|(name, version)| format!("{name} {version}"));
        for (line, expected) in [
            ("Jinja2==3.1.6", Some("jinja2 3.1.6")),
            ("a_b === 1.0", Some("a-b 1.0")),
            ("a[x] == 1.0 ; python_version > '3'", Some("a 1.0")),
            ("a==1.0 \\", Some("a 1.0")),
            ("a==1.0 --hash=sha256:0", Some("a 1.0")),
            ("a>=1", None),
            ("a==x y", None),
        ] {
            assert_eq!(read(line).as_deref(), expected, "{line}");
        }
    }
}
