//! FIRST's EPSS: how probable it is that a vulnerability is exploited within 30 days.
//!
//! The published CSV has a comment (`#model_version:v2025.03.14,score_date:2025-08-25T12:55:00Z`), a header
//! (`cve,epss,percentile`), and a line for each CVE. Compiled, it is a table that is searched in place:
//! magic, number of rows, time, CRC-32 of the rest, CRC-32 of the header, then rows of 16 bytes sorted by CVE.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use cooper_core::Timestamp;
use serde::Serialize;

use super::bytes::{Reader, SharedBytes, Writer};

const MAGIC: &[u8; 8] = b"CPREPS\x00\x01";
const HEADER_BYTES: usize = 28;
const ROW_BYTES: usize = 16;
const TEXT_BYTES_MAX: usize = 256 << 20;
const ROWS_MAX: usize = 4_000_000;
const LINE_BYTES_MAX: usize = 4_096;
/// 1.0 in the units of the table.
const ONE: u32 = 1_000_000_000;

/// Why scores cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EpssError {
    /// Too large.
    #[error("the file of EPSS scores has more than {max} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The first lines are not those of the file.
    #[error("it is no file of EPSS scores: its header is not `cve,epss,percentile`")]
    Header,
    /// A line that is none.
    #[error("line {line} of the EPSS scores is not a CVE with two numbers from 0 to 1")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// No lines.
    #[error("the file of EPSS scores is empty")]
    Empty,
    /// A compiled table that is not what was written.
    #[error("the table of EPSS scores is damaged")]
    Damaged,
}

/// The score of one CVE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Epss {
    /// The probability in units of 10⁻⁹: 975,000,000 is 97.5 %.
    pub probability_billionths: u32,
    /// The part of all CVEs with a score that is not higher, in the same units.
    pub percentile_billionths: u32,
}

impl Epss {
    /// The probability between 0 and 1.
    pub fn probability(&self) -> f64 {
        f64::from(self.probability_billionths) / f64::from(ONE)
    }

    /// The percentile between 0 and 1.
    pub fn percentile(&self) -> f64 {
        f64::from(self.percentile_billionths) / f64::from(ONE)
    }
}

/// The scores, for look-ups. Cheap to clone.
#[derive(Debug, Clone)]
pub struct EpssTable {
    bytes: SharedBytes,
    rows: usize,
    scored_at: Option<Timestamp>,
}

impl EpssTable {
    /// Compile the published CSV (decompressed). The same scores give the same bytes.
    ///
    /// # Errors
    /// When it is something else, too large, or empty.
    pub fn compile(csv: &[u8]) -> Result<Vec<u8>, EpssError> {
        check(csv.len(), TEXT_BYTES_MAX, "bytes")?;
        let mut scored_at = None;
        let mut has_header = false;
        let mut rows = BTreeMap::new();
        for (number, line) in csv.split(|byte| *byte == b'\n').enumerate() {
            let line = std::str::from_utf8(line)
                .ok()
                .filter(|line| line.len() <= LINE_BYTES_MAX);
            let line = line.ok_or(EpssError::Line { line: number + 1 })?.trim();
            if let Some(comment) = line.strip_prefix('#') {
                scored_at = scored_at.or_else(|| score_date(comment));
            } else if !has_header {
                has_header = is_header(line);
                if !has_header {
                    return Err(EpssError::Header);
                }
            } else if !line.is_empty() {
                let (key, score) = row(line).ok_or(EpssError::Line { line: number + 1 })?;
                rows.insert(key, score);
                check(rows.len(), ROWS_MAX, "lines")?;
            }
        }
        if rows.is_empty() {
            return Err(EpssError::Empty);
        }
        Ok(write(&rows, scored_at))
    }

    /// Open what [`Self::compile`] made.
    ///
    /// # Errors
    /// When the bytes are something else, or damaged.
    pub fn open(bytes: impl Into<SharedBytes>) -> Result<Self, EpssError> {
        let bytes = bytes.into();
        let (rows, scored_at) = read_header(bytes.as_slice()).ok_or(EpssError::Damaged)?;
        Ok(Self {
            bytes,
            rows,
            scored_at,
        })
    }

    /// The score of a CVE.
    pub fn find(&self, cve: &str) -> Option<Epss> {
        let key = key(cve)?;
        let rows = self.bytes.as_slice().get(HEADER_BYTES..)?;
        let (mut low, mut high) = (0, self.rows);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut row = Reader(rows.get(middle * ROW_BYTES..(middle + 1) * ROW_BYTES)?);
            match row.u64()?.cmp(&key) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => {
                    return Some(Epss {
                        probability_billionths: row.u32()?,
                        percentile_billionths: row.u32()?,
                    });
                }
            }
        }
        None
    }

    /// How many CVEs have a score.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// When the scores were computed.
    pub fn scored_at(&self) -> Option<Timestamp> {
        self.scored_at
    }
}

fn check(count: usize, max: usize, what: &'static str) -> Result<(), EpssError> {
    if count > max {
        return Err(EpssError::TooLarge { what, max });
    }
    Ok(())
}

fn is_header(line: &str) -> bool {
    let columns: Vec<&str> = line.split(',').map(str::trim).collect();
    columns.starts_with(&["cve", "epss", "percentile"])
}

/// `2025-08-25T12:55:00Z`, or with `+0000` as older files have it.
fn score_date(comment: &str) -> Option<Timestamp> {
    let text = comment
        .split(',')
        .find_map(|part| part.trim().strip_prefix("score_date:"))?;
    text.replace("+0000", "Z").parse().ok()
}

fn row(line: &str) -> Option<(u64, (u32, u32))> {
    let mut columns = line.split(',').map(str::trim);
    let key = key(columns.next()?)?;
    Some((key, (fraction(columns.next()?)?, fraction(columns.next()?)?)))
}

/// `CVE-2021-44228` as a number that orders by year, then number.
fn key(cve: &str) -> Option<u64> {
    let (year, number) = cve.strip_prefix("CVE-")?.split_once('-')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if year.len() != 4 || !digits(year) || !digits(number) || number.len() > 12 {
        return None;
    }
    Some(year.parse::<u64>().ok()? << 48 | number.parse::<u64>().ok()?)
}

/// A decimal fraction from 0 to 1 in billionths; exponents (`9e-05`) are written by some tools.
fn fraction(text: &str) -> Option<u32> {
    let value: f64 = text.parse().ok()?;
    if !(0.0..=1.0).contains(&value) {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 1,000,000,000"
    )]
    let billionths = (value * f64::from(ONE)).round() as u32;
    Some(billionths)
}

fn write(rows: &BTreeMap<u64, (u32, u32)>, scored_at: Option<Timestamp>) -> Vec<u8> {
    let mut table = Writer::default();
    for (key, (probability, percentile)) in rows {
        table.u64(*key);
        table.u32(*probability);
        table.u32(*percentile);
    }
    let mut file = Writer(MAGIC.to_vec());
    file.count(rows.len());
    file.i64(scored_at.map_or(i64::MIN, Timestamp::as_second));
    file.u32(crc32fast::hash(&table.0));
    let crc = crc32fast::hash(&file.0);
    file.u32(crc);
    file.0.extend(table.0);
    file.0
}

/// `None` where anything is not as written.
fn read_header(bytes: &[u8]) -> Option<(usize, Option<Timestamp>)> {
    let (header, table) = bytes.split_at_checked(HEADER_BYTES)?;
    let mut reader = Reader(header.strip_prefix(MAGIC)?);
    let (rows, scored_at) = (reader.count()?, reader.i64()?);
    let (table_crc, header_crc) = (reader.u32()?, reader.u32()?);
    let whole = table.len() == rows.checked_mul(ROW_BYTES)?
        && crc32fast::hash(&header[..HEADER_BYTES - 4]) == header_crc
        && crc32fast::hash(table) == table_crc;
    whole.then(|| (rows, Timestamp::from_second(scored_at).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "#model_version:v2025.03.14,score_date:2025-08-25T12:55:00Z\n\
                       cve,epss,percentile\n\
                       CVE-2021-44228,0.94358,0.99957\n\
                       CVE-1999-0001,0.01141,0.77533\n\
                       CVE-2024-1234567,9e-05,0\n";

    #[test]
    fn scores_are_found() {
        let table = EpssTable::open(EpssTable::compile(CSV.as_bytes()).unwrap()).unwrap();
        let log4j = table.find("CVE-2021-44228").unwrap();
        assert_eq!(
            (log4j.probability_billionths, log4j.percentile_billionths),
            (943_580_000, 999_570_000)
        );
        assert!((log4j.probability() - 0.94358).abs() < 1e-9);
        assert_eq!(
            table.find("CVE-2024-1234567").unwrap().probability_billionths,
            90_000
        );
        assert!(table.find("CVE-1999-0001").is_some());
        for other in ["CVE-1999-0002", "CVE-21-1", "", "GHSA-x", "CVE-2021-x"] {
            assert_eq!(table.find(other), None, "{other}");
        }
        assert_eq!(table.scored_at(), Some("2025-08-25T12:55:00Z".parse().unwrap()));
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn other_files_are_errors() {
        let compile = |text: &str| EpssTable::compile(text.as_bytes());
        assert_eq!(compile(""), Err(EpssError::Header));
        assert_eq!(compile("a,b,c\n"), Err(EpssError::Header));
        assert_eq!(compile("cve,epss,percentile\n"), Err(EpssError::Empty));
        for line in [
            "CVE-2021-1,2,0",
            "CVE-2021-1,0.1",
            "x,0,0",
            "CVE-2021-1,NaN,0",
            "CVE-2021-1,-0.1,0",
        ] {
            let text = format!("cve,epss,percentile\n{line}\n");
            assert_eq!(compile(&text), Err(EpssError::Line { line: 2 }), "{line}");
        }
    }

    #[test]
    fn damage_is_found() {
        let bytes = EpssTable::compile(CSV.as_bytes()).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(EpssTable::open(damaged).is_err(), "byte {at}");
            assert!(EpssTable::open(bytes[..at].to_vec()).is_err(), "cut at {at}");
        }
    }
}
