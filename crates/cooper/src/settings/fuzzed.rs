//! The fuzz target of the settings file. It is here and not in `fuzz`, since nobody can use this program as a library.

use std::collections::BTreeSet;
use std::path::Path;

use fuzz::Target;

use super::file::{FILE_BYTES_MAX, SettingsFile};

const EXAMPLES: [&str; 4] = [
    "organisation = 'acme'\nstore = 'store'\nbase = 'debian:bookworm'\nrun.memory = \"64MiB\"\n[run]\npids = 7\ncpus = 1.5\n",
    "[python]\nindex = ['https://index.test/simple/', 'https://other.test/simple']\n[debian]\nmirrors = ['http://a.test/debian']\n\
     keyring = 'keys/archive.gpg'\n[policy]\nfile = 'policy.toml'\nprofile = 'production'\n",
    "[[debian.source]]\nname = 'acme'\nuris = 'https://acme.test/debian'\nsuites = ['trixie', 'trixie-updates']\n\
     components = 'main extra'\nsigned_by = 'acme.asc'\n[advisories]\nosv = 'https://osv.test/all.zip'\n",
    "[network]\ntimeout = '30s'\noffline = true\n[trust]\nallow_project_sources = true\n[build]\nmemory = '2GiB'\ntimeout = '10m'\n",
];

/// A `cooper.toml`. What is accepted has each setting once, of its type, at a line of the file, and its paths are whole; an
/// error is a few lines, whatever the file is.
const SETTINGS: Target = Target {
    name: "settings-file",
    examples: || EXAMPLES.iter().map(|text| text.as_bytes().to_vec()).collect(),
    mend: |_| {},
    run: |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if text.len() as u64 > FILE_BYTES_MAX {
            return "too large".to_owned();
        }
        let file = match SettingsFile::parse(Path::new("/etc/cooper/cooper.toml"), &text) {
            Ok(file) => file,
            Err(error) => {
                let told = format!("{error} | {}", error.hint());
                assert!(told.len() < 4_000, "{told}");
                return told.chars().take(80).collect();
            }
        };
        let lines = text.lines().count() + 1;
        let mut keys = BTreeSet::new();
        for entry in &file.entries {
            let name = entry.key.name;
            assert!(keys.insert(name), "{name} is there twice");
            assert!((1..=lines).contains(&entry.line), "{name}: line {}", entry.line);
            assert!(
                (entry.key.check)(&entry.texts).is_ok(),
                "{name}: {:?}",
                entry.texts
            );
            let is_whole = |path: &String| Path::new(path).is_absolute();
            assert!(
                !entry.key.path || entry.texts.iter().all(is_whole),
                "{name}: {:?}",
                entry.texts
            );
        }
        format!("good {}", keys.into_iter().collect::<Vec<_>>().join(" "))
    },
};

#[test]
fn settings_files() {
    let report = fuzz::fuzz(&SETTINGS);
    println!(
        "{}: {} inputs, {} endings",
        SETTINGS.name,
        report.inputs,
        report.endings.len()
    );
    assert!(report.endings.len() > 10, "{:?}", report.endings);
}
