//! Who outlives whom: the program, its children, the caller.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use cooper_sandbox::{Caller, End};
use rustix::process::{Pid, Signal};

use crate::bed::{Bed, alive, cgroups_of, contained, marker, wait_for};

#[test]
fn a_daemon_dies_with_the_run() {
    let bed = Bed::new();
    let marker = marker();
    let script = format!(
        "(setsid sh -c 'trap : TERM HUP INT; sleep {marker} & sleep {marker}' >/dev/null 2>&1 &)
        while ! grep -q {marker} /proc/[0-9]*/cmdline; do :; done; echo started"
    );
    let outcome = bed.shell(&script).outcome();
    assert_eq!(outcome.end, End::Exited(0));
    assert_eq!(outcome.stdout, b"started\n");
    assert_eq!(alive(&marker), Vec::<u32>::new());
    assert_eq!(cgroups_of(std::process::id()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn orphans_are_reaped_while_the_run_goes_on() {
    let script = "for i in 1 2 3 4 5 6 7 8; do (sh -c : &); done; sleep 0.5; ls /proc | grep -c '^[0-9]'";
    let left: u32 = Bed::new().shell(script).stdout().trim().parse().unwrap();
    assert!(left <= 3, "{left}");
}

/// A caller in a process of its own that runs a script, after the script has said `ready`.
fn caller(bed: &Bed, script: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(contained())
        .arg(bed.tree())
        .args(["/bin/sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_child(child);
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn signals_to_the_caller_reach_the_programs_handler() {
    let bed = Bed::new();
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
    ] {
        let script = format!("trap 'echo got; exit 3' {name}; echo ready; while :; do sleep 0.05; done");
        let (mut child, mut output) = caller(&bed, &script);
        send(&child, signal);
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(
            (rest.as_str(), child.wait().unwrap().code()),
            ("got\n", Some(3)),
            "{name}"
        );
    }
}

#[test]
fn an_interrupt_at_a_terminal_reaches_the_whole_process_group() {
    let bed = Bed::new();
    bed.put(
        "/bin/pair",
        "#!/bin/sh\ntrap 'echo parent; exit 4' INT
         (trap 'echo child; exit' INT; echo ready; while :; do sleep 0.05; done)\n",
        0o755,
    );
    // Without `exec`, some shells stay between: they die of the interrupt, and their status is what is told.
    let command = format!(
        "exec {} {} /bin/pair",
        contained().display(),
        bed.tree().display()
    );
    let mut terminal = Command::new("script")
        .args([
            "--quiet",
            "--flush",
            "--return",
            "--command",
            &command,
            "/dev/null",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(terminal.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line.trim(), "ready");
    let mut keyboard = terminal.stdin.take().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let told: Vec<&str> = rest.trim_start_matches("^C").split_whitespace().collect();
    assert_eq!(
        (told, terminal.wait().unwrap().code()),
        (vec!["child", "parent"], Some(4))
    );
}

#[test]
fn a_signal_without_a_handler_ends_the_program() {
    let bed = Bed::new();
    let (mut child, _output) = caller(&bed, "echo ready; exec sleep 1000");
    send(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
    assert_eq!(cgroups_of(child.id()), Vec::<std::path::PathBuf>::new());
}

#[test]
fn everything_dies_with_the_caller_and_the_next_run_cleans_up() {
    let bed = Bed::new();
    let marker = marker();
    let script = format!("(setsid sleep {marker} &); sleep {marker} & echo ready; exec sleep {marker}");
    let (mut child, _output) = caller(&bed, &script);
    wait_for(|| alive(&marker).len() == 3);
    // An ordinary user's run has none.
    let made = cgroups_of(child.id());
    assert_eq!(made.is_empty(), Caller::of_process().is_namespaced());
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for(|| alive(&marker).is_empty());
    wait_for(|| {
        assert_eq!(bed.command(&["/bin/true"]).outcome().end, End::Exited(0));
        cgroups_of(child.id()).is_empty()
    });
}

#[test]
fn a_caller_killed_at_any_moment_leaves_nothing() {
    let bed = Bed::new();
    let marker = marker();
    let mut callers = Vec::new();
    // A run is made in two to ten milliseconds: these end before, in the middle of, and after that.
    for delay in (0..40).map(|step| Duration::from_micros(step * 250)) {
        let mut child = Command::new(contained())
            .arg(bed.tree())
            .args(["/bin/sleep", &marker])
            .spawn()
            .unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        callers.push(child.id());
    }
    wait_for(|| alive(&marker).is_empty());
    wait_for(|| {
        assert_eq!(bed.command(&["/bin/true"]).outcome().end, End::Exited(0));
        callers.iter().all(|caller| cgroups_of(*caller).is_empty())
    });
}

#[test]
fn signals_from_inside_do_not_reach_the_first_process() {
    let bed = Bed::new();
    let script = "for s in KILL STOP TERM INT ABRT SEGV; do kill -$s 1 2>/dev/null; kill -$s -1 2>/dev/null; done; exit 6";
    let script = format!(
        "trap '' TERM INT ABRT; {}",
        script
            .replace("ABRT SEGV", "ABRT")
            .replace("; kill -$s -1 2>/dev/null", "")
    );
    for run in [bed.shell(&script), bed.shell(&script).build()] {
        assert_eq!(run.outcome().end, End::Exited(6));
    }
}
