//! `dpkg-divert`'s table: files that one package's version of is put elsewhere.

use std::collections::BTreeMap;

/// The diversions in force in a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diversions(BTreeMap<String, Diversion>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Diversion {
    to: String,
    /// The package that diverts, whose own file stays where it is; `None` for the administrator's.
    by: Option<String>,
}

/// Why a diversions file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the diversions file is malformed at line {line}")]
pub struct ParseDiversionsError {
    /// Counted from 1.
    pub line: usize,
}

impl Diversions {
    /// Parse `/var/lib/dpkg/diversions`: three lines each, from, to, and the package or `:`.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseDiversionsError> {
        let wrong = |line| ParseDiversionsError { line };
        let text = std::str::from_utf8(bytes).map_err(|_| wrong(1))?;
        let lines: Vec<&str> = text.lines().collect();
        let mut table = BTreeMap::new();
        for (index, triple) in lines.chunks(3).enumerate() {
            let [from, to, by] = triple else {
                return Err(wrong(lines.len()));
            };
            if !from.starts_with('/') || !to.starts_with('/') || by.is_empty() {
                return Err(wrong(index * 3 + 1));
            }
            let by = (*by != ":").then(|| (*by).to_owned());
            table.insert(
                (*from).to_owned(),
                Diversion {
                    to: (*to).to_owned(),
                    by,
                },
            );
        }
        Ok(Self(table))
    }

    /// Where a file of `package` with the absolute path `path` goes, if it is diverted.
    pub fn target(&self, path: &str, package: &str) -> Option<&str> {
        let diversion = self.0.get(path)?;
        (diversion.by.as_deref() != Some(package)).then_some(diversion.to.as_str())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diverting_package_keeps_its_own_file() {
        let table = Diversions::parse(b"/bin/sh\n/bin/sh.distrib\ndash\n/a\n/b\n:\n").unwrap();
        assert_eq!(table.target("/bin/sh", "bash"), Some("/bin/sh.distrib"));
        assert_eq!(table.target("/bin/sh", "dash"), None);
        assert_eq!(table.target("/a", "dash"), Some("/b"));
        assert_eq!(table.target("/c", "dash"), None);
        assert!(Diversions::parse(b"/a\n/b\n").is_err());
        assert!(Diversions::parse(b"a\n/b\n:\n").is_err());
    }
}
