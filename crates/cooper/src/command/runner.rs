//! `cooper runner`: many scripts in one image, each in a child of a template that has its imports done.

mod client;
mod lines;
mod socket;

use std::ffi::OsString;
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use cooperage::runner::protocol::RunnerReply;
use cooperage::{
    Caller, Enforcement, Limits, Network, NotRun, OUTPUT_FILES_MAX, Peer, ReplyLimits, Runner, TemplatePolicy,
};
use serde_json::Value;

use self::lines::next_line;
use self::socket::Listening;
use crate::command::inspect::parse_reference;
use crate::command::limits::{LimitArgs, limits};
use crate::command::run::runtime::refuse_warm;
use crate::failure::{Code, Exit, Failure};
use crate::host::check_host_to_keep;
use crate::settings::key;
use crate::settings::{ByteCount, Origin, SettingType as _, Settings, Timeout};
use crate::shell::{Need, Shell, open_workshop};

/// The runner or one of its keepers cannot do its work.
const CANNOT_SERVE: Code = Code::Of("runner");

const EXAMPLES: &str = "\
Examples:
  echo '{\"id\": 1, \"script\": \"cooper_result(6 * 7)\"}' | cooper runner example_name
  cooper runner example_name --preload pandas,requests --pool 4 < requests > replies
  cooper runner example_name --listen /run/cooper.sock

A request is a line of JSON:
  id           comes back with the reply
  script       the script's text; or script_path, a file that the runner reads for its own user
  args         a list for sys.argv; as JSON in the variable COOPER_ARGS
  env, stdin   variables; standard input
  files        {\"NAME\": \"text\" or {\"base64\": \"…\"}}, in /input
  secrets      the same in /run/secrets, readable by the script alone
  timeout_ms   from its start to its end
  limits       memory_bytes, pids, open_files, cpu_millis, tmp_bytes, scratch_bytes: less than the runner's
  owner        whose run it is; owners share no template. By default the peer's user
  writable     true: it may write everywhere, in memory
  network      none, the default, or allow:HOST[:PORT],…: see `cooper run --help`

A reply is a line of JSON, when the run has ended: id, status (exited, killed, limit, error), exit_code, signal, limit,
stdout, stderr, truncated, result, outputs, network, duration_ms, usage, enforced, error, hint. Bytes that are no UTF-8
are {\"base64\": \"…\"}. A script sets its result with cooper_result(VALUE); what it leaves in /output comes back.";

/// Run many scripts in one image, in milliseconds each
///
/// Reads one JSON request per line on standard input, or from clients of a Unix socket, and writes one JSON reply per
/// line as the runs end. Each script runs in a process of its own that was forked ahead from a template: an interpreter
/// with its imports done, for one owner alone.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct RunnerArgs {
    #[arg(help = "[ORGANISATION/]NAME[:TAG]; without a tag its newest version")]
    image: String,
    /// Modules that are imported once, before any script comes
    #[arg(long, value_name = "MODULE,…", value_delimiter = ',')]
    preload: Vec<String>,
    /// A script that each template executes once, so that what it uses is there already
    #[arg(long, value_name = "FILE")]
    rehearse: Option<PathBuf>,
    /// How many children wait in each template
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=14))]
    pool: u32,
    /// How many scripts run at once in each template
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=16))]
    parallel: u32,
    /// How many templates there are at most, half of them for one owner of a socket's: the one used least recently goes first
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    templates: u32,
    /// Memory that templates and their waiting children may have together: the one used least recently goes first
    #[arg(long, value_name = "SIZE", default_value = "512MiB")]
    templates_memory: String,
    /// Replace a template after so many runs at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Replace a template at this age, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..))]
    age: u64,
    /// Take requests from the clients of this Unix socket, in place of standard input
    #[arg(long, value_name = "PATH")]
    listen: Option<PathBuf>,
    /// With --listen: end when nobody has asked for this long
    #[arg(long, value_name = "TIME", requires = "listen")]
    idle: Option<String>,
    /// Bytes kept of standard output, and again of standard error
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    stream_limit: String,
    /// Bytes that a result may have
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    result_limit: String,
    #[arg(
        long,
        value_name = "NETWORK",
        help = "The most that a request may reach: none, or allow:HOST[:PORT],…; without it and the setting run.network whatever the request lists"
    )]
    network: Option<String>,
    /// Space in /output, and what comes back of it
    #[arg(long, value_name = "SIZE")]
    output_size: Option<String>,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Execute `cooper runner`.
pub(crate) fn runner(args: &RunnerArgs, shell: &Shell) -> Result<Exit, Failure> {
    let image = parse_reference(&args.image)?;
    let mut settings = shell.settings()?;
    refuse_warm(&settings)?;
    args.limits.set(&mut settings)?;
    if let Some(size) = &args.output_size {
        settings.flag(&key::RUN_OUTPUT_SIZE, "--output-size", size.clone())?;
    }
    if let Some(network) = &args.network {
        settings.flag(&key::RUN_NETWORK, "--network", network.clone())?;
    }
    let limits = limits(&settings)?;
    let enforcement = settings.value::<Enforcement>(&key::RUN_ENFORCEMENT)?;
    check_host_to_keep()?;
    let rehearsal = args.rehearse.as_deref().map(rehearsal).transpose()?;
    let policy = TemplatePolicy {
        keeper: keeper()?,
        preload: args.preload.clone(),
        rehearsal,
        pool: args.pool as usize,
        running_max: args.parallel as usize,
        templates_max: args.templates as usize,
        // Clients may be strangers to each other.
        owner_templates_max: match args.listen {
            Some(_) => args.templates.div_ceil(2) as usize,
            None => args.templates as usize,
        },
        memory_bytes_max: size("--templates-memory", &args.templates_memory)?,
        runs_max: args.runs,
        age_max: Duration::from_secs(args.age),
        network_max: network_max(&settings)?,
        required: enforcement == Enforcement::Required,
    };
    let replies = ReplyLimits {
        stream_bytes_max: size("--stream-limit", &args.stream_limit)?,
        result_bytes_max: size("--result-limit", &args.result_limit)?,
        output_bytes_max: settings.value::<ByteCount>(&key::RUN_OUTPUT_SIZE)?.0,
        output_files_max: OUTPUT_FILES_MAX.into(),
    };
    let runner = open(&settings, &image, limits, replies, policy)?;
    match &args.listen {
        None => {
            prepare(&runner, args)?;
            serve_streams(&runner)
        }
        Some(path) => {
            let idle = idle(args)?;
            let listener = Listening::start(path).map_err(|error| not_listening(path, &error))?;
            // Who connects meanwhile waits.
            prepare(&runner, args)?;
            serve_socket(runner, &listener, idle).map_err(|error| not_listening(path, &error))
        }
    }
}

/// What is imported and executed beforehand is tried before there are requests.
fn prepare(runner: &Runner, args: &RunnerArgs) -> Result<(), Failure> {
    if args.preload.is_empty() && args.rehearse.is_none() {
        return Ok(());
    }
    let uid = rustix::process::geteuid().as_raw();
    runner.prepare(uid).map_err(|NotRun { reason, hint }| {
        let text = format!("the template does not become ready: {reason}");
        Failure::new(CANNOT_SERVE, text).hint(hint)
    })
}

fn not_listening(path: &Path, error: &io::Error) -> Failure {
    let text = format!("cannot listen on {}: {error}", path.display());
    let hint = "name a path in a folder that exists, where there is nothing and no other runner listens";
    Failure::new(CANNOT_SERVE, text).hint(hint.to_owned())
}

fn open(
    settings: &Settings,
    image: &cooper_core::ImageReference,
    limits: Limits,
    replies: ReplyLimits,
    policy: TemplatePolicy,
) -> Result<Runner, Failure> {
    let workshop = open_workshop(settings, Need::Store)?;
    let runner = workshop.runner(image, limits, replies, policy);
    // 125 is what `cooper run` ends with.
    runner.map_err(|error| Failure::from(error).exit(Exit::FAILURE))
}

/// What the flag says, or a setting that somebody has made: by default requests say themselves whom they reach.
fn network_max(settings: &Settings) -> Result<Option<Network>, Failure> {
    let setting = settings.lookup(&key::RUN_NETWORK)?;
    let Some(setting) = setting.filter(|setting| setting.origin != Origin::Default) else {
        return Ok(None);
    };
    match settings.value::<Network>(&key::RUN_NETWORK)? {
        Network::Host => {
            let text = format!(
                "run.network is `host` ({}): a warm run is never in the host's network",
                setting.origin
            );
            let hint = "allow what requests may reach: `--network none` or `--network allow:HOST[:PORT],…`";
            Err(Failure::new(Code::Usage, text).hint(hint.to_owned()))
        }
        network => Ok(Some(network)),
    }
}

/// This program, as a keeper of templates.
fn keeper() -> Result<(PathBuf, Vec<OsString>), Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(CANNOT_SERVE, format!("cannot find this program: {error}")))?;
    Ok((program, vec!["keeper".into()]))
}

fn size(flag: &str, text: &str) -> Result<u64, Failure> {
    let parsed = ByteCount::parse(&[text.to_owned()]);
    parsed
        .map(|size| size.0)
        .map_err(|error| Failure::new(Code::Usage, format!("`{flag} {text}`: {error}")))
}

const REHEARSAL_BYTES_MAX: u64 = 1 << 20;

fn rehearsal(path: &Path) -> Result<String, Failure> {
    let failed = |error: &io::Error| {
        Failure::new(
            Code::Script,
            format!("cannot read the rehearsal {}: {error}", path.display()),
        )
        .hint("name a Python file of at most 1 MiB, or leave `--rehearse` out".to_owned())
    };
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let mut text = String::new();
    let read = file.take(REHEARSAL_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| failed(&error))?;
    if text.len() as u64 > REHEARSAL_BYTES_MAX {
        return Err(failed(&io::Error::other("it is larger than 1 MiB")));
    }
    Ok(text)
}

fn serve_streams(runner: &Runner) -> Result<Exit, Failure> {
    let output = Arc::new(Mutex::new(io::stdout()));
    let uid = rustix::process::geteuid().as_raw();
    let peer = Peer {
        uid,
        is_trusted: true,
    };
    let mut input = BufReader::new(io::stdin().lock());
    let read = loop {
        match next_line(&mut input) {
            Ok(Some(line)) => {
                let output = Arc::clone(&output);
                runner.submit(&line, peer, move |reply| write_reply(&output, &reply));
            }
            Ok(None) => break Ok(Exit::GOOD),
            Err(error) => break Err(error),
        }
    };
    runner.drain();
    read.map_err(|error| Failure::new(CANNOT_SERVE, format!("cannot read the requests: {error}")))
}

/// Whoever does not listen any more is not told.
fn write_reply(output: &Mutex<io::Stdout>, reply: &RunnerReply) {
    let Ok(mut line) = serde_json::to_vec(reply) else {
        return;
    };
    line.push(b'\n');
    let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = output.write_all(&line).and_then(|()| output.flush());
}

fn idle(args: &RunnerArgs) -> Result<Option<Duration>, Failure> {
    let Some(text) = &args.idle else { return Ok(None) };
    let parsed = Timeout::parse(std::slice::from_ref(text));
    let parsed = parsed.map(|timeout| Some(timeout.0));
    parsed.map_err(|error| Failure::new(Code::Usage, format!("`--idle {text}`: {error}")))
}

/// How often a runner that is to end by itself looks whether its socket is still there.
const LOOK: Duration = Duration::from_secs(2);

fn serve_socket(runner: Runner, listening: &Listening, idle: Option<Duration>) -> io::Result<Exit> {
    let runner = Arc::new(runner);
    let mut asked = Instant::now();
    loop {
        // Every client has a share of the runner.
        let is_busy = Arc::strong_count(&runner) > 1 || runner.unanswered() > 0;
        if is_busy {
            asked = Instant::now();
        }
        let left = idle.map(|idle| (asked + idle).saturating_duration_since(Instant::now()));
        // Nobody can come any more where the socket was taken away.
        if left.is_some_and(|left| left.is_zero() || !is_busy && !listening.is_there()) {
            return Ok(Exit::GOOD);
        }
        if !is_asked(listening.socket(), left.map(|left| left.min(LOOK)))? {
            continue;
        }
        asked = Instant::now();
        let Ok((client, _)) = listening.socket().accept() else {
            continue;
        };
        let runner = Arc::clone(&runner);
        std::thread::spawn(move || {
            if let Err(error) = serve_client(&runner, client) {
                tracing::debug!(%error, "a client is gone");
            }
        });
    }
}

/// Whether a client connects in this time.
fn is_asked(listener: &UnixListener, patience: Option<Duration>) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec};
    let patience = patience.map(|patience| Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    });
    match rustix::event::poll(&mut [PollFd::new(listener, PollFlags::IN)], patience.as_ref()) {
        Ok(count) => Ok(count > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn serve_client(runner: &Runner, stream: UnixStream) -> io::Result<()> {
    let uid = rustix::net::sockopt::socket_peercred(&stream)?.uid.as_raw();
    let own = rustix::process::geteuid().as_raw();
    if uid != own && Caller::of_process().is_namespaced() {
        // In a user namespace all others are one: nobody could tell them apart.
        let why = "this runner is an ordinary user's, and serves that user alone: start one of your own";
        let mut line = serde_json::to_vec(&RunnerReply::refused(Value::Null, why))?;
        line.push(b'\n');
        return (&stream).write_all(&line);
    }
    let peer = Peer {
        uid,
        is_trusted: uid == own || uid == 0,
    };
    client::serve(runner, stream, peer)
}

/// Execute the hidden `cooper keeper`: a process that keeps a template, started by a runner.
pub(crate) fn keep() -> Result<Exit, Failure> {
    use std::os::fd::AsFd as _;
    let socket = rustix::stdio::stdin().as_fd().try_clone_to_owned();
    let socket = socket.map_err(|error| Failure::new(CANNOT_SERVE, format!("no socket: {error}")))?;
    let failed = |error: &io::Error| {
        Failure::new(CANNOT_SERVE, format!("cannot open /dev/null: {error}"))
            .hint("start `cooper runner`: it starts its keepers itself".to_owned())
    };
    let null = std::fs::File::open("/dev/null").map_err(|error| failed(&error))?;
    rustix::stdio::dup2_stdin(&null).map_err(|errno| failed(&errno.into()))?;
    cooperage::keep(UnixStream::from(socket)).map_err(|error| Failure::of(CANNOT_SERVE, &error))?;
    Ok(Exit::GOOD)
}
