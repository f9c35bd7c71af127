//! The system calls that rustix does not offer as safe functions. All `unsafe` of this crate is here.
//!
//! What runs between fork and exec may be a child of a process with threads: these functions allocate nothing and
//! take no lock, unless they say so.
#![expect(unsafe_code, reason = "the one file of system calls")]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use rustix::io::Errno;

use crate::bpf::Instruction;

type Result<T> = std::result::Result<T, Errno>;

fn check(value: c_long) -> Result<c_long> {
    if value >= 0 {
        return Ok(value);
    }
    // SAFETY: the C library's pointer to this thread's errno is always valid.
    let number = unsafe { *libc::__errno_location() };
    Err(Errno::from_raw_os_error(number))
}

/// Strings in the form that `execve` takes: null-terminated, and an array of pointers that ends with null.
pub(crate) struct CStringArray {
    pointers: Vec<*const c_char>,
    _owned: Vec<CString>,
}

impl CStringArray {
    /// Allocates.
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        let pointers = strings
            .iter()
            .map(|text| text.as_ptr())
            .chain([ptr::null()])
            .collect();
        Self {
            pointers,
            _owned: strings,
        }
    }
}

/// Replace the program; returns only when that failed.
pub(crate) fn execve(path: &CStr, arguments: &CStringArray, environment: &CStringArray) -> Errno {
    // SAFETY: both arrays end with null, and their strings live as long as the arrays.
    let value = unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    check(c_long::from(value)).err().unwrap_or(Errno::INVAL)
}

/// End the process at once: no destructors, no exit handlers.
pub(crate) fn exit_now(status: u8) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(c_int::from(status)) }
}

/// What a clone is made with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CloneRequest<'a> {
    /// `CLONE_*`; none that shares memory.
    pub(crate) flags: u64,
    /// The signal that the parent gets at the end, 0 for none.
    pub(crate) exit_signal: u64,
    /// The version-2 cgroup that the child starts in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Child {
    /// In the caller's pid namespace.
    pub(crate) pid: i32,
    /// Refers to that process and no other.
    pub(crate) pidfd: OwnedFd,
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_VM: u64 = 0x100;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Ends the process when the child's function returns or panics.
struct ExitGuard;

impl Drop for ExitGuard {
    fn drop(&mut self) {
        exit_now(125);
    }
}

/// Fork by `clone3(2)`: `child` runs in a copy of this process, with signal handlers reset, and never returns here.
///
/// `child` must not allocate or take locks: another thread may have held them when the copy was made.
pub(crate) fn clone_process(request: CloneRequest<'_>, child: impl FnOnce()) -> Result<Child> {
    let mut pidfd: RawFd = -1;
    let mut arguments = CloneArgs {
        flags: (request.flags & !CLONE_VM) | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: request.exit_signal,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = request.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::BADF)?;
    }
    // SAFETY: without CLONE_VM this is a fork: the child works on a copy of all memory, on a copy of this stack.
    // The arguments are a valid `struct clone_args`, and `pidfd` outlives the call.
    let pid = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            ptr::from_ref(&arguments),
            size_of::<CloneArgs>(),
        )
    })?;
    if pid == 0 {
        let _guard = ExitGuard;
        child();
        exit_now(125);
    }
    // SAFETY: the kernel has stored a new descriptor there, which nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Child {
        pid: i32::try_from(pid).map_err(|_| Errno::RANGE)?,
        pidfd,
    })
}

/// Hand this process's memory over: start a process by `clone(2)` that goes on with it, on the stack given, where `child` runs and
/// never returns; then do the rest, and end. Nothing of the memory is copied.
///
/// `child` and `then` must not allocate or take locks; and `then`, which runs beside `child`, must make no call that sets the
/// C library's errno, which they share.
pub(crate) fn hand_over<F: Fn()>(
    flags: c_int,
    stack: &mut [MaybeUninit<u8>],
    child: &F,
    then: impl FnOnce(Result<i32>),
) -> ! {
    extern "C" fn enter<F: Fn()>(child: *mut c_void) -> c_int {
        let _guard = ExitGuard;
        // SAFETY: it is the reference that `hand_over` was given, whose frame is never left.
        let child = unsafe { &*child.cast::<F>() };
        child();
        125
    }
    let top = stack.as_mut_ptr_range().end;
    let argument = ptr::from_ref(child).cast_mut().cast();
    let flags = flags | libc::CLONE_VM | libc::SIGCHLD;
    // SAFETY: the stack is used by the new process alone, and both it and what `child` borrows stay where they are: this
    // function does not return, and its process's end leaves the memory to the new one.
    let pid = check(c_long::from(unsafe {
        libc::clone(enter::<F>, top.cast(), flags, argument)
    }));
    then(pid.and_then(|pid| i32::try_from(pid).map_err(|_| Errno::RANGE)));
    exit_now(0)
}

/// Whether a process gives way to whoever else wants its processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It gives way (`SCHED_IDLE`).
    Last,
    /// As usual.
    Usual,
}

/// Set that for a process, 0 for the caller.
pub(crate) fn set_turn(pid: i32, turn: Turn) -> Result<()> {
    let policy = match turn {
        Turn::Last => libc::SCHED_IDLE,
        Turn::Usual => libc::SCHED_OTHER,
    };
    let priority: c_int = 0;
    // SAFETY: `struct sched_param` is one number, which outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            pid,
            policy,
            ptr::from_ref(&priority),
        )
    })
    .map(|_| ())
}

/// Enter new namespaces.
pub(crate) fn unshare(flags: c_int) -> Result<()> {
    // SAFETY: no flag used here shares or unshares memory.
    check(c_long::from(unsafe { libc::unshare(flags) })).map(|_| ())
}

/// How a child ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    /// In the caller's pid namespace.
    pub(crate) pid: i32,
    /// `si_code`
    pub(crate) code: i32,
    /// `si_status`
    pub(crate) status: i32,
    /// Processor time of it and of the children that it waited for.
    pub(crate) cpu: Duration,
}

/// Wait for any child that has ended; `None` when none has, or there is none.
pub(crate) fn reap_any() -> Option<Ended> {
    wait(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::__WALL)
        .ok()
        .filter(|ended| ended.pid != 0)
}

/// Wait until this child has ended.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> Result<Ended> {
    loop {
        match wait(libc::P_PIDFD, pidfd.as_raw_fd(), libc::WEXITED | libc::__WALL) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

fn wait(kind: libc::idtype_t, id: RawFd, options: c_int) -> Result<Ended> {
    // SAFETY: zeroed bytes are a valid `siginfo_t` and a valid `rusage`.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both structures outlive the call, and are what the kernel expects.
    check(unsafe {
        libc::syscall(
            libc::SYS_waitid,
            kind,
            id,
            ptr::from_mut(&mut info),
            options,
            ptr::from_mut(&mut usage),
        )
    })?;
    // SAFETY: `waitid` fills the fields of a child's end, or leaves zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
    Ok(Ended {
        pid,
        code: info.si_code,
        status,
        cpu,
    })
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// A set of signals as the kernel has it: bit `n - 1` is signal `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalSet(pub(crate) u64);

impl SignalSet {
    pub(crate) const EMPTY: Self = Self(0);
    pub(crate) const ALL: Self = Self(u64::MAX);

    pub(crate) fn with(self, signal: c_int) -> Self {
        u32::try_from(signal - 1)
            .ok()
            .and_then(|bit| 1_u64.checked_shl(bit))
            .map_or(self, |bit| Self(self.0 | bit))
    }
}

const SIGNAL_SET_BYTES: usize = size_of::<u64>();

/// Block these signals and no others in this thread; the set that was blocked before.
pub(crate) fn set_blocked(set: SignalSet) -> Result<SignalSet> {
    mask(libc::SIG_SETMASK, set)
}

/// Block these signals too in this thread; the set that was blocked before.
pub(crate) fn block(set: SignalSet) -> Result<SignalSet> {
    mask(libc::SIG_BLOCK, set)
}

fn mask(how: c_int, set: SignalSet) -> Result<SignalSet> {
    let mut old = 0_u64;
    // SAFETY: both sets are 64-bit words that outlive the call, as the size says.
    check(unsafe {
        let (new, old) = (ptr::from_ref(&set.0), ptr::from_mut(&mut old));
        libc::syscall(libc::SYS_rt_sigprocmask, how, new, old, SIGNAL_SET_BYTES)
    })?;
    Ok(SignalSet(old))
}

/// `struct sigaction` of the kernel.
#[repr(C)]
#[derive(Default)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// Whether this process ignores the signal.
pub(crate) fn is_ignored(signal: c_int) -> bool {
    let mut action = KernelAction::default();
    // SAFETY: a null new action only asks; the old one is a valid `struct sigaction` that outlives the call.
    let value = unsafe {
        let (new, old) = (ptr::null::<KernelAction>(), ptr::from_mut(&mut action));
        libc::syscall(libc::SYS_rt_sigaction, signal, new, old, SIGNAL_SET_BYTES)
    };
    value == 0 && action.handler == libc::SIG_IGN
}

/// Give every signal its default action.
pub(crate) fn reset_signals() {
    let action = KernelAction::default();
    for signal in 1..=64 {
        // SAFETY: a zeroed action is SIG_DFL; where the kernel refuses (SIGKILL, SIGSTOP), nothing changes.
        unsafe {
            let old = ptr::null_mut::<KernelAction>();
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                ptr::from_ref(&action),
                old,
                SIGNAL_SET_BYTES,
            );
        }
    }
}

/// A descriptor from which these signals are read while they are blocked.
pub(crate) fn signalfd(set: SignalSet) -> Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is a 64-bit word that outlives the call, as the size says.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_signalfd4,
            -1,
            ptr::from_ref(&set.0),
            SIGNAL_SET_BYTES,
            flags,
        )
    })?;
    let fd = RawFd::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A signal that was waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    /// Its number.
    pub(crate) signal: c_int,
    /// The word that its sender gave it, 0 where it gave none.
    pub(crate) word: usize,
}

/// Wait for any signal; all must be blocked.
pub(crate) fn wait_signal() -> Result<Received> {
    // SAFETY: zeroed bytes are a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let (set, forever) = (SignalSet::ALL.0, ptr::null::<libc::timespec>());
    // SAFETY: the set is a 64-bit word, and both it and `info` outlive the call.
    check(unsafe {
        let (set, info) = (ptr::from_ref(&set), ptr::from_mut(&mut info));
        libc::syscall(libc::SYS_rt_sigtimedwait, set, info, forever, SIGNAL_SET_BYTES)
    })?;
    let queued = info.si_code == libc::SI_QUEUE;
    let word = if queued {
        // SAFETY: with SI_QUEUE the kernel has filled the value; the union's pointer may hold any word.
        unsafe { info.si_value().sival_ptr as usize }
    } else {
        0
    };
    Ok(Received {
        signal: info.si_signo,
        word,
    })
}

/// `siginfo_t` of a queued signal.
#[repr(C)]
struct QueuedSignal {
    signal: c_int,
    errno: c_int,
    code: c_int,
    padding: c_int,
    pid: c_int,
    uid: u32,
    word: usize,
    rest: [u64; 12],
}

/// Queue a signal with a word for the process that the descriptor refers to.
pub(crate) fn queue_signal(pidfd: BorrowedFd<'_>, signal: c_int, word: usize) -> Result<()> {
    let info = QueuedSignal {
        signal,
        errno: 0,
        code: libc::SI_QUEUE,
        padding: 0,
        pid: 0,
        uid: 0,
        word,
        rest: [0; 12],
    };
    const { assert!(size_of::<QueuedSignal>() == size_of::<libc::siginfo_t>()) };
    // SAFETY: `info` has the size and layout of `siginfo_t` and outlives the call.
    let value = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::from_ref(&info),
            0,
        )
    };
    check(value).map(|_| ())
}

/// Close, or mark as closed at exec, every descriptor from `first` to `last`.
pub(crate) fn close_range(first: RawFd, last: RawFd, at_exec: bool) -> Result<()> {
    let flags = if at_exec { libc::CLOSE_RANGE_CLOEXEC } else { 0 };
    // SAFETY: used only in a process that execs or exits without using those descriptors again.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(|_| ())
}

#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Attributes of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MountFlags(pub(crate) u64);

impl MountFlags {
    pub(crate) const READ_ONLY: u64 = 1;
    pub(crate) const NO_SUID: u64 = 2;
    pub(crate) const NO_DEV: u64 = 4;
    pub(crate) const NO_EXEC: u64 = 8;
}

/// Set attributes of the mount that `path` below `directory` is the root of, and make it private: what is mounted on
/// it later is seen nowhere else. An empty path means `directory`.
pub(crate) fn set_mount_flags(directory: BorrowedFd<'_>, path: &CStr, flags: MountFlags) -> Result<()> {
    let attributes = MountAttributes {
        set: flags.0,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        user_namespace: 0,
    };
    set_mount_attributes(directory, path, &attributes)
}

/// Let this detached mount show owners by the map of ids of this user namespace.
pub(crate) fn set_mount_owners(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<()> {
    const MAP_IDS: u64 = 0x10_0000;
    let attributes = MountAttributes {
        set: MAP_IDS,
        clear: 0,
        propagation: 0,
        user_namespace: u64::try_from(user_namespace.as_raw_fd()).map_err(|_| Errno::BADF)?,
    };
    set_mount_attributes(mount, c"", &attributes)
}

fn set_mount_attributes(directory: BorrowedFd<'_>, path: &CStr, attributes: &MountAttributes) -> Result<()> {
    let size = size_of::<MountAttributes>();
    // SAFETY: the path is null-terminated; the attributes are a valid `struct mount_attr` that outlives the call.
    check(unsafe {
        let attributes = ptr::from_ref(attributes);
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            libc::AT_EMPTY_PATH,
            attributes,
            size,
        )
    })
    .map(|_| ())
}

/// Bring up the network interface `lo` through a socket of the same network namespace.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: zeroed bytes are a valid `struct ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = c_char::from_ne_bytes([*from]);
    }
    #[expect(clippy::cast_possible_truncation, reason = "both bits are below 2^15")]
    let flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    request.ifr_ifru.ifru_flags = flags;
    // SAFETY: the request is a valid `struct ifreq` with its name and flags set.
    let value = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, ptr::from_ref(&request)) };
    check(c_long::from(value)).map(|_| ())
}

#[repr(C)]
struct FilterProgram {
    length: u16,
    filter: *const libc::sock_filter,
}

/// Load a filter for this process and its children. `no_new_privs` must be set.
pub(crate) fn load_filter(instructions: &[Instruction]) -> Result<()> {
    let mut filter = [libc::sock_filter {
        code: 0,
        jt: 0,
        jf: 0,
        k: 0,
    }; 256];
    let length = u16::try_from(instructions.len()).map_err(|_| Errno::INVAL)?;
    for (to, from) in filter
        .get_mut(..instructions.len())
        .ok_or(Errno::INVAL)?
        .iter_mut()
        .zip(instructions)
    {
        *to = libc::sock_filter {
            code: from.code,
            jt: from.if_true,
            jf: from.if_false,
            k: from.operand,
        };
    }
    let program = FilterProgram {
        length,
        filter: filter.as_ptr(),
    };
    // SAFETY: the program points to `length` instructions, and both outlive the call.
    let value = unsafe {
        let program: *const c_void = ptr::from_ref(&program).cast();
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, program)
    };
    check(value).map(|_| ())
}

/// Leave the caller's session keyring for a new, empty one.
pub(crate) fn forget_keys() -> Result<()> {
    const JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, ptr::null::<c_char>()) }).map(|_| ())
}

/// The version of Landlock that this kernel has.
pub(crate) fn landlock_version() -> Result<c_long> {
    const VERSION: c_int = 1;
    // SAFETY: with this flag the kernel takes no attributes, says a number and makes nothing.
    check(unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<c_void>(),
            0,
            VERSION,
        )
    })
}
