//! The cases of Python requirements: resolving, many wheels at once, and twenty real sets.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::base::put;
use crate::case::{Bench, CaseResult, Goal, Limit, prepared};
use crate::cooper::Asked;
use crate::error::BenchError;
use crate::measure::{command_line, has_ended_within, timed};
use crate::round::{Bytes, Contender, play};
use crate::say;
use crate::uv::Uv;

/// What is resolved.
const THREE: &str = "mechanize\nrequests\npandas\n";
/// The sets whose names together give about seventy wheels and more.
const MANY: [&str; 8] = [
    "boto3py3",
    "bs4-py3",
    "crypto",
    "dnstwist",
    "fastapi",
    "google-api-py3",
    "kubernetespy",
    "pandas",
];
const PANDAS: Asked<'_> = Asked {
    name: "pandas",
    dependencies: &["pandas"],
    packages: &[],
};
const DOCKERFILE: &str = "\
FROM bench-base
COPY requirements.txt /requirements.txt
RUN --mount=type=cache,target=/root/.cache/pip pip install --ignore-installed -r /requirements.txt
";
/// What of a store's cache only says what indexes and sources say: kept where layers are to be made anew.
const INDEXES: &[&str] = &["debian", "python"];
/// The same, and wheels as they were prepared for layers: what is kept of artefacts.
const INDEXES_AND_WHEELS: &[&str] = &["debian", "python", "wheel"];

impl Bench<'_> {
    pub(crate) fn resolve_three(&self) -> Option<CaseResult> {
        let uv = Uv::new(self.options, &self.scratch);
        let file = self.scratch.join("three.txt");
        let store = put(&file, THREE).and_then(|()| self.known_store());
        let ours = Contender::new("cooper create --dry-run", || {
            let store = prepared(&store)?;
            Ok(self.cooper.create_from(store, "three", &file, true)?.elapsed)
        });
        let peer = Contender::new("uv pip compile", || Ok(uv.compile(&file)?.elapsed));
        let series = play(vec![ours, peer], 1, self.turns(15));
        CaseResult::new(
            "resolve mechanize, requests and pandas, warm",
            series,
            &[Goal::of(1.0, 0.3)],
        )
    }

    pub(crate) fn create_many_wheels(&self) -> Option<CaseResult> {
        let uv = Uv::new(self.options, &self.scratch);
        let pinned = self.pinned(&uv);
        let store = pinned.as_ref().map_err(BenchError::again).and_then(|pinned| {
            let store = self.known_store()?;
            self.cooper.create_from(&store, "many", pinned, false)?;
            Ok(store)
        });
        let ours = Contender::new("cooper create --requirements", || {
            let copy = self.without_layers(prepared(&store)?, INDEXES_AND_WHEELS)?;
            Ok(self
                .cooper
                .create_from(&copy, "many", prepared(&pinned)?, false)?
                .elapsed)
        });
        let install = |name: &str, bytecode: bool| {
            let (uv, pinned) = (&uv, &pinned);
            Contender::new(name.to_owned(), move || {
                let folder = self.new_folder();
                Ok(uv.install(prepared(pinned)?, &folder, bytecode)?.elapsed)
            })
        };
        let peers = [
            install("uv pip install --target", false),
            install("the same with --compile-bytecode", true),
        ];
        let contenders = std::iter::once(ours).chain(peers).collect();
        let series = play(contenders, 1, self.turns(5));
        CaseResult::new(
            "create from the pinned wheels of eight sets, artefacts cached",
            series,
            &[Goal::of(2.0, 0.8), Goal::default()],
        )
    }

    pub(crate) fn twenty_sets(&self) -> Option<CaseResult> {
        let sets = self.sets();
        let store = self.store_of_twenty();
        let ours = Contender::new("cooper create, twenty times", || {
            let copy = self.without_layers(prepared(&store)?, INDEXES_AND_WHEELS)?;
            self.create_twenty(&copy)
        });
        let mut turn = 0;
        let peer = Contender::new("twenty docker builds, pip's cache mounted", || {
            turn += 1;
            let mut elapsed = Duration::ZERO;
            for (name, path) in sets.as_ref().map_err(BenchError::again)? {
                elapsed += self.build_set(name, path, turn)?;
            }
            Ok(elapsed)
        });
        let downloaded = Contender::new("cooper, wheels downloaded and not prepared", || {
            let copy = self.without_layers(prepared(&store)?, INDEXES)?;
            self.create_twenty(&copy)
        });
        let series = play(vec![ours, peer, downloaded], 1, self.turns(3));
        CaseResult::new(
            "twenty images from real requirement sets, artefacts cached",
            series,
            &[Goal::of(0.15, 0.05), Goal::default()],
        )
    }

    pub(crate) fn twenty_sets_on_disk(&self) -> Option<CaseResult> {
        let sets = self.sets();
        let ours = Contender::new("store", || {
            let store = self.known_store()?;
            let before = on_disk(&store)?;
            self.create_twenty(&store)?;
            Ok(Bytes(on_disk(&store)?.saturating_sub(before)))
        });
        let peer = Contender::new("docker's data, pip's cache among it", || {
            self.docker.prune()?;
            for (name, _) in sets.as_ref().map_err(BenchError::again)? {
                // There is none when this is the first case.
                let _ = self.docker.remove_image(&tag(name));
            }
            self.docker.prune()?;
            let before = on_disk(&self.docker.data())?;
            for (name, path) in sets.as_ref().map_err(BenchError::again)? {
                self.build_set(name, path, 0)?;
            }
            Ok(Bytes(on_disk(&self.docker.data())?.saturating_sub(before)))
        });
        let run = Contender::new("our store when something has run in each", || {
            let store = self.known_store()?;
            let before = on_disk(&store)?;
            self.create_twenty(&store)?;
            for (name, _) in sets.as_ref().map_err(BenchError::again)? {
                self.cooper.run(&store, name, "pass")?;
            }
            Ok(Bytes(on_disk(&store)?.saturating_sub(before)))
        });
        let series = play(vec![ours, peer, run], 0, 1);
        let result = CaseResult::new(
            "disk that these twenty images take",
            series,
            &[Goal::of(0.6, 0.4), Goal::default()],
        );
        result.map(CaseResult::of_bytes)
    }

    pub(crate) fn memory(&self) -> Option<CaseResult> {
        let ours = Contender::new("cooper create", || {
            let mut command = self.cooper.creating(&self.new_folder(), &PANDAS);
            Ok(Bytes(peak_memory(&mut command)?))
        });
        let limit = Limit::of(Bytes(400_000_000), Bytes(150_000_000));
        let series = play(vec![ours], 0, self.turns(3));
        let result = CaseResult::alone(
            "memory of all processes, `pandas` from an empty store",
            series,
            limit,
        );
        result.map(CaseResult::of_bytes)
    }

    /// The sets by name.
    fn sets(&self) -> Result<Vec<(String, PathBuf)>, BenchError> {
        let folder = &self.options.sets;
        let failed = |source| BenchError::file(folder, source);
        let mut sets = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            sets.push((name, path));
        }
        sets.sort();
        Ok(sets)
    }

    /// Newest versions of what several sets ask for, and of all that they need, each pinned.
    fn pinned(&self, uv: &Uv) -> Result<PathBuf, BenchError> {
        let mut names: Vec<String> = Vec::new();
        for set in MANY {
            let path = self.options.sets.join(format!("{set}.txt"));
            let text = std::fs::read_to_string(&path).map_err(|source| BenchError::file(&path, source))?;
            let own = text.lines().filter_map(|line| line.split_once("=="));
            names.extend(own.map(|(name, _)| format!("{name}\n")));
        }
        names.sort();
        names.dedup();
        let (wanted, pinned) = (self.scratch.join("many.in"), self.scratch.join("many.txt"));
        put(&wanted, &names.concat())?;
        put(&pinned, &uv.compile(&wanted)?.stdout)?;
        Ok(pinned)
    }

    /// A store with an image of each set.
    fn store_of_twenty(&self) -> Result<PathBuf, BenchError> {
        let store = self.known_store()?;
        self.create_twenty(&store)?;
        Ok(store)
    }

    fn create_twenty(&self, store: &Path) -> Result<Duration, BenchError> {
        let mut elapsed = Duration::ZERO;
        for (name, path) in self.sets()? {
            elapsed += self.cooper.create_from(store, &name, &path, false)?.elapsed;
        }
        Ok(elapsed)
    }

    fn build_set(&self, name: &str, path: &Path, turn: u32) -> Result<Duration, BenchError> {
        let text = std::fs::read_to_string(path).map_err(|source| BenchError::file(path, source))?;
        // Another file each time, so that the layer cache has no answer.
        let text = format!("# turn {turn}\n{text}");
        self.docker
            .build_with_cache(&tag(name), DOCKERFILE, &[("requirements.txt", &text)])
    }

    /// A copy of a store with all artefacts and indexes, without images and layers but for the known one's.
    fn without_layers(&self, store: &Path, cached: &[&str]) -> Result<PathBuf, BenchError> {
        let copy = self.new_folder();
        let copied = |part: &str| {
            let mut command = Command::new("cp");
            command
                .args(["-a", "--reflink=auto"])
                .arg(store.join(part))
                .arg(copy.join(part));
            timed(&mut command).map(drop)
        };
        std::fs::create_dir_all(copy.join("cache")).map_err(|source| BenchError::file(&copy, source))?;
        copied("blobs")?;
        let cache = store.join("cache");
        for entry in std::fs::read_dir(&cache).map_err(|source| BenchError::file(&cache, source))? {
            let name = entry
                .map_err(|source| BenchError::file(&cache, source))?
                .file_name();
            let name = name.to_string_lossy();
            if cached.iter().any(|kind| name.starts_with(kind)) {
                copied(&format!("cache/{name}"))?;
            }
        }
        self.create_known(&copy)?;
        rustix::fs::sync();
        Ok(copy)
    }
}

fn tag(name: &str) -> String {
    format!("set-{name}")
}

/// What a folder takes of the disk; a file with several names counts once.
fn on_disk(folder: &Path) -> Result<u64, BenchError> {
    rustix::fs::sync();
    let used = timed(
        Command::new("du")
            .args(["--summarize", "--block-size=1", "--one-file-system"])
            .arg(folder),
    )?;
    let bytes = used
        .stdout
        .split_whitespace()
        .next()
        .and_then(|text| text.parse().ok());
    bytes.ok_or_else(|| BenchError::NotDone {
        command: "du".to_owned(),
        what: used.stdout.clone(),
    })
}

/// How often the memory is looked at.
const LOOK: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_mins(5);

/// The most memory that a program and all its children had at any time, shared pages counted once.
fn peak_memory(command: &mut Command) -> Result<u64, BenchError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let line = command_line(command);
    let mut child = command.spawn().map_err(|source| BenchError::Start {
        command: line.clone(),
        source,
    })?;
    let (begun, mut peak, mut looks) = (Instant::now(), 0, 0_u32);
    while !has_ended_within(&child, LOOK)? && begun.elapsed() < LIMIT {
        peak = peak.max(memory_of(child.id()));
        looks += 1;
    }
    // It may have ended by itself in this moment: then there is nothing to kill.
    let _ = child.kill();
    let status = child
        .wait()
        .map_err(|source| BenchError::System { call: "wait", source })?;
    if !status.success() || looks < 20 {
        return Err(BenchError::NotDone {
            command: line,
            what: format!("it ended with {status} after {looks} looks"),
        });
    }
    say(&format!("  {looks} looks at the memory"));
    Ok(peak)
}

/// The proportional set size of a process and all below it, in bytes. Who ends meanwhile has none.
pub(crate) fn memory_of(process: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let own = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let own = own
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|text| text.parse::<u64>().ok());
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().filter_map(Result::ok);
    let children = threads.flat_map(|thread| {
        let list = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let numbers: Vec<u32> = list
            .split_whitespace()
            .filter_map(|text| text.parse().ok())
            .collect();
        numbers
    });
    own.unwrap_or(0) * 1024 + children.map(memory_of).sum::<u64>()
}
