//! Finds the spellings that are near to a given one, without looking at most of them.

use super::edit::{self, Script};
use super::text::{Spelling, core};

/// What of a name a form is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// The whole name.
    Whole,
    /// The name without a number at its end.
    Numberless,
    /// The name without the language's own word.
    Core,
}

/// One form of one name.
#[derive(Debug, Clone)]
struct Form {
    text: Box<str>,
    letters: u64,
    place: u32,
    part: Part,
}

/// The forms of names, by length and by text.
#[derive(Debug, Clone, Default)]
pub(super) struct Forms {
    by_length: Vec<Form>,
    /// Where the forms of each length begin.
    lengths: Vec<u32>,
    /// The forms in the order of their texts.
    by_text: Vec<u32>,
}

/// A form that is near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Near {
    /// The place of its name.
    pub(super) place: u32,
    /// What of the name is near.
    pub(super) part: Part,
    /// How it differs.
    pub(super) script: Script,
}

impl Forms {
    /// All forms of numbered spellings.
    pub(super) fn of<'a>(spellings: impl Iterator<Item = (u32, &'a Spelling)>) -> Self {
        let mut forms = Vec::new();
        for (place, spelling) in spellings {
            let form = |text: &str, part| Form {
                text: Box::from(text),
                letters: letters(text),
                place,
                part,
            };
            forms.push(form(&spelling.compact, Part::Whole));
            let core = core(spelling);
            if core.affix {
                forms.push(form(core.text, Part::Core));
            } else if core.number {
                forms.push(form(core.text, Part::Numberless));
            }
        }
        forms.sort_by_key(|form| (form.text.len(), form.place));
        let longest = forms.last().map_or(0, |form| form.text.len());
        let begin = |length| forms.partition_point(|form| form.text.len() < length);
        let lengths = (0..longest + 2).map(|length| u32::try_from(begin(length)).unwrap_or(u32::MAX));
        let lengths = lengths.collect();
        let mut by_text: Vec<u32> = (0..).zip(&forms).map(|(at, _)| at).collect();
        by_text.sort_by_key(|at| forms.get(*at as usize).map(|form| (&form.text, form.place)));
        Self {
            by_length: forms,
            lengths,
            by_text,
        }
    }

    /// The names of which a form is exactly this text, the most popular first.
    pub(super) fn exactly<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (u32, Part)> + 'a {
        let form = |at: &u32| self.by_length.get(*at as usize);
        let begin = self
            .by_text
            .partition_point(|at| form(at).is_some_and(|form| *form.text < *text));
        let forms = self
            .by_text
            .get(begin..)
            .unwrap_or_default()
            .iter()
            .filter_map(form);
        let same = forms.take_while(move |form| *form.text == *text);
        same.map(|form| (form.place, form.part))
    }

    /// Every form that differs from the text by one edit, or by two when the text is long enough for that.
    pub(super) fn near(&self, text: &str) -> Vec<Near> {
        let edits_max = edit::edits_max(text.len());
        let mine = letters(text);
        let mut near = Vec::new();
        let begin = |length: usize| {
            self.lengths
                .get(length)
                .or(self.lengths.last())
                .map_or(0, |at| *at as usize)
        };
        let range = begin(text.len().saturating_sub(edits_max))..begin(text.len() + edits_max + 1);
        for form in self.by_length.get(range).unwrap_or_default() {
            // Each edit changes at most two of the letters that occur.
            if (form.letters ^ mine).count_ones() as usize > 2 * edits_max {
                continue;
            }
            if let Some(script) = edit::between(text.as_bytes(), form.text.as_bytes(), edits_max) {
                near.push(Near {
                    place: form.place,
                    part: form.part,
                    script,
                });
            }
        }
        near
    }
}

/// Which letters and digits occur, and which occur twice.
fn letters(text: &str) -> u64 {
    text.bytes().fold(0, |seen, byte| {
        let bit = match byte {
            b'a'..=b'z' => byte - b'a',
            b'0'..=b'9' => 26 + byte - b'0',
            _ => 63,
        };
        seen | 1 << bit
    })
}
