//! `cooper policy`: which rules are in force, what they mean, and whether a file is one.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use cooperage::gate::Policy;
use cooperage::gate::policy::{InForce, KEYS, KeyDoc, POLICY_BYTES_MAX, Rules};
use serde_json::{Value, json};

use crate::command::inspect::parse_image_name;
use crate::failure::{Code, Exit, Failure};
use crate::render::table::printable;
use crate::settings::key;
use crate::shell::{Shell, input_name, read_input};

const EXAMPLES: &str = "\
Examples:
  cooper policy show
  cooper policy show --profile production --image pay-report --json
  cooper policy check policy.toml
  cooper policy explain age

A policy is `policy.toml` in /etc/cooper or beside your own cooper.toml, or the file that the setting
`policy.file` (COOPER_POLICY) names:

  profile = \"testing\"                        # where `--profile` names none
  [age]
  days_min = 14
  [profiles.production.vulnerabilities]      # for one profile
  hold_from = \"medium\"
  [images.\"pay-*\".names]                     # for images of this name: may only tighten
  transitive = \"hold\"";

/// Show, check and explain the policy of the gates
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct PolicyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the rules that are in force
    Show {
        /// Under this profile
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
        /// For an image of this name
        #[arg(long, value_name = "NAME")]
        image: Option<String>,
    },
    /// Check a policy file
    Check {
        /// The file
        file: PathBuf,
    },
    /// Say what each key means, what it is set to, and what it may be
    Explain {
        /// A key, or the beginning of one: `age`, `vulnerabilities.unfixed`
        key: Option<String>,
    },
}

/// Execute `cooper policy`.
pub(crate) fn policy(args: &PolicyArgs, shell: &Shell) -> Result<Exit, Failure> {
    match &args.action {
        Action::Show { profile, image } => show(profile.as_deref(), image.as_deref(), shell),
        Action::Check { file } => check(file, shell),
        Action::Explain { key } => explain(key.as_deref().unwrap_or_default(), shell),
    }
}

fn show(profile: Option<&str>, image: Option<&str>, shell: &Shell) -> Result<Exit, Failure> {
    let settings = shell.settings()?;
    let (policy, of_settings) = settings.policy()?;
    let image = image.map(parse_image_name).transpose()?;
    let in_force = policy.rules(profile.or(of_settings.as_deref()), image.as_ref());
    let in_force = in_force.map_err(|error| {
        Failure::of(Code::Configuration, &error).hint("`--profile` names one of those".to_owned())
    })?;
    let file = settings.lookup(&key::POLICY_FILE)?;
    let file = file.and_then(|setting| setting.texts.into_iter().next());
    shell.print(
        || {
            let mut document = json!(in_force);
            document["file"] = json!(file);
            document["digest"] = json!(in_force.digest());
            document["profiles"] = json!(policy.profiles());
            document
        },
        |out| write_rules(out, &in_force, file.as_deref(), &policy),
    )?;
    Ok(Exit::GOOD)
}

fn write_rules(
    out: &mut dyn Write,
    in_force: &InForce,
    file: Option<&str>,
    policy: &Policy,
) -> io::Result<()> {
    let profiles: Vec<&str> = policy.profiles().into_iter().collect();
    writeln!(out, "# profile {} of {}", in_force.profile, profiles.join(", "))?;
    writeln!(
        out,
        "# file    {}",
        printable(file.unwrap_or("none: these are the defaults"))
    )?;
    writeln!(out, "# digest  {}", in_force.digest())?;
    let document = json!(in_force.rules);
    let mut table = "";
    for doc in KEYS {
        let (of, key) = doc.key.split_once('.').unwrap_or(("", doc.key));
        if of != table {
            writeln!(out, "\n[{of}]")?;
            table = of;
        }
        writeln!(out, "{key} = {}", document[of][key])?;
    }
    Ok(())
}

fn check(file: &std::path::Path, shell: &Shell) -> Result<Exit, Failure> {
    let shown = input_name(file);
    let unreadable = |error: &io::Error| {
        Failure::of(Code::Of("policy"), error)
            .told(format!("cannot read {shown}"))
            .hint("check the path, and that it is a text that you may read".to_owned())
    };
    let text = read_input(file, POLICY_BYTES_MAX).map_err(|error| unreadable(&error))?;
    let policy: Policy = text
        .parse()
        .map_err(|error: cooperage::gate::policy::ParsePolicyError| {
            Failure::of(Code::Of("policy"), &error)
                .told(format!("{shown} is no policy"))
                .hint("`cooper policy explain` shows every key with its values".to_owned())
        })?;
    let profiles: Vec<&str> = policy.profiles().into_iter().collect();
    shell.print(
        || json!({ "file": shown, "profile": policy.profile(), "profiles": profiles }),
        |out| {
            let (own, all) = (policy.profile(), profiles.join(", "));
            writeln!(
                out,
                "{}: good; profiles {all}; {own} where none is named",
                printable(&shown)
            )
        },
    )?;
    Ok(Exit::GOOD)
}

fn explain(prefix: &str, shell: &Shell) -> Result<Exit, Failure> {
    let standard = json!(Rules::default());
    let default = |key: &str| {
        let (table, key) = key.split_once('.').unwrap_or(("", key));
        standard[table][key].clone()
    };
    let fitting: Vec<_> = KEYS.iter().filter(|doc| doc.key.starts_with(prefix)).collect();
    if fitting.is_empty() {
        let shown: String = prefix.chars().take(80).collect();
        let failure = Failure::new(Code::Usage, format!("there is no key `{shown}`"));
        return Err(failure.hint("`cooper policy explain` shows all of them".to_owned()));
    }
    let document = || -> Value {
        let one = |doc: &&KeyDoc| {
            let KeyDoc { key, meaning } = doc;
            json!({ "key": key, "meaning": meaning, "default": default(key) })
        };
        fitting.iter().map(one).collect()
    };
    shell.print(document, |out| {
        for doc in &fitting {
            writeln!(out, "{} = {}\n  {}", doc.key, default(doc.key), doc.meaning)?;
        }
        Ok(())
    })?;
    Ok(Exit::GOOD)
}
