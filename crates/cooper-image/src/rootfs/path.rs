//! A path inside a tree: relative, plain components only.

use std::fmt;

/// A path below a root, without leading or trailing `/`; the empty path is the root itself.
///
/// It holds no `.` or `..` component, no empty component, no control character, no line separator, no name of a
/// whiteout, and is UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TreePath(String);

/// What is wrong with a path from an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Nothing at all.
    #[error("it is empty")]
    Empty,
    /// It begins with `/`.
    #[error("it is absolute")]
    Absolute,
    /// It has a `..`.
    #[error("it has a `..`")]
    Parent,
    /// It has `//`, or a `.` that is not at its beginning.
    #[error("it has an empty component or a `.`")]
    NotPlain,
    /// It has a NUL, a newline or another control character, or a line or paragraph separator of Unicode.
    #[error("it has a control character")]
    ControlCharacter,
    /// A component begins with `.wh.`: in an image's layer that name deletes the file whose name follows.
    #[error("it has a name that begins with `.wh.`, which no image can hold")]
    Whiteout,
    /// It is not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// It or one of its components is too long.
    #[error("it is too long")]
    TooLong,
}

/// Why a text is not a path inside a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the path `{text}` is refused: {fault}")]
pub struct ParseTreePathError {
    /// The path, made printable and cut to 200 characters.
    pub text: String,
    /// What is wrong with it.
    pub fault: PathFault,
}

const COMPONENT_BYTES_MAX: usize = 255;

impl TreePath {
    /// Parse a path as archives write it: one leading `./` and one trailing `/` are dropped.
    ///
    /// # Errors
    /// With the first fault found.
    pub fn parse(bytes: &[u8], bytes_max: usize) -> Result<Self, ParseTreePathError> {
        let wrong = |fault| ParseTreePathError {
            text: printable(bytes),
            fault,
        };
        if bytes.len() > bytes_max {
            return Err(wrong(PathFault::TooLong));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong(PathFault::NotUtf8))?;
        match fault_of(text) {
            Some(fault) => Err(wrong(fault)),
            None => Ok(Self(plain_part(text).to_owned())),
        }
    }

    /// The text; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The parent's path and the last component; `None` for the root.
    pub fn split(&self) -> Option<(&str, &str)> {
        if self.is_root() {
            return None;
        }
        Some(self.0.rsplit_once('/').unwrap_or(("", &self.0)))
    }

    /// This path with `below` after it.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        match (self.is_root(), below.is_root()) {
            (true, _) => below.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{}/{}", self.0, below.0)),
        }
    }

    /// As a process inside the root writes it: `/usr/bin`; `/` for the root.
    pub fn absolute(&self) -> String {
        format!("/{}", self.0)
    }
}

/// Without the leading `./` and the trailing `/`.
fn plain_part(text: &str) -> &str {
    if text == "." || text == "./" {
        return "";
    }
    let text = text.strip_prefix("./").unwrap_or(text);
    text.strip_suffix('/').unwrap_or(text)
}

fn fault_of(text: &str) -> Option<PathFault> {
    if text.is_empty() {
        return Some(PathFault::Empty);
    }
    if text.starts_with('/') {
        return Some(PathFault::Absolute);
    }
    if text.chars().any(controls) {
        return Some(PathFault::ControlCharacter);
    }
    let plain = plain_part(text);
    if plain.is_empty() {
        return None;
    }
    plain.split('/').find_map(|component| match component {
        ".." => Some(PathFault::Parent),
        "" | "." => Some(PathFault::NotPlain),
        whiteout if whiteout.starts_with(".wh.") => Some(PathFault::Whiteout),
        long if long.len() > COMPONENT_BYTES_MAX => Some(PathFault::TooLong),
        _ => None,
    })
}

/// Whether a character controls a terminal, or ends a line for some reader of a list of paths.
fn controls(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// A name from an untrusted archive as it may be shown: at most 200 characters, none that controls a terminal.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(..800).unwrap_or(bytes)).into_owned();
    let shown = |character: char| {
        if controls(character) {
            '\u{fffd}'
        } else {
            character
        }
    };
    text.chars().take(200).map(shown).collect()
}

impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_are_kept() {
        for (text, kept) in [
            ("./", ""),
            (".", ""),
            ("./usr/bin/", "usr/bin"),
            ("usr/a b", "usr/a b"),
            ("./x", "x"),
            ("a.wh.b/.whb", "a.wh.b/.whb"),
        ] {
            assert_eq!(
                TreePath::parse(text.as_bytes(), 100).unwrap().as_str(),
                kept,
                "{text}"
            );
        }
        assert_eq!(TreePath::parse(b"./a/b", 100).unwrap().split(), Some(("a", "b")));
        assert_eq!(TreePath::parse(b"./a", 100).unwrap().split(), Some(("", "a")));
        assert_eq!(TreePath::parse(b"./", 100).unwrap().split(), None);
    }

    #[test]
    fn every_fault_is_named() {
        let long = "x".repeat(256);
        let faults: [(&[u8], PathFault); 20] = [
            (b"", PathFault::Empty),
            (b"/etc/passwd", PathFault::Absolute),
            (b"..", PathFault::Parent),
            (b"./../x", PathFault::Parent),
            (b"a/../../x", PathFault::Parent),
            (b"a/..", PathFault::Parent),
            (b"a//b", PathFault::NotPlain),
            (b"a/./b", PathFault::NotPlain),
            (b"a//", PathFault::NotPlain),
            (b".//a", PathFault::NotPlain),
            (b".wh.a", PathFault::Whiteout),
            (b"a/.wh..wh..opq/", PathFault::Whiteout),
            (b"a\nb", PathFault::ControlCharacter),
            (b"a\0b", PathFault::ControlCharacter),
            (b"a\x7fb", PathFault::ControlCharacter),
            ("a\u{85}b".as_bytes(), PathFault::ControlCharacter),
            ("a\u{2028}b".as_bytes(), PathFault::ControlCharacter),
            ("a\u{2029}b".as_bytes(), PathFault::ControlCharacter),
            (b"a\xff", PathFault::NotUtf8),
            (long.as_bytes(), PathFault::TooLong),
        ];
        for (bytes, fault) in faults {
            assert_eq!(
                TreePath::parse(bytes, 1000).unwrap_err().fault,
                fault,
                "{}",
                printable(bytes)
            );
        }
        assert_eq!(
            TreePath::parse(b"abcdef", 5).unwrap_err().fault,
            PathFault::TooLong
        );
    }
}
