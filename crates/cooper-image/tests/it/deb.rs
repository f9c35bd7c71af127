//! Reading and unpacking packages.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use cooper_core::lock::{Architecture, DebianArtefact};
use cooper_core::{BlobDigest, DebianVersion};
use cooper_image::deb::{Deb, DebError, Diversions, Precedence, UnpackSettings, Unpacked};
use cooper_image::rootfs::{Links, Rootfs, UnpackLimits};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::deb_archive::{Entry, ar, control, dir, file, gzip, link, package, special, tar, xz};
use crate::{chain, is_root};

/// A root directory inside a directory that must stay as it is.
struct Site {
    outside: TempDir,
    rootfs: Rootfs,
}

impl Site {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("root")).unwrap();
        fs::write(outside.path().join("passwd"), "untouched").unwrap();
        let rootfs = Rootfs::open(&outside.path().join("root"), Links::FollowInRoot).unwrap();
        Self { outside, rootfs }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.outside.path().join("root").join(below)
    }

    fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    fn unpack(&self, bytes: Vec<u8>) -> Result<Unpacked, DebError> {
        self.unpack_as(bytes, 0, UnpackLimits::default(), &Diversions::default(), &|_| {
            Precedence::Conflict
        })
    }

    fn unpack_as(
        &self,
        bytes: Vec<u8>,
        rank: u32,
        limits: UnpackLimits,
        diversions: &Diversions,
        precedence: &(dyn Fn(&str) -> Precedence + Sync),
    ) -> Result<Unpacked, DebError> {
        let deb = Deb::from_bytes(bytes, &limits)?;
        deb.unpack(
            &self.rootfs,
            &UnpackSettings {
                limits,
                rank,
                diversions,
                precedence,
            },
        )
    }

    fn assert_outside_untouched(&self) {
        let mut names: Vec<_> = fs::read_dir(self.outside.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["passwd", "root"]);
        assert_eq!(
            fs::read_to_string(self.outside.path().join("passwd")).unwrap(),
            "untouched"
        );
    }
}

fn good_entries() -> Vec<Entry> {
    vec![
        dir("./"),
        dir("./etc/"),
        file("./etc/made.conf", b"setting\n"),
        dir("./usr/"),
        Entry {
            mode: 0o2775,
            uid: 8,
            gid: 50,
            mtime: 5,
            ..dir("./usr/bin/")
        },
        Entry {
            mode: 0o4755,
            uid: 7,
            gid: 9,
            mtime: 1_234_567_890,
            ..file("./usr/bin/made", b"program")
        },
        link(b'1', "./usr/bin/made-too", "./usr/bin/made"),
        Entry {
            mtime: 6,
            ..link(b'2', "./usr/bin/link", "/etc/alternatives/x")
        },
    ]
}

#[test]
fn a_package_is_unpacked_as_it_is() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let unpacked = site
        .unpack(package(
            "made",
            &good_entries(),
            &[("conffiles", "/etc/made.conf\n")],
        ))
        .unwrap();
    site.rootfs.settle(1).unwrap();
    let paths = [
        "/.",
        "/etc",
        "/etc/made.conf",
        "/usr",
        "/usr/bin",
        "/usr/bin/made",
        "/usr/bin/made-too",
        "/usr/bin/link",
    ];
    assert_eq!(unpacked.paths, paths);
    assert_eq!((unpacked.newest_mtime, unpacked.bytes), (1_234_567_890, 15));
    assert_eq!(unpacked.conffiles.len(), 1);
    assert_eq!(unpacked.conffiles[0].path, "/etc/made.conf");
    assert_eq!(unpacked.conffiles[0].md5, "2c1d4f59f062ce424618f4d25961fb76");
    let sums = unpacked.md5sums.unwrap();
    assert!(
        sums.ends_with("  usr/bin/made-too\n") && sums.lines().count() == 2,
        "{sums}"
    );
    let of = |below: &str| fs::symlink_metadata(site.path(below)).unwrap();
    let seen = |below: &str| {
        (
            of(below).mode() & 0o7777,
            of(below).uid(),
            of(below).gid(),
            of(below).mtime(),
        )
    };
    assert_eq!(seen("usr/bin/made"), (0o4755, 7, 9, 1_234_567_890));
    assert_eq!(seen("usr/bin"), (0o2775, 8, 50, 5));
    assert_eq!(of("usr/bin/link").mtime(), 6);
    assert_eq!(
        fs::read_link(site.path("usr/bin/link")).unwrap(),
        Path::new("/etc/alternatives/x")
    );
    assert_eq!(of("usr/bin/made").ino(), of("usr/bin/made-too").ino());
    assert_eq!(site.read("usr/bin/made"), "program");
}

#[test]
fn every_packing_that_is_supported_is_read() {
    if !is_root() {
        return;
    }
    let plain = tar(&good_entries());
    let control = tar(&[dir("./"), file("./control", control("made").as_bytes())]);
    for (suffix, pack) in [
        ("", <[u8]>::to_vec as fn(&[u8]) -> Vec<u8>),
        (".gz", gzip),
        (".xz", xz),
    ] {
        let (control_name, data_name) = (format!("control.tar{suffix}"), format!("data.tar{suffix}"));
        let members = [
            ("debian-binary", &b"2.0\n"[..]),
            ("_signature", b"x"),
            (&control_name, &pack(&control)),
            (&data_name, &pack(&plain)),
        ];
        let unpacked = Site::new().unpack(ar(&members)).unwrap();
        assert_eq!(unpacked.paths.len(), 8, "{suffix}");
    }
}

#[test]
fn what_no_package_has_is_refused() {
    if !is_root() {
        return;
    }
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("a `..`", vec![file("../passwd", b"x")]),
        ("a `..`", vec![file("./../passwd", b"x")]),
        ("a `..`", vec![dir("./a/"), file("./a/../../passwd", b"x")]),
        ("absolute", vec![file("/etc/passwd", b"x")]),
        ("control character", vec![file("./a\nb", b"x")]),
        ("empty component", vec![file("./a//b", b"x")]),
        ("device", vec![special("./null", b'3')]),
        ("device", vec![special("./disk", b'4')]),
        ("named pipe", vec![special("./pipe", b'6')]),
        ("type is unknown", vec![special("./sparse", b'S')]),
        ("type is unknown", vec![special("./volume", b'V')]),
        ("there twice", vec![file("./a", b"x"), file("./a", b"y")]),
        ("there twice", vec![file("./a", b"x"), file("a", b"y")]),
        ("there twice", vec![dir("./a/"), dir("./a/")]),
        ("there twice", vec![link(b'2', "./a", "b"), file("./a", b"y")]),
        (
            "below a symbolic link",
            vec![link(b'2', "./a", "/"), file("./a/passwd", b"x")],
        ),
        (
            "below a symbolic link",
            vec![link(b'2', "./a", "../.."), file("./a/passwd", b"x")],
        ),
        (
            "below a symbolic link",
            vec![dir("./b/"), link(b'2', "./a", "b"), dir("./a/c/")],
        ),
        ("link target", vec![link(b'2', "./a", "")]),
        ("link target", vec![link(b'2', "./a", "b\nc")]),
        ("hard link", vec![link(b'1', "./a", "../../passwd")]),
        ("hard link", vec![link(b'1', "./a", "/etc/passwd")]),
        ("hard link", vec![link(b'1', "./a", "./missing")]),
        ("hard link", vec![link(b'1', "./a", "./a")]),
        ("hard link", vec![dir("./d/"), link(b'1', "./a", "./d")]),
        (
            "hard link",
            vec![link(b'2', "./l", "x"), link(b'1', "./a", "./l")],
        ),
        (
            "owner",
            vec![Entry {
                uid: 70_000,
                ..file("./a", b"x")
            }],
        ),
        (
            "owner",
            vec![Entry {
                gid: 65_536,
                ..file("./a", b"x")
            }],
        ),
        (
            "has a size",
            vec![Entry {
                size: 512,
                body: vec![0; 512],
                ..dir("./a/")
            }],
        ),
        (
            "cut off",
            vec![Entry {
                size: 100_000,
                ..file("./a", b"x")
            }],
        ),
        ("not a directory", vec![file("./a", b"x"), file("./a/b", b"x")]),
        ("is a directory", vec![dir("./a/b/"), file("./a", b"x")]),
    ];
    for (reason, entries) in cases {
        let site = Site::new();
        let shown = entries.iter().map(|entry| entry.path.clone()).collect::<Vec<_>>();
        let error = site.unpack(package("made", &entries, &[])).unwrap_err();
        assert!(chain(&error).contains(reason), "{shown:?}: {}", chain(&error));
        site.assert_outside_untouched();
    }
}

#[test]
fn limits_hold() {
    if !is_root() {
        return;
    }
    let limits = UnpackLimits {
        total_bytes_max: 1 << 20,
        file_bytes_max: 1000,
        entries_max: 5,
        ..UnpackLimits::default()
    };
    let zeros = vec![0; 8 << 20];
    let many: Vec<_> = (0..6).map(|number| file(&format!("./{number}"), b"")).collect();
    let lie = Entry {
        size: 0o77_777_777_777,
        ..file("./a", b"x")
    };
    for (reason, entries) in [
        ("limit for one file", vec![file("./a", &[0; 1001])]),
        ("more than 1048576 bytes", vec![file("./a", &zeros)]),
        ("more than 1048576 bytes", vec![lie]),
        ("more than 5 entries", many),
    ] {
        let site = Site::new();
        let made = package("made", &entries, &[]);
        let error = site
            .unpack_as(made, 0, limits, &Diversions::default(), &|_| Precedence::Conflict)
            .unwrap_err();
        assert!(chain(&error).contains(reason), "{}", chain(&error));
    }
    let bomb = package(
        "made",
        &[file("./a", b"x")],
        &[("postinst", &"\0".repeat(4 << 20))],
    );
    let limits = UnpackLimits {
        control_bytes_max: 1 << 20,
        ..limits
    };
    assert!(chain(&Deb::from_bytes(bomb, &limits).unwrap_err()).contains("more than 1048576 bytes"));
    let little_memory = UnpackLimits {
        decoder_memory_max: 1 << 10,
        ..UnpackLimits::default()
    };
    let made = package("made", &good_entries(), &[]);
    let error = Site::new().unpack_as(made, 0, little_memory, &Diversions::default(), &|_| {
        Precedence::Conflict
    });
    assert!(chain(&error.unwrap_err()).contains("cannot read the stream"));
}

#[test]
fn damaged_frames_are_refused() {
    let good = package("made", &good_entries(), &[]);
    let (control, data) = (
        gzip(&tar(&[file("./control", control("made").as_bytes())])),
        xz(&tar(&good_entries())),
    );
    let binary = ("debian-binary", &b"2.0\n"[..]);
    let mut long = good.clone();
    long.truncate(good.len() - 200);
    let mut no_mark = good.clone();
    no_mark[66] = b'x';
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("does not begin", b"".to_vec()),
        ("does not begin", b"PK\x03\x04 and so on".to_vec()),
        ("larger than the file", long),
        ("cut off", good[..40].to_vec()),
        ("no end mark", no_mark),
        ("not a Debian package of format 2", ar(&[])),
        (
            "not a Debian package of format 2",
            ar(&[("debian-binary", b"3.0\n"), ("control.tar.gz", &control)]),
        ),
        ("`control.tar` is missing", ar(&[binary])),
        (
            "`data.tar` is missing",
            ar(&[binary, ("control.tar.gz", &control)]),
        ),
        (
            "wrong place",
            ar(&[binary, ("data.tar.xz", &data), ("control.tar.gz", &control)]),
        ),
        (
            "wrong place",
            ar(&[
                binary,
                ("control.tar.gz", &control),
                ("data.tar.xz", &data),
                ("data.tar.xz", &data),
            ]),
        ),
        (
            "not supported",
            ar(&[binary, ("control.tar.gz", &control), ("data.tar.zst", &data)]),
        ),
        (
            "not supported",
            ar(&[binary, ("control.tar.bz2", &control), ("data.tar.xz", &data)]),
        ),
    ];
    for (reason, bytes) in cases {
        let error = Deb::from_bytes(bytes, &UnpackLimits::default()).unwrap_err();
        assert!(chain(&error).contains(reason), "{reason}: {}", chain(&error));
    }
}

#[test]
fn damaged_control_archives_are_refused() {
    let data = xz(&tar(&[dir("./")]));
    let with = |entries: &[Entry]| {
        let control = gzip(&tar(entries));
        ar(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", &control),
            ("data.tar.xz", &data),
        ])
    };
    let stanza = |text: &str| vec![file("./control", text.as_bytes())];
    let good = file("./control", control("made").as_bytes());
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("no file `control`", vec![dir("./")]),
        ("twice", vec![good.clone(), good.clone()]),
        ("plain name", vec![good.clone(), file("./a/b", b"")]),
        ("plain name", vec![good.clone(), file("./../x", b"")]),
        ("plain name", vec![good.clone(), file("./list", b"")]),
        ("plain name", vec![good.clone(), dir("./DIR/")]),
        (
            "plain name",
            vec![good.clone(), link(b'2', "./postinst", "/bin/sh")],
        ),
        ("`Version`", stanza("Package: x1\nArchitecture: all\n")),
        (
            "`Package`",
            stanza("Package: ../x\nVersion: 1\nArchitecture: all\n"),
        ),
        (
            "`Architecture`",
            stanza("Package: x1\nVersion: 1\nArchitecture: arm64\n"),
        ),
        ("line 2", stanza("Package: x1\nnonsense\n")),
        ("not UTF-8", vec![file("./control", b"Package: \xff\n")]),
        (
            "`conffiles`",
            vec![good.clone(), file("./conffiles", b"/etc/../../x\n")],
        ),
    ];
    for (reason, entries) in cases {
        let error = Deb::from_bytes(with(&entries), &UnpackLimits::default()).unwrap_err();
        assert!(chain(&error).contains(reason), "{reason}: {}", chain(&error));
    }
}

#[test]
fn another_package_than_the_lock_says_is_refused() {
    let deb = Deb::from_bytes(package("made", &[dir("./")], &[]), &UnpackLimits::default()).unwrap();
    let artefact = |name: &str, version: &str, architecture| DebianArtefact {
        name: name.parse().unwrap(),
        version: version.parse::<DebianVersion>().unwrap(),
        architecture,
        size: 0,
        sha256: BlobDigest::of(b""),
    };
    deb.check_identity(&artefact("made", "1.0-1", Architecture::Amd64))
        .unwrap();
    for (name, version, architecture) in [
        ("made2", "1.0-1", Architecture::Amd64),
        ("made", "1.0-2", Architecture::Amd64),
        ("made", "1.00-1", Architecture::Amd64),
        ("made", "1.0-1", Architecture::All),
    ] {
        let error = deb
            .check_identity(&artefact(name, version, architecture))
            .unwrap_err();
        assert!(matches!(error, DebError::Identity { .. }), "{name} {version}");
    }
}

#[test]
fn links_in_the_tree_are_followed_inside_it() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    fs::create_dir_all(site.path("usr/lib")).unwrap();
    symlink("usr/lib", site.path("lib")).unwrap();
    symlink("/", site.path("absolute")).unwrap();
    symlink("../../../..", site.path("climbs")).unwrap();
    let entries = [
        dir("./lib/"),
        file("./lib/a", b"merged"),
        file("./absolute/b", b"inside"),
        file("./climbs/c", b"inside too"),
    ];
    site.unpack(package("made", &entries, &[])).unwrap();
    assert!(fs::symlink_metadata(site.path("lib")).unwrap().is_symlink());
    assert_eq!(site.read("usr/lib/a"), "merged");
    assert_eq!(site.read("b"), "inside");
    assert_eq!(site.read("c"), "inside too");
    site.assert_outside_untouched();
}

#[test]
fn a_link_in_the_place_of_a_file_is_not_written_through() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    symlink(site.outside.path().join("passwd"), site.path("a")).unwrap();
    symlink("../passwd", site.path("b")).unwrap();
    site.unpack(package("made", &[file("./a", b"x"), file("./b", b"y")], &[]))
        .unwrap();
    assert_eq!((site.read("a"), site.read("b")), ("x".to_owned(), "y".to_owned()));
    site.assert_outside_untouched();
}

#[test]
fn two_packages_with_one_file_need_a_replaces() {
    if !is_root() {
        return;
    }
    let (one, two) = (
        || package("one", &[file("./a", b"1")], &[]),
        || package("two", &[file("./a", b"2")], &[]),
    );
    let none = Diversions::default();
    let site = Site::new();
    site.unpack(one()).unwrap();
    let error = site.unpack(two()).unwrap_err();
    assert!(
        matches!(&error, DebError::Conflict { package, other, path } if package == "two" && other == "one" && path == "/a")
    );
    assert!(error.hint().unwrap().contains("`two`"));
    let kept = site
        .unpack_as(two(), 0, UnpackLimits::default(), &none, &|_| Precedence::Theirs)
        .unwrap();
    assert_eq!((site.read("a").as_str(), kept.paths.len()), ("1", 0));
    let taken = site.unpack_as(two(), 0, UnpackLimits::default(), &none, &|other| {
        assert_eq!(other, "one");
        Precedence::Ours
    });
    assert_eq!(taken.unwrap().displaced, [("one".to_owned(), "/a".to_owned())]);
    assert_eq!(site.read("a"), "2");
}

#[test]
fn files_of_lower_layers_have_owners_too() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    fs::create_dir_all(site.path("var/lib/dpkg/info")).unwrap();
    fs::write(site.path("var/lib/dpkg/info/base:amd64.list"), "/.\n/lib/owned\n").unwrap();
    fs::create_dir_all(site.path("usr/lib")).unwrap();
    fs::write(site.path("usr/lib/owned"), "base's").unwrap();
    fs::write(site.path("usr/lib/free"), "made by a script").unwrap();
    let error = site
        .unpack(package("made", &[file("./usr/lib/owned", b"x")], &[]))
        .unwrap_err();
    assert!(matches!(error, DebError::Conflict { other, .. } if other == "base"));
    site.unpack(package("made", &[file("./usr/lib/free", b"x")], &[]))
        .unwrap();
    assert_eq!(
        (
            site.read("usr/lib/owned").as_str(),
            site.read("usr/lib/free").as_str()
        ),
        ("base's", "x")
    );
}

#[test]
fn diverted_files_go_elsewhere() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let table = Diversions::parse(b"/bin/sh\n/bin/sh.distrib\ndash\n").unwrap();
    let made = |name| package(name, &[dir("./bin/"), file("./bin/sh", name.as_bytes())], &[]);
    for name in ["bash", "dash"] {
        let unpacked = site.unpack_as(made(name), 0, UnpackLimits::default(), &table, &|_| {
            Precedence::Conflict
        });
        assert_eq!(unpacked.unwrap().paths, ["/bin", "/bin/sh"]);
    }
    assert_eq!(
        (site.read("bin/sh").as_str(), site.read("bin/sh.distrib").as_str()),
        ("dash", "bash")
    );
}

#[test]
fn an_equal_link_to_a_directory_is_shared() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let entries = [
        dir("./usr/"),
        dir("./usr/lib/"),
        Entry {
            mtime: 7,
            ..link(b'2', "./lib", "usr/lib")
        },
    ];
    for name in ["one", "two"] {
        assert_eq!(site.unpack(package(name, &entries, &[])).unwrap().paths.len(), 3);
    }
    let other = [link(b'2', "./lib", "usr/other")];
    assert!(matches!(
        site.unpack(package("three", &other, &[])).unwrap_err(),
        DebError::Conflict { .. }
    ));
}

#[test]
fn the_outcome_does_not_depend_on_the_order() {
    if !is_root() {
        return;
    }
    let package_of = |rank: u32| {
        let shared = Entry {
            mode: 0o700 | rank,
            mtime: u64::from(rank) + 10,
            ..dir("./shared/")
        };
        let own = file(&format!("./shared/{rank}"), b"x");
        package(
            &format!("made{rank}"),
            &[
                shared,
                own,
                Entry {
                    mtime: u64::from(rank),
                    ..link(b'2', "./link", "shared")
                },
            ],
            &[],
        )
    };
    let unpacked_in = |order: &[u32]| {
        let site = Site::new();
        for rank in order {
            let none = Diversions::default();
            site.unpack_as(package_of(*rank), *rank, UnpackLimits::default(), &none, &|_| {
                Precedence::Conflict
            })
            .unwrap();
        }
        site.rootfs.settle(0).unwrap();
        let shared = fs::metadata(site.path("shared")).unwrap();
        let link = fs::symlink_metadata(site.path("link")).unwrap();
        (shared.permissions().mode() & 0o7777, shared.mtime(), link.mtime())
    };
    let expected = (0o701, 11, 1);
    for order in [[1, 2, 3], [3, 2, 1], [2, 1, 3]] {
        assert_eq!(unpacked_in(&order), expected, "{order:?}");
    }
}

#[test]
fn many_packages_are_unpacked_at_once() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let debs: Vec<_> = (0..40)
        .map(|number| {
            let mut entries = vec![dir("./usr/"), dir("./usr/share/")];
            entries.extend(
                (0..50).map(|file_number| file(&format!("./usr/share/{file_number}/{number}"), b"content")),
            );
            package(&format!("made{number}"), &entries, &[])
        })
        .collect();
    let site = &site;
    std::thread::scope(|scope| {
        for part in debs.chunks(10) {
            scope.spawn(move || {
                for deb in part {
                    site.unpack(deb.clone()).unwrap();
                }
            });
        }
    });
    site.rootfs.settle(77).unwrap();
    assert_eq!(fs::read_dir(site.path("usr/share/7")).unwrap().count(), 40);
    assert_eq!(fs::metadata(site.path("usr/share/7")).unwrap().mtime(), 77);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_packages_never_panic_or_escape(at in 0_usize..4000, byte: u8, cut in 0_usize..4000) {
        let site = Site::new();
        let data = tar(&good_entries());
        let control = tar(&[file("./control", control("made").as_bytes())]);
        let mut bytes = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &control), ("data.tar", &data)]);
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(length - (cut % 3) * cut.min(length) / 3);
        let _ = site.unpack(bytes);
        site.assert_outside_untouched();
    }
}
