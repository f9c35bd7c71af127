//! What a request names as its base: a Debian suite, or an image that was made earlier.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::Base;
use crate::name::ImageReference;

/// What an image is to stand on, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseChoice {
    /// A base made from Debian packages: `debian:trixie`.
    Debian(Base),
    /// An image, `NAME` or `NAME:VERSION`. Without a version it is the newest one at each create and update.
    Image(ImageReference),
}

/// Why a text is not a base.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a base: expected `debian:trixie` (Python 3.13), `debian:bookworm` (Python 3.11), or an image, \
     `NAME` or `NAME:VERSION`"
)]
pub struct ParseBaseChoiceError {
    text: String,
}

impl From<Base> for BaseChoice {
    fn from(base: Base) -> Self {
        Self::Debian(base)
    }
}

impl fmt::Display for BaseChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian(base) => base.fmt(formatter),
            Self::Image(image) => image.fmt(formatter),
        }
    }
}

impl FromStr for BaseChoice {
    type Err = ParseBaseChoiceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let debian = text.parse().map(Self::Debian);
        let image = || text.parse().map(Self::Image);
        debian.or_else(|_| image()).map_err(|_| ParseBaseChoiceError {
            text: text.chars().take(80).collect(),
        })
    }
}

impl Serialize for BaseChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BaseChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_suites_or_images() {
        for text in [
            "debian:trixie",
            "example_name",
            "example_name:1.0.0.3",
            "local/a:1.0.0.1",
        ] {
            let choice: BaseChoice = text.parse().unwrap();
            assert_eq!(choice.to_string(), text);
            let debian = matches!(choice, BaseChoice::Debian(_));
            assert_eq!(debian, text.starts_with("debian:"), "{text}");
        }
        for bad in ["", "debian:sid", "Example", "a:latest", "a/b/c"] {
            assert!(bad.parse::<BaseChoice>().is_err(), "{bad}");
        }
    }
}
