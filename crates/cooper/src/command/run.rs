//! `cooper run`: a script, code or a command in a fresh container.

mod grants;
mod network;
pub(crate) mod runtime;
mod surroundings;
mod unenforced;
mod warm;

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use cooperage::{
    ConnectionsReport, End, Enforcement, GatewayProgram, Limits, Network, Program, RunError, RunOrder,
    Workshop,
};

use self::grants::GrantArgs;
use self::surroundings::Surroundings;
use self::warm::{WarmFiles, WarmRan, WarmRun};
use crate::args::after_escape;
use crate::command::inspect::parse_reference;
use crate::command::limits::{LimitArgs, limits};
use crate::failure::{Code, Exit, Failure};
use crate::host::check_host_to_run;
use crate::render::unit;
use crate::settings::Settings;
use crate::settings::key;
use crate::shell::{Need, Shell, open_workshop};

const EXAMPLES: &str = "\
Examples:
  cooper run example_name script.py arg1 arg2
  cooper run example_name - < script.py
  cooper run example_name -c 'import mechanize; print(mechanize.__version__)'
  cooper run example_name -- wget --version
  cooper run --timeout 30s --memory 256MiB --env MODE=test example_name script.py
  cooper run --input data.csv --output results example_name script.py   # /input/data.csv, /output
  cooper run --secret TOKEN=token.txt example_name script.py            # /run/secrets/TOKEN
  cooper run --warm --preload pandas example_name script.py             # milliseconds, from the second run on
  cooper run --result sum.json --report run.json example_name script.py 1 2
  cooper run --runtime runsc example_name script.py   # gVisor: a kernel of its own for the run
  cooper run --network allow:api.example.org,db.internal=10.0.0.5:5432 example_name script.py

With --network allow:HOST[:PORT],… it reaches these hosts by TCP and nothing else, without a port 80
and 443. Names are resolved outside, for each connection. One that leads to a private, link-local or
metadata address or to this host itself stays closed, unless the list has the address: 10.0.0.5:8080,
[fd00::1]:443, NAME=10.0.0.5:5432. There are no wildcards, networks or ranges of ports.

Everything after the script belongs to it; flags of `cooper run` stand before it. The script has its
arguments as a JSON array in $COOPER_ARGS too, where they are text and not more than 64 KiB.

Standard input, output and error pass through, byte for byte where they are files or pipes. A
terminal gets only text: control characters and escape sequences are taken out, for which the script
writes to a pipe (its isatty() is false) and can read from the terminal but not write to it. With
--raw it has the terminal itself, and TERM.

Where the host gives an ordinary user no cgroups, memory is bounded for each process and processor
time is not, which a note says; COOPER_RUN_ENFORCEMENT=required refuses to run then.

Of /output come regular files with one name, at most 10,000 in 32 folders; the rest is told.
A result is one JSON value of at most 1 MiB that the script writes to the file $COOPER_RESULT.

With --warm the run goes to a runner in the background, which is started where there is none and
ends after ten minutes without a run: see `cooper runner --help`. Standard input is read to its
end before (64 MiB at most), output comes when the run has ended (64 MiB of each stream; where
there was more, the status is 125).

The exit status is the script's; 124 after the time limit, 137 after the memory limit, 125 when
nothing could be run, or what was left could not be kept. With --json only this last is a document
on standard output, which otherwise belongs to the script.";

/// Run a script, code or a command in an image, isolated
///
/// A fresh container for each run: no network, read-only, an ordinary user, a writable working directory of
/// bounded size, and nothing left afterwards.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RunArgs {
    #[arg(help = "[ORGANISATION/]NAME[:TAG]; without a tag its newest version")]
    image: String,
    /// A script and its arguments; `-`: the script is standard input; `-c CODE`: code; `-- COMMAND`: a program of the image
    #[arg(
        value_name = "SCRIPT|-|-c CODE|-- COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true
    )]
    pub(crate) rest: Vec<OsString>,
    #[command(flatten)]
    limits: LimitArgs,
    #[arg(
        long,
        value_name = "NETWORK",
        help = "Whom it can reach: none, allow:HOST[:PORT],… (these alone), or host (as the host itself, also what listens only on the host's loopback)"
    )]
    network: Option<String>,
    /// What starts it: own, crun, or runsc (gVisor: with a kernel of its own); these two are programs of
    /// the host
    #[arg(long, value_name = "RUNTIME", conflicts_with = "warm")]
    runtime: Option<String>,
    /// Set an environment variable for it
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// Run it in a child of a template that has its imports done: milliseconds, from the second run on
    #[arg(long)]
    warm: bool,
    /// With --warm: modules that are imported beforehand
    #[arg(long, value_name = "MODULE,…", value_delimiter = ',', requires = "warm")]
    preload: Vec<String>,
    #[command(flatten)]
    grants: GrantArgs,
}

/// Execute `cooper run`.
pub(crate) fn run(args: &RunArgs, command_line: &[OsString], shell: &Shell) -> Result<Exit, Failure> {
    // Nothing of ours may look like a status of the script.
    execute(args, command_line, shell).map_err(|failure| {
        let failure = failure.exit(Exit::RUN_FAILED);
        args.grants.report_failure(&failure);
        failure
    })
}

fn execute(args: &RunArgs, command_line: &[OsString], shell: &Shell) -> Result<Exit, Failure> {
    let image = parse_reference(&args.image)?;
    let (program, rest) = program(&args.rest, after_escape(command_line, args.rest.len()))?;
    let env = args
        .env
        .iter()
        .map(|pair| variable(pair))
        .collect::<Result<Vec<_>, _>>()?;
    // The first of them gives way to the last.
    let terminal = shell.terminal().filter(|_| args.grants.raw());
    let terminal = terminal.map(|name| ("TERM".into(), name.to_owned()));
    let env = terminal.into_iter().chain(env).collect();
    let mut settings = shell.settings()?;
    set_flags(&mut settings, args)?;
    let limits = limits(&settings)?;
    let enforcement = settings.value::<Enforcement>(&key::RUN_ENFORCEMENT)?;
    let surroundings = args.warm.then(Surroundings::of_process);
    check_host_to_run()?;
    let workshop = open_workshop(&settings, Need::Store)?;
    let grants = args.grants.grants(&settings)?;
    let order = RunOrder {
        image,
        program,
        args: rest.to_vec(),
        network: settings.value::<Network>(&key::RUN_NETWORK)?,
        gateway: GatewayProgram::this_executable(),
        limits,
        enforcement,
        env,
        grants,
        runtime: runtime::find(&settings)?,
        raw_terminal: args.grants.raw(),
    };
    if let Some(surroundings) = surroundings {
        runtime::refuse_warm(&settings)?;
        return run_warm(args, order, &surroundings, &workshop, shell);
    }
    let ran = workshop.run(&order)?;
    let exit = exit_of(ran.outcome.end, &order.limits, shell);
    if let Some(text) = unenforced::note(&ran.outcome.enforced) {
        shell.note("note", &text);
    }
    let connections = ran.outcome.network.as_ref().map(ConnectionsReport::new);
    network::tell_refusals(connections.as_ref(), shell);
    args.grants.tell(&order, &ran, shell)?;
    Ok(exit)
}

/// What to run, and what of the words are its arguments.
fn program(words: &[OsString], escaped: bool) -> Result<(Program, &[OsString]), Failure> {
    let Some((first, rest)) = words.split_first() else {
        return Err(usage("what to run is missing"));
    };
    if escaped {
        return Ok((Program::Command(first.clone()), rest));
    }
    if first == "-" {
        return Ok((Program::Stdin, rest));
    }
    if first == "-c" {
        let (code, rest) = rest.split_first().ok_or_else(|| usage("`-c` needs code"))?;
        return Ok((Program::Code(code.clone()), rest));
    }
    if first.as_encoded_bytes().starts_with(b"-") {
        let message = format!("`{}` is not a flag of `cooper run`", first.display());
        let hint = "flags stand before the script; a script of this name is `./-…`; see `cooper run --help`";
        return Err(Failure::new(Code::Usage, message).hint(hint.to_owned()));
    }
    Ok((script(Path::new(first))?, rest))
}

fn usage(message: &str) -> Failure {
    Failure::new(Code::Usage, message).hint("see `cooper run --help`".to_owned())
}

/// How large a script may be.
const SCRIPT_BYTES_MAX: u64 = 64 << 20;

fn script(path: &Path) -> Result<Program, Failure> {
    let failed = |error: &io::Error| {
        let failure = Failure::new(
            Code::Script,
            format!("cannot read the script {}: {error}", path.display()),
        );
        let is_command = error.kind() == io::ErrorKind::NotFound && path.components().count() == 1;
        failure.hint(if is_command {
            format!("a program of the image is run with `-- {}`", path.display())
        } else {
            "name a file, `-` for standard input, `-c CODE`, or `-- COMMAND`".to_owned()
        })
    };
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(SCRIPT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > SCRIPT_BYTES_MAX {
        let limit = unit::size(SCRIPT_BYTES_MAX);
        return Err(Failure::new(
            Code::Script,
            format!("the script {} is larger than {limit}", path.display()),
        ));
    }
    let file_name = path.file_name().unwrap_or(OsStr::new("script.py")).to_owned();
    Ok(Program::Script { file_name, bytes })
}

fn variable(pair: &OsStr) -> Result<(OsString, OsString), Failure> {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = pair.as_bytes();
    let name_end = bytes.iter().position(|byte| *byte == b'=').filter(|end| *end > 0);
    let wrong = || {
        let failure = Failure::new(
            Code::Usage,
            format!("`--env {}` is not a name and a value", pair.display()),
        );
        failure.hint("write `--env NAME=VALUE`".to_owned())
    };
    let end = name_end.ok_or_else(wrong)?;
    Ok((
        OsStr::from_bytes(&bytes[..end]).to_owned(),
        OsStr::from_bytes(&bytes[end + 1..]).to_owned(),
    ))
}

fn set_flags(settings: &mut Settings, args: &RunArgs) -> Result<(), Failure> {
    args.limits.set(settings)?;
    if let Some(network) = &args.network {
        settings.flag(&key::RUN_NETWORK, "--network", network.clone())?;
    }
    if let Some(runtime) = &args.runtime {
        settings.flag(&key::RUN_RUNTIME, "--runtime", runtime.clone())?;
    }
    args.grants.set(settings)
}

/// Let a runner of the caller's own run it.
fn run_warm(
    args: &RunArgs,
    order: RunOrder,
    surroundings: &Surroundings,
    workshop: &Workshop,
    shell: &Shell,
) -> Result<Exit, Failure> {
    let WarmFiles { files, secrets } = args.grants.warm()?;
    let image = workshop.full_reference(&order.image)?;
    let run = WarmRun {
        image: &image,
        globals: shell.globals_again(),
        store: workshop.store_folder(),
        surroundings,
        enforcement: order.enforcement,
        preload: &args.preload,
        program: order.program,
        args: &order.args,
        env: &order.env,
        network: order.network,
        limits: &order.limits,
        writable: order.grants.writable,
        output_bytes: order.grants.output_bytes,
        files,
        secrets,
        raw: args.grants.raw(),
    };
    let WarmRan { exit, reply } = run.run(shell)?;
    if let Some(text) = unenforced::note(&reply.enforced_limits()) {
        shell.note("note", &text);
    }
    network::tell_refusals(reply.network.as_ref(), shell);
    let kept = order
        .grants
        .output
        .as_ref()
        .map(|folder| reply.keep_outputs(folder));
    let collected = kept.transpose().map_err(|source| RunError::Outputs { source })?;
    args.grants.tell_warm(&image, &reply, collected.as_ref(), shell)?;
    if reply.truncated {
        let text = "the script has ended, but it wrote more than a warm run keeps (64 MiB to each stream): the rest is lost";
        let failure = Failure::new(Code::Output, text);
        return Err(failure.hint("run it fresh, without `--warm`: its output passes through".to_owned()));
    }
    Ok(exit)
}

/// The exit status of a run, with one line where it did not end by itself.
fn exit_of(end: End, limits: &Limits, shell: &Shell) -> Exit {
    match end {
        End::Exited(status) => Exit(status),
        End::Signaled(signal) => Exit(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
        End::TimeLimit => {
            let time = unit::duration(limits.wall.unwrap_or(Duration::ZERO));
            shell.say(
                "error",
                &format!("stopped after the time limit of {time}; `--timeout` sets another"),
            );
            Exit(124)
        }
        End::MemoryLimit => {
            let size = unit::size(limits.memory_bytes);
            shell.say(
                "error",
                &format!("killed at the memory limit of {size}; `--memory` sets another"),
            );
            Exit(137)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_first_word_says_what_is_run() {
        let parsed = |list: &[&str], escaped| {
            let words = words(list);
            let (program, rest) = program(&words, escaped).map_err(|failure| format!("{failure:?}"))?;
            Ok::<_, String>((program, rest.len()))
        };
        assert_eq!(parsed(&["-", "a"], false), Ok((Program::Stdin, 1)));
        assert_eq!(
            parsed(&["-c", "pass", "-x"], false),
            Ok((Program::Code("pass".into()), 1))
        );
        assert_eq!(
            parsed(&["wget", "--version"], true),
            Ok((Program::Command("wget".into()), 1))
        );
        assert_eq!(parsed(&["-c"], true), Ok((Program::Command("-c".into()), 0)));
        for bad in [&["-c"][..], &["--mem"], &["/nonexistent/x.py"], &["/"], &[]] {
            assert!(parsed(bad, false).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variables_have_a_name() {
        assert_eq!(variable(OsStr::new("A=b=c")).unwrap(), ("A".into(), "b=c".into()));
        assert_eq!(variable(OsStr::new("A=")).unwrap(), ("A".into(), "".into()));
        for bad in ["", "A", "=b"] {
            assert!(variable(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
