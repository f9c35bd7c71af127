//! Members by ISA-L's igzip, and whether this processor's are those that recipes promise.
//!
//! ISA-L chooses its code by the processor. From SSE 4.2 with PCLMULQDQ on, all of it is made from one template and was
//! seen to give the same bytes (Westmere, Sandy Bridge, Haswell, AVX-512); the code for older processors gives others.
//! So a sample is compressed first, and a digest that is not the known one is a refusal.

use std::sync::OnceLock;

use cooper_core::Digest;
use isal::{Codec, CompressionLevel};

/// The only level of which the above is true: level 3 has other code for each generation of processors.
pub(super) const LEVEL: u8 = 1;

/// The digest of [`sample`] compressed.
const SAMPLE_SHA256: &str = "b485256d9013eb8097665d8ce654afdc2c9d434025a5c607b62d4a7b041648aa";

/// Compress into a room that grows as needed; the length of the member.
pub(super) fn compress(piece: &[u8], room: &mut Vec<u8>) -> Option<usize> {
    // Stored blocks have 5 bytes for each 65,535; a member has 18.
    let bound = piece.len() + piece.len() / 64 + 1024;
    room.resize(bound.max(room.len()), 0);
    isal::compress_into(piece, room, CompressionLevel::One, Codec::Gzip).ok()
}

/// Whether igzip gives the same bytes here as everywhere else.
pub(super) fn gives_known_bytes() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let mut room = Vec::new();
        let length = compress(&sample(), &mut room).unwrap_or_default();
        Digest::of(&room[..length]).hex() == SAMPLE_SHA256
    })
}

/// Something of everything: words with repetitions near and far, numbers, noise, zeros.
fn sample() -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::new();
    while bytes.len() < 256 << 10 {
        let number = next();
        match number % 8 {
            0 => bytes.extend_from_slice(&number.to_le_bytes()),
            1 => bytes.extend_from_slice(&[0; 40]),
            2 => bytes.extend_from_slice(number.to_string().as_bytes()),
            3 if bytes.len() > 40_000 => {
                let start = bytes.len() - 300 - usize::try_from(number >> 50).unwrap_or(0);
                bytes.extend_from_within(start..start + 100);
            }
            _ => {
                let word = [
                    "cask ",
                    "stave ",
                    "hoop\n",
                    "cooper ",
                    "def __init__(self):\n",
                    "\x7fELF",
                ];
                bytes.extend_from_slice(
                    word[usize::try_from(number >> 32).unwrap_or(0) % word.len()].as_bytes(),
                );
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_processor_gives_the_known_bytes() {
        let mut room = Vec::new();
        let length = compress(&sample(), &mut room).unwrap();
        assert_eq!(Digest::of(&room[..length]).hex(), SAMPLE_SHA256);
        assert!(gives_known_bytes());
    }

    #[test]
    fn whatever_comes_can_be_compressed_and_read_again() {
        let noise: Vec<u8> = (0..3_u32 << 18)
            .flat_map(|n| Digest::of(&n.to_le_bytes()).as_bytes()[..4].to_vec())
            .collect();
        let mut room = Vec::new();
        let zeros = vec![0; 1 << 20];
        for text in [&b""[..], b"x", &zeros, &noise, &sample(), &noise[..65_537]] {
            let length = compress(text, &mut room).unwrap();
            let mut back = vec![0; text.len()];
            let read = libdeflater::Decompressor::new().gzip_decompress(&room[..length], &mut back);
            assert_eq!(read.unwrap(), text.len());
            assert_eq!(back, text);
        }
    }
}
