//! The commands: one file for each, with its arguments and one function.

pub(crate) mod advisories;
pub(crate) mod check;
mod check_lists;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod create;
pub(crate) mod diff;
pub(crate) mod doctor;
mod dry_run;
pub(crate) mod fsck;
pub(crate) mod images;
pub(crate) mod inspect;
mod limits;
pub(crate) mod load;
pub(crate) mod policy;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod runner;
pub(crate) mod save;
mod subject;
pub(crate) mod update;
pub(crate) mod usage;
pub(crate) mod version;
pub(crate) mod waive;
mod waive_all;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use cooperage::chat::{self, ChatCommand};

use crate::args::{self, ChatArgs, Cli, Command, Globals, Parsed};
use crate::failure::{Exit, Failure};
use crate::settings::Environment;
use crate::shell::Shell;

/// Parse the arguments, execute the command, and tell what went wrong.
pub(crate) fn execute(command_line: &[OsString]) -> ExitCode {
    let environment = Environment::of_process();
    let (shell, outcome) = match args::parse(command_line) {
        Ok(Parsed::Command(cli)) => {
            let Cli { globals, command } = *cli;
            let shell = Shell::new(globals, environment);
            shell.start_log();
            // `config` tells more of them, and the others have nothing to do with settings.
            if !matches!(
                command,
                Command::Config(_) | Command::Version(_) | Command::Other(_)
            ) {
                shell.warn_of_unknown_variables();
            }
            let outcome = dispatch(command, command_line, &shell);
            (shell, outcome)
        }
        Ok(Parsed::Text(text)) => return show(&text),
        Err(failure) => {
            let globals = Globals {
                json: args::wants_json(command_line),
                ..Globals::default()
            };
            (Shell::new(globals, environment), Err(failure))
        }
    };
    let exit = outcome.unwrap_or_else(|failure| shell.fail(&failure));
    ExitCode::from(exit.0)
}

fn dispatch(command: Command, command_line: &[OsString], shell: &Shell) -> Result<Exit, Failure> {
    match command {
        Command::Create(args) => create::create(args, shell),
        Command::Update(args) => update::update(&args, shell),
        Command::Check(args) => check::check(&args, shell),
        Command::Waive(args) => waive::waive(&args, shell),
        Command::Policy(args) => policy::policy(&args, shell),
        Command::Images(args) => images::images(&args, shell),
        Command::Run(args) => run::run(&args, command_line, shell),
        Command::Runner(args) => runner::runner(&args, shell),
        Command::Keeper => runner::keep(),
        Command::Inspect(args) => inspect::inspect(&args, shell),
        Command::Diff(args) => diff::diff(&args, shell),
        Command::Save(args) => save::save(&args, shell),
        Command::Load(args) => load::load(&args, shell),
        Command::Remove(args) => remove::remove(&args, shell),
        Command::Gc(args) => remove::gc(&args, shell),
        Command::Advisories(args) => advisories::advisories(&args, shell),
        Command::Fsck(args) => fsck::fsck(&args, shell),
        Command::Config(_) => config::config(shell),
        Command::Doctor(_) => doctor::doctor(shell),
        Command::Inside(args) => doctor::inside(&args, shell),
        Command::Version(_) => version::version(shell),
        Command::Completions(args) => completions::completions(&args, shell),
        Command::Man(args) => completions::man(&args, shell),
        Command::Chat(args) => chat_line(&args, shell),
        // Turned into one of the others, or refused, by `args::parse`.
        Command::Other(_) => Ok(Exit::USAGE),
    }
}

/// A command in chat form: the first word may be the whole line.
fn chat_line(args: &ChatArgs, shell: &Shell) -> Result<Exit, Failure> {
    let mut words = Vec::new();
    if let Some((line, rest)) = args.words.split_first() {
        words.extend(chat::split_words(line)?);
        words.extend_from_slice(rest);
    }
    match chat::parse_split(&words)? {
        ChatCommand::Create(words) => create::create_words(words, &create::Terms::default(), false, shell),
        ChatCommand::Update(words) => update::update_words(words, shell),
        ChatCommand::Images(query) => images::list(&query, shell),
    }
}

/// Show help or the version.
fn show(text: &clap::Error) -> ExitCode {
    let shown = text.print().and_then(|()| std::io::stdout().flush());
    let exit = shown.map_or_else(|error| Failure::output(&error).exit_status(), |()| Exit::GOOD);
    ExitCode::from(exit.0)
}
