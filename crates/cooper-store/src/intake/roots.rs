//! Which certificate authorities are trusted: the host's, and those that the configuration adds.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::config::IntakeConfig;
use super::error::FetchError;

/// TLS with the host's roots. Takes milliseconds, so it is done for the first https address only.
pub(super) fn tls_config(config: &IntakeConfig) -> Result<TlsConfig, FetchError> {
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::debug!(%error, "a certificate of the host was left out");
    }
    let mut roots = native.certs;
    for path in &config.ca_files {
        roots.extend(read_ca_file(path)?);
    }
    let roots: Vec<Certificate<'static>> = roots
        .iter()
        .map(|root| Certificate::from_der(root).to_owned())
        .collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::from(roots))
        .build())
}

/// Every certificate of a PEM file. Unlike the host's, one that was named explicitly must be usable.
fn read_ca_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, FetchError> {
    let failed = |source| FetchError::CaFile {
        path: path.to_owned(),
        source,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(error.into()))?;
    if certificates.is_empty() {
        return Err(failed("it holds no certificate".into()));
    }
    for certificate in &certificates {
        RootCertStore::empty()
            .add(certificate.clone())
            .map_err(|error| failed(error.into()))?;
    }
    Ok(certificates)
}
