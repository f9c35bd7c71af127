//! Pages and metadata: each is read once, from the store's cache or from the index.
//!
//! What is read does not depend on who reads first: the solver and the threads that read ahead of it share
//! one cell for each page and each wheel, and a failure ahead of time is forgotten, so that only the solver's
//! own reads decide.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cooper_core::python::DistributionVersion;
use cooper_core::{Base, BlobDigest, Digest, PythonName, Timestamp};
use cooper_gate::Known;
use cooper_store::{FetchBytes, FetchError, Intake, Range, Store};
use url::Url;

use super::ahead::Queue;
use super::built::BuildTarget;
use super::error::PythonError;
use super::listed;
use super::metadata::{self, METADATA_BYTES_MAX, Metadata};
use super::page::{self, Archive, File, Page, SideMetadata};
use super::sources::SourceFacts;
use super::tail::{self, Part, TailError, Wanted};
use super::target::Target;
use super::wishes::Wishes;
use crate::address::public;
use crate::context::{Context, Freshness};

/// How large a raw page may be. The largest of the public index's are below 20 MB.
const PAGE_BYTES_MAX: u64 = 96 * 1024 * 1024;
/// How much of a wheel is read from a server that does not send parts.
const WHOLE_WHEEL_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// JSON first (PEP 691), HTML where an index has only that (PEP 503).
const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";
/// The cache's kinds.
const PAGES: &str = "python-page";
const METADATA: &str = "python-metadata";
/// Why a wheel is not used whose end is not where the index says.
const OTHER_SIZE: &str = "has another size than the index says";
/// The first word of a cached METADATA.
const METADATA_FORM: &str = "cooper-python-metadata-2";

/// A wheel's metadata, or why the wheel cannot be used, to follow its version in a sentence.
pub(crate) type Reading = Result<Metadata, String>;

/// What was read of one archive.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) reading: Reading,
    /// The wheel's size, where it is known from reading it.
    pub(crate) size: Option<u64>,
    /// What stands in the place of a wheel.
    pub(crate) source: Option<SourceFacts>,
    /// It was not read, since the gates would refuse it.
    pub(crate) passed_over: bool,
}

impl Facts {
    /// A reading, of an archive of this size where it is known.
    pub(super) fn new(reading: Reading, size: Option<u64>) -> Self {
        Self {
            reading,
            size,
            source: None,
            passed_over: false,
        }
    }
}

type Cell<T> = Arc<Mutex<Option<Arc<T>>>>;

/// Reads pages and metadata, each once. Shared with the threads that read ahead.
pub(crate) struct Net {
    pub(super) store: Store,
    pub(super) intake: Intake,
    indexes: Vec<Url>,
    pub(crate) target: Target,
    /// The other targets, for which a fetched page is reduced too.
    others: Vec<Target>,
    pub(crate) wishes: Wishes,
    pub(super) freshness: Freshness,
    pub(super) known: Option<Arc<Known>>,
    /// What the gates would refuse is passed over.
    pub(super) pass_over: bool,
    /// Projects whose young releases are refused whatever they fix.
    pub(super) barred: Mutex<BTreeSet<PythonName>>,
    /// How sources are built.
    pub(super) build: BuildTarget,
    pages: Mutex<BTreeMap<PythonName, Cell<Page>>>,
    archives: Mutex<BTreeMap<String, Cell<Facts>>>,
    pub(super) queue: Queue,
}

/// A poisoned lock still holds whole values: every write to a cell is one assignment.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Net {
    pub(crate) fn new(context: &Context, target: Target, wishes: Wishes, build: BuildTarget) -> Arc<Self> {
        let others = Base::ALL
            .into_iter()
            .filter(|base| *base != target.base)
            .filter_map(Target::new);
        Arc::new(Self {
            store: context.store.clone(),
            intake: context.intake.clone(),
            indexes: context.sources.python_indexes.clone(),
            others: others.collect(),
            target,
            wishes,
            freshness: context.freshness,
            known: context.known.cloned(),
            pass_over: context.pass_over,
            barred: Mutex::default(),
            build,
            pages: Mutex::default(),
            archives: Mutex::default(),
            queue: Queue::default(),
        })
    }

    /// A project's page.
    pub(crate) fn page(&self, name: &PythonName) -> Result<Arc<Page>, PythonError> {
        let cell = locked(&self.pages).entry(name.clone()).or_default().clone();
        let mut slot = locked(&cell);
        if let Some(page) = &*slot {
            return Ok(page.clone());
        }
        if let Some(installed) = self.wishes.installed.get(name) {
            let page = Arc::new(installed.page(self.store.clock().now()));
            *slot = Some(page.clone());
            return Ok(page);
        }
        let admission = self.wishes.admission(name);
        let page = self.first_page(name)?;
        let index = self.index(page.index)?;
        let page = listed::with_listed_files(page, admission, |hashes| self.load_listed(index, name, hashes));
        let page = Arc::new(page?);
        *slot = Some(page.clone());
        Ok(page)
    }

    /// What one archive's metadata says.
    ///
    /// # Errors
    /// When it cannot be read; [`PythonError::Unbuilt`] for sources whose metadata only a build tells.
    pub(crate) fn facts(
        &self,
        name: &PythonName,
        version: &DistributionVersion,
        archive: &Archive,
    ) -> Result<Arc<Facts>, PythonError> {
        if let Some(installed) = self.wishes.installed.get(name) {
            return Ok(installed.facts());
        }
        if let Some(reason) = self.refusal(name, version, archive) {
            return Ok(Arc::new(Facts {
                passed_over: true,
                ..Facts::new(Err(reason), None)
            }));
        }
        let key = Self::wheel_key(self.index(self.page(name)?.index)?, archive);
        let cell = locked(&self.archives).entry(key.clone()).or_default().clone();
        let mut slot = locked(&cell);
        if let Some(facts) = &*slot {
            return Ok(facts.clone());
        }
        let facts = Arc::new(if archive.is_source() {
            self.load_source(name, version, archive)?
        } else {
            self.load_wheel(&key, name, version, archive)?
        });
        *slot = Some(facts.clone());
        Ok(facts)
    }

    /// The page of the first index that has the project. Only an index that says that it does not have it is passed
    /// over: whoever can make another one fail must not choose where a name comes from.
    fn first_page(&self, name: &PythonName) -> Result<Page, PythonError> {
        let mut fetched_at = Timestamp::MAX;
        let mut last = None;
        for (at, index) in self.indexes.iter().enumerate() {
            let mut page = self.load_page(index, name)?;
            // What comes from a later index rests on what the earlier ones did not have.
            fetched_at = fetched_at.min(page.fetched_at);
            (page.index, page.fetched_at) = (at, fetched_at);
            if page.exists {
                return Ok(page);
            }
            last = Some(page);
        }
        last.ok_or(PythonError::NoIndex)
    }

    fn index(&self, at: usize) -> Result<&Url, PythonError> {
        self.indexes.get(at).ok_or(PythonError::NoIndex)
    }

    /// The root of the index that a project is of.
    pub(super) fn index_of(&self, name: &PythonName) -> Result<Option<Url>, PythonError> {
        let page = self.page(name)?;
        self.index(page.index).map(|index| Some(public(index)))
    }

    fn load_page(&self, index: &Url, name: &PythonName) -> Result<Page, PythonError> {
        let cached = self.store.cache_get(PAGES, &page_key(index, name, &self.target));
        let cached = cached.and_then(|cached| page::decode(&cached.bytes));
        if let Some(page) = cached.filter(|page| self.is_fresh(page.fetched_at)) {
            return Ok(page);
        }
        if self.freshness.offline {
            return Err(PythonError::Offline {
                what: format!("the Python index's page of `{name}`"),
            });
        }
        self.fetch_page(index, name)
    }

    /// The page of a project with only the files that have one of these hashes.
    fn load_listed(
        &self,
        index: &Url,
        name: &PythonName,
        hashes: &BTreeSet<Digest>,
    ) -> Result<Page, PythonError> {
        let list: Vec<String> = hashes.iter().map(ToString::to_string).collect();
        let key = format!(
            "{}\n{}",
            page_key(index, name, &self.target),
            Digest::of(list.join("\n").as_bytes())
        );
        let cached = self.store.cache_get(PAGES, &key);
        let cached = cached.and_then(|cached| page::decode(&cached.bytes));
        if let Some(page) = cached.filter(|page| self.is_fresh(page.fetched_at)) {
            return Ok(page);
        }
        if self.freshness.offline {
            return Err(PythonError::Offline {
                what: format!("the files of `{name}` whose hashes the request lists"),
            });
        }
        let fetched_at = self.store.clock().now();
        let page = match self.fetch_files(index, name)? {
            None => Page::missing(fetched_at),
            Some((mut files, digest)) => {
                files.retain(|file| file.sha256.is_some_and(|sha256| hashes.contains(&sha256)));
                Page::reduce(name, files, digest, fetched_at, &self.target)
            }
        };
        self.keep(PAGES, &key, &page::encode(&page));
        Ok(page)
    }

    /// Young enough to be used as it is.
    pub(crate) fn is_fresh(&self, fetched_at: Timestamp) -> bool {
        self.freshness.holds(fetched_at, self.store.clock().now())
    }

    fn fetch_page(&self, index: &Url, name: &PythonName) -> Result<Page, PythonError> {
        let fetched_at = self.store.clock().now();
        let Some((files, digest)) = self.fetch_files(index, name)? else {
            let page = Page::missing(fetched_at);
            self.keep_page(index, name, &self.target, &page);
            return Ok(page);
        };
        for other in &self.others {
            self.keep_page(
                index,
                name,
                other,
                &Page::reduce(name, files.clone(), digest, fetched_at, other),
            );
        }
        let page = Page::reduce(name, files, digest, fetched_at, &self.target);
        self.keep_page(index, name, &self.target, &page);
        Ok(page)
    }

    /// The files of a raw page and its digest; none when the index has no such project.
    fn fetch_files(
        &self,
        index: &Url,
        name: &PythonName,
    ) -> Result<Option<(Vec<File>, BlobDigest)>, PythonError> {
        let url = project_url(index, name)?;
        let wanted = FetchBytes {
            urls: vec![url],
            bytes_max: PAGE_BYTES_MAX,
            accept: Some(ACCEPT.to_owned()),
            label: format!("the Python index's page of {name}"),
        };
        let fetched = match self.intake.fetch_bytes(&wanted) {
            Ok(fetched) => fetched,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(source) => {
                return Err(PythonError::Fetch {
                    name: name.clone(),
                    source,
                });
            }
        };
        let files = page::read_files(&fetched.bytes, fetched.content_type.as_deref(), &fetched.url);
        let files = files.map_err(|reason| PythonError::Page {
            name: name.clone(),
            url: public(&fetched.url),
            reason,
        })?;
        Ok(Some((files, BlobDigest::of(&fetched.bytes))))
    }

    fn keep_page(&self, index: &Url, name: &PythonName, target: &Target, page: &Page) {
        self.keep(PAGES, &page_key(index, name, target), &page::encode(page));
    }

    /// A cache that cannot be written makes the next resolution slower, and nothing else.
    pub(super) fn keep(&self, kind: &str, key: &str, bytes: &[u8]) {
        if let Err(error) = self.store.cache_put(kind, key, bytes) {
            tracing::warn!(
                kind,
                key,
                error = &error as &dyn std::error::Error,
                "cannot cache"
            );
        }
    }

    fn load_wheel(
        &self,
        key: &str,
        name: &PythonName,
        version: &DistributionVersion,
        wheel: &Archive,
    ) -> Result<Facts, PythonError> {
        let cached = self.store.cache_get(METADATA, key);
        if let Some(raw) = cached.and_then(|cached| RawFacts::decode(&cached.bytes)) {
            return Ok(raw.facts(name, version));
        }
        if self.freshness.offline {
            return Err(PythonError::Offline {
                what: format!("the metadata of {}", wheel.filename),
            });
        }
        let failed = |source| PythonError::Metadata {
            filename: wheel.filename.clone(),
            source,
        };
        let raw = self.fetch_metadata(name, wheel).map_err(failed)?;
        self.keep(METADATA, key, &raw.encode());
        Ok(raw.facts(name, version))
    }

    fn fetch_metadata(&self, name: &PythonName, wheel: &Archive) -> Result<RawFacts, FetchError> {
        if let SideMetadata::Sha256(expected) = wheel.metadata
            && let Some(raw) = self.fetch_side_metadata(wheel, &expected)?
        {
            return Ok(raw);
        }
        let read = |wanted| self.fetch_part(wheel, wanted);
        let broken = |reason: &str| {
            Ok(RawFacts {
                size: None,
                content: Err(reason.to_owned()),
            })
        };
        match tail::read_metadata(name, &read) {
            Ok((_, size)) if wheel.size.is_some_and(|claimed| claimed != size) => broken(OTHER_SIZE),
            Ok((bytes, size)) => Ok(RawFacts {
                size: Some(size),
                content: Ok(metadata::reduce(&bytes)),
            }),
            Err(TailError::Broken(reason)) => broken(&reason),
            Err(TailError::Fetch(error)) if error.is_not_found() => {
                broken("is listed, but its file is not there")
            }
            Err(TailError::Fetch(FetchError::Status { status: 416, .. })) => broken(OTHER_SIZE),
            Err(TailError::Fetch(error)) => Err(error),
        }
    }

    /// The file beside the wheel (PEP 658); nothing if it is not there after all.
    fn fetch_side_metadata(
        &self,
        wheel: &Archive,
        expected: &Digest,
    ) -> Result<Option<RawFacts>, FetchError> {
        let mut url = wheel.url.clone();
        url.set_path(&format!("{}.metadata", wheel.url.path()));
        let wanted = FetchBytes {
            urls: vec![url],
            bytes_max: METADATA_BYTES_MAX,
            accept: None,
            label: format!("the metadata of {}", wheel.filename),
        };
        let bytes = match self.intake.fetch_bytes(&wanted) {
            Ok(fetched) => fetched.bytes,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let content = if Digest::of(&bytes) == *expected {
            Ok(metadata::reduce(&bytes))
        } else {
            Err("has a metadata file whose hash is not the one that the index gives".to_owned())
        };
        Ok(Some(RawFacts { size: None, content }))
    }

    /// A wheel's metadata is known by the index that speaks for it, by the hash of the metadata where the index has
    /// one beside the wheel, and by the wheel's hash, else by where it is. What one index says of a wheel is nothing
    /// to another: the hashes are its own claims until the wheel itself is here.
    fn wheel_key(index: &Url, wheel: &Archive) -> String {
        let wheel_name = wheel
            .sha256
            .map_or_else(|| wheel.url.to_string(), |digest| digest.hex());
        let beside = match &wheel.metadata {
            SideMetadata::Sha256(digest) => digest.hex(),
            SideMetadata::None => "in the wheel".to_owned(),
        };
        format!("{}\n{beside}\n{wheel_name}", public(index))
    }

    /// A wheel's size where the index does not say it.
    pub(crate) fn size(&self, wheel: &Archive) -> Result<u64, PythonError> {
        if self.freshness.offline {
            return Err(PythonError::Offline {
                what: format!("the size of {}", wheel.filename),
            });
        }
        let failed = |source| PythonError::Metadata {
            filename: wheel.filename.clone(),
            source,
        };
        Ok(self.fetch_part(wheel, Wanted::Last(1)).map_err(failed)?.total)
    }

    fn fetch_part(&self, wheel: &Archive, wanted: Wanted) -> Result<Part, FetchError> {
        let range = match (wanted, wheel.size) {
            (Wanted::Last(length), Some(size)) => Range::From {
                start: size.saturating_sub(length),
                len: length.min(size),
            },
            (Wanted::Last(length), None) => Range::Last(length),
            (Wanted::From { start, length }, _) => Range::From { start, len: length },
        };
        let reply = self
            .intake
            .fetch_range(&wheel.url, range, WHOLE_WHEEL_BYTES_MAX)?;
        let end = reply.start + reply.bytes.len() as u64;
        let total = if reply.whole {
            end
        } else {
            reply.total.or(wheel.size).unwrap_or(end)
        };
        Ok(Part {
            bytes: reply.bytes,
            start: reply.start,
            total,
        })
    }
}

/// What the cache knows a reduced page by.
fn page_key(index: &Url, name: &PythonName, target: &Target) -> String {
    format!("{}\n{}\n{name}", public(index), target.base)
}

/// Where the page of a project is.
fn project_url(index: &Url, name: &PythonName) -> Result<Url, PythonError> {
    let mut url = index.clone();
    let wrong = || PythonError::IndexUrl { url: public(index) };
    url.path_segments_mut()
        .map_err(|()| wrong())?
        .pop_if_empty()
        .push(name.as_str())
        .push("");
    Ok(url)
}

/// What the cache keeps of one wheel.
struct RawFacts {
    size: Option<u64>,
    content: Result<Vec<u8>, String>,
}

impl RawFacts {
    fn encode(&self) -> Vec<u8> {
        let size = self.size.map(|size| size.to_string()).unwrap_or_default();
        let (kind, rest) = match &self.content {
            Ok(bytes) => ("good", bytes.as_slice()),
            Err(reason) => ("broken", reason.as_bytes()),
        };
        [
            format!("{METADATA_FORM}\t{size}\t{kind}\t{}\n", rest.len()).as_bytes(),
            rest,
        ]
        .concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut fields = head.split('\t');
        if fields.next() != Some(METADATA_FORM) {
            return None;
        }
        let size = match fields.next()? {
            "" => None,
            text => Some(text.parse().ok()?),
        };
        let rest = &bytes[end + 1..];
        let kind = fields.next()?;
        if fields.next()?.parse() != Ok(rest.len()) {
            return None;
        }
        let content = match kind {
            "good" => Ok(rest.to_vec()),
            "broken" => Err(String::from_utf8(rest.to_vec()).ok()?),
            _ => return None,
        };
        Some(Self { size, content })
    }

    fn facts(self, name: &PythonName, version: &DistributionVersion) -> Facts {
        let reading = self
            .content
            .and_then(|bytes| Metadata::parse(&bytes, name, version));
        Facts::new(reading, self.size)
    }
}
