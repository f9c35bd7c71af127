//! A name as it is compared: normalised, in words, and without what says nothing.

/// Longer names are not names: the longest in use have about a hundred characters.
pub(super) const NAME_BYTES_MAX: usize = 214;

/// A valid name in the forms that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spelling {
    /// PEP 503: lower case, one `-` for each run of separators.
    pub(super) normal: String,
    /// Without separators.
    pub(super) compact: String,
    /// Where each word begins in `compact`.
    starts: Vec<usize>,
}

impl Spelling {
    /// The forms of a name that [`is_valid`].
    pub(super) fn of(name: &str) -> Self {
        let normal = normalised(name);
        let mut compact = String::with_capacity(normal.len());
        let mut starts = Vec::new();
        for word in normal.split('-').filter(|word| !word.is_empty()) {
            starts.push(compact.len());
            compact.push_str(word);
        }
        Self {
            normal,
            compact,
            starts,
        }
    }

    /// The words between separators.
    pub(super) fn words(&self) -> Vec<&str> {
        words(&self.normal).collect()
    }

    /// Where each word begins in [`Spelling::compact`].
    pub(super) fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Which word the byte of [`Spelling::compact`] is in, and where in it.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let word = self
            .starts
            .partition_point(|start| *start <= at)
            .saturating_sub(1);
        let start = self.starts.get(word).copied().unwrap_or(0);
        (word, at.saturating_sub(start))
    }
}

/// The words of a normalised name.
pub(super) fn words(normal: &str) -> impl Iterator<Item = &str> {
    normal.split('-').filter(|word| !word.is_empty())
}

/// PEP 503's normal form.
pub(super) fn normalised(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            _ => normal.push(character.to_ascii_lowercase()),
        }
    }
    normal
}

/// Whether PEP 508 allows the name, and it is not longer than [`NAME_BYTES_MAX`].
pub(super) fn is_valid(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = [name.bytes().next(), name.bytes().next_back()];
    let ends_well = |end: &Option<u8>| end.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= NAME_BYTES_MAX && ends.iter().all(ends_well) && name.bytes().all(inner)
}

/// The beginning of hostile text in quotation marks, with what does not print escaped.
pub(super) fn shown(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    format!("{start:?}")
}

/// What a name has beside what it is about: `python-x`, `x-py`, `pyx`, `x2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Core<'a> {
    /// What it is about, without separators.
    pub(super) text: &'a str,
    /// Whether `python`, `py` or the like was taken away.
    pub(super) affix: bool,
    /// Whether a number at the end was taken away.
    pub(super) number: bool,
}

/// The language's own words at the beginning and at the end of names, longest first.
const LANGUAGE: [&str; 4] = ["python3", "python", "py3", "py"];
/// A shorter core says nothing.
const CORE_LEN_MIN: usize = 4;

/// What a name is about.
pub(super) fn core(spelling: &Spelling) -> Core<'_> {
    let compact = spelling.compact.as_str();
    let words = spelling.starts.len();
    let long = |rest: &&str| rest.len() >= CORE_LEN_MIN;
    let beheaded = LANGUAGE.iter().find_map(|word| {
        let rest = compact.strip_prefix(word)?;
        let alone = words == 1 || spelling.starts.get(1) == Some(&word.len());
        Some(if alone { rest } else { "" })
    });
    let curtailed = || {
        LANGUAGE.iter().find_map(|word| {
            let rest = compact.strip_suffix(word)?;
            let alone = words == 1 || spelling.starts.last() == Some(&rest.len());
            Some(if alone { rest } else { "" })
        })
    };
    let stripped = beheaded.filter(long).or_else(|| curtailed().filter(long));
    let text = stripped.unwrap_or(compact);
    let numberless = text.trim_end_matches(|character: char| character.is_ascii_digit());
    let number = numberless.len() < text.len() && numberless.len() >= CORE_LEN_MIN;
    Core {
        text: if number { numberless } else { text },
        affix: stripped.is_some(),
        number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_as_pep_508_says() {
        for good in ["a", "A.b_c-d", "3to2", "x--y"] {
            assert!(is_valid(good), "{good}");
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "-a", "a-", "a b", "a\u{e9}", "a/b", "a\n", long.as_str()] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn spellings_know_their_words() {
        let spelling = Spelling::of("Ruamel.yaml_-clib");
        assert_eq!(spelling.normal, "ruamel-yaml-clib");
        assert_eq!(spelling.compact, "ruamelyamlclib");
        assert_eq!(spelling.words(), ["ruamel", "yaml", "clib"]);
        assert_eq!(spelling.place(0), (0, 0));
        assert_eq!(spelling.place(6), (1, 0));
        assert_eq!(spelling.place(13), (2, 3));
    }

    #[test]
    fn a_core_is_what_a_name_is_about() {
        let about = |name: &str| {
            let spelling = Spelling::of(name);
            let core = core(&spelling);
            (core.text.to_owned(), core.affix, core.number)
        };
        assert_eq!(about("python-dateutil"), ("dateutil".to_owned(), true, false));
        assert_eq!(about("python3-dateutil"), ("dateutil".to_owned(), true, false));
        assert_eq!(about("kafka-python"), ("kafka".to_owned(), true, false));
        assert_eq!(about("pyfiglet"), ("figlet".to_owned(), true, false));
        assert_eq!(about("beautifulsoup4"), ("beautifulsoup".to_owned(), false, true));
        assert_eq!(about("pytz"), ("pytz".to_owned(), false, false));
        assert_eq!(about("python"), ("python".to_owned(), false, false));
        assert_eq!(about("pyramid-tm"), ("pyramidtm".to_owned(), false, false));
    }
}
