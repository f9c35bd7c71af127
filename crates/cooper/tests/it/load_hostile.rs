//! Archives that lie: each is refused with the reason, and leaves nothing that anybody sees.

use cooper_core::Digest;
use serde_json::{Value, json};
use testkit::Compression;
use testkit::tar::{TarEntry, TarKind, write_tar};

use crate::archive_file::{ArchiveFile, blob_path, write};
use crate::context::{Done, Host, World};

/// The usual image's archive, and an empty store to load it into.
struct Stage {
    world: World,
    good: ArchiveFile,
    host: Host,
}

impl Stage {
    fn new() -> Self {
        let world = World::new();
        world.create_example();
        world
            .cooper(&["save", "example_name", "-o", "example.tar"])
            .good();
        let good = ArchiveFile::open(&world.host.path("project/example.tar"));
        let host = world.another_host();
        Self { world, good, host }
    }

    fn load(&self, tar: &[u8]) -> Done {
        let path = self.host.path("project/bad.tar");
        write(&path, tar);
        self.host.cooper(&["load", "bad.tar"])
    }

    /// It is refused for this reason, and nothing is there afterwards.
    fn refuses(&self, what: &str, tar: &[u8], reason: &str) {
        let done = self.load(tar);
        assert_eq!(done.status, 1, "{what}: {done}");
        assert!(
            done.stderr.contains(reason),
            "{what}: expected `{reason}`: {done}"
        );
        assert!(done.stderr.contains("hint: "), "{what}: {done}");
        assert_eq!(
            self.host.cooper(&["images", "--json"]).good().json(),
            json!([]),
            "{what}"
        );
    }

    fn refuses_changed(&self, what: &str, reason: &str, change: impl FnOnce(&mut ArchiveFile)) {
        let mut archive = self.good.clone();
        change(&mut archive);
        self.refuses(what, &archive.tar(), reason);
    }

    /// The same after a change of one document; everything that names it follows.
    fn refuses_edited(&self, document: &str, what: &str, reason: &str, edit: impl FnOnce(&mut Value)) {
        self.refuses_changed(what, reason, |archive| archive.edit(document, edit));
    }

    /// The same after a change of the index's first descriptor.
    fn refuses_described(&self, what: &str, reason: &str, edit: impl FnOnce(&mut Value)) {
        self.refuses_changed(what, reason, |archive| {
            archive.edit_index(|index| edit(&mut index["manifests"][0]));
        });
    }

    /// In the end the store is whole, what was refused can be collected, and the good archive loads.
    fn ends_well(&self) {
        self.host.cooper(&["fsck"]).good();
        self.host.cooper(&["gc"]).good();
        for folder in ["blobs", "trees"] {
            let left = std::fs::read_dir(self.host.path("store").join(folder).join("sha256")).unwrap();
            assert_eq!(left.count(), 0, "{folder}");
        }
        self.load(&self.good.tar()).good();
        self.host
            .cooper(&["run", "example_name", "--", "wget", "--version"])
            .good();
        self.host.cooper(&["fsck"]).good();
    }
}

impl ArchiveFile {
    /// Change the lock, and let the record have its digest.
    fn edit_lock(&mut self, edit: impl FnOnce(&mut Value)) {
        self.edit("lock", edit);
        let content = &self.blob(&json!(self.digest_of("lock")))["content"];
        let content: cooper_core::LockContent = serde_json::from_value(content.clone()).unwrap();
        self.edit("record", |saved| {
            saved["record"]["lock"] = json!(content.digest());
        });
    }

    /// Give the image another name, everywhere.
    fn rename(&mut self, name: &str) {
        self.edit("record", |saved| saved["image"] = json!(name));
        self.edit_index(|index| {
            for key in ["io.containerd.image.name", "org.opencontainers.image.ref.name"] {
                index["manifests"][0]["annotations"][key] = json!(name);
            }
        });
        let mut docker = self.json("manifest.json");
        docker[0]["RepoTags"] = json!([name]);
        self.set("manifest.json", docker.to_string());
    }
}

#[test]
fn tars_that_are_no_archives_are_refused() {
    let stage = Stage::new();
    let good = stage.good.tar();
    for length in [0, 1, 511, 512, 700, 5_000, good.len() / 2, good.len() - 20_000] {
        stage.refuses(&format!("{length} bytes"), &good[..length], "cut off");
    }
    stage.refuses("a text", b"#!/bin/sh\n".repeat(100).as_slice(), "malformed");
    stage.refuses("gzip", &Compression::Gzip.apply(&good), "gunzip -c FILE");
    stage.refuses("xz", &Compression::Xz.apply(&good), "compressed with xz");
    stage.refuses("an empty tar", &write_tar(&[], 0), "has no `oci-layout`");
    let many: Vec<TarEntry> = (0..100_000).map(|_| TarEntry::directory("blobs/")).collect();
    stage.refuses("100,000 entries", &write_tar(&many, 0), "more than 20000 entries");
    let empty = blob_path(&Digest::of(b"").to_string());
    let index = || TarEntry::file("index.json", stage.good.get("index.json"));
    let lying = |path: &str, size| TarEntry::file(path, "{}").claimed_size(size);
    for (what, entries, reason) in [
        ("a huge index", vec![lying("index.json", 5 << 20)], "too large"),
        (
            "a huge blob",
            vec![lying(&empty, 1 << 40)],
            "unpacks to more than",
        ),
        (
            "a size that lies",
            vec![lying("oci-layout", 1000), index()],
            "malformed",
        ),
    ] {
        stage.refuses(what, &write_tar(&entries, 0), reason);
    }
    stage.ends_well();
}

#[test]
fn entries_that_no_archive_has_are_refused() {
    let stage = Stage::new();
    let index = || TarEntry::file("index.json", stage.good.get("index.json"));
    let special = |kind| TarEntry::new("index.json", kind);
    let refused = "`index.json` of the archive is refused";
    let cases: [(&str, Vec<TarEntry>, &str); 10] = [
        (
            "a symbolic link",
            vec![TarEntry::symlink("index.json", "/etc/passwd")],
            refused,
        ),
        (
            "a hard link",
            vec![TarEntry::hard_link("index.json", "oci-layout")],
            refused,
        ),
        ("a device", vec![special(TarKind::CharacterDevice(1, 3))], refused),
        ("a pipe", vec![special(TarKind::Fifo)], refused),
        (
            "upwards",
            vec![TarEntry::file("../index.json", "{}")],
            "has a `..`",
        ),
        (
            "upwards inside",
            vec![TarEntry::file("blobs/../../x", "{}")],
            "has a `..`",
        ),
        (
            "absolute",
            vec![TarEntry::file("/etc/cron.d/x", "x")],
            "it is absolute",
        ),
        (
            "another file",
            vec![TarEntry::file("etc/passwd", "x")],
            "does not belong",
        ),
        ("a file twice", vec![index(), index()], "it is there twice"),
        (
            "another folder",
            vec![TarEntry::directory("blobs/sha512")],
            "neither a file nor a folder",
        ),
    ];
    for (what, entries, reason) in cases {
        stage.refuses(what, &write_tar(&entries, 0), reason);
    }
    stage.ends_well();
}

#[test]
fn blobs_that_are_not_what_their_names_say_are_refused() {
    let stage = Stage::new();
    let config = blob_path(&stage.good.digest_of("config"));
    let layer = blob_path(&stage.good.digest_of("2"));
    stage.refuses_changed("other bytes", "have the digest", |archive| {
        archive.set(&config, "{}");
    });
    for what in [
        "manifest",
        "config",
        "artifact",
        "record",
        "lock",
        "inventory",
        "2",
    ] {
        let path = blob_path(&stage.good.digest_of(what));
        stage.refuses_changed(what, "does not have it", |archive| archive.remove(&path));
    }
    stage.refuses_changed("a blob twice", "it is there twice", |archive| {
        let blob = archive.get(&config).to_vec();
        archive.entries.push((config.clone(), blob));
    });
    stage.refuses_changed("a blob for nothing", "nothing in it names its blob", |archive| {
        archive.set(&blob_path(&Digest::of(b"contraband").to_string()), "contraband");
    });
    stage.refuses_changed("upper case", "does not belong", |archive| {
        archive.set(&format!("blobs/sha256/{}", "A".repeat(64)), "");
    });
    // A blob that the store has already is compared too.
    stage.load(&stage.good.tar()).good();
    let mut archive = stage.good.clone();
    let size = archive.get(&layer).len();
    archive.set(&layer, vec![0; size]);
    let done = stage.load(&archive.tar()).with(1);
    assert!(done.stderr.contains("have the digest"), "{done}");
    stage.host.cooper(&["fsck"]).good();
}

#[test]
fn an_index_that_lies_is_refused() {
    let stage = Stage::new();
    let set = |path: &'static str, text: String| move |archive: &mut ArchiveFile| archive.set(path, text);
    let index = "the index of the archive cannot be understood";
    stage.refuses_changed("no JSON", index, set("index.json", "{".to_owned()));
    stage.refuses_changed("deep JSON", index, set("index.json", "[".repeat(100_000)));
    let layout = r#"{"imageLayoutVersion":"2.0.0"}"#.to_owned();
    stage.refuses_changed("another layout", "version `2.0.0`", set("oci-layout", layout));
    stage.refuses_changed("no images", "has no image", |archive| {
        archive.edit_index(|index| index["manifests"] = json!([]));
    });
    stage.refuses_changed("many images", "more than 1000 images", |archive| {
        archive.edit_index(|index| index["manifests"] = json!(vec![index["manifests"][0].clone(); 1001]));
    });
    let list = "application/vnd.oci.image.index.v1+json";
    stage.refuses_described("several platforms", "for several platforms", |image| {
        image["mediaType"] = json!(list);
    });
    stage.refuses_described("a platform", "is for linux/arm64", |image| {
        image["platform"]["architecture"] = json!("arm64");
    });
    stage.refuses_described("a size", "the archive says 7", |image| image["size"] = json!(7));
    stage.refuses_described("a foreign image", "was not saved by `cooper save`", |image| {
        image["annotations"] = json!({});
    });
    stage.refuses_described("two names", "two names", |image| {
        image["annotations"]["io.containerd.image.name"] = json!("local/innocent:1.0.0.1");
    });
    stage.refuses_changed(
        "another docker-archive",
        "do not name the same images",
        |archive| {
            let mut docker = archive.json("manifest.json");
            docker[0]["Layers"].as_array_mut().unwrap().reverse();
            archive.set("manifest.json", docker.to_string());
        },
    );
    stage.ends_well();
}

#[test]
fn manifests_that_disagree_are_refused() {
    let stage = Stage::new();
    let docker_layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    stage.refuses_edited("config", "an architecture", "is for linux/s390x", |config| {
        config["architecture"] = json!("s390x");
    });
    let unread = "the configuration of the archive cannot be understood";
    stage.refuses_edited("config", "no configuration", unread, |config| {
        *config = json!({ "architecture": 7 });
    });
    stage.refuses_edited(
        "config",
        "a layer less",
        "does not have the manifest's layers",
        |config| {
            config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
        },
    );
    stage.refuses_edited("manifest", "a type of layer", "the layer of", |manifest| {
        manifest["layers"][0]["mediaType"] = json!(docker_layer);
    });
    stage.refuses_edited("manifest", "a schema", "schema version", |manifest| {
        manifest["schemaVersion"] = json!(1);
    });
    stage.refuses_edited(
        "artifact",
        "another subject",
        "is about another image",
        |artifact| {
            artifact["subject"]["digest"] = json!(Digest::of(b""));
        },
    );
    stage.refuses_edited("artifact", "a type of record", "the record of", |artifact| {
        artifact["layers"][0]["mediaType"] = json!("text/plain");
    });
    stage.ends_well();
}

#[test]
fn records_that_are_not_so_are_refused() {
    let stage = Stage::new();
    let record = |what: &str, reason: &str, field: &str, value: Value| {
        stage.refuses_edited("record", what, reason, |saved| saved["record"][field] = value);
    };
    let nothing = json!(Digest::of(b""));
    record("another lock", "another digest", "lock", nothing.clone());
    record("another inventory", "another inventory", "inventory", nothing);
    record("other layers", "other layers", "layers", json!([]));
    record("another size", "another size", "size_bytes", json!(1));
    record("another count", "other packages", "python_packages", json!(77));
    record("loaded", "no place in an archive", "loaded", json!("a/b:1.0.0.1"));
    for (what, reason, name) in [
        ("another name", "another name", "local/innocent:1.0.0.1"),
        ("no full name", "the record of", "example_name"),
    ] {
        stage.refuses_edited("record", what, reason, |saved| saved["image"] = json!(name));
    }
    stage.refuses_edited("record", "no record", "the record of", |saved| {
        saved["record"] = json!(null);
    });
    stage.refuses_edited("record", "another request", "another request", |saved| {
        saved["record"]["request"]["packages"] = json!(["jq"]);
    });
    stage.refuses_changed("a huge number", "larger than", |archive| {
        archive.rename("local/example_name:1.0.0.4294967295");
    });
    stage.refuses_changed("a name that is none", "the record of", |archive| {
        archive.rename("../../etc/passwd:1.0.0.1");
    });
    stage.ends_well();
}

#[test]
fn locks_that_do_not_fit_are_refused() {
    let stage = Stage::new();
    let lock = |what: &str, reason: &str, change: fn(&mut Value)| {
        stage.refuses_changed(what, reason, |archive| archive.edit_lock(change));
    };
    let disagree = "lock and its inventory disagree about `html5lib`";
    lock("another version", disagree, |lock| {
        lock["content"]["python"][0]["version"] = json!("9.9");
    });
    lock(
        "a package less",
        "lock and its inventory disagree about",
        |lock| {
            lock["content"]["base"]["packages"].as_array_mut().unwrap().pop();
        },
    );
    lock("another format", "another format", |lock| {
        lock["cooper_lock"] = json!(7);
    });
    stage.refuses_edited("lock", "no lock", "the lock of", |lock| *lock = json!([]));
    stage.refuses_changed(
        "other layers",
        "lock and its layers disagree about `html5lib`",
        |archive| {
            archive.edit("inventory", |inventory| {
                inventory["python"][0]["version"] = json!("9.9");
            });
            archive.edit_lock(|lock| lock["content"]["python"][0]["version"] = json!("9.9"));
        },
    );
    stage.ends_well();
}

#[test]
fn layers_with_other_digests_are_refused() {
    let stage = Stage::new();
    let packed = stage.good.get(&blob_path(&stage.good.digest_of("2"))).to_vec();
    let cut_off = packed[..packed.len() - 9].to_vec();
    for (what, reason, tar, packed) in [
        ("another diff id", "the configuration says", "another", packed),
        ("no gzip", "the layer is malformed", "x", b"x".repeat(1000)),
        ("a cut off gzip", "the layer is malformed", "x", cut_off),
        (
            "no tar",
            "the layer is malformed",
            "x",
            Compression::Gzip.apply(b"no tar at all"),
        ),
    ] {
        stage.refuses_changed(what, reason, |archive| {
            archive.replace_layer(2, tar.as_bytes(), packed);
        });
    }
    stage.ends_well();
}

/// What a layer may not have, why, and the entries.
type Case = (&'static str, &'static str, Vec<TarEntry>);

fn entries_that_are_not_accepted() -> Vec<Case> {
    let (file, special) = (TarEntry::file, TarEntry::new);
    let ours = "not packed by this program";
    vec![
        ("upwards", "has a `..`", vec![file("../../etc/x", "x")]),
        ("absolute", "is absolute", vec![file("/etc/x", "x")]),
        (
            "below a link",
            "leads through a symbolic link",
            vec![TarEntry::symlink("a", "/etc"), file("a/passwd", "x")],
        ),
        (
            "a link out",
            "is not accepted",
            vec![TarEntry::hard_link("a", "../../../../etc/passwd")],
        ),
        (
            "a link to nothing",
            "cannot unpack",
            vec![TarEntry::hard_link("a", "etc/shadow")],
        ),
        (
            "a device",
            "device nodes",
            vec![special("sda", TarKind::BlockDevice(8, 0))],
        ),
        (
            "another type",
            "its type is unknown",
            vec![special("x", TarKind::Other(b'V'))],
        ),
        (
            "a file twice",
            "already there",
            vec![file("a", "1"), file("a", "2")],
        ),
        (
            "a deletion with content",
            "more than a name",
            vec![file(".wh.a", "x")],
        ),
        (
            "a deletion of what is above",
            "is not accepted",
            vec![file(".wh...", "")],
        ),
        (
            "a huge file",
            "larger than the limit for one file",
            vec![file("a", "").claimed_size(9 << 30)],
        ),
        ("not as it is packed", ours, vec![file("a", "x")]),
        // What layers may have, and yet not written by us: a set-user-id program, deletions, a pipe.
        (
            "in another order",
            ours,
            vec![
                file("b", "x").mode(0o4755),
                file("a/.wh..wh..opq", ""),
                file(".wh.c", ""),
                special("d", TarKind::Fifo),
            ],
        ),
        (
            "many entries",
            "more than 500000 entries",
            (0..600_000).map(|_| TarEntry::directory("d/")).collect(),
        ),
    ]
}

#[test]
fn layers_with_entries_that_are_not_accepted_are_refused() {
    let stage = Stage::new();
    for (what, reason, entries) in entries_that_are_not_accepted() {
        let tar = write_tar(&entries, 0);
        // The limits on a stream depend on its size: the 9 GiB of the huge file need some.
        let padding = if what == "a huge file" { 50 << 20 } else { 0 };
        let packed = [Compression::Gzip.apply(&tar), stored(padding)].concat();
        stage.refuses_changed(what, reason, |archive| archive.replace_layer(2, &tar, packed));
    }
    stage.ends_well();
}

/// A gzip member with so many bytes of zeros, not compressed (RFC 1951, section 3.2.4).
fn stored(bytes: usize) -> Vec<u8> {
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    for _ in 0..bytes / 0xffff {
        member.extend_from_slice(&[0, 0xff, 0xff, 0, 0]);
        member.resize(member.len() + 0xffff, 0);
    }
    if bytes == 0 { Vec::new() } else { member }
}

#[test]
fn layers_that_are_bombs_are_refused() {
    let stage = Stage::new();
    // 400 MiB of zeros in 400 KiB: after the end of a tar, and as a file.
    let zeros = Compression::Gzip.apply(&vec![0; 4 << 20]).repeat(100);
    let file = TarEntry::file("a", "").claimed_size(400 << 20);
    for (what, start) in [
        ("after the end", write_tar(&[], 0)),
        ("as a file", write_tar(&[file], 0)[..512].to_vec()),
    ] {
        let bomb = [Compression::Gzip.apply(&start), zeros.clone()].concat();
        stage.refuses_changed(what, "unpacks to more than", |archive| {
            archive.replace_layer(2, b"bomb", bomb);
        });
    }
    // The same in place of a layer whose tree is here already.
    stage.load(&stage.good.tar()).good();
    let mut archive = stage.good.clone();
    let layer = archive.digest_of("2");
    archive.replace(&layer, zeros);
    archive.rename("local/example_name:1.0.0.2");
    archive.settle_size();
    let done = stage.load(&archive.tar()).with(1);
    assert!(done.stderr.contains("unpacks to more than"), "{done}");
    assert!(stage.world.cooper(&["fsck"]).status == 0);
}
