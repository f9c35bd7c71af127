//! What a user asks for, and the grammar of the two lists in it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::base::{Base, ParseBaseError};
use crate::debian::{DebianRequirement, ParseDebianError};
use crate::name::{ImageName, ParseNameError};
use crate::python::{ParsePythonError, PythonRequirement};

/// A request for one image. The lists are sorted and without repetition, so that equal wishes are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RequestFields")]
pub struct Request {
    name: ImageName,
    base: Base,
    dependencies: Vec<PythonRequirement>,
    packages: Vec<DebianRequirement>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    build_packages: Vec<DebianRequirement>,
}

#[derive(Deserialize)]
struct RequestFields {
    name: ImageName,
    base: Base,
    dependencies: Vec<PythonRequirement>,
    packages: Vec<DebianRequirement>,
    #[serde(default)]
    build_packages: Vec<DebianRequirement>,
}

impl TryFrom<RequestFields> for Request {
    type Error = ParseRequestError;

    fn try_from(fields: RequestFields) -> Result<Self, Self::Error> {
        let request = Self::new(fields.name, fields.base, fields.dependencies, fields.packages)?;
        request.with_build_packages(fields.build_packages)
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
    Base(#[from] ParseBaseError),
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
        base: Base,
        mut dependencies: Vec<PythonRequirement>,
        mut packages: Vec<DebianRequirement>,
    ) -> Result<Self, ParseRequestError> {
        if dependencies.is_empty() && packages.is_empty() {
            return Err(ParseRequestError::Nothing { name });
        }
        for (list, length) in [("dependencies", dependencies.len()), ("packages", packages.len())] {
            bounded(list, length)?;
        }
        dependencies.sort();
        dependencies.dedup();
        packages.sort();
        packages.dedup();
        Ok(Self {
            name,
            base,
            dependencies,
            packages,
            build_packages: Vec::new(),
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
        bounded("build-packages", packages.len())?;
        packages.sort();
        packages.dedup();
        Ok(Self {
            build_packages: packages,
            ..self
        })
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
    pub fn base(&self) -> Base {
        self.base
    }

    /// The Python requirements, sorted.
    pub fn dependencies(&self) -> &[PythonRequirement] {
        &self.dependencies
    }

    /// The Debian packages, sorted.
    pub fn packages(&self) -> &[DebianRequirement] {
        &self.packages
    }

    /// The Debian packages that are there while wheels are built, sorted.
    pub fn build_packages(&self) -> &[DebianRequirement] {
        &self.build_packages
    }
}

fn bounded(list: &'static str, length: usize) -> Result<(), ParseRequestError> {
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
    fn one_of_the_two_lists_must_be_there() {
        let nothing = Request::new("x".parse().unwrap(), Base::Trixie, vec![], vec![]);
        assert!(matches!(nothing, Err(ParseRequestError::Nothing { .. })));
    }
}
