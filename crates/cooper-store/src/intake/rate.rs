//! A floor under the rate at which a body comes.

use std::time::{Duration, Instant};

/// Counts the bytes of a window, and begins the next when one is over.
#[derive(Debug)]
pub(super) struct RateFloor {
    window: Duration,
    bytes_min: u64,
    began: Instant,
    bytes: u64,
}

/// A window in which too little came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooFew {
    pub(super) bytes: u64,
}

impl RateFloor {
    pub(super) fn new(rate_min_bytes_per_s: u64, window_ms: u64, now: Instant) -> Self {
        let bytes_min = rate_min_bytes_per_s.saturating_mul(window_ms) / 1000;
        Self {
            window: Duration::from_millis(window_ms),
            bytes_min,
            began: now,
            bytes: 0,
        }
    }

    /// Count `bytes` that came until `now`.
    pub(super) fn count(&mut self, bytes: u64, now: Instant) -> Result<(), TooFew> {
        self.bytes += bytes;
        if now.saturating_duration_since(self.began) < self.window {
            return Ok(());
        }
        if self.bytes < self.bytes_min {
            return Err(TooFew { bytes: self.bytes });
        }
        self.began = now;
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trickle_is_seen_when_its_window_is_over() {
        let began = Instant::now();
        let at = |ms: u64| began + Duration::from_millis(ms);
        let mut floor = RateFloor::new(100, 1000, began);
        assert_eq!(floor.count(1, at(500)), Ok(()));
        assert_eq!(floor.count(99, at(1000)), Ok(()));
        assert_eq!(floor.count(1, at(1999)), Ok(()));
        assert_eq!(floor.count(1, at(2000)), Err(TooFew { bytes: 2 }));
    }
}
