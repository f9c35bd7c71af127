//! Which licences stand in a text: it is compared with the texts of the SPDX list.
//!
//! Both are cut into overlapping groups of three words. A licence is there when most of its groups stand within a stretch
//! of the text of about its length. The licence that explains most of the text, less what it lacks, is taken first and
//! its stretch set aside; so `BSD-2-Clause`, which is a part of `BSD-3-Clause`, is not found where that one stands, and a
//! file with several licences gives all of them in their order.

use std::sync::LazyLock;

use super::words::words;

/// Words in a group.
const GROUP: usize = 3;
/// The least share of a licence's groups that must be there.
const SHARE_MIN: f64 = 0.72;
/// The most words between two groups of a licence that are taken for a part of it.
const GAP_MAX: usize = 16;
/// Fewer groups are no text that could be recognised.
const GROUPS_MIN: usize = 12;
/// The most licences that are told of one text.
const FOUND_MAX: usize = 24;

/// A licence that stands in a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    /// The identifier; of the GNU licences the one with `-only`.
    pub(crate) id: &'static str,
    /// Whether it is an exception to a licence.
    pub(crate) is_exception: bool,
    /// The share of the licence's groups of words that are there, at most 1.
    pub(crate) share: f64,
    /// The place of the word in its middle: beginnings are often shared with what stands before.
    pub(crate) at: usize,
    /// The place of its first word.
    pub(crate) from: usize,
}

/// The licences in a text, and what they explain of it.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    /// In the order of the text.
    pub(crate) found: Vec<Found>,
    /// Of each word, whether it belongs to one of them, or stands between words that do.
    pub(crate) explained: Vec<bool>,
    /// Of each word, whether it is one of theirs.
    pub(crate) own: Vec<bool>,
}

/// Identifiers whose text is another's: what they say more is beside the text.
const SAME_TEXT: [&str; 7] = [
    "CAL-1.0-Combined-Work-Exception",
    "MPL-2.0-no-copyleft-exception",
    "OFL-1.0-RFN",
    "OFL-1.0-no-RFN",
    "OFL-1.1-RFN",
    "OFL-1.1-no-RFN",
    // The same paragraphs as X11 in another order, which groups of words do not tell.
    "X11-swapped",
];

/// Licences that are another one with a few words more, and those words.
const NEEDED_WORDS: [(&str, &str); 6] = [
    ("BSD-2-Clause-pos-unchanged", "unchanged"),
    ("BSD-3-Clause-No-Nuclear-License", "nuclear"),
    ("BSD-3-Clause-No-Nuclear-License-2014", "nuclear"),
    ("BSD-3-Clause-No-Nuclear-Warranty", "nuclear"),
    ("Pixar", "modified"),
    ("X11-distribute-modifications-variant", "modifications"),
];

struct Reference {
    id: &'static str,
    /// Different groups.
    groups: usize,
    /// Words.
    length: usize,
    /// A word without which it is not this licence but the one that it was made from.
    needed: Option<&'static str>,
    /// Whether it is an exception to a licence.
    is_exception: bool,
}

struct Index {
    references: Vec<Reference>,
    /// Hashes of groups, ascending, each with the number of its reference.
    postings: Vec<(u32, u16)>,
    /// Where the hashes with these upper 16 bits begin; one more than there are.
    buckets: Vec<u32>,
}

static INDEX: LazyLock<Index> = LazyLock::new(Index::build);

/// Make the index of all licences' texts, which the first text would wait for.
pub fn prepare() {
    LazyLock::force(&INDEX);
}

impl Index {
    fn build() -> Self {
        let mut references = Vec::new();
        let mut postings = Vec::new();
        for (id, text, is_exception) in reference_texts() {
            let words = words(text);
            let Ok(number) = u16::try_from(references.len()) else {
                break;
            };
            postings.extend(hashes(&words).into_iter().map(|group| (group, number)));
            references.push(Reference {
                id,
                groups: 0,
                length: words.len(),
                needed: NEEDED_WORDS
                    .iter()
                    .find(|(with, _)| *with == id)
                    .map(|(_, word)| *word),
                is_exception,
            });
        }
        let postings = sorted(&postings);
        for (_, number) in &postings {
            references[usize::from(*number)].groups += 1;
        }
        Self {
            references,
            buckets: buckets(&postings),
            postings,
        }
    }

    /// The references that have a group.
    fn with_group(&self, group: u32) -> &[(u32, u16)] {
        let bucket = (group >> 16) as usize;
        let range = self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize;
        let postings = &self.postings[range];
        let from = postings.partition_point(|(hash, _)| *hash < group);
        let count = postings[from..]
            .iter()
            .take_while(|(hash, _)| *hash == group)
            .count();
        &postings[from..from + count]
    }
}

/// Ascending, each once: dealt out by the upper half of the hash first.
fn sorted(postings: &[(u32, u16)]) -> Vec<(u32, u16)> {
    let mut next = buckets(postings);
    let ends = next.clone();
    let mut dealt = vec![(0, 0); postings.len()];
    for posting in postings {
        let place = &mut next[(posting.0 >> 16) as usize];
        dealt[*place as usize] = *posting;
        *place += 1;
    }
    for bounds in ends.windows(2) {
        dealt[bounds[0] as usize..bounds[1] as usize].sort_unstable();
    }
    dealt.dedup();
    dealt
}

/// Where the hashes with each upper half begin, and where the last end.
fn buckets(postings: &[(u32, u16)]) -> Vec<u32> {
    let mut buckets = vec![0_u32; (1 << 16) + 1];
    for (hash, _) in postings {
        buckets[(hash >> 16) as usize + 1] += 1;
    }
    for bucket in 1..buckets.len() {
        buckets[bucket] += buckets[bucket - 1];
    }
    buckets
}

/// The texts to compare with: each once, under the identifier that is not deprecated; then those of exceptions.
fn reference_texts() -> impl Iterator<Item = (&'static str, &'static str, bool)> {
    let licences = spdx::text::LICENSE_TEXTS.iter().filter(|(id, _)| {
        let deprecated = spdx::license_id(id).is_none_or(|known| known.is_deprecated() || known.name != *id);
        let repeated = id.ends_with("-or-later") || id.contains("-invariants-") || SAME_TEXT.contains(id);
        !deprecated && !repeated
    });
    // Those for OpenSSL are many and say the same; which one it is, nobody could tell.
    let is_told = |id: &str| !id.to_ascii_lowercase().contains("openssl");
    let exceptions = spdx::text::EXCEPTION_TEXTS
        .iter()
        .filter(move |(id, _)| is_told(id));
    licences
        .map(|(id, text)| (*id, own_part(id, text), false))
        .chain(apache_notice().map(|text| ("Apache-2.0", text, false)))
        .chain(exceptions.map(|(id, text)| (*id, *text, true)))
}

/// The notice that the licence's appendix asks for. It stands alone more often than the licence itself.
fn apache_notice() -> Option<&'static str> {
    let text = spdx::license_id("Apache-2.0")?.text();
    text.find("Licensed under the Apache License, Version 2.0")
        .map(|at| &text[at..])
}

/// The list's text of LGPL-3.0 has that of GPL-3.0 behind it.
fn own_part(id: &str, text: &'static str) -> &'static str {
    if id != "LGPL-3.0-only" {
        return text;
    }
    let end = text
        .match_indices("GNU GENERAL PUBLIC LICENSE")
        .map(|(at, _)| at)
        .find(|at| *at > 1000);
    end.map_or(text, |end| &text[..end])
}

/// The hash of each group of words: of those of the words.
fn hashes(words: &[String]) -> Vec<u32> {
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let words: Vec<u64> = words.iter().map(|word| word_hash(word)).collect();
    let of_group = |group: &[u64]| {
        let hash = group.iter().fold(0_u64, |hash, word| {
            (hash ^ word).wrapping_mul(MULTIPLIER).rotate_left(29)
        });
        #[expect(
            clippy::cast_possible_truncation,
            reason = "half of the hash is folded onto the other"
        )]
        let folded = (hash ^ (hash >> 32)) as u32;
        folded
    };
    words.windows(GROUP).map(of_group).collect()
}

/// FNV-1a.
fn word_hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A reference that may stand in a text.
struct Candidate {
    number: usize,
    /// The places of its groups, ascending, with the number of the group in the text.
    places: Vec<(usize, u32)>,
    /// Where it stands best; none until that is looked for, or when what is there was set aside since.
    best: Option<Stretch>,
}

/// The licences whose texts stand among these words.
pub(crate) fn find(words: &[String]) -> Matches {
    let index = &*INDEX;
    let groups = hashes(words);
    let mut candidates = candidates(index, &groups, words);
    let mut taken = vec![false; groups.len()];
    let mut own = vec![false; groups.len()];
    let mut found: Vec<Found> = Vec::new();
    while found.len() < FOUND_MAX {
        candidates.retain_mut(|candidate| {
            if candidate.best.is_none() {
                candidate.best = best_stretch(&index.references[candidate.number], &candidate.places, &taken);
            }
            candidate.best.is_some()
        });
        let score = |candidate: &Candidate| {
            let reference = &index.references[candidate.number];
            candidate
                .best
                .map_or(f64::MIN, |stretch| stretch.score(reference))
        };
        let highest = candidates.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
        let Some((reference, stretch, candidate)) =
            highest.and_then(|found| Some((&index.references[found.number], found.best?, found)))
        else {
            break;
        };
        let places = set_aside(&mut taken, &candidate.places, stretch);
        let at = places.get(places.len() / 2).copied().unwrap_or(stretch.from);
        for place in places {
            own[place] = true;
        }
        found.push(Found {
            id: reference.id,
            is_exception: reference.is_exception,
            share: stretch.share(reference),
            at,
            from: stretch.from,
        });
        for candidate in &mut candidates {
            candidate.best = candidate
                .best
                .filter(|best| best.to <= stretch.from || stretch.to <= best.from);
        }
    }
    found.sort_by_key(|found| found.at);
    Matches {
        found,
        explained: explained_words(&taken, words.len()),
        own: explained_words(&own, words.len()),
    }
}

/// A word is explained when any group with it is.
fn explained_words(taken: &[bool], words: usize) -> Vec<bool> {
    let mut explained = vec![false; words];
    for at in (0..taken.len()).filter(|at| taken[*at]) {
        explained[at..at + GROUP].fill(true);
    }
    explained
}

/// The references of which enough groups are anywhere in the text.
fn candidates(index: &Index, groups: &[u32], words: &[String]) -> Vec<Candidate> {
    let mut counts = vec![0_usize; index.references.len()];
    for (_, number) in groups.iter().flat_map(|group| index.with_group(*group)) {
        counts[usize::from(*number)] += 1;
    }
    let may_stand = |number: usize| {
        let reference = &index.references[number];
        let has = |needed: &str| words.iter().any(|word| word == needed);
        reference.groups >= GROUPS_MIN
            && share(counts[number], reference.groups) >= SHARE_MIN
            && reference.needed.is_none_or(has)
    };
    let mut candidates: Vec<Candidate> = Vec::new();
    let mut place_of: Vec<Option<usize>> = vec![None; index.references.len()];
    for number in (0..counts.len()).filter(|number| may_stand(*number)) {
        place_of[number] = Some(candidates.len());
        candidates.push(Candidate {
            number,
            places: Vec::with_capacity(counts[number]),
            best: None,
        });
    }
    if candidates.is_empty() {
        return candidates;
    }
    for ((place, group), name) in groups.iter().enumerate().zip(numbered(groups)) {
        for (_, number) in index.with_group(*group) {
            if let Some(at) = place_of[usize::from(*number)] {
                candidates[at].places.push((place, name));
            }
        }
    }
    candidates
}

/// Each group's number: equal groups have the same one, none is above the number of groups.
fn numbered(groups: &[u32]) -> Vec<u32> {
    let mut sorted: Vec<(u32, usize)> = groups.iter().copied().zip(0..).collect();
    sorted.sort_unstable();
    let mut numbers = vec![0; groups.len()];
    let mut number = 0;
    for (at, (group, place)) in sorted.iter().enumerate() {
        if at > 0 && sorted[at - 1].0 != *group {
            number += 1;
        }
        numbers[*place] = number;
    }
    numbers
}

/// Mark what a licence explains: its groups within the stretch, and the few words between them that names and changes
/// take. The places of its groups.
fn set_aside(taken: &mut [bool], places: &[(usize, u32)], stretch: Stretch) -> Vec<usize> {
    let within = |place: &usize| (stretch.from..stretch.to).contains(place) && !taken[*place];
    let own: Vec<usize> = places.iter().map(|(place, _)| *place).filter(within).collect();
    for pair in own.windows(2) {
        if pair[1] - pair[0] <= GAP_MAX {
            taken[pair[0]..pair[1]].fill(true);
        }
    }
    for place in &own {
        taken[*place] = true;
    }
    own
}

/// A part of a text in which a reference stands, in places of groups.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    from: usize,
    to: usize,
    /// Different groups of the reference in it.
    groups: usize,
}

impl Stretch {
    fn share(self, reference: &Reference) -> f64 {
        share(self.groups, reference.groups)
    }

    /// How much of it is the reference's, less what is not: a window over the end of one copy of a licence and the beginning
    /// of the next has as many groups, and more between them.
    fn closeness(self) -> i64 {
        let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        5 * signed(self.groups) - signed(self.to - self.from)
    }

    /// What it explains, less what it lacks.
    fn score(self, reference: &Reference) -> f64 {
        let lacking = reference.groups.saturating_sub(self.groups);
        #[expect(clippy::cast_precision_loss, reason = "a number of words")]
        let score = self.groups as f64 - lacking as f64;
        score
    }
}

#[expect(clippy::cast_precision_loss, reason = "a number of words")]
fn share(part: usize, whole: usize) -> f64 {
    (part as f64 / whole as f64).min(1.0)
}

/// The stretch in which the reference stands most closely; none where too little of it is there.
fn best_stretch(reference: &Reference, places: &[(usize, u32)], taken: &[bool]) -> Option<Stretch> {
    let free: Vec<(usize, u32)> = places
        .iter()
        .copied()
        .filter(|(place, _)| !taken[*place])
        .collect();
    if share(free.len(), reference.groups) < SHARE_MIN {
        return None;
    }
    let longest = reference.length + reference.length / 4 + 40;
    // How often each group is between the two ends.
    let mut counts = vec![0_u32; taken.len()];
    let number = |group: u32| group as usize;
    let (mut first, mut different) = (0, 0);
    let mut best: Option<Stretch> = None;
    for (last, (place, group)) in free.iter().enumerate() {
        let count = &mut counts[number(*group)];
        different += usize::from(*count == 0);
        *count += 1;
        // Drop what is too far away, and what stands in the window again.
        while place - free[first].0 > longest || first < last && counts[number(free[first].1)] > 1 {
            let count = &mut counts[number(free[first].1)];
            *count -= 1;
            different -= usize::from(*count == 0);
            first += 1;
        }
        let stretch = Stretch {
            from: free[first].0,
            to: free[last].0 + 1,
            groups: different,
        };
        if best.is_none_or(|best| stretch.closeness() > best.closeness()) {
            best = Some(stretch);
        }
    }
    best.map(|best| trimmed(best, &free, reference.length))
        .filter(|best| best.share(reference) >= SHARE_MIN)
}

/// Without what is scattered before the text begins and after it ends: there, groups of this licence stand far apart.
fn trimmed(stretch: Stretch, places: &[(usize, u32)], length: usize) -> Stretch {
    let dense = (length / 12).clamp(10, 60);
    let within = |place: &usize| (stretch.from..stretch.to).contains(place);
    let places: Vec<usize> = places.iter().map(|(place, _)| *place).filter(within).collect();
    let is_dense = |pair: &[usize]| pair[dense - 1] - pair[0] <= 2 * dense;
    let first = places.windows(dense).find(|pair| is_dense(pair));
    let last = places.windows(dense).rfind(|pair| is_dense(pair));
    match (first, last) {
        (Some(first), Some(last)) => Stretch {
            from: first[0],
            to: last[dense - 1] + 1,
            ..stretch
        },
        _ => stretch,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> Vec<&'static str> {
        find(&words(text)).found.iter().map(|found| found.id).collect()
    }

    #[test]
    fn every_text_of_the_list_is_found_as_itself_or_its_equal() {
        let mut wrong = Vec::new();
        for (id, text, _) in reference_texts() {
            let words = words(text);
            let found = find(&words).found;
            if words.len() > 60 && !found.iter().any(|found| found.id == id && found.share > 0.9) {
                wrong.push((
                    id,
                    found
                        .iter()
                        .map(|found| (found.id, found.share))
                        .collect::<Vec<_>>(),
                ));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn licences_in_one_file_are_told_in_their_order() {
        let text = |id: &str| spdx::license_id(id).unwrap().text();
        let both = format!(
            "{}\n\nThis bundles zlib:\n\n{}\n{}",
            text("BSD-3-Clause"),
            text("Zlib"),
            text("BSD-2-Clause")
        );
        assert_eq!(ids(&both), ["BSD-3-Clause", "Zlib", "BSD-2-Clause"]);
    }

    #[test]
    fn words_inside_of_words_are_no_licence() {
        assert_eq!(ids("LIMITED WARRANTY. DISCLAIMER: as is."), Vec::<&str>::new());
        assert_eq!(ids(""), Vec::<&str>::new());
        assert_eq!(
            ids(&"permission is hereby granted free of charge ".repeat(500)),
            Vec::<&str>::new()
        );
    }
}
