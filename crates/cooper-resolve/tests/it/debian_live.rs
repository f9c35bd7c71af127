//! The real archives, through the host's own apt sources, and apt itself as the judge.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use cooper_core::clock::SystemClock;
use cooper_core::plan::PlannedDebian;
use cooper_core::{Base, Progress};
use cooper_resolve::debian::{self, DebianSolution, Recommends};
use cooper_resolve::{Context, Later, Sources};
use cooper_store::{Intake, IntakeConfig, Store};

use crate::debian_world::{FRESH, chain, requests, shown};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The mirrors of the host's own sources: the archive's and the security archive's.
fn mirrors() -> Option<(String, String)> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    let folder = std::fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten();
    files.extend(folder.map(|entry| entry.path()));
    let mut found: Vec<(String, String)> = Vec::new();
    for text in files.iter().filter_map(|path| std::fs::read_to_string(path).ok()) {
        for paragraph in text.split("\n\n") {
            let value = |field: &str| {
                let line = paragraph.lines().find_map(|line| line.strip_prefix(field))?;
                line.split_whitespace().next().map(ToOwned::to_owned)
            };
            found.extend(value("URIs:").zip(value("Suites:")));
        }
        for line in text.lines().filter_map(|line| line.strip_prefix("deb ")) {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| word.starts_with('[') || word.ends_with(']'));
            found.extend(
                words
                    .next()
                    .map(ToOwned::to_owned)
                    .zip(words.next().map(ToOwned::to_owned)),
            );
        }
    }
    let of = |wanted: fn(&str) -> bool| {
        found
            .iter()
            .find(|(_, suite)| wanted(suite))
            .map(|(uri, _)| uri.clone())
    };
    let release = of(|suite| matches!(suite, "bookworm" | "trixie"))?;
    let security = of(|suite| matches!(suite, "bookworm-security" | "trixie-security"))?;
    Some((release, security))
}

struct Live {
    folder: tempfile::TempDir,
    store: Store,
    intake: Intake,
    sources: Sources,
}

impl Live {
    fn new() -> Option<Self> {
        let (Some((release, security)), Ok(keys)) = (mirrors(), std::fs::read(KEYRING)) else {
            eprintln!("SKIPPED: this host has no Debian sources for apt, or no archive keyring");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), Arc::new(SystemClock)).unwrap();
        let sources = Sources {
            debian_mirrors: vec![release.parse().unwrap()],
            debian_security_mirrors: vec![security.parse().unwrap()],
            debian_keys: vec![keys],
            debian_sources: vec![],
            python_indexes: vec!["http://index.invalid/simple/".parse().unwrap()],
        };
        Some(Self {
            folder,
            store,
            intake: Intake::new(IntakeConfig::default()).unwrap(),
            sources,
        })
    }

    fn resolve(&self, base: Base, packages: &str) -> DebianSolution {
        self.resolve_with(base, packages, Recommends::LeftOut)
    }

    fn resolve_with(&self, base: Base, packages: &str, recommends: Recommends) -> DebianSolution {
        let progress = Progress::silent();
        let context = Context {
            store: &self.store,
            intake: &self.intake,
            clock: &SystemClock,
            sources: &self.sources,
            freshness: FRESH,
            progress: &progress,
            later: &Later::default(),
            known: None,
            pass_over: false,
        };
        debian::resolve(&context, base, &requests(packages), recommends)
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
    }
}

/// Run and say how long it took.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    eprintln!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    value
}

#[test]
fn live_debian_resolves_wget_on_both_bases() {
    let Some(live) = Live::new() else { return };
    for base in Base::ALL {
        let cold = timed(&format!("{base} cold, with downloads"), || {
            live.resolve(base, "wget")
        });
        assert!(
            cold.packages
                .iter()
                .any(|planned| planned.name.as_str() == "wget")
        );
        assert!(cold.base.iter().any(|planned| planned.name.as_str() == "libc6"));
        assert!(
            cold.base
                .iter()
                .chain(&cold.packages)
                .all(|planned| planned.sha256.is_some())
        );
        let again = timed(&format!("{base} the same again"), || live.resolve(base, "wget"));
        assert_eq!(again, cold);
        timed(&format!("{base} warm, jq"), || live.resolve(base, "jq"));
        std::fs::remove_dir_all(live.store.root().join("cache/debian-packages")).unwrap();
        timed(&format!("{base} cold parse, downloads there"), || {
            live.resolve(base, "tree")
        });
        eprintln!(
            "{base}: {} in the base, {} added for wget",
            cold.base.len(),
            cold.packages.len()
        );
    }
}

#[test]
fn live_debian_suggests_what_was_meant() {
    let Some(live) = Live::new() else { return };
    live.resolve(Base::Trixie, "");
    let progress = Progress::silent();
    let context = Context {
        store: &live.store,
        intake: &live.intake,
        clock: &SystemClock,
        sources: &live.sources,
        freshness: FRESH,
        progress: &progress,
        later: &Later::default(),
        known: None,
        pass_over: false,
    };
    for (asked, meant) in [
        ("libxslt", "libxslt1.1"),
        ("imagemagik", "imagemagick"),
        ("postgresql-cient", "postgresql-client"),
    ] {
        let error = timed(asked, || {
            debian::resolve(&context, Base::Trixie, &requests(asked), Recommends::LeftOut)
        })
        .unwrap_err();
        let hint = error.hint().unwrap();
        eprintln!("{asked}: {hint}");
        assert!(hint.contains(&format!("`{meant}`")), "{asked}: {hint}");
    }
    for asked in [
        "mail-transport-agent",
        "exim4-daemon-light,postfix",
        "wget=0.1",
        "libc6=2.0",
    ] {
        let error =
            debian::resolve(&context, Base::Trixie, &requests(asked), Recommends::LeftOut).unwrap_err();
        eprintln!("{error}\nhint: {}\n", error.hint().unwrap_or_default());
    }
}

/// An apt of its own: nothing of the host but the program and the keyring.
struct Apt {
    root: PathBuf,
}

impl Apt {
    fn new(live: &Live, base: Base) -> Option<Self> {
        let root = live.folder.path().join(format!("apt-{}", base.codename()));
        for path in [
            "etc/apt/preferences.d",
            "etc/apt/apt.conf.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial",
            "var/lib/dpkg",
        ] {
            std::fs::create_dir_all(root.join(path)).unwrap();
        }
        let apt = Self { root };
        let mut list = String::new();
        for suite in base.suites() {
            let mirror = &live.sources.mirrors(suite)[0];
            let _ = writeln!(list, "deb [signed-by={KEYRING}] {mirror} {suite} main");
        }
        write(&apt.root.join("etc/apt/sources.list"), &list);
        apt.installed("");
        match apt.command("apt-get").args(["-q", "update"]).output() {
            Ok(output) if output.status.success() => Some(apt),
            Ok(output) => panic!("apt-get update: {}", String::from_utf8_lossy(&output.stderr)),
            Err(_) => {
                eprintln!("SKIPPED: there is no apt-get on this host");
                None
            }
        }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let options = [
            format!("Dir={}", self.root.display()),
            format!(
                "Dir::State::status={}",
                self.root.join("var/lib/dpkg/status").display()
            ),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            // apt counts itself among the essential packages; Debian does not.
            "pkgCacheGen::ForceEssential=,".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "APT::Get::Show-User-Simulation-Note=false".to_owned(),
        ];
        command
            .args(options.iter().flat_map(|option| ["-o", option]))
            .env("APT_CONFIG", "/dev/null")
            .env("LC_ALL", "C");
        command
    }

    fn installed(&self, status: &str) {
        write(&self.root.join("var/lib/dpkg/status"), status);
    }

    /// What apt would install, as `name version`, sorted.
    fn simulate(&self, packages: &[&str], recommends: Recommends) -> Result<BTreeSet<String>, String> {
        let option = match recommends {
            Recommends::LeftOut => "--no-install-recommends",
            Recommends::Installed => "--install-recommends",
        };
        let arguments = ["-s", "-q", "install", option];
        let output = self
            .command("apt-get")
            .args(arguments)
            .args(packages)
            .output()
            .unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        let installs = text.lines().filter_map(|line| line.strip_prefix("Inst "));
        Ok(installs
            .map(|line| {
                let (name, rest) = line.split_once(' ').unwrap();
                let version = rest.rsplit_once('(').unwrap().1.split(' ').next().unwrap();
                format!("{name} {version}")
            })
            .collect())
    }

    /// Take a base as installed.
    fn install(&self, base: &[PlannedDebian]) {
        let wanted: Vec<String> = base
            .iter()
            .map(|planned| format!("{}={}", planned.name, planned.version))
            .collect();
        let output = self
            .command("apt-cache")
            .arg("show")
            .args(&wanted)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let stanzas = text.split("\n\n").filter(|stanza| !stanza.trim().is_empty());
        let mut status = String::new();
        for stanza in stanzas {
            let _ = write!(status, "{}\nStatus: install ok installed\n\n", stanza.trim_end());
        }
        self.installed(&status);
    }
}

fn write(path: &Path, text: &str) {
    std::io::Write::write_all(&mut std::fs::File::create(path).unwrap(), text.as_bytes()).unwrap();
}

fn differences(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) -> String {
    let only =
        |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>().join(", ");
    format!(
        "only ours: [{}]; only apt's: [{}]",
        only(ours, theirs),
        only(theirs, ours)
    )
}

/// Ten varied sets; where two names stand, the second is bookworm's.
const SETS: [(&str, &str); 10] = [
    ("wget", "wget"),
    ("jq", "jq"),
    ("curl,git", "curl,git"),
    ("build-essential", "build-essential"),
    ("imagemagick", "imagemagick"),
    ("nmap", "nmap"),
    ("postgresql-client", "postgresql-client"),
    ("exim4", "exim4"),
    ("openjdk-21-jre-headless", "openjdk-17-jre-headless"),
    (
        "libxslt1.1,poppler-utils,tesseract-ocr",
        "libxslt1.1,poppler-utils,tesseract-ocr",
    ),
];

/// Single packages whose dependencies are large, or full of alternatives and virtual names.
const MANY: [&str; 40] = [
    "apache2",
    "cargo",
    "chromium",
    "cups",
    "dbus",
    "default-jdk",
    "emacs-nox",
    "ffmpeg",
    "gdal-bin",
    "gimp",
    "golang-go",
    "gnupg",
    "graphviz",
    "inkscape",
    "libgtk-3-0",
    "libreoffice-writer-nogui",
    "mariadb-server",
    "mutt",
    "nginx",
    "nodejs",
    "npm",
    "octave",
    "openssh-server",
    "pandoc",
    "php",
    "postgresql",
    "python3-pandas",
    "python3-pip",
    "python3-venv",
    "qemu-system-x86",
    "r-base",
    "redis-server",
    "ruby",
    "samba",
    "sudo",
    "systemd",
    "texlive-latex-base",
    "tor",
    "vim",
    "xvfb",
];

/// A wider look than the ten sets: how often the answers are the same, and where they are not.
#[test]
fn live_debian_oracle_many() {
    let Some(live) = Live::new() else { return };
    let Some(apt) = Apt::new(&live, Base::Trixie) else {
        return;
    };
    apt.install(&live.resolve(Base::Trixie, "").base);
    let mut same = 0;
    for package in MANY {
        same += usize::from(is_as_apt_says(
            &live,
            &apt,
            Base::Trixie,
            package,
            Recommends::LeftOut,
        ));
    }
    eprintln!("debian:trixie: {same}/{} as apt-get", MANY.len());
    // Where there are several right answers, a new release of the archive may make the two differ in one.
    assert!(same * 10 >= MANY.len() * 9, "{same} of {}", MANY.len());
}

fn is_as_apt_says(live: &Live, apt: &Apt, base: Base, packages: &str, recommends: Recommends) -> bool {
    let solution = live.resolve_with(base, packages, recommends);
    let ours: BTreeSet<String> = shown(&solution.packages).into_iter().collect();
    match apt.simulate(&packages.split(',').collect::<Vec<_>>(), recommends) {
        Ok(theirs) if theirs == ours => {
            eprintln!("same   {packages}: {} packages", ours.len());
            true
        }
        Ok(theirs) => {
            let (count, difference) = (theirs.len(), differences(&ours, &theirs));
            eprintln!("OTHER  {packages}: {} and {count}; {difference}", ours.len());
            false
        }
        Err(error) => {
            eprintln!("apt    {packages}: {error}");
            false
        }
    }
}

fn compare(base: Base) {
    let Some(live) = Live::new() else { return };
    let Some(apt) = Apt::new(&live, base) else { return };
    let ours = live.resolve(base, "");
    let mut roots = vec!["?essential"];
    roots.extend(debian::BASE_ROOTS);
    if base == Base::Bookworm {
        roots.extend(debian::BOOKWORM_ROOTS);
    }
    let theirs = apt.simulate(&roots, Recommends::LeftOut).unwrap();
    let base_set: BTreeSet<String> = shown(&ours.base).into_iter().collect();
    eprintln!("{base}: the base has {} packages", base_set.len());
    assert_eq!(base_set, theirs, "{}", differences(&base_set, &theirs));

    apt.install(&ours.base);
    let mut same = 0;
    for (trixie, bookworm) in SETS {
        let packages = if base == Base::Trixie { trixie } else { bookworm };
        same += usize::from(is_as_apt_says(&live, &apt, base, packages, Recommends::LeftOut));
    }
    eprintln!("{base}: {same}/{} as apt-get", SETS.len());
    assert_eq!(same, SETS.len());
}

/// Packages that recommend others, which recommend others.
const RECOMMENDING: [&str; 16] = [
    "curl,git",
    "build-essential",
    "ca-certificates-java",
    "ffmpeg",
    "fonts-dejavu",
    "graphviz",
    "imagemagick",
    "jq",
    "libxml2-utils",
    "nmap",
    "openssh-client",
    "pandoc",
    "poppler-utils",
    "postgresql-client",
    "tesseract-ocr",
    "wget",
];

#[test]
fn live_debian_oracle_with_recommends() {
    let Some(live) = Live::new() else { return };
    let Some(apt) = Apt::new(&live, Base::Trixie) else {
        return;
    };
    apt.install(&live.resolve(Base::Trixie, "").base);
    let mut same = 0;
    for packages in RECOMMENDING {
        let what = format!("{packages} with what it recommends");
        same += usize::from(timed(&what, || {
            is_as_apt_says(&live, &apt, Base::Trixie, packages, Recommends::Installed)
        }));
    }
    eprintln!("debian:trixie: {same}/{} as apt-get", RECOMMENDING.len());
    assert!(
        same * 10 >= RECOMMENDING.len() * 9,
        "{same} of {}",
        RECOMMENDING.len()
    );
}

#[test]
fn live_debian_oracle_trixie() {
    compare(Base::Trixie);
}

#[test]
fn live_debian_oracle_bookworm() {
    compare(Base::Bookworm);
}
