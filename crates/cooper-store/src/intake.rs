//! The intake: the one door for outside bytes.
//!
//! A fetch is given everything that it may do: which addresses hold the same bytes, how many bytes at most,
//! and for a blob its digest. It is bounded in size by that, and in time by [`IntakeConfig`]: connecting, the wait
//! for an answer, silence, and a body that only trickles. Blobs are hashed while they are written; nothing
//! becomes visible in the store but the right bytes.
//!
//! Addresses are tried in order. A connection that fails, a server error (5xx, 408, 429), silence and a short
//! body are tried again on the same address, after a pause that doubles; a short blob is resumed with a
//! range request. What another try cannot cure, such as 404 or wrong bytes, goes to the next address at once.
//!
//! Redirects are followed here and not in the HTTP library, so that each step is held to the rules: a bounded
//! number, never from https to http, and the proxy chosen anew for each host.
//!
//! Credentials are no part of an address: each request has those of the configured place that it belongs to
//! ([`IntakeConfig::places`]), and what another host is redirected to has none.
//!
//! Blocking, and safe to use from many threads. The environment is not read, but for `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`, which say where the host keeps its roots.

mod client;
mod config;
mod credentials;
mod download;
mod error;
mod exchange;
mod fetch;
mod forward;
mod hint;
mod parallel;
mod proxy;
mod rate;
mod resolver;
mod retry;
mod roots;

use std::sync::Arc;

pub use config::{IntakeConfig, IntakeError, Proxies};
pub use credentials::{CredentialHelper, Credentials, Place};
pub use download::{FetchFile, FetchedFile, Validators};
pub use error::{FailedAttempt, FetchError, PublicUrl};
pub use fetch::{FetchBlob, FetchBytes, Fetched, Range, RangeReply};

/// The door for outside bytes. Cheap to clone; all clones share their connections.
#[derive(Clone, Debug)]
pub struct Intake {
    client: Arc<client::Client>,
}

impl Intake {
    /// An intake with this configuration. Opens no connection and reads no certificate yet.
    ///
    /// # Errors
    /// When a proxy's address cannot be understood.
    pub fn new(config: IntakeConfig) -> Result<Self, IntakeError> {
        Ok(Self {
            client: Arc::new(client::Client::new(config)?),
        })
    }

    /// How this intake is configured.
    pub fn config(&self) -> &IntakeConfig {
        self.client.config()
    }
}
