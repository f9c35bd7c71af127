//! Which system calls a program may make.
//!
//! Listed is what is allowed; every other call fails with `EPERM`, calls newer than this list with `ENOSYS`, so that
//! programs fall back. Denied above all: namespaces and mounts, tracing and reading other processes, kernel keys,
//! `bpf`, `io_uring`, `perf_event_open`, `userfaultfd`, modules and kexec, clocks, handles to files by number. Other
//! ABIs of the machine (x32, 32 bit) are killed.
//!
//! `splice` and `sendfile` fail as for files that do not allow them: into a pipe they hold its lock while they wait for
//! what they read from, and whoever reads a run's output from that pipe would be stuck in the kernel, past every time
//! limit.
//!
//! `sync` and `syncfs` do nothing and succeed: a script must not be able to flush the host's disks.

use libc::{EAFNOSUPPORT, EINVAL, ENOSYS, EPERM, EPROTONOSUPPORT, c_long};

use crate::bpf::{Instruction, Segment, Test, Then, Verdict, assemble};
use crate::spec::Profile;

const fn errno(number: i32) -> Verdict {
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "error numbers are small and positive"
    )]
    Verdict::Errno(number as u16)
}

const ALLOW: Verdict = Verdict::Allow;
const DENY: Verdict = errno(EPERM);
const ABSENT: Verdict = errno(ENOSYS);
const IGNORE: Verdict = errno(0);
/// As where the files do not allow it: programs then read and write.
const NO_COPY: Verdict = errno(EINVAL);
const IOCTL: Verdict = Verdict::Check(0);
const SOCKET: Verdict = Verdict::Check(1);
const CLONE: Verdict = Verdict::Check(2);
const PERSONALITY: Verdict = Verdict::Check(3);
const SET_LIMIT: Verdict = Verdict::Check(4);
const CHANGE_LIMIT: Verdict = Verdict::Check(5);

/// First and last call of a run of numbers, and what happens to them. Gaps are denied.
type Rule = (c_long, c_long, Verdict);

#[rustfmt::skip]
const RULES: &[Rule] = &[
    (libc::SYS_read,             libc::SYS_rt_sigreturn,      ALLOW),
    (libc::SYS_ioctl,            libc::SYS_ioctl,             IOCTL),
    (libc::SYS_pread64,          libc::SYS_getpid,            ALLOW),
    (libc::SYS_sendfile,         libc::SYS_sendfile,          NO_COPY),
    (libc::SYS_socket,           libc::SYS_socket,            SOCKET),
    (libc::SYS_connect,          libc::SYS_getpeername,       ALLOW),
    (libc::SYS_socketpair,       libc::SYS_socketpair,        SOCKET),
    (libc::SYS_setsockopt,       libc::SYS_getsockopt,        ALLOW),
    (libc::SYS_clone,            libc::SYS_clone,             CLONE),
    (libc::SYS_fork,             libc::SYS_flock,             ALLOW), // execve, wait4, kill, System V IPC, fcntl
    // fsync, fdatasync: see RUN_RULES and BUILD_RULES
    (libc::SYS_truncate,         libc::SYS_times,             ALLOW), // directories, links, owners and modes
    // ptrace
    (libc::SYS_getuid,           libc::SYS_getuid,            ALLOW),
    // syslog
    (libc::SYS_getgid,           libc::SYS_mknod,             ALLOW), // ids, sessions; mknod for FIFOs, devices need a capability
    // uselib
    (libc::SYS_personality,      libc::SYS_personality,       PERSONALITY),
    // ustat
    (libc::SYS_statfs,           libc::SYS_fstatfs,           ALLOW),
    // sysfs
    (libc::SYS_getpriority,      libc::SYS_munlockall,        ALLOW), // scheduling, mlock
    // vhangup, modify_ldt, pivot_root, _sysctl
    (libc::SYS_prctl,            libc::SYS_adjtimex,          ALLOW), // arch_prctl; adjtimex only reads without a capability
    (libc::SYS_setrlimit,        libc::SYS_setrlimit,         SET_LIMIT),
    // chroot: see BUILD_RULES
    (libc::SYS_sync,             libc::SYS_sync,              IGNORE),
    // acct, settimeofday, mount, umount2, swapon, reboot, sethostname, iopl, ioperm, modules, quotactl
    (libc::SYS_gettid,           libc::SYS_set_thread_area,   ALLOW), // readahead, xattrs, tkill, futex, affinity
    (libc::SYS_io_setup,         libc::SYS_lookup_dcookie,    ABSENT), // asynchronous I/O of the old kind
    (libc::SYS_epoll_create,     libc::SYS_timer_delete,      ALLOW), // getdents64, fadvise64, timers
    // clock_settime
    (libc::SYS_clock_gettime,    libc::SYS_utimes,            ALLOW), // epoll, tgkill
    // vserver, mbind, set_mempolicy, get_mempolicy
    (libc::SYS_mq_open,          libc::SYS_mq_getsetattr,     ALLOW),
    // kexec_load
    (libc::SYS_waitid,           libc::SYS_waitid,            ALLOW),
    // add_key, request_key, keyctl
    (libc::SYS_ioprio_set,       libc::SYS_inotify_rm_watch,  ALLOW),
    // migrate_pages
    (libc::SYS_openat,           libc::SYS_ppoll,             ALLOW), // the *at calls
    // unshare
    (libc::SYS_set_robust_list,  libc::SYS_get_robust_list,   ALLOW),
    (libc::SYS_splice,           libc::SYS_splice,            NO_COPY),
    (libc::SYS_tee,              libc::SYS_vmsplice,          ALLOW), // sync_file_range
    // move_pages
    (libc::SYS_utimensat,        libc::SYS_rt_tgsigqueueinfo, ALLOW), // eventfd, timerfd, signalfd, accept4, pipe2, preadv
    // perf_event_open
    (libc::SYS_recvmmsg,         libc::SYS_recvmmsg,          ALLOW),
    // fanotify_init, fanotify_mark
    (libc::SYS_prlimit64,        libc::SYS_prlimit64,         CHANGE_LIMIT),
    // name_to_handle_at, open_by_handle_at, clock_adjtime
    (libc::SYS_syncfs,           libc::SYS_syncfs,            IGNORE),
    (libc::SYS_sendmmsg,         libc::SYS_sendmmsg,          ALLOW),
    // setns
    (libc::SYS_getcpu,           libc::SYS_getcpu,            ALLOW),
    // process_vm_readv, process_vm_writev, kcmp, finit_module
    (libc::SYS_sched_setattr,    libc::SYS_memfd_create,      ALLOW), // renameat2, seccomp, getrandom
    // kexec_file_load, bpf
    (libc::SYS_execveat,         libc::SYS_execveat,          ALLOW),
    // userfaultfd
    (libc::SYS_membarrier,       libc::SYS_pidfd_send_signal, ALLOW), // copy_file_range, statx, rseq
    // io_uring_*, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick
    (libc::SYS_pidfd_open,       libc::SYS_pidfd_open,        ALLOW),
    (libc::SYS_clone3,           libc::SYS_clone3,            ABSENT), // its flags are in memory: glibc falls back to clone
    (libc::SYS_close_range,      libc::SYS_openat2,           ALLOW),
    // pidfd_getfd
    (libc::SYS_faccessat2,       libc::SYS_faccessat2,        ALLOW),
    // process_madvise
    (libc::SYS_epoll_pwait2,     libc::SYS_epoll_pwait2,      ALLOW),
    // mount_setattr, quotactl_fd
    (libc::SYS_landlock_create_ruleset, libc::SYS_landlock_restrict_self, ALLOW),
    // memfd_secret, process_mrelease
    (libc::SYS_futex_waitv,      libc::SYS_futex_waitv,       ALLOW),
    // set_mempolicy_home_node
    (CACHESTAT,                  FUTEX_REQUEUE,               ALLOW), // fchmodat2, map_shadow_stack, futex_wake, futex_wait
    (STATMOUNT,                  LSM_LIST_MODULES,            ABSENT),
    (libc::SYS_mseal,            REMOVEXATTRAT,               ALLOW), // setxattrat, getxattrat, listxattrat
    (REMOVEXATTRAT + 1,          c_long::MAX,                 ABSENT),
];

/// What holds for a run beside.
const RUN_RULES: &[Rule] = &[(libc::SYS_fsync, libc::SYS_fdatasync, ALLOW)];

/// What holds for a build step beside. Its tree is worth nothing until it is whole, and is then synced as a whole.
/// For `chroot` the kernel asks for `CAP_SYS_CHROOT` too.
const BUILD_RULES: &[Rule] = &[
    (libc::SYS_fsync, libc::SYS_fdatasync, IGNORE),
    (libc::SYS_chroot, libc::SYS_chroot, ALLOW),
];

/// What a template of warm runs may beside: its children enter the namespaces that are made for them.
const TEMPLATE_RULES: &[Rule] = &[
    (libc::SYS_fsync, libc::SYS_fdatasync, ALLOW),
    (libc::SYS_setns, libc::SYS_setns, ALLOW),
];

const fn rules_of(profile: Profile) -> &'static [Rule] {
    match profile {
        Profile::Run => RUN_RULES,
        Profile::Build => BUILD_RULES,
    }
}

const CACHESTAT: c_long = 451;
const FUTEX_REQUEUE: c_long = 456;
const STATMOUNT: c_long = 457;
const LSM_LIST_MODULES: c_long = 461;
const REMOVEXATTRAT: c_long = 466;

/// `TIOCSTI` and `TIOCLINUX` type into a terminal, `TIOCSETD` loads line disciplines.
#[rustfmt::skip]
const IOCTL_CHECK: &[Test] = &[
    Test::Load(1),
    Test::Equal(0x5412, Then::Verdict(DENY)),
    Test::Equal(0x541c, Then::Verdict(DENY)),
    Test::Equal(0x5423, Then::Verdict(DENY)),
    Test::Otherwise(Then::Verdict(ALLOW)),
];

/// `AF_UNIX`; `AF_INET` and `AF_INET6` as TCP, UDP and ICMP datagrams; `AF_NETLINK` for routes only (`getifaddrs`).
#[rustfmt::skip]
const SOCKET_CHECK: &[Test] = &[
    Test::Load(0),
    Test::Equal(AF_UNIX, Then::Verdict(ALLOW)),
    Test::Equal(AF_NETLINK, Then::Skip(15)),
    Test::Equal(AF_INET, Then::Skip(2)),
    Test::Equal(AF_INET6, Then::Skip(1)),
    Test::Otherwise(Then::Verdict(errno(EAFNOSUPPORT))),
    Test::Load(1),
    Test::Mask(0xf), // without SOCK_NONBLOCK and SOCK_CLOEXEC
    Test::Equal(SOCK_STREAM, Then::Skip(2)),
    Test::Equal(SOCK_DGRAM, Then::Skip(1)),
    Test::Otherwise(Then::Verdict(DENY)),
    Test::Load(2),
    Test::Equal(0, Then::Verdict(ALLOW)), // the type's own
    Test::Equal(IPPROTO_TCP, Then::Verdict(ALLOW)),
    Test::Equal(IPPROTO_UDP, Then::Verdict(ALLOW)),
    Test::Equal(IPPROTO_ICMP, Then::Verdict(ALLOW)),
    Test::Equal(IPPROTO_ICMPV6, Then::Verdict(ALLOW)),
    Test::Otherwise(Then::Verdict(errno(EPROTONOSUPPORT))),
    Test::Load(2),
    Test::Equal(NETLINK_ROUTE, Then::Verdict(ALLOW)),
    Test::Otherwise(Then::Verdict(errno(EPROTONOSUPPORT))),
];

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const IPPROTO_ICMP: u32 = 1;
const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_ICMPV6: u32 = 58;
const NETLINK_ROUTE: u32 = 0;

const CLONE_CHECK: &[Test] = &[
    Test::Load(0),
    Test::AnyBit(NAMESPACE_FLAGS, Then::Verdict(DENY)),
    Test::Otherwise(Then::Verdict(ALLOW)),
];

const NAMESPACE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// The plain personality, and the question which one is in force.
const PERSONALITY_CHECK: &[Test] = &[
    Test::Load(0),
    Test::Equal(0, Then::Verdict(ALLOW)),
    Test::Equal(u32::MAX, Then::Verdict(ALLOW)),
    Test::Otherwise(Then::Verdict(DENY)),
];

/// The limit of core dumps stays 1, the one value with which the kernel starts no handler on the host: with 0 it
/// would. Programs that set it to 0 are told that they have.
#[rustfmt::skip]
const SET_LIMIT_CHECK: &[Test] = &[
    Test::Load(0),
    Test::Equal(libc::RLIMIT_CORE, Then::Verdict(IGNORE)),
    Test::Otherwise(Then::Verdict(ALLOW)),
];

/// The same for `prlimit`, which only reads where its third argument is null.
#[rustfmt::skip]
const CHANGE_LIMIT_CHECK: &[Test] = &[
    Test::Load(1),
    Test::Equal(libc::RLIMIT_CORE, Then::Skip(1)),
    Test::Otherwise(Then::Verdict(ALLOW)),
    Test::Load(2),
    Test::Equal(0, Then::Skip(1)),
    Test::Otherwise(Then::Verdict(IGNORE)),
    Test::LoadUpper(2),
    Test::Equal(0, Then::Verdict(ALLOW)),
    Test::Otherwise(Then::Verdict(IGNORE)),
];

const CHECKS: &[&[Test]] = &[
    IOCTL_CHECK,
    SOCKET_CHECK,
    CLONE_CHECK,
    PERSONALITY_CHECK,
    SET_LIMIT_CHECK,
    CHANGE_LIMIT_CHECK,
];

/// The filter of a profile.
pub(crate) fn filter(profile: Profile) -> Option<Vec<Instruction>> {
    assemble(&segments(rules_of(profile)), CHECKS)
}

/// The filter of a template of warm runs: that of a run, and `setns`.
pub(crate) fn template_filter() -> Option<Vec<Instruction>> {
    assemble(&segments(TEMPLATE_RULES), CHECKS)
}

/// What a template's child adds to the filter that it inherits, so that both together are the filter of a run.
pub(crate) fn child_filter() -> Option<Vec<Instruction>> {
    let segment = |first: c_long, verdict| Segment {
        first: u32::try_from(first).unwrap_or(u32::MAX),
        verdict,
    };
    let segments = [
        segment(0, ALLOW),
        segment(libc::SYS_setns, DENY),
        segment(libc::SYS_setns + 1, ALLOW),
    ];
    assemble(&segments, &[])
}

/// The filters of a network gateway, to be loaded in this order: that of a run, and one on top of it that denies what a
/// process needs to become more than it is. Threads it may start: names are looked up on them.
pub(crate) fn gateway_filters() -> [Option<Vec<Instruction>>; 2] {
    let mut segments = Vec::new();
    for (first, last, verdict) in GATEWAY_RULES {
        push(&mut segments, *first, *verdict);
        push(&mut segments, last + 1, ALLOW);
    }
    segments.insert(
        0,
        Segment {
            first: 0,
            verdict: ALLOW,
        },
    );
    [filter(Profile::Run), assemble(&segments, &[THREAD_CHECK])]
}

#[rustfmt::skip]
const GATEWAY_RULES: &[Rule] = &[
    (libc::SYS_listen,   libc::SYS_listen,   DENY), // what it accepts from was made inside, by others
    (libc::SYS_clone,    libc::SYS_clone,    Verdict::Check(0)),
    (libc::SYS_fork,     libc::SYS_execve,   DENY),
    (libc::SYS_kill,     libc::SYS_kill,     DENY),
    (libc::SYS_execveat, libc::SYS_execveat, DENY),
];

const THREAD_CHECK: &[Test] = &[
    Test::Load(0),
    Test::AnyBit(libc::CLONE_THREAD as u32, Then::Verdict(ALLOW)),
    Test::Otherwise(Then::Verdict(DENY)),
];

fn segments(beside: &'static [Rule]) -> Vec<Segment> {
    let mut rules: Vec<&Rule> = RULES.iter().chain(beside).collect();
    rules.sort_by_key(|(first, ..)| *first);
    let mut segments: Vec<Segment> = Vec::with_capacity(rules.len() * 2);
    let mut next = 0;
    for (first, last, verdict) in rules {
        if *first > next {
            push(&mut segments, next, DENY);
        }
        push(&mut segments, *first, *verdict);
        next = last.saturating_add(1);
    }
    segments
}

fn push(segments: &mut Vec<Segment>, first: c_long, verdict: Verdict) {
    if segments.last().is_none_or(|last| last.verdict != verdict) {
        segments.push(Segment {
            first: u32::try_from(first).unwrap_or(u32::MAX),
            verdict,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bpf::interpreter::{ALLOWED, KILLED, NATIVE, X32, decide, failed};

    fn run(number: c_long, arguments: &[u64]) -> u32 {
        decide(
            &filter(Profile::Run).unwrap(),
            NATIVE,
            u32::try_from(number).unwrap(),
            arguments,
        )
    }

    #[test]
    fn the_filters_stay_small() {
        for profile in [Profile::Run, Profile::Build] {
            let length = filter(profile).unwrap().len();
            assert!(length <= 140, "{profile:?}: {length} instructions");
        }
    }

    #[test]
    fn every_number_gets_what_the_rules_say() {
        for profile in [Profile::Run, Profile::Build] {
            let program = filter(profile).unwrap();
            for number in 0..1024_u32 {
                let rule = RULES
                    .iter()
                    .chain(rules_of(profile))
                    .find(|(first, last, _)| (*first..=*last).contains(&c_long::from(number)));
                let expected = match rule.map_or(DENY, |(.., verdict)| *verdict) {
                    Verdict::Allow => ALLOWED,
                    Verdict::Errno(errno) => failed(i32::from(errno)),
                    Verdict::Check(_) => continue,
                };
                assert_eq!(
                    decide(&program, NATIVE, number, &[]),
                    expected,
                    "{profile:?} {number}"
                );
            }
        }
    }

    #[test]
    fn a_template_and_its_child_together_have_the_filter_of_a_run() {
        let (template, child) = (template_filter().unwrap(), child_filter().unwrap());
        for number in 0..1024_u32 {
            let verdicts = [&template, &child].map(|program| decide(program, NATIVE, number, &[0; 6]));
            let stricter = verdicts
                .into_iter()
                .find(|verdict| *verdict != ALLOWED)
                .unwrap_or(ALLOWED);
            assert_eq!(stricter, run(number.into(), &[0; 6]), "{number}");
        }
        let setns = u32::try_from(libc::SYS_setns).unwrap();
        assert_eq!(decide(&template, NATIVE, setns, &[0; 6]), ALLOWED);
    }

    #[test]
    fn rules_do_not_overlap() {
        for pair in RULES.windows(2) {
            assert!(pair[0].1 < pair[1].0, "{:?} {:?}", pair[0].0, pair[1].0);
        }
    }

    #[test]
    fn what_breaks_walls_is_denied() {
        let denied = [
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_kexec_load,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_open_by_handle_at,
            libc::SYS_settimeofday,
            libc::SYS_clock_settime,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_sethostname,
            libc::SYS_fsopen,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
            libc::SYS_pidfd_getfd,
            libc::SYS_modify_ldt,
            libc::SYS_iopl,
            libc::SYS_ioperm,
            libc::SYS_chroot,
            libc::SYS_syslog,
            libc::SYS_quotactl,
            libc::SYS_acct,
            libc::SYS_fanotify_init,
            libc::SYS_kcmp,
        ];
        for number in denied {
            assert_eq!(run(number, &[0; 6]), failed(EPERM), "{number}");
        }
        assert_eq!(run(libc::SYS_clone3, &[0; 6]), failed(ENOSYS));
        assert_eq!(run(500, &[]), failed(ENOSYS));
        assert_eq!(run(libc::SYS_sync, &[]), failed(0));
    }

    #[test]
    fn other_abis_are_killed() {
        let program = filter(Profile::Run).unwrap();
        assert_eq!(decide(&program, NATIVE, X32, &[]), KILLED);
        assert_eq!(decide(&program, NATIVE, u32::MAX, &[]), KILLED);
        assert_eq!(decide(&program, 0x4000_0003, 0, &[]), KILLED);
    }

    #[test]
    fn sockets_are_checked_by_family_type_and_protocol() {
        let socket = |family: u64, kind: u64, protocol: u64| run(libc::SYS_socket, &[family, kind, protocol]);
        let (family, protocol) = (failed(EAFNOSUPPORT), failed(EPROTONOSUPPORT));
        let cases = [
            (1, 1, 0, ALLOWED),
            (1, 5, 0, ALLOWED),
            (2, 1, 0, ALLOWED),
            (2, 1, 6, ALLOWED),
            (10, 2, 17, ALLOWED),
            (2, 0x80801, 0, ALLOWED),
            (2, 2, 1, ALLOWED),
            (10, 2, 58, ALLOWED),
            (16, 3, 0, ALLOWED),
            (2, 3, 255, failed(EPERM)),
            (2, 5, 132, failed(EPERM)),
            (2, 6, 33, failed(EPERM)),
            (2, 1, 132, protocol),
            (2, 1, 262, protocol),
            (2, 2, 115, protocol),
            (16, 3, 9, protocol),
            (16, 3, 16, protocol),
            (40, 1, 0, family),
            (17, 3, 0, family),
            (38, 5, 0, family),
            (0, 1, 0, family),
            (44, 3, 0, family),
            (0x1_0000_0028, 1, 0, family),
            (0x1_0000_0001, 1, 0, ALLOWED),
        ];
        for (a, b, c, expected) in cases {
            assert_eq!(socket(a, b, c), expected, "socket({a}, {b}, {c})");
        }
    }

    #[test]
    fn terminals_clones_and_personalities_are_checked() {
        for request in [0x5412, 0x541c, 0x5423, 0xffff_ffff_0000_5412] {
            assert_eq!(run(libc::SYS_ioctl, &[0, request]), failed(EPERM), "{request:#x}");
        }
        assert_eq!(run(libc::SYS_ioctl, &[0, 0x5413]), ALLOWED);
        for bit in [
            0x2_0000,
            0x200_0000,
            0x400_0000,
            0x800_0000,
            0x1000_0000,
            0x2000_0000,
            0x4000_0000,
        ] {
            assert_eq!(run(libc::SYS_clone, &[bit | 0x11]), failed(EPERM), "{bit:#x}");
        }
        assert_eq!(run(libc::SYS_clone, &[0x3d_0f00]), ALLOWED);
        assert_eq!(run(libc::SYS_personality, &[0x4_0000]), failed(EPERM));
        assert_eq!(run(libc::SYS_setrlimit, &[4, 1]), failed(0));
        assert_eq!(run(libc::SYS_setrlimit, &[7, 1]), ALLOWED);
        for (arguments, expected) in [
            ([0, 4, 0, 1], ALLOWED),
            ([0, 4, 1, 1], failed(0)),
            ([0, 0x1_0000_0004, 1, 1], failed(0)),
            ([0, 4, 0x1_0000_0000, 1], failed(0)),
            ([0, 3, 1, 1], ALLOWED),
        ] {
            assert_eq!(run(libc::SYS_prlimit64, &arguments), expected, "{arguments:?}");
        }
        assert_eq!(run(libc::SYS_personality, &[u64::from(u32::MAX)]), ALLOWED);
    }
}
