//! What can be wrong with a requirements file, and what to do about it.

use std::fmt;
use std::io;

use crate::python::{ParsePythonError, PythonName};

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the user knows the file.
    pub file: String,
    /// From 1.
    pub line: usize,
}

impl Place {
    pub(super) fn fault(self, fault: RequirementsFault) -> RequirementsError {
        RequirementsError {
            place: self,
            fault: Box::new(fault),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// A fault in a requirements file, with where it is.
#[derive(Debug)]
pub struct RequirementsError {
    /// Where.
    pub place: Place,
    /// What.
    pub fault: Box<RequirementsFault>,
}

impl fmt::Display for RequirementsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.fault)
    }
}

impl std::error::Error for RequirementsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.fault.source()
    }
}

/// Why something is not said in a requirements file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// Where packages come from is configured.
    Index,
    /// Whom to trust is configured.
    Trust,
    /// `-e`
    Editable,
    /// A URL.
    Url,
    /// A version control system.
    Vcs,
    /// A path.
    Path,
    /// Which kinds of files are taken.
    Files,
    /// Pre-releases at large.
    Prereleases,
    /// How sources are built.
    Build,
    /// pip's own workings.
    Pip,
}

impl Elsewhere {
    const fn reason(self) -> &'static str {
        match self {
            Self::Index => "where packages come from is the configuration's business",
            Self::Trust => "whom to trust is the configuration's business",
            Self::Editable => "an image holds distributions of the index, not links to a working copy",
            Self::Url => "a URL is no distribution of the configured index, and nobody vetted it",
            Self::Vcs => "a repository is no distribution of the configured index, and nobody vetted it",
            Self::Path => "a file of this machine is no distribution of the configured index",
            Self::Files => "a wheel is always taken where a version has one",
            Self::Prereleases => "pre-releases are let in one by one",
            Self::Build => "builds take no options from a requirements file",
            Self::Pip => "it is about pip, which is not used",
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Index => {
                "take the line out and set `python.index` in cooper.toml, or COOPER_PYTHON_INDEX; `cooper config` shows what is in force"
            }
            Self::Trust => "take the line out; certificates are trusted by SSL_CERT_FILE",
            Self::Editable | Self::Url | Self::Vcs | Self::Path => {
                "write the distribution's name and version, such as `requests==2.32.3`; publish your own to your index first"
            }
            Self::Prereleases => {
                "take the line out, and name the pre-release where it is wanted: `name>=2.0rc1`"
            }
            Self::Files | Self::Build | Self::Pip => "take the option out",
        }
    }
}

/// What is wrong with a line, a file, or the whole.
#[derive(Debug, thiserror::Error)]
pub enum RequirementsFault {
    /// Not PEP 508.
    #[error(transparent)]
    Requirement(ParsePythonError),
    /// A URL, a repository or a path. It is not told: it may hold a password.
    #[error("the requirement is refused: {}", why.reason())]
    NotByName {
        /// Which of them.
        why: Elsewhere,
    },
    /// An option that is not for a requirements file of ours.
    #[error("`{option}` is refused: {}", why.reason())]
    Refused {
        /// The option without its value.
        option: &'static str,
        /// Why.
        why: Elsewhere,
    },
    /// No option of pip's.
    #[error("there is no option `{option}`")]
    UnknownOption {
        /// As it is written, without its value.
        option: String,
    },
    /// An option's value is missing.
    #[error("`{option}` has no value")]
    NoValue {
        /// The option.
        option: &'static str,
    },
    /// A word that belongs to nothing.
    #[error("something follows the options that is none")]
    Leftover,
    /// An option such as `-r` after a requirement.
    #[error("an option that is not of the requirement stands in its line")]
    OptionOfLine,
    /// `--hash` without a requirement.
    #[error("a hash stands in a line without a requirement")]
    HashOfNothing,
    /// Several options in one line: pip would ignore all but the first.
    #[error("a line has one option at most")]
    OneOption,
    /// A quote is not closed.
    #[error("a quote is not closed")]
    Unclosed,
    /// A backslash that does not end its line.
    #[error("a `\\` goes on in the next line only when nothing follows it, not even a blank")]
    Backslash,
    /// A hash that is none, or of an algorithm that does not count.
    #[error("`{text}` is not a hash: expected `sha256:` and 64 hexadecimal digits")]
    Hash {
        /// As it is written.
        text: String,
    },
    /// Only hashes of other algorithms.
    #[error("`{requirement}` has a hash by {algorithm} and none by sha256, by which files are chosen")]
    NoSha256 {
        /// The requirement.
        requirement: String,
        /// `sha384` or `sha512`
        algorithm: String,
    },
    /// More hashes than a requirement may have.
    #[error("a requirement has more hashes than a version has files")]
    TooManyHashes,
    /// A requirement without a hash, where others have one.
    #[error("`{requirement}` has no hash, but {because} asks for hashes of everything")]
    Unhashed {
        /// The requirement.
        requirement: String,
        /// What asks for hashes.
        because: Place,
    },
    /// A hash without a version.
    #[error("`{requirement}` has a hash but names no version with `==`")]
    Unpinned {
        /// The requirement.
        requirement: String,
    },
    /// Two sets of hashes.
    #[error("`{name}` has other hashes here than in {other}")]
    OtherHashes {
        /// The distribution.
        name: PythonName,
        /// The line before.
        other: Place,
    },
    /// Too many lines about one distribution.
    #[error("`{name}` is named by more than {} lines", super::REPEATS_MAX)]
    Repeated {
        /// The distribution.
        name: PythonName,
    },
    /// More requirements than a request may have.
    #[error("more than {} requirements", crate::request::ENTRIES_MAX)]
    TooMany,
    /// A constraint with extras.
    #[error("a constraint has no extras: it only bounds versions")]
    ConstraintExtras,
    /// A variable of the environment.
    #[error(
        "`${{{name}}}` is refused: variables of the environment are not put in, so that no password gets into an image"
    )]
    Variable {
        /// Its name.
        name: String,
    },
    /// An included file that is not below the folder of the first one.
    #[error("`{path}` is refused: only files in the folder of the first one are included")]
    Outside {
        /// As it is written.
        path: String,
    },
    /// An included address.
    #[error("a URL is refused: only files in the folder of the first one are included")]
    IncludeUrl,
    /// No path of a file.
    #[error("`{path}` is not the path of a file")]
    NoFile {
        /// As it is written.
        path: String,
    },
    /// A file includes itself.
    #[error("`{path}` includes itself")]
    Cycle {
        /// The file.
        path: String,
    },
    /// Too many files, or too deep.
    #[error(
        "more than {} files are included, or more than {} in a row",
        super::FILES_MAX,
        super::DEPTH_MAX
    )]
    TooManyFiles,
    /// An included file could not be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// All files together are too large.
    #[error("the files have more than {} bytes", super::FILE_BYTES_MAX)]
    TooLarge,
    /// A line is too long.
    #[error(
        "the line has more than {} bytes, continuations counted in",
        super::LINE_BYTES_MAX
    )]
    LineTooLong,
    /// Not UTF-8.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// UTF-16.
    #[error("the file is UTF-16")]
    Utf16,
    /// A character that has no business in a requirements file.
    #[error("the character U+{code:04X} is refused: it is not seen, or ends a line for some programs only")]
    Character {
        /// Its number.
        code: u32,
    },
}

impl RequirementsFault {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Requirement(_) => "a requirement looks like `requests[socks]>=2.31,<3`",
            Self::NotByName { why } | Self::Refused { why, .. } => why.hint(),
            Self::UnknownOption { .. } | Self::Leftover => {
                "a line is a requirement with its `--hash=…`, `-r FILE`, `-c FILE` or `--require-hashes`"
            }
            Self::NoValue { .. } => "write the value after a `=` or a blank",
            Self::OptionOfLine | Self::OneOption | Self::HashOfNothing => {
                "give each requirement, each `-r` and each `-c` a line of its own; end a line with `\\` to go on"
            }
            Self::Unclosed => "close it with another quote of the same kind",
            Self::Backslash => "take the blanks after the `\\` away; in paths write `/`",
            Self::Hash { .. } | Self::NoSha256 { .. } => {
                "`pip hash FILE` and `uv pip compile --generate-hashes` write hashes as they should be"
            }
            Self::Unhashed { .. } | Self::Unpinned { .. } => {
                "`uv pip compile --generate-hashes` writes a file where everything has a version and hashes"
            }
            Self::TooManyHashes => "list the hashes of one version's files",
            Self::OtherHashes { .. } => "take one of the two lines out, or give both the same hashes",
            Self::Repeated { .. } => "one line a distribution says enough",
            Self::TooMany => "make several images",
            Self::ConstraintExtras => "take the square brackets out",
            Self::Variable { .. } => "write the value; addresses and passwords belong into the configuration",
            Self::Outside { .. } | Self::IncludeUrl | Self::NoFile { .. } => {
                "put the file beside the first one, and name it without `..` or a leading `/`"
            }
            Self::Cycle { .. } => "take one of the `-r` lines out",
            Self::TooManyFiles | Self::TooLarge => "put what is needed into one file",
            Self::Unreadable { .. } => "the path is relative to the file that names it",
            Self::LineTooLong => "break the line, or make several requirements of it",
            Self::NotUtf8 | Self::Utf16 => "save it as UTF-8",
            Self::Character { .. } => "take the character out, or end the line there",
        }
    }
}

impl RequirementsError {
    /// What to do.
    pub fn hint(&self) -> &'static str {
        self.fault.hint()
    }
}
