//! What can go wrong between a request and a Debian solution, and what helps.

use cooper_core::base::{Base, Suite, SuiteKind};
use cooper_core::{DebianName, DebianVersion, Digest, Timestamp};
use cooper_store::{FetchError, MarkError, WriteBlobError};
use url::Url;

use super::index::BuildIndexError;
use super::openpgp::SignatureError;
use super::release::ParseReleaseError;
use super::unpack::UnpackError;

/// Why Debian packages cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// Offline, and no index is kept.
    #[error("the index of {suite} is not in the store, and fetching is switched off")]
    Offline {
        /// The suite.
        suite: Suite,
    },
    /// No mirror is configured.
    #[error("no mirror is configured for {suite}")]
    NoMirror {
        /// The suite.
        suite: Suite,
    },
    /// No usable certificate is configured.
    #[error("there is no key to check the signatures of the index of {suite} with")]
    NoKeys {
        /// The suite.
        suite: Suite,
    },
    /// The configuration names another `InRelease` than the one that is there.
    #[error("{url} is not the index of {suite} that is configured: {found}, expected {expected}")]
    Pinned {
        /// The suite.
        suite: Suite,
        /// Where it came from.
        url: Box<Url>,
        /// What is configured.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// An index cannot be fetched.
    #[error("cannot fetch the index of {suite} from {url}")]
    Fetch {
        /// The suite.
        suite: Suite,
        /// The address at the mirror that was tried last.
        url: Box<Url>,
        /// When the newest index in the store was fetched, if there is one.
        kept: Option<Timestamp>,
        /// Why.
        source: Box<FetchError>,
    },
    /// An index is not signed by a trusted key.
    #[error("{url} cannot be trusted as the index of {suite}")]
    Signature {
        /// The suite.
        suite: Suite,
        /// Where it came from.
        url: Box<Url>,
        /// What is wrong, with the keys that were tried.
        source: SignatureError,
    },
    /// A signed index does not say what it must.
    #[error("{url} is signed, but is not a usable index of {suite}")]
    Release {
        /// The suite.
        suite: Suite,
        /// Where it came from.
        url: Box<Url>,
        /// Why not.
        source: ParseReleaseError,
    },
    /// The list of packages is not what was signed.
    #[error("the packages of {suite} cannot be unpacked")]
    Unpack {
        /// The suite.
        suite: Suite,
        /// Why not.
        source: UnpackError,
    },
    /// The list of packages cannot be read.
    #[error("the packages of {suite} cannot be read")]
    Index {
        /// The suite.
        suite: Suite,
        /// Why not.
        source: BuildIndexError,
    },
    /// The cache was damaged, and is damaged again after it was made anew.
    #[error("the cached packages of {suite} are damaged")]
    Damaged {
        /// The suite.
        suite: Suite,
        /// How.
        source: super::index::ReadIndexError,
    },
    /// The store cannot be written.
    #[error("cannot keep the index of {suite} in the store")]
    Store {
        /// The suite.
        suite: Suite,
        /// Why not.
        source: Box<WriteBlobError>,
    },
    /// The newest date that was seen cannot be read or noted, so nobody can tell whether the index is an old one.
    #[error("cannot tell which is the newest index of {suite} that was seen")]
    Newest {
        /// The suite.
        suite: Suite,
        /// Why not.
        source: Box<MarkError>,
    },
    /// The package database of an image below is not that of its lock.
    #[error("the package database of `{image}`, which is to be the base, does not know {name} {version}")]
    GroundImage {
        /// The image.
        image: String,
        /// A package of its lock.
        name: DebianName,
        /// The package's version there.
        version: DebianVersion,
    },
    /// No such package.
    #[error("{base} has no package `{name}`")]
    UnknownPackage {
        /// The base.
        base: Base,
        /// What was asked.
        name: DebianName,
        /// Names that are close, the closest first.
        suggestions: Vec<String>,
    },
    /// No such version.
    #[error("{base} has no version {version} of `{name}`")]
    UnknownVersion {
        /// The base.
        base: Base,
        /// The package.
        name: DebianName,
        /// What was asked.
        version: DebianVersion,
        /// What there is, the newest first.
        available: Vec<DebianVersion>,
    },
    /// A name that several packages provide.
    #[error("`{name}` is not a package itself: {} provide it", count(.providers.len(), "packages"))]
    Virtual {
        /// What was asked.
        name: DebianName,
        /// Who provides it, the likeliest first.
        providers: Vec<String>,
    },
    /// Another version of a base package than the base has.
    #[error("`{name}={version}` is asked for, but {base} is made with {name} {base_version}")]
    BaseVersion {
        /// The base.
        base: String,
        /// The package.
        name: DebianName,
        /// What was asked.
        version: DebianVersion,
        /// What the base has.
        base_version: DebianVersion,
    },
    /// One package asked for in two versions.
    #[error("`{name}` is asked for in two versions, {} and {}", .versions.0, .versions.1)]
    TwoVersions {
        /// The package.
        name: DebianName,
        /// Both.
        versions: (DebianVersion, DebianVersion),
    },
    /// The wishes exclude each other.
    #[error("the packages cannot be installed together:\n{}", .reasons.join("\n"))]
    Unsatisfiable {
        /// One line for each reason.
        reasons: Vec<String>,
    },
}

fn count(number: usize, things: &str) -> String {
    format!("{number} {things}")
}

impl DebianError {
    /// A command or an edit that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Offline { .. } => Some("run once without `--offline`".to_owned()),
            Self::NoKeys { suite } if suite.source().is_some() => {
                Some("name the archive's key file in `signed_by` of its `[[debian.source]]`".to_owned())
            }
            Self::Pinned { .. } => Some(
                "remove `in_release_sha256` from its `[[debian.source]]`, or give the digest of the file that you mean"
                    .to_owned(),
            ),
            Self::Signature { suite, .. } if suite.source().is_some() => {
                Some("check `uris` and `signed_by` of its `[[debian.source]]`".to_owned())
            }
            Self::NoKeys { .. } => Some(
                "install the package `debian-archive-keyring`, or set `debian.keyring` in cooper.toml"
                    .to_owned(),
            ),
            Self::Fetch { source, .. } if source.is_denied() => source.hint(),
            Self::Fetch { kept: Some(kept), .. } => Some(format!(
                "run with `--offline` to use the index of {kept}, or configure another mirror"
            )),
            Self::NoMirror { suite }
            | Self::Fetch {
                kept: None, suite, ..
            } => Some(mirror_hint(*suite)),
            Self::Signature { .. } => {
                Some("check `debian.mirrors` and `debian.keyring` with `cooper config`".to_owned())
            }
            Self::Release { .. } | Self::Unpack { .. } | Self::Index { .. } => {
                Some("run again with `--refresh`; if it stays, configure another mirror".to_owned())
            }
            Self::Damaged { .. } => Some("run `cooper fsck`".to_owned()),
            Self::Store { .. } => {
                Some("make space in the store's file system, or set COOPER_STORE".to_owned())
            }
            Self::Newest { source, .. } => Some(mark_hint(source).to_owned()),
            Self::UnknownPackage { suggestions, .. } if suggestions.is_empty() => Some(
                "check the spelling: it is the name of a binary package in Debian's section `main`"
                    .to_owned(),
            ),
            Self::UnknownPackage { suggestions, .. } => {
                Some(format!("did you mean {}?", enumerate(suggestions.iter(), "or")))
            }
            Self::UnknownVersion { name, available, .. } => {
                let wishes = available.iter().take(5).map(|version| format!("{name}={version}"));
                let wishes = enumerate(wishes, "or");
                Some(format!("ask for {wishes}, or for `{name}` alone"))
            }
            Self::Virtual { providers, .. } => Some(format!(
                "ask for one of them: {}",
                enumerate(providers.iter().take(10), "or")
            )),
            Self::GroundImage { image, .. } => Some(format!(
                "run `cooper fsck --repair`, make `{image}` again with a create of its request, then this one"
            )),
            Self::BaseVersion {
                name, base_version, ..
            } => Some(format!("leave `{name}` out, or ask for `{name}={base_version}`")),
            Self::TwoVersions { name, .. } => Some(format!("ask for `{name}` once")),
            Self::Unsatisfiable { .. } => {
                Some("leave one of them out, or ask without an exact version".to_owned())
            }
        }
    }
}

fn mark_hint(source: &MarkError) -> &'static str {
    match source {
        MarkError::Unreadable { .. } => "run `cooper fsck --repair`",
        _ => "check that the store is writable: `cooper config` shows where it is",
    }
}

fn mirror_hint(suite: Suite) -> String {
    let (setting, variable) = match suite.kind {
        SuiteKind::Release | SuiteKind::Updates => ("debian.mirrors", "COOPER_DEBIAN_MIRROR"),
        SuiteKind::Security => ("debian.security_mirrors", "COOPER_DEBIAN_SECURITY_MIRROR"),
        SuiteKind::Source(source) => {
            return format!(
                "`cooper config` shows `debian.source`: its `{}` says where the archive is",
                source.source()
            );
        }
    };
    format!("set `{setting}` in cooper.toml, or {variable}, to a mirror that has {suite}")
}

/// `` `a`, `b` or `c` ``
pub(super) fn enumerate(items: impl Iterator<Item = impl AsRef<str>>, last: &str) -> String {
    let items: Vec<String> = items.map(|item| format!("`{}`", item.as_ref())).collect();
    match items.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, start)) => format!("{} {last} {end}", start.join(", ")),
    }
}
