//! A runner: many scripts, one after the other and beside each other, in children of templates that have their imports
//! done ([`cooper_sandbox::warm`]).
//!
//! A line is a request, and its reply comes when the run has ended: [`protocol`] has the fields. What templates there are,
//! and for whom, is the business of `templates`.

pub mod protocol;
mod templates;

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use cooper_core::ImageReference;
use cooper_sandbox::warm::{TemplateSettings, WarmEnd, WarmFile, WarmJob, WarmLimits, WarmReply};
use cooper_sandbox::{Limits, Network};
use cooper_store::Holds;
use serde_json::Value;

use crate::record::FullReference;
use crate::run::{ConnectionsReport, PYTHON, RUN_USER, RunError, WORK_DIR, usual_environment};
use crate::workshop::Workshop;
use protocol::{
    Content, Output, OutputRefused, RequestLimits, RunnerReply, RunnerRequest, RunnerStatus, RunnerUsage,
    arguments,
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
    /// Whether this one may speak for other owners: who runs the runner, or root.
    pub is_trusted: bool,
}

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

    /// Take one line; `reply` is called when the run has ended, from any thread, exactly once.
    pub fn submit(&self, line: &[u8], peer: Peer, reply: impl FnOnce(RunnerReply) + Send + 'static) {
        let request = match serde_json::from_slice::<RunnerRequest>(line) {
            Ok(request) => request,
            Err(error) => {
                let id = serde_json::from_slice::<Value>(line).ok();
                let id = id.and_then(|value| value.get("id").cloned());
                let error = format!("the request is not understood: {error}");
                return reply(RunnerReply::refused(id.unwrap_or(Value::Null), error));
            }
        };
        let id = request.id.clone();
        match self.job(request, peer) {
            Ok((key, job, parts)) => {
                let settings = self.settings(&key);
                let answer = Box::new(move |answer| reply(replied(id, answer)));
                self.templates.run(key, settings, job, parts, answer);
            }
            Err(fault) => reply(RunnerReply::refused(id, fault)),
        }
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
    ) -> Result<(TemplateKey, WarmJob, Vec<Vec<u8>>), String> {
        let owner = owner(request.owner.as_deref(), peer)?;
        let network = self.network(request.network.as_deref())?;
        let (script, script_name) = script(&request)?;
        let wall = request.timeout_ms.map(Duration::from_millis).or(self.limits.wall);
        let (args, json) = arguments(&request.args);
        let mut env: Vec<(String, String)> = text_environment();
        env.extend(json.map(|json| ("COOPER_ARGS".to_owned(), json)));
        for (name, value) in request.env {
            check_variable(&name, &value)?;
            env.retain(|(known, _)| *known != name);
            env.push((name, value));
        }
        if args.iter().any(|word| word.contains('\0')) {
            return Err("an argument holds a zero byte".to_owned());
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
    fn network(&self, asked: Option<&str>) -> Result<Network, String> {
        let Some(asked) = asked else {
            return Ok(Network::None);
        };
        let network: Network = asked.parse().map_err(|error| format!("`network`: {error}"))?;
        match &self.templates.policy().network_max {
            _ if network == Network::Host => Err(
                "`network`: a warm run is never in the host's network; `none` and `allow:HOST[:PORT],…` are possible"
                    .to_owned(),
            ),
            Some(max) if !network.within(max) => {
                Err(format!("`network` is more than the runner allows, which is `{max}`"))
            }
            _ => Ok(network),
        }
    }

    fn warm_limits(&self, asked: &RequestLimits) -> Result<WarmLimits, String> {
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
        let beyond = [
            ("memory_bytes", limits.memory_bytes > own.memory_bytes),
            ("pids", limits.pids > own.pids),
            ("open_files", limits.open_files > own.open_files),
            ("cpu_millis", limits.cpu_millis > own.cpu_millis),
            ("tmp_bytes", limits.tmp_bytes > own.tmp_bytes),
            ("scratch_bytes", limits.scratch_bytes > own.scratch_bytes),
        ];
        match beyond.iter().find(|(_, beyond)| *beyond) {
            Some((name, _)) => Err(format!("`limits.{name}` is more than the runner allows")),
            None => Ok(limits),
        }
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

/// Whose run it is. Who is not trusted speaks for nobody but the own user.
fn owner(asked: Option<&str>, peer: Peer) -> Result<String, String> {
    let own = format!("uid:{}", peer.uid);
    match asked {
        None => Ok(own),
        Some(asked) if asked.len() > OWNER_BYTES_MAX => Err("`owner` is too long".to_owned()),
        Some(asked) if peer.is_trusted || asked == own => Ok(asked.to_owned()),
        Some(_) => Err(format!("`owner` can only be {own} for this user: leave it out")),
    }
}

fn script(request: &RunnerRequest) -> Result<(Vec<u8>, String), String> {
    let named = |name: Option<&str>| {
        let name = name.filter(|name| check_name(name).is_ok());
        name.unwrap_or(SCRIPT_NAME).to_owned()
    };
    match (&request.script, &request.script_path) {
        (Some(text), None) => Ok((text.clone().into_bytes(), named(request.script_name.as_deref()))),
        (None, Some(path)) => {
            let failed = |error| format!("cannot read the script `{}`: {error}", path.display());
            let file = std::fs::File::open(path).map_err(failed)?;
            let mut bytes = Vec::new();
            file.take(SCRIPT_BYTES_MAX + 1)
                .read_to_end(&mut bytes)
                .map_err(failed)?;
            if bytes.len() as u64 > SCRIPT_BYTES_MAX {
                return Err(format!("the script `{}` is too large", path.display()));
            }
            let own = path.file_name().and_then(|name| name.to_str());
            Ok((bytes, named(request.script_name.as_deref().or(own))))
        }
        (Some(_), Some(_)) => Err("there are both `script` and `script_path`".to_owned()),
        (None, None) => Err("`script` or `script_path` is missing".to_owned()),
    }
}

/// A name of one component, that nothing of ours has.
fn check_name(name: &str) -> Result<(), String> {
    let is_plain =
        !name.is_empty() && name.len() <= 200 && !name.contains(['/', '\0']) && !name.starts_with('.');
    if is_plain {
        Ok(())
    } else {
        Err(format!(
            "{name:?} is no name for a file: one component, no dot at its start"
        ))
    }
}

fn check_variable(name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        return Err(format!("{name:?} is no variable"));
    }
    Ok(())
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

fn replied(id: Value, answer: Answer) -> RunnerReply {
    let (reply, parts, enforced) = match answer {
        Answer::Done {
            reply,
            parts,
            enforced,
        } => (*reply, parts, enforced),
        Answer::NotRun(reason) => return RunnerReply::refused(id, reason),
    };
    let mut parts = parts.into_iter();
    let mut part = || parts.next().unwrap_or_default();
    let (stdout, stderr, result) = (part(), part(), part());
    let (result, result_error) = result_of(&reply, &result);
    let (status, exit_code, limit) = match reply.end {
        WarmEnd::Exited(status) => (RunnerStatus::Exited, Some(status.into()), None),
        WarmEnd::Signaled(signal) => (RunnerStatus::Killed, Some(128 + signal), None),
        WarmEnd::TimeLimit => (RunnerStatus::Limit, None, Some("time")),
        WarmEnd::MemoryLimit => (RunnerStatus::Limit, None, Some("memory")),
        WarmEnd::Failed => (RunnerStatus::Error, None, None),
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
        limit: limit.map(ToOwned::to_owned),
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
            memory_peak_bytes: reply.memory_peak_bytes,
        },
        enforced,
        error,
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
