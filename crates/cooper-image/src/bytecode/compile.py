# Compile the files named on standard input, one per line, to bytecode as py_compile does, importing nothing that is
# not frozen into the interpreter. What does not compile (templates, code for another version) is left alone, as pip
# and Debian do.
import posix, sys
from _frozen_importlib_external import _code_to_timestamp_pyc as pyc
posix.nice(10)  # what runs beside this one comes one after the other, and must not wait
for path in sys.stdin.read().splitlines():
    try:
        with open(path, 'rb') as file:
            source = file.read()
        code = compile(source, path, 'exec', dont_inherit=True)
    except (SyntaxError, OSError, ValueError, RecursionError):
        continue
    folder, _, name = path.rpartition('/')
    folder += '/__pycache__'
    try:
        posix.mkdir(folder)
    except FileExistsError:
        pass
    target = folder + '/' + name.removesuffix('.py') + '.' + sys.implementation.cache_tag + '.pyc'
    with open(target, 'wb') as file:
        file.write(pyc(code, int(posix.stat(path).st_mtime), len(source)))
