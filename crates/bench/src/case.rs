//! The cases: what is asked of cooper and of its peer, and which ratio is required.
//!
//! Whatever only prepares a turn, checks what it did, or cleans up after it is outside the measured time.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Options;
use crate::cooper::{Asked, Cooper};
use crate::docker::Docker;
use crate::error::BenchError;
use crate::measure::timed;
use crate::round::{Contender, Measure, Series, play};
use crate::say;

/// The image that is there already: mechanize and wget, ours and docker's.
pub(crate) const KNOWN: &str = "known";
const KNOWN_ASKED: Asked<'_> = Asked {
    name: KNOWN,
    dependencies: &["mechanize"],
    packages: &["wget"],
};

/// What a case requires of us against one peer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Goal {
    /// Our median over the peer's may be at most this.
    pub(crate) required: Option<f64>,
    /// And should be at most this.
    pub(crate) aim: Option<f64>,
}

impl Goal {
    pub(crate) fn of(required: f64, aim: f64) -> Self {
        Self {
            required: Some(required),
            aim: Some(aim),
        }
    }
}

/// What a case that has no peer requires of us, in the case's unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Our median may be at most this.
    pub(crate) required: f64,
    /// And should be at most this.
    pub(crate) aim: f64,
}

impl Limit {
    pub(crate) fn of<M: Measure>(required: M, aim: M) -> Self {
        Self {
            required: required.number(),
            aim: aim.number(),
        }
    }
}

/// What the numbers of a case are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// Seconds of wall time.
    Time,
    /// Bytes of disk or memory.
    Bytes,
}

/// How we did against one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    AimReached,
    RequiredReached,
    Missed,
    NothingRequired,
    Failed,
}

/// A measured case.
pub(crate) struct CaseResult {
    pub(crate) title: &'static str,
    pub(crate) quantity: Quantity,
    pub(crate) ours: Series,
    pub(crate) peers: Vec<(Series, Goal)>,
    /// Where nobody else does the same.
    pub(crate) limit: Option<Limit>,
}

impl CaseResult {
    /// `series` starts with ours; `goals` are those against the others.
    pub(crate) fn new(title: &'static str, series: Vec<Series>, goals: &[Goal]) -> Option<Self> {
        let mut series = series.into_iter();
        Some(Self {
            title,
            quantity: Quantity::Time,
            ours: series.next()?,
            peers: series.zip(goals.iter().copied()).collect(),
            limit: None,
        })
    }

    /// A case that has no peer; `series` is ours.
    pub(crate) fn alone(title: &'static str, series: Vec<Series>, limit: Limit) -> Option<Self> {
        Some(Self {
            title,
            quantity: Quantity::Time,
            ours: series.into_iter().next()?,
            peers: Vec::new(),
            limit: Some(limit),
        })
    }

    /// The same, of bytes.
    pub(crate) fn of_bytes(self) -> Self {
        Self {
            quantity: Quantity::Bytes,
            ..self
        }
    }

    /// Our median over a peer's.
    pub(crate) fn ratio(&self, peer: &Series) -> Option<f64> {
        let (ours, theirs) = (self.ours.times.as_ref().ok()?, peer.times.as_ref().ok()?);
        Some(ours.median() / theirs.median())
    }

    pub(crate) fn verdict(&self, peer: &Series, goal: Goal) -> Verdict {
        let Some(ratio) = self.ratio(peer) else {
            return Verdict::Failed;
        };
        let holds = |bound: Option<f64>| bound.map(|bound| ratio <= bound);
        match (holds(goal.aim), holds(goal.required)) {
            (_, Some(false)) => Verdict::Missed,
            (Some(true), _) => Verdict::AimReached,
            (_, Some(true)) => Verdict::RequiredReached,
            _ => Verdict::NothingRequired,
        }
    }

    /// How we did against the limit.
    pub(crate) fn verdict_alone(&self, limit: Limit) -> Verdict {
        let Ok(times) = &self.ours.times else {
            return Verdict::Failed;
        };
        match times.median() {
            median if median <= limit.aim => Verdict::AimReached,
            median if median <= limit.required => Verdict::RequiredReached,
            _ => Verdict::Missed,
        }
    }

    /// Whether nobody failed and nothing that is required was missed.
    pub(crate) fn is_good(&self) -> bool {
        let bad = |verdict| matches!(verdict, Verdict::Failed | Verdict::Missed);
        !self
            .peers
            .iter()
            .any(|(peer, goal)| bad(self.verdict(peer, *goal)))
            && !self.limit.is_some_and(|limit| bad(self.verdict_alone(limit)))
    }
}

/// Everything that the cases need.
pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    pub(crate) docker: Docker,
    pub(crate) cooper: Cooper,
    pub(crate) scratch: PathBuf,
    /// How many stores were made.
    stores: Cell<u32>,
}

const DOCKERFILE: &str = "\
FROM bench-base
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir mechanize
";
const DOCKERFILE_REQUESTS: &str = "\
FROM bench-base
RUN apt-get update && apt-get install -y --no-install-recommends wget && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir mechanize requests
";
const DOCKERFILE_JQ: &str = "\
FROM known
RUN apt-get update && apt-get install -y --no-install-recommends jq && rm -rf /var/lib/apt/lists/*
";

/// One docker build that is measured again and again.
#[derive(Clone, Copy)]
struct DockerBuild {
    tag: &'static str,
    dockerfile: &'static str,
    flags: &'static [&'static str],
    /// How many steps have to come from the layer cache: neither less nor more work is measured.
    cached_steps: usize,
    /// What shows that the image has what was asked for; when empty, the image stays for the next turn.
    check: &'static [&'static str],
}

impl<'a> Bench<'a> {
    /// Start the engine and make its known image.
    pub(crate) fn start(options: &'a Options, scratch: &Path, base: &Path) -> Result<Self, BenchError> {
        let docker = Docker::start(options, &scratch.join("docker"), base)?;
        say("building the peer's known image");
        docker.build(KNOWN, DOCKERFILE, &[])?;
        Ok(Self {
            options,
            docker,
            cooper: Cooper::new(&options.cooper, scratch)
                .map_err(|source| BenchError::file(scratch, source))?,
            scratch: scratch.to_owned(),
            stores: Cell::new(0),
        })
    }

    /// Measure every case that is wanted.
    pub(crate) fn cases(&self) -> Vec<CaseResult> {
        let cases = [
            Self::create_empty,
            Self::add_dependency,
            Self::add_package,
            Self::same_again,
            Self::run,
            Self::list_many,
            Self::collect_half,
            Self::update_twenty,
            Self::resolve_three,
            Self::create_many_wheels,
            Self::twenty_sets,
            Self::twenty_sets_on_disk,
            Self::memory,
            Self::warm_trivial,
            Self::warm_trivial_p99,
            Self::warm_pandas,
            Self::warm_throughput,
            Self::warm_memory,
            Self::warm_in_a_row,
        ];
        let numbered = cases.iter().zip(1..);
        let wanted = numbered.filter(|(_, number)| self.options.wants(*number));
        wanted
            .filter_map(|(case, number)| {
                say(&format!("case {number}"));
                let result = case(self);
                self.remove_stores();
                result
            })
            .collect()
    }

    /// Fewer turns for a quick look.
    pub(crate) fn turns(&self, turns: usize) -> usize {
        if self.options.quick { turns.min(2) } else { turns }
    }

    fn create_empty(&self) -> Option<CaseResult> {
        let ours = Contender::new("cooper create", || {
            self.cooper.create(&self.new_folder(), &KNOWN_ASKED, true)
        });
        let peer = self.docker_build(
            "docker build --no-cache",
            DockerBuild {
                tag: "create",
                dockerfile: DOCKERFILE,
                flags: &["--no-cache"],
                cached_steps: 0,
                check: &[
                    "python3",
                    "-c",
                    "import mechanize, shutil; assert shutil.which('wget')",
                ],
            },
        );
        let series = play(vec![ours, peer], 0, self.turns(5));
        CaseResult::new(
            "create `mechanize` + `wget`, empty store, base included",
            series,
            &[Goal::of(0.6, 0.25)],
        )
    }

    fn add_dependency(&self) -> Option<CaseResult> {
        let asked = Asked {
            dependencies: &["mechanize", "requests"],
            ..KNOWN_ASKED
        };
        let ours = self.create_in_copy(asked);
        let peer = self.docker_build(
            "docker build, pip line changed",
            DockerBuild {
                tag: "requests",
                dockerfile: DOCKERFILE_REQUESTS,
                flags: &[],
                cached_steps: 1,
                check: &["python3", "-c", "import mechanize, requests"],
            },
        );
        let series = play(vec![ours, peer], 0, self.turns(9));
        CaseResult::new("add `requests` to a known image", series, &[Goal::of(0.4, 0.1)])
    }

    fn add_package(&self) -> Option<CaseResult> {
        let asked = Asked {
            packages: &["wget", "jq"],
            ..KNOWN_ASKED
        };
        let ours = self.create_in_copy(asked);
        let peer = self.docker_build(
            "docker build FROM it, apt-get install",
            DockerBuild {
                tag: "jq",
                dockerfile: DOCKERFILE_JQ,
                flags: &[],
                cached_steps: 0,
                check: &["jq", "--version"],
            },
        );
        let series = play(vec![ours, peer], 0, self.turns(7));
        CaseResult::new("add `jq` to a known image", series, &[Goal::of(0.1, 0.03)])
    }

    fn same_again(&self) -> Option<CaseResult> {
        let known = self.known_store();
        let ours = Contender::new("cooper create", move || {
            self.cooper.create(prepared(&known)?, &KNOWN_ASKED, false)
        });
        let peer = self.docker_build(
            "docker build, all cached",
            DockerBuild {
                tag: KNOWN,
                dockerfile: DOCKERFILE,
                flags: &[],
                cached_steps: 2,
                check: &[],
            },
        );
        let series = play(vec![ours, peer], 1, self.turns(20));
        CaseResult::new("the same request again", series, &[Goal::of(0.5, 0.1)])
    }

    /// Remove what a case has made, so that the disk suffices for the next; what that leaves to be done is done before
    /// anything is measured.
    fn remove_stores(&self) {
        for number in 0..self.stores.get() {
            let store = self.scratch.join(format!("store-{number}"));
            // Not every folder that was named was made.
            let _ = std::fs::remove_dir_all(store);
        }
        // Where the disk cannot be trimmed, its file on the host stays as large as it was.
        let _ = timed(Command::new("/sbin/fstrim").arg(&self.scratch));
        rustix::fs::sync();
    }

    /// A place for a store that nothing was in. Stores go when their case is over: no turn pays for what an earlier one
    /// removed.
    pub(crate) fn new_folder(&self) -> PathBuf {
        let number = self.stores.get();
        self.stores.set(number + 1);
        self.scratch.join(format!("store-{number}"))
    }

    /// A store that has the known image, with indexes as fresh as they can be.
    pub(crate) fn known_store(&self) -> Result<PathBuf, BenchError> {
        let store = self.new_folder();
        self.create_known(&store)?;
        Ok(store)
    }

    /// Make the known image in a store that does not have it.
    pub(crate) fn create_known(&self, store: &Path) -> Result<(), BenchError> {
        self.cooper.create(store, &KNOWN_ASKED, true).map(drop)
    }

    /// We, asked for more than the known image has, each time in a fresh copy of the store that has it.
    fn create_in_copy<'b>(&'b self, asked: Asked<'b>) -> Contender<'b> {
        let known = self.known_store();
        Contender::new("cooper create", move || {
            let copy = self.new_folder();
            let mut command = Command::new("cp");
            timed(
                command
                    .args(["-a", "--reflink=auto"])
                    .arg(prepared(&known)?)
                    .arg(&copy),
            )?;
            rustix::fs::sync();
            self.cooper.create(&copy, &asked, true)
        })
    }

    fn docker_build<'b>(&'b self, name: &str, asked: DockerBuild) -> Contender<'b> {
        Contender::new(name, move || {
            let image = self.docker.build(asked.tag, asked.dockerfile, asked.flags)?;
            if image.cached_steps != asked.cached_steps {
                return Err(BenchError::NotDone {
                    command: format!("docker build of {}", asked.tag),
                    what: format!(
                        "{} steps were cached, not {}",
                        image.cached_steps, asked.cached_steps
                    ),
                });
            }
            if !asked.check.is_empty() {
                self.docker.run(asked.tag, asked.check)?;
                self.docker.remove_image(asked.tag)?;
            }
            Ok(image.elapsed)
        })
    }
}

/// What was prepared, or why it could not be.
pub(crate) fn prepared(preparation: &Result<PathBuf, BenchError>) -> Result<&Path, BenchError> {
    let reason = |error: &BenchError| BenchError::NotPrepared(error.chain());
    preparation.as_deref().map_err(reason)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::docker::BASE;
    use crate::round::Times;

    fn series(milliseconds: Option<u64>) -> Series {
        let times = milliseconds.map(|time| Times::of(vec![Duration::from_millis(time).number()]).unwrap());
        Series {
            name: "one".to_owned(),
            times: times.ok_or_else(|| "broken".to_owned()),
        }
    }

    #[test]
    fn dockerfiles_start_from_images_that_are_there() {
        for (dockerfile, image) in [
            (DOCKERFILE, BASE),
            (DOCKERFILE_REQUESTS, BASE),
            (DOCKERFILE_JQ, KNOWN),
        ] {
            assert!(dockerfile.starts_with(&format!("FROM {image}\n")), "{dockerfile}");
        }
    }

    #[test]
    fn a_time_without_a_peer_is_judged_by_its_limit() {
        let limit = Limit::of(Duration::from_millis(300), Duration::from_millis(30));
        for (time, verdict, is_good) in [
            (Some(30), Verdict::AimReached, true),
            (Some(300), Verdict::RequiredReached, true),
            (Some(301), Verdict::Missed, false),
            (None, Verdict::Failed, false),
        ] {
            let case = CaseResult::alone("a", vec![series(time)], limit).unwrap();
            assert_eq!(case.verdict_alone(limit), verdict, "{time:?}");
            assert_eq!(case.is_good(), is_good, "{time:?}");
        }
    }

    #[test]
    fn a_ratio_is_judged_by_its_goal() {
        let goal = Goal::of(0.5, 0.1);
        let unbound = Goal::default();
        let required_only = Goal {
            required: Some(0.5),
            aim: None,
        };
        for (ours, theirs, goal, verdict, is_good) in [
            (Some(10), Some(100), goal, Verdict::AimReached, true),
            (Some(50), Some(100), goal, Verdict::RequiredReached, true),
            (Some(50), Some(100), required_only, Verdict::RequiredReached, true),
            (Some(51), Some(100), goal, Verdict::Missed, false),
            (Some(500), Some(100), unbound, Verdict::NothingRequired, true),
            (None, Some(100), goal, Verdict::Failed, false),
            (Some(10), None, unbound, Verdict::Failed, false),
        ] {
            let case = CaseResult::new("a", vec![series(ours), series(theirs)], &[goal]).unwrap();
            let (peer, goal) = &case.peers[0];
            assert_eq!(case.verdict(peer, *goal), verdict, "{ours:?} {theirs:?}");
            assert_eq!(case.is_good(), is_good, "{ours:?} {theirs:?}");
        }
    }
}
