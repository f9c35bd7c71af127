//! What a run may get: files of the host, secrets, a place for what it leaves. Everything is opened as the caller, before
//! anything runs: what the caller may not read, no script gets.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cooper_sandbox::{Attached, Owner, SandboxError, Secret, input_fd, points_fd, tmpfs_fd};
use rustix::fs::OFlags;

use super::outputs::{OUTPUT_ENTRIES_MAX, OutputFolder};
use super::result::{RESULT_BYTES_MAX, RESULT_DIR};

/// What is granted beside the image, the script and its arguments.
#[derive(Debug, Default)]
pub struct RunGrants {
    secrets: Vec<Secret>,
    inputs: Vec<Input>,
    /// Where what it leaves in `/output` goes.
    pub output: Option<OutputFolder>,
    /// Space in `/output`.
    pub output_bytes: u64,
    /// It may leave a result.
    pub result: bool,
    /// It may write everywhere; all of it is gone with the run.
    pub writable: bool,
}

/// A file of the host, opened.
#[derive(Debug)]
struct Input {
    name: OsString,
    file: File,
    /// Others than its owner may not read it.
    private: bool,
}

const SECRETS_MAX: usize = 64;
/// How large a secret may be.
const SECRET_BYTES_MAX: u64 = 1 << 20;
const INPUTS_MAX: usize = 128;
const NAME_BYTES_MAX: usize = 255;
/// Never so much that filling a place in memory kills the run.
const MEMORY_PART: u64 = 2;

/// Why something cannot be granted.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// It is no file name.
    #[error("`{}` is no name for {kind}", shown(name))]
    Name {
        /// What is named.
        kind: Kind,
        /// The name.
        name: OsString,
    },
    /// Two have the same name.
    #[error("there are two of {kind} with the name `{}`", shown(name))]
    Duplicate {
        /// What is named.
        kind: Kind,
        /// The name.
        name: OsString,
    },
    /// There are too many.
    #[error("a run gets at most {max} of {kind}")]
    TooMany {
        /// Of what.
        kind: Kind,
        /// How many there may be.
        max: usize,
    },
    /// The caller cannot read it.
    #[error("cannot read {kind} `{}`", path.display())]
    Read {
        /// What it is for.
        kind: Kind,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a folder or a device.
    #[error("{kind} `{}` is not a regular file", path.display())]
    NotAFile {
        /// What it is for.
        kind: Kind,
        /// The file.
        path: PathBuf,
    },
    /// It is too large.
    #[error("the secret `{}` is larger than {SECRET_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The place for what it leaves cannot be used.
    #[error("cannot {operation} the folder `{}`", path.display())]
    Output {
        /// What was tried.
        operation: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is something in the place for what it leaves.
    #[error("the folder `{}` for what the run leaves is not empty", path.display())]
    OutputNotEmpty {
        /// The folder.
        path: PathBuf,
    },
}

/// What is granted by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A secret.
    Secret,
    /// An input.
    Input,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Secret => "the secret",
            Self::Input => "the input",
        })
    }
}

/// A name for messages.
fn shown(name: &OsStr) -> String {
    name.to_string_lossy()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(100)
        .collect()
}

impl GrantError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Name {
                kind: Kind::Secret, ..
            } => "write `--secret NAME=FILE`; a name has letters, digits, `_`, `-` and `.`",
            Self::Name {
                kind: Kind::Input, ..
            } => "write `--input FILE:NAME` with a plain file name",
            Self::Duplicate {
                kind: Kind::Input, ..
            } => "give one of them another name: `--input FILE:NAME`",
            Self::NotAFile { .. } => {
                "name each file; a folder can be packed first: `tar -cf files.tar FOLDER`"
            }
            Self::OutputNotEmpty { .. } => {
                "name a folder that is empty or not there yet: nothing in it is ever overwritten"
            }
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "a script gets only what you can read yourself"
            }
            Self::Read {
                kind: Kind::Input,
                path,
                source,
            } if source.kind() == io::ErrorKind::NotFound && path.to_string_lossy().contains(':') => {
                "write `--input FILE:NAME`, with a plain name, for `/input/NAME`: nothing but one name can follow the `:`"
            }
            Self::Read {
                kind: Kind::Secret,
                source,
                ..
            } if source.kind() == io::ErrorKind::NotFound => {
                "write `--secret NAME=FILE`, with a file that is there: what is in it is the secret"
            }
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "write `--input FILE` or `--input FILE:NAME`, with a file that is there"
            }
            Self::TooLarge { .. } => "a secret is a key or a password; give larger files with `--input`",
            Self::TooMany { .. } => "pack them into one file first: `tar -cf files.tar FILE…`",
            Self::Output { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "make the folder that it is to be in first: `mkdir -p FOLDER`"
            }
            Self::Output { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "name a folder where you may write"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }
}

impl RunGrants {
    /// Read a secret: the file appears as `/run/secrets/NAME`, for the run's user alone.
    ///
    /// # Errors
    /// When the name is taken or none, or the file cannot be read or is too large.
    pub fn add_secret(&mut self, name: &OsStr, path: &Path) -> Result<(), GrantError> {
        let kind = Kind::Secret;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        if !is_file_name(name) || !name.as_encoded_bytes().iter().all(plain) {
            return Err(GrantError::Name {
                kind,
                name: name.to_owned(),
            });
        }
        let names = self.secrets.iter().map(Secret::name);
        admit(kind, SECRETS_MAX, name, names)?;
        let failed = |source| GrantError::Read {
            kind,
            path: path.to_owned(),
            source,
        };
        // A pipe is as good: `NAME=<(password-program)`.
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(GrantError::NotAFile {
                kind,
                path: path.to_owned(),
            });
        }
        let mut bytes = Vec::new();
        file.take(SECRET_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > SECRET_BYTES_MAX {
            return Err(GrantError::TooLarge {
                path: path.to_owned(),
            });
        }
        self.secrets.push(Secret::new(name, bytes));
        Ok(())
    }

    /// Open an input: the file appears as `/input/NAME`, read-only, under its own name where none is given.
    ///
    /// # Errors
    /// When the name is taken or none, or the file cannot be opened or is not a regular one.
    pub fn add_input(&mut self, path: &Path, name: Option<&OsStr>) -> Result<(), GrantError> {
        let kind = Kind::Input;
        let name = name.or_else(|| path.file_name()).unwrap_or_default();
        if !is_file_name(name) {
            return Err(GrantError::Name {
                kind,
                name: name.to_owned(),
            });
        }
        let names = self.inputs.iter().map(|input| input.name.as_os_str());
        admit(kind, INPUTS_MAX, name, names)?;
        let failed = |source| GrantError::Read {
            kind,
            path: path.to_owned(),
            source,
        };
        // Whatever it is, opening it waits for nobody.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::options()
            .read(true)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
            .open(path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(GrantError::NotAFile {
                kind,
                path: path.to_owned(),
            });
        }
        self.inputs.push(Input {
            name: name.to_owned(),
            file,
            private: metadata.mode() & 0o004 == 0,
        });
        Ok(())
    }

    pub(super) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// The mounts of this run, made.
    pub(super) fn mounts(&self, memory_bytes: u64) -> Result<Mounts, SandboxError> {
        let mut mounts = Mounts::default();
        if !self.inputs.is_empty() {
            let names: Vec<&OsStr> = self.inputs.iter().map(|input| input.name.as_os_str()).collect();
            mounts.add(Path::new(INPUT_DIR).to_owned(), points_fd(&names)?, Owner::Kept);
        }
        for input in &self.inputs {
            let owner = if input.private {
                Owner::ShownAsRunUser
            } else {
                Owner::Kept
            };
            let target = Path::new(INPUT_DIR).join(&input.name);
            mounts.add(target, input_fd(input.file.as_fd())?, owner);
        }
        if self.output.is_some() {
            let bytes = bounded(self.output_bytes, memory_bytes);
            let made = tmpfs_fd(bytes, OUTPUT_ENTRIES_MAX.into(), 0, 0o755)?;
            mounts.output = Some(mounts.add(OUTPUT_DIR.into(), made, Owner::RunUser));
        }
        if self.result {
            // More than the bound: what is too large is told from what is cut off.
            let made = tmpfs_fd(RESULT_BYTES_MAX + (64 << 10), 16, 0, 0o755)?;
            mounts.result = Some(mounts.add(RESULT_DIR.into(), made, Owner::RunUser));
        }
        Ok(mounts)
    }
}

const INPUT_DIR: &str = "/input";
const OUTPUT_DIR: &str = "/output";

/// Not more than a part of the memory limit: filling it must fail, not kill.
pub(super) fn bounded(bytes: u64, memory_bytes: u64) -> u64 {
    bytes.min(memory_bytes / MEMORY_PART)
}

/// Detached mounts that live as long as this does.
#[derive(Default)]
pub(super) struct Mounts {
    made: Vec<(PathBuf, OwnedFd, Owner)>,
    output: Option<usize>,
    result: Option<usize>,
}

impl Mounts {
    fn add(&mut self, target: PathBuf, mount: OwnedFd, owner: Owner) -> usize {
        self.made.push((target, mount, owner));
        self.made.len() - 1
    }

    pub(super) fn attached(&self) -> Vec<Attached<'_>> {
        self.made
            .iter()
            .map(|(target, mount, owner)| Attached {
                target,
                mount: mount.as_fd(),
                owner: *owner,
            })
            .collect()
    }

    pub(super) fn output(&self) -> Option<&OwnedFd> {
        self.made.get(self.output?).map(|(_, mount, _)| mount)
    }

    pub(super) fn result(&self) -> Option<&OwnedFd> {
        self.made.get(self.result?).map(|(_, mount, _)| mount)
    }
}

fn is_file_name(name: &OsStr) -> bool {
    let bytes = name.as_encoded_bytes();
    let text = name
        .to_str()
        .is_some_and(|text| !text.chars().any(char::is_control));
    text && Path::new(name).file_name() == Some(name) && (1..=NAME_BYTES_MAX).contains(&bytes.len())
}

fn admit<'a>(
    kind: Kind,
    max: usize,
    name: &OsStr,
    mut names: impl ExactSizeIterator<Item = &'a OsStr>,
) -> Result<(), GrantError> {
    if names.len() >= max {
        return Err(GrantError::TooMany { kind, max });
    }
    if names.any(|known| known == name) {
        return Err(GrantError::Duplicate {
            kind,
            name: name.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn names_are_file_names_and_given_once() {
        let file = file("x");
        let mut grants = RunGrants::default();
        let secret = |grants: &mut RunGrants, name: &str| grants.add_secret(OsStr::new(name), file.path());
        secret(&mut grants, "TOKEN").unwrap();
        secret(&mut grants, "a.pem").unwrap();
        for bad in ["", ".", "..", "a/b", "a b", "/", "a\n", "é", "TOKEN"] {
            assert!(secret(&mut grants, bad).is_err(), "{bad:?}");
        }
        let input =
            |grants: &mut RunGrants, name: &str| grants.add_input(file.path(), Some(OsStr::new(name)));
        input(&mut grants, "données 1.csv").unwrap();
        for bad in ["", ".", "..", "a/b", "/", "a\u{1b}b", "a/", "données 1.csv"] {
            assert!(input(&mut grants, bad).is_err(), "{bad:?}");
        }
        for index in 1..INPUTS_MAX {
            input(&mut grants, &format!("f{index}")).unwrap();
        }
        assert!(matches!(
            input(&mut grants, "one-more"),
            Err(GrantError::TooMany { .. })
        ));
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused_and_no_message_has_a_secret() {
        let mut grants = RunGrants::default();
        let large = file(&"hunter2".repeat(200_000));
        let error = grants.add_secret(OsStr::new("A"), large.path()).unwrap_err();
        assert!(matches!(error, GrantError::TooLarge { .. }));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(grants.add_secret(OsStr::new("A"), Path::new("/")).is_err());
        for path in ["/dev/null", "/", "/nonexistent/x"] {
            let refused = grants.add_input(Path::new(path), Some(OsStr::new("x")));
            assert!(refused.is_err(), "{path}");
        }
        let small = file("hunter2");
        grants.add_secret(OsStr::new("A"), small.path()).unwrap();
        assert!(!format!("{grants:?}").contains("hunter2"));
    }
}
