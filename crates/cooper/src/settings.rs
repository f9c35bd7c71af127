//! Settings: flags over environment over the project's `cooper.toml` over the user's over the system's over defaults.
//!
//! The only place in the code base that reads the environment. Each value is looked up when a command needs it:
//! `cooper run` reads no apt sources.

mod access;
mod apt;
mod debian_source;
mod defaults;
mod environment;
mod file;
#[cfg(test)]
mod fuzzed;
pub(crate) mod key;
mod netrc;
mod pip;
mod trust;
mod value;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cooper_core::{Base, ImageVersion, Organisation, Timestamp};
use cooperage::gate::Policy;
use cooperage::gate::policy::{POLICY_BYTES_MAX, ParsePolicyError};
use cooperage::{DebianSource, Freshness, IntakeConfig, Proxies, Sources, public_address};
use url::Url;

pub(crate) use environment::{Environment, VARIABLE_PREFIX};
use file::SettingsFile;
pub(crate) use file::read_text;
use key::{KEYS, Key, ProjectRule};
pub(crate) use value::{ByteCount, Count, MilliCpus, SettingType, Timeout};

/// One setting in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) texts: Vec<String>,
    pub(crate) origin: Origin,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Environment(&'static str),
    File {
        path: PathBuf,
        line: usize,
    },
    /// Something of this host that is not ours: apt's sources, pip's configuration.
    Host(String),
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "flag {flag}"),
            Self::Environment(name) => write!(formatter, "environment {name}"),
            Self::File { path, line } => write!(formatter, "{}:{line}", path.display()),
            Self::Host(place) => write!(formatter, "this host: {place}"),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// Why a project's file may not say what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It chooses where things come from or go to.
    Source,
    /// It widens a bound.
    Above { asked: String, limit: String },
    /// It is about trust itself.
    Always,
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("there is no file {}", path.display())]
    NoFile { path: PathBuf },
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        path: PathBuf,
        line: usize,
        reason: String,
    },
    #[error("{}:{line}: there is no setting `{key}`", path.display())]
    UnknownKey {
        path: PathBuf,
        line: usize,
        key: String,
        near: Option<&'static str>,
    },
    #[error("{} is no policy", path.display())]
    Policy { path: PathBuf, source: ParsePolicyError },
    #[error("{origin}: `{key}`: {reason}")]
    Value {
        origin: String,
        key: &'static str,
        reason: String,
    },
    #[error("{}:{line}: a project's file may not {}", path.display(), refusal(key, refused))]
    Refused {
        path: PathBuf,
        line: usize,
        key: &'static str,
        refused: Refused,
        own_file: PathBuf,
    },
    #[error("{} has passwords, and {reason}", path.display())]
    Exposed { path: PathBuf, reason: String },
    #[error("`{key}` is not set, and this host has {nothing} to take it from")]
    NotSet {
        nothing: &'static str,
        key: &'static str,
        variable: &'static str,
        own_file: PathBuf,
    },
}

fn refusal(key: &str, refused: &Refused) -> String {
    match refused {
        Refused::Source | Refused::Always => format!("set `{key}`"),
        Refused::Above { asked, limit } => format!("set `{key}` to {asked}: {limit} is in force without it"),
    }
}

impl SettingsError {
    /// What to do.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "check who may read it".to_owned(),
            Self::NoFile { .. } => {
                "check the path that `--config`, or the setting `policy.file`, names".to_owned()
            }
            Self::Policy { .. } => "`cooper policy explain` shows every key with its values".to_owned(),
            Self::Syntax { .. } => "see https://toml.io for the format".to_owned(),
            Self::UnknownKey { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::UnknownKey { near: None, .. } => "`cooper config` lists every setting".to_owned(),
            Self::Value { .. } => "`cooper config` shows what every setting looks like".to_owned(),
            Self::Refused {
                refused: Refused::Always,
                own_file,
                key,
                ..
            } => format!("`{key}` belongs into {}", own_file.display()),
            Self::Refused { own_file, key, .. } => format!(
                "put `{key}` into {0}, or allow it there to the files of all projects: `trust.allow_project_sources = true`",
                own_file.display()
            ),
            Self::Exposed { path, .. } => {
                format!("`chown $(id -u) {0} && chmod 600 {0}`", path.display())
            }
            Self::NotSet {
                key,
                variable,
                own_file,
                ..
            } => format!(
                "set {variable}, or `{key}` in {}, to the URL of one",
                own_file.display()
            ),
        }
    }
}

/// All that has been said of settings, unmerged.
#[derive(Clone)]
pub(crate) struct Settings {
    flags: Vec<(&'static Key, Setting)>,
    environment: Environment,
    project: Option<SettingsFile>,
    user: Option<SettingsFile>,
    system: Option<SettingsFile>,
    own_file: PathBuf,
    etc: PathBuf,
}

/// The name of a settings file.
const FILE_NAME: &str = "cooper.toml";

impl Settings {
    /// Read the settings files below `etc`, the user's folder (or `own` in its place) and the working directory.
    #[cfg(test)]
    pub(crate) fn load(
        environment: Environment,
        etc: &Path,
        own: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let (settings, faults) = Self::load_with_faults(environment, etc, own)?;
        faults.into_iter().next().map_or(Ok(settings), Err)
    }

    /// The same, without what a project's file says wrongly or may not say: that comes beside. Nothing is to be done
    /// with such settings but to show them.
    pub(crate) fn load_with_faults(
        environment: Environment,
        etc: &Path,
        own: Option<&Path>,
    ) -> Result<(Self, Vec<SettingsError>), SettingsError> {
        let system_file = etc.join("cooper").join(FILE_NAME);
        let own_file = match own {
            Some(path) => path.to_owned(),
            None => environment
                .config_home()
                .map_or_else(|| system_file.clone(), |home| home.join("cooper").join(FILE_NAME)),
        };
        let user = SettingsFile::read(&own_file)?;
        if own.is_some() && user.is_none() {
            return Err(SettingsError::NoFile { path: own_file });
        }
        let system = if own_file == system_file {
            None
        } else {
            SettingsFile::read(&system_file)?
        };
        let (mut project, mut faults) = (None, Vec::new());
        if let Some(path) = project_file(&environment, &[&own_file, &system_file]) {
            match SettingsFile::read(&path) {
                Ok(file) => project = file,
                Err(fault) => faults.push(fault),
            }
        }
        if let Some(project) = &mut project {
            let others: Vec<&SettingsFile> = user.iter().chain(&system).collect();
            faults.extend(trust::take_refused(project, &others, &own_file));
        }
        let settings = Self {
            flags: Vec::new(),
            environment,
            project,
            user,
            system,
            own_file,
            etc: etc.to_owned(),
        };
        Ok((settings, faults))
    }

    /// Set a value by a flag.
    pub(crate) fn flag(
        &mut self,
        key: &'static Key,
        flag: &'static str,
        text: String,
    ) -> Result<(), SettingsError> {
        let texts = vec![text];
        let wrong = |reason| SettingsError::Value {
            origin: flag.to_owned(),
            key: key.name,
            reason,
        };
        (key.check)(&texts).map_err(wrong)?;
        self.flags.push((
            key,
            Setting {
                texts,
                origin: Origin::Flag(flag),
            },
        ));
        Ok(())
    }

    /// A setting in force; `None` when nothing sets it and it has no default.
    pub(crate) fn lookup(&self, key: &'static Key) -> Result<Option<Setting>, SettingsError> {
        if let Some((_, setting)) = self.flags.iter().find(|(known, _)| known.name == key.name) {
            return Ok(Some(setting.clone()));
        }
        if let Some(setting) = self.variable(key)? {
            return Ok(Some(setting));
        }
        let files = self.project.iter().chain(&self.user).chain(&self.system);
        for file in files {
            if let Some(entry) = file.entries.iter().find(|entry| entry.key.name == key.name) {
                let origin = Origin::File {
                    path: file.path.clone(),
                    line: entry.line,
                };
                return Ok(Some(Setting {
                    texts: entry.texts.clone(),
                    origin,
                }));
            }
        }
        Ok(defaults::of_host(key, &self.environment, &self.etc))
    }

    fn variable(&self, key: &'static Key) -> Result<Option<Setting>, SettingsError> {
        let set = key
            .variables
            .iter()
            .find_map(|name| Some((*name, self.environment.variable(name)?)));
        let Some((name, value)) = set else { return Ok(None) };
        let wrong = |reason| SettingsError::Value {
            origin: format!("environment {name}"),
            key: key.name,
            reason,
        };
        let text = value
            .to_str()
            .ok_or_else(|| wrong("it is not UTF-8".to_owned()))?;
        let mut texts = vec![text.to_owned()];
        if key.list {
            let pieces = text.split([',', ' ', '\n']).filter(|piece| !piece.is_empty());
            texts = pieces.map(str::to_owned).collect();
        }
        (key.check)(&texts).map_err(wrong)?;
        if key.path
            && let Some(folder) = self.environment.working_directory()
        {
            texts = texts
                .iter()
                .map(|text| folder.join(text).display().to_string())
                .collect();
        }
        Ok(Some(Setting {
            texts,
            origin: Origin::Environment(name),
        }))
    }

    /// Every setting in force, in the order of [`KEYS`]. Passwords in addresses are masked.
    pub(crate) fn all(&self) -> Result<Vec<(&'static Key, Option<Setting>)>, SettingsError> {
        let looked_up = KEYS.iter().map(|key| {
            let masked = |setting: Setting| Setting {
                texts: setting.texts.iter().map(|text| masked(text)).collect(),
                ..setting
            };
            Ok((*key, self.lookup(key)?.map(masked)))
        });
        looked_up.collect()
    }

    /// A setting's value, if it has one.
    fn optional<T: SettingType>(&self, key: &'static Key) -> Result<Option<T>, SettingsError> {
        let Some(setting) = self.lookup(key)? else {
            return Ok(None);
        };
        let wrong = |reason| SettingsError::Value {
            origin: setting.origin.to_string(),
            key: key.name,
            reason,
        };
        T::parse(&setting.texts).map(Some).map_err(wrong)
    }

    /// The value of a setting that has a default.
    pub(crate) fn value<T: SettingType>(&self, key: &'static Key) -> Result<T, SettingsError> {
        let missing = || SettingsError::Value {
            origin: "defaults".to_owned(),
            key: key.name,
            reason: "it has no value".to_owned(),
        };
        self.optional(key)?.ok_or_else(missing)
    }

    pub(crate) fn store(&self) -> Result<PathBuf, SettingsError> {
        self.value(&key::STORE)
    }

    /// The policy, and the profile where it is not the policy's own.
    pub(crate) fn policy(&self) -> Result<(Policy, Option<String>), SettingsError> {
        let profile: Option<String> = self.optional(&key::POLICY_PROFILE)?;
        let Some(path) = self.optional::<PathBuf>(&key::POLICY_FILE)? else {
            return Ok((Policy::default(), profile));
        };
        let text = read_text(&path, POLICY_BYTES_MAX).map_err(|source| SettingsError::Read {
            path: path.clone(),
            source,
        })?;
        let text = text.ok_or_else(|| SettingsError::NoFile { path: path.clone() })?;
        let policy = text
            .parse()
            .map_err(|source| SettingsError::Policy { path, source })?;
        Ok((policy, profile))
    }

    pub(crate) fn organisation(&self) -> Result<Organisation, SettingsError> {
        self.value(&key::ORGANISATION)
    }

    pub(crate) fn base(&self) -> Result<Base, SettingsError> {
        self.value(&key::BASE)
    }

    pub(crate) fn image_version(&self) -> Result<ImageVersion, SettingsError> {
        self.value(&key::IMAGE_VERSION)
    }

    /// How old an index may be; what was fetched before `refresh` is fetched again.
    pub(crate) fn freshness(&self, refresh: Option<Timestamp>) -> Result<Freshness, SettingsError> {
        let max_age: Duration = self.value(&key::MAX_AGE)?;
        Ok(Freshness {
            max_age,
            refresh,
            offline: self.value(&key::OFFLINE)?,
        })
    }

    /// How bytes are fetched.
    pub(crate) fn intake(&self) -> Result<IntakeConfig, SettingsError> {
        let standard = IntakeConfig::default();
        let silence: Timeout = self.value(&key::NETWORK_TIMEOUT)?;
        let silence_ms = u64::try_from(silence.0.as_millis()).unwrap_or(u64::MAX);
        let attempts: Count = self.value(&key::NETWORK_ATTEMPTS)?;
        Ok(IntakeConfig {
            attempts: u32::try_from(attempts.0).unwrap_or(u32::MAX),
            connect_ms: silence_ms.min(standard.connect_ms),
            idle_ms: silence_ms,
            rate_window_ms: silence_ms,
            offline: self.value(&key::OFFLINE)?,
            proxies: Proxies {
                http: self.optional(&key::HTTP_PROXY)?,
                https: self.optional(&key::HTTPS_PROXY)?,
                no_proxy: self.optional(&key::NO_PROXY)?,
            },
            ca_files: self.optional(&key::CA_FILES)?.unwrap_or_default(),
            ..standard
        })
    }

    /// Where packages come from: for commands that resolve. Reads the host's apt sources where no mirror is set.
    pub(crate) fn sources(&self) -> Result<Sources, SettingsError> {
        let addresses = |key, nothing| {
            let urls: Vec<Url> = self.address(key, nothing)?;
            Ok::<_, SettingsError>(urls.iter().map(public_address).collect())
        };
        let sources = Sources {
            debian_mirrors: addresses(&key::DEBIAN_MIRRORS, "no apt sources of Debian's")?,
            debian_security_mirrors: addresses(&key::DEBIAN_SECURITY_MIRRORS, "no apt sources of Debian's")?,
            debian_keys: self.debian_keys()?,
            debian_sources: self.debian_sources()?,
            python_indexes: addresses(&key::PYTHON_INDEX, "no configuration of pip's")?,
        };
        Ok(sources)
    }

    /// Where evidence for the gates comes from.
    pub(crate) fn evidence(&self) -> Result<Vec<Url>, SettingsError> {
        let mut addresses = Vec::new();
        for key in key::EVIDENCE_KEYS {
            let urls: Option<Vec<Url>> = self.optional(key)?;
            addresses.extend(urls.iter().flatten().map(public_address));
        }
        Ok(addresses)
    }

    /// pip takes the newest version from any of its indexes; here the first index that has a name is the only one, and
    /// pip's configuration does not say which of its extra ones come first.
    fn warn_of_extra_indexes(&self) -> Result<(), SettingsError> {
        let setting = self.lookup(&key::PYTHON_INDEX)?;
        let of_host = |setting: &Setting| matches!(setting.origin, Origin::Host(_) | Origin::Default);
        if let (true, Some((urls, place))) = (
            setting.as_ref().is_some_and(of_host),
            pip::extra_indexes(&self.environment, &self.etc),
        ) {
            tracing::warn!(
                extra = urls.iter().map(|url| masked(url)).collect::<Vec<_>>().join(" "),
                place,
                "pip's extra indexes are not used, as pip does not say which index comes first: set `python.index` to \
                 a list, the most trusted index first"
            );
        }
        Ok(())
    }

    /// A setting without which nothing can be fetched.
    fn address<T: SettingType>(&self, key: &'static Key, nothing: &'static str) -> Result<T, SettingsError> {
        let variable = key.variables.first().copied().unwrap_or_default();
        let own_file = self.own_file.clone();
        self.optional(key)?.ok_or(SettingsError::NotSet {
            nothing,
            key: key.name,
            variable,
            own_file,
        })
    }

    /// The certificates of those who may sign Debian's indexes. The default is the host's keyring and our own
    /// copy: a host may have none, or one that is older than the base.
    pub(crate) fn debian_keys(&self) -> Result<Vec<Vec<u8>>, SettingsError> {
        let Some(setting) = self.lookup(&key::DEBIAN_KEYRING)? else {
            return Ok(vec![defaults::OWN_KEYRING.to_vec()]);
        };
        let mut keys = Vec::new();
        for text in &setting.texts {
            let path = Path::new(text);
            keys.push(std::fs::read(path).map_err(|source| SettingsError::Read {
                path: path.to_owned(),
                source,
            })?);
        }
        if matches!(setting.origin, Origin::Host(_))
            && keys.iter().all(|keyring| keyring != defaults::OWN_KEYRING)
        {
            keys.push(defaults::OWN_KEYRING.to_vec());
        }
        Ok(keys)
    }
}

/// Nothing to resolve with: for commands that do not.
pub(crate) fn no_sources(debian_keys: Vec<Vec<u8>>, debian_sources: Vec<DebianSource>) -> Sources {
    Sources {
        debian_mirrors: Vec::new(),
        debian_security_mirrors: Vec::new(),
        debian_keys,
        debian_sources,
        python_indexes: Vec::new(),
    }
}

/// The `cooper.toml` of the working directory or the nearest folder above it that has one.
fn project_file(environment: &Environment, others: &[&Path]) -> Option<PathBuf> {
    let folders = environment.working_directory()?.ancestors();
    let file = folders
        .map(|folder| folder.join(FILE_NAME))
        .find(|file| file.is_file())?;
    let same =
        |other: &&Path| matches!((other.canonicalize(), file.canonicalize()), (Ok(a), Ok(b)) if a == b);
    (!others.iter().any(same)).then_some(file)
}

/// A text without the user names and passwords of the addresses in it.
pub(crate) fn masked(text: &str) -> String {
    let mut pieces = text.split("://");
    let first = pieces.next().unwrap_or_default();
    let rest: Vec<String> = pieces.map(without_login).collect();
    if rest.is_empty() {
        return without_login(first);
    }
    format!("{first}://{}", rest.join("://"))
}

/// What begins with an authority, without user name and password.
fn without_login(rest: &str) -> String {
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("***{}", &rest[at..]),
        None => rest.to_owned(),
    }
}

impl Key {
    /// What a project's file may do with this setting, in a word.
    pub(crate) fn project_word(&self) -> &'static str {
        match self.project {
            ProjectRule::Free => "yes",
            ProjectRule::Lower(_) | ProjectRule::OnlyTrue => "tighten",
            ProjectRule::Source | ProjectRule::Never => "no",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Host {
        folder: tempfile::TempDir,
    }

    impl Host {
        fn new(files: &[(&str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (path, text) in files {
                let path = folder.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes())
                    .unwrap();
            }
            Self { folder }
        }

        fn load(&self, variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
            let home = self.folder.path().join("home").display().to_string();
            let mut all = vec![("HOME", home.as_str())];
            all.extend(variables);
            let environment = Environment::made(&all, &self.folder.path().join("project/deep/er"));
            Settings::load(environment, &self.folder.path().join("etc"), None)
        }
    }

    fn value(settings: &Settings, key: &'static Key) -> String {
        let setting = settings.lookup(key).unwrap().unwrap();
        let place = setting.origin.to_string();
        format!(
            "{} from {}",
            setting.texts.join(" "),
            place.rsplit_once('/').map_or(place.as_str(), |(_, name)| name)
        )
    }

    #[test]
    fn the_stronger_source_wins() {
        let files = [
            (
                "etc/cooper/cooper.toml",
                "organisation = \"system\"\nbase = \"debian:bookworm\"\nimage.version = \"2.0\"",
            ),
            (
                "home/.config/cooper/cooper.toml",
                "\n\norganisation = \"user\"\nimage.version = \"3.0\"",
            ),
            ("project/cooper.toml", "\norganisation = \"project\""),
            ("project/deep/er/x", ""),
        ];
        let host = Host::new(&files);
        let mut settings = host.load(&[]).unwrap();
        assert_eq!(value(&settings, &key::ORGANISATION), "project from cooper.toml:2");
        assert_eq!(value(&settings, &key::IMAGE_VERSION), "3.0 from cooper.toml:4");
        assert_eq!(value(&settings, &key::BASE), "debian:bookworm from cooper.toml:2");
        assert_eq!(value(&settings, &key::RUN_PIDS), "256 from default");
        settings
            .flag(&key::ORGANISATION, "--organisation", "flag".to_owned())
            .unwrap();
        assert_eq!(
            value(&settings, &key::ORGANISATION),
            "flag from flag --organisation"
        );
        let settings = host
            .load(&[("COOPER_ORGANISATION", "env"), ("COOPER_STORE", "")])
            .unwrap();
        assert_eq!(
            value(&settings, &key::ORGANISATION),
            "env from environment COOPER_ORGANISATION"
        );
        assert_eq!(
            value(&settings, &key::STORE),
            "/var/lib/cooper/store from default"
        );
    }

    #[test]
    fn an_ordinary_users_store_is_in_its_home() {
        let of = |variables: &[(&str, &str)], key| {
            let environment = Environment::made(variables, Path::new("/")).of_ordinary_user();
            value(
                &Settings::load(environment, Path::new("/nowhere"), None).unwrap(),
                key,
            )
        };
        let home = ("HOME", "/home/ann");
        assert_eq!(
            of(&[home], &key::STORE),
            "/home/ann/.local/share/cooper/store from default"
        );
        assert_eq!(
            of(&[home, ("XDG_DATA_HOME", "/data")], &key::STORE),
            "/data/cooper/store from default"
        );
        assert_eq!(of(&[], &key::STORE), "/var/lib/cooper/store from default");
        assert_eq!(of(&[], &key::RUN_ENFORCEMENT), "best-effort from default");
        let settings = Settings::load(
            Environment::made(&[], Path::new("/")),
            Path::new("/nowhere"),
            None,
        );
        assert_eq!(
            value(&settings.unwrap(), &key::RUN_ENFORCEMENT),
            "required from default"
        );
    }

    #[test]
    fn hosts_tell_mirrors_and_index() {
        let apt = "Types: deb\nURIs: http://one.test/debian\nSuites: trixie\nComponents: main\n\nTypes: deb\nURIs: http://one.test/debian-security\nSuites: trixie-security\nComponents: main\n";
        let host = Host::new(&[
            ("etc/apt/sources.list.d/debian.sources", apt),
            (
                "etc/pip.conf",
                "[global]\nindex-url = https://user:secret@index.test/simple\n",
            ),
            ("project/deep/er/x", ""),
        ]);
        let settings = host.load(&[]).unwrap();
        let sources = settings.sources().unwrap();
        assert_eq!(sources.debian_mirrors[0].as_str(), "http://one.test/debian");
        assert_eq!(
            sources.debian_security_mirrors[0].as_str(),
            "http://one.test/debian-security"
        );
        assert_eq!(sources.python_indexes[0].as_str(), "https://index.test/simple");
        assert!(!sources.debian_keys.is_empty());
        let shown = settings.all().unwrap();
        let index = shown
            .iter()
            .find(|(key, _)| key.name == "python.index")
            .unwrap()
            .1
            .clone()
            .unwrap();
        assert_eq!(index.texts, ["https://***@index.test/simple"]);
    }

    #[test]
    fn a_host_without_apt_must_be_told() {
        let host = Host::new(&[("project/deep/er/x", "")]);
        let error = host.load(&[]).unwrap().sources().unwrap_err();
        assert!(error.to_string().contains("debian.mirrors"), "{error}");
        assert!(
            error.hint().contains("COOPER_DEBIAN_MIRROR"),
            "{:?}",
            error.hint()
        );
        let settings = host
            .load(&[("COOPER_DEBIAN_MIRROR", "http://a.test/d,http://b.test/d")])
            .unwrap();
        let error = settings.sources().unwrap_err();
        assert!(
            error.hint().contains("COOPER_DEBIAN_SECURITY_MIRROR"),
            "{:?}",
            error.hint()
        );
    }

    #[test]
    fn wrong_variables_are_errors() {
        let host = Host::new(&[("project/deep/er/x", "")]);
        for (name, text, key) in [
            ("COOPER_MAX_AGE", "soon", &key::MAX_AGE),
            ("COOPER_ORGANISATION", "Me", &key::ORGANISATION),
            ("COOPER_PYTHON_INDEX", "index.test", &key::PYTHON_INDEX),
            ("COOPER_OFFLINE", "maybe", &key::OFFLINE),
            ("COOPER_DEBIAN_MIRROR", ",", &key::DEBIAN_MIRRORS),
        ] {
            let error = host.load(&[(name, text)]).unwrap().lookup(key).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn passwords_are_masked() {
        assert_eq!(masked("https://u:p@host.test/x?y"), "https://***@host.test/x?y");
        assert_eq!(masked("u:p@ss@host.test:3128"), "***@host.test:3128");
        assert_eq!(
            masked("{ uris = [\"https://u:p@a.test/x\", \"http://u:p@b.test\"], name = [\"x\"] }"),
            "{ uris = [\"https://***@a.test/x\", \"http://***@b.test\"], name = [\"x\"] }"
        );
        assert_eq!(masked("https://host.test/a@b"), "https://host.test/a@b");
    }

    #[test]
    fn our_own_keyring_has_the_keys_of_every_base() {
        // User ids are plain text inside a binary keyring.
        let text = String::from_utf8_lossy(defaults::OWN_KEYRING);
        for base in Base::ALL {
            assert!(text.contains(&format!("/{})", base.codename())), "{base}");
        }
    }
}
