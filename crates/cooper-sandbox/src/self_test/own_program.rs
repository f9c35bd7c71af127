//! This program and the libraries that it has loaded, to be started in an empty root.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::spec::InjectedFile;

const PLACE: &str = "/run/cooper";
const NAME: &str = "cooper";
const LIBRARIES_MAX: usize = 64;

/// The files, and how they are started.
pub(super) struct OwnProgram {
    files: Vec<InjectedFile>,
    /// The loader's place, where the program has one.
    loader: Option<PathBuf>,
}

impl OwnProgram {
    /// Those of this process.
    pub(super) fn read() -> io::Result<Self> {
        let mut files = vec![file(NAME.as_ref(), fs::read("/proc/self/exe")?)];
        let mut loader = None;
        for library in libraries(&fs::read_to_string("/proc/self/maps")?) {
            let Some(name) = library.file_name() else { continue };
            if name.as_encoded_bytes().starts_with(b"ld-") || name.as_encoded_bytes().starts_with(b"ld.") {
                loader = Some(Path::new(PLACE).join(name));
            }
            files.push(file(name.as_ref(), fs::read(&library)?));
        }
        Ok(Self { files, loader })
    }

    /// The files to inject.
    pub(super) fn files(&self) -> &[InjectedFile] {
        &self.files
    }

    /// How many bytes they have.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes.len() as u64).sum()
    }

    /// How it begins what is executed.
    pub(super) fn argv(&self) -> Vec<OsString> {
        let program = Path::new(PLACE).join(NAME);
        match &self.loader {
            Some(loader) => vec![
                loader.into(),
                "--library-path".into(),
                PLACE.into(),
                program.into(),
            ],
            None => vec![program.into()],
        }
    }
}

fn file(name: &Path, bytes: Vec<u8>) -> InjectedFile {
    InjectedFile {
        path: Path::new(PLACE).join(name),
        bytes,
        mode: 0o555,
    }
}

/// The shared libraries in `/proc/PID/maps`, the loader among them.
fn libraries(maps: &str) -> BTreeSet<PathBuf> {
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]));
    let is_library = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.split('.').skip(1).any(|part| part == "so")
    };
    paths
        .filter(is_library)
        .take(LIBRARIES_MAX * 8)
        .map(PathBuf::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_those_that_are_mapped() {
        let maps = "55d0-55d1 r--p 00000000 fe:00 1 /usr/bin/cooper\n\
                    7f00-7f01 r--p 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7f01-7f02 r-xp 00000000 fe:00 2 /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7f02-7f03 rw-p 00000000 00:00 0 [heap]\n\
                    7f03-7f04 r--p 00000000 fe:00 3 /usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2\n";
        let found: Vec<String> = libraries(maps)
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(
            found,
            [
                "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
                "/usr/lib/x86_64-linux-gnu/libc.so.6"
            ]
        );
    }
}
