# settings of the kernel
for path in (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/ns_last_pid", "/proc/sys/vm/drop_caches",
    "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/modprobe", "/proc/sys/fs/binfmt_misc/register", "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity", "/proc/1/oom_score_adj", "/proc/sys/user/max_user_namespaces", "/sys/power/state",
    "/sys/kernel/uevent_helper", "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/tasks", "/proc/self/uid_map",
):
    fails(path, opened_to_write, path)


def lower():
    with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
        file.write(b"-999")


fails("a lower oom_score_adj", lower)
for place, folders, names in os.walk("/sys"):
    for name in names:
        path = os.path.join(place, name)
        if not os.path.islink(path) and os.access(path, os.W_OK):
            fails(f"open {path}", opened_to_write, path)
held()
