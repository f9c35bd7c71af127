//! Requests as they come: one line each, of bounded length.

use std::io::{self, BufRead, Read as _};

/// How long a request may be.
const LINE_BYTES_MAX: u64 = 256 << 20;

/// The next line that says something; `None` at the end.
pub(super) fn next_line(input: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    loop {
        let mut line = Vec::new();
        if input
            .by_ref()
            .take(LINE_BYTES_MAX + 1)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(None);
        }
        if line.len() as u64 > LINE_BYTES_MAX {
            return Err(io::Error::other("a request is longer than 256 MiB"));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(line));
        }
    }
}
