//! Which crate may use which: the table of `docs/ARCHITECTURE.md`, and nothing else.

use std::collections::BTreeSet;

use super::{Problem, line_holding};
use crate::tree::Tree;

/// Each crate and the crates of this workspace that it depends on. `testkit` and whatever else a crate needs for
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
];

/// Every crate has exactly the edges of the table.
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
        problems.push(Problem::at(
            "docs/ARCHITECTURE.md",
            1,
            format!("{name} is in the table of edges and not in crates/"),
        ));
    }
    problems
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
    for edge in allowed.iter().filter(|edge| !found.contains(**edge)) {
        problems.push(Problem::at(
            path,
            1,
            format!("the table of edges lets {name} use {edge}, and it does not"),
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

    fn problems(name: &str, dependencies: &str) -> Vec<String> {
        let manifests = manifests(name, dependencies);
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
    fn missing_edges_unknown_crates_and_lost_crates_are_seen() {
        let missing = problems("cooper-gate", "");
        assert_eq!(
            missing,
            [
                "crates/cooper-gate/Cargo.toml:1: the table of edges lets cooper-gate use cooper-core, and it does not"
            ]
        );
        let unknown = shown(check, &[("crates/new/Cargo.toml", "[package]")]);
        assert!(
            unknown[0].starts_with("crates/new/Cargo.toml:1: is not in the table"),
            "{unknown:?}"
        );
        assert_eq!(unknown.len(), 1 + TABLE.len());
        let broken = shown(check, &[("crates/cooper-core/Cargo.toml", "[")]);
        assert!(broken[0].contains("is not TOML"), "{broken:?}");
    }
}
