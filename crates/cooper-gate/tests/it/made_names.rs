//! Look-alikes made of popular names by what impostors do, kind by kind, and how many of each the names gate holds.
//!
//! The draw is the same on every machine. `cargo xtask names --made` prints the tables.

mod operators;

use std::collections::BTreeSet;

use cooper_gate::names::{NameCode, NameEvidence, NameVerdict, PopularNames, Weight, judge, judge_with};

use crate::names::popular;
use operators::{OPERATORS, Operator};

/// So many are drawn of what an operator makes of one name.
const DRAWN_MAX: usize = 3;

/// Modules that scripts use.
const MODULES: &[&str] = &[
    "argparse",
    "asyncio",
    "base64",
    "collections",
    "configparser",
    "contextlib",
    "datetime",
    "decimal",
    "functools",
    "hashlib",
    "importlib",
    "inspect",
    "itertools",
    "logging",
    "multiprocessing",
    "operator",
    "pathlib",
    "pickle",
    "platform",
    "pprint",
    "random",
    "shutil",
    "signal",
    "socket",
    "sqlite3",
    "statistics",
    "string",
    "struct",
    "subprocess",
    "tarfile",
    "tempfile",
    "textwrap",
    "threading",
    "tkinter",
    "traceback",
    "unittest",
    "urllib",
    "warnings",
    "weakref",
    "zipfile",
];

/// Products, companies and currencies.
const BRANDS: &[&str] = &[
    "amazon",
    "android",
    "anthropic",
    "azure",
    "binance",
    "bitcoin",
    "chatgpt",
    "coinbase",
    "discord",
    "docker",
    "ethereum",
    "facebook",
    "github",
    "gitlab",
    "google",
    "instagram",
    "jupyter",
    "kubernetes",
    "langchain",
    "linkedin",
    "microsoft",
    "minecraft",
    "mongodb",
    "nvidia",
    "openai",
    "opencv",
    "paypal",
    "postgresql",
    "pytorch",
    "roblox",
    "selenium",
    "slack",
    "solana",
    "spotify",
    "stripe",
    "telegram",
    "tensorflow",
    "tiktok",
    "twitter",
    "whatsapp",
    "youtube",
];

/// What is imitated, and how well known it is.
struct Targets {
    what: &'static str,
    names: Vec<String>,
    are_words: bool,
}

fn targets(popular: &PopularNames) -> Vec<Targets> {
    let ranks = |skip: usize, take: usize, step: usize| -> Vec<String> {
        let names = popular.names().skip(skip).take(take).step_by(step);
        names.map(str::to_owned).collect()
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![
        Targets {
            what: "rank 1–300",
            names: ranks(0, 300, 1),
            are_words: false,
        },
        Targets {
            what: "301–2,000",
            names: ranks(300, 1_700, 6),
            are_words: false,
        },
        Targets {
            what: "2,001–6,000",
            names: ranks(2_000, 4_000, 20),
            are_words: false,
        },
        Targets {
            what: "modules",
            names: words(MODULES),
            are_words: true,
        },
        Targets {
            what: "brands",
            names: words(BRANDS),
            are_words: true,
        },
    ]
}

/// FNV-1a: the same draw for the same texts on every machine.
fn hash(texts: &[&str]) -> u64 {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What is drawn of everything that the operator makes of the name, without what exists or is the name again.
fn made(operator: &Operator, name: &str, popular: &PopularNames) -> Vec<String> {
    let all: BTreeSet<String> = (operator.make)(name).into_iter().collect();
    let is_other = |made: &&String| *made != name && popular.rank(made).is_none();
    let mut all: Vec<&String> = all.iter().filter(is_other).collect();
    all.sort_by_key(|made| hash(&[operator.what, name, made]));
    all.into_iter().take(DRAWN_MAX).cloned().collect()
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    made: usize,
    held: usize,
}

impl Count {
    fn share(self) -> usize {
        self.held * 100 / self.made.max(1)
    }

    fn shown(self) -> String {
        if self.made == 0 {
            return "–".to_owned();
        }
        format!("{}", self.share())
    }
}

/// The lengths of names, without separators, that are counted apart.
const LENGTHS: [(usize, &str); 5] = [
    (4, "≤ 4"),
    (6, "5–6"),
    (8, "7–8"),
    (12, "9–12"),
    (usize::MAX, "≥ 13"),
];

fn length_class(name: &str) -> usize {
    let length = name.bytes().filter(|byte| *byte != b'-').count();
    LENGTHS.iter().position(|(most, _)| length <= *most).unwrap()
}

/// What is counted of one operator: all, by target, and by length where the target's rank is 1–300.
#[derive(Default)]
struct Row {
    all: Count,
    targets: [Count; 5],
    lengths: [Count; 5],
}

impl Row {
    fn count(&mut self, target: usize, name: &str, held: bool) {
        let length = length_class(name);
        let lengths = self.lengths.get_mut(length).filter(|_| target == 0);
        let counts = [&mut self.all, &mut self.targets[target]]
            .into_iter()
            .chain(lengths);
        for count in counts {
            count.made += 1;
            count.held += usize::from(held);
        }
    }

    fn counts(&mut self) -> impl Iterator<Item = &mut Count> {
        [&mut self.all]
            .into_iter()
            .chain(&mut self.targets)
            .chain(&mut self.lengths)
    }

    fn line(&self, what: &str) -> String {
        let cells = [self.all.made.to_string(), self.all.shown()].into_iter();
        let cells = cells.chain(
            self.targets
                .iter()
                .chain(&self.lengths)
                .map(|count| count.shown()),
        );
        format!("| {what} | {} |", cells.collect::<Vec<_>>().join(" | "))
    }
}

fn row(operator: &Operator, targets: &[Targets], popular: &PopularNames) -> Row {
    let mut row = Row::default();
    for (number, target) in targets.iter().enumerate() {
        let names = target
            .names
            .iter()
            .filter(|_| operator.on_words || !target.are_words);
        let made = names.flat_map(|name| {
            made(operator, name, popular)
                .into_iter()
                .map(move |made| (name, made))
        });
        for (name, made) in made {
            let judgement = judge(&made, Some(popular), Weight::Direct);
            let held = judgement.verdict != NameVerdict::Pass;
            // A real distribution with an import's name is no look-alike.
            if held || judgement.code != Some(NameCode::Import) {
                row.count(number, name, held);
            }
        }
    }
    row
}

#[test]
fn made_look_alikes_are_held() {
    let Some(popular) = popular() else { return };
    let targets = targets(&popular);
    let whats = targets.iter().map(|target| target.what);
    let lengths = LENGTHS.iter().map(|(_, what)| *what);
    let columns: Vec<&str> = whats.chain(lengths).collect();
    println!("| % held | made | all | {} |", columns.join(" | "));
    println!("|---{}|", "|--:".repeat(columns.len() + 2));
    let mut whole = Row::default();
    let mut low = Vec::new();
    for operator in OPERATORS {
        let mut row = row(operator, &targets, &popular);
        println!("{}", row.line(operator.what));
        for (count, more) in whole.counts().zip(row.counts()) {
            count.made += more.made;
            count.held += more.held;
        }
        if row.targets[0].share() < operator.floor {
            low.push(format!(
                "{}: {:?}, at least {} %",
                operator.what, row.targets[0], operator.floor
            ));
        }
    }
    println!("{}", whole.line("all"));
    assert!(low.is_empty(), "{low:#?}");
    assert!(whole.targets[0].share() >= 72, "{:?}", whole.targets[0]);
}

/// The same list, given as evidence up to some rank, and up to 10,000 names that follow: all of them real.
#[test]
fn real_names_pass_wherever_the_list_ends() {
    const NEXT: usize = 10_000;
    let Some(popular) = popular() else { return };
    println!("| list ends at rank | names after it | held | share |\n|--:|--:|--:|--:|");
    for (cut, per_mille) in [(1_000, 6), (2_500, 6), (5_000, 4), (10_000, 4)] {
        let list = popular.first(cut);
        let next: Vec<&str> = popular.names().skip(cut).take(NEXT).collect();
        let is_held = |name: &&&str| judge(name, Some(&list), Weight::Direct).verdict != NameVerdict::Pass;
        let held: Vec<&&str> = next.iter().filter(is_held).collect();
        let hundredths = held.len() * 10_000 / next.len();
        let share = format!("{}.{:02} %", hundredths / 100, hundredths % 100);
        println!("| {cut} | {} | {} | {share} |", next.len(), held.len());
        assert!(
            held.len() * 1_000 <= next.len() * per_mille,
            "{cut}: {share}: {held:?}"
        );
    }
}

/// A brand with words that say nothing is a name that honest projects have too: only a new one is held.
#[test]
fn brands_with_words_that_say_nothing_are_held_while_they_are_new() {
    let Some(popular) = popular() else { return };
    let forms = [
        "@-auth-helper",
        "@-api-client",
        "@-login-tool",
        "python-@-sdk",
        "@-token-utils",
    ];
    let made = BRANDS
        .iter()
        .flat_map(|brand| forms.map(|form| form.replace('@', brand)));
    let of_age = |name: &str, days: u32| {
        let evidence = NameEvidence {
            first_release_age_days: Some(days),
            ..NameEvidence::default()
        };
        judge_with(name, Some(&popular), Weight::Direct, &evidence).verdict
    };
    let made: Vec<String> = made.filter(|name| popular.rank(name).is_none()).collect();
    assert!(made.len() > 150);
    let passed: Vec<&String> = made
        .iter()
        .filter(|name| of_age(name, 30) == NameVerdict::Pass)
        .collect();
    assert!(passed.is_empty(), "{passed:?}");
    let old = made
        .iter()
        .filter(|name| of_age(name, 400) == NameVerdict::Pass)
        .count();
    assert!(old * 10 >= made.len() * 8, "{old} of {}", made.len());
}
