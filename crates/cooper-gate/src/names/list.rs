//! The popular distributions as evidence: parsing and looking up.

use std::collections::HashMap;

use serde::Deserialize;
use thiserror::Error;

use super::confusable;
use super::forms::Forms;
use super::text::{Spelling, is_valid, normalised, shown};

/// How large a list may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimits {
    /// Bytes of the file.
    pub bytes_max: usize,
    /// Rows.
    pub rows_max: usize,
}

impl Default for ListLimits {
    /// Ten times the longest list that is published.
    fn default() -> Self {
        Self {
            bytes_max: 32 << 20,
            rows_max: 150_000,
        }
    }
}

/// Why bytes are no list of popular names.
#[derive(Debug, Error)]
pub enum ListError {
    /// There are more bytes than the limit.
    #[error("the list of popular names has {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// How many there are.
        bytes: usize,
        /// How many there may be.
        bytes_max: usize,
    },
    /// There are more rows than the limit.
    #[error("the list of popular names has more than {rows_max} rows")]
    TooManyRows {
        /// How many there may be.
        rows_max: usize,
    },
    /// The bytes are not text.
    #[error("the list of popular names is not UTF-8")]
    NotText(#[source] std::str::Utf8Error),
    /// The bytes begin like JSON and do not have the shape of the monthly list.
    #[error(
        "the list of popular names is not JSON of the shape {{\"rows\": [{{\"download_count\", \"project\"}}]}}"
    )]
    Json(#[source] serde_json::Error),
    /// The first line does not name the two columns.
    #[error("the list of popular names does not begin with `download_count,project` (nor is it JSON)")]
    Header,
    /// A row is not a number and a name.
    #[error("row {row} of the list of popular names is not a download count and a name")]
    Row {
        /// Counted from 1, without the header.
        row: usize,
    },
    /// A row has a name that is none.
    #[error("row {row} of the list of popular names has {} as a name", shown(.name))]
    Name {
        /// Counted from 1.
        row: usize,
        /// What stands there.
        name: String,
    },
    /// A name stands there twice.
    #[error("row {row} of the list of popular names repeats `{name}`")]
    Repeated {
        /// Counted from 1, in the order of downloads.
        row: usize,
        /// The name, normalised.
        name: String,
    },
    /// There is no row: such a list would let everything pass.
    #[error("the list of popular names has no rows")]
    Empty,
}

/// One popular distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// How it is spelled.
    pub(super) spelling: Spelling,
    /// How often it was downloaded in the month of the list.
    pub(super) downloads: u64,
}

/// The most downloaded distributions, in the order of their downloads.
///
/// What is in it is never held; what looks like something in it may be. It is parsed from the two published forms of the
/// monthly list, `download_count,project` as CSV and `{"rows": [{"download_count": …, "project": "…"}]}` as JSON.
#[derive(Debug, Clone)]
pub struct PopularNames {
    entries: Vec<Entry>,
    places: HashMap<Box<str>, u32>,
    openings: HashMap<Box<str>, u32>,
    folded: HashMap<Box<str>, u32>,
    forms: Forms,
}

#[derive(Deserialize)]
struct JsonList {
    rows: Vec<JsonRow>,
}

#[derive(Deserialize)]
struct JsonRow {
    download_count: u64,
    project: String,
}

impl PopularNames {
    /// Parse a list of either form.
    pub fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        Self::parse_within(bytes, ListLimits::default())
    }

    /// Parse a list of either form within limits.
    pub fn parse_within(bytes: &[u8], limits: ListLimits) -> Result<Self, ListError> {
        if bytes.len() > limits.bytes_max {
            return Err(ListError::TooLarge {
                bytes: bytes.len(),
                bytes_max: limits.bytes_max,
            });
        }
        let text = std::str::from_utf8(bytes).map_err(ListError::NotText)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let rows = if text.trim_start().starts_with('{') {
            json_rows(text)?
        } else {
            csv_rows(text, limits.rows_max)?
        };
        if rows.len() > limits.rows_max {
            return Err(ListError::TooManyRows {
                rows_max: limits.rows_max,
            });
        }
        Self::of_rows(rows)
    }

    fn of_rows(mut rows: Vec<(u64, String)>) -> Result<Self, ListError> {
        if let Some((row, (_, name))) = rows.iter().enumerate().find(|(_, (_, name))| !is_valid(name)) {
            return Err(ListError::Name {
                row: row + 1,
                name: name.clone(),
            });
        }
        rows.sort_by_key(|(downloads, _)| std::cmp::Reverse(*downloads));
        let entries = rows.iter().map(|(downloads, name)| Entry {
            spelling: Spelling::of(name),
            downloads: *downloads,
        });
        Self::of_entries(entries.collect())
    }

    fn of_entries(entries: Vec<Entry>) -> Result<Self, ListError> {
        if entries.is_empty() {
            return Err(ListError::Empty);
        }
        let mut places = HashMap::with_capacity(entries.len());
        let mut openings: HashMap<Box<str>, u32> = HashMap::with_capacity(entries.len());
        for (place, entry) in (0..).zip(&entries) {
            let normal = entry.spelling.normal.as_str();
            if places.insert(Box::from(normal), place).is_some() {
                return Err(ListError::Repeated {
                    row: place as usize + 1,
                    name: normal.to_owned(),
                });
            }
            for (at, _) in normal.match_indices('-') {
                match openings.get_mut(&normal[..at]) {
                    Some(count) => *count += 1,
                    None => drop(openings.insert(Box::from(&normal[..at]), 1)),
                }
            }
        }
        let mut folded = HashMap::with_capacity(entries.len());
        for (place, entry) in (0..).zip(&entries) {
            let looks = confusable::folded(&entry.spelling.compact);
            folded.entry(looks.into_boxed_str()).or_insert(place);
        }
        let forms = Forms::of((0..).zip(entries.iter().map(|entry| &entry.spelling)));
        Ok(Self {
            entries,
            places,
            openings,
            folded,
            forms,
        })
    }

    /// The first `count` of them, for measurements; the whole list when it has no more, or when `count` is 0.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let kept = self.entries.iter().take(count).cloned().collect();
        Self::of_entries(kept).unwrap_or_else(|_| self.clone())
    }

    /// How many names there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "an empty list is an error")]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The names, normalised, from the most downloaded on.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.spelling.normal.as_str())
    }

    /// The rank of a name, in any spelling that means it: 1 is the most downloaded.
    pub fn rank(&self, name: &str) -> Option<u32> {
        self.place(&normalised(name)).map(|place| place + 1)
    }

    /// How often a name was downloaded in the month of the list.
    pub fn downloads(&self, name: &str) -> Option<u64> {
        let entry = self.entry(self.place(&normalised(name))?)?;
        Some(entry.downloads)
    }

    /// The place of a normalised name, from 0.
    pub(super) fn place(&self, normal: &str) -> Option<u32> {
        self.places.get(normal).copied()
    }

    pub(super) fn entry(&self, place: u32) -> Option<&Entry> {
        self.entries.get(place as usize)
    }

    /// How many names go on after this beginning and a separator.
    pub(super) fn family(&self, opening: &str) -> u32 {
        self.openings.get(opening).copied().unwrap_or(0)
    }

    /// The place of the most popular name that [`confusable::folded`] gives this for.
    pub(super) fn folded(&self, looks: &str) -> Option<u32> {
        self.folded.get(looks).copied()
    }

    pub(super) fn forms(&self) -> &Forms {
        &self.forms
    }
}

fn json_rows(text: &str) -> Result<Vec<(u64, String)>, ListError> {
    let list: JsonList = serde_json::from_str(text).map_err(ListError::Json)?;
    let rows = list.rows.into_iter();
    Ok(rows.map(|row| (row.download_count, row.project)).collect())
}

fn csv_rows(text: &str, rows_max: usize) -> Result<Vec<(u64, String)>, ListError> {
    let mut lines = text.lines().map(str::trim_end);
    let header = lines.next().unwrap_or_default();
    let columns: Vec<&str> = header.split(',').map(unquoted).collect();
    if columns != ["download_count", "project"] {
        return Err(ListError::Header);
    }
    let mut rows = Vec::new();
    for (at, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        if at >= rows_max {
            return Err(ListError::TooManyRows { rows_max });
        }
        let fields = line.split_once(',');
        let row =
            fields.and_then(|(count, name)| Some((unquoted(count).parse().ok()?, unquoted(name).to_owned())));
        rows.push(row.ok_or(ListError::Row { row: at + 1 })?);
    }
    Ok(rows)
}

/// A field without the quotation marks around it.
fn unquoted(field: &str) -> &str {
    let inner = field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or(field)
}
