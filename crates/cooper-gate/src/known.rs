//! What the gates know beside the plan: the policy in force, the waivers, the evidence.

use std::collections::BTreeMap;
use std::sync::Arc;

use cooper_core::{Base, Digest, Timestamp};

use crate::advisories::Advisories;
use crate::first_seen::FirstSeen;
use crate::names::PopularNames;
use crate::policy::InForce;
use crate::waiver::Waiver;

/// What the gates know.
#[derive(Debug, Clone)]
pub struct Known {
    /// The time of the verdict.
    pub now: Timestamp,
    /// The rules.
    pub in_force: InForce,
    /// Every waiver, those that have ended too.
    pub waivers: Vec<Waiver>,
    /// When this store first saw files whose index does not tell how old they are.
    pub first_seen: FirstSeen,
    /// Vulnerabilities and malicious packages.
    pub advisories: Advisories,
    /// The names that are popular.
    pub popular: PopularList,
    /// Of when the evidence is.
    pub dates: EvidenceDates,
    /// The digest of all evidence together.
    pub evidence: Option<Digest>,
}

/// The list of popular names, shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct PopularList(Option<Arc<Option<PopularNames>>>);

impl PopularList {
    /// A list that could be read.
    pub fn new(names: PopularNames) -> Self {
        Self(Some(Arc::new(Some(names))))
    }

    /// There is a list, and it cannot be read.
    pub fn damaged() -> Self {
        Self(Some(Arc::new(None)))
    }

    /// The names; none where there is no list, or one that cannot be read any more.
    pub fn names(&self) -> Option<&PopularNames> {
        self.0.as_ref()?.as_ref().as_ref()
    }

    /// Whether there is a list, and it cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        self.0.is_some() && self.names().is_none()
    }
}

/// Of when the evidence is, by what it is about; none where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EvidenceDates {
    /// Advisories about Python distributions.
    pub python: Option<Timestamp>,
    /// Records of malicious packages.
    pub malicious: Option<Timestamp>,
    /// Advisories about the packages of each base.
    pub debian: BTreeMap<Base, Timestamp>,
    /// The names of popular distributions.
    pub popular: Option<Timestamp>,
}

impl EvidenceDates {
    /// Of when the advisories about a base's packages are.
    pub fn debian(&self, base: Base) -> Option<Timestamp> {
        self.debian.get(&base).copied()
    }
}

impl Known {
    /// Nothing but the time and the rules that hold without a policy.
    pub fn nothing(now: Timestamp) -> Self {
        Self {
            now,
            in_force: InForce::default(),
            waivers: Vec::new(),
            first_seen: FirstSeen::default(),
            advisories: Advisories::default(),
            popular: PopularList::default(),
            dates: EvidenceDates::default(),
            evidence: None,
        }
    }
}
