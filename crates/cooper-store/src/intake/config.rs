//! What an intake may do, and for how long.

use std::path::PathBuf;

use super::credentials::{CredentialHelper, Place};

/// How an intake behaves. Every limit has its unit in its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeConfig {
    /// What servers are told about us.
    pub user_agent: String,
    /// Refuse every fetch.
    pub offline: bool,
    /// How often one address is tried, the first time included.
    pub attempts: u32,
    /// The pause before the second try; it doubles with each further one.
    pub backoff_ms: u64,
    /// How long resolving a name and connecting may take, each.
    pub connect_ms: u64,
    /// How long a server may be silent: before its answer, and in the middle of a body.
    pub idle_ms: u64,
    /// A body that comes more slowly than this over a whole window is given up.
    pub rate_min_bytes_per_s: u64,
    /// The window over which the rate is measured.
    pub rate_window_ms: u64,
    /// How many connections [`crate::Intake::fetch_blobs`] uses at once.
    pub connections_max: usize,
    /// How many redirects are followed for one fetch.
    pub redirects_max: u32,
    /// Through which proxies.
    pub proxies: Proxies,
    /// PEM files with certificate authorities that are trusted besides the host's.
    pub ca_files: Vec<PathBuf>,
    /// The indexes and mirrors that may be asked with credentials.
    pub places: Vec<Place>,
    /// Who knows the credentials of a place of which none are known: asked once for each, when it is first needed.
    pub credential_helper: Option<CredentialHelper>,
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            user_agent: concat!("cooper/", env!("CARGO_PKG_VERSION")).to_owned(),
            offline: false,
            attempts: 3,
            backoff_ms: 250,
            connect_ms: 10_000,
            idle_ms: 30_000,
            rate_min_bytes_per_s: 1_000,
            rate_window_ms: 30_000,
            connections_max: 16,
            redirects_max: 10,
            proxies: Proxies::default(),
            ca_files: Vec::new(),
            places: Vec::new(),
            credential_helper: None,
        }
    }
}

/// Proxies in the form of the usual variables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// For http addresses: `http://[user:password@]host:port`, or `host:port`.
    pub http: Option<String>,
    /// For https addresses.
    pub https: Option<String>,
    /// Hosts that are reached directly, separated by commas: a name (and all below it), an address, a network such
    /// as `10.0.0.0/8`, or `*`; each with a port where only that one is meant.
    pub no_proxy: Option<String>,
}

/// Why an intake cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// A proxy's address cannot be understood.
    #[error("`{proxy}` is not a proxy: expected `http://host:port`")]
    Proxy {
        /// The address, without its password.
        proxy: String,
    },
}
