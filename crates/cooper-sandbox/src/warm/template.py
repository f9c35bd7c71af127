"""The template of warm runs: imports what is preloaded, then forks a child for each request.

Descriptor 0 is the socket to the keeper. Each message on it asks for one child and brings its descriptors: the
namespaces to enter, the child's own socket and standard streams, and the files to join the cgroup by. The child enters,
gives up every privilege, says that it is ready, and waits for its one request: a script that lies in its own /run/cooper.

Settings (the first argument, JSON):
    preload   names of modules to import
    rehearse  path of a script to execute once beforehand, or null
    deny      the additional system-call filter of a child: a list of [code, if_true, if_false, operand]
    user, group
"""

import ctypes
import gc
import json
import os
import random
import socket
import struct
import sys
import threading

NAMESPACES = 7
STREAMS = 3
FDS_MAX = 16
REQUEST_BYTES_MAX = 64 << 20
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
CAPSET = 126
CLONE = 56
CLONE_PARENT, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x8000, 0x200000, 0x1000000
THREAD_TID_OFFSET = 0x2D0

libc = ctypes.CDLL(None, use_errno=True)
# Keeps the interpreter's lock: nothing of Python's may run between the clone and what has to be done after it.
raw_clone = ctypes.PyDLL(None).syscall
raw_clone.argtypes, raw_clone.restype = [ctypes.c_long] * 6, ctypes.c_long
settings = json.loads(sys.argv[1])


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def packed_filter(instructions):
    packed = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(packed, len(packed))
    return Filter(len(instructions), ctypes.cast(buffer, ctypes.c_void_p)), buffer


deny, deny_buffer = packed_filter(settings["deny"])


def check(value, what):
    if value != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


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


def enter(fds):
    """Join the cgroup and enter the namespaces; the first of them gives the right to the others."""
    for fd in fds[NAMESPACES + 1 + STREAMS :]:
        os.write(fd, b"0")
    for fd in fds[: NAMESPACES - 1]:
        check(libc.setns(fd, 0), "setns")


def own_tid():
    """Where the C library keeps the number of this thread, or null: after a clone of our own the kernel puts the child's
    number there, as after the library's."""
    libc.pthread_self.restype = ctypes.c_ulong
    address = libc.pthread_self() + THREAD_TID_OFFSET
    known = ctypes.c_int.from_address(address).value == threading.get_native_id()
    return address if known else 0


def fork_for_keeper():
    """Fork, but for the keeper: it is the parent, and sees the child's end. There is no other thread, so that nothing that
    the C library does around its own fork is missed."""
    flags = CLONE_PARENT | (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID if tid_address else 0)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = raw_clone(CLONE, flags, 0, 0, tid_address, 0)
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
    else:
        ctypes.pythonapi.PyOS_AfterFork_Parent()
    return pid


def give_up(user, group):
    """Be the run's own user, without any privilege, under the system-call list of a run."""
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    for capability in range(64):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    check(libc.syscall(CAPSET, header, bytes(24)), "capset")
    check(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(deny), 0, 0), "seccomp")


def reseed():
    """Each child has randomness of its own. `random` reseeds itself after a fork."""
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(int.from_bytes(os.urandom(4), "little"))
    ssl = sys.modules.get("_ssl")
    if ssl is not None:
        ssl.RAND_add(os.urandom(64), 64.0)


def touch():
    """Do once what every run does: what it writes to is this child's own memory before its request comes."""
    with open("/dev/null", "rb") as file:
        exec(compile(file.read(), "touch", "exec", dont_inherit=True), {})


def receive(control):
    """The one request: its length, then fields that end with a zero byte: path, working directory, the number of arguments,
    the arguments, then names and values of variables."""

    def exactly(count):
        parts = []
        while count:
            part = control.recv(min(count, 1 << 20))
            if not part:
                os._exit(0)
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    (length,) = struct.unpack("=I", exactly(4))
    if length > REQUEST_BYTES_MAX:
        os._exit(125)
    path, cwd, count, *rest = [os.fsdecode(field) for field in exactly(length).split(b"\0")[:-1]]
    args, variables = rest[: int(count)], rest[int(count) :]
    return path, cwd, args, dict(zip(variables[::2], variables[1::2]))


def cooper_result(value):
    """Set the result of this run: a value that JSON can hold. The last one counts."""
    text = json.dumps(value, allow_nan=False)
    with open(os.environ["COOPER_RESULT"], "w", encoding="utf-8") as file:
        file.write(text)


def run(request):
    """Execute the script as `__main__`; the exit status."""
    import builtins

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
        with open(path, "rb") as file:
            source = file.read()
        code = compile(source, path, "exec", dont_inherit=True)
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
    import atexit

    try:
        threading._shutdown()
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
        enter(fds)
        control = socket.socket(fileno=os.dup(fds[NAMESPACES]))
        for number, fd in enumerate(fds[NAMESPACES + 1:][:STREAMS]):
            os.dup2(fd, number)
        keeper.close()
        for fd in fds:
            os.close(fd)
        os.setsid()
        give_up(settings["user"], settings["group"])
        reseed()
        touch()
        control.send(b"ready")
        request = receive(control)
        control.close()
        status = run(request)
    except BaseException as error:
        sys.stderr.write(f"the warm child failed: {error}\n")
        os._exit(125)
    finish(status)


def serve():
    while True:
        message, fds, _, _ = socket.recv_fds(keeper, 1, FDS_MAX)
        if not message:
            os._exit(0)
        check(libc.setns(fds[NAMESPACES - 1], 0), "setns")
        if fork_for_keeper() == 0:
            child(fds)
        for fd in fds:
            os.close(fd)


keeper = socket.socket(fileno=os.dup(0))
null = os.open("/dev/null", os.O_RDWR)
os.dup2(null, 0)
os.close(null)
preload()
tid_address = own_tid()
gc.collect()
gc.freeze()
keeper.send(b"R")
serve()
