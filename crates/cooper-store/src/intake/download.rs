//! The fourth way to fetch: a file of unknown digest, unless it is as it was.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use ureq::http::header;
use url::Url;

use super::Intake;
use super::client::Client;
use super::error::FetchError;
use super::exchange::{Asked, Cancel};
use crate::store::FileError;

/// What a server says of a state of a file, to ask for another one (RFC 9110, section 13.1).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Validators {
    /// The header `ETag`.
    pub etag: Option<String>,
    /// The header `Last-Modified`.
    pub last_modified: Option<String>,
}

impl Validators {
    fn none(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

/// A file to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchFile {
    /// Where it is.
    pub url: Url,
    /// The most that may come.
    pub bytes_max: u64,
    /// Of the state that the caller has: without any, the file is always fetched.
    pub known: Validators,
    /// What it is, for messages.
    pub label: String,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchedFile {
    /// The file is as the caller has it.
    Unchanged,
    /// Another one, now in the caller's file.
    New(Validators),
}

impl Intake {
    /// Fetch a file into `into`, a path that is the caller's own: what was there is replaced. After an error nobody knows
    /// what is in it. `more` is told of bytes as they come.
    ///
    /// # Errors
    /// When it cannot be had, or is too large.
    pub fn fetch_file(
        &self,
        fetch: &FetchFile,
        into: &Path,
        more: &dyn Fn(u64),
    ) -> Result<FetchedFile, FetchError> {
        let urls = std::slice::from_ref(&fetch.url);
        self.client
            .first_success(&fetch.label, urls, &Cancel::default(), &mut |url| {
                self.client.file_from(url, fetch, into, more)
            })
    }
}

impl Client {
    fn file_from(
        &self,
        url: &Url,
        fetch: &FetchFile,
        into: &Path,
        more: &dyn Fn(u64),
    ) -> Result<FetchedFile, FetchError> {
        let asked = Asked {
            if_none_match: fetch.known.etag.clone(),
            if_modified_since: fetch.known.last_modified.clone(),
            ..Asked::default()
        };
        let mut answer = self.ask(url, &asked)?;
        if answer.status == 304 && !fetch.known.none() {
            return Ok(FetchedFile::Unchanged);
        }
        answer.check_status()?;
        let kept = |source: std::io::Error| FileError {
            operation: "write",
            path: into.to_owned(),
            source,
        };
        let mut file = File::create(into).map_err(kept)?;
        answer.pour(fetch.bytes_max, self.config(), &Cancel::default(), &mut |bytes| {
            file.write_all(bytes).map_err(kept)?;
            more(bytes.len() as u64);
            Ok(())
        })?;
        let text = |name| {
            answer
                .header(name)
                .map(str::to_owned)
                .filter(|text| text.len() <= 1024)
        };
        Ok(FetchedFile::New(Validators {
            etag: text(header::ETAG),
            last_modified: text(header::LAST_MODIFIED),
        }))
    }
}
