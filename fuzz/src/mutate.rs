//! Random changes of byte strings.

/// How long an input may become.
const BYTES_MAX: usize = 256 * 1024;

/// Values at the edges of what fields hold.
const NUMBERS: [&[u8]; 16] = [
    b"0",
    b"1",
    b"-1",
    b"00",
    b"127",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"2147483647",
    b"4294967295",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551615",
    b"18446744073709551616",
    b"1e999",
];

/// Pieces that mean something to one of the parsers.
const WORDS: [&[u8]; 48] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\n\n",
    b"\t",
    b" ",
    b",",
    b";",
    b":",
    b"|",
    b"/",
    b"//",
    b"../",
    b"/../",
    b"./",
    b"~",
    b"@",
    b"=",
    b"==",
    b"===",
    b">=",
    b"!=",
    b"<<",
    b">>",
    b"[",
    b"]",
    b"(",
    b")",
    b"{",
    b"}",
    b"\"",
    b"'",
    b"\\",
    b"\\u0000",
    b"\xff\xfe",
    b"\xc3\x28",
    "\u{2028}".as_bytes(),
    "ä".as_bytes(),
    "\u{202e}".as_bytes(),
    b"null",
    b"true",
    b"-----BEGIN PGP",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"ustar\0",
    b"././@LongLink",
    b"!<arch>\n",
    b"%2e%2e%2f",
];

/// A source of random numbers (xorshift64*); the same seed gives the same inputs.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).expect("a 64-bit machine");
        usize::try_from(self.number() % end).expect("below a usize")
    }

    /// One of some things.
    pub fn one_of<'a, T: ?Sized>(&mut self, things: &[&'a T]) -> &'a T {
        things[self.below(things.len())]
    }

    /// A short length, now and then a long one.
    fn length(&mut self) -> usize {
        let scale = self.below(10);
        1 + self.below(1 << scale)
    }
}

/// `input` with one to a few changes; `other` lends parts.
pub fn mutated(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        change(&mut bytes, other, random);
    }
    bytes.truncate(BYTES_MAX);
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let end = (at + random.length()).min(bytes.len());
    match random.below(11) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = random.number().to_le_bytes()[0],
        2 => drop(bytes.drain(at..end)),
        3 => repeat(bytes, at..end, random),
        4 | 5 => insert(bytes, at, random.one_of(&WORDS)),
        6 => replace_number(bytes, at, random),
        7 => splice(bytes, at, other, random),
        8 if random.below(4) == 0 => bytes.truncate(at),
        9 => binary_number(bytes, at, random),
        _ => drop(bytes.splice(at..end, random.one_of(&WORDS).iter().copied())),
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

/// A part again, once or very often.
fn repeat(bytes: &mut Vec<u8>, range: std::ops::Range<usize>, random: &mut Random) {
    let part = bytes[range.clone()].to_vec();
    let times = if random.below(8) == 0 {
        1 << random.below(14)
    } else {
        1
    };
    let times = times.min(BYTES_MAX / part.len().max(1));
    insert(bytes, range.start, &part.repeat(times));
}

/// The next run of decimal digits becomes another number.
fn replace_number(bytes: &mut Vec<u8>, at: usize, random: &mut Random) {
    let Some(start) = bytes[at..]
        .iter()
        .position(u8::is_ascii_digit)
        .map(|offset| at + offset)
    else {
        return;
    };
    let end = bytes[start..]
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .map_or(bytes.len(), |offset| start + offset);
    bytes.splice(start..end, random.one_of(&NUMBERS).iter().copied());
}

/// A field of two, four or eight bytes becomes a number at an edge.
fn binary_number(bytes: &mut [u8], at: usize, random: &mut Random) {
    let value = match random.below(5) {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << random.below(64),
        3 => u64::MAX >> random.below(64),
        _ => u64::try_from(random.below(1024)).unwrap_or(0),
    };
    let width = 2 << random.below(3);
    for (place, byte) in bytes.iter_mut().skip(at).zip(value.to_le_bytes()).take(width) {
        *place = byte;
    }
}

/// A part of another input.
fn splice(bytes: &mut Vec<u8>, at: usize, other: &[u8], random: &mut Random) {
    let start = random.below(other.len() + 1);
    let end = (start + random.length() * 4).min(other.len());
    insert(bytes, at, &other[start..end]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_they_differ_from_their_origin() {
        let run = |seed| {
            let mut random = Random::new(seed);
            (0..200)
                .map(|_| mutated(b"Package: wget\nSize: 12\n", b"Version: 1\n", &mut random))
                .collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        let changed = run(3)
            .into_iter()
            .filter(|bytes| bytes != b"Package: wget\nSize: 12\n")
            .count();
        assert!(changed > 150, "{changed}");
        assert!(mutated(b"", b"", &mut Random::new(9)).len() <= BYTES_MAX);
    }
}
