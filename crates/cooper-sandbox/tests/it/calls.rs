//! System calls that a run must not have.

use cooper_sandbox::End;

use crate::bed::Bed;

/// What each call of the probe returns, where it is not `EPERM`.
fn expected(call: &str) -> &'static str {
    match call {
        "clone3" => "ENOSYS",
        "vsock" | "packet" | "alg" | "vsock-pair" => "EAFNOSUPPORT",
        "audit" => "EPROTONOSUPPORT",
        // The first three do nothing.
        "sync" | "setrlimit-core" | "prlimit-core" | "stream" | "route" | "prlimit-files" => "done",
        "core-limit" => "1",
        _ => "EPERM",
    }
}

#[test]
fn what_breaks_walls_is_refused() {
    let bed = Bed::new();
    bed.compile("calls", "calls.c");
    let run = bed.command(&["calls"]).stdout();
    assert!(run.lines().count() > 55, "{run}");
    for line in run.lines() {
        let (call, result) = line.split_once(' ').unwrap();
        assert_eq!(result, expected(call), "{call}");
    }
    let build = bed.command(&["calls"]).build().stdout();
    for line in build.lines().filter(|line| !line.starts_with("chroot ")) {
        let (call, result) = line.split_once(' ').unwrap();
        assert_eq!(result, expected(call), "{call} in a build");
    }
    assert!(build.contains("chroot done\n"));
}

#[test]
fn other_abis_are_killed() {
    let bed = Bed::new();
    bed.compile("calls", "calls.c");
    for abi in ["x32", "int80"] {
        assert_eq!(
            bed.command(&["calls", abi]).outcome().end,
            End::Signaled(libc::SIGSYS),
            "{abi}"
        );
    }
}
