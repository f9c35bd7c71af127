//! What may be typed: the commands, their flags, and how a chat line is told from them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::command::advisories::AdvisoriesArgs;
use crate::command::check::CheckArgs;
use crate::command::completions::{CompletionsArgs, ManArgs};
use crate::command::config::ConfigArgs;
use crate::command::create::CreateArgs;
use crate::command::diff::DiffArgs;
use crate::command::doctor::{DoctorArgs, InsideArgs};
use crate::command::fsck::FsckArgs;
use crate::command::images::ImagesArgs;
use crate::command::inspect::InspectArgs;
use crate::command::load::LoadArgs;
use crate::command::policy::PolicyArgs;
use crate::command::remove::{GcArgs, RemoveArgs};
use crate::command::run::RunArgs;
use crate::command::runner::RunnerArgs;
use crate::command::save::SaveArgs;
use crate::command::update::UpdateArgs;
use crate::command::version::VersionArgs;
use crate::command::waive::WaiveArgs;
use crate::failure::{Code, Exit, Failure};

const ABOUT: &str = "Make vetted container images for Python scripts, and run the scripts in them";

const EXAMPLES: &str = "\
Examples:
  cooper create example_name --dependencies mechanize --packages wget
  cooper run example_name script.py arg1 arg2
  cooper run example_name -c 'import mechanize; print(mechanize.__version__)'
  cooper images
  cooper inspect example_name --lock > example_name.lock
  cooper '/docker_image_create name=example_name dependencies=mechanize packages=wget'

Exit status: 0 good, 1 failure, 2 usage, 3 refused by a gate, 4 a gate could not judge. `cooper run`
gives the script's own; 124 after the time limit, 137 after the memory limit, 125 when nothing could be run.";

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "cooper",
    bin_name = "cooper",
    version,
    about = ABOUT,
    after_long_help = EXAMPLES,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Print one JSON document on standard output, also for errors
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Keep images in this folder
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Read this settings file in place of the user's own
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print only what was asked for: no progress, no notes
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Show no progress bars, not even on a terminal
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Use colours: auto (on a terminal, unless `NO_COLOR` is set), always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(crate) color: Color,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Create(CreateArgs),
    Update(UpdateArgs),
    Check(Box<CheckArgs>),
    Waive(Box<WaiveArgs>),
    Policy(PolicyArgs),
    Images(ImagesArgs),
    Run(Box<RunArgs>),
    Runner(Box<RunnerArgs>),
    /// Keep a template of warm runs: started by `cooper runner`, with a socket as standard input
    #[command(hide = true)]
    Keeper,
    Inspect(InspectArgs),
    Diff(DiffArgs),
    Save(SaveArgs),
    Load(LoadArgs),
    Remove(RemoveArgs),
    Gc(GcArgs),
    Advisories(AdvisoriesArgs),
    Fsck(FsckArgs),
    Config(ConfigArgs),
    Doctor(DoctorArgs),
    /// Try the walls of the sandbox that this is in: started there by `cooper doctor`
    #[command(hide = true)]
    Inside(InsideArgs),
    Version(VersionArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
    /// A command in chat form
    #[command(hide = true)]
    Chat(ChatArgs),
    #[command(external_subcommand)]
    Other(Vec<OsString>),
}

/// The words of a command in chat form.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// `/docker_…` and its arguments, in one word or several
    #[arg(required = true)]
    pub(crate) words: Vec<String>,
}

/// The command line of `cooper run` alone.
///
/// The definition of all commands takes longer to build than many a thing that a run needs. What this one does not
/// accept is for [`Cli`] to explain.
#[derive(Debug, Parser)]
struct RunLine {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: RunCommand,
}

#[derive(Debug, Subcommand)]
enum RunCommand {
    Run(Box<RunArgs>),
}

impl RunLine {
    fn parse(argv: &[OsString]) -> Option<Cli> {
        let is_run = first_word(argv).as_deref() == Some("run");
        let RunLine { globals, command } = is_run.then(|| Self::try_parse_from(argv).ok())??;
        let RunCommand::Run(run) = command;
        Some(Cli {
            globals,
            command: Command::Run(run),
        })
    }
}

/// What came of parsing.
pub(crate) enum Parsed {
    /// A command to execute.
    Command(Box<Cli>),
    /// Help or the version, asked for: to be shown on standard output.
    Text(clap::Error),
}

/// Parse the arguments, the program's name first.
pub(crate) fn parse(argv: &[OsString]) -> Result<Parsed, Failure> {
    if let Some(cli) = RunLine::parse(argv) {
        return Ok(Parsed::Command(Box::new(cli)));
    }
    let cli = match Cli::try_parse_from(argv) {
        Ok(cli) => cli,
        Err(error) => return not_parsed(argv, error),
    };
    let Command::Other(words) = &cli.command else {
        return Ok(Parsed::Command(Box::new(cli)));
    };
    let first = words
        .first()
        .map(|word| word.to_string_lossy().into_owned())
        .unwrap_or_default();
    if !first.starts_with('/') {
        return Err(unknown_command(&first));
    }
    // The line itself, with the flags before and after it.
    let mut with_chat = argv.to_vec();
    with_chat.insert(argv.len() - words.len(), "chat".into());
    match Cli::try_parse_from(&with_chat) {
        Ok(cli) => Ok(Parsed::Command(Box::new(cli))),
        Err(error) => not_parsed(argv, error),
    }
}

fn not_parsed(argv: &[OsString], error: clap::Error) -> Result<Parsed, Failure> {
    use clap::error::ErrorKind;
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Ok(Parsed::Text(error));
    }
    let command = first_word(argv);
    let text = error.to_string();
    let exit = if command.as_deref() == Some("run") {
        Exit::RUN_FAILED
    } else {
        Exit::USAGE
    };
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    ) {
        let message = if command.is_none() {
            "no command was given"
        } else {
            "arguments are missing"
        };
        return Err(Failure::new(Code::Usage, message)
            .hint(see_help(command.as_deref()))
            .exit(exit));
    }
    let mut paragraphs = text.split("\n\n");
    let message = paragraphs
        .next()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .trim_end();
    let tip = paragraphs
        .find_map(|paragraph| paragraph.trim_start().strip_prefix("tip: "))
        .map(str::trim_end)
        // No value here begins with two dashes.
        .filter(|tip| !tip.contains("as a value"));
    let hint = tip.map_or_else(|| see_help(command.as_deref()), str::to_owned);
    Err(Failure::new(Code::Usage, message).hint(hint).exit(exit))
}

fn see_help(command: Option<&str>) -> String {
    match command.filter(|name| names().any(|known| known == *name)) {
        Some(name) => format!("see `cooper {name} --help`"),
        None => "see `cooper --help`".to_owned(),
    }
}

fn unknown_command(word: &str) -> Failure {
    let known: Vec<String> = names().collect();
    let near = cooperage::chat::nearest(word, known.iter().map(String::as_str));
    let hint = near.map_or_else(|| see_help(None), |near| format!("did you mean `cooper {near}`?"));
    let shown: String = word.chars().take(80).collect();
    Failure::new(Code::Usage, format!("there is no command `{shown}`")).hint(hint)
}

/// The names of the commands that are shown.
fn names() -> impl Iterator<Item = String> {
    let command = Cli::command();
    let shown: Vec<String> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .map(|sub| sub.get_name().to_owned())
        .collect();
    shown.into_iter()
}

/// The first argument that is no flag and no flag's value, for errors that come before anything is parsed.
fn first_word(argv: &[OsString]) -> Option<String> {
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        let word = word.to_string_lossy();
        match word.as_ref() {
            "--store" | "--config" | "--color" => drop(words.next()),
            flag if flag.starts_with('-') => {}
            _ => return Some(word.into_owned()),
        }
    }
    None
}

/// Whether `--json` is among the flags, for errors that come before anything is parsed.
pub(crate) fn wants_json(argv: &[OsString]) -> bool {
    let run_words = if first_word(argv).as_deref() == Some("run") {
        3
    } else {
        usize::MAX
    };
    let flags = argv.iter().skip(1).take_while(|word| *word != "--");
    flags.take(run_words).any(|word| word == "--json")
}

/// Whether the last `rest` arguments come right after a `--`.
pub(crate) fn after_escape(argv: &[OsString], rest: usize) -> bool {
    argv.len()
        .checked_sub(rest + 1)
        .and_then(|at| argv.get(at))
        .is_some_and(|word| word == "--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(line: &[&str]) -> Vec<OsString> {
        std::iter::once("cooper")
            .chain(line.iter().copied())
            .map(OsString::from)
            .collect()
    }

    fn cli(line: &[&str]) -> Cli {
        match parse(&argv(line)) {
            Ok(Parsed::Command(cli)) => *cli,
            Ok(Parsed::Text(text)) => panic!("{line:?}: {text}"),
            Err(failure) => panic!("{line:?}: {failure:?}"),
        }
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn chat_lines_take_flags_on_both_sides() {
        for line in [
            vec!["--json", "/docker_images"],
            vec!["/docker_images", "--json"],
            vec![
                "--store",
                "/docker_store",
                "--json",
                "/docker_images",
                "pattern=a",
            ],
        ] {
            let cli = cli(&line);
            assert!(cli.globals.json, "{line:?}");
            let Command::Chat(chat) = cli.command else {
                panic!("{line:?}")
            };
            assert_eq!(chat.words[0], "/docker_images");
        }
    }

    #[test]
    fn what_follows_a_script_is_its_own() {
        let rest = |line: &[&str]| {
            let Command::Run(run) = cli(line).command else {
                panic!("{line:?}")
            };
            run.rest
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            rest(&["run", "a", "s.py", "--json", "-q", "--", "--help"]),
            ["s.py", "--json", "-q", "--", "--help"]
        );
        assert_eq!(
            rest(&["run", "a", "-c", "pass", "--timeout", "1"]),
            ["-c", "pass", "--timeout", "1"]
        );
        assert_eq!(rest(&["run", "a", "-", "--version"]), ["-", "--version"]);
        assert_eq!(
            rest(&["run", "a", "--", "wget", "--version"]),
            ["wget", "--version"]
        );
        assert_eq!(
            rest(&["run", "--timeout", "5m", "a", "--memory", "1GiB", "s.py"]),
            ["s.py"]
        );
        assert!(after_escape(&argv(&["run", "a", "--", "wget", "--version"]), 2));
        assert!(!after_escape(&argv(&["run", "--", "a", "s.py"]), 1));
        assert!(!after_escape(&argv(&["run", "a", "s.py", "--", "x"]), 3));
    }

    #[test]
    fn a_run_is_the_same_by_either_definition() {
        for line in [
            vec!["run", "a", "s.py", "--json", "-q"],
            vec![
                "--store",
                "run",
                "run",
                "--json",
                "--timeout",
                "5m",
                "a",
                "-c",
                "pass",
            ],
            vec!["-q", "run", "--color", "never", "a", "--", "wget", "--version"],
        ] {
            let line = argv(&line);
            let whole = Cli::try_parse_from(&line).unwrap();
            let alone = RunLine::parse(&line).unwrap();
            assert_eq!(format!("{alone:?}"), format!("{whole:?}"));
        }
        for line in [
            vec!["images", "run"],
            vec!["run", "--help"],
            vec!["run", "--frobnicate", "a"],
        ] {
            assert!(RunLine::parse(&argv(&line)).is_none(), "{line:?}");
        }
    }

    #[test]
    fn errors_before_parsing_know_their_command() {
        assert_eq!(
            first_word(&argv(&["--store", "run", "-q", "images"])).as_deref(),
            Some("images")
        );
        assert!(wants_json(&argv(&["images", "--bad", "--json"])));
        assert!(!wants_json(&argv(&["run", "a", "s.py", "--json"])));
        assert!(wants_json(&argv(&["run", "--json"])));
    }
}
