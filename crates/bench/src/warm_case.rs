//! The cases of warm runs: a runner that takes script after script, against `docker exec` in a running container, and
//! a fresh interpreter under `chroot`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::case::{Bench, CaseResult, Goal, KNOWN, Limit};
use crate::cooper::Asked;
use crate::error::BenchError;
use crate::namespace::Namespace;
use crate::round::{Bytes, Contender, Times, play};
use crate::sets::memory_of;

const TRIVIAL: &str = "print(6 * 7)";
const GROUPBY: &str = "\
import pandas as pd
frame = pd.DataFrame({'group': [i % 10 for i in range(1000)], 'value': range(1000)})
print(int(frame.groupby('group').value.sum().sum()))
";
const GROUPBY_PRINTS: &str = "499500\n";
const PANDAS: Asked<'_> = Asked {
    name: "frames",
    dependencies: &["pandas"],
    packages: &[],
};
const DOCKERFILE: &str = "FROM bench-base\nRUN pip install --no-cache-dir pandas\n";
/// So many requests have no reply yet, at most.
const IN_FLIGHT: usize = 16;
const RUNS_AT_ONCE: usize = 400;
const EXECS_AT_ONCE: usize = 32;
const IN_A_ROW: usize = 10_000;
const ENDS: usize = 1000;
const LATENCIES: usize = 200;
/// What is idle, is idle after this time.
const REST: Duration = Duration::from_secs(2);

/// `cooper runner`, asked through its standard input.
struct Runner {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: u64,
}

impl Runner {
    fn start(mut command: Command) -> Result<Self, BenchError> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let spawned = command.spawn();
        let mut process = spawned.map_err(|source| BenchError::System {
            call: "spawn",
            source,
        })?;
        let gone = || not_done("it has no standard streams");
        let input = process.stdin.take().ok_or_else(gone)?;
        let output = BufReader::new(process.stdout.take().ok_or_else(gone)?);
        let mut runner = Self {
            process,
            input: Some(input),
            output,
            next: 0,
        };
        // The template has its imports when this is answered.
        runner.ask("pass", "")?;
        std::thread::sleep(REST);
        Ok(runner)
    }

    fn send(&mut self, script: &str) -> Result<(), BenchError> {
        let request = json!({"id": self.next, "script": script});
        self.next += 1;
        let input = self
            .input
            .as_mut()
            .ok_or_else(|| not_done("it was told to end"))?;
        let written = writeln!(input, "{request}").and_then(|()| input.flush());
        written.map_err(|source| BenchError::System {
            call: "write",
            source,
        })
    }

    fn receive(&mut self, prints: &str) -> Result<(), BenchError> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        read.map_err(|source| BenchError::System { call: "read", source })?;
        let reply: Value = serde_json::from_str(&line).unwrap_or_default();
        if reply["status"] == "exited" && reply["exit_code"] == 0 && reply["stdout"] == prints {
            Ok(())
        } else {
            Err(not_done(&line))
        }
    }

    /// One request and its reply.
    fn ask(&mut self, script: &str, prints: &str) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        self.send(script)?;
        self.receive(prints)?;
        Ok(begun.elapsed())
    }

    /// So many requests one after the other.
    fn ask_in_a_row(&mut self, count: usize) -> Result<Vec<f64>, BenchError> {
        (0..count)
            .map(|_| Ok(self.ask(TRIVIAL, "42\n")?.as_secs_f64()))
            .collect()
    }

    /// The time that each of many takes, when some are always on their way.
    fn ask_at_once(&mut self, count: usize) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        for sent in 0..count {
            if sent >= IN_FLIGHT {
                self.receive("42\n")?;
            }
            self.send(TRIVIAL)?;
        }
        for _ in 0..IN_FLIGHT.min(count) {
            self.receive("42\n")?;
        }
        Ok(per_run(begun, count))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}

fn per_run(begun: Instant, count: usize) -> Duration {
    begun.elapsed() / u32::try_from(count).unwrap_or(u32::MAX)
}

fn not_done(what: &str) -> BenchError {
    BenchError::NotDone {
        command: "cooper runner".to_owned(),
        what: what.to_owned(),
    }
}

/// The least that 99 of 100 do not exceed.
fn p99(mut times: Vec<f64>) -> Result<Duration, BenchError> {
    times.sort_unstable_by(f64::total_cmp);
    let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
    let time = times.get(at).ok_or_else(|| not_done("nothing was measured"))?;
    Ok(Duration::from_secs_f64(*time))
}

impl Bench<'_> {
    pub(crate) fn warm_trivial(&self) -> Option<CaseResult> {
        let mut runner = self.trivial_runner();
        let (namespace, _) = self.namespace(&self.known_store());
        let container = self.docker.start_idle(KNOWN);
        let ours = Contender::new("cooper runner", || running(&mut runner)?.ask(TRIVIAL, "42\n"));
        let chroot = Contender::new("chroot", || fresh(ready(&namespace)?));
        let exec = Contender::new("docker exec", || {
            let words = ["python3", "-c", TRIVIAL];
            Ok(self.docker.exec(ready(&container)?, &words, "42\n")?.elapsed)
        });
        let series = play(vec![ours, chroot, exec], 5, self.turns(60));
        CaseResult::new(
            "warm run of a trivial script",
            series,
            &[Goal::of(0.25, 0.12), Goal::default()],
        )
    }

    pub(crate) fn warm_trivial_p99(&self) -> Option<CaseResult> {
        let mut runner = self.trivial_runner();
        let (namespace, _) = self.namespace(&self.known_store());
        let ours = Contender::new("cooper runner, the 99th of 100 in a row", || {
            p99(running(&mut runner)?.ask_in_a_row(LATENCIES)?)
        });
        let chroot = Contender::new("chroot, the middle one", || {
            let namespace = ready(&namespace)?;
            let times = (0..9).map(|_| Ok(fresh(namespace)?.as_secs_f64()));
            let times = Times::of(times.collect::<Result<_, BenchError>>()?);
            let times = times.ok_or_else(|| not_done("nothing was measured"))?;
            Ok(Duration::from_secs_f64(times.median()))
        });
        let series = play(vec![ours, chroot], 1, self.turns(7));
        CaseResult::new(
            "the same, one after the other: 99 of 100 take at most",
            series,
            &[Goal::of(0.7, 0.4)],
        )
    }

    pub(crate) fn warm_pandas(&self) -> Option<CaseResult> {
        let mut runner = self.known_store().and_then(|store| {
            self.cooper
                .create_library(&store, PANDAS.name, PANDAS.dependencies)?;
            let rehearsal = self.scratch.join("rehearsal.py");
            crate::base::put(&rehearsal, GROUPBY)?;
            let mut command = self.cooper.runner(&store, PANDAS.name);
            command.args(["--preload", "pandas", "--rehearse"]).arg(rehearsal);
            Runner::start(command)
        });
        let built = self.docker.build("frames", DOCKERFILE, &[]);
        let container = built.and_then(|_| self.docker.start_idle("frames"));
        let ours = Contender::new("cooper runner --preload pandas", || {
            running(&mut runner)?.ask(GROUPBY, GROUPBY_PRINTS)
        });
        let exec = Contender::new("docker exec", || {
            let words = ["python3", "-c", GROUPBY];
            Ok(self
                .docker
                .exec(ready(&container)?, &words, GROUPBY_PRINTS)?
                .elapsed)
        });
        let series = play(vec![ours, exec], 3, self.turns(20));
        CaseResult::new(
            "warm run, pandas groupby of 1,000 rows",
            series,
            &[Goal::of(0.05, 0.02)],
        )
    }

    pub(crate) fn warm_throughput(&self) -> Option<CaseResult> {
        let mut runner = self.trivial_runner();
        let container = self.docker.start_idle(KNOWN);
        let ours = Contender::new("cooper runner", || {
            running(&mut runner)?.ask_at_once(RUNS_AT_ONCE)
        });
        let exec = Contender::new("docker exec", || {
            let (docker, container) = (&self.docker, ready(&container)?);
            let begun = Instant::now();
            std::thread::scope(|scope| {
                let ends: Vec<_> = (0..IN_FLIGHT)
                    .map(|_| {
                        scope.spawn(|| {
                            (0..EXECS_AT_ONCE / IN_FLIGHT).try_for_each(|_| {
                                let words = ["python3", "-c", TRIVIAL];
                                docker.exec(container, &words, "42\n").map(drop)
                            })
                        })
                    })
                    .collect();
                ends.into_iter().try_for_each(|end| {
                    let ended = end.join();
                    ended.unwrap_or_else(|_| Err(not_done("a thread has panicked")))
                })
            })?;
            Ok(per_run(begun, EXECS_AT_ONCE))
        });
        let series = play(vec![ours, exec], 1, self.turns(5));
        CaseResult::new(
            "16 trivial scripts in flight, time for each",
            series,
            &[Goal::of(0.0667, 0.0333)],
        )
    }

    pub(crate) fn warm_memory(&self) -> Option<CaseResult> {
        let runner = self.trivial_runner();
        let ours = Contender::new("cooper runner", || {
            std::thread::sleep(Duration::from_millis(100));
            let runner = runner.as_ref().map_err(BenchError::again)?;
            Ok(Bytes(memory_of(runner.process.id())))
        });
        let series = play(vec![ours], 0, self.turns(3));
        let limit = Limit::of(Bytes(60_000_000), Bytes(30_000_000));
        let result = CaseResult::alone("memory of an idle runner with four warm children", series, limit);
        result.map(CaseResult::of_bytes)
    }

    pub(crate) fn warm_in_a_row(&self) -> Option<CaseResult> {
        let count = if self.options.quick { 3 * ENDS } else { IN_A_ROW };
        let measured = self.many_in_a_row(count);
        let half = |pick: fn(&(Duration, Duration)) -> Duration| {
            let measured = measured.as_ref().map_err(BenchError::again);
            measured.map(pick)
        };
        let last = Contender::new("cooper runner", || half(|(_, last)| *last));
        let first = Contender::new("the first 1,000 of them", || half(|(first, _)| *first));
        let series = play(vec![last, first], 0, 1);
        CaseResult::new(
            "10,000 warm runs in a row, nothing left over: 99 of the last 100 take at most",
            series,
            &[Goal {
                required: Some(1.3),
                aim: None,
            }],
        )
    }

    /// The 99th of 100 of the first and of the last thousand; an error where something is left over.
    fn many_in_a_row(&self, count: usize) -> Result<(Duration, Duration), BenchError> {
        let store = self.known_store()?;
        let mut command = self.cooper.runner(&store, KNOWN);
        // One template for all of them: what it leaks is seen.
        command.args(["--runs", "1000000"]);
        let before = Left::now()?;
        let mut runner = Runner::start(command)?;
        runner.ask_in_a_row(ENDS / 10)?;
        std::thread::sleep(REST);
        let begun = Left::of(&runner)?;
        let times = runner.ask_in_a_row(count)?;
        std::thread::sleep(REST);
        begun.check(&Left::of(&runner)?)?;
        drop(runner);
        // Its keeper sees that it is gone, and ends what it kept.
        std::thread::sleep(REST);
        before.check(&Left::now()?)?;
        let first = times.get(..ENDS).unwrap_or_default().to_vec();
        let last = times.get(count - ENDS..).unwrap_or_default().to_vec();
        Ok((p99(first)?, p99(last)?))
    }

    fn trivial_runner(&self) -> Result<Runner, BenchError> {
        let store = self.known_store()?;
        Runner::start(self.cooper.runner(&store, KNOWN))
    }
}

fn running(runner: &mut Result<Runner, BenchError>) -> Result<&mut Runner, BenchError> {
    runner
        .as_mut()
        .map_err(|error| BenchError::NotPrepared(error.chain()))
}

fn ready<T>(made: &Result<T, BenchError>) -> Result<&T, BenchError> {
    made.as_ref().map_err(BenchError::again)
}

/// A fresh interpreter, isolated from nothing.
fn fresh(namespace: &Namespace) -> Result<Duration, BenchError> {
    let mut command = Command::new("/usr/sbin/chroot");
    command.arg(namespace.root()).args(["python3", "-c", TRIVIAL]);
    Ok(namespace.timed(&mut command)?.elapsed)
}

/// What runs could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    processes: usize,
    mounts: usize,
    cgroups: usize,
    /// Of the runner and its keeper.
    descriptors: usize,
}

impl Left {
    /// On the whole machine.
    fn now() -> Result<Self, BenchError> {
        Ok(Self {
            processes: ours(&entries(Path::new("/proc"))),
            mounts: lines("/proc/self/mountinfo")?,
            cgroups: cgroups(),
            descriptors: 0,
        })
    }

    fn of(runner: &Runner) -> Result<Self, BenchError> {
        let family = family(runner.process.id());
        let open = |process: &u32| entries(Path::new(&format!("/proc/{process}/fd"))).len();
        Ok(Self {
            descriptors: family.iter().take(3).map(open).sum(),
            ..Self::now()?
        })
    }

    fn check(&self, after: &Self) -> Result<(), BenchError> {
        if self == after {
            return Ok(());
        }
        Err(not_done(&format!("something is left: {self:?} became {after:?}")))
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The processes whose names are those of our places, holders and keepers.
fn ours(processes: &[String]) -> usize {
    let name = |process: &String| std::fs::read_to_string(format!("/proc/{process}/comm"));
    let names = processes.iter().filter_map(|process| name(process).ok());
    names.filter(|name| name.starts_with("cooper-")).count()
}

fn lines(file: &str) -> Result<usize, BenchError> {
    let text = std::fs::read_to_string(file).map_err(|source| BenchError::file(Path::new(file), source))?;
    Ok(text.lines().count())
}

/// The groups of runs, in every hierarchy.
fn cgroups() -> usize {
    fn below(folder: &Path, depth: usize) -> usize {
        let own = usize::from(folder.parent().is_some_and(|parent| parent.ends_with("cooper")));
        if depth == 0 {
            return own;
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        own + folders
            .map(|entry| below(&entry.path(), depth - 1))
            .sum::<usize>()
    }
    below(Path::new("/sys/fs/cgroup"), 6)
}

/// A process and all below it, the eldest first.
fn family(process: u32) -> Vec<u32> {
    let threads = entries(Path::new(&format!("/proc/{process}/task")));
    let lists = threads
        .iter()
        .filter_map(|thread| std::fs::read_to_string(format!("/proc/{process}/task/{thread}/children")).ok());
    let children: Vec<u32> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|text| text.parse().ok())
                .collect::<Vec<u32>>()
        })
        .collect();
    std::iter::once(process)
        .chain(children.into_iter().flat_map(family))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_100_is_no_mean() {
        let times: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(p99(times).unwrap(), Duration::from_secs(198));
        assert_eq!(p99(vec![3.0]).unwrap(), Duration::from_secs(3));
        assert!(p99(Vec::new()).is_err());
    }
}
