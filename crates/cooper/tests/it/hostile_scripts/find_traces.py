# look for traces of another owner's run: files, processes, variables, memory, queues, sockets
parts = [b"left", b"-by-", b"another-", b"owner"]
for _ in range(3):
    for place in ("/tmp", "/work", "/dev/shm", "/run", "/input", "/output"):
        for folder, _, names in os.walk(place):
            for name in names:
                check(f"{folder}/{name}", not name.startswith("left-by"))
    for pid in os.listdir("/proc"):
        if pid.isdigit() and int(pid) != os.getpid():
            for name in ("comm", "cmdline", "environ"):
                try:
                    check(f"/proc/{pid}/{name}", b"left-by" not in read(f"/proc/{pid}/{name}"))
                except OSError:
                    pass
    check("shared memory", libc.shmget(0x6C656674, 65536, 0) == -1)
    check("a queue", libc.mq_open(b"/left", os.O_RDWR) == -1)
    check("a socket", b"left-by" not in read("/proc/net/unix"))
    time.sleep(0.05)
# In a row, these parts are in no memory of ours: this script never joins them.
found = 0
with open("/proc/self/maps") as file:
    maps = file.read().splitlines()
with open("/proc/self/mem", "rb", buffering=0) as memory:
    for line in maps:
        first, last = (int(part, 16) for part in line.split()[0].split("-"))
        if "rw" not in line or last - first > 64 << 20:
            continue
        try:
            memory.seek(first)
            held_bytes = memory.read(last - first)
        except (OSError, OverflowError, ValueError):
            continue
        at = held_bytes.find(parts[2])
        while at >= 0:
            if held_bytes[at - 8:at] == parts[0] + parts[1] and held_bytes[at + 8:at + 13] == parts[3]:
                found += 1
            at = held_bytes.find(parts[2], at + 1)
check(f"{found} traces in memory", found == 0)
held()
