//! Packing trees into layers.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io::{self, Read as _, Write};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

use cooper_core::clock::PinnedClock;
use cooper_core::lock::Compression;
use cooper_core::{BlobDigest, DiffId, Digest, Timestamp};
use cooper_image::layer::{LayerKind, PackError, TarSummary, diff_id, pack, pack_to, settle_mtimes};
use cooper_store::Store;
use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use tempfile::TempDir;

use crate::{chain, is_root};

const GZIP: Compression = Compression::Gzip {
    level: 1,
    member_bytes: 4096,
};
const IGZIP: Compression = Compression::Igzip { member_bytes: 4096 };

fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn packed(root: &Path, kind: LayerKind, compression: Compression, threads: usize) -> (TarSummary, Vec<u8>) {
    let mut bytes = Vec::new();
    let summary = pack_to(root, kind, &compression, threads, &mut bytes).unwrap();
    (summary, bytes)
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .read_to_end(&mut tar)
        .unwrap();
    tar
}

/// Path, type, link and content of every entry.
fn listed(tar: &[u8]) -> Vec<(String, u8, String, Vec<u8>)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (path, link) = (
            text(Some(&entry.path_bytes())),
            text(entry.link_name_bytes().as_deref()),
        );
        let kind = entry.header().entry_type().as_byte();
        let mut body = Vec::new();
        entry.read_to_end(&mut body).unwrap();
        (path, kind, link, body)
    });
    entries.collect()
}

fn small_tree() -> TempDir {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    fs::create_dir_all(root.join("b/c")).unwrap();
    fs::write(root.join("b/c/file"), "content").unwrap();
    fs::write(root.join("b.txt"), "x".repeat(10_000)).unwrap();
    fs::hard_link(root.join("b.txt"), root.join("z")).unwrap();
    symlink("b/c", root.join("a")).unwrap();
    fs::set_permissions(root.join("b"), fs::Permissions::from_mode(0o1750)).unwrap();
    for path in ["b/c/file", "b/c", "b", "b.txt", "a"] {
        set_mtime(&root.join(path), 1_000_000_000, 999);
    }
    tree
}

#[test]
fn entries_come_in_the_order_of_their_bytes() {
    let tree = small_tree();
    let (summary, bytes) = packed(tree.path(), LayerKind::Tree, GZIP, 1);
    let tar = unpacked(&bytes);
    let expected = [
        ("a", b'2', "b/c", &b""[..]),
        ("b/", b'5', "", b""),
        ("b/c/", b'5', "", b""),
        ("b/c/file", b'0', "", b"content"),
        ("b.txt", b'0', "", &b"x".repeat(10_000)),
        ("z", b'1', "b.txt", b""),
    ];
    let expected =
        expected.map(|(path, kind, link, body)| (path.to_owned(), kind, link.to_owned(), body.to_vec()));
    assert_eq!(listed(&tar), expected);
    assert_eq!(
        (summary.entries, summary.newest_mtime, summary.uncompressed),
        (6, 1_000_000_000, tar.len() as u64)
    );
    assert_eq!(summary.diff_id, DiffId::new(Digest::of(&tar)));
    assert_eq!(diff_id(tree.path(), LayerKind::Tree).unwrap(), summary.diff_id);
    let mut archive = tar::Archive::new(tar.as_slice());
    let header = archive
        .entries()
        .unwrap()
        .nth(1)
        .unwrap()
        .unwrap()
        .header()
        .clone();
    assert_eq!(
        (header.mode().unwrap(), header.mtime().unwrap()),
        (0o1750, 1_000_000_000)
    );
    assert_eq!(
        (header.username().unwrap(), header.groupname().unwrap()),
        (Some(""), Some(""))
    );
}

#[test]
fn the_bytes_do_not_depend_on_threads_or_on_the_tree_s_place() {
    let (one, two) = (small_tree(), small_tree());
    let first = packed(one.path(), LayerKind::Tree, GZIP, 1);
    for (compression, first) in [
        (GZIP, first.clone()),
        (IGZIP, packed(one.path(), LayerKind::Tree, IGZIP, 1)),
    ] {
        for threads in [1, 2, 3, 16, 1000] {
            let again = packed(two.path(), LayerKind::Tree, compression, threads);
            assert_eq!(again, first, "{threads} threads");
        }
    }
    let larger = Compression::Gzip {
        level: 1,
        member_bytes: 1 << 20,
    };
    let other = packed(two.path(), LayerKind::Tree, larger, 2);
    assert_eq!(other.0, first.0);
    assert_ne!(other.1, first.1);
}

#[test]
fn the_compressor_s_bytes_are_pinned() {
    if !is_root() {
        return;
    }
    // A change here changes every manifest: count up `Recipe::version` with it.
    let (summary, bytes) = packed(small_tree().path(), LayerKind::Tree, GZIP, 2);
    let pinned = "0935e0dfa70c1f1435fe49c186716258783de82431741cd3cd0a6b0586a35a17";
    assert_eq!(summary.diff_id.hex(), pinned);
    assert_eq!(
        Digest::of(&bytes).hex(),
        "a4e20cdb73bf0fc1705bc5ca59216743a83336ed56277ced2366ae0bb570c22a"
    );
    let (_, bytes) = packed(small_tree().path(), LayerKind::Tree, IGZIP, 2);
    assert_eq!(
        Digest::of(&bytes).hex(),
        "029de57b414a86cb709699bb59cf93a38baabde6bbd7c59ef2dbec0fef57ec38"
    );
}

#[test]
fn each_member_is_plain_gzip() {
    let (_, bytes) = packed(small_tree().path(), LayerKind::Tree, GZIP, 2);
    assert_eq!(bytes[..4], [0x1f, 0x8b, 8, 0]);
    assert_eq!((&bytes[4..8], bytes[9]), (&[0; 4][..], 255));
    let mut gzip = std::process::Command::new("gzip");
    let spawned = gzip.arg("-t").stdin(std::process::Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        eprintln!("SKIPPED: there is no gzip");
        return;
    };
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn long_names_and_large_owners_survive() {
    if !is_root() {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    let deep = format!("{}/{}", "d".repeat(120), "é".repeat(100));
    fs::create_dir(tree.path().join("d".repeat(120))).unwrap();
    fs::write(tree.path().join(&deep), "x").unwrap();
    symlink("t".repeat(300), tree.path().join("link")).unwrap();
    std::os::unix::fs::chown(tree.path().join(&deep), Some(3_000_000_000), Some(3)).unwrap();
    set_mtime(&tree.path().join(&deep), -10, 0);
    let (_, bytes) = packed(tree.path(), LayerKind::Tree, GZIP, 1);
    let tar = unpacked(&bytes);
    let entries = listed(&tar);
    assert_eq!(
        (entries[1].0.as_str(), entries[1].3.as_slice()),
        (deep.as_str(), &b"x"[..])
    );
    assert_eq!(entries[2].2, "t".repeat(300));
    let text = String::from_utf8_lossy(&tar);
    assert!(text.contains("uid=3000000000\n") && text.contains("mtime=-10\n"));
}

fn make_device(path: &Path, device: u64) {
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), device).unwrap();
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) -> bool {
    let name = CString::new(name).unwrap();
    let set = rustix::fs::setxattr(path, name.as_c_str(), value, XattrFlags::empty());
    if set.is_err() {
        eprintln!("SKIPPED: the file system has no attribute {name:?}");
    }
    set.is_ok()
}

#[test]
fn an_upper_directory_s_deletions_become_whiteouts() {
    if !is_root() {
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    fs::create_dir_all(root.join("opaque")).unwrap();
    fs::write(root.join("opaque/new"), "").unwrap();
    make_device(&root.join("opaque/gone"), 0);
    make_device(&root.join("gone"), 0);
    let opaque = set_attribute(&root.join("opaque"), "trusted.overlay.opaque", b"y");
    set_attribute(&root.join("opaque"), "trusted.overlay.origin", b"whatever");
    let (summary, bytes) = packed(root, LayerKind::OverlayUpper, GZIP, 2);
    let entries = listed(&unpacked(&bytes));
    let names: Vec<&str> = entries.iter().map(|entry| entry.0.as_str()).collect();
    let mut expected = vec![".wh.gone", "opaque/", "opaque/.wh.gone", "opaque/new"];
    if opaque {
        expected.insert(2, "opaque/.wh..wh..opq");
    }
    assert_eq!(names, expected);
    assert_eq!(diff_id(root, LayerKind::OverlayUpper).unwrap(), summary.diff_id);
    assert!(matches!(diff_id(root, LayerKind::Tree), Err(PackError::Device { path }) if path == "gone"));
}

#[test]
fn what_a_layer_cannot_hold_is_refused() {
    if !is_root() {
        return;
    }
    let refused = |prepare: &dyn Fn(&Path)| {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir(tree.path().join("d")).unwrap();
        prepare(&tree.path().join("d"));
        let mut out = Vec::new();
        pack_to(tree.path(), LayerKind::OverlayUpper, &GZIP, 2, &mut out)
            .map_err(|error| chain(&error))
            .unwrap_err()
    };
    assert!(
        refused(&|root| make_device(&root.join("null"), rustix::fs::makedev(1, 3)))
            .contains("`d/null` is a device")
    );
    assert!(refused(&|root| fs::write(root.join(".wh.x"), "").unwrap()).contains("`d/.wh.x`"));
    if set_attribute(
        tempfile::tempdir().unwrap().path(),
        "trusted.overlay.redirect",
        b"/x",
    ) {
        let redirect = |root: &Path| assert!(set_attribute(root, "trusted.overlay.redirect", b"/other"));
        assert!(refused(&redirect).contains("trusted.overlay.redirect"));
    }
    let deep = |root: &Path| fs::create_dir_all(root.join("x/".repeat(250))).unwrap();
    assert!(refused(&deep).contains("200 directories deep"));
}

#[test]
fn sockets_are_left_out_and_named() {
    let tree = small_tree();
    let without = diff_id(tree.path(), LayerKind::Tree).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path().join("socket")).unwrap();
    let (summary, _) = packed(tree.path(), LayerKind::Tree, GZIP, 1);
    assert_eq!(
        (summary.skipped, summary.diff_id),
        (vec!["socket".to_owned()], without)
    );
}

#[test]
fn capabilities_are_kept_and_other_attributes_are_not() {
    if !is_root() {
        return;
    }
    let tree = small_tree();
    let plain = diff_id(tree.path(), LayerKind::Tree).unwrap();
    if !set_attribute(&tree.path().join("b.txt"), "user.note", b"x") {
        return;
    }
    assert_eq!(diff_id(tree.path(), LayerKind::Tree).unwrap(), plain);
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert!(set_attribute(
        &tree.path().join("b.txt"),
        "security.capability",
        &capability
    ));
    let tar = unpacked(&packed(tree.path(), LayerKind::Tree, GZIP, 1).1);
    let record = [b"SCHILY.xattr.security.capability=".as_slice(), &capability].concat();
    assert!(tar.windows(record.len()).any(|window| window == record));
}

#[test]
fn times_are_settled_without_following_links() {
    let outside = tempfile::tempdir().unwrap();
    set_mtime(outside.path(), 2_000, 0);
    let tree = small_tree();
    let root = tree.path();
    symlink(outside.path(), root.join("out")).unwrap();
    set_mtime(&root.join("b/c/file"), 500, 7);
    set_mtime(&root.join("b.txt"), 1_000, 7);
    settle_mtimes(root, 1_000).unwrap();
    let time = |path: &str| {
        let status = rustix::fs::lstat(root.join(path)).unwrap();
        (status.st_mtime, status.st_mtime_nsec)
    };
    assert_eq!(
        (time(""), time("b"), time("b/c")),
        ((1_000, 0), (1_000, 0), (1_000, 0))
    );
    assert_eq!(
        (time("b/c/file"), time("b.txt"), time("a"), time("out")),
        ((500, 7), (1_000, 0), (1_000, 0), (1_000, 0))
    );
    assert_eq!(rustix::fs::lstat(outside.path()).unwrap().st_mtime, 2_000);
}

struct FullDisk(usize);

impl Write for FullDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(bytes.len())
            .ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_ends_the_work() {
    let tree = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..4_000_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(tree.path().join("noise"), noise).unwrap();
    for threads in [1, 4] {
        let error = pack_to(
            tree.path(),
            LayerKind::Tree,
            &GZIP,
            threads,
            &mut FullDisk(100_000),
        )
        .unwrap_err();
        assert!(matches!(error, PackError::Write(source) if source.kind() == io::ErrorKind::StorageFull));
    }
}

#[test]
fn impossible_settings_are_refused() {
    for (level, member_bytes) in [(0, 1 << 20), (13, 1 << 20), (1, 0), (1, 1 << 30)] {
        let compression = Compression::Gzip { level, member_bytes };
        let error = pack_to(Path::new("."), LayerKind::Tree, &compression, 1, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, PackError::Compression { .. }));
    }
}

#[test]
fn a_layer_is_kept_in_the_store() {
    let place = tempfile::tempdir().unwrap();
    let clock = Arc::new(PinnedClock(Timestamp::UNIX_EPOCH));
    let store = Store::open(&place.path().join("store"), clock).unwrap();
    let tree = small_tree();
    let layer = pack(tree.path(), LayerKind::Tree, &GZIP, &store).unwrap();
    let blob = store.read_blob(&BlobDigest::from(layer.digest), 1 << 20).unwrap();
    assert_eq!(blob.len() as u64, layer.size);
    assert_eq!(DiffId::new(Digest::of(&unpacked(&blob))), layer.diff_id);
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_survives(
        files in prop::collection::btree_map(
            "[a-cA .é-]{1,3}x(/[a-c.]{1,60}y){0,4}",
            prop::collection::vec(any::<u8>(), 0..3000),
            0..30,
        ),
        threads in 1_usize..5,
    ) {
        let tree = tempfile::tempdir().unwrap();
        grow(tree.path(), &files);
        settle_mtimes(tree.path(), 1_000).unwrap();
        let (summary, bytes) = packed(tree.path(), LayerKind::Tree, GZIP, threads);
        let tar = unpacked(&bytes);
        let entries = listed(&tar);
        let keys: Vec<Vec<Vec<u8>>> = entries
            .iter()
            .map(|entry| entry.0.trim_end_matches('/').split('/').map(|part| part.as_bytes().to_vec()).collect())
            .collect();
        prop_assert!(keys.is_sorted());
        for (path, kind, _, body) in &entries {
            let found = tree.path().join(path);
            prop_assert_eq!(found.is_dir(), *kind == b'5');
            if *kind == b'0' {
                prop_assert_eq!(&fs::read(found).unwrap(), body);
            }
        }
        prop_assert_eq!(summary.entries, entries.len() as u64);
        let copy = tempfile::tempdir().unwrap();
        let mut archive = tar::Archive::new(tar.as_slice());
        archive.set_preserve_permissions(true);
        archive.unpack(copy.path()).unwrap();
        settle_mtimes(copy.path(), 1_000).unwrap();
        prop_assert_eq!(diff_id(copy.path(), LayerKind::Tree).unwrap(), summary.diff_id);
    }
}
