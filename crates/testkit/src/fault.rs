//! What a server can be told to do wrong.

use std::time::Duration;

/// One way to answer badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 404.
    NotFound,
    /// This status with a short text.
    Status(u16),
    /// A whole answer whose body has only the first bytes: a file cut short on the mirror.
    CutShort(u64),
    /// The right `Content-Length`, so many bytes of the body, then the connection closes.
    CloseAfter(u64),
    /// The right `Content-Length`, so many bytes, then silence until the client leaves.
    HangAfter(u64),
    /// The connection closes without an answer.
    NoAnswer,
    /// The body over and over, without a length, until the client leaves.
    Endless,
    /// The body at so many bytes a second.
    Trickle(u64),
    /// The right length, one byte in the middle changed.
    WrongBytes,
    /// The right bytes, in chunks, without a length.
    Chunked,
    /// This `Content-Length`, whatever the body has; what is missing never comes.
    ClaimLength(u64),
    /// 302 to this path or URL.
    Redirect(String),
    /// The right answer after a while.
    Delay(Duration),
    /// The whole body with 200 where a range was asked.
    IgnoreRange,
    /// 206 with other bytes than were asked: those from the beginning.
    WrongRange,
}

/// A fault, where it strikes, and how often.
#[derive(Debug, Clone)]
pub(crate) struct PlannedFault {
    pub(crate) pattern: String,
    pub(crate) fault: Fault,
    pub(crate) left: Option<u32>,
}

impl PlannedFault {
    pub(crate) fn strikes(&self, path: &str) -> bool {
        matches(&self.pattern, path) && self.left != Some(0)
    }
}

/// Whether a pattern, which may end in `*`, means this path.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == pattern,
    }
}
