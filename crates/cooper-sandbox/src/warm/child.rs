//! One child: from the making of its place to what became of its run.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::fallback;
use super::given::Given;
use super::pipes::Pipes;
use super::place::{self, HolderJob};
use super::request::fields;
use super::template::{Pattern, Template, held_bytes, read_words, status_pipe};
use super::way_out::{GRACE, WayOut};
use super::wire::{Frame, Report, WarmEnd, WarmJob, WarmReply};
use crate::cgroup::{Cgroup, Version};
use crate::error::{SandboxError, supervising};
use crate::init::Job;
use crate::outcome::CpuCounter;
use crate::status::Word;
use crate::streams::{Capture, READS_AT_ONCE_MAX, Stream};
use crate::syscall::{self, CloneRequest, Ended, Turn};

/// The namespaces in the order in which a child enters them: the first gives it the right to the others, in the last one
/// it is born.
const NAMESPACES: [&str; 7] = ["user", "mnt", "net", "ipc", "uts", "cgroup", "pid"];
const NAMESPACE_OF_PROCESSES: &str = "pid";
/// A child that takes longer to become ready is given up.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// What was ended is gone within this time.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// What a request's words may have together.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// So many processes are in a child's group when nothing but its holder is.
const HOLDER_ALONE: u64 = 1;

/// Where a child is on its way.
enum State {
    /// Its place is made, or it is entering it.
    Making,
    /// It waits for its request.
    Idle,
    /// It runs.
    Running(Box<Running>),
    /// Its run is answered; what is left of it is about to end.
    Answered,
}

struct Running {
    job: WarmJob,
    started: Instant,
    deadline: Instant,
    timed_out: bool,
}

/// What is left of a child.
pub(super) struct Concluded {
    /// What became of its run.
    pub(super) reply: Option<Frame<Report>>,
    /// Its group.
    pub(super) cgroup: Cgroup,
    /// What takes its time to be let go of.
    pub(super) remains: Vec<OwnedFd>,
}

/// A child with all that is its own.
pub(super) struct Child {
    /// Its user on the host.
    pub(super) user: u32,
    state: State,
    made: Instant,
    cgroup: Cgroup,
    given: Given,
    status: Option<OwnedFd>,
    control: Option<OwnedFd>,
    stdin: Option<(OwnedFd, Vec<u8>, usize)>,
    stdout: Capture,
    stderr: Capture,
    /// The child's ends, and what it joins its cgroup by, until the template has them.
    inside: Vec<OwnedFd>,
    /// The fork that makes its place.
    place: i32,
    holder: Option<(i32, OwnedFd)>,
    /// Keeps the mounts until the run is answered.
    mounts: Option<OwnedFd>,
    /// Its gateway, where there are rules.
    way_out: Option<WayOut>,
    holder_ended: Option<Ended>,
    program: Option<i32>,
    program_ended: Option<Ended>,
    failed: Option<String>,
    /// When it was ended.
    killed: Option<Instant>,
}

impl Child {
    /// Start to make one, for a user that nobody else on the host is now.
    pub(super) fn make(
        pattern: &Pattern,
        template: &Template,
        user: u32,
        cgroup: Option<Cgroup>,
    ) -> Result<Self, SandboxError> {
        let settings = &pattern.settings;
        let namespace = template.namespace.as_ref();
        let namespace = namespace.ok_or_else(|| supervising("make a child")(Errno::SRCH))?;
        let (given, mounts) = Given::make(user, &settings.limits)?;
        let attached = mounts.attached();
        let prepared = pattern.prepared_child(&attached, user)?;
        let limits = settings.limits.limits();
        let new = || Cgroup::create(&pattern.hierarchies, &limits, pattern.enforcement());
        let cgroup = cgroup.map_or_else(new, Ok)?;
        let streams = Pipes::open(settings.limits.stream_bytes_max, user)?;
        let (status, writer) = status_pipe()?;
        let joined = cgroup.join_files(Version::One)?;
        let borrowed: Vec<BorrowedFd<'_>> = joined.iter().map(OwnedFd::as_fd).collect();
        let none = [Stream::Null, Stream::Null, Stream::Null];
        let (way_out, hand_out) = pattern.way_out(user)?.unzip();
        let control = way_out.as_ref().map(WayOut::control);
        let beside = control.iter().map(BorrowedFd::as_raw_fd);
        let own_common = pattern.own_common(user)?;
        let common = own_common.as_ref().unwrap_or(&template.common).as_fd();
        let beside = beside.chain([namespace.as_raw_fd(), common.as_raw_fd()]);
        let beside = beside.chain(joined.iter().map(OwnedFd::as_raw_fd));
        let kept = prepared.kept_numbers(&none, &writer, beside);
        let holder = HolderJob {
            job: Job {
                prepared: &prepared,
                task_files: &[],
                streams: &none,
                status: &writer,
                kept: &kept,
                listeners: hand_out.as_ref().zip(control),
            },
            template: namespace.as_fd(),
            gives_way: pattern.gives_way(&cgroup),
            joined: &borrowed,
            common,
            last_pid: &place::last_pid(),
        };
        let request = CloneRequest {
            flags: 0,
            exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
            cgroup: cgroup.unified(),
        };
        let place = syscall::clone_process(request, || place::make_holder(&holder));
        let place = place.map_err(|errno| SandboxError::Clone { source: errno.into() })?;
        Ok(Self {
            user,
            state: State::Making,
            made: Instant::now(),
            cgroup,
            given,
            status: Some(status),
            control: Some(streams.control),
            stdin: Some((streams.stdin, Vec::new(), 0)),
            stdout: streams.stdout,
            stderr: streams.stderr,
            inside: streams.inside.into_iter().chain(joined).collect(),
            place: place.pid,
            holder: None,
            mounts: None,
            way_out,
            holder_ended: None,
            program: None,
            program_ended: None,
            failed: None,
            killed: None,
        })
    }

    pub(super) fn is_idle(&self) -> bool {
        let is_well = self.failed.is_none() && self.program_ended.is_none();
        matches!(self.state, State::Idle) && is_well && !self.awaits_gateway()
    }

    /// What it has of the host's memory, while it waits.
    pub(super) fn waiting_bytes(&self, pattern: &Pattern) -> u64 {
        let program = self.program.filter(|_| self.is_idle());
        program.map_or(0, |program| held_bytes(pattern, &self.cgroup, program))
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// Whether this is its run.
    pub(super) fn runs(&self, id: u64) -> bool {
        matches!(&self.state, State::Running(running) if running.job.id == id)
    }

    fn awaits_gateway(&self) -> bool {
        self.way_out.as_ref().is_some_and(|way_out| !way_out.is_ready())
    }

    pub(super) fn is_answered(&self) -> bool {
        matches!(self.state, State::Answered)
    }

    /// Whether its program has ended, and what that left has still to be ended.
    pub(super) fn is_to_be_ended(&self) -> bool {
        self.program_ended.is_some() && self.killed.is_none() && self.holder_ended.is_none()
    }

    /// The descriptors that may bring something.
    pub(super) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let waits = matches!(self.state, State::Making)
            .then_some(self.control.as_ref())
            .flatten();
        let own = [self.status.as_ref(), waits];
        let outputs = [self.stdout.pipe(), self.stderr.pipe()];
        own.into_iter()
            .flatten()
            .map(OwnedFd::as_fd)
            .chain(outputs.into_iter().flatten())
            .chain(self.way_out.as_ref().and_then(WayOut::watched))
    }

    /// The descriptor that can take something, while there is something to give.
    pub(super) fn fed(&self) -> Option<BorrowedFd<'_>> {
        let (pipe, bytes, at) = self.stdin.as_ref()?;
        (self.is_running() && *at < bytes.len()).then_some(pipe.as_fd())
    }

    /// When something has to be done about it at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match (&self.state, self.killed) {
            (_, Some(_)) if self.is_over() => self.way_out.as_ref().and_then(WayOut::deadline),
            (_, Some(killed)) => killed.checked_add(GONE_WITHIN),
            (State::Idle, None) if self.awaits_gateway() => self.made.checked_add(READY_WITHIN),
            (State::Making, None) => self.made.checked_add(READY_WITHIN),
            (State::Idle | State::Answered, None) => None,
            (State::Running(running), None) => Some(running.deadline),
        }
    }

    /// Look at everything that it may have said or done.
    pub(super) fn attend(&mut self, pattern: &Pattern, template: &Template) {
        if let Err(error) = self.hear(pattern, template).and_then(|()| self.hear_gateway()) {
            self.fail(&error);
        }
        self.stdout.drain(READS_AT_ONCE_MAX);
        self.stderr.drain(READS_AT_ONCE_MAX);
        self.feed();
        let is_late = self.deadline().is_some_and(|deadline| deadline <= Instant::now());
        if is_late && self.killed.is_none() {
            match &mut self.state {
                State::Running(running) => running.timed_out = true,
                _ => self.failed = Some("it did not become ready in time".to_owned()),
            }
            self.kill();
        }
    }

    fn hear(&mut self, pattern: &Pattern, template: &Template) -> Result<(), SandboxError> {
        let words = self.status.as_ref().map(read_words).unwrap_or_default();
        for word in words {
            match word {
                Word::Failed(step, errno) => {
                    let source = errno.into();
                    return Err(SandboxError::Setup { step, source });
                }
                Word::Started { pid } => {
                    let number =
                        Pid::from_raw(pid).ok_or_else(|| supervising("find the holder")(Errno::SRCH))?;
                    let opened = rustix::process::pidfd_open(number, PidfdFlags::empty());
                    self.holder = Some((pid, opened.map_err(supervising("find the holder"))?));
                }
                Word::Ready => {
                    self.status = None;
                    self.take_turns(pattern, self.holder.as_ref().map(|(pid, _)| *pid))?;
                    self.ask(pattern, template)?;
                }
                Word::Ended { .. } => {}
            }
        }
        if matches!(self.state, State::Making) && self.status.is_none() {
            self.greet(pattern, template)?;
        }
        Ok(())
    }

    fn hear_gateway(&mut self) -> Result<(), SandboxError> {
        let has_begun = self.is_running();
        let way_out = self.way_out.as_mut();
        way_out.map_or(Ok(()), |way_out| way_out.hear(has_begun))
    }

    /// Have the template fork for this place.
    fn ask(&mut self, pattern: &Pattern, template: &Template) -> Result<(), SandboxError> {
        let holder = self.holder.as_ref().map_or(0, |(pid, _)| *pid);
        let mut namespaces = Vec::with_capacity(NAMESPACES.len());
        for name in NAMESPACES {
            namespaces.push(pattern.namespace(holder, name)?);
        }
        let joined = self.cgroup.join_files(Version::Two)?;
        let all = namespaces.iter().chain(&self.inside).chain(&joined);
        let all: Vec<BorrowedFd<'_>> = all.map(OwnedFd::as_fd).collect();
        template.ask(&all)?;
        self.inside.clear();
        // The second one.
        self.mounts = namespaces.into_iter().nth(1);
        Ok(())
    }

    /// Read the child's word that it is ready; the kernel says who it is.
    fn greet(&mut self, pattern: &Pattern, template: &Template) -> Result<(), SandboxError> {
        let Some(control) = &self.control else {
            return Ok(());
        };
        let mut word = [0; 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = [IoSliceMut::new(&mut word)];
        let received = rustix::net::recvmsg(control, &mut buffer, &mut ancillary, RecvFlags::DONTWAIT);
        let length = match received {
            Ok(received) => received.bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(supervising("hear from a child")(errno)),
        };
        let sender = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials),
            _ => None,
        });
        // It is the user that it was to become.
        let sender = sender.filter(|sender| sender.uid.as_raw() == self.user);
        let sender = sender.map(|sender| sender.pid.as_raw_nonzero().get());
        let known = |pid: i32| pid == template.pid || Some(pid) == self.holder.as_ref().map(|(pid, _)| *pid);
        match sender.filter(|pid| !known(*pid)) {
            Some(pid)
                if word.get(..length) == Some(b"ready")
                    && self.cgroup.holds_processes(2)
                    && self.ends_with_holder(pattern, pid)? =>
            {
                fallback::bound_child(pattern, &self.cgroup, pid)?;
                self.take_turns(pattern, Some(pid))?;
                self.program = Some(pid);
                self.state = State::Idle;
                Ok(())
            }
            _ => Err(supervising("hear from a child")(Errno::PROTO)),
        }
    }

    /// What is made ahead gives way to what runs; from here on this process does not.
    fn take_turns(&self, pattern: &Pattern, pid: Option<i32>) -> Result<(), SandboxError> {
        let pid = pid.filter(|_| pattern.gives_way(&self.cgroup));
        pid.map_or(Ok(()), |pid| {
            syscall::set_turn(pid, Turn::Usual).map_err(supervising("let a child take turns"))
        })
    }

    /// Whether a process is in the holder's pid namespace. A library that is preloaded can change what its template does: a child
    /// could say that it is ready without having entered anything, and would outlive its time.
    fn ends_with_holder(&self, pattern: &Pattern, pid: i32) -> Result<bool, SandboxError> {
        let holder = self.holder.as_ref().map_or(0, |(pid, _)| *pid);
        let of = |pid: i32| {
            let namespace = pattern.namespace(pid, NAMESPACE_OF_PROCESSES)?;
            let status = rustix::fs::fstat(&namespace).map_err(supervising("tell namespaces apart"))?;
            Ok::<_, SandboxError>((status.st_dev, status.st_ino))
        };
        Ok(of(holder)? == of(pid)?)
    }

    /// Give it its one request. `parts` are the script, standard input, then the files.
    pub(super) fn begin(&mut self, pattern: &Pattern, job: WarmJob, parts: Vec<Vec<u8>>) {
        self.cgroup.begin();
        let started = Instant::now();
        let deadline = started.checked_add(job.wall);
        let mut parts = parts.into_iter();
        let (script, stdin) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if let Err(error) = self.hand_over(pattern, &job, &script, parts) {
            self.fail(&error);
        }
        if let Some((_, bytes, _)) = &mut self.stdin {
            *bytes = stdin;
        }
        self.state = State::Running(Box::new(Running {
            deadline: deadline.unwrap_or(started + Duration::from_secs(1 << 30)),
            job,
            started,
            timed_out: false,
        }));
        self.feed();
    }

    fn hand_over(
        &mut self,
        pattern: &Pattern,
        job: &WarmJob,
        script: &[u8],
        files: impl Iterator<Item = Vec<u8>>,
    ) -> Result<(), SandboxError> {
        self.given.put_script(&job.script_name, script)?;
        for (file, bytes) in job.files.iter().zip(files) {
            self.given.put_file(file, &bytes)?;
        }
        let request = fields(pattern, job)?;
        if request.len() > REQUEST_BYTES_MAX {
            return Err(supervising("give a run its arguments")(Errno::TOOBIG));
        }
        let length = u32::try_from(request.len()).unwrap_or(u32::MAX).to_ne_bytes();
        let control = self.control.take();
        let control = control.ok_or_else(|| supervising("give a run its request")(Errno::PIPE))?;
        let bytes = [length.as_slice(), &request].concat();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let sent = rustix::net::send(&control, rest, SendFlags::NOSIGNAL);
            let sent = sent.map_err(supervising("give a run its request"))?;
            rest = rest.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Write what fits into standard input; it ends after the last byte.
    fn feed(&mut self) {
        let is_running = self.is_running();
        let Some((pipe, bytes, at)) = &mut self.stdin else {
            return;
        };
        while let Some(rest) = bytes.get(*at..).filter(|rest| !rest.is_empty()) {
            match rustix::io::write(&*pipe, rest) {
                Ok(written) => *at += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => *at = bytes.len(),
            }
        }
        if is_running {
            self.stdin = None;
        }
    }

    fn fail(&mut self, error: &SandboxError) {
        self.failed = Some(error.with_cause());
        self.kill();
    }

    /// Whether it was ended long ago and is still there. A library that is preloaded can see to that.
    pub(super) fn is_stuck(&self) -> bool {
        !self.is_over() && self.killed.is_some_and(|killed| killed.elapsed() > GONE_WITHIN)
    }

    /// End everything in it.
    pub(super) fn kill(&mut self) {
        self.killed.get_or_insert_with(Instant::now);
        if let Some((_, descriptor)) = &self.holder {
            // It may have ended already.
            let _ = rustix::process::pidfd_send_signal(descriptor, Signal::KILL);
        }
    }

    /// Whether this was a process of its own; notes its end.
    pub(super) fn reaped(&mut self, ended: Ended) -> bool {
        if ended.pid == self.place {
            self.place = 0;
            return true;
        }
        if self.holder.as_ref().is_some_and(|(pid, _)| *pid == ended.pid) && self.holder_ended.is_none() {
            self.holder_ended = Some(ended);
            return true;
        }
        if self.program == Some(ended.pid) && self.program_ended.is_none() {
            self.program_ended = Some(ended);
            return true;
        }
        false
    }

    /// Whether nothing of it is alive any more. The holder, pid 1 of the program's namespace, ends last: a program whose end
    /// was not seen by then was no child of the keeper, and never will be seen to end.
    fn is_over(&self) -> bool {
        let holder_over = self.holder.is_none() || self.holder_ended.is_some();
        let program_over =
            self.program.is_none() || self.program_ended.is_some() || self.holder_ended.is_some();
        let ends = self.failed.is_some() || self.holder_ended.is_some();
        self.place == 0 && holder_over && program_over && ends
    }

    /// Whether it is over and can be answered: of a run it is known too what became of its connections.
    pub(super) fn is_concluded(&mut self) -> bool {
        let (is_over, is_running) = (self.is_over(), self.is_running());
        let has_exited = self
            .program_ended
            .is_some_and(|ended| ended.code == libc::CLD_EXITED);
        match &mut self.way_out {
            Some(way_out) if is_over && is_running => {
                way_out.close(if has_exited { GRACE } else { Duration::ZERO });
                way_out.is_settled()
            }
            _ => is_over,
        }
    }

    /// Why it cannot be used, where that is so.
    pub(super) fn fault(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// What became of its run, where its program has ended and has left nothing that runs: that is then not waited for to
    /// end with the holder. (Where nothing counts processes, nobody knows.)
    pub(super) fn reply_if_alone(&mut self, pattern: &Pattern) -> Option<Frame<Report>> {
        let is_whole = self.is_to_be_ended() && self.is_running() && self.failed.is_none();
        // What becomes of a run's connections is known later.
        let is_whole = is_whole && self.way_out.is_none();
        if is_whole && self.cgroup.processes() == Some(HOLDER_ALONE) {
            self.reply(pattern)
        } else {
            None
        }
    }

    /// What became of it, if it had a request that is not answered, and what is left.
    pub(super) fn conclude(mut self, pattern: &Pattern) -> Concluded {
        Concluded {
            reply: self.reply(pattern),
            cgroup: self.cgroup,
            remains: self.given.into_remains().into_iter().chain(self.mounts).collect(),
        }
    }

    fn reply(&mut self, pattern: &Pattern) -> Option<Frame<Report>> {
        let State::Running(running) = std::mem::replace(&mut self.state, State::Answered) else {
            return None;
        };
        let Running {
            job,
            started,
            timed_out,
            ..
        } = *running;
        self.stdout.drain(u32::MAX);
        self.stderr.drain(u32::MAX);
        let usage = self.cgroup.usage();
        let wall = started.elapsed();
        let limits = &pattern.settings.limits;
        let result = self.given.result(limits.result_bytes_max);
        let left = self.given.left(limits);
        let out_of_memory = usage.oom_kills > 0;
        let end = match (self.program_ended, self.failed.is_some()) {
            _ if timed_out => WarmEnd::TimeLimit,
            (_, true) | (None, _) => WarmEnd::Failed,
            (Some(ended), _) => match (ended.code, ended.status) {
                (libc::CLD_EXITED, status) => WarmEnd::Exited(u8::try_from(status & 0xff).unwrap_or(u8::MAX)),
                (_, libc::SIGKILL) if out_of_memory => WarmEnd::MemoryLimit,
                (_, signal) => WarmEnd::Signaled(signal),
            },
        };
        let (cpu, cpu_by) = usage
            .cpu
            .unwrap_or_else(|| (self.ended_cpu(pattern), CpuCounter::EndedProcesses));
        let [stdout, stderr] =
            [&mut self.stdout, &mut self.stderr].map(|capture| std::mem::take(capture).finish());
        let (result, result_fault) = match result {
            Ok(result) => (result, None),
            Err(refusal) => (None, Some(refusal)),
        };
        let (outputs, contents): (Vec<String>, Vec<Vec<u8>>) = left.files.into_iter().unzip();
        let reply = WarmReply {
            id: job.id,
            end,
            wall,
            cpu,
            cpu_by,
            memory_peak_bytes: usage.memory_peak_bytes,
            stdout_truncated: stdout.truncated,
            stderr_truncated: stderr.truncated,
            has_result: result.is_some(),
            result_fault,
            outputs,
            outputs_refused: left.refused,
            outputs_refused_beside: left.refused_beside,
            network: self.way_out.take().map(WayOut::into_report),
        };
        let mut parts = vec![stdout.bytes, stderr.bytes, result.unwrap_or_default()];
        parts.extend(contents);
        Some(Frame {
            header: Report::Done(Box::new(reply)),
            parts,
        })
    }

    /// The processor time of its program and holder, as far as they have ended, and of what the holder has waited for while
    /// that is there: afterwards its own end tells it.
    fn ended_cpu(&self, pattern: &Pattern) -> Duration {
        let ended = [self.program_ended, self.holder_ended];
        let own: Duration = ended.into_iter().flatten().map(|ended| ended.cpu).sum();
        let holder = self.holder.as_ref().filter(|_| self.holder_ended.is_none());
        let ticks = holder.and_then(|(pid, _)| pattern.children_ticks(*pid));
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        own + Duration::from_millis(ticks.unwrap_or(0).saturating_mul(1000) / per_second)
    }
}
