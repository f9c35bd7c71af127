//! The gate of names: what [`names`] says of each distribution, as the policy weighs it.

use std::fmt::Write as _;

use cooper_core::{Effect, Finding, FindingCode};

use crate::known::Known;
use crate::listed::Listed;
use crate::names::{self, NameCode, NameEvidence, NameJudgement, NameVerdict, Weight};
use crate::verdict::Unjudged;
use crate::waiver;

impl From<NameCode> for FindingCode {
    fn from(code: NameCode) -> Self {
        Self::new(code.as_str())
    }
}

const DAY_S: i64 = 86_400;
/// The list of popular names is made monthly; after so many months the gate says that it is old.
const LIST_DAYS_MAX: i64 = 100;

/// Every name that may be taken for another one.
pub(crate) fn judge(
    listed: &[Listed],
    known: &Known,
    findings: &mut Vec<Finding>,
    unjudged: &mut Vec<Unjudged>,
) {
    let mut python = listed.iter().filter(|one| one.is_python()).peekable();
    if python.peek().is_none() {
        return;
    }
    unjudged.extend(lacking(known));
    let allowed = &known.in_force.rules.names.allow;
    for one in python.filter(|one| !allowed.contains(&one.package.name)) {
        let weight = if one.direct {
            Weight::Direct
        } else {
            Weight::Transitive
        };
        let evidence = evidence_of(one, known);
        let judgement = names::judge_with(&one.package.name, known.popular.names(), weight, &evidence);
        findings.extend(of_judgement(&judgement, one, known));
    }
}

/// What resolution has learnt of the project on the way.
fn evidence_of(one: &Listed, known: &Known) -> NameEvidence {
    let first = one.project.first;
    let age_s = first.map(|first| known.now.as_second() - first.as_second());
    NameEvidence {
        first_release_age_days: age_s.and_then(|age_s| u32::try_from(age_s / DAY_S).ok()),
        release_count: one.project.releases,
        ..NameEvidence::default()
    }
}

/// Of a name that is held: how old the release is, of how many, and who says to have made it.
fn project_of(one: &Listed) -> String {
    let date = |time: cooper_core::Timestamp| format!("; this release is of {}", time.strftime("%Y-%m-%d"));
    let mut text = one.uploaded.map(date).unwrap_or_default();
    if let Some(releases) = one.project.releases {
        let releases = match releases {
            1 => "; there is no other".to_owned(),
            count => format!("; there are {count}"),
        };
        text.push_str(&releases);
    }
    if let Some(authors) = &one.project.authors {
        let _ = write!(text, "; it names as its authors: {authors}");
    }
    text
}

fn of_judgement(judgement: &NameJudgement, one: &Listed, known: &Known) -> Option<Finding> {
    let code = judgement.code?;
    let rules = &known.in_force.rules.names;
    let effect = match judgement.verdict {
        NameVerdict::Pass => Effect::Note,
        NameVerdict::Hold if one.direct => rules.direct,
        NameVerdict::Hold => rules.transitive,
        NameVerdict::Refuse => Effect::Refuse,
    };
    let waive = waiver::command(code.as_str(), &one.package);
    let hint = match (&judgement.target, effect) {
        (Some(target), Effect::Note) => format!("if `{target}` is meant, ask for that"),
        (Some(target), _) => format!("ask for `{target}` if that is meant; else {waive}"),
        (None, _) => format!("look who publishes it; {waive}"),
    };
    let mut why = judgement.why.clone();
    if judgement.verdict != NameVerdict::Pass {
        why.push_str(&project_of(one));
    }
    let mut finding = Finding::new(code.into(), effect, "", why, hint);
    finding.evidence = known.dates.popular.map(|date| {
        let date = date.strftime("%Y-%m-%d");
        format!("the popular names of {date}")
    });
    Some(one.found(finding))
}

/// What is missing for judging names.
pub fn lacking(known: &Known) -> Option<Unjudged> {
    let why = match known.dates.popular {
        _ if known.popular.is_damaged() => "the list of popular names cannot be read".to_owned(),
        None => "there is no list of popular names: look-alikes are judged by the standard library, import names and \
                 brands alone"
            .to_owned(),
        Some(date) => {
            let days = (known.now.as_second() - date.as_second()) / DAY_S;
            if days <= LIST_DAYS_MAX {
                return None;
            }
            format!("the list of popular names is {days} days old")
        }
    };
    Some(Unjudged {
        gate: "names".to_owned(),
        why,
        hint: "`cooper advisories update` fetches it".to_owned(),
    })
}
