//! What impostors have done to names, kind by kind.
//!
//! Each operator gives every name that it can make of a normalised one; which of them are judged is drawn elsewhere.

/// A kind of change.
pub(super) struct Operator {
    pub(super) what: &'static str,
    /// Of how many hundredths of the names made of ranks 1–300 the gate must hold, at least.
    pub(super) floor: usize,
    /// Whether it is also tried on modules of the standard library and on brands.
    pub(super) on_words: bool,
    pub(super) make: fn(&str) -> Vec<String>,
}

const fn slip(what: &'static str, floor: usize, make: fn(&str) -> Vec<String>) -> Operator {
    Operator {
        what,
        floor,
        on_words: true,
        make,
    }
}

const fn of_names(what: &'static str, floor: usize, make: fn(&str) -> Vec<String>) -> Operator {
    Operator {
        what,
        floor,
        on_words: false,
        make,
    }
}

/// Every kind, in the order of the table.
pub(super) const OPERATORS: &[Operator] = &[
    slip("a letter left out", 82, left_out),
    slip("one of a doubled letter left out", 100, undoubled),
    slip("a letter doubled", 88, doubled),
    slip("neighbours swapped", 92, swapped),
    slip("a letter moved by two or three", 75, moved),
    slip("a neighbouring key instead", 81, key_instead),
    slip("a neighbouring key too", 82, key_too),
    slip("another vowel", 87, other_vowel),
    slip("a sound spelled otherwise", 83, sounding),
    slip("any other letter inside", 70, other_letter),
    slip("any letter put in", 73, letter_put_in),
    slip("a letter put in front", 34, letter_in_front),
    slip("a letter put at the end", 86, letter_at_end),
    slip("two slips (from 8 letters)", 59, two_slips),
    slip("cut short by one to three", 58, cut_short),
    slip("plural or singular", 86, plural),
    slip("British or American", 100, british),
    slip("digits that look like letters", 94, digits),
    slip("letters that look alike", 97, look_alikes),
    slip("letters of other alphabets", 100, foreign),
    of_names("separators left out", 100, joined),
    of_names("separators put in", 100, separated),
    of_names("words in another order", 92, reordered),
    of_names("one word of several left out", 78, word_left_out),
    of_names("a popular name added", 46, name_added),
    of_names("`python` or `py` added", 46, language_added),
    of_names("`python` or `py` left out", 78, language_left_out),
    of_names("`python` or `py` moved", 64, language_moved),
    of_names("a number added", 78, number_added),
    of_names("a number left out or another", 73, other_number),
    of_names("an edition's word added", 75, edition_added),
    of_names("an edition's word written to it", 54, edition_glued),
    of_names("a role's word added", 42, role_added),
    of_names("two such words added", 41, two_added),
    of_names("a slip, and such a word", 38, slip_and_word),
];

fn is_ascii_letter_or_digit(name: &str, at: usize) -> bool {
    name.as_bytes().get(at).is_some_and(u8::is_ascii_alphanumeric)
}

/// The places of letters.
fn letters(name: &str) -> impl Iterator<Item = usize> + '_ {
    (0..name.len()).filter(|at| name.as_bytes()[*at].is_ascii_lowercase())
}

/// With one character, or several, in the place of those from one place to another.
fn with(name: &str, from: usize, to: usize, text: &str) -> String {
    format!("{}{text}{}", &name[..from], &name[to..])
}

fn is_doubled(name: &str, at: usize) -> bool {
    let bytes = name.as_bytes();
    bytes.get(at + 1) == bytes.get(at) || (at > 0 && bytes[at - 1] == bytes[at])
}

fn left_out(name: &str) -> Vec<String> {
    let places = letters(name).filter(|at| !is_doubled(name, *at));
    places.map(|at| with(name, at, at + 1, "")).collect()
}

fn undoubled(name: &str) -> Vec<String> {
    let places = letters(name).filter(|at| name.as_bytes().get(at + 1) == name.as_bytes().get(*at));
    places.map(|at| with(name, at, at + 1, "")).collect()
}

fn doubled(name: &str) -> Vec<String> {
    let places = letters(name).filter(|at| !is_doubled(name, *at));
    places.map(|at| with(name, at, at, &name[at..=at])).collect()
}

fn swapped(name: &str) -> Vec<String> {
    let bytes = name.as_bytes();
    let places = letters(name).filter(|at| is_ascii_letter_or_digit(name, at + 1));
    let places = places.filter(|at| bytes[*at] != bytes[at + 1]);
    places
        .map(|at| {
            with(
                name,
                at,
                at + 2,
                &format!("{}{}", &name[at + 1..at + 2], &name[at..=at]),
            )
        })
        .collect()
}

fn moved(name: &str) -> Vec<String> {
    let moves = letters(name).flat_map(|at| [2, 3].map(|by| (at, at + by)));
    let moves = moves.filter(|(at, to)| {
        let between = &name.as_bytes()[*at..name.len().min(to + 1)];
        between.len() == to - at + 1 && between.iter().all(u8::is_ascii_lowercase)
    });
    let made = moves.map(|(at, to)| {
        format!(
            "{}{}{}{}",
            &name[..at],
            &name[at + 1..=to],
            &name[at..=at],
            &name[to + 1..]
        )
    });
    made.collect()
}

/// The keys that touch one, on a QWERTY keyboard.
fn keys_near(key: u8) -> &'static str {
    match key {
        b'a' => "qwsz",
        b'b' => "vghn",
        b'c' => "xdfv",
        b'd' => "serfcx",
        b'e' => "wrsd",
        b'f' => "drtgvc",
        b'g' => "ftyhbv",
        b'h' => "gyujnb",
        b'i' => "ujko",
        b'j' => "huikmn",
        b'k' => "jiolm",
        b'l' => "kop",
        b'm' => "njk",
        b'n' => "bhjm",
        b'o' => "iklp",
        b'p' => "ol",
        b'q' => "wa",
        b'r' => "edft",
        b's' => "awedxz",
        b't' => "rfgy",
        b'u' => "yhji",
        b'v' => "cfgb",
        b'w' => "qase",
        b'x' => "zsdc",
        b'y' => "tghu",
        b'z' => "asx",
        _ => "",
    }
}

fn replaced(name: &str, others: impl Fn(u8) -> &'static str) -> Vec<String> {
    let made = letters(name).flat_map(|at| {
        let others = others(name.as_bytes()[at]).chars();
        others.map(move |other| with(name, at, at + 1, &other.to_string()))
    });
    made.collect()
}

fn key_instead(name: &str) -> Vec<String> {
    replaced(name, keys_near)
}

fn key_too(name: &str) -> Vec<String> {
    let made = letters(name).flat_map(|at| {
        let near = keys_near(name.as_bytes()[at]).chars();
        near.flat_map(move |other| [at, at + 1].map(|at| with(name, at, at, &other.to_string())))
    });
    made.collect()
}

fn other_vowel(name: &str) -> Vec<String> {
    replaced(name, |byte| match byte {
        b'a' => "eiou",
        b'e' => "aiou",
        b'i' => "aeouy",
        b'o' => "aeiu",
        b'u' => "aeio",
        b'y' => "i",
        _ => "",
    })
}

/// With each of the pairs, both ways round, wherever it applies.
fn exchanged(name: &str, pairs: &[(&str, &str)]) -> Vec<String> {
    let both = pairs.iter().flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
    let made = both.flat_map(|(from, to)| {
        let places = name.match_indices(from).filter(|_| !from.is_empty());
        places.map(move |(at, _)| with(name, at, at + from.len(), to))
    });
    made.collect()
}

fn sounding(name: &str) -> Vec<String> {
    const PAIRS: &[(&str, &str)] = &[
        ("ph", "f"),
        ("ck", "k"),
        ("c", "k"),
        ("x", "ks"),
        ("qu", "kw"),
        ("ee", "ea"),
        ("ei", "ie"),
        ("oo", "ou"),
        ("tion", "sion"),
        ("ance", "ence"),
        ("able", "ible"),
        ("er", "or"),
        ("ar", "er"),
        ("s", "z"),
        ("th", "t"),
        ("wh", "w"),
    ];
    exchanged(name, PAIRS)
}

const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz";

fn other_letter(name: &str) -> Vec<String> {
    let inside = |at: &usize| *at > 0;
    let made = letters(name).filter(inside).flat_map(|at| {
        let others = ALPHABET
            .chars()
            .filter(move |other| !name[at..].starts_with(*other));
        others.map(move |other| with(name, at, at + 1, &other.to_string()))
    });
    made.collect()
}

fn letter_put_in(name: &str) -> Vec<String> {
    let made = letters(name).skip(1).flat_map(|at| {
        let others = ALPHABET.chars();
        others.map(move |other| with(name, at, at, &other.to_string()))
    });
    made.collect()
}

fn letter_in_front(name: &str) -> Vec<String> {
    ALPHABET.chars().map(|letter| format!("{letter}{name}")).collect()
}

fn letter_at_end(name: &str) -> Vec<String> {
    ALPHABET.chars().map(|letter| format!("{name}{letter}")).collect()
}

fn slips(name: &str) -> Vec<String> {
    let kinds = [left_out, doubled, swapped, key_instead, other_vowel];
    kinds.iter().flat_map(|kind| kind(name)).collect()
}

fn two_slips(name: &str) -> Vec<String> {
    if letters(name).count() < 8 {
        return Vec::new();
    }
    let second = |(number, first): (usize, String)| {
        let all = slips(&first);
        all.get(number * 7_919 % all.len().max(1)).cloned()
    };
    slips(name).into_iter().enumerate().filter_map(second).collect()
}

fn cut_short(name: &str) -> Vec<String> {
    let lengths = (1..=3).map(|by| name.len().saturating_sub(by));
    let lengths = lengths.filter(|length| *length >= 4 && length * 3 >= name.len() * 2);
    let cut = lengths.map(|length| name[..length].trim_end_matches('-').to_owned());
    cut.filter(|cut| !cut.is_empty()).collect()
}

fn plural(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('-').collect();
    let made = (0..words.len()).filter_map(|at| {
        let word = words[at];
        let changed = match word.strip_suffix('s') {
            Some(singular) if singular.len() >= 3 => singular.to_owned(),
            None if word.len() >= 3 => format!("{word}s"),
            _ => return None,
        };
        let mut words = words.clone();
        words[at] = &changed;
        Some(words.join("-"))
    });
    made.collect()
}

fn british(name: &str) -> Vec<String> {
    const PAIRS: &[(&str, &str)] = &[
        ("color", "colour"),
        ("behavior", "behaviour"),
        ("izer", "iser"),
        ("ize", "ise"),
        ("iza", "isa"),
        ("yze", "yse"),
        ("gray", "grey"),
        ("license", "licence"),
        ("center", "centre"),
        ("meter", "metre"),
        ("catalog", "catalogue"),
        ("dialog", "dialogue"),
        ("program", "programme"),
        ("aluminum", "aluminium"),
        ("favor", "favour"),
        ("canceled", "cancelled"),
        ("model", "modell"),
        ("labeled", "labelled"),
        ("defense", "defence"),
    ];
    exchanged(name, PAIRS)
}

fn digits(name: &str) -> Vec<String> {
    replaced(name, |byte| match byte {
        b'o' => "0",
        b'l' | b'i' => "1",
        b'e' => "3",
        b'a' => "4",
        b's' => "5",
        b't' => "7",
        b'b' => "8",
        _ => "",
    })
}

fn look_alikes(name: &str) -> Vec<String> {
    const PAIRS: &[(&str, &str)] = &[
        ("rn", "m"),
        ("vv", "w"),
        ("cl", "d"),
        ("l", "i"),
        ("nn", "m"),
        ("ii", "u"),
    ];
    exchanged(name, PAIRS)
}

fn foreign(name: &str) -> Vec<String> {
    replaced(name, |byte| match byte {
        b'a' => "\u{430}\u{251}",
        b'c' => "\u{441}",
        b'd' => "\u{501}",
        b'e' => "\u{435}\u{e9}",
        b'i' => "\u{456}\u{131}",
        b'j' => "\u{458}",
        b'l' => "\u{142}",
        b'n' => "\u{578}\u{f1}",
        b'o' => "\u{43e}\u{3bf}",
        b'p' => "\u{440}",
        b's' => "\u{455}",
        b'u' => "\u{fc}",
        b'v' => "\u{3bd}",
        b'x' => "\u{445}",
        b'y' => "\u{443}",
        _ => "",
    })
}

fn joined(name: &str) -> Vec<String> {
    let places = name.match_indices('-');
    places.map(|(at, _)| with(name, at, at + 1, "")).collect()
}

/// Where a name can be taken for two words: before what is a frequent word of names.
fn separated(name: &str) -> Vec<String> {
    const FROM: usize = 3;
    let longest = name.len().saturating_sub(FROM);
    let places =
        (FROM..=longest).filter(|at| name.as_bytes()[at - 1..=*at].iter().all(u8::is_ascii_lowercase));
    places.map(|at| with(name, at, at, "-")).collect()
}

fn reordered(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('-').collect();
    let swaps = (1..words.len()).map(|at| {
        let mut words = words.clone();
        words.swap(at - 1, at);
        words.join("-")
    });
    let turned = (1..words.len()).map(|at| {
        let mut words = words.clone();
        words.rotate_left(at);
        words.join("-")
    });
    swaps.chain(turned).collect()
}

fn word_left_out(name: &str) -> Vec<String> {
    let words: Vec<&str> = name.split('-').collect();
    if words.len() < 3 {
        return Vec::new();
    }
    let left = (0..words.len()).map(|at| {
        let mut words = words.clone();
        words.remove(at);
        words.join("-")
    });
    left.collect()
}

fn name_added(name: &str) -> Vec<String> {
    [
        "numpy",
        "requests",
        "pandas",
        "urllib3",
        "pillow",
        "colorama",
        "cryptography",
    ]
    .iter()
    .filter(|other| **other != name)
    .map(|other| format!("{name}-{other}"))
    .collect()
}

fn language_added(name: &str) -> Vec<String> {
    if name.contains("py") {
        return Vec::new();
    }
    let made = [
        "python-@",
        "py-@",
        "py@",
        "@-py",
        "@-python",
        "@py",
        "python3-@",
        "@-python3",
    ];
    made.map(|pattern| pattern.replace('@', name)).to_vec()
}

fn language_left_out(name: &str) -> Vec<String> {
    let starts = ["python-", "py-", "py"]
        .iter()
        .filter_map(|word| name.strip_prefix(word));
    let ends = ["-python", "-py", "py"]
        .iter()
        .filter_map(|word| name.strip_suffix(word));
    let cores = starts.take(1).chain(ends.take(1));
    cores
        .filter(|core| core.len() >= 4 && !core.starts_with('-'))
        .map(str::to_owned)
        .collect()
}

fn language_moved(name: &str) -> Vec<String> {
    let forms = ["python-@", "@-python", "py-@", "@-py", "py@", "python3-@"];
    let made = language_left_out(name)
        .into_iter()
        .flat_map(|core| forms.map(|form| form.replace('@', &core)));
    made.filter(|made| made != name).collect()
}

fn number_added(name: &str) -> Vec<String> {
    if name.ends_with(|last: char| last.is_ascii_digit()) {
        return Vec::new();
    }
    ["2", "3", "-2", "-3"]
        .map(|number| format!("{name}{number}"))
        .to_vec()
}

fn other_number(name: &str) -> Vec<String> {
    let core = name.trim_end_matches(|last: char| last.is_ascii_digit());
    if core == name || core.len() < 4 {
        return Vec::new();
    }
    let made = ["", "2", "3", "4", "5"].map(|number| format!("{}{number}", core.trim_end_matches('-')));
    made.into_iter().filter(|made| made != name).collect()
}

const EDITIONS: [&str; 12] = [
    "dev", "pro", "official", "secure", "beta", "test", "lite", "plus", "fixed", "latest", "updated",
    "stable",
];
const ROLES: [&str; 9] = [
    "sdk", "lib", "utils", "client", "api", "cli", "core", "tools", "helper",
];

fn edition_added(name: &str) -> Vec<String> {
    let before = ["new", "the", "my", "real", "official"].map(|word| format!("{word}-{name}"));
    let after = EDITIONS.map(|word| format!("{name}-{word}"));
    before.into_iter().chain(after).collect()
}

fn edition_glued(name: &str) -> Vec<String> {
    EDITIONS.map(|word| format!("{name}{word}")).to_vec()
}

fn role_added(name: &str) -> Vec<String> {
    ROLES.map(|word| format!("{name}-{word}")).to_vec()
}

fn two_added(name: &str) -> Vec<String> {
    let made = ROLES
        .iter()
        .flat_map(|role| EDITIONS.map(|edition| format!("{name}-{role}-{edition}")));
    made.collect()
}

fn slip_and_word(name: &str) -> Vec<String> {
    let words = ["-dev", "-api", "-sdk", "3", "-python", "-lib"];
    let made = slips(name).into_iter().enumerate();
    made.map(|(at, slip)| format!("{slip}{}", words[at % words.len()]))
        .collect()
}
