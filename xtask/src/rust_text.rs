//! Rust source with comments and literals blanked out, so that a search finds code and nothing else.

/// `source` with every comment and the inside of every string and character literal replaced by spaces;
/// lines stay where they are.
pub(crate) fn code_only(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut word_before = false;
    while let Some(first) = rest.chars().next() {
        let literal = if word_before { None } else { raw_string(rest) };
        let (length, keep) = match literal.or_else(|| blankable(rest, first)) {
            Some(length) => (length, false),
            None => (first.len_utf8(), true),
        };
        let (piece, tail) = rest.split_at(length);
        if keep {
            out.push_str(piece);
        } else {
            out.extend(
                piece
                    .chars()
                    .map(|character| if character == '\n' { '\n' } else { ' ' }),
            );
        }
        word_before = first.is_alphanumeric() || first == '_';
        rest = tail;
    }
    out
}

/// The length of the comment or the plain literal that `text` begins with.
fn blankable(text: &str, first: char) -> Option<usize> {
    match first {
        '/' if text.starts_with("//") => Some(text.find('\n').unwrap_or(text.len())),
        '/' if text.starts_with("/*") => Some(block_comment(text)),
        '"' => Some(quoted(text)),
        '\'' => character_literal(text),
        _ => None,
    }
}

/// Block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < text.len() {
        let here = &text.as_bytes()[at..];
        if here.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of a string literal whose opening quote is first.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of `r"…"`, `r#"…"#`, `br"…"` or `cr"…"`.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| text.starts_with(prefix))?;
    let after = &text[prefix.len()..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    if !after[hashes..].starts_with('"') {
        return None;
    }
    let start = prefix.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(
        text[start..]
            .find(&end)
            .map_or(text.len(), |at| start + at + end.len()),
    )
}

/// The length of a character literal; a lifetime is none.
fn character_literal(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        let after = text.char_indices().skip(3);
        return after
            .take(12)
            .find(|(_, character)| *character == '\'')
            .map(|(at, _)| at + 1);
    }
    characters
        .next()
        .filter(|(_, character)| *character == '\'')
        .map(|(at, _)| at + 1)
}

/// The first line, counted from 1, in which `word` stands as a whole word.
pub(crate) fn line_of_word(code: &str, word: &str) -> Option<usize> {
    let part_of_word = |character: char| character.is_alphanumeric() || character == '_';
    let whole = |line: &str, at: usize| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part_of_word) && !after.is_some_and(part_of_word)
    };
    let lines = code.lines().enumerate();
    lines
        .filter(|(_, line)| line.match_indices(word).any(|(at, _)| whole(line, at)))
        .map(|(at, _)| at + 1)
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_lines_stay() {
        let source = "a // unsafe\n/* unsafe /* b\n */ unsafe */ c \"un\\\"safe\" d r#\"uns\"afe\"# e 'u' '\\'' '\\u{41}' f<'g> \"x\ny\" h";
        let code = code_only(source);
        assert_eq!(code.lines().count(), source.lines().count());
        assert_eq!(code.len(), source.len());
        let words: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(words, ["a", "c", "d", "e", "f<'g>", "h"]);
    }

    #[test]
    fn an_identifier_that_ends_in_r_begins_no_raw_string() {
        let code = code_only("for\"x\" br\"y\" bar#\"z\"");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["for", "bar#"]);
    }

    #[test]
    fn words_are_whole() {
        assert_eq!(
            line_of_word("unsafe_code\nnot_unsafe\n  unsafe {", "unsafe"),
            Some(3)
        );
        assert_eq!(line_of_word("unsafe_code", "unsafe"), None);
    }
}
