//! The value that a run may leave: one JSON text in a file of its own.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;

use cooper_sandbox::{Refusal, read_file};
use serde_json::value::RawValue;

/// A directory that holds nothing but the result.
pub(super) const RESULT_DIR: &str = "/run/result";
/// Where a script puts its result: the value of `COOPER_RESULT`.
pub(super) const RESULT_PATH: &str = "/run/result/result.json";
const RESULT_NAME: &str = "result.json";
/// How large a result may be.
pub const RESULT_BYTES_MAX: u64 = 1 << 20;

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResultError {
    /// The script has left none.
    #[error("the script has left no result in $COOPER_RESULT")]
    Missing,
    /// What it has left is not read.
    #[error("the result is not read: {0}")]
    Refused(Refusal),
    /// It is not one JSON value, or is nested more than 128 deep.
    #[error("the result is not JSON: {0}")]
    NotJson(String),
}

impl ResultError {
    /// A stable name.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Refused(reason) => reason.as_str(),
            Self::NotJson(_) => "not-json",
        }
    }
}

/// Read the result that was left in this directory as `result.json`: its text as it is, once it is known to be JSON.
///
/// # Errors
/// When there is none, it is longer than `bytes_max`, or no plain file with one JSON value.
pub fn read_result(directory: BorrowedFd<'_>, bytes_max: u64) -> Result<Box<RawValue>, ResultError> {
    let bytes = read_file(directory, OsStr::new(RESULT_NAME), bytes_max)
        .map_err(ResultError::Refused)?
        .ok_or(ResultError::Missing)?;
    parse(bytes)
}

fn parse(bytes: Vec<u8>) -> Result<Box<RawValue>, ResultError> {
    let not_json = |reason: String| ResultError::NotJson(reason);
    let text = String::from_utf8(bytes).map_err(|_| not_json("it is not UTF-8".to_owned()))?;
    if text.trim().is_empty() {
        return Err(ResultError::Missing);
    }
    // A raw value is passed over without a bound on its depth; a value has one.
    serde_json::from_str::<serde_json::Value>(&text).map_err(|error| not_json(error.to_string()))?;
    serde_json::from_str(text.trim()).map_err(|error| not_json(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_json_value_is_a_result_and_nothing_else() {
        let parsed = |text: &[u8]| parse(text.to_vec());
        for good in [
            "1",
            " {\"a\": [1, 2.50, null]}\n",
            "123456789012345678901234567890",
            "\"x\"",
        ] {
            assert_eq!(parsed(good.as_bytes()).unwrap().get(), good.trim());
        }
        assert_eq!(parsed(b" \n").unwrap_err(), ResultError::Missing);
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for bad in ["NaN", "{", "1 2", "{'a': 1}", "\u{feff}1", &deep] {
            let error = parsed(bad.as_bytes()).unwrap_err();
            assert_eq!(error.code(), "not-json", "{bad:.20}");
        }
        assert!(parsed(b"\"\xff\"").is_err());
    }

    #[test]
    fn messages_hold_nothing_of_the_result() {
        let error = parse(b"hunter2 \x1b[31m".to_vec()).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && !error.contains('\u{1b}'), "{error}");
    }
}
