//! The caller's side of a run: start the container, pass signals on, keep time, collect output, judge the end.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::Signal;

use crate::caller::Caller;
use crate::cgroup::{Cgroup, Hierarchies};
use crate::error::{SandboxError, Step, supervising};
use crate::ids::IdSpace;
use crate::init::{self, Job};
use crate::network::{Gateway, HandOut, Network, NetworkReport, Rules, SessionId};
use crate::outcome::{CpuCounter, End, Enforced, Enforcer, Limit, Outcome};
use crate::prepare::Prepared;
use crate::runtime::{self, Bundle, RuntimeProgram, UsedUp};
use crate::signals::Forwarding;
use crate::spec::{Profile, Spec};
use crate::status::Word;
use crate::streams::{Captured, Streams};
use crate::syscall::{self, Child, CloneRequest, Ended};

/// Whether a sandbox can be made by this process at all.
///
/// # Errors
/// When the caller is root neither of the host nor of a user namespace: see [`crate::become_root`].
pub fn preflight() -> Result<(), SandboxError> {
    match Caller::of_process() {
        Caller::Ordinary => Err(SandboxError::NotRoot),
        Caller::HostRoot | Caller::NamespaceRoot { .. } => Ok(()),
    }
}

/// Run a program in a fresh container and wait until everything in it has ended.
///
/// The calling thread must live until then: the container dies with it. Signals are passed on when
/// [`crate::Stdio::Inherit`] says so, and reach this thread only if it is the process's only one, or the others block
/// them.
///
/// A run costs a few milliseconds more than a bare `chroot`, and 7 ms more for each 100 MiB that the caller holds in memory,
/// since the container's processes start as forks of it: a large server had better run from a small process.
///
/// # Errors
/// When the specification is wrong, the container cannot be made, or the program cannot be executed. What the program
/// does is in the outcome.
pub fn run(spec: &Spec<'_>) -> Result<Outcome, SandboxError> {
    run_with(spec, None)
}

/// The same, the program started by an OCI runtime of the host: see the module `runtime` for what it makes and what not.
///
/// # Errors
/// As of [`run`]; also when the runtime cannot do what is asked for.
pub fn run_by(spec: &Spec<'_>, runtime: &RuntimeProgram) -> Result<Outcome, SandboxError> {
    runtime.check(spec)?;
    run_with(spec, Some(runtime))
}

fn run_with(spec: &Spec<'_>, runtime: Option<&RuntimeProgram>) -> Result<Outcome, SandboxError> {
    preflight()?;
    let started = Instant::now();
    let mut prepared = Prepared::new(spec)?;
    let way_out = WayOut::open(spec)?;
    let of_group = runtime.map_or_else(
        || spec.limits.clone(),
        |runtime| runtime.cgroup_limits(&spec.limits),
    );
    let cgroup = Cgroup::create(&Hierarchies::of_host(), &of_group, spec.enforcement)?;
    let enforced = enforce_without_cgroup(spec, &mut prepared, &cgroup);
    let bundle = runtime.map(|runtime| Bundle::make(runtime, spec, &prepared));
    let bundle = match bundle.transpose() {
        Ok(bundle) => bundle,
        Err(error) => {
            cgroup.remove();
            return Err(error);
        }
    };
    let ran = match &way_out {
        Some(way_out) => way_out.gateway.await_ready(),
        None => Ok(()),
    };
    let ran = ran.and_then(|()| {
        contain(
            spec,
            prepared,
            &cgroup,
            (way_out.as_ref(), bundle.as_ref()),
            started,
        )
    });
    let usage = cgroup.usage();
    let used_up = UsedUp {
        memory: usage.oom_kills > 0,
        processes: bundle.is_some() && cgroup.has_refused_processes(),
    };
    cgroup.remove();
    let ran = ran?;
    let end = judge(spec, &ran, used_up, bundle.as_ref())?;
    let network = way_out.map(|way_out| way_out.close(end));
    let (cpu, cpu_by) = usage.cpu.unwrap_or((ran.init.cpu, CpuCounter::EndedProcesses));
    Ok(Outcome {
        end,
        wall: started.elapsed(),
        cpu,
        cpu_by,
        memory_peak_bytes: usage.memory_peak_bytes,
        oom_killed: usage.oom_kills > 0,
        stdout: ran.stdout.bytes,
        stderr: ran.stderr.bytes,
        truncated: ran.stdout.truncated || ran.stderr.truncated,
        enforced,
        network,
    })
}

/// The gateway of one run.
struct WayOut<'a> {
    rules: &'a Rules,
    gateway: Gateway,
    session: SessionId,
    listeners: HandOut,
}

/// How long what a program has sent may still go out when it has ended by itself.
const NETWORK_GRACE: Duration = Duration::from_secs(2);

impl<'a> WayOut<'a> {
    /// Where there are rules. The gateway starts while the container is made.
    fn open(spec: &Spec<'a>) -> Result<Option<Self>, SandboxError> {
        let (Some(rules), Some(program)) = (spec.network.rules(), spec.gateway) else {
            return Ok(None);
        };
        let mut gateway = Gateway::start(program, IdSpace::of(Caller::of_process()).next())?;
        let (session, listeners) = gateway.open(rules);
        Ok(Some(Self {
            rules,
            gateway,
            session,
            listeners,
        }))
    }

    fn close(self, end: End) -> NetworkReport {
        let grace = match end {
            End::Exited(_) => NETWORK_GRACE,
            End::Signaled(_) | End::TimeLimit | End::MemoryLimit => Duration::ZERO,
        };
        self.gateway.close(self.session, self.rules, grace)
    }
}

/// Resource limits stand in for what the cgroup does not hold; what holds each limit.
fn enforce_without_cgroup(spec: &Spec<'_>, prepared: &mut Prepared<'_>, cgroup: &Cgroup) -> Vec<Enforced> {
    let mut enforced = cgroup.enforced().to_vec();
    if !cgroup.holds(Limit::Memory) {
        prepared.address_space_bytes = Some(spec.limits.memory_bytes);
    }
    // The count is by user, and the user of a build by the host's root is root, whom nothing bounds. What another
    // namespace's user has is counted in that namespace (since Linux 5.14).
    let bounded = spec.profile == Profile::Run || prepared.caller.is_namespaced();
    if !cgroup.holds(Limit::Pids) && bounded {
        prepared.processes = Some(spec.limits.pids.into());
    }
    for entry in &mut enforced {
        let stands_in = match entry.limit {
            Limit::Memory => prepared.address_space_bytes.is_some(),
            Limit::Pids => prepared.processes.is_some(),
            _ => false,
        };
        if stands_in {
            entry.by = Enforcer::Rlimit;
        }
    }
    let wall = if spec.limits.wall.is_some() {
        Enforcer::Timer
    } else {
        Enforcer::Nothing
    };
    let others = [
        (Limit::OpenFiles, Enforcer::Rlimit),
        (Limit::Wall, wall),
        (Limit::Tmp, Enforcer::Tmpfs),
        (Limit::Scratch, Enforcer::Tmpfs),
    ];
    enforced.extend(others.map(|(limit, by)| Enforced { limit, by }));
    enforced
}

/// What is known when everything in the container has ended.
struct Ran {
    init: Ended,
    words: Vec<Word>,
    timed_out: bool,
    stdout: Captured,
    stderr: Captured,
}

/// Init, killed when this is dropped before its end.
struct Running(Option<Child>);

impl Running {
    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_ref().map(|child| child.pidfd.as_fd())
    }

    fn kill(&self) {
        if let Some(pidfd) = self.pidfd() {
            // It may have ended already.
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    fn reap(mut self) -> Result<Ended, SandboxError> {
        let child = self.0.take().ok_or(SandboxError::KilledFromOutside)?;
        syscall::reap(child.pidfd.as_fd()).map_err(supervising("wait for the container's end"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        if let Some(child) = self.0.take() {
            let _ = syscall::reap(child.pidfd.as_fd());
        }
    }
}

fn contain(
    spec: &Spec<'_>,
    prepared: Prepared<'_>,
    cgroup: &Cgroup,
    (way_out, bundle): (Option<&WayOut<'_>>, Option<&Bundle>),
    started: Instant,
) -> Result<Ran, SandboxError> {
    let (status_reader, status) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(supervising("make a pipe"))?;
    rustix::io::ioctl_fionbio(&status_reader, true).map_err(supervising("make a pipe"))?;
    let mut streams = Streams::open(spec, prepared.ids.host)?;
    if bundle.is_some_and(Bundle::stays) {
        streams.pipe_files(prepared.ids.host)?;
    }
    let forwarding = Forwarding::start(&spec.stdio).map_err(supervising("watch signals"))?;
    let task_files = cgroup.task_files();
    let mut kept = prepared.kept_numbers(
        &streams.inside,
        &status,
        way_out.map(|way_out| way_out.gateway.control().as_raw_fd()),
    );
    kept.extend(bundle.map(Bundle::number));
    kept.sort_unstable();
    let job = Job {
        prepared: &prepared,
        task_files: &task_files,
        streams: &streams.inside,
        status: &status,
        kept: &kept,
        listeners: way_out.map(|way_out| (&way_out.listeners, way_out.gateway.control())),
    };
    let request = CloneRequest {
        flags: namespaces(spec.network),
        exit_signal: 0,
        cgroup: cgroup.unified(),
    };
    let child = syscall::clone_process(request, || match bundle {
        Some(bundle) => runtime::run(&job, bundle),
        None => init::run(&job),
    });
    let running = Running(Some(
        child.map_err(|errno| SandboxError::Clone { source: errno.into() })?,
    ));
    // The container has its own copies; its ends of the pipes must close with it.
    drop((status, prepared));
    streams.close_inside();
    let deadline = spec.limits.wall.and_then(|wall| started.checked_add(wall));
    let timed_out = watch(&running, deadline, forwarding.as_ref(), &mut streams)?;
    let init = running.reap()?;
    let words = read_words(&status_reader);
    let (stdout, stderr) = streams.finish();
    Ok(Ran {
        init,
        words,
        timed_out,
        stdout,
        stderr,
    })
}

fn namespaces(network: &Network) -> u64 {
    let always = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
    let own_network = match network {
        Network::None | Network::Allow(_) => libc::CLONE_NEWNET,
        Network::Host => 0,
    };
    u64::from((always | own_network).unsigned_abs())
}

/// Until init has ended; whether that was because time was over.
fn watch(
    running: &Running,
    deadline: Option<Instant>,
    forwarding: Option<&Forwarding>,
    streams: &mut Streams,
) -> Result<bool, SandboxError> {
    let Some(pidfd) = running.pidfd() else {
        return Ok(false);
    };
    let mut timed_out = false;
    loop {
        let left = deadline
            .filter(|_| !timed_out)
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            timed_out = true;
            running.kill();
            continue;
        }
        let mut polled = vec![PollFd::new(&pidfd, PollFlags::IN)];
        let signals = forwarding.map(Forwarding::as_fd);
        polled.extend(
            signals
                .as_ref()
                .map(|signals| PollFd::new(signals, PollFlags::IN)),
        );
        polled.extend(
            streams
                .interests()
                .map(|(descriptor, flags)| PollFd::from_borrowed_fd(descriptor, flags)),
        );
        match rustix::event::poll(&mut polled, left.map(timespec).as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(supervising("wait for the container")(errno)),
        }
        let ended = polled.first().is_some_and(|init| !init.revents().is_empty());
        drop(polled);
        if let Some(forwarding) = forwarding {
            forwarding.pass_on(pidfd);
        }
        streams.drain();
        if ended {
            return Ok(timed_out);
        }
    }
}

pub(crate) fn timespec(duration: Duration) -> Timespec {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timespec {
        tv_sec: seconds,
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// What was said; nobody who could say more is left. (No wait for the pipe's end: a fork of the caller by another
/// thread may hold it open.)
fn read_words(pipe: &OwnedFd) -> Vec<Word> {
    let mut bytes = [0; 256];
    let length = rustix::io::read(pipe, &mut bytes).unwrap_or(0);
    Word::parse_all(bytes.get(..length).unwrap_or_default())
}

/// From what the container's processes said, and from what happened to them, to how the run ended.
fn judge(spec: &Spec<'_>, ran: &Ran, used_up: UsedUp, bundle: Option<&Bundle>) -> Result<End, SandboxError> {
    let out_of_memory = used_up.memory;
    for word in &ran.words {
        if let Word::Failed(step, errno) = *word {
            return match bundle {
                Some(_) if ran.timed_out => Ok(End::TimeLimit),
                Some(_) if out_of_memory => Ok(End::MemoryLimit),
                Some(bundle) if step == Step::StartRuntime => Err(bundle.failed()),
                _ => Err(setup_error(spec, step, errno)),
            };
        }
    }
    let ended = ran.words.iter().find_map(|word| match word {
        Word::Ended { code, status } => Some((*code, *status)),
        Word::Failed(..) | Word::Started { .. } | Word::Ready => None,
    });
    match ended {
        Some((libc::CLD_EXITED, status)) if bundle.is_some_and(Bundle::stays) => bundle
            .map_or(Err(SandboxError::KilledFromOutside), |bundle| {
                bundle.judge(status, used_up)
            }),
        Some((libc::CLD_EXITED, status)) => Ok(End::Exited(u8::try_from(status & 0xff).unwrap_or(u8::MAX))),
        Some((_, libc::SIGKILL)) if out_of_memory => Ok(End::MemoryLimit),
        Some((_, signal)) => Ok(End::Signaled(signal)),
        None if ran.timed_out => Ok(End::TimeLimit),
        None if out_of_memory => Ok(End::MemoryLimit),
        None => Err(SandboxError::KilledFromOutside),
    }
}

fn setup_error(spec: &Spec<'_>, step: Step, errno: Errno) -> SandboxError {
    let source = io::Error::from(errno);
    match step {
        Step::Execute => SandboxError::Program {
            program: spec.argv.first().cloned().unwrap_or_default(),
            source,
        },
        step => SandboxError::Setup { step, source },
    }
}
