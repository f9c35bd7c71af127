//! `cooper create --base IMAGE`: an image on an image.

use cooper_core::Base;
use serde_json::{Value, json};
use testkit::{DebPackage, DebianArchive, PythonIndex, Wheel};

use crate::context::{World, archive, index};

fn layers(world: &World, image: &str) -> Vec<Value> {
    let inspected = world.cooper(&["inspect", image, "--json"]).good().json();
    inspected["manifest"]["layers"].as_array().unwrap().clone()
}

/// The names of packages that an image has from a base, or by itself.
fn from(inspected: &Value, ecosystem: &str, base: &Value) -> Vec<String> {
    let packages = inspected["packages"][ecosystem].as_array().unwrap();
    let of_base = packages.iter().filter(|package| package["from_base"] == *base);
    of_base
        .map(|package| package["name"].as_str().unwrap().to_owned())
        .collect()
}

fn error(world: &World, args: &[&str], status: i32) -> (Value, String) {
    let done = world.cooper(&[args, &["--json"]].concat()).with(status).json();
    let error = &done["error"];
    let text = format!(
        "{} | {}",
        error["message"].as_str().unwrap(),
        error["hint"].as_str().unwrap_or_default()
    );
    (error["code"].clone(), text)
}

/// The usual archive on another day: another wget, and a package that needs it.
fn later_archive() -> DebianArchive {
    let wget = DebPackage::new("wget", "1.25.0-3").file("usr/bin/wget", "#!/bin/sh\n", 0o755);
    archive()
        .without_package("wget")
        .package(wget)
        .package(DebPackage::new("fetcher", "1").depends("wget (>= 1.25)"))
        .package(DebPackage::new("picky", "1").depends("wget (>= 1.25.0-3)"))
}

fn later_index() -> PythonIndex {
    let mechanize = Wheel::new("mechanize", "0.5.0").package("mechanize", "");
    index().wheel(mechanize.requires("html5lib>=1"))
}

fn another_day(world: &World) {
    world
        .server
        .replace(later_archive().routes().merge(later_index().routes()));
}

const MORE: [&str; 8] = [
    "create",
    "more",
    "--base",
    "example_name",
    "--dependencies",
    "requests,html5lib",
    "--packages",
    "jq,wget",
];

#[test]
fn layers_are_shared_and_only_what_is_missing_is_added() {
    let world = World::new();
    world.create_example();
    let created = world.cooper(&[&MORE[..], &["--json"]].concat()).good().json();
    let notes = created["notes"].to_string();
    assert!(
        notes.contains("`html5lib` is part of the base local/example_name:1.0.0.1 already"),
        "{notes}"
    );
    assert!(notes.contains("`wget` is part of the base already"), "{notes}");
    let (below, above) = (layers(&world, "example_name"), layers(&world, "more"));
    assert_eq!((below.len(), above.len()), (3, 5));
    assert_eq!(above[..3], below[..]);
    let inspected = world.cooper(&["inspect", "more", "--json"]).good().json();
    let base = json!("local/example_name:1.0.0.1");
    assert_eq!(inspected["base"], base);
    assert_eq!(from(&inspected, "debian", &base), ["libpsl5", "wget"]);
    assert_eq!(from(&inspected, "python", &base), ["html5lib", "mechanize"]);
    assert_eq!(from(&inspected, "python", &Value::Null), ["requests"]);
    let text = world.cooper(&["inspect", "more"]).good().stdout;
    assert!(text.contains("on        local/example_name:1.0.0.1"), "{text}");
    assert!(
        text.contains("BSD-3-Clause  (from base local/example_name:1.0.0.1)"),
        "{text}"
    );
    let diff = world.cooper(&["diff", "example_name", "more"]).good().stdout;
    assert_eq!(diff, "+ debian jq 1.7.1-6\n+ python requests 2.32.3\n");
    let diff = world.cooper(&["create", "lean", "--packages", "jq"]).good();
    drop(diff);
    let diff = world.cooper(&["diff", "lean", "more"]).good().stdout;
    assert!(
        diff.contains("+ python mechanize 0.4.10 (from base local/example_name:1.0.0.1)\n"),
        "{diff}"
    );

    for program in ["wget", "jq"] {
        world.cooper(&["run", "more", "--", program]).good();
    }
    let database = ["run", "more", "--", "cat", "/var/lib/dpkg/status"];
    let database = world.cooper(&database).good().stdout;
    assert_eq!(database.matches("Package: wget\n").count(), 1);
    assert_eq!(database.matches("Package: jq\n").count(), 1);
    world.cooper(&["fsck"]).good();
    // The same again, and nothing asked for beyond what is there.
    let again = world.cooper(&[&MORE[..], &["--json"]].concat()).good().json();
    assert_eq!(again["created"], json!(false));
    world
        .cooper(&["create", "same", "--base", "example_name", "--packages", "wget"])
        .good();
    assert_eq!(layers(&world, "same"), below);
}

#[test]
fn a_lock_alone_makes_it_again_elsewhere() {
    let world = World::new();
    world.create_example();
    world.cooper(&MORE).good();
    world
        .cooper(&["create", "top", "--base", "more", "--packages", "libxslt1.1"])
        .good();
    let (more, top) = (layers(&world, "more"), layers(&world, "top"));
    assert_eq!((top.len(), &top[..5]), (6, &more[..]));
    let inspected = world.cooper(&["inspect", "top", "--json"]).good().json();
    let bases = ["local/example_name:1.0.0.1", "local/more:1.0.0.1"].map(|image| json!(image));
    assert_eq!(from(&inspected, "debian", &bases[0]), ["libpsl5", "wget"]);
    assert_eq!(from(&inspected, "debian", &bases[1]), ["jq"]);
    let lock = world.cooper(&["inspect", "top", "--lock"]).good().stdout;
    let other = world.another_host();
    other.write("project/top.lock", &lock);
    let made = other
        .cooper(&["create", "copy", "--locked", "top.lock", "--json"])
        .good()
        .json();
    assert_eq!(made["digest"], inspected["digest"]);
    let copied = other.cooper(&["inspect", "copy", "--json"]).good().json();
    assert_eq!(copied["lock"], inspected["lock"]);
    assert_eq!(from(&copied, "debian", &bases[1]), ["jq"]);
    // It can be a base there, and what it stood on is no image there.
    other
        .cooper(&[
            "create",
            "on_copy",
            "--base",
            "copy",
            "--dependencies",
            "requests",
        ])
        .good();
    other
        .cooper(&["remove", "on_copy:1.0.0.1", "copy:1.0.0.1"])
        .good();
}

#[test]
fn what_the_base_has_stays_as_it_is() {
    let world = World::new();
    world.create_example();
    another_day(&world);
    let create = |args: &[&str]| {
        let create = ["create", "more", "--base", "example_name:1.0.0.1", "--refresh"];
        error(&world, &[&create[..], args].concat(), 1)
    };
    let (code, text) = create(&["--dependencies", "mechanize>=0.5"]);
    assert_eq!(code, json!("base-conflict"));
    assert!(
        text.contains("`mechanize>=0.5` does not go with the base local/example_name:1.0.0.1, which has mechanize 0.4.10"),
        "{text}"
    );
    let (_, text) = create(&["--packages", "wget=1.25.0-3"]);
    assert!(
        text.contains("local/example_name:1.0.0.1 is made with wget 1.25.0-2"),
        "{text}"
    );
    let (_, text) = create(&["--packages", "picky"]);
    assert!(
        text.contains("the base local/example_name:1.0.0.1 has wget 1.25.0-2"),
        "{text}"
    );
    // No archive has that wget any more; it is there, and it will do.
    let args = [
        "create",
        "more",
        "--base",
        "example_name:1.0.0.1",
        "--packages",
        "fetcher",
        "--json",
    ];
    let created = world.cooper(&args).good().json();
    let wget = created["packages"]["debian"].as_array().unwrap().iter();
    let wget: Vec<&Value> = wget.filter(|package| package["name"] == "wget").collect();
    assert_eq!((wget.len(), &wget[0]["version"]), (1, &json!("1.25.0-2")));
}

#[test]
fn what_is_merely_needed_does_not_replace_the_base_either() {
    let wants = Wheel::new("wants", "1.0")
        .package("wants", "")
        .requires("html5lib>=2");
    let extra = Wheel::new("extra", "1.0")
        .package("extra", "")
        .requires("old[more]");
    let old = Wheel::new("old", "2.0")
        .package("old", "")
        .extra("more", "requests<2.32");
    let html5lib = Wheel::new("html5lib", "2.0").package("html5lib", "");
    let world = World::of(
        &archive(),
        &index().wheel(wants).wheel(html5lib).wheel(extra).wheel(old),
    );
    let base = ["create", "base", "--dependencies", "html5lib<2,old==2.0"];
    world.cooper(&base).good();
    let (code, text) = error(
        &world,
        &["create", "a", "--base", "base", "--dependencies", "wants"],
        1,
    );
    assert_eq!(code, json!("unresolvable"));
    assert!(
        text.contains("the base local/base:1.0.0.1 has html5lib 1.1"),
        "{text}"
    );
    // An extra of what is there: its own metadata says what that needs.
    let created = world
        .cooper(&[
            "create",
            "a",
            "--base",
            "base",
            "--dependencies",
            "extra",
            "--json",
        ])
        .good()
        .json();
    let python = created["packages"]["python"].as_array().unwrap().iter();
    let python: Vec<&str> = python.map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(python, ["extra", "html5lib", "old", "requests"]);
    let file = Wheel::new("thief", "1.0").file("html5lib/__init__.py", "stolen");
    world
        .server
        .replace(archive().routes().merge(index().wheel(file).routes()));
    let (code, text) = error(
        &world,
        &["create", "b", "--base", "base", "--dependencies", "thief"],
        1,
    );
    assert_eq!(code, json!("unusable-artefact"), "{text}");
    assert!(
        text.contains("html5lib/__init__.py` is in the base already, and is another file"),
        "{text}"
    );
    // The same file is no theft.
    let file = Wheel::new("twin", "1.0").file("html5lib/__init__.py", "");
    world
        .server
        .replace(archive().routes().merge(index().wheel(file).routes()));
    world
        .cooper(&["create", "b", "--base", "base", "--dependencies", "twin"])
        .good();
}

#[test]
fn an_update_follows_the_base_unless_it_names_a_version() {
    let world = World::new();
    world.create_example();
    world
        .cooper(&["create", "follows", "--base", "example_name", "--packages", "jq"])
        .good();
    world
        .cooper(&[
            "create",
            "stays",
            "--base",
            "example_name:1.0.0.1",
            "--packages",
            "jq",
        ])
        .good();
    another_day(&world);
    let same = world
        .cooper(&["update", "follows", "--refresh", "--json"])
        .good()
        .json();
    assert_eq!(same[0]["outcome"], json!("same"));
    world.cooper(&["update", "example_name", "--refresh"]).good();
    let planned = world
        .cooper(&["update", "follows", "--dry-run", "--json"])
        .good()
        .json();
    let updated = world.cooper(&["update", "follows", "--json"]).good().json();
    assert_eq!(updated[0]["image"], json!("local/follows:1.0.0.2"));
    assert_eq!(planned[0]["changes"], updated[0]["changes"]);
    let change = json!({
        "ecosystem": "python", "name": "mechanize", "before": "0.4.10", "now": "0.5.0",
        "from_base": "local/example_name:1.0.0.2",
    });
    assert!(
        updated[0]["changes"].as_array().unwrap().contains(&change),
        "{updated}"
    );
    // Of all, bases come before those that follow them, whatever their names.
    world
        .cooper(&[
            "create",
            "a_first",
            "--base",
            "follows",
            "--packages",
            "libxslt1.1",
        ])
        .good();
    let newer = later_index().wheel(Wheel::new("mechanize", "0.6.0").package("mechanize", ""));
    world
        .server
        .replace(later_archive().routes().merge(newer.routes()));
    let all = world
        .cooper(&["update", "--all", "--refresh", "--json"])
        .good()
        .json();
    let order: Vec<&Value> = all.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(order, ["example_name", "follows", "a_first", "stays"]);
    assert_eq!(all[2]["outcome"], json!("new"), "{all}");
    let stays = world.cooper(&["update", "stays", "--json"]).good().json();
    assert_eq!(stays[0]["outcome"], json!("same"));
}

#[test]
fn wrong_bases_are_told_with_what_to_type() {
    let world = World::new();
    world.create_example();
    let base =
        |base: &str, name: &str| error(&world, &["create", name, "--base", base, "--packages", "jq"], 1);
    let (code, text) = base("exmaple_name", "a");
    assert_eq!(code, json!("unknown-image"));
    assert!(
        text.contains("did you mean `example_name`") && text.contains("debian:trixie"),
        "{text}"
    );
    assert_eq!(base("example_name:1.0.0.7", "a").0, json!("unknown-image"));
    let (code, text) = base("acme/example_name", "a");
    assert_eq!(code, json!("unusable-base"));
    assert!(text.contains("only own images are bases"), "{text}");
    let (code, text) = base("example_name", "example_name");
    assert_eq!(code, json!("unusable-base"));
    assert!(
        text.contains("is itself") && text.contains("--base example_name:1.0.0.1"),
        "{text}"
    );
    // A version of itself is one that was made before.
    let itself = [
        "create",
        "example_name",
        "--base",
        "local/example_name:1.0.0.1",
        "--packages",
        "jq",
    ];
    world.cooper(&itself).good();
    world
        .cooper(&[
            "create",
            "between",
            "--base",
            "example_name",
            "--packages",
            "libxslt1.1",
        ])
        .good();
    let (_, text) = base("between", "example_name");
    assert!(text.contains("stands on it"), "{text}");
    let usage = world
        .cooper(&["create", "a", "--base", "debian:sid", "--packages", "jq"])
        .with(2);
    assert!(usage.stderr.contains("or an image"), "{usage}");
    let mut below = "between".to_owned();
    for depth in 3..8 {
        let name = format!("level{depth}");
        world
            .cooper(&["create", &name, "--base", &below, "--packages", "wget"])
            .good();
        below = name;
    }
    world
        .cooper(&["create", "deepest", "--base", &below, "--packages", "wget"])
        .good();
    let (code, text) = base("deepest", "too_deep");
    assert_eq!(code, json!("unusable-base"), "{text}");
}

#[test]
fn a_base_is_not_removed_from_under_others() {
    let world = World::new();
    world.create_example();
    world.cooper(&MORE).good();
    let (code, text) = error(&world, &["remove", "example_name:1.0.0.1"], 1);
    assert_eq!(code, json!("base-of-others"));
    assert!(
        text.contains("`local/example_name:1.0.0.1` is the base of `local/more:1.0.0.1`"),
        "{text}"
    );
    let (code, _) = error(&world, &["remove", "example*"], 1);
    assert_eq!(code, json!("base-of-others"));
    world
        .cooper(&["create", "example_name", "--packages", "jq"])
        .good();
    let kept = world.cooper(&["gc", "--keep", "1", "--json"]).good().json();
    assert_eq!(kept["removed"], json!([]));
    world.cooper(&["run", "more", "--", "wget"]).good();
    world
        .cooper(&["remove", "example_name:1.0.0.1", "more:1.0.0.1"])
        .good();
    world.cooper(&["gc"]).good();
    world.cooper(&["fsck"]).good();
}

#[test]
fn what_is_missing_of_a_base_is_made_again() {
    let world = World::new();
    world.create_example();
    let record =
        std::fs::read_to_string(world.host.path("store/refs/local/example_name/1.0.0.1.json")).unwrap();
    let record: Value = serde_json::from_str(&record).unwrap();
    let trees = world.host.path("store/trees/sha256");
    std::fs::remove_dir_all(&trees).unwrap();
    std::fs::create_dir(&trees).unwrap();
    world.cooper(&MORE).good();
    assert_eq!(layers(&world, "more")[..3], layers(&world, "example_name")[..]);
    world.cooper(&["run", "more", "--", "wget"]).good();
    let lock = record["details"]["lock_file"]
        .as_str()
        .unwrap()
        .strip_prefix("sha256:")
        .unwrap();
    std::fs::remove_file(world.host.path("store/blobs/sha256").join(lock)).unwrap();
    let (code, text) = error(
        &world,
        &["create", "other", "--base", "example_name", "--packages", "jq"],
        1,
    );
    assert_eq!(code, json!("store"));
    assert!(
        text.contains("the lock of `local/example_name:1.0.0.1`") && text.contains("fsck"),
        "{text}"
    );
}

#[test]
fn the_release_is_that_of_the_base() {
    let bookworm = DebianArchive::with_minimal_base(Base::Bookworm).package(DebPackage::new("jq", "1.6-2"));
    let world = World::of(&bookworm, &index());
    let base = ["create", "base", "--base", "debian:bookworm", "--packages", "jq"];
    world.cooper(&base).good();
    world
        .cooper(&["create", "top", "--base", "base", "--dependencies", "requests"])
        .good();
    let inspected = world.cooper(&["inspect", "top", "--json"]).good().json();
    let name = &inspected["manifest"]["annotations"]["org.opencontainers.image.base.name"];
    assert_eq!(*name, json!("debian:bookworm"));
}
