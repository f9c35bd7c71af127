//! A project's file may tighten trust, never widen it: whoever writes a folder's files must not be able to choose
//! where the packages of those who work in it come from, or what their runs may use.

use super::file::{FileEntry, SettingsFile};
use super::key::{ALLOW_PROJECT_SOURCES, Key, ProjectRule};
use super::{Refused, SettingsError};

/// Check a project's file against what is in force without it: what it may not say is taken out of it and told.
pub(crate) fn take_refused(
    project: &mut SettingsFile,
    others: &[&SettingsFile],
    own_file: &std::path::Path,
) -> Vec<SettingsError> {
    let allowed = texts_of(&ALLOW_PROJECT_SOURCES, others).is_some_and(|texts| texts == ["true"]);
    let SettingsFile { path, entries } = project;
    let mut faults = Vec::new();
    entries.retain(|entry| {
        let Some(refused) = judge(entry, others, allowed) else {
            return true;
        };
        faults.push(SettingsError::Refused {
            path: path.clone(),
            line: entry.line,
            key: entry.key.name,
            refused,
            own_file: own_file.to_owned(),
        });
        false
    });
    faults
}

fn judge(entry: &FileEntry, others: &[&SettingsFile], allowed: bool) -> Option<Refused> {
    let without = || texts_of(entry.key, others).unwrap_or_default();
    match entry.key.project {
        ProjectRule::Free => None,
        ProjectRule::Never => Some(Refused::Always),
        _ if allowed => None,
        ProjectRule::Source => Some(Refused::Source),
        ProjectRule::OnlyTrue => {
            let loosens = entry.texts == ["false"] && without() != ["false"];
            loosens.then(|| Refused::Above {
                asked: entry.texts.join(", "),
                limit: without().join(", "),
            })
        }
        ProjectRule::Lower(at_most) => {
            let limit = without();
            let above = !at_most(&entry.texts, &limit);
            above.then(|| Refused::Above {
                asked: entry.texts.join(", "),
                limit: limit.join(", "),
            })
        }
    }
}

/// What files, the strongest first, say of a setting; else its default.
fn texts_of(key: &'static Key, files: &[&SettingsFile]) -> Option<Vec<String>> {
    let in_files = files.iter().find_map(|file| {
        let entry = file.entries.iter().find(|entry| entry.key.name == key.name)?;
        Some(entry.texts.clone())
    });
    in_files.or_else(|| key.default.map(|default| vec![default.to_owned()]))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn verdict(project: &str, user: &str) -> Result<(), String> {
        let parse = |name: &str, text: &str| SettingsFile::parse(Path::new(name), text).unwrap();
        let (mut project, user) = (
            parse("/project/cooper.toml", project),
            parse("/home/cooper.toml", user),
        );
        let said = project.entries.len();
        let faults = take_refused(&mut project, &[&user], Path::new("/home/cooper.toml"));
        assert_eq!(project.entries.len() + faults.len(), said);
        faults.first().map_or(Ok(()), |fault| Err(fault.to_string()))
    }

    #[test]
    fn a_project_may_tighten() {
        let tight = "organisation = \"team\"\nbase = \"debian:bookworm\"\n[image]\nversion = \"2.0\"\n[freshness]\nmax_age = \"1m\"\n[network]\noffline = true\n[run]\nmemory = \"64MiB\"\ntimeout = \"5m\"\npids = 10\ncpus = 0.5";
        assert_eq!(verdict(tight, ""), Ok(()));
        assert_eq!(verdict("network.offline = false", ""), Ok(()));
        let allowed = "run.network = \"allow:a.test,b.test:1\"";
        for narrow in ["none", "allow:a.test", "allow:b.test:1,a.test:443"] {
            assert_eq!(verdict(&format!("run.network = \"{narrow}\""), allowed), Ok(()));
        }
        for wide in [
            "host",
            "allow:c.test",
            "allow:a.test:1",
            "allow:a.test=10.0.0.5:443",
        ] {
            assert!(
                verdict(&format!("run.network = \"{wide}\""), allowed).is_err(),
                "{wide}"
            );
        }
        assert_eq!(verdict("run.memory = \"2GiB\"", "run.memory = \"4GiB\""), Ok(()));
    }

    #[test]
    fn a_project_may_not_widen() {
        for wide in [
            "store = \"/tmp/store\"",
            "debian.mirrors = \"http://mirror.test/debian\"",
            "debian.security_mirrors = \"http://mirror.test/debian\"",
            "debian.keyring = \"key.gpg\"",
            "python.index = \"https://index.test/simple\"",
            "network.https_proxy = \"http://proxy.test\"",
            "network.http_proxy = \"http://proxy.test\"",
            "network.no_proxy = \"*\"",
            "network.ca_files = \"ca.pem\"",
            "freshness.max_age = \"11m\"",
            "run.memory = \"2GiB\"",
            "run.timeout = \"301s\"",
            "run.pids = 257",
            "run.files = 1025",
            "run.cpus = 2",
            "run.tmp = \"1GiB\"",
            "run.scratch = \"1GiB\"",
            "run.output_size = \"1GiB\"",
            "run.writable = true",
            "run.network = \"host\"",
            "run.runtime = \"crun\"",
            "run.network = \"allow:example.org\"",
        ] {
            let refused = verdict(wide, "").unwrap_err();
            assert!(refused.contains("/project/cooper.toml:1"), "{refused}");
            assert_eq!(
                verdict(wide, "trust.allow_project_sources = true"),
                Ok(()),
                "{wide}"
            );
            assert!(
                verdict(wide, "trust.allow_project_sources = false").is_err(),
                "{wide}"
            );
        }
        assert!(verdict("network.offline = false", "network.offline = true").is_err());
        assert!(verdict("run.memory = \"512MiB\"", "run.memory = \"64MiB\"").is_err());
        // A kernel of its own for each run is the stronger wall.
        assert_eq!(verdict("run.runtime = \"runsc\"", ""), Ok(()));
        assert!(verdict("run.runtime = \"own\"", "run.runtime = \"runsc\"").is_err());
        assert!(
            verdict(
                "trust.allow_project_sources = true",
                "trust.allow_project_sources = true"
            )
            .is_err()
        );
    }
}
