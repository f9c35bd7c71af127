//! Addresses with and without what must not be kept: user names and passwords are in the configuration alone, and
//! join an address only when something is asked of it.

use url::Url;

/// An address as it may be shown and kept: without user name and password.
pub fn public(url: &Url) -> Url {
    let mut shown = url.clone();
    // Fails only for addresses that cannot hold them.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown
}

/// An address as it is asked for: with the user name and password of the configured one where both are of the same
/// origin, else without any.
pub fn with_credentials(url: &Url, configured: &Url) -> Url {
    let mut asked = public(url);
    if asked.origin() == configured.origin() {
        // Both come from an address that holds them.
        let _ = asked.set_username(configured.username());
        let _ = asked.set_password(configured.password());
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_for_their_origin_alone() {
        let configured: Url = "https://alice:s3cret@index.test/simple/".parse().unwrap();
        let asked = |text: &str| with_credentials(&text.parse().unwrap(), &configured).to_string();
        assert_eq!(
            asked("https://index.test/a.whl"),
            "https://alice:s3cret@index.test/a.whl"
        );
        for elsewhere in [
            "http://index.test/a.whl",
            "https://index.test:444/a.whl",
            "https://files.test/a.whl",
        ] {
            assert_eq!(asked(elsewhere), elsewhere);
        }
        assert_eq!(
            asked("https://bob:x@files.test/a.whl"),
            "https://files.test/a.whl"
        );
        assert_eq!(public(&configured).as_str(), "https://index.test/simple/");
    }
}
