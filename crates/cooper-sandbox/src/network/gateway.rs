//! The supervisor's side of a gateway: start it, open and close its sessions, end it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use rustix::process::Signal;

use super::endpoint::HandOut;
use super::report::NetworkReport;
use super::rules::Rules;
use super::wire::{self, MESSAGE_BYTES_MAX, Notice, Request};
use crate::error::SandboxError;
use crate::supervise::timespec;
use crate::syscall::{self, CStringArray, Child, CloneRequest, SignalSet};

/// The name by which a gateway is executed: the first word of its command line.
pub(super) const COMMAND: &str = "cooper-gateway";

/// The program that a gateway is: one whose `main` begins with [`super::serve_gateway`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayProgram(PathBuf);

impl GatewayProgram {
    /// The executable that is running.
    pub fn this_executable() -> Self {
        Self::at("/proc/self/exe")
    }

    /// The executable file at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

/// One run as its gateway knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(super) u64);

/// A running gateway; killed when this is dropped. It serves any number of runs, each a session with its own rules.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    control: OwnedFd,
    next_session: u64,
}

/// What a gateway has said.
pub(crate) enum Heard {
    /// Nothing yet.
    Nothing,
    /// It serves.
    Ready,
    /// Its session has ended.
    Report(NetworkReport),
    /// It is gone, or of no use, and why.
    Lost(String),
}

/// How long a gateway may take to start.
const READY_MAX: Duration = Duration::from_secs(10);
/// How long a report may take beyond what connections get to finish.
const REPORT_MAX: Duration = Duration::from_secs(5);

fn failed(operation: &'static str) -> impl Fn(Errno) -> SandboxError {
    move |errno| SandboxError::Gateway {
        operation,
        source: errno.into(),
    }
}

impl Gateway {
    /// Start one as this user of the host, who should be nobody else. It dies with the thread that calls this.
    ///
    /// # Errors
    /// When a socket or a process cannot be made.
    pub fn start(program: &GatewayProgram, user: u32) -> Result<Self, SandboxError> {
        let text = |bytes: &[u8]| {
            CString::new(bytes).map_err(|_| SandboxError::Spec {
                reason: "the gateway's path holds a zero byte".to_owned(),
            })
        };
        let path = text(program.path().as_os_str().as_bytes())?;
        let arguments = CStringArray::new(vec![
            text(COMMAND.as_bytes())?,
            text(user.to_string().as_bytes())?,
        ]);
        let environment = CStringArray::new(Vec::new());
        let null = rustix::fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(failed("open /dev/null for the gateway"))?;
        let pair = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        );
        let (control, its_end) = pair.map_err(failed("make the gateway's control socket"))?;
        let request = CloneRequest {
            flags: 0,
            exit_signal: 0,
            cgroup: None,
        };
        let child = syscall::clone_process(request, || {
            // Only an error comes back: the supervisor sees the socket close.
            let _ = prepare_to_execute(its_end.as_fd(), null.as_fd());
            syscall::execve(&path, &arguments, &environment);
        });
        Ok(Self {
            child: child.map_err(failed("start the gateway"))?,
            control,
            next_session: 0,
        })
    }

    /// Wait until it has given up its privileges and serves.
    ///
    /// # Errors
    /// When it cannot, or has ended.
    pub fn await_ready(&self) -> Result<(), SandboxError> {
        let deadline = Instant::now() + READY_MAX;
        let not_started = |reason: String| SandboxError::Gateway {
            operation: "start the gateway",
            source: io::Error::other(reason),
        };
        match self.next_notice(deadline) {
            Ok(Some(Notice::Ready)) => Ok(()),
            Ok(Some(Notice::Failed(reason))) => Err(not_started(reason)),
            Ok(_) => Err(not_started("it ended, or does not answer".to_owned())),
            Err(errno) => Err(failed("start the gateway")(errno)),
        }
    }

    /// Begin a session: what its network namespace needs, to be prepared before a fork.
    pub fn open(&mut self, rules: &Rules) -> (SessionId, HandOut) {
        let session = SessionId(self.next_session);
        self.next_session += 1;
        (session, HandOut::new(session, rules))
    }

    /// Where [`HandOut::make_listeners`] sends the listeners.
    pub fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// End a session whose program has ended, and wait for what became of it. What the program has sent may still go out
    /// for the time of `grace`. Other sessions' reports that come meanwhile are lost: close from one thread.
    pub fn close(&self, session: SessionId, rules: &Rules, grace: Duration) -> NetworkReport {
        let deadline = Instant::now() + grace + REPORT_MAX;
        if self.ask_to_close(session, grace).is_err() {
            return NetworkReport::lost();
        }
        loop {
            match self.next_notice(deadline) {
                Ok(Some(Notice::Report { session: of, text })) if of == session => {
                    return NetworkReport::parse(&text, rules);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return NetworkReport::lost(),
            }
        }
    }

    /// The same without waiting: what became of it is heard later ([`Self::hear`]), or not at all when it took longer than
    /// the time that comes back.
    pub(crate) fn ask_to_close(&self, session: SessionId, grace: Duration) -> Result<Duration, Errno> {
        let request = Request::Close {
            session,
            grace_ms: u32::try_from(grace.as_millis()).unwrap_or(u32::MAX),
        };
        wire::send(self.control.as_fd(), &request.to_bytes(), None)?;
        Ok(grace + REPORT_MAX)
    }

    /// What it has said meanwhile, without waiting. The rules are those of its one session.
    pub(crate) fn hear(&self, rules: &Rules) -> Heard {
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let received = wire::receive(self.control.as_fd(), &mut buffer, RecvFlags::DONTWAIT);
        let notice = match received {
            Err(Errno::AGAIN) => return Heard::Nothing,
            Err(errno) => return Heard::Lost(errno.to_string()),
            Ok(None) => return Heard::Lost("it ended".to_owned()),
            Ok(Some((length, _))) => Notice::parse(buffer.get(..length).unwrap_or_default()),
        };
        match notice {
            Some(Notice::Ready) => Heard::Ready,
            Some(Notice::Report { text, .. }) => Heard::Report(NetworkReport::parse(&text, rules)),
            Some(Notice::Failed(reason)) => Heard::Lost(reason),
            None => Heard::Lost("it says what makes no sense".to_owned()),
        }
    }

    /// `None` when it has ended or the time is over; what is no notice is none either.
    fn next_notice(&self, deadline: Instant) -> Result<Option<Notice>, Errno> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut polled = [PollFd::new(&self.control, PollFlags::IN)];
            match rustix::event::poll(&mut polled, Some(&timespec(left))) {
                Ok(0) => return Ok(None),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        let mut buffer = vec![0; MESSAGE_BYTES_MAX];
        let received = wire::receive(self.control.as_fd(), &mut buffer, RecvFlags::DONTWAIT)?;
        Ok(received.and_then(|(length, _)| Notice::parse(buffer.get(..length)?)))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
        let _ = syscall::reap(self.child.pidfd.as_fd());
    }
}

/// After the fork: standard input is the control socket, and nothing else of the caller's is left. A session of its own
/// keeps the signals of a terminal away.
fn prepare_to_execute(control: BorrowedFd<'_>, null: BorrowedFd<'_>) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::setsid()?;
    rustix::stdio::dup2_stdin(control)?;
    rustix::stdio::dup2_stdout(null)?;
    rustix::stdio::dup2_stderr(null)?;
    syscall::close_range(3, RawFd::MAX, true)?;
    syscall::reset_signals();
    syscall::set_blocked(SignalSet::EMPTY)?;
    rustix::process::chdir(c"/")
}
