//! What is told of a run to programs: one JSON document of a fixed form.

use std::collections::BTreeMap;

use cooper_sandbox::{Collected, CpuCounter, End, Enforced, Enforcer, Limit, Outcome};
use serde::Serialize;
use serde_json::value::RawValue;

use super::network_report::ConnectionsReport;
use super::result::ResultError;
use super::{Ran, RunOrder};
use crate::record::FullReference;
use crate::runner::protocol::RunnerReply;

/// How a run went. Members are only ever added.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// `ORGANISATION/NAME:VERSION.N`
    pub image: String,
    /// `exited`, `killed` (by a signal) or `limit`.
    pub status: &'static str,
    /// What the script exited with, where it did.
    pub exit_code: Option<u8>,
    /// The number of the signal that killed it.
    pub signal: Option<i32>,
    /// The limit that ended it: `timeout` or `memory`.
    pub limit: Option<&'static str>,
    /// From start to end.
    pub duration_ms: u64,
    /// What it used.
    pub usage: UsageReport,
    /// Every limit by the name of its flag, and what held it.
    pub enforced: Vec<EnforcedReport>,
    /// What became of its connections; null where its network was no allow-list.
    pub network: Option<ConnectionsReport>,
    /// The files that it left in `/output`; null where there was none.
    pub outputs: Option<Vec<OutputReport>>,
    /// What was not taken of it, the first hundred.
    pub outputs_refused: Vec<RefusedReport>,
    /// How many were refused beside those.
    pub outputs_refused_beside: u64,
    /// The value that it left; null where it was not asked for one or left none.
    pub result: Option<Box<RawValue>>,
    /// Why there is no result although it was asked for one.
    pub result_error: Option<ResultFault>,
}

/// What a run used.
#[derive(Debug, Clone, Serialize)]
pub struct UsageReport {
    /// Processor time of its processes.
    pub cpu_ms: u64,
    /// What counted it; where it is `ended-processes`, only those that were waited for count.
    pub cpu_by: Option<CpuCounter>,
    /// The most memory at any time, where a cgroup counted it.
    pub memory_peak_bytes: Option<u64>,
}

/// A limit and what held it.
#[derive(Debug, Clone, Serialize)]
pub struct EnforcedReport {
    /// The name of its flag, without the dashes.
    pub limit: &'static str,
    /// `cgroup-v1`, `cgroup-v2`, `rlimit`, `tmpfs`, `timer` or `nothing`.
    pub by: &'static str,
}

/// A file that was left.
#[derive(Debug, Clone, Serialize)]
pub struct OutputReport {
    /// Below the folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
}

/// Something that was left and not taken.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedReport {
    /// Below `/output`; what is no printable text is escaped.
    pub path: String,
    /// `symbolic-link`, `hard-link`, `device`, `fifo`, `socket`, `name`, `mount`, `too-deep`, `too-large`, `too-many` or
    /// `changed`.
    pub reason: String,
}

/// Why there is no result.
#[derive(Debug, Clone, Serialize)]
pub struct ResultFault {
    /// `missing`, `not-json`, or a reason as of a refused output.
    pub code: String,
    /// The same for people.
    pub message: String,
}

impl RunReport {
    /// Of a run that has ended.
    pub fn new(order: &RunOrder, ran: &Ran) -> Self {
        let Outcome {
            end,
            wall,
            cpu,
            cpu_by,
            memory_peak_bytes,
            ..
        } = &ran.outcome;
        let milliseconds = |time: &std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (status, exit_code, signal, limit) = match *end {
            End::Exited(status) => ("exited", Some(status), None, None),
            End::Signaled(signal) => ("killed", None, Some(signal), None),
            End::TimeLimit => ("limit", None, None, Some(Limit::Wall.as_str())),
            End::MemoryLimit => ("limit", None, None, Some(Limit::Memory.as_str())),
        };
        let (result, result_error) = match &ran.result {
            None => (None, None),
            Some(Ok(value)) => (Some(value.clone()), None),
            Some(Err(error)) => (None, Some(fault(error))),
        };
        let collected = ran.outputs.as_ref();
        Self {
            image: ran.image.to_string(),
            status,
            exit_code,
            signal,
            limit,
            duration_ms: milliseconds(wall),
            usage: UsageReport {
                cpu_ms: milliseconds(cpu),
                cpu_by: Some(*cpu_by),
                memory_peak_bytes: *memory_peak_bytes,
            },
            enforced: enforced(&ran.outcome.enforced, order.grants.output.is_some()),
            network: ran.outcome.network.as_ref().map(ConnectionsReport::new),
            outputs: collected.map(outputs),
            outputs_refused: collected.map(refused).unwrap_or_default(),
            outputs_refused_beside: collected.map_or(0, |collected| collected.refused_beside),
            result,
            result_error,
        }
    }
}

impl RunReport {
    /// Of a warm run, by the reply to it. `collected` is what of its outputs was kept, where that was asked for.
    pub fn of_warm(image: &FullReference, reply: &RunnerReply, collected: Option<&Collected>) -> Self {
        let limit = reply.limit.as_deref();
        let limit = limit.and_then(|name| Limit::ALL.into_iter().find(|limit| limit.as_str() == name));
        let result = reply.result.as_ref();
        let result_error = result.is_none().then(|| warm_fault(reply));
        Self {
            image: image.to_string(),
            status: reply.status.as_str(),
            exit_code: reply.exit_code,
            signal: reply.signal,
            limit: limit.map(Limit::as_str),
            // Whole milliseconds, as of other runs.
            duration_ms: whole(reply.duration_ms),
            usage: UsageReport {
                cpu_ms: whole(reply.usage.cpu_ms),
                cpu_by: reply.usage.cpu_by,
                memory_peak_bytes: reply.usage.memory_peak_bytes,
            },
            enforced: enforced(&reply.enforced_limits(), collected.is_some()),
            network: reply.network.clone(),
            outputs: collected.map(outputs),
            outputs_refused: collected.map(refused).unwrap_or_default(),
            outputs_refused_beside: collected.map_or(0, |collected| collected.refused_beside),
            result: result.and_then(|value| serde_json::value::to_raw_value(value).ok()),
            result_error,
        }
    }
}

fn warm_fault(reply: &RunnerReply) -> ResultFault {
    match (&reply.result_error_code, &reply.result_error) {
        (Some(code), Some(message)) => ResultFault {
            code: code.clone(),
            message: message.clone(),
        },
        _ => fault(&ResultError::Missing),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are positive and short"
)]
fn whole(milliseconds: f64) -> u64 {
    milliseconds.max(0.0) as u64
}

fn fault(error: &ResultError) -> ResultFault {
    ResultFault {
        code: error.code().to_owned(),
        message: error.to_string(),
    }
}

fn outputs(collected: &Collected) -> Vec<OutputReport> {
    let files = collected.files.iter();
    files
        .map(|file| OutputReport {
            path: file.path.to_string_lossy().into_owned(),
            bytes: file.bytes,
        })
        .collect()
}

fn refused(collected: &Collected) -> Vec<RefusedReport> {
    let refused = collected.refused.iter();
    refused
        .map(|refused| RefusedReport {
            path: refused.shown_path.clone(),
            reason: refused.reason.as_str().to_owned(),
        })
        .collect()
}

fn enforced(known: &[Enforced], has_output: bool) -> Vec<EnforcedReport> {
    let mut all: BTreeMap<&'static str, &'static str> = known
        .iter()
        .map(|enforced| (enforced.limit.as_str(), enforced.by.as_str()))
        .collect();
    if has_output {
        all.insert("output-size", Enforcer::Tmpfs.as_str());
    }
    all.into_iter()
        .map(|(limit, by)| EnforcedReport { limit, by })
        .collect()
}
