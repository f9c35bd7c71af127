//! What a user asks for, and the grammar of the two lists in it.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base_choice::{BaseChoice, ParseBaseChoiceError};
use crate::debian::{DebianName, DebianRequirement, ParseDebianError};
use crate::name::{ImageName, ParseNameError};
use crate::python::{ParsePythonError, PythonRequirement};
use crate::requirements::Hashes;

/// A request for one image. The lists are sorted and without repetition, so that equal wishes are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RequestFields")]
pub struct Request {
    name: ImageName,
    base: BaseChoice,
    dependencies: Vec<PythonRequirement>,
    packages: Vec<DebianRequirement>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    constraints: Vec<PythonRequirement>,
    #[serde(skip_serializing_if = "Hashes::is_empty")]
    hashes: Hashes,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    build_packages: Vec<DebianRequirement>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    recommends: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    fix_missing: bool,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    added: BTreeSet<DebianName>,
}

#[derive(Deserialize)]
struct RequestFields {
    name: ImageName,
    base: BaseChoice,
    dependencies: Vec<PythonRequirement>,
    packages: Vec<DebianRequirement>,
    #[serde(default)]
    constraints: Vec<PythonRequirement>,
    #[serde(default)]
    hashes: Hashes,
    #[serde(default)]
    build_packages: Vec<DebianRequirement>,
    #[serde(default)]
    recommends: bool,
    #[serde(default)]
    fix_missing: bool,
    #[serde(default)]
    added: BTreeSet<DebianName>,
}

impl TryFrom<RequestFields> for Request {
    type Error = ParseRequestError;

    fn try_from(fields: RequestFields) -> Result<Self, Self::Error> {
        let mut request = Self::new(fields.name, fields.base, fields.dependencies, fields.packages)?
            .bounded(fields.constraints, fields.hashes)?
            .with_build_packages(fields.build_packages)?
            .with_recommends(fields.recommends)
            .with_fix_missing(fields.fix_missing);
        request.added = fields.added;
        let packages = &request.packages;
        request
            .added
            .retain(|name| packages.iter().any(|package| package.name == *name));
        Ok(request)
    }
}

/// Why words are not a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseRequestError {
    /// The image's name.
    #[error(transparent)]
    Name(#[from] ParseNameError),
    /// The base.
    #[error(transparent)]
    Base(#[from] ParseBaseChoiceError),
    /// A Python requirement.
    #[error(transparent)]
    Python(#[from] ParsePythonError),
    /// A Debian package.
    #[error(transparent)]
    Debian(#[from] ParseDebianError),
    /// A list is there and has nothing in it, or has nothing between two commas.
    #[error("`{list}` {}", if text.trim().is_empty() { "is empty".to_owned() } else { format!("has an empty entry in `{text}`") })]
    EmptyEntry {
        /// `dependencies`, `packages` or `build-packages`.
        list: &'static str,
        /// The whole list as it was written.
        text: String,
    },
    /// A bracket or a quote is not closed.
    #[error("`{list}` has a bracket or quote that is not closed in `{text}`")]
    Unclosed {
        /// `dependencies`, `packages` or `build-packages`.
        list: &'static str,
        /// The whole list as it was written.
        text: String,
    },
    /// More entries than a request may have.
    #[error("`{list}` has more than {} entries", ENTRIES_MAX)]
    TooMany {
        /// `dependencies`, `packages` or `build-packages`.
        list: &'static str,
    },
    /// A requirement without a hash, where others have one.
    #[error("`{requirement}` has no hash, but others of the request have: then everything must have one")]
    Unhashed {
        /// The requirement.
        requirement: String,
    },
    /// A hash without a version.
    #[error("`{requirement}` has a hash but names no version with `==`")]
    Unpinned {
        /// The requirement.
        requirement: String,
    },
    /// Two files have other hashes for the same requirement.
    #[error("`{requirement}` has other hashes in another file")]
    OtherHashes {
        /// The requirement.
        requirement: String,
    },
    /// A requirement has no hash in its list, or a hash belongs to nothing.
    #[error("the hashes of `{requirement}` belong to nothing in the request, or are none")]
    LooseHashes {
        /// The requirement.
        requirement: String,
    },
    /// Neither list was given.
    #[error("nothing to put into `{name}`: neither Python libraries nor OS packages were given")]
    Nothing {
        /// The image.
        name: ImageName,
    },
}

/// How many entries one list may have.
pub const ENTRIES_MAX: usize = 2_000;

impl Request {
    /// A request from its parts.
    ///
    /// # Errors
    /// When both lists are empty or one is too long.
    pub fn new(
        name: ImageName,
        base: impl Into<BaseChoice>,
        mut dependencies: Vec<PythonRequirement>,
        mut packages: Vec<DebianRequirement>,
    ) -> Result<Self, ParseRequestError> {
        if dependencies.is_empty() && packages.is_empty() {
            return Err(ParseRequestError::Nothing { name });
        }
        for (list, length) in [("dependencies", dependencies.len()), ("packages", packages.len())] {
            at_most(list, length)?;
        }
        dependencies.sort();
        dependencies.dedup();
        packages.sort();
        packages.dedup();
        Ok(Self {
            name,
            base: base.into(),
            dependencies,
            packages,
            constraints: Vec::new(),
            hashes: Hashes::new(),
            build_packages: Vec::new(),
            recommends: false,
            fix_missing: false,
            added: BTreeSet::new(),
        })
    }

    /// The same request, with Debian packages that are there while wheels are built from sources, and not in the
    /// image.
    ///
    /// # Errors
    /// When there are too many.
    pub fn with_build_packages(
        self,
        mut packages: Vec<DebianRequirement>,
    ) -> Result<Self, ParseRequestError> {
        at_most("build-packages", packages.len())?;
        packages.sort();
        packages.dedup();
        Ok(Self {
            build_packages: packages,
            ..self
        })
    }

    /// The same request, with or without what its Debian packages recommend.
    #[must_use]
    pub fn with_recommends(self, recommends: bool) -> Self {
        Self { recommends, ..self }
    }

    /// The same request, with or without the wish that Debian packages be added which have shared libraries that its
    /// wheels ask for.
    #[must_use]
    pub fn with_fix_missing(self, fix_missing: bool) -> Self {
        Self { fix_missing, ..self }
    }

    /// The same request with more Debian packages, marked as added on nobody's word. Those that it names already are
    /// as they were.
    ///
    /// # Errors
    /// When there are too many.
    pub fn with_added(mut self, names: BTreeSet<DebianName>) -> Result<Self, ParseRequestError> {
        for name in names {
            let known = self.packages.iter().any(|package| package.name == name);
            if !known {
                self.added.insert(name.clone());
                self.packages.push(DebianRequirement { name, version: None });
            }
        }
        at_most("packages", self.packages.len())?;
        self.packages.sort();
        Ok(self)
    }

    /// The same request with constraints on versions, and with the hashes that files may have. Once there is a hash,
    /// every dependency must have one and name one version, by itself or by a constraint.
    ///
    /// # Errors
    /// When one has none, when a hash belongs to nothing, or there are too many constraints.
    pub fn bounded(
        self,
        mut constraints: Vec<PythonRequirement>,
        hashes: Hashes,
    ) -> Result<Self, ParseRequestError> {
        at_most("constraints", constraints.len())?;
        constraints.sort();
        constraints.dedup();
        let known: BTreeSet<&PythonRequirement> = self.dependencies.iter().chain(&constraints).collect();
        let loose = hashes
            .iter()
            .find(|(requirement, digests)| digests.is_empty() || !known.contains(requirement));
        if let Some((requirement, _)) = loose {
            let requirement = requirement.to_string();
            return Err(ParseRequestError::LooseHashes { requirement });
        }
        if !hashes.is_empty() {
            self.check_hashed(&constraints, &hashes)?;
        }
        Ok(Self {
            constraints,
            hashes,
            ..self
        })
    }

    fn check_hashed(
        &self,
        constraints: &[PythonRequirement],
        hashes: &Hashes,
    ) -> Result<(), ParseRequestError> {
        for requirement in &self.dependencies {
            let same = |other: &&PythonRequirement| other.name() == requirement.name();
            let bounds = || std::iter::once(requirement).chain(constraints.iter().filter(same));
            let requirement = requirement.to_string();
            if !bounds().any(|bound| hashes.contains_key(bound)) {
                return Err(ParseRequestError::Unhashed { requirement });
            }
            if bounds().all(|bound| bound.exact_version().is_none()) {
                return Err(ParseRequestError::Unpinned { requirement });
            }
        }
        Ok(())
    }

    /// The image's name.
    pub fn name(&self) -> &ImageName {
        &self.name
    }

    /// The same request under another name.
    #[must_use]
    pub fn renamed(self, name: ImageName) -> Self {
        Self { name, ..self }
    }

    /// What it stands on.
    pub fn base(&self) -> &BaseChoice {
        &self.base
    }

    /// The Python requirements, sorted.
    pub fn dependencies(&self) -> &[PythonRequirement] {
        &self.dependencies
    }

    /// What bounds the versions of Python distributions that something else asks for, sorted.
    pub fn constraints(&self) -> &[PythonRequirement] {
        &self.constraints
    }

    /// The hashes that the files of requirements and constraints may have; empty when any file will do.
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// The Debian packages, sorted.
    pub fn packages(&self) -> &[DebianRequirement] {
        &self.packages
    }

    /// Whether what its Debian packages recommend is wished for too.
    pub fn recommends(&self) -> bool {
        self.recommends
    }

    /// Whether packages are to be added that have missing shared libraries.
    pub fn fix_missing(&self) -> bool {
        self.fix_missing
    }

    /// Those of its Debian packages that were added because they have a missing shared library.
    pub fn added(&self) -> &BTreeSet<DebianName> {
        &self.added
    }

    /// The Debian packages that are there while wheels are built, sorted.
    pub fn build_packages(&self) -> &[DebianRequirement] {
        &self.build_packages
    }
}

fn at_most(list: &'static str, length: usize) -> Result<(), ParseRequestError> {
    if length > ENTRIES_MAX {
        return Err(ParseRequestError::TooMany { list });
    }
    Ok(())
}

/// Parse a list of Python requirements. It is separated by commas; commas inside brackets or quotes never
/// split, and a piece that starts with an operator continues the requirement before it:
/// `requests[socks]>=2.31,<3,pandas` is two.
pub fn parse_dependencies(text: &str) -> Result<Vec<PythonRequirement>, ParseRequestError> {
    let mut requirements: Vec<String> = Vec::new();
    for piece in split_outside("dependencies", text)? {
        let continues = piece.starts_with(['<', '>', '=', '!', '~']);
        match requirements.last_mut() {
            Some(before) if continues => {
                before.push(',');
                before.push_str(piece);
            }
            _ => requirements.push(piece.to_owned()),
        }
    }
    requirements
        .iter()
        .map(|text| PythonRequirement::from_str(text).map_err(Into::into))
        .collect()
}

/// Parse a list of Debian packages that are there while wheels are built, separated by commas.
pub fn parse_build_packages(text: &str) -> Result<Vec<DebianRequirement>, ParseRequestError> {
    parse_debian("build-packages", text)
}

/// Parse a list of Debian packages, separated by commas.
pub fn parse_packages(text: &str) -> Result<Vec<DebianRequirement>, ParseRequestError> {
    parse_debian("packages", text)
}

fn parse_debian(list: &'static str, text: &str) -> Result<Vec<DebianRequirement>, ParseRequestError> {
    split_outside(list, text)?
        .into_iter()
        .map(|piece| DebianRequirement::from_str(piece).map_err(Into::into))
        .collect()
}

/// Split at the commas that are outside brackets and quotes; every piece trimmed, none empty.
fn split_outside<'a>(list: &'static str, text: &'a str) -> Result<Vec<&'a str>, ParseRequestError> {
    let shown = || text.chars().take(200).collect::<String>();
    let (mut depth, mut quote, mut start) = (0_u32, None, 0);
    let mut pieces = Vec::new();
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                pieces.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if depth > 0 || quote.is_some() {
        return Err(ParseRequestError::Unclosed { list, text: shown() });
    }
    pieces.push(text[start..].trim());
    if pieces.iter().any(|piece| piece.is_empty()) {
        return Err(ParseRequestError::EmptyEntry { list, text: shown() });
    }
    if pieces.len() > ENTRIES_MAX {
        return Err(ParseRequestError::TooMany { list });
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Base;

    fn texts(list: &str) -> Vec<String> {
        parse_dependencies(list)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn commas_split_only_between_requirements() {
        assert_eq!(
            texts("requests[socks]>=2.31,<3,pandas"),
            ["requests[socks]>=2.31,<3", "pandas"]
        );
        assert_eq!(texts("a[x,y], b >= 1 , < 2"), ["a[x,y]", "b>=1,<2"]);
        assert_eq!(texts("a; python_version in '3.11,3.13',b").len(), 2);
    }

    #[test]
    fn empty_entries_are_errors() {
        for bad in ["", " ", "a,,b", ",a", "a,"] {
            assert!(
                matches!(parse_dependencies(bad), Err(ParseRequestError::EmptyEntry { .. })),
                "{bad}"
            );
            assert!(
                matches!(parse_packages(bad), Err(ParseRequestError::EmptyEntry { .. })),
                "{bad}"
            );
        }
        assert!(matches!(
            parse_dependencies("a[x,b"),
            Err(ParseRequestError::Unclosed { .. })
        ));
    }

    #[test]
    fn equal_wishes_are_equal_values() {
        let request = |list: &str| {
            let dependencies = parse_dependencies(list).unwrap();
            Request::new("x".parse().unwrap(), Base::Trixie, dependencies, vec![]).unwrap()
        };
        assert_eq!(request("b,a,B"), request("a,b"));
        let json = serde_json::to_string(&request("a")).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request("a"));
    }

    #[test]
    fn old_requests_are_read_and_hashes_are_all_or_none() {
        let old = r#"{"name":"x","base":"debian:trixie","dependencies":["a==1","b"],"packages":[]}"#;
        let request: Request = serde_json::from_str(old).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), old);
        let requirement = |text: &str| text.parse::<PythonRequirement>().unwrap();
        let digest = BTreeSet::from([crate::Digest::of(b"a")]);
        let hashes = |text: &str| Hashes::from([(requirement(text), digest.clone())]);
        let only_a = request.clone().bounded(vec![], hashes("a==1"));
        assert!(matches!(only_a, Err(ParseRequestError::Unhashed { requirement }) if requirement == "b"));
        let mut both = hashes("a==1");
        both.extend(hashes("b"));
        let unpinned = request.clone().bounded(vec![], both);
        assert!(matches!(unpinned, Err(ParseRequestError::Unpinned { .. })));
        let loose = request.clone().bounded(vec![], hashes("c"));
        assert!(matches!(loose, Err(ParseRequestError::LooseHashes { .. })));
        let mut by_constraint = hashes("a==1");
        by_constraint.extend(hashes("b==2"));
        let whole = request.bounded(vec![requirement("b==2")], by_constraint).unwrap();
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), whole);
    }

    #[test]
    fn added_packages_are_marked_and_stay_so() {
        let names = |list: &[&str]| {
            list.iter()
                .map(|name| name.parse().unwrap())
                .collect::<BTreeSet<DebianName>>()
        };
        let request = Request::new(
            "x".parse().unwrap(),
            Base::Trixie,
            vec![],
            parse_packages("wget,jq").unwrap(),
        );
        let request = request.unwrap().with_fix_missing(true).with_recommends(true);
        let more = request.with_added(names(&["libgl1", "wget"])).unwrap();
        let packages: Vec<String> = more.packages().iter().map(ToString::to_string).collect();
        assert_eq!(packages, ["jq", "libgl1", "wget"]);
        assert_eq!(*more.added(), names(&["libgl1"]));
        let json = serde_json::to_string(&more).unwrap();
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), more);
        assert!(more.recommends() && more.fix_missing());
    }

    #[test]
    fn one_of_the_two_lists_must_be_there() {
        let nothing = Request::new("x".parse().unwrap(), Base::Trixie, vec![], vec![]);
        assert!(matches!(nothing, Err(ParseRequestError::Nothing { .. })));
    }
}
