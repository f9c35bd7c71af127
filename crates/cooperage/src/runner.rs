//! A runner: many scripts, one after the other and beside each other, in children of templates that have their imports
//! done ([`cooper_sandbox::warm`]).
//!
//! A line is a request, and its reply comes when the run has ended: [`protocol`] has the fields. What templates there are,
//! and for whom, is the business of `templates`.

mod not_run;
pub mod protocol;
mod templates;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cooper_core::ImageReference;
use cooper_sandbox::warm::{TemplateSettings, WarmEnd, WarmFile, WarmJob, WarmLimits, WarmReply};
use cooper_sandbox::{Limit, Limits, Network};
use cooper_store::Holds;
use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use crate::record::FullReference;
use crate::run::{ConnectionsReport, PYTHON, RUN_USER, RunError, WORK_DIR, usual_environment};
use crate::workshop::Workshop;
pub use not_run::NotRun;
use protocol::{
    Content, Output, OutputRefused, RequestLimits, RunnerReply, RunnerRequest, RunnerStatus, RunnerUsage,
    arguments, id_of,
};
pub use templates::TemplatePolicy;
use templates::{Answer, TemplateKey, Templates};

/// Libraries that start a thread for each processor when they are imported have one here: a template must not have more.
const ONE_THREAD: [&str; 5] = [
    "OPENBLAS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "BLIS_NUM_THREADS",
];
const SCRIPT_BYTES_MAX: u64 = 64 << 20;
const SCRIPT_NAME: &str = "script.py";
/// What one owner is called may have so many bytes.
const OWNER_BYTES_MAX: usize = 256;

/// Bounds on what comes back.
#[derive(Debug, Clone, Copy)]
pub struct ReplyLimits {
    /// Bytes kept of standard output, and again of standard error.
    pub stream_bytes_max: u64,
    /// Bytes of the result.
    pub result_bytes_max: u64,
    /// Bytes of all outputs.
    pub output_bytes_max: u64,
    /// How many outputs.
    pub output_files_max: u64,
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The user.
    pub uid: u32,
    /// Whether this one may speak for other owners and name files that the runner reads: who runs the runner, or root.
    pub is_trusted: bool,
}

/// A request that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// One image and its templates.
pub struct Runner {
    image: FullReference,
    layers: Vec<std::path::PathBuf>,
    limits: Limits,
    replies: ReplyLimits,
    templates: Arc<Templates>,
    /// Until the runner ends, no garbage collection takes a layer away.
    _holds: Holds,
}

impl Workshop {
    /// A runner of this image. No template is started yet.
    ///
    /// # Errors
    /// When the image is not there.
    pub fn runner(
        &self,
        image: &ImageReference,
        limits: Limits,
        replies: ReplyLimits,
        policy: TemplatePolicy,
    ) -> Result<Runner, RunError> {
        let kept = self.lookup(image)?;
        let mut holds = Holds::default();
        let layers = self.layers_for_run(&kept, &mut holds)?;
        Ok(Runner {
            image: kept.reference,
            layers,
            limits,
            replies,
            templates: Templates::new(policy),
            _holds: holds,
        })
    }
}

impl Runner {
    /// What it runs in.
    pub fn image(&self) -> &FullReference {
        &self.image
    }

    /// Take one line; `reply` is called when the run has ended, from any thread, exactly once. What comes back is for
    /// [`Runner::cancel`]; `None` where the request was refused.
    pub fn submit(
        &self,
        line: &[u8],
        peer: Peer,
        reply: impl FnOnce(RunnerReply) + Send + 'static,
    ) -> Option<Ticket> {
        let request = match RunnerRequest::parse(line) {
            Ok(request) => request,
            Err(error) => {
                let why = NotRun::from(format!("the request is not understood: {error}"));
                let why = why.hint("`cooper runner --help` has the members of a request");
                reply(not_run(id_of(line), why));
                return None;
            }
        };
        let id = request.id.clone();
        match self.job(request, peer) {
            Ok((key, job, parts)) => {
                let settings = self.settings(&key);
                let answer = Box::new(move |answer| reply(replied(id, answer)));
                Some(Ticket(self.templates.run(key, settings, job, parts, answer)))
            }
            Err(fault) => {
                reply(not_run(id, fault));
                None
            }
        }
    }

    /// Nobody wants the reply any more: what waits is not begun, what runs is ended. The reply comes all the same.
    pub fn cancel(&self, ticket: Ticket) {
        self.templates.cancel(ticket.0);
    }

    /// Have a template ready for requests of this user that say nothing of limits and network. To be called before the
    /// first request.
    ///
    /// # Errors
    /// When it does not become ready: what is imported beforehand fails, or this host cannot keep one.
    pub fn prepare(&self, uid: u32) -> Result<(), NotRun> {
        let key = TemplateKey {
            owner: own_name(uid),
            limits: self.warm_limits(&RequestLimits::default())?,
            network: Network::None,
            writable: false,
        };
        let settings = self.settings(&key);
        self.templates.prepare(key, settings)
    }

    /// How many requests have no reply yet.
    pub fn unanswered(&self) -> usize {
        self.templates.unanswered()
    }

    /// Wait until every request has its reply.
    pub fn drain(&self) {
        self.templates.drain();
    }

    /// What the request asks for, checked.
    fn job(
        &self,
        request: RunnerRequest,
        peer: Peer,
    ) -> Result<(TemplateKey, WarmJob, Vec<Vec<u8>>), NotRun> {
        let owner = owner(request.owner.as_deref(), peer)?;
        let network = self.network(request.network.as_deref())?;
        let (script, script_name) = script(&request, peer)?;
        if request.timeout_ms == Some(0) {
            return Err("`timeout_ms` is 0: a run has 1 at least".into());
        }
        let wall = request.timeout_ms.map(Duration::from_millis).or(self.limits.wall);
        let (args, json) = arguments(&request.args);
        let mut env: Vec<(String, String)> = text_environment();
        env.extend(json.map(|json| ("COOPER_ARGS".to_owned(), json)));
        for (name, value) in request.env {
            check_variable(&name, &value)?;
            check_interpreter(&env, &name, &value)?;
            env.retain(|(known, _)| *known != name);
            env.push((name, value));
        }
        if args.iter().any(|word| word.contains('\0')) {
            return Err("an argument holds a zero byte".into());
        }
        let (mut files, mut parts) = (Vec::new(), vec![script, request.stdin.0]);
        let given = request
            .files
            .into_iter()
            .map(|(name, content)| (name, content, false));
        let secrets = request
            .secrets
            .into_iter()
            .map(|(name, content)| (name, content, true));
        for (name, content, secret) in given.chain(secrets) {
            check_name(&name)?;
            files.push(WarmFile { name, secret });
            parts.push(content.0);
        }
        let job = WarmJob {
            id: 0,
            script_name,
            args,
            env,
            files,
            wall: wall.unwrap_or(Duration::from_hours(1)),
        };
        let key = TemplateKey {
            owner,
            limits: self.warm_limits(&request.limits)?,
            network,
            writable: request.writable,
        };
        Ok((key, job, parts))
    }

    /// Whom the request may reach: nobody, if it does not say.
    fn network(&self, asked: Option<&str>) -> Result<Network, NotRun> {
        let Some(asked) = asked else {
            return Ok(Network::None);
        };
        let network: Network = asked.parse().map_err(|error| format!("`network`: {error}"))?;
        match &self.templates.policy().network_max {
            _ if network == Network::Host => Err(
                "`network`: a warm run is never in the host's network; `none` and `allow:HOST[:PORT],…` are possible".into(),
            ),
            Some(max) if !network.within(max) => {
                Err(format!("`network` is more than the runner allows, which is `{max}`").into())
            }
            _ => Ok(network),
        }
    }

    fn warm_limits(&self, asked: &RequestLimits) -> Result<WarmLimits, NotRun> {
        let own = &self.limits;
        let memory_bytes = asked.memory_bytes.unwrap_or(own.memory_bytes);
        let limits = WarmLimits {
            memory_bytes,
            pids: asked.pids.unwrap_or(own.pids),
            open_files: asked.open_files.unwrap_or(own.open_files),
            cpu_millis: asked.cpu_millis.unwrap_or(own.cpu_millis),
            tmp_bytes: asked.tmp_bytes.unwrap_or(own.tmp_bytes),
            scratch_bytes: asked.scratch_bytes.unwrap_or(own.scratch_bytes),
            stream_bytes_max: self.replies.stream_bytes_max,
            result_bytes_max: self.replies.result_bytes_max,
            // Filling it must fail, not kill.
            output_bytes_max: self.replies.output_bytes_max.min(memory_bytes / 2),
            output_files_max: self.replies.output_files_max,
        };
        let bounds = [
            ("memory_bytes", limits.memory_bytes, own.memory_bytes),
            ("pids", limits.pids.into(), own.pids.into()),
            ("open_files", limits.open_files, own.open_files),
            ("cpu_millis", limits.cpu_millis.into(), own.cpu_millis.into()),
            ("tmp_bytes", limits.tmp_bytes, own.tmp_bytes),
            ("scratch_bytes", limits.scratch_bytes, own.scratch_bytes),
        ];
        if let Some((name, _, own)) = bounds.iter().find(|(_, asked, own)| asked > own) {
            let why = NotRun::from(format!(
                "`limits.{name}` is more than the runner allows, which is {own}"
            ));
            let hint = "ask for less, or start the runner with more: `cooper runner --help` has the flags";
            return Err(why.hint(hint));
        }
        limits.check().map_err(|error| error.to_string())?;
        Ok(limits)
    }

    fn settings(&self, key: &TemplateKey) -> TemplateSettings {
        let policy = self.templates.policy();
        TemplateSettings {
            layers: self.layers.clone(),
            python: PYTHON.to_owned(),
            env: text_environment(),
            cwd: WORK_DIR.into(),
            user: (RUN_USER.uid, RUN_USER.gid),
            hostname: self.image.name.as_str().to_owned(),
            network: key.network.clone(),
            writable: key.writable,
            limits: key.limits.clone(),
            preload: policy.preload.clone(),
            rehearsal: policy.rehearsal.clone(),
            pool: policy.pool,
            running_max: policy.running_max,
            required: policy.required,
        }
    }
}

/// The owner that a user is.
fn own_name(uid: u32) -> String {
    format!("uid:{uid}")
}

/// Whose run it is. Who is not trusted speaks for nobody but the own user.
fn owner(asked: Option<&str>, peer: Peer) -> Result<String, NotRun> {
    let own = own_name(peer.uid);
    match asked {
        None => Ok(own),
        Some(asked) if asked.len() > OWNER_BYTES_MAX => {
            Err(format!("`owner` is longer than {OWNER_BYTES_MAX} bytes").into())
        }
        Some(asked) if peer.is_trusted || asked == own => Ok(asked.to_owned()),
        Some(_) => Err(format!("`owner` can only be {own} for this user: leave it out").into()),
    }
}

fn script(request: &RunnerRequest, peer: Peer) -> Result<(Vec<u8>, String), NotRun> {
    let named = |name: Option<&str>| {
        let name = name.filter(|name| check_name(name).is_ok());
        name.unwrap_or(SCRIPT_NAME).to_owned()
    };
    match (&request.script, &request.script_path) {
        (Some(text), None) => Ok((text.clone().into_bytes(), named(request.script_name.as_deref()))),
        (None, Some(_)) if !peer.is_trusted => Err(NotRun::from(
            "`script_path` would be read with the rights of the runner's user, who is another one",
        )
        .hint("send the text as `script`")),
        (None, Some(path)) => {
            let own = path.file_name().and_then(|name| name.to_str());
            Ok((read_script(path)?, named(request.script_name.as_deref().or(own))))
        }
        (Some(_), Some(_)) => Err("there are both `script` and `script_path`: leave one out".into()),
        (None, None) => Err("`script` or `script_path` is missing".into()),
    }
}

/// A regular file: reading anything else could take for ever.
fn read_script(path: &Path) -> Result<Vec<u8>, NotRun> {
    let failed = |error: io::Error| {
        NotRun::from(format!("cannot read the script `{}`: {error}", path.display())).hint(
            "name a regular file from where the runner was started, or by its whole path; or send the text as `script`",
        )
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let file = File::from(file);
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is no regular file")));
    }
    let mut bytes = Vec::new();
    file.take(SCRIPT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > SCRIPT_BYTES_MAX {
        return Err(format!(
            "the script `{}` is larger than 64 MiB: a runner takes no larger ones",
            path.display()
        )
        .into());
    }
    Ok(bytes)
}

/// A name of one component, that nothing of ours has.
fn check_name(name: &str) -> Result<(), NotRun> {
    let is_plain =
        !name.is_empty() && name.len() <= 200 && !name.contains(['/', '\0']) && !name.starts_with('.');
    if is_plain {
        Ok(())
    } else {
        Err(format!("{name:?} is no name for a file: one component, no dot at its start").into())
    }
}

fn check_variable(name: &str, value: &str) -> Result<(), NotRun> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return Err(format!("{name:?} is no variable: a name without `=`, and no zero bytes").into());
    }
    Ok(())
}

/// What the interpreter reads when it starts, which was before the request came.
const READ_AT_START: [&str; 22] = [
    "PYTHONCASEOK",
    "PYTHONCOERCECLOCALE",
    "PYTHONDEBUG",
    "PYTHONDEVMODE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED",
    "PYTHONHOME",
    "PYTHONINTMAXSTRDIGITS",
    "PYTHONIOENCODING",
    "PYTHONMALLOC",
    "PYTHONNOUSERSITE",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONPYCACHEPREFIX",
    "PYTHONSAFEPATH",
    "PYTHONTRACEMALLOC",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "PYTHONVERBOSE",
    "PYTHONWARNINGS",
];

/// A variable that would do nothing is refused, unless it is what it was when the interpreter started.
fn check_interpreter(env: &[(String, String)], name: &str, value: &str) -> Result<(), NotRun> {
    let is_same = || env.iter().any(|(known, is)| known == name && is == value);
    if !READ_AT_START.contains(&name) || is_same() {
        return Ok(());
    }
    Err(NotRun::from(format!(
        "`{name}` does nothing in a warm run: its interpreter has started already"
    ))
    .hint("run it fresh (`cooper run` without `--warm`), or let the script set it for what it starts itself"))
}

/// The image's environment, where threads are not to be started unasked.
fn text_environment() -> Vec<(String, String)> {
    let usual = usual_environment().into_iter();
    let mut env: Vec<(String, String)> = usual
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    env.extend(ONE_THREAD.map(|name| (name.to_owned(), "1".to_owned())));
    env
}

fn not_run(id: Value, NotRun { reason, hint }: NotRun) -> RunnerReply {
    RunnerReply {
        hint,
        ..RunnerReply::refused(id, reason)
    }
}

fn replied(id: Value, answer: Answer) -> RunnerReply {
    let (reply, parts, enforced) = match answer {
        Answer::Done {
            reply,
            parts,
            enforced,
        } => (*reply, parts, enforced),
        Answer::NotRun(why) => return not_run(id, why),
    };
    let mut parts = parts.into_iter();
    let mut part = || parts.next().unwrap_or_default();
    let (stdout, stderr, result) = (part(), part(), part());
    let (result, result_error) = result_of(&reply, &result);
    let (status, exit_code, signal, limit) = match reply.end {
        WarmEnd::Exited(status) => (RunnerStatus::Exited, Some(status), None, None),
        WarmEnd::Signaled(signal) => (RunnerStatus::Killed, None, Some(signal), None),
        WarmEnd::TimeLimit => (RunnerStatus::Limit, None, None, Some(Limit::Wall)),
        WarmEnd::MemoryLimit => (RunnerStatus::Limit, None, None, Some(Limit::Memory)),
        WarmEnd::Failed => (RunnerStatus::Error, None, None, None),
    };
    let outputs = reply.outputs.into_iter().zip(parts).map(|(path, bytes)| Output {
        path,
        content: Content(bytes),
    });
    let refused = reply.outputs_refused.into_iter();
    let refused = refused.map(|refused| OutputRefused {
        path: refused.shown_path,
        code: refused.reason,
        reason: refused.reason.to_string(),
    });
    let error = (reply.end == WarmEnd::Failed).then(|| "it could not be run".to_owned());
    RunnerReply {
        id,
        status,
        exit_code,
        signal,
        limit: limit.map(|limit| limit.as_str().to_owned()),
        stdout: Content(stdout),
        stderr: Content(stderr),
        truncated: reply.stdout_truncated || reply.stderr_truncated,
        result,
        result_error: result_error.as_ref().map(|(_, message)| message.clone()),
        result_error_code: result_error.map(|(code, _)| code.to_owned()),
        outputs: outputs.collect(),
        outputs_refused: refused.collect(),
        outputs_refused_beside: reply.outputs_refused_beside,
        network: reply.network.as_ref().map(ConnectionsReport::new),
        duration_ms: milliseconds(reply.wall),
        usage: RunnerUsage {
            cpu_ms: milliseconds(reply.cpu),
            cpu_by: Some(reply.cpu_by),
            memory_peak_bytes: reply.memory_peak_bytes,
        },
        enforced,
        error,
        hint: None,
    }
}

/// The result as a value; a script may have written anything.
fn result_of(reply: &WarmReply, bytes: &[u8]) -> (Option<Value>, Option<(&'static str, String)>) {
    if let Some(fault) = reply.result_fault {
        return (None, Some((fault.as_str(), fault.to_string())));
    }
    if !reply.has_result {
        return (None, None);
    }
    match serde_json::from_slice(bytes) {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(("not-json", format!("it is not JSON: {error}")))),
    }
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
