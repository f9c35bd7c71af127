//! Locks that are read again: each becomes a plan, to be judged like any other.

use cooper_core::base::Suite;
use cooper_core::{ImageName, Lock, Plan};
use cooper_gate::Evidence;
use cooper_resolve::debian;
use cooper_resolve::python::wheel_fits;

use crate::create::CreateError;
use crate::workshop::Workshop;

impl Workshop {
    /// The plan that a lock was, and the evidence to judge it again by: as of its resolution, with the signed indexes
    /// that the store has.
    pub(crate) fn reloaded(
        &self,
        lock: &Lock,
        image: Option<&ImageName>,
    ) -> Result<(Plan, Evidence), CreateError> {
        let (plan, unchecked) = self.replanned(lock)?;
        self.see(&plan, &[]);
        let evidence = Evidence {
            judged_at: plan.resolved_at,
            unchecked,
            known: self.known(image)?,
        };
        Ok((plan, evidence))
    }

    /// The plan of a lock, its indexes checked again as far as they are here, and why they could not be.
    pub(crate) fn replanned(&self, lock: &Lock) -> Result<(Plan, Vec<Suite>), CreateError> {
        let mut plan = lock.to_plan(wheel_fits)?;
        let checked_at = plan.resolved_at.min(self.clock.now());
        let rechecked = debian::recheck(&self.store, &self.config.sources, &plan.snapshots, checked_at);
        plan.snapshots = rechecked.snapshots;
        Ok((plan, rechecked.unchecked))
    }
}
