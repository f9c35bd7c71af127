//! The names gate: lists of popular names, and names of any kind.

use std::sync::LazyLock;

use cooper_gate::names::{NameVerdict, PopularNames, Weight, judge};

use super::{as_it_is, chain, counted};
use crate::driver::Target;

/// A list of popular names: what is accepted ranks each name once, and holds none of them.
pub(super) const POPULAR_NAMES: Target = Target {
    name: "popular-names",
    examples: || {
        vec![
            b"download_count,project\n9,\"requests\"\n8,numpy\n7,\"ruamel.yaml\"\n".to_vec(),
            br#"{"last_update":"2026","rows":[{"download_count":9,"project":"requests"},{"download_count":8,"project":"x"}]}"#.to_vec(),
        ]
    },
    mend: as_it_is,
    run: |bytes| match PopularNames::parse(bytes) {
        Ok(list) => {
            for (place, name) in list.names().enumerate() {
                assert_eq!(
                    list.rank(name).map(|rank| rank as usize),
                    Some(place + 1),
                    "{name}"
                );
                assert_eq!(
                    judge(name, Some(&list), Weight::Direct).verdict,
                    NameVerdict::Pass,
                    "{name}"
                );
            }
            format!("good {}", counted(list.len()))
        }
        Err(error) => {
            let text = chain(&error);
            assert!(text.len() < 1000, "{text}");
            error.to_string()
        }
    },
};

/// A compiled list: what is accepted can be asked, and is written as it was read.
pub(super) const COMPILED_NAMES: Target = Target {
    name: "compiled-names",
    examples: || vec![POPULAR.compiled()],
    // The digest at the end.
    mend: |bytes| {
        if let Some((content, end)) = bytes.split_last_chunk_mut::<32>() {
            end.copy_from_slice(cooper_core::Digest::of(content).as_bytes());
        }
    },
    run: |bytes| match PopularNames::open(bytes) {
        Some(list) => {
            for name in list
                .names()
                .map(str::to_owned)
                .chain(["reqeusts".to_owned(), "x-y".to_owned()])
            {
                drop(judge(&name, Some(&list), Weight::Direct));
            }
            assert_eq!(list.compiled(), bytes);
            format!("good {}", counted(list.len()))
        }
        None => "damaged".to_owned(),
    },
};

static POPULAR: LazyLock<PopularNames> = LazyLock::new(|| {
    let list = "download_count,project\n9,requests\n8,charset-normalizer\n7,beautifulsoup4\n6,python-dateutil\n\
                5,typing-extensions\n4,google-cloud-storage\n3,pyyaml\n";
    PopularNames::parse(list.as_bytes()).unwrap()
});

/// A name: whatever it is, the judgement is whole, short, and one line of JSON.
pub(super) const NAME: Target = Target {
    name: "distribution-name",
    examples: || {
        [
            "requests",
            "reqeusts",
            "python3-dateutil",
            "r\u{435}quests",
            "requests-darwin",
            "extensions-typing",
            "beautifulsoup",
            "google-cloud-storages",
            "sklearn",
            "asyncoi",
            "my-package",
            "telegram-sdk",
            "p\u{200b}yyaml",
            "a b",
            "\u{1d5cb}equests",
        ]
        .map(|name| name.as_bytes().to_vec())
        .to_vec()
    },
    mend: as_it_is,
    run: |bytes| {
        let name = String::from_utf8_lossy(bytes);
        let mut codes = Vec::new();
        for list in [Some(&*POPULAR), None] {
            let judgement = judge(&name, list, Weight::Direct);
            assert_eq!(judgement.name, name);
            assert!(
                judgement.why.len() < 2000 && !judgement.why.contains('\n'),
                "{judgement:?}"
            );
            assert!(judgement.verdict == NameVerdict::Pass || judgement.code.is_some());
            let transitive = judge(&name, list, Weight::Transitive);
            assert!(
                transitive.verdict <= judgement.verdict,
                "{judgement:?} {transitive:?}"
            );
            let line = serde_json::to_string(&judgement).unwrap();
            assert!(!line.contains('\n'));
            codes.push(
                judgement
                    .code
                    .map_or("nothing", |code| code.as_str())
                    .to_ascii_lowercase()
                    .replace('-', " "),
            );
        }
        codes.join(" and ")
    },
};
