//! The order in which packages are configured: a package after what it depends on (Debian Policy 6.5, 7.2).
//!
//! Dependency cycles are legal in Debian; dpkg breaks them where a package has no postinst, else anywhere.
//! Here they are broken at the package that is reached first in the order of names, always the same.

use std::collections::{BTreeMap, BTreeSet};

/// What the order depends on, of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderedPackage {
    /// `Package`
    pub(crate) name: String,
    /// Names in `Provides`.
    pub(crate) provides: Vec<String>,
    /// `Pre-Depends`, then `Depends`: for each clause the names of its alternatives.
    pub(crate) depends: Vec<Vec<String>>,
}

impl OrderedPackage {
    /// Read the relation fields of a control stanza.
    pub(crate) fn new(name: &str, field: impl Fn(&str) -> Option<String>) -> Self {
        let clauses = |key: &str| field(key).map(|text| relation_names(&text)).unwrap_or_default();
        let provides = clauses("Provides").into_iter().flatten().collect();
        let depends = [clauses("Pre-Depends"), clauses("Depends")].concat();
        Self {
            name: name.to_owned(),
            provides,
            depends,
        }
    }
}

/// The package names of a relation field: clauses separated by `,`, alternatives by `|`.
pub(crate) fn relation_names(text: &str) -> Vec<Vec<String>> {
    let name = |alternative: &str| {
        let end = |c: char| c.is_whitespace() || "([<:".contains(c);
        alternative
            .trim()
            .split(end)
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    text.split(',')
        .map(|clause| {
            clause
                .split('|')
                .map(name)
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>()
        })
        .filter(|clause| !clause.is_empty())
        .collect()
}

/// These come before all others where they are present: base-passwd's preinst makes the user database,
/// and nearly every script uses the others without saying so, since they are essential.
const FIRST: [&str; 9] = [
    "base-passwd",
    "base-files",
    "libc6",
    "dash",
    "perl-base",
    "dpkg",
    "libc-bin",
    "debconf",
    "debianutils",
];

/// The indices of `packages` in the order of their configuration.
pub(crate) fn configuration_order(packages: &[OrderedPackage]) -> Vec<usize> {
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, package) in packages.iter().enumerate() {
        index.insert(&package.name, at);
    }
    for (at, package) in packages.iter().enumerate() {
        for provided in &package.provides {
            index.entry(provided).or_insert(at);
        }
    }
    let names: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let first = FIRST.into_iter().filter(|name| names.contains(name));
    let mut order = Vec::with_capacity(packages.len());
    let mut reached = vec![false; packages.len()];
    for name in first.chain(names.iter().copied()) {
        visit(index[name], packages, &index, &mut reached, &mut order);
    }
    order
}

/// Depth first with an explicit stack: hostile packages may chain thousands of dependencies.
fn visit(
    start: usize,
    packages: &[OrderedPackage],
    index: &BTreeMap<&str, usize>,
    reached: &mut [bool],
    order: &mut Vec<usize>,
) {
    if std::mem::replace(&mut reached[start], true) {
        return;
    }
    let mut stack = vec![(start, 0)];
    while let Some((at, clause)) = stack.last_mut() {
        let Some(alternatives) = packages[*at].depends.get(*clause) else {
            order.push(*at);
            stack.pop();
            continue;
        };
        *clause += 1;
        let next = alternatives
            .iter()
            .find_map(|name| index.get(name.as_str()).copied());
        if let Some(next) = next.filter(|next| !std::mem::replace(&mut reached[*next], true)) {
            stack.push((next, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, depends: &str) -> OrderedPackage {
        OrderedPackage::new(name, |field| (field == "Depends").then(|| depends.to_owned()))
    }

    fn names(packages: &[OrderedPackage]) -> Vec<&str> {
        configuration_order(packages)
            .into_iter()
            .map(|at| packages[at].name.as_str())
            .collect()
    }

    #[test]
    fn dependencies_come_first() {
        let packages = [
            package("a", "b (>= 1), c:any | d"),
            package("b", "d"),
            package("c", ""),
            package("d", ""),
        ];
        assert_eq!(names(&packages), ["d", "b", "c", "a"]);
    }

    #[test]
    fn cycles_end_and_every_package_is_there_once() {
        let packages = [package("a", "b"), package("b", "a"), package("c", "a")];
        assert_eq!(names(&packages), ["b", "a", "c"]);
    }

    #[test]
    fn provided_names_count() {
        let mut provider = package("z", "");
        provider.provides = vec!["virtual".to_owned()];
        assert_eq!(names(&[package("a", "virtual"), provider]), ["z", "a"]);
    }

    #[test]
    fn a_long_chain_does_not_overflow() {
        let packages: Vec<_> = (0..20_000)
            .map(|n| package(&format!("p{n}"), &format!("p{}", n + 1)))
            .collect();
        assert_eq!(configuration_order(&packages).len(), 20_000);
    }
}
