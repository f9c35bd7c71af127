//! `cooper completions` and `cooper man`: made from the same definitions as `--help`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell as CompletionShell;

use crate::args::Cli;
use crate::failure::{Code, Exit, Failure};
use crate::shell::Shell;

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  cooper completions bash > /etc/bash_completion.d/cooper
  cooper completions zsh > ~/.zfunc/_cooper
  cooper completions fish > ~/.config/fish/completions/cooper.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  cooper man | man -l -
  cooper man create > /usr/local/share/man/man1/cooper-create.1";

/// Print a shell's completions
#[derive(Debug, Args)]
#[command(after_long_help = COMPLETIONS_EXAMPLES)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: CompletionShell,
}

/// Print a manual page
#[derive(Debug, Args)]
#[command(after_long_help = MAN_EXAMPLES)]
pub(crate) struct ManArgs {
    /// The command that it is of; without one of the program
    command: Option<String>,
}

/// Execute `cooper completions`.
pub(crate) fn completions(args: &CompletionsArgs, shell: &Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cooper", &mut script);
    shell.write(|out| out.write_all(&script))?;
    Ok(Exit::GOOD)
}

/// Execute `cooper man`.
pub(crate) fn man(args: &ManArgs, shell: &Shell) -> Result<Exit, Failure> {
    let mut program = Cli::command();
    program.build();
    let command = match &args.command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            found.ok_or_else(|| {
                Failure::new(Code::Usage, format!("there is no command `{name}`"))
                    .hint("`cooper --help` lists them".to_owned())
            })?
        }
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Failure::output(&error))?;
    shell.write(|out| out.write_all(&page))?;
    Ok(Exit::GOOD)
}
