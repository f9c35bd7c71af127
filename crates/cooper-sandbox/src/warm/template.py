"""The template of warm runs: imports what is preloaded, then forks a child for each request.

Descriptor 0 is the socket to the keeper. Each message on it asks for one child and brings its descriptors: the
namespaces to enter, the child's own socket and standard streams, and the files to join the cgroup by. The child enters,
gives up every privilege, says that it is ready, and waits for its one request: a script that lies in its own /run/cooper.

Settings (the first argument, JSON):
    preload   names of modules to import
    rehearse  path of a script to execute once beforehand, or null
    gives_way whether a child lets others go first until its request comes: the keeper ends that
    deny      the additional system-call filter of a child: a list of [code, if_true, if_false, operand]
    user, group
"""

import atexit
import builtins
import ctypes
import gc
import json
import os
import struct
import sys

import _socket
import _thread

NAMESPACES = 7
STREAMS = 3
FDS_MAX = 16
FD_BYTES = 4
REQUEST_BYTES_MAX = 64 << 20
# System calls by their numbers.
WRITE, CLOSE, DUP2, CLONE, GETPPID, SETSID = 1, 3, 33, 56, 110, 112
SETGROUPS, SETRESUID, SETRESGID, CAPSET, SCHED_SETSCHEDULER, PRCTL, SETNS = 116, 117, 119, 126, 144, 157, 308
SCHED_IDLE = 5
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 23, 24, 38
SECCOMP_MODE_FILTER = 2
CAPABILITIES_MAX = 64
CAPABILITY_VERSION_3 = 0x20080522
CLONE_PARENT, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000
THREAD_TID_OFFSET = 0x2D0
WARM_UP_ROUNDS = 20
SIZE_STEP, SIZE_MAX, POOL_BYTES, POOL_HEADER, BYTES_HEADER = 16, 512, 16 << 10, 48, 33
FILLERS_MAX = 4000
CODE = type(compile("", "", "exec"))

# Keeps the interpreter's lock: nothing of Python's may run between the clone and what has to be done after it.
libc = ctypes.PyDLL(None, use_errno=True)
system_call = libc.syscall
system_call.argtypes, system_call.restype = [ctypes.c_long] * 6, ctypes.c_long
before_fork = ctypes.pythonapi.PyOS_BeforeFork
after_fork_in_child = ctypes.pythonapi.PyOS_AfterFork_Child
after_fork_in_parent = ctypes.pythonapi.PyOS_AfterFork_Parent
settings = json.loads(sys.argv[1])


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def packed_filter(instructions):
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    return Filter(len(instructions), ctypes.cast(buffer, ctypes.c_void_p)), buffer


deny, deny_buffer = packed_filter(settings["deny"])
no_capabilities = ctypes.create_string_buffer(struct.pack("=Ii", CAPABILITY_VERSION_3, 0)), ctypes.create_string_buffer(24)
priority = ctypes.c_int(0)
join_word = ctypes.create_string_buffer(b"0")


def perform(calls):
    """Make these system calls, each a number and five words."""
    for call in calls:
        if system_call(*call) == -1:
            number = ctypes.get_errno()
            raise OSError(number, f"system call {call[0]}: {os.strerror(number)}")


def preload():
    """Import and rehearse; what that leaves behind must be one thread and no open file."""
    for name in settings["preload"]:
        __import__(name)
    if settings["rehearse"]:
        path = settings["rehearse"]
        with open(path, "rb") as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
        exec(code, {"__name__": "__rehearsal__", "__file__": path, "__builtins__": __builtins__})
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"{threads - 1} threads are left after the imports: a template must have none")


def entering(fds):
    """How a child becomes the run's own process: join the cgroup, enter the namespaces, the first of which gives the right
    to the others, take its streams, and let go of all else."""
    streams = fds[NAMESPACES + 1 : NAMESPACES + 1 + STREAMS]
    joined = fds[NAMESPACES + 1 + STREAMS :]
    control = fds[NAMESPACES]
    calls = [(WRITE, fd, ctypes.addressof(join_word), 1, 0, 0) for fd in joined]
    if settings["gives_way"]:
        calls.append((SCHED_SETSCHEDULER, 0, SCHED_IDLE, ctypes.addressof(priority), 0, 0))
    calls += [(SETNS, fd, 0, 0, 0, 0) for fd in fds[: NAMESPACES - 1]]
    calls += [(DUP2, fd, number, 0, 0, 0) for number, fd in enumerate(streams)]
    calls += [(CLOSE, fd, 0, 0, 0, 0) for fd in (keeper_fd, *fds) if fd != control]
    return calls


def giving_up(user, group):
    """How it becomes the run's own user, without any privilege, under the system-call list of a run."""
    calls = [
        (SETSID, 0, 0, 0, 0, 0),
        (SETGROUPS, 0, 0, 0, 0, 0),
        (SETRESGID, group, group, group, 0, 0),
        (SETRESUID, user, user, user, 0, 0),
    ]
    for capability in range(CAPABILITIES_MAX):
        if system_call(PRCTL, PR_CAPBSET_READ, capability, 0, 0, 0) == -1:
            break
        calls.append((PRCTL, PR_CAPBSET_DROP, capability, 0, 0, 0))
    header, sets = no_capabilities
    calls += [
        (CAPSET, ctypes.addressof(header), ctypes.addressof(sets), 0, 0, 0),
        (PRCTL, PR_SET_DUMPABLE, 1, 0, 0, 0),
        (PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PRCTL, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(deny), 0, 0),
    ]
    return calls


def own_tid():
    """Where the C library keeps the number of this thread, or null: after a clone of our own the kernel puts the child's
    number there, as after the library's."""
    libc.pthread_self.restype = ctypes.c_ulong
    address = libc.pthread_self() + THREAD_TID_OFFSET
    known = ctypes.c_int.from_address(address).value == _thread.get_native_id()
    return address if known else 0


def fork_for_keeper():
    """Fork, but for the keeper: it is the parent, and sees the child's end. There is no other thread, so that nothing that
    the C library does around its own fork is missed."""
    flags = CLONE_PARENT | (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID if tid_address else 0)
    before_fork()
    pid = system_call(CLONE, flags, 0, 0, tid_address, 0)
    if pid == 0:
        after_fork_in_child()
    else:
        after_fork_in_parent()
    return pid


def reseed():
    """Each child has randomness of its own. `random` is there only where it was preloaded, and reseeds itself after a fork."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(int.from_bytes(os.urandom(4), "little"))
    ssl = sys.modules.get("_ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(64), 64.0)


def touch():
    """Do once what every run does: what it writes to is this child's own memory before its request comes."""
    exec(compile(read_file("/dev/null"), "touch", "exec", dont_inherit=True), {})


def warm_up():
    """Be a child so often that the interpreter has found its ways through what each child does, and writes no more of that
    down."""
    path, cwd, args, variables = "/dev/null", os.getcwd(), ["x"], dict(os.environ)
    fields = [path, cwd, str(len(args)), *args, *(word for pair in variables.items() for word in pair)]
    request = b"".join(os.fsencode(field) + b"\0" for field in fields)
    request = struct.pack("=I", len(request)) + request
    main, argv = sys.modules["__main__"], list(sys.argv)
    for _ in range(WARM_UP_ROUNDS):
        reader, writer = os.pipe()
        os.write(writer, request)
        run(receive(reader))
        os.close(reader)
        os.close(writer)
        touch()
        reseed()
        entering(list(range(FDS_MAX)))
        perform([(GETPPID, 0, 0, 0, 0, 0)])
    sys.modules["__main__"], sys.argv[:] = main, argv


def keep_still():
    """Let no child write to what it only looks at.

    Every use of an object counts in its memory, and the first write to a page is a copy of it: most of what a child of a
    trivial script costs. Objects that the interpreter itself keeps for ever are not counted (since Python 3.12): now
    everything that is here is like them. To scripts it is as if somebody else held one more reference to each."""
    if sys.implementation.name != "cpython" or sys.version_info < (3, 12) or sys.byteorder != "little":
        return
    counts = memoryview((ctypes.c_uint32 * (1 << 45)).from_address(0)).cast("B").cast("I")
    kept = counts[id(None) >> 2]
    if kept < 1 << 31 or sys.getrefcount(None) != kept:
        return
    found = gc.get_objects()
    while found:
        fresh = []
        for thing in found:
            at = id(thing) >> 2
            if counts[at] < 1 << 31:
                counts[at] = kept
                fresh.append(thing)
        found = gc.get_referents(*fresh)
        for thing in fresh:
            if type(thing) is CODE:
                found += (thing.co_consts, thing.co_names, thing.co_filename, thing.co_name, thing.co_qualname)
                found += (thing.co_linetable, thing.co_exceptiontable)


def fill_gaps():
    """Have children put what is new beside each other, and not into the gaps of many pages that they would have to copy.
    What fills the gaps.

    The interpreter's allocator has pools for objects of one size; when one begins at the beginning of a pool, those before
    it are full."""
    fillers = []
    for size in range(SIZE_STEP, SIZE_MAX + 1, SIZE_STEP):
        fresh = []
        while len(fresh) < FILLERS_MAX:
            filler = object() if size == 16 else float(size) if size == 32 else bytes(size - BYTES_HEADER)
            if id(filler) % POOL_BYTES == POOL_HEADER:
                fillers += fresh
                break
            fresh.append(filler)
    return fillers


def read_exactly(fd, count):
    parts = []
    while count:
        part = os.read(fd, min(count, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def receive(control):
    """The one request: its length, then fields that end with a zero byte: path, working directory, the number of arguments,
    the arguments, then names and values of variables."""
    (length,) = struct.unpack("=I", read_exactly(control, 4))
    if length > REQUEST_BYTES_MAX:
        os._exit(125)
    path, cwd, count, *rest = [os.fsdecode(field) for field in read_exactly(control, length).split(b"\0")[:-1]]
    args, variables = rest[: int(count)], rest[int(count) :]
    return path, cwd, args, dict(zip(variables[::2], variables[1::2]))


def read_file(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    parts = []
    while part := os.read(fd, 1 << 16):
        parts.append(part)
    os.close(fd)
    return b"".join(parts)


def cooper_result(value):
    """Set the result of this run: a value that JSON can hold. The last one counts."""
    text = json.dumps(value, allow_nan=False)
    with open(os.environ["COOPER_RESULT"], "w", encoding="utf-8") as file:
        file.write(text)


def run(request):
    """Execute the script as `__main__`; the exit status."""
    path, cwd, args, variables = request
    main = type(sys)("__main__")
    main.__file__ = path
    main.__builtins__ = builtins
    builtins.cooper_result = cooper_result
    sys.modules["__main__"] = main
    sys.argv[:] = [path, *args]
    # The template's own environment is nearly the same, and what is not written to stays shared.
    for name in [name for name in os.environ if name not in variables]:
        del os.environ[name]
    for name, value in variables.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
    os.chdir(cwd)
    try:
        code = compile(read_file(path), path, "exec", dont_inherit=True)
        exec(code, main.__dict__)
        return 0
    except SystemExit as end:
        if end.code is None:
            return 0
        if isinstance(end.code, int):
            return end.code & 0xFF
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:
        # Our own frames tell nobody anything.
        trace = error.__traceback__
        trace = trace.tb_next if trace else None
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        return 130 if isinstance(error, KeyboardInterrupt) else 1


def finish(status):
    """What the interpreter does at its end, but for taking its modules apart."""
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        atexit._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                status = status or 120
        os._exit(status)


def child(fds):
    """Never returns."""
    status = 125
    try:
        # Nothing of Python's may believe that it has what is closed below.
        keeper.detach()
        perform(entering(fds))
        perform(give_up)
        control = fds[NAMESPACES]
        reseed()
        touch()
        os.write(control, b"ready")
        request = receive(control)
        os.close(control)
        status = run(request)
    except BaseException as error:
        sys.stderr.write(f"the warm child failed: {error}\n")
        os._exit(125)
    finish(status)


def receive_fds():
    """The descriptors of the next message."""
    message, ancillary, _, _ = keeper.recvmsg(1, _socket.CMSG_LEN(FDS_MAX * FD_BYTES))
    if not message:
        os._exit(0)
    return [
        fd
        for level, kind, words in ancillary
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
        for (fd,) in struct.iter_unpack("=i", words[: len(words) - len(words) % FD_BYTES])
    ]


def serve():
    while True:
        fds = receive_fds()
        perform([(SETNS, fds[NAMESPACES - 1], 0, 0, 0, 0)])
        if fork_for_keeper() == 0:
            child(fds)
        for fd in fds:
            os.close(fd)


keeper = _socket.socket(fileno=os.dup(0))
keeper_fd = keeper.fileno()
give_up = giving_up(settings["user"], settings["group"])
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 0)
os.close(null)
preload()
tid_address = own_tid()
warm_up()
gc.collect()
keep_still()
gc.freeze()
fillers = fill_gaps()
# What that took is let go of, too: children have a copy of every page.
if hasattr(libc, "malloc_trim"):
    libc.malloc_trim(0)
keeper.send(b"R")
serve()
