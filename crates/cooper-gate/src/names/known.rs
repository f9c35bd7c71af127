//! What is known without any list: the standard library, brands and a few distributions.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::code::NameCode;
use super::forms::Forms;
use super::list::PopularNames;
use super::spelling::Known;
use super::stdlib::{GONE, STDLIB};
use super::tables::{BRANDS, FAMILIAR, IMPORTS};
use super::text::Spelling;

/// What kind of word a known one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Stdlib,
    Brand,
    Distribution,
}

impl Kind {
    pub(super) const fn code(self) -> NameCode {
        match self {
            Self::Stdlib => NameCode::Stdlib,
            Self::Brand => NameCode::Brand,
            Self::Distribution => NameCode::Lookalike,
        }
    }

    /// The rank that a word of this kind counts as having.
    pub(super) const fn rank(self) -> u32 {
        match self {
            Self::Stdlib => 1_600,
            Self::Brand => 300,
            Self::Distribution => 100,
        }
    }

    pub(super) const fn described(self) -> &'static str {
        match self {
            Self::Stdlib => "a module of the standard library",
            Self::Brand => "a well-known name",
            Self::Distribution => "a well-known distribution",
        }
    }
}

/// Words of tables, to be compared with.
#[derive(Debug)]
pub(super) struct Words {
    spellings: Vec<(Spelling, Kind)>,
    places: HashMap<String, u32>,
    forms: Forms,
}

impl Words {
    fn of(words: impl Iterator<Item = (&'static str, Kind)>) -> Self {
        let mut spellings: Vec<(Spelling, Kind)> = Vec::new();
        let mut places = HashMap::new();
        for (word, kind) in words {
            if let std::collections::hash_map::Entry::Vacant(vacant) = places.entry(word.to_owned()) {
                vacant.insert(u32::try_from(spellings.len()).unwrap_or(u32::MAX));
                spellings.push((Spelling::of(word), kind));
            }
        }
        let forms = Forms::of((0..).zip(spellings.iter().map(|(spelling, _)| spelling)));
        Self {
            spellings,
            places,
            forms,
        }
    }

    /// The kind of a word that is exactly known.
    pub(super) fn kind(&self, normal: &str) -> Option<Kind> {
        let place = self.places.get(normal)?;
        self.at(*place).map(|(_, kind)| kind)
    }

    pub(super) fn at(&self, place: u32) -> Option<(&Spelling, Kind)> {
        let (spelling, kind) = self.spellings.get(place as usize)?;
        Some((spelling, *kind))
    }
}

/// The standard library and brands: known beside any list.
pub(super) static BESIDE: LazyLock<Words> = LazyLock::new(|| {
    let modules = STDLIB.iter().chain(&GONE).map(|word| (*word, Kind::Stdlib));
    let brands = BRANDS.iter().map(|word| (*word, Kind::Brand));
    Words::of(modules.chain(brands))
});

/// Distributions that are known where there is no list.
pub(super) static INSTEAD: LazyLock<Words> = LazyLock::new(|| {
    let imported = IMPORTS.iter().map(|import| import.distribution);
    let words = FAMILIAR.iter().copied().chain(imported);
    Words::of(words.map(|word| (word, Kind::Distribution)))
});

impl Known for Words {
    fn forms(&self) -> &Forms {
        &self.forms
    }

    fn spelling(&self, place: u32) -> Option<&Spelling> {
        self.at(place).map(|(spelling, _)| spelling)
    }

    fn has_language(&self) -> bool {
        false
    }

    fn family(&self, _: &str) -> u32 {
        0
    }

    fn has_word(&self, _: &str) -> bool {
        // Tables are too short to say that a word is none.
        true
    }
}

impl Known for PopularNames {
    fn forms(&self) -> &Forms {
        PopularNames::forms(self)
    }

    fn spelling(&self, place: u32) -> Option<&Spelling> {
        self.spelled(place)
    }

    fn has_language(&self) -> bool {
        true
    }

    fn family(&self, opening: &str) -> u32 {
        PopularNames::family(self, opening)
    }

    fn has_word(&self, word: &str) -> bool {
        PopularNames::has_word(self, word)
    }
}
