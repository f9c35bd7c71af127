//! Verdicts without building: on a request, a lock, an image, or packages that somebody else lists.

use std::collections::BTreeSet;

use cooper_core::python::DistributionVersion;
use cooper_core::{Effect, Finding, ImageName, ImageReference, Lock, Plan, Progress, PythonName, Request};
use cooper_gate::advisories::Subject;
use cooper_gate::listed::{self, Listed};
use cooper_gate::names::{self, NameCode, NameVerdict, Weight};
use cooper_gate::vulnerabilities::{self, VulnerabilityCode};
use cooper_gate::{Evidence, Known, Unjudged, Verdict, judge, judge_listed, look_alikes};
use serde::Serialize;

use crate::artefacts::UnreadArtefacts;
use crate::create::CreateError;
use crate::debian_facts::Reading;
use crate::due_diligence::DiligenceError;
use crate::sbom::Sbom;
use crate::workshop::Workshop;

/// A verdict and what it is on.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// What was judged.
    pub verdict: Verdict,
    /// Every package, in the order of the plan.
    pub packages: Vec<Listed>,
    /// The artefacts that are not here, so that what they alone tell is not judged.
    pub unread: UnreadArtefacts,
    /// What the resolvers want the user to know.
    pub notes: Vec<String>,
}

impl Checked {
    /// Refused before there is a whole plan.
    fn early(verdict: Verdict) -> Self {
        let note = "the plan is not whole: it was refused before sources that it needs were built";
        Self {
            verdict,
            packages: Vec::new(),
            unread: UnreadArtefacts::default(),
            notes: vec![note.to_owned()],
        }
    }
}

/// What is said of each line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListChecked<T> {
    /// In the order of the list.
    pub lines: Vec<T>,
    /// What evidence is missing, or too old.
    pub unjudged: Vec<Unjudged>,
    /// Whether there is none at all of that which a list of this kind is judged by.
    pub is_without_evidence: bool,
}

/// What is said of a name alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NameChecked {
    /// As it was given.
    pub name: String,
    /// `pass`, `hold` or `refuse`.
    pub verdict: &'static str,
    /// The finding's code; of a pass, what is worth knowing.
    pub code: Option<&'static str>,
    /// What is probably meant.
    pub target: Option<String>,
    /// One sentence.
    pub why: String,
}

/// What advisories say of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionChecked {
    /// The distribution, normalised.
    pub name: String,
    /// The version.
    pub version: String,
    /// `pass`, `hold` or `refuse`; `unknown` where there are no advisories and nothing is said.
    pub verdict: &'static str,
    /// The code of the worst finding.
    pub code: Option<String>,
    /// One sentence.
    pub why: String,
    /// The records that call it affected, sorted.
    pub advisories: Vec<String>,
}

impl VersionChecked {
    /// Of a version of which nobody could say anything.
    fn unknown(self) -> Self {
        Self {
            verdict: "unknown",
            why: "there are no advisories about Python distributions".to_owned(),
            ..self
        }
    }

    fn of(
        name: &PythonName,
        version: &DistributionVersion,
        findings: &[Finding],
        advisories: Vec<String>,
    ) -> Self {
        let worst = findings
            .iter()
            .max_by_key(|finding| (finding.refuses(), finding.effect));
        Self {
            name: name.to_string(),
            version: version.to_string(),
            verdict: match worst {
                Some(finding) if finding.effect == Effect::Refuse => "refuse",
                Some(finding) if finding.refuses() => "hold",
                _ => "pass",
            },
            code: worst.map(|finding| finding.code.to_string()),
            why: worst.map_or_else(
                || "no advisory names it".to_owned(),
                |finding| finding.message.clone(),
            ),
            advisories,
        }
    }
}

fn check_name(name: &str, known: &Known) -> Result<NameChecked, DiligenceError> {
    let parsed = name.parse::<PythonName>().ok();
    let malicious = parsed.as_ref().map(|name| known.advisories.malicious_name(name));
    let malicious = malicious.transpose().map_err(DiligenceError::Advisories)?;
    if let Some((record, wholly)) = malicious.flatten() {
        let (verdict, versions) = if wholly {
            ("refuse", "in every version")
        } else {
            ("hold", "in some versions")
        };
        return Ok(NameChecked {
            name: name.to_owned(),
            verdict,
            code: Some(VulnerabilityCode::Malicious.as_str()),
            target: None,
            why: format!("{record}: it is reported as malicious {versions}"),
        });
    }
    let judgement = names::judge(name, known.popular.names(), Weight::Direct);
    let allow = &known.in_force.rules.names.allow;
    let is_allowed = parsed.is_some_and(|name| allow.contains(name.as_str()));
    let (verdict, why) = match judgement.verdict {
        NameVerdict::Hold if is_allowed => ("pass", "the policy names it in `names.allow`".to_owned()),
        NameVerdict::Pass => ("pass", judgement.why),
        NameVerdict::Hold => ("hold", judgement.why),
        NameVerdict::Refuse => ("refuse", judgement.why),
    };
    Ok(NameChecked {
        name: name.to_owned(),
        verdict,
        code: judgement.code.map(NameCode::as_str),
        target: judgement.target,
        why,
    })
}

impl Workshop {
    /// Resolve a request and judge its plan. No image is made; what has to be built before it is known what it needs is
    /// built all the same, in the sandbox.
    ///
    /// # Errors
    /// As [`Workshop::create`], as far as it goes.
    pub fn check_request(&self, request: &Request, progress: &Progress) -> Result<Checked, CreateError> {
        let resolution = match self.resolve(request, progress) {
            // What is refused before sources are built has a verdict as well.
            Err(CreateError::Refused(refusal)) => return Ok(Checked::early(refusal.verdict().clone())),
            other => other?,
        };
        let evidence = self.evidence(Some(request.name()))?;
        Ok(self.checked(&resolution.plan, &evidence, resolution.notes))
    }

    /// Judge a lock by what is known now.
    ///
    /// # Errors
    /// When the lock does not hold together, or the gates cannot be told what they need.
    pub fn check_lock(&self, lock: &Lock, image: Option<&ImageName>) -> Result<Checked, CreateError> {
        let image = image.unwrap_or(lock.origin.request.name());
        let (plan, evidence) = self.reloaded(lock, Some(image))?;
        Ok(self.checked(&plan, &evidence, Vec::new()))
    }

    /// Judge a plan, and those of its artefacts that are here.
    fn checked(&self, plan: &Plan, evidence: &Evidence, mut notes: Vec<String>) -> Checked {
        let told = self.artefact_findings(plan, Reading::Artefacts, &evidence.known);
        notes.extend(told.unread.sentence());
        Checked {
            verdict: judge(plan, evidence).with(told.findings, &evidence.known),
            packages: listed::of_plan(plan),
            unread: told.unread,
            notes,
        }
    }

    /// Judge an image by what is known now.
    ///
    /// # Errors
    /// As [`Workshop::check_lock`]; also when there is no such image.
    pub fn check_image(&self, reference: &ImageReference) -> Result<Checked, CreateError> {
        let kept = self.lookup(reference)?;
        let lock = self.lock_of(&kept)?;
        self.check_lock(&lock, Some(&kept.reference.name))
    }

    /// Judge an image again as it was when it was made: by the evidence that its verdict names, at that time, with the waivers
    /// that had been given, and by the policy of now. The notes say what differs; `None` of an image without a verdict.
    ///
    /// # Errors
    /// When there is no such image, or the evidence of then is not here any more.
    pub fn check_image_as_judged(&self, reference: &ImageReference) -> Result<Option<Checked>, CreateError> {
        let kept = self.lookup(reference)?;
        let Some(then) = self.verdict_of(&kept)? else {
            return Ok(None);
        };
        let (plan, unchecked) = self.replanned(&self.lock_of(&kept)?)?;
        let evidence = Evidence {
            judged_at: plan.resolved_at,
            unchecked,
            known: self.known_for(&then, &kept.reference.name)?,
        };
        let mut checked = self.checked(&plan, &evidence, Vec::new());
        checked.notes.extend(differences(&then, &checked.verdict));
        Ok(Some(checked))
    }

    /// Judge names alone, offline, by the evidence in the store: look-alikes, and names under which malicious packages
    /// were published.
    ///
    /// # Errors
    /// When the gates cannot be told what they need, or the advisories cannot be read.
    pub fn check_names<'a>(
        &self,
        names: impl IntoIterator<Item = &'a str>,
        image: Option<&ImageName>,
    ) -> Result<ListChecked<NameChecked>, DiligenceError> {
        let known = self.known(image)?;
        let checked = names.into_iter().map(|name| check_name(name, &known));
        Ok(ListChecked {
            lines: checked.collect::<Result<_, _>>()?,
            unjudged: look_alikes::lacking(&known).into_iter().collect(),
            is_without_evidence: known.popular.names().is_none(),
        })
    }

    /// Judge versions of Python distributions by the advisories in the store, and by nothing else.
    ///
    /// # Errors
    /// When the gates cannot be told what they need, or the advisories cannot be read.
    pub fn check_versions(
        &self,
        packages: impl IntoIterator<Item = (PythonName, DistributionVersion)>,
        image: Option<&ImageName>,
    ) -> Result<ListChecked<VersionChecked>, DiligenceError> {
        let known = self.known(image)?;
        let is_without_evidence = known.dates.python.is_none();
        let checked = packages.into_iter().map(|(name, version)| {
            let subject = Subject::Python {
                name: &name,
                version: &version,
            };
            let hits = known
                .advisories
                .affecting(&subject)
                .map_err(DiligenceError::Advisories)?;
            let mut advisories: Vec<String> = hits.into_iter().flat_map(|hit| hit.records).collect();
            advisories.sort();
            advisories.dedup();
            let findings = vulnerabilities::of_distribution(&name, &version, &known);
            let findings = findings.map_err(DiligenceError::Advisories)?;
            let checked = VersionChecked::of(&name, &version, &findings, advisories);
            Ok(if is_without_evidence && findings.is_empty() {
                checked.unknown()
            } else {
                checked
            })
        });
        Ok(ListChecked {
            lines: checked.collect::<Result<_, DiligenceError>>()?,
            unjudged: vulnerabilities::lacking_for_python(&known),
            is_without_evidence,
        })
    }

    /// Judge packages of which nothing is known but what the list says.
    ///
    /// # Errors
    /// When the gates cannot be told what they need.
    pub fn check_sbom(&self, sbom: Sbom, image: Option<&ImageName>) -> Result<Checked, CreateError> {
        let known = self.known(image)?;
        Ok(Checked {
            verdict: judge_listed(&sbom.packages, &known).without(sbom.unjudged(), &known),
            packages: sbom.packages,
            unread: UnreadArtefacts::default(),
            notes: Vec::new(),
        })
    }
}

/// What another verdict on the same image says that the first does not, in sentences.
fn differences(then: &Verdict, now: &Verdict) -> Vec<String> {
    let mut said = Vec::new();
    if then.policy != now.policy {
        said.push(format!("the policy was another one: {}", then.policy));
    }
    let lacking = |of: &Verdict, other: &Verdict| {
        let key = |finding: &Finding| {
            let refuses = if finding.refuses() { "" } else { ", not refusing" };
            format!("{} of {}{refuses}", finding.code, finding.subject)
        };
        let known: BTreeSet<String> = other.findings.iter().map(key).collect();
        let lacking = of.findings.iter().map(key).filter(|key| !known.contains(key));
        lacking.collect::<Vec<_>>()
    };
    for (findings, when) in [
        (lacking(then, now), "then alone"),
        (lacking(now, then), "now alone"),
    ] {
        if !findings.is_empty() {
            said.push(format!("{when}: {}", findings.join(", ")));
        }
    }
    if said.is_empty() {
        let which = "the same findings as in the verdict of ";
        said.push(format!("{which}{}", then.judged_at));
    }
    said
}
