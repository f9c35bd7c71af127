//! When this store first saw a Python file whose index does not tell how old it is: a ledger, to which lines are only
//! added.
//!
//! A plan's files are written down as soon as there is a plan, whatever comes of it: a check and a dry run see as well
//! as a create does. What was never chosen is not written, so that the ledger grows with what is used.

use cooper_core::Plan;
use cooper_core::source::PlannedSource;
use cooper_gate::FirstSeen;
use cooper_store::LedgerError;

use crate::workshop::Workshop;

/// The ledger's name.
pub(crate) const LEDGER: &str = "first-seen";

impl Workshop {
    /// What this store has seen.
    ///
    /// # Errors
    /// When the ledger is there and cannot be read: then no age by it is known.
    pub(crate) fn first_seen(&self) -> Result<FirstSeen, LedgerError> {
        self.store.ledger(LEDGER).map(FirstSeen::of_lines)
    }

    /// Write down what a plan, and the sources that have to be built for it, have for the first time. Where the store cannot be written, what was not seen stays unseen,
    /// and so too young; the note says so.
    pub(crate) fn see(&self, plan: &Plan, sources: &[PlannedSource]) -> Option<String> {
        let now = self.clock.now();
        let seen = self.first_seen().ok()?;
        if seen.new_in(plan, sources, now).is_empty() {
            return None;
        }
        let written = self.store.extend_ledger(LEDGER, |lines| {
            let sightings = FirstSeen::of_lines(lines.to_vec()).new_in(plan, sources, now);
            let lines = sightings.iter().map(serde_json::to_vec);
            lines.filter_map(Result::ok).collect()
        });
        let error = written.err()?;
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot write down what was seen"
        );
        Some(format!(
            "{error}: that files without an upload time were seen now is not written down, and their age does not begin"
        ))
    }
}
