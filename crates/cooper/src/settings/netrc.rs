//! Passwords from a `.netrc`, the file of ftp(1) that curl, git and pip read too.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cooperage::Credentials;

use super::SettingsError;
use super::environment::Environment;
use super::file::read_text;

const NETRC_BYTES_MAX: u64 = 1 << 20;

/// A file's entries for named machines. `default` is left out: it would give a password to every server.
#[derive(Debug)]
pub(crate) struct Netrc {
    path: PathBuf,
    machines: Vec<(String, Credentials)>,
    /// Why nobody should have put passwords there.
    unsafe_because: Option<String>,
}

impl Netrc {
    /// The file that `NETRC` names, else `~/.netrc`; nothing where there is none.
    pub(crate) fn read(environment: &Environment) -> Result<Option<Self>, SettingsError> {
        let named = environment.path("NETRC").map(Path::to_owned);
        let Some(path) = named.or_else(|| environment.home().map(|home| home.join(".netrc"))) else {
            return Ok(None);
        };
        let failed = |source| SettingsError::Read {
            path: path.clone(),
            source,
        };
        let Some(text) = read_text(&path, NETRC_BYTES_MAX).map_err(failed)? else {
            return Ok(None);
        };
        let metadata = std::fs::metadata(&path).map_err(failed)?;
        Ok(Some(Self {
            machines: parse(&text),
            unsafe_because: exposed(&metadata),
            path,
        }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The credentials of a machine.
    ///
    /// # Errors
    /// When there are some, and others than the user may read or change the file.
    pub(crate) fn find(&self, host: &str) -> Result<Option<&Credentials>, SettingsError> {
        let found = self
            .machines
            .iter()
            .find(|(machine, _)| machine.eq_ignore_ascii_case(host));
        match (found, &self.unsafe_because) {
            (Some(_), Some(reason)) => Err(SettingsError::Exposed {
                path: self.path.clone(),
                reason: reason.clone(),
            }),
            (found, _) => Ok(found.map(|(_, credentials)| credentials)),
        }
    }
}

fn exposed(metadata: &Metadata) -> Option<String> {
    let user = rustix::process::geteuid().as_raw();
    let mode = metadata.permissions().mode() & 0o777;
    if metadata.uid() != user && metadata.uid() != 0 {
        return Some(format!("it belongs to user {}", metadata.uid()));
    }
    (mode & 0o077 != 0).then(|| format!("it has mode {mode:o}, so that others can read or change it"))
}

/// The machines that have a password, the first of each name.
fn parse(text: &str) -> Vec<(String, Credentials)> {
    let mut machines = Vec::new();
    let mut current: Option<Entry> = None;
    let mut tokens = Tokens(text);
    while let Some(word) = tokens.next_token() {
        match word.as_str() {
            "machine" => {
                machines.extend(current.take().and_then(Entry::complete));
                current = tokens.next_token().map(|machine| Entry {
                    machine,
                    ..Entry::default()
                });
            }
            "default" => machines.extend(current.take().and_then(Entry::complete)),
            "macdef" => tokens.skip_macro(),
            "login" | "password" | "account" => {
                let Some(value) = tokens.next_token() else { break };
                match (&mut current, word.as_str()) {
                    (Some(entry), "login") => entry.login = Some(value),
                    (Some(entry), "password") => entry.password = Some(value),
                    _ => {}
                }
            }
            comment if comment.starts_with('#') => tokens.skip_line(),
            _ => {}
        }
    }
    machines.extend(current.and_then(Entry::complete));
    machines
}

#[derive(Default)]
struct Entry {
    machine: String,
    login: Option<String>,
    password: Option<String>,
}

impl Entry {
    fn complete(self) -> Option<(String, Credentials)> {
        let login = self.login.unwrap_or_default();
        Some((self.machine, Credentials::new(&login, &self.password?)))
    }
}

/// What is left of the text.
struct Tokens<'a>(&'a str);

impl Tokens<'_> {
    /// The next word, or what stands between quotation marks, where `\` takes the next character as it is.
    fn next_token(&mut self) -> Option<String> {
        self.0 = self.0.trim_start();
        let quoted = self.0.starts_with('"');
        let mut token = String::new();
        let mut escaped = false;
        for (at, letter) in self.0.char_indices().skip(usize::from(quoted)) {
            let ends = if quoted {
                letter == '"'
            } else {
                letter.is_whitespace()
            };
            if escaped || (letter != '\\' && !ends) {
                token.push(letter);
                escaped = false;
            } else if ends {
                self.0 = &self.0[at + usize::from(quoted)..];
                return Some(token);
            } else {
                escaped = true;
            }
        }
        let some = !self.0.is_empty();
        self.0 = "";
        some.then_some(token)
    }

    fn skip_line(&mut self) {
        self.0 = self.0.split_once('\n').map_or("", |(_, rest)| rest);
    }

    /// A macro ends with an empty line.
    fn skip_macro(&mut self) {
        self.0 = self.0.split_once("\n\n").map_or("", |(_, rest)| rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<(String, bool)> {
        let expected = Credentials::new("alice", "p@ss word#1");
        let machines = parse(text).into_iter();
        machines.map(|(name, found)| (name, found == expected)).collect()
    }

    #[test]
    fn every_form_of_an_entry_is_read() {
        for text in [
            "machine a.test login alice password \"p@ss word#1\"",
            "machine a.test\n\tlogin \"alice\"\n\tpassword p@ss\\ word#1\n",
            "# a comment with password x\nmachine a.test account y password \"p@ss word#1\" login alice # end",
            "macdef init\ncd machine\nmachine x password y\n\nmachine a.test login alice password \"p@ss word#1\"",
            "default login x password y\nmachine a.test login alice password \"p@ss word#1\"",
            "machine a.test login alice password \"p@ss word#1\" default login x password y",
        ] {
            assert_eq!(shown(text), [("a.test".to_owned(), true)], "{text}");
        }
        for none in [
            "",
            "machine",
            "machine a.test",
            "machine a.test login x",
            "password x",
            "\"",
            "machine a \"",
            "\\",
        ] {
            assert_eq!(shown(none), [], "{none}");
        }
        let two = "machine a.test login x password y\nmachine a.test login alice password z\nmachine b.test password w";
        assert_eq!(shown(two).len(), 3);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_where_it_matters() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(".netrc");
        std::io::Write::write_all(
            &mut std::fs::File::create(&path).unwrap(),
            b"machine a.test login alice password sesame",
        )
        .unwrap();
        let read = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let home = home.path().display().to_string();
            let environment = Environment::made(&[("HOME", &home)], Path::new("/"));
            Netrc::read(&environment).unwrap().unwrap()
        };
        assert!(read(0o600).find("A.test").unwrap().is_some());
        assert!(read(0o400).find("b.test").unwrap().is_none());
        for mode in [0o644, 0o640, 0o620, 0o604] {
            let error = read(mode).find("a.test").unwrap_err();
            assert!(error.hint().contains("chmod 600"), "{:?}", error.hint());
            assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
            assert!(read(mode).find("b.test").unwrap().is_none());
        }
    }
}
