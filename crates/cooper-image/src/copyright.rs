//! The licence that a Debian package states in its copyright file.
//!
//! Machine-readable files (DEP-5, `Format:` in the first paragraph) name a licence for `Files: *`; anything
//! else states none that a program can quote, and the inventory then says so with `null`.

/// The short name in the `License` field of the `Files: *` paragraph of a DEP-5 file, or of its header.
pub fn stated_licence(text: &str) -> Option<String> {
    let text = text.replace("\r\n", "\n");
    let mut paragraphs = text.split("\n\n");
    let header = paragraphs.next()?;
    let format = field(header, "Format")?;
    if !["copyright-format", "dep5", "dep-5"]
        .iter()
        .any(|mark| format.to_lowercase().contains(mark))
    {
        return None;
    }
    let for_all = |paragraph: &&str| {
        field(paragraph, "Files").is_some_and(|files| files.split_whitespace().any(|file| file == "*"))
    };
    let stated = paragraphs
        .find(for_all)
        .and_then(|paragraph| field(paragraph, "License"));
    let licence = stated.or_else(|| field(header, "License"))?.trim();
    let plausible = !licence.is_empty() && licence.len() <= 200;
    plausible.then(|| licence.to_owned())
}

/// The first line of a field's value. Names are compared without case.
fn field<'a>(paragraph: &'a str, name: &str) -> Option<&'a str> {
    paragraph.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licence_for_all_files_is_the_one_stated() {
        let text = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nSource: x\n\n\
                    Files: debian/*\nLicense: GPL-2\n\nFiles: *\nCopyright: x\nLicense: GPL-3+ with OpenSSL exception\n text\n";
        assert_eq!(
            stated_licence(text).as_deref(),
            Some("GPL-3+ with OpenSSL exception")
        );
    }

    #[test]
    fn free_text_states_none() {
        assert_eq!(
            stated_licence("This package was debianized by …\nLicense: GPL\n"),
            None
        );
        assert_eq!(stated_licence(""), None);
    }
}
