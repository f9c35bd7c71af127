//! dpkg's database: `/var/lib/dpkg/status`, `info/` and `triggers/`, as dpkg 1.21 and 1.22 write them.
//!
//! Scanners and dpkg's own tools read these files, and maintainer scripts ask dpkg about them while they run.
//! All is text in, text out; who writes it where is in [`crate::debian_layer`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// One package as it was unpacked.
#[derive(Debug, Clone)]
pub(crate) struct NewPackage {
    /// `Package`
    pub(crate) name: String,
    /// `Architecture`
    pub(crate) architecture: String,
    /// The control stanza as it is in the package, without trailing blank lines.
    pub(crate) control: String,
    /// The other members of the control archive, by name.
    pub(crate) members: BTreeMap<String, Vec<u8>>,
    /// Every path that was unpacked, in archive order, in the form of `.list` files.
    pub(crate) paths: Vec<String>,
    /// Configuration files: path and MD5 of the shipped contents.
    pub(crate) conffiles: Vec<(String, String)>,
}

impl NewPackage {
    /// A field of the control stanza; continuation lines joined by a space.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        stanza_field(&self.control, name)
    }

    /// The stem of its files in `info/`: with the architecture where several may be installed side by side.
    pub(crate) fn info_name(&self) -> String {
        if self.field("Multi-Arch").as_deref() == Some("same") {
            format!("{}:{}", self.name, self.architecture)
        } else {
            self.name.clone()
        }
    }

    /// Its files in `/var/lib/dpkg/info`: name, contents, mode.
    pub(crate) fn info_files(&self) -> Vec<(String, Vec<u8>, u32)> {
        let stem = self.info_name();
        let scripts = ["preinst", "postinst", "prerm", "postrm", "config"];
        let mode = |member: &str| if scripts.contains(&member) { 0o755 } else { 0o644 };
        let members = self.members.iter().filter(|(member, _)| is_member_name(member));
        let mut files: Vec<_> = members
            .map(|(member, bytes)| (format!("{stem}.{member}"), bytes.clone(), mode(member)))
            .collect();
        let mut list = self.paths.join("\n");
        list.push('\n');
        files.push((format!("{stem}.list"), list.into_bytes(), 0o644));
        files
    }

    /// Whether it has this maintainer script.
    pub(crate) fn has_script(&self, script: &str) -> bool {
        self.members.contains_key(script)
    }

    /// The directives of its `triggers` file: keyword and name.
    fn trigger_directives(&self) -> Vec<(String, String)> {
        let bytes = self
            .members
            .get("triggers")
            .map(Vec::as_slice)
            .unwrap_or_default();
        let directive = |line: &str| {
            let line = line.split('#').next()?;
            let (keyword, name) = line.trim().split_once(char::is_whitespace)?;
            Some((keyword.to_owned(), name.trim().to_owned()))
        };
        String::from_utf8_lossy(bytes)
            .lines()
            .filter_map(directive)
            .collect()
    }

    fn status_stanza(&self) -> String {
        let mut lines = self.control.lines();
        let mut stanza = String::with_capacity(self.control.len() + 64);
        for line in lines.by_ref() {
            stanza.push_str(line);
            stanza.push('\n');
            if line.starts_with("Package:") {
                stanza.push_str("Status: install ok installed\n");
            }
        }
        if !self.conffiles.is_empty() {
            stanza.push_str("Conffiles:\n");
            for (path, md5) in &self.conffiles {
                let _ = writeln!(stanza, " {path} {md5}");
            }
        }
        stanza
    }
}

/// A member of a control archive that may become a file in `info/`.
fn is_member_name(member: &str) -> bool {
    let plain = member
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    plain && !member.starts_with('.') && !["control", "list", ""].contains(&member)
}

/// A field of a stanza; continuation lines joined by a space.
pub(crate) fn stanza_field(stanza: &str, name: &str) -> Option<String> {
    let mut lines = stanza.lines();
    let first = lines.by_ref().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })?;
    let rest = lines
        .take_while(|line| line.starts_with([' ', '\t']))
        .map(str::trim);
    Some(rest.fold(first, |text, line| {
        if text.is_empty() {
            line.to_owned()
        } else {
            format!("{text} {line}")
        }
    }))
}

/// The status file with the new packages in it, sorted by name.
pub(crate) fn status(existing: &str, new: &[NewPackage]) -> String {
    let mut stanzas: BTreeMap<String, String> = BTreeMap::new();
    for stanza in existing.split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
        let name = stanza_field(stanza, "Package").unwrap_or_default();
        stanzas.insert(name, format!("{}\n", stanza.trim_matches('\n')));
    }
    for package in new {
        stanzas.insert(package.name.clone(), package.status_stanza());
    }
    stanzas
        .into_values()
        .fold(String::new(), |text, stanza| text + &stanza + "\n")
}

/// Who is interested in which trigger (`deb-triggers(5)`).
#[derive(Debug, Clone, Default)]
pub(crate) struct Interests {
    /// Trigger (a name, or an absolute path) to the `info` names of the interested packages, with `/noawait`
    /// where they said so.
    by_trigger: BTreeMap<String, BTreeSet<String>>,
}

impl Interests {
    /// Read `triggers/File`: `PATH PACKAGE` on each line.
    pub(crate) fn add_file_interests(&mut self, text: &str) {
        for line in text.lines() {
            if let Some((path, package)) = line.rsplit_once(' ') {
                self.by_trigger
                    .entry(path.to_owned())
                    .or_default()
                    .insert(package.to_owned());
            }
        }
    }

    /// Read `triggers/NAME`: `PACKAGE` on each line.
    pub(crate) fn add_named_interests(&mut self, trigger: &str, text: &str) {
        let packages = text.lines().map(str::to_owned);
        self.by_trigger
            .entry(trigger.to_owned())
            .or_default()
            .extend(packages);
    }

    /// Take the interests of new packages.
    pub(crate) fn add_packages(&mut self, new: &[NewPackage]) {
        for package in new {
            for (keyword, trigger) in package.trigger_directives() {
                let awaits = match keyword.as_str() {
                    "interest" | "interest-await" => "",
                    "interest-noawait" => "/noawait",
                    _ => continue,
                };
                let entry = format!("{}{awaits}", package.info_name());
                self.by_trigger.entry(trigger).or_default().insert(entry);
            }
        }
    }

    /// The files of `/var/lib/dpkg/triggers`: name and contents.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let mut by_path = String::new();
        let mut files = Vec::new();
        for (trigger, packages) in &self.by_trigger {
            if trigger.starts_with('/') {
                by_path.extend(packages.iter().map(|package| format!("{trigger} {package}\n")));
            } else if is_member_name(trigger) {
                let text = packages
                    .iter()
                    .flat_map(|package| [package.as_str(), "\n"])
                    .collect();
                files.push((trigger.clone(), text));
            }
        }
        files.push(("File".to_owned(), by_path));
        files.push(("Unincorp".to_owned(), String::new()));
        files
    }

    /// What unpacking and configuring `new` activates in packages that were there before: `info` name to triggers.
    /// A package that is itself being configured needs no trigger: its `postinst configure` does the whole work.
    pub(crate) fn activated(&self, new: &[NewPackage]) -> BTreeMap<String, BTreeSet<String>> {
        let mut triggers = BTreeSet::new();
        for package in new {
            let directives = package.trigger_directives().into_iter();
            triggers.extend(
                directives
                    .filter(|(keyword, _)| keyword.starts_with("activate"))
                    .map(|(_, name)| name),
            );
        }
        let by_path = self.by_trigger.keys().filter(|trigger| trigger.starts_with('/'));
        triggers.extend(by_path.filter(|trigger| touches(new, trigger)).cloned());
        let fresh: BTreeSet<String> = new.iter().map(NewPackage::info_name).collect();
        let mut pending = self.pending(&triggers);
        pending.retain(|package, _| !fresh.contains(package));
        pending
    }

    /// The interested packages of these triggers.
    pub(crate) fn pending(&self, triggers: &BTreeSet<String>) -> BTreeMap<String, BTreeSet<String>> {
        let mut pending: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for trigger in triggers {
            for package in self.by_trigger.get(trigger).into_iter().flatten() {
                let package = package.trim_end_matches("/noawait").to_owned();
                pending.entry(package).or_default().insert(trigger.clone());
            }
        }
        pending
    }
}

/// Whether a new package has a path at or below `directory`.
fn touches(new: &[NewPackage], directory: &str) -> bool {
    let below = |path: &String| {
        path.strip_prefix(directory)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    new.iter().any(|package| package.paths.iter().any(below))
}

/// The trigger names in `triggers/Unincorp`: `NAME PACKAGE…` on each line.
pub(crate) fn unincorporated(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, control: &str, triggers: &str) -> NewPackage {
        NewPackage {
            name: name.to_owned(),
            architecture: "amd64".to_owned(),
            control: format!("Package: {name}\n{control}"),
            members: BTreeMap::from([("triggers".to_owned(), triggers.as_bytes().to_vec())]),
            paths: vec!["/.".to_owned(), "/usr".to_owned(), format!("/usr/share/{name}")],
            conffiles: Vec::new(),
        }
    }

    #[test]
    fn the_status_file_is_sorted_and_keeps_every_field() {
        let mut wget = package("wget", "Version: 1\nDescription: gets\n all", "");
        wget.conffiles.push(("/etc/wgetrc".to_owned(), "0cc1".to_owned()));
        let first = status("", &[wget]);
        let both = status(&first, &[package("bash", "Version: 5\n", "")]);
        let expected = "Package: bash\nStatus: install ok installed\nVersion: 5\n\nPackage: wget\n\
                        Status: install ok installed\nVersion: 1\nDescription: gets\n all\nConffiles:\n /etc/wgetrc 0cc1\n\n";
        assert_eq!(both, expected);
    }

    #[test]
    fn multi_arch_packages_carry_their_architecture_in_info() {
        assert_eq!(
            package("libc6", "Multi-Arch: same", "").info_name(),
            "libc6:amd64"
        );
        assert_eq!(package("bash", "Multi-Arch: foreign", "").info_name(), "bash");
        let mut hostile = package("bash", "", "");
        hostile.members.insert("../../etc/x".to_owned(), Vec::new());
        assert!(hostile.info_files().iter().all(|(name, ..)| !name.contains('/')));
    }

    #[test]
    fn triggers_reach_packages_that_were_there_before() {
        let mut interests = Interests::default();
        interests.add_packages(&[
            package("libc-bin", "", "interest-await ldconfig"),
            package("man-db", "", "interest-noawait /usr/share/man"),
        ]);
        let mut library = package("libfoo", "", "# by dh\nactivate-noawait ldconfig");
        library.paths.push("/usr/share/man/man1".to_owned());
        let mut again = Interests::default();
        for (name, text) in interests.files() {
            match name.as_str() {
                "File" => again.add_file_interests(&text),
                name => again.add_named_interests(name, &text),
            }
        }
        let activated = again.activated(&[library]);
        assert_eq!(activated["libc-bin"].iter().collect::<Vec<_>>(), ["ldconfig"]);
        assert_eq!(activated["man-db"].iter().collect::<Vec<_>>(), ["/usr/share/man"]);
        assert!(
            !again
                .activated(&[package("libc-bin", "", "activate ldconfig")])
                .contains_key("libc-bin")
        );
    }
}
