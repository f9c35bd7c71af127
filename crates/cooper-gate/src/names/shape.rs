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
    found.extend(written_together(name, popular));
    found.extend(with_a_word_more(name, popular));
    found.extend(with_a_word_less(name, popular));
    found.extend(cut_short(name, popular));
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
            reach: 700,
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
        return Some((150, "the language's name added"));
    }
    if theirs.affix && theirs.text == name.compact {
        return Some((600, "the language's name left out"));
    }
    if mine.text != theirs.text {
        return None;
    }
    let reach = match mine.text.len() {
        ..5 => None,
        5 => Some(80),
        6.. => Some(300),
    };
    match (mine.affix, theirs.affix) {
        (true, true) if numbers_python(name, known) => Some((1_500, "a number added to `python`")),
        (true, true) if moves_python(name, known) => Some((1_500, "`python` in another place")),
        (true, true) => Some((250, "the language's name in another place or form")),
        (true, false) | (false, true) => None,
        (false, false) => match (mine.number, theirs.number) {
            (true, true) => reach.map(|reach| (reach, "another number")),
            // What is short has successors with a number.
            (true, false) if mine.text.len() > 5 => Some((300, "a number added")),
            (true, false) => None,
            (false, _) => Some((600, "the number left out")),
        },
    }
}

/// Whether a name is another one, but for a number of the language.
fn numbers_python(name: &Spelling, other: &Spelling) -> bool {
    let is_language = |word: &&str| matches!(*word, "python3" | "python2" | "py3" | "py2");
    let words = name.words();
    let plain = words.iter().map(|word| {
        let numbered = Some(*word).filter(is_language);
        numbered.map_or(*word, |word| {
            word.trim_end_matches(|last: char| last.is_ascii_digit())
        })
    });
    words.iter().any(is_language) && plain.eq(other.words())
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
        reach: if language { u32::MAX } else { 700 },
        how: "its words in another order".to_owned(),
    })
}

/// To a shorter name a word is often added.
const BASE_LEN_MIN: usize = 4;
/// Editions that a project itself has beside its releases.
const OWN_EDITIONS: [&str; 4] = ["dev", "legacy", "nightly", "testing"];

/// A popular name with words added that make it look like an edition of, or a way to use, the original.
fn extended(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    // What so many others extend is a framework, and its extensions are named so: more than one name in 250.
    let family_max = u32::try_from(popular.len() / 250).unwrap_or(u32::MAX);
    let words = name.words();
    let splits = (1..words.len()).flat_map(|at| {
        let (front, back) = words.split_at(at);
        [(front, back), (back, front)]
    });
    let found = splits.filter_map(|(base, added)| {
        let base = base.join("-");
        let place = popular_base(&base, popular)?;
        if popular.family(&base) > family_max {
            return None;
        }
        let say_nothing = added.iter().all(|word| has(EDITIONS, word) || has(ROLES, word));
        let is_edition = base.len() >= BASE_LEN_MIN
            && added
                .iter()
                .all(|word| has(EDITIONS, word) && !OWN_EDITIONS.contains(word));
        say_nothing.then(|| Likening {
            code: NameCode::Words,
            place,
            reach: if is_edition { 300 } else { 150 },
            how: format!("`{}` added", added.join("-")),
        })
    });
    found.min_by_key(|likening| likening.place)
}

/// A popular name of some length with such a word written to it.
fn glued(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    const BASE_LEN_MIN: usize = 5;
    const LONG: usize = 6;
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
            reach: if base.len() < LONG { 150 } else { 300 },
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
    // One name in 500.
    let family_max = u32::try_from(popular.len() / 500).unwrap_or(u32::MAX);
    let words = name.words();
    let found = (1..words.len()).filter_map(|at| {
        let (front, back) = (words[..at].join("-"), words[at..].join("-"));
        let first = popular_base(&front, popular)?;
        let second = popular_base(&back, popular)?;
        let lonely = popular.family(&front) <= family_max;
        let how = || format!("`{back}`, popular too, added");
        of_two(first, second, BOTH_REACH, how).filter(|_| lonely)
    });
    found.min_by_key(|likening| likening.place)
}

/// Two very popular names written as one word.
fn written_together(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    const EACH_LEN_MIN: usize = 4;
    const BOTH_REACH: u32 = 300;
    let text = name.normal.as_str();
    if name.starts().len() > 1 {
        return None;
    }
    let places = EACH_LEN_MIN..=text.len().saturating_sub(EACH_LEN_MIN);
    let found = places.filter_map(|at| {
        let (front, back) = text.split_at_checked(at)?;
        let (first, second) = (popular.place(front)?, popular.place(back)?);
        let how = || format!("`{back}`, popular too, written to it");
        of_two(first, second, BOTH_REACH, how)
    });
    found.min_by_key(|likening| likening.place)
}

/// Of two names beside each other the first, where both are that popular.
fn of_two(first: u32, second: u32, reach: u32, how: impl FnOnce() -> String) -> Option<Likening> {
    (first.max(second) < reach).then(|| Likening {
        code: NameCode::Words,
        place: first,
        reach,
        how: how(),
    })
}

/// A very popular name with a word more between its own.
fn with_a_word_more(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    let telling = super::spelling::base(name);
    let telling = telling.iter().map(Spelling::words);
    let orders = [name.words()].into_iter().chain(telling);
    let found = orders.flat_map(|words| {
        let inner = 1..words.len().saturating_sub(1);
        inner.filter_map(move |at| {
            let mut fewer = words.clone();
            let added = fewer.remove(at);
            let place = popular.place(&fewer.join("-"))?;
            Some(Likening {
                code: NameCode::Words,
                place,
                reach: 150,
                how: format!("`{added}` put in"),
            })
        })
    });
    found.min_by_key(|likening| likening.place)
}

/// A popular name of several words without one that is not its last: without that it is a family's beginning.
fn with_a_word_less(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    const REACH: u32 = 400;
    let words = name.words();
    if words.len() < 2 {
        return None;
    }
    let mut found = (0..REACH).zip(popular.names()).filter_map(|(place, known)| {
        let left_out = without_one(&words, known)?;
        Some(Likening {
            code: NameCode::Words,
            place,
            reach: REACH,
            how: format!("`{left_out}` left out"),
        })
    });
    found.next()
}

/// The word without which a known name is these words, unless it is the last.
fn without_one<'a>(words: &[&str], known: &'a str) -> Option<&'a str> {
    let separators = known.bytes().filter(|byte| *byte == b'-').count();
    if separators != words.len() {
        return None;
    }
    let theirs: Vec<&str> = super::text::words(known).collect();
    let at = words
        .iter()
        .zip(&theirs)
        .take_while(|(mine, their)| mine == their)
        .count();
    let left_out = theirs.get(at).filter(|_| at < words.len())?;
    (words.get(at..) == theirs.get(at + 1..)).then_some(*left_out)
}

/// The beginning of a very popular name that is not much longer.
fn cut_short(name: &Spelling, popular: &PopularNames) -> Option<Likening> {
    const LEN_MIN: usize = 7;
    const CUT: std::ops::RangeInclusive<usize> = 2..=3;
    let start = name.normal.as_str();
    let longer = (start.len() >= LEN_MIN).then(|| popular.beginning_with(start));
    let found = longer.into_iter().flatten().filter_map(|(place, known)| {
        let rest = known.get(start.len()..)?;
        (CUT.contains(&rest.len()) && !rest.contains('-')).then(|| Likening {
            code: NameCode::Lookalike,
            place,
            reach: 150,
            how: format!("`{rest}` left out at the end"),
        })
    });
    found.min_by_key(|likening| likening.place)
}
