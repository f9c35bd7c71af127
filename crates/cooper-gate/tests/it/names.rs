//! The names gate on the lists of the data folder, and on names made wrong here.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cooper_gate::names::{
    ListError, ListLimits, NameCode, NameEvidence, NameVerdict, PopularNames, Weight, judge, judge_with,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(name)
}

/// The popular list; none where the data is not at hand, which is said.
pub(crate) fn popular() -> Option<PopularNames> {
    let Ok(bytes) = std::fs::read(data("top-pypi-packages.csv")) else {
        eprintln!("skipped: ../shared/data is not here");
        return None;
    };
    Some(PopularNames::parse(&bytes).unwrap())
}

fn verdict(name: &str, popular: Option<&PopularNames>) -> NameVerdict {
    judge(name, popular, Weight::Direct).verdict
}

/// A small list, most downloaded first.
fn list(names: &[&str]) -> PopularNames {
    let mut text = "download_count,project\n".to_owned();
    for (rank, name) in names.iter().enumerate() {
        writeln!(text, "{},\"{name}\"", 1_000_000 - rank).unwrap();
    }
    PopularNames::parse(text.as_bytes()).unwrap()
}

#[test]
fn known_look_alikes_are_held() {
    let Some(popular) = popular() else { return };
    let text = std::fs::read_to_string(data("squats.csv")).unwrap();
    let names: Vec<&str> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').next())
        .collect();
    let missed: Vec<&&str> = names
        .iter()
        .filter(|name| verdict(name, Some(&popular)) == NameVerdict::Pass)
        .collect();
    let held = names.len() - missed.len();
    assert!(
        held * 100 >= names.len() * 90,
        "{held} of {}; missed {missed:?}",
        names.len()
    );
}

#[test]
fn real_names_are_not_held() {
    let Some(popular) = popular() else { return };
    let cut = popular.first(5_000);
    let rest: Vec<&str> = popular.names().skip(5_000).collect();
    let held: Vec<&&str> = rest
        .iter()
        .filter(|name| verdict(name, Some(&cut)) != NameVerdict::Pass)
        .collect();
    assert!(
        held.len() * 1000 <= rest.len() * 4,
        "{} held: {held:?}",
        held.len()
    );
    for name in popular.names() {
        assert_eq!(
            verdict(name, Some(&popular)),
            NameVerdict::Pass,
            "{name} is popular itself"
        );
    }
}

#[test]
fn nothing_of_real_requirement_sets_is_held() {
    let Some(popular) = popular() else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(data("requirements")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text
            .lines()
            .filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()))
        {
            let name = line
                .split(['=', '[', ' ', ';', '<', '>', '!', '~'])
                .next()
                .unwrap();
            for weight in [Weight::Direct, Weight::Transitive] {
                let judgement = judge(name, Some(&popular), weight);
                assert_eq!(judgement.verdict, NameVerdict::Pass, "{judgement:?}");
            }
            count += 1;
        }
    }
    assert!(count > 200, "{count} names");
}

#[test]
fn what_is_often_alarmed_at_passes() {
    let Some(popular) = popular() else { return };
    for cut in [5_000, 15_000] {
        let popular = popular.first(cut);
        for name in [
            "stix",
            "pyshark",
            "py42",
            "pyads",
            "pyvim",
            "gron",
            "zulu",
            "ipaddr",
            "httpx2",
            "elasticsearch7",
            "mechanize",
        ] {
            let judgement = judge(name, Some(&popular), Weight::Direct);
            assert_eq!(judgement.verdict, NameVerdict::Pass, "{judgement:?}");
        }
    }
}

/// Slips and disguises made of the most popular names; how many of a kind are held, and how many should be.
#[test]
fn made_slips_of_popular_names_are_held() {
    type Slip = fn(&str, usize) -> String;
    let Some(popular) = popular() else { return };
    let slips: [(&str, u32, Slip); 6] = [
        ("swapped", 97, |name, at| {
            let mut bytes = name.as_bytes().to_vec();
            bytes.swap(at, at + 1);
            String::from_utf8(bytes).unwrap()
        }),
        ("doubled", 97, |name, at| {
            format!("{}{}", &name[..=at], &name[at..])
        }),
        ("left out", 90, |name, at| {
            format!("{}{}", &name[..at], &name[at + 1..])
        }),
        ("put at the end", 90, |name, at| {
            format!("{name}{}", &name[at..=at])
        }),
        ("edition", 95, |name, _| format!("{name}-official")),
        ("language", 95, |name, _| format!("python-{name}")),
    ];
    let plain = |name: &&str| name.len() >= 7 && name.bytes().all(|byte| byte.is_ascii_lowercase());
    let names: Vec<&str> = popular.names().take(100).filter(plain).collect();
    for (what, expected, slip) in slips {
        let made = names
            .iter()
            .flat_map(|name| [2, 3, name.len() - 3].map(|at| slip(name, at)));
        let made: Vec<String> = made
            .filter(|made| popular.rank(made).is_none() && !names.contains(&made.as_str()))
            .collect();
        let held = made
            .iter()
            .filter(|name| verdict(name, Some(&popular)) != NameVerdict::Pass)
            .count();
        let share = held * 100 / made.len();
        assert!(
            share >= expected as usize,
            "{what}: {held} of {} ({share} %)",
            made.len()
        );
    }
}

/// A name, the code that it gets, and the target.
const JUDGED: &[(&str, NameVerdict, Option<NameCode>, Option<&str>)] = &[
    ("Requests", NameVerdict::Pass, None, None),
    (
        "reqeusts",
        NameVerdict::Hold,
        Some(NameCode::Lookalike),
        Some("requests"),
    ),
    (
        "requests-official",
        NameVerdict::Hold,
        Some(NameCode::Words),
        Some("requests"),
    ),
    (
        "char-set_normalizer",
        NameVerdict::Hold,
        Some(NameCode::Words),
        Some("charset-normalizer"),
    ),
    (
        "normalizer-charset",
        NameVerdict::Hold,
        Some(NameCode::Words),
        Some("charset-normalizer"),
    ),
    (
        "python-requests",
        NameVerdict::Hold,
        Some(NameCode::Affix),
        Some("requests"),
    ),
    (
        "python3-dateutil",
        NameVerdict::Hold,
        Some(NameCode::Affix),
        Some("python-dateutil"),
    ),
    (
        "dateutil",
        NameVerdict::Hold,
        Some(NameCode::Import),
        Some("python-dateutil"),
    ),
    (
        "bs4",
        NameVerdict::Pass,
        Some(NameCode::Import),
        Some("beautifulsoup4"),
    ),
    (
        "sklearn",
        NameVerdict::Pass,
        Some(NameCode::Import),
        Some("scikit-learn"),
    ),
    ("os", NameVerdict::Hold, Some(NameCode::Stdlib), Some("os")),
    (
        "telnetlib",
        NameVerdict::Hold,
        Some(NameCode::Stdlib),
        Some("telnetlib"),
    ),
    (
        "argparse",
        NameVerdict::Pass,
        Some(NameCode::Stdlib),
        Some("argparse"),
    ),
    (
        "multiprocesing",
        NameVerdict::Hold,
        Some(NameCode::Stdlib),
        Some("multiprocessing"),
    ),
    (
        "bitcion",
        NameVerdict::Hold,
        Some(NameCode::Brand),
        Some("bitcoin"),
    ),
    (
        "telegram-api-client",
        NameVerdict::Pass,
        Some(NameCode::Brand),
        Some("telegram"),
    ),
    (
        "your-package",
        NameVerdict::Hold,
        Some(NameCode::Placeholder),
        None,
    ),
    (
        "c0l0rama",
        NameVerdict::Hold,
        Some(NameCode::Confusable),
        Some("colorama"),
    ),
    (
        "r\u{435}quests",
        NameVerdict::Refuse,
        Some(NameCode::Confusable),
        Some("requests"),
    ),
    (
        "re\u{200b}questss",
        NameVerdict::Refuse,
        Some(NameCode::Confusable),
        Some("requests"),
    ),
    ("two words", NameVerdict::Refuse, Some(NameCode::Invalid), None),
    (
        "\u{6f22}\u{5b57}",
        NameVerdict::Refuse,
        Some(NameCode::Invalid),
        None,
    ),
    ("", NameVerdict::Refuse, Some(NameCode::Invalid), None),
    ("mechanize", NameVerdict::Pass, None, None),
];

#[test]
fn each_kind_of_name_has_its_code_and_target() {
    let popular = list(&[
        "requests",
        "charset-normalizer",
        "python-dateutil",
        "colorama",
        "beautifulsoup4",
        "scikit-learn",
    ]);
    for (name, verdict, code, target) in JUDGED {
        let judgement = judge(name, Some(&popular), Weight::Direct);
        assert_eq!(
            (judgement.verdict, judgement.code, judgement.target.as_deref()),
            (*verdict, *code, *target),
            "{judgement:?}"
        );
        assert_eq!(judgement.name, *name);
        assert!(!judgement.why.is_empty());
    }
}

#[test]
fn without_a_list_spelling_is_judged_by_the_tables() {
    for (name, expected) in [
        ("reqeusts", NameVerdict::Hold),
        ("requests", NameVerdict::Pass),
        ("subproces", NameVerdict::Hold),
        ("etheruem", NameVerdict::Hold),
        ("yaml", NameVerdict::Hold),
        ("sklearn", NameVerdict::Pass),
        ("some-internal-tool", NameVerdict::Pass),
    ] {
        assert_eq!(verdict(name, None), expected, "{name}");
    }
}

#[test]
fn what_is_known_beside_the_spelling_weighs() {
    let popular = list(&["requests", "colorama"]);
    let with = |evidence: NameEvidence| judge_with("reqeusts", Some(&popular), Weight::Direct, &evidence);
    let held = with(NameEvidence::default());
    assert_eq!(held.verdict, NameVerdict::Hold);
    assert_eq!(
        held.why,
        "is `requests` (rank 1, 1000000 downloads in a month) with `ue` swapped"
    );
    let same = with(NameEvidence {
        same_authors: Some(true),
        ..NameEvidence::default()
    });
    assert_eq!(
        (same.verdict, same.code),
        (NameVerdict::Pass, Some(NameCode::Lookalike))
    );
    let old = NameEvidence {
        first_release_age_days: Some(3000),
        release_count: Some(40),
        ..NameEvidence::default()
    };
    assert_eq!(with(old).verdict, NameVerdict::Pass);
    let young = NameEvidence {
        first_release_age_days: Some(3),
        ..NameEvidence::default()
    };
    assert!(with(young).why.ends_with("it was first released 3 days ago"));
    let popular_elsewhere = NameEvidence {
        popular_elsewhere: Some(true),
        ..NameEvidence::default()
    };
    assert_eq!(with(popular_elsewhere).code, None);
    let brand = judge_with("telegram-api", Some(&popular), Weight::Direct, &young);
    assert_eq!(
        (brand.verdict, brand.code),
        (NameVerdict::Hold, Some(NameCode::Brand))
    );
}

#[test]
fn dependencies_of_dependencies_weigh_less() {
    let Some(popular) = popular() else { return };
    let transitive = |name| judge(name, Some(&popular), Weight::Transitive).verdict;
    assert_eq!(verdict("dnagoj", Some(&popular)), NameVerdict::Pass);
    assert_eq!(transitive("reqeusts"), NameVerdict::Hold);
    assert_eq!(verdict("djangp", Some(&popular)), NameVerdict::Hold);
    assert_eq!(transitive("djangp"), NameVerdict::Pass);
}

#[test]
fn a_judgement_is_one_json_line() {
    let popular = list(&["requests"]);
    let line = serde_json::to_string(&judge("reqeusts", Some(&popular), Weight::Direct)).unwrap();
    assert_eq!(
        line,
        r#"{"name":"reqeusts","verdict":"hold","code":"NAMES-LOOKALIKE","target":"requests","why":"is `requests` (rank 1, 1000000 downloads in a month) with `ue` swapped"}"#
    );
    let line = serde_json::to_string(&judge("requests", Some(&popular), Weight::Direct)).unwrap();
    assert_eq!(
        line,
        r#"{"name":"requests","verdict":"pass","code":null,"target":null,"why":"is popular itself (rank 1)"}"#
    );
}

#[test]
fn a_compiled_list_says_the_same_and_a_damaged_one_nothing() {
    let small = list(&[
        "requests",
        "numpy",
        "google-cloud-storage",
        "google-cloud-core",
        "python-dateutil",
    ]);
    let bytes = small.compiled();
    assert_eq!(PopularNames::open(&bytes).unwrap().compiled(), bytes);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(PopularNames::open(&damaged).is_none(), "byte {at}");
        assert!(PopularNames::open(&bytes[..at]).is_none(), "{at} bytes");
    }
    let Some(popular) = popular() else { return };
    let opened = PopularNames::open(&popular.compiled()).unwrap();
    assert_eq!(opened.len(), popular.len());
    let text = std::fs::read_to_string(data("squats.csv")).unwrap();
    let squats = text.lines().skip(1).filter_map(|line| line.split(',').next());
    let names: Vec<&str> = squats.chain(popular.names().step_by(50)).collect();
    for name in names {
        let judged = |list| judge(name, Some(list), Weight::Direct);
        assert_eq!(judged(&opened), judged(&popular), "{name}");
        assert_eq!(
            (opened.rank(name), opened.downloads(name)),
            (popular.rank(name), popular.downloads(name))
        );
    }
}

#[test]
fn both_forms_of_the_list_mean_the_same() {
    let csv = PopularNames::parse(b"download_count,project\r\n7,\"b_C\"\r\n9,a\r\n").unwrap();
    let json = br#"{"last_update": "x", "rows": [{"download_count": 7, "project": "b_C"}, {"project": "a", "download_count": 9}]}"#;
    let json = PopularNames::parse(json).unwrap();
    for list in [csv, json] {
        assert_eq!(list.names().collect::<Vec<_>>(), ["a", "b-c"]);
        assert_eq!(
            (list.rank("B.c"), list.downloads("b-c"), list.rank("c")),
            (Some(2), Some(7), None)
        );
        assert_eq!((list.len(), list.first(1).len()), (2, 1));
    }
}

#[test]
fn bad_lists_are_named_errors() {
    let error = |bytes: &[u8]| PopularNames::parse(bytes).unwrap_err();
    assert!(matches!(error(b""), ListError::Header));
    assert!(matches!(error(b"<html>"), ListError::Header));
    assert!(matches!(error(b"download_count,project\n"), ListError::Empty));
    assert!(matches!(error(br#"{"rows": []}"#), ListError::Empty));
    assert!(matches!(error(br#"{"rows": {}}"#), ListError::Json(_)));
    assert!(matches!(
        error(b"download_count,project\n1,a\nx,b\n"),
        ListError::Row { row: 2 }
    ));
    assert!(matches!(
        error(b"download_count,project\n1,a b\n"),
        ListError::Name { row: 1, .. }
    ));
    assert!(matches!(
        error(b"download_count,project\n2,A-b\n1,a_B\n"),
        ListError::Repeated { row: 2, .. }
    ));
    assert!(matches!(error(b"\xff"), ListError::NotText(_)));
    let limits = ListLimits {
        bytes_max: 40,
        rows_max: 1,
    };
    let bounded = |text: &str| PopularNames::parse_within(text.as_bytes(), limits).unwrap_err();
    assert!(matches!(
        bounded("download_count,project\n1,a\n1,b\n"),
        ListError::TooManyRows { rows_max: 1 }
    ));
    assert!(matches!(
        bounded(&"x".repeat(41)),
        ListError::TooLarge { bytes: 41, .. }
    ));
    let deep = format!("{{\"rows\":{}", "[".repeat(100_000));
    assert!(matches!(error(deep.as_bytes()), ListError::Json(_)));
}

#[test]
fn codes_are_stable_and_explained() {
    let codes = NameCode::ALL.map(NameCode::as_str);
    assert_eq!(
        codes,
        [
            "NAMES-LOOKALIKE",
            "NAMES-CONFUSABLE",
            "NAMES-WORDS",
            "NAMES-AFFIX",
            "NAMES-STDLIB",
            "NAMES-IMPORT",
            "NAMES-BRAND",
            "NAMES-PLACEHOLDER",
            "NAMES-INVALID",
        ]
    );
    for code in NameCode::ALL {
        let explanation = code.explain();
        let sentences = explanation.matches(". ").count() + 1;
        assert!(
            (2..=3).contains(&sentences) && explanation.ends_with('.'),
            "{explanation}"
        );
    }
}
