//! Bytes to text, whatever the encoding, and text to the words that licence texts are compared by.

/// The most bytes of one file that are read.
pub const TEXT_BYTES_MAX: usize = 1 << 20;
/// Nearly every word is shorter.
const WORD_BYTES: usize = 16;
/// The most words of one text that are compared.
pub(super) const WORDS_MAX: usize = 120_000;

/// A text from bytes: UTF-8, UTF-16 with its mark or recognised by its zeros, else Latin-1. Zeros become blanks.
pub(crate) fn decode(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let text = match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ if zeros(bytes, 1) => utf16(bytes, u16::from_le_bytes),
        _ if zeros(bytes, 0) => utf16(bytes, u16::from_be_bytes),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            // A text that was cut inside of a character is still UTF-8.
            Err(error) if error.error_len().is_none() => String::from_utf8_lossy(bytes).into_owned(),
            Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
        },
    };
    if text.contains('\0') {
        text.replace('\0', " ")
    } else {
        text
    }
}

fn utf16(bytes: &[u8], from: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| from([pair[0], pair[1]]));
    char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect()
}

/// Whether nearly every byte at odd (1) or even (0) places of the beginning is zero.
fn zeros(bytes: &[u8], place: usize) -> bool {
    let sample = &bytes[..bytes.len().min(256)];
    let places = sample.len() / 2;
    let zeros = sample
        .iter()
        .skip(place)
        .step_by(2)
        .filter(|byte| **byte == 0)
        .count();
    places >= 8 && zeros * 10 >= places * 8
}

/// The words of a text: lower case, without punctuation (a dot between digits stays), lines that only say whose the
/// copyright is left out.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text.lines() {
        let from = words.len();
        push_words(line, &mut words);
        if is_copyright_line(line, &words[from..]) {
            words.truncate(from);
        }
        if words.len() >= WORDS_MAX {
            break;
        }
    }
    words
}

fn push_words(line: &str, words: &mut Vec<String>) {
    let mut word = String::with_capacity(WORD_BYTES);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let between_digits = c == '.'
            && word.ends_with(|c: char| c.is_ascii_digit())
            && chars.peek().is_some_and(char::is_ascii_digit);
        if c.is_ascii_alphanumeric() || between_digits {
            word.push(c.to_ascii_lowercase());
        } else if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        } else if c == '+' && !word.is_empty() {
            word.push('+');
        } else if !word.is_empty() {
            words.push(common(std::mem::replace(
                &mut word,
                String::with_capacity(WORD_BYTES),
            )));
        }
    }
    if !word.is_empty() {
        words.push(common(word));
    }
}

/// Spellings that mean the same word (SPDX licence matching guidelines, equivalent words).
fn common(word: String) -> String {
    match word.as_str() {
        "licence" => "license".to_owned(),
        "licences" => "licenses".to_owned(),
        "licenced" => "licensed".to_owned(),
        "https" => "http".to_owned(),
        "sublicence" => "sublicense".to_owned(),
        "noninfringement" => "infringement".to_owned(),
        _ => word,
    }
}

/// `Copyright (c) 2020 Somebody`, `(C) 1999`, `All rights reserved.`
fn is_copyright_line(line: &str, words: &[String]) -> bool {
    let is = |at: usize, word: &str| words.get(at).is_some_and(|found| found == word);
    let year = |word: &String| {
        word.len() >= 4
            && (word.starts_with("19") || word.starts_with("20"))
            && word.as_bytes()[2].is_ascii_digit()
    };
    let first = match words.first().map(String::as_str) {
        Some("copyright" | "copyrights" | "portions") => true,
        Some("c") => line.contains(['(', '©']),
        Some("all") => is(1, "rights") && is(2, "reserved") && words.len() <= 4,
        _ => line.trim_start().starts_with('©'),
    };
    let short = words.len() <= 30;
    let says_whose = || {
        line.contains(['©', '<', '[', '{']) || is(1, "c") || words.iter().take(8).any(year) || is(0, "all")
    };
    // Who adds a condition says more than whose it is.
    let restricts = words
        .iter()
        .any(|word| matches!(word.as_str(), "commercial" | "noncommercial"));
    first && short && !restricts && says_whose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_recognised() {
        let text = "MIT Licence, Größe";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let latin: Vec<u8> = text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [&[0xEF, 0xBB, 0xBF], text.as_bytes()].concat(),
            [&[0xFF, 0xFE], le.as_slice()].concat(),
            [&[0xFE, 0xFF], be.as_slice()].concat(),
            le,
            be,
            latin,
        ] {
            assert_eq!(decode(&bytes), text);
        }
        assert_eq!(decode(b"MIT\0License"), "MIT License");
        assert_eq!(decode(&[0xFF, 0xFE, 0x41]), "");
        assert_eq!(decode("ü".as_bytes().split_at(1).0), "\u{FFFD}");
    }

    #[test]
    fn words_are_without_punctuation_and_owners() {
        let text = "Copyright (c) 2020, A. B.\nAll rights reserved.\n * The LICENCE \"v2.0\".\n\
                    The above\ncopyright notice and this permission notice\n";
        assert_eq!(
            words(text).join(" "),
            "the license v2.0 the above copyright notice and this permission notice"
        );
    }
}
