//! https: trust, redirects that leave it, tunnels.
//!
//! `tls/` holds a made authority and a certificate of it for `localhost` and `127.0.0.1`, with its key: for tests
//! only, trusted by nobody.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use cooper_store::{FetchError, Intake, IntakeConfig, Proxies};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use super::damage;
use super::fetch::{bytes_from, quick};
use super::proxy::tunnelling;
use super::server::{Request, Server, Stream, respond};

fn file(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls")).join(name)
}

fn server_config() -> Arc<rustls::ServerConfig> {
    let certificates = CertificateDer::pem_file_iter(file("server.pem"))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    Arc::new(
        builder
            .with_no_client_auth()
            .with_single_cert(certificates, key)
            .unwrap(),
    )
}

fn secure(
    answer: impl Fn(&Request, &mut dyn Stream) -> std::io::Result<super::server::After> + Send + Sync + 'static,
) -> Server {
    let config = server_config();
    let wrap = move |stream: TcpStream| -> Box<dyn Stream> {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        Box::new(rustls::StreamOwned::new(connection, stream))
    };
    Server::start_wrapped("https", Arc::new(wrap), Arc::new(answer))
}

fn trusting() -> IntakeConfig {
    IntakeConfig {
        ca_files: vec![file("ca.pem")],
        ..quick()
    }
}

fn fetch(config: IntakeConfig, url: Url) -> Result<Vec<u8>, FetchError> {
    Ok(Intake::new(config)
        .unwrap()
        .fetch_bytes(&bytes_from(&[url], 100))?
        .bytes)
}

#[test]
fn an_added_authority_is_trusted_and_an_unknown_one_is_not() {
    let server = secure(|_, stream| respond(stream, "200 OK", &[], b"in private"));
    assert_eq!(fetch(trusting(), server.url("/")).unwrap(), b"in private");
    let error = fetch(quick(), server.url("/")).unwrap_err();
    assert!(matches!(error, FetchError::Tls { .. }), "{error:?}");
}

#[test]
fn a_certificate_for_another_host_is_not_trusted() {
    let server = secure(|_, stream| respond(stream, "200 OK", &[], b""));
    let url: Url = server
        .url("/")
        .as_str()
        .replace("127.0.0.1", "127.0.0.2")
        .parse()
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.2:0");
    if listener.is_err() {
        println!("skipped: 127.0.0.2 is no address of this host");
        return;
    }
    // The server listens on 127.0.0.1 only: reach it under the other name through a tunnel that misleads.
    let address = server.address();
    let misleading = Server::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        let mut target = TcpStream::connect(address)?;
        super::proxy::relay(stream, &mut target)?;
        Ok(super::server::After::Close)
    });
    let proxies = Proxies {
        https: Some(misleading.address().to_string()),
        ..Proxies::default()
    };
    let error = fetch(
        IntakeConfig {
            proxies,
            ..trusting()
        },
        url,
    )
    .unwrap_err();
    assert!(matches!(error, FetchError::Tls { .. }), "{error:?}");
}

#[test]
fn https_is_not_left_by_a_redirect_and_may_be_entered_by_one() {
    let plain = Server::of(b"in public");
    let target = plain.url("/").to_string();
    let leaving = secure(move |_, stream| respond(stream, "302 Found", &[("Location", &target)], b""));
    let error = fetch(trusting(), leaving.url("/")).unwrap_err();
    assert!(matches!(error, FetchError::InsecureRedirect { .. }), "{error:?}");
    assert_eq!(plain.requests().len(), 0);

    let server = secure(|_, stream| respond(stream, "200 OK", &[], b"in private"));
    let target = server.url("/").to_string();
    let entering =
        Server::start(move |_, stream| respond(stream, "301 Moved", &[("Location", &target)], b""));
    assert_eq!(fetch(trusting(), entering.url("/")).unwrap(), b"in private");
}

#[test]
fn an_https_address_is_reached_through_a_tunnel() {
    let server = secure(|_, stream| respond(stream, "200 OK", &[], b"in private"));
    let proxy = tunnelling();
    let proxies = Proxies {
        https: Some(proxy.address().to_string()),
        ..Proxies::default()
    };
    assert_eq!(
        fetch(
            IntakeConfig {
                proxies,
                ..trusting()
            },
            server.url("/")
        )
        .unwrap(),
        b"in private"
    );
    let request = &proxy.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("CONNECT", server.address().to_string().as_str())
    );
}

#[test]
fn a_named_file_of_authorities_must_be_usable() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    damage(&empty, b"no certificate here\n");
    let broken = directory.path().join("broken.pem");
    damage(
        &broken,
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    for path in [directory.path().join("missing.pem"), empty, broken] {
        let config = IntakeConfig {
            ca_files: vec![path.clone()],
            ..quick()
        };
        let error = fetch(config.clone(), "https://127.0.0.1:1/".parse().unwrap()).unwrap_err();
        assert!(
            matches!(&error, FetchError::CaFile { path: named, .. } if *named == path),
            "{error:?}"
        );
        // Where no https address is asked for, no certificate is read.
        assert_eq!(
            fetch(config, Server::of(b"in public").url("/")).unwrap(),
            b"in public"
        );
    }
}
