//! Which address is tried, how often, and what is said when none had it.

use std::time::{Duration, Instant};

use url::Url;

use super::client::Client;
use super::error::{FailedAttempt, FetchError, public};
use super::exchange::Cancel;

/// No pause is longer.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How quickly a pause notices that nobody waits any more.
const PAUSE_STEP: Duration = Duration::from_millis(20);

impl Client {
    /// The first success among `urls`, each tried as often as may help.
    pub(super) fn first_success<T>(
        &self,
        label: &str,
        urls: &[Url],
        cancel: &Cancel,
        attempt: &mut dyn FnMut(&Url) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let mut failed = Vec::new();
        for url in urls {
            if self.config().offline {
                return Err(FetchError::Offline { url: public(url) });
            }
            match self.persist(url, cancel, attempt) {
                Ok(value) => return Ok(value),
                Err(error) if error.is_ours() => return Err(error),
                Err(error) => {
                    tracing::debug!(url = %public(url), %error, "an address failed");
                    failed.push(FailedAttempt {
                        url: public(url),
                        error: Box::new(error),
                    });
                }
            }
        }
        Err(match failed.pop() {
            None => FetchError::NoAddress {
                label: label.to_owned(),
            },
            Some(only) if failed.is_empty() => *only.error,
            Some(last) => {
                failed.push(last);
                FetchError::AllFailed {
                    label: label.to_owned(),
                    attempts: failed,
                }
            }
        })
    }

    fn persist<T>(
        &self,
        url: &Url,
        cancel: &Cancel,
        attempt: &mut dyn FnMut(&Url) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let mut tried = 1;
        loop {
            match attempt(url) {
                Err(error) if error.is_passing() && tried < self.config().attempts && !cancel.is_set() => {
                    tracing::debug!(url = %public(url), %error, tried, "trying again");
                    pause(self.config().backoff_ms, tried, cancel);
                    tried += 1;
                }
                done => return done,
            }
        }
    }
}

fn pause(backoff_ms: u64, tried: u32, cancel: &Cancel) {
    let doubled = backoff_ms.saturating_mul(1_u64.checked_shl(tried - 1).unwrap_or(u64::MAX));
    let until = Instant::now() + Duration::from_millis(doubled).min(PAUSE_MAX);
    while let Some(left) = until
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        if cancel.is_set() {
            return;
        }
        std::thread::sleep(left.min(PAUSE_STEP));
    }
}
