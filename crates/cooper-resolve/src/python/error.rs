//! Why a Python resolution gave nothing.

use std::fmt;

use cooper_core::plan::PlannedPython;
use cooper_core::source::PlannedSource;
use cooper_core::{Digest, PythonName, PythonRequirement};
use cooper_store::{FetchError, ReadBlobError};
use url::Url;

/// Why a list of Python requirements has no solution, or none was found.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// The index does not have a distribution of this name.
    #[error("the Python index has no distribution `{name}`{}", wanted_by(required_by.as_deref()))]
    UnknownPackage {
        /// What was asked for.
        name: PythonName,
        /// Which distribution needs it; none means that the request names it.
        required_by: Option<String>,
        /// Names that the index has and that may be meant.
        suggestions: Vec<String>,
    },
    /// No version can be used on the target, or none that can be used matches.
    #[error("no usable version of `{name}` for `{requirement}`: {reason}")]
    NoUsableVersion {
        /// The distribution.
        name: PythonName,
        /// The requirement as it is written.
        requirement: String,
        /// What is wrong with the versions that match, in one sentence.
        reason: String,
        /// The newest versions that can be used, newest first.
        usable: Vec<String>,
    },
    /// Every version that matches and could be used was withdrawn, and the request does not insist on one.
    #[error("every usable version of `{name}` that `{requirement}` allows was withdrawn by its publisher: {}", shown_withdrawn(.withdrawn))]
    Withdrawn {
        /// The distribution.
        name: PythonName,
        /// The requirement as it is written.
        requirement: String,
        /// The versions that match, newest first.
        withdrawn: Vec<Withdrawn>,
        /// The newest version that was not withdrawn and can be used, if there is one.
        usable: Option<String>,
    },
    /// A version is there, and its file has no hash that the request lists.
    #[error("{0}")]
    OtherHash(Box<OtherHash>),
    /// The base has another version, and what is there stays.
    #[error("{0}")]
    BaseConflict(Box<BaseConflict>),
    /// The request lists hashes, but not of everything that is needed.
    #[error(
        "the request has hashes, and then everything needs one, but it does not list {}",
        shown_unlisted(unlisted)
    )]
    Unlisted {
        /// What is missing, by name.
        unlisted: Vec<Unlisted>,
    },
    /// Every version exists, but no choice of versions fits together.
    #[error("the requirements do not fit together:{explanation}")]
    Unsatisfiable {
        /// The conflict: one fact a line, each on a new line and indented.
        explanation: String,
        /// Some version was passed over since the gates would refuse it.
        passed_over: bool,
    },
    /// The chosen version has no such extra.
    #[error("`{name}` {version} has no extra `{extra}`")]
    UnknownExtra {
        /// The distribution.
        name: PythonName,
        /// The version that was looked at.
        version: String,
        /// The extra that was asked for.
        extra: String,
        /// The extras that there are, the nearest first.
        known: Vec<String>,
    },
    /// No index is configured.
    #[error("no Python index is configured")]
    NoIndex,
    /// A page of the index cannot be fetched.
    #[error("cannot read the Python index's page of `{name}`")]
    Fetch {
        /// The distribution.
        name: PythonName,
        /// What the intake says.
        #[source]
        source: FetchError,
    },
    /// A page of the index is not what PEP 691 or PEP 503 describe.
    #[error("the Python index's page of `{name}` at {url} cannot be read: {reason}")]
    Page {
        /// The distribution.
        name: PythonName,
        /// Where the page is.
        url: Url,
        /// The first fault.
        reason: String,
    },
    /// A wheel's metadata cannot be fetched.
    #[error("cannot read the metadata of {filename}")]
    Metadata {
        /// The wheel.
        filename: String,
        /// What the intake says.
        #[source]
        source: FetchError,
    },
    /// Sources cannot be read from the store, or written to it.
    #[error("cannot read {filename} in the store")]
    StoredSource {
        /// The file.
        filename: String,
        /// Why.
        #[source]
        source: ReadBlobError,
    },
    /// Offline, and the store does not have what is needed.
    #[error("offline, and the store does not have {what}")]
    Offline {
        /// A page or a wheel's metadata.
        what: String,
    },
    /// The index's address cannot be joined with a name.
    #[error("`{url}` cannot be the root of a Python index")]
    IndexUrl {
        /// What is configured.
        url: Url,
    },
    /// Sources have to be built before there is an answer: their metadata is not known before, or they are in it.
    #[error("sources have to be built first: {}", shown_sources(.sources))]
    Unbuilt {
        /// Each once.
        sources: Vec<UnbuiltSource>,
        /// What is beside them in the answer, where it is known already.
        beside: Vec<PlannedPython>,
    },
    /// The solution did not pass the check that follows it: a fault of this program.
    #[error("the solver's answer is wrong: {detail}")]
    Inconsistent {
        /// The requirement that is not met.
        detail: String,
    },
}

/// Sources that have to be built to a wheel. The file is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnbuiltSource {
    /// The file.
    pub planned: PlannedSource,
    /// What its build asks for: `build-system.requires`.
    pub requires: Vec<PythonRequirement>,
    /// It has files that a compiler is needed for.
    pub compiled: bool,
}

/// A version that its publisher withdrew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// Which.
    pub version: String,
    /// The wheel that would be used.
    pub filename: String,
    /// Why, as the index says it in one line; perhaps nothing.
    pub reason: String,
}

/// A distribution that the base has in a version that the request does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseConflict {
    /// The distribution.
    pub name: PythonName,
    /// The requirement or constraint as it is written.
    pub requirement: String,
    /// The image that has it.
    pub image: String,
    /// The version there.
    pub version: String,
}

impl fmt::Display for BaseConflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            requirement,
            image,
            version,
        } = self;
        write!(
            formatter,
            "`{requirement}` does not go with the base {image}, which has {name} {version}"
        )
    }
}

/// A file that is there, and has no hash that the request lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherHash {
    /// The distribution.
    pub name: PythonName,
    /// The requirement as it is written.
    pub requirement: String,
    /// The version's file that fits the target best.
    pub filename: String,
    /// Its hash, where the index has one.
    pub found: Option<Digest>,
    /// The hashes that are listed.
    pub expected: Vec<Digest>,
}

impl fmt::Display for OtherHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = self.found.map_or("no hash".to_owned(), |found| found.to_string());
        let expected = listed(self.expected.iter().map(Digest::to_string), self.expected.len());
        let Self {
            requirement,
            filename,
            ..
        } = self;
        write!(
            formatter,
            "`{requirement}` is refused: {filename} has {found}, and the request lists {expected}"
        )
    }
}

/// What is needed and has no hash in a request where everything must have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlisted {
    /// The distribution.
    pub name: PythonName,
    /// The version that would be taken.
    pub version: String,
    /// The hash of its file, where the index has one.
    pub sha256: Option<Digest>,
    /// What needs it.
    pub required_by: String,
}

/// How many hashes or distributions an error names.
const SHOWN_MAX: usize = 8;

fn shown_unlisted(unlisted: &[Unlisted]) -> String {
    let each = unlisted
        .iter()
        .map(|one| format!("{} {} ({} needs it)", one.name, one.version, one.required_by));
    listed(each, unlisted.len())
}

fn listed(texts: impl Iterator<Item = String>, count: usize) -> String {
    let mut shown: Vec<String> = texts.take(SHOWN_MAX).collect();
    match count {
        0 => shown.push("none that holds".to_owned()),
        count if count > SHOWN_MAX => shown.push(format!("{} others", count - SHOWN_MAX)),
        _ => {}
    }
    shown.join(", ")
}

impl Withdrawn {
    /// Why, in words.
    pub fn why(&self) -> &str {
        match self.reason.as_str() {
            "" => "no reason given",
            reason => reason,
        }
    }
}

/// How many versions an error names.
const WITHDRAWN_SHOWN_MAX: usize = 10;

fn shown_withdrawn(withdrawn: &[Withdrawn]) -> String {
    let shown = withdrawn.iter().take(WITHDRAWN_SHOWN_MAX);
    let mut texts: Vec<String> = shown
        .map(|one| format!("{} ({})", one.version, one.why()))
        .collect();
    if let Some(more) = withdrawn
        .len()
        .checked_sub(WITHDRAWN_SHOWN_MAX)
        .filter(|more| *more > 0)
    {
        texts.push(format!("{more} others"));
    }
    texts.join(", ")
}

fn shown_sources(sources: &[UnbuiltSource]) -> String {
    let names = sources.iter().map(|source| source.planned.filename.as_str());
    names.collect::<Vec<_>>().join(", ")
}

fn wanted_by(required_by: Option<&str>) -> String {
    required_by
        .map(|who| format!(", which {who} needs"))
        .unwrap_or_default()
}

impl PythonError {
    /// A command or an edit that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownPackage { suggestions, .. } if suggestions.is_empty() => {
                Some("check the spelling: the name is that on the index, not that of the import".to_owned())
            }
            Self::UnknownPackage { suggestions, .. } => {
                Some(format!("did you mean {}?", quoted(suggestions, " or ")))
            }
            Self::NoUsableVersion { name, usable, .. } => Some(match usable.first() {
                Some(newest) => format!("write {name}=={newest}, or drop the version"),
                None => "choose another distribution: no version has a wheel for this image".to_owned(),
            }),
            Self::Withdrawn {
                name,
                withdrawn,
                usable,
                ..
            } => {
                let newest = withdrawn.first().map_or("", |newest| newest.version.as_str());
                let other = usable
                    .as_ref()
                    .map(|usable| format!("write `{name}=={usable}`, or "));
                Some(format!(
                    "{}insist on a withdrawn version: `{name}=={newest}`",
                    other.unwrap_or_default()
                ))
            }
            Self::BaseConflict(conflict) => Some(format!(
                "allow {}=={}, or choose another `--base`",
                conflict.name, conflict.version
            )),
            Self::OtherHash(_) => Some(
                "make sure that the file is the one you mean; if it is, list its hash, else name another version"
                    .to_owned(),
            ),
            Self::Unlisted { unlisted } => {
                let line = |one: &Unlisted| {
                    let hash = one.sha256.map(|hash| format!(" --hash={hash}"));
                    format!("`{}=={}{}`", one.name, one.version, hash.unwrap_or_default())
                };
                let lines = listed(unlisted.iter().map(line), unlisted.len());
                Some(format!("check and add {lines}"))
            }
            Self::Unsatisfiable { .. } => {
                Some("loosen or drop one of the versions that the request names".to_owned())
            }
            Self::UnknownExtra { known, .. } if known.is_empty() => {
                Some("leave out the square brackets: it has no extras".to_owned())
            }
            Self::UnknownExtra { known, .. } => Some(format!("it has {}", quoted(known, ", "))),
            Self::Fetch { source, .. } | Self::Metadata { source, .. } if source.is_denied() => source.hint(),
            Self::Fetch { .. } | Self::Metadata { .. } => Some(
                "see `cooper config` for the Python index in use; --offline uses what is stored".to_owned(),
            ),
            Self::Offline { .. } => Some("run once without --offline".to_owned()),
            Self::Page { .. } | Self::IndexUrl { .. } => {
                Some("set COOPER_PYTHON_INDEX to the root of a simple index".to_owned())
            }
            Self::StoredSource { .. } => Some("run `cooper fsck --repair`, then create again".to_owned()),
            Self::NoIndex => Some("set `python.index` in cooper.toml to the root of a simple index".to_owned()),
            Self::Unbuilt { .. } | Self::Inconsistent { .. } => None,
        }
    }
}

fn quoted(names: &[String], between: &str) -> String {
    names
        .iter()
        .take(12)
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(between)
}
