//! The evidence that there is: opened for the gates, or told for a status.

use std::collections::BTreeMap;

use cooper_core::base::Base;
use cooper_core::{BlobDigest, Timestamp};
use cooper_gate::advisories::{
    Advisories, AdvisorySnapshot, Ecosystem, EpssTable, ExploitedList, SharedBytes, Skipped, VexStatements,
};

use super::compile::SINGLE_RECORDS;
use super::error::EvidenceError;
use super::manifest::{
    EvidenceKind, FORMAT, KnownPart, MANIFEST_BYTES_MAX, Manifest, ManifestPart, NAME, PinDetails,
};
use crate::workshop::Workshop;

/// How far ahead of this host's clock evidence may be before that is told, in seconds.
const AHEAD_SECONDS_MAX: i64 = 24 * 60 * 60;
/// A list of popular names is refreshed every month, everything else every day.
const NOTE_AFTER_DAYS: i64 = 60;

/// One part of the evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidencePart {
    /// What it stands for: `osv/PyPI`, `epss`.
    pub key: String,
    /// What it is.
    pub kind: EvidenceKind,
    /// The blob that it is.
    pub blob: BlobDigest,
    /// Its size in the compact form.
    pub bytes: u64,
    /// Records, entries, scores, names or statements.
    pub records: u64,
    /// Records that were withdrawn.
    pub withdrawn: u64,
    /// Records of malicious packages.
    pub malicious: u64,
    /// Packages that advisories are about, by ecosystem.
    pub packages: BTreeMap<String, u64>,
    /// Of when it is: its newest record, or its own date; where it has none, when it came.
    pub dated: Timestamp,
    /// Where it came from, and when; not known of evidence that is no longer the current one.
    pub origin: Option<PartOrigin>,
}

/// Where a part came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartOrigin {
    /// An address, or a file's name.
    pub source: String,
    /// When this content came.
    pub fetched_at: Timestamp,
    /// When the source last said that this is its content.
    pub checked_at: Timestamp,
    /// What was left out, the first of it.
    pub skipped: Vec<Skipped>,
    /// How much was left out.
    pub skipped_count: u64,
}

impl EvidencePart {
    /// How old it is at this time, in seconds; negative where it says that it is of later.
    pub fn age_seconds(&self, now: Timestamp) -> i64 {
        now.as_second() - self.dated.as_second()
    }

    /// Whether it is made of records that were given one by one: they say something of some packages, and nothing of all
    /// others.
    pub fn is_of_single_records(&self) -> bool {
        self.key == SINGLE_RECORDS
    }

    /// Whether it is of more than a day later than this host's clock says: one of the two is wrong.
    pub fn is_from_the_future(&self, now: Timestamp) -> bool {
        self.age_seconds(now) < -AHEAD_SECONDS_MAX
    }

    fn of_manifest(part: &ManifestPart, dated: Timestamp) -> Self {
        Self {
            key: part.key.clone(),
            kind: part.kind,
            blob: part.blob,
            bytes: part.bytes,
            records: part.records,
            withdrawn: part.withdrawn,
            malicious: part.malicious,
            packages: part.packages.clone(),
            dated,
            origin: None,
        }
    }

    pub(super) fn of_known(known: &KnownPart) -> Self {
        let details = &known.details;
        Self {
            origin: Some(PartOrigin {
                source: details.origin.clone(),
                fetched_at: details.fetched_at,
                checked_at: details.checked_at,
                skipped: details.skipped.clone(),
                skipped_count: details.skipped_count,
            }),
            ..Self::of_manifest(&known.part, known.dated())
        }
    }
}

/// Evidence that a gate would want and that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MissingEvidence {
    /// Advisories about Python distributions.
    Python,
    /// Advisories about a base's Debian packages.
    Debian(Base),
    /// Records of malicious packages.
    Malicious,
    /// The list of exploited vulnerabilities.
    Exploited,
    /// The scores.
    Epss,
    /// The popular names.
    Popular,
}

impl MissingEvidence {
    /// What it is, in words.
    pub fn text(self) -> String {
        match self {
            Self::Python => "advisories about Python distributions".to_owned(),
            Self::Debian(base) => format!("advisories about packages of {base}"),
            Self::Malicious => "records of malicious packages".to_owned(),
            Self::Exploited => "the list of exploited vulnerabilities".to_owned(),
            Self::Epss => "EPSS scores".to_owned(),
            Self::Popular => "names of popular distributions".to_owned(),
        }
    }

    /// The stable name.
    pub fn code(self) -> String {
        match self {
            Self::Python => "osv-python".to_owned(),
            Self::Debian(base) => format!("osv-debian-{}", base.codename()),
            Self::Malicious => "malicious".to_owned(),
            Self::Exploited => "exploited".to_owned(),
            Self::Epss => "epss".to_owned(),
            Self::Popular => "popular".to_owned(),
        }
    }
}

/// The evidence, opened for the gates. Parts that are not there say nothing.
#[derive(Debug, Clone, Default)]
pub struct GateEvidence {
    /// The evidence's digest, by which a verdict names it; `None` where there is none at all.
    pub digest: Option<BlobDigest>,
    /// Advisories, lists, scores and statements, for queries.
    pub advisories: Advisories,
    /// The list of popular names as it was published: CSV or JSON.
    pub popular: Option<SharedBytes>,
    /// What it consists of, with ages.
    pub parts: Vec<EvidencePart>,
}

impl GateEvidence {
    /// Every blob that must be kept so that a verdict on this evidence can be reproduced.
    pub fn blobs(&self) -> Vec<BlobDigest> {
        let parts = self.parts.iter().map(|part| part.blob);
        self.digest.into_iter().chain(parts).collect()
    }

    /// What is not there.
    pub fn missing(&self) -> Vec<MissingEvidence> {
        missing(&self.parts)
    }

    /// The oldest part of a kind: its age is the kind's.
    pub fn oldest(&self, kind: EvidenceKind) -> Option<&EvidencePart> {
        let of_kind = self.parts.iter().filter(|part| part.kind == kind);
        of_kind.min_by_key(|part| part.dated)
    }
}

fn missing(parts: &[EvidencePart]) -> Vec<MissingEvidence> {
    let parts: Vec<&EvidencePart> = parts.iter().filter(|part| !part.is_of_single_records()).collect();
    let has = |ecosystem: Ecosystem| {
        let name = ecosystem.to_string();
        parts.iter().any(|part| part.packages.contains_key(&name))
    };
    let has_kind = |kind| parts.iter().any(|part| part.kind == kind);
    let mut missing = Vec::new();
    // Malicious records alone are no advisories.
    let is_export = |part: &EvidencePart| part.kind == EvidenceKind::Osv && part.malicious < part.records;
    if !has(Ecosystem::PyPI) || !parts.iter().any(|part| is_export(part)) {
        missing.push(MissingEvidence::Python);
    }
    for base in Base::ALL {
        if !has(Ecosystem::of_base(base)) {
            missing.push(MissingEvidence::Debian(base));
        }
    }
    if parts.iter().all(|part| part.malicious == 0) {
        missing.push(MissingEvidence::Malicious);
    }
    for (kind, absent) in [
        (EvidenceKind::Exploited, MissingEvidence::Exploited),
        (EvidenceKind::Epss, MissingEvidence::Epss),
        (EvidenceKind::Popular, MissingEvidence::Popular),
    ] {
        if !has_kind(kind) {
            missing.push(absent);
        }
    }
    missing
}

/// What there is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdvisoriesStatus {
    /// The evidence's digest; `None` where there is none at all.
    pub evidence: Option<BlobDigest>,
    /// What it consists of.
    pub parts: Vec<EvidencePart>,
    /// What is not there.
    pub missing: Vec<MissingEvidence>,
    /// What is worth knowing: old evidence, evidence from the future, records that were left out.
    pub notes: Vec<String>,
    /// When this was looked at.
    pub now: Timestamp,
}

impl Workshop {
    /// The current evidence, opened for the gates: mapped, not read. Its blobs are not hashed; each part that is looked at is
    /// checked as far as it is looked at.
    ///
    /// # Errors
    /// When it is there and cannot be used: then nothing is known.
    pub fn gate_evidence(&self) -> Result<GateEvidence, EvidenceError> {
        let Some((digest, known)) = self.current_evidence()? else {
            return Ok(GateEvidence::default());
        };
        let parts = known.iter().map(EvidencePart::of_known).collect();
        self.open_evidence(digest, parts)
    }

    /// The evidence of this digest, as a verdict names it. Where it came from is no longer known; parts without a date of
    /// their own count as of `judged_at`.
    ///
    /// # Errors
    /// When it is not there any more, or cannot be used.
    pub fn gate_evidence_of(
        &self,
        digest: &BlobDigest,
        judged_at: Timestamp,
    ) -> Result<GateEvidence, EvidenceError> {
        let manifest = self.manifest(digest)?;
        let dated = |part: &ManifestPart| part.as_of.unwrap_or(judged_at);
        let parts = manifest
            .parts
            .iter()
            .map(|part| EvidencePart::of_manifest(part, dated(part)));
        self.open_evidence(*digest, parts.collect())
    }

    /// What evidence there is, of when, and what is missing.
    ///
    /// # Errors
    /// When what there is cannot be read.
    pub fn advisories_status(&self) -> Result<AdvisoriesStatus, EvidenceError> {
        let evidence = self.gate_evidence()?;
        let now = self.now();
        Ok(AdvisoriesStatus {
            evidence: evidence.digest,
            missing: evidence.missing(),
            notes: evidence.parts.iter().flat_map(|part| notes(part, now)).collect(),
            parts: evidence.parts,
            now,
        })
    }

    /// The current manifest with what the pin says of its parts; `None` where there is none.
    pub(super) fn current_evidence(&self) -> Result<Option<(BlobDigest, Vec<KnownPart>)>, EvidenceError> {
        let Some(pin) = self.store.pin(NAME).map_err(EvidenceError::Pin)? else {
            return Ok(None);
        };
        let wrong = |blob: BlobDigest| move |source| EvidenceError::Manifest { blob, source };
        let unknown = pin.blobs.first().copied().unwrap_or_else(|| BlobDigest::of(b""));
        let details: PinDetails = serde_json::from_value(pin.details).map_err(wrong(unknown))?;
        let manifest = self.manifest(&details.evidence)?;
        if manifest.parts.len() != details.parts.len() {
            let differ = serde::de::Error::custom("the pin tells of other parts than the manifest");
            return Err(wrong(details.evidence)(differ));
        }
        let parts = manifest.parts.into_iter().zip(details.parts);
        let known = parts.map(|(part, details)| KnownPart { part, details });
        Ok(Some((details.evidence, known.collect())))
    }

    fn manifest(&self, digest: &BlobDigest) -> Result<Manifest, EvidenceError> {
        let bytes = self.store.read_blob(digest, MANIFEST_BYTES_MAX);
        let bytes = bytes.map_err(|source| EvidenceError::Read {
            blob: *digest,
            source,
        })?;
        let wrong = |source| EvidenceError::Manifest {
            blob: *digest,
            source,
        };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(wrong)?;
        if manifest.cooper_evidence != FORMAT {
            return Err(wrong(serde::de::Error::custom("it is of another format")));
        }
        Ok(manifest)
    }

    fn open_evidence(
        &self,
        digest: BlobDigest,
        parts: Vec<EvidencePart>,
    ) -> Result<GateEvidence, EvidenceError> {
        let mut evidence = GateEvidence {
            digest: Some(digest),
            ..GateEvidence::default()
        };
        for part in &parts {
            let mapped = self.store.map_blob(&part.blob);
            let bytes = SharedBytes::new(mapped.map_err(|source| EvidenceError::Read {
                blob: part.blob,
                source,
            })?);
            join(&mut evidence, part.kind, bytes).map_err(|source| EvidenceError::Part {
                key: part.key.clone(),
                source,
            })?;
        }
        evidence.parts = parts;
        Ok(evidence)
    }
}

type Unusable = Box<dyn std::error::Error + Send + Sync>;

fn join(evidence: &mut GateEvidence, kind: EvidenceKind, bytes: SharedBytes) -> Result<(), Unusable> {
    let advisories = &mut evidence.advisories;
    match kind {
        EvidenceKind::Osv => advisories.snapshots.push(AdvisorySnapshot::open(bytes)?),
        EvidenceKind::Exploited => advisories.exploited = ExploitedList::open(bytes.as_slice())?,
        EvidenceKind::Epss => advisories.epss = Some(EpssTable::open(bytes)?),
        EvidenceKind::Popular => evidence.popular = Some(bytes),
        EvidenceKind::Vex => {
            let statements = VexStatements::open(bytes.as_slice())?;
            advisories.vex = std::mem::take(&mut advisories.vex).joined(statements);
        }
    }
    Ok(())
}

fn notes(part: &EvidencePart, now: Timestamp) -> Vec<String> {
    let key = &part.key;
    let mut notes = Vec::new();
    if part.is_from_the_future(now) {
        notes.push(format!(
            "{key} is of {}, and this host's clock says {now}: one of the two is wrong",
            part.dated
        ));
    }
    let days = part.age_seconds(now) / (24 * 60 * 60);
    if days > NOTE_AFTER_DAYS && part.kind != EvidenceKind::Vex {
        notes.push(format!(
            "{key} is {days} days old: what became known since is not in it"
        ));
    }
    if let Some(origin) = part.origin.as_ref().filter(|origin| origin.skipped_count > 0) {
        let first = origin.skipped.first();
        let first = first.map_or_else(String::new, |one| {
            format!(", the first {}: {}", one.name, one.reason)
        });
        notes.push(format!("{key}: {} skipped{first}", origin.skipped_count));
    }
    notes
}
