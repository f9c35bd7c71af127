//! One client of a runner's socket: its requests are read while it reads its replies, and it alone waits when it does not.
//!
//! A reply is written at once where the socket has room for it. Else it waits in the client's own queue, which a thread of
//! the client's own empties. A client that is gone, that lets its queue grow too large, or takes nothing of it for long is
//! given up: what it has asked for is not begun any more, and what runs of it is ended.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cooperage::runner::protocol::RunnerReply;
use cooperage::{Peer, Runner, Ticket};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::lines::next_line;

/// With so many requests that have no reply yet, no more are read.
const UNANSWERED_MAX: usize = 1024;
/// With so much in its queue, no more requests are read.
const QUEUE_BYTES_ENOUGH: usize = 1 << 20;
/// A client with more in its queue is given up; one reply may be larger.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// So is one that takes nothing of it for so long.
const TAKES_WITHIN: Duration = Duration::from_mins(1);
/// How often it is looked whether a client is still there.
const LOOK: Duration = Duration::from_millis(100);

pub(super) struct Client {
    stream: UnixStream,
    replies: Mutex<Replies>,
    /// Told when there is something in the queue, less of it, or an end.
    changed: Condvar,
}

#[derive(Default)]
struct Replies {
    queue: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Requests without a reply, by their number.
    unanswered: BTreeMap<u64, Option<Ticket>>,
    /// A thread empties the queue.
    is_emptied: bool,
    is_given_up: bool,
}

/// Serve one until it has all its replies, or is gone.
pub(super) fn serve(runner: &Runner, stream: UnixStream, peer: Peer) -> io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let client = Arc::new(Client {
        stream,
        replies: Mutex::default(),
        changed: Condvar::new(),
    });
    let mut number = 0;
    while client.has_room() {
        match next_line(&mut input) {
            Ok(Some(line)) => {
                client.submit(runner, number, &line, peer);
                number += 1;
            }
            Ok(None) | Err(_) => break,
        }
    }
    // It may have said all that it has to say, and listen still.
    if !client.await_end() {
        for ticket in client.give_up() {
            runner.cancel(ticket);
        }
    }
    Ok(())
}

impl Client {
    fn replies(&self) -> MutexGuard<'_, Replies> {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(self: &Arc<Self>, runner: &Runner, number: u64, line: &[u8], peer: Peer) {
        self.replies().unanswered.insert(number, None);
        let client = Arc::clone(self);
        let ticket = runner.submit(line, peer, move |reply| client.answer(number, &reply));
        if let Some(waiting) = self.replies().unanswered.get_mut(&number) {
            *waiting = ticket;
        }
    }

    fn answer(self: &Arc<Self>, number: u64, reply: &RunnerReply) {
        let Ok(mut line) = serde_json::to_vec(reply) else {
            return;
        };
        line.push(b'\n');
        let mut replies = self.replies();
        replies.unanswered.remove(&number);
        if !replies.is_given_up && !self.write(&mut replies, line) {
            self.shut(&mut replies);
        }
        drop(replies);
        self.changed.notify_all();
    }

    /// Write what there is room for, and leave the rest to the thread that empties the queue; whether that goes.
    fn write(self: &Arc<Self>, replies: &mut Replies, mut line: Vec<u8>) -> bool {
        if replies.queue.is_empty() && !replies.is_emptied {
            match send_at_once(&self.stream, &line) {
                Ok(sent) => drop(line.drain(..sent)),
                Err(_) => return false,
            }
        }
        if line.is_empty() {
            return true;
        }
        if !replies.queue.is_empty() && replies.bytes + line.len() > QUEUE_BYTES_MAX {
            return false;
        }
        replies.bytes += line.len();
        replies.queue.push_back(line);
        if !replies.is_emptied {
            let client = Arc::clone(self);
            let thread = std::thread::Builder::new().name("replies".to_owned());
            replies.is_emptied = thread.spawn(move || client.empty()).is_ok();
        }
        replies.is_emptied
    }

    /// Write the queue until it is empty.
    fn empty(&self) {
        let within = self.stream.set_write_timeout(Some(TAKES_WITHIN));
        let mut is_written = within.is_ok();
        loop {
            let mut replies = self.replies();
            if !is_written {
                self.shut(&mut replies);
            }
            let Some(line) = replies.queue.pop_front() else {
                replies.is_emptied = false;
                break;
            };
            drop(replies);
            is_written = (&self.stream).write_all(&line).is_ok();
            let mut replies = self.replies();
            replies.bytes = replies.bytes.saturating_sub(line.len());
            drop(replies);
            self.changed.notify_all();
        }
        self.changed.notify_all();
    }

    /// No more is written, and none of it read.
    fn shut(&self, replies: &mut Replies) {
        replies.is_given_up = true;
        replies.queue.clear();
        replies.bytes = 0;
        // It may be gone already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Wait until another request may be read; false when there will be none.
    fn has_room(&self) -> bool {
        self.wait_while(|replies| {
            replies.unanswered.len() >= UNANSWERED_MAX || replies.bytes > QUEUE_BYTES_ENOUGH
        })
    }

    /// Wait until it has all its replies; false when it is gone before.
    fn await_end(&self) -> bool {
        self.wait_while(|replies| !replies.unanswered.is_empty() || replies.is_emptied)
    }

    /// False when it is gone meanwhile.
    fn wait_while(&self, has_to_wait: impl Fn(&Replies) -> bool) -> bool {
        let mut replies = self.replies();
        while !replies.is_given_up {
            if !has_to_wait(&replies) {
                return true;
            }
            if is_gone(&self.stream) {
                return false;
            }
            let waited = self.changed.wait_timeout(replies, LOOK);
            (replies, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        false
    }

    /// What it still has asked for.
    fn give_up(&self) -> Vec<Ticket> {
        let mut replies = self.replies();
        self.shut(&mut replies);
        replies.unanswered.values().copied().flatten().collect()
    }
}

/// Write what the socket has room for; how much that is.
fn send_at_once(stream: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        match rustix::net::send(stream, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(length) => sent += length,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(sent)
}

/// Whether the other side has closed its end; one that only has no more to say has not.
fn is_gone(stream: &UnixStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::empty())];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let found = rustix::event::poll(&mut polled, Some(&at_once));
    found.is_ok_and(|count| count > 0)
}
