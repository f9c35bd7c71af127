# what it has from before it was a run: descriptors, variables, processes, frames
numbers = {int(name) for name in os.listdir("/proc/self/fd")}
for number in sorted(numbers - {0, 1, 2}):
    try:
        check(f"descriptor {number} is {os.readlink(f'/proc/self/fd/{number}')}", False)
    except OSError:
        pass  # that of the list itself
check("threads", len(os.listdir("/proc/self/task")) == 1)
for place in ("/tmp", "/work", "/dev/shm", "/output"):
    check(f"{place} has {os.listdir(place)}", not os.listdir(place))
known = ("PATH", "HOME", "LANG", "LC_", "COOPER_", "PYTHON", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "PWD", "SSL_")
for name in os.environ:
    check(f"variable {name}", name.startswith(known) or name.endswith("_NUM_THREADS"))
kept = [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]
check(f"processes {kept}", not kept)
frame = sys._getframe()
while frame:
    for name, value in list(frame.f_locals.items()):
        if isinstance(value, socket.socket):
            check(f"{name} is an open socket", value.fileno() == -1)
    frame = frame.f_back
held()
