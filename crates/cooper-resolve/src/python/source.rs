//! Reading a source distribution: its metadata where that is static, and what building it asks for.
//!
//! Nothing of it is run. PKG-INFO counts only where it says of itself that a build would not change what resolution
//! goes by (core metadata 2.2, `Dynamic`); everything else is known once the wheel is built.

use std::io::{Read, Seek};
use std::path::Path;
use std::str::FromStr as _;

use cooper_core::PythonRequirement;
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::metadata::{self, METADATA_BYTES_MAX};

/// How many bytes a source distribution may have.
pub(crate) const SOURCE_BYTES_MAX: u64 = 256 << 20;
const UNPACKED_BYTES_MAX: u64 = 2 << 30;
const ENTRIES_MAX: usize = 200_000;
/// The parser of TOML goes deeper with each line of a table that is not closed: this much is safe on a thread's stack.
const PYPROJECT_BYTES_MAX: u64 = 128 << 10;
/// How many build requirements sources may state.
const REQUIRES_MAX: usize = 200;
/// What PEP 517 says of sources that do not say how they are built.
const DEFAULT_REQUIRES: &str = "setuptools>=40.8.0";
/// What only a compiler can use.
const COMPILED: [&str; 13] = [
    "c", "cc", "cpp", "cxx", "h", "hpp", "pyx", "pxd", "f", "f90", "f95", "s", "rs",
];

/// What was read of one source distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SourceReading {
    /// Its reduced PKG-INFO, where a build would not change it.
    pub(crate) metadata: Option<String>,
    /// What its build asks for (`build-system.requires`).
    pub(crate) requires: Vec<PythonRequirement>,
    /// It has files that a compiler is needed for.
    pub(crate) compiled: bool,
}

/// The files that matter.
#[derive(Default)]
struct Found {
    pkg_info: Option<Vec<u8>>,
    pyproject: Option<Vec<u8>>,
    compiled: bool,
    entries: usize,
}

/// Read a source distribution, by its file name a `.tar.gz` or a `.zip`.
///
/// # Errors
/// Why it cannot be used, to follow its version in a sentence.
pub(crate) fn read(file: impl Read + Seek, filename: &str) -> Result<SourceReading, String> {
    let extension = Path::new(filename).extension();
    let found = if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("zip")) {
        read_zip(file)
    } else {
        read_tar(file)
    };
    let found = found.map_err(|fault| format!("has sources that cannot be read: {fault}"))?;
    Ok(SourceReading {
        metadata: found.pkg_info.as_deref().and_then(static_metadata),
        requires: requires(found.pyproject.as_deref())?,
        compiled: found.compiled,
    })
}

impl Found {
    /// Look at one regular file.
    fn see(&mut self, path: &str, content: &mut dyn Read) -> Result<(), String> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(format!("more than {ENTRIES_MAX} files"));
        }
        let extension = path
            .rsplit_once('.')
            .map(|(_, extension)| extension.to_ascii_lowercase());
        self.compiled |= extension.is_some_and(|extension| COMPILED.contains(&extension.as_str()));
        let path = path.strip_prefix("./").unwrap_or(path);
        match path.split_once('/').map(|(_, inside)| inside) {
            Some("PKG-INFO") => self.pkg_info = Some(whole(content, "PKG-INFO", METADATA_BYTES_MAX)?),
            Some("pyproject.toml") => {
                self.pyproject = Some(whole(content, "pyproject.toml", PYPROJECT_BYTES_MAX)?);
            }
            _ => {}
        }
        Ok(())
    }
}

fn whole(content: &mut dyn Read, name: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = content.take(bytes_max + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("{name} has more than {bytes_max} bytes"));
    }
    Ok(bytes)
}

/// Entries are taken as they are in the archive: long names, which come in entries of their own, are cut off. What
/// matters has a short one, and nothing of the archive's sizes is believed.
fn read_tar(file: impl Read) -> Result<Found, String> {
    let unpacked = MultiGzDecoder::new(file).take(UNPACKED_BYTES_MAX);
    let mut archive = tar::Archive::new(unpacked);
    let mut found = Found::default();
    let entries = archive.entries().map_err(|error| error.to_string())?;
    for entry in entries.raw(true) {
        let mut entry = entry.map_err(|error| error.to_string())?;
        if entry.header().entry_type().is_file() {
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            found.see(&path, &mut entry)?;
        }
    }
    if archive.into_inner().limit() == 0 {
        return Err(format!("more than {UNPACKED_BYTES_MAX} bytes unpacked"));
    }
    Ok(found)
}

fn read_zip(file: impl Read + Seek) -> Result<Found, String> {
    let mut archive = zip::ZipArchive::new(file).map_err(|error| error.to_string())?;
    let mut found = Found::default();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|error| error.to_string())?;
        if entry.is_file() {
            let path = String::from_utf8_lossy(entry.name_raw()).into_owned();
            found.see(&path, &mut entry)?;
        }
    }
    Ok(found)
}

/// The reduced PKG-INFO if a wheel of these sources must have the same requirements.
fn static_metadata(bytes: &[u8]) -> Option<String> {
    let reduced = metadata::reduce(bytes);
    let text = String::from_utf8_lossy(bytes);
    let fields = || {
        let head = text.lines().take_while(|line| !line.trim().is_empty());
        head.filter_map(|line| line.split_once(':'))
            .map(|(field, value)| {
                (
                    field.trim().to_ascii_lowercase(),
                    value.trim().to_ascii_lowercase(),
                )
            })
    };
    let (_, version) = fields().find(|(field, _)| field == "metadata-version")?;
    let (major, minor) = version.split_once('.')?;
    let version = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    let moving = ["requires-dist", "requires-python", "provides-extra"];
    let dynamic = fields().any(|(field, value)| field == "dynamic" && moving.contains(&value.as_str()));
    (version >= (2, 2) && !dynamic)
        .then(|| String::from_utf8(reduced).ok())
        .flatten()
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Pyproject {
    build_system: Option<BuildSystem>,
}

#[derive(Deserialize)]
struct BuildSystem {
    requires: Vec<String>,
}

/// `build-system.requires` of a pyproject.toml (PEP 518), or what holds without one (PEP 517).
fn requires(pyproject: Option<&[u8]>) -> Result<Vec<PythonRequirement>, String> {
    let refused = |fault: String| format!("has sources whose pyproject.toml is refused: {fault}");
    let parsed: Option<Pyproject> = match pyproject {
        Some(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
            Some(toml::from_str(text).map_err(|error| refused(error.message().to_owned()))?)
        }
        None => None,
    };
    let texts = match parsed.and_then(|pyproject| pyproject.build_system) {
        Some(system) => system.requires,
        None => vec![DEFAULT_REQUIRES.to_owned()],
    };
    if texts.len() > REQUIRES_MAX {
        return Err(refused(format!("more than {REQUIRES_MAX} build requirements")));
    }
    let parse = |text: &String| {
        PythonRequirement::from_str(text).map_err(|error| refused(format!("build requirement {error}")))
    };
    texts.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write as _};

    use super::*;

    fn tar(files: &[(&str, &str)]) -> Cursor<Vec<u8>> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(encoder);
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder
                .append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
        Cursor::new(builder.into_inner().unwrap().finish().unwrap())
    }

    fn texts(reading: &SourceReading) -> Vec<&str> {
        reading.requires.iter().map(PythonRequirement::as_str).collect()
    }

    #[test]
    fn static_metadata_counts_and_other_does_not() {
        let head = "Metadata-Version: 2.2\nName: a\nVersion: 1\nRequires-Dist: b\n";
        let table = [
            (head.to_owned(), true),
            (format!("{head}Dynamic: License-File\n"), true),
            (format!("{head}Dynamic: Requires-Dist\n"), false),
            (format!("{head}dynamic: requires-PYTHON\n"), false),
            (head.replace("2.2", "2.10"), true),
            (head.replace("2.2", "2.1"), false),
            (head.replace("2.2", "1.2"), false),
            (format!("{head}\nDynamic: Requires-Dist\n"), true),
            ("Name: a\n".to_owned(), false),
        ];
        for (text, counts) in table {
            let reading = read(tar(&[("a-1/PKG-INFO", &text)]), "a-1.tar.gz").unwrap();
            assert_eq!(reading.metadata.is_some(), counts, "{text}");
        }
    }

    #[test]
    fn only_the_files_at_the_top_speak_for_the_sources() {
        let system = "[build-system]\nrequires = ['hatchling>=1', 'cffi; sys_platform == \"linux\"']\n";
        let reading = read(
            tar(&[
                ("a-1/sub/PKG-INFO", "Metadata-Version: 2.2\nName: a\nVersion: 1\n"),
                ("a-1/sub/pyproject.toml", "no toml"),
                ("a-1/pyproject.toml", system),
                ("a-1/a.py", ""),
            ]),
            "a-1.tar.gz",
        )
        .unwrap();
        assert_eq!(reading.metadata, None);
        assert!(!reading.compiled);
        assert_eq!(
            texts(&reading),
            ["hatchling>=1", "cffi ; sys_platform == 'linux'"]
        );
    }

    #[test]
    fn without_a_build_system_it_is_setuptools() {
        for pyproject in [None, Some("[tool.x]\ny = 1\n")] {
            let files: Vec<(&str, &str)> = pyproject
                .map(|text| ("a-1/pyproject.toml", text))
                .into_iter()
                .collect();
            let reading = read(tar(&files), "a-1.tar.gz").unwrap();
            assert_eq!(texts(&reading), [DEFAULT_REQUIRES]);
        }
        let compiled = read(tar(&[("a-1/src/Fast.C", "")]), "a-1.tar.gz").unwrap();
        assert!(compiled.compiled);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let refused = |files: &[(&str, &str)]| read(tar(files), "a-1.tar.gz").unwrap_err();
        assert!(refused(&[("a-1/pyproject.toml", "[build-system")]).contains("pyproject.toml"));
        let url = "[build-system]\nrequires = ['x @ https://x.test/x.whl']\n";
        assert!(refused(&[("a-1/pyproject.toml", url)]).contains("URL"));
        // The parser's depth grows with such a text.
        let deep = "[e]\nu= 0.2\n[e]\nu= {0.2\n[e{e]\nu= 0.l\n";
        let count = usize::try_from(PYPROJECT_BYTES_MAX).unwrap() / deep.len();
        for (count, fault) in [
            (count, "pyproject.toml is refused"),
            (count + 1, "pyproject.toml"),
        ] {
            let fault_told = refused(&[("a-1/pyproject.toml", &deep.repeat(count))]);
            assert!(fault_told.contains(fault), "{fault_told}");
        }
        assert!(read(Cursor::new(b"no gzip".to_vec()), "a-1.tar.gz").is_err());
        assert!(read(Cursor::new(b"no zip".to_vec()), "a-1.zip").is_err());
        let mut cut = tar(&[("a-1/PKG-INFO", &"x".repeat(100_000))]).into_inner();
        cut.truncate(cut.len() / 2);
        assert!(read(Cursor::new(cut), "a-1.tar.gz").is_err());
    }

    #[test]
    fn zips_are_read_too() {
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        writer.start_file("a-1/PKG-INFO", options).unwrap();
        writer
            .write_all(b"Metadata-Version: 2.4\nName: a\nVersion: 1\n")
            .unwrap();
        let reading = read(writer.finish().unwrap(), "a-1.zip").unwrap();
        assert!(reading.metadata.is_some());
    }
}
