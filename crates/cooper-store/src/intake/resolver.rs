//! Names are resolved once, not once for each connection.
//!
//! Two dozen connections to one host at once would send as many questions to the name server at once; some of
//! those go missing, and each costs the five seconds until it is asked again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long an answer is used.
const KEPT: Duration = Duration::from_secs(30);

type Answer = Arc<Mutex<Option<(Instant, ResolvedSocketAddrs)>>>;

/// The system's resolver, asked once for each host and port in a while; who asks meanwhile waits for that answer.
/// A failure is not kept.
#[derive(Debug, Default)]
pub(super) struct RememberingResolver {
    system: DefaultResolver,
    answers: Mutex<HashMap<String, Answer>>,
}

impl Resolver for RememberingResolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let key = uri.scheme().zip(uri.authority());
        let key = key.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let Some(key) = key else {
            return self.system.resolve(uri, config, timeout);
        };
        let answer = locked(&self.answers).entry(key).or_default().clone();
        let mut answer = locked(&answer);
        if let Some((_, addresses)) = answer.as_ref().filter(|(since, _)| since.elapsed() < KEPT) {
            return Ok(addresses.clone());
        }
        let addresses = self.system.resolve(uri, config, timeout)?;
        *answer = Some((Instant::now(), addresses.clone()));
        Ok(addresses)
    }
}

/// A poisoned lock still holds whole values.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
