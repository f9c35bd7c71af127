//! The repository's files.

use std::io;
use std::path::Path;
use std::process::Command;

/// One file that git knows.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// The path below the root, with `/`.
    pub(crate) path: String,
    /// The contents; bytes that are not UTF-8 are replaced.
    pub(crate) text: String,
}

/// All files that git knows, sorted by path.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    root: String,
    files: Vec<SourceFile>,
}

/// Whether a path ends in a dot and `ending`.
pub(crate) fn has_ending(path: &str, ending: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, own)| own == ending)
}

impl Tree {
    /// What `git ls-files` lists below `root`, as it is in the work tree.
    pub(crate) fn of_repository(root: &Path) -> io::Result<Self> {
        let root = root.canonicalize()?;
        let output = Command::new("git")
            .args(["ls-files", "-z"])
            .current_dir(&root)
            .output()?;
        if !output.status.success() {
            return Err(io::Error::other(format!(
                "git ls-files: {}",
                String::from_utf8_lossy(&output.stderr)
            )));
        }
        let mut files = Vec::new();
        for path in output
            .stdout
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
        {
            let path = String::from_utf8_lossy(path).into_owned();
            match std::fs::read(root.join(&path)) {
                Ok(bytes) => files.push(SourceFile {
                    path,
                    text: String::from_utf8_lossy(&bytes).into_owned(),
                }),
                // Deleted, and not yet committed so; or a link to nowhere or to a folder.
                Err(error)
                    if [io::ErrorKind::NotFound, io::ErrorKind::IsADirectory].contains(&error.kind()) => {}
                Err(error) => return Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self {
            root: root.to_string_lossy().into_owned(),
            files,
        })
    }

    /// A tree of the given paths and texts, for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| SourceFile {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Self {
            root: "/somewhere/else".to_owned(),
            files: files.iter().map(file).collect(),
        }
    }

    /// Where it is on this machine.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// Every file.
    pub(crate) fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
    }

    /// Whether a path is a file, or a folder of one.
    pub(crate) fn has(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        path.is_empty()
            || self
                .files
                .iter()
                .any(|file| file.path == path || file.path.starts_with(&folder))
    }

    /// The Rust sources.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| has_ending(&file.path, "rs"))
    }

    /// The names of the folders in `crates/` that have a manifest.
    pub(crate) fn crates(&self) -> Vec<&str> {
        let name = |file: &'_ SourceFile| -> Option<(usize, usize)> {
            let name = file.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
            (!name.contains('/')).then_some(("crates/".len(), "crates/".len() + name.len()))
        };
        self.files
            .iter()
            .filter_map(|file| name(file).map(|(start, end)| &file.path[start..end]))
            .collect()
    }
}
