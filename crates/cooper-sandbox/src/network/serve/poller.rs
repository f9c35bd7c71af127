//! What is waited for (`epoll(7)`), level-triggered.

use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;

use crate::supervise::timespec;

pub(super) struct Poller(OwnedFd);

/// As many events as are taken at once.
const EVENTS_MAX: usize = 128;

impl Poller {
    pub(super) fn new() -> Result<Self, Errno> {
        epoll::create(CreateFlags::CLOEXEC).map(Self)
    }

    /// Wait for these events of a descriptor from now on, in the place of those before. One that nothing is waited for is
    /// taken out: its end would be told again and again.
    pub(super) fn set(
        &self,
        descriptor: BorrowedFd<'_>,
        token: u64,
        before: EventFlags,
        after: EventFlags,
    ) -> Result<(), Errno> {
        let data = EventData::new_u64(token);
        match (before.is_empty(), after.is_empty()) {
            _ if before == after => Ok(()),
            (true, _) => epoll::add(&self.0, descriptor, data, after),
            (_, true) => epoll::delete(&self.0, descriptor),
            _ => epoll::modify(&self.0, descriptor, data, after),
        }
    }

    /// Wait to be able to read from a descriptor for as long as it is open.
    pub(super) fn add_reader(&self, descriptor: BorrowedFd<'_>, token: u64) -> Result<(), Errno> {
        self.set(descriptor, token, EventFlags::empty(), EventFlags::IN)
    }

    /// The tokens of what has happened; none when the time is over.
    pub(super) fn wait(&self, time: Option<Duration>) -> Result<Vec<u64>, Errno> {
        let mut space = [MaybeUninit::<Event>::uninit(); EVENTS_MAX];
        let time = time.map(timespec);
        match epoll::wait(&self.0, &mut space, time.as_ref()) {
            Ok((events, _)) => Ok(events.iter().map(|event| event.data.u64()).collect()),
            Err(Errno::INTR) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }
}
