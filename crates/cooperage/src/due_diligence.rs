//! What the gates are told: the policy for an image, the waivers, the evidence in the store.

use std::sync::Arc;

use cooper_core::ImageName;
use cooper_gate::advisories::ReadSnapshotError;
use cooper_gate::policy::ParsePolicyError;
use cooper_gate::{Evidence, Known};

use crate::waivers::WaiverError;
use crate::workshop::Workshop;

/// Why the gates cannot be told what they need: then nothing is judged, and nothing made.
#[derive(Debug, thiserror::Error)]
pub enum DiligenceError {
    /// The profile that was asked for is none of the policy's.
    #[error("the policy cannot be used")]
    Policy(#[from] ParsePolicyError),
    /// The advisories in the store are damaged.
    #[error("the advisories in the store cannot be read")]
    Advisories(#[source] ReadSnapshotError),
    /// The waivers cannot be read.
    #[error(transparent)]
    Waivers(#[from] WaiverError),
}

impl DiligenceError {
    /// What to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Policy(_) => {
                Some("`cooper policy show` lists the profiles; `--profile` names one".to_owned())
            }
            Self::Advisories(_) => Some("`cooper advisories update` fetches them again".to_owned()),
            Self::Waivers(error) => error.hint(),
        }
    }
}

impl Workshop {
    /// What the gates know now, for an image of this name.
    ///
    /// # Errors
    /// When the policy has no such profile, or waivers or evidence cannot be read.
    pub(crate) fn known(&self, image: Option<&ImageName>) -> Result<Arc<Known>, DiligenceError> {
        let profile = self.config.profile.as_deref();
        let in_force = self.config.policy.rules(profile, image)?;
        let mut known = Known::nothing(self.clock.now());
        known.in_force = in_force;
        known.waivers = self.waivers()?;
        Ok(Arc::new(known))
    }

    /// The same as evidence for a plan that was resolved now.
    pub(crate) fn evidence(&self, image: Option<&ImageName>) -> Result<Evidence, DiligenceError> {
        Ok(Evidence::now(self.known(image)?))
    }
}
