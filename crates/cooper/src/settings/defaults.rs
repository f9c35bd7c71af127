//! What settings have when nobody sets them, where that is not a constant.

use std::path::Path;

use cooperage::Caller;

use super::apt::HostMirrors;
use super::environment::Environment;
use super::key::{
    ADVISORIES_EPSS, ADVISORIES_EXPLOITED, ADVISORIES_OSV, ADVISORIES_POPULAR, DEBIAN_KEYRING,
    DEBIAN_MIRRORS, DEBIAN_SECURITY_MIRRORS, Key, POLICY_FILE, PYTHON_INDEX, RUN_ENFORCEMENT, STORE,
};
use super::{Origin, Setting, pip};

/// The store of an installation.
const SYSTEM_STORE: &str = "/var/lib/cooper/store";

/// The name of a policy file.
const POLICY_NAME: &str = "policy.toml";

/// Debian's keyring where its package puts it, the first that is there.
pub(crate) const HOST_KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

/// Where evidence is published: feeds of advisories, no registries of packages.
const EVIDENCE: [(&Key, &[&str]); 4] = [
    (
        &ADVISORIES_OSV,
        &[
            "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip",
            "https://osv-vulnerabilities.storage.googleapis.com/Debian/all.zip",
        ],
    ),
    (
        &ADVISORIES_EXPLOITED,
        &["https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"],
    ),
    (
        &ADVISORIES_EPSS,
        &["https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"],
    ),
    (
        &ADVISORIES_POPULAR,
        &["https://hugovk.github.io/top-pypi-packages/top-pypi-packages.min.json"],
    ),
];

/// A copy of Debian's keyring (package `debian-archive-keyring`), for hosts that have none, or an old one.
pub(crate) static OWN_KEYRING: &[u8] = include_bytes!("../../data/debian-archive-keyring.gpg");

/// The default of a setting on this host.
pub(crate) fn of_host(key: &'static Key, environment: &Environment, etc: &Path) -> Option<Setting> {
    let is = |other: &Key| key.name == other.name;
    if is(&STORE) {
        return Some(by_default(store(environment)));
    }
    if is(&RUN_ENFORCEMENT) {
        // An ordinary user mostly has no cgroups, and is told at each run.
        let text = if environment.caller() == Caller::HostRoot {
            "required"
        } else {
            "best-effort"
        };
        return Some(by_default(text.to_owned()));
    }
    if is(&POLICY_FILE) {
        // The installation's before the user's own.
        let own = environment
            .config_home()
            .map(|home| home.join("cooper").join(POLICY_NAME));
        let places = [Some(etc.join("cooper").join(POLICY_NAME)), own];
        let file = places.into_iter().flatten().find(|path| path.exists())?;
        return Some(Setting {
            texts: vec![file.display().to_string()],
            origin: Origin::Host("its file".to_owned()),
        });
    }
    if is(&DEBIAN_MIRRORS) || is(&DEBIAN_SECURITY_MIRRORS) {
        let host = HostMirrors::read(etc);
        let mirrors = if is(&DEBIAN_MIRRORS) {
            host.main
        } else {
            host.security
        };
        let origin = Origin::Host(mirrors.first()?.1.display().to_string());
        return Some(Setting {
            texts: mirrors.iter().map(|(url, _)| url.to_string()).collect(),
            origin,
        });
    }
    if let Some((_, addresses)) = EVIDENCE.iter().find(|(known, _)| is(known)) {
        return Some(Setting {
            texts: addresses.iter().map(|address| (*address).to_owned()).collect(),
            origin: Origin::Default,
        });
    }
    if is(&DEBIAN_KEYRING) {
        let keyring = HOST_KEYRINGS.into_iter().find(|path| Path::new(path).exists())?;
        return Some(Setting {
            texts: vec![keyring.to_owned()],
            origin: Origin::Host("its file, and a copy in cooper".to_owned()),
        });
    }
    if is(&PYTHON_INDEX) {
        if let Some((url, place)) = pip::index(environment, etc) {
            return Some(Setting {
                texts: vec![url],
                origin: Origin::Host(place),
            });
        }
        let url = cooperage::default_python_index()?.to_string();
        return Some(Setting {
            texts: vec![url],
            origin: Origin::Default,
        });
    }
    key.default.map(|default| by_default(default.to_owned()))
}

fn by_default(text: String) -> Setting {
    Setting {
        texts: vec![text],
        origin: Origin::Default,
    }
}

/// The installation's, or an ordinary user's own.
fn store(environment: &Environment) -> String {
    let own = environment
        .data_home()
        .filter(|_| environment.caller() == Caller::Ordinary);
    own.map_or_else(
        || SYSTEM_STORE.to_owned(),
        |home| home.join("cooper/store").display().to_string(),
    )
}
