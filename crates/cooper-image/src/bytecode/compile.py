# Compile the files named on standard input, one per line, to bytecode as py_compile does, importing nothing that is
# not frozen into the interpreter. What does not compile (templates, code for another version) or has no place for its
# bytecode is left alone, as pip and Debian do.
import posix, sys
from _frozen_importlib_external import _code_to_timestamp_pyc as pyc
# What runs beside this one comes one after the other, and must not wait for its turn at each step. Others on the host
# are not waited for: the build step's share of the processors does not depend on this.
try:
    posix.sched_setscheduler(0, posix.SCHED_IDLE, posix.sched_param(0))
except OSError:
    posix.nice(10)
# Only a line feed ends a line: a name may hold everything else that Python takes for a line's end.
for path in sys.stdin.buffer.read().decode('utf-8', 'surrogateescape').split('\n'):
    try:
        with open(path, 'rb') as file:
            source = file.read()
        code = compile(source, path, 'exec', dont_inherit=True)
    except (SyntaxError, OSError, ValueError, RecursionError, MemoryError):
        continue  # the parser calls deep nesting a lack of memory
    folder, _, name = path.rpartition('/')
    folder += '/__pycache__'
    target = folder + '/' + name.removesuffix('.py') + '.' + sys.implementation.cache_tag + '.pyc'
    try:
        try:
            posix.mkdir(folder)
        except FileExistsError:
            pass
        file = open(target, 'wb')
    except OSError as error:
        if error.errno in (2, 20, 21, 36, 40):  # ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP: others are the disk's
            continue
        raise
    with file:
        file.write(pyc(code, int(posix.stat(path).st_mtime), len(source)))
