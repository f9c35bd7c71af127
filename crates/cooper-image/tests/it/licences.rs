//! Licence evidence from wheels, packages and unpacked trees.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use cooper_gate::licences::{DebianLicenceEvidence, TEXT_BYTES_MAX, of_debian, of_python};
use cooper_image::deb::{Copyright, Deb, Diversions, Precedence, UnpackSettings, licence_evidence_in};
use cooper_image::rootfs::{Links, Rootfs, UnpackLimits};
use cooper_image::wheel::{Wheel, inspect};

use crate::deb_archive::{dir, file as deb_file, link, package};
use crate::wheel_archive::{file, wheel};

const GRANT: &str = "Licensed under the Apache License, Version 2.0\n";

#[test]
fn a_wheel_gives_its_metadata_and_its_licence_files() {
    let large = vec![b' '; TEXT_BYTES_MAX + 5];
    let bytes = wheel(&[
        file("made/__init__.py", b""),
        file("made/LICENSE", b"of a module, not of the distribution"),
        file("made_thing-1.0.dist-info/licenses/LICENSE", GRANT.as_bytes()),
        file("made_thing-1.0.dist-info/licenses/vendor/x.txt", &large),
        file("made_thing-1.0.dist-info/COPYING", b"c"),
    ]);
    let evidence = Wheel::from_bytes(bytes.clone(), &UnpackLimits::default())
        .unwrap()
        .licence_evidence()
        .unwrap();
    assert_eq!(evidence.expression.as_deref(), Some("MIT"));
    let read: Vec<(&str, u64, usize)> = evidence
        .files
        .iter()
        .map(|file| {
            let name = file.path.strip_prefix("made_thing-1.0.dist-info/").unwrap();
            (name, file.size, file.bytes.len())
        })
        .collect();
    assert_eq!(
        read,
        [
            ("licenses/LICENSE", GRANT.len() as u64, GRANT.len()),
            ("licenses/vendor/x.txt", TEXT_BYTES_MAX as u64 + 5, TEXT_BYTES_MAX),
            ("COPYING", 1, 1),
        ]
    );
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("made.whl");
    fs::write(&path, bytes).unwrap();
    assert_eq!(
        inspect(File::open(path).unwrap(), "a-1-py3-none-any.whl")
            .unwrap()
            .0,
        evidence
    );
    let answer = of_python(&evidence);
    assert_eq!(answer.expression.unwrap().to_string(), "MIT");
    assert_eq!(answer.others.unwrap().to_string(), "Apache-2.0");
}

#[test]
fn a_package_gives_its_copyright_file() {
    let entries = [
        dir("./"),
        dir("./usr/"),
        dir("./usr/share/"),
        dir("./usr/share/doc/"),
        dir("./usr/share/doc/made/"),
        deb_file("./usr/share/doc/made/copyright", GRANT.as_bytes()),
    ];
    let limits = UnpackLimits::default();
    let copyright = |entries: &[_]| {
        let deb = Deb::from_bytes(package("made", entries, &[]), &limits).unwrap();
        let place = tempfile::tempdir().unwrap();
        let root = File::open(place.path()).unwrap().into();
        let diversions = Diversions::parse(b"").unwrap();
        let settings = UnpackSettings {
            limits,
            rank: 0,
            diversions: &diversions,
            precedence: &|_| Precedence::Conflict,
        };
        let rootfs = Rootfs::new(root, Links::FollowInRoot);
        let unpacked = deb.unpack(&rootfs, &settings).unwrap();
        let alone = deb.copyright(&limits).unwrap();
        assert_eq!(unpacked.copyright, alone);
        alone
    };
    let Copyright::File(file) = copyright(&entries) else {
        panic!("there is a file");
    };
    assert_eq!(
        (file.path.as_str(), file.size),
        ("usr/share/doc/made/copyright", GRANT.len() as u64)
    );
    let answer = of_debian(&DebianLicenceEvidence {
        copyright: Some(file),
    });
    assert_eq!(answer.expression.unwrap().to_string(), "Apache-2.0");
    let linked = [&entries[..4], &[link(b'2', "./usr/share/doc/made", "other")]].concat();
    assert_eq!(copyright(&linked), Copyright::Shared("other".parse().unwrap()));
    let out = [
        &entries[..5],
        &[link(b'2', "./usr/share/doc/made/copyright", "/etc/passwd")],
    ]
    .concat();
    assert_eq!(copyright(&out), Copyright::Astray("/etc/passwd".to_owned()));
    assert_eq!(copyright(&entries[..5]), Copyright::Missing);
}

#[test]
fn of_a_copyright_file_of_50_mib_the_beginning_is_kept() {
    let entries = [
        dir("./"),
        dir("./usr/"),
        dir("./usr/share/"),
        dir("./usr/share/doc/"),
        dir("./usr/share/doc/made/"),
        deb_file("./usr/share/doc/made/copyright", &vec![b'x'; 50 << 20]),
    ];
    let limits = UnpackLimits::default();
    let deb = Deb::from_bytes(package("made", &entries, &[]), &limits).unwrap();
    let Copyright::File(file) = deb.copyright(&limits).unwrap() else {
        panic!("there is a file");
    };
    assert_eq!((file.bytes.len(), file.size), (TEXT_BYTES_MAX, 50 << 20));
}

#[test]
fn a_tree_gives_what_links_inside_of_it_point_at() {
    let place = tempfile::tempdir().unwrap();
    let doc = place.path().join("usr/share/doc");
    fs::create_dir_all(doc.join("other")).unwrap();
    fs::write(doc.join("other/copyright"), GRANT).unwrap();
    symlink("/usr/share/doc/other", doc.join("made")).unwrap();
    let of = |name: &str| licence_evidence_in(place.path(), &name.parse().unwrap()).unwrap();
    let copyright = of("made").copyright.unwrap();
    assert_eq!(
        (copyright.bytes, copyright.size),
        (GRANT.as_bytes().to_vec(), GRANT.len() as u64)
    );
    assert_eq!(of("absent").copyright, None);
}
