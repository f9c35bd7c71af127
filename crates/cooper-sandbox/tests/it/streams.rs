//! Standard input, output and error.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio as Pipe};
use std::time::Duration;

use cooper_sandbox::{End, Stdin, Stdio};

use crate::bed::{Bed, contained};

#[test]
fn output_and_error_are_kept_apart() {
    let outcome = Bed::new().shell("echo out; echo err >&2").outcome();
    assert_eq!(
        (outcome.stdout.as_slice(), outcome.stderr.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
    assert!(!outcome.truncated);
}

#[test]
fn megabytes_pass_through_both_pipes() {
    let script = "head -c 6000001 /dev/zero & head -c 5000003 /dev/zero >&2; wait";
    let outcome = Bed::new().shell(script).outcome();
    assert_eq!(outcome.end, End::Exited(0));
    assert_eq!(
        (outcome.stdout.len(), outcome.stderr.len()),
        (6_000_001, 5_000_003)
    );
    assert!(!outcome.truncated);
}

/// Without that, this test would not end.
#[test]
fn a_program_cannot_hold_the_pipe_that_is_read_from() {
    let bed = Bed::new();
    bed.compile("hold", "hold.c");
    for run in [
        bed.command(&["/bin/hold"]),
        bed.command(&["/bin/hold", "sendfile"]),
    ] {
        let outcome = run.outcome();
        assert_eq!(
            (outcome.end, &outcome.stdout[..]),
            (End::Exited(0), &b"begun\n"[..])
        );
    }
    let outcome = bed.command(&["/bin/hold"]).build().outcome();
    assert_eq!(outcome.end, End::Exited(0), "a build step neither");
}

#[test]
fn what_goes_beyond_the_bounds_is_dropped_and_told() {
    let bed = Bed::new();
    let mut run = bed.shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 3");
    for (stdout_max, stderr_max, truncated) in [(1000, 0, true), (3_000_000, 3_000_000, false)] {
        run.stdio = Stdio::Capture {
            stdout_max,
            stderr_max,
        };
        let outcome = run.outcome();
        assert_eq!(outcome.end, End::Exited(3), "the program is not disturbed");
        assert_eq!(
            (outcome.stdout.len() as u64, outcome.stderr.len() as u64),
            (stdout_max, stderr_max)
        );
        assert_eq!(outcome.truncated, truncated);
    }
}

#[test]
fn bytes_on_standard_input_arrive_whole() {
    let bed = Bed::new();
    let mut run = bed.command(&["/bin/cat"]);
    let bytes: Vec<u8> = (0..3_000_000_u32)
        .flat_map(u32::to_le_bytes)
        .take(4_000_000)
        .collect();
    run.stdin = Stdin::Bytes(bytes.clone());
    assert!(run.outcome().stdout == bytes);
    run.stdin = Stdin::Null;
    assert_eq!(run.outcome().stdout, b"");
}

#[test]
fn streams_can_be_opened_by_name() {
    let bed = Bed::new();
    let mut run = bed.shell("cat /dev/stdin >/dev/stdout; echo err >/dev/stderr; echo fd >/proc/self/fd/1");
    run.stdin = Stdin::Bytes(b"in\n".to_vec());
    let outcome = run.outcome();
    assert_eq!(String::from_utf8_lossy(&outcome.stderr), "err\n");
    assert_eq!(String::from_utf8_lossy(&outcome.stdout), "in\nfd\n");
}

#[test]
fn an_empty_input_is_not_the_hosts_device() {
    let bed = Bed::new();
    let host = std::fs::metadata("/dev/null").unwrap();
    for run in [
        bed.command(&["stat", "-L", "-c", "%d", "/dev/stdin"]),
        bed.command(&["stat", "-L", "-c", "%d", "/dev/stdin"]).build(),
    ] {
        assert_ne!(
            run.stdout().trim(),
            host.dev().to_string(),
            "a build step could change its mode"
        );
    }
}

#[test]
fn a_process_left_behind_with_the_streams_open_does_not_hold_the_run() {
    let outcome = Bed::new()
        .shell("sleep 1000 & sleep 1000 </dev/null & echo done")
        .outcome();
    assert_eq!(outcome.end, End::Exited(0));
    assert_eq!(outcome.stdout, b"done\n");
    assert!(outcome.wall < Duration::from_secs(10), "{:?}", outcome.wall);
}

#[test]
fn closed_streams_do_not_end_the_run() {
    let outcome = Bed::new().shell("exec >&- 2>&- <&-; sleep 0.3; exit 4").outcome();
    assert_eq!(outcome.end, End::Exited(4));
    assert!(outcome.wall >= Duration::from_millis(300));
}

#[test]
fn endless_output_ends_with_the_time() {
    let bed = Bed::new();
    let mut run = bed
        .shell("yes & yes >&2 & exec cat /dev/zero")
        .limited(|limits| limits.wall = Some(Duration::from_millis(500)));
    run.stdio = Stdio::Capture {
        stdout_max: 10,
        stderr_max: 10,
    };
    let outcome = run.outcome();
    assert_eq!(outcome.end, End::TimeLimit);
    assert!(outcome.wall < Duration::from_secs(5), "{:?}", outcome.wall);
}

#[test]
fn a_reader_that_goes_away_ends_the_program_as_usual() {
    let bed = Bed::new();
    let mut child = Command::new(contained())
        .arg(bed.tree())
        .arg("/bin/yes")
        .stdout(Pipe::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGPIPE));
}

#[test]
fn inherited_streams_are_the_callers() {
    let bed = Bed::new();
    let mut child = Command::new(contained())
        .arg(bed.tree())
        .args([
            "/bin/sh",
            "-c",
            "cat /dev/stdin >/dev/stdout; echo err >/dev/stderr; exit 9",
        ])
        .stdin(Pipe::piped())
        .stdout(Pipe::piped())
        .stderr(Pipe::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(output.stdout, b"through");
    assert_eq!(output.stderr, b"err\n");
}
