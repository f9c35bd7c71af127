//! A question for a package: its name, perhaps with bounds of its version.

use std::cmp::Ordering;

use cooper_core::python::DistributionVersion;
use cooper_core::{DebianVersion, PythonName};

use crate::packages::{Ecosystem, Package};

/// A package by name, Python's or Debian's, perhaps within bounds: `jinja2`, `jinja2<3.1.5`, `jinja2>=3,<3.1.5`.
///
/// Versions are ordered as their ecosystem orders them: PEP 440, or Debian policy 5.6.12.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageQuery {
    name: String,
    /// The name normalised, where it can be one of Python's.
    python: Option<PythonName>,
    bounds: Vec<Bound>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    operator: Operator,
    version: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Other,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// The longer ones first.
const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::Other),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("<", Operator::Less),
    (">", Operator::More),
];

impl PackageQuery {
    /// Parse a name, and after it bounds with commas between them.
    pub fn new(text: &str) -> Option<Self> {
        let end = text.find(['=', '!', '<', '>']).unwrap_or(text.len());
        let (name, bounds) = text.split_at(end);
        let name = name.trim();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            return None;
        }
        let bounds = match bounds {
            "" => Vec::new(),
            bounds => bounds.split(',').map(Bound::new).collect::<Option<_>>()?,
        };
        Some(Self {
            name: name.to_owned(),
            python: name.parse().ok(),
            bounds,
        })
    }

    pub(crate) fn fits(&self, package: &Package) -> bool {
        let named = match package.ecosystem {
            Ecosystem::Debian => package.name == self.name,
            Ecosystem::Python => self
                .python
                .as_ref()
                .is_some_and(|name| name.as_str() == package.name),
        };
        named
            && self
                .bounds
                .iter()
                .all(|bound| bound.holds(package.ecosystem, &package.version))
    }
}

impl Bound {
    fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let (operator, version) = OPERATORS
            .iter()
            .find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?.trim())))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-+~:!".contains(c);
        (!version.is_empty() && version.chars().all(is_plain)).then(|| Self {
            operator,
            version: version.to_owned(),
        })
    }

    /// A version that its ecosystem cannot read is within no bound but its own spelling.
    fn holds(&self, ecosystem: Ecosystem, version: &str) -> bool {
        if self.operator == Operator::Equal && self.version == version {
            return true;
        }
        let order = match ecosystem {
            Ecosystem::Debian => compared::<DebianVersion>(version, &self.version),
            Ecosystem::Python => compared::<DistributionVersion>(version, &self.version),
        };
        order.is_some_and(|order| match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::Other => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::AtMost => order.is_le(),
            Operator::More => order.is_gt(),
            Operator::AtLeast => order.is_ge(),
        })
    }
}

fn compared<V: Ord + std::str::FromStr>(version: &str, bound: &str) -> Option<Ordering> {
    let (version, bound) = (version.parse::<V>().ok()?, bound.parse::<V>().ok()?);
    Some(version.cmp(&bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_a_name_and_bounds() {
        for good in [
            "requests==2.32.3",
            "libstdc++6",
            "jinja2 >= 3, < 3.1.5",
            "zlib1g<1:1.3",
        ] {
            assert!(PackageQuery::new(good).is_some(), "{good}");
        }
        for bad in [
            "", "==1", "a==", "a b", "a=1", "a<", "a<1,", "a<1,b", "a~=1", "a<1 2",
        ] {
            assert_eq!(PackageQuery::new(bad), None, "{bad}");
        }
    }

    #[test]
    fn versions_are_ordered_as_their_ecosystem_does() {
        let fits = |query: &str, ecosystem, version: &str| {
            let name = query.split(['=', '<', '>', '!']).next().unwrap().to_lowercase();
            PackageQuery::new(query).unwrap().fits(&Package {
                ecosystem,
                name,
                version: version.to_owned(),
            })
        };
        let python = |query, version| fits(query, Ecosystem::Python, version);
        let debian = |query, version| fits(query, Ecosystem::Debian, version);
        assert!(python("Jinja2<3.1.5", "3.1.4") && !python("jinja2<3.1.5", "3.1.10"));
        assert!(python("jinja2<3.1.5", "3.1.5rc1") && python("jinja2==3.1", "3.1.0"));
        assert!(python("jinja2>=3,<3.1.5", "3.0") && !python("jinja2>=3,<3.1.5", "2.9"));
        assert!(debian("openssl<3.5.1-1+deb13u1", "3.5.1-1") && !debian("openssl<3.5.1-1", "1:1"));
        assert!(debian("openssl!=1", "2") && debian("openssl>1~rc1", "1") && !debian("openssl>1", "1"));
        assert!(!python("jinja2>1", "not a version"));
        assert!(!debian("jinja2==1", "2"));
    }
}
