//! What a distribution says of itself: `METADATA` (core metadata), `WHEEL` and `entry_points.txt`.

use std::collections::{BTreeMap, BTreeSet};

use super::tags::{self, Tag};
use crate::rootfs::printable;

/// The fields of `METADATA` that an image's inventory needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoreMetadata {
    /// `Name`
    pub name: String,
    /// `Version`
    pub version: String,
    /// `Summary`
    pub summary: Option<String>,
    /// `License-Expression`: SPDX (PEP 639)
    pub licence_expression: Option<String>,
    /// `License`: free text, perhaps a whole licence
    pub licence: Option<String>,
    /// `License-File`
    pub licence_files: Vec<String>,
    /// `Classifier`
    pub classifiers: Vec<String>,
    /// `Requires-Dist`
    pub requires_dist: Vec<String>,
    /// `Requires-Python`
    pub requires_python: Option<String>,
    /// `Home-page`
    pub home_page: Option<String>,
    /// `Project-URL`
    pub project_urls: Vec<String>,
    /// `Author`, or `Author-email`
    pub author: Option<String>,
}

/// Why one of the three files is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// A field that must be there.
    #[error("`{file}` has no field `{field}`")]
    Missing {
        /// Which file.
        file: &'static str,
        /// Which field.
        field: &'static str,
    },
    /// A format that is not known.
    #[error("the wheel has format version `{version}`, only 1.x is known")]
    WheelVersion {
        /// What it says.
        version: String,
    },
    /// A `Tag` that is none.
    #[error("`WHEEL` has the tag `{tag}`, which is not PYTHON-ABI-PLATFORM")]
    Tag {
        /// What it says.
        tag: String,
    },
    /// A line of `entry_points.txt` that would make a script with other code in it, or none.
    #[error("`entry_points.txt` has a script that is not `name = module:object`: `{line}`")]
    EntryPoint {
        /// The line.
        line: String,
    },
}

const NOTHING: [&str; 3] = ["", "UNKNOWN", "None"];

impl CoreMetadata {
    /// Parse a `METADATA` file. It is read leniently: what is not UTF-8 is replaced, unknown fields are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetadataError> {
        let text = String::from_utf8_lossy(bytes);
        let mut fields = headers(&text);
        let mut all = |name: &str| fields.remove(name).unwrap_or_default();
        // Of a licence that is stated twice, neither counts: together they are none that could be read.
        let mut stated = |name: &str| {
            let mut values = all(name);
            values.retain(|value| !NOTHING.contains(&value.as_str()));
            values.dedup();
            (!values.is_empty()).then(|| values.join("; "))
        };
        let (licence_expression, licence) = (stated("license-expression"), stated("license"));
        let mut first = |name: &str| {
            let stated = all(name).into_iter().next();
            stated.filter(|value| !NOTHING.contains(&value.as_str()))
        };
        let missing = |field| MetadataError::Missing {
            file: "METADATA",
            field,
        };
        Ok(Self {
            name: first("name").ok_or(missing("Name"))?,
            version: first("version").ok_or(missing("Version"))?,
            summary: first("summary"),
            licence_expression,
            licence,
            requires_python: first("requires-python"),
            home_page: first("home-page"),
            author: first("author").or_else(|| first("author-email")),
            licence_files: all("license-file"),
            classifiers: all("classifier"),
            requires_dist: all("requires-dist"),
            project_urls: all("project-url"),
        })
    }

    /// The licence as the distribution states it, the clearest statement first: SPDX expression, classifiers,
    /// the first line of the free text. Not judged.
    pub fn stated_licence(&self) -> Option<String> {
        if let Some(expression) = &self.licence_expression {
            return Some(expression.clone());
        }
        let classified = self.classifiers.iter().filter_map(|classifier| {
            let licence = classifier.strip_prefix("License :: ")?;
            let licence = licence
                .strip_prefix("OSI Approved")
                .unwrap_or(licence)
                .trim_start_matches(" :: ");
            (!licence.is_empty()).then_some(licence)
        });
        let classified: Vec<&str> = classified.collect();
        if !classified.is_empty() {
            return Some(classified.join(", "));
        }
        let line = self
            .licence
            .as_deref()?
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty())?;
        Some(line.chars().take(100).collect())
    }
}

/// The headers of an e-mail-like text by their lower-case names: continuation lines are joined with a line
/// break, the body after the first blank line is left.
fn headers(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last: Option<String> = None;
    for line in text.lines() {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            if let Some(value) = last.as_ref().and_then(|name| fields.get_mut(name)?.last_mut()) {
                value.push('\n');
                value.push_str(line.trim());
            }
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let name = name.trim().to_ascii_lowercase();
        fields
            .entry(name.clone())
            .or_default()
            .push(value.trim().to_owned());
        last = Some(name);
    }
    fields
}

/// What a `WHEEL` file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelFile {
    /// `Root-Is-Purelib`: the root goes to the library for pure Python.
    pub pure: bool,
    /// The `Tag` lines, expanded: older tools wrote compressed sets there.
    pub tags: BTreeSet<Tag>,
}

/// Parse a `WHEEL` file.
///
/// # Errors
/// When its version is not 1.x, it says not where its root goes, or has no tag or none that is one.
pub fn parse_wheel(bytes: &[u8]) -> Result<WheelFile, MetadataError> {
    let text = String::from_utf8_lossy(bytes);
    let fields = headers(&text);
    let first = |name: &str| fields.get(name).and_then(|values| values.first());
    let missing = |field| MetadataError::Missing { file: "WHEEL", field };
    let version = first("wheel-version").ok_or(missing("Wheel-Version"))?;
    if version.split('.').next() != Some("1") {
        return Err(MetadataError::WheelVersion {
            version: version.chars().take(20).collect(),
        });
    }
    let pure = first("root-is-purelib").ok_or(missing("Root-Is-Purelib"))?;
    let mut tags = BTreeSet::new();
    for line in fields.get("tag").ok_or(missing("Tag"))? {
        let expanded = tags::expand(line).ok_or_else(|| MetadataError::Tag {
            tag: printable(line.as_bytes()).chars().take(120).collect(),
        })?;
        tags.extend(expanded);
    }
    Ok(WheelFile {
        pure: pure.eq_ignore_ascii_case("true"),
        tags,
    })
}

/// A script that an installer makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// The file's name.
    pub name: String,
    /// The module to import.
    pub module: String,
    /// The object in it to call, dots and all.
    pub object: String,
}

impl EntryPoint {
    /// The script's text, as pip writes it.
    pub fn script(&self) -> String {
        let Self { module, object, .. } = self;
        let imported = object.split('.').next().unwrap_or(object);
        format!(
            "#!/usr/bin/python3\nimport sys\nfrom {module} import {imported}\nif __name__ == '__main__':\n    \
             if sys.argv[0].endswith('.exe'):\n        sys.argv[0] = sys.argv[0][:-4]\n    \
             sys.exit({object}())\n"
        )
    }
}

/// Parse `entry_points.txt`: the scripts among the entry points, those of the console first.
pub fn parse_entry_points(bytes: &[u8]) -> Result<Vec<EntryPoint>, MetadataError> {
    let text = String::from_utf8_lossy(bytes);
    let mut section = "";
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim();
        } else if section == "console_scripts" || section == "gui_scripts" {
            let entry = parse_script(line).filter(|entry| names.insert(entry.name.clone()));
            let entry = entry.ok_or_else(|| MetadataError::EntryPoint {
                line: printable(line.as_bytes()),
            })?;
            found.push(entry);
        }
    }
    Ok(found)
}

/// `name = module:object [extras]`
fn parse_script(line: &str) -> Option<EntryPoint> {
    let (name, target) = line.split_once('=')?;
    let target = target.split('[').next()?.trim();
    let (module, object) = target.split_once(':')?;
    let (name, module, object) = (name.trim(), module.trim(), object.trim());
    let plain = |c: char| c.is_alphanumeric() || "._-+ ".contains(c);
    let good_name =
        !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && name.chars().all(plain);
    (good_name && is_dotted(module) && is_dotted(object)).then(|| EntryPoint {
        name: name.to_owned(),
        module: module.to_owned(),
        object: object.to_owned(),
    })
}

/// Identifiers with dots between them: nothing that could be other code.
fn is_dotted(text: &str) -> bool {
    text.split('.').all(|part| {
        let mut characters = part.chars();
        let starts = characters
            .next()
            .is_some_and(|first| first.is_alphabetic() || first == '_');
        starts && characters.all(|next| next.is_alphanumeric() || next == '_')
    })
}

/// A line of a `.pth` file that does something at every start of Python.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PthLine {
    /// Code that is run.
    Code(String),
    /// A place that is added to Python's path, relative to the library.
    Place(String),
}

/// The lines of a `.pth` file as `site` of any Python reads them: 3.13 passes over a byte order mark and cuts at everything
/// that `str.splitlines` does, earlier ones at line feeds and carriage returns.
pub(super) fn pth_lines(bytes: &[u8]) -> Vec<PthLine> {
    const CUTS: [char; 10] = [
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        // Then it is read by the locale's encoding; each of them has the letters of ASCII.
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    };
    let says = |line: &&str| !line.starts_with('#') && !line.trim().is_empty();
    let read = |line: &str| {
        if line.starts_with("import ") || line.starts_with("import\t") {
            PthLine::Code(printable(line.as_bytes()))
        } else {
            PthLine::Place(line.trim_end().to_owned())
        }
    };
    text.split(CUTS).filter(says).map(read).collect()
}

/// The lines of a `.pth` file that Python runs at every start.
pub fn pth_code(bytes: &[u8]) -> Vec<String> {
    let code = |line| match line {
        PthLine::Code(code) => Some(code),
        PthLine::Place(_) => None,
    };
    pth_lines(bytes).into_iter().filter_map(code).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_until_the_description() {
        let parsed = CoreMetadata::parse(
            b"Metadata-Version: 2.1\nName: x\nVersion: 1\nSummary: \xc3\xa9\xff\nLicense: A\n        B\n\
              Classifier: License :: OSI Approved :: MIT License\nClassifier: Other\nHome-page: UNKNOWN\n\nName: y\n",
        );
        let parsed = parsed.unwrap();
        assert_eq!((parsed.name.as_str(), parsed.version.as_str()), ("x", "1"));
        assert_eq!(parsed.licence.as_deref(), Some("A\nB"));
        assert_eq!(parsed.summary.as_deref(), Some("é\u{fffd}"));
        assert_eq!((parsed.classifiers.len(), parsed.home_page), (2, None));
        assert!(CoreMetadata::parse(b"Name: x\n").is_err());
    }

    #[test]
    fn the_clearest_statement_of_the_licence_counts() {
        let stated = |fields: &str| {
            CoreMetadata::parse(format!("Name: x\nVersion: 1\n{fields}").as_bytes())
                .unwrap()
                .stated_licence()
        };
        let osi = "Classifier: License :: OSI Approved\n";
        let mit = "Classifier: License :: OSI Approved :: MIT License\n";
        assert_eq!(
            stated(&format!("License: z\nLicense-Expression: MIT\n{mit}")).as_deref(),
            Some("MIT")
        );
        assert_eq!(
            stated(&format!("License: z\n{osi}{mit}")).as_deref(),
            Some("MIT License")
        );
        assert_eq!(
            stated(&format!("License: BSD\n the text\n{osi}")).as_deref(),
            Some("BSD")
        );
        assert_eq!(stated(osi), None);
        assert_eq!(stated("License: UNKNOWN\n"), None);
        assert_eq!(
            stated("Classifier: License :: Public Domain\n").as_deref(),
            Some("Public Domain")
        );
    }

    #[test]
    fn wheel_files_are_of_version_one() {
        let parsed = |text: &str| {
            let parsed = parse_wheel(text.as_bytes()).unwrap();
            (parsed.pure, tags::shown(parsed.tags.iter()))
        };
        assert_eq!(
            parsed("Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py2-none-any\nTag: py3-none-any\n"),
            (true, "py2-none-any, py3-none-any".to_owned())
        );
        assert_eq!(
            parsed("Wheel-Version: 1.9\nRoot-Is-Purelib: False\nTag: py2.py3-none-any\n"),
            (false, "py2-none-any, py3-none-any".to_owned())
        );
        for bad in [
            "Wheel-Version: 2.0\nRoot-Is-Purelib: true\nTag: py3-none-any",
            "Root-Is-Purelib: true\nTag: py3-none-any",
            "Wheel-Version: 1.0\nTag: py3-none-any",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: any",
        ] {
            assert!(parse_wheel(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn entry_points_hold_no_code() {
        let text =
            b"[console_scripts]\n# c\npip3 = a.b:c.d [x,y]\n\n[other]\nz = nonsense\n[gui_scripts]\ng=m:f\n";
        let found = parse_entry_points(text).unwrap();
        assert_eq!(
            found.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
            ["pip3", "g"]
        );
        assert!(
            found[0].script().contains("from a.b import c\n")
                && found[0].script().contains("sys.exit(c.d())")
        );
        for bad in [
            "../x = a:b",
            "x = a",
            "x = a:b;c",
            "x = a:b()",
            "x = a b:c",
            "x = :c",
            "x",
            "a/b = c:d",
            "x=1a:b",
        ] {
            let text = format!("[console_scripts]\n{bad}\n");
            assert!(parse_entry_points(text.as_bytes()).is_err(), "{bad}");
        }
        assert!(parse_entry_points(b"[console_scripts]\na = b:c\na = d:e\n").is_err());
    }

    #[test]
    fn lines_that_run_are_shown() {
        assert_eq!(
            pth_code(b"import os; x\n/path\nimports\n import y\nimport\tz"),
            ["import os; x", "import\u{fffd}z"]
        );
        // What `site` of Python 3.13 runs, and an eye or a simpler reader may miss.
        for text in [
            "\u{feff}import x",
            "a\rimport x",
            "a\u{b}import x",
            "a\u{c}import x",
            "a\u{1c}import x",
            "a\u{1d}import x",
            "a\u{1e}import x",
            "a\u{85}import x",
            "a\u{2028}import x",
            "a\u{2029}import x",
            "# a\r\nimport x\r\n",
        ] {
            assert_eq!(pth_code(text.as_bytes()), ["import x"], "{text:?}");
        }
        assert_eq!(pth_code(b"\xff\x85import x"), ["import x"]);
        let place = |text: &str| PthLine::Place(text.to_owned());
        assert_eq!(
            pth_lines(b"# c\n \n../a \nb\\c\n"),
            [place("../a"), place("b\\c")]
        );
    }
}
