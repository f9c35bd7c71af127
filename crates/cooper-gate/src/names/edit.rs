//! How one spelling becomes another: at most two edits, and how much like a slip or a disguise each is.

/// From this length on two edits are looked for.
const TWO_EDITS_LEN_MIN: usize = 8;
/// From this length on the same letters in another order are looked for, though that takes two edits.
const MOVE_LEN_MIN: usize = 6;

/// What was done at one place to what is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Two neighbours stand the other way round.
    Swapped,
    /// Another character stands there.
    Replaced,
    /// A character was put in.
    Extra,
    /// A character is left out.
    Missing,
}

/// One edit that makes what was written out of what is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) change: Change,
    /// Where, in what was written.
    pub(super) at: usize,
    /// Where, in what is meant.
    pub(super) from: usize,
}

impl Edit {
    /// Whether both texts have what it is about.
    pub(super) fn is_within(self, written: &str, meant: &str) -> bool {
        let (mine, theirs) = match self.change {
            Change::Swapped => (2, 2),
            Change::Replaced => (1, 1),
            Change::Extra => (1, 0),
            Change::Missing => (0, 1),
        };
        self.at + mine <= written.len() && self.from + theirs <= meant.len()
    }
}

/// All edits: one or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Script {
    pub(super) first: Edit,
    pub(super) second: Option<Edit>,
}

impl Script {
    /// The edits in their order.
    pub(super) fn edits(self) -> impl Iterator<Item = Edit> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// Whether two letters are left out.
    pub(super) fn leaves_out_two(self) -> bool {
        self.second.is_some() && self.edits().all(|edit| edit.change == Change::Missing)
    }
}

/// How many edits are looked for in a text of this length.
pub(super) const fn edits_max(length: usize) -> usize {
    if length < TWO_EDITS_LEN_MIN { 1 } else { 2 }
}

/// The same where both texts have the same letters.
pub(super) const fn edits_max_of_same_letters(length: usize) -> usize {
    if length < MOVE_LEN_MIN { 1 } else { 2 }
}

/// The shortest script from what is meant to what was written; none where the two are equal or farther apart.
pub(super) fn between(written: &[u8], meant: &[u8], edits_max: usize) -> Option<Script> {
    if written == meant || written.len().abs_diff(meant.len()) > edits_max {
        return None;
    }
    let one = one_edit(written, meant, 0, 0).map(|(first, ..)| Script { first, second: None });
    if one.is_some() || edits_max < 2 {
        return one;
    }
    let start = common(written, meant);
    attempts(written, meant, start, start).find_map(|(first, at, from)| {
        let (second, ..) = one_edit(written, meant, at, from)?;
        Some(Script {
            first,
            second: Some(second),
        })
    })
}

/// The length of the common beginning.
fn common(written: &[u8], meant: &[u8]) -> usize {
    written.iter().zip(meant).take_while(|(a, b)| a == b).count()
}

/// The one edit that makes the rests, from two places on, equal.
fn one_edit(written: &[u8], meant: &[u8], at: usize, from: usize) -> Option<(Edit, usize, usize)> {
    let same = common(&written[at..], &meant[from..]);
    attempts(written, meant, at + same, from + same).find(|(_, at, from)| written[*at..] == meant[*from..])
}

/// Every edit at two places, with the places after it.
fn attempts(
    written: &[u8],
    meant: &[u8],
    at: usize,
    from: usize,
) -> impl Iterator<Item = (Edit, usize, usize)> {
    let (mine, theirs) = (&written[at..], &meant[from..]);
    let swapped = matches!((mine, theirs), ([a, b, ..], [c, d, ..]) if a == d && b == c);
    let possible = [
        (Change::Swapped, swapped, 2, 2),
        (Change::Replaced, !mine.is_empty() && !theirs.is_empty(), 1, 1),
        (Change::Extra, !mine.is_empty(), 1, 0),
        (Change::Missing, !theirs.is_empty(), 0, 1),
    ];
    let possible = possible.into_iter().filter(|(_, applies, ..)| *applies);
    possible.map(move |(change, _, mine, theirs)| (Edit { change, at, from }, at + mine, from + theirs))
}

/// How much an edit is like a slip of the fingers or a disguise, and how little like another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Likeness {
    /// A slip that makes no word: swapped, doubled or undoubled letters, a digit for the letter that it looks like.
    Strong,
    /// A slip that may make one: a letter left out or put at the end, a neighbouring key, another vowel.
    Medium,
    /// Any other letter.
    Weak,
    /// What tells apart names that belong together: a number at the end, another first letter.
    Faint,
}

impl Likeness {
    /// One step less, if there is one.
    pub(super) const fn less(self) -> Option<Self> {
        match self {
            Self::Strong => Some(Self::Medium),
            Self::Medium => Some(Self::Weak),
            Self::Weak => Some(Self::Faint),
            Self::Faint => None,
        }
    }
}

/// The two spellings of a word, and where the word is in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair<'a> {
    pub(super) written: &'a [u8],
    pub(super) meant: &'a [u8],
    /// Where the edited word of what is meant begins and ends.
    pub(super) word: (usize, usize),
}

impl Pair<'_> {
    /// How the edit is like a slip, and what it is in words.
    pub(super) fn likeness(&self, edit: Edit) -> (Likeness, String) {
        match edit.change {
            Change::Swapped => self.swapped(edit),
            Change::Replaced => self.replaced(edit),
            Change::Extra => self.extra(edit),
            Change::Missing => self.missing(edit),
        }
    }

    fn is_first(&self, edit: Edit) -> bool {
        edit.from == self.word.0
    }

    fn is_last(&self, edit: Edit) -> bool {
        edit.from + 1 == self.word.1
    }

    fn swapped(&self, edit: Edit) -> (Likeness, String) {
        let [a, b] = [self.meant[edit.from], self.meant[edit.from + 1]];
        let text = format!("`{}{}` swapped", char::from(a), char::from(b));
        let digits = a.is_ascii_digit() || b.is_ascii_digit();
        let likeness = match (digits, self.is_first(edit)) {
            (true, _) => Likeness::Faint,
            (_, true) => Likeness::Medium,
            _ => Likeness::Strong,
        };
        (likeness, text)
    }

    fn replaced(&self, edit: Edit) -> (Likeness, String) {
        let (written, meant) = (self.written[edit.at], self.meant[edit.from]);
        let text = format!(
            "`{}` in the place of `{}`",
            char::from(written),
            char::from(meant)
        );
        let digits = (written.is_ascii_digit(), meant.is_ascii_digit());
        let (first, last) = (self.is_first(edit), self.is_last(edit));
        let likeness = match digits {
            (_, false) if looks_like(written, meant) => Likeness::Strong,
            (true, false) if !first && !last => Likeness::Medium,
            (true, _) | (_, true) => Likeness::Faint,
            (false, false) => match (first, slips_to(written, meant)) {
                (false, true) => Likeness::Medium,
                (true, false) => Likeness::Faint,
                _ => Likeness::Weak,
            },
        };
        (likeness, text)
    }

    fn extra(&self, edit: Edit) -> (Likeness, String) {
        let byte = self.written[edit.at];
        let letter = char::from(byte);
        let before = edit
            .at
            .checked_sub(1)
            .and_then(|at| self.written.get(at))
            .copied();
        let after = self.written.get(edit.at + 1).copied();
        let (at_start, at_end) = (edit.from == self.word.0, edit.from >= self.word.1);
        let second = edit.from == self.word.0 + 1;
        if byte.is_ascii_digit() {
            let doubled = before == Some(byte);
            let likeness = if (at_end && !doubled) || at_start {
                Likeness::Faint
            } else {
                Likeness::Medium
            };
            return (likeness, format!("the digit `{letter}` put in"));
        }
        if before == Some(byte) && !at_start {
            let likeness = if second { Likeness::Weak } else { Likeness::Strong };
            return (likeness, format!("`{letter}` doubled"));
        }
        if at_start {
            return (Likeness::Faint, format!("`{letter}` put in front"));
        }
        if at_end {
            return (Likeness::Medium, format!("`{letter}` put at the end"));
        }
        let by_a_key = [before, after]
            .into_iter()
            .flatten()
            .any(|other| are_keys_near(byte, other));
        let by_a_vowel = is_vowel(byte) && [before, after].into_iter().flatten().any(is_vowel);
        let likeness = if by_a_key || by_a_vowel {
            Likeness::Medium
        } else {
            Likeness::Weak
        };
        (likeness, format!("`{letter}` put in"))
    }

    fn missing(&self, edit: Edit) -> (Likeness, String) {
        let byte = self.meant[edit.from];
        let text = format!("`{}` left out", char::from(byte));
        let before = edit
            .from
            .checked_sub(1)
            .and_then(|at| self.meant.get(at))
            .copied();
        let likeness = match byte {
            b'0'..=b'9' => Likeness::Faint,
            _ if self.is_first(edit) => Likeness::Weak,
            _ if before == Some(byte) => Likeness::Strong,
            // The singular is a word too.
            b's' if self.is_last(edit) => Likeness::Weak,
            _ => Likeness::Medium,
        };
        (likeness, text)
    }

    /// A letter that was moved by a few places: two edits that are one slip.
    pub(super) fn is_move(&self, script: Script) -> bool {
        let Some(second) = script.second else { return false };
        let moved = match (script.first.change, second.change) {
            (Change::Extra, Change::Missing) => (self.written[script.first.at], self.meant[second.from]),
            (Change::Missing, Change::Extra) => (self.meant[script.first.from], self.written[second.at]),
            _ => return false,
        };
        moved.0 == moved.1 && second.at.abs_diff(script.first.at) <= 3
    }
}

const fn is_vowel(byte: u8) -> bool {
    matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y')
}

/// Digits for letters, and letters that small type does not tell apart.
fn looks_like(written: u8, meant: u8) -> bool {
    const ALIKE: [(u8, u8); 9] = [
        (b'0', b'o'),
        (b'1', b'l'),
        (b'1', b'i'),
        (b'3', b'e'),
        (b'4', b'a'),
        (b'5', b's'),
        (b'7', b't'),
        (b'8', b'b'),
        (b'i', b'l'),
    ];
    ALIKE.contains(&(written, meant)) || (written.is_ascii_alphabetic() && ALIKE.contains(&(meant, written)))
}

/// Neighbouring keys, other vowels, and letters that sound alike.
fn slips_to(written: u8, meant: u8) -> bool {
    const SOUND: [(u8, u8); 6] = [
        (b'c', b'k'),
        (b's', b'z'),
        (b'm', b'n'),
        (b'u', b'v'),
        (b'f', b'v'),
        (b'g', b'j'),
    ];
    let sounds = SOUND.contains(&(written, meant)) || SOUND.contains(&(meant, written));
    sounds || (is_vowel(written) && is_vowel(meant)) || are_keys_near(written, meant)
}

/// Whether two keys touch on a QWERTY keyboard.
fn are_keys_near(a: u8, b: u8) -> bool {
    const ROWS: [(&[u8], usize); 4] = [
        (b"1234567890", 0),
        (b"qwertyuiop", 2),
        (b"asdfghjkl", 3),
        (b"zxcvbnm", 5),
    ];
    // Columns in quarters of a key.
    let place = |key: u8| {
        let rows = ROWS.iter().enumerate();
        let mut found = rows.filter_map(|(row, (keys, shift))| {
            let column = keys.iter().position(|other| *other == key)?;
            Some((row, column * 4 + shift))
        });
        found.next()
    };
    let (Some(a), Some(b)) = (place(a), place(b)) else {
        return false;
    };
    a != b && a.0.abs_diff(b.0) <= 1 && a.1.abs_diff(b.1) <= 5
}
