//! How much memory a template and its waiting children have: told to the caller, who bounds all templates together.

use std::time::{Duration, Instant};

/// It is measured so often at most.
const INTERVAL: Duration = Duration::from_millis(500);
/// A smaller change is not told.
const STEP_BYTES: u64 = 1 << 20;

/// When it was measured, and what was told.
#[derive(Default)]
pub(super) struct Measure {
    last: Option<Instant>,
    told_bytes: Option<u64>,
    has_changed: bool,
}

impl Measure {
    /// There is a child more or less.
    pub(super) fn note_change(&mut self) {
        self.has_changed = true;
    }

    /// When it is to be measured again, if it is.
    pub(super) fn due(&self) -> Option<Instant> {
        let next = self.last.and_then(|last| last.checked_add(INTERVAL));
        self.has_changed.then(|| next.unwrap_or_else(Instant::now))
    }

    /// What to tell, now that it was measured.
    pub(super) fn take(&mut self, bytes: u64) -> Option<u64> {
        self.last = Some(Instant::now());
        self.has_changed = false;
        if self
            .told_bytes
            .is_some_and(|told| told.abs_diff(bytes) < STEP_BYTES)
        {
            return None;
        }
        self.told_bytes = Some(bytes);
        Some(bytes)
    }
}

/// The `Pss` of a `smaps_rollup` (`proc_pid_smaps(5)`), in bytes: pages that are shared count in parts.
pub(super) fn proportional_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_not_changed_is_not_measured_and_little_is_not_told() {
        let mut measure = Measure::default();
        assert_eq!(measure.due(), None);
        measure.note_change();
        assert!(measure.due().is_some_and(|due| due <= Instant::now()));
        assert_eq!(measure.take(10 << 20), Some(10 << 20));
        assert_eq!(measure.due(), None);
        measure.note_change();
        assert!(measure.due().is_some_and(|due| due > Instant::now()));
        assert_eq!(measure.take((10 << 20) + 5), None);
        assert_eq!(measure.take(2 << 20), Some(2 << 20));
    }

    #[test]
    fn shared_pages_count_in_parts() {
        let text =
            "55c0-7ffd ---p 00000000 00:00 0 [rollup]\nRss:    9000 kB\nPss:    1234 kB\nPss_Dirty: 5 kB\n";
        assert_eq!(proportional_bytes(text), Some(1234 * 1024));
        assert_eq!(proportional_bytes("Rss: 1 kB\n"), None);
    }
}
