//! Packages and changes of packages.

use std::io::{self, Write};

use cooper_core::ImageReference;
use cooperage::{Change, Inventory, InventoryPackage};
use serde_json::{Value, json};

use super::table::{Align, Table, printable};

/// One package as a JSON value: `name`, `version`, `licence` (text or null), and `from_base` where it comes from an
/// image below, `built_from` where its wheel was built here from sources.
fn package_json(package: &InventoryPackage, below: Option<&ImageReference>) -> Value {
    let mut value = json!({ "name": package.name, "version": package.version, "licence": package.licence });
    if let Some(image) = below {
        value["from_base"] = json!(image);
    }
    if let Some(source) = &package.built_from {
        value["built_from"] = json!(source);
    }
    value
}

/// The Debian packages as a JSON list.
pub(crate) fn debian_json(inventory: &Inventory) -> Value {
    let packages = inventory.debian.iter();
    packages
        .map(|package| package_json(package, inventory.below_debian(&package.name)))
        .collect()
}

/// The Python distributions as a JSON list.
pub(crate) fn python_json(inventory: &Inventory) -> Value {
    let packages = inventory.python.iter();
    packages
        .map(|package| package_json(package, inventory.below_python(&package.name)))
        .collect()
}

/// Both ecosystems: `{"debian": […], "python": […]}`.
pub(crate) fn inventory_json(inventory: &Inventory) -> Value {
    json!({ "debian": debian_json(inventory), "python": python_json(inventory) })
}

/// Every package with version and licence.
pub(crate) fn write_inventory(out: &mut dyn Write, inventory: &Inventory, indent: &str) -> io::Result<()> {
    for (title, packages) in [("Python", &inventory.python), ("Debian", &inventory.debian)] {
        if packages.is_empty() {
            continue;
        }
        let heading = if title == "Python" {
            "PYTHON PACKAGE"
        } else {
            "DEBIAN PACKAGE"
        };
        let mut table = Table::new([
            (heading, Align::Left),
            ("VERSION", Align::Left),
            ("LICENCE", Align::Left),
        ]);
        for package in packages {
            let licence = package.licence.as_deref().unwrap_or("-");
            let below = if title == "Python" {
                inventory.below_python(&package.name)
            } else {
                inventory.below_debian(&package.name)
            };
            let from = below
                .map(|image| format!("  (from base {image})"))
                .unwrap_or_default();
            let built = package.built_from.as_ref();
            let built = built
                .map(|source| format!("  (built from {source})"))
                .unwrap_or_default();
            let licence = format!("{}{}{from}", shortened(licence), printable(&built));
            table.row([package.name.clone(), package.version.clone(), licence]);
        }
        writeln!(out)?;
        table.write(out, indent)?;
    }
    Ok(())
}

/// Old metadata has whole licence texts in this field: the first line says which.
fn shortened(licence: &str) -> String {
    const LENGTH_MAX: usize = 60;
    let line = licence.trim().lines().next().unwrap_or_default();
    if line.chars().count() <= LENGTH_MAX && line.len() == licence.trim().len() {
        return line.to_owned();
    }
    let start: String = line.chars().take(LENGTH_MAX - 1).collect();
    format!("{}…", start.trim_end())
}

/// How many changes are shown before they are only counted.
const CHANGES_MAX: usize = 20;

/// What differs from the version before: `+` added, `-` removed, `~` changed.
pub(crate) fn write_changes(out: &mut dyn Write, before: &str, changes: &[Change]) -> io::Result<()> {
    if changes.is_empty() {
        return writeln!(out, "same packages as {before}, made anew");
    }
    writeln!(out, "changes since {before}:")?;
    for change in changes.iter().take(CHANGES_MAX) {
        write!(out, "  ")?;
        write_change(out, change)?;
        writeln!(out)?;
    }
    match changes.len().saturating_sub(CHANGES_MAX) {
        0 => Ok(()),
        more => writeln!(out, "  … and {more} more"),
    }
}

/// One change, without a line end.
pub(crate) fn write_change(out: &mut dyn Write, change: &Change) -> io::Result<()> {
    let Change {
        ecosystem,
        name,
        before,
        now,
        below,
    } = change;
    let line = match (before, now) {
        (None, Some(now)) => format!("+ {ecosystem} {name} {now}"),
        (Some(before), None) => format!("- {ecosystem} {name} {before}"),
        (before, now) => {
            let shown = |version: &Option<String>| version.clone().unwrap_or_default();
            format!("~ {ecosystem} {name} {} -> {}", shown(before), shown(now))
        }
    };
    write!(out, "{}", printable(&line))?;
    below
        .as_ref()
        .map_or(Ok(()), |image| write!(out, " (from base {image})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_up_to_a_number() {
        let change = |name: &str, before: Option<&str>, now: Option<&str>| Change {
            ecosystem: "python",
            name: name.to_owned(),
            before: before.map(str::to_owned),
            now: now.map(str::to_owned),
            below: None,
        };
        let mut changes = vec![
            change("a", None, Some("1")),
            change("b", Some("1"), None),
            change("c", Some("1"), Some("2")),
        ];
        let shown = |changes: &[Change]| {
            let mut out = Vec::new();
            write_changes(&mut out, "local/x:1.0.0.1", changes).unwrap();
            String::from_utf8(out).unwrap()
        };
        let text = "changes since local/x:1.0.0.1:\n  + python a 1\n  - python b 1\n  ~ python c 1 -> 2\n";
        assert_eq!(shown(&changes), text);
        changes.extend((0..20).map(|n| change(&format!("d{n}"), None, Some("1"))));
        assert!(
            shown(&changes).ends_with("  … and 3 more\n"),
            "{}",
            shown(&changes)
        );
        assert_eq!(shown(&changes).lines().count(), 22);
    }

    #[test]
    fn licences_are_one_short_line() {
        assert_eq!(shortened("MIT"), "MIT");
        assert_eq!(
            shortened("MIT License\n\nPermission is hereby granted"),
            "MIT License…"
        );
        assert_eq!(shortened(&"x".repeat(100)).chars().count(), 60);
    }
}
