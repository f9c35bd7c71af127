//! The readers of an index's bytes as plain functions, for the fuzz targets.

use cooper_core::python::DistributionVersion;
use cooper_core::{Base, BlobDigest, PythonName, Timestamp};
use url::Url;

use super::metadata::{self, Metadata};
use super::page::{self, Page};
use super::source;
use super::tail::{self, Part, Wanted};
use super::target::Target;

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPage {
    /// How many releases the reduced page has.
    pub releases: usize,
    /// The reduced page is the same after it was written to the cache and read back.
    pub survives_the_cache: bool,
}

/// Read a raw page of `name`, reduce it for the default base, write it as the cache keeps it and read it back.
pub fn read_page(
    bytes: &[u8],
    content_type: Option<&str>,
    url: &Url,
    name: &PythonName,
) -> Result<ReadPage, String> {
    let files = page::read_files(bytes, content_type, url)?;
    let target = Target::new(Base::default()).ok_or("the base has no target")?;
    let page = Page::reduce(name, files, BlobDigest::of(bytes), Timestamp::UNIX_EPOCH, &target);
    let kept = page::encode(&page);
    let again = page::decode(&kept).map(|page| page::encode(&page));
    Ok(ReadPage {
        releases: page.releases.len(),
        survives_the_cache: again == Some(kept),
    })
}

/// Read a kept page; whether it is whole.
pub fn read_kept_page(bytes: &[u8]) -> bool {
    page::decode(bytes).is_some()
}

/// Read METADATA as the cache keeps it; the number of requirements, and whether keeping it again changes nothing.
pub fn read_metadata(
    bytes: &[u8],
    name: &PythonName,
    version: &DistributionVersion,
) -> Result<(usize, bool), String> {
    let kept = metadata::reduce(bytes);
    let read = Metadata::parse(&kept, name, version)?;
    Ok((read.needs.len(), metadata::reduce(&kept) == kept))
}

/// Read a source distribution; the number of its build requirements.
pub fn read_source(bytes: &[u8], filename: &str) -> Result<usize, String> {
    source::read(std::io::Cursor::new(bytes), filename).map(|reading| reading.requires.len())
}

/// Read METADATA out of a wheel's end.
pub fn read_wheel_tail(wheel: &[u8], name: &PythonName) -> Result<Vec<u8>, String> {
    let total = wheel.len() as u64;
    let read = |wanted: Wanted| {
        let (start, end) = match wanted {
            Wanted::Last(count) => (total.saturating_sub(count), total),
            Wanted::From { start, length } => (start.min(total), start.saturating_add(length).min(total)),
        };
        let place = |position: u64| usize::try_from(position).unwrap_or(wheel.len());
        Ok(Part {
            bytes: wheel[place(start)..place(end)].to_vec(),
            start,
            total,
        })
    };
    tail::read_metadata(name, &read)
        .map(|(bytes, _)| bytes)
        .map_err(|error| error.to_string())
}
