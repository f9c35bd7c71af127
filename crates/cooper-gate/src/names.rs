//! The names gate: whether a name may be taken for another one.
//!
//! [`judge`] compares a name with what is popular ([`PopularNames`], evidence), with the modules of the standard
//! library, with import names and with brands (tables here). What is popular itself is never held. A name is held
//! when it comes from a known one by an edit that is like a slip or a disguise, and the known one is popular enough for
//! that kind of edit at that length: one letter in a name of four says little, two letters in one of ten say much.
//! Each edit has a likeness (a doubled letter is *strong*, another first letter *faint*); likeness and length give
//! the *reach*, the lowest rank of a target that is believed. The words around count too: in `types-boto3-sts` the last
//! word tells members of a family apart, and a letter in it is no slip; unless it makes what no popular name has as a word, the
//! rest being the same: that is no member of the family.
//!
//! Spelling explains and holds, it does not prove: most malicious names look like nothing. The one refusal here is for
//! what is no name by PEP 508, with the name that it was made to look like.
//!
//! Why not the crate `typomania`: its checks (bit flips, omitted, repeated and swapped characters, swapped words, typos,
//! versions) make every variant of a name and look each up, without weighing the edit, the length or the popularity of the
//! target; every variant of a short popular name is another real one, which is where false alarms come from. It knows
//! no two edits, no added words, no import names, and brings `rayon`.

mod code;
mod confusable;
mod edit;
mod forms;
mod known;
mod list;
mod packed;
mod shape;
mod spelling;
mod stdlib;
mod tables;
mod text;

use serde::Serialize;

pub use code::NameCode;
pub use list::{ListError, ListLimits, PopularNames};

use known::{BESIDE, INSTEAD, Kind, Words};
use tables::{ACCESS, BACKPORTS, BRANDS, EDITIONS, PLACEHOLDERS, ROLES, has, import};
use text::{Spelling, core, is_valid};

/// How a name came into the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// Somebody typed it.
    Direct,
    /// Another distribution asks for it: its authors are less likely to mistype, and their users would have noticed.
    Transitive,
}

/// What the names gate says of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameVerdict {
    /// It may go on; with a code, something is worth telling.
    Pass,
    /// It is held until somebody looks.
    Hold,
    /// It is no name.
    Refuse,
}

/// What is known of a name beside its spelling; whatever is not known is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameEvidence {
    /// Days since the first release.
    pub first_release_age_days: Option<u32>,
    /// How many releases there are.
    pub release_count: Option<u32>,
    /// Whether another popular list has it.
    pub popular_elsewhere: Option<bool>,
    /// Whether those who publish it publish the target too.
    pub same_authors: Option<bool>,
}

/// The judgement of one name. One JSON line: `{"name", "verdict", "code", "target", "why"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NameJudgement {
    /// The name as it was given.
    pub name: String,
    /// What follows.
    pub verdict: NameVerdict,
    /// What was noticed; a pass with a code is a note.
    pub code: Option<NameCode>,
    /// The known name that is probably meant.
    pub target: Option<String>,
    /// One sentence with the evidence.
    pub why: String,
}

/// Judge a name by its spelling.
pub fn judge(name: &str, evidence: Option<&PopularNames>, weight: Weight) -> NameJudgement {
    judge_with(name, evidence, weight, &NameEvidence::default())
}

/// Judge a name by its spelling and by what else is known of it.
///
/// A name whose publishers are the target's, or that has been released for years, is noted instead of held.
pub fn judge_with(
    name: &str,
    popular: Option<&PopularNames>,
    weight: Weight,
    evidence: &NameEvidence,
) -> NameJudgement {
    let opinion = if is_valid(name) {
        lowered(of_valid(name, popular, weight, evidence), evidence)
    } else {
        of_invalid(name, popular)
    };
    NameJudgement {
        name: name.to_owned(),
        verdict: opinion.verdict,
        code: opinion.code,
        target: opinion.target,
        why: opinion.why,
    }
}

/// A judgement without the name.
struct Opinion {
    verdict: NameVerdict,
    code: Option<NameCode>,
    target: Option<String>,
    why: String,
}

impl Opinion {
    fn pass(why: String) -> Self {
        Self {
            verdict: NameVerdict::Pass,
            code: None,
            target: None,
            why,
        }
    }

    fn of(verdict: NameVerdict, code: NameCode, target: Option<&str>, why: String) -> Self {
        Self {
            verdict,
            code: Some(code),
            target: target.map(str::to_owned),
            why,
        }
    }
}

/// So old, in days, is no trap for this year's mistakes.
const SETTLED_DAYS: u32 = 4 * 365;
/// So many releases has no placeholder.
const SETTLED_RELEASES: u32 = 10;
/// A brand's name that is younger than this is held.
const YOUNG_DAYS: u32 = 90;

/// What else is known may make a note of a hold, and is told in any case.
fn lowered(opinion: Opinion, evidence: &NameEvidence) -> Opinion {
    if opinion.verdict != NameVerdict::Hold {
        return opinion;
    }
    let age = evidence.first_release_age_days;
    let settled = age.is_some_and(|days| days >= SETTLED_DAYS)
        && evidence
            .release_count
            .is_some_and(|count| count >= SETTLED_RELEASES);
    let reason = if evidence.same_authors == Some(true) {
        Some("the same people publish both".to_owned())
    } else if settled {
        age.map(|days| format!("it has been released for {} years", days / 365))
    } else {
        None
    };
    match (reason, age) {
        (Some(reason), _) => Opinion {
            verdict: NameVerdict::Pass,
            why: format!("{}; {reason}", opinion.why),
            ..opinion
        },
        (None, Some(days)) => Opinion {
            why: format!("{}; it was first released {days} days ago", opinion.why),
            ..opinion
        },
        (None, None) => opinion,
    }
}

/// A text that is no name: what it was made to look like.
fn of_invalid(name: &str, popular: Option<&PopularNames>) -> Opinion {
    let looks = confusable::looks(name.trim());
    let shown = text::shown(name);
    if name.len() > text::NAME_BYTES_MAX {
        let why = format!("{shown}… has {} bytes, more than any name", name.len());
        return Opinion::of(NameVerdict::Refuse, NameCode::Invalid, None, why);
    }
    if name.is_ascii() || !is_valid(&looks) {
        let why = format!(
            "{shown} is no name by PEP 508: letters, digits, `-`, `_` and `.`, a letter or digit at both ends"
        );
        return Opinion::of(NameVerdict::Refuse, NameCode::Invalid, None, why);
    }
    let meant = of_valid(&looks, popular, Weight::Direct, &NameEvidence::default());
    let normal = text::normalised(&looks);
    let target = meant.target.unwrap_or(normal);
    let why = format!("{shown} has characters that are not ASCII and looks like `{target}`");
    Opinion::of(NameVerdict::Refuse, NameCode::Confusable, Some(&target), why)
}

fn of_valid(name: &str, popular: Option<&PopularNames>, weight: Weight, evidence: &NameEvidence) -> Opinion {
    let spelling = Spelling::of(name);
    if let Some(opinion) = of_known(&spelling, popular, evidence) {
        return opinion;
    }
    let found = suspicions(&spelling, popular);
    let demanded = match weight {
        Weight::Direct => 1,
        Weight::Transitive => TRANSITIVE_PART,
    };
    let believed = found
        .into_iter()
        .filter(|found| found.rank <= found.reach / demanded);
    let best = believed.min_by(|a, b| a.doubt().cmp(&b.doubt()).then_with(|| a.target.cmp(&b.target)));
    let Some(best) = best else {
        return of_brand(&spelling, evidence).unwrap_or_else(|| Opinion::pass(resembles_nothing(popular)));
    };
    let why = format!("is `{}` ({}) with {}", best.target, best.evidence, best.how);
    Opinion::of(NameVerdict::Hold, best.code, Some(&best.target), why)
}

fn resembles_nothing(popular: Option<&PopularNames>) -> String {
    popular.map_or_else(
        || "resembles no known name (there is no list of popular ones)".to_owned(),
        |popular| format!("resembles none of {} popular names", popular.len()),
    )
}

/// A dependency of a dependency is suspected of resembling only names that are so many times more popular.
const TRANSITIVE_PART: u32 = 8;

/// What is exactly known: popular, imported, of the standard library, a brand or a placeholder.
fn of_known(spelling: &Spelling, popular: Option<&PopularNames>, evidence: &NameEvidence) -> Option<Opinion> {
    let normal = spelling.normal.as_str();
    let rank = popular.and_then(|popular| popular.rank(normal));
    let imported = import(normal);
    if let Some(import) = imported {
        let exists = import.exists || rank.is_some();
        let verdict = if exists {
            NameVerdict::Pass
        } else {
            NameVerdict::Hold
        };
        let target = import.distribution;
        let real = if exists {
            ", and a real distribution of its own"
        } else {
            ""
        };
        let why = format!("is what `{target}` is imported as{real}");
        return Some(Opinion::of(verdict, NameCode::Import, Some(target), why));
    }
    if let Some(rank) = rank {
        return Some(Opinion::pass(format!("is popular itself (rank {rank})")));
    }
    if evidence.popular_elsewhere == Some(true) {
        return Some(Opinion::pass("is popular itself".to_owned()));
    }
    if popular.is_none() && INSTEAD.kind(normal).is_some() {
        return Some(Opinion::pass("is a well-known distribution".to_owned()));
    }
    of_table(spelling)
}

/// What the tables say of a name that is not popular.
fn of_table(spelling: &Spelling) -> Option<Opinion> {
    let normal = spelling.normal.as_str();
    let kind = BESIDE.kind(normal);
    if kind == Some(Kind::Stdlib) {
        let why = "is a module of the standard library and needs no installation".to_owned();
        let verdict = if has(BACKPORTS, normal) {
            NameVerdict::Pass
        } else {
            NameVerdict::Hold
        };
        return Some(Opinion::of(verdict, NameCode::Stdlib, Some(normal), why));
    }
    let words = spelling.words();
    if words.len() > 1 && words.iter().all(|word| has(PLACEHOLDERS, word)) {
        let why = "stands in documentation for a name of one's own".to_owned();
        return Some(Opinion::of(NameVerdict::Hold, NameCode::Placeholder, None, why));
    }
    None
}

/// What the table of brands says of a name that is not popular and that resembles nothing.
fn of_brand(spelling: &Spelling, evidence: &NameEvidence) -> Option<Opinion> {
    let says_nothing = |word: &str| [ROLES, EDITIONS, ACCESS].iter().any(|table| has(table, word));
    let words = spelling.words();
    let mut named = words.iter().copied().filter(|word| !says_nothing(word));
    let brand = named.next().filter(|word| has(BRANDS, word))?;
    let alone = named.next().is_none();
    // Most such names are honest; what is honest is not new, or becomes popular.
    let young = evidence
        .first_release_age_days
        .is_some_and(|days| days < YOUNG_DAYS);
    let verdict = if young {
        NameVerdict::Hold
    } else {
        NameVerdict::Pass
    };
    let why =
        format!("is the well-known name `{brand}`, alone or with words that say nothing, and not popular");
    alone.then(|| Opinion::of(verdict, NameCode::Brand, Some(brand), why))
}

/// A known name that a name may be taken for.
struct Suspicion {
    code: NameCode,
    rank: u32,
    reach: u32,
    target: String,
    /// What is known of the target.
    evidence: String,
    how: String,
}

impl Suspicion {
    /// What is near the end of its reach is doubted most; in millionths.
    fn doubt(&self) -> u64 {
        u64::from(self.rank) * 1_000_000 / u64::from(self.reach.clamp(1, 1_000_000))
    }
}

fn suspicions(name: &Spelling, popular: Option<&PopularNames>) -> Vec<Suspicion> {
    let mut found = of_words(name, &BESIDE);
    found.extend(of_brands_in(name, popular));
    match popular {
        Some(popular) => found.extend(of_list(name, popular)),
        None => found.extend(of_words(name, &INSTEAD)),
    }
    found
}

/// What resembles a word of the tables.
fn of_words(name: &Spelling, words: &Words) -> Vec<Suspicion> {
    let resemblances = spelling::resemblances(name, core(name), words);
    let found = resemblances.into_iter().filter_map(|found| {
        let (target, kind) = words.at(found.place)?;
        Some(Suspicion {
            code: kind.code(),
            rank: kind.rank(),
            reach: found.reach,
            target: target.normal.clone(),
            evidence: kind.described().to_owned(),
            how: found.how,
        })
    });
    found.collect()
}

/// Whether more differs between two texts than one character for another, and there is something to disguise.
fn is_disguise(written: &str, meant: &str) -> bool {
    const LEN_MIN: usize = 4;
    let pairs = written.bytes().zip(meant.bytes());
    let is_long = written.len().max(meant.len()) >= LEN_MIN;
    (is_long && written.len() != meant.len()) || pairs.filter(|(a, b)| a != b).count() > 1
}

/// A brand misspelled among other words.
fn of_brands_in(name: &Spelling, popular: Option<&PopularNames>) -> Vec<Suspicion> {
    const WORD_LEN_MIN: usize = 6;
    // An impostor of a brand in one word of several has less to gain than one of a whole name, and what other names
    // have is a word.
    const REACH_PART: u32 = 3;
    const WORD_REACH_PART: u32 = 5;
    let words = name.words();
    let several = if words.len() > 1 { words.as_slice() } else { &[] };
    let long = several.iter().filter(|word| word.len() >= WORD_LEN_MIN);
    let unknown = long.filter(|word| BESIDE.kind(word).is_none());
    let rarer = unknown.flat_map(|word| {
        let is_a_word = popular.is_none_or(|popular| popular.has_word(word));
        let part = if is_a_word { WORD_REACH_PART } else { REACH_PART };
        let found = of_words(&Spelling::of(word), &BESIDE).into_iter();
        let brands = found.filter(|found| found.code == NameCode::Brand);
        brands.map(move |found| Suspicion {
            reach: found.reach / part,
            ..found
        })
    });
    rarer.collect()
}

/// What resembles a popular name, or is built from one.
fn of_list(name: &Spelling, popular: &PopularNames) -> Vec<Suspicion> {
    let core = core(name);
    let spelled = spelling::resemblances(name, core, popular).into_iter();
    let spelled = spelled.map(|found| (NameCode::Lookalike, found.place, found.reach, found.how));
    let built = shape::likenings(name, core, popular).into_iter();
    let built = built.map(|found| (found.code, found.place, found.reach, found.how));
    let disguised = popular.folded(&confusable::folded(&name.compact)).into_iter();
    let disguised = disguised.filter(|place| {
        let known = popular.spelled(*place);
        known.is_some_and(|known| is_disguise(&name.compact, &known.compact))
    });
    let disguised = disguised.map(|place| {
        let how = "characters that look alike".to_owned();
        (NameCode::Confusable, place, u32::MAX, how)
    });
    let found = spelled.chain(built).chain(disguised);
    let suspicions = found.filter_map(|(code, place, reach, how)| {
        let (target, downloads) = (&popular.spelled(place)?.normal, popular.downloaded(place)?);
        Some(Suspicion {
            code,
            rank: place + 1,
            reach,
            target: target.clone(),
            evidence: format!("rank {}, {downloads} downloads in a month", place + 1),
            how,
        })
    });
    suspicions.collect()
}
