//! Runs by the runtimes of the host, beside our own: the same program, the same answer, and nothing left.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cooper_sandbox::{End, Enforcer, Limit, Network, Outcome, Runtime, RuntimeProgram, SandboxError, Secret};

use crate::bed::{Bed, MIB, Run, alive, cgroups_of, marker};

fn crun() -> RuntimeProgram {
    RuntimeProgram::installed(Runtime::Crun).expect("install Debian's crun")
}

/// gVisor is in Debian since trixie: where it is not, these tests say so and are passed.
fn runsc() -> Option<RuntimeProgram> {
    let found = RuntimeProgram::installed(Runtime::Runsc);
    if found.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: runsc is not installed; Debian has it since trixie"
        );
    }
    found
}

fn all() -> Vec<RuntimeProgram> {
    [Some(crun()), runsc()].into_iter().flatten().collect()
}

fn roomy(run: Run) -> Run {
    run.limited(|limits| limits.memory_bytes = 256 * MIB)
}

fn text(outcome: &Outcome) -> (End, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (outcome.end, text(&outcome.stdout), text(&outcome.stderr))
}

#[test]
fn the_same_program_gives_the_same_answer() {
    let bed = Bed::new();
    let script = "id -u; id -g; id -G; pwd; hostname; umask; echo $A; ls /run/cooper /run/secrets; \
        cat /run/cooper/in; cat /run/secrets/token; ls -ld / /tmp /work /run | cut -c1-10; ulimit -n; \
        grep -E 'Cap(Inh|Prm|Eff|Bnd)' /proc/self/status; echo wrong >&2; \
        for f in /x /etc/x /run/x /run/cooper/in /work/x /tmp/x /dev/shm/x; do \
            (echo 1 > $f) 2>/dev/null && echo $f; done; \
        cat; exit 7";
    let mut run = roomy(bed.shell(script));
    run.env.push(("A".into(), "b c".into()));
    run.cwd = "/work".into();
    run.stdin = cooper_sandbox::Stdin::Bytes(b"typed\n".to_vec());
    run.files.push(cooper_sandbox::InjectedFile {
        path: "/run/cooper/in".into(),
        bytes: b"given\n".to_vec(),
        mode: 0o444,
    });
    run.secrets.push(Secret::new("token", b"hush\n".to_vec()));
    let own = text(&run.outcome());
    assert_eq!(own.0, End::Exited(7), "{own:?}");
    for runtime in all() {
        run = run.by(&runtime);
        assert_eq!(text(&run.outcome()), own, "{runtime:?}");
    }
}

#[test]
fn limits_hold_and_the_outcome_says_by_what() {
    let bed = Bed::new();
    bed.compile("use_up", "use_up.c");
    for runtime in all() {
        let marker = marker();
        let started = Instant::now();
        let outcome = roomy(bed.shell(&format!("sleep {marker} & (sleep {marker} &) ; sleep {marker}")))
            .limited(|limits| limits.wall = Some(Duration::from_secs(2)))
            .by(&runtime)
            .outcome();
        assert_eq!(outcome.end, End::TimeLimit, "{runtime:?}");
        assert!(started.elapsed() < Duration::from_secs(8), "{runtime:?}");
        assert_eq!(alive(&marker), Vec::<u32>::new());
        let memory = roomy(bed.shell("x=y; while :; do x=$x$x; done"))
            .by(&runtime)
            .outcome();
        assert!(memory.oom_killed, "{runtime:?}: {memory:?}");
        assert_eq!(memory.end, End::MemoryLimit, "{runtime:?}");
        let script = "i=0; while [ $i -lt 400 ]; do sleep 9 & i=$((i+1)); done; echo all";
        let bomb = roomy(bed.shell(script))
            .limited(|limits| limits.pids = 16)
            .by(&runtime)
            .outcome();
        assert_ne!(
            String::from_utf8_lossy(&bomb.stdout),
            "all\n",
            "{runtime:?}: {bomb:?}"
        );
        let full = roomy(bed.shell("dd if=/dev/zero of=/work/big bs=1M count=20 2>/dev/null || echo full"))
            .by(&runtime)
            .stdout();
        assert_eq!(full, "full\n", "{runtime:?}");
        for limit in [
            Limit::Memory,
            Limit::Pids,
            Limit::Cpu,
            Limit::OpenFiles,
            Limit::Wall,
            Limit::Tmp,
        ] {
            let by = outcome.enforced.iter().find(|enforced| enforced.limit == limit);
            assert!(
                by.is_some_and(|by| by.by != Enforcer::Nothing),
                "{limit:?}: {by:?}"
            );
        }
    }
}

#[test]
fn signals_are_told_as_far_as_the_runtime_tells_them() {
    let run = Bed::new().shell("kill -9 $$");
    let outcome = run.by(&crun()).outcome();
    assert_eq!(outcome.end, End::Signaled(9));
}

#[test]
fn a_filter_is_loaded_and_the_host_is_not_to_be_seen() {
    let bed = Bed::new();
    let script = "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status; cut -d: -f3 /proc/self/cgroup | sort -u;         set -- /proc/[0-9]*; echo $#; ls /sys/fs 2>&1 | wc -l;         mount -t tmpfs x /tmp 2>&1 | grep -c denied; unshare -U true 2>&1 | grep -c denied;         cat /proc/self/mountinfo | grep -c /var/lib/cooper; true";
    let run = bed.shell(script);
    let own = text(&run.outcome());
    assert_eq!(text(&run.by(&crun()).outcome()), own);
    assert!(own.1.contains("Seccomp:\t2"), "{own:?}");
}

#[test]
fn what_it_cannot_do_is_refused_with_the_reason() {
    let bed = Bed::new();
    let missing = bed.command(&["/bin/nothing"]).by(&crun()).attempt();
    assert!(
        matches!(missing, Err(SandboxError::Program { .. })),
        "{missing:?}"
    );
    let gone = RuntimeProgram::at(Runtime::Crun, Path::new("/nonexistent/crun")).unwrap();
    let gone = bed.shell("true").by(&gone).attempt();
    assert!(matches!(gone, Err(SandboxError::Setup { .. })), "{gone:?}");
    // No such runtime at all: it ends with an error, and nothing was run.
    let fails = RuntimeProgram::at(Runtime::Crun, Path::new("/bin/false")).unwrap();
    let fails = bed.shell("true").by(&fails).attempt();
    assert!(
        matches!(fails, Err(SandboxError::RuntimeFailed { .. })),
        "{fails:?}"
    );
    let runsc = RuntimeProgram::at(Runtime::Runsc, Path::new("/bin/true")).unwrap();
    let mut networked = roomy(bed.shell("true"));
    networked.network = Network::Host;
    let small = bed.shell("true").limited(|limits| limits.memory_bytes = 64 * MIB);
    for run in [networked, small] {
        let refused = run.by(&runsc).attempt();
        assert!(
            matches!(refused, Err(SandboxError::RuntimeRefuses { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn nothing_is_left_after_twenty_runs() {
    let bed = Bed::new();
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let before = mounts();
    for runtime in all() {
        for index in 0..20 {
            let run = roomy(bed.shell("sleep 0.0 & exit 3")).by(&runtime);
            assert_eq!(run.outcome().end, End::Exited(3), "{runtime:?}, run {index}");
        }
    }
    assert_eq!(mounts(), before);
    assert_eq!(cgroups_of(std::process::id()), Vec::<std::path::PathBuf>::new());
}
