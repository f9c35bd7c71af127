# kill everything that can be named
for pid in range(1, 70_000):
    if pid not in (os.getpid(),):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
for pid in (1, os.getppid()):
    if pid > 0:
        for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGSEGV, signal.SIGCHLD, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except OSError:
                pass
try:
    os.kill(-1, signal.SIGKILL)
except OSError:
    pass
held()
