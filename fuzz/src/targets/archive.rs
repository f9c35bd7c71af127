//! Archives of images, and the layers in them.

use std::io::BufReader;
use std::sync::Arc;

use cooper_core::clock::PinnedClock;
use cooper_core::lock::Compression;
use cooper_core::{BlobDigest, DiffId, Digest, Progress, Timestamp};
use cooper_image::archive::{self, ArchiveFormat, ArchiveLimits, SavedImage};
use cooper_image::layer::{self, LayerKind};
use cooper_store::Store;
use serde_json::json;
use testkit::tar::{TarEntry, TarKind, write_tar};

use super::debian::{limits, mend_tar_sums};
use super::{chain, counted};
use crate::driver::Target;

const HEX_LENGTH: usize = 64;
const BLOCK: usize = 512;
/// How deep documents name each other: index, artifact manifest, record.
const LEVELS: usize = 4;

/// A whole archive: what is accepted has every blob that its documents name, and those are what their names say.
pub(super) const IMAGE_ARCHIVE: Target = Target {
    name: "image-archive",
    examples: || {
        let formats = [ArchiveFormat::Both, ArchiveFormat::Oci, ArchiveFormat::Docker];
        formats.map(example).to_vec()
    },
    mend: mend_archive,
    run: |bytes| {
        let place = folder();
        let store = store(&place);
        let limits = ArchiveLimits {
            tar_bytes_max: 1 << 20,
            entries_max: 100,
            ..ArchiveLimits::default()
        };
        let received = match archive::read(bytes, &store, limits, &Progress::silent()) {
            Ok(received) => received,
            Err(error) => return chain(&error),
        };
        let images = match received.images(&store) {
            Ok(images) => images,
            Err(error) => return chain(&error),
        };
        for image in &images {
            let documents = [image.record, image.lock, image.inventory];
            let named = documents
                .into_iter()
                .chain([image.manifest.into(), image.config.into()]);
            for digest in named {
                store.read_blob(&digest, 1 << 20).unwrap();
            }
            for layer in &image.layers {
                let blob = store.read_blob(&layer.digest.into(), 1 << 20).unwrap();
                assert_eq!(blob.len() as u64, layer.size);
            }
        }
        format!("good {}", counted(images.len()))
    },
};

/// A layer's tar: nothing is written outside its tree, and the tree can be packed again.
pub(super) const LAYER_TAR: Target = Target {
    name: "layer-tar",
    examples: || vec![write_tar(&entries(), 0), packed_tar()],
    mend: mend_tar_sums,
    run: |bytes| {
        let place = folder();
        let root = place.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let done = layer::unpack_tar(bytes, &root, &limits());
        let beside: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(beside.len(), 1, "something is outside the tree");
        match done {
            Ok(()) => match layer::diff_id(&root, LayerKind::OverlayUpper) {
                Ok(found) if found == DiffId::of(bytes) => "the same".to_owned(),
                Ok(_) => "another".to_owned(),
                Err(error) => format!("cannot be packed {}", chain(&error)),
            },
            Err(error) => chain(&error),
        }
    },
};

/// In memory where that is possible: a store waits for the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn store(place: &tempfile::TempDir) -> Store {
    let clock = Arc::new(PinnedClock(Timestamp::UNIX_EPOCH));
    Store::open(&place.path().join("store"), clock).unwrap()
}

fn entries() -> Vec<TarEntry> {
    vec![
        TarEntry::directory("usr/"),
        TarEntry::file("usr/one", "content").mode(0o4755),
        TarEntry::symlink("usr/two", "one"),
        TarEntry::hard_link("usr/three", "usr/one"),
        TarEntry::file("usr/.wh.four", ""),
        TarEntry::file("usr/.wh..wh..opq", ""),
        TarEntry::new("usr/pipe", TarKind::Fifo),
    ]
}

/// A tar as layers have it.
fn packed_tar() -> Vec<u8> {
    let mut tar = Vec::new();
    let packed = packed_layer();
    let mut decoder = flate2::read::MultiGzDecoder::new(BufReader::new(packed.as_slice()));
    std::io::Read::read_to_end(&mut decoder, &mut tar).unwrap();
    tar
}

fn packed_layer() -> Vec<u8> {
    let place = folder();
    layer::unpack_tar(write_tar(&entries(), 0).as_slice(), place.path(), &limits()).unwrap();
    let gzip = Compression::Gzip {
        level: 1,
        member_bytes: 4096,
    };
    let mut packed = Vec::new();
    layer::pack_to(place.path(), LayerKind::OverlayUpper, &gzip, 1, &mut packed).unwrap();
    packed
}

/// An archive of a small image, whose record, lock and inventory nobody reads here.
fn example(format: ArchiveFormat) -> Vec<u8> {
    let place = folder();
    let store = store(&place);
    let (packed, tar) = (packed_layer(), packed_tar());
    let config = json!({ "architecture": "amd64", "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [DiffId::of(&tar)] } })
    .to_string();
    let part = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": Digest::of(bytes), "size": bytes.len() });
    let manifest = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": part("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [part("application/vnd.oci.image.layer.v1.tar+gzip", &packed)] })
    .to_string();
    let put = |bytes: &[u8]| store.put_blob(bytes).unwrap();
    let manifest = put(manifest.as_bytes());
    put(config.as_bytes());
    put(&packed);
    let image = SavedImage {
        name: "local/example:1.0.0.1".to_owned(),
        manifest: manifest.to_string().parse().unwrap(),
        record: b"{\"image\":\"local/example:1.0.0.1\"}".to_vec(),
        lock: put(b"{}"),
        inventory: put(b"{\"debian\":[]}"),
    };
    let mut tar = Vec::new();
    archive::write(&store, &[image], format, &mut tar, &Progress::silent()).unwrap();
    tar
}

/// Blobs get the names that their bytes have now, and whoever names them follows.
fn mend_archive(bytes: &mut [u8]) {
    let mark = b"blobs/sha256/";
    for _ in 0..LEVELS {
        let headers = (0..bytes.len() / BLOCK).map(|number| number * BLOCK);
        let blobs: Vec<usize> = headers.filter(|at| bytes[*at..].starts_with(mark)).collect();
        for at in blobs {
            let name = at + mark.len()..at + mark.len() + HEX_LENGTH;
            let size = std::str::from_utf8(&bytes[at + 124..at + 135]).ok();
            let size = size.and_then(|size| usize::from_str_radix(size, 8).ok());
            let body = size.and_then(|size| bytes.get(at + BLOCK..(at + BLOCK).checked_add(size)?));
            let Some(body) = body else { continue };
            let (old, new) = (bytes[name].to_vec(), BlobDigest::of(body).hex());
            if old != new.as_bytes() && old.iter().all(u8::is_ascii_hexdigit) {
                replace(bytes, &old, new.as_bytes());
            }
        }
    }
    mend_tar_sums(bytes);
}

fn replace(bytes: &mut [u8], old: &[u8], new: &[u8]) {
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(old.len()).position(|window| window == old) {
        at += found;
        bytes[at..at + new.len()].copy_from_slice(new);
        at += new.len();
    }
}
