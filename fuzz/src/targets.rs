//! The targets: one for each parser of outside bytes.

mod advisory;
mod archive;
mod debian;
mod diligence;
mod licences;
mod names;
mod network;
mod python;
mod request;
mod requirements;
mod terminal;
mod wheel;

use crate::driver::Target;

/// Every target.
pub const TARGETS: &[&Target] = &[
    &debian::STANZA,
    &debian::RELATIONS,
    &debian::VERSION,
    &debian::IN_RELEASE,
    &debian::RELEASE,
    &debian::INDEX,
    &debian::COMPACT_INDEX,
    &debian::COMPRESSED_INDEX,
    &debian::KEYRING,
    &debian::TAR,
    &debian::CONTROL,
    &debian::LISTS,
    &debian::PACKAGE,
    &archive::IMAGE_ARCHIVE,
    &archive::LAYER_TAR,
    &python::PAGE_JSON,
    &python::PAGE_HTML,
    &python::KEPT_PAGE,
    &python::SOURCE,
    &python::METADATA,
    &python::WHEEL_TAIL,
    &python::WHEEL_NAME,
    &wheel::ELF,
    &wheel::WHEEL,
    &wheel::RECORD,
    &wheel::TEXTS,
    &request::DEPENDENCIES,
    &request::PACKAGES,
    &request::CHAT,
    &request::LOCK,
    &request::NAMES,
    &requirements::REQUIREMENTS,
    &terminal::TERMINAL,
    &network::ALLOW_LIST,
    &network::DNS_QUERY,
    &licences::EXPRESSION,
    &licences::METADATA,
    &licences::TEXT,
    &licences::COPYRIGHT,
    &advisory::OSV_RECORD,
    &advisory::ADVISORY_SNAPSHOT,
    &advisory::VEX,
    &advisory::EPSS,
    &advisory::KNOWN_EXPLOITED,
    &advisory::CVSS,
    &diligence::POLICY,
    &diligence::SBOM,
    &diligence::EVIDENCE,
    &diligence::LEDGER,
    &names::POPULAR_NAMES,
    &names::COMPILED_NAMES,
    &names::NAME,
];

/// How a result ended.
fn ending<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    result.map_or_else(|error| error.to_string(), |_| "good".to_owned())
}

/// The error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Nothing to mend.
fn as_it_is(_: &mut [u8]) {}

/// How many there are, in a word, so that another number is another ending.
fn counted(number: usize) -> &'static str {
    [
        "none", "once", "twice", "thrice", "four", "five", "six", "seven", "many",
    ][number.min(8)]
}
