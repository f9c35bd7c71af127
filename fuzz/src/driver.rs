//! Runs one target for some seconds.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::mutate::{Random, mutated};

/// One input may take so long, on a busy machine and without optimisation.
const INPUT_TIME_MAX: Duration = Duration::from_secs(20);
/// How much memory the process may have had at its peak.
const PEAK_BYTES_MAX: u64 = 1 << 30;
/// How many examples are kept.
const EXAMPLES_MAX: usize = 4_000;

/// A parser of outside bytes and what it needs to be tried well.
pub struct Target {
    /// Its name, and that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// Good inputs.
    pub examples: fn() -> Vec<Vec<u8>>,
    /// Makes a changed input pass the first checks (checksums, say).
    pub mend: fn(&mut [u8]),
    /// Tries one input; gives a short text of how it ended; panics when something is wrong.
    pub run: fn(&[u8]) -> String,
}

/// What a run of the driver saw.
#[derive(Debug)]
pub struct Report {
    /// How many inputs were tried.
    pub inputs: u64,
    /// The different endings, without names and numbers.
    pub endings: BTreeSet<String>,
}

/// Try a target: what was found before, its examples, then changed examples until the time is over.
pub fn fuzz(target: &Target) -> Report {
    let mut random = Random::new(setting("COOPER_FUZZ_SEED", 1));
    let time = Duration::from_secs(setting("COOPER_FUZZ_SECONDS", 2));
    let mut examples = (target.examples)();
    let watchdog = Watchdog::start(target.name);
    let mut report = Report {
        inputs: 0,
        endings: BTreeSet::new(),
    };
    for input in corpus(target.name).iter().chain(&examples) {
        try_one(target, input, &watchdog, &mut report);
    }
    let start = Instant::now();
    while start.elapsed() < time {
        let (example, other) = (random.below(examples.len()), random.below(examples.len()));
        let mut input = mutated(&examples[example], &examples[other], &mut random);
        (target.mend)(&mut input);
        let new = try_one(target, &input, &watchdog, &mut report);
        if new && examples.len() < EXAMPLES_MAX {
            examples.push(input);
        }
    }
    let peak = peak_bytes();
    assert!(
        peak < PEAK_BYTES_MAX,
        "{}: {} MiB of memory were used",
        target.name,
        peak >> 20
    );
    report
}

/// Whether the ending is one not seen before.
fn try_one(target: &Target, input: &[u8], watchdog: &Watchdog, report: &mut Report) -> bool {
    report.inputs += 1;
    watchdog.begin(input);
    let ending = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    watchdog.end();
    let Ok(ending) = ending else {
        panic!(
            "{} fails; the input is in {}",
            target.name,
            keep(target.name, input).display()
        );
    };
    report.endings.insert(general(&ending, input))
}

/// An ending by its first plain words: nothing that is quoted, and no word that comes from the input.
fn general(ending: &str, input: &[u8]) -> String {
    let quotation = ['`', '"', '\''];
    let (start, end) = (ending.find(quotation), ending.rfind(quotation));
    let parts = start.zip(end).map_or([ending, ""], |(start, end)| {
        [&ending[..start], &ending[end + 1..]]
    });
    let input = String::from_utf8_lossy(input);
    let plain = |word: &&str| {
        word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_lowercase()) && !input.contains(*word)
    };
    let line = parts
        .iter()
        .flat_map(|part| part.split_ascii_whitespace())
        .filter(plain);
    line.take(12).collect::<Vec<_>>().join(" ")
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "how long to try is said from outside")]
    let value = std::env::var(name);
    value.map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number"))
    })
}

/// The inputs that were found to fail once.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Write a failing input where it can be found: move it to `fuzz/corpus/TARGET/` with the repair.
fn keep(name: &str, input: &[u8]) -> PathBuf {
    let digest = cooper_core::Digest::of(input).hex();
    let path = std::env::temp_dir().join(format!("cooper-fuzz-{name}-{}", &digest[..16]));
    #[expect(
        clippy::disallowed_methods,
        reason = "a throw-away file that is read by a person"
    )]
    std::fs::write(&path, input).unwrap();
    path
}

/// The process's largest resident size so far; 0 where the system does not tell.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Ends the process when one input takes too long, and keeps that input.
struct Watchdog(Sender<Option<Vec<u8>>>);

impl Watchdog {
    fn start(name: &'static str) -> Self {
        let (sender, receiver) = channel::<Option<Vec<u8>>>();
        std::thread::spawn(move || {
            let mut running: Option<Vec<u8>> = None;
            loop {
                match receiver.recv_timeout(INPUT_TIME_MAX) {
                    Ok(input) => running = input,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        let Some(input) = &running else { continue };
                        let path = keep(name, input);
                        let _ = std::fs::rename(&path, path.with_extension("slow"));
                        std::process::abort();
                    }
                }
            }
        });
        Self(sender)
    }

    fn begin(&self, input: &[u8]) {
        let _ = self.0.send(Some(input.to_vec()));
    }

    fn end(&self) {
        let _ = self.0.send(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(run: fn(&[u8]) -> String) -> Target {
        Target {
            name: "test",
            examples: || vec![b"size 12".to_vec()],
            mend: |_| {},
            run,
        }
    }

    #[test]
    fn a_fault_that_hides_behind_endings_is_found() {
        let staircase = |bytes: &[u8]| {
            let depth = String::from_utf8_lossy(bytes).matches('~').count();
            assert!(depth < 6, "too many");
            ["none", "one", "two", "three", "four", "five"][depth].to_owned()
        };
        let found = catch_unwind(|| fuzz(&target(staircase)));
        assert!(found.is_err(), "six tildes are reached step by step");
    }

    #[test]
    fn a_good_target_passes_and_reports() {
        let report = fuzz(&target(|bytes| {
            format!("`{}` has {} bytes", String::from_utf8_lossy(bytes), bytes.len())
        }));
        assert!(report.inputs > 100, "{} inputs", report.inputs);
        assert!(report.endings.len() < 10, "{} endings", report.endings.len());
    }
}
