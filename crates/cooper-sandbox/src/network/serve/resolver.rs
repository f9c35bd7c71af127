//! Look-up of names by the host's own means (`getaddrinfo(3)`), on a few threads, since it blocks.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use rustix::io::Errno;

/// Names that are looked up at the same time.
const THREADS_MAX: usize = 4;
/// Enough for the C library and its modules.
const STACK_BYTES: usize = 512 << 10;
/// How long an answer is used again. There is no way to learn how long it holds.
const REUSE: Duration = Duration::from_secs(5);
const KEPT_MAX: usize = 256;
const ADDRESSES_MAX: usize = 16;

/// What a name means; empty when that is not known.
type Addresses = Vec<IpAddr>;

pub(super) struct Resolver {
    jobs: Sender<String>,
    queue: Arc<Mutex<Receiver<String>>>,
    answers: Receiver<(String, Addresses)>,
    answer: Sender<(String, Addresses)>,
    wake: Arc<OwnedFd>,
    threads: usize,
    /// Who waits for a name that is being looked up.
    waiting: BTreeMap<String, Vec<u64>>,
    kept: BTreeMap<String, (Instant, Addresses)>,
}

impl Resolver {
    pub(super) fn new() -> Result<Self, Errno> {
        let (jobs, queue) = mpsc::channel();
        let (answer, answers) = mpsc::channel();
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self {
            jobs,
            queue: Arc::new(Mutex::new(queue)),
            answers,
            answer,
            wake: Arc::new(rustix::event::eventfd(0, flags)?),
            threads: 0,
            waiting: BTreeMap::new(),
            kept: BTreeMap::new(),
        })
    }

    /// Readable when there are answers.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What the name means, if that was learnt just now; else it is looked up, and the answer is for `asker`.
    pub(super) fn ask(&mut self, name: &str, asker: u64) -> Option<Addresses> {
        self.kept.retain(|_, (when, _)| when.elapsed() < REUSE);
        if let Some((_, addresses)) = self.kept.get(name) {
            return Some(addresses.clone());
        }
        let askers = self.waiting.entry(name.to_owned()).or_default();
        askers.push(asker);
        if askers.len() == 1 {
            self.start_thread();
            // The receiver is kept here.
            let _ = self.jobs.send(name.to_owned());
        }
        None
    }

    /// The answers that have come, each with who asked.
    pub(super) fn answers(&mut self) -> Vec<(Vec<u64>, Addresses)> {
        let mut count = [0; 8];
        let _ = rustix::io::read(self.wake.as_fd(), &mut count);
        let mut answers = Vec::new();
        while let Ok((name, addresses)) = self.answers.try_recv() {
            let askers = self.waiting.remove(&name).unwrap_or_default();
            if !addresses.is_empty() && self.kept.len() < KEPT_MAX {
                self.kept.insert(name, (Instant::now(), addresses.clone()));
            }
            answers.push((askers, addresses));
        }
        answers
    }

    /// One more, while there are fewer than names and than there may be. Without one those that are there have to do;
    /// without any the connections' time runs out.
    fn start_thread(&mut self) {
        if self.threads >= THREADS_MAX.min(self.waiting.len()) {
            return;
        }
        let (queue, answer, wake) = (
            Arc::clone(&self.queue),
            self.answer.clone(),
            Arc::clone(&self.wake),
        );
        let look_up = move || {
            while let Some(name) = next(&queue) {
                let addresses = look_up(&name);
                if answer.send((name, addresses)).is_err() {
                    return;
                }
                let _ = rustix::io::write(wake.as_fd(), &1_u64.to_ne_bytes());
            }
        };
        let thread = thread::Builder::new().stack_size(STACK_BYTES);
        if thread.spawn(look_up).is_ok() {
            self.threads += 1;
        }
    }
}

fn next(queue: &Mutex<Receiver<String>>) -> Option<String> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn look_up(name: &str) -> Addresses {
    let found = (name, 0).to_socket_addrs();
    let found = found.map(|addresses| {
        addresses
            .map(|address| address.ip())
            .take(ADDRESSES_MAX)
            .collect()
    });
    found.unwrap_or_default()
}
