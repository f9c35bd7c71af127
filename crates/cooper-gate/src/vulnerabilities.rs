//! The gate of known vulnerabilities and malicious packages: what the policy makes of what advisories say.

use std::fmt::Write as _;

use cooper_core::python::DistributionVersion;
use cooper_core::{Base, Ecosystem, Effect, Finding, FindingCode, PackageVersion, PythonName, Timestamp};

use crate::advisories::{Hit, ReadSnapshotError, Subject};
use crate::known::{EvidenceDates, Known};
use crate::listed::Listed;
use crate::verdict::Unjudged;
use crate::waiver;

/// The kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VulnerabilityCode {
    /// An advisory that a newer version fixes.
    Known,
    /// An advisory that nothing fixes yet.
    Unfixed,
    /// An advisory about something that is exploited.
    Exploited,
    /// An advisory about something that is likely to be exploited.
    Likely,
    /// An advisory that a VEX statement lifts.
    Lifted,
    /// A package that was published to do harm.
    Malicious,
}

impl VulnerabilityCode {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Known,
        Self::Unfixed,
        Self::Exploited,
        Self::Likely,
        Self::Lifted,
        Self::Malicious,
    ];

    /// The stable code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "VULNERABILITY-KNOWN",
            Self::Unfixed => "VULNERABILITY-UNFIXED",
            Self::Exploited => "VULNERABILITY-EXPLOITED",
            Self::Likely => "VULNERABILITY-LIKELY",
            Self::Lifted => "VULNERABILITY-LIFTED",
            Self::Malicious => "MALICIOUS-LISTED",
        }
    }

    /// Whether a waiver may lift it.
    pub const fn is_waivable(self) -> bool {
        !matches!(self, Self::Malicious)
    }

    /// What it means, why it matters, what to do.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::Known => {
                "An advisory says that this version has a vulnerability, and a newer version fixes it. From the policy's \
                 severity on it holds; below it is noted. A vulnerability that nobody rated counts as high. Take the \
                 fixed version, or waive it with a reason."
            }
            Self::Unfixed => {
                "An advisory says that this version has a vulnerability, and no version fixes it yet. What it does is the \
                 policy's `vulnerabilities.unfixed` and `debian_unfixed`. Look whether you can do without the package, \
                 or waive it with a reason and an end."
            }
            Self::Exploited => {
                "The vulnerability is on the list of those that are known to be exploited, so somebody has working code \
                 for it. It holds whatever its severity. Take the fixed version at once."
            }
            Self::Likely => {
                "The vulnerability's EPSS score, the probability that it is exploited within thirty days, is above the \
                 policy's `vulnerabilities.epss_hold_from`. It holds whatever its severity. Take the fixed version."
            }
            Self::Lifted => {
                "An advisory names this version, and a VEX statement that was given as evidence says that it is not \
                 affected here, or fixed. For information: the statement's author answers for that."
            }
            Self::Malicious => {
                "The package, or this version of it, is reported as malicious: it was published to do harm. Nothing of it \
                 is downloaded or run, and no waiver lifts that. If you have used it, treat the machine and its secrets \
                 as taken."
            }
        }
    }
}

impl From<VulnerabilityCode> for FindingCode {
    fn from(code: VulnerabilityCode) -> Self {
        Self::new(code.as_str())
    }
}

/// How far the clocks of whoever publishes evidence and of this machine may be apart, in seconds.
const SKEW_S: i64 = 3_600;
const DAY_S: i64 = 86_400;

/// Every vulnerability of every package; what cannot be judged for lack of evidence.
pub(crate) fn judge(
    listed: &[Listed],
    known: &Known,
    findings: &mut Vec<Finding>,
    unjudged: &mut Vec<Unjudged>,
) {
    for one in listed {
        match judge_one(one, known) {
            Ok(more) => findings.extend(more),
            Err(error) => unjudged.push(damaged(&error)),
        }
    }
    unjudged.extend(lacking(listed, known));
}

fn damaged(error: &ReadSnapshotError) -> Unjudged {
    Unjudged {
        gate: GATE.to_owned(),
        why: format!("the advisories in the store cannot be read: {error}"),
        hint: "`cooper advisories update` fetches them again".to_owned(),
    }
}

/// One package.
pub(crate) fn judge_one(one: &Listed, known: &Known) -> Result<Vec<Finding>, ReadSnapshotError> {
    let Some(parsed) = Parsed::of(one) else {
        return Ok(Vec::new());
    };
    let subject = parsed.subject();
    let (hits, repair) = known.advisories.affecting_and_repair(&subject)?;
    let findings = hits
        .iter()
        .map(|hit| one.found(of_hit(hit, &one.package, repair.as_deref(), known)));
    Ok(findings.collect())
}

/// The findings about one version of a Python distribution, waivers applied.
///
/// # Errors
/// When the advisories are damaged.
pub fn of_distribution(
    name: &PythonName,
    version: &DistributionVersion,
    known: &Known,
) -> Result<Vec<Finding>, ReadSnapshotError> {
    let package = PackageVersion::new(Ecosystem::Python, name, version);
    let mut findings = judge_one(&Listed::alone(package), known)?;
    waiver::apply(&mut findings, &known.waivers, known.now);
    Ok(findings)
}

/// A package with its names and versions parsed, as advisories name it.
enum Parsed {
    Python(PythonName, DistributionVersion),
    Debian(Base, cooper_core::DebianName, cooper_core::DebianVersion),
}

impl Parsed {
    fn of(one: &Listed) -> Option<Self> {
        let PackageVersion {
            ecosystem,
            name,
            version,
        } = &one.package;
        Some(match (ecosystem, &one.source) {
            (Ecosystem::Python, _) => Self::Python(name.parse().ok()?, version.parse().ok()?),
            (Ecosystem::Debian, Some(source)) => {
                Self::Debian(one.release?, source.name.clone(), source.version.clone())
            }
            (Ecosystem::Debian, None) => {
                Self::Debian(one.release?, name.parse().ok()?, version.parse().ok()?)
            }
        })
    }

    const fn subject(&self) -> Subject<'_> {
        match self {
            Self::Python(name, version) => Subject::Python { name, version },
            Self::Debian(base, source, version) => Subject::Debian {
                base: *base,
                source,
                version,
            },
        }
    }
}

/// An advisory that affects another version of a Python distribution and not this one. What a VEX statement lifts does
/// not count, and where the advisories cannot be read nothing is said.
pub(crate) fn fixed_from(package: &PackageVersion, other: &str, known: &Known) -> Option<String> {
    let affecting = |version: &str| {
        let package = PackageVersion {
            version: version.to_owned(),
            ..package.clone()
        };
        let parsed = Parsed::of(&Listed::alone(package))?;
        known.advisories.affecting(&parsed.subject()).ok()
    };
    let theirs = affecting(other).filter(|hits| !hits.is_empty())?;
    let ours = affecting(&package.version)?;
    let is_ours = |hit: &Hit| {
        hit.ids()
            .any(|id| ours.iter().any(|our| our.ids().any(|known| known == id)))
    };
    let fixed = theirs.into_iter().find(|hit| !hit.is_lifted() && !is_ours(hit));
    fixed.map(|hit| hit.id)
}

fn of_hit(hit: &Hit, package: &PackageVersion, repair: Option<&str>, known: &Known) -> Finding {
    let (code, effect) = effect_of(hit, package.ecosystem, known);
    let message = message(hit, code);
    let help = help(hit, package, repair, code);
    let mut finding = Finding::new(code.into(), effect, "", message, help).about(package.clone());
    finding.severity = (!hit.malicious).then_some(hit.severity.rating);
    finding.advisories = hit.ids().map(str::to_owned).collect();
    finding.evidence = evidence_of(hit);
    finding
}

fn effect_of(hit: &Hit, ecosystem: Ecosystem, known: &Known) -> (VulnerabilityCode, Effect) {
    let rules = &known.in_force.rules.vulnerabilities;
    let (hold_from, unfixed) = match ecosystem {
        Ecosystem::Python => (rules.hold_from, rules.unfixed),
        Ecosystem::Debian => (rules.debian_hold_from, rules.debian_unfixed),
    };
    let is_unfixed = hit.fixed_in.is_empty();
    let probability = hit.epss.map_or(0.0, |epss| epss.probability());
    let holds = hit.severity.rating >= hold_from;
    let by_severity = match (holds, is_unfixed) {
        (true, true) => unfixed,
        (true, false) => Effect::Hold,
        (false, _) => Effect::Note,
    };
    // That something is exploited, or likely to be, adds to how severe it is.
    if hit.malicious {
        (VulnerabilityCode::Malicious, Effect::Refuse)
    } else if hit.is_lifted() {
        (VulnerabilityCode::Lifted, Effect::Note)
    } else if hit.exploited.is_some() {
        (
            VulnerabilityCode::Exploited,
            by_severity.max(rules.known_exploited),
        )
    } else if rules.epss_hold_from > 0.0 && probability >= rules.epss_hold_from {
        (VulnerabilityCode::Likely, by_severity.max(Effect::Hold))
    } else if is_unfixed {
        (VulnerabilityCode::Unfixed, by_severity)
    } else {
        (VulnerabilityCode::Known, by_severity)
    }
}

fn message(hit: &Hit, code: VulnerabilityCode) -> String {
    let summary = if hit.summary.is_empty() {
        "no summary"
    } else {
        &hit.summary
    };
    let mut text = format!("{}: {summary}", hit.id);
    if hit.malicious {
        return text;
    }
    let severity = &hit.severity;
    let score = severity.score_tenths.map_or(String::new(), |tenths| {
        format!(" {}.{}", tenths / 10, tenths % 10)
    });
    let rated = if severity.text.is_empty() {
        ", which nobody rated"
    } else {
        ""
    };
    let _ = write!(text, " (severity {}{score}{rated})", severity.rating.as_str());
    if let Some(exploited) = &hit.exploited {
        let _ = write!(text, ", known to be exploited since {}", exploited.date_added);
    }
    if let Some(epss) = hit.epss.filter(|_| code == VulnerabilityCode::Likely) {
        let _ = write!(text, ", EPSS {:.2}", epss.probability());
    }
    match &hit.vex {
        Some(vex) if code == VulnerabilityCode::Lifted => {
            let _ = write!(
                text,
                "; {} says {}: {}",
                vex.author,
                vex.status.as_str(),
                vex.justification
            );
        }
        _ => {}
    }
    text
}

fn help(hit: &Hit, package: &PackageVersion, repair: Option<&str>, code: VulnerabilityCode) -> String {
    let name = &package.name;
    let waive = waiver::command(&hit.id, package);
    let better = repair.or_else(|| hit.fixed_in.first().map(String::as_str));
    match (code, package.ecosystem, better) {
        (VulnerabilityCode::Malicious, ..) => {
            "ask for another package, and look for traces of this one".to_owned()
        }
        (VulnerabilityCode::Lifted, ..) => "nothing needs to be done".to_owned(),
        (_, Ecosystem::Python, Some(better)) => format!("ask for `{name}>={better}`, or {waive}"),
        (_, Ecosystem::Debian, Some(better)) => {
            format!(
                "{better} fixes it: run again with `--refresh`, or `cooper update` the image; else {waive}"
            )
        }
        (_, _, None) => format!("no version fixes it: {waive}"),
    }
}

/// Where to read on, and of when the record is.
fn evidence_of(hit: &Hit) -> Option<String> {
    let modified = hit
        .modified
        .map(|time| format!("changed {}", time.strftime("%Y-%m-%d")));
    let parts: Vec<String> = modified
        .into_iter()
        .chain(hit.references.first().cloned())
        .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

const GATE: &str = "vulnerabilities";

/// What there is no evidence about Python distributions for, or only evidence that is too old or from the future.
pub fn lacking_for_python(known: &Known) -> Vec<Unjudged> {
    let dates = &known.dates;
    let advisories = undated(GATE, "Python distributions", dates.python, known);
    let malicious = undated("malicious", "malicious packages", dates.malicious, known);
    advisories.into_iter().chain(malicious).collect()
}

/// The same for each kind of package that there is.
fn lacking(listed: &[Listed], known: &Known) -> Vec<Unjudged> {
    let dates = &known.dates;
    let mut lacking = Vec::new();
    if listed.iter().any(Listed::is_python) {
        lacking.extend(lacking_for_python(known));
    }
    for base in Base::ALL {
        if listed
            .iter()
            .any(|one| !one.is_python() && one.release == Some(base))
        {
            let date = EvidenceDates::debian(dates, base);
            lacking.extend(undated(GATE, &format!("packages of {base}"), date, known));
        }
    }
    lacking
}

fn undated(gate: &str, about: &str, date: Option<Timestamp>, known: &Known) -> Option<Unjudged> {
    let days_max = known.in_force.rules.evidence.days_max;
    let why = match date {
        None => format!("there are no advisories about {about}"),
        Some(date) => {
            let age_s = known.now.as_second() - date.as_second();
            if age_s < -SKEW_S {
                format!(
                    "the advisories about {about} are of {date}, and it is {} here",
                    known.now
                )
            } else if age_s > i64::from(days_max) * DAY_S {
                let days = age_s / DAY_S;
                format!(
                    "the advisories about {about} are {days} days old, and the policy wants at most {days_max}"
                )
            } else {
                return None;
            }
        }
    };
    let hint = "`cooper advisories update` fetches them".to_owned();
    Some(Unjudged {
        gate: gate.to_owned(),
        why,
        hint,
    })
}
