# calls of the kernel that no script needs, with arguments that could do nothing
for what, number, args in (
    ("keyctl", 250, (0, -3, 0, 0, 0)), ("add_key", 248, (0, 0, 0, 0, 0)), ("request_key", 249, (0, 0, 0, 0)),
    ("bpf", 321, (-1, 0, 0)), ("perf_event_open", 298, (0, -1, -1, -1, -1)), ("io_uring_setup", 425, (0, 0)),
    ("io_uring_enter", 426, (-1, 0, 0, 0, 0, 0)), ("io_uring_register", 427, (-1, -1, 0, 0)), ("userfaultfd", 323, (-1,)),
    ("kexec_load", 246, (0, -1, 0, -1)), ("kexec_file_load", 320, (-1, -1, 0, 0, -1)), ("init_module", 175, (0, 0, 0)),
    ("finit_module", 313, (-1, 0, -1)), ("delete_module", 176, (0, 0)), ("settimeofday", 164, (-1, -1)),
    ("clock_settime", 227, (-1, 0)), ("clock_adjtime", 305, (-1, 0)), ("personality", 135, (0x7FFFFFF0,)),
    ("reboot", 169, (0, 0, 0, 0)), ("swapon", 167, (0, -1)), ("swapoff", 168, (0,)), ("acct", 163, (-1,)), ("quotactl", 179, (-1, 0, 0, 0)),
    ("iopl", 172, (-1,)), ("ioperm", 173, (-1, 0, 0)), ("syslog", 103, (-1, 0, 0)), ("fanotify_init", 300, (-1, 0)),
    ("sethostname", 170, (0, -1)), ("setdomainname", 171, (0, -1)), ("modify_ldt", 154, (-1, 0, 0)), ("uselib", 134, (0,)),
    ("lookup_dcookie", 212, (0, 0, 0)), ("vhangup", 153, ()), ("mbind", 237, (0, 0, -1, 0, 0, 0)), ("memfd_secret", 447, (-1,)),
):
    refused(what, number, *args)
held()
