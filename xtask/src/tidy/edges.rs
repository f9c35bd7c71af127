//! Which crate may use which: the table here, the table of `docs/ARCHITECTURE.md` and the manifests agree.

use std::collections::BTreeSet;

use super::{Problem, line_holding};
use crate::tree::Tree;

/// Each crate and the crates of this workspace that it may depend on. `testkit` and whatever else a crate needs for
/// its own tests are development dependencies, which are not looked at.
const TABLE: &[(&str, &[&str])] = &[
    ("cooper-core", &[]),
    ("cooper-store", &["cooper-core"]),
    ("cooper-gate", &["cooper-core"]),
    ("cooper-sandbox", &["cooper-core", "cooper-store"]),
    ("cooper-resolve", &["cooper-core", "cooper-store", "cooper-gate"]),
    (
        "cooper-image",
        &["cooper-core", "cooper-store", "cooper-gate", "cooper-sandbox"],
    ),
    (
        "cooperage",
        &[
            "cooper-core",
            "cooper-store",
            "cooper-gate",
            "cooper-sandbox",
            "cooper-resolve",
            "cooper-image",
        ],
    ),
    ("cooper", &["cooper-core", "cooperage"]),
    ("testkit", &["cooper-core"]),
    ("bench", &[]),
];

const ARCHITECTURE: &str = "docs/ARCHITECTURE.md";

/// Every crate has only edges of the table, and the documentation has the same table.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let crates = tree.crates();
    let mut problems = Vec::new();
    for name in &crates {
        let path = format!("crates/{name}/Cargo.toml");
        let text = tree.text(&path).unwrap_or_default();
        match text.parse::<toml::Table>() {
            Ok(manifest) => check_crate(name, &path, text, &edges(&manifest, &crates), &mut problems),
            Err(error) => problems.push(Problem::at(&path, 1, format!("is not TOML: {}", error.message()))),
        }
    }
    for (name, _) in TABLE.iter().filter(|(name, _)| !crates.contains(name)) {
        let message = format!("{name} is in the table of edges and not in crates/");
        problems.push(Problem::at(ARCHITECTURE, 1, message));
    }
    problems.extend(check_document(tree.text(ARCHITECTURE).unwrap_or_default()));
    problems
}

/// The last column of the document's table says what [`TABLE`] says.
fn check_document(text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut above: Vec<String> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`');
        let Some((_, allowed)) = TABLE.iter().find(|(known, _)| *known == name && cells.len() == 4) else {
            continue;
        };
        let documented: BTreeSet<String> = match cells[3] {
            "–" => BTreeSet::new(),
            "all above" => above.iter().cloned().collect(),
            list => list.split(',').map(|short| full_name(short.trim())).collect(),
        };
        if documented != allowed.iter().map(|edge| (*edge).to_owned()).collect() {
            let message = format!(
                "{name} may use {}, says xtask/src/tidy/edges.rs",
                allowed.join(", ")
            );
            problems.push(Problem::at(ARCHITECTURE, number + 1, message));
        }
        above.push(name.to_owned());
    }
    for (name, _) in TABLE
        .iter()
        .filter(|(name, _)| !above.iter().any(|known| known == name))
    {
        problems.push(Problem::at(
            ARCHITECTURE,
            1,
            format!("its table has no row for `{name}`"),
        ));
    }
    problems
}

/// `core` is `cooper-core`.
fn full_name(short: &str) -> String {
    let long = format!("cooper-{short}");
    if TABLE.iter().any(|(known, _)| *known == long) {
        long
    } else {
        short.to_owned()
    }
}

fn check_crate(name: &str, path: &str, text: &str, found: &BTreeSet<String>, problems: &mut Vec<Problem>) {
    let Some((_, allowed)) = TABLE.iter().find(|(known, _)| known == &name) else {
        let message = "is not in the table of edges (xtask/src/tidy/edges.rs and docs/ARCHITECTURE.md)";
        problems.push(Problem::at(path, 1, message));
        return;
    };
    for edge in found.iter().filter(|edge| !allowed.contains(&edge.as_str())) {
        problems.push(Problem::at(
            path,
            line_holding(text, edge),
            format!("{name} must not depend on {edge}"),
        ));
    }
}

/// The crates of this workspace among the normal and build dependencies, for every platform.
fn edges(manifest: &toml::Table, crates: &[&str]) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = std::iter::once(manifest).chain(
        targets
            .into_iter()
            .flat_map(toml::Table::values)
            .filter_map(toml::Value::as_table),
    );
    let mut found = BTreeSet::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies"] {
            let entries = table.get(kind).and_then(toml::Value::as_table);
            for (name, value) in entries.into_iter().flatten() {
                let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(name);
                if crates.contains(&package) {
                    found.insert(package.to_owned());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;

    /// Manifests that follow the table, with one replaced.
    fn manifests(name: &str, dependencies: &str) -> Vec<(String, String)> {
        let manifest = |(own, edges): &(&str, &[&str])| {
            let lines = edges.join(".workspace = true\n")
                + if edges.is_empty() {
                    ""
                } else {
                    ".workspace = true\n"
                };
            let lines = if *own == name {
                dependencies.to_owned()
            } else {
                format!("[dependencies]\n{lines}")
            };
            (
                format!("crates/{own}/Cargo.toml"),
                format!("[package]\nname = \"{own}\"\n{lines}"),
            )
        };
        TABLE.iter().map(manifest).collect()
    }

    /// A document that has the table, each name in full.
    fn document() -> String {
        let row = |(name, edges): &(&str, &[&str])| {
            let edges = if edges.is_empty() {
                "–".to_owned()
            } else {
                edges.join(", ")
            };
            format!("| `{name}` | what | must not | {edges} |\n")
        };
        TABLE.iter().map(row).collect::<Vec<_>>().concat()
    }

    fn problems(name: &str, dependencies: &str) -> Vec<String> {
        let mut manifests = manifests(name, dependencies);
        manifests.push((ARCHITECTURE.to_owned(), document()));
        let files: Vec<(&str, &str)> = manifests
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        shown(check, &files)
    }

    #[test]
    fn the_table_itself_passes_and_development_dependencies_are_free() {
        assert_eq!(problems("", ""), [""; 0]);
        let dependencies = "[dependencies]\ncooper-core = {}\n[dev-dependencies]\ntestkit = {}\n";
        assert_eq!(problems("cooper-gate", dependencies), [""; 0]);
    }

    #[test]
    fn wrong_edges_are_seen_however_they_are_written() {
        let plain = "[dependencies]\ncooper-core = {}\ncooper-store = {}\n";
        assert_eq!(
            problems("cooper-gate", plain),
            ["crates/cooper-gate/Cargo.toml:5: cooper-gate must not depend on cooper-store"]
        );
        let renamed = "[dependencies]\ncooper-core = {}\nx = { package = \"testkit\" }\n";
        assert_eq!(
            problems("cooper-gate", renamed),
            ["crates/cooper-gate/Cargo.toml:5: cooper-gate must not depend on testkit"]
        );
        let platform =
            "[dependencies]\ncooper-core = {}\n[target.'cfg(unix)'.dependencies]\ncooper-image = {}\n";
        assert_eq!(problems("cooper-gate", platform).len(), 1);
        let build = "[build-dependencies]\ncooper = {}\n";
        assert_eq!(problems("cooper-core", build).len(), 1);
    }

    #[test]
    fn unknown_and_lost_crates_are_seen() {
        let document = document();
        let shown =
            |files: &[(&str, &str)]| shown(check, &[files, &[(ARCHITECTURE, document.as_str())]].concat());
        let unknown = shown(&[("crates/new/Cargo.toml", "[package]")]);
        assert!(
            unknown[0].starts_with("crates/new/Cargo.toml:1: is not in the table"),
            "{unknown:?}"
        );
        assert_eq!(unknown.len(), 1 + TABLE.len());
        let broken = shown(&[("crates/cooper-core/Cargo.toml", "[")]);
        assert!(broken[0].contains("is not TOML"), "{broken:?}");
    }

    #[test]
    fn the_document_says_the_same() {
        let told = |text: &str| {
            check_document(text)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&document()), [""; 0]);
        let short = document().replace(
            "| cooper-core, cooper-store, cooper-gate |",
            "| core, store, gate |",
        );
        assert_ne!(short, document());
        assert_eq!(told(&short), [""; 0]);
        let all = "cooper-core, cooper-store, cooper-gate, cooper-sandbox, cooper-resolve, cooper-image";
        assert_eq!(told(&document().replace(all, "all above")), [""; 0]);
        let wrong = told(&document().replacen("| cooper-core |", "| – |", 1));
        assert_eq!(
            wrong,
            ["docs/ARCHITECTURE.md:2: cooper-store may use cooper-core, says xtask/src/tidy/edges.rs"]
        );
        let lost = told(&document().replace("| `bench`", "| `other`"));
        assert_eq!(lost, ["docs/ARCHITECTURE.md:1: its table has no row for `bench`"]);
    }
}
