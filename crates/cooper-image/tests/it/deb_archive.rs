//! Writes packages, good ones and others.

use std::io::Write as _;

/// One entry of a tar, every field as it will be written.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) kind: u8,
    pub(crate) link: String,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: u64,
    pub(crate) body: Vec<u8>,
    /// What the header says of the size.
    pub(crate) size: usize,
}

fn entry(path: &str, kind: u8, mode: u32) -> Entry {
    Entry {
        path: path.to_owned(),
        kind,
        link: String::new(),
        mode,
        uid: 0,
        gid: 0,
        mtime: 1_000_000_000,
        body: Vec::new(),
        size: 0,
    }
}

pub(crate) fn dir(path: &str) -> Entry {
    entry(path, b'5', 0o755)
}

pub(crate) fn file(path: &str, body: &[u8]) -> Entry {
    Entry {
        body: body.to_vec(),
        size: body.len(),
        ..entry(path, b'0', 0o644)
    }
}

pub(crate) fn link(kind: u8, path: &str, target: &str) -> Entry {
    Entry {
        link: target.to_owned(),
        ..entry(path, kind, 0o777)
    }
}

pub(crate) fn special(path: &str, kind: u8) -> Entry {
    entry(path, kind, 0o644)
}

impl Entry {
    fn header(&self) -> Vec<u8> {
        let mut block = vec![0; 512];
        block[..self.path.len()].copy_from_slice(self.path.as_bytes());
        let mut put = |at: usize, text: String| block[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(100, format!("{:07o}", self.mode));
        put(108, format!("{:07o}", self.uid));
        put(116, format!("{:07o}", self.gid));
        put(124, format!("{:011o}", self.size));
        put(136, format!("{:011o}", self.mtime));
        put(148, " ".repeat(8));
        put(157, self.link.clone());
        put(257, "ustar  ".to_owned());
        block[156] = self.kind;
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block
    }
}

pub(crate) fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        bytes.extend(entry.header());
        bytes.extend(&entry.body);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, body) in members {
        bytes.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                0,
                "100644",
                body.len()
            )
            .bytes(),
        );
        bytes.extend(*body);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut compressor = libdeflater::Compressor::new(libdeflater::CompressionLvl::fastest());
    let mut packed = vec![0; compressor.gzip_compress_bound(bytes.len())];
    let length = compressor.gzip_compress(bytes, &mut packed).unwrap();
    packed.truncate(length);
    packed
}

pub(crate) fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn control(name: &str) -> String {
    format!("Package: {name}\nVersion: 1.0-1\nArchitecture: amd64\nDescription: made\n of nothing\n")
}

/// A package of the given name with these data entries and control files.
pub(crate) fn package(name: &str, data: &[Entry], control_files: &[(&str, &str)]) -> Vec<u8> {
    let mut entries = vec![dir("./"), file("./control", control(name).as_bytes())];
    entries.extend(
        control_files
            .iter()
            .map(|(name, text)| file(&format!("./{name}"), text.as_bytes())),
    );
    let (control, data) = (gzip(&tar(&entries)), xz(&tar(data)));
    ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar.gz", &control),
        ("data.tar.xz", &data),
    ])
}
