//! An independent judge of solutions: reads relations in its own way and knows nothing of the solver.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use cooper_core::plan::PlannedDebian;
use cooper_core::{Base, DebianVersion};
use testkit::DebPackage;

/// One package as the judge sees it: control fields by name.
pub(crate) type Fields = BTreeMap<String, String>;

pub(crate) struct Checker {
    /// By `name version`.
    packages: BTreeMap<String, Fields>,
}

const RELATIONS: [&str; 5] = ["Pre-Depends", "Depends", "Conflicts", "Breaks", "Provides"];

impl Checker {
    pub(crate) fn of(packages: &BTreeMap<String, Vec<DebPackage>>) -> Self {
        let fields = |package: &DebPackage| {
            let relation = |field: &&str| Some(((*field).to_owned(), package.field_value(field)?.to_owned()));
            let fields: Fields = RELATIONS.iter().filter_map(relation).collect();
            (format!("{} {}", package.name(), package.version()), fields)
        };
        Self {
            packages: packages.values().flatten().map(fields).collect(),
        }
    }

    /// From the text of indexes.
    pub(crate) fn of_texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut packages = BTreeMap::new();
        for stanza in texts.into_iter().flat_map(|text| text.split("\n\n")) {
            let pairs = stanza.lines().filter_map(|line| line.split_once(": "));
            let fields: Fields = pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            if let (Some(name), Some(version)) = (fields.get("Package"), fields.get("Version")) {
                packages.insert(format!("{name} {version}"), fields);
            }
        }
        Self { packages }
    }

    /// Panics with what is wrong, if anything is.
    pub(crate) fn check(&self, chosen: &[PlannedDebian], wanted: &[&str]) {
        assert_eq!(self.find_fault(chosen, wanted), None);
    }

    /// What is wrong with a solution.
    pub(crate) fn find_fault(&self, chosen: &[PlannedDebian], wanted: &[&str]) -> Option<String> {
        let mut packages: Vec<Package> = Vec::new();
        for planned in chosen {
            let key = format!("{} {}", planned.name, planned.version);
            let Some(fields) = self.packages.get(&key) else {
                return Some(format!("{key} does not exist"));
            };
            if packages.iter().any(|(name, ..)| *name == planned.name.as_str()) {
                return Some(format!("{} is there twice", planned.name));
            }
            packages.push((planned.name.as_str(), &planned.version, fields));
        }
        let missing = wanted
            .iter()
            .find(|wanted| !packages.iter().any(|(name, ..)| name == *wanted));
        if let Some(missing) = missing {
            return Some(format!("{missing} is missing"));
        }
        packages.iter().find_map(|package| fault_of(package, &packages))
    }
}

type Package<'a> = (&'a str, &'a DebianVersion, &'a Fields);

fn pieces<'a>(fields: &'a Fields, field: &str) -> impl Iterator<Item = &'a str> {
    fields
        .get(field)
        .map_or("", |value| value)
        .split(',')
        .filter(|text| !text.trim().is_empty())
}

fn fault_of((name, version, fields): &Package, packages: &[Package]) -> Option<String> {
    for clause in pieces(fields, "Pre-Depends").chain(pieces(fields, "Depends")) {
        let met = clause
            .split('|')
            .any(|relation| packages.iter().any(|package| meets(package, relation)));
        if !met {
            return Some(format!("{name} {version} needs {clause}"));
        }
    }
    for relation in pieces(fields, "Conflicts").chain(pieces(fields, "Breaks")) {
        let hit = packages
            .iter()
            .find(|package| package.0 != *name && meets(package, relation));
        if let Some((other, ..)) = hit {
            return Some(format!("{name} {version} excludes {relation}, which is {other}"));
        }
    }
    None
}

fn meets(package: &Package, relation: &str) -> bool {
    let (name, constraint) = split(relation);
    let (own, version, fields) = package;
    if *own == name && holds(version, constraint) {
        return true;
    }
    fields
        .get("Provides")
        .map_or("", |value| value)
        .split(',')
        .any(|provided| {
            let (provided, with) = split(provided);
            provided == name
                && match with {
                    Some(("=", with)) => holds(&with.parse().unwrap(), constraint),
                    _ => constraint.is_none(),
                }
        })
}

fn holds(version: &DebianVersion, constraint: Option<(&str, &str)>) -> bool {
    let Some((operator, bound)) = constraint else {
        return true;
    };
    let order = version.cmp(&bound.parse().unwrap());
    match operator {
        "<<" => order == Ordering::Less,
        "<=" => order != Ordering::Greater,
        "=" => order == Ordering::Equal,
        ">=" => order != Ordering::Less,
        ">>" => order == Ordering::Greater,
        other => panic!("operator {other}"),
    }
}

/// `name:any (>= 1)` as the name and the pair in brackets.
fn split(relation: &str) -> (&str, Option<(&str, &str)>) {
    let (name, rest) = relation.trim().split_once('(').unwrap_or((relation.trim(), ""));
    let name = name.trim();
    let name = name.split_once(':').map_or(name, |(name, _)| name);
    (
        name,
        rest.trim()
            .strip_suffix(')')
            .and_then(|inside| inside.trim().split_once(' ')),
    )
}

#[test]
fn the_judge_sees_what_is_wrong() {
    let text = "Package: a\nVersion: 1\nDepends: b (>= 2) | c\n\nPackage: b\nVersion: 1\n\nPackage: c\nVersion: 1\nBreaks: d\n\n\
                Package: d\nVersion: 1\n\nPackage: b\nVersion: 2\nProvides: d (= 7)\n\n";
    let planned = |name: &str, version: &str| PlannedDebian {
        name: name
            .parse()
            .unwrap_or_else(|_| format!("{name}{name}").parse().unwrap()),
        version: version.parse().unwrap(),
        architecture: "all".to_owned(),
        size: 1,
        sha256: None,
        suite: Base::Trixie.suites()[0],
        path: "pool/x".parse().unwrap(),
        source: None,
    };
    let text = text
        .replace(": a\n", ": aa\n")
        .replace(": d\n", ": dd\n")
        .replace("Package: b", "Package: bb");
    let text = text
        .replace("b (>=", "bb (>=")
        .replace("| c", "| cc")
        .replace("Package: c", "Package: cc")
        .replace("d (=", "dd (=");
    let check = |chosen: &[(&str, &str)]| {
        let chosen: Vec<PlannedDebian> = chosen
            .iter()
            .map(|(name, version)| planned(name, version))
            .collect();
        Checker::of_texts([text.as_str()])
            .find_fault(&chosen, &["aa"])
            .is_none()
    };
    assert!(check(&[("aa", "1"), ("bb", "2")]) && check(&[("aa", "1"), ("cc", "1")]));
    assert!(!check(&[("aa", "1")]) && !check(&[("aa", "1"), ("bb", "1")]) && !check(&[("bb", "2")]));
    assert!(
        !check(&[("aa", "1"), ("cc", "1"), ("dd", "1")]) && !check(&[("aa", "1"), ("cc", "1"), ("bb", "2")])
    );
    assert!(!check(&[("aa", "1"), ("bb", "2"), ("bb", "1")]));
}
