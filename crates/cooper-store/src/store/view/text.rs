//! The view of the names as text: lines of words, each image's tags below it.
//!
//! ```text
//! cooper-names 1
//! image ORGANISATION NAME INODE SECONDS NANOSECONDS SETTLED
//! given VERSION NUMBER
//! tag TAG MANIFEST MANIFEST-BYTES CREATED-NANOSECONDS SUMMARY…
//! unreadable TAG
//! end CRC32
//! ```

use std::fmt::Write as _;
use std::num::NonZeroU32;

use cooper_core::{Digest, ImageVersion, ManifestDigest, Timestamp, VersionTag};

use super::{ImageKey, ListedEntry, NameView, Stamp, View};

const FIRST_LINE: &str = "cooper-names 1";

/// The text of a view.
pub(super) fn write(view: &View) -> Vec<u8> {
    let mut text = format!("{FIRST_LINE}\n");
    for ((organisation, name), image) in &view.names {
        let Stamp {
            inode,
            changed: (seconds, nanoseconds),
        } = image.stamp;
        let settled = u8::from(image.settled);
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "image {organisation} {name} {inode} {seconds} {nanoseconds} {settled}"
        );
        for (version, number) in &image.given {
            let _ = writeln!(text, "given {version} {number}");
        }
        for (tag, entry) in &image.tags {
            let _ = match entry {
                Some(entry) => writeln!(
                    text,
                    "tag {tag} {} {} {} {}",
                    entry.manifest.hex(),
                    entry.manifest_bytes.unwrap_or(0),
                    entry.created_at.as_nanosecond(),
                    entry.summary
                ),
                None => writeln!(text, "unreadable {tag}"),
            };
        }
    }
    let _ = writeln!(text, "end {:08x}", crc(text.as_bytes()));
    text.into_bytes()
}

/// The view that a text is; `None` when it is not whole.
pub(super) fn parse(bytes: &[u8]) -> Option<View> {
    let end = bytes.len().checked_sub("end 01234567\n".len())?;
    let (lines, last) = bytes.split_at(end);
    if last != format!("end {:08x}\n", crc(lines)).as_bytes() {
        return None;
    }
    let mut lines = std::str::from_utf8(lines).ok()?.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let mut view = View::default();
    let mut image: Option<(ImageKey, NameView)> = None;
    // They are sorted as they are: a map that is made of all at once compares each but once.
    let mut tags: Vec<(VersionTag, Option<ListedEntry>)> = Vec::new();
    // One version for all tags that have it.
    let mut version: Option<ImageVersion> = None;
    for line in lines {
        let (kind, rest) = line.split_once(' ')?;
        if kind == "image" {
            view.add(image.replace(parse_image(rest)?), &mut tags);
            continue;
        }
        let (_, image) = image.as_mut()?;
        match kind {
            "tag" => {
                let (tag, rest) = rest.split_once(' ')?;
                tags.push((parse_tag(tag, &mut version)?, Some(parse_entry(rest)?)));
            }
            "given" => {
                let (version, number) = rest.split_once(' ')?;
                image.given.insert(version.parse().ok()?, number.parse().ok()?);
            }
            "unreadable" => tags.push((rest.parse().ok()?, None)),
            _ => return None,
        }
    }
    view.add(image, &mut tags);
    Some(view)
}

impl View {
    /// Add an image with its tags, if there is one.
    fn add(
        &mut self,
        image: Option<(ImageKey, NameView)>,
        tags: &mut Vec<(VersionTag, Option<ListedEntry>)>,
    ) {
        if let Some((key, mut image)) = image {
            image.tags = tags.drain(..).collect();
            self.names.insert(key, image);
        }
    }
}

fn parse_image(text: &str) -> Option<(ImageKey, NameView)> {
    let mut words = text.split(' ');
    let key = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let stamp = Stamp {
        inode: words.next()?.parse().ok()?,
        changed: (words.next()?.parse().ok()?, words.next()?.parse().ok()?),
    };
    let view = NameView {
        stamp,
        settled: words.next()? == "1",
        ..NameView::default()
    };
    Some((key, view))
}

fn parse_tag(text: &str, version: &mut Option<ImageVersion>) -> Option<VersionTag> {
    let (same, serial) = text.rsplit_once('.')?;
    if version.as_ref().is_none_or(|version| version.as_str() != same) {
        *version = Some(same.parse().ok()?);
    }
    Some(VersionTag {
        version: version.clone()?,
        serial: serial.parse::<NonZeroU32>().ok()?,
    })
}

fn parse_entry(text: &str) -> Option<ListedEntry> {
    let mut words = text.splitn(4, ' ');
    let manifest = ManifestDigest::new(Digest::from_hex(words.next()?).ok()?);
    let bytes: u64 = words.next()?.parse().ok()?;
    Some(ListedEntry {
        manifest,
        manifest_bytes: (bytes > 0).then_some(bytes),
        created_at: Timestamp::from_nanosecond(words.next()?.parse().ok()?).ok()?,
        summary: words.next()?.to_owned(),
    })
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View {
        let entry = ListedEntry {
            manifest: ManifestDigest::of(b"a"),
            created_at: "2026-11-23T08:00:00.5Z".parse().unwrap(),
            summary: "a line with words".to_owned(),
            manifest_bytes: Some(7),
        };
        let image = NameView {
            stamp: Stamp {
                inode: 12,
                changed: (1_700_000_000, 17),
            },
            settled: true,
            tags: [
                ("1.0.0.2".parse().unwrap(), None),
                ("1.0.0.10".parse().unwrap(), Some(entry.clone())),
                (
                    "2.1".parse().unwrap(),
                    Some(ListedEntry {
                        summary: String::new(),
                        manifest_bytes: None,
                        ..entry
                    }),
                ),
            ]
            .into(),
            given: [("1.0.0".parse().unwrap(), 11), ("2".parse().unwrap(), 1)].into(),
        };
        let gone = NameView {
            given: [("1.0".parse().unwrap(), 3)].into(),
            ..NameView::default()
        };
        let key = |name: &str| ("local".parse().unwrap(), name.parse().unwrap());
        View {
            names: [(key("example"), image), (key("gone"), gone)].into(),
        }
    }

    #[test]
    fn a_view_comes_back_as_it_was_written() {
        for view in [view(), View::default()] {
            assert_eq!(parse(&write(&view)), Some(view));
        }
    }

    #[test]
    fn what_is_not_whole_is_no_view() {
        let text = write(&view());
        for length in 0..text.len() {
            assert_eq!(parse(&text[..length]), None, "{length}");
        }
        for at in 0..text.len() {
            let mut damaged = text.clone();
            damaged[at] ^= 1;
            assert_eq!(parse(&damaged), None, "{at}");
        }
    }
}
