//! The integrity gate: nothing enters that cannot be proved to be what the index promised.

use std::collections::BTreeSet;

use cooper_core::base::Suite;
use cooper_core::plan::{PlannedDebian, PlannedPython, Snapshot};
use cooper_core::source::PlannedSource;
use cooper_core::{Ecosystem, Effect, Finding, FindingCode, PackageVersion, Plan, Timestamp};

use crate::cleared_lock::architecture;
use crate::known::Known;
use crate::verdict::Evidence;
use crate::waiver;

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntegrityCode {
    /// An index names an artefact without a SHA-256, so nobody can tell what will be downloaded.
    NoHash,
    /// An artefact was chosen from an index that no trusted key has signed.
    Unsigned,
    /// The signed validity of an index has ended: a mirror may be replaying an old state.
    Expired,
    /// An index is older than the newest one seen for the same suite.
    RolledBack,
    /// The signed index of a lock's snapshot is not at hand, and what the lock says of it is believed.
    UncheckedSnapshot,
    /// An artefact is made for another platform than the image.
    WrongPlatform,
    /// An artefact was withdrawn by its publisher and is not asked for by its exact version.
    Yanked,
    /// An artefact was withdrawn by its publisher, and the request asks for exactly that version.
    YankedPinned,
    /// A wheel was built here from sources, because the index has no wheel that fits.
    BuiltHere,
    /// The plan names one artefact twice, or two versions of one package.
    Duplicate,
}

impl IntegrityCode {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::NoHash,
        Self::Unsigned,
        Self::Expired,
        Self::RolledBack,
        Self::UncheckedSnapshot,
        Self::WrongPlatform,
        Self::Yanked,
        Self::YankedPinned,
        Self::BuiltHere,
        Self::Duplicate,
    ];

    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoHash => "INTEGRITY-NO-HASH",
            Self::Unsigned => "INTEGRITY-UNSIGNED",
            Self::Expired => "INTEGRITY-EXPIRED",
            Self::RolledBack => "INTEGRITY-ROLLED-BACK",
            Self::UncheckedSnapshot => "INTEGRITY-UNCHECKED-SNAPSHOT",
            Self::WrongPlatform => "INTEGRITY-PLATFORM",
            Self::Yanked => "INTEGRITY-YANKED",
            Self::YankedPinned => "INTEGRITY-YANKED-PINNED",
            Self::BuiltHere => "INTEGRITY-BUILT-HERE",
            Self::Duplicate => "INTEGRITY-DUPLICATE",
        }
    }

    /// Whether a waiver may lift it, where the policy lets it hold.
    pub const fn is_waivable(self) -> bool {
        matches!(self, Self::BuiltHere)
    }

    /// What it means, why it matters, what to do.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::NoHash => {
                "The index names the file without a SHA-256. Nobody could tell whether what is downloaded is what \
                 the index meant, and no lock could name it. Use an index that publishes hashes."
            }
            Self::Unsigned => {
                "No key that is trusted here has signed the index from which the package was chosen. A mirror, or \
                 whoever is between it and you, could serve anything. Check `debian.mirrors` and `debian.keyring` in \
                 `cooper config`."
            }
            Self::Expired => {
                "The archive signed its index with a date until which it is valid, and that date has passed. A mirror \
                 that replays an old state withholds security updates. Run again with `--refresh`, or configure \
                 another mirror."
            }
            Self::RolledBack => {
                "This store has seen a newer state of the suite than the one that the mirror serves now. A replayed \
                 index withholds security updates. Run again with `--refresh`, or configure another mirror."
            }
            Self::UncheckedSnapshot => {
                "The image is made from a lock, and the signed index that the lock names is not in the store, or there \
                 is no key to check it with. The artefacts' digests are checked all the same; only the index's date \
                 and signatures are taken on the lock's word. Use locks that you trust."
            }
            Self::WrongPlatform => {
                "The artefact is made for another processor, system or Python than the image has. It could not be \
                 loaded. Ask for another version, or choose another base."
            }
            Self::Yanked => {
                "The publisher withdrew the file, usually because it is broken or unsafe. It is taken only for a \
                 request that names exactly this version."
            }
            Self::YankedPinned => {
                "The publisher withdrew the file, and the request asks for exactly this version with `==`, so it is \
                 taken. Read the publisher's reason, and move to another version when you can."
            }
            Self::BuiltHere => {
                "The index has no wheel that fits; the wheel was built from the published sources in a sandbox without \
                 network. The lock names the sources and the environment, so that it can be built again."
            }
            Self::Duplicate => {
                "The plan names one artefact twice, or two versions of one package. An image can hold only one. \
                 Delete the repetition from the lock file, or resolve again."
            }
        }
    }
}

impl From<IntegrityCode> for FindingCode {
    fn from(code: IntegrityCode) -> Self {
        Self::new(code.as_str())
    }
}

/// Every finding about the plan's integrity, in the plan's order.
pub fn judge(plan: &Plan, evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    for snapshot in &plan.snapshots {
        findings.extend(judge_snapshot(snapshot, evidence.judged_at));
    }
    findings.extend(unchecked(&evidence.unchecked));
    for planned in plan.debian() {
        findings.extend(judge_debian(planned, plan));
    }
    for planned in plan.distributions() {
        findings.extend(judge_python(planned, &evidence.known));
    }
    findings.extend(duplicates(plan));
    findings
}

fn refuse(code: IntegrityCode, subject: String, message: String, hint: &str) -> Finding {
    Finding::new(code.into(), Effect::Refuse, subject, message, hint)
}

fn judge_snapshot(snapshot: &Snapshot, now: Timestamp) -> Vec<Finding> {
    let Snapshot::Debian {
        suite,
        date,
        valid_until,
        signed_by,
        newest_seen,
        ..
    } = snapshot
    else {
        return Vec::new();
    };
    let subject = format!("suite {suite}");
    let mut findings = Vec::new();
    if signed_by.is_empty() {
        let message = "no trusted key has signed this index".to_owned();
        let hint = "check `debian.mirrors` and `debian.keyring` in `cooper config`";
        findings.push(refuse(IntegrityCode::Unsigned, subject.clone(), message, hint));
    }
    if let Some(until) = valid_until.filter(|until| *until < now) {
        let message = format!("the index was signed as valid until {until}, and it is {now}");
        let hint = "run again with `--refresh`; if it stays, the mirror is stale: configure another one";
        findings.push(refuse(IntegrityCode::Expired, subject.clone(), message, hint));
    }
    if date < newest_seen {
        let message = format!("the index is of {date}, but one of {newest_seen} was seen before");
        let hint = "run again with `--refresh`; if it stays, the mirror serves an old state: configure another \
                    one (who means an old state takes another store: `--store DIR`)";
        findings.push(refuse(IntegrityCode::RolledBack, subject, message, hint));
    }
    findings
}

/// One note for all suites that are taken on the lock's word.
fn unchecked(suites: &[Suite]) -> Option<Finding> {
    let names: Vec<String> = suites.iter().map(ToString::to_string).collect();
    let subject = match names.len() {
        0 => return None,
        1 => format!("suite {}", names.join(", ")),
        _ => format!("suites {}", names.join(", ")),
    };
    Some(Finding::new(
        IntegrityCode::UncheckedSnapshot.into(),
        Effect::Note,
        subject,
        "the signed index is not in the store, or there is no key to check it with: its date and its \
         signatures are taken on the lock's word",
        "use locks that you trust; an image that was resolved in this store keeps its signed indexes",
    ))
}

fn judge_debian(planned: &PlannedDebian, plan: &Plan) -> Vec<Finding> {
    let subject = format!("{} {}", planned.name, planned.version);
    let mut findings = Vec::new();
    if planned.sha256.is_none() {
        findings.push(no_hash(
            subject.clone(),
            &format!("the index of {} has no SHA-256 for it", planned.suite),
        ));
    }
    if architecture(&planned.architecture).is_none() {
        findings.push(wrong_platform(
            subject.clone(),
            &format!("it is made for `{}`", planned.architecture),
        ));
    }
    if planned.suite.base != plan.release {
        findings.push(wrong_platform(
            subject.clone(),
            &format!("it is of {}, which {} does not have", planned.suite, plan.release),
        ));
    }
    let of_suite =
        |snapshot: &Snapshot| matches!(snapshot, Snapshot::Debian { suite, .. } if *suite == planned.suite);
    if !plan.snapshots.iter().any(of_suite) {
        let message = format!(
            "the plan has no signed index of {}, from which it was chosen",
            planned.suite
        );
        let hint = "run again with `--refresh`";
        findings.push(refuse(IntegrityCode::Unsigned, subject, message, hint));
    }
    findings
}

fn judge_python(planned: &PlannedPython, known: &Known) -> Vec<Finding> {
    let subject = format!("{} {}", planned.name, planned.version);
    let mut findings = Vec::new();
    if planned.sha256.is_none() {
        findings.push(no_hash(
            subject.clone(),
            &format!("the index has no SHA-256 for {}", planned.filename),
        ));
    }
    if !planned.fits_platform {
        findings.push(wrong_platform(
            subject.clone(),
            &format!("{} does not fit the base", planned.filename),
        ));
    }
    if let Some(reason) = &planned.yanked {
        let file = planned
            .built
            .as_ref()
            .map_or(&planned.filename, |built| &built.source.filename);
        let finding = yanked(&subject, file, reason, planned.exactly_pinned);
        findings.push(finding);
    }
    if let Some(built) = &planned.built {
        let message = format!(
            "the index has no wheel that fits: {} was built from {} in a sandbox without network",
            planned.filename, built.source.filename
        );
        findings.push(built_here(
            PackageVersion::new(Ecosystem::Python, &planned.name, &planned.version),
            message,
            known,
        ));
    }
    findings
}

/// What the policy makes of a wheel that its own code is run for.
fn built_here(package: PackageVersion, message: String, known: &Known) -> Finding {
    let effect = known.in_force.rules.provenance.built_here;
    let hint = match effect {
        Effect::Note => "`cooper inspect IMAGE --lock` names the sources and the environment".to_owned(),
        _ => format!(
            "ask for a version that has a wheel, or {}",
            waiver::command(IntegrityCode::BuiltHere.as_str(), &package)
        ),
    };
    Finding::new(IntegrityCode::BuiltHere.into(), effect, "", message, hint).about(package)
}

/// Every finding about a source distribution that is to be built. That its code is run is said here only where the policy
/// does more than note it: the plan that has the wheel notes it.
pub(crate) fn judge_source(source: &PlannedSource, known: &Known) -> Vec<Finding> {
    let subject = format!("{} {}", source.name, source.version);
    let mut findings = Vec::new();
    if source.sha256.is_none() {
        let message = format!("the index has no SHA-256 for {}", source.filename);
        findings.push(no_hash(subject.clone(), &message));
    }
    if let Some(reason) = &source.yanked {
        findings.push(yanked(&subject, &source.filename, reason, source.exactly_pinned));
    }
    if known.in_force.rules.provenance.built_here > Effect::Note {
        let package = PackageVersion::new(Ecosystem::Python, &source.name, &source.version);
        let message = format!(
            "the index has no wheel that fits: the code of {} would be run to build one",
            source.filename
        );
        findings.push(built_here(package, message, known));
    }
    findings
}

fn no_hash(subject: String, message: &str) -> Finding {
    let hint = "use an index that publishes SHA-256 hashes";
    refuse(IntegrityCode::NoHash, subject, message.to_owned(), hint)
}

fn wrong_platform(subject: String, message: &str) -> Finding {
    let message = format!("{message}; images are linux/amd64");
    refuse(
        IntegrityCode::WrongPlatform,
        subject,
        message,
        "ask for another version, or choose another `--base`",
    )
}

fn yanked(subject: &str, filename: &str, reason: &str, exactly_pinned: bool) -> Finding {
    let reason = if reason.is_empty() {
        "no reason given"
    } else {
        reason
    };
    let message = format!("its publisher withdrew {filename}: {reason}");
    let pin = subject.replace(' ', "==");
    let hint = format!("ask for another version; `{pin}` insists on this one");
    if exactly_pinned {
        return Finding::new(
            IntegrityCode::YankedPinned.into(),
            Effect::Note,
            subject,
            message,
            hint,
        );
    }
    refuse(IntegrityCode::Yanked, subject.to_owned(), message, &hint)
}

fn duplicates(plan: &Plan) -> Vec<Finding> {
    let debian = plan.debian().map(|planned| format!("package {}", planned.name));
    let python = plan
        .distributions()
        .map(|planned| format!("distribution {}", planned.name));
    let mut seen = BTreeSet::new();
    let repeated = debian
        .chain(python)
        .filter(|subject| !seen.insert(subject.clone()));
    let message = "the plan names it twice".to_owned();
    let hint = "delete the repetition from the lock file, or resolve again";
    repeated
        .map(|subject| refuse(IntegrityCode::Duplicate, subject, message.clone(), hint))
        .collect()
}
