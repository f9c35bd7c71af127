//! From bytes to lines as pip sees them: continuations joined, then comments taken away.

use super::LINE_BYTES_MAX;
use super::fault::RequirementsFault;

/// The lines that say something, each with the number of its first line in the file, from 1.
pub(super) fn logical_lines(bytes: &[u8]) -> Result<Vec<(usize, String)>, (usize, RequirementsFault)> {
    let text = decoded(bytes)?;
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in physical_lines(text).enumerate() {
        let number = index + 1;
        let comment = line.trim_start().starts_with('#');
        let (first, mut joined) = open.take().unwrap_or((number, String::new()));
        if joined.len() + line.len() > LINE_BYTES_MAX {
            return Err((number, RequirementsFault::LineTooLong));
        }
        if line.ends_with('\\') && !comment {
            joined.push_str(line.trim_matches('\\'));
            open = Some((first, joined));
            continue;
        }
        if comment {
            // What was joined so far ends before it.
            joined.push(' ');
        }
        joined.push_str(line);
        lines.push((first, joined));
    }
    lines.extend(open);
    let mut said = Vec::new();
    for (number, line) in lines {
        let line = without_comment(&line).trim();
        if let Some(variable) = variable(line) {
            let name = variable.to_owned();
            return Err((number, RequirementsFault::Variable { name }));
        }
        if !line.is_empty() {
            said.push((number, line.to_owned()));
        }
    }
    Ok(said)
}

/// UTF-8, perhaps with a byte order mark, without characters that a reader does not see or that end a line for pip
/// alone.
fn decoded(bytes: &[u8]) -> Result<&str, (usize, RequirementsFault)> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((1, RequirementsFault::Utf16));
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
        (line_number(good), RequirementsFault::NotUtf8)
    })?;
    let strange = |c: char| (c.is_control() && !"\t\r\n".contains(c)) || "\u{2028}\u{2029}".contains(c);
    if let Some((at, character)) = text.char_indices().find(|(_, c)| strange(*c)) {
        let fault = RequirementsFault::Character {
            code: u32::from(character),
        };
        return Err((line_number(&text[..at]), fault));
    }
    Ok(text)
}

/// The number of the line that follows `text`.
fn line_number(text: &str) -> usize {
    physical_lines(text).count().max(1) + usize::from(text.ends_with(['\n', '\r']))
}

/// Lines that end with LF, CR LF or CR.
fn physical_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = (!text.is_empty()).then_some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        let Some(end) = text.find(['\n', '\r']) else {
            return Some(text);
        };
        let line = &text[..end];
        let after = &text[end..];
        let after = after.strip_prefix("\r\n").unwrap_or(&after[1..]);
        rest = (!after.is_empty()).then_some(after);
        Some(line)
    })
}

/// Without the first `#` at the start or after white space and what follows it.
fn without_comment(line: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| line[..*at].chars().next_back().is_none_or(char::is_whitespace);
    line.match_indices('#')
        .find(begins)
        .map_or(line, |(at, _)| &line[..at])
}

/// The name of the first variable that pip would put in from the environment: `${NAME}`.
fn variable(line: &str) -> Option<&str> {
    let name = |(at, _): (usize, &str)| {
        let (name, _) = line[at + 2..].split_once('}')?;
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        (!name.is_empty() && name.bytes().all(plain)).then_some(name)
    };
    line.match_indices("${").find_map(name)
}
