//! Which keepers and jobs there are.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use cooper_sandbox::warm::{Frame, Order, TemplateSettings, WarmJob};

use super::super::not_run::NotRun;
use super::super::protocol::HeldLimit;
use super::{OnAnswer, TemplateKey, TemplatePolicy};

#[derive(Default)]
pub(super) struct State {
    pub(super) keepers: HashMap<u64, Keeper>,
    /// The keeper that gets the next job of a key.
    pub(super) current: BTreeMap<TemplateKey, u64>,
    /// One that is to follow it, and is not ready yet.
    pub(super) successors: BTreeMap<TemplateKey, u64>,
    pub(super) jobs: HashMap<u64, Pending>,
    /// Jobs that no template may have now, the oldest of a key first. No list is empty.
    pub(super) backlog: BTreeMap<TemplateKey, VecDeque<Waiting>>,
    pub(super) next: u64,
}

pub(super) struct Keeper {
    pub(super) key: TemplateKey,
    pub(super) socket: Arc<Mutex<UnixStream>>,
    pub(super) started: Instant,
    pub(super) used: Instant,
    pub(super) runs: u64,
    pub(super) pending: usize,
    /// Who waits for it to be ready, or to have ended.
    pub(super) awaited: Option<Sender<Result<(), NotRun>>>,
    /// It ends when it has done what it has.
    pub(super) is_retired: bool,
    /// What it has said last that it has.
    pub(super) memory_bytes: u64,
    pub(super) enforced: Vec<HeldLimit>,
}

pub(super) struct Pending {
    pub(super) keeper: u64,
    pub(super) answer: OnAnswer,
}

pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) key: TemplateKey,
    pub(super) settings: Box<TemplateSettings>,
    pub(super) job: WarmJob,
    pub(super) parts: Vec<Vec<u8>>,
    pub(super) answer: OnAnswer,
}

/// An order on its way to a keeper.
pub(super) struct Outgoing {
    pub(super) socket: Arc<Mutex<UnixStream>>,
    pub(super) frame: Frame<Order>,
}

impl State {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Take the job that came first of a key.
    pub(super) fn first_waiting(&mut self, key: &TemplateKey) -> Option<Waiting> {
        let list = self.backlog.get_mut(key)?;
        let first = list.pop_front();
        if list.is_empty() {
            self.backlog.remove(key);
        }
        first
    }

    /// Take the job of this number.
    pub(super) fn take_waiting(&mut self, id: u64) -> Option<Waiting> {
        let mut lists = self.backlog.iter();
        let (key, at) = lists.find_map(|(key, list)| {
            let at = list.iter().position(|waiting| waiting.id == id)?;
            Some((key.clone(), at))
        })?;
        let list = self.backlog.get_mut(&key)?;
        let taken = list.remove(at);
        if list.is_empty() {
            self.backlog.remove(&key);
        }
        taken
    }

    /// Whether there may be no template more for this owner.
    pub(super) fn is_full(&self, policy: &TemplatePolicy, owner: &str) -> bool {
        let is_much = self.memory_bytes() >= policy.memory_bytes_max && !self.current.is_empty();
        self.current.len() >= policy.templates_max || is_much || self.has_its_share(policy, owner)
    }

    /// Whether this owner has as many templates as one may have.
    pub(super) fn has_its_share(&self, policy: &TemplatePolicy, owner: &str) -> bool {
        let own = self.current.keys().filter(|key| key.owner == owner);
        own.count() >= policy.owner_templates_max
    }

    /// Whether a template of this key has been replaced and still has work.
    pub(super) fn is_retiring(&self, key: &TemplateKey) -> bool {
        let mut keepers = self.keepers.values();
        keepers.any(|keeper| keeper.is_retired && keeper.key == *key)
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        let kept = self.keepers.values().filter(|keeper| !keeper.is_retired);
        kept.map(|keeper| keeper.memory_bytes).sum()
    }

    /// Retire those without work, the one that was used least recently first, until the others are small enough together.
    pub(super) fn shrink(&mut self, bytes_max: u64) {
        while self.memory_bytes() > bytes_max && self.current.len() > 1 && self.retire_oldest(|_| true) {}
    }

    /// Let a keeper finish what it has and end.
    pub(super) fn retire(&mut self, number: u64) {
        if let Some(keeper) = self.keepers.get_mut(&number) {
            keeper.is_retired = true;
            keeper.end_if_done();
        }
    }

    /// One job of this keeper is done.
    pub(super) fn note_answered(&mut self, number: u64) {
        if let Some(keeper) = self.keepers.get_mut(&number) {
            keeper.pending = keeper.pending.saturating_sub(1);
            keeper.end_if_done();
        }
    }

    /// Retire the one without work that was used least recently, of this owner's where it has its share; false where
    /// all have some.
    pub(super) fn retire_idle(&mut self, policy: &TemplatePolicy, owner: &str) -> bool {
        let is_own = self.has_its_share(policy, owner);
        self.retire_oldest(|key| !is_own || key.owner == owner)
    }

    /// Retire the one of these without work that was used least recently; false where there is none.
    pub(super) fn retire_oldest(&mut self, of: impl Fn(&TemplateKey) -> bool) -> bool {
        let idle = self.current.iter().filter(|(key, _)| of(key));
        let idle = idle.filter_map(|(key, number)| {
            let keeper = self.keepers.get(number).filter(|keeper| keeper.pending == 0)?;
            Some((keeper.used, *number, key.clone()))
        });
        let Some((_, number, key)) = idle.min_by_key(|(used, ..)| *used) else {
            return false;
        };
        self.current.remove(&key);
        self.retire(number);
        true
    }
}

impl Keeper {
    /// Tell one that is retired to end. What was given to it may be on its way still: so it is told when that is answered.
    pub(super) fn end_if_done(&self) {
        if !self.is_retired || self.pending > 0 {
            return;
        }
        let order = Outgoing {
            socket: Arc::clone(&self.socket),
            frame: Frame {
                header: Order::Retire,
                parts: Vec::new(),
            },
        };
        // Another thread may be sending for long, and the keeper's reader needs the state meanwhile.
        std::thread::spawn(move || order.send());
    }
}

impl Outgoing {
    pub(super) fn send(self) {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if self.frame.send(&mut *socket).is_err() {
            // Its reader finds that it is gone, and answers.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use cooper_sandbox::Network;
    use cooper_sandbox::warm::WarmLimits;

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
                awaited: None,
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
