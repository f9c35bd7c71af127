//! The real index: times, and uv as the oracle. Nothing here names a version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cooper_core::clock::SystemClock;
use cooper_core::{Base, Progress, PythonRequirement};
use cooper_resolve::python::{self, Asked, PythonError, PythonSolution};
use cooper_resolve::{Context, Freshness, Later, Sources};
use cooper_store::{Intake, IntakeConfig, Store};
use url::Url;

/// The index that this host's pip uses, else the public one.
#[expect(
    clippy::disallowed_methods,
    reason = "a test looks at the host's own configuration"
)]
fn index() -> Url {
    let configured = std::env::var("PIP_INDEX_URL").ok().or_else(|| {
        let pip = Command::new("python3")
            .args(["-m", "pip", "config", "get", "global.index-url"])
            .output()
            .ok()?;
        pip.status
            .success()
            .then(|| String::from_utf8_lossy(&pip.stdout).trim().to_owned())
    });
    let configured = configured
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().unwrap());
    configured.or_else(python::default_index).unwrap()
}

struct Bench {
    folder: tempfile::TempDir,
    intake: Intake,
    sources: Sources,
}

impl Bench {
    fn new() -> Self {
        let sources = Sources {
            debian_mirrors: vec![],
            debian_security_mirrors: vec![],
            debian_keys: vec![],
            debian_sources: vec![],
            python_indexes: vec![index()],
        };
        let intake = Intake::new(IntakeConfig::default()).unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            intake,
            sources,
        }
    }

    fn resolve(&self, texts: &[String], base: Base) -> Result<PythonSolution, PythonError> {
        let store = Store::open(&self.folder.path().join("store"), Arc::new(SystemClock)).unwrap();
        let context = Context {
            store: &store,
            intake: &self.intake,
            clock: &SystemClock,
            sources: &self.sources,
            freshness: Freshness {
                max_age: Duration::from_hours(1),
                refresh: None,
                offline: false,
            },
            progress: &Progress::silent(),
            later: &Later::default(),
            known: None,
            pass_over: false,
        };
        let mut requirements: Vec<PythonRequirement> =
            texts.iter().map(|text| text.parse().unwrap()).collect();
        requirements.sort();
        requirements.dedup();
        python::resolve(&context, &Asked::plain(base, &requirements))
    }

    /// Solve again from the cached pages and metadata.
    fn forget_solutions(&self) {
        let _ = std::fs::remove_dir_all(self.folder.path().join("store/cache/python-solution"));
    }
}

/// The requirement sets of the shared data: names without versions. They lie beside the repository, where there is
/// one; elsewhere a few sets stand in.
fn sets() -> BTreeMap<String, Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/requirements");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: the shared requirement sets are not there");
        return STAND_IN_SETS
            .iter()
            .map(|(label, names)| ((*label).to_owned(), names.split(' ').map(str::to_owned).collect()))
            .collect();
    };
    files
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                names(&path),
            )
        })
        .collect()
}

const STAND_IN_SETS: [(&str, &str); 10] = [
    ("mechanize", "mechanize"),
    ("requests", "requests"),
    ("lxml", "lxml beautifulsoup4"),
    ("ldap", "ldap3 pyasn1 pycryptodome"),
    ("yarapy", "plyara yara-python"),
    ("pandas", "pandas numpy"),
    ("fastapi", "fastapi uvicorn pydantic"),
    ("crypto", "cryptography msal pyopenssl"),
    ("readpdf", "pikepdf pillow pypdf2"),
    ("kubernetes", "kubernetes"),
];

fn names(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_alphanumeric()));
    let mut names: Vec<String> = lines
        .filter_map(|line| line.split_once("==").map(|(name, _)| name.trim().to_owned()))
        .collect();
    names.sort();
    names
}

fn versions(solution: &PythonSolution) -> BTreeMap<String, String> {
    solution
        .python
        .iter()
        .map(|one| (one.name.to_string(), one.version.to_string()))
        .collect()
}

#[test]
fn live_python_mechanize_on_both_bases() {
    let bench = Bench::new();
    for base in Base::ALL {
        let solution = bench.resolve(&["mechanize".to_owned()], base).unwrap();
        let names: Vec<&str> = solution.python.iter().map(|one| one.name.as_str()).collect();
        assert!(
            names.contains(&"mechanize") && names.contains(&"html5lib"),
            "{names:?}"
        );
        for one in &solution.python {
            assert!(
                one.sha256.is_some() && one.size > 0 && one.fits_platform && one.yanked.is_none(),
                "{one:?}"
            );
        }
    }
}

#[test]
fn live_python_unknown_names_get_suggestions() {
    let bench = Bench::new();
    for (wrong, right) in [
        ("mechanise", "mechanize"),
        ("reqeusts", "requests"),
        ("beautifulsop4", "beautifulsoup4"),
    ] {
        match bench.resolve(&[wrong.to_owned()], Base::Trixie) {
            Err(error @ PythonError::UnknownPackage { .. }) => {
                assert!(
                    error.hint().unwrap().contains(right),
                    "{wrong}: {:?}",
                    error.hint()
                );
            }
            other => println!("live_python: `{wrong}` exists by now: {:?}", other.map(|_| ())),
        }
    }
}

#[test]
fn live_python_times() {
    let sets = sets();
    let mut table: Vec<(String, Vec<String>)> = ["mechanize", "requests", "pandas"]
        .map(|name| (name.to_owned(), vec![name.to_owned()]))
        .into();
    table.push((
        "mechanize, requests, pandas".to_owned(),
        ["mechanize", "requests", "pandas"].map(str::to_owned).into(),
    ));
    table.push(("the fastapi set".to_owned(), sets["fastapi"].clone()));
    for (label, texts) in table {
        let bench = Bench::new();
        let timed = |what: &str| {
            let start = Instant::now();
            let solution = bench.resolve(&texts, Base::Trixie);
            let elapsed = start.elapsed();
            let count = solution
                .as_ref()
                .map(|one| one.python.len())
                .map_err(ToString::to_string);
            println!(
                "python times: {label}: {what} {:.1} ms: {count:?}",
                elapsed.as_secs_f64() * 1e3
            );
            solution
                .map(|one| versions(&one))
                .map_err(|error| error.to_string())
        };
        let cold = timed("cold");
        bench.forget_solutions();
        let warm = timed("warm");
        let again = timed("again");
        assert_eq!(cold, warm, "{label}");
        assert_eq!(warm, again, "{label}");
    }
}

/// uv, installed from the index once for all runs.
fn uv() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uv");
    let binary = folder.join("bin/uv");
    if !binary.exists() {
        let status = Command::new("python3")
            .args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
            .arg(&folder)
            .arg("uv")
            .status()
            .unwrap();
        assert!(status.success(), "uv cannot be installed");
    }
    binary
}

fn uv_versions(index: &Url, cache: &Path, names: &[String]) -> Result<BTreeMap<String, String>, String> {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("requirements.in");
    std::fs::File::create(&input)
        .and_then(|mut file| std::io::Write::write_all(&mut file, names.join("\n").as_bytes()))
        .unwrap();
    let output = Command::new(uv())
        .args([
            "pip",
            "compile",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--no-build",
            "--no-python-downloads",
        ])
        .args([
            "--python-version",
            "3.13.5",
            "--python-platform",
            "x86_64-manylinux_2_40",
            "--no-config",
        ])
        .args(["--no-emit-index-url", "--system-certs", "--default-index"])
        .arg(index.as_str())
        .arg("--cache-dir")
        .arg(cache)
        .arg(&input)
        .output()
        .unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pins = text.lines().filter_map(|line| line.split_once("=="));
    Ok(pins
        .map(|(name, version)| {
            (
                name.split('[').next().unwrap().to_owned(),
                version.trim().to_owned(),
            )
        })
        .collect())
}

#[test]
fn live_python_oracle() {
    let bench = Bench::new();
    let cache = tempfile::tempdir().unwrap();
    let (mut equal, mut differing) = (Vec::new(), Vec::new());
    for (label, names) in sets() {
        let start = Instant::now();
        let ours = bench.resolve(&names, Base::Trixie);
        let took = start.elapsed();
        let theirs = uv_versions(&bench.sources.python_indexes[0], cache.path(), &names);
        let verdict = compare(&ours, &theirs);
        println!(
            "python oracle: {label}: {} in {:.0} ms",
            verdict.as_deref().unwrap_or("equal"),
            took.as_secs_f64() * 1e3
        );
        if verdict.is_none() {
            equal.push(label);
        } else {
            differing.push(label);
        }
    }
    println!("python oracle: {}/{}", equal.len(), equal.len() + differing.len());
    assert!(equal.len() >= 10, "equal {equal:?}, differing {differing:?}");
}

/// Sets in which the newest versions do not fit together: extras, caps, long walks.
#[test]
fn live_python_oracle_of_conflicts() {
    let sets: Vec<Vec<String>> = [
        "boto3 s3fs",
        "aiobotocore[boto3] boto3 awscli",
        "fastapi[standard]",
        "fastapi pydantic<2",
        "google-cloud-aiplatform",
        "google-cloud-bigquery[pandas] google-cloud-storage tensorflow",
        "langchain openai langchain-community",
        "dask[complete] distributed",
        "sphinx docutils<0.20 sphinx-rtd-theme",
        "celery[redis] django django-allauth",
        "streamlit altair<5",
        "jupyterlab notebook<7",
        "snowflake-connector-python[pandas] pandas pyarrow<18",
        "mlflow scikit-learn",
        "dbt-core dbt-snowflake",
        "ray[default] grpcio<1.70",
        "requests<2.30 urllib3>=2",
        "httpx<0.25 openai>=1",
        "ansible jinja2<3.1",
        "apache-airflow",
        "azure-cli",
        "jupyter pyzmq<26",
    ]
    .iter()
    .map(|set| set.split(' ').map(str::to_owned).collect())
    .collect();
    let bench = Bench::new();
    let cache = tempfile::tempdir().unwrap();
    let mut equal = 0;
    for names in &sets {
        let start = Instant::now();
        let ours = bench.resolve(names, Base::Trixie);
        let cold = start.elapsed();
        bench.forget_solutions();
        let start = Instant::now();
        let again = bench.resolve(names, Base::Trixie);
        let warm = start.elapsed();
        let same = ours.as_ref().ok().map(versions) == again.as_ref().ok().map(versions);
        assert!(same, "{names:?}: cold and warm differ");
        let start = Instant::now();
        let theirs = uv_versions(&bench.sources.python_indexes[0], cache.path(), names);
        let uv = start.elapsed();
        let verdict = compare(&ours, &theirs);
        println!(
            "python oracle: {}: {} (cold {:.0} ms, warm {:.0} ms, uv {:.0} ms)",
            names.join(" "),
            verdict.as_deref().unwrap_or("equal"),
            cold.as_secs_f64() * 1e3,
            warm.as_secs_f64() * 1e3,
            uv.as_secs_f64() * 1e3,
        );
        equal += usize::from(verdict.is_none());
    }
    println!("python oracle of conflicts: {equal}/{}", sets.len());
    assert!(equal * 2 > sets.len());
}

/// What differs; nothing if both have the same versions or both refuse.
fn compare(
    ours: &Result<PythonSolution, PythonError>,
    theirs: &Result<BTreeMap<String, String>, String>,
) -> Option<String> {
    let (ours, theirs) = match (ours, theirs) {
        (Err(ours), Err(_)) => {
            println!("python oracle: both refuse; ours: {ours}");
            return None;
        }
        (Err(ours), Ok(_)) => return Some(format!("only we refuse: {ours}")),
        (Ok(_), Err(theirs)) => return Some(format!("only uv refuses: {theirs}")),
        (Ok(ours), Ok(theirs)) => (versions(ours), theirs),
    };
    let names = ours
        .keys()
        .chain(theirs.keys())
        .collect::<std::collections::BTreeSet<_>>();
    let differing = names
        .into_iter()
        .filter(|name| ours.get(*name) != theirs.get(*name));
    let lines: Vec<String> = differing
        .map(|name| format!("{name}: {:?} here, {:?} in uv", ours.get(name), theirs.get(name)))
        .collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}
