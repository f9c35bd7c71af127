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

#[test]
fn tars_that_are_no_archives_are_refused() {
    let stage = Stage::new();
    let good = stage.good.tar();
    let index = || TarEntry::file("index.json", stage.good.get("index.json"));
    let tar = |entries: &[TarEntry]| write_tar(entries, 0);
    for length in [0, 1, 511, 512, 700, 5_000, good.len() / 2, good.len() - 20_000] {
        stage.refuses(&format!("{length} bytes"), &good[..length], "cut off");
    }
    stage.refuses("a text", b"#!/bin/sh\n".repeat(100).as_slice(), "malformed");
    stage.refuses("gzip", &Compression::Gzip.apply(&good), "gunzip -c FILE");
    stage.refuses("xz", &Compression::Xz.apply(&good), "compressed with xz");
    let refused = "`index.json` of the archive is refused";
    let cases: [(&str, Vec<TarEntry>, &str); 11] = [
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
        (
            "a device",
            vec![TarEntry::new("index.json", TarKind::CharacterDevice(1, 3))],
            refused,
        ),
        (
            "a pipe",
            vec![TarEntry::new("index.json", TarKind::Fifo)],
            refused,
        ),
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
            "a folder of its own",
            vec![TarEntry::directory("blobs/sha512")],
            "neither a file nor a folder",
        ),
        ("an empty tar", vec![], "has no `oci-layout`"),
    ];
    for (what, entries, reason) in cases {
        stage.refuses(what, &tar(&entries), reason);
    }
    let many: Vec<TarEntry> = (0..100_000).map(|_| TarEntry::directory("blobs/")).collect();
    stage.refuses("100,000 entries", &tar(&many), "more than 20000 entries");
    let huge = TarEntry::file("index.json", "").claimed_size(5 << 20);
    stage.refuses("a huge index", &tar(&[huge]), "too large");
    let huge = TarEntry::file(&blob_path(&Digest::of(b"").to_string()), "").claimed_size(1 << 40);
    stage.refuses("a huge blob", &tar(&[huge]), "unpacks to more than");
    let short = TarEntry::file("oci-layout", "{}").claimed_size(1000);
    stage.refuses("a size that lies", &tar(&[short, index()]), "malformed");
    stage.ends_well();
}

#[test]
fn blobs_that_are_not_what_their_names_say_are_refused() {
    let stage = Stage::new();
    let config = stage.good.digest_of("config");
    let layer = stage.good.digest_of("2");
    stage.refuses_changed("other bytes", "have the digest", |archive| {
        archive.set(&blob_path(&config), "{}")
    });
    stage.refuses_changed("no blob", "does not have it", |archive| {
        archive.remove(&blob_path(&layer))
    });
    for what in ["manifest", "config", "artifact", "record", "lock", "inventory"] {
        let path = blob_path(&stage.good.digest_of(what));
        stage.refuses_changed(what, "does not have it", |archive| archive.remove(&path));
    }
    stage.refuses_changed("a blob twice", "it is there twice", |archive| {
        let blob = archive.get(&blob_path(&config)).to_vec();
        archive.entries.push((blob_path(&config), blob));
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
    let size = archive.get(&blob_path(&layer)).len();
    archive.set(&blob_path(&layer), vec![0; size]);
    let done = stage.load(&archive.tar()).with(1);
    assert!(done.stderr.contains("have the digest"), "{done}");
    stage.host.cooper(&["fsck"]).good();
}

#[test]
fn documents_that_disagree_are_refused() {
    let stage = Stage::new();
    let list = "application/vnd.oci.image.index.v1+json";
    let docker_layer = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let first = |index: &mut Value, field: &str, value: Value| index["manifests"][0][field] = value;
    stage.refuses_changed(
        "no JSON",
        "the index of the archive cannot be understood",
        |archive| {
            archive.set("index.json", "{");
        },
    );
    stage.refuses_changed("deep JSON", "cannot be understood", |archive| {
        archive.set("index.json", "[".repeat(100_000));
    });
    stage.refuses_changed("another layout", "version `2.0.0`", |archive| {
        archive.set("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#);
    });
    stage.refuses_changed("no images", "has no image", |archive| {
        archive.edit_index(|index| index["manifests"] = json!([]));
    });
    stage.refuses_changed("many images", "more than 1000 images", |archive| {
        archive.edit_index(|index| index["manifests"] = json!(vec![index["manifests"][0].clone(); 1001]));
    });
    stage.refuses_changed("several platforms", "for several platforms", |archive| {
        archive.edit_index(|index| first(index, "mediaType", json!(list)));
    });
    stage.refuses_changed("a platform", "is for linux/arm64", |archive| {
        archive.edit_index(|index| {
            first(
                index,
                "platform",
                json!({ "architecture": "arm64", "os": "linux" }),
            )
        });
    });
    stage.refuses_changed("a size", "the archive says 7", |archive| {
        archive.edit_index(|index| first(index, "size", json!(7)));
    });
    stage.refuses_changed("a foreign image", "was not saved by `cooper save`", |archive| {
        archive.edit_index(|index| first(index, "annotations", json!({})));
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
    stage.refuses_changed("two names", "two names", |archive| {
        archive.edit_index(|index| {
            index["manifests"][0]["annotations"]["io.containerd.image.name"] =
                json!("local/innocent:1.0.0.1");
        });
    });
    stage.refuses_changed("an architecture", "is for linux/s390x", |archive| {
        archive.edit("config", |config| config["architecture"] = json!("s390x"));
    });
    stage.refuses_changed(
        "no configuration",
        "the configuration of the archive cannot be understood",
        |archive| {
            archive.edit("config", |config| *config = json!({ "architecture": 7 }));
        },
    );
    stage.refuses_changed("a layer less", "does not have the manifest's layers", |archive| {
        archive.edit("config", |config| {
            drop(config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop())
        });
    });
    stage.refuses_changed("a type of layer", "the layer of", |archive| {
        archive.edit("manifest", |manifest| {
            manifest["layers"][0]["mediaType"] = json!(docker_layer)
        });
    });
    stage.refuses_changed("a schema", "schema version", |archive| {
        archive.edit("manifest", |manifest| manifest["schemaVersion"] = json!(1));
    });
    stage.refuses_changed("another subject", "is about another image", |archive| {
        archive.edit("artifact", |artifact| {
            artifact["subject"]["digest"] = json!(Digest::of(b""))
        });
    });
    stage.refuses_changed("a type of record", "the record of", |archive| {
        archive.edit("artifact", |artifact| {
            artifact["layers"][0]["mediaType"] = json!("text/plain")
        });
    });
    stage.ends_well();
}

#[test]
fn records_and_locks_that_are_not_so_are_refused() {
    let stage = Stage::new();
    let record = |what: &str, reason: &str, change: fn(&mut Value)| {
        stage.refuses_changed(what, reason, |archive| archive.edit("record", change));
    };
    record("another name", "another name", |saved| {
        saved["image"] = json!("local/innocent:1.0.0.1")
    });
    record("no full name", "the record of", |saved| {
        saved["image"] = json!("example_name")
    });
    record("no record", "the record of", |saved| {
        saved["record"] = json!(null)
    });
    record("another lock", "another digest", |saved| {
        saved["record"]["lock"] = json!(Digest::of(b""))
    });
    record("other layers", "other layers", |saved| {
        saved["record"]["layers"] = json!([])
    });
    record("another size", "another size", |saved| {
        saved["record"]["size_bytes"] = json!(1)
    });
    record("another inventory", "another inventory", |saved| {
        saved["record"]["inventory"] = json!(Digest::of(b""))
    });
    record("another count", "other packages", |saved| {
        saved["record"]["python_packages"] = json!(77)
    });
    record("another request", "another request", |saved| {
        saved["record"]["request"]["packages"] = json!(["jq"]);
    });
    record("loaded", "no place in an archive", |saved| {
        saved["record"]["loaded"] = json!("a/b:1.0.0.1")
    });
    stage.refuses_changed("a huge number", "larger than", |archive| {
        let name = "local/example_name:1.0.0.4294967295";
        archive.edit("record", |saved| saved["image"] = json!(name));
        archive.edit_index(|index| {
            for key in ["io.containerd.image.name", "org.opencontainers.image.ref.name"] {
                index["manifests"][0]["annotations"][key] = json!(name);
            }
        });
        let mut docker = archive.json("manifest.json");
        docker[0]["RepoTags"] = json!([name]);
        archive.set("manifest.json", docker.to_string());
    });
    let lock = |what: &str, reason: &str, change: fn(&mut Value)| {
        stage.refuses_changed(what, reason, |archive| {
            archive.edit("lock", change);
            let content = &archive.blob(&Value::String(archive.digest_of("lock")))["content"];
            let content: cooper_core::LockContent = serde_json::from_value(content.clone()).unwrap();
            let digest = content.digest();
            archive.edit("record", |saved| saved["record"]["lock"] = json!(digest));
        });
    };
    lock(
        "another version",
        "lock and its inventory disagree about `html5lib`",
        |lock| {
            lock["content"]["python"][0]["version"] = json!("9.9");
        },
    );
    lock(
        "a package less",
        "lock and its inventory disagree about",
        |lock| {
            drop(lock["content"]["base"]["packages"].as_array_mut().unwrap().pop());
        },
    );
    lock("another format", "another format", |lock| {
        lock["cooper_lock"] = json!(7)
    });
    stage.refuses_changed("no lock", "the lock of", |archive| {
        archive.edit("lock", |lock| *lock = json!([]))
    });
    stage.refuses_changed(
        "layers without it",
        "lock and its layers disagree about `html5lib`",
        |archive| {
            archive.edit("inventory", |inventory| {
                inventory["python"][0]["version"] = json!("9.9")
            });
            archive.edit("lock", |lock| {
                lock["content"]["python"][0]["version"] = json!("9.9")
            });
            let content = &archive.blob(&Value::String(archive.digest_of("lock")))["content"];
            let content: cooper_core::LockContent = serde_json::from_value(content.clone()).unwrap();
            archive.edit("record", |saved| {
                saved["record"]["lock"] = json!(content.digest())
            });
        },
    );
    stage.ends_well();
}

#[test]
fn layers_that_are_not_what_they_seem_are_refused() {
    let stage = Stage::new();
    let layer = |what: &str, reason: &str, tar: &[u8]| {
        stage.refuses_changed(what, reason, |archive| {
            archive.replace_layer(2, tar, Compression::Gzip.apply(tar));
        });
    };
    let entries = |entries: &[TarEntry]| write_tar(entries, 0);
    stage.refuses_changed("another diff id", "the configuration says", |archive| {
        let layer = archive.digest_of("2");
        let packed = archive.get(&blob_path(&layer)).to_vec();
        archive.replace_layer(2, b"another", packed);
    });
    stage.refuses_changed("no gzip", "the layer is malformed", |archive| {
        archive.replace_layer(2, b"x", b"x".repeat(1000));
    });
    stage.refuses_changed("a cut off gzip", "the layer is malformed", |archive| {
        let layer = archive.digest_of("2");
        let packed = archive.get(&blob_path(&layer)).to_vec();
        archive.replace_layer(2, b"x", packed[..packed.len() - 9].to_vec());
    });
    layer("no tar", "the layer is malformed", b"no tar at all");
    layer(
        "upwards",
        "has a `..`",
        &entries(&[TarEntry::file("../../etc/x", "x")]),
    );
    layer(
        "absolute",
        "is absolute",
        &entries(&[TarEntry::file("/etc/x", "x")]),
    );
    layer(
        "below a link",
        "leads through a symbolic link",
        &entries(&[TarEntry::symlink("a", "/etc"), TarEntry::file("a/passwd", "x")]),
    );
    layer(
        "a link out",
        "is not accepted",
        &entries(&[TarEntry::hard_link("a", "../../../../etc/passwd")]),
    );
    layer(
        "a link to nothing",
        "cannot unpack",
        &entries(&[TarEntry::hard_link("a", "etc/shadow")]),
    );
    layer(
        "a device",
        "device nodes",
        &entries(&[TarEntry::new("sda", TarKind::BlockDevice(8, 0))]),
    );
    layer(
        "another type",
        "its type is unknown",
        &entries(&[TarEntry::new("x", TarKind::Other(b'V'))]),
    );
    layer(
        "a file twice",
        "already there",
        &entries(&[TarEntry::file("a", "1"), TarEntry::file("a", "2")]),
    );
    layer(
        "a deletion with content",
        "more than a name",
        &entries(&[TarEntry::file(".wh.a", "x")]),
    );
    layer(
        "a deletion of all",
        "is not accepted",
        &entries(&[TarEntry::file(".wh...", "")]),
    );
    layer(
        "not as it is packed",
        "not packed by this program",
        &entries(&[TarEntry::file("a", "x")]),
    );
    // What is deleted below an opaque folder, a pipe, a set-user-id program: all of it is what it is, and not ours.
    layer(
        "in another order",
        "not packed by this program",
        &entries(&[
            TarEntry::file("b", "x").mode(0o4755),
            TarEntry::file("a/.wh..wh..opq", ""),
            TarEntry::file(".wh.c", ""),
            TarEntry::new("d", TarKind::Fifo),
        ]),
    );
    let many: Vec<TarEntry> = (0..600_000).map(|_| TarEntry::directory("d/")).collect();
    layer("many entries", "more than 500000 entries", &entries(&many));
    // A bomb: 400 MiB of zeros in 400 KiB, after the end of a tar and as a file.
    let zeros = Compression::Gzip.apply(&vec![0; 4 << 20]);
    for (what, start) in [
        ("a bomb", entries(&[])),
        (
            "a bomb in a file",
            write_tar(&[TarEntry::file("a", "").claimed_size(400 << 20)], 0)[..512].to_vec(),
        ),
    ] {
        stage.refuses_changed(what, "unpacks to more than", |archive| {
            let bomb = [Compression::Gzip.apply(&start), zeros.repeat(100)].concat();
            archive.replace_layer(2, b"bomb", bomb);
        });
    }
    stage.ends_well();
    assert!(stage.world.cooper(&["fsck"]).status == 0);
}
