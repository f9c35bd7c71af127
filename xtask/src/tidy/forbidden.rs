//! What no file may say: where packages come from, and where this repository happens to lie.
//!
//! Which archive and index are used is configuration. A name written into code or tests is one that somebody's
//! network cannot reach. The needles are made from pieces, so that this file does not say them itself.

use super::Problem;
use crate::tree::Tree;

/// Hosts that give out packages.
const HOSTS: [(&str, &str); 10] = [
    ("pypi", ".org"),
    ("files.python", "hosted.org"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("deb.", "debian.org"),
    ("ftp.", "debian.org"),
    ("security.", "debian.org"),
    ("snapshot.", "debian.org"),
    ("registry.npmjs", ".org"),
    ("proxy.golang", ".org"),
];

/// Folders of a development machine.
const FOLDERS: [(&str, &str); 5] = [
    ("/work/", "main"),
    ("/work/", "shared"),
    ("/root/", ".cargo"),
    ("/root/", ".rustup"),
    ("/root/", ".pyenv"),
];

/// No file names a host of packages, or a path of a development machine.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let joined = |(first, second): &(&str, &str)| format!("{first}{second}");
    let hosts: Vec<String> = HOSTS.iter().map(joined).collect();
    let mut folders: Vec<String> = FOLDERS.iter().map(joined).collect();
    // A root such as `/src` would be found in honest paths.
    if tree.root().matches('/').count() > 1 && !folders.iter().any(|folder| folder == tree.root()) {
        folders.push(tree.root().to_owned());
    }
    let mut problems = Vec::new();
    for file in tree.files().iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in file.text.lines().enumerate() {
            let mut report = |needle: &str, what: &str| {
                problems.push(Problem::at(&file.path, number + 1, format!("`{needle}`: {what}")));
            };
            if let Some(host) = hosts.iter().find(|host| names_host(line, host)) {
                report(host, "a host of packages comes from configuration");
            }
            if let Some(folder) = folders.iter().find(|folder| line.contains(folder.as_str())) {
                report(folder, "a path of one machine");
            }
        }
    }
    problems
}

/// Whether the host stands in the line as a whole name: `test.HOST` is another host, and so is `HOST.test`.
fn names_host(line: &str, host: &str) -> bool {
    let part_of_name = |character: char| character.is_ascii_alphanumeric() || character == '-';
    line.match_indices(host).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + host.len()..].chars().next();
        !before.is_some_and(part_of_name) && !after.is_some_and(part_of_name)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::shown;
    use super::*;

    #[test]
    fn hosts_of_packages_are_seen_in_any_file() {
        for (first, second) in HOSTS {
            let text = format!("fine\nsee https://{first}{second}/simple\n");
            let found = shown(check, &[("docs/x.md", &text)]);
            assert!(
                found.len() == 1 && found[0].starts_with("docs/x.md:2: "),
                "{found:?}"
            );
            assert_eq!(shown(check, &[("Cargo.lock", &text)]), [""; 0]);
        }
        let fine = format!(
            "https://docs.rs, https://www.debian.org, x{}{}, {}{}x",
            "pypi", ".org", "pypi", ".org"
        );
        assert_eq!(shown(check, &[("a.rs", &fine)]), [""; 0]);
    }

    #[test]
    fn paths_of_one_machine_are_seen() {
        for (first, second) in FOLDERS {
            assert_eq!(shown(check, &[("a.rs", &format!("{first}{second}/x"))]).len(), 1);
        }
        assert_eq!(
            shown(check, &[("a.rs", "x\n/somewhere/else/x")]),
            ["a.rs:2: `/somewhere/else`: a path of one machine"]
        );
        assert_eq!(
            shown(check, &[("a.rs", "/work/script.py /root /home/user")]),
            [""; 0]
        );
    }
}
