//! `cooper create` on a made archive and index: versions, sameness, locks.

use std::io::Write as _;

use serde_json::json;

use crate::context::{World, archive, done, index};

#[test]
fn three_doors_are_one_request() {
    let world = World::new();
    let line = "/docker_image_create name=example_name dependencies=mechanize packages=wget";
    let first = world.create_example();
    assert_eq!(
        (first["created"].clone(), first["image"].clone()),
        (json!(true), json!("local/example_name:1.0.0.1"))
    );
    let words = [
        "create",
        "name=example_name",
        "dependencies=mechanize",
        "packages=wget",
        "--json",
    ];
    let split: Vec<&str> = line.split(' ').chain(["--json"]).collect();
    for args in [&words[..], &[line, "--json"], &["--json", line], &split] {
        let again = world.cooper(args).good().json();
        assert_eq!(again["created"], json!(false), "{args:?}");
        assert_eq!(
            (&again["image"], &again["digest"]),
            (&first["image"], &first["digest"]),
            "{args:?}"
        );
    }
}

#[test]
fn the_document_has_its_fields() {
    let world = World::new();
    let document = world.create_example();
    let digest = document["digest"].as_str().unwrap();
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
    assert!(document["size_bytes"].as_u64().unwrap() > 1000);
    assert!(document["elapsed_ms"].is_u64());
    let python = json!([
        { "name": "html5lib", "version": "1.1", "licence": "MIT" },
        { "name": "mechanize", "version": "0.4.10", "licence": "BSD-3-Clause" },
    ]);
    assert_eq!(document["packages"]["python"], python);
    let debian = document["packages"]["debian"].as_array().unwrap();
    let wget = debian.iter().find(|package| package["name"] == "wget").unwrap();
    assert_eq!(wget["version"], "1.25.0-2");
    assert!(wget["licence"].as_str().unwrap().starts_with("GPL-3"), "{wget}");
    assert!(
        debian.iter().any(|package| package["name"] == "libpsl5"),
        "what wget needs is there"
    );
    let keys: Vec<&str> = document.as_object().unwrap().keys().map(String::as_str).collect();
    let documented = [
        "changes",
        "created",
        "digest",
        "elapsed_ms",
        "findings",
        "image",
        "missing_libraries",
        "notes",
        "packages",
        "previous",
        "size_bytes",
        "sufficient",
        "verdict",
    ];
    assert_eq!(keys, documented);
}

#[test]
fn versions_count_up_and_say_what_changed() {
    let world = World::new();
    let text = world.host.transcript(&[
        &[
            "create",
            "example_name",
            "--dependencies",
            "mechanize",
            "--packages",
            "wget",
        ],
        &[
            "create",
            "example_name",
            "--packages",
            "wget",
            "--dependencies",
            "mechanize",
        ],
        &[
            "create",
            "example_name",
            "--dependencies",
            "mechanize,requests<2.32",
            "--packages",
            "jq",
        ],
        &["create", "example_name", "--dependencies", "requests"],
        &["create", "example_name", "--dependencies", "requests", "--quiet"],
        &["create", "other", "--dependencies", "requests>2"],
        &["create", "example_name", "--dependencies", "requests==2.32.4"],
        &["images", "--sort", "name"],
    ]);
    world
        .host
        .assert_snapshot("versions_count_up_and_say_what_changed", &text);
}

#[test]
fn an_image_that_suffices_is_named_first() {
    let world = World::new();
    world.create_example();
    let document = world
        .cooper(&["create", "wget_only", "--packages", "wget", "--json"])
        .good()
        .json();
    assert_eq!(
        (&document["sufficient"], &document["created"]),
        (&json!("local/example_name:1.0.0.1"), &json!(true))
    );
    let reused = world
        .cooper(&["create", "any", "--dependencies", "html5lib", "--reuse", "--json"])
        .good()
        .json();
    assert_eq!(
        (&reused["image"], &reused["created"]),
        (&json!("local/example_name:1.0.0.1"), &json!(false))
    );
    assert_eq!(world.cooper(&["inspect", "any"]).status, 1, "none was made");
    let more = world
        .cooper(&["create", "more", "--packages", "wget,jq", "--reuse", "--json"])
        .good()
        .json();
    assert_eq!(more["sufficient"], json!(null));
}

#[test]
fn the_organisation_and_version_are_settings() {
    let mut world = World::new();
    world.host.write(
        "project/cooper.toml",
        "organisation = \"team\"\nimage.version = \"2.1\"\n",
    );
    assert_eq!(world.create_example()["image"], json!("team/example_name:2.1.1"));
    world.host.set("COOPER_IMAGE_VERSION", "3");
    assert_eq!(
        world.create_example()["created"],
        json!(false),
        "the same lock, whatever its number"
    );
    let other = world
        .cooper(&["create", "example_name", "--packages", "jq", "--json"])
        .good()
        .json();
    assert_eq!(other["image"], json!("team/example_name:3.1"));
    let found = world
        .cooper(&["inspect", "team/example_name:2.1.1", "--json"])
        .good()
        .json();
    assert_eq!(found["image"], json!("team/example_name:2.1.1"));
}

#[test]
fn a_lock_gives_the_same_image_anywhere() {
    let world = World::new();
    let first = world.create_example();
    let lock = world.cooper(&["inspect", "example_name", "--lock"]).good().stdout;
    assert_eq!(
        lock,
        world
            .cooper(&["inspect", "example_name", "--lock", "--json"])
            .good()
            .stdout
    );

    let mut other = world.another_host();
    other.set("TZ", "Asia/Tokyo");
    other.set("LC_ALL", "tr_TR.UTF-8");
    other.write("project/example.lock", &lock);
    let args = ["create", "copy", "--locked", "example.lock", "--json"];
    let copy = other
        .cooper_from_shell("umask 077; exec \"$@\"", &args)
        .good()
        .json();
    assert_eq!(copy["digest"], first["digest"]);
    assert_eq!(copy["image"], json!("local/copy:1.0.0.1"));
    assert_eq!(
        copy["findings"][0]["code"],
        json!("INTEGRITY-UNCHECKED-SNAPSHOT"),
        "{copy}"
    );

    // The artefacts are there: neither a network nor a mirror's address is needed.
    other.set("COOPER_DEBIAN_MIRROR", "http://127.0.0.1:9/debian");
    world.server.clear_requests();
    let again = other
        .cooper(&[
            "create",
            "offline",
            "--locked",
            "example.lock",
            "--offline",
            "--json",
        ])
        .good()
        .json();
    assert_eq!(again["digest"], first["digest"]);
    let piped = other
        .cooper_with_input(&["create", "piped", "--locked", "-", "--json"], &lock)
        .good()
        .json();
    assert_eq!(piped["digest"], first["digest"]);
    assert_eq!(world.server.requests(), [], "nothing was fetched");
}

#[test]
fn the_signed_indexes_of_a_lock_are_checked_again_where_they_are_kept() {
    let mut world = World::new();
    let first = world.create_example();
    let lock = world.cooper(&["inspect", "example_name", "--lock"]).good().json();
    let create = |world: &World, lock: &serde_json::Value| {
        let args = ["create", "copy", "--locked", "-", "--offline", "--json"];
        world.host.cooper_with_input(&args, &lock.to_string())
    };
    let copy = create(&world, &lock).good().json();
    assert_eq!(copy["digest"], first["digest"]);
    assert!(!copy["findings"].to_string().contains("INTEGRITY-"), "{copy}");

    // The files are kept with the image, and say themselves from when they are and who has signed them.
    let digests: Vec<&str> = lock["origin"]["snapshots"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|snapshot| snapshot["kind"] == "debian")
        .map(|snapshot| snapshot["digest"].as_str().unwrap())
        .collect();
    let record = world.host.path("store/refs/local/copy/1.0.0.1.json");
    let record = std::fs::read_to_string(record).unwrap();
    assert!(
        digests.len() == 3 && digests.iter().all(|digest| record.contains(digest)),
        "{record}"
    );
    let mut lying = lock.clone();
    lying["origin"]["snapshots"][0]["date"] = json!("2031-01-01T00:00:00Z");
    lying["origin"]["snapshots"][0]["newest_seen"] = json!("2031-01-01T00:00:00Z");
    let told = create(&world, &lying).with(3).json();
    assert_eq!(
        told["error"]["findings"][0]["code"],
        json!("INTEGRITY-ROLLED-BACK"),
        "{told}"
    );
    let mut other_suite = lock.clone();
    other_suite["origin"]["snapshots"][0]["digest"] = lock["origin"]["snapshots"][1]["digest"].clone();
    let told = create(&world, &other_suite).with(3).json();
    assert_eq!(
        told["error"]["findings"][0]["code"],
        json!("INTEGRITY-UNSIGNED"),
        "{told}"
    );

    let strangers = world.host.path("strangers.gpg");
    std::fs::File::create(&strangers)
        .unwrap()
        .write_all(&testkit::SigningKey::stranger().certificate())
        .unwrap();
    world
        .host
        .set("COOPER_DEBIAN_KEYRING", &strangers.display().to_string());
    let told = create(&world, &lock).with(3).json();
    assert_eq!(
        told["error"]["findings"][0]["code"],
        json!("INTEGRITY-UNSIGNED"),
        "{told}"
    );
}

#[test]
fn offline_and_freshness_decide_what_is_fetched() {
    let world = World::new();
    let offline = world
        .cooper(&["create", "a", "--packages", "wget", "--offline", "--json"])
        .with(1)
        .json();
    assert_eq!(offline["error"]["code"], json!("offline"), "{offline}");
    world.create_example();
    world.server.clear_requests();
    world.create_example();
    assert_eq!(world.server.requests(), [], "fresh enough");
    let args = [
        "create",
        "example_name",
        "--dependencies",
        "mechanize",
        "--packages",
        "wget",
        "--json",
    ];
    let refreshed = world.cooper(&[&args[..], &["--refresh"]].concat()).good().json();
    assert_eq!(refreshed["created"], json!(false));
    assert!(!world.server.requests().is_empty(), "asked again");
    world.server.clear_requests();
    let offline = world.cooper(&[&args[..], &["--offline"]].concat()).good().json();
    assert_eq!(
        (offline["created"].clone(), world.server.requests().len()),
        (json!(false), 0)
    );
}

#[test]
fn two_creates_of_one_name_both_succeed() {
    let world = World::new();
    let lists = ["wget", "jq", "wget", "libxslt1.1"];
    let children: Vec<_> = lists
        .map(|list| {
            world
                .host
                .start(&["create", "example", "--packages", list, "--json"])
        })
        .into();
    let mut made: Vec<(bool, String)> = Vec::new();
    for child in children {
        let document = done(&child.wait_with_output().unwrap()).good().json();
        made.push((
            document["created"].as_bool().unwrap(),
            document["image"].as_str().unwrap().to_owned(),
        ));
    }
    let mut new: Vec<&str> = made
        .iter()
        .filter(|(new, _)| *new)
        .map(|(_, image)| image.as_str())
        .collect();
    new.sort_unstable();
    assert_eq!(
        new,
        [
            "local/example:1.0.0.1",
            "local/example:1.0.0.2",
            "local/example:1.0.0.3"
        ],
        "{made:?}"
    );
    assert_eq!(made[0].1, made[2].1, "equal requests are one version");
    world.cooper(&["fsck"]).good();
}

#[test]
fn both_bases_are_made() {
    let archive = testkit::DebianArchive::with_minimal_base(cooper_core::Base::Bookworm)
        .package(testkit::DebPackage::new("wget", "1.21.3-1"));
    let world = World::of(&archive, &crate::context::index());
    let args = [
        "create",
        "old",
        "--packages",
        "wget",
        "--dependencies",
        "mechanize",
        "--base",
        "debian:bookworm",
        "--json",
    ];
    let document = world.cooper(&args).good().json();
    assert_eq!(document["created"], json!(true));
    let wrong = world
        .cooper(&["create", "new", "--packages", "wget", "--json"])
        .with(1)
        .json();
    assert_eq!(wrong["error"]["code"], json!("fetch-failed"), "{wrong}");
}

#[test]
fn passwords_of_an_index_are_used_and_not_kept() {
    let mut world = World::of(&archive(), &index().relative_urls());
    let address = world
        .server
        .url("simple/")
        .replace("http://", "http://alice:s3cret@");
    world.host.set("COOPER_PYTHON_INDEX", &address);
    world.create_example();
    let is_wheel = |path: &str| {
        std::path::Path::new(path)
            .extension()
            .is_some_and(|kind| kind == "whl")
    };
    let of_the_index = |path: &str| path.starts_with("/simple/") || is_wheel(path);
    let requests = world.server.requests();
    let asked: Vec<_> = requests
        .iter()
        .filter(|asked| of_the_index(&asked.path))
        .collect();
    assert!(asked.iter().any(|asked| is_wheel(&asked.path)), "{asked:?}");
    for asked in asked {
        assert_eq!(
            asked.header("authorization"),
            Some("Basic YWxpY2U6czNjcmV0"),
            "{asked:?}"
        );
    }
    let lock = world.cooper(&["inspect", "example_name", "--lock"]).good();
    assert!(!lock.stdout.contains("s3cret"), "{lock}");
    let kept = std::process::Command::new("grep")
        .args(["-r", "-l", "s3cret"])
        .arg(world.host.path("store"))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "");
}

#[test]
fn a_lock_of_two_bases_is_refused() {
    let world = World::new();
    world.create_example();
    let lock = world.cooper(&["inspect", "example_name", "--lock"]).good().json();
    let mut other = lock.clone();
    other["content"]["base"]["name"] = json!("debian:bookworm");
    let told = world
        .host
        .cooper_with_input(&["create", "copy", "--locked", "-", "--json"], &other.to_string())
        .with(1)
        .json();
    assert_eq!(told["error"]["code"], json!("invalid-lock"), "{told}");
    other["origin"]["request"]["base"] = json!("debian:bookworm");
    let told = world
        .host
        .cooper_with_input(&["create", "copy", "--locked", "-", "--json"], &other.to_string())
        .with(3)
        .json();
    assert!(told.to_string().contains("INTEGRITY-PLATFORM"), "{told}");
}

/// The base is made anew with a tree that the store has already; the layers above are built on it meanwhile.
#[test]
fn a_base_that_is_made_again_stays_until_the_layers_above_are_made() {
    let world = World::new();
    world.create_example();
    for round in 0..12 {
        std::fs::remove_dir_all(world.host.path("store/cache")).unwrap();
        let args = [
            "create",
            &format!("again{round}"),
            "--dependencies",
            "mechanize",
            "--packages",
            "wget,jq",
        ];
        world.cooper(&args).good();
    }
    world.cooper(&["fsck"]).good();
}
