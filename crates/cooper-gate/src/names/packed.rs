//! Texts and numbers in few pieces of memory, and the form in which a list of popular names is kept beside its source.
//!
//! Whoever judges one plan would otherwise spend more time on reading the list than on all the rest. The kept form is a
//! function of the list alone; it ends with a digest of what is before, and everything in it is checked when it is read,
//! so that a damaged one is as good as none.

use cooper_core::Digest;

use crate::advisories::Reader;

/// The first bytes. Another number for every change of the form, or of what the names gate makes of a list.
pub(super) const FORM: &[u8] = b"cooper-popular-names-2\n";
/// How many of anything there may be.
const COUNT_MAX: usize = 1 << 22;

/// Texts one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Texts {
    all: String,
    ends: Vec<u32>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &str) {
        self.all.push_str(text);
        self.ends.push(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let begin = match at {
            0 => 0,
            at => *self.ends.get(at - 1)? as usize,
        };
        self.all.get(begin..end)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_numbers(&self.ends, out);
        out.extend_from_slice(self.all.as_bytes());
    }

    /// Only ASCII: names are.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let ends = read_numbers(reader)?;
        let is_ordered = ends.is_sorted();
        let length = ends.last().copied().unwrap_or(0) as usize;
        let all = std::str::from_utf8(reader.take(length)?).ok()?;
        (is_ordered && all.is_ascii()).then(|| Self {
            all: all.to_owned(),
            ends,
        })
    }
}

impl<'a> FromIterator<&'a str> for Texts {
    fn from_iter<I: IntoIterator<Item = &'a str>>(texts: I) -> Self {
        let mut all = Self::default();
        texts.into_iter().for_each(|text| all.push(text));
        all
    }
}

/// A number for each text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    texts: Texts,
    numbers: Vec<u32>,
}

impl Table {
    /// Of pairs, in any order; of several with one text the first in that order counts.
    pub(super) fn of(mut pairs: Vec<(String, u32)>) -> Self {
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.dedup_by(|(a, _), (b, _)| a == b);
        Self {
            texts: pairs.iter().map(|(text, _)| text.as_str()).collect(),
            numbers: pairs.iter().map(|(_, number)| *number).collect(),
        }
    }

    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let (mut begin, mut end) = (0, self.texts.len());
        while begin < end {
            let middle = begin.midpoint(end);
            match self.texts.get(middle)?.cmp(text) {
                std::cmp::Ordering::Less => begin = middle + 1,
                std::cmp::Ordering::Greater => end = middle,
                std::cmp::Ordering::Equal => return self.numbers.get(middle).copied(),
            }
        }
        None
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.texts.write(out);
        write_numbers(&self.numbers, out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let table = Self {
            texts: Texts::read(reader)?,
            numbers: read_numbers(reader)?,
        };
        (table.texts.len() == table.numbers.len()).then_some(table)
    }
}

pub(super) fn write_numbers(numbers: &[u32], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

pub(super) fn read_numbers(reader: &mut Reader<'_>) -> Option<Vec<u32>> {
    let count = reader.u32()? as usize;
    if count > COUNT_MAX {
        return None;
    }
    let (numbers, _) = reader.take(count * 4)?.as_chunks::<4>();
    Some(numbers.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}

pub(super) fn write_long_numbers(numbers: &[u64], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(numbers.len()).unwrap_or(u32::MAX).to_le_bytes());
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

pub(super) fn read_long_numbers(reader: &mut Reader<'_>) -> Option<Vec<u64>> {
    let count = reader.u32()? as usize;
    if count > COUNT_MAX {
        return None;
    }
    let (numbers, _) = reader.take(count * 8)?.as_chunks::<8>();
    Some(numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
}

/// Put the form in front and the digest at the end.
pub(super) fn sealed(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = FORM.to_vec();
    write(&mut out);
    let digest = Digest::of(&out);
    out.extend_from_slice(digest.as_bytes());
    out
}

/// What is between them; nothing where either is not right.
pub(super) fn opened(bytes: &[u8]) -> Option<&[u8]> {
    let (content, digest) = bytes.split_last_chunk::<32>()?;
    let is_whole = Digest::of(content).as_bytes() == digest;
    content.strip_prefix(FORM).filter(|_| is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_find_what_they_have() {
        let pairs = [("b", 2), ("a", 1), ("c", 3), ("b", 9), ("", 7)];
        let table = Table::of(pairs.map(|(text, number)| (text.to_owned(), number)).to_vec());
        for (text, number) in [
            ("a", Some(1)),
            ("b", Some(2)),
            ("", Some(7)),
            ("bb", None),
            ("d", None),
        ] {
            assert_eq!(table.find(text), number, "{text}");
        }
        let mut out = Vec::new();
        table.write(&mut out);
        assert_eq!(Table::read(&mut Reader(&out)), Some(table));
        for length in 0..out.len() {
            assert_eq!(Table::read(&mut Reader(&out[..length])), None, "{length}");
        }
    }
}
