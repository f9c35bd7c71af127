//! The cases of many images: ten thousand of ours, made in the likeness of one by testkit's `crowd`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::put;
use crate::case::{Bench, CaseResult, Goal, KNOWN, Limit, prepared};
use crate::cooper::Asked;
use crate::error::BenchError;
use crate::measure::{command_line, output, timed};
use crate::round::{Contender, play};

/// How many images our store has, and how many names.
const IMAGES: usize = 10_000;
const NAMES: usize = 250;
/// So many versions of each name stay: half of them.
const KEPT: usize = IMAGES / NAMES / 2;
/// How many the peer has.
const PEERS_IMAGES: usize = 1_000;

/// Twenty requests, for an update of all of them.
const TWENTY: [&str; 20] = [
    "attrs",
    "beautifulsoup4",
    "certifi",
    "click",
    "docopt-ng",
    "flask",
    "httpx",
    "idna",
    "jinja2",
    "mechanize",
    "packaging",
    "python-dateutil",
    "pytz",
    "pyyaml",
    "requests",
    "rich",
    "six",
    "tabulate",
    "urllib3",
    "xmltodict",
];

/// Creates one image after the other until the first argument is gone: `$2` is cooper, `$3` the store, `$4` gets the
/// number.
const CREATES: &str = r#"
n=0
while [ -e "$1" ]; do
    n=$((n + 1))
    "$2" --store "$3" create "during-$n" --dependencies mechanize --packages wget --json > "$4.log" || exit 1
    echo $n > "$4"
done
"#;

impl Bench<'_> {
    pub(crate) fn list_many(&self) -> Option<CaseResult> {
        let store = self.crowded_store();
        let ours = Contender::new("cooper images", || {
            let listed = self.cooper.images(prepared(&store)?)?;
            expect("cooper images", listed.stdout.lines().count(), IMAGES + 2)?;
            Ok(listed.elapsed)
        });
        let loaded = self.load_many();
        let peer = Contender::new(format!("docker images, {PEERS_IMAGES}"), || {
            prepared(&loaded)?;
            let listed = self.docker.images()?;
            let own = listed.stdout.lines().filter(|line| line.starts_with("many"));
            expect("docker images", own.count(), PEERS_IMAGES)?;
            Ok(listed.elapsed)
        });
        let series = play(vec![ours, peer], 1, self.turns(20));
        CaseResult::new("`images` with 10,000 images", series, &[Goal::of(0.5, 0.1)])
    }

    pub(crate) fn collect_half(&self) -> Option<CaseResult> {
        let ours = Contender::new("cooper gc", || {
            let store = self.crowded_store()?;
            let (elapsed, made) = self.collect_beside_creates(&store)?;
            let listed = self.cooper.images(&store)?;
            expect(
                "cooper images",
                listed.stdout.lines().count(),
                IMAGES / 2 + 2 + made,
            )?;
            self.cooper.fsck(&store)?;
            std::fs::remove_dir_all(&store).map_err(|source| BenchError::file(&store, source))?;
            Ok(elapsed)
        });
        let limit = Limit::of(Duration::from_secs(30), Duration::from_secs(5));
        let series = play(vec![ours], 0, self.turns(3));
        CaseResult::alone("`gc` of half of 10,000 images, creates beside it", series, limit)
    }

    pub(crate) fn update_twenty(&self) -> Option<CaseResult> {
        let store = self.twenty();
        let ours = Contender::new("cooper update --all", || {
            let updated = self.cooper.update_all(prepared(&store)?)?;
            let results: Vec<Value> = serde_json::from_str(&updated.stdout).unwrap_or_default();
            let same = results.iter().filter(|result| result["outcome"] == "same");
            expect("cooper update --all", same.count(), TWENTY.len())?;
            Ok(updated.elapsed)
        });
        let limit = Limit::of(Duration::from_secs(2), Duration::from_millis(300));
        let series = play(vec![ours], 1, self.turns(20));
        CaseResult::alone("`update --all` of twenty images, nothing changed", series, limit)
    }

    /// A store with the known image and ten thousand like it.
    fn crowded_store(&self) -> Result<PathBuf, BenchError> {
        let store = self.known_store()?;
        let model = format!("local/{KNOWN}:1.0.0.1");
        let mut crowd = Command::new(&self.options.crowd);
        timed(
            crowd
                .arg(&store)
                .args([model, IMAGES.to_string(), NAMES.to_string()]),
        )?;
        // The first list makes the view of the names.
        self.cooper.images(&store)?;
        Ok(store)
    }

    /// Remove half of the images while others are made; the time of it, and how many were made.
    fn collect_beside_creates(&self, store: &Path) -> Result<(Duration, usize), BenchError> {
        let (go, made) = (self.scratch.join("go"), self.scratch.join("made"));
        put(&go, "")?;
        put(&made, "0")?;
        let mut creates = Command::new("/bin/sh");
        creates.args(["-c", CREATES, "creates"]).arg(&go);
        creates.arg(&self.options.cooper).arg(store).arg(&made);
        creates.current_dir(&self.scratch).stdin(Stdio::null());
        let line = command_line(&creates);
        let mut creates = creates.spawn().map_err(|source| BenchError::Start {
            command: line,
            source,
        })?;
        let collected = self.cooper.collect(store, KEPT);
        let stopped = std::fs::remove_file(&go).map_err(|source| BenchError::file(&go, source));
        let status = creates
            .wait()
            .map_err(|source| BenchError::System { call: "wait", source })?;
        stopped?;
        let elapsed = collected?.elapsed;
        let count = std::fs::read_to_string(&made).map_err(|source| BenchError::file(&made, source))?;
        let count = count.trim().parse().unwrap_or(0);
        if !status.success() || count == 0 {
            let log = std::fs::read_to_string(self.scratch.join("made.log")).unwrap_or_default();
            return Err(BenchError::NotDone {
                command: "the creates beside the collection".to_owned(),
                what: format!("they ended after {count}: {log}"),
            });
        }
        Ok((elapsed, count))
    }

    /// A store with twenty images.
    fn twenty(&self) -> Result<PathBuf, BenchError> {
        let store = self.new_folder();
        for (number, dependency) in TWENTY.iter().enumerate() {
            let asked = Asked {
                name: &format!("image-{number}"),
                dependencies: &[dependency],
                packages: if number % 2 == 0 { &["wget"] } else { &["jq"] },
            };
            self.cooper.create(&store, &asked, true)?;
        }
        Ok(store)
    }

    /// Give docker a thousand images that differ in a label and share a small layer.
    fn load_many(&self) -> Result<PathBuf, BenchError> {
        let folder = self.scratch.join("many");
        put(&folder.join("content/file"), "content")?;
        let path = |name: &str| folder.join(name).display().to_string();
        output(
            "/bin/tar",
            &["-C", &path("content"), "-cf", &path("layer.tar"), "file"],
        )?;
        let digest = output("/usr/bin/sha256sum", &[&path("layer.tar")])?;
        let digest = digest.split_whitespace().next().unwrap_or_default().to_owned();
        let mut manifest = Vec::new();
        for number in 0..PEERS_IMAGES {
            let config = json!({
                "architecture": "amd64",
                "os": "linux",
                "created": "2026-01-01T00:00:00Z",
                "config": { "Labels": { "number": number.to_string() } },
                "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
                "history": [{ "created": "2026-01-01T00:00:00Z", "created_by": "bench" }],
            });
            put(&folder.join(format!("{number}.json")), &config.to_string())?;
            manifest.push(json!({
                "Config": format!("{number}.json"),
                "RepoTags": [format!("many-{}:{}", number % 50, number / 50)],
                "Layers": ["layer.tar"],
            }));
        }
        put(&folder.join("manifest.json"), &Value::Array(manifest).to_string())?;
        let archive = self.scratch.join("many.tar");
        let text = archive.display().to_string();
        output(
            "/bin/tar",
            &["-C", &path("."), "--exclude=./content", "-cf", &text, "."],
        )?;
        self.docker.load(&archive)?;
        Ok(archive)
    }
}

fn expect(command: &str, found: usize, expected: usize) -> Result<(), BenchError> {
    if found == expected {
        return Ok(());
    }
    Err(BenchError::NotDone {
        command: command.to_owned(),
        what: format!("{found} were counted, not {expected}"),
    })
}
