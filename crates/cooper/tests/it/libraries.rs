//! Shared libraries that wheels ask for: told, kept with the image, added where that is wished; and what packages
//! recommend.

use serde_json::{Value, json};
use testkit::{DebPackage, DebianArchive, ElfLibrary, PythonIndex, Wheel};

use crate::context::{World, archive, index};
use crate::live::live_host;

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

fn package(name: &str) -> DebPackage {
    DebPackage::new(name, "1-1")
}

/// Libraries whose packages are found by their name (`libgl1`) and by the list of contents (`libodd-bin`).
fn debian() -> DebianArchive {
    let library = |name: &str| ElfLibrary::new().soname(name).build();
    archive()
        .package(package("libgl1").depends("libglx0").file(
            &format!("{LIBRARIES}/libGL.so.1"),
            library("libGL.so.1"),
            0o644,
        ))
        .package(package("libglx0").file(&format!("{LIBRARIES}/libGLX.so.0"), library("libGLX.so.0"), 0o644))
        .package(package("libpq5").file(&format!("{LIBRARIES}/libpq.so.5"), library("libpq.so.5"), 0o644))
        .package(package("libodd-bin").file(
            &format!("{LIBRARIES}/libodd.so.3"),
            library("libodd.so.3"),
            0o644,
        ))
        .package(package("wide").recommends("jq, nothing-like-it"))
        .contents(&format!(
            "{LIBRARIES}/libodd.so.3 libs/libodd-bin\n{LIBRARIES}/libGL.so.1 libs/libgl1\n"
        ))
}

/// `vision` asks for libraries in all ways: bundled, of another wheel, of packages, of nobody, for another machine.
fn python() -> PythonIndex {
    let tag = "cp313-cp313-manylinux_2_28_x86_64";
    let module = ElfLibrary::new()
        .needs("libbundled-1a2b.so.1")
        .needs("libGL.so.1")
        .needs("libodd.so.3")
        .needs("libcuda.so.1")
        .needs("libother.so.1")
        .run_path("$ORIGIN/../vision.libs");
    let bundled = ElfLibrary::new().soname("libbundled-1a2b.so.1");
    let plugin = ElfLibrary::new().needs("libpq.so.5");
    let arm = ElfLibrary::new().needs("libarm.so.1").machine(183);
    let musl = ElfLibrary::new()
        .needs("libc.musl-x86_64.so.1")
        .needs("libmusl.so.1");
    let vision = Wheel::new("vision", "1.0")
        .tag(tag)
        .requires("other")
        .package("vision", "")
        .file("vision/core.cpython-313-x86_64-linux-gnu.so", module.build())
        .file(
            "vision/old.cpython-39-x86_64-linux-gnu.so",
            ElfLibrary::new().needs("libold.so.1").build(),
        )
        .file("vision.libs/libbundled-1a2b.so.1", bundled.build())
        .file("vision/plugins/libsql.so", plugin.build())
        .file("vision/arm.so", arm.build())
        .file("vision/musl.so", musl.build())
        .file("vision/broken.so", "\x7fELF and no more");
    let other = Wheel::new("other", "1.0").tag(tag).file(
        "other/libother.so.1",
        ElfLibrary::new().soname("libother.so.1").build(),
    );
    index().wheel(vision).wheel(other)
}

fn world() -> World {
    World::of(&debian(), &python())
}

fn library(name: &str, package: Option<(&str, &str)>) -> Value {
    json!({
        "library": name,
        "needed_by": ["vision"],
        "file": "/usr/local/lib/python3.13/dist-packages/vision/core.cpython-313-x86_64-linux-gnu.so",
        "package": package.map(|(name, _)| name),
        "how": package.map(|(_, how)| how),
    })
}

fn plugin() -> Value {
    let mut plugin = library("libpq.so.5", Some(("libpq5", "name")));
    plugin["plugin"] = json!(true);
    plugin["file"] = json!("/usr/local/lib/python3.13/dist-packages/vision/plugins/libsql.so");
    plugin
}

#[test]
fn missing_libraries_are_told_with_their_packages_and_kept() {
    let world = world();
    let created = world
        .cooper(&["create", "x", "--dependencies", "vision", "--json"])
        .good();
    let missing = json!([
        library("libGL.so.1", Some(("libgl1", "contents"))),
        library("libcuda.so.1", None),
        library("libodd.so.3", Some(("libodd-bin", "contents"))),
        plugin(),
    ]);
    assert_eq!(created.json()["missing_libraries"], missing, "{created}");
    // The layers are remembered; so is what they ask for.
    for args in [
        &["create", "y", "--dependencies", "vision", "--json"][..],
        &["inspect", "x", "--json"],
    ] {
        assert_eq!(
            world.cooper(args).good().json()["missing_libraries"],
            missing,
            "{args:?}"
        );
    }
    let text = world.host.transcript(&[
        &["create", "x", "--dependencies", "vision"],
        &[
            "create",
            "x",
            "--dependencies",
            "vision",
            "--packages",
            "libgl1,libodd-bin",
        ],
        &["inspect", "x"],
    ]);
    world
        .host
        .assert_snapshot("missing_libraries_are_told_with_their_packages_and_kept", &text);
}

#[test]
fn an_image_that_lacks_nothing_says_nothing() {
    let world = world();
    let created = world.create_example();
    assert_eq!(created["missing_libraries"], json!([]));
}

#[test]
fn missing_libraries_are_added_where_that_is_wished() {
    let world = world();
    let first = world
        .cooper(&[
            "create",
            "x",
            "--dependencies",
            "vision",
            "--fix-missing",
            "--json",
        ])
        .good()
        .json();
    let names = |document: &Value| {
        let packages = document["packages"]["debian"].as_array().unwrap();
        packages
            .iter()
            .map(|package| package["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for added in ["libgl1", "libglx0", "libodd-bin"] {
        assert!(names(&first).contains(&added.to_owned()), "{first}");
    }
    assert!(
        !names(&first).contains(&"libpq5".to_owned()),
        "only a plug-in asks for it: {first}"
    );
    assert_eq!(
        first["missing_libraries"],
        json!([library("libcuda.so.1", None), plugin()])
    );
    let line = "/docker_image_create name=x dependencies=vision fix-missing=true";
    let again = world.cooper(&[line, "--json"]).good().json();
    assert_eq!(
        (&again["created"], &again["image"]),
        (&json!(false), &first["image"])
    );
    let request = &world.cooper(&["inspect", "x", "--json"]).good().json()["request"];
    assert_eq!(request["added"], json!(["libgl1", "libodd-bin"]));
    assert_eq!(request["fix_missing"], json!(true));
    let updated = world
        .cooper(&["update", "x", "--refresh", "--json"])
        .good()
        .json();
    assert_eq!(updated[0]["outcome"], "same", "{updated}");
    let by_hand = [
        "create",
        "y",
        "--dependencies",
        "vision",
        "--packages",
        "libgl1,libodd-bin",
        "--json",
    ];
    assert_eq!(world.cooper(&by_hand).good().json()["digest"], first["digest"]);
    let reuse = [
        "create",
        "z",
        "--dependencies",
        "vision",
        "--fix-missing",
        "--reuse",
        "--json",
    ];
    assert_eq!(
        world.cooper(&reuse).good().json()["created"],
        json!(true),
        "none of them lacks nothing"
    );
}

#[test]
fn what_is_recommended_comes_where_that_is_wished() {
    let world = world();
    let without = world
        .cooper(&["create", "x", "--packages", "wide", "--json"])
        .good()
        .json();
    let with = world
        .cooper(&["create", "x", "--packages", "wide", "--recommends", "--json"])
        .good()
        .json();
    let debian = |document: &Value| document["packages"]["debian"].to_string();
    assert!(
        !debian(&without).contains("\"jq\"") && debian(&with).contains("\"jq\""),
        "{with}"
    );
    assert_eq!(
        with["notes"],
        json!(["`wide` recommends `nothing-like-it`, which cannot be installed and is left out"])
    );
    let line = "/docker_image_create name=x packages=wide recommends=true";
    let again = world.cooper(&[line, "--json"]).good().json();
    assert_eq!(again["created"], json!(false));
    assert_eq!(
        world.cooper(&["update", "x", "--json"]).good().json()[0]["outcome"],
        "same"
    );
    world
        .cooper(&["/docker_image_create name=x packages=wide recommends=perhaps"])
        .with(2);
}

#[test]
fn live_a_wheel_that_lacks_a_library_works_when_it_is_added() {
    let host = live_host();
    let code = "import pyodbc; print(pyodbc.drivers())";
    let lacking = host
        .cooper(&["create", "odbc", "--dependencies", "pyodbc", "--json"])
        .good()
        .json();
    assert_eq!(
        lacking["missing_libraries"][0]["library"], "libodbc.so.2",
        "{lacking}"
    );
    let failed = host.cooper(&["run", "odbc", "-c", code]);
    assert!(
        failed.status != 0 && failed.stderr.contains("libodbc.so.2"),
        "{failed}"
    );
    let fixed = host
        .cooper(&[
            "create",
            "odbc",
            "--dependencies",
            "pyodbc",
            "--fix-missing",
            "--json",
        ])
        .good()
        .json();
    assert_eq!(fixed["missing_libraries"], json!([]));
    host.cooper(&["run", "odbc", "-c", code]).good();
}
