//! Versions against dpkg; solutions of made-up worlds against an independent judge and against brute force.

use std::fmt::Write as _;
use std::process::Command;

use cooper_core::plan::PlannedDebian;
use cooper_core::{Base, DebianVersion};
use cooper_resolve::debian::{self, DebianError};
use proptest::prelude::*;

use crate::debian_checker::Checker;
use crate::debian_world::requests;

/// What dpkg says of many pairs, in one process: -1, 0 or 1 for each.
fn dpkg_orders(pairs: &[(String, String)]) -> Option<Vec<i32>> {
    let script = "while read -r a b; do if dpkg --compare-versions \"$a\" lt \"$b\"; then echo -1; \
                  elif dpkg --compare-versions \"$a\" eq \"$b\"; then echo 0; else echo 1; fi; done";
    Command::new("dpkg")
        .arg("--version")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take()?;
    let text = pairs.iter().fold(String::new(), |mut text, (a, b)| {
        let _ = writeln!(text, "{a} {b}");
        text
    });
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut input, text.as_bytes()));
    let output = child.wait_with_output().ok()?;
    writer.join().ok()?.ok()?;
    String::from_utf8(output.stdout)
        .ok()?
        .lines()
        .map(|line| line.parse().ok())
        .collect()
}

fn agree_with_dpkg(pairs: &[(String, String)]) {
    let Some(orders) = dpkg_orders(pairs) else {
        eprintln!("SKIPPED: there is no dpkg on this host to compare with");
        return;
    };
    assert_eq!(orders.len(), pairs.len());
    for ((a, b), order) in pairs.iter().zip(orders) {
        let ours = a.parse::<DebianVersion>().unwrap().cmp(&b.parse().unwrap());
        assert_eq!(ours as i32, order, "{a} and {b}");
    }
}

#[test]
fn generated_versions_order_as_dpkg_orders_them() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let version = "([0-9]:)?[0-9][0-9a-c.+~]{0,5}(-[0-9a-c.+~]{1,3})?";
    let strategy = (version, version);
    let pairs: Vec<(String, String)> = (0..600)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect();
    agree_with_dpkg(&pairs);
}

#[test]
fn installed_versions_order_as_dpkg_orders_them() {
    let Ok(status) = std::fs::read_to_string("/var/lib/dpkg/status") else {
        eprintln!("SKIPPED: this host has no dpkg status file");
        return;
    };
    let mut versions: Vec<String> = status
        .lines()
        .filter_map(|line| line.strip_prefix("Version: "))
        .map(ToOwned::to_owned)
        .collect();
    versions.sort();
    versions.dedup();
    let step = (versions.len() / 400).max(1);
    let pairs: Vec<(String, String)> = versions
        .windows(2)
        .step_by(step)
        .map(|pair| (pair[0].clone(), pair[1].clone()))
        .collect();
    assert!(!pairs.is_empty());
    agree_with_dpkg(&pairs);
}

proptest! {
    #[test]
    fn the_order_of_versions_is_total(
        a in "[0-9a-b.+~:-]{0,6}", b in "[0-9a-b.+~:-]{0,6}", c in "[0-9a-b.+~:-]{0,6}"
    ) {
        let parse = |text: &str| format!("0{text}").parse::<DebianVersion>().ok();
        if let (Some(a), Some(b), Some(c)) = (parse(&a), parse(&b), parse(&c)) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }

    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "(Package|Depends|Provides|Size|: |[a-c(|<,)=1.\\n ]){0,40}") {
        let archive_suite = Base::Trixie.suites()[0];
        for bytes in [&bytes[..], text.as_bytes()] {
            let _ = debian::stanza::Stanza::parse(bytes);
            if let Ok(compact) = debian::index::build(bytes) {
                let index = debian::index::PackageIndex::from_bytes(compact).unwrap();
                for stanza in 0..index.len() {
                    let _ = index.read(stanza).unwrap();
                }
            }
            let _ = debian::index::PackageIndex::from_bytes(bytes.to_vec());
            let lossy = String::from_utf8_lossy(bytes);
            let _ = debian::relation::parse_clauses(&lossy);
            let _ = debian::release::parse(&lossy, archive_suite);
            let _ = debian::release::parse_date(&lossy);
            let keyring = debian::openpgp::Keyring::parse(&[bytes.to_vec()]);
            let _ = debian::openpgp::verify(bytes, &keyring, testkit::context::now());
        }
    }
}

const NAMES: [&str; 5] = ["pa", "pb", "pc", "pd", "pe"];

/// A name, and perhaps an operator with a version.
type MadeRelation = (usize, Option<(usize, u8)>);

#[derive(Debug, Clone)]
struct MadeUp {
    name: usize,
    version: u8,
    depends: Vec<Vec<MadeRelation>>,
    conflicts: Vec<MadeRelation>,
    provides: Vec<(usize, Option<u8>)>,
}

const OPERATORS: [&str; 5] = ["<<", "<=", "=", ">=", ">>"];

fn relation() -> impl Strategy<Value = MadeRelation> {
    // Five real names and two that are only ever provided.
    (0..7_usize, prop::option::of((0..5_usize, 1..4_u8)))
}

fn made_up(name: usize, version: u8) -> impl Strategy<Value = MadeUp> {
    let depends = prop::collection::vec(prop::collection::vec(relation(), 1..3), 0..3);
    let conflicts = prop::collection::vec(relation(), 0..2);
    let provides = prop::collection::vec((0..7_usize, prop::option::of(1..4_u8)), 0..2);
    (depends, conflicts, provides).prop_map(move |(depends, conflicts, provides)| MadeUp {
        name,
        version,
        depends,
        conflicts,
        provides,
    })
}

fn name(position: usize) -> &'static str {
    NAMES
        .get(position)
        .copied()
        .unwrap_or(if position == 5 { "va" } else { "vb" })
}

fn text_of(relation: &MadeRelation) -> String {
    match relation.1 {
        None => name(relation.0).to_owned(),
        Some((operator, version)) => format!("{} ({} {version})", name(relation.0), OPERATORS[operator]),
    }
}

fn index_of(packages: &[MadeUp]) -> String {
    let mut text = String::new();
    for package in packages {
        let list = |relations: &[MadeRelation], between: &str| {
            relations.iter().map(text_of).collect::<Vec<_>>().join(between)
        };
        let provides: Vec<_> = package
            .provides
            .iter()
            .map(|(name, version)| (*name, version.map(|it| (2, it))))
            .collect();
        let clauses: Vec<String> = package.depends.iter().map(|clause| list(clause, " | ")).collect();
        let _ = write!(
            text,
            "Package: {}\nVersion: {}\nArchitecture: all\n",
            name(package.name),
            package.version
        );
        for (field, value) in [
            ("Depends", clauses.join(", ")),
            ("Conflicts", list(&package.conflicts, ", ")),
            ("Provides", list(&provides, ", ")),
        ] {
            if !value.is_empty() {
                let _ = writeln!(text, "{field}: {value}");
            }
        }
        text.push_str("Size: 1\nFilename: pool/x.deb\n\n");
    }
    text
}

/// Whether any choice of versions has `wanted` and passes the judge.
fn is_satisfiable(packages: &[MadeUp], checker: &Checker, wanted: &[&str]) -> bool {
    let mut choices: Vec<Vec<PlannedDebian>> = vec![Vec::new()];
    for position in 0..NAMES.len() {
        let versions: Vec<&MadeUp> = packages
            .iter()
            .filter(|package| package.name == position)
            .collect();
        let with = |choice: &Vec<PlannedDebian>| {
            let mut grown = vec![choice.clone()];
            for version in &versions {
                let mut more = choice.clone();
                more.push(PlannedDebian {
                    name: name(position).parse().unwrap(),
                    version: version.version.to_string().parse().unwrap(),
                    architecture: "all".to_owned(),
                    size: 1,
                    sha256: None,
                    suite: Base::Trixie.suites()[0],
                    path: "pool/x.deb".parse().unwrap(),
                    source: None,
                });
                grown.push(more);
            }
            grown
        };
        choices = choices.iter().flat_map(with).collect();
    }
    let good = |choice: &Vec<PlannedDebian>| checker.find_fault(choice, wanted).is_none();
    choices.iter().any(good)
}

proptest! {
    #[test]
    fn a_solution_is_found_exactly_where_there_is_one(
        packages in (
            made_up(0, 1), made_up(0, 2), made_up(1, 1), made_up(1, 3), made_up(2, 1), made_up(2, 2),
            made_up(3, 2), made_up(3, 3), made_up(4, 1),
        ).prop_map(|(a, b, c, d, e, f, g, h, i)| vec![a, b, c, d, e, f, g, h, i])
    ) {
        let text = index_of(&packages);
        let checker = Checker::of_texts([text.as_str()]);
        let suites = Base::Trixie.suites();
        for wanted in [&["pa"][..], &["pb", "pc"], &["pa", "pd", "pe"]] {
            let texts = [(suites[0], text.as_bytes())];
            let solved = debian::solve_texts(Base::Trixie, &texts, &[], &requests(&wanted.join(",")));
            let possible = is_satisfiable(&packages, &checker, wanted);
            match solved {
                Ok(chosen) => {
                    prop_assert_eq!(checker.find_fault(&chosen, wanted), None, "{}", text);
                }
                Err(DebianError::Unsatisfiable { reasons }) => {
                    prop_assert!(!possible, "{}\n{:?}", text, reasons);
                    prop_assert!(!reasons.is_empty());
                }
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }

    #[test]
    fn what_is_added_goes_with_the_base(
        packages in (
            made_up(0, 1), made_up(0, 2), made_up(1, 1), made_up(1, 3), made_up(2, 1), made_up(2, 2), made_up(3, 3),
        ).prop_map(|(a, b, c, d, e, f, g)| vec![a, b, c, d, e, f, g])
    ) {
        let text = index_of(&packages);
        let checker = Checker::of_texts([text.as_str()]);
        let texts = [(Base::Trixie.suites()[0], text.as_bytes())];
        if let Ok(base) = debian::solve_texts(Base::Trixie, &texts, &[], &requests("pa"))
            && let Ok(added) = debian::solve_texts(Base::Trixie, &texts, &base, &requests("pb,pd")) {
            prop_assert!(added.iter().all(|package| !base.iter().any(|there| there.name == package.name)));
            let whole = [&base[..], &added[..]].concat();
            prop_assert_eq!(checker.find_fault(&whole, &["pa", "pb", "pd"]), None, "{}", text);
        }
    }
}
