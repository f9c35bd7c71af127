//! How much a run may use.

use std::process::Command;
use std::time::{Duration, Instant};

use cooper_sandbox::{End, Enforcer, Limit, Limits, Root, SandboxError, Stdin};

use crate::bed::{Bed, MIB, alive, contained, marker};

/// A test bed with the program that uses things up.
fn hungry() -> Bed {
    let bed = Bed::new();
    bed.compile("use_up", "use_up.c");
    bed
}

#[test]
fn every_limit_is_held_by_something() {
    let outcome = Bed::new().command(&["/bin/true"]).outcome();
    for limit in [
        Limit::Memory,
        Limit::Pids,
        Limit::Cpu,
        Limit::OpenFiles,
        Limit::Wall,
        Limit::Tmp,
        Limit::Scratch,
    ] {
        let by = outcome.enforced.iter().find(|enforced| enforced.limit == limit);
        assert!(
            by.is_some_and(|by| by.by != Enforcer::Nothing),
            "{limit:?}: {by:?}"
        );
    }
    assert!(
        outcome
            .memory_peak_bytes
            .is_some_and(|peak| peak > 0 && peak < 64 * MIB)
    );
}

#[test]
fn time_over_kills_all() {
    let bed = Bed::new();
    let marker = marker();
    let started = Instant::now();
    let outcome = bed
        .shell(&format!("sleep {marker} & (sleep {marker} &) ; sleep {marker}"))
        .limited(|limits| limits.wall = Some(Duration::from_millis(300)))
        .outcome();
    assert_eq!(outcome.end, End::TimeLimit);
    assert!(outcome.wall >= Duration::from_millis(300) && started.elapsed() < Duration::from_secs(5));
    assert_eq!(alive(&marker), Vec::<u32>::new());
}

#[test]
fn a_program_that_stops_itself_meets_the_time_limit() {
    let outcome = Bed::new()
        .shell("kill -STOP $$")
        .limited(|limits| limits.wall = Some(Duration::from_millis(300)))
        .outcome();
    assert_eq!(outcome.end, End::TimeLimit);
}

#[test]
fn too_much_memory_ends_the_run() {
    let bed = hungry();
    let eat = |mebibytes: &str| {
        let run = bed.command(&["use_up", "memory", mebibytes]);
        run.limited(|limits| limits.memory_bytes = 48 * MIB).outcome()
    };
    let fits = eat("30");
    assert_eq!((fits.end, fits.oom_killed), (End::Exited(0), false));
    let peak = fits.memory_peak_bytes.unwrap();
    assert!((30 * MIB..=48 * MIB).contains(&peak), "{peak}");
    let bursts = eat("60");
    assert_eq!((bursts.end, bursts.oom_killed), (End::MemoryLimit, true));
}

#[test]
fn an_out_of_memory_child_is_told_beside_the_programs_own_end() {
    let bed = hungry();
    let run = bed.shell("use_up memory 60; [ $? = 137 ] && exit 5");
    let outcome = run.limited(|limits| limits.memory_bytes = 32 * MIB).outcome();
    // Version 2 kills the whole group.
    let version_2 = outcome
        .enforced
        .iter()
        .any(|enforced| enforced.by == Enforcer::CgroupV2);
    let end = if version_2 {
        End::MemoryLimit
    } else {
        End::Exited(5)
    };
    assert_eq!((outcome.end, outcome.oom_killed), (end, true));
}

#[test]
fn the_callers_own_memory_does_not_count() {
    let bed = hungry();
    let held = vec![1_u8; 200 << 20];
    let run = |mebibytes| {
        let run = bed.command(&["use_up", "memory", mebibytes]);
        run.limited(|limits| limits.memory_bytes = 48 * MIB).outcome()
    };
    let fits = run("30");
    assert_eq!((fits.end, fits.oom_killed), (End::Exited(0), false));
    assert_eq!(run("60").end, End::MemoryLimit);
    drop(held);
}

#[test]
fn files_in_memory_count_as_memory() {
    let bed = hungry();
    let cases = [
        vec!["/bin/dd", "if=/dev/zero", "of=/tmp/f", "bs=64k", "count=1000"],
        vec!["/bin/dd", "if=/dev/zero", "of=/work/f", "bs=64k", "count=1000"],
        vec!["/bin/dd", "if=/dev/zero", "of=/dev/shm/f", "bs=64k", "count=1000"],
        vec!["use_up", "memfd", "60"],
        vec!["use_up", "shm", "60"],
    ];
    for argv in cases {
        let run = bed.command(&argv).limited(|limits| {
            limits.memory_bytes = 32 * MIB;
            limits.tmp_bytes = 64 * MIB;
            limits.scratch_bytes = 64 * MIB;
        });
        let outcome = run.outcome();
        assert_eq!(outcome.end, End::MemoryLimit, "{argv:?}");
    }
}

#[test]
fn buffers_in_the_kernel_count_as_memory() {
    let bed = hungry();
    for what in ["sockets", "pipes", "streams", "datagrams"] {
        let run = bed.command(&["use_up", what]).limited(|limits| {
            limits.memory_bytes = 64 * MIB;
            limits.open_files = 512;
        });
        let outcome = run.outcome();
        let told = String::from_utf8_lossy(&outcome.stdout).trim().parse::<u64>();
        let bounded = outcome.end == End::MemoryLimit || told.is_ok_and(|mebibytes| mebibytes <= 64);
        assert!(bounded, "{what}: {outcome:?}");
    }
}

#[test]
fn places_that_can_be_written_are_bounded() {
    let bed = Bed::new();
    for (place, mebibytes) in [("/tmp", 3), ("/work", 2), ("/dev/shm", 3)] {
        let script = format!(
            "dd if=/dev/zero of={place}/f bs=64k 2>/tmp/err; tail -n3 /tmp/err >&2; wc -c <{place}/f"
        );
        let run = bed.shell(&script).limited(|limits| {
            limits.tmp_bytes = 3 * MIB;
            limits.scratch_bytes = 2 * MIB;
        });
        let outcome = run.outcome();
        let size: u64 = String::from_utf8_lossy(&outcome.stdout).trim().parse().unwrap();
        assert!(
            size <= mebibytes * MIB && size > (mebibytes - 1) * MIB,
            "{place}: {size}"
        );
    }
    let build = bed
        .shell("dd if=/dev/zero of=/run/f bs=64k 2>/dev/null; wc -c </run/f")
        .build();
    let size: u64 = build
        .limited(|limits| limits.scratch_bytes = 2 * MIB)
        .stdout()
        .trim()
        .parse()
        .unwrap();
    assert!((MIB..=2 * MIB).contains(&size), "{size}");
}

#[test]
fn the_number_of_files_is_bounded() {
    let script = "i=0; while : >/tmp/$i; do i=$((i+1)); done 2>/dev/null; ls /tmp | wc -l";
    let run = Bed::new().shell(script).limited(|limits| limits.tmp_bytes = MIB);
    let outcome = run.outcome();
    let files: u32 = String::from_utf8_lossy(&outcome.stdout)
        .trim()
        .parse()
        .unwrap_or(0);
    assert!(files < 400, "{outcome:?}");
}

#[test]
fn processes_and_threads_are_bounded() {
    let bed = hungry();
    for what in ["processes", "threads"] {
        let run = bed.command(&["use_up", what]).limited(|limits| limits.pids = 20);
        assert_eq!(run.stdout(), "19\n", "{what} beside the first");
    }
}

#[test]
fn a_fork_bomb_ends_with_the_time_and_the_host_is_fine() {
    let bed = Bed::new();
    let marker = marker();
    bed.put(
        "/bin/bomb",
        "#!/bin/sh\nwhile :; do /bin/bomb $1 & /bin/bomb $1 & done\n",
        0o755,
    );
    let outcome = bed
        .command(&["/bin/bomb", &marker])
        .limited(|limits| {
            limits.pids = 32;
            limits.wall = Some(Duration::from_secs(1));
        })
        .outcome();
    assert!(outcome.wall < Duration::from_secs(8), "{:?}", outcome.wall);
    assert_eq!(alive(&marker), Vec::<u32>::new());
}

#[test]
fn open_files_are_bounded() {
    let run = hungry()
        .command(&["use_up", "files"])
        .limited(|limits| limits.open_files = 50);
    assert_eq!(run.stdout(), "47\n", "beside the standard streams");
}

#[test]
fn the_least_that_can_be_asked_for_is_enough() {
    let bed = Bed::new();
    let mut run = bed.command(&["/bin/cat"]).limited(|limits| {
        limits.pids = 1;
        limits.open_files = 16;
        limits.tmp_bytes = 0;
        limits.scratch_bytes = 0;
    });
    run.stdin = Stdin::Bytes(b"word".to_vec());
    assert_eq!(run.stdout(), "word");
}

#[test]
fn extreme_limits_neither_hang_nor_panic() {
    let bed = Bed::new();
    let attempt = |change: &dyn Fn(&mut Limits)| bed.command(&["/bin/true"]).limited(change).attempt();
    for bytes in [0, 1, 4096, 100_000] {
        let end = attempt(&|limits| limits.memory_bytes = bytes).map(|outcome| outcome.end);
        assert!(matches!(end, Err(SandboxError::Spec { .. })), "{bytes}: {end:?}");
    }
    let most = attempt(&|limits| {
        limits.memory_bytes = u64::MAX;
        limits.wall = Some(Duration::MAX);
    });
    assert_eq!(most.unwrap().end, End::Exited(0));
    // Fewer than were asked for would be had in silence.
    let files = attempt(&|limits| limits.open_files = u64::MAX).map(|outcome| outcome.end);
    assert!(
        matches!(&files, Err(SandboxError::Spec { reason }) if reason.contains("lower the limit")),
        "{files:?}"
    );
    for change in [
        &(|limits: &mut Limits| limits.wall = Some(Duration::from_secs(u64::MAX / 4)))
            as &dyn Fn(&mut Limits),
        &|limits| limits.tmp_bytes = u64::MAX,
        &|limits| limits.scratch_bytes = u64::MAX,
        &|limits| limits.cpu_millis = u32::MAX,
        &|limits| limits.pids = u32::MAX,
    ] {
        match attempt(change) {
            Ok(outcome) => assert_eq!(outcome.end, End::Exited(0)),
            Err(error) => assert!(
                matches!(error, SandboxError::Cgroup { .. } | SandboxError::Setup { .. }),
                "{error:?}"
            ),
        }
    }
    let none = attempt(&|limits| limits.wall = Some(Duration::ZERO));
    assert_eq!(none.unwrap().end, End::TimeLimit);
}

#[test]
fn processor_time_is_bounded_for_all_processes_together() {
    let bed = hungry();
    let run = bed.shell("use_up spin 1000 & use_up spin 1000; wait");
    let outcome = run.limited(|limits| limits.cpu_millis = 200).outcome();
    // One second at 20 %, one period of 100 ms more at either end, and the making of the container.
    assert!(outcome.cpu < Duration::from_millis(500), "{:?}", outcome.cpu);
    assert!(outcome.cpu > Duration::from_millis(20), "{:?}", outcome.cpu);
}

#[test]
fn a_run_cannot_use_up_what_the_hosts_root_needs() {
    let bed = hungry();
    // Each tells how many it got and holds them for a while: as many as the next, and as a run alone.
    for what in ["inotify", "queues"] {
        let counts: Vec<String> = std::thread::scope(|scope| {
            let run = || bed.command(&["use_up", what, "0", "1"]).stdout();
            let running: Vec<_> = (0..3).map(|_| scope.spawn(run)).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(
            counts.iter().all(|count| *count == counts[0]),
            "{what}: {counts:?}"
        );
        assert_ne!(counts[0], "0\n", "{what}");
    }
}

/// A caller on a host without control groups.
fn without_controllers(bed: &Bed, arguments: &[&str]) -> std::process::Output {
    let script = "umount -a -t cgroup,cgroup2 && exec \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(contained());
    let options = arguments.iter().take_while(|text| text.starts_with("--")).count();
    let (options, program) = arguments.split_at(options);
    command
        .args(options)
        .arg(bed.tree())
        .args(program)
        .output()
        .unwrap()
}

#[test]
fn without_controllers_nothing_runs_unless_that_was_allowed() {
    let bed = hungry();
    let refused = without_controllers(&bed, &["/bin/echo", "ran"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(
        told.contains("NoController") && refused.stdout.is_empty(),
        "{refused:?}"
    );
    let processes = without_controllers(&bed, &["--best-effort", "/bin/use_up", "processes"]);
    assert_eq!(processes.stdout, b"63\n", "{processes:?}");
    let memory = without_controllers(&bed, &["--best-effort", "/bin/use_up", "memory", "300"]);
    assert!(!memory.status.success() && memory.stdout.is_empty(), "{memory:?}");
}

#[test]
fn a_writable_root_without_a_read_only_one_keeps_the_limits() {
    let bed = hungry();
    let tree = bed.tree();
    let run = bed.command(&["use_up", "memory", "60"]).build();
    let outcome = run
        .limited(|limits| limits.memory_bytes = 32 * MIB)
        .attempt_in(Root::WritableDir(&tree));
    assert_eq!(outcome.unwrap().end, End::MemoryLimit);
}
