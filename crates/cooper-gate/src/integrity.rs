//! The integrity gate: nothing enters that cannot be proved to be what the index promised.

use std::collections::BTreeSet;

use cooper_core::base::Suite;
use cooper_core::plan::{PlannedDebian, PlannedPython, Snapshot};
use cooper_core::source::PlannedSource;
use cooper_core::{Effect, Finding, FindingCode, Plan, Timestamp};

use crate::verdict::{Evidence, architecture};

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
        findings.extend(judge_python(planned));
    }
    findings.extend(duplicates(plan));
    findings
}

fn refuse(code: FindingCode, subject: String, message: String, hint: &str) -> Finding {
    Finding {
        code,
        effect: Effect::Refuse,
        subject,
        message,
        hint: hint.to_owned(),
    }
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
        findings.push(refuse(FindingCode::Unsigned, subject.clone(), message, hint));
    }
    if let Some(until) = valid_until.filter(|until| *until < now) {
        let message = format!("the index was signed as valid until {until}, and it is {now}");
        let hint = "run again with `--refresh`; if it stays, the mirror is stale: configure another one";
        findings.push(refuse(FindingCode::Expired, subject.clone(), message, hint));
    }
    if date < newest_seen {
        let message = format!("the index is of {date}, but one of {newest_seen} was seen before");
        let hint = "run again with `--refresh`; if it stays, the mirror serves an old state: configure another \
                    one (who means an old state takes another store: `--store DIR`)";
        findings.push(refuse(FindingCode::RolledBack, subject, message, hint));
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
    Some(Finding {
        code: FindingCode::UncheckedSnapshot,
        effect: Effect::Note,
        subject,
        message:
            "the signed index is not in the store, or there is no key to check it with: its date and its \
                  signatures are taken on the lock's word"
                .to_owned(),
        hint: "use locks that you trust; an image that was resolved in this store keeps its signed indexes"
            .to_owned(),
    })
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
        findings.push(refuse(FindingCode::Unsigned, subject, message, hint));
    }
    findings
}

fn judge_python(planned: &PlannedPython) -> Vec<Finding> {
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
        findings.push(Finding {
            code: FindingCode::BuiltHere,
            effect: Effect::Note,
            subject,
            message: format!(
                "the index has no wheel that fits: {} was built from {} in a sandbox without network",
                planned.filename, built.source.filename
            ),
            hint: "`cooper inspect IMAGE --lock` names the sources and the environment".to_owned(),
        });
    }
    findings
}

/// Every finding about a source distribution that is to be built.
pub(crate) fn judge_source(source: &PlannedSource) -> Vec<Finding> {
    let subject = format!("{} {}", source.name, source.version);
    let mut findings = Vec::new();
    if source.sha256.is_none() {
        let message = format!("the index has no SHA-256 for {}", source.filename);
        findings.push(no_hash(subject.clone(), &message));
    }
    if let Some(reason) = &source.yanked {
        findings.push(yanked(&subject, &source.filename, reason, source.exactly_pinned));
    }
    findings
}

fn no_hash(subject: String, message: &str) -> Finding {
    let hint = "use an index that publishes SHA-256 hashes";
    refuse(FindingCode::NoHash, subject, message.to_owned(), hint)
}

fn wrong_platform(subject: String, message: &str) -> Finding {
    let message = format!("{message}; images are linux/amd64");
    refuse(
        FindingCode::WrongPlatform,
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
    let subject = subject.to_owned();
    if exactly_pinned {
        return Finding {
            code: FindingCode::YankedPinned,
            effect: Effect::Note,
            subject,
            message,
            hint,
        };
    }
    refuse(FindingCode::Yanked, subject, message, &hint)
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
        .map(|subject| refuse(FindingCode::Duplicate, subject, message.clone(), hint))
        .collect()
}
