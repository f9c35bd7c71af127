//! The age gate: a Python release is left to others for some days, since most attacks are found within days.
//!
//! Packages of signed Debian suites are exempt: they were in the archive's hands before. The time is the index's own
//! upload time of the very file, since a file may be added to an old release; where the index gives none, it is the time
//! at which this store first saw the file ([`FirstSeen`](crate::FirstSeen)).

use cooper_core::{Digest, Effect, Finding, FindingCode, PackageVersion, Timestamp};

use crate::known::Known;
use crate::listed::Listed;
use crate::{vulnerabilities, waiver};

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgeCode {
    /// The file is younger than the policy wants.
    Young,
    /// The file is younger than the policy wants, and fixes a vulnerability of what would be taken instead.
    YoungFix,
    /// The index does not tell how old the file is, and this store saw it for the first time only a few days ago.
    FirstSeen,
    /// The file was taken in, or first seen, at a time that has not come yet.
    Future,
    /// Neither the index nor this store can tell how old the file is.
    Unknown,
}

impl AgeCode {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Young,
        Self::YoungFix,
        Self::FirstSeen,
        Self::Future,
        Self::Unknown,
    ];

    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Young => "AGE-YOUNG",
            Self::YoungFix => "AGE-YOUNG-FIX",
            Self::FirstSeen => "AGE-FIRST-SEEN",
            Self::Future => "AGE-FUTURE",
            Self::Unknown => "AGE-UNKNOWN",
        }
    }

    /// What it means, why it matters, what to do.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Young => {
                "The index took the file in only a few days ago. Most malicious releases are found and removed within \
                 a week, so a week of patience stops most of them. Ask for an older version, wait, or waive it with a \
                 reason."
            }
            Self::YoungFix => {
                "The release is young, but the newest one that is old enough and meets the same constraints has a \
                 vulnerability that this one does not have. Then waiting is the greater risk, and it passes."
            }
            Self::FirstSeen => {
                "The index does not say when it took the file in (PEP 700), so its age counts from the moment at which \
                 this store first saw it, and that was only a few days ago. Most malicious releases are found and removed \
                 within a week. Wait until the time that is named, use an index that publishes upload times, name your own \
                 distributions in the policy's `age.exempt`, or waive it with a reason."
            }
            Self::Future => {
                "The file was taken in by the index, or first seen by this store, at a time that has not come yet. Either \
                 this machine's clock is behind, or it was ahead once, or the index is wrong; the age cannot be judged, \
                 so it holds. Set the clock. If it was this store's clock that was wrong when the file was first seen, move \
                 `ledgers/first-seen` out of the store: every age by it begins again."
            }
            Self::Unknown => {
                "The package is of a list that somebody else made, such as an SBOM, which does not say when it was released \
                 (CycloneDX: `releaseNotes.timestamp` of the component; SPDX: `releaseDate` of the package). No index is asked \
                 for what a list names, so that nobody learns what you use. So nothing can be said of its age, and the gate lets \
                 it pass with this note. Judge the image, its lock or its requirements: there the index's upload times count, or \
                 when this store first saw each file."
            }
        }
    }
}

impl From<AgeCode> for FindingCode {
    fn from(code: AgeCode) -> Self {
        Self::new(code.as_str())
    }
}

/// How far the clocks of an index and of this machine may be apart, in seconds.
const SKEW_S: i64 = 300;
const DAY_S: i64 = 86_400;

/// From when on a file has an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// The index took it in.
    Uploaded(Timestamp),
    /// This store first saw it.
    FirstSeen(Timestamp),
    /// This store has not seen it before.
    NeverSeen,
    /// Only a list that somebody else made says when it was released.
    Stated(Timestamp),
    /// Nobody can tell.
    Unknown,
}

impl Since {
    /// By the index, else by this store's ledger.
    pub(crate) fn of(name: &str, uploaded: Option<Timestamp>, file: Option<&Digest>, known: &Known) -> Self {
        match (uploaded, file) {
            (Some(uploaded), _) => Self::Uploaded(uploaded),
            (None, Some(file)) => match known.first_seen.of(name, file) {
                Some(seen) => Self::FirstSeen(seen),
                None => Self::NeverSeen,
            },
            (None, None) => Self::Unknown,
        }
    }
}

/// Whether a file of a distribution is old enough for the policy, whatever it fixes.
pub(crate) fn is_old_enough(name: &str, since: Since, known: &Known) -> bool {
    let rules = &known.in_force.rules.age;
    rules.exempt.contains(name) || judge_age(since, known).is_none()
}

/// Every distribution that is too young, and one note for all whose age nobody knows.
pub(crate) fn judge(listed: &[Listed], known: &Known) -> Vec<Finding> {
    let rules = &known.in_force.rules.age;
    let (mut findings, mut ageless) = (Vec::new(), Vec::new());
    for one in listed.iter().filter(|one| one.is_python()) {
        match since_of(one, known) {
            Since::Unknown if rules.exempt.contains(&one.package.name) => {}
            Since::Unknown => ageless.push(&one.package),
            since => {
                let finding = judge_one(&one.package, since, one.instead_of.as_deref(), known);
                findings.extend(finding.map(|finding| one.found(finding)));
            }
        }
    }
    if rules.days_min > 0 || rules.unmaintained_years > 0 {
        findings.extend(unknown(&ageless));
    }
    findings
}

fn since_of(one: &Listed, known: &Known) -> Since {
    match Since::of(&one.package.name, one.uploaded, one.file.as_ref(), known) {
        Since::Unknown => one.stated.map_or(Since::Unknown, Since::Stated),
        since => since,
    }
}

/// One distribution; `instead_of` is the release that would be taken if this one were not.
pub(crate) fn judge_one(
    package: &PackageVersion,
    since: Since,
    instead_of: Option<&str>,
    known: &Known,
) -> Option<Finding> {
    if known.in_force.rules.age.exempt.contains(&package.name) {
        return None;
    }
    let mut finding = judge_age(since, known)?.about(package.clone());
    let fixed =
        instead_of.and_then(|other| Some((other, vulnerabilities::fixed_from(package, other, known)?)));
    if let Some((other, advisory)) = fixed {
        finding.code = AgeCode::YoungFix.into();
        finding.effect = Effect::Note;
        finding.message = format!(
            "{}; it passes since {other}, which would be taken instead, is affected by {advisory}",
            finding.message
        );
        finding.advisories = vec![advisory];
        "nothing needs to be done".clone_into(&mut finding.hint);
    } else if finding.hint.is_empty() {
        finding.hint = help(package, since, finding.code.as_str(), known);
    }
    Some(finding)
}

fn help(package: &PackageVersion, since: Since, code: &str, known: &Known) -> String {
    let PackageVersion { name, version, .. } = package;
    let waive = waiver::command(code, package);
    let older = format!("ask for an older version (`{name}<{version}`)");
    match (since, since_when(since, known)) {
        (Since::Uploaded(_) | Since::Stated(_), _) => format!("{older}, or {waive}"),
        (_, Some(passes)) => format!("wait until {passes}, or {waive}"),
        (_, None) => waive,
    }
}

/// When what was first seen is old enough.
fn since_when(since: Since, known: &Known) -> Option<Timestamp> {
    let seen = match since {
        Since::FirstSeen(seen) => seen,
        Since::NeverSeen => known.now,
        Since::Uploaded(_) | Since::Stated(_) | Since::Unknown => return None,
    };
    let days = i64::from(known.in_force.rules.age.days_min);
    let second = seen.as_second().saturating_add(days.saturating_mul(DAY_S));
    Timestamp::from_second(second).ok()
}

/// The age alone; what nobody knows is not judged.
fn judge_age(since: Since, known: &Known) -> Option<Finding> {
    let days_min = known.in_force.rules.age.days_min;
    if days_min == 0 {
        return None;
    }
    let (code, how, begins) = match since {
        Since::Unknown => return None,
        Since::Uploaded(at) => (AgeCode::Young, format!("the index took it in at {at}"), at),
        Since::Stated(at) => (
            AgeCode::Young,
            format!("its list says that it was released at {at}"),
            at,
        ),
        Since::FirstSeen(at) => (AgeCode::FirstSeen, format!("this store first saw it at {at}"), at),
        Since::NeverSeen => (
            AgeCode::FirstSeen,
            "this store has never seen it before".to_owned(),
            known.now,
        ),
    };
    let age_s = known.now.as_second() - begins.as_second();
    if age_s >= i64::from(days_min) * DAY_S {
        return None;
    }
    if age_s < -SKEW_S {
        let message = format!("{how}, and it is {} here", known.now);
        let hint = "set this machine's clock; `cooper check --why AGE-FUTURE` says what else may be wrong";
        return Some(Finding::new(
            AgeCode::Future.into(),
            Effect::Hold,
            "",
            message,
            hint,
        ));
    }
    let age = match age_s.max(0) {
        seconds if seconds < 2 * 3600 => format!("{} minutes", seconds / 60),
        seconds if seconds < 2 * DAY_S => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / DAY_S),
    };
    let seen = match since {
        Since::FirstSeen(_) => format!("{how}, {age} ago"),
        _ => how.clone(),
    };
    let message = match since_when(since, known) {
        None => format!("it is {age} old ({how}); the policy wants {days_min} days"),
        Some(passes) => format!(
            "the index does not tell how old it is, so this store's own ledger counts: {seen}; the policy wants \
             {days_min} days, and it passes from {passes} on"
        ),
    };
    Some(Finding::new(code.into(), Effect::Hold, "", message, ""))
}

fn unknown(ageless: &[&PackageVersion]) -> Option<Finding> {
    let first = ageless.first()?;
    let subject = match ageless.len() {
        1 => first.to_string(),
        more => format!("{} and {} more", first.name, more - 1),
    };
    let message = "the list does not say when it was released, and no index is asked for what a list names: neither its \
                   age nor whether its project is maintained is judged";
    let hint = "judge the image, its lock or its requirements: `cooper check --image`, `--lock`, `--requirements`; or list \
                release dates (CycloneDX: `releaseNotes.timestamp`, SPDX: `releaseDate`)";
    Some(Finding::new(
        AgeCode::Unknown.into(),
        Effect::Note,
        subject,
        message,
        hint,
    ))
}
