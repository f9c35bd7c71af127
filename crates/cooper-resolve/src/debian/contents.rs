//! An archive's list of contents, of which only the shared libraries are kept: where the loader looks by itself, which
//! package has which. Fetched when it is asked for and not there; checked as its suite's release file lists it.

use std::sync::Arc;
use std::time::Duration;

use cooper_core::DebianName;
use cooper_core::base::SuiteKind;
use cooper_core::progress::Stage;
use cooper_store::FetchBlob;

use super::archive;
use super::release::{self, Form, ListedFile, Listing};
use super::snapshot::{SuiteSnapshot, below};
use super::unpack::unpack;
use crate::context::Context;

const KIND: &str = "debian-libraries";
/// Counts up when what is kept changes.
const FORMAT: u32 = 1;
/// The largest compressed list that is accepted; Debian 13's has 12 MB.
const COMPRESSED_BYTES_MAX: u64 = 128 << 20;
/// The beginning of the keys of those that no mirror had.
const ABSENT: &str = "absent";
/// How long such a list is not asked for again.
const ABSENT_FOR: Duration = Duration::from_hours(6);
/// The longest line that is looked at.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Where the loader looks by itself, as lists of contents have it.
const FOLDERS: [&[u8]; 4] = [
    b"usr/lib/x86_64-linux-gnu/",
    b"lib/x86_64-linux-gnu/",
    b"usr/lib/",
    b"lib/",
];

/// The shared libraries of an archive and their packages.
pub(super) struct Libraries {
    /// `library TAB package[,package …]`, a line each, sorted.
    text: Arc<Vec<u8>>,
}

impl Libraries {
    /// The packages that have a library, as the archive lists them.
    pub(super) fn packages(&self, library: &str) -> Vec<DebianName> {
        let lines = self.text.split(|byte| *byte == b'\n');
        let of_it = lines.filter_map(|line| line.strip_prefix(library.as_bytes())?.strip_prefix(b"\t"));
        let names = of_it.flat_map(|names| names.split(|byte| *byte == b','));
        names
            .filter_map(|name| std::str::from_utf8(name).ok()?.parse().ok())
            .collect()
    }
}

/// The libraries of the release suite: kept ones, or with `fetch` also such as have to be fetched. What goes wrong is
/// logged: the list is a help, not evidence.
pub(super) fn open(context: &Context, snapshots: &[SuiteSnapshot], fetch: bool) -> Option<Libraries> {
    let snapshot = snapshots
        .iter()
        .find(|snapshot| snapshot.suite.kind == SuiteKind::Release)?;
    let listing = snapshot.signed.release.contents.as_ref()?;
    let key = format!("{FORMAT} {}", listing.index.sha256);
    if let Some(kept) = context.store.cache_get(KIND, &key) {
        return Some(Libraries {
            text: Arc::new(kept.bytes),
        });
    }
    if !fetch || context.freshness.offline {
        return None;
    }
    if is_absent(context, &key) {
        return None;
    }
    let Some(text) = fetched(context, snapshot, listing) else {
        keep(context, &format!("{ABSENT} {key}"), b"");
        return None;
    };
    keep(context, &key, &text);
    Some(Libraries { text: Arc::new(text) })
}

fn keep(context: &Context, key: &str, text: &[u8]) {
    if let Err(error) = context.store.cache_put(KIND, key, text) {
        tracing::debug!(?error, "cannot keep the list of libraries in the cache");
    }
}

/// Whether no mirror had it a short while ago: some do not keep up with their own release files.
fn is_absent(context: &Context, key: &str) -> bool {
    let noted = context.store.cache_get(KIND, &format!("{ABSENT} {key}"));
    noted.is_some_and(|noted| {
        let age = context.clock.now().duration_since(noted.stored_at);
        Duration::try_from(age).is_ok_and(|age| age < ABSENT_FOR)
    })
}

fn fetched(context: &Context, snapshot: &SuiteSnapshot, listing: &Listing) -> Option<Vec<u8>> {
    let suite = snapshot.suite;
    let (form, file) = listing.forms.first().copied()?;
    if file.size > COMPRESSED_BYTES_MAX {
        return None;
    }
    let label = format!("contents of {suite}");
    context.progress.detail(Stage::Resolve, label.clone());
    let request = FetchBlob {
        urls: addresses(context, snapshot, form, file),
        digest: file.sha256,
        size: file.size,
        label,
    };
    let compressed = archive::fetched(context, &request);
    let compressed = compressed.inspect_err(|error| tracing::debug!(%suite, ?error, "no list of contents"));
    let mut reader = Reader::default();
    let unpacked = unpack(&compressed.ok()?, form, listing.index, |piece| reader.feed(piece));
    if let Err(error) = unpacked {
        tracing::warn!(%suite, ?error, "the list of contents is not what was signed");
        return None;
    }
    Some(reader.finish())
}

fn addresses(context: &Context, snapshot: &SuiteSnapshot, form: Form, file: ListedFile) -> Vec<url::Url> {
    let mirrors = context.sources.mirrors(snapshot.suite);
    let (suite, contents) = (snapshot.suite.distribution(), release::contents(snapshot.suite));
    let folder = contents.rsplit_once('/').map_or("", |(folder, _)| folder);
    let by_hash = format!("dists/{suite}/{folder}/by-hash/SHA256/{}", file.sha256.hex());
    let by_name = format!("dists/{suite}/{contents}{}", form.suffix());
    let by_hash = mirrors
        .iter()
        .filter(|_| snapshot.signed.release.by_hash)
        .map(|mirror| below(mirror, &by_hash));
    by_hash
        .chain(mirrors.iter().map(|mirror| below(mirror, &by_name)))
        .collect()
}

/// Takes the lines of libraries out of a list of contents, however it is cut.
#[derive(Default)]
struct Reader {
    rest: Vec<u8>,
    lines: Vec<Vec<u8>>,
}

impl Reader {
    fn feed(&mut self, piece: &[u8]) {
        let mut lines = piece.split(|byte| *byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        for line in lines {
            if self.rest.is_empty() {
                self.lines.extend(library_line(line));
            } else {
                self.extend(line);
                let line = std::mem::take(&mut self.rest);
                self.lines.extend(library_line(&line));
            }
        }
        self.extend(last);
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.rest.len());
        self.rest.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn finish(mut self) -> Vec<u8> {
        self.lines.extend(library_line(&std::mem::take(&mut self.rest)));
        self.lines.sort_unstable();
        self.lines.join(&b'\n')
    }
}

/// `usr/lib/x86_64-linux-gnu/libz.so.1  libs/zlib1g` as it is kept.
fn library_line(line: &[u8]) -> Option<Vec<u8>> {
    let path = FOLDERS.iter().find_map(|folder| line.strip_prefix(*folder))?;
    let space = memchr::memchr2(b' ', b'\t', path)?;
    let (name, packages) = (&path[..space], path[space..].trim_ascii());
    if name.contains(&b'/') || memchr::memmem::find(name, b".so").is_none() {
        return None;
    }
    let packages = packages.split(|byte| *byte == b',');
    let packages = packages.map(|package| package.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
    let packages: Vec<&[u8]> = packages.collect();
    Some([name, b"\t", &packages.join(&b',')].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "bin/sh shells/dash\n\
        usr/lib/x86_64-linux-gnu/libGL.so.1                 libs/libgl1\n\
        usr/lib/x86_64-linux-gnu/libGL.so.1.7.0\tlibs/libgl1\n\
        usr/lib/x86_64-linux-gnu/blas/libblas.so.3 libs/libblas3\n\
        usr/lib/libtwo.so.2 non-free/libs/libtwo2,libs/libtwo2-other\n\
        usr/share/doc/a.so.txt doc/a";

    #[test]
    fn libraries_where_the_loader_looks_are_kept_however_the_text_is_cut() {
        let mut whole = Reader::default();
        whole.feed(TEXT.as_bytes());
        let whole = whole.finish();
        for length in 1..TEXT.len() {
            let mut reader = Reader::default();
            TEXT.as_bytes()
                .chunks(length)
                .for_each(|piece| reader.feed(piece));
            assert_eq!(reader.finish(), whole, "pieces of {length} bytes");
        }
        let libraries = Libraries {
            text: Arc::new(whole),
        };
        let names = |library: &str| {
            let packages = libraries.packages(library);
            packages.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names("libGL.so.1"), ["libgl1"]);
        assert_eq!(names("libtwo.so.2"), ["libtwo2", "libtwo2-other"]);
        assert!(names("libblas.so.3").is_empty() && names("libGL.so").is_empty());
    }

    #[test]
    fn a_line_without_end_is_not_collected() {
        let mut reader = Reader::default();
        for _ in 0..100 {
            reader.feed(&[b'x'; 4096]);
        }
        assert!(reader.rest.len() <= LINE_BYTES_MAX);
    }
}
