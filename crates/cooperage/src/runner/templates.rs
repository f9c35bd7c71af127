//! Keepers of templates: started when they are needed, replaced when they are old, ended when there are too many.

mod state;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cooper_sandbox::Network;
use cooper_sandbox::warm::{
    Frame, FrameError, Order, Report, TemplateSettings, WarmJob, WarmLimits, WarmReply, start_keeper,
};

use super::not_run::NotRun;
use super::protocol::HeldLimit;
use state::{Keeper, Outgoing, Pending, State, Waiting};

/// What a template is for. Nobody else gets it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TemplateKey {
    pub(super) owner: String,
    pub(super) limits: WarmLimits,
    pub(super) network: Network,
    pub(super) writable: bool,
}

/// How templates are kept.
#[derive(Debug, Clone)]
pub struct TemplatePolicy {
    /// The program that is a keeper, and its arguments.
    pub keeper: (PathBuf, Vec<OsString>),
    /// Modules that are imported beforehand.
    pub preload: Vec<String>,
    /// A script that is executed in each template once.
    pub rehearsal: Option<String>,
    /// How many children wait in each template.
    pub pool: usize,
    /// How many run at once in each.
    pub running_max: usize,
    /// How many templates there are at most.
    pub templates_max: usize,
    /// How many templates one owner has at most: others always find a place.
    pub owner_templates_max: usize,
    /// How much memory templates and the children that wait in them may have together. One is kept in any case, and none is
    /// given up while it has work.
    pub memory_bytes_max: u64,
    /// After so many runs at most a template is replaced.
    pub runs_max: u64,
    /// And at this age.
    pub age_max: Duration,
    /// The most that a request may reach; any allow-list where that is not said.
    pub network_max: Option<Network>,
    /// Whether a limit that this host cannot enforce stops everything.
    pub required: bool,
}

/// What became of a job.
pub(super) enum Answer {
    /// It was run.
    Done {
        reply: Box<WarmReply>,
        parts: Vec<Vec<u8>>,
        enforced: Vec<HeldLimit>,
    },
    /// It was not.
    NotRun(NotRun),
}

/// What waits for a job's end.
pub(super) type OnAnswer = Box<dyn FnOnce(Answer) + Send>;

/// All templates of a runner.
pub(super) struct Templates {
    policy: TemplatePolicy,
    state: Mutex<State>,
    /// Told when a job is answered.
    answered: Condvar,
}

/// Why a job has no keeper.
enum Unassigned {
    /// All that there may be have work.
    Waits(Box<Waiting>),
    /// None can be started.
    Failed(OnAnswer, NotRun),
}

const CANCELLED: &str = "nobody waits for it any more";

impl Templates {
    pub(super) fn new(policy: TemplatePolicy) -> Arc<Self> {
        Arc::new(Self {
            policy,
            state: Mutex::default(),
            answered: Condvar::new(),
        })
    }

    pub(super) fn policy(&self) -> &TemplatePolicy {
        &self.policy
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Run a job in the template of this key, which is started with `settings` where there is none; its number.
    pub(super) fn run(
        self: &Arc<Self>,
        key: TemplateKey,
        settings: TemplateSettings,
        job: WarmJob,
        parts: Vec<Vec<u8>>,
        answer: OnAnswer,
    ) -> u64 {
        let mut state = self.state();
        let id = state.number();
        let waiting = Waiting {
            id,
            key,
            settings: Box::new(settings),
            job,
            parts,
            answer,
        };
        // Who came before goes before.
        let assigned = if state.backlog.contains_key(&waiting.key) {
            Err(Unassigned::Waits(Box::new(waiting)))
        } else {
            self.assign(&mut state, waiting)
        };
        match assigned {
            Ok(order) => {
                drop(state);
                order.send();
            }
            Err(Unassigned::Waits(waiting)) => {
                let key = waiting.key.clone();
                state.backlog.entry(key).or_default().push_back(*waiting);
            }
            Err(Unassigned::Failed(answer, reason)) => {
                drop(state);
                answer(Answer::NotRun(reason));
            }
        }
        id
    }

    /// Start the template of this key, which is the first one, and wait until it is ready.
    pub(super) fn prepare(
        self: &Arc<Self>,
        key: TemplateKey,
        settings: TemplateSettings,
    ) -> Result<(), NotRun> {
        let (awaited, ready) = channel();
        let mut state = self.state();
        let number = self.start(&mut state, &key, settings).map_err(|error| {
            NotRun::from(format!("the template cannot be started: {}", with_cause(&error)))
        })?;
        if let Some(keeper) = state.keepers.get_mut(&number) {
            keeper.awaited = Some(awaited);
        }
        state.current.insert(key, number);
        drop(state);
        ready
            .recv()
            .unwrap_or_else(|_| Err("the template is gone".into()))
    }

    /// How many jobs are not answered.
    pub(super) fn unanswered(&self) -> usize {
        let state = self.state();
        state.jobs.len() + state.backlog.values().map(VecDeque::len).sum::<usize>()
    }

    /// Wait until every job is answered.
    pub(super) fn drain(&self) {
        let mut state = self.state();
        while !state.jobs.is_empty() || !state.backlog.is_empty() {
            state = self.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Not begin this job, or end it.
    pub(super) fn cancel(&self, id: u64) {
        let mut state = self.state();
        if let Some(waiting) = state.take_waiting(id) {
            drop(state);
            (waiting.answer)(Answer::NotRun(CANCELLED.into()));
            self.answered.notify_all();
            return;
        }
        let keeper = state.jobs.get(&id).map(|pending| pending.keeper);
        let socket = keeper.and_then(|keeper| Some(Arc::clone(&state.keepers.get(&keeper)?.socket)));
        drop(state);
        if let Some(socket) = socket {
            let order = Outgoing {
                socket,
                frame: Frame {
                    header: Order::Cancel { id },
                    parts: Vec::new(),
                },
            };
            order.send();
        }
    }

    /// Give the job to its keeper: what is to be sent to it.
    fn assign(self: &Arc<Self>, state: &mut State, waiting: Waiting) -> Result<Outgoing, Unassigned> {
        let number = match self.keeper_for(state, &waiting) {
            Ok(Some(number)) => number,
            Ok(None) => return Err(Unassigned::Waits(Box::new(waiting))),
            Err(error) => {
                let why = format!("the template cannot be started: {}", with_cause(&error));
                return Err(Unassigned::Failed(waiting.answer, why.into()));
            }
        };
        let Some(keeper) = state.keepers.get_mut(&number) else {
            return Err(Unassigned::Waits(Box::new(waiting)));
        };
        (keeper.used, keeper.runs, keeper.pending) = (Instant::now(), keeper.runs + 1, keeper.pending + 1);
        let is_old = self.policy.is_old(keeper.runs, keeper.started);
        let socket = Arc::clone(&keeper.socket);
        let Waiting {
            id,
            key,
            settings,
            job,
            parts,
            answer,
        } = waiting;
        state.jobs.insert(
            id,
            Pending {
                keeper: number,
                answer,
            },
        );
        if is_old && !state.successors.contains_key(&key) {
            match self.start(state, &key, *settings) {
                Ok(successor) => {
                    state.successors.insert(key, successor);
                }
                Err(error) => tracing::warn!(error = with_cause(&error), "an old template is not replaced"),
            }
        }
        let frame = Frame {
            header: Order::Run(WarmJob { id, ..job }),
            parts,
        };
        Ok(Outgoing { socket, frame })
    }

    /// The keeper of the key, started where there is none; `None` when all that there may be are busy.
    fn keeper_for(self: &Arc<Self>, state: &mut State, waiting: &Waiting) -> Result<Option<u64>, FrameError> {
        let key = &waiting.key;
        if let Some(number) = state.current.get(key).copied() {
            let runs = state.keepers.get(&number).map_or(0, |keeper| keeper.runs);
            if runs < self.policy.runs_max {
                return Ok(Some(number));
            }
            // The next one takes over, ready or not; but there are no more than two of a key at once.
            if state.is_retiring(key) {
                return Ok(None);
            }
            let successor = match state.successors.remove(key) {
                Some(successor) => successor,
                None => self.start(state, key, (*waiting.settings).clone())?,
            };
            state.current.insert(key.clone(), successor);
            state.retire(number);
            return Ok(Some(successor));
        }
        while state.is_full(&self.policy, &key.owner) {
            if !state.retire_idle(&self.policy, &key.owner) {
                return Ok(None);
            }
        }
        let number = self.start(state, key, (*waiting.settings).clone())?;
        state.current.insert(key.clone(), number);
        Ok(Some(number))
    }

    fn start(
        self: &Arc<Self>,
        state: &mut State,
        key: &TemplateKey,
        settings: TemplateSettings,
    ) -> Result<u64, FrameError> {
        let (program, arguments) = &self.policy.keeper;
        let (socket, child) = start_keeper(program, arguments, settings)?;
        let reader = socket.try_clone().map_err(FrameError::Io)?;
        let number = state.number();
        let now = Instant::now();
        state.keepers.insert(
            number,
            Keeper {
                key: key.clone(),
                socket: Arc::new(Mutex::new(socket)),
                started: now,
                used: now,
                runs: 0,
                pending: 0,
                awaited: None,
                is_retired: false,
                memory_bytes: 0,
                enforced: Vec::new(),
            },
        );
        let templates = Arc::clone(self);
        std::thread::spawn(move || templates.listen(number, reader, child));
        Ok(number)
    }

    /// Hear one keeper until it has ended.
    fn listen(self: &Arc<Self>, number: u64, socket: UnixStream, mut child: Child) {
        let mut socket = BufReader::new(socket);
        let mut loss = NotRun::from("the process that keeps the template has ended")
            .hint("send it again: another one is started; if it ends again, `dmesg` may say what killed it");
        while let Ok(Some(Frame { header, parts })) = Frame::<Report>::receive(&mut socket) {
            match header {
                Report::Ready { enforced } => self.note_ready(number, enforced),
                Report::Memory { bytes } => self.note_memory(number, bytes),
                Report::Done(reply) => self.note_done(number, reply, parts),
                Report::Cancelled { id } => self.note_cancelled(number, id),
                Report::Lost { reason, hint, log } => {
                    let log = log.trim();
                    let log = if log.is_empty() {
                        String::new()
                    } else {
                        format!("\n{log}")
                    };
                    let reason = format!("{reason}{log}");
                    loss = NotRun { reason, hint };
                }
            }
        }
        self.note_end(number, &loss);
        let _ = child.wait();
    }

    fn note_ready(&self, number: u64, enforced: Vec<(String, String)>) {
        let mut state = self.state();
        let held = enforced.into_iter().map(|(limit, by)| HeldLimit { limit, by });
        let Some(keeper) = state.keepers.get_mut(&number) else {
            return;
        };
        if let Some(awaited) = keeper.awaited.take() {
            // Who waits no more needs not be told.
            let _ = awaited.send(Ok(()));
        }
        keeper.enforced = held.collect();
        let key = keeper.key.clone();
        if state.successors.get(&key) == Some(&number) {
            state.successors.remove(&key);
            if let Some(old) = state.current.insert(key, number) {
                state.retire(old);
            }
        }
    }

    fn note_memory(&self, number: u64, bytes: u64) {
        let mut state = self.state();
        if let Some(keeper) = state.keepers.get_mut(&number) {
            keeper.memory_bytes = bytes;
        }
        state.shrink(self.policy.memory_bytes_max);
    }

    fn note_done(self: &Arc<Self>, number: u64, reply: Box<WarmReply>, parts: Vec<Vec<u8>>) {
        let mut state = self.state();
        let enforced = state.keepers.get(&number).map(|keeper| keeper.enforced.clone());
        state.note_answered(number);
        let pending = state.jobs.remove(&reply.id);
        drop(state);
        if let Some(Pending { answer, .. }) = pending {
            answer(Answer::Done {
                reply,
                parts,
                enforced: enforced.unwrap_or_default(),
            });
        }
        self.place_waiting();
        self.answered.notify_all();
    }

    /// Those that wait may have their places now, the one that came first before the others.
    fn place_waiting(self: &Arc<Self>) {
        let mut state = self.state();
        let mut keys: Vec<(u64, TemplateKey)> = state
            .backlog
            .iter()
            .filter_map(|(key, list)| Some((list.front()?.id, key.clone())))
            .collect();
        keys.sort_unstable();
        let (mut orders, mut failures) = (Vec::new(), Vec::new());
        for (_, key) in keys {
            while let Some(waiting) = state.first_waiting(&key) {
                match self.assign(&mut state, waiting) {
                    Ok(order) => orders.push(order),
                    Err(Unassigned::Failed(answer, reason)) => failures.push((answer, reason)),
                    Err(Unassigned::Waits(waiting)) => {
                        state.backlog.entry(key).or_default().push_front(*waiting);
                        break;
                    }
                }
            }
        }
        drop(state);
        orders.into_iter().for_each(Outgoing::send);
        for (answer, reason) in failures {
            answer(Answer::NotRun(reason));
        }
    }

    fn note_cancelled(self: &Arc<Self>, number: u64, id: u64) {
        let mut state = self.state();
        state.note_answered(number);
        let pending = state.jobs.remove(&id);
        drop(state);
        if let Some(Pending { answer, .. }) = pending {
            answer(Answer::NotRun(CANCELLED.into()));
        }
        self.place_waiting();
        self.answered.notify_all();
    }

    fn note_end(self: &Arc<Self>, number: u64, loss: &NotRun) {
        let mut state = self.state();
        let awaited = state.keepers.remove(&number).and_then(|keeper| keeper.awaited);
        if let Some(awaited) = awaited {
            let _ = awaited.send(Err(loss.clone()));
        }
        state.current.retain(|_, keeper| *keeper != number);
        state.successors.retain(|_, keeper| *keeper != number);
        let unanswered = state.jobs.extract_if(|_, pending| pending.keeper == number);
        let unanswered: Vec<Pending> = unanswered.map(|(_, pending)| pending).collect();
        drop(state);
        for Pending { answer, .. } in unanswered {
            answer(Answer::NotRun(loss.clone()));
        }
        self.place_waiting();
        self.answered.notify_all();
    }
}

impl TemplatePolicy {
    /// Whether another template is to be made ready, so that it is there when this one has had its runs.
    fn is_old(&self, runs: u64, started: Instant) -> bool {
        runs >= self.runs_max - self.runs_max / 4 || started.elapsed() >= self.age_max
    }
}

fn with_cause(error: &FrameError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}
