use std::path::Path;

use cooper_core::Digest;
use cooper_core::base::{Base, SuiteKind};
use testkit::ar::ArMember;
use testkit::{Compression, DebPackage, DebianArchive, Flaw, Signing, SigningKey, TarEntry};

use crate::oracle::{present, run, run_well};

fn sample(compression: Compression) -> DebPackage {
    DebPackage::new("tool", "1:2.0-3")
        .source("toolbox (2.0)")
        .depends("libc6 (>= 2.34)")
        .depends("dash | bash")
        .file("usr/bin/tool", "#!/bin/sh\necho tool\n", 0o755)
        .symlink("usr/bin/alias", "tool")
        .hard_link("usr/bin/twin", "usr/bin/tool")
        .conffile("etc/tool.conf", "a=1\n")
        .entry(
            TarEntry::file("var/lib/tool/data", "x")
                .mode(0o640)
                .owner((1, "daemon"), (8, "mail")),
        )
        .script("postinst", "#!/bin/sh\nset -e\n")
        .trigger("activate-noawait ldconfig")
        .file(&format!("usr/share/{}/deep", "long/".repeat(30)), "deep", 0o644)
        .compression(compression)
}

#[test]
fn dpkg_deb_reads_what_the_builder_writes() {
    if !present("dpkg-deb", "dpkg_deb_reads_what_the_builder_writes") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for compression in [Compression::None, Compression::Gzip, Compression::Xz] {
        std::fs::write(folder.path().join("a.deb"), sample(compression).build()).unwrap();
        let info = run_well("dpkg-deb", &["-I", "a.deb"], folder.path());
        for line in [
            " Package: tool",
            " Version: 1:2.0-3",
            " Depends: libc6 (>= 2.34), dash | bash",
            "conffiles",
        ] {
            assert!(info.contains(line), "{line} in {info}");
        }
        let listing = run_well("dpkg-deb", &["-c", "a.deb"], folder.path());
        for part in [
            "-rwxr-xr-x root/root",
            "./usr/bin/alias -> tool",
            "./usr/bin/twin link to ./usr/bin/tool",
            "-rw-r----- daemon/mail",
            &"long/".repeat(30),
        ] {
            assert!(listing.contains(part), "{part} in {listing}");
        }
        run_well("dpkg-deb", &["-x", "a.deb", "out"], folder.path());
        assert_eq!(
            std::fs::read(folder.path().join("out/etc/tool.conf")).unwrap(),
            b"a=1\n"
        );
    }
}

#[test]
fn packages_are_the_same_bytes_each_time_and_can_be_bad() {
    let plain = sample(Compression::Xz);
    assert_eq!(plain.build(), plain.build());
    assert_eq!(plain.pool_path(), "main/t/toolbox/tool_2.0-3_amd64.deb");
    let contains = |package: DebPackage, part: &[u8]| {
        package
            .compression(Compression::None)
            .build()
            .windows(part.len())
            .any(|window| window == part)
    };
    assert!(contains(
        plain.clone().raw_entry(TarEntry::file("../../evil", "x")),
        b"../../evil\0"
    ));
    assert!(contains(
        plain
            .clone()
            .raw_entry(TarEntry::file("/evil", "x").claimed_size(1 << 40)),
        b"/evil\0"
    ));
    assert!(contains(
        plain.clone().member(ArMember::new("extra", "y").claimed_size(99)),
        b"99        `\ny"
    ));
    assert!(!contains(plain.clone().without_member("data"), b"data.tar"));
    assert!(contains(
        plain.control_text("Package: other\n"),
        b"Package: other\n"
    ));
}

/// gpgv's verdict on an archive's `InRelease`, with its status lines.
fn gpgv(archive: &DebianArchive, key: &SigningKey) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key.gpg"), key.certificate()).unwrap();
    std::fs::write(
        folder.path().join("InRelease"),
        archive.in_release(SuiteKind::Release).unwrap(),
    )
    .unwrap();
    let arguments = ["--status-fd", "1", "--keyring", "./key.gpg", "InRelease"];
    let output = run("gpgv", &arguments, folder.path());
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text.into_owned())
}

#[test]
fn gpgv_accepts_good_signatures_and_only_those() {
    if !present("gpgv", "gpgv_accepts_good_signatures_and_only_those") {
        return;
    }
    let (key, stranger) = (SigningKey::archive(), SigningKey::stranger());
    let archive = DebianArchive::new(Base::Trixie);
    let (good, text) = gpgv(&archive, &key);
    let verdict = format!("VALIDSIG {}", key.subkey_fingerprint());
    assert!(
        good && text.contains(&verdict) && text.contains(&key.fingerprint()),
        "{text}"
    );

    let foreign = archive.clone().signing(&Signing::By(stranger.clone()));
    assert!(gpgv(&foreign, &stranger).0);
    let (good, text) = gpgv(&foreign, &key);
    assert!(!good && text.contains("NO_PUBKEY"), "{text}");

    let (good, text) = gpgv(&archive.clone().flaw_in(SuiteKind::Release, Flaw::Tampered), &key);
    assert!(!good && text.contains("BADSIG"), "{text}");

    let expiring = archive.clone().signing(&Signing::Expiring(key.clone(), 60));
    let (_, text) = gpgv(&expiring, &key);
    assert!(text.contains("EXPSIG"), "{text}");

    let old = SigningKey::from_seed(7, Some(86_400));
    let (_, text) = gpgv(&archive.clone().signing(&Signing::By(old.clone())), &old);
    assert!(
        text.contains("EXPKEYSIG") || text.contains("KEYEXPIRED"),
        "{text}"
    );

    let rsa = SigningKey::rsa();
    let (good, text) = gpgv(&archive.clone().signing(&Signing::By(rsa.clone())), &rsa);
    assert!(
        good && text.contains(" 1 8 01 "),
        "a signature of RSA over SHA-256: {text}"
    );

    // Newer ones refuse it; older ones only name the algorithm.
    let weak = archive.clone().signing(&Signing::Weak);
    let (good, text) = gpgv(&weak, &rsa);
    assert!(
        !good || text.contains(" 1 2 01 "),
        "a signature of RSA over SHA-1: {text}"
    );

    assert!(!gpgv(&archive.signing(&Signing::Nobody), &key).0);
}

/// The hexadecimal digests of a `Release` text, with the paths.
fn listed(release: &str) -> Vec<(String, String)> {
    let words = |line: &str| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    let lines = release.lines().filter(|line| line.starts_with(' ')).map(words);
    lines.map(|words| (words[0].clone(), words[2].clone())).collect()
}

#[test]
fn indexes_are_what_the_release_lists_and_packages_what_the_index_lists() {
    let archive = DebianArchive::with_minimal_base(Base::Trixie)
        .package(DebPackage::new("wget", "1.25.0-2").depends("libc6 (>= 2.38)"))
        .package_in(SuiteKind::Security, DebPackage::new("openssl", "3.5.4-1~deb13u1"));
    let routes = archive.routes();
    let release = String::from_utf8(routes.body("/debian/dists/trixie/Release").unwrap().to_vec()).unwrap();
    assert!(
        release.contains("\nDate: Sat, 06 Sep 2025 08:00:00 UTC\n"),
        "{release}"
    );
    let mut served = 0;
    for (digest, path) in listed(&release) {
        let Some(body) = routes.body(&format!("/debian/dists/trixie/{path}")) else {
            continue;
        };
        served += 1;
        assert_eq!(Digest::of(body).hex(), digest);
        let by_hash = format!("/debian/dists/trixie/main/binary-amd64/by-hash/SHA256/{digest}");
        assert_eq!(routes.body(&by_hash), Some(body));
    }
    assert_eq!(served, 2, "gzip and xz");

    let security = "/debian-security/dists/trixie-security/main/binary-amd64/Packages.xz";
    let index = liblzma::decode_all(routes.body(security).unwrap()).unwrap();
    let index = String::from_utf8(index).unwrap();
    let value = |field: &str| {
        let line = index.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_once(": ").unwrap().1.to_owned()
    };
    assert_eq!(
        value("Filename"),
        "pool/updates/main/o/openssl/openssl_3.5.4-1~deb13u1_amd64.deb"
    );
    let package = routes
        .body(&format!("/debian-security/{}", value("Filename")))
        .unwrap();
    assert_eq!(Digest::of(package).hex(), value("SHA256"));
    assert_eq!(package.len().to_string(), value("Size"));
}

#[test]
fn archives_can_be_bad() {
    let archive = || DebianArchive::new(Base::Bookworm).package(DebPackage::new("wget", "1-1"));
    let text = |archive: DebianArchive, path: &str| {
        archive
            .routes()
            .body(path)
            .map(|body| String::from_utf8_lossy(body).into_owned())
    };
    let in_release = "/debian/dists/bookworm/InRelease";
    let packages = "/debian/dists/bookworm/main/binary-amd64/Packages";
    let plain = archive().compressions_in(SuiteKind::Release, &[Compression::None]);
    assert!(text(plain.clone(), packages).unwrap().contains("\nSHA256: "));
    let changed = plain
        .clone()
        .stanza_field("wget", "SHA256", None)
        .stanza_field("wget", "Size", Some("1"));
    let changed = text(changed, packages).unwrap();
    assert!(
        !changed.contains("SHA256") && changed.contains("\nSize: 1\n"),
        "{changed}"
    );
    let wrong = plain.clone().flaw_in(SuiteKind::Release, Flaw::PackagesWrong);
    assert_ne!(text(wrong.clone(), packages), text(plain.clone(), packages));
    assert_eq!(text(wrong, in_release), text(plain, in_release));

    assert_eq!(text(archive().signing(&Signing::Absent), in_release), None);
    let unsigned = text(archive().signing(&Signing::Nobody), in_release).unwrap();
    assert!(unsigned.starts_with("Origin: Debian\n"), "{unsigned}");
    let dated = archive()
        .date("2024-01-01T00:00:00Z")
        .valid_until_in(SuiteKind::Release, "2024-01-08T00:00:00Z");
    assert!(
        text(dated, in_release)
            .unwrap()
            .contains("\nValid-Until: Mon, 08 Jan 2024 00:00:00 UTC\n")
    );
    let weak = text(
        archive().flaw_in(SuiteKind::Release, Flaw::ReleaseWithoutSha256),
        in_release,
    )
    .unwrap();
    assert!(
        weak.contains("\nMD5Sum:\n") && !weak.contains("SHA256:"),
        "{weak}"
    );
}

/// Unpack a made base below `root`, as dpkg would: links to directories that are there stay.
fn unpack_base(base: Base, folder: &Path) {
    let root = folder.join("root");
    std::fs::create_dir_all(&root).unwrap();
    if base == Base::Bookworm {
        for name in ["bin", "lib", "sbin", "lib64"] {
            std::fs::create_dir_all(root.join("usr").join(name)).unwrap();
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
    }
    for package in testkit::base::minimal_base(base) {
        std::fs::write(folder.join("a.deb"), package.build()).unwrap();
        let pipe = "dpkg-deb --fsys-tarfile a.deb | tar -x --keep-directory-symlink -C root -f -";
        run_well("sh", &["-c", pipe], folder);
    }
}

/// What runs in an unpacked base.
fn check_base(base: Base, folder: &Path) {
    let version = format!("Python {}.0\n", base.python());
    assert_eq!(
        run_well("chroot", &["root", "python3", "--version"], folder),
        version
    );
    assert_eq!(
        run_well("chroot", &["root", "/bin/sh", "-c", "ls /etc/passwd"], folder),
        "/etc/passwd\n"
    );
    let there = format!("root/usr/local/lib/python{}/dist-packages/there", base.python());
    std::fs::create_dir_all(folder.join(there)).unwrap();
    run_well("chroot", &["root", "python", "-c", "import there"], folder);
    run_well("chroot", &["root", "python3", "-I", "-c", "pass"], folder);
    let missing = run(
        "chroot",
        &["root", "python3", "-c", "import there, missing"],
        folder,
    );
    assert_eq!(missing.status.code(), Some(1));
    std::fs::write(folder.join("root/script.py"), "echo \"$1-$2\"; exit 7\n").unwrap();
    let script = run("chroot", &["root", "python3", "/script.py", "a", "b"], folder);
    assert_eq!((script.status.code(), &*script.stdout), (Some(7), &b"a-b\n"[..]));
}

/// The made base, unpacked over one root, runs a shell and the stub of Python where busybox is there.
#[test]
fn the_minimal_base_unpacks_and_runs() {
    let test = "the_minimal_base_unpacks_and_runs";
    if !present("dpkg-deb", test) {
        return;
    }
    for base in Base::ALL {
        let folder = tempfile::tempdir().unwrap();
        unpack_base(base, folder.path());
        assert!(folder.path().join("root/usr/bin/python3").is_symlink());
        let can_run = || {
            run("chroot", &["root", "/bin/true"], folder.path())
                .status
                .success()
        };
        if testkit::base::busybox().is_some() && can_run() {
            check_base(base, folder.path());
        } else {
            eprintln!("SKIPPED half of {test}: it needs busybox-static and root");
        }
    }
}
