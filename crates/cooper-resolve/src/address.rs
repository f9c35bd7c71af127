//! Addresses without what must not be kept: user names and passwords are in the configuration alone, and the intake
//! joins them to what it asks.

use url::Url;

/// An address as it may be shown and kept: without user name and password.
pub fn public(url: &Url) -> Url {
    let mut shown = url.clone();
    // Fails only for addresses that cannot hold them.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_password() {
        let configured: Url = "https://alice:s3cret@index.test/simple/".parse().unwrap();
        assert_eq!(public(&configured).as_str(), "https://index.test/simple/");
    }
}
