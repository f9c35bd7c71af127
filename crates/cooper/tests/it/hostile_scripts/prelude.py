# What every hostile script begins with.
import ctypes, errno, os, signal, socket, sys, time

libc = ctypes.CDLL(None, use_errno=True)
broken = []


def refused(what, number, *args, also=()):
    """The kernel must refuse this call for its own sake, whatever its arguments are."""
    ctypes.set_errno(0)
    value = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(arg) for arg in args))
    seen = ctypes.get_errno()
    if value != -1:
        broken.append(f"{what} gave {value}")
    elif seen not in (errno.EPERM, errno.ENOSYS, *also):
        broken.append(f"{what} gave {errno.errorcode.get(seen, seen)}")


def fails(what, action, *args):
    """This must not work."""
    try:
        value = action(*args)
    except OSError:
        return
    broken.append(f"{what} gave {value!r:.60}")


def read(path):
    with open(path, "rb") as file:
        return file.read(1 << 16)


def opened_to_write(path):
    """Opens it alone: nothing is written, should that be possible."""
    os.close(os.open(path, os.O_WRONLY))


def check(what, is_so):
    if not is_so:
        broken.append(what)


def held():
    if broken:
        sys.exit("broken: " + "; ".join(broken))
    print("held", flush=True)
