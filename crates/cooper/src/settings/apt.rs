//! The Debian mirrors that this host already uses: its apt sources, in both formats of `sources.list(5)`.
//!
//! Only entries of Debian itself count. Other vendors also name their suites after Debian's, so an entry must
//! name a Debian suite and the component `main`, and where it says who signs, that must be Debian's keyring.

use std::path::{Path, PathBuf};

use url::Url;

use super::file::read_text;

/// Mirrors of the two archives, in the order of the sources.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HostMirrors {
    pub(crate) main: Vec<(Url, PathBuf)>,
    pub(crate) security: Vec<(Url, PathBuf)>,
}

/// One entry of either format.
#[derive(Debug, Default)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    architectures: Vec<String>,
    signed_by: Option<String>,
}

const SOURCES_BYTES_MAX: u64 = 1 << 20;
const CODENAMES: [&str; 5] = ["bullseye", "bookworm", "trixie", "forky", "sid"];
const ALIASES: [&str; 5] = ["stable", "oldstable", "oldoldstable", "testing", "unstable"];

impl HostMirrors {
    /// Read the sources below `etc` (`/etc`). What cannot be read is skipped: it is only a default.
    pub(crate) fn read(etc: &Path) -> Self {
        let apt = etc.join("apt");
        let mut mirrors = Self::default();
        let mut files = vec![apt.join("sources.list")];
        if let Ok(listing) = std::fs::read_dir(apt.join("sources.list.d")) {
            let mut more: Vec<PathBuf> = listing.flatten().map(|entry| entry.path()).collect();
            more.sort();
            files.extend(more);
        }
        for file in files {
            let Ok(Some(text)) = read_text(&file, SOURCES_BYTES_MAX) else {
                continue;
            };
            let entries = match file.extension().and_then(|extension| extension.to_str()) {
                Some("list") => parse_lines(&text),
                Some("sources") => parse_stanzas(&text),
                _ => continue,
            };
            for entry in entries {
                mirrors.add(&entry, &file);
            }
        }
        mirrors
    }

    fn add(&mut self, entry: &Entry, file: &Path) {
        let signed_by_debian = entry.signed_by.as_deref().is_none_or(is_debian_keyring);
        let platform =
            entry.architectures.is_empty() || entry.architectures.iter().any(|name| name == "amd64");
        if !signed_by_debian || !platform || !entry.components.iter().any(|component| component == "main") {
            return;
        }
        for url in entry.uris.iter().flat_map(|uri| mirror_urls(uri)) {
            for suite in &entry.suites {
                let list = match archive_of(suite, &url) {
                    Some(Archive::Main) => &mut self.main,
                    Some(Archive::Security) => &mut self.security,
                    None => continue,
                };
                if !list.iter().any(|(known, _)| *known == url) {
                    list.push((url.clone(), file.to_owned()));
                }
            }
        }
    }
}

enum Archive {
    Main,
    Security,
}

/// Which archive a suite is of, where it is one of Debian's.
fn archive_of(suite: &str, url: &Url) -> Option<Archive> {
    let (name, archive) = match suite.split_once(['-', '/']) {
        None => (suite, Archive::Main),
        Some((name, "updates")) if suite.contains('/') => (name, Archive::Security),
        Some((name, "updates" | "proposed-updates" | "backports")) => (name, Archive::Main),
        Some((name, "security")) => (name, Archive::Security),
        Some(_) => return None,
    };
    // Aliases such as `stable` are common among other vendors: only below a path that says Debian.
    let says_debian = || {
        url.path_segments()
            .is_some_and(|mut parts| parts.any(|part| part.starts_with("debian")))
    };
    (CODENAMES.contains(&name) || (ALIASES.contains(&name) && says_debian())).then_some(archive)
}

fn is_debian_keyring(signed_by: &str) -> bool {
    let file = |path: &str| {
        path.rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with("debian-archive"))
    };
    signed_by
        .split([' ', ','])
        .filter(|path| !path.is_empty())
        .any(file)
}

/// An entry's address, or those of the mirror list that it names (as in Debian's cloud images).
fn mirror_urls(uri: &str) -> Vec<Url> {
    let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    if let Some(list) = uri.strip_prefix("mirror+file:") {
        let text = read_text(Path::new(list), SOURCES_BYTES_MAX)
            .ok()
            .flatten()
            .unwrap_or_default();
        let first_words = text.lines().filter_map(|line| line.split_whitespace().next());
        return first_words
            .filter_map(|word| Url::parse(word).ok())
            .filter(is_http)
            .collect();
    }
    Url::parse(uri).into_iter().filter(is_http).collect()
}

/// The one-line format: `deb [options] URI suite component…`.
fn parse_lines(text: &str) -> Vec<Entry> {
    text.lines()
        .filter_map(|line| parse_line(line.split('#').next().unwrap_or_default()))
        .collect()
}

fn parse_line(line: &str) -> Option<Entry> {
    let rest = line
        .trim()
        .strip_prefix("deb")?
        .strip_prefix([' ', '\t'])?
        .trim_start();
    let mut entry = Entry::default();
    let rest = match rest.strip_prefix('[') {
        Some(bracketed) => {
            let (options, rest) = bracketed.split_once(']')?;
            for option in options.split_whitespace() {
                match option.split_once('=') {
                    Some(("signed-by", value)) => entry.signed_by = Some(value.to_owned()),
                    Some(("arch", value)) => {
                        entry.architectures = value.split(',').map(str::to_owned).collect();
                    }
                    _ => {}
                }
            }
            rest
        }
        None => rest,
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    entry.uris.push(words.next()?);
    entry.suites.push(words.next()?);
    entry.components = words.collect();
    Some(entry)
}

/// The deb822 format: stanzas of fields, values continued on indented lines.
fn parse_stanzas(text: &str) -> Vec<Entry> {
    let without_comments: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    without_comments
        .split(|line| line.trim().is_empty())
        .filter_map(parse_stanza)
        .collect()
}

fn parse_stanza(lines: &[&str]) -> Option<Entry> {
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines {
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut()?;
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let field = |wanted: &str| {
        fields
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.as_str())
    };
    let words = |wanted: &str| {
        field(wanted)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    };
    let types: Vec<String> = words("types");
    if !types.iter().any(|kind| kind == "deb") || field("enabled").is_some_and(|enabled| enabled == "no") {
        return None;
    }
    Some(Entry {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        architectures: words("architectures"),
        signed_by: field("signed-by").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirrors(entries: &[Entry]) -> (Vec<String>, Vec<String>) {
        let mut mirrors = HostMirrors::default();
        for entry in entries {
            mirrors.add(entry, Path::new("x"));
        }
        let shown = |list: Vec<(Url, PathBuf)>| list.iter().map(|(url, _)| url.to_string()).collect();
        (shown(mirrors.main), shown(mirrors.security))
    }

    #[test]
    fn stanzas_of_debian_count() {
        let text = "# comment\nTypes: deb deb-src\n# comment\nURIs: http://one.test/debian\n http://two.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\nTypes: deb\nURIs: http://one.test/debian-security\nSuites: bookworm-security\nComponents: main contrib\n";
        let (main, security) = mirrors(&parse_stanzas(text));
        assert_eq!(main, ["http://one.test/debian", "http://two.test/debian"]);
        assert_eq!(security, ["http://one.test/debian-security"]);
    }

    #[test]
    fn lines_of_debian_count() {
        let text = "deb http://one.test/debian/ trixie main # the archive\ndeb [arch=amd64,arm64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] https://two.test/debian-security trixie-security main\ndeb http://three.test/debian-security buster/updates main\ndeb-src http://four.test/debian trixie main\n#deb http://five.test/debian trixie main\ndeb https://six.test/debian stable main\n";
        let (main, security) = mirrors(&parse_lines(text));
        assert_eq!(main, ["http://one.test/debian/", "https://six.test/debian"]);
        assert_eq!(security, ["https://two.test/debian-security"]);
    }

    #[test]
    fn other_vendors_do_not_count() {
        let lines = "deb https://vendor.test/apt cloud-tool-bookworm main\ndeb [signed-by=/usr/share/keyrings/vendor.gpg] https://vendor.test/debian bookworm main\ndeb https://vendor.test/linux stable main\ndeb https://vendor.test/debian bookworm stable\ndeb https://vendor.test/debian bookworm-vendor main\ndeb [arch=arm64] http://one.test/debian trixie main\ndeb cdrom:[disc]/ trixie main\ndeb file:/srv/debian trixie main\ndeb\ndeb [\ndeb x";
        assert_eq!(mirrors(&parse_lines(lines)), (vec![], vec![]));
        let stanzas = "Types: deb\nURIs: https://vendor.test/node\nSuites: nodistro\nComponents: main\n\nEnabled: no\nTypes: deb\nURIs: http://one.test/debian\nSuites: trixie\nComponents: main\n\n continued\n\nTypes: deb";
        assert_eq!(mirrors(&parse_stanzas(stanzas)), (vec![], vec![]));
    }

    #[test]
    fn a_host_without_apt_has_none() {
        assert_eq!(
            HostMirrors::read(Path::new("/nonexistent")),
            HostMirrors::default()
        );
    }
}
