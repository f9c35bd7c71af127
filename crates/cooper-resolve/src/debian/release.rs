//! The signed text of an `InRelease` file: which suite it is, from when, and the digests of its indexes.
//!
//! Field names as in the Debian repository format; only the `SHA256` section is read, never a weaker one.

use cooper_core::base::Suite;
use cooper_core::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

/// The index of a suite that is read: that of its component, architecture `amd64`.
pub fn packages(suite: Suite) -> String {
    format!("{}/binary-amd64/Packages", suite.component())
}

/// The list of a suite's contents: which package has which file.
pub fn contents(suite: Suite) -> String {
    format!("{}/Contents-amd64", suite.component())
}

/// How many lines a release file may have.
const LINES_MAX: usize = 200_000;

/// What a release file says, as far as resolution needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// `Date`
    pub date: Timestamp,
    /// `Valid-Until`
    pub valid_until: Option<Timestamp>,
    /// `Acquire-By-Hash: yes`: files may be fetched under the name of their digest.
    pub by_hash: bool,
    /// The uncompressed index: what any compressed form must become.
    pub index: ListedFile,
    /// The compressed forms that are listed, the quickest to unpack first.
    pub forms: Vec<(Form, ListedFile)>,
    /// The list of contents, where the suite has one.
    pub contents: Option<Listing>,
}

/// A file in the forms that are listed of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Not compressed: what any form must become.
    pub index: ListedFile,
    /// The forms, the quickest to unpack first.
    pub forms: Vec<(Form, ListedFile)>,
}

/// A file with its signed size and digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// How an index is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// `.gz`: a third larger than xz, five times quicker to unpack.
    Gzip,
    /// `.xz`
    Xz,
    /// Not compressed.
    Plain,
}

impl Form {
    /// The file name's ending.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Plain => "",
        }
    }
}

/// Why a signed text is not the release file of a suite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReleaseError {
    /// A field that must be there.
    #[error("there is no field `{0}`")]
    Missing(&'static str),
    /// A field twice.
    #[error("field `{0}` is there twice")]
    Twice(&'static str),
    /// A value that cannot be understood.
    #[error("field `{field}` has the value `{value}`, which cannot be understood")]
    Value {
        /// The field.
        field: &'static str,
        /// The value's beginning.
        value: String,
    },
    /// Another suite than the one that was asked for.
    #[error("it is the release file of `{codename}`")]
    OtherSuite {
        /// `Codename`
        codename: String,
    },
    /// The suite has no packages for this architecture.
    #[error("it has no packages for amd64, only for `{architectures}`")]
    NoArchitecture {
        /// `Architectures`
        architectures: String,
    },
    /// The index is not in the list.
    #[error("it lists no SHA-256 of `{path}`")]
    NoIndex {
        /// The file.
        path: String,
    },
    /// One file with two sizes or digests.
    #[error("it lists `{path}` twice, differently")]
    Contradiction {
        /// The file.
        path: String,
    },
    /// Too long.
    #[error("it has more than {LINES_MAX} lines")]
    TooLong,
}

const FIELDS: [&str; 7] = [
    "Suite",
    "Codename",
    "Date",
    "Valid-Until",
    "Architectures",
    "Acquire-By-Hash",
    "SHA256",
];

/// Parse the signed text of the release file of `suite`.
pub fn parse(text: &str, suite: Suite) -> Result<Release, ParseReleaseError> {
    let names = [packages(suite), contents(suite)];
    let mut values: [Option<&str>; FIELDS.len()] = [None; FIELDS.len()];
    let (mut listed, mut in_list): (Vec<(&str, ListedFile)>, bool) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        if number > LINES_MAX {
            return Err(ParseReleaseError::TooLong);
        }
        if line.starts_with([' ', '\t']) {
            if in_list {
                listed.extend(parse_listed(line, &names)?);
            }
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let known = FIELDS.iter().position(|known| known.eq_ignore_ascii_case(name));
        in_list = known.map(|index| FIELDS[index]) == Some("SHA256");
        if let Some(index) = known
            && values[index].replace(value.trim()).is_some()
        {
            return Err(ParseReleaseError::Twice(FIELDS[index]));
        }
    }
    let [name, codename, date, valid_until, architectures, by_hash, _] = values;
    check_suite(name, codename, suite)?;
    check_architectures(architectures)?;
    let Listing { index, forms } = choose_forms(&listed, &names[0])?;
    // Nothing depends on it.
    let contents = choose_forms(&listed, &names[1]).ok();
    Ok(Release {
        date: date
            .ok_or(ParseReleaseError::Missing("Date"))
            .and_then(|date| parse_field_date("Date", date))?,
        valid_until: valid_until
            .map(|until| parse_field_date("Valid-Until", until))
            .transpose()?,
        by_hash: by_hash == Some("yes"),
        index,
        forms,
        contents,
    })
}

/// A source's keys sign all its suites: one must not stand for another. Other archives than Debian's may use either name.
fn check_suite(name: Option<&str>, codename: Option<&str>, suite: Suite) -> Result<(), ParseReleaseError> {
    let wanted = suite.distribution();
    if suite.source().is_some() && name == Some(&wanted) {
        return Ok(());
    }
    let codename = codename.ok_or(ParseReleaseError::Missing("Codename"))?;
    if codename != wanted {
        return Err(ParseReleaseError::OtherSuite {
            codename: shortened(codename),
        });
    }
    Ok(())
}

fn check_architectures(architectures: Option<&str>) -> Result<(), ParseReleaseError> {
    let architectures = architectures.ok_or(ParseReleaseError::Missing("Architectures"))?;
    if !architectures
        .split_ascii_whitespace()
        .any(|architecture| architecture == "amd64")
    {
        return Err(ParseReleaseError::NoArchitecture {
            architectures: shortened(architectures),
        });
    }
    Ok(())
}

/// A line ` digest size path` if its path is a form of one of the named files.
fn parse_listed<'l>(
    line: &'l str,
    names: &[String],
) -> Result<Option<(&'l str, ListedFile)>, ParseReleaseError> {
    let mut words = line.split_ascii_whitespace();
    let (Some(sha256), Some(size), Some(path), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(ParseReleaseError::Value {
            field: "SHA256",
            value: shortened(line),
        });
    };
    if !names.iter().any(|name| path.starts_with(name.as_str())) {
        return Ok(None);
    }
    let wrong = || ParseReleaseError::Value {
        field: "SHA256",
        value: shortened(line),
    };
    let sha256 = Digest::from_hex(sha256).map_err(|_| wrong())?;
    let size = size.parse().map_err(|_| wrong())?;
    Ok(Some((path, ListedFile { size, sha256 })))
}

fn choose_forms(listed: &[(&str, ListedFile)], name: &str) -> Result<Listing, ParseReleaseError> {
    let mut forms = Vec::new();
    for form in [Form::Gzip, Form::Xz, Form::Plain] {
        let mut files = listed
            .iter()
            .filter(|(path, _)| path.strip_prefix(name) == Some(form.suffix()))
            .map(|(_, file)| *file);
        let Some(file) = files.next() else { continue };
        if files.any(|other| other != file) {
            return Err(ParseReleaseError::Contradiction {
                path: format!("{name}{}", form.suffix()),
            });
        }
        forms.push((form, file));
    }
    match forms.last() {
        Some((Form::Plain, index)) => Ok(Listing { index: *index, forms }),
        _ => Err(ParseReleaseError::NoIndex {
            path: name.to_owned(),
        }),
    }
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(80).collect()
}

fn parse_field_date(field: &'static str, value: &str) -> Result<Timestamp, ParseReleaseError> {
    parse_date(value).ok_or_else(|| ParseReleaseError::Value {
        field,
        value: shortened(value),
    })
}

/// A date as release files have it, always in universal time: `Sat, 12 Sep 2026 07:55:41 UTC`.
pub fn parse_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let text = text.split_once(',').map_or(text, |(_weekday, rest)| rest);
    let mut words = text.split_ascii_whitespace();
    let day: i8 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().zip(1_i8..).find(|(name, _)| **name == month)?.1;
    let year: i16 = words.next().filter(|year| year.len() == 4)?.parse().ok()?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<i8>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let zone = words.next()?;
    if !matches!(zone, "UTC" | "GMT" | "Z" | "+0000") || words.next().is_some() || clock.next().is_some() {
        return None;
    }
    let date = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    jiff::tz::TimeZone::UTC.to_timestamp(date).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Origin: Debian\nSuite: stable\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n\
        Acquire-By-Hash: yes\nArchitectures: all amd64 arm64\nMD5Sum:\n 00 1 main/binary-amd64/Packages\nSHA256:\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  56620099 main/binary-amd64/Packages\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b856 9678380 main/binary-amd64/Packages.xz\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b857 13332733 main/binary-amd64/Packages.gz\n \
        e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b857 3 contrib/binary-amd64/Packages.gz\n";

    fn read(text: &str) -> Result<Release, ParseReleaseError> {
        parse(text, "trixie".parse().unwrap())
    }

    #[test]
    fn the_index_is_found_with_its_forms() {
        let release = read(TEXT).unwrap();
        assert_eq!(release.date.to_string(), "2026-09-12T07:55:41Z");
        assert_eq!(
            (release.valid_until, release.by_hash, release.index.size),
            (None, true, 56_620_099)
        );
        let forms: Vec<(Form, u64)> = release
            .forms
            .iter()
            .map(|(form, file)| (*form, file.size))
            .collect();
        assert_eq!(
            forms,
            [
                (Form::Gzip, 13_332_733),
                (Form::Xz, 9_678_380),
                (Form::Plain, 56_620_099)
            ]
        );
    }

    #[test]
    fn wrong_texts_are_refused() {
        let with = |from: &str, to: &str| {
            assert!(TEXT.contains(from), "{from}");
            read(&TEXT.replace(from, to)).unwrap_err()
        };
        assert!(matches!(
            with("e: trixie", "e: bookworm"),
            ParseReleaseError::OtherSuite { .. }
        ));
        assert!(matches!(
            with("amd64 arm64", "arm64"),
            ParseReleaseError::NoArchitecture { .. }
        ));
        assert!(matches!(
            with("SHA256:", "SHA1:"),
            ParseReleaseError::NoIndex { .. }
        ));
        assert!(matches!(
            with("SHA256:", "Date: x\nSHA256:"),
            ParseReleaseError::Twice("Date")
        ));
        assert!(matches!(
            with(" 56620099", " -1"),
            ParseReleaseError::Value { field: "SHA256", .. }
        ));
        assert!(matches!(
            with(" contrib/", " main/binary-amd64/Packages 1"),
            ParseReleaseError::Value { .. }
        ));
        assert!(matches!(
            with("contrib/", "main/"),
            ParseReleaseError::Contradiction { .. }
        ));
        assert!(matches!(
            with("Date: Sat", "Dat: Sat"),
            ParseReleaseError::Missing("Date")
        ));
        assert!(read("").is_err());
    }

    #[test]
    fn dates_are_read_in_universal_time_only() {
        let good = [
            "Sat, 12 Sep 2026 07:55:41 UTC",
            "Sat, 12 Sep 2026 07:55:41 +0000",
            "12 Sep 2026 07:55:41 GMT",
        ];
        for text in good {
            assert_eq!(
                parse_date(text).map(Timestamp::as_second),
                Some(1_789_199_741),
                "{text}"
            );
        }
        let bad = [
            "",
            "Sat, 12 Sep 2026",
            "Sat, 32 Sep 2026 07:55:41 UTC",
            "Sat, 12 Xxx 2026 07:55:41 UTC",
            "Sat, 12 Sep 26 07:55:41 UTC",
            "Sat, 12 Sep 2026 25:55:41 UTC",
            "Sat, 12 Sep 2026 07:55:41 CET",
            "Sat, 12 Sep 2026 07:55:41 UTC x",
            "Sat, 12 Sep 2026 07:55:41:00 UTC",
        ];
        for text in bad {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
