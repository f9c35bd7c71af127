//! Who we are at the indexes and mirrors that are asked: kept apart from their addresses, which are shown and kept.
//!
//! A request is asked with the credentials of the configured place that it belongs to: of those of the same origin
//! (scheme, host, port) the one whose path has most of its beginning in common with the request's, as files often are beside
//! an index and not below it. Where several places fit equally well, those that have credentials count; if these differ, it
//! is asked without any. What a redirect leads to on another origin is asked without.

mod helper;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::error::{FetchError, public};
use super::exchange::{base64, percent_decode};
pub use helper::CredentialHelper;

/// A user name and a password. Its `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Credentials {
    /// From texts as they are.
    pub fn new(user: &str, password: &str) -> Self {
        Self {
            user: user.into(),
            password: password.into(),
        }
    }

    /// Those in an address (RFC 3986, section 3.2.1), percent-decoded, where there are some.
    pub fn of_url(url: &Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        Some(Self {
            user: percent_decode(url.username()),
            password: percent_decode(url.password().unwrap_or_default()),
        })
    }

    /// The value of an `Authorization` header (RFC 7617).
    pub(super) fn basic(&self) -> String {
        let plain = [self.user.as_slice(), b":", self.password.as_slice()].concat();
        format!("Basic {}", base64(&plain))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(***)")
    }
}

/// An index or a mirror that is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its root, without credentials.
    pub root: Url,
    /// The credentials that are known for it, and where they are said, as the end of "the user name and password of".
    pub known: Option<(Credentials, String)>,
}

/// What a request is asked with.
#[derive(Debug, Clone)]
pub(super) enum Login {
    /// Credentials, and where they are said.
    With(Arc<(Credentials, String)>),
    /// None, because.
    Without(&'static str),
}

impl Login {
    pub(super) const REDIRECTED: Self = Self::Without(
        "without a user name and password: it is of another host than the one that redirects to it",
    );
    const NO_PLACE: Self =
        Self::Without("without a user name and password: no configured index or mirror is at this host");
    const NONE: Self = Self::Without(
        "without a user name and password: neither its address, `network.credentials`, ~/.netrc nor a credential \
         helper has any",
    );
    const AMBIGUOUS: Self = Self::Without(
        "without a user name and password: several indexes or mirrors of this host are configured, and theirs differ",
    );

    /// What a refusal is told with, to follow "it was asked".
    pub(super) fn told(&self) -> String {
        match self {
            Self::With(known) => format!("with the user name and password of {}", known.1),
            Self::Without(why) => (*why).to_owned(),
        }
    }
}

/// What the helper said of one place; asked once.
type Answer = Mutex<Option<Result<Login, String>>>;

/// Every place, with what is known of it.
#[derive(Debug)]
pub(super) struct Places {
    places: Vec<(Place, Answer)>,
    helper: Option<CredentialHelper>,
}

impl Places {
    pub(super) fn new(places: &[Place], helper: Option<&CredentialHelper>) -> Self {
        Self {
            places: places
                .iter()
                .map(|place| (place.clone(), Mutex::default()))
                .collect(),
            helper: helper.cloned(),
        }
    }

    /// What `url` is asked with.
    pub(super) fn login(&self, url: &Url) -> Result<Login, FetchError> {
        let of_origin = || {
            let same = self.places.iter();
            same.filter(|(place, _)| place.root.origin() == url.origin())
        };
        let Some(longest) = of_origin()
            .map(|(place, _)| shared_segments(&place.root, url))
            .max()
        else {
            return Ok(Login::NO_PLACE);
        };
        let nearest = of_origin().filter(|(place, _)| shared_segments(&place.root, url) == longest);
        let mut found = Login::NONE;
        for (place, answer) in nearest {
            let login = self.login_at(place, answer)?;
            match (&found, &login) {
                (Login::With(ours), Login::With(theirs)) if ours.0 != theirs.0 => {
                    return Ok(Login::AMBIGUOUS);
                }
                (Login::With(_), _) => {}
                (Login::Without(_), _) => found = login,
            }
        }
        Ok(found)
    }

    fn login_at(&self, place: &Place, answer: &Answer) -> Result<Login, FetchError> {
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        let login = answer.get_or_insert_with(|| match (&place.known, &self.helper) {
            (Some(known), _) => Ok(Login::With(Arc::new(known.clone()))),
            (None, None) => Ok(Login::NONE),
            (None, Some(helper)) => {
                let given = helper.ask(&place.root)?;
                Ok(given.map_or(Login::NONE, |credentials| {
                    Login::With(Arc::new((credentials, helper.to_string())))
                }))
            }
        });
        login.clone().map_err(|reason| FetchError::Helper {
            url: public(&place.root),
            reason,
        })
    }
}

/// How many leading segments of the paths are the same.
fn shared_segments(root: &Url, url: &Url) -> usize {
    let segments = |url: &Url| -> Vec<String> {
        let trimmed = url.path().trim_matches('/');
        trimmed.split('/').map(str::to_owned).collect()
    };
    let (root, url) = (segments(root), segments(url));
    root.iter()
        .zip(&url)
        .take_while(|(ours, theirs)| ours == theirs)
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: &str, password: Option<&str>) -> Place {
        Place {
            root: root.parse().unwrap(),
            known: password.map(|password| (Credentials::new("alice", password), "a test".to_owned())),
        }
    }

    #[test]
    fn a_request_has_the_credentials_of_its_own_place() {
        let places = Places::new(
            &[
                place("https://host.test/a/simple/", Some("of-a")),
                place("https://host.test/b/simple", Some("of-b")),
                place("https://other.test/simple/", Some("of-other")),
                place("https://open.test/simple/", None),
            ],
            None,
        );
        let header = |text: &str| match places.login(&text.parse().unwrap()).unwrap() {
            Login::With(known) => known.0.basic(),
            Login::Without(why) => why.to_owned(),
        };
        let basic = |password: &str| Credentials::new("alice", password).basic();
        for (url, expected) in [
            ("https://host.test/a/simple/x/", basic("of-a")),
            ("https://host.test/a/files/x.whl", basic("of-a")),
            ("https://host.test/b/files/x.whl", basic("of-b")),
            ("https://other.test/elsewhere/x.whl", basic("of-other")),
        ] {
            assert_eq!(header(url), expected, "{url}");
        }
        for url in [
            "https://host.test/files/x.whl",
            "https://host.test/",
            "http://host.test/a/simple/x/",
            "https://host.test:444/a/simple/x/",
            "https://host.test.evil.test/a/simple/x/",
            "https://sub.host.test/a/simple/x/",
            "https://open.test/simple/x/",
        ] {
            assert!(header(url).starts_with("without"), "{url}: {}", header(url));
        }
    }

    #[test]
    fn places_that_agree_are_one() {
        let places = Places::new(
            &[
                place("https://host.test/a/simple/", Some("same")),
                place("https://host.test/b/simple/", Some("same")),
                place("https://host.test/debian/", None),
            ],
            None,
        );
        let login = places.login(&"https://host.test/files/x.whl".parse().unwrap());
        assert!(matches!(login, Ok(Login::With(_))), "{login:?}");
    }

    #[test]
    fn credentials_are_decoded_and_not_shown() {
        let url: Url = "https://user:p%40ss@host.example/path?query".parse().unwrap();
        let credentials = Credentials::of_url(&url).unwrap();
        assert_eq!(credentials.basic(), "Basic dXNlcjpwQHNz");
        let shown = format!("{credentials:?} {:?}", place("https://host.test/", Some("p@ss")));
        assert!(!shown.contains("p@ss") && !shown.contains("alice"), "{shown}");
        assert_eq!(
            Credentials::of_url(&"https://host.example/".parse().unwrap()),
            None
        );
    }
}
