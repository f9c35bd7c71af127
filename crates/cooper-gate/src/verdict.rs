//! The verdict on a plan, and what it allows: a cleared lock, or a refusal that says why.

use std::fmt;
use std::sync::Arc;

use cooper_core::base::Suite;
use cooper_core::lock::PythonArtefact;
use cooper_core::source::PlannedSource;
use cooper_core::{BlobDigest, Digest, Finding, Lock, Plan, Timestamp};
use serde::{Deserialize, Serialize};

use crate::cleared_lock::lock_of;
use crate::known::Known;
use crate::listed::{self, Listed};
use crate::policy::Unjudged as WhatUnjudgedDoes;
use crate::{age, denied, integrity, look_alikes, unmaintained, vulnerabilities, waiver};

/// What a plan is judged by.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The time against which the validity of indexes is judged: now for a fresh resolution; for a plan that was
    /// reloaded from a lock, the time of its resolution, since the hashes carry it from there on.
    pub judged_at: Timestamp,
    /// The suites whose snapshots are as a lock says them, because their signed indexes were not at hand.
    pub unchecked: Vec<Suite>,
    /// The policy, the waivers, and what is known of packages.
    pub known: Arc<Known>,
}

impl Evidence {
    /// Evidence of the time of `known`, with every snapshot checked.
    pub fn now(known: Arc<Known>) -> Self {
        Self {
            judged_at: known.now,
            unchecked: Vec::new(),
            known,
        }
    }
}

/// What came of judging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Nothing holds or refuses, and every gate could judge.
    Passed,
    /// Nothing holds or refuses as far as the gates could judge, and one of them could not.
    Unknown,
    /// Something holds or refuses.
    Refused,
}

impl Outcome {
    /// As it is shown and serialised.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Unknown => "unknown",
            Self::Refused => "refused",
        }
    }
}

/// What a gate could not judge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Unjudged {
    /// The gate: `vulnerabilities`.
    pub gate: String,
    /// Why not.
    pub why: String,
    /// A command that helps.
    pub hint: String,
}

/// A verdict, with all that it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What came of it.
    pub outcome: Outcome,
    /// The profile of the policy.
    pub profile: String,
    /// The rules that were in force.
    pub policy: Digest,
    /// The evidence snapshot, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Digest>,
    /// When it was judged.
    pub judged_at: Timestamp,
    /// Every finding, those that refuse first. The waivers that were used are with them.
    pub findings: Vec<Finding>,
    /// What could not be judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unjudged: Vec<Unjudged>,
}

impl Verdict {
    /// Apply the waivers, and draw the conclusion.
    pub(crate) fn of(mut findings: Vec<Finding>, unjudged: Vec<Unjudged>, known: &Known) -> Self {
        waiver::apply(&mut findings, &known.waivers, known.now);
        Self::concluded(findings, unjudged, known)
    }

    fn concluded(mut findings: Vec<Finding>, mut unjudged: Vec<Unjudged>, known: &Known) -> Self {
        findings.sort_by(|a, b| {
            let rank = |finding: &Finding| (finding.refuses(), finding.effect, finding.severity);
            rank(b).cmp(&rank(a)).then_with(|| a.code.cmp(&b.code))
        });
        unjudged.sort();
        unjudged.dedup();
        let outcome = match (findings.iter().any(Finding::refuses), unjudged.is_empty()) {
            (true, _) => Outcome::Refused,
            (false, false) => Outcome::Unknown,
            (false, true) => Outcome::Passed,
        };
        Self {
            outcome,
            profile: known.in_force.profile.clone(),
            policy: known.in_force.digest(),
            evidence: known.evidence,
            judged_at: known.now,
            findings,
            unjudged,
        }
    }

    /// The same with more findings, as of artefacts that are here by now; what is said already is not said twice.
    #[must_use]
    pub fn with(self, more: Vec<Finding>, known: &Known) -> Self {
        let (mut findings, mut more) = (self.findings, more);
        waiver::apply(&mut more, &known.waivers, known.now);
        more.retain(|finding| !findings.contains(finding));
        findings.extend(more);
        Self::concluded(findings, self.unjudged, known)
    }

    /// The same with more that could not be judged.
    #[must_use]
    pub fn without(self, more: Vec<Unjudged>, known: &Known) -> Self {
        let unjudged = self.unjudged.into_iter().chain(more).collect();
        Self::concluded(self.findings, unjudged, known)
    }

    /// Whether an image may be made.
    pub fn allows(&self, known: &Known) -> bool {
        match self.outcome {
            Outcome::Passed => true,
            Outcome::Unknown => known.in_force.rules.evidence.unjudged == WhatUnjudgedDoes::Mark,
            Outcome::Refused => false,
        }
    }

    /// The waivers that lift something, each once.
    pub fn waivers(&self) -> impl Iterator<Item = &cooper_core::Waived> {
        self.findings.iter().filter_map(|finding| finding.waived.as_ref())
    }
}

/// A lock that every gate has passed. Only [`evaluate`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Cleared {
    lock: Lock,
    verdict: Verdict,
}

impl Cleared {
    /// The lock.
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The verdict, which does not refuse.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What the gates noted without refusing.
    pub fn notes(&self) -> &[Finding] {
        &self.verdict.findings
    }

    /// One of the sources that the lock's wheels were built from: they were judged with it.
    pub fn source(&self, source: &PlannedSource) -> Option<ClearedSource> {
        let cleared = ClearedSource::of(source)?;
        let built = |artefact: &PythonArtefact| artefact.built.as_ref().map(|built| built.source.sha256);
        let mut distributions = self.lock.content.distributions();
        let is_its = distributions.any(|artefact| built(artefact) == Some(cleared.sha256()));
        is_its.then_some(cleared)
    }

    /// Add what only the artefacts could tell, which are here by now.
    ///
    /// # Errors
    /// [`Refusal`] when that holds or refuses.
    pub fn with_findings(self, findings: Vec<Finding>, known: &Known) -> Result<Self, Refusal> {
        let verdict = self.verdict.with(findings, known);
        if verdict.allows(known) {
            let lock = self.lock;
            Ok(Self { lock, verdict })
        } else {
            Err(Refusal::of(verdict))
        }
    }
}

/// A plan that must not be built.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    verdict: Box<Verdict>,
}

impl Refusal {
    fn of(verdict: Verdict) -> Self {
        Self {
            verdict: Box::new(verdict),
        }
    }

    /// Every finding, the refusing ones first.
    pub fn findings(&self) -> &[Finding] {
        &self.verdict.findings
    }

    /// The verdict.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verdict.outcome == Outcome::Unknown {
            let profile = &self.verdict.profile;
            write!(
                formatter,
                "the plan could not be judged, and the profile {profile} wants that:"
            )?;
            for unjudged in &self.verdict.unjudged {
                write!(formatter, "\n  {}: {}", unjudged.gate, unjudged.why)?;
            }
            return Ok(());
        }
        write!(formatter, "the plan is refused:")?;
        for finding in self.findings().iter().filter(|finding| finding.refuses()) {
            write!(
                formatter,
                "\n  {} {}: {}",
                finding.code, finding.subject, finding.message
            )?;
            if finding.path.len() > 1 {
                write!(formatter, " (needed by {})", finding.path.join(" → "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

/// Judge a plan by all that can be told without its artefacts.
pub fn judge(plan: &Plan, evidence: &Evidence) -> Verdict {
    let known = &evidence.known;
    let mut findings = integrity::judge(plan, evidence);
    let mut unjudged = Vec::new();
    judge_packages(&listed::of_plan(plan), known, &mut findings, &mut unjudged);
    Verdict::of(findings, unjudged, known)
}

/// Judge packages that are in no plan of ours: an SBOM's, or those of a list.
pub fn judge_listed(listed: &[Listed], known: &Known) -> Verdict {
    let (mut findings, mut unjudged) = (Vec::new(), Vec::new());
    judge_packages(listed, known, &mut findings, &mut unjudged);
    Verdict::of(findings, unjudged, known)
}

fn judge_packages(
    listed: &[Listed],
    known: &Known,
    findings: &mut Vec<Finding>,
    unjudged: &mut Vec<Unjudged>,
) {
    vulnerabilities::judge(listed, known, findings, unjudged);
    look_alikes::judge(listed, known, findings, unjudged);
    findings.extend(denied::judge(listed, known));
    findings.extend(age::judge(listed, known));
    findings.extend(unmaintained::judge(listed, known));
}

/// Judge a plan.
///
/// `resolved_by` is recorded in the lock: the program and its version.
///
/// # Errors
/// [`Refusal`] when any finding holds or refuses, or when something could not be judged and the policy wants that.
pub fn evaluate(plan: &Plan, evidence: &Evidence, resolved_by: &str) -> Result<Cleared, Refusal> {
    let verdict = judge(plan, evidence);
    match lock_of(plan, resolved_by) {
        Some(lock) if verdict.allows(&evidence.known) => Ok(Cleared { lock, verdict }),
        _ => Err(Refusal::of(verdict)),
    }
}

/// A source distribution that may be built. [`evaluate_sources`] makes one, and [`Cleared::source`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearedSource {
    source: PlannedSource,
    sha256: Digest,
}

impl ClearedSource {
    fn of(source: &PlannedSource) -> Option<Self> {
        let source = source.clone();
        source.sha256.map(|sha256| Self { source, sha256 })
    }

    /// What it is.
    pub fn source(&self) -> &PlannedSource {
        &self.source
    }

    /// Its digest.
    pub fn sha256(&self) -> BlobDigest {
        BlobDigest::new(self.sha256)
    }
}

/// Judge source distributions that have to be built before there is a whole plan, by every gate that can tell something
/// without building them, together with what the plan has by then: nothing of them is run before. The environments in which
/// they are built are judged as every plan is, and so is the plan with the wheels that come of it.
///
/// # Errors
/// [`Refusal`] when any finding holds or refuses, or when something could not be judged and the policy wants that.
pub fn evaluate_sources(
    plan: &Plan,
    sources: &[PlannedSource],
    evidence: &Evidence,
) -> Result<Vec<ClearedSource>, Refusal> {
    let known = &evidence.known;
    let mut findings = integrity::judge(plan, evidence);
    findings.extend(
        sources
            .iter()
            .flat_map(|source| integrity::judge_source(source, known)),
    );
    let mut listed = listed::of_plan(plan);
    listed.extend(sources.iter().map(listed::of_source));
    let mut unjudged = Vec::new();
    judge_packages(&listed, known, &mut findings, &mut unjudged);
    let verdict = Verdict::of(findings, unjudged, known);
    let cleared: Option<Vec<ClearedSource>> = sources.iter().map(ClearedSource::of).collect();
    match cleared {
        Some(cleared) if verdict.allows(known) => Ok(cleared),
        _ => Err(Refusal::of(verdict)),
    }
}
