//! With which user name and password each index and mirror is asked: from its own address, `network.credentials`, a
//! `.netrc`, or a program, the first that has any.

use cooperage::{CredentialHelper, Credentials, Place, public_address};
use url::Url;

use super::debian_source::SourceTable;
use super::key::{
    CREDENTIAL_HELPER, CREDENTIALS, DEBIAN_MIRRORS, DEBIAN_SECURITY_MIRRORS, DEBIAN_SOURCES, EVIDENCE_KEYS,
    Key, PYTHON_INDEX,
};
use super::netrc::Netrc;
use super::{Settings, SettingsError};

/// How long a credential helper may take: some ask a password manager, or a server.
const HELPER_ANSWER_MS: u64 = 30_000;

/// What the intake has to know.
#[derive(Debug)]
pub(crate) struct Access {
    /// Every index and mirror.
    pub(crate) places: Vec<Place>,
    /// Who is asked about those of which nothing is known.
    pub(crate) helper: Option<CredentialHelper>,
}

/// What is said of credentials apart from an index's or mirror's own address.
struct Known {
    urls: Vec<Url>,
    said_by: String,
    netrc: Option<Netrc>,
}

impl Settings {
    /// The indexes and mirrors in force, with their credentials.
    pub(crate) fn access(&self) -> Result<Access, SettingsError> {
        let known = self.known()?;
        let mut places = Vec::new();
        let keys = [&DEBIAN_MIRRORS, &DEBIAN_SECURITY_MIRRORS, &PYTHON_INDEX];
        for key in keys.into_iter().chain(EVIDENCE_KEYS) {
            let origin = self.lookup(key)?.map(|setting| setting.origin.to_string());
            for url in self.optional::<Vec<Url>>(key)?.unwrap_or_default() {
                places.push(place(&url, key, origin.as_deref().unwrap_or_default(), &known)?);
            }
        }
        let origin = self
            .lookup(&DEBIAN_SOURCES)?
            .map(|setting| setting.origin.to_string());
        for table in self
            .optional::<Vec<SourceTable>>(&DEBIAN_SOURCES)?
            .unwrap_or_default()
        {
            for url in &table.uris {
                places.push(place(
                    url,
                    &DEBIAN_SOURCES,
                    origin.as_deref().unwrap_or_default(),
                    &known,
                )?);
            }
        }
        self.warn_of_extra_indexes()?;
        let helper = self.optional::<Vec<String>>(&CREDENTIAL_HELPER)?;
        Ok(Access {
            places,
            helper: helper.map(|command| CredentialHelper {
                command,
                answer_ms: HELPER_ANSWER_MS,
            }),
        })
    }

    fn known(&self) -> Result<Known, SettingsError> {
        let said_by = self.lookup(&CREDENTIALS)?;
        Ok(Known {
            urls: self.optional(&CREDENTIALS)?.unwrap_or_default(),
            said_by: said_by
                .map(|setting| setting.origin.to_string())
                .unwrap_or_default(),
            netrc: Netrc::read(&self.environment)?,
        })
    }
}

fn place(url: &Url, key: &'static Key, origin: &str, known: &Known) -> Result<Place, SettingsError> {
    let own = || {
        let credentials = Credentials::of_url(url)?;
        Some((credentials, format!("its address in `{}` ({origin})", key.name)))
    };
    let root = public_address(url);
    let credentials = match own().or_else(|| known.by_url(&root)) {
        Some(found) => Some(found),
        None => known.by_host(&root)?,
    };
    Ok(Place {
        root,
        known: credentials,
    })
}

impl Known {
    /// The credentials of the longest address that this one is at or below.
    fn by_url(&self, root: &Url) -> Option<(Credentials, String)> {
        let contains = |url: &&Url| {
            let folder = url.path().trim_end_matches('/');
            let rest = root.path().strip_prefix(folder);
            url.origin() == root.origin() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let nearest = self
            .urls
            .iter()
            .filter(contains)
            .max_by_key(|url| url.path().len())?;
        let credentials = Credentials::of_url(nearest)?;
        Some((credentials, format!("`network.credentials` ({})", self.said_by)))
    }

    fn by_host(&self, root: &Url) -> Result<Option<(Credentials, String)>, SettingsError> {
        let (Some(netrc), Some(host)) = (&self.netrc, root.host_str()) else {
            return Ok(None);
        };
        let found = netrc.find(host)?;
        Ok(found.map(|credentials| (credentials.clone(), netrc.path().display().to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_for_what_is_below_their_address() {
        let urls = ["https://u:outer@host.test/", "https://u:inner@host.test/team/"];
        let known = Known {
            urls: urls.map(|url| url.parse().unwrap()).to_vec(),
            said_by: "a test".to_owned(),
            netrc: None,
        };
        let of = |root: &str| known.by_url(&root.parse().unwrap()).map(|found| found.0);
        let password = |password| Some(Credentials::new("u", password));
        for (root, expected) in [
            ("https://host.test/simple/", password("outer")),
            ("https://host.test/team/simple/", password("inner")),
            ("https://host.test/team", password("inner")),
            ("https://host.test/teams/simple", password("outer")),
            ("http://host.test/simple/", None),
            ("https://host.test:8443/simple/", None),
            ("https://other.test/simple/", None),
        ] {
            assert_eq!(of(root), expected, "{root}");
        }
    }
}
