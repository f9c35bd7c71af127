//! Compression of archive members, indexes and wheel entries; the same input always gives the same bytes.

use libdeflater::{CompressionLvl, Compressor};

/// How bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// xz.
    Xz,
}

impl Compression {
    /// The file name's ending: empty, `.gz` or `.xz`.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
        }
    }

    /// `bytes`, compressed.
    pub fn apply(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::None => bytes.to_vec(),
            Self::Gzip => gzip(bytes),
            Self::Xz => liblzma::encode_all(bytes, 1).unwrap(),
        }
    }
}

fn compressor() -> Compressor {
    Compressor::new(CompressionLvl::new(4).unwrap())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = compressor();
    let mut out = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut out).unwrap();
    out.truncate(length);
    out
}

/// `bytes` as a raw deflate stream (RFC 1951), as zip keeps them.
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = compressor();
    let mut out = vec![0; compressor.deflate_compress_bound(bytes.len())];
    let length = compressor.deflate_compress(bytes, &mut out).unwrap();
    out.truncate(length);
    out
}
