//! `cooper config`: the settings in force, and where each value comes from.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};
use crate::render::table::{Align, Table};
use crate::settings::Setting;
use crate::settings::key::Key;
use crate::shell::Shell;

const EXAMPLES: &str = "\
Examples:
  cooper config
  cooper config --json
  COOPER_STORE=/srv/cooper cooper config

Flags are stronger than the environment, which is stronger than cooper.toml in the working
directory or the nearest folder above it, then the user's ~/.config/cooper/cooper.toml, then
/etc/cooper/cooper.toml, then the defaults. PROJECT says what the file of a project may do: set a
value, only tighten it, or nothing (unless the user's own file has
`trust.allow_project_sources = true`). What it may not say, or says wrongly, is left out here and
stops every other command. Passwords in addresses are masked.

A cooper.toml:
  organisation = \"team\"
  image.version = \"1.2.0\"
  debian.mirrors = [\"http://MIRROR/debian\"]
  debian.security_mirrors = [\"http://MIRROR/debian-security\"]
  python.index = \"https://INDEX/simple/\"
  freshness.max_age = \"1h\"
  run.memory = \"512MiB\"";

/// Show every setting, its value, and where that comes from
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct ConfigArgs {}

/// Execute `cooper config`.
pub(crate) fn config(shell: &Shell) -> Result<Exit, Failure> {
    for (name, near) in shell.unknown_variables() {
        let near = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        shell.say("warning", &format!("nothing reads the variable {name}{near}"));
    }
    let (settings, faults) = shell.settings_and_faults()?;
    let settings = settings.all()?;
    shell.print(
        || with_faults(document(&settings), &faults),
        |out| write(out, &settings),
    )?;
    if !shell.json() {
        for fault in &faults {
            shell.fail(fault);
        }
    }
    Ok(faults.first().map_or(Exit::GOOD, Failure::exit_status))
}

/// The settings alone, or beside what is wrong: then the document is that of an error.
fn with_faults(settings: Value, faults: &[Failure]) -> Value {
    let Some(first) = faults.first() else {
        return settings;
    };
    let mut document = first.json();
    document["settings"] = settings;
    document["errors"] = faults.iter().map(|fault| fault.json()["error"].clone()).collect();
    document
}

fn document(settings: &[(&'static Key, Option<Setting>)]) -> Value {
    let entry = |(key, setting): &(&'static Key, Option<Setting>)| {
        let value = match setting {
            None => Value::Null,
            Some(setting) if key.list => json!(setting.texts),
            Some(setting) => json!(setting.texts.first()),
        };
        json!({
            "key": key.name,
            "value": value,
            "origin": setting.as_ref().map_or_else(|| "not set".to_owned(), |setting| setting.origin.to_string()),
            "project": key.project_word(),
            "environment": key.variables,
        })
    };
    settings.iter().map(entry).collect()
}

fn write(out: &mut dyn Write, settings: &[(&'static Key, Option<Setting>)]) -> io::Result<()> {
    let columns = ["SETTING", "VALUE", "FROM", "PROJECT"];
    let mut table = Table::new(columns.map(|title| (title, Align::Left)));
    for (key, setting) in settings {
        let (value, origin) = match setting {
            Some(setting) => (setting.texts.join(" "), setting.origin.to_string()),
            None => ("-".to_owned(), "not set".to_owned()),
        };
        table.row([key.name.to_owned(), value, origin, key.project_word().to_owned()]);
    }
    table.write(out, "")
}
