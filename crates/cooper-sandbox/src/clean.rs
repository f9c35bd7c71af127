//! A stream of bytes made harmless for a terminal.
//!
//! What is left is text in UTF-8 with `\n`, `\t` and `\r`: no other control character, of either set (C0, C1), and none
//! of the escape sequences of ECMA-48 with what belongs to them: CSI, OSC, DCS, SOS, PM, APC and the short ones. Bytes
//! that are no UTF-8 become U+FFFD. A sequence may come in any number of pieces.

/// Where in the stream we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and one or more of ` ` to `/`.
    ShortSequence,
    /// After CSI.
    Control,
    /// In a string that ends with ST, or in an OSC with BEL.
    String { kind: StringKind, bytes: u32, last: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StringKind {
    /// No such string has more than one line. Taken as ended there: what does not end would swallow all that follows.
    Osc,
    /// DCS, SOS, PM, APC: pictures, for instance, that may have lines.
    Other,
}

const STRING_BYTES_MAX: u32 = 1 << 20;
const ESCAPE: u8 = 0x1b;
const BELL: u8 = 0x07;
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Cleans one stream of what drives a terminal: what is left is text in UTF-8 with `\n`, `\t` and `\r`.
#[derive(Debug, Default)]
pub struct Cleaner {
    state: State,
    /// The beginning of a character of several bytes.
    partial: [u8; 4],
    partial_length: usize,
}

impl Cleaner {
    /// What is left of these bytes, appended to `clean`.
    pub fn clean(&mut self, bytes: &[u8], clean: &mut Vec<u8>) {
        for byte in bytes {
            self.byte(*byte, clean);
        }
    }

    /// The stream has ended: what was begun and not finished is dropped.
    pub fn end(&mut self, clean: &mut Vec<u8>) {
        if self.partial_length > 0 {
            clean.extend_from_slice(REPLACEMENT);
        }
        *self = Self::default();
    }

    fn byte(&mut self, byte: u8, clean: &mut Vec<u8>) {
        // What ends a sequence before its end stands for itself.
        let cancels = matches!(byte, 0x18 | 0x1a);
        self.state = match (self.state, byte) {
            (State::Text, _) => return self.text(byte, clean),
            (State::String { kind, bytes, last }, _) => {
                return self.string(kind, bytes, last, byte, clean);
            }
            _ if cancels => State::Text,
            (_, ESCAPE) => State::Escape,
            (State::Escape, b'[') | (State::Control, b' '..=b'?') => State::Control,
            (State::Escape, b']') => string_of(StringKind::Osc),
            (State::Escape, b'P' | b'X' | b'^' | b'_') => string_of(StringKind::Other),
            (State::Escape | State::ShortSequence, b' '..=b'/') => State::ShortSequence,
            (State::Escape | State::ShortSequence, b'0'..=b'~') | (State::Control, b'@'..=b'~') => {
                State::Text
            }
            _ => {
                self.state = State::Text;
                return self.text(byte, clean);
            }
        };
    }

    fn string(&mut self, kind: StringKind, bytes: u32, last: u8, byte: u8, clean: &mut Vec<u8>) {
        let ends_line = kind == StringKind::Osc && byte == b'\n';
        self.state = match byte {
            BELL if kind == StringKind::Osc => State::Text,
            0x18 | 0x1a => State::Text,
            // ST in UTF-8.
            0x9c if last == 0xc2 => State::Text,
            // `\` after it is dropped as what follows any ESC.
            ESCAPE => State::Escape,
            _ if ends_line || bytes >= STRING_BYTES_MAX => {
                self.state = State::Text;
                return self.text(byte, clean);
            }
            _ => State::String {
                kind,
                bytes: bytes + 1,
                last: byte,
            },
        };
    }

    fn text(&mut self, byte: u8, clean: &mut Vec<u8>) {
        if self.partial_length == 0 && byte.is_ascii() {
            match byte {
                b'\n' | b'\t' | b'\r' | b' '..=b'~' => clean.push(byte),
                ESCAPE => self.state = State::Escape,
                _ => {}
            }
            return;
        }
        if let Some(place) = self.partial.get_mut(self.partial_length) {
            *place = byte;
            self.partial_length += 1;
        }
        let partial = self.partial;
        let so_far = partial.get(..self.partial_length).unwrap_or_default();
        match std::str::from_utf8(so_far) {
            Ok(text) => {
                self.partial_length = 0;
                self.characters(text, clean);
            }
            Err(error) if error.error_len().is_none() => {}
            Err(_) => {
                let begun = self.partial_length > 1;
                self.partial_length = 0;
                clean.extend_from_slice(REPLACEMENT);
                if begun {
                    // It does not continue what was begun: it begins something itself.
                    self.text(byte, clean);
                }
            }
        }
    }

    fn characters(&mut self, text: &str, clean: &mut Vec<u8>) {
        for c in text.chars() {
            match c {
                '\u{9b}' => self.state = State::Control,
                '\u{9d}' => self.state = string_of(StringKind::Osc),
                '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}' => self.state = string_of(StringKind::Other),
                c if c.is_control() => {}
                _ => clean.extend_from_slice(text.as_bytes()),
            }
        }
    }
}

const fn string_of(kind: StringKind) -> State {
    State::String {
        kind,
        bytes: 0,
        last: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(pieces: &[&[u8]]) -> String {
        let (mut cleaner, mut clean) = (Cleaner::default(), Vec::new());
        for piece in pieces {
            cleaner.clean(piece, &mut clean);
        }
        cleaner.end(&mut clean);
        String::from_utf8(clean).unwrap()
    }

    const CASES: &[(&[u8], &str)] = &[
        (b"plain\ttext\r\nline\n", "plain\ttext\r\nline\n"),
        ("größe 漢字 🙂\n".as_bytes(), "größe 漢字 🙂\n"),
        // The continuation bytes of these are those of C1 controls.
        ("ě€\u{2500}".as_bytes(), "ě€\u{2500}"),
        (b"a\x00\x01\x07\x08\x0b\x0c\x0e\x0f\x7fb", "ab"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b[2J\x1b[1;1H\x1b[?1049hx", "x"),
        (b"\x1b[38;2;1;2;3mx\x1b[ q", "x"),
        (b"\x1b]0;title\x07x", "x"),
        (b"\x1b]52;c;aGVsbG8=\x1b\\x", "x"),
        (b"\x1b]8;;http://example.com\x1b\\link\x1b]8;;\x1b\\", "link"),
        (
            b"\x1bP+q544e\x1b\\x\x1b_apc\x1b\\y\x1b^pm\x1b\\z\x1bXsos\x1b\\.",
            "xyz.",
        ),
        (b"\x1bPline\nline\x1b\\x", "x"),
        (b"\x1b(B\x1b#8\x1bc\x1b=x", "x"),
        (
            "\u{9b}31mx\u{9d}0;t\u{9c}y\u{90}q\u{9c}z\u{85}\u{9f}a\u{9c}".as_bytes(),
            "xyz",
        ),
        (b"\x9b31mx", "\u{fffd}31mx"),
        (b"\xff\xfe\xc3(", "\u{fffd}\u{fffd}\u{fffd}("),
        (b"\xe2\x82", "\u{fffd}"),
        (b"\xe2\x1b[31mx", "\u{fffd}x"),
        // Sequences that are broken off do not swallow what follows them.
        (b"\x1b[31\nx", "\nx"),
        (b"\x1b]0;never ends\nx\n", "\nx\n"),
        (b"\x1b[3\x18x\x1b]0;t\x1ay", "xy"),
        (b"\x1b\x1b[31mx", "x"),
        (b"\x1b[3\x1b]0;t\x07x", "x"),
        (b"\x1b]0;t\x1b[31mx", "x"),
        (b"\x1b\xc3\xa4x", "äx"),
        (b"\x1b[\xc3\xa4x", "äx"),
        (b"\x1b", ""),
        // An escape that is left over when one is taken away.
        (b"\x1b\x07[31mx", "[31mx"),
        (b"\xc2\x1b]0;t\x07\x9b31mx", "\u{fffd}\u{fffd}31mx"),
    ];

    #[test]
    fn sequences_go_and_text_stays() {
        for (bytes, expected) in CASES {
            assert_eq!(cleaned(&[bytes]), *expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn it_does_not_matter_how_a_stream_is_cut() {
        for (bytes, expected) in CASES {
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(cleaned(&single), *expected, "{}", bytes.escape_ascii());
            for at in 0..bytes.len() {
                let (first, second) = bytes.split_at(at);
                assert_eq!(cleaned(&[first, second]), *expected, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn nothing_is_left_that_drives_a_terminal_whatever_comes() {
        // Every three bytes of those that mean something, and some that do not.
        let bytes = [
            0x1b, b'[', b']', b'P', b'\\', 0x07, 0x18, 0x9b, 0x9c, 0xc2, 0xe2, 0x90, b'm', b'1', b'\n', 0xff,
            0x00,
        ];
        for a in bytes {
            for b in bytes {
                for c in bytes {
                    let clean = cleaned(&[&[a, b, c, 0x1b, b'[', b'3', b'1', b'm', 0xc2, 0x9b, b'm']]);
                    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
                    assert!(clean.chars().all(harmless), "{a} {b} {c}: {clean:?}");
                }
            }
        }
    }

    #[test]
    fn a_string_without_an_end_is_bounded() {
        let mut long = b"\x1bP".to_vec();
        long.extend(std::iter::repeat_n(b'x', 2 << 20));
        long.extend(b"\nend");
        assert!(cleaned(&[&long]).ends_with("\nend"));
    }
}
