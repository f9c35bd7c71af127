# trace, read and stop others; lie about the own end
sibling = os.fork()
if sibling == 0:
    time.sleep(60)
    os._exit(0)
for what, number, args in (
    ("PTRACE_TRACEME", 101, (0, 0, 0, 0)), ("PTRACE_ATTACH", 101, (16, sibling, 0, 0)), ("PTRACE_SEIZE", 101, (0x4206, sibling, 0, 0)),
    ("PTRACE_ATTACH 1", 101, (16, 1, 0, 0)), ("process_vm_readv", 310, (sibling, 0, 0, 0, 0, 0)),
    ("process_vm_writev", 311, (sibling, 0, 0, 0, 0, 0)), ("kcmp", 312, (1, sibling, 0, 0, 0)), ("pidfd_getfd", 438, (-1, 0, 0)),
    ("process_madvise", 440, (-1, 0, 0, 0, 0)), ("move_pages", 279, (1, 0, 0, 0, 0, 0)), ("migrate_pages", 256, (1, 0, 0, 0)),
):
    refused(what, number, *args)
os.kill(sibling, signal.SIGKILL)
held()
