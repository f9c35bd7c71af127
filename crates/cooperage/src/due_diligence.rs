//! What the gates are told: the policy for an image, the waivers, the evidence in the store.

use std::sync::Arc;

use cooper_core::{Base, BlobDigest, Digest, ImageName, Timestamp};
use cooper_gate::advisories::{Advisories, Ecosystem, ReadSnapshotError};
use cooper_gate::names::PopularNames;
use cooper_gate::policy::ParsePolicyError;
use cooper_gate::{Evidence, EvidenceDates, Known, PopularList, Verdict, Waiver};

use crate::advisories::{EvidenceError, EvidenceKind, EvidencePart, GateEvidence};
use cooper_store::LedgerError;

use crate::waivers::WaiverError;
use crate::workshop::Workshop;

/// The cache's kind of compiled popular names; the key is the digest of the list.
const POPULAR: &str = "popular-names";

/// Why the gates cannot be told what they need: then nothing is judged, and nothing made.
#[derive(Debug, thiserror::Error)]
pub enum DiligenceError {
    /// The profile that was asked for is none of the policy's.
    #[error("the policy cannot be used")]
    Policy(#[from] ParsePolicyError),
    /// The advisories in the store are damaged.
    #[error("the advisories in the store cannot be read")]
    Advisories(#[source] ReadSnapshotError),
    /// The evidence in the store cannot be opened.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The waivers cannot be read.
    #[error(transparent)]
    Waivers(#[from] WaiverError),
    /// What this store has seen cannot be read.
    #[error("cannot read when files were first seen")]
    FirstSeen(#[source] LedgerError),
}

impl DiligenceError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Policy(_) => {
                Some("`cooper policy show` lists the profiles; `--profile` names one".to_owned())
            }
            Self::Advisories(_) => Some("`cooper advisories update` fetches them again".to_owned()),
            Self::Evidence(error) => error.hint(),
            Self::Waivers(error) => error.hint(),
            Self::FirstSeen(_) => Some(
                "run `cooper fsck`; without `ledgers/first-seen` in the store every age by it begins again"
                    .to_owned(),
            ),
        }
    }
}

impl Workshop {
    /// What the gates know now, for an image of this name.
    ///
    /// # Errors
    /// When the policy has no such profile, or waivers or evidence cannot be read.
    pub(crate) fn known(&self, image: Option<&ImageName>) -> Result<Arc<Known>, DiligenceError> {
        let waivers = self.waivers()?;
        self.known_at(self.clock.now(), image, self.opened_evidence()?, waivers)
    }

    /// What they knew for a verdict, as far as this store still has it: its evidence, the waivers that had been given, and
    /// the ages of that time, by the policy of now.
    ///
    /// # Errors
    /// As [`Workshop::known`]; also when the verdict's evidence is not here any more.
    pub(crate) fn known_for(
        &self,
        verdict: &Verdict,
        image: &ImageName,
    ) -> Result<Arc<Known>, DiligenceError> {
        let at = verdict.judged_at;
        let evidence = match verdict.evidence {
            Some(digest) => self.gate_evidence_of(&BlobDigest::new(digest), at)?,
            None => GateEvidence::default(),
        };
        let popular = self.popular_names(&evidence);
        let opened = OpenedEvidence::of(evidence, popular);
        let waivers = self.waivers_at(at)?;
        self.known_at(at, Some(image), &opened, waivers)
    }

    fn known_at(
        &self,
        now: Timestamp,
        image: Option<&ImageName>,
        evidence: &OpenedEvidence,
        waivers: Vec<Waiver>,
    ) -> Result<Arc<Known>, DiligenceError> {
        let profile = self.config.profile.as_deref();
        Ok(Arc::new(Known {
            now,
            in_force: self.config.policy.rules(profile, image)?,
            waivers,
            first_seen: self.first_seen().map_err(DiligenceError::FirstSeen)?,
            advisories: evidence.advisories.clone(),
            popular: evidence.popular.clone(),
            dates: evidence.dates.clone(),
            evidence: evidence.digest,
        }))
    }

    /// The same as evidence for a plan that was resolved now.
    pub(crate) fn evidence(&self, image: Option<&ImageName>) -> Result<Evidence, DiligenceError> {
        Ok(Evidence::now(self.known(image)?))
    }

    /// The evidence in the store, opened once for a workshop: all that it judges is judged by the same.
    fn opened_evidence(&self) -> Result<&OpenedEvidence, DiligenceError> {
        if let Some(opened) = self.opened_evidence.get() {
            return Ok(opened);
        }
        let evidence = self.gate_evidence()?;
        let popular = self.popular_names(&evidence);
        Ok(self
            .opened_evidence
            .get_or_init(|| OpenedEvidence::of(evidence, popular)))
    }

    /// The popular names as the cache has them, compiled; else from the list itself, and into the cache.
    fn popular_names(&self, evidence: &GateEvidence) -> PopularList {
        let mut parts = evidence.parts.iter().rev();
        let part = parts.find(|part| part.kind == EvidenceKind::Popular);
        let (Some(bytes), Some(part)) = (&evidence.popular, part) else {
            return PopularList::default();
        };
        let key = part.blob.to_string();
        let cached = self.store.cache_get(POPULAR, &key);
        if let Some(names) = cached.and_then(|cached| PopularNames::open(&cached.bytes)) {
            return PopularList::new(names);
        }
        let Ok(names) = PopularNames::parse(bytes.as_slice()) else {
            return PopularList::damaged();
        };
        if let Err(error) = self.store.cache_put(POPULAR, &key, &names.compiled()) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "cannot cache the popular names");
        }
        PopularList::new(names)
    }

    /// The blobs of the evidence that a verdict rests on: whoever keeps the verdict keeps them.
    pub(crate) fn evidence_blobs(&self) -> Vec<BlobDigest> {
        self.opened_evidence
            .get()
            .map_or_else(Vec::new, |opened| opened.blobs.clone())
    }
}

/// The evidence as the gates want it.
#[derive(Debug, Clone)]
pub(crate) struct OpenedEvidence {
    advisories: Advisories,
    popular: PopularList,
    dates: EvidenceDates,
    digest: Option<Digest>,
    blobs: Vec<BlobDigest>,
}

impl OpenedEvidence {
    fn of(evidence: GateEvidence, popular: PopularList) -> Self {
        let blobs = evidence.blobs();
        Self {
            dates: dates(&evidence.parts),
            digest: evidence.digest.map(|digest| *digest.digest()),
            advisories: evidence.advisories,
            popular,
            blobs,
        }
    }
}

/// Of when the evidence is, by what it is about: where several parts are about one thing, the newest counts. Records that
/// were given one by one add to what an export says, and tell nothing of how new that is.
fn dates(parts: &[EvidencePart]) -> EvidenceDates {
    let newest = |about: &dyn Fn(&EvidencePart) -> bool| {
        let parts = parts
            .iter()
            .filter(|part| !part.is_of_single_records() && about(part));
        parts.map(|part| part.dated).max()
    };
    let of = |ecosystem: Ecosystem| {
        let name = ecosystem.to_string();
        // Records of malicious packages alone are no advisories.
        newest(&move |part| part.packages.contains_key(&name) && part.malicious < part.records)
    };
    let debian = Base::ALL.into_iter();
    EvidenceDates {
        python: of(Ecosystem::PyPI),
        malicious: newest(&|part| part.malicious > 0),
        debian: debian
            .filter_map(|base| Some((base, of(Ecosystem::of_base(base))?)))
            .collect(),
        popular: newest(&|part| part.kind == EvidenceKind::Popular),
    }
}
