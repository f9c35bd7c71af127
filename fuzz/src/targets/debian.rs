//! Debian: indexes, signatures, packages.

use std::path::Path;
use std::sync::OnceLock;

use cooper_core::base::{Base, Suite, SuiteKind};
use cooper_core::{DebianName, DebianVersion, Digest};
use cooper_image::deb::control::parse_conffiles;
use cooper_image::deb::tar::{TarError, TarLimits, TarReader};
use cooper_image::deb::{Control, Deb, Diversions, Precedence, UnpackSettings};
use cooper_image::rootfs::{Links, Rootfs, UnpackLimits};
use cooper_resolve::debian::index::{self, PackageIndex};
use cooper_resolve::debian::openpgp::{self, Keyring};
use cooper_resolve::debian::release::{self, Form, ListedFile};
use cooper_resolve::debian::stanza::Stanza;
use cooper_resolve::debian::{relation, unpack};
use testkit::{Compression, DebPackage, DebianArchive, SigningKey, TarEntry};

use super::{as_it_is, chain, counted, ending};
use crate::driver::Target;

/// One stanza of `Packages`.
pub(super) const STANZA: Target = Target {
    name: "debian-stanza",
    examples: || {
        packages_text()
            .split("\n\n")
            .map(|text| text.as_bytes().to_vec())
            .collect()
    },
    mend: as_it_is,
    run: |bytes| match Stanza::parse(bytes) {
        Ok(stanza) => {
            assert!(
                stanza.path.as_str().split('/').all(|part| part != ".."),
                "{:?}",
                stanza.path
            );
            assert_eq!(stanza.to_planned(suite()).sha256, stanza.sha256);
            "good".to_owned()
        }
        Err(error) => error.to_string(),
    },
};

/// The value of `Depends` and of `Provides`.
pub(super) const RELATIONS: Target = Target {
    name: "debian-relations",
    examples: || {
        [
            "libc6 (>= 2.34), dash | bash (<< 5:1~), python3:any",
            "a (= 1.0-1), b [amd64] <!nocheck>",
            "mail-transport-agent",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
    },
    mend: as_it_is,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let list = ending(relation::parse_list(&text));
        format!("{} / {list}", ending(relation::parse_clauses(&text)))
    },
};

/// Versions, two in a line: the order is total.
pub(super) const VERSION: Target = Target {
    name: "debian-version",
    examples: || {
        ["1.0-1\n1.0-1+b1", "2:1.0~rc1-1\n1.00", "0\n0~~", "9-9-9\n9.9.9"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec()
    },
    mend: as_it_is,
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let versions: Vec<DebianVersion> = text
            .lines()
            .take(3)
            .filter_map(|line| line.parse().ok())
            .collect();
        for a in &versions {
            assert_eq!(a.as_str().parse::<DebianVersion>().as_ref(), Ok(a));
            for b in &versions {
                assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a} and {b}");
                for c in &versions {
                    assert!(!(a <= b && b <= c) || a <= c, "{a}, {b}, {c}");
                }
            }
        }
        format!("{} versions", counted(versions.len()))
    },
};

/// A signed `InRelease`: whatever is changed, no other text is ever accepted.
pub(super) const IN_RELEASE: Target = Target {
    name: "debian-in-release",
    examples: || vec![in_release().to_vec()],
    mend: as_it_is,
    run: |bytes| match openpgp::verify(bytes, &keyring(), testkit::context::now()) {
        Ok(signed) => {
            static TEXT: OnceLock<String> = OnceLock::new();
            let original = TEXT.get_or_init(|| {
                openpgp::verify(in_release(), &keyring(), testkit::context::now())
                    .unwrap()
                    .text
            });
            assert_eq!(
                &signed.text, original,
                "a text was accepted that nobody has signed"
            );
            "good".to_owned()
        }
        Err(error) => error.to_string(),
    },
};

/// The text of a release file.
pub(super) const RELEASE: Target = Target {
    name: "debian-release",
    examples: || vec![file("/debian/dists/trixie/Release")],
    mend: as_it_is,
    run: |bytes| ending(release::parse(&String::from_utf8_lossy(bytes), suite())),
};

/// A whole `Packages` text, made compact and read back.
pub(super) const INDEX: Target = Target {
    name: "debian-index",
    examples: || vec![packages_text().as_bytes().to_vec()],
    mend: as_it_is,
    run: |bytes| match index::build(bytes) {
        Ok(compact) => read_all(
            &PackageIndex::from_bytes(compact).expect("what was built can be read"),
            true,
        ),
        Err(error) => chain(&error),
    },
};

/// The compact form, as it lies in the cache.
pub(super) const COMPACT_INDEX: Target = Target {
    name: "debian-compact-index",
    examples: || vec![index::build(packages_text().as_bytes()).unwrap()],
    mend: as_it_is,
    run: |bytes| match PackageIndex::from_bytes(bytes.to_vec()) {
        Ok(index) => read_all(&index, false),
        Err(error) => chain(&error),
    },
};

/// Compressed indexes: never more than was signed.
pub(super) const COMPRESSED_INDEX: Target = Target {
    name: "debian-compressed-index",
    examples: || {
        let text = packages_text().as_bytes();
        vec![
            Compression::Gzip.apply(text),
            Compression::Xz.apply(text),
            Compression::Xz.apply(&vec![0; 8 << 20]),
        ]
    },
    mend: as_it_is,
    run: |bytes| {
        let listed = ListedFile {
            size: packages_text().len() as u64,
            sha256: Digest::of(b""),
        };
        let forms = [Form::Gzip, Form::Xz, Form::Plain].map(|form| {
            let mut taken = 0;
            let unpacked = unpack::unpack(bytes, form, listed, |piece| taken += piece.len() as u64);
            assert!(taken <= listed.size);
            match unpacked {
                Ok(()) => "good".to_owned(),
                Err(error) => error.to_string(),
            }
        });
        forms.join(" / ")
    },
};

/// Certificates.
pub(super) const KEYRING: Target = Target {
    name: "debian-keyring",
    examples: || {
        let (one, two) = (SigningKey::archive(), SigningKey::rsa());
        vec![
            one.certificate(),
            two.certificate(),
            (one.certificate_armoured() + &two.certificate_armoured()).into_bytes(),
        ]
    },
    mend: as_it_is,
    run: |bytes| {
        let keyring = Keyring::parse(&[bytes.to_vec()]);
        let verdict = openpgp::verify(in_release(), &keyring, testkit::context::now());
        format!("{} {}", keyring.is_empty(), ending(verdict))
    },
};

/// A tar stream.
pub(super) const TAR: Target = Target {
    name: "debian-tar",
    examples: || vec![testkit::tar::write_tar(&entries(), 0)],
    mend: mend_tar_sums,
    run: |bytes| {
        let limits = TarLimits {
            bytes_max: 1 << 20,
            entries_max: 100,
            extension_bytes_max: 1 << 16,
        };
        let mut reader = TarReader::new(bytes, limits);
        let mut kinds = String::new();
        loop {
            match reader.next_entry() {
                Ok(Some(entry)) => kinds = format!("{kinds}{:?} ", entry.kind),
                Ok(None) => return kinds + "end",
                Err(error) => return kinds + &chain(&error),
            }
            let mut length = 0;
            let read = reader.read_body::<TarError>(|piece| {
                length += piece.len();
                Ok(())
            });
            assert!(length <= bytes.len());
            if let Err(error) = read {
                return kinds + &chain(&error);
            }
        }
    },
};

/// The control archive of a package.
pub(super) const CONTROL: Target = Target {
    name: "debian-control",
    examples: || {
        let text = package().paragraph();
        let scripts = [
            ("./postinst", "#!/bin/sh\n"),
            ("./conffiles", "/etc/tool.conf\n"),
            ("./triggers", "activate ldconfig\n"),
        ];
        let mut entries = vec![TarEntry::directory("./"), TarEntry::file("./control", text)];
        entries.extend(scripts.map(|(path, text)| TarEntry::file(path, text)));
        vec![testkit::tar::write_tar(&entries, 0)]
    },
    mend: mend_tar_sums,
    run: |bytes| match Control::read(bytes, &limits()) {
        Ok(control) => {
            assert!(control.package.to_string().parse::<DebianName>().is_ok());
            "good".to_owned()
        }
        Err(error) => chain(&error),
    },
};

/// The control archive's `conffiles`, and dpkg's table of diversions.
pub(super) const LISTS: Target = Target {
    name: "debian-lists",
    examples: || {
        vec![
            b"/etc/a\nremove-on-upgrade /etc/b\n".to_vec(),
            b"/bin/sh\n/bin/sh.distrib\ndash\n".to_vec(),
        ]
    },
    mend: as_it_is,
    run: |bytes| {
        format!(
            "{} / {}",
            ending(parse_conffiles(bytes)),
            ending(Diversions::parse(bytes))
        )
    },
};

/// A whole package, unpacked: nothing appears outside its root.
pub(super) const PACKAGE: Target = Target {
    name: "debian-package",
    examples: || {
        let whole = package()
            .raw_entry(TarEntry::symlink("./out", "../.."))
            .raw_entry(TarEntry::file("./out/x", "x"));
        [package(), whole]
            .map(|package| package.compression(Compression::None).build())
            .to_vec()
    },
    mend: mend_tar_sums,
    run: |bytes| match Deb::from_bytes(bytes.to_vec(), &limits()) {
        Ok(deb) => unpack_below_a_root(&deb),
        Err(error) => chain(&error),
    },
};

fn unpack_below_a_root(deb: &Deb) -> String {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/b/root");
    std::fs::create_dir_all(&root).unwrap();
    let rootfs = Rootfs::open(&root, Links::FollowInRoot).unwrap();
    let diversions = Diversions::parse(b"").unwrap();
    let precedence = |_: &str| Precedence::Conflict;
    let settings = UnpackSettings {
        limits: limits(),
        rank: 0,
        diversions: &diversions,
        precedence: &precedence,
    };
    let outcome = deb.unpack(&rootfs, &settings);
    assert_nothing_outside(folder.path());
    outcome.map_or_else(
        |error| chain(&error),
        |unpacked| format!("good {}", counted(unpacked.paths.len())),
    )
}

/// Below `folder` there is only the path to the root.
pub(super) fn assert_nothing_outside(folder: &Path) {
    for (parent, only) in [("", "a"), ("a", "b"), ("a/b", "root")] {
        let found = names(&folder.join(parent));
        assert_eq!(found, [only], "something was written outside the root");
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

/// Every way to read an index; `fresh` when it was just built, so that every stanza must be there.
fn read_all(index: &PackageIndex, fresh: bool) -> String {
    let mut endings = std::collections::BTreeSet::new();
    for stanza in 0..index.len().min(500) {
        let name = index.name(stanza);
        let known = index.find(name).any(|one| one == stanza);
        // A name that is not UTF-8 is shown as none, and no request can ask for it.
        assert!(!fresh || name.is_empty() || known, "{name} is not found");
        match index.read(stanza) {
            Ok(Ok(read)) => drop(endings.insert(format!("good {}", read.essential))),
            Ok(Err(error)) => drop(endings.insert(error.to_string())),
            Err(error) => {
                assert!(!fresh, "{}", chain(&error));
                endings.insert(chain(&error));
            }
        }
    }
    let provided = index
        .names()
        .take(500)
        .map(|name| index.providers(name).take(500).count())
        .sum::<usize>();
    format!("{} {} {endings:?}", index.essential().count() > 0, provided > 0)
}

/// Where a header says `ustar`, its checksum becomes right.
pub(super) fn mend_tar_sums(bytes: &mut [u8]) {
    let marks: Vec<usize> = (257..bytes.len())
        .filter(|at| bytes[*at..].starts_with(b"ustar"))
        .collect();
    for start in marks.into_iter().map(|at| at - 257) {
        let Some(header) = bytes.get_mut(start..start + 512) else {
            continue;
        };
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
}

pub(super) fn limits() -> UnpackLimits {
    UnpackLimits {
        entries_max: 200,
        file_bytes_max: 1 << 20,
        total_bytes_max: 4 << 20,
        control_bytes_max: 1 << 20,
        ..UnpackLimits::default()
    }
}

fn suite() -> Suite {
    Suite {
        base: Base::Trixie,
        kind: SuiteKind::Release,
    }
}

fn keyring() -> Keyring {
    Keyring::parse(&[SigningKey::archive().certificate()])
}

fn package() -> DebPackage {
    let package = DebPackage::new("tool", "1:2.0-3")
        .depends("libc6 (>= 2.34), dash | bash")
        .provides("instrument (= 2)");
    entries()
        .into_iter()
        .fold(package, DebPackage::raw_entry)
        .conffile("etc/tool.conf", "a=1\n")
        .script("postinst", "#!/bin/sh\n")
}

fn entries() -> Vec<TarEntry> {
    vec![
        TarEntry::directory("./srv/"),
        TarEntry::file("./srv/one", "content")
            .mode(0o4755)
            .owner((1, "daemon"), (8, "mail")),
        TarEntry::symlink("./srv/two", "one"),
        TarEntry::hard_link("./srv/three", "./srv/one"),
        TarEntry::file(&format!("./srv/{}", "long".repeat(40)), "x"),
    ]
}

fn archive() -> &'static testkit::Routes {
    static ROUTES: OnceLock<testkit::Routes> = OnceLock::new();
    ROUTES.get_or_init(|| {
        let archive = DebianArchive::new(Base::Trixie)
            .package(package())
            .compressions_in(SuiteKind::Release, &[Compression::None]);
        let names = ["libc6", "dash", "wget", "libxslt1.1"];
        let others = names.map(|name| {
            DebPackage::new(name, "1.0-1")
                .essential()
                .pre_depends("libc6")
                .multi_arch("same")
        });
        others.into_iter().fold(archive, DebianArchive::package).routes()
    })
}

fn file(path: &str) -> Vec<u8> {
    archive().body(path).unwrap().to_vec()
}

fn in_release() -> &'static [u8] {
    archive().body("/debian/dists/trixie/InRelease").unwrap()
}

fn packages_text() -> &'static str {
    let body = archive()
        .body("/debian/dists/trixie/main/binary-amd64/Packages")
        .unwrap();
    std::str::from_utf8(body).unwrap()
}
