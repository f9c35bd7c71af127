//! One project's page of a simple index: reading it (PEP 691, PEP 700, PEP 658, PEP 592) and the reduced form
//! that the resolver works with and the cache keeps.
//!
//! A raw page of a big project is megabytes of JSON; the reduced form has one line for each version, with the
//! one file that the target may have or the reason why it may have none.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::FromStr as _;

use cooper_core::plan::ProjectFacts;
use cooper_core::python::DistributionVersion;
use cooper_core::{BlobDigest, Digest, PythonName, Timestamp};
use serde::Deserialize;
use url::Url;
use uv_distribution_filename::WheelFilename;

use super::html;
use super::policy::{self, Exclusion};
use super::target::Target;
use crate::address::public;

/// The first line of a reduced page. Change it whenever the form or the policy that makes it changes.
const FORM: &str = "cooper-python-page 4";
/// The last line, without which a page is cut off.
const END: &str = "end\n";
/// How many files one project may have.
const FILES_MAX: usize = 300_000;
/// How many characters of a reason or a URL are kept.
const TEXT_MAX: usize = 2_000;

/// One file as the index describes it.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) filename: String,
    pub(crate) url: Url,
    pub(crate) size: Option<u64>,
    pub(crate) sha256: Option<Digest>,
    pub(crate) metadata: SideMetadata,
    pub(crate) requires_python: Option<String>,
    /// Withdrawn, with the reason.
    pub(crate) yanked: Option<String>,
    /// When the index took it in (PEP 700), to the second.
    pub(crate) uploaded: Option<Timestamp>,
}

/// Whether the metadata lies beside the wheel (PEP 658).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SideMetadata {
    /// Not advertised: it has to be read from the wheel.
    None,
    /// Advertised with its hash. Without one it is not used: nothing could tell a wrong answer.
    Sha256(Digest),
}

/// A distribution archive that the target may have: a wheel, or sources that are built to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    pub(crate) filename: String,
    pub(crate) url: Url,
    pub(crate) size: Option<u64>,
    pub(crate) sha256: Option<Digest>,
    pub(crate) metadata: SideMetadata,
    pub(crate) yanked: Option<String>,
    pub(crate) uploaded: Option<Timestamp>,
}

impl Archive {
    /// Sources, which are built to a wheel before they can be installed.
    pub(crate) fn is_source(&self) -> bool {
        WheelFilename::from_str(&self.filename).is_err()
    }
}

impl From<File> for Archive {
    fn from(file: File) -> Self {
        let File {
            filename,
            url,
            size,
            sha256,
            metadata,
            yanked,
            uploaded,
            ..
        } = file;
        Self {
            filename,
            url,
            size,
            sha256,
            metadata,
            yanked,
            uploaded,
        }
    }
}

/// What the target can have of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offer {
    Wheel(Box<Archive>),
    /// No wheel that fits, but sources.
    Source(Box<Archive>),
    Excluded(Exclusion),
}

/// One version of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    pub(crate) version: DistributionVersion,
    pub(crate) offer: Offer,
}

/// A project's page, reduced for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    /// Of the bytes that the index sent; of nothing when it has no such project.
    pub(crate) digest: BlobDigest,
    pub(crate) fetched_at: Timestamp,
    /// The index has the project.
    pub(crate) exists: bool,
    /// Which of the configured indexes it is of, by position. Not kept: the cache knows a page by its index.
    pub(crate) index: usize,
    /// Newest version first.
    pub(crate) releases: Vec<Release>,
}

impl Page {
    /// The page of a project that the index does not have.
    pub(crate) fn missing(fetched_at: Timestamp) -> Self {
        Self {
            digest: BlobDigest::of(b""),
            fetched_at,
            exists: false,
            index: 0,
            releases: vec![],
        }
    }

    /// Reduce the files of a raw page.
    pub(crate) fn reduce(
        name: &PythonName,
        files: Vec<File>,
        digest: BlobDigest,
        fetched_at: Timestamp,
        target: &Target,
    ) -> Self {
        let releases = policy::releases(name, files, target);
        Self {
            digest,
            fetched_at,
            exists: true,
            index: 0,
            releases,
        }
    }

    /// When each of its archives was taken in, where the index tells.
    pub(crate) fn uploaded(&self) -> impl Iterator<Item = Timestamp> {
        self.releases.iter().filter_map(|release| match &release.offer {
            Offer::Wheel(archive) | Offer::Source(archive) => archive.uploaded,
            Offer::Excluded(_) => None,
        })
    }

    /// What the page tells of the project.
    pub(crate) fn project(&self) -> ProjectFacts {
        ProjectFacts {
            first: self.uploaded().min(),
            newest: self.uploaded().max(),
            releases: u32::try_from(self.releases.len()).ok(),
            authors: None,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(releases: Vec<Release>) -> Self {
        let digest = BlobDigest::of(b"test");
        Self {
            digest,
            fetched_at: Timestamp::UNIX_EPOCH,
            exists: true,
            index: 0,
            releases,
        }
    }
}

/// Read a raw page, JSON (PEP 691) or HTML (PEP 503).
///
/// # Errors
/// The first fault, as the end of a sentence.
pub(crate) fn read_files(bytes: &[u8], content_type: Option<&str>, url: &Url) -> Result<Vec<File>, String> {
    let declared_json = content_type.is_some_and(|kind| kind.contains("json"));
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let files = if declared_json || first == Some(&b'{') {
        read_json(bytes, url)?
    } else {
        html::read(bytes, url)?
    };
    if files.len() > FILES_MAX {
        return Err(format!("it lists more than {FILES_MAX} files"));
    }
    Ok(files)
}

#[derive(Deserialize)]
struct RawPage<'a> {
    #[serde(borrow)]
    files: Vec<RawFile<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawFile<'a> {
    #[serde(borrow)]
    filename: Cow<'a, str>,
    #[serde(borrow)]
    url: Cow<'a, str>,
    #[serde(default, borrow)]
    hashes: RawHashes<'a>,
    #[serde(default, borrow)]
    requires_python: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default, borrow)]
    yanked: Option<RawYanked<'a>>,
    #[serde(default, borrow)]
    core_metadata: Option<RawSide<'a>>,
    #[serde(default, borrow)]
    dist_info_metadata: Option<RawSide<'a>>,
    #[serde(default, borrow)]
    upload_time: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct RawHashes<'a> {
    #[serde(default, borrow)]
    sha256: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawYanked<'a> {
    Is(bool),
    Because(#[serde(borrow)] Cow<'a, str>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawSide<'a> {
    Is(#[expect(dead_code, reason = "advertised without a hash is not used")] bool),
    Hashes(#[serde(borrow)] RawHashes<'a>),
}

fn read_json(bytes: &[u8], page: &Url) -> Result<Vec<File>, String> {
    let raw: RawPage = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let files = raw.files.into_iter().filter_map(|file| {
        let side = file.core_metadata.or(file.dist_info_metadata);
        let side_hash = match &side {
            Some(RawSide::Hashes(hashes)) => hashes.sha256.as_deref(),
            _ => None,
        };
        Some(File {
            url: file_url(page, &file.url)?,
            filename: file.filename.into_owned(),
            size: file.size,
            sha256: file.hashes.sha256.and_then(|hex| Digest::from_hex(&hex).ok()),
            metadata: side_metadata(side_hash),
            requires_python: file
                .requires_python
                .map(Cow::into_owned)
                .filter(|text| !text.trim().is_empty()),
            yanked: match file.yanked {
                Some(RawYanked::Is(true)) => Some(String::new()),
                Some(RawYanked::Because(reason)) => Some(one_line(&reason)),
                Some(RawYanked::Is(false)) | None => None,
            },
            uploaded: file.upload_time.as_deref().and_then(whole_seconds),
        })
    });
    Ok(files.collect())
}

/// A time of the index without its fraction of a second. One that cannot be read is none.
fn whole_seconds(text: &str) -> Option<Timestamp> {
    let time: Timestamp = text.parse().ok()?;
    Timestamp::from_second(time.as_second()).ok()
}

/// The metadata's hash, where there is one.
pub(super) fn side_metadata(sha256: Option<&str>) -> SideMetadata {
    sha256
        .and_then(|hex| Digest::from_hex(hex).ok())
        .map_or(SideMetadata::None, SideMetadata::Sha256)
}

/// A file's address, which may be relative to the page; only HTTP. The fragment, a hash, is left out, and so are
/// user name and password: it is kept.
pub(super) fn file_url(page: &Url, text: &str) -> Option<Url> {
    let mut url = public(&page.join(text).ok()?);
    url.set_fragment(None);
    (matches!(url.scheme(), "http" | "https") && url.as_str().len() <= TEXT_MAX).then_some(url)
}

/// A text from outside as one short line: control characters become spaces.
pub(super) fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let line: String = plain.take(300).collect();
    line.trim().to_owned()
}

/// Write a reduced page.
pub(crate) fn encode(page: &Page) -> Vec<u8> {
    let mut text = format!("{FORM}\n{}\t{}\t{}\n", page.digest, page.fetched_at, page.exists);
    for release in &page.releases {
        let _ = write!(text, "{}\t", release.version);
        match &release.offer {
            Offer::Wheel(wheel) => encode_archive(&mut text, "wheel", wheel),
            Offer::Source(source) => encode_archive(&mut text, "source", source),
            Offer::Excluded(reason) => encode_exclusion(&mut text, reason),
        }
        text.push('\n');
    }
    text.push_str(END);
    text.into_bytes()
}

fn encode_archive(text: &mut String, kind: &str, archive: &Archive) {
    let url = archive.url.as_str();
    let directory = url
        .strip_suffix(archive.filename.as_str())
        .filter(|rest| rest.ends_with('/'));
    let size = archive.size.map(|size| size.to_string()).unwrap_or_default();
    let sha256 = archive.sha256.map(|digest| digest.hex()).unwrap_or_default();
    let beside = match archive.metadata {
        SideMetadata::None => String::new(),
        SideMetadata::Sha256(digest) => digest.hex(),
    };
    let yanked = archive
        .yanked
        .as_ref()
        .map(|reason| format!("!{}", one_line(reason)))
        .unwrap_or_default();
    let uploaded = archive
        .uploaded
        .map(|time| time.as_second().to_string())
        .unwrap_or_default();
    let _ = write!(
        text,
        "{kind}\t{}\t{}\t{size}\t{sha256}\t{beside}\t{uploaded}\t{yanked}",
        archive.filename,
        directory.unwrap_or(url)
    );
}

fn encode_exclusion(text: &mut String, reason: &Exclusion) {
    let _ = match reason {
        Exclusion::NoFiles => write!(text, "none\t"),
        Exclusion::SourceOnly(form) => write!(text, "sources\t{}", one_line(form)),
        Exclusion::Tags(tags) => write!(text, "tags\t{}", one_line(tags)),
        Exclusion::RequiresPython(wanted) => write!(text, "python\t{}", one_line(wanted)),
    };
}

/// Read what [`encode`] wrote; nothing if it is of another form or damaged.
pub(crate) fn decode(bytes: &[u8]) -> Option<Page> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.strip_suffix(END)?.lines();
    if lines.next() != Some(FORM) {
        return None;
    }
    let mut head = lines.next()?.split('\t');
    let digest = head.next()?.parse().ok()?;
    let fetched_at = head.next()?.parse().ok()?;
    let exists = head.next()?.parse().ok()?;
    let releases = lines.map(decode_release).collect::<Option<Vec<_>>>()?;
    Some(Page {
        digest,
        fetched_at,
        exists,
        index: 0,
        releases,
    })
}

fn decode_release(line: &str) -> Option<Release> {
    let (version, rest) = line.split_once('\t')?;
    let (kind, rest) = rest.split_once('\t')?;
    let offer = match kind {
        "wheel" => Offer::Wheel(Box::new(decode_archive(rest)?)),
        "source" => Offer::Source(Box::new(decode_archive(rest)?)),
        "none" => Offer::Excluded(Exclusion::NoFiles),
        "sources" => Offer::Excluded(Exclusion::SourceOnly(rest.to_owned())),
        "tags" => Offer::Excluded(Exclusion::Tags(rest.to_owned())),
        "python" => Offer::Excluded(Exclusion::RequiresPython(rest.to_owned())),
        _ => return None,
    };
    Some(Release {
        version: version.parse().ok()?,
        offer,
    })
}

fn decode_archive(text: &str) -> Option<Archive> {
    let mut fields = text.split('\t');
    let filename = fields.next()?.to_owned();
    let url = fields.next()?;
    let url = if url.ends_with('/') {
        Url::parse(&format!("{url}{filename}"))
    } else {
        Url::parse(url)
    };
    let size = optional(fields.next()?, |text| text.parse().ok())?;
    let sha256 = optional(fields.next()?, |hex| Digest::from_hex(hex).ok())?;
    let beside = optional(fields.next()?, |hex| Digest::from_hex(hex).ok())?;
    let uploaded = optional(fields.next()?, |text| {
        Timestamp::from_second(text.parse().ok()?).ok()
    })?;
    let yanked = fields.next()?.strip_prefix('!').map(str::to_owned);
    let metadata = beside.map_or(SideMetadata::None, SideMetadata::Sha256);
    Some(Archive {
        filename,
        url: url.ok()?,
        size,
        sha256,
        metadata,
        yanked,
        uploaded,
    })
}

/// An empty field is an absent value; a field that cannot be read is a fault (the outer nothing).
#[expect(clippy::option_option, reason = "absent and damaged are different answers")]
fn optional<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    if text.is_empty() {
        Some(None)
    } else {
        parse(text).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use cooper_core::Base;

    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn address() -> Url {
        "https://index.test/simple/a/".parse().unwrap()
    }

    fn reduced(json: &str) -> Page {
        let files = read_files(
            json.as_bytes(),
            Some("application/vnd.pypi.simple.v1+json"),
            &address(),
        )
        .unwrap();
        let target = Target::new(Base::Trixie).unwrap();
        Page::reduce(
            &"a".parse().unwrap(),
            files,
            BlobDigest::of(json.as_bytes()),
            Timestamp::UNIX_EPOCH,
            &target,
        )
    }

    fn sample() -> Page {
        reduced(&format!(
            r#"{{"meta":{{"api-version":"1.1"}},"name":"a","files":[
            {{"filename":"a-1-py3-none-any.whl","url":"../../files/a-1-py3-none-any.whl#sha256=00","hashes":{{"sha256":"{HASH}"}},
              "size":7,"yanked":false,"requires-python":">=3","upload-time":"2024-05-06T07:08:09.123456Z","core-metadata":{{"sha256":"{HASH}"}},"new-field":[1]}},
            {{"filename":"a-2-py3-none-any.whl","url":"https://files.test/x?y","hashes":{{"md5":"0"}},"yanked":"bad\nthing"}},
            {{"filename":"a-3.tar.gz","url":"a-3.tar.gz","hashes":{{}},"yanked":true}},
            {{"filename":"a-4-cp39-cp39-win32.whl","url":"a","hashes":{{}}}},
            {{"filename":"a-5-py3-none-any.whl","url":"a","hashes":{{}},"requires-python":"<3.9"}}]}}"#
        ))
    }

    #[test]
    fn pages_are_reduced_to_one_offer_a_version() {
        let page = sample();
        let versions: Vec<String> = page.releases.iter().map(|one| one.version.to_string()).collect();
        assert_eq!(versions, ["5", "4", "3", "2", "1"]);
        let Offer::Wheel(wheel) = &page.releases[4].offer else {
            panic!("{page:?}")
        };
        assert_eq!(
            wheel.url.as_str(),
            "https://index.test/files/a-1-py3-none-any.whl"
        );
        assert_eq!(
            (wheel.size, wheel.sha256.unwrap().hex().as_str()),
            (Some(7), HASH)
        );
        assert_eq!(wheel.uploaded, "2024-05-06T07:08:09Z".parse().ok());
        assert_eq!(
            wheel.metadata,
            SideMetadata::Sha256(Digest::from_hex(HASH).unwrap())
        );
        let Offer::Wheel(wheel) = &page.releases[3].offer else {
            panic!("{page:?}")
        };
        assert_eq!((wheel.yanked.as_deref(), wheel.sha256), (Some("bad thing"), None));
        assert_eq!(
            page.releases[2].offer,
            Offer::Excluded(Exclusion::SourceOnly("the index has no SHA-256 of".to_owned()))
        );
        assert_eq!(
            page.releases[1].offer,
            Offer::Excluded(Exclusion::Tags("cp39-cp39-win32".to_owned()))
        );
        assert_eq!(
            page.releases[0].offer,
            Offer::Excluded(Exclusion::RequiresPython("<3.9".to_owned()))
        );
    }

    #[test]
    fn reduced_pages_round_trip() {
        let page = sample();
        assert_eq!(decode(&encode(&page)), Some(page));
        let missing = Page::missing(Timestamp::UNIX_EPOCH);
        assert_eq!(decode(&encode(&missing)), Some(missing));
    }

    #[test]
    fn damaged_reduced_pages_are_nothing() {
        let good = encode(&sample());
        for cut in 0..good.len() {
            assert_eq!(decode(&good[..cut]), None, "cut at {cut}");
        }
        assert_eq!(decode(b"cooper-python-page 0\n"), None);
        assert_eq!(decode(&[0xff; 40]), None);
    }

    #[test]
    fn pages_that_are_neither_json_nor_html_are_refused() {
        let table: [(&[u8], Option<&str>); 5] = [
            (b"{", Some("application/json")),
            (b"[]", Some("application/vnd.pypi.simple.v1+json")),
            (b"{\"files\":{}}", None),
            (b"{\"files\":[{\"filename\":1}]}", None),
            (b"\xff\xfe\x00", Some("application/octet-stream")),
        ];
        for (bytes, content_type) in table {
            assert!(read_files(bytes, content_type, &address()).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn files_elsewhere_than_on_http_are_left_out() {
        let json =
            r#"{"files":[{"filename":"a-1-py3-none-any.whl","url":"file:///etc/passwd","hashes":{}}]}"#;
        assert!(reduced(json).releases.is_empty());
    }

    #[test]
    fn ten_thousand_versions_are_read() {
        let file = |n: u32| {
            format!(
                r#"{{"filename":"a-{n}.0.{n}-py3-none-any.whl","url":"a-{n}.0.{n}-py3-none-any.whl","hashes":{{}}}}"#
            )
        };
        let files: Vec<String> = (0..10_000).map(file).collect();
        let page = reduced(&format!(r#"{{"files":[{}]}}"#, files.join(",")));
        assert_eq!(page.releases.len(), 10_000);
        assert_eq!(page.releases[0].version.to_string(), "9999.0.9999");
        assert_eq!(decode(&encode(&page)), Some(page));
    }
}
