//! `zip` as wheels use it, with entries that may say anything (APPNOTE.TXT 4.3, no zip64).

use crate::compress::deflate;

/// One entry of a zip file; the name is written as it is given.
#[derive(Debug, Clone)]
pub struct ZipEntry {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    mode: u32,
    deflated: bool,
    claimed_size: Option<u32>,
    claimed_compressed_size: Option<u32>,
    claimed_crc: Option<u32>,
    local_name: Option<String>,
    shares_data_of: Option<usize>,
    after: Vec<u8>,
}

impl ZipEntry {
    /// A regular file, 0644, deflated.
    pub fn file(name: &str, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.to_owned(),
            content: content.into(),
            mode: 0o100_644,
            deflated: true,
            claimed_size: None,
            claimed_compressed_size: None,
            claimed_crc: None,
            local_name: None,
            shares_data_of: None,
            after: Vec::new(),
        }
    }

    /// A symbolic link, as Info-ZIP writes them: the target is the content.
    pub fn symlink(name: &str, target: &str) -> Self {
        Self::file(name, target).unix_mode(0o120_777).stored()
    }

    /// A directory; `name` ends in `/`.
    pub fn directory(name: &str) -> Self {
        Self::file(name, "").unix_mode(0o040_755).stored()
    }

    /// `size` zero bytes, which deflate to about a thousandth.
    pub fn bomb(name: &str, size: usize) -> Self {
        Self::file(name, vec![0; size])
    }

    /// An entry whose central record points at the data of the entry number `earlier`: overlapping files.
    pub fn sharing(name: &str, earlier: usize) -> Self {
        Self {
            shares_data_of: Some(earlier),
            ..Self::file(name, "")
        }
    }

    /// Set the permission bits of a regular file.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.unix_mode(0o100_000 | mode)
    }

    /// Set the whole `st_mode`, type included.
    #[must_use]
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Keep the content as it is instead of deflating it.
    #[must_use]
    pub fn stored(mut self) -> Self {
        self.deflated = false;
        self
    }

    /// State another uncompressed size.
    #[must_use]
    pub fn claimed_size(mut self, size: u32) -> Self {
        self.claimed_size = Some(size);
        self
    }

    /// State another compressed size.
    #[must_use]
    pub fn claimed_compressed_size(mut self, size: u32) -> Self {
        self.claimed_compressed_size = Some(size);
        self
    }

    /// State another checksum.
    #[must_use]
    pub fn claimed_crc(mut self, crc: u32) -> Self {
        self.claimed_crc = Some(crc);
        self
    }

    /// Let more bytes follow the deflate stream in the entry's data.
    #[must_use]
    pub fn after_stream(mut self, bytes: &[u8]) -> Self {
        self.after = bytes.to_vec();
        self
    }

    /// Write another name in the local header than in the central directory.
    #[must_use]
    pub fn local_name(mut self, name: &str) -> Self {
        self.local_name = Some(name.to_owned());
        self
    }

    /// From the version needed to the uncompressed size: the part that both headers have.
    fn common(&self, compressed_length: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(26);
        out.extend_from_slice(&20_u16.to_le_bytes());
        out.extend_from_slice(&0x0800_u16.to_le_bytes()); // names are UTF-8
        out.extend_from_slice(&if self.deflated { 8_u16 } else { 0 }.to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        out.extend_from_slice(&0x5a21_u16.to_le_bytes()); // 2025-01-01
        out.extend_from_slice(
            &self
                .claimed_crc
                .unwrap_or_else(|| libdeflater::crc32(&self.content))
                .to_le_bytes(),
        );
        out.extend_from_slice(
            &self
                .claimed_compressed_size
                .unwrap_or_else(|| narrow(compressed_length))
                .to_le_bytes(),
        );
        out.extend_from_slice(
            &self
                .claimed_size
                .unwrap_or_else(|| narrow(self.content.len()))
                .to_le_bytes(),
        );
        out
    }

    fn local(&self, data_length: usize) -> Vec<u8> {
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        let mut out = b"PK\x03\x04".to_vec();
        out.extend_from_slice(&self.common(data_length));
        out.extend_from_slice(&narrow16(name.len()).to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out
    }

    fn central(&self, placed: &Placed) -> Vec<u8> {
        let mut out = b"PK\x01\x02".to_vec();
        out.extend_from_slice(&0x0314_u16.to_le_bytes()); // made on Unix
        out.extend_from_slice(&placed.common);
        out.extend_from_slice(&narrow16(self.name.len()).to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(&(self.mode << 16).to_le_bytes());
        out.extend_from_slice(&placed.offset.to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out
    }
}

/// Where an entry's local header is, and the fields that describe its data.
#[derive(Clone)]
struct Placed {
    offset: u32,
    common: Vec<u8>,
}

/// The checksum of zip and gzip (CRC-32).
pub fn crc32(bytes: &[u8]) -> u32 {
    libdeflater::crc32(bytes)
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("no zip64 here")
}

fn narrow16(length: usize) -> u16 {
    u16::try_from(length).expect("at most 65535 here")
}

/// The zip file of `entries`, in order.
pub fn write_zip(entries: &[ZipEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut placed: Vec<Placed> = Vec::new();
    for entry in entries {
        if let Some(earlier) = entry.shares_data_of {
            placed.push(placed[earlier].clone());
            continue;
        }
        let mut data = if entry.deflated {
            deflate(&entry.content)
        } else {
            entry.content.clone()
        };
        data.extend_from_slice(&entry.after);
        placed.push(Placed {
            offset: narrow(out.len()),
            common: entry.common(data.len()),
        });
        out.extend_from_slice(&entry.local(data.len()));
        out.extend_from_slice(&data);
    }
    let start = narrow(out.len());
    for (entry, placed) in entries.iter().zip(&placed) {
        out.extend_from_slice(&entry.central(placed));
    }
    let directory_size = narrow(out.len()) - start;
    let count = narrow16(entries.len());
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&directory_size.to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}
