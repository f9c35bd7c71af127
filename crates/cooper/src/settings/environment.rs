//! The process's environment, read once.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use cooperage::Caller;

use super::key::KEYS;
use crate::log;

/// What the names of our own variables begin with.
pub(crate) const VARIABLE_PREFIX: &str = "COOPER_";

/// The variables and the working directory that the program was started with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<OsString, OsString>,
    working_directory: Option<PathBuf>,
    /// Who started the program.
    caller: Option<Caller>,
}

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            working_directory: std::env::current_dir().ok(),
            caller: Some(Caller::of_process()),
        }
    }

    /// An environment made up by a test.
    #[cfg(test)]
    pub(crate) fn made(variables: &[(&str, &str)], working_directory: &Path) -> Self {
        let variables = variables
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self {
            variables,
            working_directory: Some(working_directory.to_owned()),
            caller: Some(Caller::HostRoot),
        }
    }

    /// The same, started by an ordinary user.
    #[cfg(test)]
    pub(crate) fn of_ordinary_user(mut self) -> Self {
        self.caller = Some(Caller::Ordinary);
        self
    }

    /// Who started the program; afterwards it may have become root of a namespace.
    pub(crate) fn caller(&self) -> Caller {
        self.caller.unwrap_or(Caller::Ordinary)
    }

    /// A variable; an empty one counts as not set.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.variables
            .get(OsStr::new(name))
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The variables that are ours by their beginning and that nothing reads, sorted.
    pub(crate) fn unknown(&self) -> Vec<String> {
        let known =
            |name: &str| name == log::VARIABLE || KEYS.iter().any(|key| key.variables.contains(&name));
        let names = self
            .variables
            .keys()
            .map(|name| name.to_string_lossy().into_owned());
        names
            .filter(|name| name.starts_with(VARIABLE_PREFIX) && self.variable(name).is_some() && !known(name))
            .collect()
    }

    /// A variable that names an absolute path.
    pub(crate) fn path(&self, name: &str) -> Option<&Path> {
        self.variable(name)
            .map(Path::new)
            .filter(|path| path.is_absolute())
    }

    /// Where the program was started, unless that is gone.
    pub(crate) fn working_directory(&self) -> Option<&Path> {
        self.working_directory.as_deref()
    }

    /// `HOME`, where it is set to an absolute path.
    pub(crate) fn home(&self) -> Option<&Path> {
        self.path("HOME")
    }

    /// The folder of the user's configuration: `XDG_CONFIG_HOME`, else `~/.config`.
    pub(crate) fn config_home(&self) -> Option<PathBuf> {
        let own = self.path("XDG_CONFIG_HOME").map(Path::to_owned);
        own.or_else(|| self.home().map(|home| home.join(".config")))
    }

    /// The folder of the user's data: `XDG_DATA_HOME`, else `~/.local/share`.
    pub(crate) fn data_home(&self) -> Option<PathBuf> {
        let own = self.path("XDG_DATA_HOME").map(Path::to_owned);
        own.or_else(|| self.home().map(|home| home.join(".local/share")))
    }
}
