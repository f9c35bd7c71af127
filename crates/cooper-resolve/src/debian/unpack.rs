//! From the compressed index to its text, bounded by what the release file signed.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};

use cooper_core::Digest;
use sha2::{Digest as _, Sha256};

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

/// Bytes of a piece.
const PIECE_BYTES: usize = 512 << 10;
/// How many pieces may wait to be taken.
const PIECES_WAITING: usize = 4;

/// Unpack to exactly what is listed. `take` gets the text in pieces while the next ones are unpacked by another thread;
/// what it got is not to be used before this says that it was right.
pub fn unpack(
    bytes: &[u8],
    form: Form,
    listed: ListedFile,
    mut take: impl FnMut(&[u8]),
) -> Result<(), UnpackError> {
    if listed.size > TEXT_BYTES_MAX {
        return Err(UnpackError::TooLarge { size: listed.size });
    }
    let (pieces, waiting) = sync_channel(PIECES_WAITING);
    let (used, spare) = channel();
    let hasher = std::thread::scope(|scope| {
        let unpacked = scope.spawn(move || read_pieces(bytes, form, listed.size, &pieces, &spare));
        let mut hasher = Sha256::new();
        for piece in waiting {
            hasher.update(&piece);
            take(&piece);
            // Nobody needs it any more at the end.
            let _ = used.send(piece);
        }
        let unpacked = unpacked.join();
        unpacked
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map(|()| hasher)
    })?;
    let actual = Digest::from_bytes(hasher.finalize().into());
    if actual == listed.sha256 {
        return Ok(());
    }
    Err(UnpackError::OtherDigest {
        expected: listed.sha256,
        actual,
    })
}

/// Send the text piece by piece, never more than was signed.
fn read_pieces(
    bytes: &[u8],
    form: Form,
    size: u64,
    pieces: &SyncSender<Vec<u8>>,
    spare: &Receiver<Vec<u8>>,
) -> Result<(), UnpackError> {
    let mut text = reader(bytes, form)?;
    let mut actual = 0;
    loop {
        let mut piece = spare.try_recv().unwrap_or_default();
        piece.clear();
        let room = (PIECE_BYTES as u64).min(size - actual + 1);
        let read = text.by_ref().take(room).read_to_end(&mut piece);
        let read = read.map_err(|error| UnpackError::Compression {
            reason: error.to_string(),
        })?;
        actual += read as u64;
        if actual > size {
            return Err(UnpackError::TooLong { size });
        }
        if read == 0 {
            break;
        }
        if pieces.send(piece).is_err() {
            break;
        }
    }
    if actual < size {
        return Err(UnpackError::TooShort { size, actual });
    }
    Ok(())
}

fn reader(bytes: &[u8], form: Form) -> Result<Box<dyn Read + '_>, UnpackError> {
    Ok(match form {
        Form::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(bytes)),
        Form::Xz => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY_MAX, flags);
            let stream = stream.map_err(|error| UnpackError::Compression {
                reason: error.to_string(),
            })?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(bytes, stream))
        }
        Form::Plain => Box::new(bytes),
    })
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

    /// The whole text.
    fn unpack(bytes: &[u8], form: Form, listed: ListedFile) -> Result<Vec<u8>, UnpackError> {
        let mut text = Vec::new();
        super::unpack(bytes, form, listed, |piece| text.extend_from_slice(piece)).map(|()| text)
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
        let other = b"Package: b\n".repeat(10_000);
        assert!(matches!(
            unpack(&gzip(&other), Form::Gzip, listed(&text)),
            Err(UnpackError::OtherDigest { .. })
        ));
    }
}
