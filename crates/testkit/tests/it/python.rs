use cooper_core::Digest;
use serde_json::Value;
use testkit::zip::write_zip;
use testkit::{Hashes, PythonIndex, Record, Sdist, Server, Wheel, ZipEntry};

use crate::oracle::{present, run, run_well};

fn sample() -> Wheel {
    Wheel::new("Made_Tool.Kit", "1.2")
        .package("made_tool", "def main():\n    print('made')\n")
        .data("scripts", "made-script", "#!python\nprint('script')\n", 0o755)
        .entry_point("console_scripts", "made = made_tool:main")
        .requires_python(">=3.8")
        .requires("requests>=2 ; python_version >= \"3.8\"")
        .extra("fast", "cython")
        .licence("MIT")
}

#[test]
fn python_reads_what_the_builder_writes() {
    if !present("python3", "python_reads_what_the_builder_writes") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let wheel = sample();
    assert_eq!(wheel.file_name(), "made_tool_kit-1.2-py3-none-any.whl");
    std::fs::write(folder.path().join(wheel.file_name()), wheel.build()).unwrap();
    run_well(
        "python3",
        &["-m", "zipfile", "-t", &wheel.file_name()],
        folder.path(),
    );
    let listing = run_well(
        "python3",
        &["-m", "zipfile", "-l", &wheel.file_name()],
        folder.path(),
    );
    for part in [
        "made_tool/__init__.py",
        "made_tool_kit-1.2.dist-info/RECORD",
        ".data/scripts/made-script",
    ] {
        assert!(listing.contains(part), "{part} in {listing}");
    }
    let mode =
        "import sys, zipfile; print(oct(zipfile.ZipFile(sys.argv[1]).infolist()[1].external_attr >> 16))";
    assert_eq!(
        run_well("python3", &["-c", mode, &wheel.file_name()], folder.path()),
        "0o100755\n"
    );
}

#[test]
fn pip_installs_from_the_made_index() {
    if !present("pip", "pip_installs_from_the_made_index") {
        return;
    }
    let index = PythonIndex::new()
        .wheel(sample())
        .wheel(
            sample()
                .hashes(Hashes::Wrong)
                .filename("made_tool_kit-1.3-py3-none-any.whl"),
        )
        .wheel(Wheel::new("requests", "2.31").with_metadata_file())
        .wheel(Wheel::new("requests", "2.99").requires_python(">=4"))
        .wheel(Wheel::new("requests", "2.98").yanked("broken"));
    let server = Server::start(index.routes());
    let folder = tempfile::tempdir().unwrap();
    let url = server.url("simple/");
    let install = |requirement: &str| {
        let options = [
            "install",
            "--isolated",
            "--no-cache-dir",
            "--target",
            "out",
            "--index-url",
            &url,
        ];
        run("pip", &[&options[..], &[requirement]].concat(), folder.path())
    };
    let good = install("made-tool-kit==1.2");
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stderr));
    assert!(
        folder
            .path()
            .join("out/requests-2.31.dist-info/METADATA")
            .is_file()
    );
    assert!(folder.path().join("out/bin/made").is_file());
    assert_eq!(server.count("/files/requests-2.31-py3-none-any.whl.metadata"), 1);

    let bad = install("made-tool-kit==1.3");
    let errors = String::from_utf8_lossy(&bad.stderr);
    assert!(
        !bad.status.success() && errors.contains("DO NOT MATCH THE HASHES"),
        "{errors}"
    );
}

#[test]
fn the_index_says_what_was_built() {
    let wheel = sample()
        .yanked("")
        .uploaded("2024-05-06T07:08:09.000000Z")
        .with_metadata_file();
    let index = PythonIndex::new()
        .wheel(wheel.clone())
        .wheel(
            Wheel::new("made-tool-kit", "2.0")
                .hashes(Hashes::Missing)
                .claimed_size(5),
        )
        .sdist(Sdist::new("made.tool_kit", "0.9").requires("docopt"));
    let routes = index.routes();
    let page: Value = serde_json::from_slice(routes.body("/simple/made-tool-kit/").unwrap()).unwrap();
    assert_eq!(page["versions"], serde_json::json!(["0.9", "1.2", "2.0"]));
    let files = page["files"].as_array().unwrap();
    assert_eq!(files[0]["filename"], "made_tool_kit-0.9.tar.gz");
    let bytes = routes.body("/files/made_tool_kit-1.2-py3-none-any.whl").unwrap();
    assert_eq!(files[1]["hashes"]["sha256"], Digest::of(bytes).hex());
    assert_eq!(files[1]["size"], bytes.len());
    assert_eq!(
        (&files[1]["yanked"], &files[0]["yanked"]),
        (&Value::Bool(true), &Value::Bool(false))
    );
    assert_eq!(files[1]["upload-time"], "2024-05-06T07:08:09.000000Z");
    assert_eq!(
        files[1]["core-metadata"]["sha256"],
        Digest::of(wheel.metadata().as_bytes()).hex()
    );
    assert_eq!(
        (&files[2]["hashes"], &files[2]["size"]),
        (&serde_json::json!({}), &serde_json::json!(5))
    );
}

#[test]
fn records_lie_where_they_are_told_to() {
    let text = |record: Record| {
        let bytes = Wheel::new("a", "1").file("a.py", "1").record(record).build();
        read_stored(&bytes, "a-1.dist-info/RECORD")
    };
    let good = text(Record::Right).unwrap();
    assert!(
        good.starts_with("a.py,sha256=a4ayc_80_OGda4BO_1o_V0etpOqiLx1JwB5S3beHW0s,1\n"),
        "{good}"
    );
    assert!(good.ends_with("a-1.dist-info/RECORD,,\n"), "{good}");
    assert_eq!(text(Record::Absent), None);
    assert_ne!(text(Record::WrongHash("a.py".into())).unwrap(), good);
    assert!(
        text(Record::WrongSize("a.py".into()))
            .unwrap()
            .contains(",2\na-1")
    );
    assert!(!text(Record::Without("a.py".into())).unwrap().contains("a.py"));
    assert!(
        text(Record::With("ghost.py".into()))
            .unwrap()
            .contains("ghost.py")
    );
}

/// The content of an entry, found through the central directory; only what this file needs.
fn read_stored(zip: &[u8], name: &str) -> Option<String> {
    let word = |at: usize| u32::from_le_bytes(zip[at..at + 4].try_into().unwrap()) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes(zip[at..at + 2].try_into().unwrap()));
    let end = zip.len() - 22;
    let mut at = word(end + 16);
    for _ in 0..half(end + 10) {
        let (name_length, compressed, size, local) =
            (half(at + 28), word(at + 20), word(at + 24), word(at + 42));
        if &zip[at + 46..at + 46 + name_length] == name.as_bytes() {
            let start = local + 30 + half(local + 26);
            let mut out = vec![0; size];
            let data = &zip[start..start + compressed];
            libdeflater::Decompressor::new()
                .deflate_decompress(data, &mut out)
                .unwrap();
            return Some(String::from_utf8(out).unwrap());
        }
        at += 46 + name_length;
    }
    None
}

#[test]
fn python_sees_hostile_entries_as_they_are_meant() {
    if !present("python3", "python_sees_hostile_entries_as_they_are_meant") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_zip(&[
        ZipEntry::file("../evil.py", "x"),
        ZipEntry::symlink("link", "/etc/passwd"),
        ZipEntry::bomb("bomb", 20_000_000),
        ZipEntry::sharing("twin", 2),
        ZipEntry::file("liar", "four").claimed_size(9999).claimed_crc(7),
        ZipEntry::file("central", "x").local_name("another"),
        ZipEntry::directory("folder/"),
    ]);
    assert!(bytes.len() < 100_000, "{}", bytes.len());
    std::fs::write(folder.path().join("a.zip"), bytes).unwrap();
    let script = "import zipfile\nfor i in zipfile.ZipFile('a.zip').infolist():\n print(i.filename, i.file_size, oct(i.external_attr >> 16), i.header_offset)";
    let seen = run_well("python3", &["-c", script], folder.path());
    let lines: Vec<&str> = seen.lines().collect();
    assert_eq!(lines[0], "../evil.py 1 0o100644 0");
    assert!(lines[1].starts_with("link 11 0o120777"), "{seen}");
    let offset = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
    assert!(
        lines[3].starts_with("twin 20000000 ") && offset(lines[3]) == offset(lines[2]),
        "{seen}"
    );
    assert!(lines[4].starts_with("liar 9999 "), "{seen}");
    assert!(lines[6].starts_with("folder/ 0 0o40755"), "{seen}");
    assert!(
        !run("python3", &["-m", "zipfile", "-t", "a.zip"], folder.path())
            .stdout
            .starts_with(b"Done")
    );
}
