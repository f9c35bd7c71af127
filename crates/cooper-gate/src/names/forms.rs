//! Finds the spellings that are near to a given one, without looking at most of them.

use super::edit::{self, Script};
use super::packed::{Texts, read_long_numbers, read_numbers, write_long_numbers, write_numbers};
use super::text::{Spelling, core};
use crate::advisories::Reader;

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

impl Part {
    const ALL: [Self; 3] = [Self::Whole, Self::Numberless, Self::Core];
}

/// One form of one name.
#[derive(Debug, Clone, Copy)]
struct Form {
    letters: u64,
    place: u32,
    part: Part,
}

/// The forms of names, by length and by text.
#[derive(Debug, Clone, Default)]
pub(super) struct Forms {
    by_length: Vec<Form>,
    /// Their texts, in the same order.
    texts: Texts,
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
        let mut forms: Vec<(String, Form)> = Vec::new();
        for (place, spelling) in spellings {
            let form = |text: &str, part| {
                let letters = letters(text);
                (text.to_owned(), Form { letters, place, part })
            };
            forms.push(form(&spelling.compact, Part::Whole));
            let core = core(spelling);
            if core.affix {
                forms.push(form(core.text, Part::Core));
            } else if core.number {
                forms.push(form(core.text, Part::Numberless));
            }
        }
        forms.sort_by_key(|(text, form)| (text.len(), form.place));
        let longest = forms.last().map_or(0, |(text, _)| text.len());
        let begin = |length| forms.partition_point(|(text, _)| text.len() < length);
        let lengths = (0..longest + 2).map(|length| u32::try_from(begin(length)).unwrap_or(u32::MAX));
        let lengths = lengths.collect();
        let mut by_text: Vec<u32> = (0..).zip(&forms).map(|(at, _)| at).collect();
        by_text.sort_by_key(|at| forms.get(*at as usize).map(|(text, form)| (text, form.place)));
        Self {
            texts: forms.iter().map(|(text, _)| text.as_str()).collect(),
            by_length: forms.into_iter().map(|(_, form)| form).collect(),
            lengths,
            by_text,
        }
    }

    /// Write them, to be read again by [`Forms::read`].
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let forms = || self.by_length.iter();
        self.texts.write(out);
        write_long_numbers(&forms().map(|form| form.letters).collect::<Vec<_>>(), out);
        write_numbers(&forms().map(|form| form.place).collect::<Vec<_>>(), out);
        write_numbers(&forms().map(|form| form.part as u32).collect::<Vec<_>>(), out);
        write_numbers(&self.lengths, out);
        write_numbers(&self.by_text, out);
    }

    /// Read what was written.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let texts = Texts::read(reader)?;
        let (letters, places) = (read_long_numbers(reader)?, read_numbers(reader)?);
        let parts = read_numbers(reader)?;
        let counts = [letters.len(), places.len(), parts.len()];
        let forms = letters.into_iter().zip(places).zip(parts);
        let forms = forms.map(|((letters, place), part)| {
            let part = *Part::ALL.get(part as usize)?;
            Some(Form { letters, place, part })
        });
        let forms = Self {
            by_length: forms.collect::<Option<_>>()?,
            lengths: read_numbers(reader)?,
            by_text: read_numbers(reader)?,
            texts,
        };
        (counts == [forms.texts.len(); 3]).then_some(forms)
    }

    /// The names of which a form is exactly this text, the most popular first.
    pub(super) fn exactly<'a>(&'a self, text: &'a str) -> impl Iterator<Item = (u32, Part)> + 'a {
        let of = |at: &u32| self.texts.get(*at as usize);
        let begin = self.by_text.partition_point(|at| of(at) < Some(text));
        let places = self.by_text.get(begin..).unwrap_or_default().iter();
        let same = places.take_while(move |at| of(at) == Some(text));
        let forms = same.filter_map(|at| self.by_length.get(*at as usize));
        forms.map(|form| (form.place, form.part))
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
        for (at, form) in range.clone().zip(self.by_length.get(range).unwrap_or_default()) {
            // Each edit changes at most two of the letters that occur.
            if (form.letters ^ mine).count_ones() as usize > 2 * edits_max {
                continue;
            }
            let theirs = self.texts.get(at).unwrap_or_default();
            let edits_max = if form.letters == mine && theirs.len() == text.len() {
                edit::edits_max_of_same_letters(text.len())
            } else {
                edits_max
            };
            if let Some(script) = edit::between(text.as_bytes(), theirs.as_bytes(), edits_max) {
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
