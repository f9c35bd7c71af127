# new namespaces, and those of others
flags = {"mnt": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000, "pid": 0x20000000,
         "net": 0x40000000, "time": 0x80}
for name, flag in flags.items():
    refused(f"unshare {name}", 272, flag)
    if name != "time":  # for clone this bit is part of a signal
        refused(f"clone {name}", 56, flag | 17, 0, 0, 0, 0)
        refused(f"clone user and {name}", 56, flag | 0x10000000 | 17, 0, 0, 0, 0)
refused("clone3", 435, 0, 0)
refused("setns", 308, -1, 0)
for name in ("mnt", "user", "net", "pid"):
    number = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
    refused(f"setns {name}", 308, number, 0)
    fails(f"the {name} namespace of process 1", os.open, f"/proc/1/ns/{name}", os.O_RDONLY)
held()
