//! How a program's end is told.

use cooper_sandbox::End;

use crate::bed::Bed;

#[test]
fn exit_statuses_are_told() {
    let bed = Bed::new();
    for status in [0, 1, 7, 255] {
        let outcome = bed.shell(&format!("exit {status}")).outcome();
        assert_eq!(outcome.end, End::Exited(status));
    }
}

#[test]
fn death_by_a_signal_is_told() {
    let bed = Bed::new();
    for (name, signal) in [
        ("TERM", libc::SIGTERM),
        ("KILL", libc::SIGKILL),
        ("SEGV", libc::SIGSEGV),
    ] {
        let outcome = bed.shell(&format!("kill -{name} $$")).outcome();
        assert_eq!(outcome.end, End::Signaled(signal), "{name}");
        assert!(!outcome.oom_killed);
    }
}
