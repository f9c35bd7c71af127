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
    in_files(environment, etc, "index-url")
}

/// The further indexes of pip's configuration and where they are said.
pub(crate) fn extra_indexes(environment: &Environment, etc: &Path) -> Option<(Vec<String>, String)> {
    let variable = environment
        .variable("PIP_EXTRA_INDEX_URL")
        .and_then(|url| url.to_str());
    let of_variable = variable.map(|urls| (urls.to_owned(), "environment PIP_EXTRA_INDEX_URL".to_owned()));
    let (urls, place) = of_variable.or_else(|| in_files(environment, etc, "extra-index-url"))?;
    Some((urls.split_whitespace().map(str::to_owned).collect(), place))
}

fn in_files(environment: &Environment, etc: &Path, option: &str) -> Option<(String, String)> {
    files(environment, etc).into_iter().find_map(|file| {
        let text = read_text(&file, PIP_BYTES_MAX).ok().flatten()?;
        Some((global_option(&text, option)?, file.display().to_string()))
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

/// An option of the section `[global]`; values on indented lines below it belong to it.
fn global_option(text: &str, option: &str) -> Option<String> {
    let mut in_global = false;
    let mut found: Option<String> = None;
    for line in text.lines() {
        let indented = line.starts_with([' ', '\t']);
        let line = line.trim();
        if let (true, Some(value)) = (indented, &mut found) {
            value.push(' ');
            value.push_str(line);
            continue;
        }
        if found.is_some() && !line.is_empty() && !line.starts_with(['#', ';']) {
            break;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            in_global = section.trim() == "global";
            continue;
        }
        let Some((name, value)) = line.split_once(['=', ':']) else {
            continue;
        };
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        if in_global && name == option {
            found = Some(value.trim().to_owned());
        }
    }
    let found = found.map(|value| value.trim().to_owned());
    found.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_global_index_counts() {
        let text = "[install]\nindex-url = https://no.test/simple\n[global]\n# index-url = https://no.test\ncert = /x\nindex_url: https://yes.test/simple\n";
        assert_eq!(
            global_option(text, "index-url").as_deref(),
            Some("https://yes.test/simple")
        );
        for none in [
            "",
            "[global]\ncert = /x",
            "index-url = https://no.test",
            "[global]\nindex-url =",
            "[global\nindex-url",
        ] {
            assert_eq!(global_option(none, "index-url"), None, "{none}");
        }
    }

    #[test]
    fn extra_indexes_may_be_several() {
        let text = "[global]\nextra-index-url =\n    https://a.test/simple\n    https://b.test/simple\nindex-url = https://c.test";
        let extra = global_option(text, "extra-index-url");
        assert_eq!(
            extra.as_deref(),
            Some("https://a.test/simple https://b.test/simple")
        );
        assert_eq!(
            global_option(text, "index-url").as_deref(),
            Some("https://c.test")
        );
        let environment = Environment::made(
            &[("PIP_EXTRA_INDEX_URL", "https://a.test https://b.test")],
            Path::new("/"),
        );
        let (urls, place) = extra_indexes(&environment, Path::new("/nonexistent")).unwrap();
        assert_eq!(
            (urls.len(), place.as_str()),
            (2, "environment PIP_EXTRA_INDEX_URL")
        );
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
