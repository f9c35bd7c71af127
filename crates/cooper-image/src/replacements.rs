//! Which package's files may take the place of which other's (`Replaces`, Debian Policy 7.6.1).

use std::collections::BTreeMap;

use cooper_core::debian::DebianVersion;

use crate::deb::Precedence;
use crate::dpkg::{self, NewPackage};

/// The `Replaces` fields and the versions of the installed and the new packages.
#[derive(Debug)]
pub(crate) struct Replacements(BTreeMap<String, Package>);

#[derive(Debug)]
struct Package {
    version: Option<DebianVersion>,
    replaces: Vec<Relation>,
}

/// `NAME`, or `NAME (OPERATOR VERSION)`.
#[derive(Debug)]
struct Relation {
    name: String,
    version: Option<(String, Option<DebianVersion>)>,
}

impl Replacements {
    /// Those of the database `status` and of `packages`; a new package stands for the installed one of its name.
    pub(crate) fn new(status: &str, packages: &[NewPackage]) -> Self {
        let installed = status.split("\n\n").filter(|stanza| !stanza.trim().is_empty());
        let stanzas = installed.chain(packages.iter().map(|package| package.control.as_str()));
        let read = |stanza: &str| {
            let field = |name| dpkg::stanza_field(stanza, name);
            let replaces = field("Replaces").unwrap_or_default();
            let package = Package {
                version: field("Version").and_then(|version| version.parse().ok()),
                replaces: replaces.split([',', '|']).filter_map(parse).collect(),
            };
            Some((field("Package")?, package))
        };
        Self(stanzas.filter_map(read).collect())
    }

    /// What becomes of a file that both packages have.
    pub(crate) fn precedence(&self, ours: &str, theirs: &str) -> Precedence {
        match (self.replaces(ours, theirs), self.replaces(theirs, ours)) {
            (false, false) => Precedence::Conflict,
            // dpkg lets the later one win; here nothing may depend on which thread is first.
            (true, true) if ours < theirs => Precedence::Theirs,
            (true, _) => Precedence::Ours,
            (false, true) => Precedence::Theirs,
        }
    }

    fn replaces(&self, one: &str, other: &str) -> bool {
        let version = self.0.get(other).and_then(|package| package.version.as_ref());
        let relations = self.0.get(one).map(|package| package.replaces.as_slice());
        let mut named = relations
            .unwrap_or_default()
            .iter()
            .filter(|relation| relation.name == other);
        named.any(|relation| relation.holds(version))
    }
}

impl Relation {
    /// What cannot be read or is not known holds for nothing.
    fn holds(&self, version: Option<&DebianVersion>) -> bool {
        let Some((operator, bound)) = &self.version else {
            return true;
        };
        let (Some(version), Some(bound)) = (version, bound) else {
            return false;
        };
        match operator.as_str() {
            "<<" => version < bound,
            // The short forms are old names of these (Debian Policy 7.1).
            "<=" | "<" => version <= bound,
            "=" => version == bound,
            ">=" | ">" => version >= bound,
            ">>" => version > bound,
            _ => false,
        }
    }
}

fn parse(text: &str) -> Option<Relation> {
    let end = |c: char| c.is_whitespace() || "([<:".contains(c);
    let name = text.trim().split(end).next().filter(|name| !name.is_empty())?;
    let version = text.split_once('(').map(|(_, rest)| {
        let inside = rest.split(')').next().unwrap_or(rest).trim();
        let (operator, version) =
            inside.split_at(inside.find(|c| !"<=>".contains(c)).unwrap_or(inside.len()));
        (operator.to_owned(), version.trim().parse().ok())
    });
    Some(Relation {
        name: name.to_owned(),
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relation_holds_for_the_versions_that_it_names() {
        let table = [
            ("old", true),
            ("other, old:any (<< 2.1~) , more", true),
            ("old(<<2.0)", false),
            ("old (<< 2.0-1)", false),
            ("old (<= 2.0-1)", true),
            ("old (< 2.0-1)", true),
            ("old (= 2.0-1)", true),
            ("old (= 2.0-2)", false),
            ("old (>= 1:0)", false),
            ("old (> 2.0-1)", true),
            ("old (>> 2.0-1)", false),
            ("old (>> 1), x", true),
            ("old (<< 1), old (<< 3)", true),
            ("old ()", false),
            ("old (2.0-1)", false),
            ("old (<< )", false),
            ("old (<> 2.0-1)", false),
            ("older", false),
            ("", false),
        ];
        for (field, holds) in table {
            let status = format!(
                "Package: new\nVersion: 1\nReplaces: {field}\n\nPackage: old\nVersion: 2.0-1\n\nPackage: bare\n"
            );
            let replacements = Replacements::new(&status, &[]);
            let expected = |held, otherwise| if holds { held } else { otherwise };
            assert_eq!(
                replacements.precedence("new", "old"),
                expected(Precedence::Ours, Precedence::Conflict),
                "{field}"
            );
            assert_eq!(
                replacements.precedence("old", "new"),
                expected(Precedence::Theirs, Precedence::Conflict),
                "{field}"
            );
        }
    }

    #[test]
    fn of_two_that_replace_each_other_the_same_one_wins() {
        let status = "Package: a\nReplaces: b\n\nPackage: b\nReplaces: a\n";
        let replacements = Replacements::new(status, &[]);
        assert_eq!(replacements.precedence("b", "a"), Precedence::Ours);
        assert_eq!(replacements.precedence("a", "b"), Precedence::Theirs);
    }

    #[test]
    fn a_version_that_is_not_known_is_not_replaced() {
        let of = |field: &str| {
            let status = format!("Package: new\nReplaces: {field}\n\nPackage: bare\n");
            Replacements::new(&status, &[]).precedence("new", "bare")
        };
        assert_eq!(of("bare"), Precedence::Ours);
        assert_eq!(of("bare (<< 9)"), Precedence::Conflict);
    }
}
