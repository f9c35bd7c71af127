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
`trust.allow_project_sources = true`). Passwords in addresses are masked.

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
    let settings = shell.settings()?.all()?;
    shell.print(|| document(&settings), |out| write(out, &settings))?;
    Ok(Exit::GOOD)
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
