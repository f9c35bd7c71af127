//! `cooper create`: from names, or from a lock, to an image.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use cooper_core::requirements::Requirements;
use cooper_core::{Finding, Lock, Progress};
use cooperage::chat::{self, ChatError, CreateWords};
use cooperage::gate::Verdict;
use cooperage::{CreateError, Created, FullReference, Workshop, requirements_file};
use serde_json::{Value, json};

use crate::command::dry_run;
use crate::failure::{Code, Exit, Failure};
use crate::host::check_host;
use crate::render::library;
use crate::render::package::{inventory_json, write_changes};
use crate::render::table::printable;
use crate::render::{unit, verdict};
use crate::settings::{Settings, key};
use crate::shell::{Need, Shell, input_name, open_workshop, read_input};

const EXAMPLES: &str = "\
Examples:
  cooper create example_name --dependencies mechanize --packages wget
  cooper create name=example_name dependencies=mechanize packages=wget
  cooper create report --dependencies 'requests[socks]>=2.31,<3,pandas' --base debian:bookworm
  cooper create tools --packages jq,wget=1.25.0-2 --refresh
  cooper create big --requirements requirements.txt --packages wget
  cooper create more --dependencies requests --base example_name
  cooper create any --dependencies requests --reuse
  cooper create any --dependencies requests --dry-run
  cooper create vision --dependencies opencv-python --fix-missing
  cooper inspect example_name --lock > a.lock && cooper create --locked a.lock example_name

The tag counts up: `local/example_name:1.0.0.1`, then `:1.0.0.2`. A request that resolves to the
lock of an existing version makes no new one.

A requirements file is in pip's format, with `-r`, `-c` and `--hash`; once something has a hash,
everything must have one, what is merely needed too. Where packages come from is not said in it.";

/// Make an image from Python libraries and Debian packages
///
/// Everything is resolved, checked by the gates, downloaded, verified and assembled; the result is a version
/// tag that never moves. Existing versions stay.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct CreateArgs {
    /// The image's name in lower case, or `name=…`, `dependencies=…`, `requirements=…`, `packages=…`, `base=…`
    #[arg(value_name = "NAME", required = true)]
    words: Vec<String>,
    /// Python requirements (PEP 508), separated by commas
    #[arg(long, short, value_name = "LIST")]
    dependencies: Vec<String>,
    /// Python requirements in pip's file format (`-`: standard input); may be repeated
    #[arg(long, short, value_name = "FILE")]
    requirements: Vec<PathBuf>,
    /// Debian packages, separated by commas: `wget`, or `wget=1.25.0-2`
    #[arg(long, short, value_name = "LIST")]
    packages: Vec<String>,
    /// Debian packages for building wheels from sources, not part of the image: `libxml2-dev`
    #[arg(long, value_name = "LIST")]
    build_packages: Vec<String>,
    /// What the image stands on: debian:trixie (Python 3.13), debian:bookworm (Python 3.11), or an image of yours,
    /// `NAME` (its newest version) or `NAME:VERSION`
    #[arg(long, value_name = "BASE")]
    base: Option<String>,
    /// Take an image that already has all of this, where there is one, and make none
    #[arg(long)]
    reuse: bool,
    /// Show what would be in the image, and make nothing
    #[arg(long, conflicts_with_all = ["reuse", "fix_missing"])]
    dry_run: bool,
    #[command(flatten)]
    additions: Additions,
    /// Rebuild from this lock (`-`: standard input) in place of resolving
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dependencies", "requirements", "packages", "build_packages", "base", "refresh", "reuse", "dry_run", "recommends", "fix_missing"])]
    locked: Option<PathBuf>,
    #[command(flatten)]
    terms: Terms,
}

/// What is added to what was named.
#[derive(Debug, Clone, Copy, Args)]
struct Additions {
    /// Install what the Debian packages recommend too, where that is possible, as apt does
    #[arg(long)]
    recommends: bool,
    /// Add the Debian packages that have shared libraries which wheels ask for and the image lacks
    #[arg(long)]
    fix_missing: bool,
}

/// How fresh the indexes must be, and by which rules the gates judge.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Terms {
    /// Fetch the indexes again, however new the kept ones are
    #[arg(long, conflicts_with = "offline")]
    refresh: bool,
    /// Fetch nothing: use what is in the store, however old
    #[arg(long)]
    offline: bool,
    /// Judge by this profile of the policy: `testing`, `production`, or one of your own
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

impl Terms {
    /// Whether indexes are fetched again.
    pub(crate) fn refresh(&self) -> bool {
        self.refresh
    }
}

/// Execute `cooper create`.
pub(crate) fn create(args: CreateArgs, shell: &Shell) -> Result<Exit, Failure> {
    let CreateArgs {
        words,
        dependencies,
        mut requirements,
        packages,
        build_packages,
        base,
        reuse,
        dry_run,
        additions: Additions {
            recommends,
            fix_missing,
        },
        locked,
        terms,
    } = args;
    let lists = [
        ("dependencies", dependencies),
        ("packages", packages),
        ("build-packages", build_packages),
    ];
    let mut pairs = words.into_iter().map(word_pair).collect::<Result<Vec<_>, _>>()?;
    for (argument, values) in lists {
        if !values.is_empty() {
            pairs.push((argument.to_owned(), values.join(",")));
        }
    }
    for (argument, wished) in [("recommends", recommends), ("fix-missing", fix_missing)] {
        pairs.extend(wished.then(|| (argument.to_owned(), "true".to_owned())));
    }
    pairs.extend(base.map(|base| ("base".to_owned(), base)));
    let is_file = |(argument, _): &(String, String)| argument == chat::REQUIREMENTS;
    requirements.extend(
        pairs
            .extract_if(.., |pair| is_file(pair))
            .map(|(_, file)| file.into()),
    );
    let mut words = chat::parse_words(pairs)?;
    for file in &requirements {
        words.add(read_requirements(file)?)?;
    }
    match locked {
        Some(file) => create_locked(&words, &file, &terms, shell),
        None if dry_run => dry_run::show(words, &terms, shell),
        None => create_words(words, &terms, reuse, shell),
    }
}

pub(crate) fn read_requirements(file: &std::path::Path) -> Result<Requirements, Failure> {
    let requirements = if file.as_os_str() == "-" {
        requirements_file::read_stream("standard input", io::stdin().lock())
    } else {
        requirements_file::read(file)
    };
    Ok(requirements?)
}

/// A word of the command line: a name, or an argument with its value.
fn word_pair(word: String) -> Result<(String, String), ChatError> {
    if word.contains('=') {
        chat::split_pair(&word)
    } else {
        Ok(("name".to_owned(), word))
    }
}

/// Make an image from the words of any door.
pub(crate) fn create_words(
    words: CreateWords,
    terms: &Terms,
    reuse: bool,
    shell: &Shell,
) -> Result<Exit, Failure> {
    let settings = settings(terms, shell)?;
    let request = words.request(settings.base()?)?;
    check_host("making an image")?;
    let workshop = open_workshop(
        &settings,
        Need::Sources {
            refresh: terms.refresh,
        },
    )?;
    let sufficient = workshop.sufficient(&request)?;
    if let Some(image) = sufficient.as_ref().filter(|_| reuse) {
        return finish(shell, Some(image), |_| workshop.reuse(image));
    }
    if let Some(image) = &sufficient {
        shell.note(
            "note",
            &format!("image {image} already has all of this: `cooper run {image} …`"),
        );
    }
    finish(shell, sufficient.as_ref(), |progress| {
        workshop.create(&request, progress)
    })
}

fn create_locked(
    words: &CreateWords,
    file: &std::path::Path,
    terms: &Terms,
    shell: &Shell,
) -> Result<Exit, Failure> {
    if words.base.is_some() || !words.dependencies.is_empty() || !words.packages.is_empty() {
        let failure = Failure::new(Code::Usage, "with `--locked` only a name can be given");
        return Err(failure.hint("the lock says what is in the image".to_owned()));
    }
    let lock = read_lock(file)?;
    let settings = settings(terms, shell)?;
    check_host("making an image")?;
    let workshop = locked_workshop(&settings)?;
    finish(shell, None, |progress| {
        workshop.create_locked(&words.name, &lock, progress)
    })
}

/// A lock whose artefacts are in the store needs no mirror: none has to be configured.
fn locked_workshop(settings: &Settings) -> Result<Workshop, Failure> {
    let need = if settings.sources().is_ok() {
        Need::Sources { refresh: false }
    } else {
        Need::Lock
    };
    open_workshop(settings, need)
}

/// The settings in force, with the flags of freshness.
pub(crate) fn settings(terms: &Terms, shell: &Shell) -> Result<Settings, Failure> {
    let mut settings = shell.settings()?;
    if terms.offline {
        settings.flag(&key::OFFLINE, "--offline", "true".to_owned())?;
    }
    if let Some(profile) = &terms.profile {
        settings.flag(&key::POLICY_PROFILE, "--profile", profile.clone())?;
    }
    Ok(settings)
}

/// How large a lock may be.
const LOCK_BYTES_MAX: u64 = 64 << 20;

pub(crate) fn read_lock(file: &std::path::Path) -> Result<Lock, Failure> {
    let name = input_name(file);
    let hint = || "make one with `cooper inspect IMAGE --lock > FILE`".to_owned();
    let text = read_input(file, LOCK_BYTES_MAX).map_err(|error| {
        Failure::new(Code::InvalidLock, format!("cannot read the lock {name}: {error}")).hint(hint())
    })?;
    let lock = serde_json::from_str(&text);
    lock.map_err(|error| {
        Failure::new(Code::InvalidLock, format!("{name} is not a lock: {error}")).hint(hint())
    })
}

fn finish(
    shell: &Shell,
    sufficient: Option<&FullReference>,
    create: impl FnOnce(&Progress) -> Result<Created, CreateError>,
) -> Result<Exit, Failure> {
    let started = Instant::now();
    let display = shell.progress();
    let created = create(&display.sink());
    display.finish();
    let created = created?;
    let elapsed = started.elapsed();
    for note in &created.notes {
        shell.note("note", note);
    }
    for note in library::notes(&created.packages.missing_libraries) {
        shell.note("note", &note);
    }
    if let Some(verdict) = &created.verdict {
        tell_verdict(verdict, shell);
    }
    let reused = sufficient == Some(&created.image);
    shell.print(
        || document(&created, sufficient, elapsed),
        |out| write(out, &created, reused, elapsed, shell.quiet()),
    )?;
    Ok(Exit::GOOD)
}

/// Tell what the gates noted, what a waiver lifts, and what could not be judged.
pub(crate) fn tell_verdict(judged: &Verdict, shell: &Shell) {
    let verdict::Shown { single, alike } = verdict::shown(judged);
    for finding in single {
        let text = format!("{} {}: {}", finding.code, finding.subject, finding.message);
        match &finding.waived {
            None => shell.note("note", &text),
            Some(waived) => {
                let (number, by, until) = (waived.waiver, &waived.by, unit::time(waived.until));
                shell.note(
                    "waived",
                    &format!("{text} (waiver {number} of {by} until {until})"),
                );
            }
        }
    }
    for (code, line) in alike {
        shell.note("note", &format!("{code}: {line}"));
    }
    let whys: Vec<&str> = judged.unjudged.iter().map(|one| one.why.as_str()).collect();
    if let Some(first) = judged.unjudged.first() {
        shell.note(
            "warning",
            &format!("not judged: {}: {}", whys.join("; "), first.hint),
        );
    }
}

/// A verdict without its findings, for programs.
pub(crate) fn verdict_json(verdict: &Verdict) -> Value {
    let mut document = json!(verdict);
    if let Some(fields) = document.as_object_mut() {
        fields.remove("findings");
    }
    document
}

/// The findings of a verdict, for programs.
pub(crate) fn findings_of(verdict: Option<&Verdict>) -> &[Finding] {
    verdict.map_or(&[], |verdict| &verdict.findings)
}

fn document(created: &Created, sufficient: Option<&FullReference>, elapsed: Duration) -> Value {
    let (previous, changes) = match &created.changes {
        Some((before, changes)) => (Some(before), json!(changes)),
        None => (None, json!([])),
    };
    json!({
        "image": created.image,
        "digest": created.digest,
        "created": created.created,
        "size_bytes": created.size_bytes,
        "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        "packages": inventory_json(&created.packages),
        "missing_libraries": created.packages.missing_libraries,
        "previous": previous,
        "changes": changes,
        "sufficient": sufficient,
        "findings": findings_of(created.verdict.as_ref()),
        "verdict": created.verdict.as_ref().map(verdict_json),
        "notes": created.notes,
    })
}

fn write(
    out: &mut dyn Write,
    created: &Created,
    reused: bool,
    elapsed: Duration,
    quiet: bool,
) -> io::Result<()> {
    if quiet {
        return writeln!(out, "{}", created.image);
    }
    if reused {
        writeln!(out, "taken {}: it has all of this", created.image)?;
    } else if created.created {
        writeln!(out, "created {}", created.image)?;
    } else {
        writeln!(out, "no new version: same lock as {}", created.image)?;
    }
    let debian = unit::count(created.packages.debian.len() as u64, "Debian package");
    let python = unit::count(created.packages.python.len() as u64, "Python package");
    writeln!(out, "  digest    {}", created.digest)?;
    writeln!(out, "  size      {}", unit::size(created.size_bytes))?;
    writeln!(out, "  contents  {debian}, {python}")?;
    if let Some(verdict) = &created.verdict {
        writeln!(out, "  verdict   {}", printable(&verdict::headline(verdict)))?;
    }
    writeln!(out, "  time      {}", unit::duration(elapsed))?;
    if let Some((before, changes)) = &created.changes {
        write_changes(out, &before.to_string(), changes)?;
    }
    Ok(())
}
