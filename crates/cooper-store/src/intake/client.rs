//! The HTTP connections of an intake, kept alive between requests.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::tls::TlsConfig;
use ureq::unversioned::transport::{Connector as _, DefaultConnector};
use url::Url;

use super::config::{IntakeConfig, IntakeError};
use super::credentials::Places;
use super::error::{FetchError, public};
use super::forward::AbsoluteForm;
use super::proxy::ProxyRules;
use super::resolver::RememberingResolver;
use super::roots;

/// No body may take longer, however quickly it trickles; what came is resumed.
pub(super) const BODY_MAX: Duration = Duration::from_hours(1);
/// No answer's head is larger.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How a request leaves the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// To the server itself.
    Direct,
    /// To a proxy that is asked for an http address (RFC 9112, section 3.2.2, "absolute-form").
    Forward(&'a Url),
    /// Through a tunnel to an https address (RFC 9110, section 9.3.6, "CONNECT").
    Tunnel(&'a Url),
}

/// Configuration, proxies and connections.
#[derive(Debug)]
pub(super) struct Client {
    config: IntakeConfig,
    proxies: ProxyRules,
    places: Places,
    tls: Lazy<TlsConfig>,
    plain: Lazy<Agent>,
    secure: Lazy<Agent>,
    forwarding: Lazy<Agent>,
    tunnelled: Lazy<Agent>,
}

impl Client {
    pub(super) fn new(config: IntakeConfig) -> Result<Self, IntakeError> {
        Ok(Self {
            proxies: ProxyRules::new(&config.proxies)?,
            places: Places::new(&config.places, config.credential_helper.as_ref()),
            config,
            tls: Lazy::default(),
            plain: Lazy::default(),
            secure: Lazy::default(),
            forwarding: Lazy::default(),
            tunnelled: Lazy::default(),
        })
    }

    pub(super) fn config(&self) -> &IntakeConfig {
        &self.config
    }

    /// The places that are configured, with their credentials.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// The way to this address.
    pub(super) fn route(&self, url: &Url) -> Route<'_> {
        match self.proxies.proxy(url) {
            None => Route::Direct,
            Some(proxy) if url.scheme() == "https" => Route::Tunnel(proxy),
            Some(proxy) => Route::Forward(proxy),
        }
    }

    /// The connections for a request to `url` on this way.
    pub(super) fn agent(&self, url: &Url, route: &Route<'_>) -> Result<Agent, FetchError> {
        match route {
            Route::Direct if url.scheme() == "https" => self.secure.value(|| self.direct_agent(true)),
            Route::Direct => self.plain.value(|| self.direct_agent(false)),
            Route::Forward(proxy) => self.forwarding.value(|| self.forwarding_agent(proxy)),
            Route::Tunnel(proxy) => self.tunnelled.value(|| self.tunnelling_agent(url, proxy)),
        }
    }

    fn direct_agent(&self, secure: bool) -> Result<Agent, FetchError> {
        let config = self.agent_config(secure, None)?;
        Ok(Agent::with_parts(
            config,
            DefaultConnector::default(),
            RememberingResolver::default(),
        ))
    }

    fn forwarding_agent(&self, proxy: &Url) -> Result<Agent, FetchError> {
        let config = self.agent_config(proxy.scheme() == "https", None)?;
        let connector = DefaultConnector::default().chain(AbsoluteForm);
        Ok(Agent::with_parts(
            config,
            connector,
            RememberingResolver::default(),
        ))
    }

    fn tunnelling_agent(&self, url: &Url, proxy: &Url) -> Result<Agent, FetchError> {
        let made = ureq::Proxy::new(proxy.as_str());
        let proxy = made.map_err(|source| FetchError::Connect {
            url: public(url),
            source: source.into(),
        })?;
        let config = self.agent_config(true, Some(proxy))?;
        Ok(Agent::with_parts(
            config,
            DefaultConnector::default(),
            RememberingResolver::default(),
        ))
    }

    fn tls(&self) -> Result<TlsConfig, FetchError> {
        self.tls.value(|| roots::tls_config(&self.config))
    }

    fn agent_config(&self, secure: bool, proxy: Option<ureq::Proxy>) -> Result<Config, FetchError> {
        let config = &self.config;
        let connect = Duration::from_millis(config.connect_ms);
        let idle = Duration::from_millis(config.idle_ms);
        let mut builder = Agent::config_builder()
            .user_agent(&config.user_agent)
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy)
            .max_response_header_size(HEAD_BYTES_MAX)
            .max_idle_connections(config.connections_max.saturating_mul(2))
            .max_idle_connections_per_host(config.connections_max)
            .timeout_resolve(Some(connect))
            .timeout_connect(Some(connect))
            .timeout_per_read(Some(idle))
            .timeout_per_write(Some(idle))
            .timeout_send_request(Some(idle))
            .timeout_recv_response(Some(idle))
            .timeout_recv_body(Some(BODY_MAX));
        if secure {
            builder = builder.tls_config(self.tls()?);
        }
        Ok(builder.build())
    }
}

/// A value that is made when it is first needed; a failure is not kept.
#[derive(Debug)]
struct Lazy<T>(Mutex<Option<T>>);

impl<T> Default for Lazy<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Lazy<T> {
    fn value(&self, make: impl FnOnce() -> Result<T, FetchError>) -> Result<T, FetchError> {
        let mut cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = cell.as_ref() {
            return Ok(value.clone());
        }
        let value = make()?;
        *cell = Some(value.clone());
        Ok(value)
    }
}
