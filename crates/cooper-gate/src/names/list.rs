//! The popular distributions as evidence: parsing and looking up.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;
use thiserror::Error;

use super::confusable;
use super::forms::Forms;
use super::packed::{
    Table, Texts, opened, read_long_numbers, read_numbers, sealed, write_long_numbers, write_numbers,
};
use super::text::{Spelling, is_valid, normalised, shown};
use crate::advisories::Reader;

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

/// The most downloaded distributions, in the order of their downloads.
///
/// What is in it is never held; what looks like something in it may be. It is parsed from the two published forms of the
/// monthly list, `download_count,project` as CSV and `{"rows": [{"download_count": …, "project": "…"}]}` as JSON.
///
/// Reading a list takes longer than judging with it; [`PopularNames::compiled`] gives a form that is read quickly.
#[derive(Debug, Clone)]
pub struct PopularNames {
    /// The normalised names, the most downloaded first.
    names: Texts,
    /// How they are spelled, as far as somebody wanted to know.
    spellings: Vec<OnceLock<Box<Spelling>>>,
    downloads: Vec<u64>,
    /// The places of the names in the order of the names.
    by_name: Vec<u32>,
    openings: Table,
    /// How many names have each word.
    words: Table,
    folded: Table,
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
        let spellings = rows.iter().map(|(_, name)| Spelling::of(name)).collect();
        Self::of_spellings(spellings, rows.iter().map(|(downloads, _)| *downloads).collect())
    }

    fn of_spellings(spellings: Vec<Spelling>, downloads: Vec<u64>) -> Result<Self, ListError> {
        if spellings.is_empty() {
            return Err(ListError::Empty);
        }
        let name = |place: u32| spellings.get(place as usize).map(|one| one.normal.as_str());
        let mut by_name: Vec<u32> = (0..).zip(&spellings).map(|(place, _)| place).collect();
        by_name.sort_by_key(|place| (name(*place), *place));
        let twice = by_name.windows(2).filter(|pair| name(pair[0]) == name(pair[1]));
        if let Some(place) = twice.map(|pair| pair[1]).min() {
            return Err(ListError::Repeated {
                row: place as usize + 1,
                name: name(place).unwrap_or_default().to_owned(),
            });
        }
        let mut openings: HashMap<&str, u32> = HashMap::with_capacity(spellings.len());
        for normal in spellings.iter().map(|one| one.normal.as_str()) {
            for (at, _) in normal.match_indices('-') {
                *openings.entry(&normal[..at]).or_insert(0) += 1;
            }
        }
        let mut words: HashMap<&str, u32> = HashMap::with_capacity(spellings.len());
        for word in spellings.iter().flat_map(Spelling::words) {
            *words.entry(word).or_insert(0) += 1;
        }
        let counted = |counts: HashMap<&str, u32>| {
            let counts = counts.into_iter();
            Table::of(counts.map(|(text, count)| (text.to_owned(), count)).collect())
        };
        let (openings, words) = (counted(openings), counted(words));
        let folded = (0..).zip(&spellings);
        let folded = Table::of(
            folded
                .map(|(place, one)| (confusable::folded(&one.compact), place))
                .collect(),
        );
        Ok(Self {
            names: spellings.iter().map(|one| one.normal.as_str()).collect(),
            forms: Forms::of((0..).zip(&spellings)),
            spellings: spellings.into_iter().map(Box::new).map(OnceLock::from).collect(),
            downloads,
            by_name,
            openings,
            words,
            folded,
        })
    }

    /// A form of the list that is read quickly, the same for the same list.
    pub fn compiled(&self) -> Vec<u8> {
        sealed(|out| {
            self.names.write(out);
            write_long_numbers(&self.downloads, out);
            write_numbers(&self.by_name, out);
            self.openings.write(out);
            self.words.write(out);
            self.folded.write(out);
            self.forms.write(out);
        })
    }

    /// Read what [`PopularNames::compiled`] gave; nothing where it is damaged, or of another version.
    pub fn open(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(opened(bytes)?);
        let names = Texts::read(&mut reader)?;
        let list = Self {
            spellings: vec![OnceLock::new(); names.len()],
            downloads: read_long_numbers(&mut reader)?,
            by_name: read_numbers(&mut reader)?,
            openings: Table::read(&mut reader)?,
            words: Table::read(&mut reader)?,
            folded: Table::read(&mut reader)?,
            forms: Forms::read(&mut reader)?,
            names,
        };
        let count = list.names.len();
        let is_whole = reader.0.is_empty() && count > 0 && count == list.downloads.len();
        (is_whole && count == list.by_name.len()).then_some(list)
    }

    /// The first `count` of them, for measurements; the whole list when it has no more, or when `count` is 0.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let kept = self.names().take(count).map(Spelling::of).collect();
        let downloads = self.downloads.iter().take(count).copied().collect();
        Self::of_spellings(kept, downloads).unwrap_or_else(|_| self.clone())
    }

    /// How many names there are; never 0.
    #[expect(clippy::len_without_is_empty, reason = "an empty list is an error")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The names, normalised, from the most downloaded on.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter()
    }

    /// The rank of a name, in any spelling that means it: 1 is the most downloaded.
    pub fn rank(&self, name: &str) -> Option<u32> {
        self.place(&normalised(name)).map(|place| place + 1)
    }

    /// How often a name was downloaded in the month of the list.
    pub fn downloads(&self, name: &str) -> Option<u64> {
        self.downloaded(self.place(&normalised(name))?)
    }

    /// The place of a normalised name, from 0.
    pub(super) fn place(&self, normal: &str) -> Option<u32> {
        let name = |place: &u32| self.names.get(*place as usize);
        let at = self
            .by_name
            .binary_search_by(|place| name(place).cmp(&Some(normal)));
        self.by_name.get(at.ok()?).copied()
    }

    pub(super) fn downloaded(&self, place: u32) -> Option<u64> {
        self.downloads.get(place as usize).copied()
    }

    /// How the name of this place is spelled.
    pub(super) fn spelled(&self, place: u32) -> Option<&Spelling> {
        let name = self.names.get(place as usize)?;
        let cell = self.spellings.get(place as usize)?;
        Some(cell.get_or_init(|| Box::new(Spelling::of(name))))
    }

    /// How many names go on after this beginning and a separator.
    pub(super) fn family(&self, opening: &str) -> u32 {
        self.openings.find(opening).unwrap_or(0)
    }

    /// Whether a name has this word between separators, or might: a short list does not tell what is a word.
    pub(super) fn has_word(&self, word: &str) -> bool {
        const TELLING_LEN: usize = 2_500;
        self.len() < TELLING_LEN || self.words.find(word).is_some()
    }

    /// The places of the names that go on after this beginning, in the order of the names.
    pub(super) fn beginning_with<'a>(&'a self, start: &'a str) -> impl Iterator<Item = (u32, &'a str)> + 'a {
        let name = |place: u32| self.names.get(place as usize).unwrap_or_default();
        let begin = self.by_name.partition_point(|place| name(*place) <= start);
        let rest = self.by_name.get(begin..).unwrap_or_default().iter();
        let names = rest.map(move |place| (*place, name(*place)));
        names.take_while(move |(_, name)| name.starts_with(start))
    }

    /// The place of the most popular name that [`confusable::folded`] gives this for.
    pub(super) fn folded(&self, looks: &str) -> Option<u32> {
        self.folded.find(looks)
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
