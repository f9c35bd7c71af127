//! Every setting that there is: its key, its variables, its type, and what a project's file may do with it.

use std::path::PathBuf;
use std::time::Duration;

use cooper_core::{Base, ImageVersion, Organisation};
use cooperage::{Enforcement, Network, Runtime};
use url::Url;

use super::debian_source::SourceTable;
use super::value::{ByteCount, Count, LoginUrl, MilliCpus, SettingType, Timeout};

/// What the file of a project may say of a setting. A project may tighten trust, never widen it.
#[derive(Clone, Copy)]
pub(crate) enum ProjectRule {
    /// Whatever it likes: a matter of taste, not of trust.
    Free,
    /// Nothing, unless the user's or the system's file has `trust.allow_project_sources = true`.
    Source,
    /// A value that is not above the one in force without it; above it as [`ProjectRule::Source`].
    Lower(fn(&[String], &[String]) -> bool),
    /// Only `true`; `false` as [`ProjectRule::Source`].
    OnlyTrue,
    /// Nothing, ever.
    Never,
}

/// One setting.
pub(crate) struct Key {
    /// Its dotted name in a `cooper.toml`.
    pub(crate) name: &'static str,
    /// The variables that set it, the strongest first.
    pub(crate) variables: &'static [&'static str],
    /// What it has when nothing sets it, where that is a constant.
    pub(crate) default: Option<&'static str>,
    /// What a project's file may do.
    pub(crate) project: ProjectRule,
    /// Whether it holds several values.
    pub(crate) list: bool,
    /// Whether its values are tables of a file, each as [`super::debian_source::canonical`] writes it.
    pub(crate) tables: bool,
    /// Whether values are paths, relative to the file that holds them.
    pub(crate) path: bool,
    /// Whether the texts are of its type.
    pub(crate) check: fn(&[String]) -> Result<(), String>,
}

fn check<T: SettingType>(texts: &[String]) -> Result<(), String> {
    T::parse(texts).map(drop)
}

/// Whether the first is not above the second; what cannot be parsed is.
fn at_most<T: SettingType + PartialOrd>(ours: &[String], theirs: &[String]) -> bool {
    matches!((T::parse(ours), T::parse(theirs)), (Ok(ours), Ok(theirs)) if ours <= theirs)
}

/// Whether the first network reaches nobody whom the second does not; what cannot be parsed does.
fn network_within(ours: &[String], theirs: &[String]) -> bool {
    matches!((Network::parse(ours), Network::parse(theirs)), (Ok(ours), Ok(theirs)) if ours.within(&theirs))
}

const fn key<T: SettingType>(
    name: &'static str,
    variables: &'static [&'static str],
    project: ProjectRule,
) -> Key {
    Key {
        name,
        variables,
        default: None,
        project,
        list: false,
        tables: false,
        path: false,
        check: check::<T>,
    }
}

const fn bound<T: SettingType + PartialOrd>(
    name: &'static str,
    variables: &'static [&'static str],
    default: &'static str,
) -> Key {
    key::<T>(name, variables, ProjectRule::Lower(at_most::<T>)).or(default)
}

impl Key {
    const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    const fn list(mut self) -> Self {
        self.list = true;
        self
    }

    const fn tables(mut self) -> Self {
        self.tables = true;
        self
    }

    const fn path(mut self) -> Self {
        self.path = true;
        self
    }

    /// The setting of this name.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().copied().find(|key| key.name == name)
    }
}

pub(crate) static STORE: Key = key::<PathBuf>("store", &["COOPER_STORE"], ProjectRule::Source).path();
pub(crate) static ORGANISATION: Key =
    key::<Organisation>("organisation", &["COOPER_ORGANISATION"], ProjectRule::Free).or("local");
pub(crate) static BASE: Key = key::<Base>("base", &["COOPER_BASE"], ProjectRule::Free).or("debian:trixie");
pub(crate) static IMAGE_VERSION: Key =
    key::<ImageVersion>("image.version", &["COOPER_IMAGE_VERSION"], ProjectRule::Free).or("1.0.0");
pub(crate) static DEBIAN_MIRRORS: Key =
    key::<Vec<Url>>("debian.mirrors", &["COOPER_DEBIAN_MIRROR"], ProjectRule::Source).list();
pub(crate) static DEBIAN_SECURITY_MIRRORS: Key = key::<Vec<Url>>(
    "debian.security_mirrors",
    &["COOPER_DEBIAN_SECURITY_MIRROR"],
    ProjectRule::Source,
)
.list();
pub(crate) static DEBIAN_KEYRING: Key =
    key::<Vec<PathBuf>>("debian.keyring", &["COOPER_DEBIAN_KEYRING"], ProjectRule::Source)
        .list()
        .path();
pub(crate) static DEBIAN_SOURCES: Key = key::<Vec<SourceTable>>("debian.source", &[], ProjectRule::Source)
    .list()
    .tables();
pub(crate) static PYTHON_INDEX: Key =
    key::<Vec<Url>>("python.index", &["COOPER_PYTHON_INDEX"], ProjectRule::Source).list();
pub(crate) static ADVISORIES_OSV: Key =
    key::<Vec<Url>>("advisories.osv", &["COOPER_ADVISORIES_OSV"], ProjectRule::Source).list();
pub(crate) static ADVISORIES_EXPLOITED: Key = key::<Vec<Url>>(
    "advisories.exploited",
    &["COOPER_ADVISORIES_EXPLOITED"],
    ProjectRule::Source,
)
.list();
pub(crate) static ADVISORIES_EPSS: Key = key::<Vec<Url>>(
    "advisories.epss",
    &["COOPER_ADVISORIES_EPSS"],
    ProjectRule::Source,
)
.list();
pub(crate) static ADVISORIES_POPULAR: Key = key::<Vec<Url>>(
    "advisories.popular",
    &["COOPER_ADVISORIES_POPULAR"],
    ProjectRule::Source,
)
.list();
pub(crate) static ADVISORIES_VEX: Key =
    key::<Vec<Url>>("advisories.vex", &["COOPER_ADVISORIES_VEX"], ProjectRule::Source).list();
pub(crate) static MAX_AGE: Key = bound::<Duration>("freshness.max_age", &["COOPER_MAX_AGE"], "10m");
pub(crate) static OFFLINE: Key =
    key::<bool>("network.offline", &["COOPER_OFFLINE"], ProjectRule::OnlyTrue).or("false");
pub(crate) static HTTP_PROXY: Key = key::<String>(
    "network.http_proxy",
    &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
    ProjectRule::Source,
);
pub(crate) static HTTPS_PROXY: Key = key::<String>(
    "network.https_proxy",
    &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"],
    ProjectRule::Source,
);
pub(crate) static NO_PROXY: Key =
    key::<String>("network.no_proxy", &["no_proxy", "NO_PROXY"], ProjectRule::Source);
pub(crate) static CA_FILES: Key =
    key::<Vec<PathBuf>>("network.ca_files", &["COOPER_CA_FILES"], ProjectRule::Source)
        .list()
        .path();
pub(crate) static CREDENTIALS: Key =
    key::<Vec<LoginUrl>>("network.credentials", &["COOPER_CREDENTIALS"], ProjectRule::Never).list();
pub(crate) static CREDENTIAL_HELPER: Key =
    key::<Vec<String>>("network.credential_helper", &[], ProjectRule::Never).list();
pub(crate) static NETWORK_TIMEOUT: Key =
    bound::<Timeout>("network.timeout", &["COOPER_NETWORK_TIMEOUT"], "30s");
pub(crate) static NETWORK_ATTEMPTS: Key =
    bound::<Count>("network.attempts", &["COOPER_NETWORK_ATTEMPTS"], "3");
pub(crate) static RUN_TIMEOUT: Key = bound::<Timeout>("run.timeout", &["COOPER_RUN_TIMEOUT"], "5m");
pub(crate) static RUN_MEMORY: Key = bound::<ByteCount>("run.memory", &["COOPER_RUN_MEMORY"], "1GiB");
pub(crate) static RUN_PIDS: Key = bound::<Count>("run.pids", &["COOPER_RUN_PIDS"], "256");
pub(crate) static RUN_FILES: Key = bound::<Count>("run.files", &["COOPER_RUN_FILES"], "1024");
pub(crate) static RUN_CPUS: Key = bound::<MilliCpus>("run.cpus", &["COOPER_RUN_CPUS"], "1");
pub(crate) static RUN_NETWORK: Key = key::<Network>(
    "run.network",
    &["COOPER_RUN_NETWORK"],
    ProjectRule::Lower(network_within),
)
.or("none");
pub(crate) static RUN_TMP: Key = bound::<ByteCount>("run.tmp", &["COOPER_RUN_TMP"], "64MiB");
pub(crate) static RUN_SCRATCH: Key = bound::<ByteCount>("run.scratch", &["COOPER_RUN_SCRATCH"], "64MiB");
pub(crate) static RUN_OUTPUT_SIZE: Key =
    bound::<ByteCount>("run.output_size", &["COOPER_RUN_OUTPUT_SIZE"], "64MiB");
pub(crate) static RUN_WRITABLE: Key = bound::<bool>("run.writable", &["COOPER_RUN_WRITABLE"], "false");
pub(crate) static RUN_ENFORCEMENT: Key = key::<Enforcement>(
    "run.enforcement",
    &["COOPER_RUN_ENFORCEMENT"],
    ProjectRule::Lower(at_most::<Enforcement>),
);
pub(crate) static RUN_RUNTIME: Key = bound::<Runtime>("run.runtime", &["COOPER_RUN_RUNTIME"], "own");
pub(crate) static SCRIPTS_AS_SHIPPED: Key = key::<bool>(
    "build.scripts_as_shipped",
    &["COOPER_BUILD_SCRIPTS_AS_SHIPPED"],
    ProjectRule::OnlyTrue,
)
.or("false");
pub(crate) static BUILD_TIMEOUT: Key = bound::<Timeout>("build.timeout", &["COOPER_BUILD_TIMEOUT"], "20m");
pub(crate) static BUILD_MEMORY: Key = bound::<ByteCount>("build.memory", &["COOPER_BUILD_MEMORY"], "4GiB");
pub(crate) static POLICY_FILE: Key =
    key::<PathBuf>("policy.file", &["COOPER_POLICY"], ProjectRule::Never).path();
pub(crate) static POLICY_PROFILE: Key =
    key::<String>("policy.profile", &["COOPER_POLICY_PROFILE"], ProjectRule::Source);
pub(crate) static GC_CACHE_AGE: Key =
    key::<Duration>("gc.cache_age", &["COOPER_GC_CACHE_AGE"], ProjectRule::Never).or("30d");
pub(crate) static ALLOW_PROJECT_SOURCES: Key =
    key::<bool>("trust.allow_project_sources", &[], ProjectRule::Never).or("false");

/// The settings that say where evidence for the gates comes from.
pub(crate) static EVIDENCE_KEYS: [&Key; 5] = [
    &ADVISORIES_OSV,
    &ADVISORIES_EXPLOITED,
    &ADVISORIES_EPSS,
    &ADVISORIES_POPULAR,
    &ADVISORIES_VEX,
];

/// Every setting, in the order in which they are shown.
pub(crate) static KEYS: [&Key; 43] = [
    &STORE,
    &ORGANISATION,
    &BASE,
    &IMAGE_VERSION,
    &DEBIAN_MIRRORS,
    &DEBIAN_SECURITY_MIRRORS,
    &DEBIAN_KEYRING,
    &DEBIAN_SOURCES,
    &PYTHON_INDEX,
    &ADVISORIES_OSV,
    &ADVISORIES_EXPLOITED,
    &ADVISORIES_EPSS,
    &ADVISORIES_POPULAR,
    &ADVISORIES_VEX,
    &MAX_AGE,
    &OFFLINE,
    &HTTP_PROXY,
    &HTTPS_PROXY,
    &NO_PROXY,
    &CA_FILES,
    &CREDENTIALS,
    &CREDENTIAL_HELPER,
    &NETWORK_TIMEOUT,
    &NETWORK_ATTEMPTS,
    &RUN_TIMEOUT,
    &RUN_MEMORY,
    &RUN_PIDS,
    &RUN_FILES,
    &RUN_CPUS,
    &RUN_NETWORK,
    &RUN_TMP,
    &RUN_SCRATCH,
    &RUN_OUTPUT_SIZE,
    &RUN_WRITABLE,
    &RUN_ENFORCEMENT,
    &RUN_RUNTIME,
    &SCRIPTS_AS_SHIPPED,
    &BUILD_TIMEOUT,
    &BUILD_MEMORY,
    &POLICY_FILE,
    &POLICY_PROFILE,
    &GC_CACHE_AGE,
    &ALLOW_PROJECT_SOURCES,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_of_its_type() {
        for key in KEYS {
            if let Some(default) = key.default {
                assert_eq!((key.check)(&[default.to_owned()]), Ok(()), "{}", key.name);
            }
            assert!(std::ptr::eq(Key::find(key.name).unwrap(), key));
        }
    }
}
