//! The three ways to fetch: a blob, some bytes, a part of a file.

use std::cell::Cell;
use std::io::Read as _;

use cooper_core::{BlobDigest, Digest};
use ureq::http::header;
use url::Url;

use super::Intake;
use super::client::Client;
use super::error::{FetchError, public};
use super::exchange::{Answer, Asked, Cancel};
use crate::store::{BlobWriter, Store};

/// A blob to be fetched: its digest and size say exactly what must come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchBlob {
    /// Mirrors of the same bytes, tried in order.
    pub urls: Vec<Url>,
    /// What the bytes must be.
    pub digest: Digest,
    /// How many bytes there must be.
    pub size: u64,
    /// What it is, for messages: a package and its version.
    pub label: String,
}

/// Bytes to be fetched whose digest is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchBytes {
    /// Mirrors of the same thing, tried in order.
    pub urls: Vec<Url>,
    /// The most that may come, after decompression.
    pub bytes_max: u64,
    /// The `Accept` header. With one, the server may compress its answer on the way (for index pages); without one,
    /// a file is taken as it is.
    pub accept: Option<String>,
    /// What it is, for messages.
    pub label: String,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The address that gave them, after redirects.
    pub url: Url,
    /// What the server says they are.
    pub content_type: Option<String>,
}

/// Which part of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The last bytes, or all where there are fewer.
    Last(u64),
    /// Some bytes from a place on, or as many as there are.
    From {
        /// Where the first one is.
        start: u64,
        /// How many.
        len: u64,
    },
}

/// A part of a file, or the whole where the server does not do parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeReply {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Where the first one is in the file.
    pub start: u64,
    /// How many bytes the file has, where the server says so.
    pub total: Option<u64>,
    /// Whether these are all bytes of the file, because it is that small or the server ignored the range.
    pub whole: bool,
}

impl Intake {
    /// Fetch a blob into the store, unless it is there. `more` is told of bytes as they come; what is fetched
    /// again after a failure is not told twice.
    pub fn fetch_blob(
        &self,
        store: &Store,
        fetch: &FetchBlob,
        more: &dyn Fn(u64),
    ) -> Result<BlobDigest, FetchError> {
        self.fetch_blob_until(store, fetch, more, &Cancel::default())
    }

    pub(super) fn fetch_blob_until(
        &self,
        store: &Store,
        fetch: &FetchBlob,
        more: &dyn Fn(u64),
        cancel: &Cancel,
    ) -> Result<BlobDigest, FetchError> {
        let digest = BlobDigest::new(fetch.digest);
        if store.blob_size(&digest) == Some(fetch.size) && store.renew_blob(&digest) {
            return Ok(digest);
        }
        let kept = |error| match fetch.urls.first() {
            Some(url) => FetchError::keeping(url, error),
            None => FetchError::NoAddress {
                label: fetch.label.clone(),
            },
        };
        // Asked before a file is made: an offline fetch leaves no trace.
        if let Some(url) = fetch.urls.first().filter(|_| self.config().offline) {
            return Err(FetchError::Offline { url: public(url) });
        }
        let partial = store.blob_writer().map_err(kept)?;
        let mut transfer = Transfer {
            client: &self.client,
            fetch,
            cancel,
            more,
            told: Cell::new(0),
            partial,
        };
        self.client
            .first_success(&fetch.label, &fetch.urls, cancel, &mut |url| {
                transfer.attempt(url)
            })?;
        transfer.partial.finish_expecting(&fetch.digest).map_err(kept)?;
        Ok(digest)
    }

    /// Fetch some bytes into memory.
    pub fn fetch_bytes(&self, fetch: &FetchBytes) -> Result<Fetched, FetchError> {
        let cancel = Cancel::default();
        self.client
            .first_success(&fetch.label, &fetch.urls, &cancel, &mut |url| {
                self.client.bytes_from(url, fetch)
            })
    }

    /// Fetch a part of a file into memory, at most `bytes_max` bytes.
    pub fn fetch_range(&self, url: &Url, range: Range, bytes_max: u64) -> Result<RangeReply, FetchError> {
        let mut attempt = |url: &Url| self.client.range_from(url, range, bytes_max);
        self.client.first_success(
            url.path(),
            std::slice::from_ref(url),
            &Cancel::default(),
            &mut attempt,
        )
    }
}

/// A blob on its way: what came so far is kept over tries and addresses.
struct Transfer<'a> {
    client: &'a Client,
    fetch: &'a FetchBlob,
    cancel: &'a Cancel,
    more: &'a dyn Fn(u64),
    told: Cell<u64>,
    partial: BlobWriter,
}

impl Transfer<'_> {
    /// One try at one address. A resumed blob that turns out wrong is fetched once more from its beginning: the
    /// fault may be in what another address sent.
    fn attempt(&mut self, url: &Url) -> Result<(), FetchError> {
        let resumed = self.partial.length() > 0;
        let outcome = self.attempt_from_here(url);
        match outcome {
            Err(FetchError::DigestMismatch { .. } | FetchError::TooLarge { .. }) if resumed => {
                self.partial.restart()?;
                let again = self.attempt_from_here(url);
                self.drop_wrong_bytes(&again)?;
                again
            }
            other => {
                self.drop_wrong_bytes(&other)?;
                other
            }
        }
    }

    /// What an address sent wrongly must not be resumed from.
    fn drop_wrong_bytes(&mut self, outcome: &Result<(), FetchError>) -> Result<(), FetchError> {
        let wrong = matches!(
            outcome,
            Err(FetchError::DigestMismatch { .. } | FetchError::TooLarge { .. })
        );
        if wrong {
            self.partial.restart()?;
        }
        Ok(())
    }

    fn attempt_from_here(&mut self, url: &Url) -> Result<(), FetchError> {
        if self.partial.length() < self.fetch.size || self.fetch.size == 0 {
            self.receive(url)?;
        }
        let got = self.partial.length();
        if got < self.fetch.size {
            return Err(FetchError::Truncated {
                url: public(url),
                expected: Some(self.fetch.size),
                got,
            });
        }
        let digest = self.partial.digest_so_far();
        if digest != self.fetch.digest {
            return Err(FetchError::DigestMismatch {
                url: public(url),
                expected: self.fetch.digest,
                got: digest,
            });
        }
        Ok(())
    }

    fn receive(&mut self, url: &Url) -> Result<(), FetchError> {
        let start = self.partial.length();
        let range = (start > 0).then(|| format!("bytes={start}-"));
        let mut answer = self.client.ask(
            url,
            &Asked {
                range,
                ..Asked::default()
            },
        )?;
        if start > 0 && answer.status == 416 {
            self.partial.restart()?;
            answer = self.client.ask(url, &Asked::default())?;
        }
        answer.check_status()?;
        if answer.status != 206 || content_range(&answer).is_none_or(|part| part.start != start) {
            self.partial.restart()?;
            if answer.status == 206 {
                // Another part than the one asked for: the next try asks for the whole.
                let reason = "another part of the file than was asked for".to_owned();
                return Err(FetchError::Protocol {
                    url: public(url),
                    reason,
                });
            }
        }
        self.pour(&mut answer)
    }

    fn pour(&mut self, answer: &mut Answer) -> Result<(), FetchError> {
        let Self {
            client,
            fetch,
            cancel,
            more,
            told,
            partial,
        } = self;
        let left = fetch.size.saturating_sub(partial.length());
        let mut sink = |bytes: &[u8]| {
            partial.append(bytes)?;
            let new = partial.length().saturating_sub(told.get());
            if new > 0 {
                told.set(partial.length());
                more(new);
            }
            Ok(())
        };
        let poured = answer.pour(left, client.config(), cancel, &mut sink);
        match poured {
            Ok(_) => Ok(()),
            Err(FetchError::TooLarge { url, .. }) => Err(FetchError::TooLarge {
                url,
                bytes_max: fetch.size,
            }),
            Err(FetchError::Truncated { url, .. }) => Err(FetchError::Truncated {
                url,
                expected: Some(fetch.size),
                got: partial.length(),
            }),
            Err(error) => Err(error),
        }
    }
}

impl Client {
    fn bytes_from(&self, url: &Url, fetch: &FetchBytes) -> Result<Fetched, FetchError> {
        let asked = Asked {
            accept: fetch.accept.clone(),
            gzip: fetch.accept.is_some(),
            ..Asked::default()
        };
        let mut answer = self.ask(url, &asked)?;
        answer.check_status()?;
        let mut bytes = self.collect(&mut answer, fetch.bytes_max)?;
        let encoding = answer
            .header(header::CONTENT_ENCODING)
            .map(str::to_ascii_lowercase);
        if asked.gzip && matches!(encoding.as_deref(), Some("gzip" | "x-gzip")) {
            bytes = decompress(&answer.url, &bytes, fetch.bytes_max)?;
        }
        let content_type = answer.header(header::CONTENT_TYPE).map(str::to_owned);
        Ok(Fetched {
            bytes,
            url: answer.url,
            content_type,
        })
    }

    fn range_from(&self, url: &Url, range: Range, bytes_max: u64) -> Result<RangeReply, FetchError> {
        let text = match range {
            Range::Last(len) => format!("bytes=-{len}"),
            Range::From { start, len } => {
                format!("bytes={start}-{}", start.saturating_add(len).saturating_sub(1))
            }
        };
        let mut answer = self.ask(
            url,
            &Asked {
                range: Some(text),
                ..Asked::default()
            },
        )?;
        answer.check_status()?;
        let part = (answer.status == 206).then(|| content_range(&answer));
        let bytes = self.collect(&mut answer, bytes_max)?;
        let length = bytes.len() as u64;
        match part {
            None => Ok(RangeReply {
                bytes,
                start: 0,
                total: Some(length),
                whole: true,
            }),
            Some(Some(part)) if part.fits(range, length) => Ok(RangeReply {
                bytes,
                start: part.start,
                total: part.total,
                whole: part.total == Some(length),
            }),
            Some(_) => {
                let reason = "another part of the file than was asked for".to_owned();
                Err(FetchError::Protocol {
                    url: public(url),
                    reason,
                })
            }
        }
    }

    fn collect(&self, answer: &mut Answer, bytes_max: u64) -> Result<Vec<u8>, FetchError> {
        let announced = answer.announced().unwrap_or(0).min(bytes_max);
        // A lying length must not cost memory.
        let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or(0).min(16 << 20));
        answer.pour(bytes_max, self.config(), &Cancel::default(), &mut |more| {
            bytes.extend_from_slice(more);
            Ok(())
        })?;
        Ok(bytes)
    }
}

fn decompress(url: &Url, compressed: &[u8], bytes_max: u64) -> Result<Vec<u8>, FetchError> {
    let mut bytes = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(compressed).take(bytes_max.saturating_add(1));
    let wrong = |error: std::io::Error| FetchError::Protocol {
        url: public(url),
        reason: format!("wrong gzip: {error}"),
    };
    decoder.read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() as u64 > bytes_max {
        return Err(FetchError::TooLarge {
            url: public(url),
            bytes_max,
        });
    }
    Ok(bytes)
}

/// What the header `Content-Range` says (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContentRange {
    start: u64,
    end: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
        let (start, end) = range.split_once('-')?;
        let total = if total == "*" {
            None
        } else {
            Some(total.parse().ok()?)
        };
        let parsed = Self {
            start: start.parse().ok()?,
            end: end.parse().ok()?,
            total,
        };
        let good = parsed.start <= parsed.end && parsed.total.is_none_or(|total| parsed.end < total);
        good.then_some(parsed)
    }

    /// Whether this is the part that was asked for and the body has its length.
    fn fits(self, range: Range, length: u64) -> bool {
        let asked = match range {
            Range::Last(len) => self
                .total
                .is_none_or(|total| self.start == total.saturating_sub(len) && self.end + 1 == total),
            Range::From { start, len } => self.start == start && length <= len,
        };
        asked && (self.end - self.start).checked_add(1) == Some(length)
    }
}

fn content_range(answer: &Answer) -> Option<ContentRange> {
    ContentRange::parse(answer.header(header::CONTENT_RANGE)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_that_lie_are_not_read() {
        let parsed = ContentRange::parse("bytes 5-9/10");
        assert_eq!(
            parsed,
            Some(ContentRange {
                start: 5,
                end: 9,
                total: Some(10)
            })
        );
        assert_eq!(
            ContentRange::parse("bytes 5-9/*").map(|range| range.total),
            Some(None)
        );
        for text in [
            "",
            "bytes",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes */10",
            "items 0-1/2",
            "bytes -1-2/3",
        ] {
            assert_eq!(ContentRange::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_part_must_be_the_one_that_was_asked_for() {
        let part = ContentRange {
            start: 5,
            end: 9,
            total: Some(10),
        };
        assert!(part.fits(Range::Last(5), 5));
        assert!(part.fits(Range::From { start: 5, len: 8 }, 5));
        assert!(!part.fits(Range::Last(6), 5));
        assert!(!part.fits(Range::From { start: 4, len: 8 }, 5));
        assert!(!part.fits(Range::From { start: 5, len: 8 }, 4));
    }
}
