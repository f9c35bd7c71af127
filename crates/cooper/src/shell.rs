//! What every command works with: the global flags, the settings, standard output and standard error.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufWriter, IsTerminal as _, Read as _, Write};
use std::path::Path;
use std::sync::Arc;

use cooper_core::Clock as _;
use cooper_core::clock::SystemClock;
use cooperage::{Scripts, SourceLimits, Workshop, WorkshopConfig};
use serde_json::Value;

use crate::args::{Color, Globals};
use crate::failure::{Code, Exit, Failure};
use crate::log;
use crate::render::progress::ProgressDisplay;
use crate::render::table::printable_lines;
use crate::settings::key::KEYS;
use crate::settings::{
    ByteCount, Environment, Settings, Timeout, VARIABLE_PREFIX, key, no_sources, read_text,
};

/// The surroundings of a command.
pub(crate) struct Shell {
    globals: Globals,
    environment: Environment,
}

/// What a command needs of a workshop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Only what is in the store.
    Store,
    /// What is in the store, and the keys that a lock's signed indexes are checked with.
    Lock,
    /// Also where evidence for the gates comes from.
    Evidence,
    /// Also where packages come from.
    Sources {
        /// Fetch indexes again, whatever their age.
        refresh: bool,
    },
}

impl Shell {
    /// A shell of this process.
    pub(crate) fn new(globals: Globals, environment: Environment) -> Self {
        Self { globals, environment }
    }

    /// Let the libraries' warnings be told.
    pub(crate) fn start_log(&self) {
        let value = self.environment.variable(log::VARIABLE);
        let value = value.map(|value| value.to_string_lossy());
        if !log::start(value.as_deref(), self.globals.quiet) {
            let possible = "possible: off, error, warn, info, debug, trace";
            self.say(
                "warning",
                &format!("{} is not understood; {possible}", log::VARIABLE),
            );
        }
    }

    /// The global flags that say which store and settings are meant, to give them to another command.
    pub(crate) fn globals_again(&self) -> Vec<OsString> {
        let flags = [
            ("--store", &self.globals.store),
            ("--config", &self.globals.config),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(flag, path)| Some((flag, path.as_ref()?)));
        given
            .flat_map(|(flag, path)| {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                [OsString::from(flag), path.into_os_string()]
            })
            .collect()
    }

    /// Whether only what was asked for is wanted.
    pub(crate) fn quiet(&self) -> bool {
        self.globals.quiet
    }

    /// The settings, with the global flags.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        let (settings, faults) = self.settings_and_faults()?;
        faults.into_iter().next().map_or(Ok(settings), Err)
    }

    /// The settings as far as they hold, to be shown, and what is wrong with the project's file.
    pub(crate) fn settings_and_faults(&self) -> Result<(Settings, Vec<Failure>), Failure> {
        let own = self.globals.config.as_deref();
        let (mut settings, faults) =
            Settings::load_with_faults(self.environment.clone(), Path::new("/etc"), own)?;
        if let Some(store) = &self.globals.store {
            let store = std::path::absolute(store).unwrap_or_else(|_| store.clone());
            let text = store.into_os_string().into_string();
            let text = text.map_err(|_| Failure::new(Code::Usage, "the path of `--store` is not UTF-8"))?;
            settings.flag(&key::STORE, "--store", text)?;
        }
        Ok((settings, faults.into_iter().map(Failure::from).collect()))
    }

    /// The variables that look like ours and are none, each with the one that may be meant.
    pub(crate) fn unknown_variables(&self) -> Vec<(String, Option<&'static str>)> {
        let with_near = |name: String| {
            let near = nearest_variable(&name);
            (name, near)
        };
        self.environment.unknown().into_iter().map(with_near).collect()
    }

    /// Warn of such variables in one line.
    pub(crate) fn warn_of_unknown_variables(&self) {
        let unknown = self.unknown_variables();
        if unknown.is_empty() || self.globals.quiet {
            return;
        }
        let names: Vec<String> = unknown.into_iter().map(|(name, _)| name).collect();
        let text = format!("nothing reads {}: see `cooper config`", names.join(", "));
        self.say("warning", &text);
    }

    /// Which terminal standard output is, where it is one: for a program that writes to it.
    pub(crate) fn terminal(&self) -> Option<&OsStr> {
        let name = self.environment.variable("TERM")?;
        let plain = name.len() <= 64 && name.as_encoded_bytes().iter().all(u8::is_ascii_graphic);
        (plain && io::stdout().is_terminal()).then_some(name)
    }

    /// Where short-lived files go: TMPDIR, else `/tmp`.
    pub(crate) fn temporary_folder(&self) -> &Path {
        self.environment.path("TMPDIR").unwrap_or(Path::new("/tmp"))
    }

    /// Whether the result is wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        self.globals.json
    }

    /// Where progress is shown: on standard error, if that is a terminal and nobody objects.
    pub(crate) fn progress(&self) -> ProgressDisplay {
        let wanted = !self.globals.quiet && !self.globals.no_progress && !self.globals.json;
        ProgressDisplay::new(wanted && io::stderr().is_terminal(), !self.globals.quiet)
    }

    /// Print the result on standard output: as JSON, or for people.
    pub(crate) fn print(
        &self,
        json: impl FnOnce() -> Value,
        human: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.globals.json {
            self.write(|out| write_json(out, &json()))
        } else {
            self.write(human)
        }
    }

    /// Write something on standard output that is the same for programs and for people.
    #[expect(clippy::unused_self, reason = "whoever writes has the shell")]
    pub(crate) fn write(&self, result: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Failure> {
        let mut out = BufWriter::new(io::stdout().lock());
        result(&mut out)
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Say something on standard error that is no result, unless quiet is wanted.
    pub(crate) fn note(&self, label: &str, text: &str) {
        if !self.globals.quiet && !self.globals.json {
            self.say(label, text);
        }
    }

    /// Say something on standard error, whatever is wanted.
    pub(crate) fn say(&self, label: &str, text: &str) {
        let paint = match label {
            "error" => "\x1b[1;31m",
            "warning" => "\x1b[1;33m",
            _ => "\x1b[1m",
        };
        let text = printable_lines(text);
        let line = if self.colours() {
            format!("{paint}{label}:\x1b[0m {text}\n")
        } else {
            format!("{label}: {text}\n")
        };
        // When nobody reads standard error, nobody can be told.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }

    fn colours(&self) -> bool {
        match self.globals.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => self.environment.variable("NO_COLOR").is_none() && io::stderr().is_terminal(),
        }
    }

    /// Tell a failure, and give the exit status that goes with it.
    pub(crate) fn fail(&self, failure: &Failure) -> Exit {
        if failure.is_silent() {
            return failure.exit_status();
        }
        if self.globals.json {
            let mut out = io::stdout().lock();
            let _ = write_json(&mut out, &failure.json()).and_then(|()| out.flush());
        } else {
            for (label, text) in failure.lines() {
                self.say(label, &text);
            }
        }
        failure.exit_status()
    }
}

/// Our variable that may be meant by another one. What all of them begin with would make each like each.
fn nearest_variable(name: &str) -> Option<&'static str> {
    let own_part = |name: &str| name.strip_prefix(VARIABLE_PREFIX).map(str::to_lowercase);
    let variables = KEYS.iter().flat_map(|key| key.variables.iter().copied());
    let known: Vec<(String, &'static str)> = variables
        .filter_map(|variable| Some((own_part(variable)?, variable)))
        .collect();
    let near = cooperage::chat::nearest(&own_part(name)?, known.iter().map(|(part, _)| part.as_str()))?;
    known
        .iter()
        .find(|(part, _)| part == near)
        .map(|(_, variable)| *variable)
}

/// Open the workshop.
pub(crate) fn open_workshop(settings: &Settings, need: Need) -> Result<Workshop, Failure> {
    let (sources, refresh) = match need {
        Need::Store | Need::Evidence => (no_sources(Vec::new(), Vec::new()), false),
        Need::Lock => (
            no_sources(settings.debian_keys()?, settings.debian_sources()?),
            false,
        ),
        Need::Sources { refresh } => (settings.sources()?, refresh),
    };
    let mut intake = settings.intake()?;
    if matches!(need, Need::Sources { .. } | Need::Evidence) {
        let access = settings.access()?;
        (intake.places, intake.credential_helper) = (access.places, access.helper);
    }
    let (policy, profile) = settings.policy()?;
    let config = WorkshopConfig {
        store: settings.store()?,
        organisation: settings.organisation()?,
        version: settings.image_version()?,
        sources,
        evidence: settings.evidence()?,
        freshness: settings.freshness(refresh.then(|| SystemClock.now()))?,
        intake,
        scripts: if settings.value::<bool>(&key::SCRIPTS_AS_SHIPPED)? {
            Scripts::AsShipped
        } else {
            Scripts::Faster
        },
        source_limits: SourceLimits {
            wall: settings.value::<Timeout>(&key::BUILD_TIMEOUT)?.0,
            memory_bytes: settings.value::<ByteCount>(&key::BUILD_MEMORY)?.0,
        },
        policy,
        profile,
        program: concat!("cooper ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    Ok(Workshop::open(config, Arc::new(SystemClock))?)
}

/// The name of a file that an argument gives, as it is shown; `-` is standard input.
pub(crate) fn input_name(file: &Path) -> String {
    if file.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    }
}

/// The whole text of such a file; one that is not there is an error.
pub(crate) fn read_input(file: &Path, bytes_max: u64) -> io::Result<String> {
    if file.as_os_str() != "-" {
        let text = read_text(file, bytes_max)?;
        return text.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such file"));
    }
    let mut text = String::new();
    io::stdin().lock().take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is larger than {bytes_max} bytes")));
    }
    Ok(text)
}

fn write_json(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")
}
