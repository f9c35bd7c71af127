//! Names that have a known name's words or core, and more or less beside it.

use super::code::NameCode;
use super::forms::Part;
use super::list::PopularNames;
use super::tables::{EDITIONS, ROLES, has};
use super::text::{Core, Spelling, core};

/// A known name that a name is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Likening {
    pub(super) code: NameCode,
    /// The place of the known name in the list.
    pub(super) place: u32,
    /// The highest rank that the known name may have.
    pub(super) reach: u32,
    /// What was done to the known name, in words.
    pub(super) how: String,
}

/// Every popular name that this one is built from.
pub(super) fn likenings(name: &Spelling, core: Core<'_>, popular: &PopularNames) -> Vec<Likening> {
    let mut found = separated(name, popular);
    found.extend(decorated(name, core, popular));
    found.extend(reordered(name, popular));
    found.extend(extended(name, popular));
    found.extend(glued(name, popular));
    found.extend(joined(name, popular));
    found
}

/// The same letters with other separators.
fn separated(name: &Spelling, popular: &PopularNames) -> Vec<Likening> {
    let same = popular.forms().exactly(&name.compact);
    let whole = same.filter(|(_, part)| *part == Part::Whole);
    whole
        .map(|(place, _)| Likening {
            code: NameCode::Words,
            place,
            reach: 400,
            how: "its separators elsewhere".to_owned(),
        })
        .collect()
}

/// The same core with another of the language's words, or another number.
fn decorated(name: &Spelling, mine: Core<'_>, popular: &PopularNames) -> Vec<Likening> {
    let forms = [mine.text, name.compact.as_str()].into_iter();
    let same = forms.flat_map(|text| popular.forms().exactly(text));
    let found = same.filter_map(|(place, _)| {
        let (reach, how) = decoration(name, mine, popular.spelled(place)?)?;
        Some(Likening {
            code: NameCode::Affix,
            place,
            reach,
            how: how.to_owned(),
        })
    });
    found.collect()
}

/// How a name's language word or number differs from a known name's, and how far down the list that matters.
fn decoration(name: &Spelling, mine: Core<'_>, known: &Spelling) -> Option<(u32, &'static str)> {
    let theirs = core(known);
    if known.compact == name.compact {
        return None;
    }
    if mine.affix && mine.text == known.compact {
        return Some((120, "the language's name added"));
    }
    if theirs.affix && theirs.text == name.compact {
        return Some((300, "the language's name left out"));
    }
    if mine.text != theirs.text {
        return None;
    }
    let long = mine.text.len() >= 6;
    match (mine.affix, theirs.affix) {
        (true, true) if moves_python(name, known) => Some((1_500, "`python` in another place")),
        (true, true) => Some((250, "the language's name in another place or form")),
        (true, false) | (false, true) => None,
        (false, false) => match (mine.number, theirs.number) {
            (true, true) => long.then_some((20, "another number")),
            (true, false) => long.then_some((50, "a number added")),
            (false, _) => Some((100, "the number left out")),
        },
    }
}

/// Whether both have `python` itself, and neither has a number.
fn moves_python(name: &Spelling, other: &Spelling) -> bool {
    [name, other].iter().all(|spelling| {
        let compact = spelling.compact.as_str();
        let plain = compact.bytes().all(|byte| !byte.is_ascii_digit());
        plain && (compact.starts_with("python") || compact.ends_with("python"))
    })
}

/// The same words in another order.
fn reordered(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    let words = name.words();
    if !(2..=4).contains(&words.len()) {
        return None;
    }
    let turned = (1..words.len()).map(|at| {
        let mut turned = words.clone();
        turned.rotate_left(at);
        turned
    });
    let swapped = (0..words.len() - 1).map(|at| {
        let mut swapped = words.clone();
        swapped.swap(at, at + 1);
        swapped
    });
    let orders = turned.chain(swapped).map(|order| order.join("-"));
    let others = orders.filter(|order| *order != name.normal);
    let place = others.filter_map(|order| popular.place(&order)).min()?;
    let language = words
        .iter()
        .any(|word| matches!(*word, "python" | "python3" | "py"));
    Some(Likening {
        code: if language {
            NameCode::Affix
        } else {
            NameCode::Words
        },
        place,
        reach: if language { u32::MAX } else { 500 },
        how: "its words in another order".to_owned(),
    })
}

/// A popular name with words added that make it look like an edition of, or a way to use, the original.
fn extended(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    // What so many others extend is a framework, and its extensions are named so.
    const FAMILY_MAX: u32 = 50;
    let words = name.words();
    let splits = (1..words.len()).flat_map(|at| {
        let (front, back) = words.split_at(at);
        [(front, back), (back, front)]
    });
    let found = splits.filter_map(|(base, added)| {
        let base = base.join("-");
        let place = popular_base(&base, popular)?;
        if popular.family(&base) > FAMILY_MAX {
            return None;
        }
        let only = |table: &[&str]| added.iter().all(|word| has(table, word));
        let either = added.iter().all(|word| has(EDITIONS, word) || has(ROLES, word));
        let reach = match (only(EDITIONS), either) {
            (true, _) => 150,
            (false, true) => 50,
            (false, false) => return None,
        };
        Some(Likening {
            code: NameCode::Words,
            place,
            reach,
            how: format!("`{}` added", added.join("-")),
        })
    });
    found.min_by_key(|likening| likening.place)
}

/// A popular name of some length with such a word written to it.
fn glued(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    const BASE_LEN_MIN: usize = 6;
    if name.starts().len() > 1 {
        return None;
    }
    let found = EDITIONS.iter().filter_map(|word| {
        let base = name.compact.strip_suffix(word)?;
        let long = base.len() >= BASE_LEN_MIN && word.len() >= 3;
        let place = popular.place(base).filter(|_| long)?;
        Some(Likening {
            code: NameCode::Words,
            place,
            reach: 150,
            how: format!("`{word}` added"),
        })
    });
    found.min_by_key(|likening| likening.place)
}

/// The place of a name that is popular as it is, or with another number.
fn popular_base(base: &str, popular: &PopularNames) -> Option<u32> {
    let spelling = Spelling::of(base);
    let mine = core(&spelling);
    let numberless = if mine.affix {
        spelling.compact.as_str()
    } else {
        mine.text
    };
    let forms = popular.forms().exactly(numberless);
    let places = forms
        .filter(|(_, part)| *part != Part::Core)
        .map(|(place, _)| place);
    places.chain(popular.place(base)).min()
}

/// Two very popular names joined, neither of which others join to theirs.
fn joined(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    const BOTH_REACH: u32 = 150;
    const FAMILY_MAX: u32 = 3;
    let words = name.words();
    let found = (1..words.len()).filter_map(|at| {
        let (front, back) = (words[..at].join("-"), words[at..].join("-"));
        let first = popular_base(&front, popular)?;
        let second = popular_base(&back, popular)?;
        let lonely = popular.family(&front) <= FAMILY_MAX;
        (lonely && first.max(second) < BOTH_REACH).then(|| Likening {
            code: NameCode::Words,
            place: first,
            reach: BOTH_REACH,
            how: format!("`{back}`, popular too, added"),
        })
    });
    found.min_by_key(|likening| likening.place)
}
