//! Names that differ from a known one by a letter or two.

use super::edit::{Change, Edit, Likeness, Pair, Script};
use super::forms::{Forms, Near, Part};
use super::tables::{EDITIONS, ROLES, has};
use super::text::{Core, Spelling};

/// A known name that a name may be taken for, and how far down the list that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resemblance {
    /// The place of the known name.
    pub(super) place: u32,
    /// The highest rank that the known name may have.
    pub(super) reach: u32,
    /// What was done to the known name, in words.
    pub(super) how: String,
}

/// Where known names are.
pub(super) trait Known {
    fn forms(&self) -> &Forms;
    fn spelling(&self, place: u32) -> Option<&Spelling>;
    /// Whether `py` at the beginning of a word says nothing.
    fn has_language(&self) -> bool;
    /// How many known names begin with these words.
    fn family(&self, opening: &str) -> u32;
    /// Whether a known name has this word.
    fn has_word(&self, word: &str) -> bool;
}

/// Every known name that is spelled nearly like this one, or like what is left of it without words that say nothing.
pub(super) fn resemblances(name: &Spelling, core: Core<'_>, known: &impl Known) -> Vec<Resemblance> {
    let whole = Written {
        text: &name.compact,
        starts: name.starts().to_vec(),
        lost: Lost::Nothing,
    };
    let mut found = whole.resemblances(known);
    if core.affix {
        let offset = name.compact.find(core.text).unwrap_or(0);
        let bare = Written {
            text: core.text,
            starts: starts_within(name, offset, core.text),
            lost: Lost::Language,
        };
        found.extend(bare.resemblances(known));
    }
    if let Some(base) = base(name) {
        let telling = Written {
            text: &base.compact,
            starts: base.starts().to_vec(),
            lost: Lost::Words,
        };
        found.extend(telling.resemblances(known));
    }
    found
}

/// Where words begin in a part of a name.
fn starts_within(name: &Spelling, offset: usize, part: &str) -> Vec<usize> {
    let inner = name.starts().iter().filter_map(|start| start.checked_sub(offset));
    inner.filter(|start| *start < part.len()).collect()
}

/// What is left without words that only say which edition of something it is, or what it is used for.
pub(super) fn base(name: &Spelling) -> Option<Spelling> {
    let words = name.words();
    let telling = words
        .iter()
        .filter(|word| !has(EDITIONS, word) && !has(ROLES, word));
    let telling: Vec<&str> = telling.copied().collect();
    let shorter = !telling.is_empty() && telling.len() < words.len();
    shorter.then(|| Spelling::of(&telling.join("-")))
}

/// What was written, or what is left of it.
struct Written<'a> {
    text: &'a str,
    /// Where its words begin.
    starts: Vec<usize>,
    lost: Lost,
}

/// What was taken away from what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lost {
    Nothing,
    /// The language's own word.
    Language,
    /// Words that say nothing.
    Words,
}

impl Written<'_> {
    fn resemblances(&self, known: &impl Known) -> Vec<Resemblance> {
        let near = known.forms().near(self.text);
        near.into_iter()
            .filter_map(|near| self.resemblance(near, known))
            .collect()
    }

    fn resemblance(&self, near: Near, known: &impl Known) -> Option<Resemblance> {
        let meant = Meant::of(near, &self.starts, known)?;
        let (likeness, how) = self.likeness(near.script, &meant)?;
        let as_a_whole = self
            .demoted(likeness, near, &meant)
            .map_or(0, |likeness| reach(likeness, meant.length));
        let among_words = self.slipped_word(near, &meant, known).map_or(0, |slipped| {
            let reach = reach_among_words(likeness, slipped.length);
            if slipped.is_a_word {
                reach.min(WORD_REACH)
            } else {
                reach
            }
        });
        Some(Resemblance {
            place: near.place,
            reach: as_a_whole.max(among_words),
            how,
        })
    }

    /// What the likeness of the edits is worth, seen that other words, or what was taken away, differ too.
    fn demoted(&self, likeness: Likeness, near: Near, meant: &Meant<'_>) -> Option<Likeness> {
        let like_for_like = match self.lost {
            Lost::Nothing => near.part == Part::Whole,
            Lost::Language => near.part == Part::Core,
            Lost::Words => false,
        };
        let demotions = [
            self.starts.len() != meant.words,
            !like_for_like,
            meant.siblings,
            // A slip that makes no word makes no sister's name either.
            meant.siblings && likeness != Likeness::Strong,
        ];
        let mut demotions = demotions.iter().filter(|applies| **applies);
        demotions.try_fold(likeness, |likeness, _| likeness.less())
    }

    /// What stands in the place of a word, if there are several and all others are the same one for one. What no known name has
    /// is a slip, where a word would be another member of a family.
    fn slipped_word(&self, near: Near, meant: &Meant<'_>, known: &impl Known) -> Option<Slipped> {
        const TWO_EDITS_LEN_MIN: usize = 7;
        let theirs = meant.spelling.words();
        let is_comparable = self.lost == Lost::Nothing && near.part == Part::Whole;
        if !is_comparable || theirs.len() < 2 || theirs.len() != self.starts.len() {
            return None;
        }
        let pairs = self.words().zip(&theirs).filter(|(mine, their)| mine != *their);
        let digits = |word: &str| word.bytes().filter(u8::is_ascii_digit).collect::<Vec<_>>();
        let mut slipped = Slipped {
            length: usize::MAX,
            is_a_word: false,
        };
        for (mine, their) in pairs {
            if digits(mine) != digits(their) {
                return None;
            }
            slipped.length = slipped.length.min(their.len());
            slipped.is_a_word |= known.has_word(mine);
        }
        let is_long = near.script.second.is_none() || slipped.length >= TWO_EDITS_LEN_MIN;
        (is_long && slipped.length < usize::MAX).then_some(slipped)
    }

    /// What was written, word by word.
    fn words(&self) -> impl Iterator<Item = &str> {
        let ends = self.starts.iter().skip(1).copied().chain([self.text.len()]);
        let words = self.starts.iter().zip(ends);
        words.map(|(start, end)| self.text.get(*start..end).unwrap_or_default())
    }

    /// How all edits together are like a slip, and what they are.
    fn likeness(&self, script: Script, meant: &Meant<'_>) -> Option<(Likeness, String)> {
        // In a kept list that was tampered with, a form may be of another name.
        if !script.edits().all(|edit| edit.is_within(self.text, meant.text)) {
            return None;
        }
        let of = |edit: Edit| {
            let pair = Pair {
                written: self.text.as_bytes(),
                meant: meant.text.as_bytes(),
                word: meant.telling_word(edit),
            };
            let (likeness, how) = pair.likeness(edit);
            let likeness = match (meant.is_in_language(edit), edit.change) {
                // `yp` and what is left of `py` without a letter begin hardly any name.
                (true, Change::Swapped | Change::Missing) => Likeness::Medium,
                (true, _) => Likeness::Faint,
                (false, _) => likeness,
            };
            (likeness, how, pair)
        };
        let (first, how, pair) = of(script.first);
        let Some(second) = script.second else {
            return Some((first, how));
        };
        if pair.is_move(script) {
            return Some((Likeness::Medium, "a letter moved".to_owned()));
        }
        let (second, and, _) = of(second);
        if self.text.len() < LEN_OF_TWO_MIN && first.max(second) > Likeness::Strong {
            return None;
        }
        let likeness = first.max(second).less()?;
        // What is left without two letters is often another word, and so is one with another ending.
        let slip = first.min(second) == Likeness::Strong;
        let ending = !slip && script.edits().all(|edit| edit.from + 2 >= meant.word(edit).1);
        let another = ending || script.leaves_out_two();
        let likeness = if another { likeness.less()? } else { likeness };
        Some((likeness, format!("{how} and {and}")))
    }
}

/// One word of several that is not as in the known name.
struct Slipped {
    /// The length of the word that is meant; of several such the shortest.
    length: usize,
    /// Whether a known name has what was written in its place.
    is_a_word: bool,
}

/// Where a word stands in the place of another one, only so very popular names are meant.
const WORD_REACH: u32 = 60;

/// A known name with what has to be known of it to weigh edits.
struct Meant<'a> {
    /// The form that is near.
    text: &'a str,
    spelling: &'a Spelling,
    /// Where the form begins in the whole name.
    offset: usize,
    /// Where the words of what was written begin.
    written: &'a [usize],
    /// How many words it has.
    words: usize,
    /// The length of the edited word without numbers and the language's own word.
    length: usize,
    /// Whether `py` at the beginning of a word says nothing.
    language: bool,
    /// Whether many known names differ in just this word.
    siblings: bool,
}

/// In shorter texts two edits are believed only where both are slips that make no word.
const LEN_OF_TWO_MIN: usize = 8;
/// So many names with one beginning are a family, in which the next word tells them apart.
const FAMILY_MIN: u32 = 4;

impl<'a> Meant<'a> {
    fn of(near: Near, written: &'a [usize], known: &'a impl Known) -> Option<Self> {
        let spelling = known.spelling(near.place)?;
        let whole = spelling.compact.as_str();
        let core = super::text::core(spelling);
        let text = if near.part == Part::Whole {
            whole
        } else {
            core.text
        };
        let offset = whole.find(text)?;
        let mut meant = Self {
            text,
            spelling,
            offset,
            written,
            words: starts_within(spelling, offset, text).len(),
            length: usize::MAX,
            language: known.has_language(),
            siblings: false,
        };
        for edit in near.script.edits() {
            let word = meant.word_number(edit);
            let opening: Vec<&str> = spelling.words().into_iter().take(word).collect();
            meant.siblings |= word > 0 && known.family(&opening.join("-")) >= FAMILY_MIN;
            meant.length = meant.length.min(meant.weighty_length(edit));
        }
        let others = text.len().saturating_sub(meant.length);
        meant.length += match (meant.words > 1 && !meant.siblings, others) {
            (false, _) => 0,
            (true, ..8) => 1,
            (true, 8..) => 2,
        };
        Some(meant)
    }

    /// Which word the edit is in. What is put in between two words belongs to the first, unless it begins a word.
    fn word_number(&self, edit: Edit) -> usize {
        let (word, within) = self.spelling.place(self.offset + edit.from);
        let between = edit.change == Change::Extra && within == 0 && word > 0;
        if between && !self.written.contains(&edit.at) {
            word - 1
        } else {
            word
        }
    }

    /// Where the edited word begins and ends in the form.
    fn word(&self, edit: Edit) -> (usize, usize) {
        let word = self.word_number(edit);
        let starts = self.spelling.starts();
        let start = starts.get(word).copied().unwrap_or(0).saturating_sub(self.offset);
        let end = starts
            .get(word + 1)
            .map_or(usize::MAX, |end| end.saturating_sub(self.offset));
        (start, end.min(self.text.len()))
    }

    /// Where the edited word begins and ends, without a `py` in front unless the edit is in that.
    fn telling_word(&self, edit: Edit) -> (usize, usize) {
        let (start, end) = self.word(edit);
        let language = self.language && has_language(self.word_text(edit)) && !self.is_in_language(edit);
        (start + if language { 2 } else { 0 }, end)
    }

    /// The edited word.
    fn word_text(&self, edit: Edit) -> &str {
        let (start, end) = self.word(edit);
        self.text.get(start..end).unwrap_or_default()
    }

    /// How long the edited word is without a number and the language's own word.
    fn weighty_length(&self, edit: Edit) -> usize {
        let (whole, within) = (self.word_text(edit), edit.from.saturating_sub(self.word(edit).0));
        let word = whole.trim_end_matches(|character: char| character.is_ascii_digit());
        let bare = word
            .strip_suffix("python")
            .filter(|rest| !rest.is_empty())
            .unwrap_or(word);
        let bare = if self.language && has_language(bare) {
            &bare[2..]
        } else {
            bare
        };
        let is_in_python = word.ends_with("python") && within >= word.len() - "python".len();
        if is_in_python { whole.len() } else { bare.len() }
    }

    /// Whether the edit is in a `py` in front of a word.
    fn is_in_language(&self, edit: Edit) -> bool {
        self.language && has_language(self.word_text(edit)) && edit.from < self.word(edit).0 + 2
    }
}

/// Whether a word is `py` and something.
fn has_language(word: &str) -> bool {
    word.len() >= 5 && word.starts_with("py")
}

/// Down to which rank a known name's word of this length is believed to be meant.
fn reach(likeness: Likeness, length: usize) -> u32 {
    const ANY: u32 = u32::MAX;
    const RANKS: Ranks = [
        &[1_000, 3_000, ANY],
        &[0, 30, 250, 1_400, 2_000, 4_000, 4_000, ANY],
        &[0, 0, 25, 80, 100, 300, 1_000, 3_000, ANY],
        &[0, 0, 0, 0, 0, 15, 15, 80, 200, 200, 200, 1_000],
    ];
    rank_in(RANKS, likeness, length)
}

/// The same for a word that no known name has, among others that are as in the known name.
fn reach_among_words(likeness: Likeness, length: usize) -> u32 {
    const RANKS: Ranks = [&[1_000, u32::MAX], &[300, 300, 2_000], &[0, 600], &[0, 0, 600]];
    rank_in(RANKS, likeness, length)
}

/// For what is strong, medium, weak and faint: ranks by length, from 3 on; longer ones are as the last.
type Ranks = [&'static [u32]; 4];

fn rank_in([strong, medium, weak, faint]: Ranks, likeness: Likeness, length: usize) -> u32 {
    let ranks = match likeness {
        Likeness::Strong => strong,
        Likeness::Medium => medium,
        Likeness::Weak => weak,
        Likeness::Faint => faint,
    };
    let at = length.checked_sub(3);
    let rank = at.and_then(|at| ranks.get(at.min(ranks.len() - 1)));
    rank.copied().unwrap_or(0)
}
