//! The older form of an index page (PEP 503): anchors in HTML, read without a browser's mercy.

use cooper_core::Digest;
use url::Url;

use super::page::{File, file_url, one_line, side_metadata};

/// How many characters one tag may have.
const TAG_MAX: usize = 16 * 1024;

/// Read the anchors of a page.
///
/// # Errors
/// When the bytes are not text or not HTML.
pub(super) fn read(bytes: &[u8], page: &Url) -> Result<Vec<File>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is neither JSON nor text".to_owned())?;
    let looks_like_html = text.trim_start().starts_with('<') && find_tag(text, "html").is_some();
    if !looks_like_html && find_tag(text, "a").is_none() {
        return Err("it is neither JSON nor HTML".to_owned());
    }
    let mut base = page.clone();
    let mut files = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let Some((tag, after)) = split_tag(rest) else {
            continue;
        };
        rest = after;
        if let Some(attributes) = element(tag, "base") {
            base = attribute(attributes, "href")
                .and_then(|href| base.join(&href).ok())
                .unwrap_or(base);
        } else if let Some(attributes) = element(tag, "a") {
            let content = &rest[..rest.find('<').unwrap_or(rest.len())];
            files.extend(anchor(&base, attributes, content));
        }
    }
    Ok(files)
}

fn find_tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.match_indices('<')
        .map(|(at, _)| &text[at + 1..])
        .find(|tag| element(tag, name).is_some())
}

/// The inside of a tag and what follows it; quoted values may hold `>`.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (at, byte) in text.bytes().enumerate().take(TAG_MAX) {
        match (quote, byte) {
            (Some(open), _) if open == byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'>') => return Some((&text[..at], &text[at + 1..])),
            (Some(_) | None, _) => {}
        }
    }
    None
}

/// The attributes, if the tag opens this element.
fn element<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let head = tag.get(..name.len())?;
    let rest = &tag[name.len()..];
    let ends = rest.is_empty() || rest.starts_with(|c: char| c.is_ascii_whitespace() || c == '>' || c == '/');
    (head.eq_ignore_ascii_case(name) && ends).then_some(rest)
}

/// An attribute's value, with its entities decoded; empty where it has none.
fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if rest.is_empty() {
            return None;
        }
        let name_end = rest
            .find(|c: char| c.is_ascii_whitespace() || c == '=')
            .unwrap_or(rest.len());
        let name = &rest[..name_end];
        rest = rest[name_end..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            (value, rest) = match after.chars().next() {
                Some(quote @ ('"' | '\'')) => after[1..].split_once(quote)?,
                _ => after.split_at(
                    after
                        .find(|c: char| c.is_ascii_whitespace())
                        .unwrap_or(after.len()),
                ),
            };
        } else if name.is_empty() {
            return None;
        }
        if name.eq_ignore_ascii_case(wanted) {
            return Some(decode_entities(value));
        }
    }
}

fn decode_entities(text: &str) -> String {
    let table = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#62;", ">"),
    ];
    let table = table
        .iter()
        .chain(&[("&#60;", "<"), ("&#x3e;", ">"), ("&#x3c;", "<"), ("&amp;", "&")]);
    table.fold(text.to_owned(), |text, (entity, plain)| {
        text.replace(entity, plain)
    })
}

fn anchor(page: &Url, attributes: &str, content: &str) -> Option<File> {
    let href = attribute(attributes, "href")?;
    let filename = decode_entities(content.trim());
    let side = attribute(attributes, "data-core-metadata")
        .or_else(|| attribute(attributes, "data-dist-info-metadata"))
        .and_then(|text| text.strip_prefix("sha256=").map(str::to_owned));
    let sha256 = href
        .rsplit_once("#sha256=")
        .and_then(|(_, hex)| Digest::from_hex(hex).ok());
    Some(File {
        url: file_url(page, &href)?,
        filename,
        size: None,
        sha256,
        metadata: side_metadata(side.as_deref()),
        requires_python: attribute(attributes, "data-requires-python").filter(|text| !text.trim().is_empty()),
        yanked: attribute(attributes, "data-yanked").map(|reason| one_line(&reason)),
        uploaded: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::page::SideMetadata;
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn files(html: &str) -> Vec<File> {
        read(html.as_bytes(), &"https://index.test/simple/a/".parse().unwrap()).unwrap()
    }

    #[test]
    fn anchors_are_files() {
        let html = format!(
            "<!DOCTYPE html><html><!-- <a href='no'>no</a> --><body>\n<A data-requires-python=\"&gt;=3.8,&lt;4\" \
             href=\"../../f/a-1-py3-none-any.whl#sha256={HASH}\" data-core-metadata=\"sha256={HASH}\" data-yanked>\
             a-1-py3-none-any.whl</A><br/>\n<a href='a-2.tar.gz' data-yanked='x > y'>a-2.tar.gz</a></body></html>"
        );
        let files = files(&html);
        assert_eq!(files.len(), 2);
        assert_eq!(files[0].filename, "a-1-py3-none-any.whl");
        assert_eq!(files[0].url.as_str(), "https://index.test/f/a-1-py3-none-any.whl");
        assert_eq!(files[0].sha256.unwrap().hex(), HASH);
        assert_eq!(files[0].requires_python.as_deref(), Some(">=3.8,<4"));
        assert_eq!(files[0].yanked.as_deref(), Some(""));
        assert!(matches!(files[0].metadata, SideMetadata::Sha256(_)));
        assert_eq!(files[1].url.as_str(), "https://index.test/simple/a/a-2.tar.gz");
        assert_eq!(files[1].yanked.as_deref(), Some("x > y"));
    }

    #[test]
    fn hostile_html_gives_no_files_and_no_panic() {
        for html in [
            "<html>",
            "<html><a",
            "<html><a href=",
            "<html><a href='x",
            "<html><a =>x</a>",
            "<html><a href>é</a>",
            "<html><!--",
        ] {
            assert!(files(html).iter().all(|file| file.filename != "x"), "{html}");
        }
        let deep = format!("<html>{}", "<a ".repeat(100_000));
        assert!(files(&deep).is_empty());
        assert!(read(b"plain text", &"https://index.test/".parse().unwrap()).is_err());
    }

    #[test]
    fn a_base_element_moves_the_files() {
        let files = files("<html><base href='https://files.test/x/'><a href='a-1.zip'>a-1.zip</a></html>");
        assert_eq!(files[0].url.as_str(), "https://files.test/x/a-1.zip");
    }
}
