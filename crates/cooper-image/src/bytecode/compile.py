# Compile the files named on standard input to bytecode as py_compile does, importing nothing that is not frozen into
# the interpreter. What does not compile (templates, code for another version) or has no place for its bytecode is left
# alone, as pip and Debian do.
#
# A line `=TIME` begins a group, the lines after it are its paths. TIME, if there is one, becomes the time of the group's
# bytecode, in seconds since 1970. Each group is compiled by a child of its own, forked from an interpreter that has
# compiled nothing: what a group's bytes are follows from the group.
import gc, posix, sys
from _frozen_importlib_external import _code_to_timestamp_pyc as pyc


def compile_one(path, time):
    try:
        with open(path, 'rb') as file:
            source = file.read()
        code = compile(source, path, 'exec', dont_inherit=True)
    except (SyntaxError, OSError, ValueError, RecursionError, MemoryError):
        return  # the parser calls deep nesting a lack of memory
    folder, _, name = path.rpartition('/')
    folder += '/__pycache__'
    name = name.removesuffix('.py') + '.' + sys.implementation.cache_tag + '.pyc'
    if len(name.encode('utf-8', 'surrogateescape')) > 255:
        return  # before there is a directory for it
    target = folder + '/' + name
    try:
        try:
            posix.mkdir(folder)
        except FileExistsError:
            pass
        file = open(target, 'wb')
    except OSError as error:
        if error.errno in (2, 20, 21, 36, 40):  # ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP: others are the disk's
            return
        raise
    with file:
        file.write(pyc(code, int(posix.stat(path).st_mtime), len(source)))
    if time:
        posix.utime(target, (int(time), int(time)))


def compile_group(group):
    time, *paths = group.split('\n')
    for path in paths:
        compile_one(path, time)


# What runs beside this one comes one after the other, and must not wait for its turn at each step. Others on the host
# are not waited for: the build step's share of the processors does not depend on this.
try:
    posix.sched_setscheduler(0, posix.SCHED_IDLE, posix.sched_param(0))
except OSError:
    posix.nice(10)
# What a child makes lives until it ends: nothing is gained by looking for cycles.
gc.disable()
# Only a line feed ends a line: a name may hold everything else that Python takes for a line's end.
groups = sys.stdin.buffer.read().decode('utf-8', 'surrogateescape').removesuffix('\n').removeprefix('=').split('\n=')
free = len(posix.sched_getaffinity(0))
failed = False


def wait_for_one():
    global free, failed
    _, status = posix.wait()
    free += 1
    failed = failed or status != 0


for group in groups:
    if free == 0:
        wait_for_one()
    if failed:
        break
    free -= 1
    if posix.fork() == 0:
        status = 1
        try:
            compile_group(group)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            posix._exit(status)
try:
    while True:
        wait_for_one()
except ChildProcessError:
    pass
sys.exit(101 if failed else 0)
