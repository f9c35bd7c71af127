//! Unpacking layers: what was packed comes back as it was, whatever it was.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use cooper_core::clock::PinnedClock;
use cooper_core::lock::Compression;
use cooper_core::{DiffId, LayerDigest, Timestamp};
use cooper_image::layer::{
    LayerKind, PackedLayer, UnpackError, diff_id, pack, settle_mtimes, unpack, unpack_tar,
};
use cooper_image::rootfs::UnpackLimits;
use cooper_store::Store;
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use tempfile::TempDir;

use crate::{chain, is_root};

const GZIP: Compression = Compression::Gzip {
    level: 1,
    member_bytes: 4096,
};
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn store(place: &TempDir, name: &str) -> Store {
    let clock = Arc::new(PinnedClock(Timestamp::UNIX_EPOCH));
    Store::open(&place.path().join(name), clock).unwrap()
}

/// Pack a tree in one store and unpack it in another.
fn carried(tree: &Path, place: &TempDir) -> (PackedLayer, Store, Result<(), UnpackError>) {
    let (from, to) = (store(place, "from"), store(place, "to"));
    let packed = pack(tree, LayerKind::OverlayUpper, &GZIP, &from).unwrap();
    let blob = from.read_blob(&packed.digest.into(), 64 << 20).unwrap();
    to.put_blob(&blob).unwrap();
    let done = unpack(&to, &packed.digest, &packed.diff_id, &UnpackLimits::default());
    (packed, to, done)
}

/// Everything that a layer can hold.
fn every_kind(root: &Path) {
    let node = |path: &str, kind| {
        rustix::fs::mknodat(CWD, root.join(path), kind, Mode::from_raw_mode(0o640), 0).unwrap();
    };
    fs::create_dir_all(root.join("opaque/deep")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("opaque/deep/file"), "content").unwrap();
    fs::write(root.join("program"), "x".repeat(10_000)).unwrap();
    fs::write(root.join("ping"), "raw sockets").unwrap();
    fs::write(root.join("nothing"), "").unwrap();
    fs::write(root.join("ünïcode with blanks"), "").unwrap();
    fs::write(root.join("n".repeat(200)), "a long name").unwrap();
    symlink("t".repeat(300), root.join("long link")).unwrap();
    symlink("../../../etc/passwd", root.join("link out")).unwrap();
    fs::hard_link(root.join("program"), root.join("second name")).unwrap();
    node("pipe", FileType::Fifo);
    node("gone", FileType::CharacterDevice);
    node("opaque/gone", FileType::CharacterDevice);
    std::os::unix::fs::chown(root.join("ping"), Some(3_000_000_000), Some(3)).unwrap();
    std::os::unix::fs::lchown(root.join("link out"), Some(7), Some(8)).unwrap();
    for (path, mode) in [
        ("program", 0o6755),
        ("empty", 0o1777),
        ("opaque", 0o2750),
        ("ping", 0o000),
    ] {
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    };
    set("opaque", "trusted.overlay.opaque", b"y");
    set("ping", "security.capability", &CAPABILITY);
    settle_mtimes(root, 1_000_000_000).unwrap();
}

#[test]
fn everything_that_a_layer_can_hold_comes_back() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let tree = tempfile::tempdir().unwrap();
    every_kind(tree.path());
    let (packed, store, done) = carried(tree.path(), &place);
    done.unwrap();
    let root = store.tree(&packed.diff_id).unwrap();
    assert_eq!(diff_id(&root, LayerKind::OverlayUpper).unwrap(), packed.diff_id);
    let again = pack(&root, LayerKind::OverlayUpper, &GZIP, &store).unwrap();
    assert_eq!(again.digest, packed.digest);
    let status = |path: &str| fs::symlink_metadata(root.join(path)).unwrap();
    assert_eq!(status("program").ino(), status("second name").ino());
    assert_eq!(status("program").mode() & 0o7777, 0o6755);
    assert_eq!(
        (status("").mode() & 0o7777, status("").mtime()),
        (0o755, 1_000_000_000)
    );
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(root.join("ping"), "security.capability", &mut value).unwrap();
    assert_eq!(value[..length], CAPABILITY);
    // Where the tree is there, it is compared and not unpacked again.
    unpack(&store, &packed.digest, &packed.diff_id, &UnpackLimits::default()).unwrap();
}

#[test]
fn a_blob_of_another_tree_is_refused_also_where_the_tree_is_there() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("one"), "1").unwrap();
    let (packed, store, done) = carried(tree.path(), &place);
    done.unwrap();
    fs::write(tree.path().join("two"), "2").unwrap();
    let other = pack(tree.path(), LayerKind::Tree, &GZIP, &store).unwrap();
    let limits = UnpackLimits::default();
    for (digest, stated) in [(other.digest, packed.diff_id), (packed.digest, other.diff_id)] {
        let error = unpack(&store, &digest, &stated, &limits).unwrap_err();
        assert!(matches!(error, UnpackError::DiffId { .. }), "{}", chain(&error));
    }
    assert!(store.tree(&other.diff_id).is_none());
    let missing = unpack(&store, &LayerDigest::of(b""), &DiffId::of(b""), &limits).unwrap_err();
    assert!(matches!(missing, UnpackError::Blob(_)));
}

#[test]
fn a_failed_unpack_leaves_nothing() {
    if !is_root() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let store = store(&place, "store");
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("file"), "x".repeat(100_000)).unwrap();
    let packed = pack(tree.path(), LayerKind::Tree, &GZIP, &store).unwrap();
    for limits in [
        UnpackLimits {
            file_bytes_max: 99_999,
            ..UnpackLimits::default()
        },
        UnpackLimits {
            total_bytes_max: 100_000,
            ..UnpackLimits::default()
        },
        UnpackLimits {
            entries_max: 0,
            ..UnpackLimits::default()
        },
    ] {
        let error = unpack(&store, &packed.digest, &packed.diff_id, &limits).unwrap_err();
        assert!(!matches!(error, UnpackError::DiffId { .. }), "{}", chain(&error));
        assert!(store.tree(&packed.diff_id).is_none());
    }
    let sessions = fs::read_dir(store.root().join("tmp")).unwrap();
    let staged = sessions.flat_map(|session| fs::read_dir(session.unwrap().path()).into_iter().flatten());
    let trees = staged.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with("tree-")
    });
    assert_eq!(trees.count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back(
        files in prop::collection::btree_map(
            "[a-cA .é-]{1,3}x(/[a-c.]{1,60}y){0,4}",
            prop::collection::vec(any::<u8>(), 0..3000),
            0..30,
        ),
    ) {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let (tree, back) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        grow(tree.path(), &files);
        settle_mtimes(tree.path(), 1_000).unwrap();
        let mut packed = Vec::new();
        let summary =
            cooper_image::layer::pack_to(tree.path(), LayerKind::Tree, &GZIP, 2, &mut packed).unwrap();
        let tar = std::io::BufReader::new(flate2::read::MultiGzDecoder::new(packed.as_slice()));
        unpack_tar(tar, back.path(), &UnpackLimits::default()).unwrap();
        prop_assert_eq!(diff_id(back.path(), LayerKind::OverlayUpper).unwrap(), summary.diff_id);
    }
}

/// A tree from names; a name that is in the way of another is left out.
fn grow(root: &Path, files: &BTreeMap<String, Vec<u8>>) {
    for (path, body) in files {
        let path = root.join(path);
        if fs::create_dir_all(path.parent().unwrap()).is_ok() && !path.exists() {
            fs::write(path, body).unwrap();
        }
    }
}
