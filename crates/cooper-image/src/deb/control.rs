//! A package's control archive: its stanza, its scripts and its lists.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use cooper_core::lock::Architecture;
use cooper_core::{DebianName, DebianVersion};

use super::tar::{TarEntry, TarError, TarKind, TarLimits, TarReader};
use crate::rootfs::{TreePath, UnpackLimits, printable};

/// Everything in a package's control archive.
#[derive(Debug, Clone)]
pub struct Control {
    /// The fields of the file `control`.
    pub stanza: Stanza,
    /// `Package`
    pub package: DebianName,
    /// `Version`
    pub version: DebianVersion,
    /// `Architecture`
    pub architecture: Architecture,
    /// The other files: `preinst`, `postinst`, `triggers`, `md5sums`, `conffiles` and so on, as dpkg keeps
    /// them below `/var/lib/dpkg/info`.
    pub files: BTreeMap<String, ControlFile>,
    /// The configuration files, from `conffiles`.
    pub conffiles: Vec<Conffile>,
}

/// One file of a control archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFile {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// One line of `conffiles` (deb-conffiles(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conffile {
    /// The file.
    pub path: TreePath,
    /// It is to be removed on upgrade, so the package does not carry it.
    pub remove_on_upgrade: bool,
}

/// One stanza of `Field: value` lines (deb822(5)), in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stanza {
    text: String,
    fields: Vec<(String, String)>,
}

/// Why a control archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The archive around it.
    #[error("the control archive is malformed")]
    Tar(#[from] TarError),
    /// An entry that is not a plain file with a plain name.
    #[error("the control archive has an entry `{name}` that is not a plain file with a plain name")]
    Entry {
        /// The entry's name.
        name: String,
    },
    /// The same name twice.
    #[error("the control archive has `{name}` twice")]
    Duplicate {
        /// The entry's name.
        name: String,
    },
    /// No file `control`.
    #[error("the control archive has no file `control`")]
    Missing,
    /// A line that is not deb822.
    #[error("line {line} of the control file is malformed: {reason}")]
    Stanza {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// A field that is missing or has a value that it may not have.
    #[error("the field `{field}` of the control file is missing or wrong: `{value}`")]
    Field {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// A line of `conffiles` that is not a path.
    #[error("line {line} of `conffiles` is not a path inside the package")]
    Conffiles {
        /// Counted from 1.
        line: usize,
    },
}

impl Stanza {
    /// Parse one stanza; blank lines may only be at the end.
    pub fn parse(text: &str) -> Result<Self, ControlError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut ended = false;
        for (index, line) in text.lines().enumerate() {
            let wrong = |reason| ControlError::Stanza {
                line: index + 1,
                reason,
            };
            let blank = line.trim_ascii().is_empty();
            match (blank, fields.last_mut()) {
                (true, _) => ended = true,
                (false, _) if ended => return Err(wrong("there is a second stanza")),
                (false, Some((_, value))) if line.starts_with([' ', '\t']) => {
                    value.push('\n');
                    value.push_str(line.trim_ascii_end());
                }
                (false, _) => {
                    let (name, value) = parse_field(line).ok_or_else(|| wrong("it is not `Field: value`"))?;
                    if !seen.insert(name.to_ascii_lowercase()) {
                        return Err(wrong("the field is there twice"));
                    }
                    fields.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        Ok(Self {
            text: text.to_owned(),
            fields,
        })
    }

    /// The text as the package has it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A field's value; the name's case does not matter. Continuation lines are kept with their first blank.
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self
            .fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Every field in its order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn parse_field(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(':')?;
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && !name.starts_with(['#', '-'])).then(|| (name, value.trim_ascii()))
}

impl Control {
    /// Read an unpacked control archive.
    pub fn read(stream: impl BufRead, limits: &UnpackLimits) -> Result<Self, ControlError> {
        let tar_limits = TarLimits {
            bytes_max: limits.control_bytes_max,
            entries_max: 256,
            extension_bytes_max: 65_536,
        };
        let mut reader = TarReader::new(stream, tar_limits);
        let mut files = BTreeMap::new();
        while let Some(entry) = reader.next_entry()? {
            let path = TreePath::parse(&entry.path, 256);
            if entry.kind == TarKind::Directory && path.as_ref().is_ok_and(TreePath::is_root) {
                continue;
            }
            let name = path.ok().and_then(|path| plain_name(&path, &entry));
            let name = name.ok_or_else(|| ControlError::Entry {
                name: printable(&entry.path),
            })?;
            let mut bytes = Vec::new();
            reader.read_body(|piece| {
                bytes.extend_from_slice(piece);
                Ok::<(), TarError>(())
            })?;
            let file = ControlFile {
                bytes,
                mode: entry.mode & 0o777,
            };
            if files.insert(name.clone(), file).is_some() {
                return Err(ControlError::Duplicate { name });
            }
        }
        Self::from_files(files)
    }

    fn from_files(mut files: BTreeMap<String, ControlFile>) -> Result<Self, ControlError> {
        let control = files.remove("control").ok_or(ControlError::Missing)?;
        let text = String::from_utf8(control.bytes).map_err(|_| ControlError::Stanza {
            line: 1,
            reason: "the file is not UTF-8",
        })?;
        let stanza = Stanza::parse(&text)?;
        let conffiles = files
            .get("conffiles")
            .map_or(Ok(Vec::new()), |file| parse_conffiles(&file.bytes))?;
        Ok(Self {
            package: parse_value(&stanza, "Package")?,
            version: parse_value(&stanza, "Version")?,
            architecture: parse_architecture(&stanza)?,
            stanza,
            files,
            conffiles,
        })
    }

    /// The content of one file, for example `postinst`.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(|file| file.bytes.as_slice())
    }
}

/// Control files are flat and have names that are safe as the end of a file name; `list` is dpkg's own.
fn plain_name(path: &TreePath, entry: &TarEntry) -> Option<String> {
    let name = path.as_str();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
    let first = name.as_bytes().first()?;
    let accepted = entry.kind == TarKind::File && name.bytes().all(plain) && first.is_ascii_alphabetic();
    (accepted && name != "list").then(|| name.to_owned())
}

fn parse_value<T: std::str::FromStr>(stanza: &Stanza, field: &'static str) -> Result<T, ControlError> {
    let value = stanza.field(field).unwrap_or_default();
    value.parse().map_err(|_| ControlError::Field {
        field,
        value: value.chars().take(80).collect(),
    })
}

fn parse_architecture(stanza: &Stanza) -> Result<Architecture, ControlError> {
    match stanza.field("Architecture") {
        Some("amd64") => Ok(Architecture::Amd64),
        Some("all") => Ok(Architecture::All),
        other => {
            let value = other.unwrap_or_default().chars().take(80).collect();
            Err(ControlError::Field {
                field: "Architecture",
                value,
            })
        }
    }
}

/// Parse the lines of `conffiles`.
pub fn parse_conffiles(bytes: &[u8]) -> Result<Vec<Conffile>, ControlError> {
    let parse = |(index, line): (usize, &[u8])| {
        let (flag, path) = match line.strip_prefix(b"remove-on-upgrade ") {
            Some(path) => (true, path),
            None => (false, line),
        };
        let path = path
            .trim_ascii()
            .strip_prefix(b"/")
            .and_then(|path| TreePath::parse(path, 2_048).ok());
        let path = path
            .filter(|path| !path.is_root())
            .ok_or(ControlError::Conffiles { line: index + 1 })?;
        Ok(Conffile {
            path,
            remove_on_upgrade: flag,
        })
    };
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(parse)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_keep_their_order_and_continuations() {
        let stanza = Stanza::parse("Package: x\nDescription: short\n long\n .\n more\nTag:\n a\n\n").unwrap();
        assert_eq!(stanza.field("package"), Some("x"));
        assert_eq!(stanza.field("Description"), Some("short\n long\n .\n more"));
        assert_eq!(stanza.field("Tag"), Some("\n a"));
        assert_eq!(
            stanza.fields().map(|(name, _)| name).collect::<Vec<_>>(),
            ["Package", "Description", "Tag"]
        );
    }

    #[test]
    fn malformed_stanzas_are_refused() {
        for bad in [
            " x",
            "Package",
            ": x",
            "a b: c",
            "#a: b",
            "A: 1\na: 2",
            "A: 1\n\nB: 2",
            "A: 1\n\n B",
        ] {
            assert!(Stanza::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn conffiles_are_paths_inside() {
        let parsed = parse_conffiles(b"/etc/a\nremove-on-upgrade /etc/b\n\n").unwrap();
        assert_eq!(
            parsed.iter().map(|one| one.remove_on_upgrade).collect::<Vec<_>>(),
            [false, true]
        );
        assert_eq!(parsed[1].path.as_str(), "etc/b");
        for bad in ["etc/a", "/", "/../a", "other-flag /etc/a", "//a"] {
            assert!(parse_conffiles(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
