//! The public Python index's address.

use std::cell::RefCell;
use std::time::Duration;

use serde::de::DeserializeOwned;
use update_informer::http_client::{HeaderMap, HttpClient};
use update_informer::{Check as _, registry};
use url::Url;

thread_local! {
    static ASKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes which address it is asked for and asks nobody.
struct Listener;

impl HttpClient for Listener {
    fn get<T: DeserializeOwned>(url: &str, _: Duration, _: HeaderMap) -> update_informer::Result<T> {
        ASKED.with(|asked| *asked.borrow_mut() = Some(url.to_owned()));
        Err("nothing is sent".into())
    }
}

/// The root of the public Python index, for where nothing is configured.
///
/// The address is the one that the crate `update-informer` has built in: it is asked to look for a package
/// with a client that only listens.
pub fn default_index() -> Option<Url> {
    let informer = update_informer::new(registry::PyPI, "pip", "0.0.0");
    let informer = informer.interval(Duration::ZERO).http_client(Listener);
    // Always an error: the listener sends nothing.
    let _ = informer.check_version();
    let asked = ASKED.with(|asked| asked.borrow_mut().take())?;
    Url::parse(&asked).ok()?.join("/simple/").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_simple_index_over_tls() {
        let index = default_index().unwrap();
        assert_eq!((index.scheme(), index.path()), ("https", "/simple/"));
        assert_eq!(default_index(), Some(index));
    }
}
