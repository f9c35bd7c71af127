//! Reading one `cooper.toml`.

use std::path::{Path, PathBuf};

use cooper_core::text::shortened;
use toml::de::{DeTable, DeValue};

use super::SettingsError;
use super::debian_source;
use super::key::{KEYS, Key};

/// What one file says of one setting.
#[derive(Clone)]
pub(crate) struct FileEntry {
    pub(crate) key: &'static Key,
    pub(crate) texts: Vec<String>,
    pub(crate) line: usize,
}

/// One file's settings.
#[derive(Clone)]
pub(crate) struct SettingsFile {
    pub(crate) path: PathBuf,
    pub(crate) entries: Vec<FileEntry>,
}

/// How large a settings file may be, in bytes. The parser of TOML goes deeper with each line of a table that is not closed: this
/// much is safe on a thread's stack.
pub(super) const FILE_BYTES_MAX: u64 = 128 << 10;

/// How much of a key or a value an error shows, in characters.
const SHOWN_MAX: usize = 300;

impl SettingsFile {
    /// Read a file; `None` when there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, SettingsError> {
        let failed = |source| SettingsError::Read {
            path: path.to_owned(),
            source,
        };
        let Some(text) = read_text(path, FILE_BYTES_MAX).map_err(failed)? else {
            return Ok(None);
        };
        Self::parse(path, &text).map(Some)
    }

    /// Parse a file's text; paths in it are relative to its folder.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, SettingsError> {
        let table = DeTable::parse(text).map_err(|error| SettingsError::Syntax {
            path: path.to_owned(),
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            reason: shown(error.message()),
        })?;
        let mut file = Self {
            path: path.to_owned(),
            entries: Vec::new(),
        };
        file.take_table(text, "", table.get_ref())?;
        Ok(file)
    }

    fn take_table(&mut self, text: &str, prefix: &str, table: &DeTable<'_>) -> Result<(), SettingsError> {
        for (name, value) in table {
            let dotted = format!("{prefix}{}", name.get_ref());
            let line = line_of(text, name.span().start);
            if let Some(key) = Key::find(&dotted) {
                let texts = self.texts(key, value.get_ref(), line)?;
                self.entries.push(FileEntry { key, texts, line });
                continue;
            }
            let section = format!("{dotted}.");
            match value.get_ref() {
                DeValue::Table(inner) if KEYS.iter().any(|key| key.name.starts_with(&section)) => {
                    self.take_table(text, &section, inner)?;
                }
                _ => return Err(self.unknown(&dotted, line)),
            }
        }
        Ok(())
    }

    fn unknown(&self, dotted: &str, line: usize) -> SettingsError {
        let near = cooperage::chat::nearest(dotted, KEYS.iter().map(|key| key.name));
        SettingsError::UnknownKey {
            path: self.path.clone(),
            line,
            key: shown(dotted),
            near,
        }
    }

    fn table(&self, value: &DeValue<'_>) -> Result<String, String> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        match value {
            DeValue::Table(table) => debian_source::canonical(table, folder),
            _ => Err("expected tables: `[[debian.source]]`".to_owned()),
        }
    }

    fn texts(
        &self,
        key: &'static Key,
        value: &DeValue<'_>,
        line: usize,
    ) -> Result<Vec<String>, SettingsError> {
        let wrong = |reason: String| SettingsError::Value {
            origin: format!("{}:{line}", self.path.display()),
            key: key.name,
            reason: shown(&reason),
        };
        let mut texts = match value {
            DeValue::Array(values) if key.tables => {
                let each = values.iter().map(|value| self.table(value.get_ref()));
                each.collect::<Result<_, _>>().map_err(wrong)?
            }
            DeValue::Array(values) if key.list => {
                let each = values.iter().map(|value| scalar(value.get_ref()));
                each.collect::<Option<Vec<_>>>()
                    .ok_or_else(|| wrong("expected a list of texts".to_owned()))?
            }
            single => vec![
                scalar(single).ok_or_else(|| wrong(format!("{} is not possible here", single.type_str())))?,
            ],
        };
        (key.check)(&texts).map_err(wrong)?;
        if key.path {
            let folder = self.path.parent().unwrap_or(Path::new("/"));
            texts = texts
                .iter()
                .map(|text| folder.join(text).display().to_string())
                .collect();
        }
        Ok(texts)
    }
}

/// What of a text that the file chooses is shown.
fn shown(text: &str) -> String {
    shortened(text, SHOWN_MAX)
}

/// A value as the text that a variable or a flag would have.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(switch) => Some(switch.to_string()),
        _ => None,
    }
}

/// The number of the line that has this byte, from 1.
fn line_of(text: &str, byte: usize) -> usize {
    text.bytes().take(byte).filter(|byte| *byte == b'\n').count() + 1
}

/// The text of a small file; `None` when there is none.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> std::io::Result<Option<String>> {
    use std::io::Read as _;
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(std::io::Error::other(format!(
            "the file is larger than {bytes_max} bytes"
        )));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SettingsFile, SettingsError> {
        SettingsFile::parse(Path::new("/project/cooper.toml"), text)
    }

    #[test]
    fn keys_may_be_dotted_or_in_tables() {
        for text in [
            "run.memory = \"64MiB\"",
            "[run]\nmemory = \"64MiB\"",
            "run = { memory = \"64MiB\" }",
        ] {
            let file = parse(text).unwrap();
            assert_eq!(file.entries[0].key.name, "run.memory");
            assert_eq!(file.entries[0].texts, ["64MiB"]);
        }
        let file =
            parse("debian.mirrors = [\"http://a.test/debian\", \"http://b.test/debian\"]\nrun.pids = 7")
                .unwrap();
        assert_eq!(file.entries[0].texts.len(), 2);
        assert_eq!(
            (file.entries[1].texts[0].as_str(), file.entries[1].line),
            ("7", 2)
        );
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let file = parse("store = \"store\"\ndebian.keyring = \"/k.gpg\"").unwrap();
        let texts: Vec<_> = file
            .entries
            .iter()
            .map(|entry| (entry.key.name, entry.texts[0].as_str()))
            .collect();
        assert!(texts.contains(&("store", "/project/store")), "{texts:?}");
        assert!(texts.contains(&("debian.keyring", "/k.gpg")), "{texts:?}");
    }

    #[test]
    fn errors_name_the_line_and_the_nearest_key() {
        let shown = |text: &str| {
            let error = parse(text).map(|file| file.entries.len()).unwrap_err();
            format!("{error} | {}", error.hint())
        };
        assert!(
            shown("\norganization = \"x\"").contains("/project/cooper.toml:2"),
            "{}",
            shown("\norganization = \"x\"")
        );
        assert!(
            shown("organization = \"x\"").contains("`organisation`"),
            "{}",
            shown("organization = \"x\"")
        );
        assert!(
            shown("[run]\nmemroy = 1").contains("`run.memory`"),
            "{}",
            shown("[run]\nmemroy = 1")
        );
        assert!(
            shown("[runn]\nmemory = 1").contains("runn"),
            "{}",
            shown("[runn]\nmemory = 1")
        );
        assert!(shown("a =").contains(":1"), "{}", shown("a ="));
        for bad in [
            "store = 1979-05-27",
            "run = 1",
            "run.pids = [1]",
            "run.pids = 0",
            "base = \"x\"",
            "a = 1\na = 2",
            "debian.mirrors = []",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
