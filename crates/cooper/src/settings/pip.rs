//! The Python index that this host already uses: pip's own configuration.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::file::read_text;

const PIP_BYTES_MAX: u64 = 1 << 20;

/// The index of pip's configuration and where it is said, the strongest first: `PIP_INDEX_URL`, the file that
/// `PIP_CONFIG_FILE` names, the user's files, the system's.
pub(crate) fn index(environment: &Environment, etc: &Path) -> Option<(String, String)> {
    if let Some(url) = environment.variable("PIP_INDEX_URL").and_then(|url| url.to_str()) {
        return Some((url.to_owned(), "environment PIP_INDEX_URL".to_owned()));
    }
    let files = files(environment, etc);
    files.into_iter().find_map(|file| {
        let text = read_text(&file, PIP_BYTES_MAX).ok().flatten()?;
        Some((index_url(&text)?, file.display().to_string()))
    })
}

fn files(environment: &Environment, etc: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    files.extend(environment.path("PIP_CONFIG_FILE").map(Path::to_owned));
    files.extend(
        environment
            .config_home()
            .map(|folder| folder.join("pip/pip.conf")),
    );
    files.extend(environment.home().map(|home| home.join(".pip/pip.conf")));
    files.push(etc.join("pip.conf"));
    files
}

/// `index-url` of the section `[global]`.
fn index_url(text: &str) -> Option<String> {
    let mut in_global = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            in_global = section.trim() == "global";
            continue;
        }
        let Some((name, value)) = line.split_once(['=', ':']) else {
            continue;
        };
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        if in_global && name == "index-url" && !value.trim().is_empty() {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_global_index_counts() {
        let text = "[install]\nindex-url = https://no.test/simple\n[global]\n# index-url = https://no.test\ncert = /x\nindex_url: https://yes.test/simple\n";
        assert_eq!(index_url(text).as_deref(), Some("https://yes.test/simple"));
        for none in [
            "",
            "[global]\ncert = /x",
            "index-url = https://no.test",
            "[global]\nindex-url =",
            "[global\nindex-url",
        ] {
            assert_eq!(index_url(none), None, "{none}");
        }
    }

    #[test]
    fn the_environment_is_stronger_than_files() {
        let environment = Environment::made(&[("PIP_INDEX_URL", "https://a.test/simple")], Path::new("/"));
        let found = index(&environment, Path::new("/nonexistent")).unwrap();
        assert_eq!(
            found,
            (
                "https://a.test/simple".to_owned(),
                "environment PIP_INDEX_URL".to_owned()
            )
        );
        let empty = Environment::made(&[], Path::new("/"));
        assert_eq!(index(&empty, Path::new("/nonexistent")), None);
    }
}
