//! Python wheels: checks and installs them where Debian's Python looks for them.
//!
//! The binary distribution format (PEP 427 and its successors) says what a wheel is; everything in it is
//! checked before the first byte is written, and the content against `RECORD` while it is written. Names are
//! compared exactly: two names that differ in case are two files, as on Linux they are.
//!
//! Bytecode is not made here.

mod install;
mod licences;
pub mod metadata;
mod place;
pub mod record;
pub mod tags;
mod traits;
pub mod zip;

use std::collections::BTreeMap;
use std::fs::File;

use cooper_core::PythonName;
use cooper_core::lock::PythonArtefact;
use cooper_core::python::DistributionVersion;

use crate::deb::ar::PackageBytes;
use crate::layer::PackError;
use crate::rootfs::{ParseTreePathError, RootfsError, TreePath, UnpackLimits, printable};
pub(crate) use install::hidden_program;
pub use install::{InstalledWheel, PthFile};
pub use metadata::{CoreMetadata, EntryPoint, MetadataError, WheelFile};
use record::{LocatedFault, RecordFault, RecordLine};
pub use traits::inspect;
use zip::{Zip, ZipEntry, ZipError};

/// A wheel whose directory, `METADATA`, `WHEEL`, `RECORD` and entry points were read and checked.
#[derive(Debug)]
pub struct Wheel {
    zip: Zip,
    /// The paths of the entries, in their order.
    paths: Vec<TreePath>,
    dist_info: String,
    metadata: CoreMetadata,
    declared: WheelFile,
    record: BTreeMap<String, RecordLine>,
    entry_points: Vec<EntryPoint>,
}

/// Why a wheel is refused, or could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    /// The archive.
    #[error("it is not a wheel that can be read")]
    Zip(#[from] ZipError),
    /// A path in the archive.
    #[error("the wheel has a path that is not accepted")]
    Path(#[from] ParseTreePathError),
    /// A path that only other systems understand.
    #[error("the path `{path}` is refused: it is one of another system")]
    ForeignPath {
        /// The path.
        path: String,
    },
    /// Not exactly one `.dist-info` directory.
    #[error("the wheel has {} `.dist-info` directories, one is needed", found.len())]
    DistInfo {
        /// Their names.
        found: Vec<String>,
    },
    /// A file that must be there.
    #[error("the wheel has no file `{path}`")]
    Missing {
        /// The path.
        path: String,
    },
    /// `METADATA`, `WHEEL` or `entry_points.txt`.
    #[error("the wheel's metadata is refused")]
    Metadata(#[from] MetadataError),
    /// The wheel is of another distribution than the lock says.
    #[error("the wheel's {place} says `{found}`, the lock says `{expected}`")]
    Identity {
        /// Where it says so.
        place: &'static str,
        /// Name and version in the lock.
        expected: String,
        /// Name and version in the wheel.
        found: String,
    },
    /// The wheel is for other interpreters or platforms than its file name says, by which it was chosen.
    #[error("the wheel is named for {}, its `WHEEL` file says {inside}", named.as_deref().unwrap_or("nothing"))]
    Tags {
        /// The tags in the name that `WHEEL` does not bear out; none where the name has no tags.
        named: Option<String>,
        /// The tags in `WHEEL`.
        inside: String,
    },
    /// `RECORD`, or a file that does not agree with it.
    #[error("`RECORD` and `{path}` do not agree: {fault}")]
    Record {
        /// The file.
        path: String,
        /// What is wrong.
        fault: RecordFault,
    },
    /// A directory in `.data` that has no place.
    #[error("`{path}` is in a part of `.data` that has no place to go to")]
    DataKey {
        /// The path.
        path: String,
    },
    /// A file that would go into another distribution's `.dist-info` or `.egg-info`.
    #[error("`{path}` would go into the metadata of another distribution")]
    ForeignDistInfo {
        /// The path.
        path: String,
    },
    /// A module that the interpreter imports by itself.
    #[error("`{path}` would run at every start of the interpreter")]
    StartupModule {
        /// The absolute path in the image.
        path: String,
    },
    /// A program of the base would be hidden.
    #[error("`{path}` would take the place of `{program}`")]
    BaseProgram {
        /// The absolute path in the image.
        path: String,
        /// The base's program.
        program: String,
    },
    /// Two entries go to one place.
    #[error("two files of the wheel go to `{path}`")]
    Twice {
        /// The absolute path in the image.
        path: String,
    },
    /// Two distributions have different files of one name.
    #[error("`{distribution}` and `{other}` have different files `{path}`")]
    Conflict {
        /// The distribution that was being installed.
        distribution: String,
        /// The distribution that has the file.
        other: String,
        /// The absolute path in the image.
        path: String,
    },
    /// What the image stands on has another file of that name, which would be hidden.
    #[error("`{path}` is in the base already, and is another file there")]
    BelowConflict {
        /// The absolute path in the image.
        path: String,
    },
    /// The tree could not be written.
    #[error("cannot install the wheel")]
    Write(#[from] RootfsError),
    /// The files could not be compressed or kept.
    #[error("cannot prepare the wheel's files")]
    Pack(#[from] PackError),
}

impl From<LocatedFault> for WheelError {
    fn from(located: LocatedFault) -> Self {
        Self::Record {
            path: located.path,
            fault: located.fault,
        }
    }
}

impl WheelError {
    /// What the user can do, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Conflict {
                distribution, other, ..
            } => Some(format!(
                "ask for only one of `{distribution}` and `{other}`, or for other versions of them"
            )),
            Self::Identity { .. } => Some("resolve again with `--refresh`".to_owned()),
            Self::Record { .. } | Self::Metadata(_) | Self::Tags { .. } => {
                Some("the wheel itself is faulty: ask for another version".to_owned())
            }
            _ => None,
        }
    }
}

/// The METADATA of a wheel, of which nothing else is read.
///
/// # Errors
/// When it is not a zip, or has not exactly one METADATA.
pub fn metadata_of(file: File) -> Result<Vec<u8>, WheelError> {
    let size = file.metadata().map_err(ZipError::Read)?.len();
    let zip = Zip::open(PackageBytes::File { file, size }, &UnpackLimits::default())?;
    let is_metadata = |entry: &&ZipEntry| match entry.name.split_once('/') {
        Some((folder, "METADATA")) => folder.ends_with(".dist-info"),
        _ => false,
    };
    let found: Vec<&ZipEntry> = zip.entries().iter().filter(is_metadata).collect();
    match found.as_slice() {
        [only] => Ok(zip.read(only, METADATA_BYTES_MAX)?),
        found => Err(WheelError::DistInfo {
            found: found.iter().take(10).map(|entry| entry.name.clone()).collect(),
        }),
    }
}

const RECORD_BYTES_MAX: u64 = 64 << 20;
const METADATA_BYTES_MAX: u64 = 16 << 20;

impl Wheel {
    /// Read and check a wheel in a file.
    pub fn open(file: File, limits: &UnpackLimits) -> Result<Self, WheelError> {
        let size = file.metadata().map_err(ZipError::Read)?.len();
        Self::from_package_bytes(PackageBytes::File { file, size }, limits)
    }

    /// The same, and that it is what its entry in a lock says.
    pub fn open_as(file: File, artefact: &PythonArtefact, limits: &UnpackLimits) -> Result<Self, WheelError> {
        let wheel = Self::open(file, limits)?;
        wheel.check_identity(artefact)?;
        wheel.check_tags(&artefact.filename)?;
        Ok(wheel)
    }

    /// The same for a wheel in memory.
    pub fn from_bytes(bytes: Vec<u8>, limits: &UnpackLimits) -> Result<Self, WheelError> {
        Self::from_package_bytes(PackageBytes::Memory(bytes), limits)
    }

    fn from_package_bytes(bytes: PackageBytes, limits: &UnpackLimits) -> Result<Self, WheelError> {
        let zip = Zip::open(bytes, limits)?;
        let paths = zip.entries().iter().map(|entry| parse_path(entry, limits));
        let paths: Vec<TreePath> = paths.collect::<Result<_, _>>()?;
        let dist_info = only_dist_info(&paths)?;
        let read = |name: &str, bytes_max| {
            let path = format!("{dist_info}/{name}");
            let entry = zip.entries().iter().find(|entry| entry.name == path);
            entry.map(|entry| zip.read(entry, bytes_max)).transpose()
        };
        let needed = |name: &str, bytes_max| {
            let missing = || WheelError::Missing {
                path: format!("{dist_info}/{name}"),
            };
            read(name, bytes_max)?.ok_or_else(missing)
        };
        let metadata = CoreMetadata::parse(&needed("METADATA", METADATA_BYTES_MAX)?)?;
        let declared = metadata::parse_wheel(&needed("WHEEL", METADATA_BYTES_MAX)?)?;
        let record = record::parse(&needed("RECORD", RECORD_BYTES_MAX)?)?;
        let entry_points = read("entry_points.txt", METADATA_BYTES_MAX)?;
        let entry_points = entry_points.map_or(Ok(Vec::new()), |text| metadata::parse_entry_points(&text))?;
        let wheel = Self {
            zip,
            paths,
            dist_info,
            metadata,
            declared,
            record,
            entry_points,
        };
        wheel.check_record()?;
        Ok(wheel)
    }

    /// What the distribution says of itself.
    pub fn metadata(&self) -> &CoreMetadata {
        &self.metadata
    }

    /// Whether the wheel is the one that the lock names: by its `.dist-info` directory and by its `METADATA`.
    pub fn check_identity(&self, artefact: &PythonArtefact) -> Result<(), WheelError> {
        let is = |name: &str, version: &str| {
            let name = name.parse::<PythonName>().is_ok_and(|name| name == artefact.name);
            name && version
                .parse::<DistributionVersion>()
                .is_ok_and(|version| version == artefact.version)
        };
        let wrong = |place, found: String| {
            let expected = format!("{} {}", artefact.name, artefact.version);
            Err(WheelError::Identity {
                place,
                expected,
                found: printable(found.as_bytes()),
            })
        };
        let CoreMetadata { name, version, .. } = &self.metadata;
        if !is(name, version) {
            return wrong("METADATA", format!("{name} {version}"));
        }
        let stem = self.stem();
        let mut splits = stem
            .match_indices('-')
            .map(|(at, _)| (&stem[..at], &stem[at + 1..]));
        if splits.any(|(name, version)| is(name, version)) {
            return Ok(());
        }
        wrong("`.dist-info` directory", stem.to_owned())
    }

    /// Whether the wheel is for what the file name in the lock says.
    pub fn check_tags(&self, filename: &str) -> Result<(), WheelError> {
        let inside = &self.declared.tags;
        let wrong = |named| WheelError::Tags {
            named,
            inside: tags::shown(inside.iter()),
        };
        let named = tags::of_file_name(filename).ok_or_else(|| wrong(None))?;
        let left = tags::not_borne_out(&named, inside);
        if left.is_empty() {
            return Ok(());
        }
        Err(wrong(Some(tags::shown(left.into_iter()))))
    }

    /// `NAME-VERSION` of the directories `NAME-VERSION.dist-info` and `NAME-VERSION.data`.
    fn stem(&self) -> &str {
        self.dist_info
            .strip_suffix(".dist-info")
            .unwrap_or(&self.dist_info)
    }

    /// Whether a file is one of those that `RECORD` cannot list.
    fn is_unlisted(&self, path: &str) -> bool {
        let name = path
            .strip_prefix(self.dist_info.as_str())
            .and_then(|rest| rest.strip_prefix('/'));
        matches!(name, Some("RECORD" | "RECORD.jws" | "RECORD.p7s"))
    }

    /// Every file is listed, every listed file is there.
    fn check_record(&self) -> Result<(), WheelError> {
        let files = || self.zip.entries().iter().filter(|entry| !entry.directory);
        let fault = |path: &str, fault| {
            Err(WheelError::Record {
                path: printable(path.as_bytes()),
                fault,
            })
        };
        let mut present = std::collections::BTreeSet::new();
        for entry in files() {
            present.insert(entry.name.as_str());
            if !self.record.contains_key(&entry.name) && !self.is_unlisted(&entry.name) {
                return fault(&entry.name, RecordFault::Unlisted);
            }
        }
        let absent = self.record.keys().find(|path| !present.contains(path.as_str()));
        absent.map_or(Ok(()), |path| fault(path, RecordFault::Absent))
    }
}

fn parse_path(entry: &ZipEntry, limits: &UnpackLimits) -> Result<TreePath, WheelError> {
    let name = entry.name.as_str();
    let drive = name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic();
    if name.contains('\\') || drive {
        return Err(WheelError::ForeignPath {
            path: printable(name.as_bytes()),
        });
    }
    let path = TreePath::parse(name.as_bytes(), limits.path_bytes_max)?;
    // A leading `./` would be another spelling of the same path.
    if path.as_str() != name.trim_end_matches('/') {
        return Err(WheelError::ForeignPath {
            path: printable(name.as_bytes()),
        });
    }
    Ok(path)
}

fn only_dist_info(paths: &[TreePath]) -> Result<String, WheelError> {
    let top = paths.iter().filter_map(|path| path.as_str().split('/').next());
    let mut found: Vec<String> = top
        .filter(|name| name.ends_with(".dist-info"))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    if found.len() == 1
        && let Some(only) = found.pop()
    {
        return Ok(only);
    }
    found.truncate(10);
    Err(WheelError::DistInfo { found })
}
