//! SHA-256 digests, one type for each role, so that a layer's digest cannot be taken for its diff id.
//!
//! Text form: `sha256:` and 64 lower-case hexadecimal digits, as in the OCI image specification
//! ("Digests" in `descriptor.md`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits")]
pub struct ParseDigestError {
    text: String,
}

/// A SHA-256 digest without a role; the roles below wrap it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// A digest from the 32 bytes that a hasher gave.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits without `sha256:`, as in file names and in Debian's and Python's indexes.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// Parse 64 hexadecimal digits in either case.
    ///
    /// # Errors
    /// When the text has another length or another character.
    pub fn from_hex(text: &str) -> Result<Self, ParseDigestError> {
        let wrong = || ParseDigestError {
            text: text.chars().take(80).collect(),
        };
        if text.len() != 64 {
            return Err(wrong());
        }
        let (mut bytes, mut all) = ([0; 32], 0);
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
            all |= high | low;
            *byte = high << 4 | low;
        }
        if all > 15 {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }
}

/// What a hexadecimal digit stands for; for other bytes more than 15. A table, since lists of ten thousand images have
/// millions of them.
static VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        values[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("sha256:")?;
        formatter.write_str(&self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseDigestError {
            text: text.chars().take(80).collect(),
        };
        let hex = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        if hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(wrong());
        }
        Self::from_hex(hex).map_err(|_| wrong())
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! digest_role {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Digest);

        impl $name {
            /// The digest of `bytes` in this role.
            pub fn of(bytes: &[u8]) -> Self {
                Self(Digest::of(bytes))
            }

            /// Give a computed digest this role.
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// The digest without its role.
            pub const fn digest(&self) -> &Digest {
                &self.0
            }

            /// The 64 hexadecimal digits.
            pub fn hex(&self) -> String {
                self.0.hex()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

digest_role!(
    /// The digest of any blob in the store.
    BlobDigest
);
digest_role!(
    /// The digest of a layer as it is kept and sent: compressed.
    LayerDigest
);
digest_role!(
    /// The digest of a layer's uncompressed tar: `rootfs.diff_ids` in the OCI image configuration.
    DiffId
);
digest_role!(
    /// The digest of an OCI image manifest: what a tag points at, what an approval binds to.
    ManifestDigest
);
digest_role!(
    /// The digest of an OCI image configuration.
    ConfigDigest
);
digest_role!(
    /// The digest of the hashed part of a lock ([`crate::LockContent`]): same digest, same image.
    LockDigest
);

macro_rules! kept_as_blob {
    ($($name:ident),*) => { $(
        impl From<$name> for BlobDigest {
            fn from(role: $name) -> Self {
                Self(role.0)
            }
        }
    )* };
}
kept_as_blob!(LayerDigest, ManifestDigest, ConfigDigest, LockDigest);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let digest = Digest::of(b"");
        let text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>(), Ok(digest));
    }

    #[test]
    fn wrong_texts_are_refused() {
        for text in [
            "",
            "sha256:",
            "md5:00",
            "sha256:zz",
            &format!("sha256:{}", "A".repeat(64)),
        ] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
