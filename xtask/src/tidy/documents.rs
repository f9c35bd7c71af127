//! What the documentation must hold: every finding code, every crate, links that lead somewhere.

use std::collections::BTreeSet;

use super::Problem;
use crate::tree::{SourceFile, Tree, has_ending};

const FINDINGS: &str = "docs/FINDINGS.md";
const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";
const CHANGELOG: &str = "CHANGELOG.md";

/// The documentation is there, names what it must, and its links lead somewhere.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let mut problems = Vec::new();
    for path in ["README.md", CHANGELOG, ARCHITECTURE, FINDINGS] {
        if tree.text(path).is_none_or(|text| text.trim().is_empty()) {
            problems.push(Problem::at(path, 1, "is missing or empty"));
        }
    }
    problems.extend(crates_named(tree));
    for file in tree.files().iter().filter(|file| has_ending(&file.path, "md")) {
        problems.extend(links(tree, file));
    }
    problems
}

fn crates_named(tree: &Tree) -> Vec<Problem> {
    let text = tree.text(ARCHITECTURE).unwrap_or_default();
    let unnamed = tree
        .crates()
        .into_iter()
        .filter(|name| !text.contains(&format!("`{name}`")));
    unnamed
        .map(|name| Problem::at(ARCHITECTURE, 1, format!("does not name the crate `{name}`")))
        .collect()
}

/// Relative links lead to files, and their anchors to headings.
fn links(tree: &Tree, file: &SourceFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (number, line) in prose(&file.text) {
        for target in targets(line) {
            if let Some(message) = broken(tree, file, target) {
                problems.push(Problem::at(
                    &file.path,
                    number,
                    format!("the link `{target}` {message}"),
                ));
            }
        }
    }
    problems
}

/// The lines outside fenced code, counted from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((number + 1, line));
        }
    }
    lines
}

/// The targets of `[text](target)` in a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let inside = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    inside.map(|target| {
        target
            .split(' ')
            .next()
            .unwrap_or(target)
            .trim_matches(['<', '>'])
    })
}

fn broken(tree: &Tree, file: &SourceFile, target: &str) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let Some(path) = (if path.is_empty() {
        Some(file.path.clone())
    } else {
        resolved(folder, path)
    }) else {
        return Some("leaves the repository");
    };
    if !tree.has(&path) {
        return Some("leads nowhere");
    }
    let text = tree
        .text(&path)
        .filter(|_| has_ending(&path, "md") && !anchor.is_empty())?;
    (!anchors(text).contains(anchor)).then_some("has an anchor that no heading makes")
}

/// `path`, seen from `folder`, below the root; none when it leads out.
fn resolved(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The anchors of a document's headings, as code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|(_, line)| line.starts_with('#'));
    let anchor = |(_, line): (usize, &str)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|character| character.is_alphanumeric() || " -_".contains(*character));
        kept.map(|character| if character == ' ' { '-' } else { character })
            .collect()
    };
    headings.map(anchor).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;

    /// A good set of documents with some replaced or added.
    fn problems(changes: &[(&str, &str)]) -> Vec<String> {
        let mut files = vec![
            ("README.md", "Read [on](docs/ARCHITECTURE.md#two-words)."),
            (CHANGELOG, "new"),
            (ARCHITECTURE, "# Two words\n`a` [up](../README.md)"),
            (FINDINGS, "| `GATE-A` |"),
            ("crates/a/Cargo.toml", ""),
        ];
        files.retain(|(path, _)| !changes.iter().any(|(changed, _)| changed == path));
        files.extend_from_slice(changes);
        shown(check, &files)
    }

    #[test]
    fn good_documents_pass() {
        assert_eq!(problems(&[]), [""; 0]);
    }

    #[test]
    fn documents_must_be_there() {
        assert_eq!(
            problems(&[(CHANGELOG, " \n")]),
            ["CHANGELOG.md:1: is missing or empty"]
        );
    }

    #[test]
    fn every_crate_is_named() {
        assert_eq!(
            problems(&[("crates/b/Cargo.toml", "")]),
            [format!("{ARCHITECTURE}:1: does not name the crate `b`")]
        );
    }

    #[test]
    fn links_lead_somewhere() {
        let readme = |text: &str| problems(&[("README.md", text)]);
        assert_eq!(
            readme("x\n[a](gone.md)"),
            ["README.md:2: the link `gone.md` leads nowhere"]
        );
        assert_eq!(
            readme("[a](../x.md)"),
            ["README.md:1: the link `../x.md` leaves the repository"]
        );
        assert_eq!(
            readme("[a](/docs)"),
            ["README.md:1: the link `/docs` leaves the repository"]
        );
        assert_eq!(
            readme("[a](docs/ARCHITECTURE.md#three)"),
            ["README.md:1: the link `docs/ARCHITECTURE.md#three` has an anchor that no heading makes"]
        );
        assert_eq!(
            readme("[a](docs \"title\") [b](https://x.test/y) [c](#d)\n## D\n```\n[e](gone)\n```\n"),
            [""; 0]
        );
    }
}
