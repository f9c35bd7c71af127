//! Keepers of templates: started when they are needed, replaced when they are old, ended when there are too many.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ffi::OsString;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cooper_sandbox::Network;
use cooper_sandbox::warm::{
    Frame, FrameError, Order, Report, TemplateSettings, WarmJob, WarmLimits, WarmReply, start_keeper,
};

use super::protocol::HeldLimit;

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
    /// How much memory templates and the children that wait in them may have together. One is kept in any case, and none is
    /// given up while it has work.
    pub memory_bytes_max: u64,
    /// After so many runs a template is replaced.
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
    NotRun(String),
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

#[derive(Default)]
struct State {
    keepers: HashMap<u64, Keeper>,
    /// The keeper that gets the next job of a key.
    current: BTreeMap<TemplateKey, u64>,
    /// One that is to follow it, and is not ready yet.
    successors: BTreeMap<TemplateKey, u64>,
    jobs: HashMap<u64, Pending>,
    /// Jobs for which no template may be started now.
    backlog: VecDeque<Waiting>,
    next: u64,
}

struct Keeper {
    key: TemplateKey,
    socket: Arc<Mutex<UnixStream>>,
    started: Instant,
    used: Instant,
    runs: u64,
    pending: usize,
    is_ready: bool,
    /// It ends when it has done what it has.
    is_retired: bool,
    /// What it has said last that it has.
    memory_bytes: u64,
    enforced: Vec<HeldLimit>,
}

struct Pending {
    keeper: u64,
    answer: OnAnswer,
}

struct Waiting {
    key: TemplateKey,
    settings: Box<TemplateSettings>,
    job: WarmJob,
    parts: Vec<Vec<u8>>,
    answer: OnAnswer,
}

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

    /// Run a job in the template of this key, which is started with `settings` where there is none.
    pub(super) fn run(
        self: &Arc<Self>,
        key: TemplateKey,
        settings: TemplateSettings,
        job: WarmJob,
        parts: Vec<Vec<u8>>,
        answer: OnAnswer,
    ) {
        let settings = Box::new(settings);
        self.place(Waiting {
            key,
            settings,
            job,
            parts,
            answer,
        });
    }

    /// How many jobs are not answered.
    pub(super) fn unanswered(&self) -> usize {
        let state = self.state();
        state.jobs.len() + state.backlog.len()
    }

    /// Wait until every job is answered.
    pub(super) fn drain(&self) {
        let mut state = self.state();
        while !state.jobs.is_empty() || !state.backlog.is_empty() {
            state = self.answered.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Give the job to its keeper, or let it wait until there may be one.
    fn place(self: &Arc<Self>, waiting: Waiting) {
        let mut state = self.state();
        let number = match self.keeper_for(&mut state, &waiting) {
            Ok(Some(number)) => number,
            Ok(None) => return state.backlog.push_back(waiting),
            Err(error) => {
                drop(state);
                let reason = format!("the template cannot be started: {}", with_cause(&error));
                return (waiting.answer)(Answer::NotRun(reason));
            }
        };
        let job = state.next;
        state.next += 1;
        let Some(keeper) = state.keepers.get_mut(&number) else {
            return;
        };
        (keeper.used, keeper.runs, keeper.pending) = (Instant::now(), keeper.runs + 1, keeper.pending + 1);
        let is_old = keeper.runs >= self.policy.runs_max || keeper.started.elapsed() >= self.policy.age_max;
        let socket = Arc::clone(&keeper.socket);
        let Waiting {
            key,
            settings,
            job: asked,
            parts,
            answer,
        } = waiting;
        state.jobs.insert(
            job,
            Pending {
                keeper: number,
                answer,
            },
        );
        if is_old && !state.successors.contains_key(&key) {
            match self.start(&mut state, &key, *settings) {
                Ok(successor) => {
                    state.successors.insert(key, successor);
                }
                Err(error) => tracing::warn!(error = with_cause(&error), "an old template is not replaced"),
            }
        }
        drop(state);
        let frame = Frame {
            header: Order::Run(WarmJob { id: job, ..asked }),
            parts,
        };
        let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
        if frame.send(&mut *socket).is_err() {
            // Its reader finds that it is gone, and answers.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }

    /// The keeper of the key, started where there is none; `None` when all that there may be are busy.
    fn keeper_for(self: &Arc<Self>, state: &mut State, waiting: &Waiting) -> Result<Option<u64>, FrameError> {
        if let Some(number) = state.current.get(&waiting.key) {
            return Ok(Some(*number));
        }
        while state.is_full(&self.policy) {
            if !state.retire_idle() {
                return Ok(None);
            }
        }
        let number = self.start(state, &waiting.key, (*waiting.settings).clone())?;
        state.current.insert(waiting.key.clone(), number);
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
        let number = state.next;
        state.next += 1;
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
                is_ready: false,
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
        let mut loss = "the keeper has ended".to_owned();
        while let Ok(Some(Frame { header, parts })) = Frame::<Report>::receive(&mut socket) {
            match header {
                Report::Ready { enforced } => self.note_ready(number, enforced),
                Report::Memory { bytes } => self.note_memory(number, bytes),
                Report::Done(reply) => self.note_done(number, reply, parts),
                Report::Lost { reason, log } => {
                    let log = log.trim();
                    let log = if log.is_empty() {
                        String::new()
                    } else {
                        format!("\n{log}")
                    };
                    loss = format!("{reason}{log}");
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
        keeper.is_ready = true;
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
        let enforced = state.keepers.get_mut(&number).map(|keeper| {
            keeper.pending = keeper.pending.saturating_sub(1);
            keeper.enforced.clone()
        });
        let pending = state.jobs.remove(&reply.id);
        drop(state);
        if let Some(Pending { answer, .. }) = pending {
            answer(Answer::Done {
                reply,
                parts,
                enforced: enforced.unwrap_or_default(),
            });
        }
        self.place_next();
        self.answered.notify_all();
    }

    /// One that waits may have its place now.
    fn place_next(self: &Arc<Self>) {
        let next = self.state().backlog.pop_front();
        if let Some(next) = next {
            self.place(next);
        }
    }

    fn note_end(self: &Arc<Self>, number: u64, loss: &str) {
        let mut state = self.state();
        state.keepers.remove(&number);
        state.current.retain(|_, keeper| *keeper != number);
        state.successors.retain(|_, keeper| *keeper != number);
        let unanswered = state.jobs.extract_if(|_, pending| pending.keeper == number);
        let unanswered: Vec<Pending> = unanswered.map(|(_, pending)| pending).collect();
        drop(state);
        for Pending { answer, .. } in unanswered {
            answer(Answer::NotRun(loss.to_owned()));
        }
        self.place_next();
        self.answered.notify_all();
    }
}

impl State {
    /// Whether there may be no template more.
    fn is_full(&self, policy: &TemplatePolicy) -> bool {
        let is_much = self.memory_bytes() >= policy.memory_bytes_max && !self.current.is_empty();
        self.current.len() >= policy.templates_max || is_much
    }

    fn memory_bytes(&self) -> u64 {
        let kept = self.keepers.values().filter(|keeper| !keeper.is_retired);
        kept.map(|keeper| keeper.memory_bytes).sum()
    }

    /// Retire those without work, the one that was used least recently first, until the others are small enough together.
    fn shrink(&mut self, bytes_max: u64) {
        while self.memory_bytes() > bytes_max && self.current.len() > 1 && self.retire_idle() {}
    }

    /// Let a keeper finish what it has and end.
    fn retire(&mut self, number: u64) {
        let Some(keeper) = self.keepers.get_mut(&number) else {
            return;
        };
        keeper.is_retired = true;
        let socket = Arc::clone(&keeper.socket);
        // Another thread may be sending for long, and its keeper's reader needs the state meanwhile.
        std::thread::spawn(move || {
            let frame = Frame {
                header: Order::Retire,
                parts: Vec::new(),
            };
            let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
            // Who is gone needs not be told.
            let _ = frame.send(&mut *socket);
        });
    }

    /// Retire the one without work that was used least recently; false where all have some.
    fn retire_idle(&mut self) -> bool {
        let idle = self.current.values().filter_map(|number| {
            let keeper = self.keepers.get(number).filter(|keeper| keeper.pending == 0)?;
            Some((keeper.used, *number, keeper.key.clone()))
        });
        let Some((_, number, key)) = idle.min_by_key(|(used, ..)| *used) else {
            return false;
        };
        self.current.remove(&key);
        self.retire(number);
        true
    }
}

fn with_cause(error: &FrameError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn key(owner: &str) -> TemplateKey {
        TemplateKey {
            owner: owner.to_owned(),
            limits: WarmLimits {
                memory_bytes: 0,
                pids: 0,
                open_files: 0,
                cpu_millis: 0,
                tmp_bytes: 0,
                scratch_bytes: 0,
                stream_bytes_max: 0,
                result_bytes_max: 0,
                output_bytes_max: 0,
                output_files_max: 0,
            },
            network: Network::None,
            writable: false,
        }
    }

    /// Templates of so many bytes and so much work, the one that was used least recently first; and their keepers' ends.
    fn state(templates: &[(&str, u64, usize)]) -> (State, Vec<UnixStream>) {
        let (mut state, mut ends) = (State::default(), Vec::new());
        let started = Instant::now();
        for (number, (owner, memory_bytes, pending)) in (0..).zip(templates) {
            let (socket, end) = UnixStream::pair().unwrap();
            ends.push(end);
            let keeper = Keeper {
                key: key(owner),
                socket: Arc::new(Mutex::new(socket)),
                started,
                used: started + Duration::from_secs(number),
                runs: 0,
                pending: *pending,
                is_ready: true,
                is_retired: false,
                memory_bytes: *memory_bytes,
                enforced: Vec::new(),
            };
            state.keepers.insert(number, keeper);
            state.current.insert(key(owner), number);
        }
        (state, ends)
    }

    fn owners(state: &State) -> Vec<&str> {
        state.current.keys().map(|key| key.owner.as_str()).collect()
    }

    #[test]
    fn what_is_too_much_goes_and_the_least_recently_used_first() {
        let (mut state, mut ends) = state(&[("c", 40, 0), ("a", 40, 1), ("b", 40, 0), ("d", 40, 0)]);
        state.shrink(160);
        assert_eq!(owners(&state), ["a", "b", "c", "d"]);
        state.shrink(150);
        assert_eq!(owners(&state), ["a", "b", "d"], "the first that was used");
        // It is told to end.
        let mut told = [0; 4];
        ends[0].read_exact(&mut told).unwrap();
        state.shrink(80);
        assert_eq!(owners(&state), ["a", "d"], "not the one that has work");
        state.shrink(0);
        assert_eq!(owners(&state), ["a"]);
        state.shrink(0);
        assert_eq!(owners(&state), ["a"], "one stays");
    }
}
