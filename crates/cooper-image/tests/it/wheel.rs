//! Checking and installing wheels.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::PathBuf;

use cooper_core::lock::PythonArtefact;
use cooper_core::{BlobDigest, PythonVersion};
use cooper_image::rootfs::{Links, Rootfs, UnpackLimits};
use cooper_image::wheel::{InstalledWheel, Wheel, WheelError};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::wheel_archive::{Entry, MTIME, file, hash, record, wheel, with_metadata, zip};
use crate::{chain, is_root};

const PYTHON: PythonVersion = PythonVersion { major: 3, minor: 13 };
const SITE: &str = "usr/local/lib/python3.13/dist-packages";

struct Site {
    outside: TempDir,
    rootfs: Rootfs,
}

impl Site {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir(outside.path().join("root")).unwrap();
        let rootfs = Rootfs::open(&outside.path().join("root"), Links::Refused).unwrap();
        Self { outside, rootfs }
    }

    /// Programs as a base has them: its `/bin` is a link, some programs are too.
    fn add_programs(&self) {
        for folder in ["usr/bin", "usr/sbin"] {
            fs::create_dir_all(self.path(folder)).unwrap();
        }
        fs::write(self.path("usr/bin/python3"), "").unwrap();
        fs::write(self.path("usr/sbin/adduser"), "").unwrap();
        symlink("/etc/alternatives/awk", self.path("usr/bin/awk")).unwrap();
        symlink("usr/bin", self.path("bin")).unwrap();
    }

    fn path(&self, below: &str) -> PathBuf {
        self.outside.path().join("root").join(below)
    }

    fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path(below)).unwrap()
    }

    fn install(&self, bytes: Vec<u8>) -> Result<InstalledWheel, WheelError> {
        let wheel = Wheel::from_bytes(bytes, &UnpackLimits::default())?;
        wheel.check_identity(&artefact("made-thing", "1.0"))?;
        wheel.install(&self.rootfs, PYTHON)
    }

    fn assert_outside_untouched(&self) {
        assert_eq!(fs::read_dir(self.outside.path()).unwrap().count(), 1);
    }
}

fn artefact(name: &str, version: &str) -> PythonArtefact {
    PythonArtefact {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        filename: format!("{name}-{version}-py3-none-any.whl"),
        size: 0,
        sha256: BlobDigest::of(b""),
        built: None,
    }
}

fn good_files() -> Vec<Entry> {
    vec![
        file("made/", b""),
        file("made/__init__.py", b"x = 1\n"),
        Entry {
            mode: 0o100_755,
            ..file("made/tool.sh", b"#!/bin/sh\n")
        },
        Entry {
            method: 0,
            ..file("made/native.so", b"\x7fELF")
        },
        file("made.pth", b"import made\n"),
        file("Made_Thing-1.0-py3.13.egg-info/PKG-INFO", b""),
        file("made/sitecustomize.py", b""),
        file("made_thing-1.0.data/purelib/pure.py", b"1"),
        file("made_thing-1.0.data/scripts/run", b"#!python\nprint(1)\n"),
        // The wrapper of an entry point, as an old setuptools packed it: it is made anew.
        file(
            "made_thing-1.0.data/scripts/made",
            b"#!python\nimport pkg_resources\n",
        ),
        file("made_thing-1.0.data/headers/made.h", b"int x;"),
        file("made_thing-1.0.data/data/share/made/a,b.txt", b"data"),
        file("made_thing-1.0.dist-info/INSTALLER", b"someone\n"),
        file(
            "made_thing-1.0.dist-info/entry_points.txt",
            b"[console_scripts]\nmade = made.cli:app.main [x]\n",
        ),
    ]
}

#[test]
fn a_wheel_is_installed_where_debian_looks() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.add_programs();
    let installed = site.install(wheel(&good_files())).unwrap();
    site.rootfs.settle(installed.newest_mtime).unwrap();
    assert_eq!(
        (
            installed.name.as_str(),
            installed.version.as_str(),
            installed.native
        ),
        ("Made.Thing", "1.0", true)
    );
    assert_eq!(installed.metadata.stated_licence().as_deref(), Some("MIT"));
    assert_eq!(installed.newest_mtime, MTIME);
    assert_eq!(installed.pth_files[0].path, format!("/{SITE}/made.pth"));
    assert_eq!(installed.pth_files[0].code, ["import made"]);
    assert_eq!(site.read("usr/local/bin/run"), "#!/usr/bin/python3\nprint(1)\n");
    assert_eq!(
        site.read("usr/local/include/python3.13/Made.Thing/made.h"),
        "int x;"
    );
    assert_eq!(site.read("usr/local/share/made/a,b.txt"), "data");
    assert_eq!(site.read(&format!("{SITE}/pure.py")), "1");
    assert_eq!(
        site.read(&format!("{SITE}/made_thing-1.0.dist-info/INSTALLER")),
        "cooper\n"
    );
    let script = site.read("usr/local/bin/made");
    assert!(
        script.starts_with("#!/usr/bin/python3\nimport sys\nfrom made.cli import app\n"),
        "{script}"
    );
    assert!(script.ends_with("    sys.exit(app.main())\n"), "{script}");
    let status = |below: &str| fs::metadata(site.path(below)).unwrap();
    let mode = |below: &str| status(below).mode() & 0o7777;
    assert_eq!(mode(&format!("{SITE}/made/tool.sh")), 0o755);
    assert_eq!(mode(&format!("{SITE}/made/__init__.py")), 0o644);
    assert_eq!(
        (
            mode("usr/local/bin/run"),
            mode("usr/local/bin/made"),
            mode("usr/local/bin")
        ),
        (0o755, 0o755, 0o755)
    );
    for below in [
        "usr/local/bin/made",
        "usr/local/bin/run",
        SITE,
        &format!("{SITE}/made_thing-1.0.dist-info/RECORD"),
    ] {
        assert_eq!(
            (status(below).mtime(), status(below).uid(), status(below).gid()),
            (MTIME, 0, 0),
            "{below}"
        );
    }
}

#[test]
fn the_new_record_lists_what_is_there() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let installed = site.install(wheel(&good_files())).unwrap();
    let text = site.read(&format!("{SITE}/made_thing-1.0.dist-info/RECORD"));
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.is_sorted_by_key(|line| line.trim_start_matches('"').split([',', '"']).next().unwrap()),
        "{text}"
    );
    assert!(
        text.contains("\n\"../../../share/made/a,b.txt\",sha256=")
            && lines.contains(&"made_thing-1.0.dist-info/RECORD,,")
    );
    assert_eq!(lines.len(), installed.files.len());
    for line in lines.iter().filter(|line| !line.ends_with(",,")) {
        let (path, rest) = match line.strip_prefix('"') {
            Some(quoted) => quoted.split_once("\",").unwrap(),
            None => line.split_once(',').unwrap(),
        };
        let body = fs::read(site.path(SITE).join(path)).unwrap();
        assert_eq!(rest, format!("{},{}", hash(&body), body.len()), "{path}");
    }
    let again = Site::new();
    again.install(wheel(&good_files())).unwrap();
    assert_eq!(
        again.read(&format!("{SITE}/made_thing-1.0.dist-info/RECORD")),
        text
    );
}

#[test]
fn shipped_bytecode_of_shipped_sources_is_left_out() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    let kept = [
        "made/__pycache__/gone.cpython-313.pyc",
        "made/pure.pyc",
        "made/__pycache__/note.txt",
    ];
    let dropped = [
        "__pycache__/top.cpython-313.pyc",
        "made/__pycache__/pure.cpython-313.pyc",
        "made/__pycache__/pure.cpython-39.opt-2.pyc",
        "made_thing-1.0.data/purelib/made/__pycache__/other.pypy311-pp73.pyc",
    ];
    let sources = [
        "top.py",
        "made/pure.py",
        "made_thing-1.0.data/platlib/made/other.py",
    ];
    let names = kept.iter().chain(&dropped).chain(&sources);
    let files: Vec<Entry> = names.map(|name| file(name, name.as_bytes())).collect();
    let installed = site.install(wheel(&files)).unwrap();
    let record = site.read(&format!("{SITE}/made_thing-1.0.dist-info/RECORD"));
    for name in kept {
        assert_eq!(site.read(&format!("{SITE}/{name}")), name);
        assert!(record.contains(&format!("{name},sha256=")), "{name}: {record}");
    }
    for name in dropped {
        let name = name.trim_start_matches("made_thing-1.0.data/purelib/");
        assert!(!site.path(&format!("{SITE}/{name}")).exists(), "{name}");
        assert!(!record.contains(name), "{name}: {record}");
        assert!(!installed.files.contains(&format!("/{SITE}/{name}")), "{name}");
    }
}

#[test]
fn manual_pages_go_where_debian_s_link_leads() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    fs::create_dir_all(site.path("usr/local/share/man")).unwrap();
    symlink("share/man", site.path("usr/local/man")).unwrap();
    let page = file("made_thing-1.0.data/data/man/man1/made.1", b".TH MADE 1\n");
    site.install(wheel(&[page])).unwrap();
    assert_eq!(site.read("usr/local/share/man/man1/made.1"), ".TH MADE 1\n");
    let record = site.read(&format!("{SITE}/made_thing-1.0.dist-info/RECORD"));
    assert!(
        record.contains("../../../share/man/man1/made.1,sha256="),
        "{record}"
    );
}

#[test]
fn hostile_entries_are_refused() {
    if !is_root() {
        return;
    }
    let plain = |name: &str| file(name, b"x");
    let unicode = [0x75, 0x70, 9, 0, 1, 0, 0, 0, 0, b'b', b'.', b'p', b'y'].to_vec();
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("a `..`", vec![plain("../evil.py")]),
        ("a `..`", vec![plain("made/../../evil.py")]),
        ("a `..`", vec![plain("made_thing-1.0.data/data/../../../evil")]),
        ("absolute", vec![plain("/etc/evil")]),
        ("absolute", vec![plain("//evil")]),
        ("another system", vec![plain("..\\evil.py")]),
        ("another system", vec![plain("C:/evil.py")]),
        ("another system", vec![plain("./evil.py")]),
        ("empty component", vec![plain("a//b")]),
        ("no image can hold", vec![plain("made/.wh.evil")]),
        ("control character", vec![plain("a\nb.py")]),
        ("control character", vec![plain("a\0b.py")]),
        ("there twice", vec![plain("a.py"), plain("a.py")]),
        (
            "there twice",
            vec![
                plain("a"),
                Entry {
                    body: Vec::new(),
                    ..plain("a/")
                },
            ],
        ),
        (
            "two files of the wheel",
            vec![plain("a.py"), plain("made_thing-1.0.data/purelib/a.py")],
        ),
        ("not a directory", vec![plain("a"), plain("a/b.py")]),
        (
            "symbolic link",
            vec![Entry {
                mode: 0o120_777,
                ..file("a", b"/etc/passwd")
            }],
        ),
        (
            "neither a file",
            vec![Entry {
                mode: 0o020_644,
                ..plain("a")
            }],
        ),
        (
            "neither a file",
            vec![Entry {
                mode: 0o040_755,
                ..plain("a")
            }],
        ),
        (
            "not UTF-8",
            vec![Entry {
                name: b"a\xff.py".to_vec(),
                ..plain("a")
            }],
        ),
        (
            "encrypted",
            vec![Entry {
                flags: 1,
                ..plain("a")
            }],
        ),
        (
            "encrypted",
            vec![Entry {
                flags: 1 << 13,
                ..plain("a")
            }],
        ),
        (
            "wheels do not use",
            vec![Entry {
                method: 12,
                ..plain("a")
            }],
        ),
        (
            "another size",
            vec![Entry {
                size_lie: 1,
                ..plain("a")
            }],
        ),
        (
            "another size",
            vec![Entry {
                size_lie: u32::MAX,
                ..plain("a")
            }],
        ),
        (
            "two sizes",
            vec![Entry {
                method: 0,
                size_lie: 1,
                ..plain("a")
            }],
        ),
        (
            "checksum",
            vec![Entry {
                checksum_lie: 1,
                ..plain("a")
            }],
        ),
        (
            "checksum",
            vec![Entry {
                method: 0,
                checksum_lie: 1,
                ..plain("a")
            }],
        ),
        (
            "contradicts",
            vec![Entry {
                local_name: Some(b"b.py".to_vec()),
                ..plain("a.py")
            }],
        ),
        (
            "two names",
            vec![Entry {
                extra: unicode,
                ..plain("a.py")
            }],
        ),
        ("directory with a size", vec![plain("a/")]),
        (
            "2 `.dist-info` directories",
            vec![plain("other-1.dist-info/METADATA")],
        ),
        (
            "another distribution",
            vec![plain("made_thing-1.0.data/purelib/other-1.dist-info/METADATA")],
        ),
        (
            "another distribution",
            vec![plain(
                "made_thing-1.0.data/data/lib/python3.13/dist-packages/other-1.dist-info/RECORD",
            )],
        ),
        ("another distribution", vec![plain("Other-1.DIST-INFO/METADATA")]),
        ("another distribution", vec![plain("other.egg-info")]),
        (
            "another distribution",
            vec![plain("other-1.0-py3.13.egg-info/PKG-INFO")],
        ),
        (
            "another distribution",
            vec![plain("made_thing-1.0.data/platlib/Other.Egg-Info/PKG-INFO")],
        ),
        ("at every start", vec![plain("sitecustomize.py")]),
        ("at every start", vec![plain("usercustomize/__init__.py")]),
        (
            "at every start",
            vec![plain(
                "made_thing-1.0.data/purelib/sitecustomize.cpython-313-x86_64-linux-gnu.so",
            )],
        ),
        (
            "place of `/usr/bin/python3`",
            vec![plain("made_thing-1.0.data/scripts/python3")],
        ),
        (
            "place of `/usr/sbin/adduser`",
            vec![plain("made_thing-1.0.data/data/bin/adduser")],
        ),
        (
            "place of `/usr/bin/python3`",
            vec![plain("made_thing-1.0.data/data/sbin/python3")],
        ),
        (
            "place of `/usr/bin/awk`",
            vec![file(
                "made_thing-1.0.dist-info/entry_points.txt",
                b"[console_scripts]\nawk = a:b\n",
            )],
        ),
        ("no place", vec![plain("made_thing-1.0.data/lib/a.py")]),
        ("no place", vec![plain("made_thing-1.0.data/a.py")]),
        (
            "`name = module:object`",
            vec![file(
                "made_thing-1.0.dist-info/entry_points.txt",
                b"[console_scripts]\n../x = a:b\n",
            )],
        ),
    ];
    for (reason, files) in cases {
        let site = Site::new();
        site.add_programs();
        let shown = String::from_utf8_lossy(&files[0].name).into_owned();
        let error = site.install(wheel(&files)).unwrap_err();
        assert!(
            chain(&error).contains(reason),
            "{reason}, {shown}: {}",
            chain(&error)
        );
        site.assert_outside_untouched();
    }
}

#[test]
fn a_record_that_lies_is_refused() {
    if !is_root() {
        return;
    }
    let entries = with_metadata(&[file("made.py", b"x = 1\n")]);
    let honest = record(&entries);
    let line = |hash: &str, size: &str| {
        honest.replace(
            &format!("{},6", self::hash(b"x = 1\n")),
            &format!("{hash},{size}"),
        )
    };
    let cases = [
        ("not listed", honest.replace("made.py", "other.py")),
        ("is not there", format!("{honest}ghost.py,{},1\n", hash(b"x"))),
        ("is not there", format!("{honest}../../evil,{},1\n", hash(b"x"))),
        ("does not have the hash", line(&hash(b"other"), "6")),
        ("does not have the size", line(&hash(b"x = 1\n"), "7")),
        ("no hash", line("", "6")),
        ("not accepted", line("md5=rL0Y20zC-Fzt72VPzMSk2A", "6")),
        ("not accepted", line("sha1=C-7Hteo_D9vJXQ3UfzxbwnXaijM", "6")),
        ("contradict", format!("{honest}made.py,{},6\n", hash(b"other"))),
        ("path,hash,size", format!("{honest}nonsense\n")),
    ];
    for (reason, text) in cases {
        let mut all = entries.clone();
        all.push(file("made_thing-1.0.dist-info/RECORD", text.as_bytes()));
        let error = Site::new().install(zip(&all)).unwrap_err();
        assert!(
            matches!(error, WheelError::Record { .. }) && chain(&error).contains(reason),
            "{reason}: {}",
            chain(&error)
        );
    }
    let mut all = entries.clone();
    all.push(file("made_thing-1.0.dist-info/RECORD", honest.as_bytes()));
    Site::new().install(zip(&all)).unwrap();
    assert!(
        chain(&Site::new().install(zip(&entries)).unwrap_err())
            .contains("no file `made_thing-1.0.dist-info/RECORD`")
    );
}

#[test]
fn another_distribution_than_the_lock_says_is_refused() {
    let made = Wheel::from_bytes(wheel(&[]), &UnpackLimits::default()).unwrap();
    for (name, version) in [("Made_thing", "1.0"), ("made.thing", "1.0.0")] {
        made.check_identity(&artefact(name, version)).unwrap();
    }
    for (name, version) in [("made", "1.0"), ("made-thing", "1.1")] {
        let error = made.check_identity(&artefact(name, version)).unwrap_err();
        assert!(matches!(error, WheelError::Identity { .. }));
    }
}

#[test]
fn a_wheel_for_something_else_than_its_name_says_is_refused() {
    // Inside it says `py3-none-any`.
    let made = Wheel::from_bytes(wheel(&[]), &UnpackLimits::default()).unwrap();
    for tags in ["py3-none-any", "py3-none-manylinux_2_28_x86_64", "1-py3-none-any"] {
        made.check_tags(&format!("made_thing-1.0-{tags}.whl")).unwrap();
    }
    for (tags, left) in [
        (
            "py2.py3-none-any",
            "named for py2-none-any, its `WHEEL` file says py3-none-any",
        ),
        (
            "cp313-cp313-manylinux_2_28_x86_64",
            "cp313-cp313-manylinux_2_28_x86_64",
        ),
        ("any", "named for nothing"),
    ] {
        let error = made
            .check_tags(&format!("made_thing-1.0-{tags}.whl"))
            .unwrap_err();
        assert!(
            matches!(error, WheelError::Tags { .. }) && error.to_string().contains(left),
            "{error}"
        );
    }
    let file = tempfile::tempfile().unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &wheel(&[]), 0).unwrap();
    let artefact = PythonArtefact {
        filename: "made_thing-1.0-cp313-cp313-linux_x86_64.whl".to_owned(),
        ..artefact("made-thing", "1.0")
    };
    let refused = Wheel::open_as(file, &artefact, &UnpackLimits::default()).unwrap_err();
    assert!(matches!(refused, WheelError::Tags { .. }), "{refused}");
}

#[test]
fn damaged_zip_frames_are_refused() {
    let good = wheel(&good_files());
    let at = |offset: usize, byte: u8| {
        let mut bytes = good.clone();
        let place = bytes.len() - 22 + offset;
        bytes[place] = byte;
        bytes
    };
    let mut prefixed = b"prefix".to_vec();
    prefixed.extend(&good);
    let mut suffixed = good.clone();
    suffixed.extend(b"suffix");
    let mut overlapping = good.clone();
    let second = good
        .windows(4)
        .enumerate()
        .filter(|(_, w)| *w == b"PK\x01\x02")
        .nth(1)
        .unwrap()
        .0;
    overlapping[second + 42..second + 46].fill(0);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("too short", Vec::new()),
        ("no end record", good[..good.len() - 1].to_vec()),
        ("no end record", suffixed),
        ("does not end where", prefixed),
        ("does not end where", at(12, 1)),
        ("one part of several", at(4, 1)),
        ("one part of several", at(8, 1)),
        ("overlap", overlapping),
    ];
    for (reason, bytes) in cases {
        let error = Wheel::from_bytes(bytes, &UnpackLimits::default()).unwrap_err();
        assert!(chain(&error).contains(reason), "{reason}: {}", chain(&error));
    }
}

#[test]
fn bombs_are_refused_before_they_are_unpacked() {
    let bomb = wheel(&[file("zeros", &vec![0; 4 << 20])]);
    let small = UnpackLimits {
        total_bytes_max: 1 << 20,
        ..UnpackLimits::default()
    };
    assert!(chain(&Wheel::from_bytes(bomb.clone(), &small).unwrap_err()).contains("more than 1048576 bytes"));
    let one = UnpackLimits {
        file_bytes_max: 1 << 20,
        ..UnpackLimits::default()
    };
    assert!(chain(&Wheel::from_bytes(bomb.clone(), &one).unwrap_err()).contains("limit for one file"));
    let few = UnpackLimits {
        entries_max: 3,
        ..UnpackLimits::default()
    };
    assert!(chain(&Wheel::from_bytes(bomb, &few).unwrap_err()).contains("more than 3 entries"));
    let lying = wheel(&[Entry {
        size_lie: 1 << 30,
        ..file("zeros", b"0")
    }]);
    assert!(
        chain(&Wheel::from_bytes(lying, &UnpackLimits::default()).unwrap_err()).contains("unpacks to more")
    );
}

#[test]
fn large_files_are_streamed_and_checked_too() {
    if !is_root() {
        return;
    }
    let body = vec![7; (64 << 20) + 1];
    let site = Site::new();
    let installed = site.install(wheel(&[file("large.bin", &body)])).unwrap();
    assert!(installed.bytes > 64 << 20);
    assert_eq!(
        fs::metadata(site.path(SITE).join("large.bin")).unwrap().len(),
        body.len() as u64
    );
    let error = Site::new()
        .install(wheel(&[Entry {
            checksum_lie: 1,
            ..file("large.bin", &body)
        }]))
        .unwrap_err();
    assert!(chain(&error).contains("checksum"), "{}", chain(&error));
    let entries = with_metadata(&[file("large.bin", &body)]);
    let text = record(&entries).replace(&hash(&body), &hash(b""));
    let lying = [
        entries,
        vec![file("made_thing-1.0.dist-info/RECORD", text.as_bytes())],
    ]
    .concat();
    let error = Site::new().install(zip(&lying)).unwrap_err();
    assert!(
        chain(&error).contains("does not have the hash"),
        "{}",
        chain(&error)
    );
}

/// The wheel of another distribution with these files.
fn other_wheel(files: &[Entry]) -> Vec<u8> {
    let rename = |text: Vec<u8>| {
        let text = String::from_utf8(text).unwrap();
        text.replace("made_thing", "other")
            .replace("Made.Thing", "other")
            .into_bytes()
    };
    let mut entries = with_metadata(files);
    for entry in &mut entries {
        (entry.name, entry.body) = (rename(entry.name.clone()), rename(entry.body.clone()));
    }
    let text = record(&entries).replace("made_thing", "other");
    entries.push(file("other-1.0.dist-info/RECORD", text.as_bytes()));
    zip(&entries)
}

#[test]
fn distributions_may_share_equal_files_only() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    site.install(wheel(&[file("space/__init__.py", b"")])).unwrap();
    let install_other = |files: &[Entry]| {
        let other = Wheel::from_bytes(other_wheel(files), &UnpackLimits::default()).unwrap();
        other.install(&site.rootfs, PYTHON)
    };
    install_other(&[Entry {
        mode: 0o100_755,
        ..file("space/__init__.py", b"")
    }])
    .unwrap();
    site.rootfs.settle(0).unwrap();
    assert_eq!(
        fs::metadata(site.path(SITE).join("space/__init__.py"))
            .unwrap()
            .mode()
            & 0o777,
        0o755
    );
    let site = Site::new();
    site.install(wheel(&[file("space/__init__.py", b"")])).unwrap();
    let other = Wheel::from_bytes(
        other_wheel(&[file("space/__init__.py", b"x")]),
        &UnpackLimits::default(),
    )
    .unwrap();
    let error = other.install(&site.rootfs, PYTHON).unwrap_err();
    assert!(
        matches!(&error, WheelError::Conflict { distribution, other, .. } if distribution == "other" && other == "Made.Thing"),
        "{}",
        chain(&error)
    );
}

#[test]
fn of_documents_beside_all_libraries_the_first_one_stays() {
    let site = Site::new();
    let first = site
        .install(wheel(&[file("LICENSE", b"first"), file("made.txt", b"")]))
        .unwrap();
    assert!(first.left_out.is_empty());
    let install = |files: &[Entry]| {
        let other = Wheel::from_bytes(other_wheel(files), &UnpackLimits::default()).unwrap();
        other.install(&site.rootfs, PYTHON)
    };
    let second = install(&[file("LICENSE", b"second"), file("other/__init__.py", b"")]).unwrap();
    assert_eq!(second.left_out, [format!("/{SITE}/LICENSE (of Made.Thing)")]);
    assert_eq!(site.read(&format!("{SITE}/LICENSE")), "first");
    let record = second
        .files
        .iter()
        .find(|path| path.ends_with("/RECORD"))
        .unwrap();
    let record = site.read(record.trim_start_matches('/'));
    assert!(
        record.contains("other/__init__.py") && !record.contains("LICENSE"),
        "{record}"
    );
    // What is imported, or belongs to a library, is none.
    for path in ["module.py", "native.so", "start.pth", "space/LICENSE"] {
        let site = Site::new();
        site.install(wheel(&[file(path, b"1")])).unwrap();
        let other = Wheel::from_bytes(other_wheel(&[file(path, b"2")]), &UnpackLimits::default()).unwrap();
        let error = other.install(&site.rootfs, PYTHON).unwrap_err();
        assert!(matches!(error, WheelError::Conflict { .. }), "{path}");
    }
}

#[test]
fn links_in_the_tree_are_refused() {
    if !is_root() {
        return;
    }
    let site = Site::new();
    fs::create_dir_all(site.path(SITE)).unwrap();
    symlink(site.outside.path(), site.path(SITE).join("made")).unwrap();
    let error = site.install(wheel(&[file("made/evil.py", b"x")])).unwrap_err();
    assert!(chain(&error).contains("symbolic link"), "{}", chain(&error));
    symlink("../../../../../../../evil", site.path(SITE).join("a.py")).unwrap();
    assert!(site.install(wheel(&[file("a.py", b"x")])).is_err());
    site.assert_outside_untouched();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_wheels_never_panic_or_escape(at: prop::sample::Index, byte: u8, cut: prop::sample::Index, cuts: bool) {
        let site = Site::new();
        let mut bytes = wheel(&good_files());
        let place = at.index(bytes.len());
        bytes[place] = byte;
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = site.install(bytes);
        site.assert_outside_untouched();
    }
}
