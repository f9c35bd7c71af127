# files of the host and of other runs
secret = "@SECRET@"
for path in (
    secret, "/proc/1/root" + secret, "/proc/1/cwd/" + secret, "/.." * 40 + secret, "/proc/self/root" + secret,
    "/etc/shadow", "/etc/gshadow", "/proc/1/root/etc/shadow", "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/stack",
    "/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/kmsg", "/dev/port", "/dev/vda", "/dev/sda",
    "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/loop-control", "/root/.bashrc", "/run/docker.sock",
    "/sys/kernel/security", "/sys/kernel/debug", "/sys/firmware/acpi",
):
    fails(path, read, path)
for path in ("/proc/1/root", "/proc/1/cwd", "/proc/1/fd", "/proc/1/task/1/root", "/root"):
    fails(f"list {path}", os.listdir, path)
# Hidden, or empty where that is how it is hidden.
for path in ("/proc/kmsg", "/proc/kpagecount", "/proc/keys", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats"):
    try:
        check(f"{path} tells something", not read(path))
    except OSError:
        pass
seen = [name for name in os.listdir("/proc") if name.isdigit() and name != "1"]
for pid in seen:
    line = read(f"/proc/{pid}/status").decode()
    check(f"process {pid} is another's: {line[:40]!r}", f"Uid:\t{os.getuid()}\t" in line)
device, inode = os.stat("/").st_dev, os.stat("/").st_ino
here = os.stat("/..")
check("above the root is something else", (here.st_dev, here.st_ino) == (device, inode))
for kind, number in ((0o020000, (1, 1)), (0o060000, (254, 0))):
    fails(f"mknod {kind:o}", os.mknod, "/tmp/device", kind | 0o600, os.makedev(*number))
held()
