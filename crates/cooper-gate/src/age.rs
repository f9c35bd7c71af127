//! The age gate: a Python release is left to others for some days, since most attacks are found within days.
//!
//! Packages of signed Debian suites are exempt: they were in the archive's hands before. The time is the index's own
//! upload time of the very file, since a file may be added to an old release.

use cooper_core::{Effect, Finding, FindingCode, PackageVersion, Timestamp};

use crate::known::Known;
use crate::listed::Listed;
use crate::waiver;

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AgeCode {
    /// The file is younger than the policy wants.
    Young,
    /// The file is younger than the policy wants, and fixes a vulnerability.
    YoungFix,
    /// The file says that it comes from the future.
    Future,
    /// The index does not tell how old the file is.
    Unknown,
}

impl AgeCode {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Young, Self::YoungFix, Self::Future, Self::Unknown];

    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Young => "AGE-YOUNG",
            Self::YoungFix => "AGE-YOUNG-FIX",
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
                "The release is young, but it is the one that an advisory names as the fix of a vulnerability. Then \
                 waiting is the greater risk, and it passes."
            }
            Self::Future => {
                "The index says that it took the file in at a time that has not come yet. Either this machine's clock is \
                 behind, or the index is wrong; the age cannot be judged, so it holds. Set the clock."
            }
            Self::Unknown => {
                "The index does not say when it took the file in (PEP 700), so nothing can be said of its age, and the gate \
                 lets it pass with this note. Use an index that publishes upload times."
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

/// Every distribution that is too young, and one note for all whose age nobody knows.
pub(crate) fn judge(listed: &[Listed], known: &Known) -> Vec<Finding> {
    let rules = &known.in_force.rules.age;
    if rules.days_min == 0 {
        return Vec::new();
    }
    let (mut findings, mut ageless) = (Vec::new(), Vec::new());
    let judged = |one: &&Listed| one.is_python() && !rules.exempt.contains(&one.package.name);
    for one in listed.iter().filter(judged) {
        match one.uploaded {
            None => ageless.push(&one.package),
            Some(uploaded) => {
                findings.extend(judge_one(&one.package, uploaded, known).map(|finding| one.found(finding)));
            }
        }
    }
    findings.extend(unknown(&ageless));
    findings
}

/// One distribution.
pub(crate) fn judge_one(package: &PackageVersion, uploaded: Timestamp, known: &Known) -> Option<Finding> {
    let mut finding = judge_age(uploaded, known)?.about(package.clone());
    if let Some(advisory) = known.fixed_by(package) {
        finding.code = AgeCode::YoungFix.into();
        finding.effect = Effect::Note;
        finding.message = format!("{}; it passes as the fix of {advisory}", finding.message);
        finding.advisories = vec![advisory];
        "nothing needs to be done".clone_into(&mut finding.hint);
    } else if finding.hint.is_empty() {
        let PackageVersion { name, version, .. } = package;
        let waive = waiver::command(AgeCode::Young.as_str(), package);
        finding.hint = format!("ask for an older version (`{name}<{version}`), or {waive}");
    }
    Some(finding)
}

/// The age alone.
fn judge_age(uploaded: Timestamp, known: &Known) -> Option<Finding> {
    let rules = &known.in_force.rules.age;
    let age_s = known.now.as_second() - uploaded.as_second();
    if age_s >= i64::from(rules.days_min) * DAY_S {
        return None;
    }
    if age_s < -SKEW_S {
        let message = format!("the index took it in at {uploaded}, and it is {} here", known.now);
        let finding = Finding::new(
            AgeCode::Future.into(),
            Effect::Hold,
            "",
            message,
            "set this machine's clock",
        );
        return Some(finding);
    }
    let age = match age_s.max(0) {
        seconds if seconds < 2 * 3600 => format!("{} minutes", seconds / 60),
        seconds if seconds < 2 * DAY_S => format!("{} hours", seconds / 3600),
        seconds => format!("{} days", seconds / DAY_S),
    };
    let message = format!(
        "it is {age} old (the index took it in at {uploaded}); the policy wants {} days",
        rules.days_min
    );
    Some(Finding::new(AgeCode::Young.into(), Effect::Hold, "", message, ""))
}

fn unknown(ageless: &[&PackageVersion]) -> Option<Finding> {
    let first = ageless.first()?;
    let subject = match ageless.len() {
        1 => first.to_string(),
        more => format!("{} and {} more", first.name, more - 1),
    };
    let message = "the index does not tell when it took the file in: its age is not judged";
    let hint = "`cooper check --why AGE-UNKNOWN` says what that means";
    Some(Finding::new(
        AgeCode::Unknown.into(),
        Effect::Note,
        subject,
        message,
        hint,
    ))
}
