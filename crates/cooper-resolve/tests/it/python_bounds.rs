//! Constraints and hashes: what bounds a resolution without asking for anything.

use std::collections::BTreeSet;

use cooper_core::requirements::Hashes;
use cooper_core::{Base, Digest, PythonRequirement};
use cooper_resolve::python::{Asked, PythonError};
use testkit::{Hashes as IndexHashes, PythonIndex, Sdist, Wheel};

use crate::python::{World, shown};

fn requirements(texts: &[&str]) -> Vec<PythonRequirement> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn digest(wheel: &Wheel) -> Digest {
    Digest::of(&wheel.build())
}

fn hashes(lines: &[(&str, &[Digest])]) -> Hashes {
    let line = |(text, digests): &(&str, &[Digest])| {
        (
            text.parse().unwrap(),
            digests.iter().copied().collect::<BTreeSet<_>>(),
        )
    };
    lines.iter().map(line).collect()
}

/// The answer to a bounded request, as text.
fn answer(world: &World, wanted: &[&str], constraints: &[&str], hashes: &Hashes) -> String {
    let (dependencies, constraints) = (requirements(wanted), requirements(constraints));
    shown(&world.resolve_asked(&Asked {
        base: Base::Trixie,
        dependencies: &dependencies,
        constraints: &constraints,
        hashes,
        build_packages: &[],
        installed: &[],
    }))
}

fn index() -> PythonIndex {
    PythonIndex::new()
        .wheel(Wheel::new("top", "1").requires("leaf"))
        .wheel(Wheel::new("leaf", "1"))
        .wheel(Wheel::new("leaf", "2"))
        .wheel(Wheel::new("leaf", "3rc1"))
        .wheel(Wheel::new("leaf", "4").yanked("broken"))
        .wheel(Wheel::new("other", "1"))
}

#[test]
fn constraints_bound_versions_and_ask_for_nothing() {
    let world = World::new(&index());
    let none = Hashes::new();
    let table: &[(&[&str], &[&str], &str)] = &[
        (&["top"], &[], "leaf 2, top 1"),
        (&["top"], &["leaf<2"], "leaf 1, top 1"),
        (&["top"], &["other<1", "nowhere==1"], "leaf 2, top 1"),
        (&["top"], &["leaf<2; sys_platform == 'win32'"], "leaf 2, top 1"),
        (&["top"], &["leaf==3rc1"], "leaf 3rc1, top 1"),
        (&["top"], &["leaf==4"], "leaf 4, top 1"),
    ];
    for (wanted, constraints, expected) in table {
        assert_eq!(
            answer(&world, wanted, constraints, &none),
            *expected,
            "{constraints:?}"
        );
        // From memory, and not that of other constraints.
        assert_eq!(
            answer(&world, wanted, constraints, &none),
            *expected,
            "{constraints:?}"
        );
    }
    let refused = answer(&world, &["leaf>=2"], &["leaf<2"], &none);
    assert!(
        refused.contains("4 is ruled out by the request's constraint <2"),
        "{refused}"
    );
    let conflict = answer(&world, &["top"], &["leaf>9"], &none);
    assert!(
        conflict.contains("the request's constraint is leaf>9"),
        "{conflict}"
    );
}

#[test]
fn only_files_with_a_listed_hash_are_taken() {
    let plain = Wheel::new("a", "1");
    let native = Wheel::new("a", "1").tag("cp313-cp313-manylinux_2_28_x86_64");
    let index = PythonIndex::new()
        .wheel(plain.clone())
        .wheel(native.clone())
        .wheel(Wheel::new("b", "1").hashes(IndexHashes::Missing))
        .sdist(Sdist::new("a", "1"));
    let world = World::new(&index);
    let file = |listed: &[Digest]| {
        let dependencies = requirements(&["a==1"]);
        let solution = world.resolve_asked(&Asked {
            hashes: &hashes(&[("a==1", listed)]),
            build_packages: &[],
            ..Asked::plain(Base::Trixie, &dependencies)
        });
        solution.map(|solution| solution.python[0].filename.clone())
    };
    let any = World::new(&index).resolve(&["a==1"]).unwrap();
    assert_eq!(any.python[0].filename, native.file_name());
    assert_eq!(
        file(&[digest(&plain), digest(&native)]).unwrap(),
        native.file_name()
    );
    assert_eq!(file(&[digest(&plain)]).unwrap(), plain.file_name());
    let wrong = Digest::of(b"another file");
    let Err(PythonError::OtherHash(refused)) = file(&[wrong]) else {
        panic!("another file")
    };
    assert_eq!(
        (refused.found, refused.expected),
        (Some(digest(&native)), vec![wrong])
    );
    let told = answer(&world, &["a==1"], &[], &hashes(&[("a==1", &[wrong])]));
    for part in [native.file_name(), digest(&native).to_string(), wrong.to_string()] {
        assert!(told.contains(&part), "{part} in {told}");
    }
    let none = answer(&world, &["b==1"], &[], &hashes(&[("b==1", &[wrong])]));
    assert!(
        none.contains("has no hash, and the request lists sha256:"),
        "{none}"
    );
}

#[test]
fn what_is_merely_needed_must_be_listed_too() {
    let (top, leaf) = (Wheel::new("top", "1").requires("leaf"), Wheel::new("leaf", "2"));
    let world = World::new(&index());
    let only_top = hashes(&[("top==1", &[digest(&top)])]);
    let told = answer(&world, &["top==1"], &[], &only_top);
    assert!(told.contains("does not list leaf 2 (top 1 needs it)"), "{told}");
    assert!(
        told.contains(&format!("`leaf==2 --hash={}`", digest(&leaf))),
        "{told}"
    );
    let both = hashes(&[("top==1", &[digest(&top)]), ("leaf==2", &[digest(&leaf)])]);
    assert_eq!(
        answer(&world, &["top==1", "leaf==2"], &[], &both),
        "leaf 2, top 1"
    );
    // A constraint that pins and lists is as good, and lines that hold together leave what both list.
    assert_eq!(answer(&world, &["top==1"], &["leaf==2"], &both), "leaf 2, top 1");
    let mut apart = both.clone();
    apart.extend(hashes(&[("leaf>=2", &[digest(&top)])]));
    let told = answer(&world, &["top==1", "leaf==2"], &["leaf>=2"], &apart);
    assert!(told.contains("the request lists none that holds"), "{told}");
    // The marker of the other line is false.
    apart.clear();
    apart.extend(both);
    apart.extend(hashes(&[("leaf==1; python_version < '3.12'", &[digest(&top)])]));
    let wanted = ["top==1", "leaf==2", "leaf==1; python_version < '3.12'"];
    assert_eq!(answer(&world, &wanted, &[], &apart), "leaf 2, top 1");
}
