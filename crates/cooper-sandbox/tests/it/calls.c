/* Make system calls that a sandbox must refuse, and tell what each returned. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static void tell(const char *name, long value) {
    printf("%s %s\n", name, value == -1 ? strerrorname_np(errno) : "done");
}

/* A clone that succeeds must not go on as two processes. */
static long cloned(long value) {
    if (value == 0) _exit(0);
    return value;
}

#define CALL(name, ...) tell(#name, syscall(SYS_##name, ##__VA_ARGS__))

int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "x32")) return syscall(0x40000000 + SYS_getpid) < 0;
    if (argc > 1 && !strcmp(argv[1], "int80")) {
        long value = 20; /* getpid of 32 bits */
        __asm__ volatile("int $0x80" : "+a"(value) : : "memory");
        return 0;
    }
    char area[4096] = {0};
    CALL(ptrace, 0, 0, 0, 0);
    tell("ptrace-attach", syscall(SYS_ptrace, 16, getppid(), 0, 0));
    CALL(process_vm_readv, getpid(), area, 0, area, 0, 0);
    CALL(pidfd_getfd, 0, 0, 0);
    CALL(kcmp, getpid(), getpid(), 0, 0, 0);
    CALL(keyctl, 0, -3, 0);
    CALL(add_key, "user", "a", "b", 1, -3);
    CALL(request_key, "user", "a", 0, 0);
    tell("unshare-user", syscall(SYS_unshare, CLONE_NEWUSER));
    tell("unshare-mount", syscall(SYS_unshare, CLONE_NEWNS));
    tell("setns", syscall(SYS_setns, open("/proc/self/ns/net", O_RDONLY), 0));
    tell("clone-user", cloned(syscall(SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0)));
    tell("clone-pid", cloned(syscall(SYS_clone, CLONE_NEWPID | 17, 0, 0, 0, 0)));
    tell("clone3", cloned(syscall(SYS_clone3, area, 88)));
    CALL(mount, "none", "/tmp", "tmpfs", 0, "");
    tell("umount", syscall(SYS_umount2, "/tmp", 2));
    CALL(pivot_root, ".", ".");
    CALL(chroot, "/tmp");
    CALL(open_tree, AT_FDCWD, "/", 1);
    CALL(move_mount, AT_FDCWD, "/tmp", AT_FDCWD, "/tmp", 0);
    CALL(fsopen, "tmpfs", 0);
    CALL(mount_setattr, AT_FDCWD, "/", 0, area, 32);
    CALL(bpf, 0, area, 48);
    CALL(io_uring_setup, 1, area);
    CALL(userfaultfd, 1);
    CALL(perf_event_open, area, 0, -1, -1, 0);
    CALL(name_to_handle_at, AT_FDCWD, "/", area, area + 512, 0);
    CALL(open_by_handle_at, AT_FDCWD, area, 0);
    CALL(kexec_load, 0, 0, 0, 0);
    CALL(kexec_file_load, -1, -1, 0, "", 0);
    CALL(init_module, area, 0, "");
    CALL(finit_module, -1, "", 0);
    CALL(delete_module, "none", 0);
    tell("personality", syscall(SYS_personality, 0x40000));
    CALL(syslog, 2, area, 10);
    CALL(swapon, "/tmp", 0);
    CALL(reboot, 0, 0, 0, 0);
    CALL(sethostname, "x", 1);
    CALL(settimeofday, 0, 0);
    CALL(clock_settime, 0, area);
    CALL(quotactl, 0, 0, 0, 0);
    CALL(acct, "/tmp/a");
    CALL(iopl, 3);
    CALL(ioperm, 0, 1, 1);
    CALL(modify_ldt, 0, area, 16);
    CALL(fanotify_init, 0, 0);
    CALL(memfd_secret, 0);
    CALL(move_pages, 0, 0, 0, 0, 0, 0);
    tell("tiocsti", ioctl(0, TIOCSTI, "x"));
    tell("tiocsetd", ioctl(0, TIOCSETD, area));
    tell("vsock", socket(40, SOCK_STREAM, 0));
    tell("packet", socket(17, SOCK_RAW, 0));
    tell("raw", socket(AF_INET, SOCK_RAW, 1));
    tell("alg", socket(38, SOCK_SEQPACKET, 0));
    tell("audit", socket(16, SOCK_RAW, 9));
    tell("vsock-pair", socketpair(40, SOCK_STREAM, 0, (int *)area));
    tell("stream", socket(AF_INET, SOCK_STREAM, 0));
    tell("route", socket(16, SOCK_RAW, 0));
    CALL(sync);
    struct rlimit core = {0, 0};
    tell("setrlimit-core", syscall(SYS_setrlimit, RLIMIT_CORE, &core));
    tell("prlimit-core", syscall(SYS_prlimit64, 0, RLIMIT_CORE, &core, 0));
    syscall(SYS_prlimit64, 0, RLIMIT_CORE, 0, &core);
    printf("core-limit %ld\n", (long)core.rlim_max);
    tell("prlimit-files", syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &(struct rlimit){9, 9}, 0));
    return 0;
}
