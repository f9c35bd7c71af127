//! From the compressed index to its text, bounded by what the release file signed.

use std::io::Read as _;

use cooper_core::Digest;

use super::index::TEXT_BYTES_MAX;
use super::release::{Form, ListedFile};

/// The memory that an xz decoder may use; the strongest usual setting needs 65 MiB.
const XZ_MEMORY_MAX: u64 = 160 << 20;

/// Why compressed bytes are not the index that was signed.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The signed size is beyond reason.
    #[error("the index is listed with {size} bytes; at most {TEXT_BYTES_MAX} are accepted")]
    TooLarge {
        /// The signed size.
        size: u64,
    },
    /// It becomes longer than signed.
    #[error("it unpacks to more than the {size} bytes that were signed")]
    TooLong {
        /// The signed size.
        size: u64,
    },
    /// It becomes shorter than signed.
    #[error("it unpacks to {actual} bytes; {size} were signed")]
    TooShort {
        /// The signed size.
        size: u64,
        /// The size it has.
        actual: u64,
    },
    /// It becomes something else.
    #[error("it unpacks to bytes with the digest {actual}; {expected} was signed")]
    OtherDigest {
        /// The signed digest.
        expected: Digest,
        /// The digest it has.
        actual: Digest,
    },
    /// It is damaged.
    #[error("its compression is damaged: {reason}")]
    Compression {
        /// What the decompressor says.
        reason: String,
    },
}

/// Unpack to exactly the listed size. The digest is [`check`]ed apart, so that it can run at the same time as
/// what reads the text.
pub fn unpack(bytes: &[u8], form: Form, listed: ListedFile) -> Result<Vec<u8>, UnpackError> {
    let size = usize::try_from(listed.size)
        .ok()
        .filter(|_| listed.size <= TEXT_BYTES_MAX);
    let size = size.ok_or(UnpackError::TooLarge { size: listed.size })?;
    let text = match form {
        Form::Gzip => gunzip(bytes, size)?,
        Form::Xz => unxz(bytes, size)?,
        Form::Plain => bytes.to_vec(),
    };
    let actual = text.len() as u64;
    match actual.cmp(&listed.size) {
        std::cmp::Ordering::Less => Err(UnpackError::TooShort {
            size: listed.size,
            actual,
        }),
        std::cmp::Ordering::Greater => Err(UnpackError::TooLong { size: listed.size }),
        std::cmp::Ordering::Equal => Ok(text),
    }
}

/// Check the text's digest.
pub fn check(text: &[u8], listed: ListedFile) -> Result<(), UnpackError> {
    let actual = Digest::of(text);
    if actual == listed.sha256 {
        return Ok(());
    }
    Err(UnpackError::OtherDigest {
        expected: listed.sha256,
        actual,
    })
}

fn gunzip(bytes: &[u8], size: usize) -> Result<Vec<u8>, UnpackError> {
    let mut text = vec![0; size];
    let length = libdeflater::Decompressor::new()
        .gzip_decompress(bytes, &mut text)
        .map_err(|error| match error {
            libdeflater::DecompressionError::InsufficientSpace => UnpackError::TooLong { size: size as u64 },
            libdeflater::DecompressionError::BadData => UnpackError::Compression {
                reason: "bad data".to_owned(),
            },
        })?;
    text.truncate(length);
    Ok(text)
}

fn unxz(bytes: &[u8], size: usize) -> Result<Vec<u8>, UnpackError> {
    let damaged = |reason: String| UnpackError::Compression { reason };
    let flags = liblzma::stream::CONCATENATED;
    let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, flags);
    let stream = stream.map_err(|error| damaged(error.to_string()))?;
    let mut text = Vec::with_capacity(size.saturating_add(1));
    let decoder = liblzma::bufread::XzDecoder::new_stream(bytes, stream);
    decoder
        .take(size as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| damaged(error.to_string()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &[u8]) -> ListedFile {
        ListedFile {
            size: text.len() as u64,
            sha256: Digest::of(text),
        }
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
        let mut bytes = vec![0; compressor.gzip_compress_bound(text.len())];
        let length = compressor.gzip_compress(text, &mut bytes).unwrap();
        bytes.truncate(length);
        bytes
    }

    fn xz(text: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        liblzma::read::XzEncoder::new(text, 6)
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    #[test]
    fn every_form_gives_the_text() {
        for text in [&b"Package: a\n".repeat(10_000)[..], b""] {
            for (form, bytes) in [
                (Form::Gzip, gzip(text)),
                (Form::Xz, xz(text)),
                (Form::Plain, text.to_vec()),
            ] {
                assert_eq!(unpack(&bytes, form, listed(text)).unwrap(), text);
            }
            check(text, listed(text)).unwrap();
        }
    }

    #[test]
    fn sizes_that_lie_are_found_without_unpacking_more() {
        let bomb = vec![0; 64 << 20];
        for (form, bytes) in [(Form::Gzip, gzip(&bomb)), (Form::Xz, xz(&bomb))] {
            let claims = |size| {
                unpack(
                    &bytes,
                    form,
                    ListedFile {
                        size,
                        sha256: Digest::of(b""),
                    },
                )
            };
            assert!(matches!(claims(1000), Err(UnpackError::TooLong { size: 1000 })));
            assert!(matches!(
                claims((64 << 20) + 1),
                Err(UnpackError::TooShort { .. })
            ));
            assert!(matches!(claims(u64::MAX), Err(UnpackError::TooLarge { .. })));
        }
    }

    #[test]
    fn damage_is_found() {
        let text = b"Package: a\n".repeat(10_000);
        for (form, bytes) in [(Form::Gzip, gzip(&text)), (Form::Xz, xz(&text))] {
            assert!(unpack(&bytes[..bytes.len() / 2], form, listed(&text)).is_err());
            assert!(unpack(b"<html>", form, listed(&text)).is_err());
            assert!(unpack(b"", form, listed(&text)).is_err());
        }
        assert!(matches!(
            check(b"other", listed(&text)),
            Err(UnpackError::OtherDigest { .. })
        ));
    }
}
