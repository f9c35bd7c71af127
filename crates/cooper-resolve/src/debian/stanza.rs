//! Stanzas of a `Packages` index: deb822 (Debian Policy 5.1) read with bounds, unknown fields passed over.

use cooper_core::plan::{PlannedDebian, PoolPath, SourcePackage};
use cooper_core::{DebianName, DebianVersion, Digest};

use super::relation::{Constraint, Operator, Relation, parse_clauses, parse_list};

/// The longest stanza that is accepted; the longest of Debian 13 has 76 kB.
pub const STANZA_BYTES_MAX: usize = 512 << 10;

/// What the resolver reads of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza {
    /// `Package`
    pub name: DebianName,
    /// `Version`
    pub version: DebianVersion,
    /// `Architecture`
    pub architecture: String,
    /// `Essential: yes`
    pub essential: bool,
    /// `Priority`
    pub priority: Priority,
    /// `Multi-Arch`
    pub multi_arch: MultiArch,
    /// `Source`: the name and the version, where one of them is another than the package's own.
    pub source: Option<SourcePackage>,
    /// `Provides`
    pub provides: Vec<Provided>,
    /// `Pre-Depends`, then `Depends`: each clause needs one of its alternatives.
    pub depends: Vec<Vec<Relation>>,
    /// `Recommends`: each clause wishes for one of its alternatives.
    pub recommends: Vec<Vec<Relation>>,
    /// `Conflicts`
    pub conflicts: Vec<Relation>,
    /// `Breaks`
    pub breaks: Vec<Relation>,
    /// `Size`
    pub size: u64,
    /// `SHA256`
    pub sha256: Option<Digest>,
    /// `Filename`
    pub path: PoolPath,
}

/// A name that a package provides, perhaps with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provided {
    /// The virtual package.
    pub name: DebianName,
    /// Only a versioned name meets a versioned relation (Policy 7.5).
    pub version: Option<DebianVersion>,
}

/// How much a system needs a package (Policy 2.5); the most needed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// `required`
    Required,
    /// `important`
    Important,
    /// `standard`
    Standard,
    /// `optional`, or nothing
    Optional,
    /// `extra`
    Extra,
}

/// Whether packages of other architectures may stand in, or stand beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MultiArch {
    /// `no`, or nothing
    No,
    /// `same`
    Same,
    /// `foreign`
    Foreign,
    /// `allowed`
    Allowed,
}

/// Why bytes are not a stanza.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseStanzaError {
    /// Longer than [`STANZA_BYTES_MAX`].
    #[error("a stanza has {bytes} bytes; at most {STANZA_BYTES_MAX} are accepted")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A line that is no field and continues none.
    #[error("line `{line}` is not a field")]
    Line {
        /// Its beginning.
        line: String,
    },
    /// A field twice.
    #[error("field `{field}` is there twice")]
    Twice {
        /// Its name.
        field: &'static str,
    },
    /// A field that must be there.
    #[error("there is no field `{field}`")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A value that cannot be understood.
    #[error("field `{field}` of `{package}` has the value `{value}`: {reason}")]
    Value {
        /// The field's name.
        field: &'static str,
        /// The package, as far as it is known.
        package: String,
        /// The value's beginning.
        value: String,
        /// What the value's parser says.
        reason: String,
    },
}

/// The fields that are read; the compact index keeps no others.
pub const FIELDS: [&str; 16] = [
    "Package",
    "Version",
    "Architecture",
    "Essential",
    "Priority",
    "Multi-Arch",
    "Source",
    "Provides",
    "Pre-Depends",
    "Depends",
    "Conflicts",
    "Breaks",
    "Size",
    "SHA256",
    "Filename",
    "Recommends",
];

/// The position of a field's name in [`FIELDS`].
pub(super) fn known_field(name: &[u8]) -> Option<usize> {
    // Most lines of an index are of other fields: length and first letter tell most of them.
    let first = name.first()?.to_ascii_lowercase();
    let possible: &[usize] = match (name.len(), first) {
        (7, b'p') => &[0],
        (7, b'v') => &[1],
        (12, b'a') => &[2],
        (9, b'e') => &[3],
        (8, b'p') => &[4, 7],
        (10, b'm') => &[5],
        (10, b'r') => &[15],
        (6, b's') => &[6, 13],
        (11, b'p') => &[8],
        (7, b'd') => &[9],
        (9, b'c') => &[10],
        (6, b'b') => &[11],
        (4, b's') => &[12],
        (8, b'f') => &[14],
        _ => return None,
    };
    possible
        .iter()
        .copied()
        .find(|index| FIELDS[*index].as_bytes().eq_ignore_ascii_case(name))
}

/// One line of a stanza.
pub(super) enum Line<'a> {
    /// `Name: value`
    Field(&'a [u8], &'a [u8]),
    /// More of the value before it.
    Continuation,
}

/// Tell what a line without its line feed is.
pub(super) fn read_line(line: &[u8]) -> Result<Line<'_>, ParseStanzaError> {
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Ok(Line::Continuation);
    }
    let colon = memchr::memchr(b':', line).filter(|colon| *colon > 0);
    let Some(colon) = colon else {
        let line = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
        return Err(ParseStanzaError::Line { line });
    };
    Ok(Line::Field(&line[..colon], line[colon + 1..].trim_ascii()))
}

/// The values of the known fields, in the order of [`FIELDS`]; continuation lines belong to the value.
struct Values<'a>([Option<&'a str>; FIELDS.len()]);

impl<'a> Values<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ParseStanzaError> {
        if bytes.len() > STANZA_BYTES_MAX {
            return Err(ParseStanzaError::TooLong { bytes: bytes.len() });
        }
        let (mut values, mut open, mut at) = ([None; FIELDS.len()], None, 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let end = at + line.len();
            match read_line(line.strip_suffix(b"\n").unwrap_or(line))? {
                Line::Continuation => {}
                Line::Field(name, _) => {
                    close_field(&mut values, open, &bytes[..at])?;
                    open = known_field(name).map(|field| (field, at + name.len() + 1));
                }
            }
            at = end;
        }
        close_field(&mut values, open, bytes)?;
        Ok(Self(values))
    }

    fn optional(&self, field: &'static str) -> Option<&'a str> {
        known_field(field.as_bytes()).and_then(|index| self.0[index])
    }

    fn required(&self, field: &'static str) -> Result<&'a str, ParseStanzaError> {
        self.optional(field)
            .filter(|value| !value.is_empty())
            .ok_or(ParseStanzaError::Missing { field })
    }

    /// A value through its parser, or its parser's word why not.
    fn parsed<T, E: ToString>(
        &self,
        field: &'static str,
        value: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ParseStanzaError> {
        parse(value).map_err(|error| ParseStanzaError::Value {
            field,
            package: self
                .optional("Package")
                .unwrap_or_default()
                .chars()
                .take(80)
                .collect(),
            value: value.chars().take(80).collect(),
            reason: error.to_string(),
        })
    }

    /// `Source: name (version)`. One that cannot be read is passed over: the package's own name and version hold then.
    fn source(&self, name: &DebianName, version: &DebianVersion) -> Option<SourcePackage> {
        let text = self.optional("Source")?;
        let (source, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let inside = rest
            .trim()
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'));
        let source = SourcePackage {
            name: source.parse().ok()?,
            version: inside.map_or(Some(version.clone()), |inside| inside.trim().parse().ok())?,
        };
        (source.name != *name || source.version != *version).then_some(source)
    }

    fn relations<T: Default, E: ToString>(
        &self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ParseStanzaError> {
        self.optional(field)
            .map_or_else(|| Ok(T::default()), |value| self.parsed(field, value, parse))
    }
}

/// Keep the value that was open until the end of `before`.
fn close_field<'a>(
    values: &mut [Option<&'a str>; FIELDS.len()],
    open: Option<(usize, usize)>,
    before: &'a [u8],
) -> Result<(), ParseStanzaError> {
    let Some((field, start)) = open else { return Ok(()) };
    let value = before[start..].trim_ascii();
    let wrong = |_| ParseStanzaError::Value {
        field: FIELDS[field],
        package: String::new(),
        value: String::from_utf8_lossy(&value[..value.len().min(80)]).into_owned(),
        reason: "it is not UTF-8".to_owned(),
    };
    let value = std::str::from_utf8(value).map_err(wrong)?;
    match values[field].replace(value) {
        Some(_) => Err(ParseStanzaError::Twice { field: FIELDS[field] }),
        None => Ok(()),
    }
}

impl Stanza {
    /// Parse one stanza, without the blank line that ends it.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseStanzaError> {
        let values = Values::read(bytes)?;
        let name = values.required("Package")?;
        let mut depends = values.relations("Pre-Depends", parse_clauses)?;
        depends.extend(values.relations("Depends", parse_clauses)?);
        let sha256 = values
            .optional("SHA256")
            .map(|hex| values.parsed("SHA256", hex, Digest::from_hex));
        let name = values.parsed("Package", name, str::parse::<DebianName>)?;
        let version = values.required("Version")?;
        let version = values.parsed("Version", version, str::parse::<DebianVersion>)?;
        Ok(Self {
            source: values.source(&name, &version),
            name,
            version,
            architecture: values.required("Architecture")?.to_owned(),
            essential: values.optional("Essential") == Some("yes"),
            priority: Priority::read(values.optional("Priority")),
            multi_arch: MultiArch::read(values.optional("Multi-Arch")),
            provides: values
                .relations("Provides", parse_list)?
                .into_iter()
                .filter_map(provided)
                .collect(),
            depends,
            recommends: values.relations("Recommends", parse_clauses)?,
            conflicts: values.relations("Conflicts", parse_list)?,
            breaks: values.relations("Breaks", parse_list)?,
            size: values.parsed("Size", values.required("Size")?, str::parse::<u64>)?,
            sha256: sha256.transpose()?,
            path: values.parsed("Filename", values.required("Filename")?, str::parse::<PoolPath>)?,
        })
    }

    /// Whether it provides `name` so that `constraint` holds.
    pub fn provides(&self, name: &DebianName, constraint: Option<&Constraint>) -> bool {
        self.provides
            .iter()
            .filter(|provided| provided.name == *name)
            .any(|provided| {
                constraint.is_none_or(|constraint| {
                    provided
                        .version
                        .as_ref()
                        .is_some_and(|version| constraint.admits(version))
                })
            })
    }

    /// Whether it is, or provides, what the relation names.
    pub fn meets(&self, relation: &Relation) -> bool {
        let constraint = relation.constraint.as_ref();
        let real = || self.name == relation.name && constraint.is_none_or(|it| it.admits(&self.version));
        !relation.foreign && (real() || self.provides(&relation.name, constraint))
    }

    /// As a part of a plan.
    pub fn to_planned(&self, suite: cooper_core::base::Suite) -> PlannedDebian {
        PlannedDebian {
            name: self.name.clone(),
            version: self.version.clone(),
            architecture: self.architecture.clone(),
            size: self.size,
            sha256: self.sha256,
            suite,
            path: self.path.clone(),
            source: self.source.clone(),
        }
    }
}

/// `Provides: x (= 1)`; any other operator says nothing and is passed over, as dpkg does.
fn provided(relation: Relation) -> Option<Provided> {
    match relation.constraint {
        None => Some(Provided {
            name: relation.name,
            version: None,
        }),
        Some(Constraint {
            operator: Operator::Equal,
            version,
        }) => Some(Provided {
            name: relation.name,
            version: Some(version),
        }),
        Some(_) => None,
    }
}

impl Priority {
    fn read(value: Option<&str>) -> Self {
        match value {
            Some("required") => Self::Required,
            Some("important") => Self::Important,
            Some("standard") => Self::Standard,
            Some("extra") => Self::Extra,
            _ => Self::Optional,
        }
    }
}

impl MultiArch {
    fn read(value: Option<&str>) -> Self {
        match value {
            Some("same") => Self::Same,
            Some("foreign") => Self::Foreign,
            Some("allowed") => Self::Allowed,
            _ => Self::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WGET: &str = "Package: wget\nSource: wget (1.25.0-2)\nVersion: 1.25.0-2+b1\nX-Unknown: yes\nArchitecture: amd64\n\
        Pre-Depends: libc6 (>= 2.38)\ndepends: libidn2-0,\n zlib1g (>= 1:1.1.4)\nConflicts: wget-ssl\nPriority: standard\n\
        Multi-Arch: foreign\nProvides: wget-ssl, web-client (= 2)\nDescription: one\n two\n .\nSize: 7\n\
        Filename: pool/main/w/wget/wget_1.deb\n\
        SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";

    #[test]
    fn every_field_is_known_in_any_case() {
        for (index, field) in FIELDS.iter().enumerate() {
            assert_eq!(known_field(field.as_bytes()), Some(index));
            assert_eq!(known_field(field.to_ascii_uppercase().as_bytes()), Some(index));
        }
        assert_eq!(
            (
                known_field(b"Homepage"),
                known_field(b"Maintainer"),
                known_field(b"")
            ),
            (None, None, None)
        );
    }

    #[test]
    fn fields_are_read_and_folded_lines_joined() {
        let stanza = Stanza::parse(WGET.as_bytes()).unwrap();
        assert_eq!(
            (stanza.name.as_str(), stanza.version.as_str()),
            ("wget", "1.25.0-2+b1")
        );
        assert_eq!(
            (
                stanza.source.as_ref().map(|source| source.version.to_string()),
                stanza.priority
            ),
            (Some("1.25.0-2".to_owned()), Priority::Standard)
        );
        let same = WGET.replace("Source: wget (1.25.0-2)\n", "");
        assert_eq!(Stanza::parse(same.as_bytes()).unwrap().source, None);
        let clauses: Vec<String> = stanza
            .depends
            .iter()
            .map(|clause| clause[0].to_string())
            .collect();
        assert_eq!(clauses, ["libc6 (>= 2.38)", "libidn2-0", "zlib1g (>= 1:1.1.4)"]);
        assert_eq!(
            (stanza.size, stanza.multi_arch, stanza.essential),
            (7, MultiArch::Foreign, false)
        );
        assert!(stanza.sha256.is_some());
    }

    #[test]
    fn only_a_versioned_provision_meets_a_versioned_relation() {
        let stanza = Stanza::parse(WGET.as_bytes()).unwrap();
        let meets = |text: &str| stanza.meets(&parse_list(text).unwrap()[0]);
        assert!(meets("wget-ssl") && meets("web-client (>= 2)") && meets("wget (>> 1.25)"));
        assert!(!meets("wget-ssl (>= 1)") && !meets("web-client (>= 3)") && !meets("wget:i386"));
    }

    #[test]
    fn wrong_stanzas_are_refused() {
        let with = |from: &str, to: &str| Stanza::parse(WGET.replace(from, to).as_bytes());
        assert!(matches!(
            with("Size: 7\n", ""),
            Err(ParseStanzaError::Missing { field: "Size" })
        ));
        assert!(matches!(
            with("Size: 7", "Size: -7"),
            Err(ParseStanzaError::Value { field: "Size", .. })
        ));
        assert!(matches!(
            with("Size: 7", "Size: 7\nSize: 8"),
            Err(ParseStanzaError::Twice { field: "Size" })
        ));
        assert!(matches!(
            with("X-Unknown:", "no colon"),
            Err(ParseStanzaError::Line { .. })
        ));
        assert!(matches!(
            with("pool/", "../"),
            Err(ParseStanzaError::Value {
                field: "Filename",
                ..
            })
        ));
        assert!(matches!(
            with("zlib1g", "zlib1g ("),
            Err(ParseStanzaError::Value { field: "Depends", .. })
        ));
        let long = with(
            "Description: one",
            &format!("Description: {}", "x".repeat(1 << 20)),
        );
        assert!(matches!(long, Err(ParseStanzaError::TooLong { .. })));
        assert!(Stanza::parse(b"Package: \xff\xff\n").is_err());
        assert!(Stanza::parse(b"").is_err());
    }
}
