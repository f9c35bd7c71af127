//! Where an included file is: below the folder of the first one.

use std::fmt;

use super::fault::RequirementsFault;

/// A relative path below the folder of the first file: plain components only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IncludePath(String);

const LENGTH_MAX: usize = 1024;

impl IncludePath {
    /// What `text` means in the file at `from`, or in the first one.
    pub(super) fn new(from: Option<&Self>, text: &str) -> Result<Self, RequirementsFault> {
        if text.contains("://") {
            return Err(RequirementsFault::IncludeUrl);
        }
        let folder = from.and_then(|from| from.0.rsplit_once('/'));
        let folder = folder.map_or("", |(folder, _)| folder);
        let outside = text.starts_with(['/', '~']) || text.split('/').any(|part| part == "..");
        let shown = || text.chars().take(200).collect::<String>();
        if outside || text.contains('\\') {
            return Err(RequirementsFault::Outside { path: shown() });
        }
        let parts = folder.split('/').chain(text.split('/'));
        let parts: Vec<&str> = parts.filter(|part| !part.is_empty() && *part != ".").collect();
        let path = parts.join("/");
        if text.is_empty() || text.ends_with('/') || path.is_empty() || path.len() > LENGTH_MAX {
            return Err(RequirementsFault::NoFile { path: shown() });
        }
        Ok(Self(path))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IncludePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
