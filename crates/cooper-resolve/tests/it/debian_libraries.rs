//! Which package has a library, and what is recommended.

use std::collections::BTreeSet;

use cooper_core::{Base, LibraryEvidence};
use cooper_resolve::debian::{self, Recommends};
use testkit::{DebianArchive, Fault};

use crate::debian_world::{World, archive, made, requests, shown};

const CONTENTS: &str = "bin/x shells/x\n\
    usr/lib/x86_64-linux-gnu/libGL.so.1   libs/libgl1\n\
    usr/lib/x86_64-linux-gnu/libglib-2.0.so.0\tlibs/libglib2.0-0t64\n\
    usr/lib/x86_64-linux-gnu/libgone.so.1 libs/libgone-extra\n\
    usr/lib/x86_64-linux-gnu/libdev.so libdevel/libdev-dev,libs/libdev-run\n";

fn libraries() -> DebianArchive {
    archive([
        made("libgl1", "1-1"),
        made("libglib2.0-0t64", "1-1"),
        made("libxml2-16", "1-1"),
        made("libdev-dev", "1-1"),
        made("libdev-run", "1-1"),
    ])
}

fn found(world: &World, libraries: &[&str]) -> Vec<String> {
    let wanted: BTreeSet<String> = libraries.iter().map(|name| (*name).to_owned()).collect();
    let found = world.with_context(|context| debian::packages_with(context, Base::Trixie, &wanted));
    let found = found.unwrap().into_iter();
    found
        .map(|(library, (package, how))| {
            let how = if how == LibraryEvidence::Name {
                "name"
            } else {
                "contents"
            };
            format!("{library} {package} {how}")
        })
        .collect()
}

#[test]
fn names_tell_before_the_list_of_contents_is_fetched() {
    let world = World::new(&libraries().contents(CONTENTS));
    let named = ["libGL.so.1", "libxml2.so.16"];
    assert_eq!(
        found(&world, &named),
        ["libGL.so.1 libgl1 name", "libxml2.so.16 libxml2-16 name"]
    );
    let asked = || {
        world
            .kit
            .server()
            .count("/debian/dists/trixie/main/Contents-amd64.gz")
    };
    assert_eq!(asked(), 0, "names were enough");
    let all = [
        "libGL.so.1",
        "libglib-2.0.so.0",
        "libgone.so.1",
        "libdev.so",
        "libnone.so.9",
    ];
    let told = [
        "libGL.so.1 libgl1 contents",
        "libdev.so libdev-run contents",
        "libglib-2.0.so.0 libglib2.0-0t64 contents",
    ];
    assert_eq!(found(&world, &all), told);
    assert_eq!(asked(), 1);
    assert_eq!(
        found(&world, &["libGL.so.1"]),
        ["libGL.so.1 libgl1 contents"],
        "the list is kept"
    );
}

#[test]
fn a_list_of_contents_that_is_another_or_not_there_leaves_the_names() {
    let wanted = ["libGL.so.1", "libdev.so"];
    assert_eq!(
        found(&World::new(&libraries()), &wanted),
        ["libGL.so.1 libgl1 name"]
    );
    let path = "/debian/dists/trixie/main/Contents-amd64.gz";
    for fault in [
        Fault::WrongBytes,
        Fault::NotFound,
        Fault::CutShort(20),
        Fault::Endless,
    ] {
        let world = World::new(&libraries().contents(CONTENTS));
        world.kit.server().fault(path, fault.clone());
        assert_eq!(found(&world, &wanted), ["libGL.so.1 libgl1 name"], "{fault:?}");
        let asked = world.kit.server().count(path);
        assert_eq!(found(&world, &wanted), ["libGL.so.1 libgl1 name"], "{fault:?}");
        assert_eq!(
            world.kit.server().count(path),
            asked,
            "not again at once: {fault:?}"
        );
    }
}

fn recommending() -> DebianArchive {
    archive([
        made("tool", "1-1")
            .depends("core")
            .recommends("extra | other, missing, virtual-thing"),
        made("core", "1-1").recommends("core-doc"),
        made("core-doc", "1-1").recommends("enemy"),
        made("extra", "1-1").recommends("base-helper"),
        made("other", "1-1"),
        made("provider", "1-1").provides("virtual-thing"),
        made("enemy", "1-1").conflicts("core"),
        made("base-helper", "1-1"),
    ])
}

#[test]
fn what_is_recommended_comes_too_and_what_cannot_is_told() {
    let world = World::new(&recommending());
    let resolve = |recommends| {
        world
            .with_context(|context| debian::resolve(context, Base::Trixie, &requests("tool"), recommends))
            .unwrap()
    };
    assert_eq!(
        shown(&resolve(Recommends::LeftOut).packages),
        ["core 1-1", "tool 1-1"]
    );
    let solution = resolve(Recommends::Installed);
    assert_eq!(
        shown(&solution.packages),
        [
            "base-helper 1-1",
            "core 1-1",
            "core-doc 1-1",
            "extra 1-1",
            "provider 1-1",
            "tool 1-1"
        ]
    );
    assert_eq!(
        solution.notes,
        [
            "`tool` recommends `missing`, which cannot be installed and is left out",
            "`core-doc` recommends `enemy`, which cannot be installed and is left out",
        ]
    );
    assert_eq!(resolve(Recommends::Installed), solution, "as it is kept");
    assert_eq!(
        shown(&resolve(Recommends::LeftOut).packages),
        ["core 1-1", "tool 1-1"],
        "apart from the other"
    );
}
